/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/formats/onnx: good and bad files of golden/ (made by make_files.py, which says what must
 * come of each), options, and files that are cut, bent and starved of memory.
 */
#include "engine/formats/onnx.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "engine/graph/graph.h"
#include "tests/support/support.h"

#define GOLDEN "tests/engine/formats/golden/"
#define MAX_CASES 200

struct a_case {
    const char *name, *status, *text;
};
static struct a_case cases[MAX_CASES];
static int n_cases;

/* The table of what must come of which file; it lives as long as the program. Read outside of
 * any test, so without the helpers that fail one. */
static void read_cases(void)
{
    FILE *f = fopen(ENSO_TOP_SRCDIR "/" GOLDEN "cases.txt", "r");
    char line[512];

    while (f != NULL && fgets(line, sizeof line, f) != NULL && n_cases < MAX_CASES) {
        char *copy = strdup(line), *bar = strstr(copy, " | "),
             *bar2 = bar != NULL ? strstr(bar + 3, " | ") : NULL;

        if (bar2 == NULL)
            break;
        *bar = *bar2 = '\0';
        bar2[3 + strcspn(bar2 + 3, "\n")] = '\0';
        cases[n_cases++] = (struct a_case){copy, bar + 3, bar2 + 3};
    }
    if (f != NULL)
        fclose(f);
}

START_TEST(test_onnx_golden_is_there)
{
    ck_assert_int_gt(n_cases, 100);
}
END_TEST

static char *golden(const char *name)
{
    char *relative = enso_test_format(GOLDEN "%s.onnx", name);
    char *path = enso_test_source(relative);

    free(relative);
    return path;
}

/* "Conv Relu -> y FP32[N, 3]" */
static char *describe(const struct enso_graph *g)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    int *order;
    size_t n;
    char *text;

    ck_assert_int_eq(enso_graph_sort(g, &order, &n, NULL), ENSO_OK);
    for (size_t i = 0; i < n; i++)
        enso_buffer_printf(&b, "%s ", enso_op_name(enso_graph_node(g, order[i])->op));
    enso_buffer_puts(&b, "->");
    for (size_t i = 0; i < enso_graph_n_outputs(g); i++) {
        const struct enso_value *v = enso_graph_value(g, enso_graph_output(g, i));

        ck_assert(v->has_shape);
        enso_buffer_printf(&b, " %s %s", enso_graph_output_name(g, i), enso_dtype_name(v->dtype));
        enso_shape_print(&v->shape, &b);
    }
    enso_free(order);
    text = strdup(b.data);
    enso_buffer_done(&b);
    return text;
}

START_TEST(test_onnx_golden)
{
    struct a_case c = cases[_i];
    struct enso_error err = {0};
    struct enso_graph *g = NULL;
    char *path = golden(c.name);
    int st = enso_onnx_load(path, NULL, &g, &err);

    if (strcmp(c.status, "OK") == 0) {
        char *text;

        ck_assert_msg(st == ENSO_OK, "%s: %s", c.name, err.message);
        text = describe(g);
        ck_assert_str_eq(text, c.text);
        free(text);
    } else {
        ck_assert_msg(st != ENSO_OK, "%s was loaded", c.name);
        ck_assert_msg(strstr(err.message, c.text) != NULL, "%s: %s", c.name, err.message);
        ck_assert_msg(strcmp(enso_status_name((enum enso_status)st), c.status) == 0, "%s: %s: %s",
                      c.name, enso_status_name((enum enso_status)st), err.message);
        ck_assert_int_eq(err.status, st);
        ENSO_TEST_CONTAINS(err.message, path); /* the file is named */
    }
    enso_graph_destroy(g);
    free(path);
}
END_TEST

static struct enso_graph *load(const char *name, const struct enso_onnx_options *options)
{
    struct enso_error err = {0};
    struct enso_graph *g = NULL;
    char *path = golden(name);

    ENSO_TEST_OK(enso_onnx_load(path, options, &g, &err), &err);
    free(path);
    return g;
}

/* The floats of a constant, whatever they are stored as. */
static void expect_floats(const struct enso_graph *g, const char *name, const float *want, int n)
{
    const struct enso_value *v = enso_graph_value(g, enso_graph_find_value(g, name));
    float found[8];

    ck_assert_ptr_nonnull(v->constant);
    ck_assert_int_eq(v->dtype, ENSO_DTYPE_F32);
    ck_assert_int_eq(enso_constant_count(v->constant), n);
    ck_assert_int_eq(enso_constant_read(v->constant, 0, n, found, NULL), ENSO_OK);
    for (int i = 0; i < n; i++)
        ck_assert_float_eq(found[i], want[i]);
}

