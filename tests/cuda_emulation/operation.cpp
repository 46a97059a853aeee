/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits in a stream. A copy or a launch is checked when it is put there, as CUDA checks it,
 * and done when its turn comes; between the two nobody may touch what it uses:
 *
 *   - what a copy will write is poisoned when it is put, unless something that waits still reads
 *     it: who reads too early gets NaN. Of the device, only copies' and memsets' targets are
 *     known; kernels may read anything, so those are poisoned only while no kernel waits.
 *   - what a copy reads in pinned memory is sealed by a hash when it is put: if its bytes are
 *     others when its turn comes, the host wrote there too early or too late. No seal where a copy
 *     that waits will write.
 *   - a copy from pageable memory takes the bytes along; one into pageable memory is waited for.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>

namespace enso_emulated
{

namespace
{

/* Results that come from shared or device memory which nobody wrote. */
void check_downloaded(const void *host, size_t size)
{
    const char *at = static_cast<const char *>(host);

    for (size_t i = 0; i + sizeof(uint32_t) <= size; i += sizeof(uint32_t)) {
        uint32_t v;

        memcpy(&v, at + i, sizeof(v));
        if (v == SHARED_POISON || v == DEVICE_POISON)
            report_launch("a result came from %s memory that nobody wrote: byte %zu of %zu "
                          "copied to the host",
                          v == SHARED_POISON ? "shared" : "device", i, size);
    }
}

size_t extent(size_t pitch, size_t width, size_t height)
{
    return (height - 1) * pitch + width;
}

bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const char *p = static_cast<const char *>(a), *q = static_cast<const char *>(b);

    return p < q + b_bytes && q < p + a_bytes;
}

bool reads(const operation &op, const void *start, size_t bytes)
{
    if (op.what == action::graph) {
        for (const graph_node &node : op.graph->nodes)
            if (reads(node.op, start, bytes))
                return true;
        return false;
    }
    return op.what == action::copy && op.snapshot == nullptr &&
           overlap(op.from, extent(op.from_pitch, op.width, op.height), start, bytes);
}

bool writes(const operation &op, const void *start, size_t bytes)
{
    if (op.what == action::graph) {
        for (const graph_node &node : op.graph->nodes)
            if (writes(node.op, start, bytes))
                return true;
        return false;
    }
    return (op.what == action::copy || op.what == action::fill) &&
           overlap(op.to, extent(op.to_pitch, op.width, op.height), start, bytes);
}

bool launches(const operation &op)
{
    return op.what == action::launch || op.what == action::graph;
}

/* fn(copy or fill, its seal) */
template <class F> void each_move(operation *op, F fn)
{
    if (op->what == action::copy || op->what == action::fill)
        fn(op, &op->seals[0]);
    for (size_t i = 0; op->what == action::graph && i < op->graph->nodes.size(); i++)
        if (op->graph->nodes[i].op.what == action::copy ||
            op->graph->nodes[i].op.what == action::fill)
            fn(&op->graph->nodes[i].op, &op->seals[i]);
}

bool is_sealable(const operation &op)
{
    return op.what == action::copy && op.from_host && op.snapshot == nullptr;
}

uint64_t hash_source(const operation &op)
{
    uint64_t hash = 0x9e3779b97f4a7c15u, word;

    for (size_t y = 0; y < op.height; y++) {
        const char *row = op.from + y * op.from_pitch;
        size_t at = 0;

        for (; at + sizeof(word) <= op.width; at += sizeof(word)) {
            memcpy(&word, row + at, sizeof(word));
            hash = (hash ^ word) * 0xff51afd7ed558ccdu;
            hash ^= hash >> 32;
        }
        for (; at < op.width; at++)
            hash = (hash ^ (unsigned char)row[at]) * 0xff51afd7ed558ccdu;
    }
    return hash;
}

void check_seal(const operation &op, const seal &s)
{
    memory_info memory;

    if (!s.set || !is_sealable(op) || hash_source(op) == s.hash)
        return;
    if (!memory_lookup(op.from, &memory))
        memory = {};
    report_launch("the host changed pinned memory while a copy to the device that reads it still "
                  "waited: %zu bytes at byte %zu of pinned host allocation %llu (%zu bytes)",
                  op.width * op.height, (size_t)(op.from - memory.start),
                  (unsigned long long)memory.number, memory.bytes);
}

/* What was right when the operation was put may be gone when its turn comes. */
void check_side(const void *side, bool host, size_t bytes)
{
    memory_info memory;

    if (host)
        return; /* a fault tells */
    if (!memory_lookup(side, &memory) || memory.freed)
        report_launch("a copy or memset of %zu bytes uses memory of the device that was freed "
                      "while it waited",
                      bytes);
    if (!memory.committed)
        report_launch("a copy or memset of %zu bytes uses device allocation %llu before its turn "
                      "in its stream came",
                      bytes, (unsigned long long)memory.number);
}

void run_move(operation *op, const seal &s)
{
    const size_t bytes = op->width * op->height;

    check_side(op->to, op->to_host, bytes);
    if (op->what == action::fill) {
        memset(op->to, op->value, op->width);
        return;
    }
    if (op->snapshot == nullptr)
        check_side(op->from, op->from_host, bytes);
    check_seal(*op, s);
    for (size_t y = 0; y < op->height; y++) {
        const char *from = op->snapshot != nullptr ? op->snapshot->data() + y * op->width
                                                   : op->from + y * op->from_pitch;

        memmove(op->to + y * op->to_pitch, from, op->width);
        if (op->to_host && !op->from_host)
            check_downloaded(op->to + y * op->to_pitch, op->width);
    }
}

} // namespace

