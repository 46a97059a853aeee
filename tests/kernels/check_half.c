/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators in F16 and BF16 on a device that computes in them, against references in double over
 * inputs that are halves. The processor's backend has none: there all tests are passed over.
 *
 * Tolerance: a kernel computes in F32 and rounds once, so a result may differ from the exact one by
 * half a unit of the type (2^-8 of its size for BF16, 2^-11 for F16, 2^-25 where F16 is subnormal)
 * and by what the same kernel in F32 is allowed (check_elementwise.c, check_network.c). What is
 * computed exactly must be the exact result, rounded: exact(). The reference's conversions are its
 * own, by arithmetic instead of by bits.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define DIMS(...)                                                                                  \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static const enum enso_dtype halves[] = {ENSO_DTYPE_F16, ENSO_DTYPE_BF16};
/* A T4 computes no BF16. */
static bool passed_over(enum enso_dtype dtype)
{
    struct rig r;

    rig_init(&r, rig_sets()[0], 1);
    bool takes = rig_backend()->computes(r.device, ENSO_OP_RELU, dtype);

    rig_done(&r);
    return !takes;
}

/* ---- the types ---- */

static int bits_of(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 ? 11 : 8;
}

static int least_exponent(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 ? -14 : -126;
}

/* The nearest number of the type, ties to even. */
static double rounded(enum enso_dtype dtype, double v)
{
    if (v == 0 || !isfinite(v))
        return v;
    int exponent = ilogb(v) < least_exponent(dtype) ? least_exponent(dtype) : ilogb(v);
    double unit = ldexp(1, exponent - bits_of(dtype) + 1), y = nearbyint(v / unit) * unit;
    double most = dtype == ENSO_DTYPE_F16 ? 65504 : ldexp(255, 120);

    return fabs(y) > most ? copysign((double)INFINITY, v) : y;
}

static uint16_t half_of(enum enso_dtype dtype, double v)
{
    int fraction = bits_of(dtype) - 1, bias = 1 - least_exponent(dtype);
    unsigned all = (1u << (15 - fraction)) - 1, sign = signbit(v) ? 0x8000 : 0;

    v = fabs(rounded(dtype, v));
    if (isnan(v))
        return (uint16_t)(all << fraction | 1u << (fraction - 1));
    if (isinf(v))
        return (uint16_t)(sign | all << fraction);
    if (v < ldexp(1, least_exponent(dtype)))
        return (uint16_t)(sign | (unsigned)ldexp(v, fraction - least_exponent(dtype)));
    int exponent = ilogb(v);

    return (uint16_t)(sign | (unsigned)(exponent + bias) << fraction |
                      ((unsigned)ldexp(v, fraction - exponent) & ((1u << fraction) - 1)));
}

static double value_of(enum enso_dtype dtype, uint16_t h)
{
    int fraction = bits_of(dtype) - 1, bias = 1 - least_exponent(dtype);
    unsigned all = (1u << (15 - fraction)) - 1, exponent = h >> fraction & all;
    double part = h & ((1u << fraction) - 1), v;

    if (exponent == all)
        v = part != 0 ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        v = ldexp(part, least_exponent(dtype) - fraction);
    else
        v = ldexp(part + ldexp(1, fraction), (int)exponent - bias - fraction);
    return (h & 0x8000) != 0 ? -v : v;
}

/* n halves of about [-1, 1) · scale + shift, and what they are; free() both. */
struct numbers {
    uint16_t *half;
    double *value;
};
static struct numbers numbers_new(enum enso_dtype dtype, size_t n, unsigned seed, double scale,
                                  double shift)
{
    float *x = rig_random_new(n, seed);
    struct numbers y = {malloc(n * 2 + 2), malloc(n * 8 + 8)};

    ck_assert_ptr_nonnull(y.half);
    ck_assert_ptr_nonnull(y.value);
    for (size_t i = 0; i < n; i++) {
        y.half[i] = half_of(dtype, (double)x[i] * scale + shift);
        y.value[i] = value_of(dtype, y.half[i]);
    }
    free(x);
    return y;
}
static void numbers_free(struct numbers x)
{
    free(x.half);
    free(x.value);
}

