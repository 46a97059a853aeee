/* SPDX-License-Identifier: Apache-2.0
 *
 * KServe V2: metadata, and infer in JSON and in binary, both ways; each wrong size, shape, name and
 * type with its sentence.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/server/fake.h"

/* --- bodies with binary data
 * ----------------------------------------------------------------------- */

/* JSON and bytes behind it, in a block of exactly that size; the header is set. */
struct binary_body {
    uint8_t *bytes;
    size_t size;
    char header[24];
};

static struct binary_body make_body(const char *json, const void *binary, size_t binary_size)
{
    struct binary_body b = {.size = strlen(json) + binary_size};

    b.bytes = malloc(b.size != 0 ? b.size : 1);
    memcpy(b.bytes, json, strlen(json));
    if (binary_size != 0)
        memcpy(b.bytes + strlen(json), binary, binary_size);
    (void)snprintf(b.header, sizeof b.header, "%zu", strlen(json));
    return b;
}

static void refuses_binary(const char *model, const char *json, const void *binary, size_t size,
                           const char *sentence, const char *param, int line)
{
    struct binary_body b = make_body(json, binary, size);
    struct fake f;

    fake_begin(&f, "v2_infer", model);
    f.req.content_type = "application/octet-stream";
    f.req.inference_header = b.header;
    fake_refuses_bytes(&f, b.bytes, b.size, 400, sentence, param, __FILE__, line);
    fake_end(&f);
    free(b.bytes);
}

static void infer_ok(struct fake *f, const char *model, const char *json)
{
    int status;

    fake_begin(f, "v2_infer", model);
    status = fake_decode(f, json);
    ck_assert_msg(status == 200, "%s: %s", json, f->err.message);
}

/* --- metadata
 * ------------------------------------------------------------------------------------- */

static void expect_page(const char *route, const char *model, const char *version, int status,
                        const char *answer)
{
    struct fake f;

    fake_begin(&f, route, model);
    f.req.path_version = version;
    ck_assert_int_eq(fake_decode(&f, ""), status);
    ck_assert_str_eq(f.answer, answer);
    fake_end(&f);
}

