/* SPDX-License-Identifier: Apache-2.0
 *
 * batching/lanes: real threads and the real clock on a fake backend. Submitters, cancellers, an
 * expirer, lanes and a stop race each other; every admitted job must be done exactly once. All of
 * it with lanes that hold one batch, as the processor's do, and with lanes that hold two, which the
 * device works off by itself. Built to run under ThreadSanitizer too (CK_FORK=no there).
 */
#include "batching/lanes.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "batching/job.h"
#include "batching/queue.h"
#include "batching/scheduler.h"
#include "engine/backend.h"

/* ---- a backend whose lanes are numbers ---- */

struct enso_lane {
    pthread_t thread;
    uint64_t free_ns;                                    /* when all that it has is through */
    uint64_t end_ns[ENSO_MAX_SLOTS];                     /* 0: the slot is free */
    uint64_t number[ENSO_MAX_SLOTS], n_begun, n_through; /* batches are finished in their order */
};

static atomic_int n_open_lanes;
static atomic_int n_lane_opens;
static int failing_open; /* the n-th open fails; 0 = none */

static int lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                     struct enso_error *err)
{
    struct enso_lane *lane;

    (void)device;
    if (atomic_fetch_add(&n_lane_opens, 1) + 1 == failing_open)
        return enso_error_set(err, ENSO_DEVICE, "no more lanes on this device");
    lane = enso_alloc_zero(1, sizeof *lane);
    if (lane == NULL)
        return enso_error_no_memory(err, "a lane");
    lane->thread = pthread_self();
    atomic_fetch_add(&n_open_lanes, 1);
    *ret_lane = lane;
    return ENSO_OK;
}

static atomic_int n_wrong_threads, n_wrong_slots;

static void check_thread(const struct enso_lane *lane)
{
    if (!pthread_equal(lane->thread, pthread_self()))
        atomic_fetch_add(&n_wrong_threads, 1);
}

static void lane_close(struct enso_lane *lane)
{
    check_thread(lane);
    atomic_fetch_sub(&n_open_lanes, 1);
    enso_free(lane);
}

static bool done(struct enso_lane *lane, unsigned slot)
{
    check_thread(lane);
    return enso_clock_now_ns() >= lane->end_ns[slot];
}

static struct enso_backend backend = {
    .abi = ENSO_BACKEND_ABI,
    .name = "fake",
    .lane_open = lane_open,
    .lane_close = lane_close,
    .done = done,
};

static atomic_uint n_runs, n_running, most_running;

/* Under ThreadSanitizer all tests are one process. */
static void forget(void)
{
    failing_open = 0;
    atomic_store(&n_open_lanes, 0);
    atomic_store(&n_lane_opens, 0);
    atomic_store(&n_runs, 0);
    atomic_store(&n_running, 0);
    atomic_store(&most_running, 0);
}

static void one_slot(void)
{
    forget();
    backend.n_slots = 1;
}

static void two_slots(void)
{
    forget();
    backend.n_slots = 2;
}

/* ---- a model that writes its answer into the sample ---- */

static void sleep_us(unsigned us)
{
    struct timespec t = {.tv_nsec = (long)us * 1000};

    (void)nanosleep(&t, NULL);
}

/* What runs does not end while it is held. */
static atomic_bool held;

/* The lane works off what it has one after the other, each in its time. */
static int begin(void *model, struct enso_lane *lane, unsigned slot,
                 struct enso_sample *const *samples, size_t n, const struct enso_pace *pace,
                 struct enso_error *err)
{
    const unsigned *us = model;
    uint64_t now_ns = enso_clock_now_ns();
    unsigned running;

    (void)pace;
    check_thread(lane);
    if (slot >= backend.n_slots || lane->end_ns[slot] != 0)
        atomic_fetch_add(&n_wrong_slots, 1);
    if (samples[0]->n_characters == 'b' && n > 1)
        return enso_error_set(err, ENSO_NO_MEMORY, "too much at once");
    atomic_fetch_add(&n_runs, 1);
    running = atomic_fetch_add(&n_running, 1) + 1;
    if (running > atomic_load(&most_running))
        atomic_store(&most_running, running); /* exact where a test looks at it */
    lane->free_ns = ENSO_MAX(lane->free_ns, now_ns) + (uint64_t)*us * 1000;
    lane->end_ns[slot] = lane->free_ns;
    lane->number[slot] = ++lane->n_begun;
    return ENSO_OK;
}