static double *doubles(size_t n)
{
    double *y = calloc(n + 1, sizeof(double));

    ck_assert_ptr_nonnull(y);
    return y;
}

/* got is one rounding away from a number within absolute + relative · |want| of want. */
static void near_half(const char *what, enum enso_dtype dtype, const void *got, const double *want,
                      size_t n, double absolute, double relative)
{
    double unit = ldexp(1, -bits_of(dtype)), least = ldexp(unit, least_exponent(dtype));

    for (size_t i = 0; i < n; i++) {
        double g = value_of(dtype, ((const uint16_t *)got)[i]), w = want[i];
        double error = absolute + relative * fabs(w);

        if ((isnan(g) && isnan(w)) || g == w || g == rounded(dtype, w) ||
            fabs(g - w) <= error + unit * (fabs(w) + error) + least)
            continue;
        ck_abort_msg("%s of %s: element %zu of %zu is %.9g, should be %.9g (%.9g)", what,
                     enso_dtype_name(dtype), i, n, g, rounded(dtype, w), w);
    }
}

/* got is want, rounded. */
static void exact(const char *what, enum enso_dtype dtype, const void *got, const double *want,
                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double g = value_of(dtype, ((const uint16_t *)got)[i]), w = rounded(dtype, want[i]);

        ck_assert_msg((isnan(g) && isnan(w)) || (g == w && signbit(g) == signbit(w)),
                      "%s of %s: element %zu of %zu is %.9g, should be %.9g", what,
                      enso_dtype_name(dtype), i, n, g, w);
    }
}

static void begin(struct rig *r)
{
    rig_init(r, rig_sets()[0], 1);
}

/* ---- conversions ---- */

/* All 65536, out to F32 and through a kernel that reads and writes whole vectors. */
START_TEST(test_every_half)
{
    enum enso_dtype dtype = halves[_i];
    uint16_t *x = malloc(65536 * 2);
    double *want = doubles(65536);
    struct rig r;

    if (passed_over(dtype))
        return;
    ck_assert_ptr_nonnull(x);
    for (unsigned i = 0; i < 65536; i++) {
        x[i] = (uint16_t)i;
        want[i] = value_of(dtype, x[i]);
    }
    begin(&r);
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
    begin(&r);
    rig_input(&r, dtype, 1, DIMS(65536), x);
    rig_node(&r, ENSO_OP_NEG, 1);
    rig_run(&r);
    for (unsigned i = 0; i < 65536; i++)
        want[i] = -want[i];
    exact("Neg", dtype, r.outputs[0].data, want, 65536);
    rig_done(&r);
    free(x);
    free(want);
}
END_TEST

/* To nearest, ties to even, from F32 and (in one rounding, not two) from F64; NaN, the ends. */
START_TEST(test_rounding)
{
    enum enso_dtype dtype = halves[_i];
    double unit = ldexp(1, 1 - bits_of(dtype)), most = dtype == ENSO_DTYPE_F16 ? 65504 : 3.3e38;
    double v[] = {1 + unit / 2,
                  1 + unit * 1.5,
                  1 + unit * 0.50001,
                  1 + unit / 2 + 1e-12, /* a float cannot tell it from the tie */
                  -1 - unit / 2,
                  ldexp(1, least_exponent(dtype)) * (1 - unit / 4),
                  ldexp(unit, least_exponent(dtype)) * 0.5,
                  ldexp(unit, least_exponent(dtype)) * 0.51,
                  ldexp(unit, least_exponent(dtype)) * 2.5,
                  most,
                  most * 1.0001,
                  most * 1.1,
                  (double)INFINITY,
                  -(double)INFINITY,
                  (double)NAN,
                  0,
                  -0.0};
    float f[ENSO_ARRAY_SIZE(v)];

    if (passed_over(dtype))
        return;
    for (unsigned wide = 0; wide < 2; wide++) {
        double want[ENSO_ARRAY_SIZE(v)];
        struct rig r;

        for (size_t i = 0; i < ENSO_ARRAY_SIZE(v); i++) {
            f[i] = (float)v[i];
            want[i] = wide ? v[i] : (double)f[i];
        }
        begin(&r);
        rig_input(&r, wide ? ENSO_DTYPE_F64 : F32, 1, DIMS(ENSO_ARRAY_SIZE(v)),
                  wide ? (const void *)v : f);
        rig_node(&r, ENSO_OP_CAST, 1);
        enso_graph_set_int(r.graph, r.node, "to", dtype);
        rig_run(&r);
        exact("Cast", dtype, r.outputs[0].data, want, ENSO_ARRAY_SIZE(v));
        rig_done(&r);
    }
}
END_TEST

