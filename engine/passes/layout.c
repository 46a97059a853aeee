/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout for images. Convolutions and pools work on [N, H, W, C] here, models come as
 * [N, C, H, W]. First every convolution, pool and LRN is turned over, between two transposes:
 *
 *     Conv(x, w, b)  ->  T⁻¹(ensod.Conv(T(x), w, b))          T: NCHW to NHWC
 *
 * Then transposes sink: an operator that reads T⁻¹(x) reads x, and T⁻¹ stands behind it, as long as
 * all that it reads can be turned (other T⁻¹(y); constants; values whose turning moves nothing but
 * dimensions of one). Where a T⁻¹ meets the next T both vanish. What is left: one transpose at the
 * image's entry (often a view: three channels are moved once) and one before a Flatten, where the
 * order of channels is the model's own.
 *
 * Convolutions and pools over one dimension get a height of one first.
 */
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

static const int64_t to_nhwc[] = {0, 2, 3, 1}, to_nchw[] = {0, 3, 1, 2};

/* Transpose value; gives the new value or a negative status. */
static int add_transpose(struct enso_graph *g, const char *name, int value, const int64_t *perm,
                         size_t rank, struct enso_error *err)
{
    int node = enso_graph_add_node(g, ENSO_OP_TRANSPOSE, name, &value, 1, 1), st;

    if (node < 0 || enso_graph_set_ints(g, node, "perm", perm, rank) != ENSO_OK)
        return enso__pass_status(g, err);
    st = enso_graph_infer_node(g, node, err);
    return st == ENSO_OK ? enso__pass_output(g, node) : st;
}

/* Put a transpose behind output i of a node that was changed to give the turned shape; readers go
 * on reading the old value. The node is inferred anew. */
static int transpose_behind(struct enso_graph *g, int node, size_t n_outputs, const int64_t *perm,
                            size_t rank, struct enso_error *err)
{
    const char *name = enso_graph_node(g, node)->name;
    int st;

    for (size_t i = 0; i < n_outputs; i++) {
        int old = enso_graph_detach_output(g, node, i), fresh, behind;

        if (old < 0)
            return enso__pass_status(g, err);
        fresh = enso_graph_node(g, node)->outputs[i];
        behind = enso_graph_add_node_to(g, ENSO_OP_TRANSPOSE, name, &fresh, 1, &old, 1);
        if (behind < 0 || enso_graph_set_ints(g, behind, "perm", perm, rank) != ENSO_OK)
            return enso__pass_status(g, err);
    }
    st = enso_graph_infer_node(g, node, err);
    for (size_t i = 0; st == ENSO_OK && i < n_outputs; i++) /* the old shape comes out again */
        st = enso_graph_infer_node(g, enso_graph_user(g, enso_graph_node(g, node)->outputs[i], 0),
                                   err);
    return st;
}

/* ---- one dimension becomes two ---- */

/* A list attribute [a] or [a, b] of one dimension with `first` put before each. */
static int widen_list(struct enso_graph *g, int node, const char *name, int64_t first)
{
    int64_t wide[4];
    size_t n;
    const int64_t *v = enso_node_ints(enso_graph_node(g, node), name, &n);

    if (v == NULL || n > 2)
        return ENSO_OK;
    for (size_t i = 0; i < n; i++) {
        wide[2 * i] = first;
        wide[2 * i + 1] = v[i];
    }
    return enso_graph_set_ints(g, node, name, wide, 2 * n);
}

/* [A, B, L] as [A, B, 1, L]; a value or a negative status. */
static int add_height(struct enso_graph *g, const char *name, int value, struct enso_error *err)
{
    int axes = enso__pass_add_ints(g, name, (int64_t[]){2}, 1);

    return axes < 0 ? enso__pass_status(g, err)
                    : enso__pass_add(g, ENSO_OP_UNSQUEEZE, name, (int[]){value, axes}, 2, err);
}

