/* SPDX-License-Identifier: Apache-2.0
 *
 * server/device: which device a model comes to. The GPU is a stand-in: the processor's backend,
 * with a bind that refuses or fails as the test wants. Real (emulated) modules: check_cuda.py.
 */
#include "server/device.h"

#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/metrics.h"
#include "batching/scheduler.h"
#include "engine/graph/graph.h"
#include "server/app.h"
#include "server/loop.h"
#include "server/meters.h"
#include "server/registry.h"

static enum enso_status refusal; /* of every convolution on the stand-in */
static unsigned fail_lane;       /* the opening of the stand-in's lane of that number fails */
static _Atomic unsigned n_lanes, n_runs; /* lanes; runs on the newest */
static struct enso_backend gpu;
static struct enso_devices devices;
static struct enso_error err;
static char *path;

static int bind(struct enso_device *device, const struct enso_graph *graph, int node,
                struct enso_bound **ret_bound, struct enso_error *error)
{
    const struct enso_node *n = enso_graph_node(graph, node);

    if (refusal != ENSO_OK && n->op == ENSO_OP_CONV_FUSED)
        return enso_error_set(error, refusal, "%s '%s': not here", enso_op_name(n->op), n->name);
    return enso_backend_cpu()->bind(device, graph, node, ret_bound, error);
}

static int lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                     struct enso_error *error)
{
    n_runs = 0;
    *ret_lane = (struct enso_lane *)8; /* no lane: nobody may touch it after a failure */
    if (++n_lanes == fail_lane)
        return enso_error_set(error, ENSO_NO_MEMORY, "no lane is left");
    return enso_backend_cpu()->lane_open(device, ret_lane, error);
}

static int begin(struct enso_lane *lane, unsigned slot, const struct enso_run *batch,
                 struct enso_error *error)
{
    int st;

    n_runs++;
    if (batch->up.size_bytes > 0)
        memcpy(batch->up.device, batch->up.host, batch->up.size_bytes);
    st = enso_backend_cpu()->begin(lane, slot, batch, error);
    if (st == ENSO_OK && batch->down.size_bytes > 0)
        memcpy(batch->down.host, batch->down.device, batch->down.size_bytes);
    return st;
}

static void staging_free(struct enso_device *device, void *memory)
{
    enso_backend_cpu()->memory_free(device, memory);
}

static bool computes_halves(const struct enso_device *device, enum enso_op op,
                            enum enso_dtype dtype)
{
    (void)device;
    (void)op;
    (void)dtype;
    return true;
}

static enum enso_model_dtype dtype; /* asked for by load */
static const char *wanted;          /* too */

/* What the stand-ins tell: of each place's device in its order. */
static struct enso_device_metrics told[ENSO_MAX_PLACES];
static size_t told_free[ENSO_MAX_PLACES];
static bool told_lost[ENSO_MAX_PLACES];

static size_t place_of(const struct enso_device *device)
{
    for (size_t i = 0; i < devices.n; i++)
        if (devices.places[i].device == device)
            return i;
    return 0;
}

static void device_metrics(struct enso_device *device, struct enso_device_metrics *ret)
{
    *ret = told[place_of(device)];
}

static void memory_info(struct enso_device *device, size_t *ret_free, size_t *ret_total)
{
    *ret_free = told_free[place_of(device)];
    *ret_total = (size_t)1 << 30;
}

static size_t promised[ENSO_MAX_PLACES];

static int promise(struct enso_device *device, size_t size_bytes, const char *what,
                   struct enso_error *error)
{
    size_t i = place_of(device);

    if (size_bytes > told_free[i])
        return enso_error_set(error, ENSO_NO_MEMORY, "no room for %s", what);
    told_free[i] -= size_bytes;
    promised[i] += size_bytes;
    return ENSO_OK;
}

static void promise_end(struct enso_device *device, size_t size_bytes)
{
    told_free[place_of(device)] += size_bytes;
    promised[place_of(device)] -= size_bytes;
}

