/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape, Size, Concat, Split and Gather: see move.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/move.h"

void enso__shape_bind(const struct enso__bind *b, struct enso__shape_node *ret)
{
    ret->start = enso_node_int(b->node, "start", 0);
    ret->end = enso_node_int(b->node, "end", INT32_MAX);
}

int enso__shape_numbers(const struct enso__shape_node *s, enum enso_op op, const char *node,
                        const struct enso_tensor *x, const struct enso_tensor *y, int64_t *storage,
                        const int64_t **ret_numbers, size_t *ret_n, struct enso_error *err)
{
    int64_t rank = x->rank, start = s->start, end = s->end;

    if (op == ENSO_OP_SIZE) {
        *storage = enso_tensor_count(x);
        *ret_numbers = storage;
        *ret_n = 1;
    } else {
        start = ENSO_MAX(ENSO_MIN(start < 0 ? start + rank : start, rank), (int64_t)0);
        end = ENSO_MAX(ENSO_MIN(end < 0 ? end + rank : end, rank), start);
        *ret_numbers = x->dims + start;
        *ret_n = (size_t)(end - start);
    }
    if (y->dtype != ENSO_DTYPE_I64 || (size_t)enso_tensor_count(y) != *ret_n)
        return enso__op_error(op, node, err, ENSO_INTERNAL, "its result does not fit %s",
                              enso__dims_text(y).s);
    return ENSO_OK;
}

int enso__join_begin(struct enso__join *j, enum enso_op op, const char *node,
                     const struct enso_tensor *whole, int64_t axis, struct enso_error *err)
{
    int at = enso__axis(axis, whole->rank);

    if (at < 0)
        return enso__op_error(op, node, err, ENSO_INVALID, "the axis is out of range");
    *j = (struct enso__join){.op = op, .node = node, .whole = whole, .axis = (size_t)at};
    j->rows = enso__count(whole->dims, 0, j->axis);
    j->inner =
        enso_dtype_row_bytes(whole->dtype, enso__count(whole->dims, j->axis + 1, whole->rank));
    j->pitch = (size_t)whole->dims[at] * j->inner;
    return ENSO_OK;
}

/* The part is the same shape as the whole but for the axis. */
static bool fits(const struct enso_tensor *part, const struct enso_tensor *whole, size_t axis)
{
    if (part->rank != whole->rank || part->dtype != whole->dtype)
        return false;
    for (size_t d = 0; d < whole->rank; d++)
        if (d != axis && part->dims[d] != whole->dims[d])
            return false;
    return true;
}

int enso__join_part(struct enso__join *j, size_t i, const struct enso_tensor *part,
                    size_t *ret_offset, size_t *ret_width, struct enso_error *err)
{
    if (part == NULL)
        return enso__op_error(j->op, j->node, err, ENSO_INVALID, "part %zu is missing", i);
    if (!fits(part, j->whole, j->axis) || part->dims[j->axis] > j->whole->dims[j->axis] - j->at)
        return enso__op_error(j->op, j->node, err, ENSO_INVALID, "part %zu is %s, the whole %s", i,
                              enso__dims_text(part).s, enso__dims_text(j->whole).s);
    *ret_offset = (size_t)j->at * j->inner;
    *ret_width = (size_t)part->dims[j->axis] * j->inner;
    j->at += part->dims[j->axis];
    return ENSO_OK;
}

int enso__join_end(const struct enso__join *j, struct enso_error *err)
{
    if (j->at == j->whole->dims[j->axis])
        return ENSO_OK;
    return enso__op_error(j->op, j->node, err, ENSO_INVALID,
                          "its parts make %lld of %lld along axis %zu", (long long)j->at,
                          (long long)j->whole->dims[j->axis], j->axis);
}

int enso__gather_bind(const struct enso__bind *b, int64_t *ret_axis, struct enso_error *err)
{
    enum enso_dtype indices = enso__bind_dtype(b, 1);

    if (indices != ENSO_DTYPE_I32 && indices != ENSO_DTYPE_I64)
        return enso__unsupported(b, err, "indices of type %s", enso_dtype_name(indices));
    *ret_axis = enso_node_int(b->node, "axis", 0);
    return ENSO_OK;
}

int enso__gather_resolve(enum enso_op op, const char *node, int64_t axis,
                         const struct enso_tensor *x, const struct enso_tensor *indices,
                         const struct enso_tensor *y, struct enso__gather *ret,
                         struct enso_error *err)
{
    int at = enso__axis(axis, x->rank);

    if (at < 0)
        return enso__op_error(op, node, err, ENSO_INVALID, "the axis is out of range");
    *ret = (struct enso__gather){
        .axis = at,
        .n_outer = enso__count(x->dims, 0, (size_t)at),
        .n_indices = (size_t)enso_tensor_count(indices),
        .inner = enso_dtype_row_bytes(x->dtype, enso__count(x->dims, (size_t)at + 1, x->rank)),
        .dim = x->dims[at],
        .wide = indices->dtype == ENSO_DTYPE_I64};
    if (ret->n_outer * ret->n_indices * ret->inner != enso_tensor_bytes(y))
        return enso__op_error(op, node, err, ENSO_INTERNAL, "its result does not fit %s",
                              enso__dims_text(y).s);
    return ENSO_OK;
}
