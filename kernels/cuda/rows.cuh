/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels that work on rows of floats or halves share. Two ways to walk a row, chosen by
 * its length alone, so that a row's bits do not depend on its neighbours:
 *
 * A share (struct enso_row_share), for rows that are whole vectors of 16 bytes: each thread keeps
 * up to 32 numbers of the row in registers, as floats, so that memory is read once however many
 * passes follow. Up to 1024 numbers are one warp's, which meets at no barrier; longer rows are a
 * block's.
 *
 * A function object, for rows of other lengths, those that are made of several, and those too long
 * for registers: one block takes one row, its threads every blockDim-th element, once per pass, so
 * that a residual or an embedding's sum is made again in each pass instead of being stored.
 *
 * Sums are trees over lanes, then over warps.
 */
#ifndef ENSO_KERNELS_CUDA_ROWS_CUH
#define ENSO_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/device.cuh"

#include <math.h>

#include "kernels/cuda/half.cuh"

/* Most threads of a row's block. */
#define ENSO_ROW_BLOCK 128

/* Threads for rows of n. */
static inline unsigned enso_row_threads(size_t n)
{
    return n > 1024 ? ENSO_ROW_BLOCK : 32;
}

/* Numbers that a thread keeps, and the longest rows of a warp, a small and a large block. */
#define ENSO_SHARE 32
#define ENSO_SHARE_WARP (32 * ENSO_SHARE)
#define ENSO_SHARE_SMALL (128 * ENSO_SHARE)
#define ENSO_SHARE_LARGE (256 * ENSO_SHARE)

/* One thread's numbers of a row of n elements of type T, n a multiple of ENSO_VECTOR(T): groups of
 * so many neighbours, the next a round of all the row's threads further. `warp`: the row is a
 * warp's, else a block's; all threads agree. */
template <typename T> struct enso_row_share {
    static constexpr unsigned width = ENSO_VECTOR(T);
    float v[ENSO_SHARE];
    uint32_t first, step, n; /* place of group 0, from group to group */
    bool warp;

    __device__ __forceinline__ enso_row_share(uint32_t n_elements)
        : n(n_elements), warp(n_elements <= ENSO_SHARE_WARP)
    {
        first = (warp ? threadIdx.x % 32 : threadIdx.x) * width;
        step = (warp ? 32 : blockDim.x) * width;
    }

    /* visit(numbers[width], place) for all groups that are inside of the row. */
    template <typename Visit> __device__ __forceinline__ void each(Visit visit)
    {
#pragma unroll
        for (unsigned g = 0; g < ENSO_SHARE / width; g++) {
            float(&group)[width] = *reinterpret_cast<float(*)[width]>(&v[g * width]);

            if (first + g * step < n)
                visit(group, first + g * step);
        }
    }

    /* `past`: what stands where the row has no group. */
    __device__ __forceinline__ void read(const T *x, float past)
    {
#pragma unroll
        for (unsigned i = 0; i < ENSO_SHARE; i++)
            v[i] = past;
        each([=](float(&group)[width], uint32_t at) { enso_load_vector(x + at, group); });
    }

    __device__ __forceinline__ void add(const T *x)
    {
        each([=](float(&group)[width], uint32_t at) {
            float more[width];

            enso_load_vector(x + at, more);
#pragma unroll
            for (unsigned i = 0; i < width; i++)
                group[i] += more[i];
        });
    }

    __device__ __forceinline__ void write(T *y)
    {
        each([=](float(&group)[width], uint32_t at) { enso_store_vector(y + at, group); });
    }

    /* Of one number a thread, known to all of the row. */
    __device__ __forceinline__ float sum(float partial, float *scratch)
    {
        return warp ? enso_warp_sum(partial) : enso_block_sum(partial, scratch);
    }

    __device__ __forceinline__ float max(float partial, float *scratch)
    {
        return warp ? enso_warp_max(partial) : enso_block_max(partial, scratch);
    }
};

/* The loop over rows of n of a kernel that keeps shares: rows of a warp or of a block. */
#define ENSO_EACH_ROW(row, n_rows, n)                                                              \
    for (size_t enso__rows = (n) <= ENSO_SHARE_WARP ? blockDim.x / 32 : 1,                         \
                row = blockIdx.x * enso__rows + ((n) <= ENSO_SHARE_WARP ? threadIdx.x / 32 : 0);   \
         row < (size_t)(n_rows); row += gridDim.x * enso__rows)

/* Rows of n elements of T are kept in shares; by the row's length alone. */
template <typename T> static inline bool enso_share_fits(size_t n)
{
    return n % ENSO_VECTOR(T) == 0 && n <= ENSO_SHARE_LARGE;
}

/* Threads of a block for shares of rows of n. Many rows of a warp share a block; how many has no
 * bearing on bits. */
static inline unsigned enso_share_threads(size_t n_rows, size_t n)
{
    return n <= ENSO_SHARE_WARP ? (n_rows < 1024 ? 32 : 128) : n <= ENSO_SHARE_SMALL ? 128 : 256;
}

static inline unsigned enso_share_blocks(size_t n_rows, size_t n)
{
    return enso_blocks(n_rows, n <= ENSO_SHARE_WARP ? enso_share_threads(n_rows, n) / 32 : 1);
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
template <typename Load, typename T>
static __device__ void enso_row_layer_norm(Load load, T *y, size_t n, const float *gamma,
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
        y[i] = enso_from_float<T>(beta != NULL ? v + beta[i] : v);
    }
}

#endif
