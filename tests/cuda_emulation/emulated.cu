/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that show what the emulator does; see emulated.h.
 */
#include "tests/cuda_emulation/emulated.h"

#include "kernels/cuda/device.cuh"

static __global__ void shuffle(int kind, unsigned mask, int operand, int width, int *out)
{
    unsigned lane = threadIdx.x;
    int v = (int)lane * 100, got = -1;

    if ((mask >> lane & 1) == 0)
        return;
    switch (kind) {
    case EMULATED_INDEX:
        got = __shfl_sync(mask, v, operand, width);
        break;
    case EMULATED_UP:
        got = __shfl_up_sync(mask, v, (unsigned)operand, width);
        break;
    case EMULATED_DOWN:
        got = __shfl_down_sync(mask, v, (unsigned)operand, width);
        break;
    case EMULATED_XOR:
        got = __shfl_xor_sync(mask, v, operand, width);
        break;
    case EMULATED_BALLOT:
        got = (int)__ballot_sync(mask, lane % 3 == 0);
        break;
    case EMULATED_DOUBLE: {
        double d = __shfl_xor_sync(mask, (double)v + 0.5, operand, width);

        got = (int)(d - 0.5);
        break;
    }
    default:
        got = __any_sync(mask, lane == 7) * 2 + __all_sync(mask, lane < 31);
        break;
    }
    out[lane] = got;
}

int emulated_shuffle(int kind, unsigned mask, int operand, int width, int *out, cudaStream_t stream)
{
    return enso_launch(shuffle, dim3(1), dim3(32), 0, stream, kind, mask, operand, width, out);
}

/* Every thread but those that leave at once adds its number, in rounds between barriers. */
static __global__ void rounds(unsigned stay, unsigned n_rounds, unsigned *out)
{
    ENSO_SHARED(unsigned, values, 1024);
    unsigned t = enso_thread(),
             block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    unsigned n = blockDim.x * blockDim.y * blockDim.z;

    if (t >= stay)
        return;
    values[t] = t;
    for (unsigned r = 0; r < n_rounds; r++) {
        __syncthreads();
        unsigned next = values[(t + 1) % stay];
        __syncthreads();
        values[t] = next;
    }
    out[(size_t)block * n + t] = values[t];
}

int emulated_rounds(struct emulated_size grid, struct emulated_size block, unsigned stay,
                    unsigned n_rounds, unsigned *out, cudaStream_t stream)
{
    return enso_launch(rounds, dim3(grid.x, grid.y, grid.z), dim3(block.x, block.y, block.z), 0,
                       stream, stay, n_rounds, out);
}

static __global__ void dynamic(unsigned n, float *out)
{
    ENSO_SHARED_DYNAMIC(float, values);
    float sum = 0;

    for (unsigned i = threadIdx.x; i < n; i += blockDim.x)
        values[i] = 1.0f;
    __syncthreads();
    for (unsigned i = 0; threadIdx.x == 0 && i < n; i++)
        sum += values[i];
    if (threadIdx.x == 0)
        out[blockIdx.x] = sum;
}

int emulated_dynamic(unsigned n, size_t shared_bytes, float *out, cudaStream_t stream)
{
    return enso_launch(dynamic, dim3(2), dim3(64), shared_bytes, stream, n, out);
}

int emulated_dynamic_allow(int bytes)
{
    int code =
        (int)cudaFuncSetAttribute(dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    (void)cudaGetLastError();
    return code;
}

/* Who comes when: not what kernels may depend on, but what a seed must repeat. */
static __global__ void arrival(unsigned *ticket, unsigned *order)
{
    order[atomicAdd(ticket, 1u)] = blockIdx.x * blockDim.x + threadIdx.x;
}

int emulated_arrival(unsigned n_blocks, unsigned n_threads, unsigned *ticket, unsigned *order,
                     cudaStream_t stream)
{
    return enso_launch(arrival, dim3(n_blocks), dim3(n_threads), 0, stream, ticket, order);
}

static __global__ void sums(const float *x, float *out, unsigned n)
{
    ENSO_SHARED(float, scratch, 32);
    float v = 0, most = -INFINITY;

    for (unsigned i = enso_thread(); i < n; i += blockDim.x) {
        v += x[blockIdx.x * n + i];
        most = fmaxf(most, x[blockIdx.x * n + i]);
    }
    v = enso_block_sum(v, scratch);
    most = enso_block_max(most, scratch);
    out[(blockIdx.x * blockDim.x + threadIdx.x) * 2] = v;
    out[(blockIdx.x * blockDim.x + threadIdx.x) * 2 + 1] = most;
}

int emulated_sums(unsigned n_blocks, unsigned n_threads, const float *x, float *out, unsigned n,
                  cudaStream_t stream)
{
    return enso_launch(sums, dim3(n_blocks), dim3(n_threads), 0, stream, x, out, n);
}

static __global__ void nothing(void)
{
}

int emulated_nothing(struct emulated_size grid, struct emulated_size block, cudaStream_t stream)
{
    return enso_launch(nothing, dim3(grid.x, grid.y, grid.z), dim3(block.x, block.y, block.z), 0,
                       stream);
}

static __global__ void add(const float *in, float *out, unsigned n, float k)
{
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        out[i] = in[i] + k;
}

int emulated_add(const float *in, float *out, unsigned n, float k, cudaStream_t stream)
{
    return enso_launch(add, dim3(2), dim3(32), 0, stream, in, out, n, k);
}

/* What twins of matrix instructions and asynchronous copies would tell. */
static __global__ void tell(unsigned stride, unsigned bytes)
{
    ENSO_SHARED_DYNAMIC(char, memory);
    const void *rows[32];

    for (unsigned lane = 0; lane < 32; lane++)
        rows[lane] = lane == 31 && stride == 0 ? nullptr : memory + lane * stride;
    if (threadIdx.x == 0) {
        enso_emulated::count_shared(rows, 32, bytes, false);
        enso_emulated::count_shared(rows, 8, bytes, true);
        enso_emulated::count_global(512, 128);
        enso_emulated::count_mma(16, 8, 16);
    }
}

int emulated_tell(unsigned stride, unsigned bytes, cudaStream_t stream)
{
    return enso_launch(tell, dim3(3), dim3(32), 32 * 132, stream, stride, bytes);
}

int emulated_told(const char *kernel, struct emulated_counts *ret)
{
    enso_emulated::counts counts;

    if (!enso_emulated::counts_of(kernel, &counts))
        return 0;
    *ret = {
        counts.global_read,   counts.global_written,   counts.shared_read, counts.shared_written,
        counts.shared_phases, counts.shared_conflicts, counts.mma,         counts.mma_flops};
    return 1;
}
