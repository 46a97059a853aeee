/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: non-blocking streams, pinned memory through which copies of weights pass, and for each
 * slot the events of its batch. Never the default stream, never a device-wide wait: lanes and
 * loader do not hold each other up.
 *
 * A batch: its record goes up in one copy, then the steps, then its outputs come down in one copy
 * together with the fault words, of which each step has one, so that a message names the node that
 * met an index out of range. Steps of all batches stand on one stream, in order. A large copy
 * stands on a stream of its own, tied to the steps by an event, so that it runs while another
 * batch computes; a small one is over sooner than the event would be.
 *
 * Steps that were recorded (capture.h) are started as a graph, without the copies: those are the
 * same two calls for every size, and what comes down differs from batch to batch.
 *
 * Waiting. A blocking wait for an event has no time limit, and a card can stop answering without
 * an error. So a waiting lane sleeps until the batch should be through, asks for at most 100 us
 * again and again, then naps between the questions: up to 1 ms, a twentieth of the time waited.
 * What takes ever longer than was predicted ends the device instead of the daemon's drain. A call
 * that puts work on the lane may block as well: it says when it began, and whoever asks for the
 * device's state finds it lost.
 */
#include "ensod_build.h"

#include <string.h>
#include <time.h>

#include "kernels/cuda/capture.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/module.h"

#define STAGING_BYTES ((size_t)4 << 20)
#define MAX_FAULTS 4096 /* steps past these share the last word */
#define FAULT_BYTES (MAX_FAULTS * sizeof(int))

/* From here on a copy takes longer (3 us over PCIe 4) than it costs to have it on its own stream.
 */
#define APART_BYTES ((size_t)64 << 10)

#define POLL_NS UINT64_C(100000)
#define EARLY_NS UINT64_C(30000) /* before the expected end: what waking up takes */
#define LEAST_NAP_NS UINT64_C(20000)
#define MOST_NAP_NS UINT64_C(1000000)
#define HANG_FACTOR 20       /* of what was predicted */
#define UNPREDICTED_FACTOR 6 /* of the device's patience, where nothing was */

/* A batch on the lane. */
struct slot {
    bool busy;
    bool empty; /* there was nothing to do */
    const struct enso_step *steps;
    struct enso_captures **captures; /* of its plan; NULL: not to be recorded */
    uint64_t enqueue_ns;             /* what launching its steps took; 0: it was a graph */
    size_t n_faults;
    const int *faults; /* pinned: where the fault words come down */
    struct enso_pace pace;
    cudaEvent_t raised;            /* its record is on the device; only when copied apart */
    cudaEvent_t started, computed; /* with times */
    cudaEvent_t done;              /* all of it, its outputs are in host memory */
};

struct enso_lane {
    struct enso_device *device;
    cudaStream_t stream;    /* computes */
    cudaStream_t up, down;  /* large copies */
    unsigned char *staging; /* pinned; its last FAULT_BYTES a slot receive fault words */
    size_t used;            /* bytes of staging that copies on the stream may still read */
    int *faults;            /* device memory [ENSO_MAX_SLOTS, MAX_FAULTS], of batches without an
                               outputs block */
    struct slot slots[ENSO_MAX_SLOTS];
    _Atomic uint64_t n_captures, n_graph_launches, n_eager, n_input_tokens, n_padding_tokens;
    struct enso__cublaslt_lane *cublaslt; /* NULL: none */
};

static void settle(struct enso_lane *lane);

/* ---- life ---- */

static int create_events(struct enso_lane *lane)
{
    int code = cudaSuccess;

    for (unsigned i = 0; code == cudaSuccess && i < ENSO_MAX_SLOTS; i++) {
        struct slot *s = &lane->slots[i];

        code = cudaEventCreateWithFlags(&s->raised, cudaEventDisableTiming);
        if (code == cudaSuccess)
            code = cudaEventCreateWithFlags(&s->started, cudaEventDefault);
        if (code == cudaSuccess)
            code = cudaEventCreateWithFlags(&s->computed, cudaEventDefault);
        if (code == cudaSuccess)
            code = cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming);
    }
    return code;
}

static int create_streams(struct enso_lane *lane)
{
    int code = cudaStreamCreateWithFlags(&lane->stream, cudaStreamNonBlocking);

    if (code == cudaSuccess)
        code = cudaStreamCreateWithFlags(&lane->up, cudaStreamNonBlocking);
    if (code == cudaSuccess)
        code = cudaStreamCreateWithFlags(&lane->down, cudaStreamNonBlocking);
    return code;
}

