/* SPDX-License-Identifier: Apache-2.0
 *
 * Products and convolutions in half types, which only a GPU computes: against references in double
 * over the same rounded inputs, and bit by bit against themselves where a row must not depend on
 * what it is batched with.
 *
 * Tolerances. Products of halves are exact in F32; a sum of K of them in any order is off by at
 * most K · 2^-24 of the sum of magnitudes S (bias and residual included), here K + 4 for what
 * follows. The activations' slopes are at most 1.13 and their own error a few units in the last
 * place. A result is rounded once: 2^-8 of itself in BF16, 2^-11 in FP16 (and 2^-25 among subnormal
 * numbers), nothing in F32.
 */
#include "ensod_build.h"

#include "tests/kernels/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define F16 ENSO_DTYPE_F16
#define BF16 ENSO_DTYPE_BF16

static const enum enso_dtype types[] = {BF16, F16};

/* A T4 computes no BF16. */
static bool passed_over(enum enso_dtype dtype)
{
    return !rig_computes(ENSO_OP_LINEAR, dtype);
}

/* ---- numbers ---- */

/* Random numbers that are of the type. */
struct numbers {
    size_t n;
    float *floats;
    uint16_t *halves;
};

static struct numbers numbers_new(enum enso_dtype dtype, size_t n, unsigned seed)
{
    struct numbers x = {n, rig_random_new(n, seed), malloc((n + 1) * sizeof(uint16_t))};

    ck_assert_ptr_nonnull(x.halves);
    rig_narrow(dtype, x.floats, x.halves, n);
    rig_widen(dtype, x.halves, x.floats, n);
    return x;
}

static void numbers_free(struct numbers *x)
{
    free(x->floats);
    free(x->halves);
}

/* A result of k products whose exact value before the activation is v and whose terms' magnitudes
 * add up to `scale`. */
static void check_one(const char *what, enum enso_dtype out, enum enso_activation kind, size_t at,
                      float got, double v, double scale, size_t k)
{
    double want = reference_activation(kind, v), off = fabs((double)got - want);
    double room = 1.13 * (double)(k + 4) * 0x1p-24 * scale + 1e-6 * (1 + fabs(v));

    if (out == BF16)
        room += 0x1p-8 * (fabs(want) + room);
    if (out == F16)
        room += 0x1p-11 * (fabs(want) + room) + 0x1p-25;
    if (!(off <= room)) /* Check writes a line for every assertion that holds */
        ck_abort_msg("%s in %s: element %zu is %.9g, should be %.9g within %g", what,
                     enso_dtype_name(out), at, (double)got, want, room);
}

/* ---- LINEAR ---- */

struct linear {
    size_t m, k, n;
    enum enso_dtype dtype, out, stored; /* stored: the constant weights' own type */
    enum enso_activation activation;
    bool bias, residual, transposed, runtime;
};

static void build_linear(struct rig *r, const struct linear *z, const struct numbers *x,
                         const struct numbers *w, const float *bias, const struct numbers *residual)
{
    int64_t m = (int64_t)z->m, k = (int64_t)z->k, n = (int64_t)z->n;
    const int64_t *dims = z->transposed ? DIMS(n, k) : DIMS(k, n);

    rig_init(r, NULL, 1);
    rig_input(r, z->dtype, 2, DIMS(m, k), x->halves);
    if (z->runtime)
        rig_input(r, z->dtype, 2, dims, w->halves);
    else
        rig_constant(r, z->stored, 2, dims, z->stored == F32 ? (const void *)w->floats : w->halves);
    if (z->bias)
        rig_constant(r, F32, 1, DIMS(n), bias);
    else if (z->residual)
        rig_absent(r);
    if (z->residual)
        rig_input(r, z->dtype, 2, DIMS(m, n), residual->halves);
    rig_node(r, ENSO_OP_LINEAR, 1);
    enso_graph_set_int(r->graph, r->node, "transposed", z->transposed);
    enso_graph_set_int(r->graph, r->node, "dtype", z->out);
    reference_set_activation(r, z->activation);
}

