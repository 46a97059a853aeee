/* SPDX-License-Identifier: Apache-2.0
 *
 * The CPU backend: fills the contract of engine/backend.h. A device is a choice (threads,
 * instruction set), a lane owns a thread team, a bound node is a struct of its family (the table
 * below) that holds packed weights. Running a batch is a loop over steps through one function
 * pointer each.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct enso_lane {
    struct enso_device *device;
    struct enso_team *team;
};

/* Which family binds an operator; NULL: the backend does not have it. */
static const enso__bind_fn families[ENSO_N_OPS] = {
#define UNARY(name) [ENSO_OP_##name] = enso__bind_unary,
    UNARY(ABS) UNARY(CEIL) UNARY(CLIP) UNARY(ELU) UNARY(ERF) UNARY(EXP) UNARY(FLOOR) UNARY(GELU)
        UNARY(HARD_SIGMOID) UNARY(HARD_SWISH) UNARY(LEAKY_RELU) UNARY(LOG) UNARY(MISH) UNARY(NEG)
            UNARY(NOT) UNARY(RECIPROCAL) UNARY(RELU) UNARY(ROUND) UNARY(SELU) UNARY(SIGMOID)
                UNARY(SIGN) UNARY(SILU) UNARY(SOFTPLUS) UNARY(SOFTSIGN) UNARY(SQRT) UNARY(TANH)
                    UNARY(SIN) UNARY(COS)
#define BINARY(name) [ENSO_OP_##name] = enso__bind_binary,
                        BINARY(ADD) BINARY(SUB) BINARY(MUL) BINARY(DIV) BINARY(POW) BINARY(MOD)
                            BINARY(MAX) BINARY(MIN) BINARY(SUM) BINARY(MEAN) BINARY(PRELU)
                                BINARY(EQUAL) BINARY(LESS) BINARY(LESS_OR_EQUAL) BINARY(GREATER)
                                    BINARY(GREATER_OR_EQUAL) BINARY(AND) BINARY(OR) BINARY(XOR)
#define REDUCE(name) [ENSO_OP_REDUCE_##name] = enso__bind_reduce,
                                        REDUCE(SUM) REDUCE(MEAN) REDUCE(MAX) REDUCE(MIN)
                                            REDUCE(PROD) REDUCE(L1) REDUCE(L2) REDUCE(SUM_SQUARE)
                                                REDUCE(LOG_SUM) REDUCE(LOG_SUM_EXP)
                                                    /* clang-format off */
    [ENSO_OP_CAST] = enso__bind_cast,
    [ENSO_OP_WHERE] = enso__bind_where,
    [ENSO_OP_ARG_MAX] = enso__bind_arg,
    [ENSO_OP_ARG_MIN] = enso__bind_arg,
    [ENSO_OP_TOP_K] = enso__bind_top_k,
    [ENSO_OP_IDENTITY] = enso__bind_copy,
    [ENSO_OP_RESHAPE] = enso__bind_copy,
    [ENSO_OP_FLATTEN] = enso__bind_copy,
    [ENSO_OP_SQUEEZE] = enso__bind_copy,
    [ENSO_OP_UNSQUEEZE] = enso__bind_copy,
    [ENSO_OP_SHAPE] = enso__bind_shape,
    [ENSO_OP_SIZE] = enso__bind_shape,
    [ENSO_OP_TRANSPOSE] = enso__bind_view,
    [ENSO_OP_CONCAT] = enso__bind_join,
    [ENSO_OP_SPLIT] = enso__bind_join,
    [ENSO_OP_SLICE] = enso__bind_view,
    [ENSO_OP_PAD] = enso__bind_pad,
    [ENSO_OP_EXPAND] = enso__bind_view,
    [ENSO_OP_TILE] = enso__bind_view,
    [ENSO_OP_GATHER] = enso__bind_gather,
    [ENSO_OP_CONSTANT_OF_SHAPE] = enso__bind_fill,
    [ENSO_OP_RANGE] = enso__bind_range,
    [ENSO_OP_DEPTH_TO_SPACE] = enso__bind_view,
    [ENSO_OP_SPACE_TO_DEPTH] = enso__bind_view,
    [ENSO_OP_RESIZE] = enso__bind_resize,
    [ENSO_OP_CONV] = enso__bind_conv,
    [ENSO_OP_MAX_POOL] = enso__bind_pool,
    [ENSO_OP_AVERAGE_POOL] = enso__bind_pool,
    [ENSO_OP_GLOBAL_AVERAGE_POOL] = enso__bind_pool,
    [ENSO_OP_GLOBAL_MAX_POOL] = enso__bind_pool,
    [ENSO_OP_BATCH_NORM] = enso__bind_channel_norm,
    [ENSO_OP_INSTANCE_NORM] = enso__bind_channel_norm,
    [ENSO_OP_LRN] = enso__bind_lrn,
    [ENSO_OP_SOFTMAX] = enso__bind_softmax,
    [ENSO_OP_LOG_SOFTMAX] = enso__bind_softmax,
    [ENSO_OP_MATMUL] = enso__bind_matmul,
    [ENSO_OP_GEMM] = enso__bind_gemm,
    [ENSO_OP_LINEAR] = enso__bind_linear,
    [ENSO_OP_CONV_FUSED] = enso__bind_conv_fused,
    [ENSO_OP_ATTENTION] = enso__bind_attention,
    [ENSO_OP_LAYER_NORM] = enso__bind_row_norm,
    [ENSO_OP_RMS_NORM] = enso__bind_row_norm,
    [ENSO_OP_L2_NORMALIZE] = enso__bind_row_norm,
    [ENSO_OP_EMBEDDING] = enso__bind_embedding,
    [ENSO_OP_SEQUENCE_POOL] = enso__bind_sequence_pool,
    [ENSO_OP_PIXELS] = enso__bind_pixels,
    /* clang-format on */
};

