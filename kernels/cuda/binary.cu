/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of two inputs, element by element with broadcasting (ONNX, opset 17): arithmetic,
 * comparison, logic, Pow, PRelu, Where, and what the variadic Max, Min, Sum and Mean are made of.
 * The plain kernels.
 *
 * One thread an element of the result in a grid-stride loop. The host has merged dimensions that
 * run on evenly (kernels/nodes/broadcast.h), so that operands of equal shape, and a scalar with
 * anything, come as one dimension and need no division at all. The table of dimensions and strides
 * is a kernel argument: it lies in constant memory and is the same for all threads.
 *
 * F32 arithmetic has a kernel per operator, for the models' sake; other types have one kernel per
 * type that chooses inside (a uniform branch), as has comparison. Halves are computed in F32 and
 * rounded once; where no operand is walked by more than one dimension a thread takes four of them
 * through 64-bit queues, as unary.cu does.
 *
 * Integers wrap like numpy's; division by integer zero gives 0. Max and Min pass a NaN of either
 * side on. y may be a or b where that operand is not repeated: each thread reads its elements
 * before it writes, and no other thread reads what it writes.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include <math.h>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

template <typename T> static __device__ __forceinline__ T real_pair(enum enso_op op, T p, T q)
{
    switch (op) {
    case ENSO_OP_ADD:
        return p + q;
    case ENSO_OP_SUB:
        return p - q;
    case ENSO_OP_MUL:
        return p * q;
    case ENSO_OP_DIV:
        return p / q;
    case ENSO_OP_MAX:
        return p > q || p != p ? p : q;
    case ENSO_OP_MIN:
        return p < q || p != p ? p : q;
    case ENSO_OP_PRELU:
        return p < 0 ? p * q : p;
    case ENSO_OP_MOD: { /* the divisor's sign */
        const T r = fmod(p, q);

        return r != 0 && (p < 0) != (q < 0) ? r + q : r;
    }
    default: /* what the launcher makes of Mod with fmod = 1: the dividend's sign */
        return fmod(p, q);
    }
}
/* Stands for Mod with fmod = 1, which has no operator of its own. */
#define OP_FMOD ENSO_OP_NONE

template <typename T> static __device__ __forceinline__ T whole_pair(enum enso_op op, T p, T q)
{
    /* A divisor of -1 would overflow for the least number, one of 0 has no answer. */
    const bool odd = q == 0 || (std::is_signed<T>::value && q == (T)-1);

    switch (op) {
    case ENSO_OP_ADD:
        return (T)((uint64_t)p + (uint64_t)q);
    case ENSO_OP_SUB:
        return (T)((uint64_t)p - (uint64_t)q);
    case ENSO_OP_MUL:
        return (T)((uint64_t)p * (uint64_t)q);
    case ENSO_OP_DIV:
        return q == 0 ? (T)0 : odd ? (T)(0 - (uint64_t)p) : (T)(p / q);
    case ENSO_OP_MAX:
        return p > q ? p : q;
    case ENSO_OP_MIN:
        return p < q ? p : q;
    case ENSO_OP_PRELU:
        return enso_negative(p) ? (T)((uint64_t)p * (uint64_t)q) : p;
    case ENSO_OP_MOD: {
        const T r = odd ? (T)0 : (T)(p % q);

        return r != 0 && enso_negative(r) != enso_negative(q) ? (T)(r + q) : r;
    }
    default:
        return odd ? (T)0 : (T)(p % q);
    }
}

template <typename T> static __device__ __forceinline__ bool compares(enum enso_op op, T p, T q)
{
    switch (op) {
    case ENSO_OP_EQUAL:
        return p == q;
    case ENSO_OP_LESS:
        return p < q;
    case ENSO_OP_LESS_OR_EQUAL:
        return p <= q;
    case ENSO_OP_GREATER:
        return p > q;
    default:
        return p >= q;
    }
}

static __device__ __forceinline__ bool logic_pair(enum enso_op op, bool p, bool q)
{
    switch (op) {
    case ENSO_OP_AND:
        return p && q;
    case ENSO_OP_OR:
        return p || q;
    case ENSO_OP_XOR:
        return p != q;
    default: /* Equal */
        return p == q;
    }
}

