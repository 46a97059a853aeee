/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulator's insides, shared by its files:
 *
 *   launch.cpp   checks a launch against the device, runs its blocks, counts
 *   block.cpp    threads of the running block: who runs next, barriers, warp functions
 *   count.cpp    what a kernel did through functions that tell
 *   trace.cpp    plain loads and stores of kernels compiled for it; not in the ordinary module
 *   twins.cpp    instructions of kernels/cuda/ptx.cuh: matrix fragments, asynchronous copies
 *   shared.cpp   the running block's shared memory
 *   memory.cpp   device memory between guard pages
 *   operation.cpp what waits in a stream: copies, launches, events' turns, and their rules
 *   stream.cpp   streams: queues that run as late as can be
 *   graph.cpp    stream capture and graphs
 *   pool.cpp     memory pools
 *   device.cpp   what the runtime says of the device
 *   errors.cpp   errors: names, the last one, those that stay
 *   profile.cpp  limits of known cards
 *   report.cpp   what is wrong, in words, then the end of the process
 *   runtime.cpp  the runtime's C interface: memory, copies, streams, events
 *
 * Every function of the runtime holds one lock (runtime_lock) from its first line to its return; a
 * kernel runs to its end on the thread that waits for it, under that lock too: so all state is
 * plain.
 */
#ifndef ENSO_EMULATION_EMULATOR_H
#define ENSO_EMULATION_EMULATOR_H

/* Before the shadow of CUDA's header, whose __noinline__ they use as an attribute. */
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/cuda_emulation/include/cuda_runtime.h"

#include "tests/cuda_emulation/fiber.h"

struct CUstream_st;
struct CUmemPoolHandle_st;

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

/* What the environment asks for, default A100; memory_bytes as ENSO_CUDA_EMULATED_MEMORY says. Of
 * the device that the thread has chosen, or of any. */
const profile &device_profile(void);
const profile &device_profile_of(int device);
/* What the environment's variable says now, or, where it is "@PATH", that file, which may appear
 * while a daemon runs; "" for neither. The result is room's, or lives until the next setenv. */
const char *wish_now(const char *variable, char *room, size_t size);
/* ENSO_CUDA_EMULATED_SEED, default 1; 0 runs everything in the order of the numbers. */
uint64_t seed(void);

/* ---- launch.cpp ---- */

struct kernel {
    const void *function;
    char name[96];
    size_t max_dynamic;  /* beyond 48 KiB only what cudaFuncSetAttribute allowed */
    size_t static_bytes; /* as far as its blocks have shown */
    uint64_t launches, blocks, threads, barriers, collectives;
    counts told;
};

struct running_launch {
    kernel *running; /* NULL: no kernel runs */
    kernel *last;    /* the one that ran before */
    kernel_call call;
    size_t dynamic_bytes;
    uint64_t number; /* of this launch in the process, from 1 */
};
extern running_launch launched;
/* By name; NULL: it never ran. */
const kernel *kernel_named(const char *name);

struct operation;
/* Run the launch that waited in a stream. */
void launch_run(const operation &op);

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

/* The address lies in the memory that blocks' shared arrays are in. */
bool shared_is_here(const void *address);

/* ---- trace.cpp; in count.cpp their weak twins, which do nothing ---- */

void trace_begin_launch(void);
void trace_end_launch(void);
/* All lanes of the warp, or all threads of the block, that have not exited are at one place. */
void trace_warp(unsigned warp);
void trace_block(void);
/* Global memory that an instruction's twin reads or writes. */
void trace_touch(const void *address, unsigned bytes, bool writes);

/* ---- memory.cpp ---- */

/* Pool: device memory that a pool pays for. */
enum class memory_kind : unsigned char { device, host, pool };

struct memory_info {
    const char *start;
    size_t bytes;
    uint64_t number; /* from 1, in the order they were made */
    memory_kind kind;
    int device; /* of host memory: that of the thread that asked for it */
    bool freed;
    bool committed; /* false: a pool's, whose turn in its stream has not come */
};

/* Of the thread's device. NULL when it (or the host) has no room. A pool's cannot be touched until
 * committed. */
void *memory_new(memory_kind kind, size_t bytes);
void memory_commit(void *memory);
/* False: not the start of an allocation of this kind. */
bool memory_delete(memory_kind kind, void *memory);
/* The allocation that holds the address (its end included), freed ones too while they are
 * remembered; false: none. */
