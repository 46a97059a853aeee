/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams, events, copies and pools of the emulation: programs that are right pass with every seed,
 * programs that forget to wait are reported or get wrong numbers. Errors that stay and streams that
 * hang.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/children.h"
#include "tests/cuda_emulation/emulated.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N 256
#define BYTES (N * sizeof(float))
#define MIB ((size_t)1 << 20)

static void fill(float *x, float first)
{
    for (unsigned i = 0; i < N; i++)
        x[i] = first + (float)i;
}

static bool holds(const float *x, float first)
{
    for (unsigned i = 0; i < N; i++)
        if (x[i] != first + (float)i)
            return false;
    return true;
}

static void put(cudaError_t error)
{
    MUST(error == cudaSuccess);
}

static void copy(void *to, const void *from, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    put(cudaMemcpyAsync(to, from, BYTES, kind, stream));
}

static cudaEvent_t event_new(unsigned flags)
{
    cudaEvent_t event;

    put(cudaEventCreateWithFlags(&event, flags));
    return event;
}

/* ---- host and stream ---- */

enum staging_case { RIGHT, OVERWRITTEN_EARLY, FILLED_LATE, OUTPUT_READ_EARLY };

/* Two batches through one piece of pinned memory. */
static void run_staging(const void *arg)
{
    const enum staging_case which = *(const enum staging_case *)arg;
    cudaStream_t stream = stream_new();
    float *staging = pinned_new(BYTES), *result = pinned_new(2 * BYTES);
    float *x = device_new(BYTES), *y = device_new(BYTES);

    fill(result, 1);
    fill(result + N, 1);
    for (unsigned batch = 0; batch < 2; batch++) {
        if (which != FILLED_LATE)
            fill(staging, (float)batch * 1000);
        copy(x, staging, cudaMemcpyHostToDevice, stream);
        if (which == FILLED_LATE)
            fill(staging, (float)batch * 1000);
        MUST(emulated_add(x, y, N, 0.5f, stream) == 0);
        copy(result + (size_t)batch * N, y, cudaMemcpyDeviceToHost, stream);
        if (which == OUTPUT_READ_EARLY)
            MUST(isnan(result[batch * N]) && isnan(result[batch * N + N - 1]));
        if (which != OVERWRITTEN_EARLY)
            put(cudaStreamSynchronize(stream));
    }
    put(cudaStreamSynchronize(stream));
    MUST(holds(result, 0.5f) && holds(result + N, 1000.5f));
}

START_TEST(test_streams_staging)
{
    static const enum staging_case cases[] = {RIGHT, OVERWRITTEN_EARLY, FILLED_LATE,
                                              OUTPUT_READ_EARLY};
    static const char *const says = "the host changed pinned memory while a copy to the device "
                                    "that reads it still waited: 1024 bytes at byte 0 of pinned "
                                    "host allocation 1";

    pass_with_all_seeds(run_staging, &cases[0]);
    report_with_all_seeds(run_staging, &cases[1], says);
    report_with_all_seeds(run_staging, &cases[2], says);
    pass_with_all_seeds(run_staging, &cases[3]);
}
END_TEST

/* A copy up may read what a copy down before it wrote, and two may write the same place. */
static void run_there_and_back(const void *arg)
{
    cudaStream_t stream = stream_new();
    float *a = pinned_new(BYTES), *b = pinned_new(BYTES);
    float *x = device_new(BYTES), *y = device_new(BYTES), *z = device_new(BYTES);

    (void)arg;
    fill(a, 3);
    copy(x, a, cudaMemcpyHostToDevice, stream);
    copy(b, x, cudaMemcpyDeviceToHost, stream);
    copy(y, b, cudaMemcpyHostToDevice, stream);
    MUST(emulated_add(y, z, N, 1, stream) == 0);
    copy(b, z, cudaMemcpyDeviceToHost, stream);
    put(cudaMemsetAsync(z, 0, BYTES, stream));
    copy(z, y, cudaMemcpyDeviceToDevice, stream);
    copy(a, z, cudaMemcpyDeviceToHost, stream);
    put(cudaStreamSynchronize(stream));
    MUST(holds(b, 4) && holds(a, 3));
}

