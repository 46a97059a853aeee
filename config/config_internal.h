/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared inside config/ only.
 */
#ifndef ENSO_CONFIG_INTERNAL_H
#define ENSO_CONFIG_INTERNAL_H

#include <stddef.h>

#include "base/error.h"

struct enso_buffer;

/* One "key = value" line of an INI text; the strings are valid during the call. A failure stops the
 * parser and is what it returns. section is "" before the first section line. */
typedef enum enso_status (*enso__ini_value_fn)(void *context, const char *section, const char *key,
                                               const char *value, unsigned line,
                                               struct enso_error *err);

/* A "[section]" line, before any of its keys. */
typedef enum enso_status (*enso__ini_section_fn)(void *context, const char *section, unsigned line,
                                                 struct enso_error *err);

/* Parse text, which errors call `name` ("name:12: ..."). Not re-entrant: libinih keeps its settings
 * in globals (a mutex guards them). */
enum enso_status enso__ini_parse(const char *name, const char *text, size_t size,
                                 enso__ini_section_fn on_section, enso__ini_value_fn on_value,
                                 void *context, struct enso_error *err);

/* Checks of one value, as rows of the table name them. */
enum enso_status enso__check_address(const char *value, struct enso_error *err);
enum enso_status enso__check_device(const char *value, struct enso_error *err);
enum enso_status enso__check_model_device(const char *value, struct enso_error *err);
enum enso_status enso__check_gpu_memory(const char *value, struct enso_error *err);
enum enso_status enso__check_model_name(const char *value, struct enso_error *err);

/* Text in lines of at most `width` bytes, each with `prefix` in front. */
void enso__write_wrapped(struct enso_buffer *b, const char *prefix, const char *text, size_t width);

#define ENSO__INI_LARGEST_FILE ((size_t)1 << 20)

#endif