bool memory_lookup(const void *address, memory_info *ret);
/* Bytes of a device for things without an address: pools, graphs. False: no room. */
bool memory_charge(int device, size_t bytes);
void memory_uncharge(int device, size_t bytes);
/* [memory, memory + bytes) lies in pinned memory. */
bool memory_on_host(const void *memory, size_t bytes);
/* [memory, memory + bytes) lies in one allocation of any device. */
bool memory_on_device(const void *memory, size_t bytes);
bool memory_is_device(const void *memory);
size_t memory_used(int device);
/* Report if somebody wrote beside an allocation, into the bytes up to its guard page. */
void memory_check_edges(void);
/* The failure that a test has asked for, if this call's turn has come (failing.cpp; without it
 * there is none). */
cudaError_t failure_now(bool is_launch);
bool memory_describe(const void *address, char *text, size_t size);

void poison(void *memory, uint32_t pattern, size_t bytes);

/* ---- errors.cpp ---- */

/* Every function of the runtime answers through this: an error stays for cudaGetLastError. */
cudaError_t answer(cudaError_t error);
/* What a function of the runtime that needs the thread's device says before it does anything: that
 * there is none, or the error that stays. */
cudaError_t device_state(void);
/* An error that stays: whatever concerns the device fails with it from now on, what waits there
 * never runs. */
void device_lost(int device, cudaError_t error);
/* The error that stays, cudaSuccess without one. */
cudaError_t device_error(int device);

/* ---- device.cpp ---- */

constexpr int MAX_DEVICES = 8;
/* ENSO_CUDA_EMULATED_DEVICES, default 1: cards of one kind, each with memory of its own. */
int device_count(void);
/* What the calling thread has chosen; the first one until then. */
int device_current(void);
void device_choose(int device);

/* cudaErrorNoDevice or cudaErrorInsufficientDriver on a machine that has none. */
cudaError_t device_missing(void);

/* ---- operation.cpp ---- */

/* A point of a stream, reached when all that stood before it ran. */
struct point {
    CUstream_st *stream;
    bool reached;
    double ms;         /* on the virtual clock */
    unsigned patience; /* how often a query says yet "not ready" */
};
typedef std::shared_ptr<point> point_ref;

enum class action : unsigned char { launch, copy, fill, record, wait, commit, release, graph };

/* What a copy's pinned source held when it was put into the stream. */
struct seal {
    bool set;
    uint64_t hash;
};

struct graph_body;

struct operation {
    action what = action::record;
    bool hangs = false;              /* never comes to an end */
    cudaError_t fault = cudaSuccess; /* what it dies of, and the device with it */
    double put_ms = 0;               /* when it was put, on the virtual clock */
    /* launch */
    kernel *function = nullptr;
    dim3 grid = {}, block = {};
    size_t dynamic_bytes = 0;
    void (*invoke)(const void *arguments) = nullptr;
    std::shared_ptr<void> arguments;
    size_t argument_bytes = 0;
    /* copy and fill, height rows; commit and release: `to` alone */
    char *to = nullptr;
    const char *from = nullptr;
    size_t to_pitch = 0, from_pitch = 0, width = 0, height = 0;
    int value = 0;
    bool to_host = false, from_host = false;
    std::shared_ptr<std::vector<char>> snapshot; /* of a pageable source, rows without gaps */
    /* record: what it reaches; wait: what it waits for; graph: the launch of it before this one */
    point_ref at;
    std::shared_ptr<graph_body> graph;
    std::vector<seal> seals; /* one for each copy: itself, or the graph's nodes */
    CUmemPoolHandle_st *pool = nullptr;
};

