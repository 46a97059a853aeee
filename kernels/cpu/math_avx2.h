/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementary functions over eight floats, for *_avx2.c only (static, built with AVX2 and FMA).
 * Coefficients: kernels/cpu/fit_coefficients.py prints them with their errors. NaN stays NaN: the
 * instructions give their second operand when one is NaN, so limits stand first.
 */
#ifndef ENSO_KERNELS_CPU_MATH_AVX2_H
#define ENSO_KERNELS_CPU_MATH_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/kernels.h"

static inline __m256 set8(float v)
{
    return _mm256_set1_ps(v);
}

static inline __m256 limit8(__m256 x, float min, float max)
{
    return _mm256_min_ps(set8(max), _mm256_max_ps(set8(min), x));
}

/* First n < 8 lanes on. */
static inline __m256i tail_mask(size_t n)
{
    static const int32_t on_off[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

    return _mm256_loadu_si256((const __m256i *)(on_off + 8 - n));
}

/* e^x, relative error under 2e-7; 0 below -104, infinite above 88.73. */
static inline __m256 exp8(__m256 x)
{
    x = limit8(x, -104.0f, 89.0f);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, set8(1.44269504f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    /* ln 2 in two parts; the first has few enough bits for n times it to be exact */
    __m256 r = _mm256_fnmadd_ps(n, set8(0.693359375f), x);

    r = _mm256_fnmadd_ps(n, set8(-2.12194440e-4f), r);
    __m256 p = set8(1.3950466269e-03f);
    p = _mm256_fmadd_ps(p, r, set8(8.3688834640e-03f));
    p = _mm256_fmadd_ps(p, r, set8(4.1666206159e-02f));
    p = _mm256_fmadd_ps(p, r, set8(1.6666518886e-01f));
    p = _mm256_fmadd_ps(p, r, set8(5.0000000951e-01f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, set8(1.0f)));
    /* 2^n in two factors: n reaches 128 and, in the subnormal range, -150 */
    __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1);
    __m256i bias = _mm256_set1_epi32(127);
    __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256 b = _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, half), bias), 23));

    return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}

/* erf(x) = x P(x²)/Q(x²), absolute error under 3e-7. */
static inline __m256 erf8(__m256 x)
{
    x = limit8(x, -4.0f, 4.0f);
    __m256 z = _mm256_mul_ps(x, x), p = set8(1.9791878005e-06f), q = set8(3.7421652153e-05f);

    p = _mm256_fmadd_ps(p, z, set8(2.8608872403e-04f));
    q = _mm256_fmadd_ps(q, z, set8(1.2001012946e-03f));
    p = _mm256_fmadd_ps(p, z, set8(3.9414709647e-03f));
    q = _mm256_fmadd_ps(q, z, set8(1.5322911017e-02f));
    p = _mm256_fmadd_ps(p, z, set8(5.3280313090e-02f));
    q = _mm256_fmadd_ps(q, z, set8(1.1590082624e-01f));
    p = _mm256_fmadd_ps(p, z, set8(1.9486971322e-01f));
    q = _mm256_fmadd_ps(q, z, set8(5.0603096411e-01f));
    p = _mm256_fmadd_ps(p, z, set8(1.1283791223e+00f));
    q = _mm256_fmadd_ps(q, z, set8(1.0f));
    return limit8(_mm256_div_ps(_mm256_mul_ps(x, p), q), -1.0f, 1.0f);
}

/* tanh(x) = x P(x²)/Q(x²), absolute error under 3e-7, relative near zero. */
static inline __m256 tanh8(__m256 x)
{
    x = limit8(x, -9.0f, 9.0f);
    __m256 z = _mm256_mul_ps(x, x), p = set8(-1.2220295235e-11f), q = set8(1.2879033652e-06f);

    p = _mm256_fmadd_ps(p, z, set8(3.0604779821e-08f));
    p = _mm256_fmadd_ps(p, z, set8(2.8014694733e-05f));
    q = _mm256_fmadd_ps(q, z, set8(3.9392336368e-04f));
    p = _mm256_fmadd_ps(p, z, set8(3.8686581182e-03f));
    q = _mm256_fmadd_ps(q, z, set8(2.7247024451e-02f));
    p = _mm256_fmadd_ps(p, z, set8(1.3680171544e-01f));
    q = _mm256_fmadd_ps(q, z, set8(4.7013503575e-01f));
    p = _mm256_fmadd_ps(p, z, set8(9.9999999876e-01f));
    q = _mm256_fmadd_ps(q, z, set8(1.0f));
    return limit8(_mm256_div_ps(_mm256_mul_ps(x, p), q), -1.0f, 1.0f);
}

