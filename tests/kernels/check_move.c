/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that move or make elements (exact results) and reductions (sums in double: one rounding
 * of the result, tolerance 1e-6 relative).
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I64 ENSO_DTYPE_I64

static float numbers[4096];

static void setup(void)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(numbers); i++)
        numbers[i] = (float)i;
}

static void expect(struct rig *r, size_t output, size_t n, const float *want)
{
    ck_assert_int_eq(enso_tensor_count(&r->outputs[output]), (int64_t)n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(((float *)r->outputs[output].data)[i] == want[i],
                      "element %zu is %g, should be %g", i,
                      (double)((float *)r->outputs[output].data)[i], (double)want[i]);
}

START_TEST(test_transpose_all_permutations)
{
    const int64_t dims[4] = {2, 3, 4, 5};

    for (unsigned code = 0; code < 256; code++) {
        int64_t perm[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3};
        float want[120];
        struct rig r;
        size_t n = 0;

        if ((1 << perm[0] | 1 << perm[1] | 1 << perm[2] | 1 << perm[3]) != 15)
            continue;
        const int64_t strides[4] = {60, 20, 5, 1};
        for (int64_t a = 0; a < dims[perm[0]]; a++)
            for (int64_t b = 0; b < dims[perm[1]]; b++)
                for (int64_t c = 0; c < dims[perm[2]]; c++)
                    for (int64_t d = 0; d < dims[perm[3]]; d++)
                        want[n++] = numbers[a * strides[perm[0]] + b * strides[perm[1]] +
                                            c * strides[perm[2]] + d * strides[perm[3]]];
        rig_init(&r, "generic", 2);
        rig_input(&r, F32, 4, dims, numbers);
        rig_node(&r, ENSO_OP_TRANSPOSE, 1);
        enso_graph_set_ints(r.graph, r.node, "perm", perm, 4);
        rig_run(&r);
        expect(&r, 0, 120, want);
        rig_done(&r);
    }
}
END_TEST

START_TEST(test_concat_and_split)
{
    const float a[4] = {0, 1, 2, 3}, b[6] = {10, 11, 12, 13, 14, 15};
    const float want[10] = {0, 1, 10, 11, 12, 2, 3, 13, 14, 15};
    const int64_t sizes[3] = {2, 0, 3};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, DIMS(2, 2), a);
    rig_input(&r, F32, 2, DIMS(2, 3), b);
    rig_node(&r, ENSO_OP_CONCAT, 1);
    enso_graph_set_int(r.graph, r.node, "axis", -1);
    rig_run(&r);
    expect(&r, 0, 10, want);
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, DIMS(2, 5), want);
    rig_constant(&r, I64, 1, DIMS(3), sizes);
    rig_node(&r, ENSO_OP_SPLIT, 3);
    enso_graph_set_int(r.graph, r.node, "axis", 1);
    rig_run(&r);
    expect(&r, 0, 4, a);
    expect(&r, 1, 0, NULL);
    expect(&r, 2, 6, b);
    rig_done(&r);
}
END_TEST

static void slice(const int64_t *dims, size_t rank, int64_t start, int64_t end, int64_t axis,
                  int64_t step, size_t n, const float *want)
{
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, rank, dims, numbers);
    rig_constant(&r, I64, 1, DIMS(1), &start);
    rig_constant(&r, I64, 1, DIMS(1), &end);
    rig_constant(&r, I64, 1, DIMS(1), &axis);
    rig_constant(&r, I64, 1, DIMS(1), &step);
    rig_node(&r, ENSO_OP_SLICE, 1);
    rig_run(&r);
    expect(&r, 0, n, want);
    rig_done(&r);
}

START_TEST(test_slice)
{
    const int64_t *d = DIMS(2, 5);

    slice(d, 2, 1, 4, 1, 1, 6, (float[]){1, 2, 3, 6, 7, 8});
    slice(d, 2, -2, INT64_MAX, 1, 1, 4, (float[]){3, 4, 8, 9});
    slice(d, 2, 0, 5, 1, 2, 6, (float[]){0, 2, 4, 5, 7, 9});
    slice(d, 2, -1, INT64_MIN, 1, -1, 10, (float[]){4, 3, 2, 1, 0, 9, 8, 7, 6, 5});
    slice(d, 2, 100, -100, 1, -3, 4, (float[]){4, 1, 9, 6});
    slice(d, 2, 3, 1, 1, 1, 0, NULL);
    slice(d, 2, 1, 2, -2, INT64_MAX, 5, (float[]){5, 6, 7, 8, 9});
    slice(d, 2, 4, 0, 1, INT64_MIN + 1, 2, (float[]){4, 9});
}
END_TEST

