/* SPDX-License-Identifier: Apache-2.0
 *
 * What works on a ragged batch of texts: ATTENTION, EMBEDDING, SEQUENCE_POOL (engine/ops/ops.h);
 * host side of attention.cu and embedding.cu. The contents of ids and starts lie in device memory:
 * kernels check them and note a fault, and the batch fails with it.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/cuda/launch_network.h"

/* Have the starts of n_tokens checked on the stream. */
static int check_starts(const struct enso__cuda_call *call, const struct enso_tensor *starts,
                        int64_t n_tokens, size_t *ret_n_sequences, struct enso_error *err)
{
    if (starts->dtype != ENSO_DTYPE_I32 || enso_tensor_count(starts) < 1)
        return enso__cuda_error(call, err, ENSO_INTERNAL,
                                "starts must be INT32 from 0 to the number of tokens");
    *ret_n_sequences = (size_t)enso_tensor_count(starts) - 1;
    return enso__cuda_launched(call,
                               enso_cuda_check_starts(starts->data, *ret_n_sequences,
                                                      (size_t)n_tokens, call->fault, call->stream),
                               err);
}

struct attention {
    struct enso_bound bound;
    size_t heads, size;
    float scale;
    bool causal;
};

static int attention_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct attention *a = (const struct attention *)call->bound;
    const struct enso_tensor *qkv = enso__cuda_in(call, 0), *starts = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    size_t width = a->heads * a->size, n_sequences;

    if (qkv->rank != 2 || (size_t)qkv->dims[1] != 3 * width ||
        (size_t)enso_tensor_count(y) != (size_t)qkv->dims[0] * width)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input of %s for %zu heads of %zu",
                                enso__dims_text(qkv).s, a->heads, a->size);
    int st = check_starts(call, starts, qkv->dims[0], &n_sequences, err);
    if (st != ENSO_OK)
        return st;
    return enso__cuda_launched(call,
                               enso_cuda_attention(qkv->data, starts->data, y->data,
                                                   (size_t)qkv->dims[0], n_sequences, a->heads,
                                                   a->size, a->scale, a->causal, call->stream),
                               err);
}

int enso__cuda_bind_attention(const struct enso__bind *b, struct enso_bound **ret,
                              struct enso_error *err)
{
    int64_t heads = enso_node_int(b->node, "heads", 0), size = enso_node_int(b->node, "size", 0);

    if (heads < 1 || size < 1 || heads > 65536 || size > 65536 ||
        enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 || enso__bind_dtype(b, 1) != ENSO_DTYPE_I32)
        return enso__unsupported(b, err,
                                 "needs FP32, INT32 starts, heads and size; %lld heads of "
                                 "%lld were given",
                                 (long long)heads, (long long)size);
    struct attention *a = enso__cuda_bound_new(b, sizeof(*a), attention_run, err);
    if (a == NULL)
        return ENSO_NO_MEMORY;
    a->heads = (size_t)heads;
    a->size = (size_t)size;
    a->scale = enso_node_float(b->node, "scale", 1.0f / sqrtf((float)size));
    a->causal = enso_node_int(b->node, "causal", 0) != 0;
    *ret = &a->bound;
    return ENSO_OK;
}

/* Inputs by number: tokens 0, words 1, positions 2, its table 3, segments 4, its table 5, gamma 6,
 * beta 7. */
#define N_TABLES 3

struct embedding {
    struct enso_bound bound;
    float *tables[N_TABLES]; /* device memory; NULL: absent or from the tensors */
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

    if ((ids != NULL &&
         (ids->dtype != ENSO_DTYPE_I32 || (size_t)enso_tensor_count(ids) != w->n_tokens)) ||
        count == 0 || count % w->width != 0)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "table %zu does not fit rows of %zu", t,
                                w->width);
    w->ids[t] = ids != NULL ? ids->data : NULL;
    w->tables[t] = e->tables[t] != NULL ? e->tables[t] : table->data;
    w->rows[t] = count / w->width;
    return ENSO_OK;
}

