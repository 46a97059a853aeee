/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes that inference knows need no computing at run time: Reshape, Expand and ConstantOfShape
 * get theirs as attributes and let go of the input, and the other views become Reshape, so that
 * later passes meet one kind of view only. Resize and TopK have theirs as attributes from
 * inference.
 *
 *     Reshape(x, Concat(Gather(Shape(x), 0), -1))  ->  Reshape(x) shape_factors shape_extents
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

static int write_shape(struct enso_graph *g, int node)
{
    const struct enso_shape *s = &enso_graph_value(g, enso__pass_output(g, node))->shape;
    int64_t factors[ENSO_MAX_RANK], extents[ENSO_MAX_RANK];
    int st;

    for (size_t i = 0; i < s->rank; i++) {
        factors[i] = s->dims[i].factor;
        extents[i] = s->dims[i].extent;
    }
    st = enso_graph_set_ints(g, node, "shape_factors", factors, s->rank);
    return st == ENSO_OK ? enso_graph_set_ints(g, node, "shape_extents", extents, s->rank) : st;
}

static int let_go(struct enso_graph *g, int node, bool *changed)
{
    for (size_t i = 1; i < enso_graph_node(g, node)->n_inputs; i++)
        if (enso__pass_input(g, node, i) >= 0) {
            enso_graph_set_input(g, node, i, ENSO_NO_VALUE);
            *changed = true;
        }
    return ENSO_OK;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    size_t shape_input = n->op == ENSO_OP_CONSTANT_OF_SHAPE ? 0 : 1;

    switch (n->op) {
    case ENSO_OP_RESIZE:
    case ENSO_OP_TOP_K:
        return let_go(g, node, changed);
    case ENSO_OP_FLATTEN:
    case ENSO_OP_SQUEEZE:
    case ENSO_OP_UNSQUEEZE:
    case ENSO_OP_RESHAPE:
    case ENSO_OP_EXPAND:
    case ENSO_OP_CONSTANT_OF_SHAPE:
        break;
    default:
        return ENSO_OK;
    }
    if (enso_node_has(n, "shape_factors") && enso__pass_input(g, node, shape_input) < 0)
        return ENSO_OK;
    if (write_shape(g, node) != ENSO_OK)
        return enso__pass_status(g, err);
    if (shape_input < n->n_inputs)
        enso_graph_set_input(g, node, shape_input, ENSO_NO_VALUE);
    if (enso_op_is_view(n->op))
        enso_graph_set_op(g, node, ENSO_OP_RESHAPE);
    *changed = true;
    return ENSO_OK;
}

int enso_pass_detach_shapes(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
