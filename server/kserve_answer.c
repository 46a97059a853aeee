/* SPDX-License-Identifier: Apache-2.0
 *
 * KServe V2: POST .../infer, the answer. Outputs are given in the order they were asked for, as
 * JSON arrays or as binary data behind the JSON, each as its parameters said. Strings are kept in
 * their binary form until they are written. See kserve.h.
 */
#include "server/kserve.h"

#include <string.h>

#include "base/number.h"
#include "server/handlers.h"
#include "server/meters.h"
#include "server/registry.h"
#include "server/scores.h"

/* An output on its way out. */
struct given {
    const struct enso_v2_wanted *wanted;
    struct enso_v2_border border; /* dims: as they are */
    struct enso_buffer strings;   /* BYTES: each with its length before it */
    size_t bytes;                 /* in binary form */
};

/* Outputs of rows come sample by sample, one tensor each; the graph's own from the only sample. */
static size_t n_pieces(const struct enso_request *req)
{
    const struct enso_v2_infer *infer = req->dialect;

    return infer->drive == ENSO_V2_OWN ? 1 : req->n_inputs;
}

static const struct enso_tensor *piece(const struct enso_request *req,
                                       const struct enso_v2_wanted *w, size_t i)
{
    const struct enso_v2_infer *infer = req->dialect;

    return infer->drive == ENSO_V2_OWN ? &req->job->samples[0]->outputs[w->index]
                                       : enso_request_output(req, i);
}

static void put_bytes(struct enso_buffer *b, const void *data, size_t size)
{
    uint32_t n = (uint32_t)size;

    enso_buffer_append(b, &n, sizeof n); /* little-endian, as this processor is */
    enso_buffer_append(b, data, size);
}

/* --- strings ------------------------------------------------------------------------------------
 */

/* The best label of each sample. */
static int give_labels(struct enso_request *req, struct given *g, struct enso_error *err)
{
    const struct enso_model_info *info = enso_model_info(req->served->model);

    for (size_t i = 0; i < n_pieces(req); i++) {
        uint32_t k,
            *top = enso_scores_top(req, piece(req, g->wanted, i)->data, info->n_labels, 1, &k);

        if (top == NULL)
            return enso_error_no_memory(err, "the answer");
        put_bytes(&g->strings, info->labels[top[0]], strlen(info->labels[top[0]]));
    }
    return ENSO_OK;
}

/* "0.97:3:shoe" */
static void put_class(struct enso_buffer *b, const struct enso_model_info *info, const float *row,
                      uint32_t index, uint32_t n)
{
    char score[ENSO_NUMBER_F32_SIZE], number[24];
    size_t score_size = enso_number_write_f32(row[index], score);
    size_t number_size = enso_number_write_u64(index, number);
    const char *label = n == info->n_labels ? info->labels[index] : NULL;
    uint32_t size =
        (uint32_t)(score_size + 1 + number_size + (label != NULL ? 1 + strlen(label) : 0));

    enso_buffer_append(b, &size, sizeof size);
    enso_buffer_append(b, score, score_size);
    enso_buffer_putc(b, ':');
    enso_buffer_append(b, number, number_size);
    if (label != NULL) {
        enso_buffer_putc(b, ':');
        enso_buffer_puts(b, label);
    }
}

static int give_classes(struct enso_request *req, struct given *g, struct enso_error *err)
{
    const struct enso_model_info *info = enso_model_info(req->served->model);

    for (size_t i = 0; i < n_pieces(req); i++) {
        const struct enso_tensor *t = piece(req, g->wanted, i);
        uint32_t n = (uint32_t)t->dims[1], k;

        for (int64_t r = 0; n != 0 && r < t->dims[0]; r++) {
            const float *row = (const float *)t->data + r * t->dims[1];
            uint32_t *top = enso_scores_top(req, row, n, g->wanted->classification, &k);

            if (top == NULL)
                return enso_error_no_memory(err, "the answer");
            for (uint32_t j = 0; j < k; j++)
                put_class(&g->strings, info, row, top[j], n);
        }
    }
    return ENSO_OK;
}

/* --- what each output is ------------------------------------------------------------------------
 */

