/* SPDX-License-Identifier: Apache-2.0
 *
 * Corners of the operators of networks that hold on every device, whichever backend runs: all types
 * of reductions, searches, pools and products, rows longer than a block of threads, one and three
 * spatial dimensions, stacks that broadcast, heads larger than registers, outputs in place of
 * inputs. And what the batcher rests on: what stands beside a sequence, a row or an image, infinite
 * or not a number, leaves its result's bits alone.
 *
 * Tolerances: see check_network.c; norms and softmax of rows of thousands 4e-6 on results of order
 * 1 (a sum of n numbers in single by blocks rounds by some 2^-24 · log n). Integers are exact.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define F64 ENSO_DTYPE_F64
#define I32 ENSO_DTYPE_I32
#define I64 ENSO_DTYPE_I64

static void *zeros(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);

    ck_assert_ptr_nonnull(p);
    return p;
}

/* ---- integers ---- */

static const enum enso_dtype integers[] = {ENSO_DTYPE_I8,  ENSO_DTYPE_U8,  ENSO_DTYPE_I16,
                                           ENSO_DTYPE_U16, ENSO_DTYPE_I32, ENSO_DTYPE_U32,
                                           ENSO_DTYPE_I64, ENSO_DTYPE_U64};

/* Element i, wrapped to 64 bits with its sign. */
static int64_t get(enum enso_dtype dtype, const void *data, size_t i)
{
    switch (dtype) {
    case ENSO_DTYPE_I8:
        return ((const int8_t *)data)[i];
    case ENSO_DTYPE_U8:
        return ((const uint8_t *)data)[i];
    case ENSO_DTYPE_I16:
        return ((const int16_t *)data)[i];
    case ENSO_DTYPE_U16:
        return ((const uint16_t *)data)[i];
    case ENSO_DTYPE_I32:
        return ((const int32_t *)data)[i];
    case ENSO_DTYPE_U32:
        return ((const uint32_t *)data)[i];
    default:
        return ((const int64_t *)data)[i];
    }
}

/* What is left of v in the type. */
static int64_t cut(enum enso_dtype dtype, int64_t v)
{
    return get(dtype, &v, 0); /* little-endian */
}

/* Numbers of all sizes, the ends of the type among them. */
static void *random_integers(enum enso_dtype dtype, size_t n, unsigned seed)
{
    size_t bytes = enso_dtype_row_bytes(dtype, 1);
    unsigned char *data = zeros(n, bytes);
    uint64_t state = seed;

    for (size_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t v = state >> 32 >> (i % 3) * 12;

        v = i % 97 == 5 ? UINT64_MAX : i % 89 == 7 ? (uint64_t)1 << (8 * bytes - 1) : v;
        memcpy(data + i * bytes, &v, bytes);
    }
    return data;
}

/* x[i · stride], i < n; the type's bits of the result are right whatever its sign. */
static int64_t reduce_integers(enum enso_op op, enum enso_dtype dtype, const void *x, size_t at,
                               size_t n, size_t stride)
{
    int64_t first = get(dtype, x, at), max = first, min = first;
    uint64_t sum = 0, product = 1, absolute = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t v = get(dtype, x, at + i * stride);

        max = v > max ? v : max;
        min = v < min ? v : min;
        sum += (uint64_t)v;
        product *= (uint64_t)v;
        absolute += v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        squares += (uint64_t)v * (uint64_t)v;
    }
    return op == ENSO_OP_REDUCE_MAX    ? max
           : op == ENSO_OP_REDUCE_MIN  ? min
           : op == ENSO_OP_REDUCE_SUM  ? (int64_t)sum
           : op == ENSO_OP_REDUCE_PROD ? (int64_t)product
           : op == ENSO_OP_REDUCE_L1   ? (int64_t)absolute
           : op == ENSO_OP_REDUCE_MEAN ? (int64_t)sum / (int64_t)n
                                       : (int64_t)squares;
}

START_TEST(test_reduce_integers)
{
    static const enum enso_op ops[] = {
        ENSO_OP_REDUCE_SUM,  ENSO_OP_REDUCE_MEAN, ENSO_OP_REDUCE_MAX,       ENSO_OP_REDUCE_MIN,
        ENSO_OP_REDUCE_PROD, ENSO_OP_REDUCE_L1,   ENSO_OP_REDUCE_SUM_SQUARE};
    enum { ROWS = 2, N = 1100 };

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(integers); t++)
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++)
            for (int64_t axis = 0; axis < 2; axis++) {
                size_t n = axis == 0 ? ROWS : N, count = axis == 0 ? N : ROWS;
                void *x = random_integers(integers[t], ROWS * N, (unsigned)(t * 100 + o));
                struct rig r;

                rig_init(&r, "generic", 2);
                rig_input(&r, integers[t], 2, DIMS(ROWS, N), x);
                rig_constant(&r, I64, 1, DIMS(1), &axis);
                rig_node(&r, ops[o], 1);
                rig_run(&r);
                for (size_t i = 0; i < count; i++) {
                    int64_t want = reduce_integers(ops[o], integers[t], x, axis == 0 ? i : i * N, n,
                                                   axis == 0 ? N : 1);
                    int64_t got = get(integers[t], r.outputs[0].data, i);

                    ck_assert_msg(got == cut(integers[t], want), "%s of %s, %zu: %lld, not %lld",
                                  enso_op_name(ops[o]), enso_dtype_name(integers[t]), i,
                                  (long long)got, (long long)want);
                }
                rig_done(&r);
                free(x);
            }
}
END_TEST

