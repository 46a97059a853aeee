/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that work element by element or only move elements, in F16 and BF16: conversions, one
 * input, two inputs, movers. Tolerances: see halves.h.
 */
#include "ensod_build.h"

#include "tests/kernels/halves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/reference.h"

#define F32 ENSO_DTYPE_F32

/* ---- conversions ---- */

/* All 65536, out to F32 and through a kernel that reads and writes whole vectors. */
START_TEST(test_every_half)
{
    enum enso_dtype dtype = half_types[_i];
    uint16_t *x = malloc(65536 * 2);
    double *want = rig_doubles_new(65536);
    struct rig r;

    if (half_passed_over(dtype))
        return;
    ck_assert_ptr_nonnull(x);
    for (unsigned i = 0; i < 65536; i++) {
        x[i] = (uint16_t)i;
        want[i] = half_value(dtype, x[i]);
    }
    half_begin(&r);
    rig_input(&r, dtype, 1, DIMS(65536), x);
    rig_node(&r, ENSO_OP_CAST, 1);
    enso_graph_set_int(r.graph, r.node, "to", F32);
    rig_run(&r);
    for (unsigned i = 0; i < 65536; i++) {
        double got = (double)((float *)r.outputs[0].data)[i];

        ck_assert_msg(got == want[i] || (isnan(got) && isnan(want[i])), "%s %04x is %g",
                      enso_dtype_name(dtype), i, got);
    }
    rig_done(&r);
    half_begin(&r);
    rig_input(&r, dtype, 1, DIMS(65536), x);
    rig_node(&r, ENSO_OP_NEG, 1);
    rig_run(&r);
    for (unsigned i = 0; i < 65536; i++)
        want[i] = -want[i];
    half_exact("Neg", dtype, r.outputs[0].data, want, 65536);
    rig_done(&r);
    free(x);
    free(want);
}
END_TEST

/* To nearest, ties to even, from F32 and (in one rounding, not two) from F64; NaN, the ends. */
START_TEST(test_rounding)
{
    enum enso_dtype dtype = half_types[_i];
    double unit = ldexp(1, 1 - half_bits(dtype)), most = dtype == ENSO_DTYPE_F16 ? 65504 : 3.3e38;
    double v[] = {1 + unit / 2,
                  1 + unit * 1.5,
                  1 + unit * 0.50001,
                  1 + unit / 2 + 1e-12, /* a float cannot tell it from the tie */
                  -1 - unit / 2,
                  ldexp(1, half_least_exponent(dtype)) * (1 - unit / 4),
                  ldexp(unit, half_least_exponent(dtype)) * 0.5,
                  ldexp(unit, half_least_exponent(dtype)) * 0.51,
                  ldexp(unit, half_least_exponent(dtype)) * 2.5,
                  most,
                  most * 1.0001,
                  most * 1.1,
                  (double)INFINITY,
                  -(double)INFINITY,
                  (double)NAN,
                  0,
                  -0.0};
    float f[ENSO_ARRAY_SIZE(v)];

    if (half_passed_over(dtype))
        return;
    for (unsigned wide = 0; wide < 2; wide++) {
        double want[ENSO_ARRAY_SIZE(v)];
        struct rig r;

        for (size_t i = 0; i < ENSO_ARRAY_SIZE(v); i++) {
            f[i] = (float)v[i];
            want[i] = wide ? v[i] : (double)f[i];
        }
        half_begin(&r);
        rig_input(&r, wide ? ENSO_DTYPE_F64 : F32, 1, DIMS(ENSO_ARRAY_SIZE(v)),
                  wide ? (const void *)v : f);
        rig_node(&r, ENSO_OP_CAST, 1);
        enso_graph_set_int(r.graph, r.node, "to", dtype);
        rig_run(&r);
        half_exact("Cast", dtype, r.outputs[0].data, want, ENSO_ARRAY_SIZE(v));
        rig_done(&r);
    }
}
END_TEST

/* ---- one input ---- */

