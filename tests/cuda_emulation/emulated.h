/* SPDX-License-Identifier: Apache-2.0
 *
 * Launchers of the kernels with which check_emulator looks at the emulator.
 */
#ifndef ENSO_EMULATION_EMULATED_H
#define ENSO_EMULATION_EMULATED_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum emulated_kind {
    EMULATED_INDEX,
    EMULATED_UP,
    EMULATED_DOWN,
    EMULATED_XOR,
    EMULATED_BALLOT,
    EMULATED_DOUBLE,
    EMULATED_VOTES,
};

struct emulated_size {
    unsigned x, y, z;
};

/* Lane i gives 100 * i; out[lane] for the lanes of mask, the others exit. */
int emulated_shuffle(int kind, unsigned mask, int operand, int width, int *out,
                     cudaStream_t stream);
/* The first `stay` threads of each block pass their numbers on: out[block][t] = (t + rounds) %
 * stay; the others exit before the first barrier. */
int emulated_rounds(struct emulated_size grid, struct emulated_size block, unsigned stay,
                    unsigned n_rounds, unsigned *out, cudaStream_t stream);
/* n floats of dynamic shared memory, of shared_bytes. out[2] = n. */
int emulated_dynamic(unsigned n, size_t shared_bytes, float *out, cudaStream_t stream);
int emulated_dynamic_allow(int bytes);
/* order[i]: the thread that came i-th. */
int emulated_arrival(unsigned n_blocks, unsigned n_threads, unsigned *ticket, unsigned *order,
                     cudaStream_t stream);
/* Every thread writes sum and maximum of its block's n items: out[block][thread][2]. */
int emulated_sums(unsigned n_blocks, unsigned n_threads, const float *x, float *out, unsigned n,
                  cudaStream_t stream);
/* out[i] = in[i] + k */
int emulated_add(const float *in, float *out, unsigned n, float k, cudaStream_t stream);

struct emulated_counts {
    uint64_t global_read, global_written, shared_read, shared_written;
    uint64_t shared_phases, shared_conflicts, mma, mma_flops;
};

/* Three blocks of a warp: each tells of 32 reads and 8 writes of shared memory, `bytes` each,
 * `stride` apart (0: lane 31 reads nothing), of 512 bytes read and 128 written, and of one
 * 16 x 8 x 16. */
int emulated_tell(unsigned stride, unsigned bytes, cudaStream_t stream);
/* 0: the kernel never ran. */
int emulated_told(const char *kernel, struct emulated_counts *ret);
int emulated_nothing(struct emulated_size grid, struct emulated_size block, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