START_TEST(test_reduce_booleans)
{
    uint8_t x[200] = {0};
    struct rig r;

    x[133] = 1;
    for (unsigned min = 0; min < 2; min++) {
        rig_init(&r, "generic", 1);
        rig_input(&r, ENSO_DTYPE_BOOL, 2, DIMS(2, 100), x);
        rig_constant(&r, I64, 1, DIMS(1), DIMS(1));
        rig_node(&r, min ? ENSO_OP_REDUCE_MIN : ENSO_OP_REDUCE_MAX, 1);
        rig_run(&r);
        ck_assert_uint_eq(((uint8_t *)r.outputs[0].data)[0], 0);
        ck_assert_uint_eq(((uint8_t *)r.outputs[0].data)[1], min ? 0 : 1);
        rig_done(&r);
    }
}
END_TEST

/* Axes apart, in double; a mean over nothing is not a number; a scalar stays. */
START_TEST(test_reduce_double)
{
    enum { A = 3, B = 5, C = 40 };
    double x[A * B * C], want[B] = {0};
    struct rig r;

    for (size_t i = 0; i < A * B * C; i++) {
        x[i] = sin((double)i) * 1e3;
        want[i / C % B] += exp(x[i] - 1000);
    }
    rig_init(&r, "generic", 1);
    rig_input(&r, F64, 3, DIMS(A, B, C), x);
    rig_constant(&r, I64, 1, DIMS(2), DIMS(0, 2));
    rig_node(&r, ENSO_OP_REDUCE_LOG_SUM_EXP, 1);
    rig_run(&r);
    for (size_t i = 0; i < B; i++)
        ck_assert_double_eq_tol(((double *)r.outputs[0].data)[i], log(want[i]) + 1000, 1e-11);
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F64, 2, DIMS(2, 0), NULL);
    rig_constant(&r, I64, 1, DIMS(1), DIMS(1));
    rig_node(&r, ENSO_OP_REDUCE_MEAN, 1);
    rig_run(&r);
    ck_assert(isnan(((double *)r.outputs[0].data)[1]));
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F64, 0, NULL, x + 1);
    rig_node(&r, ENSO_OP_REDUCE_L2, 1);
    rig_run(&r);
    ck_assert_double_eq_tol(*(double *)r.outputs[0].data, fabs(x[1]), 1e-10);
    rig_done(&r);
}
END_TEST

/* Sums that nearly cancel are right to the last bit of the result. */
START_TEST(test_reduce_cancelling_rows)
{
    enum { N = 5000 };
    static float x[2 * N];
    double want[2] = {0};

    rig_random(x, 2 * N, 21);
    for (size_t i = 0; i < 2 * N; i++)
        want[i / N] += (double)x[i];
    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        struct rig r;

        rig_init(&r, *set, 2);
        rig_input(&r, F32, 2, DIMS(2, N), x);
        rig_constant(&r, I64, 1, DIMS(1), DIMS(-1));
        rig_node(&r, ENSO_OP_REDUCE_SUM, 1);
        rig_run(&r);
        rig_near("ReduceSum", r.outputs[0].data, want, 2, 0, 1.2e-7);
        rig_done(&r);
    }
}
END_TEST

/* ---- searches ---- */

static size_t search(enum enso_dtype dtype, const void *x, size_t at, size_t n, size_t stride,
                     bool min, bool last)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++) {
        int64_t v = get(dtype, x, at + i * stride), b = get(dtype, x, at + best * stride);
        bool better = min ? v < b : v > b;

        if (dtype == ENSO_DTYPE_U64)
            better = min ? (uint64_t)v < (uint64_t)b : (uint64_t)v > (uint64_t)b;
        if (better || (last && v == b))
            best = i;
    }
    return best;
}