/* ---- one input ---- */

static double relu(double v)
{
    return v < 0 ? 0 : v;
}
static double gelu(double v)
{
    return 0.5 * v * (1 + erf(v / sqrt(2)));
}
static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}
static double silu(double v)
{
    return v / (1 + exp(-v));
}
static double elu(double v)
{
    return v < 0 ? expm1(v) : v;
}
static double selu(double v)
{
    return 1.05070102214813232421875 * (v < 0 ? 1.67326319217681884765625 * expm1(v) : v);
}
static double leaky(double v)
{
    return v < 0 ? (double)0.01f * v : v;
}
static double hard_sigmoid(double v)
{
    v = (double)0.2f * v + 0.5;
    return v < 0 ? 0 : v > 1 ? 1 : v;
}
static double hard_swish(double v)
{
    double h = v / 6 + 0.5;

    return v * (h < 0 ? 0 : h > 1 ? 1 : h);
}
static double softplus(double v)
{
    return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v));
}
static double mish(double v)
{
    return v * tanh(softplus(v));
}
static double softsign(double v)
{
    return v / (1 + fabs(v));
}
static double reciprocal(double v)
{
    return 1 / v;
}
static double negative(double v)
{
    return -v;
}
static double sign(double v)
{
    return v > 0 ? 1 : v < 0 ? -1 : v;
}
static double unbounded(double v)
{
    return v;
}

static const struct {
    enum enso_op op;
    double (*f)(double);
    double scale, shift; /* arguments: [-scale, scale) + shift */
    double infinite[2];  /* of plus and minus infinity */
} unaries[] = {
    {ENSO_OP_ABS, fabs, 9, 0, {INFINITY, INFINITY}},
    {ENSO_OP_CEIL, ceil, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_CLIP, unbounded, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_COS, cos, 9, 0, {NAN, NAN}},
    {ENSO_OP_ELU, elu, 9, 0, {INFINITY, -1}},
    {ENSO_OP_ERF, erf, 4, 0, {1, -1}},
    {ENSO_OP_EXP, exp, 9, 0, {INFINITY, 0}},
    {ENSO_OP_FLOOR, floor, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_GELU, gelu, 9, 0, {INFINITY, NAN}},
    {ENSO_OP_HARD_SIGMOID, hard_sigmoid, 9, 0, {1, 0}},
    {ENSO_OP_HARD_SWISH, hard_swish, 9, 0, {INFINITY, NAN}},
    {ENSO_OP_LEAKY_RELU, leaky, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_LOG, log, 4, 4.01, {INFINITY, NAN}},
    {ENSO_OP_MISH, mish, 30, 0, {INFINITY, NAN}},
    {ENSO_OP_NEG, negative, 9, 0, {-INFINITY, INFINITY}},
    {ENSO_OP_RECIPROCAL, reciprocal, 4, 5, {0, -0.0}},
    {ENSO_OP_RELU, relu, 9, 0, {INFINITY, 0}},
    {ENSO_OP_ROUND, nearbyint, 9, 0, {INFINITY, -INFINITY}},
    {ENSO_OP_SELU, selu, 9, 0, {INFINITY, -1.758099340847376}},
    {ENSO_OP_SIGMOID, sigmoid, 100, 0, {1, 0}},
    {ENSO_OP_SIGN, sign, 9, 0, {1, -1}},
    {ENSO_OP_SILU, silu, 9, 0, {INFINITY, NAN}},
    {ENSO_OP_SIN, sin, 9, 0, {NAN, NAN}},
    {ENSO_OP_SOFTPLUS, softplus, 100, 0, {INFINITY, 0}},
    {ENSO_OP_SOFTSIGN, softsign, 9, 0, {NAN, NAN}},
    {ENSO_OP_SQRT, sqrt, 4, 4, {INFINITY, NAN}},
    {ENSO_OP_TANH, tanh, 12, 0, {1, -1}},
};

