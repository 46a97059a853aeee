/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors: element types, and a plain description of dense row-major data. A tensor never owns its
 * data; whoever made it says who does. Sizes go through enso_dtype_row_bytes, because types to come
 * (block-quantised) have no size per element.
 */
#ifndef ENSO_ENGINE_TENSOR_H
#define ENSO_ENGINE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define ENSO_MAX_RANK 8

/* X(name, bytes per element, KServe V2 name, safetensors name) */
#define ENSO_DTYPE_LIST(X)                                                                         \
    X(F32, 4, "FP32", "F32")                                                                       \
    X(F16, 2, "FP16", "F16")   /* IEEE binary16 */                                                 \
    X(BF16, 2, "BF16", "BF16") /* upper half of binary32 */                                        \
    X(F64, 8, "FP64", "F64")                                                                       \
    X(I8, 1, "INT8", "I8")                                                                         \
    X(U8, 1, "UINT8", "U8")                                                                        \
    X(I16, 2, "INT16", "I16")                                                                      \
    X(U16, 2, "UINT16", "U16")                                                                     \
    X(I32, 4, "INT32", "I32")                                                                      \
    X(U32, 4, "UINT32", "U32")                                                                     \
    X(I64, 8, "INT64", "I64")                                                                      \
    X(U64, 8, "UINT64", "U64")                                                                     \
    X(BOOL, 1, "BOOL", "BOOL") /* one byte, 0 or 1 */

enum enso_dtype {
#define ENSO_DTYPE_ENUM(name, bytes, v2, st) ENSO_DTYPE_##name,
    ENSO_DTYPE_LIST(ENSO_DTYPE_ENUM)
#undef ENSO_DTYPE_ENUM
        ENSO_N_DTYPES
};

struct enso_tensor {
    enum enso_dtype dtype;
    uint8_t rank;                /* 0 = scalar, one element */
    int64_t dims[ENSO_MAX_RANK]; /* each >= 0 */
    void *data;                  /* row-major, no gaps; NULL only when there are no elements */
};

/* Bytes of a row of n elements; SIZE_MAX when that does not fit. */
size_t enso_dtype_row_bytes(enum enso_dtype dtype, size_t n);
/* F32, F16, BF16, F64. */
static inline bool enso_dtype_is_float(enum enso_dtype dtype)
{
    return dtype <= ENSO_DTYPE_F64;
}
/* F16, BF16: types that a GPU computes in with sums in F32. */
static inline bool enso_dtype_is_half(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 || dtype == ENSO_DTYPE_BF16;
}
const char *enso_dtype_name(enum enso_dtype dtype); /* "FP32": the KServe V2 name */
/* False when no type has that name. */
bool enso_dtype_from_v2(const char *name, enum enso_dtype *ret_dtype) ENSO_MUST_CHECK;
bool enso_dtype_from_safetensors(const char *name, enum enso_dtype *ret_dtype) ENSO_MUST_CHECK;

/* Product of dims; false when a dimension is negative or the product exceeds INT64_MAX. */
bool enso_dims_count(const int64_t *dims, size_t rank, int64_t *ret_count) ENSO_MUST_CHECK;
/* Elements of a tensor whose dims are known to be sound. */
static inline int64_t enso_tensor_count(const struct enso_tensor *t)
{
    int64_t n = 1;

    for (uint8_t i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}
size_t enso_tensor_bytes(const struct enso_tensor *t);

/* Conversions of n elements between the float types, round to nearest even; in place is not
 * allowed. Source: IEEE 754-2019 binary16/binary32. */
void enso_f16_to_f32(const uint16_t *x, float *y, size_t n);
void enso_bf16_to_f32(const uint16_t *x, float *y, size_t n);
void enso_f32_to_f16(const float *x, uint16_t *y, size_t n);
void enso_f32_to_bf16(const float *x, uint16_t *y, size_t n);

#endif
