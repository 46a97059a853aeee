/* SPDX-License-Identifier: Apache-2.0
 *
 * The models that are served: names → versions, their state, and the loader thread that brings them
 * up one after the other.
 *
 * An entry (entries.h) stands for a name; what it serves now is a `struct enso_served` (served.h).
 * The table of entries is filled before the loader starts and only read by the loop after; an
 * entry's state is published by the loader under the registry's lock.
 */
#ifndef ENSO_SERVER_REGISTRY_H
#define ENSO_SERVER_REGISTRY_H

#include <stdbool.h>

#include "base/error.h"
#include "server/entries.h"
#include "server/served.h"

struct enso_app;
struct enso_registry;

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
