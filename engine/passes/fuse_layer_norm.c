/* SPDX-License-Identifier: Apache-2.0
 *
 * Layer and RMS normalisation over the last axis from their parts, as PyTorch exports them:
 *
 *     d = x - mean(x);  d / √(mean(d²) + ε) · γ + β     ->  LayerNorm(x, γ, β)
 *     x / √(mean(x²) + ε) · γ                           ->  RMSNorm(x, γ)
 *     LayerNorm(a + b, γ, β), a + b read by nobody else ->  LayerNorm(a, γ, β, b)
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* If value is the mean of something over its last axis (kept as 1), that something. */
static int mean_of(const struct enso_graph *g, int value)
{
    int node = enso__pass_producer(g, value, ENSO_OP_REDUCE_MEAN);
    int64_t axes[ENSO_MAX_RANK];
    size_t n = 0, rank;

    if (node < 0 || enso_node_int(enso_graph_node(g, node), "keepdims", 1) == 0)
        return ENSO_NO_VALUE;
    rank = enso_graph_value(g, enso__pass_input(g, node, 0))->shape.rank;
    if (enso_graph_node_axes(g, node, rank, axes, &n, NULL) != ENSO_OK || n != 1 ||
        axes[0] != (int64_t)rank - 1)
        return ENSO_NO_VALUE;
    return enso__pass_input(g, node, 0);
}

/* If value is a square, what is squared. */
static int square_of(const struct enso_graph *g, int value)
{
    int node = enso__pass_producer(g, value, ENSO_OP_POW);

    if (node >= 0 && enso__pass_is_near(g, enso__pass_input(g, node, 1), 2))
        return enso__pass_input(g, node, 0);
    node = enso__pass_producer(g, value, ENSO_OP_MUL);
    if (node >= 0 && enso__pass_input(g, node, 0) == enso__pass_input(g, node, 1))
        return enso__pass_input(g, node, 0);
    return ENSO_NO_VALUE;
}

/* If value is x - mean(x), x. */
static int centred(const struct enso_graph *g, int value)
{
    int node = enso__pass_producer(g, value, ENSO_OP_SUB);

    if (node < 0 || mean_of(g, enso__pass_input(g, node, 1)) != enso__pass_input(g, node, 0))
        return ENSO_NO_VALUE;
    return enso__pass_input(g, node, 0);
}

/* If value is √(mean(d²) + ε), d and ε. */
static int root_mean_square(const struct enso_graph *g, int value, float *ret_epsilon)
{
    int root = enso__pass_producer(g, value, ENSO_OP_SQRT);
    int plus = root < 0 ? -1 : enso__pass_producer(g, enso__pass_input(g, root, 0), ENSO_OP_ADD);

    for (size_t i = 0; plus >= 0 && i < 2; i++) {
        int mean = mean_of(g, enso__pass_input(g, plus, i));

        if (mean != ENSO_NO_VALUE &&
            enso__pass_scalar(g, enso__pass_input(g, plus, 1 - i), ret_epsilon))
            return square_of(g, mean);
    }
    return ENSO_NO_VALUE;
}

/* The dividend d and ε of a node that computes d / √(mean(d²) + ε), by Div or by Mul with
 * Reciprocal; *ret_squared is what was squared. */
static int quotient(const struct enso_graph *g, int node, int *ret_squared, float *ret_epsilon)
{
    const struct enso_node *n = enso_graph_node(g, node);

    if (n->op == ENSO_OP_DIV) {
        *ret_squared = root_mean_square(g, n->inputs[1], ret_epsilon);
        return *ret_squared == ENSO_NO_VALUE ? ENSO_NO_VALUE : n->inputs[0];
    }
    for (size_t i = 0; i < 2; i++) {
        int inverse = enso__pass_producer(g, n->inputs[i], ENSO_OP_RECIPROCAL);

        if (inverse < 0)
            continue;
        *ret_squared = root_mean_square(g, enso__pass_input(g, inverse, 0), ret_epsilon);
        if (*ret_squared != ENSO_NO_VALUE)
            return n->inputs[1 - i];
    }
    return ENSO_NO_VALUE;
}