static int embedding_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct embedding *e = (const struct embedding *)call->bound;
    const struct enso_tensor *gamma = enso__cuda_in(call, 6), *beta = enso__cuda_in(call, 7);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    size_t width = (size_t)y->dims[y->rank - 1]; /* the output is not empty */
    struct enso_cuda_embedding w = {.epsilon = e->epsilon,
                                    .y = y->data,
                                    .n_tokens = (size_t)enso_tensor_count(y) / width,
                                    .width = width,
                                    .fault = call->fault};
    int st = ENSO_OK;

    for (size_t t = 0; t < N_TABLES && st == ENSO_OK; t++)
        st = take_table(call, t, &w, err);
    if (st != ENSO_OK)
        return st;
    if ((gamma != NULL && (size_t)enso_tensor_count(gamma) != width) ||
        (beta != NULL && (size_t)enso_tensor_count(beta) != width))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "gamma and beta do not fit rows of %zu",
                                width);
    w.gamma = e->gamma != NULL ? e->gamma : gamma != NULL ? gamma->data : NULL;
    w.beta = e->beta != NULL ? e->beta : beta != NULL ? beta->data : NULL;
    return enso__cuda_launched(call, enso_cuda_embedding(&w, call->stream), err);
}

/* Constant input i as floats; remembers that it is packed. */
static int take(const struct enso__bind *b, struct embedding *e, size_t i, float **ret_device,
                size_t *ret_n, struct enso_error *err)
{
    const struct enso_value *v = enso__bind_input(b, i);

    if (v != NULL && v->dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "input %zu of type %s", i, enso_dtype_name(v->dtype));
    int st = enso__cuda_constant(b, i, 1, ret_device, ret_n, err);
    if (st == ENSO_OK && *ret_device != NULL) {
        e->bound.packed |= 1u << i;
        e->bound.bytes += *ret_n * sizeof(float);
    }
    return st;
}

int enso__cuda_bind_embedding(const struct enso__bind *b, struct enso_bound **ret,
                              struct enso_error *err)
{
    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_I32 || enso__bind_input(b, 1) == NULL)
        return enso__unsupported(b, err, "needs INT32 tokens and a table of words");
    struct embedding *e = enso__cuda_bound_new(b, sizeof(*e), embedding_run, err);
    if (e == NULL)
        return ENSO_NO_MEMORY;
    e->bound.release = embedding_release;
    e->epsilon = enso_node_float(b->node, "epsilon", 1e-5f);
    int st = ENSO_OK;
    for (size_t t = 0; t < N_TABLES && st == ENSO_OK; t++)
        st = take(b, e, 2 * t + 1, &e->tables[t], &e->table_counts[t], err);
    if (st == ENSO_OK)
        st = take(b, e, 6, &e->gamma, &e->n_gamma, err);
    if (st == ENSO_OK)
        st = take(b, e, 7, &e->beta, &e->n_beta, err);
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
};

static int sequence_pool_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct sequence_pool *s = (const struct sequence_pool *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *starts = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    size_t n;

    if (x->rank != 2)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input of %s", enso__dims_text(x).s);
    int st = check_starts(call, starts, x->dims[0], &n, err);
    if (st != ENSO_OK)
        return st;
    if ((size_t)enso_tensor_count(y) != n * (size_t)x->dims[1])
        return enso__cuda_error(call, err, ENSO_INTERNAL, "output of %s", enso__dims_text(y).s);
    return enso__cuda_launched(call,
                               enso_cuda_sequence_pool(s->mode, x->data, starts->data, y->data,
                                                       (size_t)x->dims[0], n, (size_t)x->dims[1],
                                                       call->stream),
                               err);
}

int enso__cuda_bind_sequence_pool(const struct enso__bind *b, struct enso_bound **ret,
                                  struct enso_error *err)
{
    static const char *const names[] = {"mean", "cls", "last", "max"};
    const char *mode = enso_node_string(b->node, "mode", "mean");
    size_t i = 0;

    while (i < ENSO_ARRAY_SIZE(names) && strcmp(names[i], mode) != 0)
        i++;
    if (i == ENSO_ARRAY_SIZE(names) || enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 ||
        enso__bind_dtype(b, 1) != ENSO_DTYPE_I32)
        return enso__unsupported(b, err, "mode '%s' on type %s", mode,
                                 enso_dtype_name(enso__bind_dtype(b, 0)));
    struct sequence_pool *s = enso__cuda_bound_new(b, sizeof(*s), sequence_pool_run, err);
    if (s == NULL)
        return ENSO_NO_MEMORY;
    s->mode = (enum enso_cuda_sequence_mode)i;
    *ret = &s->bound;
    return ENSO_OK;
}
