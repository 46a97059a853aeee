/* SPDX-License-Identifier: Apache-2.0
 *
 * A model's queue: see queue.h for the rules. All under the scheduler's mutex.
 *
 * A job's queued samples are always a suffix of its array ([next, n_samples)), so nothing is kept
 * per sample: a thousand jobs of a hundred samples are a thousand heap entries. A job with queued
 * samples stands in its client's heap (order), in the queue's heap of deadlines, in its
 * list of jobs (whose head tells since when somebody waits) and in the list of its level (whose
 * head is the next to age).
 */
#include "batching/queue.h"

#include <string.h>

#include "base/memory.h"
#include "batching/batching_internal.h"

#define FIRST_TABLE_SIZE 16
#define MAX_SPARE_CLIENTS 64

/* ---- life ---- */

static bool deadline_before(const struct enso_heap_node *a, const struct enso_heap_node *b)
{
    return ENSO_CONTAINER_OF(a, const struct enso_job, by_deadline)->deadline_ns <
           ENSO_CONTAINER_OF(b, const struct enso_job, by_deadline)->deadline_ns;
}

int enso_queue_create(const char *name, const struct enso_queue_limits *limits,
                      const struct enso_runner *runner, const struct enso_observer *observer,
                      struct enso_queue **ret_queue, struct enso_error *err)
{
    struct enso_queue *q = enso_alloc_zero(1, sizeof *q);
    unsigned i;

    if (q == NULL)
        return enso_error_no_memory(err, "a model's queue");
    q->name = enso_strdup(name);
    q->table = enso_alloc_zero(FIRST_TABLE_SIZE, sizeof(struct enso_client *));
    q->table_size = FIRST_TABLE_SIZE;
    if (q->name == NULL || q->table == NULL) {
        enso_queue_destroy(q);
        return enso_error_no_memory(err, "a model's queue");
    }
    q->limits = *limits;
    q->runner = *runner;
    q->observer = observer;
    enso_cost_curve_init(&q->curve);
    enso_heap_init(&q->deadlines, deadline_before);
    enso_fair_init(&q->fair);
    enso_list_init(&q->in_scheduler);
    enso_list_init(&q->jobs);
    for (i = 0; i < ENSO_N_PRIORITIES; i++)
        enso_list_init(&q->ageing[i]);
    *ret_queue = q;
    return ENSO_OK;
}

void enso_queue_destroy(struct enso_queue *q)
{
    if (q == NULL)
        return;
    while (q->spare != NULL) {
        struct enso_client *c = q->spare;

        q->spare = c->next;
        enso_free(c);
    }
    enso_free(q->table);
    enso_free(q->name);
    enso_free(q);
}

const char *enso_queue_name(const struct enso_queue *q)
{
    return q->name;
}

const struct enso_queue_limits *enso_queue_limits(const struct enso_queue *q)
{
    return &q->limits;
}

void enso_queue_seed(struct enso_queue *q, uint64_t units, uint64_t ns)
{
    enso_cost_curve_observe(&q->curve, units, ns);
}

/* ---- clients ---- */

static bool job_before(const struct enso_heap_node *x, const struct enso_heap_node *y)
{
    const struct enso_job *a = ENSO_CONTAINER_OF(x, const struct enso_job, order);
    const struct enso_job *b = ENSO_CONTAINER_OF(y, const struct enso_job, order);

    if (a->level != b->level)
        return a->level < b->level;
    if (a->due_ns != b->due_ns)
        return a->due_ns < b->due_ns;
    return a->turn < b->turn;
}

static struct enso_client **bucket_of(const struct enso_queue *q, uint64_t id)
{
    /* Fibonacci hashing: ids may be counters or pointers */
    uint64_t hash = id * UINT64_C(0x9E3779B97F4A7C15);

    return &q->table[(hash >> 32) & (q->table_size - 1)];
}

static struct enso_client *find_client(const struct enso_queue *q, uint64_t id)
{
    struct enso_client *c = *bucket_of(q, id);

    while (c != NULL && c->id != id)
        c = c->next;
    return c;
}

