/* SPDX-License-Identifier: Apache-2.0
 *
 * Running programs: see context.h. A batch looks up its plan (made on first use), points every
 * tensor into the arena or the slot's blocks with the dims of this batch, and hands all steps to
 * the backend at once.
 *
 * Memory. Intermediate results of all slots share one arena: a lane works batches off one after the
 * other. Inputs and outputs do not: while one batch computes, the next one's record goes up and the
 * last one's outputs are read. A slot's inputs stand in one block, its outputs in another, each
 * with a twin in pinned memory laid out alike; on ordinary memory the twin is the block itself.
 * Where a piece lies depends on the batch's numbers: what is wanted of the outputs comes first, so
 * that one copy fetches that and nothing else.
 */
#include "engine/program/context.h"

#include <stdlib.h>
#include <string.h>

#include "engine/program/guarded.h"
#include "engine/program/program_internal.h"

#define MAX_PLANS 16
#define SMALLEST_TOKENS 16    /* below, plans differ by a few kilobytes only */
#define SMALLEST_SEQUENCES 64 /* sequences shape next to nothing: keep their plans together */

struct planned {
    struct enso_plan *plan;
    uint64_t last_run;
    struct enso_captures *captures; /* hold addresses of arena and blocks */
};

/* Memory on the device and its twin on the host. */
struct block {
    char *device, *host;
    size_t size_bytes;
};

/* One batch. */
struct slot {
    bool busy;    /* begun, not finished */
    bool through; /* all of it was over when begin returned */
    struct planned *planned;
    struct enso_extents asked, extents; /* the batch's, and rounded up to what runs */
    struct enso_tensor *tensors;        /* [n_values] */
    struct block inputs, outputs;
};

struct enso_context {
    struct enso_program *program;
    struct planned plans[MAX_PLANS]; /* a plan that is in use is none that goes: it is younger than
                                        MAX_PLANS - ENSO_MAX_SLOTS others */
    size_t n_plans;
    uint64_t n_runs;
    char *arena; /* device memory */
    size_t arena_bytes;
    struct enso_context_need promised; /* of the device; zeros: nothing */
    size_t *places;                    /* [n_values], scratch: of a storage of the outputs */
    void **constants; /* [n_outputs]: copies of outputs that are constants; NULL: not fetched */
    bool debug;
    unsigned n_slots;
    struct slot slots[ENSO_MAX_SLOTS];
};

static bool on_host(const struct enso_context *c)
{
    return c->program->backend->host_memory;
}

/* ---- life ---- */

int enso_context_create(struct enso_program *program, struct enso_context **ret_context,
                        struct enso_error *err)
{
    struct enso_context *c = enso_alloc_zero(1, sizeof *c);
    bool complete;

    if (c == NULL)
        return enso_error_no_memory(err, "a context");
    c->program = enso_program_ref(program);
    c->n_slots = program->backend->n_slots;
    c->places = enso_alloc_array(program->n_values + 1, sizeof *c->places);
    c->constants = enso_alloc_zero(program->n_outputs + 1, sizeof *c->constants);
    c->debug = getenv("ENSO_ARENA_DEBUG") != NULL;
    complete = c->places != NULL && c->constants != NULL;
    for (unsigned i = 0; i < c->n_slots; i++) {
        c->slots[i].tensors = enso_alloc_zero(program->n_values + 1, sizeof(struct enso_tensor));
        complete = complete && c->slots[i].tensors != NULL;
    }
    if (!complete) {
        enso_context_destroy(c);
        return enso_error_no_memory(err, "a context");
    }
    *ret_context = c;
    return ENSO_OK;
}

void enso_context_use_promise(struct enso_context *context,
                              const struct enso_context_need *promised)
{
    context->promised = *promised;
}

static void block_free(struct enso_context *c, struct block *b)
{
    const struct enso_program *p = c->program;

    p->backend->memory_free(p->device, b->device);
    if (!on_host(c))
        p->backend->staging_free(p->device, b->host);
    *b = (struct block){0};
}

static void captures_free(struct enso_context *c, struct planned *planned)
{
    if (planned->captures != NULL)
        c->program->backend->captures_free(c->program->device, planned->captures);
    planned->captures = NULL;
}

