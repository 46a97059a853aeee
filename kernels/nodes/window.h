/* SPDX-License-Identifier: Apache-2.0
 *
 * Sliding windows of convolutions and pools (ONNX: kernel_shape, strides, pads, dilations,
 * auto_pad) over one to three spatial dimensions, always seen as three (leading ones of length 1).
 */
#ifndef ENSO_KERNELS_NODES_WINDOW_H
#define ENSO_KERNELS_NODES_WINDOW_H

#include "kernels/nodes/node.h"

#define ENSO__SPATIAL 3

struct enso__window_attributes {
    uint8_t n_kernel, n_strides, n_pads, n_dilations; /* entries given; 0: default */
    int64_t kernel[ENSO__SPATIAL], strides[ENSO__SPATIAL], dilations[ENSO__SPATIAL];
    int64_t pads[2 * ENSO__SPATIAL]; /* begins, then ends */
    bool same_upper, same_lower, valid;
};

/* The window on tensors of known shape. Lengths fit in 31 bits each. */
struct enso__window {
    int64_t in[ENSO__SPATIAL], out[ENSO__SPATIAL], kernel[ENSO__SPATIAL];
    int64_t strides[ENSO__SPATIAL], dilations[ENSO__SPATIAL];
    int64_t begin[ENSO__SPATIAL], end[ENSO__SPATIAL]; /* padding */
    size_t n_in, n_out, n_taps;                       /* products */
};

int enso__window_bind(const struct enso__bind *b, struct enso__window_attributes *ret,
                      struct enso_error *err);
/* Resolve for n_spatial dimensions of input and output; kernel NULL takes the attribute. False when
 * the attributes do not fit (number of entries, sizes out of range). */
bool enso__window_resolve(const struct enso__window_attributes *a, size_t n_spatial,
                          const int64_t *in, const int64_t *out, const int64_t *kernel,
                          struct enso__window *ret) ENSO_MUST_CHECK;

/* Where tap (0 .. n_taps-1) of output position `at` (0 .. n_out-1) reads: the input position, or -1
 * in the padding. */
static inline int64_t enso__window_tap(const struct enso__window *w, size_t at, size_t tap)
{
    int64_t position = 0, scale = 1;

    for (int d = ENSO__SPATIAL - 1; d >= 0; d--) {
        int64_t o = (int64_t)(at % (size_t)w->out[d]), k = (int64_t)(tap % (size_t)w->kernel[d]);
        int64_t i = o * w->strides[d] + k * w->dilations[d] - w->begin[d];

        if (i < 0 || i >= w->in[d])
            return -1;
        position += i * scale;
        scale *= w->in[d];
        at /= (size_t)w->out[d];
        tap /= (size_t)w->kernel[d];
    }
    return position;
}

#endif
