/* SPDX-License-Identifier: Apache-2.0
 *
 * Work that is large enough to be shared: every family on three threads gives the bits of one
 * thread, and operators that may work in place give the same in place. Under thread sanitizer this
 * is the test that looks at the families' sharing.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I64 ENSO_DTYPE_I64

static float *x, *w;
static int64_t *indices;
static uint8_t *condition;

static void setup(void)
{
    x = rig_random_new(400000, 1);
    w = rig_random_new(400000, 2);
    indices = malloc(1000 * sizeof(*indices));
    condition = malloc(400000);
    ck_assert(indices != NULL && condition != NULL);
    for (int64_t i = 0; i < 1000; i++)
        indices[i] = i * 7 % 400 - 200;
    for (size_t i = 0; i < 400000; i++)
        condition[i] = x[i] > 0;
}

static void teardown(void)
{
    free(x);
    free(w);
    free(indices);
    free(condition);
}

static void window(struct rig *r, int64_t k, int64_t nhwc)
{
    enso_graph_set_ints(r->graph, r->node, "kernel_shape", DIMS(k, k), 2);
    enso_graph_set_ints(r->graph, r->node, "pads", DIMS(k / 2, k / 2, k / 2, k / 2), 4);
    enso_graph_set_int(r->graph, r->node, "nhwc", nhwc);
}

/* One case per family; false past the last. */
static bool build(struct rig *r, unsigned which)
{
    switch (which) {
    case 0:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_node(r, ENSO_OP_GELU, 1);
        return true;
    case 1:
        rig_input(r, F32, 3, DIMS(20, 20, 1000), x);
        rig_input(r, F32, 2, DIMS(20, 1), w);
        rig_node(r, ENSO_OP_MUL, 1);
        return true;
    case 2:
        rig_input(r, ENSO_DTYPE_BOOL, 2, DIMS(400, 1000), condition);
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_input(r, F32, 0, NULL, w);
        rig_node(r, ENSO_OP_WHERE, 1);
        return true;
    case 3:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_node(r, ENSO_OP_CAST, 1);
        enso_graph_set_int(r->graph, r->node, "to", ENSO_DTYPE_F64);
        return true;
    case 4:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_constant(r, I64, 1, DIMS(1), DIMS(1));
        rig_node(r, ENSO_OP_REDUCE_MEAN, 1);
        return true;
    case 5:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_node(r, ENSO_OP_ARG_MAX, 1);
        return true;
    case 6:
        rig_input(r, F32, 3, DIMS(40, 100, 100), x);
        rig_node(r, ENSO_OP_TRANSPOSE, 1);
        enso_graph_set_ints(r->graph, r->node, "perm", DIMS(2, 0, 1), 3);
        return true;
    case 7:
        rig_input(r, F32, 2, DIMS(400, 500), x);
        rig_input(r, F32, 2, DIMS(400, 300), w);
        rig_node(r, ENSO_OP_CONCAT, 1);
        enso_graph_set_int(r->graph, r->node, "axis", 1);
        return true;
    case 8:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_input(r, I64, 1, DIMS(1000), indices);
        rig_node(r, ENSO_OP_GATHER, 1);
        return true;
    case 9:
        rig_input(r, F32, 2, DIMS(300, 700), x);
        rig_constant(r, I64, 1, DIMS(4), DIMS(3, 5, 3, 5));
        rig_node(r, ENSO_OP_PAD, 1);
        enso_graph_set_string(r->graph, r->node, "mode", "reflect");
        return true;
    case 10:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_node(r, ENSO_OP_SOFTMAX, 1);
        return true;
    case 11:
        rig_input(r, F32, 4, DIMS(2, 30, 80, 80), x);
        rig_node(r, ENSO_OP_MAX_POOL, 1);
        window(r, 3, 0);
        return true;
    case 12:
        rig_input(r, F32, 4, DIMS(2, 80, 80, 30), x);
        rig_node(r, ENSO_OP_AVERAGE_POOL, 1);
        window(r, 3, 1);
        return true;
    case 13:
        rig_input(r, F32, 4, DIMS(2, 10, 30, 30), x);
        rig_input(r, F32, 4, DIMS(8, 10, 3, 3), w);
        rig_node(r, ENSO_OP_CONV, 1);
        window(r, 3, 0);
        return true;
    case 14:
        rig_input(r, F32, 4, DIMS(2, 30, 30, 96), x);
        rig_constant(r, F32, 4, DIMS(96, 1, 3, 3), w);
        rig_node(r, ENSO_OP_CONV_FUSED, 1);
        window(r, 3, 0);
        enso_graph_set_int(r->graph, r->node, "group", 96);
        return true;
    case 15:
        rig_input(r, F32, 4, DIMS(1, 60, 60, 3), x);
        rig_constant(r, F32, 4, DIMS(40, 3, 7, 7), w);
        rig_node(r, ENSO_OP_CONV_FUSED, 1);
        window(r, 7, 0);
        return true;
    case 16:
        rig_input(r, F32, 3, DIMS(10, 40, 100), x);
        rig_input(r, F32, 3, DIMS(10, 100, 40), w);
        rig_node(r, ENSO_OP_MATMUL, 1);
        return true;
    case 17:
        rig_input(r, F32, 2, DIMS(400, 100), x);
        rig_input(r, F32, 2, DIMS(100, 200), w);
        rig_node(r, ENSO_OP_MATMUL, 1);
        return true;
    case 18:
        rig_input(r, F32, 2, DIMS(400, 1000), x);
        rig_constant(r, F32, 1, DIMS(1000), w);
        rig_constant(r, F32, 1, DIMS(1000), w);
        rig_input(r, F32, 2, DIMS(400, 1000), w);
        rig_node(r, ENSO_OP_LAYER_NORM, 1);
        return true;
    case 19:
        rig_input(r, F32, 4, DIMS(2, 30, 50, 50), x);
        for (size_t i = 0; i < 4; i++)
            rig_input(r, F32, 1, DIMS(30), condition[0] != 0 ? w : x);
        rig_node(r, ENSO_OP_BATCH_NORM, 1);
        return true;
    case 20:
        rig_input(r, F32, 4, DIMS(2, 30, 50, 50), x);
        rig_node(r, ENSO_OP_LRN, 1);
        enso_graph_set_int(r->graph, r->node, "size", 5);
        return true;
    default:
        return false;
    }
}

