/* SPDX-License-Identifier: Apache-2.0
 *
 * KServe V2: POST .../infer, the request. The body is JSON, or JSON with binary data behind it when
 * the header Inference-Header-Content-Length says how long the JSON is; with 0 there, the body is
 * nothing but the data of the model's only input. See kserve.h.
 *
 * The model is looked up first: what its inputs are called decides how it is driven. Rows of texts
 * and pictures become inputs of the request, one each; the graph's own inputs one of tensors.
 */
#include "server/kserve.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/inputs.h"
#include "server/registry.h"

#define MAX_TENSORS 256 /* inputs or outputs named in a request */
#define MAX_TIMEOUT_US INT64_C(86400000000)

/* The request while it is read. */
struct reading {
    struct enso_request *req;
    const struct enso_model_info *info;
    struct enso_v2_infer *infer;
    struct enso_error *err;
    struct enso_v2_tensor *tensors;
    size_t n_tensors;
    const uint8_t *binary; /* what is left of the binary data */
    size_t binary_left;
    bool has_binary;     /* the header was there */
    bool binary_outputs; /* unless an output says otherwise */
};

/* "text, text_pair": the names that there are. */
static void list_names(const struct reading *r,
                       bool (*border)(const struct enso_model_info *, enum enso_v2_drive, size_t,
                                      struct enso_v2_border *),
                       char *out, size_t size)
{
    struct enso_v2_border b;
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; border(r->info, r->infer->drive, i, &b); i++) {
        if (used + strlen(b.name) + 8 > size) {
            (void)snprintf(out + used, size - used, ", ..."); /* fits */
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", i != 0 ? ", " : "", b.name);
    }
}

/* --- one input as it was sent -------------------------------------------------------------------
 */

static int bad_shape(struct reading *r, const struct enso_v2_tensor *t, const char *what)
{
    enso_error_param(r->err, "%s.shape", t->path);
    enso_error_code(r->err, "wrong_shape");
    return enso_error_set(r->err, ENSO_INVALID, "the shape of input '%.60s' %s", t->name, what);
}

static int read_shape(struct reading *r, const json_t *input, struct enso_v2_tensor *t)
{
    json_t *shape = NULL;
    int64_t count;
    int st = enso_json_get_array(input, t->path, "shape", ENSO_JSON_REQUIRED, &shape, r->err);

    if (st != ENSO_OK)
        return st;
    if (json_array_size(shape) > ENSO_MAX_RANK)
        return bad_shape(r, t, "has more than 8 dimensions");
    t->rank = (uint8_t)json_array_size(shape);
    for (uint8_t d = 0; d < t->rank; d++) {
        const json_t *v = json_array_get(shape, d);

        if (!json_is_integer(v))
            return bad_shape(r, t, "must be a list of integers");
        t->dims[d] = json_integer_value(v);
        if (t->dims[d] < 0)
            return bad_shape(r, t,
                             "has a negative dimension; say how many there are (-1 stands in "
                             "metadata only)");
    }
    if (!enso_dims_count(t->dims, t->rank, &count))
        return bad_shape(r, t, "has more elements than can be counted");
    t->count = (size_t)count;
    return ENSO_OK;
}

static int read_datatype(struct reading *r, const json_t *input, struct enso_v2_tensor *t)
{
    const char *name = NULL;
    int st =
        enso_json_get_string(input, t->path, "datatype", ENSO_JSON_REQUIRED, &name, NULL, r->err);

    if (st != ENSO_OK || enso_v2_dtype_parse(name, &t->dtype))
        return st;
    enso_error_param(r->err, "%s.datatype", t->path);
    enso_error_code(r->err, "wrong_datatype");
    return enso_error_set(r->err, ENSO_INVALID,
                          "datatype '%.20s' is not known; there are BOOL, UINT8 to UINT64, INT8 to "
                          "INT64, FP16, BF16, FP32, FP64 and BYTES",
                          name);
}

