/* SPDX-License-Identifier: Apache-2.0
 *
 * Several devices of the emulation: each thread chooses its own, memory, streams, events, pools and
 * graphs belong to one, and what goes across is reported. An error that stays is its device's.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/children.h"
#include "tests/cuda_emulation/emulated.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define N 256
#define BYTES (N * sizeof(float))
#define MIB ((size_t)1 << 20)

static void put(cudaError_t error)
{
    MUST(error == cudaSuccess);
}

static int chosen(void)
{
    int device = -1;

    put(cudaGetDevice(&device));
    return device;
}

static void *other_thread(void *arg)
{
    (void)arg;
    MUST(chosen() == 0); /* whatever others have chosen */
    put(cudaSetDevice(2));
    MUST(chosen() == 2);
    return NULL;
}

static void run_choosing(const void *arg)
{
    struct cudaDeviceProp properties;
    char first[16], second[16];
    pthread_t thread;
    int n = 0, value;

    (void)arg;
    put(cudaGetDeviceCount(&n));
    MUST(n == 3 && chosen() == 0);
    put(cudaSetDevice(1));
    MUST(cudaSetDevice(3) == cudaErrorInvalidDevice && cudaSetDevice(-1) == cudaErrorInvalidDevice);
    MUST(cudaGetDeviceProperties(&properties, 3) == cudaErrorInvalidDevice);
    MUST(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 3) == cudaErrorInvalidDevice);
    put(cudaGetDeviceProperties(&properties, 2));
    put(cudaDeviceGetPCIBusId(first, sizeof(first), 0));
    put(cudaDeviceGetPCIBusId(second, sizeof(second), 2));
    MUST(strcmp(first, "0000:00:00.0") == 0 && strcmp(second, "0000:02:00.0") == 0);
    MUST(chosen() == 1); /* to ask is not to choose */
    MUST(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    MUST(pthread_join(thread, NULL) == 0);
    MUST(chosen() == 1);
}

/* 64 MiB each. */
static void run_memory(const void *arg)
{
    const enum cudaMemcpyKind to_host = cudaMemcpyDeviceToHost;
    size_t free_bytes[2], total;
    void *a, *b, *c;

    (void)arg;
    put(cudaMalloc(&a, 40 * MIB));
    MUST(cudaMalloc(&b, 40 * MIB) == cudaErrorMemoryAllocation);
    put(cudaMemGetInfo(&free_bytes[0], &total));
    put(cudaSetDevice(1));
    put(cudaMemGetInfo(&free_bytes[1], &total));
    MUST(free_bytes[0] == 24 * MIB && free_bytes[1] == 64 * MIB && total == 64 * MIB);
    put(cudaMalloc(&b, 40 * MIB));
    put(cudaFree(a)); /* of the other one */
    put(cudaMemGetInfo(&free_bytes[1], &total));
    MUST(free_bytes[1] == 24 * MIB);
    put(cudaSetDevice(0));
    put(cudaMalloc(&c, 60 * MIB));
    cudaStream_t stream = stream_new();
    float *pinned = pinned_new(BYTES); /* every device reads and writes it */
    put(cudaMemsetAsync(c, 0, BYTES, stream));
    put(cudaMemcpyAsync(pinned, c, BYTES, to_host, stream));
    put(cudaStreamSynchronize(stream));
    put(cudaSetDevice(1));
    stream = stream_new();
    put(cudaMemsetAsync(b, 0, BYTES, stream));
    put(cudaMemcpyAsync(pinned, b, BYTES, to_host, stream));
    put(cudaStreamSynchronize(stream));
}

/* The same for pools: what one takes is its device's. */
static void run_pools(const void *arg)
{
    cudaMemPool_t pools[2], standard;
    void *a, *b, *c;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        const struct cudaMemPoolProps properties = {
            .allocType = cudaMemAllocationTypePinned,
            .location = {.type = cudaMemLocationTypeDevice, .id = i}};

        put(cudaMemPoolCreate(&pools[i], &properties));
    }
    put(cudaDeviceGetDefaultMemPool(&standard, 1));
    cudaStream_t stream = stream_new();
    put(cudaMallocFromPoolAsync(&a, 40 * MIB, pools[0], stream));
    MUST(cudaMalloc(&b, 40 * MIB) == cudaErrorMemoryAllocation);
    put(cudaSetDevice(1));
    cudaStream_t other = stream_new();
    put(cudaMallocFromPoolAsync(&b, 40 * MIB, pools[1], other));
    MUST(cudaMallocFromPoolAsync(&c, 40 * MIB, standard, other) == cudaErrorMemoryAllocation);
    put(cudaFreeAsync(b, other));
    put(cudaStreamSynchronize(other));
    put(cudaMallocFromPoolAsync(&c, 40 * MIB, standard, other));
    put(cudaStreamSynchronize(other));
}

