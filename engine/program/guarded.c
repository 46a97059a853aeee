/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches in guarded memory: see guarded.h.
 */
#include "engine/program/guarded.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STRIP_BYTES 64 /* before and behind a piece on a device: it keeps an arena's alignment */
#define CHUNK_BYTES ((size_t)256 << 10)
#define POISON 0xFF /* NaN in every floating type, -1 as a whole number */

struct piece {
    const char *name; /* of the value that stands there */
    char *start;      /* of all that was allocated, NULL: nothing was */
    char *data;
    size_t allocated_bytes, bytes;
    size_t first, last; /* steps */
};

struct guarded {
    const struct enso_plan *plan;
    const struct enso_program *program;
    struct enso_lane *lane;
    struct enso_tensor *tensors;  /* [n_values], as the batch's own, data in the pieces */
    struct enso_tensor *capacity; /* [n_values], of the plan: what scratch memory is asked for */
    struct piece *pieces;         /* [n_storages + n_inputs], then one for scratch memory */
    size_t n_pieces;
    unsigned char *poison; /* CHUNK_BYTES */
};

/* ---- one piece ---- */

static int upload_poison(const struct guarded *g, char *to, size_t bytes, struct enso_error *err)
{
    int st = ENSO_OK;

    for (size_t at = 0; st == ENSO_OK && at < bytes; at += CHUNK_BYTES)
        st = g->program->backend->upload(g->lane, to + at, g->poison,
                                         ENSO_MIN(bytes - at, CHUNK_BYTES), err);
    return st;
}

/* Mapped so that it ends (up to alignment) at a page that faults. */
static int map_piece(struct piece *p, struct enso_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = enso__aligned(p->bytes);
    void *map;

    room = (room + page - 1) / page * page;
    map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return enso_error_no_memory(err, "guarded memory");
    p->start = map;
    p->allocated_bytes = room + page;
    p->data = p->start + room - enso__aligned(p->bytes);
    memset(p->start, POISON, room);
    mprotect(p->start + room, page, PROT_NONE);
    return ENSO_OK;
}

static int piece_begin(struct guarded *g, struct piece *p, struct enso_error *err)
{
    void *memory = NULL;
    int st;

    if (g->program->backend->host_memory)
        return map_piece(p, err);
    p->allocated_bytes = STRIP_BYTES + enso__aligned(p->bytes) + STRIP_BYTES;
    st = enso__program_alloc(g->program, p->name, p->allocated_bytes, 0, &memory, err);
    if (st != ENSO_OK)
        return st;
    p->start = memory;
    p->data = p->start + STRIP_BYTES;
    return upload_poison(g, p->start, p->allocated_bytes, err);
}

/* Its last reader has run. */
static int piece_poison(const struct guarded *g, const struct piece *p, struct enso_error *err)
{
    if (!g->program->backend->host_memory)
        return upload_poison(g, p->start, p->allocated_bytes, err);
    mprotect(p->start, p->allocated_bytes, PROT_NONE);
    return ENSO_OK;
}

/* What the device still does with it must be over. */
static void piece_end(const struct guarded *g, struct piece *p)
{
    if (p->start == NULL)
        return;
    if (g->program->backend->host_memory)
        munmap(p->start, p->allocated_bytes);
    else
        g->program->backend->memory_free(g->program->device, p->start);
    p->start = NULL;
}

/* Whether what stands before and behind it is as it was. */
static int piece_check(const struct guarded *g, const struct piece *p, size_t step,
                       struct enso_error *err)
{
    unsigned char found[2 * STRIP_BYTES];
    const struct enso_backend *backend = g->program->backend;
    size_t behind = p->allocated_bytes - STRIP_BYTES - p->bytes; /* alignment and strip */
    int st = backend->download(g->lane, found, p->start, STRIP_BYTES, err);

    if (st == ENSO_OK && memcmp(found, g->poison, STRIP_BYTES) != 0)
        return enso_error_set(err, ENSO_INTERNAL,
                              "node '%s' of '%s' writes before the start of '%s'",
                              g->program->step_names[step], g->program->name, p->name);
    if (st == ENSO_OK)
        st = backend->download(g->lane, found, p->data + p->bytes, behind, err);
    if (st == ENSO_OK && memcmp(found, g->poison, behind) != 0)
        return enso_error_set(err, ENSO_INTERNAL, "node '%s' of '%s' writes past the end of '%s'",
                              g->program->step_names[step], g->program->name, p->name);
    return st;
}

/* ---- all of them ---- */

/* Of each storage the bytes of its largest tensor in this batch, and the steps of its life. */
static void measure_storages(struct guarded *g)
{
    const struct enso_plan *plan = g->plan;

    for (size_t i = 0; i < g->program->n_values; i++) {
        struct piece *p;

        if (plan->storage_of[i] < 0)
            continue;
        p = &g->pieces[plan->storage_of[i]];
        if (p->name == NULL)
            p->name = g->program->values[i].name;
        p->bytes = ENSO_MAX(p->bytes, enso_tensor_bytes(&g->tensors[i]));
    }
    for (size_t i = 0; i < plan->n_storages; i++) {
        g->pieces[i].first = plan->storages[i].first;
        g->pieces[i].last = plan->storages[i].last;
    }
}

static void measure_inputs(struct guarded *g)
{
    for (size_t i = 0; i < g->program->n_inputs; i++)
        g->pieces[g->plan->n_storages + i] =
            (struct piece){.name = g->program->inputs[i].name,
                           .bytes = enso_tensor_bytes(&g->tensors[g->program->input_values[i]]),
                           .last = g->program->n_steps};
}

