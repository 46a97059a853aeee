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

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

/* Types that say what their bits mean. */
struct half_bits {
    uint16_t bits;
};
struct bfloat_bits {
    uint16_t bits;
};
struct truth {
    uint8_t byte;
};

/* What a conversion begins with: the element's own type, halves as F32. */
template <typename T> static __device__ __forceinline__ T load(T v)
{
    return v;
}

static __device__ __forceinline__ float load(struct half_bits v)
{
    return __half2float(__ushort_as_half(v.bits));
}

static __device__ __forceinline__ float load(struct bfloat_bits v)
{
    return __bfloat162float(__ushort_as_bfloat16(v.bits));
}

/* A double that is rounded to F32 and then to half is rounded twice; rounding the first to odd
 * makes the second exact (F32 has more than two bits beyond both halves). */
template <typename T> static __device__ __forceinline__ float as_float(T v)
{
    const float f = (float)v;

    if constexpr (std::is_same<T, double>::value) {
        const uint32_t bits = __float_as_uint(f);
        const bool finite = (bits & 0x7f800000) != 0x7f800000;

        if (finite && (double)f != v &&
            (bits & 1) == 0) /* the neighbour towards v, whose last bit is 1 */
            return __uint_as_float(fabs((double)f) < fabs(v) ? bits + 1 : bits - 1);
    }
    return f;
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
        if constexpr (std::is_floating_point<From>::value && std::is_integral<To>::value)
            return saturate<To>(v);
        else
            return (To)v;
    }
};

template <> struct store<struct half_bits> {
    template <typename From> static __device__ __forceinline__ struct half_bits of(From v)
    {
        return {__half_as_ushort(__float2half_rn(as_float(v)))};
    }
};

template <> struct store<struct bfloat_bits> {
    template <typename From> static __device__ __forceinline__ struct bfloat_bits of(From v)
    {
        return {__bfloat16_as_ushort(__float2bfloat16_rn(as_float(v)))};
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
        y[i] = store<To>::of(load(x[i]));
    }
}

#define TYPES(ROW)                                                                                 \
    ROW(F32, float)                                                                                \
    ROW(F16, struct half_bits)                                                                     \
    ROW(BF16, struct bfloat_bits)                                                                  \
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
