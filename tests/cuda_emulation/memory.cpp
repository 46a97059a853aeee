/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of the device, and pinned memory of the host: each allocation stands between pages that
 * nobody may touch, filled with a NaN pattern, aligned to 256 bytes as CUDA does it. The bytes
 * between its end and the guard page (at most 255) and 256 before its start are looked at after
 * every launch. Freed memory
 * stays reserved for a while, so that a late reader is told what it reads.
 */
#include "tests/cuda_emulation/emulator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <mutex>

namespace enso_emulated
{

namespace
{
constexpr size_t ALIGNMENT = 256, MAX_GRAVES = 256;

struct allocation {
    char *map; /* with both guards */
    size_t map_bytes;
    size_t bytes;
    uint64_t number; /* from 1 */
    memory_kind kind;
    int device;
    bool freed;
    bool committed;
};

std::mutex lock;
std::map<const char *, allocation> allocations; /* by start; freed ones until they are unmapped */
std::deque<const char *> graves;
size_t used[MAX_DEVICES];
uint64_t n_made;

size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* The allocation whose map holds the address. */
const allocation *find(const char *address, const char **ret_start)
{
    auto it = allocations.upper_bound(address);

    /* The address may be in the guard before the start of the next one. */
    if (it != allocations.end() && address >= it->second.map) {
        *ret_start = it->first;
        return &it->second;
    }
    if (it == allocations.begin())
        return nullptr;
    --it;
    if (address >= it->second.map + it->second.map_bytes)
        return nullptr;
    *ret_start = it->first;
    return &it->second;
}

bool holds(bool host, const void *memory, size_t bytes)
{
    const char *address = static_cast<const char *>(memory), *start;
    const allocation *a = find(address, &start);

    return a != nullptr && (a->kind == memory_kind::host) == host && !a->freed &&
           address >= start && address <= start + a->bytes &&
           bytes <= (size_t)(start + a->bytes - address);
}

bool commit(allocation *a)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (mprotect(a->map + page, a->map_bytes - 2 * page, PROT_READ | PROT_WRITE) != 0)
        return false;
#ifdef MADV_POPULATE_WRITE
    /* All pages at once: half the time of as many faults. */
    (void)madvise(a->map + page, a->map_bytes - 2 * page, MADV_POPULATE_WRITE);
#endif
    poison(a->map + page, DEVICE_POISON, a->map_bytes - 2 * page);
    a->committed = true;
    return true;
}

} // namespace

