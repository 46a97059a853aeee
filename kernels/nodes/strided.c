/* SPDX-License-Identifier: Apache-2.0
 *
 * Strided copies: see strided.h. Dimensions are merged first, so that most cases end as runs of
 * whole rows or as a plain two-dimensional transposition.
 */
#include "ensod_build.h"

#include "kernels/nodes/strided.h"

void enso__strided_simplify(struct enso__strided *s)
{
    size_t rank = 0;

    for (size_t d = 0; d < s->rank; d++) {
        if (s->dims[d] == 1)
            continue;
        if (rank > 0 && s->strides[rank - 1] == s->strides[d] * (ptrdiff_t)s->dims[d]) {
            s->dims[rank - 1] *= s->dims[d];
            s->strides[rank - 1] = s->strides[d];
        } else {
            s->dims[rank] = s->dims[d];
            s->strides[rank++] = s->strides[d];
        }
    }
    if (rank == 0) {
        s->dims[0] = 1;
        s->strides[0] = 1;
        rank = 1;
    }
    s->rank = rank;
}

int enso__strided_check(const struct enso__strided *s, const struct enso_tensor *x,
                        const struct enso_tensor *y, enum enso_op op, const char *node,
                        size_t *ret_count, struct enso_error *err)
{
    size_t count = 1;
    ptrdiff_t low = s->offset, high = s->offset;

    for (size_t d = 0; d < s->rank; d++)
        count *= s->dims[d];
    if (count != (size_t)enso_tensor_count(y))
        return enso__op_error(op, node, err, ENSO_INTERNAL, "%s does not fit the result %s",
                              enso__dims_text(x).s, enso__dims_text(y).s);
    for (size_t d = 0; d < s->rank && count > 0; d++) {
        ptrdiff_t reach = (ptrdiff_t)(s->dims[d] - 1) * s->strides[d];

        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    if (count > 0 && (low < 0 || high >= (ptrdiff_t)enso_tensor_count(x)))
        return enso__op_error(op, node, err, ENSO_INTERNAL, "reaches outside of its input %s",
                              enso__dims_text(x).s);
    *ret_count = count;
    return ENSO_OK;
}
