/* SPDX-License-Identifier: Apache-2.0
 *
 * One engine for operators that only move elements: the result is dense, the source is read
 * through strides (negative for reversed slices, 0 for repetition). Transpose, Slice, Expand, Tile,
 * DepthToSpace and SpaceToDepth are each a choice of strides.
 */
#ifndef ENSO_KERNELS_CPU_STRIDED_H
#define ENSO_KERNELS_CPU_STRIDED_H

#include "kernels/cpu/cpu_internal.h"

#define ENSO__STRIDED_RANK (2 * ENSO_MAX_RANK)

struct enso__strided {
    size_t rank;
    size_t dims[ENSO__STRIDED_RANK];       /* of the result */
    ptrdiff_t strides[ENSO__STRIDED_RANK]; /* of the source, in elements */
    ptrdiff_t offset;                      /* of the first element in the source */
};

/* Append a dimension (the innermost comes last). */
static inline void enso__strided_add(struct enso__strided *s, int64_t dim, ptrdiff_t stride)
{
    s->dims[s->rank] = (size_t)dim;
    s->strides[s->rank++] = stride;
}

/* Fill y from x. ENSO_INTERNAL when the shape is not y's size or reaches outside of x. */
int enso__strided_copy(const struct enso__call *call, struct enso__strided *s,
                       const struct enso_tensor *x, const struct enso_tensor *y,
                       struct enso_error *err);

#endif
