/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduler of a device: see scheduler.h.
 *
 * Who ends a job. Under the mutex, and only there, a job's samples move from queued to running to
 * through, its first failure (run, deadline, cancel, stop) is written into status, and when nothing
 * of it is queued or running it is marked finished and put on a local list of the thread that did
 * that. After unlocking, that thread calls done for its list. So cancel, expiry, and the lane may
 * race: whoever takes the last sample away ends the job, the others find it finished.
 */
#include "batching/scheduler.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "batching/batching_internal.h"
#include "engine/backend.h"

#define FIRST_BATCH_CAPACITY 64
#define WATCHDOG_LEAST_NS (30 * ENSO_NS_PER_S)
#define WATCHDOG_FACTOR 10

/* Jobs that have ended, in that order; done is called for them outside the mutex. */
struct ended {
    struct enso_job *first, **end;
};

static void lock(struct enso_scheduler *s)
{
    (void)pthread_mutex_lock(&s->mutex); /* fails only for a mutex that is none */
}

static void unlock(struct enso_scheduler *s)
{
    (void)pthread_mutex_unlock(&s->mutex);
}

static void ended_init(struct ended *ended)
{
    ended->first = NULL;
    ended->end = &ended->first;
}

/* Outside the mutex. After done a job is not ours any more. */
static void call_done(struct ended *ended)
{
    struct enso_job *job = ended->first, *next;

    for (; job != NULL; job = next) {
        const struct enso_observer *observer = job->observer;

        next = job->next_done;
        if (observer != NULL && observer->job != NULL)
            observer->job(observer->user, job);
        job->done(job, job->user);
    }
    ended_init(ended);
}

/* If nothing of the job is queued or running, it has ended. Called right after the last of that was
 * taken away, so once. */
static void settle(struct enso_job *job, uint64_t now_ns, struct ended *ended)
{
    uint64_t total_ns;

    if (job->next < job->n_samples || job->n_running != 0)
        return;
    total_ns = now_ns > job->submit_ns ? now_ns - job->submit_ns : 0;
    job->compute_ns = ENSO_MIN(job->compute_ns, total_ns);
    job->queue_ns = total_ns - job->compute_ns;
    job->finished = true;
    job->next_done = NULL;
    *ended->end = job;
    ended->end = &job->next_done;
}

/* The job fails (unless it already has): its queued samples are dropped. */
static void fail_job(struct enso_job *job, enum enso_status status, const struct enso_error *err)
{
    if (job->finished || job->status != ENSO_OK)
        return;
    job->status = status;
    if (err != NULL && err->status != ENSO_OK)
        job->error = *err;
    else
        (void)enso_error_set(&job->error, status, "%s", enso_status_text(status));
    enso__queue_drop(job->queue, job);
}

static void expire_queue(struct enso_queue *q, uint64_t now_ns, struct ended *ended)
{
    while (q->deadlines.first != NULL) {
        struct enso_job *job = ENSO_CONTAINER_OF(q->deadlines.first, struct enso_job, by_deadline);
        struct enso_error err = {0};

        if (job->deadline_ns > now_ns)
            break;
        (void)enso_error_set(&err, ENSO_DEADLINE,
                             "the deadline passed after %.0f ms in the queue of model '%s'; allow "
                             "more time or send less at once",
                             (double)(now_ns - job->submit_ns) / 1e6, q->name);
        fail_job(job, ENSO_DEADLINE, &err);
        settle(job, now_ns, ended);
    }
}

static struct enso_queue *queue_at(struct enso_list *node)
{
    return ENSO_CONTAINER_OF(node, struct enso_queue, in_scheduler);
}

static void expire(struct enso_scheduler *s, uint64_t now_ns, struct ended *ended)
{
    struct enso_list *node;

    for (node = s->queues.next; node != &s->queues; node = node->next)
        expire_queue(queue_at(node), now_ns, ended);
}

static uint64_t next_deadline(const struct enso_scheduler *s)
{
    const struct enso_list *node;
    uint64_t next = UINT64_MAX;

    for (node = s->queues.next; node != &s->queues; node = node->next) {
        const struct enso_queue *q = ENSO_CONTAINER_OF(node, const struct enso_queue, in_scheduler);

        if (q->deadlines.first != NULL)
            next = ENSO_MIN(
                next, ENSO_CONTAINER_OF(q->deadlines.first, const struct enso_job, by_deadline)
                          ->deadline_ns);
    }
    return next;
}