static void stop_all(void)
{
    while (!enso_devices_stop(&devices))
        (void)usleep(1000);
}

static void device_state(struct enso_device *device, struct enso_device_state *ret)
{
    *ret = (struct enso_device_state){.down = told_lost[place_of(device)], .reason = "it is gone"};
}

static void setup(void)
{
    const struct enso_device_options options = {.name = "gpu:0", .n_threads = 1, .isa = "auto"},
                                     cpu = {.name = "cpu", .n_threads = 1, .isa = "auto"};

    gpu = *enso_backend_cpu();
    gpu.bind = bind;
    gpu.lane_open = lane_open;
    gpu.begin = begin;
    gpu.staging_alloc = gpu.memory_alloc;
    gpu.staging_free = staging_free;
    refusal = ENSO_OK;
    dtype = ENSO_MODEL_DTYPE_AUTO;
    wanted = NULL;
    memset(told, 0, sizeof told);
    memset(told_free, 0, sizeof told_free);
    memset(promised, 0, sizeof promised);
    memset(told_lost, 0, sizeof told_lost);
    fail_lane = 0;
    n_lanes = n_runs = 0;
    err = (struct enso_error){0};
    devices = (struct enso_devices){.n = 2, .gpu_wanted = true};
    devices.places[0] = (struct enso_place){.name = "cuda:0", .backend = &gpu};
    devices.places[1] = (struct enso_place){.name = "cpu", .backend = enso_backend_cpu()};
    ck_assert_int_eq(gpu.device_open(&options, &devices.places[0].device, &err), ENSO_OK);
    ck_assert_int_eq(gpu.device_open(&cpu, &devices.places[1].device, &err), ENSO_OK);
    path = enso_test_source("models/fashion");
}

static void teardown(void)
{
    enso_devices_close(&devices);
    free(path);
}

static int load(struct enso_model **ret_model, struct enso_place **ret_place,
                struct enso_error *ret_fallback)
{
    struct enso_model_options options = {
        .path = path, .id = "fashion", .max_pixels = 1000000, .dtype = dtype};

    *ret_model = NULL;
    *ret_place = NULL;
    return enso_devices_load(&devices, wanted, &options, ret_model, ret_place, ret_fallback, &err);
}

START_TEST(test_device_preferred)
{
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback = {0};

    ENSO_TEST_OK((enum enso_status)load(&model, &place, &fallback), &err);
    ck_assert_ptr_eq(place, &devices.places[0]);
    ck_assert_int_eq(fallback.status, ENSO_OK);
    ck_assert_str_eq(enso_model_info(model)->device, "gpu:0");
    enso_model_unref(model);
}
END_TEST

/* One operator is missing: the whole model goes to the processor, and says which it was. */
START_TEST(test_device_without_a_kernel)
{
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback = {0};

    refusal = ENSO_UNSUPPORTED;
    ENSO_TEST_OK((enum enso_status)load(&model, &place, &fallback), &err);
    ck_assert_ptr_eq(place, &devices.places[1]);
    ck_assert_int_eq(fallback.status, ENSO_UNSUPPORTED);
    ENSO_TEST_CONTAINS(fallback.message, "ensod.Conv '/conv1");
    ENSO_TEST_CONTAINS(fallback.message, "not here");
    ck_assert_str_eq(enso_model_info(model)->device, "cpu");
    enso_model_unref(model);
}
END_TEST

/* The processor computes in fp32: a half type is an error where no GPU was wanted, and told where
 * one was. */
