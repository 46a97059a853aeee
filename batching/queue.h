/* SPDX-License-Identifier: Apache-2.0
 *
 * A model version's queue: what may wait, what a batch may hold, how the model runs, what a run
 * costs. Made by whoever loads the model, put on a device's scheduler with
 * enso_scheduler_add_queue, fed through enso_scheduler_submit.
 *
 * Admission. A job enters whole or not at all. It is refused with ENSO_OVERLOADED and
 * job->retry_after_ns when its items (or tokens) do not fit beside what waits, or when the time
 * predicted for it ends after its deadline; with ENSO_DEADLINE when its deadline has already
 * passed; with ENSO_UNAVAILABLE once the queue is closed. A job larger than the whole queue is
 * admitted when nothing waits.
 *
 * Order. Clients take turns by deficit round robin over cost units (fairness.h). Inside a client:
 *   1. level: the job's priority, one better for each ENSO_AGEING_NS that it stands in a level;
 *   2. due time: the deadline, but at most ENSO_PATIENCE_NS after the job last stepped back into
 *      line (each sample served sends its job back into line, which makes equals take turns: round
 *      robin, one sample each), and ENSO_YIELD_NS later for each sample it was already served, so
 *      that a large job with a deadline steps behind small ones with about the same deadline;
 *   3. first come, first served.
 * No job starves: after (priority x ENSO_AGEING_NS + ENSO_PATIENCE_NS) nothing new comes before it.
 *
 * Batches hold at most max_batch_items items and max_batch_tokens cost units (or, when that is 0,
 * what the cost curve's budget says), as many as are predicted to take max_batch_ns, and at least
 * one sample. A sample that does not fit ends the batch: nobody overtakes it.
 *
 * Units: cost units are enso_sample_cost: tokens of ragged samples, items of dense ones.
 *
 * Threads: limits and runner are immutable; everything else belongs to the scheduler's mutex.
 */
#ifndef ENSO_BATCHING_QUEUE_H
#define ENSO_BATCHING_QUEUE_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/macros.h"
#include "batching/runner.h"

#define ENSO_AGEING_NS ENSO_NS_PER_S
#define ENSO_PATIENCE_NS ENSO_NS_PER_S
#define ENSO_YIELD_NS (ENSO_PATIENCE_NS / 64)
/* One batch in so many may be twice the learned budget, to find out whether the budget grew. */
#define ENSO_EXPLORE_EVERY 128

/* 0 means no limit, where nothing else is said. */
struct enso_queue_limits {
    uint64_t max_queue_items;    /* items that wait (a text is one, a dense sample n_items) */
    uint64_t max_queue_tokens;   /* tokens that wait */
    uint64_t max_batch_items;    /* items in a batch; 1 for models that cannot be batched */
    uint64_t max_batch_tokens;   /* cost units in a batch; 0 = learned */
    uint64_t max_queue_delay_ns; /* an idle lane may wait so long for a fuller batch; 0 = never */
    uint64_t max_batch_ns;       /* predicted time of a batch of more than one sample */
};

struct enso_queue;

/* name ("bert-base", for messages) and limits are copied, and so is the runner (its model is
 * borrowed: it must live until done was called for every job); the observer is borrowed (may be
 * NULL; see runner.h for how long). */
int enso_queue_create(const char *name, const struct enso_queue_limits *limits,
                      const struct enso_runner *runner, const struct enso_observer *observer,
                      struct enso_queue **ret_queue, struct enso_error *err) ENSO_MUST_CHECK;
/* Only when it is on no scheduler (any more). NULL is fine. */
void enso_queue_destroy(struct enso_queue *queue);

const char *enso_queue_name(const struct enso_queue *queue);
const struct enso_queue_limits *enso_queue_limits(const struct enso_queue *queue);

/* Warm-up runs seed the cost curve: a batch of so many cost units took so long. Before the queue is
 * put on a scheduler; after that it learns by itself. */
void enso_queue_seed(struct enso_queue *queue, uint64_t units, uint64_t ns);

#endif