static inline __m256 sigmoid8(__m256 x)
{
    __m256 one = set8(1.0f);

    return _mm256_div_ps(one, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

/* x/2 · (1 + t) */
static inline __m256 half_times_one_plus(__m256 x, __m256 t)
{
    __m256 half = _mm256_mul_ps(x, set8(0.5f));

    return _mm256_fmadd_ps(half, t, half);
}

static inline __m256 gelu8(__m256 x)
{
    return half_times_one_plus(x, erf8(_mm256_mul_ps(x, set8(0.707106781186547524f))));
}

static inline __m256 gelu_tanh8(__m256 x)
{
    __m256 x2 = _mm256_mul_ps(x, x);
    __m256 inner = _mm256_mul_ps(_mm256_mul_ps(x, set8(0.797884560802865f)),
                                 _mm256_fmadd_ps(x2, set8(0.044715f), set8(1.0f)));

    return half_times_one_plus(x, tanh8(inner));
}

/* max(0, min(1, x)) */
static inline __m256 unit8(__m256 x)
{
    return limit8(x, 0.0f, 1.0f);
}

/* One activation over rows of floats, tails included: the loop is inside so that the choice is made
 * once per row. `stmt` sees __m256 v. */
static void activate_row(const float *x, float *y, size_t n, const struct enso_activation_args *a)
{
    const __m256 zero = _mm256_setzero_ps();

#define EACH(value)                                                                                \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        for (; i + 8 <= n; i += 8) {                                                               \
            __m256 v = _mm256_loadu_ps(x + i);                                                     \
            _mm256_storeu_ps(y + i, value);                                                        \
        }                                                                                          \
        if (i < n) {                                                                               \
            __m256i mask = tail_mask(n - i);                                                       \
            __m256 v = _mm256_maskload_ps(x + i, mask);                                            \
            _mm256_maskstore_ps(y + i, mask, value);                                               \
        }                                                                                          \
        return;                                                                                    \
    } while (0)

    switch (a->kind) {
    case ENSO_ACTIVATION_NONE:
        EACH(v);
    case ENSO_ACTIVATION_RELU:
        EACH(_mm256_max_ps(zero, v));
    case ENSO_ACTIVATION_GELU:
        EACH(gelu8(v));
    case ENSO_ACTIVATION_GELU_TANH:
        EACH(gelu_tanh8(v));
    case ENSO_ACTIVATION_SILU:
        EACH(_mm256_mul_ps(v, sigmoid8(v)));
    case ENSO_ACTIVATION_TANH:
        EACH(tanh8(v));
    case ENSO_ACTIVATION_SIGMOID:
        EACH(sigmoid8(v));
    case ENSO_ACTIVATION_CLIP:
        EACH(limit8(v, a->min, a->max));
    case ENSO_ACTIVATION_HARD_SWISH:
        EACH(_mm256_mul_ps(v, unit8(_mm256_fmadd_ps(v, set8(1.0f / 6), set8(0.5f)))));
    case ENSO_ACTIVATION_LEAKY_RELU:
        EACH(_mm256_blendv_ps(v, _mm256_mul_ps(v, set8(a->alpha)),
                              _mm256_cmp_ps(v, zero, _CMP_LT_OQ)));
    case ENSO_ACTIVATION_ELU:
        EACH(_mm256_blendv_ps(v, _mm256_mul_ps(set8(a->alpha), _mm256_sub_ps(exp8(v), set8(1.0f))),
                              _mm256_cmp_ps(v, zero, _CMP_LT_OQ)));
    case ENSO_ACTIVATION_HARD_SIGMOID:
        EACH(unit8(_mm256_fmadd_ps(v, set8(a->alpha), set8(a->beta))));
    }
#undef EACH
}

#endif