/* y[i] = VALUE of p and q, the operands' elements. */
#define PAIRS(VALUE)                                                                               \
    const bool small = enso_small(n);                                                              \
                                                                                                   \
    ENSO_GRID_STRIDE(i, n)                                                                         \
    {                                                                                              \
        uint64_t at[2];                                                                            \
                                                                                                   \
        enso_broadcast_offsets(shape, i, small, at);                                               \
        const auto p = a[at[0]];                                                                   \
        const auto q = b[at[1]];                                                                   \
        y[i] = (VALUE);                                                                            \
    }

template <enum enso_op OP>
static __global__ void pairs_f32(const float *a, const float *b, float *y, size_t n,
                                 struct enso_cuda_broadcast shape)
{
    PAIRS(real_pair<float>(OP, p, q))
}

static __global__ void pairs_f64(enum enso_op op, const double *a, const double *b, double *y,
                                 size_t n, struct enso_cuda_broadcast shape)
{
    PAIRS(real_pair<double>(op, p, q))
}

template <typename T>
static __global__ void pairs_half(enum enso_op op, const T *a, const T *b, T *y, size_t n,
                                  struct enso_cuda_broadcast shape)
{
    PAIRS(enso_from_float<T>(real_pair<float>(op, enso_to_float(p), enso_to_float(q))))
}

/* Four elements of an operand of halves, or one of them four times. */
template <typename T>
static __device__ __forceinline__ uint64_t quad(const T *x, size_t i, bool repeated)
{
    return repeated ? enso_bits(x[0]) * (uint64_t)0x0001000100010001
                    : *(const uint64_t *)(const void *)(x + 4 * i);
}

/* n a multiple of four, all pointers aligned to four elements. */
template <typename T>
static __global__ void quads_half(enum enso_op op, const T *a, const T *b, T *y, size_t n_quads,
                                  bool a_repeated, bool b_repeated)
{
    ENSO_GRID_STRIDE(i, n_quads)
    {
        uint64_t p = quad(a, i, a_repeated), q = quad(b, i, b_repeated);

#pragma unroll 1
        for (unsigned left = 4; left > 0; left--, q >>= 16) {
            const float v = real_pair<float>(op, enso_bits_to_float<T>((uint16_t)p),
                                             enso_bits_to_float<T>((uint16_t)q));

            p = p >> 16 | (uint64_t)enso_bits(enso_from_float<T>(v)) << 48;
        }
        *(uint64_t *)(void *)(y + 4 * i) = p;
    }
}

template <typename T>
static __global__ void pairs_whole(enum enso_op op, const T *a, const T *b, T *y, size_t n,
                                   struct enso_cuda_broadcast shape)
{
    PAIRS(whole_pair<T>(op, p, q))
}

template <typename T>
static __global__ void pairs_compare(enum enso_op op, const T *a, const T *b, uint8_t *y, size_t n,
                                     struct enso_cuda_broadcast shape)
{
    PAIRS(compares(op, enso_widen(p), enso_widen(q)) ? 1 : 0)
}

static __global__ void pairs_logic(enum enso_op op, const uint8_t *a, const uint8_t *b, uint8_t *y,
                                   size_t n, struct enso_cuda_broadcast shape)
{
    PAIRS(logic_pair(op, p != 0, q != 0) ? 1 : 0)
}

/* An exponent, whatever its type: signed and unsigned integers keep all their bits. */
struct exponent {
    double real;
    uint64_t whole; /* wraps for negative ones */
    bool is_whole, negative;
};

template <typename T> static __device__ __forceinline__ struct exponent exponent_of(T v)
{
    struct exponent e = {(double)v, 0, false, false};

    if constexpr (std::is_integral<T>::value)
        e = {(double)v, (uint64_t)v, true, enso_negative(v)};
    return e;
}

static __device__ __forceinline__ struct exponent read_exponent(enum enso_dtype dtype,
                                                                const void *b, uint64_t at)
{
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return exponent_of(enso_widen(((const type *)b)[at]));
        ENSO_FLOAT_TYPES(ROW)
        ROW(F64, double)
        ROW(I8, int8_t)
        ROW(U8, uint8_t)
        ROW(I16, int16_t)
        ROW(U16, uint16_t)
        ROW(I32, int32_t)
        ROW(U32, uint32_t)
        ROW(I64, int64_t)
#undef ROW
    default:
        return exponent_of(((const uint64_t *)b)[at]);
    }
}

/* Squares and roots, the most common, are exact to the last bit. */
static __device__ __forceinline__ float power(float p, const struct exponent &e)
{
    const float q = (float)e.real;

    return q == 2.0f ? p * p : q == 0.5f && p >= 0 ? sqrtf(p) : q == 1.0f ? p : powf(p, q);
}

