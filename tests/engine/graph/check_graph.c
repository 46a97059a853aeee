/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/graph: building, uses, rewriting, order, constants.
 */
#include "engine/graph/graph.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/formats/weights_file.h"
#include "tests/engine/graph/text_graph.h"

START_TEST(test_graph_builds_and_finds)
{
    struct enso_graph *g = enso_graph_create("g");
    struct enso_shape s = {.rank = 1, .dims = {{4, ENSO_EXTENT_ITEMS}}};
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &s), two[2], node;
    char name[16];

    node = enso_graph_add_node(g, ENSO_OP_RELU, "relu", &x, 1, 1);
    ck_assert_int_ge(node, 0);
    ck_assert_int_eq(enso_graph_find_value(g, "relu:0"), enso_graph_node(g, node)->outputs[0]);
    ck_assert_int_eq(enso_graph_value(g, enso_graph_find_value(g, "relu:0"))->producer, node);
    node = enso_graph_add_node(g, ENSO_OP_TANH, "relu", &x, 1, 1); /* a name used twice is fine */
    two[0] = enso_graph_node(g, node)->outputs[0];
    ck_assert_str_ne(enso_graph_value(g, two[0])->name, "relu:0");
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "v%d", i);
        ck_assert_int_ge(enso_graph_add_value(g, name), 0);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "v%d", i);
        ck_assert_str_eq(enso_graph_value(g, enso_graph_find_value(g, name))->name, name);
    }
    ck_assert_int_eq(enso_graph_find_value(g, "v1000"), ENSO_NO_VALUE);
    ck_assert_int_eq(enso_graph_status(g), ENSO_OK);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_attributes)
{
    struct enso_graph *g = text_graph("input x f32[N]\n"
                                      "y = Relu(x) a=1 b=2.5 c=\"text\" d=[1, 2, 3] e=[0.5, 1.5]\n"
                                      "z = Relu(y)\noutput z");
    struct enso_node *n = enso_graph_node(g, 0);
    size_t k;

    ck_assert_int_eq(enso_node_int(n, "a", 7), 1);
    ck_assert_int_eq(enso_node_int(n, "b", 7), 7); /* another kind */
    ck_assert_int_eq(enso_node_int(n, "none", 7), 7);
    ck_assert_float_eq(enso_node_float(n, "b", 0), 2.5F);
    ck_assert_str_eq(enso_node_string(n, "c", ""), "text");
    ck_assert_int_eq(enso_node_ints(n, "d", &k)[2], 3);
    ck_assert_uint_eq(k, 3);
    ck_assert_float_eq(enso_node_floats(n, "e", &k)[1], 1.5F);
    ck_assert_ptr_null(enso_node_ints(n, "e", &k));
    ck_assert_uint_eq(k, 0);
    enso_graph_set_int(g, 0, "a", 2);
    ck_assert_int_eq(enso_node_int(n, "a", 7), 2);
    ck_assert_int_eq(enso_graph_copy_attributes(g, 0, 1), ENSO_OK);
    enso_graph_remove_attribute(g, 0, "c");
    ck_assert(!enso_node_has(n, "c"));
    ck_assert(enso_node_has(n, "e"));
    ck_assert_str_eq(enso_node_string(enso_graph_node(g, 1), "c", ""), "text");
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_uses_follow_rewriting)
{
    struct enso_graph *g = text_graph("input x f32[N]\ny = Relu(x)\nz = Add(y, y)\n"
                                      "w = Mul(y, x)\noutput z\noutput w");
    int x = enso_graph_find_value(g, "x"), y = enso_graph_find_value(g, "y"),
        z = enso_graph_find_value(g, "z"), fresh, old;

    ck_assert_uint_eq(enso_graph_n_uses(g, y), 3);
    ck_assert_uint_eq(enso_graph_n_uses(g, z), 1); /* as an output */
    ck_assert_int_eq(enso_graph_sole_user(g, y), -1);
    ck_assert_int_eq(enso_graph_sole_user(g, z), -1);
    enso_graph_replace_uses(g, y, x);
    ck_assert_uint_eq(enso_graph_n_uses(g, y), 0);
    ck_assert_uint_eq(enso_graph_n_uses(g, x), 5);
    enso_graph_remove_node(g, 0);
    ck_assert_uint_eq(enso_graph_n_uses(g, x), 4);
    ck_assert_int_eq(enso_graph_value(g, y)->producer, -1);
    enso_graph_replace_uses(g, z, x);
    ck_assert(!enso_graph_is_output(g, z));
    ck_assert_int_eq(enso_graph_output(g, 0), x);
    /* a node between another and its output */
    old = enso_graph_detach_output(g, 2, 0);
    ck_assert_str_eq(enso_graph_value(g, old)->name, "w");
    fresh = enso_graph_node(g, 2)->outputs[0];
    ck_assert_int_ge(enso_graph_add_node_to(g, ENSO_OP_NEG, "neg", &fresh, 1, &old, 1), 0);
    ck_assert_int_eq(enso_graph_infer(g, NULL), ENSO_OK);
    ck_assert_int_eq(enso_graph_sole_user(g, fresh), 3);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_sorts_producers_first)
{
    struct enso_graph *g = text_graph("input x f32[N]\nd = Add(b, c)\nc = Relu(a)\nb = Tanh(a)\n"
                                      "a = Neg(x)\nside = Neg(d)\noutput d");
    size_t n, at[8];
    int *order;

    ck_assert_int_eq(enso_graph_sort(g, &order, &n, NULL), ENSO_OK);
    ck_assert_uint_eq(n, 5);
    for (size_t i = 0; i < n; i++)
        at[order[i]] = i;
    ck_assert_uint_lt(at[3], at[1]);
    ck_assert_uint_lt(at[3], at[2]);
    ck_assert_uint_lt(at[1], at[0]);
    ck_assert_uint_lt(at[2], at[0]);
    ck_assert_uint_lt(at[0], at[4]);
    enso_free(order);
    enso_graph_remove_node(g, 4);
    ck_assert_int_eq(enso_graph_sort(g, &order, &n, NULL), ENSO_OK);
    ck_assert_uint_eq(n, 4);
    enso_free(order);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_sorts_a_long_chain)
{
    struct enso_graph *g = enso_graph_create("chain");
    struct enso_shape s = {0};
    int v = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &s), *order;
    size_t n;

    for (int i = 0; i < 100000; i++)
        v = enso_graph_node(g, enso_graph_add_node(g, ENSO_OP_NEG, "", &v, 1, 1))->outputs[0];
    enso_graph_add_output(g, "y", v);
    ck_assert_int_eq(enso_graph_sort(g, &order, &n, NULL), ENSO_OK);
    ck_assert_uint_eq(n, 100000);
    enso_free(order);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_refuses_cycles_and_gaps)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"input x f32[N]\na = Add(x, b)\nb = Relu(a)\noutput b", "a cycle"},
        {"input x f32[N]\na = Add(x, a)\noutput a", "'a' (Add) depends on its own output"},
        {"input x f32[N]\na = Add(x, nowhere)\noutput a", "'a' (Add) reads 'nowhere'"},
        {"input x f32[N]\na = Relu(x)\noutput nothing", "no node makes the output 'nothing'"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_graph *g = text_graph(cases[i].text);
        struct enso_error err = {0};

        ck_assert_int_eq(enso_graph_infer(g, &err), ENSO_CORRUPT);
        ck_assert_msg(strstr(err.message, cases[i].message) != NULL, "%s", err.message);
        enso_graph_destroy(g);
    }
}
END_TEST

