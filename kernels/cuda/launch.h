/* SPDX-License-Identifier: Apache-2.0
 *
 * The launchers of all kernels, in plain C: the border between host files (C) and kernels (.cu).
 * Each picks grid and block and puts its kernel on the stream; none allocates, waits or looks into
 * device memory. They return a cudaError_t as int; 0 items is cudaSuccess without a launch.
 * Pointers are device memory, sizes are in elements, tables travel by value in structs.
 */
#ifndef ENSO_KERNELS_CUDA_LAUNCH_H
#define ENSO_KERNELS_CUDA_LAUNCH_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/nodes/activation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a kernel found in its data and could not accept; it clamps, goes on and notes this in the
 * call's fault word, and the batch fails: with ENSO_INVALID for an index, which came from a
 * request, with ENSO_INTERNAL for starts, which the engine made. */
enum enso_cuda_fault {
    ENSO_CUDA_FAULT_NONE = 0,
    ENSO_CUDA_FAULT_INDEX = 1,  /* an index or id is out of range */
    ENSO_CUDA_FAULT_STARTS = 2, /* starts of sequences do not rise from 0 to the tokens */
};

/* probe.cu: of two ints, the first becomes ENSO_CUDA_PROBE_ANSWER, the second the architecture that
 * the running code was compiled for: 80, 90, ... */
#define ENSO_CUDA_PROBE_ANSWER 20640
int enso_cuda_probe(void *answer, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
