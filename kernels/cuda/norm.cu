/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax, LogSoftmax and the norms: the plain kernels.
 *
 * LAYER_NORM, RMS_NORM and L2_NORMALIZE: a block a row (rows.cuh), the residual added on the way in
 * so that the sum is never stored. Variance in a second pass over the row, not from the sum of
 * squares, which would cancel. Softmax along the last axis likewise; along another axis a thread
 * takes one slice, so that neighbouring threads read neighbouring addresses. BatchNormalization and
 * LRN: a thread an element. InstanceNormalization: a block a plane.
 *
 * All sums in float by a tree: rows have up to a few thousand entries, and a tree over n numbers
 * rounds about log n times. No fast-math. No timings yet: no card has been seen.
 */
#include "kernels/cuda/rows.cuh"

#include "kernels/cuda/launch_network.h"

#define BLOCK 128

/* ---- softmax ---- */

static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    softmax_rows(const float *x_all, float *y_all, size_t n_rows, size_t n, bool logarithm)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t row = blockIdx.x; row < n_rows; row += gridDim.x) {
        const float *x = x_all + row * n;
        float *y = y_all + row * n;
        float max = -INFINITY, sum = 0;

        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            max = fmaxf(max, x[i]);
        max = enso_block_max(max, scratch);
        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            sum += expf(x[i] - max);
        sum = enso_block_sum(sum, scratch);
        const float log_sum = logf(sum), inverse = 1 / sum;

        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            y[i] = logarithm ? x[i] - max - log_sum : expf(x[i] - max) * inverse;
    }
}

static __device__ float exponential(float v)
{
    return expf(v);
}
static __device__ double exponential(double v)
{
    return exp(v);
}
static __device__ float logarithm_of(float v)
{
    return logf(v);
}
static __device__ double logarithm_of(double v)
{
    return log(v);
}

/* One slice a thread, its elements `inner` apart. */
template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    softmax_slices(const T *x_all, T *y_all, size_t n_slices, size_t n, size_t inner,
                   bool logarithm)
{
    ENSO_GRID_STRIDE(slice, n_slices)
    {
        const size_t at = slice / inner * n * inner + slice % inner;
        const T *x = x_all + at;
        T *y = y_all + at;
        T max = (T)-INFINITY, sum = 0;

        for (size_t i = 0; i < n; i++)
            max = x[i * inner] > max ? x[i * inner] : max;
        for (size_t i = 0; i < n; i++)
            sum += exponential(x[i * inner] - max);
        const T log_sum = logarithm_of(sum);

        for (size_t i = 0; i < n; i++) {
            const T v = x[i * inner] - max;

            y[i * inner] = logarithm ? v - log_sum : exponential(v) / sum;
        }
    }
}

extern "C" int enso_cuda_softmax(enum enso_dtype dtype, bool logarithm, const void *x, void *y,
                                 size_t n_outer, size_t n, size_t n_inner, cudaStream_t stream)
{
    const size_t n_slices = n_outer * n_inner;

    if (n_slices == 0 || n == 0)
        return cudaSuccess;
    if (dtype == ENSO_DTYPE_F64)
        return enso_launch(softmax_slices<double>, dim3(enso_blocks(n_slices, BLOCK)), dim3(BLOCK),
                           0, stream, (const double *)x, (double *)y, n_slices, n, n_inner,
                           logarithm);
    if (dtype != ENSO_DTYPE_F32)
        return cudaErrorInvalidValue;
    if (n_inner > 1)
        return enso_launch(softmax_slices<float>, dim3(enso_blocks(n_slices, BLOCK)), dim3(BLOCK),
                           0, stream, (const float *)x, (float *)y, n_slices, n, n_inner,
                           logarithm);
    return enso_launch(softmax_rows, dim3(enso_blocks(n_outer, 1)), dim3(enso_row_threads(n)), 0,
                       stream, (const float *)x, (float *)y, n_outer, n, logarithm);
}

/* ---- norms of rows ---- */

static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    row_norm(enum enso_op op, const float *x_all, const float *residual_all, const float *gamma,
             const float *beta, float epsilon, float *y_all, size_t n_rows, size_t n)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t row = blockIdx.x; row < n_rows; row += gridDim.x) {
        const float *x = x_all + row * n;
        const float *residual = residual_all != NULL ? residual_all + row * n : NULL;
        float *y = y_all + row * n;
        auto load = [=](size_t i) { return residual != NULL ? x[i] + residual[i] : x[i]; };

        if (op == ENSO_OP_LAYER_NORM) {
            enso_row_layer_norm(load, y, n, gamma, beta, epsilon, scratch);
            continue;
        }
        const float squares = enso_row_sum([=](size_t i) { return load(i) * load(i); }, n, scratch);
        const float inverse = op == ENSO_OP_RMS_NORM ? 1 / sqrtf(squares / (float)n + epsilon)
                                                     : 1 / fmaxf(sqrtf(squares), epsilon);

        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            y[i] = gamma != NULL ? load(i) * inverse * gamma[i] : load(i) * inverse;
    }
}