START_TEST(test_arg_integers)
{
    enum { ROWS = 3, N = 1500 };

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(integers); t++)
        for (unsigned which = 0; which < 8; which++) {
            bool min = which & 1, last = which & 2;
            int64_t axis = which >> 2;
            size_t n = axis == 0 ? ROWS : N, count = axis == 0 ? N : ROWS;
            void *x = random_integers(integers[t], ROWS * N, (unsigned)t);
            struct rig r;

            rig_init(&r, "generic", 2);
            rig_input(&r, integers[t], 2, DIMS(ROWS, N), x);
            rig_node(&r, min ? ENSO_OP_ARG_MIN : ENSO_OP_ARG_MAX, 1);
            enso_graph_set_int(r.graph, r.node, "axis", axis);
            enso_graph_set_int(r.graph, r.node, "select_last_index", last);
            rig_run(&r);
            for (size_t i = 0; i < count; i++)
                ck_assert_int_eq(((int64_t *)r.outputs[0].data)[i],
                                 (int64_t)search(integers[t], x, axis == 0 ? i : i * N, n,
                                                 axis == 0 ? N : 1, min, last));
            rig_done(&r);
            free(x);
        }
}
END_TEST

START_TEST(test_arg_long_rows)
{
    enum { N = 1300 };
    float x[3 * N];

    for (size_t i = 0; i < 3 * N; i++)
        x[i] = (float)(i * 7919 % 1000);
    x[N + 700] = x[N + 300] = NAN; /* the first of them wins */
    x[2 * N + 1299] = INFINITY;
    for (unsigned min = 0; min < 2; min++) {
        struct rig r;

        rig_init(&r, "generic", 1);
        rig_input(&r, F32, 2, DIMS(3, N), x);
        rig_node(&r, min ? ENSO_OP_ARG_MIN : ENSO_OP_ARG_MAX, 1);
        enso_graph_set_int(r.graph, r.node, "axis", 1);
        rig_run(&r);
        const int64_t *y = r.outputs[0].data;
        ck_assert_float_eq(x[y[0]], min ? 0 : 999);
        ck_assert_int_eq(y[1], 300);
        if (!min)
            ck_assert_int_eq(y[2], 1299);
        rig_done(&r);
    }
}
END_TEST

/* ---- long rows ---- */

START_TEST(test_long_rows)
{
    static const enum enso_op ops[] = {ENSO_OP_SOFTMAX, ENSO_OP_LOG_SOFTMAX, ENSO_OP_LAYER_NORM,
                                       ENSO_OP_RMS_NORM, ENSO_OP_L2_NORMALIZE};
    enum { M = 2, N = 3001 };
    float *x = rig_random_new(M * N, 31), *gamma = rig_random_new(N, 32);
    double *want = zeros(M * N, sizeof(*want));

    for (size_t i = 0; i < M * N; i++)
        x[i] = x[i] * 3 + 5; /* a mean that cancels in the variance */
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t o = 0; o < 2 * ENSO_ARRAY_SIZE(ops); o++) {
            enum enso_op op = ops[o / 2];
            bool in_place = o % 2 == 1 && enso_op_works_in_place(op);
            struct rig r;

            for (size_t i = 0; i < M; i++) {
                const float *row = x + i * N;
                double sum = 0, mean = 0, squares = 0, exps = 0;

                for (size_t j = 0; j < N; j++) {
                    mean += (double)row[j] / N;
                    sum += (double)row[j] * (double)row[j];
                    exps += exp((double)row[j]);
                }
                for (size_t j = 0; j < N; j++)
                    squares += pow((double)row[j] - mean, 2);
                for (size_t j = 0; j < N; j++) {
                    double v = (double)row[j], g = (double)gamma[j];

                    want[i * N + j] = op == ENSO_OP_SOFTMAX       ? exp(v) / exps
                                      : op == ENSO_OP_LOG_SOFTMAX ? v - log(exps)
                                      : op == ENSO_OP_LAYER_NORM
                                          ? (v - mean) / sqrt(squares / N + 1e-5) * g + g
                                      : op == ENSO_OP_RMS_NORM ? v / sqrt(sum / N + 1e-5) * g
                                                               : v / sqrt(sum);
                }
            }
            rig_init(&r, *set, 2);
            rig_input(&r, F32, 2, DIMS(M, N), x);
            if (op == ENSO_OP_LAYER_NORM || op == ENSO_OP_RMS_NORM)
                rig_constant(&r, F32, 1, DIMS(N), gamma);
            if (op == ENSO_OP_LAYER_NORM)
                rig_constant(&r, F32, 1, DIMS(N), gamma);
            rig_node(&r, op, 1);
            r.in_place = in_place;
            rig_run(&r);
            rig_near(enso_op_name(op), in_place ? r.inputs[0].data : r.outputs[0].data, want, M * N,
                     4e-6, 1e-6);
            rig_done(&r);
        }
    free(x);
    free(gamma);
    free(want);
}
END_TEST

