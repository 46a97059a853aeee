/* SPDX-License-Identifier: Apache-2.0
 *
 * LINEAR, Gemm and MatMul: host side of product.cu. A constant matrix of weights goes to device
 * memory once at bind, in the layout it has: the kernel reads factors through strides, so neither a
 * transposed one nor one that comes at run time is copied. Alike with the bias. F32; MatMul also of
 * F64 and of integers.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/matmul.h"

struct linear {
    struct enso_bound bound;
    float *weights;    /* device memory; NULL: from the tensor */
    size_t k, n;       /* of the weights */
    bool transposed;   /* B is given as [n, k] */
    float *bias;       /* device memory; NULL: none or from the tensor */
    bool a_transposed; /* Gemm */
    float alpha, beta; /* Gemm */
    struct enso_activation_args activation;
    enum enso_dtype dtype;                       /* MatMul */
    const struct enso__cublaslt_choice *library; /* NULL: our own kernel */
};

static void linear_release(struct enso_bound *bound)
{
    struct linear *l = (struct linear *)bound;

    enso__cuda_free(bound->device, l->weights);
    enso__cuda_free(bound->device, l->bias);
}

/* Take input 1 if it is a constant matrix. */
static int bind_factor(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    const struct enso_value *w = enso__bind_input(b, 1);

    if (w == NULL || w->dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "needs a second factor of type FP32");
    if (w->constant == NULL || w->constant->rank != 2)
        return ENSO_OK;
    size_t count = 0;
    int st = enso__cuda_constant(b, 1, 1, &l->weights, &count, err);
    if (st != ENSO_OK)
        return st;
    l->n = (size_t)w->constant->dims[l->transposed ? 0 : 1];
    l->k = (size_t)w->constant->dims[l->transposed ? 1 : 0];
    l->bound.packed |= 1u << 1;
    l->bound.bytes += count * sizeof(float);
    return ENSO_OK;
}

/* Take constant input 2 as the bias of n columns. */
static int bind_bias(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    size_t n;
    int st = enso__cuda_constant(b, 2, 1, &l->bias, &n, err);

    if (st != ENSO_OK || l->bias == NULL)
        return st;
    if (l->weights != NULL && n != l->n)
        return enso__unsupported(b, err, "the bias has %zu entries for %zu columns", n, l->n);
    l->bound.packed |= 1u << 2;
    l->bound.bytes += n * sizeof(float);
    return ENSO_OK;
}

/* Sizes of a product at run: B [k, n], from the weights or the tensor. */
static bool factor_sizes(const struct linear *l, const struct enso_tensor *w, size_t *k, size_t *n)
{
    if (l->weights != NULL) {
        *k = l->k;
        *n = l->n;
        return true;
    }
    if (w == NULL || w->rank != 2)
        return false;
    *n = (size_t)w->dims[l->transposed ? 0 : 1];
    *k = (size_t)w->dims[l->transposed ? 1 : 0];
    return true;
}

/* Let cuBLASLt have products whose weights are known, if it has an algorithm for them. */
static int bind_library(const struct enso__bind *b, struct linear *l, bool bias, bool residual,
                        struct enso_error *err)
{
    unsigned epilogue = bias ? ENSO__CUBLASLT_BIAS : 0;

    if (l->weights == NULL || l->a_transposed)
        return ENSO_OK;
    if (l->activation.kind == ENSO_ACTIVATION_RELU)
        epilogue |= ENSO__CUBLASLT_RELU;
    else if (l->activation.kind != ENSO_ACTIVATION_NONE)
        return ENSO_OK;
    const struct enso__cublaslt_product product = {.dtype = ENSO_DTYPE_F32,
                                                   .epilogue = epilogue,
                                                   .w_transposed = l->transposed,
                                                   .residual = residual,
                                                   .n = l->n,
                                                   .k = l->k,
                                                   .ld_x = l->k,
                                                   .ld_w = l->transposed ? l->k : l->n,
                                                   .ld_residual = l->n,
                                                   .ld_y = l->n};
    return enso__cublaslt_choose(b->device->cublaslt, &product, &l->library, err);
}