static int widen_node(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    bool is_conv = n->op == ENSO_OP_CONV;
    int x, w, old, wide, axes, squeeze;

    if ((!is_conv && n->op != ENSO_OP_MAX_POOL && n->op != ENSO_OP_AVERAGE_POOL) ||
        enso_graph_value(g, n->inputs[0])->shape.rank != 3 ||
        (is_conv && !enso__pass_is_constant(g, n->inputs[1])))
        return ENSO_OK;
    x = add_height(g, n->name, n->inputs[0], err);
    if (x < 0)
        return x;
    enso_graph_set_input(g, node, 0, x);
    if (is_conv) {
        struct enso_shape s = enso_graph_value(g, n->inputs[1])->shape;

        s.rank = 4;
        s.dims[3] = s.dims[2];
        s.dims[2] = enso_dim_fixed(1);
        w = enso__pass_view_constant(g, n->inputs[1], &s, enso_graph_value(g, n->inputs[1])->dtype);
        if (w < 0)
            return enso_error_no_memory(err, "a folded constant");
        enso_graph_set_input(g, node, 1, w);
    }
    if (widen_list(g, node, "kernel_shape", 1) != ENSO_OK ||
        widen_list(g, node, "strides", 1) != ENSO_OK || widen_list(g, node, "pads", 0) != ENSO_OK ||
        widen_list(g, node, "dilations", 1) != ENSO_OK)
        return enso__pass_status(g, err);
    axes = enso__pass_add_ints(g, n->name, (int64_t[]){2}, 1);
    old = enso_graph_detach_output(g, node, 0);
    if (axes < 0 || old < 0)
        return enso__pass_status(g, err);
    wide = enso__pass_output(g, node);
    squeeze = enso_graph_add_node_to(g, ENSO_OP_SQUEEZE, n->name, (int[]){wide, axes}, 2, &old, 1);
    *changed = true;
    return squeeze < 0 ? enso__pass_status(g, err) : ENSO_OK;
}

/* ---- turning over ---- */

static int turn_conv(struct enso_graph *g, int node, int x, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int inputs[4] = {x, n->inputs[1], enso__pass_input(g, node, 2), ENSO_NO_VALUE};
    int old = enso_graph_detach_output(g, node, 0), conv, y, behind;

    if (old < 0)
        return enso__pass_status(g, err);
    conv = enso_graph_add_node(g, ENSO_OP_CONV_FUSED, n->name, inputs, 4, 1);
    if (conv < 0 || enso_graph_copy_attributes(g, node, conv) != ENSO_OK)
        return enso__pass_status(g, err);
    enso_graph_remove_node(g, node);
    y = enso__pass_output(g, conv);
    behind = enso_graph_add_node_to(g, ENSO_OP_TRANSPOSE, n->name, &y, 1, &old, 1);
    if (behind < 0 || enso_graph_set_ints(g, behind, "perm", to_nchw, 4) != ENSO_OK)
        return enso__pass_status(g, err);
    return ENSO_OK;
}

static bool turns_over(const struct enso_graph *g, int node)
{
    const struct enso_node *n = enso_graph_node(g, node);

    switch (n->op) {
    case ENSO_OP_CONV: /* the kernel wants weights to pack */
        if (!enso__pass_is_constant(g, n->inputs[1]) ||
            (enso__pass_input(g, node, 2) >= 0 && !enso__pass_is_constant(g, n->inputs[2])))
            return false;
        break;
    case ENSO_OP_MAX_POOL:
    case ENSO_OP_AVERAGE_POOL:
    case ENSO_OP_GLOBAL_AVERAGE_POOL:
    case ENSO_OP_GLOBAL_MAX_POOL:
    case ENSO_OP_LRN:
        if (enso_node_int(n, "nhwc", 0) != 0)
            return false;
        break;
    default:
        return false;
    }
    return enso_graph_value(g, n->inputs[0])->shape.rank == 4 &&
           enso_graph_value(g, n->inputs[0])->dtype == ENSO_DTYPE_F32;
}

static int turn(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int x;

    if (!turns_over(g, node))
        return ENSO_OK;
    x = add_transpose(g, n->name, n->inputs[0], to_nhwc, 4, err);
    if (x < 0)
        return x;
    *changed = true;
    if (n->op == ENSO_OP_CONV)
        return turn_conv(g, node, x, err);
    enso_graph_set_input(g, node, 0, x);
    if (enso_graph_set_int(g, node, "nhwc", 1) != ENSO_OK)
        return enso__pass_status(g, err);
    return transpose_behind(g, node, 1, to_nchw, 4, err);
}

/* ---- sinking ---- */

