/* SPDX-License-Identifier: Apache-2.0
 *
 * batching/scheduler: dispatch, delay, deadlines, cancellation, failures, fairness between models,
 * statistics; all by a fake clock.
 */
#include "tests/batching/fake.h"

#include <stdio.h>

/* ---- dispatch ---- */

START_TEST(test_scheduler_idle_lane_never_waits)
{
    struct fake_job a, b;
    struct enso_batch *first, *second;

    start(&(struct enso_queue_limits){.max_batch_items = 32}, MS, 1000);
    expect_idle_until(sched, UINT64_MAX);
    send(sched, queue, &a, 1, 4, 'a');
    first = take(sched, 0);
    ck_assert_ptr_nonnull(first); /* at once, though the batch has room */
    send(sched, queue, &b, 1, 4, 'b');
    second = take(sched, 1);
    ck_assert_ptr_nonnull(second); /* the other lane is idle */
    enso_batch_run(sched, second, NULL, fake_clock);
    enso_batch_run(sched, first, NULL, fake_clock);
    ck_assert_uint_eq(a.n_done + b.n_done, 2);
    expect_idle_until(sched, UINT64_MAX);
    finish();
}
END_TEST

START_TEST(test_scheduler_batches_grow_while_lanes_are_busy)
{
    struct fake_job a, more[20];
    struct enso_batch *batch;
    unsigned i;

    start(&(struct enso_queue_limits){.max_batch_items = 32}, 10 * MS, 1000);
    send(sched, queue, &a, 1, 4, 'a');
    batch = take(sched, 0);
    for (i = 0; i < 20; i++)
        send(sched, queue, &more[i], 1, 4, 'm');
    enso_batch_run(sched, batch, NULL, fake_clock);
    batch = take(sched, 0);
    ck_assert_uint_eq(batch->n, 20);
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_uint_eq(more[19].batch_items, 20);
    /* queued while a ran, then computed */
    ck_assert_uint_eq(more[19].queue_ns, 10 * MS + 4000);
    ck_assert_uint_eq(more[19].compute_ns, 10 * MS + 80000);
    finish();
}
END_TEST

START_TEST(test_scheduler_job_over_two_lanes)
{
    struct fake_job a;
    struct enso_batch *first, *second;

    start(&(struct enso_queue_limits){.max_batch_items = 2}, 10 * MS, 0);
    send(sched, queue, &a, 4, 4, 'a');
    first = take(sched, 0);
    fake_now += MS;
    second = take(sched, 1);
    fake_now += 5 * MS;
    enso_scheduler_finish(sched, first, fake_now, ENSO_OK, NULL);
    ck_assert_uint_eq(a.n_done, 0);
    fake_now += 5 * MS;
    enso_scheduler_finish(sched, second, fake_now, ENSO_OK, NULL);
    ck_assert_uint_eq(a.n_done, 1);
    ck_assert_uint_eq(a.compute_ns, 11 * MS); /* not twice what overlaps */
    ck_assert_uint_eq(a.queue_ns, 0);
    ck_assert_uint_eq(a.n_batches, 2);
    finish();
}
END_TEST

START_TEST(test_scheduler_queue_delay)
{
    struct fake_job a, b, c, d[4];
    struct enso_batch *batch;
    uint64_t begin;
    unsigned i;

    start(&(struct enso_queue_limits){.max_batch_items = 4, .max_queue_delay_ns = 5 * MS}, MS, 0);
    begin = fake_now;
    send(sched, queue, &a, 1, 4, 'a');
    expect_idle_until(sched, begin + 5 * MS);
    fake_now += 3 * MS;
    send(sched, queue, &b, 1, 4, 'b');
    expect_idle_until(sched, begin + 5 * MS); /* since the oldest */
    fake_now = begin + 5 * MS;
    batch = take(sched, 0);
    ck_assert_ptr_nonnull(batch);
    ck_assert_uint_eq(batch->n, 2);
    enso_batch_run(sched, batch, NULL, fake_clock);
    /* a full batch does not wait */
    for (i = 0; i < 4; i++)
        send(sched, queue, &d[i], 1, 4, 'd');
    ck_assert(step(sched));
    /* nor does one whose deadline presses: 2 ms before it, twice the run */
    fake_job(&c, 1, 4, 'c');
    c.job->deadline_ns = fake_now + 4 * MS;
    submit(sched, queue, &c);
    expect_idle_until(sched, c.job->deadline_ns - 2 * MS);
    fake_now = c.job->deadline_ns - 2 * MS;
    ck_assert(step(sched));
    ck_assert_int_eq(c.status, ENSO_OK);
    /* nor a queue that was closed */
    send(sched, queue, &a, 1, 4, 'a');
    enso_scheduler_close_queue(sched, queue);
    ck_assert(step(sched));
    fake_job(&b, 1, 4, 'b');
    (void)expect_refused(sched, queue, &b, ENSO_UNAVAILABLE, "being unloaded");
    finish();
}
END_TEST

/* A queue that waits for company does not hold up another one. */
START_TEST(test_scheduler_delay_is_the_queues_own)
{
    struct fake_model other_model = {.base_ns = MS};
    struct enso_queue *other;
    struct fake_job a, b;

    start(&(struct enso_queue_limits){.max_batch_items = 4, .max_queue_delay_ns = 5 * MS}, MS, 0);
    other = fake_queue(sched, &other_model, &(struct enso_queue_limits){0}, NULL);
    send(sched, queue, &a, 1, 4, 'a');
    send(sched, other, &b, 1, 4, 'b');
    ck_assert(step(sched));
    ck_assert_uint_eq(b.n_done, 1);
    ck_assert(!step(sched));
    enso_scheduler_remove_queue(sched, other, fake_now);
    enso_queue_destroy(other);
    finish();
}
END_TEST