static const struct {
    enum enso_op op;
    double scale, shift; /* arguments: [-scale, scale) + shift */
    double infinite[2];  /* of plus and minus infinity */
} unaries[] = {
    {ENSO_OP_ABS, 9, 0, {INFINITY, INFINITY}},
    {ENSO_OP_CEIL, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_CLIP, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_COS, 9, 0, {NAN, NAN}},
    {ENSO_OP_ELU, 9, 0, {INFINITY, -1}},
    {ENSO_OP_ERF, 4, 0, {1, -1}},
    {ENSO_OP_EXP, 9, 0, {INFINITY, 0}},
    {ENSO_OP_FLOOR, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_GELU, 9, 0, {INFINITY, NAN}},
    {ENSO_OP_HARD_SIGMOID, 9, 0, {1, 0}},
    {ENSO_OP_HARD_SWISH, 9, 0, {INFINITY, NAN}},
    {ENSO_OP_LEAKY_RELU, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_LOG, 4, 4.01, {INFINITY, NAN}},
    {ENSO_OP_MISH, 30, 0, {INFINITY, NAN}},
    {ENSO_OP_NEG, 9, 0, {-INFINITY, INFINITY}},
    {ENSO_OP_RECIPROCAL, 4, 5, {0, -0.0}},
    {ENSO_OP_RELU, 9, 0, {INFINITY, 0}},
    {ENSO_OP_ROUND, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_SELU, 9, 0, {INFINITY, -1.758099340847376}},
    {ENSO_OP_SIGMOID, 100, 0, {1, 0}},
    {ENSO_OP_SIGN, 9, 0, {1, -1}},
    {ENSO_OP_SILU, 9, 0, {INFINITY, NAN}},
    {ENSO_OP_SIN, 9, 0, {NAN, NAN}},
    {ENSO_OP_SOFTPLUS, 100, 0, {INFINITY, 0}},
    {ENSO_OP_SOFTSIGN, 9, 0, {NAN, NAN}},
    {ENSO_OP_SQRT, 4, 4, {INFINITY, NAN}},
    {ENSO_OP_TANH, 12, 0, {1, -1}},
};

static void one_unary(size_t u, enum enso_dtype dtype, size_t n, bool in_place)
{
    struct half_numbers x =
        half_numbers_new(dtype, n, (unsigned)(u * 50 + n), unaries[u].scale, unaries[u].shift);
    struct rig r;

    for (size_t i = 0; i < n; i++)
        x.value[i] = reference_unary(unaries[u].op, x.value[i]);
    half_begin(&r);
    r.in_place = in_place;
    rig_input(&r, dtype, 1, DIMS((int64_t)n), x.half);
    rig_node(&r, unaries[u].op, 1);
    rig_run(&r);
    half_near(enso_op_name(unaries[u].op), dtype, in_place ? r.inputs[0].data : r.outputs[0].data,
              x.value, n, 6e-7, 4e-7);
    rig_done(&r);
    half_numbers_free(x);
}

START_TEST(test_unary)
{
    static const size_t sizes[] = {0, 1, 3, 4, 5, 8, 9, 100};
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++)
        one_unary(0, dtype, sizes[s], false);
    for (size_t u = 0; u < ENSO_ARRAY_SIZE(unaries); u++) {
        one_unary(u, dtype, 261, false);
        one_unary(u, dtype, 22, true);
    }
}
END_TEST

/* NaN, which must stay, infinities and zeros, in whole vectors and alone. */
START_TEST(test_unary_special_values)
{
    static const double special[5] = {NAN, INFINITY, -INFINITY, 0.0, -0.0};

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t u = 0; u < ENSO_ARRAY_SIZE(unaries); u++) {
        uint16_t x[5];
        double want[5] = {(double)NAN, unaries[u].infinite[0], unaries[u].infinite[1],
                          reference_unary(unaries[u].op, 0), reference_unary(unaries[u].op, -0.0)};
        struct rig r;

        for (size_t i = 0; i < 5; i++)
            x[i] = half_from(dtype, special[i]);
        half_begin(&r);
        rig_input(&r, dtype, 1, DIMS(5), x);
        rig_node(&r, unaries[u].op, 1);
        rig_run(&r);
        half_near(enso_op_name(unaries[u].op), dtype, r.outputs[0].data, want, 5, 1e-7, 4e-7);
        rig_done(&r);
    }
}
END_TEST

