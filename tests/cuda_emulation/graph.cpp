/* SPDX-License-Identifier: Apache-2.0
 *
 * Stream capture and graphs. While a stream captures, what is put into it becomes a node; streams
 * join by waiting for an event recorded in it. What CUDA refuses meanwhile is refused with its
 * error, and spoils the capture: every later call on its streams, and its end, then give
 * cudaErrorStreamCaptureInvalidated. Calls that CUDA's words call unsafe (memory, waiting, asking)
 * are refused to the capturing thread, in global mode to every thread, in relaxed mode to nobody.
 *
 * A graph keeps the addresses of its capture: a launch of one whose memory was freed since is
 * reported. Its nodes run in the stream's turn, in a random order that respects their edges; two
 * launches of the same executable graph run one after the other, in whatever streams.
 *
 * Not here, refused: pageable memory and memory nodes in a capture, updates, nodes made by hand,
 * launches from the device.
 */
#include "tests/cuda_emulation/emulator.h"

#include <algorithm>

using namespace enso_emulated;

struct CUgraph_st {
    std::shared_ptr<graph_body> body;
    int device;
};

struct CUgraphExec_st {
    int device;
    std::shared_ptr<graph_body> body;
    point_ref last; /* the launch before */
    size_t bytes;   /* of the device */
};

namespace
{
std::vector<capture_ref> captures; /* under way */
/* What an executable graph takes of the device's memory: an order of magnitude. */
constexpr size_t EXEC_BYTES = 64 * 1024, NODE_BYTES = 1024;

cudaError_t spoil(const capture_ref &c, cudaError_t error)
{
    c->invalid = true;
    return error;
}

void add_use(graph_node *node, const void *address)
{
    memory_info memory;

    if (memory_lookup(address, &memory) && !memory.freed)
        node->uses.push_back({address, memory.number});
}

void find_uses(graph_node *node)
{
    const operation &op = node->op;

    if (op.what == action::launch)
        operation_argument_words(
            op, [&](uintptr_t word) { add_use(node, reinterpret_cast<const void *>(word)); });
    if (op.what == action::copy || op.what == action::fill)
        add_use(node, op.to);
    if (op.what == action::copy)
        add_use(node, op.from);
}

void merge(std::vector<unsigned> *into, const std::vector<unsigned> &from)
{
    for (unsigned node : from)
        if (std::find(into->begin(), into->end(), node) == into->end())
            into->push_back(node);
}

/* Every node comes before one of the frontier, or is in it. */
bool is_joined(const graph_body &body, const std::vector<unsigned> &frontier)
{
    std::vector<bool> seen(body.nodes.size());

    for (unsigned node : frontier)
        seen[node] = true;
    for (size_t i = body.nodes.size(); i-- > 0;) { /* edges go from lower to higher numbers */
        if (!seen[i])
            return false;
        for (unsigned before : body.nodes[i].after)
            seen[before] = true;
    }
    return true;
}

void end_capture(const capture_ref &c)
{
    c->over = true;
    captures.erase(std::find(captures.begin(), captures.end(), c));
    for (CUstream_st *stream : stream_all())
        if (stream->capturing == c) {
            stream->capturing = nullptr;
            stream->frontier.clear();
        }
}

/* The memory is the one that was there at the capture. */
void check_uses(const graph_body &body)
{
    char what[160];

    for (const graph_node &node : body.nodes)
        for (const graph_use &use : node.uses) {
            memory_info memory;

            if (memory_lookup(use.address, &memory) && !memory.freed && memory.number == use.number)
                continue;
            operation_describe(node.op, what, sizeof(what));
            report_launch("a graph is launched whose memory was freed after its capture: "
                          "allocation %llu, used by %s",
                          (unsigned long long)use.number, what);
        }
}

} // namespace

/* ---- capture ---- */

cudaError_t enso_emulated::capture_refuses(cudaStream_t stream)
{
    const capture_ref c = stream->capturing;

    if (c == nullptr)
        return cudaSuccess;
    return c->invalid ? cudaErrorStreamCaptureInvalidated
                      : spoil(c, cudaErrorStreamCaptureUnsupported);
}

