/* SPDX-License-Identifier: Apache-2.0
 *
 * One warp that executes one instruction of kernels/cuda/ptx.cuh: what goes in and what comes out,
 * in 32-bit words by lane. twins.cu is compiled by g++ over the emulation (check_twins, record) and
 * by nvcc for a card (record-cuda).
 */
#ifndef ENSO_TESTS_TWINS_H
#define ENSO_TESTS_TWINS_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#define TWINS_LANES 32
#define TWINS_WORDS 10

/* number, name, words in, words out, needs compute capability 8.0 */
#define TWINS(ROW)                                                                                 \
    ROW(LDMATRIX_X4, "ldmatrix.x4", 5, 4, 0)                                                       \
    ROW(LDMATRIX_X4_TRANS, "ldmatrix.x4.trans", 5, 4, 0)                                           \
    ROW(LDMATRIX_X2, "ldmatrix.x2", 5, 2, 0)                                                       \
    ROW(LDMATRIX_X2_TRANS, "ldmatrix.x2.trans", 5, 2, 0)                                           \
    ROW(MMA_BF16, "mma.m16n8k16.bf16", 10, 4, 1)                                                   \
    ROW(MMA_F16, "mma.m16n8k16.f16", 10, 4, 1)                                                     \
    ROW(CP_ASYNC_16, "cp.async.16", 5, 4, 1)                                                       \
    ROW(CP_ASYNC_8, "cp.async.8", 5, 4, 1)                                                         \
    ROW(CP_ASYNC_4, "cp.async.4", 5, 4, 1)                                                         \
    ROW(EX2, "ex2.approx.ftz", 1, 1, 0)                                                            \
    ROW(PACK_BF16, "pack.bf16x2", 2, 1, 0)                                                         \
    ROW(PACK_F16, "pack.f16x2", 2, 1, 0)

enum twins_which {
#define ROW(number, name, n_in, n_out, ampere) TWINS_##number,
    TWINS(ROW)
#undef ROW
        TWINS_N
};

typedef uint32_t twins_words[TWINS_LANES][TWINS_WORDS];

/* What `which` takes of each lane:
 *   ldmatrix: the four words of its row, and the slot of 16 bytes (0-31, each once) where it lies;
 *   mma: A in 0-3, B in 4 and 5, C in 6-9;
 *   cp.async: 16 bytes, of which the first so many are copied onto 16 bytes of ones; in bounds;
 *   ex2: a float; pack: two.
 * in and out are device memory, a twins_words each. A cudaError_t. */
#ifdef __cplusplus
extern "C"
#endif
    int
    twins_launch(enum twins_which which, const uint32_t *in, uint32_t *out, cudaStream_t stream);

#endif
