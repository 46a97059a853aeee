/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools: host side of pool.cu; and windows as kernels take them. The same types and layouts as on
 * the CPU (kernels/cpu/pool.c).
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/node_window.h"

struct pool {
    struct enso_bound bound;
    struct enso__window_attributes window;
    enum enso_dtype dtype;
    bool nhwc, global, max, include_pad;
};

bool enso__cuda_window(const struct enso__window *w, struct enso_cuda_window *ret)
{
    if (w->n_in > INT32_MAX || w->n_out > INT32_MAX || w->n_taps > INT32_MAX)
        return false;
    ret->n_in = (uint32_t)w->n_in;
    ret->n_out = (uint32_t)w->n_out;
    ret->n_taps = (uint32_t)w->n_taps;
    for (size_t d = 0; d < ENSO__SPATIAL; d++) {
        /* the furthest place that a tap can name, on either side of the padding */
        int64_t places = ENSO_MAX(w->out[d] - 1, (int64_t)0) * w->strides[d];
        int64_t reach = (w->kernel[d] - 1) * w->dilations[d];

        if (places > INT32_MAX || reach > INT32_MAX || places + reach > INT32_MAX ||
            w->in[d] + w->end[d] > INT32_MAX || w->begin[d] > INT32_MAX)
            return false;
        ret->in[d] = (int32_t)w->in[d];
        ret->out[d] = (int32_t)w->out[d];
        ret->kernel[d] = (int32_t)w->kernel[d];
        ret->strides[d] = (int32_t)w->strides[d];
        ret->dilations[d] = (int32_t)w->dilations[d];
        ret->begin[d] = (int32_t)w->begin[d];
        ret->end[d] = (int32_t)w->end[d];
    }
    return true;
}

static int pool_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct pool *op = (const struct pool *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    size_t spatial = op->nhwc ? 1 : 2, channels = op->nhwc ? x->rank - 1u : 1u;
    struct enso__window w;
    struct enso_cuda_window window;

    if (x->rank < 3 || y->rank != x->rank || x->dims[0] != y->dims[0] ||
        x->dims[channels] != y->dims[channels] ||
        !enso__window_resolve(&op->window, x->rank - 2u, x->dims + spatial, y->dims + spatial,
                              op->global ? x->dims + spatial : NULL, &w) ||
        !enso__cuda_window(&w, &window))
        return enso__cuda_error(call, err, ENSO_INVALID, "its window does not fit %s -> %s",
                                enso__dims_text(x).s, enso__dims_text(y).s);
    return enso__cuda_launched(call,
                               enso_cuda_pool(op->dtype, op->max, op->include_pad, op->nhwc,
                                              x->data, y->data, (size_t)x->dims[0],
                                              (size_t)x->dims[channels], &window, call->stream),
                               err);
}

int enso__cuda_bind_pool(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    enum enso_op op = b->node->op;
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    bool nhwc = enso_node_int(b->node, "nhwc", 0) != 0;
    bool max = op == ENSO_OP_MAX_POOL || op == ENSO_OP_GLOBAL_MAX_POOL;

    if (!enso__cuda_is_float(dtype) &&
        (nhwc ||
         (dtype != ENSO_DTYPE_F64 && (!max || (dtype != ENSO_DTYPE_I8 && dtype != ENSO_DTYPE_U8)))))
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    if (b->node->n_outputs > 1 && b->node->outputs[1] >= 0)
        return enso__unsupported(b, err, "the output Indices");
    struct pool *p = enso__cuda_bound_new(b, sizeof(*p), pool_run, err);
    if (p == NULL)
        return ENSO_NO_MEMORY;
    p->dtype = dtype;
    p->nhwc = nhwc;
    p->max = max;
    p->global = op == ENSO_OP_GLOBAL_AVERAGE_POOL || op == ENSO_OP_GLOBAL_MAX_POOL;
    p->include_pad = enso_node_int(b->node, "count_include_pad", 0) != 0;
    int st = enso__window_bind(b, &p->window, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&p->bound);
        return st;
    }
    *ret = &p->bound;
    return ENSO_OK;
}
