/* SPDX-License-Identifier: Apache-2.0
 *
 * batching/cost_curve: convergence to known lines and steps, noise, outliers, changes, budgets.
 */
#include "batching/cost_curve.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

static struct enso_cost_curve curve;
static uint32_t state = 7;

static double next_random(void) /* [0, 1) */
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) / 16777216.0;
}

static void expect_near(uint64_t units, double ns, double relative)
{
    double got = (double)enso_cost_curve_predict(&curve, units);

    ck_assert_msg(fabs(got - ns) <= relative * ns, "predict(%llu) = %.0f, expected %.0f",
                  (unsigned long long)units, got, ns);
}

START_TEST(test_cost_curve_knows_nothing_at_first)
{
    enso_cost_curve_init(&curve);
    ck_assert(!enso_cost_curve_known(&curve));
    ck_assert_uint_eq(enso_cost_curve_predict(&curve, 10), 0);
    ck_assert_uint_eq(enso_cost_curve_units_within(&curve, 10), UINT64_MAX);
    ck_assert_uint_eq(enso_cost_curve_budget(&curve), UINT64_MAX);
    enso_cost_curve_observe(&curve, 0, 10); /* nothing ran: nothing learned */
    ck_assert(!enso_cost_curve_known(&curve));
}
END_TEST

START_TEST(test_cost_curve_one_size_goes_on_in_proportion)
{
    enso_cost_curve_init(&curve);
    enso_cost_curve_observe(&curve, 100, 1000000);
    expect_near(100, 1e6, 1e-6);
    expect_near(50, 0.5e6, 1e-6);
    expect_near(400, 4e6, 1e-6);
    ck_assert_uint_eq(enso_cost_curve_units_within(&curve, 2000000), 200);
    ck_assert_uint_eq(enso_cost_curve_predict(&curve, 0), 0);
    ck_assert_uint_ge(enso_cost_curve_predict(&curve, 1), 1);
    /* the largest sizes there are do not overflow */
    ck_assert_uint_ge(enso_cost_curve_predict(&curve, UINT64_MAX), 1000000000);
    enso_cost_curve_observe(&curve, UINT64_MAX, UINT64_MAX);
    ck_assert_uint_ge(enso_cost_curve_predict(&curve, UINT64_MAX), 1000000000);
}
END_TEST

START_TEST(test_cost_curve_learns_a_line_from_noise)
{
    const double a = 2e6, b = 30e3;
    unsigned i;
    uint64_t units;

    enso_cost_curve_init(&curve);
    for (i = 0; i < 2000; i++) {
        double t;

        units = (uint64_t)exp2(next_random() * 11);
        t = (a + b * (double)units) * (0.9 + 0.2 * next_random());
        if (i % 17 == 0)
            t *= 20; /* preempted */
        enso_cost_curve_observe(&curve, units, (uint64_t)t);
    }
    for (units = 1; units <= 2048; units *= 2)
        expect_near(units, a + b * (double)units, 0.12);
    expect_near(8192, a + b * 8192, 0.3); /* never seen */
    for (units = 1; units < 4096; units++)
        ck_assert_uint_ge(enso_cost_curve_predict(&curve, units + 1),
                          enso_cost_curve_predict(&curve, units));
}
END_TEST

START_TEST(test_cost_curve_inverse)
{
    unsigned i;
    uint64_t ns;

    enso_cost_curve_init(&curve);
    for (i = 0; i < 12; i++)
        enso_cost_curve_observe(&curve, UINT64_C(1) << i, 1000000 + (UINT64_C(20000) << i));
    for (ns = 1020000; ns < 200000000; ns = ns * 5 / 4) {
        uint64_t units = enso_cost_curve_units_within(&curve, ns);

        ck_assert_uint_le(enso_cost_curve_predict(&curve, units), ns + 1);
        ck_assert_uint_ge(enso_cost_curve_predict(&curve, units + 1) + 1, ns);
    }
    ck_assert_uint_eq(enso_cost_curve_units_within(&curve, 1000), 0);
}
END_TEST

