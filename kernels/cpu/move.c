/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that copy whole pieces or make tensors out of nothing (ONNX, opset 17): Identity and
 * the reshape family as copies (a plan normally lets them share memory instead), Shape, Size,
 * ConstantOfShape, Range, Concat, Split, Gather. All element types.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <stdatomic.h>
#include <string.h>

struct copy_work {
    const unsigned char *x;
    unsigned char *y;
};

static void copy_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct copy_work *w = arg;

    (void)thread;
    memcpy(w->y + first, w->x + first, last - first);
}

static int copy_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);

    if (enso_tensor_bytes(x) != enso_tensor_bytes(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "%s cannot become %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    struct copy_work w = {x->data, y->data};

    if (x->data != y->data)
        enso__parallel(call, enso_tensor_bytes(y), 1, copy_piece, &w);
    return ENSO_OK;
}

int enso__bind_copy(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso_bound *bound = enso__bound_new(b, sizeof(*bound), copy_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}

struct shape {
    struct enso_bound bound;
    int64_t start, end;
};

static int shape_run(const struct enso__call *call, struct enso_error *err)
{
    const struct shape *s = (const struct shape *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    int64_t *out = y->data, rank = x->rank, start = s->start, end = s->end;

    if (s->bound.op == ENSO_OP_SIZE) {
        if (enso_tensor_count(y) != 1)
            return enso__run_error(call, err, ENSO_INTERNAL, "its result is one number");
        out[0] = enso_tensor_count(x);
        return ENSO_OK;
    }
    start = ENSO_MAX(ENSO_MIN(start < 0 ? start + rank : start, rank), (int64_t)0);
    end = ENSO_MAX(ENSO_MIN(end < 0 ? end + rank : end, rank), start);
    if (enso_tensor_count(y) != end - start)
        return enso__run_error(call, err, ENSO_INTERNAL, "its result does not fit %s",
                               enso__dims_text(y).s);
    memcpy(out, x->dims + start, (size_t)(end - start) * sizeof(*out));
    return ENSO_OK;
}

int enso__bind_shape(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct shape *s = enso__bound_new(b, sizeof(*s), shape_run, err);

    if (s == NULL)
        return ENSO_NO_MEMORY;
    s->start = enso_node_int(b->node, "start", 0);
    s->end = enso_node_int(b->node, "end", INT32_MAX);
    s->bound.packed = 1; /* only the input's dims are read */
    *ret = &s->bound;
    return ENSO_OK;
}

/* ConstantOfShape: the shape is the result's, the element is input 1 (zero when absent). */
#define FILL(type)                                                                                 \
    for (size_t i = first; i < last; i++)                                                          \
        ((type *)w->y)[i] = (type)w->bits;                                                         \
    break

struct fill_work {
    void *y;
    uint64_t bits;
    size_t bytes;
};

static void fill_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct fill_work *w = arg;

    (void)thread;
    switch (w->bytes) {
    case 1:
        FILL(uint8_t);
    case 2:
        FILL(uint16_t);
    case 4:
        FILL(uint32_t);
    default:
        FILL(uint64_t);
    }
}

static int fill_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *value = enso__in(call, 1), *y = enso__out(call, 0);
    struct fill_work w = {.y = y->data, .bytes = enso_dtype_row_bytes(y->dtype, 1)};

    if (value != NULL) {
        if (value->dtype != y->dtype || enso_tensor_count(value) != 1)
            return enso__run_error(call, err, ENSO_INVALID, "value must be one element of type %s",
                                   enso_dtype_name(y->dtype));
        switch (w.bytes) {
        case 1:
            w.bits = *(const uint8_t *)value->data;
            break;
        case 2:
            w.bits = *(const uint16_t *)value->data;
            break;
        case 4:
            w.bits = *(const uint32_t *)value->data;
            break;
        default:
            w.bits = *(const uint64_t *)value->data;
        }
    }
    enso__parallel(call, (size_t)enso_tensor_count(y), w.bytes, fill_piece, &w);
    return ENSO_OK;
}

int enso__bind_fill(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso_bound *bound = enso__bound_new(b, sizeof(*bound), fill_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    bound->packed = 1; /* the shape is the result's: input 0 is never read */
    *ret = bound;
    return ENSO_OK;
}

/* Range: y[i] = start + i · delta; the length is the result's. */
static int range_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *start = enso__in(call, 0), *delta = enso__in(call, 2);
    const struct enso_tensor *y = enso__out(call, 0);
    size_t n = (size_t)enso_tensor_count(y);

    if (start == NULL || delta == NULL || enso_tensor_count(start) != 1 ||
        enso_tensor_count(delta) != 1)
        return enso__run_error(call, err, ENSO_INVALID, "start and delta must be one number each");
    switch (y->dtype) {
#define RANGE(name, type, wide)                                                                    \
    case ENSO_DTYPE_##name: {                                                                      \
        wide from = (wide) * (const type *)start->data, step = (wide) * (const type *)delta->data; \
        for (size_t i = 0; i < n; i++)                                                             \
            ((type *)y->data)[i] = (type)(from + (wide)i * step);                                  \
        break;                                                                                     \
    }
        RANGE(F32, float, double)
        RANGE(F64, double, double)
        RANGE(I16, int16_t, uint64_t)
        RANGE(I32, int32_t, uint64_t)
        RANGE(I64, int64_t, uint64_t)
#undef RANGE
    default:
        return enso__run_error(call, err, ENSO_UNSUPPORTED, "numbers of type %s",
                               enso_dtype_name(y->dtype));
    }
    return ENSO_OK;
}

