/* SPDX-License-Identifier: Apache-2.0
 *
 * Values between operators become bf16 or fp16, for a device that computes in it. The last pass:
 * borders of the graph keep their types, integers are not touched, weights and other parameters
 * stay as they are (binding rounds them, once).
 *
 *     tokens -> EMBEDDING -> LINEAR -> ... -> LINEAR -> logits (F32)
 *                 dtype=BF16                   dtype=F32
 *     x (F32) -> CAST -> CONV_FUSED -> ... -> GLOBAL_AVERAGE_POOL -> LINEAR dtype=F32 -> logits
 *
 * Every node that touches floats gets a place:
 *
 *   low    products, convolutions, attention and embeddings, and what reads their results
 *   F32    what the device does not compute in the type; what ends the graph and would lose by it
 *          (softmax, sigmoid, unit vectors: probabilities and embeddings leave with all their
 *          digits, at the cost of a few rows; scores that are ranked); what prepares an input
 * before the first product (a picture's mean is subtracted before rounding, not after; positions
 * that come as integers are counted in F32, bf16 has no 257)
 *
 * PIXELS is low unless F32 or such a preparation reads it: it writes the type, and reads what
 * comes.
 *
 * What only moves or maps elements follows its inputs: between two F32 nodes nothing is rounded,
 * since no product would gain by it. A cast stands where the place changes, one for all readers of
 * a value; LINEAR and SEQUENCE_POOL write F32 themselves where all readers want it.
 *
 * Constant operands (not parameters) become constants of the type over the same bytes. Finite ones
 * beyond fp16's range, with which exporters write "minus infinity" into masks, become its largest
 * number: as infinity they would make NaN of 0 * mask.
 */
#include <math.h>

#include "base/memory.h"
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

#define F16_LARGEST 65504.0F
#define SLICE 4096

enum place {
    PLACE_NONE = 0, /* no floats */
    PLACE_F32,
    PLACE_LOW,
    PLACE_FOLLOWS, /* not decided yet: as its inputs are */
};

/* What is known of a value. Readers come before producers on the way back, so that each tells its
 * inputs what it is. */
enum fact {
    FACT_WANTED = 1,    /* in F32 by some reader, or it is an output of the graph */
    FACT_READ_LOW = 2,  /* perhaps: some reader is none that computes in F32 to the end */
    FACT_PREPARED = 4,  /* some reader maps it before the first product */
    FACT_RAW = 8,       /* a float input of the graph, or a count, perhaps mapped */
    FACT_LOW = 16,      /* it will be of the type */
    FACT_READ_F32 = 32, /* some reader is placed in F32 */
};

struct lowering {
    struct enso_graph *g;
    const struct enso_precision *to;
    struct enso_error *err;
    int *order; /* nodes, producers first */
    size_t n_order;
    uint8_t *places;  /* by node */
    bool *ends;       /* by node: cheap, and all that comes after it computes in F32 */
    bool *writes_f32; /* by node: attribute dtype */
    uint8_t *facts;   /* by value */
    int *rounded;     /* by value: the same in the type (a cast, a constant); 0: none yet */
};

/* ---- operators ---- */

static bool is_product(enum enso_op op)
{
    switch (op) {
    case ENSO_OP_LINEAR:
    case ENSO_OP_MATMUL:
    case ENSO_OP_GEMM:
    case ENSO_OP_CONV:
    case ENSO_OP_CONV_FUSED:
    case ENSO_OP_ATTENTION:
    case ENSO_OP_EMBEDDING:
        return true;
    default:
        return false;
    }
}

static bool is_mover(enum enso_op op)
{
    switch (op) {
    case ENSO_OP_TRANSPOSE:
    case ENSO_OP_CONCAT:
    case ENSO_OP_SPLIT:
    case ENSO_OP_SLICE:
    case ENSO_OP_PAD:
    case ENSO_OP_EXPAND:
    case ENSO_OP_TILE:
    case ENSO_OP_GATHER:
    case ENSO_OP_DEPTH_TO_SPACE:
    case ENSO_OP_SPACE_TO_DEPTH:
        return true;
    default:
        return enso_op_is_view(op);
    }
}

