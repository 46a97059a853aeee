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
#include "kernels/nodes/move.h"

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
    struct enso__shape_node part;
};

static int shape_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct shape *s = (const struct shape *)call->bound;
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    const int64_t *numbers;
    int64_t storage;
    size_t n;
    int st = enso__shape_numbers(&s->part, s->bound.op, s->bound.node, enso__cuda_in(call, 0), y,
                                 &storage, &numbers, &n, err);

    if (st != ENSO_OK)
        return st;
    return enso__cuda_launched(call, enso_cuda_store(numbers, n, y->data, call->stream), err);
}

int enso__cuda_bind_shape(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    struct shape *s = enso__cuda_bound_new(b, sizeof(*s), shape_run, err);

    if (s == NULL)
        return ENSO_NO_MEMORY;
    enso__shape_bind(b, &s->part);
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

static int join_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_bound *bound = call->bound;
    bool concat = bound->op == ENSO_OP_CONCAT;
    const struct enso_tensor *whole = concat ? enso__cuda_out(call, 0) : enso__cuda_in(call, 0);
    size_t n = concat ? call->step->n_inputs : call->step->n_outputs, offset, width;
    struct enso__join j;
    int st = enso__join_begin(&j, bound->op, bound->node, whole, ((const struct join *)bound)->axis,
                              err);

    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        const struct enso_tensor *part = concat ? enso__cuda_in(call, i) : enso__cuda_out(call, i);

        st = enso__join_part(&j, i, part, &offset, &width, err);
        if (st != ENSO_OK || width == 0 || j.rows == 0)
            continue;
        unsigned char *piece = (unsigned char *)whole->data + offset;

        st = enso__cuda_launched(
            call,
            concat ? enso_cuda_rows(part->data, width, piece, j.pitch, width, j.rows, call->stream)
                   : enso_cuda_rows(piece, j.pitch, part->data, width, width, j.rows, call->stream),
            err);
    }
    return st == ENSO_OK ? enso__join_end(&j, err) : st;
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
    const struct gather *op = (const struct gather *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *indices = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    struct enso__gather g;
    int st = enso__gather_resolve(op->bound.op, op->bound.node, op->axis, x, indices, y, &g, err);

    if (st != ENSO_OK)
        return st;
    return enso__cuda_launched(call,
                               enso_cuda_gather(x->data, indices->data, g.wide, y->data, g.n_outer,
                                                g.n_indices, (size_t)g.dim, g.inner, call->fault,
                                                call->stream),
                               err);
}

int enso__cuda_bind_gather(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    int64_t axis = 0;
    int st = enso__gather_bind(b, &axis, err);

    if (st != ENSO_OK)
        return st;
    struct gather *g = enso__cuda_bound_new(b, sizeof(*g), gather_run, err);
    if (g == NULL)
        return ENSO_NO_MEMORY;
    g->axis = axis;
    *ret = &g->bound;
    return ENSO_OK;
}
