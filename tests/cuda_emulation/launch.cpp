/* SPDX-License-Identifier: Apache-2.0
 *
 * A launch: refused where the card would refuse it, else put into its stream; when its turn comes
 * it runs to its end block after block, in an order drawn by the seed. Counts what each kernel did;
 * with ENSO_CUDA_EMULATED_COUNTERS set the table is written to stderr when the process ends.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>

#include <unordered_map>

namespace enso_emulated
{

running_launch launched;

namespace
{
std::unordered_map<const void *, kernel> kernels;
thread_local const char *next_name;
uint64_t n_launches;

struct order {
    uint64_t n, left, at, step;
};

order blocks;

uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* All blocks once: a start and a step without a common divisor with their number. */
void shuffle_blocks(uint64_t n)
{
    uint64_t random = seed() ^ (launched.number << 20);

    blocks = {n, n, 0, 1};
    if (seed() == 0 || n < 2)
        return;
    blocks.at = random_next(&random) % n;
    do {
        blocks.step = 1 + random_next(&random) % (n - 1);
    } while (common_divisor(blocks.step, n) != 1);
}

/* The first argument of enso_launch, with its template arguments. */
void copy_name(char *to, size_t size, const char *arguments)
{
    int depth = 0;
    size_t n = 0;

    for (; arguments[n] != '\0' && (arguments[n] != ',' || depth > 0) && n + 1 < size; n++) {
        depth += arguments[n] == '<' || arguments[n] == '(';
        depth -= arguments[n] == '>' || arguments[n] == ')';
        to[n] = arguments[n];
    }
    to[n] = '\0';
}

void print_counters(void)
{
    fprintf(stderr, "%-48s %10s %12s %14s %12s %14s %14s %14s %14s %14s %14s %14s %14s %18s\n",
            "kernel", "launches", "blocks", "threads", "barriers", "collectives", "global_read",
            "global_written", "shared_read", "shared_written", "shared_phases", "conflicts", "mma",
            "mma_flops");
    for (const auto &entry : kernels) {
        const kernel &k = entry.second;
        const uint64_t columns[] = {k.threads,
                                    k.barriers,
                                    k.collectives,
                                    k.told.global_read,
                                    k.told.global_written,
                                    k.told.shared_read,
                                    k.told.shared_written,
                                    k.told.shared_phases,
                                    k.told.shared_conflicts,
                                    k.told.mma};

        fprintf(stderr, "%-48s %10llu %12llu", k.name, (unsigned long long)k.launches,
                (unsigned long long)k.blocks);
        for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
            fprintf(stderr, i == 1 ? " %12llu" : " %14llu", (unsigned long long)columns[i]);
        fprintf(stderr, " %18llu\n", (unsigned long long)k.told.mma_flops);
    }
}

kernel &kernel_of(const void *function)
{
    kernel &k = kernels[function];

    if (k.function == nullptr) {
        if (kernels.size() == 1 && getenv("ENSO_CUDA_EMULATED_COUNTERS") != nullptr)
            atexit(print_counters);
        k.function = function;
        snprintf(k.name, sizeof(k.name), "at %p", function);
    }
    return k;
}

cudaError_t check_launch(const kernel &k, dim3 grid, dim3 block, size_t dynamic_bytes)
{
    const profile &card = device_profile();

    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0 ||
        grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || block.x > 1024 ||
        block.y > 1024 || block.z > 64 || (uint64_t)block.x * block.y * block.z > 1024)
        return cudaErrorInvalidConfiguration;
    if (dynamic_bytes > (k.max_dynamic > 0 ? k.max_dynamic : card.shared_per_block) ||
        k.static_bytes + dynamic_bytes >
            (k.max_dynamic > 0 ? card.shared_optin : card.shared_per_block))
        return cudaErrorInvalidValue;
    return cudaSuccess;
}

/* Where the largest alignment of a parameter finds its own. */
std::shared_ptr<void> copy_arguments(const kernel_call &call)
{
    constexpr size_t ALIGNMENT = 64;
    void *copy =
        aligned_alloc(ALIGNMENT, (call.argument_bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);

    if (copy == nullptr)
        report_launch("no memory for a kernel's arguments");
    memcpy(copy, call.arguments, call.argument_bytes);
    return {copy, free};
}

} // namespace

const kernel *kernel_named(const char *name)
{
    for (const auto &entry : kernels)
        if (strcmp(entry.second.name, name) == 0)
            return &entry.second;
    return nullptr;
}

bool next_block(void)
{
    if (blocks.left == 0)
        return false;
    blockIdx.x = (unsigned)(blocks.at % gridDim.x);
    blockIdx.y = (unsigned)(blocks.at / gridDim.x % gridDim.y);
    blockIdx.z = (unsigned)(blocks.at / gridDim.x / gridDim.y);
    blocks.at = (blocks.at + blocks.step) % blocks.n;
    blocks.left--;
    return true;
}

void name_next_launch(const char *arguments)
{
    next_name = arguments;
}

cudaError_t set_max_dynamic_shared(const void *kernel, int bytes)
{
    runtime_hold hold(runtime_lock);
    auto &k = kernel_of(kernel);

    if (bytes < 0 || (size_t)bytes + k.static_bytes > device_profile().shared_optin)
        return answer(cudaErrorInvalidValue);
    k.max_dynamic = (size_t)bytes;
    return cudaSuccess;
}

__attribute__((weak)) cudaError_t failure_now(bool)
{
    return cudaSuccess;
}

cudaError_t launch(const kernel_call &call, dim3 grid, dim3 block, size_t dynamic_bytes,
                   cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    kernel &k = kernel_of(call.kernel);
    cudaError_t error;
    operation op;

    if (next_name != nullptr)
        copy_name(k.name, sizeof(k.name), next_name);
    next_name = nullptr;
    if (stream == nullptr) {
        launched.running = &k;
        report_launch("launched on the default stream, which orders all others");
    }
    error = failure_now(true);
    if (error == cudaSuccess)
        error = device_state();
    if (error == cudaSuccess && !stream_is_good(stream))
        error = cudaErrorInvalidResourceHandle;
    if (error == cudaSuccess)
        error = check_launch(k, grid, block, dynamic_bytes);
    if (error != cudaSuccess)
        return answer(error);
    op.what = action::launch;
    op.function = &k;
    op.grid = grid;
    op.block = block;
    op.dynamic_bytes = dynamic_bytes;
    op.invoke = call.invoke;
    op.arguments = copy_arguments(call);
    op.argument_bytes = call.argument_bytes;
    return answer(stream_put(stream, std::move(op)));
}

void launch_run(const operation &op)
{
    kernel &k = *op.function;

    launched.running = &k;
    gridDim = op.grid;
    blockDim = op.block;
    launched.call = {k.function, op.invoke, op.arguments.get(), op.argument_bytes};
    launched.dynamic_bytes = op.dynamic_bytes;
    launched.number = ++n_launches;
    shuffle_blocks((uint64_t)op.grid.x * op.grid.y * op.grid.z);
    k.launches++;
    k.blocks += blocks.n;
    k.threads += blocks.n * op.block.x * op.block.y * op.block.z;
    report_arm();
    run_grid(op.block.x * op.block.y * op.block.z);
    memory_check_edges();
    report_disarm();
    launched.last = &k;
    launched.running = nullptr;
}

} // namespace enso_emulated
