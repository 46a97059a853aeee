/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions: host side of conv.cu, gemm_conv.cu and depthwise.cu. Conv reads its weights where
 * the engine put them, in ONNX's layout (constant weights and biases that go with halves are
 * rounded at bind). CONV_FUSED turns its constant weights [M, C/group, kh, kw] at bind: in half
 * types and without groups, for cards from 8.0 on, to rows [M][kh·kw·C] of a product on tensor
 * cores; else to [kh·kw][C/group][M] for the plain kernel, in half types for the depthwise one too.
 * (One pixel that moves by one has become LINEAR before.)
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch_gemm.h"
#include "kernels/cuda/node_window.h"
#include "kernels/cuda/packed.h"
#include "kernels/nodes/conv.h"

struct conv {
    struct enso_bound bound;
    struct enso__window_attributes window;
    int64_t group;
    enum enso_dtype dtype;
    void *weights; /* device memory; NULL: the tensor's */
    float *bias;   /* the same */
};

static void conv_release(struct enso_bound *bound)
{
    struct conv *c = (struct conv *)bound;

    enso__cuda_free(bound->device, c->weights);
    enso__cuda_free(bound->device, c->bias);
}

static int conv_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct conv *op = (const struct conv *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *weights = enso__cuda_in(call, 1);
    const struct enso_tensor *bias = enso__cuda_in(call, 2), *y = enso__cuda_out(call, 0);
    struct enso__window w;
    struct enso_cuda_window window;

    if (x->rank < 3 || y->rank != x->rank || weights->rank != x->rank || x->dims[0] != y->dims[0] ||
        weights->dims[0] != y->dims[1] || weights->dims[1] * op->group != x->dims[1] ||
        weights->dims[0] % op->group != 0 ||
        (bias != NULL && enso_tensor_count(bias) != y->dims[1]) ||
        !enso__window_resolve(&op->window, x->rank - 2u, x->dims + 2, y->dims + 2,
                              weights->dims + 2, &w) ||
        !enso__cuda_window(&w, &window))
        return enso__cuda_error(call, err, ENSO_INVALID, "weights of %s do not fit %s -> %s",
                                enso__dims_text(weights).s, enso__dims_text(x).s,
                                enso__dims_text(y).s);
    return enso__cuda_launched(
        call,
        enso_cuda_conv(op->dtype, x->data, op->weights != NULL ? op->weights : weights->data,
                       op->bias != NULL ? op->bias
                       : bias != NULL   ? bias->data
                                        : NULL,
                       y->data, (size_t)x->dims[0], (size_t)x->dims[1], (size_t)y->dims[1],
                       (size_t)op->group, &window, call->stream),
        err);
}

/* Beside half activations: constant parameters, the weights rounded to their type. */
static int bind_half_parameters(const struct enso__bind *b, struct conv *c, struct enso_error *err)
{
    const struct enso_value *w = enso__bind_input(b, 1), *bias = enso__bind_input(b, 2);
    struct enso__packed packed = {0};
    float *data = NULL;
    size_t n = 0;

    if (w->constant == NULL || (bias != NULL && bias->constant == NULL))
        return enso__unsupported(b, err, "weights and bias of a convolution in %s must be constant",
                                 enso_dtype_name(c->dtype));
    int st = enso__constant_floats(b, 1, 1, &data, &n, err);
    if (st == ENSO_OK)
        st = enso__cuda_pack(b, c->dtype, data, 1, n, 0, 1, 1, &packed, err);
    enso_free(data);
    if (st != ENSO_OK)
        return st;
    c->weights = packed.data;
    c->bound.bytes += packed.bytes;
    c->bound.packed |= 1u << 1;
    st = enso__cuda_constant(b, 2, 1, &c->bias, &n, err);
    if (st != ENSO_OK || c->bias == NULL)
        return st;
    c->bound.bytes += n * sizeof(float);
    c->bound.packed |= 1u << 2;
    return ENSO_OK;
}

