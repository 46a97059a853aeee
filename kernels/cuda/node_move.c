/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that copy whole pieces or make tensors out of nothing (ONNX, opset 17), all element
 * types: Identity and the reshape family as copies (a plan normally lets them share memory
 * instead), Shape, Size, ConstantOfShape, Range, Concat, Split, Gather: host side of move.cu.
 * Numbers that a kernel can read itself (Range's start and delta, ConstantOfShape's value, Gather's
 * indices) may come from the batch.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_elements.h"

static int copy_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);

    if (enso_tensor_bytes(x) != enso_tensor_bytes(y))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "%s cannot become %s",
                                enso__dims_text(x).s, enso__dims_text(y).s);
    if (x->data == y->data)
        return ENSO_OK;
    return enso__cuda_launched(
        call, enso_cuda_copy(x->data, y->data, enso_tensor_bytes(y), call->stream), err);
}

int enso__cuda_bind_copy(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    struct enso_bound *bound = enso__cuda_bound_new(b, sizeof(*bound), copy_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}

struct shape {
    struct enso_bound bound;
    int64_t start, end;
};

static int shape_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct shape *s = (const struct shape *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    int64_t count = enso_tensor_count(x), rank = x->rank, start = s->start, end = s->end;
    const int64_t *numbers = &count;
    size_t n = 1;

    if (s->bound.op == ENSO_OP_SHAPE) {
        start = ENSO_MAX(ENSO_MIN(start < 0 ? start + rank : start, rank), (int64_t)0);
        end = ENSO_MAX(ENSO_MIN(end < 0 ? end + rank : end, rank), start);
        numbers = x->dims + start;
        n = (size_t)(end - start);
    }
    if (y->dtype != ENSO_DTYPE_I64 || enso_tensor_count(y) != (int64_t)n)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "its result does not fit %s",
                                enso__dims_text(y).s);
    return enso__cuda_launched(call, enso_cuda_store(numbers, n, y->data, call->stream), err);
}

int enso__cuda_bind_shape(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    struct shape *s = enso__cuda_bound_new(b, sizeof(*s), shape_run, err);

    if (s == NULL)
        return ENSO_NO_MEMORY;
    s->start = enso_node_int(b->node, "start", 0);
    s->end = enso_node_int(b->node, "end", INT32_MAX);
    s->bound.packed = 1; /* only the input's dims are read */
    *ret = &s->bound;
    return ENSO_OK;
}

/* ConstantOfShape: the shape is the result's, the element is input 1 (zero when absent). */
static int fill_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *value = enso__cuda_in(call, 1), *y = enso__cuda_out(call, 0);

    if (value != NULL && (value->dtype != y->dtype || enso_tensor_count(value) != 1))
        return enso__cuda_error(call, err, ENSO_INVALID, "value must be one element of type %s",
                                enso_dtype_name(y->dtype));
    return enso__cuda_launched(call,
                               enso_cuda_fill(enso_dtype_row_bytes(y->dtype, 1),
                                              value != NULL ? value->data : NULL, y->data,
                                              (size_t)enso_tensor_count(y), call->stream),
                               err);
}

int enso__cuda_bind_fill(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    struct enso_bound *bound = enso__cuda_bound_new(b, sizeof(*bound), fill_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    bound->packed = 1; /* the shape is the result's: input 0 is never read */
    *ret = bound;
    return ENSO_OK;
}

/* Range: y[i] = start + i · delta; the length is the result's. */
static int range_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *start = enso__cuda_in(call, 0), *delta = enso__cuda_in(call, 2);
    const struct enso_tensor *y = enso__cuda_out(call, 0);

    if (start == NULL || delta == NULL || enso_tensor_count(start) != 1 ||
        enso_tensor_count(delta) != 1 || start->dtype != y->dtype || delta->dtype != y->dtype)
        return enso__cuda_error(call, err, ENSO_INVALID, "start and delta must be one number each");
    return enso__cuda_launched(call,
                               enso_cuda_range(y->dtype, start->data, delta->data, y->data,
                                               (size_t)enso_tensor_count(y), call->stream),
                               err);
}

