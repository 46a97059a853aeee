/* SPDX-License-Identifier: Apache-2.0
 *
 * The runtime's C interface to memory, copies, streams and events. Handles, sizes and directions
 * are checked as CUDA checks them; device addresses must be device memory. What goes into a stream
 * waits there (stream.cpp); functions that wait for it do it.
 *
 * Who waits for something that hangs blocks for ENSO_CUDA_EMULATED_HANG_MS (default 1,000), where a
 * card would block for good; after that the device is lost to a time-out.
 *
 * Freeing memory does not wait here, though cudaFree mostly does on a card: nobody may rest on it.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>
#include <time.h>

using namespace enso_emulated;

void enso_emulated::nap_in_vain(void)
{
    const char *text = getenv("ENSO_CUDA_EMULATED_HANG_MS");
    const long ms = text != nullptr ? strtol(text, nullptr, 10) : 1000;
    const struct timespec nap = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&nap, nullptr);
}

namespace
{

/* Nobody comes back from a wait for what hangs; here the device is lost instead, after a while. */
cudaError_t wait_in_vain(runtime_hold *hold, int device)
{
    hold->unlock();
    nap_in_vain();
    hold->lock();
    device_lost(device, cudaErrorLaunchTimeout);
    return device_error(device);
}

cudaError_t finish(runtime_hold *hold, cudaStream_t stream)
{
    const int device = stream->device;

    if (!stream_finish(stream))
        return wait_in_vain(hold, device);
    pool_settle();
    return device_error(device);
}

/* What a call that concerns the stream says before it does anything. */
cudaError_t check_stream(cudaStream_t stream)
{
    cudaError_t state = device_state();

    if (state == cudaSuccess && !stream_is_good(stream))
        state = cudaErrorInvalidResourceHandle;
    return state;
}

/* What waits uses memory that is freed: the card would be reading or writing somebody else's. */
void check_unused(const void *memory)
{
    memory_info info;
    char what[160];

    if (!memory_lookup(memory, &info))
        return;
    stream_each_pending([&](const operation &op) {
        if (!operation_uses(op, info.start, info.bytes))
            return;
        operation_describe(op, what, sizeof(what));
        report_launch("%s allocation %llu (%zu bytes) is freed while %s that uses it still waits "
                      "in its stream",
                      info.kind == memory_kind::host ? "pinned host" : "device",
                      (unsigned long long)info.number, info.bytes, what);
    });
}

/* Releases whatever the state is, so that a sweep of failures can look for leaks. */
cudaError_t release(memory_kind kind, void *memory)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state(), forbidden = cudaSuccess;
    memory_info info;

    if (memory == nullptr)
        return answer(state);
    if (state == cudaSuccess)
        forbidden = capture_forbids();
    if (forbidden != cudaSuccess)
        return answer(forbidden);
    if (!memory_lookup(memory, &info))
        info.device = device_current();
    if (stream_hangs(info.device))
        state = wait_in_vain(&hold, info.device);
    check_unused(memory);
    if (!memory_delete(kind, memory) && state == cudaSuccess)
        state = cudaErrorInvalidValue;
    return answer(state);
}

cudaError_t allocate(memory_kind kind, void **memory, size_t size)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state == cudaSuccess && memory == nullptr)
        state = cudaErrorInvalidValue;
    if (state == cudaSuccess)
        state = capture_forbids();
    if (state != cudaSuccess)
        return answer(state);
    *memory = nullptr;
    if (size == 0)
        return cudaSuccess;
    *memory = memory_new(kind, size);
    return answer(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

} // namespace

/* ---- memory ---- */

cudaError_t cudaMalloc(void **memory, size_t size)
{
    return allocate(memory_kind::device, memory, size);
}

cudaError_t cudaFree(void *memory)
{
    return release(memory_kind::device, memory);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state != cudaSuccess)
        return answer(state);
    *total_bytes = device_profile().memory_bytes;
    *free_bytes = *total_bytes - memory_used(device_current());
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t size, unsigned)
{
    return allocate(memory_kind::host, memory, size);
}

