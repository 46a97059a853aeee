/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA module as the daemon sees it, over the emulated runtime: what it says when there is no
 * card to use, copies of all lengths, threads, and what is left when any call of the runtime fails:
 * an out-of-memory or a refused launch costs one batch, a sticky error the device for good, and
 * neither loses memory.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/host.h"
#include "engine/program/context.h"
#include "engine/program/program.h"

#define MODULE "tests/cuda_emulation/ensod-cuda-emulated.so"

static int open_device(const char *name, struct enso_device **ret, struct enso_error *err)
{
    *ret = NULL;
    return rig_backend()->device_open(&(struct enso_device_options){.name = name}, ret, err);
}

static struct enso_device *device_new(void)
{
    struct enso_device *device;
    struct enso_error err = {0};
    int st = open_device("cuda", &device, &err);

    ck_assert_msg(st == ENSO_OK, "%s", err.message);
    return device;
}

/* NULL when there is none. */
static void *memory_new(struct enso_device *device, size_t size_bytes)
{
    void *memory = NULL;

    return rig_backend()->memory_alloc(device, size_bytes, "memory", &memory, NULL) == ENSO_OK
               ? memory
               : NULL;
}

START_TEST(test_module_names)
{
    struct enso_device *device = device_new();
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
        {"A100", "1:802", "cuda", ENSO_UNAVAILABLE, "does not answer", "nvidia-smi"},
        {"A100", "3:46", "cuda", ENSO_UNAVAILABLE, "is busy", "nvidia-smi"},
        {"A100", "3:2", "cuda", ENSO_NO_MEMORY, "no memory left", "nvidia-smi"},
        {"A100", "launch:209", "cuda", ENSO_UNSUPPORTED, "holds no code", "--with-cuda-arch=80"},
        {"A100", "launch:222", "cuda", ENSO_UNSUPPORTED, "holds no code", "update the driver"},
        {"A100", "launch:700", "cuda", ENSO_UNAVAILABLE, "illegal", "restart"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_device *device;
        struct enso_error err = {0};

        setenv("ENSO_CUDA_EMULATED", rows[i].machine, 1);
        setenv("ENSO_CUDA_EMULATED_FAIL", rows[i].fail, 1);
        ck_assert_int_eq(open_device(rows[i].name, &device, &err), rows[i].status);
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
    ck_assert_int_eq(open_device("cuda", &device, &err), ENSO_UNSUPPORTED);
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
        struct enso_device *device = device_new();
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
        ck_assert_int_eq(open_device("cuda", &device, &err), rows[i].status);
        ENSO_TEST_CONTAINS(err.message, rows[i].word);
        ck_assert_ptr_null(device);
    }
}
END_TEST