/* Maps a few rows of scores to what is answered; loses by rounding before it or after. */
static bool is_delicate_end(enum enso_op op)
{
    return op == ENSO_OP_SOFTMAX || op == ENSO_OP_LOG_SOFTMAX || op == ENSO_OP_SIGMOID ||
           op == ENSO_OP_L2_NORMALIZE || op == ENSO_OP_TOP_K || op == ENSO_OP_ARG_MAX ||
           op == ENSO_OP_ARG_MIN;
}

static bool can_write_f32(enum enso_op op)
{
    return op == ENSO_OP_LINEAR || op == ENSO_OP_SEQUENCE_POOL;
}

/* Input i may have another float type than the activations. */
static bool is_parameter(enum enso_op op, size_t i)
{
    switch (op) {
    case ENSO_OP_LINEAR:
    case ENSO_OP_CONV:
    case ENSO_OP_CONV_FUSED:
    case ENSO_OP_LAYER_NORM:
    case ENSO_OP_INSTANCE_NORM:
        return i == 1 || i == 2;
    case ENSO_OP_RMS_NORM:
        return i == 1;
    case ENSO_OP_BATCH_NORM:
        return i >= 1;
    case ENSO_OP_EMBEDDING:
        return true;
    default:
        return false;
    }
}

/* ---- places ---- */

static const struct enso_node *node_at(const struct lowering *l, int node)
{
    return enso_graph_node(l->g, node);
}

/* A float that is computed or comes in, with whose type this pass is concerned. */
static bool is_activation(const struct lowering *l, int value)
{
    const struct enso_value *v;

    if (value < 0)
        return false;
    v = enso_graph_value(l->g, value);
    return v->dtype == ENSO_DTYPE_F32 && v->constant == NULL;
}

static size_t count_activations(const struct lowering *l, const int *values, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += is_activation(l, values[i]);
    return found;
}

/* Facts of all float outputs of a node, joined. */
static unsigned output_facts(const struct lowering *l, const struct enso_node *n)
{
    unsigned facts = 0;

    for (size_t i = 0; i < n->n_outputs; i++)
        if (is_activation(l, n->outputs[i]))
            facts |= l->facts[n->outputs[i]] |
                     (enso_graph_is_output(l->g, n->outputs[i]) ? FACT_WANTED : 0U);
    return facts;
}

/* `after`: facts of its outputs. */
static enum place fixed_place(const struct lowering *l, int node, unsigned after)
{
    enum enso_op op = node_at(l, node)->op;

    if (!enso_op_is_view(op) && !l->to->backend->computes(l->to->device, op, l->to->dtype))
        return PLACE_F32;
    if (is_product(op))
        return PLACE_LOW;
    if (op == ENSO_OP_PIXELS)
        return (after & (FACT_WANTED | FACT_PREPARED)) != 0 ? PLACE_F32 : PLACE_LOW;
    return is_delicate_end(op) && l->ends[node] ? PLACE_F32 : PLACE_FOLLOWS;
}

/* From the end: what is fixed, and what readers tell those that follow. */
static void place_backwards(struct lowering *l, int node)
{
    const struct enso_node *n = node_at(l, node);
    size_t n_outputs = count_activations(l, n->outputs, n->n_outputs);
    unsigned after = output_facts(l, n), tell = 0;
    enum place place;

    if (n_outputs + count_activations(l, n->inputs, n->n_inputs) == 0 || n->op == ENSO_OP_SHAPE ||
        n->op == ENSO_OP_SIZE) /* these read no elements */
        return;
    l->ends[node] = ((n_outputs > 0 && is_mover(n->op)) || is_delicate_end(n->op)) &&
                    (after & FACT_READ_LOW) == 0;
    place = fixed_place(l, node, after);
    l->places[node] = (uint8_t)place;
    if (place == PLACE_F32 || (place == PLACE_FOLLOWS && (after & FACT_WANTED) != 0))
        tell |= FACT_WANTED;
    if (place != PLACE_F32 && !l->ends[node])
        tell |= FACT_READ_LOW;
    if (place == PLACE_FOLLOWS && (!is_mover(n->op) || (after & FACT_PREPARED) != 0))
        tell |= FACT_PREPARED;
    for (size_t i = 0; i < n->n_inputs; i++)
        if (is_activation(l, n->inputs[i]))
            l->facts[n->inputs[i]] |= (uint8_t)tell;
}

