/* SPDX-License-Identifier: Apache-2.0
 *
 * The scheduler of one device: admits jobs to queues and hands batches to lanes.
 *
 *   submit ─> queue ─ take ─> batch ─ begin ─ wait ─> finish ─> done
 *
 * Work-conserving: take gives a batch whenever anything is queued, unless the only queues with
 * something in them ask for a max_queue_delay that has not passed. While lanes are busy queues
 * grow, and so do the batches taken next. Between models: deficit round robin over predicted cost
 * (fairness.h), whatever the priorities and deadlines inside them; a batch is never interrupted.
 *
 * Deadlines: work that has expired is dropped before compute, with ENSO_DEADLINE: by take, and by
 * enso_scheduler_expire, which the loop calls from a timer so that a job does not learn of its
 * deadline only when a lane comes free. A job with samples on a lane is done when those are
 * through.
 *
 * Time comes in as now_ns (monotonic, never going back), so that all of this is tested by a fake
 * clock and without threads. Every function is safe from any thread: one mutex per scheduler, held
 * for microseconds, never during a callback or a run. An idle scheduler wakes nobody.
 *
 * Cost: submit, take and finish of a one-sample job together under 2 us; each O(log n) in queued
 * jobs, clients and queues.
 */
#ifndef ENSO_BATCHING_SCHEDULER_H
#define ENSO_BATCHING_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "batching/runner.h"

struct enso_job;
struct enso_lane;
struct enso_queue;
struct enso_scheduler;

struct enso_batch_item {
    struct enso_job *job;
    uint32_t index; /* of the sample in the job */
};

/* What a lane was given to run. Lives in the scheduler, the lane's until finish. */
struct enso_batch {
    struct enso_queue *queue;
    unsigned lane, slot;
    size_t n; /* samples, >= 1 */
    struct enso_sample **samples;
    struct enso_batch_item *items; /* where each sample comes from */
    uint64_t n_items, n_tokens, units;
    uint64_t started_ns, predicted_ns; /* predicted 0: the cost curve knows nothing yet */
    uint64_t compute_ns; /* what the run took of the device; 0: the time since started_ns */
    uint64_t n_padding_tokens;
    struct enso_runner runner;
    const struct enso_observer *observer;
    unsigned n_runs; /* set by enso_batch_begin; more than 1 teaches the cost curve nothing */

    size_t capacity;
    uint64_t id;
};

/* Lanes that hold up to n_slots batches each (1 .. ENSO_MAX_SLOTS). */
int enso_scheduler_create(unsigned n_lanes, unsigned n_slots, struct enso_scheduler **ret_scheduler,
                          struct enso_error *err) ENSO_MUST_CHECK;
/* After stop, when no queue is left on it and no lane runs. NULL is fine. */
void enso_scheduler_destroy(struct enso_scheduler *scheduler);

/* The queue must be on no scheduler. */
void enso_scheduler_add_queue(struct enso_scheduler *scheduler, struct enso_queue *queue);
/* No more jobs from now on (ENSO_UNAVAILABLE); what is queued still runs. For a model version that
 * was replaced. */
void enso_scheduler_close_queue(struct enso_scheduler *scheduler, struct enso_queue *queue);
/* Close, fail what is queued with ENSO_UNAVAILABLE, wait for the batches of the queue that are
 * running (so: not from a lane's thread, not from the loop), take it off the scheduler. */
void enso_scheduler_remove_queue(struct enso_scheduler *scheduler, struct enso_queue *queue,
                                 uint64_t now_ns);
/* The same without the wait: false while a batch of the queue runs, which then stays where it is,
 * closed and empty. */
bool enso_scheduler_try_remove_queue(struct enso_scheduler *scheduler, struct enso_queue *queue,
                                     uint64_t now_ns) ENSO_MUST_CHECK;

/* Admit the job: on ENSO_OK it is the scheduler's until done. Else it stays the caller's, err says
 * why, job->retry_after_ns when to come again (queue.h, "Admission"; ENSO_NO_MEMORY too). */
int enso_scheduler_submit(struct enso_scheduler *scheduler, struct enso_queue *queue,
                          struct enso_job *job, uint64_t now_ns,
                          struct enso_error *err) ENSO_MUST_CHECK;

/* The same, but an idle lane sleeps on until enso_scheduler_wake, which the caller owes within
 * microseconds: so that requests which come together are one batch, and a lane is woken once for
 * all of them (a wake-up costs more than a small model's run). Lanes that are busy take the job
 * when they come back, as ever. */
int enso_scheduler_submit_quietly(struct enso_scheduler *scheduler, struct enso_queue *queue,
                                  struct enso_job *job, uint64_t now_ns,
                                  struct enso_error *err) ENSO_MUST_CHECK;
void enso_scheduler_wake(struct enso_scheduler *scheduler);

/* A batch for a lane (0 .. n_lanes-1) with a free slot: true and *ret_batch, to be given to
 * enso_batch_run or run and finished otherwise. False when there is nothing to take before
 * *ret_wake_at_ns (UINT64_MAX: before the next submit). Calls done of jobs that it finds expired.
 */
