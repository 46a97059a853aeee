/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of devices: whether they work, their memory, and what they tell of their temperature,
 * power and clocks (engine/backend.h, device_metrics). Read at the scrape. What a device does not
 * tell has no series.
 */
#ifndef ENSO_SERVER_DEVICE_METERS_H
#define ENSO_SERVER_DEVICE_METERS_H

#include "base/error.h"

struct enso_app;
struct enso_device_meters;

/* Of app->devices, which must be open, and stay so while anybody scrapes. *ret_meters is set also
 * on failure: it must live as long as app->metrics. */
int enso_device_meters_create(struct enso_app *app, struct enso_device_meters **ret_meters,
                              struct enso_error *err);
void enso_device_meters_destroy(struct enso_device_meters *meters); /* NULL is fine */

#endif