START_TEST(test_v2_server)
{
    struct fake f;

    fake_begin(&f, "v2_server", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    ENSO_TEST_CONTAINS(f.answer, "{\"name\":\"ensod\",\"version\":\"");
    ENSO_TEST_CONTAINS(f.answer, "\"extensions\":[\"binary_tensor_data\",\"classification\","
                                 "\"parameters\"]}");
    fake_end(&f);
    expect_page("v2_live", NULL, NULL, 200, "{\"live\":true}\n");
    expect_page("v2_ready", NULL, NULL, 503, "{\"ready\":false}\n");
}
END_TEST

START_TEST(test_v2_model)
{
    expect_page("v2_model", "intents", NULL, 200,
                "{\"name\":\"intents\",\"versions\":[\"1\"],\"platform\":\"ensod_safetensors\","
                "\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[-1]},{\"name\":"
                "\"text_pair\",\"datatype\":\"BYTES\",\"shape\":[-1],\"parameters\":{\"optional\":"
                "true}}],\"outputs\":[{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":"
                "[-1,3]},{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[-1]}]}\n");
    expect_page("v2_model_version", "one", "1", 200,
                "{\"name\":\"one\",\"versions\":[\"1\"],\"platform\":\"ensod_onnx\",\"inputs\":[{"
                "\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[-1,2]}],\"outputs\":[{\"name\":"
                "\"y\",\"datatype\":\"FP32\",\"shape\":[-1,2]}]}\n");
    FAKE_REFUSES("v2_model", "nothing", "", 404, "there is no model 'nothing'", "model");
    FAKE_REFUSES("v2_model", "loading", "", 503, "not ready", NULL);
}
END_TEST

START_TEST(test_v2_model_of_embeddings_and_pictures)
{
    struct fake f;

    fake_begin(&f, "v2_model", "minilm");
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    ENSO_TEST_CONTAINS(f.answer, "\"outputs\":[{\"name\":\"embedding\",\"datatype\":\"FP32\","
                                 "\"shape\":[-1,4]}]}");
    fake_end(&f);
    fake_begin(&f, "v2_model", "fashion");
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    ENSO_TEST_CONTAINS(f.answer, "\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":"
                                 "[-1],\"parameters\":{\"optional\":true}},{\"name\":\"pixels\","
                                 "\"datatype\":\"FP32\",\"shape\":[-1,2,2],");
    ENSO_TEST_CONTAINS(f.answer, "\"name\":\"logits\"");
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_model_ready)
{
    expect_page("v2_model_ready", "intents", NULL, 200, "{\"name\":\"intents\",\"ready\":true}\n");
    expect_page("v2_model_version_ready", "intents", "1", 200,
                "{\"name\":\"intents\",\"ready\":true}\n");
    expect_page("v2_model_ready", "loading", NULL, 503, "{\"name\":\"loading\",\"ready\":false}\n");
    expect_page("v2_model_ready", "broken", NULL, 503, "{\"name\":\"broken\",\"ready\":false}\n");
    FAKE_REFUSES("v2_model_ready", "nothing", "", 404, "there is no model", "model");
}
END_TEST

START_TEST(test_v2_versions)
{
    static const char *const routes[] = {"v2_model_version", "v2_model_version_ready",
                                         "v2_infer_version"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(routes); i++) {
        struct fake f;

        fake_begin(&f, routes[i], "intents");
        f.req.path_version = "2";
        fake_refuses_bytes(&f, "{}", 2, 404, "has the version 1 only, not '2'", "version", __FILE__,
                           __LINE__);
        fake_end(&f);
    }
}
END_TEST

/* --- texts
 * ---------------------------------------------------------------------------------------- */

#define TEXTS "{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":[\"a\",\"b\"]}"

START_TEST(test_v2_texts)
{
    struct fake f;

    infer_ok(&f, "intents", "{\"id\":\"7\\u0000\\\"\",\"inputs\":[" TEXTS "]}");
    ck_assert_uint_eq(f.req.n_inputs, 2);
    ck_assert_mem_eq(f.req.inputs[1].text, "b", 1);
    ck_assert_uint_eq(f.req.inputs[1].text_size, 1);
    ck_assert_ptr_null(f.req.inputs[1].pair);
    fake_output_rows(&f, (const float[]){0.5f, 0.25f, 0.25f, 0.125f, 0.125f, 0.75f}, 1, 3);
    f.req.truncated = true;
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_str_eq(f.answer,
                     "{\"model_name\":\"intents\",\"model_version\":\"1\",\"id\":\"7\\u0000\\\"\","
                     "\"parameters\":{\"truncated\":true},\"outputs\":[{\"name\":\"probabilities\","
                     "\"datatype\":\"FP32\",\"shape\":[2,3],\"data\":[0.5,0.25,0.25,0.125,0.125,"
                     "0.75]},{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":["
                     "\"yes\",\"say \\\"maybe\\\"\"]}]}");
    ck_assert_ptr_null(f.req.answer_type);
    ck_assert_uint_eq(f.req.json_header_size, 0);
    ck_assert_uint_eq(fake_predicted.n, 2);
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_texts_and_pairs_nested)
{
    struct fake f;

    infer_ok(&f, "intents",
             "{\"inputs\":[{\"name\":\"text_pair\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":["
             "\"c\",\"\"]},{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[2,1],\"data\":[["
             "\"a\"],[\"b\"]]}],\"outputs\":[{\"name\":\"label\"}]}");
    ck_assert_mem_eq(f.req.inputs[0].text, "a", 1);
    ck_assert_mem_eq(f.req.inputs[0].pair, "c", 1);
    ck_assert_ptr_nonnull(f.req.inputs[1].pair);
    ck_assert_uint_eq(f.req.inputs[1].pair_size, 0);
    fake_output_rows(&f, (const float[]){0, 1, 0, 1, 0, 0}, 1, 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ENSO_TEST_CONTAINS(f.answer,
                       "\"outputs\":[{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":"
                       "[2],\"data\":[\"no\",\"yes\"]}]}");
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_parameters)
{
    const struct enso_parameters *p;
    struct fake f;

    infer_ok(&f, "intents",
             "{\"inputs\":[" TEXTS "],\"parameters\":{\"timeout\":2500,\"priority\":1,\"truncate\":"
             "false,\"truncation_direction\":\"left\",\"sequence_id\":0,\"mine\":[]}}");
    p = &f.req.parameters;
    ck_assert_uint_eq(p->timeout_ns, 2500000);
    ck_assert_uint_eq(p->priority, 1);
    ck_assert(!p->truncate && p->truncate_left);
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_texts_in_binary_both_ways)
{
    static const char texts[] = "\2\0\0\0h\xc3\0\0\0\0\3\0\0\0a\0b"; /* not UTF-8 */
    static const char good[] = "\3\0\0\0h\xc3\xa9\0\0\0\0";
    const float rows[] = {0.5f, 0.25f, 0.25f, 0.125f, 0.125f, 0.75f};
    struct binary_body b = make_body(
        "{\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[2],\"parameters\":{"
        "\"binary_data_size\":11}}],\"parameters\":{\"binary_data_output\":true}}",
        good, 11);
    struct fake f;

    fake_begin(&f, "v2_infer", "intents");
    f.req.content_type = "application/octet-stream";
    f.req.inference_header = b.header;
    ck_assert_int_eq(fake_decode_bytes(&f, b.bytes, b.size), 200);
    ck_assert_uint_eq(f.req.inputs[0].text_size, 3);
    ck_assert_uint_eq(f.req.inputs[1].text_size, 0);
    fake_output_rows(&f, rows, 1, 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_str_eq(f.req.answer_type, "application/octet-stream");
    ENSO_TEST_CONTAINS(f.answer, "\"shape\":[2,3],\"parameters\":{\"binary_data_size\":24}}");
    ENSO_TEST_CONTAINS(f.answer, "\"shape\":[2],\"parameters\":{\"binary_data_size\":22}}]}");
    ck_assert_uint_eq(f.answer_size, f.req.json_header_size + 24 + 22);
    ck_assert_mem_eq(f.answer + f.req.json_header_size, rows, sizeof rows);
    ck_assert_mem_eq(f.answer + f.req.json_header_size + 24, "\3\0\0\0yes\13\0\0\0say \"maybe\"",
                     22);
    fake_end(&f);
    free(b.bytes);
    refuses_binary("intents",
                   "{\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[3],"
                   "\"parameters\":{\"binary_data_size\":17}}]}",
                   texts, 17, "element 0 of input 'text' is not valid UTF-8 at byte 1", "inputs[0]",
                   __LINE__);
}
END_TEST

START_TEST(test_v2_outputs_in_the_order_asked_for_each_in_its_form)
{
    const float rows[] = {0.5f, 0.25f, 0.25f, 0, 1, 0};
    struct fake f;

    infer_ok(&f, "intents",
             "{\"inputs\":[" TEXTS "],\"outputs\":[{\"name\":\"label\",\"parameters\":{"
             "\"binary_data\":false}},{\"name\":\"probabilities\"}],\"parameters\":{"
             "\"binary_data_output\":true}}");
    fake_output_rows(&f, rows, 1, 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ENSO_TEST_CONTAINS(f.answer,
                       "\"outputs\":[{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":"
                       "[2],\"data\":[\"yes\",\"no\"]},{\"name\":\"probabilities\",");
    ck_assert_uint_eq(f.answer_size, f.req.json_header_size + sizeof rows);
    ck_assert_mem_eq(f.answer + f.req.json_header_size, rows, sizeof rows);
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_classification)
{
    struct fake f;

    infer_ok(&f, "intents",
             "{\"inputs\":[" TEXTS "],\"outputs\":[{\"name\":\"probabilities\",\"parameters\":{"
             "\"classification\":2}}]}");
    fake_output_rows(&f, (const float[]){0.5f, 0.25f, 0.125f, 0, 0.25f, 0.75f}, 1, 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ENSO_TEST_CONTAINS(f.answer,
                       "{\"name\":\"probabilities\",\"datatype\":\"BYTES\",\"shape\":[2,2]"
                       ",\"data\":[\"0.5:0:yes\",\"0.25:1:no\",\"0.75:2:say \\\"maybe\\\""
                       "\",\"0.25:1:no\"]}");
    fake_end(&f);
    FAKE_REFUSES("v2_infer", "intents",
                 "{\"inputs\":[" TEXTS "],\"outputs\":[{\"name\":\"label\",\"parameters\":{"
                 "\"classification\":2}}]}",
                 400, "classification wants an output FP32 [n, C]",
                 "outputs[0].parameters.classification");
}
END_TEST

START_TEST(test_v2_embedding)
{
    struct fake f;

    infer_ok(&f, "minilm", "{\"inputs\":[" TEXTS "]}");
    ck_assert(!f.req.parameters.per_token && !f.req.parameters.per_token_if_bare);
    fake_output_rows(&f, (const float[]){1, 2, 3, 4, 5, 6, 7, NAN}, 1, 4);
    ck_assert_int_eq(fake_encode(&f), 200);
    ENSO_TEST_CONTAINS(f.answer, "\"outputs\":[{\"name\":\"embedding\",\"datatype\":\"FP32\","
                                 "\"shape\":[2,4],\"data\":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,null]}]}");
    ck_assert_uint_eq(fake_predicted.n, 0);
    fake_end(&f);
}
END_TEST

/* --- pictures
 * ------------------------------------------------------------------------------------- */

START_TEST(test_v2_pictures)
{
    struct binary_body b = make_body(
        "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[2],\"parameters\":{"
        "\"binary_data_size\":13}}]}",
        "\4\0\0\0\x89PNG\1\0\0\0\xff", 13);
    struct fake f;

    fake_begin(&f, "v2_infer", "fashion");
    f.req.inference_header = b.header;
    ck_assert_int_eq(fake_decode_bytes(&f, b.bytes, b.size), 200);
    ck_assert_uint_eq(f.req.n_inputs, 2);
    ck_assert_int_eq(f.req.inputs[1].kind, ENSO_INPUT_IMAGE);
    ck_assert_mem_eq(f.req.inputs[0].image, "\x89PNG", 4);
    ck_assert_uint_eq(f.req.inputs[1].image_size, 1);
    fake_end(&f);
    free(b.bytes);
    infer_ok(&f, "fashion",
             "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[1],"
             "\"data\":[\"AQID\"]}],\"outputs\":[{\"name\":\"label\"}]}");
    ck_assert_mem_eq(f.req.inputs[0].image, "\1\2\3", 3);
    fake_end(&f);
    FAKE_REFUSES("v2_infer", "fashion",
                 "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":["
                 "\"AQID\",\"A\"]}]}",
                 400, "multiple of 4", "inputs[0].data[1]");
    FAKE_REFUSES("v2_infer", "fashion",
                 "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"UINT8\",\"shape\":[1],\"data\":["
                 "1]}]}",
                 400, "it takes: pixels (or 'image' alone, as BYTES)", "inputs[0].name");
}
END_TEST

START_TEST(test_v2_pictures_as_the_graphs_own_input)
{
    static const float own[] = {1, 2, 3, 4, 5, 6, 7};
    struct fake f;

    infer_ok(&f, "fashion",
             "{\"inputs\":[{\"name\":\"pixels\",\"datatype\":\"FP32\",\"shape\":"
             "[1,2,2],\"data\":[[[1,2],[3,4.5]]]}]}");
    ck_assert_uint_eq(f.req.n_inputs, 1);
    ck_assert_int_eq(f.req.inputs[0].kind, ENSO_INPUT_TENSORS);
    ck_assert_float_eq(((const float *)f.req.inputs[0].tensors[0].data)[3], 4.5f);
    fake_output_tensors(
        &f, &(const struct enso_tensor){ENSO_DTYPE_F32, 2, {1, 7}, (void *)(uintptr_t)own}, 1);
    ck_assert_int_eq(fake_encode(&f), 200);
    ENSO_TEST_CONTAINS(f.answer,
                       "\"outputs\":[{\"name\":\"logits\",\"datatype\":\"FP32\",\"shape\":"
                       "[1,7],\"data\":[1.0,2.0,3.0,4.0,5.0,6.0,7.0]}]}");
    ck_assert_uint_eq(fake_predicted.n, 0); /* logits say nothing about confidence */
    fake_end(&f);
    FAKE_REFUSES("v2_infer", "fashion",
                 "{\"inputs\":[{\"name\":\"pixels\",\"datatype\":\"FP32\",\"shape\":[1,2,2],"
                 "\"data\":[1,2,3,4]}],\"outputs\":[{\"name\":\"probabilities\"}]}",
                 400, "it gives: logits", "outputs[0].name");
}
END_TEST

/* --- tensors
 * -------------------------------------------------------------------------------------- */

#define X "{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":[1,2,3,4]}"
#define N "{\"name\":\"n\",\"datatype\":\"INT64\",\"shape\":[2],\"data\":[-1,9007199254740993]}"
#define FLAG "{\"name\":\"flag\",\"datatype\":\"BOOL\",\"shape\":[1],\"data\":[true]}"

START_TEST(test_v2_tensors_in_any_order)
{
    static const int64_t n[] = {-1, 9007199254740993};
    static const float x[] = {1, 2, 3, 4};
    const struct enso_tensor *t;
    struct fake f;

    infer_ok(&f, "graph", "{\"inputs\":[" FLAG "," N "," X "]}");
    ck_assert_uint_eq(f.req.inputs[0].n_tensors, 3);
    t = f.req.inputs[0].tensors;
    ck_assert_int_eq(t[0].dtype, ENSO_DTYPE_F32);
    ck_assert_uint_eq(t[0].rank, 2);
    ck_assert_int_eq(t[0].dims[0], 2);
    ck_assert_mem_eq(t[0].data, x, sizeof x);
    ck_assert_mem_eq(t[1].data, n, sizeof n);
    ck_assert_mem_eq(t[2].data, "\1", 1);
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_tensors_answer_every_type)
{
    static float y[] = {1, -0.5f, 0, INFINITY};
    static int32_t z[] = {-7, 8};
    static uint16_t h[] = {0x3C00, 0xC000}; /* 1, -2 */
    const struct enso_tensor outputs[] = {
        {ENSO_DTYPE_F32, 2, {2, 2}, y}, {ENSO_DTYPE_I32, 1, {2}, z}, {ENSO_DTYPE_F16, 1, {2}, h}};
    struct fake f;

    infer_ok(&f, "graph",
             "{\"inputs\":[" FLAG "," N "," X "],\"outputs\":[{\"name\":\"h\"},{"
             "\"name\":\"z\",\"parameters\":{\"binary_data\":true}},{\"name\":\"y\"}]}");
    fake_output_tensors(&f, outputs, 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ENSO_TEST_CONTAINS(f.answer,
                       "\"outputs\":[{\"name\":\"h\",\"datatype\":\"FP16\",\"shape\":[2],\"data\":["
                       "1.0,-2.0]},{\"name\":\"z\",\"datatype\":\"INT32\",\"shape\":[2],"
                       "\"parameters\":{\"binary_data_size\":8}},{\"name\":\"y\",\"datatype\":"
                       "\"FP32\",\"shape\":[2,2],\"data\":[1.0,-0.5,0.0,null]}]}");
    ck_assert_mem_eq(f.answer + f.req.json_header_size, z, sizeof z);
    fake_end(&f);
}
END_TEST

START_TEST(test_v2_answer_of_each_integer_type)
{
    static const uint64_t bits = UINT64_MAX;
    static const struct {
        enum enso_dtype dtype;
        const char *text;
    } cases[] = {{ENSO_DTYPE_I8, "-1"},
                 {ENSO_DTYPE_U8, "255"},
                 {ENSO_DTYPE_I16, "-1"},
                 {ENSO_DTYPE_U16, "65535"},
                 {ENSO_DTYPE_U32, "4294967295"},
                 {ENSO_DTYPE_I64, "-1"},
                 {ENSO_DTYPE_U64, "18446744073709551615"},
                 {ENSO_DTYPE_BOOL, "true"},
                 {ENSO_DTYPE_F64, "null"},
                 {ENSO_DTYPE_BF16, "null"}};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *expected = enso_test_format("\"data\":[%s]", cases[i].text);
        struct fake f;

        infer_ok(&f, "one", "{\"inputs\":[" X "]}");
        fake_output_tensors(
            &f, &(const struct enso_tensor){cases[i].dtype, 1, {1}, (void *)(uintptr_t)&bits}, 1);
        ck_assert_int_eq(fake_encode(&f), 200);
        ENSO_TEST_CONTAINS(f.answer, expected);
        fake_end(&f);
        free(expected);
    }
}
END_TEST

START_TEST(test_v2_binary_tensors_are_taken_where_they_lie)
{
    const float x[] = {1, 2, 3, 4};
    struct binary_body b = make_body(
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[2,2],\"parameters\""
        ":{\"binary_data_size\":16}}] }",
        x, sizeof x);
    struct fake f;

    fake_begin(&f, "v2_infer", "one");
    f.req.inference_header = b.header;
    ck_assert_int_eq(fake_decode_bytes(&f, b.bytes, b.size), 200);
    ck_assert_ptr_eq(f.req.inputs[0].tensors[0].data, b.bytes + b.size - sizeof x);
    fake_end(&f);
    free(b.bytes);
}
END_TEST

/* 1.5 and -2, as each float type. */
START_TEST(test_v2_float_types_are_converted)
{
    static const struct {
        const char *name;
        uint8_t bytes[16];
        size_t size;
    } cases[] = {{"FP16", {0, 0x3E, 0, 0xC0}, 4},
                 {"BF16", {0xC0, 0x3F, 0, 0xC0}, 4},
                 {"FP32", {0, 0, 0xC0, 0x3F, 0, 0, 0, 0xC0}, 8},
                 {"FP64", {0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0xC0}, 16}};
    static const float expected[] = {1.5f, -2};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *json = enso_test_format("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"%s\",\"shape\":["
                                      "1,2],\"parameters\":{\"binary_data_size\":%zu}}]}",
                                      cases[i].name, cases[i].size);
        struct binary_body b = make_body(json, cases[i].bytes, cases[i].size);
        struct fake f;

        fake_begin(&f, "v2_infer", "one");
        f.req.inference_header = b.header;
        ck_assert_int_eq(fake_decode_bytes(&f, b.bytes, b.size), 200);
        ck_assert_int_eq(f.req.inputs[0].tensors[0].dtype, ENSO_DTYPE_F32);
        ck_assert_mem_eq(f.req.inputs[0].tensors[0].data, expected, sizeof expected);
        fake_end(&f);
        free(b.bytes);
        free(json);
        json = enso_test_format("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"%s\",\"shape\":[1,2],"
                                "\"data\":[1.5,-2]}]}",
                                cases[i].name);
        infer_ok(&f, "one", json);
        ck_assert_mem_eq(f.req.inputs[0].tensors[0].data, expected, sizeof expected);
        fake_end(&f);
        free(json);
    }
}
END_TEST

START_TEST(test_v2_many_halves_are_converted)
{
    const size_t n = 2 * 700; /* more than are converted at once */
    uint16_t *halves = calloc(n, sizeof *halves);
    struct binary_body b;
    struct fake f;

    for (size_t i = 0; i < n; i++)
        halves[i] = (uint16_t)(0x3C00 + i); /* 1 + i / 1024, up to 2, then on by 1/512 */
    b = make_body("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP16\",\"shape\":[700,2],"
                  "\"parameters\":{\"binary_data_size\":2800}}]}",
                  halves, n * sizeof *halves);
    fake_begin(&f, "v2_infer", "one");
    f.req.inference_header = b.header;
    ck_assert_int_eq(fake_decode_bytes(&f, b.bytes, b.size), 200);
    for (size_t i = 0; i < n; i++) {
        const float *x = f.req.inputs[0].tensors[0].data;
        float expected = i < 1024 ? 1 + (float)i / 1024 : 2 + (float)(i - 1024) / 512;

        ck_assert_float_eq(x[i], expected);
    }
    fake_end(&f);
    free(b.bytes);
    free(halves);
}
END_TEST

/* --- raw bodies
 * ------------------------------------------------------------------------------------ */

START_TEST(test_v2_raw_bodies)
{
    static float y[] = {1, 2};
    const float x[] = {1, 2, 3, 4};
    struct fake f;

    fake_begin(&f, "v2_infer", "one");
    f.req.inference_header = "0";
    ck_assert_int_eq(fake_decode_bytes(&f, x, sizeof x), 200);
    ck_assert_int_eq(f.req.inputs[0].tensors[0].dims[0], 2);
    fake_output_tensors(&f, &(const struct enso_tensor){ENSO_DTYPE_F32, 2, {1, 2}, y}, 1);
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_uint_eq(f.answer_size, f.req.json_header_size + sizeof y);
    fake_end(&f);
    fake_begin(&f, "v2_infer", "intents");
    f.req.inference_header = "0";
    ck_assert_int_eq(fake_decode(&f, "hello"), 200);
    ck_assert_uint_eq(f.req.inputs[0].text_size, 5);
    fake_end(&f);
    fake_begin(&f, "v2_infer", "fashion");
    f.req.inference_header = "0";
    ck_assert_int_eq(fake_decode(&f, "\x89PNG"), 200);
    ck_assert_int_eq(f.req.inputs[0].kind, ENSO_INPUT_IMAGE);
    fake_end(&f);
}
END_TEST

static void refuses_raw(const char *model, const char *header, const void *body, size_t size,
                        const char *sentence, int line)
{
    struct fake f;

    fake_begin(&f, "v2_infer", model);
    f.req.inference_header = header;
    fake_refuses_bytes(&f, body, size, 400, sentence, NULL, __FILE__, line);
    fake_end(&f);
}

START_TEST(test_v2_raw_bodies_and_headers_refused)
{
    refuses_raw("one", "0", "1234567", 7, "has 7 bytes, but an item of input 'x' takes 8",
                __LINE__);
    refuses_raw("one", "0", "", 0, "the body is empty", __LINE__);
    refuses_raw("graph", "0", "12345678", 8, "has 3 inputs", __LINE__);
    refuses_raw("intents", "0", "\xff", 1, "not valid UTF-8 at byte 0", __LINE__);
    refuses_raw("intents", "3", "{}", 2, "says 3 bytes of JSON, but the body has 2", __LINE__);
    refuses_raw("intents", "-1", "{}", 2, "-1", __LINE__);
    refuses_raw("intents", "two", "{}", 2, "two", __LINE__);
    refuses_raw("intents", "", "{}", 2, "", __LINE__);
    refuses_raw("intents", "99999999999999999999", "{}", 2, "", __LINE__);
    refuses_raw("intents", "1", "{}", 2, "not valid JSON: it ends too early", __LINE__);
}
END_TEST

/* --- refused
 * --------------------------------------------------------------------------------------- */

#define ONE(rest) "{\"inputs\":[{\"name\":\"x\"," rest "}]}"
#define X32 "\"datatype\":\"FP32\","
#define TEXT(rest) "{\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\"," rest "}]}"

static const struct {
    const char *model, *body;
    int status;
    const char *sentence, *param;
} refused[] = {
    {"nothing", "{}", 404, "there is no model", "model"},
    {"loading", "{}", 503, "not ready", NULL},
    {"one", "{}", 400, "'inputs' is missing", "inputs"},
    {"one", "{\"inputs\":{}}", 400, "expected an array", "inputs"},
    {"one", "{\"inputs\":[]}", 400, "0 inputs were sent", "inputs"},
    {"one", "{\"inputs\":[7]}", 400, "expected an object", "inputs[0]"},
    {"one", "{\"inputs\":[{}]}", 400, "'inputs[0].name' is missing", "inputs[0].name"},
    {"one", "{\"inputs\":[{\"name\":\"x\"}]}", 400, "datatype' is missing", "inputs[0].datatype"},
    {"one", ONE("\"datatype\":\"FLOAT\""), 400, "datatype 'FLOAT' is not known",
     "inputs[0].datatype"},
    {"one", ONE("\"datatype\":\"FP32\""), 400, "shape' is missing", "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":2"), 400, "expected an array", "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[1.5,2]"), 400, "must be a list of integers", "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[\"1\",2]"), 400, "must be a list of integers", "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[-1,2],\"data\":[1,2]"), 400, "negative dimension",
     "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[1,1,1,1,1,1,1,1,2],\"data\":[1,2]"), 400, "more than 8 dimensions",
     "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[4294967296,4294967296],\"data\":[1]"), 400,
     "more elements than can be counted", "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[9223372036854775807,2,3],\"data\":[1]"), 400,
     "more elements than can be counted", "inputs[0].shape"},
    {"one", ONE(X32 "\"shape\":[1,2305843009213693952],\"data\":[1]"), 400,
     "has 1 elements where its shape says 2305843009213693952", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2]"), 400, "has no data", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":7"), 400, "expected an array", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[1]"), 400, "has 1 elements where its shape says 2",
     "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[1,2,3]"), 400, "has 3 elements", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[[1,2],[3,4]]"), 400, "has 2 elements in an inner",
     "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[2,2],\"data\":[[1,2],[3]]"), 400, "has 1 elements in an inner",
     "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[2,2],\"data\":[[1,2],3]"), 400, "but at depth 1 is an integer",
     "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[[1,[2]]]"), 400,
     "element 1 of input 'x': expected a number, got an array", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[1,null]"), 400,
     "element 1 of input 'x': expected a number, got null", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[1,\"2\"]"), 400, "expected a number, got a string",
     "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[1,1e300]"), 400, "expected FP32, got a number out",
     "inputs[0].data"},
    {"one", ONE("\"datatype\":\"INT32\",\"shape\":[1,2],\"data\":[1,2]"), 400,
     "input 'x' takes datatype FP32, not INT32", "inputs[0].datatype"},
    {"one", ONE("\"datatype\":\"BYTES\",\"shape\":[1,2],\"data\":[\"1\",\"2\"]"), 400,
     "input 'x' takes datatype FP32, not BYTES", "inputs[0].datatype"},
    {"one", ONE(X32 "\"shape\":[1,2],\"data\":[1,2],\"parameters\":{\"binary_data_size\":8}"), 400,
     "has both data and binary_data_size", "inputs[0].data"},
    {"one", ONE(X32 "\"shape\":[1,2],\"parameters\":{\"binary_data_size\":8}"), 400,
     "but the header Inference-Header-Content-Length is not there",
     "inputs[0].parameters.binary_data_size"},
    {"one", ONE(X32 "\"shape\":[1,2],\"parameters\":{\"binary_data_size\":-8}"), 400,
     "must be between", "inputs[0].parameters.binary_data_size"},
    {"one", ONE(X32 "\"shape\":[1,2],\"parameters\":{\"shared_memory_region\":\"r\"}"), 400,
     "shared memory is not supported", "inputs[0].parameters.shared_memory_region"},
    {"one", ONE(X32 "\"shape\":[1,2],\"parameters\":7,\"data\":[1,2]"), 400, "expected an object",
     "inputs[0].parameters"},
    {"one", ONE(X32 "\"shape\":[2049,2],\"parameters\":{}"), 400, "has no data", NULL},
    {"one", "{\"inputs\":[" X "," X "]}", 400, "input 'x' is there twice", "inputs[1].name"},
    {"one", "{\"inputs\":[" X "," N "]}", 400, "has no input 'n' here; it takes: x",
     "inputs[1].name"},
    {"graph", "{\"inputs\":[" X "," N "]}", 400,
     "input 'flag' is missing; model 'graph' takes: x, n, flag", "inputs"},
    {"graph",
     "{\"inputs\":[" X "," N ",{\"name\":\"flag\",\"datatype\":\"BOOL\",\"shape\":[1],\"data\":[2]}"
     "]}",
     400, "expected BOOL, got a number out of its range", "inputs[2].data"},
    {"graph",
     "{\"inputs\":[" X "," FLAG ",{\"name\":\"n\",\"datatype\":\"INT64\",\"shape\":[1],\"data\":"
     "[1.5]}]}",
     400, "expected an integer, got a number", "inputs[2].data"},
    {"graph",
     "{\"inputs\":[" X "," FLAG ",{\"name\":\"n\",\"datatype\":\"INT32\",\"shape\":[1],\"data\":"
     "[1]}]}",
     400, "takes datatype INT64, not INT32", "inputs[2].datatype"},
    {"intents", TEXT("\"shape\":[0],\"data\":[]"), 400, "the list of inputs is empty", "inputs[0]"},
    {"intents", TEXT("\"shape\":[],\"data\":[\"a\"]"), 400, "must be [n] or [n, 1]",
     "inputs[0].shape"},
    {"intents", TEXT("\"shape\":[1,2],\"data\":[\"a\",\"b\"]"), 400, "must be [n] or [n, 1]",
     "inputs[0].shape"},
    {"intents", TEXT("\"shape\":[1],\"data\":[1]"), 400, "expected a string, got an integer",
     "inputs[0].data"},
    {"intents", TEXT("\"shape\":[5000],\"data\":[]"), 413, "has 5000 inputs, but at most 2048",
     "inputs[0]"},
    {"intents",
     "{\"inputs\":[{\"name\":\"text\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}", 400,
     "takes datatype BYTES, not FP32", "inputs[0].datatype"},
    {"intents",
     "{\"inputs\":[" TEXTS
     ",{\"name\":\"text_pair\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":["
     "\"c\"]}]}",
     400, "must have as many rows as 'text'", "inputs[1].shape"},
    {"intents",
     "{\"inputs\":[{\"name\":\"text_pair\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"c\"]}]"
     "}",
     400, "input 'text' is missing", "inputs"},
    {"intents", "{\"inputs\":[" X "]}", 400, "has no input 'x' here; it takes: text, text_pair",
     "inputs[0].name"},
    {"intents", "{\"inputs\":[" TEXTS "],\"outputs\":{}}", 400, "expected an array", "outputs"},
    {"intents", "{\"inputs\":[" TEXTS "],\"outputs\":[\"label\"]}", 400, "expected an object",
     "outputs[0]"},
    {"intents", "{\"inputs\":[" TEXTS "],\"outputs\":[{}]}", 400, "name' is missing",
     "outputs[0].name"},
    {"intents", "{\"inputs\":[" TEXTS "],\"outputs\":[{\"name\":\"logits\"}]}", 400,
     "has no output 'logits' here; it gives: probabilities, label", "outputs[0].name"},
    {"intents", "{\"inputs\":[" TEXTS "],\"outputs\":[{\"name\":\"label\"},{\"name\":\"label\"}]}",
     400, "output 'label' is asked for twice", "outputs[1].name"},
    {"intents",
     "{\"inputs\":[" TEXTS
     "],\"outputs\":[{\"name\":\"label\",\"parameters\":{\"binary_data\":1}}]}",
     400, "expected true or false", "outputs[0].parameters.binary_data"},
    {"intents", "{\"inputs\":[" TEXTS "],\"id\":7}", 400, "expected a string", "id"},
    {"intents", "{\"inputs\":[" TEXTS "],\"parameters\":7}", 400, "expected an object",
     "parameters"},
    {"intents", "{\"inputs\":[" TEXTS "],\"parameters\":{\"timeout\":-1}}", 400, "must be between",
     "parameters.timeout"},
    {"intents", "{\"inputs\":[" TEXTS "],\"parameters\":{\"priority\":10}}", 400, "must be between",
     "parameters.priority"},
    {"intents", "{\"inputs\":[" TEXTS "],\"parameters\":{\"sequence_id\":5}}", 400,
     "models with state are not supported", "parameters.sequence_id"},
};