cudaError_t operation_copy(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                           size_t width, size_t height, enum cudaMemcpyKind kind, operation *ret)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    size_t to_bytes, from_bytes;

    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    if (kind == cudaMemcpyDefault) {
        to_device = memory_is_device(to);
        from_device = memory_is_device(from);
    }
    to_bytes = extent(to_pitch, width, height);
    from_bytes = extent(from_pitch, width, height);
    if (to == nullptr || from == nullptr || (to_device && !memory_on_device(to, to_bytes)) ||
        (from_device && !memory_on_device(from, from_bytes)) ||
        (!to_device && memory_is_device(to)) || (!from_device && memory_is_device(from)))
        return cudaErrorInvalidValue;
    ret->what = action::copy;
    ret->to = static_cast<char *>(to);
    ret->from = static_cast<const char *>(from);
    ret->to_pitch = to_pitch;
    ret->from_pitch = from_pitch;
    ret->width = width;
    ret->height = height;
    ret->to_host = !to_device;
    ret->from_host = !from_device;
    return cudaSuccess;
}

static void check_memory_device(const operation &op, const void *memory, int device)
{
    memory_info info;
    char what[160];

    if (!memory_lookup(memory, &info) || info.kind == memory_kind::host || info.freed ||
        info.device == device)
        return;
    operation_describe(op, what, sizeof(what));
    report_launch("%s in a stream of device %d uses device allocation %llu (%zu bytes) of device "
                  "%d",
                  what, device, (unsigned long long)info.number, info.bytes, info.device);
}

void operation_check_device(const operation &op, int device)
{
    if (device_count() == 1)
        return;
    if (op.what == action::launch)
        operation_argument_words(op, [&](uintptr_t word) {
            check_memory_device(op, reinterpret_cast<const void *>(word), device);
        });
    if (op.what == action::copy || op.what == action::fill)
        check_memory_device(op, op.to, device);
    if (op.what == action::copy)
        check_memory_device(op, op.from, device);
}