struct enso_context *enso_context_destroy(struct enso_context *context)
{
    if (context == NULL)
        return NULL;
    for (size_t i = 0; i < context->n_plans; i++) {
        captures_free(context, &context->plans[i]);
        enso_plan_destroy(context->plans[i].plan);
    }
    context->program->backend->memory_free(context->program->device, context->arena);
    for (unsigned i = 0; i < context->n_slots; i++) {
        block_free(context, &context->slots[i].inputs);
        block_free(context, &context->slots[i].outputs);
        enso_free(context->slots[i].tensors);
    }
    for (size_t i = 0; context->constants != NULL && i < context->program->n_outputs; i++)
        enso_free(context->constants[i]);
    enso_free(context->constants);
    enso_free(context->places);
    enso_program_unref(context->program);
    enso_free(context);
    return NULL;
}

size_t enso_context_bytes(const struct enso_context *context)
{
    size_t bytes = context->arena_bytes;

    for (unsigned i = 0; i < context->n_slots; i++)
        bytes += context->slots[i].inputs.size_bytes + context->slots[i].outputs.size_bytes;
    return bytes;
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
static struct planned *free_place(struct enso_context *c)
{
    struct planned *oldest = &c->plans[0];

    if (c->n_plans < MAX_PLANS)
        return &c->plans[c->n_plans++];
    for (size_t i = 1; i < MAX_PLANS; i++)
        if (c->plans[i].last_run < oldest->last_run)
            oldest = &c->plans[i];
    captures_free(c, oldest);
    enso_plan_destroy(oldest->plan);
    return oldest;
}

/* What the batch's plan is made for. */
static int plan_capacity(const struct enso_program *p, const struct enso_extents *e,
                         struct enso_extents *ret, struct enso_error *err)
{
    int st = capacity_of(p, ENSO_EXTENT_ITEMS, "item", e->n_items, 1, &ret->n_items, err);

    if (st == ENSO_OK)
        st = capacity_of(p, ENSO_EXTENT_TOKENS, "token", e->n_tokens, SMALLEST_TOKENS,
                         &ret->n_tokens, err);
    if (st == ENSO_OK)
        st = capacity_of(p, ENSO_EXTENT_SEQUENCES, "sequence", e->n_sequences, SMALLEST_SEQUENCES,
                         &ret->n_sequences, err);
    return st;
}

static int find_plan(struct enso_context *c, const struct enso_extents *e,
                     struct planned **ret_planned, struct enso_error *err)
{
    struct enso_extents capacity;
    struct enso_plan *plan;
    struct planned *place;
    int st = plan_capacity(c->program, e, &capacity, err);

    if (st != ENSO_OK)
        return st;
    c->n_runs++;
    for (size_t i = 0; i < c->n_plans; i++)
        if (same_capacity(&c->plans[i].plan->capacity, &capacity)) {
            c->plans[i].last_run = c->n_runs;
            *ret_planned = &c->plans[i];
            return ENSO_OK;
        }
    st = enso_plan_create(c->program, &capacity, &plan, err);
    if (st != ENSO_OK)
        return st;
    place = free_place(c);
    *place = (struct planned){plan, c->n_runs, NULL};
    *ret_planned = place;
    return ENSO_OK;
}

static int need_of_plan(struct enso_program *program, const struct enso_extents *capacity,
                        struct enso_context_need *need, struct enso_error *err)
{
    struct enso_plan *plan = NULL;
    int st = enso_plan_create(program, capacity, &plan, err);

    if (st != ENSO_OK)
        return st;
    need->arena_bytes = ENSO_MAX(need->arena_bytes, enso_plan_arena_bytes(plan));
    need->input_bytes = ENSO_MAX(need->input_bytes, plan->input_bytes);
    need->output_bytes = ENSO_MAX(need->output_bytes, plan->output_bytes);
    enso_plan_destroy(plan);
    return ENSO_OK;
}

/* The next smaller plan; false: there is none. */
static bool halve(struct enso_extents *capacity)
{
    bool smaller = capacity->n_items > 1 || capacity->n_tokens > SMALLEST_TOKENS;

    capacity->n_items = ENSO_MAX(capacity->n_items / 2, ENSO_MIN(capacity->n_items, 1));
    capacity->n_tokens =
        ENSO_MAX(capacity->n_tokens / 2, ENSO_MIN(capacity->n_tokens, SMALLEST_TOKENS));
    return smaller;
}

int enso_context_need(struct enso_program *program, const struct enso_extents *extents,
                      struct enso_context_need *ret_need, struct enso_error *err)
{
    struct enso_context_need need = {0};
    struct enso_extents capacity;
    size_t slot_bytes = 0;
    int st = plan_capacity(program, extents, &capacity, err);

    if (st == ENSO_OK) { /* how an arena is laid out, or a step's scratch, may favour the larger */
        do
            st = need_of_plan(program, &capacity, &need, err);
        while (st == ENSO_OK && halve(&capacity));
    }
    if (st != ENSO_OK)
        return st;
    if (!enso_size_add(need.input_bytes, need.output_bytes, &slot_bytes) ||
        !enso_size_mul(slot_bytes, program->backend->n_slots, &need.all_bytes) ||
        !enso_size_add(need.all_bytes, need.arena_bytes, &need.all_bytes))
        return enso_error_set(err, ENSO_TOO_LARGE, "a batch of this size cannot be addressed");
    *ret_need = need;
    return ENSO_OK;
}

/* ---- memory ---- */

/* Memory moves: recorded launches hold its address, and batches on the lane may still use it. */
static int let_go_of_memory(struct enso_context *c, struct enso_lane *lane, bool shared,
                            struct enso_error *err)
{
    bool captured = false, busy = false;
    int st = ENSO_OK;

    for (size_t i = 0; i < c->n_plans; i++)
        captured = captured || c->plans[i].captures != NULL;
    for (unsigned i = 0; i < c->n_slots; i++)
        busy = busy || (c->slots[i].busy && !c->slots[i].through);
    if (busy && (shared || captured) && c->program->backend->drain != NULL)
        st = c->program->backend->drain(lane, err);
    for (size_t i = 0; st == ENSO_OK && captured && i < c->n_plans; i++)
        captures_free(c, &c->plans[i]);
    return st;
}

static int grow_arena(struct enso_context *c, struct enso_lane *lane, size_t bytes,
                      struct enso_error *err)
{
    const struct enso_program *p = c->program;
    void *memory = NULL;
    int st;

    if (bytes <= c->arena_bytes)
        return ENSO_OK;
    st = let_go_of_memory(c, lane, true, err);
    if (st != ENSO_OK)
        return st;
    p->backend->memory_free(p->device, c->arena);
    c->arena = NULL;
    c->arena_bytes = 0;
    st = enso__program_alloc(p, "a batch", bytes, ENSO_MIN(bytes, c->promised.arena_bytes), &memory,
                             err);
    if (st != ENSO_OK)
        return st;
    c->arena = memory;
    c->arena_bytes = bytes;
    return ENSO_OK;
}

/* A slot's block of at least so many bytes; its content is lost when it grows. */
static int grow_block(struct enso_context *c, struct enso_lane *lane, struct block *b, size_t bytes,
                      size_t promised_bytes, const char *what, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    void *device = NULL, *host = NULL;
    int st = let_go_of_memory(c, lane, false, err);

    if (st != ENSO_OK)
        return st;
    block_free(c, b);
    st = enso__program_alloc(p, what, bytes, ENSO_MIN(bytes, promised_bytes), &device, err);
    if (st == ENSO_OK && on_host(c))
        host = device;
    else if (st == ENSO_OK)
        st = p->backend->staging_alloc(p->device, bytes, what, &host, err);
    *b = (struct block){device, host, bytes};
    if (st != ENSO_OK)
        block_free(c, b);
    return st;
}

static int need_inputs(struct enso_context *c, struct enso_lane *lane, struct slot *s,
                       struct enso_error *err)
{
    size_t bytes = s->planned->plan->input_bytes;

    return bytes <= s->inputs.size_bytes
               ? ENSO_OK
               : grow_block(c, lane, &s->inputs, bytes, c->promised.input_bytes, "the inputs", err);
}

/* What lies between the pieces comes down with them: a new block is filled, with NaN, which shows
 * if nobody wrote a piece. On the stream of the steps, so before they write; waited for, since
 * whatever fails next may free the block. */
static int need_outputs(struct enso_context *c, struct enso_lane *lane, struct slot *s,
                        struct enso_error *err)
{
    const struct enso_backend *backend = c->program->backend;
    size_t bytes = s->planned->plan->output_bytes;
    int st;

    if (bytes <= s->outputs.size_bytes)
        return ENSO_OK;
    st = grow_block(c, lane, &s->outputs, bytes, c->promised.output_bytes, "the outputs", err);
    if (st != ENSO_OK || on_host(c))
        return st;
    memset(s->outputs.host, 0xFF, bytes);
    st = backend->upload(lane, s->outputs.device, s->outputs.host, bytes, err);
    if (st == ENSO_OK && backend->drain != NULL)
        st = backend->drain(lane, err);
    if (st != ENSO_OK)
        block_free(c, &s->outputs);
    return st;
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

/* Dims of this batch; data of constants and of what lies in the arena. */
static void set_tensors(const struct enso_context *c, struct slot *s)
{
    const struct enso_program *p = c->program;
    const struct enso_plan *plan = s->planned->plan;

    for (size_t i = 0; i < p->n_values; i++) {
        const struct enso__program_value *v = &p->values[i];
        struct enso_tensor *t = &s->tensors[i];

        (void)enso__value_tensor(v, &s->extents, t); /* fits, since its capacity does */
        if (plan->storage_of[i] >= 0)
            t->data = c->arena + plan->storages[plan->storage_of[i]].offset;
        else if (v->origin == ENSO__CONSTANT)
            t->data = (char *)p->constants + v->offset;
    }
}

/* An input of pictures as bytes. */
static void take_as_pixels(const struct enso__program_value *v, const struct enso_extents *e,
                           struct enso_tensor *ret)
{
    struct enso_tensor floats;

    (void)enso__value_tensor(v, e, &floats);
    *ret = floats;
    ret->dtype = ENSO_DTYPE_U8;
    if (v->planes) {
        ret->dims[1] = floats.dims[2];
        ret->dims[2] = floats.dims[3];
        ret->dims[3] = floats.dims[1];
    }
}

/* Inputs get the places of their record, one behind the other; the place of one that came as bytes
 * is that of its floats. Returns the record's size. */
static size_t place_inputs(const struct enso_context *c, struct slot *s)
{
    const struct enso_program *p = c->program;
    size_t at = 0, end = 0;

    for (size_t i = 0; i < p->n_inputs; i++) {
        struct enso_tensor *t = &s->tensors[p->input_values[i]], own;

        (void)enso__value_tensor(&p->values[p->input_values[i]], &s->extents, &own);
        t->data = s->inputs.device + at;
        end = at + enso__aligned(enso_tensor_bytes(t));
        at += enso__aligned(enso_tensor_bytes(&own));
    }
    return end;
}

/* Views of inputs stand where those do. */
static void place_views(const struct enso_context *c, struct slot *s)
{
    const struct enso_program *p = c->program;

    for (size_t i = 0; i < p->n_values; i++)
        if (p->values[i].origin == ENSO__INPUT)
            s->tensors[i].data = s->tensors[p->values[i].root].data;
}

static int output_storage(const struct enso_context *c, const struct slot *s, size_t i)
{
    return s->planned->plan->storage_of[c->program->output_values[i]];
}

/* Storages of outputs get their places behind the report, wanted ones first. Returns how many bytes
 * have to come down for those: of a batch that was rounded up, rows of padding at the end of the
 * last one stay where they are. */
static size_t place_outputs(struct enso_context *c, struct slot *s, const bool *wanted)
{
    const struct enso_program *p = c->program;
    size_t at = s->planned->plan->report_bytes, needed = at;

    for (size_t i = 0; i < p->n_outputs; i++)
        if (output_storage(c, s, i) >= 0)
            c->places[output_storage(c, s, i)] = SIZE_MAX;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < p->n_outputs; i++) {
            int storage = output_storage(c, s, i);
            const struct enso__program_value *v = &p->values[p->output_values[i]];
            struct enso_tensor asked;

            if (storage < 0 || wanted[i] != (pass == 0) || c->places[storage] != SIZE_MAX)
                continue;
            c->places[storage] = at;
            (void)enso__value_tensor(v, &s->asked, &asked);
            if (pass == 0)
                needed = at + enso_tensor_bytes(&asked);
            at += enso__aligned(enso_tensor_bytes(&s->tensors[p->output_values[i]]));
        }
    for (size_t i = 0; i < p->n_values; i++) {
        int storage = s->planned->plan->storage_of[i];

        if (storage >= 0 && s->planned->plan->storages[storage].output)
            s->tensors[i].data = s->outputs.device + c->places[storage];
    }
    return needed;
}

/* A constant that is an output, in ordinary memory: fetched once. */
static int fetch_constants(struct enso_context *c, struct enso_lane *lane, struct slot *s,
                           const bool *wanted, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < p->n_outputs; i++) {
        const struct enso_tensor *t = &s->tensors[p->output_values[i]];

        if (!wanted[i] || p->values[p->output_values[i]].origin != ENSO__CONSTANT || on_host(c) ||
            c->constants[i] != NULL)
            continue;
        c->constants[i] =
            enso_alloc_aligned(ENSO__ALIGNMENT, ENSO_MAX(enso_tensor_bytes(t), (size_t)1));
        if (c->constants[i] == NULL)
            return enso_error_no_memory(err, "a constant");
        st = p->backend->download(lane, c->constants[i], t->data, enso_tensor_bytes(t), err);
        if (st != ENSO_OK) {
            enso_free(c->constants[i]);
            c->constants[i] = NULL;
        }
    }
    return st;
}

