/* SPDX-License-Identifier: Apache-2.0
 *
 * One inference request on its way: what every dialect decodes into, and what every answer is
 * encoded from. A dialect is a pair of functions in the route table; everything between them (model
 * lookup, pre-processing, deadline, queue, hang-up, metrics, access log) is server/flow.c and the
 * same for all.
 *
 *     decode   body → inputs and parameters     (loop thread, or the pool when the body is big)
 *     encode   samples' outputs → answer body   (loop thread, or the pool when the answer is big)
 *
 * Ownership: made at on_head, freed when the call is done and no job, pool work or stream holds it
 * (all on the loop thread). Strings of inputs are borrowed from the body, its JSON tree, or the
 * request's arena. While a pool worker or a lane has the request nobody else touches it, except for
 * `gone`, which only the loop sets.
 */
#ifndef ENSO_SERVER_REQUEST_H
#define ENSO_SERVER_REQUEST_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "batching/job.h"
#include "engine/model/model.h"
#include "server/http.h"

struct enso_app;
struct enso_request;
struct enso_route;
struct enso_served;

enum enso_input_kind {
    ENSO_INPUT_TEXT,    /* text, and pair when not NULL */
    ENSO_INPUT_TOKENS,  /* ids */
    ENSO_INPUT_IMAGE,   /* bytes of an encoded picture */
    ENSO_INPUT_TENSORS, /* the graph's own inputs */
};

struct enso_input {
    enum enso_input_kind kind;
    const char *text, *pair; /* UTF-8, not terminated: use the sizes */
    size_t text_size, pair_size;
    const int64_t *ids;
    size_t n_ids;
    const uint8_t *image;
    size_t image_size;
    const struct enso_tensor *tensors; /* in the order of the model's inputs */
    size_t n_tensors;
};

enum enso_tristate { ENSO_UNSET, ENSO_NO, ENSO_YES };

/* Parameters of all dialects; each sets what it knows, the rest keeps these defaults. */
struct enso_parameters {
    bool truncate; /* the model's default, if not given */
    bool truncate_given;
    bool truncate_left;       /* false */
    bool raw_scores;          /* logits */
    bool per_token;           /* embeddings of every token */
    bool per_token_if_bare;   /* the same, unless the folder says how to pool */
    bool base64;              /* embeddings as base64 */
    enum enso_tristate probs; /* full probability vectors; unset: up to 100 classes */
    uint32_t top_k;           /* 5; 0 = all */
    uint32_t dimensions;      /* 0 = all; first n, normalised anew */
    uint64_t timeout_ns;      /* 0 = the configuration's */
    unsigned priority;        /* 5 */
};

struct enso_request {
    struct enso_app *app;
    struct enso_http_call *call;
    const struct enso_route *route;
    struct enso_arena arena; /* the request's life */

    /* decoded */
    const uint8_t *body; /* borrowed from the call, which the request references */
    size_t body_size;
    /* Headers decoders may need, copied: on the pool the call's own may not be read. */
    const char *content_type;     /* or NULL */
    const char *inference_header; /* Inference-Header-Content-Length, or NULL */
    json_t *json;                 /* the body's tree, owned, or NULL */
    const char *model_name;       /* asked for, or NULL: the only one with the task */
    struct enso_input *inputs;
    size_t n_inputs;
    bool single; /* the input was no list: dialects that answer alike */
    struct enso_parameters parameters;
    const char *input_key;    /* how this dialect calls its inputs in error paths; "input" */
    void *dialect;            /* a dialect's own state, in the arena */
    const char *path_model;   /* "{id}" of the route, or NULL */
    const char *path_version; /* "{version}" of the route, or NULL */

    /* on its way */
    struct enso_served *served; /* the model's version, referenced; NULL before lookup */
    struct enso_job *job;       /* NULL before pre-processing and after the end */
    struct enso_error error;    /* why it failed; status OK while it has not */
    uint64_t retry_after_ns;    /* with OVERLOADED, BUDGET, UNAVAILABLE */
    uint64_t deadline_ns;
    uint64_t client;
    size_t charged_bytes; /* taken from the budget for tree, pictures and samples */
    bool gone;            /* the client hung up */

    /* the answer */
    struct enso_buffer answer;
    const char *answer_type; /* content type; NULL = application/json */
    size_t json_header_size; /* KServe V2 binary: bytes of JSON in front; 0 = no such header */

    /* facts for headers, log and metrics */
    char id[132];                       /* X-Request-Id */
    char tag[40];                       /* ours, unique: ids of answers ("clf-...") */
    char trace[33];                     /* trace-id of the client's traceparent, or "" */
    uint64_t start_ns, pre_ns, post_ns; /* monotonic start; durations */
    uint64_t n_tokens, n_items;
    bool truncated;
};

/* A decoder: fills inputs and parameters from body/json, query and headers. Its error carries the
 * JSON path in param. Does not look at models: req->model_name says which is meant. */
typedef int (*enso_decode_fn)(struct enso_request *req, struct enso_error *err);
/* An encoder: writes req->answer from req->served and req->job->samples[i]->outputs. */
typedef int (*enso_encode_fn)(struct enso_request *req, struct enso_error *err);

/* Memory of the request's life; NULL when out of memory. */
void *enso_request_alloc(struct enso_request *req, size_t n, size_t size_bytes);

/* Room for n inputs (zeroed). ENSO_TOO_LARGE over max_inputs, naming both numbers. */
int enso_request_add_inputs(struct enso_request *req, size_t n, struct enso_error *err);

/* Take from the daemon's budget for the request's life; ENSO_BUDGET with retry_after_ns set. */
int enso_request_charge(struct enso_request *req, size_t bytes, struct enso_error *err);

/* Parse the body, or a part of it, as a JSON object into req->json; the tree is charged. */
int enso_request_parse_json(struct enso_request *req, struct enso_error *err);
int enso_request_parse_json_bytes(struct enso_request *req, const uint8_t *bytes, size_t size,
                                  struct enso_error *err);

/* "left" or "right" (any case) into the parameters; path is where it stood. */
int enso_request_truncation(struct enso_request *req, const char *direction, const char *path,
                            struct enso_error *err);

/* The parameters every JSON dialect of ours shares: model, timeout_ms, priority, truncate,
 * truncation_direction. */
int enso_request_common_parameters(struct enso_request *req, struct enso_error *err);

/* Sample i's output. */
static inline const struct enso_tensor *enso_request_output(const struct enso_request *req,
                                                            size_t i)
{
    return &req->job->samples[i]->outputs[0];
}

#endif
