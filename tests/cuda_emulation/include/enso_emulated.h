/* SPDX-License-Identifier: Apache-2.0
 *
 * What compiled kernels and the emulation's shadow headers call of the emulator. Kernel files see
 * this through <cuda_runtime.h>; they name nothing of it themselves (device.cuh does).
 *
 * One kernel runs at a time in a process, so nothing here is locked.
 */
#ifndef ENSO_EMULATED_H
#define ENSO_EMULATED_H

#include <stddef.h>
#include <stdint.h>

#include "cuda_runtime_api.h"

namespace enso_emulated
{

/* A place in a kernel's source: the same place is the same file and line, as an optimiser may copy
 * or merge calls. */
struct place {
    const char *file;
    int line;
};

/* One ENSO_SHARED of one kernel; the last two members cache where it is in the running block. */
struct shared_site {
    const char *name;
    const char *file;
    int line;
    size_t bytes, alignment;
    uint64_t block;
    void *memory;
};

void *shared_static(shared_site *site);
void *shared_dynamic(void);

/* __syncthreads(): returns when all threads of the block that have not exited wait here. */
void block_barrier(place at);

enum class collective : unsigned char {
    sync,
    shuffle_index,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    ballot,
    instruction, /* warp_instruction */
};

/* Returns when all lanes of mask that have not exited are here with the same mask and operation:
 * what this lane gets. value, operand and width as the warp function's parameters. */
uint64_t warp_collective(collective kind, unsigned mask, uint64_t value, int operand, int width,
                         place at);

/* ---- twins of the instructions in kernels/cuda/ptx.cuh (twins.cpp) ---- */

/* Lanes of a warp, and the most 32-bit registers that one instruction reads or writes in each. */
constexpr unsigned WARP_LANES = 32, WARP_REGISTERS = 10;
typedef uint32_t warp_registers[WARP_LANES][WARP_REGISTERS];
/* A pure function over the registers of a warp: what the instruction makes of them, in place. */
typedef void (*warp_twin)(warp_registers &lanes);

/* Instructions that are .sync.aligned: returns when all 32 lanes, none of which may have exited,
 * are at the same place with the same twin; `registers` (n of them) become what the twin gives. */
void warp_instruction(const char *name, warp_twin twin, uint32_t *registers, unsigned n, place at);

/* In: the four words of the row that the lane has read. Out: one word for each matrix. */
void twin_ldmatrix(warp_registers &lanes);
void twin_ldmatrix_trans(warp_registers &lanes);
/* In: A in 0-3, B in 4 and 5, C in 6-9. Out: D in 6-9. */
void twin_mma_bf16(warp_registers &lanes);
void twin_mma_f16(warp_registers &lanes);

/* r: n_matrices (2 or 4) words; row: 16 aligned bytes of shared memory, in every lane. */
void ldmatrix(uint32_t *r, unsigned n_matrices, bool trans, const void *row, place at);
/* D = A B + C, m16n8k16, in place of C. */
void mma(const char *name, warp_twin twin, float *c, const uint32_t *a, uint32_t b0, uint32_t b1,
         place at);
/* cp.async of 4, 8 or 16 bytes; not in bounds: zeros, and nothing is read. The target is poisoned
 * at once and gets its bytes when the thread waits for the copy's group. */
void copy_async(void *shared, const void *global, unsigned bytes, bool in_bounds, place at);
void copy_async_commit(place at);
/* All groups of this thread but the `pending` youngest land. */
void copy_async_wait(unsigned pending, place at);
/* 2^x; subnormal numbers count as zero on both sides. */
float twin_ex2(float x);

/* A kernel and its arguments, which launch copies: it may run long after. */
struct kernel_call {
    const void *kernel; /* identity: the function */
    void (*invoke)(const void *arguments);
    const void *arguments;
    size_t argument_bytes;
};

cudaError_t launch(const kernel_call &call, dim3 grid, dim3 block, size_t dynamic_bytes,
                   cudaStream_t stream);
/* The text of the next launch's arguments, for reports. */
void name_next_launch(const char *arguments);
cudaError_t set_max_dynamic_shared(const void *kernel, int bytes);

/* ---- count.cpp: what kernels do through functions, told by these functions' twins ---- */

/* Of the running kernel. Plain loads and stores are in it where kernels are traced (trace.cpp): in
 * another module no function sees them. */
struct counts {
    uint64_t global_read, global_written; /* bytes that threads asked for */
    /* bytes that moved for them: the sectors of 32 bytes that an instruction's lanes touch */
    uint64_t global_read_moved, global_written_moved;
    /* bytes of different sectors within each launch, traced only: what must come through device
     * memory even if caches keep all */
    uint64_t global_read_once, global_written_once;
    uint64_t shared_read, shared_written; /* bytes */
    uint64_t shared_phases;    /* passes over the banks without a conflict: as few as can be */
    uint64_t shared_conflicts; /* passes more than that */
    uint64_t mma, mma_flops;   /* instructions of a warp; 2 m n k each */
    uint64_t alone; /* accesses traced, but not with those of their warp: too many at a time */
};

/* Bytes that the running thread (or its whole warp, where one lane tells for all) moves between
 * registers or shared memory and global memory. */
void count_global(uint64_t read_bytes, uint64_t written_bytes);
/* One instruction's accesses of a warp to global memory, as count_shared's: counts the sectors that
 * move, not the bytes asked for. */
void count_sectors(const void *const *addresses, unsigned n, unsigned bytes, bool writes);
/* One instruction's accesses of a warp to shared memory: n addresses (NULL: that lane has none) of
 * `bytes` each, 1 to 16. Accesses of 8 bytes go in passes of 16 lanes, of 16 bytes in passes of 8,
 * as do ldmatrix' rows; one pass takes as many turns as the bank that is asked for most different
 * words. Called once for a warp. */
void count_shared(const void *const *addresses, unsigned n, unsigned bytes, bool writes);
/* One matrix instruction of a warp, m x n x k. Called once for a warp. */
void count_mma(unsigned m, unsigned n, unsigned k);
/* What a kernel has done so far, by its name as in reports; false: it never ran. */
bool counts_of(const char *kernel, counts *ret);

/* Most blocks of a grid-stride launch: 65,535 * 16, or ENSO_CUDA_EMULATED_BLOCKS at the time. */
unsigned max_blocks(void);

/* What kernels are said to be compiled for: the card's own, or ENSO_CUDA_EMULATED_CODE at the time.
 */
int code_architecture(void);

} // namespace enso_emulated

#endif