START_TEST(test_device_half_on_the_processor)
{
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback = {0};

    dtype = ENSO_MODEL_DTYPE_BF16;
    refusal = ENSO_UNSUPPORTED;
    gpu.computes = computes_halves;
    ENSO_TEST_OK((enum enso_status)load(&model, &place, &fallback), &err);
    ck_assert_ptr_eq(place, &devices.places[1]);
    ENSO_TEST_CONTAINS(fallback.message,
                       "not here; on the processor it computes in fp32, not in bf16");
    ck_assert_str_eq(enso_model_info(model)->dtype, "float32");
    enso_model_unref(model);

    devices.gpu_wanted = false;
    devices.n = 1; /* the stand-in alone, without halves: device = cpu */
    gpu.computes = enso_backend_cpu()->computes;
    ck_assert_int_eq(load(&model, &place, &fallback), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "dtype bf16 is for GPUs");
    ENSO_TEST_CONTAINS(err.message, "use dtype fp32 or auto");
    enso_error_clear(&err);
    devices.gpu_wanted = true;
    devices.fallback.status = ENSO_NOT_FOUND; /* device = auto, and there is no GPU */
    (void)snprintf(devices.fallback.message, sizeof devices.fallback.message, "no driver");
    fallback = (struct enso_error){0};
    dtype = ENSO_MODEL_DTYPE_FP16;
    refusal = ENSO_OK;
    ENSO_TEST_OK((enum enso_status)load(&model, &place, &fallback), &err);
    ck_assert_str_eq(fallback.message,
                     "no driver; on the processor it computes in fp32, not in fp16");
    enso_model_unref(model);
    devices.fallback = fallback = (struct enso_error){0};
    ENSO_TEST_OK((enum enso_status)load(&model, &place, &fallback), &err);
    ck_assert_str_eq(fallback.message,
                     "there is no GPU; on the processor it computes in fp32, not in fp16");
    enso_model_unref(model);
    devices.n = 2;
}
END_TEST

/* Kernels that lack the type after all: fp32 on the same device, with the reason. */
START_TEST(test_device_half_refused_by_a_kernel)
{
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback = {0};

    gpu.computes = computes_halves; /* its kernels are the processor's */
    ENSO_TEST_OK((enum enso_status)load(&model, &place, &fallback), &err);
    ck_assert_ptr_eq(place, &devices.places[0]);
    ck_assert_int_eq(fallback.status, ENSO_OK);
    ck_assert_str_eq(enso_model_info(model)->dtype, "float32");
    ENSO_TEST_CONTAINS(enso_model_info(model)->dtype_reason,
                       "the CPU does not compute it in FP16"); /* as its weights are stored */
    enso_model_unref(model);
}
END_TEST

/* A card that is full is no reason to be silently slow. */
START_TEST(test_device_other_failures_stay)
{
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback = {0};

    refusal = ENSO_NO_MEMORY;
    ck_assert_int_eq(load(&model, &place, &fallback), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "model 'fashion'");
    ENSO_TEST_CONTAINS(err.message, "not here");
    ck_assert_ptr_null(model);
}
END_TEST

/* Another stand-in for a GPU, before the processor. */
static void add_gpu(const char *name)
{
    const struct enso_device_options options = {.name = name, .n_threads = 1, .isa = "auto"};
    struct enso_place *place = &devices.places[devices.n - 1];

    devices.places[devices.n++] = *place; /* the processor */
    *place = (struct enso_place){.backend = &gpu};
    (void)snprintf(place->name, sizeof place->name, "%s", name);
    ck_assert_int_eq(gpu.device_open(&options, &place->device, &err), ENSO_OK);
}

/* Load it and let it go again; gives the number of its place. */
static size_t goes_to(struct enso_error *ret_fallback)
{
    struct enso_place *place;
    struct enso_model *model;

    *ret_fallback = (struct enso_error){0};
    ENSO_TEST_OK((enum enso_status)load(&model, &place, ret_fallback), &err);
    enso_model_unref(model);
    return (size_t)(place - devices.places);
}

/* Of several GPUs a model goes to the one with the fewest bytes of weights, the first of equals, or
 * to the one it names; not to one that is lost. */
