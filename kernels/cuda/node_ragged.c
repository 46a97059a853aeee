/* SPDX-License-Identifier: Apache-2.0
 *
 * What works on a ragged batch of texts: ATTENTION, EMBEDDING, SEQUENCE_POOL (engine/ops/ops.h);
 * host side of attention.cu, flash_attention.cu and embedding.cu. The contents of ids and starts
 * lie in device memory: kernels check them and note a fault, and the batch fails with it.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch_network.h"

/* starts of a ragged batch: their number less one. What they hold kernels check. */
static int take_starts(const struct enso__cuda_call *call, const struct enso_tensor *starts,
                       size_t *ret_n_sequences, struct enso_error *err)
{
    if (starts->dtype != ENSO_DTYPE_I32 || enso_tensor_count(starts) < 1)
        return enso__cuda_error(call, err, ENSO_INTERNAL,
                                "starts must be INT32 from 0 to the number of tokens");
    *ret_n_sequences = (size_t)enso_tensor_count(starts) - 1;
    return ENSO_OK;
}

static bool is_float(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F32 || dtype == ENSO_DTYPE_F16 || dtype == ENSO_DTYPE_BF16;
}

/* Inputs by number: qkv 0, starts 1, the list of work 2 (may be absent). */
struct attention {
    struct enso_bound bound;
    enum enso_dtype dtype;
    size_t heads, size;
    float scale;
    bool causal;
    unsigned flash_blocks, tiled_blocks; /* of these kernels on this card; 0: not for this */
};

/* The list of work, when there is one: pairs, no more of them than there can be. */
static int take_work(const struct enso__cuda_call *call, struct enso_cuda_attention *w,
                     struct enso_error *err)
{
    const struct enso_tensor *work = enso__cuda_in(call, 2);

    if (work == NULL || enso_tensor_count(work) == 0)
        return ENSO_OK;
    if (work->dtype != ENSO_DTYPE_I32 || work->rank != 2 || work->dims[1] != 2)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "list of work of %s",
                                enso__dims_text(work).s);
    w->work = work->data;
    w->n_work = (size_t)work->dims[0];
    return ENSO_OK;
}

static int attention_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct attention *a = (const struct attention *)call->bound;
    const struct enso_tensor *qkv = enso__cuda_in(call, 0), *starts = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    size_t width = a->heads * a->size;

    if (qkv->rank != 2 || (size_t)qkv->dims[1] != 3 * width || qkv->dtype != a->dtype ||
        y->dtype != a->dtype || (size_t)enso_tensor_count(y) != (size_t)qkv->dims[0] * width)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input of %s for %zu heads of %zu",
                                enso__dims_text(qkv).s, a->heads, a->size);
    struct enso_cuda_attention w = {.dtype = a->dtype,
                                    .qkv = qkv->data,
                                    .starts = starts->data,
                                    .y = y->data,
                                    .n_tokens = (size_t)qkv->dims[0],
                                    .heads = a->heads,
                                    .size = a->size,
                                    .scale = a->scale,
                                    .causal = a->causal,
                                    .fault = call->fault};
    int st = take_starts(call, starts, &w.n_sequences, err);
    if (st == ENSO_OK)
        st = take_work(call, &w, err);
    if (st != ENSO_OK)
        return st;
    int code = a->flash_blocks > 0 && enso_cuda_flash_takes(&w)
                   ? enso_cuda_flash_attention(&w, a->flash_blocks, call->stream)
               : a->tiled_blocks > 0 && enso_cuda_tiled_takes(&w)
                   ? enso_cuda_tiled_attention(&w, a->tiled_blocks, call->stream)
                   : enso_cuda_attention(&w, call->stream);

    return enso__cuda_launched(call, code, err);
}

/* Have the kernels ready that are faster than the plain one, where they are of use. */
static int prepare_attention(const struct enso__bind *b, struct attention *a,
                             struct enso_error *err)
{
    int st = enso__cuda_enter(b->device, err);

    if (st != ENSO_OK)
        return st;
    int code =
        enso_cuda_flash_prepare(a->dtype, a->size, b->device->architecture, &a->flash_blocks);
    if (code == cudaSuccess)
        code = enso_cuda_tiled_prepare(a->dtype, a->size, &a->tiled_blocks);
    return code == cudaSuccess ? ENSO_OK
                               : enso__cuda_failed(b->device, code, "preparing attention", err);
}