int enso__cuda_lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                         struct enso_error *err)
{
    void *staging = NULL, *faults = NULL;
    int st = enso__cuda_enter(device, err), code;

    if (st != ENSO_OK)
        return st;
    struct enso_lane *lane = enso_alloc_zero(1, sizeof(*lane));
    if (lane == NULL)
        return enso_error_no_memory(err, "a lane of the GPU");
    lane->device = device;
    code = create_streams(lane);
    if (code == cudaSuccess)
        code = create_events(lane);
    if (code == cudaSuccess)
        code = cudaHostAlloc(&staging, STAGING_BYTES + ENSO_MAX_SLOTS * FAULT_BYTES,
                             cudaHostAllocDefault);
    lane->staging = staging;
    if (code != cudaSuccess)
        st = enso__cuda_failed(device, code, "a lane of the GPU", err);
    if (st == ENSO_OK)
        st = enso__cuda_alloc_for_lane(device, ENSO_MAX_SLOTS * FAULT_BYTES, &faults, err);
    lane->faults = faults;
    if (st == ENSO_OK)
        st = enso__cublaslt_lane_open(device->cublaslt, &lane->cublaslt, err);
    if (st != ENSO_OK) {
        enso__cuda_lane_close(lane);
        return st;
    }
    *ret_lane = lane;
    return ENSO_OK;
}

static void destroy_events(struct enso_lane *lane)
{
    for (unsigned i = 0; i < ENSO_MAX_SLOTS; i++) {
        const struct slot *s = &lane->slots[i];
        const cudaEvent_t events[] = {s->raised, s->started, s->computed, s->done};

        for (size_t k = 0; k < ENSO_ARRAY_SIZE(events); k++)
            if (events[k] != NULL)
                (void)cudaEventDestroy(events[k]);
    }
}

void enso__cuda_lane_close(struct enso_lane *lane)
{
    if (lane == NULL)
        return;
    const cudaStream_t streams[] = {lane->up, lane->stream, lane->down};

    /* failures of a teardown change nothing: what is lost is the device, which others will tell */
    if (lane->down != NULL)
        settle(lane);
    enso__cublaslt_lane_close(lane->cublaslt);
    enso__cuda_free(lane->device, lane->faults);
    if (!atomic_load(&lane->device->hung)) { /* they would wait */
        destroy_events(lane);
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(streams); i++)
            if (streams[i] != NULL)
                (void)cudaStreamDestroy(streams[i]);
    }
    enso__cuda_staging_free(lane->device, lane->staging);
    enso_free(lane);
}

cudaStream_t enso__cuda_lane_stream(struct enso_lane *lane)
{
    return lane->stream;
}

void enso__cuda_lane_stats(const struct enso_lane *lane, struct enso_lane_stats *ret)
{
    *ret = (struct enso_lane_stats){
        .n_captures = atomic_load_explicit(&lane->n_captures, memory_order_relaxed),
        .n_graph_launches = atomic_load_explicit(&lane->n_graph_launches, memory_order_relaxed),
        .n_eager = atomic_load_explicit(&lane->n_eager, memory_order_relaxed),
        .n_input_tokens = atomic_load_explicit(&lane->n_input_tokens, memory_order_relaxed),
        .n_padding_tokens = atomic_load_explicit(&lane->n_padding_tokens, memory_order_relaxed),
    };
}

/* ---- waiting ---- */

static void sleep_ns(uint64_t ns)
{
    const struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
                               .tv_nsec = (long)(ns % 1000000000)};

    (void)nanosleep(&t, NULL); /* woken early: the caller looks again */
}

/* What is waited for: an event, or, when that is NULL, all that a stream has been given. */
struct end {
    cudaEvent_t event;
    cudaStream_t stream;
};

static int query(struct enso_device *device, const struct end *end)
{
    size_t call = enso__cuda_call_begin(device);
    int code =
        end->event != NULL ? (int)cudaEventQuery(end->event) : (int)cudaStreamQuery(end->stream);

    enso__cuda_call_end(device, call);
    return code;
}

/* How long it may take until the device is taken for lost. A first run, which nobody could predict,
 * may be of a heavy model. */
