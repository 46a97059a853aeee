/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of reductions, of ArgMax and ArgMin, and of TopK.
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

/* k from input 1, which is put into the attribute, or from there. */
static int read_k(struct enso__infer *c, int64_t *ret_k)
{
    size_t n = 0;
    int st;

    *ret_k = enso_node_int(c->node, "k", -1);
    if (enso__op_in(c, 1) == NULL)
        return ENSO_OK;
    st = enso__op_ints(c, 1, ret_k, 1, &n);
    if (st == ENSO_OK && n != 1)
        return enso__op_fail(c, ENSO_CORRUPT, "k must be one number");
    if (st == ENSO_OK && enso_node_int(c->node, "k", -1) != *ret_k &&
        enso_graph_set_int(c->g, c->number, "k", *ret_k) != ENSO_OK)
        st = enso_error_no_memory(c->err, "an attribute");
    return st;
}

int enso__infer_top_k(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    int64_t k = 0;
    size_t axis;
    int st = enso__op_axis(c, enso_node_int(c->node, "axis", -1), y.rank, &axis);

    if (st == ENSO_OK)
        st = read_k(c, &k);
    if (st != ENSO_OK)
        return st;
    if (x->dtype == ENSO_DTYPE_BOOL)
        return enso__op_fail(c, ENSO_CORRUPT, "it does not take BOOL");
    if (!enso__dim_fixed(y.dims[axis]))
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "it chooses from the batch; export the model with a fixed size there");
    if (k < 0 || k > y.dims[axis].factor)
        return enso__op_fail(c, ENSO_CORRUPT, "the %lld largest of %lld are asked for",
                             (long long)k, (long long)y.dims[axis].factor);
    y.dims[axis] = enso_dim_fixed(k);
    st = enso__op_out(c, 0, x->dtype, &y);
    return st == ENSO_OK ? enso__op_out(c, 1, ENSO_DTYPE_I64, &y) : st;
}