/* Whether a node that follows its inputs is low; `raw`: they all are. */
static enum place follow(const struct lowering *l, const struct enso_node *n, bool raw)
{
    unsigned after = output_facts(l, n);
    size_t n_inputs = count_activations(l, n->inputs, n->n_inputs);

    for (size_t i = 0; i < n->n_inputs; i++)
        if (is_activation(l, n->inputs[i]) && (l->facts[n->inputs[i]] & FACT_LOW) != 0)
            return PLACE_LOW;
    if ((after & FACT_WANTED) != 0)
        return PLACE_F32;
    if (n_inputs == 0)
        return n->op == ENSO_OP_CAST ? PLACE_F32 : PLACE_LOW; /* integers may be too large */
    if (!raw)
        return PLACE_LOW;
    return !is_mover(n->op) || (after & FACT_PREPARED) != 0 ? PLACE_F32 : PLACE_LOW;
}

/* From the front: those that follow, and the types of values. */
static void place_forwards(struct lowering *l, int node)
{
    const struct enso_node *n = node_at(l, node);
    bool raw = true, low;

    if (l->places[node] == PLACE_NONE)
        return;
    for (size_t i = 0; i < n->n_inputs; i++)
        if (is_activation(l, n->inputs[i]))
            raw = raw && (l->facts[n->inputs[i]] & FACT_RAW) != 0;
    if (l->places[node] == PLACE_FOLLOWS)
        l->places[node] = (uint8_t)follow(l, n, raw);
    low = l->places[node] == PLACE_LOW;
    l->writes_f32[node] = low && can_write_f32(n->op) && (output_facts(l, n) & FACT_READ_LOW) == 0;
    for (size_t i = 0; i < n->n_outputs; i++) {
        if (!is_activation(l, n->outputs[i]))
            continue;
        if (low && !l->writes_f32[node])
            l->facts[n->outputs[i]] |= FACT_LOW;
        if (!low && raw)
            l->facts[n->outputs[i]] |= FACT_RAW;
    }
    for (size_t i = 0; i < n->n_inputs; i++)
        if (!low && is_activation(l, n->inputs[i]))
            l->facts[n->inputs[i]] |= FACT_READ_F32;
}

/* ---- constants ---- */

static bool is_beyond_f16(float x)
{
    return fabsf(x) > F16_LARGEST && !isinf(x);
}

/* Whether a float constant holds a finite number that fp16 has no room for. */
static int find_beyond_f16(const struct enso_constant *c, bool *ret_found, struct enso_error *err)
{
    float slice[SLICE];
    int64_t count = enso_constant_count(c);

    *ret_found = false;
    if (c->n_parts == 0 && c->stored == ENSO_DTYPE_F16)
        return ENSO_OK;
    for (int64_t at = 0; at < count && !*ret_found; at += SLICE) {
        int64_t n = ENSO_MIN(count - at, (int64_t)SLICE);
        int st = enso_constant_read(c, at, n, slice, err);

        if (st != ENSO_OK)
            return st;
        for (int64_t i = 0; i < n; i++)
            *ret_found = *ret_found || is_beyond_f16(slice[i]);
    }
    return ENSO_OK;
}

int enso_graph_find_beyond_f16(const struct enso_graph *g, const char **ret_name,
                               struct enso_error *err)
{
    int st = ENSO_OK;

    *ret_name = NULL;
    for (size_t node = 0; node < enso_graph_n_nodes(g); node++) {
        const struct enso_node *n = enso_graph_node(g, (int)node);

        for (size_t i = 0; n->op != ENSO_OP_NONE && i < n->n_inputs; i++) {
            const struct enso_value *v;
            bool found = false;

            if ((!is_parameter(n->op, i) && n->op != ENSO_OP_PIXELS) ||
                !enso__pass_is_constant(g, n->inputs[i]))
                continue;
            v = enso_graph_value(g, n->inputs[i]);
            if (v->dtype == ENSO_DTYPE_F32)
                st = find_beyond_f16(v->constant, &found, err);
            if (st != ENSO_OK || found) {
                *ret_name = v->name;
                return st;
            }
        }
    }
    return ENSO_OK;
}

