/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that rearrange elements by strides (ONNX, opset 17): Transpose, Slice, Expand, Tile,
 * DepthToSpace, SpaceToDepth. All element types. The strides come from kernels/nodes/view.h.
 */
#include "ensod_build.h"

#include "kernels/cpu/strided.h"
#include "kernels/nodes/view.h"

struct view {
    struct enso_bound bound;
    struct enso__view v;
};

/* Integers of a Slice that stand in a tensor of the batch. */
static int get_ints(const struct enso__call *call, struct enso__ints *ints, struct enso_error *err)
{
    const struct enso__ints unknown = *ints, *found;
    struct enso__ints storage;
    int st = enso__ints_get(call, &unknown, &storage, &found, err);

    if (st == ENSO_OK)
        *ints = *found;
    return st;
}

static int view_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    const struct enso_bound *bound = call->bound;
    struct enso__view v = ((const struct view *)bound)->v;
    struct enso__strided s;
    int st = ENSO_OK;

    if (bound->op == ENSO_OP_SLICE) {
        st = get_ints(call, &v.starts, err);
        if (st == ENSO_OK)
            st = get_ints(call, &v.axes, err);
        if (st == ENSO_OK)
            st = get_ints(call, &v.steps, err);
    }
    if (st == ENSO_OK)
        st = enso__view_strided(&v, x, y, bound->op, bound->node, &s, err);
    return st == ENSO_OK ? enso__strided_copy(call, &s, x, y, err) : st;
}

int enso__bind_view(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct view *v = enso__bound_new(b, sizeof(*v), view_run, err);

    if (v == NULL)
        return ENSO_NO_MEMORY;
    int st = enso__view_bind(b, &v->v, err);
    if (st != ENSO_OK) {
        enso__bound_free(&v->bound);
        return st;
    }
    *ret = &v->bound;
    return ENSO_OK;
}
