/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementwise operators against references in double: unary, binary with broadcasting, Where, Cast.
 *
 * Tolerances: the portable set uses libm (errors of a unit or two in the last place); the AVX2
 * set's exp, erf and tanh are good to 3e-7 absolute or 3e-7 relative (math_avx2.h), what is made of
 * them multiplies that by at most the argument.
 */
#include "ensod_build.h"

#include "tests/kernels/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32

static const struct {
    enum enso_op op;
    double low, high; /* finite arguments are drawn from here */
} unaries[] = {
    {ENSO_OP_ABS, -9, 9},          {ENSO_OP_CEIL, -9, 9},        {ENSO_OP_CLIP, -9, 9},
    {ENSO_OP_COS, -9, 9},          {ENSO_OP_ELU, -9, 9},         {ENSO_OP_ERF, -6, 6},
    {ENSO_OP_EXP, -100, 85},       {ENSO_OP_FLOOR, -9, 9},       {ENSO_OP_GELU, -9, 9},
    {ENSO_OP_HARD_SIGMOID, -9, 9}, {ENSO_OP_HARD_SWISH, -9, 9},  {ENSO_OP_LEAKY_RELU, -9, 9},
    {ENSO_OP_LOG, 1e-6, 9},        {ENSO_OP_MISH, -30, 30},      {ENSO_OP_NEG, -9, 9},
    {ENSO_OP_RECIPROCAL, 0.1, 9},  {ENSO_OP_RELU, -9, 9},        {ENSO_OP_ROUND, -9, 9},
    {ENSO_OP_SELU, -9, 9},         {ENSO_OP_SIGMOID, -100, 100}, {ENSO_OP_SIGN, -9, 9},
    {ENSO_OP_SILU, -9, 9},         {ENSO_OP_SIN, -9, 9},         {ENSO_OP_SOFTPLUS, -100, 100},
    {ENSO_OP_SOFTSIGN, -9, 9},     {ENSO_OP_SQRT, 0, 9},         {ENSO_OP_TANH, -12, 12},
};

static const size_t sizes[] = {0, 1, 7, 8, 9, 31, 32, 33, 100};

START_TEST(test_unary_against_double)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(unaries); i++)
            for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++) {
                size_t n = sizes[s];
                float *x = rig_random_new(n, (unsigned)(i * 100 + s));
                double want[100];
                struct rig r;

                for (size_t j = 0; j < n; j++) {
                    double at = ((double)x[j] + 1) / 2;

                    x[j] = (float)(unaries[i].low + (unaries[i].high - unaries[i].low) * at);
                    want[j] = reference_unary(unaries[i].op, (double)x[j]);
                }
                rig_init(&r, *set, 1);
                rig_input(&r, F32, 1, (int64_t[]){(int64_t)n}, x);
                rig_node(&r, unaries[i].op, 1);
                rig_run(&r);
                rig_near(enso_op_name(unaries[i].op), r.outputs[0].data, want, n, 6e-7, 4e-7);
                rig_done(&r);
                free(x);
            }
}
END_TEST

/* NaN, infinities and zeros, where the reference in double says what must come. */
START_TEST(test_unary_special_values)
{
    const float x[5] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(unaries); i++) {
            double want[5];
            struct rig r;

            for (size_t j = 0; j < 5; j++)
                want[j] = reference_unary(unaries[i].op, (double)x[j]);
            rig_init(&r, *set, 1);
            rig_input(&r, F32, 1, (int64_t[]){5}, x);
            rig_node(&r, unaries[i].op, 1);
            rig_run(&r);
            if (unaries[i].op == ENSO_OP_GELU || unaries[i].op == ENSO_OP_MISH ||
                unaries[i].op == ENSO_OP_SILU || unaries[i].op == ENSO_OP_HARD_SWISH ||
                unaries[i].op == ENSO_OP_SOFTSIGN)
                want[1] = want[2] = (double)NAN; /* 0 · inf: any of NaN, limit is right */
            for (size_t j = 0; j < 5; j++) {
                float got = ((float *)r.outputs[0].data)[j];

                if ((j == 1 || j == 2) && isnan(want[j]))
                    continue;
                ck_assert_msg((isnan(got) && isnan(want[j])) ||
                                  fabs((double)got - want[j]) < 1e-6 || (double)got == want[j],
                              "%s %s of %g is %g, should be %g", *set, enso_op_name(unaries[i].op),
                              (double)x[j], (double)got, want[j]);
            }
            rig_done(&r);
        }
}
END_TEST