START_TEST(test_clip_between)
{
    static const double x[6] = {-5, -1, 0, 1, 5, NAN}, want[6] = {-1.5, -1, 0, 1, 2, NAN};

    enum enso_dtype dtype = half_types[_i];
    uint16_t h[6], low = half_from(dtype, -1.5), high = half_from(dtype, 2);
    struct rig r;

    if (half_passed_over(dtype))
        return;
    for (size_t i = 0; i < 6; i++)
        h[i] = half_from(dtype, x[i]);
    half_begin(&r);
    rig_input(&r, dtype, 1, DIMS(6), h);
    rig_input(&r, dtype, 0, NULL, &low);
    rig_constant(&r, dtype, 0, NULL, &high);
    rig_node(&r, ENSO_OP_CLIP, 1);
    rig_run(&r);
    half_exact("Clip", dtype, r.outputs[0].data, want, 6);
    rig_done(&r);
}
END_TEST

/* ---- two inputs ---- */

static double pair(enum enso_op op, double a, double b)
{
    switch (op) {
    case ENSO_OP_ADD:
        return a + b;
    case ENSO_OP_SUB:
        return a - b;
    case ENSO_OP_MUL:
        return a * b;
    case ENSO_OP_DIV:
        return a / b;
    case ENSO_OP_MAX:
        return a > b ? a : b;
    case ENSO_OP_MIN:
        return a < b ? a : b;
    case ENSO_OP_PRELU:
        return a < 0 ? a * b : a;
    case ENSO_OP_MOD:
        return fmod(a, b);
    default:
        return pow(a, b);
    }
}

struct shapes {
    size_t rank_a, rank_b;
    int64_t a[3], b[3]; /* y has a's shape */
};
static const struct shapes shapes[] = {
    {1, 1, {0}, {0}},       {1, 1, {1}, {1}},          {1, 1, {24}, {24}},
    {1, 1, {25}, {25}},     {1, 0, {24}, {0}},         {1, 0, {7}, {0}},
    {2, 1, {3, 8}, {8}},    {2, 2, {5, 7}, {5, 1}},    {3, 3, {2, 9, 5}, {2, 1, 5}},
    {3, 1, {2, 9, 4}, {1}}, {3, 2, {2, 9, 5}, {9, 1}},
};

/* Element of b that goes with element i of a. */
static size_t partner(const struct shapes *s, size_t i)
{
    size_t at = 0, stride = 1;

    for (size_t d = 0; d < s->rank_a; d++) {
        size_t from_end = s->rank_a - 1 - d, n = (size_t)s->a[from_end];

        if (d < s->rank_b) {
            size_t m = (size_t)s->b[s->rank_b - 1 - d];

            at += m > 1 ? i % n * stride : 0;
            stride *= m;
        }
        i /= n;
    }
    return at;
}

static size_t count(const int64_t *dims, size_t rank)
{
    size_t n = 1;

    for (size_t d = 0; d < rank; d++)
        n *= (size_t)dims[d];
    return n;
}

static void one_pair(enum enso_op op, enum enso_dtype dtype, const struct shapes *s, bool in_place)
{
    size_t n = count(s->a, s->rank_a), n_b = count(s->b, s->rank_b);
    bool power = op == ENSO_OP_POW;
    struct half_numbers a = half_numbers_new(dtype, n, 3, power ? 1 : 4, power ? 2 : 0.1);
    struct half_numbers b =
        half_numbers_new(dtype, n_b, 4, 1, op == ENSO_OP_DIV || op == ENSO_OP_MOD ? 2 : 0);
    struct rig r;

    for (size_t i = 0; i < n; i++)
        a.value[i] = pair(op, a.value[i], b.value[partner(s, i)]);
    half_begin(&r);
    r.in_place = in_place;
    rig_input(&r, dtype, s->rank_a, s->a, a.half);
    rig_input(&r, dtype, s->rank_b, s->b, b.half);
    rig_node(&r, op, 1);
    if (op == ENSO_OP_MOD)
        enso_graph_set_int(r.graph, r.node, "fmod", 1);
    rig_run(&r);
    half_near(enso_op_name(op), dtype, in_place ? r.inputs[0].data : r.outputs[0].data, a.value, n,
              0, 1e-6);
    rig_done(&r);
    half_numbers_free(a);
    half_numbers_free(b);
}

