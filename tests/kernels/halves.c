/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of F16 and BF16: see halves.h.
 */
#include "ensod_build.h"

#include "tests/kernels/halves.h"

#include <math.h>
#include <stdlib.h>

const enum enso_dtype half_types[] = {ENSO_DTYPE_F16, ENSO_DTYPE_BF16};

bool half_passed_over(enum enso_dtype dtype)
{
    return !rig_computes(ENSO_OP_RELU, dtype);
}

int half_bits(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 ? 11 : 8;
}

int half_least_exponent(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 ? -14 : -126;
}

double half_rounded(enum enso_dtype dtype, double v)
{
    if (v == 0 || !isfinite(v))
        return v;
    int exponent = ilogb(v) < half_least_exponent(dtype) ? half_least_exponent(dtype) : ilogb(v);
    double unit = ldexp(1, exponent - half_bits(dtype) + 1), y = nearbyint(v / unit) * unit;
    double most = dtype == ENSO_DTYPE_F16 ? 65504 : ldexp(255, 120);

    return fabs(y) > most ? copysign((double)INFINITY, v) : y;
}

uint16_t half_from(enum enso_dtype dtype, double v)
{
    int fraction = half_bits(dtype) - 1, bias = 1 - half_least_exponent(dtype);
    unsigned all = (1u << (15 - fraction)) - 1, sign = signbit(v) ? 0x8000 : 0;

    v = fabs(half_rounded(dtype, v));
    if (isnan(v))
        return (uint16_t)(all << fraction | 1u << (fraction - 1));
    if (isinf(v))
        return (uint16_t)(sign | all << fraction);
    if (v < ldexp(1, half_least_exponent(dtype)))
        return (uint16_t)(sign | (unsigned)ldexp(v, fraction - half_least_exponent(dtype)));
    int exponent = ilogb(v);

    return (uint16_t)(sign | (unsigned)(exponent + bias) << fraction |
                      ((unsigned)ldexp(v, fraction - exponent) & ((1u << fraction) - 1)));
}

double half_value(enum enso_dtype dtype, uint16_t h)
{
    int fraction = half_bits(dtype) - 1, bias = 1 - half_least_exponent(dtype);
    unsigned all = (1u << (15 - fraction)) - 1, exponent = h >> fraction & all;
    double part = h & ((1u << fraction) - 1), v;

    if (exponent == all)
        v = part != 0 ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        v = ldexp(part, half_least_exponent(dtype) - fraction);
    else
        v = ldexp(part + ldexp(1, fraction), (int)exponent - bias - fraction);
    return (h & 0x8000) != 0 ? -v : v;
}

struct half_numbers half_numbers_new(enum enso_dtype dtype, size_t n, unsigned seed, double scale,
                                     double shift)
{
    float *x = rig_random_new(n, seed);
    struct half_numbers y = {malloc(n * 2 + 2), malloc(n * 8 + 8)};

    ck_assert_ptr_nonnull(y.half);
    ck_assert_ptr_nonnull(y.value);
    for (size_t i = 0; i < n; i++) {
        y.half[i] = half_from(dtype, (double)x[i] * scale + shift);
        y.value[i] = half_value(dtype, y.half[i]);
    }
    free(x);
    return y;
}

void half_numbers_free(struct half_numbers x)
{
    free(x.half);
    free(x.value);
}

void half_near(const char *what, enum enso_dtype dtype, const void *got, const double *want,
               size_t n, double absolute, double relative)
{
    double unit = ldexp(1, -half_bits(dtype)), least = ldexp(unit, half_least_exponent(dtype));

    for (size_t i = 0; i < n; i++) {
        double g = half_value(dtype, ((const uint16_t *)got)[i]), w = want[i];
        double error = absolute + relative * fabs(w);

        if ((isnan(g) && isnan(w)) || g == w || g == half_rounded(dtype, w) ||
            fabs(g - w) <= error + unit * (fabs(w) + error) + least)
            continue;
        ck_abort_msg("%s of %s: element %zu of %zu is %.9g, should be %.9g (%.9g)", what,
                     enso_dtype_name(dtype), i, n, g, half_rounded(dtype, w), w);
    }
}

void half_exact(const char *what, enum enso_dtype dtype, const void *got, const double *want,
                size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = half_value(dtype, ((const uint16_t *)got)[i]), w = half_rounded(dtype, want[i]);

        ck_assert_msg((isnan(g) && isnan(w)) || (g == w && signbit(g) == signbit(w)),
                      "%s of %s: element %zu of %zu is %.9g, should be %.9g", what,
                      enso_dtype_name(dtype), i, n, g, w);
    }
}

void half_begin(struct rig *r)
{
    rig_init(r, rig_sets()[0], 1);
}
