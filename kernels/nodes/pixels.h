/* SPDX-License-Identifier: Apache-2.0
 *
 * What PIXELS (engine/ops/ops.h) means, for every device: attributes, its table, and the shapes
 * that run functions rest on.
 */
#ifndef ENSO_KERNELS_NODES_PIXELS_H
#define ENSO_KERNELS_NODES_PIXELS_H

#include "kernels/nodes/node.h"
#include "kernels/nodes/pixels_shape.h"

struct enso__pixels {
    bool nhwc, to_nhwc;
    size_t n_channels;
};

/* Attributes of b, and its table [n_channels, 256], the caller's to enso_free. Which type y has is
 * for the device to look at. */
int enso__pixels_bind(const struct enso__bind *b, struct enso__pixels *ret, float **ret_table,
                      struct enso_error *err) ENSO_MUST_CHECK;
/* ENSO_INTERNAL: x and y are not the pictures that were bound for. */
int enso__pixels_resolve(const struct enso__pixels *p, const char *node,
                         const struct enso_tensor *x, const struct enso_tensor *y,
                         struct enso_pixels_shape *ret, struct enso_error *err) ENSO_MUST_CHECK;

#endif
