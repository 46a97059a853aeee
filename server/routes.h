/* SPDX-License-Identifier: Apache-2.0
 *
 * The route table: method and path pattern → what answers. A pattern's segments are literal, or
 * "{id}" (one model id; ids may contain '/', so it takes one or more segments), "{version}" (one
 * segment). Literal segments win over "{id}".
 *
 * Plain routes answer at once (answer); inference routes bring a task, a decoder and an encoder and
 * go through server/flow.c. The same table writes /openapi.json.
 */
#ifndef ENSO_SERVER_ROUTES_H
#define ENSO_SERVER_ROUTES_H

#include "server/request.h"

struct enso_dialect;

enum enso_method { ENSO_GET = 1 << 0, ENSO_POST = 1 << 1 };

struct enso_route {
    enum enso_method method; /* GET also answers HEAD */
    const char *pattern;     /* "/v1/models/{id}" */
    const char *name;        /* metrics label "dialect" and OpenAPI operationId stem */
    const struct enso_dialect *dialect;
    const char *summary; /* one line, for /openapi.json */
    bool quiet;          /* no access log (probes) */
    /* Plain: writes req->answer (JSON unless answer_type says otherwise) and gives the HTTP status;
     * a negative value is a failure with err filled. */
    int (*answer)(struct enso_request *req, struct enso_error *err);
    /* Inference. A task of ENSO_N_TASKS takes any. */
    enso_decode_fn decode;
    enso_encode_fn encode;
    /* tasks the route serves, as bits 1 << enum enso_task */
    unsigned tasks;
};

extern const struct enso_route enso_routes[];
extern const size_t enso_n_routes;

/* What a path segment pattern caught. */
struct enso_route_match {
    const struct enso_route *route; /* NULL: no route for path and method */
    unsigned methods;               /* methods the path knows: 0 = unknown path */
    char *id;                       /* "{id}" joined with '/', in the arena, or NULL */
    const char *version;            /* "{version}", borrowed from the call, or NULL */
};
/* Look up; ENSO_NO_MEMORY only. */
int enso_routes_match(const char *method, const struct enso_http_target *target,
                      struct enso_arena *arena, struct enso_route_match *ret);

#endif
