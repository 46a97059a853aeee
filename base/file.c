/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading whole files with a limit: see file.h. The file is opened without blocking (a FIFO would
 * wait for its writer) and judged by fstat on the open descriptor, so that what was checked is what
 * is read. One byte more than the size is asked for: a file that grew is seen.
 */
#include "ensod_build.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* strerror without its shared buffer; static storage. */
static const char *error_text(int error)
{
    const char *text = strerrordesc_np(error);

    return text != NULL ? text : "unknown error";
}

static const char *kind_text(mode_t mode)
{
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

/* Read until `capacity` bytes or the end; -1 with errno on failure. */
static ssize_t read_fully(int fd, char *data, size_t capacity)
{
    size_t used = 0;

    while (used < capacity) {
        ssize_t n = read(fd, data + used, ENSO_MIN(capacity - used, (size_t)1 << 30));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

static enum enso_status read_open_file(int fd, const char *path, size_t max_bytes, char **ret_data,
                                       size_t *ret_size, struct enso_error *err)
{
    struct stat info;
    size_t size;
    ssize_t n;
    char *data;

    if (fstat(fd, &info) != 0)
        return enso_error_set(err, ENSO_IO, "'%s' cannot be examined: %s", path, error_text(errno));
    if (!S_ISREG(info.st_mode))
        return enso_error_set(err, ENSO_INVALID, "'%s' is %s, but a regular file is needed", path,
                              kind_text(info.st_mode));
    if (info.st_size < 0 || (uintmax_t)info.st_size > max_bytes)
        return enso_error_set(err, ENSO_TOO_LARGE, "'%s' holds %jd bytes, but at most %zu are read",
                              path, (intmax_t)info.st_size, max_bytes);
    size = (size_t)info.st_size;
    if (size > SIZE_MAX / 2 || (data = enso_alloc(size + 1)) == NULL)
        return enso_error_set(err, ENSO_NO_MEMORY, "out of memory for '%s' (%zu bytes)", path,
                              size);
    n = read_fully(fd, data, size + 1);
    if (n < 0) {
        int error = errno;

        enso_free(data);
        return enso_error_set(err, ENSO_IO, "'%s' cannot be read: %s", path, error_text(error));
    }
    if ((size_t)n != size) {
        enso_free(data);
        return enso_error_set(err, ENSO_IO, "'%s' changed while it was read; try again", path);
    }
    data[size] = '\0';
    *ret_data = data;
    *ret_size = size;
    return ENSO_OK;
}

enum enso_status enso_file_read(const char *path, size_t max_bytes, char **ret_data,
                                size_t *ret_size, struct enso_error *err)
{
    enum enso_status st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        int error = errno;

        st = error == ENOENT || error == ENOTDIR ? ENSO_NOT_FOUND
             : error == ENXIO                    ? ENSO_INVALID /* a socket */
                                                 : ENSO_IO;
        return enso_error_set(err, st, "'%s' cannot be opened: %s", path, error_text(error));
    }
    st = read_open_file(fd, path, max_bytes, ret_data, ret_size, err);
    (void)close(fd); /* nothing was written: nothing can be lost */
    return st;
}

void enso_file_fill_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* the lowest number that is free */
    while (fd >= 0 && fd < STDERR_FILENO);
    if (fd > STDERR_FILENO)
        (void)close(fd); /* all three were there */
}

bool enso_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

char *enso_file_join(const char *dir, const char *name)
{
    size_t n_dir = strlen(dir), n_name = strlen(name), total;
    bool slash = n_dir > 0 && dir[n_dir - 1] != '/';
    char *path;

    if (!enso_size_add(n_dir, n_name, &total) || !enso_size_add(total, 2, &total))
        return NULL;
    path = enso_alloc(total);
    if (path == NULL)
        return NULL;
    memcpy(path, dir, n_dir);
    if (slash)
        path[n_dir] = '/';
    memcpy(path + n_dir + slash, name, n_name + 1);
    return path;
}
