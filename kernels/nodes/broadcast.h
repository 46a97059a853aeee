/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking over tensors that broadcast against each other (ONNX Broadcasting, as numpy). The shape
 * is simplified first: dimensions of 1 go, neighbours merge where every operand runs through them
 * evenly. What is left are rows in which each operand moves by 0 or 1 element.
 */
#ifndef ENSO_KERNELS_NODES_BROADCAST_H
#define ENSO_KERNELS_NODES_BROADCAST_H

#include "kernels/nodes/node.h"

#define ENSO__BROADCAST_MAX 3

struct enso__broadcast {
    size_t n_operands, rank;    /* rank >= 1; the last dimension is the row */
    size_t dims[ENSO_MAX_RANK]; /* simplified shape of the result */
    size_t strides[ENSO__BROADCAST_MAX][ENSO_MAX_RANK]; /* elements; the last is 0 or 1 */
};

/* False when an operand does not broadcast to the shape of y. */
bool enso__broadcast_init(struct enso__broadcast *b, const struct enso_tensor *y,
                          const struct enso_tensor *const *operands,
                          size_t n_operands) ENSO_MUST_CHECK;

/* A piece of one row: result elements [at, at + n), operand i from element offsets[i] on. */
struct enso__broadcast_piece {
    size_t at, n;
    size_t offsets[ENSO__BROADCAST_MAX];
};

/* The next piece of result elements [first, last); begin with *piece = {first}. False at the end.
 *     struct enso__broadcast_piece p = {.at = first};
 *     while (enso__broadcast_next(&b, last, &p)) ... */
bool enso__broadcast_next(const struct enso__broadcast *b, size_t last,
                          struct enso__broadcast_piece *piece);

#endif
