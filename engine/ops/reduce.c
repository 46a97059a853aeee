/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of reductions and of ArgMax and ArgMin.
 */
#include "engine/ops/ops_internal.h"

/* The shape without the reduced dimensions, or with ones there. */
static void reduce_shape(const struct enso_shape *x, const bool *reduced, bool keep,
                         struct enso_shape *y)
{
    y->rank = 0;
    for (size_t i = 0; i < x->rank; i++)
        if (!reduced[i])
            y->dims[y->rank++] = x->dims[i];
        else if (keep)
            y->dims[y->rank++] = enso_dim_fixed(1);
}

/* Shape arithmetic multiplies, adds and compares dimensions. */
static int learn_reduction(struct enso__infer *c)
{
    size_t n = 0;
    const struct enso_dim *known = enso__op_known(c, 0, &n);
    struct enso_dim r = enso_dim_fixed(c->node->op == ENSO_OP_REDUCE_PROD);

    if (known == NULL || n == 0 || enso__op_in(c, 0)->shape.rank != 1 ||
        (c->node->op != ENSO_OP_REDUCE_PROD && c->node->op != ENSO_OP_REDUCE_SUM))
        return ENSO_OK;
    for (size_t i = 0; i < n; i++)
        if (c->node->op == ENSO_OP_REDUCE_PROD ? !enso__dim_mul(r, known[i], &r)
                                               : !enso__dim_add(r, known[i], &r))
            return ENSO_OK;
    return enso__op_set_known(c, 0, &r, 1);
}

int enso__infer_reduce(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    bool reduced[ENSO_MAX_RANK] = {false};
    int64_t axes[ENSO_MAX_RANK];
    struct enso_error why = {0};
    struct enso_shape y;
    size_t n;
    int st = enso_graph_node_axes(c->g, c->number, x->shape.rank, axes, &n, &why);

    if (st != ENSO_OK)
        return enso__op_fail(c, why.status, "%s", why.message);
    if (x->dtype == ENSO_DTYPE_BOOL && c->node->op != ENSO_OP_REDUCE_MAX &&
        c->node->op != ENSO_OP_REDUCE_MIN) /* of booleans these are any and all (opset 20) */
        return enso__op_fail(c, ENSO_CORRUPT, "it does not take BOOL");
    for (size_t i = 0; i < n; i++)
        reduced[axes[i]] = true;
    for (size_t i = 0; n == 0 && i < x->shape.rank; i++)
        reduced[i] = enso_node_int(c->node, "noop_with_empty_axes", 0) == 0;
    reduce_shape(&x->shape, reduced, enso_node_int(c->node, "keepdims", 1) != 0, &y);
    st = enso__op_out(c, 0, x->dtype, &y);
    return st == ENSO_OK ? learn_reduction(c) : st;
}

int enso__infer_arg(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    bool reduced[ENSO_MAX_RANK] = {false};
    struct enso_shape y;
    size_t axis;
    int st = enso__op_axis(c, enso_node_int(c->node, "axis", 0), x->shape.rank, &axis);

    if (st != ENSO_OK)
        return st;
    if (enso__dim_is(x->shape.dims[axis], 0))
        return enso__op_fail(c, ENSO_CORRUPT, "there is nothing to search along axis %zu", axis);
    reduced[axis] = true;
    reduce_shape(&x->shape, reduced, enso_node_int(c->node, "keepdims", 1) != 0, &y);
    return enso__op_out(c, 0, ENSO_DTYPE_I64, &y);
}