/* A batch that may never come back: its queue stays, closed and empty, and nobody waits. */
START_TEST(test_scheduler_try_remove)
{
    struct enso_batch *batch;
    struct fake_job a, b, c;
    uint64_t wake;

    start(&(struct enso_queue_limits){.max_batch_items = 4}, MS, 0);
    send(sched, queue, &a, 1, 4, 'a');
    ck_assert(enso_scheduler_take(sched, 0, fake_now, &batch, &wake));
    send(sched, queue, &b, 1, 4, 'b');
    ck_assert(!enso_scheduler_try_remove_queue(sched, queue, fake_now));
    ck_assert_uint_eq(a.n_done, 0);
    ck_assert_uint_eq(b.n_done, 1);
    ck_assert_int_eq(b.status, ENSO_UNAVAILABLE);
    fake_job(&c, 1, 4, 'c');
    ck_assert_int_eq(enso_scheduler_submit(sched, queue, c.job, fake_now, NULL), ENSO_UNAVAILABLE);
    enso_job_destroy(c.job);
    ck_assert(!enso_scheduler_try_remove_queue(sched, queue, fake_now));
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_uint_eq(a.n_done, 1);
    ck_assert(enso_scheduler_try_remove_queue(sched, queue, fake_now));
    enso_queue_destroy(queue);
    enso_scheduler_stop(sched, NULL, fake_now);
    enso_scheduler_destroy(sched);
}
END_TEST

/* Who comes after the stop hears why, as the first stop had it. */
START_TEST(test_scheduler_stopped_tells_why)
{
    struct fake_job a, b;

    start(&(struct enso_queue_limits){0}, MS, 0);
    send(sched, queue, &a, 1, 4, 'a');
    enso_scheduler_stop(sched, "the card has gone", fake_now);
    ck_assert_int_eq(a.status, ENSO_UNAVAILABLE);
    enso_scheduler_stop(sched, NULL, fake_now);
    fake_job(&b, 1, 4, 'b');
    (void)expect_refused(sched, queue, &b, ENSO_UNAVAILABLE, "the card has gone");
    finish();
}
END_TEST

/* ---- deadlines ---- */

START_TEST(test_scheduler_expired_work_is_dropped_before_compute)
{
    struct fake_job a, b, c;
    struct enso_batch *batch;

    start(&(struct enso_queue_limits){.max_batch_items = 2}, 10 * MS, 0);
    send(sched, queue, &a, 1, 4, 'a');
    batch = take(sched, 0);
    fake_job(&b, 3, 4, 'b');
    b.job->deadline_ns = fake_now + 25 * MS;
    submit(sched, queue, &b);
    fake_job(&c, 3, 4, 'c');
    c.job->deadline_ns = fake_now + 90 * MS;
    submit(sched, queue, &c);
    ck_assert_uint_eq(enso_scheduler_expire(sched, fake_now), fake_now + 25 * MS);
    fake_now += 30 * MS; /* the run takes longer than was known */
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_uint_eq(b.n_done, 0);
    while (step(sched))
        ;
    ck_assert_uint_eq(b.n_done, 1);
    ck_assert_int_eq(b.status, ENSO_DEADLINE);
    ck_assert_ptr_nonnull(strstr(b.message, "deadline passed after 40 ms"));
    ck_assert_uint_eq(b.compute_ns, 0);
    ck_assert_uint_eq(b.queue_ns, 40 * MS);
    ck_assert_int_eq(c.status, ENSO_OK);
    ck_assert_str_eq(model.order, "accc");
    finish();
}
END_TEST

/* All lanes are busy: the loop's timer drops it, and a sample on a lane delays done. */
START_TEST(test_scheduler_expire_while_lanes_are_busy)
{
    struct fake_job a, b, c;
    struct enso_batch *batch;

    start(&(struct enso_queue_limits){.max_batch_items = 2}, 10 * MS, 0);
    fake_job(&a, 4, 4, 'a');
    a.job->deadline_ns = fake_now + 30 * MS;
    submit(sched, queue, &a);
    batch = take(sched, 0);
    fake_job(&b, 1, 4, 'b');
    b.job->deadline_ns = fake_now + 30 * MS;
    submit(sched, queue, &b);
    fake_job(&c, 1, 4, 'c');
    c.job->deadline_ns = fake_now + 60 * MS;
    submit(sched, queue, &c);
    fake_now += 30 * MS;
    ck_assert_uint_eq(enso_scheduler_expire(sched, fake_now), fake_now + 30 * MS);
    ck_assert_uint_eq(b.n_done, 1);
    ck_assert_int_eq(b.status, ENSO_DEADLINE);
    ck_assert_uint_eq(a.n_done, 0);
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_uint_eq(a.n_done, 1);
    ck_assert_int_eq(a.status, ENSO_DEADLINE);
    ck_assert(step(sched));
    ck_assert_int_eq(c.status, ENSO_OK);
    ck_assert_uint_eq(enso_scheduler_expire(sched, fake_now), UINT64_MAX);
    finish();
}
END_TEST

/* A waiting lane is told of the earliest deadline of what may not be taken yet. */
START_TEST(test_scheduler_expired_frees_the_queue)
{
    struct fake_job a, b;

    start(&(struct enso_queue_limits){.max_queue_items = 2, .max_batch_items = 2}, MS, 0);
    fake_job(&a, 2, 4, 'a');
    a.job->deadline_ns = fake_now + 30 * MS;
    submit(sched, queue, &a);
    fake_now += 40 * MS;
    send(sched, queue, &b, 2, 4, 'b'); /* its place is free */
    ck_assert_int_eq(a.status, ENSO_DEADLINE);
    ck_assert(step(sched));
    ck_assert_str_eq(model.order, "bb");
    finish();
}
END_TEST

/* ---- cancellation ---- */

START_TEST(test_scheduler_cancel_in_every_state)
{
    struct fake_job a, b, c, fresh;
    struct enso_batch *batch;
    struct enso_queue_stats stats;

    start(&(struct enso_queue_limits){.max_batch_items = 2}, 10 * MS, 0);
    fake_job(&fresh, 1, 4, 'f');
    enso_job_cancel(fresh.job, fake_now); /* never submitted: nothing */
    ck_assert_uint_eq(fresh.n_done, 0);

    send(sched, queue, &a, 3, 4, 'a'); /* two will run, one is queued */
    send(sched, queue, &b, 2, 4, 'b'); /* queued */
    batch = take(sched, 0);            /* a, b: they take turns */
    ck_assert_uint_eq(batch->n, 2);
    send(sched, queue, &c, 1, 4, 'c');
    enso_job_cancel(c.job, fake_now); /* queued: at once */
    ck_assert_uint_eq(c.n_done, 1);
    ck_assert_int_eq(c.status, ENSO_CANCELLED);
    enso_job_cancel(a.job, fake_now); /* running: what is queued is dropped at once */
    enso_queue_stats(sched, queue, fake_now, &stats);
    ck_assert_uint_eq(stats.n_samples, 1);
    ck_assert_uint_eq(stats.n_tokens, 4);
    ck_assert_uint_eq(a.n_done, 0);
    enso_job_cancel(a.job, fake_now); /* twice is fine */
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_uint_eq(a.n_done, 1);
    ck_assert_int_eq(a.status, ENSO_CANCELLED);
    ck_assert(step(sched));
    ck_assert_int_eq(b.status, ENSO_OK);
    ck_assert_str_eq(model.order, "abb");
    enso_job_destroy(fresh.job);
    finish();
}
END_TEST

