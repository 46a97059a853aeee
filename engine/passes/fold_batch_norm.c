/* SPDX-License-Identifier: Apache-2.0
 *
 * At inference a batch normalisation is one factor and one summand per channel. After a product (a
 * convolution, LINEAR) they go into its weight and bias; elsewhere they become Mul and Add, which
 * the layout pass and later rounds know how to move and fold.
 *
 *     BatchNormalization(x)                    ->  Add(Mul(x, s), t)
 *     Mul(Conv(x, w, b), s [C, 1, 1])          ->  Conv(x, s·w, s·b)
 *     Add(Conv(x, w, b), t [C, 1, 1])          ->  Conv(x, w, b + t)
 *     Mul(Linear(x, w, b), s [C])              ->  Linear(x, s·w, s·b)
 */
#include <math.h>

#include "base/memory.h"
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* ---- batch norm into two numbers per channel ---- */

/* [C] as [C, 1, ...], to meet dimension 1 of rank dimensions. */
static int add_channels(struct enso_graph *g, const char *stem, float *data, int64_t n, size_t rank)
{
    int64_t dims[ENSO_MAX_RANK];

    dims[0] = n;
    for (size_t i = 1; i + 1 < rank; i++)
        dims[i] = 1;
    return enso__pass_add_f32(g, stem, data, dims, rank - 1);
}

static int split_up(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    float *p[4] = {NULL}, epsilon = enso_node_float(n, "epsilon", 1e-5F);
    size_t rank = enso_graph_value(g, n->inputs[0])->shape.rank;
    int64_t channels = enso__pass_dim(g, n->inputs[1], 0);
    int x = n->inputs[0], s, t, st = ENSO_OK;

    for (size_t i = 1; i < 5; i++)
        if (!enso__pass_is_constant(g, n->inputs[i]) ||
            enso_graph_value(g, n->inputs[i])->dtype != ENSO_DTYPE_F32)
            return ENSO_OK;
    for (size_t i = 0; i < 4; i++) {
        p[i] = enso__pass_read(g, n->inputs[i + 1], err);
        if (p[i] == NULL)
            st = err != NULL && err->status != ENSO_OK ? (int)err->status : ENSO_NO_MEMORY;
    }
    for (int64_t i = 0; st == ENSO_OK && i < channels; i++) {
        double factor = p[0][i] / sqrt((double)p[3][i] + (double)epsilon);

        p[1][i] = (float)(p[1][i] - p[2][i] * factor);
        p[0][i] = (float)factor;
    }
    enso_free(p[2]);
    enso_free(p[3]);
    if (st != ENSO_OK) {
        enso_free(p[0]);
        enso_free(p[1]);
        return st;
    }
    s = add_channels(g, n->name[0] != '\0' ? n->name : "scale", p[0], channels, rank);
    t = add_channels(g, n->name[0] != '\0' ? n->name : "shift", p[1], channels, rank);
    if (s < 0 || t < 0)
        return enso__pass_status(g, err);
    x = enso__pass_add(g, ENSO_OP_MUL, n->name, (int[]){x, s}, 2, err);
    if (x < 0)
        return x;
    *changed = true;
    enso__pass_replace(g, node, ENSO_OP_ADD, (int[]){x, t}, 2);
    return enso__pass_status(g, err);
}

/* ---- into a product ---- */

/* The product that makes a value for one reader only, with constant weight and bias, the weight of
 * its own, and nothing behind them yet; -1 when there is none. */
static int foldable_product(const struct enso_graph *g, int value)
{
    static const enum enso_op products[] = {ENSO_OP_CONV, ENSO_OP_CONV_FUSED, ENSO_OP_LINEAR};
    int product = -1;
    const struct enso_node *n;

    for (size_t i = 0; product < 0 && i < ENSO_ARRAY_SIZE(products); i++)
        product = enso__pass_producer(g, value, products[i]);
    if (product < 0 || enso_graph_sole_user(g, value) < 0)
        return -1;
    n = enso_graph_node(g, product);
    if (!enso__pass_is_constant(g, n->inputs[1]) || enso_graph_n_uses(g, n->inputs[1]) != 1 ||
        enso_graph_value(g, n->inputs[1])->dtype != ENSO_DTYPE_F32 ||
        (enso__pass_input(g, product, 2) >= 0 &&
         !enso__pass_is_constant(g, enso__pass_input(g, product, 2))) ||
        enso__pass_input(g, product, 3) >= 0 || enso__pass_input(g, product, 4) >= 0 ||
        enso_node_int(n, "activation", 0) != 0)
        return -1;
    return product;
}

static size_t channel_axis(const struct enso_graph *g, int product)
{
    const struct enso_node *n = enso_graph_node(g, product);

    return n->op == ENSO_OP_CONV ? 1 : enso_graph_value(g, n->inputs[0])->shape.rank - 1U;
}

/* Whether the weight's first dimension is the channels that come out; else its last is. */
static bool channels_first(const struct enso_graph *g, int product)
{
    const struct enso_node *n = enso_graph_node(g, product);

    return n->op != ENSO_OP_LINEAR || enso_node_int(n, "transposed", 1) != 0;
}