START_TEST(test_streams_copies_keep_their_order)
{
    pass_with_all_seeds(run_there_and_back, NULL);
}
END_TEST

/* Pageable memory: up, its bytes are taken at once; down, the call waits. Rows with gaps. */
static void run_pageable(const void *arg)
{
    cudaStream_t stream = stream_new();
    float x[N], y[2 * N];
    float *device = device_new(BYTES), *out = device_new(BYTES);

    (void)arg;
    fill(x, 7);
    copy(device, x, cudaMemcpyHostToDevice, stream);
    memset(x, 0, sizeof(x));
    MUST(emulated_add(device, out, N, 1, stream) == 0);
    memset(y, 0, sizeof(y));
    put(cudaMemcpy2DAsync(y, 32, out, 16, 16, BYTES / 16, cudaMemcpyDeviceToHost, stream));
    for (unsigned i = 0; i < 2 * N; i++)
        MUST(y[i] == (i % 8 < 4 ? 8 + (float)(i / 8 * 4 + i % 8) : 0));
}

START_TEST(test_streams_pageable_memory)
{
    pass_with_all_seeds(run_pageable, NULL);
}
END_TEST

/* ---- between streams ---- */

enum between_case { WITH_EVENTS, NO_EVENT, EVENT_TOO_EARLY };

static void run_between(const void *arg)
{
    const enum between_case which = *(const enum between_case *)arg;
    cudaStream_t a = stream_new(), b = stream_new();
    cudaEvent_t up_done = event_new(cudaEventDisableTiming), added = event_new(cudaEventDefault);
    float *staging = pinned_new(BYTES), *result = pinned_new(BYTES);
    float *x = device_new(BYTES), *y = device_new(BYTES);

    fill(staging, 50); /* of a batch before */
    copy(x, staging, cudaMemcpyHostToDevice, a);
    put(cudaStreamSynchronize(a));
    fill(staging, 1);
    if (which == EVENT_TOO_EARLY)
        put(cudaEventRecord(up_done, a));
    copy(x, staging, cudaMemcpyHostToDevice, a);
    if (which == WITH_EVENTS)
        put(cudaEventRecord(up_done, a));
    if (which != NO_EVENT)
        put(cudaStreamWaitEvent(b, up_done, 0));
    MUST(emulated_add(x, y, N, 1, b) == 0);
    put(cudaEventRecord(added, b));
    if (which == WITH_EVENTS) { /* and back: only what is waited for runs */
        put(cudaStreamWaitEvent(a, added, 0));
        /* a later record changes nothing for who waits already */
        put(cudaEventRecord(added, b));
        copy(result, y, cudaMemcpyDeviceToHost, a);
        put(cudaStreamSynchronize(a));
    } else {
        copy(result, y, cudaMemcpyDeviceToHost, b);
        put(cudaStreamSynchronize(b));
    }
    MUST(holds(result, 2));
    put(cudaEventDestroy(up_done));
    put(cudaEventDestroy(added));
}

START_TEST(test_streams_events_order_streams)
{
    static const enum between_case right = WITH_EVENTS;
    static const enum between_case wrong[] = {NO_EVENT, EVENT_TOO_EARLY};

    pass_with_all_seeds(run_between, &right);
    for (size_t w = 0; w < ENSO_ARRAY_SIZE(wrong); w++) {
        unsigned n_found = 0;

        for (size_t i = 0; i < N_SEEDS; i++) {
            struct child c = run_child(run_between, &wrong[w], NULL, some_seeds[i]);

            n_found += c.status != 0;
            ck_assert(c.status == 0 || strstr(c.said, "device memory that nobody wrote") != NULL);
            ck_assert(i != 0 || c.status != 0); /* seed 0 for certain, the dice mostly */
        }
        ck_assert_uint_ge(n_found, N_SEEDS / 2);
    }
}
END_TEST

