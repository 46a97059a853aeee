/* SPDX-License-Identifier: Apache-2.0
 *
 * F16 and BF16 as kernels see them: types of two bytes that are read into floats and written from
 * floats, one at a time, two packed into a word, or sixteen bytes at once. All arithmetic is in
 * F32; a result is rounded once, to nearest with ties to even, when it is stored; a NaN stays one.
 * Everything is conversions, no instruction works on halves, so it runs on cards without bfloat16
 * (sm_75, where the conversions are integer operations) as well.
 *
 * Templates over T take float, __half and __nv_bfloat16 alike: ENSO_FLOAT_TYPES lists them for
 * launchers' switches over enum enso_dtype.
 *
 *     float v[ENSO_VECTOR(T)];
 *     enso_load_vector(x + i, v);                (16 bytes: x + i must be aligned to them)
 *     y[i] = enso_from_float<T>(enso_to_float(x[i]) * 2);
 */
#ifndef ENSO_KERNELS_CUDA_HALF_CUH
#define ENSO_KERNELS_CUDA_HALF_CUH

#include "kernels/cuda/device.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

/* dtype and type of what kernels over T are made for. */
#define ENSO_HALF_TYPES(ROW)                                                                       \
    ROW(F16, __half)                                                                               \
    ROW(BF16, __nv_bfloat16)
#define ENSO_FLOAT_TYPES(ROW)                                                                      \
    ROW(F32, float)                                                                                \
    ENSO_HALF_TYPES(ROW)

/* Elements of T in 16 bytes: 4 floats, 8 halves. */
#define ENSO_VECTOR(T) (16 / sizeof(T))

/* ---- one ---- */

static __device__ __forceinline__ float enso_to_float(float v)
{
    return v;
}

static __device__ __forceinline__ float enso_to_float(__half v)
{
    return __half2float(v);
}

static __device__ __forceinline__ float enso_to_float(__nv_bfloat16 v)
{
    return __bfloat162float(v);
}

template <typename T> static __device__ __forceinline__ T enso_from_float(float v);

template <> __device__ __forceinline__ float enso_from_float<float>(float v)
{
    return v;
}

template <> __device__ __forceinline__ __half enso_from_float<__half>(float v)
{
    return __float2half_rn(v);
}

template <> __device__ __forceinline__ __nv_bfloat16 enso_from_float<__nv_bfloat16>(float v)
{
    return __float2bfloat16_rn(v);
}

/* The same for 16 bits whose type is T, where bits are what is at hand. */
template <typename T> static __device__ __forceinline__ float enso_bits_to_float(uint16_t bits);

template <> __device__ __forceinline__ float enso_bits_to_float<__half>(uint16_t bits)
{
    return __half2float(__ushort_as_half(bits));
}

template <> __device__ __forceinline__ float enso_bits_to_float<__nv_bfloat16>(uint16_t bits)
{
    return __uint_as_float((uint32_t)bits << 16);
}

static __device__ __forceinline__ uint16_t enso_bits(__half v)
{
    return __half_as_ushort(v);
}

static __device__ __forceinline__ uint16_t enso_bits(__nv_bfloat16 v)
{
    return __bfloat16_as_ushort(v);
}

template <typename T> static __device__ __forceinline__ T enso_from_bits(uint16_t bits);

template <> __device__ __forceinline__ __half enso_from_bits<__half>(uint16_t bits)
{
    return __ushort_as_half(bits);
}

template <> __device__ __forceinline__ __nv_bfloat16 enso_from_bits<__nv_bfloat16>(uint16_t bits)
{
    return __ushort_as_bfloat16(bits);
}

/* A double that is rounded to F32 and then to a half is rounded twice; rounding the first to odd
 * makes the second exact (F32 has more than two bits beyond both halves). */