/* Where the host finds output i. */
static void *host_output(const struct enso_context *c, const struct slot *s, size_t i)
{
    const struct enso_program *p = c->program;
    int value = p->output_values[i];
    char *data = s->tensors[value].data;

    if (on_host(c))
        return data;
    switch (p->values[value].origin) {
    case ENSO__INPUT:
        return s->inputs.host + (data - s->inputs.device);
    case ENSO__CONSTANT:
    case ENSO__PACKED:
        return c->constants[i];
    case ENSO__COMPUTED:
        break;
    }
    return s->outputs.host + (data - s->outputs.device);
}

/* ---- debugging: memory of its own for everything ---- */

/* Where the host has input i, and where it wants output i: nowhere unless a step computes it. */
static void host_places(const struct enso_context *c, const struct slot *s, const void **inputs,
                        void **outputs)
{
    const struct enso_program *p = c->program;

    for (size_t i = 0; i < p->n_inputs; i++) {
        const char *data = s->tensors[p->input_values[i]].data;

        inputs[i] = on_host(c) ? data : s->inputs.host + (data - s->inputs.device);
    }
    for (size_t i = 0; i < p->n_outputs; i++)
        outputs[i] = output_storage(c, s, i) < 0 ? NULL : host_output(c, s, i);
}

static int run_guarded(const struct enso_context *c, struct enso_lane *lane, const struct slot *s,
                       const struct enso_run *run, struct enso_error *err)
{
    const struct enso_program *p = c->program;
    const void **inputs = enso_alloc_array(p->n_inputs + 1, sizeof *inputs);
    void **outputs = enso_alloc_array(p->n_outputs + 1, sizeof *outputs);
    int st;

    if (inputs == NULL || outputs == NULL) {
        st = enso_error_no_memory(err, "guarded memory");
    } else {
        host_places(c, s, inputs, outputs);
        st = enso__guarded_run(s->planned->plan, lane, run, inputs, outputs, err);
    }
    enso_free(inputs);
    enso_free(outputs);
    return st;
}