/* One stream writes what another still reads; says which came first. */
static void run_overwrite(const void *arg)
{
    cudaStream_t a = stream_new(), b = stream_new();
    float *result = pinned_new(BYTES), *x = device_new(BYTES), *y = device_new(BYTES);
    float host[N];

    (void)arg;
    fill(host, 0);
    copy(x, host, cudaMemcpyHostToDevice, a);
    put(cudaStreamSynchronize(a));
    MUST(emulated_add(x, y, N, 0, a) == 0);
    put(cudaMemsetAsync(x, 0, BYTES, b));
    put(cudaStreamSynchronize(b));
    put(cudaStreamSynchronize(a));
    copy(result, y, cudaMemcpyDeviceToHost, a);
    put(cudaStreamSynchronize(a));
    fprintf(stderr, "%s", result[5] == 5 ? "reader first" : "writer first");
}

START_TEST(test_streams_orders_differ)
{
    const unsigned n = 40;
    unsigned n_reader_first = 0;

    for (unsigned i = 0; i < n; i++) {
        char seed[16];

        snprintf(seed, sizeof(seed), "%u", i);
        struct child c = run_child(run_overwrite, NULL, NULL, seed);
        ck_assert_int_eq(c.status, 0);
        n_reader_first += strcmp(c.said, "reader first") == 0;
    }
    ck_assert_uint_ge(n_reader_first, 1);
    ck_assert_uint_lt(n_reader_first, n);
}
END_TEST

/* A destroyed stream's work is done, when somebody waits for its event. */
static void run_destroyed(const void *arg)
{
    cudaStream_t stream = stream_new();
    cudaEvent_t done = event_new(cudaEventBlockingSync);
    float *staging = pinned_new(BYTES), *result = pinned_new(BYTES), *x = device_new(BYTES);

    (void)arg;
    fill(staging, 9);
    copy(x, staging, cudaMemcpyHostToDevice, stream);
    copy(result, x, cudaMemcpyDeviceToHost, stream);
    put(cudaEventRecord(done, stream));
    put(cudaStreamDestroy(stream));
    MUST(isnan(result[0]));
    MUST(cudaStreamSynchronize(stream) == cudaErrorInvalidResourceHandle);
    put(cudaEventSynchronize(done));
    MUST(holds(result, 9));
    put(cudaFree(x));
    put(cudaFreeHost(staging));
}

START_TEST(test_streams_destroyed_stream_runs_on)
{
    pass_with_all_seeds(run_destroyed, NULL);
}
END_TEST

/* ---- queries and times ---- */

static void run_queries(const void *arg)
{
    const bool of_event = *(const bool *)arg;
    cudaStream_t stream = stream_new();
    cudaEvent_t event = event_new(cudaEventDefault), never = event_new(cudaEventDefault);
    float *x = device_new(BYTES);
    unsigned n_not_ready = 0;
    cudaError_t error;

    put(cudaEventQuery(never));
    put(cudaEventSynchronize(never));
    put(cudaStreamWaitEvent(stream, never, 0));
    put(cudaStreamQuery(stream));
    for (unsigned i = 0; i < 8; i++) {
        put(cudaMemsetAsync(x, 0, BYTES, stream));
        put(cudaEventRecord(event, stream));
        while ((error = of_event ? cudaEventQuery(event) : cudaStreamQuery(stream)) ==
               cudaErrorNotReady)
            MUST(++n_not_ready < 100);
        MUST(error == cudaSuccess && cudaGetLastError() == cudaSuccess);
    }
    MUST(n_not_ready > 0);
    fprintf(stderr, "%u", n_not_ready);
}