int enso__cuda_bind_attention(const struct enso__bind *b, struct enso_bound **ret,
                              struct enso_error *err)
{
    int64_t heads = enso_node_int(b->node, "heads", 0), size = enso_node_int(b->node, "size", 0);
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (heads < 1 || size < 1 || heads > 65536 || size > 65536 || !is_float(dtype) ||
        enso__bind_dtype(b, 1) != ENSO_DTYPE_I32)
        return enso__unsupported(b, err,
                                 "needs FP32, FP16 or BF16, INT32 starts, heads and size; %lld "
                                 "heads of %lld of type %s were given",
                                 (long long)heads, (long long)size, enso_dtype_name(dtype));
    struct attention *a = enso__cuda_bound_new(b, sizeof(*a), attention_run, err);
    if (a == NULL)
        return ENSO_NO_MEMORY;
    a->dtype = dtype;
    a->heads = (size_t)heads;
    a->size = (size_t)size;
    a->scale = enso_node_float(b->node, "scale", 1.0f / sqrtf((float)size));
    a->causal = enso_node_int(b->node, "causal", 0) != 0;
    int st = prepare_attention(b, a, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&a->bound);
        return st;
    }
    *ret = &a->bound;
    return ENSO_OK;
}

/* Inputs by number: tokens 0, words 1, positions 2, its table 3, segments 4, its table 5, gamma 6,
 * beta 7. */
#define N_TABLES 3

struct embedding {
    struct enso_bound bound;
    enum enso_dtype dtype;  /* of the result, and of tables in device memory */
    void *tables[N_TABLES]; /* device memory; NULL: absent or from the tensors */
    size_t table_counts[N_TABLES];
    float *gamma, *beta;
    size_t n_gamma, n_beta;
    float epsilon;
};

static void embedding_release(struct enso_bound *bound)
{
    struct embedding *e = (struct embedding *)bound;

    for (size_t i = 0; i < N_TABLES; i++)
        enso__cuda_free(bound->device, e->tables[i]);
    enso__cuda_free(bound->device, e->gamma);
    enso__cuda_free(bound->device, e->beta);
}

/* Table t and its ids; checks sizes. */
static int take_table(const struct enso__cuda_call *call, size_t t, struct enso_cuda_embedding *w,
                      struct enso_error *err)
{
    const struct embedding *e = (const struct embedding *)call->bound;
    const struct enso_tensor *ids = enso__cuda_in(call, 2 * t);
    const struct enso_tensor *table = enso__cuda_in(call, 2 * t + 1);

    if (table == NULL || (t == 1 && ids == NULL))
        return t == 0 ? enso__cuda_error(call, err, ENSO_INTERNAL, "its words are missing")
                      : ENSO_OK;
    size_t count = e->tables[t] != NULL ? e->table_counts[t] : (size_t)enso_tensor_count(table);

    if ((e->tables[t] == NULL && table->dtype != e->dtype) ||
        (ids != NULL &&
         (ids->dtype != ENSO_DTYPE_I32 || (size_t)enso_tensor_count(ids) != w->n_tokens)) ||
        count == 0 || count % w->width != 0)
        return enso__cuda_error(call, err, ENSO_INTERNAL,
                                "table %zu does not fit rows of %zu of type %s", t, w->width,
                                enso_dtype_name(e->dtype));
    w->ids[t] = ids != NULL ? ids->data : NULL;
    w->tables[t] = e->tables[t] != NULL ? e->tables[t] : table->data;
    w->rows[t] = count / w->width;
    return ENSO_OK;
}

/* gamma or beta: absent, taken in at bind, or floats; one for each place of a row. */
static bool fits(const struct enso_tensor *v, const float *taken, size_t width)
{
    return v == NULL ||
           ((size_t)enso_tensor_count(v) == width && (taken != NULL || v->dtype == ENSO_DTYPE_F32));
}

