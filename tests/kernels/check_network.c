/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain operators of networks against references in double: Conv (and the fused NHWC form, on
 * the same weights), pools, norms, softmax, MatMul, Gemm.
 *
 * Tolerances: a sum of n products of numbers in [-1, 1) rounds by at most about n · 2^-24 and in
 * practice by its square root; 2e-6 · sqrt(n) leaves a wide margin and still sees any wrong term
 * (those are of the order of 0.3). Norms and softmax divide sums of up to a few thousand: 1e-6
 * absolute on numbers of order 1.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32

struct conv_case {
    int64_t n, c, h, w, m, kh, kw, stride, pad_top, pad_left, pad_bottom, pad_right, dilation,
        group;
};

static const struct conv_case convs[] = {
    /* n, c, h, w, m, kh, kw, stride, top, left, bottom, right, dilation, group */
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
    {2, 3, 9, 11, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1},    /* merged rows, partial panel */
    {1, 3, 20, 20, 16, 7, 7, 2, 3, 3, 3, 3, 1, 1},  /* a first layer */
    {1, 1, 28, 28, 8, 5, 5, 1, 2, 2, 2, 2, 1, 1},   /* one channel */
    {2, 16, 10, 9, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* general */
    {1, 17, 8, 8, 33, 3, 3, 2, 0, 1, 1, 0, 1, 1},   /* odd sizes, lopsided padding */
    {1, 32, 14, 14, 48, 1, 1, 1, 0, 0, 0, 0, 1, 1}, /* plain product */
    {2, 32, 7, 7, 20, 1, 1, 2, 0, 0, 0, 0, 1, 1},   /* strided 1x1 */
    {1, 20, 9, 9, 17, 3, 3, 1, 2, 2, 2, 2, 2, 1},   /* dilated */
    {1, 4, 9, 9, 5, 3, 3, 1, 2, 2, 2, 2, 2, 1},     /* dilated, few channels */
    {2, 12, 7, 9, 18, 3, 3, 1, 1, 1, 1, 1, 1, 3},   /* groups */
    {1, 64, 6, 6, 64, 3, 3, 1, 1, 1, 1, 1, 1, 2},   /* groups of whole panels */
    {2, 37, 9, 8, 37, 3, 3, 1, 1, 1, 1, 1, 1, 37},  /* depthwise, odd */
    {1, 64, 8, 8, 64, 5, 5, 2, 2, 2, 2, 2, 1, 64},  /* depthwise, strided */
    {1, 8, 6, 6, 16, 3, 3, 1, 1, 1, 1, 1, 1, 8},    /* two outputs per group */
    {1, 400, 5, 5, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* the inner dimension in blocks inside a tap */
    {1, 100, 5, 5, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* blocks of several taps */
    {1, 2, 3, 40, 3, 1, 5, 1, 0, 2, 0, 2, 1, 1},    /* windows wider than high */
    {0, 3, 5, 5, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1},     /* no images */
};

static int64_t out_size(int64_t in, int64_t k, int64_t stride, int64_t before, int64_t after,
                        int64_t dilation)
{
    return (in + before + after - ((k - 1) * dilation + 1)) / stride + 1;
}

static double *conv_reference(const struct conv_case *z, const float *x, const float *w,
                              const float *bias, int64_t oh, int64_t ow)
{
    double *y = rig_doubles_new((size_t)(z->n * z->m * oh * ow));
    int64_t cg = z->c / z->group, mg = z->m / z->group;

    for (int64_t n = 0; n < z->n; n++)
        for (int64_t m = 0; m < z->m; m++)
            for (int64_t oy = 0; oy < oh; oy++)
                for (int64_t ox = 0; ox < ow; ox++) {
                    double sum = (double)bias[m];

                    for (int64_t c = 0; c < cg; c++)
                        for (int64_t ky = 0; ky < z->kh; ky++)
                            for (int64_t kx = 0; kx < z->kw; kx++) {
                                int64_t iy = oy * z->stride + ky * z->dilation - z->pad_top;
                                int64_t ix = ox * z->stride + kx * z->dilation - z->pad_left;

                                if (iy < 0 || iy >= z->h || ix < 0 || ix >= z->w)
                                    continue;
                                sum +=
                                    (double)w[((m * cg + c) * z->kh + ky) * z->kw + kx] *
                                    (double)
                                        x[((n * z->c + m / mg * cg + c) * z->h + iy) * z->w + ix];
                            }
                    y[((n * z->m + m) * oh + oy) * ow + ox] = sum;
                }
    return y;
}

static void conv_attributes(struct rig *r, const struct conv_case *z)
{
    enso_graph_set_ints(r->graph, r->node, "kernel_shape", DIMS(z->kh, z->kw), 2);
    enso_graph_set_ints(r->graph, r->node, "strides", DIMS(z->stride, z->stride), 2);
    enso_graph_set_ints(r->graph, r->node, "dilations", DIMS(z->dilation, z->dilation), 2);
    enso_graph_set_ints(r->graph, r->node, "pads",
                        DIMS(z->pad_top, z->pad_left, z->pad_bottom, z->pad_right), 4);
    enso_graph_set_int(r->graph, r->node, "group", z->group);
}

/* [n, c, hw] to [n, hw, c] */
static float *to_nhwc(const float *x, int64_t n, int64_t c, int64_t hw)
{
    float *y = malloc((size_t)(n * c * hw + 1) * sizeof(*y));

    ck_assert_ptr_nonnull(y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < c; j++)
            for (int64_t k = 0; k < hw; k++)
                y[(i * hw + k) * c + j] = x[(i * c + j) * hw + k];
    return y;
}

static void one_conv(const struct conv_case *z, const char *set, unsigned n_threads)
{
    int64_t oh = out_size(z->h, z->kh, z->stride, z->pad_top, z->pad_bottom, z->dilation);
    int64_t ow = out_size(z->w, z->kw, z->stride, z->pad_left, z->pad_right, z->dilation);
    size_t n_y = (size_t)(z->n * z->m * oh * ow);
    float *x = rig_random_new((size_t)(z->n * z->c * z->h * z->w), 1);
    float *w = rig_random_new((size_t)(z->m * z->c / z->group * z->kh * z->kw), 2);
    float *bias = rig_random_new((size_t)z->m, 3), *residual = rig_random_new(n_y, 4);
    double *want = conv_reference(z, x, w, bias, oh, ow);
    double tolerance = 2e-6 * sqrt((double)(z->c / z->group * z->kh * z->kw) + 1);
    struct rig r;

    rig_init(&r, set, n_threads);
    rig_input(&r, F32, 4, DIMS(z->n, z->c, z->h, z->w), x);
    rig_constant(&r, F32, 4, DIMS(z->m, z->c / z->group, z->kh, z->kw), w);
    rig_input(&r, F32, 1, DIMS(z->m), bias);
    rig_node(&r, ENSO_OP_CONV, 1);
    conv_attributes(&r, z);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)n_y);
    rig_near("Conv", r.outputs[0].data, want, n_y, tolerance, 1e-6);
    rig_done(&r);

    float *xt = to_nhwc(x, z->n, z->c, z->h * z->w), *rt = to_nhwc(residual, z->n, z->m, oh * ow);
    double *want_t = rig_doubles_new(n_y);
    for (int64_t n = 0; n < z->n; n++)
        for (int64_t m = 0; m < z->m; m++)
            for (int64_t p = 0; p < oh * ow; p++) {
                size_t at = (size_t)((n * oh * ow + p) * z->m + m);
                double v = want[(n * z->m + m) * oh * ow + p] + (double)rt[at];

                want_t[at] = v < 0 ? 0 : v;
            }
    rig_init(&r, set, n_threads);
    rig_input(&r, F32, 4, DIMS(z->n, z->h, z->w, z->c), xt);
    rig_constant(&r, F32, 4, DIMS(z->m, z->c / z->group, z->kh, z->kw), w);
    rig_constant(&r, F32, 1, DIMS(z->m), bias);
    rig_input(&r, F32, 4, DIMS(z->n, oh, ow, z->m), rt);
    rig_node(&r, ENSO_OP_CONV_FUSED, 1);
    conv_attributes(&r, z);
    enso_graph_set_int(r.graph, r.node, "activation", ENSO_ACTIVATION_RELU);
    rig_run(&r);
    rig_near("CONV_FUSED", r.outputs[0].data, want_t, n_y, tolerance, 1e-6);
    rig_done(&r);
    free(x);
    free(w);
    free(bias);
    free(residual);
    free(want);
    free(xt);
    free(rt);
    free(want_t);
}

START_TEST(test_convolutions)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(convs); i++)
            one_conv(&convs[i], *set, 1 + (unsigned)i % 3);
}
END_TEST

