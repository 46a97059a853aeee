/* SPDX-License-Identifier: Apache-2.0
 *
 * The models that are served: names → versions, their state, and the loader thread that brings them
 * up one after the other.
 *
 * An entry stands for a name; what it serves now is a `struct enso_served` (model, queue, meters),
 * reference-counted, so that requests in flight finish on what they started with. The table is
 * filled before the loader starts and only read by the loop after; an entry's state is published by
 * the loader under the registry's lock.
 *
 * Folders: a folder with model files is one model (id = its name); one without, but with model
 * folders below it, serves each (id = path below it). A duplicate id is an error.
 */
#ifndef ENSO_SERVER_REGISTRY_H
#define ENSO_SERVER_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"
#include "batching/runner.h"
#include "config/config.h"
#include "engine/model/model.h"
#include "server/meters.h"

struct enso_app;
struct enso_job;
struct enso_queue;
struct enso_registry;

/* A model on one device. */
struct enso_replica {
    struct enso_place *place;
    struct enso_model *model;
    struct enso_queue *queue; /* on the place's scheduler */
    uint64_t promised_bytes;  /* of the place's memory, for its batches */
    bool removed;             /* its queue is off the scheduler */
};

/* One version of a model, ready to take requests. */
struct enso_served {
    atomic_uint refs;
    struct enso_model *model; /* the first replica's; all answer alike */
    struct enso_replica replicas[ENSO_CONFIG_MAX_GPUS];
    size_t n_replicas;              /* at least 1 */
    struct enso_served *next_moved; /* loader: what another one has replaced */
    unsigned turn;                  /* loop: jobs so far */
    struct enso_error fallback;     /* why it is not where it was wanted, or empty */
    struct enso_observer observer;
    struct enso_model_meters meters;
    bool truncate; /* the configuration's default */
    const char *id;
    int64_t created; /* seconds since 1970 */
};
struct enso_served *enso_served_ref(struct enso_served *served);
void enso_served_unref(struct enso_served *served); /* NULL is fine */
/* enso_scheduler_submit_quietly to the replica where the job should be through first, or, when that
 * one refuses it, to another (batching/targets.h); to none that is lost while another works. The
 * caller owes enso_scheduler_wake to all places. Loop thread. */
int enso_served_submit(struct enso_served *served, struct enso_job *job, uint64_t now_ns,
                       struct enso_error *err) ENSO_MUST_CHECK;
/* Every device that it is on is lost; err as in enso_place_is_lost, of the first. */
bool enso_served_is_lost(const struct enso_served *served, struct enso_error *err);

enum enso_entry_state { ENSO_ENTRY_LOADING, ENSO_ENTRY_READY, ENSO_ENTRY_FAILED };

struct enso_entry {
    const char *id, *path;
    struct enso_config_batching batching;
    struct enso_config_arithmetic arithmetic;
    const char
        *device; /* that it shall run on, or several; NULL: any. The configuration's string */
    bool required;
    /* under the registry's lock */
    enum enso_entry_state state;
    struct enso_error error;    /* FAILED: why */
    struct enso_served *served; /* READY */
};

struct enso_registry_options {
    struct enso_app *app;
    /* Loop thread, by the app's wake-up: an entry became ready or failed. */
    void (*on_change)(struct enso_app *app);
};

/* Reads the configuration's model entries and the folders they name (not the models). ENSO_INVALID
 * also when a model's device is not open. */
int enso_registry_create(const struct enso_registry_options *options,
                         struct enso_registry **ret_registry, struct enso_error *err);
/* Stops the loader (after the model it is at), removes queues, frees models. NULL is fine. */
void enso_registry_destroy(struct enso_registry *registry);
/* Models that are on a lost device load again, onto the processor, by the loader; until then they
 * are loading. Loop thread. */
void enso_registry_move_lost(struct enso_registry *registry);
/* At the end: load no more models. True when the loader is at one that takes longer than half a
 * second: it is left alone, and the registry must not be destroyed. */
bool enso_registry_stop_loading(struct enso_registry *registry);
/* Start loading, on the loader's thread. */
int enso_registry_start(struct enso_registry *registry, struct enso_error *err);

/* The last part of a path without trailing slashes and ".onnx": a model's id by default. */
void enso_registry_default_id(const char *path, char *id, size_t size);

size_t enso_registry_n_entries(const struct enso_registry *registry);
const struct enso_entry *enso_registry_entry(const struct enso_registry *registry, size_t i);
/* The entry of that name or alias; NULL with ENSO_NOT_FOUND naming the models there are. */
const struct enso_entry *enso_registry_entry_named(const struct enso_registry *registry,
                                                   const char *name, struct enso_error *err);
/* A copy of what changes. *ret_served is referenced (enso_served_unref) or NULL. A model whose
 * device is lost has failed, or is loading when it will be moved (on_device_lost = cpu). */
enum enso_entry_state enso_registry_state(struct enso_registry *registry,
                                          const struct enso_entry *entry,
                                          struct enso_served **ret_served,
                                          struct enso_error *ret_error);

struct enso_readiness {
    size_t n_loading, n_ready, n_failed;
    bool required_failed;   /* a model that must serve cannot */
    size_t n_lost;          /* among the failed: of a device that is lost */
    struct enso_error lost; /* why it is, or empty */
};
void enso_registry_readiness(struct enso_registry *registry, struct enso_readiness *ret);

/* The version a request means: by name or alias, or, with name NULL, the only model with one of the
 * tasks (bits 1 << enum enso_task; 0 = any). *ret_served is referenced.
 * NOT_FOUND naming the models there are; INVALID when the task is wrong or the choice is not
 * unique; UNAVAILABLE while it loads or when it failed. */
int enso_registry_find(struct enso_registry *registry, const char *name, unsigned tasks,
                       struct enso_served **ret_served, struct enso_error *err);

#endif
