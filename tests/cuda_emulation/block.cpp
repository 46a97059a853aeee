/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads of the running block. Each is in one of five states, kept as bits by lane in its
 * warp: not started, ready, at the barrier, in a warp function, gone. A fiber runs one thread after
 * the other until a thread must wait; that thread keeps the fiber and another fiber goes on. So a
 * kernel without barriers and warp functions runs all its blocks on one fiber without a switch, and
 * a switch happens only where a thread really waits.
 *
 * Who runs next is drawn by the seed for every block: the warps' order and the lanes' order in them
 * (a rotation, forwards or backwards). A warp runs until none of its lanes can: warps drift apart
 * as far as barriers let them.
 *
 * Rules: a barrier opens when all threads that have not exited wait at it, all at the same place.
 * A warp function returns when all lanes of its mask that have not exited called it, at the same
 * place with the same mask. Anything else is reported, at once or when nobody can run any more.
 *
 * Under ThreadSanitizer each CUDA thread has a fiber and a TSan thread of its own; what orders two
 * of them is only the launch, the barrier and warp functions (see `order_*`). The fiber that a
 * thread number gets moves on with each block, so that blocks are unordered too.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdarg.h>
#include <stdlib.h>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

#ifdef ENSO_EMULATED_TSAN
extern "C" {
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
}
#endif

