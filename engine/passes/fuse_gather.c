/* SPDX-License-Identifier: Apache-2.0
 *
 * The first or the last token of each sequence, and the layer that reads nothing else: the pooler
 * of a BERT, a classifier's head. The layer picks its rows itself.
 *
 *     SEQUENCE_POOL(x, starts, mode="cls") -> LINEAR(w, b)
 *     is LINEAR(x, w, b, -, starts, rows="cls")
 *
 * For the end: passes that put something into a LINEAR make new ones without starts.
 */
#include <string.h>

#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* The pool whose rows a LINEAR alone reads; -1 when there is none, or all tokens count for it. */
static int find_pool(const struct enso_graph *g, int node)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int pool;
    const char *mode;

    if (n->op != ENSO_OP_LINEAR || enso__pass_input(g, node, 4) >= 0 ||
        !enso__pass_is_constant(g, n->inputs[1]))
        return -1;
    pool = enso__pass_producer(g, n->inputs[0], ENSO_OP_SEQUENCE_POOL);
    if (pool < 0 || enso_graph_sole_user(g, n->inputs[0]) != node ||
        enso_graph_value(g, enso__pass_input(g, pool, 0))->dtype !=
            enso_graph_value(g, n->inputs[0])->dtype)
        return -1;
    mode = enso_node_string(enso_graph_node(g, pool), "mode", "mean");
    return strcmp(mode, "cls") == 0 || strcmp(mode, "last") == 0 ? pool : -1;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int pool = find_pool(g, node), y, linear;

    if (pool < 0)
        return ENSO_OK;
    const int inputs[5] = {enso__pass_input(g, pool, 0), n->inputs[1], enso__pass_input(g, node, 2),
                           enso__pass_input(g, node, 3), enso__pass_input(g, pool, 1)};
    const char *mode = enso_node_string(enso_graph_node(g, pool), "mode", "cls");

    y = enso_graph_detach_output(g, node, 0);
    if (y < 0)
        return enso__pass_status(g, err);
    linear = enso_graph_add_node_to(g, ENSO_OP_LINEAR, n->name, inputs, 5, &y, 1);
    if (linear < 0 || enso_graph_copy_attributes(g, node, linear) != ENSO_OK ||
        enso_graph_set_string(g, linear, "rows", mode) != ENSO_OK)
        return enso__pass_status(g, err);
    enso_graph_remove_node(g, node);
    enso_graph_remove_node(g, pool);
    *changed = true;
    return enso_graph_infer_node(g, linear, err);
}

int enso_pass_fuse_gather(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
