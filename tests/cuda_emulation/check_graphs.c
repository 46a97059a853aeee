/* SPDX-License-Identifier: Apache-2.0
 *
 * Stream capture and graphs of the emulation: what a graph computes, what a capture refuses and
 * with which error, what is reported.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/children.h"
#include "tests/cuda_emulation/emulated.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define N 64
#define BYTES (N * sizeof(float))

struct bench {
    cudaStream_t stream, other;
    cudaEvent_t event, joined;
    float *staging, *result; /* pinned */
    float *x, *y, *z;        /* of the device */
};

static void put(cudaError_t error)
{
    MUST(error == cudaSuccess);
}

static struct bench bench_new(void)
{
    struct bench b = {.stream = stream_new(),
                      .other = stream_new(),
                      .staging = pinned_new(BYTES),
                      .result = pinned_new(BYTES),
                      .x = device_new(BYTES),
                      .y = device_new(BYTES),
                      .z = device_new(BYTES)};

    put(cudaEventCreateWithFlags(&b.event, cudaEventDisableTiming));
    put(cudaEventCreateWithFlags(&b.joined, cudaEventDisableTiming));
    memset(b.staging, 0, BYTES);
    return b;
}

/* result = staging + 3: up, two kernels side by side and one behind them, down. */
static cudaGraphExec_t capture(struct bench *b, size_t n_nodes)
{
    cudaGraphNode_t nodes[8];
    enum cudaStreamCaptureStatus status;
    unsigned long long id = 0;
    size_t n = 0;
    cudaGraphExec_t exec;
    cudaGraph_t graph;

    put(cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal));
    put(cudaMemcpyAsync(b->x, b->staging, BYTES, cudaMemcpyHostToDevice, b->stream));
    put(cudaEventRecord(b->event, b->stream));
    put(cudaStreamWaitEvent(b->other, b->event, 0));
    put(cudaStreamGetCaptureInfo(b->other, &status, &id, NULL, NULL, NULL, NULL));
    MUST(status == cudaStreamCaptureStatusActive && id != 0);
    MUST(emulated_add(b->x, b->y, N, 1, b->stream) == 0);
    MUST(emulated_add(b->x, b->z, N, 2, b->other) == 0);
    put(cudaEventRecord(b->joined, b->other));
    put(cudaStreamWaitEvent(b->stream, b->joined, 0));
    MUST(emulated_add(b->z, b->x, N, 1, b->stream) == 0);
    put(cudaMemcpyAsync(b->result, b->x, BYTES, cudaMemcpyDeviceToHost, b->stream));
    put(cudaStreamEndCapture(b->stream, &graph));
    put(cudaStreamIsCapturing(b->other, &status));
    MUST(status == cudaStreamCaptureStatusNone);
    put(cudaGraphGetNodes(graph, NULL, &n));
    MUST(n == n_nodes);
    n = ENSO_ARRAY_SIZE(nodes);
    put(cudaGraphGetNodes(graph, nodes, &n));
    MUST(n == n_nodes && nodes[0] != NULL && nodes[n] == NULL);
    put(cudaGraphInstantiate(&exec, graph, 0));
    put(cudaGraphDestroy(graph));
    put(cudaGraphUpload(exec, b->stream));
    return exec;
}

enum graph_case { RIGHT, STAGING_TOO_EARLY, FREED, FREED_PINNED, FREED_WAITING };

static void run_graph(const void *arg)
{
    const enum graph_case which = *(const enum graph_case *)arg;
    struct bench b = bench_new();
    cudaGraphExec_t exec = capture(&b, 5);

    MUST(isnan(b.result[5])); /* as pinned memory begins: nothing ran */
    for (unsigned batch = 0; batch < 3; batch++) {
        b.staging[5] = (float)batch;
        put(cudaGraphLaunch(exec, b.stream));
        if (which == STAGING_TOO_EARLY)
            b.staging[5] = 77;
        MUST(isnan(b.result[5]));
        if (which == FREED_WAITING)
            (void)cudaFree(b.z);
        put(cudaStreamSynchronize(b.stream));
        MUST(b.result[5] == (float)batch + 3);
    }
    if (which == FREED)
        put(cudaFree(b.y));
    if (which == FREED_PINNED)
        put(cudaFreeHost(b.staging));
    put(cudaGraphLaunch(exec, b.stream));
    put(cudaGraphExecDestroy(exec)); /* what was launched runs on */
    put(cudaStreamSynchronize(b.stream));
    MUST(b.result[5] == 5);
    MUST(cudaGraphLaunch(exec, b.stream) == cudaErrorInvalidValue);
    MUST(cudaGraphExecDestroy(exec) == cudaErrorInvalidValue);
}