START_TEST(test_graph_keeps_its_first_failure)
{
    struct enso_graph *g = text_graph("input x f32[N]\ny = Relu(x)\noutput y");
    struct enso_error err = {0};
    struct enso_constant c = {.dtype = ENSO_DTYPE_F32, .rank = 1, .dims = {-1}};
    int y = enso_graph_find_value(g, "y"), wrong = 99;

    ck_assert_int_eq(enso_graph_add_node(g, ENSO_OP_NEG, "", &wrong, 1, 1), ENSO_INVALID);
    ck_assert_int_eq(enso_graph_add_value(g, "y"), ENSO_CORRUPT);
    ck_assert_int_eq(enso_graph_add_constant(g, "c", &c), ENSO_CORRUPT);
    ck_assert_int_eq(enso_graph_add_node_to(g, ENSO_OP_NEG, "", &y, 1, &y, 1), ENSO_CORRUPT);
    ck_assert_int_lt(enso_graph_set_int(g, 77, "a", 1), 0);
    ck_assert_int_eq(enso_graph_status(g), ENSO_INVALID);
    ck_assert_int_eq(enso_graph_infer(g, &err), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "could not be built"));
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_constants_convert)
{
    char path[] = "/tmp/ensod-graph-XXXXXX";
    int fd = mkstemp(path);
    enum { N = 20000 };
    uint16_t *halves = malloc(N * sizeof *halves);
    float *back = malloc(2 * N * sizeof *back);
    double doubles[3] = {1.5, -2, 1e300};
    struct enso_weights_file *file;
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_BF16, .rank = 1, .dims = {N}, .offset = 8};

    for (size_t i = 0; i < N; i++)
        halves[i] = (uint16_t)(0x3F80 + i % 64);
    ck_assert_int_eq(pwrite(fd, doubles, 8, 0), 8);
    ck_assert_int_eq(pwrite(fd, halves, N * 2, 8), N * 2);
    ck_assert_int_eq(enso_weights_file_open(path, &file, NULL), ENSO_OK);
    c.file = file;
    ck_assert_int_eq(enso_constant_read(&c, 3, N - 3, back, NULL), ENSO_OK);
    for (size_t i = 3; i < N; i++)
        ck_assert_float_eq(back[i - 3], 1.0F + (float)(i % 64) / 128);
    /* two pieces of 10,000, the second from the start of the halves */
    c.n_parts = 2;
    c.parts[0] = (struct enso_constant_part){file, 8 + 2 * 5, ENSO_DTYPE_BF16};
    c.parts[1] = (struct enso_constant_part){file, 8, ENSO_DTYPE_BF16};
    ck_assert_int_eq(enso_constant_read(&c, 9990, 20, back, NULL), ENSO_OK);
    ck_assert_float_eq(back[9], 1.0F + (float)((9999 + 5) % 64) / 128);
    ck_assert_float_eq(back[10], 1.0F);
    ck_assert_float_eq(back[11], 1.0F + 1.0F / 128);
    /* memory */
    c = (struct enso_constant){
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F64, .rank = 1, .dims = {3}, .data = doubles};
    ck_assert_int_eq(enso_constant_read(&c, 0, 3, back, NULL), ENSO_OK);
    ck_assert_float_eq(back[0], 1.5F);
    ck_assert_float_infinite(back[2]);
    ck_assert_int_eq(enso_constant_read(&c, 2, 2, back, NULL), ENSO_INTERNAL);
    ck_assert_int_eq(enso_constant_read(&c, -1, 1, back, NULL), ENSO_INTERNAL);
    ck_assert_int_eq(enso_constant_read(&c, 0, INT64_MAX, back, NULL), ENSO_INTERNAL);
    c.dtype = ENSO_DTYPE_I64;
    ck_assert_int_eq(enso_constant_read(&c, 0, 1, back, NULL), ENSO_UNSUPPORTED);
    enso_weights_file_unref(file);
    close(fd);
    unlink(path);
    free(halves);
    free(back);
}
END_TEST

