/* SPDX-License-Identifier: Apache-2.0
 *
 * How a model comes to be served: see served.h. Which devices it comes to, room for its batches,
 * its queues, and two short runs on each device that seed the cost curves.
 */
#include "ensod_build.h"

#include "server/served.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "batching/queue.h"
#include "server/app.h"
#include "server/device.h"
#include "server/entries.h"
#include "server/lost.h"

/* Two short runs teach the cost curve before the first request does. A device that is not the
 * processor loads its kernels, or even makes them, in the first run: that one teaches nothing, or
 * deadlines would be refused for a time that never comes again. */
static int seed(const struct enso_replica *p, struct enso_error *err)
{
    static const uint32_t tokens[] = {8, 64};
    const struct enso_model_info *info = enso_model_info(p->model);
    const struct enso_backend *backend = p->place->backend;
    struct enso_lane *lane;
    int st = backend->lane_open(p->place->device, &lane, err);

    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; st == ENSO_OK && i < ENSO_ARRAY_SIZE(tokens); i++) {
        double scale = info->max_tokens > tokens[i] ? (double)tokens[i] / info->max_tokens : 1;
        struct enso_sample *sample;
        struct enso_spent spent = {0};
        uint64_t start_ns;

        st = enso_model_warmup_sample(p->model, scale, &sample, err);
        if (st != ENSO_OK)
            break;
        if (!backend->host_memory)
            st = enso_model_run(p->model, lane, &sample, 1, err);
        start_ns = enso_clock_now_ns();
        if (st == ENSO_OK)
            st = enso_model_begin(p->model, lane, 0, &sample, 1, NULL, err);
        if (st == ENSO_OK)
            st = enso_model_finish(p->model, lane, 0, &sample, 1, &spent, err);
        if (st == ENSO_OK)
            enso_queue_seed(p->queue, enso_sample_cost(sample),
                            spent.compute_ns != 0 ? spent.compute_ns
                                                  : enso_clock_now_ns() - start_ns);
        enso_sample_destroy(sample);
        if (!info->takes_text)
            break;
    }
    if (st == ENSO_OK)
        enso_model_forget_lane(p->model, lane);
    backend->lane_close(lane);
    return st;
}

static void queue_limits(const struct enso_entry *e, const struct enso_model_info *info,
                         struct enso_queue_limits *ret)
{
    *ret = (struct enso_queue_limits){
        .max_queue_items = (uint64_t)e->batching.max_queue_items,
        .max_batch_items = info->batched ? (uint64_t)e->batching.max_batch_items : 1,
        .max_batch_tokens = info->takes_text ? (uint64_t)e->batching.max_batch_tokens : 0,
        .max_queue_delay_ns = e->batching.max_queue_delay_ns,
        .max_batch_ns = e->batching.max_batch_ns,
    };
}

/* What the model computes in, as it would be asked for. */
static enum enso_model_dtype dtype_of(const struct enso_model *model)
{
    const char *dtype = enso_model_info(model)->dtype;

    return strcmp(dtype, "bfloat16") == 0  ? ENSO_MODEL_DTYPE_BF16
           : strcmp(dtype, "float16") == 0 ? ENSO_MODEL_DTYPE_FP16
                                           : ENSO_MODEL_DTYPE_FP32;
}

static void model_options(const struct enso_app *app, const struct enso_entry *e,
                          struct enso_model_options *ret)
{
    *ret = (struct enso_model_options){
        .path = e->path, .id = e->id, .max_pixels = (uint64_t)app->config->max_image_pixels};
    enso_devices_arithmetic(&e->arithmetic, ret);
}

static struct enso_served *served_new(const struct enso_entry *e, struct enso_error *err)
{
    struct enso_served *s = enso_alloc_zero(1, sizeof *s);

    if (s == NULL) {
        (void)enso_error_no_memory(err, "a model");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->id = e->id;
    s->truncate = e->batching.truncate;
    s->created = enso_clock_wall_seconds();
    return s;
}

/* The loaded model becomes the newest replica: room for its batches, meters, a queue that knows
 * what a run costs. The model is the replica's, also when that fails. */
static int add_replica(struct enso_app *app, const struct enso_entry *e, struct enso_served *s,
                       struct enso_model *model, struct enso_place *place, struct enso_error *err)
{
    struct enso_replica *p = &s->replicas[s->n_replicas++];
    struct enso_queue_limits limits;
    struct enso_runner runner = {model, enso_model_begin, enso_model_finish};
    bool first = s->n_replicas == 1;
    int st;

