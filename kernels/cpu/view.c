/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that rearrange elements by strides (ONNX, opset 17): Transpose, Slice, Expand, Tile,
 * DepthToSpace, SpaceToDepth. All element types. See strided.h for the engine.
 */
#include "ensod_build.h"

#include <string.h>

#include "kernels/cpu/strided.h"

/* Row-major strides of a tensor, in elements. */
static void dense_strides(const struct enso_tensor *t, ptrdiff_t *strides)
{
    ptrdiff_t stride = 1;

    for (size_t d = t->rank; d-- > 0; stride *= (ptrdiff_t)t->dims[d])
        strides[d] = stride;
}

struct transpose {
    struct enso_bound bound;
    struct enso__ints perm;
};

static int transpose_run(const struct enso__call *call, struct enso_error *err)
{
    const struct transpose *t = (const struct transpose *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0);
    struct enso__strided s = {0};
    ptrdiff_t strides[ENSO_MAX_RANK];

    if (t->perm.present && t->perm.n != x->rank)
        return enso__run_error(call, err, ENSO_INVALID, "perm has %u entries for rank %u",
                               t->perm.n, x->rank);
    dense_strides(x, strides);
    for (size_t d = 0; d < x->rank; d++) {
        int axis = t->perm.present ? enso__axis(t->perm.v[d], x->rank) : (int)(x->rank - 1 - d);

        if (axis < 0)
            return enso__run_error(call, err, ENSO_INVALID, "perm has an entry out of range");
        enso__strided_add(&s, x->dims[axis], strides[axis]);
    }
    return enso__strided_copy(call, &s, x, enso__out(call, 0), err);
}

int enso__bind_transpose(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    struct transpose *t = enso__bound_new(b, sizeof(*t), transpose_run, err);

    if (t == NULL)
        return ENSO_NO_MEMORY;
    int st = enso__ints_bind(b, SIZE_MAX, "perm", &t->perm, err);
    if (st != ENSO_OK) {
        enso__bound_free(&t->bound);
        return st;
    }
    *ret = &t->bound;
    return ENSO_OK;
}

struct slice {
    struct enso_bound bound;
    struct enso__ints starts, axes, steps;
};

/* First index of a slice along a dimension of n, ONNX's clamping. */
static int64_t slice_start(int64_t start, int64_t step, int64_t n)
{
    if (start < 0)
        start = start < -n ? (step < 0 ? -1 : 0) : start + n;
    int64_t most = step < 0 ? n - 1 : n;

    return ENSO_MAX(ENSO_MIN(start, most), step < 0 ? (int64_t)-1 : (int64_t)0);
}

static int slice_run(const struct enso__call *call, struct enso_error *err)
{
    const struct slice *op = (const struct slice *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct enso__ints storage[3];
    const struct enso__ints *starts, *axes, *steps;
    int st = enso__ints_get(call, &op->starts, &storage[0], &starts, err);

    if (st == ENSO_OK)
        st = enso__ints_get(call, &op->axes, &storage[1], &axes, err);
    if (st == ENSO_OK)
        st = enso__ints_get(call, &op->steps, &storage[2], &steps, err);
    if (st != ENSO_OK)
        return st;
    struct enso__strided s = {0};
    ptrdiff_t strides[ENSO_MAX_RANK], offset = 0;

    if (x->rank != y->rank || (axes->present && axes->n != starts->n) ||
        (steps->present && steps->n != starts->n))
        return enso__run_error(call, err, ENSO_INVALID, "starts, axes and steps differ in length");
    dense_strides(x, strides);
    for (size_t i = 0; i < starts->n; i++) {
        int axis = enso__axis(axes->present ? axes->v[i] : (int64_t)i, x->rank);
        int64_t step = steps->present ? steps->v[i] : 1;

        if (axis < 0 || step == 0 || step == INT64_MIN)
            return enso__run_error(call, err, ENSO_INVALID, "an axis or step is out of range");
        offset += (ptrdiff_t)slice_start(starts->v[i], step, x->dims[axis]) * strides[axis];
        if (y->dims[axis] > 1) /* a huge step takes one element: do not overflow */
            strides[axis] *= (ptrdiff_t)ENSO_MAX(ENSO_MIN(step, x->dims[axis]), -x->dims[axis]);
    }
    for (size_t d = 0; d < x->rank; d++)
        enso__strided_add(&s, y->dims[d], strides[d]);
    s.offset = offset;
    return enso__strided_copy(call, &s, x, y, err);
}

int enso__bind_slice(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct slice *s = enso__bound_new(b, sizeof(*s), slice_run, err);

    if (s == NULL)
        return ENSO_NO_MEMORY;
    int st = enso__ints_bind(b, 1, "starts", &s->starts, err);
    if (st == ENSO_OK)
        st = enso__ints_bind(b, 3, "axes", &s->axes, err);
    if (st == ENSO_OK)
        st = enso__ints_bind(b, 4, "steps", &s->steps, err);
    if (st != ENSO_OK) {
        enso__bound_free(&s->bound);
        return st;
    }
    *ret = &s->bound;
    return ENSO_OK;
}

/* Expand and Tile: the repeats follow from the result's shape. */
static int expand_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct enso__strided s = {0};
    size_t strides[ENSO_MAX_RANK];

    if (!enso__broadcast_strides(x, y->rank, y->dims, strides))
        return enso__run_error(call, err, ENSO_INVALID, "%s does not broadcast to %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    for (size_t d = 0; d < y->rank; d++)
        enso__strided_add(&s, y->dims[d], (ptrdiff_t)strides[d]);
    return enso__strided_copy(call, &s, x, y, err);
}

static int tile_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct enso__strided s = {0};
    ptrdiff_t strides[ENSO_MAX_RANK];

    if (x->rank != y->rank)
        return enso__run_error(call, err, ENSO_INTERNAL, "input and output differ in rank");
    dense_strides(x, strides);
    for (size_t d = 0; d < x->rank; d++) {
        if (x->dims[d] == 0)
            return enso__run_error(call, err, ENSO_INTERNAL, "repeats an empty input");
        enso__strided_add(&s, y->dims[d] / x->dims[d], 0);
        enso__strided_add(&s, x->dims[d], strides[d]);
    }
    return enso__strided_copy(call, &s, x, y, err);
}