/* A constant of the type with numbers cut to its range; the caller has found that some are not. */
static int clamped_constant(struct lowering *l, int value)
{
    const struct enso_value *v = enso_graph_value(l->g, value);
    struct enso_constant c = {
        .dtype = l->to->dtype, .stored = ENSO_DTYPE_F32, .rank = v->constant->rank};
    int64_t n = enso_constant_count(v->constant);
    float *data = enso__pass_read(l->g, value, l->err);

    if (data == NULL)
        return ENSO_NO_MEMORY;
    for (int64_t i = 0; i < n; i++)
        if (is_beyond_f16(data[i]))
            data[i] = copysignf(F16_LARGEST, data[i]);
    for (size_t i = 0; i < v->constant->rank; i++)
        c.dims[i] = v->constant->dims[i];
    c.data = data;
    return enso__pass_add_constant(l->g, v->name, &c);
}

static int rounded_constant(struct lowering *l, int value)
{
    const struct enso_value *v = enso_graph_value(l->g, value);
    const struct enso_shape shape = v->shape;
    bool beyond = false;
    int st = ENSO_OK, made;

    if (l->to->dtype == ENSO_DTYPE_F16)
        st = find_beyond_f16(v->constant, &beyond, l->err);
    if (st != ENSO_OK)
        return st;
    made = beyond ? clamped_constant(l, value)
                  : enso__pass_view_constant(l->g, value, &shape, l->to->dtype);
    if (made == ENSO_NO_MEMORY)
        return enso_error_no_memory(l->err, "a rounded constant");
    if (made < 0) {
        st = enso__pass_status(l->g, l->err);
        return st != ENSO_OK
                   ? st
                   : enso_error_set(l->err, ENSO_UNSUPPORTED, "constant '%s' cannot be rounded",
                                    enso_graph_value(l->g, value)->name);
    }
    return made;
}

/* ---- rewriting ---- */

/* A cast to the type: of an integer's cast to F32, of the integer itself. */
static int add_cast(struct lowering *l, int value)
{
    const char *name = enso_graph_value(l->g, value)->name;
    int before = enso__pass_producer(l->g, value, ENSO_OP_CAST), from = value, node;

    if (before >= 0 &&
        !enso_dtype_is_float(enso_graph_value(l->g, node_at(l, before)->inputs[0])->dtype))
        from = node_at(l, before)->inputs[0];
    node = enso_graph_add_node(l->g, ENSO_OP_CAST, name, &from, 1, 1);
    if (node < 0)
        return enso__pass_status(l->g, l->err);
    enso_graph_set_int(l->g, node, "to", l->to->dtype);
    return enso__pass_output(l->g, node);
}

/* The value in the type: a constant over the same bytes, or a cast, made once. */
static int rounded(struct lowering *l, int value, int *ret_value)
{
    if (l->rounded[value] == 0) {
        int made =
            enso__pass_is_constant(l->g, value) ? rounded_constant(l, value) : add_cast(l, value);

        if (made < 0)
            return made;
        l->rounded[value] = made;
    }
    *ret_value = l->rounded[value];
    return ENSO_OK;
}

/* Output i of a low node is read in F32 too, or is an output of the graph: the node makes a fresh
 * value, a cast the old one, whose readers and name stay. Low readers are told of the fresh one by
 * `rounded`. */
static int widen_output(struct lowering *l, int node, size_t i)
{
    int old = node_at(l, node)->outputs[i], fresh, cast;

    if (!enso_graph_is_output(l->g, old) && (l->facts[old] & FACT_READ_F32) == 0)
        return ENSO_OK;
    old = enso_graph_detach_output(l->g, node, i);
    if (old < 0)
        return enso__pass_status(l->g, l->err);
    fresh = node_at(l, node)->outputs[i];
    cast = enso_graph_add_node_to(l->g, ENSO_OP_CAST, enso_graph_value(l->g, old)->name, &fresh, 1,
                                  &old, 1);
    if (cast < 0)
        return enso__pass_status(l->g, l->err);
    enso_graph_set_int(l->g, cast, "to", ENSO_DTYPE_F32);
    l->rounded[old] = fresh;
    return ENSO_OK;
}

static void use_fast_gelu(struct lowering *l, int node)
{
    const struct enso_node *n = node_at(l, node);

    if (n->op == ENSO_OP_GELU)
        enso_graph_set_string(l->g, node, "approximate", "tanh");
    else if (enso_node_int(n, "activation", 0) == ENSO_ACTIVATION_GELU)
        enso_graph_set_int(l->g, node, "activation", ENSO_ACTIVATION_GELU_TANH);
}

