/* SPDX-License-Identifier: Apache-2.0
 *
 * Corners of the elementwise operators that hold on every device: all integer types at their limits
 * against 128-bit arithmetic, real types in F32 and F64, casts of all pairs (halves included)
 * against one exact rounding. All results are exact but those of functions in double.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I64 ENSO_DTYPE_I64

__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 uwide;

struct whole {
    enum enso_dtype dtype;
    unsigned bits;
    bool is_signed;
};

static const struct whole wholes[] = {
    {ENSO_DTYPE_I8, 8, true},    {ENSO_DTYPE_U8, 8, false},   {ENSO_DTYPE_I16, 16, true},
    {ENSO_DTYPE_U16, 16, false}, {ENSO_DTYPE_I32, 32, true},  {ENSO_DTYPE_U32, 32, false},
    {ENSO_DTYPE_I64, 64, true},  {ENSO_DTYPE_U64, 64, false},
};

/* The number a type keeps of v: its low bits. */
static wide wrap(const struct whole *t, uwide v)
{
    wide low = (wide)(v & (((uwide)1 << t->bits) - 1));

    return t->is_signed && (low >> (t->bits - 1)) != 0 ? low - ((wide)1 << t->bits) : low;
}

static void put(const struct whole *t, void *data, size_t i, wide v)
{
    memcpy((unsigned char *)data + i * t->bits / 8, &v, t->bits / 8); /* little-endian */
}

static wide take(const struct whole *t, const void *data, size_t i)
{
    uwide v = 0;

    memcpy(&v, (const unsigned char *)data + i * t->bits / 8, t->bits / 8);
    return wrap(t, v);
}

#define N_EDGES 9

/* Numbers at the limits and around zero. */
static void edges(const struct whole *t, wide *v)
{
    wide least = t->is_signed ? -((wide)1 << (t->bits - 1)) : 0;
    wide most = least + (((wide)1 << t->bits) - 1);
    const wide all[N_EDGES] = {least,    least + 1, t->is_signed ? -1 : most / 2, 0, 1, 2, 7,
                               most - 1, most};

    memcpy(v, all, sizeof(all));
}

/* Division of C (towards zero), its remainder, and the remainder with the divisor's sign. */
static wide pair(enum enso_op op, bool fmod_attribute, const struct whole *t, wide p, wide q)
{
    wide rest = q == 0 ? 0 : p % q;

    switch (op) {
    case ENSO_OP_ADD:
        return wrap(t, (uwide)p + (uwide)q);
    case ENSO_OP_SUB:
        return wrap(t, (uwide)p - (uwide)q);
    case ENSO_OP_MUL:
        return wrap(t, (uwide)p * (uwide)q);
    case ENSO_OP_DIV:
        return q == 0 ? 0 : wrap(t, (uwide)(p / q));
    case ENSO_OP_MOD:
        return !fmod_attribute && rest != 0 && (rest < 0) != (q < 0) ? rest + q : rest;
    case ENSO_OP_MAX:
        return p > q ? p : q;
    case ENSO_OP_MIN:
        return p < q ? p : q;
    case ENSO_OP_PRELU:
        return p < 0 ? wrap(t, (uwide)p * (uwide)q) : p;
    case ENSO_OP_EQUAL:
        return p == q;
    case ENSO_OP_LESS:
        return p < q;
    case ENSO_OP_LESS_OR_EQUAL:
        return p <= q;
    case ENSO_OP_GREATER:
        return p > q;
    default:
        return p >= q;
    }
}