namespace enso_emulated
{

namespace
{
constexpr unsigned MAX_THREADS = 1024, LANES = 32, MAX_WARPS = MAX_THREADS / LANES;
/* TSan: more fibers than threads, so that small blocks move on as well. */
constexpr unsigned MAX_FIBERS = MAX_THREADS + 61;

struct thread {
    fiber *on;
    place at; /* where it waits */
    collective kind;
    unsigned mask;
    int operand, width;
    uint64_t value, result;
    const char *instruction; /* of the twin's */
    warp_twin twin;
    uint32_t *registers;
    unsigned n_registers;
};

/* Bits by lane. A lane that is alive and in none of the other four runs. */
struct warp {
    uint32_t alive, unstarted, ready, barrier, collective;
};

struct block {
    unsigned n_threads, n_warps;
    unsigned n_alive, n_barrier;
    uint32_t runnable; /* warps with a lane that is unstarted or ready */
    unsigned current;  /* thread that runs */
    place barrier_at;  /* where the first that waits does */
    unsigned lane_turn, warp_turn;
    bool lanes_backwards, warps_backwards;
    warp warps[MAX_WARPS];
};

block b;
thread threads[MAX_THREADS];
fiber fibers[MAX_FIBERS];
fiber *running;
fiber host;
#ifdef ENSO_EMULATED_TSAN
unsigned fiber_turn;
void *janitor;
char launch_end;
#else
unsigned n_fibers;
fiber *free_fibers;
#endif

void order_acquire(unsigned i)
{
#ifdef ENSO_EMULATED_TSAN
    __tsan_acquire(shared_sync_address(i));
#else
    (void)i;
#endif
}

void order_release(unsigned i)
{
#ifdef ENSO_EMULATED_TSAN
    __tsan_release(shared_sync_address(i));
#else
    (void)i;
#endif
}

/* Addresses of the race detector: those who arrive release ARRIVE; the last one acquires it and
 * releases LEAVE, which all acquire when they go on. Nobody can arrive again before all have left,
 * so one pair is enough for a barrier, and for each (warp, lowest lane of the mask). */
enum { ORDER_START = 0, ORDER_END = 1, ORDER_BARRIER = 2, ORDER_WARPS = 4 };

unsigned order_of_warp(unsigned w, unsigned mask)
{
    return ORDER_WARPS + (w * LANES + (unsigned)__builtin_ctz(mask)) * 2;
}

/* The first set bit at or after `turn`, or before it when backwards. bits is not 0. */
unsigned pick(uint32_t bits, unsigned turn, bool backwards)
{
    uint32_t rotated = turn == 0 ? bits : bits >> turn | bits << (32 - turn);
    unsigned at =
        backwards ? 31 - (unsigned)__builtin_clz(rotated) : (unsigned)__builtin_ctz(rotated);

    return (at + turn) % 32;
}

/* Make the thread that runs next the current one; start: it has not begun. False: nobody can run.
 */
bool next_thread(bool *ret_start)
{
    unsigned w = b.current / LANES, lane;
    uint32_t lanes;

    while ((lanes = b.warps[w].unstarted | b.warps[w].ready) == 0) {
        b.runnable &= ~(1u << w);
        if (b.runnable == 0)
            return false;
        w = pick(b.runnable, b.warp_turn, b.warps_backwards);
    }
    lane = pick(lanes, b.lane_turn, b.lanes_backwards);
    *ret_start = (b.warps[w].unstarted >> lane & 1) != 0;
    b.warps[w].unstarted &= ~(1u << lane);
    b.warps[w].ready &= ~(1u << lane);
    b.current = w * LANES + lane;
    return true;
}

uint3 index_of(unsigned thread)
{
    return {thread % blockDim.x, thread / blockDim.x % blockDim.y,
            thread / blockDim.x / blockDim.y};
}

const char *function_name(collective kind, const char *instruction = nullptr)
{
    static const char *const names[] = {"__syncwarp",       "__shfl_sync",     "__shfl_up_sync",
                                        "__shfl_down_sync", "__shfl_xor_sync", "__ballot_sync"};

    return kind == collective::instruction ? instruction : names[(unsigned)kind];
}

struct text {
    char *at;
    size_t left;
};

__attribute__((format(printf, 2, 3))) void append(text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < t->left) {
        t->at += n;
        t->left -= (size_t)n;
    } else {
        t->left = 0;
    }
}

bool same_place(place p, place q)
{
    return p.line == q.line && (p.file == q.file || strcmp(p.file, q.file) == 0);
}

bool waits_alike(unsigned i, unsigned j)
{
    const warp &wi = b.warps[i / LANES], &wj = b.warps[j / LANES];
    bool barrier_i = (wi.barrier >> i % LANES & 1) != 0;
    bool barrier_j = (wj.barrier >> j % LANES & 1) != 0;

    if (barrier_i != barrier_j || !same_place(threads[i].at, threads[j].at))
        return false;
    return barrier_i || (i / LANES == j / LANES && threads[i].mask == threads[j].mask);
}

bool waits(unsigned i)
{
    const warp &w = b.warps[i / LANES];

    return ((w.barrier | w.collective) >> i % LANES & 1) != 0;
}

/* One line for all threads that wait at the same place in the same way, named by first and number.
 */
void describe_waiting(text *t)
{
    for (unsigned i = 0; i < b.n_threads; i++) {
        unsigned alike = 0, last = i;
        bool first = waits(i);

        for (unsigned j = 0; first && j < i; j++)
            first = !waits(j) || !waits_alike(i, j);
        if (!first)
            continue;
        for (unsigned j = i; j < b.n_threads; j++)
            if (waits(j) && waits_alike(i, j)) {
                alike++;
                last = j;
            }
        bool barrier = (b.warps[i / LANES].barrier >> i % LANES & 1) != 0;
        uint3 from = index_of(i), to = index_of(last);

        append(t, "\n  %s:%d: %u thread%s, (%u,%u,%u) to (%u,%u,%u), in %s", threads[i].at.file,
               threads[i].at.line, alike, alike == 1 ? "" : "s", from.x, from.y, from.z, to.x, to.y,
               to.z,
               barrier ? "__syncthreads" : function_name(threads[i].kind, threads[i].instruction));
        if (!barrier)
            append(t, " of mask 0x%08x", threads[i].mask);
    }
}

[[noreturn]] void report_waiting(const char *what)
{
    static char buffer[8192];
    text t = {buffer, sizeof(buffer)};

    append(&t, "%s; %u of %u threads have exited, these wait:", what, b.n_threads - b.n_alive,
           b.n_threads);
    describe_waiting(&t);
    report_launch("block (%u,%u,%u): %s", blockIdx.x, blockIdx.y, blockIdx.z, buffer);
}

void run_fiber(void);

fiber *take_fiber(void)
{
#ifdef ENSO_EMULATED_TSAN
    unsigned i = (b.current + fiber_turn) % MAX_FIBERS;

    if (fibers[i].base == nullptr)
        fiber_create(&fibers[i], run_fiber);
    return &fibers[i];
#else
    fiber *f = free_fibers;

    if (f == nullptr) {
        f = &fibers[n_fibers++];
        fiber_create(f, run_fiber);
    } else {
        free_fibers = f->next_free;
    }
    return f;
#endif
}

void go_on(fiber *from, bool start)
{
    fiber *to = start ? take_fiber() : threads[b.current].on;

    threadIdx = index_of(b.current);
    running = to;
    if (to != from)
        fiber_switch(from, to);
}

/* The running thread waits: somebody else runs until it is ready. */
void wait_here(void)
{
    unsigned self = b.current;
    bool start;

    threads[self].on = running;
    if (!next_thread(&start))
        report_waiting("nobody can go on");
    go_on(running, start);
}

/* Everybody alive waits at the barrier: all are ready, but for `self` who runs already. */
void open_barrier(void)
{
    b.n_barrier = 0;
    trace_block();
    for (unsigned w = 0; w < b.n_warps; w++) {
        b.warps[w].ready |= b.warps[w].barrier;
        if (b.warps[w].barrier != 0)
            b.runnable |= 1u << w;
        b.warps[w].barrier = 0;
    }
    launched.running->barriers++;
    order_acquire(ORDER_BARRIER);
    order_release(ORDER_BARRIER + 1);
}

uint64_t shuffled(unsigned w, unsigned lane, unsigned members)
{
    const thread &t = threads[w * LANES + lane];
    int width = t.width, segment = (int)lane & ~(width - 1), source;

    switch (t.kind) {
    case collective::shuffle_index:
        source = segment + (t.operand & (width - 1));
        break;
    case collective::shuffle_up:
        source = (int)lane - t.operand < segment ? (int)lane : (int)lane - t.operand;
        break;
    case collective::shuffle_down:
        source = (int)lane + t.operand >= segment + width ? (int)lane : (int)lane + t.operand;
        break;
    default: /* xor: lanes of earlier segments may be read, of later ones not */
        source = (int)lane ^ t.operand;
        if (source >= segment + width)
            source = (int)lane;
        break;
    }
    if (source < 0 || source >= (int)LANES || (members >> source & 1) == 0)
        report_launch("block (%u,%u,%u): %s:%d: lane %u of warp %u reads lane %d in %s, which is "
                      "not there: mask 0x%08x, of which 0x%08x have not exited",
                      blockIdx.x, blockIdx.y, blockIdx.z, t.at.file, t.at.line, lane, w, source,
                      function_name(t.kind), t.mask, members);
    return threads[w * LANES + (unsigned)source].value;
}

/* The registers of all lanes through the instruction's twin. */
void execute(unsigned w, unsigned members)
{
    const thread *lanes = &threads[w * LANES], &first = lanes[__builtin_ctz(members)];
    warp_registers registers;

    if (members != ~0u)
        report_launch("block (%u,%u,%u): %s:%d: %s takes all 32 lanes of warp %u, of which only "
                      "0x%08x are there",
                      blockIdx.x, blockIdx.y, blockIdx.z, first.at.file, first.at.line,
                      first.instruction, w, members);
    for (unsigned lane = 0; lane < LANES; lane++)
        memcpy(registers[lane], lanes[lane].registers, lanes[lane].n_registers * sizeof(uint32_t));
    first.twin(registers);
    for (unsigned lane = 0; lane < LANES; lane++)
        memcpy(lanes[lane].registers, registers[lane], lanes[lane].n_registers * sizeof(uint32_t));
}

/* The results of the warp functions that CUDA C++ has. */
void give_results(unsigned w, unsigned members)
{
    uint64_t ballot = 0;

    for (unsigned rest = members; rest != 0; rest &= rest - 1)
        ballot |= (uint64_t)(threads[w * LANES + (unsigned)__builtin_ctz(rest)].value != 0)
                  << __builtin_ctz(rest);
    for (unsigned rest = members; rest != 0; rest &= rest - 1) {
        unsigned lane = (unsigned)__builtin_ctz(rest);
        thread &t = threads[w * LANES + lane];

        t.result = t.kind == collective::sync     ? 0
                   : t.kind == collective::ballot ? ballot
                                                  : shuffled(w, lane, members);
    }
}

/* All members of the mask are there: give each its result. */
void meet(unsigned w, unsigned members)
{
    const unsigned first = w * LANES + (unsigned)__builtin_ctz(members);

    order_acquire(order_of_warp(w, threads[first].mask));
    for (unsigned rest = members; rest != 0; rest &= rest - 1) {
        const thread &t = threads[w * LANES + (unsigned)__builtin_ctz(rest)];

        if (t.mask != threads[first].mask || t.kind != threads[first].kind ||
            t.twin != threads[first].twin || !same_place(t.at, threads[first].at))
            report_waiting("lanes of one mask are in different warp functions");
    }
    if (threads[first].kind == collective::instruction)
        execute(w, members);
    else
        give_results(w, members);
    if (members == b.warps[w].alive)
        trace_warp(w);
    b.warps[w].collective &= ~members;
    b.warps[w].ready |= members;
    b.runnable |= 1u << w;
    launched.running->collectives++;
    order_release(order_of_warp(w, threads[first].mask) + 1);
}

/* A thread is gone: those who waited for it alone go on. */
void thread_exits(void)
{
    unsigned w = b.current / LANES;

    copy_async_end(b.current);
    order_release(ORDER_END);
    b.warps[w].alive &= ~(1u << b.current % LANES);
    b.n_alive--;
    if (b.warps[w].alive == 0)
        trace_warp(w);
    if (b.n_barrier != 0 && b.n_barrier == b.n_alive)
        open_barrier();
    for (uint32_t rest = b.warps[w].collective; rest != 0;) {
        unsigned first = w * LANES + (unsigned)__builtin_ctz(rest);
        unsigned members = threads[first].mask & b.warps[w].alive;

        if ((members & ~b.warps[w].collective) == 0)
            meet(w, members);
        rest &= ~members;
    }
}

/* Prepare the next block of the grid; false after the last. */
bool begin_block(void)
{
    uint64_t random = seed() * 0x2545f4914f6cdd1du + launched.number;

    if (!next_block())
        return false;
    random ^= ((uint64_t)blockIdx.z << 42) + ((uint64_t)blockIdx.y << 21) + blockIdx.x;
    random = random_next(&random);
    if (seed() == 0)
        random = 0;
    b.lane_turn = random % 32;
    b.lanes_backwards = (random >> 5 & 1) != 0;
    b.warp_turn = (random >> 6) % 32;
    b.warps_backwards = (random >> 11 & 1) != 0;
#ifdef ENSO_EMULATED_TSAN
    fiber_turn = (fiber_turn + 1 + (random >> 12) % 53) % MAX_FIBERS;
#endif
    b.n_alive = b.n_threads;
    b.n_barrier = 0;
    b.runnable = b.n_warps == 32 ? ~0u : (1u << b.n_warps) - 1;
    for (unsigned w = 0; w < b.n_warps; w++) {
        unsigned lanes = b.n_threads - w * LANES < LANES ? b.n_threads - w * LANES : LANES;
        uint32_t bits = lanes == 32 ? ~0u : (1u << lanes) - 1;

        b.warps[w] = {bits, bits, 0, 0, 0};
    }
    b.current = pick(b.runnable, b.warp_turn, b.warps_backwards) * LANES;
    shared_begin_block();
    order_release(ORDER_START);
    return true;
}

#ifdef ENSO_EMULATED_TSAN
/* Check and free the block's memory as somebody who is ordered after this block's threads; the
 * host, who starts the next block, is not, or blocks would be ordered after each other. */
void end_block_unseen(void)
{
    if (janitor == nullptr)
        janitor = __tsan_create_fiber(0);
    __tsan_switch_to_fiber(janitor, 1);
    order_acquire(ORDER_END);
    __tsan_release(&launch_end);
    shared_end_block();
    __tsan_switch_to_fiber(host.race_detector, 1);
}
#endif

/* What a fiber does: run threads, one after the other. */
void run_fiber(void)
{
    fiber *const self = running;

    fiber_entered(self);
    for (;;) {
        bool start;

        order_acquire(ORDER_START);
        launched.call.invoke(launched.call.arguments);
        thread_exits();
        if (!next_thread(&start)) {
            if (b.n_alive != 0)
                report_waiting("nobody can go on");
#ifdef ENSO_EMULATED_TSAN
            running = &host;
            fiber_switch(self, &host);
            continue;
#else
            shared_end_block();
            if (!begin_block()) {
                self->next_free = free_fibers;
                free_fibers = self;
                running = &host;
                fiber_switch(self, &host);
                continue;
            }
            next_thread(&start);
#endif
        }
#ifndef ENSO_EMULATED_TSAN
        if (start) {
            threadIdx = index_of(b.current);
            continue;
        }
        self->next_free = free_fibers;
        free_fibers = self;
#endif
        go_on(self, start);
    }
}

} // namespace