START_TEST(test_module_memory_has_an_end)
{
    struct enso_device *device = device_new();
    size_t free_bytes, total_bytes;
    void *memory = memory_new(device, 0);

    ck_assert_ptr_nonnull(memory);
    rig_backend()->memory_free(device, memory);
    rig_backend()->memory_free(device, NULL);
    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    ck_assert_uint_ge(total_bytes, free_bytes);
    ck_assert_uint_gt(free_bytes, 0);
    ck_assert_ptr_null(memory_new(device, total_bytes + 1));
    ck_assert_ptr_null(memory_new(device, SIZE_MAX));
    memory = memory_new(device, 1000);
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
    struct enso_device *device = device_new();
    struct enso_lane *lane = NULL;
    struct enso_error err = {0};
    unsigned char *up[ENSO_ARRAY_SIZE(sizes)], *memory[ENSO_ARRAY_SIZE(sizes)];

    ENSO_TEST_OK((enum enso_status)b->lane_open(device, &lane, &err), &err);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
        up[i] = malloc(sizes[i] + 1);
        ck_assert_ptr_nonnull(up[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            up[i][k] = (unsigned char)(k * 31 + k / 257 + i);
        memory[i] = memory_new(device, sizes[i]);
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

static size_t free_bytes_now(void)
{
    struct enso_device *device = device_new();
    size_t free_bytes, total_bytes;

    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    rig_backend()->device_close(device);
    return free_bytes;
}

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

/* Every call fails once: an error with a sentence, all memory back, and the next life is whole. */
START_TEST(test_module_survives_any_failure)
{
    static const int codes[] = {2 /* memory */, 701 /* out of resources */, 1 /* invalid value */};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(codes); i++) {
        size_t before = free_bytes_now();
        bool through = false;

        for (unsigned n = 1; !through; n++) {
            struct enso_error err = {0};
            char wish[32];
            int st;

            ck_assert_uint_lt(n, 500);
            snprintf(wish, sizeof(wish), "%u:%d", n, codes[i]);
            setenv("ENSO_CUDA_EMULATED_FAIL", wish, 1);
            st = live_once(&err);
            through = getenv("ENSO_CUDA_EMULATED_FAILED") == NULL;
            unsetenv("ENSO_CUDA_EMULATED_FAIL");
            unsetenv("ENSO_CUDA_EMULATED_FAILED");
            if (st != ENSO_OK) {
                ck_assert_int_ne(err.message[0], 0);
                ck_assert(st == ENSO_NO_MEMORY || st == ENSO_DEVICE || st == ENSO_UNAVAILABLE);
            }
            ck_assert_uint_eq(free_bytes_now(), before);
            ck_assert_int_eq(live_once(&err), ENSO_OK);
        }
    }
}
END_TEST

/* ---- a program with two batches on its lane ---- */

#define COLUMNS 1024
#define ALWAYS 1000000000 /* percent: graphs pay, however short launching is here */
#define LARGE 17          /* rows: its copies stand on streams of their own */

struct two {
    struct enso_device *device;
    struct enso_program *program;
    struct enso_context *context;
    struct enso_lane *lane;
};

static float weight(int64_t k, int64_t i)
{
    return (float)(1 + (k * 3 + i) % 5);
}

/* y = x W, z = -x */
static struct enso_graph *two_graph(void)
{
    const struct enso_shape shape = {.rank = 2,
                                     .dims = {{1, ENSO_EXTENT_ITEMS}, enso_dim_fixed(COLUMNS)}};
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = 2, .dims = {2, COLUMNS}};
    struct enso_graph *g = enso_graph_create("two");
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &shape), node, w;

    c.data = enso_alloc(2 * COLUMNS * sizeof(float));
    ck_assert_ptr_nonnull(c.data);
    for (int i = 0; i < 2 * COLUMNS; i++)
        ((float *)c.data)[i] = weight(i / COLUMNS, i % COLUMNS);
    w = enso_graph_add_constant(g, "w", &c);
    node = enso_graph_add_node(g, ENSO_OP_LINEAR, "product", (int[]){x, w}, 2, 1);
    enso_graph_add_output(g, "y", enso_graph_node(g, node)->outputs[0]);
    node = enso_graph_add_node(g, ENSO_OP_NEG, "minus", &x, 1, 1);
    enso_graph_add_output(g, "z", enso_graph_node(g, node)->outputs[0]);
    return g;
}

static int two_open_with(struct two *t, const struct enso_device_options *options,
                         struct enso_error *err)
{
    const struct enso_backend *b = rig_backend();
    int st;

    *t = (struct two){0};
    st = b->device_open(options, &t->device, err);
    if (st == ENSO_OK)
        st = enso_program_create(b, t->device, two_graph(), &t->program, err);
    if (st == ENSO_OK)
        st = enso_context_create(t->program, &t->context, err);
    return st == ENSO_OK ? b->lane_open(t->device, &t->lane, err) : st;
}

static int two_open(struct two *t, unsigned hang_ms, unsigned long_percent, struct enso_error *err)
{
    const struct enso_device_options options = {
        .name = "cuda", .hang_ms = hang_ms, .long_percent = long_percent};

    return two_open_with(t, &options, err);
}

static void two_close(struct two *t)
{
    enso_context_destroy(t->context);
    rig_backend()->lane_close(t->lane);
    enso_program_unref(t->program);
    rig_backend()->device_close(t->device);
}

