/* SPDX-License-Identifier: Apache-2.0
 *
 * batching/targets: which of a model's copies a job goes to, on like and unlike devices, busy,
 * hanging, full and closed ones; by a fake clock.
 */
#include "tests/batching/fake.h"

#include <stdio.h>

#include "batching/targets.h"

#define MOST 3

/* A copy: a device of one lane, with a queue. */
static struct copy {
    struct enso_scheduler *scheduler;
    struct enso_queue *queue;
    struct fake_model model;
} copies[MOST];
static size_t n_copies;
static unsigned turn;

static unsigned n_refused;
static enum enso_status refused_with;

static void on_refused(void *user, const struct enso_job *job, enum enso_status status)
{
    (void)user;
    (void)job;
    n_refused++;
    refused_with = status;
}

static const struct enso_observer observer = {.refused = on_refused};

/* One more copy, which knows nothing yet: a run takes base_ms + unit_us x tokens. */
static struct copy *add_unknown(double base_ms, double unit_us,
                                const struct enso_queue_limits *limits)
{
    struct copy *c = &copies[n_copies++];

    ck_assert_int_eq(enso_scheduler_create(1, 1, &c->scheduler, NULL), ENSO_OK);
    c->model = (struct fake_model){.base_ns = (uint64_t)(base_ms * MS),
                                   .unit_ns = (uint64_t)(unit_us * 1000)};
    c->queue = fake_queue(NULL, &c->model, limits, &observer);
    enso_scheduler_add_queue(c->scheduler, c->queue);
    return c;
}

static void add(double base_ms, double unit_us, const struct enso_queue_limits *limits)
{
    struct copy *c = add_unknown(base_ms, unit_us, limits);

    fake_seed(c->queue, &c->model, 1 << 12);
}

static void setup(void)
{
    n_copies = 0;
    turn = 1; /* the first of ENSO_EXPLORE_EVERY is another test's */
    n_refused = 0;
    fake_now = S;
}

static void teardown(void)
{
    for (size_t i = 0; i < n_copies; i++) {
        enso_scheduler_remove_queue(copies[i].scheduler, copies[i].queue, fake_now);
        enso_queue_destroy(copies[i].queue);
        enso_scheduler_stop(copies[i].scheduler, NULL, fake_now);
        enso_scheduler_destroy(copies[i].scheduler);
    }
}

static void drain(void)
{
    for (size_t i = 0; i < n_copies; i++)
        while (step(copies[i].scheduler))
            ;
}

static int offer(struct fake_job *f, struct enso_error *err)
{
    struct enso_target targets[MOST];

    for (size_t i = 0; i < n_copies; i++)
        targets[i] = (struct enso_target){copies[i].scheduler, copies[i].queue, 0};
    return enso_targets_submit_quietly(targets, n_copies, turn++, f->job, fake_now, err);
}

/* Send a job of one text of so many tokens; gives the number of the copy it went to. */
static size_t goes_to(struct fake_job *f, uint32_t tokens)
{
    struct enso_error err = {0};
    size_t at = 0;

    fake_job(f, 1, tokens, 'x');
    ck_assert_msg(offer(f, &err) == ENSO_OK, "refused: %s", err.message);
    while (f->job->scheduler != copies[at].scheduler)
        at++;
    return at;
}

/* The same, and through at once: all are idle again. */
static size_t runs_at(uint32_t tokens)
{
    struct fake_job f;
    size_t at = goes_to(&f, tokens);

    ck_assert(step(copies[at].scheduler));
    ck_assert_int_eq(f.status, ENSO_OK);
    return at;
}

static const struct enso_queue_limits singly = {.max_batch_items = 1};

/* Like cards, whose times differ by what was measured: each gets as many. */
START_TEST(test_targets_equals_take_turns)
{
    unsigned n[MOST] = {0};
    struct fake_job f[30];

    add(1, 100, &singly);
    add(1.05, 100, &singly);
    add(0.98, 102, &singly);
    for (unsigned i = 0; i < 30; i++)
        n[runs_at(10)]++;
    for (unsigned i = 0; i < MOST; i++)
        ck_assert_uint_eq(n[i], 10);
    memset(n, 0, sizeof n);
    for (unsigned i = 0; i < 30; i++) /* and when all pile up */
        n[goes_to(&f[i], 10)]++;
    for (unsigned i = 0; i < MOST; i++)
        ck_assert_uint_eq(n[i], 10);
    drain();
}
END_TEST

