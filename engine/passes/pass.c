/* SPDX-License-Identifier: Apache-2.0
 *
 * What passes share: see pass_internal.h.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/passes/pass_internal.h"

int enso__pass_status(const struct enso_graph *g, struct enso_error *err)
{
    enum enso_status st = enso_graph_status(g);

    if (st == ENSO_NO_MEMORY)
        return enso_error_no_memory(err, "a pass over a graph");
    if (st != ENSO_OK)
        return enso_error_set(err, st, "graph '%s': a pass could not rewrite it (%s)",
                              enso_graph_name(g), enso_status_text(st));
    return ENSO_OK;
}

int enso__pass_walk(struct enso_graph *g, enso__visit_fn visit, bool *ret_changed,
                    struct enso_error *err)
{
    size_t n;
    int *order, st = enso_graph_sort(g, &order, &n, err);

    *ret_changed = false;
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        if (enso_graph_node(g, order[i])->op != ENSO_OP_NONE)
            st = visit(g, order[i], ret_changed, err);
    enso_free(order);
    if (st == ENSO_OK)
        st = enso__pass_status(g, err);
    if (st == ENSO_OK && *ret_changed)
        st = enso_graph_infer(g, err);
    return st;
}

/* ---- looking ---- */

int enso__pass_producer(const struct enso_graph *g, int value, enum enso_op op)
{
    int node = value < 0 ? -1 : enso_graph_value(g, value)->producer;

    return node >= 0 && enso_graph_node(g, node)->op == op ? node : -1;
}

int enso__pass_input(const struct enso_graph *g, int node, size_t i)
{
    const struct enso_node *n = enso_graph_node(g, node);

    return i < n->n_inputs ? n->inputs[i] : ENSO_NO_VALUE;
}

int enso__pass_output(const struct enso_graph *g, int node)
{
    return enso_graph_node(g, node)->outputs[0];
}

bool enso__pass_is_constant(const struct enso_graph *g, int value)
{
    return value >= 0 && enso_graph_value(g, value)->constant != NULL;
}

bool enso__pass_scalar(const struct enso_graph *g, int value, float *ret)
{
    const struct enso_constant *c;

    if (!enso__pass_is_constant(g, value))
        return false;
    c = enso_graph_value(g, value)->constant;
    if (enso_constant_count(c) != 1)
        return false;
    if (c->dtype == ENSO_DTYPE_F32)
        return enso_constant_read(c, 0, 1, ret, NULL) == ENSO_OK;
    if (enso_graph_value(g, value)->known != NULL) {
        *ret = (float)enso_graph_value(g, value)->known[0].factor;
        return true;
    }
    return false;
}

bool enso__pass_is_near(const struct enso_graph *g, int value, float x)
{
    float v;

    return enso__pass_scalar(g, value, &v) && fabsf(v - x) <= 1e-4F * fabsf(x);
}

int enso__pass_other_than(const struct enso_graph *g, int node, float x)
{
    const struct enso_node *n = enso_graph_node(g, node);

    if (n->n_inputs != 2)
        return ENSO_NO_VALUE;
    if (enso__pass_is_near(g, n->inputs[1], x))
        return n->inputs[0];
    return enso__pass_is_near(g, n->inputs[0], x) ? n->inputs[1] : ENSO_NO_VALUE;
}

int enso__pass_other_input(const struct enso_graph *g, int node, int value)
{
    const struct enso_node *n = enso_graph_node(g, node);

    if (n->n_inputs != 2)
        return ENSO_NO_VALUE;
    if (n->inputs[0] == value)
        return n->inputs[1];
    return n->inputs[1] == value ? n->inputs[0] : ENSO_NO_VALUE;
}

int64_t enso__pass_dim(const struct enso_graph *g, int value, int axis)
{
    const struct enso_value *v = enso_graph_value(g, value);
    int i = axis < 0 ? axis + v->shape.rank : axis;

    if (i < 0 || i >= v->shape.rank || v->shape.dims[i].extent != ENSO_EXTENT_FIXED)
        return -1;
    return v->shape.dims[i].factor;
}

bool enso__pass_same_shape(const struct enso_graph *g, int a, int b)
{
    const struct enso_shape *x = &enso_graph_value(g, a)->shape,
                            *y = &enso_graph_value(g, b)->shape;

    if (x->rank != y->rank)
        return false;
    for (size_t i = 0; i < x->rank; i++)
        if (!enso_dim_equal(x->dims[i], y->dims[i]))
            return false;
    return true;
}

