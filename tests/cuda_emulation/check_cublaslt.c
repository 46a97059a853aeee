/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of the CUDA module by the emulated cuBLASLt (cublaslt.cpp): against double, with every
 * epilogue; which are given to the library and which are not; whose bits depend on how many rows
 * there are; and what is left when any call of the library or of the runtime fails.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/host.h"
#include "engine/ops/ops.h"
#include "kernels/cuda/cublaslt_api.h"

#define FOLDER "tests/cuda_emulation/"

static char library_path[4096];

/* How many products the library has computed in this process. */
static unsigned long n_products(void)
{
    static unsigned long (*count)(void);
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);

    ck_assert_ptr_nonnull(library);
    *(void **)&count = dlsym(library, "enso_cublaslt_emulated_products");
    ck_assert(count != NULL);
    return count();
}

struct product {
    int64_t m, n, k;
    bool transposed, bias, residual, invariant;
    enum enso_activation activation;
};

struct operands {
    float *x, *w, *bias, *residual;
    double *y;
};

static double activated(enum enso_activation activation, double v)
{
    return activation == ENSO_ACTIVATION_RELU && v < 0 ? 0 : v;
}

static void fill_results(const struct product *p, struct operands *o)
{
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0;

            for (int64_t l = 0; l < p->k; l++)
                sum += (double)o->x[i * p->k + l] *
                       (double)o->w[p->transposed ? j * p->k + l : l * p->n + j];
            if (p->bias)
                sum += (double)o->bias[j];
            if (p->residual)
                sum += (double)o->residual[i * p->n + j];
            o->y[i * p->n + j] = activated(p->activation, sum);
        }
}

static struct operands operands_new(const struct product *p)
{
    struct operands o = {rig_random_new((size_t)(p->m * p->k), 1),
                         rig_random_new((size_t)(p->n * p->k), 2), rig_random_new((size_t)p->n, 3),
                         rig_random_new((size_t)(p->m * p->n), 4),
                         malloc((size_t)(p->m * p->n) * sizeof(double))};

    ck_assert_ptr_nonnull(o.y);
    fill_results(p, &o);
    return o;
}

static void operands_free(struct operands *o)
{
    free(o->x);
    free(o->w);
    free(o->bias);
    free(o->residual);
    free(o->y);
}

static void linear(struct rig *r, const struct product *p, const struct operands *o)
{
    rig_input(r, ENSO_DTYPE_F32, 2, DIMS(p->m, p->k), o->x);
    rig_constant(r, ENSO_DTYPE_F32, 2, p->transposed ? DIMS(p->n, p->k) : DIMS(p->k, p->n), o->w);
    if (p->bias)
        rig_constant(r, ENSO_DTYPE_F32, 1, DIMS(p->n), o->bias);
    else if (p->residual)
        rig_absent(r);
    if (p->residual)
        rig_input(r, ENSO_DTYPE_F32, 2, DIMS(p->m, p->n), o->residual);
    rig_node(r, ENSO_OP_LINEAR, 1);
    enso_graph_set_int(r->graph, r->node, "transposed", p->transposed);
    enso_graph_set_int(r->graph, r->node, "activation", p->activation);
}

/* One LINEAR against double; by the library or not. */
static void check_linear(const struct product *p, bool by_library)
{
    struct operands o = operands_new(p);
    unsigned long before = n_products();
    char what[160];
    struct rig r;

    snprintf(what, sizeof(what), "m %d n %d k %d transposed %d bias %d residual %d activation %d",
             (int)p->m, (int)p->n, (int)p->k, p->transposed, p->bias, p->residual, p->activation);
    rig_init(&r, "cuda", 1);
    linear(&r, p, &o);
    rig_run(&r);
    rig_near(what, r.outputs[0].data, o.y, (size_t)(p->m * p->n), 2e-6, 4e-6);
    ck_assert_msg(n_products() - before == by_library, "%s: by whom?", what);
    rig_done(&r);
    operands_free(&o);
}

START_TEST(test_cublaslt_named)
{
    struct rig r;
    struct enso_device_info info;

    rig_init(&r, "cuda", 1);
    rig_backend()->device_info(r.device, &info);
    ENSO_TEST_CONTAINS(info.description, "A100");
    ENSO_TEST_CONTAINS(info.description, "cuBLASLt 13.1.0");
    rig_done(&r);
    setenv("ENSO_TEST_CUBLASLT", "none", 1);
    rig_init(&r, "cuda", 1);
    rig_backend()->device_info(r.device, &info);
    ck_assert_ptr_null(strstr(info.description, "cuBLASLt"));
    rig_done(&r);
}
END_TEST

