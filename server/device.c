/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening devices: see device.h. The module is looked for where the configuration says, else where
 * it is installed, else beside the executable (a build folder, a bundle). It stays loaded for the
 * life of the process: the CUDA runtime in it keeps threads and handlers that cannot be taken back.
 */
#include "server/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "batching/lanes.h"
#include "batching/scheduler.h"
#include "engine/host.h"
#include "server/lost.h"

#define MODULE_NAME "ensod-cuda.so"
#define PATH_SIZE 4096

static const char *isa_name(int isa)
{
    switch ((enum enso_config_isa)isa) {
    case ENSO_CONFIG_ISA_GENERIC:
        return "generic";
    case ENSO_CONFIG_ISA_AVX2:
        return "avx2";
    case ENSO_CONFIG_ISA_AUTO:
        break;
    }
    return "auto";
}

/* ---- the module ---- */

static bool beside_executable(const char *below, char path[PATH_SIZE])
{
    char self[PATH_SIZE], *slash;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return false;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return snprintf(path, PATH_SIZE, "%s/%s" MODULE_NAME, self, below) < PATH_SIZE &&
           access(path, R_OK) == 0;
}

/* ENSO_NOT_FOUND when ensod was built or installed without it. A program with more rights than its
 * caller (set-user-ID, file capabilities) loads no code from where the caller says: only what is
 * installed. */
static int find_module(const struct enso_config *config, char path[PATH_SIZE],
                       struct enso_error *err)
{
    bool privileged = getauxval(AT_SECURE) != 0;

    if (config->cuda_module[0] != '\0' && privileged)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "cuda_module is not read by a program that has more rights than who "
                              "started it; install the GPU module as " ENSO_MODULE_DIR
                              "/" MODULE_NAME);
    if (config->cuda_module[0] != '\0') {
        /* a name without a slash would be looked for among the system's libraries */
        (void)snprintf(path, PATH_SIZE, "%s%s",
                       strchr(config->cuda_module, '/') != NULL ? "" : "./", config->cuda_module);
        return access(path, R_OK) == 0
                   ? ENSO_OK
                   : enso_error_set(err, ENSO_UNAVAILABLE,
                                    "cannot read the GPU module '%.300s' (cuda_module)",
                                    config->cuda_module);
    }
    (void)snprintf(path, PATH_SIZE, "%s", ENSO_MODULE_DIR "/" MODULE_NAME);
    if (access(path, R_OK) == 0 ||
        (!privileged && (beside_executable("", path) || beside_executable("kernels/cuda/", path))))
        return ENSO_OK;
    return enso_error_set(
        err, ENSO_NOT_FOUND,
        "there is no GPU module (%s); build ensod where nvcc is installed, or say "
        "where it is with cuda_module",
        ENSO_MODULE_DIR "/" MODULE_NAME);
}

static int load_module(const char *path, const struct enso_backend **ret_backend,
                       struct enso_error *err)
{
    enso_backend_entry_fn entry;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (module == NULL)
        return enso_error_set(err, ENSO_UNAVAILABLE, "the GPU module cannot be loaded: %.400s",
                              dlerror());
    *(void **)&entry = dlsym(module, "enso_backend_entry"); /* POSIX's way to write it */
    if (entry == NULL)
        return enso_error_set(err, ENSO_UNAVAILABLE, "'%.300s' is no module of ensod", path);
    *ret_backend = entry(enso_host());
    if (*ret_backend == NULL || (*ret_backend)->abi != ENSO_BACKEND_ABI ||
        (*ret_backend)->layout != ENSO_BACKEND_LAYOUT)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "the GPU module '%.300s' is of another version than this ensod; "
                              "install both from one build",
                              path);
    return ENSO_OK;
}

/* ---- opening ---- */

static int open_place(struct enso_devices *devices, const struct enso_backend *backend,
                      const struct enso_device_options *options, unsigned n_lanes,
                      struct enso_error *err)
{
    struct enso_place *place = &devices->places[devices->n];
    struct enso_device_info info = {0};
    int st = backend->device_open(options, &place->device, err);

