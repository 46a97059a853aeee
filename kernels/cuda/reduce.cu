/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions over any axes, ArgMax and ArgMin: the plain kernels.
 *
 * Two forms of each, chosen by what one output reads and never by how many outputs there are (a
 * row's bits must not depend on its batch): where an output's inputs stand side by side whatever
 * the batch, a block takes one output, its threads every blockDim-th element, then a tree over the
 * block; else one thread an output, neighbours reading neighbouring addresses. Inputs that are
 * neighbours only because a batch has one row are taken by one thread.
 *
 * Floats, halves among them, are summed in double: a reduction is bound by memory (4 bytes an
 * element against one addition; even a card with 1/32 of its FP32 rate for FP64 adds faster than it
 * reads), and the sums of long rows that nearly cancel stay right to the last bit of the result.
 * Types are chosen inside of the kernel, a uniform branch, so that there is not one kernel per type
 * and operator. No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include <math.h>

#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"

#define BLOCK 128
/* Rows shorter than this are not worth more than a warp. */
#define LONG_ROW 1024
/* And shorter than this not more than a thread. */
#define SHORT_ROW 32

/* Element `at` as double or int64_t (which wraps, as the CPU's kernels do). */
template <typename A> static __device__ A load(enum enso_dtype dtype, const void *x, uint64_t at)
{
    switch (dtype) {
#define LOAD(name, type)                                                                           \
    case ENSO_DTYPE_##name:                                                                        \
        return (A)enso_widen(((const type *)x)[at]);
        LOAD(F32, float)
        ENSO_HALF_TYPES(LOAD)
        LOAD(F64, double)
        LOAD(I8, int8_t)
        LOAD(U8, uint8_t)
        LOAD(I16, int16_t)
        LOAD(U16, uint16_t)
        LOAD(I32, int32_t)
        LOAD(U32, uint32_t)
        LOAD(I64, int64_t)
        LOAD(BOOL, uint8_t)
#undef LOAD
    case ENSO_DTYPE_U64:
        return (A)(int64_t)((const uint64_t *)x)[at];
    default:
        return 0;
    }
}

static __device__ void store(enum enso_dtype dtype, void *y, uint64_t at, double v)
{
    switch (dtype) {
    case ENSO_DTYPE_F64:
        ((double *)y)[at] = v;
        break;
#define STORE(name, type)                                                                          \
    case ENSO_DTYPE_##name:                                                                        \
        ((type *)y)[at] = enso_from_float<type>(enso_odd_float(v));                                \
        break;
        ENSO_HALF_TYPES(STORE)
#undef STORE
    default:
        ((float *)y)[at] = (float)v;
        break;
    }
}

static __device__ void store(enum enso_dtype dtype, void *y, uint64_t at, int64_t v)
{
    switch (dtype) {
#define STORE(name, type)                                                                          \
    case ENSO_DTYPE_##name:                                                                        \
        ((type *)y)[at] = (type)v;                                                                 \
        break;
        STORE(I8, int8_t)
        STORE(U8, uint8_t)
        STORE(I16, int16_t)
        STORE(U16, uint16_t)
        STORE(I32, int32_t)
        STORE(U32, uint32_t)
        STORE(I64, int64_t)
        STORE(U64, uint64_t)
#undef STORE
    case ENSO_DTYPE_BOOL:
        ((uint8_t *)y)[at] = v != 0;
        break;
    default:
        break;
    }
}

/* What is neutral to combine(). */
static __device__ double start(enum enso_op op, double)
{
    return op == ENSO_OP_REDUCE_MAX    ? -(double)INFINITY
           : op == ENSO_OP_REDUCE_MIN  ? (double)INFINITY
           : op == ENSO_OP_REDUCE_PROD ? 1
                                       : 0;
}

static __device__ int64_t start(enum enso_op op, int64_t)
{
    return op == ENSO_OP_REDUCE_MAX    ? INT64_MIN
           : op == ENSO_OP_REDUCE_MIN  ? INT64_MAX
           : op == ENSO_OP_REDUCE_PROD ? 1
                                       : 0;
}

/* Two partial results; a NaN wins. */
static __device__ double combine(enum enso_op op, double a, double b)
{
    switch (op) {
    case ENSO_OP_REDUCE_MAX:
        return b > a || b != b ? b : a;
    case ENSO_OP_REDUCE_MIN:
        return b < a || b != b ? b : a;
    case ENSO_OP_REDUCE_PROD:
        return a * b;
    default:
        return a + b;
    }
}

static __device__ int64_t combine(enum enso_op op, int64_t a, int64_t b)
{
    switch (op) {
    case ENSO_OP_REDUCE_MAX:
        return b > a ? b : a;
    case ENSO_OP_REDUCE_MIN:
        return b < a ? b : a;
    case ENSO_OP_REDUCE_PROD:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    default:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    }
}

/* What an element brings to the sum; `max`: what LogSumExp takes off. */
static __device__ double contribution(enum enso_op op, double v, double max)
{
    switch (op) {
    case ENSO_OP_REDUCE_L1:
        return fabs(v);
    case ENSO_OP_REDUCE_L2:
    case ENSO_OP_REDUCE_SUM_SQUARE:
        return v * v;
    case ENSO_OP_REDUCE_LOG_SUM_EXP:
        return exp(v - max);
    default:
        return v;
    }
}

static __device__ int64_t contribution(enum enso_op op, int64_t v, int64_t)
{
    switch (op) {
    case ENSO_OP_REDUCE_L1:
        return v < 0 ? (int64_t)(0 - (uint64_t)v) : v;
    case ENSO_OP_REDUCE_L2:
    case ENSO_OP_REDUCE_SUM_SQUARE:
        return (int64_t)((uint64_t)v * (uint64_t)v);
    default:
        return v;
    }
}

static __device__ double finish(enum enso_op op, double v, double max, uint64_t n)
{
    switch (op) {
    case ENSO_OP_REDUCE_MEAN:
        return v / (double)n;
    case ENSO_OP_REDUCE_L2:
        return sqrt(v);
    case ENSO_OP_REDUCE_LOG_SUM:
        return log(v);
    case ENSO_OP_REDUCE_LOG_SUM_EXP:
        return log(v) + max;
    default:
        return v;
    }
}

static __device__ int64_t finish(enum enso_op op, int64_t v, int64_t, uint64_t n)
{
    switch (op) {
    case ENSO_OP_REDUCE_MEAN:
        return n == 0 ? 0 : v / (int64_t)n;
    case ENSO_OP_REDUCE_L2:
        return (int64_t)sqrt((double)v);
    case ENSO_OP_REDUCE_LOG_SUM:
        return v <= 0 ? 0 : (int64_t)log((double)v);
    default:
        return v;
    }
}

/* Number `index` of the dimensions dims as an offset in elements. In 32 bits where the index fits:
 * a division of 64 bits costs several times as much. */
template <typename Index>
static __device__ uint64_t offset_of(Index index, uint32_t rank, const Index *dims,
                                     const uint64_t *strides)
{
    uint64_t offset = 0;

#pragma unroll 1
    for (uint32_t d = rank; d-- > 1;) {
        const Index quotient = index / dims[d];

        offset += (index - quotient * dims[d]) * strides[d];
        index = quotient;
    }
    return rank == 0 ? 0 : offset + index * strides[0];
}

/* Every step-th element of one output's inputs, from `first` on. */
template <typename A>
static __device__ A walk(const struct enso_cuda_reduce &r, enum enso_op op, const void *x,
                         uint64_t base, uint32_t first, uint32_t step, A max)
{
    A sum = start(op, A());

#pragma unroll 1
    for (uint64_t i = first; i < r.n; i += step) {
        const uint64_t at =
            base + offset_of((uint32_t)i, r.n_reduced, r.reduced_dims, r.reduced_strides);

        sum = combine(op, sum, contribution(op, load<A>(r.dtype, x, at), max));
    }
    return sum;
}

/* Infinities stay as they are instead of becoming NaN by infinity minus infinity. */
template <typename A> static __device__ A sound_maximum(A max)
{
    return isinf((double)max) ? (A)0 : max;
}

static __host__ __device__ inline bool is_real(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F32 || dtype == ENSO_DTYPE_F64 || dtype == ENSO_DTYPE_F16 ||
           dtype == ENSO_DTYPE_BF16;
}

/* Integers of LogSumExp are reduced in double and cut afterwards. */
template <typename A>
static __device__ void finish_store(const struct enso_cuda_reduce &r, void *y, uint64_t o, A sum,
                                    A max)
{
    const A v = finish(r.op, sum, max, r.n);

    if (r.op == ENSO_OP_REDUCE_LOG_SUM_EXP && !is_real(r.dtype))
        store(r.dtype, y, o, sum > 0 ? (int64_t)v : (int64_t)0);
    else
        store(r.dtype, y, o, v);
}

template <typename A>
static __global__ void __launch_bounds__(BLOCK)
    reduce_threads(const struct enso_cuda_reduce r, const void *x, void *y)
{
    ENSO_GRID_STRIDE(o, r.n_outputs)
    {
        const uint64_t base = offset_of(o, r.n_kept, r.kept_dims, r.kept_strides);
        A max = 0;

        if (r.op == ENSO_OP_REDUCE_LOG_SUM_EXP)
            max = sound_maximum(walk<A>(r, ENSO_OP_REDUCE_MAX, x, base, 0, 1, (A)0));
        finish_store(r, y, o, walk<A>(r, r.op, x, base, 0, 1, max), max);
    }
}

/* The block's partial results as one, known to all threads. blockDim is a power of two. */
template <typename A> static __device__ A tree(enum enso_op op, A v, A *partial)
{
    partial[threadIdx.x] = v;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            partial[threadIdx.x] = combine(op, partial[threadIdx.x], partial[threadIdx.x + half]);
        __syncthreads();
    }
    v = partial[0];
    __syncthreads(); /* before anyone writes again */
    return v;
}