static void pad(const char *mode, const int64_t *dims, const int64_t *pads, size_t n,
                const float *want)
{
    const float value = -1;
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, dims, numbers);
    rig_constant(&r, I64, 1, DIMS(4), pads);
    if (strcmp(mode, "constant") == 0)
        rig_input(&r, F32, 0, NULL, &value);
    rig_node(&r, ENSO_OP_PAD, 1);
    enso_graph_set_string(r.graph, r.node, "mode", mode);
    rig_run(&r);
    expect(&r, 0, n, want);
    rig_done(&r);
}

START_TEST(test_pad)
{
    const int64_t *d = DIMS(2, 3);

    pad("constant", d, DIMS(1, 1, 0, 2), 18,
        (float[]){-1, -1, -1, -1, -1, -1, -1, 0, 1, 2, -1, -1, -1, 3, 4, 5, -1, -1});
    pad("edge", d, DIMS(0, 1, 1, 1), 15, (float[]){0, 0, 1, 2, 2, 3, 3, 4, 5, 5, 3, 3, 4, 5, 5});
    pad("reflect", d, DIMS(1, 2, 0, 1), 18,
        (float[]){5, 4, 3, 4, 5, 4, 2, 1, 0, 1, 2, 1, 5, 4, 3, 4, 5, 4});
    pad("wrap", d, DIMS(0, 1, 0, 1), 10, (float[]){2, 0, 1, 2, 0, 5, 3, 4, 5, 3});
    pad("constant", d, DIMS(0, -1, 0, 1), 6, (float[]){1, 2, -1, 4, 5, -1});
    pad("constant", DIMS(0, 2), DIMS(1, 0, 0, 0), 2, (float[]){-1, -1});
}
END_TEST

START_TEST(test_expand_and_tile)
{
    const float want_expand[12] = {0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2};
    const float want_tile[12] = {0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, DIMS(3, 1), numbers);
    rig_constant(&r, I64, 1, DIMS(3), DIMS(2, 1, 2));
    rig_node(&r, ENSO_OP_EXPAND, 1);
    rig_run(&r);
    expect(&r, 0, 12, want_expand);
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, DIMS(2, 2), numbers);
    rig_constant(&r, I64, 1, DIMS(2), DIMS(2, 2));
    rig_node(&r, ENSO_OP_TILE, 1);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), 16);
    ck_assert_mem_eq(r.outputs[0].data, want_tile, sizeof(want_tile));
    rig_done(&r);
}
END_TEST

START_TEST(test_gather)
{
    const float want[8] = {2, 0, 5, 3, 8, 6, 11, 9};
    struct rig r;

    rig_init(&r, "generic", 2);
    rig_input(&r, F32, 2, DIMS(4, 3), numbers);
    rig_input(&r, I64, 1, DIMS(2), DIMS(-1, 0));
    rig_node(&r, ENSO_OP_GATHER, 1);
    enso_graph_set_int(r.graph, r.node, "axis", 1);
    rig_run(&r);
    expect(&r, 0, 8, want);
    ((int64_t *)r.inputs[1].data)[1] = 3;
    ck_assert_int_eq(rig_try_run(&r), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(r.err.message, "Gather 'node'"));
    rig_done(&r);
}
END_TEST

START_TEST(test_makers)
{
    const int64_t want[3] = {10, 7, 4};
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_constant(&r, I64, 0, NULL, DIMS(10));
    rig_constant(&r, I64, 0, NULL, DIMS(2));
    rig_constant(&r, I64, 0, NULL, DIMS(-3));
    rig_node(&r, ENSO_OP_RANGE, 1);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dims[0], 3);
    ck_assert_mem_eq(r.outputs[0].data, want, sizeof(want));
    rig_done(&r);

    const uint8_t seven = 7;
    rig_init(&r, "generic", 1);
    rig_constant(&r, I64, 1, DIMS(2), DIMS(3, 5));
    rig_constant(&r, ENSO_DTYPE_U8, 1, DIMS(1), &seven);
    rig_node(&r, ENSO_OP_CONSTANT_OF_SHAPE, 1);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dtype, ENSO_DTYPE_U8);
    for (size_t i = 0; i < 15; i++)
        ck_assert_uint_eq(((uint8_t *)r.outputs[0].data)[i], 7);
    rig_done(&r);

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 3, DIMS(2, 3, 4), numbers);
    rig_node(&r, ENSO_OP_SHAPE, 1);
    rig_run(&r);
    for (int64_t i = 0; i < 3; i++)
        ck_assert_int_eq(((int64_t *)r.outputs[0].data)[i], 2 + i);
    rig_done(&r);
}
END_TEST

