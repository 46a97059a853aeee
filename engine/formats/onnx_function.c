/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX operators that ensod has no kernel for but that consist of others: each is built as the
 * function body in ONNX's own definition does. Passes recognise the common ones again.
 */
#include "ensod_build.h"

#include <string.h>

#include "base/memory.h"
#include "engine/formats/onnx_internal.h"

static int binary(struct enso__onnx_node *n, enum enso_op op, int a, int b)
{
    return enso__onnx_emit(n, op, (int[]){a, b}, 2);
}

static int unary(struct enso__onnx_node *n, enum enso_op op, int a)
{
    return enso__onnx_emit(n, op, &a, 1);
}

static enum enso_status need_inputs(struct enso__onnx_node *n, size_t least)
{
    for (size_t i = 0; i < least; i++)
        if (i >= n->n_in || n->in[i] == ENSO_NO_VALUE)
            return enso_error_set(n->o->err, ENSO_CORRUPT, "input %zu is missing", i);
    return ENSO_OK;
}

static bool is_vector(const struct enso__onnx_node *n, int value)
{
    const struct enso_value *v =
        value == ENSO_NO_VALUE ? NULL : enso_graph_value(n->o->graph, value);

    return v != NULL && v->constant != NULL && v->constant->rank == 1;
}

/* The last k axes, counted from the end: -k .. -1. */
static int last_axes(struct enso__onnx_node *n, int64_t k)
{
    int64_t axes[ENSO_MAX_RANK];

    for (int64_t i = 0; i < k; i++)
        axes[i] = i - k;
    return enso__onnx_ints(n->o, axes, (size_t)k);
}

/* How many axes are normalised over; 0 when that cannot be told yet. */
static int64_t n_normalised(const struct enso__onnx_node *n, int64_t axis)
{
    if (axis >= 0) {
        const struct enso_value *x = enso__onnx_known(n->o, n->in[0]);

        axis = x != NULL ? axis - x->shape.rank : 0;
    }
    return axis < 0 && axis >= -ENSO_MAX_RANK ? -axis : 0;
}

/* y = (x - mean) / sqrt(variance + epsilon) · scale + B over the axes from `axis` on */
static enum enso_status add_layer_norm(struct enso__onnx_node *n)
{
    float epsilon = enso__onnx_float(n, "epsilon", 1e-5f);
    enum enso_status st = need_inputs(n, 2);
    int64_t k;
    int b = n->n_in > 2 ? n->in[2] : ENSO_NO_VALUE, axes, mean, d, deviation, y;

    if (st != ENSO_OK)
        return st;
    k = n_normalised(n, enso__onnx_int(n, "axis", -1));
    if (k == 0)
        return enso__onnx_unsupported(n, "an axis of a rank that is not known in time");
    if (k == 1 && n->n_out == 1 && is_vector(n, n->in[1]) && is_vector(n, b)) {
        int node = enso__onnx_emit_to(n, 0, ENSO_OP_LAYER_NORM, n->in, 3);

        enso_graph_set_float(n->o->graph, node, "epsilon", epsilon);
        return ENSO_OK;
    }
    axes = last_axes(n, k);
    mean = binary(n, ENSO_OP_REDUCE_MEAN, n->in[0], axes);
    d = binary(n, ENSO_OP_SUB, n->in[0], mean);
    deviation = unary(n, ENSO_OP_SQRT,
                      binary(n, ENSO_OP_ADD,
                             binary(n, ENSO_OP_REDUCE_MEAN, binary(n, ENSO_OP_MUL, d, d), axes),
                             enso__onnx_scalar(n->o, epsilon)));
    y = binary(n, ENSO_OP_DIV, d, deviation);
    if (b == ENSO_NO_VALUE) {
        enso__onnx_emit_to(n, 0, ENSO_OP_MUL, (int[]){y, n->in[1]}, 2);
    } else {
        y = binary(n, ENSO_OP_MUL, y, n->in[1]);
        enso__onnx_emit_to(n, 0, ENSO_OP_ADD, (int[]){y, b}, 2);
    }
    enso__onnx_emit_to(n, 1, ENSO_OP_IDENTITY, &mean, 1);
    enso__onnx_emit_to(n, 2, ENSO_OP_RECIPROCAL, &deviation, 1);
    return ENSO_OK;
}

/* y = x / sqrt(mean(x²) + epsilon) · scale */
static enum enso_status add_rms_norm(struct enso__onnx_node *n)
{
    float epsilon = enso__onnx_float(n, "epsilon", 1e-5f);
    enum enso_status st = need_inputs(n, 2);
    int64_t k;
    int axes, squares, y;

