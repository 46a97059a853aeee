/* SPDX-License-Identifier: Apache-2.0
 *
 * Liveness and places: see plan.h. Values fall into storages: a view belongs to its root's, the
 * output of an in-place operator to that of the input it overwrites. Inputs of the program have no
 * storage and are never written over: a batch may be run again.
 */
#include "engine/program/plan.h"

#include <string.h>

#include "base/buffer.h"
#include "engine/program/program_internal.h"

/* ---- liveness ---- */

static bool same_shape(const struct enso__program_value *a, const struct enso__program_value *b)
{
    if (a->shape.rank != b->shape.rank || a->dtype != b->dtype)
        return false;
    for (size_t i = 0; i < a->shape.rank; i++)
        if (!enso_dim_equal(a->shape.dims[i], b->shape.dims[i]))
            return false;
    return true;
}

/* last[root]: the last step that reads a root or a view of it; n_steps for outputs. */
static void note_last_readers(const struct enso_program *p, size_t *last)
{
    for (size_t i = 0; i < p->n_steps; i++)
        for (size_t k = 0; k < p->steps[i].n_inputs; k++)
            if (p->steps[i].inputs[k] >= 0)
                last[p->values[p->steps[i].inputs[k]].root] = i;
    for (size_t i = 0; i < p->n_outputs; i++)
        last[p->values[p->output_values[i]].root] = p->n_steps;
}

/* Whether step i may write over its input k: nobody reads that storage later, and no other input
 * of the step looks at the same storage in another shape (elements would be read after they were
 * overwritten). */
static bool may_overwrite(const struct enso_plan *plan, size_t i, size_t k)
{
    const struct enso_program *p = plan->program;
    const struct enso_step *s = &p->steps[i];
    const struct enso__program_value *in, *out = &p->values[s->outputs[0]];
    int storage;

    if (s->inputs[k] < 0)
        return false;
    in = &p->values[s->inputs[k]];
    storage = plan->storage_of[s->inputs[k]];
    if (storage < 0 || plan->storages[storage].last != i || !same_shape(in, out))
        return false;
    for (size_t j = 0; j < s->n_inputs; j++)
        if (s->inputs[j] >= 0 && plan->storage_of[s->inputs[j]] == storage &&
            !same_shape(&p->values[s->inputs[j]], out))
            return false;
    return true;
}

/* Operators of any number of inputs add them up one after the other: the first addition ends all of
 * the storage that it writes to. */
static bool adds_up(enum enso_op op)
{
    return op == ENSO_OP_SUM || op == ENSO_OP_MEAN || op == ENSO_OP_MAX || op == ENSO_OP_MIN;
}

/* Whether an input from the third on stands in the storage of the first. */
static bool first_comes_again(const struct enso_plan *plan, const struct enso_step *s)
{
    for (size_t k = 2; k < s->n_inputs; k++)
        if (s->inputs[k] >= 0 && s->inputs[0] >= 0 &&
            plan->storage_of[s->inputs[k]] == plan->storage_of[s->inputs[0]])
            return true;
    return false;
}

/* The input that step i overwrites, or -1. */
static int overwritten_input(const struct enso_plan *plan, size_t i)
{
    const struct enso_step *s = &plan->program->steps[i];
    enum enso_op op = plan->program->ops[i];
    size_t n = s->n_inputs;

    if (!enso_op_works_in_place(op) || s->n_outputs != 1)
        return -1;
    if (adds_up(op)) /* only the first may go */
        n = first_comes_again(plan, s) ? 0 : 1;
    for (size_t k = 0; k < n; k++)
        if (may_overwrite(plan, i, k))
            return (int)k;
    return -1;
}

static void add_storage(struct enso_plan *plan, int value, size_t first, const size_t *last)
{
    struct enso__storage *s = &plan->storages[plan->n_storages];

    *s = (struct enso__storage){.first = first, .last = ENSO_MAX(first, last[value])};
    plan->storage_of[value] = (int)plan->n_storages++;
}

