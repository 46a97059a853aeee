/* SPDX-License-Identifier: Apache-2.0
 *
 * Launchers of the matrix products and convolutions in half types on tensor cores: gemm.cu,
 * gemm_gather.cu, gemm_stack.cu, gemm_conv.cu, and depthwise.cu's for any card. Plain C, for the
 * host files node_*.c; the rules of launch_network.h hold. Compute capability 8.0 and newer but for
 * depthwise.cu; older cards take the plain kernels (product.cu, conv.cu).
 *
 * Bits: an element is the sum over steps of sixteen of the inner dimension, in order, whatever tile
 * it is made in, so a row has the same bits alone and in a batch. The number of splits of the inner
 * dimension is a function of k and n alone for the same reason.
 */
#ifndef ENSO_KERNELS_CUDA_LAUNCH_GEMM_H
#define ENSO_KERNELS_CUDA_LAUNCH_GEMM_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/tensor.h"
#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weights are packed as [n][enso_gemm_depth(k)], zeros past k: rows of whole 16 bytes. */
#define ENSO_GEMM_PAD 8
static inline size_t enso_gemm_depth(size_t k)
{
    return (k + ENSO_GEMM_PAD - 1) / ENSO_GEMM_PAD * ENSO_GEMM_PAD;
}

/* Y[m, n] = act(alpha · A[m, k] · Wᵀ + bias + beta · residual), sums and all that follows in F32,
 * one rounding at the end. m, n below 2^31, k below 2^30. */
struct enso_cuda_gemm {
    enum enso_dtype dtype;     /* F16 or BF16: of a, weights, residual */
    enum enso_dtype out_dtype; /* of y: dtype or F32 */
    const void *a;             /* [m, k], row stride ld_a in elements */
    const void *weights;       /* [n][enso_gemm_depth(k)], aligned to 16 bytes */
    const float *bias;         /* [n] or NULL */
    const void *residual;      /* NULL: none; element (i, j) at i · residual_row + j · _column */
    void *y;                   /* dense; must not overlap anything but the residual it equals */
    size_t m, k, n, ld_a, residual_row, residual_column;
    float alpha, beta;
    struct enso_activation_args activation;
    float *partial; /* workspace of enso_cuda_gemm_workspace(m, k, n) bytes; NULL when that is 0 */
};
int enso_cuda_gemm(const struct enso_cuda_gemm *g, cudaStream_t stream);

/* The same over rows that starts picks from `a` [n_tokens, k]: row i is the first token of sequence
 * i, or the last; of one without tokens zeros. m is the number of sequences, starts [m + 1]; wrong
 * ones become ENSO_CUDA_FAULT_STARTS. k and ld_a are multiples of 8, a is aligned to 16 bytes. The
 * same bits as of the rows side by side. */
struct enso_cuda_gemm_tokens {
    const int32_t *starts;
    size_t n_tokens;
    bool last;
    int *fault;
};
int enso_cuda_gemm_gather(const struct enso_cuda_gemm *g, const struct enso_cuda_gemm_tokens *rows,
                          cudaStream_t stream);

/* Stacks of products of two factors in memory, rows of both side by side ([m, k] and [k, n], no
 * bias, no residual; y of the factors' type): whether p is one, and the product. */
bool enso_cuda_is_stack(const struct enso_cuda_product *p);
int enso_cuda_gemm_stack(const struct enso_cuda_product *p, cudaStream_t stream);

/* A convolution over x [n_images, in, n_channels] (`a`) without groups, as a product whose rows are
 * output pixels: k = taps · n_channels, weights [n][taps][n_channels] padded at the end, m =
 * n_images · n_out; a row of k elements is read from where the window stands, zeros in the
 * padding. ld_a is not used. Two dimensions (window.in[0] = 1). */
int enso_cuda_gemm_conv(const struct enso_cuda_gemm *g, const struct enso_cuda_window *w,
                        size_t n_channels, cudaStream_t stream);

/* A group for each channel, channels in eights, all aligned to 16 bytes; half types. */
bool enso_cuda_is_depthwise(const struct enso_cuda_conv_nhwc *c);
int enso_cuda_depthwise(const struct enso_cuda_conv_nhwc *c, cudaStream_t stream);

/* product_wide.cu: F32 products of many tiles whose rows are read 16 bytes at a time, any card; the
 * same bits as enso_cuda_product, which comes here when it can. */
bool enso_cuda_is_wide(const struct enso_cuda_product *p);
int enso_cuda_product_wide(const struct enso_cuda_product *p, cudaStream_t stream);

/* Into how many parts the inner dimension is cut, each summed by itself, then all in order. */
unsigned enso_cuda_gemm_splits(size_t k, size_t n);
/* Bytes of `partial`: 0 without a split. */
size_t enso_cuda_gemm_workspace(size_t m, size_t k, size_t n);

#ifdef __cplusplus
}
#endif
#endif