/* Twice the buckets; without memory the chains just grow. */
static void grow_table(struct enso_queue *q)
{
    struct enso_client **old = q->table;
    size_t old_size = q->table_size, i;

    if (q->n_clients < old_size)
        return;
    q->table = enso_alloc_zero(old_size * 2, sizeof(struct enso_client *));
    if (q->table == NULL) {
        q->table = old;
        return;
    }
    q->table_size = old_size * 2;
    for (i = 0; i < old_size; i++) {
        while (old[i] != NULL) {
            struct enso_client *c = old[i], **bucket = bucket_of(q, c->id);

            old[i] = c->next;
            c->next = *bucket;
            *bucket = c;
        }
    }
    enso_free(old);
}

static struct enso_client *add_client(struct enso_queue *q, uint64_t id)
{
    struct enso_client *c = q->spare, **bucket;

    if (c != NULL) {
        q->spare = c->next;
        q->n_spare--;
        memset(c, 0, sizeof *c);
    } else {
        c = enso_alloc_zero(1, sizeof *c);
        if (c == NULL)
            return NULL;
    }
    grow_table(q);
    c->id = id;
    enso_heap_init(&c->jobs, job_before);
    bucket = bucket_of(q, id);
    c->next = *bucket;
    *bucket = c;
    q->n_clients++;
    enso_fair_enter(&q->fair, &c->share);
    return c;
}

static void remove_client(struct enso_queue *q, struct enso_client *c)
{
    struct enso_client **at = bucket_of(q, c->id);

    enso_fair_leave(&q->fair, &c->share);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    q->n_clients--;
    if (q->n_spare < MAX_SPARE_CLIENTS) {
        c->next = q->spare;
        q->spare = c;
        q->n_spare++;
    } else {
        enso_free(c);
    }
}

/* ---- lining up ---- */

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

/* Send the job to its place in line, behind its equals. */
static void step_into_line(struct enso_queue *q, struct enso_job *job, uint64_t now_ns)
{
    uint64_t patience = add_saturated(now_ns, ENSO_PATIENCE_NS);
    uint64_t deadline = job->deadline_ns != 0
                            ? add_saturated(job->deadline_ns, job->next * ENSO_YIELD_NS)
                            : UINT64_MAX;

    job->due_ns = ENSO_MIN(deadline, patience);
    job->turn = q->n_turns++;
    enso_heap_push(&job->client_entry->jobs, &job->order);
}

static void count_level(struct enso_job *job, int sign)
{
    struct enso_level *l = &job->client_entry->levels[job->level];
    uint64_t n_samples = job->n_samples - job->next;

    l->units += sign > 0 ? job->units : -job->units;
    l->n_samples += sign > 0 ? n_samples : -n_samples;
    l->n_jobs += sign > 0 ? 1 : -UINT64_C(1);
}

int enso__queue_push(struct enso_queue *q, struct enso_job *job, uint64_t now_ns)
{
    struct enso_client *c = find_client(q, job->client);
    uint32_t i;

    if (c == NULL)
        c = add_client(q, job->client);
    if (c == NULL)
        return ENSO_NO_MEMORY;
    job->client_entry = c;
    job->queue = q;
    job->level = (uint8_t)ENSO_MIN(job->priority, (unsigned)ENSO_PRIORITY_LOWEST);
    job->level_since_ns = now_ns;
    job->units = 0;
    for (i = 0; i < job->n_samples; i++) {
        job->units += enso_sample_cost(job->samples[i]);
        q->n_items += job->samples[i]->n_items;
        q->n_tokens += job->samples[i]->n_tokens;
    }
    q->n_jobs++;
    q->n_samples += job->n_samples;
    q->n_units += job->units;
    c->units += job->units;
    count_level(job, +1);
    enso_list_append(&q->jobs, &job->in_queue);
    enso_list_append(&q->ageing[job->level], &job->in_ageing);
    step_into_line(q, job, now_ns);
    if (job->deadline_ns != 0)
        enso_heap_push(&q->deadlines, &job->by_deadline);
    enso_fair_enter(&q->scheduler->fair, &q->share);
    return ENSO_OK;
}

/* Nothing of the job is queued any more, and it is already out of its client's heap. */
static void leave(struct enso_queue *q, struct enso_job *job)
{
    struct enso_client *c = job->client_entry;

    enso_list_remove(&job->in_queue);
    enso_list_remove(&job->in_ageing);
    if (job->deadline_ns != 0)
        enso_heap_remove(&q->deadlines, &job->by_deadline);
    job->client_entry = NULL;
    q->n_jobs--;
    if (c->jobs.first == NULL)
        remove_client(q, c);
    if (q->n_jobs == 0)
        enso_fair_leave(&q->scheduler->fair, &q->share);
}

