/* SPDX-License-Identifier: Apache-2.0
 *
 * The models that are served: see registry.h. The loader is one niced thread that loads entries in
 * order, seeds each cost curve with two short runs and publishes the result; the loop hears of it
 * by a bell.
 */
#include "ensod_build.h"

#include "server/registry.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "batching/queue.h"
#include "batching/scheduler.h"
#include "server/app.h"
#include "server/device.h"
#include "server/loop.h"
#include "server/lost.h"

#define MAX_ENTRIES 1000
#define MAX_FOLDER_DEPTH 4
#define PATH_SIZE 4096
#define LOADER_NICE 10
/* How long a batch on a lost device may take to come back before its model is left there. */
#define MOVED_NAPS 20
#define MOVED_NAP_NS 50000000
#define LOADER_WAIT_NS (ENSO_NS_PER_S / 2)

struct alias {
    const char *name;
    struct enso_entry *entry;
};

struct enso_registry {
    struct enso_app *app;
    void (*on_change)(struct enso_app *app);
    struct enso_arena arena; /* entries' strings */
    struct enso_entry *entries[MAX_ENTRIES];
    size_t n_entries;
    struct alias *aliases; /* sorted by nothing: a handful */
    size_t n_aliases;
    pthread_mutex_t lock; /* guards entries' state, error, served */
    pthread_t loader;
    bool has_loader;           /* started and not joined */
    bool loader_works;         /* under the lock: it looks at move_lost before it ends */
    bool move_lost;            /* under the lock */
    struct enso_served *moved; /* loader: versions that others replaced, not yet freed */
    atomic_bool stopping;
    struct enso_wakeup *bell;
};

/* --- versions ------------------------------------------------------------------------------ */

struct enso_served *enso_served_ref(struct enso_served *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed); /* the caller holds one */
    return s;
}

void enso_served_unref(struct enso_served *s)
{
    /* acq_rel: whoever frees must see what every other owner wrote */
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n_replicas; i++)
        enso_queue_destroy(s->replicas[i].queue);
    enso_meters_model_done(&s->meters);
    for (size_t i = 0; i < s->n_replicas; i++)
        enso_model_unref(s->replicas[i].model);
    enso_free(s);
}

bool enso_served_is_lost(const struct enso_served *s, struct enso_error *err)
{
    for (size_t i = 1; i < s->n_replicas; i++)
        if (!enso_place_is_lost(s->replicas[i].place, NULL))
            return false;
    return enso_place_is_lost(s->replicas[0].place, err);
}

const struct enso_replica *enso_served_choose(struct enso_served *s, uint64_t now_ns)
{
    const struct enso_replica *best = &s->replicas[0];
    uint64_t least_ns = UINT64_MAX;

    if (s->n_replicas == 1)
        return best;
    s->next++;
    for (size_t i = 0; i < s->n_replicas; i++) {
        const struct enso_replica *p = &s->replicas[(s->next + i) % s->n_replicas];
        uint64_t wait_ns;

        if (enso_place_is_lost(p->place, NULL))
            continue;
        wait_ns = enso_queue_wait_ns(p->place->scheduler, p->queue, now_ns);
        if (wait_ns < least_ns) {
            best = p;
            least_ns = wait_ns;
        }
    }
    return best;
}

/* --- finding folders -------------------------------------------------------------------------- */

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n > k && strcmp(s + n - k, suffix) == 0;
}

/* Does the folder hold a model of its own? */
static bool is_model_folder(const char *path)
{
    static const char *const names[] = {"config.json", "modules.json", "ensod.json"};
    char file[PATH_SIZE];
    struct stat st;
    bool found = false;
    DIR *dir;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++)
        if (snprintf(file, sizeof file, "%s/%s", path, names[i]) < (int)sizeof file &&
            stat(file, &st) == 0)
            return true;
    dir = opendir(path);
    if (dir == NULL)
        return false;
    for (struct dirent *d; !found && (d = readdir(dir)) != NULL;)
        found = has_suffix(d->d_name, ".onnx") || has_suffix(d->d_name, ".safetensors");
    (void)closedir(dir);
    return found;
}

