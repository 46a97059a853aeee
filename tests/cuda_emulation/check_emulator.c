/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulator: what it does right, what it reports, what it refuses as a card refuses it. A report
 * ends the process and the environment is read once, so each case runs in a child.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/children.h"
#include "tests/cuda_emulation/emulated.h"
#include "tests/cuda_emulation/wrong/wrong.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- broken kernels ---- */

struct wrong_run {
    enum wrong_case which;
    bool right;
};

static void run_wrong(const void *arg)
{
    const struct wrong_run *run = arg;
    const size_t n_out = WRONG_OUT_ITEMS(run->which);
    float x[WRONG_ITEMS], y[WRONG_ITEMS];
    cudaStream_t stream = stream_new();
    float *in = device_new(sizeof(x)), *out = device_new(n_out * sizeof(float));

    for (unsigned i = 0; i < WRONG_ITEMS; i++)
        x[i] = (float)i;
    up(in, x, sizeof(x), stream);
    MUST(wrong_launch(run->which, run->right, in, out, stream) == cudaSuccess);
    down(y, out, sizeof(y), stream);
    for (unsigned i = 0; run->right && i < WRONG_ITEMS; i++)
        MUST(y[i] == wrong_expected(run->which, i));
}

/* What the report must say. The races before them are check_races' business. */
static const struct {
    enum wrong_case which;
    const char *says, *says_too;
} reports[] = {
    {WRONG_DIVERGENT_BARRIER, "kernel divergent_barrier<false>", "at different barriers"},
    {WRONG_BARRIER_AND_WARP, "nobody can go on", "31 threads, (0,0,0) to (31,0,0), in __shfl_xor"},
    {WRONG_GLOBAL_WRITE, "thread (0,0,0): writes 0 bytes past the end of device allocation 2",
     "(1024 bytes)"},
    {WRONG_GLOBAL_TAIL, "a write up to 240 bytes past the end of", "allocation 2 (1040 bytes)"},
    {WRONG_GLOBAL_READ_BEFORE, "device memory that nobody wrote", "kernel read_before<false>"},
    {WRONG_NULL_READ, "thread (3,0,0): reads", "no memory of the device"},
    {WRONG_UNINITIALISED_STATIC, "shared memory that nobody wrote", "uninitialised_static"},
    {WRONG_UNINITIALISED_DYNAMIC, "shared memory that nobody wrote", ""},
    {WRONG_SHARED_STATIC_END, "past the end of shared array tile", "256 bytes"},
    {WRONG_SHARED_DYNAMIC_END, "thread (63,0,0): writes 0 bytes past the end of the 256 bytes of",
     "dynamic shared memory"},
    {WRONG_LANE_OUTSIDE_MASK, "in __shfl_xor_sync, which is not there", "mask 0x"},
    {WRONG_NOT_IN_OWN_MASK, "lane 31 calls __shfl_xor_sync with mask 0x7fffffff",
     "in which it is not itself"},
    {WRONG_DIFFERENT_MASKS, "in different warp functions",
     "16 threads, (16,0,0) to (31,0,0), in __syncwarp"},
    {WRONG_DIFFERENT_SHUFFLES, "in different warp functions", "16 threads"},
    {WRONG_STACK_OVERFLOW, "thread (9,0,0): the thread's stack overflows", ""},
    {WRONG_DIVISION_BY_ZERO, "an integer is divided by zero", ""},
    {WRONG_MUCH_STATIC, "more than the 48 KiB", "array rest"},
    {WRONG_COPY_NO_WAIT, "exits with 2 cp.async in flight", "wrong.cu:"},
    {WRONG_COPY_LATE_WAIT, "shared memory that nobody wrote", "copy_late_wait"},
    {WRONG_COPY_NOT_COMMITTED, "shared memory that nobody wrote", "copy_not_committed"},
    {WRONG_COPY_MISALIGNED, "cp.async of 16 bytes", "not aligned"},
    {WRONG_FRAGMENT_MISALIGNED, "ldmatrix from an address", "not aligned to 16 bytes"},
    {WRONG_FRAGMENT_NOT_SHARED, "ldmatrix from 16 bytes", "not in the block's shared memory"},
    {WRONG_FRAGMENT_FEW_LANES, "ldmatrix takes all 32 lanes", "only 0xbfffffff are there"},
};

