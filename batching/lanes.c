/* SPDX-License-Identifier: Apache-2.0
 *
 * Lane threads: see lanes.h. Taking, and waiting for something to take, stands in scheduler.c; here
 * is the life of the threads, and when a second batch is put behind the first. `mutex` below guards
 * which lanes are open and is never held together with the scheduler's.
 */
#include "batching/lanes.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "batching/batching_internal.h"
#include "engine/backend.h"

/* How long before the expected end of a batch the next one is taken, at least: waking up, and what
 * the prediction is off by. */
#define LEAST_LEAD_NS UINT64_C(100000)
/* A batch may be through much earlier than predicted: a sleeping lane looks after this, or an
 * eighth of the prediction. */
#define LEAST_NAP_NS UINT64_C(250000)

struct lane_thread {
    struct enso_lanes *lanes;
    unsigned index;
    pthread_t thread;
    bool started;                  /* the starting thread's own; and not joined */
    bool ended;                    /* under the mutex: it does nothing any more */
    struct enso_lane *lane;        /* guarded by the mutex for others; NULL: not open */
    struct enso_lane_stats closed; /* under the mutex: of the lane, once it is closed */
    uint64_t begin_ns;             /* what beginning a batch takes, recent ones counting more */
};

/* A batch that is on the lane, or failed to get there. */
struct flight {
    struct enso_batch *batch; /* NULL: none */
    uint64_t expected_ns;     /* when it should be through; 0: not known */
    int status;               /* of its begin */
    struct enso_error err;
};

struct enso_lanes {
    const struct enso_backend *backend;
    struct enso_device *device;
    struct enso_scheduler *scheduler;
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    unsigned n_opened; /* or failed to */
    struct enso_error error;
    bool stopped;
    unsigned n_threads;
    struct lane_thread threads[];
};

static void name_thread(const struct lane_thread *t)
{
    char name[16];

    (void)snprintf(name, sizeof name, "lane %u", t->index);
    (void)prctl(PR_SET_NAME, name); /* for top and gdb only */
}

/* ---- a lane that holds two batches ---- */

static void sleep_ns(uint64_t ns)
{
    const struct timespec t = {.tv_sec = (time_t)(ns / ENSO_NS_PER_S),
                               .tv_nsec = (long)(ns % ENSO_NS_PER_S)};

    (void)nanosleep(&t, NULL); /* woken early: the caller looks again */
}

/* Start the batch behind what ends at `after_ns`. */
static void begin(struct lane_thread *t, struct enso_batch *batch, uint64_t after_ns,
                  struct flight *ret)
{
    uint64_t start_ns = enso_clock_now_ns(), took_ns;

    *ret = (struct flight){.batch = batch};
    if (batch->predicted_ns != 0)
        ret->expected_ns = ENSO_MAX(start_ns + t->begin_ns, after_ns) + batch->predicted_ns;
    ret->status = enso_batch_begin(batch, t->lane, ret->expected_ns, &ret->err);
    took_ns = enso_clock_now_ns() - start_ns;
    t->begin_ns = t->begin_ns == 0 ? took_ns : (3 * t->begin_ns + took_ns) / 4;
}

static void end(struct lane_thread *t, struct flight *f)
{
    enso_batch_end(t->lanes->scheduler, f->batch, t->lane, f->status, &f->err, enso_clock_now_ns);
    f->batch = NULL;
}

/* Sleep while the batch computes, until it is time to put the next one behind it: its record has to
 * be up when this one ends. What begin takes twice over is time for that copy too, since the bus is
 * faster than packing the record was. */
static void sleep_towards_end(const struct lane_thread *t, const struct flight *f)
{
    const struct enso_backend *backend = t->lanes->backend;
    uint64_t lead_ns = LEAST_LEAD_NS + 2 * t->begin_ns;
    uint64_t nap_ns = ENSO_MAX(f->batch->predicted_ns / 8, LEAST_NAP_NS);

    for (;;) {
        uint64_t now_ns = enso_clock_now_ns();

        if (now_ns + lead_ns >= f->expected_ns || backend->done(t->lane, f->batch->slot))
            break;
        sleep_ns(ENSO_MIN(f->expected_ns - lead_ns - now_ns, nap_ns));
    }
}

/* The batch in front is waited for, its samples answered. If they have to be run one by one, the
 * batch behind does not wait for that: it is through soon. */