static void one_unary(size_t u, enum enso_dtype dtype, size_t n, bool in_place)
{
    struct numbers x =
        numbers_new(dtype, n, (unsigned)(u * 50 + n), unaries[u].scale, unaries[u].shift);
    struct rig r;

    for (size_t i = 0; i < n; i++)
        x.value[i] = unaries[u].f(x.value[i]);
    begin(&r);
    r.in_place = in_place;
    rig_input(&r, dtype, 1, DIMS((int64_t)n), x.half);
    rig_node(&r, unaries[u].op, 1);
    rig_run(&r);
    near_half(enso_op_name(unaries[u].op), dtype, in_place ? r.inputs[0].data : r.outputs[0].data,
              x.value, n, 6e-7, 4e-7);
    rig_done(&r);
    numbers_free(x);
}

START_TEST(test_unary)
{
    static const size_t sizes[] = {0, 1, 3, 4, 5, 8, 9, 100};
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (size_t u = 0; u < ENSO_ARRAY_SIZE(unaries); u++) {
        uint16_t x[5];
        double want[5] = {(double)NAN, unaries[u].infinite[0], unaries[u].infinite[1],
                          unaries[u].f(0), unaries[u].f(-0.0)};
        struct rig r;

        for (size_t i = 0; i < 5; i++)
            x[i] = half_of(dtype, special[i]);
        begin(&r);
        rig_input(&r, dtype, 1, DIMS(5), x);
        rig_node(&r, unaries[u].op, 1);
        rig_run(&r);
        near_half(enso_op_name(unaries[u].op), dtype, r.outputs[0].data, want, 5, 1e-7, 4e-7);
        rig_done(&r);
    }
}
END_TEST

START_TEST(test_clip_between)
{
    static const double x[6] = {-5, -1, 0, 1, 5, NAN}, want[6] = {-1.5, -1, 0, 1, 2, NAN};

    enum enso_dtype dtype = halves[_i];
    uint16_t h[6], low = half_of(dtype, -1.5), high = half_of(dtype, 2);
    struct rig r;

    if (passed_over(dtype))
        return;
    for (size_t i = 0; i < 6; i++)
        h[i] = half_of(dtype, x[i]);
    begin(&r);
    rig_input(&r, dtype, 1, DIMS(6), h);
    rig_input(&r, dtype, 0, NULL, &low);
    rig_constant(&r, dtype, 0, NULL, &high);
    rig_node(&r, ENSO_OP_CLIP, 1);
    rig_run(&r);
    exact("Clip", dtype, r.outputs[0].data, want, 6);
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
    struct numbers a = numbers_new(dtype, n, 3, power ? 1 : 4, power ? 2 : 0.1);
    struct numbers b =
        numbers_new(dtype, n_b, 4, 1, op == ENSO_OP_DIV || op == ENSO_OP_MOD ? 2 : 0);
    struct rig r;

    for (size_t i = 0; i < n; i++)
        a.value[i] = pair(op, a.value[i], b.value[partner(s, i)]);
    begin(&r);
    r.in_place = in_place;
    rig_input(&r, dtype, s->rank_a, s->a, a.half);
    rig_input(&r, dtype, s->rank_b, s->b, b.half);
    rig_node(&r, op, 1);
    if (op == ENSO_OP_MOD)
        enso_graph_set_int(r.graph, r.node, "fmod", 1);
    rig_run(&r);
    near_half(enso_op_name(op), dtype, in_place ? r.inputs[0].data : r.outputs[0].data, a.value, n,
              0, 1e-6);
    rig_done(&r);
    numbers_free(a);
    numbers_free(b);
}