/* Floats seen as halves are rounded as they are read, slice by slice. */
START_TEST(test_graph_constants_are_rounded)
{
    enum { N = 9000 };
    float *floats = malloc(N * sizeof *floats);
    uint16_t *got = malloc(N * sizeof *got), *want = malloc(N * sizeof *want);
    double doubles[2] = {1.00390625, 1e300};
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_BF16, .stored = ENSO_DTYPE_F32, .rank = 1, .dims = {N}, .data = floats};

    for (size_t i = 0; i < N; i++)
        floats[i] = (float)i / 777 - 3;
    enso_f32_to_bf16(floats, want, N);
    ck_assert_int_eq(enso_constant_read(&c, 5, N - 5, got, NULL), ENSO_OK);
    ck_assert_mem_eq(got, want + 5, (N - 5) * sizeof *got);
    c.dtype = ENSO_DTYPE_F16;
    enso_f32_to_f16(floats, want, N);
    ck_assert_int_eq(enso_constant_read(&c, 0, N, got, NULL), ENSO_OK);
    ck_assert_mem_eq(got, want, N * sizeof *got);
    /* from one half type to the other, and from doubles */
    c = (struct enso_constant){
        .dtype = ENSO_DTYPE_BF16, .stored = ENSO_DTYPE_F16, .rank = 1, .dims = {2}, .data = want};
    ck_assert_int_eq(enso_constant_read(&c, 0, 2, got, NULL), ENSO_OK);
    ck_assert_uint_eq(got[0], 0xC040); /* -3 */
    c.stored = ENSO_DTYPE_F64;
    c.data = doubles;
    ck_assert_int_eq(enso_constant_read(&c, 0, 2, got, NULL), ENSO_OK);
    ck_assert_uint_eq(got[0], 0x3F80); /* a tie: to even */
    ck_assert_uint_eq(got[1], 0x7F80); /* infinity */
    free(floats);
    free(got);
    free(want);
}

