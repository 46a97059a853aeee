/* SPDX-License-Identifier: Apache-2.0
 *
 * From a body to a job of samples: see prepare.h.
 */
#include "server/prepare.h"

#include "base/clock.h"
#include "engine/image/image.h"
#include "server/app.h"
#include "server/registry.h"
#include "server/routes.h"

/* All pictures together: pixels within the limit, told by the headers; their memory charged. What
 * is no picture or too large by itself is left to decoding, which refuses it by the header, too. */
static int check_pictures(struct enso_request *req, struct enso_error *err)
{
    const struct enso_config *config = req->app->config;
    uint64_t pixels = 0, bytes = 0;

    for (size_t i = 0; i < req->n_inputs; i++) {
        struct enso_image_info info;

        if (req->inputs[i].kind != ENSO_INPUT_IMAGE ||
            enso_image_probe(req->inputs[i].image, req->inputs[i].image_size, &info, NULL) !=
                ENSO_OK ||
            (uint64_t)info.width * info.height > (uint64_t)config->max_image_pixels)
            continue;
        pixels += (uint64_t)info.width * info.height;
        bytes = ENSO_MAX(bytes, enso_image_cost_bytes(&info, 3)); /* one at a time */
    }
    if (pixels > (uint64_t)config->max_request_pixels) {
        enso_error_code(err, "too_many_pixels");
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "the pictures have %llu pixels together, but a request may have at "
                              "most %lld (max_request_pixels)",
                              (unsigned long long)pixels, (long long)config->max_request_pixels);
    }
    return enso_request_charge(req, (size_t)ENSO_MIN(bytes, (uint64_t)SIZE_MAX), err);
}

static int encode_input(struct enso_request *req, const struct enso_input *in,
                        const struct enso_sample_options *how, struct enso_sample **ret_sample,
                        struct enso_error *err)
{
    const struct enso_model *m = req->served->model;

    switch (in->kind) {
    case ENSO_INPUT_TEXT:
        return enso_model_encode_text(m, in->text, in->text_size, in->pair, in->pair_size, how,
                                      ret_sample, err);
    case ENSO_INPUT_TOKENS:
        return enso_model_encode_tokens(m, in->ids, in->n_ids, how, ret_sample, err);
    case ENSO_INPUT_IMAGE:
        return enso_model_encode_image(m, in->image, in->image_size, how, ret_sample, err);
    case ENSO_INPUT_TENSORS:
        return enso_model_encode_tensors(m, in->tensors, in->n_tensors, ret_sample, err);
    }
    return enso_error_set(err, ENSO_INTERNAL, "an input of unknown kind");
}

/* Inputs to samples, in a job of their own. */
static int encode_inputs(struct enso_request *req, struct enso_error *err)
{
    const struct enso_parameters *p = &req->parameters;
    struct enso_sample_options how = {.truncate = p->truncate,
                                      .truncate_left = p->truncate_left,
                                      .want_raw = p->raw_scores,
                                      .want_tokens = p->per_token};
    const struct enso_model_info *info = enso_model_info(req->served->model);
    int st = check_pictures(req, err);

    if (st != ENSO_OK)
        return st;
    how.want_tokens = how.want_tokens || (p->per_token_if_bare && !info->pooling_given);
    req->job = enso_job_create((uint32_t)req->n_inputs);
    if (req->job == NULL)
        return enso_error_no_memory(err, "the request's job");
    for (size_t i = 0; i < req->n_inputs; i++) {
        struct enso_sample *s;

        st = encode_input(req, &req->inputs[i], &how, &req->job->samples[i], err);
        if (st != ENSO_OK) {
            if (req->single)
                enso_error_param(err, "%s", req->input_key);
            else
                enso_error_param(err, "%s[%zu]", req->input_key, i);
            return st;
        }
        s = req->job->samples[i];
        req->n_tokens += s->n_tokens;
        req->n_items += s->n_items;
        req->truncated = req->truncated || s->truncated;
        /* one by one: small pictures may become tensors a thousand times their size */
        st = enso_request_charge(req, s->arena.total_bytes, err);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

int enso_prepare(struct enso_request *req)
{
    uint64_t start_ns = enso_clock_now_ns();
    int st;

    if (req->route->decode == NULL) {
        int code = req->route->answer(req, &req->error);

        req->pre_ns = enso_clock_now_ns() - start_ns;
        return code;
    }
    st = req->route->decode(req, &req->error);
    if (st == ENSO_OK && req->served == NULL) {
        st = enso_registry_find(req->app->registry, req->model_name, req->route->tasks,
                                &req->served, &req->error);
        if (st == ENSO_OK && !req->parameters.truncate_given)
            req->parameters.truncate = req->served->truncate;
    }
    if (st == ENSO_OK)
        st = encode_inputs(req, &req->error);
    if (st != ENSO_OK && req->error.status == ENSO_OK) /* a decoder that set no sentence */
        (void)enso_error_set(&req->error, (enum enso_status)st, "%s",
                             enso_status_text((enum enso_status)st));
    req->pre_ns = enso_clock_now_ns() - start_ns;
    return st;
}