static int finish(void *model, struct enso_lane *lane, unsigned slot,
                  struct enso_sample *const *samples, size_t n, struct enso_spent *ret_spent,
                  struct enso_error *err)
{
    const unsigned *us = model;
    uint64_t now_ns = enso_clock_now_ns(), end_ns = lane->end_ns[slot];

    check_thread(lane);
    if (end_ns == 0 || lane->number[slot] != ++lane->n_through)
        atomic_fetch_add(&n_wrong_slots, 1);
    lane->end_ns[slot] = 0;
    if (end_ns > now_ns)
        sleep_us((unsigned)((end_ns - now_ns) / 1000 + 1));
    while (atomic_load(&held))
        sleep_us(1000);
    atomic_fetch_sub(&n_running, 1);
    if (ret_spent != NULL)
        ret_spent->compute_ns = backend.n_slots > 1 ? *us * UINT64_C(1000) + 1 : 0;
    for (size_t i = 0; i < n; i++) {
        if (samples[i]->n_characters == 'p')
            return enso_error_set(err, ENSO_INVALID, "poisoned");
        samples[i]->n_outputs++; /* TSan sees it if two lanes ever share a sample */
    }
    return ENSO_OK;
}

static struct enso_queue *make_queue(unsigned *us, const struct enso_queue_limits *limits)
{
    struct enso_runner runner = {.model = us, .begin = begin, .finish = finish};
    struct enso_queue *q;

    ck_assert_int_eq(enso_queue_create("fake", limits, &runner, NULL, &q, NULL), ENSO_OK);
    return q;
}

/* ---- jobs that are waited for, the way the loop does ---- */

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned n_done;
    enum enso_status status;
};

static void wake(struct enso_job *job, void *user)
{
    struct waiter *w = user;

    pthread_mutex_lock(&w->mutex);
    w->n_done++;
    w->status = job->status;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static void wait_done(struct waiter *w, unsigned n)
{
    pthread_mutex_lock(&w->mutex);
    while (w->n_done < n)
        pthread_cond_wait(&w->cond, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

static struct enso_job *make_job(uint32_t n)
{
    struct enso_job *job = enso_job_create(n);
    uint32_t i;

    if (job == NULL)
        return NULL;
    for (i = 0; i < n; i++) {
        job->samples[i] = enso_sample_create();
        job->samples[i]->n_tokens = 5;
    }
    return job;
}

#define WAITER_INIT                                                                                \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, ENSO_OK                            \
    }

START_TEST(test_lanes_run_a_job)
{
    struct waiter w = WAITER_INIT;
    unsigned us = 0;
    struct enso_lanes *lanes;
    struct enso_queue *q = make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 8});
    struct enso_job *job = make_job(20);

    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 2, &lanes, NULL), ENSO_OK);
    ck_assert_int_eq(atomic_load(&n_open_lanes), 2);
    enso_scheduler_add_queue(enso_lanes_scheduler(lanes), q);
    job->done = wake;
    job->user = &w;
    ck_assert_int_eq(
        enso_scheduler_submit(enso_lanes_scheduler(lanes), q, job, enso_clock_now_ns(), NULL),
        ENSO_OK);
    wait_done(&w, 1);
    ck_assert_int_eq(job->status, ENSO_OK);
    ck_assert_uint_eq(job->samples[19]->n_outputs, 1);
    ck_assert_uint_ge(job->n_batches, 3);
    enso_job_destroy(job);
    ck_assert(enso_scheduler_healthy(enso_lanes_scheduler(lanes), enso_clock_now_ns()));
    enso_scheduler_remove_queue(enso_lanes_scheduler(lanes), q, enso_clock_now_ns());
    enso_queue_destroy(q);
    enso_lanes_destroy(lanes);
    ck_assert_int_eq(atomic_load(&n_open_lanes), 0);
    ck_assert_int_eq(atomic_load(&n_wrong_threads), 0);
}
END_TEST

