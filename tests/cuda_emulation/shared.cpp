/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared memory of the running block. Static arrays get their place when a thread of the block
 * first comes by them, with a strip behind each that nobody may write to; dynamic memory ends at a
 * guard page. All of it is poisoned anew for every block: what a kernel reads before it writes is
 * NaN, and a NaN of this pattern in a result is reported when it is copied to the host.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>
#include <sys/mman.h>

namespace enso_emulated
{

namespace
{
constexpr size_t STATIC_LIMIT = 48 * 1024, STRIP_BYTES = 64;
constexpr unsigned MAX_SITES = 128;
/* Room for the strips and alignment too. */
constexpr size_t STATIC_ROOM = STATIC_LIMIT + MAX_SITES * (STRIP_BYTES + 128);
constexpr size_t DYNAMIC_ROOM = 256 * 1024, GUARD_BYTES = 64 * 1024;

struct shared {
    char *statics;     /* STATIC_ROOM */
    char *dynamic_end; /* guard page */
    char *sync;
    size_t static_used, static_bytes;
    uint64_t block; /* number in the process, from 1 */
    unsigned n_sites;
    shared_site *sites[MAX_SITES];
#ifdef ENSO_EMULATED_TSAN
    char *fresh;
#endif
};

shared s;

size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

char *dynamic_start(void)
{
    return s.dynamic_end - round_up(launched.dynamic_bytes, 16);
}

#ifndef ENSO_EMULATED_TSAN
void reserve(void)
{
    char *memory = static_cast<char *>(mmap(nullptr, DYNAMIC_ROOM + 2 * GUARD_BYTES, PROT_NONE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

    if (memory == MAP_FAILED ||
        mprotect(memory + GUARD_BYTES, DYNAMIC_ROOM, PROT_READ | PROT_WRITE) != 0)
        report_launch("no memory for shared memory");
    s.dynamic_end = memory + GUARD_BYTES + DYNAMIC_ROOM;
    s.statics = static_cast<char *>(
        mmap(nullptr, STATIC_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (s.statics == MAP_FAILED)
        report_launch("no memory for shared memory");
}
#endif

} // namespace

void poison(void *memory, uint32_t pattern, size_t bytes)
{
    const uint32_t wide[8] = {pattern, pattern, pattern, pattern,
                              pattern, pattern, pattern, pattern};
    char *to = static_cast<char *>(memory);
    size_t at = 0;

    for (; at + sizeof(wide) <= bytes; at += sizeof(wide))
        memcpy(to + at, wide, sizeof(wide));
    for (; at + sizeof(pattern) <= bytes; at += sizeof(pattern))
        memcpy(to + at, &pattern, sizeof(pattern));
    memcpy(to + at, &pattern, bytes - at);
}

void shared_begin_block(void)
{
#ifdef ENSO_EMULATED_TSAN
    /* Memory that the race detector has not seen: earlier blocks had another one. */
    size_t dynamic = round_up(launched.dynamic_bytes, 16);

    s.fresh = static_cast<char *>(malloc(SYNC_ADDRESSES + STATIC_ROOM + dynamic + 256));
    if (s.fresh == nullptr)
        report_launch("no memory for shared memory");
    s.statics = reinterpret_cast<char *>(round_up(reinterpret_cast<size_t>(s.fresh), 128));
    s.dynamic_end = s.statics + STATIC_ROOM + dynamic;
    s.sync = s.dynamic_end;
#else
    if (s.statics == nullptr)
        reserve();
#endif
    s.block++;
    s.static_used = s.static_bytes = 0;
    s.n_sites = 0;
    if (launched.dynamic_bytes != 0)
        poison(dynamic_start(), SHARED_POISON, round_up(launched.dynamic_bytes, 16));
}

void shared_end_block(void)
{
    for (unsigned i = 0; i < s.n_sites; i++) {
        const char *strip = static_cast<const char *>(s.sites[i]->memory) + s.sites[i]->bytes;

        for (size_t at = 0; at < STRIP_BYTES; at += sizeof(uint32_t)) {
            uint32_t found;

            memcpy(&found, strip + at, sizeof(found));
            if (found != SHARED_POISON)
                report_launch("block (%u,%u,%u): a write past the end of shared array %s "
                              "(%zu bytes, %s:%d), %zu to %zu bytes behind it",
                              blockIdx.x, blockIdx.y, blockIdx.z, s.sites[i]->name,
                              s.sites[i]->bytes, s.sites[i]->file, s.sites[i]->line, at, at + 3);
        }
    }
    if (s.static_bytes > launched.running->static_bytes)
        launched.running->static_bytes = s.static_bytes;
#ifdef ENSO_EMULATED_TSAN
    free(s.fresh);
#endif
}

void *shared_static(shared_site *site)
{
    char *memory;
    size_t at;

    if (site->block == s.block)
        return site->memory;
    at = round_up(s.static_used, site->alignment > 16 ? site->alignment : 16);
    s.static_bytes = round_up(s.static_bytes, site->alignment) + site->bytes;
    if (s.static_bytes > STATIC_LIMIT || s.n_sites == MAX_SITES)
        report("%s:%d: %zu bytes of static shared memory with array %s, more than the 48 KiB that "
               "a kernel can declare",
               site->file, site->line, s.static_bytes, site->name);
    if (s.static_bytes + launched.dynamic_bytes > (launched.running->max_dynamic > 0
                                                       ? device_profile().shared_optin
                                                       : device_profile().shared_per_block))
        report("%s:%d: %zu bytes of static and %zu bytes of dynamic shared memory are more than "
               "this launch may have on %s",
               site->file, site->line, s.static_bytes, launched.dynamic_bytes,
               device_profile().description);
    memory = s.statics + at;
    poison(memory, SHARED_POISON, site->bytes + STRIP_BYTES);
    s.static_used = at + site->bytes + STRIP_BYTES;
    s.sites[s.n_sites++] = site;
    site->block = s.block;
    site->memory = memory;
    return memory;
}

void *shared_dynamic(void)
{
    return dynamic_start();
}

bool shared_holds(const void *memory, size_t bytes)
{
    const char *at = static_cast<const char *>(memory);

    if (launched.dynamic_bytes >= bytes && at >= dynamic_start() &&
        at <= dynamic_start() + (launched.dynamic_bytes - bytes))
        return true;
    for (unsigned i = 0; i < s.n_sites; i++) {
        const char *start = static_cast<const char *>(s.sites[i]->memory);

        if (s.sites[i]->bytes >= bytes && at >= start && at <= start + (s.sites[i]->bytes - bytes))
            return true;
    }
    return false;
}

bool shared_is_here(const void *address)
{
    const char *a = static_cast<const char *>(address);

    return (a >= s.statics && a < s.statics + STATIC_ROOM) ||
           (a < s.dynamic_end && a >= s.dynamic_end - DYNAMIC_ROOM);
}

char *shared_sync_address(unsigned i)
{
    return s.sync + i;
}

bool shared_describe(const void *address, char *text, size_t size)
{
    const char *a = static_cast<const char *>(address);

    if (s.dynamic_end == nullptr || a < s.dynamic_end - DYNAMIC_ROOM - GUARD_BYTES ||
        a >= s.dynamic_end + GUARD_BYTES)
        return false;
    if (a >= s.dynamic_end)
        snprintf(text, size, "%zu bytes past the end of the %zu bytes of dynamic shared memory",
                 (size_t)(a - s.dynamic_end), launched.dynamic_bytes);
    else
        snprintf(text, size, "before the dynamic shared memory");
    return true;
}

} // namespace enso_emulated
