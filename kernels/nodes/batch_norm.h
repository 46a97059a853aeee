/* SPDX-License-Identifier: Apache-2.0
 *
 * BatchNormalization (ONNX, opset 15, inference) as one product and one sum per channel.
 */
#ifndef ENSO_KERNELS_NODES_BATCH_NORM_H
#define ENSO_KERNELS_NODES_BATCH_NORM_H

#include "kernels/nodes/node.h"

/* scale_shift [2][n]: y = x · scale + shift; computed in double. */
void enso__batch_norm_fold(size_t n, const float *gamma, const float *beta, const float *mean,
                           const float *variance, float epsilon, float *scale_shift);
/* The same from inputs 1 to 4 when all are constant and equally long; the caller's to enso_free.
 * Else ENSO_OK with *ret NULL. */
int enso__batch_norm_constant(const struct enso__bind *b, float epsilon, float **ret_scale_shift,
                              size_t *ret_n, struct enso_error *err) ENSO_MUST_CHECK;

#endif
