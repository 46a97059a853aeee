/* SPDX-License-Identifier: Apache-2.0
 *
 * LINEAR, Gemm and MatMul: host side of product.cu and gemm.cu. In F32 a constant matrix of weights
 * goes to device memory once at bind, in the layout it has: the plain kernel reads factors through
 * strides, so neither a transposed one nor one that comes at run time is copied. In a half type
 * constant weights are rounded and packed as gemm.cu reads them, and cards from 8.0 on multiply
 * them on tensor cores, as they do stacks of activations (gemm_stack.cu); the plain kernel takes
 * older cards and what else comes at run time.
 * A constant bias is F32 in any case. MatMul also of F64 and of integers.
 *
 * Products with constant weights go to cuBLASLt where it has an algorithm (cublaslt.h), but for
 * those with an activation that it lacks or computes less exactly. It reads the same weights, but
 * wants a bias in the type of the result.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <string.h>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch_gemm.h"
#include "kernels/cuda/launch_network.h"
#include "kernels/cuda/packed.h"
#include "kernels/nodes/matmul.h"

struct linear {
    struct enso_bound bound;
    enum enso_dtype dtype;     /* of the activations */
    enum enso_dtype out_dtype; /* LINEAR: dtype or F32 */
    void *weights;             /* device memory; NULL: from the tensor */
    size_t k, n;               /* of the weights */
    size_t stride;             /* of packed weights [n][stride]; 0: not packed */
    bool transposed;           /* B is given as [n, k] */
    float *bias;               /* device memory; NULL: none or from the tensor */
    bool a_transposed;         /* Gemm */
    float alpha, beta;         /* Gemm */
    struct enso_activation_args activation;
    const struct enso__cublaslt_choice *library; /* NULL: our own kernels */
    /* LINEAR with starts: gemm.cuh picks the rows while it reads them; any other product reads them
     * from the workspace, where they were put before. */
    bool gathers, last, by_loader;
    void *library_bias; /* device memory, of out_dtype; NULL: none, or bias is of that type */
};

static void linear_release(struct enso_bound *bound)
{
    struct linear *l = (struct linear *)bound;

    enso__cuda_free(bound->device, l->weights);
    enso__cuda_free(bound->device, l->bias);
    enso__cuda_free(bound->device, l->library_bias);
}

/* Tensor cores multiply by these weights. */
static bool on_tensor_cores(const struct linear *l)
{
    return l->stride != 0 && !l->a_transposed && l->bound.device->architecture >= 80;
}

/* Constant weights of a half type to [n][stride]. */
static int pack_factor(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    struct enso__packed packed;
    float *data = NULL;
    size_t count;
    int st = enso__constant_floats(b, 1, 1, &data, &count, err);

    if (st == ENSO_OK)
        st = enso__cuda_pack(b, l->dtype, data, l->n, l->k, l->transposed ? l->k : 1,
                             l->transposed ? 1 : l->n, ENSO_GEMM_PAD, &packed, err);
    enso_free(data);
    if (st != ENSO_OK)
        return st;
    l->weights = packed.data;
    l->stride = packed.stride;
    l->bound.bytes += packed.bytes;
    return ENSO_OK;
}

/* Take input 1 if it is a constant matrix. Constant weights may have another float type than the
 * activations. */
