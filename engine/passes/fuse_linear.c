/* SPDX-License-Identifier: Apache-2.0
 *
 * Products with a constant weight become LINEAR, which has room for bias, residual and activation;
 * what follows moves in.
 *
 *     MatMul(x, w)                     ->  Linear(x, w) transposed=0
 *     MatMul(x, Transpose(w))          ->  Linear(x, w) transposed=1, the weight untouched
 *     Gemm(x, w, b) transB=1           ->  Linear(x, w, b) transposed=1
 *     Relu(Add(Linear(x, w), b))       ->  Linear(x, w, b) activation=RELU
 *     Add(Linear(x, w, b), r)          ->  Linear(x, w, b, r)
 *
 * A LINEAR made here always has four input slots.
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

static bool is_f32(const struct enso_graph *g, int value)
{
    return enso_graph_value(g, value)->dtype == ENSO_DTYPE_F32;
}

/* The constant matrix behind a value, looking through one transpose; ENSO_NO_VALUE if none. */
static int weight_of(const struct enso_graph *g, int value, bool *transposed)
{
    int node = enso__pass_producer(g, value, ENSO_OP_TRANSPOSE);

    if (node >= 0 && enso_graph_value(g, value)->shape.rank == 2 &&
        enso__pass_is_constant(g, enso__pass_input(g, node, 0))) {
        size_t n;
        const int64_t *perm = enso_node_ints(enso_graph_node(g, node), "perm", &n);

        if (perm != NULL && perm[0] == 1) {
            *transposed = !*transposed;
            value = enso__pass_input(g, node, 0);
        }
    }
    if (!enso__pass_is_constant(g, value) || enso_graph_value(g, value)->shape.rank != 2)
        return ENSO_NO_VALUE;
    return value;
}

static int make(struct enso_graph *g, int node, const int inputs[4], bool transposed, bool *changed,
                struct enso_error *err)
{
    int linear = enso__pass_replace(g, node, ENSO_OP_LINEAR, inputs, 4);

    if (linear < 0 || enso_graph_set_int(g, linear, "transposed", transposed) != ENSO_OK)
        return enso__pass_status(g, err);
    *changed = true;
    return ENSO_OK;
}

static int from_matmul(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    bool transposed = false;
    int w = weight_of(g, n->inputs[1], &transposed);

    if (w == ENSO_NO_VALUE || !is_f32(g, w) || enso__pass_is_constant(g, n->inputs[0]) ||
        enso_graph_value(g, n->inputs[0])->shape.rank < 2)
        return ENSO_OK;
    return make(g, node, (int[]){n->inputs[0], w, ENSO_NO_VALUE, ENSO_NO_VALUE}, transposed,
                changed, err);
}

static int from_gemm(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    bool transposed = enso_node_int(n, "transB", 0) != 0;
    int x = n->inputs[0], y = n->outputs[0], w = weight_of(g, n->inputs[1], &transposed);
    int c = enso__pass_input(g, node, 2), bias = ENSO_NO_VALUE, residual = ENSO_NO_VALUE;

    if (w == ENSO_NO_VALUE || !is_f32(g, w) || enso__pass_is_constant(g, x) ||
        enso_node_int(n, "transA", 0) != 0 || enso_node_float(n, "alpha", 1) != 1.0F)
        return ENSO_OK;
    if (c >= 0) {
        int64_t columns = enso__pass_dim(g, y, 1);

        if (enso_node_float(n, "beta", 1) != 1.0F)
            return ENSO_OK;
        if (enso__pass_is_per_channel(g, c, 2, 1, columns)) {
            bias = enso__pass_channel_vector(g, c, columns, err);
            if (bias < 0)
                return bias;
        } else if (enso__pass_same_shape(g, c, y)) {
            residual = c;
        } else {
            return ENSO_OK;
        }
    }
    return make(g, node, (int[]){x, w, bias, residual}, transposed, changed, err);
}

/* A LINEAR with room that makes a value for one reader; -1 when there is none. */
static int open_linear(const struct enso_graph *g, int value)
{
    int node = enso__pass_producer(g, value, ENSO_OP_LINEAR);

    if (node < 0 || enso_graph_sole_user(g, value) < 0 || enso_graph_node(g, node)->n_inputs < 4 ||
        enso_node_int(enso_graph_node(g, node), "activation", 0) != 0)
        return -1;
    return node;
}

static int take_sum(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);

    for (size_t i = 0; i < 2; i++) {
        int x = n->inputs[i], other = n->inputs[1 - i], linear = open_linear(g, x);
        size_t rank = enso_graph_value(g, x)->shape.rank;

        if (linear < 0 || !enso__pass_same_shape(g, x, n->outputs[0]))
            continue;
        if (enso__pass_input(g, linear, 2) < 0 &&
            enso__pass_is_per_channel(g, other, rank, rank - 1, enso__pass_dim(g, x, -1))) {
            int bias = enso__pass_channel_vector(g, other, enso__pass_dim(g, x, -1), err);

            if (bias < 0)
                return bias;
            enso_graph_set_input(g, linear, 2, bias);
        } else if (enso__pass_input(g, linear, 3) < 0 && enso__pass_same_shape(g, x, other) &&
                   other != x && !enso__pass_is_constant(g, other)) {
            enso_graph_set_input(g, linear, 3, other);
        } else {
            continue;
        }
        enso__pass_bypass(g, node, x);
        *changed = true;
        return ENSO_OK;
    }
    return ENSO_OK;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int linear;

    switch (n->op) {
    case ENSO_OP_MATMUL:
        return from_matmul(g, node, changed, err);
    case ENSO_OP_GEMM:
        return from_gemm(g, node, changed, err);
    case ENSO_OP_ADD:
        return take_sum(g, node, changed, err);
    default:
        if (enso_op_kind(n->op) != ENSO_OP_KIND_UNARY)
            return ENSO_OK;
        linear = open_linear(g, n->inputs[0]);
        if (linear >= 0 && enso__pass_set_activation(g, linear, node)) {
            enso__pass_bypass(g, node, n->inputs[0]);
            *changed = true;
        }
        return ENSO_OK;
    }
}

int enso_pass_fuse_linear(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