START_TEST(test_streams_queries_take_their_time)
{
    const bool of_event = _i != 0;
    bool differ = false;
    struct child first = run_child(run_queries, &of_event, NULL, "1");

    for (size_t i = 0; i < N_SEEDS; i++) {
        struct child c = run_child(run_queries, &of_event, NULL, some_seeds[i]);

        ck_assert_msg(c.status == 0, "%s", c.said);
        differ = differ || strcmp(c.said, first.said) != 0;
    }
    ck_assert(differ);
}
END_TEST

static void run_times(const void *arg)
{
    cudaStream_t stream = stream_new();
    cudaEvent_t start = event_new(cudaEventDefault), end = event_new(cudaEventDefault);
    cudaEvent_t untimed = event_new(cudaEventDisableTiming);
    size_t sizes[] = {1024, MIB, 16 * MIB};
    char *x = device_new(16 * MIB), *host = pinned_new(16 * MIB);
    float ms, before = 0;

    (void)arg;
    memset(host, 1, 16 * MIB);
    MUST(cudaEventElapsedTime(&ms, start, end) == cudaErrorInvalidResourceHandle);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
        put(cudaEventRecord(start, stream));
        put(cudaMemcpyAsync(x, host, sizes[i], cudaMemcpyHostToDevice, stream));
        put(cudaEventRecord(end, stream));
        MUST(cudaEventElapsedTime(&ms, start, end) == cudaErrorNotReady);
        put(cudaEventSynchronize(end));
        put(cudaEventElapsedTime(&ms, start, end));
        MUST(ms > before);
        before = ms;
    }
    put(cudaEventRecord(untimed, stream));
    put(cudaEventSynchronize(untimed));
    MUST(cudaEventElapsedTime(&ms, start, untimed) == cudaErrorInvalidResourceHandle);
}

START_TEST(test_streams_times)
{
    must_pass(run_times, NULL, NULL, "0");
    must_pass(run_times, NULL, NULL, "4");
}
END_TEST

static void run_eager(const void *arg)
{
    cudaStream_t stream = stream_new();
    float *staging = pinned_new(BYTES), *result = pinned_new(BYTES), *x = device_new(BYTES);

    (void)arg;
    fill(staging, 2);
    copy(x, staging, cudaMemcpyHostToDevice, stream);
    copy(result, x, cudaMemcpyDeviceToHost, stream);
    MUST(holds(result, 2));
}

START_TEST(test_streams_eager_on_demand)
{
    ck_assert_int_ne(run_child(run_eager, NULL, NULL, NULL).status, 0);
    setenv("ENSO_CUDA_EMULATED_STREAMS", "eager", 1);
    must_pass(run_eager, NULL, NULL, NULL);
    unsetenv("ENSO_CUDA_EMULATED_STREAMS");
}
END_TEST

/* More waits than a card's queue holds; and an order over many streams. */
static void run_many(const void *arg)
{
    cudaStream_t streams[5];
    cudaEvent_t event = event_new(cudaEventDisableTiming);
    float *x = device_new(BYTES), *result = pinned_new(BYTES);

    (void)arg;
    for (unsigned i = 0; i < 5; i++)
        streams[i] = stream_new();
    put(cudaMemsetAsync(x, 0, BYTES, streams[0]));
    for (unsigned i = 0; i < 3000; i++) {
        MUST(emulated_add(x, x, N, 1, streams[i / 300 % 5]) == 0);
        put(cudaEventRecord(event, streams[i / 300 % 5]));
        put(cudaStreamWaitEvent(streams[(i + 1) / 300 % 5], event, 0));
    }
    copy(result, x, cudaMemcpyDeviceToHost, streams[0]);
    put(cudaStreamSynchronize(streams[0]));
    MUST(result[17] == 3000);
}

START_TEST(test_streams_many)
{
    must_pass(run_many, NULL, NULL, "0");
    must_pass(run_many, NULL, NULL, "5");
}
END_TEST

/* ---- what is not allowed ---- */

