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
#include <string.h>

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

    return n->op == ENSO_OP_CONV_FUSED && enso__pass_is_constant(g, n->inputs[1]) &&
           enso_node_int(n, "group", 1) == 1 && enso__pass_dim(g, n->inputs[1], 2) == 1 &&
           enso__pass_dim(g, n->inputs[1], 3) == 1 && all_are(n, "strides", 1) &&
           all_are(n, "pads", 0);
}

/* Of the convolution's attributes LINEAR knows the activation's, and others of the same names. */
static int copy_activation(struct enso_graph *g, int conv, int linear)
{
    int st = enso_graph_copy_attributes(g, conv, linear);

    for (size_t i = 0; st == ENSO_OK && i < enso_graph_node(g, linear)->n_attributes;) {
        const char *name = enso_graph_node(g, linear)->attributes[i].name;

        if (strncmp(name, "activation", strlen("activation")) == 0)
            i++;
        else
            enso_graph_remove_attribute(g, linear, name);
    }
    return st;
}

/* [M, C, 1, 1] as [M, C]. */
static int matrix_of(struct enso_graph *g, int weight)
{
    struct enso_shape shape = enso_graph_value(g, weight)->shape;

    shape.rank = 2;
    return enso__pass_view_constant(g, weight, &shape, enso_graph_value(g, weight)->dtype);
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    int weight = enso__pass_input(g, node, 1), w, y, linear;

    if (!is_plain(g, node))
        return ENSO_OK;
    w = matrix_of(g, weight);
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
    if (linear < 0 || copy_activation(g, node, linear) != ENSO_OK)
        return enso__pass_status(g, err);
    enso_graph_remove_node(g, node);
    if (enso_graph_n_uses(g, weight) == 0) /* at once: weights are what memory is made of */
        enso_graph_release_constant(g, weight);
    *changed = true;
    return enso_graph_infer_node(g, linear, err);
}

int enso_pass_plain_conv(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    bool dead;
    int st = enso__pass_walk(g, visit, ret_changed, err);

    return st == ENSO_OK && *ret_changed ? enso_pass_remove_dead(g, &dead, err) : st;
}
