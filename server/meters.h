/* SPDX-License-Identifier: Apache-2.0
 *
 * The metrics of api.md: families made once, and each model's children kept by pointer, so that
 * counting on the way of a request is a few atomic adds.
 */
#ifndef ENSO_SERVER_METERS_H
#define ENSO_SERVER_METERS_H

#include "base/error.h"
#include "base/metrics.h"
#include "batching/runner.h"
#include "config/config.h"
#include "engine/model/model.h"

struct enso_app;
struct enso_meters;
struct enso_request;

/* Counters of requests by dialect and code, found again without the registry's lock. Few pairs
 * happen; those beyond the room are looked up each time. Loop thread. */
#define ENSO_METERS_ANSWERS 16
struct enso_answer_counters {
    struct {
        const char *dialect; /* static: compared by address */
        int code;
        struct enso_counter *counter;
    } rows[ENSO_METERS_ANSWERS];
    size_t n;
};

/* One model's children; zeroed until enso_meters_model. */
struct enso_model_meters {
    struct enso_meters *meters;
    const char *model;
    struct enso_histogram *request_seconds, *queue_seconds, *pre_seconds, *compute_seconds;
    struct enso_histogram *batch_items, *batch_tokens, *confidence;
    struct enso_counter *tokens_input, *tokens_wasted, *deadline_missed;
    struct enso_gauge *loaded, *bytes, *fallback;
    struct enso_gauge *devices[ENSO_CONFIG_MAX_GPUS]; /* one for each replica */
    size_t n_devices;
    double load_seconds;
    bool tells_load_seconds;
    struct enso_counter **labels; /* [n_labels], or NULL above MAX_LABEL_CHILDREN */
    uint32_t n_labels;
    struct enso_answer_counters answers;
};

int enso_meters_create(struct enso_app *app, struct enso_meters **ret_meters,
                       struct enso_error *err);
void enso_meters_destroy(struct enso_meters *meters); /* families live in app->metrics */

int enso_meters_model(struct enso_meters *meters, const struct enso_model_info *info,
                      struct enso_model_meters *ret, struct enso_error *err);
/* It is on one more device. */
int enso_meters_model_replica(struct enso_model_meters *mm, const struct enso_model_info *info,
                              struct enso_error *err);
/* The model runs on the processor though a GPU was wanted. */
void enso_meters_model_fallback(struct enso_model_meters *mm);
/* Another version of the model takes over: what only one of them can tell is left to it. */
void enso_meters_model_replaced(struct enso_model_meters *mm);
void enso_meters_model_done(struct enso_model_meters *mm);

/* The observer that feeds one model's children from its batches and jobs (any thread). */
struct enso_observer enso_meters_observer(struct enso_model_meters *mm);

/* Loop thread, once per request that was answered or broke off. `model` is a loaded name or NULL.
 */
void enso_meters_request(struct enso_meters *meters, const struct enso_request *req, int code);
void enso_meters_rejected(struct enso_meters *meters, const char *reason);
void enso_meters_cancelled(struct enso_meters *meters, const char *stage);
void enso_meters_predicted(struct enso_model_meters *mm, uint32_t label, float confidence);

#endif
