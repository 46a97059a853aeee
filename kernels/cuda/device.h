/* SPDX-License-Identifier: Apache-2.0
 *
 * A GPU: opening it with clear refusals, its memory, what its failures mean. Private to
 * kernels/cuda.
 *
 * Errors of the CUDA runtime come in two kinds. Some concern one call (out of memory, a refused
 * launch): the batch fails with ENSO_NO_MEMORY or ENSO_DEVICE and the lane goes on. All others are
 * sticky, the driver repeats them for the life of the process: the device is down, every later
 * call returns ENSO_UNAVAILABLE with a sentence, and teardown ignores further errors.
 */
#ifndef ENSO_KERNELS_CUDA_DEVICE_H
#define ENSO_KERNELS_CUDA_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "kernels/cuda/cuda_internal.h"

struct enso_captures; /* capture.h */

#define ENSO__CUDA_WATCHED 64 /* lanes; one more works unwatched */
#define ENSO__CUDA_NOT_LAUNCHING UINT64_MAX

struct enso_device {
    char name[64]; /* "cuda:0" */
    char description[128];
    int ordinal;
    int architecture; /* that kernels may use, 80, 90, ...: of the card, of the code, as asked for
                       */
    size_t memory_bytes;
    _Atomic int down;  /* the sticky cudaError_t; 0: works */
    _Atomic bool hung; /* down because it does not answer: waiting has no end */
    uint64_t hang_ns;  /* how long it may not answer */
    /* For each lane since when it puts a batch on the device, by the monotonic clock; else
     * ENSO__CUDA_NOT_LAUNCHING, or 0 for a place that no lane has. A call of the driver may never
     * come back: whoever asks for the state sees it. */
    _Atomic uint64_t launching_since_ns[ENSO__CUDA_WATCHED];
    _Atomic uint64_t
        suspect_since_ns;             /* of these, the one that took too long when last looked at */
    _Atomic uint64_t suspect_seen_ns; /* when that was first seen */
    unsigned long_percent;            /* see struct enso_device_options */
    pthread_mutex_t captures_mutex;   /* guards what capture.h says, and these: */
    struct enso_captures *captures;   /* of all plans that record */
    uint64_t n_recorded_uses;
    struct enso__cuda_memory *memory; /* memory.h */
    struct enso__cuda_watch *watch;   /* watch.h */
    pthread_mutex_t load_mutex;       /* guards loader */
    struct enso_lane *loader;         /* through which bind functions copy weights up */
    struct enso__cublaslt *cublaslt;  /* cublaslt.h; NULL: our own kernels alone */
};

/* ENSO_NOT_FOUND: no driver, no card, not that many cards. ENSO_UNSUPPORTED: the card is too old,
 * or the module holds no code for it. ENSO_UNAVAILABLE: the driver is too old or does not answer,
 * the card is busy. ENSO_NO_MEMORY: it is full. */
int enso__cuda_device_open(const struct enso_device_options *options,
                           struct enso_device **ret_device, struct enso_error *err) ENSO_MUST_CHECK;
void enso__cuda_device_close(struct enso_device *device);
void enso__cuda_device_info(const struct enso_device *device, struct enso_device_info *ret_info);

uint64_t enso__cuda_now_ns(void); /* the monotonic clock */

/* It does not answer: it is lost. Any thread. ENSO_UNAVAILABLE. */
int enso__cuda_hung(struct enso_device *device, struct enso_error *err);

/* Is it down, and why: looks for lanes that are stuck in the driver, too. Any thread; waits for
 * nothing. */
void enso__cuda_device_state(struct enso_device *device, struct enso_device_state *ret_state);

/* Make it the calling thread's device; ENSO_UNAVAILABLE when it is down. */
int enso__cuda_enter(struct enso_device *device, struct enso_error *err) ENSO_MUST_CHECK;

/* The same before something is released, which is tried whatever happened before: refusals are
 * ignored. False when the device is down: wait for nothing. */
bool enso__cuda_enter_to_release(struct enso_device *device);

/* What the failure `code` (a cudaError_t, not success) of `what` means: a status with a sentence;
 * marks the device as down when the error is sticky. */
int enso__cuda_failed(struct enso_device *device, int code, const char *what,
                      struct enso_error *err);

#endif