    if (st != ENSO_OK)
        return st;
    (void)snprintf(place->name, sizeof place->name, "%s", options->name);
    place->backend = backend;
    place->n_lanes = n_lanes;
    devices->n++;
    backend->device_info(place->device, &info);
    if (backend->host_memory)
        enso_log(ENSO_LOG_NOTICE, "device open", "device=%s kind=%s threads=%u", info.name,
                 info.description, info.n_threads);
    else
        enso_log(ENSO_LOG_NOTICE, "device open", "device=%s kind=%s lanes=%u", info.name,
                 info.description, n_lanes);
    return ENSO_OK;
}

/* systemd names the service's folder in the environment. */
static const char *state_dir(const struct enso_config *config)
{
    bool given = config->state_dir != NULL && config->state_dir[0] != '\0';

    return given ? config->state_dir : getenv("STATE_DIRECTORY");
}

static int open_gpu(const struct enso_config *config, int gpu, struct enso_devices *devices,
                    struct enso_error *err)
{
    char name[16], path[PATH_SIZE];
    struct enso_device_options options = {
        .name = name, .cublaslt = config->cublaslt, .state_dir = state_dir(config)};
    const struct enso_backend *backend = NULL;
    int st = find_module(config, path, err);

    (void)snprintf(name, sizeof name, "cuda:%d", gpu);
    /* a configuration that was read has good values; one that a test made has none */
    if (config->gpu_memory != NULL)
        (void)enso_config_parse_gpu_memory(config->gpu_memory, &options.memory_bytes,
                                           &options.memory_percent, NULL);

    if (st == ENSO_OK)
        st = load_module(path, &backend, err); /* again and again the same */
    if (st != ENSO_OK)
        return st;
    st = open_place(devices, backend, &options, (unsigned)ENSO_MAX(config->lanes, (int64_t)1), err);
    devices->left_behind = devices->left_behind || st == ENSO_UNAVAILABLE;
    return st;
}

/* Each that is named, or none. */
static int open_gpus(const struct enso_config *config, struct enso_devices *devices,
                     struct enso_error *err)
{
    int gpus[ENSO_CONFIG_MAX_GPUS], st;
    size_t n;

    st = enso_config_parse_device(config->device, gpus, &n, err);
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        st = open_gpu(config, gpus[i], devices, err);
        if (st != ENSO_OK)
            enso_error_prefix(err, "device 'cuda:%d': ", gpus[i]);
    }
    return st;
}

/* The first that can be used; a card that is too old, full or somebody else's is passed over. Else
 * why the first one cannot. */
static int open_any_gpu(const struct enso_config *config, struct enso_devices *devices,
                        struct enso_error *why)
{
    struct enso_error err = {0};
    int st = open_gpu(config, 0, devices, why);

    for (int gpu = 1; st != ENSO_OK && st != ENSO_NOT_FOUND && gpu < ENSO_CONFIG_MAX_GPUS; gpu++) {
        st = open_gpu(config, gpu, devices, &err);
        enso_error_clear(&err);
        if (st != ENSO_OK)
            continue;
        enso_log(ENSO_LOG_WARNING, "GPU passed over", "device=cuda:0 instead=cuda:%d reason=%s",
                 gpu, why->message);
        devices->passed_over = *why;
        enso_error_clear(why);
    }
    return st == ENSO_OK ? ENSO_OK : why->status;
}

int enso_devices_open(const struct enso_config *config, struct enso_devices *ret,
                      struct enso_error *err)
{
    const struct enso_device_options cpu = {
        .name = "cpu", .n_threads = (unsigned)config->threads, .isa = isa_name(config->isa)};
    int st = ENSO_OK;

