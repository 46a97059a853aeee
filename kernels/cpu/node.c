/* SPDX-License-Identifier: Apache-2.0
 *
 * What all families of operators share: making bound nodes, errors of a run, sharing work over the
 * team. See cpu_internal.h.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* Work below this many multiplications (or bytes) is not worth waking a thread for. */
#define COST_PER_CHUNK 32768

void *enso__bound_new(const struct enso__bind *b, size_t size_bytes, enso__run_fn run,
                      struct enso_error *err)
{
    struct enso_bound *bound = enso_alloc_zero(1, size_bytes);

    if (bound == NULL) {
        enso_error_no_memory(err, "a bound operator");
        return NULL;
    }
    bound->op = b->node->op;
    snprintf(bound->node, sizeof(bound->node), "%s", b->node->name != NULL ? b->node->name : "");
    bound->kernels = b->device->kernels;
    bound->n_threads = b->device->n_threads;
    bound->bytes = size_bytes;
    bound->run = run;
    return bound;
}

void enso__bound_free(struct enso_bound *bound)
{
    if (bound == NULL)
        return;
    if (bound->release != NULL)
        bound->release(bound);
    enso_free(bound);
}

int enso__run_error(const struct enso__call *call, struct enso_error *err, enum enso_status status,
                    const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int st = enso__op_verror(call->bound->op, call->bound->node, err, status, format, args);
    va_end(args);
    return st;
}

int enso__ints_get(const struct enso__call *call, const struct enso__ints *ints,
                   struct enso__ints *storage, const struct enso__ints **ret_ints,
                   struct enso_error *err)
{
    if (ints->known) {
        *ret_ints = ints;
        return ENSO_OK;
    }
    const struct enso_tensor *t = enso__in(call, ints->input);

    *storage = *ints;
    if (t == NULL || !enso__ints_take(t->dtype, t->data, (size_t)enso_tensor_count(t), storage))
        return enso__run_error(call, err, ENSO_INVALID, "input %u must be at most %d integers",
                               ints->input, ENSO__MAX_INTS);
    *ret_ints = storage;
    return ENSO_OK;
}

void enso__parallel(const struct enso__call *call, size_t n, size_t cost, enso_team_fn fn,
                    void *arg)
{
    size_t grain = COST_PER_CHUNK / ENSO_MAX(cost, (size_t)1);
    /* About sixteen claims per thread even out what disturbs a core; more only cost. */
    size_t share = n / ((size_t)enso_team_size(call->team) * 16);

    enso_team_run(call->team, n, ENSO_MAX(ENSO_MAX(grain, share), (size_t)1), fn, arg);
}