START_TEST(test_softmax_double)
{
    double x[2 * 3 * 2] = {0, 300, 1, 305, 2, 0, -3, 4, 5, 6, 7, 8};

    for (unsigned logarithm = 0; logarithm < 2; logarithm++) {
        struct rig r;

        rig_init(&r, "generic", 1);
        rig_input(&r, F64, 3, DIMS(2, 3, 2), x);
        rig_node(&r, logarithm ? ENSO_OP_LOG_SOFTMAX : ENSO_OP_SOFTMAX, 1);
        enso_graph_set_int(r.graph, r.node, "axis", 1);
        rig_run(&r);
        for (size_t i = 0; i < 12; i++) {
            size_t first = i / 6 * 6 + i % 2;
            double sum = 0;

            for (size_t j = 0; j < 3; j++)
                sum += exp(x[first + 2 * j] - x[i]);
            ck_assert_double_eq_tol(((double *)r.outputs[0].data)[i],
                                    logarithm ? -log(sum) : 1 / sum, 1e-12);
        }
        rig_done(&r);
    }
}
END_TEST

/* ---- pools and convolutions ---- */

START_TEST(test_pool_types)
{
    static const enum enso_dtype types[] = {ENSO_DTYPE_I8, ENSO_DTYPE_U8, F64};
    enum { C = 3, L = 11 };

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(types); t++)
        for (unsigned average = 0; average < (types[t] == F64 ? 2u : 1u); average++) {
            double x[C * L];
            int8_t small[C * L];
            struct rig r;

            for (size_t i = 0; i < C * L; i++) {
                small[i] = (int8_t)(i * 89 + 100);
                x[i] = types[t] == ENSO_DTYPE_U8 ? (double)(uint8_t)small[i] : (double)small[i];
            }
            rig_init(&r, "generic", 1);
            rig_input(&r, types[t], 3, DIMS(1, C, L), types[t] == F64 ? (void *)x : (void *)small);
            rig_node(&r, average ? ENSO_OP_AVERAGE_POOL : ENSO_OP_MAX_POOL, 1);
            enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(3), 1);
            enso_graph_set_ints(r.graph, r.node, "strides", DIMS(2), 1);
            enso_graph_set_ints(r.graph, r.node, "pads", DIMS(1, 1), 2);
            rig_run(&r);
            ck_assert_int_eq(r.outputs[0].dims[2], 6);
            for (size_t i = 0; i < C * 6; i++) {
                double sum = 0, n = 0, max = -1e9;

                for (int64_t at = (int64_t)(i % 6) * 2 - 1; at < (int64_t)(i % 6) * 2 + 2; at++)
                    if (at >= 0 && at < L) {
                        double v = x[i / 6 * L + (size_t)at];

                        sum += v;
                        n++;
                        max = fmax(max, v);
                    }
                double got = types[t] == F64             ? ((double *)r.outputs[0].data)[i]
                             : types[t] == ENSO_DTYPE_U8 ? (double)((uint8_t *)r.outputs[0].data)[i]
                                                         : (double)((int8_t *)r.outputs[0].data)[i];
                ck_assert_double_eq_tol(got, average ? sum / n : max, 1e-12);
            }
            rig_done(&r);
        }
}
END_TEST

struct conv_case {
    size_t rank; /* spatial */
    int64_t n, c, m, group, in[3], kernel[3], strides[3], dilations[3], begin[3], end[3];
};

