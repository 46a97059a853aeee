/* SPDX-License-Identifier: Apache-2.0
 *
 * The strided copy that Transpose, Slice, Expand, Tile, DepthToSpace and SpaceToDepth are made of:
 * the result is dense, the source is read through strides. The plain kernel, one per element size.
 *
 * One thread an element of the result: writes are always whole and in order, reads are where the
 * innermost stride is 1 or 0. A transposition of the innermost dimension reads with a stride; a
 * version through shared memory would mend that and waits for a card to show the gain. The host
 * has merged dimensions (kernels/nodes/strided.h), so most copies have one to three, and the
 * outermost needs no division.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

template <typename T>
static __global__ void strided(const T *x, T *y, size_t n, struct enso_cuda_strided shape)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t at = i;
        int64_t offset = shape.offset;

#pragma unroll 1
        for (uint32_t d = shape.rank - 1; d > 0; d--) {
            uint64_t index;

            at = enso_divide(at, shape.dims[d], small, &index);
            offset += (int64_t)index * shape.strides[d];
        }
        y[i] = x[offset + (int64_t)at * shape.strides[0]];
    }
}

int enso_cuda_strided(size_t bytes, const void *x, void *y, size_t n,
                      const struct enso_cuda_strided *shape, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (bytes) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(strided<type>, grid, block, 0, stream, (const type *)x, (type *)y, n,   \
                           *shape);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}
