/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that rearrange elements, as strides: see view.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/view.h"

#include <string.h>

/* What the shapes are checked for. */
struct pair {
    const struct enso_tensor *x, *y;
    enum enso_op op;
    const char *node;
    struct enso_error *err;
};

#define REFUSE(p, status, ...) enso__op_error((p)->op, (p)->node, (p)->err, status, __VA_ARGS__)

int enso__view_bind(const struct enso__bind *b, struct enso__view *ret, struct enso_error *err)
{
    *ret = (struct enso__view){.block = 1};
    switch (b->node->op) {
    case ENSO_OP_TRANSPOSE:
        return enso__ints_bind(b, SIZE_MAX, "perm", &ret->perm, err);
    case ENSO_OP_SLICE: {
        int st = enso__ints_bind(b, 1, "starts", &ret->starts, err);

        if (st == ENSO_OK)
            st = enso__ints_bind(b, 3, "axes", &ret->axes, err);
        return st == ENSO_OK ? enso__ints_bind(b, 4, "steps", &ret->steps, err) : st;
    }
    case ENSO_OP_DEPTH_TO_SPACE:
    case ENSO_OP_SPACE_TO_DEPTH:
        ret->block = enso_node_int(b->node, "blocksize", 0);
        if (ret->block < 1 || ret->block > 65536)
            return enso__unsupported(b, err, "blocksize %lld", (long long)ret->block);
        ret->crd = strcmp(enso_node_string(b->node, "mode", "DCR"), "CRD") == 0;
        return ENSO_OK;
    default:
        return ENSO_OK;
    }
}

/* Row-major strides of a tensor, in elements. */
static void dense_strides(const struct enso_tensor *t, ptrdiff_t *strides)
{
    ptrdiff_t stride = 1;

    for (size_t d = t->rank; d-- > 0; stride *= (ptrdiff_t)t->dims[d])
        strides[d] = stride;
}

static int transpose(const struct enso__view *v, const struct pair *p, struct enso__strided *s)
{
    ptrdiff_t strides[ENSO_MAX_RANK];

    if (v->perm.present && v->perm.n != p->x->rank)
        return REFUSE(p, ENSO_INVALID, "perm has %u entries for rank %u", v->perm.n, p->x->rank);
    dense_strides(p->x, strides);
    for (size_t d = 0; d < p->x->rank; d++) {
        int axis =
            v->perm.present ? enso__axis(v->perm.v[d], p->x->rank) : (int)(p->x->rank - 1 - d);

        if (axis < 0)
            return REFUSE(p, ENSO_INVALID, "perm has an entry out of range");
        enso__strided_add(s, p->x->dims[axis], strides[axis]);
    }
    return ENSO_OK;
}

/* First index of a slice along a dimension of n, ONNX's clamping. */
static int64_t slice_start(int64_t start, int64_t step, int64_t n)
{
    if (start < 0)
        start = start < -n ? (step < 0 ? -1 : 0) : start + n;
    int64_t most = step < 0 ? n - 1 : n;

    return ENSO_MAX(ENSO_MIN(start, most), step < 0 ? (int64_t)-1 : (int64_t)0);
}

static int slice(const struct enso__view *v, const struct pair *p, struct enso__strided *s)
{
    const struct enso_tensor *x = p->x, *y = p->y;
    const struct enso__ints *starts = &v->starts, *axes = &v->axes, *steps = &v->steps;
    ptrdiff_t strides[ENSO_MAX_RANK], offset = 0;

    if (x->rank != y->rank || (axes->present && axes->n != starts->n) ||
        (steps->present && steps->n != starts->n))
        return REFUSE(p, ENSO_INVALID, "starts, axes and steps differ in length");
    dense_strides(x, strides);
    for (size_t i = 0; i < starts->n; i++) {
        int axis = enso__axis(axes->present ? axes->v[i] : (int64_t)i, x->rank);
        int64_t step = steps->present ? steps->v[i] : 1;

        if (axis < 0 || step == 0 || step == INT64_MIN)
            return REFUSE(p, ENSO_INVALID, "an axis or step is out of range");
        offset += (ptrdiff_t)slice_start(starts->v[i], step, x->dims[axis]) * strides[axis];
        if (y->dims[axis] > 1) /* a huge step takes one element: do not overflow */
            strides[axis] *= (ptrdiff_t)ENSO_MAX(ENSO_MIN(step, x->dims[axis]), -x->dims[axis]);
    }
    for (size_t d = 0; d < x->rank; d++)
        enso__strided_add(s, y->dims[d], strides[d]);
    s->offset = offset;
    return ENSO_OK;
}