/* ---- running ---- */

static int prepare(struct enso_context *c, struct enso_lane *lane, struct slot *s,
                   const struct enso_extents *extents, bool round_up, struct enso_error *err)
{
    const struct enso_backend *backend = c->program->backend;
    const struct enso_plan *plan;
    int st = find_plan(c, extents, &s->planned, err);

    if (st != ENSO_OK)
        return st;
    plan = s->planned->plan;
    st = grow_arena(c, lane, enso_plan_arena_bytes(plan), err);
    if (st == ENSO_OK)
        st = need_outputs(c, lane, s, err);
    if (st != ENSO_OK)
        return st;
    s->asked = s->extents = *extents;
    if (round_up && backend->round_up != NULL)
        backend->round_up(s->planned->captures, &plan->capacity, &s->extents);
    set_tensors(c, s);
    return ENSO_OK;
}

int enso_context_prepare(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                         const struct enso_extents *extents, struct enso_error *err)
{
    return prepare(context, lane, &context->slots[slot], extents, false, err);
}

int enso_context_stage(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                       struct enso_extents *extents, struct enso_tensor *ret_inputs,
                       struct enso_error *err)
{
    const struct enso_program *p = context->program;
    struct slot *s = &context->slots[slot];
    int st = prepare(context, lane, s, extents, true, err);

