/* SPDX-License-Identifier: Apache-2.0
 *
 * What Resize means, for every device. Along each axis an output position is a weighted sum of a
 * few input positions, its taps; positions and weights depend on the axis alone, whatever the mode,
 * so they are made once, when the node is bound:
 *
 *     y[o, a, b, c, i] = sum over taps (p, q, r) of
 *                        wa[p] · wb[q] · wc[r] · x[o, A[p], B[q], C[r], i]
 *
 * Up to three neighbouring axes are resized (an image's height and width wherever its channels
 * are); the axes before and behind them are `outer` and `inner`.
 */
#ifndef ENSO_KERNELS_NODES_RESIZE_H
#define ENSO_KERNELS_NODES_RESIZE_H

#include "kernels/nodes/node.h"

#define ENSO__RESIZE_AXES 3

/* One axis. */
struct enso__resize_table {
    bool resized; /* else there are no lists: position o reads position o */
    int64_t in, out;
    size_t n_taps;
    int32_t *places; /* [n_taps][out], all inside of the input */
    float *weights;  /* likewise; NULL for nearest, which has one tap */
};

struct enso__resize {
    bool nearest;
    uint8_t rank, first, n_axes; /* axes first .. first + n_axes - 1 of `rank` */
    struct enso__resize_table tables[ENSO__RESIZE_AXES];
};

/* Attributes to tables; ENSO_UNSUPPORTED names what is not offered. Release with enso__resize_done
 * (in either case). */
int enso__resize_bind(const struct enso__bind *b, struct enso__resize *ret,
                      struct enso_error *err) ENSO_MUST_CHECK;
void enso__resize_done(struct enso__resize *r);
/* Bytes of one of a table's two lists. */
size_t enso__resize_bytes(const struct enso__resize_table *t);

/* Sizes of a call, always as three axes (leading ones of length 1). */
struct enso__resize_shape {
    size_t outer, inner;
    size_t in[ENSO__RESIZE_AXES], out[ENSO__RESIZE_AXES];
    const struct enso__resize_table *tables[ENSO__RESIZE_AXES]; /* NULL: the axis stays */
};
/* False when x and y are not what the node was bound for. */
bool enso__resize_resolve(const struct enso__resize *r, const struct enso_tensor *x,
                          const struct enso_tensor *y,
                          struct enso__resize_shape *ret) ENSO_MUST_CHECK;

#endif
