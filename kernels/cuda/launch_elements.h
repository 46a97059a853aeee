/* SPDX-License-Identifier: Apache-2.0
 *
 * Launchers of the plain kernels that work element by element or only move elements: unary.cu,
 * cast.cu, binary.cu, strided.cu, move.cu, pad.cu, pixels.cu. Plain C, for the host files node_*.c.
 *
 * Every launcher enqueues on `stream`, never allocates, never waits, and returns a cudaError_t as
 * int: cudaSuccess (also for nothing to do: then nothing is launched), what the launch reported, or
 * cudaErrorInvalidValue for an operator and type it has no kernel for (bind has refused those).
 * All pointers are device memory, aligned to their element; tensors are dense and row-major. Small
 * tables go by value. No result depends on how many blocks ran: each element is made by one thread
 * from its own operands, so a row's bits do not depend on what it is batched with.
 */
#ifndef ENSO_KERNELS_CUDA_LAUNCH_ELEMENTS_H
#define ENSO_KERNELS_CUDA_LAUNCH_ELEMENTS_H

#include "engine/tensor.h"
#include "kernels/cuda/launch.h"
#include "kernels/nodes/pixels_shape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What unary operators take besides their input. */
struct enso_cuda_unary {
    float alpha, beta;      /* ELU, HARD_SIGMOID, LEAKY_RELU; SELU: alpha and gamma */
    int tanh_gelu;          /* GELU: the tanh form, not erf */
    const void *low, *high; /* CLIP: one element each of the input's type, or NULL for no bound */
};

/* y[i] = op(x[i]), i < n; y may be exactly x. F32, F16, BF16 and F64 for all (but no SIN and
 * COS of F64), integers where ONNX allows them, NOT for BOOL (any byte but 0 counts as true). */
int enso_cuda_unary(enum enso_op op, enum enso_dtype dtype, const void *x, void *y, size_t n,
                    const struct enso_cuda_unary *args, cudaStream_t stream);

/* y[i] = x[i] in another type, all pairs of different types; y must not overlap x. */
int enso_cuda_cast(enum enso_dtype from, enum enso_dtype to, const void *x, void *y, size_t n,
                   cudaStream_t stream);

/* The result's shape, and for each operand its strides in elements (0 where it is repeated). */
struct enso_cuda_broadcast {
    uint32_t rank; /* 1 .. ENSO_MAX_RANK, the innermost dimension last */
    uint64_t dims[ENSO_MAX_RANK];
    uint64_t strides[3][ENSO_MAX_RANK];
};

/* y = op(a, b), n elements shaped as shape->dims. `dtype` is the type of a, and of b but for POW,
 * whose exponent is b_dtype. Comparisons and logic give
 * bytes 0 or 1. fmod: MOD takes the sign of the dividend. y may be a or b where that one is not
 * repeated. SUM and MEAN add. */
int enso_cuda_binary(enum enso_op op, bool fmod, enum enso_dtype dtype, enum enso_dtype b_dtype,
                     const void *a, const void *b, void *y, size_t n,
                     const struct enso_cuda_broadcast *shape, cudaStream_t stream);
/* y[i] /= by; F32, F16, BF16 and F64. */
int enso_cuda_divide(enum enso_dtype dtype, void *y, size_t n, size_t by, cudaStream_t stream);
/* y = condition ? a : b; elements of `bytes` (1, 2, 4, 8); operands in this order in the table. */
int enso_cuda_where(size_t bytes, const uint8_t *condition, const void *a, const void *b, void *y,
                    size_t n, const struct enso_cuda_broadcast *shape, cudaStream_t stream);

/* y dense, x read through strides (negative: backwards, 0: repeated). The host has checked that
 * no index leaves x. */
#define ENSO_CUDA_STRIDED_RANK (2 * ENSO_MAX_RANK)
struct enso_cuda_strided {
    uint32_t rank;  /* at least 1 */
    int64_t offset; /* of y's first element in x */
    uint64_t dims[ENSO_CUDA_STRIDED_RANK];
    int64_t strides[ENSO_CUDA_STRIDED_RANK]; /* of x, in elements */
};
int enso_cuda_strided(size_t bytes, const void *x, void *y, size_t n,
                      const struct enso_cuda_strided *shape, cudaStream_t stream);

/* n_bytes from x to y, which do not overlap. */
int enso_cuda_copy(const void *x, void *y, size_t n_bytes, cudaStream_t stream);
/* `rows` pieces of `width` bytes; they begin x_pitch bytes apart in x and y_pitch in y. */
int enso_cuda_rows(const void *x, size_t x_pitch, void *y, size_t y_pitch, size_t width,
                   size_t rows, cudaStream_t stream);
/* y[outer, j, :] = x[outer, indices[j], :]; a row is `inner` bytes, dim the length of the axis that
 * indices (I32, or I64 when wide) choose from; negative ones count from its end. One out of range
 * reads nothing: its row becomes zeros and *fault becomes
 * ENSO_CUDA_FAULT_INDEX. */
int enso_cuda_gather(const void *x, const void *indices, bool wide, void *y, size_t n_outer,
                     size_t n_indices, size_t dim, size_t inner, int *fault, cudaStream_t stream);
/* y[i] = *value (elements of `bytes`), or zero when value is NULL. */
int enso_cuda_fill(size_t bytes, const void *value, void *y, size_t n, cudaStream_t stream);
/* y[i] = *start + i · *delta; F32 (computed in double), F64, I16, I32, I64 (wrapping). */
int enso_cuda_range(enum enso_dtype dtype, const void *start, const void *delta, void *y, size_t n,
                    cudaStream_t stream);
/* Write up to ENSO_MAX_RANK numbers that the host knows. */
int enso_cuda_store(const int64_t *numbers, size_t n, int64_t *y, cudaStream_t stream);

enum enso_cuda_pad_mode {
    ENSO_CUDA_PAD_CONSTANT,
    ENSO_CUDA_PAD_REFLECT,
    ENSO_CUDA_PAD_EDGE,
    ENSO_CUDA_PAD_WRAP
};
struct enso_cuda_pad {
    enum enso_cuda_pad_mode mode;
    uint32_t rank; /* 1 .. ENSO_MAX_RANK */
    int64_t in[ENSO_MAX_RANK], out[ENSO_MAX_RANK];
    int64_t before[ENSO_MAX_RANK]; /* elements put in front; negative: cut away */
};
/* value: one element, or NULL for zero. Modes other than constant need every in[d] > 0. */
int enso_cuda_pad(size_t bytes, const void *x, const void *value, void *y, size_t n,
                  const struct enso_cuda_pad *shape, cudaStream_t stream);

/* y [N, C, H, W] or [N, H, W, C] of type dtype (F32, F16, BF16): table[c][x] where x is bytes, x
 * where it is floats. table [C, 256], C at most ENSO_PIXELS_MAX_CHANNELS. */
int enso_cuda_pixels(enum enso_dtype dtype, const void *x, const float *table, void *y,
                     const struct enso_pixels_shape *shape, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
