/* SPDX-License-Identifier: Apache-2.0
 *
 * ATTENTION (engine/ops/ops.h): softmax(scale · Q Kᵀ) V within each sequence of a ragged batch.
 * Unit of work: one head of one sequence. Its keys are transposed into panels and its values packed
 * once; then blocks of 48 query rows go through scores, softmax and the product with the values,
 * all inside the second cache (measured on Zen 3: 62-77 % of the FMA peak with the softmax
 * included).
 *
 * A sequence's rows see only their own sequence and cuts that start with it: bits do not depend on
 * what else is in the batch.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <math.h>

#define BLOCK 48

struct attention {
    struct enso_bound bound;
    size_t heads, size;
    float scale;
    bool causal;
};

/* Scratch of one thread for sequences of up to n tokens, in floats from its start. */
struct attention_scratch {
    size_t keys, values, scores, bytes;
};

static struct attention_scratch scratch_of(const struct attention *a, size_t n)
{
    size_t padded = enso_panels(n) * ENSO_PANEL;
    struct attention_scratch s = {.keys = 0};

    s.values = s.keys + padded * a->size;
    s.scores = s.values + enso_panels(a->size) * ENSO_PANEL * n;
    s.bytes = enso__align((s.scores + BLOCK * padded) * sizeof(float));
    return s;
}

struct attention_work {
    const struct attention *op;
    const struct enso__call *call;
    const float *qkv;
    const int32_t *starts;
    float *y;
    size_t longest;
};

/* c = a · panels for a block of query rows. */
static void multiply(const struct enso_kernels *kernels, const float *a, size_t lda, size_t n_rows,
                     size_t depth, const float *panels, float *c, size_t ldc, size_t n_columns)
{
    static const struct enso_epilogue none = {.bias = NULL};
    const float *rows[ENSO_GEMM_TILES(BLOCK) * ENSO_TILE_ROWS];

    enso_gemm_plain_rows(a, lda, n_rows, rows);
    kernels->gemm(&(struct enso_gemm){.rows = rows,
                                      .n_rows = n_rows,
                                      .taps = 1,
                                      .depth = depth,
                                      .panels = panels,
                                      .n_columns = n_columns,
                                      .c = c,
                                      .ldc = ldc,
                                      .epilogue = &none});
}

static void one_head(const struct attention_work *w, size_t start, size_t n, size_t head,
                     float *scratch)
{
    const struct attention *a = w->op;
    const struct enso_kernels *kernels = a->bound.kernels;
    size_t width = a->heads * a->size, ld = 3 * width, padded = enso_panels(n) * ENSO_PANEL;
    const float *q = w->qkv + start * ld + head * a->size;
    const struct attention_scratch s = scratch_of(a, w->longest);
    float *keys = scratch + s.keys, *values = scratch + s.values, *scores = scratch + s.scores;

    kernels->pack_transposed(q + width, ld, a->size, n, keys);
    kernels->pack(q + 2 * width, ld, n, a->size, values);
    for (size_t row = 0; row < n; row += BLOCK) {
        size_t n_rows = ENSO_MIN(n - row, (size_t)BLOCK);
        size_t seen = a->causal ? row + n_rows : n; /* keys that some row of the block sees */
        float *y = w->y + (start + row) * width + head * a->size;

        multiply(kernels, q + row * ld, ld, n_rows, a->size, keys, scores, padded,
                 enso_panels(seen) * ENSO_PANEL);
        for (size_t r = 0; r < n_rows; r++)
            kernels->softmax(scores + r * padded, a->causal ? row + r + 1 : n, seen, a->scale);
        /* panel by panel, because the values' panels are n rows long and only `seen` count */
        for (size_t p = 0; p < a->size; p += ENSO_PANEL)
            multiply(kernels, scores, padded, n_rows, seen, values + p * n, y + p, width,
                     ENSO_MIN(a->size - p, (size_t)ENSO_PANEL));
    }
}

