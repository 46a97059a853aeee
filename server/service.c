/* SPDX-License-Identifier: Apache-2.0
 *
 * systemd's notifications: see service.h and sd_notify(3).
 */
#include "server/service.h"

#include <stdint.h>

#include "ensod_build.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/clock.h"
#include "base/memory.h"
#include "batching/scheduler.h"
#include "server/app.h"
#include "server/device.h"
#include "server/loop.h"
#include "server/lost.h"

struct enso_service {
    struct enso_app *app;
    struct enso_timer *watchdog; /* NULL: nobody watches */
};

#ifdef HAVE_SYSTEMD

static void feed(void *user)
{
    struct enso_service *s = user;
    bool healthy = true;

    enso_lost_check(s->app);
    for (size_t i = 0; healthy && i < s->app->devices->n; i++) {
        const struct enso_place *place = &s->app->devices->places[i];

        /* of a lost device nothing is expected: on_device_lost says what comes of it */
        healthy = enso_place_is_lost(place, NULL) ||
                  enso_scheduler_healthy(place->scheduler, enso_clock_now_ns());
    }
    if (healthy)
        (void)sd_notify(0, "WATCHDOG=1"); /* nothing to be done about a refusal */
}

static int start_watchdog(struct enso_service *s, struct enso_error *err)
{
    uint64_t period_us;

    if (sd_watchdog_enabled(0, &period_us) <= 0)
        return ENSO_OK;
    s->watchdog = enso_timer_create(s->app->loop, feed, s, err);
    if (s->watchdog == NULL)
        return ENSO_NO_MEMORY;
    enso_timer_start(s->watchdog, 1, ENSO_MAX(period_us / 2000, (uint64_t)1));
    return ENSO_OK;
}

void enso_service_ready(struct enso_service *s, size_t n_ready, size_t n_failed)
{
    (void)s;
    (void)sd_notifyf(0, "READY=1\nSTATUS=serving %zu models, %zu failed", n_ready, n_failed);
}

void enso_service_stopping(struct enso_service *s)
{
    (void)s;
    (void)sd_notify(0, "STOPPING=1\nSTATUS=draining");
}

#else

static int start_watchdog(struct enso_service *s, struct enso_error *err)
{
    (void)s;
    (void)err;
    return ENSO_OK;
}

void enso_service_ready(struct enso_service *s, size_t n_ready, size_t n_failed)
{
    (void)s;
    (void)n_ready;
    (void)n_failed;
}

void enso_service_stopping(struct enso_service *s)
{
    (void)s;
}

#endif

int enso_service_create(struct enso_app *app, struct enso_service **ret_service,
                        struct enso_error *err)
{
    struct enso_service *s = enso_alloc_zero(1, sizeof *s);
    int st;

    if (s == NULL)
        return enso_error_no_memory(err, "the service notifications");
    s->app = app;
    st = start_watchdog(s, err);
    if (st != ENSO_OK) {
        enso_free(s);
        return st;
    }
    *ret_service = s;
    return ENSO_OK;
}

void enso_service_destroy(struct enso_service *s)
{
    if (s == NULL)
        return;
    enso_timer_destroy(s->watchdog);
    enso_free(s);
}
