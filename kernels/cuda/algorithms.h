/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of timed algorithms: which of cuBLASLt's, or our own kernel, was the fastest for a
 * product and a bucket of rows on this very card, with this driver and this version of the library.
 * `ensod --tune` makes it (tune.c), every later start reads it. Private to kernels/cuda; touches no
 * device.
 *
 * The file is text, one for each title, in the state directory:
 *
 *     ensod algorithms 1
 *     for NVIDIA H200, sm_90, driver 13000, cuBLASLt 130100
 *     BF16 BF16 768 3072 0 3072 1 3072 768 768 1 128 14.5 own
 *     BF16 BF16 768 3072 0 3072 1 3072 768 768 1 192 12.25 <128 hexadecimal digits>
 *     end 2
 *
 * A line: types of factors and result; n, k; X transposed, ld_x; W transposed, ld_w; ld_y,
 * ld_residual (0: none); epilogue; rows; microseconds; "own", or the library's algorithm, which its
 * maker lets store as bytes for the same version. A file that is not whole, or has another title,
 * is not used at all.
 */
#ifndef ENSO_KERNELS_CUDA_ALGORITHMS_H
#define ENSO_KERNELS_CUDA_ALGORITHMS_H

#include <stdbool.h>

#include "engine/tensor.h"
#include "kernels/cuda/cublaslt_api.h"

/* Bits of an epilogue; the activation comes last. */
enum enso__cublaslt_epilogue {
    ENSO__CUBLASLT_BIAS = 1,
    ENSO__CUBLASLT_RELU = 2,
    ENSO__CUBLASLT_GELU_TANH = 4, /* not in float32: the library's tanh is coarser than that */
};

/* What is known of a product before the number of rows. Leading dimensions in elements, of matrices
 * as they are stored. */
struct enso__cublaslt_product {
    enum enso_dtype dtype;     /* of X and W: F32, F16 or BF16 */
    enum enso_dtype out_dtype; /* of Y, bias and residual: the same, or F32 */
    unsigned epilogue;         /* of the bits above */
    bool x_transposed;         /* X is stored as [k, m] */
    bool w_transposed;         /* W is stored as [n, k], else [k, n] */
    bool residual;
    bool invariant; /* one algorithm for all rows; never in a table */
    size_t n, k;
    size_t ld_x, ld_w, ld_y, ld_residual;
    /* For tuning alone, and no difference between products: rows that an item of a dense batch has
     * (the pixels of a picture), the most of all that are alike; 0: rows are tokens. */
    size_t rows_per_item;
};
bool enso__cublaslt_is_same(const struct enso__cublaslt_product *a,
                            const struct enso__cublaslt_product *b);

struct enso__algorithm {
    struct enso__cublaslt_product product;
    size_t rows; /* of the bucket */
    float us;    /* what it took */
    bool own;    /* our kernel was faster; `algorithm` is not set */
    struct enso__lt_algorithm algorithm;
};

#define ENSO__ALGORITHMS_MAX 8192 /* entries */

/* Zeroed it is empty. One owner; readers need no lock while nobody writes. */
struct enso__algorithms {
    struct enso__algorithm *entries;
    size_t n, capacity;
};
void enso__algorithms_done(struct enso__algorithms *a);

/* NULL: not timed. */
const struct enso__algorithm *enso__algorithms_find(const struct enso__algorithms *a,
                                                    const struct enso__cublaslt_product *product,
                                                    size_t rows);
/* Takes the place of an entry for the same product and rows. */
int enso__algorithms_put(struct enso__algorithms *a, const struct enso__algorithm *entry,
                         struct enso_error *err) ENSO_MUST_CHECK;

/* What a file says, into an empty table. title: what it must be for. ENSO_INVALID with a sentence
 * that names the line; the table is empty then. */
int enso__algorithms_parse(const char *text, size_t size, const char *title,
                           struct enso__algorithms *ret, struct enso_error *err) ENSO_MUST_CHECK;

/* Read the title's file in folder dir; ENSO_NOT_FOUND when there is none (ret is empty). */
int enso__algorithms_load(const char *dir, const char *title, struct enso__algorithms *ret,
                          struct enso_error *err) ENSO_MUST_CHECK;
/* Write it, whole or not at all. ENSO_IO. */
int enso__algorithms_store(const char *dir, const char *title, const struct enso__algorithms *a,
                           struct enso_error *err) ENSO_MUST_CHECK;

#endif