static struct enso_entry *find_entry(const struct enso_registry *r, const char *id)
{
    for (size_t i = 0; i < r->n_entries; i++)
        if (strcmp(r->entries[i]->id, id) == 0)
            return r->entries[i];
    for (size_t i = 0; i < r->n_aliases; i++)
        if (strcmp(r->aliases[i].name, id) == 0)
            return r->aliases[i].entry;
    return NULL;
}

static int add_entry(struct enso_registry *r, const char *id, const char *path,
                     const struct enso_config_model *config, struct enso_error *err)
{
    struct enso_entry *other = find_entry(r, id), *e;

    if (other != NULL)
        return enso_error_set(err, ENSO_INVALID,
                              "two models are called '%s': '%s' and '%s'; give one a served_name "
                              "in the configuration",
                              id, other->path, path);
    if (r->n_entries == MAX_ENTRIES)
        return enso_error_set(err, ENSO_TOO_LARGE, "more than %d models", MAX_ENTRIES);
    e = enso_arena_alloc_zero(&r->arena, 1, sizeof *e);
    if (e == NULL)
        return enso_error_no_memory(err, "the list of models");
    e->id = enso_arena_strndup(&r->arena, id, strlen(id));
    e->path = enso_arena_strndup(&r->arena, path, strlen(path));
    if (e->id == NULL || e->path == NULL)
        return enso_error_no_memory(err, "the list of models");
    e->batching = config->batching;
    e->arithmetic = config->arithmetic;
    e->device = config->device;
    e->required = config->required;
    r->entries[r->n_entries++] = e;
    return ENSO_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the folders below path, sorted; *ret_names and each name are the caller's. */
static int list_folders(const char *path, char ***ret_names, size_t *ret_n, struct enso_error *err)
{
    DIR *dir = opendir(path);
    char **names = NULL, file[PATH_SIZE];
    size_t n = 0;
    int st = ENSO_OK;

    if (dir == NULL)
        return enso_error_set(err, errno == ENOENT ? ENSO_NOT_FOUND : ENSO_IO,
                              "cannot read folder '%s': %s", path, strerror(errno));
    for (struct dirent *d; st == ENSO_OK && (d = readdir(dir)) != NULL;) {
        struct stat info;
        char **more;

        if (d->d_name[0] == '.' ||
            snprintf(file, sizeof file, "%s/%s", path, d->d_name) >= (int)sizeof file ||
            stat(file, &info) != 0 || !S_ISDIR(info.st_mode))
            continue;
        more = enso_realloc_array(names, n + 1, sizeof *names);
        if (more == NULL || (names = more, names[n] = enso_strdup(d->d_name)) == NULL)
            st = enso_error_no_memory(err, "the list of models");
        else
            n++;
    }
    (void)closedir(dir);
    if (n != 0)
        qsort(names, n, sizeof *names, compare_names);
    *ret_names = names;
    *ret_n = n;
    return st;
}

/* Every model folder at or below path; ids are paths below the top. */
static int add_folder(struct enso_registry *r, const char *path, const char *id, unsigned depth,
                      const struct enso_config_model *config, struct enso_error *err)
{
    char **names = NULL;
    size_t n = 0;
    int st;

    if (is_model_folder(path))
        return depth == 0 ? ENSO_OK : add_entry(r, id, path, config, err);
    if (depth > MAX_FOLDER_DEPTH)
        return ENSO_OK;
    st = list_folders(path, &names, &n, err);
    for (size_t i = 0; i < n; i++) {
        char below[PATH_SIZE], name[PATH_SIZE];

        if (st == ENSO_OK && snprintf(below, sizeof below, "%s/%s", path, names[i]) < PATH_SIZE &&
            snprintf(name, sizeof name, "%s%s%s", id, id[0] != '\0' ? "/" : "", names[i]) <
                PATH_SIZE)
            st = add_folder(r, below, name, depth + 1, config, err);
        enso_free(names[i]);
    }
    enso_free(names);
    return st;
}

void enso_registry_default_id(const char *path, char *id, size_t size)
{
    char real[PATH_SIZE];
    const char *from = path, *slash;
    size_t n;

    if (realpath(path, real) != NULL) /* "." has a name, too */
        from = real;
    n = strlen(from);
    while (n > 1 && from[n - 1] == '/')
        n--;
    slash = memrchr(from, '/', n);
    if (slash != NULL && n > 1) {
        n -= (size_t)(slash + 1 - from);
        from = slash + 1;
    }
    n = ENSO_MIN(n, size - 1);
    memcpy(id, from, n);
    id[n] = '\0';
    if (has_suffix(id, ".onnx"))
        id[n - 5] = '\0';
}

static int add_configured(struct enso_registry *r, const struct enso_config_model *config,
                          struct enso_error *err)
{
    size_t before = r->n_entries;
    char id[PATH_SIZE];
    struct stat info;
    int st;

    if (config->path == NULL)
        return ENSO_OK; /* settings for a model found elsewhere: applied below */
    if (stat(config->path, &info) != 0)
        return enso_error_set(err, ENSO_NOT_FOUND, "model folder '%s': %s", config->path,
                              strerror(errno));
    enso_registry_default_id(config->path, id, sizeof id);
    if (config->served_name != NULL)
        (void)snprintf(id, sizeof id, "%s", config->served_name);
    else if (config->name != NULL)
        (void)snprintf(id, sizeof id, "%s", config->name);
    if (!S_ISDIR(info.st_mode) || is_model_folder(config->path))
        return add_entry(r, id, config->path, config, err);
    st = add_folder(r, config->path, "", 0, config, err);
    if (st == ENSO_OK && r->n_entries == before)
        st = enso_error_set(err, ENSO_NOT_FOUND,
                            "'%s' holds no model: neither config.json with safetensors, nor "
                            "modules.json, nor an .onnx file, nor folders with these",
                            config->path);
    return st;
}

/* No model was named: those in model_dir, or those installed with ensod. */
static int add_default(struct enso_registry *r, const struct enso_config *config,
                       struct enso_error *err)
{
    struct enso_config_model all = {.path = config->model_dir[0] != '\0' ? config->model_dir
                                                                         : ENSO_MODEL_DIR,
                                    .batching = config->batching,
                                    .arithmetic = config->arithmetic};

    if (access(all.path, F_OK) != 0)
        return enso_error_set(err, ENSO_NOT_FOUND,
                              "no model was named, and there are none in '%s'; name a model "
                              "folder: ensod MODEL_DIR",
                              all.path);
    return add_configured(r, &all, err);
}

static int rename_entry(struct enso_registry *r, struct enso_entry *e, const char *name,
                        struct enso_error *err)
{
    const struct enso_entry *other = find_entry(r, name);

    if (other != NULL && other != e)
        return enso_error_set(err, ENSO_INVALID,
                              "two models are called '%s': '%s' and '%s'; choose another "
                              "served_name for one of them",
                              name, other->path, e->path);
    name = enso_arena_strndup(&r->arena, name, strlen(name));
    if (name == NULL)
        return enso_error_no_memory(err, "the list of models");
    e->id = name;
    return ENSO_OK;
}

/* [model NAME] sections without a path change what was found under that name. */
static int apply_settings(struct enso_registry *r, const struct enso_config_model *config,
                          struct enso_error *err)
{
    struct enso_entry *e = NULL;

    if (config->name != NULL && config->path == NULL) {
        e = find_entry(r, config->name);
        if (e == NULL)
            return enso_error_set(err, ENSO_NOT_FOUND,
                                  "[model %s] in the configuration has no path, and no model of "
                                  "that name was found; give it one",
                                  config->name);
        e->batching = config->batching;
        e->arithmetic = config->arithmetic;
        if (config->device != NULL)
            e->device = config->device;
        e->required = e->required || config->required;
        if (config->served_name != NULL) {
            int st = rename_entry(r, e, config->served_name, err);

            if (st != ENSO_OK)
                return st;
        }
    } else if (config->path != NULL && config->aliases.n != 0) {
        for (size_t i = 0; i < r->n_entries; i++)
            if (strcmp(r->entries[i]->path, config->path) == 0)
                e = r->entries[i];
    }
    for (size_t i = 0; e != NULL && i < config->aliases.n; i++) {
        struct alias *more;
        const char *name = config->aliases.items[i];

        if (find_entry(r, name) != NULL)
            return enso_error_set(err, ENSO_INVALID, "the alias '%s' is taken by another model",
                                  name);
        more = enso_realloc_array(r->aliases, r->n_aliases + 1, sizeof *more);
        if (more == NULL)
            return enso_error_no_memory(err, "the list of aliases");
        r->aliases = more;
        r->aliases[r->n_aliases++] = (struct alias){name, e};
    }
    return ENSO_OK;
}

/* "auto" may have found no GPU; what else could be wrong the configuration has refused. */
static int check_devices(const struct enso_registry *r, struct enso_error *err)
{
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct enso_entry *e = r->entries[i];
        char names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE];
        size_t n = enso_devices_list(e->device, names);

        for (size_t k = 0; k < n; k++) {
            const char *why = r->app->devices->fallback.message;

            if (enso_devices_find(r->app->devices, names[k]) != NULL)
                continue;
            return enso_error_set(err, ENSO_INVALID,
                                  "model '%s' shall run on %s, which is not there (%s); leave "
                                  "device out of its section, or make that GPU work",
                                  e->id, names[k], why[0] != '\0' ? why : "no GPU was found");
        }
    }
    return ENSO_OK;
}

