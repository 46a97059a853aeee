/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop's cover: timers, wake-ups, signals, and handles destroyed in their own callbacks.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/loop.h"

struct state {
    struct enso_loop *loop;
    struct enso_timer *timer;
    struct enso_wakeup *wakeup;
    int n;
};

static void count_and_stop(void *user)
{
    struct state *s = user;

    if (++s->n == 3)
        enso_loop_stop(s->loop);
}

static void destroy_own_timer(void *user)
{
    struct state *s = user;

    s->n++;
    enso_timer_destroy(s->timer);
    s->timer = NULL;
}

START_TEST(test_loop_timers)
{
    struct state s = {.loop = enso_loop_create(NULL)};
    struct enso_timer *never = enso_timer_create(s.loop, count_and_stop, &s, NULL);
    uint64_t start_ns = enso_clock_now_ns();

    s.timer = enso_timer_create(s.loop, count_and_stop, &s, NULL);
    ck_assert(!enso_timer_is_running(s.timer));
    enso_timer_start(never, 10, 10);
    enso_timer_start(s.timer, 10, 5);
    ck_assert(enso_timer_is_running(s.timer));
    enso_timer_stop(never);
    enso_loop_run(s.loop);
    ck_assert_int_eq(s.n, 3);
    ck_assert_uint_ge(enso_clock_now_ns() - start_ns, 17 * ENSO_NS_PER_MS);
    ck_assert_uint_le(enso_loop_now_ns(s.loop), enso_clock_now_ns());
    ck_assert_uint_ge(enso_loop_now_ns(s.loop), start_ns - ENSO_NS_PER_MS);
    enso_timer_destroy(s.timer);
    enso_timer_destroy(never);
    enso_timer_destroy(NULL);
    enso_loop_destroy(s.loop);
}
END_TEST

START_TEST(test_loop_timer_destroys_itself)
{
    struct state s = {.loop = enso_loop_create(NULL)};

    s.timer = enso_timer_create(s.loop, destroy_own_timer, &s, NULL);
    enso_timer_start(s.timer, 1, 1);
    while (enso_loop_run_once(s.loop))
        ;
    ck_assert_int_eq(s.n, 1);
    enso_loop_destroy(s.loop);
}
END_TEST

static void *ring(void *user)
{
    struct state *s = user;

    for (int i = 0; i < 1000; i++)
        enso_wakeup_send(s->wakeup);
    return NULL;
}

static void count(void *user)
{
    struct state *s = user;

    s->n++;
}

START_TEST(test_loop_wakeup_from_a_thread)
{
    struct state s = {.loop = enso_loop_create(NULL)};
    pthread_t thread;

    s.wakeup = enso_wakeup_create(s.loop, count, &s, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, ring, &s), 0);
    pthread_join(thread, NULL);
    while (s.n == 0)
        (void)enso_loop_run_once(s.loop);
    ck_assert_int_ge(s.n, 1);
    ck_assert_int_le(s.n, 1000);
    enso_wakeup_destroy(s.wakeup);
    enso_loop_destroy(s.loop);
}
END_TEST

START_TEST(test_loop_signals)
{
    struct state s = {.loop = enso_loop_create(NULL)};
    struct enso_signal *watch = enso_signal_create(s.loop, SIGUSR1, count, &s, NULL);
    struct enso_error err = {0};

    ck_assert_int_eq(raise(SIGUSR1), 0);
    while (s.n == 0)
        (void)enso_loop_run_once(s.loop);
    ck_assert_int_eq(s.n, 1);
    ck_assert_ptr_null(enso_signal_create(s.loop, 9999, count, &s, &err));
    ck_assert_int_eq(err.status, ENSO_IO);
    enso_signal_destroy(watch);
    enso_loop_destroy(s.loop);
}
END_TEST

START_TEST(test_loop_out_of_memory)
{
    struct enso_loop *loop;
    struct enso_error err = {0};

    (void)enso_memory_fail_at(1);
    ck_assert_ptr_null(enso_loop_create(&err));
    (void)enso_memory_fail_at(0);
    ck_assert_int_eq(err.status, ENSO_NO_MEMORY);
    loop = enso_loop_create(NULL);
    (void)enso_memory_fail_at(1);
    ck_assert_ptr_null(enso_timer_create(loop, count, NULL, NULL));
    ck_assert_ptr_null(enso_wakeup_create(loop, count, NULL, NULL));
    ck_assert_ptr_null(enso_signal_create(loop, SIGUSR1, count, NULL, NULL));
    (void)enso_memory_fail_at(0);
    enso_loop_destroy(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server/loop");
    TCase *core = tcase_create("core"), *oom = tcase_create("oom"),
          *threads = tcase_create("threads");
    SRunner *runner;
    int n_failed;

    tcase_add_test(core, test_loop_timers);
    tcase_add_test(core, test_loop_timer_destroys_itself);
    tcase_add_test(core, test_loop_signals);
    tcase_add_test(oom, test_loop_out_of_memory);
    tcase_add_test(threads, test_loop_wakeup_from_a_thread);
    suite_add_tcase(suite, core);
    suite_add_tcase(suite, oom);
    suite_add_tcase(suite, threads);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
