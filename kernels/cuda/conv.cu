/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions: the plain kernels of Conv over [N, C, ...] (one to three spatial dimensions) and of
 * CONV_FUSED over [N, H, W, C] with bias, residual and activation in one. Groups and dilations in
 * both; a depthwise convolution is a group per channel and needs no kernel of its own.
 *
 * One thread an output, summed directly from the input, nothing unfolded in memory. Channels last,
 * neighbouring threads make neighbouring output channels of one pixel: they read the same input
 * (one word for the warp) and neighbouring weights, which lie as [taps][C/group][M] for that. Over
 * planes, neighbouring threads make neighbouring pixels of one channel: the same weight,
 * neighbouring inputs. Sums go tap by tap (or channel by channel) and then over these, which keeps
 * the rounding of long sums small; padding is left out, not multiplied.
 *
 * The fused form also serves as oracle for the tensor-core convolution. No timings yet: no card has
 * been seen.
 */
#include "kernels/cuda/window.cuh"

#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/half.cuh"

#define BLOCK 128

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    conv_planes(const T *x_all, const T *weights, const float *bias, T *y, size_t n, size_t n_in,
                size_t n_out, size_t in_group, size_t out_group, const struct enso_cuda_window w)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const size_t plane = i / w.n_out, image = plane / n_out, m = plane - image * n_out;
        const struct enso_corner corner = enso_window_corner(w, (uint32_t)(i - plane * w.n_out));
        const T *x = x_all + (image * n_in + m / out_group * in_group) * w.n_in;
        const T *weight = weights + m * in_group * w.n_taps;
        float sum = 0;

        for (size_t c = 0; c < in_group; c++, x += w.n_in, weight += w.n_taps) {
            float part = 0;

            enso_window_visit(
                w, corner,
                [&](uint32_t tap, uint32_t at) {
                    part = enso_fma(enso_to_float(weight[tap]), enso_to_float(x[at]), part);
                },
                [] {});
            sum += part;
        }
        y[i] = enso_from_float<T>(bias != NULL ? sum + bias[m] : sum);
    }
}

extern "C" int enso_cuda_conv(enum enso_dtype dtype, const void *x, const void *weights,
                              const float *bias, void *y, size_t n_images, size_t n_in,
                              size_t n_out, size_t group, const struct enso_cuda_window *w,
                              cudaStream_t stream)
{
    const size_t n = n_images * n_out * w->n_out;

    if (n == 0)
        return cudaSuccess;
    switch (dtype) {
#define CONV(name, type)                                                                           \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(conv_planes<type>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream, \
                           (const type *)x, (const type *)weights, bias, (type *)y, n, n_in,       \
                           n_out, n_in / group, n_out / group, *w);
        ENSO_FLOAT_TYPES(CONV)
#undef CONV
    default:
        return cudaErrorInvalidValue;
    }
}

template <typename T>
static __global__ void __launch_bounds__(BLOCK)
    conv_pixels(const struct enso_cuda_conv_nhwc c, size_t n, size_t in_group, size_t out_group)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const size_t pixel = i / c.n_out, m = i - pixel * c.n_out, image = pixel / c.window.n_out;
        const struct enso_corner corner =
            enso_window_corner(c.window, (uint32_t)(pixel - image * c.window.n_out));
        const T *x =
            static_cast<const T *>(c.x) + image * c.window.n_in * c.n_in + m / out_group * in_group;
        float sum = 0;

        enso_window_visit(
            c.window, corner,
            [&](uint32_t tap, uint32_t at) {
                const T *from = x + (size_t)at * c.n_in;
                const T *weight =
                    static_cast<const T *>(c.weights) + (size_t)tap * in_group * c.n_out + m;
                float part = 0;

                for (size_t k = 0; k < in_group; k++)
                    part =
                        enso_fma(enso_to_float(from[k]), enso_to_float(weight[k * c.n_out]), part);
                sum += part;
            },
            [] {});
        if (c.bias != NULL)
            sum += c.bias[m];
        if (c.residual != NULL)
            sum += enso_to_float(static_cast<const T *>(c.residual)[i]);
        static_cast<T *>(c.y)[i] = enso_from_float<T>(enso_activate(sum, c.activation));
    }
}

extern "C" int enso_cuda_conv_nhwc(const struct enso_cuda_conv_nhwc *c, cudaStream_t stream)
{
    const size_t n = c->n_images * c->window.n_out * c->n_out;

    if (n == 0)
        return cudaSuccess;
    switch (c->dtype) {
#define CONV(name, type)                                                                           \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(conv_pixels<type>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream, \
                           *c, n, c->n_in / c->group, c->n_out / c->group);
        ENSO_FLOAT_TYPES(CONV)
#undef CONV
    default:
        return cudaErrorInvalidValue;
    }
}
