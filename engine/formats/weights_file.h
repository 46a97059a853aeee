/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that weights are read from: opened once, shared by count, read with pread in slices
 * straight into the memory where they are packed. Never mapped: a mapped file that somebody
 * truncates kills the process, and its pages would stay for the model's life.
 *
 *     struct enso_weights_file *f;
 *     st = enso_weights_file_open("model.safetensors", &f, err);
 *     st = enso_weights_file_read(f, offset, dst, size, err);   any number, any thread
 *     st = enso_weights_file_check(f, err);                     at the end: is it still the same?
 *     f = enso_weights_file_unref(f);
 *
 * What was opened is remembered as (device, inode, size, modification time in ns); those four are
 * also what tells the registry that a model has changed and must be loaded anew.
 */
#ifndef ENSO_ENGINE_FORMATS_WEIGHTS_FILE_H
#define ENSO_ENGINE_FORMATS_WEIGHTS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_weights_file; /* opaque; immutable after open, so safe from any thread */

/* What file it is. Equal identities: same file with the same content, as far as stat can tell. */
struct enso_weights_identity {
    uint64_t device, inode, size_bytes;
    int64_t modified_ns; /* since 1970 */
};

/* Opens a regular file (symbolic links are followed) with a count of one.
 * ENSO_NOT_FOUND, ENSO_IO (no permission...), ENSO_INVALID (a folder, a pipe...), ENSO_NO_MEMORY;
 * each sentence names the path. Never blocks on a pipe. */
enum enso_status enso_weights_file_open(const char *path, struct enso_weights_file **ret_file,
                                        struct enso_error *err) ENSO_MUST_CHECK;

/* One more owner; gives file back. */
struct enso_weights_file *enso_weights_file_ref(struct enso_weights_file *file);
/* One owner less, the last one closes. NULL is fine. Always NULL. */
struct enso_weights_file *enso_weights_file_unref(struct enso_weights_file *file);

/* Reads exactly `size` bytes from `offset` on into dst. ENSO_CORRUPT when the file ends before
 * (dst is then undefined), ENSO_IO on a read error. Safe from any thread, without a lock. */
enum enso_status enso_weights_file_read(const struct enso_weights_file *file, uint64_t offset,
                                        void *dst, size_t size,
                                        struct enso_error *err) ENSO_MUST_CHECK;

/* ENSO_OK while both the open file and what its path now names are what was opened; ENSO_CORRUPT
 * when it was written to, truncated, replaced or removed since. */
enum enso_status enso_weights_file_check(const struct enso_weights_file *file,
                                         struct enso_error *err) ENSO_MUST_CHECK;

const char *enso_weights_file_path(const struct enso_weights_file *file); /* borrowed, as opened */
uint64_t enso_weights_file_size(const struct enso_weights_file *file);    /* bytes, when opened */
void enso_weights_file_identity(const struct enso_weights_file *file,
                                struct enso_weights_identity *ret_identity);

#endif