/* The next size bytes of the binary data. */
static int take_binary(struct reading *r, struct enso_v2_tensor *t, int64_t size)
{
    if (r->has_binary && (uint64_t)size <= r->binary_left) {
        t->bytes = r->binary;
        t->size = (size_t)size;
        r->binary += size;
        r->binary_left -= (size_t)size;
        return ENSO_OK;
    }
    enso_error_param(r->err, "%s.parameters.binary_data_size", t->path);
    enso_error_code(r->err, "wrong_size");
    if (!r->has_binary)
        return enso_error_set(r->err, ENSO_INVALID,
                              "input '%.60s' has binary_data_size, but the header "
                              "Inference-Header-Content-Length is not there; it says where the "
                              "JSON ends",
                              t->name);
    return enso_error_set(r->err, ENSO_INVALID,
                          "input '%.60s' has %lld bytes of binary data, but only %zu are left in "
                          "the body",
                          t->name, (long long)size, r->binary_left);
}

static int read_data(struct reading *r, const json_t *input, struct enso_v2_tensor *t)
{
    char path[48];
    json_t *parameters = NULL, *data = NULL;
    int64_t size = -1;
    int st =
        enso_json_get_object(input, t->path, "parameters", ENSO_JSON_OPTIONAL, &parameters, r->err);

    (void)snprintf(path, sizeof path, "%s.parameters", t->path); /* fits */
    if (st == ENSO_OK)
        st = enso_json_get_int(parameters, path, "binary_data_size", ENSO_JSON_OPTIONAL, 0,
                               INT64_MAX, &size, r->err);
    if (st == ENSO_OK)
        st = enso_json_get_array(input, t->path, "data", ENSO_JSON_OPTIONAL, &data, r->err);
    if (st != ENSO_OK)
        return st;
    if (json_object_get(parameters, "shared_memory_region") != NULL) {
        enso_error_param(r->err, "%s.shared_memory_region", path);
        return enso_error_set(r->err, ENSO_UNSUPPORTED,
                              "shared memory is not supported; send the data in the body");
    }
    t->data = data;
    if ((data == NULL) == (size < 0)) {
        enso_error_param(r->err, "%s.data", t->path);
        return enso_error_set(r->err, ENSO_INVALID,
                              data != NULL ? "input '%.60s' has both data and binary_data_size; "
                                             "send one of them"
                                           : "input '%.60s' has no data; give \"data\", or "
                                             "binary_data_size in its parameters",
                              t->name);
    }
    return size >= 0 ? take_binary(r, t, size) : ENSO_OK;
}

static int read_tensor(struct reading *r, const json_t *input, size_t i)
{
    struct enso_v2_tensor *t = &r->tensors[i];
    int st;

    (void)snprintf(t->path, sizeof t->path, "inputs[%zu]", i); /* fits */
    if (!json_is_object(input))
        return enso_json_wrong_type(input, t->path, "an object", r->err);
    st = enso_json_get_string(input, t->path, "name", ENSO_JSON_REQUIRED, &t->name, NULL, r->err);
    if (st == ENSO_OK)
        st = read_datatype(r, input, t);
    if (st == ENSO_OK)
        st = read_shape(r, input, t);
    if (st == ENSO_OK)
        st = read_data(r, input, t);
    for (size_t k = 0; st == ENSO_OK && k < i; k++)
        if (strcmp(r->tensors[k].name, t->name) == 0) {
            enso_error_param(r->err, "%s.name", t->path);
            st = enso_error_set(r->err, ENSO_INVALID, "input '%.60s' is there twice", t->name);
        }
    return st;
}

static int read_tensors(struct reading *r)
{
    json_t *inputs = NULL;
    int st = enso_json_get_array(r->req->json, "", "inputs", ENSO_JSON_REQUIRED, &inputs, r->err);

    if (st != ENSO_OK)
        return st;
    r->n_tensors = json_array_size(inputs);
    if (r->n_tensors == 0 || r->n_tensors > MAX_TENSORS) {
        enso_error_param(r->err, "inputs");
        return enso_error_set(r->err, ENSO_INVALID, "%zu inputs were sent; send 1 to %d",
                              r->n_tensors, MAX_TENSORS);
    }
    r->tensors = enso_request_alloc(r->req, r->n_tensors, sizeof *r->tensors);
    if (r->tensors == NULL)
        return enso_error_no_memory(r->err, "the inputs");
    for (size_t i = 0; st == ENSO_OK && i < r->n_tensors; i++)
        st = read_tensor(r, json_array_get(inputs, i), i);
    if (st == ENSO_OK && r->binary_left != 0) {
        enso_error_code(r->err, "wrong_size");
        st = enso_error_set(r->err, ENSO_INVALID,
                            "%zu bytes of binary data belong to no input; the binary_data_size of "
                            "all must add up to what follows the JSON",
                            r->binary_left);
    }
    return st;
}