/* A lane that does not come home is told as such, and nobody waits for it. */
START_TEST(test_lanes_try_stop)
{
    struct waiter running = WAITER_INIT;
    unsigned us = 0, n_working = 0;
    struct enso_queue *q = make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 1});
    struct enso_job *jobs[] = {make_job(1), make_job(1)};
    struct enso_lanes *lanes;

    atomic_store(&held, true);
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 2, &lanes, NULL), ENSO_OK);
    enso_scheduler_add_queue(enso_lanes_scheduler(lanes), q);
    jobs[0]->done = wake;
    jobs[0]->user = &running;
    ck_assert_int_eq(
        enso_scheduler_submit(enso_lanes_scheduler(lanes), q, jobs[0], enso_clock_now_ns(), NULL),
        ENSO_OK);
    while (atomic_load(&n_running) == 0)
        sleep_us(1000);
    do {
        sleep_us(1000); /* until the idle one has ended */
        ck_assert(!enso_lanes_try_stop(lanes, &n_working));
    } while (n_working == 2);
    ck_assert_uint_eq(n_working, 1);
    ck_assert_uint_eq(running.n_done, 0);
    ck_assert_int_eq(
        enso_scheduler_submit(enso_lanes_scheduler(lanes), q, jobs[1], enso_clock_now_ns(), NULL),
        ENSO_UNAVAILABLE);
    atomic_store(&held, false);
    while (!enso_lanes_try_stop(lanes, &n_working))
        sleep_us(1000);
    ck_assert_uint_eq(n_working, 0);
    ck_assert(enso_lanes_try_stop(lanes, NULL));
    wait_done(&running, 1); /* what ran is finished */
    ck_assert_int_eq(jobs[0]->status, ENSO_OK);
    ck_assert_int_eq(atomic_load(&n_open_lanes), 0);
    enso_job_destroy(jobs[0]);
    enso_job_destroy(jobs[1]);
    enso_scheduler_remove_queue(enso_lanes_scheduler(lanes), q, enso_clock_now_ns());
    enso_queue_destroy(q);
    enso_lanes_destroy(lanes);
}
END_TEST

/* A queue that waits for company: the lane wakes by itself when the delay is over. */
START_TEST(test_lanes_keep_the_queue_delay)
{
    struct waiter w = WAITER_INIT;
    unsigned us = 0;
    struct enso_lanes *lanes;
    struct enso_queue *q =
        make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 8,
                                                    .max_queue_delay_ns = 30 * ENSO_NS_PER_MS});
    struct enso_job *job = make_job(1);
    uint64_t begin;

    enso_queue_seed(q, 5, 1000);
    enso_queue_seed(q, 50, 1000);
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 1, &lanes, NULL), ENSO_OK);
    enso_scheduler_add_queue(enso_lanes_scheduler(lanes), q);
    job->done = wake;
    job->user = &w;
    begin = enso_clock_now_ns();
    ck_assert_int_eq(enso_scheduler_submit(enso_lanes_scheduler(lanes), q, job, begin, NULL),
                     ENSO_OK);
    wait_done(&w, 1);
    ck_assert_uint_ge(enso_clock_now_ns() - begin, 30 * ENSO_NS_PER_MS);
    ck_assert_uint_ge(job->queue_ns, 29 * ENSO_NS_PER_MS);
    enso_job_destroy(job);
    enso_scheduler_remove_queue(enso_lanes_scheduler(lanes), q, enso_clock_now_ns());
    enso_queue_destroy(q);
    enso_lanes_destroy(lanes);
}
END_TEST