/* A product of whole matrices by whoever computes it. */
static int multiply(const struct enso__cuda_call *call, const struct enso_cuda_product *p,
                    struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso__cublaslt_operands o = {.x = p->a,
                                              .w = p->b,
                                              .bias = p->bias,
                                              .residual = p->residual,
                                              .y = p->y,
                                              .m = p->m,
                                              .alpha = p->alpha,
                                              .beta = p->beta};

    if (!enso__cublaslt_takes(l->library, &o))
        return enso__cuda_launched(call, enso_cuda_product(p, call->stream), err);
    struct enso_error why = {0};
    int st = enso__cublaslt_run(call->cublaslt, l->library, &o, call->stream, &why);
    return st == ENSO_OK ? ENSO_OK
                         : enso__cuda_error(call, err, (enum enso_status)st, "%s", why.message);
}

/* One product of whole matrices without anything added. */
static struct enso_cuda_product plain_product(const struct enso__cuda_call *call, size_t m,
                                              size_t k, size_t n)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *w = enso__cuda_in(call, 1);

    return (struct enso_cuda_product){.a = enso__cuda_in(call, 0)->data,
                                      .b = l->weights != NULL ? l->weights : w->data,
                                      .y = enso__cuda_out(call, 0)->data,
                                      .m = m,
                                      .k = k,
                                      .n = n,
                                      .n_matrices = 1,
                                      .a_row = l->a_transposed ? 1 : k,
                                      .a_column = l->a_transposed ? m : 1,
                                      .b_row = l->transposed ? 1 : n,
                                      .b_column = l->transposed ? k : 1,
                                      .alpha = 1,
                                      .beta = 1,
                                      .activation = l->activation};
}

static int linear_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *bias = enso__cuda_in(call, 2);
    const struct enso_tensor *residual = enso__cuda_in(call, 3), *y = enso__cuda_out(call, 0);
    size_t k, n;

    if (!factor_sizes(l, enso__cuda_in(call, 1), &k, &n) || x->rank < 1 || y->rank < 1 ||
        (size_t)x->dims[x->rank - 1] != k || (size_t)y->dims[y->rank - 1] != n)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "%s does not fit its weights",
                                enso__dims_text(x).s);
    size_t m = (size_t)enso_tensor_count(y) / n; /* the output is not empty */

    if ((size_t)enso_tensor_count(x) != m * k ||
        (residual != NULL && enso_tensor_count(residual) != enso_tensor_count(y)) ||
        (bias != NULL && (size_t)enso_tensor_count(bias) != n))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "its operands differ in shape");
    struct enso_cuda_product p = plain_product(call, m, k, n);

    p.bias = l->bias != NULL ? l->bias : bias != NULL ? bias->data : NULL;
    if (residual != NULL) {
        p.residual = residual->data;
        p.residual_row = n;
        p.residual_column = 1;
    }
    return multiply(call, &p, err);
}