/* --- loading -------------------------------------------------------------------------------- */

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
        uint64_t start_ns, compute_ns = 0;

        st = enso_model_warmup_sample(p->model, scale, &sample, err);
        if (st != ENSO_OK)
            break;
        if (!backend->host_memory)
            st = enso_model_run(p->model, lane, &sample, 1, err);
        start_ns = enso_clock_now_ns();
        if (st == ENSO_OK)
            st = enso_model_begin(p->model, lane, 0, &sample, 1, NULL, err);
        if (st == ENSO_OK)
            st = enso_model_finish(p->model, lane, 0, &sample, 1, &compute_ns, err);
        if (st == ENSO_OK)
            enso_queue_seed(p->queue, enso_sample_cost(sample),
                            compute_ns != 0 ? compute_ns : enso_clock_now_ns() - start_ns);
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

/* One more replica, on the device as for enso_devices_load. A second one that would fall back to
 * the processor is left out: the first serves. */
static int load_replica(struct enso_registry *r, const struct enso_entry *e, const char *device,
                        struct enso_served *s, struct enso_error *err)
{
    struct enso_model_options options = {
        .path = e->path, .id = e->id, .max_pixels = (uint64_t)r->app->config->max_image_pixels};
    struct enso_replica *p = &s->replicas[s->n_replicas];
    struct enso_queue_limits limits;
    struct enso_error fallback;
    struct enso_runner runner;
    int st;

