/* SPDX-License-Identifier: Apache-2.0
 *
 * Putting the daemon together: see daemon.h. Order of the start: signals, log, device and lanes,
 * models listed, sockets open (so that a port in use ends the start before models are read),
 * loader started. Order of the end (drain): readiness fails, drain_delay, stop accepting, wait for
 * what is in flight at most drain_timeout, 503 to the rest, stop lanes, free everything. A lane
 * that has not ended soon after that (its driver may never come back) is left alone, and so is all
 * that it may touch: the process ends without freeing. A second signal shortens all of it.
 */
#include "server/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "batching/lanes.h"
#include "batching/scheduler.h"
#include "engine/backend.h"
#include "ensod_build.h"
#include "server/budget.h"
#include "server/device.h"
#include "server/device_meters.h"
#include "server/flow.h"
#include "server/http.h"
#include "server/listener.h"
#include "server/loop.h"
#include "server/lost.h"
#include "server/meters.h"
#include "server/registry.h"
#include "server/reload.h"
#include "server/service.h"
#include "server/tidy.h"

#define MAX_LISTENERS 64
#define DRAIN_POLL_MS 20
#define FINISH_WAIT_MS 1000
#define HOME_WAIT_MS 3000 /* for lanes and pool workers, after drain_timeout */
#define HURRY_WAIT_MS 100 /* the same after a second signal */
#define HOME_POLL_US 1000
#define RESERVED_DESCRIPTORS 128

struct daemon {
    struct enso_app app; /* first: callbacks get the app */
    struct enso_config *config;
    const struct enso_reload_source *source;
    struct enso_devices devices;
    struct enso_device_meters *device_meters;
    struct enso_listener *listeners[MAX_LISTENERS];
    size_t n_listeners;
    struct enso_signal *term, *interrupt, *hangup;
    struct enso_timer *drain_timer;
    struct enso_service *service;
    rlim_t n_descriptors;
    bool told_ready;
    uint64_t drain_until_ns;
    unsigned n_signals;
    struct enso_error failure; /* why the loop was left, if it was a failure */
};

/* --- limits of the process ------------------------------------------------------------------- */