START_TEST(test_emulator_reports_what_is_wrong)
{
    struct wrong_run run = {reports[_i].which, false};
    struct child c;

#ifdef __SANITIZE_THREAD__
    /* Its shared memory comes from malloc, without a guard page. */
    if (run.which == WRONG_SHARED_DYNAMIC_END)
        return;
#endif
    c = run_child(run_wrong, &run, NULL, NULL);
    /* UBSan and ThreadSanitizer, where they are built in, see some of them first. */
    if (c.status != 0 && strstr(c.said, "wrong.cu") != NULL &&
        (strstr(c.said, "runtime error: ") != NULL ||
         strstr(c.said, "ThreadSanitizer: data race") != NULL))
        return;
    ck_assert_msg(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGABRT, "%s: status %x: %.3000s",
                  wrong_name(run.which), c.status, c.said);
    ck_assert_msg(strstr(c.said, "CUDA emulation: ") != NULL &&
                      strstr(c.said, reports[_i].says) != NULL &&
                      strstr(c.said, reports[_i].says_too) != NULL,
                  "%s: %.3000s", wrong_name(run.which), c.said);
}
END_TEST

START_TEST(test_emulator_passes_right_twins)
{
    static const char *const seeds[] = {"0", "1", "2", "77"};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(seeds); s++) {
        struct wrong_run run = {(enum wrong_case)_i, true};

        must_pass(run_wrong, &run, NULL, seeds[s]);
    }
}
END_TEST

START_TEST(test_emulator_covers_all_wrong_cases)
{
    ck_assert_uint_eq(ENSO_ARRAY_SIZE(reports), WRONG_LAST - WRONG_LAST_RACE);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(reports); i++)
        ck_assert_uint_eq(reports[i].which, WRONG_LAST_RACE + 1 + i);
}
END_TEST

/* ---- warp functions ---- */

/* Lane that `lane` reads, by the programming guide's words. */
static int source_lane(int kind, int lane, int operand, int width)
{
    int first = lane / width * width;

    switch (kind) {
    case EMULATED_INDEX:
        return first + operand % width;
    case EMULATED_UP:
        return lane - operand >= first ? lane - operand : lane;
    case EMULATED_DOWN:
        return lane + operand < first + width ? lane + operand : lane;
    default:
        return (lane ^ operand) < first + width ? lane ^ operand : lane;
    }
}

