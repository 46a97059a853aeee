/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax, LRN and the norms: see norm.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/norm.h"

bool enso__slices_of(const struct enso_tensor *x, int64_t axis, struct enso__slices *ret)
{
    int at = x->rank == 0 ? 0 : enso__axis(axis, x->rank);

    if (at < 0)
        return false;
    *ret = (struct enso__slices){1, 1, 1};
    if (x->rank > 0) {
        ret->outer = enso__count(x->dims, 0, (size_t)at);
        ret->n = (size_t)x->dims[at];
        ret->inner = enso__count(x->dims, (size_t)at + 1, x->rank);
    }
    return true;
}

bool enso__side_by_side(const struct enso__bind *b, int64_t axis)
{
    const struct enso_value *x = enso__bind_input(b, 0);

    if (x == NULL || !x->has_shape)
        return false;
    int at = x->shape.rank == 0 ? 0 : enso__axis(axis, x->shape.rank);

    if (at < 0)
        return false;
    for (size_t d = (size_t)at + 1; d < x->shape.rank; d++)
        if (x->shape.dims[d].extent != ENSO_EXTENT_FIXED || x->shape.dims[d].factor != 1)
            return false;
    return true;
}

void enso__softmax_bind(const struct enso__bind *b, struct enso__softmax *ret)
{
    ret->axis = enso_node_int(b->node, "axis", -1);
    ret->side_by_side = enso__side_by_side(b, ret->axis);
}

bool enso__lrn_bind(const struct enso__bind *b, struct enso__lrn *ret)
{
    ret->size = enso_node_int(b->node, "size", 0);
    ret->alpha = enso_node_float(b->node, "alpha", 1e-4f);
    ret->beta = enso_node_float(b->node, "beta", 0.75f);
    ret->bias = enso_node_float(b->node, "bias", 1.0f);
    ret->nhwc = enso_node_int(b->node, "nhwc", 0) != 0;
    return ret->size >= 1 && ret->size <= INT32_MAX;
}

float enso__row_norm_epsilon(const struct enso__bind *b)
{
    return enso_node_float(b->node, "epsilon",
                           b->node->op == ENSO_OP_L2_NORMALIZE ? 1e-12f : 1e-5f);
}

int enso__row_norm_constants(const struct enso__bind *b, float **ret_gamma, float **ret_beta,
                             size_t *ret_n, struct enso_error *err)
{
    bool layer = b->node->op == ENSO_OP_LAYER_NORM, rms = b->node->op == ENSO_OP_RMS_NORM;
    float *gamma = NULL, *beta = NULL;
    size_t n_gamma = 0, n_beta = 0;
    int st = layer || rms ? enso__constant_floats(b, 1, 1, &gamma, &n_gamma, err) : ENSO_OK;

    if (st == ENSO_OK && layer)
        st = enso__constant_floats(b, 2, 1, &beta, &n_beta, err);
    if (st == ENSO_OK && gamma != NULL && beta != NULL && n_gamma != n_beta)
        st = enso__unsupported(b, err, "gamma has %zu entries and beta %zu", n_gamma, n_beta);
    if (st != ENSO_OK) {
        enso_free(gamma);
        enso_free(beta);
        return st;
    }
    *ret_gamma = gamma;
    *ret_beta = beta;
    *ret_n = ENSO_MAX(n_gamma, n_beta);
    return ENSO_OK;
}

int enso__row_norm_resolve(enum enso_op op, const char *node,
                           const struct enso_tensor *const inputs[ENSO__ROW_NORM_INPUTS],
                           const struct enso_tensor *y, size_t n_constant,
                           struct enso__row_norm *ret, struct enso_error *err)
{
    bool layer = op == ENSO_OP_LAYER_NORM, rms = op == ENSO_OP_RMS_NORM;
    const struct enso_tensor *x = inputs[0];

    *ret = (struct enso__row_norm){.x = x,
                                   .y = y,
                                   .gamma = layer || rms ? inputs[1] : NULL,
                                   .beta = layer ? inputs[2] : NULL,
                                   .residual = layer ? inputs[3]
                                               : rms ? inputs[2]
                                                     : NULL};
    if (x->rank < 1 || enso_tensor_count(x) != enso_tensor_count(y) ||
        (ret->residual != NULL && enso_tensor_count(ret->residual) != enso_tensor_count(x)))
        return enso__op_error(op, node, err, ENSO_INTERNAL, "its operands differ in shape");
    ret->n = (size_t)x->dims[x->rank - 1];
    ret->n_rows = ret->n == 0 ? 0 : (size_t)enso_tensor_count(x) / ret->n;
    if ((ret->gamma != NULL && (size_t)enso_tensor_count(ret->gamma) != ret->n) ||
        (ret->beta != NULL && (size_t)enso_tensor_count(ret->beta) != ret->n) ||
        (n_constant > 0 && n_constant != ret->n))
        return enso__op_error(op, node, err, ENSO_INTERNAL, "gamma and beta do not fit rows of %zu",
                              ret->n);
    return ENSO_OK;
}
