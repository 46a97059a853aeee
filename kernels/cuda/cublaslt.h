/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products by cuBLASLt, where it is found: Y[m, n] = act(alpha · X[m, k] · W + bias +
 * beta · residual), all row-major. Private to kernels/cuda.
 *
 *     device open:  enso__cublaslt_open(device, path, &device->cublaslt, err)
 *     lane open:    enso__cublaslt_lane_open(device->cublaslt, &lane->cublaslt, err)
 *     bind:         enso__cublaslt_choose(device->cublaslt, &product, &choice, err)
 *     run:          if (enso__cublaslt_takes(choice, &operands))
 *                       st = enso__cublaslt_run(call->cublaslt, choice, &operands, stream, err);
 *                   else, or if it declines: our own kernel
 *
 * Sums are in float32, with float32 factors too (no TF32); half results are rounded once, after
 * epilogue and residual. The GELU epilogue is the tanh form, so only that activation may use it.
 *
 * Algorithms. Those of a product are chosen once, for every bucket of m (16, 24, 32, 48, 64, 96,
 * ...): the one that the table of timed algorithms has (algorithms.h), else the first that the
 * library's heuristic names. So the same m always runs the same algorithm, and a row's bits depend
 * on the bucket its batch falls in. An `invariant` product has one algorithm for every m, one that
 * does not cut sums along k; when there is none, no m is taken and our own kernels compute it,
 * whose bits do not depend on m either.
 *
 * Threads: the library's handle may be used from any thread; descriptors may not, so each lane has
 * its own. Choices are made under a mutex and constant from then on; they live as long as the
 * device, since models share them.
 */
#ifndef ENSO_KERNELS_CUDA_CUBLASLT_H
#define ENSO_KERNELS_CUDA_CUBLASLT_H

#include <cuda_runtime_api.h>

#include "base/error.h"
#include "kernels/cuda/algorithms.h"

struct enso_device;
struct enso__cublaslt;        /* the library on one device */
struct enso__cublaslt_lane;   /* what a lane brings: workspace, descriptors */
struct enso__cublaslt_choice; /* a product's algorithms */

/* Device memory, all of it. y may be residual, and overlaps nothing else. */
struct enso__cublaslt_operands {
    const void *x, *w, *bias, *residual;
    void *y;
    size_t m;
    float alpha, beta;
};

/* The largest m of each bucket; more rows than the last has are never the library's. */
#define ENSO__CUBLASLT_BUCKETS 33
size_t enso__cublaslt_bucket_rows(size_t bucket);
size_t enso__cublaslt_bucket(size_t m);

/* Find the library and make a handle for the device, which must be the thread's, and read its table
 * of timed algorithms. configured: a path, "none", or NULL or "" to look for it. state_dir: where
 * the table is; NULL or "": nowhere. What came of it is logged. *ret is NULL when there is
 * none: that is no failure, unless a path was configured. Errors: what enso__cublaslt_load says,
 * ENSO_UNAVAILABLE when the library refuses the device, ENSO_NO_MEMORY. */
int enso__cublaslt_open(struct enso_device *device, const char *configured, const char *state_dir,
                        struct enso__cublaslt **ret, struct enso_error *err) ENSO_MUST_CHECK;
void enso__cublaslt_close(struct enso__cublaslt *lt); /* NULL is fine; after all its lanes */
/* "cuBLASLt 13.1.0"; "" for NULL. */
const char *enso__cublaslt_name(const struct enso__cublaslt *lt);

/* For lt NULL the lane is NULL, and runs nothing. */
int enso__cublaslt_lane_open(struct enso__cublaslt *lt, struct enso__cublaslt_lane **ret,
                             struct enso_error *err) ENSO_MUST_CHECK;
void enso__cublaslt_lane_close(struct enso__cublaslt_lane *lane); /* NULL is fine */

/* The algorithms of a product; *ret is NULL when the library is not there or has none for its
 * types. Any thread. Only ENSO_NO_MEMORY and a device that is down fail. */
int enso__cublaslt_choose(struct enso__cublaslt *lt, const struct enso__cublaslt_product *product,
                          const struct enso__cublaslt_choice **ret,
                          struct enso_error *err) ENSO_MUST_CHECK;

/* Whether the library computes these: it has an algorithm for so many rows, which wants operands at
 * multiples of 16 bytes (as all of an arena are). False for NULL. */
bool enso__cublaslt_takes(const struct enso__cublaslt_choice *choice,
                          const struct enso__cublaslt_operands *o);

/* Put the product on the stream; of what enso__cublaslt_takes says yes to. ENSO_UNSUPPORTED: the
 * library declines so many rows after all (an algorithm is asked for the largest m of its bucket
 * alone), nothing is on the stream, and our own kernels are to compute it, as every time then; of
 * an `invariant` product, whose bits would be others, never. ENSO_DEVICE and ENSO_NO_MEMORY end
 * with this call, ENSO_UNAVAILABLE with the device (device.h). */
int enso__cublaslt_run(struct enso__cublaslt_lane *lane, const struct enso__cublaslt_choice *choice,
                       const struct enso__cublaslt_operands *o, cudaStream_t stream,
                       struct enso_error *err) ENSO_MUST_CHECK;

/* ---- for tuning (tune.c), while nothing else runs ---- */

/* Products that were chosen for, one after the other; NULL: the first; returns NULL after the last.
 */
const struct enso__cublaslt_choice *enso__cublaslt_next(const struct enso__cublaslt *lt,
                                                        const struct enso__cublaslt_choice *choice);
const struct enso__cublaslt_product *
enso__cublaslt_product(const struct enso__cublaslt_choice *choice);
/* The library's algorithms for so many rows, the first the heuristic's favourite; how many. */
size_t enso__cublaslt_algorithms(struct enso__cublaslt *lt,
                                 const struct enso__cublaslt_product *product, size_t rows,
                                 struct enso__lt_algorithm *ret, size_t most);
/* enso__cublaslt_run with that algorithm. */
int enso__cublaslt_try(struct enso__cublaslt_lane *lane,
                       const struct enso__cublaslt_product *product,
                       const struct enso__lt_algorithm *algorithm,
                       const struct enso__cublaslt_operands *o, cudaStream_t stream,
                       struct enso_error *err) ENSO_MUST_CHECK;
/* Add this to the table (entries are copied) and write it to the state directory. */
int enso__cublaslt_keep(struct enso__cublaslt *lt, const struct enso__algorithms *timed,
                        struct enso_error *err) ENSO_MUST_CHECK;

/* Buckets of all products so far, by who computes them and why. */
struct enso__cublaslt_counts {
    size_t heuristic, timed; /* the library */
    size_t own;              /* our kernels: the library has no algorithm, or was slower */
};
void enso__cublaslt_count(struct enso__cublaslt *lt, struct enso__cublaslt_counts *ret);

#endif