START_TEST(test_conv_one_and_three_dimensions)
{
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[2] = {1, 10};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 3, DIMS(1, 1, 5), x);
    rig_constant(&r, F32, 3, DIMS(1, 1, 2), w);
    rig_node(&r, ENSO_OP_CONV, 1);
    enso_graph_set_string(r.graph, r.node, "auto_pad", "SAME_LOWER");
    rig_run(&r);
    rig_near("1d", r.outputs[0].data, (double[]){10, 21, 32, 43, 54}, 5, 0, 0);
    rig_done(&r);

    const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 5, DIMS(1, 1, 2, 2, 2), x);
    rig_constant(&r, F32, 5, DIMS(1, 1, 2, 2, 2), ones);
    rig_node(&r, ENSO_OP_CONV, 1);
    rig_run(&r);
    rig_near("3d", r.outputs[0].data, (double[]){36}, 1, 0, 0);
    rig_done(&r);
}
END_TEST

struct pool_case {
    int64_t n, c, h, w, k, stride, pad, dilation, ceil_mode, include_pad;
};

static const struct pool_case pools[] = {
    {1, 3, 8, 8, 2, 2, 0, 1, 0, 0},    {2, 17, 9, 7, 3, 2, 1, 1, 0, 0},
    {2, 17, 9, 7, 3, 2, 1, 1, 1, 0},   {1, 8, 9, 7, 3, 2, 1, 1, 1, 1},
    {1, 33, 12, 12, 3, 1, 2, 2, 0, 1}, {1, 5, 6, 6, 3, 3, 1, 1, 1, 1},
    {0, 5, 6, 6, 3, 3, 1, 1, 0, 0},
};

