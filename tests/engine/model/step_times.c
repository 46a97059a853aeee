/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of steps: see step_times.h.
 */
#include "ensod_build.h"

#include "tests/engine/model/step_times.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "engine/graph/graph.h"

#define MAX_STEPS 4096
#define N_SAMPLES 5 /* the median counts */
#define N_WARM 2    /* the first runs alone, the second records a graph */

struct bound_name {
    const struct enso_bound *bound;
    enum enso_op op;
    char node[80];
};

static const struct enso_backend *inner;
static struct enso_device *opened;
static struct bound_name names[MAX_STEPS];
static struct step_time times[MAX_STEPS];
static size_t n_names, n_times;
static unsigned n_wanted;

static int noting_bind(struct enso_device *device, const struct enso_graph *graph, int node,
                       struct enso_bound **ret_bound, struct enso_error *err)
{
    int st = inner->bind(device, graph, node, ret_bound, err);

    opened = device;
    if (st == ENSO_OK && n_names < MAX_STEPS) {
        const struct enso_node *n = enso_graph_node(graph, node);
        struct bound_name *name = &names[n_names++];

        *name = (struct bound_name){.bound = *ret_bound, .op = n->op};
        snprintf(name->node, sizeof(name->node), "%s", n->name);
    }
    return st;
}

/* The last of an address counts: what was bound there before is gone. */
static void name_step(const struct enso_bound *bound, struct step_time *t)
{
    t->op = "?";
    for (size_t i = n_names; i-- > 0;)
        if (names[i].bound == bound) {
            t->op = enso_op_name(names[i].op);
            memcpy(t->node, names[i].node, sizeof(t->node));
            return;
        }
}

static void put_dims(char *text, size_t size, const struct enso_tensor *t)
{
    size_t at = strlen(text);

    for (unsigned d = 0; d < t->rank && at + 24 < size; d++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", d == 0 ? "[" : ",",
                               (long long)t->dims[d]);
    if (at + 3 < size)
        snprintf(text + at, size - at, "%s", t->rank == 0 ? "[] " : "] ");
}

/* Tensors of one side; the first three tell which kernel's work it is. */
static void put_side(char *text, size_t size, const struct enso_run *run, const int *values,
                     size_t n)
{
    for (size_t i = 0; i < n && i < 3; i++)
        if (values[i] != ENSO_NO_VALUE)
            put_dims(text, size, &run->tensors[values[i]]);
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Median of what n times the same step keep the device. */
static int time_repeated(struct enso_lane *lane, unsigned slot, struct enso_run run,
                         const struct enso_step *step, size_t n, uint64_t *ret_ns,
                         struct enso_error *err)
{
    struct enso_step steps[STEP_TIMES_MOST_REPEATS];
    struct enso_captures *captures = NULL;
    uint64_t ns[N_SAMPLES], ignored;
    int st = ENSO_OK;

    for (size_t i = 0; i < n; i++)
        steps[i] = *step;
    run.steps = steps;
    run.n_steps = n;
    run.captures = run.captures != NULL ? &captures : NULL;
    for (size_t i = 0; st == ENSO_OK && i < N_WARM + N_SAMPLES; i++) {
        st = inner->begin(lane, slot, &run, err);
        if (st == ENSO_OK)
            st = inner->finish(lane, slot, i < N_WARM ? &ignored : &ns[i - N_WARM], err);
    }
    if (captures != NULL)
        inner->captures_free(opened, captures);
    if (st != ENSO_OK)
        return st;
    qsort(ns, N_SAMPLES, sizeof(ns[0]), compare);
    *ret_ns = ns[N_SAMPLES / 2];
    return ENSO_OK;
}

static int time_step(struct enso_lane *lane, unsigned slot, const struct enso_run *run, size_t i,
                     struct enso_error *err)
{
    const struct enso_step *step = &run->steps[i];
    struct step_time *t = &times[n_times];
    uint64_t one = 0, many = 0;
    int st = time_repeated(lane, slot, *run, step, 1, &one, err);

    if (st == ENSO_OK)
        st = time_repeated(lane, slot, *run, step, n_wanted, &many, err);
    if (st != ENSO_OK)
        return st;
    *t =
        (struct step_time){.seconds = ((double)many - (double)one) / (double)(n_wanted - 1) * 1e-9};
    name_step(step->bound, t);
    put_side(t->dims, sizeof(t->dims), run, step->inputs, step->n_inputs);
    snprintf(t->dims + strlen(t->dims), sizeof(t->dims) - strlen(t->dims), "-> ");
    put_side(t->dims, sizeof(t->dims), run, step->outputs, step->n_outputs);
    n_times++;
    return ENSO_OK;
}

static int timing_begin(struct enso_lane *lane, unsigned slot, const struct enso_run *run,
                        struct enso_error *err)
{
    int st = ENSO_OK;

    if (n_wanted != 0) {
        n_times = 0;
        for (size_t i = 0; st == ENSO_OK && i < run->n_steps && n_times < MAX_STEPS; i++)
            st = time_step(lane, slot, run, i, err);
    }
    return st == ENSO_OK ? inner->begin(lane, slot, run, err) : st;
}

const struct enso_backend *step_times_wrap(const struct enso_backend *backend)
{
    static struct enso_backend table;

    inner = backend;
    table = *backend;
    table.bind = noting_bind;
    table.begin = timing_begin;
    return &table;
}

void step_times_want(unsigned n_repeats)
{
    n_wanted = n_repeats == 0 ? 0 : ENSO_MIN(ENSO_MAX(n_repeats, 2U), STEP_TIMES_MOST_REPEATS);
}

size_t step_times_get(const struct step_time **ret_times)
{
    *ret_times = times;
    return n_times;
}
