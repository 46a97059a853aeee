/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels broken on purpose, each with its right twin: the emulation must catch the one and let the
 * other pass, or it is not good enough. One launcher for all, so that a case is a number.
 */
#ifndef ENSO_EMULATION_WRONG_H
#define ENSO_EMULATION_WRONG_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum wrong_case {
    /* Only the race detector sees these for certain. */
    WRONG_MISSING_BARRIER,        /* reads what other threads wrote without a barrier */
    WRONG_MISSING_SECOND_BARRIER, /* overwrites what others still read */
    WRONG_MISSING_WARP_BARRIER,   /* a warp is taken to run in step */
    WRONG_BLOCKS_SHARE,           /* blocks write the same word */
    WRONG_SUBSET_BARRIER,         /* one half of the warp meets, and reads the other half's word */
    WRONG_COPY_MISSING_BARRIER,   /* waits for its own copies, reads those of others */
    WRONG_COPY_TOO_EARLY,         /* copies over what others still read */
    WRONG_FRAGMENT_UNSEEN,        /* ldmatrix of rows that other lanes write, without a barrier */
    WRONG_LAST_RACE = WRONG_FRAGMENT_UNSEEN,
    /* The emulator reports these. */
    WRONG_DIVERGENT_BARRIER, /* two halves of a block at two barriers */
    WRONG_BARRIER_AND_WARP, /* one lane at the barrier, the others wait for it in a warp function */
    WRONG_GLOBAL_WRITE,     /* one float past the end, which is a page's end */
    WRONG_GLOBAL_TAIL,      /* one float past the end, within the last 256 bytes */
    WRONG_GLOBAL_READ_BEFORE,
    WRONG_NULL_READ,
    WRONG_UNINITIALISED_STATIC,
    WRONG_UNINITIALISED_DYNAMIC,
    WRONG_SHARED_STATIC_END,
    WRONG_SHARED_DYNAMIC_END,
    WRONG_LANE_OUTSIDE_MASK, /* a shuffle reads a lane that is not in the mask */
    WRONG_NOT_IN_OWN_MASK,
    WRONG_DIFFERENT_MASKS,
    WRONG_DIFFERENT_SHUFFLES, /* lanes of one mask at two places */
    WRONG_STACK_OVERFLOW,
    WRONG_DIVISION_BY_ZERO,
    WRONG_MUCH_STATIC,
    WRONG_COPY_NO_WAIT,       /* reads its own copy before it has landed */
    WRONG_COPY_LATE_WAIT,     /* waits for all groups but the one it reads */
    WRONG_COPY_NOT_COMMITTED, /* waits for groups, of which its copy is in none */
    WRONG_COPY_MISALIGNED,
    WRONG_FRAGMENT_MISALIGNED,
    WRONG_FRAGMENT_NOT_SHARED,
    WRONG_FRAGMENT_FEW_LANES, /* some lanes have left before */
    WRONG_LAST = WRONG_FRAGMENT_FEW_LANES,
};

/* 256 floats in and out (0, 1, 2, ...), 4 blocks of 64 threads. */
#define WRONG_ITEMS 256
/* The output's size: one of them ends where no page does. */
#define WRONG_OUT_ITEMS(which) (WRONG_ITEMS + ((which) == WRONG_GLOBAL_TAIL ? 4 : 0))

int wrong_launch(enum wrong_case which, bool right, const float *in, float *out,
                 cudaStream_t stream);
/* What y[i] must be after the right twin ran on x[i] = i. */
float wrong_expected(enum wrong_case which, unsigned i);
const char *wrong_name(enum wrong_case which);

#ifdef __cplusplus
}
#endif

#endif
