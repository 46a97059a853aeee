/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialects: which HTTP status a failure has and what its body looks like.
 */
#ifndef ENSO_SERVER_DIALECT_H
#define ENSO_SERVER_DIALECT_H

#include "base/buffer.h"
#include "base/error.h"

struct enso_dialect {
    const char *name; /* metrics label: "native", "huggingface", "kserve" */
    /* HTTP status of a failure. */
    int (*status)(const struct enso_error *err);
    /* The body of an error. `err` may lack everything but the sentence. */
    void (*error)(const struct enso_error *err, int status, struct enso_buffer *body);
};

extern const struct enso_dialect enso_dialect_native;      /* OpenAI shape */
extern const struct enso_dialect enso_dialect_huggingface; /* {"error": "..."} */
extern const struct enso_dialect enso_dialect_kserve;      /* {"error": "..."} */

/* api.md's table: INVALID 400, NOT_FOUND 404, TOO_LARGE 413, UNSUPPORTED 400, OVERLOADED 429,
 * DEADLINE 504, UNAVAILABLE and BUDGET 503, else 500. */
int enso_dialect_status(const struct enso_error *err);

#endif
