/* SPDX-License-Identifier: Apache-2.0
 *
 * A model that is served, from its first request to its last: see served.h.
 */
#include "ensod_build.h"

#include "server/served.h"

#include "base/clock.h"
#include "base/memory.h"
#include "batching/queue.h"
#include "batching/scheduler.h"
#include "batching/targets.h"
#include "server/device.h"
#include "server/lost.h"

struct enso_served *enso_served_ref(struct enso_served *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed); /* the caller holds one */
    return s;
}

void enso_served_unref(struct enso_served *s)
{
    /* acq_rel: whoever frees must see what every other owner wrote */
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n_replicas; i++)
        enso_queue_destroy(s->replicas[i].queue);
    enso_meters_model_done(&s->meters);
    for (size_t i = 0; i < s->n_replicas; i++)
        enso_model_unref(s->replicas[i].model);
    enso_free(s);
}

bool enso_served_is_lost(const struct enso_served *s, struct enso_error *err)
{
    for (size_t i = 1; i < s->n_replicas; i++)
        if (!enso_place_is_lost(s->replicas[i].place, NULL))
            return false;
    return enso_place_is_lost(s->replicas[0].place, err);
}

int enso_served_submit(struct enso_served *s, struct enso_job *job, uint64_t now_ns,
                       struct enso_error *err)
{
    struct enso_target targets[ENSO_CONFIG_MAX_GPUS];
    size_t n = 0;

    for (size_t i = 0; i < s->n_replicas; i++) {
        const struct enso_replica *p = &s->replicas[i];

        if (!enso_place_is_lost(p->place, NULL))
            targets[n++] = (struct enso_target){p->place->scheduler, p->queue, 0};
    }
    if (n == 0) /* it tells */
        targets[n++] =
            (struct enso_target){s->replicas[0].place->scheduler, s->replicas[0].queue, 0};
    return enso_targets_submit_quietly(targets, n, s->turn++, job, now_ns, err);
}

void enso_served_start(struct enso_served *s)
{
    for (size_t i = 0; i < s->n_replicas; i++)
        enso_scheduler_add_queue(s->replicas[i].place->scheduler, s->replicas[i].queue);
}

void enso_served_close(struct enso_served *s)
{
    for (size_t i = 0; i < s->n_replicas; i++)
        enso_scheduler_close_queue(s->replicas[i].place->scheduler, s->replicas[i].queue);
}

void enso_served_stop(struct enso_served *s)
{
    for (size_t i = 0; i < s->n_replicas; i++) {
        struct enso_replica *p = &s->replicas[i];

        if (!p->removed)
            enso_scheduler_remove_queue(p->place->scheduler, p->queue, enso_clock_now_ns());
        p->removed = true;
    }
}

bool enso_served_try_stop(struct enso_served *s)
{
    bool all = true;

    for (size_t i = 0; i < s->n_replicas; i++) {
        struct enso_replica *p = &s->replicas[i];

        p->removed = p->removed || enso_scheduler_try_remove_queue(p->place->scheduler, p->queue,
                                                                   enso_clock_now_ns());
        all = all && p->removed;
    }
    return all;
}