static void fail_queued(struct enso_queue *q, const struct enso_error *err, uint64_t now_ns,
                        struct ended *ended)
{
    while (!enso_list_empty(&q->jobs)) {
        struct enso_job *job = ENSO_CONTAINER_OF(q->jobs.next, struct enso_job, in_queue);

        fail_job(job, err->status, err);
        settle(job, now_ns, ended);
    }
}

/* ---- life ---- */

static int init_sync(struct enso_scheduler *s)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes) != 0)
        return -1;
    /* lanes wait until times of enso_clock_now_ns */
    if (pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 ||
        pthread_mutex_init(&s->mutex, NULL) != 0) {
        (void)pthread_condattr_destroy(&attributes);
        return -1;
    }
    if (pthread_cond_init(&s->work, &attributes) == 0) {
        if (pthread_cond_init(&s->ended, &attributes) == 0) {
            (void)pthread_condattr_destroy(&attributes);
            return 0;
        }
        (void)pthread_cond_destroy(&s->work);
    }
    (void)pthread_mutex_destroy(&s->mutex);
    (void)pthread_condattr_destroy(&attributes);
    return -1;
}

static void free_slots(struct enso_scheduler *s)
{
    unsigned i;

    for (i = 0; i < s->n_lanes * s->n_slots; i++) {
        enso_free(s->slots[i].batch.samples);
        enso_free(s->slots[i].batch.items);
    }
    enso_free(s);
}

int enso_scheduler_create(unsigned n_lanes, unsigned n_slots, struct enso_scheduler **ret_scheduler,
                          struct enso_error *err)
{
    struct enso_scheduler *s;
    unsigned i;

    s = enso_alloc_zero(1, sizeof *s + (size_t)n_lanes * n_slots * sizeof s->slots[0]);
    if (s == NULL)
        return enso_error_no_memory(err, "a device's scheduler");
    s->n_lanes = n_lanes;
    s->n_slots = n_slots;
    for (i = 0; i < n_lanes * n_slots; i++) {
        struct enso_batch *b = &s->slots[i].batch;

        b->capacity = FIRST_BATCH_CAPACITY;
        b->samples = enso_alloc_array(b->capacity, sizeof(struct enso_sample *));
        b->items = enso_alloc_array(b->capacity, sizeof b->items[0]);
        if (b->samples == NULL || b->items == NULL) {
            free_slots(s);
            return enso_error_no_memory(err, "a device's scheduler");
        }
    }
    if (init_sync(s) != 0) {
        free_slots(s);
        return enso_error_set(err, ENSO_INTERNAL, "cannot make a mutex: out of resources");
    }
    enso_list_init(&s->queues);
    enso_fair_init(&s->fair);
    *ret_scheduler = s;
    return ENSO_OK;
}

void enso_scheduler_destroy(struct enso_scheduler *s)
{
    if (s == NULL)
        return;
    (void)pthread_cond_destroy(&s->ended);
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_mutex_destroy(&s->mutex);
    free_slots(s);
}

void enso_scheduler_add_queue(struct enso_scheduler *s, struct enso_queue *q)
{
    lock(s);
    q->scheduler = s;
    enso_list_append(&s->queues, &q->in_scheduler);
    s->n_queues++;
    unlock(s);
}

void enso_scheduler_close_queue(struct enso_scheduler *s, struct enso_queue *q)
{
    lock(s);
    q->closed = true;
    if (q->n_jobs != 0 && s->n_waiting != 0)
        (void)pthread_cond_signal(&s->work); /* no more waiting for company */
    unlock(s);
}

static void close_and_fail(struct enso_scheduler *s, struct enso_queue *q, uint64_t now_ns)
{
    struct enso_error err = {0};
    struct ended ended;

    ended_init(&ended);
    (void)enso_error_set(&err, ENSO_UNAVAILABLE, "model '%s' is being unloaded", q->name);
    lock(s);
    q->closed = true;
    fail_queued(q, &err, now_ns, &ended);
    unlock(s);
    call_done(&ended);
}

