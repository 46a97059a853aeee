/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread team: every item once, results visible to the caller, many small runs in a row, sleep
 * and wake, no threads for a team of one.
 */
#include "ensod_build.h"

#include "kernels/cpu/team.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/support.h"

struct count {
    unsigned char *times;
    size_t grain;
    _Atomic unsigned threads_seen;
};

static void count_items(void *arg, size_t first, size_t last, unsigned thread)
{
    struct count *c = arg;

    for (size_t i = first; i < last; i++)
        c->times[i]++;
    atomic_fetch_or(&c->threads_seen, 1u << thread);
}

static struct enso_team *team_of(unsigned n)
{
    struct enso_team *team;
    struct enso_error err = {0};

    ck_assert_msg(enso_team_create(n, &team, &err) == ENSO_OK, "%s", err.message);
    ck_assert_uint_eq(enso_team_size(team), n);
    return team;
}

START_TEST(test_team_does_every_item_once)
{
    static const size_t counts[] = {0, 1, 2, 3, 63, 64, 65, 1000};
    static const size_t grains[] = {1, 2, 7, 64, 5000};

    for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
        struct enso_team *team = team_of(n_threads);

        for (size_t c = 0; c < ENSO_ARRAY_SIZE(counts); c++)
            for (size_t g = 0; g < ENSO_ARRAY_SIZE(grains); g++) {
                unsigned char times[1000] = {0};
                struct count count = {.times = times};

                enso_team_run(team, counts[c], grains[g], count_items, &count);
                for (size_t i = 0; i < sizeof(times); i++)
                    ck_assert_uint_eq(times[i], i < counts[c]);
                ck_assert_uint_lt(count.threads_seen, 1u << n_threads);
            }
        enso_team_destroy(team);
    }
}
END_TEST

/* The caller's plain writes before and reads after a run are ordered with the workers': thread
 * sanitizer looks on. */
START_TEST(test_team_many_runs_in_a_row)
{
    struct enso_team *team = team_of(3);
    unsigned char times[40];
    struct count count = {.times = times};

    for (int round = 0; round < 5000; round++) {
        memset(times, 0, sizeof(times));
        enso_team_run(team, sizeof(times), 3, count_items, &count);
        for (size_t i = 0; i < sizeof(times); i++)
            ck_assert_uint_eq(times[i], 1);
    }
    enso_team_destroy(team);
}
END_TEST

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void nap(void *arg, size_t first, size_t last, unsigned thread)
{
    (void)first;
    (void)last;
    atomic_fetch_or((_Atomic unsigned *)arg, 1u << thread);
    sleep_ms(20);
}

START_TEST(test_team_wakes_sleepers)
{
    struct enso_team *team = team_of(2);

    for (int round = 0; round < 5; round++) {
        _Atomic unsigned seen = 0;

        sleep_ms(5); /* far beyond the spinning time */
        enso_team_run(team, 8, 1, nap, &seen);
        ck_assert_uint_eq(seen, 3);
    }
    enso_team_destroy(team);
}
END_TEST

START_TEST(test_team_idle_costs_nothing)
{
    struct enso_team *team = team_of(4);
    struct timespec before, after;

    sleep_ms(20);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    sleep_ms(200);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec,
                     5000000);
    enso_team_destroy(team);
}
END_TEST

START_TEST(test_team_refuses_odd_sizes)
{
    struct enso_team *team = NULL;
    struct enso_error err = {0};

    ck_assert_int_eq(enso_team_create(0, &team, &err), ENSO_INVALID);
    ck_assert_int_eq(enso_team_create(ENSO_TEAM_MAX + 1, &team, NULL), ENSO_INVALID);
    ck_assert_ptr_null(team);
    enso_team_destroy(NULL);
    ck_assert_uint_eq(enso_team_size(NULL), 1);
    ck_assert_uint_ge(enso_team_default_size(), 1);
    ck_assert_uint_le(enso_team_default_size(), ENSO_TEAM_MAX);
}
END_TEST

START_TEST(test_team_null_runs_on_the_caller)
{
    unsigned char times[10] = {0};
    struct count count = {.times = times};

    enso_team_run(NULL, sizeof(times), 1, count_items, &count);
    ck_assert_uint_eq(times[9], 1);
    ck_assert_uint_eq(count.threads_seen, 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/team");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_team_does_every_item_once);
    tcase_add_test(core, test_team_null_runs_on_the_caller);
    suite_add_tcase(s, core);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, test_team_many_runs_in_a_row);
    tcase_add_test(threads, test_team_wakes_sleepers);
    tcase_add_test(threads, test_team_idle_costs_nothing);
    suite_add_tcase(s, threads);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_team_refuses_odd_sizes);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