enum forbidden { FREE_COPIED, FREE_PINNED, FREE_ARGUMENT, NULL_STREAM, NULL_COPY, BLOCKING_STREAM };

static void run_forbidden(const void *arg)
{
    const enum forbidden which = *(const enum forbidden *)arg;
    cudaStream_t stream = stream_new();
    float *x = device_new(BYTES), *y = device_new(BYTES), *pinned = pinned_new(BYTES);

    switch (which) {
    case FREE_COPIED:
        copy(x, y, cudaMemcpyDeviceToDevice, stream);
        (void)cudaFree(y);
        break;
    case FREE_PINNED:
        copy(pinned, y, cudaMemcpyDeviceToHost, stream);
        (void)cudaFreeHost(pinned);
        break;
    case FREE_ARGUMENT:
        (void)emulated_add(x, y, N, 0, stream);
        (void)cudaFree(x);
        break;
    case NULL_STREAM:
        emulated_nothing((struct emulated_size){1, 1, 1}, (struct emulated_size){1, 1, 1}, NULL);
        break;
    case NULL_COPY:
        (void)cudaMemsetAsync(x, 0, BYTES, NULL);
        break;
    default:
        (void)cudaStreamCreate(&stream);
        break;
    }
}

static void run_free_after_waiting(const void *arg)
{
    cudaStream_t stream = stream_new();
    float *x = device_new(BYTES), *y = device_new(BYTES), *pinned = pinned_new(BYTES);
    float *other = device_new(BYTES);

    (void)arg;
    put(cudaMemsetAsync(x, 0, BYTES, stream));
    MUST(emulated_add(x, y, N, 0, stream) == 0);
    copy(pinned, y, cudaMemcpyDeviceToHost, stream);
    put(cudaFree(other)); /* of no concern */
    put(cudaStreamSynchronize(stream));
    put(cudaFree(x));
    put(cudaFree(y));
    put(cudaFreeHost(pinned));
}