    if (st == ENSO_OK)
        st = need_inputs(context, lane, s, err);
    if (st != ENSO_OK)
        return st;
    (void)place_inputs(context, s);
    for (size_t i = 0; i < p->n_inputs; i++) {
        const struct enso_tensor *t = &s->tensors[p->input_values[i]];

        ret_inputs[i] = *t;
        ret_inputs[i].data = s->inputs.host + ((char *)t->data - s->inputs.device);
    }
    *extents = s->extents;
    return ENSO_OK;
}

/* Inputs to where the backend takes them from: ordinary memory stays where it is. Returns the size
 * of the record that goes up. */
static int take_inputs(struct enso_context *c, struct enso_lane *lane, struct slot *s,
                       const struct enso_tensor *inputs, size_t *ret_record_bytes,
                       struct enso_error *err)
{
    const struct enso_program *p = c->program;
    int st = ENSO_OK;

    *ret_record_bytes = 0;
    for (size_t i = 0; st == ENSO_OK && i < p->n_inputs; i++) {
        struct enso_tensor *t = &s->tensors[p->input_values[i]];

        if (p->inputs[i].pixels && inputs[i].dtype == ENSO_DTYPE_U8)
            take_as_pixels(&p->values[p->input_values[i]], &s->extents, t);
        st = check_input(p, i, &inputs[i], t, err);
    }
    if (st == ENSO_OK && !on_host(c))
        st = need_inputs(c, lane, s, err);
    if (st != ENSO_OK)
        return st;
    if (!on_host(c))
        *ret_record_bytes = place_inputs(c, s);
    for (size_t i = 0; i < p->n_inputs; i++) {
        struct enso_tensor *t = &s->tensors[p->input_values[i]];
        char *host =
            on_host(c) ? inputs[i].data : s->inputs.host + ((char *)t->data - s->inputs.device);

        if (on_host(c))
            t->data = host; /* read only: its storage is not in the arena */
        else if (inputs[i].data != host && enso_tensor_bytes(t) > 0)
            memcpy(host, inputs[i].data, enso_tensor_bytes(t));
    }
    return ENSO_OK;
}

