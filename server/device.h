/* SPDX-License-Identifier: Apache-2.0
 *
 * Which device serves: the configuration's "auto", "cpu" or "cuda:N" made into an open device.
 */
#ifndef ENSO_SERVER_DEVICE_H
#define ENSO_SERVER_DEVICE_H

#include "base/error.h"
#include "config/config.h"
#include "engine/backend.h"

struct enso_device_choice {
    const struct enso_backend *backend;
    struct enso_device *device; /* owned */
};

/* "cuda..." is ENSO_UNSUPPORTED in a build without the GPU module; "auto" falls back to the CPU. */
int enso_device_choose(const struct enso_config *config, struct enso_device_choice *ret,
                       struct enso_error *err);
void enso_device_close(struct enso_device_choice *choice); /* an empty choice is fine */

#endif
