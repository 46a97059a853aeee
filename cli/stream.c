/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of a file, decompressed: see stream.h. libarchive's "raw" format is one entry that is the
 * whole file behind its decompressors.
 */
#include "cli/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/memory.h"

#define BLOCK_BYTES 65536

struct enso_stream {
    struct archive *archive;
    char *name; /* owned */
    bool empty; /* there was no entry: no bytes */
};

enum enso_status enso_stream_check_file(const char *path, struct enso_error *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return enso_error_set(err, errno == ENOENT ? ENSO_NOT_FOUND : ENSO_IO, "'%.200s': %s", path,
                              strerror(errno));
    if (!S_ISREG(st.st_mode))
        return enso_error_set(err, ENSO_INVALID, "'%.200s' is not a regular file", path);
    return ENSO_OK;
}

enum enso_status enso_stream_support_filters(struct archive *archive, struct enso_error *err)
{
    static int (*const supports[])(struct archive *) = {
        archive_read_support_filter_gzip, archive_read_support_filter_bzip2,
        archive_read_support_filter_xz, archive_read_support_filter_zstd};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(supports); i++) {
        if (supports[i](archive) != ARCHIVE_OK)
            return enso_error_set(err, ENSO_IO, "libarchive lacks a decompressor: %s",
                                  archive_error_string(archive));
    }
    return ENSO_OK;
}

static enum enso_status failed(const struct enso_stream *stream, struct enso_error *err)
{
    const char *why = archive_error_string(stream->archive);

    if (archive_errno(stream->archive) == ENOMEM)
        return enso_error_no_memory(err, "the file's blocks");
    return enso_error_set(err, ENSO_CORRUPT, "'%.200s': %s", stream->name,
                          why != NULL ? why : "it cannot be read");
}

static enum enso_status create(const char *name, struct enso_stream **ret, struct enso_error *err)
{
    struct enso_stream *stream = enso_alloc_zero(1, sizeof *stream);
    enum enso_status st = ENSO_OK;

    if (stream == NULL)
        return enso_error_no_memory(err, "the file");
    stream->name = enso_strdup(name);
    stream->archive = archive_read_new();
    if (stream->name == NULL || stream->archive == NULL ||
        archive_read_support_format_raw(stream->archive) != ARCHIVE_OK ||
        archive_read_support_format_empty(stream->archive) != ARCHIVE_OK)
        st = enso_error_no_memory(err, "the file");
    if (st == ENSO_OK)
        st = enso_stream_support_filters(stream->archive, err);
    if (st == ENSO_OK)
        *ret = stream;
    else
        enso_stream_close(stream);
    return st;
}

/* The archive was opened with `code`; go to its one entry. */
static enum enso_status begin(struct enso_stream *stream, int code, struct enso_stream **ret,
                              struct enso_error *err)
{
    struct archive_entry *entry;
    enum enso_status st = ENSO_OK;

    if (code >= ARCHIVE_WARN)
        code = archive_read_next_header(stream->archive, &entry);
    stream->empty = code == ARCHIVE_EOF;
    if (code < ARCHIVE_WARN)
        st = failed(stream, err);
    if (st == ENSO_OK)
        *ret = stream;
    else
        enso_stream_close(stream);
    return st;
}

enum enso_status enso_stream_open(const char *path, struct enso_stream **ret,
                                  struct enso_error *err)
{
    struct enso_stream *stream = NULL;
    enum enso_status st = enso_stream_check_file(path, err);

    if (st == ENSO_OK)
        st = create(path, &stream, err);
    if (st != ENSO_OK)
        return st;
    return begin(stream, archive_read_open_filename(stream->archive, path, BLOCK_BYTES), ret, err);
}

enum enso_status enso_stream_open_memory(const void *bytes, size_t size, const char *name,
                                         struct enso_stream **ret, struct enso_error *err)
{
    struct enso_stream *stream = NULL;
    enum enso_status st = create(name, &stream, err);

    if (st != ENSO_OK)
        return st;
    return begin(stream, archive_read_open_memory(stream->archive, bytes, size), ret, err);
}

void enso_stream_close(struct enso_stream *stream)
{
    if (stream == NULL)
        return;
    (void)archive_read_free(stream->archive); /* it was only read; NULL is fine */
    enso_free(stream->name);
    enso_free(stream);
}

enum enso_status enso_stream_read(struct enso_stream *stream, void *bytes, size_t n, size_t *ret_n,
                                  struct enso_error *err)
{
    size_t done = 0;

    while (done < n && !stream->empty) {
        la_ssize_t got = archive_read_data(stream->archive, (char *)bytes + done, n - done);

        if (got < 0)
            return failed(stream, err);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_n = done;
    return ENSO_OK;
}

const char *enso_stream_name(const struct enso_stream *stream)
{
    return stream->name;
}