    p->model = model;
    p->place = place;
    if (first)
        s->model = model;
    st = enso_place_promise(place, model, &e->batching, err);
    if (st == ENSO_OK)
        st = first ? enso_meters_model(app->meters, enso_model_info(model), &s->meters, err)
                   : enso_meters_model_replica(&s->meters, enso_model_info(model), err);
    if (st != ENSO_OK)
        return st;
    if (first)
        s->observer = enso_meters_observer(&s->meters);
    queue_limits(e, enso_model_info(model), &limits);
    st = enso_queue_create(e->id, &limits, &runner, &s->observer, &p->queue, err);
    return st == ENSO_OK ? seed(p, err) : st;
}

/* The only replica, maybe not where it was wanted. */
static int add_only_replica(struct enso_app *app, const struct enso_entry *e, struct enso_served *s,
                            struct enso_model *model, struct enso_place *place,
                            const struct enso_error *fallback, struct enso_error *err)
{
    int st = add_replica(app, e, s, model, place, err);

    s->fallback = *fallback;
    if (st == ENSO_OK && fallback->status != ENSO_OK)
        enso_meters_model_fallback(&s->meters);
    return st;
}

/* On one device, as for enso_devices_load. */
static int load_one(struct enso_app *app, const struct enso_entry *e, const char *device,
                    struct enso_served **ret, struct enso_error *err)
{
    struct enso_served *s = served_new(e, err);
    struct enso_model_options options;
    struct enso_error fallback = {0};
    struct enso_model *model;
    struct enso_place *place;
    int st;

    if (s == NULL)
        return ENSO_NO_MEMORY;
    model_options(app, e, &options);
    st = enso_devices_load(app->devices, device, &options, &model, &place, &fallback, err);
    if (st == ENSO_OK)
        st = add_only_replica(app, e, s, model, place, &fallback, err);
    if (st != ENSO_OK) {
        enso_served_unref(s);
        return st;
    }
    *ret = s;
    return ENSO_OK;
}

/* On the emptiest GPU that has room for weights, batches and lanes. When none has, the sentence
 * tells the emptiest one's sizes. */
static int load_anywhere(struct enso_app *app, const struct enso_entry *e,
                         const atomic_bool *stopping, struct enso_served **ret,
                         struct enso_error *err)
{
    struct enso_place *places[ENSO_MAX_PLACES];
    size_t n = enso_devices_by_room(app->devices, places);
    struct enso_error first = {0}, last;
    int st = load_one(app, e, NULL, ret, &first);

    last = first;
    for (size_t i = 1; st == ENSO_NO_MEMORY && i < n && !atomic_load(stopping); i++) {
        enso_log(ENSO_LOG_NOTICE, "model does not fit", "model=%s device=%s reason=%s", e->id,
                 places[i - 1]->name, last.message);
        enso_error_clear(&last);
        st = load_one(app, e, places[i]->name, ret, &last);
    }
    if (st == ENSO_NO_MEMORY && n > 1)
        (void)enso_error_set(err, ENSO_NO_MEMORY, "%s; the other GPUs have no room either",
                             first.message);
    else if (st != ENSO_OK)
        *err = last;
    return st;
}

/* The model onto that GPU, to compute as the replicas that are there do: all answer alike, also on
 * unlike cards. */
static int load_copy(struct enso_app *app, const struct enso_entry *e, const struct enso_served *s,
                     const struct enso_place *place, struct enso_model **ret_model,
                     struct enso_error *err)
{
    struct enso_model_options options;
    int st;

    model_options(app, e, &options);
    if (s->n_replicas != 0)
        options.dtype = dtype_of(s->model);
    st = enso_place_load(place, &options, ret_model, err);
    if (st != ENSO_OK || s->n_replicas == 0 || dtype_of(*ret_model) == options.dtype)
        return st;
    (void)enso_error_set(err, ENSO_UNSUPPORTED, "it would compute in %s there, in %s on %s",
                         enso_model_info(*ret_model)->dtype, enso_model_info(s->model)->dtype,
                         s->replicas[0].place->name);
    *ret_model = enso_model_unref(*ret_model);
    return ENSO_UNSUPPORTED;
}

/* May the others serve without this one? A card that is full is the configuration's mistake. */
static bool can_be_left_out(const struct enso_place *place, int status)
{
    return status == ENSO_UNSUPPORTED || status == ENSO_INVALID || enso_place_is_lost(place, NULL);
}

/* None of several GPUs can run the model; why the first one cannot. */
static int load_on_none(struct enso_app *app, const struct enso_entry *e, struct enso_served *s,
                        const struct enso_place *place, const struct enso_error *why,
                        struct enso_error *err)
{
    struct enso_model_options options;
    struct enso_error fallback;
    struct enso_model *model;
    struct enso_place *cpu;
    int st = why->status;

