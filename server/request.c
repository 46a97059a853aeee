/* SPDX-License-Identifier: Apache-2.0
 *
 * What decoders of all dialects share: see request.h.
 */
#include "server/request.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "server/app.h"
#include "server/budget.h"

void *enso_request_alloc(struct enso_request *req, size_t n, size_t size_bytes)
{
    return enso_arena_alloc_zero(&req->arena, n, size_bytes);
}

int enso_request_add_inputs(struct enso_request *req, size_t n, struct enso_error *err)
{
    if (n > (size_t)req->app->config->max_inputs) {
        enso_error_code(err, "too_many_inputs");
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "the request has %zu inputs, but at most %lld are taken at once; "
                              "split it, or raise max_inputs in the configuration",
                              n, (long long)req->app->config->max_inputs);
    }
    if (n == 0) {
        enso_error_code(err, "empty");
        return enso_error_set(err, ENSO_INVALID, "the list of inputs is empty; send at least one");
    }
    req->inputs = enso_request_alloc(req, n, sizeof *req->inputs);
    if (req->inputs == NULL)
        return enso_error_no_memory(err, "the request's inputs");
    req->n_inputs = n;
    return ENSO_OK;
}

int enso_request_charge(struct enso_request *req, size_t bytes, struct enso_error *err)
{
    if (!enso_budget_take(req->app->budget, bytes)) {
        req->retry_after_ns = ENSO_NS_PER_S;
        return enso_error_set(err, ENSO_BUDGET,
                              "the requests that are being served use up the memory set by "
                              "request_memory (%zu bytes); try again later",
                              enso_budget_limit(req->app->budget));
    }
    req->charged_bytes += bytes;
    return ENSO_OK;
}

/* A scan of its own before the parser's: what the tree will take is charged before it is built. */
int enso_request_parse_json_bytes(struct enso_request *req, const uint8_t *bytes, size_t size,
                                  struct enso_error *err)
{
    const struct enso_config *config = req->app->config;
    struct enso_json_limits limits = {(size_t)config->max_json_depth,
                                      (size_t)config->max_json_values};
    struct enso_json_shape shape;
    int st;

    if (size == 0) {
        enso_error_code(err, "empty_body");
        return enso_error_set(err, ENSO_INVALID, "the body is empty; send a JSON object");
    }
    st = enso_json_scan((const char *)bytes, size, &limits, &shape, err);
    if (st == ENSO_OK)
        st = enso_request_charge(req, shape.tree_bytes, err);
    if (st == ENSO_OK)
        st = enso_json_parse((const char *)bytes, size, &limits, &req->json, err);
    if (st != ENSO_OK)
        return st;
    if (!json_is_object(req->json))
        return enso_error_set(err, ENSO_INVALID, "the body must be a JSON object, but it is %s",
                              enso_json_type_name(req->json));
    return ENSO_OK;
}

int enso_request_parse_json(struct enso_request *req, struct enso_error *err)
{
    return enso_request_parse_json_bytes(req, req->body, req->body_size, err);
}

int enso_request_truncation(struct enso_request *req, const char *direction, const char *path,
                            struct enso_error *err)
{
    struct enso_parameters *p = &req->parameters;

    p->truncate_left = strcasecmp(direction, "left") == 0;
    if (p->truncate_left || strcasecmp(direction, "right") == 0)
        return ENSO_OK;
    enso_error_param(err, "%s", path);
    return enso_error_set(err, ENSO_INVALID, "truncation_direction must be \"left\" or \"right\"");
}

int enso_request_common_parameters(struct enso_request *req, struct enso_error *err)
{
    struct enso_parameters *p = &req->parameters;
    double timeout_ms = -1;
    int64_t priority = p->priority;
    const char *direction = NULL;
    int st = enso_json_get_string(req->json, "", "model", ENSO_JSON_OPTIONAL, &req->model_name,
                                  NULL, err);

    if (st == ENSO_OK)
        st = enso_json_get_number(req->json, "", "timeout_ms", ENSO_JSON_OPTIONAL, 0, 86400e3,
                                  &timeout_ms, err);
    if (st == ENSO_OK)
        st = enso_json_get_int(req->json, "", "priority", ENSO_JSON_OPTIONAL, 0, 9, &priority, err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(req->json, "", "truncate", ENSO_JSON_OPTIONAL, &p->truncate, err);
    if (st == ENSO_OK)
        st = enso_json_get_string(req->json, "", "truncation_direction", ENSO_JSON_OPTIONAL,
                                  &direction, NULL, err);
    if (st != ENSO_OK)
        return st;
    p->truncate_given = json_is_boolean(json_object_get(req->json, "truncate"));
    if (direction != NULL &&
        (st = enso_request_truncation(req, direction, "truncation_direction", err)) != ENSO_OK)
        return st;
    if (timeout_ms >= 0) {
        p->timeout_ns = (uint64_t)(timeout_ms * 1e6);
        p->timeout_ns = ENSO_MAX(p->timeout_ns, (uint64_t)1);
    }
    p->priority = (unsigned)priority;
    return ENSO_OK;
}
