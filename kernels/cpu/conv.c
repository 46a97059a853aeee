/* SPDX-License-Identifier: Apache-2.0
 *
 * Conv over [N, C, ...] as ONNX has it (opset 11): one to three spatial dimensions, groups,
 * dilations. Portable and plain: each output row gathers weight times shifted input row. The layout
 * pass turns what matters for speed into the fused form (conv_nhwc.c); this is its oracle.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

#include "kernels/nodes/window.h"

struct conv {
    struct enso_bound bound;
    struct enso__window_attributes window;
    int64_t group;
};

struct conv_work {
    struct enso__window w;
    const float *x, *weights, *bias;
    float *y;
    size_t n_in, n_out, group; /* channels */
};

/* y[o] += weight · x[o·stride + shift] for all o that read inside of the row. */
static void add_row(float *y, const float *x, float weight, int64_t n_out, int64_t n_in,
                    int64_t stride, int64_t shift)
{
    int64_t first = shift < 0 ? (-shift + stride - 1) / stride : 0;
    int64_t last = shift >= n_in ? 0 : ENSO_MIN((n_in - 1 - shift) / stride + 1, n_out);

    if (stride == 1)
        for (int64_t o = first; o < last; o++)
            y[o] += weight * x[o + shift];
    else
        for (int64_t o = first; o < last; o++)
            y[o] += weight * x[o * stride + shift];
}

/* One output plane += one input plane's share. */
static void add_plane(const struct enso__window *w, const float *x, const float *weights, float *y)
{
    for (int64_t od = 0; od < w->out[0]; od++)
        for (int64_t oh = 0; oh < w->out[1]; oh++, y += w->out[2])
            for (int64_t kd = 0; kd < w->kernel[0]; kd++) {
                int64_t id = od * w->strides[0] + kd * w->dilations[0] - w->begin[0];

                for (int64_t kh = 0; kh < w->kernel[1]; kh++) {
                    int64_t ih = oh * w->strides[1] + kh * w->dilations[1] - w->begin[1];

                    if (id < 0 || id >= w->in[0] || ih < 0 || ih >= w->in[1])
                        continue;
                    for (int64_t kw = 0; kw < w->kernel[2]; kw++)
                        add_row(y, x + (id * w->in[1] + ih) * w->in[2],
                                weights[(kd * w->kernel[1] + kh) * w->kernel[2] + kw], w->out[2],
                                w->in[2], w->strides[2], kw * w->dilations[2] - w->begin[2]);
                }
            }
}

static void conv_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct conv_work *w = arg;
    size_t in_group = w->n_in / w->group, out_group = w->n_out / w->group;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        size_t image = i / w->n_out, m = i % w->n_out, g = m / out_group;
        float *y = w->y + i * w->w.n_out;

        for (size_t o = 0; o < w->w.n_out; o++)
            y[o] = w->bias != NULL ? w->bias[m] : 0;
        for (size_t c = 0; c < in_group; c++)
            add_plane(&w->w, w->x + (image * w->n_in + g * in_group + c) * w->w.n_in,
                      w->weights + (m * in_group + c) * w->w.n_taps, y);
    }
}

static int conv_run(const struct enso__call *call, struct enso_error *err)
{
    const struct conv *op = (const struct conv *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *weights = enso__in(call, 1);
    const struct enso_tensor *bias = enso__in(call, 2), *y = enso__out(call, 0);
    struct conv_work w = {.x = x->data,
                          .weights = weights->data,
                          .bias = bias != NULL ? bias->data : NULL,
                          .y = y->data,
                          .group = (size_t)op->group};

    if (x->rank < 3 || y->rank != x->rank || weights->rank != x->rank || x->dims[0] != y->dims[0] ||
        weights->dims[0] != y->dims[1] || weights->dims[1] * op->group != x->dims[1] ||
        weights->dims[0] % op->group != 0 ||
        (bias != NULL && enso_tensor_count(bias) != y->dims[1]) ||
        !enso__window_resolve(&op->window, x->rank - 2u, x->dims + 2, y->dims + 2,
                              weights->dims + 2, &w.w))
        return enso__run_error(call, err, ENSO_INVALID, "weights of %s do not fit %s -> %s",
                               enso__dims_text(weights).s, enso__dims_text(x).s,
                               enso__dims_text(y).s);
    w.n_in = (size_t)x->dims[1];
    w.n_out = (size_t)y->dims[1];
    enso__parallel(call, (size_t)y->dims[0] * w.n_out, w.w.n_out * w.w.n_taps * (w.n_in / w.group),
                   conv_piece, &w);
    return ENSO_OK;
}

int enso__bind_conv(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    int64_t group = enso_node_int(b->node, "group", 1);

    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "input %zu of type %s", i,
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    if (group < 1 || group > INT32_MAX || b->node->n_inputs < 2)
        return enso__unsupported(b, err, "group %lld", (long long)group);
    struct conv *c = enso__bound_new(b, sizeof(*c), conv_run, err);
    if (c == NULL)
        return ENSO_NO_MEMORY;
    c->group = group;
    int st = enso__window_bind(b, &c->window, err);
    if (st != ENSO_OK) {
        enso__bound_free(&c->bound);
        return st;
    }
    *ret = &c->bound;
    return ENSO_OK;
}