START_TEST(test_clip_with_bounds)
{
    const float x[6] = {-5, -1, 0, 1, 5, NAN}, low = -1.5f, high = 2;
    const double both[6] = {-1.5, -1, 0, 1, 2, (double)NAN},
                 upper[6] = {-5, -1, 0, 1, 2, (double)NAN};
    const int32_t xi[4] = {-5, 0, 5, 7}, low_i = -2;

    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        struct rig r;

        rig_init(&r, *set, 1);
        rig_input(&r, F32, 1, (int64_t[]){6}, x);
        rig_input(&r, F32, 0, NULL, &low);
        rig_constant(&r, F32, 0, NULL, &high);
        rig_node(&r, ENSO_OP_CLIP, 1);
        rig_run(&r);
        rig_near("both", r.outputs[0].data, both, 6, 0, 0);
        rig_done(&r);

        rig_init(&r, *set, 1);
        rig_input(&r, F32, 1, (int64_t[]){6}, x);
        rig_absent(&r);
        rig_constant(&r, F32, 0, NULL, &high);
        rig_node(&r, ENSO_OP_CLIP, 1);
        rig_run(&r);
        rig_near("upper", r.outputs[0].data, upper, 6, 0, 0);
        rig_done(&r);

        rig_init(&r, *set, 1);
        rig_input(&r, ENSO_DTYPE_I32, 1, (int64_t[]){4}, xi);
        rig_constant(&r, ENSO_DTYPE_I32, 0, NULL, &low_i);
        rig_node(&r, ENSO_OP_CLIP, 1);
        rig_run(&r);
        const int32_t *y = r.outputs[0].data;
        ck_assert_int_eq(y[0], -2);
        ck_assert_int_eq(y[3], 7);
        rig_done(&r);
    }
}
END_TEST

/* Reference broadcasting by numpy's rule, dims aligned at the end. */
static size_t broadcast_index(const int64_t *dims, size_t rank, const int64_t *out, size_t out_rank,
                              size_t at)
{
    size_t index = 0, stride = 1;

    for (size_t d = 0; d < out_rank; d++) {
        size_t i = at % (size_t)out[out_rank - 1 - d];

        at /= (size_t)out[out_rank - 1 - d];
        if (d >= rank)
            continue;
        if (dims[rank - 1 - d] != 1)
            index += i * stride;
        stride *= (size_t)dims[rank - 1 - d];
    }
    return index;
}

static double add(double a, double b)
{
    return a + b;
}
static double sub(double a, double b)
{
    return a - b;
}
static double mul(double a, double b)
{
    return a * b;
}
static double quotient(double a, double b)
{
    return a / b;
}
static double larger(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}
static double smaller(double a, double b)
{
    return a < b || isnan(a) ? a : b;
}
static double prelu(double a, double b)
{
    return a < 0 ? a * b : a;
}

static const struct {
    enum enso_op op;
    double (*f)(double, double);
} binaries[] = {{ENSO_OP_ADD, add},      {ENSO_OP_SUB, sub},    {ENSO_OP_MUL, mul},
                {ENSO_OP_DIV, quotient}, {ENSO_OP_MAX, larger}, {ENSO_OP_MIN, smaller},
                {ENSO_OP_PRELU, prelu},  {ENSO_OP_SUM, add}};

