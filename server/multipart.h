/* SPDX-License-Identifier: Apache-2.0
 *
 * multipart/form-data (RFC 7578, RFC 2046 section 5.1) over a whole body: parts are found, nothing
 * is copied or decoded.
 */
#ifndef ENSO_SERVER_MULTIPART_H
#define ENSO_SERVER_MULTIPART_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ENSO_MULTIPART_MAX_PARTS 4096
#define ENSO_MULTIPART_MAX_BOUNDARY 70

struct enso_multipart {
    const uint8_t *at; /* next unread byte of the body */
    size_t left;
    char boundary[ENSO_MULTIPART_MAX_BOUNDARY + 3]; /* with "--" in front */
    size_t boundary_size;
    size_t n_parts;
};

struct enso_part {
    char name[64]; /* of the form's field */
    const uint8_t *data;
    size_t size;
};

/* Begin; content_type is the header's value with its boundary. ENSO_INVALID. The body is borrowed
 * as long as parts are read. */
enum enso_status enso_multipart_begin(struct enso_multipart *m, const char *content_type,
                                      const uint8_t *body, size_t size, struct enso_error *err);
/* The next part into *ret_part; data NULL when there are no more. ENSO_INVALID when the body breaks
 * off or a part has no name. */
enum enso_status enso_multipart_next(struct enso_multipart *m, struct enso_part *ret_part,
                                     struct enso_error *err);

#endif