static const struct conv_case convs[] = {
    {1, 2, 6, 9, 3, {1, 1, 23}, {1, 1, 4}, {1, 1, 2}, {1, 1, 3}, {0, 0, 5}, {0, 0, 2}},
    {3, 2, 4, 6, 2, {5, 4, 7}, {3, 2, 3}, {2, 1, 2}, {1, 2, 1}, {1, 1, 0}, {1, 0, 2}},
    {3, 1, 3, 3, 3, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
};

static double conv_at(const struct conv_case *z, const float *x, const float *w, int64_t image,
                      int64_t m, const int64_t *at)
{
    const int64_t *k = z->kernel, *in = z->in;
    int64_t cg = z->c / z->group, taps = k[0] * k[1] * k[2];
    double sum = 0;

    for (int64_t c = 0; c < cg; c++)
        for (int64_t t = 0; t < taps; t++) {
            int64_t tap[3] = {t / (k[1] * k[2]), t / k[2] % k[1], t % k[2]}, from = 0;
            bool inside = true;

            for (size_t d = 0; d < 3; d++) {
                int64_t i = at[d] * z->strides[d] + tap[d] * z->dilations[d] - z->begin[d];

                inside = inside && i >= 0 && i < in[d];
                from = from * in[d] + i;
            }
            if (inside)
                sum +=
                    (double)w[(m * cg + c) * taps + t] *
                    (double)
                        x[(image * z->c + m / (z->m / z->group) * cg + c) * in[0] * in[1] * in[2] +
                          from];
        }
    return sum;
}

static void one_conv(const struct conv_case *z)
{
    const size_t skip = 3 - z->rank; /* leading spatial dimensions of 1 are left out */
    int64_t out[3], pads[6], dims[5] = {z->n, z->c}, w_dims[5] = {z->m, z->c / z->group};
    size_t n_x = (size_t)(z->n * z->c), n_w = (size_t)(z->m * z->c / z->group);
    struct rig r;

    for (size_t d = 0; d < 3; d++) {
        out[d] = (z->in[d] + z->begin[d] + z->end[d] - (z->kernel[d] - 1) * z->dilations[d] - 1) /
                     z->strides[d] +
                 1;
        n_x *= (size_t)z->in[d];
        n_w *= (size_t)z->kernel[d];
    }
    for (size_t d = 0; d < z->rank; d++) {
        dims[2 + d] = z->in[skip + d];
        w_dims[2 + d] = z->kernel[skip + d];
        pads[d] = z->begin[skip + d];
        pads[z->rank + d] = z->end[skip + d];
    }
    float *x = rig_random_new(n_x, 41), *w = rig_random_new(n_w, 42);
    size_t n_y = (size_t)(z->n * z->m * out[0] * out[1] * out[2]);
    double *want = zeros(n_y, sizeof(*want));

    for (size_t i = 0; i < n_y; i++) {
        int64_t p = (int64_t)i, at[3];

        for (size_t d = 3; d-- > 0; p /= out[d])
            at[d] = p % out[d];
        want[i] = conv_at(z, x, w, p / z->m, p % z->m, at);
    }
    rig_init(&r, "generic", 2);
    rig_input(&r, F32, 2 + z->rank, dims, x);
    rig_constant(&r, F32, 2 + z->rank, w_dims, w);
    rig_node(&r, ENSO_OP_CONV, 1);
    enso_graph_set_ints(r.graph, r.node, "strides", z->strides + skip, z->rank);
    enso_graph_set_ints(r.graph, r.node, "dilations", z->dilations + skip, z->rank);
    enso_graph_set_ints(r.graph, r.node, "pads", pads, 2 * z->rank);
    enso_graph_set_int(r.graph, r.node, "group", z->group);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)n_y);
    rig_near("Conv", r.outputs[0].data, want, n_y, 1e-5, 1e-6);
    rig_done(&r);
    free(x);
    free(w);
    free(want);
}

START_TEST(test_conv_dimensions_and_groups)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(convs); i++)
        one_conv(&convs[i]);
}
END_TEST

/* ---- products ---- */

/* [2, 1, 5, 7] times [3, 7, 4]: both stacks broadcast. */
START_TEST(test_matmul_types_and_stacks)
{
    static const enum enso_dtype types[] = {F32, F64, I32, ENSO_DTYPE_U32, I64, ENSO_DTYPE_U64};
    int64_t a[70], b[84];

    for (size_t i = 0; i < 70; i++)
        a[i] = (int64_t)(i * 37 % 23) - 9;
    for (size_t i = 0; i < 84; i++)
        b[i] = (int64_t)(i * 29 % 19) - 8;
    for (size_t t = 0; t < ENSO_ARRAY_SIZE(types); t++) {
        size_t bytes = enso_dtype_row_bytes(types[t], 1);
        union {
            float f32[84];
            double f64[84];
            uint32_t i32[84];
            int64_t i64[84];
        } x, w;
        struct rig r;

        for (unsigned which = 0; which < 2; which++)
            for (size_t i = 0; i < (which ? 84u : 70u); i++) {
                int64_t v = which ? b[i] : a[i];

                if (types[t] == F32)
                    (which ? &w : &x)->f32[i] = (float)v;
                else if (types[t] == F64)
                    (which ? &w : &x)->f64[i] = (double)v;
                else if (bytes == 4)
                    (which ? &w : &x)->i32[i] = (uint32_t)v;
                else
                    (which ? &w : &x)->i64[i] = v;
            }
        rig_init(&r, "generic", 2);
        rig_input(&r, types[t], 4, DIMS(2, 1, 5, 7), &x);
        rig_input(&r, types[t], 3, DIMS(3, 7, 4), &w);
        rig_node(&r, ENSO_OP_MATMUL, 1);
        rig_run(&r);
        ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), 120);
        for (size_t i = 0; i < 120; i++) {
            size_t column = i % 4, row = i / 4 % 5, sb = i / 20 % 3, sa = i / 60;
            int64_t want = 0;

            for (size_t l = 0; l < 7; l++)
                want += a[(sa * 5 + row) * 7 + l] * b[(sb * 7 + l) * 4 + column];
            int64_t got = types[t] == F32   ? (int64_t)((float *)r.outputs[0].data)[i]
                          : types[t] == F64 ? (int64_t)((double *)r.outputs[0].data)[i]
                                            : get(types[t], r.outputs[0].data, i);
            ck_assert_int_eq(got, bytes == 4 && types[t] != F32 ? cut(types[t], want) : want);
        }
        rig_done(&r);
    }
}
END_TEST

