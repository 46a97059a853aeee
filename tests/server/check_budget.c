/* SPDX-License-Identifier: Apache-2.0
 *
 * The budget of memory for requests.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "server/budget.h"

START_TEST(test_budget_takes_up_to_its_limit)
{
    struct enso_budget *b = enso_budget_create(100);

    ck_assert(enso_budget_take(b, 60));
    ck_assert(enso_budget_take(b, 40));
    ck_assert(!enso_budget_take(b, 1));
    ck_assert(!enso_budget_take(b, SIZE_MAX));
    ck_assert_uint_eq(enso_budget_used(b), 100);
    ck_assert_uint_eq(enso_budget_refused(b), 2);
    enso_budget_charge(b, 50); /* whatever the limit says */
    ck_assert_uint_eq(enso_budget_used(b), 150);
    ck_assert(!enso_budget_take(b, 1));
    enso_budget_give(b, 150);
    ck_assert(enso_budget_take(b, 100));
    enso_budget_give(b, 100);
    ck_assert_uint_eq(enso_budget_limit(b), 100);
    enso_budget_destroy(b);
}
END_TEST

START_TEST(test_budget_without_limit_counts)
{
    struct enso_budget *b = enso_budget_create(0);

    ck_assert(enso_budget_take(b, (size_t)1 << 50));
    ck_assert_uint_eq(enso_budget_used(b), (size_t)1 << 50);
    enso_budget_give(b, (size_t)1 << 50);
    enso_budget_destroy(b);
    ck_assert(enso_budget_take(NULL, 5)); /* no budget at all */
    enso_budget_give(NULL, 5);
    ck_assert_uint_eq(enso_budget_used(NULL), 0);
}
END_TEST

START_TEST(test_budget_out_of_memory)
{
    (void)enso_memory_fail_at(1);
    ck_assert_ptr_null(enso_budget_create(5));
    (void)enso_memory_fail_at(0);
}
END_TEST

static void *take_and_give(void *user)
{
    struct enso_budget *b = user;
    uintptr_t n_taken = 0;

    for (int i = 0; i < 20000; i++) {
        if (enso_budget_take(b, 7)) {
            n_taken++;
            enso_budget_give(b, 7);
        }
    }
    return (void *)n_taken;
}

START_TEST(test_budget_is_exact_under_threads)
{
    struct enso_budget *b = enso_budget_create(14);
    pthread_t threads[4];
    uint64_t n_taken = 0;

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, b), 0);
    for (int i = 0; i < 4; i++) {
        void *n;

        pthread_join(threads[i], &n);
        n_taken += (uintptr_t)n;
    }
    ck_assert_uint_eq(enso_budget_used(b), 0);
    ck_assert_uint_eq(n_taken + enso_budget_refused(b), 4 * 20000);
    enso_budget_destroy(b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server/budget");
    TCase *core = tcase_create("core"), *oom = tcase_create("oom"),
          *threads = tcase_create("threads");
    SRunner *runner;
    int n_failed;

    tcase_add_test(core, test_budget_takes_up_to_its_limit);
    tcase_add_test(core, test_budget_without_limit_counts);
    tcase_add_test(oom, test_budget_out_of_memory);
    tcase_add_test(threads, test_budget_is_exact_under_threads);
    suite_add_tcase(suite, core);
    suite_add_tcase(suite, oom);
    suite_add_tcase(suite, threads);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
