/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding a graph to a device: see program.h. Views become shared memory instead of steps; what no
 * output needs is left out; constants are let go as soon as their last reader is bound.
 */
#include "engine/program/program.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "engine/passes/passes.h"
#include "engine/program/program_internal.h"

/* Slice in which constants travel to a device that is not ordinary memory. */
#define UPLOAD_BYTES (1 << 20)

struct enso_program *enso_program_ref(struct enso_program *program)
{
    atomic_fetch_add_explicit(&program->n_refs, 1, memory_order_relaxed);
    return program;
}

static void program_free(struct enso_program *p)
{
    for (size_t i = 0; i < p->n_bounds; i++)
        p->backend->unbind(p->device, p->bounds[i]);
    if (p->constants != NULL)
        p->backend->memory_free(p->device, p->constants);
    enso_arena_done(&p->arena);
    enso_free(p);
}

struct enso_program *enso_program_unref(struct enso_program *program)
{
    /* acq_rel: the last owner sees all that the others did before they let go */
    if (program != NULL &&
        atomic_fetch_sub_explicit(&program->n_refs, 1, memory_order_acq_rel) == 1)
        program_free(program);
    return NULL;
}

/* ---- making ---- */

/* What is needed while a program is made. */
struct maker {
    struct enso_program *p;
    struct enso_graph *g;
    struct enso_error *err;
    int *order; /* nodes that some output needs */
    size_t n_order;
    int *number;         /* per graph value: program value, or -1 */
    size_t *readers;     /* per graph value: inputs of nodes that are not yet bound */
    bool *on_device;     /* per graph value: a constant whose data the device must have */
    int *stack;          /* scratch of mark_needed */
    unsigned char *live; /* per node */
};

static int no_memory(struct maker *m)
{
    return enso_error_no_memory(m->err, "a program");
}

/* Mark the nodes that outputs depend on. */
static void mark_needed(struct maker *m)
{
    size_t depth = 0;

    for (size_t i = 0; i < enso_graph_n_outputs(m->g); i++) {
        int producer = enso_graph_value(m->g, enso_graph_output(m->g, i))->producer;

        if (producer >= 0 && !m->live[producer]) {
            m->live[producer] = 1;
            m->stack[depth++] = producer;
        }
    }
    while (depth > 0) {
        const struct enso_node *n = enso_graph_node(m->g, m->stack[--depth]);

        for (size_t i = 0; i < n->n_inputs; i++) {
            int producer = n->inputs[i] < 0 ? -1 : enso_graph_value(m->g, n->inputs[i])->producer;

            if (producer >= 0 && !m->live[producer]) {
                m->live[producer] = 1;
                m->stack[depth++] = producer;
            }
        }
    }
}

/* Order of the needed nodes, and scratch. */
static int maker_begin(struct maker *m)
{
    size_t n_values = enso_graph_n_values(m->g), n_nodes = enso_graph_n_nodes(m->g), n = 0;
    int st = enso_graph_sort(m->g, &m->order, &m->n_order, m->err);

    if (st != ENSO_OK)
        return st;
    m->number = enso_alloc_array(n_values + 1, sizeof *m->number);
    m->readers = enso_alloc_zero(n_values + 1, sizeof *m->readers);
    m->on_device = enso_alloc_zero(n_values + 1, sizeof *m->on_device);
    m->stack = enso_alloc_array(n_nodes + 1, sizeof *m->stack);
    m->live = enso_alloc_zero(n_nodes + 1, sizeof *m->live);
    if (m->number == NULL || m->readers == NULL || m->on_device == NULL || m->stack == NULL ||
        m->live == NULL)
        return no_memory(m);
    for (size_t i = 0; i < n_values; i++)
        m->number[i] = -1;
    mark_needed(m);
    for (size_t i = 0; i < m->n_order; i++)
        if (m->live[m->order[i]])
            m->order[n++] = m->order[i];
    m->n_order = n;
    for (size_t i = 0; i < n; i++) {
        const struct enso_node *node = enso_graph_node(m->g, m->order[i]);

        for (size_t k = 0; k < node->n_inputs; k++)
            if (node->inputs[k] >= 0)
                m->readers[node->inputs[k]]++;
    }
    return ENSO_OK;
}