static int bind_factor(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    const struct enso_value *w = enso__bind_input(b, 1);
    bool constant = w != NULL && w->constant != NULL && w->constant->rank == 2;
    size_t count = 0;
    int st;

    if (w == NULL || (w->dtype != l->dtype &&
                      !(constant && enso_dtype_is_half(l->dtype) && enso_dtype_is_float(w->dtype))))
        return enso__unsupported(b, err, "needs a second factor of type %s",
                                 enso_dtype_name(l->dtype));
    if (!constant)
        return ENSO_OK;
    l->n = (size_t)w->constant->dims[l->transposed ? 0 : 1];
    l->k = (size_t)w->constant->dims[l->transposed ? 1 : 0];
    if (enso_dtype_is_half(l->dtype)) {
        st = pack_factor(b, l, err);
    } else {
        float *weights = NULL;

        st = enso__cuda_constant(b, 1, 1, &weights, &count, err);
        l->weights = weights;
        l->bound.bytes += count * sizeof(float);
    }
    if (st == ENSO_OK)
        l->bound.packed |= 1u << 1;
    return st;
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

/* The bias once more, rounded to a half type; one that does not hold it makes no library product.
 */
static int bind_library_bias(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    struct enso__packed packed;
    float *data = NULL;
    size_t count;
    int st = enso__constant_floats(b, 2, 1, &data, &count, err);

    if (st != ENSO_OK)
        return st;
    st = enso__cuda_pack(b, l->out_dtype, data, 1, l->n, l->n, 1, 1, &packed, NULL);
    enso_free(data);
    if (st == ENSO_UNSUPPORTED) {
        l->library = NULL;
        return ENSO_OK;
    }
    if (st != ENSO_OK)
        return enso_error_set(err, (enum enso_status)st, "%s: no room for a bias", l->bound.node);
    l->library_bias = packed.data;
    l->bound.bytes += packed.bytes;
    return ENSO_OK;
}

/* Rows of x that an item of a batch has; 0 where there are no items, or too many rows to count. */
static size_t rows_per_item(const struct enso__bind *b)
{
    const struct enso_shape *s = &enso__bind_input(b, 0)->shape;
    bool items = false;
    size_t rows = 1;

    for (size_t d = 0; d + 1 < s->rank; d++) {
        if ((s->dims[d].extent != ENSO_EXTENT_FIXED && s->dims[d].extent != ENSO_EXTENT_ITEMS) ||
            !enso_size_mul(rows, (size_t)s->dims[d].factor, &rows))
            return 0;
        items = items || s->dims[d].extent == ENSO_EXTENT_ITEMS;
    }
    return items ? rows : 0;
}

/* Let cuBLASLt have products by weights that are known, if it has an algorithm for them. */
static int bind_library(const struct enso__bind *b, struct linear *l, bool residual,
                        struct enso_error *err)
{
    enum enso_activation kind = l->activation.kind;
    unsigned epilogue = (l->bias != NULL ? ENSO__CUBLASLT_BIAS : 0u) |
                        (kind == ENSO_ACTIVATION_RELU ? ENSO__CUBLASLT_RELU : 0u) |
                        (kind == ENSO_ACTIVATION_GELU_TANH ? ENSO__CUBLASLT_GELU_TANH : 0u);
    bool packed = l->stride != 0;

    if (l->weights == NULL || l->a_transposed ||
        (kind != ENSO_ACTIVATION_NONE && epilogue <= ENSO__CUBLASLT_BIAS) ||
        (residual && l->out_dtype != l->dtype)) /* it would have to be of Y's type */
        return ENSO_OK;
    const struct enso__cublaslt_product product = {.dtype = l->dtype,
                                                   .out_dtype = l->out_dtype,
                                                   .epilogue = epilogue,
                                                   .w_transposed = packed || l->transposed,
                                                   .residual = residual,
                                                   .invariant =
                                                       enso_graph_wants_batch_invariant(b->graph),
                                                   .n = l->n,
                                                   .k = l->k,
                                                   .ld_x = l->k,
                                                   .ld_w = packed          ? l->stride
                                                           : l->transposed ? l->k
                                                                           : l->n,
                                                   .ld_residual = l->n,
                                                   .ld_y = l->n,
                                                   .rows_per_item = rows_per_item(b)};
    int st = enso__cublaslt_choose(b->device->cublaslt, &product, &l->library, err);
    if (st == ENSO_OK && l->library != NULL && l->bias != NULL && enso_dtype_is_half(l->out_dtype))
        st = bind_library_bias(b, l, err);
    return st;
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

/* One product of whole matrices without anything added. */
static struct enso_cuda_product plain_product(const struct enso__cuda_call *call, size_t m,
                                              size_t k, size_t n)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *w = enso__cuda_in(call, 1);
    bool b_turned = l->transposed || l->stride != 0;

    return (struct enso_cuda_product){.dtype = l->dtype,
                                      .out_dtype = l->out_dtype,
                                      .a = enso__cuda_in(call, 0)->data,
                                      .b = l->weights != NULL ? l->weights : w->data,
                                      .y = enso__cuda_out(call, 0)->data,
                                      .m = m,
                                      .k = k,
                                      .n = n,
                                      .n_matrices = 1,
                                      .a_row = l->a_transposed ? 1 : k,
                                      .a_column = l->a_transposed ? m : 1,
                                      .b_row = b_turned ? 1 : n,
                                      .b_column = l->stride != 0  ? l->stride
                                                  : l->transposed ? k
                                                                  : 1,
                                      .alpha = 1,
                                      .beta = 1,
                                      .activation = l->activation};
}

/* Put the product on the stream by cuBLASLt; *ret_taken false: it does not compute this one. */
static int launch_library(const struct enso__cuda_call *call, const struct enso_cuda_product *p,
                          bool *ret_taken, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso__cublaslt_operands o = {.x = p->a,
                                              .w = p->b,
                                              .bias = l->library_bias != NULL ? l->library_bias
                                                                              : p->bias,
                                              .residual = p->residual,
                                              .y = p->y,
                                              .m = p->m,
                                              .alpha = p->alpha,
                                              .beta = p->beta};
    struct enso_error why = {0};

    *ret_taken = enso__cublaslt_takes(l->library, &o);
    if (!*ret_taken)
        return ENSO_OK;
    int st = enso__cublaslt_run(call->cublaslt, l->library, &o, call->stream, &why);
    if (st == ENSO_UNSUPPORTED) {
        *ret_taken = false;
        return ENSO_OK;
    }
    return st == ENSO_OK ? ENSO_OK
                         : enso__cuda_error(call, err, (enum enso_status)st, "%s", why.message);
}

/* Both factors come at run time, and tensor cores multiply them all the same. A turned one may lie
 * as enso_cuda_is_stack asks where it has a single row, but a batch's size must not choose. */
static bool is_stack(const struct linear *l, const struct enso_cuda_product *p)
{
    return l->weights == NULL && !l->a_transposed && !l->transposed &&
           l->bound.device->architecture >= 80 && enso_cuda_is_stack(p);
}

/* Launch one product where it is fastest. rows: which of A's, NULL: all in their order. */
static int launch(const struct enso__cuda_call *call, const struct enso_cuda_product *p,
                  const struct enso_cuda_gemm_tokens *rows, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    bool taken = false;
    int st = rows == NULL ? launch_library(call, p, &taken, err) : ENSO_OK;

    if (st != ENSO_OK || taken)
        return st;
    if (!on_tensor_cores(l))
        return enso__cuda_launched(call,
                                   is_stack(l, p) ? enso_cuda_gemm_stack(p, call->stream)
                                                  : enso_cuda_product(p, call->stream),
                                   err);
    const struct enso_cuda_gemm g = {.dtype = p->dtype,
                                     .out_dtype = p->out_dtype,
                                     .a = p->a,
                                     .weights = p->b,
                                     .bias = p->bias,
                                     .residual = p->residual,
                                     .y = p->y,
                                     .m = p->m,
                                     .k = p->k,
                                     .n = p->n,
                                     .ld_a = p->a_row,
                                     .residual_row = p->residual_row,
                                     .residual_column = p->residual_column,
                                     .alpha = p->alpha,
                                     .beta = p->beta,
                                     .activation = p->activation,
                                     .partial = (float *)(void *)call->workspace};

    return enso__cuda_launched(call,
                               rows != NULL ? enso_cuda_gemm_gather(&g, rows, call->stream)
                                            : enso_cuda_gemm(&g, call->stream),
                               err);
}

/* Bytes of sums of parts, which stand at the head of the workspace. */
static size_t parts_bytes(const struct linear *l, size_t m)
{
    size_t bytes = on_tensor_cores(l) ? enso_cuda_gemm_workspace(m, l->k, l->n) : 0;

    return (bytes + 255) & ~(size_t)255;
}

static size_t linear_workspace(const struct enso_bound *bound, const struct enso_step *step,
                               const struct enso_tensor *tensors)
{
    const struct linear *l = (const struct linear *)bound;

    if (l->n == 0)
        return 0;
    size_t m = (size_t)enso_tensor_count(&tensors[step->outputs[0]]) / l->n;
    size_t rows = l->gathers && !l->by_loader ? enso_dtype_row_bytes(l->dtype, m * l->k) : 0;

    return parts_bytes(l, m) + rows;
}

/* The tokens that a LINEAR with starts reads: for the loader, or put into the workspace, from where
 * *p reads them then. */
static int take_tokens(const struct enso__cuda_call *call, const struct enso_tensor *starts,
                       struct enso_cuda_product *p, struct enso_cuda_gemm_tokens *ret,
                       struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0);

    if (x->rank != 2 || starts->dtype != ENSO_DTYPE_I32 ||
        (size_t)enso_tensor_count(starts) != p->m + 1)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "rows of %s by starts of %s",
                                enso__dims_text(x).s, enso__dims_text(starts).s);
    *ret = (struct enso_cuda_gemm_tokens){.starts = starts->data,
                                          .n_tokens = (size_t)x->dims[0],
                                          .last = l->last,
                                          .fault = call->fault};
    if (l->by_loader)
        return ENSO_OK;
    const struct enso_cuda_sequence_pool pool = {.mode = l->last ? ENSO_CUDA_SEQUENCE_LAST
                                                                 : ENSO_CUDA_SEQUENCE_FIRST,
                                                 .dtype = l->dtype,
                                                 .y_dtype = l->dtype,
                                                 .x = x->data,
                                                 .starts = starts->data,
                                                 .y = call->workspace + parts_bytes(l, p->m),
                                                 .n_tokens = (size_t)x->dims[0],
                                                 .n_sequences = p->m,
                                                 .width = p->k,
                                                 .fault = call->fault};

    p->a = pool.y;
    return enso__cuda_launched(call, enso_cuda_sequence_pool(&pool, call->stream), err);
}

