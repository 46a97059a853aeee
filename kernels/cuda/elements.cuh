/* SPDX-License-Identifier: Apache-2.0
 *
 * Device functions that the elementwise and moving kernels share: the sign of a number of any type,
 * and the walk from a number of an element to its indices.
 *
 * Divisions are the cost of that walk: a 64-bit one takes several times the instructions of a
 * 32-bit one. So wherever the whole count fits 32 bits, which it does for all but giants, the
 * quotients are made in 32 bits; the test is the same for all threads of a launch. The loops over
 * dimensions are not unrolled: most have one round or none, and each copy of the two divisions is
 * long.
 */
#ifndef ENSO_KERNELS_CUDA_ELEMENTS_CUH
#define ENSO_KERNELS_CUDA_ELEMENTS_CUH

#include "kernels/cuda/device.cuh"

#include <type_traits>

#include "kernels/cuda/launch_elements.h"

/* False for all unsigned types, without comparing them to zero. */
template <typename T> static __device__ __forceinline__ bool enso_negative(T v)
{
    if constexpr (std::is_unsigned<T>::value)
        return false;
    else
        return v < (T)0;
}

/* at / n, the remainder in *rest; `small`: at is known to fit 32 bits, and n with it. */
static __device__ __forceinline__ uint64_t enso_divide(uint64_t at, uint64_t n, bool small,
                                                       uint64_t *rest)
{
    if (small) {
        const uint32_t quotient = (uint32_t)at / (uint32_t)n;

        *rest = (uint32_t)at - quotient * (uint32_t)n;
        return quotient;
    }
    const uint64_t quotient = at / n;

    *rest = at - quotient * n;
    return quotient;
}

/* The count of a launch lets all its indices be made in 32 bits. */
static __device__ __forceinline__ bool enso_small(uint64_t n)
{
    return n <= UINT32_MAX;
}

/* Where the first N operands of a broadcast read for element `at` of the result. */
template <int N>
static __device__ __forceinline__ void
enso_broadcast_offsets(const struct enso_cuda_broadcast &shape, uint64_t at, bool small,
                       uint64_t (&offsets)[N])
{
    for (int i = 0; i < N; i++)
        offsets[i] = 0;
#pragma unroll 1
    for (uint32_t d = shape.rank - 1; d > 0; d--) {
        uint64_t index;

        at = enso_divide(at, shape.dims[d], small, &index);
        for (int i = 0; i < N; i++)
            offsets[i] += index * shape.strides[i][d];
    }
    for (int i = 0; i < N; i++) /* what is left is the index of the outermost dimension */
        offsets[i] += at * shape.strides[i][0];
}

#endif
