/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the CUDA backend that module.c puts together: lanes and the host's table. Private to
 * kernels/cuda.
 */
#ifndef ENSO_KERNELS_CUDA_MODULE_H
#define ENSO_KERNELS_CUDA_MODULE_H

#include "engine/host.h"
#include "kernels/cuda/device.h"

/* What the device is called: "cuda:0". The emulation says so wherever the name is shown. */
#ifdef ENSO_EMULATED
#define ENSO__CUDA_NAME "cuda-emulated"
#else
#define ENSO__CUDA_NAME "cuda"
#endif

/* The one thing the module exports. NULL when the daemon is of another version. */
const struct enso_backend *enso_backend_entry(const struct enso_host *given)
    __attribute__((visibility("default")));

/* Before anything else of this module is called. */
void enso__host_use(const struct enso_host *given);

/* A lane of work for the card: streams of its own, pinned memory through which copies pass, events
 * to wait for. One thread at a time. Copies up return as soon as the source may be reused. The
 * functions are those of struct enso_backend (engine/backend.h). */
int enso__cuda_lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                         struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_lane_close(struct enso_lane *lane);
int enso__cuda_lane_upload(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                           struct enso_error *err) ENSO_MUST_CHECK;
int enso__cuda_lane_download(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                             struct enso_error *err) ENSO_MUST_CHECK;
size_t enso__cuda_report_bytes(size_t n_steps);
int enso__cuda_lane_begin(struct enso_lane *lane, unsigned slot, const struct enso_run *run,
                          struct enso_error *err) ENSO_MUST_CHECK;
int enso__cuda_lane_finish(struct enso_lane *lane, unsigned slot, uint64_t *ret_compute_ns,
                           struct enso_error *err) ENSO_MUST_CHECK;
bool enso__cuda_lane_done(struct enso_lane *lane, unsigned slot);
int enso__cuda_lane_run(struct enso_lane *lane, const struct enso_run *run,
                        struct enso_error *err) ENSO_MUST_CHECK;
/* tune.c: the contract of engine/backend.h. */
int enso__cuda_tune(struct enso_device *device, const struct enso_tuning *how,
                    struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_lane_stats(const struct enso_lane *lane, struct enso_lane_stats *ret_stats);
/* Sleep until all that was put on the lane's stream is done: copies and steps, not the large copies
 * of batches. */
int enso__cuda_lane_wait(struct enso_lane *lane, struct enso_error *err);
/* Until everything is. */
int enso__cuda_lane_drain(struct enso_lane *lane, struct enso_error *err);
cudaStream_t enso__cuda_lane_stream(struct enso_lane *lane);

#endif
