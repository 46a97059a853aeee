/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulator's insides, shared by its files:
 *
 *   launch.cpp   checks a launch against the device, runs its blocks, counts
 *   block.cpp    threads of the running block: who runs next, barriers, warp functions
 *   twins.cpp    instructions of kernels/cuda/ptx.cuh: matrix fragments, asynchronous copies
 *   shared.cpp   the running block's shared memory
 *   memory.cpp   device memory between guard pages
 *   profile.cpp  limits of known cards
 *   report.cpp   what is wrong, in words, then the end of the process
 *   runtime.cpp  the runtime's C interface
 *
 * A launch runs to its end on the thread that makes it, under one lock: so all state is plain.
 */
#ifndef ENSO_EMULATION_EMULATOR_H
#define ENSO_EMULATION_EMULATOR_H

#include "tests/cuda_emulation/include/cuda_runtime.h"

#include "tests/cuda_emulation/fiber.h"

namespace enso_emulated
{

/* ---- profile.cpp ---- */

struct profile {
    const char *name;        /* ENSO_CUDA_EMULATED's value */
    const char *description; /* the card's name */
    int major, minor;
    int multiprocessors;
    size_t memory_bytes;
    size_t shared_per_block, shared_optin, shared_per_multiprocessor;
    int threads_per_multiprocessor;
    size_t l2_bytes;
};

/* What the environment asks for, default A100; memory_bytes as ENSO_CUDA_EMULATED_MEMORY says. */
const profile &device_profile(void);
/* ENSO_CUDA_EMULATED_SEED, default 1; 0 runs everything in the order of the numbers. */
uint64_t seed(void);

/* ---- launch.cpp ---- */

struct kernel {
    const void *function;
    char name[96];
    size_t max_dynamic;  /* beyond 48 KiB only what cudaFuncSetAttribute allowed */
    size_t static_bytes; /* as far as its blocks have shown */
    uint64_t launches, blocks, threads, barriers, collectives;
};

struct running_launch {
    kernel *running; /* NULL: no kernel runs */
    kernel *last;    /* the one that ran before */
    kernel_call call;
    size_t dynamic_bytes;
    uint64_t number; /* of this launch in the process, from 1 */
};
extern running_launch launched;

/* Set by the block that starts: the next of the grid in this seed's order; false after the last. */
bool next_block(void);

/* ---- block.cpp ---- */

/* Run all blocks of the launch that `launched` describes. */
void run_grid(unsigned n_threads);
/* Appends where the running thread is: "block (0,0,0) thread (5,0,0)". */
void describe_thread(char *text, size_t size);
/* Number of the running thread in its block. */
unsigned thread_number(void);
/* The fiber whose guard page this is, or NULL. */
bool stack_overflowed(const void *address);

/* ---- shared.cpp ---- */

constexpr uint32_t SHARED_POISON = 0x7ffb7ffbu; /* NaN as float, as each half, as double */
constexpr uint32_t DEVICE_POISON = 0x7ff97ff9u;

void shared_begin_block(void);
void shared_end_block(void);
bool shared_describe(const void *address, char *text, size_t size);
/* Addresses of the block's own for the race detector. */
char *shared_sync_address(unsigned i);
constexpr unsigned SYNC_ADDRESSES = 4 + 32 * 32 * 2;

/* [memory, memory + bytes) is in one array of the running block. */
bool shared_holds(const void *memory, size_t bytes);

/* ---- twins.cpp ---- */

/* The thread exits: reports copies that it never waited for. */
void copy_async_end(unsigned thread);

/* ---- memory.cpp ---- */

enum class memory_kind : unsigned char { device, host };

/* NULL when the device (or the host) has no room. */
void *memory_new(memory_kind kind, size_t bytes);
/* False: not the start of an allocation of this kind. */
bool memory_delete(memory_kind kind, void *memory);
/* [memory, memory + bytes) lies in one allocation of the device. */
bool memory_on_device(const void *memory, size_t bytes);
bool memory_is_device(const void *memory);
size_t memory_used(void);
/* Report if somebody wrote beside an allocation, into the bytes up to its guard page. */
void memory_check_edges(void);
/* The failure that a test has asked for, if this call's turn has come (failing.cpp; without it
 * there is none). */
cudaError_t failure_now(bool is_launch);
bool memory_describe(const void *address, char *text, size_t size);

void poison(void *memory, uint32_t pattern, size_t bytes);

/* ---- runtime.cpp ---- */

/* Every function of the runtime answers through this: an error stays for cudaGetLastError. */
cudaError_t answer(cudaError_t error);

/* ---- report.cpp ---- */

/* "CUDA emulation: kernel k, block ..., thread ...: <text>" on stderr, then abort(). */
[[noreturn]] void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same without the running thread. */
[[noreturn]] void report_launch(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Faults while a kernel runs are reported; call before each launch on the thread that makes it. */
void report_arm(void);
void report_disarm(void);

/* A small generator, one for each (seed, launch, block): splitmix64. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

} // namespace enso_emulated

#endif
