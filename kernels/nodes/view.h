/* SPDX-License-Identifier: Apache-2.0
 *
 * Transpose, Slice, Expand, Tile, DepthToSpace and SpaceToDepth (ONNX, opset 17) as strides: what
 * a node asks for, and how a tensor of known shape is read for it. Each device has only the copy.
 */
#ifndef ENSO_KERNELS_NODES_VIEW_H
#define ENSO_KERNELS_NODES_VIEW_H

#include "kernels/nodes/strided.h"

/* A node's attributes and constant inputs. starts, axes and steps of a Slice may be known only at
 * run time (known is false): fill them in before enso__view_strided. */
struct enso__view {
    struct enso__ints perm, starts, axes, steps;
    int64_t block;
    bool crd;
};

int enso__view_bind(const struct enso__bind *b, struct enso__view *ret, struct enso_error *err);
/* The strides by which y is read from x; ENSO_INVALID or ENSO_INTERNAL naming operator and node
 * when the shapes do not fit. Check the result with enso__strided_check. */
int enso__view_strided(const struct enso__view *v, const struct enso_tensor *x,
                       const struct enso_tensor *y, enum enso_op op, const char *node,
                       struct enso__strided *ret, struct enso_error *err);

#endif