    if (st != ENSO_OK)
        return st;
    k = n_normalised(n, enso__onnx_int(n, "axis", -1));
    if (k == 0)
        return enso__onnx_unsupported(n, "an axis of a rank that is not known in time");
    if (k == 1 && is_vector(n, n->in[1])) {
        int node = enso__onnx_emit_to(n, 0, ENSO_OP_RMS_NORM, n->in, 2);

        enso_graph_set_float(n->o->graph, node, "epsilon", epsilon);
        return ENSO_OK;
    }
    axes = last_axes(n, k);
    squares = binary(n, ENSO_OP_REDUCE_MEAN, binary(n, ENSO_OP_MUL, n->in[0], n->in[0]), axes);
    y = binary(
        n, ENSO_OP_DIV, n->in[0],
        unary(n, ENSO_OP_SQRT, binary(n, ENSO_OP_ADD, squares, enso__onnx_scalar(n->o, epsilon))));
    enso__onnx_emit_to(n, 0, ENSO_OP_MUL, (int[]){y, n->in[1]}, 2);
    return ENSO_OK;
}

/* y = max(0, x) + min(0, alpha · (exp(x / alpha) - 1)) */
static enum enso_status add_celu(struct enso__onnx_node *n)
{
    enum enso_status st = need_inputs(n, 1);
    int alpha = enso__onnx_scalar(n->o, enso__onnx_float(n, "alpha", 1)), elu;

    if (st != ENSO_OK)
        return st;
    elu = unary(n, ENSO_OP_ELU, binary(n, ENSO_OP_DIV, n->in[0], alpha));
    /* For x > 0 Elu is the identity and (x / alpha) · alpha is x but for rounding; below it is the
     * formula. */
    enso__onnx_emit_to(n, 0, ENSO_OP_MUL, (int[]){elu, alpha}, 2);
    return ENSO_OK;
}

/* y = x · sigmoid(alpha · x) */
static enum enso_status add_swish(struct enso__onnx_node *n)
{
    float alpha = enso__onnx_float(n, "alpha", 1);
    enum enso_status st = need_inputs(n, 1);
    int x;

    if (st != ENSO_OK)
        return st;
    x = n->in[0];
    if (alpha == 1) {
        enso__onnx_emit_to(n, 0, ENSO_OP_SILU, &x, 1);
        return ENSO_OK;
    }
    x = binary(n, ENSO_OP_MUL, x, enso__onnx_scalar(n->o, alpha));
    enso__onnx_emit_to(n, 0, ENSO_OP_MUL, (int[]){n->in[0], unary(n, ENSO_OP_SIGMOID, x)}, 2);
    return ENSO_OK;
}

/* y = x where x > alpha, else 0 */
static enum enso_status add_thresholded_relu(struct enso__onnx_node *n)
{
    enum enso_status st = need_inputs(n, 1);
    int alpha = enso__onnx_scalar(n->o, enso__onnx_float(n, "alpha", 1));
    int zero = enso__onnx_scalar(n->o, 0);

    if (st != ENSO_OK)
        return st;
    enso__onnx_emit_to(n, 0, ENSO_OP_WHERE,
                       (int[]){binary(n, ENSO_OP_GREATER, n->in[0], alpha), n->in[0], zero}, 3);
    return ENSO_OK;
}

/* y = x + bias where x < -lambd, x - bias where x > lambd, else 0 */
static enum enso_status add_shrink(struct enso__onnx_node *n)
{
    float lambda = enso__onnx_float(n, "lambd", 0.5f);
    enum enso_status st = need_inputs(n, 1);
    int bias = enso__onnx_scalar(n->o, enso__onnx_float(n, "bias", 0));
    int x, inner, below, above;

    if (st != ENSO_OK)
        return st;
    x = n->in[0];
    below = binary(n, ENSO_OP_LESS, x, enso__onnx_scalar(n->o, -lambda));
    above = binary(n, ENSO_OP_GREATER, x, enso__onnx_scalar(n->o, lambda));
    inner = enso__onnx_emit(
        n, ENSO_OP_WHERE,
        (int[]){above, binary(n, ENSO_OP_SUB, x, bias), enso__onnx_scalar(n->o, 0)}, 3);
    enso__onnx_emit_to(n, 0, ENSO_OP_WHERE, (int[]){below, binary(n, ENSO_OP_ADD, x, bias), inner},
                       3);
    return ENSO_OK;
}

/* y = sin(x) / cos(x) */
static enum enso_status add_tan(struct enso__onnx_node *n)
{
    enum enso_status st = need_inputs(n, 1);

    if (st != ENSO_OK)
        return st;
    enso__onnx_emit_to(n, 0, ENSO_OP_DIV,
                       (int[]){unary(n, ENSO_OP_SIN, n->in[0]), unary(n, ENSO_OP_COS, n->in[0])},
                       2);
    return ENSO_OK;
}

static const struct {
    const char *op;
    enso__onnx_fn add;
} functions[] = {
    {"Celu", add_celu},
    {"LayerNormalization", add_layer_norm},
    {"RMSNormalization", add_rms_norm},
    {"Shrink", add_shrink},
    {"Swish", add_swish},
    {"Tan", add_tan},
    {"ThresholdedRelu", add_thresholded_relu},
};

enso__onnx_fn enso__onnx_function(const char *op_type)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(functions); i++)
        if (strcmp(functions[i].op, op_type) == 0)
            return functions[i].add;
    return NULL;
}
