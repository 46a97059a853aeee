/* SPDX-License-Identifier: Apache-2.0
 *
 * TopK (ONNX, opset 11): the k largest or smallest elements along an axis, the best first, of equal
 * ones the first; a NaN is larger than any number. All types but halves and BOOL. Elements become
 * unsigned keys that sort as they do, so that one heap serves all types: it holds the best k so far
 * with the worst of them at its root, and gives them up worst first at the end.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

#include "kernels/nodes/top_k.h"

#define SLICE 256

struct top_k {
    struct enso_bound bound;
    struct enso__top_k part;
};

struct candidate {
    uint64_t key, at;
};

struct top_k_work {
    const struct top_k *op;
    const unsigned char *x;
    unsigned char *values, *workspace;
    int64_t *places;
    size_t n, inner, n_rows, n_heaps, k, bytes; /* bytes of an element */
};

/* ---- keys ---- */

static uint64_t key_of_double(double v)
{
    uint64_t bits;

    if (v != v)
        return UINT64_MAX;
    if (v == 0)
        v = 0; /* two zeros, one key */
    memcpy(&bits, &v, sizeof(bits));
    return bits >> 63 != 0 ? ~bits : bits | 1ULL << 63;
}

static uint64_t key_of_signed(int64_t v)
{
    return (uint64_t)v ^ 1ULL << 63;
}

static uint64_t key_of_unsigned(uint64_t v)
{
    return v;
}

/* Every stride-th element; `flip` is all ones where the smallest is the best. */
#define KEYS(name, type, wide, key_of)                                                             \
    static void keys_##name(const void *x, size_t stride, size_t n, uint64_t flip, uint64_t *y)    \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = key_of((wide)((const type *)x)[i * stride]) ^ flip;                             \
    }
KEYS(F32, float, double, key_of_double)
KEYS(F64, double, double, key_of_double)
KEYS(I8, int8_t, int64_t, key_of_signed)
KEYS(U8, uint8_t, uint64_t, key_of_unsigned)
KEYS(I16, int16_t, int64_t, key_of_signed)
KEYS(U16, uint16_t, uint64_t, key_of_unsigned)
KEYS(I32, int32_t, int64_t, key_of_signed)
KEYS(U32, uint32_t, uint64_t, key_of_unsigned)
KEYS(I64, int64_t, int64_t, key_of_signed)
KEYS(U64, uint64_t, uint64_t, key_of_unsigned)

typedef void (*keys_fn)(const void *x, size_t stride, size_t n, uint64_t flip, uint64_t *y);

static const keys_fn keys[ENSO_N_DTYPES] = {
    [ENSO_DTYPE_F32] = keys_F32, [ENSO_DTYPE_F64] = keys_F64, [ENSO_DTYPE_I8] = keys_I8,
    [ENSO_DTYPE_U8] = keys_U8,   [ENSO_DTYPE_I16] = keys_I16, [ENSO_DTYPE_U16] = keys_U16,
    [ENSO_DTYPE_I32] = keys_I32, [ENSO_DTYPE_U32] = keys_U32, [ENSO_DTYPE_I64] = keys_I64,
    [ENSO_DTYPE_U64] = keys_U64};

/* ---- the heap ---- */

static bool is_worse(struct candidate a, struct candidate b)
{
    return a.key < b.key || (a.key == b.key && a.at > b.at);
}

/* Put c into the hole at the root of heap[0 .. n): parents are worse than their children. */
static void sift_down(struct candidate *heap, size_t n, struct candidate c)
{
    size_t hole = 0;

    for (size_t child = 1; child < n; child = 2 * hole + 1) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child]))
            child++;
        if (!is_worse(heap[child], c))
            break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = c;
}

static void sift_up(struct candidate *heap, size_t hole, struct candidate c)
{
    while (hole > 0 && is_worse(c, heap[(hole - 1) / 2])) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = c;
}

