/* SPDX-License-Identifier: Apache-2.0
 *
 * What the emulator counts of plain loads and stores, by kernels whose accesses are known: bytes,
 * sectors that move, sectors that are different, passes over shared memory and its conflicts.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/children.h"
#include "tests/cuda_emulation/counted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef ENSO_NOT_TRACED

int main(void)
{
    puts("SKIP: accesses of CUDA kernels are counted where clang++ compiles them, and not under "
         "ThreadSanitizer");
    return 77;
}

#else

#define ITEMS 1024

enum way { TILE, BROADCAST, STRIDED, WIDE, APART, ASYNC };

static const struct run {
    enum way way;
    unsigned stride, n_blocks;
    struct counted want; /* device memory read, written; shared memory */
} runs[] = {
    {TILE, 1, 1, {128, 128, 128, 128, 128, 128, 128, 128, 2, 0, 0}},
    {TILE, 33, 1, {128, 128, 128, 128, 128, 128, 128, 128, 2, 0, 0}},
    {TILE, 2, 1, {128, 128, 128, 128, 128, 128, 128, 128, 2, 2 * 1, 0}},
    {TILE, 32, 1, {128, 128, 128, 128, 128, 128, 128, 128, 2, 2 * 31, 0}},
    {TILE, 2, 3, {384, 384, 128, 384, 384, 128, 384, 384, 6, 6 * 1, 0}},
    {BROADCAST, 0, 1, {4, 32, 32, 128, 128, 128, 128, 4, 2, 0, 0}},
    {STRIDED, 1, 1, {128, 128, 128, 128, 128, 128, 0, 0, 0, 0, 0}},
    {STRIDED, 2, 1, {128, 256, 256, 128, 128, 128, 0, 0, 0, 0, 0}},
    {STRIDED, 8, 1, {128, 1024, 1024, 128, 128, 128, 0, 0, 0, 0, 0}},
    {STRIDED, 32, 1, {128, 1024, 1024, 128, 128, 128, 0, 0, 0, 0, 0}},
    {STRIDED, 0, 1, {128, 32, 32, 128, 128, 128, 0, 0, 0, 0, 0}},
    {WIDE, 1, 1, {512, 512, 512, 512, 512, 512, 512, 512, 8, 0, 0}},
    {WIDE, 2, 1, {512, 512, 512, 512, 512, 512, 512, 512, 8, 8 * 1, 0}},
    {WIDE, 4, 1, {512, 512, 512, 512, 512, 512, 512, 512, 8, 8 * 3, 0}},
    /* by instruction 32, 20, 3, 12 and 3 lanes, which touch 4, 4, 1, 2 and 1 sectors */
    {APART, 70, 1, {280, 384, 288, 192, 192, 192, 0, 0, 0, 0, 0}},
    {ASYNC, 1, 1, {512, 512, 512, 128, 128, 128, 128, 512, 4 + 1, 0, 0}},
};

static const char *const names[] = {"tile_of", "broadcast", "strided", "wide", "apart", "async"};

static int launch(const struct run *run, const float *in, float *out, cudaStream_t stream)
{
    switch (run->way) {
    case TILE:
        return counted_tile(run->stride, run->n_blocks, in, out, stream);
    case BROADCAST:
        return counted_broadcast(in, out, stream);
    case STRIDED:
        return counted_strided(run->stride, in, out, stream);
    case WIDE:
        return counted_wide(run->stride, in, out, stream);
    case APART:
        return counted_apart(run->stride, in, out, stream);
    case ASYNC:
        break;
    }
    return counted_async(in, out, stream);
}

static void run_one(const void *arg)
{
    const struct run *run = arg;
    const struct counted *want = &run->want;
    float x[ITEMS];
    cudaStream_t stream = stream_new();
    float *in = device_new(sizeof(x)), *out = device_new(sizeof(x));
    struct counted got = {0};

    for (unsigned i = 0; i < ITEMS; i++)
        x[i] = (float)i;
    up(in, x, sizeof(x), stream);
    for (uint64_t n = 1; n <= 2; n++) { /* a second launch counts as much again */
        MUST(launch(run, in, out, stream) == cudaSuccess);
        MUST(cudaStreamSynchronize(stream) == cudaSuccess);
        MUST(counted_told(names[run->way], &got) == 1);
        MUST(got.read == n * want->read);
        MUST(got.read_moved == n * want->read_moved);
        MUST(got.read_once == n * want->read_once);
        MUST(got.written == n * want->written);
        MUST(got.written_moved == n * want->written_moved);
        MUST(got.written_once == n * want->written_once);
        MUST(got.shared_read == n * want->shared_read);
        MUST(got.shared_written == n * want->shared_written);
        MUST(got.phases == n * want->phases);
        MUST(got.conflicts == n * want->conflicts);
        MUST(got.alone == 0);
    }
}

START_TEST(test_counts_of_known_kernels)
{
    static const char *const seeds[] = {"0", "1", "2", "77"};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(seeds); s++)
        must_pass(run_one, &runs[_i], NULL, seeds[s]);
}
END_TEST

/* The file of launches: a line for each, and what is in it. */
static void run_logged(const void *arg)
{
    cudaStream_t stream = stream_new();
    float *in = device_new(ITEMS * sizeof(float)), *out = device_new(ITEMS * sizeof(float));
    char line[1024];
    FILE *file;

    setenv("ENSO_CUDA_EMULATED_LAUNCHES", arg, 1);
    MUST(counted_strided(8, in, out, stream) == cudaSuccess);
    MUST(counted_tile(32, 3, in, out, stream) == cudaSuccess);
    MUST(cudaStreamSynchronize(stream) == cudaSuccess);
    file = fopen(arg, "re");
    MUST(file != NULL);
    MUST(fgets(line, sizeof(line), file) != NULL);
    MUST(strncmp(line, "kernel\tgrid\tblock\tdynamic_bytes\tblocks\t", 39) == 0);
    MUST(strstr(line, "\tglobal_read\tglobal_read_moved\tglobal_read_once\tglobal_written\t") !=
         NULL);
    MUST(fgets(line, sizeof(line), file) != NULL);
    MUST(strncmp(line, "strided\t1,1,1\t32,1,1\t0\t1\t32\t0\t0\t128\t1024\t1024\t128\t", 47) == 0);
    MUST(fgets(line, sizeof(line), file) != NULL);
    MUST(strncmp(line, "tile_of\t3,1,1\t32,1,1\t0\t3\t96\t3\t0\t384\t384\t128\t384\t", 47) == 0);
    MUST(fgets(line, sizeof(line), file) == NULL);
    MUST(fclose(file) == 0);
}

START_TEST(test_counts_of_each_launch)
{
    char path[] = "/tmp/ensod-launches-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
    must_pass(run_logged, path, NULL, NULL);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cuda_emulation/counts");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 120);
    tcase_add_loop_test(core, test_counts_of_known_kernels, 0, ENSO_ARRAY_SIZE(runs));
    tcase_add_test(core, test_counts_of_each_launch);
    suite_add_tcase(s, core);
    return s;
}

int main(void)
{
    return enso_test_main(suite);
}

#endif