/* ---- constants ---- */

float *enso__pass_read(const struct enso_graph *g, int value, struct enso_error *err)
{
    const struct enso_constant *c = enso_graph_value(g, value)->constant;
    int64_t n = enso_constant_count(c);
    float *data = enso_alloc_array((size_t)n + 1, sizeof *data);

    if (data == NULL) {
        enso_error_no_memory(err, "a folded constant");
        return NULL;
    }
    if (enso_constant_read(c, 0, n, data, err) != ENSO_OK) {
        enso_free(data);
        return NULL;
    }
    return data;
}

int enso__pass_add_constant(struct enso_graph *g, const char *stem, const struct enso_constant *c)
{
    char name[256];

    snprintf(name, sizeof name, "%.200s'", stem);
    for (size_t i = enso_graph_n_values(g); enso_graph_find_value(g, name) >= 0; i++)
        snprintf(name, sizeof name, "%.200s'%zu", stem, i);
    return enso_graph_add_constant(g, name, c);
}

int enso__pass_add_f32(struct enso_graph *g, const char *stem, float *data, const int64_t *dims,
                       size_t rank)
{
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .data = data, .rank = (uint8_t)rank};

    for (size_t i = 0; i < rank; i++)
        c.dims[i] = dims[i];
    return enso__pass_add_constant(g, stem, &c);
}

int enso__pass_add_ints(struct enso_graph *g, const char *stem, const int64_t *v, size_t n)
{
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_I64, .stored = ENSO_DTYPE_I64, .rank = 1, .dims = {(int64_t)n}};

    c.data = enso_memdup(v, n * sizeof *v);
    if (c.data == NULL)
        return ENSO_NO_MEMORY;
    return enso__pass_add_constant(g, stem, &c);
}

int enso__pass_view_constant(struct enso_graph *g, int value, const struct enso_shape *shape,
                             enum enso_dtype dtype)
{
    struct enso_constant c = *enso_graph_value(g, value)->constant;
    const char *name = enso_graph_value(g, value)->name;

    if (c.n_parts > 0 && (shape->rank == 0 || shape->dims[0].factor % c.n_parts != 0))
        return ENSO_UNSUPPORTED; /* pieces stay rows of the whole */
    c.dtype = dtype;
    c.rank = shape->rank;
    for (size_t i = 0; i < shape->rank; i++)
        c.dims[i] = shape->dims[i].factor;
    if (c.data != NULL) {
        c.data =
            enso_memdup(c.data, enso_dtype_row_bytes(c.stored, (size_t)enso_constant_count(&c)));
        if (c.data == NULL)
            return ENSO_NO_MEMORY;
    }
    return enso__pass_add_constant(g, name, &c);
}

/* ---- channels ---- */

bool enso__pass_is_per_channel(const struct enso_graph *g, int value, size_t rank, size_t axis,
                               int64_t n)
{
    const struct enso_constant *c;

    if (n < 0 || !enso__pass_is_constant(g, value))
        return false;
    c = enso_graph_value(g, value)->constant;
    if (c->dtype != ENSO_DTYPE_F32 || c->rank > rank)
        return false;
    for (size_t i = 0; i < c->rank; i++)
        if (c->dims[i] != 1 && !(rank - c->rank + i == axis && c->dims[i] == n))
            return false;
    return true;
}

float *enso__pass_read_channels(const struct enso_graph *g, int value, int64_t n,
                                struct enso_error *err)
{
    const struct enso_constant *c = enso_graph_value(g, value)->constant;
    int64_t count = enso_constant_count(c);
    float *data = enso_alloc_array((size_t)n + 1, sizeof *data);

    if (data == NULL) {
        enso_error_no_memory(err, "a folded constant");
        return NULL;
    }
    if (enso_constant_read(c, 0, count, data, err) != ENSO_OK) {
        enso_free(data);
        return NULL;
    }
    for (int64_t i = count; i < n; i++)
        data[i] = data[0];
    return data;
}

int enso__pass_channel_vector(struct enso_graph *g, int value, int64_t n, struct enso_error *err)
{
    const struct enso_constant *c = enso_graph_value(g, value)->constant;
    float *data;
    int vector;

    if (c->rank == 1 && c->dims[0] == n)
        return value;
    data = enso__pass_read_channels(g, value, n, err);
    if (data == NULL)
        return err != NULL && err->status != ENSO_OK ? (int)err->status : ENSO_NO_MEMORY;
    vector = enso__pass_add_f32(g, enso_graph_value(g, value)->name, data, &n, 1);
    return vector >= 0 ? vector : enso__pass_status(g, err);
}