START_TEST(test_graph_dims)
{
    struct enso_extents e = {.n_items = 3, .n_tokens = 7, .n_sequences = 2};

    ck_assert_int_eq(enso_dim_at((struct enso_dim){5, ENSO_EXTENT_FIXED}, &e), 5);
    ck_assert_int_eq(enso_dim_at((struct enso_dim){5, ENSO_EXTENT_ITEMS}, &e), 15);
    ck_assert_int_eq(enso_dim_at((struct enso_dim){1, ENSO_EXTENT_TOKENS}, &e), 7);
    ck_assert_int_eq(enso_dim_at((struct enso_dim){1, ENSO_EXTENT_SEQUENCES}, &e), 2);
    ck_assert_int_eq(enso_dim_at((struct enso_dim){1, ENSO_EXTENT_STARTS}, &e), 3);
    ck_assert_int_eq(enso_dim_at((struct enso_dim){1, ENSO_EXTENT_WORK}, &e), 2);
    ck_assert_int_eq(enso_dim_at((struct enso_dim){1, ENSO_EXTENT_WORK},
                                 &(struct enso_extents){.n_tokens = 128, .n_sequences = 2}),
                     4);
    ck_assert(enso_dim_at((struct enso_dim){1, ENSO_EXTENT_WORK},
                          &(struct enso_extents){.n_tokens = 128, .n_sequences = INT64_MAX}) ==
              INT64_MAX);
    e.n_items = INT64_MAX / 2;
    ck_assert(enso_dim_at((struct enso_dim){5, ENSO_EXTENT_ITEMS}, &e) == INT64_MAX);
    ck_assert(enso_dim_equal(enso_dim_fixed(0), (struct enso_dim){0, ENSO_EXTENT_ITEMS}));
    ck_assert(!enso_dim_equal(enso_dim_fixed(1), (struct enso_dim){1, ENSO_EXTENT_ITEMS}));
}
END_TEST

START_TEST(test_graph_dumps)
{
    struct enso_graph *g = text_graph("input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\n"
                                      "y = Conv(x, w, -) pads=[1, 1, 1, 1]\noutput y");
    char *text;

    ck_assert_int_eq(enso_graph_infer(g, NULL), ENSO_OK);
    text = text_dump(g);
    ck_assert_str_eq(text, "graph test\ninput x FP32[N, 3, 8, 8]\n"
                           "y = Conv(x, w, -) pads=[1, 1, 1, 1] kernel_shape=[3, 3] "
                           "strides=[1, 1] dilations=[1, 1] FP32[N, 4, 8, 8]\n"
                           "output y = y\n");
    free(text);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_graph_oom)
{
    int st = ENSO_NO_MEMORY;

    for (uint64_t n = 1; st == ENSO_NO_MEMORY; n++) {
        struct enso_graph *g;

        ck_assert_uint_lt(n, 1000);
        enso_memory_fail_at(n);
        g = text_graph("input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\n"
                       "const s i64[2] = -1 256\ny = Conv(x, w, -) pads=[1, 1, 1, 1]\n"
                       "z = Reshape(y, s)\na, b, c, d, e, f, g, h = Split(z) axis=1\noutput a");
        st = g == NULL ? ENSO_NO_MEMORY : enso_graph_infer(g, NULL);
        enso_memory_fail_at(0);
        enso_graph_destroy(g);
    }
    ck_assert_int_eq(st, ENSO_OK);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/graph");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");
    SRunner *runner;
    int failed;

    tcase_add_test(core, test_graph_builds_and_finds);
    tcase_add_test(core, test_graph_attributes);
    tcase_add_test(core, test_graph_uses_follow_rewriting);
    tcase_add_test(core, test_graph_sorts_producers_first);
    tcase_add_test(core, test_graph_sorts_a_long_chain);
    tcase_add_test(core, test_graph_constants_convert);
    tcase_add_test(core, test_graph_constants_are_rounded);
    tcase_add_test(core, test_graph_dims);
    tcase_add_test(core, test_graph_dumps);
    tcase_add_test(errors, test_graph_refuses_cycles_and_gaps);
    tcase_add_test(errors, test_graph_keeps_its_first_failure);
    tcase_add_test(oom, test_graph_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
