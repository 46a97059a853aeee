/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulation's shadow of CUDA's header of the same name: IEEE half precision; rounds to nearest,
 * ties to even, with subnormal numbers; NaN becomes the canonical 0x7fff, as the hardware does it.
 */
#ifndef ENSO_EMULATED_CUDA_FP16_H
#define ENSO_EMULATED_CUDA_FP16_H

#include "cuda_runtime.h"

struct __attribute__((aligned(2))) __half {
    unsigned short bits;
};

struct __attribute__((aligned(4))) __half2 {
    __half x, y;
};

static inline float __half2float(__half h)
{
    unsigned sign = (unsigned)(h.bits & 0x8000) << 16, exponent = h.bits >> 10 & 31;
    unsigned mantissa = h.bits & 0x3ff;

    if (exponent == 0) {
        float v = (float)mantissa * 0x1p-24f;

        return sign != 0 ? -v : v;
    }
    if (exponent == 31)
        return __uint_as_float(sign | 0x7f800000u | mantissa << 13);
    return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline __half __float2half_rn(float f)
{
    unsigned v = __float_as_uint(f), magnitude = v & 0x7fffffffu;
    unsigned short sign = (unsigned short)(v >> 16 & 0x8000);

    if (magnitude > 0x7f800000u)
        return {0x7fff};
    if (magnitude >= 0x477ff000u) /* 65520 and more round to infinity */
        return {(unsigned short)(sign | 0x7c00)};
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 leaves units of 2^-24, rounded */
        unsigned bits = __float_as_uint(__uint_as_float(magnitude) + 0.5f);

        return {(unsigned short)(sign | (bits - 0x3f000000u))};
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return {(unsigned short)(sign | ((magnitude >> 13) - (112u << 10)))};
}

static inline __half __float2half(float f)
{
    return __float2half_rn(f);
}

static inline __half2 __floats2half2_rn(float low, float high)
{
    return {__float2half_rn(low), __float2half_rn(high)};
}

static inline float2 __half22float2(__half2 pair)
{
    return {__half2float(pair.x), __half2float(pair.y)};
}

static inline __half __ushort_as_half(unsigned short bits)
{
    return {bits};
}

static inline unsigned short __half_as_ushort(__half h)
{
    return h.bits;
}

#endif
