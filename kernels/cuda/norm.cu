/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax, LogSoftmax and the norms: the plain kernels.
 *
 * All are templates over F32, F16 and BF16 (half.cuh): F32 inside, one rounding at the store.
 *
 * LAYER_NORM, RMS_NORM, L2_NORMALIZE, and Softmax of slices that stand side by side: a row a warp
 * or a block, kept in registers where it is whole vectors and at most 8192 numbers (rows.cuh), so
 * that memory is read once and written once; other rows are read once per pass. The residual is
 * added on the way in, so that the sum is never stored. Variance in a second pass over the row, not
 * from the sum of squares, which would cancel. Softmax along another axis: a thread takes one
 * slice, so that neighbouring threads read neighbouring addresses. BatchNormalization and LRN: a
 * thread an element. InstanceNormalization: a block a plane.
 *
 * All sums in float by a tree: a tree over n numbers rounds about log n times. No fast-math. No
 * timings yet: no card has been seen.
 */
#include "kernels/cuda/rows.cuh"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch_network.h"

#define BLOCK 128

/* ---- softmax ---- */

template <typename T>
static __global__ void __launch_bounds__(256)
    softmax_shares(const T *x, T *y, size_t n_rows, uint32_t n, bool logarithm)
{
    constexpr unsigned width = enso_row_share<T>::width;
    ENSO_SHARED(float, scratch, 32);

    ENSO_EACH_ROW(row, n_rows, n)
    {
        enso_row_share<T> share(n);
        float max = -INFINITY, sum = 0;

        share.read(x + row * n, -INFINITY);
#pragma unroll
        for (unsigned i = 0; i < ENSO_SHARE; i++)
            max = fmaxf(max, share.v[i]);
        max = share.max(max, scratch);
        share.each([&](float(&group)[width], uint32_t) {
#pragma unroll
            for (unsigned i = 0; i < width; i++) {
                const float e = expf(group[i] - max);

                sum += e;
                group[i] = logarithm ? group[i] - max : e;
            }
        });
        sum = share.sum(sum, scratch);
        const float log_sum = logf(sum), inverse = 1 / sum;

#pragma unroll
        for (unsigned i = 0; i < ENSO_SHARE; i++)
            share.v[i] = logarithm ? share.v[i] - log_sum : share.v[i] * inverse;
        share.write(y + row * n);
    }
}

/* Rows of other lengths. */
template <typename T>
static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    softmax_rows(const T *x_all, T *y_all, size_t n_rows, size_t n, bool logarithm)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t row = blockIdx.x; row < n_rows; row += gridDim.x) {
        const T *x = x_all + row * n;
        T *y = y_all + row * n;
        float max = -INFINITY, sum = 0;

        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            max = fmaxf(max, enso_to_float(x[i]));
        max = enso_block_max(max, scratch);
        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            sum += expf(enso_to_float(x[i]) - max);
        sum = enso_block_sum(sum, scratch);
        const float log_sum = logf(sum), inverse = 1 / sum;

        for (size_t i = threadIdx.x; i < n; i += blockDim.x) {
            const float v = enso_to_float(x[i]) - max;

            y[i] = enso_from_float<T>(logarithm ? v - log_sum : expf(v) * inverse);
        }
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
    typedef typename enso_wide<T>::type wide;

    ENSO_GRID_STRIDE(slice, n_slices)
    {
        const size_t at = slice / inner * n * inner + slice % inner;
        const T *x = x_all + at;
        T *y = y_all + at;
        wide max = (wide)-INFINITY, sum = 0;

        for (size_t i = 0; i < n; i++) {
            const wide v = enso_widen(x[i * inner]);

            max = v > max ? v : max;
        }
        for (size_t i = 0; i < n; i++)
            sum += exponential(enso_widen(x[i * inner]) - max);
        const wide log_sum = logarithm_of(sum);

        for (size_t i = 0; i < n; i++) {
            const wide v = enso_widen(x[i * inner]) - max;

            y[i * inner] = enso_narrow<T>(logarithm ? v - log_sum : exponential(v) / sum);
        }
    }
}

