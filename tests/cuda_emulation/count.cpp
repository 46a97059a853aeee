/* SPDX-License-Identifier: Apache-2.0
 *
 * What a kernel does through functions, told by the twins of those functions: matrix instructions,
 * asynchronous copies, shared memory by ldmatrix and whoever else tells. Bank conflicts follow the
 * rule of compute capability 5 and later: 32 banks of 4 bytes; words of 8 bytes go in passes of
 * half a warp, of 16 bytes in passes of a quarter; the same word costs once whoever asks for it.
 *
 * Global memory moves in sectors of 32 bytes: what an instruction's lanes touch, each sector once.
 *
 * Plain loads and stores are told by trace.cpp, where it and kernels compiled for it are linked in.
 */
#include "tests/cuda_emulation/emulator.h"

#include <algorithm>

namespace enso_emulated
{

namespace
{
constexpr unsigned BANKS = 32, WORD = 4, SECTOR = 32, LANES = 32;

/* Turns that one pass takes: the most different words of one bank. */
unsigned turns_of(const void *const *addresses, unsigned n, unsigned bytes)
{
    static uintptr_t words[BANKS][LANES]; /* of 16 bytes or less, each bank gets a word a lane */
    unsigned in_bank[BANKS] = {}, most = 0;

    for (unsigned i = 0; i < n; i++) {
        const uintptr_t first = reinterpret_cast<uintptr_t>(addresses[i]) / WORD;
        const uintptr_t last = (reinterpret_cast<uintptr_t>(addresses[i]) + bytes - 1) / WORD;

        for (uintptr_t word = first; addresses[i] != nullptr && word <= last; word++) {
            uintptr_t *known = words[word % BANKS];
            unsigned &n_known = in_bank[word % BANKS];

            if (std::find(known, known + n_known, word) != known + n_known)
                continue;
            known[n_known++] = word;
            most = std::max(most, n_known);
        }
    }
    return most;
}

} // namespace

void count_global(uint64_t read_bytes, uint64_t written_bytes)
{
    launched.running->told.global_read += read_bytes;
    launched.running->told.global_written += written_bytes;
}

void count_sectors(const void *const *addresses, unsigned n, unsigned bytes, bool writes)
{
    uintptr_t sectors[2 * LANES];
    uintptr_t *end = sectors;
    counts &told = launched.running->told;

    if (n > LANES || bytes == 0 || bytes > 16)
        report("count_sectors of %u addresses of %u bytes", n, bytes);
    for (unsigned i = 0; i < n; i++) {
        const uintptr_t first = reinterpret_cast<uintptr_t>(addresses[i]) / SECTOR;
        const uintptr_t last = (reinterpret_cast<uintptr_t>(addresses[i]) + bytes - 1) / SECTOR;

        for (uintptr_t s = first; addresses[i] != nullptr && s <= last; s++)
            if (end == sectors || end[-1] != s)
                *end++ = s;
    }
    if (!std::is_sorted(sectors, end))
        std::sort(sectors, end);
    (writes ? told.global_written_moved : told.global_read_moved) +=
        (uint64_t)(std::unique(sectors, end) - sectors) * SECTOR;
}

void count_shared(const void *const *addresses, unsigned n, unsigned bytes, bool writes)
{
    const unsigned pass = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
    counts &told = launched.running->told;
    uint64_t moved = 0;

    if (n > 32 || bytes == 0 || bytes > 16)
        report("count_shared of %u addresses of %u bytes", n, bytes);
    for (unsigned at = 0; at < n; at += pass) {
        unsigned turns = turns_of(addresses + at, n - at < pass ? n - at : pass, bytes);

        told.shared_phases += turns != 0;
        told.shared_conflicts += turns > 1 ? turns - 1 : 0;
    }
    for (unsigned i = 0; i < n; i++)
        moved += addresses[i] != nullptr ? bytes : 0;
    (writes ? told.shared_written : told.shared_read) += moved;
}

void count_mma(unsigned m, unsigned n, unsigned k)
{
    launched.running->told.mma++;
    launched.running->told.mma_flops += (uint64_t)2 * m * n * k;
}

/* What trace.cpp does where it is linked in. */
__attribute__((weak)) void trace_begin_launch(void)
{
}

__attribute__((weak)) void trace_end_launch(void)
{
}

__attribute__((weak)) void trace_warp(unsigned)
{
}

__attribute__((weak)) void trace_block(void)
{
}

__attribute__((weak)) void trace_touch(const void *, unsigned, bool)
{
}

bool counts_of(const char *name, counts *ret)
{
    const kernel *k = kernel_named(name);

    if (k != nullptr)
        *ret = k->told;
    return k != nullptr;
}

} // namespace enso_emulated
