/* SPDX-License-Identifier: Apache-2.0
 *
 * What every kernel file stands on, the same for nvcc and for the emulation (tests/cuda_emulation,
 * where g++ compiles these files with ENSO_EMULATED defined): shared memory, launches, loops over
 * all threads, reductions in a fixed order. No other file but ptx.cuh may ask ENSO_EMULATED.
 *
 * Shared memory is declared by ENSO_SHARED or ENSO_SHARED_DYNAMIC alone and kernels start by
 * enso_launch alone: an emulation cannot see `__shared__` and `<<<>>>`.
 *
 * Reductions are trees over lanes, then over warps, both in the order of their numbers: the same
 * input gives the same bits whatever else the grid does. Warp functions take all 32 lanes of a
 * warp, block functions all threads of a block whose size is a multiple of 32.
 */
#ifndef ENSO_KERNELS_CUDA_DEVICE_CUH
#define ENSO_KERNELS_CUDA_DEVICE_CUH

#include <cuda_runtime.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Compute capability that this code is compiled for, 80, 90, ...: the card's, or, where the driver
 * makes code from PTX, an older one. */
#ifdef ENSO_EMULATED
#define ENSO_CODE_ARCHITECTURE (enso_emulated::code_architecture())
#elif defined(__CUDA_ARCH__)
#define ENSO_CODE_ARCHITECTURE (__CUDA_ARCH__ / 10)
#else
#define ENSO_CODE_ARCHITECTURE 0 /* the host's half of a kernel file */
#endif

/* More blocks than this bring nothing: kernels loop (ENSO_GRID_STRIDE). Tests lower it, so that
 * kernels loop over what a test has. */
#ifdef ENSO_EMULATED
#define ENSO_MAX_BLOCKS (enso_emulated::max_blocks())
#else
#define ENSO_MAX_BLOCKS (65535u * 16u)
#endif

#ifdef ENSO_EMULATED
/* Fresh and poisoned in every block; the emulation knows each array by name, file and line. */
#define ENSO_SHARED(type, name, n)                                                                 \
    static enso_emulated::shared_site enso__site_##name = {                                        \
        #name, __FILE__, __LINE__, sizeof(type) * (n), alignof(type), 0, nullptr};                 \
    type(&name)[n] = *static_cast<type(*)[n]>(enso_emulated::shared_static(&enso__site_##name))
#define ENSO_SHARED_DYNAMIC(type, name)                                                            \
    type *const name = static_cast<type *>(enso_emulated::shared_dynamic())
/* The kernel's name for reports: the text of the arguments up to the first comma. */
#define enso_launch(...)                                                                           \
    (enso_emulated::name_next_launch(#__VA_ARGS__), enso__launch_config(__VA_ARGS__))
#else
/* `name[n]`, a static array of the block. */
#define ENSO_SHARED(type, name, n) __shared__ type name[n]
/* `type *name`: the shared memory whose size the launch gives, aligned to 16 bytes. */
#define ENSO_SHARED_DYNAMIC(type, name)                                                            \
    extern __shared__ __align__(16) unsigned char enso__dynamic_shared[];                          \
    type *const name = reinterpret_cast<type *>(enso__dynamic_shared)
#define enso_launch(...) enso__launch_config(__VA_ARGS__)
#endif

/* enso_launch(kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, args...):
 * the launch's cudaError_t as int. A refused launch leaves no error behind for later calls. */
template <class... P, class... A>
static inline int enso__launch_config(void (*kernel)(P...), dim3 grid, dim3 block,
                                      size_t shared_bytes, cudaStream_t stream, A... args)
{
    cudaLaunchConfig_t config = {};
    cudaError_t error;

    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    error = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    if (error != cudaSuccess)
        (void)cudaGetLastError();
    return (int)error;
}

/* Blocks for n items, one a thread: at least 1, at most ENSO_MAX_BLOCKS. */
static inline unsigned enso_blocks(size_t n, unsigned block)
{
    size_t blocks = n / block + (n % block != 0);

    return blocks == 0 ? 1 : blocks > ENSO_MAX_BLOCKS ? ENSO_MAX_BLOCKS : (unsigned)blocks;
}

/* The loop of a one-dimensional grid over n items: item i belongs to one thread. */
#define ENSO_GRID_STRIDE(i, n)                                                                     \
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x,                                 \
                enso__step = gridDim.x * (size_t)blockDim.x;                                       \
         i < (size_t)(n); i += enso__step)

/* a · b + c, rounded once: for the inner sums of products, which would take twice the time in two
 * steps. nvcc fuses nothing by itself (-fmad=false in local.mk), so that the kernels among which a
 * product's size chooses, and what a driver makes of PTX, have the same bits. The emulation rounds
 * twice: its processors may have no such instruction. */
static __device__ __forceinline__ float enso_fma(float a, float b, float c)
{
#ifdef ENSO_EMULATED
    return a * b + c;
#else
    return fmaf(a, b, c);
#endif
}

static __device__ inline float enso_warp_sum(float v)
{
    for (int step = 16; step > 0; step /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

static __device__ inline float enso_warp_max(float v)
{
    for (int step = 16; step > 0; step /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

/* Number of the thread in its block, as warps are cut. */
static __device__ inline unsigned enso_thread(void)
{
    return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}

/* Over all threads of the block, the result in all of them. scratch: 32 floats of shared memory,
 * free for another use after the call's next __syncthreads(). */
static __device__ inline float enso_block_sum(float v, float *scratch)
{
    unsigned thread = enso_thread(), lane = thread % 32;
    unsigned n_warps = blockDim.x * blockDim.y * blockDim.z / 32;

    v = enso_warp_sum(v);
    __syncthreads(); /* an earlier call's scratch has been read */
    if (lane == 0)
        scratch[thread / 32] = v;
    __syncthreads();
    return enso_warp_sum(lane < n_warps ? scratch[lane] : 0.0f);
}

static __device__ inline float enso_block_max(float v, float *scratch)
{
    unsigned thread = enso_thread(), lane = thread % 32;
    unsigned n_warps = blockDim.x * blockDim.y * blockDim.z / 32;

    v = enso_warp_max(v);
    __syncthreads();
    if (lane == 0)
        scratch[thread / 32] = v;
    __syncthreads();
    return enso_warp_max(lane < n_warps ? scratch[lane] : -INFINITY);
}

#endif