template <typename T>
static int launch_slices(bool logarithm, const T *x, T *y, size_t n_slices, size_t n,
                         size_t n_inner, cudaStream_t stream)
{
    return enso_launch(softmax_slices<T>, dim3(enso_blocks(n_slices, BLOCK)), dim3(BLOCK), 0,
                       stream, x, y, n_slices, n, n_inner, logarithm);
}

template <typename T>
static int launch_rows(bool logarithm, const T *x, T *y, size_t n_rows, size_t n,
                       cudaStream_t stream)
{
    if (enso_share_fits<T>(n) && enso_aligned_vector(x) && enso_aligned_vector(y))
        return enso_launch(softmax_shares<T>, dim3(enso_share_blocks(n_rows, n)),
                           dim3(enso_share_threads(n_rows, n)), 0, stream, x, y, n_rows, n,
                           logarithm);
    return enso_launch(softmax_rows<T>, dim3(enso_blocks(n_rows, 1)), dim3(enso_row_threads(n)), 0,
                       stream, x, y, n_rows, n, logarithm);
}

extern "C" int enso_cuda_softmax(enum enso_dtype dtype, bool logarithm, bool side_by_side,
                                 const void *x, void *y, size_t n_outer, size_t n, size_t n_inner,
                                 cudaStream_t stream)
{
    const size_t n_slices = n_outer * n_inner;

    if (n_slices == 0 || n == 0)
        return cudaSuccess;
    if (side_by_side && n_inner != 1)
        return cudaErrorInvalidValue;
    switch (dtype) {
    case ENSO_DTYPE_F64:
        return launch_slices(logarithm, (const double *)x, (double *)y, n_slices, n, n_inner,
                             stream);
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return side_by_side                                                                        \
                   ? launch_rows(logarithm, (const type *)x, (type *)y, n_outer, n, stream)        \
                   : launch_slices(logarithm, (const type *)x, (type *)y, n_slices, n, n_inner,    \
                                   stream);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}

/* ---- norms of rows ---- */

template <typename T> struct row_norm {
    enum enso_op op;
    const T *x, *residual;
    const float *gamma, *beta;
    T *y;
    float epsilon;
    size_t n_rows, n;
};

/* What the centred sum of squares becomes, or for norms without a mean the sum of squares. */
static __device__ __forceinline__ float inverse_norm(enum enso_op op, float squares, float n,
                                                     float epsilon)
{
    const float root = sqrtf(op == ENSO_OP_L2_NORMALIZE ? squares : squares / n + epsilon);

    return 1 / (op == ENSO_OP_L2_NORMALIZE && root <= epsilon ? epsilon : root); /* NaN stays */
}

/* v = (v - mean) · inverse · gamma + beta. */
template <typename T>
static __device__ __forceinline__ void
scale_share(enso_row_share<T> &share, const struct row_norm<T> &r, float mean, float inverse)
{
    constexpr unsigned width = enso_row_share<T>::width;

    share.each([&](float(&group)[width], uint32_t at) {
#pragma unroll
        for (unsigned i = 0; i < width; i += 4) {
            float scale[4] = {1, 1, 1, 1}, shift[4] = {0, 0, 0, 0};

            if (r.gamma != NULL)
                enso_load_vector(r.gamma + at + i, scale);
            if (r.beta != NULL)
                enso_load_vector(r.beta + at + i, shift);
#pragma unroll
            for (unsigned j = 0; j < 4; j++)
                group[i + j] = (group[i + j] - mean) * inverse * scale[j] + shift[j];
        }
    });
}

template <typename T>
static __global__ void __launch_bounds__(256) norm_shares(const struct row_norm<T> r)
{
    constexpr unsigned width = enso_row_share<T>::width;
    ENSO_SHARED(float, scratch, 32);
    const float n = (float)r.n;

    ENSO_EACH_ROW(row, r.n_rows, r.n)
    {
        enso_row_share<T> share((uint32_t)r.n);
        float mean = 0, squares = 0;

        share.read(r.x + row * r.n, 0);
        if (r.residual != NULL)
            share.add(r.residual + row * r.n);
        if (r.op == ENSO_OP_LAYER_NORM) {
#pragma unroll
            for (unsigned i = 0; i < ENSO_SHARE; i++)
                mean += share.v[i];
            mean = share.sum(mean, scratch) / n;
        }
        share.each([&](float(&group)[width], uint32_t) {
#pragma unroll
            for (unsigned i = 0; i < width; i++)
                squares += (group[i] - mean) * (group[i] - mean);
        });
        const float inverse = inverse_norm(r.op, share.sum(squares, scratch), n, r.epsilon);

        scale_share(share, r, mean, inverse);
        share.write(r.y + row * r.n);
    }
}

/* Rows of other lengths. */
template <typename T>
static __global__ void __launch_bounds__(ENSO_ROW_BLOCK) norm_rows(const struct row_norm<T> r)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t row = blockIdx.x; row < r.n_rows; row += gridDim.x) {
        const T *x = r.x + row * r.n;
        const T *residual = r.residual != NULL ? r.residual + row * r.n : NULL;
        T *y = r.y + row * r.n;
        auto load = [=](size_t i) {
            return residual != NULL ? enso_to_float(x[i]) + enso_to_float(residual[i])
                                    : enso_to_float(x[i]);
        };

        if (r.op == ENSO_OP_LAYER_NORM) {
            enso_row_layer_norm(load, y, r.n, r.gamma, r.beta, r.epsilon, scratch);
            continue;
        }
        const float squares =
            enso_row_sum([=](size_t i) { return load(i) * load(i); }, r.n, scratch);
        const float inverse = inverse_norm(r.op, squares, (float)r.n, r.epsilon);

        for (size_t i = threadIdx.x; i < r.n; i += blockDim.x)
            y[i] = enso_from_float<T>(load(i) * inverse * (r.gamma != NULL ? r.gamma[i] : 1));
    }
}

