/* SPDX-License-Identifier: Apache-2.0
 *
 * ensod --tune [MODEL_DIR...]: load the models as the daemon would, let each GPU time what can
 * compute the matrix products of its models, print a table, and keep what was fastest in the state
 * directory, where later starts find it. The GPU should have nothing else to do meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "engine/model/model.h"
#include "server/daemon.h"
#include "server/device.h"
#include "server/registry.h"

#define MOST_TOKENS 16384 /* unless max_batch_tokens says */
#define MOST_ITEMS 128    /* unless max_batch_items says */

struct report {
    size_t n, n_own;
    double first_us, best_us;
};

static const char *activation_name(enum enso_activation activation)
{
    return activation == ENSO_ACTIVATION_RELU        ? " relu"
           : activation == ENSO_ACTIVATION_GELU_TANH ? " gelu_tanh"
                                                     : "";
}

static void print_tuned(void *context, const struct enso_tuned *t)
{
    struct report *r = context;
    char what[64];

    (void)snprintf(what, sizeof what, "%zu x %zu%s%s%s", t->n, t->k, t->bias ? " bias" : "",
                   t->residual ? " residual" : "", activation_name(t->activation));
    (void)printf("%-5s %-32s %7zu %11.2f %11.2f %11.2f  %s\n", enso_dtype_name(t->dtype), what,
                 t->rows, (double)t->own_us, (double)t->first_us, (double)t->best_us,
                 t->own ? "ensod" : "cuBLASLt");
    r->n++;
    r->n_own += t->own;
    r->first_us += (double)(t->first_us > 0 ? t->first_us : t->own_us);
    r->best_us += (double)t->best_us;
}

/* A copy of the model on the device as for enso_devices_load, which is noted as one to tune. */
static int load_copy(const struct enso_config *config, const struct enso_config_model *m,
                     struct enso_devices *devices, const char *device,
                     struct enso_model **ret_model, bool has_models[ENSO_MAX_PLACES],
                     struct enso_error *err)
{
    struct enso_error fallback = {0};
    struct enso_place *place;
    char id[256];

    enso_entries_default_id(m->path, id, sizeof id);
    struct enso_model_options options = {
        .path = m->path, .id = id, .max_pixels = (uint64_t)config->max_image_pixels};
    enso_devices_arithmetic(&m->arithmetic, &options);
    int st = enso_devices_load(devices, device, &options, ret_model, &place, &fallback, err);
    if (st != ENSO_OK)
        return st;
    if (place->backend->tune == NULL)
        (void)fprintf(stderr, "ensod: '%s' does not run on the GPU%s%s\n", id,
                      fallback.message[0] != '\0' ? ": " : "", fallback.message);
    has_models[place - devices->places] = true;
    return ENSO_OK;
}

/* Every model that is named, onto its GPUs; the rest of the array stays NULL. */
static int load_models(const struct enso_config *config, struct enso_devices *devices,
                       struct enso_model **models, bool has_models[ENSO_MAX_PLACES],
                       struct enso_error *err)
{
    int st = ENSO_OK;
    size_t n = 0;

    for (size_t i = 0; st == ENSO_OK && i < config->n_model_entries; i++) {
        const struct enso_config_model *m = &config->model_entries[i];
        char names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE];
        size_t n_names = enso_devices_list(m->device, names);

        if (m->path == NULL)
            continue;
        for (size_t k = 0; st == ENSO_OK && k < ENSO_MAX(n_names, (size_t)1); k++)
            st = load_copy(config, m, devices, n_names != 0 ? names[k] : NULL, &models[n++],
                           has_models, err);
    }
    if (st == ENSO_OK && n == 0)
        st = enso_error_set(err, ENSO_INVALID, "name the models to tune for: ensod --tune DIR");
    return st;
}

static int tune(const struct enso_config *config, const struct enso_place *place,
                struct enso_error *err)
{
    int64_t tokens = config->batching.max_batch_tokens, items = config->batching.max_batch_items;
    struct report r = {.n = 0};
    const struct enso_tuning how = {.max_tokens = tokens > 0 ? (size_t)tokens : MOST_TOKENS,
                                    .max_items = items > 0 ? (size_t)items : MOST_ITEMS,
                                    .report = print_tuned,
                                    .context = &r};

    (void)printf("%-5s %-32s %7s %11s %11s %11s\n", "type", "columns x depth", "rows", "ensod us",
                 "first us", "best us");
    int st = place->backend->tune(place->device, &how, err);
    if (st == ENSO_OK)
        (void)printf("%zu timed, %zu of them fastest by ensod's own kernels; %.1f%% less time than "
                     "by the heuristic's first answers\n",
                     r.n, r.n_own, r.first_us > 0 ? 100 * (1 - r.best_us / r.first_us) : 0);
    return st;
}

int enso_daemon_tune(const struct enso_config *config, struct enso_error *err)
{
    struct enso_devices devices = {0};
    bool has_models[ENSO_MAX_PLACES] = {false};
    size_t most = config->n_model_entries * ENSO_CONFIG_MAX_GPUS;
    struct enso_model **models = enso_alloc_zero(most + 1, sizeof(*models));

    if (models == NULL)
        return enso_error_no_memory(err, "models");
    enso_json_init();
    enso_log_set_level(ENSO_LOG_WARNING);
    int st = enso_devices_open(config, &devices, err);
    if (st == ENSO_OK && devices.places[0].backend->tune == NULL)
        st = enso_error_set(err, ENSO_UNSUPPORTED, "there is nothing to tune without a GPU%s%.400s",
                            devices.fallback.message[0] != '\0' ? ": " : "",
                            devices.fallback.message);
    if (st == ENSO_OK)
        st = load_models(config, &devices, models, has_models, err);
    for (size_t i = 0; st == ENSO_OK && i < devices.n; i++) {
        if (!has_models[i] || devices.places[i].backend->tune == NULL)
            continue;
        if (devices.n > 2) /* GPUs and the processor */
            (void)printf("%s\n", devices.places[i].name);
        st = tune(config, &devices.places[i], err);
    }
    for (size_t i = 0; i < most; i++)
        if (models[i] != NULL)
            enso_model_unref(models[i]);
    enso_free(models);
    enso_devices_close(&devices);
    return st;
}
