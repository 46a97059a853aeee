/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /openapi.json: an OpenAPI 3.1 document that fuzzers may trust. Paths, methods, names,
 * summaries and the failures that any route may answer come from the route table; what a route
 * takes and gives stands in server/openapi.json under "operations", by the route's name (that of
 * "v2_model_ready" serves "v2_model_version_ready" too), with the schemas. Asked for rarely: put
 * together every time.
 */
#include "ensod_build.h"

#include "server/openapi.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "server/dialect.h"
#include "server/handlers.h"
#include "server/routes.h"

/* Which routes may answer a failure. */
enum where { EVERYWHERE, WITH_MODEL, WITH_BODY, INFERENCE };

static const struct failure {
    int status;
    enum where where;
    bool bare;  /* by the HTTP library, in a shape of its own */
    bool retry; /* with Retry-After */
    const char *description;
} failures[] = {
    {400, EVERYWHERE, false, false,
     "Malformed or not to be processed; the sentence says what, where and what to do."},
    {404, WITH_MODEL, false, false, "There is no such model; the sentence names those there are."},
    {408, WITH_BODY, false, false, "The body came too slowly."},
    {413, EVERYWHERE, false, false, "Over a limit, which the sentence names."},
    {414, EVERYWHERE, true, false, "The request target is too long."},
    {415, WITH_BODY, false, false, "The path does not take this Content-Type."},
    {417, EVERYWHERE, false, false, "Expect holds something else than 100-continue."},
    {429, INFERENCE, false, true, "The queue is full, or the deadline could not be met."},
    {431, EVERYWHERE, true, false, "The headers are too large."},
    {500, EVERYWHERE, false, false, "A fault of ours; the sentence has the request's id."},
    {503, EVERYWHERE, false, true,
     "Loading, draining, or out of memory set aside for requests; try again."},
    {504, INFERENCE, false, false, "The deadline passed while the request waited."},
};

static bool applies(const struct failure *f, const struct enso_route *route)
{
    switch (f->where) {
    case EVERYWHERE:
        return true;
    case WITH_MODEL:
        return strchr(route->pattern, '{') != NULL || route->method == ENSO_POST;
    case WITH_BODY:
        return route->method == ENSO_POST;
    case INFERENCE:
        return route->decode != NULL;
    }
    return false;
}

static json_t *reference(const char *kind, const char *name)
{
    return json_pack("{s:s++}", "$ref", "#/components/", kind, name);
}

/* Headers of an answer: false when out of memory. */
static bool add_headers(json_t *response, const struct enso_route *route, int status, bool retry)
{
    json_t *headers = json_object_get(response, "headers");
    bool timed = route->decode != NULL && (status == 200 || status >= 400);

    if (headers == NULL && (json_object_set_new(response, "headers", json_object()) != 0 ||
                            (headers = json_object_get(response, "headers")) == NULL))
        return false;
    return json_object_set_new(headers, "X-Request-Id", reference("headers/", "X-Request-Id")) ==
               0 &&
           (!timed || json_object_set_new(headers, "Server-Timing",
                                          reference("headers/", "Server-Timing")) == 0) &&
           (!retry || (json_object_set_new(headers, "Retry-After",
                                           reference("headers/", "Retry-After")) == 0 &&
                       json_object_set_new(headers, "retry-after-ms",
                                           reference("headers/", "retry-after-ms")) == 0));
}

static json_t *failure_response(const struct failure *f, const struct enso_route *route)
{
    const char *schema = route->dialect == &enso_dialect_native ? "Error" : "PlainError";
    json_t *response;

    if (f->bare)
        return json_pack("{s:s}", "description", f->description);
    response = json_pack("{s:s, s:{s:{s:o}}}", "description", f->description, "content",
                         "application/json", "schema", reference("schemas/", schema));
    if (response == NULL || add_headers(response, route, f->status, f->retry))
        return response;
    json_decref(response);
    return NULL;
}