template <typename A>
static __global__ void __launch_bounds__(BLOCK)
    reduce_blocks(const struct enso_cuda_reduce r, const void *x, void *y)
{
    ENSO_SHARED(A, partial, BLOCK);

    for (uint64_t o = blockIdx.x; o < r.n_outputs; o += gridDim.x) {
        const uint64_t base = offset_of(o, r.n_kept, r.kept_dims, r.kept_strides);
        A max = 0;

        if (r.op == ENSO_OP_REDUCE_LOG_SUM_EXP)
            max = sound_maximum(tree(
                ENSO_OP_REDUCE_MAX,
                walk<A>(r, ENSO_OP_REDUCE_MAX, x, base, threadIdx.x, blockDim.x, (A)0), partial));
        const A sum = tree(r.op, walk<A>(r, r.op, x, base, threadIdx.x, blockDim.x, max), partial);

        if (threadIdx.x == 0)
            finish_store(r, y, o, sum, max);
    }
}

template <typename A>
static int launch_reduce(const struct enso_cuda_reduce *r, const void *x, void *y,
                         cudaStream_t stream)
{
    if (r->n >= SHORT_ROW && r->side_by_side)
        return enso_launch(reduce_blocks<A>, dim3(enso_blocks(r->n_outputs, 1)),
                           dim3(r->n >= LONG_ROW ? BLOCK : 32), 0, stream, *r, x, y);
    return enso_launch(reduce_threads<A>, dim3(enso_blocks(r->n_outputs, BLOCK)), dim3(BLOCK), 0,
                       stream, *r, x, y);
}