static uint64_t limit_of(const struct enso_device *device, const struct enso_pace *pace)
{
    if (pace->predicted_ns == 0)
        return device->hang_ns * UNPREDICTED_FACTOR;
    return ENSO_MAX(device->hang_ns,
                    HANG_FACTOR * ENSO_MIN(pace->predicted_ns, UINT64_MAX / HANG_FACTOR));
}

/* Sleep until it has come. Returns a cudaError_t, cudaErrorNotReady when it takes too long. */
static int wait_end(struct enso_device *device, const struct end *end, const struct enso_pace *pace)
{
    uint64_t start_ns = enso__cuda_now_ns(), now = start_ns, limit_ns, nap_from_ns;
    int code = query(device, end);

    if (code != cudaErrorNotReady)
        return code;
    limit_ns = limit_of(device, pace);
    if (pace->expected_ns > now + EARLY_NS) {
        sleep_ns(ENSO_MIN(pace->expected_ns - now - EARLY_NS, limit_ns));
        now = enso__cuda_now_ns();
    }
    nap_from_ns = now + POLL_NS;
    while ((code = query(device, end)) == cudaErrorNotReady) {
        now = enso__cuda_now_ns();
        if (now - start_ns > limit_ns) {
            code = query(device,
                         end); /* the time may have passed in between, with this process stopped */
            break;
        }
        if (now > nap_from_ns)
            sleep_ns(ENSO_MIN(ENSO_MAX((now - start_ns) / 20, LEAST_NAP_NS), MOST_NAP_NS));
    }
    (void)cudaGetLastError(); /* "not ready" would be told again by the next launch */
    return code;
}

/* The same as a status. */
static int wait_for(struct enso_lane *lane, struct end end, const struct enso_pace *pace,
                    struct enso_error *err)
{
    int code = wait_end(lane->device, &end, pace);

    if (code == cudaErrorNotReady)
        return enso__cuda_hung(lane->device, err);
    return code == cudaSuccess ? ENSO_OK
                               : enso__cuda_failed(lane->device, code, "waiting for the GPU", err);
}

static int wait_stream(struct enso_lane *lane, cudaStream_t stream, struct enso_error *err)
{
    struct enso_pace pace = {0, 0}; /* of all batches that may be on it */

    for (unsigned i = 0; i < ENSO_MAX_SLOTS; i++)
        if (lane->slots[i].busy)
            pace.predicted_ns += lane->slots[i].pace.predicted_ns;
    return wait_for(lane, (struct end){NULL, stream}, &pace, err);
}

static int drain_once(struct enso_lane *lane, struct enso_error *err)
{
    int st = enso__cuda_enter(lane->device, err);

    if (st == ENSO_OK)
        st = wait_stream(lane, lane->up, err);
    if (st == ENSO_OK)
        st = wait_stream(lane, lane->stream, err);
    if (st == ENSO_OK)
        lane->used = 0;
    return st == ENSO_OK ? wait_stream(lane, lane->down, err) : st;
}

/* After a failure: nobody leaves while a stream uses memory that the caller may free next. A call
 * that fails here too is made once more: what failed may have been the asking. */
static void settle(struct enso_lane *lane)
{
    for (int i = 0; i < 2; i++)
        if (!enso__cuda_enter_to_release(lane->device) || drain_once(lane, NULL) == ENSO_OK)
            return;
}

int enso__cuda_lane_drain(struct enso_lane *lane, struct enso_error *err)
{
    int st = drain_once(lane, err);

    if (st != ENSO_OK)
        settle(lane);
    return st;
}

int enso__cuda_lane_wait(struct enso_lane *lane, struct enso_error *err)
{
    int st = wait_stream(lane, lane->stream, err);

    if (st == ENSO_OK)
        lane->used = 0;
    else
        settle(lane);
    return st;
}

/* ---- copies that are no batch's ---- */

static int copy(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                enum cudaMemcpyKind kind)
{
    size_t call = enso__cuda_call_begin(lane->device);
    int code = cudaMemcpyAsync(dst, src, size_bytes, kind, lane->stream);

    enso__cuda_call_end(lane->device, call);
    return code;
}

