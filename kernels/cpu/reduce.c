/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions over any axes and ArgMax/ArgMin (ONNX, opset 17; axes as attribute or as input, empty
 * axes mean all unless noop_with_empty_axes). Elements pass in slices through a buffer of doubles
 * or 64-bit integers, so that one loop per operator serves all types; floats are summed in double,
 * in order. Over nothing: 0 for sums, 1 for products, NaN for the mean, the type's end for Max/Min.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/nodes/reduction.h"

#define SLICE 256

struct reduce {
    struct enso_bound bound;
    enum enso_dtype dtype;
    bool floats, noop_when_empty;
    struct enso__ints axes;
};

struct accumulator {
    enum enso_op op;
    double f, max;
    int64_t i;
};

static void load_doubles(enum enso_dtype dtype, const void *x, size_t stride, size_t n, double *y)
{
    if (dtype == ENSO_DTYPE_F32)
        for (size_t i = 0; i < n; i++)
            y[i] = (double)((const float *)x)[i * stride];
    else
        for (size_t i = 0; i < n; i++)
            y[i] = ((const double *)x)[i * stride];
}

static void load_integers(enum enso_dtype dtype, const void *x, size_t stride, size_t n, int64_t *y)
{
    switch (dtype) {
#define LOAD(name, type)                                                                           \
    case ENSO_DTYPE_##name:                                                                        \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = (int64_t)((const type *)x)[i * stride];                                         \
        break;
        LOAD(I8, int8_t)
        LOAD(U8, uint8_t)
        LOAD(I16, int16_t)
        LOAD(U16, uint16_t)
        LOAD(I32, int32_t)
        LOAD(U32, uint32_t)
        LOAD(I64, int64_t)
        LOAD(U64, uint64_t)
        LOAD(BOOL, uint8_t)
#undef LOAD
    default:
        break;
    }
}

#define EACH(statement)                                                                            \
    for (size_t i = 0; i < n; i++) {                                                               \
        statement;                                                                                 \
    }                                                                                              \
    break

static void add_doubles(struct accumulator *a, const double *v, size_t n)
{
    switch (a->op) {
    case ENSO_OP_REDUCE_MAX:
        EACH(a->f = v[i] > a->f || v[i] != v[i] ? v[i] : a->f);
    case ENSO_OP_REDUCE_MIN:
        EACH(a->f = v[i] < a->f || v[i] != v[i] ? v[i] : a->f);
    case ENSO_OP_REDUCE_PROD:
        EACH(a->f *= v[i]);
    case ENSO_OP_REDUCE_L1:
        EACH(a->f += fabs(v[i]));
    case ENSO_OP_REDUCE_L2:
    case ENSO_OP_REDUCE_SUM_SQUARE:
        EACH(a->f += v[i] * v[i]);
    case ENSO_OP_REDUCE_LOG_SUM_EXP:
        EACH(a->f += exp(v[i] - a->max));
    default:
        EACH(a->f += v[i]);
    }
}

/* Wraps like numpy, so sums are taken unsigned. */
static void add_integers(struct accumulator *a, const int64_t *v, size_t n)
{
    uint64_t sum = (uint64_t)a->i;

    switch (a->op) {
    case ENSO_OP_REDUCE_MAX:
        EACH(sum = v[i] > (int64_t)sum ? (uint64_t)v[i] : sum);
    case ENSO_OP_REDUCE_MIN:
        EACH(sum = v[i] < (int64_t)sum ? (uint64_t)v[i] : sum);
    case ENSO_OP_REDUCE_PROD:
        EACH(sum *= (uint64_t)v[i]);
    case ENSO_OP_REDUCE_L1:
        EACH(sum += v[i] < 0 ? 0 - (uint64_t)v[i] : (uint64_t)v[i]);
    case ENSO_OP_REDUCE_L2:
    case ENSO_OP_REDUCE_SUM_SQUARE:
        EACH(sum += (uint64_t)v[i] * (uint64_t)v[i]);
    case ENSO_OP_REDUCE_LOG_SUM_EXP:
        EACH(a->f += exp((double)v[i] - a->max));
    default:
        EACH(sum += (uint64_t)v[i]);
    }
    a->i = (int64_t)sum;
}

static void start(struct accumulator *a, enum enso_op op)
{
    *a = (struct accumulator){.op = op, .max = a->max};
    if (op == ENSO_OP_REDUCE_MAX) {
        a->f = -(double)INFINITY;
        a->i = INT64_MIN;
    } else if (op == ENSO_OP_REDUCE_MIN) {
        a->f = (double)INFINITY;
        a->i = INT64_MAX;
    } else if (op == ENSO_OP_REDUCE_PROD) {
        a->f = 1;
        a->i = 1;
    }
}

static void walk(const struct reduce *r, const struct enso__reduction *w, const unsigned char *x,
                 struct accumulator *a)
{
    size_t last = w->n_reduced - 1, bytes = enso_dtype_row_bytes(r->dtype, 1);