START_TEST(test_pairs)
{
    static const enum enso_op ops[] = {ENSO_OP_ADD, ENSO_OP_SUB, ENSO_OP_MUL,
                                       ENSO_OP_DIV, ENSO_OP_MAX, ENSO_OP_MIN,
                                       ENSO_OP_MOD, ENSO_OP_POW, ENSO_OP_PRELU};

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++)
        for (size_t s = 0; s < ENSO_ARRAY_SIZE(shapes); s++) {
            one_pair(ops[o], dtype, &shapes[s], s % 2 == o % 2);
        }
}
END_TEST

/* The smaller operand first: the one that is repeated is a. */
START_TEST(test_scalar_minus_vector)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (int64_t n = 7; n <= 8; n++) {
        struct half_numbers a = half_numbers_new(dtype, 1, 1, 4, 0),
                            b = half_numbers_new(dtype, 8, 2, 4, 0);
        struct rig r;

        for (size_t i = 0; i < (size_t)n; i++)
            b.value[i] = a.value[0] - b.value[i];
        half_begin(&r);
        rig_input(&r, dtype, 0, NULL, a.half);
        rig_input(&r, dtype, 1, &n, b.half);
        rig_node(&r, ENSO_OP_SUB, 1);
        rig_run(&r);
        half_near("Sub", dtype, r.outputs[0].data, b.value, (size_t)n, 0, 1e-7);
        rig_done(&r);
        half_numbers_free(a);
        half_numbers_free(b);
    }
}
END_TEST

/* A NaN on either side stays; the largest times two is infinite. */
START_TEST(test_pairs_of_special_values)
{
    static const enum enso_op ops[] = {ENSO_OP_ADD, ENSO_OP_MUL, ENSO_OP_MAX, ENSO_OP_MIN};

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
        double most = dtype == ENSO_DTYPE_F16 ? 65504 : ldexp(255, 120);
        double p[4] = {(double)NAN, 2, most, (double)INFINITY}, q[4] = {1, (double)NAN, most, -1};
        uint16_t a[4], b[4];
        struct rig r;

        for (size_t i = 0; i < 4; i++) {
            a[i] = half_from(dtype, p[i]);
            b[i] = half_from(dtype, q[i]);
            p[i] = i < 2 ? (double)NAN : pair(ops[o], p[i], q[i]);
        }
        half_begin(&r);
        rig_input(&r, dtype, 1, DIMS(4), a);
        rig_input(&r, dtype, 1, DIMS(4), b);
        rig_node(&r, ops[o], 1);
        rig_run(&r);
        half_exact(enso_op_name(ops[o]), dtype, r.outputs[0].data, p, 4);
        rig_done(&r);
    }
}
END_TEST

/* Exponents of other types. */
START_TEST(test_powers)
{
    static const float e32 = 0.5f;
    static const int64_t e64 = 3;

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned whole = 0; whole < 2; whole++) {
        struct half_numbers x = half_numbers_new(dtype, 9, 8, 1, 2);
        struct rig r;

        for (size_t i = 0; i < 9; i++)
            x.value[i] = pow(x.value[i], whole ? 3 : 0.5);
        half_begin(&r);
        rig_input(&r, dtype, 1, DIMS(9), x.half);
        rig_input(&r, whole ? ENSO_DTYPE_I64 : F32, 0, NULL, whole ? (const void *)&e64 : &e32);
        rig_node(&r, ENSO_OP_POW, 1);
        rig_run(&r);
        half_near("Pow", dtype, r.outputs[0].data, x.value, 9, 0, 1e-6);
        rig_done(&r);
        half_numbers_free(x);
    }
}
END_TEST

