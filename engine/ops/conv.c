/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of convolution and pooling, in one to three spatial dimensions, NCHW or (CONV_FUSED and
 * attribute nhwc) NHWC. kernel_shape, strides, pads and dilations are written back in full and
 * auto_pad is resolved, so that kernels read plain numbers.
 *
 * Rounding up (ceil_mode) follows PyTorch and ONNX since opset 22: a window that would begin in the
 * padding after the end is left out.
 */
#include <string.h>

#include "engine/ops/ops_internal.h"

#define MAX_SPATIAL 3
#define LARGEST                                                                                    \
    (1 << 20) /* of kernel, stride, dilation, pad: far above sense, far below overflow */

struct window {
    size_t n;             /* spatial dimensions */
    size_t first_spatial; /* where they begin in x: 2, or 1 for NHWC */
    size_t channel;       /* where channels are in x */
    int64_t kernel[MAX_SPATIAL], strides[MAX_SPATIAL], dilations[MAX_SPATIAL];
    int64_t pads[2 * MAX_SPATIAL];
};

/* Copy a list attribute of exactly n entries in [low, LARGEST]; absent leaves the defaults. */
static int read_list(struct enso__infer *c, const char *name, int64_t low, int64_t *dst, size_t n)
{
    size_t n_given;
    const int64_t *given = enso_node_ints(c->node, name, &n_given);

    if (given == NULL)
        return ENSO_OK;
    if (n_given != n)
        return enso__op_fail(c, ENSO_CORRUPT, "%s has %zu entries instead of %zu", name, n_given,
                             n);
    for (size_t i = 0; i < n; i++) {
        if (given[i] < low || given[i] > LARGEST)
            return enso__op_fail(c, ENSO_CORRUPT, "%s holds %lld", name, (long long)given[i]);
        dst[i] = given[i];
    }
    return ENSO_OK;
}

static int window_begin(struct enso__infer *c, bool nhwc, struct window *w)
{
    size_t rank = enso__op_in(c, 0)->shape.rank;

    if (rank < 3 || rank > 2 + MAX_SPATIAL)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it takes one to three spatial dimensions");
    *w = (struct window){.n = rank - 2, .first_spatial = nhwc ? 1 : 2};
    w->channel = nhwc ? rank - 1 : 1;
    for (size_t i = 0; i < w->n; i++)
        w->strides[i] = w->dilations[i] = 1;
    return ENSO_OK;
}

/* Output size along spatial dimension i, resolving auto_pad on the way. */
static int window_size(struct enso__infer *c, struct window *w, size_t i, const char *auto_pad,
                       struct enso_dim in, int64_t *ret_size)
{
    int64_t reach = (w->kernel[i] - 1) * w->dilations[i] + 1, stride = w->strides[i], room, n;

    if (!enso__dim_fixed(in) || in.factor > INT64_MAX / 4)
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "its height or width is not fixed; export the model with a fixed size "
                             "there");
    if (strcmp(auto_pad, "SAME_UPPER") == 0 || strcmp(auto_pad, "SAME_LOWER") == 0) {
        int64_t total, half;

        n = (in.factor + stride - 1) / stride;
        total = ENSO_MAX((n - 1) * stride + reach - in.factor, 0);
        half = strcmp(auto_pad, "SAME_UPPER") == 0 ? total / 2 : total - total / 2;
        w->pads[i] = half;
        w->pads[w->n + i] = total - half;
    } else if (strcmp(auto_pad, "VALID") == 0) {
        w->pads[i] = w->pads[w->n + i] = 0;
    } else if (strcmp(auto_pad, "NOTSET") != 0 && auto_pad[0] != '\0') {
        return enso__op_fail(c, ENSO_UNSUPPORTED, "auto_pad '%s' is not known", auto_pad);
    }
    room = in.factor + w->pads[i] + w->pads[w->n + i] - reach;
    if (room < 0)
        return enso__op_fail(c, ENSO_CORRUPT, "its window of %lld is larger than the padded input",
                             (long long)reach);
    n = room / stride + 1;
    if (enso_node_int(c->node, "ceil_mode", 0) != 0 && room % stride != 0 &&
        n * stride < in.factor + w->pads[i])
        n++; /* the last window begins inside */
    *ret_size = n;
    return ENSO_OK;
}

static int window_finish(struct enso__infer *c, struct window *w, struct enso_shape *y)
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    const char *auto_pad = enso_node_string(c->node, "auto_pad", "NOTSET");
    int st = read_list(c, "strides", 1, w->strides, w->n);

    if (st == ENSO_OK)
        st = read_list(c, "dilations", 1, w->dilations, w->n);
    if (st == ENSO_OK)
        st = read_list(c, "pads", 0, w->pads, 2 * w->n);
    for (size_t i = 0; st == ENSO_OK && i < w->n; i++) {
        int64_t size = 0;

        st = window_size(c, w, i, auto_pad, x->dims[w->first_spatial + i], &size);
        y->dims[w->first_spatial + i] = enso_dim_fixed(size);
    }
    if (st == ENSO_OK)
        st = enso__op_set_ints(c, "kernel_shape", w->kernel, w->n);
    if (st == ENSO_OK)
        st = enso__op_set_ints(c, "strides", w->strides, w->n);
    if (st == ENSO_OK)
        st = enso__op_set_ints(c, "pads", w->pads, 2 * w->n);
    if (st == ENSO_OK)
        st = enso__op_set_ints(c, "dilations", w->dilations, w->n);
    if (st == ENSO_OK)
        enso_graph_remove_attribute(c->g, c->number, "auto_pad");
    return st;
}