void enso__queue_drop(struct enso_queue *q, struct enso_job *job)
{
    if (job->client_entry == NULL)
        return;
    enso_heap_remove(&job->client_entry->jobs, &job->order);
    count_level(job, -1);
    job->client_entry->units -= job->units;
    q->n_units -= job->units;
    q->n_samples -= job->n_samples - job->next;
    for (; job->next < job->n_samples; job->next++) {
        q->n_items -= job->samples[job->next]->n_items;
        q->n_tokens -= job->samples[job->next]->n_tokens;
    }
    job->units = 0;
    leave(q, job);
}

/* One level better for all who stood long enough in theirs. From the best level down, so that a
 * job moves at most one level a call. */
static void age(struct enso_queue *q, uint64_t now_ns)
{
    unsigned level;

    for (level = 1; level < ENSO_N_PRIORITIES; level++) {
        while (!enso_list_empty(&q->ageing[level])) {
            struct enso_job *job =
                ENSO_CONTAINER_OF(q->ageing[level].next, struct enso_job, in_ageing);

            if (now_ns < add_saturated(job->level_since_ns, ENSO_AGEING_NS))
                break;
            enso_heap_remove(&job->client_entry->jobs, &job->order);
            enso_list_remove(&job->in_ageing);
            count_level(job, -1);
            job->level--;
            job->level_since_ns = now_ns;
            count_level(job, +1);
            enso_list_append(&q->ageing[job->level], &job->in_ageing);
            enso_heap_push(&job->client_entry->jobs, &job->order); /* keeps its place: due, turn */
        }
    }
}

/* ---- forming batches ---- */

/* The most cost units in a batch. */
static uint64_t batch_units(const struct enso_queue *q, bool explore)
{
    uint64_t units = q->limits.max_batch_tokens;

    if (units == 0) {
        units = enso_cost_curve_budget(&q->curve);
        if (explore && units < UINT64_MAX / 2)
            units *= 2;
    }
    if (q->limits.max_batch_ns != 0)
        units = ENSO_MIN(units, enso_cost_curve_units_within(&q->curve, q->limits.max_batch_ns));
    /* A model that never ran: one sample, and then we know something. */
    return enso_cost_curve_known(&q->curve) ? ENSO_MAX(units, UINT64_C(1)) : 1;
}

/* Room for one more sample; without memory the batch stays as it is. */
static bool batch_reserve(struct enso_batch *batch)
{
    size_t capacity = batch->capacity * 2;
    void *p;

    if (batch->n < batch->capacity)
        return true;
    p = enso_realloc_array(batch->samples, capacity, sizeof(struct enso_sample *));
    if (p == NULL)
        return false;
    batch->samples = p;
    p = enso_realloc_array(batch->items, capacity, sizeof batch->items[0]);
    if (p == NULL)
        return false;
    batch->items = p;
    batch->capacity = capacity;
    return true;
}

/* The next sample of the job, which is the first in line of its client, goes into the batch. */
static void take_sample(struct enso_queue *q, struct enso_job *job, struct enso_batch *batch,
                        uint64_t now_ns)
{
    struct enso_client *c = job->client_entry;
    struct enso_sample *sample = job->samples[job->next];
    struct enso_level *level = &c->levels[job->level];
    uint32_t cost = enso_sample_cost(sample);

    batch->samples[batch->n] = sample;
    batch->items[batch->n] = (struct enso_batch_item){.job = job, .index = job->next};
    batch->n++;
    batch->n_items += sample->n_items;
    batch->n_tokens += sample->n_tokens;
    batch->units += cost;

    if (job->n_running++ == 0)
        job->running_since_ns = now_ns;
    if (job->last_batch != batch->id) {
        job->last_batch = batch->id;
        job->n_batches++;
    }
    job->next++;
    job->units -= cost;
    c->units -= cost;
    level->units -= cost;
    level->n_samples--;
    q->n_units -= cost;
    q->n_samples--;
    q->n_items -= sample->n_items;
    q->n_tokens -= sample->n_tokens;

    enso_fair_charge(&q->fair, &c->share, cost);
    enso_heap_remove(&c->jobs, &job->order);
    if (job->next < job->n_samples) {
        step_into_line(q, job, now_ns);
    } else {
        level->n_jobs--;
        leave(q, job);
    }
}

