/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams: queues of operations that run as late as CUDA allows, which is when somebody waits for
 * them, and in a random order between streams that respects each stream's own order and events.
 * So a program that forgets to wait, or an event between two streams, is wrong here on its first
 * run and not once a month.
 *
 * Whoever waits for a point runs what it needs: the stream that will reach it, and those on whose
 * events that stream waits; now and then, by the seed's dice, any other stream that can go on.
 * A query says "not ready" a few times first. ENSO_CUDA_EMULATED_STREAMS=eager runs everything when
 * it is put, for debugging.
 *
 * An operation that hangs (ENSO_CUDA_EMULATED_FAULT) never runs, and neither does what comes after
 * it: who waits for that blocks for a while (runtime.cpp). Once the device is lost nothing runs any
 * more.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>

#include <algorithm>
#include <set>

namespace enso_emulated
{

std::recursive_mutex runtime_lock;

namespace
{
/* As many launches as a card's queue holds; the host waits then. */
constexpr size_t MAX_PENDING = 1024;

/* Never taken down: what a lost device leaves behind is the process's to the end, no leak. */
std::set<const void *> &handles = *new std::set<const void *>;
std::vector<CUstream_st *> streams; /* destroyed ones too while something waits in them */
double clock_now;

bool is_eager(void)
{
    static const char *const text = getenv("ENSO_CUDA_EMULATED_STREAMS");

    return text != nullptr && strcmp(text, "eager") == 0;
}

/* ENSO_CUDA_EMULATED_FAULT=K:CODE lets the K-th launch from now on (kernel or graph; 1: the first
 * after the variable changed) end with an error that stays, K:hang lets it never end. */
void fault_for(operation *op)
{
    static char wish[32];
    static unsigned long left;
    char room[sizeof(wish)];
    const char *text = wish_now("ENSO_CUDA_EMULATED_FAULT", room, sizeof(room)), *colon;

    if (strcmp(wish, text) != 0) {
        snprintf(wish, sizeof(wish), "%s", text);
        left = strtoul(wish, nullptr, 10);
    }
    if ((op->what != action::launch && op->what != action::graph) || left == 0 || --left != 0)
        return;
    colon = strchr(wish, ':');
    op->hangs = colon != nullptr && strcmp(colon, ":hang") == 0;
    if (!op->hangs)
        op->fault = colon != nullptr ? (cudaError_t)strtol(colon + 1, nullptr, 10)
                                     : cudaErrorIllegalAddress;
}

/* The point that the stream's next operation waits for, if it has to wait. */
const point *blocked_by(const CUstream_st *stream)
{
    const operation &op = stream->pending.front();

    if ((op.what != action::wait && op.what != action::graph) || op.at == nullptr || op.at->reached)
        return nullptr;
    return op.at.get();
}

bool can_run(const CUstream_st *stream)
{
    return !stream->pending.empty() && !stream->pending.front().hangs &&
           blocked_by(stream) == nullptr;
}

void forget_if_done(CUstream_st *stream)
{
    if (!stream->destroyed || !stream->pending.empty())
        return;
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
}

void run_next(CUstream_st *stream)
{
    operation op = std::move(stream->pending.front());
    const int chosen = device_current(); /* by whoever waits, maybe for another card */

    stream->pending.pop_front();
    if (op.fault != cudaSuccess) {
        device_lost(stream->device, op.fault);
        return;
    }
    stream->ms = std::max(stream->ms, op.put_ms);
    if (op.at != nullptr && op.what != action::record)
        stream->ms = std::max(stream->ms, op.at->ms);
    device_choose(stream->device);
    operation_run(&op);
    stream->ms += operation_cost_ms(op);
    device_choose(chosen);
    if (op.what == action::record) {
        op.at->reached = true;
        op.at->ms = stream->ms;
    }
    forget_if_done(stream);
}

/* The stream whose next operation brings this one on; NULL: one that hangs is in the way. */
CUstream_st *needed_by(CUstream_st *stream)
{
    while (!stream->pending.empty() && !stream->pending.front().hangs) {
        const point *at = blocked_by(stream);

        if (at == nullptr)
            return stream;
        stream = at->stream;
    }
    return nullptr;
}

/* Any stream that can go on, now and then; else NULL. */
CUstream_st *other_stream(void)
{
    CUstream_st *chosen = nullptr;
    unsigned n = 0;

    if (seed() == 0 || streams.size() < 2 || stream_random() % 4 != 0)
        return nullptr;
    for (CUstream_st *stream : streams)
        if (can_run(stream) && stream_random() % ++n == 0)
            chosen = stream;
    return chosen;
}

bool step_towards(CUstream_st *stream)
{
    CUstream_st *needed = needed_by(stream), *other = other_stream();

    if (needed == nullptr)
        return false;
    run_next(other != nullptr ? other : needed);
    return true;
}

} // namespace

bool handle_lives(const void *handle)
{
    return handles.count(handle) != 0;
}

void handle_add(const void *handle)
{
    handles.insert(handle);
}

bool handle_remove(const void *handle)
{
    return handles.erase(handle) != 0;
}

double clock_ms(void)
{
    return clock_now;
}

void clock_tick(void)
{
    clock_now += 0.001;
}

uint64_t stream_random(void)
{
    static uint64_t state = seed() * 0xd1342543de82ef95u + 1;

    return random_next(&state) >> 8;
}

std::vector<CUstream_st *> &stream_all(void)
{
    return streams;
}

bool stream_is_good(cudaStream_t stream)
{
    if (stream == nullptr)
        report_launch("the default stream is used, which orders all others");
    if (!handle_lives(stream))
        return false;
    if (stream->device != device_current())
        report_launch("a stream of device %d is used by a thread that has chosen device %d",
                      stream->device, device_current());
    return true;
}

void stream_destroy(cudaStream_t stream)
{
    stream->destroyed = true;
    forget_if_done(stream);
}

cudaError_t stream_put(cudaStream_t stream, operation &&op)
{
    operation_check_device(op, stream->device);
    if (stream->capturing != nullptr)
        return capture_put(stream, std::move(op));
    operation_prepare(&op);
    fault_for(&op);
    stream->pending.push_back(std::move(op));
    stream->patience = seed() == 0 ? 1 : (unsigned)(stream_random() % 4);
    while (stream->pending.size() > (is_eager() ? 0 : MAX_PENDING) && step_towards(stream))
        ;
    return device_error(stream->device);
}

bool stream_reach(const point_ref &at)
{
    while (!at->reached) /* what waits on a device that is lost counts as reached */
        if (!step_towards(at->stream))
            return false;
    return true;
}

bool stream_finish(cudaStream_t stream)
{
    while (!stream->pending.empty())
        if (!step_towards(stream))
            return false;
    return true;
}

bool stream_hangs(int device)
{
    for (const CUstream_st *stream : streams)
        for (const operation &op : stream->pending)
            if (op.hangs && stream->device == device)
                return true;
    return false;
}

void stream_drop_all(int device)
{
    for (CUstream_st *stream : streams) {
        if (stream->device != device)
            continue;
        for (operation &op : stream->pending)
            if (op.what == action::record)
                op.at->reached = true;
        stream->pending.clear();
    }
}

} // namespace enso_emulated