START_TEST(test_v2_infer_refuses)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(refused); i++)
        FAKE_REFUSES("v2_infer", refused[i].model, refused[i].body, refused[i].status,
                     refused[i].sentence, refused[i].param);
}
END_TEST

#define XBIN(shape, size)                                                                          \
    "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":" shape                          \
    ",\"parameters\":{\"binary_data_size\":" size "}}]}"
#define TBIN(shape, size)                                                                          \
    "{\"inputs\":[{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":" shape                      \
    ",\"parameters\":{\"binary_data_size\":" size "}}]}"

START_TEST(test_v2_infer_refuses_wrong_binary_sizes)
{
    static const char *const size = "inputs[0].parameters.binary_data_size";

    refuses_binary("one", XBIN("[1,2]", "9"), "12345678", 8, "only 8 are left in the body", size,
                   __LINE__);
    refuses_binary("one", XBIN("[1,2]", "9223372036854775807"), "12345678", 8,
                   "only 8 are left in the body", size, __LINE__);
    refuses_binary("one", XBIN("[1,2]", "7"), "1234567", 7,
                   "has 7 bytes of binary data, but 2 elements of FP32 take 8", size, __LINE__);
    refuses_binary("one", XBIN("[2,2]", "8"), "12345678", 8, "but 4 elements of FP32 take 16", size,
                   __LINE__);
    refuses_binary("one", XBIN("[1,2]", "8"), "123456789", 9, "1 bytes of binary data belong to no",
                   "", __LINE__);
    refuses_binary("one", XBIN("[1,2]", "0"), "", 0, "take 8", size, __LINE__);
    refuses_binary("one", XBIN("[1,4611686018427387904]", "8"), "12345678", 8, "elements of FP32",
                   size, __LINE__);
    refuses_binary("intents", TBIN("[1]", "3"), "\1\0\0", 3, "ends before element 0", size,
                   __LINE__);
    refuses_binary("intents", TBIN("[1]", "5"), "\2\0\0\0a", 5, "ends inside element 0", size,
                   __LINE__);
    refuses_binary("intents", TBIN("[1]", "5"),
                   "\xff\xff\xff\xff"
                   "a",
                   5, "ends inside element 0", size, __LINE__);
    refuses_binary("intents", TBIN("[2]", "5"), "\1\0\0\0a", 5, "ends before element 1", size,
                   __LINE__);
    refuses_binary("intents", TBIN("[1]", "6"), "\1\0\0\0ab", 6,
                   "goes on behind the last, element "
                   "0",
                   size, __LINE__);
    refuses_binary("graph",
                   "{\"inputs\":[" X "," N
                   ",{\"name\":\"flag\",\"datatype\":\"BOOL\",\"shape\":[1],"
                   "\"parameters\":{\"binary_data_size\":1}}]}",
                   "\2", 1, "expected the byte 0 or 1 of a BOOL", NULL, __LINE__);
}
END_TEST

