/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA backend as the daemon sees it: fills the contract of engine/backend.h. The module is
 * loaded with dlopen and exports enso_backend_entry alone; it is never unloaded, since the CUDA
 * runtime inside keeps state for the life of the process.
 */
#include "ensod_build.h"

#include <string.h>

#include "kernels/cuda/capture.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/module.h"
#include "kernels/cuda/watch.h"

static int bind(struct enso_device *device, const struct enso_graph *graph, int node,
                struct enso_bound **ret_bound, struct enso_error *err)
{
    const struct enso__bind b = {device, graph, enso_graph_node(graph, node)};
    enso__cuda_bind_fn fn = enso__cuda_family(b.node->op);
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    if (fn == NULL)
        return enso__unsupported(&b, err, "the GPU has no kernel for this operator");
    st = enso__refuse_halves(&b, enso__cuda_computes, "the GPU", err);
    return st == ENSO_OK ? fn(&b, ret_bound, err) : st;
}

static void unbind(struct enso_device *device, struct enso_bound *bound)
{
    (void)device;
    enso__cuda_bound_free(bound);
}

static size_t bound_bytes(const struct enso_bound *bound)
{
    return bound->bytes;
}

static bool packs(const struct enso_bound *bound, size_t input)
{
    return input < 32 && (bound->packed >> input & 1) != 0;
}

static size_t workspace_bytes(const struct enso_bound *bound, const struct enso_step *step,
                              const struct enso_tensor *tensors)
{
    return bound->workspace == NULL ? 0 : bound->workspace(bound, step, tensors);
}

const struct enso_backend *enso_backend_entry(const struct enso_host *given)
{
    static const struct enso_backend backend = {
        .abi = ENSO_BACKEND_ABI,
        .layout = ENSO_BACKEND_LAYOUT,
        .name = ENSO__CUDA_NAME,
        .device_open = enso__cuda_device_open,
        .device_close = enso__cuda_device_close,
        .device_info = enso__cuda_device_info,
        .memory_alloc = enso__cuda_memory_alloc,
        .memory_free = enso__cuda_free,
        .staging_alloc = enso__cuda_staging_alloc,
        .staging_free = enso__cuda_staging_free,
        .memory_info = enso__cuda_memory_info,
        .promise = enso__cuda_promise,
        .promise_end = enso__cuda_promise_end,
        .promised_alloc = enso__cuda_promised_alloc,
        .upload = enso__cuda_lane_upload,
        .download = enso__cuda_lane_download,
        .host_memory = false,
        .bind = bind,
        .unbind = unbind,
        .bound_bytes = bound_bytes,
        .packs = packs,
        .workspace_bytes = workspace_bytes,
        .lane_open = enso__cuda_lane_open,
        .lane_close = enso__cuda_lane_close,
        .n_slots = ENSO_MAX_SLOTS,
        .report_bytes = enso__cuda_report_bytes,
        .begin = enso__cuda_lane_begin,
        .finish = enso__cuda_lane_finish,
        .done = enso__cuda_lane_done,
        .drain = enso__cuda_lane_drain,
        .run = enso__cuda_lane_run,
        .tune = enso__cuda_tune,
        .computes = enso__cuda_computes,
        .round_up = enso__captures_round_up,
        .captures_free = enso__captures_free,
        .lane_stats = enso__cuda_lane_stats,
        .program_begin = enso__cuda_program_begin,
        .program_end = enso__cuda_program_end,
        .device_state = enso__cuda_device_state,
        .device_metrics = enso__cuda_device_metrics,
    };

    /* in this order: a table of another ABI may have nothing behind its first member */
    if (given->abi != ENSO_BACKEND_ABI || given->layout != ENSO_BACKEND_LAYOUT ||
        strcmp(given->signature, ENSO_HOST_SIGNATURE) != 0)
        return NULL;
    enso__host_use(given);
    return &backend;
}