static int two_begin(struct two *t, unsigned slot, int64_t n, float seed, struct enso_error *err)
{
    static const bool wanted[] = {true, true};
    struct enso_extents e = {.n_items = n};
    struct enso_tensor x;
    int st = enso_context_stage(t->context, t->lane, slot, &e, &x, err);

    if (st != ENSO_OK)
        return st;
    ck_assert_int_eq(x.dims[0], n);
    for (int64_t i = 0; i < n * COLUMNS; i++)
        ((float *)x.data)[i] = seed + (float)(i % 97);
    return enso_context_begin(t->context, t->lane, slot, &x, wanted, NULL, err);
}

static int two_finish(struct two *t, unsigned slot, int64_t n, float seed, struct enso_error *err)
{
    struct enso_tensor out[2];
    int st = enso_context_finish(t->context, t->lane, slot, out, NULL, err);

    for (int64_t row = 0; st == ENSO_OK && row < n; row++) {
        float want[2] = {0, 0};

        for (int64_t i = 0; i < COLUMNS; i++) {
            float x = seed + (float)((row * COLUMNS + i) % 97);

            want[0] += x * weight(0, i);
            want[1] += x * weight(1, i);
            if (((float *)out[1].data)[row * COLUMNS + i] != -x)
                ck_abort_msg("row %lld, column %lld", (long long)row, (long long)i);
        }
        ck_assert_float_eq(((float *)out[0].data)[2 * row], want[0]);
        ck_assert_float_eq(((float *)out[0].data)[2 * row + 1], want[1]);
    }
    return st;
}

/* Load; batches of several sizes in two slots, each several times, so that they are recorded and
 * run as graphs and memory grows under them; unload. */
static int two_live(struct enso_error *err)
{
    static const int64_t sizes[] = {2, 2, 2, LARGE, 2, LARGE, 3, LARGE, 2, LARGE};
    bool busy[2] = {false, false};
    struct two t;
    int st = two_open(&t, 0, ALWAYS, err);

    for (unsigned i = 0; st == ENSO_OK && i < ENSO_ARRAY_SIZE(sizes); i++) {
        unsigned slot = i % 2;

        if (busy[slot])
            st = two_finish(&t, slot, sizes[i - 2], (float)(i - 2), err);
        busy[slot] = false;
        if (st == ENSO_OK)
            st = two_begin(&t, slot, sizes[i], (float)i, err);
        busy[slot] = st == ENSO_OK;
    }
    for (unsigned i = 0; i < 2; i++)
        if (busy[i]) {
            unsigned last = (unsigned)ENSO_ARRAY_SIZE(sizes) - 2 + i;
            struct enso_tensor out[2];
            int end = st == ENSO_OK ? two_finish(&t, i, sizes[last], (float)last, err)
                                    : enso_context_finish(t.context, t.lane, i, out, NULL, NULL);

            st = st == ENSO_OK ? end : st;
        }
    two_close(&t);
    return st;
}

START_TEST(test_module_two_slots)
{
    struct enso_error err = {0};
    char seed[16];

    snprintf(seed, sizeof(seed), "%d", _i);
    setenv("ENSO_CUDA_EMULATED_SEED", seed, 1); /* the order of what may run in any */
    ENSO_TEST_OK((enum enso_status)two_live(&err), &err);
}
END_TEST

/* Every call fails once, whatever is under way: a sentence, all memory back, the next life whole.
 * Of a card that is lost for good nothing is asked back. */
START_TEST(test_module_two_slots_survive_any_failure)
{
    static const int codes[] = {2 /* memory */, 701 /* out of resources */, 700 /* lost */};
    struct enso_error err = {0};
    bool through = false;
    size_t before;
    unsigned n_failed = 0;

    ENSO_TEST_OK((enum enso_status)two_live(&err), &err); /* what is made once is made */
    before = free_bytes_now();
    for (unsigned n = 1; !through; n++) {
        char wish[32];
        int st;

        ck_assert_uint_lt(n, 2000);
        err = (struct enso_error){0};
        snprintf(wish, sizeof(wish), "%u:%d", n, codes[_i]);
        setenv("ENSO_CUDA_EMULATED_FAIL", wish, 1);
        st = two_live(&err);
        through = getenv("ENSO_CUDA_EMULATED_FAILED") == NULL;
        unsetenv("ENSO_CUDA_EMULATED_FAIL");
        unsetenv("ENSO_CUDA_EMULATED_FAILED");
        n_failed += st != ENSO_OK;
        if (st != ENSO_OK) {
            ck_assert_int_ne(err.message[0], 0);
            ck_assert(st == ENSO_NO_MEMORY || st == ENSO_DEVICE || st == ENSO_UNAVAILABLE);
        }
        if (codes[_i] != 700)
            ck_assert_uint_eq(free_bytes_now(), before);
    }
    ck_assert_uint_gt(n_failed, 50);
    ENSO_TEST_OK((enum enso_status)two_live(&err), &err);
}
END_TEST

