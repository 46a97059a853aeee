/* SPDX-License-Identifier: Apache-2.0
 *
 * Twins of the instructions that kernels reach through kernels/cuda/ptx.cuh.
 *
 * Those of a whole warp are pure functions over the registers of its 32 lanes, written from the
 * tables of the PTX ISA (8.x), "Matrix Fragments for mma.m16n8k16 with floating point type" and
 * "ldmatrix"; tests/twins checks them against a second source. Nothing here uses the index
 * arithmetic of a kernel. Not known and so not shown: the order and width in which a card's mma
 * adds. The twin adds products, which are exact, to C in float, k rising. A NaN keeps its bits
 * here; a card makes it 0x7fffffff. No card has answered yet: tests/twins/record-cuda makes the
 * files that would anchor this.
 *
 * Asynchronous copies are as late as PTX allows: the target holds poison from the copy's issue and
 * its bytes from the moment the issuing thread waits for the group; other threads may look only
 * after a barrier that comes after that. Under ThreadSanitizer the issue and the landing are both
 * writes of the issuing thread, and the landing is when the source is read.
 */
#include "tests/cuda_emulation/emulator.h"

#ifdef ENSO_EMULATED_TSAN
extern "C" {
void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);
}
#endif

namespace enso_emulated
{

namespace
{

void race_read(const void *address, size_t bytes)
{
#ifdef ENSO_EMULATED_TSAN
    __tsan_read_range(const_cast<void *>(address), bytes);
#else
    (void)address;
    (void)bytes;
#endif
}

void race_write(void *address, size_t bytes)
{
#ifdef ENSO_EMULATED_TSAN
    __tsan_write_range(address, bytes);
#else
    (void)address;
    (void)bytes;
#endif
}

/* Half i of a row of registers: the lower half of a register comes first. */
uint16_t half_of(const uint32_t *registers, unsigned i)
{
    return (uint16_t)(registers[i / 2] >> i % 2 * 16);
}

float float_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

uint32_t bits_of(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

float from_bf16(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

float from_f16(uint16_t bits)
{
    const unsigned exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;

    if (exponent == 31)
        return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0)
        return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* ---- asynchronous copies ---- */

constexpr unsigned MAX_THREADS = 1024, MAX_COPIES = 256, MAX_GROUPS = 64;

struct copy {
    void *to;
    const void *from; /* NULL: zeros */
    unsigned bytes;
    place at;
};

/* Of one thread, counted from its block's start; rings by the remainder. */
struct copies {
    uint32_t issued, landed;
    uint32_t committed, complete;    /* groups */
    uint32_t group_ends[MAX_GROUPS]; /* copies issued before the group's end */
    copy ring[MAX_COPIES];
};

copies *in_flight; /* MAX_THREADS, made with the first copy */

copies &copies_of_thread(void)
{
    if (in_flight == nullptr)
        in_flight = new copies[MAX_THREADS]();
    return in_flight[thread_number()];
}

void land(const copy &c)
{
    if (c.from != nullptr) {
        race_read(c.from, c.bytes);
        memcpy(c.to, c.from, c.bytes);
    } else {
        memset(c.to, 0, c.bytes);
    }
    race_write(c.to, c.bytes);
}

/* The n-th copies of a warp's lanes in its block are one instruction, as all of them take part:
 * lanes run apart by SLOTS at most, or what is ahead is not counted. */
void count_copy(const copies &c, const void *shared, const void *global, unsigned bytes)
{
    constexpr unsigned SLOTS = 64;
    static struct slot {
        uint32_t number, told;
        const void *targets[WARP_LANES], *sources[WARP_LANES];
    } slots[MAX_THREADS / WARP_LANES][SLOTS];
    slot &s = slots[thread_number() / WARP_LANES][c.issued % SLOTS];

    if (s.number != c.issued) {
        s.number = c.issued;
        s.told = 0;
    }
    s.targets[thread_number() % WARP_LANES] = shared;
    s.sources[thread_number() % WARP_LANES] = global;
    if (++s.told == WARP_LANES) {
        count_sectors(s.sources, WARP_LANES, bytes, false);
        count_shared(s.targets, WARP_LANES, bytes, true);
        s.told = 0;
    }
}

void check_row(const void *row, const char *name, place at)
{
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
        report("%s:%d: %s from an address that is not aligned to 16 bytes", at.file, at.line, name);
    if (!shared_holds(row, 16))
        report("%s:%d: %s from 16 bytes that are not in the block's shared memory", at.file,
               at.line, name);
}

} // namespace

/* ---- ldmatrix ---- */

/* Lane 8 m + r has brought row r of matrix m. Without .trans, lane l gets of each matrix the
 * elements (l / 4, l % 4 · 2) and the next of the row; with it, of the matrix turned over. */
static void fetch(warp_registers &lanes, bool trans)
{
    uint16_t matrices[4][8][8];

    for (unsigned lane = 0; lane < WARP_LANES; lane++)
        for (unsigned i = 0; i < 8; i++)
            matrices[lane / 8][lane % 8][i] = half_of(lanes[lane], i);
    for (unsigned lane = 0; lane < WARP_LANES; lane++)
        for (unsigned m = 0; m < 4; m++) {
            const unsigned row = lane / 4, column = lane % 4 * 2;
            const uint16_t low = trans ? matrices[m][column][row] : matrices[m][row][column];
            const uint16_t high =
                trans ? matrices[m][column + 1][row] : matrices[m][row][column + 1];

            lanes[lane][m] = low | (uint32_t)high << 16;
        }
}

void twin_ldmatrix(warp_registers &lanes)
{
    fetch(lanes, false);
}

void twin_ldmatrix_trans(warp_registers &lanes)
{
    fetch(lanes, true);
}

/* Lanes tell their rows one by one; the last of the warp counts them. */
static void count_row(const void *row, unsigned n_matrices)
{
    static const void *rows[1024 / WARP_LANES][WARP_LANES];
    static unsigned told[1024 / WARP_LANES];
    const unsigned warp = thread_number() / WARP_LANES, lane = thread_number() % WARP_LANES;

    rows[warp][lane] = row;
    if (++told[warp] % WARP_LANES == 0)
        count_shared(rows[warp], n_matrices * 8, 16, false);
}

/* Each lane reads its row itself, before it meets the others: so a row that another lane wrote
 * without a barrier in between is a race. */
void ldmatrix(uint32_t *r, unsigned n_matrices, bool trans, const void *row, place at)
{
    const char *name = trans ? "ldmatrix.trans" : "ldmatrix";
    uint32_t registers[4] = {};

    check_row(row, name, at);
    count_row(row, n_matrices);
    if (thread_number() % WARP_LANES < n_matrices * 8) {
        race_read(row, 16);
        memcpy(registers, row, 16);
    }
    warp_instruction(name, trans ? twin_ldmatrix_trans : twin_ldmatrix, registers, 4, at);
    memcpy(r, registers, n_matrices * sizeof(uint32_t));
}

/* ---- mma.m16n8k16 ---- */

/* PTX: groupID = lane / 4, threadID_in_group = lane % 4. The lane's elements a0..a7 are at row
 * groupID for a0, a1, a4, a5, else groupID + 8, column threadID_in_group · 2 + (i & 1), and 8 more
 * from a4 on; b0..b3 at row threadID_in_group · 2 + (i & 1), 8 more from b2 on, column groupID;
 * c0..c3 at row groupID, 8 more from c2 on, column threadID_in_group · 2 + (i & 1). */
template <float (*widen)(uint16_t)> static void multiply(warp_registers &lanes)
{
    float a[16][16], b[16][8], d[16][8];

    for (unsigned lane = 0; lane < WARP_LANES; lane++) {
        const unsigned group = lane / 4, in_group = lane % 4;
        const uint32_t *r = lanes[lane];

        for (unsigned i = 0; i < 8; i++) {
            const bool upper = i == 0 || i == 1 || i == 4 || i == 5;

            a[upper ? group : group + 8][in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0)] =
                widen(half_of(r, i));
        }
        for (unsigned i = 0; i < 4; i++)
            b[in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = widen(half_of(r + 4, i));
        for (unsigned i = 0; i < 4; i++)
            d[i < 2 ? group : group + 8][in_group * 2 + (i & 1)] = float_of(r[6 + i]);
    }
    for (unsigned row = 0; row < 16; row++)
        for (unsigned k = 0; k < 16; k++)
            for (unsigned column = 0; column < 8; column++)
                d[row][column] += a[row][k] * b[k][column];
    for (unsigned lane = 0; lane < WARP_LANES; lane++)
        for (unsigned i = 0; i < 4; i++)
            lanes[lane][6 + i] =
                bits_of(d[i < 2 ? lane / 4 : lane / 4 + 8][lane % 4 * 2 + (i & 1)]);
}

void twin_mma_bf16(warp_registers &lanes)
{
    multiply<from_bf16>(lanes);
}

void twin_mma_f16(warp_registers &lanes)
{
    multiply<from_f16>(lanes);
}

void mma(const char *name, warp_twin twin, float *c, const uint32_t *a, uint32_t b0, uint32_t b1,
         place at)
{
    uint32_t registers[10];

    if (device_profile().major < 8)
        report("%s:%d: %s on %s, which does not have it", at.file, at.line, name,
               device_profile().description);
    memcpy(registers, a, 4 * sizeof(uint32_t));
    registers[4] = b0;
    registers[5] = b1;
    memcpy(registers + 6, c, 4 * sizeof(float));
    if (thread_number() % WARP_LANES == 0)
        count_mma(16, 8, 16);
    warp_instruction(name, twin, registers, 10, at);
    memcpy(c, registers + 6, 4 * sizeof(float));
}

/* ---- cp.async ---- */

void copy_async(void *shared, const void *global, unsigned bytes, bool in_bounds, place at)
{
    copies &c = copies_of_thread();

    if (device_profile().major < 8)
        report("%s:%d: cp.async on %s, which does not have it", at.file, at.line,
               device_profile().description);
    if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 ||
        (in_bounds && reinterpret_cast<uintptr_t>(global) % bytes != 0))
        report("%s:%d: cp.async of %u bytes between addresses that are not aligned to them",
               at.file, at.line, bytes);
    if (!shared_holds(shared, bytes))
        report("%s:%d: cp.async to %u bytes that are not in the block's shared memory", at.file,
               at.line, bytes);
    if (in_bounds && !memory_on_device(global, bytes))
        report("%s:%d: cp.async from %u bytes that are not in one allocation of the device",
               at.file, at.line, bytes);
    if (c.issued - c.landed == MAX_COPIES)
        report("%s:%d: more than %u copies of one thread in flight", at.file, at.line, MAX_COPIES);
    poison(shared, SHARED_POISON, bytes);
    race_write(shared, bytes);
    count_global(in_bounds ? bytes : 0, 0);
    count_copy(c, shared, in_bounds ? global : nullptr, bytes);
    if (in_bounds)
        trace_touch(global, bytes, false);
    c.ring[c.issued++ % MAX_COPIES] = {shared, in_bounds ? global : nullptr, bytes, at};
}

void copy_async_commit(place at)
{
    copies &c = copies_of_thread();

    if (c.committed - c.complete == MAX_GROUPS)
        report("%s:%d: more than %u groups of one thread in flight", at.file, at.line, MAX_GROUPS);
    c.group_ends[c.committed++ % MAX_GROUPS] = c.issued;
}

void copy_async_wait(unsigned pending, place)
{
    copies &c = copies_of_thread();

    while (c.committed - c.complete > pending) {
        const uint32_t end = c.group_ends[c.complete++ % MAX_GROUPS];

        while (c.landed != end)
            land(c.ring[c.landed++ % MAX_COPIES]);
    }
}

void copy_async_end(unsigned thread)
{
    if (in_flight == nullptr)
        return;
    copies &c = in_flight[thread];

    if (c.landed != c.issued)
        report("the thread exits with %u cp.async in flight, the first of them from %s:%d",
               c.issued - c.landed, c.ring[c.landed % MAX_COPIES].at.file,
               c.ring[c.landed % MAX_COPIES].at.line);
    c.complete = c.committed;
}

/* ---- ex2.approx.ftz ---- */

float twin_ex2(float x)
{
    const float y = exp2f(fabsf(x) < 0x1p-126f ? 0.0f : x);

    return y < 0x1p-126f ? 0.0f : y;
}

} // namespace enso_emulated
