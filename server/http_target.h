/* SPDX-License-Identifier: Apache-2.0
 *
 * Parses a request target ("/v1/models/a%2Fb?top_k=3", RFC 9112 section 3.2, RFC 3986) into
 * unescaped path segments and query parameters. Each segment is unescaped by itself, so that an
 * escaped slash is part of a name and not a separator. Refused with ENSO_INVALID: %00, broken
 * escapes, blanks and controls, a fragment, text that is not UTF-8 after unescaping; with
 * ENSO_TOO_LARGE: more than ENSO_HTTP_MAX_SEGMENTS or ENSO_HTTP_MAX_PARAMS.
 *
 * Everything lies in one block the caller provides: measure with enso_http_target_room, allocate,
 * parse. Pure functions, no state.
 */
#ifndef ENSO_SERVER_HTTP_TARGET_H
#define ENSO_SERVER_HTTP_TARGET_H

#include <stddef.h>

#include "base/error.h"
#include "base/macros.h"

#define ENSO_HTTP_MAX_SEGMENTS 32
#define ENSO_HTTP_MAX_PARAMS 64

/* size bytes of valid UTF-8 without NUL inside, and a NUL behind them. */
struct enso_http_string {
    const char *data;
    size_t size;
};

struct enso_http_param {
    struct enso_http_string name, value; /* "?a" gives the value "" */
};

struct enso_http_target {
    struct enso_http_string path;            /* still escaped, without the query */
    const struct enso_http_string *segments; /* "/a/b" gives a, b; "/" none; "/a/" gives a, "" */
    const struct enso_http_param *params;    /* in the order they came, repeats kept */
    size_t n_segments, n_params;
};

/* Bytes that parsing a target of size bytes needs, aligned for pointers. Never overflows for
 * targets below SIZE_MAX / 64. */
size_t enso_http_target_room(const char *target, size_t size);

/* room has enso_http_target_room bytes, aligned for pointers, and must outlive *ret; target may be
 * freed. On failure *ret is empty but valid. */
enum enso_status enso_http_target_parse(const char *target, size_t size, void *room,
                                        struct enso_http_target *ret,
                                        struct enso_error *err) ENSO_MUST_CHECK;

#endif
