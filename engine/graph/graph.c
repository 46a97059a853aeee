/* SPDX-License-Identifier: Apache-2.0
 *
 * Building, reading and rewriting graphs: see graph.h for the contract, graph_internal.h for how
 * it is kept.
 */
#include "engine/graph/graph.h"

#include <stdio.h>
#include <string.h>

#include "engine/formats/weights_file.h"
#include "engine/graph/graph_internal.h"

int enso__graph_fail(struct enso_graph *g, enum enso_status status)
{
    if (g->status == ENSO_OK)
        g->status = status;
    return status;
}

void enso_graph_want_batch_invariant(struct enso_graph *g)
{
    g->wants_batch_invariant = true;
}

bool enso_graph_wants_batch_invariant(const struct enso_graph *g)
{
    return g->wants_batch_invariant;
}

enum enso_status enso_graph_status(const struct enso_graph *g)
{
    return g->status;
}

/* ---- life cycle ---- */

struct enso_graph *enso_graph_create(const char *name)
{
    struct enso_graph *g = enso_alloc_zero(1, sizeof *g);

    if (g == NULL)
        return NULL;
    g->name = enso_arena_strndup(&g->arena, name, strlen(name));
    if (g->name == NULL) {
        enso_graph_destroy(g);
        return NULL;
    }
    return g;
}

void enso__constant_done(struct enso_constant *c)
{
    enso_free(c->data);
    c->data = NULL;
    c->file = enso_weights_file_unref(c->file);
    for (size_t i = 0; i < c->n_parts; i++)
        c->parts[i].file = enso_weights_file_unref(c->parts[i].file);
}

void enso_graph_destroy(struct enso_graph *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->n_values; i++) {
        struct enso_value *v = &g->values[i]->value;

        enso_free(v->known);
        if (v->constant != NULL)
            enso__constant_done(v->constant);
    }
    enso_free(g->nodes);
    enso_free(g->values);
    enso_free(g->inputs);
    enso_free(g->outputs);
    enso_free(g->table);
    enso_arena_done(&g->arena);
    enso_free(g);
}

/* ---- names ---- */

static uint64_t hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3;
    return h ^ h >> 32;
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t find_slot(const struct enso_graph *g, const char *name)
{
    size_t mask = g->table_size - 1, i = (size_t)hash_name(name) & mask;

    while (g->table[i] != 0 && strcmp(g->values[g->table[i] - 1]->value.name, name) != 0)
        i = (i + 1) & mask;
    return i;
}

int enso_graph_find_value(const struct enso_graph *g, const char *name)
{
    return g->table_size == 0 ? ENSO_NO_VALUE : g->table[find_slot(g, name)] - 1;
}