cudaError_t cudaMallocHost(void **memory, size_t size)
{
    return cudaHostAlloc(memory, size, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *memory)
{
    return release(memory_kind::host, memory);
}

/* ---- copies ---- */

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);
    operation op;
    bool to_pageable, from_pageable;

    if (error == cudaSuccess && (width > dst_pitch || width > src_pitch))
        error = cudaErrorInvalidValue;
    if (error != cudaSuccess || width == 0 || height == 0)
        return answer(error);
    error = operation_copy(dst, dst_pitch, src, src_pitch, width, height, kind, &op);
    if (error != cudaSuccess)
        return answer(error);
    to_pageable = op.to_host && !memory_on_host(dst, width);
    from_pageable = op.from_host && !memory_on_host(src, width);
    if (to_pageable || from_pageable)
        error = capture_refuses(stream);
    if (error == cudaSuccess)
        error = stream_put(stream, std::move(op));
    if (error == cudaSuccess && to_pageable)
        error = finish(&hold, stream);
    return answer(error);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
        return answer(cudaErrorInvalidMemcpyDirection);
    return cudaMemcpy2DAsync(dst, size, src, size, size, 1, kind, stream);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);
    operation op;

    if (error != cudaSuccess || size == 0)
        return answer(error);
    if (!memory_on_device(memory, size))
        return answer(cudaErrorInvalidValue);
    op.what = action::fill;
    op.to = static_cast<char *>(memory);
    op.value = value;
    op.to_pitch = op.width = size;
    op.height = 1;
    return answer(stream_put(stream, std::move(op)));
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    static unsigned n_made;
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state == cudaSuccess && (stream == nullptr || flags > cudaStreamNonBlocking))
        state = cudaErrorInvalidValue;
    if (state != cudaSuccess)
        return answer(state);
    if (flags != cudaStreamNonBlocking)
        report_launch("a stream is made that waits for the default stream and holds it up");
    *stream = new CUstream_st();
    (*stream)->number = ++n_made;
    (*stream)->device = device_current();
    handle_add(*stream);
    stream_all().push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (!stream_is_good(stream))
        return answer(cudaErrorInvalidResourceHandle);
    if (state == cudaSuccess && stream->capturing != nullptr)
        return answer(capture_refuses(stream));
    handle_remove(stream);
    stream_destroy(stream);
    return answer(state);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);

    if (error == cudaSuccess)
        error = capture_refuses(stream);
    if (error == cudaSuccess)
        error = capture_forbids();
    return answer(error != cudaSuccess ? error : finish(&hold, stream));
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);

    if (error == cudaSuccess)
        error = capture_refuses(stream);
    if (error == cudaSuccess)
        error = capture_forbids();
    if (error != cudaSuccess || stream->pending.empty())
        return answer(error);
    if (stream->patience > 0) {
        stream->patience--;
        return cudaErrorNotReady;
    }
    const int device = stream->device;
    if (!stream_finish(stream))
        return cudaErrorNotReady;
    pool_settle();
    return answer(device_error(device));
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);
    operation op;

    if (error == cudaSuccess && !handle_lives(event))
        error = cudaErrorInvalidResourceHandle;
    if (error != cudaSuccess)
        return answer(error);
    if (stream->capturing != nullptr || event->captured != nullptr)
        return answer(capture_wait(stream, event));
    if (event->at == nullptr)
        return cudaSuccess;
    op.what = action::wait;
    op.at = event->at;
    return answer(stream_put(stream, std::move(op)));
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state == cudaSuccess &&
        (event == nullptr || flags > (cudaEventBlockingSync | cudaEventDisableTiming)))
        state = cudaErrorInvalidValue;
    if (state != cudaSuccess)
        return answer(state);
    *event = new CUevent_st();
    (*event)->flags = flags;
    (*event)->device = device_current();
    handle_add(*event);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (!handle_remove(event))
        return answer(cudaErrorInvalidResourceHandle);
    delete event;
    return answer(state);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);
    operation op;

    if (error == cudaSuccess && !handle_lives(event))
        error = cudaErrorInvalidResourceHandle;
    if (error != cudaSuccess)
        return answer(error);
    if (event->device != stream->device)
        report_launch("an event of device %d is recorded in a stream of device %d", event->device,
                      stream->device);
    if (stream->capturing != nullptr)
        return answer(capture_record(stream, event));
    op.what = action::record;
    op.at = std::make_shared<point>();
    op.at->stream = stream;
    op.at->patience = seed() == 0 ? 1 : (unsigned)(stream_random() % 4);
    event->captured = nullptr;
    event->at = op.at;
    return answer(stream_put(stream, std::move(op)));
}

/* What a call that looks at an event says before it does anything. Any thread may, whatever device
 * it has chosen. */
static cudaError_t check_event(cudaEvent_t event)
{
    cudaError_t error = cudaSuccess;

    clock_tick();
    if (!handle_lives(event))
        return device_state() != cudaSuccess ? device_state() : cudaErrorInvalidResourceHandle;
    error = device_missing() != cudaSuccess ? device_missing() : device_error(event->device);
    if (error == cudaSuccess && event->captured != nullptr) {
        event->captured->invalid = true;
        return cudaErrorCapturedEvent;
    }
    return error != cudaSuccess ? error : capture_forbids();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_event(event);

    if (error != cudaSuccess || event->at == nullptr)
        return answer(error);
    const point_ref at = event->at;
    const int device = event->device;
    if (!stream_reach(at))
        return answer(wait_in_vain(&hold, device));
    pool_settle();
    return answer(device_error(device));
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_event(event);

    if (error != cudaSuccess || event->at == nullptr || event->at->reached)
        return answer(error);
    if (event->at->patience > 0) {
        event->at->patience--;
        return cudaErrorNotReady;
    }
    const point_ref at = event->at;
    const int device = event->device;
    if (!stream_reach(at))
        return cudaErrorNotReady;
    pool_settle();
    return answer(device_error(device));
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = device_state();

    if (error != cudaSuccess)
        return answer(error);
    if (ms == nullptr || !handle_lives(start) || !handle_lives(end) || start->at == nullptr ||
        end->at == nullptr || start->device != end->device ||
        ((start->flags | end->flags) & cudaEventDisableTiming) != 0)
        return answer(cudaErrorInvalidResourceHandle);
    if (!start->at->reached || !end->at->reached)
        return cudaErrorNotReady;
    *ms = (float)(end->at->ms - start->at->ms);
    return cudaSuccess;
}
