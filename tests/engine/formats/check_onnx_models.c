/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole ONNX models (data/weights of the shared test data; skipped where it is absent): trained
 * ones with outputs of an independent evaluator, and ONNX's own `light` nets, whose input is the
 * ramp 0/n, 1/n ... Tolerance as their README says: 1e-3 relative, 1e-4 absolute.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/formats/onnx.h"
#include "engine/graph/graph.h"
#include "tests/engine/formats/onnx_run.h"
#include "tests/support/support.h"

static void expect_passed(const struct onnx_case *c, bool passes)
{
    struct enso_error err = {0};
    enum onnx_outcome outcome = onnx_case_run(c, passes, &err);

    ck_assert_msg(outcome == ONNX_PASSED, "%s (%s passes): %s", c->model,
                  passes ? "with" : "without", err.message);
}

static const struct {
    const char *folder;
    int n_sets;
} trained[] = {
    {"mnist-cnn", 3}, {"super-resolution", 1}, {"ultraface-slim-320", 1}, {"magika-v3.3", 2}};

START_TEST(test_onnx_models_trained)
{
    char *root = enso_test_shared("data/weights"), *model;

    if (root == NULL)
        return;
    model = enso_test_format("%s/%s/model.onnx", root, trained[_i].folder);
    for (int set = 0; set < trained[_i].n_sets; set++) {
        char *data = enso_test_format("%s/%s/test_data_set_%d", root, trained[_i].folder, set);
        struct onnx_case c = {.model = model, .rtol = 1e-3f, .atol = 1e-4f};
        struct enso_error err = {0};

        ENSO_TEST_OK(onnx_case_read(&c, data, &err), &err);
        ck_assert_uint_gt(c.n_outputs, 0);
        expect_passed(&c, false);
        expect_passed(&c, true);
        onnx_case_done(&c);
        free(data);
    }
    free(model);
    free(root);
}
END_TEST

/* The ramp in the shape of the graph's one input. */
static void make_ramp(const char *model, struct enso_tensor *t)
{
    struct enso_graph *g;
    struct enso_error err = {0};
    const struct enso_value *v;
    int64_t n;

    ENSO_TEST_OK(enso_onnx_load(model, NULL, &g, &err), &err);
    ck_assert_uint_eq(enso_graph_n_inputs(g), 1);
    v = enso_graph_value(g, enso_graph_input(g, 0));
    t->dtype = ENSO_DTYPE_F32;
    t->rank = v->shape.rank;
    for (int i = 0; i < t->rank; i++)
        t->dims[i] = v->shape.dims[i].factor;
    n = enso_tensor_count(t);
    t->data = enso_alloc(enso_tensor_bytes(t));
    for (int64_t i = 0; i < n; i++)
        ((float *)t->data)[i] = (float)i / (float)n;
    enso_graph_destroy(g);
}

static const char *const light[] = {"bvlc_alexnet", "inception_v2", "resnet50", "squeezenet",
                                    "zfnet512"};

START_TEST(test_onnx_models_light)
{
    char *root = enso_test_shared("data/weights/light"), *model, *output;
    struct onnx_case c = {.rtol = 1e-3f, .atol = 1e-4f, .n_inputs = 1, .n_outputs = 1};
    struct enso_error err = {0};

    if (root == NULL)
        return;
    model = enso_test_format("%s/light_%s.onnx", root, light[_i]);
    output = enso_test_format("%s/light_%s_output_0.pb", root, light[_i]);
    c.model = model;
    make_ramp(model, &c.inputs[0]);
    ENSO_TEST_OK(enso_onnx_load_tensor(output, &c.outputs[0], NULL, &err), &err);
    expect_passed(&c, true); /* without passes is no other code for these, and slow */
    onnx_case_done(&c);
    free(model);
    free(output);
    free(root);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/onnx_models");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 300);
    tcase_add_loop_test(core, test_onnx_models_trained, 0, ENSO_ARRAY_SIZE(trained));
    tcase_add_loop_test(core, test_onnx_models_light, 0, ENSO_ARRAY_SIZE(light));
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