static int grow_table(struct enso_graph *g)
{
    size_t size = g->table_size == 0 ? 64 : g->table_size * 2;
    int *table = enso_alloc_zero(size, sizeof *table);

    if (table == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    enso_free(g->table);
    g->table = table;
    g->table_size = size;
    for (size_t i = 0; i < g->n_values; i++)
        table[find_slot(g, g->values[i]->value.name)] = (int)i + 1;
    return ENSO_OK;
}

/* Room for one more element in an array; false when there is none. */
static bool grow(void *array, size_t n, size_t *capacity, size_t size_bytes)
{
    size_t more = *capacity == 0 ? 16 : *capacity * 2;
    void *p;

    if (n < *capacity)
        return true;
    memcpy(&p, array, sizeof p); /* array points to a pointer of any type */
    p = enso_realloc_array(p, more, size_bytes);
    if (p == NULL)
        return false;
    memcpy(array, &p, sizeof p);
    *capacity = more;
    return true;
}

/* ---- values ---- */

int enso_graph_add_value(struct enso_graph *g, const char *name)
{
    struct enso__value *v;
    size_t slot;

    if (g->n_values >= ENSO__GRAPH_MAX)
        return enso__graph_fail(g, ENSO_TOO_LARGE);
    if (2 * (g->n_values + 1) > g->table_size && grow_table(g) != ENSO_OK)
        return ENSO_NO_MEMORY;
    slot = find_slot(g, name);
    if (g->table[slot] != 0)
        return enso__graph_fail(g, ENSO_CORRUPT);
    if (!grow(&g->values, g->n_values, &g->value_capacity, sizeof *g->values))
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    v = enso_arena_alloc_zero(&g->arena, 1, sizeof *v);
    if (v == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    v->value.name = enso_arena_strndup(&g->arena, name, strlen(name));
    if (v->value.name == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    v->value.producer = -1;
    g->values[g->n_values] = v;
    g->table[slot] = (int)g->n_values + 1;
    return (int)g->n_values++;
}

/* A value with a name of its own, made from a stem. */
static int add_fresh_value(struct enso_graph *g, const char *stem, size_t n)
{
    char name[256];

    snprintf(name, sizeof name, "%.200s:%zu", stem, n);
    /* Taken names are rare (a stem used twice, a pass at work); then the number tells apart. */
    for (size_t i = g->n_values; enso_graph_find_value(g, name) >= 0; i++)
        snprintf(name, sizeof name, "%.200s:%zu#%zu", stem, n, i);
    return enso_graph_add_value(g, name);
}

int enso_graph_add_input(struct enso_graph *g, const char *name, enum enso_dtype dtype,
                         const struct enso_shape *shape)
{
    int value;

    if (shape->rank > ENSO_MAX_RANK)
        return enso__graph_fail(g, ENSO_UNSUPPORTED);
    for (size_t i = 0; i < shape->rank; i++)
        if (shape->dims[i].factor < 0)
            return enso__graph_fail(g, ENSO_CORRUPT);
    if (!grow(&g->inputs, g->n_inputs, &g->input_capacity, sizeof *g->inputs))
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    value = enso_graph_add_value(g, name);
    if (value < 0)
        return value;
    g->values[value]->value.dtype = dtype;
    g->values[value]->value.has_shape = true;
    g->values[value]->value.shape = *shape;
    g->inputs[g->n_inputs++] = value;
    return value;
}

/* Sound dims, data where there are elements, whole parts. */
static enum enso_status check_constant(const struct enso_constant *c)
{
    int64_t n;

    if (c->rank > ENSO_MAX_RANK || c->n_parts > ENSO_MAX_PARTS)
        return ENSO_UNSUPPORTED;
    if (!enso_dims_count(c->dims, c->rank, &n) ||
        enso_dtype_row_bytes(c->dtype, (size_t)n) == SIZE_MAX)
        return ENSO_CORRUPT;
    if (c->n_parts == 0)
        return n == 0 || c->file != NULL || c->data != NULL ? ENSO_OK : ENSO_CORRUPT;
    if (c->rank == 0 || c->dims[0] % c->n_parts != 0)
        return ENSO_CORRUPT;
    for (size_t i = 0; i < c->n_parts; i++)
        if (c->parts[i].file == NULL)
            return ENSO_CORRUPT;
    return ENSO_OK;
}

int enso_graph_add_constant(struct enso_graph *g, const char *name, const struct enso_constant *c)
{
    enum enso_status st = check_constant(c);
    struct enso_constant *copy = NULL;
    struct enso_value *v;
    int value = st == ENSO_OK ? enso_graph_add_value(g, name) : enso__graph_fail(g, st);

    if (value >= 0)
        copy = enso_arena_alloc(&g->arena, sizeof *copy);
    if (copy == NULL) { /* a value without constant may stay behind in the failed graph */
        enso_free(c->data);
        return value < 0 ? value : enso__graph_fail(g, ENSO_NO_MEMORY);
    }
    *copy = *c;
    if (copy->file != NULL)
        enso_weights_file_ref(copy->file);
    for (size_t i = 0; i < copy->n_parts; i++)
        enso_weights_file_ref(copy->parts[i].file);
    v = &g->values[value]->value;
    v->constant = copy;
    v->dtype = c->dtype;
    v->has_shape = true;
    v->shape.rank = c->rank;
    for (size_t i = 0; i < c->rank; i++)
        v->shape.dims[i] = enso_dim_fixed(c->dims[i]);
    return value;
}

void enso_graph_release_constant(struct enso_graph *g, int value)
{
    struct enso_constant *c = g->values[value]->value.constant;

    if (c == NULL)
        return;
    enso__constant_done(c);
    c->n_parts = 0;
}

int enso_graph_add_output(struct enso_graph *g, const char *name, int value)
{
    const char *copy;

    if (value < 0 || (size_t)value >= g->n_values)
        return enso__graph_fail(g, ENSO_INVALID);
    if (!grow(&g->outputs, g->n_outputs, &g->output_capacity, sizeof *g->outputs))
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    copy = enso_arena_strndup(&g->arena, name, strlen(name));
    if (copy == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    g->outputs[g->n_outputs] = (struct enso__output){copy, value};
    return (int)g->n_outputs++;
}

/* ---- uses ---- */

static void link_use(struct enso_graph *g, struct enso__use *use, int value)
{
    struct enso__value *v = g->values[value];

    use->next = v->uses;
    use->link = &v->uses;
    if (v->uses != NULL)
        v->uses->link = &use->next;
    v->uses = use;
    v->n_uses++;
}

static void unlink_use(struct enso_graph *g, struct enso__use *use, int value)
{
    if (use->link == NULL)
        return;
    *use->link = use->next;
    if (use->next != NULL)
        use->next->link = use->link;
    use->link = NULL;
    g->values[value]->n_uses--;
}

bool enso_graph_is_output(const struct enso_graph *g, int value)
{
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i].value == value)
            return true;
    return false;
}

bool enso_graph_is_input(const struct enso_graph *g, int value)
{
    for (size_t i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] == value)
            return true;
    return false;
}

size_t enso_graph_n_uses(const struct enso_graph *g, int value)
{
    size_t n = g->values[value]->n_uses;

    for (size_t i = 0; i < g->n_outputs; i++)
        n += g->outputs[i].value == value;
    return n;
}

int enso_graph_sole_user(const struct enso_graph *g, int value)
{
    if (g->values[value]->n_uses != 1 || enso_graph_is_output(g, value))
        return -1;
    return g->values[value]->uses->node;
}

int enso_graph_user(const struct enso_graph *g, int value, size_t i)
{
    const struct enso__use *use = g->values[value]->uses;

    while (use != NULL && i-- > 0)
        use = use->next;
    return use == NULL ? -1 : use->node;
}

/* ---- nodes ---- */

static bool numbers_are_sound(const struct enso_graph *g, const int *inputs, size_t n_inputs,
                              const int *outputs, size_t n_outputs)
{
    for (size_t i = 0; i < n_inputs; i++)
        if (inputs[i] != ENSO_NO_VALUE && (inputs[i] < 0 || (size_t)inputs[i] >= g->n_values))
            return false;
    for (size_t i = 0; outputs != NULL && i < n_outputs; i++)
        if (outputs[i] < 0 || (size_t)outputs[i] >= g->n_values)
            return false;
    return n_inputs <= UINT16_MAX && n_outputs <= UINT16_MAX;
}

/* A node with all its memory and no links yet; NULL when there is none. */
static struct enso__node *new_node(struct enso_graph *g, enum enso_op op, const char *name,
                                   size_t n_inputs, size_t n_outputs)
{
    struct enso__node *n = enso_arena_alloc_zero(&g->arena, 1, sizeof *n);

    if (n == NULL)
        return NULL;
    n->node.op = op;
    n->node.name = enso_arena_strndup(&g->arena, name, strlen(name));
    n->node.inputs = enso_arena_alloc_zero(&g->arena, n_inputs, sizeof *n->node.inputs);
    n->node.outputs = enso_arena_alloc_zero(&g->arena, n_outputs, sizeof *n->node.outputs);
    n->uses = enso_arena_alloc_zero(&g->arena, n_inputs, sizeof *n->uses);
    n->node.n_inputs = (uint16_t)n_inputs;
    n->node.n_outputs = (uint16_t)n_outputs;
    if (n->node.name == NULL || n->node.inputs == NULL || n->node.outputs == NULL ||
        n->uses == NULL)
        return NULL;
    return n;
}

int enso_graph_add_node_to(struct enso_graph *g, enum enso_op op, const char *name,
                           const int *inputs, size_t n_inputs, const int *outputs, size_t n_outputs)
{
    struct enso__node *n;
    int number = (int)g->n_nodes;

    if (g->n_nodes >= ENSO__GRAPH_MAX)
        return enso__graph_fail(g, ENSO_TOO_LARGE);
    if (!numbers_are_sound(g, inputs, n_inputs, outputs, n_outputs))
        return enso__graph_fail(g, ENSO_INVALID);
    if (!grow(&g->nodes, g->n_nodes, &g->node_capacity, sizeof *g->nodes))
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    n = new_node(g, op, name, n_inputs, n_outputs);
    if (n == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    for (size_t i = 0; i < n_outputs; i++) {
        const struct enso_value *v = &g->values[outputs[i]]->value;

        /* made twice, or an input or constant of the same name */
        if (v->producer >= 0 || v->constant != NULL || enso_graph_is_input(g, outputs[i])) {
            for (size_t k = 0; k < i; k++)
                g->values[outputs[k]]->value.producer = -1;
            return enso__graph_fail(g, ENSO_CORRUPT);
        }
        g->values[outputs[i]]->value.producer = number;
        n->node.outputs[i] = outputs[i];
    }
    for (size_t i = 0; i < n_inputs; i++) {
        n->node.inputs[i] = inputs[i];
        n->uses[i].node = number;
        if (inputs[i] >= 0)
            link_use(g, &n->uses[i], inputs[i]);
    }
    g->nodes[g->n_nodes++] = n;
    return number;
}

int enso_graph_add_node(struct enso_graph *g, enum enso_op op, const char *name, const int *inputs,
                        size_t n_inputs, size_t n_outputs)
{
    const char *stem = name[0] != '\0' ? name : enso_op_name(op);
    int few[8], *outputs = few, number;

    if (n_outputs > UINT16_MAX)
        return enso__graph_fail(g, ENSO_INVALID);
    if (n_outputs > ENSO_ARRAY_SIZE(few))
        outputs = enso_alloc_array(n_outputs, sizeof *outputs);
    if (outputs == NULL)
        return enso__graph_fail(g, ENSO_NO_MEMORY);
    number = ENSO_OK;
    for (size_t i = 0; i < n_outputs && number >= 0; i++)
        number = outputs[i] = add_fresh_value(g, stem, i);
    if (number >= 0)
        number = enso_graph_add_node_to(g, op, name, inputs, n_inputs, outputs, n_outputs);
    if (outputs != few)
        enso_free(outputs);
    return number;
}

/* ---- rewriting ---- */

void enso_graph_set_input(struct enso_graph *g, int node, size_t input, int value)
{
    struct enso__node *n = g->nodes[node];

    if (n->node.inputs[input] >= 0)
        unlink_use(g, &n->uses[input], n->node.inputs[input]);
    n->node.inputs[input] = value;
    if (value >= 0)
        link_use(g, &n->uses[input], value);
}

void enso_graph_replace_uses(struct enso_graph *g, int old_value, int new_value)
{
    if (old_value == new_value)
        return;
    while (g->values[old_value]->uses != NULL) {
        struct enso__use *use = g->values[old_value]->uses;
        struct enso__node *n = g->nodes[use->node];

        enso_graph_set_input(g, use->node, (size_t)(use - n->uses), new_value);
    }
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i].value == old_value)
            g->outputs[i].value = new_value;
}