static void one_linear(const struct linear *z)
{
    if (passed_over(z->dtype))
        return;
    struct numbers x = numbers_new(z->dtype, z->m * z->k, 1);
    struct numbers w = numbers_new(z->dtype, z->k * z->n, 2);
    struct numbers residual = numbers_new(z->dtype, z->m * z->n, 4);
    float *bias = rig_random_new(z->n, 3);
    struct rig r;

    build_linear(&r, z, &x, &w, bias, &residual);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dtype, z->out);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)(z->m * z->n));
    float *y = rig_result_new(&r);

    for (size_t i = 0; i < z->m; i++)
        for (size_t j = 0; j < z->n; j++) {
            double v = 0, scale = 0;

            for (size_t l = 0; l < z->k; l++) {
                double term = (double)x.floats[i * z->k + l] *
                              (double)w.floats[z->transposed ? j * z->k + l : l * z->n + j];

                v += term;
                scale += fabs(term);
            }
            v += z->bias ? (double)bias[j] : 0;
            v += z->residual ? (double)residual.floats[i * z->n + j] : 0;
            check_one("LINEAR", z->out, z->activation, i * z->n + j, y[i * z->n + j], v, scale + 2,
                      z->k);
        }
    rig_done(&r);
    numbers_free(&x);
    numbers_free(&w);
    numbers_free(&residual);
    free(bias);
    free(y);
}

START_TEST(test_linear_shapes)
{
    static const size_t ms[] = {1, 7, 33, 64, 65, 129};
    static const size_t ns[] = {1, 8, 31, 64, 127, 129};
    static const size_t ks[] = {1, 7, 8, 31, 33, 64, 65, 127, 136, 264};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(ms); i++)
        for (size_t j = 0; j < ENSO_ARRAY_SIZE(ns); j++)
            for (size_t l = 0; l < ENSO_ARRAY_SIZE(ks); l++) {
                unsigned mix = (unsigned)(i + 3 * j + 5 * l);

                if ((i + j + l / 2) % 2 != 0) /* each pair of sizes is met all the same */
                    continue;
                enum enso_dtype dtype = types[mix / 3 % 2];

                one_linear(&(struct linear){.m = ms[i],
                                            .k = ks[l],
                                            .n = ns[j],
                                            .dtype = dtype,
                                            .out = mix % 3 == 0 ? F32 : dtype,
                                            .stored = mix % 5 < 3 ? F32 : dtype,
                                            .activation = mix % 4 == 0   ? ENSO_ACTIVATION_GELU
                                                          : mix % 4 == 1 ? ENSO_ACTIVATION_RELU
                                                                         : ENSO_ACTIVATION_NONE,
                                            .bias = mix / 2 % 2,
                                            .residual = mix % 7 < 3,
                                            .transposed = mix % 11 < 6,
                                            .runtime = mix % 13 == 0});
            }
}
END_TEST

START_TEST(test_linear_no_rows_and_no_depth)
{
    for (size_t t = 0; t < 2; t++) {
        one_linear(&(struct linear){
            .m = 0, .k = 16, .n = 9, .dtype = types[t], .out = types[t], .stored = F32});
        one_linear(&(struct linear){.m = 5,
                                    .k = 0,
                                    .n = 9,
                                    .dtype = types[t],
                                    .out = types[t],
                                    .stored = F32,
                                    .bias = true,
                                    .residual = true});
    }
}
END_TEST

START_TEST(test_linear_activations)
{
    for (size_t t = 0; t < 4; t++)
        one_linear(&(struct linear){.m = 19,
                                    .k = 40,
                                    .n = 52,
                                    .dtype = types[t % 2],
                                    .out = t < 2 ? types[t] : F32,
                                    .stored = F32,
                                    .activation = (enum enso_activation)_i,
                                    .bias = true,
                                    .residual = true,
                                    .transposed = true});
}
END_TEST

