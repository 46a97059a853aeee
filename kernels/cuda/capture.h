/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded batches: the launches of a plan as a CUDA graph, which the driver starts with one call.
 * A graph holds the addresses and numbers of what was recorded: it belongs to one plan on one lane,
 * one slot, one size. Private to kernels/cuda.
 *
 * A size runs launch by launch the first time, is recorded the second time and started as a graph
 * from then on: what comes once is not worth a recording, and the first run may have to load
 * kernels, which a recording refuses. So that sizes come again they are rounded up (round_up). A
 * plan whose batches keep the device four times as long as launching them keeps the thread gains
 * nothing: it is not recorded, and not rounded up.
 *
 * What the driver keeps for a graph counts as the lane's memory (gpu_memory). Where it does not fit
 * the plan's recording that was used longest ago in that slot makes room, if that is long enough;
 * else the batch runs launch by launch. Memory for anything else comes first: recordings give way
 * to it, of all the device's those that were used longest ago.
 *
 * Threads: a plan's recordings are its lane's own. But any thread may make one give way that is on
 * no lane: what it takes of them (exec, bytes) is guarded by the device's captures_mutex, and a
 * recording that its lane has found is pinned, and the lane's alone, until the batch is through.
 */
#ifndef ENSO_KERNELS_CUDA_CAPTURE_H
#define ENSO_KERNELS_CUDA_CAPTURE_H

#include "kernels/cuda/device.h"

/* A size of a plan. */
struct enso__recording {
    struct enso_extents extents;
    uint64_t shape;
    unsigned slot;
    uint64_t n_uses, last_use;
    bool refused;         /* it could not be recorded: launch by launch for ever */
    bool pinned;          /* under the mutex: it stays */
    uint64_t used;        /* under the mutex: when, among all of the device */
    cudaGraphExec_t exec; /* NULL: not recorded */
    size_t bytes;         /* of the device that the recording is reckoned at */
};

/* The run's size, counted as used once more, and pinned; NULL: it is not to be recorded. */
struct enso__recording *enso__capture_find(struct enso_device *device, const struct enso_run *run,
                                           unsigned slot);
/* The slot's batch is through, or failed to begin. */
void enso__capture_unpin(struct enso_device *device, struct enso_captures *captures, unsigned slot);
bool enso__capture_is_due(const struct enso__recording *r);
/* Count the memory of a recording of so many steps. False: there is no room for it now. The slot
 * must be free, so that none of its recordings is on the lane. */
bool enso__capture_reserve(struct enso_device *device, struct enso_captures *captures,
                           struct enso__recording *r, size_t n_steps);

/* From begin to end, what is put on the stream is recorded and not run. begin returns a
 * cudaError_t; after its success end must be called. end makes the graph if `complete`, or gives
 * the size up and says so in the log. */
int enso__capture_begin(cudaStream_t stream);
void enso__capture_end(struct enso_device *device, cudaStream_t stream, struct enso__recording *r,
                       bool complete);
/* Give the size up: `why` is a cudaError_t. */
void enso__capture_refuse(struct enso_device *device, struct enso__recording *r, int why);

/* What a batch took of the device, and (0: it was a graph) what launching it took of the thread. */
void enso__capture_learn(const struct enso_device *device, struct enso_captures *captures,
                         uint64_t compute_ns, uint64_t enqueue_ns);

/* Free so many bytes by giving up recordings that are on no lane; false: they have not as many, and
 * stay. */
bool enso__captures_give_way(struct enso_device *device, size_t bytes);

void enso__captures_round_up(const struct enso_captures *captures,
                             const struct enso_extents *capacity, struct enso_extents *extents);
void enso__captures_free(struct enso_device *device, struct enso_captures *captures);

#endif