/* All pairs of edges, as [9, 1] with [9, 9] or [1, 9]. */
static void check_pairs(const struct whole *t, enum enso_op op, bool fmod_attribute)
{
    static const struct whole truth = {ENSO_DTYPE_BOOL, 8, false};
    unsigned char a[N_EDGES * 8], b[N_EDGES * N_EDGES * 8];
    bool slopes = op == ENSO_OP_PRELU; /* its slope must broadcast to the other */
    wide v[N_EDGES];
    struct rig r;

    edges(t, v);
    for (size_t i = 0; i < N_EDGES; i++)
        put(t, a, i, v[i]);
    for (size_t i = 0; i < N_EDGES * N_EDGES; i++)
        put(t, b, i, v[i / N_EDGES]);
    rig_init(&r, "auto", 1);
    rig_input(&r, t->dtype, 2, slopes ? DIMS(N_EDGES, N_EDGES) : DIMS(N_EDGES, 1), slopes ? b : a);
    rig_input(&r, t->dtype, 2, DIMS(1, N_EDGES), a);
    rig_node(&r, op, 1);
    enso_graph_set_int(r.graph, r.node, "fmod", fmod_attribute);
    rig_run(&r);
    const struct whole *result = r.outputs[0].dtype == ENSO_DTYPE_BOOL ? &truth : t;
    for (size_t i = 0; i < N_EDGES * N_EDGES; i++) {
        wide p = v[i / N_EDGES], q = v[i % N_EDGES];
        wide got = take(result, r.outputs[0].data, i), want = pair(op, fmod_attribute, t, p, q);

        ck_assert_msg(got == want, "%s in %s of %lld and %lld is %lld, should be %lld",
                      enso_op_name(op), enso_dtype_name(t->dtype), (long long)p, (long long)q,
                      (long long)got, (long long)want);
    }
    rig_done(&r);
}

START_TEST(test_whole_pairs)
{
    static const enum enso_op ops[] = {ENSO_OP_ADD,
                                       ENSO_OP_SUB,
                                       ENSO_OP_MUL,
                                       ENSO_OP_DIV,
                                       ENSO_OP_MOD,
                                       ENSO_OP_MAX,
                                       ENSO_OP_MIN,
                                       ENSO_OP_PRELU,
                                       ENSO_OP_EQUAL,
                                       ENSO_OP_LESS,
                                       ENSO_OP_GREATER,
                                       ENSO_OP_LESS_OR_EQUAL,
                                       ENSO_OP_GREATER_OR_EQUAL};

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(wholes); t++) {
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++)
            check_pairs(&wholes[t], ops[o], false);
        check_pairs(&wholes[t], ENSO_OP_MOD, true);
    }
}
END_TEST

static wide single(enum enso_op op, const struct whole *t, wide v)
{
    switch (op) {
    case ENSO_OP_ABS:
        return v < 0 ? wrap(t, (uwide)-v) : v;
    case ENSO_OP_NEG:
        return wrap(t, (uwide)-v);
    case ENSO_OP_RELU:
        return v < 0 ? 0 : v;
    case ENSO_OP_SIGN:
        return (v > 0) - (v < 0);
    default: /* Clip to [1, 5] */
        return v < 1 ? 1 : v > 5 ? 5 : v;
    }
}

START_TEST(test_whole_singles)
{
    static const enum enso_op ops[] = {ENSO_OP_ABS, ENSO_OP_SIGN, ENSO_OP_CLIP, ENSO_OP_NEG,
                                       ENSO_OP_RELU};

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(wholes); t++)
        for (size_t o = 0; o < (wholes[t].is_signed ? 5 : 3); o++) {
            unsigned char x[N_EDGES * 8], one[8], five[8];
            wide v[N_EDGES];
            struct rig r;

            edges(&wholes[t], v);
            for (size_t i = 0; i < N_EDGES; i++)
                put(&wholes[t], x, i, v[i]);
            put(&wholes[t], one, 0, 1);
            put(&wholes[t], five, 0, 5);
            rig_init(&r, "auto", 1);
            rig_input(&r, wholes[t].dtype, 1, DIMS(N_EDGES), x);
            if (ops[o] == ENSO_OP_CLIP) {
                rig_input(&r, wholes[t].dtype, 0, NULL, one);
                rig_constant(&r, wholes[t].dtype, 0, NULL, five);
            }
            rig_node(&r, ops[o], 1);
            rig_run(&r);
            for (size_t i = 0; i < N_EDGES; i++)
                ck_assert_msg(take(&wholes[t], r.outputs[0].data, i) ==
                                  single(ops[o], &wholes[t], v[i]),
                              "%s in %s of %lld is %lld", enso_op_name(ops[o]),
                              enso_dtype_name(wholes[t].dtype), (long long)v[i],
                              (long long)take(&wholes[t], r.outputs[0].data, i));
            rig_done(&r);
        }
}
END_TEST

