/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/model/precision.c: which type a model computes in, by what was asked for, what the device
 * has and how the weights are stored.
 */
#include "engine/model/model_internal.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine/graph/text_graph.h"
#include "tests/support/support.h"

#define AUTO ENSO_MODEL_DTYPE_AUTO
#define FP32 ENSO_MODEL_DTYPE_FP32
#define BF16 ENSO_MODEL_DTYPE_BF16
#define FP16 ENSO_MODEL_DTYPE_FP16

static bool has_f16, has_bf16;

static bool computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    (void)device;
    (void)op;
    return dtype == ENSO_DTYPE_F32 || (dtype == ENSO_DTYPE_F16 ? has_f16 : has_bf16);
}

static const struct precision_case {
    const char *device; /* "", "f16", "bf16" (which has both) */
    const char *weights;
    enum enso_model_dtype asked;
    const char *dtype; /* or what the error says */
    const char *reason;
} cases[] = {
    {"", "f32", AUTO, "float32", NULL},
    {"", "f16", AUTO, "float32", NULL},
    {"bf16", "f32", AUTO, "bfloat16", NULL},
    {"bf16", "bf16", AUTO, "bfloat16", NULL},
    {"bf16", "f16", AUTO, "float16", NULL},
    {"bf16", "large", AUTO, "bfloat16", NULL},
    {"f16", "f32", AUTO, "float16", NULL},
    {"f16", "bf16", AUTO, "float16", "its weights are bf16"},
    {"f16", "bf16", FP16, "float16", NULL},
    {"f16", "large", AUTO, "float32", "tensor 'w' holds numbers beyond 65504"},
    {"bf16", "f16", FP32, "float32", NULL},
    {"bf16", "f16", BF16, "bfloat16", NULL},
    {"bf16", "f32", FP16, "float16", NULL},
    {"bf16", "large", FP16,
     "tensor 'w' holds numbers beyond 65504, which fp16 does not have; use "
     "dtype bf16, fp32 or auto",
     NULL},
    {"f16", "f32", BF16, "this GPU does not compute in bf16 (compute capability 8.0", NULL},
    {"", "f32", BF16, "dtype bf16 is for GPUs", NULL},
    {"", "f32", FP16, "dtype fp16 is for GPUs", NULL},
};

/* A LINEAR whose weight is stored as said and seen as F32, as loaders have it. */
static struct enso_graph *graph_of(const char *weights)
{
    bool large = strcmp(weights, "large") == 0;
    char *text = enso_test_format("input x f32[N, 4]\nconst w %s[3, 4]%s\nconst b f32[3]\n"
                                  "y = ensod.Linear(x, w, b) activation=2\noutput y",
                                  large ? "f32" : weights, large ? " = 70000" : "");
    struct enso_graph *g = text_graph(text);
    struct enso_value *w = enso_graph_value(g, enso_graph_find_value(g, "w"));
    struct enso_error err = {0};

    w->dtype = w->constant->dtype = ENSO_DTYPE_F32;
    ENSO_TEST_OK((enum enso_status)enso_graph_infer(g, &err), &err);
    free(text);
    return g;
}

START_TEST(test_precision_choice)
{
    const struct precision_case *c = &cases[_i];
    struct enso_backend backend = *enso_backend_cpu();
    struct enso_model m = {.backend = &backend};
    struct enso_model_options options = {.dtype = c->asked};
    struct enso_graph *g = graph_of(c->weights);
    struct enso_error err = {0};
    bool lowered = true;
    int st;

    backend.computes = computes;
    has_f16 = c->device[0] != '\0';
    has_bf16 = strcmp(c->device, "bf16") == 0;
    m.stored = enso__model_stored_type(g);
    st = enso__model_lower(&m, &options, g, &lowered, &err);
    if (st != ENSO_OK) {
        ck_assert_int_eq(st, ENSO_INVALID);
        ENSO_TEST_CONTAINS(err.message, c->dtype);
    } else {
        ck_assert_str_eq(m.info.dtype, c->dtype);
        ck_assert_int_eq(lowered, strcmp(c->dtype, "float32") != 0);
        ck_assert_int_eq(text_count(g, ENSO_OP_CAST), lowered);
        if (c->reason == NULL)
            ck_assert_ptr_null(m.info.dtype_reason);
        else
            ENSO_TEST_CONTAINS(m.info.dtype_reason, c->reason);
    }
    enso_graph_destroy(g);
    enso_arena_done(&m.arena);
}
END_TEST

/* gelu = fast is for half types: fp32 is exact whatever is asked. */
START_TEST(test_precision_fast_gelu)
{
    for (int half = 0; half < 2; half++) {
        struct enso_backend backend = *enso_backend_cpu();
        struct enso_model m = {.backend = &backend};
        struct enso_model_options options = {.dtype = half ? BF16 : FP32, .fast_gelu = true};
        struct enso_graph *g = graph_of("f32");
        struct enso_error err = {0};
        bool lowered;

        backend.computes = computes;
        has_f16 = has_bf16 = true;
        ENSO_TEST_OK((enum enso_status)enso__model_lower(&m, &options, g, &lowered, &err), &err);
        ck_assert_int_eq(enso_node_int(enso_graph_node(g, 0), "activation", 0),
                         half ? ENSO_ACTIVATION_GELU_TANH : ENSO_ACTIVATION_GELU);
        enso_graph_destroy(g);
        enso_arena_done(&m.arena);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/precision");
    TCase *core = tcase_create("core");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(core, test_precision_choice, 0, (int)ENSO_ARRAY_SIZE(cases));
    tcase_add_test(core, test_precision_fast_gelu);
    suite_add_tcase(s, core);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