/* A transpose on its way down: y = T(x), y.dims[i] = x.dims[perm[i]]. */
struct sinking {
    struct enso_graph *g;
    struct enso_error *err;
    int64_t perm[ENSO_MAX_RANK], inverse[ENSO_MAX_RANK];
    size_t rank;
    bool is_free; /* it moves only dimensions of one */
};

static bool is_one(struct enso_dim d)
{
    return enso_dim_equal(d, enso_dim_fixed(1));
}

/* A constant, or one behind views and transposes that will be folded. */
static bool stems_from_constant(const struct enso_graph *g, int value)
{
    for (;;) {
        int node = enso_graph_value(g, value)->producer;

        if (node < 0)
            return enso__pass_is_constant(g, value);
        if (enso_graph_node(g, node)->op != ENSO_OP_TRANSPOSE &&
            !enso_op_is_view(enso_graph_node(g, node)->op))
            return false;
        value = enso__pass_input(g, node, 0);
    }
}

/* The transpose behind which a value stands; false when there is none to sink. */
static bool read_transpose(struct sinking *s, int value)
{
    int node = enso__pass_producer(s->g, value, ENSO_OP_TRANSPOSE);
    const struct enso_shape *shape = &enso_graph_value(s->g, value)->shape;
    const int64_t *perm;
    int64_t last = -1;

    if (node < 0 || stems_from_constant(s->g, value))
        return false;
    perm = enso_node_ints(enso_graph_node(s->g, node), "perm", &s->rank);
    if (perm == NULL)
        return false;
    s->is_free = true;
    for (size_t i = 0; i < s->rank; i++) {
        s->perm[i] = perm[i];
        s->inverse[perm[i]] = (int64_t)i;
        if (is_one(shape->dims[i]))
            continue;
        s->is_free &= perm[i] > last;
        last = perm[i];
    }
    return true;
}

static bool is_behind(const struct sinking *s, int value)
{
    int node = enso__pass_producer(s->g, value, ENSO_OP_TRANSPOSE);
    size_t n;
    const int64_t *perm = node < 0 ? NULL : enso_node_ints(enso_graph_node(s->g, node), "perm", &n);

    if (perm == NULL || n != s->rank)
        return false;
    for (size_t i = 0; i < n; i++)
        if (perm[i] != s->perm[i])
            return false;
    return true;
}

static bool all_ones(const struct enso_shape *shape)
{
    for (size_t i = 0; i < shape->rank; i++)
        if (!is_one(shape->dims[i]))
            return false;
    return true;
}

/* Whether turning a value back (T⁻¹) costs nothing at run time: constants, and shapes in which only
 * dimensions of one would move. */
static bool turns_freely(const struct sinking *s, int value)
{
    const struct enso_shape *shape = &enso_graph_value(s->g, value)->shape;
    int64_t last = -1;

    if (stems_from_constant(s->g, value))
        return true;
    for (size_t i = 0; i < s->rank; i++) { /* in the order that x would have */
        int64_t at = s->inverse[i] - (int64_t)(s->rank - shape->rank);

        if (at < 0 || is_one(shape->dims[at]))
            continue;
        if (at < last)
            return false;
        last = at;
    }
    return true;
}

/* An input as the turned operator reads it: x for T(x), T⁻¹(value) for what turns freely. */
static int turned(struct sinking *s, const char *name, int value)
{
    const struct enso_shape *shape = &enso_graph_value(s->g, value)->shape;
    int64_t factors[ENSO_MAX_RANK], extents[ENSO_MAX_RANK];
    size_t missing = s->rank - shape->rank;
    int node, st;

    if (is_behind(s, value))
        return enso__pass_input(s->g, enso_graph_value(s->g, value)->producer, 0);
    if (all_ones(shape))
        return value;
    for (size_t i = 0; i < s->rank; i++) {
        struct enso_dim d = i < missing ? enso_dim_fixed(1) : shape->dims[i - missing];

        factors[i] = d.factor;
        extents[i] = d.extent;
    }
    if (missing > 0) {
        node = enso_graph_add_node(s->g, ENSO_OP_RESHAPE, name, &value, 1, 1);
        if (node < 0 ||
            enso_graph_set_ints(s->g, node, "shape_factors", factors, s->rank) != ENSO_OK ||
            enso_graph_set_ints(s->g, node, "shape_extents", extents, s->rank) != ENSO_OK)
            return enso__pass_status(s->g, s->err);
        st = enso_graph_infer_node(s->g, node, s->err);
        if (st != ENSO_OK)
            return st;
        value = enso__pass_output(s->g, node);
    }
    return add_transpose(s->g, name, value, s->inverse, s->rank, s->err);
}