    enso_devices_arithmetic(&e->arithmetic, &options);
    if (s->n_replicas != 0) /* all answer alike, also on unlike cards */
        options.dtype = dtype_of(s->model);
    st = enso_devices_load(r->app->devices, device, &options, &p->model, &p->place, &fallback, err);
    if (st != ENSO_OK)
        return st;
    if (s->n_replicas != 0 && fallback.status != ENSO_OK) {
        enso_model_unref(p->model);
        return ENSO_OK;
    }
    st = enso_place_promise(p->place, p->model, &e->batching, err);
    if (s->n_replicas++ == 0) {
        s->model = p->model;
        s->fallback = fallback;
        if (st == ENSO_OK)
            st = enso_meters_model(r->app->meters, enso_model_info(s->model), &s->meters, err);
        if (st == ENSO_OK && fallback.status != ENSO_OK)
            enso_meters_model_fallback(&s->meters);
        s->observer = enso_meters_observer(&s->meters);
    } else if (st == ENSO_OK) {
        st = enso_meters_model_replica(&s->meters, enso_model_info(p->model), err);
    }
    if (st != ENSO_OK)
        return st;
    runner = (struct enso_runner){p->model, enso_model_begin, enso_model_finish};
    queue_limits(e, enso_model_info(p->model), &limits);
    st = enso_queue_create(e->id, &limits, &runner, &s->observer, &p->queue, err);
    return st == ENSO_OK ? seed(p, err) : st;
}

