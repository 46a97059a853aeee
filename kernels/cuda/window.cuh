/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the taps of a window read: shared by pools and convolutions. All in 32 bits, whose
 * divisions and products are several times cheaper: the host has checked that every place fits.
 */
#ifndef ENSO_KERNELS_CUDA_WINDOW_CUH
#define ENSO_KERNELS_CUDA_WINDOW_CUH

#include "kernels/cuda/device.cuh"

#include "kernels/cuda/launch_network.h"

/* Where the first tap of an output position reads, per dimension (negative: in the padding). */
struct enso_corner {
    int32_t at[3];
};

static __device__ __forceinline__ struct enso_corner
enso_window_corner(const struct enso_cuda_window &w, uint32_t position)
{
    const uint32_t row = position / (uint32_t)w.out[2], plane = row / (uint32_t)w.out[1];
    struct enso_corner c;

    c.at[0] = (int32_t)plane * w.strides[0] - w.begin[0];
    c.at[1] = (int32_t)(row - plane * (uint32_t)w.out[1]) * w.strides[1] - w.begin[1];
    c.at[2] = (int32_t)(position - row * (uint32_t)w.out[2]) * w.strides[2] - w.begin[2];
    return c;
}

static __device__ __forceinline__ bool enso_inside(int32_t at, int32_t n)
{
    return at >= 0 && at < n;
}

/* Call visit(tap, input position) for every tap that reads inside of the input, in the taps' order,
 * and row_end() after each row of the window that is inside. */
template <typename Visit, typename RowEnd>
static __device__ __forceinline__ void enso_window_visit(const struct enso_cuda_window &w,
                                                         const struct enso_corner &c, Visit visit,
                                                         RowEnd row_end)
{
#pragma unroll 1
    for (int32_t kd = 0; kd < w.kernel[0]; kd++) {
        const int32_t id = c.at[0] + kd * w.dilations[0];

        if (!enso_inside(id, w.in[0]))
            continue;
#pragma unroll 1
        for (int32_t kh = 0; kh < w.kernel[1]; kh++) {
            const int32_t ih = c.at[1] + kh * w.dilations[1];

            if (!enso_inside(ih, w.in[1]))
                continue;
#pragma unroll 1
            for (int32_t kw = 0; kw < w.kernel[2]; kw++) {
                const int32_t iw = c.at[2] + kw * w.dilations[2];

                if (enso_inside(iw, w.in[2]))
                    visit((uint32_t)((kd * w.kernel[1] + kh) * w.kernel[2] + kw),
                          (uint32_t)((id * w.in[1] + ih) * w.in[2] + iw));
            }
            row_end();
        }
    }
}

#endif