/* More than 95 tiles of 128 x 128, of 64 x 64, and of 128 x 64 (gemm.cuh). */
START_TEST(test_linear_larger_tiles)
{
    one_linear(&(struct linear){.m = 4200,
                                .k = 72,
                                .n = 168,
                                .dtype = types[_i],
                                .out = types[_i],
                                .stored = F32,
                                .activation = ENSO_ACTIVATION_RELU,
                                .bias = true,
                                .residual = true});
    one_linear(&(struct linear){.m = 700,
                                .k = 72,
                                .n = 604,
                                .dtype = types[_i],
                                .out = F32,
                                .stored = F32,
                                .activation = ENSO_ACTIVATION_SILU,
                                .bias = true,
                                .residual = true});
    one_linear(&(struct linear){.m = 1600,
                                .k = 72,
                                .n = 1004,
                                .dtype = types[_i],
                                .out = types[_i],
                                .stored = F32,
                                .activation = ENSO_ACTIVATION_GELU,
                                .bias = true,
                                .residual = true,
                                .transposed = true});
}
END_TEST

/* The inner dimension in parts. */
START_TEST(test_linear_long_rows)
{
    for (size_t k = 4096; k <= 4104; k += 4)
        one_linear(&(struct linear){.m = 5,
                                    .k = k,
                                    .n = 18,
                                    .dtype = types[_i],
                                    .out = k == 4096 ? F32 : types[_i],
                                    .stored = F32,
                                    .activation = ENSO_ACTIVATION_TANH,
                                    .bias = true,
                                    .residual = k != 4100});
}
END_TEST

/* ---- bits ---- */

/* Rows of x [m, k] through LINEAR, n columns, F32 results (that hide no bit). */
static float *run_rows(const struct linear *z, const struct numbers *x, const struct numbers *w)
{
    struct rig r;

    build_linear(&r, z, x, w, NULL, NULL);
    rig_run(&r);
    float *y = rig_result_new(&r);
    rig_done(&r);
    return y;
}

static void check_rows_alone(size_t m, size_t k, size_t n, enum enso_dtype dtype)
{
    if (passed_over(dtype))
        return;
    struct linear z = {.m = m, .k = k, .n = n, .dtype = dtype, .out = F32, .stored = F32};
    struct numbers x = numbers_new(dtype, m * k, 21), w = numbers_new(dtype, k * n, 22);
    const size_t rows[] = {0, 1, m / 2, m - 2, m - 1};
    float *all = run_rows(&z, &x, &w);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct numbers one = {k, x.floats + rows[i] * k, x.halves + rows[i] * k};

        z.m = 1;
        float *y = run_rows(&z, &one, &w);
        ck_assert_msg(memcmp(y, all + rows[i] * n, n * sizeof(*y)) == 0,
                      "row %zu of %zu, k %zu, n %zu, %s: not the bits it has alone", rows[i], m, k,
                      n, enso_dtype_name(dtype));
        free(y);
    }
    free(all);
    numbers_free(&x);
    numbers_free(&w);
}

START_TEST(test_rows_have_their_bits_alone)
{
    check_rows_alone(37, 200, 70, types[_i]);
    check_rows_alone(129, 65, 9, types[_i]);
    check_rows_alone(70, 201, 33, types[_i]);
    check_rows_alone(6, 4104, 30, types[_i]);     /* in parts */
    check_rows_alone(1600, 104, 1000, types[_i]); /* large tiles against small ones */
    check_rows_alone(700, 104, 600, types[_i]);   /* medium tiles */
    check_rows_alone(12300, 24, 40, types[_i]);   /* tall tiles */
}
END_TEST

/* Infinities and NaN in the rows beside it. */
static void check_neighbours(size_t m, size_t k, size_t n, enum enso_dtype dtype)
{
    if (passed_over(dtype))
        return;
    struct linear z = {.m = m, .k = k, .n = n, .dtype = dtype, .out = F32, .stored = F32};
    struct numbers x = numbers_new(dtype, m * k, 23), w = numbers_new(dtype, k * n, 24);
    const size_t row = m / 2;
    float *before = run_rows(&z, &x, &w);

    for (size_t i = 0; i < m * k; i++)
        if (i / k != row)
            x.halves[i] = i % 3 == 0 ? 0x7fff : dtype == BF16 ? 0xff80 : 0xfc00;
    float *after = run_rows(&z, &x, &w);

    ck_assert_msg(memcmp(before + row * n, after + row * n, n * sizeof(*after)) == 0,
                  "m %zu, k %zu, n %zu, %s: a neighbour's NaN came over", m, k, n,
                  enso_dtype_name(dtype));
    ck_assert(isnan(after[(row - 1) * n]) != 0);
    free(before);
    free(after);
    numbers_free(&x);
    numbers_free(&w);
}