/* device: one, several, or NULL: any */
static int load(struct enso_registry *r, const struct enso_entry *e, const char *device,
                struct enso_served **ret, struct enso_error *err)
{
    char names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE];
    size_t n = enso_devices_list(device, names);
    struct enso_served *s = enso_alloc_zero(1, sizeof *s);
    int st;

    if (s == NULL)
        return enso_error_no_memory(err, "a model");
    atomic_init(&s->refs, 1);
    s->id = e->id;
    s->truncate = e->batching.truncate;
    s->created = enso_clock_wall_seconds();
    st = load_replica(r, e, n != 0 ? names[0] : NULL, s, err);
    for (size_t i = 1; st == ENSO_OK && i < n && s->fallback.status == ENSO_OK; i++)
        st = load_replica(r, e, names[i], s, err);
    if (st != ENSO_OK) {
        enso_served_unref(s);
        return st;
    }
    *ret = s;
    return ENSO_OK;
}

static void publish(struct enso_registry *r, struct enso_entry *e, struct enso_served *s,
                    const struct enso_error *err)
{
    for (size_t i = 0; s != NULL && i < s->n_replicas; i++)
        enso_scheduler_add_queue(s->replicas[i].place->scheduler, s->replicas[i].queue);
    (void)pthread_mutex_lock(&r->lock); /* a plain mutex: locking cannot fail */
    e->served = s;
    e->error = *err;
    e->state = s != NULL ? ENSO_ENTRY_READY : ENSO_ENTRY_FAILED;
    (void)pthread_mutex_unlock(&r->lock);
    if (s != NULL) {
        const struct enso_model_info *info = enso_model_info(s->model);

        enso_log(ENSO_LOG_NOTICE, "model ready",
                 "model=%s task=%s architecture=%s device=%s replicas=%zu dtype=%s batched=%s "
                 "weight_bytes=%llu seconds=%.3f",
                 e->id, enso_task_name(info->task), info->architecture, info->device, s->n_replicas,
                 info->dtype, info->batched ? "yes" : "no", (unsigned long long)info->weight_bytes,
                 info->load_seconds);
        if (info->dtype_reason != NULL)
            enso_log(ENSO_LOG_WARNING, "model computes in fp32", "model=%s reason=%s", e->id,
                     info->dtype_reason);
    } else if (!e->required) { /* else it ends the start, whose sentence it is */
        enso_log_failure(ENSO_LOG_ERROR, "model failed", err);
    }
    enso_wakeup_send(r->bell);
}

static void remove_queues(struct enso_served *s)
{
    for (size_t i = 0; i < s->n_replicas; i++) {
        struct enso_replica *p = &s->replicas[i];

        if (!p->removed)
            enso_scheduler_remove_queue(p->place->scheduler, p->queue, enso_clock_now_ns());
        p->removed = true;
    }
}

/* The same without the wait; false while a batch runs. */
static bool try_remove_queues(struct enso_served *s)
{
    bool all = true;

    for (size_t i = 0; i < s->n_replicas; i++) {
        struct enso_replica *p = &s->replicas[i];

        p->removed = p->removed || enso_scheduler_try_remove_queue(p->place->scheduler, p->queue,
                                                                   enso_clock_now_ns());
        all = all && p->removed;
    }
    return all;
}

/* A model of a lost device loads again: onto that device, which fails and tells why, hence onto the
 * processor. Requests that come meanwhile hear that it is loading. Gives back what served until
 * then, NULL if it may go on. */
static struct enso_served *move(struct enso_registry *r, struct enso_entry *e)
{
    struct enso_served *old, *s = NULL;
    struct enso_error err = {0};

    (void)pthread_mutex_lock(&r->lock); /* a plain mutex: locking cannot fail */
    old = e->served;
    if (old == NULL || !enso_served_is_lost(old, NULL)) {
        (void)pthread_mutex_unlock(&r->lock);
        return NULL;
    }
    e->served = NULL;
    e->state = ENSO_ENTRY_LOADING;
    (void)pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < old->n_replicas; i++)
        enso_scheduler_close_queue(old->replicas[i].place->scheduler, old->replicas[i].queue);
    enso_meters_model_replaced(&old->meters);
    (void)load(r, e, old->replicas[0].place->name, &s, &err); /* err tells */
    publish(r, e, s, &err);
    return old;
}