int enso__cuda_bind_conv(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    int64_t group = enso_node_int(b->node, "group", 1);
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    bool half = enso_dtype_is_half(dtype);

    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (half ? !enso_dtype_is_float(enso__bind_dtype(b, i))
                 : enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "input %zu of type %s", i,
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    if (group < 1 || group > INT32_MAX || b->node->n_inputs < 2)
        return enso__unsupported(b, err, "group %lld", (long long)group);
    struct conv *c = enso__cuda_bound_new(b, sizeof(*c), conv_run, err);
    if (c == NULL)
        return ENSO_NO_MEMORY;
    c->bound.release = conv_release;
    c->group = group;
    c->dtype = dtype;
    int st = enso__window_bind(b, &c->window, err);
    if (st == ENSO_OK && half)
        st = bind_half_parameters(b, c, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&c->bound);
        return st;
    }
    *ret = &c->bound;
    return ENSO_OK;
}

struct conv_fused {
    struct enso_bound bound;
    struct enso__window_attributes window;
    size_t group, n_in, n_out; /* channels */
    int64_t kernel[2];
    enum enso_dtype dtype;
    void *weights; /* device memory: [taps][n_in / group][n_out], or [n_out][stride] */
    size_t stride; /* 0: the former */
    float *bias;   /* device memory; NULL: none */
    struct enso_activation_args activation;
};

static void conv_fused_release(struct enso_bound *bound)
{
    struct conv_fused *c = (struct conv_fused *)bound;

    enso__cuda_free(bound->device, c->weights);
    enso__cuda_free(bound->device, c->bias);
}

/* w [M, C, taps] to [taps][C][M], or for a product on tensor cores to [M][taps][C]; then up. */
static int upload_weights(const struct enso__bind *b, struct conv_fused *c, struct enso_error *err)
{
    size_t channels = c->n_in / c->group, taps = (size_t)(c->kernel[0] * c->kernel[1]), n;
    bool product = enso_dtype_is_half(c->dtype) && c->group == 1 && b->device->architecture >= 80;
    struct enso__packed packed = {0};
    float *w = NULL;
    int st = enso__constant_floats(b, 1, 1, &w, &n, err);

    if (st != ENSO_OK)
        return st;
    float *turned = enso_alloc_array(ENSO_MAX(n, (size_t)1), sizeof(float));
    if (turned == NULL) {
        st = enso_error_no_memory(err, "packed weights");
    } else {
        for (size_t m = 0; m < c->n_out; m++)
            for (size_t k = 0; k < channels; k++)
                for (size_t t = 0; t < taps; t++)
                    turned[product ? (m * taps + t) * channels + k
                                   : (t * channels + k) * c->n_out + m] =
                        w[(m * channels + k) * taps + t];
        st = product ? enso__cuda_pack(b, c->dtype, turned, c->n_out, taps * channels,
                                       taps * channels, 1, ENSO_GEMM_PAD, &packed, err)
                     : enso__cuda_pack(b, c->dtype, turned, 1, n, 0, 1, 1, &packed, err);
    }
    enso_free(turned);
    enso_free(w);
    if (st != ENSO_OK)
        return st;
    c->weights = packed.data;
    c->stride = product ? packed.stride : 0;
    c->bound.bytes += packed.bytes;
    return ENSO_OK;
}

static int bind_bias(const struct enso__bind *b, struct conv_fused *c, struct enso_error *err)
{
    size_t n = 0;

    if (enso__bind_input(b, 2) == NULL)
        return ENSO_OK;
    int st = enso__cuda_constant(b, 2, 1, &c->bias, &n, err);
    if (st != ENSO_OK)
        return st;
    if (c->bias == NULL || n != c->n_out)
        return enso__unsupported(b, err, "needs a constant bias of %zu entries", c->n_out);
    c->bound.bytes += n * sizeof(float);
    return ENSO_OK;
}

/* On tensor cores. */
static int launch_gemm(const struct enso_cuda_conv_nhwc *c, void *workspace, cudaStream_t stream)
{
    const struct enso_cuda_gemm g = {.dtype = c->dtype,
                                     .out_dtype = c->dtype,
                                     .a = c->x,
                                     .weights = c->weights,
                                     .bias = c->bias,
                                     .residual = c->residual,
                                     .y = c->y,
                                     .m = c->n_images * c->window.n_out,
                                     .k = c->n_in * c->window.n_taps,
                                     .n = c->n_out,
                                     .residual_row = c->n_out,
                                     .residual_column = 1,
                                     .alpha = 1,
                                     .beta = 1,
                                     .activation = c->activation,
                                     .partial = workspace};

    return enso_cuda_gemm_conv(&g, &c->window, c->n_in, stream);
}