static const struct {
    size_t ranks[3];
    int64_t dims[3][4]; /* a, b, result */
} shapes[] = {
    {{0, 0, 0}, {{0}, {0}, {0}}},
    {{1, 1, 1}, {{33}, {33}, {33}}},
    {{1, 0, 1}, {{9}, {0}, {9}}},
    {{3, 1, 3}, {{2, 3, 17}, {17}, {2, 3, 17}}},
    {{4, 3, 4}, {{2, 3, 4, 5}, {3, 1, 1}, {2, 3, 4, 5}}},
    {{4, 4, 4}, {{2, 1, 4, 1}, {1, 3, 1, 5}, {2, 3, 4, 5}}},
    {{2, 2, 2}, {{7, 1}, {7, 8}, {7, 8}}},
    {{2, 2, 2}, {{0, 4}, {1, 4}, {0, 4}}},
};

START_TEST(test_binary_broadcasts)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t o = 0; o < ENSO_ARRAY_SIZE(binaries); o++)
            for (size_t s = 0; s < ENSO_ARRAY_SIZE(shapes); s++)
                for (unsigned swap = 0; swap < 2; swap++) {
                    size_t ia = swap, ib = 1 - swap;
                    float *a = rig_random_new(1000, 3), *b = rig_random_new(1000, 4);
                    double want[1000];
                    size_t n = 1;
                    struct rig r;

                    if (binaries[o].op == ENSO_OP_PRELU && swap != 0) {
                        free(a);
                        free(b);
                        continue; /* the slope broadcasts one way only */
                    }
                    if (binaries[o].op == ENSO_OP_PRELU && (s == 5 || s == 6)) {
                        free(a);
                        free(b);
                        continue;
                    }
                    for (size_t d = 0; d < shapes[s].ranks[2]; d++)
                        n *= (size_t)shapes[s].dims[2][d];
                    for (size_t i = 0; i < n; i++)
                        want[i] = (double)(float)binaries[o].f(
                            (double)a[broadcast_index(shapes[s].dims[ia], shapes[s].ranks[ia],
                                                      shapes[s].dims[2], shapes[s].ranks[2], i)],
                            (double)b[broadcast_index(shapes[s].dims[ib], shapes[s].ranks[ib],
                                                      shapes[s].dims[2], shapes[s].ranks[2], i)]);
                    rig_init(&r, *set, 2);
                    rig_input(&r, F32, shapes[s].ranks[ia], shapes[s].dims[ia], a);
                    rig_input(&r, F32, shapes[s].ranks[ib], shapes[s].dims[ib], b);
                    rig_node(&r, binaries[o].op, 1);
                    rig_run(&r);
                    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)n);
                    rig_near(enso_op_name(binaries[o].op), r.outputs[0].data, want, n, 0, 1e-7);
                    rig_done(&r);
                    free(a);
                    free(b);
                }
}
END_TEST

START_TEST(test_binary_nan_wins)
{
    const float a[3] = {NAN, 1, NAN}, b[3] = {1, NAN, NAN};

    for (unsigned i = 0; i < 2; i++) {
        struct rig r;

        rig_init(&r, "auto", 1);
        rig_input(&r, F32, 1, (int64_t[]){3}, a);
        rig_input(&r, F32, 1, (int64_t[]){3}, b);
        rig_node(&r, i == 0 ? ENSO_OP_MAX : ENSO_OP_MIN, 1);
        rig_run(&r);
        for (size_t j = 0; j < 3; j++)
            ck_assert(isnan(((float *)r.outputs[0].data)[j]));
        rig_done(&r);
    }
}
END_TEST

/* Run a binary operator on one pair of integers. */
static int64_t pair_i32(enum enso_op op, int32_t a, int32_t b, int fmod_attribute)
{
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, ENSO_DTYPE_I32, 0, NULL, &a);
    rig_input(&r, ENSO_DTYPE_I32, 0, NULL, &b);
    rig_node(&r, op, 1);
    enso_graph_set_int(r.graph, r.node, "fmod", fmod_attribute);
    rig_run(&r);
    int64_t y = r.outputs[0].dtype == ENSO_DTYPE_BOOL ? *(uint8_t *)r.outputs[0].data
                                                      : *(int32_t *)r.outputs[0].data;
    rig_done(&r);
    return y;
}