START_TEST(test_onnx_contents)
{
    static const char *const names[] = {"raw",      "packed_floats", "single_floats", "doubles",
                                        "half_raw", "external",      "packed_dims"};
    struct enso_graph *g;
    int64_t integers[2];
    int w;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++) {
        g = load(names[i], NULL);
        expect_floats(g, "w", (float[]){1, 2, 3}, 3);
        enso_graph_destroy(g);
    }
    g = load("external_short", NULL);
    expect_floats(g, "w", (float[]){9, 1, 2}, 3);
    enso_graph_destroy(g);
    g = load("half_numbers", NULL);
    expect_floats(g, "w", (float[]){1, 1, 1}, 3);
    enso_graph_destroy(g);
    g = load("bfloat16", NULL);
    expect_floats(g, "w", (float[]){1, 1, 1}, 3);
    enso_graph_destroy(g);
    g = load("single_doubles", NULL);
    expect_floats(g, "w", (float[]){2.5f}, 1);
    enso_graph_destroy(g);
    g = load("constants", NULL);
    expect_floats(g, "a", (float[]){1.5f}, 1);
    expect_floats(g, "b", (float[]){2.5f}, 1);
    expect_floats(g, "c", (float[]){1, 2, 3}, 3);
    enso_graph_destroy(g);
    g = load("integers", NULL);
    w = enso_graph_find_value(g, "w");
    ck_assert_int_eq(enso_constant_read(enso_graph_value(g, w)->constant, 0, 2, integers, NULL),
                     ENSO_OK);
    ck_assert_int_eq(integers[0], -5);
    ck_assert_int_eq(integers[1], (int64_t)1 << 40);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_onnx_attributes)
{
    struct enso_graph *g = load("net", NULL);
    const struct enso_node *conv = enso_graph_node(g, 0), *gemm = enso_graph_node(g, 3);
    const int64_t *pads;
    size_t n;

    pads = enso_node_ints(conv, "pads", &n);
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(pads[3], 1);
    ck_assert_int_eq(enso_node_int(gemm, "transB", 0), 1);
    ck_assert_float_eq(enso_node_float(gemm, "alpha", 1), 0.5f);
    enso_graph_destroy(g);
    g = load("opset9", NULL); /* text; an attribute that became an input is none any more */
    ck_assert_int_eq(enso_graph_node(g, 2)->op, ENSO_OP_PAD);
    ck_assert_str_eq(enso_node_string(enso_graph_node(g, 2), "mode", ""), "constant");
    ck_assert(!enso_node_has(enso_graph_node(g, 2), "pads"));
    enso_graph_destroy(g);
    g = load("float16", NULL); /* types are ours, and never a half */
    ck_assert_int_eq(enso_node_int(enso_graph_node(g, 0), "to", -1), ENSO_DTYPE_F32);
    ck_assert_int_eq(enso_graph_value(g, enso_graph_input(g, 0))->dtype, ENSO_DTYPE_F32);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_onnx_sizes)
{
    struct enso_onnx_size by_symbol[] = {{"width", 5}}, by_axis[] = {{"x[0]", 4}, {"x[1]", 7}},
                          bad[] = {{"width", -1}};
    struct enso_onnx_options options = {.sizes = by_symbol, .n_sizes = 1};
    struct enso_error err = {0};
    struct enso_graph *g = load("symbol", &options);
    char *path = golden("symbol");
    char *text = describe(g);

    ck_assert_str_eq(text, "Relu -> y FP32[N, 5]");
    free(text);
    enso_graph_destroy(g);
    options = (struct enso_onnx_options){.sizes = by_axis, .n_sizes = 2};
    g = load("symbol", &options);
    text = describe(g);
    ck_assert_str_eq(text, "Relu -> y FP32[4, 7]");
    free(text);
    enso_graph_destroy(g);
    options = (struct enso_onnx_options){.sizes = bad, .n_sizes = 1};
    ck_assert_int_eq(enso_onnx_load(path, &options, &g, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "at least 1");
    free(path);
}
END_TEST

START_TEST(test_onnx_frozen_input)
{
    float data[] = {1, 2, 3};
    struct enso_onnx_frozen frozen = {
        "x", {.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {1, 3}, .data = data}};
    struct enso_onnx_options options = {.frozen = &frozen, .n_frozen = 1};
    struct enso_graph *g = load("raw", &options);
    char *text = describe(g);

    ck_assert_str_eq(text, "Add -> y FP32[1, 3]");
    ck_assert_uint_eq(enso_graph_n_inputs(g), 0);
    expect_floats(g, "x", data, 3);
    free(text);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_onnx_tensor_file)
{
    static const char bytes[] = "\10\3\20\12\112\6\0\74\0\100\0\302\102\1w"; /* F16 [3] 1 2 -3 */
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/t.pb", dir);
    struct enso_error err = {0};
    struct enso_tensor t;
    char *name;

    enso_test_write_file(path, bytes, sizeof bytes - 1);
    ENSO_TEST_OK(enso_onnx_load_tensor(path, &t, &name, &err), &err);
    ck_assert_str_eq(name, "w");
    enso_free(name);
    ck_assert_int_eq(t.dtype, ENSO_DTYPE_F32);
    ck_assert_uint_eq(t.rank, 1);
    ck_assert_float_eq(((float *)t.data)[0], 1);
    ck_assert_float_eq(((float *)t.data)[2], -3);
    enso_free(t.data);
    enso_test_write_file(path, bytes, sizeof bytes - 2);
    ck_assert_int_eq(enso_onnx_load_tensor(path, &t, NULL, &err), ENSO_CORRUPT);
    ENSO_TEST_CONTAINS(err.message, path);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static const char *const whole[] = {"net", "opset9", "constants", "packed_floats"};

/* Whatever a file is cut to, it is refused with its name and nothing leaks. What is left out may be
 * a whole field at the end, so a few cuts load. */
START_TEST(test_onnx_truncated_anywhere)
{
    char *path = golden(whole[_i]), *dir = enso_test_make_dir(),
         *cut = enso_test_format("%s/cut.onnx", dir);
    size_t size, n_loaded = 0;
    char *bytes = enso_test_read_file(path, &size);

    for (size_t n = 0; n < size; n++) {
        struct enso_error err = {0};
        struct enso_graph *g = NULL;

        enso_test_write_file(cut, bytes, n);
        if (enso_onnx_load(cut, NULL, &g, &err) == ENSO_OK)
            n_loaded++;
        else
            ENSO_TEST_CONTAINS(err.message, cut);
        enso_graph_destroy(g);
    }
    ck_assert_uint_le(n_loaded, 1);
    free(bytes);
    free(path);
    free(cut);
    enso_test_remove_dir(dir);
}
END_TEST

/* Each byte changed in several ways: any outcome but a crash, a hang or a leak. */
START_TEST(test_onnx_bent)
{
    static const char masks[] = {1, 4, 8, 0x40, (char)0x80, (char)0xFF};
    char *path = golden(whole[_i]), *dir = enso_test_make_dir(),
         *bent = enso_test_format("%s/bent.onnx", dir);
    size_t size, n_refused = 0;
    char *bytes = enso_test_read_file(path, &size);

    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < ENSO_ARRAY_SIZE(masks); k++) {
            struct enso_graph *g = NULL;

            bytes[i] = (char)(bytes[i] ^ masks[k]);
            enso_test_write_file(bent, bytes, size);
            bytes[i] = (char)(bytes[i] ^ masks[k]);
            if (enso_onnx_load(bent, NULL, &g, NULL) != ENSO_OK)
                n_refused++;
            enso_graph_destroy(g);
        }
    ck_assert_uint_gt(n_refused, 0);
    free(bytes);
    free(path);
    free(bent);
    enso_test_remove_dir(dir);
}
END_TEST

/* --- files made here: too large to keep --- */

static void put_varint(struct enso_buffer *b, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        enso_buffer_putc(b, (char)(n | 0x80));
    enso_buffer_putc(b, (char)n);
}

static void put_bytes(struct enso_buffer *b, unsigned field, const struct enso_buffer *content)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, content->size);
    if (content->size > 0)
        enso_buffer_append(b, content->data, content->size);
}

