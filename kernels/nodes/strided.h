/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that only move elements: the result is dense, the source is read through strides
 * (negative for reversed slices, 0 for repetition). Transpose, Slice, Expand, Tile, DepthToSpace
 * and SpaceToDepth are each a choice of strides; each device has one kernel that copies so.
 */
#ifndef ENSO_KERNELS_NODES_STRIDED_H
#define ENSO_KERNELS_NODES_STRIDED_H

#include "kernels/nodes/node.h"

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

/* Drop dimensions of 1 and merge neighbours that run on evenly; rank >= 1 after it. */
void enso__strided_simplify(struct enso__strided *s);

/* What memory safety rests on: the shape has as many elements as y and never reaches outside of x.
 * ENSO_INTERNAL naming operator and node when it does. *ret_count: elements of y. */
int enso__strided_check(const struct enso__strided *s, const struct enso_tensor *x,
                        const struct enso_tensor *y, enum enso_op op, const char *node,
                        size_t *ret_count, struct enso_error *err);

#endif
