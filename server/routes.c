/* SPDX-License-Identifier: Apache-2.0
 *
 * The route table and its matcher: see routes.h. Some thirty rows, walked one by one: a comparison
 * of first segments is all that most rows cost.
 */
#include "server/routes.h"

#include <string.h>

#include "server/dialect.h"
#include "server/handlers.h"

#define TEXT_OR_IMAGE_CLASSIFICATION                                                               \
    (1u << ENSO_TASK_TEXT_CLASSIFICATION | 1u << ENSO_TASK_IMAGE_CLASSIFICATION)
#define EMBEDDING (1u << ENSO_TASK_EMBEDDING)
#define ANY_TASK ((1u << ENSO_N_TASKS) - 1)

const struct enso_route enso_routes[] = {
    {ENSO_GET, "/", "index", &enso_dialect_native, "What this is", false, enso_answer_index, NULL,
     NULL, 0},
    {ENSO_GET, "/health", "health", &enso_dialect_native, "Is the daemon alive?", true,
     enso_answer_health, NULL, NULL, 0},
    {ENSO_GET, "/ready", "ready", &enso_dialect_native,
     "Are all models loaded (or failed), does one serve, and is nothing draining?", true,
     enso_answer_ready, NULL, NULL, 0},
    {ENSO_GET, "/metrics", "metrics", &enso_dialect_native, "Metrics for Prometheus", true,
     enso_answer_metrics, NULL, NULL, 0},
    {ENSO_GET, "/openapi.json", "openapi", &enso_dialect_native, "This document", false,
     enso_answer_openapi, NULL, NULL, 0},
    {ENSO_GET, "/v1/models", "models", &enso_dialect_native, "The models that are served", false,
     enso_answer_models, NULL, NULL, 0},
    {ENSO_GET, "/v1/models/{id}", "model", &enso_dialect_native, "One model", false,
     enso_answer_model, NULL, NULL, 0},
    {ENSO_POST, "/v1/classify", "classify", &enso_dialect_native,
     "Texts, text pairs or pictures to labels with probabilities", false, NULL,
     enso_decode_classify, enso_encode_classify, TEXT_OR_IMAGE_CLASSIFICATION},
    {ENSO_POST, "/v1/embeddings", "embeddings", &enso_dialect_native,
     "Texts or token ids to vectors", false, NULL, enso_decode_embeddings, enso_encode_embeddings,
     EMBEDDING},
    {ENSO_POST, "/v1/tokenize", "tokenize", &enso_dialect_native, "Texts to token ids", false,
     enso_answer_tokenize, NULL, NULL, 0},
    {ENSO_POST, "/models/{id}", "huggingface", &enso_dialect_huggingface,
     "The Hugging Face pipeline of the model's task", false, NULL, enso_decode_huggingface,
     enso_encode_huggingface, ANY_TASK},
    {ENSO_GET, "/v2", "v2_server", &enso_dialect_kserve, "KServe V2: server metadata", false,
     enso_answer_v2_server, NULL, NULL, 0},
    {ENSO_GET, "/v2/health/live", "v2_live", &enso_dialect_kserve, "KServe V2: alive?", true,
     enso_answer_v2_live, NULL, NULL, 0},
    {ENSO_GET, "/v2/health/ready", "v2_ready", &enso_dialect_kserve, "KServe V2: ready?", true,
     enso_answer_v2_ready, NULL, NULL, 0},
    {ENSO_GET, "/v2/models/{id}", "v2_model", &enso_dialect_kserve, "KServe V2: model metadata",
     false, enso_answer_v2_model, NULL, NULL, 0},
    {ENSO_GET, "/v2/models/{id}/versions/{version}", "v2_model_version", &enso_dialect_kserve,
     "KServe V2: model metadata", false, enso_answer_v2_model, NULL, NULL, 0},
    {ENSO_GET, "/v2/models/{id}/ready", "v2_model_ready", &enso_dialect_kserve,
     "KServe V2: is the model ready?", true, enso_answer_v2_model_ready, NULL, NULL, 0},
    {ENSO_GET, "/v2/models/{id}/versions/{version}/ready", "v2_model_version_ready",
     &enso_dialect_kserve, "KServe V2: is the model ready?", true, enso_answer_v2_model_ready, NULL,
     NULL, 0},
    {ENSO_POST, "/v2/models/{id}/infer", "v2_infer", &enso_dialect_kserve, "KServe V2: inference",
     false, NULL, enso_decode_v2_infer, enso_encode_v2_infer, ANY_TASK},
    {ENSO_POST, "/v2/models/{id}/versions/{version}/infer", "v2_infer_version",
     &enso_dialect_kserve, "KServe V2: inference", false, NULL, enso_decode_v2_infer,
     enso_encode_v2_infer, ANY_TASK},
};
const size_t enso_n_routes = ENSO_ARRAY_SIZE(enso_routes);