static int embedding_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct embedding *e = (const struct embedding *)call->bound;
    const struct enso_tensor *gamma = enso__cuda_in(call, 6), *beta = enso__cuda_in(call, 7);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    size_t width = (size_t)y->dims[y->rank - 1]; /* the output is not empty */
    struct enso_cuda_embedding w = {.dtype = e->dtype,
                                    .epsilon = e->epsilon,
                                    .y = y->data,
                                    .n_tokens = (size_t)enso_tensor_count(y) / width,
                                    .width = width,
                                    .fault = call->fault};
    int st = ENSO_OK;

    for (size_t t = 0; t < N_TABLES && st == ENSO_OK; t++)
        st = take_table(call, t, &w, err);
    if (st != ENSO_OK)
        return st;
    if (y->dtype != e->dtype || !fits(gamma, e->gamma, width) || !fits(beta, e->beta, width))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "gamma and beta do not fit rows of %zu",
                                width);
    w.gamma = e->gamma != NULL ? e->gamma : gamma != NULL ? gamma->data : NULL;
    w.beta = e->beta != NULL ? e->beta : beta != NULL ? beta->data : NULL;
    if ((w.gamma == NULL) != (w.beta == NULL))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "gamma and beta come together");
    return enso__cuda_launched(call, enso_cuda_embedding(&w, call->stream), err);
}

/* Remember that constant input i is held in `bytes` of device memory. */
static void took(struct embedding *e, size_t i, size_t bytes)
{
    e->bound.packed |= 1u << i;
    e->bound.bytes += bytes;
}

/* gamma or beta, a constant of any float type, as floats. */
static int take_vector(const struct enso__bind *b, struct embedding *e, size_t i,
                       float **ret_device, size_t *ret_n, struct enso_error *err)
{
    if (!is_float(enso__bind_dtype(b, i)))
        return enso__unsupported(b, err, "input %zu of type %s", i,
                                 enso_dtype_name(enso__bind_dtype(b, i)));
    int st = enso__cuda_constant(b, i, 1, ret_device, ret_n, err);
    if (st == ENSO_OK && *ret_device != NULL)
        took(e, i, *ret_n * sizeof(float));
    return st;
}

/* Elements of a table that are read, rounded and copied at a time: a table of words can be a
 * gigabyte. */
#define SLICE 65536
struct slice {
    float wide[SLICE];
    uint16_t halves[SLICE];
};

/* m elements of c from `at` on as floats in s->wide. */
static int read_wide(const struct enso_constant *c, size_t at, size_t m, struct slice *s,
                     struct enso_error *err)
{
    bool wide = c->dtype == ENSO_DTYPE_F32;
    int st =
        enso_constant_read(c, (int64_t)at, (int64_t)m, wide ? (void *)s->wide : s->halves, err);

    if (st == ENSO_OK && c->dtype == ENSO_DTYPE_F16)
        enso_f16_to_f32(s->halves, s->wide, m);
    if (st == ENSO_OK && c->dtype == ENSO_DTYPE_BF16)
        enso_bf16_to_f32(s->halves, s->wide, m);
    return st;
}

/* n elements of a constant to device memory, rounded to dtype once. */
static int upload_table(const struct enso__bind *b, const struct enso_constant *c, size_t n,
                        enum enso_dtype dtype, unsigned char *device, struct enso_error *err)
{
    size_t element = enso_dtype_row_bytes(dtype, 1);
    struct slice *s = enso_alloc(sizeof(*s));
    int st = ENSO_OK;

    if (s == NULL)
        return enso_error_no_memory(err, "a slice of a table");
    for (size_t at = 0; st == ENSO_OK && at < n; at += SLICE) {
        size_t m = ENSO_MIN((size_t)SLICE, n - at);

        st = read_wide(c, at, m, s, err);
        if (st != ENSO_OK)
            break;
        if (dtype == ENSO_DTYPE_F16)
            enso_f32_to_f16(s->wide, s->halves, m);
        else if (dtype == ENSO_DTYPE_BF16)
            enso_f32_to_bf16(s->wide, s->halves, m);
        st = enso__cuda_upload(b->device, device + at * element,
                               dtype == ENSO_DTYPE_F32 ? (void *)s->wide : s->halves, m * element,
                               err);
    }
    enso_free(s);
    return st;
}

/* Table t when it is a constant. */
static int take_constant_table(const struct enso__bind *b, struct embedding *e, size_t t,
                               struct enso_error *err)
{
    size_t i = 2 * t + 1, bytes;
    const struct enso_value *v = enso__bind_input(b, i);