static void pool_reference(const struct pool_case *z, bool max, const float *x, int64_t oh,
                           int64_t ow, double *y)
{
    for (int64_t plane = 0; plane < z->n * z->c; plane++)
        for (int64_t oy = 0; oy < oh; oy++)
            for (int64_t ox = 0; ox < ow; ox++) {
                double sum = 0, most = -(double)INFINITY;
                int64_t count = 0;

                for (int64_t ky = 0; ky < z->k; ky++)
                    for (int64_t kx = 0; kx < z->k; kx++) {
                        int64_t iy = oy * z->stride + ky * z->dilation - z->pad;
                        int64_t ix = ox * z->stride + kx * z->dilation - z->pad;
                        bool inside = iy >= 0 && iy < z->h && ix >= 0 && ix < z->w;

                        if (z->include_pad && iy < z->h + z->pad && ix < z->w + z->pad)
                            count++;
                        else if (inside)
                            count++;
                        if (!inside)
                            continue;
                        double v = (double)x[(plane * z->h + iy) * z->w + ix];
                        sum += v;
                        most = v > most ? v : most;
                    }
                y[(plane * oh + oy) * ow + ox] = max ? most : sum / (double)count;
            }
}

static void one_pool(const struct pool_case *z, const char *set, bool max, bool nhwc)
{
    float *x = rig_random_new((size_t)(z->n * z->c * z->h * z->w), 5);
    float *xt = to_nhwc(x, z->n, z->c, z->h * z->w);
    struct rig r;

    rig_init(&r, set, 2);
    if (nhwc)
        rig_input(&r, F32, 4, DIMS(z->n, z->h, z->w, z->c), xt);
    else
        rig_input(&r, F32, 4, DIMS(z->n, z->c, z->h, z->w), x);
    rig_node(&r, max ? ENSO_OP_MAX_POOL : ENSO_OP_AVERAGE_POOL, 1);
    enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(z->k, z->k), 2);
    enso_graph_set_ints(r.graph, r.node, "strides", DIMS(z->stride, z->stride), 2);
    enso_graph_set_ints(r.graph, r.node, "dilations", DIMS(z->dilation, z->dilation), 2);
    enso_graph_set_ints(r.graph, r.node, "pads", DIMS(z->pad, z->pad, z->pad, z->pad), 4);
    enso_graph_set_int(r.graph, r.node, "ceil_mode", z->ceil_mode);
    enso_graph_set_int(r.graph, r.node, "count_include_pad", z->include_pad);
    enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
    rig_run(&r);
    int64_t oh = r.outputs[0].dims[nhwc ? 1 : 2], ow = r.outputs[0].dims[nhwc ? 2 : 3];
    size_t n_y = (size_t)(z->n * z->c * oh * ow);
    double *want = rig_doubles_new(n_y), *want_t = rig_doubles_new(n_y);

    pool_reference(z, max, x, oh, ow, want);
    for (int64_t n = 0; n < z->n; n++)
        for (int64_t c = 0; c < z->c; c++)
            for (int64_t p = 0; p < oh * ow; p++)
                want_t[(n * oh * ow + p) * z->c + c] = want[(n * z->c + c) * oh * ow + p];
    rig_near(max ? "MaxPool" : "AveragePool", r.outputs[0].data, nhwc ? want_t : want, n_y,
             max ? 0 : 1e-6, 0);
    rig_done(&r);
    free(x);
    free(xt);
    free(want);
    free(want_t);
}

