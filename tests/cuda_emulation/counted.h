/* SPDX-License-Identifier: Apache-2.0
 *
 * Launchers of the kernels with which check_counts looks at what trace.cpp counts. All have one
 * block of 32 threads if nothing else is said; t is the thread.
 */
#ifndef ENSO_EMULATION_COUNTED_H
#define ENSO_EMULATION_COUNTED_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tile[t * stride] = in[t]; out[t] = tile[t * stride]; blocks read and write the same. */
int counted_tile(unsigned stride, unsigned n_blocks, const float *in, float *out,
                 cudaStream_t stream);
/* All read tile[0]. */
int counted_broadcast(const float *in, float *out, cudaStream_t stream);
/* out[t] = in[t * stride] */
int counted_strided(unsigned stride, const float *in, float *out, cudaStream_t stream);
/* 16 bytes a thread, through shared memory where each takes `stride` times 16 bytes. */
int counted_wide(unsigned stride, const float *in, float *out, cudaStream_t stream);
/* out[t] = in[t] + in[t + 32] + ... below n, by a block of 48 threads; odd ones stop at 40. */
int counted_apart(unsigned n, const float *in, float *out, cudaStream_t stream);
/* As counted_tile with stride 1, 16 bytes a thread by cp.async. */
int counted_async(const float *in, float *out, cudaStream_t stream);

struct counted {
    uint64_t read, read_moved, read_once, written, written_moved, written_once;
    uint64_t shared_read, shared_written, phases, conflicts, alone;
};
/* What the kernel has done so far; 0: it never ran. */
int counted_told(const char *kernel, struct counted *ret);

#ifdef __cplusplus
}
#endif

#endif
