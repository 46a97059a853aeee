/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions: see reduction.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/reduction.h"

void enso__reduction_plan(const struct enso_tensor *x, uint32_t reduced, struct enso__reduction *w)
{
    size_t stride = 1, strides[ENSO_MAX_RANK];

    for (size_t d = x->rank; d-- > 0; stride *= (size_t)x->dims[d])
        strides[d] = stride;
    w->n_kept = w->n_reduced = 0;
    for (size_t d = 0; d < x->rank; d++) {
        size_t *n = (reduced >> d & 1) != 0 ? &w->n_reduced : &w->n_kept;
        size_t *dims = (reduced >> d & 1) != 0 ? w->reduced_dims : w->kept_dims;
        size_t *steps = (reduced >> d & 1) != 0 ? w->reduced_strides : w->kept_strides;
        size_t dim = (size_t)x->dims[d];

        if (*n > 0 && steps[*n - 1] == strides[d] * dim) { /* runs on evenly */
            dims[*n - 1] *= dim;
            steps[*n - 1] = strides[d];
        } else {
            dims[*n] = dim;
            steps[(*n)++] = strides[d];
        }
    }
    if (w->n_reduced == 0) {
        w->n_reduced = 1;
        w->reduced_dims[0] = 1;
        w->reduced_strides[0] = 1;
    }
    w->rows = 1;
    for (size_t d = 0; d + 1 < w->n_reduced; d++)
        w->rows *= w->reduced_dims[d];
    w->n_outputs = 1;
    for (size_t d = 0; d < w->n_kept; d++)
        w->n_outputs *= w->kept_dims[d];
}

bool enso__reduction_axes(const struct enso__ints *axes, bool noop_when_empty, size_t rank,
                          uint32_t *ret_reduced, int64_t *ret_axis)
{
    uint32_t reduced = axes->n == 0 && !noop_when_empty ? UINT32_MAX : 0;

    for (size_t i = 0; i < axes->n; i++) {
        int axis = enso__axis(axes->v[i], rank);

        if (axis < 0) {
            *ret_axis = axes->v[i];
            return false;
        }
        reduced |= 1u << axis;
    }
    *ret_reduced = reduced;
    return true;
}