/* Edges of buckets; leading dimensions that are aligned, and not. */
START_TEST(test_cublaslt_shapes)
{
    static const int64_t ms[] = {1, 7, 16, 17, 24, 100, 129, 400};
    static const int64_t sizes[][2] = {{64, 128}, {2, 768}, {33, 5}, {1, 1}, {130, 70}};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(ms); i++)
        for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++)
            for (int transposed = 0; transposed < 2; transposed++)
                check_linear(&(struct product){.m = ms[i],
                                               .n = sizes[s][0],
                                               .k = sizes[s][1],
                                               .transposed = transposed == 1},
                             true);
}
END_TEST

START_TEST(test_cublaslt_epilogues)
{
    for (unsigned bits = 0; bits < 16; bits++)
        for (int64_t m = 30; m <= 300; m += 270)
            check_linear(&(struct product){.m = m,
                                           .n = 48,
                                           .k = 96,
                                           .transposed = (bits & 1) != 0,
                                           .bias = (bits & 2) != 0,
                                           .residual = (bits & 4) != 0,
                                           .activation = (bits & 8) != 0 ? ENSO_ACTIVATION_RELU
                                                                         : ENSO_ACTIVATION_NONE},
                         true);
}
END_TEST

static struct rig run_linear(const struct product *p, const struct operands *o)
{
    struct rig r;

    rig_init(&r, "cuda", 1);
    linear(&r, p, o);
    if (p->invariant)
        enso_graph_want_batch_invariant(r.graph);
    rig_run(&r);
    return r;
}

/* Numbers that a half type holds, as it holds them; free(). */
static uint16_t *halves_new(enum enso_dtype dtype, float *x, size_t n)
{
    uint16_t *h = malloc((n + 1) * sizeof(*h));

    ck_assert_ptr_nonnull(h);
    (dtype == ENSO_DTYPE_BF16 ? enso_f32_to_bf16 : enso_f32_to_f16)(x, h, n);
    (dtype == ENSO_DTYPE_BF16 ? enso_bf16_to_f32 : enso_f16_to_f32)(h, x, n);
    return h;
}

/* LINEAR in a half type, the result in it or in F32: one rounding. */
static void check_half(enum enso_dtype dtype, const struct product *p, bool wide)
{
    struct operands o = operands_new(p);
    unsigned long before = n_products();
    size_t mn = (size_t)(p->m * p->n), mk = (size_t)(p->m * p->k);
    uint16_t *w = halves_new(dtype, o.w, (size_t)(p->n * p->k)), *x = halves_new(dtype, o.x, mk);
    uint16_t *bias = halves_new(dtype, o.bias, (size_t)p->n);
    uint16_t *residual = halves_new(dtype, o.residual, mn);
    float *got = malloc(mn * sizeof(*got));
    struct rig r;

    ck_assert_ptr_nonnull(got);
    fill_results(p, &o);
    rig_init(&r, "cuda", 1);
    rig_input(&r, dtype, 2, DIMS(p->m, p->k), x);
    rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(p->n, p->k), o.w);
    rig_constant(&r, ENSO_DTYPE_F32, 1, DIMS(p->n), o.bias);
    if (p->residual)
        rig_input(&r, dtype, 2, DIMS(p->m, p->n), residual);
    rig_node(&r, ENSO_OP_LINEAR, 1);
    enso_graph_set_int(r.graph, r.node, "activation", p->activation);
    enso_graph_set_int(r.graph, r.node, "dtype", wide ? ENSO_DTYPE_F32 : dtype);
    rig_run(&r);
    ck_assert_uint_eq(n_products(), before + 1);
    ck_assert_int_eq(r.outputs[0].dtype, wide ? ENSO_DTYPE_F32 : dtype);
    if (wide)
        memcpy(got, r.outputs[0].data, mn * sizeof(*got));
    else
        (dtype == ENSO_DTYPE_BF16 ? enso_bf16_to_f32 : enso_f16_to_f32)(r.outputs[0].data, got, mn);
    rig_near(enso_dtype_name(dtype), got, o.y, mn, 1e-5,
             wide                       ? 1e-5
             : dtype == ENSO_DTYPE_BF16 ? 0x1.02p-8
                                        : 0x1.02p-11);
    rig_done(&r);
    free(w);
    free(x);
    free(bias);
    free(residual);
    free(got);
    operands_free(&o);
}