/* One bit an output and an input of pictures: batches that want others have other places, and bytes
 * have other kernels than floats. */
#define SHAPE_BITS 64
static uint64_t shape_of(const struct enso_program *p, const struct slot *s, const bool *wanted)
{
    uint64_t shape = 0;

    for (size_t i = 0; i < p->n_outputs; i++)
        shape = shape << 1 | wanted[i];
    for (size_t i = 0; i < p->n_inputs; i++)
        if (p->inputs[i].pixels)
            shape = shape << 1 | (s->tensors[p->input_values[i]].dtype == ENSO_DTYPE_U8);
    return shape;
}

static bool shape_fits(const struct enso_program *p)
{
    size_t bits = p->n_outputs;

    for (size_t i = 0; i < p->n_inputs; i++)
        bits += p->inputs[i].pixels;
    return bits <= SHAPE_BITS;
}

int enso_context_begin(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                       const struct enso_tensor *inputs, const bool *wanted,
                       const struct enso_pace *pace, struct enso_error *err)
{
    const struct enso_program *p = context->program;
    struct slot *s = &context->slots[slot];
    struct enso_run run = {.steps = p->steps, .n_steps = p->n_steps, .tensors = s->tensors};
    size_t record_bytes, fetch_bytes;
    int st = take_inputs(context, lane, s, inputs, &record_bytes, err);

    if (st == ENSO_OK)
        st = fetch_constants(context, lane, s, wanted, err);
    if (st != ENSO_OK)
        return st;
    place_views(context, s);
    fetch_bytes = place_outputs(context, s, wanted);
    run.extents = &s->extents;
    run.workspace = context->arena == NULL ? NULL : context->arena + s->planned->plan->arena_bytes;
    s->through = context->debug;
    if (context->debug) {
        st = run_guarded(context, lane, s, &run, err);
    } else {
        if (!on_host(context)) {
            run.up = (struct enso_copy){s->inputs.host, s->inputs.device, record_bytes};
            run.down = (struct enso_copy){s->outputs.host, s->outputs.device, fetch_bytes};
            run.captures = shape_fits(p) ? &s->planned->captures : NULL;
            run.shape = shape_of(p, s, wanted);
            run.n_padding_tokens = s->extents.n_tokens - s->asked.n_tokens;
        }
        if (pace != NULL)
            run.pace = *pace;
        st = p->backend->begin(lane, slot, &run, err);
    }
    s->busy = st == ENSO_OK;
    return st;
}