START_TEST(test_graphs_run)
{
    static const enum graph_case cases[] = {RIGHT, STAGING_TOO_EARLY, FREED, FREED_PINNED,
                                            FREED_WAITING};

    pass_with_all_seeds(run_graph, &cases[0]);
    report_with_all_seeds(run_graph, &cases[1], "the host changed pinned memory");
    must_report(run_graph, &cases[2], NULL,
                "a graph is launched whose memory was freed after its capture: allocation 4, used "
                "by kernel add");
    must_report(run_graph, &cases[3], NULL, "allocation 1, used by a copy of 256 bytes to the");
    must_report(run_graph, &cases[4], NULL,
                "allocation 5 (256 bytes) is freed while a graph of 5 nodes that uses it");
}
END_TEST

/* Two streams launch the same executable graph: one after the other. Memory goes and comes back. */
static void run_two_launches(const void *arg)
{
    size_t free_before, free_after, total;
    struct bench b = bench_new();
    cudaGraphExec_t exec;
    cudaGraph_t graph;

    (void)arg;
    put(cudaMemsetAsync(b.x, 0, BYTES, b.stream));
    put(cudaStreamSynchronize(b.stream));
    put(cudaMemGetInfo(&free_before, &total));
    put(cudaStreamBeginCapture(b.stream, cudaStreamCaptureModeRelaxed));
    MUST(emulated_add(b.x, b.x, N, 1, b.stream) == 0);
    MUST(emulated_add(b.x, b.x, N, 2, b.stream) == 0);
    put(cudaStreamEndCapture(b.stream, &graph));
    put(cudaGraphInstantiateWithFlags(&exec, graph, 0));
    put(cudaMemGetInfo(&free_after, &total));
    MUST(free_after < free_before);
    for (unsigned i = 0; i < 6; i++)
        put(cudaGraphLaunch(exec, i % 2 == 0 ? b.stream : b.other));
    put(cudaMemcpyAsync(b.result, b.x, BYTES, cudaMemcpyDeviceToHost, b.other));
    put(cudaStreamSynchronize(b.other));
    MUST(b.result[9] == 18);
    put(cudaGraphExecDestroy(exec));
    put(cudaMemGetInfo(&free_after, &total));
    MUST(free_after == free_before);
    put(cudaGraphDestroy(graph));
    MUST(cudaGraphDestroy(graph) == cudaErrorInvalidValue);
    MUST(cudaGraphInstantiate(&exec, graph, 0) == cudaErrorInvalidValue);
}

START_TEST(test_graphs_launched_in_two_streams)
{
    pass_with_all_seeds(run_two_launches, NULL);
}
END_TEST

/* ---- refusals ---- */

enum refused {
    SYNCHRONISE,
    QUERY,
    MALLOC,
    FREE,
    HOST_ALLOC,
    FREE_HOST,
    PAGEABLE_UP,
    PAGEABLE_DOWN,
    DESTROY,
    EVENT_SYNCHRONISE, /* of an event that has nothing to do with it */
    EVENT_QUERY,
    CAPTURED_EVENT_SYNCHRONISE,
    CAPTURED_EVENT_QUERY,
    WAIT_OUTSIDE, /* for an event that was recorded outside of the capture */
    SYNCHRONISE_OTHER,
    BEGIN_TWICE,
    UNJOINED,
    MERGE,
    POOL_ALLOC,
    END_OTHER,
    N_REFUSED
};