static void finish_front(struct lane_thread *t, struct flight *front, struct flight *next)
{
    front->status = enso_batch_wait(front->batch, t->lane, &front->err);
    if (next->batch != NULL && enso_batch_must_retry(front->batch, front->status)) {
        if (next->status == ENSO_OK)
            next->status = enso_batch_wait(next->batch, t->lane, &next->err);
        if (!enso_batch_must_retry(next->batch, next->status))
            end(t, next);
    }
    end(t, front);
    if (next->batch != NULL && next->status != ENSO_OK)
        end(t, next);
}

static void work_with_two(struct lane_thread *t)
{
    struct enso_scheduler *s = t->lanes->scheduler;
    struct flight front = {0}, next;
    struct enso_batch *batch;
    uint64_t wake_at_ns;

    (void)prctl(PR_SET_TIMERSLACK, 1000UL); /* 50 us by default, longer than some batches */
    for (;;) {
        if (front.batch == NULL) {
            batch = enso__scheduler_wait_take(s, t->index);
            if (batch == NULL)
                break;
            begin(t, batch, 0, &front);
            if (front.status != ENSO_OK) {
                end(t, &front);
                continue;
            }
        }
        next = (struct flight){0};
        if (front.expected_ns != 0) { /* else it is better to learn first how long it takes */
            sleep_towards_end(t, &front);
            if (enso_scheduler_take(s, t->index, enso_clock_now_ns(), &batch, &wake_at_ns))
                begin(t, batch, front.expected_ns, &next);
        }
        finish_front(t, &front, &next);
        front = next;
    }
}

/* ---- life ---- */

static void add_stats(struct enso_lane_stats *sum, const struct enso_lane_stats *s)
{
    sum->n_captures += s->n_captures;
    sum->n_graph_launches += s->n_graph_launches;
    sum->n_eager += s->n_eager;
    sum->n_tokens += s->n_tokens;
    sum->n_padding_tokens += s->n_padding_tokens;
}

/* With the mutex held. */
static void add_lane(struct enso_lane_stats *sum, const struct lane_thread *t)
{
    struct enso_lane_stats s = t->closed;

    if (t->lane != NULL && t->lanes->backend->lane_stats != NULL)
        t->lanes->backend->lane_stats(t->lane, &s);
    add_stats(sum, &s);
}

void enso_lanes_lane_stats(struct enso_lanes *lanes, unsigned lane,
                           struct enso_lane_stats *ret_stats)
{
    *ret_stats = (struct enso_lane_stats){0};
    (void)pthread_mutex_lock(&lanes->mutex);
    add_lane(ret_stats, &lanes->threads[lane]);
    (void)pthread_mutex_unlock(&lanes->mutex);
}

void enso_lanes_stats(struct enso_lanes *lanes, struct enso_lane_stats *ret_stats)
{
    *ret_stats = (struct enso_lane_stats){0};
    (void)pthread_mutex_lock(&lanes->mutex);
    for (unsigned i = 0; i < lanes->n_threads; i++)
        add_lane(ret_stats, &lanes->threads[i]);
    (void)pthread_mutex_unlock(&lanes->mutex);
}

static void close_lane(struct lane_thread *t)
{
    struct enso_lanes *lanes = t->lanes;
    struct enso_lane *lane = t->lane;

    (void)pthread_mutex_lock(&lanes->mutex);
    if (lanes->backend->lane_stats != NULL)
        lanes->backend->lane_stats(lane, &t->closed);
    t->lane = NULL;
    (void)pthread_mutex_unlock(&lanes->mutex);
    lanes->backend->lane_close(lane);
}

static void work(struct lane_thread *t)
{
    struct enso_lanes *lanes = t->lanes;
    struct enso_error err = {0};
    struct enso_lane *lane = NULL;
    struct enso_batch *batch;
    int status;

    name_thread(t);
    status = lanes->backend->lane_open(lanes->device, &lane, &err);
    (void)pthread_mutex_lock(&lanes->mutex);
    if (status == ENSO_OK)
        t->lane = lane;
    lanes->n_opened++;
    if (status != ENSO_OK && lanes->error.status == ENSO_OK) {
        lanes->error = err;
        lanes->error.status = (enum enso_status)status;
    }
    (void)pthread_cond_signal(&lanes->opened);
    (void)pthread_mutex_unlock(&lanes->mutex);
    if (status != ENSO_OK)
        return;

    if (lanes->backend->n_slots > 1)
        work_with_two(t);
    else
        while ((batch = enso__scheduler_wait_take(lanes->scheduler, t->index)) != NULL)
            enso_batch_run(lanes->scheduler, batch, lane, enso_clock_now_ns);
    close_lane(t);
}