/* Under the mutex, when nothing of it runs. */
static void take_off(struct enso_scheduler *s, struct enso_queue *q)
{
    enso_list_remove(&q->in_scheduler);
    q->scheduler = NULL;
    s->n_queues--;
}

void enso_scheduler_remove_queue(struct enso_scheduler *s, struct enso_queue *q, uint64_t now_ns)
{
    close_and_fail(s, q, now_ns);
    lock(s);
    while (q->n_running != 0)
        (void)pthread_cond_wait(&s->ended, &s->mutex);
    take_off(s, q);
    unlock(s);
}

bool enso_scheduler_try_remove_queue(struct enso_scheduler *s, struct enso_queue *q,
                                     uint64_t now_ns)
{
    bool idle;

    close_and_fail(s, q, now_ns);
    lock(s);
    idle = q->n_running == 0;
    if (idle)
        take_off(s, q);
    unlock(s);
    return idle;
}

/* ---- submit ---- */

/* Put the refusal into words, outside the mutex: under overload this is the hot path. */
static int explain(const struct enso_refusal *r, const struct enso_queue *q, struct enso_job *job,
                   struct enso_error *err)
{
    job->retry_after_ns = r->retry_after_ns;
    switch (r->status) {
    case ENSO_NO_MEMORY:
        return enso_error_no_memory(err, "a place in the queue");
    case ENSO_UNAVAILABLE:
        if (r->why != NULL)
            return enso_error_set(err, ENSO_UNAVAILABLE, "%s", r->why);
        return enso_error_set(err, ENSO_UNAVAILABLE, "model '%s' is being unloaded; retry",
                              q->name);
    case ENSO_DEADLINE:
        return enso_error_set(err, ENSO_DEADLINE,
                              "the deadline passed before the request came to the queue of model "
                              "'%s'; allow more time",
                              q->name);
    default:
        break;
    }
    if (r->what != NULL) {
        enso_error_code(err, "queue_full");
        return enso_error_set(err, ENSO_OVERLOADED,
                              "the queue of model '%s' is full: %llu %s wait, this request brings "
                              "%llu, the limit is %llu; retry in %.3f s",
                              q->name, (unsigned long long)r->queued, r->what,
                              (unsigned long long)r->wanted, (unsigned long long)r->limit,
                              (double)r->retry_after_ns / 1e9);
    }
    enso_error_code(err, "would_miss_deadline");
    if (r->alone_ns > r->left_ns)
        return enso_error_set(err, ENSO_OVERLOADED,
                              "model '%s' needs about %.0f ms for this request alone, its deadline "
                              "leaves %.0f ms; allow more time or send less at once",
                              q->name, (double)r->alone_ns / 1e6, (double)r->left_ns / 1e6);
    return enso_error_set(err, ENSO_OVERLOADED,
                          "model '%s' is busy: this request would be answered in about %.0f ms, "
                          "its deadline leaves %.0f ms; retry in %.3f s or allow more time",
                          q->name, (double)r->needed_ns / 1e6, (double)r->left_ns / 1e6,
                          (double)r->retry_after_ns / 1e9);
}

static void reset_outcome(struct enso_scheduler *s, struct enso_queue *q, struct enso_job *job,
                          uint64_t now_ns)
{
    job->retry_after_ns = 0;
    job->status = ENSO_OK;
    job->error.status = ENSO_OK;
    job->failed_sample = job->n_samples;
    job->submit_ns = now_ns;
    job->queue_ns = job->compute_ns = 0;
    job->batch_items = job->n_batches = 0;
    job->scheduler = s;
    job->queue = q;
    job->observer = q->observer;
    job->client_entry = NULL;
    job->last_batch = 0;
    job->next = job->n_running = 0;
    job->finished = false;
}