/* As many descriptors as the hard limit allows; gives how many there are. */
static rlim_t raise_descriptor_limit(void)
{
    struct rlimit limit;
    rlim_t before;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return RLIM_INFINITY; /* not known: accept() will tell */
    before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (before == limit.rlim_max || setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return limit.rlim_max;
    enso_log(ENSO_LOG_WARNING, "cannot raise the limit of open files", "error=%s", strerror(errno));
    return before;
}

/* How many connections there are descriptors for, beside what listeners, logs, epoll and the
 * reading of models need. */
static unsigned connections_that_fit(long long wanted, rlim_t n_descriptors)
{
    rlim_t reserve = ENSO_MIN(n_descriptors / 2, (rlim_t)RESERVED_DESCRIPTORS);
    rlim_t most = ENSO_MAX(n_descriptors - reserve, (rlim_t)1);

    if (n_descriptors == RLIM_INFINITY || (rlim_t)wanted <= most)
        return (unsigned)wanted;
    enso_log(ENSO_LOG_WARNING, "fewer connections than max_connections",
             "max_connections=%lld possible=%llu limit_of_open_files=%llu remedy=%s", wanted,
             (unsigned long long)most, (unsigned long long)n_descriptors,
             "raise the hard limit of open files: LimitNOFILE= in the unit, or ulimit -Hn");
    return (unsigned)most;
}

/* libuv reads its pool's size when it is first used. */
static void size_pool(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char text[24];

    (void)snprintf(text, sizeof text, "%ld", ENSO_MAX(2L, cores / 2));
    (void)setenv("UV_THREADPOOL_SIZE", text, 0); /* the user's own value stands */
}

/* --- drain ----------------------------------------------------------------------------------- */

static void leave(struct daemon *d)
{
    enso_loop_stop(d->app.loop);
}

/* Everything received before accepting stopped is answered, or the time is over. */
static void drain_poll(void *user)
{
    struct daemon *d = user;
    size_t pending = enso_http_n_pending(d->app.http);

    if (pending == 0 || enso_clock_now_ns() >= d->drain_until_ns) {
        if (pending != 0)
            enso_log(ENSO_LOG_WARNING, "drain timed out", "requests=%zu", pending);
        leave(d);
        return;
    }
    enso_timer_start(d->drain_timer, DRAIN_POLL_MS, 0);
}

static void stop_accepting(void *user)
{
    struct daemon *d = user;

    for (size_t i = 0; i < d->n_listeners; i++)
        enso_listener_stop(d->listeners[i]);
    enso_http_stop_accepting(d->app.http);
    d->drain_until_ns = enso_clock_now_ns() + d->config->drain_timeout_ns;
    enso_timer_destroy(d->drain_timer);
    d->drain_timer = enso_timer_create(d->app.loop, drain_poll, d, NULL);
    if (d->drain_timer == NULL)
        leave(d);
    else
        enso_timer_start(d->drain_timer, 1, 0);
}

static void begin_drain(struct daemon *d)
{
    if (d->app.draining)
        return; /* a device was lost and a signal came */
    enso_log(ENSO_LOG_NOTICE, "draining", "requests=%zu", enso_http_n_pending(d->app.http));
    d->app.draining = true;
    enso_service_stopping(d->service);
    d->drain_timer = enso_timer_create(d->app.loop, stop_accepting, d, NULL);
    if (d->drain_timer == NULL) {
        leave(d);
        return;
    }
    enso_timer_start(d->drain_timer, d->config->drain_delay_ns / ENSO_NS_PER_MS, 0);
}

static void on_stop_signal(void *user)
{
    struct daemon *d = user;

    if (++d->n_signals > 1) {
        enso_log(ENSO_LOG_WARNING, "stopping at once", "reason=%s", "second signal");
        leave(d);
        return;
    }
    begin_drain(d);
}

/* on_device_lost = exit: the end is a failure, so that whoever watches starts ensod again. */
static void on_lost(struct enso_app *app, const struct enso_error *why)
{
    struct daemon *d = (struct daemon *)app;

    if (d->failure.status == ENSO_OK)
        d->failure = *why;
    begin_drain(d);
}

/* SIGHUP: another configuration, or logrotate moved the access log. */
static void on_hangup_signal(void *user)
{
    struct daemon *d = user;

    if (d->app.http != NULL)
        enso_reload(d->source, d->config, d->app.http);
}

/* --- models ---------------------------------------------------------------------------------- */

/* A model came up or failed. */
static void on_models(struct enso_app *app)
{
    struct daemon *d = (struct daemon *)app;
    struct enso_readiness r;

    enso_lost_check(app);
    if (d->told_ready || app->draining)
        return; /* on the way out it does not matter any more */
    enso_registry_readiness(app->registry, &r);
    if (r.required_failed) {
        for (size_t i = 0; i < enso_registry_n_entries(app->registry); i++) {
            const struct enso_entry *e = enso_registry_entry(app->registry, i);
            struct enso_error why;

            if (enso_registry_state(app->registry, e, NULL, &why) == ENSO_ENTRY_FAILED &&
                e->required && d->failure.status == ENSO_OK)
                d->failure = why;
        }
        leave(d);
        return;
    }
    if (r.n_loading != 0)
        return;
    if (r.n_ready == 0) {
        (void)enso_error_set(&d->failure, ENSO_NOT_FOUND, "no model could be loaded");
        leave(d);
        return;
    }
    d->told_ready = true;
    enso_log(ENSO_LOG_NOTICE, "ready", "models=%zu failed=%zu", r.n_ready, r.n_failed);
    enso_service_ready(d->service, r.n_ready, r.n_failed);
}

/* --- sockets --------------------------------------------------------------------------------- */

static bool on_socket(int fd, const struct sockaddr *peer, socklen_t peer_size, void *user)
{
    struct daemon *d = user;
    struct enso_error err = {0};

    if (enso_http_add_socket(d->app.http, fd, peer, peer_size, &err) != ENSO_OK)
        enso_log_failure(ENSO_LOG_WARNING, "connection refused", &err);
    return !enso_http_is_full(d->app.http);
}

static void on_trouble(const char *sentence, void *user)
{
    (void)user;
    enso_log(ENSO_LOG_WARNING, "accepting pauses", "error=%s", sentence);
}

static void announce(const struct enso_listener *listener)
{
    enso_log(ENSO_LOG_NOTICE, "listening", "address=%s", enso_listener_address(listener));
    if (!enso_listener_is_local(listener))
        enso_log(ENSO_LOG_WARNING, "anybody who reaches this address may use the models",
                 "address=%s remedy=%s", enso_listener_address(listener),
                 "listen on 127.0.0.1 or put a proxy with authentication in front");
}

static int open_listeners(struct daemon *d, struct enso_error *err)
{
    const struct enso_listener_callbacks callbacks = {on_socket, on_trouble, d};
    int fds[MAX_LISTENERS];
    size_t n = enso_listener_inherited(fds, MAX_LISTENERS);
    int st = ENSO_OK;

    for (size_t i = 0; i < n; i++) {
        if (st == ENSO_OK)
            st = enso_listener_create_take(d->app.loop, fds[i], &callbacks,
                                           &d->listeners[d->n_listeners], err);
        else
            (void)close(fds[i]); /* nothing was written */
        if (st == ENSO_OK)
            announce(d->listeners[d->n_listeners++]);
    }
    for (size_t i = 0; st == ENSO_OK && n == 0 && i < d->config->listen.n; i++) {
        if (d->n_listeners == MAX_LISTENERS)
            return enso_error_set(err, ENSO_TOO_LARGE, "more than %d addresses to listen on",
                                  MAX_LISTENERS);
        st = enso_listener_create(d->app.loop, d->config->listen.items[i], &callbacks,
                                  &d->listeners[d->n_listeners], err);
        if (st == ENSO_OK)
            announce(d->listeners[d->n_listeners++]);
    }
    return st;
}

static int create_http(struct daemon *d, struct enso_error *err)
{
    const struct enso_config *c = d->config;
    struct enso_http_options options = {
        .budget = d->app.budget,
        .max_body_bytes = (size_t)c->max_body_bytes,
        .max_connections = connections_that_fit(c->max_connections, d->n_descriptors),
        .header_timeout_ms = (unsigned)(c->header_timeout_ns / ENSO_NS_PER_MS),
        .body_timeout_ms = (unsigned)(c->body_timeout_ns / ENSO_NS_PER_MS),
        .idle_timeout_ms = (unsigned)(c->idle_timeout_ns / ENSO_NS_PER_MS),
        .write_timeout_ms = (unsigned)(c->write_timeout_ns / ENSO_NS_PER_MS),
    };

    enso_flow_callbacks(&d->app, &options.callbacks);
    return enso_http_create(d->app.loop, &options, &d->app.http, err);
}

/* --- start and end --------------------------------------------------------------------------- */

static int start_signals(struct daemon *d, struct enso_error *err)
{
    d->term = enso_signal_create(d->app.loop, SIGTERM, on_stop_signal, d, err);
    if (d->term != NULL)
        d->interrupt = enso_signal_create(d->app.loop, SIGINT, on_stop_signal, d, err);
    if (d->interrupt != NULL)
        d->hangup = enso_signal_create(d->app.loop, SIGHUP, on_hangup_signal, d, err);
    return d->hangup != NULL ? ENSO_OK : ENSO_NO_MEMORY;
}

static int start_metrics(struct daemon *d, struct enso_error *err)
{
    struct enso_app *app = &d->app;
    int st;

    app->metrics = enso_metrics_create();
    app->budget = enso_budget_create((size_t)d->config->request_memory_bytes);
    if (app->metrics == NULL || app->budget == NULL)
        return enso_error_no_memory(err, "the metrics");
    st = enso_metrics_add_build_info(app->metrics, "ensod_build_info",
                                     (const char *const[]){"version", NULL},
                                     (const char *const[]){PACKAGE_VERSION, NULL}, err);
    return st == ENSO_OK ? enso_meters_create(app, &app->meters, err) : st;
}

static int start(struct daemon *d, struct enso_error *err)
{
    struct enso_app *app = &d->app;
    struct enso_registry_options registry = {.app = app, .on_change = on_models};
    int st;

    app->loop = enso_loop_create(err);
    if (app->loop == NULL)
        return ENSO_NO_MEMORY;
    st = start_signals(d, err);
    if (st == ENSO_OK)
        st = enso_flow_init(app, err);
    if (st == ENSO_OK)
        st = start_metrics(d, err);
    if (st == ENSO_OK)
        st = enso_tidy_create(app->loop, app->budget, &app->tidy, err);
    if (st == ENSO_OK)
        st = enso_devices_open(d->config, &d->devices, err);
    if (st == ENSO_OK)
        st = enso_devices_start(&d->devices, err);
    if (st != ENSO_OK)
        return st;
    app->devices = &d->devices;
    st = enso_device_meters_create(app, &d->device_meters, err);
    if (st == ENSO_OK)
        st = enso_registry_create(&registry, &app->registry, err);
    if (st == ENSO_OK)
        st = create_http(d, err);
    if (st == ENSO_OK)
        st = open_listeners(d, err);
    if (st == ENSO_OK)
        st = enso_service_create(app, &d->service, err);
    if (st == ENSO_OK)
        st = enso_registry_start(app->registry, err);
    return st;
}

static bool has_lost(const struct daemon *d)
{
    for (size_t i = 0; i < d->devices.n; i++)
        if (enso_place_is_lost(&d->devices.places[i], NULL))
            return true;
    return false;
}

/* How long lanes have to come home. One may be stuck in the driver of a lost device. */
static uint64_t home_wait_ns(const struct daemon *d)
{
    unsigned ms = d->n_signals > 1 ? HURRY_WAIT_MS : has_lost(d) ? FINISH_WAIT_MS : HOME_WAIT_MS;

    return ms * ENSO_NS_PER_MS;
}

/* Pool workers and ended jobs come home, lanes end; signals are still heard. False: not all. */
static bool wait_for_home(struct daemon *d)
{
    uint64_t start_ns = enso_clock_now_ns();
    bool ended;

    while (!(ended = enso_devices_stop(&d->devices)) || d->app.n_requests != 0) {
        if (enso_clock_now_ns() - start_ns >= home_wait_ns(d))
            break;
        if (d->app.loop != NULL)
            (void)enso_loop_poll(d->app.loop);
        (void)usleep(HOME_POLL_US);
    }
    if (!ended)
        enso_devices_tell_working(&d->devices);
    else if (d->app.n_requests != 0)
        enso_log(ENSO_LOG_WARNING, "requests left alone", "requests=%u", d->app.n_requests);
    return ended && d->app.n_requests == 0;
}

/* Nobody is served any more: sockets closed, every request answered or dropped and freed. False:
 * some of it does not come to an end. */
static bool end_requests(struct daemon *d)
{
    struct enso_app *app = &d->app;

    app->draining =
        true; /* whatever ended the loop: signals that still come find nothing to drain */
    enso_timer_destroy(d->drain_timer); /* a second signal may have left it running */
    d->drain_timer = NULL;
    while (d->n_listeners > 0)
        enso_listener_destroy(d->listeners[--d->n_listeners]);
    if (app->http != NULL) {
        enso_http_stop_accepting(app->http);
        enso_http_finish(app->http, FINISH_WAIT_MS);
    }
    (void)enso_devices_stop(&d->devices); /* ends every job that is queued */
    enso_http_destroy(app->http);         /* ends requests whose bodies were still coming */
    app->http = NULL;
    return wait_for_home(d);
}

/* libuv gives signals their default back, which would kill: one that comes in the last moments must
 * not cut short what is left (the log's tail, its files). Blocked here while nobody handles it. */
static void end_signals(struct daemon *d)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(numbers); i++)
        (void)sigaddset(&set, numbers[i]);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    enso_signal_destroy(d->term);
    enso_signal_destroy(d->interrupt);
    enso_signal_destroy(d->hangup);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(numbers); i++)
        (void)sigaction(numbers[i], &ignore, NULL);
}

