/* SPDX-License-Identifier: Apache-2.0
 *
 * Device memory of whole models, over the emulated card: a model's weights lie in few pieces of
 * their own and go back with it, loading again and again takes no more, what does not fit is
 * refused with both sizes, and a batch that does not fit costs that batch alone.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model/model.h"
#include "engine/program/program.h"

#define WIDTH 32

#define MODULE "tests/cuda_emulation/ensod-cuda-emulated.so"

static struct enso_device *open_device(uint64_t memory_bytes, unsigned memory_percent)
{
    const struct enso_device_options options = {
        .name = "cuda", .memory_bytes = memory_bytes, .memory_percent = memory_percent};
    struct enso_device *device;
    struct enso_error err = {0};
    int st = rig_backend()->device_open(&options, &device, &err);

    ck_assert_msg(st == ENSO_OK, "%s", err.message);
    return device;
}

static int load(struct enso_device *device, const char *id, struct enso_model **ret_model,
                struct enso_error *err)
{
    char folder[64], *path;
    int st;

    snprintf(folder, sizeof(folder), "models/%s", id);
    path = enso_test_source(folder);
    const struct enso_model_options options = {
        .path = path, .id = id, .backend = rig_backend(), .device = device};
    st = enso_model_load(&options, ret_model, err);
    free(path);
    return st;
}

static struct enso_model *load_well(struct enso_device *device, const char *id)
{
    struct enso_model *model = NULL;
    struct enso_error err = {0};
    int st = load(device, id, &model, &err);

    ck_assert_msg(st == ENSO_OK, "%s", err.message);
    return model;
}

static int run_once(struct enso_model *model, struct enso_lane *lane, double scale,
                    struct enso_error *err)
{
    struct enso_sample *sample = NULL;
    int st = enso_model_warmup_sample(model, scale, &sample, err);

    if (st == ENSO_OK)
        st = enso_model_run(model, lane, &sample, 1, err);
    enso_sample_destroy(sample);
    return st;
}

static struct enso_device_metrics metrics_of(struct enso_device *device)
{
    struct enso_device_metrics metrics;

    rig_backend()->device_metrics(device, &metrics);
    return metrics;
}

/* Bytes of the card that nobody has, as another device on it sees them: a pool's idle memory is not
 * among them. Waits for the pool to give it back. */
static size_t free_bytes_soon(struct enso_device *device, size_t wanted)
{
    size_t free_bytes = 0, total_bytes;

    for (unsigned i = 0; i < 1000 && free_bytes < wanted; i++) {
        rig_backend()->memory_info(device, &free_bytes, &total_bytes);
        if (free_bytes < wanted)
            (void)usleep(10000);
    }
    return free_bytes;
}

/* Hundreds of small weights, in a handful of pieces that are hardly larger than they are. */
START_TEST(test_memory_one_block)
{
    struct enso_device *device = open_device(0, 0);
    struct enso_device_metrics before = metrics_of(device), with;
    struct enso_model *model = load_well(device, "embeddings");
    uint64_t weights = enso_model_info(model)->weight_bytes;

    with = metrics_of(device);
    ck_assert_uint_gt(weights, 1 << 20);
    ck_assert_uint_le(with.n_allocations - before.n_allocations, 4);
    /* weights counts what the host keeps beside them, too */
    ck_assert_uint_ge(with.weight_bytes - before.weight_bytes, weights - weights / 100);
    ck_assert_uint_le(with.weight_bytes - before.weight_bytes, weights + weights / 4 + (1 << 20));
    enso_model_unref(model);
    with = metrics_of(device);
    ck_assert_uint_eq(with.weight_bytes, before.weight_bytes);
    ck_assert_uint_eq(with.arena_bytes, before.arena_bytes);
    ck_assert_uint_eq(with.n_allocations, before.n_allocations);
    rig_backend()->device_close(device);
}
END_TEST

