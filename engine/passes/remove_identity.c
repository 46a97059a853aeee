/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes that do nothing, and views and transposes in a row.
 *
 *     Relu(Identity(x))                            ->  Relu(x)
 *     Transpose(Transpose(x, p), inverse of p)     ->  x
 *     Reshape(Reshape(x, s), t)                    ->  Reshape(x, t)
 *     Mul(x, 1)                                    ->  x
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* Whether every element keeps its place, and no conversion happens. */
static bool changes_nothing(const struct enso_graph *g, int node)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int64_t ints[2 * ENSO_MAX_RANK];
    size_t k = 0;

    switch (n->op) {
    case ENSO_OP_IDENTITY:
    case ENSO_OP_RESHAPE:
    case ENSO_OP_FLATTEN:
    case ENSO_OP_SQUEEZE:
    case ENSO_OP_UNSQUEEZE:
    case ENSO_OP_EXPAND:
        return true; /* when the shape is the same, as the caller checks */
    case ENSO_OP_CAST:
        return enso_graph_value(g, n->inputs[0])->dtype ==
               enso_graph_value(g, n->outputs[0])->dtype;
    case ENSO_OP_SUM:
    case ENSO_OP_MEAN:
    case ENSO_OP_MAX:
    case ENSO_OP_MIN:
    case ENSO_OP_CONCAT:
        return n->n_inputs == 1;
    case ENSO_OP_SPLIT:
        return n->n_outputs == 1;
    case ENSO_OP_CLIP:
        return enso__pass_input(g, node, 1) < 0 && enso__pass_input(g, node, 2) < 0;
    case ENSO_OP_PAD:
        if (enso_graph_read_ints(g, n->inputs[1], ints, ENSO_ARRAY_SIZE(ints), &k, NULL) != ENSO_OK)
            return false;
        while (k > 0 && ints[k - 1] == 0)
            k--;
        return k == 0;
    case ENSO_OP_SLICE:
        if (enso__pass_input(g, node, 4) < 0)
            return true;
        if (enso_graph_read_ints(g, n->inputs[4], ints, ENSO_MAX_RANK, &k, NULL) != ENSO_OK)
            return false;
        while (k > 0 && ints[k - 1] > 0)
            k--;
        return k == 0;
    case ENSO_OP_TRANSPOSE: {
        const int64_t *perm = enso_node_ints(n, "perm", &k);

        for (size_t i = 0; i < k; i++)
            if (perm[i] != (int64_t)i)
                return false;
        return perm != NULL;
    }
    default:
        return false;
    }
}

/* x + 0, x - 0, x * 1, x / 1 on floats, where the constant does not widen x; gives x. */
static int neutral(const struct enso_graph *g, int node)
{
    const struct enso_node *n = enso_graph_node(g, node);
    float wanted = n->op == ENSO_OP_MUL || n->op == ENSO_OP_DIV, v;
    int y = n->outputs[0];

    if (n->op != ENSO_OP_ADD && n->op != ENSO_OP_SUB && n->op != ENSO_OP_MUL &&
        n->op != ENSO_OP_DIV)
        return ENSO_NO_VALUE;
    if (enso__pass_scalar(g, n->inputs[1], &v) && v == wanted &&
        enso__pass_same_shape(g, n->inputs[0], y))
        return n->inputs[0];
    if ((n->op == ENSO_OP_ADD || n->op == ENSO_OP_MUL) && enso__pass_scalar(g, n->inputs[0], &v) &&
        v == wanted && enso__pass_same_shape(g, n->inputs[1], y))
        return n->inputs[1];
    return ENSO_NO_VALUE;
}

/* A transpose of a transpose looks through the first one. */
static int join_transposes(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int before = enso__pass_producer(g, n->inputs[0], ENSO_OP_TRANSPOSE);
    int64_t joint[ENSO_MAX_RANK];
    size_t rank, rank_before;
    const int64_t *perm = enso_node_ints(n, "perm", &rank), *first;

    if (before < 0)
        return ENSO_OK;
    first = enso_node_ints(enso_graph_node(g, before), "perm", &rank_before);
    if (perm == NULL || first == NULL || rank != rank_before)
        return ENSO_OK; /* not inferred yet */
    for (size_t i = 0; i < rank; i++)
        joint[i] = first[perm[i]];
    enso_graph_set_input(g, node, 0, enso__pass_input(g, before, 0));
    if (enso_graph_set_ints(g, node, "perm", joint, rank) != ENSO_OK)
        return enso__pass_status(g, err);
    *changed = true;
    return ENSO_OK;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int x, before, st = ENSO_OK;

    if (n->op == ENSO_OP_TRANSPOSE)
        st = join_transposes(g, node, changed, err);
    if (st != ENSO_OK)
        return st;
    if (n->op == ENSO_OP_RESHAPE && enso__pass_input(g, node, 1) < 0) {
        before = enso__pass_producer(g, n->inputs[0], ENSO_OP_RESHAPE);
        if (before >= 0) {
            enso_graph_set_input(g, node, 0, enso__pass_input(g, before, 0));
            *changed = true;
        }
    }
    x = changes_nothing(g, node) && enso__pass_same_shape(g, n->inputs[0], n->outputs[0])
            ? n->inputs[0]
            : neutral(g, node);
    if (x == ENSO_NO_VALUE)
        return ENSO_OK;
    enso__pass_bypass(g, node, x);
    *changed = true;
    return ENSO_OK;
}

int enso_pass_remove_identity(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}

/* ---- transposes that are views ---- */

static int visit_transpose(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    const struct enso_shape *x, *y;
    int64_t factors[ENSO_MAX_RANK], extents[ENSO_MAX_RANK], last = -1;
    size_t rank;
    const int64_t *perm = enso_node_ints(n, "perm", &rank);

    if (n->op != ENSO_OP_TRANSPOSE || perm == NULL)
        return ENSO_OK;
    x = &enso_graph_value(g, n->inputs[0])->shape;
    y = &enso_graph_value(g, n->outputs[0])->shape;
    for (size_t i = 0; i < rank; i++) {
        factors[i] = y->dims[i].factor;
        extents[i] = y->dims[i].extent;
        if (enso_dim_equal(x->dims[perm[i]], enso_dim_fixed(1)))
            continue;
        if (perm[i] < last)
            return ENSO_OK; /* two dimensions that matter change places */
        last = perm[i];
    }
    enso_graph_remove_attribute(g, node, "perm");
    if (enso_graph_set_ints(g, node, "shape_factors", factors, rank) != ENSO_OK ||
        enso_graph_set_ints(g, node, "shape_extents", extents, rank) != ENSO_OK)
        return enso__pass_status(g, err);
    enso_graph_set_op(g, node, ENSO_OP_RESHAPE);
    *changed = true;
    return ENSO_OK;
}

int enso_pass_view_transposes(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit_transpose, ret_changed, err);
}
