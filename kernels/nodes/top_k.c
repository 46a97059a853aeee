/* SPDX-License-Identifier: Apache-2.0
 *
 * What TopK means, for every device: see top_k.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/top_k.h"

int enso__top_k_refuse(const struct enso__bind *b, struct enso_error *err)
{
    return enso__unsupported(b, err, "%lld of %s", (long long)enso_node_int(b->node, "k", -1),
                             enso_dtype_name(enso__bind_dtype(b, 0)));
}

int enso__top_k_bind(const struct enso__bind *b, struct enso__top_k *ret, struct enso_error *err)
{
    const struct enso_value *asked = enso__bind_input(b, 1);
    int64_t k = enso_node_int(b->node, "k", -1);

    if (k < 0)
        return enso__top_k_refuse(b, err);
    *ret = (struct enso__top_k){.dtype = enso__bind_dtype(b, 0),
                                .axis = enso_node_int(b->node, "axis", -1),
                                .k = (size_t)k,
                                .largest = enso_node_int(b->node, "largest", 1) != 0,
                                .packed = asked != NULL && asked->constant != NULL ? 1U << 1 : 0};
    return ENSO_OK;
}

bool enso__top_k_slices(const struct enso__top_k *t, const struct enso_tensor *x,
                        struct enso__slices *ret)
{
    return x->rank != 0 && enso__slices_of(x, t->axis, ret);
}

int enso__top_k_resolve(const struct enso__top_k *t, enum enso_op op, const char *node,
                        const struct enso_tensor *x, const struct enso_tensor *values,
                        const struct enso_tensor *places, struct enso__slices *ret,
                        struct enso_error *err)
{
    if (!enso__top_k_slices(t, x, ret))
        return enso__op_error(op, node, err, ENSO_INVALID, "axis %lld of a tensor of rank %u",
                              (long long)t->axis, x->rank);
    size_t n_results = ret->outer * t->k * ret->inner;

    if (x->dtype != t->dtype || values->dtype != t->dtype || t->k > ret->n ||
        n_results != (size_t)enso_tensor_count(values) ||
        n_results != (size_t)enso_tensor_count(places) || places->dtype != ENSO_DTYPE_I64)
        return enso__op_error(op, node, err, ENSO_INTERNAL, "the best %zu of %s are not %s", t->k,
                              enso__dims_text(x).s, enso__dims_text(values).s);
    return ENSO_OK;
}