static void *lane_main(void *arg)
{
    struct lane_thread *t = arg;

    work(t);
    (void)pthread_mutex_lock(&t->lanes->mutex);
    t->ended = true;
    (void)pthread_mutex_unlock(&t->lanes->mutex);
    return NULL;
}

static int create_threads(struct enso_lanes *lanes, struct enso_error *err)
{
    unsigned i;

    for (i = 0; i < lanes->n_threads; i++) {
        struct lane_thread *t = &lanes->threads[i];
        int e;

        t->lanes = lanes;
        t->index = i;
        e = pthread_create(&t->thread, NULL, lane_main, t);
        if (e != 0)
            return enso_error_set(err, ENSO_UNAVAILABLE,
                                  "cannot start the thread of lane %u: %s; raise the limit of "
                                  "tasks or threads",
                                  i, strerror(e));
        t->started = true;
    }
    (void)pthread_mutex_lock(&lanes->mutex);
    while (lanes->n_opened < lanes->n_threads)
        (void)pthread_cond_wait(&lanes->opened, &lanes->mutex);
    (void)pthread_mutex_unlock(&lanes->mutex);
    if (lanes->error.status != ENSO_OK)
        return enso_error_set(err, lanes->error.status, "cannot open a lane: %s",
                              lanes->error.message);
    return ENSO_OK;
}

int enso_lanes_start(const struct enso_backend *backend, struct enso_device *device,
                     unsigned n_lanes, struct enso_lanes **ret_lanes, struct enso_error *err)
{
    struct enso_lanes *lanes;
    int status;

    lanes = enso_alloc_zero(1, sizeof *lanes + (size_t)n_lanes * sizeof lanes->threads[0]);
    if (lanes == NULL)
        return enso_error_no_memory(err, "a device's lanes");
    if (pthread_mutex_init(&lanes->mutex, NULL) != 0) {
        enso_free(lanes);
        return enso_error_set(err, ENSO_INTERNAL, "cannot make a mutex: out of resources");
    }
    if (pthread_cond_init(&lanes->opened, NULL) != 0) {
        (void)pthread_mutex_destroy(&lanes->mutex);
        enso_free(lanes);
        return enso_error_set(err, ENSO_INTERNAL, "cannot make a condition: out of resources");
    }
    lanes->backend = backend;
    lanes->device = device;
    lanes->n_threads = n_lanes;
    status = enso_scheduler_create(n_lanes, backend->n_slots, &lanes->scheduler, err);
    if (status == ENSO_OK)
        status = create_threads(lanes, err);
    if (status != ENSO_OK) {
        enso_lanes_destroy(lanes);
        return status;
    }
    *ret_lanes = lanes;
    return ENSO_OK;
}

struct enso_scheduler *enso_lanes_scheduler(struct enso_lanes *lanes)
{
    return lanes->scheduler;
}

static void stop_scheduler(struct enso_lanes *lanes)
{
    if (!lanes->stopped)
        enso_scheduler_stop(lanes->scheduler, NULL, enso_clock_now_ns());
    lanes->stopped = true;
}

static void join(struct lane_thread *t)
{
    if (t->started)
        (void)pthread_join(t->thread, NULL);
    t->started = false;
}

void enso_lanes_stop(struct enso_lanes *lanes)
{
    stop_scheduler(lanes);
    for (unsigned i = 0; i < lanes->n_threads; i++)
        join(&lanes->threads[i]);
}

bool enso_lanes_try_stop(struct enso_lanes *lanes, unsigned *ret_working)
{
    unsigned n_working = 0;

    stop_scheduler(lanes);
    for (unsigned i = 0; i < lanes->n_threads; i++) {
        bool ended;

        (void)pthread_mutex_lock(&lanes->mutex);
        ended = lanes->threads[i].ended;
        (void)pthread_mutex_unlock(&lanes->mutex);
        if (ended)
            join(&lanes->threads[i]); /* at once */
        n_working += lanes->threads[i].started;
    }
    if (ret_working != NULL)
        *ret_working = n_working;
    return n_working == 0;
}

void enso_lanes_destroy(struct enso_lanes *lanes)
{
    if (lanes == NULL)
        return;
    if (lanes->scheduler != NULL)
        enso_lanes_stop(lanes);
    enso_scheduler_destroy(lanes->scheduler);
    (void)pthread_cond_destroy(&lanes->opened);
    (void)pthread_mutex_destroy(&lanes->mutex);
    enso_free(lanes);
}