/* The best k of a row, best first. */
static void select_best(const struct top_k_work *w, const unsigned char *x, struct candidate *heap)
{
    size_t n_heap = 0;
    uint64_t slice[SLICE];

    for (size_t first = 0; first < w->n; first += SLICE) {
        size_t m = ENSO_MIN(w->n - first, (size_t)SLICE);

        keys[w->op->part.dtype](x + first * w->inner * w->bytes, w->inner, m,
                                w->op->part.largest ? 0 : UINT64_MAX, slice);
        for (size_t i = 0; i < m; i++) {
            const struct candidate c = {slice[i], first + i};

            if (n_heap < w->k)
                sift_up(heap, n_heap++, c);
            else if (is_worse(heap[0], c))
                sift_down(heap, n_heap, c);
        }
    }
    while (n_heap > 1) {
        const struct candidate worst = heap[0];

        n_heap--;
        sift_down(heap, n_heap, heap[n_heap]);
        heap[n_heap] = worst;
    }
}

static size_t heap_bytes(size_t k)
{
    return enso__align(k * sizeof(struct candidate));
}

static void top_k_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct top_k_work *w = arg;

    for (size_t row = first; row < last; row++) {
        size_t place = w->n_rows == w->n_heaps ? row : thread;
        struct candidate *heap = (struct candidate *)(w->workspace + place * heap_bytes(w->k));
        size_t outer = row / w->inner, inner = row % w->inner;
        const unsigned char *x = w->x + (outer * w->n * w->inner + inner) * w->bytes;

        select_best(w, x, heap);
        for (size_t i = 0; i < w->k; i++) {
            size_t to = (outer * w->k + i) * w->inner + inner;

            memcpy(w->values + to * w->bytes, x + heap[i].at * w->inner * w->bytes, w->bytes);
            w->places[to] = (int64_t)heap[i].at;
        }
    }
}

/* One for each thread; where there are no more rows than threads, one for each row. */
static size_t count_heaps(const struct top_k *op, size_t n_rows)
{
    return ENSO_MIN((size_t)op->bound.n_threads, n_rows);
}

static size_t top_k_workspace(const struct enso_bound *bound, const struct enso_step *step,
                              const struct enso_tensor *tensors)
{
    const struct top_k *op = (const struct top_k *)bound;
    struct enso__slices s;

    if (!enso__top_k_slices(&op->part, &tensors[step->inputs[0]], &s))
        return 0;
    return count_heaps(op, s.outer * s.inner) * heap_bytes(op->part.k);
}

static int top_k_run(const struct enso__call *call, struct enso_error *err)
{
    const struct top_k *op = (const struct top_k *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *values = enso__out(call, 0);
    const struct enso_tensor *places = enso__out(call, 1);
    struct enso__slices s;
    int st =
        enso__top_k_resolve(&op->part, op->bound.op, op->bound.node, x, values, places, &s, err);

    if (st != ENSO_OK)
        return st;
    size_t n_rows = s.outer * s.inner;
    struct top_k_work w = {.op = op,
                           .x = x->data,
                           .values = values->data,
                           .workspace = call->workspace,
                           .places = places->data,
                           .n = s.n,
                           .inner = s.inner,
                           .n_rows = n_rows,
                           .n_heaps = count_heaps(op, n_rows),
                           .k = op->part.k,
                           .bytes = enso_dtype_row_bytes(op->part.dtype, 1)};

    enso__parallel(call, n_rows, w.n * 8 + w.k * 64, top_k_piece, &w);
    return ENSO_OK;
}

int enso__bind_top_k(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso__top_k part;
    int st = enso__top_k_bind(b, &part, err);

    if (st != ENSO_OK)
        return st;
    if (keys[part.dtype] == NULL)
        return enso__top_k_refuse(b, err);
    struct top_k *op = enso__bound_new(b, sizeof(*op), top_k_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.workspace = top_k_workspace;
    op->bound.packed |= part.packed;
    op->part = part;
    *ret = &op->bound;
    return ENSO_OK;
}