START_TEST(test_logic)
{
    static const enum enso_op ops[] = {ENSO_OP_AND, ENSO_OP_OR, ENSO_OP_XOR, ENSO_OP_EQUAL,
                                       ENSO_OP_NOT};
    const uint8_t a[4] = {0, 0, 1, 1}, b[4] = {0, 1, 0, 1};
    const uint8_t want[5][4] = {
        {0, 0, 0, 1}, {0, 1, 1, 1}, {0, 1, 1, 0}, {1, 0, 0, 1}, {1, 1, 0, 0}};

    for (size_t o = 0; o < 5; o++) {
        struct rig r;

        rig_init(&r, "auto", 1);
        rig_input(&r, ENSO_DTYPE_BOOL, 1, DIMS(4), a);
        if (ops[o] != ENSO_OP_NOT)
            rig_input(&r, ENSO_DTYPE_BOOL, 1, DIMS(4), b);
        rig_node(&r, ops[o], 1);
        rig_run(&r);
        ck_assert_mem_eq(r.outputs[0].data, want[o], 4);
        rig_done(&r);
    }
}
END_TEST

/* Pow of each base type with each exponent type: (±1, 2, 3) to the 0, 1, 2 and 5. */
START_TEST(test_powers_of_all_types)
{
    static const enum enso_dtype bases[] = {F32, ENSO_DTYPE_F64, ENSO_DTYPE_I32, I64};
    static const enum enso_dtype exponents[] = {F32,
                                                ENSO_DTYPE_F64,
                                                ENSO_DTYPE_I8,
                                                ENSO_DTYPE_U8,
                                                ENSO_DTYPE_I16,
                                                ENSO_DTYPE_U16,
                                                ENSO_DTYPE_I32,
                                                ENSO_DTYPE_U32,
                                                I64,
                                                ENSO_DTYPE_U64};
    const int numbers[4] = {-1, 1, 2, 3}, powers[4] = {0, 1, 2, 5};

    for (size_t a = 0; a < ENSO_ARRAY_SIZE(bases); a++)
        for (size_t b = 0; b < ENSO_ARRAY_SIZE(exponents); b++) {
            unsigned char x[32], e[32];
            struct rig r;

            for (size_t i = 0; i < 4; i++) {
                const double n = numbers[i], p = powers[i];
                const float nf = (float)n, pf = (float)p;
                const int64_t ni = numbers[i], pi = powers[i];
                size_t nb = enso_dtype_row_bytes(bases[a], 1);
                size_t pb = enso_dtype_row_bytes(exponents[b], 1);

                memcpy(x + i * nb,
                       a == 0   ? (const void *)&nf
                       : a == 1 ? (const void *)&n
                                : &ni,
                       nb);
                memcpy(e + i * pb,
                       b == 0   ? (const void *)&pf
                       : b == 1 ? (const void *)&p
                                : &pi,
                       pb);
            }
            rig_init(&r, "auto", 1);
            rig_input(&r, bases[a], 2, DIMS(4, 1), x);
            rig_input(&r, exponents[b], 1, DIMS(4), e);
            rig_node(&r, ENSO_OP_POW, 1);
            rig_run(&r);
            for (size_t i = 0; i < 16; i++) {
                const void *y = r.outputs[0].data;
                double got = a == 0   ? (double)((const float *)y)[i]
                             : a == 1 ? ((const double *)y)[i]
                             : a == 2 ? ((const int32_t *)y)[i]
                                      : (double)((const int64_t *)y)[i];

                ck_assert_double_eq_tol(got, pow(numbers[i / 4], powers[i % 4]), 1e-4);
            }
            rig_done(&r);
        }
}
END_TEST

/* One operator on n elements in F32 and in F64 (results as double); inputs that are NULL are left
 * out. */
