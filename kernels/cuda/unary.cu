/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of one input, element by element (ONNX, opset 17; Gelu opset 20): the plain kernels.
 *
 * One thread an element in a grid-stride loop: such an operator moves 8 bytes and computes little,
 * so memory is what bounds it, and neighbouring threads touch neighbouring elements. F32, the type
 * that models run in, has a kernel per operator, so that each gets the registers it needs and no
 * more; all other types share one kernel per type that chooses inside, which costs a uniform branch
 * and saves some seventy kernels for every architecture in the module. Halves are computed in F32,
 * four to a thread: they stand in a 64-bit queue that each result enters as its argument leaves, so
 * that the code of all operators is there once and nothing is indexed. (Sin and Cos would need
 * local memory there and have kernels of their own.)
 *
 * No fast-math: erf, exp, tanh and log are the full functions of the CUDA math library (errors of
 * one or two units in the last place). NaN stays NaN. x and y may be the same memory: each thread
 * reads its element before it writes it, and no other thread touches it.
 * Sin and Cos have no F64 kernel: reducing a large double needs a stack frame, which no kernel here
 * may have (spills and local memory fail the build), and no model asks for it.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/device.cuh"

#include <math.h>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_elements.h"

#define BLOCK 256

/* The sigmoid's exp(-v) may overflow to infinity: 1 / infinity is the 0 that is right. */
template <typename T>
static __device__ __forceinline__ T real_value(enum enso_op op, T v,
                                               const struct enso_cuda_unary &p)
{
    const T alpha = (T)p.alpha, beta = (T)p.beta, one = (T)1;

    switch (op) {
    case ENSO_OP_ABS:
        return fabs(v);
    case ENSO_OP_CEIL:
        return ceil(v);
    case ENSO_OP_ELU:
        return v < 0 ? alpha * expm1(v) : v;
    case ENSO_OP_ERF:
        return erf(v);
    case ENSO_OP_EXP:
        return exp(v);
    case ENSO_OP_FLOOR:
        return floor(v);
    case ENSO_OP_GELU:
        if (p.tanh_gelu)
            return (T)0.5 * v *
                   (one + tanh((T)0.79788456080286535588 * (v + (T)0.044715 * v * v * v)));
        return (T)0.5 * v * (one + erf(v * (T)0.70710678118654752440));
    case ENSO_OP_HARD_SIGMOID:
        return v != v ? v : fmax((T)0, fmin(one, alpha * v + beta));
    case ENSO_OP_HARD_SWISH:
        return v != v ? v : v * fmax((T)0, fmin(one, v / (T)6 + (T)0.5));
    case ENSO_OP_LEAKY_RELU:
        return v < 0 ? alpha * v : v;
    case ENSO_OP_LOG:
        return log(v);
    case ENSO_OP_MISH: /* beyond 20 softplus is v to the last bit of F32 */
        return v * tanh(v > 20 ? v : log1p(exp(v)));
    case ENSO_OP_NEG:
        return -v;
    case ENSO_OP_RECIPROCAL:
        return one / v;
    case ENSO_OP_RELU:
        return v < 0 ? (T)0 : v;
    case ENSO_OP_ROUND: /* halves to even */
        return nearbyint(v);
    case ENSO_OP_SELU:
        return beta * (v < 0 ? alpha * expm1(v) : v);
    case ENSO_OP_SIGMOID:
        return one / (one + exp(-v));
    case ENSO_OP_SIGN: /* of zero and NaN: themselves */
        return v > 0 ? one : v < 0 ? -one : v;
    case ENSO_OP_SILU:
        return v / (one + exp(-v));
    case ENSO_OP_SOFTPLUS:
        return v != v ? v : fmax(v, (T)0) + log1p(exp(-fabs(v)));
    case ENSO_OP_SOFTSIGN:
        return v / (one + fabs(v));
    case ENSO_OP_SQRT:
        return sqrt(v);
    case ENSO_OP_TANH:
        return tanh(v);
    default:
        return v;
    }
}