void run_grid(unsigned n_threads)
{
    bool start = false;

    memset(&host, 0, sizeof(host));
    fiber_adopt_host(&host);
    b.n_threads = n_threads;
    b.n_warps = (n_threads + LANES - 1) / LANES;
    while (begin_block()) {
        running = &host;
        next_thread(&start);
        go_on(&host, start);
#ifdef ENSO_EMULATED_TSAN
        end_block_unseen();
#else
        break; /* fibers go from block to block by themselves */
#endif
    }
#ifdef ENSO_EMULATED_TSAN
    __tsan_acquire(&launch_end);
#endif
}

void block_barrier(place at)
{
    warp &w = b.warps[b.current / LANES];

    order_release(ORDER_BARRIER);
    threads[b.current].at = at;
    w.barrier |= 1u << b.current % LANES;
    if (b.n_barrier++ == 0)
        b.barrier_at = at;
    else if (!same_place(at, b.barrier_at))
        report_waiting("threads of a block are at different barriers");
    if (b.n_barrier == b.n_alive) {
        open_barrier();
        w.ready &= ~(1u << b.current % LANES);
    } else {
        wait_here();
    }
    order_acquire(ORDER_BARRIER + 1);
}

/* The running thread, described in `threads`, waits for the others of its mask. */
static void meet_or_wait(unsigned mask)
{
    const unsigned self = b.current, bit = 1u << self % LANES;
    warp &w = b.warps[self / LANES];
    unsigned members = mask & w.alive;

    order_release(order_of_warp(self / LANES, mask));
    threads[self].mask = mask;
    w.collective |= bit;
    if ((members & ~w.collective) == 0) {
        meet(self / LANES, members);
        w.ready &= ~bit;
    } else {
        wait_here();
    }
    order_acquire(order_of_warp(self / LANES, mask) + 1);
}