/* Load, run, unload, again and again: no byte more than the first time, and all of it back. */
START_TEST(test_memory_flat)
{
    struct enso_device *device = open_device(0, 0), *other = open_device(0, 0);
    struct enso_device_metrics before = metrics_of(device), first = before, now;
    struct enso_lane *lane = NULL;
    struct enso_error err = {0};
    size_t free_bytes, total_bytes;

    rig_backend()->memory_info(other, &free_bytes, &total_bytes);
    for (unsigned cycle = 0; cycle < 5; cycle++) {
        struct enso_model *model = load_well(device, "intents");

        ENSO_TEST_OK((enum enso_status)rig_backend()->lane_open(device, &lane, &err), &err);
        ENSO_TEST_OK((enum enso_status)run_once(model, lane, 1, &err), &err);
        now = metrics_of(device);
        ck_assert_uint_gt(now.arena_bytes, 0);
        if (cycle == 0)
            first = now;
        ck_assert_uint_eq(now.weight_bytes, first.weight_bytes);
        ck_assert_uint_eq(now.arena_bytes, first.arena_bytes);
        ck_assert_uint_eq(now.n_allocations, first.n_allocations);
        enso_model_forget_lane(model, lane);
        rig_backend()->lane_close(lane);
        enso_model_unref(model);
        now = metrics_of(device);
        ck_assert_uint_eq(now.weight_bytes, before.weight_bytes);
        ck_assert_uint_eq(now.arena_bytes, 0);
        ck_assert_uint_eq(now.lane_bytes, before.lane_bytes);
        ck_assert_uint_eq(now.n_allocations, before.n_allocations);
        ck_assert_uint_ge(free_bytes_soon(other, free_bytes), free_bytes);
    }
    rig_backend()->device_close(other);
    rig_backend()->device_close(device);
}
END_TEST

/* A card without memory pools: the same by plain allocations. */
START_TEST(test_memory_without_pools)
{
    struct enso_device *device;
    struct enso_device_metrics before;

    setenv("ENSO_CUDA_EMULATED_POOLS", "0", 1);
    device = open_device(0, 0);
    before = metrics_of(device);
    for (unsigned cycle = 0; cycle < 2; cycle++) {
        struct enso_model *model = load_well(device, "fashion");

        ck_assert_uint_gt(metrics_of(device).weight_bytes, before.weight_bytes);
        ck_assert_uint_le(metrics_of(device).n_allocations - before.n_allocations, 4);
        enso_model_unref(model);
        ck_assert_uint_eq(metrics_of(device).n_allocations, before.n_allocations);
    }
    rig_backend()->device_close(device);
}
END_TEST

/* One model goes while the other stays: none of their memory is shared. */
START_TEST(test_memory_models_apart)
{
    struct enso_device *device = open_device(0, 0);
    struct enso_device_metrics before = metrics_of(device), alone;
    struct enso_model *a = load_well(device, "intents"), *b;
    struct enso_lane *lane = NULL;
    struct enso_error err = {0};

    alone = metrics_of(device);
    b = load_well(device, "embeddings");
    enso_model_unref(a);
    ENSO_TEST_OK((enum enso_status)rig_backend()->lane_open(device, &lane, &err), &err);
    ENSO_TEST_OK((enum enso_status)run_once(b, lane, 0.1, &err), &err);
    enso_model_forget_lane(b, lane);
    rig_backend()->lane_close(lane);
    a = load_well(device, "intents");
    enso_model_unref(b);
    ck_assert_uint_eq(metrics_of(device).weight_bytes, alone.weight_bytes);
    enso_model_unref(a);
    ck_assert_uint_eq(metrics_of(device).weight_bytes, before.weight_bytes);
    rig_backend()->device_close(device);
}
END_TEST

START_TEST(test_memory_limit)
{
    struct enso_device *device = open_device(1 << 20, 0);
    struct enso_model *model = NULL;
    struct enso_error err = {0};
    size_t free_bytes, total_bytes;

    ck_assert_uint_eq(metrics_of(device).limit_bytes, 1 << 20);
    ck_assert_int_eq(load(device, "embeddings", &model, &err), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "no room for the model (");
    ENSO_TEST_CONTAINS(err.message, "of the 1.0 MiB of gpu_memory are left");
    ENSO_TEST_CONTAINS(err.message, "of its 40960.0 MiB free");
    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    ck_assert_uint_le(free_bytes, 1 << 20);
    rig_backend()->device_close(device);

    device = open_device(0, 10);
    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    ck_assert_uint_le(metrics_of(device).limit_bytes, total_bytes / 10);
    ck_assert_uint_ge(metrics_of(device).limit_bytes, total_bytes / 11);
    rig_backend()->device_close(device);
}
END_TEST