extern "C" int enso_cuda_row_norm(enum enso_op op, const float *x, const float *residual,
                                  const float *gamma, const float *beta, float epsilon, float *y,
                                  size_t n_rows, size_t n, cudaStream_t stream)
{
    if (n_rows == 0 || n == 0)
        return cudaSuccess;
    return enso_launch(row_norm, dim3(enso_blocks(n_rows, 1)), dim3(enso_row_threads(n)), 0, stream,
                       op, x, residual, gamma, beta, epsilon, y, n_rows, n);
}

/* ---- norms of channels ---- */

static __global__ void __launch_bounds__(BLOCK)
    channel_scale(const float *x, const float *scale_shift, float *y, size_t n, size_t n_channels,
                  size_t plane)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const size_t channel = i / plane % n_channels;

        y[i] = x[i] * scale_shift[channel] + scale_shift[n_channels + channel];
    }
}

extern "C" int enso_cuda_channel_scale(const float *x, const float *scale_shift, float *y,
                                       size_t n_images, size_t n_channels, size_t plane,
                                       cudaStream_t stream)
{
    const size_t n = n_images * n_channels * plane;

    if (n == 0)
        return cudaSuccess;
    return enso_launch(channel_scale, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream, x,
                       scale_shift, y, n, n_channels, plane);
}

static __global__ void __launch_bounds__(BLOCK)
    batch_norm(const float *x, const float *gamma, const float *beta, const float *mean,
               const float *variance, float epsilon, float *y, size_t n, size_t n_channels,
               size_t plane)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const size_t c = i / plane % n_channels;

        y[i] = (x[i] - mean[c]) * (gamma[c] / sqrtf(variance[c] + epsilon)) + beta[c];
    }
}

extern "C" int enso_cuda_batch_norm(const float *x, const float *gamma, const float *beta,
                                    const float *mean, const float *variance, float epsilon,
                                    float *y, size_t n_images, size_t n_channels, size_t plane,
                                    cudaStream_t stream)
{
    const size_t n = n_images * n_channels * plane;

    if (n == 0)
        return cudaSuccess;
    return enso_launch(batch_norm, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream, x, gamma,
                       beta, mean, variance, epsilon, y, n, n_channels, plane);
}

static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    instance_norm(const float *x_all, const float *gamma, const float *beta, float epsilon,
                  float *y_all, size_t n_planes, size_t n_channels, size_t n)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t i = blockIdx.x; i < n_planes; i += gridDim.x) {
        const float *x = x_all + i * n;
        float *y = y_all + i * n;
        const float mean = enso_row_sum([=](size_t j) { return x[j]; }, n, scratch) / (float)n;
        const float squares = enso_row_sum(
            [=](size_t j) {
                const float v = x[j] - mean;

                return v * v;
            },
            n, scratch);
        const float scale = gamma[i % n_channels] / sqrtf(squares / (float)n + epsilon);

        for (size_t j = threadIdx.x; j < n; j += blockDim.x)
            y[j] = (x[j] - mean) * scale + beta[i % n_channels];
    }
}

extern "C" int enso_cuda_instance_norm(const float *x, const float *gamma, const float *beta,
                                       float epsilon, float *y, size_t n_images, size_t n_channels,
                                       size_t plane, cudaStream_t stream)
{
    if (n_images * n_channels * plane == 0)
        return cudaSuccess;
    return enso_launch(instance_norm, dim3(enso_blocks(n_images * n_channels, 1)),
                       dim3(enso_row_threads(plane)), 0, stream, x, gamma, beta, epsilon, y,
                       n_images * n_channels, n_channels, plane);
}

/* v^beta; the common 3/4 by square roots. */
static __device__ float lrn_power(float v, float beta)
{
    if (beta == 0.75f) {
        const float root = sqrtf(v);

        return root * sqrtf(root);
    }
    return powf(v, beta);
}

static __global__ void __launch_bounds__(BLOCK)
    lrn(const float *x, float *y, size_t n, size_t n_channels, size_t inner, size_t below,
        size_t above, float factor, float beta, float bias)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const size_t c = i / inner % n_channels;
        const size_t low = c < below ? 0 : c - below;
        const size_t high = above < n_channels - 1 - c ? c + above : n_channels - 1;
        const float *base = x + (i - c * inner); /* channel 0 of this place */
        float sum = 0;

        for (size_t k = low; k <= high; k++)
            sum += base[k * inner] * base[k * inner];
        y[i] = x[i] / lrn_power(bias + factor * sum, beta);
    }
}

extern "C" int enso_cuda_lrn(const float *x, float *y, size_t n_outer, size_t n_channels,
                             size_t inner, size_t size, float alpha, float beta, float bias,
                             cudaStream_t stream)
{
    const size_t n = n_outer * n_channels * inner, below = (size - 1) / 2;

    if (n == 0)
        return cudaSuccess;
    return enso_launch(lrn, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream, x, y, n,
                       n_channels, inner, below, size - 1 - below, alpha / (float)size, beta, bias);
}
