/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain loads and stores, for counting: kernels compiled with the race detector's instrumentation,
 * whose calls end here instead of in its runtime. Only in ensod-cuda-counted.so and check_counts:
 * elsewhere kernels are compiled without, and the functions that the emulator calls do nothing.
 *
 * A card executes an instruction for a warp, the emulation for one lane after the other. So each
 * thread keeps a log of its accesses, and where the lanes of a warp have come together (a barrier,
 * a warp function, their end) the logs are read side by side: the n-th access from one place in the
 * program since they were together last is one instruction of all lanes that have it. That is
 * what hardware does as long as lanes that part come together again before the next loop's turn,
 * as compilers arrange it.
 *
 * Places are return addresses, so an inlined or unrolled access is one of its own. What the
 * compiler keeps in registers is not seen, as on a card; it is another compiler, so single accesses
 * may differ.
 *
 * Only one warp's log is large at a time: a warp runs until none of its lanes can.
 */
#include "tests/cuda_emulation/emulator.h"

#include <algorithm>
#include <unordered_map>

namespace enso_emulated
{

namespace
{
constexpr unsigned LANES = 32, MAX_THREADS = 1024;
constexpr size_t MOST_LOGGED = 1 << 18; /* of one thread */
constexpr size_t KEPT = 1 << 10;        /* entries for which a log keeps its memory */
constexpr uintptr_t PAGE = 4096, SECTOR = 32;
constexpr unsigned CACHED_PAGES = 1 << 14;

struct access {
    const void *address;
    uint32_t place; /* lower half of the return address */
    uint8_t bytes;
    bool shared, writes;
};

std::vector<access> logs[MAX_THREADS];
uint32_t logged_warps; /* bits */

/* Sectors of one page of device memory that the running launch has touched. */
struct touched {
    uint64_t sectors[2][PAGE / SECTOR / 64]; /* read, written */
};

/* What a page was found to be in the running launch, by the page's number. */
struct cached_page {
    uintptr_t page;
    uint64_t launch;
    touched *device; /* NULL: it is none of the device's */
};

std::unordered_map<uintptr_t, touched> pages;
cached_page cache[CACHED_PAGES];

touched *look_up(const void *address)
{
    const uintptr_t page = reinterpret_cast<uintptr_t>(address) / PAGE;
    cached_page &c = cache[page % CACHED_PAGES];

    if (c.page != page || c.launch != launched.number) {
        c.page = page;
        c.launch = launched.number;
        c.device = memory_is_device(address) ? &pages[page] : nullptr;
    }
    return c.device;
}

void touch(touched *t, const void *address, unsigned bytes, bool writes)
{
    const uintptr_t at = reinterpret_cast<uintptr_t>(address);

    for (uintptr_t s = at / SECTOR; s <= (at + bytes - 1) / SECTOR; s++) {
        const unsigned i = s % (PAGE / SECTOR);

        if (i == 0 && s != at / SECTOR)
            t = look_up(reinterpret_cast<const void *>(s * SECTOR));
        if (t != nullptr)
            t->sectors[writes][i / 64] |= UINT64_C(1) << i % 64;
    }
}

/* ---- the logs of a warp, side by side ---- */

/* One instruction: by lane, NULL where it has none. */
void count_instruction(const access *const *lanes)
{
    const void *shared[LANES] = {}, *global[LANES] = {};
    const access *one = nullptr;
    bool any_shared = false, any_global = false;

    for (unsigned lane = 0; lane < LANES; lane++) {
        const access *a = lanes[lane];

        if (a == nullptr)
            continue;
        one = a;
        (a->shared ? shared : global)[lane] = a->address;
        any_shared = any_shared || a->shared;
        any_global = any_global || !a->shared;
    }
    if (any_shared)
        count_shared(shared, LANES, one->bytes, one->writes);
    if (any_global)
        count_sectors(global, LANES, one->bytes, one->writes);
}

/* As far as all lanes that have accesses have the same ones. Returns how many those are. */
size_t count_alike(const std::vector<access> *warp)
{
    const access *lanes[LANES];
    unsigned first = 0;

    while (warp[first].empty())
        first++;
    for (size_t i = 0;; i++) {
        for (unsigned lane = 0; lane < LANES; lane++) {
            if (warp[lane].empty()) {
                lanes[lane] = nullptr;
                continue;
            }
            if (i >= warp[lane].size() || i >= warp[first].size() ||
                warp[lane][i].place != warp[first][i].place)
                return i;
            lanes[lane] = &warp[lane][i];
        }
        count_instruction(lanes);
    }
}

struct numbered {
    uint64_t key; /* place and how often the lane was there before */
    unsigned lane;
    const access *a;
};

/* The rest of the logs, in which lanes went ways of their own. */
void count_unlike(const std::vector<access> *warp, size_t from)
{
    static std::vector<numbered> all;
    static std::unordered_map<uint32_t, uint32_t> visits;

    all.clear();
    for (unsigned lane = 0; lane < LANES; lane++) {
        visits.clear();
        for (size_t i = from; i < warp[lane].size(); i++) {
            const access &a = warp[lane][i];

            all.push_back({(uint64_t)a.place << 32 | visits[a.place]++, lane, &a});
        }
    }
    std::sort(all.begin(), all.end(),
              [](const numbered &p, const numbered &q) { return p.key < q.key; });
    for (size_t i = 0; i < all.size();) {
        const access *lanes[LANES] = {};
        const uint64_t key = all[i].key;

        for (; i < all.size() && all[i].key == key; i++)
            lanes[all[i].lane] = all[i].a;
        count_instruction(lanes);
    }
}

void note(const void *address, unsigned bytes, bool writes, const void *place)
{
    if (launched.running == nullptr)
        return;
    counts &told = launched.running->told;
    const bool shared = shared_is_here(address);
    const unsigned thread = thread_number();

    if (!shared) {
        touched *t = look_up(address);

        if (t == nullptr)
            return; /* a stack, arguments, constants */
        touch(t, address, bytes, writes);
        (writes ? told.global_written : told.global_read) += bytes;
    }
    const access a = {address, (uint32_t) reinterpret_cast<uintptr_t>(place), (uint8_t)bytes,
                      shared, writes};
    if (logs[thread].size() == MOST_LOGGED) {
        const access *const lanes[LANES] = {&a};

        told.alone++;
        count_instruction(lanes);
        return;
    }
    logs[thread].push_back(a);
    logged_warps |= 1u << thread / LANES;
}

/* As loads or stores of 16 bytes. */
void note_range(const void *start, size_t bytes, bool writes, const void *place)
{
    for (size_t at = 0; at < bytes; at += 16)
        note(static_cast<const char *>(start) + at, (unsigned)std::min(bytes - at, (size_t)16),
             writes, place);
}

} // namespace

void trace_warp(unsigned w)
{
    std::vector<access> *const warp = &logs[w * LANES];

    if ((logged_warps >> w & 1) == 0)
        return;
    logged_warps &= ~(1u << w);
    count_unlike(warp, count_alike(warp));
    for (unsigned lane = 0; lane < LANES; lane++) {
        warp[lane].clear();
        if (warp[lane].capacity() > KEPT)
            warp[lane].shrink_to_fit();
    }
}

void trace_block(void)
{
    while (logged_warps != 0)
        trace_warp((unsigned)__builtin_ctz(logged_warps));
}

void trace_touch(const void *address, unsigned bytes, bool writes)
{
    touch(look_up(address), address, bytes, writes);
}

void trace_begin_launch(void)
{
    pages.clear();
}

void trace_end_launch(void)
{
    counts &told = launched.running->told;

    for (const auto &entry : pages)
        for (unsigned i = 0; i < PAGE / SECTOR / 64; i++) {
            told.global_read_once +=
                SECTOR * (uint64_t)__builtin_popcountll(entry.second.sectors[0][i]);
            told.global_written_once +=
                SECTOR * (uint64_t)__builtin_popcountll(entry.second.sectors[1][i]);
        }
}

} // namespace enso_emulated

