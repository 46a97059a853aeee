/* SPDX-License-Identifier: Apache-2.0
 *
 * What systemd is told: readiness, stopping, and the watchdog. Everything is a no-op when ensod was
 * not started by systemd (no NOTIFY_SOCKET) or was built without libsystemd. Loop thread.
 */
#ifndef ENSO_SERVER_SERVICE_H
#define ENSO_SERVER_SERVICE_H

#include <stddef.h>

#include "base/error.h"

struct enso_app;
struct enso_service;

/* Starts feeding the watchdog if WATCHDOG_USEC asks for it: a loop timer at half its period, as
 * long as every lane of a device that is not lost is idle or within its time
 * (enso_scheduler_healthy). A loop that hangs, or a
 * lane that does, ends the feeding, and systemd restarts the daemon. */
int enso_service_create(struct enso_app *app, struct enso_service **ret_service,
                        struct enso_error *err);
void enso_service_destroy(struct enso_service *service); /* NULL is fine */
void enso_service_ready(struct enso_service *service, size_t n_ready, size_t n_failed);
void enso_service_stopping(struct enso_service *service);

#endif