static int prepare(struct enso_request *req, struct given *g, struct enso_error *err)
{
    const struct enso_v2_infer *infer = req->dialect;
    const struct enso_tensor *first = piece(req, g->wanted, 0);
    struct enso_v2_border *b = &g->border;
    int st = ENSO_OK;

    (void)enso_v2_output(enso_model_info(req->served->model), infer->drive, g->wanted->index, b);
    if (infer->drive == ENSO_V2_OWN) {
        b->dtype = (int)first->dtype;
        b->rank = first->rank;
        memcpy(b->dims, first->dims, sizeof b->dims);
    } else {
        b->dims[0] = (int64_t)req->n_inputs;
        for (size_t i = 0; b->dtype != ENSO_V2_BYTES && i < req->n_inputs; i++)
            g->bytes += enso_tensor_bytes(piece(req, g->wanted, i));
    }
    if (infer->drive == ENSO_V2_OWN)
        g->bytes = enso_tensor_bytes(first);
    if (g->wanted->classification != 0) {
        b->dtype = ENSO_V2_BYTES;
        b->dims[1] = ENSO_MIN(b->dims[1], (int64_t)g->wanted->classification);
        st = give_classes(req, g, err);
    } else if (b->dtype == ENSO_V2_BYTES) {
        st = give_labels(req, g, err);
    }
    if (st == ENSO_OK && g->strings.failed)
        st = enso_error_no_memory(err, "the answer");
    if (b->dtype == ENSO_V2_BYTES)
        g->bytes = g->strings.size;
    return st;
}

/* --- as JSON ------------------------------------------------------------------------------------
 */

static void put_number(struct enso_buffer *b, const struct enso_tensor *t, size_t i)
{
    const void *x = t->data;
    float f;

    switch (t->dtype) {
    case ENSO_DTYPE_F32:
        enso_buffer_put_f32(b, ((const float *)x)[i]);
        break;
    case ENSO_DTYPE_F16:
        enso_f16_to_f32((const uint16_t *)x + i, &f, 1);
        enso_buffer_put_f32(b, f);
        break;
    case ENSO_DTYPE_BF16:
        enso_bf16_to_f32((const uint16_t *)x + i, &f, 1);
        enso_buffer_put_f32(b, f);
        break;
    case ENSO_DTYPE_F64:
        enso_buffer_put_f64(b, ((const double *)x)[i]);
        break;
    case ENSO_DTYPE_BOOL:
        enso_buffer_puts(b, ((const uint8_t *)x)[i] != 0 ? "true" : "false");
        break;
#define PUT(name, type, put)                                                                       \
    case ENSO_DTYPE_##name:                                                                        \
        put(b, ((const type *)x)[i]);                                                              \
        break;
        PUT(I8, int8_t, enso_buffer_put_i64)
        PUT(U8, uint8_t, enso_buffer_put_u64)
        PUT(I16, int16_t, enso_buffer_put_i64)
        PUT(U16, uint16_t, enso_buffer_put_u64)
        PUT(I32, int32_t, enso_buffer_put_i64)
        PUT(U32, uint32_t, enso_buffer_put_u64)
        PUT(I64, int64_t, enso_buffer_put_i64)
        PUT(U64, uint64_t, enso_buffer_put_u64)
#undef PUT
    case ENSO_N_DTYPES:
        break;
    }
}

static void put_strings(struct enso_buffer *b, const struct enso_buffer *strings)
{
    for (size_t at = 0; at < strings->size;) {
        uint32_t size;

        memcpy(&size, strings->data + at, sizeof size);
        if (at != 0)
            enso_buffer_putc(b, ',');
        enso_buffer_put_json_string(b, strings->data + at + sizeof size, size);
        at += sizeof size + size;
    }
}

static void put_data(struct enso_buffer *b, const struct enso_request *req, const struct given *g)
{
    bool first = true;

    enso_buffer_puts(b, ",\"data\":[");
    if (g->border.dtype == ENSO_V2_BYTES) {
        put_strings(b, &g->strings);
    } else {
        for (size_t i = 0; i < n_pieces(req); i++) {
            const struct enso_tensor *t = piece(req, g->wanted, i);
            size_t n = (size_t)enso_tensor_count(t);

            for (size_t k = 0; k < n; k++, first = false) {
                if (!first)
                    enso_buffer_putc(b, ',');
                put_number(b, t, k);
            }
        }
    }
    enso_buffer_putc(b, ']');
}