/* Refused half-way: all that was taken is given back, and a smaller model is served. */
START_TEST(test_memory_refused_model)
{
    char *dir = enso_test_make_dir(), *file = enso_test_format("%s/wish", dir);
    char *variable = enso_test_format("@%s", file);

    /* Wishes stand in a file: the device's own thread may look while they change. */
    setenv("ENSO_CUDA_EMULATED_FAIL", variable, 1);
    struct enso_device *device = open_device(0, 0);
    struct enso_device_metrics before = metrics_of(device);
    struct enso_error err = {0};
    struct enso_model *model = NULL;
    bool through = false;

    for (unsigned n = 1; !through; n += 7) {
        char wish[32];
        int st;

        snprintf(wish, sizeof(wish), "%u", n);
        enso_test_write_file(file, wish, strlen(wish));
        enso_error_clear(&err);
        st = load(device, "fashion", &model, &err);
        through = getenv("ENSO_CUDA_EMULATED_FAILED") == NULL;
        enso_test_write_file(file, "", 0);
        unsetenv("ENSO_CUDA_EMULATED_FAILED");
        if (st == ENSO_OK)
            model = enso_model_unref(model);
        ck_assert(st == ENSO_OK || err.message[0] != '\0');
        ck_assert_uint_eq(metrics_of(device).weight_bytes, before.weight_bytes);
        ck_assert_uint_eq(metrics_of(device).arena_bytes, 0);
        ck_assert_uint_eq(metrics_of(device).n_allocations, before.n_allocations);
    }
    rig_backend()->device_close(device);
    enso_test_remove_dir(dir);
    free(file);
    free(variable);
}
END_TEST

/* A lane's first run of a text that is short or as long as it may be. */
static int run_in_a_lane(struct enso_device *device, struct enso_model *model, double scale,
                         struct enso_error *err)
{
    struct enso_lane *lane = NULL;
    int st = rig_backend()->lane_open(device, &lane, err);

    if (st == ENSO_OK)
        st = run_once(model, lane, scale, err);
    enso_model_forget_lane(model, lane);
    rig_backend()->lane_close(lane);
    return st;
}

/* An arena that does not fit fails its batch; the next, smaller one runs. */
START_TEST(test_memory_large_batch)
{
    struct enso_device *device = open_device(0, 0);
    struct enso_model *model = load_well(device, "intents");
    struct enso_device_metrics now;
    struct enso_lane *lane = NULL;
    struct enso_error err = {0};
    uint64_t enough;

    ENSO_TEST_OK((enum enso_status)rig_backend()->lane_open(device, &lane, &err), &err);
    ENSO_TEST_OK((enum enso_status)run_once(model, lane, 0.05, &err), &err);
    now = metrics_of(device);
    enough = now.weight_bytes + now.arena_bytes + now.lane_bytes + 1024;
    enso_model_forget_lane(model, lane);
    rig_backend()->lane_close(lane);
    enso_model_unref(model);
    rig_backend()->device_close(device);

    device = open_device(ENSO_MAX(enough, (uint64_t)1 << 20), 0);
    model = load_well(device, "intents");
    for (unsigned i = 0; i < 2; i++) {
        enso_error_clear(&err);
        ck_assert_int_eq(run_in_a_lane(device, model, 1, &err), ENSO_NO_MEMORY);
        ENSO_TEST_CONTAINS(err.message, "of gpu_memory are left");
        enso_error_clear(&err);
        ENSO_TEST_OK((enum enso_status)run_in_a_lane(device, model, 0.05, &err), &err);
    }
    enso_model_unref(model);
    rig_backend()->device_close(device);
}
END_TEST

/* What is promised nobody else gets, and who was promised it gets it again and again. */
START_TEST(test_memory_promise)
{
    struct enso_device *device = open_device(8 << 20, 0);
    struct enso_error err = {0};
    size_t all, now, half, total;
    void *rest = NULL, *kept = NULL;

    rig_backend()->memory_info(device, &all, &total);
    half = all / 2;
    ENSO_TEST_OK((enum enso_status)rig_backend()->promise(device, half, "a batch", &err), &err);
    rig_backend()->memory_info(device, &now, &total);
    ck_assert_uint_eq(now, all - half);
    ck_assert_int_eq(rig_backend()->promise(device, now + 1, "more batches", &err), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "no room for more batches (");
    ck_assert_int_eq(rig_backend()->memory_alloc(device, now + 1, "it", &rest, &err),
                     ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "kept for batches");
    ck_assert_int_eq(rig_backend()->program_begin(device, now + 1, &err), ENSO_NO_MEMORY);
    enso_error_clear(&err);
    ENSO_TEST_OK((enum enso_status)rig_backend()->memory_alloc(device, now, "it", &rest, &err),
                 &err);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(
            rig_backend()->promised_alloc(device, half + 1, half, "a batch", &kept, NULL),
            ENSO_NO_MEMORY);
        ENSO_TEST_OK((enum enso_status)rig_backend()->promised_alloc(device, half, half, "a batch",
                                                                     &kept, &err),
                     &err);
        ck_assert_uint_eq(metrics_of(device).arena_bytes, half + now);
        rig_backend()->memory_free(device, kept);
    }
    rig_backend()->memory_free(device, rest); /* growth beyond a promise, where there is room */
    ENSO_TEST_OK((enum enso_status)rig_backend()->promised_alloc(device, half + 1, half, "a batch",
                                                                 &kept, &err),
                 &err);
    rig_backend()->memory_free(device, kept);
    rig_backend()->promise_end(device, half);
    rig_backend()->memory_info(device, &now, &total);
    ck_assert_uint_eq(now, all);
    ENSO_TEST_OK((enum enso_status)rig_backend()->memory_alloc(device, all, "it", &rest, &err),
                 &err);
    rig_backend()->memory_free(device, rest);
    rig_backend()->device_close(device);
}
END_TEST