static int launch(const struct conv_fused *op, const struct enso_cuda_conv_nhwc *c, void *workspace,
                  cudaStream_t stream)
{
    if (op->stride != 0)
        return launch_gemm(c, workspace, stream);
    if (enso_dtype_is_half(op->dtype) && enso_cuda_is_depthwise(c))
        return enso_cuda_depthwise(c, stream);
    return enso_cuda_conv_nhwc(c, stream);
}

static size_t conv_fused_workspace(const struct enso_bound *bound, const struct enso_step *step,
                                   const struct enso_tensor *tensors)
{
    const struct conv_fused *c = (const struct conv_fused *)bound;

    if (c->stride == 0)
        return 0;
    return enso_cuda_gemm_workspace((size_t)enso_tensor_count(&tensors[step->outputs[0]]) /
                                        c->n_out,
                                    c->n_in * (size_t)(c->kernel[0] * c->kernel[1]), c->n_out);
}

static int conv_fused_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct conv_fused *op = (const struct conv_fused *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *r = enso__cuda_in(call, 3);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    struct enso_cuda_conv_nhwc c = {.dtype = op->dtype,
                                    .x = x->data,
                                    .weights = op->weights,
                                    .bias = op->bias,
                                    .residual = r != NULL ? r->data : NULL,
                                    .y = y->data,
                                    .n_images = (size_t)x->dims[0],
                                    .n_in = op->n_in,
                                    .n_out = op->n_out,
                                    .group = op->group,
                                    .activation = op->activation};
    struct enso__window w;

    if (x->rank != 4 || y->rank != 4 || x->dims[0] != y->dims[0] ||
        (size_t)x->dims[3] != op->n_in || (size_t)y->dims[3] != op->n_out ||
        (r != NULL && enso_tensor_count(r) != enso_tensor_count(y)) ||
        !enso__window_resolve(&op->window, 2, x->dims + 1, y->dims + 1, op->kernel, &w) ||
        !enso__cuda_window(&w, &c.window))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "its window does not fit %s -> %s",
                                enso__dims_text(x).s, enso__dims_text(y).s);
    return enso__cuda_launched(call, launch(op, &c, call->workspace, call->stream), err);
}

int enso__cuda_bind_conv_fused(const struct enso__bind *b, struct enso_bound **ret,
                               struct enso_error *err)
{
    int st = enso__conv_fused_check(b, err);

    if (st != ENSO_OK)
        return st;
    if (enso__bind_input(b, 3) != NULL && enso__bind_dtype(b, 3) != enso__bind_dtype(b, 0))
        return enso__unsupported(b, err, "residual of type %s",
                                 enso_dtype_name(enso__bind_dtype(b, 3)));
    const struct enso_constant *w = enso__bind_input(b, 1)->constant;
    struct conv_fused *c = enso__cuda_bound_new(b, sizeof(*c), conv_fused_run, err);
    if (c == NULL)
        return ENSO_NO_MEMORY;
    c->bound.release = conv_fused_release;
    c->bound.workspace = conv_fused_workspace;
    c->dtype = enso__bind_dtype(b, 0);
    c->group = (size_t)enso_node_int(b->node, "group", 1);
    c->n_out = (size_t)w->dims[0];
    c->n_in = (size_t)w->dims[1] * c->group;
    c->kernel[0] = w->dims[2];
    c->kernel[1] = w->dims[3];
    c->activation = enso__activation_args(b->node);
    st = enso__window_bind(b, &c->window, err);
    if (st == ENSO_OK)
        st = upload_weights(b, c, err);
    if (st == ENSO_OK)
        st = bind_bias(b, c, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&c->bound);
        return st;
    }
    c->bound.packed = 2u | (c->bias != NULL ? 4u : 0);
    *ret = &c->bound;
    return ENSO_OK;
}
