/* SPDX-License-Identifier: Apache-2.0
 *
 * What the server's rooms share: one struct made by server/daemon.c (and by tests, with what they
 * need), borrowed by everything else for its life.
 *
 * Thread: the loop's, except where a member says otherwise.
 */
#ifndef ENSO_SERVER_APP_H
#define ENSO_SERVER_APP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

struct enso_budget;
struct enso_http;
struct enso_job;
struct enso_loop;
struct enso_meters;
struct enso_metrics;
struct enso_registry;
struct enso_request;
struct enso_devices;
struct enso_tidy;
struct enso_timer;
struct enso_wakeup;

struct enso_app {
    const struct enso_config *config;
    struct enso_loop *loop;
    struct enso_http *http;
    struct enso_budget *budget;   /* any thread */
    struct enso_metrics *metrics; /* any thread */
    struct enso_meters *meters;   /* any thread */
    struct enso_devices *devices; /* their schedulers: any thread */
    struct enso_registry *registry;
    struct enso_tidy *tidy;
    bool draining;
    /* Loop: a device is lost, and the daemon shall end (server/lost.c). */
    void (*on_lost)(struct enso_app *app, const struct enso_error *why);

    uint64_t id_salt, id_count; /* of X-Request-Id */

    /* Jobs that lanes ended, on their way to the loop (server/flow.c). */
    struct enso_timer *expire_timer; /* next deadline in a queue */
    uint64_t expire_at_ns;
    bool wake_owed; /* jobs were submitted since wake_owed_ns, and no lane was woken for them */
    uint64_t wake_owed_ns;
    struct enso_wakeup *done_bell;
    pthread_mutex_t done_lock; /* guards done_first, done_last */
    struct enso_request *done_first, *done_last;
    unsigned n_requests; /* alive: drain waits for 0 */
};

#endif