START_TEST(test_pools)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(pools); i++)
            for (unsigned which = 0; which < 4; which++)
                one_pool(&pools[i], *set, which & 1, which >> 1);
}
END_TEST

START_TEST(test_global_pools)
{
    float *x = rig_random_new(2 * 19 * 35, 6), *xt = to_nhwc(x, 2, 19, 35);

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned which = 0; which < 4; which++) {
            bool max = which & 1, nhwc = which >> 1;
            double want[38];
            struct rig r;

            for (size_t i = 0; i < 38; i++) {
                want[i] = max ? -(double)INFINITY : 0;
                for (size_t j = 0; j < 35; j++) {
                    double v = (double)x[i * 35 + j];

                    want[i] = max ? (v > want[i] ? v : want[i]) : want[i] + v / 35;
                }
            }
            rig_init(&r, *set, 2);
            rig_input(&r, F32, 4, nhwc ? DIMS(2, 5, 7, 19) : DIMS(2, 19, 5, 7), nhwc ? xt : x);
            rig_node(&r, max ? ENSO_OP_GLOBAL_MAX_POOL : ENSO_OP_GLOBAL_AVERAGE_POOL, 1);
            enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
            rig_run(&r);
            rig_near("global", r.outputs[0].data, want, 38, 1e-6, 0);
            rig_done(&r);
        }
    free(x);
    free(xt);
}
END_TEST