/* --- inputs to the model's ----------------------------------------------------------------------
 */

static const struct enso_v2_tensor *find_tensor(const struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->n_tensors; i++)
        if (strcmp(r->tensors[i].name, name) == 0)
            return &r->tensors[i];
    return NULL;
}

static void choose_drive(struct reading *r)
{
    const struct enso_v2_tensor *image = find_tensor(r, "image");

    r->infer->drive = r->info->takes_text ? ENSO_V2_TEXT
                      : r->info->takes_images && image != NULL && image->dtype == ENSO_V2_BYTES
                          ? ENSO_V2_IMAGES
                          : ENSO_V2_OWN;
}

/* Every input sent is the model's, and every input it needs was sent. */
static int check_names(struct reading *r)
{
    struct enso_v2_border b;
    char names[200];

    list_names(r, enso_v2_input, names, sizeof names);
    for (size_t i = 0; i < r->n_tensors; i++) {
        size_t k = 0;

        while (enso_v2_input(r->info, r->infer->drive, k, &b) &&
               strcmp(b.name, r->tensors[i].name) != 0)
            k++;
        if (enso_v2_input(r->info, r->infer->drive, k, &b))
            continue;
        enso_error_param(r->err, "%s.name", r->tensors[i].path);
        enso_error_code(r->err, "unknown_input");
        return enso_error_set(r->err, ENSO_INVALID,
                              "model '%s' has no input '%.60s' here; it takes: %s%s",
                              r->req->served->id, r->tensors[i].name, names,
                              r->infer->drive == ENSO_V2_IMAGES ? " alone"
                              : r->info->takes_images           ? " (or 'image' alone, as BYTES)"
                                                                : "");
    }
    for (size_t k = 0; enso_v2_input(r->info, r->infer->drive, k, &b); k++) {
        if (b.optional || find_tensor(r, b.name) != NULL)
            continue;
        enso_error_param(r->err, "inputs");
        enso_error_code(r->err, "missing_input");
        return enso_error_set(r->err, ENSO_INVALID,
                              "input '%.60s' is missing; model '%s' takes: %s", b.name,
                              r->req->served->id, names);
    }
    return ENSO_OK;
}

/* The strings of a column: shape [n], or [n, 1] as batching clients send it. */
static int read_column(struct reading *r, const struct enso_v2_tensor *t, bool text,
                       struct enso_v2_string **ret)
{
    if (t->rank != 1 && !(t->rank == 2 && t->dims[1] == 1))
        return bad_shape(r, t, "must be [n] or [n, 1]");
    if (t->count > (size_t)r->req->app->config->max_inputs) /* before the list is made */
        return enso_request_add_inputs(r->req, t->count, r->err);
    return enso_v2_read_strings(r->req, t, text, ret, r->err);
}

static int bind_texts(struct reading *r)
{
    const struct enso_v2_tensor *text = find_tensor(r, "text"), *pair = find_tensor(r, "text_pair");
    struct enso_v2_string *texts = NULL, *pairs = NULL;
    int st = read_column(r, text, true, &texts);

    if (st == ENSO_OK && pair != NULL && pair->count != text->count)
        st = bad_shape(r, pair, "must have as many rows as 'text'");
    if (st == ENSO_OK && pair != NULL)
        st = read_column(r, pair, true, &pairs);
    if (st == ENSO_OK)
        st = enso_request_add_inputs(r->req, text->count, r->err);
    if (st != ENSO_OK) {
        enso_error_param(r->err, "%s", text->path);
        return st;
    }
    for (size_t i = 0; i < text->count; i++)
        r->req->inputs[i] = (struct enso_input){
            .kind = ENSO_INPUT_TEXT,
            .text = texts[i].data,
            .text_size = texts[i].size,
            .pair = pairs != NULL ? pairs[i].data : NULL,
            .pair_size = pairs != NULL ? pairs[i].size : 0,
        };
    r->req->input_key = "text";
    return ENSO_OK;
}

