/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that take several elements together, in F16 and BF16: norms and softmax of rows,
 * reductions, channels and windows. Tolerances: see halves.h.
 */
#include "ensod_build.h"

#include "tests/kernels/halves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32

/* ---- rows ---- */

/* One of a warp, around its vectors and its end; a small block's, a large one's, none's. */
static const int64_t lengths[] = {1, 7, 8, 9, 384, 768, 1024, 1025, 1032, 4100, 8192, 8200};

static void reference_norm(enum enso_op op, const double *x, const double *residual,
                           const float *gamma, const float *beta, size_t n, double *y)
{
    double mean = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] + (residual != NULL ? residual[i] : 0);
        mean += y[i] / (double)n;
    }
    mean = op == ENSO_OP_LAYER_NORM ? mean : 0;
    for (size_t i = 0; i < n; i++)
        squares += (y[i] - mean) * (y[i] - mean);
    double scale = op == ENSO_OP_L2_NORMALIZE ? 1 / fmax(sqrt(squares), 1e-12)
                                              : 1 / sqrt(squares / (double)n + 1e-5);

    for (size_t i = 0; i < n; i++)
        y[i] = (y[i] - mean) * scale * (gamma != NULL ? (double)gamma[i] : 1) +
               (beta != NULL ? (double)beta[i] : 0);
}

/* Gamma and beta: constants (bit 0) or tensors, with a residual (bit 1), in place (bit 2). */
static void one_norm(enum enso_op op, enum enso_dtype dtype, int64_t length, unsigned how)
{
    size_t n = (size_t)length, n_rows = 3;
    bool layer = op == ENSO_OP_LAYER_NORM, l2 = op == ENSO_OP_L2_NORMALIZE;
    struct half_numbers x = half_numbers_new(dtype, n * n_rows, 11, 3, 1);
    struct half_numbers more = half_numbers_new(dtype, n * n_rows, 12, 1, 0);
    float *gamma = rig_random_new(n, 13), *beta = rig_random_new(n, 14);
    bool residual = !l2 && (how & 2) != 0;
    double *want = rig_doubles_new(n * n_rows);
    struct rig r;

    for (size_t row = 0; row < n_rows; row++)
        reference_norm(op, x.value + row * n, residual ? more.value + row * n : NULL,
                       l2 ? NULL : gamma, layer ? beta : NULL, n, want + row * n);
    half_begin(&r);
    r.in_place = (how & 4) != 0;
    rig_input(&r, dtype, 2, DIMS((int64_t)n_rows, length), x.half);
    for (size_t i = 0; i < (l2 ? 0u : layer ? 2u : 1u); i++)
        ((how & 1) != 0 ? rig_constant : rig_input)(&r, F32, 1, &length, i == 0 ? gamma : beta);
    if (residual)
        rig_input(&r, dtype, 2, DIMS((int64_t)n_rows, length), more.half);
    rig_node(&r, op, 1);
    rig_run(&r);
    half_near(enso_op_name(op), dtype, r.in_place ? r.inputs[0].data : r.outputs[0].data, want,
              n * n_rows, 4e-6, 1e-6);
    rig_done(&r);
    half_numbers_free(x);
    half_numbers_free(more);
    free(gamma);
    free(beta);
    free(want);
}

START_TEST(test_norms_of_rows)
{
    static const enum enso_op ops[] = {ENSO_OP_LAYER_NORM, ENSO_OP_RMS_NORM, ENSO_OP_L2_NORMALIZE};

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(lengths); i++)
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++)
            for (unsigned how = 0; how < (lengths[i] < 2000 ? 8u : 4u); how += 3)
                one_norm(ops[o], dtype, lengths[i], how);
}
END_TEST

