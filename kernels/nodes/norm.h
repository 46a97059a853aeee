/* SPDX-License-Identifier: Apache-2.0
 *
 * What Softmax, LRN and the norms mean, for every device: attributes, which input is what, and the
 * shapes that run functions rest on.
 */
#ifndef ENSO_KERNELS_NODES_NORM_H
#define ENSO_KERNELS_NODES_NORM_H

#include "kernels/nodes/node.h"

/* [outer, n, inner], cut around an axis. */
struct enso__slices {
    size_t outer, n, inner;
};
/* False when x has no such axis (a scalar has every: one slice of one). */
bool enso__slices_of(const struct enso_tensor *x, int64_t axis,
                     struct enso__slices *ret) ENSO_MUST_CHECK;
/* Elements along the axis of input 0 stand side by side in every batch: what follows it is 1 by the
 * graph, not because a batch happens to have one item. Kernels choose by it between forms whose
 * sums run in different orders, which must not depend on a batch's size. */
bool enso__side_by_side(const struct enso__bind *b, int64_t axis);

/* Softmax, LogSoftmax. */
struct enso__softmax {
    int64_t axis;
    bool side_by_side;
};
void enso__softmax_bind(const struct enso__bind *b, struct enso__softmax *ret);

/* LRN: y = x / (bias + alpha/size · sum of squares of the neighbouring channels)^beta. */
struct enso__lrn {
    int64_t size;
    float alpha, beta, bias;
    bool nhwc;
};
/* False when the size is none. */
bool enso__lrn_bind(const struct enso__bind *b, struct enso__lrn *ret) ENSO_MUST_CHECK;

/* LAYER_NORM (x, gamma, beta, residual), RMS_NORM (x, gamma, residual), L2_NORMALIZE (x). */
#define ENSO__ROW_NORM_INPUTS 4
struct enso__row_norm {
    const struct enso_tensor *x, *y;
    const struct enso_tensor *gamma, *beta, *residual; /* NULL: absent */
    size_t n_rows, n;
};
float enso__row_norm_epsilon(const struct enso__bind *b);
/* Constant gamma and beta, as floats, the caller's to enso_free; NULL: absent or from the tensors.
 * *ret_n is their length. */
int enso__row_norm_constants(const struct enso__bind *b, float **ret_gamma, float **ret_beta,
                             size_t *ret_n, struct enso_error *err) ENSO_MUST_CHECK;
/* inputs[i] NULL: absent or constant. n_constant: length of the constant ones, 0 if there is
 * none. */
int enso__row_norm_resolve(enum enso_op op, const char *node,
                           const struct enso_tensor *const inputs[ENSO__ROW_NORM_INPUTS],
                           const struct enso_tensor *y, size_t n_constant,
                           struct enso__row_norm *ret, struct enso_error *err) ENSO_MUST_CHECK;

#endif