template <typename T>
static int launch_norm(const struct enso_cuda_row_norm *norm, cudaStream_t stream)
{
    const size_t n_rows = norm->n_rows, n = norm->n;
    const struct row_norm<T> r = {
        norm->op, (const T *)norm->x, (const T *)norm->residual, norm->gamma, norm->beta,
            (T *)norm->y, norm->epsilon, n_rows, n
    };

    if (enso_share_fits<T>(n) && enso_aligned_vector(r.x) && enso_aligned_vector(r.residual) &&
        enso_aligned_vector(r.gamma) && enso_aligned_vector(r.beta) && enso_aligned_vector(r.y))
        return enso_launch(norm_shares<T>, dim3(enso_share_blocks(n_rows, n)),
                           dim3(enso_share_threads(n_rows, n)), 0, stream, r);
    return enso_launch(norm_rows<T>, dim3(enso_blocks(n_rows, 1)), dim3(enso_row_threads(n)), 0,
                       stream, r);
}

extern "C" int enso_cuda_row_norm(enum enso_dtype dtype, const struct enso_cuda_row_norm *norm,
                                  cudaStream_t stream)
{
    if (norm->n_rows == 0 || norm->n == 0)
        return cudaSuccess;
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return launch_norm<type>(norm, stream);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}

/* ---- norms of channels ---- */

/* Which channel element i of [images, n_channels, plane] is of. */
static __device__ __forceinline__ size_t channel_of(size_t i, size_t plane, size_t n_channels,
                                                    bool small)
{
    uint64_t rest, channel;

    (void)enso_divide(enso_divide(i, plane, small, &rest), n_channels, small, &channel);
    return channel;
}

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    channel_scale(const T *x, const float *scale_shift, T *y, size_t n, size_t n_channels,
                  size_t plane)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        const size_t c = channel_of(i, plane, n_channels, small);

        y[i] =
            enso_from_float<T>(enso_to_float(x[i]) * scale_shift[c] + scale_shift[n_channels + c]);
    }
}