extern "C" int enso_cuda_reduce(const struct enso_cuda_reduce *r, const void *x, void *y,
                                cudaStream_t stream)
{
    if (r->n_outputs == 0)
        return cudaSuccess;
    if (is_real(r->dtype) || r->op == ENSO_OP_REDUCE_LOG_SUM_EXP)
        return launch_reduce<double>(r, x, y, stream);
    return launch_reduce<int64_t>(r, x, y, stream);
}

/* ---- ArgMax, ArgMin ---- */

template <typename T> struct candidate {
    T value;
    uint64_t at;
};

/* The better of two. It orders all candidates (NaN before numbers, then value, then place), so the
 * result does not depend on who is asked first. */
template <typename T>
static __device__ struct candidate<T> better(struct candidate<T> a, struct candidate<T> b, bool min,
                                             bool last) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;

    if (a_nan || b_nan)
        return a_nan && (!b_nan || a.at < b.at) ? a : b;
    if (a.value == b.value)
        return (a.at < b.at) != last ? a : b;
    return (a.value < b.value) == min ? a : b;
}

/* Halves are compared as floats. */
template <typename T, typename Wide = typename enso_wide<T>::type>
static __device__ struct candidate<Wide> search(const T *x, uint64_t n, uint64_t stride,
                                                uint64_t first, uint64_t step, bool min,
                                                bool last) {
    struct candidate<Wide> best = {
        enso_widen(x[first * stride]), first
    };

    for (uint64_t i = first + step; i < n; i += step) {
        const struct candidate<Wide> next = {
            enso_widen(x[i * stride]), i
        };

        best = better(best, next, min, last);
    }
    return best;
}