static void maker_done(struct maker *m)
{
    enso_free(m->order);
    enso_free(m->number);
    enso_free(m->readers);
    enso_free(m->on_device);
    enso_free(m->stack);
    enso_free(m->live);
    enso_graph_destroy(m->g);
}

static const char *keep_name(struct maker *m, const char *name)
{
    return enso_arena_strndup(&m->p->arena, name, strlen(name));
}

/* Number a graph value as the program's next. */
static int add_value(struct maker *m, int value, enum enso__origin origin, int root)
{
    const struct enso_value *from = enso_graph_value(m->g, value);
    struct enso__program_value *v = &m->p->values[m->p->n_values];

    if (m->number[value] >= 0)
        return ENSO_OK;
    *v = (struct enso__program_value){.origin = origin, .dtype = from->dtype, .shape = from->shape};
    v->name = keep_name(m, from->name);
    if (v->name == NULL)
        return no_memory(m);
    v->root = root >= 0 ? root : (int)m->p->n_values;
    if (root >= 0)
        v->origin = m->p->values[root].origin;
    for (size_t i = 0; i < v->shape.rank; i++)
        m->p->uses[v->shape.dims[i].extent] = true;
    m->number[value] = (int)m->p->n_values++;
    return ENSO_OK;
}

/* All values get numbers: inputs, constants that are read, outputs of nodes. */
static int number_values(struct maker *m)
{
    size_t n = enso_graph_n_values(m->g);
    int st = ENSO_OK;

    m->p->values = enso_arena_alloc_zero(&m->p->arena, n, sizeof *m->p->values);
    if (m->p->values == NULL)
        return no_memory(m);
    for (size_t i = 0; st == ENSO_OK && i < enso_graph_n_inputs(m->g); i++)
        st = add_value(m, enso_graph_input(m->g, i), ENSO__INPUT, -1);
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        if (enso_graph_value(m->g, (int)i)->constant == NULL)
            continue;
        if (m->readers[i] > 0 || enso_graph_is_output(m->g, (int)i))
            st = add_value(m, (int)i, ENSO__PACKED, -1);
        else
            enso_graph_release_constant(m->g, (int)i);
    }
    for (size_t i = 0; st == ENSO_OK && i < m->n_order; i++) {
        const struct enso_node *node = enso_graph_node(m->g, m->order[i]);
        int root = enso_op_is_view(node->op) ? m->p->values[m->number[node->inputs[0]]].root : -1;

        for (size_t k = 0; st == ENSO_OK && k < node->n_outputs; k++)
            st = add_value(m, node->outputs[k], ENSO__COMPUTED, root);
    }
    return st;
}

static int *number_list(struct maker *m, const int *values, size_t n)
{
    int *list = enso_arena_alloc_zero(&m->p->arena, n, sizeof *list);

    for (size_t i = 0; list != NULL && i < n; i++)
        list[i] = values[i] < 0 ? ENSO_NO_VALUE : m->number[values[i]];
    return list;
}

/* A reader of each constant input is bound: note who needs data, free what nobody needs. */
static void let_go_of_constants(struct maker *m, const struct enso_node *node,
                                const struct enso_bound *bound)
{
    for (size_t i = 0; i < node->n_inputs; i++) {
        int v = node->inputs[i];

        if (v < 0 || enso_graph_value(m->g, v)->constant == NULL)
            continue;
        if (!m->p->backend->packs(bound, i))
            m->on_device[v] = true;
        if (--m->readers[v] == 0 && !m->on_device[v] && !enso_graph_is_output(m->g, v))
            enso_graph_release_constant(m->g, v);
    }
}

