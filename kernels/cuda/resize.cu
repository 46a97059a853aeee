/* SPDX-License-Identifier: Apache-2.0
 *
 * Resize: one thread an element of the result, which adds its taps; where they are and what they
 * weigh stands in a table for each axis (kernels/nodes/resize.h), so that one kernel serves all
 * modes. Neighbouring threads read neighbouring columns of the last axis's table, or, channels
 * last, the same column and neighbouring elements. Taps are added in the order in which the CPU
 * adds them. Halves are summed in F32 and rounded once. No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"

#define BLOCK 128

/* What an element of the result is. */
struct spot {
    uint64_t outer, inner;
    uint32_t at[3];
};

static __device__ __forceinline__ struct spot find_spot(const struct enso_cuda_resize &r,
                                                        uint64_t i, bool small)
{
    struct spot s;

    i = enso_divide(i, r.inner, small, &s.inner);
#pragma unroll
    for (int d = 2; d >= 0; d--) {
        uint64_t rest;

        i = enso_divide(i, r.out[d], small, &rest);
        s.at[d] = (uint32_t)rest;
    }
    s.outer = i;
    return s;
}

/* Where tap k of an axis reads, given what stands before that axis. */
static __device__ __forceinline__ uint64_t step_in(const struct enso_cuda_resize &r, int d,
                                                   uint32_t k, const struct spot &s,
                                                   uint64_t before)
{
    const uint32_t place =
        r.places[d] == NULL ? s.at[d] : (uint32_t)r.places[d][(size_t)k * r.out[d] + s.at[d]];

    return before * r.in[d] + place;
}

static __device__ __forceinline__ float weight(const struct enso_cuda_resize &r, int d, uint32_t k,
                                               const struct spot &s)
{
    return r.weights[d] == NULL ? 1.0f : r.weights[d][(size_t)k * r.out[d] + s.at[d]];
}

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    resize_nearest(const T *x, T *y, size_t n, const struct enso_cuda_resize r)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        const struct spot s = find_spot(r, i, small);
        uint64_t line = s.outer;

#pragma unroll
        for (int d = 0; d < 3; d++)
            line = step_in(r, d, 0, s, line);
        y[i] = x[line * r.inner + s.inner];
    }
}

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    resize_weighted(const T *x, T *y, size_t n, const struct enso_cuda_resize r)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        const struct spot s = find_spot(r, i, small);
        float sum = 0;

#pragma unroll 1
        for (uint32_t k0 = 0; k0 < r.n_taps[0]; k0++) {
            const uint64_t plane = step_in(r, 0, k0, s, s.outer);
            const float w0 = weight(r, 0, k0, s);

#pragma unroll 1
            for (uint32_t k1 = 0; k1 < r.n_taps[1]; k1++) {
                const uint64_t line = step_in(r, 1, k1, s, plane);
                const float w1 = w0 * weight(r, 1, k1, s);

#pragma unroll 1
                for (uint32_t k2 = 0; k2 < r.n_taps[2]; k2++)
                    sum = enso_fma(w1 * weight(r, 2, k2, s),
                                   enso_to_float(x[step_in(r, 2, k2, s, line) * r.inner + s.inner]),
                                   sum);
            }
        }
        y[i] = enso_from_float<T>(sum);
    }
}

static size_t count(const struct enso_cuda_resize *r)
{
    return r->outer * r->out[0] * r->out[1] * r->out[2] * r->inner;
}

extern "C" int enso_cuda_resize_nearest(size_t bytes, const void *x, void *y,
                                        const struct enso_cuda_resize *r, cudaStream_t stream)
{
    const size_t n = count(r);
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return cudaSuccess;
    switch (bytes) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(resize_nearest<type>, grid, block, 0, stream, (const type *)x,          \
                           (type *)y, n, *r);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}

extern "C" int enso_cuda_resize(enum enso_dtype dtype, const void *x, void *y,
                                const struct enso_cuda_resize *r, cudaStream_t stream)
{
    const size_t n = count(r);
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return cudaSuccess;
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(resize_weighted<type>, grid, block, 0, stream, (const type *)x,         \
                           (type *)y, n, *r);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}