static void keep(struct enso_job *job, void *user)
{
    (void)job;
    ++*(unsigned *)user;
}

START_TEST(test_scheduler_cancel_after_done)
{
    struct fake_job f;
    struct enso_job *job;
    unsigned n_done = 0;

    start(&(struct enso_queue_limits){0}, 10 * MS, 0);
    job = fake_job(&f, 1, 4, 'a');
    job->done = keep;
    job->user = &n_done;
    submit(sched, queue, &f);
    ck_assert(step(sched));
    ck_assert_uint_eq(n_done, 1);
    enso_job_cancel(job, fake_now);
    ck_assert_uint_eq(n_done, 1);
    ck_assert_int_eq(job->status, ENSO_OK);
    /* a job may be submitted again */
    submit(sched, queue, &f);
    ck_assert(step(sched));
    ck_assert_uint_eq(n_done, 2);
    enso_job_destroy(job);
    finish();
}
END_TEST

/* ---- failures ---- */

START_TEST(test_scheduler_failed_run_fails_its_jobs_only)
{
    struct fake_job a, b, c;

    start(&(struct enso_queue_limits){.max_batch_items = 4}, MS, 0);
    model.fail = ENSO_DEVICE;
    send(sched, queue, &a, 1, 4, 'a');
    send(sched, queue, &b, 6, 4, 'b');
    ck_assert(step(sched));             /* a, 3 of b; the rest of b is dropped */
    ck_assert_uint_eq(model.n_runs, 1); /* the device failed: no second try */
    ck_assert_int_eq(a.status, ENSO_DEVICE);
    ck_assert_int_eq(b.status, ENSO_DEVICE);
    ck_assert_uint_eq(b.failed_sample, 0);
    ck_assert_str_eq(a.message, "the fake model fails");
    ck_assert(!step(sched));
    model.fail = ENSO_OK;
    send(sched, queue, &c, 1, 4, 'c'); /* the lane goes on */
    ck_assert(step(sched));
    ck_assert_int_eq(c.status, ENSO_OK);
    finish();
}
END_TEST

START_TEST(test_scheduler_poisoned_sample_harms_only_itself)
{
    struct fake_job a, b, c;
    struct enso_batch *batch;
    struct enso_sample *s;

    start(&(struct enso_queue_limits){.max_batch_items = 8}, MS, 0);
    model.poison = 'p';
    send(sched, queue, &a, 2, 4, 'a');
    fake_job(&b, 3, 4, 'b');
    s = b.job->samples[1];
    s->n_characters = 'p';
    submit(sched, queue, &b);
    send(sched, queue, &c, 2, 4, 'c');
    ck_assert(step(sched));
    ck_assert_int_eq(a.status, ENSO_OK);
    ck_assert_int_eq(c.status, ENSO_OK);
    ck_assert_int_eq(b.status, ENSO_INVALID);
    ck_assert_uint_eq(b.failed_sample, 1);
    ck_assert_str_eq(b.message, "sample is poisoned");
    /* once together, then each once; b's last one was not wanted any more */
    ck_assert_uint_eq(model.n_runs, 1 + 6);
    ck_assert(!step(sched));
    /* seven runs' time for one batch teaches the cost curve nothing */
    send(sched, queue, &a, 7, 4, 'a');
    batch = take(sched, 0);
    ck_assert_uint_ge(batch->predicted_ns, MS - 1000);
    ck_assert_uint_le(batch->predicted_ns, MS + 1000);
    enso_batch_run(sched, batch, NULL, fake_clock);
    finish();
}
END_TEST

START_TEST(test_scheduler_too_little_memory_for_all_together)
{
    struct fake_job a;

    start(&(struct enso_queue_limits){.max_batch_items = 8}, MS, 0);
    model.fail_many = ENSO_NO_MEMORY;
    send(sched, queue, &a, 5, 4, 'a');
    ck_assert(step(sched));
    ck_assert_int_eq(a.status, ENSO_OK);
    ck_assert_uint_eq(model.n_runs, 6);
    model.fail = ENSO_NO_MEMORY;
    send(sched, queue, &a, 1, 4, 'a');
    ck_assert(step(sched));
    ck_assert_int_eq(a.status, ENSO_NO_MEMORY);
    ck_assert_uint_eq(model.n_runs, 7); /* a single one is not tried again */
    finish();
}
END_TEST

START_TEST(test_scheduler_remove_and_stop_fail_what_is_queued)
{
    struct fake_job a, b;
    struct enso_batch *batch;

    start(&(struct enso_queue_limits){.max_batch_items = 1}, MS, 0);
    send(sched, queue, &a, 2, 4, 'a');
    send(sched, queue, &b, 1, 4, 'b');
    batch = take(sched, 0);
    enso_scheduler_stop(sched, NULL, fake_now);
    ck_assert_int_eq(b.status, ENSO_UNAVAILABLE);
    ck_assert_uint_eq(a.n_done, 0); /* has a sample on the lane */
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_int_eq(a.status, ENSO_UNAVAILABLE);
    fake_job(&b, 1, 4, 'b');
    (void)expect_refused(sched, queue, &b, ENSO_UNAVAILABLE, "shutting down");
    ck_assert(!step(sched));
    finish();
}
END_TEST

/* ---- fairness between models ---- */

/* Virtual time, one lane. A heavy model with an endless backlog of 50 ms batches; a light one with
 * an arrival every 5 ms on average. */
