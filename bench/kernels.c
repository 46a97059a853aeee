/* SPDX-License-Identifier: Apache-2.0
 *
 * Speed of the CPU kernels as GFLOP/s and as a share of the FMA peak measured right before and
 * after each row, because a shared machine's clock moves. Weights rotate through 48 MB, so that
 * they come from memory as in a model and not from a warm cache. Not installed; see
 * bench/README.md.
 *
 *     bench/kernels [threads] [isa]
 */
#include "ensod_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/backend.h"

#define ROTATE_BYTES ((size_t)48 << 20)
#define SECONDS 0.25
#define MAX_NODES 512

static const struct enso_backend *cpu;
static struct enso_device *device;
static struct enso_lane *lane;
static unsigned n_threads = 1;

static void die(const char *what, const struct enso_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static double now(void)
{
    return (double)enso_clock_now_ns() * 1e-9;
}

#if defined(__x86_64__)
/* Twelve independent sums, as many as the micro-kernel has. */
__attribute__((target("avx2,fma"))) static double fma_peak(void)
{
    typedef float vec __attribute__((vector_size(32)));
    vec s[12], a, b;
    double best = 0;

    for (int i = 0; i < 8; i++) {
        a[i] = 1.0000001f;
        b[i] = 1e-9f;
    }
    memset(s, 0, sizeof(s));
    for (int round = 0; round < 5; round++) {
        double start = now();

        for (int n = 0; n < 1000000; n++)
            __asm__ volatile("vfmadd231ps %12, %13, %0\n vfmadd231ps %12, %13, %1\n"
                             "vfmadd231ps %12, %13, %2\n vfmadd231ps %12, %13, %3\n"
                             "vfmadd231ps %12, %13, %4\n vfmadd231ps %12, %13, %5\n"
                             "vfmadd231ps %12, %13, %6\n vfmadd231ps %12, %13, %7\n"
                             "vfmadd231ps %12, %13, %8\n vfmadd231ps %12, %13, %9\n"
                             "vfmadd231ps %12, %13, %10\n vfmadd231ps %12, %13, %11\n"
                             : "+x"(s[0]), "+x"(s[1]), "+x"(s[2]), "+x"(s[3]), "+x"(s[4]),
                               "+x"(s[5]), "+x"(s[6]), "+x"(s[7]), "+x"(s[8]), "+x"(s[9]),
                               "+x"(s[10]), "+x"(s[11])
                             : "x"(a), "x"(b));
        double rate = 1000000.0 * 12 * 16 / (now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}
#else
static double fma_peak(void)
{
    return 0;
}
#endif

static float *floats(size_t n)
{
    float *p = enso_alloc_aligned(64, (n + 16) * sizeof(float));

    if (p == NULL)
        exit(1);
    for (size_t i = 0; i < n; i++)
        p[i] = (float)((i * 2654435761u) % 1000) * 0.002f - 1;
    return p;
}

static int constant(struct enso_graph *g, const char *name, size_t rank, const int64_t *dims)
{
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = (uint8_t)rank};
    size_t n = 1;

    for (size_t i = 0; i < rank; i++) {
        c.dims[i] = dims[i];
        n *= (size_t)dims[i];
    }
    c.data = floats(n);
    return enso_graph_add_constant(g, name, &c);
}

/* A graph of one node, bound n_copies times: each copy has weights of its own. */
struct subject {
    struct enso_graph *graph;
    int node;
    size_t n_copies;
    struct enso_bound *bound[MAX_NODES];
    struct enso_tensor tensors[3]; /* x, second input or unused, y */
    void *workspace;
    double flops;
};

static void input(struct subject *s, enum enso_dtype dtype, size_t rank, const int64_t *dims,
                  int *ret_value, struct enso_tensor *ret)
{
    struct enso_shape shape = {.rank = (uint8_t)rank};
    size_t n = 1;

    *ret = (struct enso_tensor){.dtype = dtype, .rank = (uint8_t)rank};
    for (size_t i = 0; i < rank; i++) {
        shape.dims[i] = enso_dim_fixed(dims[i]);
        ret->dims[i] = dims[i];
        n *= (size_t)dims[i];
    }
    ret->data = floats(n);
    *ret_value =
        enso_graph_add_input(s->graph, dtype == ENSO_DTYPE_F32 ? "x" : "starts", dtype, &shape);
}

static void measure(struct subject *s, const char *label)
{
    struct enso_error err = {0};
    const struct enso_extents none = {0, 0, 0};
    static const int inputs[4] = {0, 1, ENSO_NO_VALUE, ENSO_NO_VALUE}, outputs[1] = {2};
    const struct enso_node *node = enso_graph_node(s->graph, s->node);

    if (enso_graph_infer(s->graph, &err) != ENSO_OK)
        die("infer", &err);
    for (size_t i = 0; i < s->n_copies; i++)
        if (cpu->bind(device, s->graph, s->node, &s->bound[i], &err) != ENSO_OK)
            die("bind", &err);
    const struct enso_value *v = enso_graph_value(s->graph, node->outputs[0]);
    struct enso_tensor *y = &s->tensors[2];
    *y = (struct enso_tensor){.dtype = v->dtype, .rank = v->shape.rank};
    for (size_t d = 0; d < y->rank; d++)
        y->dims[d] = enso_dim_at(v->shape.dims[d], &none);
    y->data = floats((size_t)enso_tensor_count(y));

    struct enso_step step = {
        .inputs = inputs, .outputs = outputs, .n_inputs = 2, .n_outputs = 1, .bound = s->bound[0]};
    if (cpu->memory_alloc(device, cpu->workspace_bytes(s->bound[0], &step, s->tensors),
                          "a workspace", &s->workspace, NULL) != ENSO_OK)
        abort();
    struct enso_run run = {.steps = &step,
                           .n_steps = 1,
                           .tensors = s->tensors,
                           .extents = &none,
                           .workspace = s->workspace};
    double before = fma_peak(), start = now(), spent = 0;
    size_t n = 0;

    do {
        step.bound = s->bound[n++ % s->n_copies];
        if (cpu->run(lane, &run, &err) != ENSO_OK)
            die("run", &err);
        if (n == s->n_copies) { /* warm: begin to count */
            start = now();
        }
        spent = now() - start;
    } while (n <= s->n_copies || spent < SECONDS);
    double rate = s->flops * (double)(n - s->n_copies) / spent * 1e-9, peak = fma_peak();

    peak = (peak > before ? peak : before) * n_threads;
    printf("%-34s %8.1f GFLOP/s  %5.1f %% of %.0f  %9.3f ms\n", label, rate, 100 * rate / peak,
           peak, spent / (double)(n - s->n_copies) * 1e3);
    fflush(stdout);
    for (size_t i = 0; i < s->n_copies; i++)
        cpu->unbind(device, s->bound[i]);
    for (size_t i = 0; i < 3; i++)
        enso_free(s->tensors[i].data);
    cpu->memory_free(device, s->workspace);
    enso_graph_destroy(s->graph);
}

static size_t copies(size_t weight_bytes)
{
    size_t n = ROTATE_BYTES / (weight_bytes + 1) + 1;

    return n > MAX_NODES ? MAX_NODES : n;
}

static void linear(int64_t m, int64_t k, int64_t n, enum enso_activation activation)
{
    struct subject s = {.graph = enso_graph_create("linear"),
                        .n_copies = copies((size_t)(k * n) * 4)};
    int x;
    char label[64];

    input(&s, ENSO_DTYPE_F32, 2, (const int64_t[]){m, k}, &x, &s.tensors[0]);
    int w = constant(s.graph, "w", 2, (const int64_t[]){n, k});
    int b = constant(s.graph, "b", 1, (const int64_t[]){n});
    s.tensors[1] = (struct enso_tensor){.rank = 2, .dims = {n, k}};
    s.node = enso_graph_add_node(s.graph, ENSO_OP_LINEAR, "linear", (const int[]){x, w, b}, 3, 1);
    enso_graph_set_int(s.graph, s.node, "activation", activation);
    s.flops = 2.0 * (double)m * (double)k * (double)n;
    snprintf(label, sizeof(label), "linear M=%lld %lldx%lld%s", (long long)m, (long long)k,
             (long long)n, activation == ENSO_ACTIVATION_GELU ? " gelu" : "");
    measure(&s, label);
}

static void attention(int64_t tokens, int64_t heads, int64_t size)
{
    struct subject s = {.graph = enso_graph_create("attention"), .n_copies = 1};
    int x, starts;
    char label[64];

    input(&s, ENSO_DTYPE_F32, 2, (const int64_t[]){tokens, 3 * heads * size}, &x, &s.tensors[0]);
    input(&s, ENSO_DTYPE_I32, 1, (const int64_t[]){2}, &starts, &s.tensors[1]);
    ((int32_t *)s.tensors[1].data)[0] = 0;
    ((int32_t *)s.tensors[1].data)[1] = (int32_t)tokens;
    s.node = enso_graph_add_node(s.graph, ENSO_OP_ATTENTION, "attention", (const int[]){x, starts},
                                 2, 1);
    enso_graph_set_int(s.graph, s.node, "heads", heads);
    enso_graph_set_int(s.graph, s.node, "size", size);
    s.flops = 4.0 * (double)tokens * (double)tokens * (double)heads * (double)size;
    snprintf(label, sizeof(label), "attention S=%lld, %lld heads of %lld", (long long)tokens,
             (long long)heads, (long long)size);
    measure(&s, label);
}

static void conv(int64_t c, int64_t h, int64_t m, int64_t k, int64_t stride, int64_t group)
{
    struct subject s = {.graph = enso_graph_create("conv"), .n_copies = 4};
    int x;
    char label[64];

    input(&s, ENSO_DTYPE_F32, 4, (const int64_t[]){1, h, h, c}, &x, &s.tensors[0]);
    int w = constant(s.graph, "w", 4, (const int64_t[]){m, c / group, k, k});
    int b = constant(s.graph, "b", 1, (const int64_t[]){m});
    s.tensors[1] = (struct enso_tensor){.rank = 4, .dims = {m, c / group, k, k}};
    s.node = enso_graph_add_node(s.graph, ENSO_OP_CONV_FUSED, "conv", (const int[]){x, w, b}, 3, 1);
    enso_graph_set_ints(s.graph, s.node, "kernel_shape", (const int64_t[]){k, k}, 2);
    enso_graph_set_ints(s.graph, s.node, "strides", (const int64_t[]){stride, stride}, 2);
    enso_graph_set_ints(s.graph, s.node, "pads", (const int64_t[]){k / 2, k / 2, k / 2, k / 2}, 4);
    enso_graph_set_int(s.graph, s.node, "group", group);
    enso_graph_set_int(s.graph, s.node, "activation", ENSO_ACTIVATION_RELU);
    int64_t out = (h + 2 * (k / 2) - k) / stride + 1;
    s.flops = 2.0 * (double)(out * out * m) * (double)(c / group * k * k);
    snprintf(label, sizeof(label), "conv %lldx%lld->%lld %lldx%lld/%lld%s", (long long)c,
             (long long)h, (long long)m, (long long)k, (long long)k, (long long)stride,
             group > 1 ? " depthwise" : "");
    measure(&s, label);
}

int main(int argc, char **argv)
{
    static const int64_t ms[] = {1, 8, 32, 128, 512};
    static const int64_t shapes[][2] = {{384, 384}, {384, 1536}, {768, 3072}};
    struct enso_error err = {0};

    n_threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    struct enso_device_options options = {
        .name = "cpu", .n_threads = n_threads, .isa = argc > 2 ? argv[2] : "auto"};
    cpu = enso_backend_cpu();
    if (cpu->device_open(&options, &device, &err) != ENSO_OK ||
        cpu->lane_open(device, &lane, &err) != ENSO_OK)
        die("device", &err);
    struct enso_device_info info;
    cpu->device_info(device, &info);
    printf("%s\n", info.description);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(shapes); i++)
        for (size_t j = 0; j < ENSO_ARRAY_SIZE(ms); j++)
            linear(ms[j], shapes[i][0], shapes[i][1], ENSO_ACTIVATION_NONE);
    linear(128, 384, 1536, ENSO_ACTIVATION_GELU);
    attention(128, 12, 32);
    attention(512, 12, 32);
    attention(128, 12, 64);
    conv(64, 56, 64, 3, 1, 1);
    conv(256, 14, 256, 3, 1, 1);
    linear(56 * 56, 64, 256, ENSO_ACTIVATION_NONE); /* what a convolution of 1x1 becomes */
    conv(3, 224, 64, 7, 2, 1);
    conv(96, 56, 96, 3, 1, 96);
    cpu->lane_close(lane);
    cpu->device_close(device);
    return 0;
}