START_TEST(test_softmax_every_axis)
{
    const int64_t dims[3] = {3, 41, 5};
    float *x = rig_random_new(615, 7);

    for (size_t i = 0; i < 615; i++)
        x[i] *= 30;
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned which = 0; which < 6; which++) {
            int64_t axis = which >> 1;
            size_t inner = axis == 0 ? 205 : axis == 1 ? 5 : 1, n = (size_t)dims[axis];
            double want[615];
            struct rig r;

            for (size_t i = 0; i < 615 / n; i++) {
                size_t at = i / inner * inner * n + i % inner;
                double sum = 0, max = -1e9;

                for (size_t j = 0; j < n; j++)
                    max = fmax(max, (double)x[at + j * inner]);
                for (size_t j = 0; j < n; j++)
                    sum += exp((double)x[at + j * inner] - max);
                for (size_t j = 0; j < n; j++) {
                    double v = (double)x[at + j * inner] - max;

                    want[at + j * inner] = (which & 1) != 0 ? v - log(sum) : exp(v) / sum;
                }
            }
            rig_init(&r, *set, 2);
            rig_input(&r, F32, 3, dims, x);
            rig_node(&r, (which & 1) != 0 ? ENSO_OP_LOG_SOFTMAX : ENSO_OP_SOFTMAX, 1);
            enso_graph_set_int(r.graph, r.node, "axis", axis);
            rig_run(&r);
            rig_near("softmax", r.outputs[0].data, want, 615, 1e-6, 1e-6);
            rig_done(&r);
        }
    free(x);
}
END_TEST

START_TEST(test_softmax_special_rows)
{
    const float x[12] = {-INFINITY, 0, -INFINITY, -INFINITY, -INFINITY, -INFINITY,
                         1000,      0, -1000,     NAN,       1,         2};
    const double want[12] = {0, 1, 0, (double)NAN, (double)NAN, (double)NAN,
                             1, 0, 0, (double)NAN, (double)NAN, (double)NAN};

    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        struct rig r;

        rig_init(&r, *set, 1);
        rig_input(&r, F32, 2, DIMS(4, 3), x);
        rig_node(&r, ENSO_OP_SOFTMAX, 1);
        rig_run(&r);
        rig_near(*set, r.outputs[0].data, want, 12, 0, 0);
        rig_done(&r);
    }
}
END_TEST

START_TEST(test_batch_and_instance_norm)
{
    float *x = rig_random_new(2 * 3 * 35, 8), gamma[3] = {1, -2, 0.5f}, beta[3] = {0, 1, 2};
    float mean[3] = {0.1f, -0.2f, 0.3f}, variance[3] = {1, 2, 0.01f};

    for (unsigned constants = 0; constants < 3; constants++) {
        double want[210];
        struct rig r;

        rig_init(&r, "generic", 2);
        rig_input(&r, F32, 4, DIMS(2, 3, 5, 7), x);
        const float *parameters[4] = {gamma, beta, mean, variance};
        for (size_t i = 0; i < (constants == 2 ? 2u : 4u); i++)
            (constants == 1 ? rig_constant : rig_input)(&r, F32, 1, DIMS(3), parameters[i]);
        rig_node(&r, constants == 2 ? ENSO_OP_INSTANCE_NORM : ENSO_OP_BATCH_NORM, 1);
        rig_run(&r);
        for (size_t p = 0; p < 6; p++) {
            double m = (double)mean[p % 3], v = (double)variance[p % 3];

            if (constants == 2) {
                m = v = 0;
                for (size_t i = 0; i < 35; i++)
                    m += (double)x[p * 35 + i] / 35;
                for (size_t i = 0; i < 35; i++)
                    v += pow((double)x[p * 35 + i] - m, 2) / 35;
            }
            for (size_t i = 0; i < 35; i++)
                want[p * 35 + i] =
                    ((double)x[p * 35 + i] - m) / sqrt(v + 1e-5) * (double)gamma[p % 3] +
                    (double)beta[p % 3];
        }
        rig_near("norm", r.outputs[0].data, want, 210, 2e-6, 1e-6);
        rig_done(&r);
    }
    free(x);
}
END_TEST