/* What the operation says itself stands; the rest is added. */
static bool add_responses(json_t *operation, const struct enso_route *route)
{
    json_t *responses = json_object_get(operation, "responses");
    const char *status;
    json_t *response;

    json_object_foreach(responses, status, response)
    {
        if (!add_headers(response, route, status[0] == '2' ? 200 : 503, status[0] == '5'))
            return false;
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(failures); i++) {
        char key[12];

        (void)snprintf(key, sizeof key, "%d", failures[i].status); /* fits */
        if (!applies(&failures[i], route) || json_object_get(responses, key) != NULL)
            continue;
        if (json_object_set_new(responses, key, failure_response(&failures[i], route)) != 0)
            return false;
    }
    return true;
}

static bool add_parameters(json_t *operation, const struct enso_route *route)
{
    json_t *list = json_object_get(operation, "parameters");
    const char *const names[] = {strstr(route->pattern, "{id}") != NULL ? "id" : NULL,
                                 strstr(route->pattern, "{version}") != NULL ? "version" : NULL,
                                 "request_id", route->decode != NULL ? "request_timeout" : NULL};

    if (list == NULL && (json_object_set_new(operation, "parameters", json_array()) != 0 ||
                         (list = json_object_get(operation, "parameters")) == NULL))
        return false;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++)
        if (names[i] != NULL &&
            json_array_append_new(list, reference("parameters/", names[i])) != 0)
            return false;
    return true;
}

/* The operation of a route's name, a copy; "v2_x_version" shares that of "v2_x". */
static json_t *find_operation(const json_t *operations, const char *name)
{
    const char *version = strstr(name, "_version");
    char shared[64];

    if (version == NULL || strlen(name) >= sizeof shared)
        return json_deep_copy(json_object_get(operations, name));
    (void)snprintf(shared, sizeof shared, "%.*s%s", (int)(version - name), name,
                   version + strlen("_version")); /* fits */
    return json_deep_copy(json_object_get(operations, shared));
}

static bool add_route(json_t *document, const struct enso_route *route)
{
    json_t *paths = json_object_get(document, "paths");
    json_t *path = json_object_get(paths, route->pattern);
    json_t *operation = find_operation(json_object_get(document, "operations"), route->name);

    if (operation == NULL)
        return false;
    if (path == NULL && (json_object_set_new(paths, route->pattern, json_object()) != 0 ||
                         (path = json_object_get(paths, route->pattern)) == NULL)) {
        json_decref(operation);
        return false;
    }
    if (json_object_set_new(path, route->method == ENSO_POST ? "post" : "get", operation) != 0)
        return false; /* it has taken the operation */
    return json_object_set_new(operation, "operationId", json_string(route->name)) == 0 &&
           json_object_set_new(operation, "summary", json_string(route->summary)) == 0 &&
           json_object_set_new(operation, "tags", json_pack("[s]", route->dialect->name)) == 0 &&
           add_parameters(operation, route) && add_responses(operation, route);
}

static int append(const char *bytes, size_t size, void *user)
{
    struct enso_buffer *b = user;

    enso_buffer_append(b, bytes, size);
    return b->failed ? -1 : 0;
}

int enso_answer_openapi(struct enso_request *req, struct enso_error *err)
{
    json_t *document = NULL;
    bool whole;
    int st = enso_json_parse(enso_openapi_json, enso_openapi_json_size, NULL, &document, err);

    if (st != ENSO_OK)
        return st;
    whole = json_object_set_new(json_object_get(document, "info"), "version",
                                json_string(PACKAGE_VERSION)) == 0;
    for (size_t i = 0; whole && i < enso_n_routes; i++)
        whole = add_route(document, &enso_routes[i]);
    if (whole)
        (void)json_object_del(document, "operations"); /* it is there */
    whole = whole && json_dump_callback(document, append, &req->answer, JSON_INDENT(1)) == 0;
    json_decref(document);
    enso_buffer_putc(&req->answer, '\n');
    return whole ? 200 : enso_error_no_memory(err, "the document");
}
