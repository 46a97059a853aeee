/* SPDX-License-Identifier: Apache-2.0
 *
 * Lane threads: see lanes.h. All waiting and taking stands in scheduler.c; here is only the life of
 * the threads. `mutex` below guards the start alone (who has opened its lane) and is never held
 * together with the scheduler's.
 */
#include "batching/lanes.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/memory.h"
#include "batching/batching_internal.h"
#include "engine/backend.h"

struct lane_thread {
    struct enso_lanes *lanes;
    unsigned index;
    pthread_t thread;
    bool started; /* the loader's own */
};

struct enso_lanes {
    const struct enso_backend *backend;
    struct enso_device *device;
    struct enso_scheduler *scheduler;
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    unsigned n_opened; /* or failed to */
    struct enso_error error;
    bool stopped;
    unsigned n_threads;
    struct lane_thread threads[];
};

static void name_thread(const struct lane_thread *t)
{
    char name[16];

    (void)snprintf(name, sizeof name, "lane %u", t->index);
    (void)prctl(PR_SET_NAME, name); /* for top and gdb only */
}

static void *lane_main(void *arg)
{
    struct lane_thread *t = arg;
    struct enso_lanes *lanes = t->lanes;
    struct enso_error err = {0};
    struct enso_lane *lane = NULL;
    struct enso_batch *batch;
    int status;

    name_thread(t);
    status = lanes->backend->lane_open(lanes->device, &lane, &err);
    (void)pthread_mutex_lock(&lanes->mutex);
    lanes->n_opened++;
    if (status != ENSO_OK && lanes->error.status == ENSO_OK) {
        lanes->error = err;
        lanes->error.status = (enum enso_status)status;
    }
    (void)pthread_cond_signal(&lanes->opened);
    (void)pthread_mutex_unlock(&lanes->mutex);
    if (status != ENSO_OK)
        return NULL;

    while ((batch = enso__scheduler_wait_take(lanes->scheduler, t->index)) != NULL)
        enso_batch_run(lanes->scheduler, batch, lane, enso_clock_now_ns);
    lanes->backend->lane_close(lane);
    return NULL;
}

static int create_threads(struct enso_lanes *lanes, struct enso_error *err)
{
    unsigned i;

    for (i = 0; i < lanes->n_threads; i++) {
        struct lane_thread *t = &lanes->threads[i];
        int e;

        t->lanes = lanes;
        t->index = i;
        e = pthread_create(&t->thread, NULL, lane_main, t);
        if (e != 0)
            return enso_error_set(err, ENSO_UNAVAILABLE,
                                  "cannot start the thread of lane %u: %s; raise the limit of "
                                  "tasks or threads",
                                  i, strerror(e));
        t->started = true;
    }
    (void)pthread_mutex_lock(&lanes->mutex);
    while (lanes->n_opened < lanes->n_threads)
        (void)pthread_cond_wait(&lanes->opened, &lanes->mutex);
    (void)pthread_mutex_unlock(&lanes->mutex);
    if (lanes->error.status != ENSO_OK)
        return enso_error_set(err, lanes->error.status, "cannot open a lane: %s",
                              lanes->error.message);
    return ENSO_OK;
}

int enso_lanes_start(const struct enso_backend *backend, struct enso_device *device,
                     unsigned n_lanes, struct enso_lanes **ret_lanes, struct enso_error *err)
{
    struct enso_lanes *lanes;
    int status;

    lanes = enso_alloc_zero(1, sizeof *lanes + (size_t)n_lanes * sizeof lanes->threads[0]);
    if (lanes == NULL)
        return enso_error_no_memory(err, "a device's lanes");
    if (pthread_mutex_init(&lanes->mutex, NULL) != 0) {
        enso_free(lanes);
        return enso_error_set(err, ENSO_INTERNAL, "cannot make a mutex: out of resources");
    }
    if (pthread_cond_init(&lanes->opened, NULL) != 0) {
        (void)pthread_mutex_destroy(&lanes->mutex);
        enso_free(lanes);
        return enso_error_set(err, ENSO_INTERNAL, "cannot make a condition: out of resources");
    }
    lanes->backend = backend;
    lanes->device = device;
    lanes->n_threads = n_lanes;
    status = enso_scheduler_create(n_lanes, &lanes->scheduler, err);
    if (status == ENSO_OK)
        status = create_threads(lanes, err);
    if (status != ENSO_OK) {
        enso_lanes_destroy(lanes);
        return status;
    }
    *ret_lanes = lanes;
    return ENSO_OK;
}

struct enso_scheduler *enso_lanes_scheduler(struct enso_lanes *lanes)
{
    return lanes->scheduler;
}

void enso_lanes_stop(struct enso_lanes *lanes)
{
    unsigned i;

    if (lanes->stopped)
        return;
    lanes->stopped = true;
    enso_scheduler_stop(lanes->scheduler, enso_clock_now_ns());
    for (i = 0; i < lanes->n_threads; i++)
        if (lanes->threads[i].started)
            (void)pthread_join(lanes->threads[i].thread, NULL);
}

void enso_lanes_destroy(struct enso_lanes *lanes)
{
    if (lanes == NULL)
        return;
    if (lanes->scheduler != NULL)
        enso_lanes_stop(lanes);
    enso_scheduler_destroy(lanes->scheduler);
    (void)pthread_cond_destroy(&lanes->opened);
    (void)pthread_mutex_destroy(&lanes->mutex);
    enso_free(lanes);
}
