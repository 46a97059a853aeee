/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver's management library (libnvidia-ml.so.1), as far as metrics need it: looked for when a
 * GPU is opened, never linked. Its prototypes are our own, from NVIDIA's "NVML API Reference Guide"
 * (they have not changed since driver 450). Calls take a millisecond or, in a driver that hangs,
 * for ever: they belong to a thread that nobody waits for (watch.c). Private to kernels/cuda.
 */
#ifndef ENSO_KERNELS_CUDA_NVML_H
#define ENSO_KERNELS_CUDA_NVML_H

#include "kernels/cuda/cuda_internal.h"

struct enso__nvml; /* opaque */

/* The card with that PCI address ("0000:17:00.0"). ENSO_NOT_FOUND: no such library;
 * ENSO_UNAVAILABLE: it does not work, or does not know the card. Both with a sentence. */
int enso__nvml_open(const char *pci_bus_id, struct enso__nvml **ret_nvml, struct enso_error *err);
void enso__nvml_close(struct enso__nvml *nvml); /* NULL is fine */

/* Set what the library tells: free_bytes and all that follows it in the struct; NAN what it does
 * not. */
void enso__nvml_read(const struct enso__nvml *nvml, struct enso_device_metrics *ret);

#endif