START_TEST(test_three_threads_as_one)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned which = 0;; which++) {
            struct rig one, three;

            rig_init(&one, *set, 1);
            if (!build(&one, which)) {
                rig_done(&one);
                break;
            }
            rig_run(&one);
            rig_init(&three, *set, 3);
            ck_assert(build(&three, which));
            for (unsigned repeat = 0; repeat < 2; repeat++) {
                rig_run(&three);
                ck_assert_msg(memcmp(one.outputs[0].data, three.outputs[0].data,
                                     enso_tensor_bytes(&one.outputs[0])) == 0,
                              "%s: case %u differs on three threads", *set, which);
            }
            rig_done(&one);
            rig_done(&three);
        }
}
END_TEST

/* Cases whose output has the type and dims of input 0 and that enso_op_works_in_place names. */
START_TEST(test_in_place)
{
    static const unsigned cases[] = {0, 1, 18};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
            struct rig apart, within;

            rig_init(&apart, *set, 2);
            ck_assert(build(&apart, cases[i]));
            ck_assert(enso_op_works_in_place(enso_graph_node(apart.graph, apart.node)->op));
            rig_run(&apart);
            rig_init(&within, *set, 2);
            ck_assert(build(&within, cases[i]));
            within.in_place = true;
            rig_run(&within);
            ck_assert_msg(memcmp(apart.outputs[0].data, within.inputs[0].data,
                                 enso_tensor_bytes(&apart.outputs[0])) == 0,
                          "%s: case %u differs in place", *set, cases[i]);
            rig_done(&apart);
            rig_done(&within);
        }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/threads");
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_add_test(threads, test_three_threads_as_one);
    tcase_add_test(threads, test_in_place);
    suite_add_tcase(s, threads);
    return s;
}

ENSO_TEST_MAIN(suite)
