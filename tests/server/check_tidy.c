/* SPDX-License-Identifier: Apache-2.0
 *
 * server/tidy: when memory is given back, and that an idle loop sleeps.
 */
#include "server/tidy.h"

#include <check.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/budget.h"
#include "server/loop.h"

#define MIB ((size_t)1 << 20)

static struct enso_loop *loop;
static struct enso_budget *budget;
static struct enso_tidy *tidy;

static void setup(void)
{
    loop = enso_loop_create(NULL);
    budget = enso_budget_create(0);
    ck_assert(loop != NULL && budget != NULL);
    ck_assert_int_eq(enso_tidy_create(loop, budget, &tidy, NULL), ENSO_OK);
}

static void teardown(void)
{
    enso_tidy_destroy(tidy);
    enso_budget_destroy(budget);
    enso_loop_destroy(loop);
}

START_TEST(test_tidy_small_requests_wake_nobody)
{
    for (int i = 0; i < 100000; i++)
        enso_tidy_request(tidy, 4096);
    enso_tidy_connections(tidy, 32);
    enso_tidy_connections(tidy, 0);
    ck_assert(!enso_loop_poll(loop)); /* no timer: the loop has nothing to live for */
}
END_TEST

START_TEST(test_tidy_gives_back_once_it_is_quiet)
{
    uint64_t begin = enso_clock_now_ns();

    enso_tidy_request(tidy, 5 * MIB);
    ck_assert(!enso_loop_poll(loop));
    enso_tidy_request(tidy, 5 * MIB);
    ck_assert(enso_loop_poll(loop));
    enso_loop_run(loop);
    ck_assert_uint_eq(enso_tidy_n_trims(tidy), 1);
    ck_assert_uint_ge(enso_clock_now_ns() - begin, ENSO_NS_PER_S);
    ck_assert(!enso_loop_poll(loop)); /* once, then never */
}
END_TEST

START_TEST(test_tidy_waits_while_large_requests_are_on_their_way)
{
    uint64_t begin = enso_clock_now_ns();

    enso_budget_charge(budget, 100 * MIB);
    enso_tidy_request(tidy, 64 * MIB);
    while (enso_clock_now_ns() - begin < 5 * ENSO_NS_PER_S / 2)
        ck_assert(enso_loop_run_once(loop));
    ck_assert_uint_eq(enso_tidy_n_trims(tidy), 0);
    enso_budget_give(budget, 100 * MIB);
    enso_loop_run(loop);
    ck_assert_uint_eq(enso_tidy_n_trims(tidy), 1);
}
END_TEST

START_TEST(test_tidy_counts_connections)
{
    enso_tidy_connections(tidy, 1000);
    enso_tidy_connections(tidy, 900);
    ck_assert(!enso_loop_poll(loop));
    enso_tidy_connections(tidy, 3);
    enso_loop_run(loop);
    ck_assert_uint_eq(enso_tidy_n_trims(tidy), 1);
}
END_TEST

START_TEST(test_tidy_oom)
{
    struct enso_error err = {0};
    struct enso_tidy *t;
    int st = ENSO_NO_MEMORY;

    for (uint64_t n = 1; st != ENSO_OK; n++) {
        enso_memory_fail_at(n);
        st = enso_tidy_create(loop, budget, &t, &err);
        enso_memory_fail_at(0);
        ck_assert(st == ENSO_OK || st == ENSO_NO_MEMORY);
    }
    enso_tidy_destroy(t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("server/tidy");
    TCase *core = tcase_create("core"), *oom = tcase_create("oom");
    SRunner *r;
    int failed;

    tcase_set_timeout(core, 60);
    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_checked_fixture(oom, setup, teardown);
    tcase_add_test(core, test_tidy_small_requests_wake_nobody);
    tcase_add_test(core, test_tidy_gives_back_once_it_is_quiet);
    tcase_add_test(core, test_tidy_waits_while_large_requests_are_on_their_way);
    tcase_add_test(core, test_tidy_counts_connections);
    tcase_add_test(oom, test_tidy_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, oom);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? 0 : 1;
}