/* [1, 8, 1, 2] with block 2; reference by the definition with explicit indices. */
START_TEST(test_depth_to_space_and_back)
{
    for (unsigned crd = 0; crd < 2; crd++) {
        float want[16];
        struct rig r;

        for (size_t c = 0; c < 2; c++)
            for (size_t h = 0; h < 2; h++)
                for (size_t w = 0; w < 4; w++) {
                    size_t from = crd ? c * 4 + h * 2 + w % 2 : (h * 2 + w % 2) * 2 + c;

                    want[(c * 2 + h) * 4 + w] = numbers[from * 2 + w / 2];
                }
        rig_init(&r, "generic", 1);
        rig_input(&r, F32, 4, DIMS(1, 8, 1, 2), numbers);
        rig_node(&r, ENSO_OP_DEPTH_TO_SPACE, 1);
        enso_graph_set_int(r.graph, r.node, "blocksize", 2);
        enso_graph_set_string(r.graph, r.node, "mode", crd ? "CRD" : "DCR");
        rig_run(&r);
        expect(&r, 0, 16, want);
        rig_done(&r);
        if (crd)
            continue;
        rig_init(&r, "generic", 1);
        rig_input(&r, F32, 4, DIMS(1, 2, 2, 4), want);
        rig_node(&r, ENSO_OP_SPACE_TO_DEPTH, 1);
        enso_graph_set_int(r.graph, r.node, "blocksize", 2);
        rig_run(&r);
        expect(&r, 0, 16, numbers);
        rig_done(&r);
    }
}
END_TEST

static double reduce_reference(enum enso_op op, const float *x, size_t n, size_t stride)
{
    double sum = 0, prod = 1, max = -(double)INFINITY, min = (double)INFINITY, l1 = 0, squares = 0,
           exps = 0;

    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i * stride];

        sum += v;
        prod *= v;
        max = v > max ? v : max;
        min = v < min ? v : min;
        l1 += fabs(v);
        squares += v * v;
        exps += exp(v);
    }
    return op == ENSO_OP_REDUCE_SUM          ? sum
           : op == ENSO_OP_REDUCE_MEAN       ? sum / (double)n
           : op == ENSO_OP_REDUCE_MAX        ? max
           : op == ENSO_OP_REDUCE_MIN        ? min
           : op == ENSO_OP_REDUCE_PROD       ? prod
           : op == ENSO_OP_REDUCE_L1         ? l1
           : op == ENSO_OP_REDUCE_L2         ? sqrt(squares)
           : op == ENSO_OP_REDUCE_SUM_SQUARE ? squares
           : op == ENSO_OP_REDUCE_LOG_SUM    ? log(sum)
                                             : log(exps);
}

START_TEST(test_reduce_each_axis)
{
    static const enum enso_op ops[] = {ENSO_OP_REDUCE_SUM,     ENSO_OP_REDUCE_MEAN,
                                       ENSO_OP_REDUCE_MAX,     ENSO_OP_REDUCE_MIN,
                                       ENSO_OP_REDUCE_PROD,    ENSO_OP_REDUCE_L1,
                                       ENSO_OP_REDUCE_L2,      ENSO_OP_REDUCE_SUM_SQUARE,
                                       ENSO_OP_REDUCE_LOG_SUM, ENSO_OP_REDUCE_LOG_SUM_EXP};
    const int64_t dims[3] = {3, 300, 4};
    float *x = rig_random_new(3600, 1);

    for (size_t o = 0; o < ENSO_ARRAY_SIZE(ops); o++)
        for (int64_t axis = 0; axis < 3; axis++) {
            size_t inner = axis == 0 ? 1200 : axis == 1 ? 4 : 1, n = (size_t)dims[axis];
            size_t count = 3600 / n;
            double want[1200];
            struct rig r;

            for (size_t i = 0; i < count; i++)
                want[i] = reduce_reference(ops[o], x + i / inner * inner * n + i % inner, n, inner);
            rig_init(&r, "generic", 2);
            rig_input(&r, F32, 3, dims, x);
            rig_constant(&r, I64, 1, DIMS(1), &axis);
            rig_node(&r, ops[o], 1);
            enso_graph_set_int(r.graph, r.node, "keepdims", (int64_t)(o % 2));
            rig_run(&r);
            ck_assert_int_eq(r.outputs[0].rank, o % 2 == 1 ? 3 : 2);
            rig_near(enso_op_name(ops[o]), r.outputs[0].data, want, count, 1e-7, 1e-6);
            rig_done(&r);
        }
    free(x);
}
END_TEST