struct played {
    uint64_t p99_ns;
    unsigned n;
    uint64_t heavy_ns; /* service the heavy one had */
    uint64_t light_ns;
};

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static struct played play(bool with_heavy, uint64_t light_every_ns)
{
    static struct fake_job light[2000], heavy[4000];
    static uint64_t waits[2000];
    struct fake_model light_model = {.base_ns = 2 * MS, .unit_ns = MS / 10};
    struct fake_model heavy_model = {.base_ns = 4 * MS, .unit_ns = MS};
    struct enso_queue_limits limits = {.max_batch_items = 64, .max_batch_ns = 50 * MS};
    struct enso_queue *q_light, *q_heavy;
    struct enso_scheduler *s;
    struct played played = {0};
    uint64_t next_light = fake_now;
    uint32_t random = 3;
    unsigned n_light = 0, n_heavy = 0, i;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &s, NULL), ENSO_OK);
    q_light = fake_queue(NULL, &light_model, &limits, NULL);
    q_heavy = fake_queue(NULL, &heavy_model, &limits, NULL);
    fake_seed(q_light, &light_model, 1024);
    fake_seed(q_heavy, &heavy_model, 1024);
    enso_scheduler_add_queue(s, q_light);
    enso_scheduler_add_queue(s, q_heavy);
    while (n_light < ENSO_ARRAY_SIZE(light)) {
        struct enso_batch *batch;
        uint64_t wake, begin;
        bool is_heavy;

        for (; next_light <= fake_now && n_light < ENSO_ARRAY_SIZE(light); n_light++) {
            uint64_t now = fake_now;

            fake_job(&light[n_light], 1, 4, 'l');
            fake_now = next_light; /* it arrived while the batch ran */
            submit(s, q_light, &light[n_light]);
            fake_now = now;
            random = random * 1664525u + 1013904223u;
            next_light += light_every_ns / 2 + (random >> 8) % light_every_ns;
        }
        while (with_heavy && n_heavy < ENSO_ARRAY_SIZE(heavy) &&
               n_heavy < 200 + 64 * heavy_model.n_runs) {
            fake_job(&heavy[n_heavy], 1, 4, 'h');
            submit(s, q_heavy, &heavy[n_heavy++]);
        }
        if (!enso_scheduler_take(s, 0, fake_now, &batch, &wake)) {
            fake_now = next_light;
            continue;
        }
        is_heavy = batch->queue == q_heavy;
        begin = fake_now;
        enso_batch_run(s, batch, NULL, fake_clock);
        *(is_heavy ? &played.heavy_ns : &played.light_ns) += fake_now - begin;
    }
    enso_scheduler_remove_queue(s, q_light, fake_now);
    enso_scheduler_remove_queue(s, q_heavy, fake_now);
    for (i = 0; i < n_light; i++)
        if (light[i].status == ENSO_OK && light[i].n_done == 1)
            waits[played.n++] = light[i].at_ns - light[i].submit_ns;
    qsort(waits, played.n, sizeof waits[0], compare_u64);
    played.p99_ns = waits[played.n * 99 / 100];
    enso_queue_destroy(q_light);
    enso_queue_destroy(q_heavy);
    enso_scheduler_stop(s, NULL, fake_now);
    enso_scheduler_destroy(s);
    return played;
}

START_TEST(test_scheduler_heavy_model_does_not_starve_a_light_one)
{
    static const uint64_t every_ns[] = {100 * MS, 20 * MS, 5 * MS, 3 * MS};
    unsigned i;

    for (i = 0; i < ENSO_ARRAY_SIZE(every_ns); i++) {
        struct played alone = play(false, every_ns[i]), both = play(true, every_ns[i]);

        ck_assert_uint_ge(both.n, 1900);
        ck_assert_msg(both.p99_ns <= 2 * alone.p99_ns + 50 * MS,
                      "every %llu us: p99 alone %.1f ms, beside the heavy one %.1f ms",
                      (unsigned long long)(every_ns[i] / 1000), (double)alone.p99_ns / 1e6,
                      (double)both.p99_ns / 1e6);
    }
}
END_TEST

/* Both saturated: the device's time is halved, whatever a batch of each costs. */
START_TEST(test_scheduler_saturated_models_share_time)
{
    static struct fake_job jobs[2];
    struct fake_model m[2] = {{.base_ns = 0, .unit_ns = MS}, {.base_ns = 0, .unit_ns = 7 * MS}};
    struct enso_queue_limits limits = {.max_batch_items = 5, .max_batch_tokens = 5};
    uint64_t service[2] = {0};
    struct enso_queue *q[2];
    struct enso_batch *batch;
    unsigned i;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    for (i = 0; i < 2; i++) {
        q[i] = fake_queue(NULL, &m[i], &limits, NULL);
        fake_seed(q[i], &m[i], 64);
        enso_scheduler_add_queue(sched, q[i]);
        send(sched, q[i], &jobs[i], 3000, 1, 'x');
    }
    for (i = 0; i < 300; i++) {
        uint64_t begin = fake_now;
        unsigned which;

        batch = take(sched, 0);
        which = batch->queue == q[1];
        enso_batch_run(sched, batch, NULL, fake_clock);
        service[which] += fake_now - begin;
        /* at any time within a batch of each other */
        ck_assert_uint_le(service[0], service[1] + 35 * MS);
        ck_assert_uint_le(service[1], service[0] + 35 * MS);
    }
    for (i = 0; i < 2; i++) {
        enso_scheduler_remove_queue(sched, q[i], fake_now);
        enso_queue_destroy(q[i]);
    }
    enso_scheduler_stop(sched, NULL, fake_now);
    enso_scheduler_destroy(sched);
}
END_TEST

/* A first batch that nobody could predict is paid for once its time is known. */
START_TEST(test_scheduler_unpredicted_batch_is_charged)
{
    static struct fake_job jobs[2];
    struct fake_model m[2] = {{.base_ns = 100 * MS}, {.unit_ns = MS}};
    struct enso_queue_limits limits = {.max_batch_tokens = 1};
    struct enso_queue *q[2];
    unsigned i;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    for (i = 0; i < 2; i++) {
        q[i] = fake_queue(NULL, &m[i], &limits, NULL);
        if (i == 1)
            fake_seed(q[i], &m[i], 64);
        enso_scheduler_add_queue(sched, q[i]);
        send(sched, q[i], &jobs[i], 200, 1, 'x');
    }
    for (i = 0; i < 100; i++)
        ck_assert(step(sched));
    ck_assert_uint_eq(m[0].n_runs, 1);
    ck_assert_uint_eq(m[1].n_runs, 99);
    for (i = 0; i < 2; i++) {
        enso_scheduler_remove_queue(sched, q[i], fake_now);
        enso_queue_destroy(q[i]);
    }
    enso_scheduler_stop(sched, NULL, fake_now);
    enso_scheduler_destroy(sched);
}
END_TEST