START_TEST(test_cublaslt_halves)
{
    static const enum enso_dtype types[] = {ENSO_DTYPE_BF16, ENSO_DTYPE_F16};
    static const struct product rows[] = {
        {.m = 20, .n = 40, .k = 64, .transposed = true, .bias = true},
        {.m = 200, .n = 40, .k = 64, .transposed = true, .bias = true, .residual = true},
        {.m = 9,
         .n = 33,
         .k = 21,
         .transposed = true,
         .bias = true,
         .activation = ENSO_ACTIVATION_RELU},
    };

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(types); t++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
            check_half(types[t], &rows[i], false);
            if (!rows[i].residual)
                check_half(types[t], &rows[i], true);
        }
}
END_TEST

/* The last token of each sequence, of one or two: read out of x, then multiplied by the library. */
static void check_starts(const struct product *p)
{
    struct operands o = operands_new(p);
    const enum enso_dtype dtype = ENSO_DTYPE_F16;
    size_t mn = (size_t)(p->m * p->n), mk = (size_t)(p->m * p->k), k = (size_t)p->k, n_tokens = 0;
    uint16_t *w = halves_new(dtype, o.w, (size_t)(p->n * p->k)), *rows = halves_new(dtype, o.x, mk);
    uint16_t *bias = halves_new(dtype, o.bias, (size_t)p->n);
    uint16_t *x = calloc(2 * mk, sizeof(*x));
    int32_t *starts = calloc((size_t)p->m + 1, sizeof(*starts));
    float *got = malloc(mn * sizeof(*got));
    unsigned long before = n_products();
    struct rig r;

    ck_assert(x != NULL && starts != NULL && got != NULL);
    for (size_t i = 0; i < (size_t)p->m; i++) {
        n_tokens += 1 + i % 2;
        starts[i + 1] = (int32_t)n_tokens;
        memcpy(x + (n_tokens - 1) * k, rows + i * k, k * sizeof(*x));
    }
    fill_results(p, &o);
    rig_init(&r, "cuda", 1);
    rig_input(&r, dtype, 2, DIMS((int64_t)n_tokens, p->k), x);
    rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(p->n, p->k), o.w);
    rig_constant(&r, ENSO_DTYPE_F32, 1, DIMS(p->n), o.bias);
    rig_absent(&r);
    rig_input(&r, ENSO_DTYPE_I32, 1, DIMS(p->m + 1), starts);
    rig_node(&r, ENSO_OP_LINEAR, 1);
    enso_graph_set_string(r.graph, r.node, "rows", "last");
    enso_graph_set_int(r.graph, r.node, "activation", p->activation);
    rig_run(&r);
    ck_assert_uint_eq(n_products(), before + 1);
    enso_f16_to_f32(r.outputs[0].data, got, mn);
    rig_near("starts", got, o.y, mn, 1e-5, 0x1.02p-11);
    rig_done(&r);
    free(w);
    free(rows);
    free(bias);
    free(x);
    free(starts);
    free(got);
    operands_free(&o);
}

START_TEST(test_cublaslt_starts)
{
    struct product p = {
        .n = 16, .k = 24, .transposed = true, .bias = true, .activation = ENSO_ACTIVATION_RELU};

    for (p.m = 1; p.m <= 400; p.m *= 20)
        check_starts(&p);
}
END_TEST

/* What the library would compute less exactly stays with our own kernels. */
START_TEST(test_cublaslt_leaves_gelu)
{
    static const enum enso_activation kinds[] = {ENSO_ACTIVATION_GELU, ENSO_ACTIVATION_GELU_TANH,
                                                 ENSO_ACTIVATION_SILU, ENSO_ACTIVATION_CLIP};
    struct product p = {.n = 16, .k = 32, .transposed = true, .bias = true};
    struct operands o = operands_new(&p);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(kinds); i++) {
        unsigned long before = n_products();

        p.activation = kinds[i];
        struct rig r = run_linear(&p, &o);
        ck_assert_uint_eq(n_products(), before);
        rig_done(&r);
    }
    operands_free(&o);
}
END_TEST

