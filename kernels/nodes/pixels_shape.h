/* SPDX-License-Identifier: Apache-2.0
 *
 * The pictures of one run of PIXELS (engine/ops/ops.h), for host and kernels alike.
 */
#ifndef ENSO_KERNELS_NODES_PIXELS_SHAPE_H
#define ENSO_KERNELS_NODES_PIXELS_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

struct enso_pixels_shape {
    size_t n_items, height, width, n_channels;
    bool bytes;              /* x is U8 [N, H, W, C], else floats */
    bool x_planes, y_planes; /* [N, C, H, W], else [N, H, W, C] */
};

#endif