static struct enso_lane_stats two_stats(const struct two *t)
{
    struct enso_lane_stats stats;

    rig_backend()->lane_stats(t->lane, &stats);
    return stats;
}

static void two_batch(struct two *t, unsigned slot, int64_t n, float seed)
{
    struct enso_error err = {0};

    ENSO_TEST_OK((enum enso_status)two_begin(t, slot, n, seed, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_finish(t, slot, n, seed, &err), &err);
}

/* A size runs eagerly, is recorded when it comes again, in each slot; memory that moves ends that.
 */
START_TEST(test_module_graphs)
{
    struct enso_error err = {0};
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, ALWAYS, &err), &err);
    for (unsigned i = 0; i < 5; i++)
        two_batch(&t, 0, 8, (float)i);
    ck_assert_uint_eq(two_stats(&t).n_eager, 1);
    ck_assert_uint_eq(two_stats(&t).n_captures, 1);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 4);
    two_batch(&t, 0, 7, 3); /* another size of the same plan */
    ck_assert_uint_eq(two_stats(&t).n_eager, 2);
    two_batch(&t, 0, 8, 4);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 5);
    two_batch(&t, 1, 8, 5); /* another slot: its blocks are new, what was recorded goes */
    two_batch(&t, 1, 8, 6);
    two_batch(&t, 0, 8, 7);
    two_batch(&t, 0, 8, 8);
    ck_assert_uint_eq(two_stats(&t).n_captures, 3);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 7);
    two_batch(&t, 0, LARGE, 9); /* the outputs grow */
    two_batch(&t, 0, 8, 10);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 7);
    two_batch(&t, 0, 8, 11);
    two_batch(&t, 1, 8, 12);
    two_batch(&t, 1, 8, 13);
    ck_assert_uint_eq(two_stats(&t).n_captures, 5);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 9);
    for (int64_t n = 1; n <= 100; n++) /* more sizes than are kept: the old ones go */
        for (int i = 0; i < 2; i++)
            two_batch(&t, 0, n, (float)n);
    two_close(&t);
}
END_TEST

/* What cannot be recorded runs launch by launch, and is not tried again: whether a launch was
 * refused or the recording. */
START_TEST(test_module_graph_refused)
{
    static const char *const wishes[] = {"launch:701", "launch:900", "launch:901"};
    struct enso_error err = {0};
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, ALWAYS, &err), &err);
    two_batch(&t, 0, 8, 1);
    setenv("ENSO_CUDA_EMULATED_FAIL", wishes[_i], 1); /* the first launch of the recording */
    two_batch(&t, 0, 8, 2);
    ck_assert_ptr_nonnull(getenv("ENSO_CUDA_EMULATED_FAILED"));
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    two_batch(&t, 0, 8, 3);
    two_batch(&t, 0, 8, 4);
    ck_assert_uint_eq(two_stats(&t).n_captures, 0);
    ck_assert_uint_eq(two_stats(&t).n_eager, 4);
    two_batch(&t, 0, 9, 5); /* other sizes are */
    two_batch(&t, 0, 9, 6);
    ck_assert_uint_eq(two_stats(&t).n_captures, 1);
    two_close(&t);
}
END_TEST

/* Twice as many sizes as are kept, in no order: those that are recorded stay, the others run launch
 * by launch. Recording costs more than it saves once. */