/* Integers wrap like numpy's: the negative of the least is itself. */
template <typename T> static __device__ __forceinline__ T whole_value(enum enso_op op, T v)
{
    switch (op) {
    case ENSO_OP_ABS:
        return enso_negative(v) ? (T)(0 - (uint64_t)v) : v;
    case ENSO_OP_NEG:
        return (T)(0 - (uint64_t)v);
    case ENSO_OP_RELU:
        return enso_negative(v) ? (T)0 : v;
    case ENSO_OP_SIGN:
        return enso_negative(v) ? (T)-1 : (T)(v != 0);
    default:
        return v;
    }
}

/* With bounds the wrong way round the upper one wins, as in ONNX. Halves pass as floats. */
template <typename T, typename Wide = typename enso_wide<T>::type>
static __device__ __forceinline__ Wide clip(Wide v, const T *low, const T *high)
{
    if (low != NULL && v < enso_widen(*low))
        v = enso_widen(*low);
    return high != NULL && v > enso_widen(*high) ? enso_widen(*high) : v;
}

/* F32, and of halves what the kernel for all operators cannot hold. */
template <enum enso_op OP, typename T>
static __global__ void unary(const T *x, T *y, size_t n, struct enso_cuda_unary p)
{
    ENSO_GRID_STRIDE(i, n)
    {
        const float v = enso_to_float(x[i]);

        if (OP == ENSO_OP_CLIP)
            y[i] = enso_from_float<T>(clip(v, (const T *)p.low, (const T *)p.high));
        else if (OP == ENSO_OP_COS)
            y[i] = enso_from_float<T>(cosf(v));
        else if (OP == ENSO_OP_SIN)
            y[i] = enso_from_float<T>(sinf(v));
        else
            y[i] = enso_from_float<T>(real_value<float>(OP, v, p));
    }
}

static __global__ void unary_f64(enum enso_op op, const double *x, double *y, size_t n,
                                 struct enso_cuda_unary p)
{
    ENSO_GRID_STRIDE(i, n)
    {
        if (op == ENSO_OP_CLIP)
            y[i] = clip(x[i], (const double *)p.low, (const double *)p.high);
        else
            y[i] = real_value<double>(op, x[i], p);
    }
}

/* `quads`: x and y are aligned to four elements; else a thread takes one. The last one to three are
 * a thread's each, who reads its own. */
template <typename T>
static __global__ void unary_half(enum enso_op op, const T *x, T *y, size_t n, bool quads,
                                  struct enso_cuda_unary p)
{
    const size_t n_quads = quads ? n / 4 : 0, n_single = n - 4 * n_quads;

    ENSO_GRID_STRIDE(i, n_quads + n_single)
    {
        const bool whole = i < n_quads;
        const size_t at = whole ? 4 * i : 4 * n_quads + (i - n_quads);
        uint64_t queue = whole ? *(const uint64_t *)(const void *)(x + at) : enso_bits(x[at]);

#pragma unroll 1
        for (unsigned left = whole ? 4 : 1; left > 0; left--) {
            float v = enso_bits_to_float<T>((uint16_t)queue);

            v = op == ENSO_OP_CLIP ? clip(v, (const T *)p.low, (const T *)p.high)
                                   : real_value<float>(op, v, p);
            queue = queue >> 16 | (uint64_t)enso_bits(enso_from_float<T>(v)) << 48;
        }
        if (whole)
            *(uint64_t *)(void *)(y + at) = queue;
        else
            y[at] = enso_from_bits<T>((uint16_t)(queue >> 48));
    }
}

template <typename T>
static __global__ void unary_whole(enum enso_op op, const T *x, T *y, size_t n,
                                   struct enso_cuda_unary p)
{
    ENSO_GRID_STRIDE(i, n)
    {
        if (op == ENSO_OP_CLIP)
            y[i] = clip(x[i], (const T *)p.low, (const T *)p.high);
        else
            y[i] = whole_value(op, x[i]);
    }
}

