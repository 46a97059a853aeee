/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights files: see weights_file.h. The open descriptor is judged by fstat, so that what was
 * checked is what is read; O_NONBLOCK lets a FIFO be refused instead of waiting for its writer.
 */
#include "ensod_build.h"

#include "engine/formats/weights_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

struct enso_weights_file {
    _Atomic uint32_t n_refs;
    int fd;
    char *path; /* owned */
    struct enso_weights_identity identity;
};

/* strerror without its shared buffer; static storage. */
static const char *error_text(int error)
{
    const char *text = strerrordesc_np(error);

    return text != NULL ? text : "unknown error";
}

static struct enso_weights_identity identity_of(const struct stat *info)
{
    return (struct enso_weights_identity){
        .device = info->st_dev,
        .inode = info->st_ino,
        .size_bytes = (uint64_t)info->st_size,
        .modified_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec,
    };
}

static bool identity_equal(const struct enso_weights_identity *a,
                           const struct enso_weights_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           a->modified_ns == b->modified_ns;
}

static enum enso_status open_regular(const char *path, int *ret_fd, struct stat *ret_info,
                                     struct enso_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        int error = errno;

        return enso_error_set(err,
                              error == ENOENT || error == ENOTDIR ? ENSO_NOT_FOUND
                              : error == ENXIO                    ? ENSO_INVALID /* a socket */
                                                                  : ENSO_IO,
                              "'%s' cannot be opened: %s", path, error_text(error));
    }
    if (fstat(fd, ret_info) != 0) {
        int error = errno;

        (void)close(fd); /* only looked at */
        return enso_error_set(err, ENSO_IO, "'%s' cannot be examined: %s", path, error_text(error));
    }
    if (!S_ISREG(ret_info->st_mode)) {
        (void)close(fd); /* only looked at */
        return enso_error_set(err, ENSO_INVALID, "'%s' is %s, but a regular file is needed", path,
                              S_ISDIR(ret_info->st_mode) ? "a folder" : "a pipe or a device");
    }
    *ret_fd = fd;
    return ENSO_OK;
}

enum enso_status enso_weights_file_open(const char *path, struct enso_weights_file **ret_file,
                                        struct enso_error *err)
{
    struct enso_weights_file *file = enso_alloc_zero(1, sizeof *file);
    struct stat info;
    enum enso_status st;

    if (file == NULL)
        return enso_error_no_memory(err, path);
    atomic_init(&file->n_refs, 1);
    file->fd = -1;
    file->path = enso_strdup(path);
    if (file->path == NULL) {
        enso_weights_file_unref(file);
        return enso_error_no_memory(err, path);
    }
    st = open_regular(path, &file->fd, &info, err);
    if (st != ENSO_OK) {
        enso_weights_file_unref(file);
        return st;
    }
    file->identity = identity_of(&info);
    *ret_file = file;
    return ENSO_OK;
}

struct enso_weights_file *enso_weights_file_ref(struct enso_weights_file *file)
{
    /* Whoever refs holds a reference already, so nothing needs ordering. */
    atomic_fetch_add_explicit(&file->n_refs, 1, memory_order_relaxed);
    return file;
}

struct enso_weights_file *enso_weights_file_unref(struct enso_weights_file *file)
{
    /* Release what this owner did, acquire what the others did before the file is taken apart. */
    if (file != NULL && atomic_fetch_sub_explicit(&file->n_refs, 1, memory_order_acq_rel) == 1) {
        if (file->fd >= 0)
            (void)close(file->fd); /* nothing was written: nothing can be lost */
        enso_free(file->path);
        enso_free(file);
    }
    return NULL;
}

enum enso_status enso_weights_file_read(const struct enso_weights_file *file, uint64_t offset,
                                        void *dst, size_t size, struct enso_error *err)
{
    char *p = dst;

    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s': bytes %" PRIu64 " to %" PRIu64
                              " + %zu are asked for, beyond the end of any file",
                              file->path, offset, offset, size);
    while (size > 0) {
        ssize_t n = pread(file->fd, p, ENSO_MIN(size, (size_t)1 << 30), (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return enso_error_set(err, ENSO_IO, "'%s' cannot be read at byte %" PRIu64 ": %s",
                                  file->path, offset, error_text(errno));
        if (n == 0)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "'%s' ends at or before byte %" PRIu64
                                  ", but %zu more bytes are needed: it was changed or truncated "
                                  "while it was read",
                                  file->path, offset, size);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return ENSO_OK;
}

enum enso_status enso_weights_file_check(const struct enso_weights_file *file,
                                         struct enso_error *err)
{
    struct enso_weights_identity now;
    struct stat info;

    if (fstat(file->fd, &info) != 0)
        return enso_error_set(err, ENSO_IO, "'%s' cannot be examined: %s", file->path,
                              error_text(errno));
    now = identity_of(&info);
    if (!identity_equal(&file->identity, &now))
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s' was changed or truncated while it was read; load it again",
                              file->path);
    if (stat(file->path, &info) != 0)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s' was removed while it was read (%s); load it again", file->path,
                              error_text(errno));
    now = identity_of(&info);
    if (!identity_equal(&file->identity, &now))
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s' was replaced while it was read; load it again", file->path);
    return ENSO_OK;
}

const char *enso_weights_file_path(const struct enso_weights_file *file)
{
    return file->path;
}

uint64_t enso_weights_file_size(const struct enso_weights_file *file)
{
    return file->identity.size_bytes;
}

void enso_weights_file_identity(const struct enso_weights_file *file,
                                struct enso_weights_identity *ret_identity)
{
    *ret_identity = file->identity;
}