    if (!enso_devices_falls_back(app->devices, place, st)) {
        *err = *why;
        return st;
    }
    model_options(app, e, &options);
    st = enso_devices_fall_back(app->devices, why, &options, &model, &cpu, &fallback, err);
    return st == ENSO_OK ? add_only_replica(app, e, s, model, cpu, &fallback, err) : st;
}

static void tell_left_out(const struct enso_entry *e, char names[][ENSO_PLACE_NAME_SIZE],
                          const struct enso_error *why, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (why[i].status != ENSO_OK)
            enso_log(ENSO_LOG_WARNING, "model not on one of its GPUs",
                     "model=%s device=%s reason=%s", e->id, names[i], why[i].message);
}

/* A copy on each of several GPUs, the first of which that runs the model decides in which type all
 * compute. Why a GPU cannot run it may lie in the model (an operator without a kernel: the same
 * everywhere) or in the card (too old for the type that was asked for or that the others compute
 * in, lost): so all are tried. Those that can serve it, with a warning for each that is left out.
 * When none can, the first one's reason decides as if it had been named alone: the processor
 * serves, which is said once, or the model fails. A card without room, too, fails the model: a
 * smaller batch or another place is the remedy, not less than what was asked for. */
static int load_several(struct enso_app *app, const struct enso_entry *e,
                        char names[][ENSO_PLACE_NAME_SIZE], size_t n, struct enso_served **ret,
                        struct enso_error *err)
{
    struct enso_error why[ENSO_CONFIG_MAX_GPUS] = {0};
    struct enso_served *s = served_new(e, err);
    struct enso_devices *devices = app->devices;
    int st = s != NULL ? ENSO_OK : ENSO_NO_MEMORY;

    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        struct enso_place *place = enso_devices_find(devices, names[i]);
        struct enso_model *model;

        st = load_copy(app, e, s, place, &model, &why[i]);
        if (st == ENSO_OK)
            st = add_replica(app, e, s, model, place, err);
        else if (can_be_left_out(place, st))
            st = ENSO_OK;
        else
            *err = why[i];
    }
    if (st == ENSO_OK && s->n_replicas == 0)
        st = load_on_none(app, e, s, enso_devices_find(devices, names[0]), &why[0], err);
    else if (st == ENSO_OK)
        tell_left_out(e, names, why, n);
    if (st != ENSO_OK) {
        enso_served_unref(s);
        return st;
    }
    *ret = s;
    return ENSO_OK;
}

static int load(struct enso_app *app, const struct enso_entry *e, const char *device,
                const atomic_bool *stopping, struct enso_served **ret, struct enso_error *err)
{
    char names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE];
    size_t n = enso_devices_list(device, names);

    return n == 0   ? load_anywhere(app, e, stopping, ret, err)
           : n == 1 ? load_one(app, e, names[0], ret, err)
                    : load_several(app, e, names, n, ret, err);
}

static size_t n_lost(const struct enso_devices *devices)
{
    size_t n = 0;

    for (size_t i = 0; i < devices->n; i++)
        n += enso_place_is_lost(&devices->places[i], NULL);
    return n;
}

/* A model one of whose devices is lost while it is loaded loads again, without that one: on its
 * other devices, or moved as those that serve are; nobody else would, since it is not there yet.
 * Each try loses a device or is the last; when that fails as well, the first reason is told. */
int enso_served_load(struct enso_app *app, const struct enso_entry *e, const char *device,
                     const atomic_bool *stopping, struct enso_served **ret, struct enso_error *err)
{
    size_t lost, before = n_lost(app->devices);
    int st = load(app, e, device, stopping, ret, err), again = st;

    while (again != ENSO_OK && !atomic_load(stopping) && (lost = n_lost(app->devices)) > before) {
        struct enso_error why = {0};

        before = lost;
        enso_log(ENSO_LOG_WARNING, "model loads again", "model=%s reason=%s", e->id, err->message);
        again = load(app, e, device, stopping, ret, &why);
    }
    if (again == ENSO_OK)
        enso_error_clear(err);
    return again == ENSO_OK ? ENSO_OK : st;
}