START_TEST(test_cost_curve_one_outlier_moves_little)
{
    unsigned i;

    enso_cost_curve_init(&curve);
    for (i = 0; i < 32; i++)
        enso_cost_curve_observe(&curve, 64, 1000000);
    enso_cost_curve_observe(&curve, 64, 5000000000u);
    enso_cost_curve_observe(&curve, 64, 5000000000u);
    expect_near(64, 1e6, 0.06);
}
END_TEST

START_TEST(test_cost_curve_cold_first_run_is_forgotten)
{
    unsigned i;

    enso_cost_curve_init(&curve);
    enso_cost_curve_observe(&curve, 64, 50000000); /* caches cold */
    for (i = 0; i < 4; i++)
        enso_cost_curve_observe(&curve, 64, 1000000);
    ck_assert_uint_le(enso_cost_curve_predict(&curve, 64), 2500000);
    for (i = 0; i < 30; i++)
        enso_cost_curve_observe(&curve, 64, 1000000);
    expect_near(64, 1e6, 0.15);
}
END_TEST

START_TEST(test_cost_curve_follows_a_machine_that_got_slower)
{
    unsigned i;

    enso_cost_curve_init(&curve);
    for (i = 0; i < 100; i++)
        enso_cost_curve_observe(&curve, 64, 1000000);
    for (i = 0; i < 40; i++)
        enso_cost_curve_observe(&curve, 64, 10000000);
    expect_near(64, 10e6, 0.15);
    for (i = 0; i < 60; i++)
        enso_cost_curve_observe(&curve, 64, 1000000);
    expect_near(64, 1e6, 0.1);
}
END_TEST

START_TEST(test_cost_curve_is_monotone_over_noise_between_buckets)
{
    unsigned i;
    uint64_t units;

    enso_cost_curve_init(&curve);
    for (i = 0; i < 8; i++) {
        enso_cost_curve_observe(&curve, 16, 3000000);
        enso_cost_curve_observe(&curve, 32, 2000000); /* faster than 16: cannot be */
        enso_cost_curve_observe(&curve, 64, 2500000);
        enso_cost_curve_observe(&curve, 256, 9000000);
    }
    for (units = 1; units < 300; units++)
        ck_assert_uint_ge(enso_cost_curve_predict(&curve, units + 1),
                          enso_cost_curve_predict(&curve, units));
    expect_near(16, 2.5e6, 0.1);
    expect_near(256, 9e6, 0.01);
}
END_TEST

START_TEST(test_cost_curve_budget)
{
    unsigned i;
    uint64_t units;

    enso_cost_curve_init(&curve);
    /* flat to 256 units (memory-bound), in proportion beyond: 256 is all that helps */
    for (i = 0; i < 8; i++)
        for (units = 1; units <= 2048; units *= 2)
            enso_cost_curve_observe(&curve, units, units <= 256 ? 1000000 : units * 3906);
    ck_assert_uint_eq(enso_cost_curve_budget(&curve), 256);

    /* still growing at the largest known: explore by doubling */
    enso_cost_curve_init(&curve);
    enso_cost_curve_observe(&curve, 8, 1000000);
    ck_assert_uint_eq(enso_cost_curve_budget(&curve), 16);
    enso_cost_curve_observe(&curve, 16, 1000000);
    ck_assert_uint_eq(enso_cost_curve_budget(&curve), 32);
    enso_cost_curve_observe(&curve, 32, 2000000);
    ck_assert_uint_eq(enso_cost_curve_budget(&curve), 16);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching/cost_curve");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");
    SRunner *runner;
    int failed;

    tcase_add_test(core, test_cost_curve_knows_nothing_at_first);
    tcase_add_test(core, test_cost_curve_one_size_goes_on_in_proportion);
    tcase_add_test(core, test_cost_curve_learns_a_line_from_noise);
    tcase_add_test(core, test_cost_curve_inverse);
    tcase_add_test(core, test_cost_curve_one_outlier_moves_little);
    tcase_add_test(core, test_cost_curve_cold_first_run_is_forgotten);
    tcase_add_test(core, test_cost_curve_follows_a_machine_that_got_slower);
    tcase_add_test(core, test_cost_curve_is_monotone_over_noise_between_buckets);
    tcase_add_test(limits, test_cost_curve_budget);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
