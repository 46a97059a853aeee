/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: a non-blocking stream each, pinned memory through which every copy passes, and an event
 * with blocking wait, so that a waiting lane costs no processor. Never the default stream, never a
 * device-wide wait: lanes and loader do not hold each other up.
 *
 * Uploads are put into the pinned memory one behind the other and copied while the next is being
 * put; only when it is full does an upload wait. A run puts all steps on the stream, then fetches
 * the fault words and sleeps until the batch is done. Each step has a fault word of its own, so
 * that a message names the node that met an index out of range.
 */
#include "ensod_build.h"

#include <string.h>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/module.h"

#define STAGING_BYTES ((size_t)4 << 20)
#define MAX_FAULTS 4096 /* steps past these share the last word */
#define FAULT_BYTES (MAX_FAULTS * sizeof(int))

struct enso_lane {
    struct enso_device *device;
    cudaStream_t stream;
    cudaEvent_t done;
    unsigned char *staging; /* pinned; its last FAULT_BYTES receive the fault words */
    size_t used;            /* bytes of staging that copies on the stream may still read */
    int *faults;            /* device memory [MAX_FAULTS] */
    struct enso__cublaslt_lane *cublaslt; /* NULL: none */
};

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
    code = cudaStreamCreateWithFlags(&lane->stream, cudaStreamNonBlocking);
    if (code == cudaSuccess)
        code =
            cudaEventCreateWithFlags(&lane->done, cudaEventBlockingSync | cudaEventDisableTiming);
    if (code == cudaSuccess)
        code = cudaHostAlloc(&staging, STAGING_BYTES + FAULT_BYTES, cudaHostAllocDefault);
    lane->staging = staging;
    if (code != cudaSuccess)
        st = enso__cuda_failed(device, code, "a lane of the GPU", err);
    if (st == ENSO_OK)
        st = enso__cuda_alloc(device, FAULT_BYTES, "a lane of the GPU", &faults, err);
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

void enso__cuda_lane_close(struct enso_lane *lane)
{
    if (lane == NULL)
        return;
    /* failures of a teardown change nothing: what is lost is the device, which others will tell */
    if (enso__cuda_enter_to_release(lane->device) && lane->stream != NULL && lane->done != NULL)
        (void)enso__cuda_lane_wait(lane, NULL);
    enso__cublaslt_lane_close(lane->cublaslt);
    enso__cuda_free(lane->device, lane->faults);
    if (lane->done != NULL)
        (void)cudaEventDestroy(lane->done);
    if (lane->stream != NULL)
        (void)cudaStreamDestroy(lane->stream);
    if (lane->staging != NULL)
        (void)cudaFreeHost(lane->staging);
    enso_free(lane);
}

cudaStream_t enso__cuda_lane_stream(struct enso_lane *lane)
{
    return lane->stream;
}

int enso__cuda_lane_wait(struct enso_lane *lane, struct enso_error *err)
{
    int code = cudaEventRecord(lane->done, lane->stream);

    if (code == cudaSuccess)
        code = cudaEventSynchronize(lane->done);
    else /* nobody leaves while the stream uses memory that the caller may free next */
        (void)cudaStreamSynchronize(lane->stream);
    if (code != cudaSuccess)
        return enso__cuda_failed(lane->device, code, "waiting for the GPU", err);
    lane->used = 0;
    return ENSO_OK;
}

/* After a failure: what is on the stream still uses memory that the caller may free next. */
static void settle(struct enso_lane *lane)
{
    if (enso__cuda_enter_to_release(lane->device))
        (void)enso__cuda_lane_wait(lane, NULL);
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
        int code = cudaMemcpyAsync((unsigned char *)dst + at, lane->staging + lane->used, n,
                                   cudaMemcpyHostToDevice, lane->stream);
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
        int code = cudaMemcpyAsync(lane->staging, (const unsigned char *)src + at, n,
                                   cudaMemcpyDeviceToHost, lane->stream);

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

static int enqueue(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err)
{
    for (size_t i = 0; i < run->n_steps; i++) {
        const struct enso_step *step = &run->steps[i];
        const struct enso__cuda_call call = {
            .bound = step->bound,
            .step = step,
            .tensors = run->tensors,
            .stream = lane->stream,
            .workspace = run->workspace,
            .cublaslt = lane->cublaslt,
            .fault = lane->faults + ENSO_MIN(i, (size_t)MAX_FAULTS - 1),
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

/* The batch is done: did a kernel meet what it cannot accept? */
static int check_faults(const struct enso_lane *lane, const struct enso_run *run, size_t n,
                        struct enso_error *err)
{
    const int *faults = (const int *)(lane->staging + STAGING_BYTES);

    for (size_t i = 0; i < n; i++) {
        const struct enso_bound *bound = run->steps[i].bound;

        if (faults[i] == ENSO_CUDA_FAULT_INDEX)
            return enso__op_error(bound->op, bound->node, err, ENSO_INVALID,
                                  "an index is out of range");
        if (faults[i] != ENSO_CUDA_FAULT_NONE) /* the engine makes them: no request is to blame */
            return enso__op_error(bound->op, bound->node, err, ENSO_INTERNAL,
                                  "starts must rise from 0 to the number of tokens");
    }
    return ENSO_OK;
}

int enso__cuda_lane_run(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err)
{
    size_t n = ENSO_MIN(run->n_steps, (size_t)MAX_FAULTS);
    int st = enso__cuda_enter(lane->device, err), code;

    if (st == ENSO_OK && n == 0)
        return st;
    if (st == ENSO_OK) {
        code = cudaMemsetAsync(lane->faults, 0, n * sizeof(int), lane->stream);
        if (code != cudaSuccess)
            st = enso__cuda_failed(lane->device, code, "a batch on the GPU", err);
    }
    if (st == ENSO_OK)
        st = enqueue(lane, run, err);
    if (st != ENSO_OK) {
        settle(lane);
        return st;
    }
    code = cudaMemcpyAsync(lane->staging + STAGING_BYTES, lane->faults, n * sizeof(int),
                           cudaMemcpyDeviceToHost, lane->stream);
    if (code != cudaSuccess)
        st = enso__cuda_failed(lane->device, code, "a batch on the GPU", err);
    if (st == ENSO_OK)
        st = enso__cuda_lane_wait(lane, err);
    else
        (void)enso__cuda_lane_wait(lane, NULL);
    return st == ENSO_OK ? check_faults(lane, run, n, err) : st;
}
