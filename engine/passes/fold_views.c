/* SPDX-License-Identifier: Apache-2.0
 *
 * A view of a constant is a constant: the same bytes of the same file under other dims, nothing
 * read. A cast from what is stored as half or double to F32 likewise: reading converts.
 *
 *     Reshape(w [64, 25])  ->  w' [64, 5, 5]
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

static bool cast_is_free(const struct enso_graph *g, const struct enso_node *n)
{
    const struct enso_constant *c = enso_graph_value(g, n->inputs[0])->constant;
    int64_t to = enso_node_int(n, "to", -1);

    if (to == c->dtype)
        return true;
    return to == ENSO_DTYPE_F32 && c->n_parts == 0 && c->stored == c->dtype &&
           (c->dtype == ENSO_DTYPE_F16 || c->dtype == ENSO_DTYPE_BF16 ||
            c->dtype == ENSO_DTYPE_F64);
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    const struct enso_value *y;
    int value;

    if (!enso_op_is_view(n->op) && n->op != ENSO_OP_CAST)
        return ENSO_OK;
    if (!enso__pass_is_constant(g, n->inputs[0]) || (n->op == ENSO_OP_CAST && !cast_is_free(g, n)))
        return ENSO_OK;
    y = enso_graph_value(g, n->outputs[0]);
    if (enso__pass_same_shape(g, n->inputs[0], n->outputs[0]) &&
        y->dtype == enso_graph_value(g, n->inputs[0])->dtype) {
        value = n->inputs[0];
    } else {
        value = enso__pass_view_constant(g, n->inputs[0], &y->shape, y->dtype);
        if (value == ENSO_UNSUPPORTED)
            return ENSO_OK;
        if (value == ENSO_NO_MEMORY)
            return enso_error_no_memory(err, "a folded constant");
        if (value < 0)
            return enso__pass_status(g, err);
    }
    enso__pass_bypass(g, node, value);
    *changed = true;
    return ENSO_OK;
}

int enso_pass_fold_views(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