START_TEST(test_v2_rows_of_tensors_are_bounded)
{
    struct binary_body b;
    void *zeros = calloc(2049, 8);
    struct fake f;

    b = make_body(XBIN("[2049,2]", "16392"), zeros, 16392);
    fake_begin(&f, "v2_infer", "one");
    f.req.inference_header = b.header;
    fake_refuses_bytes(&f, b.bytes, b.size, 413, "has 2049 inputs, but at most 2048",
                       "inputs[0].shape[0]", __FILE__, __LINE__);
    fake_end(&f);
    free(b.bytes);
    free(zeros);
}
END_TEST

START_TEST(test_v2_error_body)
{
    struct fake f;

    fake_begin(&f, "v2_infer", "one");
    ck_assert_int_eq(fake_decode(&f, "{\"inputs\":[" X "],\"parameters\":{\"sequence_id\":1}}"),
                     400);
    ck_assert_str_eq(f.answer, "{\"error\":\"parameters.sequence_id: models with state are not "
                               "supported; leave sequence_id out\"}\n");
    fake_end(&f);
}
END_TEST

/* --- out of memory
 * ---------------------------------------------------------------------------------- */

struct oom {
    const char *model, *body;
};

static enum enso_status run_oom(void *context, struct enso_error *err)
{
    const struct oom *o = context;
    struct fake f;
    int status;