/* Let a node read its first n inputs turned back. */
static int turn_inputs(struct sinking *s, int node, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct enso_node *at = enso_graph_node(s->g, node);
        int value = turned(s, at->name, at->inputs[i]);

        if (value < 0)
            return value;
        enso_graph_set_input(s->g, node, i, value);
    }
    return ENSO_OK;
}

static int behind(struct sinking *s, int node)
{
    return transpose_behind(s->g, node, enso_graph_node(s->g, node)->n_outputs, s->perm, s->rank,
                            s->err);
}

static int sink_unary(struct sinking *s, int node)
{
    int st = turn_inputs(s, node, 1);

    return st == ENSO_OK ? behind(s, node) : st;
}

/* All inputs must turn: broadcasting and joining. A transpose that costs nothing itself is not
 * worth turning others for, and two of them would push each other about for ever. */
static bool inputs_turn(const struct sinking *s, int node, bool same_rank)
{
    const struct enso_node *n = enso_graph_node(s->g, node);

    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct enso_shape *shape = &enso_graph_value(s->g, n->inputs[i])->shape;

        if (is_behind(s, n->inputs[i]))
            continue;
        if (shape->rank > s->rank || (same_rank && shape->rank != s->rank))
            return false;
        if (all_ones(shape))
            continue;
        if (s->is_free && !stems_from_constant(s->g, n->inputs[i]))
            return false;
        if (!turns_freely(s, n->inputs[i]))
            return false;
    }
    return true;
}

static int sink_broadcast(struct sinking *s, int node, bool *sunk)
{
    int st;

    *sunk = inputs_turn(s, node, false);
    if (!*sunk)
        return ENSO_OK;
    st = turn_inputs(s, node, enso_graph_node(s->g, node)->n_inputs);
    return st == ENSO_OK ? behind(s, node) : st;
}

static int64_t turned_axis(const struct sinking *s, int64_t axis)
{
    return s->perm[axis < 0 ? axis + (int64_t)s->rank : axis];
}

static int sink_along_axis(struct sinking *s, int node, int64_t default_axis)
{
    int64_t axis = enso_node_int(enso_graph_node(s->g, node), "axis", default_axis);
    int st = enso_graph_set_int(s->g, node, "axis", turned_axis(s, axis));

    if (st != ENSO_OK)
        return enso__pass_status(s->g, s->err);
    st = turn_inputs(s, node, 1);
    return st == ENSO_OK ? behind(s, node) : st;
}

static int sink_concat(struct sinking *s, int node, bool *sunk)
{
    const struct enso_node *n = enso_graph_node(s->g, node);
    int64_t axis = enso_node_int(n, "axis", 0);
    int st;

    *sunk = inputs_turn(s, node, true);
    if (!*sunk)
        return ENSO_OK;
    st = enso_graph_set_int(s->g, node, "axis", turned_axis(s, axis));
    if (st != ENSO_OK)
        return enso__pass_status(s->g, s->err);
    st = turn_inputs(s, node, n->n_inputs);
    return st == ENSO_OK ? behind(s, node) : st;
}

/* Slice names its axes in input 3, or means the first ones. */
static int sink_slice(struct sinking *s, int node, bool *sunk)
{
    const struct enso_node *n = enso_graph_node(s->g, node);
    int inputs[5] = {n->inputs[0], n->inputs[1], n->inputs[2], ENSO_NO_VALUE,
                     enso__pass_input(s->g, node, 4)};
    int64_t axes[ENSO_MAX_RANK];
    int given = enso__pass_input(s->g, node, 3), y = n->outputs[0], st, slice;
    size_t n_axes = 0;

    st = enso_graph_read_ints(s->g, given >= 0 ? given : inputs[1], axes, ENSO_MAX_RANK, &n_axes,
                              NULL);
    *sunk = st == ENSO_OK && n_axes > 0;
    if (!*sunk)
        return ENSO_OK;
    for (size_t i = 0; i < n_axes; i++)
        axes[i] = turned_axis(s, given >= 0 ? axes[i] : (int64_t)i);
    inputs[0] = turned(s, n->name, inputs[0]);
    inputs[3] = enso__pass_add_ints(s->g, n->name[0] != '\0' ? n->name : "axes", axes, n_axes);
    if (inputs[0] < 0 || inputs[3] < 0)
        return inputs[0] < 0 ? inputs[0] : enso__pass_status(s->g, s->err);
    slice = enso__pass_replace(s->g, node, n->op, inputs, 5);
    (void)y;
    return slice < 0 ? enso__pass_status(s->g, s->err) : behind(s, slice);
}

