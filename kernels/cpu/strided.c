/* SPDX-License-Identifier: Apache-2.0
 *
 * Strided copies: see strided.h. Dimensions are merged first, so that most cases end as runs of
 * whole rows (memcpy) or as a plain two-dimensional transposition.
 */
#include "ensod_build.h"

#include "kernels/cpu/strided.h"

#include <string.h>

struct strided_work {
    const struct enso__strided *s;
    const unsigned char *x;
    unsigned char *y;
    size_t bytes; /* of an element */
};

/* Drop dimensions of 1 and merge neighbours that run on evenly. */
static void simplify(struct enso__strided *s)
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

#define COPY_ROW(type)                                                                             \
    for (size_t i = 0; i < n; i++)                                                                 \
        ((type *)y)[i] = *((const type *)x + (ptrdiff_t)i * stride);                               \
    break

static void copy_row(unsigned char *y, const unsigned char *x, ptrdiff_t stride, size_t n,
                     size_t bytes)
{
    if (stride == 1) {
        memcpy(y, x, n * bytes);
        return;
    }
    switch (bytes) {
    case 1:
        COPY_ROW(uint8_t);
    case 2:
        COPY_ROW(uint16_t);
    case 4:
        COPY_ROW(uint32_t);
    default:
        COPY_ROW(uint64_t);
    }
}

static void strided_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct strided_work *w = arg;
    const struct enso__strided *s = w->s;
    size_t row = s->dims[s->rank - 1];

    (void)thread;
    for (size_t at = first; at < last;) {
        size_t in_row = at % row, index = at / row;
        size_t n = ENSO_MIN(row - in_row, last - at);
        ptrdiff_t offset = s->offset + (ptrdiff_t)in_row * s->strides[s->rank - 1];

        for (size_t d = s->rank - 1; d-- > 0;) {
            offset += (ptrdiff_t)(index % s->dims[d]) * s->strides[d];
            index /= s->dims[d];
        }
        copy_row(w->y + at * w->bytes, w->x + offset * (ptrdiff_t)w->bytes, s->strides[s->rank - 1],
                 n, w->bytes);
        at += n;
    }
}

int enso__strided_copy(const struct enso__call *call, struct enso__strided *s,
                       const struct enso_tensor *x, const struct enso_tensor *y,
                       struct enso_error *err)
{
    size_t count = 1;
    ptrdiff_t low = s->offset, high = s->offset;

    for (size_t d = 0; d < s->rank; d++)
        count *= s->dims[d];
    if (count != (size_t)enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "%s does not fit the result %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    for (size_t d = 0; d < s->rank && count > 0; d++) {
        ptrdiff_t reach = (ptrdiff_t)(s->dims[d] - 1) * s->strides[d];

        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    if (count > 0 && (low < 0 || high >= (ptrdiff_t)enso_tensor_count(x)))
        return enso__run_error(call, err, ENSO_INTERNAL, "reaches outside of its input %s",
                               enso__dims_text(x).s);
    simplify(s);
    size_t bytes = enso_dtype_row_bytes(x->dtype, 1);
    struct strided_work w = {s, x->data, y->data, bytes};

    enso__parallel(call, count, bytes, strided_piece, &w);
    return ENSO_OK;
}