START_TEST(test_integer_corners)
{
    ck_assert_int_eq(pair_i32(ENSO_OP_DIV, 7, 0, 0), 0); /* no fault */
    ck_assert_int_eq(pair_i32(ENSO_OP_DIV, INT32_MIN, -1, 0), INT32_MIN);
    ck_assert_int_eq(pair_i32(ENSO_OP_DIV, -7, 2, 0), -3);
    ck_assert_int_eq(pair_i32(ENSO_OP_MOD, -7, 3, 0), 2);
    ck_assert_int_eq(pair_i32(ENSO_OP_MOD, 7, -3, 0), -2);
    ck_assert_int_eq(pair_i32(ENSO_OP_MOD, -7, 3, 1), -1);
    ck_assert_int_eq(pair_i32(ENSO_OP_MOD, INT32_MIN, -1, 0), 0);
    ck_assert_int_eq(pair_i32(ENSO_OP_MOD, 5, 0, 0), 0);
    ck_assert_int_eq(pair_i32(ENSO_OP_ADD, INT32_MAX, 1, 0), INT32_MIN);
    ck_assert_int_eq(pair_i32(ENSO_OP_MUL, 1 << 20, 1 << 20, 0), 0);
    ck_assert_int_eq(pair_i32(ENSO_OP_POW, 3, 4, 0), 81);
    ck_assert_int_eq(pair_i32(ENSO_OP_POW, -1, -3, 0), -1);
    ck_assert_int_eq(pair_i32(ENSO_OP_POW, 2, -1, 0), 0);
    ck_assert_int_eq(pair_i32(ENSO_OP_LESS, -1, 0, 0), 1);
    ck_assert_int_eq(pair_i32(ENSO_OP_GREATER_OR_EQUAL, 5, 5, 0), 1);
    ck_assert_int_eq(pair_i32(ENSO_OP_EQUAL, 5, 6, 0), 0);
}
END_TEST

START_TEST(test_pow_mixed_types)
{
    const float x[3] = {2, 9, 4};
    const int64_t e[3] = {3, 2, -1};
    const double want[3] = {8, 81, 0.25};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 1, (int64_t[]){3}, x);
    rig_input(&r, ENSO_DTYPE_I64, 1, (int64_t[]){3}, e);
    rig_node(&r, ENSO_OP_POW, 1);
    rig_run(&r);
    rig_near("pow", r.outputs[0].data, want, 3, 0, 1e-6);
    rig_done(&r);
}
END_TEST

START_TEST(test_variadic)
{
    const float a[4] = {1, 2, 3, 4}, b[1] = {10}, c[2] = {100, 200};
    const double mean[4] = {37, 212 / 3.0, 113 / 3.0, 214 / 3.0};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, (int64_t[]){2, 2}, a);
    rig_input(&r, F32, 1, (int64_t[]){1}, b);
    rig_input(&r, F32, 1, (int64_t[]){2}, c);
    rig_node(&r, ENSO_OP_MEAN, 1);
    rig_run(&r);
    rig_near("mean", r.outputs[0].data, mean, 4, 0, 1e-6);
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, (int64_t[]){2, 2}, a);
    rig_node(&r, ENSO_OP_MAX, 1);
    rig_run(&r);
    ck_assert_mem_eq(r.outputs[0].data, a, sizeof(a));
    rig_done(&r);
}
END_TEST

START_TEST(test_where_broadcasts)
{
    const uint8_t c[3] = {1, 0, 1};
    const int64_t a[2] = {10, 20}, b[1] = {-1};
    const int64_t want[6] = {10, -1, 10, 20, -1, 20};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, ENSO_DTYPE_BOOL, 1, (int64_t[]){3}, c);
    rig_input(&r, ENSO_DTYPE_I64, 2, (int64_t[]){2, 1}, a);
    rig_input(&r, ENSO_DTYPE_I64, 0, NULL, b);
    rig_node(&r, ENSO_OP_WHERE, 1);
    rig_run(&r);
    ck_assert_mem_eq(r.outputs[0].data, want, sizeof(want));
    rig_done(&r);
}
END_TEST