void enso_graph_remove_node(struct enso_graph *g, int node)
{
    struct enso_node *n = &g->nodes[node]->node;

    for (size_t i = 0; i < n->n_inputs; i++)
        enso_graph_set_input(g, node, i, ENSO_NO_VALUE);
    for (size_t i = 0; i < n->n_outputs; i++)
        if (n->outputs[i] >= 0)
            g->values[n->outputs[i]]->value.producer = -1;
    n->op = ENSO_OP_NONE;
    n->n_inputs = n->n_outputs = 0;
    n->n_attributes = 0;
}

void enso_graph_set_op(struct enso_graph *g, int node, enum enso_op op)
{
    g->nodes[node]->node.op = op;
}

int enso_graph_detach_output(struct enso_graph *g, int node, size_t output)
{
    struct enso_node *n = &g->nodes[node]->node;
    int old = n->outputs[output], fresh = add_fresh_value(g, g->values[old]->value.name, output);
    struct enso_value *v;

    if (fresh < 0)
        return fresh;
    v = &g->values[fresh]->value;
    v->producer = node;
    v->dtype = g->values[old]->value.dtype;
    g->values[old]->value.producer = -1;
    n->outputs[output] = fresh;
    return old;
}

/* ---- reading ---- */

const char *enso_graph_name(const struct enso_graph *g)
{
    return g->name;
}

