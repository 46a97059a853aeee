/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels that work on rows of floats share: one block takes one row, its threads every
 * blockDim-th element, sums by a fixed tree over the block. The number of threads is chosen by the
 * row's length alone, so a row's bits do not depend on its neighbours.
 *
 * A row is read through a function object, once per pass, so that a residual or an embedding's sum
 * is made again in each pass instead of being stored: rows are short and stay in the first cache.
 */
#ifndef ENSO_KERNELS_CUDA_ROWS_CUH
#define ENSO_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/device.cuh"

#include <math.h>

/* Most threads of a row's block. */
#define ENSO_ROW_BLOCK 128

/* Threads for rows of n. */
static inline unsigned enso_row_threads(size_t n)
{
    return n > 1024 ? ENSO_ROW_BLOCK : 32;
}

template <typename Load> static __device__ float enso_row_sum(Load load, size_t n, float *scratch)
{
    float sum = 0;

    for (size_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += load(i);
    return enso_block_sum(sum, scratch);
}

/* y = (row - mean) / sqrt(variance + epsilon) · gamma + beta; gamma and beta may be NULL (1, 0). y
 * may be what `load` reads: element i is read by the thread that writes it, before it does. */
template <typename Load>
static __device__ void enso_row_layer_norm(Load load, float *y, size_t n, const float *gamma,
                                           const float *beta, float epsilon, float *scratch)
{
    const float mean = enso_row_sum(load, n, scratch) / (float)n;
    const float variance = enso_row_sum(
                               [=](size_t i) {
                                   const float v = load(i) - mean;

                                   return v * v;
                               },
                               n, scratch) /
                           (float)n;
    const float inverse = 1 / sqrtf(variance + epsilon);

    for (size_t i = threadIdx.x; i < n; i += blockDim.x) {
        float v = (load(i) - mean) * inverse;

        if (gamma != NULL)
            v *= gamma[i];
        y[i] = beta != NULL ? v + beta[i] : v;
    }
}

#endif
