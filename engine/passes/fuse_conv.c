/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows a convolution moves into it: the residual sum, then the activation. (Factors and
 * summands per channel are fold_batch_norm's.)
 *
 *     Relu(Add(Conv(x, w, b), r))  ->  Conv(x, w, b, r) activation=RELU
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* A CONV_FUSED without activation that makes a value for one reader; -1 when there is none. */
static int open_conv(const struct enso_graph *g, int value)
{
    int node = enso__pass_producer(g, value, ENSO_OP_CONV_FUSED);

    if (node < 0 || enso_graph_sole_user(g, value) < 0 || enso_graph_node(g, node)->n_inputs < 4 ||
        enso_node_int(enso_graph_node(g, node), "activation", 0) != 0)
        return -1;
    return node;
}

static void take_sum(struct enso_graph *g, int node, bool *changed)
{
    const struct enso_node *n = enso_graph_node(g, node);

    for (size_t i = 0; i < 2; i++) {
        int x = n->inputs[i], other = n->inputs[1 - i], conv = open_conv(g, x);

        if (conv < 0 || enso__pass_input(g, conv, 3) >= 0 || other == x ||
            !enso__pass_same_shape(g, x, other) || enso__pass_is_constant(g, other))
            continue;
        enso_graph_set_input(g, conv, 3, other);
        enso__pass_bypass(g, node, x);
        *changed = true;
        return;
    }
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int conv;

    (void)err; /* what fails is kept by the graph */
    if (n->op == ENSO_OP_ADD) {
        take_sum(g, node, changed);
        return ENSO_OK;
    }
    if (enso_op_kind(n->op) != ENSO_OP_KIND_UNARY)
        return ENSO_OK;
    conv = open_conv(g, n->inputs[0]);
    if (conv >= 0 && enso__pass_set_activation(g, conv, node)) {
        enso__pass_bypass(g, node, n->inputs[0]);
        *changed = true;
    }
    return ENSO_OK;
}

int enso_pass_fuse_conv(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