START_TEST(test_rows_keep_what_is_not_a_number)
{
    check_neighbours(9, 33, 20, types[_i]);
    check_neighbours(70, 40, 66, types[_i]);
    check_neighbours(5, 4099, 7, types[_i]);
}
END_TEST

/* ---- Gemm and MatMul ---- */

struct gemm {
    size_t m, k, n;
    bool a_transposed, b_transposed, b_runtime, c_runtime;
    size_t c_rows, c_columns; /* 0, 0: no C; c_rows 0: of rank 1 */
    float alpha, beta;
};

static void one_gemm(const struct gemm *z, enum enso_dtype dtype)
{
    if (passed_over(dtype))
        return;
    struct numbers a = numbers_new(dtype, z->m * z->k, 5), b = numbers_new(dtype, z->k * z->n, 6);
    size_t c_count = ENSO_MAX(z->c_rows, (size_t)1) * z->c_columns;
    struct numbers c = numbers_new(dtype, c_count, 7);
    int64_t m = (int64_t)z->m, k = (int64_t)z->k, n = (int64_t)z->n;
    int64_t rows = (int64_t)z->c_rows, columns = (int64_t)z->c_columns;
    struct rig r;

    rig_init(&r, NULL, 1);
    rig_input(&r, dtype, 2, z->a_transposed ? DIMS(k, m) : DIMS(m, k), a.halves);
    (z->b_runtime ? rig_input : rig_constant)(&r, dtype, 2,
                                              z->b_transposed ? DIMS(n, k) : DIMS(k, n), b.halves);
    if (c_count > 0)
        (z->c_runtime ? rig_input : rig_constant)(
            &r, dtype, z->c_rows == 0 ? 1 : 2, z->c_rows == 0 ? DIMS(columns) : DIMS(rows, columns),
            c.halves);
    rig_node(&r, ENSO_OP_GEMM, 1);
    enso_graph_set_int(r.graph, r.node, "transA", z->a_transposed);
    enso_graph_set_int(r.graph, r.node, "transB", z->b_transposed);
    enso_graph_set_float(r.graph, r.node, "alpha", z->alpha);
    enso_graph_set_float(r.graph, r.node, "beta", z->beta);
    rig_run(&r);
    float *y = rig_result_new(&r);

    for (size_t i = 0; i < z->m; i++)
        for (size_t j = 0; j < z->n; j++) {
            double v = 0, scale = 0;

            for (size_t l = 0; l < z->k; l++) {
                double term = (double)a.floats[z->a_transposed ? l * z->m + i : i * z->k + l] *
                              (double)b.floats[z->b_transposed ? j * z->k + l : l * z->n + j];

                v += term;
                scale += fabs(term);
            }
            v *= (double)z->alpha;
            if (c_count > 0)
                v += (double)z->beta * (double)c.floats[(z->c_rows > 1 ? i * z->c_columns : 0) +
                                                        (z->c_columns > 1 ? j : 0)];
            check_one("Gemm", dtype, ENSO_ACTIVATION_NONE, i * z->n + j, y[i * z->n + j], v,
                      fabs((double)z->alpha) * scale + fabs((double)z->beta) + 1, z->k);
        }
    rig_done(&r);
    free(y);
    numbers_free(&a);
    numbers_free(&b);
    numbers_free(&c);
}

START_TEST(test_gemm_forms)
{
    static const struct gemm forms[] = {
        {9, 40, 20, false, true, false, false, 0, 0, 1, 1},
        {9, 40, 20, false, false, false, false, 0, 20, 1, 1},   /* a bias */
        {9, 40, 20, false, true, false, false, 0, 20, 0.5f, 2}, /* C times beta */
        {9, 40, 20, false, true, false, true, 9, 20, -1.5f, 0.5f},
        {9, 33, 21, false, true, false, true, 9, 1, 1, 1},
        {9, 40, 22, false, true, false, true, 1, 1, 1, -1},
        {9, 40, 20, true, false, false, true, 0, 20, 1, 1},
        {9, 40, 20, true, true, true, true, 9, 20, 2, 1},
        {70, 24, 68, false, false, true, false, 0, 68, 1, 1},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(forms); i++)
        one_gemm(&forms[i], types[_i]);
}
END_TEST

