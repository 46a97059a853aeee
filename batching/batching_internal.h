/* SPDX-License-Identifier: Apache-2.0
 *
 * What queue.c, scheduler.c and lanes.c share: the structs behind queue.h and scheduler.h. Every
 * enso__queue_* function is called with the scheduler's mutex held and calls nobody back.
 */
#ifndef ENSO_BATCHING_INTERNAL_H
#define ENSO_BATCHING_INTERNAL_H

#include <pthread.h>

#include "batching/cost_curve.h"
#include "batching/fairness.h"
#include "batching/job.h"
#include "batching/list.h"
#include "batching/queue.h"
#include "batching/scheduler.h"

/* What of a client waits at one level. */
struct enso_level {
    uint64_t units;
    uint64_t n_samples;
    uint64_t n_jobs;
};

/* One client with something queued. Freed when nothing is: its debt is at most one sample. */
struct enso_client {
    struct enso_share share;
    struct enso_client *next; /* in its bucket of the table, or in the list of spare ones */
    uint64_t id;
    uint64_t units;
    struct enso_heap jobs; /* by order */
    struct enso_level levels[ENSO_N_PRIORITIES];
};

struct enso_queue {
    char *name;
    struct enso_queue_limits limits;
    struct enso_runner runner;
    const struct enso_observer *observer;

    struct enso_scheduler *scheduler; /* NULL when on none */
    struct enso_list in_scheduler;
    struct enso_share share; /* among the scheduler's queues, in predicted ns */
    struct enso_cost_curve curve;
    bool closed;                /* takes no more jobs */
    unsigned n_running;         /* batches on lanes */
    uint64_t n_turns;           /* of jobs stepping into line */
    uint64_t n_batches;         /* taken */
    struct enso_fair fair;      /* of clients, in cost units */
    struct enso_heap deadlines; /* jobs that have one */

    struct enso_client **table; /* [table_size], a power of two, chained */
    size_t table_size, n_clients;
    struct enso_client *spare;
    unsigned n_spare;

    struct enso_list jobs;                      /* with something queued, oldest first */
    struct enso_list ageing[ENSO_N_PRIORITIES]; /* by level, in the order they came to it */
    uint64_t n_jobs, n_samples, n_items, n_tokens, n_units; /* queued */
};

/* Why a job is refused; made into a sentence outside the mutex. */
struct enso_refusal {
    enum enso_status status; /* ENSO_OK = admitted */
    const char *what;        /* "items" or "tokens" of a full queue; else NULL */
    const char *why;         /* the scheduler was stopped: its why; else NULL */
    uint64_t queued, wanted, limit;
    uint64_t needed_ns, alone_ns; /* deadline: predicted, and without the wait */
    uint64_t left_ns;             /* until it */
    uint64_t retry_after_ns;
};

/* Place for one batch on a lane. Of the busy ones of a lane the one taken first computes, the
 * others stand behind it. */
struct enso_slot {
    struct enso_batch batch; /* arrays kept from batch to batch */
    bool busy;
    uint64_t since_ns;     /* when the batch, or its newest single run, came to the front */
    uint64_t predicted_ns; /* of that run */
};

struct enso_scheduler {
    pthread_mutex_t mutex; /* the device's one mutex; no other lock is taken under it */
    pthread_cond_t work;   /* lanes wait for something to take */
    pthread_cond_t ended;  /* remove_queue waits for the queue's running batches */
    unsigned n_waiting;    /* lanes waiting on work */
    bool stopping;
    struct enso_error why; /* stopping: as the first stop had it, then constant */

    struct enso_list queues;
    unsigned n_queues;
    struct enso_fair fair; /* of queues */
    uint64_t n_batches;

    unsigned n_lanes, n_slots; /* of each lane */
    struct enso_slot slots[];  /* [n_lanes, n_slots] */
};

/* Could the job enter? Fills why not. Does not look at `closed`. */
void enso__queue_admit(const struct enso_queue *queue, const struct enso_job *job, uint64_t now_ns,
                       struct enso_refusal *ret_refusal);
/* Predicted time until the job would be through. */
uint64_t enso__queue_end_ns(const struct enso_queue *queue, const struct enso_job *job,
                            uint64_t now_ns);
/* Line the job up. ENSO_NO_MEMORY changes nothing. */
int enso__queue_push(struct enso_queue *queue, struct enso_job *job, uint64_t now_ns);
/* Take all samples of the job that are still queued out of the queue. */
void enso__queue_drop(struct enso_queue *queue, struct enso_job *job);
/* From when on a batch may be taken: 0 = now, UINT64_MAX = nothing is queued. */
uint64_t enso__queue_ripe_at(const struct enso_queue *queue);
/* Move samples into the (empty) batch, at least one; the queue must not be empty. */
void enso__queue_form(struct enso_queue *queue, struct enso_batch *batch, uint64_t now_ns);
/* Predicted lane time of so many units in full batches. */
uint64_t enso__queue_work_ns(const struct enso_queue *queue, uint64_t units);
void enso__queue_stats(const struct enso_queue *queue, uint64_t now_ns,
                       struct enso_queue_stats *ret_stats);

/* Without the mutex: the two halves of a submit. Offer it to the queue: on ENSO_OK the job is the
 * scheduler's, else *ret_refusal says why and nobody was told. */
int enso__scheduler_offer(struct enso_scheduler *scheduler, struct enso_queue *queue,
                          struct enso_job *job, uint64_t now_ns, bool quietly,
                          struct enso_refusal *ret_refusal);
/* Tell the refusal: err, job->retry_after_ns, the queue's observer. Returns its status. */
int enso__scheduler_refuse(const struct enso_queue *queue, struct enso_job *job,
                           const struct enso_refusal *refusal, struct enso_error *err);

/* Predicted wait of `work_ns` of a queue's work, its share of the device and lanes considered. */
uint64_t enso__scheduler_wait_ns(const struct enso_scheduler *scheduler,
                                 const struct enso_queue *queue, uint64_t work_ns, uint64_t now_ns);
/* Like enso_scheduler_take by the real clock, but waits; NULL once the scheduler stops. For a lane
 * without a batch. */
struct enso_batch *enso__scheduler_wait_take(struct enso_scheduler *scheduler, unsigned lane);

#endif