/* The constant [C] that the only reader of value combines with it by op; *ret_node is that reader.
 */
static int vector_of(const struct enso_graph *g, int value, enum enso_op op, int *ret_node)
{
    int64_t channels = enso__pass_dim(g, value, -1);
    int other;

    *ret_node = enso_graph_sole_user(g, value);
    if (*ret_node < 0 || enso_graph_node(g, *ret_node)->op != op || channels < 0)
        return ENSO_NO_VALUE;
    other = enso__pass_other_input(g, *ret_node, value);
    if (!enso__pass_is_constant(g, other) || enso_graph_value(g, other)->shape.rank != 1 ||
        enso__pass_dim(g, other, 0) != channels)
        return ENSO_NO_VALUE;
    return other;
}

static int fuse(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    float epsilon = 0;
    int squared, d = quotient(g, node, &squared, &epsilon), x, x2, gamma, beta, scale, shift, norm;

    if (d == ENSO_NO_VALUE || enso_graph_value(g, d)->dtype != ENSO_DTYPE_F32)
        return ENSO_OK;
    gamma = vector_of(g, enso__pass_output(g, node), ENSO_OP_MUL, &scale);
    if (gamma == ENSO_NO_VALUE)
        return ENSO_OK;
    x = centred(g, d);
    x2 = centred(g, squared);
    if (x != ENSO_NO_VALUE && x == x2) {
        beta = vector_of(g, enso__pass_output(g, scale), ENSO_OP_ADD, &shift);
        if (beta == ENSO_NO_VALUE)
            return ENSO_OK;
        norm = enso__pass_replace(g, shift, ENSO_OP_LAYER_NORM,
                                  (int[]){x, gamma, beta, ENSO_NO_VALUE}, 4);
    } else if (d == squared) {
        norm = enso__pass_replace(g, scale, ENSO_OP_RMS_NORM, (int[]){d, gamma, ENSO_NO_VALUE}, 3);
    } else {
        return ENSO_OK;
    }
    if (norm < 0 || enso_graph_set_float(g, norm, "epsilon", epsilon) != ENSO_OK)
        return enso__pass_status(g, err);
    *changed = true;
    return ENSO_OK;
}

/* The sum before a norm. */
static void take_residual(struct enso_graph *g, int node, bool *changed)
{
    const struct enso_node *n = enso_graph_node(g, node);
    size_t slot = n->op == ENSO_OP_LAYER_NORM ? 3 : 2;
    int x = n->inputs[0], sum = enso__pass_producer(g, x, ENSO_OP_ADD), a, b;

    if (sum < 0 || n->n_inputs <= slot || n->inputs[slot] >= 0 || enso_graph_sole_user(g, x) < 0)
        return;
    a = enso__pass_input(g, sum, 0);
    b = enso__pass_input(g, sum, 1);
    if (!enso__pass_same_shape(g, a, x) || !enso__pass_same_shape(g, b, x) ||
        enso__pass_is_constant(g, a) || enso__pass_is_constant(g, b))
        return;
    enso_graph_set_input(g, node, 0, a);
    enso_graph_set_input(g, node, slot, b);
    enso_graph_remove_node(g, sum);
    *changed = true;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    switch (enso_graph_node(g, node)->op) {
    case ENSO_OP_DIV:
    case ENSO_OP_MUL:
        return fuse(g, node, changed, err);
    case ENSO_OP_LAYER_NORM:
    case ENSO_OP_RMS_NORM:
        take_residual(g, node, changed);
        return ENSO_OK;
    default:
        return ENSO_OK;
    }
}

int enso_pass_fuse_layer_norm(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