int enso__bind_repeat(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso_bound *bound = enso__bound_new(
        b, sizeof(*bound), b->node->op == ENSO_OP_EXPAND ? expand_run : tile_run, err);

    if (bound == NULL)
        return ENSO_NO_MEMORY;
    *ret = bound;
    return ENSO_OK;
}

/* DepthToSpace [N, C, H, W] with block k, split as [N, k, k, C/k², H, W] (mode DCR) or
 * [N, C/k², k, k, H, W] (CRD); SpaceToDepth the way back of DCR. */
struct depth_space {
    struct enso_bound bound;
    int64_t block;
    bool crd;
};

static int depth_space_run(const struct enso__call *call, struct enso_error *err)
{
    const struct depth_space *d = (const struct depth_space *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    int64_t k = d->block;
    struct enso__strided s = {0};
    ptrdiff_t strides[ENSO_MAX_RANK];

    if (x->rank != 4 || y->rank != 4)
        return enso__run_error(call, err, ENSO_INVALID, "needs rank 4, not %u", x->rank);
    dense_strides(x, strides);
    enso__strided_add(&s, x->dims[0], strides[0]);
    if (d->bound.op == ENSO_OP_DEPTH_TO_SPACE) {
        int64_t channels = x->dims[1] / (k * k);
        ptrdiff_t channel = (d->crd ? (ptrdiff_t)(k * k) : 1) * strides[1];
        ptrdiff_t column = (d->crd ? 1 : (ptrdiff_t)channels) * strides[1];

        enso__strided_add(&s, channels, channel);
        enso__strided_add(&s, x->dims[2], strides[2]);
        enso__strided_add(&s, k, column * (ptrdiff_t)k);
        enso__strided_add(&s, x->dims[3], strides[3]);
        enso__strided_add(&s, k, column);
    } else {
        enso__strided_add(&s, k, strides[2]);
        enso__strided_add(&s, k, strides[3]);
        enso__strided_add(&s, x->dims[1], strides[1]);
        enso__strided_add(&s, x->dims[2] / k, strides[2] * (ptrdiff_t)k);
        enso__strided_add(&s, x->dims[3] / k, strides[3] * (ptrdiff_t)k);
    }
    return enso__strided_copy(call, &s, x, y, err);
}

int enso__bind_depth_space(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    int64_t block = enso_node_int(b->node, "blocksize", 0);

    if (block < 1 || block > 65536)
        return enso__unsupported(b, err, "blocksize %lld", (long long)block);
    struct depth_space *d = enso__bound_new(b, sizeof(*d), depth_space_run, err);
    if (d == NULL)
        return ENSO_NO_MEMORY;
    d->block = block;
    d->crd = strcmp(enso_node_string(b->node, "mode", "DCR"), "CRD") == 0;
    *ret = &d->bound;
    return ENSO_OK;
}
