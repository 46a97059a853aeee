/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of views (Reshape and its family) and of operators that make or fill shapes. The target
 * of Reshape, Expand and ConstantOfShape must be known when the model is loaded, up to the symbols
 * of the batch; it comes from an input, or from the attributes shape_factors and shape_extents once
 * passes have cut the input off.
 */
#include "engine/ops/ops_internal.h"

/* ---- targets ---- */

static int target_from_attributes(struct enso__infer *c, const int64_t *factors, size_t n,
                                  struct enso_shape *ret)
{
    size_t n_extents;
    const int64_t *extents = enso_node_ints(c->node, "shape_extents", &n_extents);

    if (n != n_extents || n > ENSO_MAX_RANK)
        return enso__op_fail(c, ENSO_CORRUPT, "shape_factors and shape_extents do not match");
    ret->rank = (uint8_t)n;
    for (size_t i = 0; i < n; i++) {
        if (extents[i] < ENSO_EXTENT_FIXED || extents[i] >= ENSO_N_EXTENTS)
            return enso__op_fail(c, ENSO_CORRUPT, "shape_extents holds %lld",
                                 (long long)extents[i]);
        ret->dims[i] = (struct enso_dim){factors[i], (enum enso_extent)extents[i]};
    }
    return ENSO_OK;
}

/* The wanted shape as given, 0 and -1 not yet resolved. */
static int target(struct enso__infer *c, size_t input, struct enso_shape *ret)
{
    size_t n = 0;
    const int64_t *factors = enso_node_ints(c->node, "shape_factors", &n);
    const struct enso_dim *known;

    if (enso__op_in(c, input) == NULL) {
        if (factors == NULL)
            return enso__op_fail(c, ENSO_CORRUPT, "the shape is missing");
        return target_from_attributes(c, factors, n, ret);
    }
    known = enso__op_known(c, input, &n);
    if (enso__op_in(c, input)->shape.rank > 1)
        return enso__op_fail(c, ENSO_CORRUPT, "the shape must be a list");
    if (known == NULL)
        return enso__op_fail(
            c, ENSO_UNSUPPORTED,
            "the shape '%s' depends on data, or on the batch in a way that is not a "
            "multiple of its size; export the model with a fixed size there",
            enso__op_in(c, input)->name);
    if (n > ENSO_MAX_RANK)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "tensors have at most %d dimensions",
                             ENSO_MAX_RANK);
    ret->rank = (uint8_t)n;
    for (size_t i = 0; i < n; i++)
        ret->dims[i] = known[i];
    return ENSO_OK;
}

static int refuse_negative(struct enso__infer *c, const struct enso_shape *shape)
{
    for (size_t i = 0; i < shape->rank; i++)
        if (shape->dims[i].factor < 0)
            return enso__op_fail(c, ENSO_CORRUPT, "the shape holds the negative size %lld",
                                 (long long)shape->dims[i].factor);
    return ENSO_OK;
}

/* ---- views ---- */

/* A view's content is its input's. */
static int pass_known(struct enso__infer *c)
{
    size_t n;
    const struct enso_dim *known = enso__op_known(c, 0, &n);

    return known == NULL ? ENSO_OK : enso__op_set_known(c, 0, known, n);
}

static int out_view(struct enso__infer *c, const struct enso_shape *shape)
{
    int st = enso__op_out(c, 0, enso__op_in(c, 0)->dtype, shape);

    return st == ENSO_OK ? pass_known(c) : st;
}

int enso__infer_identity(struct enso__infer *c)
{
    return out_view(c, &enso__op_in(c, 0)->shape);
}

/* Resolve 0 (the input's dimension) and find -1. */
static int resolve_zeros(struct enso__infer *c, struct enso_shape *y, int *ret_open)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    bool keep_zero = enso_node_int(c->node, "allowzero", 0) != 0 || enso__op_in(c, 1) == NULL;

    *ret_open = -1;
    for (size_t i = 0; i < y->rank; i++) {
        if (enso__dim_is(y->dims[i], 0) && !keep_zero) {
            if (i >= x->rank)
                return enso__op_fail(c, ENSO_CORRUPT, "it copies dimension %zu, which is not there",
                                     i);
            y->dims[i] = x->dims[i];
        } else if (enso__dim_is(y->dims[i], -1)) {
            if (*ret_open >= 0)
                return enso__op_fail(c, ENSO_CORRUPT, "the shape holds -1 twice");
            *ret_open = (int)i;
            y->dims[i] = enso_dim_fixed(1);
        }
    }
    return refuse_negative(c, y);
}

