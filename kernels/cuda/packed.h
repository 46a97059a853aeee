/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights on their way to the card: rounded once to the type that a kernel computes in, turned into
 * the layout it reads.
 */
#ifndef ENSO_KERNELS_CUDA_PACKED_H
#define ENSO_KERNELS_CUDA_PACKED_H

#include "kernels/cuda/cuda_internal.h"

/* A packed matrix in device memory: weights[r · stride + c], c < n_columns, zeros up to `stride`.
 */
struct enso__packed {
    void *data; /* the caller's to enso__cuda_free */
    size_t stride, bytes;
};

/* n_rows x n_columns floats, element (r, c) at data[r · row + c · column], to memory of type dtype
 * (F32, F16, BF16): rows of `pad` elements or a multiple, each number rounded to nearest, ties to
 * even. Finite numbers that FP16 cannot hold: ENSO_UNSUPPORTED with the largest of them. */
int enso__cuda_pack(const struct enso__bind *b, enum enso_dtype dtype, const float *data,
                    size_t n_rows, size_t n_columns, size_t row, size_t column, size_t pad,
                    struct enso__packed *ret, struct enso_error *err) ENSO_MUST_CHECK;

#endif