size_t enso_graph_n_nodes(const struct enso_graph *g)
{
    return g->n_nodes;
}

size_t enso_graph_n_values(const struct enso_graph *g)
{
    return g->n_values;
}

struct enso_node *enso_graph_node(const struct enso_graph *g, int node)
{
    return &g->nodes[node]->node;
}

struct enso_value *enso_graph_value(const struct enso_graph *g, int value)
{
    return &g->values[value]->value;
}

size_t enso_graph_n_inputs(const struct enso_graph *g)
{
    return g->n_inputs;
}

size_t enso_graph_n_outputs(const struct enso_graph *g)
{
    return g->n_outputs;
}

int enso_graph_input(const struct enso_graph *g, size_t i)
{
    return g->inputs[i];
}

int enso_graph_output(const struct enso_graph *g, size_t i)
{
    return g->outputs[i].value;
}

const char *enso_graph_output_name(const struct enso_graph *g, size_t i)
{
    return g->outputs[i].name;
}

/* ---- dimensions ---- */

bool enso_dim_equal(struct enso_dim a, struct enso_dim b)
{
    return a.factor == b.factor && (a.extent == b.extent || a.factor == 0);
}

int64_t enso_dim_at(struct enso_dim d, const struct enso_extents *e)
{
    int64_t extent = 1, n;

    switch (d.extent) {
    case ENSO_EXTENT_FIXED:
        break;
    case ENSO_EXTENT_ITEMS:
        extent = e->n_items;
        break;
    case ENSO_EXTENT_TOKENS:
        extent = e->n_tokens;
        break;
    case ENSO_EXTENT_SEQUENCES:
        extent = e->n_sequences;
        break;
    case ENSO_EXTENT_STARTS:
        if (__builtin_add_overflow(e->n_sequences, 1, &extent))
            return INT64_MAX;
        break;
    case ENSO_EXTENT_WORK:
        if (__builtin_add_overflow(e->n_tokens / ENSO_ATTENTION_TILE, e->n_sequences, &extent))
            return INT64_MAX;
        break;
    case ENSO_N_EXTENTS:
        break;
    }
    return __builtin_mul_overflow(d.factor, extent, &n) ? INT64_MAX : n;
}
