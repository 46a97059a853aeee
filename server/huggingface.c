/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /models/{id}: the pipelines of Hugging Face. The body is {"inputs": ..., "parameters":
 * {...}} or, for pictures, their bytes; what the answer looks like depends on the model's task, so
 * the model is looked up here before the body is read.
 *
 *   text-classification   [[{"label","score"}, ...]]   all labels, best first; one list per input,
 *                                                      the outer one also for a single input
 *   image-classification  [{"label","score"}, ...]     top 5; a list of them for a list of inputs
 *   feature-extraction    [f, ...] pooled (folders that say how), a list of them for a list;
 *                         [[[f, ...] per token] per input] otherwise
 *
 * Parameters that are not known are ignored, as there. Source: huggingface_hub's InferenceClient
 * and the task pages of its documentation.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/number.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/inputs.h"
#include "server/meters.h"
#include "server/registry.h"
#include "server/scores.h"

#define IMAGE_TOP_K 5

/* What is to be done to the model's scores. */
enum apply { APPLY_NOTHING, APPLY_SOFTMAX, APPLY_SIGMOID };

/* The dialect's own part of a request. */
struct pipeline {
    enum apply apply; /* on raw scores; APPLY_NOTHING: they are what is wanted */
    bool normalize;   /* vectors to length 1, which the model does not do by itself */
};

static const struct enso_model_info *info_of(const struct enso_request *req)
{
    return enso_model_info(req->served->model);
}

/* --- parameters ------------------------------------------------------------------------------ */

/* "softmax", "sigmoid" or "none"; what the model does by itself needs nothing from here. */
static int read_function(struct enso_request *req, const json_t *parameters, struct pipeline *p,
                         struct enso_error *err)
{
    bool multi_label = info_of(req)->multi_label;
    const char *name = NULL;
    int st = enso_json_get_string(parameters, "parameters", "function_to_apply", ENSO_JSON_OPTIONAL,
                                  &name, NULL, err);

    if (st != ENSO_OK || name == NULL)
        return st;
    if (strcmp(name, "softmax") == 0) {
        p->apply = multi_label ? APPLY_SOFTMAX : APPLY_NOTHING;
        req->parameters.raw_scores = multi_label;
    } else if (strcmp(name, "sigmoid") == 0) {
        p->apply = multi_label ? APPLY_NOTHING : APPLY_SIGMOID;
        req->parameters.raw_scores = !multi_label;
    } else if (strcmp(name, "none") == 0) {
        req->parameters.raw_scores = true;
    } else {
        enso_error_param(err, "parameters.function_to_apply");
        return enso_error_set(err, ENSO_INVALID,
                              "function_to_apply must be \"softmax\", \"sigmoid\" or \"none\"");
    }
    return ENSO_OK;
}

/* truncation: true, false, or a strategy's name; truncate: true or false. */
static int read_truncation(struct enso_request *req, const json_t *parameters,
                           struct enso_error *err)
{
    const json_t *truncation = json_object_get(parameters, "truncation");
    struct enso_parameters *p = &req->parameters;
    const char *direction = NULL;
    int st;

    if (json_is_string(truncation))
        p->truncate = strcmp(json_string_value(truncation), "do_not_truncate") != 0;
    else if (json_is_boolean(truncation))
        p->truncate = json_is_true(truncation);
    else if (truncation != NULL && !json_is_null(truncation))
        return enso_json_wrong_type(truncation, "parameters.truncation",
                                    "true, false or the name of a strategy", err);
    st = enso_json_get_bool(parameters, "parameters", "truncate", ENSO_JSON_OPTIONAL, &p->truncate,
                            err);
    if (st == ENSO_OK)
        st = enso_json_get_string(parameters, "parameters", "truncation_direction",
                                  ENSO_JSON_OPTIONAL, &direction, NULL, err);
    if (st != ENSO_OK || direction == NULL)
        return st;
    return enso_request_truncation(req, direction, "parameters.truncation_direction", err);
}

static int read_classification(struct enso_request *req, const json_t *parameters,
                               struct pipeline *p, struct enso_error *err)
{
    int64_t top_k = req->parameters.top_k;
    int st = enso_json_get_int(parameters, "parameters", "top_k", ENSO_JSON_OPTIONAL, 0, 1000000,
                               &top_k, err);

    req->parameters.top_k = (uint32_t)top_k;
    return st != ENSO_OK ? st : read_function(req, parameters, p, err);
}