int enso__scheduler_offer(struct enso_scheduler *s, struct enso_queue *q, struct enso_job *job,
                          uint64_t now_ns, bool quietly, struct enso_refusal *refusal)
{
    struct ended ended;
    bool wake;

    *refusal = (struct enso_refusal){.status = ENSO_UNAVAILABLE};
    ended_init(&ended);
    reset_outcome(s, q, job, now_ns);
    lock(s);
    if (s->stopping) {
        refusal->why = s->why.message;
    } else if (!q->closed) {
        expire_queue(q, now_ns, &ended); /* what has expired takes nobody's place */
        enso__queue_admit(q, job, now_ns, refusal);
    }
    if (refusal->status == ENSO_OK)
        refusal->status = enso__queue_push(q, job, now_ns);
    wake = !quietly && refusal->status == ENSO_OK && s->n_waiting != 0;
    unlock(s);
    if (wake) /* outside the mutex, or the lane wakes up only to wait for it */
        (void)pthread_cond_signal(&s->work);
    /* From here on an admitted job may be gone. */
    call_done(&ended);
    if (refusal->status != ENSO_OK)
        job->scheduler = NULL;
    return refusal->status;
}

int enso__scheduler_refuse(const struct enso_queue *q, struct enso_job *job,
                           const struct enso_refusal *refusal, struct enso_error *err)
{
    const struct enso_observer *observer = q->observer;

    (void)explain(refusal, q, job, err);
    if (observer != NULL && observer->refused != NULL)
        observer->refused(observer->user, job, refusal->status);
    return refusal->status;
}

static int submit(struct enso_scheduler *s, struct enso_queue *q, struct enso_job *job,
                  uint64_t now_ns, bool quietly, struct enso_error *err)
{
    struct enso_refusal refusal;

    if (job->n_samples == 0)
        return enso_error_set(err, ENSO_INVALID, "a request needs at least one sample");
    if (enso__scheduler_offer(s, q, job, now_ns, quietly, &refusal) == ENSO_OK)
        return ENSO_OK;
    return enso__scheduler_refuse(q, job, &refusal, err);
}

int enso_scheduler_submit(struct enso_scheduler *s, struct enso_queue *q, struct enso_job *job,
                          uint64_t now_ns, struct enso_error *err)
{
    return submit(s, q, job, now_ns, false, err);
}

int enso_scheduler_submit_quietly(struct enso_scheduler *s, struct enso_queue *q,
                                  struct enso_job *job, uint64_t now_ns, struct enso_error *err)
{
    return submit(s, q, job, now_ns, true, err);
}

void enso_scheduler_wake(struct enso_scheduler *s)
{
    bool wake;

    lock(s);
    wake = s->n_waiting != 0 && enso_fair_first(&s->fair) != NULL;
    unlock(s);
    if (wake)
        (void)pthread_cond_signal(&s->work);
}

/* ---- take ---- */

/* The queue whose turn it is among those that are ripe; else when the first one gets ripe. */
static struct enso_queue *choose(struct enso_scheduler *s, uint64_t now_ns, uint64_t *wake_at_ns)
{
    struct enso_share *first = enso_fair_first(&s->fair);
    struct enso_queue *best = NULL;
    struct enso_list *node;

    if (first == NULL)
        return NULL;
    best = ENSO_CONTAINER_OF(first, struct enso_queue, share);
    if (s->stopping || enso__queue_ripe_at(best) <= now_ns)
        return best;
    best = NULL;
    for (node = s->queues.next; node != &s->queues; node = node->next) {
        struct enso_queue *q = queue_at(node);
        uint64_t ripe_at = enso__queue_ripe_at(q);

        if (ripe_at > now_ns)
            *wake_at_ns = ENSO_MIN(*wake_at_ns, ripe_at);
        else if (best == NULL || enso_share_before(&q->share, &best->share))
            best = q;
    }
    return best;
}

static struct enso_slot *slot_of(struct enso_scheduler *s, const struct enso_batch *b)
{
    return &s->slots[b->lane * s->n_slots + b->slot];
}

/* The batch that the lane computes; NULL when it has none. */
static struct enso_slot *front_of(struct enso_scheduler *s, unsigned lane)
{
    struct enso_slot *first = NULL;

    for (unsigned i = 0; i < s->n_slots; i++) {
        struct enso_slot *slot = &s->slots[lane * s->n_slots + i];

        if (slot->busy && (first == NULL || slot->batch.id < first->batch.id))
            first = slot;
    }
    return first;
}