/* Gemm's alpha, and a stack of matrices times one of weights. */
START_TEST(test_cublaslt_gemm_and_matmul)
{
    const struct product p = {.m = 30, .n = 40, .k = 50};
    struct operands o = operands_new(&p);
    unsigned long before = n_products();
    struct rig r;

    rig_init(&r, "cuda", 1);
    rig_input(&r, ENSO_DTYPE_F32, 3, DIMS(3, 10, p.k), o.x);
    rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(p.k, p.n), o.w);
    rig_node(&r, ENSO_OP_MATMUL, 1);
    rig_run(&r);
    rig_near("MatMul", r.outputs[0].data, o.y, (size_t)(p.m * p.n), 2e-6, 4e-6);
    rig_done(&r);
    ck_assert_uint_eq(n_products(), before + 1);

    for (int64_t i = 0; i < p.m * p.n; i++)
        o.y[i] = -0.5 * o.y[i] + (double)o.bias[i % p.n];
    rig_init(&r, "cuda", 1);
    rig_input(&r, ENSO_DTYPE_F32, 2, DIMS(p.m, p.k), o.x);
    rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(p.k, p.n), o.w);
    rig_constant(&r, ENSO_DTYPE_F32, 1, DIMS(p.n), o.bias);
    rig_node(&r, ENSO_OP_GEMM, 1);
    enso_graph_set_float(r.graph, r.node, "alpha", -0.5f);
    rig_run(&r);
    rig_near("Gemm", r.outputs[0].data, o.y, (size_t)(p.m * p.n), 2e-6, 4e-6);
    rig_done(&r);
    ck_assert_uint_eq(n_products(), before + 2);
    operands_free(&o);
}
END_TEST

/* The first row's bits for so many rows; computed by the library. */
static void first_row(int64_t m, bool invariant, float y[64])
{
    const struct product p = {
        .m = m, .n = 64, .k = 512, .transposed = true, .invariant = invariant};
    struct operands o = operands_new(&p);
    unsigned long before = n_products();
    struct rig r = run_linear(&p, &o);

    ck_assert_uint_eq(n_products(), before + 1);
    memcpy(y, r.outputs[0].data, 64 * sizeof(float));
    rig_done(&r);
    operands_free(&o);
}

/* One algorithm for a bucket: 65 to 96 rows. Another bucket may have another, as 200 rows do. */
START_TEST(test_cublaslt_same_bucket_same_bits)
{
    float a[64], b[64], c[64];

    first_row(65, false, a);
    first_row(96, false, b);
    first_row(200, false, c);
    ck_assert_mem_eq(a, b, sizeof(a));
    ck_assert_mem_ne(a, c, sizeof(a));
}
END_TEST

/* When it is asked for, one for all. */
START_TEST(test_cublaslt_batch_invariant)
{
    static const int64_t ms[] = {2, 16, 65, 200, 600, 1025};
    float alone[64], y[64];

    first_row(1, true, alone);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(ms); i++) {
        first_row(ms[i], true, y);
        ck_assert_mem_eq(alone, y, sizeof(y));
    }
}
END_TEST

/* ---- errors ---- */

static void refuses(const char *path, enum enso_status status, const char *word)
{
    struct rig r;

    setenv("ENSO_TEST_CUBLASLT", path, 1);
    ck_assert_int_eq(rig_try_init(&r, "cuda", 1), status);
    ENSO_TEST_CONTAINS(r.err.message, word);
    ENSO_TEST_CONTAINS(r.err.message, "option cublaslt");
    rig_done(&r);
}

START_TEST(test_cublaslt_refusals)
{
    refuses("/nowhere/libcublasLt.so.13", ENSO_NOT_FOUND, "there is no file '/nowhere");
    refuses(getenv("ENSO_TEST_BACKEND"), ENSO_UNAVAILABLE, "lacks cublasLt");
    refuses("/dev/null", ENSO_UNAVAILABLE, "cannot be loaded");
    setenv("ENSO_CUBLASLT_EMULATED_VERSION", "111103", 1);
    refuses(library_path, ENSO_UNAVAILABLE, "cuBLASLt 11.11, too old");
    setenv("ENSO_CUBLASLT_EMULATED_VERSION", "140000", 1);
    refuses(library_path, ENSO_UNAVAILABLE, "cuBLASLt 14.0, too new");
}
END_TEST

static size_t free_bytes_now(void)
{
    struct enso_device *device = NULL;
    size_t free_bytes, total_bytes;
    const struct enso_device_options options = {.name = "cuda"};

    ck_assert_int_eq(rig_backend()->device_open(&options, &device, NULL), ENSO_OK);
    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    rig_backend()->device_close(device);
    return free_bytes;
}

