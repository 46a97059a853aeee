/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing of weights: see packed.h. A row at a time is read, checked and rounded, so that beside
 * the result in ordinary memory there is one row.
 */
#include "ensod_build.h"

#include "kernels/cuda/packed.h"

#include <math.h>
#include <string.h>

/* From here on a number rounds to infinity in FP16, whose largest number is 65504. */
#define F16_LIMIT 65520.0F

static int check_range(const struct enso__bind *b, const float *row, size_t n,
                       struct enso_error *err)
{
    float largest = 0;

    for (size_t i = 0; i < n; i++)
        if (isfinite(row[i]) && fabsf(row[i]) > largest)
            largest = fabsf(row[i]);
    if (largest >= F16_LIMIT)
        return enso__unsupported(b, err,
                                 "a weight of %g is beyond FP16, which ends at 65504: ask for BF16 "
                                 "or FP32",
                                 (double)largest);
    return ENSO_OK;
}

/* n floats as dtype. */
static void put_row(enum enso_dtype dtype, const float *row, size_t n, void *to)
{
    if (dtype == ENSO_DTYPE_F16)
        enso_f32_to_f16(row, to, n);
    else if (dtype == ENSO_DTYPE_BF16)
        enso_f32_to_bf16(row, to, n);
    else
        memcpy(to, row, n * sizeof(*row));
}

static int upload(const struct enso__bind *b, const void *data, size_t bytes, void **ret,
                  struct enso_error *err)
{
    void *memory = NULL;
    int st = enso__cuda_alloc(b->device, ENSO_MAX(bytes, (size_t)1), "weights", &memory, err);

    if (st == ENSO_OK && bytes > 0)
        st = enso__cuda_upload(b->device, memory, data, bytes, err);
    if (st != ENSO_OK) {
        enso__cuda_free(b->device, memory);
        return st;
    }
    *ret = memory;
    return ENSO_OK;
}

int enso__cuda_pack(const struct enso__bind *b, enum enso_dtype dtype, const float *data,
                    size_t n_rows, size_t n_columns, size_t row, size_t column, size_t pad,
                    struct enso__packed *ret, struct enso_error *err)
{
    size_t stride = (n_columns + pad - 1) / pad * pad, row_bytes, bytes;
    int st = ENSO_OK;

    row_bytes = enso_dtype_row_bytes(dtype, stride);
    if (n_columns > SIZE_MAX - pad || !enso_size_mul(n_rows, row_bytes, &bytes))
        return enso_error_no_memory(err, "packed weights");
    float *one = enso_alloc_zero(ENSO_MAX(stride, (size_t)1), sizeof(*one));
    unsigned char *all = enso_alloc(ENSO_MAX(bytes, (size_t)1));
    if (one == NULL || all == NULL)
        st = enso_error_no_memory(err, "packed weights");
    for (size_t r = 0; st == ENSO_OK && r < n_rows; r++) {
        for (size_t c = 0; c < n_columns; c++)
            one[c] = data[r * row + c * column];
        if (dtype == ENSO_DTYPE_F16)
            st = check_range(b, one, n_columns, err);
        put_row(dtype, one, stride, all + r * row_bytes);
    }
    if (st == ENSO_OK)
        st = upload(b, all, bytes, &ret->data, err);
    if (st == ENSO_OK) {
        ret->stride = stride;
        ret->bytes = bytes;
    }
    enso_free(one);
    enso_free(all);
    return st;
}
