/* SPDX-License-Identifier: Apache-2.0
 *
 * Running programs: see context.h. A run looks up its plan (made on first use), points every tensor
 * into the arena with the dims of this batch, and hands all steps to the backend at once.
 */
#include "engine/program/context.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/program/program_internal.h"

#define MAX_PLANS 16
#define SMALLEST_TOKENS 16    /* below, plans differ by a few kilobytes only */
#define SMALLEST_SEQUENCES 64 /* sequences shape next to nothing: keep their plans together */

struct planned {
    struct enso_plan *plan;
    uint64_t last_run;
};

struct enso_context {
    struct enso_program *program;
    struct planned plans[MAX_PLANS];
    size_t n_plans;
    uint64_t n_runs;
    struct enso_tensor *tensors; /* [n_values], of the batch that runs */
    char *arena;                 /* device memory */
    size_t arena_bytes;
    bool debug;
};

int enso_context_create(struct enso_program *program, struct enso_context **ret_context,
                        struct enso_error *err)
{
    struct enso_context *c = enso_alloc_zero(1, sizeof *c);

    if (c == NULL)
        return enso_error_no_memory(err, "a context");
    c->program = enso_program_ref(program);
    c->tensors = enso_alloc_zero(program->n_values + 1, sizeof *c->tensors);
    c->debug = program->backend->host_memory && getenv("ENSO_ARENA_DEBUG") != NULL;
    if (c->tensors == NULL) {
        enso_context_destroy(c);
        return enso_error_no_memory(err, "a context");
    }
    *ret_context = c;
    return ENSO_OK;
}

struct enso_context *enso_context_destroy(struct enso_context *context)
{
    if (context == NULL)
        return NULL;
    for (size_t i = 0; i < context->n_plans; i++)
        enso_plan_destroy(context->plans[i].plan);
    if (context->arena != NULL)
        context->program->backend->memory_free(context->program->device, context->arena);
    enso_free(context->tensors);
    enso_program_unref(context->program);
    enso_free(context);
    return NULL;
}

size_t enso_context_bytes(const struct enso_context *context)
{
    return context->arena_bytes;
}

size_t enso_context_n_plans(const struct enso_context *context)
{
    return context->n_plans;
}

/* ---- plans ---- */

static int64_t round_up(int64_t n, int64_t smallest)
{
    int64_t power = smallest;

    while (power < n && power <= INT64_MAX / 2)
        power *= 2;
    return ENSO_MAX(power, n);
}

/* Check one run-time number and round it up to its plan's. */
static int capacity_of(const struct enso_program *p, enum enso_extent extent, const char *what,
                       int64_t n, int64_t smallest, int64_t *ret_capacity, struct enso_error *err)
{
    *ret_capacity = 0;
    if (!p->uses[extent])
        return ENSO_OK;
    if (n < 1)
        return enso_error_set(err, ENSO_INVALID, "a batch of '%s' needs at least one %s", p->name,
                              what);
    *ret_capacity = round_up(n, smallest);
    return ENSO_OK;
}

static bool same_capacity(const struct enso_extents *a, const struct enso_extents *b)
{
    return a->n_items == b->n_items && a->n_tokens == b->n_tokens &&
           a->n_sequences == b->n_sequences;
}

/* Room for one more plan: the one that was used longest ago goes. */
static struct planned *free_slot(struct enso_context *c)
{
    struct planned *oldest = &c->plans[0];

    if (c->n_plans < MAX_PLANS)
        return &c->plans[c->n_plans++];
    for (size_t i = 1; i < MAX_PLANS; i++)
        if (c->plans[i].last_run < oldest->last_run)
            oldest = &c->plans[i];
    enso_plan_destroy(oldest->plan);
    return oldest;
}