/* In JSON a picture is base64, in binary data its own bytes. */
static int bind_pictures(struct reading *r)
{
    const struct enso_v2_tensor *t = find_tensor(r, "image");
    struct enso_v2_string *list = NULL;
    int st = read_column(r, t, false, &list);

    if (st == ENSO_OK)
        st = enso_request_add_inputs(r->req, t->count, r->err);
    for (size_t i = 0; st == ENSO_OK && i < t->count; i++) {
        if (t->data == NULL) {
            r->req->inputs[i] = (struct enso_input){.kind = ENSO_INPUT_IMAGE,
                                                    .image = (const uint8_t *)list[i].data,
                                                    .image_size = list[i].size};
            continue;
        }
        st = enso_input_from_data_url(r->req, list[i].data, list[i].size, true, &r->req->inputs[i],
                                      r->err);
        if (st != ENSO_OK)
            enso_error_param(r->err, "%s.data[%zu]", t->path, i);
    }
    if (st != ENSO_OK)
        enso_error_param(r->err, "%s", t->path);
    r->req->input_key = "image";
    return st;
}

static int bind_own(struct reading *r)
{
    size_t n = r->info->n_inputs;
    struct enso_tensor *tensors = enso_request_alloc(r->req, n + 1, sizeof *tensors);
    int st = tensors != NULL ? ENSO_OK : enso_error_no_memory(r->err, "the input tensors");

    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        const struct enso_tensor_info *info = &r->info->inputs[i];
        const struct enso_v2_tensor *t = find_tensor(r, info->name);

        if (r->info->batched && t->rank != 0 && t->dims[0] > r->req->app->config->max_inputs) {
            enso_error_param(r->err, "%s.shape[0]", t->path);
            return enso_request_add_inputs(r->req, (size_t)t->dims[0], r->err);
        }
        st = enso_v2_read_values(r->req, t, info->dtype, &tensors[i], r->err);
    }
    if (st == ENSO_OK)
        st = enso_request_add_inputs(r->req, 1, r->err);
    if (st != ENSO_OK)
        return st;
    r->req->inputs[0] =
        (struct enso_input){.kind = ENSO_INPUT_TENSORS, .tensors = tensors, .n_tensors = n};
    r->req->input_key = "inputs";
    r->req->single = true;
    return ENSO_OK;
}

static int bind_inputs(struct reading *r)
{
    int st;

    choose_drive(r);
    st = check_names(r);
    if (st != ENSO_OK)
        return st;
    return r->infer->drive == ENSO_V2_TEXT     ? bind_texts(r)
           : r->infer->drive == ENSO_V2_IMAGES ? bind_pictures(r)
                                               : bind_own(r);
}

/* --- outputs ------------------------------------------------------------------------------------
 */

static int find_output(struct reading *r, const char *name, const char *path, size_t *ret_index,
                       struct enso_v2_border *ret)
{
    char names[200];
    size_t i;

    for (i = 0; enso_v2_output(r->info, r->infer->drive, i, ret); i++)
        if (strcmp(ret->name, name) == 0) {
            *ret_index = i;
            return ENSO_OK;
        }
    list_names(r, enso_v2_output, names, sizeof names);
    enso_error_param(r->err, "%s.name", path);
    enso_error_code(r->err, "unknown_output");
    return enso_error_set(r->err, ENSO_INVALID,
                          "model '%s' has no output '%.60s' here; it gives: %s", r->req->served->id,
                          name, names);
}