static int read_extraction(struct enso_request *req, const json_t *parameters, struct pipeline *p,
                           struct enso_error *err)
{
    const struct enso_model_info *info = info_of(req);
    bool normalize = info->normalized;
    int64_t dimensions = 0;
    int st;

    req->parameters.per_token_if_bare = true;
    st = enso_json_get_bool(parameters, "parameters", "normalize", ENSO_JSON_OPTIONAL, &normalize,
                            err);
    if (st == ENSO_OK)
        st = enso_json_get_int(parameters, "parameters", "dimensions", ENSO_JSON_OPTIONAL, 1,
                               info->dimensions, &dimensions, err);
    if (st != ENSO_OK)
        return st;
    req->parameters.dimensions = (uint32_t)dimensions;
    p->normalize = normalize && !info->normalized; /* once is enough */
    if (info->normalized && !normalize) {
        enso_error_param(err, "parameters.normalize");
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "model '%s' normalises its vectors by itself; leave normalize out",
                              req->served->id);
    }
    return ENSO_OK;
}

static int read_parameters(struct enso_request *req, const json_t *parameters, struct pipeline *p,
                           struct enso_error *err)
{
    int st = read_truncation(req, parameters, err);

    if (st != ENSO_OK)
        return st;
    return info_of(req)->task == ENSO_TASK_EMBEDDING ? read_extraction(req, parameters, p, err)
                                                     : read_classification(req, parameters, p, err);
}

/* --- inputs ---------------------------------------------------------------------------------- */

static int read_picture(struct enso_request *req, const json_t *value, const char *path,
                        struct enso_input *in, struct enso_error *err)
{
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    int st;

    if (text == NULL)
        return enso_json_wrong_type(value, path, "a picture as base64 in a string", err);
    if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) {
        enso_error_param(err, "%s", path);
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "ensod fetches nothing; send the picture itself, as base64 or as the "
                              "bare body");
    }
    st = enso_input_from_data_url(req, text, size, true, in, err);
    if (st != ENSO_OK)
        enso_error_param(err, "%s", path);
    return st;
}

static int read_pictures(struct enso_request *req, struct enso_error *err)
{
    const json_t *inputs = json_object_get(req->json, "inputs");
    int st;

    if (inputs == NULL) {
        enso_error_param(err, "inputs");
        return enso_error_set(err, ENSO_INVALID,
                              "\"inputs\" is missing; it holds a picture as base64, or a list");
    }
    req->single = !json_is_array(inputs);
    st = enso_request_add_inputs(req, req->single ? 1 : json_array_size(inputs), err);
    if (st != ENSO_OK) {
        enso_error_param(err, "inputs");
        return st;
    }
    if (req->single)
        return read_picture(req, inputs, "inputs", &req->inputs[0], err);
    for (size_t i = 0; st == ENSO_OK && i < req->n_inputs; i++) {
        char path[48];

        (void)snprintf(path, sizeof path, "inputs[%zu]", i); /* fits */
        st = read_picture(req, json_array_get(inputs, i), path, &req->inputs[i], err);
    }
    return st;
}

/* The model first: the shape of the body depends on it. */
static int find_model(struct enso_request *req, struct enso_error *err)
{
    int st = enso_registry_find(req->app->registry, req->model_name, 0, &req->served, err);

    if (st != ENSO_OK)
        return st;
    req->parameters.truncate = req->served->truncate;
    req->parameters.top_k = info_of(req)->task == ENSO_TASK_IMAGE_CLASSIFICATION ? IMAGE_TOP_K : 0;
    if (info_of(req)->task != ENSO_TASK_TENSORS)
        return ENSO_OK;
    enso_error_code(err, "wrong_task");
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "model '%s' is driven by tensors and has no pipeline; send them to "
                          "POST /v2/models/%s/infer",
                          req->served->id, req->served->id);
}

static int decode_picture_body(struct enso_request *req, enum enso_body_kind kind,
                               struct pipeline *p, struct enso_error *err)
{
    int st;

    if (!info_of(req)->takes_images) {
        enso_error_code(err, "wrong_task");
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "model '%s' (%s) takes text; send {\"inputs\": \"...\"} as "
                              "application/json",
                              req->served->id, enso_task_name(info_of(req)->task));
    }
    st = read_parameters(req, NULL, p, err); /* the defaults of the task */
    return st != ENSO_OK ? st : enso_inputs_from_picture_body(req, kind, err);
}