void enso__queue_form(struct enso_queue *q, struct enso_batch *batch, uint64_t now_ns)
{
    uint64_t max_units =
        batch_units(q, q->n_batches % ENSO_EXPLORE_EVERY == ENSO_EXPLORE_EVERY - 1);
    uint64_t max_items = q->limits.max_batch_items != 0 ? q->limits.max_batch_items : UINT64_MAX;

    age(q, now_ns);
    q->n_batches++;
    while (q->n_jobs != 0) {
        struct enso_client *c =
            ENSO_CONTAINER_OF(enso_fair_first(&q->fair), struct enso_client, share);
        struct enso_job *job = ENSO_CONTAINER_OF(c->jobs.first, struct enso_job, order);
        const struct enso_sample *sample = job->samples[job->next];

        if (batch->n != 0 && (batch->units + enso_sample_cost(sample) > max_units ||
                              batch->n_items + sample->n_items > max_items))
            break;
        if (!batch_reserve(batch))
            break;
        take_sample(q, job, batch, now_ns);
    }
}

uint64_t enso__queue_ripe_at(const struct enso_queue *q)
{
    const struct enso_job *oldest, *urgent;
    uint64_t ripe;

    if (q->n_jobs == 0)
        return UINT64_MAX;
    if (q->limits.max_queue_delay_ns == 0 || q->closed || q->n_units >= batch_units(q, false) ||
        (q->limits.max_batch_items != 0 && q->n_items >= q->limits.max_batch_items))
        return 0;
    oldest = ENSO_CONTAINER_OF(q->jobs.next, const struct enso_job, in_queue);
    ripe = add_saturated(oldest->submit_ns, q->limits.max_queue_delay_ns);
    /* No deadline is missed by waiting for company. */
    if (q->deadlines.first != NULL) {
        uint64_t run_ns = enso_cost_curve_predict(&q->curve, q->n_units);

        urgent = ENSO_CONTAINER_OF(q->deadlines.first, const struct enso_job, by_deadline);
        /* twice the prediction: to be late by a hair is to be late */
        ripe =
            ENSO_MIN(ripe, urgent->deadline_ns > 2 * run_ns ? urgent->deadline_ns - 2 * run_ns : 0);
    }
    return ripe;
}

/* ---- prediction and admission ---- */

uint64_t enso__queue_work_ns(const struct enso_queue *q, uint64_t units)
{
    uint64_t full = batch_units(q, false);

    if (units == 0 || !enso_cost_curve_known(&q->curve))
        return 0;
    if (q->limits.max_batch_items != 0 && q->n_items != 0) {
        /* what the item limit makes of it, at the mean cost of the items that wait */
        double mean = (double)q->n_units / (double)q->n_items;
        double by_items = (double)q->limits.max_batch_items * mean;

        if (by_items < (double)full)
            full = by_items < 1 ? 1 : (uint64_t)by_items;
    }
    if (units <= full)
        return enso_cost_curve_predict(&q->curve, units);
    return (uint64_t)((double)enso_cost_curve_predict(&q->curve, full) *
                      ((double)units / (double)full));
}

/* Units of this queue that will run before the job's last sample has, the job's own included. */
static uint64_t units_until_through(const struct enso_queue *q, const struct enso_job *job,
                                    uint64_t own)
{
    const struct enso_client *c = find_client(q, job->client);
    unsigned level = ENSO_MIN(job->priority, (unsigned)ENSO_PRIORITY_LOWEST), i;
    uint64_t ahead = 0, others = q->n_units, n_others = q->n_clients, through;

    if (c != NULL) {
        const struct enso_level *l = &c->levels[level];

        for (i = 0; i < level; i++)
            ahead += c->levels[i].units;
        /* Round robin: each equal is served about as much as we are, at least one sample. */
        if (l->n_jobs != 0)
            ahead += ENSO_MIN(l->units, l->n_jobs * ENSO_MAX(own, l->units / l->n_samples));
        others -= c->units;
        n_others--;
    }
    through = ahead + own;
    /* Other clients: each as much as ours. */
    if (n_others != 0 && others / n_others > through)
        others = n_others * through;
    return through + others;
}

static void cost_of(const struct enso_job *job, uint64_t *ret_items, uint64_t *ret_tokens,
                    uint64_t *ret_units)
{
    uint32_t i;

    *ret_items = *ret_tokens = *ret_units = 0;
    for (i = 0; i < job->n_samples; i++) {
        *ret_items += job->samples[i]->n_items;
        *ret_tokens += job->samples[i]->n_tokens;
        *ret_units += enso_sample_cost(job->samples[i]);
    }
}