int enso__infer_reshape(struct enso__infer *c)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    struct enso_dim before, after;
    struct enso_shape y;
    int open, st = target(c, 1, &y);

    if (st == ENSO_OK)
        st = resolve_zeros(c, &y, &open);
    if (st != ENSO_OK)
        return st;
    if (!enso__dims_product(x->dims, x->rank, &before) ||
        !enso__dims_product(y.dims, y.rank, &after))
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it mixes two run-time sizes in one dimension");
    if (open >= 0 && !enso__dim_div(before, after, &y.dims[open]))
        return enso__op_fail(c, enso__dim_fixed(after) ? ENSO_CORRUPT : ENSO_UNSUPPORTED,
                             "%lld elements%s cannot be cut into rows of %lld%s",
                             (long long)before.factor, enso__dim_fixed(before) ? "" : " per item",
                             (long long)after.factor, enso__dim_fixed(after) ? "" : " per item");
    if (open < 0 && !enso_dim_equal(before, after))
        return enso__op_fail(
            c, enso__dim_fixed(before) == enso__dim_fixed(after) ? ENSO_CORRUPT : ENSO_UNSUPPORTED,
            "%lld elements%s cannot become %lld%s", (long long)before.factor,
            enso__dim_fixed(before) ? "" : " per item", (long long)after.factor,
            enso__dim_fixed(after) ? " (a batch size is fixed in the model; export it dynamic)"
                                   : " per item");
    return out_view(c, &y);
}

int enso__infer_flatten(struct enso__infer *c)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    int64_t axis = enso_node_int(c->node, "axis", 1);
    struct enso_shape y = {.rank = 2};

    if (axis < -(int64_t)x->rank || axis > (int64_t)x->rank)
        return enso__op_fail(c, ENSO_CORRUPT, "axis %lld lies outside a tensor of rank %u",
                             (long long)axis, x->rank);
    if (axis < 0)
        axis += x->rank;
    if (!enso__dims_product(x->dims, (size_t)axis, &y.dims[0]) ||
        !enso__dims_product(x->dims + axis, x->rank - (size_t)axis, &y.dims[1]))
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it mixes two run-time sizes in one dimension");
    return out_view(c, &y);
}

int enso__infer_squeeze(struct enso__infer *c)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    int64_t axes[ENSO_MAX_RANK];
    bool gone[ENSO_MAX_RANK] = {false};
    struct enso_error why = {0};
    struct enso_shape y = {0};
    size_t n;

    if (enso_graph_node_axes(c->g, c->number, x->rank, axes, &n, &why) != ENSO_OK)
        return enso__op_fail(c, why.status, "%s", why.message);
    for (size_t i = 0; i < n; i++) {
        if (!enso__dim_is(x->dims[axes[i]], 1))
            return enso__op_fail(c, ENSO_CORRUPT, "dimension %lld is not 1", (long long)axes[i]);
        gone[axes[i]] = true;
    }
    for (size_t i = 0; i < x->rank; i++)
        if (!gone[i] && !(n == 0 && enso__dim_is(x->dims[i], 1)))
            y.dims[y.rank++] = x->dims[i];
    return out_view(c, &y);
}

int enso__infer_unsqueeze(struct enso__infer *c)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    int64_t given[ENSO_MAX_RANK], axes[ENSO_MAX_RANK];
    bool fresh[ENSO_MAX_RANK] = {false};
    struct enso_error why = {0};
    struct enso_shape y;
    size_t n = 0;
    int st = ENSO_OK;

    if (enso__op_in(c, 1) != NULL)
        st = enso__op_ints(c, 1, given, ENSO_MAX_RANK, &n);
    else
        enso_node_ints(c->node, "axes", &n);
    if (st != ENSO_OK)
        return st;
    if (n + x->rank > ENSO_MAX_RANK)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "tensors have at most %d dimensions",
                             ENSO_MAX_RANK);
    y.rank = (uint8_t)(x->rank + n);
    if (enso_graph_node_axes(c->g, c->number, y.rank, axes, &n, &why) != ENSO_OK)
        return enso__op_fail(c, why.status, "%s", why.message);
    for (size_t i = 0; i < n; i++)
        fresh[axes[i]] = true;
    for (size_t i = 0, k = 0; i < y.rank; i++)
        y.dims[i] = fresh[i] ? enso_dim_fixed(1) : x->dims[k++];
    return out_view(c, &y);
}

/* ---- makers ---- */

int enso__infer_shape(struct enso__infer *c)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    int64_t first = enso_node_int(c->node, "start", 0),
            last = enso_node_int(c->node, "end", x->rank);
    struct enso_shape y = {.rank = 1};
    int st;

    first = first < 0 ? first + x->rank : first;
    last = last < 0 ? last + x->rank : last;
    first = ENSO_MIN(ENSO_MAX(first, 0), x->rank);
    last = ENSO_MAX(ENSO_MIN(last, x->rank), first);
    y.dims[0] = enso_dim_fixed(last - first);
    st = enso__op_out(c, 0, ENSO_DTYPE_I64, &y);
    return st == ENSO_OK ? enso__op_set_known(c, 0, x->dims + first, (size_t)(last - first)) : st;
}