int enso_decode_huggingface(struct enso_request *req, struct enso_error *err)
{
    struct pipeline *p = enso_request_alloc(req, 1, sizeof *p);
    json_t *parameters = NULL;
    enum enso_body_kind kind;
    int st = p != NULL ? find_model(req, err) : enso_error_no_memory(err, "the request");

    req->dialect = p;
    if (st == ENSO_OK)
        st = enso_body_kind(req, &kind, err);
    if (st != ENSO_OK)
        return st;
    if (kind != ENSO_BODY_JSON)
        return decode_picture_body(req, kind, p, err);
    st = enso_request_parse_json(req, err);
    if (st == ENSO_OK)
        st =
            enso_json_get_object(req->json, "", "parameters", ENSO_JSON_OPTIONAL, &parameters, err);
    if (st == ENSO_OK)
        st = read_parameters(req, parameters, p, err);
    if (st != ENSO_OK)
        return st;
    req->input_key = "inputs";
    return info_of(req)->takes_images ? read_pictures(req, err)
                                      : enso_inputs_from_json(req, "inputs", err);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void apply_function(enum apply apply, float *x, uint32_t n)
{
    float max = x[0], sum = 0;

    if (apply == APPLY_SIGMOID)
        for (uint32_t i = 0; i < n; i++)
            x[i] = 1.0f / (1.0f + expf(-x[i]));
    if (apply != APPLY_SOFTMAX)
        return;
    for (uint32_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (uint32_t i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - max);
    for (uint32_t i = 0; i < n; i++)
        x[i] /= sum;
}

static int encode_scores(struct enso_request *req, const struct pipeline *p, struct enso_error *err)
{
    const struct enso_model_info *info = info_of(req);
    bool listed = info->task == ENSO_TASK_TEXT_CLASSIFICATION || !req->single;
    struct enso_buffer *b = &req->answer;

    if (listed)
        enso_buffer_putc(b, '[');
    for (size_t i = 0; i < req->n_inputs; i++) {
        float *scores = enso_request_output(req, i)->data;
        uint32_t k, *top;

        apply_function(p->apply, scores, info->n_labels);
        top = enso_scores_top(req, scores, info->n_labels, req->parameters.top_k, &k);
        if (top == NULL)
            return enso_error_no_memory(err, "the answer");
        if (i != 0)
            enso_buffer_putc(b, ',');
        enso_scores_write(b, info, scores, top, k);
        if (!req->parameters.raw_scores)
            enso_meters_predicted(&req->served->meters, top[0], scores[top[0]]);
    }
    if (listed)
        enso_buffer_putc(b, ']');
    return ENSO_OK;
}

/* The first `kept` of a vector; cut or asked for, of length 1. In the sample's own memory. */
static void write_vector(struct enso_buffer *b, const struct pipeline *p, float *x, uint32_t n,
                         uint32_t kept)
{
    double sum = 0;

    if (kept < n || p->normalize) {
        for (uint32_t i = 0; i < kept; i++)
            sum += (double)x[i] * (double)x[i];
        for (uint32_t i = 0; sum > 0 && i < kept; i++)
            x[i] = (float)((double)x[i] / sqrt(sum));
    }
    enso_buffer_put_f32_array(b, x, kept);
}

static void encode_vectors(struct enso_request *req, const struct pipeline *p)
{
    struct enso_buffer *b = &req->answer;
    bool per_token = !info_of(req)->pooling_given, listed = per_token || !req->single;

    if (listed)
        enso_buffer_putc(b, '[');
    for (size_t i = 0; i < req->n_inputs; i++) {
        const struct enso_tensor *t = enso_request_output(req, i); /* [1 or tokens, D] */
        uint32_t n = (uint32_t)t->dims[1];
        uint32_t kept = req->parameters.dimensions != 0 ? req->parameters.dimensions : n;

        if (i != 0)
            enso_buffer_putc(b, ',');
        if (per_token)
            enso_buffer_putc(b, '[');
        for (int64_t row = 0; row < t->dims[0]; row++) {
            if (row != 0)
                enso_buffer_putc(b, ',');
            write_vector(b, p, (float *)t->data + row * t->dims[1], n, ENSO_MIN(kept, n));
        }
        if (per_token)
            enso_buffer_putc(b, ']');
    }
    if (listed)
        enso_buffer_putc(b, ']');
}

int enso_encode_huggingface(struct enso_request *req, struct enso_error *err)
{
    const struct pipeline *p = req->dialect;
    int st = ENSO_OK;

    if (info_of(req)->task == ENSO_TASK_EMBEDDING)
        encode_vectors(req, p);
    else
        st = encode_scores(req, p, err);
    enso_buffer_putc(&req->answer, '\n');
    return st;
}