int enso__cuda_bind_linear(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (i != 1 && enso__bind_dtype(b, i) != ENSO_DTYPE_F32)
            return enso__unsupported(b, err, "input of type %s",
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    struct linear *l = enso__cuda_bound_new(b, sizeof(*l), linear_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->transposed = enso_node_int(b->node, "transposed", 1) != 0;
    l->activation = enso__activation_args(b->node);
    int st = bind_factor(b, l, err);
    if (st == ENSO_OK)
        st = bind_bias(b, l, err);
    if (st == ENSO_OK)
        st =
            bind_library(b, l, enso__bind_input(b, 2) != NULL, enso__bind_input(b, 3) != NULL, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}

/* Gemm: y = alpha · A' · B' + beta · C with C broadcast. */
static int gemm_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *a = enso__cuda_in(call, 0), *c = enso__cuda_in(call, 2);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    size_t k, n, strides[2] = {0, 0};

    if (!factor_sizes(l, enso__cuda_in(call, 1), &k, &n) || a->rank != 2 || y->rank != 2 ||
        (size_t)a->dims[l->a_transposed ? 0 : 1] != k || (size_t)y->dims[1] != n ||
        a->dims[l->a_transposed ? 1 : 0] != y->dims[0])
        return enso__cuda_error(call, err, ENSO_INVALID, "A of %s does not fit B",
                                enso__dims_text(a).s);
    if (c != NULL && l->bias == NULL && !enso__broadcast_strides(c, 2, y->dims, strides))
        return enso__cuda_error(call, err, ENSO_INVALID, "C of %s does not broadcast to %s",
                                enso__dims_text(c).s, enso__dims_text(y).s);
    struct enso_cuda_product p = plain_product(call, (size_t)y->dims[0], k, n);

    p.alpha = l->alpha;
    p.beta = l->beta;
    p.bias = l->bias;
    if (c != NULL && l->bias == NULL) {
        p.residual = c->data;
        p.residual_row = strides[0];
        p.residual_column = strides[1];
    }
    return multiply(call, &p, err);
}

int enso__cuda_bind_gemm(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    const struct enso_value *c = enso__bind_input(b, 2);

    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 || enso__bind_dtype(b, 2) != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "inputs of type %s",
                                 enso_dtype_name(enso__bind_dtype(b, 0)));
    struct linear *l = enso__cuda_bound_new(b, sizeof(*l), gemm_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->a_transposed = enso_node_int(b->node, "transA", 0) != 0;
    l->transposed = enso_node_int(b->node, "transB", 0) != 0;
    l->alpha = enso_node_float(b->node, "alpha", 1);
    l->beta = enso_node_float(b->node, "beta", 1);
    int st = bind_factor(b, l, err);
    if (st == ENSO_OK && c != NULL && c->constant != NULL && l->weights != NULL && l->beta == 1 &&
        c->constant->rank == 1 && (size_t)c->constant->dims[0] == l->n)
        st = bind_bias(b, l, err);
    if (st == ENSO_OK && (c == NULL || l->bias != NULL))
        st = bind_library(b, l, l->bias != NULL, false, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}

static int matmul_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *a = enso__cuda_in(call, 0), *b = enso__cuda_in(call, 1);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    struct enso__matmul s;

    if (!enso__matmul_shapes(a, b, &s) || (size_t)enso_tensor_count(y) != s.n_matrices * s.m * s.n)
        return enso__cuda_error(call, err, ENSO_INVALID, "%s times %s does not give %s",
                                enso__dims_text(a).s, enso__dims_text(b).s, enso__dims_text(y).s);
    struct enso_cuda_product p = plain_product(call, s.m, s.k, s.n);

    if (l->weights != NULL) { /* one matrix B for all of a stack of As: one tall product */
        p.m *= s.n_matrices;
    } else {
        p.n_matrices = s.n_matrices;
        p.rank = (uint32_t)s.rank;
        for (size_t d = 0; d < s.rank; d++) {
            p.dims[d] = (uint32_t)s.dims[d];
            p.a_strides[d] = s.a_strides[d] * s.m * s.k;
            p.b_strides[d] = s.b_strides[d] * s.k * s.n;
        }
    }
    if (l->dtype == ENSO_DTYPE_F32)
        return multiply(call, &p, err);
    return enso__cuda_launched(
        call, enso_cuda_product_plain(l->dtype, &p, a->data, b->data, y->data, call->stream), err);
}

int enso__cuda_bind_matmul(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (enso__bind_dtype(b, 1) != dtype ||
        (dtype != ENSO_DTYPE_F32 && dtype != ENSO_DTYPE_F64 && dtype != ENSO_DTYPE_I32 &&
         dtype != ENSO_DTYPE_U32 && dtype != ENSO_DTYPE_I64 && dtype != ENSO_DTYPE_U64))
        return enso__unsupported(b, err, "inputs of types %s and %s", enso_dtype_name(dtype),
                                 enso_dtype_name(enso__bind_dtype(b, 1)));
    struct linear *l = enso__cuda_bound_new(b, sizeof(*l), matmul_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->dtype = dtype;
    int st = dtype == ENSO_DTYPE_F32 ? bind_factor(b, l, err) : ENSO_OK;
    if (st == ENSO_OK)
        st = bind_library(b, l, false, false, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}