/* Jobs submitted quietly wait for the wake-up, and come as one batch. */
START_TEST(test_lanes_sleep_through_quiet_submits)
{
    struct waiter w = WAITER_INIT;
    unsigned us = 0;
    struct enso_lanes *lanes;
    struct enso_queue *q = make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 8});
    struct enso_scheduler *s;
    struct enso_job *jobs[3];

    enso_queue_seed(q, 5, 1000);
    enso_queue_seed(q, 50, 1000);
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 1, &lanes, NULL), ENSO_OK);
    s = enso_lanes_scheduler(lanes);
    enso_scheduler_add_queue(s, q);
    sleep_us(20000);        /* let the lane get to sleep */
    enso_scheduler_wake(s); /* nothing to do: harmless */
    for (int i = 0; i < 3; i++) {
        jobs[i] = make_job(1);
        jobs[i]->done = wake;
        jobs[i]->user = &w;
        ck_assert_int_eq(enso_scheduler_submit_quietly(s, q, jobs[i], enso_clock_now_ns(), NULL),
                         ENSO_OK);
    }
    sleep_us(30000);
    ck_assert_uint_eq(atomic_load(&n_runs), 0);
    enso_scheduler_wake(s);
    wait_done(&w, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(jobs[i]->status, ENSO_OK);
        ck_assert_uint_eq(jobs[i]->batch_items, 3);
        enso_job_destroy(jobs[i]);
    }
    enso_scheduler_remove_queue(s, q, enso_clock_now_ns());
    enso_queue_destroy(q);
    enso_lanes_destroy(lanes);
}
END_TEST

/* One submit wakes one lane; that one wakes the next for what it leaves. */
START_TEST(test_lanes_all_work_on_one_job)
{
    struct waiter w = WAITER_INIT;
    unsigned us = 100000;
    struct enso_lanes *lanes;
    struct enso_queue *q = make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 1});
    struct enso_job *job = make_job(3);

    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 3, &lanes, NULL), ENSO_OK);
    enso_scheduler_add_queue(enso_lanes_scheduler(lanes), q);
    sleep_us(20000); /* let them get to sleep */
    job->done = wake;
    job->user = &w;
    ck_assert_int_eq(
        enso_scheduler_submit(enso_lanes_scheduler(lanes), q, job, enso_clock_now_ns(), NULL),
        ENSO_OK);
    wait_done(&w, 1);
    ck_assert_uint_eq(atomic_load(&most_running), 3);
    enso_job_destroy(job);
    enso_scheduler_remove_queue(enso_lanes_scheduler(lanes), q, enso_clock_now_ns());
    enso_queue_destroy(q);
    enso_lanes_destroy(lanes);
}
END_TEST

START_TEST(test_lanes_remove_queue_waits_for_its_batch)
{
    struct waiter w = WAITER_INIT;
    unsigned us = 50000, before = atomic_load(&n_runs);
    struct enso_lanes *lanes;
    struct enso_queue *q = make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 1});
    struct enso_job *job = make_job(2);

    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 1, &lanes, NULL), ENSO_OK);
    enso_scheduler_add_queue(enso_lanes_scheduler(lanes), q);
    job->done = wake;
    job->user = &w;
    ck_assert_int_eq(
        enso_scheduler_submit(enso_lanes_scheduler(lanes), q, job, enso_clock_now_ns(), NULL),
        ENSO_OK);
    while (atomic_load(&n_runs) == before)
        sleep_us(100);
    enso_scheduler_remove_queue(enso_lanes_scheduler(lanes), q, enso_clock_now_ns());
    ck_assert_uint_eq(atomic_load(&n_running), 0);
    ck_assert_uint_eq(atomic_load(&n_runs), before + 1);
    enso_queue_destroy(q);
    wait_done(&w, 1);
    ck_assert_int_eq(job->status, ENSO_UNAVAILABLE);
    enso_job_destroy(job);
    enso_lanes_destroy(lanes);
}
END_TEST

