/* SPDX-License-Identifier: Apache-2.0
 *
 * What the emulated module shows to the emulated cuBLASLt, which is a library of its own, as the
 * real one is: the emulator inside the module that called.
 */
#ifndef ENSO_EMULATION_DOOR_H
#define ENSO_EMULATION_DOOR_H

#include "tests/cuda_emulation/include/cuda_runtime.h"

struct enso_emulated_door {
    cudaError_t (*launch)(const enso_emulated::kernel_call &call, dim3 grid, dim3 block,
                          size_t dynamic_bytes, cudaStream_t stream);
    void (*name_next_launch)(const char *arguments);
    cudaError_t (*failure_now)(bool is_launch); /* failing.cpp */
    bool (*memory_on_device)(const void *memory, size_t bytes);
    int (*architecture)(void);
    /* Like a kernel's finding: says so and ends the process. */
    void (*report)(const char *format, ...);
};

typedef const struct enso_emulated_door *(*enso_emulated_door_fn)(void);

#endif