static struct enso_batch *take(struct enso_scheduler *s, unsigned lane, uint64_t now_ns,
                               uint64_t *wake_at_ns, struct ended *ended)
{
    unsigned free_slot = s->slots[lane * s->n_slots].busy ? 1 : 0; /* the caller says: there is */
    struct enso_slot *slot = &s->slots[lane * s->n_slots + free_slot];
    struct enso_batch *b = &slot->batch;
    struct enso_queue *q;

    expire(s, now_ns, ended);
    *wake_at_ns = UINT64_MAX;
    q = choose(s, now_ns, wake_at_ns);
    if (q == NULL) {
        *wake_at_ns = ENSO_MIN(*wake_at_ns, next_deadline(s));
        return NULL;
    }
    b->queue = q;
    b->lane = lane;
    b->slot = free_slot;
    b->compute_ns = b->n_padding_tokens = 0;
    b->n = 0;
    b->n_items = b->n_tokens = b->units = 0;
    b->started_ns = now_ns;
    b->runner = q->runner;
    b->observer = q->observer;
    b->n_runs = 0;
    b->id = ++s->n_batches;
    enso__queue_form(q, b, now_ns);
    b->predicted_ns = enso_cost_curve_predict(&q->curve, b->units);
    enso_fair_charge(&s->fair, &q->share, b->predicted_ns);
    q->n_running++;
    slot->busy = true;
    slot->since_ns = now_ns;
    slot->predicted_ns = b->predicted_ns;
    /* Pass it on: submit wakes one lane, however much it brought, and the lane that would have come
     * back for a queue that is not ripe yet may be this one. */
    if (s->n_waiting != 0 && enso_fair_first(&s->fair) != NULL)
        (void)pthread_cond_signal(&s->work);
    return b;
}

bool enso_scheduler_take(struct enso_scheduler *s, unsigned lane, uint64_t now_ns,
                         struct enso_batch **ret_batch, uint64_t *ret_wake_at_ns)
{
    struct enso_batch *batch;
    struct ended ended;

    ended_init(&ended);
    lock(s);
    batch = take(s, lane, now_ns, ret_wake_at_ns, &ended);
    unlock(s);
    call_done(&ended);
    if (batch == NULL)
        return false;
    *ret_batch = batch;
    return true;
}

struct enso_batch *enso__scheduler_wait_take(struct enso_scheduler *s, unsigned lane)
{
    struct enso_batch *batch = NULL;
    struct ended ended;
    uint64_t wake_at_ns;

    ended_init(&ended);
    lock(s);
    while (!s->stopping) {
        batch = take(s, lane, enso_clock_now_ns(), &wake_at_ns, &ended);
        if (ended.first != NULL) {
            unlock(s);
            call_done(&ended);
            lock(s);
            if (batch == NULL)
                continue; /* things may have changed meanwhile */
        }
        if (batch != NULL)
            break;
        s->n_waiting++;
        if (wake_at_ns == UINT64_MAX) {
            (void)pthread_cond_wait(&s->work, &s->mutex);
        } else {
            struct timespec t = {.tv_sec = (time_t)(wake_at_ns / ENSO_NS_PER_S),
                                 .tv_nsec = (long)(wake_at_ns % ENSO_NS_PER_S)};

            (void)pthread_cond_timedwait(&s->work, &s->mutex, &t); /* late or early: look again */
        }
        s->n_waiting--;
    }
    unlock(s);
    return batch;
}

/* ---- finish ---- */

/* What the batch took of the device. */
static uint64_t compute_ns(const struct enso_batch *b, uint64_t now_ns)
{
    return b->compute_ns != 0 ? b->compute_ns : now_ns - b->started_ns;
}

static void report(const struct enso_batch *b, uint64_t now_ns, enum enso_status status)
{
    struct enso_batch_report r = {.n_samples = b->n,
                                  .n_items = b->n_items,
                                  .n_tokens = b->n_tokens,
                                  .n_padding_tokens = b->n_padding_tokens,
                                  .compute_ns = compute_ns(b, now_ns),
                                  .predicted_ns = b->predicted_ns,
                                  .n_runs = ENSO_MAX(b->n_runs, 1u),
                                  .status = status};

    if (b->observer != NULL && b->observer->batch != NULL)
        b->observer->batch(b->observer->user, &r);
}

static void finish_item(const struct enso_batch *b, size_t i, uint64_t now_ns, struct ended *ended)
{
    struct enso_job *job = b->items[i].job;

    job->batch_items = ENSO_MAX(job->batch_items, (uint32_t)b->n);
    if (--job->n_running == 0)
        job->compute_ns += now_ns - job->running_since_ns;
    settle(job, now_ns, ended);
}