/* Nothing queued: no thread of ours runs. */
START_TEST(test_lanes_idle_wake_nobody)
{
    struct rusage before, after;
    struct enso_lanes *lanes;

    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 4, &lanes, NULL), ENSO_OK);
    sleep_us(20000); /* let them get to sleep */
    getrusage(RUSAGE_SELF, &before);
    sleep_us(300000);
    getrusage(RUSAGE_SELF, &after);
    /* this thread's own sleep is one; ThreadSanitizer has a thread of its own */
    ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 10);
    enso_lanes_destroy(lanes);
}
END_TEST

START_TEST(test_lanes_open_error)
{
    struct enso_error err = {0};
    struct enso_lanes *lanes;

    atomic_store(&n_lane_opens, 0);
    failing_open = 2;
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 3, &lanes, &err), ENSO_DEVICE);
    failing_open = 0;
    ck_assert_str_eq(err.message, "cannot open a lane: no more lanes on this device");
    ck_assert_int_eq(atomic_load(&n_open_lanes), 0);
    enso_lanes_destroy(NULL);
}
END_TEST

START_TEST(test_lanes_start_oom)
{
    struct enso_lanes *lanes = NULL;
    enum enso_status st = ENSO_NO_MEMORY;
    uint64_t n;

    for (n = 1; st == ENSO_NO_MEMORY; n++) {
        ck_assert_uint_lt(n, 20);
        enso_memory_fail_at(n);
        st = enso_lanes_start(&backend, NULL, 1, &lanes, NULL);
        enso_memory_fail_at(0);
    }
    ck_assert_int_eq(st, ENSO_OK);
    ck_assert_uint_ge(n, 5);
    enso_lanes_destroy(lanes);
    ck_assert_int_eq(atomic_load(&n_open_lanes), 0);
}
END_TEST

/* ---- all at once ---- */

enum { N_SUBMITTERS = 4, JOBS_EACH = 1500, N_QUEUES = 3 };

struct storm_job {
    struct enso_job *job;
    atomic_uint n_done;
    unsigned status; /* plain: done happens before whoever sees n_done */
    bool submitted;
};

struct storm {
    struct enso_lanes *lanes;
    struct enso_queue *queues[N_QUEUES];
    struct storm_job jobs[N_SUBMITTERS][JOBS_EACH];
    atomic_uint n_done;
    atomic_bool over;
};

static struct storm storm;

static void storm_done(struct enso_job *job, void *user)
{
    struct storm_job *sj = user;

    sj->status = (unsigned)-(int)job->status;
    atomic_fetch_add(&storm.n_done, 1);
    atomic_fetch_add(&sj->n_done, 1); /* the last touch: the submitter may now destroy the job */
}

struct storm_submitter {
    pthread_t thread;
    unsigned index;
    unsigned n_admitted, n_refused;
};

/* Submits and cancels its own jobs, as the loop does for its connections. */
static void *storm_submit(void *arg)
{
    struct storm_submitter *self = arg;
    struct enso_scheduler *s = enso_lanes_scheduler(storm.lanes);
    uint32_t random = self->index + 1;
    unsigned i;

    for (i = 0; i < JOBS_EACH; i++) {
        struct storm_job *sj = &storm.jobs[self->index][i];
        struct enso_error err = {0};
        uint64_t now = enso_clock_now_ns();
        struct enso_queue *q;

        random = random * 1664525u + 1013904223u;
        q = storm.queues[(random >> 10) % N_QUEUES];
        sj->job = make_job(1 + (random >> 16) % 12);
        sj->job->client = (random >> 8) % 3;
        sj->job->priority = (random >> 12) % 10;
        sj->job->deadline_ns = (random >> 20) % 2 ? now + (random >> 14) % 4000000 : 0;
        if ((random >> 24) % 40 == 0)
            sj->job->samples[0]->n_characters = (random >> 6) % 2 ? 'p' : 'b';
        sj->job->done = storm_done;
        sj->job->user = sj;
        if (enso_scheduler_submit(s, q, sj->job, now, &err) == ENSO_OK) {
            sj->submitted = true;
            self->n_admitted++;
        } else {
            self->n_refused++;
        }
        if ((random >> 18) % 3 == 0) { /* somebody hangs up */
            unsigned back = (random >> 22) % 8;

            sj = &storm.jobs[self->index][i - (back < i ? back : i)];
            if (sj->submitted)
                enso_job_cancel(sj->job, enso_clock_now_ns());
        }
        if (random >> 30 == 0)
            sleep_us(50);
    }
    return NULL;
}