static int lower_node(struct lowering *l, int node)
{
    enum enso_op op = node_at(l, node)->op;
    bool as_it_comes = op == ENSO_OP_PIXELS;
    size_t n_inputs = as_it_comes ? 0 : node_at(l, node)->n_inputs;
    size_t n_outputs = node_at(l, node)->n_outputs;
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < n_inputs; i++) {
        int value = node_at(l, node)->inputs[i], to;
        bool constant = enso__pass_is_constant(l->g, value);

        if (value < 0 || enso_graph_value(l->g, value)->dtype != ENSO_DTYPE_F32 ||
            (constant && is_parameter(op, i)) ||
            (!constant && (l->facts[value] & FACT_LOW) != 0 && l->rounded[value] == 0))
            continue;
        st = rounded(l, value, &to);
        if (st == ENSO_OK)
            enso_graph_set_input(l->g, node, i, to);
    }
    if (op == ENSO_OP_CAST && enso_node_int(node_at(l, node), "to", -1) == ENSO_DTYPE_F32)
        enso_graph_set_int(l->g, node, "to", l->to->dtype);
    if (op == ENSO_OP_EMBEDDING || op == ENSO_OP_PIXELS)
        enso_graph_set_int(l->g, node, "dtype", l->to->dtype);
    if (l->writes_f32[node])
        enso_graph_set_int(l->g, node, "dtype", ENSO_DTYPE_F32);
    if (l->to->fast_gelu)
        use_fast_gelu(l, node);
    for (size_t i = 0; st == ENSO_OK && i < n_outputs; i++) {
        int value = node_at(l, node)->outputs[i];

        if (is_activation(l, value) && (l->facts[value] & FACT_LOW) != 0)
            st = widen_output(l, node, i);
    }
    return st;
}

/* ---- the pass ---- */

static int start(struct lowering *l)
{
    size_t n_nodes = enso_graph_n_nodes(l->g) + 1, n_values = enso_graph_n_values(l->g) + 1;

    l->places = enso_alloc_zero(n_nodes, sizeof *l->places);
    l->ends = enso_alloc_zero(n_nodes, sizeof *l->ends);
    l->writes_f32 = enso_alloc_zero(n_nodes, sizeof *l->writes_f32);
    l->facts = enso_alloc_zero(n_values, sizeof *l->facts);
    l->rounded = enso_alloc_zero(n_values, sizeof *l->rounded);
    if (l->places == NULL || l->ends == NULL || l->writes_f32 == NULL || l->facts == NULL ||
        l->rounded == NULL)
        return enso_error_no_memory(l->err, "a pass over a graph");
    for (size_t i = 0; i < enso_graph_n_inputs(l->g); i++)
        l->facts[enso_graph_input(l->g, i)] |= FACT_RAW;
    return enso_graph_sort(l->g, &l->order, &l->n_order, l->err);
}

static void finish(struct lowering *l)
{
    enso_free(l->order);
    enso_free(l->places);
    enso_free(l->ends);
    enso_free(l->writes_f32);
    enso_free(l->facts);
    enso_free(l->rounded);
}

int enso_pass_lower_precision(struct enso_graph *g, const struct enso_precision *to,
                              bool *ret_changed, struct enso_error *err)
{
    struct lowering l = {.g = g, .to = to, .err = err};
    bool dead;
    int st = start(&l);

    *ret_changed = false;
    for (size_t i = l.n_order; st == ENSO_OK && i-- > 0;)
        place_backwards(&l, l.order[i]);
    for (size_t i = 0; st == ENSO_OK && i < l.n_order; i++)
        place_forwards(&l, l.order[i]);
    for (size_t i = 0; st == ENSO_OK && i < l.n_order; i++) {
        if (l.places[l.order[i]] != PLACE_LOW)
            continue;
        st = lower_node(&l, l.order[i]);
        *ret_changed = true;
    }
    if (st == ENSO_OK)
        st = enso__pass_status(g, err);
    if (st == ENSO_OK && *ret_changed)
        st = enso_pass_remove_dead(g, &dead, err); /* casts and constants that became needless */
    if (st == ENSO_OK && *ret_changed)
        st = enso_graph_infer(g, err);
    finish(&l);
    return st;
}
