/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/classify: texts, text pairs or pictures → labels with probabilities. docs/api.md has the
 * shapes.
 */
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/number.h"
#include "server/handlers.h"
#include "server/inputs.h"
#include "server/meters.h"
#include "server/registry.h"
#include "server/scores.h"

/* Above so many classes the vector of probabilities is given only on request. */
#define MAX_PROBS_UNASKED 100

int enso_decode_classify(struct enso_request *req, struct enso_error *err)
{
    struct enso_parameters *p = &req->parameters;
    enum enso_body_kind kind;
    bool probs = false;
    int64_t top_k;
    int st = enso_body_kind(req, &kind, err);

    if (st != ENSO_OK)
        return st;
    if (kind != ENSO_BODY_JSON)
        return enso_inputs_from_picture_body(req, kind, err);
    st = enso_inputs_read_query(req, err);
    top_k = p->top_k;
    if (st == ENSO_OK)
        st = enso_request_parse_json(req, err);
    if (st == ENSO_OK)
        st = enso_request_common_parameters(req, err);
    if (st == ENSO_OK)
        st = enso_json_get_int(req->json, "", "top_k", ENSO_JSON_OPTIONAL, 0, 1000000, &top_k, err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(req->json, "", "raw_scores", ENSO_JSON_OPTIONAL, &p->raw_scores,
                                err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(req->json, "", "probs", ENSO_JSON_OPTIONAL, &probs, err);
    if (st != ENSO_OK)
        return st;
    p->top_k = (uint32_t)top_k;
    if (json_is_boolean(json_object_get(req->json, "probs")))
        p->probs = probs ? ENSO_YES : ENSO_NO;
    return enso_inputs_from_json(req, "input", err);
}

static int write_row(struct enso_request *req, size_t i, struct enso_error *err)
{
    const struct enso_model_info *info = enso_model_info(req->served->model);
    const struct enso_parameters *p = &req->parameters;
    const float *scores = enso_request_output(req, i)->data;
    struct enso_buffer *b = &req->answer;
    uint32_t k, *top = enso_scores_top(req, scores, info->n_labels, p->top_k, &k);

    if (top == NULL)
        return enso_error_no_memory(err, "the answer");
    enso_buffer_puts(b, i != 0 ? ",{\"index\":" : "{\"index\":");
    enso_buffer_put_u64(b, i);
    enso_buffer_puts(b, ",\"label\":");
    enso_buffer_put_json_string(b, info->labels[top[0]], strlen(info->labels[top[0]]));
    enso_buffer_puts(b, ",\"score\":");
    enso_buffer_put_f32(b, scores[top[0]]);
    enso_buffer_puts(b, ",\"num_classes\":");
    enso_buffer_put_u64(b, info->n_labels);
    if (p->probs == ENSO_YES || (p->probs == ENSO_UNSET && info->n_labels <= MAX_PROBS_UNASKED)) {
        enso_buffer_puts(b, ",\"probs\":");
        enso_buffer_put_f32_array(b, scores, info->n_labels);
    }
    enso_buffer_puts(b, ",\"top\":");
    enso_scores_write(b, info, scores, top, k);
    if (req->job->samples[i]->truncated)
        enso_buffer_puts(b, ",\"truncated\":true");
    enso_buffer_putc(b, '}');
    if (!p->raw_scores)
        enso_meters_predicted(&req->served->meters, top[0], scores[top[0]]);
    return ENSO_OK;
}

int enso_encode_classify(struct enso_request *req, struct enso_error *err)
{
    struct enso_buffer *b = &req->answer;
    int st = ENSO_OK;

    enso_buffer_puts(b, "{\"id\":\"clf-");
    enso_buffer_puts(b, req->tag);
    enso_buffer_puts(b, "\",\"object\":\"list\",\"created\":");
    enso_buffer_put_i64(b, enso_clock_wall_seconds());
    enso_buffer_puts(b, ",\"model\":");
    enso_buffer_put_json_string(b, req->served->id, strlen(req->served->id));
    enso_buffer_puts(b, ",\"data\":[");
    for (size_t i = 0; st == ENSO_OK && i < req->n_inputs; i++)
        st = write_row(req, i, err);
    enso_buffer_puts(b, "],\"usage\":{\"prompt_tokens\":");
    enso_buffer_put_u64(b, req->n_tokens);
    enso_buffer_puts(b, ",\"total_tokens\":");
    enso_buffer_put_u64(b, req->n_tokens);
    enso_buffer_puts(b, "}}\n");
    return st;
}
