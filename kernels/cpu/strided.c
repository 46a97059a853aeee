/* SPDX-License-Identifier: Apache-2.0
 *
 * Strided copies: see strided.h. Rows that run on evenly are one memcpy.
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
    size_t count;
    int st = enso__strided_check(s, x, y, call->bound->op, call->bound->node, &count, err);

    if (st != ENSO_OK)
        return st;
    enso__strided_simplify(s);
    size_t bytes = enso_dtype_row_bytes(x->dtype, 1);
    struct strided_work w = {s, x->data, y->data, bytes};

    enso__parallel(call, count, bytes, strided_piece, &w);
    return ENSO_OK;
}
