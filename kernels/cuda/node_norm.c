/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax, LogSoftmax and the norms: host side of norm.cu. What they take is as on the CPU
 * (kernels/nodes/norm.h), and F16 and BF16 besides, whose parameters stay F32.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <string.h>

#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/batch_norm.h"
#include "kernels/nodes/norm.h"

struct softmax {
    struct enso_bound bound;
    struct enso__softmax slices;
};

static int softmax_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct softmax *s = (const struct softmax *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    struct enso__slices cut;

    if (!enso__slices_of(x, s->slices.axis, &cut) || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INVALID, "axis %lld of %s",
                                (long long)s->slices.axis, enso__dims_text(x).s);
    return enso__cuda_launched(call,
                               enso_cuda_softmax(x->dtype, s->bound.op == ENSO_OP_LOG_SOFTMAX,
                                                 s->slices.side_by_side, x->data, y->data,
                                                 cut.outer, cut.n, cut.inner, call->stream),
                               err);
}

int enso__cuda_bind_softmax(const struct enso__bind *b, struct enso_bound **ret,
                            struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (!enso__cuda_is_float(dtype) && dtype != ENSO_DTYPE_F64)
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct softmax *s = enso__cuda_bound_new(b, sizeof(*s), softmax_run, err);
    if (s == NULL)
        return ENSO_NO_MEMORY;
    enso__softmax_bind(b, &s->slices);
    *ret = &s->bound;
    return ENSO_OK;
}

/* BatchNormalization, folded at bind when its parameters are constants, and InstanceNormalization.
 * Parameters are computed with in F32: constant ones may be of any type. */
struct channel_norm {
    struct enso_bound bound;
    float epsilon;
    float *scale_shift; /* device memory [2][n_channels]; InstanceNormalization: gamma and beta.
                         * NULL: from the tensors */
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

    if (op->scale_shift == NULL) {
        int st = channel_parameters(call, batch ? 4 : 2, n_channels, p, err);

        if (st != ENSO_OK)
            return st;
    } else if (op->n_channels != n_channels) {
        return enso__cuda_error(call, err, ENSO_INVALID, "%zu channels instead of %zu", n_channels,
                                op->n_channels);
    } else {
        p[0] = op->scale_shift;
        p[1] = op->scale_shift + n_channels;
    }
    int code = !batch ? enso_cuda_instance_norm(x->dtype, x->data, p[0], p[1], op->epsilon, y->data,
                                                n_images, n_channels, plane, call->stream)
               : op->scale_shift != NULL
                   ? enso_cuda_channel_scale(x->dtype, x->data, op->scale_shift, y->data, n_images,
                                             n_channels, plane, call->stream)
                   : enso_cuda_batch_norm(x->dtype, x->data, p[0], p[1], p[2], p[3], op->epsilon,
                                          y->data, n_images, n_channels, plane, call->stream);

    return enso__cuda_launched(call, code, err);
}

/* Constant gamma and beta side by side; *ret NULL when one of them is no constant. */
static int affine_constant(const struct enso__bind *b, float **ret_scale_shift, size_t *ret_n,
                           struct enso_error *err)
{
    float *p[2] = {NULL};
    size_t n[2] = {0};
    int st = enso__constant_floats(b, 1, 1, &p[0], &n[0], err);

    *ret_scale_shift = NULL;
    if (st == ENSO_OK)
        st = enso__constant_floats(b, 2, 1, &p[1], &n[1], err);
    if (st == ENSO_OK && p[0] != NULL && p[1] != NULL && n[0] == n[1]) {
        *ret_scale_shift = enso_alloc_array(2 * n[0], sizeof(float));
        if (*ret_scale_shift == NULL)
            st = enso_error_no_memory(err, "gamma and beta");
        for (size_t i = 0; *ret_scale_shift != NULL && i < 2; i++)
            memcpy(*ret_scale_shift + i * n[0], p[i], n[0] * sizeof(float));
        *ret_n = n[0];
    }
    enso_free(p[0]);
    enso_free(p[1]);
    return st;
}

static int bind_statistics(const struct enso__bind *b, struct channel_norm *op,
                           struct enso_error *err)
{
    bool batch = b->node->op == ENSO_OP_BATCH_NORM;
    float *folded = NULL;
    int st = batch ? enso__batch_norm_constant(b, op->epsilon, &folded, &op->n_channels, err)
                   : affine_constant(b, &folded, &op->n_channels, err);

    if (st != ENSO_OK || folded == NULL)
        return st;
    st = enso__cuda_floats(b, folded, 2 * op->n_channels, &op->scale_shift, err);
    enso_free(folded);
    if (st == ENSO_OK) {
        op->bound.packed = batch ? 0x1e : 0x06;
        op->bound.bytes += 2 * op->n_channels * sizeof(float);
    }
    return st;
}

int enso__cuda_bind_channel_norm(const struct enso__bind *b, struct enso_bound **ret,
                                 struct enso_error *err)
{
    size_t n_inputs = b->node->op == ENSO_OP_BATCH_NORM ? 5 : 3;