    ret->gpu_wanted = strcmp(config->device, "cpu") != 0;
    ret->move_lost = enso_lost_policy(config) == ENSO_CONFIG_LOST_CPU;
    ret->automatic = strcmp(config->device, "auto") == 0;
    if (ret->automatic) {
        int gpu = open_any_gpu(config, ret, &ret->fallback);

        /* That there is no GPU is no news; that there is one which cannot be used is. */
        if (gpu != ENSO_OK)
            enso_log(gpu == ENSO_NOT_FOUND ? ENSO_LOG_INFO : ENSO_LOG_WARNING, "no GPU",
                     "device=cpu reason=%s", ret->fallback.message);
        if (gpu == ENSO_NOT_FOUND)
            enso_error_clear(&ret->fallback);
    } else {
        st = open_gpus(config, ret, err);
    }
    return st == ENSO_OK ? open_place(ret, enso_backend_cpu(), &cpu, 1, err) : st;
}

static void append(struct enso_error *err, const char *text)
{
    size_t n = err != NULL ? strlen(err->message) : 0;

    if (err != NULL)
        (void)snprintf(err->message + n, sizeof err->message - n, "%s", text);
}

static int start_place(struct enso_place *place, struct enso_error *err)
{
    unsigned n = ENSO_MAX(place->n_lanes, 1u);
    int st = enso_lanes_start(place->backend, place->device, n, &place->lanes, err);

    if (st != ENSO_OK && n > 1) {
        enso_error_prefix(err, "%u lanes of %s: ", n, place->name);
        append(err, st == ENSO_NO_MEMORY ? "; or use fewer lanes" : "");
    }
    if (st == ENSO_OK)
        place->scheduler = enso_lanes_scheduler(place->lanes);
    return st;
}

/* The GPU that "auto" found cannot serve after all. */
static void drop_gpu(struct enso_devices *devices, size_t i, struct enso_error *why)
{
    struct enso_place *place = &devices->places[i];

    enso_log(ENSO_LOG_WARNING, "no GPU", "device=cpu reason=%s", why->message);
    devices->fallback = *why;
    devices->left_behind = devices->left_behind || why->status == ENSO_UNAVAILABLE;
    enso_error_clear(why);
    place->backend->device_close(place->device);
    devices->n--;
    memmove(place, place + 1, (devices->n - i) * sizeof *place);
    devices->places[devices->n] = (struct enso_place){0};
}

int enso_devices_start(struct enso_devices *devices, struct enso_error *err)
{
    for (size_t i = 0; i < devices->n;) {
        int st = start_place(&devices->places[i], err);

        if (st == ENSO_OK)
            i++;
        else if (devices->automatic && i + 1 < devices->n) /* the last is the processor */
            drop_gpu(devices, i, err);
        else
            return st;
    }
    return ENSO_OK;
}

bool enso_devices_stop(struct enso_devices *devices)
{
    bool all = true;

    for (size_t i = 0; i < devices->n; i++) {
        struct enso_place *place = &devices->places[i];

        all = (place->lanes == NULL || enso_lanes_try_stop(place->lanes, NULL)) && all;
    }
    return all;
}

void enso_devices_tell_working(struct enso_devices *devices)
{
    for (size_t i = 0; i < devices->n; i++) {
        struct enso_place *place = &devices->places[i];
        unsigned n;

        if (place->lanes != NULL && !enso_lanes_try_stop(place->lanes, &n))
            enso_log(ENSO_LOG_WARNING, "lanes left alone", "device=%s lanes=%u reason=%s",
                     place->name, n, "their batches do not come to an end");
    }
}

void enso_devices_close(struct enso_devices *devices)
{
    while (devices->n > 0) {
        struct enso_place *place = &devices->places[--devices->n];

        enso_lanes_destroy(place->lanes);
        place->backend->device_close(place->device);
        *place = (struct enso_place){0};
    }
}

/* ---- models ---- */

size_t enso_devices_list(const char *device,
                         char ret_names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE])
{
    int gpus[ENSO_CONFIG_MAX_GPUS];
    size_t n = 0;

    if (device == NULL)
        return 0;
    (void)enso_config_parse_device(device, gpus, &n, NULL); /* it was checked */
    for (size_t i = 0; i < n; i++)
        (void)snprintf(ret_names[i], ENSO_PLACE_NAME_SIZE, "cuda:%d", gpus[i]);
    if (n == 0)
        (void)snprintf(ret_names[n++], ENSO_PLACE_NAME_SIZE, "%s", device);
    return n;
}