static void run_shuffles(const void *arg)
{
    static const int widths[] = {1, 2, 4, 8, 16, 32};
    cudaStream_t stream = stream_new();
    int *out = device_new(32 * sizeof(int)), got[32];

    (void)arg;
    for (int kind = EMULATED_INDEX; kind <= EMULATED_XOR; kind++)
        for (size_t w = 0; w < ENSO_ARRAY_SIZE(widths); w++)
            for (int operand = 0; operand < 32; operand += 1 + operand / 6) {
                MUST(emulated_shuffle(kind, 0xffffffffu, operand, widths[w], out, stream) == 0);
                down(got, out, sizeof(got), stream);
                for (int lane = 0; lane < 32; lane++)
                    MUST(got[lane] == 100 * source_lane(kind, lane, operand, widths[w]));
            }
    MUST(emulated_shuffle(EMULATED_DOUBLE, 0xffffffffu, 5, 32, out, stream) == 0);
    down(got, out, sizeof(got), stream);
    for (int lane = 0; lane < 32; lane++)
        MUST(got[lane] == 100 * (lane ^ 5));
    /* Lanes outside the mask have exited. */
    MUST(emulated_shuffle(EMULATED_XOR, 0x00ff00ffu, 7, 32, out, stream) == 0);
    down(got, out, sizeof(got), stream);
    for (int lane = 0; lane < 32; lane++)
        MUST(got[lane] == 100 * ((0x00ff00ff >> lane & 1) != 0 ? lane ^ 7 : lane ^ 5));
    MUST(emulated_shuffle(EMULATED_BALLOT, 0xffffffffu, 0, 32, out, stream) == 0);
    down(got, out, sizeof(got), stream);
    MUST((unsigned)got[4] == 0x49249249u);
    MUST(emulated_shuffle(EMULATED_BALLOT, 0xfu, 0, 32, out, stream) == 0);
    down(got, out, sizeof(got), stream);
    MUST(got[3] == 9);
    MUST(emulated_shuffle(EMULATED_VOTES, 0xffffffffu, 0, 32, out, stream) == 0);
    down(got, out, sizeof(got), stream);
    MUST(got[31] == 2);
    MUST(emulated_shuffle(EMULATED_VOTES, 0x7fu, 0, 32, out, stream) == 0);
    down(got, out, sizeof(got), stream);
    MUST(got[6] == 1);
}

START_TEST(test_emulator_warp_functions)
{
    must_pass(run_shuffles, NULL, NULL, "0");
    must_pass(run_shuffles, NULL, NULL, "9");
}
END_TEST

/* ---- barriers, sizes ---- */

struct rounds_run {
    struct emulated_size grid, block;
    unsigned stay, n_rounds;
};

static void run_rounds(const void *arg)
{
    const struct rounds_run *run = arg;
    unsigned n = run->block.x * run->block.y * run->block.z;
    unsigned n_blocks = run->grid.x * run->grid.y * run->grid.z;
    size_t bytes = (size_t)n * n_blocks * sizeof(unsigned);
    cudaStream_t stream = stream_new();
    unsigned *out = device_new(bytes), *got = malloc(bytes);

    MUST(got != NULL);
    MUST(cudaMemsetAsync(out, 0, bytes, stream) == cudaSuccess);
    MUST(emulated_rounds(run->grid, run->block, run->stay, run->n_rounds, out, stream) == 0);
    down(got, out, bytes, stream);
    for (unsigned b = 0; b < n_blocks; b++)
        for (unsigned t = 0; t < run->stay; t++)
            MUST(got[b * n + t] == (t + run->n_rounds) % run->stay);
    free(got);
}

START_TEST(test_emulator_barriers)
{
    static const struct rounds_run runs[] = {
        {{1, 1, 1}, {1, 1, 1}, 1, 3},       {{3, 1, 1}, {33, 1, 1}, 33, 5},
        {{1, 1, 1}, {1024, 1, 1}, 1024, 9}, {{2, 3, 4}, {4, 8, 2}, 64, 3},
        {{5, 1, 2}, {64, 1, 1}, 17, 4},     {{2, 1, 1}, {8, 4, 32}, 1000, 2},
        {{1, 1, 1}, {1, 1, 64}, 64, 65},    {{2000, 1, 1}, {2, 1, 1}, 2, 1},
    };
    static const char *const seeds[] = {"0", "1", "5"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(runs); i++)
        for (size_t s = 0; s < ENSO_ARRAY_SIZE(seeds); s++)
            must_pass(run_rounds, &runs[i], NULL, seeds[s]);
}
END_TEST