START_TEST(test_pairs)
{
    static const enum enso_op ops[] = {ENSO_OP_ADD, ENSO_OP_SUB, ENSO_OP_MUL,
                                       ENSO_OP_DIV, ENSO_OP_MAX, ENSO_OP_MIN,
                                       ENSO_OP_MOD, ENSO_OP_POW, ENSO_OP_PRELU};

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (int64_t n = 7; n <= 8; n++) {
        struct numbers a = numbers_new(dtype, 1, 1, 4, 0), b = numbers_new(dtype, 8, 2, 4, 0);
        struct rig r;

        for (size_t i = 0; i < (size_t)n; i++)
            b.value[i] = a.value[0] - b.value[i];
        begin(&r);
        rig_input(&r, dtype, 0, NULL, a.half);
        rig_input(&r, dtype, 1, &n, b.half);
        rig_node(&r, ENSO_OP_SUB, 1);
        rig_run(&r);
        near_half("Sub", dtype, r.outputs[0].data, b.value, (size_t)n, 0, 1e-7);
        rig_done(&r);
        numbers_free(a);
        numbers_free(b);
    }
}
END_TEST

/* A NaN on either side stays; the largest times two is infinite. */
START_TEST(test_pairs_of_special_values)
{
    static const enum enso_op ops[] = {ENSO_OP_ADD, ENSO_OP_MUL, ENSO_OP_MAX, ENSO_OP_MIN};

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
        double most = dtype == ENSO_DTYPE_F16 ? 65504 : ldexp(255, 120);
        double p[4] = {(double)NAN, 2, most, (double)INFINITY}, q[4] = {1, (double)NAN, most, -1};
        uint16_t a[4], b[4];
        struct rig r;

        for (size_t i = 0; i < 4; i++) {
            a[i] = half_of(dtype, p[i]);
            b[i] = half_of(dtype, q[i]);
            p[i] = i < 2 ? (double)NAN : pair(ops[o], p[i], q[i]);
        }
        begin(&r);
        rig_input(&r, dtype, 1, DIMS(4), a);
        rig_input(&r, dtype, 1, DIMS(4), b);
        rig_node(&r, ops[o], 1);
        rig_run(&r);
        exact(enso_op_name(ops[o]), dtype, r.outputs[0].data, p, 4);
        rig_done(&r);
    }
}
END_TEST

/* Exponents of other types. */
START_TEST(test_powers)
{
    static const float e32 = 0.5f;
    static const int64_t e64 = 3;

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (unsigned whole = 0; whole < 2; whole++) {
        struct numbers x = numbers_new(dtype, 9, 8, 1, 2);
        struct rig r;

        for (size_t i = 0; i < 9; i++)
            x.value[i] = pow(x.value[i], whole ? 3 : 0.5);
        begin(&r);
        rig_input(&r, dtype, 1, DIMS(9), x.half);
        rig_input(&r, whole ? ENSO_DTYPE_I64 : F32, 0, NULL, whole ? (const void *)&e64 : &e32);
        rig_node(&r, ENSO_OP_POW, 1);
        rig_run(&r);
        near_half("Pow", dtype, r.outputs[0].data, x.value, 9, 0, 1e-6);
        rig_done(&r);
        numbers_free(x);
    }
}
END_TEST