/* Free what moved models left behind. A lane that is stuck in the driver of a lost device keeps its
 * batch, maybe for ever: what that batch is of stays on the list. */
static void let_go_of_moved(struct enso_registry *r)
{
    static const struct timespec nap = {.tv_nsec = MOVED_NAP_NS};

    for (int i = 0; i < MOVED_NAPS && r->moved != NULL && !atomic_load(&r->stopping); i++) {
        struct enso_served **at = &r->moved;

        if (i != 0)
            (void)nanosleep(&nap, NULL); /* woken early: it looks again */
        while (*at != NULL) {
            struct enso_served *s = *at;

            if (try_remove_queues(s)) {
                *at = s->next_moved;
                enso_served_unref(s);
            } else {
                at = &s->next_moved;
            }
        }
    }
}

/* True: there was something to do. */
static bool move_lost(struct enso_registry *r)
{
    bool wanted;

    (void)pthread_mutex_lock(&r->lock);
    wanted = r->move_lost && !atomic_load(&r->stopping);
    r->move_lost = false;
    r->loader_works = wanted;
    (void)pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; wanted && i < r->n_entries && !atomic_load(&r->stopping); i++) {
        struct enso_served *old = move(r, r->entries[i]);

        if (old != NULL) {
            old->next_moved = r->moved;
            r->moved = old;
        }
    }
    let_go_of_moved(r);
    return wanted;
}

static void *mover_main(void *arg)
{
    while (move_lost(arg))
        ;
    return NULL;
}

static void *loader_main(void *arg)
{
    struct enso_registry *r = arg;

    for (size_t i = 0; i < r->n_entries && !atomic_load(&r->stopping); i++) {
        struct enso_served *s = NULL;
        struct enso_error err = {0};

        (void)load(r, r->entries[i], r->entries[i]->device, &s, &err); /* err tells */
        publish(r, r->entries[i], s, &err);
        /* From the first model that serves on, requests come first. Linux gives each thread its own
         * nice value. Refusal does no harm. */
        if (s != NULL)
            (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), LOADER_NICE);
    }
    return mover_main(r);
}

static void on_bell(void *user)
{
    struct enso_registry *r = user;

    r->on_change(r->app);
}

/* --- life ---------------------------------------------------------------------------------- */

int enso_registry_create(const struct enso_registry_options *options,
                         struct enso_registry **ret_registry, struct enso_error *err)
{
    const struct enso_config *config = options->app->config;
    struct enso_registry *r = enso_alloc_zero(1, sizeof *r);
    int st = ENSO_OK;

    if (r == NULL)
        return enso_error_no_memory(err, "the list of models");
    r->app = options->app;
    r->on_change = options->on_change;
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail with default attributes */
    for (size_t i = 0; st == ENSO_OK && i < config->n_model_entries; i++)
        st = add_configured(r, &config->model_entries[i], err);
    if (st == ENSO_OK && r->n_entries == 0)
        st = add_default(r, config, err);
    for (size_t i = 0; st == ENSO_OK && i < config->n_model_entries; i++)
        st = apply_settings(r, &config->model_entries[i], err);
    if (st == ENSO_OK)
        st = check_devices(r, err);
    if (st == ENSO_OK) {
        r->bell = enso_wakeup_create(r->app->loop, on_bell, r, err);
        st = r->bell != NULL ? ENSO_OK : ENSO_NO_MEMORY;
    }
    if (st != ENSO_OK) {
        enso_registry_destroy(r);
        return st;
    }
    *ret_registry = r;
    return ENSO_OK;
}

static int start_loader(struct enso_registry *r, void *(*main)(void *), struct enso_error *err)
{
    int rc;

    r->loader_works = true; /* nobody else is there yet */
    rc = pthread_create(&r->loader, NULL, main, r);
    if (rc != 0)
        return enso_error_set(err, ENSO_NO_MEMORY, "cannot start the loader's thread: %s",
                              strerror(rc));
    r->has_loader = true;
    return ENSO_OK;
}