void operation_prepare(operation *op)
{
    op->put_ms = clock_ms();
    if (op->what != action::launch)
        op->seals.resize(op->what == action::graph ? op->graph->nodes.size() : 1);
    if (op->what == action::copy && op->from_host &&
        !memory_on_host(op->from, extent(op->from_pitch, op->width, op->height))) {
        op->snapshot = std::make_shared<std::vector<char>>(op->width * op->height);
        for (size_t y = 0; y < op->height; y++)
            memcpy(op->snapshot->data() + y * op->width, op->from + y * op->from_pitch, op->width);
    }
    each_move(op, [&](operation *move, seal *s) {
        const size_t from_bytes = extent(move->from_pitch, move->width, move->height);
        const size_t to_bytes = extent(move->to_pitch, move->width, move->height);
        bool written = false, needed = false;

        const auto look = [&](const operation &other) {
            written = written || writes(other, move->from, from_bytes);
            needed =
                needed || reads(other, move->to, to_bytes) || (!move->to_host && launches(other));
        };
        stream_each_pending([&](operation &other) { look(other); });
        look(*op);
        if (is_sealable(*move) && !written)
            *s = {true, hash_source(*move)};
        memory_info memory;
        if (needed || !memory_lookup(move->to, &memory) || memory.freed || !memory.committed)
            return;
        for (size_t y = 0; y < move->height; y++)
            poison(move->to + y * move->to_pitch, DEVICE_POISON, move->width);
    });
}

void operation_run(operation *op)
{
    switch (op->what) {
    case action::launch:
        launch_run(*op);
        break;
    case action::copy:
    case action::fill:
        run_move(op, op->seals[0]);
        break;
    case action::graph:
        graph_run(op);
        break;
    case action::commit:
        memory_commit(op->to);
        break;
    case action::release:
        pool_release(op);
        break;
    default: /* record and wait: the stream's business */
        break;
    }
}

void operation_run_node(operation *node, const seal &s)
{
    if (node->what == action::copy || node->what == action::fill)
        run_move(node, s);
    else
        operation_run(node);
}

/* An order of magnitude, so that times rise and are told apart. */
double operation_cost_ms(const operation &op)
{
    double ms = 0.002;

    if (op.what == action::launch)
        ms += (double)op.grid.x * op.grid.y * op.grid.z * op.block.x * op.block.y * op.block.z /
              (device_profile().multiprocessors * 1e5);
    if (op.what == action::copy || op.what == action::fill)
        ms += (double)(op.width * op.height) / (op.to_host || op.from_host ? 2e7 : 5e8);
    for (size_t i = 0; op.what == action::graph && i < op.graph->nodes.size(); i++)
        ms += operation_cost_ms(op.graph->nodes[i].op) - 0.001;
    return op.what == action::record || op.what == action::wait ? 0 : ms;
}

bool operation_uses(const operation &op, const void *start, size_t bytes)
{
    const uintptr_t first = reinterpret_cast<uintptr_t>(start);
    bool found = false;

    if (op.what == action::launch)
        operation_argument_words(
            op, [&](uintptr_t word) { found = found || (word >= first && word - first < bytes); });
    for (size_t i = 0; op.what == action::graph && i < op.graph->nodes.size() && !found; i++)
        found = operation_uses(op.graph->nodes[i].op, start, bytes);
    return found || reads(op, start, bytes) || writes(op, start, bytes);
}

void operation_describe(const operation &op, char *text, size_t size)
{
    if (op.what == action::launch)
        snprintf(text, size, "kernel %s", op.function->name);
    else if (op.what == action::graph)
        snprintf(text, size, "a graph of %zu nodes", op.graph->nodes.size());
    else if (op.what == action::copy)
        snprintf(text, size, "a copy of %zu bytes %s", op.width * op.height,
                 op.to_host     ? "to the host"
                 : op.from_host ? "to the device"
                                : "on the device");
    else
        snprintf(text, size, "%s", op.what == action::fill ? "a memset" : "an operation");
}

} // namespace enso_emulated