static void run_real(enum enso_op op, enum enso_dtype dtype, const double *a, const double *b,
                     size_t n, const char *attribute, double *y)
{
    const double *inputs[2] = {a, b};
    struct rig r;

    rig_init(&r, "auto", 1);
    for (size_t i = 0; i < 2 && inputs[i] != NULL; i++) {
        float f[64];

        for (size_t j = 0; j < n; j++)
            f[j] = (float)inputs[i][j];
        rig_input(&r, dtype, 1, DIMS((int64_t)n), dtype == F32 ? (const void *)f : inputs[i]);
    }
    rig_node(&r, op, 1);
    if (attribute != NULL && strcmp(attribute, "fmod") == 0)
        enso_graph_set_int(r.graph, r.node, attribute, 1);
    else if (attribute != NULL)
        enso_graph_set_string(r.graph, r.node, "approximate", attribute);
    rig_run(&r);
    for (size_t j = 0; j < n; j++)
        y[j] = dtype == F32 ? (double)((const float *)r.outputs[0].data)[j]
                            : ((const double *)r.outputs[0].data)[j];
    rig_done(&r);
}

/* F32 is compared with references in check_elementwise.c, so F64 need only be near it. */
START_TEST(test_unary_in_double)
{
    static const enum enso_op ops[] = {
        ENSO_OP_ABS,          ENSO_OP_CEIL,       ENSO_OP_CLIP,       ENSO_OP_ELU,
        ENSO_OP_ERF,          ENSO_OP_EXP,        ENSO_OP_FLOOR,      ENSO_OP_GELU,
        ENSO_OP_HARD_SIGMOID, ENSO_OP_HARD_SWISH, ENSO_OP_LEAKY_RELU, ENSO_OP_LOG,
        ENSO_OP_MISH,         ENSO_OP_NEG,        ENSO_OP_RECIPROCAL, ENSO_OP_RELU,
        ENSO_OP_ROUND,        ENSO_OP_SELU,       ENSO_OP_SIGMOID,    ENSO_OP_SIGN,
        ENSO_OP_SILU,         ENSO_OP_SOFTPLUS,   ENSO_OP_SOFTSIGN,   ENSO_OP_SQRT,
        ENSO_OP_TANH};
    const double x[11] = {-5.5, -2.5, -1, -0.25, -0.0, 0.25, 0.5, 1, 2.5, 5.5, (double)NAN};
    double single[11], y[11];

    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
        run_real(ops[o], F32, x, NULL, 11, NULL, single);
        run_real(ops[o], ENSO_DTYPE_F64, x, NULL, 11, NULL, y);
        for (size_t i = 0; i < 11; i++)
            ck_assert_msg((isnan(y[i]) && isnan(single[i])) || y[i] == single[i] ||
                              fabs(y[i] - single[i]) < 2e-7 * fmax(4, fabs(y[i])),
                          "%s of %g is %g in double, %g in float", enso_op_name(ops[o]), x[i], y[i],
                          single[i]);
    }
    run_real(ENSO_OP_ERF, ENSO_DTYPE_F64, x, NULL, 10, NULL, y);
    for (size_t i = 0; i < 10; i++) /* it is computed in double */
        ck_assert_double_eq_tol(y[i], erf(x[i]), 1e-15);
}
END_TEST

START_TEST(test_gelu_with_tanh)
{
    const double x[5] = {-3, -0.5, 0, 0.7, 4};

    for (unsigned t = 0; t < 2; t++) {
        double y[5];

        run_real(ENSO_OP_GELU, t == 0 ? F32 : ENSO_DTYPE_F64, x, NULL, 5, "tanh", y);
        for (size_t i = 0; i < 5; i++)
            ck_assert_double_eq_tol(
                y[i],
                0.5 * x[i] *
                    (1 + tanh(0.79788456080286535588 * (x[i] + 0.044715 * x[i] * x[i] * x[i]))),
                t == 0 ? 1e-6 : 1e-14);
    }
}
END_TEST