START_TEST(test_reduce_corners)
{
    const int32_t ints[4] = {INT32_MAX, 1, -5, 7};
    struct rig r;

    rig_init(&r, "generic", 1); /* two axes apart, integers wrap */
    rig_input(&r, ENSO_DTYPE_I32, 3, DIMS(2, 1, 2), ints);
    rig_constant(&r, I64, 1, DIMS(2), DIMS(0, -1));
    rig_node(&r, ENSO_OP_REDUCE_MAX, 1);
    rig_run(&r);
    ck_assert_int_eq(*(int32_t *)r.outputs[0].data, INT32_MAX);
    rig_done(&r);

    rig_init(&r, "generic", 1); /* over nothing */
    rig_input(&r, F32, 2, DIMS(0, 2), NULL);
    rig_constant(&r, I64, 1, DIMS(1), DIMS(0));
    rig_node(&r, ENSO_OP_REDUCE_PROD, 1);
    enso_graph_set_int(r.graph, r.node, "keepdims", 0);
    rig_run(&r);
    expect(&r, 0, 2, (float[]){1, 1});
    rig_done(&r);

    rig_init(&r, "generic", 1); /* no axes: all of them */
    rig_input(&r, F32, 2, DIMS(3, 3), numbers);
    rig_node(&r, ENSO_OP_REDUCE_SUM, 1);
    enso_graph_set_int(r.graph, r.node, "keepdims", 0);
    rig_run(&r);
    expect(&r, 0, 1, (float[]){36});
    rig_done(&r);

    const float big[2] = {1000, 1000}; /* stable */
    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 1, DIMS(2), big);
    rig_node(&r, ENSO_OP_REDUCE_LOG_SUM_EXP, 1);
    enso_graph_set_int(r.graph, r.node, "keepdims", 0);
    rig_run(&r);
    rig_near("stable", r.outputs[0].data, (double[]){1000 + log(2)}, 1, 0, 1e-6);
    rig_done(&r);
}
END_TEST

static int64_t arg(enum enso_op op, int64_t last, const float *x, size_t n)
{
    struct rig r;

    rig_init(&r, "generic", 1);
    rig_input(&r, F32, 2, DIMS((int64_t)n, 1), x);
    rig_node(&r, op, 1);
    enso_graph_set_int(r.graph, r.node, "axis", -2);
    enso_graph_set_int(r.graph, r.node, "select_last_index", last);
    rig_run(&r);
    int64_t y = *(int64_t *)r.outputs[0].data;
    rig_done(&r);
    return y;
}

START_TEST(test_arg_max_min)
{
    const float x[5] = {1, 3, -2, 3, -2}, with_nan[4] = {1, NAN, 9, NAN};

    ck_assert_int_eq(arg(ENSO_OP_ARG_MAX, 0, x, 5), 1);
    ck_assert_int_eq(arg(ENSO_OP_ARG_MAX, 1, x, 5), 3);
    ck_assert_int_eq(arg(ENSO_OP_ARG_MIN, 0, x, 5), 2);
    ck_assert_int_eq(arg(ENSO_OP_ARG_MIN, 1, x, 5), 4);
    ck_assert_int_eq(arg(ENSO_OP_ARG_MAX, 0, with_nan, 4), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/move");
    TCase *core = tcase_create("core");
    tcase_add_checked_fixture(core, setup, NULL);
    tcase_add_test(core, test_transpose_all_permutations);
    tcase_add_test(core, test_concat_and_split);
    tcase_add_test(core, test_slice);
    tcase_add_test(core, test_pad);
    tcase_add_test(core, test_expand_and_tile);
    tcase_add_test(core, test_gather);
    tcase_add_test(core, test_makers);
    tcase_add_test(core, test_depth_to_space_and_back);
    tcase_add_test(core, test_reduce_each_axis);
    tcase_add_test(core, test_reduce_corners);
    tcase_add_test(core, test_arg_max_min);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
