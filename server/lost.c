/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that are lost: see lost.h.
 */
#include "server/lost.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "batching/scheduler.h"
#include "server/app.h"
#include "server/device.h"
#include "server/registry.h"

enum enso_config_lost enso_lost_policy(const struct enso_config *config)
{
    enum enso_config_lost policy = (enum enso_config_lost)config->on_device_lost;

    if (policy != ENSO_CONFIG_LOST_AUTO)
        return policy;
    return getenv("NOTIFY_SOCKET") != NULL ? ENSO_CONFIG_LOST_EXIT : ENSO_CONFIG_LOST_STAY;
}

bool enso_place_is_lost(const struct enso_place *place, struct enso_error *err)
{
    struct enso_device_state state;

    if (place == NULL || place->backend->device_state == NULL)
        return false;
    place->backend->device_state(place->device, &state);
    if (state.down)
        (void)enso_error_set(err, ENSO_UNAVAILABLE, "%s", state.reason);
    return state.down;
}

static void act(struct enso_app *app, const struct enso_error *why)
{
    static const char *const names[] = {"auto", "exit", "cpu", "stay"};
    enum enso_config_lost policy = enso_lost_policy(app->config);

    enso_log(ENSO_LOG_ERROR, "device lost", "on_device_lost=%s reason=%s", names[policy],
             why->message);
    if (policy == ENSO_CONFIG_LOST_EXIT)
        app->on_lost(app, why);
    else if (policy == ENSO_CONFIG_LOST_CPU)
        enso_registry_move_lost(app->registry);
}

void enso_lost_check(struct enso_app *app)
{
    for (size_t i = 0; app->devices != NULL && i < app->devices->n; i++) {
        struct enso_place *place = &app->devices->places[i];
        struct enso_error why = {0};

        if (place->told_lost || !enso_place_is_lost(place, &why))
            continue;
        place->told_lost = true;
        /* what waits there would wait for a lane that may be stuck in the driver */
        if (place->scheduler != NULL)
            enso_scheduler_stop(place->scheduler, why.message, enso_clock_now_ns());
        act(app, &why);
    }
}