static int sink_pad(struct sinking *s, int node, bool *sunk)
{
    const struct enso_node *n = enso_graph_node(s->g, node);
    int64_t pads[2 * ENSO_MAX_RANK], moved[2 * ENSO_MAX_RANK];
    size_t n_pads = 0;
    int list, st;

    *sunk = enso__pass_input(s->g, node, 3) < 0 &&
            enso_graph_read_ints(s->g, n->inputs[1], pads, ENSO_ARRAY_SIZE(pads), &n_pads, NULL) ==
                ENSO_OK &&
            n_pads == 2 * s->rank;
    if (!*sunk)
        return ENSO_OK;
    for (size_t i = 0; i < s->rank; i++) {
        moved[s->perm[i]] = pads[i];
        moved[s->rank + (size_t)s->perm[i]] = pads[s->rank + i];
    }
    list = enso__pass_add_ints(s->g, n->name[0] != '\0' ? n->name : "pads", moved, n_pads);
    if (list < 0)
        return enso__pass_status(s->g, s->err);
    enso_graph_set_input(s->g, node, 1, list);
    st = turn_inputs(s, node, 1);
    return st == ENSO_OK ? behind(s, node) : st;
}

/* Behind a reduction: the same transpose, or that of the dimensions that stay. */
static int behind_reduction(struct sinking *s, int node, const bool *reduced)
{
    struct enso_graph *g = s->g;
    int64_t rest[ENSO_MAX_RANK];
    bool moves = false;
    size_t n = 0;

    if (enso_node_int(enso_graph_node(g, node), "keepdims", 1) != 0)
        return behind(s, node);
    for (size_t i = 0; i < s->rank; i++) {
        int64_t before = 0;

        if (reduced[i])
            continue;
        for (size_t k = 0; k < s->rank; k++) /* how many of those that stay x has before it */
            before += !reduced[k] && s->perm[k] < s->perm[i];
        moves |= before != (int64_t)n;
        rest[n++] = before;
    }
    if (!moves)
        return enso_graph_infer_node(g, node, s->err);
    return transpose_behind(g, node, 1, rest, n, s->err);
}

static int sink_reduction(struct sinking *s, int node, bool *sunk)
{
    struct enso_graph *g = s->g;
    int64_t axes[ENSO_MAX_RANK];
    bool reduced[ENSO_MAX_RANK] = {false};
    size_t n = 0;
    int st = enso_graph_node_axes(g, node, s->rank, axes, &n, NULL);

    *sunk = st == ENSO_OK && n > 0;
    if (!*sunk)
        return ENSO_OK;
    for (size_t i = 0; i < n; i++) {
        reduced[axes[i]] = true;
        axes[i] = s->perm[axes[i]];
    }
    if (enso_graph_set_ints(g, node, "axes", axes, n) != ENSO_OK)
        return enso__pass_status(g, s->err);
    if (enso__pass_input(g, node, 1) >= 0)
        enso_graph_set_input(g, node, 1, ENSO_NO_VALUE);
    st = turn_inputs(s, node, 1);
    return st == ENSO_OK ? behind_reduction(s, node, reduced) : st;
}

static int sink_arg(struct sinking *s, int node)
{
    bool reduced[ENSO_MAX_RANK] = {false};
    int64_t axis = enso_node_int(enso_graph_node(s->g, node), "axis", 0);
    int st = enso_graph_set_int(s->g, node, "axis", turned_axis(s, axis));

    reduced[axis < 0 ? axis + (int64_t)s->rank : axis] = true;
    if (st != ENSO_OK)
        return enso__pass_status(s->g, s->err);
    st = turn_inputs(s, node, 1);
    return st == ENSO_OK ? behind_reduction(s, node, reduced) : st;
}