/* Parameters of the activations' own type are widened when they are constants. */
START_TEST(test_norm_with_half_parameters)
{
    enum enso_dtype dtype = half_types[_i];
    struct half_numbers x = half_numbers_new(dtype, 16, 1, 3, 0),
                        p = half_numbers_new(dtype, 16, 2, 1, 0);
    float gamma[8], beta[8];
    double want[16];
    struct rig r;

    if (half_passed_over(dtype))
        return;
    for (size_t i = 0; i < 8; i++) {
        gamma[i] = (float)p.value[i];
        beta[i] = (float)p.value[8 + i];
    }
    for (size_t row = 0; row < 2; row++)
        reference_norm(ENSO_OP_LAYER_NORM, x.value + 8 * row, NULL, gamma, beta, 8, want + 8 * row);
    half_begin(&r);
    rig_input(&r, dtype, 2, DIMS(2, 8), x.half);
    rig_constant(&r, dtype, 1, DIMS(8), p.half);
    rig_constant(&r, dtype, 1, DIMS(8), p.half + 8);
    rig_node(&r, ENSO_OP_LAYER_NORM, 1);
    rig_run(&r);
    half_near("LayerNorm", dtype, r.outputs[0].data, want, 16, 4e-6, 1e-6);
    rig_done(&r);
    half_numbers_free(x);
    half_numbers_free(p);
}
END_TEST

/* What a norm's row holds beside a NaN is a NaN, what its neighbours hold is not. */
START_TEST(test_norm_of_nan)
{
    enum enso_dtype dtype = half_types[_i];
    struct half_numbers x = half_numbers_new(dtype, 3 * 40, 1, 3, 0);
    struct rig r;

    if (half_passed_over(dtype))
        return;
    x.half[43] = half_from(dtype, (double)NAN);
    x.half[47] = half_from(dtype, (double)INFINITY);
    half_begin(&r);
    rig_input(&r, dtype, 2, DIMS(3, 40), x.half);
    rig_node(&r, ENSO_OP_L2_NORMALIZE, 1);
    rig_run(&r);
    for (size_t i = 0; i < 120; i++)
        ck_assert_int_eq(isnan(half_value(dtype, ((uint16_t *)r.outputs[0].data)[i])), i / 40 == 1);
    rig_done(&r);
    half_numbers_free(x);
}
END_TEST

static void reference_softmax(bool logarithm, const double *x, size_t n, size_t step, double *y)
{
    double max = -(double)INFINITY, sum = 0;

    for (size_t i = 0; i < n; i++)
        max = x[i * step] > max ? x[i * step] : max;
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i * step] - max);
    for (size_t i = 0; i < n; i++)
        y[i * step] = logarithm ? x[i * step] - max - log(sum) : exp(x[i * step] - max) / sum;
}

static void one_softmax(bool logarithm, enum enso_dtype dtype, int64_t length, int64_t inner)
{
    size_t n = (size_t)length, step = (size_t)inner, all = 3 * n * step;
    struct half_numbers x = half_numbers_new(dtype, all, 21, 5, 0);
    double *want = rig_doubles_new(all);
    struct rig r;

    x.value[0] = -(double)INFINITY;
    x.half[0] = half_from(dtype, x.value[0]);
    for (size_t i = 0; i < 3 * step; i++) {
        size_t at = i / step * n * step + i % step;

        reference_softmax(logarithm, x.value + at, n, step, want + at);
    }
    half_begin(&r);
    rig_input(&r, dtype, 3, DIMS(3, length, inner), x.half);
    rig_node(&r, logarithm ? ENSO_OP_LOG_SOFTMAX : ENSO_OP_SOFTMAX, 1);
    enso_graph_set_int(r.graph, r.node, "axis", 1);
    rig_run(&r);
    half_near(logarithm ? "LogSoftmax" : "Softmax", dtype, r.outputs[0].data, want, all, 4e-6,
              4e-6);
    rig_done(&r);
    half_numbers_free(x);
    free(want);
}

START_TEST(test_softmax)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned logarithm = 0; logarithm < 2; logarithm++) {
        for (size_t i = 1; i < ENSO_ARRAY_SIZE(lengths); i++)
            one_softmax(logarithm, dtype, lengths[i], 1);
        one_softmax(logarithm, dtype, 40, 5);
        one_softmax(logarithm, dtype, 300, 2);
    }
}
END_TEST

/* ---- reductions ---- */