START_TEST(test_module_graphs_stay)
{
    struct enso_error err = {0};
    uint32_t random = 1;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, ALWAYS, &err), &err);
    two_batch(&t, 0, 128, 1);
    for (unsigned i = 0; i < 800; i++) {
        random = random * 1664525 + 1013904223;
        two_batch(&t, 0, 65 + (int64_t)(random >> 26), (float)i);
    }
    ck_assert_uint_lt(two_stats(&t).n_captures, 50);
    ck_assert_uint_gt(two_stats(&t).n_graph_launches, 300);
    two_close(&t);
}
END_TEST

static uint64_t memory_taken(const struct two *t)
{
    struct enso_device_metrics m;

    rig_backend()->device_metrics(t->device, &m);
    ck_assert_uint_le(m.weight_bytes + m.arena_bytes + m.lane_bytes, m.limit_bytes);
    return m.weight_bytes + m.arena_bytes + m.lane_bytes;
}

/* Recordings count under gpu_memory: where it is short those that were not used for long make room;
 * where there is no room for one, batches run launch by launch. */
START_TEST(test_module_graphs_in_little_memory)
{
    static const struct {
        uint64_t room_kib;
        bool recorded;
    } cases[] = {{150, true}, {10, false}};
    struct enso_device_options options = {.name = "cuda", .long_percent = ALWAYS};
    struct enso_error err = {0};
    uint64_t bare;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open_with(&t, &options, &err), &err);
    two_batch(&t, 0, 16, 1);
    bare = memory_taken(&t);
    two_batch(&t, 0, 16, 2);
    ck_assert_uint_gt(memory_taken(&t), bare);
    two_close(&t);
    options.memory_bytes = bare + (cases[_i].room_kib << 10);
    ENSO_TEST_OK((enum enso_status)two_open_with(&t, &options, &err), &err);
    for (int i = 0; i < 3; i++) /* sizes of one plan take turns: there is room for two */
        for (int64_t n = 16; n > 8; n--)
            two_batch(&t, 0, n, (float)n);
    (void)memory_taken(&t);
    ck_assert_uint_eq(two_stats(&t).n_captures, cases[_i].recorded ? 2 : 0);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, cases[_i].recorded ? 4 : 0);
    for (int i = 0; i < 1100; i++) /* until the others have not been used for long */
        two_batch(&t, 0, 9, 1);
    ck_assert_uint_eq(two_stats(&t).n_captures, cases[_i].recorded ? 3 : 0);
    (void)memory_taken(&t);
    two_close(&t);
}
END_TEST

/* Batches that take long beside their launches: no graphs. */
START_TEST(test_module_no_graphs_for_long)
{
    struct enso_error err = {0};
    uint64_t before;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, 1, &err), &err);
    for (unsigned i = 0; i < 10; i++) /* until one launch was not interrupted */
        two_batch(&t, 0, LARGE, (float)i);
    before = two_stats(&t).n_eager;
    for (unsigned i = 0; i < 5; i++)
        two_batch(&t, 0, LARGE, (float)i);
    ck_assert_uint_eq(two_stats(&t).n_eager, before + 5);
    two_close(&t);
}
END_TEST

/* The ladder, and where it ends. */
START_TEST(test_module_rounds_up)
{
    static const int64_t rows[][2] = {{1, 16},    {16, 16},     {17, 32},     {127, 128},
                                      {128, 128}, {129, 192},   {192, 192},   {193, 256},
                                      {257, 320}, {1000, 1024}, {1025, 1088}, {2048, 2048}};
    const struct enso_backend *b = rig_backend();

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_extents e = {.n_tokens = rows[i][0], .n_sequences = 3};
        int64_t capacity = 16;

        while (capacity < rows[i][0])
            capacity *= 2;
        b->round_up(NULL, &(struct enso_extents){.n_tokens = capacity, .n_sequences = 64}, &e);
        ck_assert_int_eq(e.n_tokens, ENSO_MIN(rows[i][1], capacity));
        ck_assert_int_eq(e.n_sequences, 64);
    }
    struct enso_extents dense = {.n_items = 5};

    b->round_up(NULL, &(struct enso_extents){.n_items = 8}, &dense);
    ck_assert_int_eq(dense.n_items, 5);
    ck_assert_int_eq(dense.n_tokens, 0);
    ck_assert_int_eq(dense.n_sequences, 0);
}
END_TEST

