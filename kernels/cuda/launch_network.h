/* SPDX-License-Identifier: Apache-2.0
 *
 * Launchers of the plain kernels of networks: reduce.cu, top_k.cu, norm.cu, pool.cu, resize.cu,
 * product.cu, conv.cu, attention.cu, flash_attention.cu, tiled_attention.cu, embedding.cu. Plain C,
 * for the host files node_*.c.
 *
 * Every launcher enqueues on `stream`, never allocates, never waits, and returns a cudaError_t as
 * int: cudaSuccess (also for nothing to do: then nothing is launched), what the launch reported, or
 * cudaErrorInvalidValue for a type it has no kernel for (bind has refused those). All pointers are
 * device memory, aligned to their element; tensors are dense and row-major unless strides are
 * given. Parameters go to the kernel by value.
 *
 * Bits: sums run in a fixed order that depends on the inner sizes alone (a row's length, a window,
 * the place in its own sequence), never on how many rows, images or sequences stand beside it. So
 * one row has the same bits alone and in a batch. No atomics on numbers anywhere.
 */
#ifndef ENSO_KERNELS_CUDA_LAUNCH_NETWORK_H
#define ENSO_KERNELS_CUDA_LAUNCH_NETWORK_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/ops.h"
#include "engine/tensor.h"
#include "kernels/cuda/launch.h"
#include "kernels/nodes/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reduce.cu ---- */

/* One output per place of the kept dimensions; its inputs are the places of the reduced ones, n of
 * them (n may be 0; fewer than 2^32), strides in elements of x. At least one reduced dimension. */
struct enso_cuda_reduce {
    enum enso_op op; /* REDUCE_* */
    enum enso_dtype dtype;
    uint32_t n_kept, n_reduced;
    uint64_t kept_dims[ENSO_MAX_RANK], kept_strides[ENSO_MAX_RANK];
    uint32_t reduced_dims[ENSO_MAX_RANK];
    uint64_t reduced_strides[ENSO_MAX_RANK];
    uint64_t n_outputs;
    uint32_t n;
    bool side_by_side; /* an output's inputs stand side by side whatever the batch is */
};
/* All types. Floats are summed in double, integers wrap; over nothing: 0, for
 * products 1, for the mean NaN (integers 0), for Max and Min the type's end. */
int enso_cuda_reduce(const struct enso_cuda_reduce *r, const void *x, void *y, cudaStream_t stream);

/* y[o, i] = where along the middle of x [n_outer, n, n_inner] the largest (min: smallest) element
 * stands; the first of equal ones, or the last; a NaN wins, the first of them. n >= 1.
 * All types. */
int enso_cuda_arg(enum enso_dtype dtype, bool min, bool last, const void *x, int64_t *y,
                  size_t n_outer, size_t n, size_t n_inner, cudaStream_t stream);

/* ---- top_k.cu ---- */

/* The most of a row that can be asked for: 2048, of elements of eight bytes 1024. */
size_t enso_cuda_most_k(enum enso_dtype dtype);
/* The k largest (else smallest) elements along the middle of x [n_outer, n, n_inner], the best
 * first, of equal ones the first; a NaN is larger than any number. values and places are
 * [n_outer, k, n_inner]. k <= n < UINT32_MAX and at most enso_cuda_most_k. All types but BOOL. */
int enso_cuda_top_k(enum enso_dtype dtype, bool largest, const void *x, void *values,
                    int64_t *places, size_t n_outer, size_t n, size_t n_inner, size_t k,
                    cudaStream_t stream);

/* ---- norm.cu ---- */

/* Norms take x, residual and y of one type, F32, F16 or BF16, and compute in F32; their parameters
 * are F32. */

/* Over the middle of x [n_outer, n, n_inner]; also F64; y may be x. logarithm: LogSoftmax.
 * side_by_side: n_inner is 1 in every batch, not in this one alone; it chooses the form. */
int enso_cuda_softmax(enum enso_dtype dtype, bool logarithm, bool side_by_side, const void *x,
                      void *y, size_t n_outer, size_t n, size_t n_inner, cudaStream_t stream);

/* LAYER_NORM, RMS_NORM, L2_NORMALIZE over rows of n (engine/ops/ops.h); residual, gamma and beta
 * may be NULL; y may be x or residual. */
struct enso_cuda_row_norm {
    enum enso_op op;
    const void *x, *residual;
    const float *gamma, *beta; /* [n] */
    void *y;
    float epsilon;
    size_t n_rows, n;
};
int enso_cuda_row_norm(enum enso_dtype dtype, const struct enso_cuda_row_norm *norm,
                       cudaStream_t stream);

/* y = x · scale[c] + shift[c] over [n_images, n_channels, plane]; scale_shift is [2][n_channels].
 */
