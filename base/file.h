/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole small files into memory: configuration, vocabularies, JSON beside a model. Weights are not
 * read this way (they go in slices straight into packed form). Every caller states a limit, so
 * that a file of any size costs at most that; pipes, devices and folders are refused, so that a
 * reader can neither hang nor run on for ever.
 *
 *     char *text;
 *     size_t size;
 *     st = enso_file_read("model/config.json", 1 << 20, &text, &size, err);
 */
#ifndef ENSO_BASE_FILE_H
#define ENSO_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The content of a regular file, followed by a NUL that is not counted in *ret_size.
 *   max_bytes    the most the file may hold
 *   ret_data     the caller's, release with enso_free; never NULL on success
 * ENSO_NOT_FOUND (no such file), ENSO_IO (no permission, a read error, the file shrank or grew
 * while it was read), ENSO_INVALID (not a regular file), ENSO_TOO_LARGE, ENSO_NO_MEMORY; each
 * sentence names the path. Symbolic links are followed. Safe from any thread. */
enum enso_status enso_file_read(const char *path, size_t max_bytes, char **ret_data,
                                size_t *ret_size, struct enso_error *err) ENSO_MUST_CHECK;

/* First thing in main(): whichever of standard input, output and error is closed leads to /dev/null
 * from now on. Otherwise the next socket or log file would take its number, and be written to by
 * whoever means standard error. */
void enso_file_fill_standard(void);

/* True when path names something (of any kind) that may be looked at. */
bool enso_file_exists(const char *path);

/* "dir/name", the caller's to enso_free; NULL when out of memory. A trailing slash of dir is not
 * doubled; an empty dir gives name. */
char *enso_file_join(const char *dir, const char *name) ENSO_MUST_CHECK;

#endif