START_TEST(test_devices_choosing)
{
    setenv("ENSO_CUDA_EMULATED_DEVICES", "3", 1);
    must_pass(run_choosing, NULL, NULL, NULL);
    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    setenv("ENSO_CUDA_EMULATED_MEMORY", "67108864", 1);
    must_pass(run_memory, NULL, NULL, NULL);
    must_pass(run_pools, NULL, NULL, NULL);
}
END_TEST

/* ---- work on both ---- */

struct card {
    cudaStream_t stream;
    cudaEvent_t done;
    float *x, *y, *result;
};

static void card_init(struct card *c, int device)
{
    put(cudaSetDevice(device));
    c->stream = stream_new();
    put(cudaEventCreateWithFlags(&c->done, cudaEventDisableTiming));
    c->x = device_new(BYTES);
    c->y = device_new(BYTES);
    c->result = pinned_new(BYTES);
    put(cudaMemsetAsync(c->x, 0, BYTES, c->stream));
}

/* Two cards, one of which waits for the other. */
static void run_both(const void *arg)
{
    struct card c[2];

    (void)arg;
    for (int i = 0; i < 2; i++)
        card_init(&c[i], i);
    MUST(emulated_add(c[1].x, c[1].y, N, 2, c[1].stream) == 0);
    put(cudaMemcpyAsync(c[1].result, c[1].y, BYTES, cudaMemcpyDeviceToHost, c[1].stream));
    put(cudaEventRecord(c[1].done, c[1].stream));
    put(cudaSetDevice(0));
    put(cudaStreamWaitEvent(c[0].stream, c[1].done, 0));
    put(cudaMemcpyAsync(c[0].x, c[1].result, BYTES, cudaMemcpyHostToDevice, c[0].stream));
    MUST(emulated_add(c[0].x, c[0].y, N, 3, c[0].stream) == 0);
    put(cudaMemcpyAsync(c[0].result, c[0].y, BYTES, cudaMemcpyDeviceToHost, c[0].stream));
    put(cudaEventRecord(c[0].done, c[0].stream));
    put(cudaSetDevice(1));
    put(cudaEventSynchronize(c[0].done)); /* of the other: any thread may */
    MUST(c[0].result[7] == 5 && c[1].result[7] == 2);
}

START_TEST(test_devices_both)
{
    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    pass_with_all_seeds(run_both, NULL);
}
END_TEST

enum mistake {
    OTHER_STREAM,
    OTHER_KERNEL_MEMORY,
    OTHER_COPY,
    OTHER_FILL,
    OTHER_EVENT,
    OTHER_POOL,
    OTHER_GRAPH,
    NO_MISTAKE
};

static void run_mistake(const void *arg)
{
    const enum mistake which = *(const enum mistake *)arg;
    cudaMemPool_t pool;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    struct card c[2];
    void *memory;

    for (int i = 0; i < 2; i++)
        card_init(&c[i], i);
    put(cudaStreamBeginCapture(c[1].stream, cudaStreamCaptureModeThreadLocal));
    MUST(emulated_add(c[1].x, c[1].y, N, 2, c[1].stream) == 0);
    put(cudaStreamEndCapture(c[1].stream, &graph));
    put(cudaGraphInstantiate(&exec, graph, 0));
    put(cudaGraphLaunch(exec, c[1].stream));
    switch (which) {
    case OTHER_STREAM:
        (void)emulated_add(c[0].x, c[0].y, N, 1, c[0].stream);
        break;
    case OTHER_KERNEL_MEMORY:
        (void)emulated_add(c[0].x, c[1].y, N, 1, c[1].stream);
        break;
    case OTHER_COPY:
        (void)cudaMemcpyAsync(c[1].result, c[0].x, BYTES, cudaMemcpyDeviceToHost, c[1].stream);
        break;
    case OTHER_FILL:
        (void)cudaMemsetAsync(c[0].x, 0, BYTES, c[1].stream);
        break;
    case OTHER_EVENT:
        (void)cudaEventRecord(c[0].done, c[1].stream);
        break;
    case OTHER_POOL:
        put(cudaDeviceGetDefaultMemPool(&pool, 0));
        (void)cudaMallocFromPoolAsync(&memory, 16, pool, c[1].stream);
        break;
    case OTHER_GRAPH:
        put(cudaSetDevice(0));
        (void)cudaGraphLaunch(exec, c[0].stream);
        break;
    case NO_MISTAKE:
        put(cudaStreamSynchronize(c[1].stream));
        break;
    }
}

