/* SPDX-License-Identifier: Apache-2.0
 *
 * Which elements a reduction reads for each of its results: dimensions of the input, split into
 * kept and reduced ones, neighbours merged where one runs on into the other.
 */
#ifndef ENSO_KERNELS_NODES_REDUCTION_H
#define ENSO_KERNELS_NODES_REDUCTION_H

#include "kernels/nodes/node.h"

/* Strides in elements of the input. */
struct enso__reduction {
    size_t n_kept, n_reduced; /* n_reduced >= 1 */
    size_t kept_dims[ENSO_MAX_RANK], kept_strides[ENSO_MAX_RANK];
    size_t reduced_dims[ENSO_MAX_RANK], reduced_strides[ENSO_MAX_RANK];
    size_t n_outputs; /* product of the kept dimensions */
    size_t rows;      /* of all reduced ones but the last */
};

/* Bit d of `reduced`: dimension d is reduced. */
void enso__reduction_plan(const struct enso_tensor *x, uint32_t reduced,
                          struct enso__reduction *ret);
/* The dimensions that axes name; none means all unless noop_when_empty. False at an axis that x
 * has not: *ret_axis. */
bool enso__reduction_axes(const struct enso__ints *axes, bool noop_when_empty, size_t rank,
                          uint32_t *ret_reduced, int64_t *ret_axis) ENSO_MUST_CHECK;

#endif
