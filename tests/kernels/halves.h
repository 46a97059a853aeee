/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators in F16 and BF16 on a device that computes in them, against references in double over
 * inputs that are halves. The processor's backend has none: rig_main_of_halves.
 *
 * Tolerance: a kernel computes in F32 and rounds once, so a result may differ from the exact one by
 * half a unit of the type (2^-8 of its size for BF16, 2^-11 for F16, 2^-25 where F16 is subnormal)
 * and by what the same kernel in F32 is allowed (check_elementwise.c, check_network.c). What is
 * computed exactly must be the exact result, rounded: half_exact. The reference's conversions are
 * its own, by arithmetic instead of by bits.
 */
#ifndef ENSO_TESTS_KERNELS_HALVES_H
#define ENSO_TESTS_KERNELS_HALVES_H

#include "tests/kernels/rig.h"

/* F16, BF16: tests are loops over the two. */
extern const enum enso_dtype half_types[2];
/* A T4 computes no BF16. */
bool half_passed_over(enum enso_dtype dtype);
/* A rig of one thread. */
void half_begin(struct rig *r);

int half_bits(enum enso_dtype dtype); /* of the significand, the hidden one included */
int half_least_exponent(enum enso_dtype dtype);
/* The nearest number of the type, ties to even. */
double half_rounded(enum enso_dtype dtype, double v);
uint16_t half_from(enum enso_dtype dtype, double v);
double half_value(enum enso_dtype dtype, uint16_t h);

/* n halves of about [-1, 1) · scale + shift, and what they are. */
struct half_numbers {
    uint16_t *half;
    double *value;
};
struct half_numbers half_numbers_new(enum enso_dtype dtype, size_t n, unsigned seed, double scale,
                                     double shift);
void half_numbers_free(struct half_numbers x);

/* got is one rounding away from a number within absolute + relative · |want| of want. */
void half_near(const char *what, enum enso_dtype dtype, const void *got, const double *want,
               size_t n, double absolute, double relative);
/* got is want, rounded. */
void half_exact(const char *what, enum enso_dtype dtype, const void *got, const double *want,
                size_t n);

#endif