int enso_cuda_channel_scale(enum enso_dtype dtype, const void *x, const float *scale_shift, void *y,
                            size_t n_images, size_t n_channels, size_t plane, cudaStream_t stream);
/* BatchNormalization whose parameters are tensors of the call, [n_channels] each. */
int enso_cuda_batch_norm(enum enso_dtype dtype, const void *x, const float *gamma,
                         const float *beta, const float *mean, const float *variance, float epsilon,
                         void *y, size_t n_images, size_t n_channels, size_t plane,
                         cudaStream_t stream);
int enso_cuda_instance_norm(enum enso_dtype dtype, const void *x, const float *gamma,
                            const float *beta, float epsilon, void *y, size_t n_images,
                            size_t n_channels, size_t plane, cudaStream_t stream);
/* LRN over the middle of [n_outer, n_channels, inner]; y must not be x. */
int enso_cuda_lrn(enum enso_dtype dtype, const void *x, void *y, size_t n_outer, size_t n_channels,
                  size_t inner, size_t size, float alpha, float beta, float bias,
                  cudaStream_t stream);

/* ---- pool.cu ---- */

/* kernels/nodes/window.h, all products of one dimension and all counts below 2^31. */
struct enso_cuda_window {
    int32_t in[3], out[3], kernel[3], strides[3], dilations[3], begin[3], end[3];
    uint32_t n_in, n_out, n_taps; /* products */
};

/* x [n_images, n_channels, in] or, nhwc, [n_images, in, n_channels]; F32, F16, BF16 and F64, and
 * for max I8 and U8. include_pad: padding counts in the average. */
int enso_cuda_pool(enum enso_dtype dtype, bool max, bool include_pad, bool nhwc, const void *x,
                   void *y, size_t n_images, size_t n_channels, const struct enso_cuda_window *w,
                   cudaStream_t stream);

/* ---- resize.cu ---- */

/* y[o, a, b, c, i] = sum over taps of weights · x[o, A, B, C, i] (kernels/nodes/resize.h): x is
 * [outer, in, inner], y [outer, out, inner]. A table is [n_taps][out]; places NULL: the axis stays,
 * n_taps is 1 and weights are NULL. */
struct enso_cuda_resize {
    size_t outer, inner;
    uint32_t in[3], out[3], n_taps[3];
    const int32_t *places[3];
    const float *weights[3];
};
/* Elements of `bytes` (1, 2, 4, 8) from the first tap's place. */
int enso_cuda_resize_nearest(size_t bytes, const void *x, void *y, const struct enso_cuda_resize *r,
                             cudaStream_t stream);
/* F32, F16 and BF16; sums in F32, rounded once. */
int enso_cuda_resize(enum enso_dtype dtype, const void *x, void *y,
                     const struct enso_cuda_resize *r, cudaStream_t stream);

/* ---- conv.cu ---- */

/* x [n_images, n_in, in], weights [n_out, n_in / group, taps], bias [n_out] or NULL; x, weights and
 * y are of dtype, F32 or a half type, sums and bias F32. */
int enso_cuda_conv(enum enso_dtype dtype, const void *x, const void *weights, const float *bias,
                   void *y, size_t n_images, size_t n_in, size_t n_out, size_t group,
                   const struct enso_cuda_window *w, cudaStream_t stream);

/* CONV_FUSED: x [n_images, in, n_in], weights [taps][n_in / group][n_out], bias [n_out] or NULL,
 * residual like y [n_images, out, n_out] or NULL; all but the bias of dtype, F32 or a half type. */
struct enso_cuda_conv_nhwc {
    enum enso_dtype dtype;
    const void *x, *weights;
    const float *bias;
    const void *residual;
    void *y;
    size_t n_images, n_in, n_out, group;
    struct enso_cuda_window window;
    struct enso_activation_args activation;
};
int enso_cuda_conv_nhwc(const struct enso_cuda_conv_nhwc *c, cudaStream_t stream);

/* ---- product.cu ---- */

/* Y[m, n] = act(alpha · A[m, k] · B[k, n] + bias + beta · residual) for each of n_matrices.
 * Element (i, j) of A stands at i · a_row + j · a_column, so transposed factors are read in place;
 * a matrix of the stack begins at its index in `dims` times the strides. Y is dense. k may be 0. */
struct enso_cuda_product {
    enum enso_dtype dtype;     /* F32 or a half type: of a, b and residual; sums and bias are F32 */
    enum enso_dtype out_dtype; /* of y: dtype or F32 */
    const void *a, *b;
    const float *bias; /* [n]; bias and residual may be NULL */
    const void *residual;
    void *y; /* must not overlap any of them */
    size_t m, k, n, n_matrices;
    size_t a_row, a_column, b_row, b_column, residual_row, residual_column;
    float alpha, beta;
    struct enso_activation_args activation;
    uint32_t rank, dims[ENSO_MAX_RANK]; /* of the stack: fewer than 2^32 matrices */
    uint64_t a_strides[ENSO_MAX_RANK], b_strides[ENSO_MAX_RANK];
};
int enso_cuda_product(const struct enso_cuda_product *p, cudaStream_t stream);
/* The same for F64, I32, U32, I64, U64 (wrapping) behind a, b and y, without bias and all else. */
int enso_cuda_product_plain(enum enso_dtype dtype, const struct enso_cuda_product *p, const void *a,
                            const void *b, void *y, cudaStream_t stream);