bool enso_scheduler_take(struct enso_scheduler *scheduler, unsigned lane, uint64_t now_ns,
                         struct enso_batch **ret_batch, uint64_t *ret_wake_at_ns);
/* The batch is through: status and err (may be NULL) for all samples that did not fail on their
 * own. A failed sample fails its job, and what is queued of that job is dropped. Calls done of the
 * jobs that end. The lane may take again. */
void enso_scheduler_finish(struct enso_scheduler *scheduler, struct enso_batch *batch,
                           uint64_t now_ns, enum enso_status status, const struct enso_error *err);

/* Of a running batch, one sample failed on its own. */
void enso_scheduler_fail_sample(struct enso_scheduler *scheduler, struct enso_batch *batch,
                                size_t i, enum enso_status status, const struct enso_error *err);
/* A running batch goes on to a run of sample i alone: false when nobody wants that sample any more.
 * Restarts the watchdog's clock. */
bool enso_scheduler_run_singly(struct enso_scheduler *scheduler, struct enso_batch *batch, size_t i,
                               uint64_t now_ns);

/* Start the batch on its runner, wait for it, end it. A batch that failed to begin is not waited
 * for, but ended. expected_ns: when it should be through, 0: not known.
 *
 * end: when a batch of several samples failed with anything but ENSO_DEVICE or ENSO_UNAVAILABLE
 * (one poisoned sample, too little memory for all together), each of its samples is run alone once,
 * so that a sample cannot take its batch mates down; on a lane that holds no other batch, which
 * would have to wait for all that (enso_batch_must_retry). Time is read from clock. */
int enso_batch_begin(struct enso_batch *batch, struct enso_lane *lane, uint64_t expected_ns,
                     struct enso_error *err);
int enso_batch_wait(struct enso_batch *batch, struct enso_lane *lane, struct enso_error *err);
bool enso_batch_must_retry(const struct enso_batch *batch, int status);
void enso_batch_end(struct enso_scheduler *scheduler, struct enso_batch *batch,
                    struct enso_lane *lane, int status, const struct enso_error *err,
                    uint64_t (*clock)(void));
/* All three. */
void enso_batch_run(struct enso_scheduler *scheduler, struct enso_batch *batch,
                    struct enso_lane *lane, uint64_t (*clock)(void));

/* Drop what has expired (calling done); returns the earliest deadline still queued, UINT64_MAX if
 * none. */
uint64_t enso_scheduler_expire(struct enso_scheduler *scheduler, uint64_t now_ns);

/* Fail all that is queued with ENSO_UNAVAILABLE and the sentence `why` (NULL: that ensod is
 * shutting down), refuse all that comes, send the lanes home. What runs is finished by its lane.
 * For good; a second call does no harm. */
void enso_scheduler_stop(struct enso_scheduler *scheduler, const char *why, uint64_t now_ns);

/* The watchdog's question: is every lane idle, or within max(30 s, ten times the predicted time of
 * the batch that it computes)? */
bool enso_scheduler_healthy(struct enso_scheduler *scheduler, uint64_t now_ns);

struct enso_scheduler_stats {
    unsigned n_lanes, n_busy, n_queues;            /* n_busy: lanes with a batch */
    uint64_t n_jobs, n_samples, n_items, n_tokens; /* queued, not running */
    uint64_t backlog_ns; /* predicted time until all that is queued and running is through */
};
void enso_scheduler_stats(struct enso_scheduler *scheduler, uint64_t now_ns,
                          struct enso_scheduler_stats *ret_stats);

/* Predicted time until a job that came now would run: what runs, and what waits in the queue,
 * beside the other queues' shares. 0: a lane is free and nothing waits. */
uint64_t enso_queue_wait_ns(struct enso_scheduler *scheduler, struct enso_queue *queue,
                            uint64_t now_ns);
/* Predicted time until the job would be through if it came now, by its own place in line: what
 * admission holds against its deadline. UINT64_MAX: no job is taken any more. To choose among
 * schedulers (targets.h). */
uint64_t enso_queue_end_ns(struct enso_scheduler *scheduler, struct enso_queue *queue,
                           const struct enso_job *job, uint64_t now_ns);

struct enso_queue_stats {
    uint64_t n_jobs, n_samples, n_items, n_tokens, n_clients; /* queued, not running */
    unsigned n_running;                                       /* batches */
    uint64_t oldest_ns;      /* how long the oldest queued job has waited */
    uint64_t backlog_ns;     /* predicted time until all that is queued is through */
    uint64_t batch_units;    /* most cost units in a batch now; UINT64_MAX: no limit */
    double units_per_second; /* of full batches, by the cost curve; 0: not known yet */
};
void enso_queue_stats(struct enso_scheduler *scheduler, struct enso_queue *queue, uint64_t now_ns,
                      struct enso_queue_stats *ret_stats);

#endif