/* Tensors and views of them to their pieces. */
static void place(struct guarded *g)
{
    const struct enso_program *p = g->program;

    for (size_t i = 0; i < p->n_inputs; i++)
        g->tensors[p->input_values[i]].data = g->pieces[g->plan->n_storages + i].data;
    for (size_t i = 0; i < p->n_values; i++)
        if (g->plan->storage_of[i] >= 0)
            g->tensors[i].data = g->pieces[g->plan->storage_of[i]].data;
        else if (p->values[i].origin == ENSO__INPUT)
            g->tensors[i].data = g->tensors[p->values[i].root].data;
}

static int begin(struct guarded *g, const struct enso_run *run, const void *const *inputs,
                 struct enso_error *err)
{
    const struct enso_program *p = g->program;
    size_t n_values = p->n_values + 1;
    int st = ENSO_OK;

    g->n_pieces = g->plan->n_storages + p->n_inputs + 1;
    g->tensors = enso_alloc_array(n_values, sizeof *g->tensors);
    g->capacity = enso_alloc_zero(n_values, sizeof *g->capacity);
    g->pieces = enso_alloc_zero(g->n_pieces, sizeof *g->pieces);
    g->poison = enso_alloc(CHUNK_BYTES);
    if (g->tensors == NULL || g->capacity == NULL || g->pieces == NULL || g->poison == NULL)
        return enso_error_no_memory(err, "guarded memory");
    memset(g->poison, POISON, CHUNK_BYTES);
    memcpy(g->tensors, run->tensors, p->n_values * sizeof *g->tensors);
    for (size_t i = 0; i < p->n_values; i++) /* fits, or there would be no plan */
        (void)enso__value_tensor(&p->values[i], &g->plan->capacity, &g->capacity[i]);
    measure_storages(g);
    measure_inputs(g);
    for (size_t i = 0; st == ENSO_OK && i + 1 < g->n_pieces; i++)
        st = piece_begin(g, &g->pieces[i], err);
    if (st == ENSO_OK)
        place(g);
    for (size_t i = 0; st == ENSO_OK && i < p->n_inputs; i++)
        st = p->backend->upload(g->lane, g->tensors[p->input_values[i]].data, inputs[i],
                                enso_tensor_bytes(&g->tensors[p->input_values[i]]), err);
    return st;
}

static void end(struct guarded *g)
{
    const struct enso_backend *backend = g->program->backend;

    if (backend->drain != NULL) /* a failure shows at the next call that matters */
        (void)backend->drain(g->lane, NULL);
    for (size_t i = 0; g->pieces != NULL && i < g->n_pieces; i++)
        piece_end(g, &g->pieces[i]);
    enso_free(g->pieces);
    enso_free(g->tensors);
    enso_free(g->capacity);
    enso_free(g->poison);
}

/* ---- steps ---- */

/* Scratch memory for one step: what the plan would ask for it alone. */
static int scratch_begin(struct guarded *g, size_t i, struct enso_error *err)
{
    const struct enso_step *step = &g->program->steps[i];
    struct piece *p = &g->pieces[g->n_pieces - 1];

    *p = (struct piece){.name = "scratch memory", .first = i, .last = i};
    p->bytes = g->program->backend->workspace_bytes(step->bound, step, g->capacity);
    return p->bytes == 0 ? ENSO_OK : piece_begin(g, p, err);
}

static int check_after(const struct guarded *g, size_t step, struct enso_error *err)
{
    int st = ENSO_OK;

    for (size_t k = 0; st == ENSO_OK && k < g->n_pieces; k++) {
        const struct piece *p = &g->pieces[k];

        if (p->start == NULL || step < p->first || step > p->last)
            continue;
        if (!g->program->backend->host_memory)
            st = piece_check(g, p, step, err);
        if (st == ENSO_OK && p->last == step)
            st = piece_poison(g, p, err);
    }
    return st;
}

static int run_step(struct guarded *g, size_t i, const struct enso_extents *extents,
                    struct enso_error *err)
{
    const struct enso_backend *backend = g->program->backend;
    struct piece *scratch = &g->pieces[g->n_pieces - 1];
    struct enso_run run = {
        .steps = &g->program->steps[i], .n_steps = 1, .tensors = g->tensors, .extents = extents};
    int st = scratch_begin(g, i, err);

    run.workspace = scratch->data;
    if (st == ENSO_OK)
        st = backend->run(g->lane, &run, err);
    if (st == ENSO_OK)
        st = check_after(g, i, err);
    if (st == ENSO_OK && scratch->start != NULL && backend->drain != NULL)
        st = backend->drain(g->lane, err);
    if (st == ENSO_OK)
        piece_end(g, scratch);
    return st;
}

int enso__guarded_run(const struct enso_plan *plan, struct enso_lane *lane,
                      const struct enso_run *run, const void *const *inputs, void *const *outputs,
                      struct enso_error *err)
{
    const struct enso_program *p = plan->program;
    struct guarded g = {.plan = plan, .program = p, .lane = lane};
    int st = begin(&g, run, inputs, err);

    for (size_t i = 0; st == ENSO_OK && i < p->n_steps; i++)
        st = run_step(&g, i, run->extents, err);
    for (size_t i = 0; st == ENSO_OK && i < p->n_outputs; i++) {
        const struct enso_tensor *t = &g.tensors[p->output_values[i]];

        if (outputs[i] != NULL && enso_tensor_bytes(t) > 0)
            st = p->backend->download(lane, outputs[i], t->data, enso_tensor_bytes(t), err);
    }
    end(&g);
    return st;
}