static int linear_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *bias = enso__cuda_in(call, 2);
    const struct enso_tensor *residual = enso__cuda_in(call, 3), *y = enso__cuda_out(call, 0);
    const struct enso_tensor *starts = enso__cuda_in(call, 4);
    struct enso_cuda_gemm_tokens tokens;
    size_t k, n;

    if (!factor_sizes(l, enso__cuda_in(call, 1), &k, &n) || x->rank < 1 || y->rank < 1 ||
        (size_t)x->dims[x->rank - 1] != k || (size_t)y->dims[y->rank - 1] != n)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "%s does not fit its weights",
                                enso__dims_text(x).s);
    size_t m = (size_t)enso_tensor_count(y) / n; /* the output is not empty */

    if ((starts == NULL && (size_t)enso_tensor_count(x) != m * k) ||
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
    if (starts != NULL) {
        int st = take_tokens(call, starts, &p, &tokens, err);

        if (st != ENSO_OK)
            return st;
    }
    return launch(call, &p, l->by_loader ? &tokens : NULL, err);
}

/* What LINEAR and Gemm ask of types: activations of one float type; parameters that come at run
 * time, of that type too. */
static int check_types(const struct enso__bind *b, enum enso_dtype dtype, struct enso_error *err)
{
    const struct enso_value *y = enso__bind_output(b, 0), *bias = enso__bind_input(b, 2);

    if (dtype != ENSO_DTYPE_F32 && !enso_dtype_is_half(dtype))
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    if (y->dtype != dtype && y->dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "output of type %s", enso_dtype_name(y->dtype));
    if (bias != NULL && bias->dtype != dtype &&
        (bias->constant == NULL || !enso_dtype_is_float(bias->dtype)))
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(bias->dtype));
    return ENSO_OK;
}

