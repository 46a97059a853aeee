/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread beside a GPU for calls of the driver that may take long and that no batch and no
 * request should wait for: reading NVML every few seconds, giving memory back to the card after a
 * program has gone. It sleeps otherwise. Private to kernels/cuda.
 */
#ifndef ENSO_KERNELS_CUDA_WATCH_H
#define ENSO_KERNELS_CUDA_WATCH_H

#include "kernels/cuda/device.h"

struct enso__cuda_watch; /* opaque */

/* Reads NVML once and starts the thread. Without NVML there is one line in the log. */
int enso__cuda_watch_open(struct enso_device *device, struct enso__cuda_watch **ret_watch,
                          struct enso_error *err) ENSO_MUST_CHECK;
/* Waits a second for the thread; one that is stuck in the driver is left alone, then false: it
 * still reads the device. NULL is fine. */
bool enso__cuda_watch_close(struct enso__cuda_watch *watch);

/* Trim the memory pool soon (memory.h). Any thread, returns at once; NULL is fine. */
void enso__cuda_watch_trim(struct enso__cuda_watch *watch);

/* device_metrics of engine/backend.h. */
void enso__cuda_device_metrics(struct enso_device *device, struct enso_device_metrics *ret_metrics);

#endif
