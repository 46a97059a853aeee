/* SPDX-License-Identifier: Apache-2.0
 *
 * A job that more than one queue could take: those of the copies of a model, each on a device of
 * its own, maybe on unlike ones. It goes where it should be through first, its own run there
 * included, and when that queue refuses it, where it should be through next, and so on: it is
 * refused only when none takes it.
 *
 * Equals take turns. Equal is what ends less than an eighth later than the first: predictions are
 * no better than that. One job in ENSO_EXPLORE_EVERY goes to an idle queue out of turn, though it
 * should be through later there: what a run costs is learned from runs alone, and a copy that is
 * believed to be slow (it was hot, or its first runs were disturbed) would otherwise be believed so
 * until all others are busy.
 *
 *     struct enso_target targets[] = {{.scheduler = a, .queue = on_a}, {b, on_b}};
 *     st = enso_targets_submit_quietly(targets, 2, turn++, job, now_ns, &err);
 *
 * Cost: each queue's mutex once more than a submit to one queue.
 */
#ifndef ENSO_BATCHING_TARGETS_H
#define ENSO_BATCHING_TARGETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_job;
struct enso_queue;
struct enso_scheduler;

#define ENSO_MAX_TARGETS 64

struct enso_target {
    struct enso_scheduler *scheduler;
    struct enso_queue *queue; /* on it, or closed */
    uint64_t end_ns;          /* filled in: predicted time until the job would be through */
};

/* enso_scheduler_submit_quietly to one of n (1 .. ENSO_MAX_TARGETS) targets, whose order is
 * changed; the caller owes enso_scheduler_wake to all of their schedulers. turn: one more for each
 * job. On a refusal err and job->retry_after_ns are those of the target with the least end_ns, and
 * its observer alone is told, once. */
int enso_targets_submit_quietly(struct enso_target *targets, size_t n, unsigned turn,
                                struct enso_job *job, uint64_t now_ns,
                                struct enso_error *err) ENSO_MUST_CHECK;

#endif
