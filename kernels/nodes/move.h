/* SPDX-License-Identifier: Apache-2.0
 *
 * What Shape, Size, Concat, Split and Gather mean, for every device: attributes, and what stands
 * where in bytes.
 */
#ifndef ENSO_KERNELS_NODES_MOVE_H
#define ENSO_KERNELS_NODES_MOVE_H

#include "kernels/nodes/node.h"

/* Shape (dimensions [start, end), negative ones from the end) and Size. */
struct enso__shape_node {
    int64_t start, end;
};
void enso__shape_bind(const struct enso__bind *b, struct enso__shape_node *ret);
/* The numbers of x: in its dims, or *storage. ENSO_INTERNAL when they do not fit y. */
int enso__shape_numbers(const struct enso__shape_node *s, enum enso_op op, const char *node,
                        const struct enso_tensor *x, const struct enso_tensor *y, int64_t *storage,
                        const int64_t **ret_numbers, size_t *ret_n,
                        struct enso_error *err) ENSO_MUST_CHECK;

/* Concat and Split: the whole is `rows` rows of `pitch` bytes; in each row the parts stand one
 * after another.
 *     st = enso__join_begin(&j, op, node, whole, axis, err);
 *     for (i = 0; st == ENSO_OK && i < n; i++)
 *         st = enso__join_part(&j, i, part[i], &offset, &width, err);
 *     if (st == ENSO_OK)
 *         st = enso__join_end(&j, err); */
struct enso__join {
    enum enso_op op;
    const char *node;
    const struct enso_tensor *whole;
    size_t axis, rows, inner, pitch;
    int64_t at; /* of the next part along the axis */
};
int enso__join_begin(struct enso__join *j, enum enso_op op, const char *node,
                     const struct enso_tensor *whole, int64_t axis,
                     struct enso_error *err) ENSO_MUST_CHECK;
/* Where part i stands in a row and how wide it is, in bytes; its own pitch is its width. */
int enso__join_part(struct enso__join *j, size_t i, const struct enso_tensor *part,
                    size_t *ret_offset, size_t *ret_width, struct enso_error *err) ENSO_MUST_CHECK;
/* The parts fill the whole. */
int enso__join_end(const struct enso__join *j, struct enso_error *err) ENSO_MUST_CHECK;

/* Gather: y[outer, j, :] = x[outer, indices[j], :], rows of `inner` bytes. */
struct enso__gather {
    int axis;
    size_t n_outer, n_indices, inner;
    int64_t dim; /* of the axis that indices choose from */
    bool wide;   /* indices are I64, not I32 */
};
/* The attribute axis; refuses indices of other types. */
int enso__gather_bind(const struct enso__bind *b, int64_t *ret_axis,
                      struct enso_error *err) ENSO_MUST_CHECK;
int enso__gather_resolve(enum enso_op op, const char *node, int64_t axis,
                         const struct enso_tensor *x, const struct enso_tensor *indices,
                         const struct enso_tensor *y, struct enso__gather *ret,
                         struct enso_error *err) ENSO_MUST_CHECK;

#endif
