/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA module as the daemon sees it, over the emulated runtime: what it says when there is no
 * card to use, copies of all lengths, threads, and what is left when any call of the runtime fails:
 * an out-of-memory or a refused launch costs one batch, a sticky error the device for good, and
 * neither loses memory.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/module_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/host.h"
#include "engine/program/program.h"

START_TEST(test_module_names)
{
    struct enso_device *device = module_device_new();
    struct enso_device_info info;

    ck_assert_uint_eq(rig_backend()->abi, ENSO_BACKEND_ABI);
    ck_assert_str_eq(rig_backend()->name, "cuda-emulated");
    rig_backend()->device_info(device, &info);
    ck_assert_str_eq(info.name, "cuda-emulated:0");
    ENSO_TEST_CONTAINS(info.description, "A100");
    ENSO_TEST_CONTAINS(info.description, "sm_80");
    ck_assert(info.batch_invariant);
    rig_backend()->device_close(device);
    rig_backend()->device_close(NULL);
    rig_backend()->lane_close(NULL);
    rig_backend()->unbind(NULL, NULL);
}
END_TEST

START_TEST(test_module_other_version)
{
    /* all that a daemon with ABI 2 had before its functions, and what aligns them: nothing behind
     * it may be read */
    const uint32_t two[2] = {2, 0};
    struct enso_host old = *enso_host();

    ck_assert_ptr_null(rig_entry()((const struct enso_host *)(const void *)two));
    old.abi = ENSO_BACKEND_ABI + 1;
    ck_assert_ptr_null(rig_entry()(&old));
    old = *enso_host();
    old.layout++;
    ck_assert_ptr_null(rig_entry()(&old));
    old = *enso_host();
    old.signature = "enso_status enso_error_vset();";
    ck_assert_ptr_null(rig_entry()(&old));
    ck_assert_ptr_nonnull(rig_entry()(enso_host()));
    ck_assert_uint_eq(rig_entry()(enso_host())->layout, ENSO_BACKEND_LAYOUT);
}
END_TEST