START_TEST(test_device_several)
{
    struct enso_error fallback;

    add_gpu("cuda:1");
    add_gpu("cuda:2");
    gpu.device_metrics = device_metrics;
    gpu.device_state = device_state;
    ck_assert_uint_eq(goes_to(&fallback), 0);
    told[0].weight_bytes = 3;
    told[1].weight_bytes = 2;
    told[2].weight_bytes = 2;
    ck_assert_uint_eq(goes_to(&fallback), 1);
    told[1].weight_bytes = 4;
    ck_assert_uint_eq(goes_to(&fallback), 2);
    told_lost[2] = true;
    ck_assert_uint_eq(goes_to(&fallback), 0);
    wanted = "cuda:1";
    ck_assert_uint_eq(goes_to(&fallback), 1);
    wanted = "cuda:0";
    ck_assert_uint_eq(goes_to(&fallback), 0);
    ck_assert_int_eq(fallback.status, ENSO_OK);

    refusal = ENSO_UNSUPPORTED;
    ck_assert_uint_eq(goes_to(&fallback), 3);
    ENSO_TEST_CONTAINS(fallback.message, "not here");

    refusal = ENSO_UNAVAILABLE; /* of a lost one: only with on_device_lost = cpu */
    wanted = "cuda:2";
    devices.move_lost = true;
    ck_assert_uint_eq(goes_to(&fallback), 3);
    ENSO_TEST_CONTAINS(fallback.message, "not here");
}
END_TEST

/* A model that is to run on the processor is not one that fell back. */
START_TEST(test_device_processor_on_purpose)
{
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback;

    wanted = "cpu";
    devices.fallback.status = ENSO_NOT_FOUND;
    (void)snprintf(devices.fallback.message, sizeof devices.fallback.message, "no driver");
    ck_assert_uint_eq(goes_to(&fallback), 1);
    ck_assert_int_eq(fallback.status, ENSO_OK);
    dtype = ENSO_MODEL_DTYPE_BF16;
    ck_assert_int_eq(load(&model, &place, &fallback), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "use dtype fp32 or auto");
    ck_assert_ptr_eq(enso_devices_find(&devices, "cpu"), &devices.places[1]);
    ck_assert_ptr_eq(enso_devices_find(&devices, "cuda:0"), &devices.places[0]);
    ck_assert_ptr_null(enso_devices_find(&devices, "cuda:1"));
}
END_TEST

/* Lanes' batches must fit beside the weights and other models' batches, or the model is refused
 * with both sizes. What is promised is the model's as long as it lives. */
START_TEST(test_device_more_lanes_than_fit)
{
    struct enso_config_batching batching = {.max_batch_items = 16};
    struct enso_place *place;
    struct enso_model *models[4];
    struct enso_error fallback = {0};
    size_t one;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(models); i++)
        ENSO_TEST_OK((enum enso_status)load(&models[i], &place, &fallback), &err);
    ENSO_TEST_OK((enum enso_status)enso_place_promise(place, models[0], &batching, &err), &err);
    enso_model_unref(models[0]); /* ordinary memory: nothing was asked for */

    gpu.host_memory = false;
    gpu.memory_info = memory_info;
    gpu.promise = promise;
    gpu.promise_end = promise_end;
    told_free[0] = (size_t)1 << 30;
    batching.max_batch_tokens = 1 << 14; /* of texts: pictures have none */
    ENSO_TEST_OK((enum enso_status)enso_place_promise(place, models[1], &batching, &err), &err);
    one = promised[0];
    ck_assert_uint_gt(one, 16 * 28 * 28 * sizeof(float)); /* its inputs alone */
    enso_model_unref(models[1]);
    ck_assert_uint_eq(promised[0], 0);

    place->n_lanes = 3; /* each as much */
    told_free[0] = 3 * one - 1;
    ck_assert_int_eq(enso_place_promise(place, models[2], &batching, &err), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "model 'fashion': no room for batches on cuda:0: its 3 lanes "
                                    "need ");
    ENSO_TEST_CONTAINS(err.message, "use fewer lanes, a smaller max_batch_items, a larger "
                                    "gpu_memory or another device");
    ck_assert_uint_eq(promised[0], 0);
    told_free[0] = 3 * one;
    enso_error_clear(&err);
    ENSO_TEST_OK((enum enso_status)enso_place_promise(place, models[2], &batching, &err), &err);
    ck_assert_uint_eq(promised[0], 3 * one);

    place->n_lanes = 1; /* one item alone is certain to come */
    batching.max_batch_items = 0;
    ck_assert_int_eq(enso_place_promise(place, models[3], &batching, &err), ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "its 1 lane needs ");
    ENSO_TEST_CONTAINS(err.message, "; use a larger gpu_memory or another device");
    enso_model_unref(models[3]);
    ck_assert_uint_eq(promised[0], 3 * one);
    told_lost[0] = true; /* it will run nothing */
    enso_model_unref(models[2]);
    ck_assert_uint_eq(promised[0], 0);
}
END_TEST