    if (v == NULL)
        return ENSO_OK;
    if (!is_float(v->dtype) || (v->constant == NULL && v->dtype != e->dtype))
        return enso__unsupported(b, err, "input %zu of type %s for a result of type %s", i,
                                 enso_dtype_name(v->dtype), enso_dtype_name(e->dtype));
    if (v->constant == NULL)
        return ENSO_OK;
    size_t n = (size_t)enso_constant_count(v->constant);
    if (!enso_size_mul(n, enso_dtype_row_bytes(e->dtype, 1), &bytes))
        return enso_error_no_memory(err, v->name);
    int st = enso__cuda_alloc(b->device, bytes, "a table of an embedding", &e->tables[t], err);
    if (st == ENSO_OK)
        st = upload_table(b, v->constant, n, e->dtype, e->tables[t], err);
    if (st != ENSO_OK)
        return st;
    e->table_counts[t] = n;
    took(e, i, bytes);
    return ENSO_OK;
}

int enso__cuda_bind_embedding(const struct enso__bind *b, struct enso_bound **ret,
                              struct enso_error *err)
{
    const struct enso_value *y = enso__bind_output(b, 0);

    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_I32 || enso__bind_input(b, 1) == NULL || y == NULL ||
        !is_float(y->dtype))
        return enso__unsupported(b, err, "needs INT32 tokens and words of FP32, FP16 or BF16");
    struct embedding *e = enso__cuda_bound_new(b, sizeof(*e), embedding_run, err);
    if (e == NULL)
        return ENSO_NO_MEMORY;
    e->bound.release = embedding_release;
    e->dtype = y->dtype;
    e->epsilon = enso_node_float(b->node, "epsilon", 1e-5f);
    int st = ENSO_OK;
    for (size_t t = 0; t < N_TABLES && st == ENSO_OK; t++)
        st = take_constant_table(b, e, t, err);
    if (st == ENSO_OK)
        st = take_vector(b, e, 6, &e->gamma, &e->n_gamma, err);
    if (st == ENSO_OK)
        st = take_vector(b, e, 7, &e->beta, &e->n_beta, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&e->bound);
        return st;
    }
    *ret = &e->bound;
    return ENSO_OK;
}

struct sequence_pool {
    struct enso_bound bound;
    enum enso_cuda_sequence_mode mode;
    enum enso_dtype dtype, y_dtype;
};

static int sequence_pool_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct sequence_pool *s = (const struct sequence_pool *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *starts = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);

    if (x->rank != 2 || x->dtype != s->dtype)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input of %s", enso__dims_text(x).s);
    struct enso_cuda_sequence_pool w = {.mode = s->mode,
                                        .dtype = s->dtype,
                                        .y_dtype = s->y_dtype,
                                        .x = x->data,
                                        .starts = starts->data,
                                        .y = y->data,
                                        .n_tokens = (size_t)x->dims[0],
                                        .width = (size_t)x->dims[1],
                                        .fault = call->fault};
    int st = take_starts(call, starts, &w.n_sequences, err);
    if (st != ENSO_OK)
        return st;
    if (y->dtype != s->y_dtype || (size_t)enso_tensor_count(y) != w.n_sequences * w.width)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "output of %s", enso__dims_text(y).s);
    return enso__cuda_launched(call, enso_cuda_sequence_pool(&w, call->stream), err);
}

int enso__cuda_bind_sequence_pool(const struct enso__bind *b, struct enso_bound **ret,
                                  struct enso_error *err)
{
    static const char *const names[] = {"mean", "cls", "last", "max"};
    const char *mode = enso_node_string(b->node, "mode", "mean");
    const struct enso_value *y = enso__bind_output(b, 0);
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    size_t i = 0;

    while (i < ENSO_ARRAY_SIZE(names) && strcmp(names[i], mode) != 0)
        i++;
    if (i == ENSO_ARRAY_SIZE(names) || !is_float(dtype) || y == NULL ||
        (y->dtype != dtype && y->dtype != ENSO_DTYPE_F32) ||
        enso__bind_dtype(b, 1) != ENSO_DTYPE_I32)
        return enso__unsupported(b, err, "mode '%s' on type %s", mode, enso_dtype_name(dtype));
    struct sequence_pool *s = enso__cuda_bound_new(b, sizeof(*s), sequence_pool_run, err);
    if (s == NULL)
        return ENSO_NO_MEMORY;
    s->mode = (enum enso_cuda_sequence_mode)i;
    s->dtype = dtype;
    s->y_dtype = y->dtype;
    *ret = &s->bound;
    return ENSO_OK;
}
