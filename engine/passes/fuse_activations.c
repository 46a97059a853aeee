/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations that exporters write out in parts:
 *
 *     x · 0.5 · (1 + erf(x / √2))                               ->  Gelu(x)
 *     x · 0.5 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))          ->  Gelu(x) approximate="tanh"
 *     x · sigmoid(x)                                            ->  Silu(x)
 *     x · tanh(softplus(x))                                     ->  Mish(x)
 *     x · hard_sigmoid(x, 1/6, 1/2), x · clip(x + 3, 0, 6) / 6  ->  HardSwish(x)
 *
 * The search begins at the one node that gives a form away and walks to the last; factors may stand
 * in any order. What lies between may have other readers, who keep it alive.
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* The node that reads the output of `node` and nobody else does, if it has that operator; or -1. */
static int sole_user_of(const struct enso_graph *g, int node, enum enso_op op)
{
    int user = enso_graph_sole_user(g, enso__pass_output(g, node));

    return user >= 0 && enso_graph_node(g, user)->op == op ? user : -1;
}

/* value = a · c for a scalar constant near c (or a / (1/c)): gives a, else ENSO_NO_VALUE. */
static int scaled(const struct enso_graph *g, int value, float c)
{
    int node = enso__pass_producer(g, value, ENSO_OP_MUL);

    if (node >= 0)
        return enso__pass_other_than(g, node, c);
    node = enso__pass_producer(g, value, ENSO_OP_DIV);
    if (node >= 0 && enso__pass_is_near(g, enso__pass_input(g, node, 1), 1 / c))
        return enso__pass_input(g, node, 0);
    return ENSO_NO_VALUE;
}

/* Whether value is x³: Pow(x, 3) or x · x · x. */
static bool is_cube(const struct enso_graph *g, int value, int x)
{
    int node = enso__pass_producer(g, value, ENSO_OP_POW), square;

    if (node >= 0)
        return enso__pass_input(g, node, 0) == x &&
               enso__pass_is_near(g, enso__pass_input(g, node, 1), 3);
    node = enso__pass_producer(g, value, ENSO_OP_MUL);
    if (node < 0)
        return false;
    square = enso__pass_other_input(g, node, x);
    node = enso__pass_producer(g, square, ENSO_OP_MUL);
    if (node >= 0)
        return enso__pass_input(g, node, 0) == x && enso__pass_input(g, node, 1) == x;
    node = enso__pass_producer(g, square, ENSO_OP_POW);
    return node >= 0 && enso__pass_input(g, node, 0) == x &&
           enso__pass_is_near(g, enso__pass_input(g, node, 1), 2);
}

/* The node that finishes x · c · f for f the output of `node`, c a factor; -1 when there is none.
 * Forms: (x · f) · c, (f · c) · x, f · (x · c). */
static int product(const struct enso_graph *g, int node, int x, float c)
{
    int first = sole_user_of(g, node, ENSO_OP_MUL), second, other;

    if (first < 0) {
        first = sole_user_of(g, node, ENSO_OP_DIV); /* (f / (1/c)) · x */
        if (first < 0 || scaled(g, enso__pass_output(g, first), c) != enso__pass_output(g, node))
            return -1;
    } else {
        other = enso__pass_other_input(g, first, enso__pass_output(g, node));
        if (other != ENSO_NO_VALUE && scaled(g, other, c) == x)
            return first;
        if (other == x) {
            second = enso_graph_sole_user(g, enso__pass_output(g, first));
            return second >= 0 &&
                           scaled(g, enso__pass_output(g, second), c) == enso__pass_output(g, first)
                       ? second
                       : -1;
        }
        if (enso__pass_other_than(g, first, c) != enso__pass_output(g, node))
            return -1;
    }
    second = sole_user_of(g, first, ENSO_OP_MUL);
    return second >= 0 && enso__pass_other_input(g, second, enso__pass_output(g, first)) == x
               ? second
               : -1;
}

static int replace(struct enso_graph *g, int last, enum enso_op op, int x, bool *changed,
                   struct enso_error *err)
{
    int node;

    if (!enso__pass_same_shape(g, x, enso__pass_output(g, last)))
        return ENSO_OK;
    node = enso__pass_replace(g, last, op, &x, 1);
    *changed = true;
    return node < 0 ? enso__pass_status(g, err) : ENSO_OK;
}