START_TEST(test_device_lanes)
{
    ENSO_TEST_OK((enum enso_status)enso_devices_start(&devices, &err), &err);
    ck_assert_ptr_nonnull(devices.places[0].scheduler);
    ck_assert_ptr_nonnull(devices.places[1].scheduler);
    ck_assert_ptr_ne(devices.places[0].scheduler, devices.places[1].scheduler);
    stop_all();
}
END_TEST

START_TEST(test_device_list)
{
    char names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE];

    ck_assert_uint_eq(enso_devices_list(NULL, names), 0);
    ck_assert_uint_eq(enso_devices_list("cpu", names), 1);
    ck_assert_str_eq(names[0], "cpu");
    ck_assert_uint_eq(enso_devices_list("cuda", names), 1);
    ck_assert_str_eq(names[0], "cuda:0");
    ck_assert_uint_eq(enso_devices_list("cuda:07, cuda:1023", names), 2);
    ck_assert_str_eq(names[0], "cuda:7");
    ck_assert_str_eq(names[1], "cuda:1023");
}
END_TEST

START_TEST(test_device_several_lanes)
{
    struct enso_scheduler_stats stats;

    devices.places[0].n_lanes = 3;
    ENSO_TEST_OK((enum enso_status)enso_devices_start(&devices, &err), &err);
    enso_scheduler_stats(devices.places[0].scheduler, 0, &stats);
    ck_assert_uint_eq(stats.n_lanes, 3);
    enso_scheduler_stats(devices.places[1].scheduler, 0, &stats);
    ck_assert_uint_eq(stats.n_lanes, 1);
    stop_all();
}
END_TEST

/* The card has no room for so many lanes: nothing is left open. */
START_TEST(test_device_lanes_do_not_fit)
{
    devices.places[0].n_lanes = 3;
    fail_lane = 2;
    ck_assert_int_eq(enso_devices_start(&devices, &err), ENSO_NO_MEMORY);
    ck_assert_str_eq(err.message, "3 lanes of cuda:0: cannot open a lane: no lane is left; or use "
                                  "fewer lanes");
    ck_assert_ptr_null(devices.places[0].lanes);
}
END_TEST

/* One that nobody asked for by name: the processor serves, and the reason is kept. */
START_TEST(test_device_lanes_of_auto)
{
    devices.automatic = true;
    fail_lane = 1;
    ENSO_TEST_OK((enum enso_status)enso_devices_start(&devices, &err), &err);
    ck_assert_uint_eq(devices.n, 1);
    ck_assert_str_eq(devices.places[0].name, "cpu");
    ck_assert_ptr_nonnull(devices.places[0].scheduler);
    ENSO_TEST_CONTAINS(devices.fallback.message, "no lane is left");
    stop_all();
}
END_TEST