int enso__cuda_lane_upload(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                           struct enso_error *err)
{
    int st = enso__cuda_enter(lane->device, err);

    for (size_t at = 0; st == ENSO_OK && at < size_bytes;) {
        if (lane->used == STAGING_BYTES) {
            st = enso__cuda_lane_wait(lane, err);
            continue;
        }
        size_t n = ENSO_MIN(size_bytes - at, STAGING_BYTES - lane->used);

        memcpy(lane->staging + lane->used, (const unsigned char *)src + at, n);
        int code = copy(lane, (unsigned char *)dst + at, lane->staging + lane->used, n,
                        cudaMemcpyHostToDevice);
        if (code != cudaSuccess) {
            st = enso__cuda_failed(lane->device, code, "a copy to the GPU", err);
            break;
        }
        /* whole cache lines, so that pieces stay aligned */
        lane->used = ENSO_MIN(
            (lane->used + n + ENSO_CACHE_LINE - 1) & ~(size_t)(ENSO_CACHE_LINE - 1), STAGING_BYTES);
        at += n;
    }
    if (st != ENSO_OK)
        settle(lane);
    return st;
}

int enso__cuda_lane_download(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                             struct enso_error *err)
{
    int st = enso__cuda_enter(lane->device, err);

    if (st == ENSO_OK && lane->used != 0)
        st = enso__cuda_lane_wait(lane, err); /* what was copied up may still stand in staging */
    for (size_t at = 0; st == ENSO_OK && at < size_bytes;) {
        size_t n = ENSO_MIN(size_bytes - at, STAGING_BYTES);
        int code =
            copy(lane, lane->staging, (const unsigned char *)src + at, n, cudaMemcpyDeviceToHost);

        if (code != cudaSuccess) {
            st = enso__cuda_failed(lane->device, code, "a copy from the GPU", err);
            break;
        }
        st = enso__cuda_lane_wait(lane, err);
        if (st == ENSO_OK)
            memcpy((unsigned char *)dst + at, lane->staging, n);
        at += n;
    }
    if (st != ENSO_OK)
        settle(lane);
    return st;
}

/* Every tensor that will be touched has memory; *ret_empty: there is nothing to write. */
static int check_step(const struct enso__cuda_call *call, bool *ret_empty, struct enso_error *err)
{
    bool empty = true;

    for (size_t i = 0; i < call->step->n_inputs; i++) {
        const struct enso_tensor *t = enso__cuda_in(call, i);

        if (t != NULL && t->data == NULL && (i >= 32 || (call->bound->packed >> i & 1) == 0) &&
            enso_tensor_count(t) != 0)
            return enso__cuda_error(call, err, ENSO_INTERNAL, "input %zu has no data", i);
    }
    for (size_t i = 0; i < call->step->n_outputs; i++) {
        const struct enso_tensor *t = enso__cuda_out(call, i);

        if (t == NULL || enso_tensor_count(t) == 0)
            continue;
        empty = false;
        if (t->data == NULL)
            return enso__cuda_error(call, err, ENSO_INTERNAL, "output %zu has no memory", i);
    }
    *ret_empty = empty;
    return ENSO_OK;
}

/* ---- batches ---- */

/* All steps' kernels onto the stream, their fault words zeroed before. */
static int enqueue(struct enso_lane *lane, const struct enso_run *run, int *faults,
                   struct enso_error *err)
{
    /* all of the report: it comes down as a whole */
    int code = cudaMemsetAsync(faults, 0, enso__cuda_report_bytes(run->n_steps), lane->stream);

