/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs of CUDA: see capture.h.
 */
#include "ensod_build.h"

#include "kernels/cuda/capture.h"

#include "base/log.h"
#include "kernels/cuda/ladder.h"
#include "kernels/cuda/memory.h"

#define MOST_RECORDINGS 32 /* of a plan */

/* What a driver keeps for a graph: an order of magnitude, to be held against a card. */
#define RECORDING_BYTES ((size_t)64 << 10)
#define STEP_BYTES ((size_t)1 << 10)

/* A recording is worth more than a size that may never come again: it stays for so many uses of the
 * plan more. Else sizes of which there are more than places would be recorded over and over. */
#define RECORDED_STAYS 1024

struct enso_captures {
    struct enso_captures *next, **at; /* under the mutex: in the device's list; at: what points here
                                       */
    struct enso__recording list[MOST_RECORDINGS];
    size_t n;                                       /* under the mutex */
    struct enso__recording *pinned[ENSO_MAX_SLOTS]; /* by the slot's batch; NULL: none */
    uint64_t n_uses;
    struct enso__ladder ladder;
};

static bool same_size(const struct enso__recording *r, const struct enso_run *run, unsigned slot)
{
    const struct enso_extents *a = &r->extents, *b = run->extents;

    return r->slot == slot && r->shape == run->shape && a->n_items == b->n_items &&
           a->n_tokens == b->n_tokens && a->n_sequences == b->n_sequences;
}

/* What a recording holds, on its way out. */
struct held {
    cudaGraphExec_t exec;
    size_t bytes;
};

/* Under the mutex, unless it is pinned. */
static struct held take(struct enso__recording *r)
{
    struct held h = {r->exec, r->bytes};

    r->exec = NULL;
    r->bytes = 0;
    return h;
}

/* Outside the mutex: it asks the driver. */
static void drop(struct enso_device *device, struct held h)
{
    if (h.exec != NULL && !atomic_load(&device->hung)) { /* it would wait */
        size_t call = enso__cuda_call_begin(device);

        (void)cudaGraphExecDestroy(h.exec);
        enso__cuda_call_end(device, call);
    }
    enso__cuda_memory_unreserve(device, ENSO__CUDA_LANES, h.bytes);
}

/* By what a size is chosen to go: the smallest goes. */
static uint64_t stays_until(const struct enso__recording *r)
{
    return r->last_use + (r->exec != NULL ? RECORDED_STAYS : 0);
}

/* Under the mutex. A place for one more: the one that was used longest ago goes. If it was recorded
 * it is not on the lane: a lane holds fewer batches than there are places, and those are its
 * latest. */
static struct enso__recording *free_place(struct enso_captures *c, struct held *ret_held)
{
    struct enso__recording *oldest = &c->list[0];

    if (c->n < MOST_RECORDINGS)
        return &c->list[c->n++];
    for (size_t i = 1; i < c->n; i++)
        if (stays_until(&c->list[i]) < stays_until(oldest))
            oldest = &c->list[i];
    *ret_held = take(oldest);
    return oldest;
}

/* Under the mutex. */
static struct enso__recording *place_of(struct enso_captures *c, const struct enso_run *run,
                                        unsigned slot, struct held *ret_held)
{
    struct enso__recording *r;

    for (size_t i = 0; i < c->n; i++)
        if (same_size(&c->list[i], run, slot))
            return &c->list[i];
    r = free_place(c, ret_held);
    *r = (struct enso__recording){.extents = *run->extents, .shape = run->shape, .slot = slot};
    return r;
}

static struct enso_captures *captures_new(struct enso_device *device)
{
    struct enso_captures *c = enso_alloc_zero(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    pthread_mutex_lock(&device->captures_mutex);
    c->next = device->captures;
    c->at = &device->captures;
    if (c->next != NULL)
        c->next->at = &c->next;
    device->captures = c;
    pthread_mutex_unlock(&device->captures_mutex);
    return c;
}

struct enso__recording *enso__capture_find(struct enso_device *device, const struct enso_run *run,
                                           unsigned slot)
{
    struct enso_captures *c = *run->captures;
    struct enso__recording *r;
    struct held old = {0};

    if (c == NULL)
        c = *run->captures = captures_new(device);
    if (c == NULL || c->ladder.is_long)
        return NULL; /* out of memory: no graphs, but the batch runs */
    pthread_mutex_lock(&device->captures_mutex);
    r = place_of(c, run, slot, &old);
    r->pinned = true;
    r->used = ++device->n_recorded_uses;
    pthread_mutex_unlock(&device->captures_mutex);
    drop(device, old);
    c->pinned[slot] = r;
    r->n_uses++;
    r->last_use = ++c->n_uses;
    return r;
}

void enso__capture_unpin(struct enso_device *device, struct enso_captures *c, unsigned slot)
{
    if (c->pinned[slot] == NULL)
        return;
    pthread_mutex_lock(&device->captures_mutex);
    c->pinned[slot]->pinned = false;
    pthread_mutex_unlock(&device->captures_mutex);
    c->pinned[slot] = NULL;
}

bool enso__capture_is_due(const struct enso__recording *r)
{
    return r->exec == NULL && !r->refused && r->n_uses >= 2;
}

/* Under the mutex. Of the recorded ones of a slot, but for `r`, the one that was used longest ago,
 * if that is long enough: sizes that take turns would else be recorded over and over. */
static struct enso__recording *oldest_recorded(struct enso_captures *c,
                                               const struct enso__recording *r)
{
    struct enso__recording *oldest = NULL;

    for (size_t i = 0; i < c->n; i++) {
        struct enso__recording *o = &c->list[i];

        if (o != r && o->exec != NULL && o->slot == r->slot && stays_until(o) < c->n_uses &&
            (oldest == NULL || o->last_use < oldest->last_use))
            oldest = o;
    }
    return oldest;
}

bool enso__capture_reserve(struct enso_device *device, struct enso_captures *c,
                           struct enso__recording *r, size_t n_steps)
{
    size_t bytes = RECORDING_BYTES + n_steps * STEP_BYTES;