struct enso_place *enso_devices_find(struct enso_devices *devices, const char *name)
{
    for (size_t i = 0; i < devices->n; i++)
        if (strcmp(devices->places[i].name, name) == 0)
            return &devices->places[i];
    return NULL;
}

void enso_devices_arithmetic(const struct enso_config_arithmetic *config,
                             struct enso_model_options *options)
{
    static const enum enso_model_dtype dtypes[] = {
        [ENSO_CONFIG_DTYPE_AUTO] = ENSO_MODEL_DTYPE_AUTO,
        [ENSO_CONFIG_DTYPE_FP32] = ENSO_MODEL_DTYPE_FP32,
        [ENSO_CONFIG_DTYPE_BF16] = ENSO_MODEL_DTYPE_BF16,
        [ENSO_CONFIG_DTYPE_FP16] = ENSO_MODEL_DTYPE_FP16,
    };

    options->dtype = dtypes[config->dtype];
    options->fast_gelu = config->gelu == ENSO_CONFIG_GELU_FAST;
    options->batch_invariant = config->batch_invariant;
}

/* The processor instead of a GPU: what was wanted of the GPU's arithmetic is let go, and told. */
static void give_up_halves(struct enso_model_options *options, struct enso_error *why)
{
    if (options->dtype == ENSO_MODEL_DTYPE_AUTO || options->dtype == ENSO_MODEL_DTYPE_FP32)
        return;
    if (why->status == ENSO_OK)
        (void)enso_error_set(why, ENSO_NOT_FOUND, "there is no GPU");
    append(why, "; on the processor it computes in fp32, not in ");
    append(why, options->dtype == ENSO_MODEL_DTYPE_BF16 ? "bf16" : "fp16");
    options->dtype = ENSO_MODEL_DTYPE_AUTO;
}

static struct enso_place *processor(struct enso_devices *devices)
{
    return &devices->places[devices->n - 1];
}

static struct enso_device_metrics metrics_of(const struct enso_place *place)
{
    struct enso_device_metrics metrics = {0};

    if (place->backend->device_metrics != NULL)
        place->backend->device_metrics(place->device, &metrics);
    return metrics;
}

size_t enso_devices_by_room(struct enso_devices *devices,
                            struct enso_place *ret_places[ENSO_MAX_PLACES])
{
    uint64_t bytes[ENSO_MAX_PLACES];
    size_t n = 0;

    for (size_t i = 0; i + 1 < devices->n; i++) {
        struct enso_place *place = &devices->places[i];
        uint64_t held = metrics_of(place).weight_bytes;
        size_t at = n;

        if (enso_place_is_lost(place, NULL))
            continue;
        for (; at > 0 && bytes[at - 1] > held; at--) {
            bytes[at] = bytes[at - 1];
            ret_places[at] = ret_places[at - 1];
        }
        bytes[at] = held;
        ret_places[at] = place;
        n++;
    }
    return n;
}

/* Where a model goes that wants nothing in particular. */
static struct enso_place *emptiest(struct enso_devices *devices)
{
    struct enso_place *places[ENSO_MAX_PLACES];

    if (enso_devices_by_room(devices, places) != 0)
        return places[0];
    return devices->n > 1 ? &devices->places[0] : processor(devices); /* all are lost */
}

int enso_place_load(const struct enso_place *place, struct enso_model_options *options,
                    struct enso_model **ret_model, struct enso_error *err)
{
    options->backend = place->backend;
    options->device = place->device;
    return enso_model_load(options, ret_model, err);
}

int enso_devices_fall_back(struct enso_devices *devices, const struct enso_error *why,
                           struct enso_model_options *options, struct enso_model **ret_model,
                           struct enso_place **ret_place, struct enso_error *ret_fallback,
                           struct enso_error *err)
{
    int st;

    *ret_fallback = *why;
    give_up_halves(options, ret_fallback);
    st = enso_place_load(processor(devices), options, ret_model, err);
    if (st != ENSO_OK)
        return st;
    *ret_place = processor(devices);
    enso_log(ENSO_LOG_WARNING, "model not on the GPU", "model=%s reason=%s", options->id,
             ret_fallback->message);
    return ENSO_OK;
}