/* a [..., m, k] by b [..., k, n]; batch counts 0: no such dimension. */
static void one_matmul(enum enso_dtype dtype, size_t a_batch, size_t b_batch, size_t m, size_t k,
                       size_t n, bool constant)
{
    if (passed_over(dtype))
        return;
    size_t batch = ENSO_MAX(a_batch, ENSO_MAX(b_batch, (size_t)1));
    struct numbers a = numbers_new(dtype, ENSO_MAX(a_batch, (size_t)1) * m * k, 8);
    struct numbers b = numbers_new(dtype, ENSO_MAX(b_batch, (size_t)1) * k * n, 9);
    int64_t a_dims[3] = {(int64_t)a_batch, (int64_t)m, (int64_t)k};
    int64_t b_dims[3] = {(int64_t)b_batch, (int64_t)k, (int64_t)n};
    struct rig r;

    rig_init(&r, NULL, 1);
    rig_input(&r, dtype, a_batch == 0 ? 2 : 3, a_dims + (a_batch == 0), a.halves);
    (constant ? rig_constant : rig_input)(&r, dtype, b_batch == 0 ? 2 : 3, b_dims + (b_batch == 0),
                                          b.halves);
    rig_node(&r, ENSO_OP_MATMUL, 1);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)(batch * m * n));
    float *y = rig_result_new(&r);

    for (size_t s = 0; s < batch; s++)
        for (size_t e = 0; e < m * n; e++) {
            const float *from_a = a.floats + (a_batch > 1 ? s * m * k : 0) + e / n * k;
            const float *from_b = b.floats + (b_batch > 1 ? s * k * n : 0) + e % n;
            double v = 0, scale = 0;

            for (size_t l = 0; l < k; l++) {
                double term = (double)from_a[l] * (double)from_b[l * n];

                v += term;
                scale += fabs(term);
            }
            check_one("MatMul", dtype, ENSO_ACTIVATION_NONE, s * m * n + e, y[s * m * n + e], v,
                      scale + 1, k);
        }
    rig_done(&r);
    free(y);
    numbers_free(&a);
    numbers_free(&b);
}

START_TEST(test_matmul_forms)
{
    one_matmul(types[_i], 0, 0, 17, 40, 24, true);
    one_matmul(types[_i], 3, 0, 17, 40, 24, true); /* one tall product */
    one_matmul(types[_i], 3, 0, 17, 33, 21, false);
    one_matmul(types[_i], 4, 4, 12, 16, 35, false);
    one_matmul(types[_i], 0, 4, 12, 16, 35, false);
    one_matmul(types[_i], 4, 4, 12, 16, 8, true);
    /* both at run time: more than a tile, more steps than stages, rows of whole chunks and not */
    one_matmul(types[_i], 2, 2, 70, 168, 72, false);
    one_matmul(types[_i], 2, 2, 65, 96, 133, false);
    one_matmul(types[_i], 3, 0, 33, 37, 64, false);
    one_matmul(types[_i], 0, 2, 64, 131, 65, false);
    one_matmul(types[_i], 0, 0, 1, 8, 8, false);
}
END_TEST

/* ---- convolutions ---- */

struct conv {
    size_t images, h, w, channels, out, kh, kw;
    size_t stride_h, stride_w, dilation_h, dilation_w;
    size_t top, left, bottom, right;
    size_t group;
    enum enso_activation activation;
    bool bias, residual;
};

static size_t length(size_t in, size_t before, size_t after, size_t kernel, size_t stride,
                     size_t dilation)
{
    return (in + before + after - (kernel - 1) * dilation - 1) / stride + 1;
}

/* Element (image, y, x, channel) of NHWC, or of NCHW. */
static size_t element(const struct conv *z, bool planes, size_t n_channels, size_t h, size_t w,
                      size_t image, size_t y, size_t x, size_t channel)
{
    (void)z;
    return planes ? ((image * n_channels + channel) * h + y) * w + x
                  : ((image * h + y) * w + x) * n_channels + channel;
}