static __device__ __forceinline__ float enso_odd_float(double v)
{
    const float f = (float)v;
    const uint32_t bits = __float_as_uint(f);
    const bool finite = (bits & 0x7f800000) != 0x7f800000;

    if (finite && (double)f != v && (bits & 1) == 0) /* the neighbour towards v, which is odd */
        return __uint_as_float(fabs((double)f) < fabs(v) ? bits + 1 : bits - 1);
    return f;
}

/* For kernels over more types than floats: halves as F32, all others as they are, and back. */
template <typename T> static __device__ __forceinline__ T enso_widen(T v)
{
    return v;
}

static __device__ __forceinline__ float enso_widen(__half v)
{
    return enso_to_float(v);
}

static __device__ __forceinline__ float enso_widen(__nv_bfloat16 v)
{
    return enso_to_float(v);
}

/* The type that T's elements are computed in. */
template <typename T> struct enso_wide {
    typedef T type;
    static constexpr bool is_half = false;
};
template <> struct enso_wide<__half> {
    typedef float type;
    static constexpr bool is_half = true;
};
template <> struct enso_wide<__nv_bfloat16> {
    typedef float type;
    static constexpr bool is_half = true;
};

template <typename T, typename Wide> static __device__ __forceinline__ T enso_narrow(Wide v)
{
    if constexpr (enso_wide<T>::is_half)
        return enso_from_float<T>((float)v);
    else
        return (T)v;
}

/* ---- two in a word, the first in the low half ---- */

template <typename T>
static __device__ __forceinline__ void enso_unpack2(uint32_t word, float *ret_low, float *ret_high)
{
    *ret_low = enso_bits_to_float<T>((uint16_t)word);
    *ret_high = enso_bits_to_float<T>((uint16_t)(word >> 16));
}

template <typename T> static __device__ __forceinline__ uint32_t enso_pack2(float low, float high);

template <> __device__ __forceinline__ uint32_t enso_pack2<__half>(float low, float high)
{
    const __half2 pair = __floats2half2_rn(low, high);

    return enso_bits(pair.x) | (uint32_t)enso_bits(pair.y) << 16;
}

template <> __device__ __forceinline__ uint32_t enso_pack2<__nv_bfloat16>(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);

    return enso_bits(pair.x) | (uint32_t)enso_bits(pair.y) << 16;
}

/* ---- 16 bytes ---- */

/* p may be read and written as vectors. */
static inline bool enso_aligned_vector(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

template <typename T>
static __device__ __forceinline__ void enso_load_vector(const T *x, float (&v)[ENSO_VECTOR(T)])
{
    const uint4 words = *reinterpret_cast<const uint4 *>(x);

    enso_unpack2<T>(words.x, &v[0], &v[1]);
    enso_unpack2<T>(words.y, &v[2], &v[3]);
    enso_unpack2<T>(words.z, &v[4], &v[5]);
    enso_unpack2<T>(words.w, &v[6], &v[7]);
}

template <> __device__ __forceinline__ void enso_load_vector<float>(const float *x, float (&v)[4])
{
    const float4 four = *reinterpret_cast<const float4 *>(x);

    v[0] = four.x;
    v[1] = four.y;
    v[2] = four.z;
    v[3] = four.w;
}

template <typename T>
static __device__ __forceinline__ void enso_store_vector(T *y, const float (&v)[ENSO_VECTOR(T)])
{
    uint4 words;

    words.x = enso_pack2<T>(v[0], v[1]);
    words.y = enso_pack2<T>(v[2], v[3]);
    words.z = enso_pack2<T>(v[4], v[5]);
    words.w = enso_pack2<T>(v[6], v[7]);
    *reinterpret_cast<uint4 *>(y) = words;
}

template <> __device__ __forceinline__ void enso_store_vector<float>(float *y, const float (&v)[4])
{
    float4 four;

    four.x = v[0];
    four.y = v[1];
    four.z = v[2];
    four.w = v[3];
    *reinterpret_cast<float4 *>(y) = four;
}

#endif