static void *storm_expire(void *arg)
{
    struct enso_scheduler_stats stats;
    struct enso_scheduler *s = enso_lanes_scheduler(storm.lanes);

    (void)arg;
    while (!atomic_load(&storm.over)) {
        (void)enso_scheduler_expire(s, enso_clock_now_ns());
        enso_scheduler_stats(s, enso_clock_now_ns(), &stats);
        (void)enso_scheduler_healthy(s, enso_clock_now_ns());
        sleep_us(200);
    }
    return NULL;
}

static void storm_play(bool stop_early)
{
    static unsigned us[N_QUEUES] = {0, 100, 300};
    static const struct enso_queue_limits limits[N_QUEUES] = {
        {.max_queue_items = 500, .max_batch_items = 8},
        {.max_queue_items = 200, .max_batch_ns = 2 * ENSO_NS_PER_MS},
        {.max_queue_items = 100, .max_batch_items = 16, .max_queue_delay_ns = 300000}};
    struct storm_submitter submitters[N_SUBMITTERS] = {0};
    unsigned n_admitted = 0, n_by_status[20] = {0}, i, j;
    pthread_t expirer;

    memset(&storm, 0, sizeof storm);
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 3, &storm.lanes, NULL), ENSO_OK);
    for (i = 0; i < N_QUEUES; i++) {
        storm.queues[i] = make_queue(&us[i], &limits[i]);
        enso_scheduler_add_queue(enso_lanes_scheduler(storm.lanes), storm.queues[i]);
    }
    ck_assert_int_eq(pthread_create(&expirer, NULL, storm_expire, NULL), 0);
    for (i = 0; i < N_SUBMITTERS; i++) {
        submitters[i].index = i;
        ck_assert_int_eq(pthread_create(&submitters[i].thread, NULL, storm_submit, &submitters[i]),
                         0);
    }
    if (stop_early) {
        sleep_us(30000);
        enso_lanes_stop(storm.lanes);
    }
    for (i = 0; i < N_SUBMITTERS; i++) {
        pthread_join(submitters[i].thread, NULL);
        n_admitted += submitters[i].n_admitted;
    }
    while (atomic_load(&storm.n_done) < n_admitted)
        sleep_us(1000);
    atomic_store(&storm.over, true);
    pthread_join(expirer, NULL);
    for (i = 0; i < N_QUEUES; i++) {
        enso_scheduler_remove_queue(enso_lanes_scheduler(storm.lanes), storm.queues[i],
                                    enso_clock_now_ns());
        enso_queue_destroy(storm.queues[i]);
    }
    enso_lanes_destroy(storm.lanes);
    for (i = 0; i < N_SUBMITTERS; i++) {
        for (j = 0; j < JOBS_EACH; j++) {
            struct storm_job *sj = &storm.jobs[i][j];

            if (atomic_load(&sj->n_done) != (sj->submitted ? 1 : 0))
                ck_abort_msg("job %u of %u: done %u times", j, i, atomic_load(&sj->n_done));
            if (sj->submitted)
                n_by_status[sj->status % 20]++;
            enso_job_destroy(sj->job);
        }
    }
    ck_assert_int_eq(atomic_load(&n_wrong_threads), 0);
    ck_assert_int_eq(atomic_load(&n_wrong_slots), 0);
    ck_assert_int_eq(atomic_load(&n_running), 0);
    if (!stop_early) {
        ck_assert_uint_gt(n_by_status[-ENSO_OK], 100);
        ck_assert_uint_gt(n_by_status[-ENSO_CANCELLED], 10);
    }
    ck_assert_uint_eq(n_admitted, atomic_load(&storm.n_done));
}

START_TEST(test_lanes_storm)
{
    storm_play(false);
}
END_TEST

START_TEST(test_lanes_storm_and_stop)
{
    storm_play(true);
}
END_TEST