static double reduction(enum enso_op op, const double *x, size_t n, size_t step)
{
    double sum = op == ENSO_OP_REDUCE_PROD  ? 1
                 : op == ENSO_OP_REDUCE_MAX ? -(double)INFINITY
                 : op == ENSO_OP_REDUCE_MIN ? (double)INFINITY
                                            : 0;

    for (size_t i = 0; i < n; i++) {
        double v = x[i * step];

        switch (op) {
        case ENSO_OP_REDUCE_PROD:
            sum *= v;
            break;
        case ENSO_OP_REDUCE_MAX:
            sum = v > sum ? v : sum;
            break;
        case ENSO_OP_REDUCE_MIN:
            sum = v < sum ? v : sum;
            break;
        case ENSO_OP_REDUCE_L1:
            sum += fabs(v);
            break;
        case ENSO_OP_REDUCE_L2:
        case ENSO_OP_REDUCE_SUM_SQUARE:
            sum += v * v;
            break;
        case ENSO_OP_REDUCE_LOG_SUM_EXP:
            sum += exp(v);
            break;
        default:
            sum += v;
        }
    }
    return op == ENSO_OP_REDUCE_MEAN                                          ? sum / (double)n
           : op == ENSO_OP_REDUCE_L2                                          ? sqrt(sum)
           : op == ENSO_OP_REDUCE_LOG_SUM || op == ENSO_OP_REDUCE_LOG_SUM_EXP ? log(sum)
                                                                              : sum;
}

static void one_reduction(enum enso_op op, enum enso_dtype dtype, int64_t length, int64_t inner)
{
    size_t n = (size_t)length, step = (size_t)inner;
    struct half_numbers x =
        half_numbers_new(dtype, 2 * n * step, 31, op == ENSO_OP_REDUCE_PROD ? 0.01 : 1, 1);
    double *want = rig_doubles_new(2 * step);
    struct rig r;

    for (size_t i = 0; i < 2 * step; i++)
        want[i] = reduction(op, x.value + i / step * n * step + i % step, n, step);
    half_begin(&r);
    rig_input(&r, dtype, 3, DIMS(2, length, inner), x.half);
    rig_node(&r, op, 1);
    enso_graph_set_ints(r.graph, r.node, "axes", DIMS(1), 1);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dtype, dtype);
    half_near(enso_op_name(op), dtype, r.outputs[0].data, want, 2 * step, 0, 1e-12);
    rig_done(&r);
    half_numbers_free(x);
    free(want);
}

START_TEST(test_reductions)
{
    static const enum enso_op ops[] = {ENSO_OP_REDUCE_SUM,     ENSO_OP_REDUCE_MEAN,
                                       ENSO_OP_REDUCE_MAX,     ENSO_OP_REDUCE_MIN,
                                       ENSO_OP_REDUCE_PROD,    ENSO_OP_REDUCE_L1,
                                       ENSO_OP_REDUCE_L2,      ENSO_OP_REDUCE_SUM_SQUARE,
                                       ENSO_OP_REDUCE_LOG_SUM, ENSO_OP_REDUCE_LOG_SUM_EXP};

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
        static const int64_t sizes[] = {1, 9, 33, 1025};

        for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
            one_reduction(ops[o], dtype, sizes[i], 1);
            one_reduction(ops[o], dtype, sizes[i], 3);
        }
    }
}
END_TEST

START_TEST(test_arg)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned which = 0; which < 4; which++) {
        bool min = (which & 1) != 0, nan = (which & 2) != 0;
        struct half_numbers x = half_numbers_new(dtype, 2 * 1100, 41, 100, 0);
        struct rig r;

        if (nan)
            x.half[700] = half_from(dtype, (double)NAN);
        half_begin(&r);
        rig_input(&r, dtype, 2, DIMS(2, 1100), x.half);
        rig_node(&r, min ? ENSO_OP_ARG_MIN : ENSO_OP_ARG_MAX, 1);
        enso_graph_set_int(r.graph, r.node, "axis", 1);
        rig_run(&r);
        for (size_t row = 0; row < 2; row++) {
            const double *v = x.value + 1100 * row;
            size_t best = 0;

            for (size_t i = 1; i < 1100; i++)
                if (min ? v[i] < v[best] : v[i] > v[best])
                    best = i;
            ck_assert_int_eq(((int64_t *)r.outputs[0].data)[row],
                             nan && row == 0 ? 700 : (int64_t)best);
        }
        rig_done(&r);
        half_numbers_free(x);
    }
}
END_TEST