static int read_failed(const struct enso_error *err)
{
    return err != NULL && err->status != ENSO_OK ? (int)err->status : ENSO_NO_MEMORY;
}

/* Weight and bias times s per output channel. */
static int scale_product(struct enso_graph *g, int product, int factors, struct enso_error *err)
{
    int weight = enso__pass_input(g, product, 1), bias = enso__pass_input(g, product, 2);
    const struct enso_constant *c = enso_graph_value(g, weight)->constant;
    bool first = channels_first(g, product);
    int64_t m = c->dims[first ? 0 : 1], row = m == 0 ? 0 : enso_constant_count(c) / m;
    float *s = enso__pass_read_channels(g, factors, m, err), *w = enso__pass_read(g, weight, err);
    float *b = bias < 0 ? NULL : enso__pass_read(g, bias, err);
    int value;

    if (s == NULL || w == NULL || (bias >= 0 && b == NULL)) {
        enso_free(s);
        enso_free(w);
        enso_free(b);
        return read_failed(err);
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t k = 0; k < row; k++)
            w[first ? i * row + k : k * m + i] *= s[i];
    for (int64_t i = 0; b != NULL && i < m; i++)
        b[i] *= s[i];
    enso_free(s);
    value = enso__pass_add_f32(g, enso_graph_value(g, weight)->name, w, c->dims, c->rank);
    if (value >= 0)
        enso_graph_set_input(g, product, 1, value);
    if (b != NULL) {
        value = enso__pass_add_f32(g, enso_graph_value(g, bias)->name, b, &m, 1);
        if (value >= 0)
            enso_graph_set_input(g, product, 2, value);
    }
    if (enso_graph_n_uses(g, weight) == 0) /* at once: weights are what memory is made of */
        enso_graph_release_constant(g, weight);
    return enso__pass_status(g, err);
}

/* A product like this one, with room for bias and residual. */
static int widen_product(struct enso_graph *g, int product)
{
    const struct enso_node *n = enso_graph_node(g, product);
    int inputs[4] = {n->inputs[0], n->inputs[1], ENSO_NO_VALUE, ENSO_NO_VALUE}, y, wide;

    if (n->n_inputs > 2)
        return product;
    y = enso_graph_detach_output(g, product, 0);
    if (y < 0)
        return y;
    wide = enso_graph_add_node_to(g, n->op, n->name, inputs, n->op == ENSO_OP_CONV ? 3 : 4, &y, 1);
    if (wide < 0)
        return wide;
    enso_graph_copy_attributes(g, product, wide);
    enso_graph_remove_node(g, product);
    return wide;
}

static int shift_product(struct enso_graph *g, int product, int summands, struct enso_error *err)
{
    int bias = enso__pass_input(g, product, 2), value;
    int64_t m =
        enso__pass_dim(g, enso__pass_input(g, product, 1), channels_first(g, product) ? 0 : 1);
    float *t = enso__pass_read_channels(g, summands, m, err), *b = NULL;

    if (t == NULL)
        return read_failed(err);
    if (bias >= 0) {
        b = enso__pass_read(g, bias, err);
        if (b == NULL) {
            enso_free(t);
            return read_failed(err);
        }
        for (int64_t i = 0; i < m; i++)
            t[i] += b[i];
        enso_free(b);
    }
    value = enso__pass_add_f32(g, enso_graph_value(g, summands)->name, t, &m, 1);
    product = widen_product(g, product);
    if (value >= 0 && product >= 0)
        enso_graph_set_input(g, product, 2, value);
    return enso__pass_status(g, err);
}

/* One factor for all of a layer (attention's, in some exports) is not worth reading its weight for,
 * which would else stay in its file until it is bound. */
static bool leaves_weight(const struct enso_graph *g, int product, int operand)
{
    return enso_graph_node(g, product)->op == ENSO_OP_LINEAR &&
           enso__pass_is_constant(g, operand) &&
           enso_constant_count(enso_graph_value(g, operand)->constant) == 1;
}

static int fold_into_product(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);

    for (size_t i = 0; i < 2; i++) {
        int x = n->inputs[i], other = n->inputs[1 - i], product = foldable_product(g, x), st;
        size_t rank = enso_graph_value(g, x)->shape.rank;

        if (product < 0 || leaves_weight(g, product, other) ||
            !enso__pass_is_per_channel(g, other, rank, channel_axis(g, product),
                                       enso__pass_dim(g, x, (int)channel_axis(g, product))))
            continue;
        st = n->op == ENSO_OP_MUL ? scale_product(g, product, other, err)
                                  : shift_product(g, product, other, err);
        if (st == ENSO_OK) {
            enso__pass_bypass(g, node, x);
            *changed = true;
        }
        return st;
    }
    return ENSO_OK;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    switch (enso_graph_node(g, node)->op) {
    case ENSO_OP_BATCH_NORM:
        return split_up(g, node, changed, err);
    case ENSO_OP_MUL:
    case ENSO_OP_ADD:
        return fold_into_product(g, node, changed, err);
    default:
        return ENSO_OK;
    }
}

int enso_pass_fold_batch_norm(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
