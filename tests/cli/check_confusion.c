/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/confusion.h against figures worked out by hand, and its identities on random
 * matrices. check_eval.py computes them once more from the matrix that `enso eval --json` prints.
 */
#include "cli/confusion.h"

#include <stdlib.h>

#include "tests/support/support.h"

#define MOST 40

/* rows truth, columns answer */
static void fill(struct enso_confusion *c, size_t n, const uint32_t *counts)
{
    struct enso_error err = {0};

    ENSO_TEST_OK(enso_confusion_init(c, n, &err), &err);
    for (size_t i = 0; i < n * n; i++) {
        for (uint32_t k = 0; k < counts[i]; k++)
            enso_confusion_add(c, i / n, i % n);
    }
}

START_TEST(test_confusion_by_hand)
{
    /* a cat is a dog once, a dog never errs but for one bird; nobody says "bird" rightly */
    static const uint32_t counts[] = {3, 1, 0, 0, 4, 1, 2, 0, 0};
    struct enso_confusion c;
    struct enso_class_figures k[3];
    struct enso_confusion_figures f;

    fill(&c, 3, counts);
    enso_confusion_figures(&c, k, &f);
    ck_assert_uint_eq(f.total, 11);
    ck_assert_uint_eq(f.correct, 7);
    ck_assert_double_eq_tol(f.accuracy, 7.0 / 11, 1e-12);
    ck_assert_uint_eq(k[0].support, 4);
    ck_assert_uint_eq(k[0].predicted, 5);
    ck_assert_uint_eq(k[0].correct, 3);
    ck_assert_double_eq_tol(k[0].precision, 0.6, 1e-12);
    ck_assert_double_eq_tol(k[0].recall, 0.75, 1e-12);
    ck_assert_double_eq_tol(k[0].f1, 2 * 0.6 * 0.75 / 1.35, 1e-12);
    ck_assert_double_eq_tol(k[1].precision, 0.8, 1e-12);
    ck_assert_double_eq_tol(k[1].recall, 0.8, 1e-12);
    ck_assert_uint_eq(k[2].support, 2);
    ck_assert_uint_eq(k[2].predicted, 1);
    ck_assert_double_eq(k[2].precision, 0);
    ck_assert_double_eq(k[2].recall, 0);
    ck_assert_double_eq(k[2].f1, 0);
    ck_assert_double_eq_tol(f.precision, 1.4 / 3, 1e-12);
    ck_assert_double_eq_tol(f.recall, 1.55 / 3, 1e-12);
    ck_assert_double_eq_tol(f.f1, (2.0 / 3 + 0.8) / 3, 1e-12);
    enso_confusion_done(&c);
}
END_TEST

START_TEST(test_confusion_leaves_absent_classes_out_of_the_means)
{
    static const uint32_t counts[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0};
    struct enso_confusion c;
    struct enso_class_figures k[4];
    struct enso_confusion_figures f;

    fill(&c, 4, counts); /* class 1 never occurs; 3 only as an answer */
    enso_confusion_figures(&c, k, &f);
    ck_assert_double_eq_tol(f.precision, (1 + 1 + 0) / 3.0, 1e-12);
    ck_assert_double_eq_tol(f.recall, (1 + 0.5 + 0) / 3.0, 1e-12);
    enso_confusion_done(&c);
}
END_TEST

START_TEST(test_confusion_of_nothing)
{
    struct enso_confusion c;
    struct enso_class_figures k[2];
    struct enso_confusion_figures f;
    struct enso_confusion_pair pair;

    fill(&c, 2, (const uint32_t[4]){0});
    enso_confusion_figures(&c, k, &f);
    ck_assert_double_eq(f.accuracy, 0);
    ck_assert_double_eq(f.f1, 0);
    ck_assert_uint_eq(enso_confusion_worst(&c, &pair, 1), 0);
    enso_confusion_done(&c);
    enso_confusion_done(&c); /* twice is fine */
}
END_TEST