/* What matching a pattern found out. */
struct caught {
    size_t id_first, id_count; /* segments of "{id}" */
    size_t version;            /* segment of "{version}", SIZE_MAX: none */
};

static bool segment_is(const struct enso_http_string *s, const char *literal, size_t size)
{
    return s->size == size && memcmp(s->data, literal, size) == 0;
}

/* Does pattern (its rest, beginning with '/' or empty) match segments [i, n)? */
static bool match_rest(const char *pattern, const struct enso_http_string *segments, size_t i,
                       size_t n, struct caught *c)
{
    size_t length;

    if (*pattern == '\0')
        return i == n;
    pattern++; /* '/' */
    length = strcspn(pattern, "/");
    if (length == 4 && memcmp(pattern, "{id}", 4) == 0) {
        for (size_t count = 1; i + count <= n; count++) {
            if (segments[i + count - 1].size == 0)
                return false; /* ids have no empty parts */
            if (match_rest(pattern + length, segments, i + count, n, c)) {
                c->id_first = i;
                c->id_count = count;
                return true;
            }
        }
        return false;
    }
    if (i >= n)
        return false;
    if (length == 9 && memcmp(pattern, "{version}", 9) == 0)
        c->version = i;
    else if (!segment_is(&segments[i], pattern, length))
        return false;
    return match_rest(pattern + length, segments, i + 1, n, c);
}

/* Fewer segments caught by "{id}" is the better match; literal patterns catch none. */
static bool matches(const struct enso_route *route, const struct enso_http_target *target,
                    struct caught *c)
{
    size_t n = target->n_segments;

    *c = (struct caught){.version = SIZE_MAX};
    if (n > 0 && target->segments[n - 1].size == 0)
        n--; /* "/v2/" is "/v2" */
    return match_rest(strcmp(route->pattern, "/") == 0 ? "" : route->pattern, target->segments, 0,
                      n, c);
}

static char *join_id(const struct enso_http_target *target, const struct caught *c,
                     struct enso_arena *arena)
{
    size_t size = 0;
    char *id, *p;

    for (size_t i = 0; i < c->id_count; i++)
        size += target->segments[c->id_first + i].size + 1;
    p = id = enso_arena_alloc(arena, size + 1);
    if (id == NULL)
        return NULL;
    for (size_t i = 0; i < c->id_count; i++) {
        const struct enso_http_string *s = &target->segments[c->id_first + i];

        if (i != 0)
            *p++ = '/';
        memcpy(p, s->data, s->size);
        p += s->size;
    }
    *p = '\0';
    return id;
}

int enso_routes_match(const char *method, const struct enso_http_target *target,
                      struct enso_arena *arena, struct enso_route_match *ret)
{
    enum enso_method wanted = strcmp(method, "POST") == 0 ? ENSO_POST : ENSO_GET;
    bool known = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || wanted == ENSO_POST;
    struct caught best = {.version = SIZE_MAX}, c;

    *ret = (struct enso_route_match){0};
    for (size_t i = 0; i < enso_n_routes; i++) {
        const struct enso_route *route = &enso_routes[i];

        if (!matches(route, target, &c))
            continue;
        ret->methods |= route->method;
        if (!known || route->method != wanted ||
            (ret->route != NULL && c.id_count >= best.id_count))
            continue;
        ret->route = route;
        best = c;
    }
    if (ret->route == NULL)
        return ENSO_OK;
    if (best.id_count != 0 && (ret->id = join_id(target, &best, arena)) == NULL)
        return ENSO_NO_MEMORY;
    if (best.version != SIZE_MAX)
        ret->version = target->segments[best.version].data;
    return ENSO_OK;
}