/* The sample's run failed, and with it its job. */
static void fail_item(const struct enso_batch *b, size_t i, enum enso_status status,
                      const struct enso_error *err)
{
    struct enso_job *job = b->items[i].job;

    if (job->status == ENSO_OK)
        job->failed_sample = b->items[i].index;
    fail_job(job, status, err);
}

void enso_scheduler_finish(struct enso_scheduler *s, struct enso_batch *b, uint64_t now_ns,
                           enum enso_status status, const struct enso_error *err)
{
    struct enso_queue *q = b->queue;
    struct enso_slot *front;
    struct ended ended;
    size_t i;

    ended_init(&ended);
    report(b, now_ns, status);
    lock(s);
    if (status == ENSO_OK && b->n_runs <= 1)
        enso_cost_curve_observe(&q->curve, b->units, compute_ns(b, now_ns));
    /* What could not be predicted is charged now. */
    if (b->predicted_ns == 0)
        enso_fair_charge(&s->fair, &q->share, compute_ns(b, now_ns));
    for (i = 0; i < b->n; i++) {
        if (status != ENSO_OK)
            fail_item(b, i, status, err);
        finish_item(b, i, now_ns, &ended);
    }
    q->n_running--;
    slot_of(s, b)->busy = false;
    front = front_of(s, b->lane);
    if (front != NULL)
        front->since_ns = now_ns; /* it has stood behind this one until now */
    if (q->closed && q->n_running == 0)
        (void)pthread_cond_broadcast(&s->ended);
    unlock(s);
    /* From here on the queue may be gone. */
    call_done(&ended);
}

void enso_scheduler_fail_sample(struct enso_scheduler *s, struct enso_batch *b, size_t i,
                                enum enso_status status, const struct enso_error *err)
{
    lock(s);
    fail_item(b, i, status, err); /* ends at finish: the sample still counts as running */
    unlock(s);
}

bool enso_scheduler_run_singly(struct enso_scheduler *s, struct enso_batch *b, size_t i,
                               uint64_t now_ns)
{
    struct enso_slot *slot = slot_of(s, b);
    bool wanted;

    lock(s);
    wanted = b->items[i].job->status == ENSO_OK;
    slot->since_ns = now_ns;
    slot->predicted_ns = enso_cost_curve_predict(&b->queue->curve, enso_sample_cost(b->samples[i]));
    unlock(s);
    return wanted;
}

/* Begin and wait for sample i alone. */
static int run_alone(struct enso_scheduler *s, const struct enso_batch *b, size_t i,
                     struct enso_lane *lane, uint64_t now_ns, struct enso_error *err)
{
    const struct enso_runner *r = &b->runner;
    struct enso_sample *const *sample = &b->samples[i];
    uint64_t predicted_ns = slot_of(s, b)->predicted_ns; /* this lane's own */
    const struct enso_pace pace = {predicted_ns, now_ns + predicted_ns};
    int status = r->begin(r->model, lane, b->slot, sample, 1, &pace, err);

    return status == ENSO_OK ? r->finish(r->model, lane, b->slot, sample, 1, NULL, err) : status;
}

/* Each sample alone, once. */
static void run_singly(struct enso_scheduler *s, struct enso_batch *b, struct enso_lane *lane,
                       uint64_t (*clock)(void))
{
    size_t i;

    for (i = 0; i < b->n; i++) {
        struct enso_error err = {0};
        uint64_t now_ns = clock();
        int status;

        if (!enso_scheduler_run_singly(s, b, i, now_ns))
            continue;
        b->n_runs++;
        status = run_alone(s, b, i, lane, now_ns, &err);
        if (status != ENSO_OK)
            enso_scheduler_fail_sample(s, b, i, (enum enso_status)status, &err);
    }
}

int enso_batch_begin(struct enso_batch *b, struct enso_lane *lane, uint64_t expected_ns,
                     struct enso_error *err)
{
    const struct enso_pace pace = {b->predicted_ns, expected_ns};

    b->n_runs = 1;
    return b->runner.begin(b->runner.model, lane, b->slot, b->samples, b->n, &pace, err);
}