/* A model version is replaced under load: remove waits for its batch, jobs all end. */
static _Atomic unsigned n_fed;

static void *feed(void *arg)
{
    struct enso_queue *q = arg;
    struct enso_scheduler *s = enso_lanes_scheduler(storm.lanes);
    unsigned i;

    for (i = 0; i < JOBS_EACH; i++) {
        struct storm_job *sj = &storm.jobs[0][i];

        sj->job = make_job(3);
        sj->job->done = storm_done;
        sj->job->user = sj;
        if (enso_scheduler_submit(s, q, sj->job, enso_clock_now_ns(), NULL) != ENSO_OK)
            break;
        sj->submitted = true;
        atomic_fetch_add(&n_fed, 1);
    }
    return NULL;
}

START_TEST(test_lanes_remove_queue_under_load)
{
    unsigned us = 200, i, n_submitted = 0;
    struct enso_queue *q = make_queue(&us, &(struct enso_queue_limits){.max_batch_items = 4});
    pthread_t feeder;

    memset(&storm, 0, sizeof storm);
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 2, &storm.lanes, NULL), ENSO_OK);
    enso_scheduler_add_queue(enso_lanes_scheduler(storm.lanes), q);
    atomic_store(&n_fed, 0);
    ck_assert_int_eq(pthread_create(&feeder, NULL, feed, q), 0);
    for (i = 0; i < 10000 && atomic_load(&n_fed) < 8; i++) /* of a busy machine, its time */
        sleep_us(1000);
    enso_scheduler_close_queue(enso_lanes_scheduler(storm.lanes), q);
    pthread_join(feeder, NULL);
    enso_scheduler_remove_queue(enso_lanes_scheduler(storm.lanes), q, enso_clock_now_ns());
    /* removed: nothing touches it any more, though done may still be on its way */
    enso_queue_destroy(q);
    enso_lanes_destroy(storm.lanes);
    for (i = 0; i < JOBS_EACH && storm.jobs[0][i].job != NULL; i++) {
        n_submitted += storm.jobs[0][i].submitted;
        ck_assert_uint_eq(atomic_load(&storm.jobs[0][i].n_done), storm.jobs[0][i].submitted);
        enso_job_destroy(storm.jobs[0][i].job);
    }
    ck_assert_uint_ge(n_submitted, 1);
}
END_TEST

static void add_cases(Suite *s, void (*slots)(void), const char *of)
{
    static char names[8][32];
    static unsigned n_names;
    static const char *const kinds[] = {"core", "errors", "oom", "threads"};
    TCase *cases[4];

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        (void)snprintf(names[n_names], sizeof names[0], "%s%s", kinds[i], of);
        cases[i] = tcase_create(names[n_names++]);
        tcase_add_checked_fixture(cases[i], slots, NULL);
        suite_add_tcase(s, cases[i]);
    }
    tcase_set_timeout(cases[3], 60);
    tcase_add_test(cases[0], test_lanes_run_a_job);
    tcase_add_test(cases[0], test_lanes_try_stop);
    tcase_add_test(cases[0], test_lanes_keep_the_queue_delay);
    tcase_add_test(cases[0], test_lanes_sleep_through_quiet_submits);
    tcase_add_test(cases[0], test_lanes_idle_wake_nobody);
    tcase_add_test(cases[1], test_lanes_open_error);
    tcase_add_test(cases[2], test_lanes_start_oom);
    tcase_add_test(cases[3], test_lanes_all_work_on_one_job);
    tcase_add_test(cases[3], test_lanes_remove_queue_waits_for_its_batch);
    tcase_add_test(cases[3], test_lanes_storm);
    tcase_add_test(cases[3], test_lanes_storm_and_stop);
    tcase_add_test(cases[3], test_lanes_remove_queue_under_load);
}

int main(void)
{
    Suite *s = suite_create("batching/lanes");
    SRunner *runner;
    int failed;

    add_cases(s, one_slot, "");
    add_cases(s, two_slots, ", two slots");
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