uint64_t warp_collective(collective kind, unsigned mask, uint64_t value, int operand, int width,
                         place at)
{
    const unsigned self = b.current, lane = self % LANES, bit = 1u << lane;

    if ((mask & bit) == 0)
        report("%s:%d: lane %u calls %s with mask 0x%08x, in which it is not itself", at.file,
               at.line, lane, function_name(kind), mask);
    if (width <= 0 || width > 32 || (width & (width - 1)) != 0)
        report("%s:%d: %s of width %d, which must be a power of two up to 32", at.file, at.line,
               function_name(kind), width);
    threads[self].at = at;
    threads[self].kind = kind;
    threads[self].twin = nullptr;
    threads[self].operand = operand;
    threads[self].width = width;
    threads[self].value = value;
    meet_or_wait(mask);
    return threads[self].result;
}

void warp_instruction(const char *name, warp_twin twin, uint32_t *registers, unsigned n, place at)
{
    thread &t = threads[b.current];

    t.at = at;
    t.kind = collective::instruction;
    t.instruction = name;
    t.twin = twin;
    t.registers = registers;
    t.n_registers = n;
    meet_or_wait(~0u);
}

unsigned thread_number(void)
{
    return b.current;
}

void describe_thread(char *text, size_t size)
{
    snprintf(text, size, "block (%u,%u,%u) thread (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z,
             threadIdx.x, threadIdx.y, threadIdx.z);
}

bool stack_overflowed(const void *address)
{
    for (const fiber &f : fibers)
        if (fiber_overflowed(&f, address))
            return true;
    return false;
}

} // namespace enso_emulated
