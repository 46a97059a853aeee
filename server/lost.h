/* SPDX-License-Identifier: Apache-2.0
 *
 * A device that has failed for good (engine/backend.h: nothing brings it back while the process
 * lives) and what is made of it, by the option on_device_lost: the daemon ends, its models move to
 * the processor, or their requests get 503 from then on.
 *
 * Nobody polls: a device is lost by a call, and that call's batch comes back with ENSO_UNAVAILABLE.
 * The loop looks then, and when it is asked for readiness or metrics.
 */
#ifndef ENSO_SERVER_LOST_H
#define ENSO_SERVER_LOST_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct enso_app;
struct enso_place;

/* What on_device_lost comes to: auto is exit where a supervisor is notified, else stay. */
enum enso_config_lost enso_lost_policy(const struct enso_config *config);

/* Is the place's device lost? Then err (may be NULL) is ENSO_UNAVAILABLE with the sentence. Any
 * thread, cheap; a NULL place is not lost. */
bool enso_place_is_lost(const struct enso_place *place, struct enso_error *err);

/* Loop thread: has a device been lost since the last look? Logs it, moves its models, or calls
 * app->on_lost, which ends the daemon. */
void enso_lost_check(struct enso_app *app);

#endif