/* A device with room for intents, its batches, and so many bytes more; the batches are promised. */
static struct enso_device *open_for_batches(struct enso_model **ret_model,
                                            struct enso_lane **ret_lane, uint64_t max_tokens,
                                            uint64_t more)
{
    struct enso_device *device = open_device(0, 0);
    struct enso_device_metrics now;
    struct enso_error err = {0};
    size_t batches = 0;

    for (int i = 0; i < 2; i++) { /* first without a limit, to see how much that is */
        *ret_model = load_well(device, "intents");
        ENSO_TEST_OK((enum enso_status)rig_backend()->lane_open(device, ret_lane, &err), &err);
        ENSO_TEST_OK(
            (enum enso_status)enso_model_promise(*ret_model, 1, max_tokens, 0, &batches, &err),
            &err);
        ck_assert_uint_gt(batches, 0);
        if (i != 0)
            break;
        now = metrics_of(device);
        enso_model_unref(*ret_model);
        rig_backend()->lane_close(*ret_lane);
        rig_backend()->device_close(device);
        device = open_device(now.weight_bytes + now.lane_bytes + batches + more, 0);
    }
    return device;
}

static uint64_t weights_of(const char *id)
{
    struct enso_device *device = open_device(0, 0);
    uint64_t before = metrics_of(device).weight_bytes, with;
    struct enso_model *model = load_well(device, id);

    with = metrics_of(device).weight_bytes;
    enso_model_unref(model);
    rig_backend()->device_close(device);
    return with - before;
}

/* Weights that come later leave it alone, though nothing of it is used yet. */
START_TEST(test_memory_promise_before_weights)
{
    uint64_t weights = weights_of("fashion"), more = weights / 4 * 3;
    struct enso_model *model, *other = NULL;
    struct enso_lane *lane;
    struct enso_device *device = open_for_batches(&model, &lane, 2048, more);
    struct enso_device_metrics now = metrics_of(device);
    struct enso_error err = {0};

    /* where they would find their place, was it not kept */
    ck_assert_uint_gt(now.limit_bytes - now.weight_bytes - now.lane_bytes, weights + weights / 2);
    ck_assert_int_eq(load(device, "fashion", &other, &err), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "kept for batches");
    enso_error_clear(&err);
    ENSO_TEST_OK((enum enso_status)run_once(model, lane, 1, &err), &err);
    enso_model_forget_lane(model, lane);
    ENSO_TEST_OK((enum enso_status)run_once(model, lane, 1, &err),
                 &err); /* from the same promise */
    enso_model_unref(model);
    other = load_well(device, "fashion");
    enso_model_unref(other);
    rig_backend()->lane_close(lane);
    rig_backend()->device_close(device);
}
END_TEST

