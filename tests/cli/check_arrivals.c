/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/arrivals.h: the pace is what was asked for, and random gaps are exponential.
 */
#include "cli/arrivals.h"

#include <math.h>

#include "tests/support/support.h"

START_TEST(test_arrivals_fixed_pace)
{
    struct enso_arrivals a;

    enso_arrivals_init(&a, 4, false, 1, 1000);
    for (uint64_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(enso_arrivals_next_ns(&a), 1000 + i * 250000000);
        enso_arrivals_advance(&a);
    }
}
END_TEST

START_TEST(test_arrivals_poisson_gaps_are_exponential)
{
    enum { N = 200000 };
    const double mean = 1e9 / 500;
    uint64_t last = 0, n_long = 0;
    struct enso_arrivals a;

    enso_arrivals_init(&a, 500, true, 42, 0);
    for (int i = 0; i < N; i++) {
        uint64_t at = enso_arrivals_next_ns(&a);

        ck_assert_uint_ge(at, last);
        n_long += (double)(at - last) > 2 * mean;
        last = at;
        enso_arrivals_advance(&a);
    }
    /* Standard errors: 0.22 % of the mean gap, 0.6 % of the share of e^-2. Five of them. */
    ck_assert_double_eq_tol((double)last / N, mean, mean * 0.011);
    ck_assert_double_eq_tol((double)n_long / N, exp(-2), exp(-2) * 0.03);
}
END_TEST

START_TEST(test_arrivals_seed_decides)
{
    struct enso_arrivals a, b, c;
    bool same = true;

    enso_arrivals_init(&a, 10, true, 1, 5);
    enso_arrivals_init(&b, 10, true, 1, 5);
    enso_arrivals_init(&c, 10, true, 2, 5);
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(enso_arrivals_next_ns(&a), enso_arrivals_next_ns(&b));
        same = same && enso_arrivals_next_ns(&a) == enso_arrivals_next_ns(&c);
        enso_arrivals_advance(&a);
        enso_arrivals_advance(&b);
        enso_arrivals_advance(&c);
    }
    ck_assert(!same);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/arrivals");
    TCase *core = tcase_create("core");

    tcase_add_test(core, test_arrivals_fixed_pace);
    tcase_add_test(core, test_arrivals_poisson_gaps_are_exponential);
    tcase_add_test(core, test_arrivals_seed_decides);
    suite_add_tcase(s, core);
    return s;
}
ENSO_TEST_MAIN(suite)