START_TEST(test_streams_forbidden)
{
    static const struct {
        enum forbidden which;
        const char *says;
    } rows[] = {
        {FREE_COPIED, "device allocation 2 (1024 bytes) is freed while a copy of 1024 bytes on the "
                      "device that uses it still waits"},
        {FREE_PINNED, "pinned host allocation 3 (1024 bytes) is freed while a copy"},
        {FREE_ARGUMENT, "device allocation 1 (1024 bytes) is freed while kernel add that uses it"},
        {NULL_STREAM, "launched on the default stream"},
        {NULL_COPY, "the default stream is used"},
        {BLOCKING_STREAM, "waits for the default stream"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++)
        must_report(run_forbidden, &rows[i].which, NULL, rows[i].says);
    pass_with_all_seeds(run_free_after_waiting, NULL);
}
END_TEST

/* ---- the device is lost ---- */

static void run_fault(const void *arg)
{
    const cudaError_t lost = cudaErrorIllegalAddress;
    cudaStream_t stream = stream_new(), other = stream_new();
    cudaEvent_t event = event_new(cudaEventDefault);
    float *x = device_new(BYTES), *y = pinned_new(BYTES);
    size_t free_bytes, total_bytes;
    void *memory;

    (void)arg;
    put(cudaMemsetAsync(x, 0, BYTES, stream));
    MUST(emulated_add(x, x, N, 1, stream) == 0);
    put(cudaStreamSynchronize(stream));
    MUST(emulated_add(x, x, N, 1, stream) == 0); /* the second, which dies later */
    copy(y, x, cudaMemcpyDeviceToHost, stream);
    put(cudaEventRecord(event, stream));
    MUST(cudaEventSynchronize(event) == lost);
    MUST(isnan(y[0]));
    for (unsigned i = 0; i < 2; i++) {
        MUST(cudaGetLastError() == lost && cudaPeekAtLastError() == lost);
        MUST(emulated_add(x, x, N, 1, other) == (int)lost);
        MUST(cudaMemsetAsync(x, 0, BYTES, other) == lost);
        MUST(cudaStreamSynchronize(other) == lost && cudaStreamQuery(other) == lost);
        MUST(cudaEventQuery(event) == lost && cudaEventRecord(event, other) == lost);
        MUST(cudaMalloc(&memory, 16) == lost && cudaSetDevice(0) == lost);
        MUST(cudaMemGetInfo(&free_bytes, &total_bytes) == lost);
    }
    MUST(cudaFree(x) == lost && cudaFreeHost(y) == lost);
    MUST(cudaEventDestroy(event) == lost && cudaStreamDestroy(stream) == lost);
}

START_TEST(test_streams_error_stays)
{
    setenv("ENSO_CUDA_EMULATED_FAULT", "2:700", 1);
    pass_with_all_seeds(run_fault, NULL);
    unsetenv("ENSO_CUDA_EMULATED_FAULT");
}
END_TEST

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Which call waits in vain: 0 an event, 1 a stream, 2 a free before anything ran, 3 a stream that
 * waits for it. */
static void run_hang(const void *arg)
{
    const int which = *(const int *)arg;
    cudaStream_t stream = stream_new(), other = stream_new();
    cudaEvent_t event = event_new(cudaEventDefault);
    float *x = device_new(BYTES), *y = device_new(BYTES);
    cudaError_t error;

    put(cudaMemsetAsync(x, 0, BYTES, stream));
    MUST(emulated_add(x, y, N, 1, stream) == 0);
    put(cudaEventRecord(event, stream));
    put(cudaStreamWaitEvent(other, event, 0));
    for (unsigned i = 0; which != 2 && i < 50; i++)
        MUST(cudaEventQuery(event) == cudaErrorNotReady &&
             cudaStreamQuery(stream) == cudaErrorNotReady &&
             cudaStreamQuery(other) == cudaErrorNotReady);
    double start = now_ms();
    error = which == 0   ? cudaEventSynchronize(event)
            : which == 1 ? cudaStreamSynchronize(stream)
            : which == 2 ? cudaFree(y)
                         : cudaStreamSynchronize(other);
    MUST(error == cudaErrorLaunchTimeout);
    MUST(now_ms() - start >= 40);
    start = now_ms();
    MUST(cudaStreamSynchronize(stream) == cudaErrorLaunchTimeout);
    MUST(cudaFree(x) == cudaErrorLaunchTimeout && now_ms() - start < 40);
}

START_TEST(test_streams_hang)
{
    static const int cases[] = {0, 1, 2, 3};

    setenv("ENSO_CUDA_EMULATED_FAULT", "1:hang", 1);
    setenv("ENSO_CUDA_EMULATED_HANG_MS", "50", 1);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        must_pass(run_hang, &cases[i], NULL, "0");
        must_pass(run_hang, &cases[i], NULL, "3");
    }
    unsetenv("ENSO_CUDA_EMULATED_FAULT");
    unsetenv("ENSO_CUDA_EMULATED_HANG_MS");
}
END_TEST

/* ---- pools ---- */

static const struct cudaMemPoolProps on_device = {.allocType = cudaMemAllocationTypePinned,
                                                  .location = {cudaMemLocationTypeDevice, 0}};

static uint64_t attribute(cudaMemPool_t pool, enum cudaMemPoolAttr which)
{
    uint64_t n = 0;

    put(cudaMemPoolGetAttribute(pool, which, &n));
    return n;
}

static size_t free_now(void)
{
    size_t free_bytes, total_bytes;

    put(cudaMemGetInfo(&free_bytes, &total_bytes));
    return free_bytes;
}