    if (code != cudaSuccess)
        return enso__cuda_failed(lane->device, code, "a batch on the GPU", err);
    for (size_t i = 0; i < run->n_steps; i++) {
        const struct enso_step *step = &run->steps[i];
        const struct enso__cuda_call call = {
            .bound = step->bound,
            .step = step,
            .tensors = run->tensors,
            .stream = lane->stream,
            .workspace = run->workspace,
            .cublaslt = lane->cublaslt,
            .fault = faults + ENSO_MIN(i, (size_t)MAX_FAULTS - 1),
        };
        bool empty = true;
        int st = check_step(&call, &empty, err);

        if (st == ENSO_OK && !empty)
            st = step->bound->run(&call, err);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

size_t enso__cuda_report_bytes(size_t n_steps)
{
    size_t bytes = ENSO_MIN(n_steps, (size_t)MAX_FAULTS) * sizeof(int);

    return (bytes + ENSO_CACHE_LINE - 1) & ~(size_t)(ENSO_CACHE_LINE - 1);
}

/* The record up, before the steps. Returns a cudaError_t, as do the next. */
static int copy_up(struct enso_lane *lane, const struct slot *s, const struct enso_copy *up)
{
    bool apart = up->size_bytes >= APART_BYTES;
    int code;

    if (up->size_bytes == 0)
        return cudaSuccess;
    code = cudaMemcpyAsync(up->device, up->host, up->size_bytes, cudaMemcpyHostToDevice,
                           apart ? lane->up : lane->stream);
    if (code == cudaSuccess && apart)
        code = cudaEventRecord(s->raised, lane->up);
    if (code == cudaSuccess && apart)
        code = cudaStreamWaitEvent(lane->stream, s->raised, 0);
    return code;
}

/* The outputs down, behind the steps, and the event that ends the batch. */
static int copy_down(struct enso_lane *lane, const struct slot *s, const struct enso_copy *down)
{
    bool apart = down->size_bytes >= APART_BYTES;
    cudaStream_t stream = apart ? lane->down : lane->stream;
    int code = cudaEventRecord(s->computed, lane->stream);

    if (code == cudaSuccess && apart)
        code = cudaStreamWaitEvent(lane->down, s->computed, 0);
    if (code == cudaSuccess)
        code = cudaMemcpyAsync(down->host, down->device, down->size_bytes, cudaMemcpyDeviceToHost,
                               stream);
    if (code == cudaSuccess)
        code = cudaEventRecord(s->done, stream);
    return code;
}

static void count(_Atomic uint64_t *counter, int64_t n)
{
    atomic_fetch_add_explicit(counter, (uint64_t)n, memory_order_relaxed);
}

/* Have the steps recorded; whatever goes wrong leaves r without a graph. */
static void record(struct enso_lane *lane, const struct enso_run *run, int *faults,
                   struct enso__recording *r)
{
    int code;

    if (!enso__capture_reserve(lane->device, *run->captures, r, run->n_steps))
        return;
    code = enso__capture_begin(lane->stream);
    if (code != cudaSuccess) {
        enso__capture_refuse(lane->device, r, code);
        return;
    }
    enso__capture_end(lane->device, lane->stream, r, enqueue(lane, run, faults, NULL) == ENSO_OK);
    if (r->exec != NULL)
        count(&lane->n_captures, 1);
}

/* The steps as a graph, or one by one. */
static int start_steps(struct enso_lane *lane, struct slot *s, const struct enso_run *run,
                       int *faults, struct enso_error *err)
{
    struct enso__recording *r =
        s->captures != NULL ? enso__capture_find(lane->device, run, (unsigned)(s - lane->slots))
                            : NULL;
    uint64_t start_ns;
    int st, code;

    s->enqueue_ns = 0;
    if (r != NULL && enso__capture_is_due(r))
        record(lane, run, faults, r);
    if (r != NULL && r->exec != NULL) {
        code = cudaGraphLaunch(r->exec, lane->stream);
        if (code == cudaSuccess) {
            count(&lane->n_graph_launches, 1);
            return ENSO_OK;
        }
        enso__capture_refuse(lane->device, r, code);
    }
    start_ns = enso__cuda_now_ns();
    st = enqueue(lane, run, faults, err);
    s->enqueue_ns = ENSO_MAX(enso__cuda_now_ns() - start_ns, UINT64_C(1));
    if (st == ENSO_OK)
        count(&lane->n_eager, 1);
    return st;
}

static int put_on_lane(struct enso_lane *lane, struct slot *s, const struct enso_run *run,
                       const struct enso_copy *down, struct enso_error *err)
{
    static const char what[] = "a batch on the GPU";
    int *faults = down->device, code = copy_up(lane, s, &run->up), st;

    if (code == cudaSuccess)
        code = cudaEventRecord(s->started, lane->stream);
    if (code != cudaSuccess)
        return enso__cuda_failed(lane->device, code, what, err);
    st = start_steps(lane, s, run, faults, err);
    if (st != ENSO_OK)
        return st;
    code = copy_down(lane, s, down);
    return code == cudaSuccess ? ENSO_OK : enso__cuda_failed(lane->device, code, what, err);
}

/* The batch is through. Its plan's captures may have been freed meanwhile. */
static void let_go_of_recording(struct enso_lane *lane, unsigned slot)
{
    const struct slot *s = &lane->slots[slot];

    if (s->captures != NULL && *s->captures != NULL)
        enso__capture_unpin(lane->device, *s->captures, slot);
}

int enso__cuda_lane_begin(struct enso_lane *lane, unsigned slot, const struct enso_run *run,
                          struct enso_error *err)
{
    struct slot *s = &lane->slots[slot];
    struct enso_copy down = run->down;
    int st = enso__cuda_enter(lane->device, err);

    if (st != ENSO_OK)
        return st;
    s->steps = run->steps;
    s->n_faults = ENSO_MIN(run->n_steps, (size_t)MAX_FAULTS);
    s->pace = run->pace;
    /* without an outputs block the fault words have no place that stays */
    s->captures = down.size_bytes != 0 ? run->captures : NULL;
    s->empty = run->n_steps == 0;
    if (down.size_bytes == 0)
        down =
            (struct enso_copy){lane->staging + STAGING_BYTES + slot * FAULT_BYTES,
                               lane->faults + (size_t)slot * MAX_FAULTS, s->n_faults * sizeof(int)};
    s->faults = down.host;
    if (!s->empty) {
        size_t call = enso__cuda_call_begin(lane->device);

        st = put_on_lane(lane, s, run, &down, err);
        enso__cuda_call_end(lane->device, call);
        if (st != ENSO_OK) {
            settle(lane); /* the steps before still use the batch's memory */
            let_go_of_recording(lane, slot);
            return st;
        }
        count(&lane->n_input_tokens, run->extents->n_tokens - run->n_padding_tokens);
        count(&lane->n_padding_tokens, run->n_padding_tokens);
    }
    s->busy = true;
    return ENSO_OK;
}

/* Did a kernel meet what it cannot accept? Starts are made by the engine: no request is to blame
 * for them. */
static int check_faults(const struct slot *s, struct enso_error *err)
{
    for (size_t i = 0; i < s->n_faults; i++) {
        const struct enso_bound *bound = s->steps[i].bound;

        if (s->faults[i] == ENSO_CUDA_FAULT_INDEX)
            return enso__op_error(bound->op, bound->node, err, ENSO_INVALID,
                                  "an index is out of range");
        if (s->faults[i] != ENSO_CUDA_FAULT_NONE)
            return enso__op_error(bound->op, bound->node, err, ENSO_INTERNAL,
                                  "starts must rise from 0 to at most the number of tokens");
    }
    return ENSO_OK;
}

int enso__cuda_lane_finish(struct enso_lane *lane, unsigned slot, uint64_t *ret_compute_ns,
                           struct enso_error *err)
{
    struct slot *s = &lane->slots[slot];
    uint64_t compute_ns;
    float ms = 0;
    int st, code;

    s->busy = false;
    if (ret_compute_ns != NULL)
        *ret_compute_ns = 0;
    if (s->empty)
        return ENSO_OK;
    st = enso__cuda_enter(lane->device, err);
    if (st == ENSO_OK)
        st = wait_for(lane, (struct end){s->done, NULL}, &s->pace, err);
    if (st != ENSO_OK)
        settle(lane);
    let_go_of_recording(lane, slot);
    if (st != ENSO_OK)
        return st;
    code = cudaEventElapsedTime(&ms, s->started, s->computed);
    if (code != cudaSuccess)
        return enso__cuda_failed(lane->device, code, "the time of a batch", err);
    compute_ns = ENSO_MAX((uint64_t)((double)ms * 1e6), UINT64_C(1));
    if (ret_compute_ns != NULL)
        *ret_compute_ns = compute_ns;
    if (s->captures != NULL && *s->captures != NULL) /* they may have been freed meanwhile */
        enso__capture_learn(lane->device, *s->captures, compute_ns, s->enqueue_ns);
    return check_faults(s, err);
}

bool enso__cuda_lane_done(struct enso_lane *lane, unsigned slot)
{
    const struct slot *s = &lane->slots[slot];
    int code;

    if (!s->busy || s->empty || enso__cuda_enter(lane->device, NULL) != ENSO_OK)
        return true;
    code = query(lane->device, &(struct end){s->done, NULL});
    if (code == cudaErrorNotReady)
        (void)cudaGetLastError();
    return code != cudaErrorNotReady;
}

int enso__cuda_lane_run(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err)
{
    int st = enso__cuda_lane_begin(lane, 0, run, err);

    return st == ENSO_OK ? enso__cuda_lane_finish(lane, 0, NULL, err) : st;
}
