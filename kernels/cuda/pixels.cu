/* SPDX-License-Identifier: Apache-2.0
 *
 * PIXELS (engine/ops/ops.h): pictures as a model wants them. A byte has 256 values, so rescaling
 * and normalising are a table for each channel, which the host has made with the roundings of the
 * reference; the result is rounded once more where it is stored as a half.
 *
 * From bytes to pixels [N, H, W, C] nothing moves: a thread turns 4 or 8 bytes into 16 bytes of the
 * result. The table stands in shared memory: neighbouring threads look up different places of it,
 * which cost a bank conflict there and a cache line each elsewhere; a block does the work of
 * ROUNDS, so that filling it (3 KiB) is paid for. The other forms (planes, floats) are rare or come
 * from KServe tensors: an element a thread.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256
#define ROUNDS 8
#define VALUES 256 /* of a byte */

/* `n` bytes from x on, n being 4 or 8, to which x is aligned. */
template <unsigned n>
static __device__ __forceinline__ void load_bytes(const uint8_t *x, uint32_t (&words)[n / 4])
{
    if constexpr (n == 4) {
        words[0] = *reinterpret_cast<const uint32_t *>(x);
    } else {
        const uint2 both = *reinterpret_cast<const uint2 *>(x);

        words[0] = both.x;
        words[1] = both.y;
    }
}

/* x and y [N, H, W, C], n elements; x aligned to a vector's elements, y to 16 bytes. */
template <typename T>
static __global__ void look_up(const uint8_t *x, const float *table, T *y, size_t n,
                               unsigned n_channels)
{
    constexpr unsigned each = ENSO_VECTOR(T);
    const bool small = enso_small(n);
    ENSO_SHARED(float, values, ENSO_PIXELS_MAX_CHANNELS *VALUES);

    for (unsigned i = threadIdx.x; i < n_channels * VALUES; i += BLOCK)
        values[i] = table[i];
    __syncthreads();
    ENSO_GRID_STRIDE(i, n / each)
    {
        uint32_t words[each / 4];
        uint64_t channel;
        float v[each];

        load_bytes<each>(x + i * each, words);
        (void)enso_divide(i * each, n_channels, small, &channel);
#pragma unroll
        for (unsigned k = 0; k < each; k++) {
            v[k] = values[channel * VALUES + (words[k / 4] >> 8 * (k % 4) & 0xFF)];
            channel = channel + 1 == n_channels ? 0 : channel + 1;
        }
        enso_store_vector(y + i * each, v);
    }
    if (blockIdx.x == 0 && threadIdx.x < n % each) {
        const size_t i = n - n % each + threadIdx.x;

        y[i] = enso_from_float<T>(values[i % n_channels * VALUES + x[i]]);
    }
}

/* What an element of channel c becomes. */
static __device__ __forceinline__ float value_of(uint8_t v, const float *table, uint64_t c)
{
    return table[c * VALUES + v];
}

static __device__ __forceinline__ float value_of(float v, const float *table, uint64_t c)
{
    (void)table;
    (void)c;
    return v;
}

/* All layouts, an element of y a thread. */
template <typename X, typename T>
static __global__ void rearrange(const X *x, const float *table, T *y, size_t n,
                                 struct enso_pixels_shape s)
{
    const size_t n_pixels = s.height * s.width;
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t pixel, channel, item;

        if (s.y_planes) {
            const uint64_t plane = enso_divide(i, n_pixels, small, &pixel);

            item = enso_divide(plane, s.n_channels, small, &channel);
        } else {
            const uint64_t at = enso_divide(i, s.n_channels, small, &channel);

            item = enso_divide(at, n_pixels, small, &pixel);
        }
        const size_t from = s.x_planes ? (item * s.n_channels + channel) * n_pixels + pixel
                                       : (item * n_pixels + pixel) * s.n_channels + channel;

        y[i] = enso_from_float<T>(value_of(x[from], table, channel));
    }
}

template <typename T>
static int launch(const void *x, const float *table, T *y, const struct enso_pixels_shape *s,
                  cudaStream_t stream)
{
    constexpr unsigned each = ENSO_VECTOR(T);
    const size_t n = s->n_items * s->height * s->width * s->n_channels;
    const dim3 block(BLOCK), grid(enso_blocks(n, BLOCK));

    if (n == 0)
        return (int)cudaSuccess;
    if (s->bytes && !s->y_planes && enso_aligned_vector(y) && (uintptr_t)x % each == 0)
        return enso_launch(look_up<T>, dim3(enso_blocks(n, BLOCK * each * ROUNDS)), block, 0,
                           stream, (const uint8_t *)x, table, y, n, (unsigned)s->n_channels);
    if (s->bytes)
        return enso_launch((rearrange<uint8_t, T>), grid, block, 0, stream, (const uint8_t *)x,
                           table, y, n, *s);
    return enso_launch((rearrange<float, T>), grid, block, 0, stream, (const float *)x, table, y, n,
                       *s);
}

int enso_cuda_pixels(enum enso_dtype dtype, const void *x, const float *table, void *y,
                     const struct enso_pixels_shape *shape, cudaStream_t stream)
{
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return launch(x, table, (type *)y, shape, stream);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}