static int find_plan(struct enso_context *c, const struct enso_extents *e,
                     const struct enso_plan **ret_plan, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    struct enso_extents capacity;
    struct enso_plan *plan;
    struct planned *slot;
    int st = capacity_of(p, ENSO_EXTENT_ITEMS, "item", e->n_items, 1, &capacity.n_items, err);

    if (st == ENSO_OK)
        st = capacity_of(p, ENSO_EXTENT_TOKENS, "token", e->n_tokens, SMALLEST_TOKENS,
                         &capacity.n_tokens, err);
    if (st == ENSO_OK)
        st = capacity_of(p, ENSO_EXTENT_SEQUENCES, "sequence", e->n_sequences, SMALLEST_SEQUENCES,
                         &capacity.n_sequences, err);
    if (st != ENSO_OK)
        return st;
    c->n_runs++;
    for (size_t i = 0; i < c->n_plans; i++)
        if (same_capacity(&c->plans[i].plan->capacity, &capacity)) {
            c->plans[i].last_run = c->n_runs;
            *ret_plan = c->plans[i].plan;
            return ENSO_OK;
        }
    st = enso_plan_create(c->program, &capacity, &plan, err);
    if (st != ENSO_OK)
        return st;
    slot = free_slot(c);
    *slot = (struct planned){plan, c->n_runs};
    *ret_plan = plan;
    return ENSO_OK;
}

static int grow_arena(struct enso_context *c, size_t bytes, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    void *memory = NULL;
    int st;

    if (bytes <= c->arena_bytes)
        return ENSO_OK;
    p->backend->memory_free(p->device, c->arena);
    c->arena = NULL;
    c->arena_bytes = 0;
    st = enso__program_alloc(p, "a batch", bytes, &memory, err);
    if (st != ENSO_OK)
        return st;
    c->arena = memory;
    c->arena_bytes = bytes;
    return ENSO_OK;
}

/* ---- tensors of a batch ---- */

static int check_input(const struct enso_program *p, size_t i, const struct enso_tensor *given,
                       const struct enso_tensor *wanted, struct enso_error *err)
{
    bool same = given->dtype == wanted->dtype && given->rank == wanted->rank;

    for (size_t k = 0; same && k < wanted->rank; k++)
        same = given->dims[k] == wanted->dims[k];
    if (same && (given->data != NULL || enso_tensor_count(given) == 0))
        return ENSO_OK;
    return enso_error_set(err, ENSO_INVALID,
                          "input '%s' of '%s' has another type or shape than this batch needs",
                          p->inputs[i].name, p->name);
}

/* Dims of this batch and, for what has a place before the first step, data. */
static int set_tensors(struct enso_context *c, const struct enso_plan *plan,
                       const struct enso_extents *e, const struct enso_tensor *inputs,
                       struct enso_error *err)
{
    const struct enso_program *p = c->program;

    for (size_t i = 0; i < p->n_values; i++) {
        const struct enso__program_value *v = &p->values[i];
        struct enso_tensor *t = &c->tensors[i];

        (void)enso__value_tensor(v, e, t); /* fits, since its capacity does */
        if (plan->storage_of[i] >= 0)
            t->data = c->arena + plan->storages[plan->storage_of[i]].offset;
        else if (v->origin == ENSO__CONSTANT)
            t->data = (char *)p->constants + v->offset;
    }
    for (size_t i = 0; i < p->n_inputs; i++) {
        struct enso_tensor *t = &c->tensors[p->input_values[i]];
        int st = check_input(p, i, &inputs[i], t, err);

        if (st != ENSO_OK)
            return st;
        if (p->backend->host_memory)
            t->data = inputs[i].data; /* read only: its storage is not in the arena */
    }
    if (p->backend->host_memory)
        for (size_t i = 0; i < p->n_values; i++)
            if (p->values[i].origin == ENSO__INPUT)
                c->tensors[i].data = c->tensors[p->values[i].root].data;
    return ENSO_OK;
}

static int upload_inputs(struct enso_context *c, struct enso_lane *lane,
                         const struct enso_tensor *inputs, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < p->n_inputs && !p->backend->host_memory; i++)
        st = p->backend->upload(lane, c->tensors[p->input_values[i]].data, inputs[i].data,
                                enso_tensor_bytes(&inputs[i]), err);
    return st;
}

static int download_outputs(struct enso_context *c, struct enso_lane *lane, void *const *outputs,
                            struct enso_error *err)
{
    const struct enso_program *p = c->program;
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < p->n_outputs; i++) {
        const struct enso_tensor *t = &c->tensors[p->output_values[i]];

        if (outputs[i] != NULL && enso_tensor_bytes(t) > 0)
            st = p->backend->download(lane, outputs[i], t->data, enso_tensor_bytes(t), err);
    }
    return st;
}