static __device__ __forceinline__ double power(double p, const struct exponent &e)
{
    return pow(p, e.real);
}

/* By squaring, wrapping. To a negative whole power: 1 / p truncated, 0 unless p is 1 or -1. To a
 * real one: saturated into the type, NaN gives 0. */
template <typename T>
static __device__ __forceinline__ T whole_power(T p, const struct exponent &e, double least,
                                                double most)
{
    if (!e.is_whole) {
        const double v = pow((double)p, e.real);

        return v != v       ? (T)0
               : v <= least ? (T)((uint64_t)1 << (sizeof(T) * 8 - 1))
               : v >= most  ? (T)(((uint64_t)1 << (sizeof(T) * 8 - 1)) - 1)
                            : (T)v;
    }
    if (e.negative)
        return p == 1 ? (T)1 : p == -1 ? (T)((e.whole & 1) != 0 ? -1 : 1) : (T)0;
    uint64_t y = 1, base = (uint64_t)p;

    for (uint64_t left = e.whole; left != 0; left >>= 1, base *= base)
        if ((left & 1) != 0)
            y *= base;
    return (T)y;
}

static __device__ __forceinline__ int32_t power(int32_t p, const struct exponent &e)
{
    return whole_power(p, e, -2147483648.0, 2147483647.0);
}

static __device__ __forceinline__ int64_t power(int64_t p, const struct exponent &e)
{
    return whole_power(p, e, -9223372036854775808.0, 9223372036854775808.0);
}

template <typename T>
static __global__ void powers(enum enso_dtype b_dtype, const T *a, const void *b, T *y, size_t n,
                              struct enso_cuda_broadcast shape)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t at[2];

        enso_broadcast_offsets(shape, i, small, at);
        y[i] = enso_narrow<T>(power(enso_widen(a[at[0]]), read_exponent(b_dtype, b, at[1])));
    }
}

template <typename T> static __global__ void divide(T *y, size_t n, typename enso_wide<T>::type by)
{
    ENSO_GRID_STRIDE(i, n)
    {
        y[i] = enso_narrow<T>(enso_widen(y[i]) / by);
    }
}

template <typename T>
static __global__ void select(const uint8_t *condition, const T *a, const T *b, T *y, size_t n,
                              struct enso_cuda_broadcast shape)
{
    const bool small = enso_small(n);

    ENSO_GRID_STRIDE(i, n)
    {
        uint64_t at[3];

        enso_broadcast_offsets(shape, i, small, at);
        y[i] = condition[at[0]] != 0 ? a[at[1]] : b[at[2]];
    }
}

/* What a launch needs, so that the switches below stay short. */
struct launch {
    const void *a, *b;
    void *y;
    size_t n;
    const struct enso_cuda_broadcast *shape;
    cudaStream_t stream;
};
#define GRID(l) dim3(enso_blocks((l).n, BLOCK)), dim3(BLOCK), 0, (l).stream

