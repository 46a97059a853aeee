/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of half types as matrix products (gemm.cuh): rows are output pixels, read from the
 * image while the product runs; nothing is unfolded in memory. Channels in eights come sixteen
 * bytes at a time, any other number (the three of an image) one by one.
 */
#include "kernels/cuda/gemm.cuh"

template <typename T>
static int launch(const struct enso_cuda_gemm *g, const struct enso_gemm_window &s,
                  cudaStream_t stream)
{
    if (s.n_channels % ENSO_GEMM_CHUNK == 0 && enso_aligned_vector(g->a))
        return enso_gemm_choose<T, enso_gemm_im2col>(g, s, stream);
    return enso_gemm_launch<T, enso_gemm_medium, enso_gemm_im2col_odd<enso_gemm_medium>>(g, s,
                                                                                         stream);
}

extern "C" int enso_cuda_gemm_conv(const struct enso_cuda_gemm *g, const struct enso_cuda_window *w,
                                   size_t n_channels, cudaStream_t stream)
{
    const struct enso_gemm_window s = {*w, (uint32_t)n_channels};
    int error;

    if (g->m == 0 || g->n == 0)
        return cudaSuccess;
    if ((g->dtype != ENSO_DTYPE_F16 && g->dtype != ENSO_DTYPE_BF16) || w->in[0] != 1 ||
        w->kernel[0] != 1 || g->k != (size_t)w->n_taps * n_channels)
        return cudaErrorInvalidValue;
    error = g->dtype == ENSO_DTYPE_F16 ? launch<__half>(g, s, stream)
                                       : launch<__nv_bfloat16>(g, s, stream);
    return error != cudaSuccess ? error : enso_cuda_gemm_sum_parts(g, stream);
}
