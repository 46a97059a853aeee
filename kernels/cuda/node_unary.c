/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of one input that work element by element, and Cast: host side of unary.cu and cast.cu.
 * The same types as on the CPU, and F16 and BF16; Sin and Cos in F64 are refused (see unary.cu).
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <string.h>

#include "kernels/cuda/launch_elements.h"

struct unary {
    struct enso_bound bound;
    struct enso_cuda_unary args;
};

static int unary_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct unary *u = (const struct unary *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    struct enso_cuda_unary args = u->args;

    if (enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input and output differ in size");
    for (size_t i = 1; i <= 2 && u->bound.op == ENSO_OP_CLIP; i++) {
        const struct enso_tensor *t = enso__cuda_in(call, i);

        if (t == NULL)
            continue;
        if (enso_tensor_count(t) != 1 || t->dtype != x->dtype)
            return enso__cuda_error(call, err, ENSO_INVALID, "bound %zu must be one number", i);
        *(i == 1 ? &args.low : &args.high) = t->data;
    }
    return enso__cuda_launched(call,
                               enso_cuda_unary(u->bound.op, x->dtype, x->data, y->data,
                                               (size_t)enso_tensor_count(y), &args, call->stream),
                               err);
}

static bool unary_takes(enum enso_op op, enum enso_dtype dtype)
{
    bool real = enso__cuda_is_float(dtype) || dtype == ENSO_DTYPE_F64;
    bool is_signed = dtype == ENSO_DTYPE_I8 || dtype == ENSO_DTYPE_I16 || dtype == ENSO_DTYPE_I32 ||
                     dtype == ENSO_DTYPE_I64;
    bool is_unsigned = dtype == ENSO_DTYPE_U8 || dtype == ENSO_DTYPE_U16 ||
                       dtype == ENSO_DTYPE_U32 || dtype == ENSO_DTYPE_U64;

    switch (op) {
    case ENSO_OP_NOT:
        return dtype == ENSO_DTYPE_BOOL;
    case ENSO_OP_ABS:
    case ENSO_OP_CLIP:
    case ENSO_OP_SIGN:
        return real || is_signed || is_unsigned;
    case ENSO_OP_NEG:
    case ENSO_OP_RELU:
        return real || is_signed;
    case ENSO_OP_COS:
    case ENSO_OP_SIN:
        return enso__cuda_is_float(dtype);
    default:
        return real;
    }
}

int enso__cuda_bind_unary(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    enum enso_op op = b->node->op;
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    float alpha = 1.0f, beta = 0.0f;

    if (!unary_takes(op, dtype))
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct unary *u = enso__cuda_bound_new(b, sizeof(*u), unary_run, err);
    if (u == NULL)
        return ENSO_NO_MEMORY;
    if (op == ENSO_OP_LEAKY_RELU)
        alpha = 0.01f;
    if (op == ENSO_OP_HARD_SIGMOID) {
        alpha = 0.2f;
        beta = 0.5f;
    }
    if (op == ENSO_OP_SELU)
        alpha = 1.67326319217681884765625f;
    u->args.alpha = enso_node_float(b->node, "alpha", alpha);
    u->args.beta = op == ENSO_OP_SELU
                       ? enso_node_float(b->node, "gamma", 1.05070102214813232421875f)
                       : enso_node_float(b->node, "beta", beta);
    u->args.tanh_gelu = strcmp(enso_node_string(b->node, "approximate", "none"), "tanh") == 0;
    *ret = &u->bound;
    return ENSO_OK;
}

static int cast_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    size_t n = (size_t)enso_tensor_count(y);
    int code = cudaSuccess;

    if (enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input and output differ in size");
    if (x->dtype != y->dtype)
        code = enso_cuda_cast(x->dtype, y->dtype, x->data, y->data, n, call->stream);
    else if (x->data != y->data)
        code = enso_cuda_copy(x->data, y->data, enso_tensor_bytes(y), call->stream);
    return enso__cuda_launched(call, code, err);
}

int enso__cuda_bind_cast(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    struct enso_bound *bound = enso__cuda_bound_new(b, sizeof(*bound), cast_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}