/* Each further operand rounds once more. */
START_TEST(test_sums_and_means)
{
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (unsigned mean = 0; mean < 2; mean++) {
        struct numbers x = numbers_new(dtype, 36, 5, 2, 0);
        double want[12];
        struct rig r;

        begin(&r);
        for (size_t k = 0; k < 3; k++)
            rig_input(&r, dtype, 2, DIMS(3, 4), x.half + 12 * k);
        rig_node(&r, mean ? ENSO_OP_MEAN : ENSO_OP_SUM, 1);
        rig_run(&r);
        for (size_t i = 0; i < 12; i++) {
            want[i] =
                rounded(dtype, rounded(dtype, x.value[i] + x.value[12 + i]) + x.value[24 + i]);
            want[i] = mean ? want[i] / 3 : want[i];
        }
        near_half(mean ? "Mean" : "Sum", dtype, r.outputs[0].data, want, 12, 0, 1e-7);
        rig_done(&r);
        numbers_free(x);
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

    enum enso_dtype dtype = halves[_i];
    uint16_t a[6], b[6];
    struct rig r;

    if (passed_over(dtype))
        return;
    for (size_t i = 0; i < 6; i++) {
        a[i] = half_of(dtype, p[i]);
        b[i] = half_of(dtype, q[i]);
    }
    for (size_t o = 0; o < 5; o++) {
        begin(&r);
        rig_input(&r, dtype, 1, DIMS(6), a);
        rig_input(&r, dtype, 1, DIMS(6), b);
        rig_node(&r, ops[o], 1);
        rig_run(&r);
        ck_assert_msg(memcmp(r.outputs[0].data, want[o], 6) == 0, "%s of %s", enso_op_name(ops[o]),
                      enso_dtype_name(dtype));
        rig_done(&r);
    }
    begin(&r);
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
    struct numbers x = numbers_new(dtype, n * n_rows, 11, 3, 1);
    struct numbers more = numbers_new(dtype, n * n_rows, 12, 1, 0);
    float *gamma = rig_random_new(n, 13), *beta = rig_random_new(n, 14);
    bool residual = !l2 && (how & 2) != 0;
    double *want = doubles(n * n_rows);
    struct rig r;

    for (size_t row = 0; row < n_rows; row++)
        reference_norm(op, x.value + row * n, residual ? more.value + row * n : NULL,
                       l2 ? NULL : gamma, layer ? beta : NULL, n, want + row * n);
    begin(&r);
    r.in_place = (how & 4) != 0;
    rig_input(&r, dtype, 2, DIMS((int64_t)n_rows, length), x.half);
    for (size_t i = 0; i < (l2 ? 0u : layer ? 2u : 1u); i++)
        ((how & 1) != 0 ? rig_constant : rig_input)(&r, F32, 1, &length, i == 0 ? gamma : beta);
    if (residual)
        rig_input(&r, dtype, 2, DIMS((int64_t)n_rows, length), more.half);
    rig_node(&r, op, 1);
    rig_run(&r);
    near_half(enso_op_name(op), dtype, r.in_place ? r.inputs[0].data : r.outputs[0].data, want,
              n * n_rows, 4e-6, 1e-6);
    rig_done(&r);
    numbers_free(x);
    numbers_free(more);
    free(gamma);
    free(beta);
    free(want);
}

START_TEST(test_norms_of_rows)
{
    static const enum enso_op ops[] = {ENSO_OP_LAYER_NORM, ENSO_OP_RMS_NORM, ENSO_OP_L2_NORMALIZE};

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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
    enum enso_dtype dtype = halves[_i];
    struct numbers x = numbers_new(dtype, 16, 1, 3, 0), p = numbers_new(dtype, 16, 2, 1, 0);
    float gamma[8], beta[8];
    double want[16];
    struct rig r;

    if (passed_over(dtype))
        return;
    for (size_t i = 0; i < 8; i++) {
        gamma[i] = (float)p.value[i];
        beta[i] = (float)p.value[8 + i];
    }
    for (size_t row = 0; row < 2; row++)
        reference_norm(ENSO_OP_LAYER_NORM, x.value + 8 * row, NULL, gamma, beta, 8, want + 8 * row);
    begin(&r);
    rig_input(&r, dtype, 2, DIMS(2, 8), x.half);
    rig_constant(&r, dtype, 1, DIMS(8), p.half);
    rig_constant(&r, dtype, 1, DIMS(8), p.half + 8);
    rig_node(&r, ENSO_OP_LAYER_NORM, 1);
    rig_run(&r);
    near_half("LayerNorm", dtype, r.outputs[0].data, want, 16, 4e-6, 1e-6);
    rig_done(&r);
    numbers_free(x);
    numbers_free(p);
}
END_TEST

/* What a norm's row holds beside a NaN is a NaN, what its neighbours hold is not. */
START_TEST(test_norm_of_nan)
{
    enum enso_dtype dtype = halves[_i];
    struct numbers x = numbers_new(dtype, 3 * 40, 1, 3, 0);
    struct rig r;

    if (passed_over(dtype))
        return;
    x.half[43] = half_of(dtype, (double)NAN);
    x.half[47] = half_of(dtype, (double)INFINITY);
    begin(&r);
    rig_input(&r, dtype, 2, DIMS(3, 40), x.half);
    rig_node(&r, ENSO_OP_L2_NORMALIZE, 1);
    rig_run(&r);
    for (size_t i = 0; i < 120; i++)
        ck_assert_int_eq(isnan(value_of(dtype, ((uint16_t *)r.outputs[0].data)[i])), i / 40 == 1);
    rig_done(&r);
    numbers_free(x);
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
    struct numbers x = numbers_new(dtype, all, 21, 5, 0);
    double *want = doubles(all);
    struct rig r;

    x.value[0] = -(double)INFINITY;
    x.half[0] = half_of(dtype, x.value[0]);
    for (size_t i = 0; i < 3 * step; i++) {
        size_t at = i / step * n * step + i % step;

        reference_softmax(logarithm, x.value + at, n, step, want + at);
    }
    begin(&r);
    rig_input(&r, dtype, 3, DIMS(3, length, inner), x.half);
    rig_node(&r, logarithm ? ENSO_OP_LOG_SOFTMAX : ENSO_OP_SOFTMAX, 1);
    enso_graph_set_int(r.graph, r.node, "axis", 1);
    rig_run(&r);
    near_half(logarithm ? "LogSoftmax" : "Softmax", dtype, r.outputs[0].data, want, all, 4e-6,
              4e-6);
    rig_done(&r);
    numbers_free(x);
    free(want);
}

START_TEST(test_softmax)
{
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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
    struct numbers x =
        numbers_new(dtype, 2 * n * step, 31, op == ENSO_OP_REDUCE_PROD ? 0.01 : 1, 1);
    double *want = doubles(2 * step);
    struct rig r;

    for (size_t i = 0; i < 2 * step; i++)
        want[i] = reduction(op, x.value + i / step * n * step + i % step, n, step);
    begin(&r);
    rig_input(&r, dtype, 3, DIMS(2, length, inner), x.half);
    rig_node(&r, op, 1);
    enso_graph_set_ints(r.graph, r.node, "axes", DIMS(1), 1);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dtype, dtype);
    near_half(enso_op_name(op), dtype, r.outputs[0].data, want, 2 * step, 0, 1e-12);
    rig_done(&r);
    numbers_free(x);
    free(want);
}