struct conv_data {
    struct numbers x, w, residual;
    float *bias;
    size_t oh, ow;
};

static void build_conv(struct rig *r, const struct conv *z, enum enso_dtype dtype, bool planes,
                       const struct conv_data *d)
{
    int64_t n = (int64_t)z->images, h = (int64_t)z->h, w = (int64_t)z->w;
    int64_t c = (int64_t)z->channels, m = (int64_t)z->out;

    rig_init(r, NULL, 1);
    rig_input(r, dtype, 4, planes ? DIMS(n, c, h, w) : DIMS(n, h, w, c), d->x.halves);
    rig_constant(r, F32, 4, DIMS(m, c / (int64_t)z->group, (int64_t)z->kh, (int64_t)z->kw),
                 d->w.floats);
    if (z->bias)
        rig_constant(r, F32, 1, DIMS(m), d->bias);
    else if (z->residual)
        rig_absent(r);
    if (z->residual)
        rig_input(r, dtype, 4, DIMS(n, (int64_t)d->oh, (int64_t)d->ow, m), d->residual.halves);
    rig_node(r, planes ? ENSO_OP_CONV : ENSO_OP_CONV_FUSED, 1);
    enso_graph_set_ints(r->graph, r->node, "strides",
                        DIMS((int64_t)z->stride_h, (int64_t)z->stride_w), 2);
    enso_graph_set_ints(r->graph, r->node, "dilations",
                        DIMS((int64_t)z->dilation_h, (int64_t)z->dilation_w), 2);
    enso_graph_set_ints(
        r->graph, r->node, "pads",
        DIMS((int64_t)z->top, (int64_t)z->left, (int64_t)z->bottom, (int64_t)z->right), 4);
    enso_graph_set_int(r->graph, r->node, "group", (int64_t)z->group);
    if (!planes)
        reference_set_activation(r, z->activation);
}

static double conv_reference(const struct conv *z, bool planes, const struct conv_data *d,
                             size_t image, size_t oy, size_t ox, size_t m, double *ret_scale)
{
    size_t channels = z->channels / z->group, first = m / (z->out / z->group) * channels;
    double v = 0;

    *ret_scale = 2;
    for (size_t c = 0; c < channels; c++)
        for (size_t ky = 0; ky < z->kh; ky++)
            for (size_t kx = 0; kx < z->kw; kx++) {
                size_t y = oy * z->stride_h + ky * z->dilation_h - z->top; /* wraps above */
                size_t x = ox * z->stride_w + kx * z->dilation_w - z->left;

                if (y >= z->h || x >= z->w)
                    continue;
                double term = (double)d->x.floats[element(z, planes, z->channels, z->h, z->w, image,
                                                          y, x, first + c)] *
                              (double)d->w.floats[((m * channels + c) * z->kh + ky) * z->kw + kx];

                v += term;
                *ret_scale += fabs(term);
            }
    return v;
}

static void one_conv(const struct conv *z, enum enso_dtype dtype, bool planes)
{
    if (passed_over(dtype))
        return;
    struct conv_data d;
    size_t channels = z->channels / z->group, k = channels * z->kh * z->kw;
    struct rig r;

    d.oh = length(z->h, z->top, z->bottom, z->kh, z->stride_h, z->dilation_h);
    d.ow = length(z->w, z->left, z->right, z->kw, z->stride_w, z->dilation_w);
    d.x = numbers_new(dtype, z->images * z->h * z->w * z->channels, 11);
    d.w = numbers_new(dtype, z->out * k, 12);
    d.residual = numbers_new(dtype, z->images * d.oh * d.ow * z->out, 13);
    d.bias = rig_random_new(z->out, 14);
    build_conv(&r, z, dtype, planes, &d);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)(z->images * d.oh * d.ow * z->out));
    float *got = rig_result_new(&r);

    for (size_t image = 0; image < z->images; image++)
        for (size_t y = 0; y < d.oh; y++)
            for (size_t x = 0; x < d.ow; x++)
                for (size_t m = 0; m < z->out; m++) {
                    size_t at = element(z, planes, z->out, d.oh, d.ow, image, y, x, m);
                    double scale, v = conv_reference(z, planes, &d, image, y, x, m, &scale);

                    v += z->bias ? (double)d.bias[m] : 0;
                    v += z->residual ? (double)d.residual.floats[at] : 0;
                    check_one(planes ? "Conv" : "CONV_FUSED", dtype, z->activation, at, got[at], v,
                              scale, k);
                }
    rig_done(&r);
    free(got);
    free(d.bias);
    numbers_free(&d.x);
    numbers_free(&d.w);
    numbers_free(&d.residual);
}

