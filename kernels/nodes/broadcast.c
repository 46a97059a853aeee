/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking over broadcast tensors: see broadcast.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/broadcast.h"

/* Dimensions d - 1 and d are one for every operand. */
static bool merges(const struct enso__broadcast *b, size_t d, size_t dim,
                   size_t strides[ENSO__BROADCAST_MAX][ENSO_MAX_RANK], size_t from)
{
    for (size_t i = 0; i < b->n_operands; i++)
        if (b->strides[i][d] != strides[i][from] * dim)
            return false;
    return true;
}

bool enso__broadcast_init(struct enso__broadcast *b, const struct enso_tensor *y,
                          const struct enso_tensor *const *operands, size_t n_operands)
{
    size_t strides[ENSO__BROADCAST_MAX][ENSO_MAX_RANK];

    b->n_operands = n_operands;
    b->rank = 0;
    for (size_t i = 0; i < n_operands; i++)
        if (!enso__broadcast_strides(operands[i], y->rank, y->dims, strides[i]))
            return false;
    for (size_t d = 0; d < y->rank; d++) {
        size_t dim = (size_t)y->dims[d];

        if (dim == 1)
            continue;
        if (b->rank > 0 && merges(b, b->rank - 1, dim, strides, d)) {
            b->dims[b->rank - 1] *= dim;
        } else {
            b->dims[b->rank] = dim;
            b->rank++;
        }
        for (size_t i = 0; i < n_operands; i++)
            b->strides[i][b->rank - 1] = strides[i][d];
    }
    if (b->rank == 0) {
        b->rank = 1;
        b->dims[0] = 1;
        for (size_t i = 0; i < n_operands; i++)
            b->strides[i][0] = 0;
    }
    return true;
}

bool enso__broadcast_next(const struct enso__broadcast *b, size_t last,
                          struct enso__broadcast_piece *piece)
{
    piece->at += piece->n;
    if (piece->at >= last)
        return false;
    size_t row = b->dims[b->rank - 1];
    size_t index = piece->at / row, in_row = piece->at % row;

    piece->n = ENSO_MIN(row - in_row, last - piece->at);
    for (size_t i = 0; i < b->n_operands; i++)
        piece->offsets[i] = in_row * b->strides[i][b->rank - 1];
    for (size_t d = b->rank - 1; d-- > 0;) {
        size_t at = index % b->dims[d];

        index /= b->dims[d];
        for (size_t i = 0; i < b->n_operands; i++)
            piece->offsets[i] += at * b->strides[i][d];
    }
    return true;
}