/* Of unlike cards the faster one as long as a job is through earlier there, the queue included. */
START_TEST(test_targets_faster_until_it_is_busy)
{
    struct fake_job f[7];
    unsigned n[MOST] = {0};

    add(0, 5800, &singly);
    add(0, 1000, &singly);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(runs_at(10), 1);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_eq(goes_to(&f[i], 10), 1); /* through after 10, 20, ... 50 ms */
    for (unsigned i = 5; i < 7; i++)
        n[goes_to(&f[i], 10)]++; /* 60 ms there, 58 ms on the slow one */
    ck_assert_uint_eq(n[0], 1);
    ck_assert_uint_eq(n[1], 1);
    drain();
}
END_TEST

/* One is quick to start, the other one to compute: it depends on the job. */
START_TEST(test_targets_by_the_job)
{
    add(1, 100, &singly);
    add(20, 10, &singly);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(runs_at(8), 0);
        ck_assert_uint_eq(runs_at(1000), 1);
    }
}
END_TEST

/* One that hangs is late, not free. */
START_TEST(test_targets_hanging)
{
    struct fake_job hanging, busy, f;
    struct enso_batch *batches[2];
    size_t stuck = 0;

    add(10, 0, &singly);
    add(10, 0, &singly);
    stuck = goes_to(&hanging, 10);
    batches[0] = take(copies[stuck].scheduler, 0);
    fake_now += 40 * MS; /* 30 too many */
    ck_assert_uint_eq(goes_to(&busy, 10), 1 - stuck);
    batches[1] = take(copies[1 - stuck].scheduler, 0);
    for (unsigned i = 0; i < 2; i++) { /* behind a run that has just begun */
        ck_assert_uint_eq(goes_to(&f, 10), 1 - stuck);
        enso_job_cancel(f.job, fake_now);
    }
    enso_batch_run(copies[stuck].scheduler, batches[0], NULL, fake_clock);
    enso_batch_run(copies[1 - stuck].scheduler, batches[1], NULL, fake_clock);
    ck_assert_int_eq(hanging.status, ENSO_OK);
    ck_assert_int_eq(busy.status, ENSO_OK);
}
END_TEST

/* One in ENSO_EXPLORE_EVERY goes where it should be through later, each in turn: what is believed
 * of a copy does not stay wrong for ever. Not where something runs. */
START_TEST(test_targets_explores)
{
    struct enso_batch *batch;
    struct fake_job f;
    unsigned n = 0;

    add(1, 0, &singly);
    enso_queue_seed(add_unknown(1, 0, &singly)->queue, 10, 50 * MS); /* it had a bad start */
    for (unsigned i = 0; i < ENSO_EXPLORE_EVERY - 1; i++)
        ck_assert_uint_eq(runs_at(10), 0);
    for (unsigned i = 0; i < 100 * ENSO_EXPLORE_EVERY; i++)
        (void)runs_at(10);
    turn = 1;
    for (unsigned i = 0; i < 20; i++)
        n += runs_at(10) == 1;
    ck_assert_uint_eq(n, 10); /* they are equals now */

    copies[1].model.base_ns = 9 * MS; /* and now it is hot */
    for (unsigned i = 0; i < 60; i++)
        (void)runs_at(10);
    ck_assert_uint_eq(runs_at(10), 0);
    turn = ENSO_EXPLORE_EVERY; /* the second's */
    send(copies[1].scheduler, copies[1].queue, &f, 1, 10, 'f');
    batch = take(copies[1].scheduler, 0);
    ck_assert_uint_eq(runs_at(10), 0);
    enso_batch_run(copies[1].scheduler, batch, NULL, fake_clock);
    turn = ENSO_EXPLORE_EVERY;
    ck_assert_uint_eq(runs_at(10), 1);
}
END_TEST

/* A full queue is no reason to refuse while another copy has room. When none has, the refusal is
 * the best copy's, and it is told once. */
START_TEST(test_targets_full)
{
    static const struct enso_queue_limits few = {.max_batch_items = 1, .max_queue_items = 2};
    static const struct enso_queue_limits fewer = {.max_batch_items = 1, .max_queue_items = 1};
    struct enso_error err = {0};
    struct fake_job f[4];

    add(0, 9000, &fewer);
    add(0, 100, &few); /* 1 ms a job, the other 90 */
    ck_assert_uint_eq(goes_to(&f[0], 10), 1);
    ck_assert_uint_eq(goes_to(&f[1], 10), 1);
    ck_assert_uint_eq(goes_to(&f[2], 10), 0);
    ck_assert_uint_eq(n_refused, 0);
    fake_job(&f[3], 1, 10, 'x');
    ck_assert_int_eq(offer(&f[3], &err), ENSO_OVERLOADED);
    ck_assert_ptr_nonnull(
        strstr(err.message, "2 items wait, this request brings 1, the limit is 2"));
    ck_assert_str_eq(err.code, "queue_full");
    ck_assert_uint_le(f[3].job->retry_after_ns, 2 * MS);
    ck_assert_uint_ge(f[3].job->retry_after_ns, MS / 2);
    ck_assert_uint_eq(n_refused, 1);
    ck_assert_int_eq(refused_with, ENSO_OVERLOADED);
    ck_assert_uint_eq(f[3].n_done, 0);
    enso_job_destroy(f[3].job);
    ck_assert(step(copies[1].scheduler)); /* and there is room again */
    ck_assert_uint_eq(goes_to(&f[3], 10), 1);
    drain();
}
END_TEST

