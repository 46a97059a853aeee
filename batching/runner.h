/* SPDX-License-Identifier: Apache-2.0
 *
 * What a batch runs on, and who is told about it: the two structs of callbacks through which
 * batching/ knows a model and the metrics page.
 */
#ifndef ENSO_BATCHING_RUNNER_H
#define ENSO_BATCHING_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/sample.h"

struct enso_job;
struct enso_lane;
struct enso_pace;  /* engine/backend.h */
struct enso_spent; /* engine/backend.h */

struct enso_runner {
    void *model; /* handed to both */
    /* Starts the samples as one batch in a free slot of the lane; returns before it is through on a
     * device that works by itself. Called by a lane's thread, outside all locks. Returns 0 or a
     * negative enso_status with err filled: then the slot is free, the samples as good as not run.
     */
    int (*begin)(void *model, struct enso_lane *lane, unsigned slot,
                 struct enso_sample *const *samples, size_t n, const struct enso_pace *pace,
                 struct enso_error *err);
    /* Waits for that batch and sets its samples' outputs; batches of a lane are finished in the
     * order of their begins. ret_spent may be NULL. A failed call leaves the samples as good as not
     * run; the slot is free whatever happened. */
    int (*finish)(void *model, struct enso_lane *lane, unsigned slot,
                  struct enso_sample *const *samples, size_t n, struct enso_spent *ret_spent,
                  struct enso_error *err);
};

/* One run of a batch, or one batch whose samples had to be run singly (n_runs > 1). */
struct enso_batch_report {
    size_t n_samples;
    uint64_t n_items, n_tokens, n_padding_tokens;
    uint64_t compute_ns, predicted_ns;
    unsigned n_runs;
    enum enso_status status; /* of the whole batch; OK when only single samples failed */
};

/* Metrics hooks. Each may be NULL, as may the pointer to the whole. All are called outside the
 * mutex, on the thread that ends the batch or job, and must not block. The struct and its user must
 * live until done was called for every job of the queue: all calls about a job and the batches it
 * was in come before its done. */
struct enso_observer {
    void *user;
    void (*batch)(void *user, const struct enso_batch_report *report); /* lane's thread */
    /* Once per admitted job, right before done: read status, queue_ns, compute_ns, batch_items.
     * status says what was dropped and why (CANCELLED, DEADLINE, UNAVAILABLE). */
    void (*job)(void *user, const struct enso_job *job);
    /* Once per refused job, on the submitting thread: OVERLOADED, DEADLINE, UNAVAILABLE... */
    void (*refused)(void *user, const struct enso_job *job, enum enso_status status);
};

#endif