START_TEST(test_confusion_worst_pairs)
{
    static const uint32_t counts[] = {9, 2, 1, 5, 9, 2, 0, 7, 9};
    struct enso_confusion c;
    struct enso_confusion_pair p[10];

    fill(&c, 3, counts);
    ck_assert_uint_eq(enso_confusion_worst(&c, p, 10), 5);
    ck_assert_uint_eq(p[0].count, 7);
    ck_assert_uint_eq(p[0].truth, 2);
    ck_assert_uint_eq(p[0].answer, 1);
    ck_assert_uint_eq(p[1].count, 5);
    ck_assert_uint_eq(p[2].truth, 0); /* equal counts: the order of the matrix */
    ck_assert_uint_eq(p[2].answer, 1);
    ck_assert_uint_eq(p[3].truth, 1);
    ck_assert_uint_eq(p[4].count, 1);
    ck_assert_uint_eq(enso_confusion_worst(&c, p, 3), 3);
    ck_assert_uint_eq(p[2].count, 2);
    ck_assert_uint_eq(p[2].truth, 0);
    ck_assert_uint_eq(enso_confusion_worst(&c, p, 0), 0);
    enso_confusion_done(&c);
}
END_TEST

static int by_count(const void *a, const void *b)
{
    const struct enso_confusion_pair *x = a, *y = b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->truth != y->truth ? (x->truth > y->truth ? 1 : -1)
                                : (x->answer > y->answer) - (x->answer < y->answer);
}

START_TEST(test_confusion_worst_equals_sorting)
{
    uint64_t random = 7;

    for (int round = 0; round < 50; round++) {
        size_t n = 1 + enso_test_random(&random) % MOST, m = 0;
        struct enso_confusion c;
        struct enso_confusion_pair all[MOST * MOST], worst[10];

        fill(&c, n, (const uint32_t[MOST * MOST]){0});
        for (int i = 0; i < 500; i++)
            enso_confusion_add(&c, enso_test_random(&random) % n, enso_test_random(&random) % n);
        for (size_t i = 0; i < n * n; i++) {
            if (i / n != i % n && c.counts[i] != 0)
                all[m++] = (struct enso_confusion_pair){i / n, i % n, c.counts[i]};
        }
        qsort(all, m, sizeof *all, by_count);
        ck_assert_uint_eq(enso_confusion_worst(&c, worst, 10), ENSO_MIN(m, (size_t)10));
        for (size_t i = 0; i < m && i < 10; i++)
            ck_assert_int_eq(by_count(&all[i], &worst[i]), 0);
        enso_confusion_done(&c);
    }
}
END_TEST

static enum enso_status make(void *context, struct enso_error *err)
{
    struct enso_confusion c;
    enum enso_status st = enso_confusion_init(&c, 10, err);

    (void)context;
    enso_confusion_done(&c);
    return st;
}

START_TEST(test_confusion_out_of_memory)
{
    struct enso_confusion c;
    struct enso_error err = {0};

    enso_test_oom_sweep(make, NULL);
    ck_assert_int_eq(enso_confusion_init(&c, SIZE_MAX / 2, &err), ENSO_NO_MEMORY);
    enso_confusion_done(&c);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/confusion");
    TCase *core = tcase_create("core"), *oom = tcase_create("oom");

    tcase_add_test(core, test_confusion_by_hand);
    tcase_add_test(core, test_confusion_leaves_absent_classes_out_of_the_means);
    tcase_add_test(core, test_confusion_of_nothing);
    tcase_add_test(core, test_confusion_worst_pairs);
    tcase_add_test(core, test_confusion_worst_equals_sorting);
    tcase_add_test(oom, test_confusion_out_of_memory);
    suite_add_tcase(s, core);
    suite_add_tcase(s, oom);
    return s;
}
ENSO_TEST_MAIN(suite)
