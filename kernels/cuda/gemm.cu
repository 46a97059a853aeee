/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of rows in memory with packed weights (gemm.cuh), and the sum over parts of the inner
 * dimension where it is long and the result is narrow: then single tiles would be few and slow.
 */
#include "kernels/cuda/gemm.cuh"

#define BLOCK 128
/* Splits: from this depth on, in parts of at least so much, for results up to so many columns. */
#define SPLIT_DEPTH 4096
#define SPLIT_PART 1024
#define SPLIT_COLUMNS 512
#define MAX_SPLITS 4

extern "C" unsigned enso_cuda_gemm_splits(size_t k, size_t n)
{
    if (n > SPLIT_COLUMNS || k < SPLIT_DEPTH)
        return 1;
    return k / SPLIT_PART < MAX_SPLITS ? (unsigned)(k / SPLIT_PART) : MAX_SPLITS;
}

extern "C" size_t enso_cuda_gemm_workspace(size_t m, size_t k, size_t n)
{
    const unsigned splits = enso_cuda_gemm_splits(k, n);

    return splits == 1 ? 0 : splits * m * n * sizeof(float);
}

/* Four sums of one part; what is past the row's end is 0. */
static __device__ __forceinline__ float4 part_sums(const struct enso_cuda_gemm &g, unsigned part,
                                                   size_t row, size_t column)
{
    const float *from = g.partial + (part * g.m + row) * g.n + column;

    if (g.n % 4 == 0) /* else rows are not aligned for vectors */
        return *reinterpret_cast<const float4 *>(from);
    return make_float4(from[0], column + 1 < g.n ? from[1] : 0.0f,
                       column + 2 < g.n ? from[2] : 0.0f, column + 3 < g.n ? from[3] : 0.0f);
}

/* Parts in their order, then what enso_gemm_finish does: four columns a thread. */
template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    gemm_parts(const struct enso_cuda_gemm g, unsigned n_parts)
{
    const size_t across = (g.n + 3) / 4;
    const bool vectors = enso_gemm_vectors(g);

    ENSO_GRID_STRIDE(i, g.m * across)
    {
        const size_t row = i / across, column = (i - row * across) * 4;
        float v[4] = {};

        for (unsigned part = 0; part < n_parts; part++) {
            const float4 sums = part_sums(g, part, row, column);

            v[0] += sums.x;
            v[1] += sums.y;
            v[2] += sums.z;
            v[3] += sums.w;
        }
        enso_gemm_finish<T>(g, row, column, v, vectors);
    }
}

extern "C" int enso_cuda_gemm_sum_parts(const struct enso_cuda_gemm *g, cudaStream_t stream)
{
    const unsigned splits = enso_cuda_gemm_splits(g->k, g->n);
    const dim3 grid(enso_blocks(g->m * ((g->n + 3) / 4), BLOCK));

    if (splits == 1)
        return cudaSuccess;
    return g->dtype == ENSO_DTYPE_F16
               ? enso_launch(gemm_parts<__half>, grid, dim3(BLOCK), 0, stream, *g, splits)
               : enso_launch(gemm_parts<__nv_bfloat16>, grid, dim3(BLOCK), 0, stream, *g, splits);
}

/* Rows can be copied in chunks. */
static bool is_even(const struct enso_cuda_gemm *g)
{
    return g->k % ENSO_GEMM_CHUNK == 0 && g->ld_a % ENSO_GEMM_CHUNK == 0 &&
           enso_aligned_vector(g->a);
}

template <typename T> static int launch(const struct enso_cuda_gemm *g, cudaStream_t stream)
{
    const enso_gemm_no_source none = {};

    if (is_even(g))
        return enso_gemm_choose<T, enso_gemm_dense>(g, none, stream);
    return enso_gemm_launch<T, enso_gemm_medium, enso_gemm_odd<enso_gemm_medium>>(g, none, stream);
}

extern "C" int enso_cuda_gemm(const struct enso_cuda_gemm *g, cudaStream_t stream)
{
    int error;

    if (g->m == 0 || g->n == 0)
        return cudaSuccess;
    if (g->dtype != ENSO_DTYPE_F16 && g->dtype != ENSO_DTYPE_BF16)
        return cudaErrorInvalidValue;
    error =
        g->dtype == ENSO_DTYPE_F16 ? launch<__half>(g, stream) : launch<__nv_bfloat16>(g, stream);
    return error != cudaSuccess ? error : enso_cuda_gemm_sum_parts(g, stream);
}