/* The predicted wait counts another model's backlog up to a fair share, and no more. */
START_TEST(test_scheduler_predicted_wait_beside_another_model)
{
    struct fake_job a, b, c, d;
    struct fake_model m[2] = {{.unit_ns = MS}, {.unit_ns = MS}};
    struct enso_queue_limits limits = {.max_batch_tokens = 5, .max_queue_items = 30};
    struct enso_queue *q[2];
    uint64_t retry;
    unsigned i;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    for (i = 0; i < 2; i++) {
        q[i] = fake_queue(NULL, &m[i], &limits, NULL);
        fake_seed(q[i], &m[i], 64);
        enso_scheduler_add_queue(sched, q[i]);
    }
    send(sched, q[0], &a, 1000, 1, 'a'); /* a second of work */
    send(sched, q[1], &b, 20, 1, 'b');
    fake_job(&c, 10, 1, 'c');
    c.job->deadline_ns = fake_now + 35 * MS;
    /* both jobs take turns: 20 ms of work in this queue, as much in the other */
    retry = expect_refused(sched, q[1], &c, ENSO_OVERLOADED, "in about 40 ms");
    ck_assert_uint_ge(retry, 5 * MS - 1000);
    ck_assert_uint_le(retry, 5 * MS + 1000);
    fake_job(&c, 10, 1, 'c');
    c.job->deadline_ns = fake_now + 41 * MS;
    submit(sched, q[1], &c);
    fake_job(&d, 10, 1, 'd');
    retry = expect_refused(sched, q[1], &d, ENSO_OVERLOADED, "30 items wait");
    ck_assert_uint_ge(retry, 20 * MS - 1000); /* 10 items, at half of the device */
    ck_assert_uint_le(retry, 20 * MS + 1000);
    for (i = 0; i < 2; i++) {
        enso_scheduler_remove_queue(sched, q[i], fake_now);
        enso_queue_destroy(q[i]);
    }
    enso_scheduler_stop(sched, NULL, fake_now);
    enso_scheduler_destroy(sched);
}
END_TEST

/* Idle time is not saved up: who comes back does not take the device for all it did not use. */
START_TEST(test_scheduler_no_credit_for_idle_time)
{
    static struct fake_job jobs[2];
    struct fake_model m[2] = {{.unit_ns = MS}, {.unit_ns = MS}};
    struct enso_queue_limits limits = {.max_batch_tokens = 5};
    struct enso_queue *q[2];
    unsigned i;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    for (i = 0; i < 2; i++) {
        q[i] = fake_queue(NULL, &m[i], &limits, NULL);
        fake_seed(q[i], &m[i], 64);
        enso_scheduler_add_queue(sched, q[i]);
    }
    send(sched, q[0], &jobs[0], 2000, 1, 'a');
    for (i = 0; i < 100; i++)
        ck_assert(step(sched));
    send(sched, q[1], &jobs[1], 1000, 1, 'b');
    m[0].n_runs = m[1].n_runs = 0;
    for (i = 0; i < 20; i++)
        ck_assert(step(sched));
    ck_assert_uint_ge(m[0].n_runs, 9);
    ck_assert_uint_ge(m[1].n_runs, 9);
    for (i = 0; i < 2; i++) {
        enso_scheduler_remove_queue(sched, q[i], fake_now);
        enso_queue_destroy(q[i]);
    }
    enso_scheduler_stop(sched, NULL, fake_now);
    enso_scheduler_destroy(sched);
}
END_TEST

/* ---- what is seen from outside ---- */

struct seen {
    unsigned n_batches, n_jobs, n_refused, n_runs;
    uint64_t items, tokens, padding, compute_ns;
    enum enso_status last_job, last_refused;
};

static void see_batch(void *user, const struct enso_batch_report *r)
{
    struct seen *seen = user;

    seen->n_batches++;
    seen->items += r->n_items;
    seen->tokens += r->n_tokens;
    seen->padding += r->n_padding_tokens;
    seen->compute_ns += r->compute_ns;
    seen->n_runs += r->n_runs;
}

static void see_job(void *user, const struct enso_job *job)
{
    struct seen *seen = user;

    seen->n_jobs++;
    seen->last_job = job->status;
}

static void see_refused(void *user, const struct enso_job *job, enum enso_status status)
{
    struct seen *seen = user;

    (void)job;
    seen->n_refused++;
    seen->last_refused = status;
}

START_TEST(test_scheduler_observer)
{
    struct seen seen = {0};
    struct enso_observer observer = {
        .user = &seen, .batch = see_batch, .job = see_job, .refused = see_refused};
    struct fake_job a, b;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    model = (struct fake_model){.base_ns = MS, .n_padding = 11};
    queue = fake_queue(sched, &model,
                       &(struct enso_queue_limits){.max_queue_items = 4, .max_batch_tokens = 100},
                       &observer);
    enso_queue_seed(queue, 10, MS);
    send(sched, queue, &a, 3, 7, 'a');
    ck_assert(step(sched));
    ck_assert_uint_eq(seen.n_batches, 1);
    ck_assert_uint_eq(seen.items, 3);
    ck_assert_uint_eq(seen.tokens, 21);
    ck_assert_uint_eq(seen.padding, 11);
    ck_assert_uint_eq(seen.compute_ns, MS);
    ck_assert_uint_eq(seen.n_runs, 1);
    ck_assert_uint_eq(seen.n_jobs, 1);
    send(sched, queue, &a, 3, 7, 'a');
    fake_job(&b, 2, 7, 'b');
    (void)expect_refused(sched, queue, &b, ENSO_OVERLOADED, "is full");
    ck_assert_uint_eq(seen.n_refused, 1);
    ck_assert_int_eq(seen.last_refused, ENSO_OVERLOADED);
    enso_job_cancel(a.job, fake_now);
    ck_assert_uint_eq(seen.n_jobs, 2);
    ck_assert_int_eq(seen.last_job, ENSO_CANCELLED);
    finish();
}
END_TEST

