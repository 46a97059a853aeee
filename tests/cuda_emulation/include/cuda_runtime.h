/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulation's shadow of CUDA's header of the same name: what kernel files (.cu as C++17) need
 * beside the C interface: qualifiers, thread and block numbers, barriers, warp functions, device
 * functions of the mathematics, launches. Semantics follow the CUDA programming guide; where it
 * says "undefined", the emulator reports and ends the process.
 *
 * Not here because kernels do not use them: __shared__ (ENSO_SHARED), <<<>>>, __activemask,
 * cooperative groups, clusters, clocks, textures; __expf, __logf (glibc has functions of these
 * names).
 */
#ifndef ENSO_EMULATED_CUDA_RUNTIME_H
#define ENSO_EMULATED_CUDA_RUNTIME_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <new>
#include <tuple>
#include <type_traits>

#include "cuda_runtime_api.h"
#include "enso_emulated.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#ifndef __restrict__
#define __restrict__ __restrict
#endif
#define __CUDA_ARCH__ 800

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

#define ENSO_EMULATED_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(ENSO_EMULATED_HERE)
{
    enso_emulated::block_barrier({file, line});
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, ENSO_EMULATED_HERE)
{
    enso_emulated::warp_collective(enso_emulated::collective::sync, mask, 0, 0, 32, {file, line});
}

namespace enso_emulated
{

/* Registers of 4 or 8 bytes, as CUDA's shuffles take them. */
template <class T>
static inline T shuffle(collective kind, unsigned mask, T v, int operand, int width, place at)
{
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8),
                  "a shuffle takes 4 or 8 bytes");
    uint64_t in = 0, out;
    T result;

    memcpy(&in, &v, sizeof(v));
    out = warp_collective(kind, mask, in, operand, width, at);
    memcpy(&result, &out, sizeof(result));
    return result;
}

} // namespace enso_emulated

template <class T>
static inline T __shfl_sync(unsigned mask, T v, int lane, int width = 32, ENSO_EMULATED_HERE)
{
    return enso_emulated::shuffle(enso_emulated::collective::shuffle_index, mask, v, lane, width,
                                  {file, line});
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32,
                               ENSO_EMULATED_HERE)
{
    return enso_emulated::shuffle(enso_emulated::collective::shuffle_up, mask, v, (int)delta, width,
                                  {file, line});
}

template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32,
                                 ENSO_EMULATED_HERE)
{
    return enso_emulated::shuffle(enso_emulated::collective::shuffle_down, mask, v, (int)delta,
                                  width, {file, line});
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int lane_mask, int width = 32,
                                ENSO_EMULATED_HERE)
{
    return enso_emulated::shuffle(enso_emulated::collective::shuffle_xor, mask, v, lane_mask, width,
                                  {file, line});
}

static inline unsigned __ballot_sync(unsigned mask, int predicate, ENSO_EMULATED_HERE)
{
    return (unsigned)enso_emulated::warp_collective(enso_emulated::collective::ballot, mask,
                                                    predicate != 0, 0, 32, {file, line});
}

static inline int __any_sync(unsigned mask, int predicate, ENSO_EMULATED_HERE)
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}

static inline int __all_sync(unsigned mask, int predicate, ENSO_EMULATED_HERE)
{
    return __ballot_sync(mask, !predicate, file, line) == 0;
}

/* Threads of all blocks run on one thread of the host, so fences order nothing; they give the race
 * detector no order either, as they alone give none on a card. */
static inline void __threadfence(void)
{
}

static inline void __threadfence_block(void)
{
}

/* Atomics on integers alone: floats would add in the order in which threads happen to run. */
template <class T> static inline T atomicAdd(T *p, T v)
{
    static_assert(std::is_integral<T>::value, "no atomics on floats: the order would not be fixed");
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

template <class T> static inline T atomicOr(T *p, T v)
{
    return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}

template <class T> static inline T atomicExch(T *p, T v)
{
    return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);
}

template <class T> static inline T atomicCAS(T *p, T expected, T v)
{
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

template <class T> static inline T atomicMax(T *p, T v)
{
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);

    while (old < v &&
           !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return old;
}

template <class T> static inline T atomicMin(T *p, T v)
{
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);

    while (v < old &&
           !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return old;
}

template <class T> static inline T __ldg(const T *p)
{
    return *p;
}

static inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

static inline int __ffs(int v)
{
    return __builtin_ffs(v);
}

static inline int __clz(int v)
{
    return v == 0 ? 32 : __builtin_clz((unsigned)v);
}

static inline int __float_as_int(float v)
{
    int bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static inline unsigned __float_as_uint(float v)
{
    return (unsigned)__float_as_int(v);
}

static inline float __int_as_float(int bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static inline float __uint_as_float(unsigned bits)
{
    return __int_as_float((int)bits);
}

static inline float rsqrtf(float v)
{
    return 1.0f / sqrtf(v);
}

static inline float __fdividef(float a, float b)
{
    return a / b;
}

static inline float normcdff(float v)
{
    return 0.5f * erfcf(v * -0.70710678118654752440f);
}

/* CUDA's overloads without a namespace. */
template <class T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}

template <class T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}

static inline int2 make_int2(int x, int y)
{
    return {x, y};
}

static inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

typedef struct cudaLaunchAttribute {
    int id;
} cudaLaunchAttribute;

typedef struct cudaLaunchConfig_st {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
} cudaLaunchConfig_t;

namespace enso_emulated
{

/* The kernel's parameters, bound to the function as one value. */
template <class... P> struct bound_kernel {
    void (*kernel)(P...);
    std::tuple<P...> arguments;

    static void invoke(const void *self)
    {
        const bound_kernel *bound = static_cast<const bound_kernel *>(self);

        std::apply(bound->kernel, bound->arguments);
    }
};

} // namespace enso_emulated

template <class... P, class... A>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...),
                                             A &&...arguments)
{
    static_assert((std::is_trivially_copyable<P>::value && ...),
                  "kernel parameters are copied as bytes");
    static_assert((sizeof(P) + ... + 0) <= 4096, "kernel parameters take 4 KiB at most");
    using bound_kernel = enso_emulated::bound_kernel<P...>;
    /* Zeroed, as the bytes between parameters could look like addresses. */
    alignas(bound_kernel) unsigned char bound[sizeof(bound_kernel)] = {};

    new (bound) bound_kernel{kernel, std::tuple<P...>(static_cast<P>(arguments)...)};
    return enso_emulated::launch(
        {reinterpret_cast<const void *>(kernel), bound_kernel::invoke, bound, sizeof(bound)},
        config->gridDim, config->blockDim, config->dynamicSmemBytes, config->stream);
}

template <class T>
static inline cudaError_t cudaFuncSetAttribute(T *kernel, enum cudaFuncAttribute attribute,
                                               int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    return enso_emulated::set_max_dynamic_shared(reinterpret_cast<const void *>(kernel), value);
}

#endif