/* Each further operand rounds once more. */
START_TEST(test_sums_and_means)
{
    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (unsigned mean = 0; mean < 2; mean++) {
        struct half_numbers x = half_numbers_new(dtype, 36, 5, 2, 0);
        double want[12];
        struct rig r;

        half_begin(&r);
        for (size_t k = 0; k < 3; k++)
            rig_input(&r, dtype, 2, DIMS(3, 4), x.half + 12 * k);
        rig_node(&r, mean ? ENSO_OP_MEAN : ENSO_OP_SUM, 1);
        rig_run(&r);
        for (size_t i = 0; i < 12; i++) {
            want[i] = half_rounded(dtype, half_rounded(dtype, x.value[i] + x.value[12 + i]) +
                                              x.value[24 + i]);
            want[i] = mean ? want[i] / 3 : want[i];
        }
        half_near(mean ? "Mean" : "Sum", dtype, r.outputs[0].data, want, 12, 0, 1e-7);
        rig_done(&r);
        half_numbers_free(x);
    }
}
END_TEST

START_TEST(test_comparisons_and_choice)
{
    static const enum enso_op ops[] = {ENSO_OP_EQUAL, ENSO_OP_LESS, ENSO_OP_LESS_OR_EQUAL,
                                       ENSO_OP_GREATER, ENSO_OP_GREATER_OR_EQUAL};
    static const double p[6] = {1, 2, 3, -0.0, NAN, INFINITY}, q[6] = {2, 2, 2, 0, NAN, INFINITY};
    static const uint8_t want[5][6] = {{0, 1, 0, 1, 0, 1},
                                       {1, 0, 0, 0, 0, 0},
                                       {1, 1, 0, 1, 0, 1},
                                       {0, 0, 1, 0, 0, 0},
                                       {0, 1, 1, 1, 0, 1}};

    enum enso_dtype dtype = half_types[_i];
    uint16_t a[6], b[6];
    struct rig r;

    if (half_passed_over(dtype))
        return;
    for (size_t i = 0; i < 6; i++) {
        a[i] = half_from(dtype, p[i]);
        b[i] = half_from(dtype, q[i]);
    }
    for (size_t o = 0; o < 5; o++) {
        half_begin(&r);
        rig_input(&r, dtype, 1, DIMS(6), a);
        rig_input(&r, dtype, 1, DIMS(6), b);
        rig_node(&r, ops[o], 1);
        rig_run(&r);
        ck_assert_msg(memcmp(r.outputs[0].data, want[o], 6) == 0, "%s of %s", enso_op_name(ops[o]),
                      enso_dtype_name(dtype));
        rig_done(&r);
    }
    half_begin(&r);
    rig_input(&r, ENSO_DTYPE_BOOL, 1, DIMS(6), want[0]);
    rig_input(&r, dtype, 1, DIMS(6), a);
    rig_input(&r, dtype, 0, NULL, b);
    rig_node(&r, ENSO_OP_WHERE, 1);
    rig_run(&r);
    for (size_t i = 0; i < 6; i++)
        ck_assert_uint_eq(((uint16_t *)r.outputs[0].data)[i], want[0][i] ? a[i] : b[0]);
    rig_done(&r);
}
END_TEST

/* ---- movers: the same bytes as two-byte integers, any bits ---- */

