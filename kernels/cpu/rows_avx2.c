/* SPDX-License-Identifier: Apache-2.0
 *
 * Row functions with AVX2 and FMA: activations, softmax, norms (contracts in kernels.h). Sums run
 * in eight lanes (element i in lane i mod 8) which are added in a fixed tree at the end; the tail
 * is a masked vector, so that every element passes the same arithmetic.
 */
#include "ensod_build.h"

#include "kernels/cpu/kernels.h"

#include <math.h>

#include "kernels/cpu/math_avx2.h"

static inline float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float max8(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* for each whole vector and then the masked tail; `mask` is all ones in the former */
#define VECTORS(n, body)                                                                           \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        for (; i + 8 <= (n); i += 8) {                                                             \
            const __m256i mask = _mm256_set1_epi32(-1);                                            \
            (void)mask;                                                                            \
            body(_mm256_loadu_ps, _mm256_storeu_ps)                                                \
        }                                                                                          \
        if (i < (n)) {                                                                             \
            const __m256i mask = tail_mask((n)-i);                                                 \
            body(LOAD_MASKED, STORE_MASKED)                                                        \
        }                                                                                          \
    } while (0)
#define LOAD_MASKED(p) _mm256_maskload_ps(p, mask)
#define STORE_MASKED(p, v) _mm256_maskstore_ps(p, mask, v)
/* lanes that are off become `other` */
#define KEEP(v, other) _mm256_blendv_ps(other, v, _mm256_castsi256_ps(mask))

static void exp_row(const float *x, float *y, size_t n)
{
#define BODY(LOAD, STORE) STORE(y + i, exp8(LOAD(x + i)));
    VECTORS(n, BODY);
#undef BODY
}

static void erf_row(const float *x, float *y, size_t n)
{
#define BODY(LOAD, STORE) STORE(y + i, erf8(LOAD(x + i)));
    VECTORS(n, BODY);
#undef BODY
}

static float scaled_max(const float *x, size_t n, float scale)
{
    const __m256 low = set8(-INFINITY);
    __m256 max = low;

#define BODY(LOAD, STORE)                                                                          \
    max = _mm256_max_ps(KEEP(_mm256_mul_ps(LOAD(x + i), set8(scale)), low), max);
    VECTORS(n, BODY);
#undef BODY
    return max8(max);
}

static void softmax(float *x, size_t n, size_t n_padded, float scale)
{
    const __m256 max = set8(scaled_max(x, n, scale));
    __m256 sum = _mm256_setzero_ps();

#define BODY(LOAD, STORE)                                                                          \
    {                                                                                              \
        __m256 e = exp8(_mm256_sub_ps(_mm256_mul_ps(LOAD(x + i), set8(scale)), max));              \
        sum = _mm256_add_ps(sum, KEEP(e, _mm256_setzero_ps()));                                    \
        STORE(x + i, e);                                                                           \
    }
    VECTORS(n, BODY);
#undef BODY
    const __m256 inverse = set8(1.0f / sum8(sum));
#define BODY(LOAD, STORE) STORE(x + i, _mm256_mul_ps(LOAD(x + i), inverse));
    VECTORS(n, BODY);
#undef BODY
    for (size_t i = n; i < n_padded; i++)
        x[i] = 0;
}

static void log_softmax(float *x, size_t n)
{
    const float largest = scaled_max(x, n, 1.0f);
    const __m256 max = set8(largest);
    __m256 sum = _mm256_setzero_ps();

#define BODY(LOAD, STORE)                                                                          \
    sum = _mm256_add_ps(sum, KEEP(exp8(_mm256_sub_ps(LOAD(x + i), max)), _mm256_setzero_ps()));
    VECTORS(n, BODY);
#undef BODY
    /* first the maximum, then the logarithm: their sum would round away small logarithms */
    const __m256 log_sum = set8((float)log((double)sum8(sum)));
#define BODY(LOAD, STORE) STORE(x + i, _mm256_sub_ps(_mm256_sub_ps(LOAD(x + i), max), log_sum));
    VECTORS(n, BODY);
#undef BODY
}