    for (size_t i = 0; i < n_inputs; i++)
        if (enso__bind_input(b, i) == NULL ||
            !(i == 0 ? enso__cuda_is_float(enso__bind_dtype(b, i)) : enso__cuda_is_parameter(b, i)))
            return enso__unsupported(b, err, "needs %zu inputs, parameters of type FP32", n_inputs);
    struct channel_norm *op = enso__cuda_bound_new(b, sizeof(*op), channel_norm_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.release = channel_norm_release;
    op->epsilon = enso_node_float(b->node, "epsilon", 1e-5f);
    int st = bind_statistics(b, op, err);
    for (size_t i = 1; st == ENSO_OK && op->scale_shift == NULL && i < n_inputs; i++)
        if (enso__bind_dtype(b, i) != ENSO_DTYPE_F32) /* constant, but not all of them are */
            st = enso__unsupported(b, err, "parameters of type %s",
                                   enso_dtype_name(enso__bind_dtype(b, i)));
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&op->bound);
        return st;
    }
    *ret = &op->bound;
    return ENSO_OK;
}

struct lrn {
    struct enso_bound bound;
    struct enso__lrn lrn;
};

static int lrn_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso__lrn *op = &((const struct lrn *)call->bound)->lrn;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);

    if (x->rank < 2 || enso_tensor_count(x) != enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INVALID, "input of %s", enso__dims_text(x).s);
    size_t axis = op->nhwc ? x->rank - 1u : 1u;

    return enso__cuda_launched(
        call,
        enso_cuda_lrn(x->dtype, x->data, y->data, enso__count(x->dims, 0, axis),
                      (size_t)x->dims[axis], enso__count(x->dims, axis + 1, x->rank),
                      (size_t)op->size, op->alpha, op->beta, op->bias, call->stream),
        err);
}

int enso__cuda_bind_lrn(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct enso__lrn lrn;

    if (!enso__lrn_bind(b, &lrn) || !enso__cuda_is_float(enso__bind_dtype(b, 0)))
        return enso__unsupported(b, err, "needs FP32, FP16 or BF16 and a positive size");
    struct lrn *op = enso__cuda_bound_new(b, sizeof(*op), lrn_run, err);
    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->lrn = lrn;
    *ret = &op->bound;
    return ENSO_OK;
}

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
    const struct enso_tensor *inputs[ENSO__ROW_NORM_INPUTS];
    struct enso__row_norm r;

    for (size_t i = 0; i < ENSO__ROW_NORM_INPUTS; i++)
        inputs[i] = enso__cuda_in(call, i);
    int st = enso__row_norm_resolve(op->bound.op, op->bound.node, inputs, enso__cuda_out(call, 0),
                                    op->n, &r, err);
    if (st != ENSO_OK)
        return st;
    const struct enso_cuda_row_norm norm = {.op = op->bound.op,
                                            .x = r.x->data,
                                            .residual =
                                                r.residual != NULL ? r.residual->data : NULL,
                                            .gamma = op->gamma != NULL ? op->gamma
                                                     : r.gamma != NULL ? r.gamma->data
                                                                       : NULL,
                                            .beta = op->beta != NULL ? op->beta
                                                    : r.beta != NULL ? r.beta->data
                                                                     : NULL,
                                            .y = r.y->data,
                                            .epsilon = op->epsilon,
                                            .n_rows = r.n_rows,
                                            .n = r.n};

    return enso__cuda_launched(call, enso_cuda_row_norm(r.x->dtype, &norm, call->stream), err);
}

/* Gamma and beta may be constants of any type, else F32; the residual is of x's type. */
static bool row_norm_takes(const struct enso__bind *b, size_t i)
{
    bool layer = b->node->op == ENSO_OP_LAYER_NORM;

    if (i == 0)
        return enso__cuda_is_float(enso__bind_dtype(b, 0));
    if (enso__bind_input(b, i) == NULL)
        return true;
    return i < (layer ? 3u : 2u) ? enso__cuda_is_parameter(b, i)
                                 : enso__bind_dtype(b, i) == enso__bind_dtype(b, 0);
}

static int bind_affine(const struct enso__bind *b, struct row_norm *r, struct enso_error *err)
{
    float *gamma = NULL, *beta = NULL;
    int st = enso__row_norm_constants(b, &gamma, &beta, &r->n, err);

    if (st == ENSO_OK && gamma != NULL)
        st = enso__cuda_floats(b, gamma, r->n, &r->gamma, err);
    if (st == ENSO_OK && beta != NULL)
        st = enso__cuda_floats(b, beta, r->n, &r->beta, err);
    enso_free(gamma);
    enso_free(beta);
    r->bound.packed = (r->gamma != NULL ? 2u : 0) | (r->beta != NULL ? 4u : 0);
    r->bound.bytes += ((r->gamma != NULL) + (r->beta != NULL)) * r->n * sizeof(float);
    return st;
}

int enso__cuda_bind_row_norm(const struct enso__bind *b, struct enso_bound **ret,
                             struct enso_error *err)
{
    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (!row_norm_takes(b, i))
            return enso__unsupported(b, err, "input %zu of type %s", i,
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    struct row_norm *r = enso__cuda_bound_new(b, sizeof(*r), row_norm_run, err);
    if (r == NULL)
        return ENSO_NO_MEMORY;
    r->bound.release = row_norm_release;
    r->epsilon = enso__row_norm_epsilon(b);
    int st = bind_affine(b, r, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&r->bound);
        return st;
    }
    *ret = &r->bound;
    return ENSO_OK;
}