int enso_context_finish(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                        struct enso_tensor *ret_outputs, struct enso_spent *ret_spent,
                        struct enso_error *err)
{
    const struct enso_program *p = context->program;
    struct slot *s = &context->slots[slot];
    struct enso_spent spent = {.n_padding_tokens =
                                   (uint64_t)(s->extents.n_tokens - s->asked.n_tokens)};
    int st = ENSO_OK;

    s->busy = false;
    if (!s->through)
        st = p->backend->finish(lane, slot, &spent.compute_ns, err);
    if (ret_spent != NULL)
        *ret_spent = spent;
    for (size_t i = 0; st == ENSO_OK && i < p->n_outputs; i++) {
        (void)enso__value_tensor(&p->values[p->output_values[i]], &s->asked, &ret_outputs[i]);
        ret_outputs[i].data = host_output(context, s, i);
    }
    return st;
}

/* Outputs into the caller's memory. */
static int run_in_slot(struct enso_context *c, struct enso_lane *lane,
                       const struct enso_tensor *inputs, void *const *outputs, bool *wanted,
                       struct enso_tensor *tensors, struct enso_error *err)
{
    size_t n = c->program->n_outputs;
    int st;

    for (size_t i = 0; i < n; i++)
        wanted[i] = outputs[i] != NULL;
    st = enso_context_begin(c, lane, 0, inputs, wanted, NULL, err);
    if (st == ENSO_OK)
        st = enso_context_finish(c, lane, 0, tensors, NULL, err);
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        if (wanted[i] && enso_tensor_bytes(&tensors[i]) > 0)
            memcpy(outputs[i], tensors[i].data, enso_tensor_bytes(&tensors[i]));
    return st;
}

int enso_context_run(struct enso_context *context, struct enso_lane *lane,
                     const struct enso_extents *extents, const struct enso_tensor *inputs,
                     void *const *outputs, struct enso_error *err)
{
    bool wanted[ENSO_CONTEXT_RUN_OUTPUTS] = {false};
    struct enso_tensor tensors[ENSO_CONTEXT_RUN_OUTPUTS];
    int st;

    if (context->program->n_outputs > ENSO_CONTEXT_RUN_OUTPUTS)
        return enso_error_set(err, ENSO_UNSUPPORTED, "'%s' has more than %d outputs",
                              context->program->name, ENSO_CONTEXT_RUN_OUTPUTS);
    st = enso_context_prepare(context, lane, 0, extents, err);
    return st == ENSO_OK ? run_in_slot(context, lane, inputs, outputs, wanted, tensors, err) : st;
}