    while (!enso__cuda_memory_reserve(device, ENSO__CUDA_LANES, bytes)) {
        struct enso__recording *oldest;
        struct held held = {0};

        pthread_mutex_lock(&device->captures_mutex);
        oldest = oldest_recorded(c, r);
        if (oldest != NULL)
            held = take(oldest);
        pthread_mutex_unlock(&device->captures_mutex);
        if (oldest == NULL)
            return false;
        drop(device, held);
    }
    r->bytes = bytes;
    return true;
}

/* Under the mutex. The one of all that was used longest ago and is on no lane, if all of these
 * together hold so many bytes. */
static struct enso__recording *oldest_of_all(const struct enso_device *device, size_t bytes)
{
    struct enso__recording *oldest = NULL;
    size_t held = 0;

    for (struct enso_captures *c = device->captures; c != NULL; c = c->next)
        for (size_t i = 0; i < c->n; i++) {
            struct enso__recording *r = &c->list[i];

            if (r->pinned || r->exec == NULL)
                continue;
            held += r->bytes;
            if (oldest == NULL || r->used < oldest->used)
                oldest = r;
        }
    return held >= bytes ? oldest : NULL;
}

bool enso__captures_give_way(struct enso_device *device, size_t bytes)
{
    struct enso__recording *oldest;
    struct held held = {0};
    size_t freed = 0;

    do {
        pthread_mutex_lock(&device->captures_mutex);
        oldest = oldest_of_all(device, bytes - freed);
        if (oldest != NULL)
            held = take(oldest);
        pthread_mutex_unlock(&device->captures_mutex);
        if (oldest == NULL)
            return false;
        drop(device, held);
        freed += held.bytes;
    } while (freed < bytes);
    return true;
}

int enso__capture_begin(cudaStream_t stream)
{
    return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
}

void enso__capture_refuse(struct enso_device *device, struct enso__recording *r, int why)
{
    (void)cudaGetLastError(); /* else the next launch would report it again */
    drop(device, take(r));
    r->refused = true;
    enso_log(ENSO_LOG_WARNING, "no graph",
             "%s: batches of %lld tokens, %lld items are launched kernel by kernel: %s",
             device->name, (long long)r->extents.n_tokens, (long long)r->extents.n_items,
             why != cudaSuccess ? cudaGetErrorString((cudaError_t)why) : "a kernel refused");
}

void enso__capture_end(struct enso_device *device, cudaStream_t stream, struct enso__recording *r,
                       bool complete)
{
    cudaGraph_t graph = NULL;
    int code = cudaStreamEndCapture(stream, &graph); /* also after a failure: ends it */

    if (code == cudaSuccess && complete)
        code = cudaGraphInstantiate(&r->exec, graph, 0);
    if (code != cudaSuccess)
        r->exec = NULL;
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    if (r->exec == NULL)
        enso__capture_refuse(device, r, code);
}

void enso__capture_learn(const struct enso_device *device, struct enso_captures *c,
                         uint64_t compute_ns, uint64_t enqueue_ns)
{
    enso__ladder_learn(&c->ladder, device->long_percent, compute_ns, enqueue_ns);
}

void enso__captures_round_up(const struct enso_captures *captures,
                             const struct enso_extents *capacity, struct enso_extents *extents)
{
    enso__ladder_round_up(captures != NULL ? &captures->ladder : NULL, capacity, extents);
}

void enso__captures_free(struct enso_device *device, struct enso_captures *c)
{
    if (c == NULL)
        return;
    (void)enso__cuda_enter_to_release(device);
    pthread_mutex_lock(&device->captures_mutex);
    *c->at = c->next;
    if (c->next != NULL)
        c->next->at = c->at;
    pthread_mutex_unlock(&device->captures_mutex);
    for (size_t i = 0; i < c->n; i++)
        drop(device, take(&c->list[i]));
    enso_free(c);
}