/* From erf or tanh on: + 1, times x, times 0.5. */
static int finish_gelu(struct enso_graph *g, int node, int x, bool *changed, struct enso_error *err)
{
    bool is_tanh = enso_graph_node(g, node)->op == ENSO_OP_TANH;
    int plus = sole_user_of(g, node, ENSO_OP_ADD), last, y, st;

    if (plus < 0 || enso__pass_other_than(g, plus, 1) != enso__pass_output(g, node))
        return ENSO_OK;
    last = product(g, plus, x, 0.5F);
    if (last < 0)
        return ENSO_OK;
    y = enso__pass_output(g, last);
    st = replace(g, last, ENSO_OP_GELU, x, changed, err);
    if (st == ENSO_OK && is_tanh && enso__pass_producer(g, y, ENSO_OP_GELU) >= 0)
        st = enso_graph_set_string(g, enso__pass_producer(g, y, ENSO_OP_GELU), "approximate",
                                   "tanh");
    return st;
}

static int from_erf(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    int x = scaled(g, enso__pass_input(g, node, 0), 0.70710678F);

    return x == ENSO_NO_VALUE ? ENSO_OK : finish_gelu(g, node, x, changed, err);
}

static int from_tanh(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    int u = enso__pass_input(g, node, 0), x, sum, softplus, user;

    softplus = enso__pass_producer(g, u, ENSO_OP_SOFTPLUS);
    if (softplus >= 0) {
        x = enso__pass_input(g, softplus, 0);
        user = sole_user_of(g, node, ENSO_OP_MUL);
        if (user >= 0 && enso__pass_other_input(g, user, enso__pass_output(g, node)) == x)
            return replace(g, user, ENSO_OP_MISH, x, changed, err);
        return ENSO_OK;
    }
    sum = enso__pass_producer(g, scaled(g, u, 0.79788456F), ENSO_OP_ADD);
    for (size_t i = 0; sum >= 0 && i < 2; i++) {
        int cube = scaled(g, enso__pass_input(g, sum, 1 - i), 0.044715F);

        x = enso__pass_input(g, sum, i);
        if (cube != ENSO_NO_VALUE && is_cube(g, cube, x))
            return finish_gelu(g, node, x, changed, err);
    }
    return ENSO_OK;
}

/* sigmoid(x) or hard_sigmoid(x) times x. */
static int from_gate(struct enso_graph *g, int node, enum enso_op op, bool *changed,
                     struct enso_error *err)
{
    int x = enso__pass_input(g, node, 0), user = sole_user_of(g, node, ENSO_OP_MUL);

    if (user < 0 || enso__pass_other_input(g, user, enso__pass_output(g, node)) != x)
        return ENSO_OK;
    return replace(g, user, op, x, changed, err);
}

static int from_clip(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    int plus = enso__pass_producer(g, enso__pass_input(g, node, 0), ENSO_OP_ADD), x, last;
    float low;

    if (plus < 0 || !enso__pass_scalar(g, enso__pass_input(g, node, 1), &low) || low != 0 ||
        !enso__pass_is_near(g, enso__pass_input(g, node, 2), 6))
        return ENSO_OK;
    x = enso__pass_other_than(g, plus, 3);
    last = x == ENSO_NO_VALUE ? -1 : product(g, node, x, 1.0F / 6);
    return last < 0 ? ENSO_OK : replace(g, last, ENSO_OP_HARD_SWISH, x, changed, err);
}

static bool is_hard_swish_gate(const struct enso_node *n)
{
    float alpha = enso_node_float(n, "alpha", 0.2F), beta = enso_node_float(n, "beta", 0.5F);

    return alpha > 0.16665F && alpha < 0.16668F && beta == 0.5F;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);

    switch (n->op) {
    case ENSO_OP_ERF:
        return from_erf(g, node, changed, err);
    case ENSO_OP_TANH:
        return from_tanh(g, node, changed, err);
    case ENSO_OP_SIGMOID:
        return from_gate(g, node, ENSO_OP_SILU, changed, err);
    case ENSO_OP_HARD_SIGMOID:
        return is_hard_swish_gate(n) ? from_gate(g, node, ENSO_OP_HARD_SWISH, changed, err)
                                     : ENSO_OK;
    case ENSO_OP_CLIP:
        return from_clip(g, node, changed, err);
    default:
        return ENSO_OK;
    }
}

int enso_pass_fuse_activations(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
