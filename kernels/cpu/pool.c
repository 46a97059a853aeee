/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools (ONNX, opset 19): MaxPool, AveragePool and the global ones, over [N, C, ...] or, with the
 * attribute nhwc = 1, over [N, ..., C] where whole rows of channels are combined at once. One to
 * three spatial dimensions. Max: padding never wins, a NaN does. Average: padding counts only with
 * count_include_pad, and what ceil_mode lets hang over the padded input never does.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/nodes/window.h"

struct pool {
    struct enso_bound bound;
    struct enso__window_attributes window;
    enum enso_dtype dtype;
    bool nhwc, global, max, include_pad;
};

struct pool_work {
    const struct pool *op;
    struct enso__window w;
    const void *x;
    void *y;
    size_t n_channels;
};

/* Taps of an output position that count for the average. */
static size_t counted(const struct pool_work *p, size_t at)
{
    const struct enso__window *w = &p->w;
    size_t n = 1;

    for (int d = ENSO__SPATIAL - 1; d >= 0; d--) {
        int64_t first = (int64_t)(at % (size_t)w->out[d]) * w->strides[d] - w->begin[d];
        int64_t low = p->op->include_pad ? -w->begin[d] : 0;
        int64_t high = w->in[d] + (p->op->include_pad ? w->end[d] : 0), here = 0;

        at /= (size_t)w->out[d];
        for (int64_t k = 0; k < w->kernel[d]; k++) {
            int64_t i = first + k * w->dilations[d];

            here += i >= low && i < high;
        }
        n *= (size_t)here;
    }
    return n;
}

/* [N, C, ...]: items are (plane, output position). */
#define PLANE_POOL(name, type, wide, lowest)                                                       \
    static void plane_##name(const struct pool_work *p, size_t first, size_t last)                 \
    {                                                                                              \
        for (size_t i = first; i < last; i++) {                                                    \
            const type *x = (const type *)p->x + i / p->w.n_out * p->w.n_in;                       \
            size_t at = i % p->w.n_out;                                                            \
            wide sum = p->op->max ? (wide)(lowest) : 0;                                            \
            for (size_t t = 0; t < p->w.n_taps; t++) {                                             \
                int64_t from = enso__window_tap(&p->w, at, t);                                     \
                if (from < 0)                                                                      \
                    continue;                                                                      \
                wide v = (wide)x[from];                                                            \
                sum = !p->op->max ? sum + v : v > sum || v != v ? v : sum;                         \
            }                                                                                      \
            if (!p->op->max)                                                                       \
                sum /= (wide)ENSO_MAX(counted(p, at), (size_t)1);                                  \
            ((type *)p->y)[i] = (type)sum;                                                         \
        }                                                                                          \
    }
PLANE_POOL(F32, float, double, -(double)INFINITY)
PLANE_POOL(F64, double, double, -(double)INFINITY)
PLANE_POOL(I8, int8_t, int64_t, INT8_MIN)
PLANE_POOL(U8, uint8_t, int64_t, 0)

static void plane_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct pool_work *p = arg;

    (void)thread;
    switch (p->op->dtype) {
    case ENSO_DTYPE_F64:
        plane_F64(p, first, last);
        break;
    case ENSO_DTYPE_I8:
        plane_I8(p, first, last);
        break;
    case ENSO_DTYPE_U8:
        plane_U8(p, first, last);
        break;
    default:
        plane_F32(p, first, last);
    }
}

/* [N, ..., C]: items are (image, output position). */
static void pixel_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct pool_work *p = arg;
    const struct enso_kernels *kernels = p->op->bound.kernels;
    size_t n = p->n_channels;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        const float *x = (const float *)p->x + i / p->w.n_out * p->w.n_in * n;
        float *y = (float *)p->y + i * n;
        size_t at = i % p->w.n_out, n_read = 0;

        for (size_t t = 0; t < p->w.n_taps; t++) {
            int64_t from = enso__window_tap(&p->w, at, t);

            if (from < 0)
                continue;
            if (n_read++ == 0)
                memcpy(y, x + (size_t)from * n, n * sizeof(float));
            else if (p->op->max)
                kernels->max_into(y, x + (size_t)from * n, n);
            else
                kernels->add(y, x + (size_t)from * n, y, n);
        }
        float none = p->op->max ? -INFINITY : 0, share = (float)counted(p, at);

        for (size_t c = 0; n_read == 0 && c < n; c++)
            y[c] = none;
        for (size_t c = 0; !p->op->max && n_read > 0 && c < n; c++)
            y[c] /= share;
    }
}

static int pool_run(const struct enso__call *call, struct enso_error *err)
{
    const struct pool *op = (const struct pool *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    size_t spatial = op->nhwc ? 1 : 2, channels = op->nhwc ? x->rank - 1u : 1u;
    struct pool_work p = {.op = op, .x = x->data, .y = y->data};

    if (x->rank < 3 || y->rank != x->rank || x->dims[0] != y->dims[0] ||
        x->dims[channels] != y->dims[channels] ||
        !enso__window_resolve(&op->window, x->rank - 2u, x->dims + spatial, y->dims + spatial,
                              op->global ? x->dims + spatial : NULL, &p.w))
        return enso__run_error(call, err, ENSO_INVALID, "its window does not fit %s -> %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    p.n_channels = (size_t)x->dims[channels];
    if (op->nhwc)
        enso__parallel(call, (size_t)x->dims[0] * p.w.n_out, p.w.n_taps * p.n_channels * 2,
                       pixel_piece, &p);
    else
        enso__parallel(call, (size_t)x->dims[0] * p.n_channels * p.w.n_out, p.w.n_taps * 8,
                       plane_piece, &p);
    return ENSO_OK;
}

int enso__bind_pool(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_op op = b->node->op;
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    bool nhwc = enso_node_int(b->node, "nhwc", 0) != 0;
    bool max = op == ENSO_OP_MAX_POOL || op == ENSO_OP_GLOBAL_MAX_POOL;

    if (dtype != ENSO_DTYPE_F32 &&
        (nhwc ||
         (dtype != ENSO_DTYPE_F64 && (!max || (dtype != ENSO_DTYPE_I8 && dtype != ENSO_DTYPE_U8)))))
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    if (b->node->n_outputs > 1 && b->node->outputs[1] >= 0)
        return enso__unsupported(b, err, "the output Indices");
    struct pool *p = enso__bound_new(b, sizeof(*p), pool_run, err);
    if (p == NULL)
        return ENSO_NO_MEMORY;
    p->dtype = dtype;
    p->nhwc = nhwc;
    p->max = max;
    p->global = op == ENSO_OP_GLOBAL_AVERAGE_POOL || op == ENSO_OP_GLOBAL_MAX_POOL;
    p->include_pad = enso_node_int(b->node, "count_include_pad", 0) != 0;
    int st = enso__window_bind(b, &p->window, err);
    if (st != ENSO_OK) {
        enso__bound_free(&p->bound);
        return st;
    }
    *ret = &p->bound;
    return ENSO_OK;
}
