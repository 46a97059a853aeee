/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of two or more inputs that work element by element with broadcasting (ONNX, opset 17),
 * and Where: host side of binary.cu. Types, shapes and refusals as on the CPU, and F16 and BF16
 * besides.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_elements.h"
#include "kernels/nodes/broadcast.h"

struct binary {
    struct enso_bound bound;
    bool fmod;
};

/* The simplified shape as the kernels take it; false when an operand does not broadcast to y. */
static bool table(const struct enso_tensor *y, const struct enso_tensor *const *operands, size_t n,
                  struct enso_cuda_broadcast *ret)
{
    struct enso__broadcast b;

    if (!enso__broadcast_init(&b, y, operands, n))
        return false;
    *ret = (struct enso_cuda_broadcast){.rank = (uint32_t)b.rank};
    for (size_t d = 0; d < b.rank; d++) {
        ret->dims[d] = b.dims[d];
        for (size_t i = 0; i < n; i++)
            ret->strides[i][d] = b.strides[i][d];
    }
    return true;
}

static int combine(const struct enso__cuda_call *call, const struct enso_tensor *a,
                   const struct enso_tensor *b, const struct enso_tensor *y, struct enso_error *err)
{
    const struct binary *op = (const struct binary *)call->bound;
    const struct enso_tensor *operands[2] = {a, b};
    struct enso_cuda_broadcast shape;

    if (!table(y, operands, 2, &shape))
        return enso__cuda_error(call, err, ENSO_INVALID, "shapes %s and %s do not broadcast to %s",
                                enso__dims_text(a).s, enso__dims_text(b).s, enso__dims_text(y).s);
    return enso__cuda_launched(call,
                               enso_cuda_binary(op->bound.op, op->fmod, a->dtype, b->dtype, a->data,
                                                b->data, y->data, (size_t)enso_tensor_count(y),
                                                &shape, call->stream),
                               err);
}

static int binary_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    return combine(call, enso__cuda_in(call, 0), enso__cuda_in(call, 1), enso__cuda_out(call, 0),
                   err);
}

/* Max, Min, Sum, Mean of one or more: the first two, then the result with each further one. */
static int variadic_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    size_t n = call->step->n_inputs;
    int st = ENSO_OK;

    if (n == 1) {
        if (!enso__same_dims(x, y))
            return enso__cuda_error(call, err, ENSO_INTERNAL, "input and output differ in shape");
        if (x->data == y->data)
            return ENSO_OK;
        return enso__cuda_launched(
            call, enso_cuda_copy(x->data, y->data, enso_tensor_bytes(y), call->stream), err);
    }
    for (size_t i = 1; i < n && st == ENSO_OK; i++)
        st = combine(call, i == 1 ? x : y, enso__cuda_in(call, i), y, err);
    if (st == ENSO_OK && call->bound->op == ENSO_OP_MEAN)
        st = enso__cuda_launched(
            call,
            enso_cuda_divide(y->dtype, y->data, (size_t)enso_tensor_count(y), n, call->stream),
            err);
    return st;
}

static bool is_real(enum enso_dtype dtype)
{
    return enso__cuda_is_float(dtype) || dtype == ENSO_DTYPE_F64;
}

static bool is_number(enum enso_dtype dtype)
{
    return dtype != ENSO_DTYPE_BOOL;
}

static bool binary_takes(enum enso_op op, enum enso_dtype a, enum enso_dtype b)
{
    if (op == ENSO_OP_POW)
        return (is_real(a) || a == ENSO_DTYPE_I32 || a == ENSO_DTYPE_I64) && is_number(b);
    if (a != b)
        return false;
    switch (op) {
    case ENSO_OP_AND:
    case ENSO_OP_OR:
    case ENSO_OP_XOR:
        return a == ENSO_DTYPE_BOOL;
    case ENSO_OP_EQUAL:
        return is_number(a) || a == ENSO_DTYPE_BOOL;
    case ENSO_OP_SUM:
    case ENSO_OP_MEAN:
        return is_real(a);
    default:
        return is_number(a);
    }
}

int enso__cuda_bind_binary(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    enum enso_op op = b->node->op;
    bool variadic =
        op == ENSO_OP_MAX || op == ENSO_OP_MIN || op == ENSO_OP_SUM || op == ENSO_OP_MEAN;
    enum enso_dtype a = enso__bind_dtype(b, 0);

    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (enso__bind_input(b, i) == NULL)
            return enso__unsupported(b, err, "input %zu is missing", i);
    if (b->node->n_inputs < (variadic ? 1 : 2))
        return enso__unsupported(b, err, "too few inputs");
    for (size_t i = variadic ? 0 : 1; i < b->node->n_inputs; i++)
        if (!binary_takes(op, a, enso__bind_dtype(b, i)))
            return enso__unsupported(b, err, "inputs of types %s and %s", enso_dtype_name(a),
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    struct binary *n =
        enso__cuda_bound_new(b, sizeof(*n), variadic ? variadic_run : binary_run, err);
    if (n == NULL)
        return ENSO_NO_MEMORY;
    n->fmod = op == ENSO_OP_MOD && enso_node_int(b->node, "fmod", 0) != 0;
    *ret = &n->bound;
    return ENSO_OK;
}

static int where_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *operands[3] = {enso__cuda_in(call, 0), enso__cuda_in(call, 1),
                                             enso__cuda_in(call, 2)};
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    struct enso_cuda_broadcast shape;

    if (!table(y, operands, 3, &shape))
        return enso__cuda_error(call, err, ENSO_INVALID,
                                "shapes %s, %s and %s do not broadcast to %s",
                                enso__dims_text(operands[0]).s, enso__dims_text(operands[1]).s,
                                enso__dims_text(operands[2]).s, enso__dims_text(y).s);
    return enso__cuda_launched(call,
                               enso_cuda_where(enso_dtype_row_bytes(y->dtype, 1), operands[0]->data,
                                               operands[1]->data, operands[2]->data, y->data,
                                               (size_t)enso_tensor_count(y), &shape, call->stream),
                               err);
}

int enso__cuda_bind_where(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    if (b->node->n_inputs != 3 || enso__bind_dtype(b, 0) != ENSO_DTYPE_BOOL ||
        enso__bind_dtype(b, 1) != enso__bind_dtype(b, 2))
        return enso__unsupported(b, err, "needs a BOOL condition and two inputs of one type");
    struct enso_bound *bound = enso__cuda_bound_new(b, sizeof(*bound), where_run, err);
    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}