/* images, h, w, channels, out, kernel, strides, dilations, pads, group, activation, bias, residual
 */
static const struct conv geometries[] = {
    {2, 9, 7, 16, 24, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, ENSO_ACTIVATION_RELU, true, true},
    {2, 9, 7, 11, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, ENSO_ACTIVATION_NONE, false, false},
    {2, 9, 7, 16, 24, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, ENSO_ACTIVATION_RELU, true, true},
    {2, 9, 7, 16, 24, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_NONE, true, false},
    {3, 9, 7, 8, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_SILU, true, true},
    {1, 9, 7, 40, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_RELU, true, false},
    {2, 10, 12, 24, 16, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_NONE, true, false},
    {2, 12, 11, 8, 9, 3, 3, 1, 2, 2, 3, 2, 0, 1, 3, 1, ENSO_ACTIVATION_NONE, true, false},
    {2, 6, 13, 16, 8, 5, 2, 3, 1, 1, 1, 0, 1, 2, 0, 1, ENSO_ACTIVATION_CLIP, false, true},
    {2, 19, 17, 3, 16, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 1, ENSO_ACTIVATION_RELU, true, false},
    {1, 8, 8, 5, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_NONE, false, false},
    {1, 5, 4, 1, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_NONE, true, false},
    {1, 4, 4, 512, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_RELU, true, true},
    {2, 9, 7, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 16, ENSO_ACTIVATION_HARD_SWISH, true, true},
    {2, 9, 7, 24, 24, 5, 5, 2, 2, 1, 1, 2, 2, 2, 2, 24, ENSO_ACTIVATION_RELU, true, false},
    {2, 9, 7, 12, 12, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 12, ENSO_ACTIVATION_NONE, true, false},
    {2, 9, 7, 12, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 12, ENSO_ACTIVATION_NONE, false, true},
    {2, 6, 7, 16, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, ENSO_ACTIVATION_RELU, true, true},
};

START_TEST(test_conv_fused_geometries)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(geometries); i++)
        one_conv(&geometries[i], types[_i], false);
}
END_TEST

/* More than 95 tiles of 128 x 128, of 64 x 64, and of 128 x 64. */
START_TEST(test_conv_fused_larger_tiles)
{
    static const struct conv tall = {
        2, 79, 80, 8, 56, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_RELU, true, true};
    static const struct conv medium = {
        2, 40, 41, 8, 100, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_RELU, true, false};
    static const struct conv z = {
        3, 64, 65, 8, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_RELU, true, true};

    one_conv(&tall, types[_i], false);
    one_conv(&medium, types[_i], false);
    one_conv(&z, types[_i], false);
}
END_TEST

START_TEST(test_conv_of_planes)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(geometries); i += 3) {
        struct conv z = geometries[i];

        z.activation = ENSO_ACTIVATION_NONE;
        z.residual = false;
        one_conv(&z, types[_i], true);
    }
}
END_TEST

/* An image has the same bits alone and in a batch. */
START_TEST(test_conv_fused_images_have_their_bits_alone)
{
    if (passed_over(types[_i]))
        return;
    struct conv z = {33,    60,   32, 8, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, ENSO_ACTIVATION_NONE,
                     false, false};
    size_t image = z.h * z.w * z.channels, out = z.h * z.w * z.out, n = 8;
    struct conv_data d = {.oh = z.h, .ow = z.w};
    struct rig r;

    z.images = n;
    d.x = numbers_new(types[_i], n * image, 31);
    d.w = numbers_new(types[_i], z.out * z.channels * 9, 32);
    build_conv(&r, &z, types[_i], false, &d);
    rig_run(&r);
    float *all = rig_result_new(&r);
    rig_done(&r);
    z.images = 1;
    for (size_t i = 0; i < n; i += 5) {
        struct conv_data one = d;

        one.x.halves += i * image;
        build_conv(&r, &z, types[_i], false, &one);
        rig_run(&r);
        float *y = rig_result_new(&r);
        rig_done(&r);
        ck_assert_msg(memcmp(y, all + i * out, out * sizeof(*y)) == 0, "image %zu", i);
        free(y);
    }
    free(all);
    numbers_free(&d.x);
    numbers_free(&d.w);
}
END_TEST

