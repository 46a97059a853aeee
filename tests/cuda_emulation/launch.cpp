/* SPDX-License-Identifier: Apache-2.0
 *
 * A launch: refused where the card would refuse it, else put into its stream; when its turn comes
 * it runs to its end block after block, in an order drawn by the seed. Counts what each kernel did;
 * with ENSO_CUDA_EMULATED_COUNTERS set the table is written to stderr when the process ends, and
 * with ENSO_CUDA_EMULATED_LAUNCHES a line for each launch to that file.
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

/* What a kernel did, in the order of the tables. */
struct column {
    const char *name;
    uint64_t (*of)(const kernel &k);
};
#define COUNT(name)                                                                                \
    {                                                                                              \
#name, [](const kernel &k) { return k.told.name; }                                         \
    }
const column columns[] = {
    {"blocks", [](const kernel &k) { return k.blocks; }},
    {"threads", [](const kernel &k) { return k.threads; }},
    {"barriers", [](const kernel &k) { return k.barriers; }},
    {"collectives", [](const kernel &k) { return k.collectives; }},
    COUNT(global_read),
    COUNT(global_read_moved),
    COUNT(global_read_once),
    COUNT(global_written),
    COUNT(global_written_moved),
    COUNT(global_written_once),
    COUNT(shared_read),
    COUNT(shared_written),
    COUNT(shared_phases),
    COUNT(shared_conflicts),
    COUNT(mma),
    COUNT(mma_flops),
    COUNT(alone),
};
#undef COUNT
void print_counters(void)
{
    fprintf(stderr, "%-48s %10s", "kernel", "launches");
    for (const column &c : columns)
        fprintf(stderr, " %20s", c.name);
    for (const auto &entry : kernels) {
        fprintf(stderr, "\n%-48s %10llu", entry.second.name,
                (unsigned long long)entry.second.launches);
        for (const column &c : columns)
            fprintf(stderr, " %20llu", (unsigned long long)c.of(entry.second));
    }
    fputc('\n', stderr);
}

/* ENSO_CUDA_EMULATED_LAUNCHES: a file that gets a line for each launch, fields between tabs. */
FILE *launches_file(void)
{
    static FILE *file;
    static bool asked;
    const char *path = asked ? nullptr : getenv("ENSO_CUDA_EMULATED_LAUNCHES");

    asked = true;
    if (path == nullptr)
        return file;
    file = fopen(path, "we");
    if (file == nullptr)
        report_launch("cannot write %s, which ENSO_CUDA_EMULATED_LAUNCHES names", path);
    fprintf(file, "kernel\tgrid\tblock\tdynamic_bytes");
    for (const column &c : columns)
        fprintf(file, "\t%s", c.name);
    fputc('\n', file);
    return file;
}

void log_launch(FILE *file, const kernel &before, const kernel &after)
{
    fprintf(file, "%s\t%u,%u,%u\t%u,%u,%u\t%zu", after.name, gridDim.x, gridDim.y, gridDim.z,
            blockDim.x, blockDim.y, blockDim.z, launched.dynamic_bytes);
    for (const column &c : columns)
        fprintf(file, "\t%llu", (unsigned long long)(c.of(after) - c.of(before)));
    fputc('\n', file);
    fflush(file);
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
    const cudaError_t failure = failure_now(false);

    if (failure != cudaSuccess)
        return answer(failure);
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
    const kernel before = k;
    FILE *file = launches_file();

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
    trace_begin_launch();
    run_grid(op.block.x * op.block.y * op.block.z);
    trace_end_launch();
    memory_check_edges();
    report_disarm();
    if (file != nullptr)
        log_launch(file, before, k);
    launched.last = &k;
    launched.running = nullptr;
}

} // namespace enso_emulated