/* Every way there is no card: a status, and a sentence with the remedy. */
START_TEST(test_module_refusals)
{
    static const struct {
        const char *machine, *fail, *name;
        enum enso_status status;
        const char *word, *remedy;
    } rows[] = {
        {"no-driver", "", "cuda", ENSO_NOT_FOUND, "no NVIDIA driver", "install it"},
        {"old-driver", "", "cuda", ENSO_UNAVAILABLE, "driver is too old", "update the driver"},
        {"none", "", "cuda", ENSO_NOT_FOUND, "no NVIDIA GPU", "--device cpu"},
        {"A100", "", "cuda:3", ENSO_NOT_FOUND, "there is no cuda:3", "the last is cuda:0"},
        {"A100", "", "cuda:x", ENSO_INVALID, "'cuda:x'", "write cuda:0"},
        {"A100", "", "cuda:1x", ENSO_INVALID, "'cuda:1x'", "write cuda:0"},
        {"A100", "", "cuda:99999999999999999999", ENSO_INVALID, "no GPU", "write cuda:0"},
        {"A100", "2:802", "cuda", ENSO_UNAVAILABLE, "does not answer", "nvidia-smi"},
        {"A100", "4:46", "cuda", ENSO_UNAVAILABLE, "is busy", "nvidia-smi"},
        {"A100", "4:2", "cuda", ENSO_NO_MEMORY, "no memory left", "nvidia-smi"},
        {"A100", "launch:209", "cuda", ENSO_UNSUPPORTED, "holds no code", "--with-cuda-arch=80"},
        {"A100", "launch:222", "cuda", ENSO_UNSUPPORTED, "holds no code", "update the driver"},
        {"A100", "launch:218", "cuda", ENSO_UNSUPPORTED, "holds no code", "--with-cuda-arch=80"},
        {"A100", "launch:223", "cuda", ENSO_UNSUPPORTED, "holds no code", "--with-cuda-arch=80"},
        {"A100", "launch:700", "cuda", ENSO_UNAVAILABLE, "illegal", "started again"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_device *device;
        struct enso_error err = {0};

        setenv("ENSO_CUDA_EMULATED", rows[i].machine, 1);
        setenv("ENSO_CUDA_EMULATED_FAIL", rows[i].fail, 1);
        ck_assert_int_eq(module_open(rows[i].name, &device, &err), rows[i].status);
        ENSO_TEST_CONTAINS(err.message, rows[i].word);
        ENSO_TEST_CONTAINS(err.message, rows[i].remedy);
        ck_assert_ptr_null(device);
    }
}
END_TEST

/* A card from before the first that kernels are built for. */
START_TEST(test_module_old_card)
{
    struct enso_device *device;
    struct enso_error err = {0};

    setenv("ENSO_CUDA_EMULATED", "V100", 1);
    ck_assert_int_eq(module_open("cuda", &device, &err), ENSO_UNSUPPORTED);
    ENSO_TEST_CONTAINS(err.message, "Tesla V100");
    ENSO_TEST_CONTAINS(err.message, "is too old: kernels need sm_75 or later");
    ENSO_TEST_CONTAINS(err.message, "--device cpu");
    ck_assert_ptr_null(device);
}
END_TEST

/* A newer card computes in bfloat16; not where it is to be taken for an older one, nor where the
 * module holds nothing newer than that one's code, which a driver makes run on any later card. */
START_TEST(test_module_taken_as_older)
{
    static const struct {
        const char *asked, *code, *said;
        bool newer;
    } rows[] = {
        {"", "80", "sm_80, ", true},       {"75", "80", ", as sm_75", false},
        {"", "75", ", as sm_75", false},   {"90", "80", "sm_80, ", true},
        {"75", "75", ", as sm_75", false},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_device_info info;

        setenv("ENSO_CUDA_ARCHITECTURE", rows[i].asked, 1);
        setenv("ENSO_CUDA_EMULATED_CODE", rows[i].code, 1);
        struct enso_device *device = module_device_new();
        ck_assert_int_eq(rig_backend()->computes(device, ENSO_OP_LINEAR, ENSO_DTYPE_BF16),
                         rows[i].newer);
        rig_backend()->device_info(device, &info);
        ENSO_TEST_CONTAINS(info.description, rows[i].said);
        ck_assert_int_eq(strstr(info.description, ", as ") != NULL, !rows[i].newer);
        rig_backend()->device_close(device);
    }
}
END_TEST

START_TEST(test_module_taken_as_nonsense)
{
    static const struct {
        const char *asked;
        enum enso_status status;
        const char *word;
    } rows[] = {
        {"sm_75", ENSO_INVALID, "write a number such as 75"},
        {"75x", ENSO_INVALID, "'75x'"},
        {"-75", ENSO_INVALID, "ENSO_CUDA_ARCHITECTURE"},
        {"70", ENSO_UNSUPPORTED, "as sm_70) is too old"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_device *device;
        struct enso_error err = {0};

        setenv("ENSO_CUDA_ARCHITECTURE", rows[i].asked, 1);
        ck_assert_int_eq(module_open("cuda", &device, &err), rows[i].status);
        ENSO_TEST_CONTAINS(err.message, rows[i].word);
        ck_assert_ptr_null(device);
    }
}
END_TEST

START_TEST(test_module_memory_has_an_end)
{
    struct enso_device *device = module_device_new();
    size_t free_bytes, total_bytes;
    void *memory = module_memory_new(device, 0);

    ck_assert_ptr_nonnull(memory);
    rig_backend()->memory_free(device, memory);
    rig_backend()->memory_free(device, NULL);
    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    ck_assert_uint_ge(total_bytes, free_bytes);
    ck_assert_uint_gt(free_bytes, 0);
    ck_assert_ptr_null(module_memory_new(device, total_bytes + 1));
    ck_assert_ptr_null(module_memory_new(device, SIZE_MAX));
    memory = module_memory_new(device, 1000);
    ck_assert_ptr_nonnull(memory);
    rig_backend()->memory_free(device, memory);
    rig_backend()->device_close(device);
}
END_TEST

START_TEST(test_module_too_large_model)
{
    const int64_t k = 4096, n = 1024;
    float *x = calloc((size_t)(k * n), sizeof(*x));
    struct rig r;

    ck_assert_ptr_nonnull(x);
    setenv("ENSO_CUDA_EMULATED_MEMORY", "8388608", 1);
    rig_init(&r, "cuda", 1);
    rig_input(&r, ENSO_DTYPE_F32, 2, DIMS(1, k), x);
    rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(k, n), x);
    rig_node(&r, ENSO_OP_LINEAR, 1);
    enso_graph_set_int(r.graph, r.node, "transposed", 0);
    ck_assert_int_eq(rig_try_bind(&r), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(r.err.message, "16.0 MiB"); /* what it needs */
    ENSO_TEST_CONTAINS(r.err.message, "8.0 MiB");  /* what there is */
    rig_done(&r);
    free(x);
}
END_TEST

/* Weights that are stored in half their size need no more room than that. */
START_TEST(test_module_half_a_model_fits)
{
    enum { K = 4096, N = 1024 };
    const struct enso_device_options options = {.name = "cuda", .memory_bytes = 12 << 20};
    const struct enso_shape shape = {.rank = 2,
                                     .dims = {{1, ENSO_EXTENT_ITEMS}, enso_dim_fixed(K)}};
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = 2, .dims = {N, K}};
    struct enso_graph *g = enso_graph_create("half");
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_BF16, &shape), node, w;
    struct enso_program *program = NULL;
    struct enso_device *device = NULL;
    struct enso_error err = {0};

    c.data = enso_alloc_zero(K * N, sizeof(float));
    ck_assert_ptr_nonnull(c.data);
    w = enso_graph_add_constant(g, "w", &c);
    node = enso_graph_add_node(g, ENSO_OP_LINEAR, "product", (int[]){x, w}, 2, 1);
    enso_graph_add_output(g, "y", enso_graph_node(g, node)->outputs[0]);
    ENSO_TEST_OK((enum enso_status)rig_backend()->device_open(&options, &device, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_program_create(rig_backend(), device, g, &program, &err),
                 &err);
    ck_assert_uint_lt(enso_program_weight_bytes(program), 9 << 20);
    enso_program_unref(program);
    rig_backend()->device_close(device);
}
END_TEST

/* Pinned memory is filled, waited for and reused at 4 MiB. */
START_TEST(test_module_copies)
{
    static const size_t sizes[] = {0,       1,       63,      64,      65,     4194303,
                                   4194304, 4194305, 9000001, 3000000, 3000000};
    const struct enso_backend *b = rig_backend();
    struct enso_device *device = module_device_new();
    struct enso_lane *lane = NULL;
    struct enso_error err = {0};
    unsigned char *up[ENSO_ARRAY_SIZE(sizes)], *memory[ENSO_ARRAY_SIZE(sizes)];

    ENSO_TEST_OK((enum enso_status)b->lane_open(device, &lane, &err), &err);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
        up[i] = malloc(sizes[i] + 1);
        ck_assert_ptr_nonnull(up[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            up[i][k] = (unsigned char)(k * 31 + k / 257 + i);
        memory[i] = module_memory_new(device, sizes[i]);
        ck_assert_ptr_nonnull(memory[i]);
        ENSO_TEST_OK((enum enso_status)b->upload(lane, memory[i], up[i], sizes[i], &err), &err);
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
        unsigned char *down = enso_test_guard_alloc(sizes[i] + 1);

        down[sizes[i]] = 0x77;
        ENSO_TEST_OK((enum enso_status)b->download(lane, down, memory[i], sizes[i], &err), &err);
        ck_assert_mem_eq(down, up[i], sizes[i]);
        ck_assert_uint_eq(down[sizes[i]], 0x77);
        enso_test_guard_free(down, sizes[i] + 1);
        b->memory_free(device, memory[i]);
        free(up[i]);
    }
    b->lane_close(lane);
    b->device_close(device);
}
END_TEST

/* ---- failures of the runtime ---- */

/* A small model's life: bind with weights, run, take the result. */
static int live_once(struct enso_error *err)
{
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct rig r = {0};
    int st = rig_try_init(&r, "cuda", 1);

    if (st == ENSO_OK) {
        rig_input(&r, ENSO_DTYPE_F32, 2, DIMS(2, 4), x);
        rig_constant(&r, ENSO_DTYPE_F32, 2, DIMS(4, 2), x);
        rig_node(&r, ENSO_OP_LINEAR, 1);
        enso_graph_set_int(r.graph, r.node, "transposed", 0);
        st = rig_try_run(&r);
    }
    if (st == ENSO_OK)
        ck_assert_float_eq(((float *)r.outputs[0].data)[3], 5 * 2 + 6 * 4 + 7 * 6 + 8 * 8);
    *err = r.err;
    rig_done(&r);
    return st;
}

/* The same of attention on tensor cores, which asks the card what it holds when it is bound. */
static int live_attention(struct enso_error *err)
{
    enum { TOKENS = 2, SIZE = 32 };
    static const int32_t starts[] = {0, TOKENS};
    uint16_t qkv[TOKENS * 3 * SIZE];
    struct rig r = {0};
    int st = rig_try_init(&r, "cuda", 1);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(qkv); i++)
        qkv[i] = 0x3f80; /* 1 in BF16 */
    if (st == ENSO_OK) {
        rig_input(&r, ENSO_DTYPE_BF16, 2, DIMS(TOKENS, 3 * SIZE), qkv);
        rig_input(&r, ENSO_DTYPE_I32, 1, DIMS(2), starts);
        rig_node(&r, ENSO_OP_ATTENTION, 1);
        enso_graph_set_int(r.graph, r.node, "heads", 1);
        enso_graph_set_int(r.graph, r.node, "size", SIZE);
        st = rig_try_run(&r);
    }
    if (st == ENSO_OK)
        ck_assert_uint_eq(((uint16_t *)r.outputs[0].data)[SIZE], 0x3f80);
    *err = r.err;
    rig_done(&r);
    return st;
}

/* Every call fails once: an error with a sentence, all memory back, and the next life is whole. */
START_TEST(test_module_survives_any_failure)
{
    int (*live)(struct enso_error * err) = _i == 0 ? live_once : live_attention;
    static const int codes[] = {2 /* memory */, 701 /* out of resources */, 1 /* invalid value */};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(codes); i++) {
        size_t before = module_free_bytes();
        bool through = false;

        for (unsigned n = 1; !through; n++) {
            struct enso_error err = {0};

            ck_assert_uint_lt(n, 500);
            (void)module_fail_call(n, codes[i], live, &through);
            ck_assert_uint_eq(module_free_bytes(), before);
            ck_assert_int_eq(live(&err), ENSO_OK);
        }
    }
}
END_TEST