int enso_batch_wait(struct enso_batch *b, struct enso_lane *lane, struct enso_error *err)
{
    struct enso_spent spent = {0};
    int st = b->runner.finish(b->runner.model, lane, b->slot, b->samples, b->n, &spent, err);

    b->compute_ns = spent.compute_ns;
    b->n_padding_tokens = spent.n_padding_tokens;
    return st;
}

bool enso_batch_must_retry(const struct enso_batch *b, int status)
{
    return status != ENSO_OK && status != ENSO_DEVICE && status != ENSO_UNAVAILABLE && b->n > 1;
}

void enso_batch_end(struct enso_scheduler *s, struct enso_batch *b, struct enso_lane *lane,
                    int status, const struct enso_error *err, uint64_t (*clock)(void))
{
    if (enso_batch_must_retry(b, status)) {
        run_singly(s, b, lane, clock);
        b->n_runs = ENSO_MAX(b->n_runs, 2u); /* even if nobody wanted them any more */
        b->compute_ns = b->n_padding_tokens = 0;
        status = ENSO_OK;
    }
    enso_scheduler_finish(s, b, clock(), (enum enso_status)status, err);
}

void enso_batch_run(struct enso_scheduler *s, struct enso_batch *b, struct enso_lane *lane,
                    uint64_t (*clock)(void))
{
    struct enso_error err = {0};
    int status = enso_batch_begin(b, lane, 0, &err);

    if (status == ENSO_OK)
        status = enso_batch_wait(b, lane, &err);
    enso_batch_end(s, b, lane, status, &err, clock);
}

/* ---- cancel, expire, stop ---- */

void enso_job_cancel(struct enso_job *job, uint64_t now_ns)
{
    struct enso_scheduler *s = job->scheduler;
    struct enso_error err = {0};
    struct ended ended;

    if (s == NULL)
        return; /* never admitted */
    ended_init(&ended);
    (void)enso_error_set(&err, ENSO_CANCELLED, "the client has gone");
    lock(s);
    if (!job->finished) {
        fail_job(job, ENSO_CANCELLED, &err);
        settle(job, now_ns, &ended);
    }
    unlock(s);
    call_done(&ended);
}

uint64_t enso_scheduler_expire(struct enso_scheduler *s, uint64_t now_ns)
{
    struct ended ended;
    uint64_t next;

    ended_init(&ended);
    lock(s);
    expire(s, now_ns, &ended);
    next = next_deadline(s);
    unlock(s);
    call_done(&ended);
    return next;
}

void enso_scheduler_stop(struct enso_scheduler *s, const char *why, uint64_t now_ns)
{
    struct enso_error err = {0};
    struct enso_list *node;
    struct ended ended;

    ended_init(&ended);
    (void)enso_error_set(&err, ENSO_UNAVAILABLE, "%s",
                         why != NULL ? why : "ensod is shutting down");
    lock(s);
    if (!s->stopping)
        s->why = err;
    s->stopping = true;
    for (node = s->queues.next; node != &s->queues; node = node->next)
        fail_queued(queue_at(node), &err, now_ns, &ended);
    (void)pthread_cond_broadcast(&s->work);
    unlock(s);
    call_done(&ended);
}

/* ---- what it looks like from outside ---- */

/* Time until the run at the front of a lane is through. One that is overdue counts as long again as
 * it is late already: nobody knows when it ends, but what has lasted so long lasts about as long
 * again. So a lane that is late by a hair is as good as free, and one that hangs looks fuller and
 * fuller, not empty: no copy of a model draws jobs by hanging, deadlines are refused instead of
 * missed, and Retry-After grows with the trouble. The same for a run of which nothing was
 * predicted. */
static uint64_t run_residual_ns(const struct enso_slot *slot, uint64_t now_ns)
{
    uint64_t end_ns = slot->since_ns + slot->predicted_ns;

    return end_ns > now_ns ? end_ns - now_ns : now_ns - end_ns;
}

/* Time until the lane is through with all that it has. */
static uint64_t lane_residual_ns(const struct enso_scheduler *s, unsigned lane, uint64_t now_ns)
{
    const struct enso_slot *front = NULL;
    uint64_t ns = 0;

    for (unsigned i = 0; i < s->n_slots; i++) {
        const struct enso_slot *slot = &s->slots[lane * s->n_slots + i];

        if (!slot->busy)
            continue;
        ns += slot->predicted_ns;
        if (front == NULL || slot->batch.id < front->batch.id)
            front = slot;
    }
    if (front == NULL)
        return 0;
    return ns - front->predicted_ns + run_residual_ns(front, now_ns);
}