/* Reshape that splits or joins dimensions which x keeps together (ShuffleNet's groups of channels):
 * dims of y = T(x) and of the target fall into groups of equal size. */
struct groups {
    size_t n;
    size_t first_in[ENSO_MAX_RANK + 1], first_out[ENSO_MAX_RANK + 1];
};

static bool find_groups(const struct enso_shape *in, const struct enso_shape *out, struct groups *g)
{
    size_t i = 0, k = 0;

    g->n = 0;
    while (i < in->rank && k < out->rank) {
        struct enso_dim a = in->dims[i], b = out->dims[k];

        g->first_in[g->n] = i++;
        g->first_out[g->n++] = k++;
        while (!enso_dim_equal(a, b)) {
            if (a.extent != ENSO_EXTENT_FIXED || b.extent != ENSO_EXTENT_FIXED)
                return false;
            if (a.factor < b.factor && i < in->rank) {
                if (in->dims[i].extent != ENSO_EXTENT_FIXED)
                    return false;
                a.factor *= in->dims[i++].factor;
            } else if (b.factor < a.factor && k < out->rank) {
                if (out->dims[k].extent != ENSO_EXTENT_FIXED)
                    return false;
                b.factor *= out->dims[k++].factor;
            } else {
                return false;
            }
        }
    }
    g->first_in[g->n] = i;
    g->first_out[g->n] = k;
    return i == in->rank && k == out->rank;
}

static int sink_reshape(struct sinking *s, int node, bool *sunk)
{
    struct enso_graph *g = s->g;
    const struct enso_node *n = enso_graph_node(g, node);
    const struct enso_shape *in = &enso_graph_value(g, n->inputs[0])->shape;
    struct enso_shape out = enso_graph_value(g, n->outputs[0])->shape;
    int64_t factors[ENSO_MAX_RANK], extents[ENSO_MAX_RANK], perm[ENSO_MAX_RANK];
    struct groups groups;
    size_t at = 0;
    int st;

    *sunk = false;
    if (enso__pass_input(g, node, 1) >= 0 || !find_groups(in, &out, &groups))
        return ENSO_OK;
    for (size_t i = 0; i < groups.n; i++)
        for (size_t k = groups.first_in[i] + 1; k < groups.first_in[i + 1]; k++)
            if (s->perm[k] != s->perm[k - 1] + 1)
                return ENSO_OK;          /* x has something in between */
    for (size_t x = 0; x < s->rank; x++) /* groups in the order of x */
        for (size_t i = 0; i < groups.n; i++) {
            if (s->perm[groups.first_in[i]] != (int64_t)x)
                continue;
            for (size_t k = groups.first_out[i]; k < groups.first_out[i + 1]; k++) {
                perm[k] = (int64_t)at;
                factors[at] = out.dims[k].factor;
                extents[at++] = out.dims[k].extent;
            }
        }
    *sunk = true;
    if (enso_graph_set_ints(g, node, "shape_factors", factors, out.rank) != ENSO_OK ||
        enso_graph_set_ints(g, node, "shape_extents", extents, out.rank) != ENSO_OK)
        return enso__pass_status(g, s->err);
    st = turn_inputs(s, node, 1);
    return st == ENSO_OK ? transpose_behind(g, node, 1, perm, out.rank, s->err) : st;
}