/* A small model's life. *ret_products: how many the library computed. */
static int live_once(unsigned long *ret_products, struct enso_error *err)
{
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    unsigned long before = n_products();
    struct rig r = {0};
    int st = rig_try_init(&r, "cuda", 1);

    if (st == ENSO_OK) {
        rig_input(&r, ENSO_DTYPE_F32, 2, DIMS(2, 4), x);
        rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(4, 2), x);
        rig_constant(&r, ENSO_DTYPE_F32, 1, DIMS(2), x);
        rig_node(&r, ENSO_OP_LINEAR, 1);
        enso_graph_set_int(r.graph, r.node, "transposed", 0);
        st = rig_try_run(&r);
    }
    if (st == ENSO_OK)
        ck_assert_float_eq(((float *)r.outputs[0].data)[3], 5 * 2 + 6 * 4 + 7 * 6 + 8 * 8 + 2);
    *err = r.err;
    rig_done(&r);
    *ret_products = n_products() - before;
    return st;
}

/* Every call of runtime and library fails once: either an error with a sentence, or our own kernel
 * computed; all memory back, and the next life is whole. */
START_TEST(test_cublaslt_survives_any_failure)
{
    static const int codes[] = {2 /* memory */, 701 /* out of resources */};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(codes); i++) {
        size_t before = free_bytes_now();
        unsigned n_failed = 0, n_own = 0;
        bool through = false;

        for (unsigned n = 1; !through; n++) {
            struct enso_error err = {0};
            unsigned long products;
            char wish[32];
            int st;

            ck_assert_uint_lt(n, 2000);
            snprintf(wish, sizeof(wish), "%u:%d", n, codes[i]);
            setenv("ENSO_CUDA_EMULATED_FAIL", wish, 1);
            st = live_once(&products, &err);
            through = getenv("ENSO_CUDA_EMULATED_FAILED") == NULL;
            unsetenv("ENSO_CUDA_EMULATED_FAIL");
            unsetenv("ENSO_CUDA_EMULATED_FAILED");
            if (st != ENSO_OK) {
                ck_assert_int_ne(err.message[0], 0);
                ck_assert(st == ENSO_NO_MEMORY || st == ENSO_DEVICE || st == ENSO_UNAVAILABLE);
            }
            n_failed += st != ENSO_OK;
            n_own += st == ENSO_OK && products == 0;
            ck_assert_uint_eq(free_bytes_now(), before);
        }
        /* of the heuristic's 33 answers one counts: that for two rows */
        ck_assert_uint_ge(n_failed, 30);
        ck_assert_uint_ge(n_own, 1);
    }
}
END_TEST