static void run_sums(const void *arg)
{
    const unsigned n_blocks = 3, n_threads = *(const unsigned *)arg, n = 1000;
    cudaStream_t stream = stream_new();
    float x[3000], *got = malloc(n_blocks * n_threads * 2 * sizeof(float));
    float *in = device_new(sizeof(x)), *out = device_new(n_blocks * n_threads * 2 * sizeof(float));

    for (unsigned i = 0; i < n_blocks * n; i++)
        x[i] = (float)(i * 7919 % 1009) - 300.0f;
    up(in, x, sizeof(x), stream);
    MUST(emulated_sums(n_blocks, n_threads, in, out, n, stream) == 0);
    down(got, out, n_blocks * n_threads * 2 * sizeof(float), stream);
    for (unsigned b = 0; b < n_blocks; b++) {
        float sum = 0, most = -INFINITY; /* whole numbers below 2^24: every order is exact */

        for (unsigned i = 0; i < n; i++) {
            sum += x[b * n + i];
            most = fmaxf(most, x[b * n + i]);
        }
        for (unsigned t = 0; t < n_threads; t++) {
            MUST(got[(b * n_threads + t) * 2] == sum);
            MUST(got[(b * n_threads + t) * 2 + 1] == most);
        }
    }
    free(got);
}

START_TEST(test_emulator_reductions_of_device_cuh)
{
    static const unsigned sizes[] = {32, 64, 128, 1024};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
        must_pass(run_sums, &sizes[i], NULL, "0");
        must_pass(run_sums, &sizes[i], NULL, "3");
    }
}
END_TEST

/* ---- order ---- */

static void run_arrival(const void *arg)
{
    unsigned order[6 * 64], seen[6 * 64] = {0}, zero = 0, hash = 5381;
    cudaStream_t stream = stream_new();
    unsigned *ticket = device_new(sizeof(zero)), *device_order = device_new(sizeof(order));

    (void)arg;
    up(ticket, &zero, sizeof(zero), stream);
    MUST(emulated_arrival(6, 64, ticket, device_order, stream) == 0);
    down(order, device_order, sizeof(order), stream);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(order); i++) {
        MUST(order[i] < ENSO_ARRAY_SIZE(order) && seen[order[i]]++ == 0);
        hash = hash * 33 + order[i];
    }
    fprintf(stderr, "%u %u", hash, order[0] + order[1] * 1000);
}

START_TEST(test_emulator_order_follows_the_seed)
{
    struct child zero = run_child(run_arrival, NULL, NULL, "0");
    struct child one = run_child(run_arrival, NULL, NULL, "1");
    struct child again = run_child(run_arrival, NULL, NULL, "1");
    struct child two = run_child(run_arrival, NULL, NULL, "2");

    ck_assert_int_eq(zero.status | one.status | again.status | two.status, 0);
    ck_assert_str_eq(one.said, again.said);
    ck_assert_str_ne(one.said, two.said);
    ck_assert_str_ne(one.said, zero.said);
    ck_assert_str_eq(strchr(zero.said, ' '), " 1000");
}
END_TEST

/* ---- counts ---- */

struct tell_run {
    unsigned stride, bytes;
    uint64_t read, phases, conflicts; /* of one block */
};

static void run_tell(const void *arg)
{
    const struct tell_run *run = arg;
    cudaStream_t stream = stream_new();
    struct emulated_counts c;

    MUST(emulated_told("tell", &c) == 0);
    MUST(emulated_tell(run->stride, run->bytes, stream) == cudaSuccess);
    MUST(cudaStreamSynchronize(stream) == cudaSuccess);
    MUST(emulated_told("tell", &c) == 1);
    MUST(c.shared_read == 3 * run->read && c.shared_written == (uint64_t)3 * 8 * run->bytes);
    MUST(c.shared_phases == 3 * run->phases && c.shared_conflicts == 3 * run->conflicts);
    MUST(c.global_read == 3 * 512 && c.global_written == 3 * 128);
    MUST(c.mma == 3 && c.mma_flops == (uint64_t)3 * 2 * 16 * 8 * 16);
}