START_TEST(test_devices_mistakes)
{
    static const struct {
        enum mistake which;
        const char *says;
    } rows[] = {
        {OTHER_STREAM, "a stream of device 0 is used by a thread that has chosen device 1"},
        {OTHER_KERNEL_MEMORY, "in a stream of device 1 uses device allocation 1 (1024 bytes) of "
                              "device 0"},
        {OTHER_COPY, "a copy of 1024 bytes to the host in a stream of device 1 uses device "
                     "allocation 1"},
        {OTHER_FILL, "a memset in a stream of device 1 uses device allocation 1"},
        {OTHER_EVENT, "an event of device 0 is recorded in a stream of device 1"},
        {OTHER_POOL, "a pool of device 0 is given out in a stream of device 1"},
        {OTHER_GRAPH, "a graph of device 1 is launched in a stream of device 0"},
    };
    const enum mistake none = NO_MISTAKE;

    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++)
        must_report(run_mistake, &rows[i].which, NULL, rows[i].says);
    must_pass(run_mistake, &none, NULL, NULL);
}
END_TEST

/* ---- one is lost ---- */

static void work(struct card *c, float k)
{
    MUST(emulated_add(c->x, c->y, N, k, c->stream) == 0);
    put(cudaMemcpyAsync(c->result, c->y, BYTES, cudaMemcpyDeviceToHost, c->stream));
    put(cudaStreamSynchronize(c->stream));
    MUST(c->result[3] == k);
}

/* The first launch, on device 1, has an end that stays; or it never ends. */
static void run_loss(const void *arg)
{
    const cudaError_t lost = *(const cudaError_t *)arg;
    struct card c[2];

    for (int i = 0; i < 2; i++)
        card_init(&c[i], i);
    MUST(emulated_add(c[1].x, c[1].y, N, 1, c[1].stream) == 0);
    put(cudaEventRecord(c[1].done, c[1].stream));
    put(cudaSetDevice(0));
    work(&c[0], 1); /* beside it */
    put(cudaSetDevice(1));
    MUST(cudaStreamSynchronize(c[1].stream) == lost && cudaGetLastError() == lost);
    MUST(cudaEventQuery(c[1].done) == lost && cudaSetDevice(1) == lost);
    put(cudaSetDevice(0));
    MUST(cudaGetLastError() == lost); /* the thread's last one, which stays with the other card */
    MUST(cudaGetLastError() == cudaSuccess);
    MUST(cudaEventQuery(c[1].done) == lost && cudaGetLastError() == lost);
    work(&c[0], 2);
    put(cudaFree(c[0].x));
    put(cudaStreamDestroy(c[0].stream));
}

START_TEST(test_devices_one_is_lost)
{
    static const cudaError_t illegal = cudaErrorIllegalAddress, hangs = cudaErrorLaunchTimeout;

    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    setenv("ENSO_CUDA_EMULATED_HANG_MS", "20", 1);
    setenv("ENSO_CUDA_EMULATED_FAULT", "1:700", 1);
    pass_with_all_seeds(run_loss, &illegal);
    setenv("ENSO_CUDA_EMULATED_FAULT", "1:hang", 1);
    pass_with_all_seeds(run_loss, &hangs);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cuda_emulation/devices");
    TCase *tc = tcase_create("core");

    tcase_add_test(tc, test_devices_choosing);
    tcase_add_test(tc, test_devices_both);
    suite_add_tcase(s, tc);
    tc = tcase_create("errors");
    tcase_add_test(tc, test_devices_mistakes);
    tcase_add_test(tc, test_devices_one_is_lost);
    suite_add_tcase(s, tc);
    return s;
}

ENSO_TEST_MAIN(suite)