    fake_begin(&f, "v2_infer", o->model);
    status = fake_decode(&f, o->body);
    *err = f.err;
    fake_end(&f);
    return status == 200 ? ENSO_OK : err->status;
}

START_TEST(test_v2_oom)
{
    static struct oom cases[] = {
        {"intents", "{\"inputs\":[" TEXTS "],\"outputs\":[{\"name\":\"label\"}]}"},
        {"graph", "{\"inputs\":[" X "," FLAG ",{\"name\":\"n\",\"datatype\":\"INT64\",\"shape\":"
                  "[2],\"data\":[1,2]}]}"},
        {"fashion",
         "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":"
         "[\"AQID\"]}]}"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++)
        ck_assert_uint_gt(enso_test_oom_sweep(run_oom, &cases[i]), 5);
}
END_TEST

/* The n-th allocation of the encoder alone fails, n = 1, 2, ... until none does. */
START_TEST(test_v2_encode_oom)
{
    static const float rows[6];

    for (uint64_t n = 1;; n++) {
        struct fake f;
        int status;

        infer_ok(&f, "intents",
                 "{\"inputs\":[" TEXTS "],\"parameters\":{\"binary_data_output\":true}}");
        fake_output_rows(&f, rows, 1, 3);
        (void)enso_memory_fail_at(n);
        status = fake_encode(&f);
        (void)enso_memory_fail_at(0);
        ck_assert_msg(status == 200 || status == 503, "%d", status);
        fake_end(&f);
        if (status == 200) {
            ck_assert_uint_gt(n, 1);
            return;
        }
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/kserve");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");

    tcase_add_test(core, test_v2_server);
    tcase_add_test(core, test_v2_model);
    tcase_add_test(core, test_v2_model_of_embeddings_and_pictures);
    tcase_add_test(core, test_v2_model_ready);
    tcase_add_test(core, test_v2_texts);
    tcase_add_test(core, test_v2_texts_and_pairs_nested);
    tcase_add_test(core, test_v2_parameters);
    tcase_add_test(core, test_v2_texts_in_binary_both_ways);
    tcase_add_test(core, test_v2_outputs_in_the_order_asked_for_each_in_its_form);
    tcase_add_test(core, test_v2_classification);
    tcase_add_test(core, test_v2_embedding);
    tcase_add_test(core, test_v2_pictures);
    tcase_add_test(core, test_v2_pictures_as_the_graphs_own_input);
    tcase_add_test(core, test_v2_tensors_in_any_order);
    tcase_add_test(core, test_v2_tensors_answer_every_type);
    tcase_add_test(core, test_v2_answer_of_each_integer_type);
    tcase_add_test(core, test_v2_binary_tensors_are_taken_where_they_lie);
    tcase_add_test(core, test_v2_float_types_are_converted);
    tcase_add_test(core, test_v2_many_halves_are_converted);
    tcase_add_test(core, test_v2_raw_bodies);
    tcase_add_test(limits, test_v2_rows_of_tensors_are_bounded);
    tcase_add_test(errors, test_v2_versions);
    tcase_add_test(errors, test_v2_raw_bodies_and_headers_refused);
    tcase_add_test(errors, test_v2_infer_refuses);
    tcase_add_test(errors, test_v2_infer_refuses_wrong_binary_sizes);
    tcase_add_test(errors, test_v2_error_body);
    tcase_add_test(oom, test_v2_oom);
    tcase_add_test(oom, test_v2_encode_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
