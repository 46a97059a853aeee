/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole pieces copied or made (ONNX, opset 17): copies, Concat and Split (rows of bytes between two
 * pitches), Gather, ConstantOfShape, Range, Shape and Size. The plain kernels.
 *
 * Rows are moved in units as wide as their addresses allow, up to 16 bytes a thread: the launcher
 * takes the largest power of two that divides every address, pitch and width. Neighbouring threads
 * move neighbouring units.
 *
 * Gather's indices come from the batch: one that is out of range reads nothing, its row becomes
 * zeros and the call's fault word says so. All threads that find one write the same number, so
 * their order does not matter.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

/* A unit of 16 bytes; a struct, so that it is moved by one instruction and read from nowhere
 * else. */
struct alignas(16) wide {
    uint64_t low, high;
};

/* The widest unit, 1 to 16 bytes, that all of these are multiples of. */
static size_t unit_of(const void *x, const void *y, size_t a, size_t b, size_t c)
{
    const size_t all = (size_t)(uintptr_t)x | (size_t)(uintptr_t)y | a | b | c | 16;

    return all & (~all + 1);
}

/* n units in rows of `width`; pitches in units. */
template <typename T>
static __global__ void rows(const T *x, size_t x_pitch, T *y, size_t y_pitch, size_t width,
                            size_t n)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t column;
        const uint64_t row = enso_divide(i, width, small, &column);

        y[row * y_pitch + column] = x[row * x_pitch + column];
    }
}

int enso_cuda_rows(const void *x, size_t x_pitch, void *y, size_t y_pitch, size_t width,
                   size_t n_rows, cudaStream_t stream)
{
    const size_t unit = unit_of(x, y, x_pitch, y_pitch, width), n = n_rows * (width / unit);
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (unit) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(rows<type>, grid, block, 0, stream, (const type *)x, x_pitch / unit,    \
                           (type *)y, y_pitch / unit, width / unit, n);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
        ROW(16, struct wide)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

int enso_cuda_copy(const void *x, void *y, size_t n_bytes, cudaStream_t stream)
{
    if (n_bytes == 0)
        return (int)cudaSuccess;
    return (int)cudaMemcpyAsync(y, x, n_bytes, cudaMemcpyDeviceToDevice, stream);
}

/* What Gather needs beside its pointers; width in units. */
struct gather {
    size_t n, n_indices, dim, width;
    bool wide;
};

template <typename T>
static __global__ void gather(const T *x, const void *indices, T *y, struct gather g, int *fault)
{
    const bool small = enso_small(g.n);

    ENSO_GRID_STRIDE(i, g.n)
    {
        uint64_t column, at;
        const uint64_t row = enso_divide(i, g.width, small, &column);
        const uint64_t outer = enso_divide(row, g.n_indices, small, &at);
        int64_t index = g.wide ? ((const int64_t *)indices)[at] : ((const int32_t *)indices)[at];

        if (index < 0)
            index += (int64_t)g.dim;
        if (index < 0 || index >= (int64_t)g.dim) {
            y[i] = T{};
            atomicExch(fault, (int)ENSO_CUDA_FAULT_INDEX);
        } else {
            y[i] = x[(outer * g.dim + (uint64_t)index) * g.width + column];
        }
    }
}

int enso_cuda_gather(const void *x, const void *indices, bool wide, void *y, size_t n_outer,
                     size_t n_indices, size_t dim, size_t inner, int *fault, cudaStream_t stream)
{
    const size_t unit = unit_of(x, y, inner, inner, inner);
    const struct gather g = {n_outer * n_indices * (inner / unit), n_indices, dim, inner / unit,
                             wide};
    const dim3 grid(enso_blocks(g.n, BLOCK)), block(BLOCK);

    if (g.n == 0)
        return (int)cudaSuccess;
    switch (unit) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(gather<type>, grid, block, 0, stream, (const type *)x, indices,         \
                           (type *)y, g, fault);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
        ROW(16, struct wide)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

template <typename T> static __global__ void fill(const T *value, T *y, size_t n)
{
    const T v = value != NULL ? *value : (T)0;

    ENSO_GRID_STRIDE(i, n)
    {
        y[i] = v;
    }
}

int enso_cuda_fill(size_t bytes, const void *value, void *y, size_t n, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (bytes) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(fill<type>, grid, block, 0, stream, (const type *)value, (type *)y, n);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

/* Integers wrap: they count in uint64_t. */
template <typename T, typename W>
static __global__ void range(const T *start, const T *delta, T *y, size_t n)
{
    const W from = (W)*start, step = (W)*delta;

    ENSO_GRID_STRIDE(i, n)
    {
        y[i] = (T)(from + (W)i * step);
    }
}

int enso_cuda_range(enum enso_dtype dtype, const void *start, const void *delta, void *y, size_t n,
                    cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (dtype) {
#define ROW(name, type, wider)                                                                     \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(range<type, wider>, grid, block, 0, stream, (const type *)start,        \
                           (const type *)delta, (type *)y, n);
        ROW(F32, float, double)
        ROW(F64, double, double)
        ROW(I16, int16_t, uint64_t)
        ROW(I32, int32_t, uint64_t)
        ROW(I64, int64_t, uint64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

struct numbers {
    int64_t v[ENSO_MAX_RANK];
};

/* One thread: at most ENSO_MAX_RANK numbers, taken by constant indices, so that the argument stays
 * where it is. */
static __global__ void store(struct numbers numbers, int64_t *y, size_t n)
{
#pragma unroll
    for (int i = 0; i < ENSO_MAX_RANK; i++)
        if ((size_t)i < n)
            y[i] = numbers.v[i];
}

int enso_cuda_store(const int64_t *numbers, size_t n, int64_t *y, cudaStream_t stream)
{
    struct numbers all = {{0}};

    if (n == 0)
        return (int)cudaSuccess;
    if (n > ENSO_MAX_RANK)
        return (int)cudaErrorInvalidValue;
    for (size_t i = 0; i < n; i++)
        all.v[i] = numbers[i];
    return enso_launch(store, dim3(1), dim3(1), 0, stream, all, y, n);
}