/* Weight [M, C/group, k...] against the input and kernel_shape. */
static int check_weight(struct enso__infer *c, struct window *w, int64_t *ret_m)
{
    const struct enso_value *x = enso__op_in(c, 0), *weight = enso__op_in(c, 1);
    int64_t group = enso_node_int(c->node, "group", 1), channels, m;
    int64_t kernel[MAX_SPATIAL];
    int st;

    if (weight->shape.rank != x->shape.rank)
        return enso__op_fail(c, ENSO_CORRUPT, "the weight differs in rank from the input");
    st = enso__op_parameter(c, 1, x);
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < weight->shape.rank; i++)
        if (!enso__dim_fixed(weight->shape.dims[i]))
            return enso__op_fail(c, ENSO_UNSUPPORTED, "the weight's size is not fixed");
    if (!enso__dim_fixed(x->shape.dims[w->channel]))
        return enso__op_fail(c, ENSO_UNSUPPORTED, "the number of channels is not fixed");
    channels = x->shape.dims[w->channel].factor;
    m = weight->shape.dims[0].factor;
    if (group < 1 || m < 1 || channels % group != 0 || m % group != 0 ||
        weight->shape.dims[1].factor != channels / group)
        return enso__op_fail(
            c, ENSO_CORRUPT, "%lld channels in %lld groups do not fit a weight for %lld",
            (long long)channels, (long long)group, (long long)weight->shape.dims[1].factor);
    for (size_t i = 0; i < w->n; i++) {
        kernel[i] = w->kernel[i] = weight->shape.dims[2 + i].factor;
        if (w->kernel[i] < 1 || w->kernel[i] > LARGEST)
            return enso__op_fail(c, ENSO_CORRUPT, "the weight's window is %lld",
                                 (long long)w->kernel[i]);
    }
    st = read_list(c, "kernel_shape", 1, kernel, w->n);
    if (st == ENSO_OK && memcmp(kernel, w->kernel, w->n * sizeof *kernel) != 0)
        return enso__op_fail(c, ENSO_CORRUPT, "kernel_shape is not the weight's");
    *ret_m = m;
    return st;
}

int enso__infer_conv(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0), *bias = enso__op_in(c, 2),
                            *r = enso__op_in(c, 3);
    struct enso_shape y = x->shape;
    struct window w;
    int64_t m = 0;
    int st = window_begin(c, c->node->op == ENSO_OP_CONV_FUSED, &w);

    if (st == ENSO_OK)
        st = check_weight(c, &w, &m);
    if (st == ENSO_OK)
        st = window_finish(c, &w, &y);
    if (st != ENSO_OK)
        return st;
    y.dims[w.channel] = enso_dim_fixed(m);
    if (bias != NULL && (bias->shape.rank != 1 || !enso__dim_is(bias->shape.dims[0], m)))
        return enso__op_fail(c, ENSO_CORRUPT, "the bias must be [%lld]", (long long)m);
    if (r != NULL && (!enso__shape_equal(&r->shape, &y) || r->dtype != x->dtype))
        return enso__op_fail(c, ENSO_CORRUPT, "the residual must have the output's shape and type");
    st = enso__op_parameter(c, 2, x);
    return st == ENSO_OK ? enso__op_out(c, 0, x->dtype, &y) : st;
}

int enso__infer_pool(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    struct window w;
    int st = window_begin(c, enso_node_int(c->node, "nhwc", 0) != 0, &w);

    if (st != ENSO_OK)
        return st;
    if (!enso_node_has(c->node, "kernel_shape"))
        return enso__op_fail(c, ENSO_CORRUPT, "kernel_shape is missing");
    st = read_list(c, "kernel_shape", 1, w.kernel, w.n);
    if (st == ENSO_OK)
        st = window_finish(c, &w, &y);
    for (size_t i = 0; st == ENSO_OK && i < 2 * w.n; i++)
        if (w.pads[i] >= (w.kernel[i % w.n] - 1) * w.dilations[i % w.n] + 1)
            return enso__op_fail(c, ENSO_CORRUPT, "a pad is as large as the window");
    return st == ENSO_OK ? enso__op_out(c, 0, x->dtype, &y) : st;
}

int enso__infer_global_pool(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    struct window w;
    int st = window_begin(c, enso_node_int(c->node, "nhwc", 0) != 0, &w);

    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < w.n; i++) {
        if (!enso__dim_fixed(x->shape.dims[w.first_spatial + i]))
            return enso__op_fail(c, ENSO_UNSUPPORTED, "its height or width is not fixed");
        y.dims[w.first_spatial + i] = enso_dim_fixed(1);
    }
    return enso__op_out(c, 0, x->dtype, &y);
}
