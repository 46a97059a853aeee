/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax and the norms: Softmax, LogSoftmax (ONNX, opset 13), BatchNormalization (15, inference),
 * InstanceNormalization (6), LRN (13, also over [N, H, W, C] with nhwc = 1), and over the last axis
 * the fused LAYER_NORM, RMS_NORM and L2_NORMALIZE (engine/ops/ops.h), whose output may be an input.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/nodes/batch_norm.h"
#include "kernels/nodes/norm.h"

struct softmax {
    struct enso_bound bound;
    struct enso__softmax slices;
    bool log, f64;
};

struct softmax_work {
    const struct softmax *op;
    const void *x;
    void *y;
    size_t n, inner;
};

/* One slice with elements `inner` apart; sums in double. */
#define STRIDED_SOFTMAX(type)                                                                      \
    static void softmax_##type(const type *x, type *y, size_t n, size_t inner, bool logarithm)     \
    {                                                                                              \
        double max = -(double)INFINITY, sum = 0;                                                   \
        for (size_t i = 0; i < n; i++)                                                             \
            max = (double)x[i * inner] > max ? (double)x[i * inner] : max;                         \
        for (size_t i = 0; i < n; i++)                                                             \
            sum += exp((double)x[i * inner] - max);                                                \
        double log_sum = log(sum);                                                                 \
        for (size_t i = 0; i < n; i++) {                                                           \
            double v = (double)x[i * inner] - max;                                                 \
            y[i * inner] = (type)(logarithm ? v - log_sum : exp(v) / sum);                         \
        }                                                                                          \
    }
STRIDED_SOFTMAX(float)
STRIDED_SOFTMAX(double)

static void softmax_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct softmax_work *w = arg;
    const struct enso_kernels *kernels = w->op->bound.kernels;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        size_t at = i / w->inner * w->n * w->inner + i % w->inner;

        if (w->op->f64) {
            softmax_double((const double *)w->x + at, (double *)w->y + at, w->n, w->inner,
                           w->op->log);
        } else if (!w->op->slices.side_by_side) {
            softmax_float((const float *)w->x + at, (float *)w->y + at, w->n, w->inner, w->op->log);
        } else {
            float *y = (float *)w->y + at;

            if (w->x != w->y)
                memcpy(y, (const float *)w->x + at, w->n * sizeof(float));
            if (w->op->log)
                kernels->log_softmax(y, w->n);
            else
                kernels->softmax(y, w->n, w->n, 1.0f);
        }
    }
}

static int softmax_run(const struct enso__call *call, struct enso_error *err)
{
    const struct softmax *s = (const struct softmax *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct enso__slices cut;

    if (!enso__slices_of(x, s->slices.axis, &cut) || enso_tensor_count(x) != enso_tensor_count(y) ||
        (s->slices.side_by_side && cut.inner != 1))
        return enso__run_error(call, err, ENSO_INVALID, "axis %lld of %s",
                               (long long)s->slices.axis, enso__dims_text(x).s);
    struct softmax_work w = {s, x->data, y->data, cut.n, cut.inner};

    if (cut.n > 0)
        enso__parallel(call, cut.outer * cut.inner, w.n * 16, softmax_piece, &w);
    return ENSO_OK;
}

int enso__bind_softmax(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (dtype != ENSO_DTYPE_F32 && dtype != ENSO_DTYPE_F64)
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct softmax *s = enso__bound_new(b, sizeof(*s), softmax_run, err);
    if (s == NULL)
        return ENSO_NO_MEMORY;
    enso__softmax_bind(b, &s->slices);
    s->log = b->node->op == ENSO_OP_LOG_SOFTMAX;
    s->f64 = dtype == ENSO_DTYPE_F64;
    *ret = &s->bound;
    return ENSO_OK;
}

/* BatchNormalization and InstanceNormalization: planes of one item and channel become
 * a · plane + b. For the former a and b are known per channel, at bind if all is constant. */
struct channel_norm {
    struct enso_bound bound;
    float epsilon;
    float *scale_shift; /* [2][n_channels]; NULL: made at run */
    size_t n_channels;
};

static void channel_norm_release(struct enso_bound *bound)
{
    enso_free(((struct channel_norm *)bound)->scale_shift);
}

struct channel_work {
    const struct channel_norm *op;
    const float *x, *gamma, *beta, *scale_shift;
    float *y;
    size_t n_channels, plane;
};

static void scale_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct channel_work *w = arg;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        float scale = w->scale_shift[i % w->n_channels];
        float shift = w->scale_shift[w->n_channels + i % w->n_channels];
        const float *x = w->x + i * w->plane;
        float *y = w->y + i * w->plane;

        for (size_t j = 0; j < w->plane; j++)
            y[j] = x[j] * scale + shift;
    }
}

