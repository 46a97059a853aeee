/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by cublaslt.c (products) and cublaslt_open.c (the library on a device, lanes); the
 * contract is in cublaslt.h.
 */
#ifndef ENSO_KERNELS_CUDA_CUBLASLT_INTERNAL_H
#define ENSO_KERNELS_CUDA_CUBLASLT_INTERNAL_H

#include <stdatomic.h>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/module.h"

#define ENSO__CUBLASLT_ALIGNMENT 16 /* of operands, in bytes: the widest load of a thread */

/* Who computes a product of so many rows: our own kernels, or the library, by what it likes best or
 * by what was timed. */
enum origin { ORIGIN_OWN, ORIGIN_HEURISTIC, ORIGIN_TIMED, N_ORIGINS };

struct enso__cublaslt_descriptors {
    const struct enso__cublaslt_library *library;
    struct enso__lt_desc *desc;
    struct enso__lt_layout *x, *w, *residual, *y;
};

struct enso__cublaslt {
    struct enso_device *device;
    struct enso__cublaslt_library library;
    struct enso__lt_handle *handle;
    char name[32];
    atomic_bool declined;             /* a product that it had an algorithm for; it was told */
    atomic_size_t n_plans[N_ORIGINS]; /* of all choices, by who computes them */
    pthread_mutex_t mutex;            /* guards all below */
    struct enso__cublaslt_descriptors descriptors;
    struct enso__lt_preference *preference;
    struct enso__cublaslt_choice *choices;
    struct enso__algorithms timed;
    char title[200], state_dir[512]; /* of the table; state_dir "": it is not kept */
};

struct enso__cublaslt_lane {
    struct enso__cublaslt *lt;
    struct enso__cublaslt_descriptors descriptors;
    void *workspace;
};

/* Statuses of the library. done: what was made so far; NULLs are fine. */
int enso__cublaslt_descriptors_init(struct enso__cublaslt_descriptors *d,
                                    const struct enso__cublaslt_library *l) ENSO_MUST_CHECK;
void enso__cublaslt_descriptors_done(struct enso__cublaslt_descriptors *d);

/* What each lane has for products. */
size_t enso__cublaslt_workspace_bytes(const struct enso_device *device);

/* What a call of the library that failed means for the device: a status with a sentence. */
int enso__cublaslt_failed(const struct enso__cublaslt *lt, int status, const char *what,
                          struct enso_error *err);

/* Free all choices. */
void enso__cublaslt_forget(struct enso__cublaslt *lt);

#endif
