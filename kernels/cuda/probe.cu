/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe: one thread writes one number. Run once when a device is opened, it shows whether this
 * module holds code for the card.
 */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

static __global__ void probe(int *answer)
{
    if (blockIdx.x == 0 && threadIdx.x == 0)
        *answer = ENSO_CUDA_PROBE_ANSWER;
}

extern "C" int enso_cuda_probe(void *answer, cudaStream_t stream)
{
    return enso_launch(probe, dim3(1), dim3(32), 0, stream, static_cast<int *>(answer));
}
