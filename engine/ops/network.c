/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of normalisations, softmax and matrix products.
 */
#include "engine/ops/ops_internal.h"

static int same_as_input(struct enso__infer *c)
{
    return enso__op_out(c, 0, enso__op_in(c, 0)->dtype, &enso__op_in(c, 0)->shape);
}

/* Inputs first .. n-1 are [C], C being dimension 1 of the input. */
static int check_channels(struct enso__infer *c, size_t first)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;

    if (x->rank < 2)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [N, C, ...]");
    for (size_t i = first; i < c->node->n_inputs; i++) {
        const struct enso_shape *p = &enso__op_in(c, i)->shape;

        if (p->rank != 1 || !enso_dim_equal(p->dims[0], x->dims[1]))
            return enso__op_fail(c, ENSO_CORRUPT, "input %zu must be one number per channel", i);
        int st = enso__op_parameter(c, i, enso__op_in(c, 0));

        if (st != ENSO_OK)
            return st;
    }
    return same_as_input(c);
}

int enso__infer_batch_norm(struct enso__infer *c)
{
    if (enso_node_int(c->node, "training_mode", 0) != 0)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it is in training mode; export for inference");
    return check_channels(c, 1);
}

int enso__infer_instance_norm(struct enso__infer *c)
{
    return check_channels(c, 1);
}

int enso__infer_lrn(struct enso__infer *c)
{
    if (enso__op_in(c, 0)->shape.rank < 3)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [N, C, ...]");
    if (enso_node_int(c->node, "size", 0) < 1)
        return enso__op_fail(c, ENSO_CORRUPT, "size must be at least 1");
    return same_as_input(c);
}

int enso__infer_softmax(struct enso__infer *c)
{
    size_t axis;
    int st =
        enso__op_axis(c, enso_node_int(c->node, "axis", -1), enso__op_in(c, 0)->shape.rank, &axis);

    return st == ENSO_OK ? same_as_input(c) : st;
}

/* ---- products ---- */

static int mismatch(struct enso__infer *c, struct enso_dim a, struct enso_dim b)
{
    if (!enso__dim_fixed(a) || !enso__dim_fixed(b))
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "it sums over the batch; export the model with a "
                             "fixed size there");
    return enso__op_fail(c, ENSO_CORRUPT, "%lld columns meet %lld rows", (long long)a.factor,
                         (long long)b.factor);
}

/* Numpy's matmul: a vector on the left is a row, on the right a column, and that dimension goes
 * again; all before the last two broadcast. */
int enso__infer_matmul(struct enso__infer *c)
{
    const struct enso_value *a = enso__op_in(c, 0), *b = enso__op_in(c, 1);
    struct enso_shape y = {0}, left = a->shape, right = b->shape;
    struct enso_dim rows, columns, depth;
    int st;

    if (a->dtype != b->dtype)
        return enso__op_fail(c, ENSO_CORRUPT, "its inputs must have one type");
    if (left.rank == 0 || right.rank == 0)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes no scalars");
    rows = left.rank > 1 ? left.dims[left.rank - 2] : enso_dim_fixed(1);
    depth = left.dims[left.rank - 1];
    columns = right.rank > 1 ? right.dims[right.rank - 1] : enso_dim_fixed(1);
    if (!enso_dim_equal(depth, right.rank > 1 ? right.dims[right.rank - 2] : right.dims[0]))
        return mismatch(c, depth, right.rank > 1 ? right.dims[right.rank - 2] : right.dims[0]);
    left.rank = left.rank > 1 ? left.rank - 2 : 0;
    right.rank = right.rank > 1 ? right.rank - 2 : 0;
    y = left;
    st = enso__op_broadcast(c, &y, &right);
    if (st != ENSO_OK)
        return st;
    if (a->shape.rank > 1)
        y.dims[y.rank++] = rows;
    if (b->shape.rank > 1)
        y.dims[y.rank++] = columns;
    return enso__op_out(c, 0, a->dtype, &y);
}

int enso__infer_gemm(struct enso__infer *c)
{
    const struct enso_value *a = enso__op_in(c, 0), *b = enso__op_in(c, 1),
                            *bias = enso__op_in(c, 2);
    size_t ta = enso_node_int(c->node, "transA", 0) != 0,
           tb = enso_node_int(c->node, "transB", 0) != 0;
    struct enso_shape y = {.rank = 2}, wide;
    int st = ENSO_OK;

    if (a->shape.rank != 2 || b->shape.rank != 2 || a->dtype != b->dtype)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes two matrices of one type");
    if (!enso_dim_equal(a->shape.dims[1 - ta], b->shape.dims[tb]))
        return mismatch(c, a->shape.dims[1 - ta], b->shape.dims[tb]);
    y.dims[0] = a->shape.dims[ta];
    y.dims[1] = b->shape.dims[1 - tb];
    if (bias != NULL) {
        wide = y;
        st = enso__op_broadcast(c, &wide, &bias->shape);
        if (st == ENSO_OK && (!enso__shape_equal(&wide, &y) || bias->dtype != a->dtype))
            return enso__op_fail(c, ENSO_CORRUPT, "input C does not fit the product");
    }
    return st == ENSO_OK ? enso__op_out(c, 0, a->dtype, &y) : st;
}