START_TEST(test_real_pairs)
{
    const double a[8] = {7.5, -7.5, 7.5, -7.5, 6, -0.5, (double)NAN, 3},
                 b[8] = {2, 2, -2, -2, 3, 4, 1, (double)NAN};
    const double floored[8] = {1.5, 0.5, -0.5, -1.5, 0, 3.5, (double)NAN, (double)NAN};
    static const enum enso_op ops[] = {ENSO_OP_ADD, ENSO_OP_SUB, ENSO_OP_MUL, ENSO_OP_DIV,
                                       ENSO_OP_MAX, ENSO_OP_MIN, ENSO_OP_POW};

    for (unsigned t = 0; t < 2; t++) {
        enum enso_dtype dtype = t == 0 ? F32 : ENSO_DTYPE_F64;
        double y[8];

        run_real(ENSO_OP_MOD, dtype, a, b, 8, NULL, y);
        for (size_t i = 0; i < 8; i++)
            ck_assert(y[i] == floored[i] || (isnan(y[i]) && isnan(floored[i])));
        run_real(ENSO_OP_MOD, dtype, a, b, 8, "fmod", y);
        for (size_t i = 0; i < 8; i++)
            ck_assert(y[i] == fmod(a[i], b[i]) || (isnan(y[i]) && isnan(fmod(a[i], b[i]))));
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++) {
            run_real(ops[o], dtype, a, b, 8, NULL, y);
            for (size_t i = 0; i < 8; i++) {
                double p = a[i], q = b[i];
                double want = o == 0   ? p + q
                              : o == 1 ? p - q
                              : o == 2 ? p * q
                              : o == 3 ? p / q
                              : o == 4 ? (isnan(q)            ? q
                                          : p > q || isnan(p) ? p
                                                              : q)
                              : o == 5 ? (isnan(q)            ? q
                                          : p < q || isnan(p) ? p
                                                              : q)
                                       : pow(p, q);

                ck_assert_msg((isnan(y[i]) && isnan(want)) ||
                                  fabs(y[i] - want) <= (t == 0 ? 1e-6 : 1e-15) * fabs(want),
                              "%s of %g and %g is %g", enso_op_name(ops[o]), p, q, y[i]);
            }
        }
    }
}
END_TEST

/* ---- casts ---- */

static const enum enso_dtype all_types[] = {
    F32,           ENSO_DTYPE_F16, ENSO_DTYPE_BF16, ENSO_DTYPE_F64, ENSO_DTYPE_I8,
    ENSO_DTYPE_U8, ENSO_DTYPE_I16, ENSO_DTYPE_U16,  ENSO_DTYPE_I32, ENSO_DTYPE_U32,
    I64,           ENSO_DTYPE_U64, ENSO_DTYPE_BOOL};

static bool is_real(enum enso_dtype dtype)
{
    return dtype == F32 || dtype == ENSO_DTYPE_F16 || dtype == ENSO_DTYPE_BF16 ||
           dtype == ENSO_DTYPE_F64;
}

/* v rounded once, to nearest even, to `digits` bits with least exponent `low` and largest number
 * below 2^high. */
static long double rounded(long double v, int digits, int low, int high)
{
    if (v == 0 || isnan(v) || isinf(v))
        return v;
    int exponent = ENSO_MAX(ilogbl(v), low);
    long double step = ldexpl(1, exponent - digits + 1), r = nearbyintl(v / step) * step;

    return fabsl(r) >= ldexpl(1, high) ? copysignl(INFINITY, v) : r;
}

static const struct whole *whole_of(enum enso_dtype dtype)
{
    static const struct whole truth = {ENSO_DTYPE_BOOL, 8, false};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(wholes); i++)
        if (wholes[i].dtype == dtype)
            return &wholes[i];
    return &truth;
}

/* Element i of any type; long double holds them all exactly. */
static long double value_of(enum enso_dtype dtype, const void *data, size_t i)
{
    float f;

    switch (dtype) {
    case ENSO_DTYPE_F32:
        return (long double)((const float *)data)[i];
    case ENSO_DTYPE_F64:
        return (long double)((const double *)data)[i];
    case ENSO_DTYPE_F16:
        enso_f16_to_f32((const uint16_t *)data + i, &f, 1);
        return (long double)f;
    case ENSO_DTYPE_BF16:
        enso_bf16_to_f32((const uint16_t *)data + i, &f, 1);
        return (long double)f;
    default:
        return (long double)take(whole_of(dtype), data, i);
    }
}