static int bind_node(struct maker *m, int number)
{
    const struct enso_node *node = enso_graph_node(m->g, number);
    struct enso_program *p = m->p;
    struct enso_step *step = &p->steps[p->n_steps];
    struct enso_bound *bound = NULL;
    int st = p->backend->bind(p->device, m->g, number, &bound, m->err);

    if (st != ENSO_OK)
        return st;
    p->bounds[p->n_bounds++] = bound;
    p->weight_bytes += p->backend->bound_bytes(bound);
    step->bound = bound;
    step->n_inputs = node->n_inputs;
    step->n_outputs = node->n_outputs;
    step->inputs = number_list(m, node->inputs, node->n_inputs);
    step->outputs = number_list(m, node->outputs, node->n_outputs);
    p->ops[p->n_steps] = node->op;
    p->step_names[p->n_steps] = keep_name(m, node->name);
    if (step->inputs == NULL || step->outputs == NULL || p->step_names[p->n_steps] == NULL)
        return no_memory(m);
    p->n_steps++;
    let_go_of_constants(m, node, bound);
    return ENSO_OK;
}

static int bind_nodes(struct maker *m)
{
    struct enso_program *p = m->p;
    int st = ENSO_OK;

    p->steps = enso_arena_alloc_zero(&p->arena, m->n_order, sizeof *p->steps);
    p->ops = enso_arena_alloc_zero(&p->arena, m->n_order, sizeof *p->ops);
    p->step_names = enso_arena_alloc_zero(&p->arena, m->n_order, sizeof *p->step_names);
    p->bounds = enso_arena_alloc_zero(&p->arena, m->n_order, sizeof *p->bounds);
    if (p->steps == NULL || p->ops == NULL || p->step_names == NULL || p->bounds == NULL)
        return no_memory(m);
    for (size_t i = 0; st == ENSO_OK && i < m->n_order; i++)
        if (!enso_op_is_view(enso_graph_node(m->g, m->order[i])->op))
            st = bind_node(m, m->order[i]);
    return st;
}

/* ---- constants on the device ---- */

static int upload_constant(struct maker *m, struct enso_lane *lane, const struct enso_constant *c,
                           char *dst)
{
    const struct enso_backend *backend = m->p->backend;
    int64_t n = enso_constant_count(c), slice;
    char *staging;
    int st = ENSO_OK;

    if (backend->host_memory)
        return enso_constant_read(c, 0, n, dst, m->err);
    slice = UPLOAD_BYTES / (int64_t)enso_dtype_row_bytes(c->dtype, 1);
    staging = enso_alloc(UPLOAD_BYTES);
    if (staging == NULL)
        return no_memory(m);
    for (int64_t i = 0; st == ENSO_OK && i < n; i += slice) {
        size_t size = enso_dtype_row_bytes(c->dtype, (size_t)ENSO_MIN(slice, n - i));

        st = enso_constant_read(c, i, ENSO_MIN(slice, n - i), staging, m->err);
        if (st == ENSO_OK)
            st = backend->upload(lane, dst, staging, size, m->err);
        dst += size;
    }
    enso_free(staging);
    return st;
}

/* Give every constant that must be on the device its place; *ret_total is what they take. */
static int place_constants(struct maker *m, size_t *ret_total)
{
    size_t total = 0;

    for (size_t i = 0; i < enso_graph_n_values(m->g); i++) {
        const struct enso_value *v = enso_graph_value(m->g, (int)i);
        size_t size;

        if (v->constant == NULL || m->number[i] < 0 ||
            (!m->on_device[i] && !enso_graph_is_output(m->g, (int)i)))
            continue;
        m->on_device[i] = true;
        m->p->values[m->number[i]].origin = ENSO__CONSTANT;
        m->p->values[m->number[i]].offset = total;
        size = enso_dtype_row_bytes(v->dtype, (size_t)enso_constant_count(v->constant));
        if (!enso_size_add(size, ENSO__ALIGNMENT - 1, &size) ||
            !enso_size_add(total, size & ~(size_t)(ENSO__ALIGNMENT - 1), &total))
            return enso_error_set(m->err, ENSO_TOO_LARGE, "the constants cannot be addressed");
    }
    *ret_total = total;
    return ENSO_OK;
}

