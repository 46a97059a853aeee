/* SPDX-License-Identifier: Apache-2.0
 *
 * Where models run: the configuration's "auto", "cpu" or "cuda:N,cuda:M" made into open devices
 * with their lanes. A GPU comes from a module that is loaded when it is wanted (ensod-cuda.so; the
 * daemon itself knows nothing of CUDA). Beside GPUs the processor is open too: a model with an
 * operator that its GPU lacks runs there as a whole, never node by node.
 *
 * A model runs on the devices that its section names, a copy on each (registry.h), else on the GPU
 * that holds the fewest bytes of weights when it is loaded.
 */
#ifndef ENSO_SERVER_DEVICE_H
#define ENSO_SERVER_DEVICE_H

#include "base/error.h"
#include "config/config.h"
#include "engine/backend.h"
#include "engine/model/model.h"

struct enso_lanes;
struct enso_scheduler;

#define ENSO_MAX_PLACES (ENSO_CONFIG_MAX_GPUS + 1)
#define ENSO_PLACE_NAME_SIZE 16

/* An open device. */
struct enso_place {
    char name[ENSO_PLACE_NAME_SIZE]; /* in the configuration's words: "cpu", "cuda:1" */
    const struct enso_backend *backend;
    struct enso_device *device;       /* owned */
    unsigned n_lanes;                 /* wanted; 0 is 1 */
    struct enso_lanes *lanes;         /* after enso_devices_start; owned */
    struct enso_scheduler *scheduler; /* the lanes' own */
    bool told_lost;                   /* loop: server/lost.c has acted on it */
};

struct enso_devices {
    struct enso_place places[ENSO_MAX_PLACES]; /* GPUs as they were named; last the processor */
    size_t n;
    bool gpu_wanted;            /* by name or by "auto", whether or not there is one */
    bool automatic;             /* by "auto": the processor serves where no GPU can be used */
    struct enso_error fallback; /* "auto" and a GPU that cannot be used: why; else empty */
    struct enso_error
        passed_over;  /* "auto" and another than the first GPU serves: why; else empty */
    bool left_behind; /* a GPU that did not answer was given up: the driver may still wait for it */
    bool move_lost;   /* models of a lost device go to the processor (on_device_lost = cpu) */
};

/* "auto": the first GPU that can be used, else the processor: the log tells why, and where there
 * is a GPU or a driver that cannot be used, so does ret->fallback. "cuda[:N]": that GPU, or each of
 * several, or an error with the sentence. *ret must be zeroed. */
int enso_devices_open(const struct enso_config *config, struct enso_devices *ret,
                      struct enso_error *err) ENSO_MUST_CHECK;
/* A place's lanes: on a GPU as many as the configuration says, one on the processor, whose threads
 * take all of it (two teams on the same cores would slow each other down). A GPU that "auto" found
 * and that has no room for them is closed again: the processor serves, and devices->fallback tells
 * why. Before anybody knows the places. */
int enso_devices_start(struct enso_devices *devices, struct enso_error *err) ENSO_MUST_CHECK;
/* Ends every job that is queued and asks all lanes to end, without waiting for them: false while
 * one works, which is to be asked again. Who gives up says so in the log and closes nothing, since
 * a lane that is stuck in a driver touches models and devices when it comes back
 * (batching/lanes.h).
 */
bool enso_devices_stop(struct enso_devices *devices);
void enso_devices_tell_working(struct enso_devices *devices);
/* Lanes and devices; no model must be left. What was never opened is fine. */
void enso_devices_close(struct enso_devices *devices);

/* The names of the devices of a model's section, "cpu" or "cuda:N,cuda:M", one by one; 0 for NULL.
 */
size_t enso_devices_list(const char *device,
                         char ret_names[ENSO_CONFIG_MAX_GPUS][ENSO_PLACE_NAME_SIZE]);
/* The place of such a name; NULL: it is not open. */
struct enso_place *enso_devices_find(struct enso_devices *devices, const char *name);

/* The configuration's arithmetic as a model's options. */
void enso_devices_arithmetic(const struct enso_config_arithmetic *config,
                             struct enso_model_options *options);

/* The GPUs in the order in which a model should try them that wants none in particular: by the
 * bytes of weights that they hold, the first of equals first; none that is lost. Gives how many. */
size_t enso_devices_by_room(struct enso_devices *devices,
                            struct enso_place *ret_places[ENSO_MAX_PLACES]);

/* Load a model onto the device `wanted`, which must be open; NULL: the first of
 * enso_devices_by_room, a lost one only when all are. When that falls back, onto the processor.
 * backend and device of *options are filled in. A half type where no GPU was wanted is an error.
 * *ret_fallback says why it is not where it was wanted; empty when it is. */
int enso_devices_load(struct enso_devices *devices, const char *wanted,
                      struct enso_model_options *options, struct enso_model **ret_model,
                      struct enso_place **ret_place, struct enso_error *ret_fallback,
                      struct enso_error *err) ENSO_MUST_CHECK;
/* Onto that place and no other. */
int enso_place_load(const struct enso_place *place, struct enso_model_options *options,
                    struct enso_model **ret_model, struct enso_error *err) ENSO_MUST_CHECK;
/* Does a model whose load onto the GPU gave that status go to the processor instead? When the GPU
 * has no kernel for one of its operators, or is lost, with move_lost. */
bool enso_devices_falls_back(const struct enso_devices *devices, const struct enso_place *gpu,
                             int status);
/* Then: onto the processor, with a warning that says why. The model computes in fp32, whatever was
 * asked for, and the sentence says so. */
int enso_devices_fall_back(struct enso_devices *devices, const struct enso_error *why,
                           struct enso_model_options *options, struct enso_model **ret_model,
                           struct enso_place **ret_place, struct enso_error *ret_fallback,
                           struct enso_error *err) ENSO_MUST_CHECK;

/* Is there room for the model's batches in all lanes, beside its weights and what other models of
 * the place were promised? Then it is kept for them as long as the model lives; on ordinary memory
 * there is nothing to keep. ENSO_NO_MEMORY names lanes, both sizes and what to do. Sizes of batches
 * are those that the configuration names, else of one input: larger ones come only where there is
 * room. Once for a model, before it serves. */
int enso_place_promise(struct enso_place *place, struct enso_model *model,
                       const struct enso_config_batching *batching,
                       struct enso_error *err) ENSO_MUST_CHECK;

#endif