int enso__infer_size(struct enso__infer *c)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    struct enso_dim n;
    int st = enso__op_out(c, 0, ENSO_DTYPE_I64, &(struct enso_shape){0});

    if (st != ENSO_OK || !enso__dims_product(x->dims, x->rank, &n))
        return st;
    return enso__op_set_known(c, 0, &n, 1);
}

int enso__infer_expand(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    const struct enso_dim *known;
    struct enso_shape y;
    size_t n = 0;
    int st = target(c, 1, &y);

    if (st == ENSO_OK)
        st = refuse_negative(c, &y);
    if (st == ENSO_OK)
        st = enso__op_broadcast(c, &y, &x->shape);
    if (st == ENSO_OK)
        st = enso__op_out(c, 0, x->dtype, &y);
    known = enso__op_known(c, 0, &n);
    if (st == ENSO_OK && known != NULL && n == 1 && y.rank == 1 && enso__dim_fixed(y.dims[0]) &&
        y.dims[0].factor <= ENSO__MAX_KNOWN) {
        struct enso_dim content[ENSO__MAX_KNOWN];

        for (int64_t i = 0; i < y.dims[0].factor; i++)
            content[i] = known[0];
        return enso__op_set_known(c, 0, content, (size_t)y.dims[0].factor);
    }
    return st;
}

int enso__infer_constant_of_shape(struct enso__infer *c)
{
    const struct enso_value *value = enso__op_in(c, 1);
    struct enso_dim content[ENSO__MAX_KNOWN], n;
    const struct enso_dim *known;
    struct enso_shape y;
    size_t n_known = 0;
    int st = target(c, 0, &y);

    if (st == ENSO_OK)
        st = refuse_negative(c, &y);
    if (st != ENSO_OK)
        return st;
    if (value != NULL &&
        (!enso__dims_product(value->shape.dims, value->shape.rank, &n) || !enso__dim_is(n, 1)))
        return enso__op_fail(c, ENSO_CORRUPT, "its value must be one element");
    st = enso__op_out(c, 0, value == NULL ? ENSO_DTYPE_F32 : value->dtype, &y);
    known = enso__op_known(c, 1, &n_known);
    if (st != ENSO_OK || known == NULL || !enso__dims_product(y.dims, y.rank, &n) ||
        !enso__dim_fixed(n) || n.factor > ENSO__MAX_KNOWN)
        return st;
    for (int64_t i = 0; i < n.factor; i++)
        content[i] = known[0];
    return enso__op_set_known(c, 0, content, (size_t)n.factor);
}

/* Range of integers known at load; of floats when it is constant. */
int enso__infer_range(struct enso__infer *c)
{
    int64_t v[3], n;
    struct enso_dim content[ENSO__MAX_KNOWN];
    struct enso_shape y = {.rank = 1};
    enum enso_dtype dtype = enso__op_in(c, 0)->dtype;
    size_t n_known = 0;
    const struct enso_dim *limit = enso__op_known(c, 1, &n_known);
    int st;

    /* Range(0, N, 1): positions of a batch */
    if (limit != NULL && n_known == 1 && !enso__dim_fixed(limit[0])) {
        st = enso__op_ints(c, 0, &v[0], 1, &n_known);
        if (st == ENSO_OK)
            st = enso__op_ints(c, 2, &v[2], 1, &n_known);
        if (st != ENSO_OK)
            return st;
        y.dims[0] = limit[0];
        if (v[0] == 0 && v[2] == 1)
            return enso__op_out(c, 0, dtype, &y);
    }
    for (size_t i = 0; i < 3; i++) {
        st = enso__op_ints(c, i, &v[i], 1, &n_known);
        if (st != ENSO_OK)
            return st;
        if (n_known != 1)
            return enso__op_fail(c, ENSO_CORRUPT, "its inputs must be scalars");
    }
    if (v[2] == 0 || v[0] < INT32_MIN || v[0] > INT32_MAX || v[1] < INT32_MIN || v[1] > INT32_MAX)
        return enso__op_fail(c, ENSO_CORRUPT, "its bounds or step make no sense");
    v[2] = ENSO_MIN(ENSO_MAX(v[2], -INT32_MAX), INT32_MAX);
    n = v[2] > 0 ? (v[1] - v[0] + v[2] - 1) / v[2] : (v[0] - v[1] - v[2] - 1) / -v[2];
    n = ENSO_MAX(n, 0);
    y.dims[0] = enso_dim_fixed(n);
    st = enso__op_out(c, 0, dtype, &y);
    for (int64_t i = 0; i < n && n <= ENSO__MAX_KNOWN; i++)
        content[i] = enso_dim_fixed(v[0] + i * v[2]);
    return st != ENSO_OK || n > ENSO__MAX_KNOWN ? st : enso__op_set_known(c, 0, content, (size_t)n);
}