cudaError_t enso_emulated::capture_forbids(void)
{
    cudaError_t error = cudaSuccess;

    for (const capture_ref &c : captures)
        if (c->mode == cudaStreamCaptureModeGlobal ||
            (c->mode == cudaStreamCaptureModeThreadLocal &&
             c->thread == std::this_thread::get_id()))
            error = spoil(c, cudaErrorStreamCaptureUnsupported);
    return error;
}

cudaError_t enso_emulated::capture_put(cudaStream_t stream, operation &&op)
{
    capture &c = *stream->capturing;

    if (c.invalid)
        return cudaErrorStreamCaptureInvalidated;
    c.body->nodes.push_back({std::move(op), stream->frontier, {}});
    find_uses(&c.body->nodes.back());
    stream->frontier = {(unsigned)c.body->nodes.size() - 1};
    return cudaSuccess;
}

cudaError_t enso_emulated::capture_record(cudaStream_t stream, cudaEvent_t event)
{
    if (stream->capturing->invalid)
        return cudaErrorStreamCaptureInvalidated;
    event->at = nullptr;
    event->captured = stream->capturing;
    event->frontier = stream->frontier;
    return cudaSuccess;
}

cudaError_t enso_emulated::capture_wait(cudaStream_t stream, cudaEvent_t event)
{
    const capture_ref from = event->captured, into = stream->capturing;

    if (into != nullptr && into->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (from == nullptr) /* work outside of the capture, whether or not it is over */
        return spoil(into, cudaErrorStreamCaptureIsolation);
    if (from->over)
        return into != nullptr ? spoil(into, cudaErrorStreamCaptureIsolation)
                               : cudaErrorCapturedEvent;
    if (from->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (into != nullptr && into != from) {
        into->invalid = true;
        return spoil(from, cudaErrorStreamCaptureMerge);
    }
    stream->capturing = from;
    merge(&stream->frontier, event->frontier);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    static unsigned long long n_captures;
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state != cudaSuccess)
        return answer(state);
    if (!stream_is_good(stream))
        return answer(cudaErrorInvalidResourceHandle);
    if (mode < cudaStreamCaptureModeGlobal || mode > cudaStreamCaptureModeRelaxed)
        return answer(cudaErrorInvalidValue);
    if (stream->capturing != nullptr) {
        stream->capturing->invalid = true;
        return answer(cudaErrorIllegalState);
    }
    stream->capturing = std::make_shared<capture>();
    *stream->capturing = {mode,  std::this_thread::get_id(),    stream, ++n_captures, false,
                          false, std::make_shared<graph_body>()};
    stream->frontier.clear();
    captures.push_back(stream->capturing);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();
    capture_ref c;

    if (!stream_is_good(stream))
        return answer(cudaErrorInvalidResourceHandle);
    if (graph == nullptr)
        return answer(cudaErrorInvalidValue);
    *graph = nullptr;
    c = stream->capturing;
    if (c == nullptr)
        return answer(state != cudaSuccess ? state : cudaErrorIllegalState);
    if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id())
        return answer(cudaErrorStreamCaptureWrongThread);
    if (c->origin != stream)
        return answer(spoil(c, cudaErrorStreamCaptureUnmatched));
    if (!c->invalid && !is_joined(*c->body, stream->frontier))
        state = spoil(c, cudaErrorStreamCaptureUnjoined);
    else if (c->invalid)
        state = cudaErrorStreamCaptureInvalidated;
    end_capture(c);
    if (state != cudaSuccess)
        return answer(state);
    *graph = new CUgraph_st{c->body, stream->device};
    handle_add(*graph);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state == cudaSuccess && !stream_is_good(stream))
        state = cudaErrorInvalidResourceHandle;
    if (state == cudaSuccess && status == nullptr)
        state = cudaErrorInvalidValue;
    if (state != cudaSuccess)
        return answer(state);
    *status = stream->capturing == nullptr  ? cudaStreamCaptureStatusNone
              : !stream->capturing->invalid ? cudaStreamCaptureStatusActive
                                            : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph,
                                     const cudaGraphNode_t **dependencies,
                                     const cudaGraphEdgeData **edges, size_t *n_dependencies)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = cudaStreamIsCapturing(stream, status);

    if (error != cudaSuccess)
        return error;
    if (graph != nullptr || dependencies != nullptr || edges != nullptr ||
        n_dependencies != nullptr)
        return answer(cudaErrorNotSupported);
    if (id != nullptr && stream->capturing != nullptr)
        *id = stream->capturing->id;
    return cudaSuccess;
}