int enso__program_alloc(const struct enso_program *p, const char *what, size_t size_bytes,
                        size_t promised_bytes, void **ret_memory, struct enso_error *err)
{
    char name[160];

    (void)snprintf(name, sizeof name, "%s of '%.100s'", what, p->name);
    if (promised_bytes != 0)
        return p->backend->promised_alloc(p->device, size_bytes, promised_bytes, name, ret_memory,
                                          err);
    return p->backend->memory_alloc(p->device, size_bytes, name, ret_memory, err);
}

static int load_constants(struct maker *m)
{
    struct enso_program *p = m->p;
    struct enso_lane *lane = NULL;
    size_t total = 0;
    int st = place_constants(m, &total);

    if (st != ENSO_OK || total == 0)
        return st;
    st = enso__program_alloc(p, "the constants", total, 0, &p->constants, m->err);
    if (st != ENSO_OK)
        return st;
    p->weight_bytes += total;
    if (!p->backend->host_memory)
        st = p->backend->lane_open(p->device, &lane, m->err);
    for (size_t i = 0; st == ENSO_OK && i < enso_graph_n_values(m->g); i++) {
        if (!m->on_device[i])
            continue;
        st = upload_constant(m, lane, enso_graph_value(m->g, (int)i)->constant,
                             (char *)p->constants + p->values[m->number[i]].offset);
        enso_graph_release_constant(m->g, (int)i);
    }
    if (lane != NULL)
        p->backend->lane_close(lane);
    return st;
}

/* Some node computes in a half type: then weights of the graph may be stored in it. */
static bool has_halves(const struct maker *m)
{
    for (size_t i = 0; i < m->n_order; i++) {
        const struct enso_node *node = enso_graph_node(m->g, m->order[i]);

        for (size_t k = 0; k < node->n_outputs; k++)
            if (node->outputs[k] >= 0 &&
                enso_dtype_is_half(enso_graph_value(m->g, node->outputs[k])->dtype))
                return true;
    }
    return false;
}

/* Device memory that the weights take at least: constants that some node reads, none of them wider
 * than what kernels compute with. */
static size_t least_weight_bytes(const struct maker *m)
{
    bool halves = has_halves(m);
    size_t total = 0;

    for (size_t i = 0; i < enso_graph_n_values(m->g); i++) {
        const struct enso_value *v = enso_graph_value(m->g, (int)i);
        enum enso_dtype dtype;

        if (v->constant == NULL || m->readers[i] == 0)
            continue;
        dtype = v->dtype == ENSO_DTYPE_F64 ? ENSO_DTYPE_F32 : v->dtype;
        if (halves && dtype == ENSO_DTYPE_F32)
            dtype = ENSO_DTYPE_F16;
        if (!enso_size_add(total,
                           enso_dtype_row_bytes(dtype, (size_t)enso_constant_count(v->constant)),
                           &total))
            return SIZE_MAX;
    }
    return total;
}

static int load_weights(struct maker *m)
{
    const struct enso_backend *backend = m->p->backend;
    int st = ENSO_OK;

    if (backend->program_begin != NULL)
        st = backend->program_begin(m->p->device, least_weight_bytes(m), m->err);
    if (st != ENSO_OK)
        return st;
    st = bind_nodes(m);
    if (st == ENSO_OK)
        st = load_constants(m);
    if (backend->program_end != NULL)
        backend->program_end(m->p->device);
    return st;
}

/* ---- facts ---- */

/* An input whose one reader takes it as floats or as bytes. */
static void note_pixels(struct maker *m, int value)
{
    struct enso__program_value *v = &m->p->values[m->number[value]];
    int reader = enso_graph_sole_user(m->g, value);
    const struct enso_node *node = reader < 0 ? NULL : enso_graph_node(m->g, reader);

    v->pixels = node != NULL && node->op == ENSO_OP_PIXELS && node->inputs[0] == value &&
                v->dtype == ENSO_DTYPE_F32;
    v->planes = v->pixels && enso_node_int(node, "nhwc", 0) == 0;
}