/* ---- attention.cu, flash_attention.cu, tiled_attention.cu, embedding.cu ---- */

/* Ragged batches: starts[0 .. n_sequences] begins with 0, does not decrease and ends with at most
 * n_tokens; else *fault becomes ENSO_CUDA_FAULT_STARTS. Nothing wrong is read whatever it holds.
 * Tokens behind its last entry are padding: nothing reads them, and their rows of y become
 * zeros. */

/* Queries of a tile, the unit of work that flash_attention.cu is cut into. */
#define ENSO_CUDA_QUERY_TILE 64

/* y [n_tokens, heads · size] = softmax(scale · Q Kᵀ) V inside each sequence; qkv [n_tokens, 3 ·
 * heads · size]; both of dtype F32, F16 or BF16.
 *
 * work [n_work][2], or NULL: pairs of a sequence and the number of one of its tiles of
 * ENSO_CUDA_QUERY_TILE queries, in the order in which they are to be begun (longest sequence
 * first); all there are, each once, at most n_tokens / ENSO_CUDA_QUERY_TILE + n_sequences. Pairs of
 * which no such tile is (-1, -1) are passed over. What is not in the list keeps its row of y. */
struct enso_cuda_attention {
    enum enso_dtype dtype;
    const void *qkv;
    const int32_t *starts, *work;
    void *y;
    size_t n_tokens, n_sequences, n_work, heads, size;
    float scale;
    bool causal;
    int *fault;
};
/* The plain kernel: any card, size and scale; it does not look at `work`. */
int enso_cuda_attention(const struct enso_cuda_attention *a, cudaStream_t stream);

/* The tensor cores' kernel: F16 and BF16, heads of 32, 64, 80, 96 and 128, sm_80 and later; and one
 * that shares tiles of keys and values without them: heads of up to 128 whose rows are whole chunks
 * of 16 bytes.
 *
 * prepare: once for each card, type and size, with the card selected, before the first run; it asks
 * for the shared memory the kernel needs. *ret_blocks: how many blocks the card holds at a time, to
 * be given to every run; 0: the kernel is not for this.
 * takes: the kernel takes this call, which needs tensors aligned to 16 bytes (and a scale
 * above 0). */
int enso_cuda_flash_prepare(enum enso_dtype dtype, size_t size, int architecture,
                            unsigned *ret_blocks);
bool enso_cuda_flash_takes(const struct enso_cuda_attention *a);
int enso_cuda_flash_attention(const struct enso_cuda_attention *a, unsigned blocks,
                              cudaStream_t stream);
int enso_cuda_tiled_prepare(enum enso_dtype dtype, size_t size, unsigned *ret_blocks);
bool enso_cuda_tiled_takes(const struct enso_cuda_attention *a);
int enso_cuda_tiled_attention(const struct enso_cuda_attention *a, unsigned blocks,
                              cudaStream_t stream);

/* EMBEDDING: table t, of dtype like y, has rows[t] rows of `width`; ids[t] NULL: row 0 of it; table
 * NULL: none. An id outside of its table counts as 0 and *fault becomes ENSO_CUDA_FAULT_INDEX.
 * gamma and beta NULL: no norm. F32, F16, BF16. */
struct enso_cuda_embedding {
    enum enso_dtype dtype;
    const int32_t *ids[3];
    const void *tables[3];
    size_t rows[3];
    const float *gamma, *beta;
    float epsilon;
    void *y;
    size_t n_tokens, width;
    int *fault;
};
int enso_cuda_embedding(const struct enso_cuda_embedding *e, cudaStream_t stream);

enum enso_cuda_sequence_mode {
    ENSO_CUDA_SEQUENCE_MEAN,
    ENSO_CUDA_SEQUENCE_FIRST,
    ENSO_CUDA_SEQUENCE_LAST,
    ENSO_CUDA_SEQUENCE_MAX
};
/* y [n_sequences, width] from x [n_tokens, width], F32, F16 or BF16; y like x or F32. A sequence
 * without tokens gives zeros. */
struct enso_cuda_sequence_pool {
    enum enso_cuda_sequence_mode mode;
    enum enso_dtype dtype, y_dtype;
    const void *x;
    const int32_t *starts;
    void *y;
    size_t n_tokens, n_sequences, width;
    int *fault;
};
int enso_cuda_sequence_pool(const struct enso_cuda_sequence_pool *p, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