static void instance_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct channel_work *w = arg;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        const float *x = w->x + i * w->plane;
        float *y = w->y + i * w->plane;
        double sum = 0, squares = 0, n = (double)w->plane;

        for (size_t j = 0; j < w->plane; j++)
            sum += (double)x[j];
        for (size_t j = 0; j < w->plane; j++)
            squares += ((double)x[j] - sum / n) * ((double)x[j] - sum / n);
        double scale =
            (double)w->gamma[i % w->n_channels] / sqrt(squares / n + (double)w->op->epsilon);
        double shift = (double)w->beta[i % w->n_channels] - sum / n * scale;

        for (size_t j = 0; j < w->plane; j++)
            y[j] = (float)((double)x[j] * scale + shift);
    }
}

static size_t channel_workspace(const struct enso_bound *bound, const struct enso_step *step,
                                const struct enso_tensor *tensors)
{
    const struct enso_tensor *x = &tensors[step->inputs[0]];

    if (((const struct channel_norm *)bound)->scale_shift != NULL ||
        bound->op != ENSO_OP_BATCH_NORM || x->rank < 2)
        return 0;
    return 2 * (size_t)x->dims[1] * sizeof(float);
}

static int channel_norm_run(const struct enso__call *call, struct enso_error *err)
{
    const struct channel_norm *op = (const struct channel_norm *)call->bound;
    bool batch = op->bound.op == ENSO_OP_BATCH_NORM;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);

    if (x->rank < 2 || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INVALID, "input of %s", enso__dims_text(x).s);
    struct channel_work w = {.op = op,
                             .x = x->data,
                             .y = y->data,
                             .scale_shift = op->scale_shift,
                             .n_channels = (size_t)x->dims[1],
                             .plane = enso__count(x->dims, 2, x->rank)};
    const float *parameters[4] = {NULL};

    for (size_t i = 0; w.scale_shift == NULL && i < (batch ? 4u : 2u); i++) {
        const struct enso_tensor *t = enso__in(call, i + 1);

        if (t == NULL || (size_t)enso_tensor_count(t) != w.n_channels)
            return enso__run_error(call, err, ENSO_INVALID,
                                   "input %zu must have one number for each of %zu channels", i + 1,
                                   w.n_channels);
        parameters[i] = t->data;
    }
    if (w.scale_shift != NULL && op->n_channels != w.n_channels)
        return enso__run_error(call, err, ENSO_INVALID, "%zu channels instead of %zu", w.n_channels,
                               op->n_channels);
    if (batch && w.scale_shift == NULL) {
        float *scale_shift = (float *)call->workspace;

        enso__batch_norm_fold(w.n_channels, parameters[0], parameters[1], parameters[2],
                              parameters[3], op->epsilon, scale_shift);
        w.scale_shift = scale_shift;
    }
    w.gamma = parameters[0];
    w.beta = parameters[1];
    enso__parallel(call, (size_t)x->dims[0] * w.n_channels, w.plane * (batch ? 4 : 16),
                   batch ? scale_piece : instance_piece, &w);
    return ENSO_OK;
}

static int bind_statistics(const struct enso__bind *b, struct channel_norm *op,
                           struct enso_error *err)
{
    int st = enso__batch_norm_constant(b, op->epsilon, &op->scale_shift, &op->n_channels, err);

    if (st == ENSO_OK && op->scale_shift != NULL) {
        op->bound.packed = 0x1e;
        op->bound.bytes += 2 * op->n_channels * sizeof(float);
    }
    return st;
}

int enso__bind_channel_norm(const struct enso__bind *b, struct enso_bound **ret,
                            struct enso_error *err)
{
    size_t n_inputs = b->node->op == ENSO_OP_BATCH_NORM ? 5 : 3;

    for (size_t i = 0; i < n_inputs; i++)
        if (enso__bind_input(b, i) == NULL || enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "needs %zu inputs of type FP32", n_inputs);
    struct channel_norm *op = enso__bound_new(b, sizeof(*op), channel_norm_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.release = channel_norm_release;
    op->bound.workspace = channel_workspace;
    op->epsilon = enso_node_float(b->node, "epsilon", 1e-5f);
    int st = b->node->op == ENSO_OP_BATCH_NORM ? bind_statistics(b, op, err) : ENSO_OK;
    if (st != ENSO_OK) {
        enso__bound_free(&op->bound);
        return st;
    }
    *ret = &op->bound;
    return ENSO_OK;
}

struct lrn {
    struct enso_bound bound;
    struct enso__lrn lrn;
};

struct lrn_work {
    const struct enso__lrn *op;
    const float *x;
    float *y;
    size_t n_channels, inner; /* floats from channel to channel */
};

static float lrn_power(float v, float beta)
{
    if (beta == 0.75f) {
        float root = sqrtf(v);

        return root * sqrtf(root);
    }
    return powf(v, beta);
}

/* Items are (outer, channel): with channels apart, a row of `inner` floats; else one float. */
static void lrn_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct lrn_work *w = arg;
    size_t below = (size_t)(w->op->size - 1) / 2, above = (size_t)w->op->size - 1 - below;
    float factor = w->op->alpha / (float)w->op->size;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        size_t c = i % w->n_channels, low = c < below ? 0 : c - below;
        size_t high = ENSO_MIN(c + above, w->n_channels - 1);
        const float *outer = w->x + i / w->n_channels * w->n_channels * w->inner;
        float *y = w->y + i * w->inner;