/* ---- ragged batches ---- */

static const int32_t starts[] = {0, 5, 38, 38, 39, 110};
enum { N_SEQUENCES = ENSO_ARRAY_SIZE(starts) - 1, N_TOKENS = 110 };

static void attention_reference(const float *qkv, size_t heads, size_t size, double *y)
{
    size_t width = heads * size, ld = 3 * width;
    double p[N_TOKENS];

    for (size_t s = 0; s < N_SEQUENCES; s++)
        for (size_t i = (size_t)starts[s]; i < (size_t)starts[s + 1]; i++)
            for (size_t h = 0; h < heads; h++) {
                double sum = 0;

                for (size_t j = (size_t)starts[s]; j < (size_t)starts[s + 1]; j++) {
                    double dot = 0;

                    for (size_t l = 0; l < size; l++)
                        dot += (double)qkv[i * ld + h * size + l] *
                               (double)qkv[j * ld + width + h * size + l];
                    sum += p[j] = exp(dot / sqrt((double)size));
                }
                for (size_t l = 0; l < size; l++) {
                    double *to = y + i * width + h * size + l;

                    *to = 0;
                    for (size_t j = (size_t)starts[s]; j < (size_t)starts[s + 1]; j++)
                        *to += p[j] / sum * (double)qkv[j * ld + 2 * width + h * size + l];
                }
            }
}

START_TEST(test_attention_large_heads)
{
    static const size_t sizes[] = {80, 128, 130, 300};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t z = 0; z < ENSO_ARRAY_SIZE(sizes); z++) {
            size_t size = sizes[z], width = 2 * size;
            float *qkv = rig_random_new(N_TOKENS * 3 * width, 51);
            double *want = zeros(N_TOKENS * width, sizeof(*want));
            struct rig r;

            attention_reference(qkv, 2, size, want);
            rig_init(&r, *set, 2);
            rig_input(&r, F32, 2, DIMS(N_TOKENS, (int64_t)(3 * width)), qkv);
            rig_input(&r, I32, 1, DIMS(N_SEQUENCES + 1), starts);
            rig_node(&r, ENSO_OP_ATTENTION, 1);
            enso_graph_set_int(r.graph, r.node, "heads", 2);
            enso_graph_set_int(r.graph, r.node, "size", (int64_t)size);
            rig_run(&r);
            rig_near("ATTENTION", r.outputs[0].data, want, N_TOKENS * width, 2e-6, 0);
            rig_done(&r);
            free(qkv);
            free(want);
        }
}
END_TEST

START_TEST(test_embedding_of_words_alone)
{
    float *words = rig_random_new(9 * 1300, 52);
    const int32_t tokens[3] = {8, 0, 3};

    for (unsigned segments = 0; segments < 2; segments++) {
        double want[3900];
        struct rig r;

        for (size_t i = 0; i < 3900; i++)
            want[i] = (double)words[(size_t)tokens[i / 1300] * 1300 + i % 1300] +
                      (segments ? (double)words[i % 1300] : 0);
        rig_init(&r, "generic", 2);
        rig_input(&r, I32, 1, DIMS(3), tokens);
        rig_constant(&r, F32, 2, DIMS(9, 1300), words);
        if (segments) { /* a table without numbers: its row 0 for all */
            for (unsigned i = 0; i < 3; i++)
                rig_absent(&r);
            rig_constant(&r, F32, 2, DIMS(2, 1300), words);
        }
        rig_node(&r, ENSO_OP_EMBEDDING, 1);
        rig_run(&r);
        rig_near("EMBEDDING", r.outputs[0].data, want, 3900, 1e-7, 1e-7);
        ((int32_t *)r.inputs[0].data)[1] = -1;
        ck_assert_int_eq(rig_try_run(&r), ENSO_INVALID);
        rig_done(&r);
    }
    free(words);
}
END_TEST

START_TEST(test_sequence_pool_of_nothing)
{
    static const char *const modes[] = {"mean", "cls", "last", "max"};
    float *x = rig_random_new(N_TOKENS * 3, 53);

    for (size_t m = 0; m < 4; m++) {
        struct rig r;

        rig_init(&r, "generic", 1);
        rig_input(&r, F32, 2, DIMS(N_TOKENS, 3), x);
        rig_input(&r, I32, 1, DIMS(N_SEQUENCES + 1), starts);
        rig_node(&r, ENSO_OP_SEQUENCE_POOL, 1);
        enso_graph_set_string(r.graph, r.node, "mode", modes[m]);
        rig_run(&r);
        for (size_t c = 0; c < 3; c++) /* sequence 2 is empty, sequence 3 has one token */
            ck_assert_float_eq(((float *)r.outputs[0].data)[2 * 3 + c], 0);
        ck_assert_mem_eq((float *)r.outputs[0].data + 3 * 3, x + 38 * 3, 3 * sizeof(float));
        ((int32_t *)r.inputs[1].data)[2] = 1 << 30; /* refused, and nothing is read there */
        ck_assert_int_eq(rig_try_run(&r), ENSO_INTERNAL);
        rig_done(&r);
    }
    free(x);
}
END_TEST