/* Time until the first lane is free. */
static uint64_t residual_ns(const struct enso_scheduler *s, uint64_t now_ns)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < s->n_lanes && least != 0; i++)
        least = ENSO_MIN(least, lane_residual_ns(s, i, now_ns));
    return s->n_lanes != 0 ? least : 0;
}

/* Fair shares: while `work_ns` of this queue is served, each other queue gets at most as much. */
uint64_t enso__scheduler_wait_ns(const struct enso_scheduler *s, const struct enso_queue *queue,
                                 uint64_t work_ns, uint64_t now_ns)
{
    const struct enso_list *node;
    uint64_t total_ns = work_ns;

    for (node = s->queues.next; node != &s->queues; node = node->next) {
        const struct enso_queue *q = ENSO_CONTAINER_OF(node, const struct enso_queue, in_scheduler);

        if (q != queue)
            total_ns += ENSO_MIN(work_ns, enso__queue_work_ns(q, q->n_units));
    }
    return residual_ns(s, now_ns) + total_ns / ENSO_MAX(s->n_lanes, 1u);
}

bool enso_scheduler_healthy(struct enso_scheduler *s, uint64_t now_ns)
{
    bool healthy = true;
    unsigned i;

    lock(s);
    for (i = 0; i < s->n_lanes; i++) {
        const struct enso_slot *slot = front_of(s, i);
        uint64_t allowed_ns;

        if (slot == NULL)
            continue;
        allowed_ns = ENSO_MAX(WATCHDOG_FACTOR * slot->predicted_ns, WATCHDOG_LEAST_NS);
        if (now_ns > slot->since_ns && now_ns - slot->since_ns > allowed_ns)
            healthy = false;
    }
    unlock(s);
    return healthy;
}

void enso_scheduler_stats(struct enso_scheduler *s, uint64_t now_ns,
                          struct enso_scheduler_stats *ret)
{
    struct enso_list *node;
    uint64_t work_ns = 0;

    memset(ret, 0, sizeof *ret);
    lock(s);
    ret->n_lanes = s->n_lanes;
    for (unsigned i = 0; i < s->n_lanes; i++)
        ret->n_busy += front_of(s, i) != NULL;
    ret->n_queues = s->n_queues;
    for (node = s->queues.next; node != &s->queues; node = node->next) {
        const struct enso_queue *q = queue_at(node);

        ret->n_jobs += q->n_jobs;
        ret->n_samples += q->n_samples;
        ret->n_items += q->n_items;
        ret->n_tokens += q->n_tokens;
        work_ns += enso__queue_work_ns(q, q->n_units);
    }
    ret->backlog_ns = residual_ns(s, now_ns) + work_ns / ENSO_MAX(s->n_lanes, 1u);
    unlock(s);
}

uint64_t enso_queue_wait_ns(struct enso_scheduler *s, struct enso_queue *q, uint64_t now_ns)
{
    uint64_t wait_ns;

    lock(s);
    wait_ns = enso__scheduler_wait_ns(s, q, enso__queue_work_ns(q, q->n_units), now_ns);
    unlock(s);
    return wait_ns;
}

uint64_t enso_queue_end_ns(struct enso_scheduler *s, struct enso_queue *q,
                           const struct enso_job *job, uint64_t now_ns)
{
    uint64_t end_ns = UINT64_MAX;

    lock(s);
    if (!s->stopping && !q->closed)
        end_ns = enso__queue_end_ns(q, job, now_ns);
    unlock(s);
    return end_ns;
}

void enso_queue_stats(struct enso_scheduler *s, struct enso_queue *q, uint64_t now_ns,
                      struct enso_queue_stats *ret)
{
    memset(ret, 0, sizeof *ret);
    lock(s);
    enso__queue_stats(q, now_ns, ret);
    if (q->n_jobs != 0)
        ret->backlog_ns = enso__scheduler_wait_ns(s, q, enso__queue_work_ns(q, q->n_units), now_ns);
    unlock(s);
}