static __global__ void unary_not(const uint8_t *x, uint8_t *y, size_t n)
{
    ENSO_GRID_STRIDE(i, n)
    {
        y[i] = x[i] == 0;
    }
}

static int launch_f32(enum enso_op op, const float *x, float *y, size_t n,
                      const struct enso_cuda_unary *p, cudaStream_t stream)
{
    switch (op) {
#define ROW(name)                                                                                  \
    case ENSO_OP_##name:                                                                           \
        return enso_launch(unary<ENSO_OP_##name, float>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), \
                           0, stream, x, y, n, *p);
        ROW(ABS)
        ROW(CEIL)
        ROW(CLIP)
        ROW(COS)
        ROW(ELU)
        ROW(ERF)
        ROW(EXP)
        ROW(FLOOR)
        ROW(GELU)
        ROW(HARD_SIGMOID)
        ROW(HARD_SWISH)
        ROW(LEAKY_RELU)
        ROW(LOG)
        ROW(MISH)
        ROW(NEG)
        ROW(RECIPROCAL)
        ROW(RELU)
        ROW(ROUND)
        ROW(SELU)
        ROW(SIGMOID)
        ROW(SIGN)
        ROW(SILU)
        ROW(SIN)
        ROW(SOFTPLUS)
        ROW(SOFTSIGN)
        ROW(SQRT)
        ROW(TANH)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}

template <typename T>
static int launch_half(enum enso_op op, const T *x, T *y, size_t n, const struct enso_cuda_unary *p,
                       cudaStream_t stream)
{
    const bool quads = ((uintptr_t)x | (uintptr_t)y) % 8 == 0;

    if (op == ENSO_OP_COS)
        return enso_launch(unary<ENSO_OP_COS, T>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0,
                           stream, x, y, n, *p);
    if (op == ENSO_OP_SIN)
        return enso_launch(unary<ENSO_OP_SIN, T>, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0,
                           stream, x, y, n, *p);
    return enso_launch(unary_half<T>, dim3(enso_blocks(quads ? n / 4 + n % 4 : n, BLOCK)),
                       dim3(BLOCK), 0, stream, op, x, y, n, quads, *p);
}

int enso_cuda_unary(enum enso_op op, enum enso_dtype dtype, const void *x, void *y, size_t n,
                    const struct enso_cuda_unary *args, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(n, BLOCK)), block(BLOCK);

    if (n == 0)
        return (int)cudaSuccess;
    switch (dtype) {
    case ENSO_DTYPE_F32:
        return launch_f32(op, (const float *)x, (float *)y, n, args, stream);
    case ENSO_DTYPE_F64:
        return enso_launch(unary_f64, grid, block, 0, stream, op, (const double *)x, (double *)y, n,
                           *args);
    case ENSO_DTYPE_F16:
        return launch_half(op, (const __half *)x, (__half *)y, n, args, stream);
    case ENSO_DTYPE_BF16:
        return launch_half(op, (const __nv_bfloat16 *)x, (__nv_bfloat16 *)y, n, args, stream);
    case ENSO_DTYPE_BOOL:
        return enso_launch(unary_not, grid, block, 0, stream, (const uint8_t *)x, (uint8_t *)y, n);
#define ROW(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(unary_whole<type>, grid, block, 0, stream, op, (const type *)x,         \
                           (type *)y, n, *args);
        ROW(I8, int8_t)
        ROW(U8, uint8_t)
        ROW(I16, int16_t)
        ROW(U16, uint16_t)
        ROW(I32, int32_t)
        ROW(U32, uint32_t)
        ROW(I64, int64_t)
        ROW(U64, uint64_t)
#undef ROW
    default:
        return (int)cudaErrorInvalidValue;
    }
}
