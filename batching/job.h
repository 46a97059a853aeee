/* SPDX-License-Identifier: Apache-2.0
 *
 * A job: all samples of one request, admitted to a model's queue whole or refused whole. Its
 * samples may run in several batches; it is done when the last one has finished, failed or was
 * dropped. Flat data only: no pointers into requests or JSON (user is carried, never looked into).
 *
 *     struct enso_job *job = enso_job_create(2);
 *     job->samples[0] = ...; job->samples[1] = ...;
 *     job->done = on_done; job->user = request;
 *     if (enso_scheduler_submit(scheduler, queue, job, now_ns, &err) != ENSO_OK)
 *         ... answer err and job->retry_after_ns; enso_job_destroy(job);
 *
 * Ownership: the caller's until submit succeeds; the scheduler's until done is called; the caller's
 * again from inside done on, and nobody else touches it after done returned. So done may hand it to
 * another thread or destroy it. A refused job stays the caller's and done is not called.
 *
 * Threads: done is called exactly once per admitted job and never under a lock, by whoever ends it:
 *   - the lane's thread, when its last running sample finished or failed, or when the lane found it
 *     expired before compute;
 *   - the caller of enso_job_cancel, enso_scheduler_expire, enso_scheduler_remove_queue or
 *     enso_scheduler_stop, from inside that call, when no sample of it is running.
 * It must not block and must not assume a thread: post to the loop.
 */
#ifndef ENSO_BATCHING_JOB_H
#define ENSO_BATCHING_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "batching/heap.h"
#include "batching/list.h"
#include "engine/sample.h"

#define ENSO_PRIORITY_HIGHEST 0
#define ENSO_PRIORITY_DEFAULT 5
#define ENSO_PRIORITY_LOWEST 9
#define ENSO_N_PRIORITIES 10

struct enso_client;
struct enso_job;
struct enso_observer;
struct enso_queue;
struct enso_scheduler;

typedef void (*enso_job_done_fn)(struct enso_job *job, void *user);

struct enso_job {
    /* Set by the caller before submit, not changed after. */
    uint32_t n_samples;           /* >= 1 */
    struct enso_sample **samples; /* [n_samples], owned, none NULL when submitted */
    uint64_t deadline_ns;         /* monotonic clock; 0 = none */
    uint64_t client;              /* whose share of the model it uses; 0 = anonymous */
    unsigned priority;            /* 0 (highest) to 9; more counts as 9 */
    enso_job_done_fn done;
    void *user;

    /* Set when submit refuses with ENSO_OVERLOADED: when a retry may succeed, from now. */
    uint64_t retry_after_ns;

    /* The outcome: valid from the call of done on. Of several failures the first one stands. */
    enum enso_status status; /* OK, CANCELLED, DEADLINE, UNAVAILABLE, or what the run gave */
    struct enso_error error;
    uint32_t failed_sample; /* index of the sample whose run failed; n_samples when none did */
    uint64_t submit_ns;
    uint64_t queue_ns;    /* submit to done, less compute_ns */
    uint64_t compute_ns;  /* time during which at least one of its samples was on a lane */
    uint32_t batch_items; /* samples in the largest batch it took part in; 0 when never run */
    uint32_t n_batches;   /* batches it took part in */

    /* batching/ only, guarded by the scheduler's mutex. Samples [next, n_samples) are queued. */
    struct enso_scheduler *scheduler;
    struct enso_queue *queue;             /* may be gone once nothing is queued or running */
    const struct enso_observer *observer; /* the queue's */
    struct enso_client *client_entry;     /* NULL once nothing of it is queued */
    struct enso_job *next_done;
    struct enso_heap_node order;          /* in client_entry->jobs */
    struct enso_heap_node by_deadline;    /* in queue->deadlines, if it has one */
    struct enso_list in_queue, in_ageing; /* in queue->jobs; in queue->ageing[level] */
    uint64_t level_since_ns, due_ns, turn, running_since_ns, last_batch;
    uint64_t units; /* cost of the samples still queued */
    uint32_t next, n_running;
    uint8_t level; /* priority, less what it aged */
    bool finished;
};

/* Zeroed but for the default priority, with room for n_samples (>= 1) pointers, all NULL. NULL when
 * out of memory. */
struct enso_job *enso_job_create(uint32_t n_samples) ENSO_MUST_CHECK;
/* Destroys the samples too (slots may be NULL). Not between submit and done. NULL is fine. */
void enso_job_destroy(struct enso_job *job);

/* The client has gone: samples that are not running yet are dropped at once, done is called with
 * ENSO_CANCELLED (from inside this call, or by the lane once the running samples are through).
 * A no-op for a job that was never admitted, is done, or has already failed. The caller must not
 * destroy the job meanwhile, and must have seen submit return. */
void enso_job_cancel(struct enso_job *job, uint64_t now_ns);

#endif