/* No module: by name it is an error, auto goes on and remembers why. */
START_TEST(test_device_open)
{
    struct enso_config config = {.device = "cuda:1", .cuda_module = "/nowhere/ensod-cuda.so"};
    struct enso_devices opened = {0};
    struct enso_place *place;
    struct enso_model *model;
    struct enso_error fallback = {0};
    struct enso_model_options options = {.path = path, .id = "fashion", .max_pixels = 1000000};

    ck_assert_int_eq(enso_devices_open(&config, &opened, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "device 'cuda:1': ");
    ENSO_TEST_CONTAINS(err.message, "/nowhere/ensod-cuda.so");
    ck_assert_uint_eq(opened.n, 0);
    enso_devices_close(&opened);

    enso_error_clear(&err);
    config.device = "auto";
    ENSO_TEST_OK((enum enso_status)enso_devices_open(&config, &opened, &err), &err);
    ck_assert_uint_eq(opened.n, 1);
    ENSO_TEST_CONTAINS(opened.fallback.message, "/nowhere/ensod-cuda.so");
    ENSO_TEST_OK((enum enso_status)enso_devices_load(&opened, NULL, &options, &model, &place,
                                                     &fallback, &err),
                 &err);
    ENSO_TEST_CONTAINS(fallback.message, "/nowhere/ensod-cuda.so");
    enso_model_unref(model);
    enso_devices_close(&opened);

    opened = (struct enso_devices){0};
    config.device = "cpu";
    ENSO_TEST_OK((enum enso_status)enso_devices_open(&config, &opened, &err), &err);
    ck_assert_uint_eq(opened.n, 1);
    ck_assert_int_eq(opened.fallback.status, ENSO_OK);
    enso_devices_close(&opened);
}
END_TEST

/* A file that is there and is no module; a library that is no module. */
START_TEST(test_device_strange_modules)
{
    char *dir = enso_test_make_dir(), *file = enso_test_format("%s/ensod-cuda.so", dir);
    struct enso_config config = {.device = "cuda", .cuda_module = file};
    struct enso_devices opened = {0};

    enso_test_write_file(file, "not ELF", 7);
    ck_assert_int_eq(enso_devices_open(&config, &opened, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "cannot be loaded");
    ck_assert_uint_eq(opened.n, 0);
    enso_test_remove_dir(dir);
    free(file);
}
END_TEST

/* A bare name is a file of the current folder, not one among the system's libraries. */
START_TEST(test_device_module_without_slash)
{
    char *dir = enso_test_make_dir(), *file = enso_test_format("%s/ensod-cuda.so", dir);
    struct enso_config config = {.device = "cuda", .cuda_module = "ensod-cuda.so"};
    struct enso_devices opened = {0};

    enso_test_write_file(file, "not ELF", 7);
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(enso_devices_open(&config, &opened, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "cannot be loaded");
    ENSO_TEST_CONTAINS(err.message, "./ensod-cuda.so");
    ck_assert_int_eq(chdir("/"), 0);
    enso_test_remove_dir(dir);
    free(file);
}
END_TEST

/* ---- what the registry makes of a model on a device ---- */

static void on_change(struct enso_app *app)
{
    (void)app;
}

/* Through the registry, as the daemon loads it; gives its state and, where it failed, why. */
static enum enso_entry_state serve(struct enso_error *ret_why)
{
    char name[] = "ensod", *arguments[] = {name, path, NULL}, *environment[] = {NULL};
    struct enso_config config;
    struct enso_app app = {.config = &config, .devices = &devices};
    const struct enso_registry_options options = {.app = &app, .on_change = on_change};
    enum enso_entry_state state;

    ENSO_TEST_OK(enso_config_load(2, arguments, environment, &config, &err), &err);
    app.loop = enso_loop_create(&err);
    app.metrics = enso_metrics_create();
    ck_assert(app.loop != NULL && app.metrics != NULL);
    ENSO_TEST_OK((enum enso_status)enso_meters_create(&app, &app.meters, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_registry_create(&options, &app.registry, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_registry_start(app.registry, &err), &err);
    do {
        (void)usleep(1000);
        state =
            enso_registry_state(app.registry, enso_registry_entry(app.registry, 0), NULL, ret_why);
    } while (state == ENSO_ENTRY_LOADING);
    enso_registry_destroy(app.registry);
    enso_meters_destroy(app.meters);
    enso_metrics_destroy(app.metrics);
    enso_loop_destroy(app.loop);
    enso_config_done(&config);
    return state;
}

/* A model's device that "auto" did not find: the start ends with a sentence. */
START_TEST(test_device_not_there)
{
    char *file =
        enso_test_format("[server]\nmodels = %s\n[model fashion]\ndevice = cuda:0\n", path);
    struct enso_config config;
    struct enso_app app = {.config = &config, .devices = &devices};
    const struct enso_registry_options options = {.app = &app, .on_change = on_change};

    ENSO_TEST_OK(enso_config_load_text("t.conf", file, strlen(file), &config, &err), &err);
    (void)snprintf(devices.places[0].name, sizeof devices.places[0].name, "cuda:7");
    ck_assert_int_eq(enso_registry_create(&options, &app.registry, &err), ENSO_INVALID);
    ck_assert_str_eq(err.message, "model 'fashion' shall run on cuda:0, which is not there (no GPU "
                                  "was found); leave device out of its section, or make that GPU "
                                  "work");
    enso_config_done(&config);
    free(file);
}
END_TEST

/* Whichever lane cannot be opened while a model is loaded: it fails with the sentence. */
START_TEST(test_device_without_a_lane)
{
    enum enso_entry_state state = ENSO_ENTRY_FAILED;
    unsigned n_failed = 0;

    ENSO_TEST_OK((enum enso_status)enso_devices_start(&devices, &err), &err);
    for (unsigned n = 1; state == ENSO_ENTRY_FAILED; n++) {
        struct enso_error why = {0};

        n_lanes = 0;
        fail_lane = n;
        state = serve(&why);
        if (state != ENSO_ENTRY_FAILED)
            break;
        n_failed++;
        ck_assert_int_eq(why.status, ENSO_NO_MEMORY);
        ENSO_TEST_CONTAINS(why.message, "no lane is left");
    }
    ck_assert_uint_ge(n_failed, 2); /* to compare batches, to learn what a run costs */
    stop_all();
}
END_TEST

/* The first run on a GPU loads its kernels: what a run costs is learned from the second. */
START_TEST(test_device_warms_up)
{
    struct enso_error why = {0};

    ENSO_TEST_OK((enum enso_status)enso_devices_start(&devices, &err), &err);
    ck_assert_int_eq(serve(&why), ENSO_ENTRY_READY);
    ck_assert_uint_eq(n_runs, 1);
    gpu.host_memory = false;
    ck_assert_int_eq(serve(&why), ENSO_ENTRY_READY);
    ck_assert_uint_eq(n_runs, 2);
    stop_all();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/device");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_test(core, test_device_preferred);
    tcase_add_test(core, test_device_without_a_kernel);
    tcase_add_test(core, test_device_half_on_the_processor);
    tcase_add_test(core, test_device_half_refused_by_a_kernel);
    tcase_add_test(core, test_device_lanes);
    tcase_add_test(core, test_device_several);
    tcase_add_test(core, test_device_processor_on_purpose);
    tcase_add_test(core, test_device_several_lanes);
    tcase_add_test(core, test_device_list);
    tcase_add_test(core, test_device_warms_up);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(errors, test_device_other_failures_stay);
    tcase_add_test(errors, test_device_open);
    tcase_add_test(errors, test_device_lanes_do_not_fit);
    tcase_add_test(errors, test_device_lanes_of_auto);
    tcase_add_test(errors, test_device_more_lanes_than_fit);
    tcase_add_test(errors, test_device_not_there);
    tcase_add_test(errors, test_device_strange_modules);
    tcase_add_test(errors, test_device_module_without_slash);
    tcase_add_test(errors, test_device_without_a_lane);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
