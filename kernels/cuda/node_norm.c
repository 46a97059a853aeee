/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax, LogSoftmax and the norms: host side of norm.cu. What they take is as on the CPU
 * (kernels/cpu/norm.c).
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/batch_norm.h"

struct softmax {
    struct enso_bound bound;
    int64_t axis;
};

static int softmax_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct softmax *s = (const struct softmax *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    int axis = x->rank == 0 ? 0 : enso__axis(s->axis, x->rank);

    if (axis < 0 || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INVALID, "axis %lld of %s", (long long)s->axis,
                                enso__dims_text(x).s);
    bool scalar = x->rank == 0;
    size_t outer = scalar ? 1 : enso__count(x->dims, 0, (size_t)axis);
    size_t n = scalar ? 1 : (size_t)x->dims[axis];
    size_t inner = scalar ? 1 : enso__count(x->dims, (size_t)axis + 1, x->rank);

    return enso__cuda_launched(call,
                               enso_cuda_softmax(x->dtype, s->bound.op == ENSO_OP_LOG_SOFTMAX,
                                                 x->data, y->data, outer, n, inner, call->stream),
                               err);
}

int enso__cuda_bind_softmax(const struct enso__bind *b, struct enso_bound **ret,
                            struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (dtype != ENSO_DTYPE_F32 && dtype != ENSO_DTYPE_F64)
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct softmax *s = enso__cuda_bound_new(b, sizeof(*s), softmax_run, err);
    if (s == NULL)
        return ENSO_NO_MEMORY;
    s->axis = enso_node_int(b->node, "axis", -1);
    *ret = &s->bound;
    return ENSO_OK;
}

/* BatchNormalization, folded at bind when its parameters are constants, and
 * InstanceNormalization. */
struct channel_norm {
    struct enso_bound bound;
    float epsilon;
    float *scale_shift; /* device memory [2][n_channels]; NULL: from the tensors */
    size_t n_channels;
};

static void channel_norm_release(struct enso_bound *bound)
{
    enso__cuda_free(bound->device, ((struct channel_norm *)bound)->scale_shift);
}

/* The tensors of `n` inputs from 1 on, one number for each channel. */
static int channel_parameters(const struct enso__cuda_call *call, size_t n, size_t n_channels,
                              const float **ret_parameters, struct enso_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct enso_tensor *t = enso__cuda_in(call, i + 1);

        if (t == NULL || (size_t)enso_tensor_count(t) != n_channels)
            return enso__cuda_error(call, err, ENSO_INVALID,
                                    "input %zu must have one number for each of %zu channels",
                                    i + 1, n_channels);
        ret_parameters[i] = t->data;
    }
    return ENSO_OK;
}

static int channel_norm_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct channel_norm *op = (const struct channel_norm *)call->bound;
    bool batch = op->bound.op == ENSO_OP_BATCH_NORM;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    const float *p[4] = {NULL};

    if (x->rank < 2 || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INVALID, "input of %s", enso__dims_text(x).s);
    size_t n_images = (size_t)x->dims[0], n_channels = (size_t)x->dims[1];
    size_t plane = enso__count(x->dims, 2, x->rank);

    if (op->scale_shift != NULL) {
        if (op->n_channels != n_channels)
            return enso__cuda_error(call, err, ENSO_INVALID, "%zu channels instead of %zu",
                                    n_channels, op->n_channels);
        return enso__cuda_launched(call,
                                   enso_cuda_channel_scale(x->data, op->scale_shift, y->data,
                                                           n_images, n_channels, plane,
                                                           call->stream),
                                   err);
    }
    int st = channel_parameters(call, batch ? 4 : 2, n_channels, p, err);
    if (st != ENSO_OK)
        return st;
    int code = batch ? enso_cuda_batch_norm(x->data, p[0], p[1], p[2], p[3], op->epsilon, y->data,
                                            n_images, n_channels, plane, call->stream)
                     : enso_cuda_instance_norm(x->data, p[0], p[1], op->epsilon, y->data, n_images,
                                               n_channels, plane, call->stream);

    return enso__cuda_launched(call, code, err);
}

static int bind_statistics(const struct enso__bind *b, struct channel_norm *op,
                           struct enso_error *err)
{
    float *folded = NULL;
    int st = enso__batch_norm_constant(b, op->epsilon, &folded, &op->n_channels, err);

    if (st != ENSO_OK || folded == NULL)
        return st;
    st = enso__cuda_floats(b, folded, 2 * op->n_channels, &op->scale_shift, err);
    enso_free(folded);
    if (st == ENSO_OK) {
        op->bound.packed = 0x1e;
        op->bound.bytes += 2 * op->n_channels * sizeof(float);
    }
    return st;
}

int enso__cuda_bind_channel_norm(const struct enso__bind *b, struct enso_bound **ret,
                                 struct enso_error *err)
{
    size_t n_inputs = b->node->op == ENSO_OP_BATCH_NORM ? 5 : 3;

    for (size_t i = 0; i < n_inputs; i++)
        if (enso__bind_input(b, i) == NULL || enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "needs %zu inputs of type FP32", n_inputs);
    struct channel_norm *op = enso__cuda_bound_new(b, sizeof(*op), channel_norm_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.release = channel_norm_release;
    op->epsilon = enso_node_float(b->node, "epsilon", 1e-5f);
    int st = b->node->op == ENSO_OP_BATCH_NORM ? bind_statistics(b, op, err) : ENSO_OK;
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&op->bound);
        return st;
    }
    *ret = &op->bound;
    return ENSO_OK;
}

