/* SPDX-License-Identifier: Apache-2.0
 *
 * Cast between all element types (ONNX Cast, opset 13): the plain kernels, one per pair of types, a
 * thread an element. To BOOL: zero (also -0) is false, all else, NaN included, true. A float beyond
 * an integer's range saturates and NaN gives 0 (ONNX leaves it open; the CPU does the same). Half
 * types go through F32, as on the CPU: an integer that is too long for F32 is rounded twice.
 *
 * BOOL reads as U8, so there are kernels from 12 types to 13; each is a few instructions, and none
 * computes in F64 unless it is one of its types.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

/* A type that says what its bits mean. */
struct truth {
    uint8_t byte;
};

/* What the store of a half rounds, from a number of any type. */
template <typename T> static __device__ __forceinline__ float as_float(T v)
{
    if constexpr (std::is_same<T, double>::value)
        return enso_odd_float(v);
    else
        return (float)v;
}

/* The largest value of a long type rounds up as a float, to a power of two that it does not reach:
 * "at or above" saturates there too, and all floats below it fit. */
template <typename To, typename From> static __device__ __forceinline__ To saturate(From v)
{
    constexpr To least = std::is_signed<To>::value ? (To)(UINT64_C(1) << (sizeof(To) * 8 - 1)) : 0;
    constexpr To most = (To)~least;

    return v != v ? (To)0 : v <= (From)least ? least : v >= (From)most ? most : (To)v;
}

template <typename To> struct store {
    template <typename From> static __device__ __forceinline__ To of(From v)
    {
        if constexpr (enso_wide<To>::is_half)
            return enso_from_float<To>(as_float(v));
        else if constexpr (std::is_floating_point<From>::value && std::is_integral<To>::value)
            return saturate<To>(v);
        else
            return (To)v;
    }
};

template <> struct store<struct truth> {
    template <typename From> static __device__ __forceinline__ struct truth of(From v)
    {
        return {(uint8_t)(v != 0)};
    }
};

template <typename From, typename To> static __global__ void cast(const From *x, To *y, size_t n)
{
    ENSO_GRID_STRIDE(i, n)
    {
        y[i] = store<To>::of(enso_widen(x[i]));
    }
}

#define TYPES(ROW)                                                                                 \
    ROW(F32, float)                                                                                \
    ENSO_HALF_TYPES(ROW)                                                                           \
    ROW(F64, double)                                                                               \
    ROW(I8, int8_t)                                                                                \
    ROW(U8, uint8_t)                                                                               \
    ROW(I16, int16_t)                                                                              \
    ROW(U16, uint16_t)                                                                             \
    ROW(I32, int32_t)                                                                              \
    ROW(U32, uint32_t)                                                                             \
    ROW(I64, int64_t)                                                                              \
    ROW(U64, uint64_t)

template <typename From>
static int launch_from(enum enso_dtype to, const From *x, void *y, size_t n, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    switch (to) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(cast<From, type>, grid, block, 0, stream, x, (type *)y, n);
        TYPES(ROW)
        ROW(BOOL, struct truth)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

int enso_cuda_cast(enum enso_dtype from, enum enso_dtype to, const void *x, void *y, size_t n,
                   cudaStream_t stream)
{
    if (n == 0)
        return (int)cudaSuccess;
    switch (from) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return launch_from(to, (const type *)x, y, n, stream);
        TYPES(ROW)
        ROW(BOOL, uint8_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}