static int device_open(const struct enso_device_options *options, struct enso_device **ret_device,
                       struct enso_error *err)
{
    const struct enso_kernels *kernels;
    unsigned n_threads = options->n_threads != 0 ? options->n_threads : enso_team_default_size();

    if (n_threads > ENSO_TEAM_MAX)
        return enso_error_set(err, ENSO_INVALID, "%u threads were asked for; give at most %d",
                              n_threads, ENSO_TEAM_MAX);
    int st = enso_kernels_choose(options->isa, &kernels, err);
    if (st != ENSO_OK)
        return st;
    struct enso_device *device = enso_alloc_zero(1, sizeof(*device));
    if (device == NULL)
        return enso_error_no_memory(err, "the CPU device");
    snprintf(device->name, sizeof(device->name), "%s",
             options->name != NULL ? options->name : "cpu");
    device->n_threads = n_threads;
    device->kernels = kernels;
    *ret_device = device;
    return ENSO_OK;
}

static void device_close(struct enso_device *device)
{
    enso_free(device);
}

static void device_info(const struct enso_device *device, struct enso_device_info *ret_info)
{
    *ret_info = (struct enso_device_info){.n_threads = device->n_threads, .batch_invariant = true};
    snprintf(ret_info->name, sizeof(ret_info->name), "%s", device->name);
    snprintf(ret_info->description, sizeof(ret_info->description), "%s, %u thread%s",
             device->kernels->description, device->n_threads, device->n_threads == 1 ? "" : "s");
}

static int memory_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                        void **ret_memory, struct enso_error *err)
{
    void *memory = enso_alloc_aligned(ENSO_CACHE_LINE, ENSO_MAX(size_bytes, (size_t)1));

    (void)device;
    if (memory == NULL)
        return enso_error_set(err, ENSO_NO_MEMORY, "no room for the %zu bytes of %s", size_bytes,
                              what);
    *ret_memory = memory;
    return ENSO_OK;
}

static void memory_free(struct enso_device *device, void *memory)
{
    (void)device;
    enso_free(memory);
}

static int copy(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                struct enso_error *err)
{
    (void)lane;
    (void)err;
    if (size_bytes > 0)
        memcpy(dst, src, size_bytes);
    return ENSO_OK;
}

/* Operators that only move elements, or convert them, take halves as they take any other type. */
static bool moves_halves(enum enso_op op)
{
    switch (op) {
    case ENSO_OP_CAST:
    case ENSO_OP_WHERE:
    case ENSO_OP_SHAPE:
    case ENSO_OP_SIZE:
    case ENSO_OP_TRANSPOSE:
    case ENSO_OP_CONCAT:
    case ENSO_OP_SPLIT:
    case ENSO_OP_SLICE:
    case ENSO_OP_PAD:
    case ENSO_OP_EXPAND:
    case ENSO_OP_TILE:
    case ENSO_OP_GATHER:
    case ENSO_OP_CONSTANT_OF_SHAPE:
    case ENSO_OP_DEPTH_TO_SPACE:
    case ENSO_OP_SPACE_TO_DEPTH:
        return true;
    default:
        return enso_op_is_view(op);
    }
}