/* What Resize knows of its axes is turned with them. */
static int sink_resize(struct sinking *s, int node, bool *sunk)
{
    struct enso_graph *g = s->g;
    const struct enso_node *n = enso_graph_node(g, node);
    size_t n_sizes = 0, n_scales = 0, first = s->rank, last = 0;
    const int64_t *sizes = enso_node_ints(n, "resized_sizes", &n_sizes);
    const float *scales = enso_node_floats(n, "resized_scales", &n_scales);
    int64_t turned_sizes[ENSO_MAX_RANK], ratio = enso_node_int(n, "ratio_axis", -1);
    float turned_scales[ENSO_MAX_RANK];
    int st;

    *sunk = false;
    if (sizes == NULL || scales == NULL || n_sizes != s->rank || n_scales != s->rank ||
        enso__pass_input(g, node, 2) >= 0 || enso__pass_input(g, node, 3) >= 0)
        return ENSO_OK;
    for (size_t i = 0; i < s->rank; i++) {
        size_t at = (size_t)s->perm[i];

        turned_sizes[at] = sizes[i];
        turned_scales[at] = scales[i];
        if (sizes[i] >= 0) {
            first = ENSO_MIN(first, at);
            last = ENSO_MAX(last, at);
        }
    }
    if (first < s->rank && last - first >= 3) /* kernels take three neighbouring axes */
        return ENSO_OK;
    *sunk = true;
    if (enso_graph_set_ints(g, node, "resized_sizes", turned_sizes, s->rank) != ENSO_OK ||
        enso_graph_set_floats(g, node, "resized_scales", turned_scales, s->rank) != ENSO_OK ||
        enso_graph_set_int(g, node, "ratio_axis", ratio < 0 ? -1 : s->perm[ratio]) != ENSO_OK)
        return enso__pass_status(g, s->err);
    st = turn_inputs(s, node, 1);
    return st == ENSO_OK ? behind(s, node) : st;
}

static int sink_by_op(struct sinking *s, int node, bool *sunk)
{
    const struct enso_node *n = enso_graph_node(s->g, node);

    *sunk = true;
    switch (n->op) {
    case ENSO_OP_CONCAT:
        return sink_concat(s, node, sunk);
    case ENSO_OP_SPLIT:
        return sink_along_axis(s, node, 0);
    case ENSO_OP_SOFTMAX:
    case ENSO_OP_LOG_SOFTMAX:
        return sink_along_axis(s, node, -1);
    case ENSO_OP_ARG_MAX:
    case ENSO_OP_ARG_MIN:
        return sink_arg(s, node);
    case ENSO_OP_TOP_K:
        return sink_along_axis(s, node, -1);
    case ENSO_OP_RESIZE:
        return sink_resize(s, node, sunk);
    case ENSO_OP_SLICE:
        return sink_slice(s, node, sunk);
    case ENSO_OP_PAD:
        return sink_pad(s, node, sunk);
    case ENSO_OP_RESHAPE:
        return sink_reshape(s, node, sunk);
    default:
        break;
    }
    switch (enso_op_kind(n->op)) {
    case ENSO_OP_KIND_UNARY:
        return sink_unary(s, node);
    case ENSO_OP_KIND_BROADCAST:
        return sink_broadcast(s, node, sunk);
    case ENSO_OP_KIND_REDUCE:
        return sink_reduction(s, node, sunk);
    default:
        *sunk = false;
        return ENSO_OK;
    }
}

static int sink(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    struct sinking s = {.g = g, .err = err};
    bool sunk = false;
    int st = ENSO_OK;

    for (size_t i = 0; !sunk && st == ENSO_OK && i < n->n_inputs; i++) {
        if (n->inputs[i] < 0 || !read_transpose(&s, n->inputs[i]))
            continue;
        if (i > 0 && enso_op_kind(n->op) != ENSO_OP_KIND_BROADCAST && n->op != ENSO_OP_CONCAT)
            break; /* a parameter, not what the operator works on */
        st = sink_by_op(&s, node, &sunk);
    }
    *changed |= sunk;
    return st;
}

#define MAX_ROUNDS 64 /* a round sinks all the way; more are for what meets on the way */

/* Sink, cancel, until all transposes rest. */
int enso_pass_layout(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    bool any = false, changed;
    int st = enso_pass_detach_shapes(g, &changed, err);

    if (st == ENSO_OK)
        st = enso__pass_walk(g, widen_node, &any, err);
    if (st == ENSO_OK && any)
        st = enso_pass_detach_shapes(g, &changed, err);
    if (st == ENSO_OK) {
        st = enso__pass_walk(g, turn, &changed, err);
        any |= changed;
    }
    *ret_changed = any;
    for (int i = 0; st == ENSO_OK && any && changed && i < MAX_ROUNDS; i++) {
        bool cancelled;

        st = enso__pass_walk(g, sink, &changed, err);
        if (st == ENSO_OK)
            st = enso_pass_fold_views(g, &cancelled, err);
        if (st == ENSO_OK)
            st = enso_pass_remove_identity(g, &cancelled, err);
        if (st == ENSO_OK)
            st = enso_pass_remove_dead(g, &cancelled, err);
    }
    return st;
}
