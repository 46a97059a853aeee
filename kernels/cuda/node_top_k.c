/* SPDX-License-Identifier: Apache-2.0
 *
 * TopK: host side of top_k.cu. All types but BOOL; how many are asked for is known when the model
 * is loaded, and more than a block can hold is refused, so that the model runs on the CPU.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/top_k.h"

struct top_k {
    struct enso_bound bound;
    struct enso__top_k part;
};

static int top_k_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct top_k *op = (const struct top_k *)call->bound;
    const struct enso__top_k *t = &op->part;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *values = enso__cuda_out(call, 0);
    const struct enso_tensor *places = enso__cuda_out(call, 1);
    struct enso__slices s;
    int st = enso__top_k_resolve(t, op->bound.op, op->bound.node, x, values, places, &s, err);

    if (st != ENSO_OK)
        return st;
    if (s.n >= UINT32_MAX)
        return enso__cuda_error(call, err, ENSO_INVALID,
                                "%s has too many elements along axis %d for the GPU",
                                enso__dims_text(x).s, enso__axis(t->axis, x->rank));
    return enso__cuda_launched(call,
                               enso_cuda_top_k(t->dtype, t->largest, x->data, values->data,
                                               places->data, s.outer, s.n, s.inner, t->k,
                                               call->stream),
                               err);
}

int enso__cuda_bind_top_k(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    struct enso__top_k part;
    int st = enso__top_k_bind(b, &part, err);

    if (st != ENSO_OK)
        return st;
    if (part.dtype == ENSO_DTYPE_BOOL)
        return enso__top_k_refuse(b, err);
    if (part.k > enso_cuda_most_k(part.dtype))
        return enso__unsupported(b, err, "%zu of a row are asked for; the GPU finds at most %zu",
                                 part.k, enso_cuda_most_k(part.dtype));
    struct top_k *op = enso__cuda_bound_new(b, sizeof(*op), top_k_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.packed |= part.packed;
    op->part = part;
    *ret = &op->bound;
    return ENSO_OK;
}
