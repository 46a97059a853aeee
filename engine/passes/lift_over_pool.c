/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows a max pool moves before it, where it becomes part of the convolution there: factors
 * that are not negative and summands per channel (a batch norm), Relu. The greatest of numbers
 * stays the greatest when all of them are mapped by a function that never falls.
 *
 *     Relu(Add(Mul(MaxPool(Conv(x)), s), t))  ->  MaxPool(Relu(Add(Mul(Conv(x), s), t)))
 *
 * Only over a convolution that takes it in: the pool makes fewer elements than it gets.
 */
#include "base/memory.h"
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* A convolution that makes a value for one reader only, into which fold_batch_norm puts what
 * follows it. */
static bool is_open_conv(const struct enso_graph *g, int value)
{
    int conv = enso__pass_producer(g, value, ENSO_OP_CONV), weight, bias;

    if (conv < 0 || enso_graph_sole_user(g, value) < 0)
        return false;
    weight = enso__pass_input(g, conv, 1);
    bias = enso__pass_input(g, conv, 2);
    return enso__pass_is_constant(g, weight) &&
           enso_graph_value(g, weight)->dtype == ENSO_DTYPE_F32 &&
           (bias < 0 || enso__pass_is_constant(g, bias));
}

/* The max pool that makes a value for one reader only, over such a convolution; all of its windows
 * lie inside: padding is -inf before and after. -1 when there is none. */
static int find_pool(const struct enso_graph *g, int value)
{
    int pool = enso__pass_producer(g, value, ENSO_OP_MAX_POOL);
    size_t n;
    const int64_t *pads;

    if (pool < 0 || enso_graph_sole_user(g, value) < 0 ||
        !is_open_conv(g, enso__pass_input(g, pool, 0)) ||
        enso_node_int(enso_graph_node(g, pool), "ceil_mode", 0) != 0)
        return -1;
    pads = enso_node_ints(enso_graph_node(g, pool), "pads", &n);
    for (size_t i = 0; i < n; i++)
        if (pads[i] != 0)
            return -1;
    return pool;
}

/* Numbers per channel that keep the order of what they are multiplied with. */
static int keep_order(const struct enso_graph *g, int factors, bool *ret_keep,
                      struct enso_error *err)
{
    int64_t n = enso_constant_count(enso_graph_value(g, factors)->constant);
    float *s = enso__pass_read(g, factors, err);

    *ret_keep = s != NULL;
    for (int64_t i = 0; *ret_keep && i < n; i++)
        *ret_keep = s[i] >= 0;
    if (s == NULL)
        return err != NULL && err->status != ENSO_OK ? (int)err->status : ENSO_NO_MEMORY;
    enso_free(s);
    return ENSO_OK;
}

/* The node's operator before the pool, and a pool like this one in its place. */
static int lift(struct enso_graph *g, int node, int pool, int operand, bool *changed,
                struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int inputs[2] = {enso__pass_input(g, pool, 0), operand}, x, again;

    x = enso__pass_add(g, n->op, n->name, inputs, operand < 0 ? 1 : 2, err);
    if (x < 0)
        return x;
    again = enso__pass_replace(g, node, ENSO_OP_MAX_POOL, &x, 1);
    if (again < 0 || enso_graph_copy_attributes(g, pool, again) != ENSO_OK)
        return enso__pass_status(g, err);
    enso_graph_remove_node(g, pool);
    *changed = true;
    return enso_graph_infer_node(g, again, err);
}

static int lift_operand(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);

    for (size_t i = 0; i < 2; i++) {
        int x = n->inputs[i], other = n->inputs[1 - i], pool = find_pool(g, x), st = ENSO_OK;
        bool keep = true;

        if (pool < 0 || !enso__pass_is_per_channel(g, other, enso_graph_value(g, x)->shape.rank, 1,
                                                   enso__pass_dim(g, x, 1)))
            continue;
        if (n->op == ENSO_OP_MUL)
            st = keep_order(g, other, &keep, err);
        return st == ENSO_OK && keep ? lift(g, node, pool, other, changed, err) : st;
    }
    return ENSO_OK;
}

static int visit(struct enso_graph *g, int node, bool *changed, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int pool;

    switch (n->op) {
    case ENSO_OP_MUL:
    case ENSO_OP_ADD:
        return lift_operand(g, node, changed, err);
    case ENSO_OP_RELU: /* which fuse_conv puts into convolutions that layout has turned over */
        pool = enso_graph_value(g, n->inputs[0])->shape.rank == 4 ? find_pool(g, n->inputs[0]) : -1;
        return pool < 0 ? ENSO_OK : lift(g, node, pool, ENSO_NO_VALUE, changed, err);
    default:
        return ENSO_OK;
    }
}

int enso_pass_lift_over_pool(struct enso_graph *g, bool *ret_changed, struct enso_error *err)
{
    return enso__pass_walk(g, visit, ret_changed, err);
}