START_TEST(test_scheduler_stats)
{
    struct enso_scheduler_stats stats;
    struct enso_queue_stats qstats;
    struct enso_batch *batch;
    struct fake_job a, b;

    start(&(struct enso_queue_limits){.max_batch_items = 2, .max_batch_tokens = 20}, 0, MS);
    send(sched, queue, &a, 6, 10, 'a');
    batch = take(sched, 0);
    fake_now += 7 * MS;
    fake_job(&b, 1, 10, 'b');
    b.job->client = 3;
    submit(sched, queue, &b);
    enso_scheduler_stats(sched, fake_now, &stats);
    ck_assert_uint_eq(stats.n_lanes, 2);
    ck_assert_uint_eq(stats.n_busy, 1);
    ck_assert_uint_eq(stats.n_queues, 1);
    ck_assert_uint_eq(stats.n_jobs, 2);
    ck_assert_uint_eq(stats.n_samples, 5);
    ck_assert_uint_eq(stats.n_items, 5);
    ck_assert_uint_eq(stats.n_tokens, 50);
    ck_assert_uint_ge(stats.backlog_ns, 25 * MS - 1000);
    ck_assert_uint_le(stats.backlog_ns, 25 * MS + 1000);
    /* a lane is free: half of what waits, for there are two */
    ck_assert_uint_ge(enso_queue_wait_ns(sched, queue, fake_now), 25 * MS - 1000);
    ck_assert_uint_le(enso_queue_wait_ns(sched, queue, fake_now), 25 * MS + 1000);
    enso_queue_stats(sched, queue, fake_now, &qstats);
    ck_assert_uint_eq(qstats.n_clients, 2);
    ck_assert_uint_eq(qstats.n_running, 1);
    ck_assert_uint_eq(qstats.oldest_ns, 7 * MS);
    ck_assert_uint_eq(qstats.batch_units, 20);
    ck_assert(qstats.units_per_second > 999 && qstats.units_per_second < 1001);
    enso_batch_run(sched, batch, NULL, fake_clock);
    finish();
}
END_TEST

static void expect_wait(uint64_t ns)
{
    uint64_t wait_ns = enso_queue_wait_ns(sched, queue, fake_now);

    ck_assert_uint_ge(wait_ns + 1000, ns);
    ck_assert_uint_le(wait_ns, ns + 1000);
}

/* A batch that is overdue counts as long again as it is late: in the wait, the backlog, admission
 * and Retry-After. Not where another lane is free. */
START_TEST(test_scheduler_overdue)
{
    struct enso_scheduler_stats stats;
    struct enso_batch *batch, *other;
    struct fake_job a, b, c;
    uint64_t retry;

    start(&(struct enso_queue_limits){.max_batch_items = 1, .max_queue_items = 1}, 0, MS);
    send(sched, queue, &a, 1, 10, 'a');
    batch = take(sched, 0);
    expect_wait(0); /* the other lane is free */
    fake_now += 3600 * S;
    expect_wait(0);
    fake_now -= 3600 * S;
    send(sched, queue, &b, 1, 20, 'b');
    other = take(sched, 1);
    expect_wait(10 * MS);
    fake_now += 7 * MS;
    expect_wait(3 * MS);
    fake_now += 3 * MS;
    expect_wait(0); /* any moment now */
    fake_now += 2 * MS;
    expect_wait(2 * MS);
    fake_now += 5 * MS;
    expect_wait(3 * MS); /* the other one's 20 ms are nearer */
    fake_now += 93 * MS;
    expect_wait(90 * MS);
    enso_scheduler_stats(sched, fake_now, &stats);
    ck_assert_uint_ge(stats.backlog_ns, 90 * MS - 1000);
    ck_assert_uint_le(stats.backlog_ns, 90 * MS + 1000);
    fake_job(&c, 1, 10, 'c');
    c.job->deadline_ns = fake_now + 50 * MS;
    retry = expect_refused(sched, queue, &c, ENSO_OVERLOADED, "in about 95 ms");
    ck_assert_uint_ge(retry, 45 * MS - 1000);
    ck_assert_uint_le(retry, 45 * MS + 1000);
    fake_job(&c, 1, 10, 'c');
    c.job->deadline_ns = fake_now + 100 * MS;
    submit(sched, queue, &c);
    enso_batch_run(sched, other, NULL, fake_clock);
    other = take(sched, 1);
    ck_assert_ptr_nonnull(other);
    enso_batch_run(sched, other, NULL, fake_clock);
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert_int_eq(c.status, ENSO_OK);
    finish();
}
END_TEST

/* The same for a batch of a model of which nothing is known. */
START_TEST(test_scheduler_unknown_is_overdue_at_once)
{
    struct enso_queue *unknown;
    struct fake_model other = {.unit_ns = MS};
    struct enso_batch *batch;
    struct fake_job a;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    model = (struct fake_model){.unit_ns = MS};
    queue = fake_queue(NULL, &model, &(struct enso_queue_limits){0}, NULL);
    fake_seed(queue, &model, 1 << 14);
    enso_scheduler_add_queue(sched, queue);
    unknown = fake_queue(sched, &other, &(struct enso_queue_limits){0}, NULL);
    send(sched, unknown, &a, 1, 10, 'a');
    batch = take(sched, 0);
    expect_wait(0);
    fake_now += 500 * MS;
    expect_wait(500 * MS);
    enso_batch_run(sched, batch, NULL, fake_clock);
    expect_wait(0);
    enso_scheduler_remove_queue(sched, unknown, fake_now);
    enso_queue_destroy(unknown);
    finish();
}
END_TEST

START_TEST(test_scheduler_watchdog)
{
    struct enso_batch *batch;
    struct fake_job a, b;

    start(&(struct enso_queue_limits){.max_batch_items = 1}, 0, MS);
    ck_assert(enso_scheduler_healthy(sched, fake_now));
    send(sched, queue, &a, 1, 10, 'a'); /* 10 ms: at least 30 s are allowed */
    batch = take(sched, 0);
    ck_assert(enso_scheduler_healthy(sched, fake_now + 30 * S));
    ck_assert(!enso_scheduler_healthy(sched, fake_now + 30 * S + MS));
    enso_batch_run(sched, batch, NULL, fake_clock);
    ck_assert(enso_scheduler_healthy(sched, fake_now + 3600 * S));
    send(sched, queue, &b, 1, 10000, 'b'); /* 10 s: 100 s are allowed */
    batch = take(sched, 0);
    ck_assert(enso_scheduler_healthy(sched, fake_now + 95 * S));
    ck_assert(!enso_scheduler_healthy(sched, fake_now + 105 * S));
    /* single runs after a failure start anew */
    fake_now += 95 * S;
    ck_assert(enso_scheduler_run_singly(sched, batch, 0, fake_now));
    ck_assert(enso_scheduler_healthy(sched, fake_now + 95 * S));
    enso_batch_run(sched, batch, NULL, fake_clock);
    finish();
}
END_TEST

/* Two batches on one lane: the watchdog and the backlog know which one computes, what a batch costs
 * is what the device says and not how long it stood in line. */