int enso__bind_range(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso_bound *bound = enso__bound_new(b, sizeof(*bound), range_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}

/* Concat and Split: pieces of `width` bytes in rows of `pitch` bytes. */
struct join {
    struct enso_bound bound;
    int64_t axis;
};

struct join_work {
    const unsigned char *x;
    unsigned char *y;
    size_t x_pitch, y_pitch, width;
};

static void join_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct join_work *w = arg;

    (void)thread;
    for (size_t i = first; i < last; i++)
        memcpy(w->y + i * w->y_pitch, w->x + i * w->x_pitch, w->width);
}

/* The part is the same shape as the whole but for the axis. */
static bool fits(const struct enso_tensor *part, const struct enso_tensor *whole, size_t axis)
{
    if (part->rank != whole->rank || part->dtype != whole->dtype)
        return false;
    for (size_t d = 0; d < whole->rank; d++)
        if (d != axis && part->dims[d] != whole->dims[d])
            return false;
    return true;
}

static int join_run(const struct enso__call *call, struct enso_error *err)
{
    bool concat = call->bound->op == ENSO_OP_CONCAT;
    const struct enso_tensor *whole = concat ? enso__out(call, 0) : enso__in(call, 0);
    size_t n = concat ? call->step->n_inputs : call->step->n_outputs;
    int axis = enso__axis(((const struct join *)call->bound)->axis, whole->rank);
    int64_t at = 0;

    if (axis < 0)
        return enso__run_error(call, err, ENSO_INVALID, "the axis is out of range");
    size_t rows = enso__count(whole->dims, 0, (size_t)axis);
    size_t inner =
        enso_dtype_row_bytes(whole->dtype, enso__count(whole->dims, (size_t)axis + 1, whole->rank));
    size_t pitch = (size_t)whole->dims[axis] * inner;

    for (size_t i = 0; i < n; i++) {
        const struct enso_tensor *part = concat ? enso__in(call, i) : enso__out(call, i);

        if (part == NULL)
            return enso__run_error(call, err, ENSO_INVALID, "part %zu is missing", i);
        if (!fits(part, whole, (size_t)axis) || part->dims[axis] > whole->dims[axis] - at)
            return enso__run_error(call, err, ENSO_INVALID, "part %zu is %s, the whole %s", i,
                                   enso__dims_text(part).s, enso__dims_text(whole).s);
        size_t width = (size_t)part->dims[axis] * inner, offset = (size_t)at * inner;
        struct join_work w = {
            .width = width, .x_pitch = concat ? width : pitch, .y_pitch = concat ? pitch : width};

        at += part->dims[axis];
        if (width == 0 || rows == 0)
            continue;
        w.x = (const unsigned char *)(concat ? part->data : whole->data) + (concat ? 0 : offset);
        w.y = (unsigned char *)(concat ? whole->data : part->data) + (concat ? offset : 0);
        enso__parallel(call, rows, width, join_piece, &w);
    }
    if (at != whole->dims[axis])
        return enso__run_error(call, err, ENSO_INVALID, "its parts make %lld of %lld along axis %d",
                               (long long)at, (long long)whole->dims[axis], axis);
    return ENSO_OK;
}

