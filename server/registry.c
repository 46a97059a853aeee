/* SPDX-License-Identifier: Apache-2.0
 *
 * The models that are served: see registry.h. The loader is one niced thread that loads entries in
 * order (served_load.c) and publishes the result; the loop hears of it by a bell.
 */
#include "ensod_build.h"

#include "server/registry.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "server/app.h"
#include "server/device.h"
#include "server/loop.h"
#include "server/lost.h"

#define LOADER_NICE 10
/* How long a batch on a lost device may take to come back before its model is left there. */
#define MOVED_NAPS 20
#define MOVED_NAP_NS 50000000
#define LOADER_WAIT_NS (ENSO_NS_PER_S / 2)

struct enso_registry {
    struct enso_app *app;
    void (*on_change)(struct enso_app *app);
    struct enso_entries entries;
    pthread_mutex_t lock; /* guards entries' state, error, served */
    pthread_t loader;
    bool has_loader;           /* started and not joined */
    bool loader_works;         /* under the lock: it looks at move_lost before it ends */
    bool move_lost;            /* under the lock */
    struct enso_served *moved; /* loader: versions that others replaced, not yet freed */
    atomic_bool stopping;
    struct enso_wakeup *bell;
};

/* --- loading -------------------------------------------------------------------------------- */

/* "auto" may have found no GPU; what else could be wrong the configuration has refused. */
static int check_devices(const struct enso_registry *r, struct enso_error *err)
{
    for (size_t i = 0; i < r->entries.n; i++) {
        const struct enso_entry *e = r->entries.items[i];
        char names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE];
        size_t n = enso_devices_list(e->device, names);

        for (size_t k = 0; k < n; k++) {
            const struct enso_devices *devices = r->app->devices;
            const char *why = devices->passed_over.status != ENSO_OK ? devices->passed_over.message
                                                                     : devices->fallback.message;

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

static void publish(struct enso_registry *r, struct enso_entry *e, struct enso_served *s,
                    const struct enso_error *err)
{
    if (s != NULL)
        enso_served_start(s);
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
            enso_log(ENSO_LOG_WARNING, "model computes in another type",
                     "model=%s dtype=%s reason=%s", e->id, info->dtype, info->dtype_reason);
    } else if (!e->required) { /* else it ends the start, whose sentence it is */
        enso_log_failure(ENSO_LOG_ERROR, "model failed", err);
    }
    enso_wakeup_send(r->bell);
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
    enso_served_close(old);
    enso_meters_model_replaced(&old->meters);
    (void)enso_served_load(r->app, e, old->replicas[0].place->name, &r->stopping, &s,
                           &err); /* err tells */
    publish(r, e, s, &err);
    if (s == NULL && e->required) /* the start, whose sentence this would be, is over */
        enso_log_failure(ENSO_LOG_ERROR, "model failed", &err);
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

            if (enso_served_try_stop(s)) {
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
    for (size_t i = 0; wanted && i < r->entries.n && !atomic_load(&r->stopping); i++) {
        struct enso_served *old = move(r, r->entries.items[i]);

        if (old != NULL) {
            old->next_moved = r->moved;
            r->moved = old;
        }
    }
    if (wanted)
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

    for (size_t i = 0; i < r->entries.n && !atomic_load(&r->stopping); i++) {
        struct enso_entry *e = r->entries.items[i];
        struct enso_served *s = NULL;
        struct enso_error err = {0};

        (void)enso_served_load(r->app, e, e->device, &r->stopping, &s, &err); /* err tells */
        publish(r, e, s, &err);
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
    struct enso_registry *r = enso_alloc_zero(1, sizeof *r);
    int st;

    if (r == NULL)
        return enso_error_no_memory(err, "the list of models");
    r->app = options->app;
    r->on_change = options->on_change;
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail with default attributes */
    st = enso_entries_read(r->app->config, &r->entries, err);
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
    for (size_t i = 0; i < r->entries.n; i++) {
        struct enso_entry *e = r->entries.items[i];

        if (e->served != NULL)
            enso_served_stop(e->served);
        enso_served_unref(e->served);
    }
    while (r->moved != NULL) {
        struct enso_served *s = r->moved;

        r->moved = s->next_moved;
        enso_served_stop(s);
        enso_served_unref(s);
    }
    enso_wakeup_destroy(r->bell);
    enso_entries_done(&r->entries);
    (void)pthread_mutex_destroy(&r->lock); /* nobody is left */
    enso_free(r);
}

/* --- asking --------------------------------------------------------------------------------- */

size_t enso_registry_n_entries(const struct enso_registry *r)
{
    return r->entries.n;
}

const struct enso_entry *enso_registry_entry(const struct enso_registry *r, size_t i)
{
    return r->entries.items[i];
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
    for (size_t i = 0; i < r->entries.n; i++) {
        struct enso_served *s;
        struct enso_error why;
        enum enso_entry_state state = enso_registry_state(r, r->entries.items[i], &s, &why);

        ret->n_loading += state == ENSO_ENTRY_LOADING;
        ret->n_ready += state == ENSO_ENTRY_READY;
        ret->n_failed += state == ENSO_ENTRY_FAILED;
        if (state == ENSO_ENTRY_FAILED && r->entries.items[i]->required)
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
    for (size_t i = 0; i < r->entries.n; i++)
        add_name(names, r->entries.items[i]->id);
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

    for (size_t i = 0; i < r->entries.n; i++) {
        struct enso_served *s;

        n_loading += enso_registry_state(r, r->entries.items[i], &s, NULL) == ENSO_ENTRY_LOADING;
        if (s == NULL || !has_task(s, tasks)) {
            enso_served_unref(s);
            continue;
        }
        add_name(names, r->entries.items[i]->id);
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
    const struct enso_entry *e = enso_entries_find(&r->entries, name);
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
