/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels whose accesses are known; see counted.h.
 */
#include "tests/cuda_emulation/counted.h"

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ptx.cuh"

static __global__ void tile_of(unsigned stride, const float *in, float *out)
{
    ENSO_SHARED(float, tile, 32 * 33);
    const unsigned t = threadIdx.x;

    tile[t * stride] = in[t];
    __syncthreads();
    out[t] = tile[t * stride];
}

int counted_tile(unsigned stride, unsigned n_blocks, const float *in, float *out,
                 cudaStream_t stream)
{
    return enso_launch(tile_of, dim3(n_blocks), dim3(32), 0, stream, stride, in, out);
}

static __global__ void broadcast(const float *in, float *out)
{
    ENSO_SHARED(float, tile, 32);

    if (threadIdx.x == 0)
        tile[0] = in[0];
    __syncwarp();
    out[threadIdx.x] = tile[0];
}

int counted_broadcast(const float *in, float *out, cudaStream_t stream)
{
    return enso_launch(broadcast, dim3(1), dim3(32), 0, stream, in, out);
}

static __global__ void strided(unsigned stride, const float *in, float *out)
{
    out[threadIdx.x] = in[threadIdx.x * stride];
}

int counted_strided(unsigned stride, const float *in, float *out, cudaStream_t stream)
{
    return enso_launch(strided, dim3(1), dim3(32), 0, stream, stride, in, out);
}

static __global__ void wide(unsigned stride, const float4 *in, float4 *out)
{
    ENSO_SHARED(float4, tile, 32 * 4);

    tile[threadIdx.x * stride] = in[threadIdx.x];
    __syncthreads();
    float4 v = tile[threadIdx.x * stride];
    v.x += 1;
    out[threadIdx.x] = v;
}

int counted_wide(unsigned stride, const float *in, float *out, cudaStream_t stream)
{
    return enso_launch(wide, dim3(1), dim3(32), 0, stream, stride,
                       reinterpret_cast<const float4 *>(in), reinterpret_cast<float4 *>(out));
}

static __global__ void apart(unsigned n, const float *in, float *out)
{
    float sum = 0;

    for (unsigned i = threadIdx.x; i < n; i += 32) {
        if (threadIdx.x % 2 == 1 && i >= 40)
            break;
        sum += in[i];
    }
    out[threadIdx.x] = sum;
}

int counted_apart(unsigned n, const float *in, float *out, cudaStream_t stream)
{
    return enso_launch(apart, dim3(1), dim3(48), 0, stream, n, in, out);
}

static __global__ void async(const float *in, float *out)
{
    ENSO_SHARED(float4, tile, 32);
    const float *row = reinterpret_cast<const float *>(tile);

    enso_cp_async_16(&tile[threadIdx.x], in + threadIdx.x * 4, true);
    enso_cp_async_commit();
    enso_cp_async_wait<0>();
    __syncthreads();
    out[threadIdx.x] = row[threadIdx.x];
}

int counted_async(const float *in, float *out, cudaStream_t stream)
{
    return enso_launch(async, dim3(1), dim3(32), 0, stream, in, out);
}

int counted_told(const char *kernel, struct counted *ret)
{
    enso_emulated::counts c;

    if (!enso_emulated::counts_of(kernel, &c))
        return 0;
    *ret = {c.global_read,
            c.global_read_moved,
            c.global_read_once,
            c.global_written,
            c.global_written_moved,
            c.global_written_once,
            c.shared_read,
            c.shared_written,
            c.shared_phases,
            c.shared_conflicts,
            c.alone};
    return 1;
}
