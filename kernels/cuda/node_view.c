/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that rearrange elements by strides (Transpose, Slice, Expand, Tile, DepthToSpace,
 * SpaceToDepth), all element types: host side of strided.cu. The strides come from
 * kernels/nodes/view.h. A Slice whose bounds are known only at run time is refused: they would lie
 * in device memory, which the host does not read.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_elements.h"
#include "kernels/nodes/view.h"

struct view {
    struct enso_bound bound;
    struct enso__view v;
};

static int view_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_bound *bound = call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    struct enso__strided s;
    size_t n = 0;
    int st =
        enso__view_strided(&((const struct view *)bound)->v, x, y, bound->op, bound->node, &s, err);

    if (st == ENSO_OK)
        st = enso__strided_check(&s, x, y, bound->op, bound->node, &n, err);
    if (st != ENSO_OK)
        return st;
    enso__strided_simplify(&s);
    struct enso_cuda_strided shape = {.rank = (uint32_t)s.rank, .offset = s.offset};

    for (size_t d = 0; d < s.rank; d++) {
        shape.dims[d] = s.dims[d];
        shape.strides[d] = s.strides[d];
    }
    return enso__cuda_launched(call,
                               enso_cuda_strided(enso_dtype_row_bytes(x->dtype, 1), x->data,
                                                 y->data, n, &shape, call->stream),
                               err);
}

int enso__cuda_bind_view(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    struct view *v = enso__cuda_bound_new(b, sizeof(*v), view_run, err);

    if (v == NULL)
        return ENSO_NO_MEMORY;
    int st = enso__view_bind(b, &v->v, err);

    if (st == ENSO_OK && b->node->op == ENSO_OP_SLICE &&
        (!v->v.starts.known || !v->v.axes.known || !v->v.steps.known))
        st = enso__unsupported(b, err,
                               "its bounds are known only at run time, which the GPU cannot use");
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&v->bound);
        return st;
    }
    *ret = &v->bound;
    return ENSO_OK;
}