START_TEST(test_scheduler_two_slots)
{
    struct enso_scheduler_stats stats;
    struct enso_batch *first, *second;
    struct fake_job a, b, c;

    ck_assert_int_eq(enso_scheduler_create(1, 2, &sched, NULL), ENSO_OK);
    model = (struct fake_model){.unit_ns = MS};
    queue = fake_queue(NULL, &model, &(struct enso_queue_limits){.max_batch_items = 1}, NULL);
    fake_seed(queue, &model, 1 << 14);
    enso_scheduler_add_queue(sched, queue);
    ck_assert_uint_eq(enso_queue_wait_ns(sched, queue, fake_now), 0);
    send(sched, queue, &a, 1, 8000, 'a'); /* 8 s: 80 s are allowed */
    send(sched, queue, &b, 1, 4000, 'b');
    send(sched, queue, &c, 1, 1000, 'c');
    first = take(sched, 0);
    fake_now += 6 * S;
    second = take(sched, 0);
    ck_assert_uint_eq(first->slot, 0);
    ck_assert_uint_eq(second->slot, 1);
    enso_scheduler_stats(sched, fake_now, &stats);
    ck_assert_uint_eq(stats.n_busy, 1);
    /* 2 s of the first are left, all of the second, and what is queued */
    ck_assert_uint_ge(stats.backlog_ns, 7 * S - MS);
    ck_assert_uint_le(stats.backlog_ns, 7 * S + MS);
    ck_assert_uint_ge(enso_queue_wait_ns(sched, queue, fake_now), 7 * S - MS);
    ck_assert_uint_le(enso_queue_wait_ns(sched, queue, fake_now), 7 * S + MS);
    ck_assert(enso_scheduler_healthy(sched, fake_now + 70 * S));
    ck_assert(!enso_scheduler_healthy(sched, fake_now + 80 * S));
    fake_now += 70 * S;
    first->compute_ns = 8 * S;
    enso_scheduler_finish(sched, first, fake_now, ENSO_OK, NULL);
    ck_assert_int_eq(a.status, ENSO_OK);
    /* the second has only come to the front: 40 s are allowed from here on */
    ck_assert(enso_scheduler_healthy(sched, fake_now + 39 * S));
    ck_assert(!enso_scheduler_healthy(sched, fake_now + 41 * S));
    enso_scheduler_stats(sched, fake_now, &stats);
    ck_assert_uint_ge(stats.backlog_ns, 5 * S - MS);
    ck_assert_uint_le(stats.backlog_ns, 5 * S + MS);
    first = take(sched, 0); /* its slot is free again */
    ck_assert_uint_eq(first->slot, 0);
    fake_now += 4 * S;
    second->compute_ns = 4 * S; /* the clock says 74 s */
    enso_scheduler_finish(sched, second, fake_now, ENSO_OK, NULL);
    ck_assert_int_eq(b.status, ENSO_OK);
    model.device_ns = S;
    enso_batch_run(sched, first, NULL, fake_clock);
    ck_assert_int_eq(c.status, ENSO_OK);
    send(sched, queue, &b, 1, 4000, 'b');
    second = take(sched, 0);
    ck_assert_uint_ge(second->predicted_ns, 4 * S - 10 * MS);
    ck_assert_uint_le(second->predicted_ns, 4 * S + 10 * MS);
    enso_batch_run(sched, second, NULL, fake_clock);
    finish();
}
END_TEST

/* ---- limits ---- */

START_TEST(test_scheduler_hundred_thousand_samples)
{
    static struct fake_job f[1000];
    struct enso_queue_stats stats;
    unsigned i;

    start(&(struct enso_queue_limits){.max_batch_items = 64, .max_batch_tokens = 4096}, MS, 10);
    for (i = 0; i < 1000; i++) {
        fake_job(&f[i], 100, 1 + i % 37, 'x');
        f[i].job->client = i % 13;
        f[i].job->priority = i % 10;
        f[i].job->deadline_ns = i % 3 == 0 ? fake_now + 60 * S : 0;
        submit(sched, queue, &f[i]);
    }
    enso_queue_stats(sched, queue, fake_now, &stats);
    ck_assert_uint_eq(stats.n_samples, 100000);
    for (i = 0; i < 1000; i += 7)
        enso_job_cancel(f[i].job, fake_now);
    while (step(sched))
        ;
    for (i = 0; i < 1000; i++) {
        ck_assert_uint_eq(f[i].n_done, 1);
        ck_assert_int_eq(f[i].status, i % 7 == 0 ? ENSO_CANCELLED : ENSO_OK);
    }
    enso_queue_stats(sched, queue, fake_now, &stats);
    ck_assert_uint_eq(stats.n_jobs + stats.n_samples + stats.n_items + stats.n_tokens, 0);
    ck_assert_uint_eq(stats.n_clients, 0);
    finish();
}
END_TEST

/* Random submits, takes, finishes, cancels and expiries on two lanes; every job ends exactly once
 * and the queue's counters come back to nothing. */
START_TEST(test_scheduler_random_play)
{
    enum { N = 4000 };
    static struct fake_job f[N];
    struct enso_batch *running[2] = {NULL, NULL};
    struct enso_queue_stats stats;
    uint32_t random = 11;
    unsigned n = 0, round, n_ok = 0, i;

    start(&(struct enso_queue_limits){.max_queue_items = 300,
                                      .max_batch_items = 16,
                                      .max_batch_ns = 20 * MS,
                                      .max_queue_delay_ns = MS},
          MS, 20000);
    model.poison = 'p';
    for (round = 0; n < N; round++) {
        unsigned dice;

        random = random * 1664525u + 1013904223u;
        dice = random >> 16;
        fake_now += dice % 7 * MS / 4;
        if (dice % 4 < 2) {
            struct enso_error err = {0};

            fake_job(&f[n], 1 + dice % 9, dice % 50, dice % 31 == 0 ? 'p' : 'x');
            f[n].job->client = dice % 5;
            f[n].job->priority = dice % 11;
            f[n].job->deadline_ns = dice % 3 == 0 ? fake_now + dice % 40 * MS : 0;
            if (enso_scheduler_submit(sched, queue, f[n].job, fake_now, &err) == ENSO_OK) {
                n++;
            } else {
                ck_assert_int_ne(err.status, ENSO_OK);
                enso_job_destroy(f[n].job);
            }
        } else if (dice % 4 == 2) {
            unsigned lane = dice / 4 % 2;

            if (running[lane] != NULL) {
                enso_batch_run(sched, running[lane], NULL, fake_clock);
                running[lane] = NULL;
            } else {
                running[lane] = take(sched, lane);
            }
        } else if (n > 0) {
            struct enso_job *job = f[n - 1 - dice / 4 % (n < 20 ? n : 20)].job;

            if (job != NULL)
                enso_job_cancel(job, fake_now);
            (void)enso_scheduler_expire(sched, fake_now);
        }
    }
    for (i = 0; i < 2; i++)
        if (running[i] != NULL)
            enso_batch_run(sched, running[i], NULL, fake_clock);
    fake_now += S;
    while (step(sched))
        ;
    for (i = 0; i < N; i++) {
        ck_assert_uint_eq(f[i].n_done, 1);
        n_ok += f[i].status == ENSO_OK;
    }
    ck_assert_uint_ge(n_ok, N / 8);
    enso_queue_stats(sched, queue, fake_now, &stats);
    ck_assert_uint_eq(stats.n_jobs + stats.n_samples + stats.n_items + stats.n_tokens, 0);
    ck_assert_uint_eq(stats.n_clients + stats.n_running, 0);
    finish();
}
END_TEST