/* Views follow their root's storage: views[root] begins a list that next_view continues. */
static void assign_storages(struct enso_plan *plan, const size_t *last, int *views, int *next_view)
{
    const struct enso_program *p = plan->program;

    for (size_t i = 0; i < p->n_values; i++)
        views[i] = -1;
    for (size_t i = p->n_values; i-- > 0;)
        if (p->values[i].root != (int)i) {
            next_view[i] = views[p->values[i].root];
            views[p->values[i].root] = (int)i;
        }
    for (size_t i = 0; i < p->n_steps; i++) {
        const struct enso_step *s = &p->steps[i];
        int over = overwritten_input(plan, i);

        for (size_t k = 0; k < s->n_outputs; k++) {
            int value = s->outputs[k];

            if (value < 0)
                continue;
            if (over >= 0) {
                plan->storage_of[value] = plan->storage_of[s->inputs[over]];
                plan->storages[plan->storage_of[value]].last = ENSO_MAX(i, last[value]);
            } else {
                add_storage(plan, value, i, last);
            }
            for (int v = views[value]; v >= 0; v = next_view[v])
                plan->storage_of[v] = plan->storage_of[value];
        }
    }
    for (size_t i = 0; i < p->n_outputs; i++)
        if (plan->storage_of[p->output_values[i]] >= 0)
            plan->storages[plan->storage_of[p->output_values[i]]].output = true;
}

/* ---- sizes ---- */

static int measure(struct enso_plan *plan, struct enso_tensor *tensors, struct enso_error *err)
{
    const struct enso_program *p = plan->program;

    for (size_t i = 0; i < p->n_values; i++) {
        struct enso__storage *s;

        if (!enso__value_tensor(&p->values[i], &plan->capacity, &tensors[i]))
            return enso_error_set(err, ENSO_TOO_LARGE,
                                  "'%s' of a batch of this size cannot be addressed",
                                  p->values[i].name);
        if (plan->storage_of[i] < 0)
            continue;
        s = &plan->storages[plan->storage_of[i]];
        s->size_bytes = ENSO_MAX(s->size_bytes, enso_tensor_bytes(&tensors[i]));
    }
    for (size_t i = 0; i < p->n_steps; i++) {
        size_t bytes = p->backend->workspace_bytes(p->steps[i].bound, &p->steps[i], tensors);

        plan->workspace_bytes = ENSO_MAX(plan->workspace_bytes, bytes);
    }
    return ENSO_OK;
}

/* The blocks in which inputs and outputs travel. */
static int measure_blocks(struct enso_plan *plan, const struct enso_tensor *tensors,
                          struct enso_error *err)
{
    const struct enso_program *p = plan->program;
    bool fits = true;

    if (p->backend->report_bytes != NULL)
        plan->report_bytes = p->backend->report_bytes(p->n_steps);
    plan->output_bytes = plan->report_bytes;
    for (size_t i = 0; i < p->n_inputs; i++)
        fits = fits && enso_size_add(plan->input_bytes,
                                     enso__aligned(enso_tensor_bytes(&tensors[p->input_values[i]])),
                                     &plan->input_bytes);
    for (size_t i = 0; i < plan->n_storages; i++)
        if (plan->storages[i].output)
            fits = fits &&
                   enso_size_add(plan->output_bytes, enso__aligned(plan->storages[i].size_bytes),
                                 &plan->output_bytes);
    if (fits && plan->input_bytes <= (size_t)PTRDIFF_MAX &&
        plan->output_bytes <= (size_t)PTRDIFF_MAX)
        return ENSO_OK;
    return enso_error_set(err, ENSO_TOO_LARGE,
                          "inputs or outputs of a batch of this size cannot be addressed");
}