static cudaError_t refused_call(enum refused which, struct bench *b)
{
    char pageable[BYTES] = {0};
    cudaStream_t third;
    cudaGraph_t graph;
    void *memory;

    switch (which) {
    case SYNCHRONISE:
        return cudaStreamSynchronize(b->stream);
    case QUERY:
        return cudaStreamQuery(b->stream);
    case MALLOC:
        return cudaMalloc(&memory, 16);
    case FREE:
        return cudaFree(b->z);
    case HOST_ALLOC:
        return cudaHostAlloc(&memory, 16, 0);
    case FREE_HOST:
        return cudaFreeHost(b->result);
    case PAGEABLE_UP:
        return cudaMemcpyAsync(b->x, pageable, BYTES, cudaMemcpyHostToDevice, b->stream);
    case PAGEABLE_DOWN:
        return cudaMemcpyAsync(pageable, b->x, BYTES, cudaMemcpyDeviceToHost, b->stream);
    case DESTROY:
        return cudaStreamDestroy(b->stream);
    case EVENT_SYNCHRONISE:
        return cudaEventSynchronize(b->joined);
    case EVENT_QUERY:
        return cudaEventQuery(b->joined);
    case CAPTURED_EVENT_SYNCHRONISE:
    case CAPTURED_EVENT_QUERY:
        put(cudaEventRecord(b->event, b->stream));
        return which == CAPTURED_EVENT_QUERY ? cudaEventQuery(b->event)
                                             : cudaEventSynchronize(b->event);
    case WAIT_OUTSIDE:
        return cudaStreamWaitEvent(b->stream, b->joined, 0);
    case SYNCHRONISE_OTHER:
        return cudaStreamSynchronize(b->other);
    case BEGIN_TWICE:
        return cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal);
    case UNJOINED:
        put(cudaEventRecord(b->event, b->stream));
        put(cudaStreamWaitEvent(b->other, b->event, 0));
        put(cudaMemsetAsync(b->y, 0, BYTES, b->other));
        return cudaStreamEndCapture(b->stream, &graph);
    case MERGE:
        put(cudaEventRecord(b->event, b->stream));
        third = stream_new();
        put(cudaStreamBeginCapture(third, cudaStreamCaptureModeThreadLocal));
        return cudaStreamWaitEvent(third, b->event, 0);
    case POOL_ALLOC:
        return cudaMallocAsync(&memory, 16, b->stream);
    default: /* a stream that joined cannot end it */
        put(cudaEventRecord(b->event, b->stream));
        put(cudaStreamWaitEvent(b->other, b->event, 0));
        return cudaStreamEndCapture(b->other, &graph);
    }
}

struct refusal {
    enum refused which;
    cudaError_t error;
    bool in_relaxed; /* refused in relaxed mode too */
};

static const struct refusal refusals[N_REFUSED] = {
    {SYNCHRONISE, cudaErrorStreamCaptureUnsupported, true},
    {QUERY, cudaErrorStreamCaptureUnsupported, true},
    {MALLOC, cudaErrorStreamCaptureUnsupported, false},
    {FREE, cudaErrorStreamCaptureUnsupported, false},
    {HOST_ALLOC, cudaErrorStreamCaptureUnsupported, false},
    {FREE_HOST, cudaErrorStreamCaptureUnsupported, false},
    {PAGEABLE_UP, cudaErrorStreamCaptureUnsupported, true},
    {PAGEABLE_DOWN, cudaErrorStreamCaptureUnsupported, true},
    {DESTROY, cudaErrorStreamCaptureUnsupported, true},
    {EVENT_SYNCHRONISE, cudaErrorStreamCaptureUnsupported, false},
    {EVENT_QUERY, cudaErrorStreamCaptureUnsupported, false},
    {CAPTURED_EVENT_SYNCHRONISE, cudaErrorCapturedEvent, true},
    {CAPTURED_EVENT_QUERY, cudaErrorCapturedEvent, true},
    {WAIT_OUTSIDE, cudaErrorStreamCaptureIsolation, true},
    {SYNCHRONISE_OTHER, cudaErrorStreamCaptureUnsupported, false},
    {BEGIN_TWICE, cudaErrorIllegalState, true},
    {UNJOINED, cudaErrorStreamCaptureUnjoined, true},
    {MERGE, cudaErrorStreamCaptureMerge, true},
    {POOL_ALLOC, cudaErrorStreamCaptureUnsupported, true},
    {END_OTHER, cudaErrorStreamCaptureUnmatched, true},
};

struct refusal_run {
    const struct refusal *refusal;
    enum cudaStreamCaptureMode mode;
};