/* Whatever state the start or the drain left, in reverse. */
static void end(struct daemon *d)
{
    struct enso_app *app = &d->app;

    enso_registry_destroy(app->registry);
    enso_service_destroy(d->service);
    enso_devices_close(&d->devices);
    enso_timer_destroy(d->drain_timer);
    end_signals(d);
    if (app->loop != NULL && app->done_bell != NULL)
        enso_flow_done(app);
    enso_tidy_destroy(app->tidy);
    enso_loop_destroy(app->loop);
    enso_meters_destroy(app->meters);
    enso_metrics_destroy(app->metrics);
    enso_device_meters_destroy(d->device_meters);
    enso_budget_destroy(app->budget);
}

int enso_daemon_run(struct enso_config *config, const struct enso_reload_source *source,
                    bool *ret_leave, struct enso_error *err)
{
    static struct daemon d; /* the loader may outlive this call */
    int st;

    *ret_leave = false;
    d = (struct daemon){
        .config = config, .source = source, .app = {.config = config, .on_lost = on_lost}};

    size_pool();
    enso_json_init();
    enso_log_set_level((enum enso_log_level)config->log_level);
    st = enso_log_access_open(config->access_log, err);
    if (st == ENSO_OK)
        st = enso_log_start(err);
    if (st != ENSO_OK)
        return st;
    d.n_descriptors = raise_descriptor_limit();
    if (getrandom(&d.app.id_salt, sizeof d.app.id_salt, 0) != sizeof d.app.id_salt)
        d.app.id_salt = enso_clock_now_ns();
    enso_log(ENSO_LOG_NOTICE, "starting", "version=%s", PACKAGE_VERSION);
    st = start(&d, err);
    if (st == ENSO_OK) {
        enso_loop_run(d.app.loop);
        if (d.failure.status != ENSO_OK) {
            st = d.failure.status;
            if (err != NULL)
                *err = d.failure;
        }
    }
    *ret_leave = !end_requests(&d);
    if (d.app.registry != NULL && enso_registry_stop_loading(d.app.registry))
        *ret_leave = true;
    *ret_leave = *ret_leave || has_lost(&d) || d.devices.left_behind;
    if (!*ret_leave)
        end(&d);
    if (st == ENSO_OK)
        enso_log(ENSO_LOG_NOTICE, "stopped", "signals=%u", d.n_signals);
    enso_log_stop();
    return st;
}
