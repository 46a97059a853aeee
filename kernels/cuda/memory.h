/* SPDX-License-Identifier: Apache-2.0
 *
 * Device memory: where every byte of it comes from, and how much of it there may be. Private to
 * kernels/cuda; what bind functions call is in cuda_internal.h.
 *
 * Kinds, as the metrics tell them: weights (of programs, and what bind functions make of them),
 * arenas (of contexts), lanes (what a lane keeps for itself, recorded batches among it).
 *
 * Threads: any, at any time. Freed memory must be out of use: no work that touches it is left on
 * any stream.
 */
#ifndef ENSO_KERNELS_CUDA_MEMORY_H
#define ENSO_KERNELS_CUDA_MEMORY_H

#include "kernels/cuda/cuda_internal.h"

enum enso__cuda_memory_kind {
    ENSO__CUDA_WEIGHTS,
    ENSO__CUDA_ARENAS,
    ENSO__CUDA_LANES,
    ENSO__CUDA_N_KINDS
};

struct enso__cuda_memory; /* a device's; opaque */

/* What is given out now. */
struct enso__cuda_memory_stats {
    size_t limit_bytes; /* most that may be given out: gpu_memory */
    size_t bytes[ENSO__CUDA_N_KINDS];
    size_t n_pieces; /* allocations of the driver */
};

/* The card must be selected (device.c). options: memory_bytes and memory_percent. */
int enso__cuda_memory_open(struct enso_device *device, const struct enso_device_options *options,
                           struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_memory_close(struct enso_device *device); /* also when it was never opened */

/* What the engine asks for: arenas, and between begin and end constants of a program. */
int enso__cuda_memory_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                            void **ret_memory, struct enso_error *err) ENSO_MUST_CHECK;

/* promise, promise_end and promised_alloc of engine/backend.h. */
int enso__cuda_promise(struct enso_device *device, size_t size_bytes, const char *what,
                       struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_promise_end(struct enso_device *device, size_t size_bytes);
int enso__cuda_promised_alloc(struct enso_device *device, size_t size_bytes, size_t promised_bytes,
                              const char *what, void **ret_memory,
                              struct enso_error *err) ENSO_MUST_CHECK;

/* program_begin and program_end of engine/backend.h. */
int enso__cuda_program_begin(struct enso_device *device, size_t least_bytes,
                             struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_program_end(struct enso_device *device);

/* Count what the driver takes by itself. False when it does not fit under the limit, beside what is
 * promised; what was counted is taken back by unreserve. */
bool enso__cuda_memory_reserve(struct enso_device *device, enum enso__cuda_memory_kind kind,
                               size_t bytes) ENSO_MUST_CHECK;
void enso__cuda_memory_unreserve(struct enso_device *device, enum enso__cuda_memory_kind kind,
                                 size_t bytes);

/* What may still be given out and is not promised, and what the card has in all; 0 of 0 when it
 * does not say. */
void enso__cuda_memory_info(struct enso_device *device, size_t *ret_free, size_t *ret_total);

void enso__cuda_memory_stats(struct enso_device *device, struct enso__cuda_memory_stats *ret);
/* What the pool has from the card and gave to nobody; asks the driver. */
size_t enso__cuda_memory_idle(const struct enso_device *device);
/* Give back to the card what the pool has idle. May take milliseconds: not from a lane or the
 * loop. */
void enso__cuda_memory_trim(struct enso_device *device);

#endif