/* What the compiler calls before each access. */
extern "C" {
#define ENSO_TRACED(name, bytes, writes)                                                           \
    void name(void *address);                                                                      \
    void name(void *address)                                                                       \
    {                                                                                              \
        enso_emulated::note(address, bytes, writes, __builtin_return_address(0));                  \
    }
#define ENSO_TRACED_SIZE(bytes)                                                                    \
    ENSO_TRACED(__tsan_read##bytes, bytes, false)                                                  \
    ENSO_TRACED(__tsan_write##bytes, bytes, true)                                                  \
    ENSO_TRACED(__tsan_unaligned_read##bytes, bytes, false)                                        \
    ENSO_TRACED(__tsan_unaligned_write##bytes, bytes, true)
ENSO_TRACED_SIZE(1)
ENSO_TRACED_SIZE(2)
ENSO_TRACED_SIZE(4)
ENSO_TRACED_SIZE(8)
ENSO_TRACED_SIZE(16)

/* clang 15 and later call these instead of memcpy and the like. */
void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    enso_emulated::note_range(from, bytes, false, __builtin_return_address(0));
    enso_emulated::note_range(to, bytes, true, __builtin_return_address(0));
    return memcpy(to, from, bytes);
}

void *__tsan_memmove(void *to, const void *from, size_t bytes);
void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    enso_emulated::note_range(from, bytes, false, __builtin_return_address(0));
    enso_emulated::note_range(to, bytes, true, __builtin_return_address(0));
    return memmove(to, from, bytes);
}

void *__tsan_memset(void *to, int value, size_t bytes);
void *__tsan_memset(void *to, int value, size_t bytes)
{
    enso_emulated::note_range(to, bytes, true, __builtin_return_address(0));
    return memset(to, value, bytes);
}

void __tsan_init(void);
void __tsan_init(void)
{
}
}