/* ---- channels and windows ---- */

enum { IMAGES = 2, CHANNELS = 5, HEIGHT = 7, WIDTH = 9, PLANE = HEIGHT * WIDTH };

/* BatchNormalization folded and not, InstanceNormalization with constants and tensors. */
static void one_channel_norm(enum enso_dtype dtype, bool batch, bool constant)
{
    size_t all = IMAGES * CHANNELS * PLANE;
    struct half_numbers x = half_numbers_new(dtype, all, 51, 2, 1);
    float p[4][CHANNELS];
    double *want = rig_doubles_new(all);
    struct rig r;

    rig_random(p[0], 4 * CHANNELS, 52);
    for (size_t c = 0; c < CHANNELS; c++)
        p[3][c] = p[3][c] + 1.5f; /* variance */
    for (size_t plane = 0; plane < IMAGES * CHANNELS; plane++) {
        const double *v = x.value + plane * PLANE;
        size_t c = plane % CHANNELS;
        double mean = (double)p[2][c], variance = (double)p[3][c];

        if (!batch) {
            mean = reduction(ENSO_OP_REDUCE_MEAN, v, PLANE, 1);
            variance = 0;
            for (size_t i = 0; i < PLANE; i++)
                variance += (v[i] - mean) * (v[i] - mean) / PLANE;
        }
        for (size_t i = 0; i < PLANE; i++)
            want[plane * PLANE + i] =
                (v[i] - mean) / sqrt(variance + 1e-5) * (double)p[0][c] + (double)p[1][c];
    }
    half_begin(&r);
    rig_input(&r, dtype, 4, DIMS(IMAGES, CHANNELS, HEIGHT, WIDTH), x.half);
    for (size_t i = 0; i < (batch ? 4u : 2u); i++)
        (constant ? rig_constant : rig_input)(&r, F32, 1, DIMS(CHANNELS), p[i]);
    rig_node(&r, batch ? ENSO_OP_BATCH_NORM : ENSO_OP_INSTANCE_NORM, 1);
    rig_run(&r);
    half_near(batch ? "BatchNormalization" : "InstanceNormalization", dtype, r.outputs[0].data,
              want, all, 4e-6, 1e-6);
    rig_done(&r);
    half_numbers_free(x);
    free(want);
}

START_TEST(test_norms_of_channels)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned which = 0; which < 4; which++)
        one_channel_norm(dtype, which & 1, which >> 1);
}
END_TEST

/* Element of [n, c, h, w] in the other layout. */
static size_t place(size_t n, size_t c, size_t at, size_t n_at, bool nhwc)
{
    return nhwc ? (n * n_at + at) * CHANNELS + c : (n * CHANNELS + c) * n_at + at;
}

START_TEST(test_lrn)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned nhwc = 0; nhwc < 2; nhwc++) {
        size_t all = IMAGES * CHANNELS * PLANE;
        struct half_numbers x = half_numbers_new(dtype, all, 61, 4, 0);
        double *want = rig_doubles_new(all);
        struct rig r;

        for (size_t i = 0; i < all; i++) {
            size_t n = i / (CHANNELS * PLANE), c = i / PLANE % CHANNELS, at = i % PLANE;
            double sum = 0;

            for (size_t k = c == 0 ? 0 : c - 1; k <= c + 1 && k < CHANNELS; k++)
                sum += pow(x.value[place(n, k, at, PLANE, nhwc)], 2);
            want[place(n, c, at, PLANE, nhwc)] =
                x.value[place(n, c, at, PLANE, nhwc)] / pow(1 + 0.5 / 3 * sum, 0.75);
        }
        half_begin(&r);
        rig_input(&r, dtype, 4,
                  nhwc ? DIMS(IMAGES, HEIGHT, WIDTH, CHANNELS)
                       : DIMS(IMAGES, CHANNELS, HEIGHT, WIDTH),
                  x.half);
        rig_node(&r, ENSO_OP_LRN, 1);
        enso_graph_set_int(r.graph, r.node, "size", 3);
        enso_graph_set_float(r.graph, r.node, "alpha", 0.5f);
        enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
        rig_run(&r);
        half_near("LRN", dtype, r.outputs[0].data, want, all, 1e-6, 1e-6);
        rig_done(&r);
        half_numbers_free(x);
        free(want);
    }
}
END_TEST