/* A card that stops answering: the wait ends with a sentence, so does the batch behind, and closing
 * all of it waits for nothing. */
START_TEST(test_module_hangs)
{
    struct enso_error err = {0};
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 1500, ALWAYS, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 0, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 1, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_finish(&t, 0, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_finish(&t, 1, 2, 1, &err), &err);
    setenv("ENSO_CUDA_EMULATED_FAULT", "1:hang", 1);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 0, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 1, 2, 1, &err), &err);
    ck_assert_int_eq(two_finish(&t, 0, 2, 1, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "does not answer");
    enso_error_clear(&err);
    ck_assert_int_eq(two_finish(&t, 1, 2, 1, &err), ENSO_UNAVAILABLE);
    enso_error_clear(&err);
    ck_assert_int_eq(two_begin(&t, 0, 2, 1, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "stays down");
    two_close(&t);
}
END_TEST

struct stuck {
    struct two *two;
    struct enso_error err;
};

static void *begin_and_stick(void *arg)
{
    struct stuck *s = arg;

    if (two_begin(s->two, 0, 2, 1, &s->err) == ENSO_OK)
        (void)two_finish(s->two, 0, 2, 1, &s->err);
    return NULL;
}

/* A launch that does not come back: whoever asks sees that the device is lost. */
START_TEST(test_module_stuck_in_a_launch)
{
    struct enso_device_state state = {0};
    struct enso_error err = {0};
    struct stuck stuck;
    pthread_t thread;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 10, ALWAYS, &err), &err);
    two_batch(&t, 0, 2, 1);
    stuck = (struct stuck){.two = &t};
    setenv("ENSO_CUDA_EMULATED_HANG_MS", "5000", 1);
    setenv("ENSO_CUDA_EMULATED_FAIL", "launch:stuck", 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, begin_and_stick, &stuck), 0);
    for (int i = 0; i < 350 && !state.down; i++) {
        (void)usleep(10000);
        rig_backend()->device_state(t.device, &state);
    }
    ck_assert(state.down);
    ck_assert_int_eq(stuck.err.message[0], 0); /* it is still in there */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ENSO_TEST_CONTAINS(stuck.err.message, "stays down");
    two_close(&t);
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
    void *memory = memory_new(r.device, 64);
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
    ck_assert_ptr_null(memory_new(r.device, 64));
    b->memory_free(r.device, memory);
    rig_done(&r);
}
END_TEST

static enum enso_status open_once(void *context, struct enso_error *err)
{
    struct enso_device *device;
    struct enso_lane *lane = NULL;
    int st = open_device("cuda", &device, err);

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
        void *memory = memory_new(device, sizeof(up));

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
    struct enso_device *device = device_new();
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
    tcase_add_loop_test(core, test_module_two_slots, 0, 12);
    tcase_add_test(core, test_module_graphs);
    tcase_add_loop_test(core, test_module_graph_refused, 0, 3);
    tcase_add_test(core, test_module_graphs_stay);
    tcase_add_test(core, test_module_stuck_in_a_launch);
    tcase_add_loop_test(core, test_module_graphs_in_little_memory, 0, 2);
    tcase_add_test(core, test_module_no_graphs_for_long);
    tcase_add_test(core, test_module_rounds_up);
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
    tcase_add_test(errors, test_module_survives_any_failure);
    tcase_add_loop_test(errors, test_module_two_slots_survive_any_failure, 0, 3);
    tcase_add_test(errors, test_module_hangs);
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
    const char *build = getenv("top_builddir"), *sanitized = getenv("ENSOD_TEST_SANITIZED");
    char path[4096];

    snprintf(path, sizeof(path), "%s/" MODULE, build != NULL ? build : ".");
    if (access(path, R_OK) != 0) {
        printf("SKIP: %s was not built (it needs a C++ compiler)\n", path);
        return 77;
    }
    if (sanitized != NULL && strcmp(sanitized, "thread") == 0) /* the rest would take it minutes */
        setenv("CK_RUN_CASE", "threads", 0);
    setenv("ENSO_TEST_BACKEND", path, 1);
    unsetenv("ENSO_CUDA_EMULATED");
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    return enso_test_main(suite);
}