/* A deadline is held against the copy that is soonest; one that is full and one that is too slow
 * refuse together. */
START_TEST(test_targets_deadline)
{
    static const struct enso_queue_limits few = {.max_batch_items = 1, .max_queue_items = 2};
    struct enso_error err = {0};
    struct fake_job f[4];

    add(0, 9000, &singly);
    add(0, 100, &few);
    fake_job(&f[0], 1, 10, 'x');
    f[0].job->deadline_ns = fake_now + 5 * MS;
    turn = 0; /* explores the slow one, which refuses */
    ck_assert_int_eq(offer(&f[0], &err), ENSO_OK);
    ck_assert_ptr_eq(f[0].job->scheduler, copies[1].scheduler);
    ck_assert_uint_eq(goes_to(&f[1], 10), 1);
    fake_job(&f[2], 1, 10, 'x');
    f[2].job->deadline_ns = fake_now + 5 * MS;
    turn = 0;
    ck_assert_int_eq(offer(&f[2], &err), ENSO_OVERLOADED);
    ck_assert_str_eq(err.code, "queue_full"); /* the fast one's word */
    ck_assert_uint_eq(n_refused, 1);
    f[2].job->deadline_ns = fake_now + 100 * MS; /* long enough for the slow one */
    ck_assert_int_eq(offer(&f[2], &err), ENSO_OK);
    ck_assert_ptr_eq(f[2].job->scheduler, copies[0].scheduler);
    fake_job(&f[3], 1, 10, 'x');
    f[3].job->deadline_ns = fake_now; /* over */
    ck_assert_int_eq(offer(&f[3], &err), ENSO_DEADLINE);
    ck_assert_uint_eq(n_refused, 2);
    enso_job_destroy(f[3].job);
    drain();
}
END_TEST

/* A copy that takes no jobs any more is no idle one. */
START_TEST(test_targets_closed)
{
    static const struct enso_queue_limits one = {.max_batch_items = 1, .max_queue_items = 1};
    struct enso_error err = {0};
    struct fake_job f, g;

    add(1, 100, &singly);
    add(9, 900, &one);
    add(9, 900, &singly);
    enso_scheduler_close_queue(copies[0].scheduler, copies[0].queue);
    enso_scheduler_stop(copies[2].scheduler, "it is lost", fake_now);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(runs_at(10), 1);
    turn = 0; /* nor one to explore */
    ck_assert_uint_eq(runs_at(10), 1);
    ck_assert_uint_eq(n_refused, 0);
    ck_assert_uint_eq(goes_to(&g, 10), 1);
    fake_job(&f, 1, 10, 'x');
    ck_assert_int_eq(offer(&f, &err), ENSO_OVERLOADED); /* its word, not that of the others */
    ck_assert_uint_eq(n_refused, 1);
    enso_job_destroy(f.job);
    drain();
    enso_scheduler_close_queue(copies[1].scheduler, copies[1].queue);
    fake_job(&f, 1, 10, 'x');
    ck_assert_int_eq(offer(&f, &err), ENSO_UNAVAILABLE);
    ck_assert_uint_eq(n_refused, 2);
    enso_job_destroy(f.job);
}
END_TEST

START_TEST(test_targets_nothing_to_do)
{
    struct enso_job job = {.n_samples = 0};
    struct enso_error err = {0};
    struct enso_target target;

    add(1, 1, &singly);
    target = (struct enso_target){copies[0].scheduler, copies[0].queue, 0};
    ck_assert_int_eq(enso_targets_submit_quietly(&target, 1, 0, &job, fake_now, &err),
                     ENSO_INVALID);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching/targets");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(core, test_targets_equals_take_turns);
    tcase_add_test(core, test_targets_faster_until_it_is_busy);
    tcase_add_test(core, test_targets_by_the_job);
    tcase_add_test(core, test_targets_hanging);
    tcase_add_test(core, test_targets_explores);
    tcase_add_test(errors, test_targets_full);
    tcase_add_test(errors, test_targets_deadline);
    tcase_add_test(errors, test_targets_closed);
    tcase_add_test(errors, test_targets_nothing_to_do);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return run_suite(s);
}