    for (size_t row = 0; row < w->rows; row++) {
        size_t offset = 0, index = row;

        for (size_t d = last; d-- > 0;) {
            offset += index % w->reduced_dims[d] * w->reduced_strides[d];
            index /= w->reduced_dims[d];
        }
        for (size_t i = 0; i < w->reduced_dims[last]; i += SLICE) {
            size_t m = ENSO_MIN(w->reduced_dims[last] - i, (size_t)SLICE);
            const void *from = x + (offset + i * w->reduced_strides[last]) * bytes;
            union {
                double f[SLICE];
                int64_t i[SLICE];
            } slice;

            if (r->floats) {
                load_doubles(r->dtype, from, w->reduced_strides[last], m, slice.f);
                add_doubles(a, slice.f, m);
            } else {
                load_integers(r->dtype, from, w->reduced_strides[last], m, slice.i);
                add_integers(a, slice.i, m);
            }
        }
    }
}

static double finish_float(const struct accumulator *a, size_t n)
{
    switch (a->op) {
    case ENSO_OP_REDUCE_MEAN:
        return a->f / (double)n;
    case ENSO_OP_REDUCE_L2:
        return sqrt(a->f);
    case ENSO_OP_REDUCE_LOG_SUM:
        return log(a->f);
    case ENSO_OP_REDUCE_LOG_SUM_EXP:
        return log(a->f) + a->max;
    default:
        return a->f;
    }
}

static int64_t finish_integer(const struct accumulator *a, size_t n)
{
    switch (a->op) {
    case ENSO_OP_REDUCE_MEAN:
        return n == 0 ? 0 : a->i / (int64_t)n;
    case ENSO_OP_REDUCE_L2:
        return (int64_t)sqrt((double)a->i);
    case ENSO_OP_REDUCE_LOG_SUM:
        return a->i <= 0 ? 0 : (int64_t)log((double)a->i);
    case ENSO_OP_REDUCE_LOG_SUM_EXP:
        return a->f > 0 ? (int64_t)(log(a->f) + a->max) : 0;
    default:
        return a->i;
    }
}

static void store(enum enso_dtype dtype, void *y, size_t at, double f, int64_t i)
{
    switch (dtype) {
#define STORE(name, type, value)                                                                   \
    case ENSO_DTYPE_##name:                                                                        \
        ((type *)y)[at] = (type)(value);                                                           \
        break;
        STORE(F32, float, f)
        STORE(F64, double, f)
        STORE(I8, int8_t, i)
        STORE(U8, uint8_t, i)
        STORE(I16, int16_t, i)
        STORE(U16, uint16_t, i)
        STORE(I32, int32_t, i)
        STORE(U32, uint32_t, i)
        STORE(I64, int64_t, i)
        STORE(U64, uint64_t, i)
        STORE(BOOL, uint8_t, i != 0)
#undef STORE
    default:
        break;
    }
}

struct reduce_work {
    const struct reduce *op;
    struct enso__reduction walk;
    const unsigned char *x;
    void *y;
};

static void reduce_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct reduce_work *w = arg;
    size_t n = w->walk.rows * w->walk.reduced_dims[w->walk.n_reduced - 1];

    (void)thread;
    for (size_t o = first; o < last; o++) {
        struct accumulator a = {0};
        size_t offset = 0, index = o;

        for (size_t d = w->walk.n_kept; d-- > 0;) {
            offset += index % w->walk.kept_dims[d] * w->walk.kept_strides[d];
            index /= w->walk.kept_dims[d];
        }
        const unsigned char *x =
            w->x == NULL ? NULL : w->x + enso_dtype_row_bytes(w->op->dtype, offset);

        if (w->op->bound.op == ENSO_OP_REDUCE_LOG_SUM_EXP) { /* stable: the maximum comes out */
            start(&a, ENSO_OP_REDUCE_MAX);
            walk(w->op, &w->walk, x, &a);
            a.max = w->op->floats ? a.f : (double)a.i;
            if (isinf(a.max))
                a.max = 0;
        }
        start(&a, w->op->bound.op);
        walk(w->op, &w->walk, x, &a);
        store(w->op->dtype, w->y, o, finish_float(&a, n), finish_integer(&a, n));
    }
}