static int fill(struct enso_plan *plan, struct enso_error *err)
{
    const struct enso_program *p = plan->program;
    size_t *last = enso_alloc_zero(p->n_values + 1, sizeof *last);
    int *views = enso_alloc_array(2 * p->n_values + 1, sizeof *views);
    struct enso_tensor *tensors = enso_alloc_array(p->n_values + 1, sizeof *tensors);
    size_t total = 0;
    int st = ENSO_NO_MEMORY;

    if (last == NULL || views == NULL || tensors == NULL) {
        enso_error_no_memory(err, "a plan");
    } else {
        note_last_readers(p, last);
        assign_storages(plan, last, views, views + p->n_values);
        st = measure(plan, tensors, err);
    }
    if (st == ENSO_OK)
        st = measure_blocks(plan, tensors, err);
    if (st == ENSO_OK)
        st = enso__arena_place(plan->storages, plan->n_storages, &plan->arena_bytes, err);
    if (st == ENSO_OK && (!enso_size_add(plan->arena_bytes, plan->workspace_bytes, &total) ||
                          total > (size_t)PTRDIFF_MAX - ENSO__ALIGNMENT))
        st = enso_error_set(err, ENSO_TOO_LARGE, "the workspace cannot be addressed");
    enso_free(last);
    enso_free(views);
    enso_free(tensors);
    return st;
}

/* ---- life ---- */

int enso_plan_create(struct enso_program *program, const struct enso_extents *capacity,
                     struct enso_plan **ret_plan, struct enso_error *err)
{
    struct enso_plan *plan = enso_alloc_zero(1, sizeof *plan);
    int st;

    if (plan == NULL)
        return enso_error_no_memory(err, "a plan");
    plan->program = enso_program_ref(program);
    plan->capacity = *capacity;
    plan->storages = enso_alloc_zero(program->n_values + 1, sizeof *plan->storages);
    plan->storage_of = enso_alloc_array(program->n_values + 1, sizeof *plan->storage_of);
    if (plan->storages == NULL || plan->storage_of == NULL) {
        enso_plan_destroy(plan);
        return enso_error_no_memory(err, "a plan");
    }
    for (size_t i = 0; i < program->n_values; i++)
        plan->storage_of[i] = -1;
    st = fill(plan, err);
    if (st != ENSO_OK) {
        enso_plan_destroy(plan);
        return st;
    }
    *ret_plan = plan;
    return ENSO_OK;
}

void enso_plan_destroy(struct enso_plan *plan)
{
    if (plan == NULL)
        return;
    enso_program_unref(plan->program);
    enso_free(plan->storages);
    enso_free(plan->storage_of);
    enso_free(plan);
}

size_t enso_plan_arena_bytes(const struct enso_plan *plan)
{
    size_t all = plan->arena_bytes + plan->workspace_bytes;

    return (all + ENSO__ALIGNMENT - 1) & ~(size_t)(ENSO__ALIGNMENT - 1);
}

const struct enso_extents *enso_plan_capacity(const struct enso_plan *plan)
{
    return &plan->capacity;
}

void enso_plan_dump(const struct enso_plan *plan, struct enso_buffer *b)
{
    const struct enso_program *p = plan->program;

    enso_buffer_printf(b, "plan N=%lld T=%lld B=%lld: %zu bytes, workspace %zu, in %zu, out %zu\n",
                       (long long)plan->capacity.n_items, (long long)plan->capacity.n_tokens,
                       (long long)plan->capacity.n_sequences, plan->arena_bytes,
                       plan->workspace_bytes, plan->input_bytes, plan->output_bytes);
    for (size_t i = 0; i < p->n_steps; i++)
        for (size_t k = 0; k < p->steps[i].n_outputs; k++) {
            int value = p->steps[i].outputs[k];
            const struct enso__storage *s;

            if (value < 0 || plan->storage_of[value] < 0)
                continue;
            s = &plan->storages[plan->storage_of[value]];
            enso_buffer_printf(b, "%3zu %s %s: %zu bytes ", i, enso_op_name(p->ops[i]),
                               p->values[value].name, s->size_bytes);
            if (s->output)
                enso_buffer_puts(b, "of the outputs\n");
            else
                enso_buffer_printf(b, "at %zu\n", s->offset);
        }
}
