/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products as operators: LINEAR (engine/ops/ops.h), MatMul and Gemm (ONNX, opset 13). A
 * constant second factor is packed into panels once at bind; any other is packed at each run into
 * the workspace. F32 goes through the packed kernels; MatMul of other types is a plain loop.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

#include "base/memory.h"
#include "kernels/nodes/matmul.h"

/* A second factor, packed if it is constant. */
struct linear {
    struct enso_bound bound;
    float *panels;     /* NULL: packed at run */
    size_t k, n;       /* of the panels */
    bool transposed;   /* B is given as [n, k] */
    float *bias;       /* padded; NULL: none or given at run */
    bool a_transposed; /* Gemm */
    bool last;         /* LINEAR with starts: rows are last tokens, not first ones */
    float alpha, beta; /* Gemm */
    struct enso_activation_args activation;
    enum enso_dtype dtype; /* MatMul */
};

static void linear_release(struct enso_bound *bound)
{
    struct linear *l = (struct linear *)bound;

    enso_free(l->panels);
    enso_free(l->bias);
}

/* Pack input 1 if it is a constant matrix. */
static int bind_factor(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    const struct enso_value *w = enso__bind_input(b, 1);

    if (w == NULL || w->dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "needs a second factor of type FP32");
    if (w->constant == NULL || w->constant->rank != 2)
        return ENSO_OK;
    size_t bytes = 0;
    l->n = (size_t)w->constant->dims[l->transposed ? 0 : 1];
    l->k = (size_t)w->constant->dims[l->transposed ? 1 : 0];
    int st = enso__pack_constant(l->bound.kernels, w->constant, l->transposed, l->k, l->n,
                                 &l->panels, &bytes, err);
    if (st == ENSO_OK) {
        l->bound.packed |= 1u << 1;
        l->bound.bytes += bytes;
    }
    return st;
}

/* Take constant input 2 as the bias of n columns, padded to whole panels. */
static int bind_bias(const struct enso__bind *b, struct linear *l, struct enso_error *err)
{
    size_t n;
    int st = enso__constant_floats(b, 2, ENSO_PANEL, &l->bias, &n, err);

    if (st != ENSO_OK || l->bias == NULL)
        return st;
    if (l->panels != NULL && n != l->n)
        return enso__unsupported(b, err, "the bias has %zu entries for %zu columns", n, l->n);
    l->bound.packed |= 1u << 2;
    l->bound.bytes += enso_panels(n) * ENSO_PANEL * sizeof(float);
    return ENSO_OK;
}

