/* SPDX-License-Identifier: Apache-2.0
 *
 * What TopK means, for every device: attributes, and the shapes that run functions rest on.
 */
#ifndef ENSO_KERNELS_NODES_TOP_K_H
#define ENSO_KERNELS_NODES_TOP_K_H

#include "kernels/nodes/norm.h"

struct enso__top_k {
    enum enso_dtype dtype;
    int64_t axis;
    size_t k;
    bool largest;
    uint32_t packed; /* inputs that are known since inference, as bits: k */
};

/* Attributes of b; which types there are is for the device to say, by enso__top_k_refuse. */
int enso__top_k_bind(const struct enso__bind *b, struct enso__top_k *ret,
                     struct enso_error *err) ENSO_MUST_CHECK;
/* ENSO_UNSUPPORTED: no such k of this type. */
int enso__top_k_refuse(const struct enso__bind *b, struct enso_error *err);

/* x along the axis; false when it has no such axis. */
bool enso__top_k_slices(const struct enso__top_k *t, const struct enso_tensor *x,
                        struct enso__slices *ret) ENSO_MUST_CHECK;
/* The same, and values and places are [outer, k, inner] of the types bound for, k at most n. */
int enso__top_k_resolve(const struct enso__top_k *t, enum enso_op op, const char *node,
                        const struct enso_tensor *x, const struct enso_tensor *values,
                        const struct enso_tensor *places, struct enso__slices *ret,
                        struct enso_error *err) ENSO_MUST_CHECK;

#endif