/* ---- debugging: memory of its own for every storage ---- */

struct guarded {
    char *map;
    size_t map_bytes, bytes; /* bytes: what the batch's largest tensor there takes */
};

static void guard_done(struct guarded *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (all[i].map != NULL)
            munmap(all[i].map, all[i].map_bytes);
    enso_free(all);
}

/* Map each storage so that it ends (up to alignment) at a page that faults. */
static int guard_begin(struct enso_context *c, const struct enso_plan *plan,
                       struct guarded **ret_all, struct enso_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guarded *all = enso_alloc_zero(plan->n_storages + 1, sizeof *all);

    if (all == NULL)
        return enso_error_no_memory(err, "guarded memory");
    for (size_t i = 0; i < c->program->n_values; i++) {
        int s = plan->storage_of[i];

        if (s >= 0)
            all[s].bytes = ENSO_MAX(all[s].bytes, enso_tensor_bytes(&c->tensors[i]));
    }
    for (size_t i = 0; i < plan->n_storages; i++) {
        size_t bytes = (all[i].bytes + ENSO__ALIGNMENT - 1) & ~(size_t)(ENSO__ALIGNMENT - 1);

        all[i].bytes = bytes;
        all[i].map_bytes = (bytes + page - 1) / page * page + page;
        all[i].map = mmap(NULL, all[i].map_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all[i].map == MAP_FAILED) {
            all[i].map = NULL;
            guard_done(all, plan->n_storages);
            return enso_error_no_memory(err, "guarded memory");
        }
        memset(all[i].map, 0xFF, all[i].map_bytes - page); /* NaN for what reads too early */
        mprotect(all[i].map + all[i].map_bytes - page, page, PROT_NONE);
    }
    for (size_t i = 0; i < c->program->n_values; i++) {
        int s = plan->storage_of[i];

        if (s >= 0)
            c->tensors[i].data = all[s].map + all[s].map_bytes - page - all[s].bytes;
    }
    *ret_all = all;
    return ENSO_OK;
}

static int run_guarded(struct enso_context *c, struct enso_lane *lane, const struct enso_plan *plan,
                       struct enso_run *run, void *const *outputs, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    struct guarded *all = NULL;
    int st = guard_begin(c, plan, &all, err);

    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; st == ENSO_OK && i < p->n_steps; i++) {
        run->steps = &p->steps[i];
        run->n_steps = 1;
        st = p->backend->run(lane, run, err);
        for (size_t k = 0; k < plan->n_storages; k++)
            if (plan->storages[k].last == i)
                mprotect(all[k].map, all[k].map_bytes, PROT_NONE);
    }
    if (st == ENSO_OK)
        st = download_outputs(c, lane, outputs, err);
    guard_done(all, plan->n_storages);
    return st;
}

/* ---- running ---- */

int enso_context_run(struct enso_context *context, struct enso_lane *lane,
                     const struct enso_extents *extents, const struct enso_tensor *inputs,
                     void *const *outputs, struct enso_error *err)
{
    const struct enso_program *p = context->program;
    const struct enso_plan *plan;
    struct enso_run run;
    int st = find_plan(context, extents, &plan, err);

    if (st == ENSO_OK)
        st = grow_arena(context, enso_plan_arena_bytes(plan), err);
    if (st == ENSO_OK)
        st = set_tensors(context, plan, extents, inputs, err);
    if (st != ENSO_OK)
        return st;
    run = (struct enso_run){.steps = p->steps,
                            .n_steps = p->n_steps,
                            .tensors = context->tensors,
                            .extents = extents,
                            .workspace =
                                context->arena == NULL ? NULL : context->arena + plan->arena_bytes};
    if (context->debug)
        return run_guarded(context, lane, plan, &run, outputs, err);
    st = upload_inputs(context, lane, inputs, err);
    if (st == ENSO_OK)
        st = p->backend->begin(lane, 0, &run, err);
    if (st == ENSO_OK)
        st = p->backend->finish(lane, 0, NULL, err);
    if (st == ENSO_OK)
        st = download_outputs(context, lane, outputs, err);
    return st;
}
