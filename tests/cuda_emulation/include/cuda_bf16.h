/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulation's shadow of CUDA's header of the same name: bfloat16, the upper half of a float;
 * rounds to nearest, ties to even; NaN becomes the canonical 0x7fff, as the hardware does it.
 */
#ifndef ENSO_EMULATED_CUDA_BF16_H
#define ENSO_EMULATED_CUDA_BF16_H

#include "cuda_runtime.h"

struct __attribute__((aligned(2))) __nv_bfloat16 {
    unsigned short bits;
};

struct __attribute__((aligned(4))) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 h)
{
    return __uint_as_float((unsigned)h.bits << 16);
}

static inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    unsigned v = __float_as_uint(f);

    if ((v & 0x7fffffffu) > 0x7f800000u)
        return {0x7fff};
    return {(unsigned short)((v + 0x7fffu + (v >> 16 & 1)) >> 16)};
}

static inline __nv_bfloat16 __float2bfloat16(float f)
{
    return __float2bfloat16_rn(f);
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high)
{
    return {__float2bfloat16_rn(low), __float2bfloat16_rn(high)};
}

static inline float2 __bfloat1622float2(__nv_bfloat162 pair)
{
    return {__bfloat162float(pair.x), __bfloat162float(pair.y)};
}

static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return {bits};
}

static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h)
{
    return h.bits;
}

#endif
