/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry of pictures. A loader that knows how they are prepared puts PIXELS behind the input;
 * what the layout pass leaves there goes into it, since it moves every pixel anyway:
 *
 *     PIXELS(x [N, C, H, W]) -> Transpose perm=[0, 2, 3, 1]
 *     is PIXELS(x) to_nhwc=1
 */
#include "base/memory.h"
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

int enso_graph_read_pixels(struct enso_graph *g, int input, const float *table, size_t n_channels,
                           bool nhwc, struct enso_error *err)
{
    float *data = enso_memdup(table, n_channels * 256 * sizeof *table);
    int constant, node;

    if (data == NULL)
        return enso_error_no_memory(err, "the values of pixels");
    constant = enso__pass_add_f32(g, "pixels", data, (int64_t[]){(int64_t)n_channels, 256}, 2);
    node = enso_graph_add_node(g, ENSO_OP_PIXELS, "pixels", (int[]){input, constant}, 2, 1);
    if (node < 0 || enso_graph_set_int(g, node, "nhwc", nhwc) != ENSO_OK)
        return enso__pass_status(g, err);
    enso_graph_replace_uses(g, input, enso__pass_output(g, node));
    enso_graph_set_input(g, node, 0, input);
    return enso__pass_status(g, err);
}

static bool makes_nhwc(const struct enso_node *transpose)
{
    static const int64_t to_nhwc[] = {0, 2, 3, 1};
    size_t n;
    const int64_t *perm = enso_node_ints(transpose, "perm", &n);
    bool same = perm != NULL && n == ENSO_ARRAY_SIZE(to_nhwc);

    for (size_t i = 0; same && i < n; i++)
        same = perm[i] == to_nhwc[i];
    return same;
}

#define MAX_READERS 16

/* The nodes that read a value, if all of them turn it over; else, or with too many, 0. */
static size_t find_transposes(const struct enso_graph *g, int value, int nodes[MAX_READERS])
{
    size_t n = 0;

    if (enso_graph_n_uses(g, value) > MAX_READERS)
        return 0;
    for (int user; (user = enso_graph_user(g, value, n)) >= 0; nodes[n++] = user)
        if (enso_graph_node(g, user)->op != ENSO_OP_TRANSPOSE ||
            !makes_nhwc(enso_graph_node(g, user)))
            return 0;
    return n == enso_graph_n_uses(g, value) ? n : 0; /* else it is an output, too */
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int transposes[MAX_READERS];
    size_t n_transposes = 0;

    if (n->op == ENSO_OP_PIXELS && enso_node_int(n, "to_nhwc", enso_node_int(n, "nhwc", 0)) == 0)
        n_transposes = find_transposes(g, n->outputs[0], transposes);
    if (n_transposes == 0)
        return ENSO_OK;
    if (enso_graph_set_int(g, node, "to_nhwc", 1) != ENSO_OK)
        return enso__pass_status(g, err);
    for (size_t i = 0; i < n_transposes; i++)
        enso__pass_bypass(g, transposes[i], enso__pass_output(g, node));
    *changed = true;
    return enso_graph_infer_node(g, node, err);
}

int enso_pass_fuse_pixels(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