START_TEST(test_reductions)
{
    static const enum enso_op ops[] = {ENSO_OP_REDUCE_SUM,     ENSO_OP_REDUCE_MEAN,
                                       ENSO_OP_REDUCE_MAX,     ENSO_OP_REDUCE_MIN,
                                       ENSO_OP_REDUCE_PROD,    ENSO_OP_REDUCE_L1,
                                       ENSO_OP_REDUCE_L2,      ENSO_OP_REDUCE_SUM_SQUARE,
                                       ENSO_OP_REDUCE_LOG_SUM, ENSO_OP_REDUCE_LOG_SUM_EXP};

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (unsigned which = 0; which < 4; which++) {
        bool min = (which & 1) != 0, nan = (which & 2) != 0;
        struct numbers x = numbers_new(dtype, 2 * 1100, 41, 100, 0);
        struct rig r;

        if (nan)
            x.half[700] = half_of(dtype, (double)NAN);
        begin(&r);
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
        numbers_free(x);
    }
}
END_TEST

/* ---- channels and windows ---- */

enum { IMAGES = 2, CHANNELS = 5, HEIGHT = 7, WIDTH = 9, PLANE = HEIGHT * WIDTH };

/* BatchNormalization folded and not, InstanceNormalization with constants and tensors. */
static void one_channel_norm(enum enso_dtype dtype, bool batch, bool constant)
{
    size_t all = IMAGES * CHANNELS * PLANE;
    struct numbers x = numbers_new(dtype, all, 51, 2, 1);
    float p[4][CHANNELS];
    double *want = doubles(all);
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
    begin(&r);
    rig_input(&r, dtype, 4, DIMS(IMAGES, CHANNELS, HEIGHT, WIDTH), x.half);
    for (size_t i = 0; i < (batch ? 4u : 2u); i++)
        (constant ? rig_constant : rig_input)(&r, F32, 1, DIMS(CHANNELS), p[i]);
    rig_node(&r, batch ? ENSO_OP_BATCH_NORM : ENSO_OP_INSTANCE_NORM, 1);
    rig_run(&r);
    near_half(batch ? "BatchNormalization" : "InstanceNormalization", dtype, r.outputs[0].data,
              want, all, 4e-6, 1e-6);
    rig_done(&r);
    numbers_free(x);
    free(want);
}

