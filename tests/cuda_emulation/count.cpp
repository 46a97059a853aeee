/* SPDX-License-Identifier: Apache-2.0
 *
 * What a kernel does through functions, told by the twins of those functions: matrix instructions,
 * asynchronous copies, shared memory by ldmatrix and whoever else tells. Bank conflicts follow the
 * rule of compute capability 5 and later: 32 banks of 4 bytes; words of 8 bytes go in passes of
 * half a warp, of 16 bytes in passes of a quarter; the same word costs once whoever asks for it.
 *
 * Plain loads and stores are seen by nobody: a kernel's own count of them must come from its
 * shapes.
 */
#include "tests/cuda_emulation/emulator.h"

namespace enso_emulated
{

namespace
{
constexpr unsigned BANKS = 32, WORD = 4, MOST = 32 * 16 / WORD;

/* Turns that one pass takes: the most different words of one bank. */
unsigned turns_of(const void *const *addresses, unsigned n, unsigned bytes)
{
    uintptr_t words[MOST];
    unsigned n_words = 0, in_bank[BANKS] = {}, most = 0;

    for (unsigned i = 0; i < n; i++) {
        const uintptr_t first = reinterpret_cast<uintptr_t>(addresses[i]) / WORD;
        const uintptr_t last = (reinterpret_cast<uintptr_t>(addresses[i]) + bytes - 1) / WORD;

        for (uintptr_t word = first; addresses[i] != nullptr && word <= last; word++) {
            bool known = false;

            for (unsigned k = 0; k < n_words && !known; k++)
                known = words[k] == word;
            if (known || n_words == MOST)
                continue;
            words[n_words++] = word;
            if (++in_bank[word % BANKS] > most)
                most = in_bank[word % BANKS];
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

bool counts_of(const char *name, counts *ret)
{
    const kernel *k = kernel_named(name);

    if (k != nullptr)
        *ret = k->told;
    return k != nullptr;
}

} // namespace enso_emulated