static int reduce_run(const struct enso__call *call, struct enso_error *err)
{
    const struct reduce *r = (const struct reduce *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct enso__ints storage;
    const struct enso__ints *axes;
    uint32_t reduced = 0;
    int64_t axis = 0;
    int st = enso__ints_get(call, &r->axes, &storage, &axes, err);

    if (st != ENSO_OK)
        return st;
    if (!enso__reduction_axes(axes, r->noop_when_empty, x->rank, &reduced, &axis))
        return enso__run_error(call, err, ENSO_INVALID, "axis %lld of a tensor of rank %u",
                               (long long)axis, x->rank);
    struct reduce_work w = {.op = r, .x = x->data, .y = y->data};

    enso__reduction_plan(x, reduced, &w.walk);
    const size_t n_outputs = w.walk.n_outputs;

    if (n_outputs != (size_t)enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "%s does not reduce to %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    enso__parallel(call, n_outputs, w.walk.rows * w.walk.reduced_dims[w.walk.n_reduced - 1] * 4,
                   reduce_piece, &w);
    return ENSO_OK;
}

int enso__bind_reduce(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (dtype == ENSO_DTYPE_F16 || dtype == ENSO_DTYPE_BF16)
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct reduce *r = enso__bound_new(b, sizeof(*r), reduce_run, err);
    if (r == NULL)
        return ENSO_NO_MEMORY;
    int st = enso__ints_bind(b, 1, "axes", &r->axes, err);
    if (st != ENSO_OK) {
        enso__bound_free(&r->bound);
        return st;
    }
    r->dtype = dtype;
    r->floats = dtype == ENSO_DTYPE_F32 || dtype == ENSO_DTYPE_F64;
    r->noop_when_empty = enso_node_int(b->node, "noop_with_empty_axes", 0) != 0;
    *ret = &r->bound;
    return ENSO_OK;
}

/* ArgMax, ArgMin: [outer, axis, inner]. */
struct arg {
    struct enso_bound bound;
    enum enso_dtype dtype;
    int64_t axis;
    bool last; /* of equal ones take the last */
};

struct arg_work {
    const void *x;
    int64_t *y;
    size_t n, inner;
    bool last, min;
    void (*find)(const struct arg_work *w, size_t first, size_t last);
};

/* A NaN wins, the first of them, as in numpy. */
#define FIND(name, type)                                                                           \
    static void find_##name(const struct arg_work *w, size_t first, size_t end)                    \
    {                                                                                              \
        for (size_t o = first; o < end; o++) {                                                     \
            const type *x = (const type *)w->x + o / w->inner * w->n * w->inner + o % w->inner;    \
            type best = x[0];                                                                      \
            size_t at = 0;                                                                         \
            for (size_t i = 1; i < w->n; i++) {                                                    \
                type v = x[i * w->inner];                                                          \
                bool better = w->min ? v < best : v > best;                                        \
                if (better || (w->last && v == best) || (v != v && best == best)) {                \
                    best = v;                                                                      \
                    at = i;                                                                        \
                }                                                                                  \
            }                                                                                      \
            w->y[o] = (int64_t)at;                                                                 \
        }                                                                                          \
    }
FIND(F32, float)
FIND(F64, double)
FIND(I8, int8_t)
FIND(U8, uint8_t)
FIND(I16, int16_t)
FIND(U16, uint16_t)
FIND(I32, int32_t)
FIND(U32, uint32_t)
FIND(I64, int64_t)
FIND(U64, uint64_t)

static void (*const finds[ENSO_N_DTYPES])(const struct arg_work *, size_t, size_t) = {
    [ENSO_DTYPE_F32] = find_F32, [ENSO_DTYPE_F64] = find_F64, [ENSO_DTYPE_I8] = find_I8,
    [ENSO_DTYPE_U8] = find_U8,   [ENSO_DTYPE_I16] = find_I16, [ENSO_DTYPE_U16] = find_U16,
    [ENSO_DTYPE_I32] = find_I32, [ENSO_DTYPE_U32] = find_U32, [ENSO_DTYPE_I64] = find_I64,
    [ENSO_DTYPE_U64] = find_U64, [ENSO_DTYPE_BOOL] = find_U8};

static void arg_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct arg_work *w = arg;

    (void)thread;
    w->find(w, first, last);
}

static int arg_run(const struct enso__call *call, struct enso_error *err)
{
    const struct arg *a = (const struct arg *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    int axis = x->rank == 0 ? -1 : enso__axis(a->axis, x->rank);

    if (axis < 0)
        return enso__run_error(call, err, ENSO_INVALID, "axis %lld of a tensor of rank %u",
                               (long long)a->axis, x->rank);
    struct arg_work w = {.x = x->data,
                         .y = y->data,
                         .n = (size_t)x->dims[axis],
                         .inner = enso__count(x->dims, (size_t)axis + 1, x->rank),
                         .last = a->last,
                         .min = a->bound.op == ENSO_OP_ARG_MIN,
                         .find = finds[a->dtype]};
    size_t n_outputs = enso__count(x->dims, 0, (size_t)axis) * w.inner;

    if (w.n == 0)
        return enso__run_error(call, err, ENSO_INVALID, "axis %d has no elements", axis);
    if (n_outputs != (size_t)enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "%s does not reduce to %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    enso__parallel(call, n_outputs, w.n * 4, arg_piece, &w);
    return ENSO_OK;
}

int enso__bind_arg(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (finds[dtype] == NULL)
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct arg *a = enso__bound_new(b, sizeof(*a), arg_run, err);
    if (a == NULL)
        return ENSO_NO_MEMORY;
    a->dtype = dtype;
    a->axis = enso_node_int(b->node, "axis", 0);
    a->last = enso_node_int(b->node, "select_last_index", 0) != 0;
    *ret = &a->bound;
    return ENSO_OK;
}