/* ---- neighbours ---- */

static void poison(float *x, size_t n, unsigned seed)
{
    static const float worst[] = {NAN, INFINITY, -INFINITY, 3e38f};

    for (size_t i = 0; i < n; i++)
        x[i] = worst[(i + seed) % ENSO_ARRAY_SIZE(worst)];
}

/* Run as it is; then, for each of n_items slices of input 0, again with poison in all others: that
 * slice of the output keeps its bits. Item i is rows [bounds[i], bounds[i + 1]) of the input, and
 * of the output too or, pooled, row i. */
static void check_neighbours(struct rig *r, const char *what, const int32_t *bounds, size_t n_items,
                             bool pooled)
{
    rig_run(r);

    size_t n_rows = (size_t)bounds[n_items], out_rows = pooled ? n_items : n_rows;
    size_t in_row = (size_t)enso_tensor_count(&r->inputs[0]) / n_rows;
    size_t out_row = (size_t)enso_tensor_count(&r->outputs[0]) / out_rows;
    size_t in_bytes = n_rows * in_row * sizeof(float);
    size_t out_bytes = out_rows * out_row * sizeof(float);
    float *x = r->inputs[0].data, *clean = malloc(in_bytes), *want = malloc(out_bytes);

    ck_assert_ptr_nonnull(clean);
    ck_assert_ptr_nonnull(want);
    memcpy(clean, x, in_bytes);
    memcpy(want, r->outputs[0].data, out_bytes);
    for (size_t i = 0; i < n_items; i++) {
        size_t first = (size_t)bounds[i], n = (size_t)bounds[i + 1] - first;
        size_t at = (pooled ? i : first) * out_row, count = (pooled ? 1 : n) * out_row;

        poison(x, n_rows * in_row, (unsigned)i);
        memcpy(x + first * in_row, clean + first * in_row, n * in_row * sizeof(float));
        rig_run(r);
        ck_assert_msg(memcmp((float *)r->outputs[0].data + at, want + at, count * sizeof(float)) ==
                          0,
                      "%s: item %zu saw its neighbours", what, i);
    }
    free(clean);
    free(want);
    rig_done(r);
}

START_TEST(test_sequences_do_not_see_each_other)
{
    static const char *const modes[] = {"mean", "cls", "last", "max"};
    static const size_t sizes[] = {24, 64, 300};
    float *x = rig_random_new(N_TOKENS * 3 * 600, 61);

    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        struct rig r;

        for (unsigned which = 0; which < 2 * ENSO_ARRAY_SIZE(sizes); which++) {
            size_t size = sizes[which / 2];

            rig_init(&r, *set, 2);
            rig_input(&r, F32, 2, DIMS(N_TOKENS, (int64_t)(6 * size)), x);
            rig_input(&r, I32, 1, DIMS(N_SEQUENCES + 1), starts);
            rig_node(&r, ENSO_OP_ATTENTION, 1);
            enso_graph_set_int(r.graph, r.node, "heads", 2);
            enso_graph_set_int(r.graph, r.node, "size", (int64_t)size);
            enso_graph_set_int(r.graph, r.node, "causal", which & 1);
            check_neighbours(&r, "ATTENTION", starts, N_SEQUENCES, false);
        }
        for (size_t m = 0; m < 4; m++) {
            rig_init(&r, *set, 2);
            rig_input(&r, F32, 2, DIMS(N_TOKENS, 37), x);
            rig_input(&r, I32, 1, DIMS(N_SEQUENCES + 1), starts);
            rig_node(&r, ENSO_OP_SEQUENCE_POOL, 1);
            enso_graph_set_string(r.graph, r.node, "mode", modes[m]);
            check_neighbours(&r, modes[m], starts, N_SEQUENCES, true);
        }
    }
    free(x);
}
END_TEST