template <typename T, typename Wide = typename enso_wide<T>::type>
static __global__ void __launch_bounds__(BLOCK)
    arg_threads(const T *x, int64_t *y, size_t n_outputs, size_t n, size_t inner, bool min,
                bool last)
{
    ENSO_GRID_STRIDE(o, n_outputs)
    y[o] = (int64_t)search<T>(x + o / inner * n * inner + o % inner, n, inner, 0, 1, min, last).at;
}

/* Rows side by side; n is at least the block. */
template <typename T, typename Wide = typename enso_wide<T>::type>
static __global__ void __launch_bounds__(BLOCK)
    arg_blocks(const T *x, int64_t *y, size_t n_rows, size_t n, bool min, bool last)
{
    ENSO_SHARED(Wide, values, BLOCK);
    ENSO_SHARED(uint64_t, places, BLOCK);

    for (size_t row = blockIdx.x; row < n_rows; row += gridDim.x) {
        const struct candidate<Wide> own =
            search<T>(x + row * n, n, (uint64_t)1, threadIdx.x, blockDim.x, min, last);

        values[threadIdx.x] = own.value;
        places[threadIdx.x] = own.at;
        __syncthreads();
        for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
            if (threadIdx.x < half) {
                const struct candidate<Wide> a = {
                    values[threadIdx.x], places[threadIdx.x]
                };
                const struct candidate<Wide> b = {
                    values[threadIdx.x + half], places[threadIdx.x + half]
                };
                const struct candidate<Wide> best = better(a, b, min, last);

                values[threadIdx.x] = best.value;
                places[threadIdx.x] = best.at;
            }
            __syncthreads();
        }
        if (threadIdx.x == 0)
            y[row] = (int64_t)places[0];
        __syncthreads();
    }
}

template <typename T>
static int launch_arg(bool min, bool last, const void *x, int64_t *y, size_t n_outer, size_t n,
                      size_t n_inner, cudaStream_t stream)
{
    const size_t n_outputs = n_outer * n_inner;

    if (n_inner == 1 && n >= BLOCK)
        return enso_launch(arg_blocks<T>, dim3(enso_blocks(n_outer, 1)),
                           dim3(n >= LONG_ROW ? BLOCK : 32), 0, stream, (const T *)x, y, n_outer, n,
                           min, last);
    return enso_launch(arg_threads<T>, dim3(enso_blocks(n_outputs, BLOCK)), dim3(BLOCK), 0, stream,
                       (const T *)x, y, n_outputs, n, n_inner, min, last);
}

extern "C" int enso_cuda_arg(enum enso_dtype dtype, bool min, bool last, const void *x, int64_t *y,
                             size_t n_outer, size_t n, size_t n_inner, cudaStream_t stream)
{
    if (n_outer == 0 || n_inner == 0)
        return cudaSuccess;
    if (n == 0)
        return cudaErrorInvalidValue;
    switch (dtype) {
#define ARG(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return launch_arg<type>(min, last, x, y, n_outer, n, n_inner, stream);
        ARG(F32, float)
        ENSO_HALF_TYPES(ARG)
        ARG(F64, double)
        ARG(I8, int8_t)
        ARG(U8, uint8_t)
        ARG(I16, int16_t)
        ARG(U16, uint16_t)
        ARG(I32, int32_t)
        ARG(U32, uint32_t)
        ARG(I64, int64_t)
        ARG(U64, uint64_t)
        ARG(BOOL, uint8_t)
#undef ARG
    default:
        return cudaErrorInvalidValue;
    }
}