static void layer_norm(const float *x, float *y, size_t n, const float *gamma, const float *beta,
                       float epsilon)
{
    __m256 sum = _mm256_setzero_ps(), squares = _mm256_setzero_ps();

#define BODY(LOAD, STORE) sum = _mm256_add_ps(sum, LOAD(x + i));
    VECTORS(n, BODY);
#undef BODY
    const __m256 mean = set8(sum8(sum) / (float)n);
#define BODY(LOAD, STORE)                                                                          \
    {                                                                                              \
        __m256 d = KEEP(_mm256_sub_ps(LOAD(x + i), mean), _mm256_setzero_ps());                    \
        squares = _mm256_fmadd_ps(d, d, squares);                                                  \
    }
    VECTORS(n, BODY);
#undef BODY
    const __m256 inverse = set8(1.0f / sqrtf(sum8(squares) / (float)n + epsilon));
#define BODY(LOAD, STORE)                                                                          \
    {                                                                                              \
        __m256 v = _mm256_mul_ps(_mm256_sub_ps(LOAD(x + i), mean), inverse);                       \
        if (gamma != NULL)                                                                         \
            v = _mm256_mul_ps(v, LOAD(gamma + i));                                                 \
        if (beta != NULL)                                                                          \
            v = _mm256_add_ps(v, LOAD(beta + i));                                                  \
        STORE(y + i, v);                                                                           \
    }
    VECTORS(n, BODY);
#undef BODY
}

static float sum_squares(const float *x, size_t n)
{
    __m256 squares = _mm256_setzero_ps();

#define BODY(LOAD, STORE)                                                                          \
    {                                                                                              \
        __m256 v = LOAD(x + i);                                                                    \
        squares = _mm256_fmadd_ps(v, v, squares);                                                  \
    }
    VECTORS(n, BODY);
#undef BODY
    return sum8(squares);
}

static void rms_norm(const float *x, float *y, size_t n, const float *gamma, float epsilon)
{
    const __m256 inverse = set8(1.0f / sqrtf(sum_squares(x, n) / (float)n + epsilon));

#define BODY(LOAD, STORE)                                                                          \
    {                                                                                              \
        __m256 v = _mm256_mul_ps(LOAD(x + i), inverse);                                            \
        if (gamma != NULL)                                                                         \
            v = _mm256_mul_ps(v, LOAD(gamma + i));                                                 \
        STORE(y + i, v);                                                                           \
    }
    VECTORS(n, BODY);
#undef BODY
}

static void l2_normalize(const float *x, float *y, size_t n, float epsilon)
{
    const float root = sqrtf(sum_squares(x, n));
    const __m256 inverse = set8(1.0f / (root <= epsilon ? epsilon : root)); /* NaN stays */

#define BODY(LOAD, STORE) STORE(y + i, _mm256_mul_ps(LOAD(x + i), inverse));
    VECTORS(n, BODY);
#undef BODY
}

static void add(const float *a, const float *b, float *y, size_t n)
{
#define BODY(LOAD, STORE) STORE(y + i, _mm256_add_ps(LOAD(a + i), LOAD(b + i)));
    VECTORS(n, BODY);
#undef BODY
}

static void max_into(float *y, const float *x, size_t n)
{
#define BODY(LOAD, STORE)                                                                          \
    {                                                                                              \
        __m256 v = LOAD(x + i), w = LOAD(y + i);                                                   \
        /* max gives w when either is NaN; a NaN of v is put back */                               \
        STORE(y + i, _mm256_blendv_ps(_mm256_max_ps(v, w), v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q))); \
    }
    VECTORS(n, BODY);
#undef BODY
}

static void activate(const float *x, float *y, size_t n, const struct enso_activation_args *a)
{
    activate_row(x, y, n, a);
}

void enso_rows_add_avx2(struct enso_kernels *kernels)
{
    kernels->activate = activate;
    kernels->exp = exp_row;
    kernels->erf = erf_row;
    kernels->softmax = softmax;
    kernels->log_softmax = log_softmax;
    kernels->layer_norm = layer_norm;
    kernels->rms_norm = rms_norm;
    kernels->l2_normalize = l2_normalize;
    kernels->add = add;
    kernels->max_into = max_into;
}