void *memory_new(memory_kind kind, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t padded = round_up(bytes, ALIGNMENT), room = round_up(padded, page);
    std::lock_guard<std::mutex> hold(lock);
    const int device = device_current();
    char *map, *start;

    if (padded < bytes || room < padded ||
        (kind == memory_kind::device && padded > device_profile().memory_bytes - used[device]))
        return nullptr;
    map = static_cast<char *>(mmap(nullptr, room + 2 * page, PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (map == MAP_FAILED)
        return nullptr;
    start = map + page + room - padded;
    allocations[start] = {map, room + 2 * page, bytes, ++n_made, kind, device, false, false};
    if (kind != memory_kind::pool && !commit(&allocations[start])) {
        munmap(map, room + 2 * page);
        allocations.erase(start);
        return nullptr;
    }
    if (kind == memory_kind::device)
        used[device] += padded;
    return start;
}

void memory_commit(void *memory)
{
    std::lock_guard<std::mutex> hold(lock);
    auto it = allocations.find(static_cast<const char *>(memory));

    if (it == allocations.end() || it->second.freed || !commit(&it->second))
        report_launch("no memory for an allocation from a pool");
}

bool memory_lookup(const void *address, memory_info *ret)
{
    std::lock_guard<std::mutex> hold(lock);
    const char *at = static_cast<const char *>(address), *start;
    const allocation *a = find(at, &start);

    if (a == nullptr || at < start || at > start + a->bytes)
        return false;
    *ret = {start, a->bytes, a->number, a->kind, a->device, a->freed, a->committed};
    return true;
}

bool memory_charge(int device, size_t bytes)
{
    std::lock_guard<std::mutex> hold(lock);

    if (bytes > device_profile_of(device).memory_bytes - used[device])
        return false;
    used[device] += bytes;
    return true;
}

void memory_uncharge(int device, size_t bytes)
{
    std::lock_guard<std::mutex> hold(lock);

    used[device] -= bytes;
}

bool memory_delete(memory_kind kind, void *memory)
{
    std::lock_guard<std::mutex> hold(lock);
    auto it = allocations.find(static_cast<const char *>(memory));

    if (it == allocations.end() || it->second.kind != kind || it->second.freed)
        return false;
    if (kind == memory_kind::device)
        used[it->second.device] -= round_up(it->second.bytes, ALIGNMENT);
    it->second.freed = true;
    /* A new mapping over the old: its pages go back to the system. */
    mmap(it->second.map, it->second.map_bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    graves.push_back(it->first);
    if (graves.size() > MAX_GRAVES) {
        auto oldest = allocations.find(graves.front());

        munmap(oldest->second.map, oldest->second.map_bytes);
        allocations.erase(oldest);
        graves.pop_front();
    }
    return true;
}

bool memory_on_device(const void *memory, size_t bytes)
{
    std::lock_guard<std::mutex> hold(lock);

    return holds(false, memory, bytes);
}

bool memory_on_host(const void *memory, size_t bytes)
{
    std::lock_guard<std::mutex> hold(lock);

    return holds(true, memory, bytes);
}

bool memory_is_device(const void *memory)
{
    std::lock_guard<std::mutex> hold(lock);

    return holds(false, memory, 0);
}

size_t memory_used(int device)
{
    std::lock_guard<std::mutex> hold(lock);

    return used[device];
}

void memory_check_edges(void)
{
    const uint32_t pattern = DEVICE_POISON;
    unsigned char intact[2 * ALIGNMENT];
    std::lock_guard<std::mutex> hold(lock);

    poison(intact, pattern, sizeof(intact));
    for (const auto &entry : allocations) {
        const allocation &a = entry.second;
        const char *end = entry.first + a.bytes;
        size_t after = round_up(a.bytes, ALIGNMENT) - a.bytes;
        size_t room = (size_t)(entry.first - a.map) - (size_t)sysconf(_SC_PAGESIZE);
        size_t before = room < ALIGNMENT ? room : ALIGNMENT;

        /* The pattern's phase at the end is the size's. */
        if (a.freed || !a.committed)
            continue;
        if (memcmp(end, intact + a.bytes % sizeof(pattern), after) != 0)
            report_launch("a write up to %zu bytes past the end of allocation %llu (%zu bytes)",
                          after, (unsigned long long)a.number, a.bytes);
        if (memcmp(entry.first - before, intact, before) != 0)
            report_launch("a write up to %zu bytes before the start of allocation %llu (%zu bytes)",
                          before, (unsigned long long)a.number, a.bytes);
    }
}

/* Called from a signal handler whose thread may hold the lock: it goes without. */
bool memory_describe(const void *address, char *text, size_t size)
{
    const char *at = static_cast<const char *>(address), *start;
    const allocation *a = find(at, &start);
    const char *what;

    if (a == nullptr)
        return false;
    what = a->kind == memory_kind::host ? "pinned host allocation" : "device allocation";
    if (a->freed)
        snprintf(text, size, "%s %llu (%zu bytes) after it was freed", what,
                 (unsigned long long)a->number, a->bytes);
    else if (!a->committed)
        snprintf(text, size, "%s %llu (%zu bytes) before its turn in its stream came", what,
                 (unsigned long long)a->number, a->bytes);
    else if (at < start)
        snprintf(text, size, "%zu bytes before the start of %s %llu (%zu bytes)",
                 (size_t)(start - at), what, (unsigned long long)a->number, a->bytes);
    else
        snprintf(text, size, "%zu bytes past the end of %s %llu (%zu bytes)",
                 (size_t)(at - start) - a->bytes, what, (unsigned long long)a->number, a->bytes);
    return true;
}

} // namespace enso_emulated