static void put_output(struct enso_buffer *b, const struct enso_request *req, const struct given *g)
{
    const struct enso_v2_border *border = &g->border;

    enso_buffer_puts(b, "{\"name\":");
    enso_buffer_put_json_string(b, border->name, strlen(border->name));
    enso_buffer_printf(b, ",\"datatype\":\"%s\",\"shape\":[", enso_v2_dtype_name(border->dtype));
    for (uint8_t d = 0; d < border->rank; d++)
        enso_buffer_printf(b, d != 0 ? ",%lld" : "%lld", (long long)border->dims[d]);
    enso_buffer_putc(b, ']');
    if (g->wanted->binary)
        enso_buffer_printf(b, ",\"parameters\":{\"binary_data_size\":%zu}", g->bytes);
    else
        put_data(b, req, g);
    enso_buffer_putc(b, '}');
}

static void put_json(struct enso_request *req, const struct given *list)
{
    const struct enso_v2_infer *infer = req->dialect;
    struct enso_buffer *b = &req->answer;

    enso_buffer_puts(b, "{\"model_name\":");
    enso_buffer_put_json_string(b, req->served->id, strlen(req->served->id));
    enso_buffer_puts(b, ",\"model_version\":\"1\"");
    if (infer->id != NULL) {
        enso_buffer_puts(b, ",\"id\":");
        enso_buffer_put_json_string(b, infer->id, infer->id_size);
    }
    if (req->truncated)
        enso_buffer_puts(b, ",\"parameters\":{\"truncated\":true}");
    enso_buffer_puts(b, ",\"outputs\":[");
    for (size_t i = 0; i < infer->n_wanted; i++) {
        if (i != 0)
            enso_buffer_putc(b, ',');
        put_output(b, req, &list[i]);
    }
    enso_buffer_puts(b, "]}");
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static void put_binary(struct enso_request *req, const struct given *g)
{
    struct enso_buffer *b = &req->answer;

    if (g->border.dtype == ENSO_V2_BYTES) {
        enso_buffer_append(b, g->strings.data, g->strings.size);
        return;
    }
    for (size_t i = 0; i < n_pieces(req); i++) {
        const struct enso_tensor *t = piece(req, g->wanted, i);

        enso_buffer_append(b, t->data, enso_tensor_bytes(t));
    }
}

static void write_all(struct enso_request *req, const struct given *list)
{
    const struct enso_v2_infer *infer = req->dialect;
    bool any_binary = false;

    put_json(req, list);
    for (size_t i = 0; i < infer->n_wanted; i++)
        any_binary = any_binary || list[i].wanted->binary;
    if (!any_binary)
        return;
    req->json_header_size = req->answer.size;
    req->answer_type = "application/octet-stream";
    for (size_t i = 0; i < infer->n_wanted; i++)
        if (list[i].wanted->binary)
            put_binary(req, &list[i]);
}

static int count_predictions(struct enso_request *req, struct enso_error *err)
{
    const struct enso_v2_infer *infer = req->dialect;
    const struct enso_model_info *info = enso_model_info(req->served->model);

    if (infer->drive == ENSO_V2_OWN || info->task == ENSO_TASK_EMBEDDING)
        return ENSO_OK;
    for (size_t i = 0; i < req->n_inputs; i++) {
        const float *scores = enso_request_output(req, i)->data;
        uint32_t k, *top = enso_scores_top(req, scores, info->n_labels, 1, &k);

        if (top == NULL)
            return enso_error_no_memory(err, "the answer");
        enso_meters_predicted(&req->served->meters, top[0], scores[top[0]]);
    }
    return ENSO_OK;
}

int enso_encode_v2_infer(struct enso_request *req, struct enso_error *err)
{
    const struct enso_v2_infer *infer = req->dialect;
    struct given *list = enso_request_alloc(req, infer->n_wanted + 1, sizeof *list);
    int st = list != NULL ? count_predictions(req, err) : enso_error_no_memory(err, "the answer");

    for (size_t i = 0; st == ENSO_OK && i < infer->n_wanted; i++) {
        list[i].wanted = &infer->wanted[i];
        st = prepare(req, &list[i], err);
    }
    if (st == ENSO_OK)
        write_all(req, list);
    for (size_t i = 0; list != NULL && i < infer->n_wanted; i++)
        enso_buffer_done(&list[i].strings);
    return st;
}
