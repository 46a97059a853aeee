/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes of MatMul by numpy's rules: stacks of matrices broadcast, a vector gains a dimension of 1.
 */
#ifndef ENSO_KERNELS_NODES_MATMUL_H
#define ENSO_KERNELS_NODES_MATMUL_H

#include "kernels/nodes/node.h"

/* For each of n_matrices: [m, k] times [k, n]. */
struct enso__matmul {
    size_t rank; /* of the stack */
    int64_t dims[ENSO_MAX_RANK];
    size_t a_strides[ENSO_MAX_RANK], b_strides[ENSO_MAX_RANK]; /* in matrices */
    size_t n_matrices, m, k, n;
};

/* False when a and b do not fit. */
bool enso__matmul_shapes(const struct enso_tensor *a, const struct enso_tensor *b,
                         struct enso__matmul *ret) ENSO_MUST_CHECK;

#endif
