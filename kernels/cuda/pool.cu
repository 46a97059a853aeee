/* SPDX-License-Identifier: Apache-2.0
 *
 * MaxPool, AveragePool and the global ones over [N, C, ...] or [N, ..., C]: the plain kernels.
 *
 * One thread an output in both layouts: neighbouring threads take neighbouring outputs, whose
 * windows overlap (first cache) or, channels last, are neighbours themselves. An average is summed
 * row by row of its window, then the rows, so that a global pool over thousands of places rounds
 * little. No timings yet: no card has been seen.
 *
 * Halves are summed in F32 and rounded once.
 *
 * Max: padding never wins, a NaN does. Average: padding counts only with include_pad, and what
 * ceil_mode lets hang over the padded input never does.
 */
#include "kernels/cuda/window.cuh"

#include <math.h>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"

#define BLOCK 128

/* Taps of dimension d that count for the average of a window that begins at `first`. */
static __device__ int32_t counted(const struct enso_cuda_window &w, int d, int32_t first,
                                  bool include_pad)
{
    const int32_t low = include_pad ? -w.begin[d] : 0;
    const int32_t high = w.in[d] + (include_pad ? w.end[d] : 0);
    int32_t n = 0;

    for (int32_t k = 0; k < w.kernel[d]; k++) {
        const int32_t i = first + k * w.dilations[d];

        n += i >= low && i < high;
    }
    return n;
}

/* `Wide` holds T's sums. In element units a place of the input is `step` from the next. */
template <typename T, typename Wide>
static __device__ T pool_one(const T *x, size_t step, const struct enso_cuda_window &w,
                             uint32_t position, bool max, bool include_pad, Wide lowest)
{
    const struct enso_corner corner = enso_window_corner(w, position);
    Wide sum = max ? lowest : (Wide)0, row = 0;

    if (max) {
        enso_window_visit(
            w, corner,
            [&](uint32_t, uint32_t at) {
                const Wide v = (Wide)enso_widen(x[at * step]);

                sum = v > sum || v != v ? v : sum;
            },
            [] {});
        return enso_narrow<T>(sum);
    }
    enso_window_visit(
        w, corner, [&](uint32_t, uint32_t at) { row += (Wide)enso_widen(x[at * step]); },
        [&] {
            sum += row;
            row = 0;
        });
    int64_t n = 1;

    for (int d = 0; d < 3; d++)
        n *= counted(w, d, corner.at[d], include_pad);
    return enso_narrow<T>(sum / (Wide)(n > 0 ? n : 1));
}

template <typename T, typename Wide>
static __global__ void __launch_bounds__(BLOCK)
    pool(const T *x, T *y, size_t n, size_t n_channels, bool nhwc, bool max, bool include_pad,
         Wide lowest, const struct enso_cuda_window w)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t channel = 0, place;
        const uint64_t pixel = nhwc ? enso_divide(i, n_channels, small, &channel) : i;
        const uint64_t image = enso_divide(pixel, w.n_out, small, &place); /* or plane */
        const size_t step = nhwc ? n_channels : 1;

        y[i] = pool_one<T, Wide>(x + image * w.n_in * step + channel, step, w, (uint32_t)place, max,
                                 include_pad, lowest);
    }
}

extern "C" int enso_cuda_pool(enum enso_dtype dtype, bool max, bool include_pad, bool nhwc,
                              const void *x, void *y, size_t n_images, size_t n_channels,
                              const struct enso_cuda_window *w, cudaStream_t stream)
{
    const size_t n = n_images * n_channels * w->n_out;
    const dim3 grid(enso_blocks(n, BLOCK));

    if (n == 0)
        return cudaSuccess;
    switch (dtype) {
#define POOL(name, type, wide, lowest)                                                             \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(pool<type, wide>, grid, dim3(BLOCK), 0, stream, (const type *)x,        \
                           (type *)y, n, n_channels, nhwc, max, include_pad, (wide)(lowest), *w);
        POOL(F32, float, float, -INFINITY)
        POOL(F64, double, double, -INFINITY)
        POOL(F16, __half, float, -INFINITY)
        POOL(BF16, __nv_bfloat16, float, -INFINITY)
        POOL(I8, int8_t, int32_t, INT8_MIN)
        POOL(U8, uint8_t, int32_t, 0)
#undef POOL
    default:
        return cudaErrorInvalidValue;
    }
}
