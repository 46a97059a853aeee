/* SPDX-License-Identifier: Apache-2.0
 *
 * Products over one token of each sequence (gemm.cuh): the pooler of a BERT, a classifier's head.
 * Rows are picked while the product runs, which spares a launch and the rows' way through memory.
 * As many rows as sequences: the two smaller shapes do, and all shapes have the same bits.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/gemm.cuh"

template <typename T>
static int launch(const struct enso_cuda_gemm *g, const struct enso_cuda_gemm_tokens *rows,
                  cudaStream_t stream)
{
    if (enso_gemm_is_busy<enso_gemm_medium>(g))
        return enso_gemm_launch<T, enso_gemm_medium, enso_gemm_gather<enso_gemm_medium>>(g, *rows,
                                                                                         stream);
    return enso_gemm_launch<T, enso_gemm_small, enso_gemm_gather<enso_gemm_small>>(g, *rows,
                                                                                   stream);
}

extern "C" int enso_cuda_gemm_gather(const struct enso_cuda_gemm *g,
                                     const struct enso_cuda_gemm_tokens *rows, cudaStream_t stream)
{
    int error;

    if (g->m == 0 || g->n == 0)
        return cudaSuccess;
    if ((g->dtype != ENSO_DTYPE_F16 && g->dtype != ENSO_DTYPE_BF16) ||
        g->k % ENSO_GEMM_CHUNK != 0 || g->ld_a % ENSO_GEMM_CHUNK != 0 || !enso_aligned_vector(g->a))
        return cudaErrorInvalidValue;
    error = g->dtype == ENSO_DTYPE_F16 ? launch<__half>(g, rows, stream)
                                       : launch<__nv_bfloat16>(g, rows, stream);
    return error != cudaSuccess ? error : enso_cuda_gemm_sum_parts(g, stream);
}