/* A lane goes on after a refused launch, and after a batch that is too large. */
START_TEST(test_module_lane_goes_on)
{
    static const float x[4] = {1, 2, 3, 4};
    struct rig r;

    rig_init(&r, "cuda", 1);
    rig_input(&r, ENSO_DTYPE_F32, 1, DIMS(4), x);
    rig_node(&r, ENSO_OP_NEG, 1);
    rig_run(&r);
    setenv("ENSO_CUDA_EMULATED_FAIL", "launch:701", 1);
    ck_assert_int_eq(rig_try_run(&r), ENSO_DEVICE);
    ENSO_TEST_CONTAINS(r.err.message, "Neg 'node'");
    ENSO_TEST_CONTAINS(r.err.message, "refused");
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    enso_error_clear(&r.err);
    rig_run(&r);
    ck_assert_float_eq(((float *)r.outputs[0].data)[3], -4);
    rig_done(&r);
}
END_TEST

/* The device is lost for good: every call says so, and closing all of it does no harm. */
START_TEST(test_module_device_down)
{
    static const float x[4] = {1, 2, 3, 4};
    struct rig r;

    rig_init(&r, "cuda", 1);
    rig_input(&r, ENSO_DTYPE_F32, 1, DIMS(4), x);
    rig_constant(&r, ENSO_DTYPE_F32, 1, DIMS(4), x);
    rig_node(&r, ENSO_OP_ADD, 1);
    rig_run(&r);

    const struct enso_backend *b = rig_backend();
    void *memory = module_memory_new(r.device, 64);
    struct enso_lane *lane = NULL;
    struct enso_bound *bound = NULL;
    char host[64] = {0};

    setenv("ENSO_CUDA_EMULATED_FAIL", "launch:700", 1);
    enso_error_clear(&r.err);
    ck_assert_int_eq(rig_try_run(&r), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(r.err.message, "stays down");
    unsetenv("ENSO_CUDA_EMULATED_FAIL"); /* the device remembers */
    for (int call = 0; call < 5; call++) {
        struct enso_error err = {0};
        int st = call == 0   ? b->upload(r.lane, memory, host, 64, &err)
                 : call == 1 ? b->download(r.lane, host, memory, 64, &err)
                 : call == 2 ? b->lane_open(r.device, &lane, &err)
                 : call == 3 ? b->bind(r.device, r.graph, r.node, &bound, &err)
                             : b->run(r.lane, &(struct enso_run){.n_steps = 0}, &err);

        ck_assert_int_eq(st, ENSO_UNAVAILABLE);
        ENSO_TEST_CONTAINS(err.message, "stays down");
    }
    ck_assert_ptr_null(module_memory_new(r.device, 64));
    b->memory_free(r.device, memory);
    rig_done(&r);
}
END_TEST

static enum enso_status open_once(void *context, struct enso_error *err)
{
    struct enso_device *device;
    struct enso_lane *lane = NULL;
    int st = module_open("cuda", &device, err);

    (void)context;
    if (st == ENSO_OK)
        st = rig_backend()->lane_open(device, &lane, err);
    rig_backend()->lane_close(lane);
    rig_backend()->device_close(device);
    return (enum enso_status)st;
}

START_TEST(test_module_without_memory)
{
    ck_assert_uint_ge(enso_test_oom_sweep(open_once, NULL), 3);
}
END_TEST

/* ---- threads ---- */

static void *copy_in_a_lane(void *arg)
{
    const struct enso_backend *b = rig_backend();
    struct enso_device *device = arg;
    struct enso_lane *lane = NULL;
    bool right = b->lane_open(device, &lane, NULL) == ENSO_OK;

    for (unsigned i = 0; right && i < 20; i++) {
        unsigned up[1000], down[1000];
        void *memory = module_memory_new(device, sizeof(up));

        for (unsigned k = 0; k < 1000; k++)
            up[k] = k * i;
        right = memory != NULL && b->upload(lane, memory, up, sizeof(up), NULL) == ENSO_OK &&
                b->download(lane, down, memory, sizeof(down), NULL) == ENSO_OK &&
                memcmp(up, down, sizeof(up)) == 0;
        b->memory_free(device, memory);
    }
    b->lane_close(lane);
    return right ? device : NULL;
}

START_TEST(test_module_lanes_in_threads)
{
    struct enso_device *device = module_device_new();
    pthread_t threads[4];
    void *right;

    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, copy_in_a_lane, device), 0);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &right), 0);
        ck_assert_ptr_nonnull(right);
    }
    rig_backend()->device_close(device);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cuda_module");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_module_names);
    tcase_add_test(core, test_module_other_version);
    tcase_add_test(core, test_module_copies);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, test_module_memory_has_an_end);
    tcase_add_test(limits, test_module_too_large_model);
    tcase_add_test(limits, test_module_half_a_model_fits);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 240); /* the sweeps */
    tcase_add_test(errors, test_module_refusals);
    tcase_add_test(errors, test_module_old_card);
    tcase_add_test(errors, test_module_taken_as_older);
    tcase_add_test(errors, test_module_taken_as_nonsense);
    tcase_add_loop_test(errors, test_module_survives_any_failure, 0, 2);
    tcase_add_test(errors, test_module_lane_goes_on);
    tcase_add_test(errors, test_module_device_down);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");
    tcase_add_test(oom, test_module_without_memory);
    suite_add_tcase(s, oom);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, test_module_lanes_in_threads);
    suite_add_tcase(s, threads);
    return s;
}

int main(void)
{
    return module_main(suite, "threads");
}