/* Sizes of a product at run: B [k, n], from the panels or the tensor. */
static bool factor_sizes(const struct linear *l, const struct enso_tensor *w, size_t *k, size_t *n)
{
    if (l->panels != NULL) {
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

/* Workspace of LINEAR and Gemm: panels, padded bias, A transposed or gathered, each when needed. */
struct linear_space {
    size_t panels, bias, a, total;
};

static struct linear_space linear_layout(const struct linear *l, size_t k, size_t n, size_t m,
                                         bool gathers)
{
    struct linear_space s = {0};
    size_t panel_bytes = l->panels != NULL ? 0 : enso__align(enso__panel_bytes(k, n));

    s.panels = 0;
    s.bias = panel_bytes;
    s.a = s.bias + (l->bias != NULL ? 0 : enso__align(enso_panels(n) * ENSO_PANEL * sizeof(float)));
    s.total = s.a + (l->a_transposed || gathers ? enso__align(m * k * sizeof(float)) : 0);
    return s;
}

static size_t linear_workspace(const struct enso_bound *bound, const struct enso_step *step,
                               const struct enso_tensor *tensors)
{
    const struct linear *l = (const struct linear *)bound;
    const struct enso_tensor *y = &tensors[step->outputs[0]];
    size_t k, n;

    if (!factor_sizes(l, &tensors[step->inputs[1]], &k, &n) || n == 0)
        return 0;
    return linear_layout(l, k, n, (size_t)enso_tensor_count(y) / n,
                         step->n_inputs > 4 && step->inputs[4] >= 0)
        .total;
}

/* The panels of a run: packed before or packed now. */
static const float *panels_now(const struct enso__call *call, size_t k, size_t n)
{
    const struct linear *l = (const struct linear *)call->bound;

    if (l->panels != NULL)
        return l->panels;
    float *panels = (float *)call->workspace;

    enso__pack_run(call, enso__in(call, 1)->data, l->transposed, k, n, panels);
    return panels;
}

static const float *bias_now(const struct enso__call *call, const struct enso_tensor *bias,
                             size_t n, const struct linear_space *space)
{
    const struct linear *l = (const struct linear *)call->bound;

    if (l->bias != NULL || bias == NULL)
        return l->bias;
    float *padded = (float *)(call->workspace + space->bias);

    memcpy(padded, bias->data, n * sizeof(float));
    memset(padded + n, 0, (enso_panels(n) * ENSO_PANEL - n) * sizeof(float));
    return padded;
}

/* With starts: a token of each sequence to `rows`, zeros for a sequence without. */
static int gather(const struct enso__call *call, const struct enso_tensor *starts, size_t m,
                  float *rows, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0);
    const int32_t *at = starts->data;
    size_t longest;

    if (x->rank != 2 || (size_t)enso_tensor_count(starts) != m + 1)
        return enso__run_error(call, err, ENSO_INTERNAL, "rows of %s by starts of %s",
                               enso__dims_text(x).s, enso__dims_text(starts).s);
    int st = enso__check_starts(call, starts, x->dims[0], &longest, err);
    if (st != ENSO_OK)
        return st;
    size_t k = (size_t)x->dims[1];

    for (size_t i = 0; i < m; i++) {
        size_t token = (size_t)(l->last ? at[i + 1] - 1 : at[i]);

        if (at[i] == at[i + 1])
            memset(rows + i * k, 0, k * sizeof(float));
        else
            memcpy(rows + i * k, (const float *)x->data + token * k, k * sizeof(float));
    }
    return ENSO_OK;
}

static int linear_run(const struct enso__call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *bias = enso__in(call, 2);
    const struct enso_tensor *residual = enso__in(call, 3), *starts = enso__in(call, 4);
    const struct enso_tensor *y = enso__out(call, 0);
    size_t k, n;

    if (!factor_sizes(l, enso__in(call, 1), &k, &n) || x->rank < 1 || y->rank < 1 ||
        (size_t)x->dims[x->rank - 1] != k || (size_t)y->dims[y->rank - 1] != n)
        return enso__run_error(call, err, ENSO_INTERNAL, "%s does not fit its weights",
                               enso__dims_text(x).s);
    size_t m = (size_t)enso_tensor_count(y) / n;

    if ((starts == NULL && (size_t)enso_tensor_count(x) != m * k) ||
        (residual != NULL && enso_tensor_count(residual) != enso_tensor_count(y)) ||
        (bias != NULL && (size_t)enso_tensor_count(bias) != n))
        return enso__run_error(call, err, ENSO_INTERNAL, "its operands differ in shape");
    struct linear_space space = linear_layout(l, k, n, 0, false);
    const float *a = x->data;

    if (starts != NULL) {
        float *rows = (float *)(call->workspace + space.a);
        int st = gather(call, starts, m, rows, err);

        if (st != ENSO_OK)
            return st;
        a = rows;
    }
    enso__product_run(call, &(struct enso__product){
                                .a = a,
                                .lda = k,
                                .panels = panels_now(call, k, n),
                                .c = y->data,
                                .ldc = n,
                                .m = m,
                                .k = k,
                                .n = n,
                                .epilogue = {.bias = bias_now(call, bias, n, &space),
                                             .residual = residual != NULL ? residual->data : NULL,
                                             .ld_residual = n,
                                             .activation = l->activation}});
    return ENSO_OK;
}

int enso__bind_linear(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "input of type %s",
                                 enso_dtype_name(enso__bind_dtype(b, 0)));
    if (enso__bind_output(b, 0)->dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "output of type %s",
                                 enso_dtype_name(enso__bind_output(b, 0)->dtype));
    struct linear *l = enso__bound_new(b, sizeof(*l), linear_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->bound.workspace = linear_workspace;
    l->transposed = enso_node_int(b->node, "transposed", 1) != 0;
    l->activation = enso__activation_args(b->node);
    l->last = strcmp(enso_node_string(b->node, "rows", "cls"), "last") == 0;
    int st = bind_factor(b, l, err);
    if (st == ENSO_OK)
        st = bind_bias(b, l, err);
    if (st != ENSO_OK) {
        enso__bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}

/* Gemm: y = alpha · A' · B' + beta · C. C goes in as bias or residual where it can, else it is
 * added afterwards. */
static const float *transposed_a(const struct enso__call *call, const struct enso_tensor *a,
                                 const struct linear_space *space)
{
    size_t k = (size_t)a->dims[0], m = (size_t)a->dims[1];
    float *t = (float *)(call->workspace + space->a);
    const float *x = a->data;

    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < m; j++)
            t[j * k + i] = x[i * m + j];
    return t;
}

/* y = alpha · y + beta · c with c broadcast; c NULL: none. */
static int gemm_add(const struct enso__call *call, const struct enso_tensor *c,
                    const struct enso_tensor *y, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    size_t strides[2] = {0, 0}, n = (size_t)y->dims[1];
    float *out = y->data;

    if (c != NULL && !enso__broadcast_strides(c, 2, y->dims, strides))
        return enso__run_error(call, err, ENSO_INVALID, "C of %s does not broadcast to %s",
                               enso__dims_text(c).s, enso__dims_text(y).s);
    for (size_t i = 0; i < (size_t)y->dims[0]; i++)
        for (size_t j = 0; j < n; j++) {
            float v = l->alpha * out[i * n + j];

            if (c != NULL)
                v += l->beta * ((const float *)c->data)[i * strides[0] + j * strides[1]];
            out[i * n + j] = v;
        }
    return ENSO_OK;
}

static int gemm_run(const struct enso__call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *a = enso__in(call, 0), *c = enso__in(call, 2);
    const struct enso_tensor *y = enso__out(call, 0);
    size_t k, n;

    if (!factor_sizes(l, enso__in(call, 1), &k, &n) || a->rank != 2 || y->rank != 2 ||
        (size_t)a->dims[l->a_transposed ? 0 : 1] != k || (size_t)y->dims[1] != n ||
        a->dims[l->a_transposed ? 1 : 0] != y->dims[0])
        return enso__run_error(call, err, ENSO_INVALID, "A of %s does not fit B",
                               enso__dims_text(a).s);
    size_t m = (size_t)y->dims[0];
    struct linear_space space = linear_layout(l, k, n, m, false);
    bool plain = l->alpha == 1 && (c == NULL || l->beta == 1);
    bool bias = plain && c != NULL && l->bias == NULL && (size_t)enso_tensor_count(c) == n &&
                (c->rank == 1 || (c->rank == 2 && c->dims[0] == 1));
    bool residual = plain && c != NULL && c->rank == 2 && !bias && l->bias == NULL &&
                    (size_t)enso_tensor_count(c) == m * n;

    enso__product_run(call, &(struct enso__product){
                                .a = l->a_transposed ? transposed_a(call, a, &space) : a->data,
                                .lda = k,
                                .panels = panels_now(call, k, n),
                                .c = y->data,
                                .ldc = n,
                                .m = m,
                                .k = k,
                                .n = n,
                                .epilogue = {.bias = bias_now(call, bias ? c : NULL, n, &space),
                                             .residual = residual ? c->data : NULL,
                                             .ld_residual = n}});
    if (l->bias != NULL || bias || residual || (plain && c == NULL))
        return ENSO_OK;
    return gemm_add(call, c, y, err);
}

int enso__bind_gemm(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    const struct enso_value *c = enso__bind_input(b, 2);

    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 || enso__bind_dtype(b, 2) != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "inputs of type %s",
                                 enso_dtype_name(enso__bind_dtype(b, 0)));
    struct linear *l = enso__bound_new(b, sizeof(*l), gemm_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->bound.workspace = linear_workspace;
    l->a_transposed = enso_node_int(b->node, "transA", 0) != 0;
    l->transposed = enso_node_int(b->node, "transB", 0) != 0;
    l->alpha = enso_node_float(b->node, "alpha", 1);
    l->beta = enso_node_float(b->node, "beta", 1);
    int st = bind_factor(b, l, err);
    if (st == ENSO_OK && c != NULL && c->constant != NULL && l->panels != NULL && l->alpha == 1 &&
        l->beta == 1 && c->constant->rank == 1 && (size_t)c->constant->dims[0] == l->n)
        st = bind_bias(b, l, err);
    if (st != ENSO_OK) {
        enso__bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}

/* MatMul (kernels/nodes/matmul.h). */
static void matrix_at(const struct enso__matmul *s, size_t i, size_t *ret_a, size_t *ret_b)
{
    *ret_a = *ret_b = 0;
    for (size_t d = s->rank; d-- > 0;) {
        size_t at = i % (size_t)s->dims[d];

        i /= (size_t)s->dims[d];
        *ret_a += at * s->a_strides[d];
        *ret_b += at * s->b_strides[d];
    }
}

#define PLAIN_MATMUL(name, type, wide)                                                             \
    static void matmul_##name(const void *av, const void *bv, void *yv, size_t m, size_t k,        \
                              size_t n)                                                            \
    {                                                                                              \
        const type *a = av, *b = bv;                                                               \
        type *y = yv;                                                                              \
        for (size_t i = 0; i < m; i++)                                                             \
            for (size_t j = 0; j < n; j++) {                                                       \
                wide sum = 0;                                                                      \
                for (size_t l = 0; l < k; l++)                                                     \
                    sum += (wide)a[i * k + l] * (wide)b[l * n + j];                                \
                y[i * n + j] = (type)sum;                                                          \
            }                                                                                      \
    }
PLAIN_MATMUL(F64, double, double)
PLAIN_MATMUL(I32, int32_t, uint64_t)
PLAIN_MATMUL(U32, uint32_t, uint64_t)
PLAIN_MATMUL(I64, int64_t, uint64_t)
PLAIN_MATMUL(U64, uint64_t, uint64_t)

struct matmul_work {
    const struct enso__call *call;
    const struct enso__matmul *shape;
    const unsigned char *a, *b;
    unsigned char *y;
    size_t element, panel_bytes;
};

/* Whole matrices, each thread packing into its own piece of the workspace. */
static void matmul_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct matmul_work *w = arg;
    const struct linear *l = (const struct linear *)w->call->bound;
    const struct enso__matmul *s = w->shape;

    for (size_t i = first; i < last; i++) {
        size_t at_a, at_b;

        matrix_at(s, i, &at_a, &at_b);
        const unsigned char *a = w->a + at_a * s->m * s->k * w->element;
        const unsigned char *b = w->b + at_b * s->k * s->n * w->element;
        unsigned char *y = w->y + i * s->m * s->n * w->element;

        switch (l->dtype) {
        case ENSO_DTYPE_F64:
            matmul_F64(a, b, y, s->m, s->k, s->n);
            continue;
        case ENSO_DTYPE_I32:
            matmul_I32(a, b, y, s->m, s->k, s->n);
            continue;
        case ENSO_DTYPE_U32:
            matmul_U32(a, b, y, s->m, s->k, s->n);
            continue;
        case ENSO_DTYPE_I64:
            matmul_I64(a, b, y, s->m, s->k, s->n);
            continue;
        case ENSO_DTYPE_U64:
            matmul_U64(a, b, y, s->m, s->k, s->n);
            continue;
        default:
            break;
        }
        float *panels = (float *)(w->call->workspace + thread * w->panel_bytes);

        l->bound.kernels->pack((const float *)b, s->n, s->k, s->n, panels);
        enso__product_single(l->bound.kernels, &(struct enso__product){.a = (const float *)a,
                                                                       .lda = s->k,
                                                                       .panels = panels,
                                                                       .c = (float *)y,
                                                                       .ldc = s->n,
                                                                       .m = s->m,
                                                                       .k = s->k,
                                                                       .n = s->n});
    }
}