int enso__cuda_bind_range(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (dtype != ENSO_DTYPE_F32 && dtype != ENSO_DTYPE_F64 && dtype != ENSO_DTYPE_I16 &&
        dtype != ENSO_DTYPE_I32 && dtype != ENSO_DTYPE_I64)
        return enso__unsupported(b, err, "numbers of type %s", enso_dtype_name(dtype));
    struct enso_bound *bound = enso__cuda_bound_new(b, sizeof(*bound), range_run, err);
    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}

/* Concat and Split: pieces of `width` bytes in rows of `pitch` bytes, one launch per part. */
struct join {
    struct enso_bound bound;
    int64_t axis;
};

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

static int join_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    bool concat = call->bound->op == ENSO_OP_CONCAT;
    const struct enso_tensor *whole = concat ? enso__cuda_out(call, 0) : enso__cuda_in(call, 0);
    size_t n = concat ? call->step->n_inputs : call->step->n_outputs;
    int axis = enso__axis(((const struct join *)call->bound)->axis, whole->rank);
    int64_t at = 0;

    if (axis < 0)
        return enso__cuda_error(call, err, ENSO_INVALID, "the axis is out of range");
    size_t rows = enso__count(whole->dims, 0, (size_t)axis);
    size_t inner =
        enso_dtype_row_bytes(whole->dtype, enso__count(whole->dims, (size_t)axis + 1, whole->rank));
    size_t pitch = (size_t)whole->dims[axis] * inner;

    for (size_t i = 0; i < n; i++) {
        const struct enso_tensor *part = concat ? enso__cuda_in(call, i) : enso__cuda_out(call, i);

        if (part == NULL)
            return enso__cuda_error(call, err, ENSO_INVALID, "part %zu is missing", i);
        if (!fits(part, whole, (size_t)axis) || part->dims[axis] > whole->dims[axis] - at)
            return enso__cuda_error(call, err, ENSO_INVALID, "part %zu is %s, the whole %s", i,
                                    enso__dims_text(part).s, enso__dims_text(whole).s);
        size_t width = (size_t)part->dims[axis] * inner, offset = (size_t)at * inner;

        at += part->dims[axis];
        if (width == 0 || rows == 0)
            continue;
        unsigned char *piece = (unsigned char *)whole->data + offset;
        int st = enso__cuda_launched(
            call,
            concat ? enso_cuda_rows(part->data, width, piece, pitch, width, rows, call->stream)
                   : enso_cuda_rows(piece, pitch, part->data, width, width, rows, call->stream),
            err);

        if (st != ENSO_OK)
            return st;
    }
    if (at != whole->dims[axis])
        return enso__cuda_error(call, err, ENSO_INVALID,
                                "its parts make %lld of %lld along axis %d", (long long)at,
                                (long long)whole->dims[axis], axis);
    return ENSO_OK;
}

int enso__cuda_bind_join(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    struct join *j = enso__cuda_bound_new(b, sizeof(*j), join_run, err);

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

static int gather_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__cuda_in(call, 0), *indices = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    int axis = enso__axis(((const struct gather *)call->bound)->axis, x->rank);

    if (axis < 0)
        return enso__cuda_error(call, err, ENSO_INVALID, "the axis is out of range");
    size_t n_indices = (size_t)enso_tensor_count(indices);
    size_t outer = enso__count(x->dims, 0, (size_t)axis);
    size_t inner = enso_dtype_row_bytes(x->dtype, enso__count(x->dims, (size_t)axis + 1, x->rank));

    if (outer * n_indices * inner != enso_tensor_bytes(y))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "its result does not fit %s",
                                enso__dims_text(y).s);
    return enso__cuda_launched(
        call,
        enso_cuda_gather(x->data, indices->data, indices->dtype == ENSO_DTYPE_I64, y->data, outer,
                         n_indices, (size_t)x->dims[axis], inner, call->fault, call->stream),
        err);
}

int enso__cuda_bind_gather(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    enum enso_dtype indices = enso__bind_dtype(b, 1);

    if (indices != ENSO_DTYPE_I32 && indices != ENSO_DTYPE_I64)
        return enso__unsupported(b, err, "indices of type %s", enso_dtype_name(indices));
    struct gather *g = enso__cuda_bound_new(b, sizeof(*g), gather_run, err);
    if (g == NULL)
        return ENSO_NO_MEMORY;
    g->axis = enso_node_int(b->node, "axis", 0);
    *ret = &g->bound;
    return ENSO_OK;
}
