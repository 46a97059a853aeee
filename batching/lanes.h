/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: the threads on which a device's batches run. Each opens its own lane of the backend
 * (thread team, stream) on its own thread, then takes a batch, runs it, finishes it, calls the done
 * callbacks, until told to stop. An idle lane sleeps on the scheduler's condition variable and is
 * woken by a submit, or at the end of a max_queue_delay: never otherwise.
 *
 * A device that works by itself never waits for its lane's thread: shortly before a batch should be
 * through the next one is taken, no earlier, so that it grows as long as it can, and put behind the
 * first; what the first gave is made into answers while the second computes.
 *
 *     device   ......|== a ==========|== b =============|== c ...
 *     thread   begin a   sleep   begin b  answer a   sleep   begin c  answer b
 *
 * A run that fails fails the jobs of its samples (enso_batch_end) and the lane goes on, also with
 * the batch that stands behind it.
 *
 *     enso_lanes_start(backend, device, 1, &lanes, &err);
 *     enso_scheduler_add_queue(enso_lanes_scheduler(lanes), queue);
 *     ...
 *     enso_lanes_stop(lanes);
 *     enso_scheduler_remove_queue(enso_lanes_scheduler(lanes), queue, now_ns);
 *     enso_lanes_destroy(lanes);
 *
 * Warm-up runs of the loader happen on a lane of the loader's own or before start; a model's queue
 * is added only when it is ready to serve.
 */
#ifndef ENSO_BATCHING_LANES_H
#define ENSO_BATCHING_LANES_H

#include <stdbool.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_backend;
struct enso_device;
struct enso_lane_stats; /* engine/backend.h */
struct enso_lanes;
struct enso_scheduler;

/* Makes the device's scheduler and starts n_lanes (>= 1) threads; returns when all of them have
 * opened their lanes, or with the first error when one could not (then none is left). The backend
 * and the device are borrowed until destroy. */
int enso_lanes_start(const struct enso_backend *backend, struct enso_device *device,
                     unsigned n_lanes, struct enso_lanes **ret_lanes,
                     struct enso_error *err) ENSO_MUST_CHECK;

/* The lanes' own; lives until enso_lanes_destroy. */
struct enso_scheduler *enso_lanes_scheduler(struct enso_lanes *lanes);

/* What all lanes have done since they were opened, by the backend; zeros where that does not tell.
 * From any thread. */
void enso_lanes_stats(struct enso_lanes *lanes, struct enso_lane_stats *ret_stats);
/* The same of one, below n_lanes. */
void enso_lanes_lane_stats(struct enso_lanes *lanes, unsigned lane,
                           struct enso_lane_stats *ret_stats);

/* Drains nothing: queued jobs fail with ENSO_UNAVAILABLE on the calling thread, later submits are
 * refused, running batches are finished (their done is called on the lane). Returns when all lanes
 * are closed. A second call does nothing. Not from a lane's thread. */
void enso_lanes_stop(struct enso_lanes *lanes);
/* The same without the wait: true when all lanes are closed; false while one still works, or is
 * stuck in the driver for ever. To be called again; whoever gives up frees nothing that the lane's
 * batch may touch: queues, models, these lanes. *ret_working (may be NULL): how many those are. */
bool enso_lanes_try_stop(struct enso_lanes *lanes, unsigned *ret_working) ENSO_MUST_CHECK;

/* Stops, frees the scheduler: every queue must have been removed. NULL is fine. */
void enso_lanes_destroy(struct enso_lanes *lanes);

#endif