static void run_pool_numbers(const void *arg)
{
    const size_t all = free_now();
    cudaStream_t stream = stream_new();
    uint64_t keep = 6 * MIB;
    cudaMemPool_t pool;
    void *a, *b, *big;

    (void)arg;
    put(cudaMemPoolCreate(&pool, &on_device));
    put(cudaMallocFromPoolAsync(&a, 3 * MIB, pool, stream));
    put(cudaMallocFromPoolAsync(&b, 100, pool, stream));
    MUST(attribute(pool, cudaMemPoolAttrUsedMemCurrent) == 3 * MIB + 512);
    MUST(attribute(pool, cudaMemPoolAttrReservedMemCurrent) == 4 * MIB);
    MUST(free_now() == all - 4 * MIB);
    put(cudaMemsetAsync(a, 0, 3 * MIB, stream));
    put(cudaFreeAsync(a, stream));
    MUST(attribute(pool, cudaMemPoolAttrUsedMemCurrent) == 3 * MIB + 512); /* not yet */
    put(cudaStreamSynchronize(stream));
    MUST(attribute(pool, cudaMemPoolAttrUsedMemCurrent) == 512);
    MUST(attribute(pool, cudaMemPoolAttrUsedMemHigh) == 3 * MIB + 512);
    MUST(attribute(pool, cudaMemPoolAttrReservedMemCurrent) == 2 * MIB); /* threshold 0 */
    MUST(free_now() == all - 2 * MIB);
    put(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    put(cudaMallocFromPoolAsync(&big, 20 * MIB, pool, stream));
    put(cudaFreeAsync(big, stream));
    put(cudaStreamSynchronize(stream));
    MUST(attribute(pool, cudaMemPoolAttrReservedMemCurrent) == 6 * MIB);
    MUST(attribute(pool, cudaMemPoolAttrReservedMemHigh) == 22 * MIB);
    put(cudaMemPoolTrimTo(pool, 3 * MIB));
    MUST(attribute(pool, cudaMemPoolAttrReservedMemCurrent) == 4 * MIB);
    put(cudaMemPoolTrimTo(pool, 0));
    MUST(attribute(pool, cudaMemPoolAttrReservedMemCurrent) == 2 * MIB);
    put(cudaMemPoolDestroy(pool)); /* in use yet */
    MUST(free_now() == all - 2 * MIB);
    put(cudaFreeAsync(b, stream));
    put(cudaStreamSynchronize(stream));
    MUST(free_now() == all);
    MUST(cudaMallocFromPoolAsync(&a, 1, pool, stream) == cudaErrorInvalidValue);
    MUST(cudaFreeAsync(b, stream) == cudaErrorInvalidValue);
}

/* A card of 64 MiB. */
static void run_pool_reuse(const void *arg)
{
    cudaStream_t stream = stream_new(), other = stream_new();
    uint64_t keep = UINT64_MAX >> 1;
    cudaMemPool_t pool;
    void *a, *b, *c;

    (void)arg;
    put(cudaMemPoolCreate(&pool, &on_device));
    put(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    put(cudaMallocFromPoolAsync(&a, 40 * MIB, pool, stream));
    MUST(cudaMallocFromPoolAsync(&b, 40 * MIB, pool, stream) == cudaErrorMemoryAllocation);
    put(cudaFreeAsync(a, stream));
    MUST(cudaMallocFromPoolAsync(&b, 40 * MIB, pool, other) == cudaErrorMemoryAllocation);
    put(cudaMallocFromPoolAsync(&b, 40 * MIB, pool, stream)); /* its own, in order */
    put(cudaMemsetAsync(b, 0, 40 * MIB, stream));
    put(cudaFreeAsync(b, stream));
    put(cudaStreamSynchronize(stream));
    MUST(attribute(pool, cudaMemPoolAttrUsedMemCurrent) == 0);
    MUST(attribute(pool, cudaMemPoolAttrReservedMemCurrent) == 40 * MIB);
    MUST(cudaMalloc(&c, 40 * MIB) == cudaErrorMemoryAllocation); /* the pool keeps it */
    put(cudaMallocFromPoolAsync(&b, 40 * MIB, pool, other));     /* and gives it */
    put(cudaFreeAsync(b, other));
    put(cudaStreamSynchronize(other));
    put(cudaMemPoolTrimTo(pool, 0));
    put(cudaMalloc(&c, 40 * MIB));
}

enum pool_case { POOL_RIGHT, POOL_OTHER_STREAM, POOL_AFTER_FREE, POOL_FREED_TWICE };

static void run_pool_order(const void *arg)
{
    const enum pool_case which = *(const enum pool_case *)arg;
    cudaStream_t a = stream_new(), b = stream_new();
    cudaEvent_t made = event_new(cudaEventDisableTiming);
    float *result = pinned_new(BYTES), *x;
    cudaMemPool_t pool;

    put(cudaDeviceGetDefaultMemPool(&pool, 0));
    put(cudaMallocFromPoolAsync((void **)&x, BYTES, pool, a));
    put(cudaEventRecord(made, a));
    if (which == POOL_RIGHT)
        put(cudaStreamWaitEvent(b, made, 0));
    put(cudaMemsetAsync(x, 0, BYTES, which == POOL_OTHER_STREAM || which == POOL_RIGHT ? b : a));
    if (which == POOL_OTHER_STREAM)
        put(cudaStreamSynchronize(b));
    if (which == POOL_AFTER_FREE || which == POOL_FREED_TWICE)
        put(cudaFreeAsync(x, a));
    if (which == POOL_FREED_TWICE)
        put(cudaFreeAsync(x, a));
    MUST(emulated_add(x, x, N, 1, which == POOL_RIGHT ? b : a) == 0);
    if (which == POOL_RIGHT) {
        copy(result, x, cudaMemcpyDeviceToHost, b);
        put(cudaFreeAsync(x, b));
        put(cudaStreamSynchronize(b));
        MUST(result[3] == 1);
    } else {
        (void)cudaStreamSynchronize(a);
    }
}

START_TEST(test_pools)
{
    static const enum pool_case cases[] = {POOL_RIGHT, POOL_OTHER_STREAM, POOL_AFTER_FREE,
                                           POOL_FREED_TWICE};

    must_pass(run_pool_numbers, NULL, NULL, "0");
    must_pass(run_pool_numbers, NULL, NULL, "4");
    setenv("ENSO_CUDA_EMULATED_MEMORY", "67108864", 1);
    must_pass(run_pool_reuse, NULL, NULL, "0");
    must_pass(run_pool_reuse, NULL, NULL, "4");
    unsetenv("ENSO_CUDA_EMULATED_MEMORY");
    pass_with_all_seeds(run_pool_order, &cases[0]);
    must_report(run_pool_order, &cases[1], "0", "before its turn in its stream came");
    report_with_all_seeds(run_pool_order, &cases[2],
                          "device allocation 2 (1024 bytes) after it was freed");
    report_with_all_seeds(run_pool_order, &cases[3], "freed twice");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cuda_emulation/streams");
    TCase *tc = tcase_create("core");

    tcase_add_test(tc, test_streams_staging);
    tcase_add_test(tc, test_streams_copies_keep_their_order);
    tcase_add_test(tc, test_streams_pageable_memory);
    tcase_add_test(tc, test_streams_events_order_streams);
    tcase_add_test(tc, test_streams_orders_differ);
    tcase_add_test(tc, test_streams_destroyed_stream_runs_on);
    tcase_add_loop_test(tc, test_streams_queries_take_their_time, 0, 2);
    tcase_add_test(tc, test_streams_times);
    tcase_add_test(tc, test_streams_eager_on_demand);
    tcase_add_test(tc, test_streams_many);
    tcase_add_test(tc, test_pools);
    suite_add_tcase(s, tc);
    tc = tcase_create("errors");
    tcase_add_test(tc, test_streams_forbidden);
    tcase_add_test(tc, test_streams_error_stays);
    tcase_add_test(tc, test_streams_hang);
    suite_add_tcase(s, tc);
    return s;
}

ENSO_TEST_MAIN(suite)
