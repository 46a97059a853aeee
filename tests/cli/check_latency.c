/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/latency.h against sorted samples: nearest-rank percentiles within the promised 0.2
 * percent, never below the true one.
 */
#include "cli/latency.h"

#include <stdlib.h>

#include "base/memory.h"
#include "tests/support/support.h"

static void record_all(struct enso_latency *l, const uint64_t *ns, size_t n)
{
    ENSO_TEST_OK(enso_latency_init(l, NULL), NULL);
    for (size_t i = 0; i < n; i++)
        enso_latency_record(l, ns[i]);
}

START_TEST(test_latency_small_values_are_exact)
{
    static const uint64_t ns[] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100};
    struct enso_latency l;

    record_all(&l, ns, ENSO_ARRAY_SIZE(ns));
    ck_assert_uint_eq(enso_latency_percentile(&l, 0), 10);
    ck_assert_uint_eq(enso_latency_percentile(&l, 100), 10); /* 10 % of 10 are 1 */
    ck_assert_uint_eq(enso_latency_percentile(&l, 101), 20);
    ck_assert_uint_eq(enso_latency_percentile(&l, 500), 50);
    ck_assert_uint_eq(enso_latency_percentile(&l, 900), 90);
    ck_assert_uint_eq(enso_latency_percentile(&l, 950), 100);
    ck_assert_uint_eq(enso_latency_percentile(&l, 999), 100);
    ck_assert_uint_eq(enso_latency_percentile(&l, 1000), 100);
    ck_assert_double_eq(enso_latency_mean_ns(&l), 55);
    ck_assert_uint_eq(l.min_ns, 10);
    ck_assert_uint_eq(l.max_ns, 100);
    enso_latency_done(&l);
}
END_TEST

/* 99.9 % of 1000 samples are 999, not 1000 by a rounding error; of 1001 they are 1000. */
START_TEST(test_latency_ranks_are_exact)
{
    struct enso_latency l;

    ENSO_TEST_OK(enso_latency_init(&l, NULL), NULL);
    for (uint64_t i = 1; i <= 1000; i++)
        enso_latency_record(&l, i);
    ck_assert_uint_eq(enso_latency_percentile(&l, 999), 999);
    ck_assert_uint_eq(enso_latency_percentile(&l, 500), 500);
    enso_latency_record(&l, 1001);
    ck_assert_uint_eq(enso_latency_percentile(&l, 999), 1000);
    enso_latency_done(&l);
}
END_TEST

START_TEST(test_latency_empty)
{
    struct enso_latency l;
    uint64_t bounds[ENSO_LATENCY_BOUNDS];

    ENSO_TEST_OK(enso_latency_init(&l, NULL), NULL);
    ck_assert_uint_eq(enso_latency_percentile(&l, 500), 0);
    ck_assert_double_eq(enso_latency_mean_ns(&l), 0);
    ck_assert_uint_eq(enso_latency_bounds(&l, bounds), 0);
    enso_latency_done(&l);
}
END_TEST

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

START_TEST(test_latency_percentiles_are_close)
{
    enum { N = 20011 };
    static const unsigned asked[] = {1, 10, 250, 500, 900, 950, 990, 999, 1000};
    uint64_t *ns = malloc(N * sizeof *ns), random = 7;
    struct enso_latency l;

    ck_assert_ptr_nonnull(ns);
    for (size_t i = 0; i < N; i++) /* 1 ns to 2^40 ns, every size as often as another */
        ns[i] = (enso_test_random(&random) & ((UINT64_C(1) << 40) - 1)) >>
                (enso_test_random(&random) % 40);
    record_all(&l, ns, N);
    qsort(ns, N, sizeof *ns, compare);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(asked); i++) {
        uint64_t truth = ns[(N * (uint64_t)asked[i] + 999) / 1000 - 1];
        uint64_t given = enso_latency_percentile(&l, asked[i]);

        ck_assert_uint_ge(given, truth);
        ck_assert_uint_le(given - truth, truth / 500 + 1);
    }
    ck_assert_uint_eq(enso_latency_percentile(&l, 1000), ns[N - 1]);
    enso_latency_done(&l);
    free(ns);
}
END_TEST

START_TEST(test_latency_huge_values_are_capped)
{
    static const uint64_t ns[] = {5, ENSO_LATENCY_MAX_NS, UINT64_MAX};
    uint64_t bounds[ENSO_LATENCY_BOUNDS];
    struct enso_latency l;
    size_t n;

    record_all(&l, ns, ENSO_ARRAY_SIZE(ns));
    ck_assert_uint_eq(l.max_ns, ENSO_LATENCY_MAX_NS);
    ck_assert_uint_eq(enso_latency_percentile(&l, 1000), ENSO_LATENCY_MAX_NS);
    n = enso_latency_bounds(&l, bounds);
    ck_assert_uint_ge(n, 2);
    ck_assert_uint_le(n, ENSO_LATENCY_BOUNDS);
    enso_latency_done(&l);
}
END_TEST

/* Rows of the histogram hold every sample once. */
START_TEST(test_latency_rows_cover_all)
{
    uint64_t bounds[ENSO_LATENCY_BOUNDS], random = 3;

    for (int round = 0; round < 200; round++) {
        struct enso_latency l;
        uint64_t sum = 0;
        size_t n;

        ENSO_TEST_OK(enso_latency_init(&l, NULL), NULL);
        for (int i = 0; i <= round; i++)
            enso_latency_record(&l, 1 + (enso_test_random(&random) >> (22 + round % 40)));
        n = enso_latency_bounds(&l, bounds);
        ck_assert_uint_ge(n, 2);
        ck_assert_uint_lt(bounds[0], l.min_ns);
        ck_assert_uint_ge(bounds[n - 1], l.max_ns);
        for (size_t i = 0; i + 1 < n; i++) {
            ck_assert_uint_lt(bounds[i], bounds[i + 1]);
            sum += enso_latency_count(&l, bounds[i], bounds[i + 1]);
        }
        ck_assert_uint_eq(sum, l.n);
        enso_latency_done(&l);
    }
}
END_TEST

START_TEST(test_latency_clear)
{
    static const uint64_t ns[] = {5, 6};
    struct enso_latency l;

    record_all(&l, ns, ENSO_ARRAY_SIZE(ns));
    enso_latency_clear(&l);
    ck_assert_uint_eq(enso_latency_percentile(&l, 1000), 0);
    enso_latency_record(&l, 9);
    ck_assert_uint_eq(enso_latency_percentile(&l, 1), 9);
    ck_assert_uint_eq(l.min_ns, 9);
    enso_latency_done(&l);
}
END_TEST

START_TEST(test_latency_out_of_memory)
{
    struct enso_error err = {0};
    struct enso_latency l;

    (void)enso_memory_fail_at(1);
    ck_assert_int_eq(enso_latency_init(&l, &err), ENSO_NO_MEMORY);
    (void)enso_memory_fail_at(0);
    ck_assert_str_ne(err.message, "");
    enso_latency_done(&l);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/latency");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *oom = tcase_create("oom");

    tcase_add_test(core, test_latency_small_values_are_exact);
    tcase_add_test(core, test_latency_ranks_are_exact);
    tcase_add_test(core, test_latency_percentiles_are_close);
    tcase_add_test(core, test_latency_rows_cover_all);
    tcase_add_test(core, test_latency_clear);
    tcase_add_test(limits, test_latency_empty);
    tcase_add_test(limits, test_latency_huge_values_are_capped);
    tcase_add_test(oom, test_latency_out_of_memory);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, oom);
    return s;
}
ENSO_TEST_MAIN(suite)