static void attention_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct attention_work *w = arg;
    size_t bytes = scratch_of(w->op, w->longest).bytes;
    float *scratch = (float *)(w->call->workspace + thread * bytes);

    for (size_t unit = first; unit < last; unit++) {
        size_t sequence = unit / w->op->heads;
        size_t start = (size_t)w->starts[sequence], end = (size_t)w->starts[sequence + 1];

        if (end > start)
            one_head(w, start, end - start, unit % w->op->heads, scratch);
    }
}

static size_t attention_workspace(const struct enso_bound *bound, const struct enso_step *step,
                                  const struct enso_tensor *tensors)
{
    const struct enso_tensor *qkv = &tensors[step->inputs[0]];

    return bound->n_threads *
           scratch_of((const struct attention *)bound, (size_t)qkv->dims[0]).bytes;
}

int enso__check_starts(const struct enso__call *call, const struct enso_tensor *starts,
                       int64_t n_tokens, size_t *ret_longest, struct enso_error *err)
{
    const int32_t *v = starts->data;
    int64_t n = enso_tensor_count(starts);
    size_t longest = 0;

    if (starts->dtype != ENSO_DTYPE_I32 || n < 1 || v[0] != 0 || v[n - 1] != n_tokens)
        return enso__run_error(call, err, ENSO_INTERNAL,
                               "starts must be INT32 from 0 to the number of tokens");
    for (int64_t i = 1; i < n; i++) {
        if (v[i] < v[i - 1])
            return enso__run_error(call, err, ENSO_INTERNAL, "starts must not decrease");
        longest = ENSO_MAX(longest, (size_t)(v[i] - v[i - 1]));
    }
    *ret_longest = longest;
    return ENSO_OK;
}

static int attention_run(const struct enso__call *call, struct enso_error *err)
{
    const struct attention *a = (const struct attention *)call->bound;
    const struct enso_tensor *qkv = enso__in(call, 0), *starts = enso__in(call, 1);
    const struct enso_tensor *y = enso__out(call, 0);
    size_t width = a->heads * a->size;

    if (qkv->rank != 2 || (size_t)qkv->dims[1] != 3 * width ||
        (size_t)enso_tensor_count(y) != (size_t)qkv->dims[0] * width)
        return enso__run_error(call, err, ENSO_INTERNAL, "input of %s for %zu heads of %zu",
                               enso__dims_text(qkv).s, a->heads, a->size);
    struct attention_work w = {
        .op = a, .call = call, .qkv = qkv->data, .starts = starts->data, .y = y->data};
    int st = enso__check_starts(call, starts, qkv->dims[0], &w.longest, err);
    if (st != ENSO_OK)
        return st;
    size_t n_sequences = (size_t)enso_tensor_count(starts) - 1;
    size_t mean = (size_t)qkv->dims[0] / ENSO_MAX(n_sequences, (size_t)1) + 1;

    enso__parallel(call, n_sequences * a->heads, mean * (mean + 16) * a->size * 2, attention_piece,
                   &w);
    return ENSO_OK;
}

int enso__bind_attention(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    int64_t heads = enso_node_int(b->node, "heads", 0), size = enso_node_int(b->node, "size", 0);

    if (heads < 1 || size < 1 || heads > 65536 || size > 65536 ||
        enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 || enso__bind_dtype(b, 1) != ENSO_DTYPE_I32)
        return enso__unsupported(b, err,
                                 "needs FP32, INT32 starts, heads and size; %lld heads of "
                                 "%lld were given",
                                 (long long)heads, (long long)size);
    struct attention *a = enso__bound_new(b, sizeof(*a), attention_run, err);
    if (a == NULL)
        return ENSO_NO_MEMORY;
    a->bound.workspace = attention_workspace;
    a->heads = (size_t)heads;
    a->size = (size_t)size;
    a->scale = enso_node_float(b->node, "scale", 1.0f / sqrtf((float)size));
    a->causal = enso_node_int(b->node, "causal", 0) != 0;
    *ret = &a->bound;
    return ENSO_OK;
}