static void put_text(struct enso_buffer *b, unsigned field, const char *text)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, strlen(text));
    enso_buffer_puts(b, text);
}

#define HUGE_BYTES ((uint64_t)3 << 30)

/* 3 GiB of raw_data (a hole in the file) cost neither time nor memory: y = Shape(w). The address
 * space is not limited to prove it, but under a sanitizer 3 GiB would be felt. */
START_TEST(test_onnx_huge_raw_data)
{
    struct enso_buffer tensor = ENSO_BUFFER_INIT, node = ENSO_BUFFER_INIT,
                       output = ENSO_BUFFER_INIT, rest = ENSO_BUFFER_INIT, opset = ENSO_BUFFER_INIT,
                       head = ENSO_BUFFER_INIT;
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/huge.onnx", dir), *text;
    struct enso_error err = {0};
    struct enso_graph *g;
    struct enso_constant *c;
    FILE *f;

    put_varint(&tensor, 1 << 3);
    put_varint(&tensor, HUGE_BYTES);
    enso_buffer_append(&tensor, "\20\2", 2); /* data_type UINT8 */
    put_text(&tensor, 8, "w");
    put_varint(&tensor, 9 << 3 | 2);
    put_varint(&tensor, HUGE_BYTES); /* the content follows */
    put_text(&node, 1, "w");
    put_text(&node, 2, "y");
    put_text(&node, 4, "Shape");
    put_text(&output, 1, "y");
    put_bytes(&rest, 1, &node);
    put_bytes(&rest, 12, &output);
    enso_buffer_append(&opset, "\20\21", 2); /* version 17 */
    put_bytes(&head, 8, &opset);
    put_varint(&head, 7 << 3 | 2);
    uint64_t in_tensor = tensor.size + HUGE_BYTES;
    struct enso_buffer start = ENSO_BUFFER_INIT;
    put_varint(&start, 5 << 3 | 2);
    put_varint(&start, in_tensor);
    put_varint(&head, start.size + in_tensor + rest.size);
    enso_buffer_append(&head, start.data, start.size);
    enso_buffer_append(&head, tensor.data, tensor.size);

    f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fwrite(head.data, 1, head.size, f);
    fseeko(f, (off_t)(head.size + HUGE_BYTES), SEEK_SET);
    fwrite(rest.data, 1, rest.size, f);
    ck_assert_int_eq(fclose(f), 0);
    ENSO_TEST_OK(enso_onnx_load(path, NULL, &g, &err), &err);
    text = describe(g);
    ck_assert_str_eq(text, "Shape -> y INT64[1]");
    c = enso_graph_value(g, enso_graph_find_value(g, "w"))->constant;
    ck_assert_ptr_nonnull(c->file);
    ck_assert_uint_eq(c->offset, head.size);
    enso_graph_destroy(g);
    free(text);
    free(path);
    enso_test_remove_dir(dir);
    struct enso_buffer *all[] = {&tensor, &node, &output, &rest, &opset, &head, &start};
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++)
        enso_buffer_done(all[i]);
}
END_TEST

