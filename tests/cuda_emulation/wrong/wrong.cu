/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of wrong.h. RIGHT chooses the twin; nearly all of them turn the items of each block
 * around, so that every item depends on another thread's.
 */
#include "kernels/cuda/ptx.cuh"
#include "tests/cuda_emulation/wrong/wrong.h"

#define BLOCK 64

template <bool RIGHT> static __global__ void missing_barrier(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    tile[t] = in[base + t];
    if (RIGHT)
        __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void missing_second_barrier(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    float sum = 0;

    for (int round = 0; round < 3; round++) {
        tile[t] = in[base + t] + (float)round;
        __syncthreads();
        sum += tile[BLOCK - 1 - t];
        if (RIGHT)
            __syncthreads();
    }
    out[base + t] = (sum - 3.0f) / 3.0f;
}

template <bool RIGHT> static __global__ void missing_warp_barrier(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    tile[t] = in[base + t];
    if (RIGHT)
        __syncwarp();
    out[base + t] = tile[t ^ 31];
}

template <bool RIGHT> static __global__ void blocks_share(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    out[base + t] = in[base + BLOCK - 1 - t];
    if (!RIGHT && t == 0)
        out[0] = in[BLOCK - 1];
}

template <bool RIGHT> static __global__ void subset_barrier(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK, half = t % 32 < 16 ? 0xffffu : 0xffff0000u;

    tile[t] = in[base + t];
    __syncwarp(RIGHT ? 0xffffffffu : half);
    out[base + t] = tile[t ^ 16];
}

template <bool RIGHT> static __global__ void divergent_barrier(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    tile[t] = in[base + t];
    if (RIGHT)
        __syncthreads();
    else if (t < 16)
        __syncthreads();
    else
        __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

static __device__ __noinline__ void barrier(void)
{
    __syncthreads();
}

template <bool RIGHT> static __global__ void barrier_and_warp(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    float v = in[base + t];

    if (!RIGHT && t == 5)
        barrier();
    v = __shfl_xor_sync(0xffffffffu, v, 31);
    if (RIGHT || t != 5)
        barrier();
    out[base + t] = v;
}

template <bool RIGHT> static __global__ void global_write(const float *in, float *out, unsigned n)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    out[base + t] = in[base + BLOCK - 1 - t];
    if (base + t == 0)
        out[RIGHT ? 0 : n] = in[BLOCK - 1];
}

template <bool RIGHT> static __global__ void read_before(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    ptrdiff_t before = RIGHT ? 0 : -1;

    out[base + t] = in[(ptrdiff_t)(base + BLOCK - 1 - t) + (t == BLOCK - 1 ? before : 0)];
}

template <bool RIGHT>
static __global__ void null_read(const float *in, float *out, const float *none)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    const float *from = RIGHT || t != 3 ? in : none;

    out[base + t] = from[base + BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void uninitialised_static(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    if (RIGHT || t != 7)
        tile[t] = 0.0f;
    tile[t] += in[base + t];
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void uninitialised_dynamic(const float *in, float *out)
{
    ENSO_SHARED_DYNAMIC(float, tile);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    if (RIGHT || t != 7)
        tile[t] = 0.0f;
    tile[t] += in[base + t];
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void shared_static_end(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK, past = RIGHT ? 0 : 1;

    tile[t == BLOCK - 1 ? t + past : t] = in[base + t];
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void shared_dynamic_end(const float *in, float *out)
{
    ENSO_SHARED_DYNAMIC(float, tile);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK, past = RIGHT ? 0 : 1;

    tile[t == BLOCK - 1 ? t + past : t] = in[base + t];
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void lane_outside_mask(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    float v = in[base + t];

    if (t % 32 < 16)
        v = __shfl_xor_sync(0xffffu, v, RIGHT ? 15 : 16);
    else
        v = __shfl_xor_sync(0xffff0000u, v, RIGHT ? 15 : 16);
    out[base + t] = v;
}

template <bool RIGHT> static __global__ void not_in_own_mask(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    out[base + t] = __shfl_xor_sync(RIGHT ? 0xffffffffu : 0x7fffffffu, in[base + t], 31);
}

template <bool RIGHT> static __global__ void different_masks(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    unsigned mask = RIGHT || t % 32 < 16 ? 0xffffffffu : 0xffff0000u;

    out[base + t] = __shfl_sync(mask, in[base + t], 31 - (int)(t % 32) % 16);
    __syncwarp();
}

template <bool RIGHT> static __global__ void different_shuffles(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    float v = in[base + t];

    if (RIGHT || t % 2 == 0)
        v = __shfl_xor_sync(0xffffffffu, v, 31);
    else
        v = __shfl_xor_sync(0xffffffffu, v, 31);
    out[base + t] = v;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static __device__ __noinline__ float deeper(volatile float *above, int left)
{
    volatile float local[256];

    local[left % 256] = above[0] + 1.0f;
    return left == 0 ? local[0] : deeper(local, left - 1) + local[1 % 256] * 0.0f;
}
#pragma GCC diagnostic pop

template <bool RIGHT> static __global__ void stack_overflow(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    volatile float start[256] = {0};

    if (!RIGHT && t == 9)
        start[0] = deeper(start, 100000);
    out[base + t] = in[base + BLOCK - 1 - t] + start[0];
}

template <bool RIGHT> static __global__ void division_by_zero(const float *in, float *out)
{
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;
    unsigned divisor = RIGHT ? BLOCK : (unsigned)in[0];

    out[base + t] = in[base + (BLOCK - 1 - t) % divisor];
}

template <bool RIGHT> static __global__ void much_static(const float *in, float *out)
{
    ENSO_SHARED(float, half, 6 * 1024);
    ENSO_SHARED(float, rest, RIGHT ? 6 * 1024 : 6 * 1024 + 1);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    half[t] = in[base + t];
    rest[t] = 0.0f;
    __syncthreads();
    out[base + t] = half[BLOCK - 1 - t] + rest[BLOCK - 1 - t];
}

/* ---- asynchronous copies: item t of the block's 64 goes to tile[t] ---- */

template <bool RIGHT> static __global__ void copy_missing_barrier(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    enso_cp_async<4>(&tile[t], in + base + t, true);
    enso_cp_async_commit();
    enso_cp_async_wait<0>();
    if (RIGHT)
        __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

template <bool RIGHT> static __global__ void copy_too_early(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    tile[t] = in[base + t];
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
    if (RIGHT)
        __syncthreads();
    enso_cp_async<4>(&tile[t], in + base, true);
    enso_cp_async_commit();
    enso_cp_async_wait<0>();
}

/* WAIT: 0 the right one, 1 none, 2 one group too few, 3 before the commit. */
template <int WAIT> static __device__ void copy_and_wait(const float *in, float *out)
{
    ENSO_SHARED(float, tile, 2 * BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    enso_cp_async<4>(&tile[BLOCK + t], in + base, true);
    enso_cp_async_commit();
    enso_cp_async<4>(&tile[t], in + base + t, true);
    if (WAIT == 3)
        enso_cp_async_wait<0>();
    enso_cp_async_commit();
    if (WAIT == 0)
        enso_cp_async_wait<0>();
    if (WAIT == 2)
        enso_cp_async_wait<1>();
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
    if (WAIT != 1)
        enso_cp_async_wait<0>();
}

template <bool RIGHT> static __global__ void copy_no_wait(const float *in, float *out)
{
    copy_and_wait<RIGHT ? 0 : 1>(in, out);
}

template <bool RIGHT> static __global__ void copy_late_wait(const float *in, float *out)
{
    copy_and_wait<RIGHT ? 0 : 2>(in, out);
}

template <bool RIGHT> static __global__ void copy_not_committed(const float *in, float *out)
{
    copy_and_wait<RIGHT ? 0 : 3>(in, out);
}

template <bool RIGHT> static __global__ void copy_misaligned(const float *in, float *out)
{
    ENSO_SHARED(float, tile, BLOCK);
    unsigned t = threadIdx.x, base = blockIdx.x * BLOCK;

    tile[t] = 0;
    __syncthreads();
    if (t % 4 == 0 && t < BLOCK - 4)
        enso_cp_async<16>(&tile[t], in + base + t + (RIGHT ? 0 : 1), true);
    else if (t >= BLOCK - 4)
        enso_cp_async<4>(&tile[t], in + base + t, true);
    enso_cp_async_commit();
    enso_cp_async_wait<0>();
    __syncthreads();
    out[base + t] = tile[BLOCK - 1 - t];
}

/* ---- matrix fragments: four floats are a row of ldmatrix; every lane gets its own back ---- */

enum fragment_fault { FRAGMENT_RIGHT, UNSEEN, MISALIGNED, NOT_SHARED, FEW_LANES };

/* Each lane writes one float of row lane / 4 for all four rounds of its warp. */
template <int FAULT> static __device__ void fragments(const float *in, float *out)
{
    ENSO_SHARED(uint4, rows, 2 * 32 + 1);
    unsigned t = threadIdx.x, lane = t % 32, base = blockIdx.x * BLOCK;
    uint4 *mine = rows + t / 32 * 32;
    uint32_t r[4];
    const char *row = reinterpret_cast<const char *>(&mine[lane]);

    for (unsigned m = 0; m < 4; m++) /* row lane / 4 of matrix m */
        reinterpret_cast<float *>(&mine[8 * m + lane / 4])[lane % 4] = in[base + BLOCK - 1 - t];
    if (FAULT != UNSEEN)
        __syncwarp();
    if (FAULT == FEW_LANES && lane == 30) {
        out[base + t] = 0;
        return;
    }
    if (FAULT == MISALIGNED)
        row += 8;
    if (FAULT == NOT_SHARED)
        row = reinterpret_cast<const char *>(in);
    enso_ldmatrix_x4(r, row);
    out[base + t] = __uint_as_float(r[t % 4]);
}

template <bool RIGHT> static __global__ void fragment_unseen(const float *in, float *out)
{
    fragments<RIGHT ? FRAGMENT_RIGHT : UNSEEN>(in, out);
}

template <bool RIGHT> static __global__ void fragment_misaligned(const float *in, float *out)
{
    fragments<RIGHT ? FRAGMENT_RIGHT : MISALIGNED>(in, out);
}

template <bool RIGHT> static __global__ void fragment_not_shared(const float *in, float *out)
{
    fragments<RIGHT ? FRAGMENT_RIGHT : NOT_SHARED>(in, out);
}

template <bool RIGHT> static __global__ void fragment_few_lanes(const float *in, float *out)
{
    fragments<RIGHT ? FRAGMENT_RIGHT : FEW_LANES>(in, out);
}

#define CASE(which, kernel, shared, ...)                                                           \
    case which:                                                                                    \
        return right ? enso_launch(kernel<true>, grid, block, shared, stream, in, out,             \
                                   ##__VA_ARGS__)                                                  \
                     : enso_launch(kernel<false>, grid, block, shared, stream, in, out,            \
                                   ##__VA_ARGS__);

int wrong_launch(enum wrong_case which, bool right, const float *in, float *out,
                 cudaStream_t stream)
{
    const dim3 grid(WRONG_ITEMS / BLOCK), block(BLOCK);
    const size_t bytes = BLOCK * sizeof(float);

    switch (which) {
        CASE(WRONG_MISSING_BARRIER, missing_barrier, 0)
        CASE(WRONG_MISSING_SECOND_BARRIER, missing_second_barrier, 0)
        CASE(WRONG_MISSING_WARP_BARRIER, missing_warp_barrier, 0)
        CASE(WRONG_BLOCKS_SHARE, blocks_share, 0)
        CASE(WRONG_SUBSET_BARRIER, subset_barrier, 0)
        CASE(WRONG_COPY_MISSING_BARRIER, copy_missing_barrier, 0)
        CASE(WRONG_COPY_TOO_EARLY, copy_too_early, 0)
        CASE(WRONG_FRAGMENT_UNSEEN, fragment_unseen, 0)
        CASE(WRONG_DIVERGENT_BARRIER, divergent_barrier, 0)
        CASE(WRONG_BARRIER_AND_WARP, barrier_and_warp, 0)
        CASE(WRONG_GLOBAL_WRITE, global_write, 0, (unsigned)WRONG_ITEMS)
        CASE(WRONG_GLOBAL_TAIL, global_write, 0, (unsigned)WRONG_OUT_ITEMS(which))
        CASE(WRONG_GLOBAL_READ_BEFORE, read_before, 0)
        CASE(WRONG_NULL_READ, null_read, 0, nullptr)
        CASE(WRONG_UNINITIALISED_STATIC, uninitialised_static, 0)
        CASE(WRONG_UNINITIALISED_DYNAMIC, uninitialised_dynamic, bytes)
        CASE(WRONG_SHARED_STATIC_END, shared_static_end, 0)
        CASE(WRONG_SHARED_DYNAMIC_END, shared_dynamic_end, bytes)
        CASE(WRONG_LANE_OUTSIDE_MASK, lane_outside_mask, 0)
        CASE(WRONG_NOT_IN_OWN_MASK, not_in_own_mask, 0)
        CASE(WRONG_DIFFERENT_MASKS, different_masks, 0)
        CASE(WRONG_DIFFERENT_SHUFFLES, different_shuffles, 0)
        CASE(WRONG_STACK_OVERFLOW, stack_overflow, 0)
        CASE(WRONG_DIVISION_BY_ZERO, division_by_zero, 0)
        CASE(WRONG_MUCH_STATIC, much_static, 0)
        CASE(WRONG_COPY_NO_WAIT, copy_no_wait, 0)
        CASE(WRONG_COPY_LATE_WAIT, copy_late_wait, 0)
        CASE(WRONG_COPY_NOT_COMMITTED, copy_not_committed, 0)
        CASE(WRONG_COPY_MISALIGNED, copy_misaligned, 0)
        CASE(WRONG_FRAGMENT_MISALIGNED, fragment_misaligned, 0)
        CASE(WRONG_FRAGMENT_NOT_SHARED, fragment_not_shared, 0)
        CASE(WRONG_FRAGMENT_FEW_LANES, fragment_few_lanes, 0)
    }
    return (int)cudaErrorInvalidValue;
}

float wrong_expected(enum wrong_case which, unsigned i)
{
    switch (which) {
    case WRONG_MISSING_WARP_BARRIER:
    case WRONG_BARRIER_AND_WARP:
    case WRONG_NOT_IN_OWN_MASK:
    case WRONG_DIFFERENT_SHUFFLES:
        return (float)(i ^ 31u);
    case WRONG_SUBSET_BARRIER:
        return (float)(i ^ 16u);
    case WRONG_LANE_OUTSIDE_MASK:
        return (float)(i ^ 15u);
    case WRONG_DIFFERENT_MASKS:
        return (float)((i | 31u) - i % 16);
    default:
        return (float)((i | (BLOCK - 1u)) - i % BLOCK);
    }
}

const char *wrong_name(enum wrong_case which)
{
    static const char *const names[] = {"missing barrier",      "missing second barrier",
                                        "missing warp barrier", "blocks share",
                                        "subset barrier",       "copy missing barrier",
                                        "copy too early",       "fragment unseen",
                                        "divergent barrier",    "barrier and warp",
                                        "global write",         "global tail",
                                        "global read before",   "null read",
                                        "uninitialised static", "uninitialised dynamic",
                                        "shared static end",    "shared dynamic end",
                                        "lane outside mask",    "not in own mask",
                                        "different masks",      "different shuffles",
                                        "stack overflow",       "division by zero",
                                        "much static",          "copy without wait",
                                        "copy with late wait",  "copy not committed",
                                        "copy misaligned",      "fragment misaligned",
                                        "fragment not shared",  "fragment of few lanes"};

    return names[which];
}
