/* SPDX-License-Identifier: Apache-2.0
 *
 * TopK: a block takes a row. It holds the best so far, sorted, in the front half of a shared
 * buffer; the row passes through the back half, and only when something there is better than the
 * k-th is the whole buffer sorted anew (a bitonic network: a fixed order, no atomics). Of long rows
 * with a small k most pieces are looked at and passed over.
 *
 * An element becomes an entry, a number that orders all elements of its row: first by value (floats
 * by their bits, turned so that they sort as unsigned numbers; a NaN above all), then by place, the
 * lower one first. No two are equal, so a result does not depend on who is compared with whom.
 * Values of up to four bytes and their places share one entry of eight bytes.
 *
 * Rejected: a radix select, which reads a long row four times. No timings yet: no card has been
 * seen.
 */
#include "kernels/cuda/device.cuh"

#include <string.h>

#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"

#define MAX_BLOCK 256u
/* Entries of half a buffer where k asks for no more. */
#define USUAL_HALF 256u
#define LEAST_HALF 16u
#define BUFFER_BYTES 32768u /* the most, on every card without asking */

/* ---- keys that sort as the elements do ---- */

static __device__ __forceinline__ uint32_t key_of(float v)
{
    const uint32_t bits = __float_as_uint(v == 0 ? 0.0f : v); /* two zeros, one key */

    if (v != v)
        return UINT32_MAX;
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

static __device__ __forceinline__ uint64_t key_of(double v)
{
    const double one_zero = v == 0 ? 0.0 : v;
    uint64_t bits;

    memcpy(&bits, &one_zero, sizeof(bits));
    if (v != v)
        return UINT64_MAX;
    return bits >> 63 != 0 ? ~bits : bits | (uint64_t)1 << 63;
}

static __device__ __forceinline__ uint32_t key_of(int32_t v)
{
    return (uint32_t)v ^ 0x80000000u;
}

static __device__ __forceinline__ uint32_t key_of(uint32_t v)
{
    return v;
}

static __device__ __forceinline__ uint64_t key_of(int64_t v)
{
    return (uint64_t)v ^ (uint64_t)1 << 63;
}

static __device__ __forceinline__ uint64_t key_of(uint64_t v)
{
    return v;
}

/* ---- entries: the larger is the better ---- */

struct wide_entry {
    uint64_t key, behind; /* behind: the place, turned over */
};

static __device__ __forceinline__ bool is_better(uint64_t a, uint64_t b)
{
    return a > b;
}

static __device__ __forceinline__ bool is_better(const wide_entry &a, const wide_entry &b)
{
    return a.key > b.key || (a.key == b.key && a.behind > b.behind);
}

/* Places are below UINT32_MAX, so what stands past the row's end is worse than all in it. */
static __device__ __forceinline__ void no_entry(uint64_t *e)
{
    *e = 0;
}

static __device__ __forceinline__ void no_entry(wide_entry *e)
{
    e->key = e->behind = 0;
}

static __device__ __forceinline__ void make_entry(uint32_t key, uint32_t at, uint64_t *e)
{
    *e = (uint64_t)key << 32 | (uint32_t)~at;
}

static __device__ __forceinline__ void make_entry(uint64_t key, uint32_t at, wide_entry *e)
{
    e->key = key;
    e->behind = (uint32_t)~at;
}

static __device__ __forceinline__ uint32_t place_of(uint64_t e)
{
    return ~(uint32_t)e;
}

static __device__ __forceinline__ uint32_t place_of(const wide_entry &e)
{
    return ~(uint32_t)e.behind;
}

/* ---- the kernel ---- */

/* Best first; n is a power of two. Begins and ends with a barrier. */
template <typename Entry> static __device__ void sort(Entry *e, uint32_t n)
{
    __syncthreads();
    for (uint32_t size = 2; size <= n; size *= 2)
        for (uint32_t step = size / 2; step > 0; step /= 2) {
            for (uint32_t i = threadIdx.x; i < n / 2; i += blockDim.x) {
                const uint32_t low = 2 * i - (i & (step - 1)), high = low + step;
                const Entry a = e[low], b = e[high];

                if (is_better(b, a) == ((low & size) == 0)) {
                    e[low] = b;
                    e[high] = a;
                }
            }
            __syncthreads();
        }
}

template <typename T, typename Wide, typename Entry>
static __device__ __forceinline__ Entry entry_at(const T *x, size_t inner, uint32_t n, uint32_t at,
                                                 bool largest)
{
    Entry e;

    no_entry(&e);
    if (at < n) {
        const auto key = key_of((Wide)enso_widen(x[(size_t)at * inner]));

        make_entry(largest ? key : ~key, at, &e);
    }
    return e;
}

template <typename T, typename Wide, typename Entry>
static __global__ void __launch_bounds__(MAX_BLOCK)
    top_k_rows(const T *x, T *values, int64_t *places, size_t n_rows, uint32_t n, size_t inner,
               uint32_t k, uint32_t half, bool largest)
{
    ENSO_SHARED_DYNAMIC(Entry, e); /* [2 * half] */
    ENSO_SHARED(float, scratch, 32);

    for (size_t row = blockIdx.x; row < n_rows; row += gridDim.x) {
        const size_t outer = row / inner, column = row - outer * inner;
        const T *from = x + outer * n * inner + column;

        for (uint32_t i = threadIdx.x; i < 2 * half; i += blockDim.x)
            e[i] = entry_at<T, Wide, Entry>(from, inner, n, i, largest);
        sort(e, 2 * half);
        for (uint64_t first = 2 * half; first < n; first += half) {
            float better = 0;

            for (uint32_t i = threadIdx.x; i < half; i += blockDim.x) {
                const uint64_t at = first + i;

                e[half + i] = entry_at<T, Wide, Entry>(from, inner, n,
                                                       at < n ? (uint32_t)at : UINT32_MAX, largest);
                if (is_better(e[half + i], e[k - 1]))
                    better = 1;
            }
            if (enso_block_max(better, scratch) != 0)
                sort(e, 2 * half);
        }
        for (uint32_t i = threadIdx.x; i < k; i += blockDim.x) {
            const size_t to = (outer * k + i) * inner + column;
            const uint32_t at = place_of(e[i]);

            values[to] = from[(size_t)at * inner];
            places[to] = (int64_t)at;
        }
        __syncthreads(); /* all have read before the next row is written */
    }
}

template <typename T, typename Wide, typename Entry>
static int launch(bool largest, const void *x, void *values, int64_t *places, size_t n_outer,
                  size_t n, size_t n_inner, size_t k, cudaStream_t stream)
{
    const size_t n_rows = n_outer * n_inner;
    const uint32_t wanted = (uint32_t)(n < 2 * USUAL_HALF ? (n + 1) / 2 : USUAL_HALF);
    uint32_t half = LEAST_HALF;

    while (half < k || half < wanted)
        half *= 2;
    return enso_launch(top_k_rows<T, Wide, Entry>, dim3(enso_blocks(n_rows, 1)),
                       dim3(half < 32          ? 32
                            : half > MAX_BLOCK ? MAX_BLOCK
                                               : half),
                       2 * half * sizeof(Entry), stream, (const T *)x, (T *)values, places, n_rows,
                       (uint32_t)n, n_inner, (uint32_t)k, half, largest);
}

extern "C" size_t enso_cuda_most_k(enum enso_dtype dtype)
{
    const bool wide = dtype == ENSO_DTYPE_F64 || dtype == ENSO_DTYPE_I64 || dtype == ENSO_DTYPE_U64;

    return BUFFER_BYTES / 2 / (wide ? sizeof(wide_entry) : sizeof(uint64_t));
}

extern "C" int enso_cuda_top_k(enum enso_dtype dtype, bool largest, const void *x, void *values,
                               int64_t *places, size_t n_outer, size_t n, size_t n_inner, size_t k,
                               cudaStream_t stream)
{
    if (n_outer == 0 || n_inner == 0 || k == 0)
        return cudaSuccess;
    if (k > n || n >= UINT32_MAX || k > enso_cuda_most_k(dtype))
        return cudaErrorInvalidValue;
    switch (dtype) {
#define ROW(name, type, wide, entry)                                                               \
    case ENSO_DTYPE_##name:                                                                        \
        return launch<type, wide, entry>(largest, x, values, places, n_outer, n, n_inner, k,       \
                                         stream);
        ROW(F32, float, float, uint64_t)
        ROW(F16, __half, float, uint64_t)
        ROW(BF16, __nv_bfloat16, float, uint64_t)
        ROW(F64, double, double, wide_entry)
        ROW(I8, int8_t, int32_t, uint64_t)
        ROW(U8, uint8_t, uint32_t, uint64_t)
        ROW(I16, int16_t, int32_t, uint64_t)
        ROW(U16, uint16_t, uint32_t, uint64_t)
        ROW(I32, int32_t, int32_t, uint64_t)
        ROW(U32, uint32_t, uint32_t, uint64_t)
        ROW(I64, int64_t, int64_t, wide_entry)
        ROW(U64, uint64_t, uint64_t, wide_entry)
#undef ROW
    default:
        return cudaErrorInvalidValue;
    }
}