int enso__bind_join(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct join *j = enso__bound_new(b, sizeof(*j), join_run, err);

    if (j == NULL)
        return ENSO_NO_MEMORY;
    j->axis = enso_node_int(b->node, "axis", 0);
    *ret = &j->bound;
    return ENSO_OK;
}

/* Gather: rows of `inner` bytes picked along an axis. */
struct gather {
    struct enso_bound bound;
    int64_t axis;
};

struct gather_work {
    const unsigned char *x;
    unsigned char *y;
    const void *indices;
    bool wide; /* 64-bit indices */
    size_t n_indices, inner;
    int64_t dim;
    _Atomic bool out_of_range;
};

static void gather_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    struct gather_work *w = arg;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        size_t outer = i / w->n_indices, j = i % w->n_indices;
        int64_t index =
            w->wide ? ((const int64_t *)w->indices)[j] : ((const int32_t *)w->indices)[j];

        if (index < 0)
            index += w->dim;
        if (index < 0 || index >= w->dim) {
            atomic_store_explicit(&w->out_of_range, true, memory_order_relaxed);
            continue;
        }
        memcpy(w->y + i * w->inner, w->x + (outer * (size_t)w->dim + (size_t)index) * w->inner,
               w->inner);
    }
}

static int gather_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__in(call, 0), *indices = enso__in(call, 1);
    const struct enso_tensor *y = enso__out(call, 0);
    int axis = enso__axis(((const struct gather *)call->bound)->axis, x->rank);

    if (axis < 0)
        return enso__run_error(call, err, ENSO_INVALID, "the axis is out of range");
    struct gather_work w = {
        .x = x->data,
        .y = y->data,
        .indices = indices->data,
        .wide = indices->dtype == ENSO_DTYPE_I64,
        .n_indices = (size_t)enso_tensor_count(indices),
        .inner = enso_dtype_row_bytes(x->dtype, enso__count(x->dims, (size_t)axis + 1, x->rank)),
        .dim = x->dims[axis]};
    size_t rows = enso__count(x->dims, 0, (size_t)axis) * w.n_indices;

    if (rows * w.inner != enso_tensor_bytes(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "its result does not fit %s",
                               enso__dims_text(y).s);
    enso__parallel(call, rows, w.inner, gather_piece, &w);
    if (atomic_load(&w.out_of_range))
        return enso__run_error(call, err, ENSO_INVALID,
                               "an index is outside of [-%lld, %lld), the length of axis %d",
                               (long long)w.dim, (long long)w.dim, axis);
    return ENSO_OK;
}

int enso__bind_gather(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype indices = enso__bind_dtype(b, 1);

    if (indices != ENSO_DTYPE_I32 && indices != ENSO_DTYPE_I64)
        return enso__unsupported(b, err, "indices of type %s", enso_dtype_name(indices));
    struct gather *g = enso__bound_new(b, sizeof(*g), gather_run, err);
    if (g == NULL)
        return ENSO_NO_MEMORY;
    g->axis = enso_node_int(b->node, "axis", 0);
    *ret = &g->bound;
    return ENSO_OK;
}