START_TEST(test_lrn)
{
    float *x = rig_random_new(2 * 7 * 12, 9), *xt = to_nhwc(x, 2, 7, 12);

    for (unsigned nhwc = 0; nhwc < 2; nhwc++)
        for (int64_t size = 1; size <= 6; size++) {
            double want[168];
            struct rig r;

            for (int64_t n = 0; n < 2; n++)
                for (int64_t c = 0; c < 7; c++)
                    for (int64_t p = 0; p < 12; p++) {
                        double sum = 0;

                        for (int64_t i = c - (size - 1) / 2; i <= c + size / 2; i++)
                            if (i >= 0 && i < 7)
                                sum += pow((double)x[(n * 7 + i) * 12 + p], 2);
                        size_t at = (size_t)(nhwc ? (n * 12 + p) * 7 + c : (n * 7 + c) * 12 + p);
                        want[at] = (double)x[(n * 7 + c) * 12 + p] /
                                   pow(2 + 0.5 / (double)size * sum, 0.75);
                    }
            rig_init(&r, "generic", 2);
            rig_input(&r, F32, 4, nhwc ? DIMS(2, 3, 4, 7) : DIMS(2, 7, 3, 4), nhwc ? xt : x);
            rig_node(&r, ENSO_OP_LRN, 1);
            enso_graph_set_int(r.graph, r.node, "size", size);
            enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
            enso_graph_set_float(r.graph, r.node, "alpha", 0.5f);
            enso_graph_set_float(r.graph, r.node, "bias", 2);
            rig_run(&r);
            rig_near("LRN", r.outputs[0].data, want, 168, 1e-6, 1e-6);
            rig_done(&r);
        }
    free(x);
    free(xt);
}
END_TEST

static void one_matmul(const char *set, const int64_t *da, size_t ra, const int64_t *db, size_t rb,
                       size_t stack, size_t a_step, size_t b_step, size_t m, size_t k, size_t n,
                       bool constant)
{
    float *a = rig_random_new(4 * 3 * m * k, 10), *b = rig_random_new(4 * 3 * k * n, 11);
    double *want = rig_doubles_new(stack * m * n);
    struct rig r;

    for (size_t s = 0; s < stack; s++)
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++)
                for (size_t l = 0; l < k; l++)
                    want[(s * m + i) * n + j] += (double)a[(s * a_step * m + i) * k + l] *
                                                 (double)b[(s * b_step * k + l) * n + j];
    rig_init(&r, set, 2);
    rig_input(&r, F32, ra, da, a);
    (constant ? rig_constant : rig_input)(&r, F32, rb, db, b);
    rig_node(&r, ENSO_OP_MATMUL, 1);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)(stack * m * n));
    rig_near("MatMul", r.outputs[0].data, want, stack * m * n, 2e-6 * sqrt((double)k + 1), 1e-6);
    rig_done(&r);
    free(a);
    free(b);
    free(want);
}

START_TEST(test_matmul)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        one_matmul(*set, DIMS(5, 7), 2, DIMS(7, 9), 2, 1, 0, 0, 5, 7, 9, false);
        one_matmul(*set, DIMS(5, 7), 2, DIMS(7, 9), 2, 1, 0, 0, 5, 7, 9, true);
        one_matmul(*set, DIMS(3, 5, 7), 3, DIMS(3, 7, 9), 3, 3, 1, 1, 5, 7, 9, false);
        one_matmul(*set, DIMS(3, 5, 7), 3, DIMS(7, 9), 2, 3, 1, 0, 5, 7, 9, true);
        one_matmul(*set, DIMS(5, 7), 2, DIMS(3, 7, 9), 3, 3, 0, 1, 5, 7, 9, false);
        one_matmul(*set, DIMS(7), 1, DIMS(7, 9), 2, 1, 0, 0, 1, 7, 9, false);
        one_matmul(*set, DIMS(5, 7), 2, DIMS(7), 1, 1, 0, 0, 5, 7, 1, false);
        one_matmul(*set, DIMS(7), 1, DIMS(7), 1, 1, 0, 0, 1, 7, 1, false);
        one_matmul(*set, DIMS(200, 500), 2, DIMS(500, 70), 2, 1, 0, 0, 200, 500, 70, false);
        one_matmul(*set, DIMS(2, 0), 2, DIMS(0, 3), 2, 1, 0, 0, 2, 0, 3, false);
    }
}
END_TEST