static size_t matmul_workspace(const struct enso_bound *bound, const struct enso_step *step,
                               const struct enso_tensor *tensors)
{
    const struct linear *l = (const struct linear *)bound;
    struct enso__matmul s;

    if (l->panels != NULL || l->dtype != ENSO_DTYPE_F32 ||
        !enso__matmul_shapes(&tensors[step->inputs[0]], &tensors[step->inputs[1]], &s))
        return 0;
    return (s.n_matrices > 1 ? bound->n_threads : 1) * enso__align(enso__panel_bytes(s.k, s.n));
}

static int matmul_run(const struct enso__call *call, struct enso_error *err)
{
    const struct linear *l = (const struct linear *)call->bound;
    const struct enso_tensor *a = enso__in(call, 0), *b = enso__in(call, 1);
    const struct enso_tensor *y = enso__out(call, 0);
    struct enso__matmul s;

    if (!enso__matmul_shapes(a, b, &s) || (size_t)enso_tensor_count(y) != s.n_matrices * s.m * s.n)
        return enso__run_error(call, err, ENSO_INVALID, "%s times %s does not give %s",
                               enso__dims_text(a).s, enso__dims_text(b).s, enso__dims_text(y).s);
    /* one matrix B for all of a stack of As: one tall product */
    if (l->dtype == ENSO_DTYPE_F32 && (l->panels != NULL || s.n_matrices == 1)) {
        enso__product_run(call, &(struct enso__product){.a = a->data,
                                                        .lda = s.k,
                                                        .panels = panels_now(call, s.k, s.n),
                                                        .c = y->data,
                                                        .ldc = s.n,
                                                        .m = s.n_matrices * s.m,
                                                        .k = s.k,
                                                        .n = s.n});
        return ENSO_OK;
    }
    struct matmul_work w = {.call = call,
                            .shape = &s,
                            .a = a->data,
                            .b = b->data,
                            .y = y->data,
                            .element = enso_dtype_row_bytes(a->dtype, 1),
                            .panel_bytes = enso__align(enso__panel_bytes(s.k, s.n))};

    enso__parallel(call, s.n_matrices, s.m * s.n * s.k, matmul_piece, &w);
    return ENSO_OK;
}

int enso__bind_matmul(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);

    if (enso__bind_dtype(b, 1) != dtype ||
        (dtype != ENSO_DTYPE_F32 && dtype != ENSO_DTYPE_F64 && dtype != ENSO_DTYPE_I32 &&
         dtype != ENSO_DTYPE_U32 && dtype != ENSO_DTYPE_I64 && dtype != ENSO_DTYPE_U64))
        return enso__unsupported(b, err, "inputs of types %s and %s", enso_dtype_name(dtype),
                                 enso_dtype_name(enso__bind_dtype(b, 1)));
    struct linear *l = enso__bound_new(b, sizeof(*l), matmul_run, err);
    if (l == NULL)
        return ENSO_NO_MEMORY;
    l->bound.release = linear_release;
    l->bound.workspace = matmul_workspace;
    l->dtype = dtype;
    int st = dtype == ENSO_DTYPE_F32 ? bind_factor(b, l, err) : ENSO_OK;
    if (st != ENSO_OK) {
        enso__bound_free(&l->bound);
        return st;
    }
    *ret = &l->bound;
    return ENSO_OK;
}
