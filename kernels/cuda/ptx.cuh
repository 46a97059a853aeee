/* SPDX-License-Identifier: Apache-2.0
 *
 * The instructions that CUDA C++ has no name for: matrix fragments and their products, copies from
 * device to shared memory that run beside the thread, the power of two. The only file with PTX, and
 * beside device.cuh the only one that asks ENSO_EMULATED; there each function is a twin
 * (tests/cuda_emulation/twins.cpp) that also refuses what the instruction must not be given.
 *
 * All need compute capability 8.0 but ldmatrix (7.5) and ex2. Code for older cards is compiled, as
 * a trap: the host never launches it there. T is __half or __nv_bfloat16.
 *
 * Fragments of a warp (PTX ISA, mma.m16n8k16), lane l = 4 g + t; a register holds two elements, the
 * first in its low half:
 *
 *     A 16 x 16   a[0]: row g, columns 2t, 2t+1   a[1]: row g+8   a[2], a[3]: columns + 8
 *     B 16 x 8    b0: rows 2t, 2t+1 of column g   b1: rows + 8
 *     C 16 x 8    c[0], c[1]: row g, columns 2t, 2t+1   c[2], c[3]: row g+8
 *
 * So C's registers, packed two by two, are A's fragment of the next product: c of columns 0-7 makes
 * a[0], a[1], c of columns 8-15 makes a[2], a[3].
 *
 * ldmatrix reads 8 x 8 matrices of halves whose rows are 16 bytes anywhere in shared memory: lane
 * 8 m + r brings the address of row r of matrix m, and register m of lane l becomes the elements 2t
 * and 2t+1 of its row g; with _trans, rows 2t and 2t+1 of its column g. From a tile [rows][K] of A:
 * x4, lane l at row l % 16, column l / 16 · 8. From a tile [N][K] of B (K is what is summed over):
 * x2, lane l at row l % 8, column l / 8 % 2 · 8. From a tile [K][N] of B: x2_trans, lane l at row
 * l % 16. x2 wants valid addresses from lanes 16-31 too.
 *
 * Asynchronous copies belong to the thread: what it issued since its last commit is a group;
 * enso_cp_async_wait<N>() returns when all but its N youngest groups have landed, and only a
 * barrier after that shows them to other threads. Every thread waits for all of its copies before
 * it ends.
 */
#ifndef ENSO_KERNELS_CUDA_PTX_CUH
#define ENSO_KERNELS_CUDA_PTX_CUH

#include "kernels/cuda/half.cuh"

#ifdef ENSO_EMULATED
#define ENSO__PLACE , ENSO_EMULATED_HERE
#define ENSO__PLACE_ALONE ENSO_EMULATED_HERE
#else
#define ENSO__PLACE
#define ENSO__PLACE_ALONE
#endif

#ifndef ENSO_EMULATED
static __device__ __forceinline__ uint32_t enso__shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
#endif

/* ---- matrix fragments ---- */

static __device__ __forceinline__ void enso_ldmatrix_x4(uint32_t (&r)[4],
                                                        const void *row ENSO__PLACE)
{
#ifdef ENSO_EMULATED
    enso_emulated::ldmatrix(r, 4, false, row, {file, line});
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(enso__shared_address(row))
                 : "memory");
#endif
}

static __device__ __forceinline__ void enso_ldmatrix_x4_trans(uint32_t (&r)[4],
                                                              const void *row ENSO__PLACE)
{
#ifdef ENSO_EMULATED
    enso_emulated::ldmatrix(r, 4, true, row, {file, line});
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(enso__shared_address(row))
                 : "memory");
#endif
}

static __device__ __forceinline__ void enso_ldmatrix_x2(uint32_t (&r)[2],
                                                        const void *row ENSO__PLACE)
{
#ifdef ENSO_EMULATED
    enso_emulated::ldmatrix(r, 2, false, row, {file, line});
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(enso__shared_address(row))
                 : "memory");
#endif
}

static __device__ __forceinline__ void enso_ldmatrix_x2_trans(uint32_t (&r)[2],
                                                              const void *row ENSO__PLACE)
{
#ifdef ENSO_EMULATED
    enso_emulated::ldmatrix(r, 2, true, row, {file, line});
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(enso__shared_address(row))
                 : "memory");
#endif
}

/* c += A B, products exact, sums in F32 in an order that the hardware keeps to itself: the same on
 * one card for the same fragments. */
template <typename T>
static __device__ __forceinline__ void enso_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                                uint32_t b1 ENSO__PLACE)
{
    constexpr bool bf16 = std::is_same<T, __nv_bfloat16>::value;

    static_assert(bf16 || std::is_same<T, __half>::value, "a half type");
#ifdef ENSO_EMULATED
    enso_emulated::mma(bf16 ? "mma.m16n8k16.bf16" : "mma.m16n8k16.f16",
                       bf16 ? enso_emulated::twin_mma_bf16 : enso_emulated::twin_mma_f16, c, a, b0,
                       b1, {file, line});
#elif __CUDA_ARCH__ < 800
    (void)c, (void)a, (void)b0, (void)b1;
    __trap();
#else
    if constexpr (bf16)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/* ---- asynchronous copies ---- */

/* BYTES (4, 8, 16) from device to shared memory, both aligned to them; not in bounds: zeros, and
 * nothing is read at `global`. 16 bytes pass by the first-level cache. */
template <int BYTES>
static __device__ __forceinline__ void enso_cp_async(void *shared, const void *global,
                                                     bool in_bounds ENSO__PLACE)
{
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "sizes that cp.async has");
#ifdef ENSO_EMULATED
    enso_emulated::copy_async(shared, global, BYTES, in_bounds, {file, line});
#elif __CUDA_ARCH__ < 800
    (void)shared, (void)global, (void)in_bounds;
    __trap();
#else
    if constexpr (BYTES == 16)
        asm volatile(
            "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(enso__shared_address(shared)),
            "l"(__cvta_generic_to_global(global)), "r"(in_bounds ? 16 : 0)
            : "memory");
    else
        asm volatile(
            "cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(enso__shared_address(shared)),
            "l"(__cvta_generic_to_global(global)), "n"(BYTES), "r"(in_bounds ? BYTES : 0)
            : "memory");
#endif
}

static __device__ __forceinline__ void enso_cp_async_16(void *shared, const void *global,
                                                        bool in_bounds ENSO__PLACE)
{
#ifdef ENSO_EMULATED
    enso_cp_async<16>(shared, global, in_bounds, file, line);
#else
    enso_cp_async<16>(shared, global, in_bounds);
#endif
}

/* What was issued since the last commit, which may be nothing, becomes the youngest group. */
static __device__ __forceinline__ void enso_cp_async_commit(ENSO__PLACE_ALONE)
{
#ifdef ENSO_EMULATED
    enso_emulated::copy_async_commit({file, line});
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* All groups of this thread but its `PENDING` youngest have landed. */
template <int PENDING> static __device__ __forceinline__ void enso_cp_async_wait(ENSO__PLACE_ALONE)
{
#ifdef ENSO_EMULATED
    enso_emulated::copy_async_wait(PENDING, {file, line});
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

/* ---- numbers ---- */

/* 2^x to 2 units in the last place; -inf gives 0, NaN stays one, subnormal numbers count as 0. */
static __device__ __forceinline__ float enso_exp2(float x)
{
#ifdef ENSO_EMULATED
    return enso_emulated::twin_ex2(x);
#else
    float y;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

#undef ENSO__PLACE
#undef ENSO__PLACE_ALONE

#endif