static void move(struct rig *r, enum enso_dtype dtype, enum enso_op op)
{
    uint16_t x[24], value = 0x7e55; /* a NaN whose bits must pass */
    static const int64_t pads[4] = {1, 0, 0, 2}, repeats[2] = {2, 1}, wide[3] = {2, 4, 6},
                         picked[3] = {3, 0, -1}, shape[1] = {5}, starts[1] = {1}, ends[1] = {3};

    for (size_t i = 0; i < 24; i++)
        x[i] = (uint16_t)(i * 2731 + (i == 7 ? 0x7f81u : 0u));
    half_begin(r);
    if (op == ENSO_OP_CONSTANT_OF_SHAPE)
        rig_constant(r, ENSO_DTYPE_I64, 1, DIMS(1), shape);
    else
        rig_input(r, dtype, 2, DIMS(4, 6), x);
    if (op == ENSO_OP_CONSTANT_OF_SHAPE)
        rig_constant(r, dtype, 1, DIMS(1), &value);
    if (op == ENSO_OP_PAD) {
        rig_constant(r, ENSO_DTYPE_I64, 1, DIMS(4), pads);
        rig_constant(r, dtype, 0, NULL, &value);
    }
    if (op == ENSO_OP_CONCAT)
        rig_input(r, dtype, 2, DIMS(1, 6), x + 5);
    if (op == ENSO_OP_TILE)
        rig_constant(r, ENSO_DTYPE_I64, 1, DIMS(2), repeats);
    if (op == ENSO_OP_EXPAND)
        rig_constant(r, ENSO_DTYPE_I64, 1, DIMS(3), wide);
    if (op == ENSO_OP_GATHER)
        rig_input(r, ENSO_DTYPE_I64, 1, DIMS(3), picked);
    if (op == ENSO_OP_SLICE) {
        rig_constant(r, ENSO_DTYPE_I64, 1, DIMS(1), starts);
        rig_constant(r, ENSO_DTYPE_I64, 1, DIMS(1), ends);
    }
    rig_node(r, op, op == ENSO_OP_SPLIT ? 2 : 1);
    rig_run(r);
}

START_TEST(test_movers)
{
    static const enum enso_op ops[] = {
        ENSO_OP_PAD,    ENSO_OP_CONCAT,    ENSO_OP_SPLIT,
        ENSO_OP_SLICE,  ENSO_OP_TRANSPOSE, ENSO_OP_TILE,
        ENSO_OP_EXPAND, ENSO_OP_GATHER,    ENSO_OP_CONSTANT_OF_SHAPE};

    enum enso_dtype dtype = half_types[_i];

    if (half_passed_over(dtype))
        return;
    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
        struct rig got, want;

        move(&got, dtype, ops[o]);
        move(&want, ENSO_DTYPE_U16, ops[o]);
        for (size_t i = 0; i < got.n_outputs; i++) {
            ck_assert_int_eq(got.outputs[i].dtype, dtype);
            ck_assert_uint_eq(enso_tensor_bytes(&got.outputs[i]),
                              enso_tensor_bytes(&want.outputs[i]));
            ck_assert_msg(memcmp(got.outputs[i].data, want.outputs[i].data,
                                 enso_tensor_bytes(&want.outputs[i])) == 0,
                          "%s of %s", enso_op_name(ops[o]), enso_dtype_name(dtype));
        }
        rig_done(&got);
        rig_done(&want);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/half");
    TCase *core = tcase_create("core");

    tcase_add_loop_test(core, test_every_half, 0, 2);
    tcase_add_loop_test(core, test_rounding, 0, 2);
    tcase_add_loop_test(core, test_unary, 0, 2);
    tcase_add_loop_test(core, test_unary_special_values, 0, 2);
    tcase_add_loop_test(core, test_clip_between, 0, 2);
    tcase_add_loop_test(core, test_pairs, 0, 2);
    tcase_add_loop_test(core, test_scalar_minus_vector, 0, 2);
    tcase_add_loop_test(core, test_pairs_of_special_values, 0, 2);
    tcase_add_loop_test(core, test_powers, 0, 2);
    tcase_add_loop_test(core, test_sums_and_means, 0, 2);
    tcase_add_loop_test(core, test_comparisons_and_choice, 0, 2);
    tcase_add_loop_test(core, test_movers, 0, 2);
    suite_add_tcase(s, core);
    return s;
}

int main(void)
{
    return rig_main_of_halves(suite);
}