/* A batch that grew one part of the context beyond its promise takes nothing of the others'. */
START_TEST(test_memory_promise_by_parts)
{
    enum { MANY = 4 };
    struct enso_sample *samples[MANY];
    struct enso_model *model;
    struct enso_lane *lane;
    struct enso_device *device = open_for_batches(&model, &lane, 0, 16 << 20);
    struct enso_error err = {0};
    size_t free_bytes, total_bytes;
    void *memory = NULL;

    for (size_t i = 0; i < MANY; i++)
        ENSO_TEST_OK((enum enso_status)enso_model_warmup_sample(model, 1, &samples[i], &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_model_run(model, lane, samples, MANY, &err), &err);
    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    ck_assert_uint_lt(free_bytes, 16 << 20); /* it is beyond */
    ENSO_TEST_OK(
        (enum enso_status)rig_backend()->memory_alloc(device, free_bytes, "it", &memory, &err),
        &err);
    ENSO_TEST_OK((enum enso_status)enso_model_begin(model, lane, 0, samples, 1, NULL, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_model_begin(model, lane, 1, samples + 1, 1, NULL, &err),
                 &err);
    ENSO_TEST_OK((enum enso_status)enso_model_finish(model, lane, 0, samples, 1, NULL, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_model_finish(model, lane, 1, samples + 1, 1, NULL, &err),
                 &err);
    for (size_t i = 0; i < MANY; i++)
        enso_sample_destroy(samples[i]);
    enso_model_unref(model);
    rig_backend()->memory_free(device, memory);
    rig_backend()->lane_close(lane);
    rig_backend()->device_close(device);
}
END_TEST

/* ---- threads ---- */

static void *load_and_unload(void *arg)
{
    for (unsigned i = 0; i < 5; i++)
        enso_model_unref(load_well(arg, i % 2 == 0 ? "intents" : "fashion"));
    return NULL;
}

/* A few products: weights that are rounded and copied up, no kernel that runs. */
static struct enso_graph *small_graph(void)
{
    const struct enso_shape shape = {.rank = 2,
                                     .dims = {{1, ENSO_EXTENT_ITEMS}, enso_dim_fixed(WIDTH)}};
    struct enso_graph *g = enso_graph_create("small");
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &shape);

    for (int i = 0; i < 6; i++) {
        struct enso_constant c = {
            .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = 2, .dims = {WIDTH, WIDTH}};
        char name[16];

        snprintf(name, sizeof(name), "w%d", i);
        c.data = enso_alloc_zero(WIDTH * WIDTH, sizeof(float));
        ck_assert_ptr_nonnull(c.data);
        int w = enso_graph_add_constant(g, name, &c);
        int node = enso_graph_add_node(g, ENSO_OP_LINEAR, name, (int[]){x, w}, 2, 1);

        x = enso_graph_node(g, node)->outputs[0];
    }
    enso_graph_add_output(g, "y", x);
    return g;
}

static void *bind_and_let_go(void *arg)
{
    for (unsigned i = 0; i < 150; i++) {
        struct enso_program *program = NULL;
        struct enso_error err = {0};
        int st = enso_program_create(rig_backend(), arg, small_graph(), &program, &err);

        ck_assert_msg(st == ENSO_OK, "%s", err.message);
        enso_program_unref(program);
    }
    return NULL;
}

static void in_threads(void *(*run)(void *))
{
    struct enso_device *device = open_device(0, 0);
    struct enso_device_metrics before = metrics_of(device);
    pthread_t threads[3];

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, device), 0);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(metrics_of(device).weight_bytes, before.weight_bytes);
    ck_assert_uint_eq(metrics_of(device).n_allocations, before.n_allocations);
    rig_backend()->device_close(device);
}

START_TEST(test_memory_threads)
{
    in_threads(load_and_unload);
}
END_TEST

START_TEST(test_memory_threads_of_programs)
{
    in_threads(bind_and_let_go);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cuda_memory");
    TCase *core = tcase_create("core");
    tcase_set_timeout(core, 120);
    tcase_add_test(core, test_memory_one_block);
    tcase_add_test(core, test_memory_flat);
    tcase_add_test(core, test_memory_models_apart);
    tcase_add_test(core, test_memory_without_pools);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_set_timeout(limits, 120);
    tcase_add_test(limits, test_memory_limit);
    tcase_add_test(limits, test_memory_large_batch);
    tcase_add_test(limits, test_memory_promise);
    tcase_add_test(limits, test_memory_promise_before_weights);
    tcase_add_test(limits, test_memory_promise_by_parts);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 120);
    tcase_add_test(errors, test_memory_refused_model);
    suite_add_tcase(s, errors);
    TCase *threads = tcase_create("threads");
    tcase_set_timeout(threads, 120);
    tcase_add_test(threads, test_memory_threads);
    suite_add_tcase(s, threads);
    TCase *programs = tcase_create("programs");
    tcase_add_test(programs, test_memory_threads_of_programs);
    suite_add_tcase(s, programs);
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
    if (sanitized != NULL && strcmp(sanitized, "thread") == 0) { /* each emulated thread is one */
        puts("SKIP: whole models on an emulated card take minutes under ThreadSanitizer");
        setenv("CK_RUN_CASE", "programs", 0);
    }
    setenv("ENSO_TEST_BACKEND", path, 1);
    unsetenv("ENSO_CUDA_EMULATED");
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    unsetenv("ENSO_ARENA_DEBUG");
    return enso_test_main(suite);
}