bool enso_devices_falls_back(const struct enso_devices *devices, const struct enso_place *gpu,
                             int status)
{
    return status == ENSO_UNSUPPORTED ||
           (status != ENSO_OK && devices->move_lost && enso_place_is_lost(gpu, NULL));
}

/* Where no GPU is open, or the model is not to run on one. */
static int load_on_processor(struct enso_devices *devices, bool on_purpose,
                             struct enso_model_options *options, struct enso_model **ret_model,
                             struct enso_error *ret_fallback, struct enso_error *err)
{
    enso_error_clear(ret_fallback);
    if (!on_purpose)
        *ret_fallback = devices->fallback;
    if (!on_purpose && devices->gpu_wanted)
        give_up_halves(options, ret_fallback);
    return enso_place_load(processor(devices), options, ret_model, err);
}

int enso_devices_load(struct enso_devices *devices, const char *wanted,
                      struct enso_model_options *options, struct enso_model **ret_model,
                      struct enso_place **ret_place, struct enso_error *ret_fallback,
                      struct enso_error *err)
{
    struct enso_place *place = wanted != NULL ? enso_devices_find(devices, wanted) : NULL;
    bool on_purpose = place == processor(devices);
    struct enso_error why = {0};
    int st;

    if (place == NULL)
        place = emptiest(devices);
    *ret_place = place;
    if (place == processor(devices))
        return load_on_processor(devices, on_purpose, options, ret_model, ret_fallback, err);
    enso_error_clear(ret_fallback);
    st = enso_place_load(place, options, ret_model, &why);
    if (enso_devices_falls_back(devices, place, st))
        return enso_devices_fall_back(devices, &why, options, ret_model, ret_place, ret_fallback,
                                      err);
    if (st != ENSO_OK)
        (void)enso_error_set(err, (enum enso_status)st, "%s", why.message);
    return st;
}

/* ---- memory of batches ---- */

#define MIB ((double)(1 << 20))

/* What the setting is called that makes a lane's batches smaller. */
static const char *size_setting(const struct enso_model_info *info,
                                const struct enso_config_batching *batching)
{
    int64_t set = info->takes_text ? batching->max_batch_tokens : batching->max_batch_items;

    if (set == 0 || (!info->takes_text && !info->batched))
        return "";
    return info->takes_text ? "a smaller max_batch_tokens, " : "a smaller max_batch_items, ";
}

int enso_place_promise(struct enso_place *place, struct enso_model *model,
                       const struct enso_config_batching *batching, struct enso_error *err)
{
    const struct enso_model_info *info = enso_model_info(model);
    unsigned n = ENSO_MAX(place->n_lanes, 1u);
    size_t all_bytes, free_bytes = 0, total_bytes;
    int st;

    if (place->backend->promise == NULL || enso_place_is_lost(place, NULL))
        return ENSO_OK;
    st = enso_model_promise(model, n, info->takes_text ? (uint64_t)batching->max_batch_tokens : 0,
                            (uint64_t)batching->max_batch_items, &all_bytes, err);
    if (st != ENSO_NO_MEMORY || all_bytes == 0) {
        if (st != ENSO_OK)
            enso_error_prefix(err, "model '%s': ", info->id);
        return st;
    }
    if (place->backend->memory_info != NULL)
        place->backend->memory_info(place->device, &free_bytes, &total_bytes);
    enso_error_clear(err); /* here is more to say */
    return enso_error_set(
        err, ENSO_NO_MEMORY,
        "model '%s': no room for batches on %s: its %u lane%s %.1f MiB for them, and %.1f MiB of "
        "gpu_memory are left beside all weights and the batches of other models; use %s%sa larger "
        "gpu_memory or another device",
        info->id, place->name, n, n == 1 ? " needs" : "s need", (double)all_bytes / MIB,
        (double)free_bytes / MIB, n == 1 ? "" : "fewer lanes, ", size_setting(info, batching));
}