static void run_refusal(const void *arg)
{
    const struct refusal_run *run = arg;
    const struct refusal *r = run->refusal;
    bool refused = r->in_relaxed || run->mode != cudaStreamCaptureModeRelaxed;
    enum cudaStreamCaptureStatus status;
    struct bench b = bench_new();
    cudaGraph_t graph = (cudaGraph_t)&b;

    put(cudaMemsetAsync(b.x, 0, BYTES, b.other));
    put(cudaEventRecord(b.joined, b.other));
    put(cudaStreamSynchronize(b.other));
    put(cudaStreamBeginCapture(b.stream, run->mode));
    put(cudaMemsetAsync(b.x, 0, BYTES, b.stream));
    MUST(refused_call(r->which, &b) == (refused ? r->error : cudaSuccess));
    if (!refused) {
        put(cudaStreamEndCapture(b.stream, &graph));
        return;
    }
    MUST(cudaGetLastError() == r->error);
    if (r->which != UNJOINED) { /* which ended it */
        put(cudaStreamIsCapturing(b.stream, &status));
        MUST(status == cudaStreamCaptureStatusInvalidated);
        MUST(cudaMemsetAsync(b.y, 0, BYTES, b.stream) == cudaErrorStreamCaptureInvalidated);
        MUST(emulated_add(b.x, b.y, N, 1, b.stream) == cudaErrorStreamCaptureInvalidated);
        MUST(cudaStreamEndCapture(b.stream, &graph) == cudaErrorStreamCaptureInvalidated);
        MUST(graph == NULL);
    }
    /* The stream is as good as new. */
    put(cudaStreamIsCapturing(b.stream, &status));
    MUST(status == cudaStreamCaptureStatusNone);
    if (r->which != MERGE) /* whose third stream captures on */
        (void)capture(&b, 5);
}

START_TEST(test_graphs_capture_refuses)
{
    for (size_t i = 0; i < N_REFUSED; i++) {
        ck_assert_uint_eq(refusals[i].which, i);
        for (int mode = 0; mode <= cudaStreamCaptureModeRelaxed; mode++) {
            struct refusal_run run = {&refusals[i], (enum cudaStreamCaptureMode)mode};
            struct child c = run_child(run_refusal, &run, NULL, NULL);

            ck_assert_msg(c.status == 0, "refusal %zu in mode %d: %s", i, mode, c.said);
        }
    }
}
END_TEST

/* ---- threads ---- */

struct thread_run {
    enum cudaStreamCaptureMode mode;
    cudaError_t malloc_elsewhere, end_elsewhere, end;
};

struct elsewhere {
    struct bench *b;
    cudaError_t malloced, ended;
};

static void *be_elsewhere(void *arg)
{
    struct elsewhere *e = arg;
    cudaGraph_t graph;
    void *memory;

    e->malloced = cudaMalloc(&memory, 16);
    if (e->malloced == cudaSuccess)
        put(cudaStreamSynchronize(e->b->other)); /* a stream of its own goes on */
    e->ended = cudaStreamEndCapture(e->b->stream, &graph);
    return NULL;
}

static void run_threads(const void *arg)
{
    const struct thread_run *run = arg;
    struct bench b = bench_new();
    struct elsewhere e = {&b, cudaSuccess, cudaSuccess};
    cudaGraph_t graph;
    pthread_t thread;

    put(cudaMemsetAsync(b.y, 0, BYTES, b.other));
    put(cudaStreamBeginCapture(b.stream, run->mode));
    put(cudaMemsetAsync(b.x, 0, BYTES, b.stream));
    MUST(pthread_create(&thread, NULL, be_elsewhere, &e) == 0);
    MUST(pthread_join(thread, NULL) == 0);
    MUST(e.malloced == run->malloc_elsewhere && e.ended == run->end_elsewhere);
    MUST(cudaStreamEndCapture(b.stream, &graph) == run->end);
}

START_TEST(test_graphs_capture_and_other_threads)
{
    static const struct thread_run runs[] = {
        {cudaStreamCaptureModeGlobal, cudaErrorStreamCaptureUnsupported,
         cudaErrorStreamCaptureWrongThread, cudaErrorStreamCaptureInvalidated},
        {cudaStreamCaptureModeThreadLocal, cudaSuccess, cudaErrorStreamCaptureWrongThread,
         cudaSuccess},
        {cudaStreamCaptureModeRelaxed, cudaSuccess, cudaSuccess, cudaErrorIllegalState},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(runs); i++)
        must_pass(run_threads, &runs[i], NULL, NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cuda_emulation/graphs");
    TCase *tc = tcase_create("core");

    tcase_add_test(tc, test_graphs_run);
    tcase_add_test(tc, test_graphs_launched_in_two_streams);
    suite_add_tcase(s, tc);
    tc = tcase_create("errors");
    tcase_add_test(tc, test_graphs_capture_refuses);
    suite_add_tcase(s, tc);
    tc = tcase_create("threads");
    tcase_add_test(tc, test_graphs_capture_and_other_threads);
    suite_add_tcase(s, tc);
    return s;
}

ENSO_TEST_MAIN(suite)