static bool computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    (void)device;
    return (unsigned)op < ENSO_N_OPS && families[op] != NULL &&
           (dtype == ENSO_DTYPE_F32 || (enso_dtype_is_half(dtype) && moves_halves(op)));
}

static int bind(struct enso_device *device, const struct enso_graph *graph, int node,
                struct enso_bound **ret_bound, struct enso_error *err)
{
    const struct enso__bind b = {device, graph, enso_graph_node(graph, node)};
    enso__bind_fn fn = (unsigned)b.node->op < ENSO_N_OPS ? families[b.node->op] : NULL;

    if (fn == NULL)
        return enso__unsupported(&b, err, "the CPU has no kernel for this operator");
    int st = enso__refuse_halves(&b, computes, "the CPU", err);
    return st == ENSO_OK ? fn(&b, ret_bound, err) : st;
}

static void unbind(struct enso_device *device, struct enso_bound *bound)
{
    (void)device;
    enso__bound_free(bound);
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

static int lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                     struct enso_error *err)
{
    struct enso_lane *lane = enso_alloc_zero(1, sizeof(*lane));

    if (lane == NULL)
        return enso_error_no_memory(err, "a lane of the CPU");
    lane->device = device;
    int st = enso_team_create(device->n_threads, &lane->team, err);
    if (st != ENSO_OK) {
        enso_free(lane);
        return st;
    }
    *ret_lane = lane;
    return ENSO_OK;
}

static void lane_close(struct enso_lane *lane)
{
    if (lane == NULL)
        return;
    enso_team_destroy(lane->team);
    enso_free(lane);
}

/* Every tensor that will be touched has memory; *ret_empty: there is nothing to write. */
static int check_step(const struct enso__call *call, bool *ret_empty, struct enso_error *err)
{
    bool empty = true;

    for (size_t i = 0; i < call->step->n_inputs; i++) {
        const struct enso_tensor *t = enso__in(call, i);

        if (t != NULL && t->data == NULL && !packs(call->bound, i) && enso_tensor_count(t) != 0)
            return enso__run_error(call, err, ENSO_INTERNAL, "input %zu has no data", i);
    }
    for (size_t i = 0; i < call->step->n_outputs; i++) {
        const struct enso_tensor *t = enso__out(call, i);

        if (t == NULL || enso_tensor_count(t) == 0)
            continue;
        empty = false;
        if (t->data == NULL)
            return enso__run_error(call, err, ENSO_INTERNAL, "output %zu has no memory", i);
    }
    *ret_empty = empty;
    return ENSO_OK;
}

/* All of it at once: a lane of the processor has one slot, and what begins there ends there. */
static int run_slot(struct enso_lane *lane, unsigned slot, const struct enso_run *run,
                    struct enso_error *err)
{
    (void)slot;
    for (size_t i = 0; i < run->n_steps; i++) {
        const struct enso_step *step = &run->steps[i];
        const struct enso__call call = {.bound = step->bound,
                                        .step = step,
                                        .tensors = run->tensors,
                                        .team = lane->team,
                                        .workspace = run->workspace};
        bool empty = true;
        int st = check_step(&call, &empty, err);

        if (st == ENSO_OK && !empty)
            st = step->bound->run(&call, err);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

static int run(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err)
{
    return run_slot(lane, 0, run, err);
}

static int finish(struct enso_lane *lane, unsigned slot, uint64_t *ret_compute_ns,
                  struct enso_error *err)
{
    (void)lane;
    (void)slot;
    (void)err;
    if (ret_compute_ns != NULL)
        *ret_compute_ns = 0; /* the caller's clock has it all */
    return ENSO_OK;
}

static bool done(struct enso_lane *lane, unsigned slot)
{
    (void)lane;
    (void)slot;
    return true;
}

const struct enso_backend *enso_backend_cpu(void)
{
    static const struct enso_backend backend = {
        .abi = ENSO_BACKEND_ABI,
        .layout = ENSO_BACKEND_LAYOUT,
        .name = "cpu",
        .device_open = device_open,
        .device_close = device_close,
        .device_info = device_info,
        .memory_alloc = memory_alloc,
        .memory_free = memory_free,
        .upload = copy,
        .download = copy,
        .host_memory = true,
        .bind = bind,
        .unbind = unbind,
        .bound_bytes = bound_bytes,
        .packs = packs,
        .workspace_bytes = workspace_bytes,
        .lane_open = lane_open,
        .lane_close = lane_close,
        .n_slots = 1,
        .begin = run_slot,
        .finish = finish,
        .done = done,
        .run = run,
        .computes = computes,
    };

    return &backend;
}
