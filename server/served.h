/* SPDX-License-Identifier: Apache-2.0
 *
 * One version of a model, ready to take requests: a replica (weights, queue) on each of its devices
 * and the meters of all. Reference-counted, so that requests in flight finish on what they started
 * with. served.c is how it is used and let go, served_load.c how it comes to be.
 */
#ifndef ENSO_SERVER_SERVED_H
#define ENSO_SERVER_SERVED_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/macros.h"
#include "batching/runner.h"
#include "config/config.h"
#include "engine/model/model.h"
#include "server/meters.h"

struct enso_app;
struct enso_entry; /* server/entries.h */
struct enso_job;
struct enso_queue;

/* A model on one device. */
struct enso_replica {
    struct enso_place *place;
    struct enso_model *model;
    struct enso_queue *queue; /* on the place's scheduler */
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

/* Loads the entry's model onto the device: "cpu", "cuda:N", several of these, or NULL: any; with
 * what is predicted of its runs. Its queues are on no scheduler yet (enso_served_start). Once
 * *stopping no further device is tried. The loader's thread; takes long. */
int enso_served_load(struct enso_app *app, const struct enso_entry *entry, const char *device,
                     const atomic_bool *stopping, struct enso_served **ret_served,
                     struct enso_error *err);
void enso_served_start(struct enso_served *served);
/* No more jobs; what is queued still runs. */
void enso_served_close(struct enso_served *served);
/* Queues off their schedulers, which waits for batches that run; before the last unref. */
void enso_served_stop(struct enso_served *served);
/* The same without the wait; false while a batch runs. */
bool enso_served_try_stop(struct enso_served *served) ENSO_MUST_CHECK;

#endif
