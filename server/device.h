/* SPDX-License-Identifier: Apache-2.0
 *
 * Where models run: the configuration's "auto", "cpu" or "cuda:N" made into open devices with their
 * lanes. A GPU comes from a module that is loaded when it is wanted (ensod-cuda.so; the daemon
 * itself knows nothing of CUDA). Beside a GPU the processor is open too: a model with an operator
 * that the GPU lacks runs there as a whole, never node by node.
 */
#ifndef ENSO_SERVER_DEVICE_H
#define ENSO_SERVER_DEVICE_H

#include "base/error.h"
#include "config/config.h"
#include "engine/backend.h"
#include "engine/model/model.h"

struct enso_lanes;
struct enso_scheduler;

#define ENSO_MAX_PLACES 2

/* An open device. */
struct enso_place {
    const struct enso_backend *backend;
    struct enso_device *device;       /* owned */
    struct enso_lanes *lanes;         /* after enso_devices_start; owned */
    struct enso_scheduler *scheduler; /* the lanes' own */
    bool told_lost;                   /* loop: server/lost.c has acted on it */
};

struct enso_devices {
    struct enso_place places[ENSO_MAX_PLACES]; /* the preferred first */
    size_t n;
    bool gpu_wanted;            /* by name or by "auto", whether or not there is one */
    struct enso_error fallback; /* "auto" and a GPU that cannot be used: why; else empty */
    bool move_lost;             /* models of a lost device go to the next (on_device_lost = cpu) */
};

/* "auto": the first GPU if one can be had, else the processor: the log tells why, and where there
 * is a GPU or a driver that cannot be used, so does ret->fallback. "cuda[:N]": that GPU, or an
 * error with the sentence. *ret must be zeroed. */
int enso_devices_open(const struct enso_config *config, struct enso_devices *ret,
                      struct enso_error *err) ENSO_MUST_CHECK;
/* One lane a device. */
int enso_devices_start(struct enso_devices *devices, struct enso_error *err) ENSO_MUST_CHECK;
/* Ends every job that is left (batching/lanes.h). The lanes of a lost device are not waited for. */
void enso_devices_stop(struct enso_devices *devices);
/* Lanes and devices; no model must be left. What was never opened is fine. */
void enso_devices_close(struct enso_devices *devices);

/* The configuration's arithmetic as a model's options. */
void enso_devices_arithmetic(const struct enso_config_arithmetic *config,
                             struct enso_model_options *options);

/* Load a model onto the preferred device, or, when that has no kernel for one of its operators (or
 * is lost, with move_lost), onto the next, with a warning that says why. backend and device of
 * *options are filled in. A model that falls back to the processor computes in fp32, whatever was
 * asked for, and the sentence says so; a half type with no GPU wanted at all is an error.
 * *ret_fallback says why it is not where it was wanted; empty when it is. */
int enso_devices_load(const struct enso_devices *devices, struct enso_model_options *options,
                      struct enso_model **ret_model, const struct enso_place **ret_place,
                      struct enso_error *ret_fallback, struct enso_error *err) ENSO_MUST_CHECK;

#endif