static void cast(enum enso_dtype from, const void *x, size_t n, enum enso_dtype to, void *y)
{
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, from, 1, (int64_t[]){(int64_t)n}, x);
    rig_node(&r, ENSO_OP_CAST, 1);
    enso_graph_set_int(r.graph, r.node, "to", to);
    rig_run(&r);
    memcpy(y, r.outputs[0].data, enso_tensor_bytes(&r.outputs[0]));
    rig_done(&r);
}

START_TEST(test_cast_saturates)
{
    const float x[6] = {-1.9f, 300, -300, NAN, INFINITY, 0};
    int8_t i8[6];
    uint8_t u8[6], truth[6];
    int64_t i64[6];

    cast(F32, x, 6, ENSO_DTYPE_I8, i8);
    ck_assert_int_eq(i8[0], -1);
    ck_assert_int_eq(i8[1], 127);
    ck_assert_int_eq(i8[2], -128);
    ck_assert_int_eq(i8[3], 0);
    cast(F32, x, 6, ENSO_DTYPE_U8, u8);
    ck_assert_uint_eq(u8[0], 0);
    ck_assert_uint_eq(u8[1], 255);
    cast(F32, x, 6, ENSO_DTYPE_I64, i64);
    ck_assert_int_eq(i64[4], INT64_MAX);
    cast(F32, x, 6, ENSO_DTYPE_BOOL, truth);
    ck_assert_uint_eq(truth[3], 1);
    ck_assert_uint_eq(truth[5], 0);
}
END_TEST

START_TEST(test_cast_all_pairs)
{
    static const enum enso_dtype types[] = {ENSO_DTYPE_F32, ENSO_DTYPE_F64, ENSO_DTYPE_I8,
                                            ENSO_DTYPE_U8,  ENSO_DTYPE_I16, ENSO_DTYPE_U16,
                                            ENSO_DTYPE_I32, ENSO_DTYPE_U32, ENSO_DTYPE_I64,
                                            ENSO_DTYPE_U64, ENSO_DTYPE_BOOL};
    const float x[3] = {0, 1, 1};

    for (size_t a = 0; a < ENSO_ARRAY_SIZE(types); a++)
        for (size_t b = 0; b < ENSO_ARRAY_SIZE(types); b++) {
            uint64_t there[3], over[3];
            float back[3];

            cast(F32, x, 3, types[a], there);
            cast(types[a], there, 3, types[b], over);
            cast(types[b], over, 3, F32, back);
            ck_assert_mem_eq(back, x, sizeof(x));
        }
}
END_TEST

START_TEST(test_elementwise_refusals)
{
    const float x[2] = {1, 2};
    const int32_t i[2] = {1, 2};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, ENSO_DTYPE_I32, 1, (int64_t[]){2}, i);
    rig_node(&r, ENSO_OP_ERF, 1);
    ck_assert_int_lt(rig_try_bind(&r), 0);
    ck_assert_ptr_nonnull(strstr(r.err.message, "Erf"));
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 1, (int64_t[]){2}, x);
    rig_input(&r, ENSO_DTYPE_I32, 1, (int64_t[]){2}, i);
    rig_node(&r, ENSO_OP_ADD, 1);
    ck_assert_int_lt(rig_try_bind(&r), 0);
    rig_done(&r);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/elementwise");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_unary_against_double);
    tcase_add_test(core, test_clip_with_bounds);
    tcase_add_test(core, test_binary_broadcasts);
    tcase_add_test(core, test_pow_mixed_types);
    tcase_add_test(core, test_variadic);
    tcase_add_test(core, test_where_broadcasts);
    tcase_add_test(core, test_cast_all_pairs);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, test_unary_special_values);
    tcase_add_test(limits, test_binary_nan_wins);
    tcase_add_test(limits, test_integer_corners);
    tcase_add_test(limits, test_cast_saturates);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_elementwise_refusals);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