static int note_borders(struct maker *m)
{
    struct enso_program *p = m->p;
    size_t n_in = enso_graph_n_inputs(m->g), n_out = enso_graph_n_outputs(m->g);

    p->inputs = enso_arena_alloc_zero(&p->arena, n_in, sizeof *p->inputs);
    p->outputs = enso_arena_alloc_zero(&p->arena, n_out, sizeof *p->outputs);
    p->input_values = enso_arena_alloc_zero(&p->arena, n_in, sizeof *p->input_values);
    p->output_values = enso_arena_alloc_zero(&p->arena, n_out, sizeof *p->output_values);
    if (p->inputs == NULL || p->outputs == NULL || p->input_values == NULL ||
        p->output_values == NULL)
        return no_memory(m);
    p->n_inputs = n_in;
    p->n_outputs = n_out;
    for (size_t i = 0; i < n_in; i++) {
        const struct enso__program_value *v = &p->values[m->number[enso_graph_input(m->g, i)]];

        note_pixels(m, enso_graph_input(m->g, i));
        p->input_values[i] = m->number[enso_graph_input(m->g, i)];
        p->inputs[i] = (struct enso_program_io){v->name, v->dtype, v->shape, v->pixels};
    }
    for (size_t i = 0; i < n_out; i++) {
        const struct enso__program_value *v = &p->values[m->number[enso_graph_output(m->g, i)]];

        p->output_values[i] = m->number[enso_graph_output(m->g, i)];
        p->outputs[i] = (struct enso_program_io){keep_name(m, enso_graph_output_name(m->g, i)),
                                                 v->dtype, v->shape, false};
        if (p->outputs[i].name == NULL)
            return no_memory(m);
    }
    return ENSO_OK;
}

static bool begins_with_items(const struct enso_program_io *io, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (io[i].shape.rank == 0 || io[i].shape.dims[0].extent != ENSO_EXTENT_ITEMS ||
            io[i].shape.dims[0].factor != 1)
            return false;
    return n > 0;
}

static void note_facts(struct enso_program *p, bool wanted)
{
    struct enso_device_info info = {0};

    p->uses[ENSO_EXTENT_TOKENS] |= p->uses[ENSO_EXTENT_WORK];
    p->uses[ENSO_EXTENT_SEQUENCES] |= p->uses[ENSO_EXTENT_STARTS] || p->uses[ENSO_EXTENT_WORK];
    p->batched =
        begins_with_items(p->inputs, p->n_inputs) && begins_with_items(p->outputs, p->n_outputs);
    p->backend->device_info(p->device, &info);
    p->batch_invariant = info.batch_invariant || wanted;
}

static int make(struct maker *m)
{
    bool changed;
    int st;

    m->p->name = keep_name(m, enso_graph_name(m->g)); /* first: messages tell it */
    if (m->p->name == NULL)
        return no_memory(m);
    st = enso_graph_infer(m->g, m->err);
    if (st == ENSO_OK)
        st = enso_pass_detach_shapes(m->g, &changed, m->err);
    if (st == ENSO_OK)
        st = enso_pass_fold_views(m->g, &changed, m->err);
    if (st == ENSO_OK)
        st = maker_begin(m);
    if (st == ENSO_OK)
        st = number_values(m);
    if (st == ENSO_OK)
        st = load_weights(m);
    if (st == ENSO_OK)
        st = note_borders(m);
    if (st != ENSO_OK)
        return st;
    note_facts(m->p, enso_graph_wants_batch_invariant(m->g));
    /* a view of a constant got its origin before constants had theirs */
    for (size_t i = 0; i < m->p->n_values; i++) {
        struct enso__program_value *v = &m->p->values[i];

        v->origin = m->p->values[v->root].origin;
        v->offset = m->p->values[v->root].offset;
    }
    return ENSO_OK;
}