/* ---- graphs ---- */

void enso_emulated::graph_run(operation *op)
{
    std::vector<graph_node> &nodes = op->graph->nodes;
    std::vector<bool> ran(nodes.size());

    for (size_t left = nodes.size(); left > 0; left--) {
        size_t chosen = nodes.size(), n = 0;

        for (size_t i = 0; i < nodes.size() && (seed() != 0 || n == 0); i++) {
            bool ready = !ran[i];

            for (unsigned before : nodes[i].after)
                ready = ready && ran[before];
            if (ready && (n++ == 0 || stream_random() % n == 0))
                chosen = i;
        }
        ran[chosen] = true;
        operation_run_node(&nodes[chosen].op, op->seals[chosen]);
    }
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();
    size_t bytes;

    if (state == cudaSuccess && (exec == nullptr || !handle_lives(graph) || flags > 15))
        state = cudaErrorInvalidValue;
    if (state != cudaSuccess)
        return answer(state);
    *exec = nullptr;
    bytes = EXEC_BYTES + graph->body->nodes.size() * NODE_BYTES;
    if (!memory_charge(graph->device, bytes))
        return answer(cudaErrorMemoryAllocation);
    *exec = new CUgraphExec_st{graph->device, graph->body, nullptr, bytes};
    handle_add(*exec);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long flags)
{
    return cudaGraphInstantiate(exec, graph, flags);
}

static cudaError_t check_exec(cudaGraphExec_t exec, cudaStream_t stream)
{
    cudaError_t state = device_state();

    if (state == cudaSuccess && !handle_lives(exec))
        state = cudaErrorInvalidValue;
    if (state == cudaSuccess && !stream_is_good(stream))
        state = cudaErrorInvalidResourceHandle;
    return state != cudaSuccess ? state : capture_refuses(stream);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);

    return answer(check_exec(exec, stream));
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_exec(exec, stream);
    operation op, end;

    if (error != cudaSuccess)
        return answer(error);
    if (exec->device != stream->device)
        report_launch("a graph of device %d is launched in a stream of device %d", exec->device,
                      stream->device);
    check_uses(*exec->body);
    op.what = action::graph;
    op.graph = exec->body;
    op.at = exec->last;
    end.what = action::record;
    end.at = std::make_shared<point>();
    end.at->stream = stream;
    exec->last = end.at;
    error = stream_put(stream, std::move(op));
    return answer(error != cudaSuccess ? error : stream_put(stream, std::move(end)));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (!handle_remove(exec))
        return answer(cudaErrorInvalidValue);
    memory_uncharge(exec->device, exec->bytes);
    delete exec; /* what waits in a stream has the nodes */
    return answer(state);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (!handle_remove(graph))
        return answer(cudaErrorInvalidValue);
    delete graph;
    return answer(state);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n_nodes)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state == cudaSuccess && (!handle_lives(graph) || n_nodes == nullptr))
        state = cudaErrorInvalidValue;
    if (state != cudaSuccess)
        return answer(state);
    if (nodes == nullptr) {
        *n_nodes = graph->body->nodes.size();
        return cudaSuccess;
    }
    for (size_t i = 0; i < *n_nodes; i++)
        nodes[i] = i < graph->body->nodes.size()
                       ? reinterpret_cast<cudaGraphNode_t>(&graph->body->nodes[i])
                       : nullptr;
    *n_nodes = std::min(*n_nodes, graph->body->nodes.size());
    return cudaSuccess;
}