static int read_wanted(struct reading *r, const json_t *output, size_t i)
{
    struct enso_v2_wanted *w = &r->infer->wanted[i];
    struct enso_v2_border border = {.name = NULL};
    json_t *parameters = NULL;
    int64_t classification = 0;
    const char *name = NULL;
    char path[32], inner[48];
    int st;

    (void)snprintf(path, sizeof path, "outputs[%zu]", i);       /* fits */
    (void)snprintf(inner, sizeof inner, "%s.parameters", path); /* fits */
    if (!json_is_object(output))
        return enso_json_wrong_type(output, path, "an object", r->err);
    w->binary = r->binary_outputs;
    st = enso_json_get_string(output, path, "name", ENSO_JSON_REQUIRED, &name, NULL, r->err);
    if (st == ENSO_OK)
        st = find_output(r, name, path, &w->index, &border);
    if (st == ENSO_OK)
        st = enso_json_get_object(output, path, "parameters", ENSO_JSON_OPTIONAL, &parameters,
                                  r->err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(parameters, inner, "binary_data", ENSO_JSON_OPTIONAL, &w->binary,
                                r->err);
    if (st == ENSO_OK)
        st = enso_json_get_int(parameters, inner, "classification", ENSO_JSON_OPTIONAL, 0, 1000000,
                               &classification, r->err);
    if (st != ENSO_OK)
        return st;
    w->classification = (uint32_t)classification;
    if (classification != 0 && (border.dtype != ENSO_DTYPE_F32 || border.rank != 2)) {
        enso_error_param(r->err, "%s.classification", inner);
        return enso_error_set(r->err, ENSO_UNSUPPORTED,
                              "classification wants an output FP32 [n, C], which '%.60s' is not",
                              name);
    }
    for (size_t k = 0; k < i; k++)
        if (r->infer->wanted[k].index == w->index) {
            enso_error_param(r->err, "%s.name", path);
            return enso_error_set(r->err, ENSO_INVALID, "output '%.60s' is asked for twice", name);
        }
    return ENSO_OK;
}

/* All outputs there are, in the model's order. */
static int want_all(struct reading *r)
{
    struct enso_v2_border border;
    size_t n = 0;

    while (enso_v2_output(r->info, r->infer->drive, n, &border))
        n++;
    r->infer->wanted = enso_request_alloc(r->req, n + 1, sizeof *r->infer->wanted);
    if (r->infer->wanted == NULL)
        return enso_error_no_memory(r->err, "the outputs");
    for (size_t i = 0; i < n; i++)
        r->infer->wanted[i] = (struct enso_v2_wanted){.index = i, .binary = r->binary_outputs};
    r->infer->n_wanted = n;
    return ENSO_OK;
}

static int read_outputs(struct reading *r)
{
    json_t *outputs = NULL;
    int st = enso_json_get_array(r->req->json, "", "outputs", ENSO_JSON_OPTIONAL, &outputs, r->err);
    size_t n = json_array_size(outputs);

    if (st != ENSO_OK || n == 0)
        return st != ENSO_OK ? st : want_all(r);
    if (n > MAX_TENSORS) {
        enso_error_param(r->err, "outputs");
        return enso_error_set(r->err, ENSO_INVALID, "%zu outputs are asked for; at most %d can be",
                              n, MAX_TENSORS);
    }
    r->infer->wanted = enso_request_alloc(r->req, n, sizeof *r->infer->wanted);
    if (r->infer->wanted == NULL)
        return enso_error_no_memory(r->err, "the outputs");
    r->infer->n_wanted = n;
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = read_wanted(r, json_array_get(outputs, i), i);
    return st;
}

/* --- the request as a whole ----------------------------------------------------------------------
 */

static int no_sequences(struct reading *r, const json_t *parameters)
{
    const json_t *id = json_object_get(parameters, "sequence_id");

    if (id == NULL || json_is_null(id) || (json_is_integer(id) && json_integer_value(id) == 0) ||
        (json_is_string(id) && json_string_length(id) == 0))
        return ENSO_OK;
    enso_error_param(r->err, "parameters.sequence_id");
    return enso_error_set(r->err, ENSO_UNSUPPORTED,
                          "models with state are not supported; leave sequence_id out");
}

static int read_parameters(struct reading *r)
{
    struct enso_parameters *p = &r->req->parameters;
    json_t *parameters = NULL;
    const char *direction = NULL, *where = "parameters";
    int64_t timeout_us = 0, priority = p->priority;
    int st = enso_json_get_object(r->req->json, "", where, ENSO_JSON_OPTIONAL, &parameters, r->err);

    if (st == ENSO_OK)
        st = enso_json_get_int(parameters, where, "timeout", ENSO_JSON_OPTIONAL, 0, MAX_TIMEOUT_US,
                               &timeout_us, r->err);
    if (st == ENSO_OK)
        st = enso_json_get_int(parameters, where, "priority", ENSO_JSON_OPTIONAL, 0, 9, &priority,
                               r->err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(parameters, where, "binary_data_output", ENSO_JSON_OPTIONAL,
                                &r->binary_outputs, r->err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(parameters, where, "truncate", ENSO_JSON_OPTIONAL, &p->truncate,
                                r->err);
    if (st == ENSO_OK)
        st = enso_json_get_string(parameters, where, "truncation_direction", ENSO_JSON_OPTIONAL,
                                  &direction, NULL, r->err);
    if (st == ENSO_OK && direction != NULL)
        st = enso_request_truncation(r->req, direction, "parameters.truncation_direction", r->err);
    if (st == ENSO_OK)
        st = no_sequences(r, parameters);
    if (st == ENSO_OK)
        st = enso_json_get_string(r->req->json, "", "id", ENSO_JSON_OPTIONAL, &r->infer->id,
                                  &r->infer->id_size, r->err);
    if (timeout_us > 0)
        p->timeout_ns = (uint64_t)timeout_us * 1000;
    p->priority = (unsigned)priority;
    return st;
}

/* Rows of the graph's only input in a raw body. */
static int raw_rows(struct reading *r, struct enso_v2_tensor *t)
{
    size_t item = 1, width = enso_dtype_row_bytes((enum enso_dtype)t->dtype, 1);
    int free_dim = -1;

    for (uint8_t d = 0; d < t->rank; d++) {
        if (t->dims[d] < 0 && free_dim < 0)
            free_dim = d;
        else if (t->dims[d] < 0 || !enso_size_mul(item, (size_t)t->dims[d], &item))
            return bad_shape(r, t, "has more than one free dimension; send JSON that says them");
    }
    if (!enso_size_mul(item, width, &item))
        return bad_shape(r, t, "has more elements than can be counted");
    if (free_dim >= 0 && item != 0)
        t->dims[free_dim] = (int64_t)(t->size / item);
    if (item == 0 || t->size % item != 0 || (free_dim < 0 && t->size != item)) {
        enso_error_param(r->err, "body");
        enso_error_code(r->err, "wrong_size");
        return enso_error_set(r->err, ENSO_INVALID,
                              "the body has %zu bytes, but an item of input '%.60s' takes %zu",
                              t->size, t->name, item);
    }
    t->count = t->size / width;
    return ENSO_OK;
}

/* The body is the data of the only input: a text, a picture, or the graph's own. */
static int read_raw(struct reading *r)
{
    struct enso_v2_tensor *t = enso_request_alloc(r->req, 1, sizeof *t);
    struct enso_v2_border border;
    enum enso_v2_drive drive = r->info->takes_text     ? ENSO_V2_TEXT
                               : r->info->takes_images ? ENSO_V2_IMAGES
                                                       : ENSO_V2_OWN;
    size_t at;
    int st;

    if (t == NULL)
        return enso_error_no_memory(r->err, "the input");
    if (r->req->body_size == 0) {
        enso_error_code(r->err, "empty_body");
        return enso_error_set(r->err, ENSO_INVALID,
                              "the body is empty; with Inference-Header-Content-Length 0 it is the "
                              "data of the model's input");
    }
    if (drive == ENSO_V2_OWN && r->info->n_inputs != 1)
        return enso_error_set(r->err, ENSO_INVALID,
                              "model '%s' has %zu inputs; a raw body works for a model with one",
                              r->req->served->id, r->info->n_inputs);
    r->infer->drive = drive;
    r->binary_outputs = true;
    (void)enso_v2_input(r->info, drive, 0, &border); /* there is one */
    *t = (struct enso_v2_tensor){.name = border.name,
                                 .path = "body",
                                 .dtype = border.dtype,
                                 .rank = border.rank,
                                 .bytes = r->req->body,
                                 .size = r->req->body_size};
    memcpy(t->dims, border.dims, sizeof t->dims);
    r->tensors = t;
    r->n_tensors = 1;
    if (drive == ENSO_V2_OWN) {
        st = raw_rows(r, t);
        return st == ENSO_OK ? bind_own(r) : st;
    }
    st = enso_request_add_inputs(r->req, 1, r->err);
    if (st != ENSO_OK)
        return st;
    r->req->single = true;
    r->req->input_key = "body";
    if (drive == ENSO_V2_IMAGES) {
        r->req->inputs[0] = (struct enso_input){
            .kind = ENSO_INPUT_IMAGE, .image = r->req->body, .image_size = r->req->body_size};
        return ENSO_OK;
    }
    r->req->inputs[0] = (struct enso_input){.kind = ENSO_INPUT_TEXT,
                                            .text = (const char *)r->req->body,
                                            .text_size = r->req->body_size};
    if (enso_utf8_valid((const char *)r->req->body, r->req->body_size, &at))
        return ENSO_OK;
    enso_error_param(r->err, "body");
    enso_error_code(r->err, "invalid_utf8");
    return enso_error_set(r->err, ENSO_INVALID, "the text is not valid UTF-8 at byte %zu", at);
}

/* Where the JSON ends: at the body's end, or where the header says. */
static int read_header(struct reading *r, size_t *ret_json_size)
{
    const char *header = r->req->inference_header;
    int64_t size = 0;
    int st;

    *ret_json_size = r->req->body_size;
    if (header == NULL)
        return enso_body_is_json(r->req, r->err);
    st = enso_number_parse_i64(header, 0, INT64_MAX, &size, r->err);
    if (st == ENSO_OK && (uint64_t)size > r->req->body_size)
        st = enso_error_set(r->err, ENSO_INVALID,
                            "the header Inference-Header-Content-Length says %lld bytes of JSON, "
                            "but the body has %zu",
                            (long long)size, r->req->body_size);
    if (st != ENSO_OK) {
        enso_error_param(r->err, "Inference-Header-Content-Length");
        enso_error_code(r->err, "wrong_size");
        return st;
    }
    *ret_json_size = (size_t)size;
    r->has_binary = true;
    r->binary = r->req->body + (r->req->body_size != 0 ? size : 0);
    r->binary_left = r->req->body_size - (size_t)size;
    return ENSO_OK;
}

static int read_request(struct reading *r)
{
    size_t json_size = 0;
    int st = read_header(r, &json_size);

    if (st != ENSO_OK)
        return st;
    if (r->has_binary && json_size == 0) {
        st = read_raw(r);
        return st == ENSO_OK ? want_all(r) : st;
    }
    st = enso_request_parse_json_bytes(r->req, r->req->body, json_size, r->err);
    if (st == ENSO_OK)
        st = read_parameters(r);
    if (st == ENSO_OK)
        st = read_tensors(r);
    if (st == ENSO_OK)
        st = bind_inputs(r);
    return st == ENSO_OK ? read_outputs(r) : st;
}

int enso_decode_v2_infer(struct enso_request *req, struct enso_error *err)
{
    struct reading r = {.req = req, .err = err};
    int st = enso_registry_find(req->app->registry, req->model_name, 0, &req->served, err);

    if (st == ENSO_OK)
        st = enso_v2_check_version(req, req->served->id, err);
    if (st != ENSO_OK)
        return st;
    req->parameters.truncate = req->served->truncate;
    req->dialect = r.infer = enso_request_alloc(req, 1, sizeof *r.infer);
    if (r.infer == NULL)
        return enso_error_no_memory(err, "the request");
    r.info = enso_model_info(req->served->model);
    return read_request(&r);
}
