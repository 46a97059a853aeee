/* SPDX-License-Identifier: Apache-2.0
 *
 * What a micro-kernel of gemm gets (see gemm_driver.h): a tile of a few rows times one or more
 * panels, over one block of the inner dimension.
 */
#ifndef ENSO_KERNELS_CPU_TILE_ARGS_H
#define ENSO_KERNELS_CPU_TILE_ARGS_H

#include "kernels/cpu/kernels.h"

struct tile_args {
    const float *const *rows; /* [n_taps][ENSO_TILE_ROWS] */
    size_t n_taps;
    size_t from, depth;  /* of each tap's piece the floats [from, from + depth) */
    const float *panel;  /* [n_taps · depth][16], 64-byte aligned */
    size_t panel_stride; /* to the next panel, in floats */
    float *c;            /* row stride ldc */
    size_t ldc;
    bool add;          /* to what is in c */
    const float *bias; /* added at the store, or NULL */
    bool relu;         /* at the store */
};

#endif