/* ---- activations ---- */

static bool set_clip(struct enso_graph *g, int target, int node)
{
    float low = -FLT_MAX, high = FLT_MAX;
    int min = enso__pass_input(g, node, 1), max = enso__pass_input(g, node, 2);

    if ((min >= 0 && !enso__pass_scalar(g, min, &low)) ||
        (max >= 0 && !enso__pass_scalar(g, max, &high)))
        return false;
    enso_graph_set_float(g, target, "activation_min", low);
    enso_graph_set_float(g, target, "activation_max", high);
    return true;
}

bool enso__pass_set_activation(struct enso_graph *g, int target, int activation)
{
    static const struct {
        enum enso_op op;
        enum enso_activation activation;
        float alpha, beta; /* defaults, where the operator has them */
    } table[] = {
        {ENSO_OP_RELU, ENSO_ACTIVATION_RELU, 0, 0},
        {ENSO_OP_GELU, ENSO_ACTIVATION_GELU, 0, 0},
        {ENSO_OP_SILU, ENSO_ACTIVATION_SILU, 0, 0},
        {ENSO_OP_TANH, ENSO_ACTIVATION_TANH, 0, 0},
        {ENSO_OP_SIGMOID, ENSO_ACTIVATION_SIGMOID, 0, 0},
        {ENSO_OP_CLIP, ENSO_ACTIVATION_CLIP, 0, 0},
        {ENSO_OP_HARD_SWISH, ENSO_ACTIVATION_HARD_SWISH, 0, 0},
        {ENSO_OP_LEAKY_RELU, ENSO_ACTIVATION_LEAKY_RELU, 0.01F, 0},
        {ENSO_OP_ELU, ENSO_ACTIVATION_ELU, 1, 0},
        {ENSO_OP_HARD_SIGMOID, ENSO_ACTIVATION_HARD_SIGMOID, 0.2F, 0.5F},
    };
    const struct enso_node *n = enso_graph_node(g, activation);
    enum enso_activation a = ENSO_ACTIVATION_NONE;
    size_t i = 0;

    if (enso_node_int(enso_graph_node(g, target), "activation", 0) != ENSO_ACTIVATION_NONE)
        return false;
    while (i < ENSO_ARRAY_SIZE(table) && table[i].op != n->op)
        i++;
    if (i == ENSO_ARRAY_SIZE(table) || (n->op == ENSO_OP_CLIP && !set_clip(g, target, activation)))
        return false;
    a = table[i].activation;
    if (n->op == ENSO_OP_GELU && strcmp(enso_node_string(n, "approximate", "none"), "tanh") == 0)
        a = ENSO_ACTIVATION_GELU_TANH;
    if (table[i].alpha != 0)
        enso_graph_set_float(g, target, "activation_alpha",
                             enso_node_float(n, "alpha", table[i].alpha));
    if (table[i].beta != 0)
        enso_graph_set_float(g, target, "activation_beta",
                             enso_node_float(n, "beta", table[i].beta));
    enso_graph_set_int(g, target, "activation", a);
    return true;
}

/* ---- rewriting ---- */

int enso__pass_add(struct enso_graph *g, enum enso_op op, const char *name, const int *inputs,
                   size_t n_inputs, struct enso_error *err)
{
    int node = enso_graph_add_node(g, op, name, inputs, n_inputs, 1), st;

    if (node < 0) {
        (void)enso__pass_status(g, err); /* fills err; node says it too */
        return node;
    }
    st = enso_graph_infer_node(g, node, err);
    return st == ENSO_OK ? enso__pass_output(g, node) : st;
}

int enso__pass_replace(struct enso_graph *g, int node, enum enso_op op, const int *inputs,
                       size_t n_inputs)
{
    int y = enso__pass_output(g, node);
    const char *name = enso_graph_node(g, node)->name;

    enso_graph_remove_node(g, node);
    return enso_graph_add_node_to(g, op, name, inputs, n_inputs, &y, 1);
}

void enso__pass_bypass(struct enso_graph *g, int node, int value)
{
    enso_graph_replace_uses(g, enso__pass_output(g, node), value);
    enso_graph_remove_node(g, node);
}