int enso_registry_start(struct enso_registry *r, struct enso_error *err)
{
    return start_loader(r, loader_main, err);
}

void enso_registry_move_lost(struct enso_registry *r)
{
    struct enso_error err = {0};
    bool works;

    if (atomic_load(&r->stopping))
        return;
    (void)pthread_mutex_lock(&r->lock); /* a plain mutex: locking cannot fail */
    r->move_lost = true;
    works = r->loader_works;
    (void)pthread_mutex_unlock(&r->lock);
    if (works)
        return;
    if (r->has_loader)
        (void)pthread_join(r->loader, NULL); /* it is at its end */
    r->has_loader = false;
    if (start_loader(r, mover_main, &err) != ENSO_OK)
        enso_log_failure(ENSO_LOG_ERROR, "models stay on the lost device", &err);
}

bool enso_registry_stop_loading(struct enso_registry *r)
{
    struct timespec until;

    atomic_store(&r->stopping, true);
    if (!r->has_loader)
        return false;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* pthread_timedjoin_np's clock */
    until.tv_nsec += (long)(LOADER_WAIT_NS);
    if (until.tv_nsec >= (long)ENSO_NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= (long)ENSO_NS_PER_S;
    }
    r->has_loader = false;
    if (pthread_timedjoin_np(r->loader, NULL, &until) == 0)
        return false;
    (void)pthread_detach(r->loader); /* it is ours and not joined */
    return true;
}

void enso_registry_destroy(struct enso_registry *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    if (r->has_loader)
        (void)pthread_join(r->loader, NULL); /* it is ours and joined once */
    for (size_t i = 0; i < r->n_entries; i++) {
        struct enso_entry *e = r->entries[i];

        if (e->served != NULL)
            remove_queues(e->served);
        enso_served_unref(e->served);
    }
    while (r->moved != NULL) {
        struct enso_served *s = r->moved;

        r->moved = s->next_moved;
        remove_queues(s);
        enso_served_unref(s);
    }
    enso_wakeup_destroy(r->bell);
    enso_free(r->aliases);
    enso_arena_done(&r->arena);
    (void)pthread_mutex_destroy(&r->lock); /* nobody is left */
    enso_free(r);
}

/* --- asking --------------------------------------------------------------------------------- */

size_t enso_registry_n_entries(const struct enso_registry *r)
{
    return r->n_entries;
}

const struct enso_entry *enso_registry_entry(const struct enso_registry *r, size_t i)
{
    return r->entries[i];
}

enum enso_entry_state enso_registry_state(struct enso_registry *r, const struct enso_entry *entry,
                                          struct enso_served **ret_served,
                                          struct enso_error *ret_error)
{
    enum enso_entry_state state;

    (void)pthread_mutex_lock(&r->lock);
    state = entry->state;
    if (ret_served != NULL)
        *ret_served = entry->served != NULL ? enso_served_ref(entry->served) : NULL;
    if (ret_error != NULL)
        *ret_error = entry->error;
    if (entry->served != NULL && enso_served_is_lost(entry->served, ret_error))
        state = r->app->devices->move_lost ? ENSO_ENTRY_LOADING : ENSO_ENTRY_FAILED;
    (void)pthread_mutex_unlock(&r->lock);
    return state;
}

void enso_registry_readiness(struct enso_registry *r, struct enso_readiness *ret)
{
    *ret = (struct enso_readiness){0};
    for (size_t i = 0; i < r->n_entries; i++) {
        struct enso_served *s;
        struct enso_error why;
        enum enso_entry_state state = enso_registry_state(r, r->entries[i], &s, &why);

        ret->n_loading += state == ENSO_ENTRY_LOADING;
        ret->n_ready += state == ENSO_ENTRY_READY;
        ret->n_failed += state == ENSO_ENTRY_FAILED;
        if (state == ENSO_ENTRY_FAILED && r->entries[i]->required)
            ret->required_failed = true;
        if (state == ENSO_ENTRY_FAILED && s != NULL && ret->n_lost++ == 0)
            ret->lost = why;
        enso_served_unref(s);
    }
}

#define NAMES_SIZE 256

