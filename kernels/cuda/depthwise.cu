/* SPDX-License-Identifier: Apache-2.0
 *
 * Depthwise convolutions of half types over [N, H, W, C]: a filter for each channel. A thread makes
 * eight neighbouring channels of one output pixel; inputs, weights [taps][C] and results go by 16
 * bytes. There is nothing for tensor cores here: each input meets one weight, the kernel lives from
 * the cache that neighbouring pixels share. Sums in F32 tap by tap, padding left out.
 *
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/window.cuh"

#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"

#include "kernels/cuda/launch_gemm.h"

#define BLOCK 128
#define EACH 8

template <typename T>
static __device__ __forceinline__ void add_products(const T *x, const T *weights,
                                                    float (&sums)[EACH])
{
    float v[EACH], w[EACH];

    enso_load_vector(x, v);
    enso_load_vector(weights, w);
#pragma unroll
    for (int e = 0; e < EACH; e++)
        sums[e] = enso_fma(v[e], w[e], sums[e]);
}

/* i: the first of the eight in y. */
template <typename T>
static __device__ __forceinline__ void finish(const struct enso_cuda_conv_nhwc &c, size_t i,
                                              size_t channel, float (&sums)[EACH])
{
    if (c.bias != NULL) {
#pragma unroll
        for (int e = 0; e < EACH; e++)
            sums[e] += c.bias[channel + e];
    }
    if (c.residual != NULL) {
        float r[EACH];

        enso_load_vector(static_cast<const T *>(c.residual) + i, r);
#pragma unroll
        for (int e = 0; e < EACH; e++)
            sums[e] += r[e];
    }
    /* Rolled by hand: what is done to one number stands once in the program. */
    float turning = 0;

#pragma unroll 1
    for (int e = 0; e < EACH; e++) {
        turning = enso_activate(sums[0], c.activation);
#pragma unroll
        for (int k = 0; k + 1 < EACH; k++)
            sums[k] = sums[k + 1];
        sums[EACH - 1] = turning;
    }
    enso_store_vector(static_cast<T *>(c.y) + i, sums);
}

template <typename T>
static __global__ void __launch_bounds__(BLOCK, 8)
    depthwise(const struct enso_cuda_conv_nhwc c, size_t n)
{
    const size_t across = c.n_out / EACH;
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t eight, place;
        const size_t pixel = enso_divide(i, across, small, &eight), channel = eight * EACH;
        const size_t image = enso_divide(pixel, c.window.n_out, small, &place);
        const struct enso_corner corner = enso_window_corner(c.window, (uint32_t)place);
        const T *x = static_cast<const T *>(c.x) + image * c.window.n_in * c.n_in + channel;
        const T *weights = static_cast<const T *>(c.weights) + channel;
        float sums[EACH] = {};

        enso_window_visit(
            c.window, corner,
            [&](uint32_t tap, uint32_t at) {
                add_products(x + (size_t)at * c.n_in, weights + (size_t)tap * c.n_out, sums);
            },
            [] {});
        finish<T>(c, pixel * c.n_out + channel, channel, sums);
    }
}

extern "C" bool enso_cuda_is_depthwise(const struct enso_cuda_conv_nhwc *c)
{
    return c->group == c->n_in && c->n_in == c->n_out && c->n_in % EACH == 0 &&
           enso_aligned_vector(c->x) && enso_aligned_vector(c->y) &&
           enso_aligned_vector(c->weights) && enso_aligned_vector(c->residual);
}

extern "C" int enso_cuda_depthwise(const struct enso_cuda_conv_nhwc *c, cudaStream_t stream)
{
    const size_t n = c->n_images * c->window.n_out * (c->n_out / EACH);
    const dim3 grid(enso_blocks(n, BLOCK));

    if (n == 0)
        return cudaSuccess;
    switch (c->dtype) {
#define DEPTHWISE(name, type)                                                                      \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(depthwise<type>, grid, dim3(BLOCK), 0, stream, *c, n);
        ENSO_HALF_TYPES(DEPTHWISE)
#undef DEPTHWISE
    default:
        return cudaErrorInvalidValue;
    }
}
