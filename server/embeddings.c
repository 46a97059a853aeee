/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/embeddings: texts or token ids → vectors, in OpenAI's shape. encoding_format "float" or
 * "base64" (little-endian float32), dimensions cuts and normalises anew.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/number.h"
#include "server/handlers.h"
#include "server/inputs.h"
#include "server/registry.h"

static int read_token_ids(struct enso_request *req, const json_t *list, const char *path,
                          struct enso_input *in, struct enso_error *err)
{
    size_t n = json_array_size(list);
    int64_t *ids = enso_request_alloc(req, n, sizeof *ids);

    if (ids == NULL)
        return enso_error_no_memory(err, "token ids");
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);

        if (!json_is_integer(v)) {
            char where[96];

            (void)snprintf(where, sizeof where, "%s[%zu]", path, i);
            return enso_json_wrong_type(v, where, "a token id", err);
        }
        ids[i] = json_integer_value(v);
    }
    in->kind = ENSO_INPUT_TOKENS;
    in->ids = ids;
    in->n_ids = n;
    return ENSO_OK;
}

static int read_item(struct enso_request *req, const json_t *v, const char *path,
                     struct enso_input *in, struct enso_error *err)
{
    if (json_is_array(v))
        return read_token_ids(req, v, path, in, err);
    if (!json_is_string(v))
        return enso_json_wrong_type(v, path, "a string or a list of token ids", err);
    if (json_string_length(v) == 0) {
        enso_error_param(err, "%s", path);
        enso_error_code(err, "empty");
        return enso_error_set(err, ENSO_INVALID, "an input must not be an empty string");
    }
    in->kind = ENSO_INPUT_TEXT;
    in->text = json_string_value(v);
    in->text_size = json_string_length(v);
    return ENSO_OK;
}

/* "s", ["s", ...], [1, 2, ...] or [[1, 2], ...]. */
static int read_inputs(struct enso_request *req, struct enso_error *err)
{
    const json_t *input = json_object_get(req->json, "input");
    const json_t *first = json_array_get(input, 0);
    int st;

    if (input == NULL) {
        enso_error_param(err, "input");
        return enso_error_set(err, ENSO_INVALID, "\"input\" is missing; it holds what to embed");
    }
    req->single = !json_is_array(input) || json_is_integer(first);
    st = enso_request_add_inputs(req, req->single ? 1 : json_array_size(input), err);
    if (st != ENSO_OK) {
        enso_error_param(err, "input");
        return st;
    }
    if (req->single)
        return read_item(req, input, "input", &req->inputs[0], err);
    for (size_t i = 0; i < req->n_inputs; i++) {
        char path[48];

        (void)snprintf(path, sizeof path, "input[%zu]", i);
        st = read_item(req, json_array_get(input, i), path, &req->inputs[i], err);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

int enso_decode_embeddings(struct enso_request *req, struct enso_error *err)
{
    struct enso_parameters *p = &req->parameters;
    const char *format = "float";
    int64_t dimensions = 0;
    int st = enso_body_is_json(req, err);

    if (st == ENSO_OK)
        st = enso_request_parse_json(req, err);
    if (st == ENSO_OK)
        st = enso_request_common_parameters(req, err);
    if (st == ENSO_OK)
        st = enso_json_get_string(req->json, "", "encoding_format", ENSO_JSON_OPTIONAL, &format,
                                  NULL, err);
    if (st == ENSO_OK)
        st = enso_json_get_int(req->json, "", "dimensions", ENSO_JSON_OPTIONAL, 1, UINT32_MAX,
                               &dimensions, err);
    if (st != ENSO_OK)
        return st;
    p->dimensions = (uint32_t)dimensions;
    p->base64 = strcmp(format, "base64") == 0;
    if (!p->base64 && strcmp(format, "float") != 0) {
        enso_error_param(err, "encoding_format");
        return enso_error_set(err, ENSO_INVALID, "encoding_format must be \"float\" or \"base64\"");
    }
    return read_inputs(req, err);
}

/* The first n of a vector, of length 1 again; in place, in the sample's own memory. */
static void shorten(float *x, uint32_t n)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (uint32_t i = 0; sum > 0 && i < n; i++)
        x[i] = (float)((double)x[i] / sqrt(sum));
}

int enso_encode_embeddings(struct enso_request *req, struct enso_error *err)
{
    const struct enso_parameters *p = &req->parameters;
    uint32_t n = enso_model_info(req->served->model)->dimensions;
    struct enso_buffer *b = &req->answer;

    if (p->dimensions > n) {
        enso_error_param(err, "dimensions");
        return enso_error_set(err, ENSO_INVALID,
                              "model '%s' gives %u dimensions, so at most %u can be asked for",
                              req->served->id, n, n);
    }
    enso_buffer_puts(b, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < req->n_inputs; i++) {
        float *x = enso_request_output(req, i)->data;
        uint32_t kept = p->dimensions != 0 ? p->dimensions : n;

        if (kept < n)
            shorten(x, kept);
        enso_buffer_puts(b, i != 0 ? ",{\"object\":\"embedding\",\"index\":"
                                   : "{\"object\":\"embedding\",\"index\":");
        enso_buffer_put_u64(b, i);
        enso_buffer_puts(b, ",\"embedding\":");
        if (p->base64) {
            enso_buffer_putc(b, '"');
            enso_buffer_put_base64(b, x, kept * sizeof *x);
            enso_buffer_putc(b, '"');
        } else {
            enso_buffer_put_f32_array(b, x, kept);
        }
        if (req->job->samples[i]->truncated)
            enso_buffer_puts(b, ",\"truncated\":true");
        enso_buffer_putc(b, '}');
    }
    enso_buffer_puts(b, "],\"model\":");
    enso_buffer_put_json_string(b, req->served->id, strlen(req->served->id));
    enso_buffer_printf(b, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}\n",
                       (unsigned long long)req->n_tokens, (unsigned long long)req->n_tokens);
    return ENSO_OK;
}