/* A launch that the card refuses costs a batch, an illegal address the device. */
START_TEST(test_cublaslt_launch_fails)
{
    const struct product p = {.m = 8, .n = 16, .k = 16, .transposed = true};
    struct operands o = operands_new(&p);
    struct rig r = run_linear(&p, &o);

    setenv("ENSO_CUDA_EMULATED_FAIL", "launch:701", 1);
    ck_assert_int_eq(rig_try_run(&r), ENSO_DEVICE);
    ENSO_TEST_CONTAINS(r.err.message, "Linear 'node'");
    enso_error_clear(&r.err);
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    rig_run(&r);
    setenv("ENSO_CUDA_EMULATED_FAIL", "launch:700", 1);
    ck_assert_int_eq(rig_try_run(&r), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(r.err.message, "stays down");
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    rig_done(&r);
    operands_free(&o);
}
END_TEST

static enum enso_status open_once(void *context, struct enso_error *err)
{
    const struct enso_backend *b = rig_backend();
    const struct enso_device_options options = {.name = "cuda", .cublaslt = library_path};
    struct enso_device *device = NULL;
    struct enso_lane *lane = NULL;
    int st = b->device_open(&options, &device, err);

    (void)context;
    if (st == ENSO_OK)
        st = b->lane_open(device, &lane, err);
    b->lane_close(lane);
    b->device_close(device);
    return (enum enso_status)st;
}

START_TEST(test_cublaslt_without_memory)
{
    ck_assert_uint_ge(enso_test_oom_sweep(open_once, NULL), 5);
}
END_TEST

/* ---- threads ---- */

/* A device, bind and lane of its own for each; the library and its counters are shared. */
static void *run_in_thread(void *arg)
{
    const struct product *p = arg;
    struct operands o = operands_new(p);

    for (int i = 0; i < 5; i++) {
        struct rig r = run_linear(p, &o);

        rig_near("thread", r.outputs[0].data, o.y, (size_t)(p->m * p->n), 2e-6, 4e-6);
        rig_done(&r);
    }
    operands_free(&o);
    return arg;
}

START_TEST(test_cublaslt_threads)
{
    struct product products[4];
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        products[i] = (struct product){.m = 10 + 40 * i, .n = 32, .k = 64, .transposed = i % 2};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_in_thread, &products[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}
END_TEST

/* ---- the emulated library by itself: does it refuse what the real one refuses? ---- */

#define N 32 /* all matrices are [N, N] */

struct strict {
    struct enso_device *device;
    struct enso_lane *lane;
    struct enso__cublaslt_library l;
    struct enso__lt_handle *handle;
    struct enso__lt_desc *desc;
    struct enso__lt_layout *a, *b, *c, *d;
    struct enso__lt_preference *preference;
    struct enso__lt_algorithm algorithm;
    char *memory[5]; /* A, B, C, D, workspace of 1 MiB */
    int status;      /* of the last question to the heuristic */
};

static void ask(struct strict *s)
{
    struct enso__lt_answer answer;
    int n;

    s->status = s->l.MatmulAlgoGetHeuristic(s->handle, s->desc, s->a, s->b, s->c, s->d,
                                            s->preference, 1, &answer, &n);
    if (s->status == ENSO__LT_SUCCESS)
        s->algorithm = answer.algorithm;
}

static void strict_init(struct strict *s, int type, int compute_type, int scale_type)
{
    const struct enso_device_options options = {.name = "cuda", .cublaslt = library_path};
    const uint64_t workspace_bytes = 1 << 20;
    struct enso_error err = {0};

    *s = (struct strict){.status = -1};
    ck_assert_int_eq(rig_backend()->device_open(&options, &s->device, &err), ENSO_OK);
    ck_assert_int_eq(enso__cublaslt_load(library_path, &s->l, &err), ENSO_OK);
    ck_assert_int_eq(s->l.MatmulDescCreate(&s->desc, compute_type, scale_type), 0);
    struct enso__lt_layout **const layouts[] = {&s->a, &s->b, &s->c, &s->d};
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(s->l.MatrixLayoutCreate(layouts[i], type, N, N, N), 0);
    for (size_t i = 0; i < 5; i++) {
        void *memory = NULL;

        ck_assert_int_eq(rig_backend()->memory_alloc(s->device, i < 4 ? N * N * 4 : 1 << 20, "test",
                                                     &memory, &err),
                         ENSO_OK);
        s->memory[i] = memory;
    }
    int (*use)(void *);
    *(void **)&use = dlsym(dlopen(library_path, RTLD_NOW), "enso_cublaslt_emulated_use");
    ck_assert_int_eq(use(*(void **)&rig_backend()->device_open), 1);
    ck_assert_int_eq(s->l.MatmulPreferenceCreate(&s->preference), 0);
    ck_assert_int_eq(s->l.MatmulPreferenceSetAttribute(s->preference,
                                                       ENSO__LT_PREF_MAX_WORKSPACE_BYTES,
                                                       &workspace_bytes, sizeof(workspace_bytes)),
                     0);
    ck_assert_int_eq(s->l.Create(&s->handle), 0);
    ask(s);
}

static void strict_done(struct strict *s)
{
    ck_assert_int_eq(s->l.MatmulDescDestroy(s->desc), 0);
    ck_assert_int_eq(s->l.MatrixLayoutDestroy(s->a), 0);
    ck_assert_int_eq(s->l.MatrixLayoutDestroy(s->b), 0);
    ck_assert_int_eq(s->l.MatrixLayoutDestroy(s->c), 0);
    ck_assert_int_eq(s->l.MatrixLayoutDestroy(s->d), 0);
    ck_assert_int_eq(s->l.MatmulPreferenceDestroy(s->preference), 0);
    ck_assert_int_eq(s->l.Destroy(s->handle), 0);
    for (size_t i = 0; i < 5; i++)
        rig_backend()->memory_free(s->device, s->memory[i]);
    rig_backend()->device_close(s->device);
}

/* A question to the heuristic that must be refused. */
#define REFUSED(s, want)                                                                           \
    do {                                                                                           \
        ask(s);                                                                                    \
        ck_assert_int_eq((s)->status, want);                                                       \
    } while (0)

START_TEST(test_standin_types)
{
    struct strict s;

    strict_init(&s, ENSO__LT_R_32F, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F);
    ck_assert_int_eq(s.status, ENSO__LT_SUCCESS);
    s.l.MatrixLayoutSetAttribute(s.b, ENSO__LT_LAYOUT_TYPE, &(uint32_t){ENSO__LT_R_16F}, 4);
    REFUSED(&s, ENSO__LT_NOT_SUPPORTED); /* factors of two types */
    strict_done(&s);
    strict_init(&s, 8 /* CUDA_R_8U */, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F);
    ck_assert_int_eq(s.status, ENSO__LT_NOT_SUPPORTED);
    strict_done(&s);
    strict_init(&s, ENSO__LT_R_16F, 64 /* CUBLAS_COMPUTE_16F */, ENSO__LT_R_32F);
    ck_assert_int_eq(s.status, ENSO__LT_NOT_SUPPORTED);
    strict_done(&s);
    strict_init(&s, ENSO__LT_R_16F, ENSO__LT_COMPUTE_32F, ENSO__LT_R_16F);
    ck_assert_int_eq(s.status, ENSO__LT_NOT_SUPPORTED);
    strict_done(&s);
}
END_TEST

START_TEST(test_standin_card)
{
    struct strict s;

    setenv("ENSO_CUDA_EMULATED", "T4", 1);
    strict_init(&s, ENSO__LT_R_16BF, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F);
    ck_assert_int_eq(s.status, ENSO__LT_ARCH_MISMATCH);
    strict_done(&s);
}
END_TEST

START_TEST(test_standin_shapes)
{
    struct strict s;
    const uint64_t rows = N / 2;
    const int64_t ld = N - 1;

    strict_init(&s, ENSO__LT_R_32F, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F);
    ck_assert_int_eq(s.l.MatrixLayoutSetAttribute(s.d, ENSO__LT_LAYOUT_ROWS, &rows, 4),
                     ENSO__LT_INVALID_VALUE); /* 8 bytes */
    ck_assert_int_eq(s.l.MatrixLayoutSetAttribute(s.d, 99, &rows, 8), ENSO__LT_INVALID_VALUE);
    s.l.MatrixLayoutSetAttribute(s.d, ENSO__LT_LAYOUT_ROWS, &rows, 8);
    REFUSED(&s, ENSO__LT_INVALID_VALUE);
    s.l.MatrixLayoutSetAttribute(s.d, ENSO__LT_LAYOUT_ROWS, &(uint64_t){N}, 8);
    s.l.MatrixLayoutSetAttribute(s.a, ENSO__LT_LAYOUT_LD, &ld, 8);
    REFUSED(&s, ENSO__LT_INVALID_VALUE);
    s.l.MatrixLayoutSetAttribute(s.a, ENSO__LT_LAYOUT_LD, &(int64_t){N}, 8);
    ask(&s);
    ck_assert_int_eq(s.status, ENSO__LT_SUCCESS);
    s.l.MatmulDescSetAttribute(s.desc, ENSO__LT_DESC_EPILOGUE, &(uint32_t){2 | 128}, 4);
    REFUSED(&s, ENSO__LT_NOT_SUPPORTED); /* with an auxiliary output */
    s.l.MatmulDescSetAttribute(s.desc, ENSO__LT_DESC_EPILOGUE, &(uint32_t){ENSO__LT_EPILOGUE_BIAS},
                               4);
    s.l.MatmulDescSetAttribute(s.desc, ENSO__LT_DESC_BIAS_DATA_TYPE, &(int32_t){ENSO__LT_R_16F}, 4);
    REFUSED(&s, ENSO__LT_NOT_SUPPORTED); /* a bias of another type than D */
    strict_done(&s);
}
END_TEST

/* D = A·B into memory[3], from addresses `shift` bytes on. */
static int multiply(struct strict *s, size_t shift, float beta, void *workspace, size_t bytes)
{
    const float alpha = 1;
    struct enso__lt_algorithm algorithm = s->algorithm;

    return s->l.Matmul(s->handle, s->desc, &alpha, s->memory[0] + shift, s->a, s->memory[1], s->b,
                       &beta, s->memory[2], s->c, s->memory[3], s->d, &algorithm, workspace, bytes,
                       NULL);
}

START_TEST(test_standin_addresses)
{
    const uint32_t bias = ENSO__LT_EPILOGUE_BIAS;
    const void *host = &bias;
    struct strict s;

    /* few columns: an algorithm that splits sums comes first, and wants a workspace */
    strict_init(&s, ENSO__LT_R_32F, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F);
    ck_assert_int_eq(multiply(&s, 0, 0, s.memory[4], 100), ENSO__LT_INVALID_VALUE);
    ck_assert_int_eq(multiply(&s, 0, 0, NULL, 1 << 20), ENSO__LT_INVALID_VALUE);
    ck_assert_int_eq(multiply(&s, 0, 0, s.memory[4] + 8, (1 << 20) - 256), ENSO__LT_INVALID_VALUE);
    ck_assert_int_eq(multiply(&s, 4, 0, s.memory[4], 1 << 20), ENSO__LT_INVALID_VALUE);
    ck_assert_int_eq(multiply(&s, 16, 0, s.memory[4], 1 << 20),
                     ENSO__LT_INVALID_VALUE); /* aligned, but past the end */
    s.l.MatmulDescSetAttribute(s.desc, ENSO__LT_DESC_EPILOGUE, &bias, sizeof(bias));
    ck_assert_int_eq(multiply(&s, 0, 0, s.memory[4], 1 << 20), ENSO__LT_INVALID_VALUE);
    s.l.MatmulDescSetAttribute(s.desc, ENSO__LT_DESC_BIAS_POINTER, &host, sizeof(host));
    ck_assert_int_eq(multiply(&s, 0, 0, s.memory[4], 1 << 20), ENSO__LT_INVALID_VALUE);
    s.l.MatmulDescSetAttribute(s.desc, ENSO__LT_DESC_EPILOGUE,
                               &(uint32_t){ENSO__LT_EPILOGUE_DEFAULT}, 4);
    s.algorithm = (struct enso__lt_algorithm){{0}};
    ck_assert_int_eq(multiply(&s, 0, 0, s.memory[4], 1 << 20), ENSO__LT_INVALID_VALUE);
    strict_done(&s);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cublaslt");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_cublaslt_named);
    tcase_add_test(core, test_cublaslt_shapes);
    tcase_add_test(core, test_cublaslt_epilogues);
    tcase_add_test(core, test_cublaslt_halves);
    tcase_add_test(core, test_cublaslt_starts);
    tcase_add_test(core, test_cublaslt_leaves_gelu);
    tcase_add_test(core, test_cublaslt_gemm_and_matmul);
    tcase_add_test(core, test_cublaslt_same_bucket_same_bits);
    tcase_add_test(core, test_cublaslt_batch_invariant);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_cublaslt_refusals);
    tcase_add_test(errors, test_cublaslt_survives_any_failure);
    tcase_add_test(errors, test_cublaslt_launch_fails);
    suite_add_tcase(s, errors);
    TCase *standin = tcase_create("standin");
    tcase_add_test(standin, test_standin_types);
    tcase_add_test(standin, test_standin_card);
    tcase_add_test(standin, test_standin_shapes);
    tcase_add_test(standin, test_standin_addresses);
    suite_add_tcase(s, standin);
    TCase *oom = tcase_create("oom");
    tcase_add_test(oom, test_cublaslt_without_memory);
    suite_add_tcase(s, oom);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, test_cublaslt_threads);
    suite_add_tcase(s, threads);
    return s;
}

int main(void)
{
    const char *sanitized = getenv("ENSOD_TEST_SANITIZED");

    if (sanitized != NULL && strcmp(sanitized, "thread") == 0) {
        puts("SKIP: ThreadSanitizer does not see the loader's lock around what dlopen shares");
        return 77;
    }
    const char *build = getenv("top_builddir");
    char folder[2048], module[4096];

    if (realpath(build != NULL ? build : ".", folder) == NULL)
        return 99;
    snprintf(module, sizeof(module), "%s/" FOLDER "ensod-cuda-emulated.so", folder);
    snprintf(library_path, sizeof(library_path), "%s/" FOLDER "libcublasLt-emulated.so", folder);
    if (access(module, R_OK) != 0 || access(library_path, R_OK) != 0) {
        printf("SKIP: %s was not built (it needs a C++ compiler)\n", library_path);
        return 77;
    }
    setenv("ENSO_TEST_BACKEND", module, 1);
    setenv("ENSO_TEST_CUBLASLT", library_path, 1);
    unsetenv("ENSO_CUDA_EMULATED");
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    unsetenv("ENSO_CUBLASLT_EMULATED_VERSION");
    return enso_test_main(suite);
}