extern "C" int enso_cuda_channel_scale(enum enso_dtype dtype, const void *x,
                                       const float *scale_shift, void *y, size_t n_images,
                                       size_t n_channels, size_t plane, cudaStream_t stream)
{
    const size_t n = n_images * n_channels * plane;

    if (n == 0)
        return cudaSuccess;
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(channel_scale<type>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0,       \
                           stream, (const type *)x, scale_shift, (type *)y, n, n_channels, plane);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    batch_norm(const T *x, const float *gamma, const float *beta, const float *mean,
               const float *variance, float epsilon, T *y, size_t n, size_t n_channels,
               size_t plane)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        const size_t c = channel_of(i, plane, n_channels, small);
        const float scale = gamma[c] / sqrtf(variance[c] + epsilon);

        y[i] = enso_from_float<T>((enso_to_float(x[i]) - mean[c]) * scale + beta[c]);
    }
}

extern "C" int enso_cuda_batch_norm(enum enso_dtype dtype, const void *x, const float *gamma,
                                    const float *beta, const float *mean, const float *variance,
                                    float epsilon, void *y, size_t n_images, size_t n_channels,
                                    size_t plane, cudaStream_t stream)
{
    const size_t n = n_images * n_channels * plane;

    if (n == 0)
        return cudaSuccess;
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(batch_norm<type>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream,  \
                           (const type *)x, gamma, beta, mean, variance, epsilon, (type *)y, n,    \
                           n_channels, plane);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}

template <typename T>
static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    instance_norm(const T *x_all, const float *gamma, const float *beta, float epsilon, T *y_all,
                  size_t n_planes, size_t n_channels, size_t n)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t i = blockIdx.x; i < n_planes; i += gridDim.x) {
        const T *x = x_all + i * n;
        T *y = y_all + i * n;
        const float mean =
            enso_row_sum([=](size_t j) { return enso_to_float(x[j]); }, n, scratch) / (float)n;
        const float squares = enso_row_sum(
            [=](size_t j) {
                const float v = enso_to_float(x[j]) - mean;

                return v * v;
            },
            n, scratch);
        const float scale = gamma[i % n_channels] / sqrtf(squares / (float)n + epsilon);

        for (size_t j = threadIdx.x; j < n; j += blockDim.x)
            y[j] = enso_from_float<T>((enso_to_float(x[j]) - mean) * scale + beta[i % n_channels]);
    }
}

extern "C" int enso_cuda_instance_norm(enum enso_dtype dtype, const void *x, const float *gamma,
                                       const float *beta, float epsilon, void *y, size_t n_images,
                                       size_t n_channels, size_t plane, cudaStream_t stream)
{
    if (n_images * n_channels * plane == 0)
        return cudaSuccess;
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(instance_norm<type>, dim3(enso_blocks(n_images * n_channels, 1)),       \
                           dim3(enso_row_threads(plane)), 0, stream, (const type *)x, gamma, beta, \
                           epsilon, (type *)y, n_images * n_channels, n_channels, plane);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
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

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    lrn(const T *x, T *y, size_t n, size_t n_channels, size_t inner, size_t below, size_t above,
        float factor, float beta, float bias)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const size_t c = i / inner % n_channels;
        const size_t low = c < below ? 0 : c - below;
        const size_t high = above < n_channels - 1 - c ? c + above : n_channels - 1;
        const T *base = x + (i - c * inner); /* channel 0 of this place */
        float sum = 0;

        for (size_t k = low; k <= high; k++) {
            const float v = enso_to_float(base[k * inner]);

            sum += v * v;
        }
        y[i] = enso_from_float<T>(enso_to_float(x[i]) / lrn_power(bias + factor * sum, beta));
    }
}

extern "C" int enso_cuda_lrn(enum enso_dtype dtype, const void *x, void *y, size_t n_outer,
                             size_t n_channels, size_t inner, size_t size, float alpha, float beta,
                             float bias, cudaStream_t stream)
{
    const size_t n = n_outer * n_channels * inner, below = (size - 1) / 2;

    if (n == 0)
        return cudaSuccess;
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(lrn<type>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream,         \
                           (const type *)x, (type *)y, n, n_channels, inner, below,                \
                           size - 1 - below, alpha / (float)size, beta, bias);
        ENSO_FLOAT_TYPES(ROW)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}
