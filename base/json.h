/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON from outside: Jansson behind a guard, and getters that explain what is wrong.
 *
 * Jansson builds a tree of about 100 bytes a value and recurses, so a body of a few megabytes could
 * cost gigabytes. A scan before it, one pass without memory, bounds nesting and the number of
 * values and checks UTF-8; only then Jansson sees the bytes. Duplicate keys are refused, numbers
 * are finite, integers fit in 64 bits, "\u0000" in strings is allowed (strings carry their length),
 * any value may stand at the top.
 *
 *     json_t *root;
 *     st = enso_json_parse(body, size, NULL, &root, err);
 *     ...
 *     st = enso_json_get_string(root, "", "model", ENSO_JSON_OPTIONAL, &model, NULL, err);
 *     json_decref(root);
 *
 * Errors name the place (byte, line, column, or the JSON path in err->param) and never quote the
 * document, so that they may be logged. Threads: a tree has one owner at a time.
 * Format: RFC 8259.
 */
#ifndef ENSO_BASE_JSON_H
#define ENSO_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_json_limits {
    size_t max_depth;  /* containers inside each other; at most 1000 whatever is said here */
    size_t max_values; /* values in all, containers included, keys not */
};
#define ENSO_JSON_LIMITS_DEFAULT                                                                   \
    {                                                                                              \
        64, 2000000                                                                                \
    }

/* What a document would cost, from the scan. */
struct enso_json_shape {
    size_t n_values;
    size_t n_containers; /* arrays and objects among the values */
    size_t depth;
    size_t tree_bytes; /* a generous estimate of what the parsed tree takes */
};

/* Route Jansson's allocations through base/memory.h and seed its hash. Parsing does this by itself;
 * a main() may call it first thing, before any other thread or json_t. */
void enso_json_init(void);

/* The scan alone: for charging a budget before parsing. limits NULL: the default. ENSO_TOO_LARGE
 * (code "json_depth" or "json_values") or ENSO_INVALID (broken UTF-8, NaN). A document that passes
 * may still be malformed. */
enum enso_status enso_json_scan(const char *data, size_t size,
                                const struct enso_json_limits *limits,
                                struct enso_json_shape *ret_shape, struct enso_error *err);

/* Scan and parse. The tree is the caller's (json_decref). ENSO_INVALID, ENSO_TOO_LARGE,
 * ENSO_NO_MEMORY. data may hold anything and need not be terminated. */
enum enso_status enso_json_parse(const char *data, size_t size,
                                 const struct enso_json_limits *limits, json_t **ret,
                                 struct enso_error *err);

/* "an object", "a string", "nothing" for NULL ...: for sentences. */
const char *enso_json_type_name(const json_t *value);

/* Getters: object[key]. `path` is the JSON path of the object itself, "" for the top, for
 * err->param ("input[3]" gives "input[3].text"). An absent key, or null, is ENSO_OK with *ret
 * untouched if optional (put the default there first) and ENSO_INVALID if required. Results are
 * borrowed from the tree. `object` may be NULL (as if empty). */
enum enso_json_need { ENSO_JSON_OPTIONAL, ENSO_JSON_REQUIRED };

/* ret_size NULL: a string with a NUL byte inside is refused. */
enum enso_status enso_json_get_string(const json_t *object, const char *path, const char *key,
                                      enum enso_json_need need, const char **ret, size_t *ret_size,
                                      struct enso_error *err);
enum enso_status enso_json_get_bool(const json_t *object, const char *path, const char *key,
                                    enum enso_json_need need, bool *ret, struct enso_error *err);
/* Integers as JSON integers or as numbers without a fraction (3.0); within [min, max]. */
enum enso_status enso_json_get_int(const json_t *object, const char *path, const char *key,
                                   enum enso_json_need need, int64_t min, int64_t max, int64_t *ret,
                                   struct enso_error *err);
enum enso_status enso_json_get_number(const json_t *object, const char *path, const char *key,
                                      enum enso_json_need need, double min, double max, double *ret,
                                      struct enso_error *err);
enum enso_status enso_json_get_array(const json_t *object, const char *path, const char *key,
                                     enum enso_json_need need, json_t **ret,
                                     struct enso_error *err);
enum enso_status enso_json_get_object(const json_t *object, const char *path, const char *key,
                                      enum enso_json_need need, json_t **ret,
                                      struct enso_error *err);

/* ENSO_INVALID "expected X, got Y" with err->param = path; for code that checks types itself. */
enum enso_status enso_json_wrong_type(const json_t *value, const char *path, const char *expected,
                                      struct enso_error *err);

#endif