/* What Cast must make of v, whose type is `from`. */
static long double cast_of(enum enso_dtype from, long double v, enum enso_dtype to)
{
    /* integers come to halves through F32, as the operator says */
    long double narrow = is_real(from) ? v : (long double)(float)v;

    switch (to) {
    case ENSO_DTYPE_F32:
        return rounded(v, 24, -126, 128);
    case ENSO_DTYPE_F64:
        return rounded(v, 53, -1022, 1024);
    case ENSO_DTYPE_F16:
        return rounded(narrow, 11, -14, 16);
    case ENSO_DTYPE_BF16:
        return rounded(narrow, 8, -126, 128);
    case ENSO_DTYPE_BOOL:
        return v != 0;
    default:
        break;
    }
    const struct whole *t = whole_of(to);

    if (!is_real(from))
        return (long double)wrap(t, (uwide)(wide)v);
    long double least = t->is_signed ? -ldexpl(1, (int)t->bits - 1) : 0;
    long double most = least + ldexpl(1, (int)t->bits) - 1;

    return isnan(v) ? 0 : v <= least ? least : v >= most ? most : truncl(v);
}

/* Numbers on the edges of all types, and ties of the halves with and without a bit far below. */
static const double reals[] = {0.0,
                               -0.0,
                               0.5,
                               -0.5,
                               1.5,
                               2.5,
                               -1.9,
                               127.5,
                               -128.5,
                               -129.0,
                               255.9,
                               256.0,
                               32767.5,
                               -32769.0,
                               65504.0,
                               65519.0,
                               65520.0,
                               6e-8,
                               2.9e-8,
                               -1e-8,
                               2147483647,
                               2147483648,
                               -3e9,
                               4294967295.0,
                               4294967296.0,
                               9007199254740993.0,
                               9.3e18,
                               -9.3e18,
                               1.9e19,
                               1e20,
                               3.4e38,
                               3.5e38,
                               1e300,
                               -1e300,
                               1e-40,
                               1e-46,
                               -1e-310,
                               1.0 + 0x1p-11,
                               1.0 + 0x1p-11 + 0x1p-40,
                               1.0 + 0x1p-8,
                               1.0 + 0x1p-8 + 0x1p-45,
                               1.0 + 3 * 0x1p-8 - 0x1p-45,
                               NAN,
                               INFINITY,
                               -INFINITY};
#define MAX_VALUES 64

/* A row of values of a type; their count. */
static size_t make_values(enum enso_dtype dtype, void *data)
{
    size_t n = 0;

    if (!is_real(dtype)) {
        wide v[N_EDGES];

        if (dtype == ENSO_DTYPE_BOOL)
            return memcpy(data, "\0\1", 2), 2;
        edges(whole_of(dtype), v);
        for (; n < N_EDGES; n++)
            put(whole_of(dtype), data, n, v[n]);
        return n;
    }
    for (; n < ENSO_ARRAY_SIZE(reals); n++) {
        float f = (float)reals[n];

        if (dtype == ENSO_DTYPE_F64)
            ((double *)data)[n] = reals[n];
        else if (dtype == F32)
            ((float *)data)[n] = f;
        else if (dtype == ENSO_DTYPE_F16)
            enso_f32_to_f16(&f, (uint16_t *)data + n, 1);
        else
            enso_f32_to_bf16(&f, (uint16_t *)data + n, 1);
    }
    return n;
}

START_TEST(test_cast_every_pair_at_its_edges)
{
    for (size_t a = 0; a < ENSO_ARRAY_SIZE(all_types); a++)
        for (size_t b = 0; b < ENSO_ARRAY_SIZE(all_types); b++) {
            enum enso_dtype from = all_types[a], to = all_types[b];
            uint64_t x[MAX_VALUES];
            size_t n = make_values(from, x);
            struct rig r;

            rig_init(&r, "auto", 1);
            rig_input(&r, from, 1, DIMS((int64_t)n), x);
            rig_node(&r, ENSO_OP_CAST, 1);
            enso_graph_set_int(r.graph, r.node, "to", to);
            rig_run(&r);
            for (size_t i = 0; i < n; i++) {
                long double v = value_of(from, x, i), want = cast_of(from, v, to);
                long double got = value_of(to, r.outputs[0].data, i);

                ck_assert_msg((isnan(got) && isnan(want)) ||
                                  (got == want && (!is_real(to) || signbit(got) == signbit(want))),
                              "%s %.20Lg as %s is %.20Lg, should be %.20Lg", enso_dtype_name(from),
                              v, enso_dtype_name(to), got, want);
            }
            rig_done(&r);
        }
}
END_TEST