/* Operators on rows, of seven rows of 600 each. */
START_TEST(test_rows_do_not_see_each_other)
{
    static const int32_t bounds[] = {0, 1, 2, 3, 4, 5, 6, 7};
    static const enum enso_op ops[] = {
        ENSO_OP_LAYER_NORM,  ENSO_OP_RMS_NORM,      ENSO_OP_L2_NORMALIZE, ENSO_OP_SOFTMAX,
        ENSO_OP_LOG_SOFTMAX, ENSO_OP_REDUCE_MEAN,   ENSO_OP_LINEAR,       ENSO_OP_MATMUL,
        ENSO_OP_GEMM,        ENSO_OP_INSTANCE_NORM, ENSO_OP_LRN,          ENSO_OP_AVERAGE_POOL,
        ENSO_OP_MAX_POOL,    ENSO_OP_CONV,          ENSO_OP_CONV_FUSED};
    float *x = rig_random_new(7 * 600, 62), *w = rig_random_new(600 * 33, 63);

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
            bool image = o >= 9, norm = o < 2, product = o >= 6 && o <= 8;
            struct rig r;

            rig_init(&r, *set, 2);
            if (ops[o] == ENSO_OP_CONV_FUSED)
                rig_input(&r, F32, 4, DIMS(7, 10, 12, 5), x);
            else if (image)
                rig_input(&r, F32, 4, DIMS(7, 5, 10, 12), x);
            else
                rig_input(&r, F32, 2, DIMS(7, 600), x);
            if (norm)
                rig_constant(&r, F32, 1, DIMS(600), w);
            if (ops[o] == ENSO_OP_LAYER_NORM)
                rig_constant(&r, F32, 1, DIMS(600), w);
            if (ops[o] == ENSO_OP_REDUCE_MEAN)
                rig_constant(&r, I64, 1, DIMS(1), DIMS(1));
            if (product)
                rig_constant(&r, F32, 2, ops[o] == ENSO_OP_LINEAR ? DIMS(33, 600) : DIMS(600, 33),
                             w);
            if (ops[o] == ENSO_OP_INSTANCE_NORM)
                for (unsigned i = 0; i < 2; i++)
                    rig_constant(&r, F32, 1, DIMS(5), w);
            if (ops[o] == ENSO_OP_CONV || ops[o] == ENSO_OP_CONV_FUSED)
                rig_constant(&r, F32, 4, DIMS(8, 5, 3, 3), w);
            rig_node(&r, ops[o], 1);
            if (ops[o] == ENSO_OP_LRN)
                enso_graph_set_int(r.graph, r.node, "size", 3);
            else if (image && ops[o] != ENSO_OP_INSTANCE_NORM)
                enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(3, 3), 2);
            check_neighbours(&r, enso_op_name(ops[o]), bounds, 7, false);
        }
    free(x);
    free(w);
}
END_TEST

/* A NaN makes its whole row one, not a row of large numbers; other rows stay. */
START_TEST(test_norms_keep_nan)
{
    static const enum enso_op ops[] = {ENSO_OP_L2_NORMALIZE, ENSO_OP_RMS_NORM, ENSO_OP_LAYER_NORM,
                                       ENSO_OP_SOFTMAX};
    float *x = rig_random_new(3 * 40, 5);

    x[47] = NAN;
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
            struct rig r;

            rig_init(&r, *set, 1);
            rig_input(&r, F32, 2, DIMS(3, 40), x);
            for (size_t i = 0; i < (ops[o] == ENSO_OP_LAYER_NORM ? 2u : ops[o] == ENSO_OP_RMS_NORM);
                 i++)
                rig_constant(&r, F32, 1, DIMS(40), x);
            rig_node(&r, ops[o], 1);
            rig_run(&r);
            for (size_t i = 0; i < 120; i++)
                ck_assert_msg(isnan(((float *)r.outputs[0].data)[i]) == (i / 40 == 1),
                              "%s %s: element %zu", *set, enso_op_name(ops[o]), i);
            rig_done(&r);
        }
    free(x);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/network_corners");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_reduce_integers);
    tcase_add_test(core, test_reduce_booleans);
    tcase_add_test(core, test_reduce_double);
    tcase_add_test(core, test_reduce_cancelling_rows);
    tcase_add_test(core, test_arg_integers);
    tcase_add_test(core, test_arg_long_rows);
    tcase_add_test(core, test_long_rows);
    tcase_add_test(core, test_softmax_double);
    tcase_add_test(core, test_pool_types);
    tcase_add_test(core, test_conv_dimensions_and_groups);
    tcase_add_test(core, test_matmul_types_and_stacks);
    tcase_add_test(core, test_attention_large_heads);
    tcase_add_test(core, test_embedding_of_words_alone);
    tcase_add_test(core, test_sequence_pool_of_nothing);
    suite_add_tcase(s, core);
    TCase *invariance = tcase_create("invariance");
    tcase_add_test(invariance, test_sequences_do_not_see_each_other);
    tcase_add_test(invariance, test_rows_do_not_see_each_other);
    tcase_add_test(invariance, test_norms_keep_nan);
    suite_add_tcase(s, invariance);
    return s;
}

ENSO_TEST_MAIN(suite)