/* Reads of all lanes, then writes of the first eight. */
START_TEST(test_emulator_counts_what_kernels_tell)
{
    static const struct tell_run runs[] = {
        {4, 4, 128, 1 + 1, 0},           /* one word a bank */
        {8, 4, 128, 1 + 1, 1},           /* every second bank: two turns for 32 lanes */
        {128, 4, 128, 1 + 1, 31 + 7},    /* all in one bank */
        {132, 4, 128, 1 + 1, 0},         /* rows padded by a word */
        {0, 4, 124, 1 + 1, 0},           /* the same word for all */
        {8, 8, 256, 2 + 1, 0},           /* half a warp at a time */
        {16, 16, 512, 4 + 1, 0},         /* a quarter */
        {32, 16, 512, 4 + 1, 4 + 1},     /* every second row of 16 bytes: two turns a pass */
        {128, 16, 512, 4 + 1, 4 * 7 + 7} /* ldmatrix on rows of 128 bytes, not swizzled */
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(runs); i++)
        must_pass(run_tell, &runs[i], NULL, NULL);
}
END_TEST

/* ---- limits ---- */

#ifdef __SANITIZE_THREAD__
#define MANY_BLOCKS 100 /* each takes memory that the race detector has not seen */
#else
#define MANY_BLOCKS 65535
#endif

struct card_run {
    const char *name;
    size_t optin;
    int major, minor;
};

static void run_limits(const void *arg)
{
    static const struct {
        struct emulated_size grid, block;
        int code;
    } sizes[] = {
        {{1, 1, 1}, {1024, 1, 1}, cudaSuccess},
        {{1, 1, 1}, {1025, 1, 1}, cudaErrorInvalidConfiguration},
        {{1, 1, 1}, {32, 33, 1}, cudaErrorInvalidConfiguration},
        {{1, 1, 1}, {1, 1, 64}, cudaSuccess},
        {{1, 1, 1}, {1, 1, 65}, cudaErrorInvalidConfiguration},
        {{0, 1, 1}, {1, 1, 1}, cudaErrorInvalidConfiguration},
        {{1, 1, 1}, {1, 0, 1}, cudaErrorInvalidConfiguration},
        {{1, MANY_BLOCKS, 1}, {1, 1, 1}, cudaSuccess},
        {{1, 65536, 1}, {1, 1, 1}, cudaErrorInvalidConfiguration},
        {{1, 1, 65536}, {1, 1, 1}, cudaErrorInvalidConfiguration},
        {{1, 1, 1}, {33, 31, 1}, cudaSuccess},
    };
    const struct card_run *card = arg;
    cudaStream_t stream = stream_new();
    float *out = device_new(2 * sizeof(float)), got[2];
    struct cudaDeviceProp p;
    int optin;

    MUST(cudaGetDeviceProperties(&p, 0) == cudaSuccess);
    MUST(p.major == card->major && p.minor == card->minor);
    MUST(p.sharedMemPerBlock == 48 * 1024 && p.sharedMemPerBlockOptin == card->optin);
    MUST(cudaDeviceGetAttribute(&optin, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0) == 0);
    MUST((size_t)optin == card->optin);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++)
        MUST(emulated_nothing(sizes[i].grid, sizes[i].block, stream) == sizes[i].code);
    MUST(cudaGetLastError() == cudaSuccess); /* enso_launch took it */

    /* 48 KiB of dynamic shared memory for everyone, more on request, up to the card's limit. */
    MUST(emulated_dynamic(12 * 1024, 48 * 1024, out, stream) == cudaSuccess);
    down(got, out, sizeof(got), stream);
    MUST(got[0] == 12 * 1024 && got[1] == 12 * 1024);
    MUST(emulated_dynamic(1, 48 * 1024 + 4, out, stream) == cudaErrorInvalidValue);
    MUST(emulated_dynamic_allow((int)card->optin + 1) == cudaErrorInvalidValue);
    MUST(emulated_dynamic_allow(-1) == cudaErrorInvalidValue);
    MUST(emulated_dynamic(1, card->optin, out, stream) == cudaErrorInvalidValue);
    MUST(emulated_dynamic_allow((int)card->optin) == cudaSuccess);
    MUST(emulated_dynamic((unsigned)card->optin / 4, card->optin, out, stream) == cudaSuccess);
    down(got, out, sizeof(got), stream);
    MUST(got[0] == (float)(card->optin / 4));
    MUST(emulated_dynamic(1, card->optin + 4, out, stream) == cudaErrorInvalidValue);
}