/* 2 bytes a node in the file would be 100 in memory. */
START_TEST(test_onnx_too_many_messages)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT, model = ENSO_BUFFER_INIT;
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/many.onnx", dir);
    struct enso_error err = {0};
    struct enso_graph *g;

    for (int i = 0; i < 1100000; i++)
        enso_buffer_append(&graph, "\12\0", 2);
    put_bytes(&model, 7, &graph);
    enso_test_write_file(path, model.data, model.size);
    ck_assert_int_eq(enso_onnx_load(path, NULL, &g, &err), ENSO_TOO_LARGE);
    ENSO_TEST_CONTAINS(err.message, "more than 1000000 messages");
    enso_buffer_done(&graph);
    enso_buffer_done(&model);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static enum enso_status load_once(void *path, struct enso_error *err)
{
    struct enso_graph *g = NULL;
    enum enso_status st = enso_onnx_load(path, NULL, &g, err);

    enso_graph_destroy(g);
    return st;
}

START_TEST(test_onnx_oom)
{
    static const char *const names[] = {"net",      "opset9",       "constants",
                                        "external", "softmax_tail", "functions"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++) {
        char *path = golden(names[i]);

        ck_assert_uint_gt(enso_test_oom_sweep(load_once, path), 10);
        free(path);
    }
}
END_TEST

START_TEST(test_onnx_not_a_file)
{
    struct enso_error err = {0};
    struct enso_graph *g;

    ck_assert_int_eq(enso_onnx_load("/nowhere/model.onnx", NULL, &g, &err), ENSO_NOT_FOUND);
    ENSO_TEST_CONTAINS(err.message, "/nowhere/model.onnx");
    ck_assert_int_eq(enso_onnx_load("/", NULL, &g, NULL), ENSO_INVALID);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/onnx");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");

    read_cases();
    tcase_add_test(core, test_onnx_golden_is_there);
    tcase_add_loop_test(core, test_onnx_golden, 0, n_cases);
    tcase_add_test(core, test_onnx_contents);
    tcase_add_test(core, test_onnx_attributes);
    tcase_add_test(core, test_onnx_sizes);
    tcase_add_test(core, test_onnx_frozen_input);
    tcase_add_test(core, test_onnx_tensor_file);
    tcase_add_loop_test(limits, test_onnx_truncated_anywhere, 0, ENSO_ARRAY_SIZE(whole));
    tcase_add_loop_test(limits, test_onnx_bent, 0, ENSO_ARRAY_SIZE(whole));
    tcase_add_test(limits, test_onnx_huge_raw_data);
    tcase_add_test(limits, test_onnx_too_many_messages);
    tcase_add_test(errors, test_onnx_not_a_file);
    tcase_add_test(oom, test_onnx_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
