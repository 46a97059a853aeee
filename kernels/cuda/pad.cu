/* SPDX-License-Identifier: Apache-2.0
 *
 * Pad (ONNX, opset 19): modes constant, reflect, edge and wrap; negative pads cut. The plain
 * kernel, one per element size, a thread an element of the result: it finds in each dimension what
 * the element reads, or that it is the constant. Reflection and wrapping go on beyond one length
 * of the input, as on the CPU.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

/* Where position i (0 = the input's first) of a dimension of n reads; -1: the constant. */
static __device__ __forceinline__ int64_t source(enum enso_cuda_pad_mode mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (n == 0 || mode == ENSO_CUDA_PAD_CONSTANT)
        return -1;
    if (mode == ENSO_CUDA_PAD_EDGE)
        return i < 0 ? 0 : n - 1;
    const int64_t period = mode == ENSO_CUDA_PAD_WRAP ? n : n == 1 ? 1 : 2 * (n - 1);

    i %= period;
    i += i < 0 ? period : 0;
    return i < n ? i : period - i;
}

template <typename T>
static __global__ void pad(const T *x, const T *value, T *y, size_t n, struct enso_cuda_pad shape)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t at = i;
        int64_t offset = 0, stride = 1;
        bool inside = true;

#pragma unroll 1
        for (uint32_t d = shape.rank; d-- > 0;) {
            uint64_t index;

            at = enso_divide(at, (uint64_t)shape.out[d], small, &index);
            const int64_t from = source(shape.mode, (int64_t)index - shape.before[d], shape.in[d]);

            inside = inside && from >= 0;
            offset += from * stride;
            stride *= shape.in[d];
        }
        y[i] = inside ? x[offset] : value != NULL ? *value : (T)0;
    }
}

int enso_cuda_pad(size_t bytes, const void *x, const void *value, void *y, size_t n,
                  const struct enso_cuda_pad *shape, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (bytes) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(pad<type>, grid, block, 0, stream, (const type *)x,                     \
                           (const type *)value, (type *)y, n, *shape);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}