START_TEST(test_emulator_limits_of_cards)
{
    static const struct card_run cards[] = {
        {"T4", 64 * 1024, 7, 5},    {"A100", 163 * 1024, 8, 0},  {"L4", 99 * 1024, 8, 9},
        {"H100", 227 * 1024, 9, 0}, {"B200", 227 * 1024, 10, 0}, {"RTX50", 99 * 1024, 12, 0},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cards); i++)
        must_pass(run_limits, &cards[i], cards[i].name, NULL);
}
END_TEST

/* ---- the runtime's rules ---- */

static void run_no_card(const void *arg)
{
    const int *want = arg;
    int n = 7, version = 7;
    void *memory;

    MUST((int)cudaGetDeviceCount(&n) == want[0] && n == 0);
    MUST(cudaDriverGetVersion(&version) == cudaSuccess && version == want[1]);
    MUST((int)cudaSetDevice(0) == want[0]);
    MUST((int)cudaMalloc(&memory, 16) == want[0]);
    MUST((int)cudaGetLastError() == want[0]);
    MUST(cudaGetLastError() == cudaSuccess);
}

START_TEST(test_runtime_without_a_card)
{
    static const int none[] = {cudaErrorNoDevice, 13000};
    static const int no_driver[] = {cudaErrorInsufficientDriver, 0};
    static const int old_driver[] = {cudaErrorInsufficientDriver, 11040};

    must_pass(run_no_card, none, "none", NULL);
    must_pass(run_no_card, no_driver, "no-driver", NULL);
    must_pass(run_no_card, old_driver, "old-driver", NULL);
}
END_TEST