        for (size_t j = 0; j < w->inner; j++) {
            float sum = 0;

            for (size_t k = low; k <= high; k++)
                sum += outer[k * w->inner + j] * outer[k * w->inner + j];
            y[j] = outer[c * w->inner + j] / lrn_power(w->op->bias + factor * sum, w->op->beta);
        }
    }
}

static int lrn_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso__lrn *op = &((const struct lrn *)call->bound)->lrn;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);

    if (x->rank < 2 || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INVALID, "input of %s", enso__dims_text(x).s);
    size_t axis = op->nhwc ? x->rank - 1u : 1u;
    struct lrn_work w = {op, x->data, y->data, (size_t)x->dims[axis],
                         enso__count(x->dims, axis + 1, x->rank)};

    enso__parallel(call, (size_t)enso_tensor_count(x) / w.inner,
                   w.inner * (size_t)ENSO_MIN(op->size + 8, (int64_t)4096), lrn_piece, &w);
    return ENSO_OK;
}

int enso__bind_lrn(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso__lrn lrn;

    if (!enso__lrn_bind(b, &lrn) || enso__bind_dtype(b, 0) != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "needs FP32 and a positive size");
    struct lrn *op = enso__bound_new(b, sizeof(*op), lrn_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->lrn = lrn;
    *ret = &op->bound;
    return ENSO_OK;
}

struct row_norm {
    struct enso_bound bound;
    float epsilon;
    float *gamma, *beta; /* constant ones; NULL: absent or from the tensors */
    size_t n;            /* their length */
};

static void row_norm_release(struct enso_bound *bound)
{
    struct row_norm *r = (struct row_norm *)bound;

    enso_free(r->gamma);
    enso_free(r->beta);
}

struct row_norm_work {
    const struct row_norm *op;
    const float *x, *residual, *gamma, *beta;
    float *y;
    size_t n;
};

static void row_norm_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct row_norm_work *w = arg;
    const struct enso_kernels *kernels = w->op->bound.kernels;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        const float *x = w->x + i * w->n;
        float *y = w->y + i * w->n;

        if (w->residual != NULL) {
            kernels->add(x, w->residual + i * w->n, y, w->n);
            x = y;
        }
        if (w->op->bound.op == ENSO_OP_LAYER_NORM)
            kernels->layer_norm(x, y, w->n, w->gamma, w->beta, w->op->epsilon);
        else if (w->op->bound.op == ENSO_OP_RMS_NORM)
            kernels->rms_norm(x, y, w->n, w->gamma, w->op->epsilon);
        else
            kernels->l2_normalize(x, y, w->n, w->op->epsilon);
    }
}

static int row_norm_run(const struct enso__call *call, struct enso_error *err)
{
    const struct row_norm *op = (const struct row_norm *)call->bound;
    const struct enso_tensor *inputs[ENSO__ROW_NORM_INPUTS];
    struct enso__row_norm r;

    for (size_t i = 0; i < ENSO__ROW_NORM_INPUTS; i++)
        inputs[i] = enso__in(call, i);
    int st = enso__row_norm_resolve(op->bound.op, op->bound.node, inputs, enso__out(call, 0), op->n,
                                    &r, err);
    if (st != ENSO_OK)
        return st;
    struct row_norm_work w = {.op = op,
                              .x = r.x->data,
                              .residual = r.residual != NULL ? r.residual->data : NULL,
                              .gamma = op->gamma != NULL ? op->gamma
                                       : r.gamma != NULL ? r.gamma->data
                                                         : NULL,
                              .beta = op->beta != NULL ? op->beta
                                      : r.beta != NULL ? r.beta->data
                                                       : NULL,
                              .y = r.y->data,
                              .n = r.n};

    enso__parallel(call, r.n_rows, r.n * 4, row_norm_piece, &w);
    return ENSO_OK;
}

int enso__bind_row_norm(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "input %zu of type %s", i,
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    struct row_norm *r = enso__bound_new(b, sizeof(*r), row_norm_run, err);
    if (r == NULL)
        return ENSO_NO_MEMORY;
    r->bound.release = row_norm_release;
    r->epsilon = enso__row_norm_epsilon(b);
    int st = enso__row_norm_constants(b, &r->gamma, &r->beta, &r->n, err);
    if (st != ENSO_OK) {
        enso__bound_free(&r->bound);
        return st;
    }
    r->bound.packed = (r->gamma != NULL ? 2u : 0) | (r->beta != NULL ? 4u : 0);
    r->bound.bytes += ((r->gamma != NULL) + (r->beta != NULL)) * r->n * sizeof(float);
    *ret = &r->bound;
    return ENSO_OK;
}
