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

#include "kernels/nodes/move.h"

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
    struct enso__shape_node part;
};

static int shape_run(const struct enso__call *call, struct enso_error *err)
{
    const struct shape *s = (const struct shape *)call->bound;
    const struct enso_tensor *y = enso__out(call, 0);
    const int64_t *numbers;
    int64_t storage;
    size_t n;
    int st = enso__shape_numbers(&s->part, s->bound.op, s->bound.node, enso__in(call, 0), y,
                                 &storage, &numbers, &n, err);

    if (st == ENSO_OK && n > 0)
        memcpy(y->data, numbers, n * sizeof(*numbers));
    return st;
}

int enso__bind_shape(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct shape *s = enso__bound_new(b, sizeof(*s), shape_run, err);

    if (s == NULL)
        return ENSO_NO_MEMORY;
    enso__shape_bind(b, &s->part);
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

static int join_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_bound *bound = call->bound;
    bool concat = bound->op == ENSO_OP_CONCAT;
    const struct enso_tensor *whole = concat ? enso__out(call, 0) : enso__in(call, 0);
    size_t n = concat ? call->step->n_inputs : call->step->n_outputs, offset, width;
    struct enso__join j;
    int st = enso__join_begin(&j, bound->op, bound->node, whole, ((const struct join *)bound)->axis,
                              err);

    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        const struct enso_tensor *part = concat ? enso__in(call, i) : enso__out(call, i);

        st = enso__join_part(&j, i, part, &offset, &width, err);
        if (st != ENSO_OK)
            return st;
        if (width == 0 || j.rows == 0)
            continue;
        unsigned char *piece = (unsigned char *)whole->data + offset;
        struct join_work w = {.x = concat ? part->data : piece,
                              .y = concat ? piece : part->data,
                              .width = width,
                              .x_pitch = concat ? width : j.pitch,
                              .y_pitch = concat ? j.pitch : width};

        enso__parallel(call, j.rows, width, join_piece, &w);
    }
    return st == ENSO_OK ? enso__join_end(&j, err) : st;
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
    struct enso__gather g;
    const unsigned char *x;
    unsigned char *y;
    const void *indices;
    _Atomic bool out_of_range;
};

static void gather_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    struct gather_work *w = arg;
    const struct enso__gather *g = &w->g;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        size_t outer = i / g->n_indices, j = i % g->n_indices;
        int64_t index =
            g->wide ? ((const int64_t *)w->indices)[j] : ((const int32_t *)w->indices)[j];

        if (index < 0)
            index += g->dim;
        if (index < 0 || index >= g->dim) {
            atomic_store_explicit(&w->out_of_range, true, memory_order_relaxed);
            continue;
        }
        memcpy(w->y + i * g->inner, w->x + (outer * (size_t)g->dim + (size_t)index) * g->inner,
               g->inner);
    }
}

static int gather_run(const struct enso__call *call, struct enso_error *err)
{
    const struct gather *op = (const struct gather *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *indices = enso__in(call, 1);
    const struct enso_tensor *y = enso__out(call, 0);
    struct gather_work w = {.x = x->data, .y = y->data, .indices = indices->data};
    int st = enso__gather_resolve(op->bound.op, op->bound.node, op->axis, x, indices, y, &w.g, err);

    if (st != ENSO_OK)
        return st;
    enso__parallel(call, w.g.n_outer * w.g.n_indices, w.g.inner, gather_piece, &w);
    if (atomic_load(&w.out_of_range))
        return enso__run_error(call, err, ENSO_INVALID,
                               "an index is outside of [-%lld, %lld), the length of axis %d",
                               (long long)w.g.dim, (long long)w.g.dim, w.g.axis);
    return ENSO_OK;
}

int enso__bind_gather(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    int64_t axis = 0;
    int st = enso__gather_bind(b, &axis, err);

    if (st != ENSO_OK)
        return st;
    struct gather *g = enso__bound_new(b, sizeof(*g), gather_run, err);
    if (g == NULL)
        return ENSO_NO_MEMORY;
    g->axis = axis;
    *ret = &g->bound;
    return ENSO_OK;
}