int enso__cuda_bind_linear(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    const struct enso_value *bias = enso__bind_input(b, 2), *residual = enso__bind_input(b, 3);
    int st = check_types(b, dtype, err);

    if (st != ENSO_OK)
        return st;
    if (residual != NULL && residual->dtype != dtype)
        return enso__unsupported(b, err, "residual of type %s", enso_dtype_name(residual->dtype));
    if (bias != NULL && bias->constant == NULL && dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "a bias of type %s must be constant",
                                 enso_dtype_name(bias->dtype));
    struct linear *l = enso__cuda_bound_new(b, sizeof(*l), linear_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->bound.workspace = linear_workspace;
    l->dtype = dtype;
    l->out_dtype = enso__bind_output(b, 0)->dtype;
    l->transposed = enso_node_int(b->node, "transposed", 1) != 0;
    l->activation = enso__activation_args(b->node);
    l->gathers = enso__bind_input(b, 4) != NULL;
    l->last = strcmp(enso_node_string(b->node, "rows", "cls"), "last") == 0;
    st = bind_factor(b, l, err);
    if (st == ENSO_OK)
        st = bind_bias(b, l, err);
    if (st == ENSO_OK && (bias == NULL || l->bias != NULL))
        st = bind_library(b, l, residual != NULL, err);
    if (st == ENSO_OK && l->gathers && l->weights == NULL)
        st = enso__unsupported(b, err, "starts, but no constant weights");
    l->by_loader = l->gathers && on_tensor_cores(l) && l->library == NULL && l->k % 8 == 0;
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
    return launch(call, &p, NULL, err);
}

int enso__cuda_bind_gemm(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    const struct enso_value *c = enso__bind_input(b, 2);

    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    int st = check_types(b, dtype, err);

    if (st != ENSO_OK)
        return st;
    struct linear *l = enso__cuda_bound_new(b, sizeof(*l), gemm_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->bound.workspace = linear_workspace;
    l->dtype = dtype;
    l->out_dtype = enso__bind_output(b, 0)->dtype;
    l->a_transposed = enso_node_int(b->node, "transA", 0) != 0;
    l->transposed = enso_node_int(b->node, "transB", 0) != 0;
    l->alpha = enso_node_float(b->node, "alpha", 1);
    l->beta = enso_node_float(b->node, "beta", 1);
    st = bind_factor(b, l, err);
    if (st == ENSO_OK && c != NULL && c->constant != NULL && l->weights != NULL && l->beta == 1 &&
        c->constant->rank == 1 && (size_t)c->constant->dims[0] == l->n)
        st = bind_bias(b, l, err);
    if (st == ENSO_OK && c != NULL && l->bias == NULL && c->dtype != dtype)
        st = enso__unsupported(b, err, "C of type %s", enso_dtype_name(c->dtype));
    if (st == ENSO_OK && (c == NULL || l->bias != NULL))
        st = bind_library(b, l, false, err);
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
    if (l->dtype == ENSO_DTYPE_F32 || enso_dtype_is_half(l->dtype))
        return launch(call, &p, NULL, err);
    return enso__cuda_launched(
        call, enso_cuda_product_plain(l->dtype, &p, a->data, b->data, y->data, call->stream), err);
}

int enso__cuda_bind_matmul(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (enso__bind_dtype(b, 1) != dtype ||
        (!enso_dtype_is_float(dtype) && dtype != ENSO_DTYPE_I32 && dtype != ENSO_DTYPE_U32 &&
         dtype != ENSO_DTYPE_I64 && dtype != ENSO_DTYPE_U64))
        return enso__unsupported(b, err, "inputs of types %s and %s", enso_dtype_name(dtype),
                                 enso_dtype_name(enso__bind_dtype(b, 1)));
    struct linear *l = enso__cuda_bound_new(b, sizeof(*l), matmul_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->bound.workspace = linear_workspace;
    l->dtype = l->out_dtype = dtype;
    int st =
        dtype == ENSO_DTYPE_F32 || enso_dtype_is_half(dtype) ? bind_factor(b, l, err) : ENSO_OK;
    if (st == ENSO_OK)
        st = bind_library(b, l, false, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}