static int launch_f32(enum enso_op op, const struct launch &l)
{
    switch (op) {
#define ROW(name)                                                                                  \
    case name:                                                                                     \
        return enso_launch(pairs_f32<name>, GRID(l), (const float *)l.a, (const float *)l.b,       \
                           (float *)l.y, l.n, *l.shape);
        ROW(ENSO_OP_ADD)
        ROW(ENSO_OP_SUB)
        ROW(ENSO_OP_MUL)
        ROW(ENSO_OP_DIV)
        ROW(ENSO_OP_MAX)
        ROW(ENSO_OP_MIN)
        ROW(ENSO_OP_PRELU)
        ROW(ENSO_OP_MOD)
        ROW(OP_FMOD)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

#define WHOLE_TYPES(ROW)                                                                           \
    ROW(I8, int8_t)                                                                                \
    ROW(U8, uint8_t)                                                                               \
    ROW(I16, int16_t)                                                                              \
    ROW(U16, uint16_t)                                                                             \
    ROW(I32, int32_t)                                                                              \
    ROW(U32, uint32_t)                                                                             \
    ROW(I64, int64_t)                                                                              \
    ROW(U64, uint64_t)

template <typename T> static int launch_half(enum enso_op op, const struct launch &l)
{
    const uint64_t a = l.shape->strides[0][0], b = l.shape->strides[1][0];

    if (l.shape->rank == 1 && a <= 1 && b <= 1 && l.n % 4 == 0 &&
        ((uintptr_t)l.a | (uintptr_t)l.b | (uintptr_t)l.y) % 8 == 0)
        return enso_launch(quads_half<T>, dim3(enso_blocks(l.n / 4, BLOCK)), dim3(BLOCK), 0,
                           l.stream, op, (const T *)l.a, (const T *)l.b, (T *)l.y, l.n / 4, a == 0,
                           b == 0);
    return enso_launch(pairs_half<T>, GRID(l), op, (const T *)l.a, (const T *)l.b, (T *)l.y, l.n,
                       *l.shape);
}

static int launch_arithmetic(enum enso_op op, enum enso_dtype dtype, const struct launch &l)
{
    switch (dtype) {
    case ENSO_DTYPE_F32:
        return launch_f32(op, l);
    case ENSO_DTYPE_F16:
        return launch_half<__half>(op, l);
    case ENSO_DTYPE_BF16:
        return launch_half<__nv_bfloat16>(op, l);
    case ENSO_DTYPE_F64:
        return enso_launch(pairs_f64, GRID(l), op, (const double *)l.a, (const double *)l.b,
                           (double *)l.y, l.n, *l.shape);
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(pairs_whole<type>, GRID(l), op, (const type *)l.a, (const type *)l.b,   \
                           (type *)l.y, l.n, *l.shape);
        WHOLE_TYPES(ROW)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

static int launch_compare(enum enso_op op, enum enso_dtype dtype, const struct launch &l)
{
    switch (dtype) {
    case ENSO_DTYPE_BOOL:
        return enso_launch(pairs_logic, GRID(l), op, (const uint8_t *)l.a, (const uint8_t *)l.b,
                           (uint8_t *)l.y, l.n, *l.shape);
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(pairs_compare<type>, GRID(l), op, (const type *)l.a, (const type *)l.b, \
                           (uint8_t *)l.y, l.n, *l.shape);
        ENSO_FLOAT_TYPES(ROW)
        ROW(F64, double)
        WHOLE_TYPES(ROW)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

static int launch_powers(enum enso_dtype dtype, enum enso_dtype b_dtype, const struct launch &l)
{
    switch (dtype) {
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(powers<type>, GRID(l), b_dtype, (const type *)l.a, l.b, (type *)l.y,    \
                           l.n, *l.shape);
        ENSO_FLOAT_TYPES(ROW)
        ROW(F64, double)
        ROW(I32, int32_t)
        ROW(I64, int64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

int enso_cuda_binary(enum enso_op op, bool fmod, enum enso_dtype dtype, enum enso_dtype b_dtype,
                     const void *a, const void *b, void *y, size_t n,
                     const struct enso_cuda_broadcast *shape, cudaStream_t stream)
{
    const struct launch l = {a, b, y, n, shape, stream};

    if (n == 0)
        return (int)cudaSuccess;
    switch (op) {
    case ENSO_OP_POW:
        return launch_powers(dtype, b_dtype, l);
    case ENSO_OP_EQUAL:
    case ENSO_OP_LESS:
    case ENSO_OP_LESS_OR_EQUAL:
    case ENSO_OP_GREATER:
    case ENSO_OP_GREATER_OR_EQUAL:
    case ENSO_OP_AND:
    case ENSO_OP_OR:
    case ENSO_OP_XOR:
        return launch_compare(op, dtype, l);
    case ENSO_OP_SUM:
    case ENSO_OP_MEAN:
        return launch_arithmetic(ENSO_OP_ADD, dtype, l);
    case ENSO_OP_MOD:
        return launch_arithmetic(fmod ? OP_FMOD : op, dtype, l);
    default:
        return launch_arithmetic(op, dtype, l);
    }
}

int enso_cuda_divide(enum enso_dtype dtype, void *y, size_t n, size_t by, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (dtype) {
#define ROW(name, T)                                                                               \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(divide<T>, grid, block, 0, stream, (T *)y, n, (enso_wide<T>::type)by);
        ENSO_FLOAT_TYPES(ROW)
        ROW(F64, double)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

int enso_cuda_where(size_t bytes, const uint8_t *condition, const void *a, const void *b, void *y,
                    size_t n, const struct enso_cuda_broadcast *shape, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (bytes) {
#define ROW(size, type)                                                                            \
    case size:                                                                                     \
        return enso_launch(select<type>, grid, block, 0, stream, condition, (const type *)a,       \
                           (const type *)b, (type *)y, n, *shape);
        ROW(1, uint8_t)
        ROW(2, uint16_t)
        ROW(4, uint32_t)
        ROW(8, uint64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}