START_TEST(test_norms_of_channels)
{
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (unsigned nhwc = 0; nhwc < 2; nhwc++) {
        size_t all = IMAGES * CHANNELS * PLANE;
        struct numbers x = numbers_new(dtype, all, 61, 4, 0);
        double *want = doubles(all);
        struct rig r;

        for (size_t i = 0; i < all; i++) {
            size_t n = i / (CHANNELS * PLANE), c = i / PLANE % CHANNELS, at = i % PLANE;
            double sum = 0;

            for (size_t k = c == 0 ? 0 : c - 1; k <= c + 1 && k < CHANNELS; k++)
                sum += pow(x.value[place(n, k, at, PLANE, nhwc)], 2);
            want[place(n, c, at, PLANE, nhwc)] =
                x.value[place(n, c, at, PLANE, nhwc)] / pow(1 + 0.5 / 3 * sum, 0.75);
        }
        begin(&r);
        rig_input(&r, dtype, 4,
                  nhwc ? DIMS(IMAGES, HEIGHT, WIDTH, CHANNELS)
                       : DIMS(IMAGES, CHANNELS, HEIGHT, WIDTH),
                  x.half);
        rig_node(&r, ENSO_OP_LRN, 1);
        enso_graph_set_int(r.graph, r.node, "size", 3);
        enso_graph_set_float(r.graph, r.node, "alpha", 0.5f);
        enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
        rig_run(&r);
        near_half("LRN", dtype, r.outputs[0].data, want, all, 1e-6, 1e-6);
        rig_done(&r);
        numbers_free(x);
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
    struct numbers x = numbers_new(dtype, all, 71, 4, 0.5);
    double *want = doubles(IMAGES * CHANNELS * n_out);
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
    begin(&r);
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
        exact("MaxPool", dtype, r.outputs[0].data, want, IMAGES * CHANNELS * n_out);
    else
        near_half("AveragePool", dtype, r.outputs[0].data, want, IMAGES * CHANNELS * n_out, 1e-6,
                  0);
    rig_done(&r);
    numbers_free(x);
    free(want);
}

START_TEST(test_pools)
{
    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
        return;
    for (unsigned which = 0; which < 8; which++)
        one_pool(dtype, which & 1, which >> 1 & 1, which >> 2);
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
    begin(r);
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

    enum enso_dtype dtype = halves[_i];

    if (passed_over(dtype))
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
    tcase_add_loop_test(core, test_norms_of_rows, 0, 2);
    tcase_add_loop_test(core, test_norm_with_half_parameters, 0, 2);
    tcase_add_loop_test(core, test_norm_of_nan, 0, 2);
    tcase_add_loop_test(core, test_softmax, 0, 2);
    tcase_add_loop_test(core, test_reductions, 0, 2);
    tcase_add_loop_test(core, test_arg, 0, 2);
    tcase_add_loop_test(core, test_norms_of_channels, 0, 2);
    tcase_add_loop_test(core, test_lrn, 0, 2);
    tcase_add_loop_test(core, test_pools, 0, 2);
    tcase_add_loop_test(core, test_movers, 0, 2);
    suite_add_tcase(s, core);
    return s;
}

int main(void)
{
    const char *backend = getenv("ENSO_TEST_BACKEND");

    if (backend == NULL || backend[0] == '\0') {
        puts(
            "SKIP: the processor does not compute in F16 and BF16; ENSO_TEST_BACKEND names others");
        return 77;
    }
    return enso_test_main(suite);
}