/* U64 reaches beyond what an int64_t holds, with bounds and without. */
START_TEST(test_clip_of_long_unsigned)
{
    const uint64_t x[4] = {0, 7, UINT64_MAX - 1, UINT64_MAX}, low = 3, high = UINT64_MAX - 1;

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned bounds = 0; bounds < 2; bounds++) {
            const uint64_t want[4] = {3, 7, UINT64_MAX - 1, bounds > 0 ? high : UINT64_MAX};
            struct rig r;

            rig_init(&r, *set, 1);
            rig_input(&r, ENSO_DTYPE_U64, 1, (const int64_t[]){4}, x);
            rig_input(&r, ENSO_DTYPE_U64, 0, NULL, &low);
            if (bounds > 0)
                rig_input(&r, ENSO_DTYPE_U64, 0, NULL, &high);
            rig_node(&r, ENSO_OP_CLIP, 1);
            rig_run(&r);
            ck_assert_mem_eq(r.outputs[0].data, want, sizeof(want));
            rig_done(&r);
        }
}
END_TEST

/* The hard ones end at their limits, in F32 and in F64. */
START_TEST(test_hard_activations_of_infinity)
{
    const double x[2] = {(double)INFINITY, -(double)INFINITY};
    const float xf[2] = {INFINITY, -INFINITY};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned f64 = 0; f64 < 2; f64++)
            for (unsigned swish = 0; swish < 2; swish++) {
                enum enso_dtype dtype = f64 ? ENSO_DTYPE_F64 : ENSO_DTYPE_F32;
                struct rig r;

                rig_init(&r, *set, 1);
                rig_input(&r, dtype, 1, (const int64_t[]){2}, f64 ? (const void *)x : xf);
                rig_node(&r, swish ? ENSO_OP_HARD_SWISH : ENSO_OP_HARD_SIGMOID, 1);
                rig_run(&r);
                for (size_t i = 0; i < 2; i++) {
                    double y = f64 ? ((double *)r.outputs[0].data)[i]
                                   : (double)((float *)r.outputs[0].data)[i];
                    double want = i == 0 ? (swish ? (double)INFINITY : 1) : 0;

                    /* -infinity times 0: NaN, as in the formula */
                    ck_assert_msg(y == want || (swish && i == 1 && isnan(y)), "%s %s of %g is %g",
                                  *set, swish ? "HardSwish" : "HardSigmoid", x[i], y);
                }
                rig_done(&r);
            }
}
END_TEST

/* What a GPU cannot do is refused at bind, so that the model runs on the CPU. */
START_TEST(test_gpu_refuses_at_bind)
{
    const double x[2] = {0.5, 1};
    struct rig r;

    rig_init(&r, "auto", 1);
    rig_input(&r, ENSO_DTYPE_F64, 1, DIMS(2), x);
    rig_node(&r, ENSO_OP_SIN, 1);
    ck_assert_int_eq(rig_try_bind(&r), rig_on_gpu() ? ENSO_UNSUPPORTED : ENSO_OK);
    if (rig_on_gpu())
        ck_assert_ptr_nonnull(strstr(r.err.message, "Sin 'node': input of type FP64"));
    rig_done(&r);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/corners");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_logic);
    tcase_add_test(core, test_powers_of_all_types);
    tcase_add_test(core, test_unary_in_double);
    tcase_add_test(core, test_gelu_with_tanh);
    tcase_add_test(core, test_real_pairs);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, test_whole_pairs);
    tcase_add_test(limits, test_whole_singles);
    tcase_add_test(limits, test_clip_of_long_unsigned);
    tcase_add_test(limits, test_hard_activations_of_infinity);
    tcase_add_test(limits, test_cast_every_pair_at_its_edges);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_gpu_refuses_at_bind);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