/* The queue is full by `over` of `queued` (items or tokens): refuse, and say when that many of them
 * will have gone. */
static void refuse_full(const struct enso_queue *q, const char *what, uint64_t queued,
                        uint64_t wanted, uint64_t limit, uint64_t now_ns, struct enso_refusal *r)
{
    /* A job larger than the queue has to wait until it is empty. */
    uint64_t over = wanted > limit ? queued : queued + wanted - limit;
    uint64_t units = (uint64_t)((double)q->n_units * (double)over / (double)queued);
    uint64_t work_ns = enso__queue_work_ns(q, ENSO_MAX(units, UINT64_C(1)));

    *r = (struct enso_refusal){.status = ENSO_OVERLOADED,
                               .what = what,
                               .queued = queued,
                               .wanted = wanted,
                               .limit = limit};
    r->retry_after_ns =
        work_ns != 0 ? enso__scheduler_wait_ns(q->scheduler, q, work_ns, now_ns) : ENSO_NS_PER_S;
}

static bool fits(uint64_t queued, uint64_t wanted, uint64_t limit)
{
    return limit == 0 || queued == 0 || (queued < limit && wanted <= limit - queued);
}

static uint64_t end_ns(const struct enso_queue *q, const struct enso_job *job, uint64_t own,
                       uint64_t now_ns)
{
    uint64_t work_ns = enso__queue_work_ns(q, units_until_through(q, job, own));

    return ENSO_MAX(enso__scheduler_wait_ns(q->scheduler, q, work_ns, now_ns),
                    enso_cost_curve_predict(&q->curve, enso_sample_cost(job->samples[0])));
}

uint64_t enso__queue_end_ns(const struct enso_queue *q, const struct enso_job *job, uint64_t now_ns)
{
    uint64_t items, tokens, own;

    cost_of(job, &items, &tokens, &own);
    return end_ns(q, job, own, now_ns);
}

void enso__queue_admit(const struct enso_queue *q, const struct enso_job *job, uint64_t now_ns,
                       struct enso_refusal *r)
{
    uint64_t items, tokens, own, needed_ns, left_ns;

    *r = (struct enso_refusal){.status = ENSO_OK};
    if (job->deadline_ns != 0 && job->deadline_ns <= now_ns) {
        r->status = ENSO_DEADLINE;
        return;
    }
    cost_of(job, &items, &tokens, &own);
    if (!fits(q->n_items, items, q->limits.max_queue_items)) {
        refuse_full(q, "items", q->n_items, items, q->limits.max_queue_items, now_ns, r);
        return;
    }
    if (!fits(q->n_tokens, tokens, q->limits.max_queue_tokens)) {
        refuse_full(q, "tokens", q->n_tokens, tokens, q->limits.max_queue_tokens, now_ns, r);
        return;
    }
    if (job->deadline_ns == 0 || !enso_cost_curve_known(&q->curve))
        return;
    needed_ns = end_ns(q, job, own, now_ns);
    left_ns = job->deadline_ns - now_ns;
    r->alone_ns = enso__queue_work_ns(q, own);
    if (needed_ns > left_ns) {
        r->status = ENSO_OVERLOADED;
        r->needed_ns = needed_ns;
        r->left_ns = left_ns;
        r->retry_after_ns = needed_ns - left_ns;
    }
}

void enso__queue_stats(const struct enso_queue *q, uint64_t now_ns, struct enso_queue_stats *ret)
{
    ret->n_jobs = q->n_jobs;
    ret->n_samples = q->n_samples;
    ret->n_items = q->n_items;
    ret->n_tokens = q->n_tokens;
    ret->n_clients = q->n_clients;
    ret->n_running = q->n_running;
    ret->batch_units = batch_units(q, false);
    if (q->n_jobs != 0) {
        const struct enso_job *oldest =
            ENSO_CONTAINER_OF(q->jobs.next, const struct enso_job, in_queue);

        ret->oldest_ns = now_ns > oldest->submit_ns ? now_ns - oldest->submit_ns : 0;
    }
    if (enso_cost_curve_known(&q->curve)) {
        uint64_t units = ret->batch_units != UINT64_MAX ? ret->batch_units : 1;

        ret->units_per_second =
            (double)units * 1e9 / (double)enso_cost_curve_predict(&q->curve, units);
    }
}