struct lrn {
    struct enso_bound bound;
    int64_t size;
    float alpha, beta, bias;
    bool nhwc;
};

static int lrn_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct lrn *op = (const struct lrn *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);

    if (x->rank < 2 || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INVALID, "input of %s", enso__dims_text(x).s);
    size_t axis = op->nhwc ? x->rank - 1u : 1u;

    return enso__cuda_launched(
        call,
        enso_cuda_lrn(x->data, y->data, enso__count(x->dims, 0, axis), (size_t)x->dims[axis],
                      enso__count(x->dims, axis + 1, x->rank), (size_t)op->size, op->alpha,
                      op->beta, op->bias, call->stream),
        err);
}

int enso__cuda_bind_lrn(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    int64_t size = enso_node_int(b->node, "size", 0);

    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 || size < 1 || size > INT32_MAX)
        return enso__unsupported(b, err, "needs FP32 and a positive size");
    struct lrn *op = enso__cuda_bound_new(b, sizeof(*op), lrn_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->size = size;
    op->alpha = enso_node_float(b->node, "alpha", 1e-4f);
    op->beta = enso_node_float(b->node, "beta", 0.75f);
    op->bias = enso_node_float(b->node, "bias", 1.0f);
    op->nhwc = enso_node_int(b->node, "nhwc", 0) != 0;
    *ret = &op->bound;
    return ENSO_OK;
}

/* LAYER_NORM (x, gamma, beta, residual), RMS_NORM (x, gamma, residual), L2_NORMALIZE (x). */
struct row_norm {
    struct enso_bound bound;
    float epsilon;
    float *gamma, *beta; /* constant ones in device memory; NULL: absent or from the tensors */
    size_t n;            /* their length */
};

static void row_norm_release(struct enso_bound *bound)
{
    struct row_norm *r = (struct row_norm *)bound;

    enso__cuda_free(bound->device, r->gamma);
    enso__cuda_free(bound->device, r->beta);
}

static int row_norm_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct row_norm *op = (const struct row_norm *)call->bound;
    bool layer = op->bound.op == ENSO_OP_LAYER_NORM, rms = op->bound.op == ENSO_OP_RMS_NORM;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    const struct enso_tensor *gamma = layer || rms ? enso__cuda_in(call, 1) : NULL;
    const struct enso_tensor *beta = layer ? enso__cuda_in(call, 2) : NULL;
    const struct enso_tensor *residual = layer ? enso__cuda_in(call, 3)
                                         : rms ? enso__cuda_in(call, 2)
                                               : NULL;

    if (x->rank < 1 || enso_tensor_count(x) != enso_tensor_count(y) ||
        (residual != NULL && enso_tensor_count(residual) != enso_tensor_count(x)))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "its operands differ in shape");
    size_t n = (size_t)x->dims[x->rank - 1];

    if ((gamma != NULL && (size_t)enso_tensor_count(gamma) != n) ||
        (beta != NULL && (size_t)enso_tensor_count(beta) != n) ||
        ((op->gamma != NULL || op->beta != NULL) && op->n != n))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "gamma and beta do not fit rows of %zu",
                                n);
    return enso__cuda_launched(
        call,
        enso_cuda_row_norm(op->bound.op, x->data, residual != NULL ? residual->data : NULL,
                           op->gamma != NULL ? op->gamma
                           : gamma != NULL   ? gamma->data
                                             : NULL,
                           op->beta != NULL ? op->beta
                           : beta != NULL   ? beta->data
                                            : NULL,
                           op->epsilon, y->data, (size_t)enso_tensor_count(x) / n, n, call->stream),
        err);
}

int enso__cuda_bind_row_norm(const struct enso__bind *b, struct enso_bound **ret,
                             struct enso_error *err)
{
    bool layer = b->node->op == ENSO_OP_LAYER_NORM, rms = b->node->op == ENSO_OP_RMS_NORM;

    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "input %zu of type %s", i,
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    struct row_norm *r = enso__cuda_bound_new(b, sizeof(*r), row_norm_run, err);
    if (r == NULL)
        return ENSO_NO_MEMORY;
    r->bound.release = row_norm_release;
    r->epsilon =
        enso_node_float(b->node, "epsilon", b->node->op == ENSO_OP_L2_NORMALIZE ? 1e-12f : 1e-5f);
    size_t n_gamma = 0, n_beta = 0;
    int st = layer || rms ? enso__cuda_constant(b, 1, 1, &r->gamma, &n_gamma, err) : ENSO_OK;
    if (st == ENSO_OK && layer)
        st = enso__cuda_constant(b, 2, 1, &r->beta, &n_beta, err);
    if (st == ENSO_OK && r->gamma != NULL && r->beta != NULL && n_gamma != n_beta)
        st = enso__unsupported(b, err, "gamma has %zu entries and beta %zu", n_gamma, n_beta);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&r->bound);
        return st;
    }
    r->n = ENSO_MAX(n_gamma, n_beta);
    r->bound.packed = (r->gamma != NULL ? 2u : 0) | (r->beta != NULL ? 4u : 0);
    r->bound.bytes += (n_gamma + n_beta) * sizeof(float);
    *ret = &r->bound;
    return ENSO_OK;
}
