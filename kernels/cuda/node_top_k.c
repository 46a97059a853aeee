/* SPDX-License-Identifier: Apache-2.0
 *
 * TopK: host side of top_k.cu. All types but BOOL; how many are asked for is known when the model
 * is loaded, and more than a block can hold is refused, so that the model runs on the CPU.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_network.h"

struct top_k {
    struct enso_bound bound;
    enum enso_dtype dtype;
    int64_t axis;
    size_t k;
    bool largest;
};

static int top_k_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct top_k *op = (const struct top_k *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *values = enso__cuda_out(call, 0);
    const struct enso_tensor *places = enso__cuda_out(call, 1);
    int axis = x->rank == 0 ? -1 : enso__axis(op->axis, x->rank);

    if (axis < 0)
        return enso__cuda_error(call, err, ENSO_INVALID, "axis %lld of a tensor of rank %u",
                                (long long)op->axis, x->rank);
    size_t outer = enso__count(x->dims, 0, (size_t)axis), n = (size_t)x->dims[axis];
    size_t inner = enso__count(x->dims, (size_t)axis + 1, x->rank);
    size_t n_results = outer * op->k * inner;

    if (n >= UINT32_MAX)
        return enso__cuda_error(call, err, ENSO_INVALID,
                                "%s has too many elements along axis %d for the GPU",
                                enso__dims_text(x).s, axis);
    if (x->dtype != op->dtype || values->dtype != op->dtype || op->k > n ||
        n_results != (size_t)enso_tensor_count(values) ||
        n_results != (size_t)enso_tensor_count(places) || places->dtype != ENSO_DTYPE_I64)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "the best %zu of %s are not %s", op->k,
                                enso__dims_text(x).s, enso__dims_text(values).s);
    return enso__cuda_launched(call,
                               enso_cuda_top_k(op->dtype, op->largest, x->data, values->data,
                                               places->data, outer, n, inner, op->k, call->stream),
                               err);
}

int enso__cuda_bind_top_k(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    int64_t k = enso_node_int(b->node, "k", -1);
    size_t most = enso_cuda_most_k(dtype);

    if (k < 0 || dtype == ENSO_DTYPE_BOOL)
        return enso__unsupported(b, err, "%lld of %s", (long long)k, enso_dtype_name(dtype));
    if ((uint64_t)k > most)
        return enso__unsupported(b, err, "%lld of a row are asked for; the GPU finds at most %zu",
                                 (long long)k, most);
    struct top_k *op = enso__cuda_bound_new(b, sizeof(*op), top_k_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->dtype = dtype;
    op->axis = enso_node_int(b->node, "axis", -1);
    op->k = (size_t)k;
    op->largest = enso_node_int(b->node, "largest", 1) != 0;
    if (enso__bind_input(b, 1) != NULL && enso__bind_input(b, 1)->constant != NULL)
        op->bound.packed |= 1U << 1; /* k is known since inference */
    *ret = &op->bound;
    return ENSO_OK;
}
