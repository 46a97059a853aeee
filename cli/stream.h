/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a file from its beginning to its end, decompressed on the way where it is gzip,
 * bzip2, xz or zstd; over libarchive. Nothing is held but a block: a file of any size, or one that
 * unpacks to any size, costs the same memory.
 *
 *     struct enso_stream *stream;
 *     st = enso_stream_open("t10k-labels-idx1-ubyte.gz", &stream, err);
 *     st = enso_stream_read(stream, header, 8, &n, err);
 *     enso_stream_close(stream);
 *
 * One owner at a time. What is cut or damaged is ENSO_CORRUPT with a sentence that names the file.
 */
#ifndef ENSO_CLI_STREAM_H
#define ENSO_CLI_STREAM_H

#include <stddef.h>

#include "base/error.h"
#include "base/macros.h"

struct archive;
struct enso_stream; /* opaque */

/* A regular file (others could hang us). ENSO_NOT_FOUND, ENSO_IO, ENSO_INVALID, ENSO_CORRUPT. */
enum enso_status enso_stream_open(const char *path, struct enso_stream **ret,
                                  struct enso_error *err) ENSO_MUST_CHECK;
/* The same over bytes, which stay the caller's until the close; `name` is for sentences. */
enum enso_status enso_stream_open_memory(const void *bytes, size_t size, const char *name,
                                         struct enso_stream **ret,
                                         struct enso_error *err) ENSO_MUST_CHECK;
void enso_stream_close(struct enso_stream *stream); /* NULL is fine */

/* Up to n bytes; *ret_n is less than n only at the end. */
enum enso_status enso_stream_read(struct enso_stream *stream, void *bytes, size_t n, size_t *ret_n,
                                  struct enso_error *err) ENSO_MUST_CHECK;

const char *enso_stream_name(const struct enso_stream *stream); /* borrowed */

/* For those who read archives themselves: the decompressors that ensod's programs trust (none that
 * starts another program), and a path that is refused unless it is a regular file. ENSO_IO when
 * libarchive lacks one. */
enum enso_status enso_stream_support_filters(struct archive *archive,
                                             struct enso_error *err) ENSO_MUST_CHECK;
enum enso_status enso_stream_check_file(const char *path, struct enso_error *err) ENSO_MUST_CHECK;

#endif
