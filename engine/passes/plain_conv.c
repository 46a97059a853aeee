/* SPDX-License-Identifier: Apache-2.0
 *
 * A convolution whose window is one pixel that moves by one is a matrix product over all pixels,
 * and becomes one, so that whatever multiplies matrices fastest computes it:
 *
 *     CONV_FUSED(x [N, H, W, C], w [M, C, 1, 1], b, r)
 *     is LINEAR(x, w [M, C], b, r)
 *
 * For the end: passes that put something into a convolution look for convolutions.
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

static bool all_are(const struct enso_node *n, const char *name, int64_t wanted)
{
    size_t count;
    const int64_t *v = enso_node_ints(n, name, &count);

    for (size_t i = 0; i < count; i++)
        if (v[i] != wanted)
            return false;
    return true;
}

static bool is_plain(const struct enso_graph *g, int node)
{
    const struct enso_node *n = enso_graph_node(g, node);

    return n->op == ENSO_OP_CONV_FUSED && enso_node_int(n, "group", 1) == 1 &&
           enso__pass_dim(g, n->inputs[1], 2) == 1 && enso__pass_dim(g, n->inputs[1], 3) == 1 &&
           all_are(n, "strides", 1) && all_are(n, "pads", 0);
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    static const char *const of_convolutions[] = {"kernel_shape", "strides", "pads",
                                                  "dilations",    "group",   "auto_pad"};
    struct enso_shape shape;
    int w, y, linear;

    if (!is_plain(g, node))
        return ENSO_OK;
    shape = enso_graph_value(g, enso_graph_node(g, node)->inputs[1])->shape;
    shape.rank = 2;
    w = enso__pass_view_constant(g, enso_graph_node(g, node)->inputs[1], &shape, ENSO_DTYPE_F32);
    if (w == ENSO_UNSUPPORTED) /* pieces of several files */
        return ENSO_OK;
    if (w == ENSO_NO_MEMORY)
        return enso_error_no_memory(err, "a folded constant");
    y = w < 0 ? w : enso_graph_detach_output(g, node, 0);
    if (y < 0)
        return enso__pass_status(g, err);
    const struct enso_node *n = enso_graph_node(g, node);
    const int inputs[4] = {n->inputs[0], w, enso__pass_input(g, node, 2),
                           enso__pass_input(g, node, 3)};

    linear = enso_graph_add_node_to(g, ENSO_OP_LINEAR, n->name, inputs, 4, &y, 1);
    if (linear < 0 || enso_graph_copy_attributes(g, node, linear) != ENSO_OK)
        return enso__pass_status(g, err);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(of_convolutions); i++)
        enso_graph_remove_attribute(g, linear, of_convolutions[i]);
    enso_graph_remove_node(g, node);
    *changed = true;
    return enso_graph_infer_node(g, linear, err);
}

int enso_pass_plain_conv(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    bool dead;
    int st = enso__pass_walk(g, visit, ret_changed, err);

    return st == ENSO_OK && *ret_changed ? enso_pass_remove_dead(g, &dead, err) : st;
}