int enso_program_create(const struct enso_backend *backend, struct enso_device *device,
                        struct enso_graph *graph, struct enso_program **ret_program,
                        struct enso_error *err)
{
    struct maker m = {.g = graph, .err = err};
    int st = ENSO_NO_MEMORY;

    m.p = enso_alloc_zero(1, sizeof *m.p);
    if (m.p == NULL) {
        enso_error_no_memory(err, "a program");
    } else {
        m.p->backend = backend;
        m.p->device = device;
        atomic_init(&m.p->n_refs, 1);
        st = make(&m);
    }
    maker_done(&m);
    if (st != ENSO_OK) {
        enso_program_unref(m.p);
        return st;
    }
    *ret_program = m.p;
    return ENSO_OK;
}

/* ---- reading ---- */

const char *enso_program_name(const struct enso_program *program)
{
    return program->name;
}

const struct enso_program_io *enso_program_inputs(const struct enso_program *program, size_t *ret_n)
{
    *ret_n = program->n_inputs;
    return program->inputs;
}

const struct enso_program_io *enso_program_outputs(const struct enso_program *program,
                                                   size_t *ret_n)
{
    *ret_n = program->n_outputs;
    return program->outputs;
}

uint64_t enso_program_weight_bytes(const struct enso_program *program)
{
    return program->weight_bytes;
}

size_t enso_program_n_steps(const struct enso_program *program)
{
    return program->n_steps;
}

bool enso_program_is_batched(const struct enso_program *program)
{
    return program->batched;
}

bool enso_program_uses(const struct enso_program *program, enum enso_extent extent)
{
    return program->uses[extent];
}

bool enso_program_is_batch_invariant(const struct enso_program *program)
{
    return program->batch_invariant;
}

bool enso__value_tensor(const struct enso__program_value *v, const struct enso_extents *e,
                        struct enso_tensor *ret_tensor)
{
    int64_t n;

    *ret_tensor = (struct enso_tensor){.dtype = v->dtype, .rank = v->shape.rank};
    for (size_t i = 0; i < v->shape.rank; i++)
        ret_tensor->dims[i] = enso_dim_at(v->shape.dims[i], e);
    return enso_dims_count(ret_tensor->dims, ret_tensor->rank, &n) &&
           enso_dtype_row_bytes(v->dtype, (size_t)n) <= (size_t)PTRDIFF_MAX;
}

int enso_program_output_tensor(const struct enso_program *program, size_t i,
                               const struct enso_extents *extents, struct enso_tensor *ret_tensor,
                               struct enso_error *err)
{
    if (!enso__value_tensor(&program->values[program->output_values[i]], extents, ret_tensor))
        return enso_error_set(err, ENSO_TOO_LARGE, "output '%s' of this batch cannot be addressed",
                              program->outputs[i].name);
    return ENSO_OK;
}

static void print_value(const struct enso_program *p, int value, struct enso_buffer *b)
{
    if (value < 0) {
        enso_buffer_putc(b, '-');
        return;
    }
    enso_buffer_printf(b, "%s %s", p->values[value].name, enso_dtype_name(p->values[value].dtype));
    enso_shape_print(&p->values[value].shape, b);
}

void enso_program_dump(const struct enso_program *program, struct enso_buffer *b)
{
    enso_buffer_printf(b, "program %s: %zu steps, %llu bytes of weights\n", program->name,
                       program->n_steps, (unsigned long long)program->weight_bytes);
    for (size_t i = 0; i < program->n_steps; i++) {
        const struct enso_step *s = &program->steps[i];

        enso_buffer_printf(b, "%3zu %s(", i, enso_op_name(program->ops[i]));
        for (size_t k = 0; k < s->n_inputs; k++) {
            enso_buffer_puts(b, k == 0 ? "" : ", ");
            print_value(program, s->inputs[k], b);
        }
        enso_buffer_puts(b, ") -> ");
        for (size_t k = 0; k < s->n_outputs; k++) {
            enso_buffer_puts(b, k == 0 ? "" : ", ");
            print_value(program, s->outputs[k], b);
        }
        enso_buffer_putc(b, '\n');
    }
}