static void run_copies(const void *arg)
{
    cudaStream_t stream = stream_new(), gone = stream_new();
    char host[64] = {0}, *device = device_new(64), *other = device_new(64);
    void *pinned;

    (void)arg;
    MUST(cudaMallocHost(&pinned, 64) == cudaSuccess);
    MUST(cudaMemcpyAsync(device, host, 64, cudaMemcpyHostToDevice, stream) == cudaSuccess);
    MUST(cudaMemcpyAsync(other, device, 64, cudaMemcpyDeviceToDevice, stream) == cudaSuccess);
    MUST(cudaMemcpyAsync(pinned, other + 8, 56, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    MUST(cudaMemcpyAsync(device, host, 65, cudaMemcpyHostToDevice, stream) ==
         cudaErrorInvalidValue);
    MUST(cudaMemcpyAsync(device + 60, host, 5, cudaMemcpyHostToDevice, stream) ==
         cudaErrorInvalidValue);
    MUST(cudaMemcpyAsync(host, device, 64, cudaMemcpyHostToDevice, stream) ==
         cudaErrorInvalidValue);
    MUST(cudaMemcpyAsync(host, pinned, 64, cudaMemcpyDeviceToHost, stream) ==
         cudaErrorInvalidValue);
    MUST(cudaMemcpyAsync(device, host, 0, cudaMemcpyHostToDevice, stream) == cudaSuccess);
    MUST(cudaMemsetAsync(device, 1, 65, stream) == cudaErrorInvalidValue);
    MUST(cudaMemsetAsync(device, 1, 64, stream) == cudaSuccess);
    MUST(cudaStreamSynchronize(stream) == cudaSuccess);
    MUST(cudaStreamDestroy(gone) == cudaSuccess);
    MUST(cudaStreamSynchronize(gone) == cudaErrorInvalidResourceHandle);
    MUST(cudaStreamDestroy(gone) == cudaErrorInvalidResourceHandle);
    MUST(cudaFree(device + 1) == cudaErrorInvalidValue);
    MUST(cudaFree(device) == cudaSuccess);
    MUST(cudaFree(device) == cudaErrorInvalidValue);
    MUST(cudaMemcpyAsync(device, host, 1, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
    MUST(cudaFreeHost(other) == cudaErrorInvalidValue);
    MUST(cudaFreeHost(pinned) == cudaSuccess && cudaFree(NULL) == cudaSuccess);
}

START_TEST(test_runtime_checks_copies_and_handles)
{
    must_pass(run_copies, NULL, NULL, NULL);
}
END_TEST

static void run_memory_limit(const void *arg)
{
    size_t free_bytes, total_bytes;
    void *a, *b;

    (void)arg;
    MUST(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
    MUST(free_bytes == total_bytes && total_bytes == 1 << 20);
    MUST(cudaMalloc(&a, 600 * 1024) == cudaSuccess);
    MUST(cudaMalloc(&b, 600 * 1024) == cudaErrorMemoryAllocation && b == NULL);
    MUST(cudaGetLastError() == cudaErrorMemoryAllocation);
    MUST(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
    MUST(free_bytes == (1 << 20) - 600 * 1024);
    MUST(cudaFree(a) == cudaSuccess && cudaMalloc(&b, 600 * 1024) == cudaSuccess);
    for (int i = 0; i < 2000; i++) {
        MUST(cudaMalloc(&a, 1 + (size_t)i * 131) == cudaSuccess && (uintptr_t)a % 256 == 0);
        MUST(cudaFree(a) == cudaSuccess);
    }
}

START_TEST(test_runtime_memory_ends)
{
    setenv("ENSO_CUDA_EMULATED_MEMORY", "1048576", 1);
    must_pass(run_memory_limit, NULL, NULL, NULL);
    unsetenv("ENSO_CUDA_EMULATED_MEMORY");
}
END_TEST

static void run_freed(const void *arg)
{
    cudaStream_t stream = stream_new();
    int *out = device_new(32 * sizeof(int));

    (void)arg;
    MUST(cudaFree(out) == cudaSuccess);
    emulated_shuffle(EMULATED_XOR, 0xffffffffu, 1, 32, out, stream);
    cudaStreamSynchronize(stream);
}

START_TEST(test_runtime_reports_freed_memory)
{
    must_report(run_freed, NULL, NULL, "allocation 1 (128 bytes) after it was freed");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cuda_emulation/emulator");
    TCase *tc = tcase_create("core");

    tcase_add_test(tc, test_emulator_warp_functions);
    tcase_add_test(tc, test_emulator_barriers);
    tcase_add_test(tc, test_emulator_reductions_of_device_cuh);
    tcase_add_test(tc, test_emulator_order_follows_the_seed);
    tcase_add_test(tc, test_emulator_counts_what_kernels_tell);
    suite_add_tcase(s, tc);
    tc = tcase_create("wrong");
    tcase_add_test(tc, test_emulator_covers_all_wrong_cases);
    tcase_add_loop_test(tc, test_emulator_reports_what_is_wrong, 0, (int)ENSO_ARRAY_SIZE(reports));
    tcase_add_loop_test(tc, test_emulator_passes_right_twins, 0, WRONG_LAST + 1);
    suite_add_tcase(s, tc);
    tc = tcase_create("limits");
    tcase_add_test(tc, test_emulator_limits_of_cards);
    tcase_add_test(tc, test_runtime_memory_ends);
    suite_add_tcase(s, tc);
    tc = tcase_create("errors");
    tcase_add_test(tc, test_runtime_without_a_card);
    tcase_add_test(tc, test_runtime_checks_copies_and_handles);
    tcase_add_test(tc, test_runtime_reports_freed_memory);
    suite_add_tcase(s, tc);
    return s;
}

ENSO_TEST_MAIN(suite)