START_TEST(test_matmul_integers)
{
    const int64_t a[4] = {1, 2, 3, INT64_MAX}, b[4] = {5, 6, 7, 8};
    const int64_t want[4] = {19, 22, (int64_t)(15 + (uint64_t)INT64_MAX * 7),
                             (int64_t)(18 + (uint64_t)INT64_MAX * 8)};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, ENSO_DTYPE_I64, 2, DIMS(2, 2), a);
    rig_input(&r, ENSO_DTYPE_I64, 2, DIMS(2, 2), b);
    rig_node(&r, ENSO_OP_MATMUL, 1);
    rig_run(&r);
    ck_assert_mem_eq(r.outputs[0].data, want, sizeof(want));
    rig_done(&r);
}
END_TEST

START_TEST(test_gemm)
{
    static const struct {
        size_t rank;
        int64_t dims[2];
        int64_t row, column; /* strides of C */
    } cs[] = {{0, {0}, 0, 0},    {1, {9}, 0, 1},    {2, {1, 9}, 0, 1},
              {2, {5, 1}, 1, 0}, {2, {5, 9}, 9, 1}, {1, {1}, 0, 0}};
    const size_t m = 5, k = 33, n = 9;
    float *a = rig_random_new(m * k, 12), *b = rig_random_new(k * n, 13);
    float *c = rig_random_new(m * n, 14);

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned flags = 0; flags < 16; flags++)
            for (size_t z = 0; z <= ENSO_ARRAY_SIZE(cs); z++) {
                bool ta = flags & 1, tb = flags & 2, constant = flags & 4, scaled = flags & 8;
                bool with_c = z < ENSO_ARRAY_SIZE(cs);
                double want[45] = {0}, alpha = scaled ? 0.5 : 1, beta = scaled ? 2 : 1;
                struct rig r;

                for (size_t i = 0; i < m; i++)
                    for (size_t j = 0; j < n; j++) {
                        for (size_t l = 0; l < k; l++)
                            want[i * n + j] += alpha * (double)a[ta ? l * m + i : i * k + l] *
                                               (double)b[tb ? j * k + l : l * n + j];
                        if (with_c)
                            want[i * n + j] +=
                                beta * (double)c[i * (size_t)cs[z].row + j * (size_t)cs[z].column];
                    }
                rig_init(&r, *set, 2);
                rig_input(&r, F32, 2, ta ? DIMS(33, 5) : DIMS(5, 33), a);
                (constant ? rig_constant : rig_input)(&r, F32, 2, tb ? DIMS(9, 33) : DIMS(33, 9),
                                                      b);
                if (with_c)
                    (constant ? rig_constant : rig_input)(&r, F32, cs[z].rank, cs[z].dims, c);
                rig_node(&r, ENSO_OP_GEMM, 1);
                enso_graph_set_int(r.graph, r.node, "transA", ta);
                enso_graph_set_int(r.graph, r.node, "transB", tb);
                enso_graph_set_float(r.graph, r.node, "alpha", (float)alpha);
                enso_graph_set_float(r.graph, r.node, "beta", (float)beta);
                rig_run(&r);
                rig_near("Gemm", r.outputs[0].data, want, m * n, 1e-5, 1e-6);
                rig_done(&r);
            }
    free(a);
    free(b);
    free(c);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/network");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_convolutions);
    tcase_add_test(core, test_conv_one_and_three_dimensions);
    tcase_add_test(core, test_pools);
    tcase_add_test(core, test_global_pools);
    tcase_add_test(core, test_softmax_every_axis);
    tcase_add_test(core, test_softmax_special_rows);
    tcase_add_test(core, test_batch_and_instance_norm);
    tcase_add_test(core, test_lrn);
    tcase_add_test(core, test_matmul);
    tcase_add_test(core, test_matmul_integers);
    tcase_add_test(core, test_gemm);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
