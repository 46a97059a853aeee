/* SPDX-License-Identifier: Apache-2.0
 *
 * The sizes of a plan's batches. So that recordings (capture.h) come again, tokens are rounded up
 * in steps of 64, finer for short batches. A plan whose batches keep the device much longer than
 * launching them keeps the thread gains nothing by that: its sizes are exact. Touches no device.
 * Private to kernels/cuda.
 */
#ifndef ENSO_KERNELS_CUDA_LADDER_H
#define ENSO_KERNELS_CUDA_LADDER_H

#include "engine/backend.h"

/* Beyond this share of the launching time a graph gains nothing, since the device is not waited
 * for; unless configured. */
#define ENSO__LADDER_LONG_PERCENT 400

/* What is known of a plan; zeros: nothing. */
struct enso__ladder {
    uint64_t least_enqueue_ns; /* of all batches that were launched one by one; 0: none yet */
    bool is_long;              /* recording gains nothing */
};

/* What a batch took of the device, and (0: it was a graph) what launching it took of the thread. */
void enso__ladder_learn(struct enso__ladder *ladder, unsigned long_percent, uint64_t compute_ns,
                        uint64_t enqueue_ns);

/* ladder: NULL while nothing is known. At most the plan's capacity. */
void enso__ladder_round_up(const struct enso__ladder *ladder, const struct enso_extents *capacity,
                           struct enso_extents *extents);

#endif