/* ---- refusals ---- */

START_TEST(test_weights_beyond_fp16_are_refused)
{
    static const float large[] = {65519, -65520, 1e6f, INFINITY};
    struct linear z = {.m = 2, .k = 8, .n = 3, .stored = F32};

    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(large) && !passed_over(types[t]); i++) {
            struct numbers x = numbers_new(types[t], 16, 1), w = numbers_new(types[t], 24, 2);
            struct rig r;

            z.dtype = z.out = types[t];
            w.floats[13] = large[i];
            build_linear(&r, &z, &x, &w, NULL, NULL);
            bool refused = types[t] == F16 && isfinite(large[i]) && fabsf(large[i]) >= 65520;

            ck_assert_int_eq(rig_try_bind(&r), refused ? ENSO_UNSUPPORTED : ENSO_OK);
            if (refused)
                ck_assert_ptr_nonnull(strstr(r.err.message, "is beyond FP16"));
            rig_done(&r);
            numbers_free(&x);
            numbers_free(&w);
        }
}
END_TEST

START_TEST(test_parameters_that_come_at_run_time_are_refused)
{
    struct numbers x = numbers_new(F16, 64, 1);
    struct rig r;

    rig_init(&r, NULL, 1);
    rig_input(&r, F16, 2, DIMS(2, 4), x.halves);
    rig_constant(&r, F32, 2, DIMS(3, 4), x.floats);
    rig_input(&r, F16, 1, DIMS(3), x.halves);
    rig_node(&r, ENSO_OP_LINEAR, 1);
    ck_assert_int_eq(rig_try_bind(&r), ENSO_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(r.err.message, "must be constant"));
    rig_done(&r);

    rig_init(&r, NULL, 1);
    rig_input(&r, F16, 4, DIMS(1, 2, 3, 3), x.halves);
    rig_input(&r, F16, 4, DIMS(2, 2, 1, 1), x.halves);
    rig_node(&r, ENSO_OP_CONV, 1);
    ck_assert_int_eq(rig_try_bind(&r), ENSO_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(r.err.message, "must be constant"));
    rig_done(&r);
    numbers_free(&x);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/half_products");
    TCase *tc = tcase_create("products");

    tcase_add_test(tc, test_linear_shapes);
    tcase_add_test(tc, test_linear_no_rows_and_no_depth);
    tcase_add_loop_test(tc, test_linear_activations, 0, ENSO_ACTIVATION_HARD_SIGMOID + 1);
    tcase_add_loop_test(tc, test_linear_larger_tiles, 0, 2);
    tcase_add_loop_test(tc, test_linear_long_rows, 0, 2);
    tcase_add_loop_test(tc, test_gemm_forms, 0, 2);
    tcase_add_loop_test(tc, test_matmul_forms, 0, 2);
    suite_add_tcase(s, tc);
    tc = tcase_create("bits");
    tcase_add_loop_test(tc, test_rows_have_their_bits_alone, 0, 2);
    tcase_add_loop_test(tc, test_rows_keep_what_is_not_a_number, 0, 2);
    tcase_add_loop_test(tc, test_conv_fused_images_have_their_bits_alone, 0, 2);
    suite_add_tcase(s, tc);
    tc = tcase_create("convolutions");
    tcase_add_loop_test(tc, test_conv_fused_geometries, 0, 2);
    tcase_add_loop_test(tc, test_conv_fused_larger_tiles, 0, 2);
    tcase_add_loop_test(tc, test_conv_of_planes, 0, 2);
    suite_add_tcase(s, tc);
    tc = tcase_create("errors");
    tcase_add_test(tc, test_weights_beyond_fp16_are_refused);
    tcase_add_test(tc, test_parameters_that_come_at_run_time_are_refused);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return rig_main_of_halves(suite);
}