/* 3x2 windows, stride 2, padding 1 that does not count; or, global, the whole plane. */
static void one_pool(enum enso_dtype dtype, bool max, bool nhwc, bool global)
{
    size_t all = IMAGES * CHANNELS * PLANE;
    int64_t high = global ? HEIGHT : 3, wide = global ? WIDTH : 2;
    int64_t step = global ? 1 : 2, pad = global ? 0 : 1;
    int64_t oh = (HEIGHT + 2 * pad - high) / step + 1, ow = (WIDTH + 2 * pad - wide) / step + 1;
    size_t n_out = (size_t)(oh * ow);
    struct half_numbers x = half_numbers_new(dtype, all, 71, 4, 0.5);
    double *want = rig_doubles_new(IMAGES * CHANNELS * n_out);
    struct rig r;

    for (size_t i = 0; i < IMAGES * CHANNELS * n_out; i++) {
        size_t n = i / (CHANNELS * n_out), c = i / n_out % CHANNELS, at = i % n_out;
        double sum = max ? -(double)INFINITY : 0, taps = 0;

        for (int64_t k = 0; k < high * wide; k++) {
            int64_t y = (int64_t)at / ow * step - pad + k / wide;
            int64_t z = (int64_t)at % ow * step - pad + k % wide;

            if (y < 0 || y >= HEIGHT || z < 0 || z >= WIDTH)
                continue;
            double v = x.value[place(n, c, (size_t)(y * WIDTH + z), PLANE, nhwc)];

            sum = !max ? sum + v : v > sum ? v : sum;
            taps++;
        }
        want[place(n, c, at, n_out, nhwc)] = max ? sum : sum / taps;
    }
    half_begin(&r);
    rig_input(&r, dtype, 4,
              nhwc ? DIMS(IMAGES, HEIGHT, WIDTH, CHANNELS) : DIMS(IMAGES, CHANNELS, HEIGHT, WIDTH),
              x.half);
    rig_node(&r,
             global ? (max ? ENSO_OP_GLOBAL_MAX_POOL : ENSO_OP_GLOBAL_AVERAGE_POOL)
                    : (max ? ENSO_OP_MAX_POOL : ENSO_OP_AVERAGE_POOL),
             1);
    if (!global) {
        enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(high, wide), 2);
        enso_graph_set_ints(r.graph, r.node, "strides", DIMS(step, step), 2);
        enso_graph_set_ints(r.graph, r.node, "pads", DIMS(pad, pad, pad, pad), 4);
    }
    enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
    rig_run(&r);
    ck_assert_uint_eq((size_t)enso_tensor_count(&r.outputs[0]), IMAGES * CHANNELS * n_out);
    if (max)
        half_exact("MaxPool", dtype, r.outputs[0].data, want, IMAGES * CHANNELS * n_out);
    else
        half_near("AveragePool", dtype, r.outputs[0].data, want, IMAGES * CHANNELS * n_out, 1e-6,
                  0);
    rig_done(&r);
    half_numbers_free(x);
    free(want);
}

START_TEST(test_pools)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned which = 0; which < 8; which++)
        one_pool(dtype, which & 1, which >> 1 & 1, which >> 2);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/half_rows");
    TCase *core = tcase_create("core");

    tcase_add_loop_test(core, test_norms_of_rows, 0, 2);
    tcase_add_loop_test(core, test_norm_with_half_parameters, 0, 2);
    tcase_add_loop_test(core, test_norm_of_nan, 0, 2);
    tcase_add_loop_test(core, test_softmax, 0, 2);
    tcase_add_loop_test(core, test_reductions, 0, 2);
    tcase_add_loop_test(core, test_arg, 0, 2);
    tcase_add_loop_test(core, test_norms_of_channels, 0, 2);
    tcase_add_loop_test(core, test_lrn, 0, 2);
    tcase_add_loop_test(core, test_pools, 0, 2);
    suite_add_tcase(s, core);
    return s;
}

int main(void)
{
    return rig_main_of_halves(suite);
}
