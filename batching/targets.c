/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of several queues a job goes to: see targets.h.
 */
#include "batching/targets.h"

#include <string.h>

#include "batching/batching_internal.h"

#define NEAR 8 /* what ends less than 1/NEAR later is an equal */

/* Targets [0, at) go one up, the one at `at` becomes the first. */
static void bring_to_front(struct enso_target *targets, size_t at)
{
    struct enso_target t = targets[at];

    memmove(targets + 1, targets, at * sizeof targets[0]);
    targets[0] = t;
}

static void predict(struct enso_target *targets, size_t n, const struct enso_job *job,
                    uint64_t now_ns)
{
    for (size_t i = 0; i < n; i++)
        targets[i].end_ns = enso_queue_end_ns(targets[i].scheduler, targets[i].queue, job, now_ns);
}

/* By end. Few, and mostly in order. */
static void sort(struct enso_target *targets, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        size_t at = i;

        while (at > 0 && targets[at - 1].end_ns > targets[i].end_ns)
            at--;
        bring_to_front(targets + at, i - at);
    }
}

/* Of those that end about as soon as the soonest the one whose turn it is, by the caller's order.
 */
static size_t first_of(const struct enso_target *targets, size_t n, unsigned turn)
{
    size_t equals[ENSO_MAX_TARGETS] = {0}, n_equals = 0;
    uint64_t least_ns = UINT64_MAX;

    for (size_t i = 0; i < n; i++)
        least_ns = ENSO_MIN(least_ns, targets[i].end_ns);
    for (size_t i = 0; i < n; i++)
        if (targets[i].end_ns - least_ns <= least_ns / NEAR)
            equals[n_equals++] = i;
    return equals[turn % n_equals];
}

/* In the order in which they are to be asked. */
static void line_up(struct enso_target *targets, size_t n, unsigned turn,
                    const struct enso_job *job, uint64_t now_ns)
{
    size_t first, explored = turn / ENSO_EXPLORE_EVERY % n;

    predict(targets, n, job, now_ns);
    first = first_of(targets, n, turn);
    if (turn % ENSO_EXPLORE_EVERY == 0 &&
        enso_queue_wait_ns(targets[explored].scheduler, targets[explored].queue, now_ns) == 0)
        first = explored;
    bring_to_front(targets, first);
    sort(targets + 1, n - 1);
}

int enso_targets_submit_quietly(struct enso_target *targets, size_t n, unsigned turn,
                                struct enso_job *job, uint64_t now_ns, struct enso_error *err)
{
    struct enso_refusal refusal, told = {0};
    const struct enso_target *best = NULL;

    if (job->n_samples == 0)
        return enso_error_set(err, ENSO_INVALID, "a request needs at least one sample");
    if (n > 1)
        line_up(targets, n, turn, job, now_ns);
    for (size_t i = 0; i < n; i++) {
        if (enso__scheduler_offer(targets[i].scheduler, targets[i].queue, job, now_ns, true,
                                  &refusal) == ENSO_OK)
            return ENSO_OK;
        if (best == NULL || targets[i].end_ns < best->end_ns) {
            best = &targets[i];
            told = refusal;
        }
    }
    return enso__scheduler_refuse(best->queue, job, &told, err);
}
