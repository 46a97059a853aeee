/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks of matrices, broadcast over one another as numpy does.
 */
#ifndef ENSO_KERNELS_CUDA_STACK_CUH
#define ENSO_KERNELS_CUDA_STACK_CUH

#include "kernels/cuda/device.cuh"

#include "kernels/cuda/launch_network.h"

/* Blocks along y that every card takes. */
#define ENSO_MAX_STACK 65535u

/* Where a factor's matrix begins: `matrix` as indices of the stack, times the strides. */
static __device__ __forceinline__ size_t enso_stack_offset(const struct enso_cuda_product &p,
                                                           const uint64_t *strides, uint32_t matrix)
{
    size_t offset = 0;

#pragma unroll 1
    for (uint32_t d = p.rank; d-- > 0;) {
        const uint32_t quotient = matrix / p.dims[d];

        offset += (matrix - quotient * p.dims[d]) * strides[d];
        matrix = quotient;
    }
    return offset;
}

#endif