/* Expand and Tile: the repeats follow from the result's shape. */
static int expand(const struct pair *p, struct enso__strided *s)
{
    size_t strides[ENSO_MAX_RANK];

    if (!enso__broadcast_strides(p->x, p->y->rank, p->y->dims, strides))
        return REFUSE(p, ENSO_INVALID, "%s does not broadcast to %s", enso__dims_text(p->x).s,
                      enso__dims_text(p->y).s);
    for (size_t d = 0; d < p->y->rank; d++)
        enso__strided_add(s, p->y->dims[d], (ptrdiff_t)strides[d]);
    return ENSO_OK;
}

static int tile(const struct pair *p, struct enso__strided *s)
{
    ptrdiff_t strides[ENSO_MAX_RANK];

    if (p->x->rank != p->y->rank)
        return REFUSE(p, ENSO_INTERNAL, "input and output differ in rank");
    dense_strides(p->x, strides);
    for (size_t d = 0; d < p->x->rank; d++) {
        if (p->x->dims[d] == 0)
            return REFUSE(p, ENSO_INTERNAL, "repeats an empty input");
        enso__strided_add(s, p->y->dims[d] / p->x->dims[d], 0);
        enso__strided_add(s, p->x->dims[d], strides[d]);
    }
    return ENSO_OK;
}

/* DepthToSpace [N, C, H, W] with block k, split as [N, k, k, C/k², H, W] (mode DCR) or
 * [N, C/k², k, k, H, W] (CRD); SpaceToDepth the way back of DCR. */
static int depth_space(const struct enso__view *v, const struct pair *p, struct enso__strided *s)
{
    const struct enso_tensor *x = p->x;
    int64_t k = v->block;
    ptrdiff_t strides[ENSO_MAX_RANK];

    if (x->rank != 4 || p->y->rank != 4)
        return REFUSE(p, ENSO_INVALID, "needs rank 4, not %u", x->rank);
    dense_strides(x, strides);
    enso__strided_add(s, x->dims[0], strides[0]);
    if (p->op == ENSO_OP_DEPTH_TO_SPACE) {
        int64_t channels = x->dims[1] / (k * k);
        ptrdiff_t channel = (v->crd ? (ptrdiff_t)(k * k) : 1) * strides[1];
        ptrdiff_t column = (v->crd ? 1 : (ptrdiff_t)channels) * strides[1];

        enso__strided_add(s, channels, channel);
        enso__strided_add(s, x->dims[2], strides[2]);
        enso__strided_add(s, k, column * (ptrdiff_t)k);
        enso__strided_add(s, x->dims[3], strides[3]);
        enso__strided_add(s, k, column);
    } else {
        enso__strided_add(s, k, strides[2]);
        enso__strided_add(s, k, strides[3]);
        enso__strided_add(s, x->dims[1], strides[1]);
        enso__strided_add(s, x->dims[2] / k, strides[2] * (ptrdiff_t)k);
        enso__strided_add(s, x->dims[3] / k, strides[3] * (ptrdiff_t)k);
    }
    return ENSO_OK;
}

int enso__view_strided(const struct enso__view *v, const struct enso_tensor *x,
                       const struct enso_tensor *y, enum enso_op op, const char *node,
                       struct enso__strided *ret, struct enso_error *err)
{
    const struct pair p = {x, y, op, node, err};

    *ret = (struct enso__strided){0};
    switch (op) {
    case ENSO_OP_TRANSPOSE:
        return transpose(v, &p, ret);
    case ENSO_OP_SLICE:
        return slice(v, &p, ret);
    case ENSO_OP_EXPAND:
        return expand(&p, ret);
    case ENSO_OP_TILE:
        return tile(&p, ret);
    default:
        return depth_space(v, &p, ret);
    }
}
