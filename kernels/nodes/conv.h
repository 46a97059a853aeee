/* SPDX-License-Identifier: Apache-2.0
 *
 * CONV_FUSED (engine/ops/ops.h): what every device asks of its weights [M, C/group, kh, kw].
 */
#ifndef ENSO_KERNELS_NODES_CONV_H
#define ENSO_KERNELS_NODES_CONV_H

#include "kernels/nodes/node.h"

/* ENSO_UNSUPPORTED unless the input is F32 or a half type, the weights constant floats of four
 * dimensions that fit 31 bits and divisible into the groups. */
int enso__conv_fused_check(const struct enso__bind *b, struct enso_error *err) ENSO_MUST_CHECK;
/* [rows][C][taps] to [rows][taps][C] */
void enso__channels_last(const float *w, size_t n_rows, size_t channels, size_t taps, float *y);

#endif