/* One more of "a, b, c"; "..." when there is no room. */
static void add_name(char names[NAMES_SIZE], const char *id)
{
    size_t used = strlen(names), n = strlen(id);

    if (used + n + 8 <= NAMES_SIZE)
        (void)snprintf(names + used, NAMES_SIZE - used, "%s%s", used != 0 ? ", " : "", id);
    else if (used < 5 || strcmp(names + used - 5, ", ...") != 0)
        (void)snprintf(names + used, NAMES_SIZE - used, ", ...");
}

static void list_names(const struct enso_registry *r, char names[NAMES_SIZE])
{
    names[0] = '\0';
    for (size_t i = 0; i < r->n_entries; i++)
        add_name(names, r->entries[i]->id);
}

static bool has_task(const struct enso_served *s, unsigned tasks)
{
    return tasks == 0 || (tasks & 1u << enso_model_info(s->model)->task) != 0;
}

/* The only model with the task. While some load it is unknown which that is. */
static int find_only(struct enso_registry *r, unsigned tasks, struct enso_served **ret_served,
                     struct enso_error *err)
{
    struct enso_served *found = NULL;
    size_t n = 0, n_loading = 0;
    char names[NAMES_SIZE] = "";

    for (size_t i = 0; i < r->n_entries; i++) {
        struct enso_served *s;

        n_loading += enso_registry_state(r, r->entries[i], &s, NULL) == ENSO_ENTRY_LOADING;
        if (s == NULL || !has_task(s, tasks)) {
            enso_served_unref(s);
            continue;
        }
        add_name(names, r->entries[i]->id);
        enso_served_unref(found);
        found = s;
        n++;
    }
    if (n == 1 && n_loading == 0 && !enso_served_is_lost(found, err)) {
        *ret_served = found;
        return ENSO_OK;
    }
    if (n == 1 && n_loading == 0) {
        enso_served_unref(found);
        return ENSO_UNAVAILABLE; /* err tells of the device */
    }
    enso_served_unref(found);
    enso_error_param(err, "model");
    if (n_loading != 0)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "models are still loading; name one with \"model\", or try again");
    if (n == 0)
        list_names(r, names);
    return enso_error_set(err, ENSO_INVALID,
                          n == 0 ? "no model of this task is served; there are: %s"
                                 : "several models could be meant; name one with \"model\": %s",
                          names);
}

const struct enso_entry *enso_registry_entry_named(const struct enso_registry *r, const char *name,
                                                   struct enso_error *err)
{
    const struct enso_entry *e = find_entry(r, name);
    char names[NAMES_SIZE];

    if (e != NULL)
        return e;
    list_names(r, names);
    enso_error_param(err, "model");
    enso_error_code(err, "model_not_found");
    (void)enso_error_set(err, ENSO_NOT_FOUND, "there is no model '%.100s'; there are: %s", name,
                         names);
    return NULL;
}

int enso_registry_find(struct enso_registry *r, const char *name, unsigned tasks,
                       struct enso_served **ret_served, struct enso_error *err)
{
    const struct enso_entry *e;
    struct enso_served *s;
    struct enso_error why;
    enum enso_entry_state state;

    if (name == NULL)
        return find_only(r, tasks, ret_served, err);
    e = enso_registry_entry_named(r, name, err);
    if (e == NULL)
        return ENSO_NOT_FOUND;
    state = enso_registry_state(r, e, &s, &why);
    if (state != ENSO_ENTRY_READY) {
        enso_served_unref(s); /* of a lost device */
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              state == ENSO_ENTRY_LOADING
                                  ? "model '%.400s' is still loading; try again"
                              : s != NULL ? "%.400s"
                                          : "%.400s; it could not be loaded",
                              state == ENSO_ENTRY_LOADING ? e->id : why.message);
    }
    if (!has_task(s, tasks)) {
        enso_error_param(err, "model");
        enso_error_code(err, "wrong_task");
        (void)enso_error_set(err, ENSO_INVALID,
                             "model '%s' has the task %s, which this path does "
                             "not serve",
                             e->id, enso_task_name(enso_model_info(s->model)->task));
        enso_served_unref(s);
        return ENSO_INVALID;
    }
    *ret_served = s;
    return ENSO_OK;
}
