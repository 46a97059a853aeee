/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe: one thread writes two numbers. Run once when a device is opened, it shows whether this
 * module holds code for the card, and for which architecture that was compiled: PTX of an older one
 * runs as well, and then kernels that need the newer are traps.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

static __global__ void probe(int *answer)
{
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        answer[0] = ENSO_CUDA_PROBE_ANSWER;
        answer[1] = ENSO_CODE_ARCHITECTURE;
    }
}

extern "C" int enso_cuda_probe(void *answer, cudaStream_t stream)
{
    return enso_launch(probe, dim3(1), dim3(32), 0, stream, static_cast<int *>(answer));
}