static uint64_t real_ns(void)
{
    return enso_clock_now_ns();
}

static int begin_nothing(void *m, struct enso_lane *lane, unsigned slot,
                         struct enso_sample *const *samples, size_t n, const struct enso_pace *pace,
                         struct enso_error *err)
{
    (void)m, (void)lane, (void)slot, (void)samples, (void)n, (void)pace, (void)err;
    return ENSO_OK;
}

static int finish_nothing(void *m, struct enso_lane *lane, unsigned slot,
                          struct enso_sample *const *samples, size_t n,
                          struct enso_spent *ret_spent, struct enso_error *err)
{
    (void)m, (void)lane, (void)slot, (void)samples, (void)n, (void)err;
    *ret_spent = (struct enso_spent){0};
    return ENSO_OK;
}

/* Submit + take + finish of a one-sample job: under 2 us is the aim, ten times that is a failure
 * (sanitizers and a busy machine have to pass as well). */
START_TEST(test_scheduler_cost_of_one_job)
{
    enum { N = 20000 };
    struct enso_runner runner = {.begin = begin_nothing, .finish = finish_nothing};
    struct enso_queue_limits limits = {.max_queue_items = 1000, .max_batch_items = 32};
    struct enso_job *job = enso_job_create(1);
    uint64_t best = UINT64_MAX;
    unsigned n_done = 0, i, round;

    ck_assert_int_eq(enso_scheduler_create(1, 1, &sched, NULL), ENSO_OK);
    ck_assert_int_eq(enso_queue_create("q", &limits, &runner, NULL, &queue, NULL), ENSO_OK);
    enso_scheduler_add_queue(sched, queue);
    job->samples[0] = enso_sample_create();
    job->samples[0]->n_tokens = 12;
    job->done = keep;
    job->user = &n_done;
    for (round = 0; round < 5; round++) {
        uint64_t begin = real_ns(), ns;

        for (i = 0; i < N; i++) {
            struct enso_batch *batch;
            uint64_t wake, now = begin + i * 1000;

            job->deadline_ns = now + S;
            /* ck_assert itself costs a microsecond: it writes to a file */
            if (enso_scheduler_submit(sched, queue, job, now, NULL) != ENSO_OK ||
                !enso_scheduler_take(sched, 0, now + 100, &batch, &wake))
                ck_abort_msg("refused, or nothing to take");
            enso_scheduler_finish(sched, batch, now + 900, ENSO_OK, NULL);
        }
        ns = (real_ns() - begin) / N;
        best = ns < best ? ns : best;
    }
    ck_assert_uint_eq(n_done, 5 * N);
    printf("submit + take + finish of a one-sample job: %llu ns\n", (unsigned long long)best);
    ck_assert_uint_lt(best, getenv("ENSOD_TEST_SANITIZED") != NULL ? 200000 : 20000);
    enso_job_destroy(job);
    finish();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching/scheduler");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors");

    tcase_set_timeout(core, 60);
    tcase_set_timeout(limits, 60);
    tcase_add_test(core, test_scheduler_idle_lane_never_waits);
    tcase_add_test(core, test_scheduler_batches_grow_while_lanes_are_busy);
    tcase_add_test(core, test_scheduler_job_over_two_lanes);
    tcase_add_test(core, test_scheduler_queue_delay);
    tcase_add_test(core, test_scheduler_delay_is_the_queues_own);
    tcase_add_test(core, test_scheduler_try_remove);
    tcase_add_test(core, test_scheduler_stopped_tells_why);
    tcase_add_test(core, test_scheduler_expired_work_is_dropped_before_compute);
    tcase_add_test(core, test_scheduler_expire_while_lanes_are_busy);
    tcase_add_test(core, test_scheduler_expired_frees_the_queue);
    tcase_add_test(core, test_scheduler_cancel_in_every_state);
    tcase_add_test(core, test_scheduler_cancel_after_done);
    tcase_add_test(core, test_scheduler_heavy_model_does_not_starve_a_light_one);
    tcase_add_test(core, test_scheduler_saturated_models_share_time);
    tcase_add_test(core, test_scheduler_unpredicted_batch_is_charged);
    tcase_add_test(core, test_scheduler_predicted_wait_beside_another_model);
    tcase_add_test(core, test_scheduler_no_credit_for_idle_time);
    tcase_add_test(core, test_scheduler_observer);
    tcase_add_test(core, test_scheduler_stats);
    tcase_add_test(core, test_scheduler_overdue);
    tcase_add_test(core, test_scheduler_unknown_is_overdue_at_once);
    tcase_add_test(core, test_scheduler_watchdog);
    tcase_add_test(core, test_scheduler_two_slots);
    tcase_add_test(errors, test_scheduler_failed_run_fails_its_jobs_only);
    tcase_add_test(errors, test_scheduler_poisoned_sample_harms_only_itself);
    tcase_add_test(errors, test_scheduler_too_little_memory_for_all_together);
    tcase_add_test(errors, test_scheduler_remove_and_stop_fail_what_is_queued);
    tcase_add_test(limits, test_scheduler_hundred_thousand_samples);
    tcase_add_test(limits, test_scheduler_random_play);
    tcase_add_test(limits, test_scheduler_cost_of_one_job);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, limits);
    return run_suite(s);
}
