/* SPDX-License-Identifier: Apache-2.0
 *
 * The hot kernels of the CPU backend that exist once per instruction set, as tables of function
 * pointers. enso_kernels_generic (plain C, *.c) is the oracle and the fallback; better sets
 * (*_avx2.c) start from a copy of it and overwrite what they have. All work on plain memory and
 * know neither graphs nor threads; none allocates or fails; all are safe from any thread.
 *
 * Bits: for one table a row's result depends on that row, the weights and the inner sizes alone,
 * never on how many rows stand beside it, where they stand in memory or which thread computes
 * them. Sums run in a fixed order; vector tails go through the same code as whole vectors.
 * Between tables results differ by rounding.
 */
#ifndef ENSO_KERNELS_CPU_KERNELS_H
#define ENSO_KERNELS_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/nodes/activation.h"

/* Columns of a panel of packed weights, and of a micro-kernel's tile. */
#define ENSO_PANEL 16
/* Rows of the largest micro-kernel's tile. */
#define ENSO_TILE_ROWS 6
/* Most rows one call of gemm takes. */
#define ENSO_GEMM_MAX_ROWS 192
/* Inner products are summed in blocks of about this many, then added up block by block. */
#define ENSO_GEMM_DEPTH 384

static inline size_t enso_panels(size_t n_columns)
{
    return (n_columns + ENSO_PANEL - 1) / ENSO_PANEL;
}

/* What happens to a finished tile of a product: y = act(x + bias + residual). */
struct enso_epilogue {
    const float *bias;     /* of the first column, padded to whole panels; NULL: none */
    const float *residual; /* of the first row and column, row stride ld_residual; NULL: none */
    size_t ld_residual;
    struct enso_activation_args activation;
};

/* C[n_rows, n_columns] = epilogue(A · B). A is read through pointers: the inner dimension is made
 * of `taps` pieces of `depth` floats each (a plain matrix has one tap; a convolution one per place
 * of its window), and rows[(tile·taps + tap)·ENSO_TILE_ROWS + r] points to tap's piece of row r of
 * the tile. Tiles have enso_gemm_tile(rows left) rows. B is packed: panel p, inner index k, column
 * j at panels[(p·taps·depth + k)·16 + j], 64-byte aligned, columns past n_columns zero. */
struct enso_gemm {
    const float *const *rows;
    size_t n_rows; /* 1..ENSO_GEMM_MAX_ROWS */
    size_t taps, depth;
    const float *panels;
    size_t n_columns; /* only the last panel of a matrix may be partial */
    float *c;         /* row stride ldc; must not overlap A or the residual */
    size_t ldc;
    const struct enso_epilogue *epilogue; /* bias and residual at the first column of this call */
};

/* Rows of the next tile when `left` rows are left: sixes, and none below four if that can be
 * avoided (a tile of few rows wastes most of the multipliers' throughput). */
static inline size_t enso_gemm_tile(size_t left)
{
    return left >= 10 || left == 6 ? 6 : left == 9 ? 5 : left >= 7 ? 4 : left;
}
/* Most tiles that n rows make. */
#define ENSO_GEMM_TILES(n) ((n) / 4 + 2)

/* One depthwise output row: y[x, c] = act(bias[c] + sum over taps of w[tap, c] · row(x, tap)[c]).
 */
struct enso_depthwise {
    const float *const *taps; /* [n_pixels][n_taps], each to n_channels floats */
    size_t n_pixels, n_taps, n_channels;
    const float *weights;                 /* [n_taps][n_channels] */
    float *y;                             /* [n_pixels][n_channels] */
    const struct enso_epilogue *epilogue; /* bias need not be padded; residual like y */
};

struct enso_kernels {
    const char *name;        /* "generic", "avx2": what options call it */
    const char *description; /* "AVX2+FMA" */

    void (*gemm)(const struct enso_gemm *g);
    void (*depthwise)(const struct enso_depthwise *d);
    /* Pack B to panels as gemm wants them; `panels` holds enso_panels(n)·k·16 floats.
     * pack: b is [k, n], row stride ldb. pack_transposed: b is [n, k], row stride ldb. */
    void (*pack)(const float *b, size_t ldb, size_t k, size_t n, float *panels);
    void (*pack_transposed)(const float *b, size_t ldb, size_t k, size_t n, float *panels);

    /* y[i] = act(x[i]); y may be x. */
    void (*activate)(const float *x, float *y, size_t n, const struct enso_activation_args *a);
    void (*exp)(const float *x, float *y, size_t n);
    void (*erf)(const float *x, float *y, size_t n);

    /* x[i] = exp(scale·x[i] - max) / sum over i < n, in place; x[n .. n_padded) becomes 0. A row of
     * only -inf gives NaN. log_softmax: the logarithm of it (no padding). n >= 1. */
    void (*softmax)(float *x, size_t n, size_t n_padded, float scale);
    void (*log_softmax)(float *x, size_t n);

    /* y = (x - mean) / sqrt(variance + epsilon) · gamma + beta over n floats; beta and gamma may be
     * NULL (0, 1). rms_norm: no mean. y may be x. */
    void (*layer_norm)(const float *x, float *y, size_t n, const float *gamma, const float *beta,
                       float epsilon);
    void (*rms_norm)(const float *x, float *y, size_t n, const float *gamma, float epsilon);
    /* y = x / max(sqrt(sum of squares), epsilon); y may be x. */
    void (*l2_normalize)(const float *x, float *y, size_t n, float epsilon);
    /* y = a + b; y may be a or b. */
    void (*add)(const float *a, const float *b, float *y, size_t n);
    /* y = max(y, x), a NaN on either side wins. */
    void (*max_into)(float *y, const float *x, size_t n);
};

/* The portable set; constant. */
const struct enso_kernels *enso_kernels_generic(void);
/* The set called "auto" (the best this processor and system can run), "generic", "avx2"; NULL
 * counts as "auto". ENSO_UNSUPPORTED when the processor lacks it, ENSO_INVALID for other names. */
int enso_kernels_choose(const char *name, const struct enso_kernels **ret_kernels,
                        struct enso_error *err);

#ifdef HAVE_AVX2_KERNELS
/* Overwrite what the AVX2+FMA set brings. Calls no AVX2 instruction itself. */
void enso_kernels_add_avx2(struct enso_kernels *kernels);
/* By file: */
void enso_gemm_add_avx2(struct enso_kernels *kernels);
void enso_rows_add_avx2(struct enso_kernels *kernels);
#endif
/* The portable functions, by file (for tables to start from). */
void enso_gemm_add_generic(struct enso_kernels *kernels);
void enso_rows_add_generic(struct enso_kernels *kernels);

/* Pointers of a plain row-major matrix for gemm: n_rows rows of a with stride lda. `rows` holds
 * ENSO_GEMM_TILES(n_rows)·ENSO_TILE_ROWS pointers. */
void enso_gemm_plain_rows(const float *a, size_t lda, size_t n_rows, const float **rows);

#endif