/* What CUDA says of such a copy; *ret is it. */
cudaError_t operation_copy(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                           size_t width, size_t height, enum cudaMemcpyKind kind, operation *ret);
/* Report memory of another device than the stream's. */
void operation_check_device(const operation &op, int device);
/* It is put into a stream now: poison what it will write, seal what it will read. */
void operation_prepare(operation *op);
void operation_run(operation *op);
/* A graph's node, in the graph's turn. */
void operation_run_node(operation *node, const seal &s);
double operation_cost_ms(const operation &op);
/* It reads or writes [start, start + bytes), as far as ranges and kernels' arguments show. */
bool operation_uses(const operation &op, const void *start, size_t bytes);
void operation_describe(const operation &op, char *text, size_t size);
/* Calls fn(word) for each address-sized word of a launch's arguments. */
template <class F> void operation_argument_words(const operation &op, F fn)
{
    for (size_t at = 0; at + sizeof(uintptr_t) <= op.argument_bytes; at += sizeof(uintptr_t)) {
        uintptr_t word;

        memcpy(&word, static_cast<const char *>(op.arguments.get()) + at, sizeof(word));
        fn(word);
    }
}

/* ---- stream.cpp ---- */

extern std::recursive_mutex runtime_lock;
typedef std::unique_lock<std::recursive_mutex> runtime_hold;

/* Streams, events, pools and graphs that live. */
bool handle_lives(const void *handle);
void handle_add(const void *handle);
/* False: it does not live. */
bool handle_remove(const void *handle);

/* The virtual clock as the host sees it: a microsecond for each call of the runtime. */
double clock_ms(void);
void clock_tick(void);
/* The streams' own dice, by the seed. */
uint64_t stream_random(void);

/* A stream that may be used: reports the default stream, and one of another device than the thread
 * has chosen (of which a card refuses launches only). */
bool stream_is_good(cudaStream_t stream);
/* Its handle is gone; what is in it still runs. */
void stream_destroy(cudaStream_t stream);
/* Append, or add to the graph that the stream captures. */
cudaError_t stream_put(cudaStream_t stream, operation &&op);
/* Run what is needed until the point is reached, or until the stream is empty. False: something
 * hangs. */
bool stream_reach(const point_ref &at);
bool stream_finish(cudaStream_t stream);
/* Something that hangs is in some stream of the device. */
bool stream_hangs(int device);
/* What a thread does that waits for it: sleep for a while. Not under the lock. */
void nap_in_vain(void);
/* Nothing that waits there will ever run: nobody waits for it any more either. */
void stream_drop_all(int device);
/* fn(op) for everything that waits in any stream. */
template <class F> void stream_each_pending(F fn);
std::vector<CUstream_st *> &stream_all(void);

/* ---- graph.cpp ---- */

struct graph_use {
    const void *address;
    uint64_t number; /* of the allocation that it was in */
};

struct graph_node {
    operation op;
    std::vector<unsigned> after; /* nodes that come before it */
    std::vector<graph_use> uses;
};

struct graph_body {
    std::vector<graph_node> nodes;
};

struct capture {
    enum cudaStreamCaptureMode mode;
    std::thread::id thread;
    cudaStream_t origin;
    unsigned long long id;
    bool invalid, over;
    std::shared_ptr<graph_body> body;
};
typedef std::shared_ptr<capture> capture_ref;

/* Of a capturing stream: a node for it; the error that CUDA gives once the capture is invalid. */
cudaError_t capture_put(cudaStream_t stream, operation &&op);
/* Calls that may not stand in a capture spoil it: of this stream's, and of the calling thread. */
cudaError_t capture_refuses(cudaStream_t stream);
cudaError_t capture_forbids(void);
cudaError_t capture_record(cudaStream_t stream, cudaEvent_t event);
cudaError_t capture_wait(cudaStream_t stream, cudaEvent_t event);
void graph_run(operation *op);

/* ---- pool.cpp ---- */

/* A stream or an event was waited for: pools give back what is above their threshold. */
void pool_settle(void);
void pool_release(operation *op);

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

struct CUstream_st {
    unsigned number; /* from 1 */
    int device;
    bool destroyed; /* what is in it still runs */
    std::deque<enso_emulated::operation> pending;
    double ms; /* when its last operation ended, on the virtual clock */
    unsigned patience;
    enso_emulated::capture_ref capturing;
    std::vector<unsigned> frontier; /* nodes that the next captured one comes after */
};

struct CUevent_st {
    unsigned flags;
    int device;
    enso_emulated::point_ref at; /* of its last record */
    enso_emulated::capture_ref captured;
    std::vector<unsigned> frontier;
};

template <class F> void enso_emulated::stream_each_pending(F fn)
{
    for (CUstream_st *stream : stream_all())
        for (operation &op : stream->pending)
            fn(op);
}

#endif
