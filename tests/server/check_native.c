/* SPDX-License-Identifier: Apache-2.0
 *
 * The native dialect: /v1/classify, /v1/embeddings, /v1/tokenize, /v1/models; what they decode,
 * what they answer, and each bad body with its status and sentence.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "tests/server/fake.h"

static json_t *parse_answer(const struct fake *f)
{
    struct enso_error err = {0};
    json_t *root = NULL;

    ENSO_TEST_OK(enso_json_parse(f->answer, f->answer_size, NULL, &root, &err), &err);
    return root;
}

static bool input_is(const struct enso_input *in, const char *text)
{
    return in->kind == ENSO_INPUT_TEXT && in->text_size == strlen(text) &&
           memcmp(in->text, text, in->text_size) == 0;
}

/* --- classify: decoding -------------------------------------------------------------------------
 */

START_TEST(test_classify_decodes_each_kind_of_input)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(
        fake_decode(&f, "{\"model\":\"intents\",\"input\":[\"a\",{\"text\":\"b\"},{\"text\":\"c\","
                        "\"text_pair\":\"d\"},{\"image\":\"data:image/png;base64,AQID\"}]}"),
        200);
    ck_assert_uint_eq(f.req.n_inputs, 4);
    ck_assert(!f.req.single);
    ck_assert(input_is(&f.req.inputs[0], "a"));
    ck_assert_ptr_null(f.req.inputs[0].pair);
    ck_assert(input_is(&f.req.inputs[1], "b"));
    ck_assert(input_is(&f.req.inputs[2], "c"));
    ck_assert_uint_eq(f.req.inputs[2].pair_size, 1);
    ck_assert_mem_eq(f.req.inputs[2].pair, "d", 1);
    ck_assert_int_eq(f.req.inputs[3].kind, ENSO_INPUT_IMAGE);
    ck_assert_uint_eq(f.req.inputs[3].image_size, 3);
    ck_assert_mem_eq(f.req.inputs[3].image, "\1\2\3", 3);
    fake_end(&f);
}
END_TEST

START_TEST(test_classify_decodes_parameters)
{
    struct fake f;
    const struct enso_parameters *p = &f.req.parameters;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"intents\",\"input\":\"a\\u0000b\",\"top_k\":2,"
                                     "\"raw_scores\":true,\"probs\":false,\"truncate\":false,"
                                     "\"truncation_direction\":\"Left\",\"timeout_ms\":1.5,"
                                     "\"priority\":9,\"user\":\"x\"}"),
                     200);
    ck_assert(f.req.single);
    ck_assert_uint_eq(f.req.inputs[0].text_size, 3);
    ck_assert_uint_eq(p->top_k, 2);
    ck_assert(p->raw_scores && !p->truncate && p->truncate_left);
    ck_assert_int_eq(p->probs, ENSO_NO);
    ck_assert_uint_eq(p->timeout_ns, 1500000);
    ck_assert_uint_eq(p->priority, 9);
    fake_end(&f);
}
END_TEST

START_TEST(test_classify_null_parameters_are_absent)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f,
                                 "{\"model\":\"intents\",\"input\":\"\",\"top_k\":null,\"probs\":"
                                 "null,\"timeout_ms\":null,\"truncation_direction\":null}"),
                     200);
    ck_assert_uint_eq(f.req.parameters.top_k, 5);
    ck_assert_int_eq(f.req.parameters.probs, ENSO_UNSET);
    ck_assert_uint_eq(f.req.parameters.timeout_ns, 0);
    ck_assert_uint_eq(f.req.inputs[0].text_size, 0);
    fake_end(&f);
}
END_TEST

START_TEST(test_classify_query_holds_for_json_and_the_body_wins)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    fake_query(&f, "model=tags&top_k=1&priority=3&probs=1");
    ck_assert_int_eq(fake_decode(&f, "{\"input\":\"a\",\"top_k\":2}"), 200);
    ck_assert_str_eq(f.req.model_name, "tags");
    ck_assert_uint_eq(f.req.parameters.top_k, 2);
    ck_assert_uint_eq(f.req.parameters.priority, 3);
    ck_assert_int_eq(f.req.parameters.probs, ENSO_YES);
    fake_end(&f);
}
END_TEST

START_TEST(test_classify_a_zero_timeout_has_passed)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"intents\",\"input\":\"a\",\"timeout_ms\":0}"),
                     200);
    ck_assert_uint_eq(f.req.parameters.timeout_ns, 1); /* 0 would mean none */
    fake_end(&f);
}
END_TEST

/* --- classify: answers -------------------------------------------------------------------------
 */

START_TEST(test_classify_answer)
{
    struct fake f;
    json_t *root;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"intents\",\"input\":[\"a\",\"b\"],\"top_k\":2}"),
                     200);
    fake_output_rows(&f, (const float[]){0.5f, 0.25f, 0.25f, 0.125f, 0.125f, 0.75f}, 1, 3);
    f.samples[1]->truncated = true;
    f.req.n_tokens = 9;
    ck_assert_int_eq(fake_encode(&f), 200);
    root = parse_answer(&f);
    ck_assert_str_eq(json_string_value(json_object_get(root, "id")), "clf-7");
    ck_assert_str_eq(json_string_value(json_object_get(root, "object")), "list");
    ck_assert_str_eq(json_string_value(json_object_get(root, "model")), "intents");
    ck_assert_uint_eq(json_array_size(json_object_get(root, "data")), 2);
    ck_assert_int_eq(
        json_integer_value(json_object_get(json_object_get(root, "usage"), "total_tokens")), 9);
    json_decref(root);
    ENSO_TEST_CONTAINS(f.answer, "{\"index\":0,\"label\":\"yes\",\"score\":0.5,\"num_classes\":3,"
                                 "\"probs\":[0.5,0.25,0.25],\"top\":[{\"label\":\"yes\",\"score\":"
                                 "0.5},{\"label\":\"no\",\"score\":0.25}]}");
    ENSO_TEST_CONTAINS(f.answer, "{\"index\":1,\"label\":\"say \\\"maybe\\\"\",\"score\":0.75,");
    ENSO_TEST_CONTAINS(f.answer, "],\"truncated\":true}]");
    ck_assert_uint_eq(fake_predicted.n, 2);
    ck_assert_uint_eq(fake_predicted.label, 2);
    ck_assert_float_eq(fake_predicted.confidence, 0.75f);
    fake_end(&f);
}
END_TEST

START_TEST(test_classify_raw_scores_are_no_predictions)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"intents\",\"input\":\"a\",\"raw_scores\":true,"
                                     "\"probs\":false,\"top_k\":0}"),
                     200);
    fake_output_rows(&f, (const float[]){-3, 4, NAN}, 1, 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_ptr_null(strstr(f.answer, "probs"));
    ENSO_TEST_CONTAINS(f.answer,
                       "\"top\":[{\"label\":\"no\",\"score\":4.0},{\"label\":\"yes\","
                       "\"score\":-3.0},{\"label\":\"say \\\"maybe\\\"\",\"score\":null}]");
    ck_assert_uint_eq(fake_predicted.n, 0);
    fake_end(&f);
}
END_TEST

/* --- bad bodies, the same for every JSON route ---------------------------------------------------
 */

static const char *const json_routes[][3] = {
    /* route, model of the path, key of the inputs */
    {"classify", NULL, "input"},       {"embeddings", NULL, "input"},
    {"tokenize", NULL, "input"},       {"huggingface", "intents", "inputs"},
    {"v2_infer", "intents", "inputs"},
};
#define N_JSON_ROUTES ENSO_ARRAY_SIZE(json_routes)

static const struct {
    const char *body;
    int status;
    const char *sentence;
} bad_json[] = {
    {"", 400, "the body is empty; send a JSON object"},
    {" \n\t", 400, "the JSON is empty"},
    {"[1,2]", 400, "the body must be a JSON object, but it is an array"},
    {"\"text\"", 400, "the body must be a JSON object, but it is a string"},
    {"null", 400, "the body must be a JSON object, but it is null"},
    {"model=intents&input=a", 400, "not valid JSON"},
    {"{\"input\":\"a\"", 400, "not valid JSON: it ends too early"},
    {"{\"input\":\"a", 400, "not valid JSON: it ends too early"},
    {"{\"input\":\"a\"}}", 400, "there is something after its end"},
    {"{\"input\":\"a\",\"input\":\"b\"}", 400, "an object key occurs twice"},
    {"{\"input\":'a'}", 400, "not valid JSON"},
    {"{\"input\":\"a\",}", 400, "not valid JSON"},
    {"{\"input\":NaN}", 400, "NaN"},
    {"{\"input\":-Infinity}", 400, "an infinity"},
    {"{\"input\":1e999}", 400, "a number is too large"},
    {"{\"input\":123456789012345678901234567890}", 400, "a number is too large"},
    {"{\"input\":\"\xff\"}", 400, "UTF-8"},
    {"{\"input\":\"\xc3\"}", 400, "UTF-8"},
    {"{\"input\":\"\xed\xa0\x80\"}", 400, "UTF-8"}, /* a surrogate, encoded */
    {"{\"input\":\"\\ud83d\"}", 400, "surrogate"},
    {"{\"input\":\"\\ude00\"}", 400, "surrogate"},
    {"{\"input\":\"\\ud83d\\u0041\"}", 400, "surrogate"},
    {"{\"input\":\"\\x\"}", 400, "an invalid escape"},
    {"{\"input\":\"a\nb\"}", 400, "a line break inside a string"},
};

START_TEST(test_json_routes_refuse_malformed_bodies)
{
    for (size_t r = 0; r < N_JSON_ROUTES; r++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad_json); i++)
            FAKE_REFUSES(json_routes[r][0], json_routes[r][1], bad_json[i].body, bad_json[i].status,
                         bad_json[i].sentence, NULL);
}
END_TEST

/* A body of `n` times `piece` between two texts. */
static char *repeat(const char *before, const char *piece, size_t n, const char *after)
{
    size_t size = strlen(piece), first = strlen(before);
    char *body = malloc(first + n * size + strlen(after) + 1);

    memcpy(body, before, first);
    for (size_t i = 0; i < n; i++)
        memcpy(body + first + i * size, piece, size);
    memcpy(body + first + n * size, after, strlen(after) + 1);
    return body;
}

START_TEST(test_json_routes_bound_nesting_and_values)
{
    for (size_t r = 0; r < N_JSON_ROUTES; r++) {
        char *deep = repeat("{\"input\":", "[", 10000, "");
        char *many = repeat("[", "{},", (32u << 20) / 3, "{}]");

        FAKE_REFUSES(json_routes[r][0], json_routes[r][1], deep, 413,
                     "the JSON is nested deeper than 64 levels", NULL);
        FAKE_REFUSES(json_routes[r][0], json_routes[r][1], many, 413, "2000000", NULL);
        free(deep);
        free(many);
    }
}
END_TEST

START_TEST(test_json_routes_bound_the_number_of_inputs)
{
    for (size_t r = 0; r < N_JSON_ROUTES - 1; r++) { /* V2 has its own: tensors */
        char *before = enso_test_format("{\"model\":\"bert\",\"%s\":[", json_routes[r][2]);
        char *many = repeat(before, "\"a\",", 4999, "\"a\"]}");

        FAKE_REFUSES(json_routes[r][0], json_routes[r][1], many, 413,
                     "the request has 5000 inputs, but at most 2048 are taken at once",
                     json_routes[r][2]);
        free(many);
        many = enso_test_format("%s]}", before);
        FAKE_REFUSES(json_routes[r][0], json_routes[r][1], many, 400,
                     "the list of inputs is empty; send at least one", json_routes[r][2]);
        free(many);
        many = enso_test_format("{\"model\":\"bert\",\"%s\":null}", json_routes[r][2]);
        FAKE_REFUSES(json_routes[r][0], json_routes[r][1], many, 400, "", NULL);
        free(many);
        free(before);
    }
}
END_TEST

START_TEST(test_json_routes_take_a_long_string)
{
    char *body = repeat("{\"model\":\"intents\",\"input\":\"", "abcdefghij", 1u << 20, "\"}");
    struct fake f;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f, body), 200);
    ck_assert_uint_eq(f.req.inputs[0].text_size, 10u << 20);
    fake_end(&f);
    free(body);
}
END_TEST

START_TEST(test_json_routes_refuse_other_content_types)
{
    static const char *const types[] = {"text/plain", "application/xml",
                                        "application/json-seq; charset=utf-8", "garbage", "image"};

    for (size_t r = 0; r < N_JSON_ROUTES; r++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(types); i++) {
            struct fake f;

            fake_begin(&f, json_routes[r][0], json_routes[r][1]);
            f.req.content_type = types[i];
            fake_refuses_bytes(&f, "{}", 2, 415, "application/json", NULL, __FILE__, __LINE__);
            fake_end(&f);
        }
}
END_TEST

START_TEST(test_json_routes_take_these_content_types)
{
    static const char *const types[] = {NULL, "application/json", "Application/JSON; charset=UTF-8",
                                        "application/vnd.api+json",
                                        "application/x-www-form-urlencoded"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(types); i++) {
        struct fake f;

        fake_begin(&f, "embeddings", NULL);
        f.req.content_type = types[i];
        ck_assert_int_eq(fake_decode(&f, "{\"model\":\"bert\",\"input\":\"a\"}"), 200);
        fake_end(&f);
    }
}
END_TEST

static const struct {
    const char *route, *body;
    int status;
    const char *sentence, *param;
} refused[] = {
    {"classify", "{}", 400, "\"input\" is missing", "input"},
    {"classify", "{\"input\":5}", 400, "expected a string", "input"},
    {"classify", "{\"input\":[\"a\",true]}", 400, "got a boolean", "input[1]"},
    {"classify", "{\"input\":[[\"a\"]]}", 400, "got an array", "input[0]"},
    {"classify", "{\"input\":{}}", 400, "'input.text' is missing", "input.text"},
    {"classify", "{\"input\":[{\"text\":1}]}", 400, "expected a string", "input[0].text"},
    {"classify", "{\"input\":[{\"text\":\"a\",\"text_pair\":1}]}", 400, "expected a string",
     "input[0].text_pair"},
    {"classify", "{\"input\":{\"image\":\"AQID\"}}", 400, "a data URL", "input.image"},
    {"classify", "{\"input\":{\"image\":\"data:image/png,AQID\"}}", 400, "a data URL",
     "input.image"},
    {"classify", "{\"input\":{\"image\":\"data:image/png;base64,AQI\"}}", 400, "multiple of 4",
     "input.image"},
    {"classify", "{\"input\":{\"image\":\"data:image/png;base64,AQ!D\"}}", 400, "character 2",
     "input.image"},
    {"classify", "{\"input\":\"a\",\"top_k\":-1}", 400, "between 0 and 1000000", "top_k"},
    {"classify", "{\"input\":\"a\",\"top_k\":1.5}", 400, "expected an integer", "top_k"},
    {"classify", "{\"input\":\"a\",\"top_k\":\"5\"}", 400, "expected an integer", "top_k"},
    {"classify", "{\"input\":\"a\",\"probs\":1}", 400, "expected true or false", "probs"},
    {"classify", "{\"input\":\"a\",\"raw_scores\":\"yes\"}", 400, "expected true or false",
     "raw_scores"},
    {"classify", "{\"input\":\"a\",\"truncate\":0}", 400, "expected true or false", "truncate"},
    {"classify", "{\"input\":\"a\",\"truncation_direction\":\"up\"}", 400, "\"left\" or \"right\"",
     "truncation_direction"},
    {"classify", "{\"input\":\"a\",\"timeout_ms\":-1}", 400, "must be between", "timeout_ms"},
    {"classify", "{\"input\":\"a\",\"timeout_ms\":1e12}", 400, "must be between", "timeout_ms"},
    {"classify", "{\"input\":\"a\",\"priority\":10}", 400, "between 0 and 9", "priority"},
    {"classify", "{\"input\":\"a\",\"model\":7}", 400, "expected a string", "model"},
    {"classify", "{\"input\":\"a\",\"model\":\"in\\u0000tents\"}", 400, "NUL", "model"},
    {"classify", "{\"input\":\"a\",\"model\":\"nothing\"}", 404, "there is no model 'nothing'",
     "model"},
    {"classify", "{\"input\":\"a\",\"model\":\"bert\"}", 400, "has the task feature-extraction",
     NULL},
    {"classify", "{\"input\":\"a\",\"model\":\"loading\"}", 503, "not ready", NULL},
    {"classify", "{\"input\":\"a\"}", 400, "several models", NULL},
    {"embeddings", "{}", 400, "\"input\" is missing", "input"},
    {"embeddings", "{\"input\":\"\"}", 400, "must not be an empty string", "input"},
    {"embeddings", "{\"input\":[\"a\",\"\"]}", 400, "must not be an empty string", "input[1]"},
    {"embeddings", "{\"input\":{\"text\":\"a\"}}", 400, "a string or a list of token ids", "input"},
    {"embeddings", "{\"input\":[1,\"a\"]}", 400, "expected a token id", "input[1]"},
    {"embeddings", "{\"input\":[[1,2],[1.5]]}", 400, "expected a token id", "input[1][0]"},
    {"embeddings", "{\"input\":[\"a\",{}]}", 400, "a string or a list of token ids", "input[1]"},
    {"embeddings", "{\"input\":\"a\",\"encoding_format\":\"int8\"}", 400, "\"float\" or \"base64\"",
     "encoding_format"},
    {"embeddings", "{\"input\":\"a\",\"dimensions\":0}", 400, "between 1 and", "dimensions"},
    {"embeddings", "{\"input\":\"a\",\"model\":\"intents\"}", 400,
     "has the task text-classification", NULL},
    {"tokenize", "{}", 400, "\"input\" is missing", "input"},
    {"tokenize", "{\"input\":\"a\",\"add_special_tokens\":1}", 400, "expected true or false",
     "add_special_tokens"},
    {"tokenize", "{\"input\":\"a\",\"model\":\"graph\"}", 400, "has the task tensors", NULL},
    {"tokenize", "{\"input\":\"a\",\"model\":\"bert\"}", 400, "has no tokenizer", "input"},
};

START_TEST(test_native_refuses_wrong_values)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(refused); i++)
        FAKE_REFUSES(refused[i].route, NULL, refused[i].body, refused[i].status,
                     refused[i].sentence, refused[i].param);
}
END_TEST

START_TEST(test_native_error_body)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"input\":[\"a\",1]}"), 400);
    ck_assert_str_eq(
        f.answer, "{\"error\":{\"message\":\"'input[1]': expected a string, {\\\"text\\\": ...} "
                  "or {\\\"image\\\": \\\"data:...\\\"}, got an integer\",\"type\":"
                  "\"invalid_request_error\",\"param\":\"input[1]\",\"code\":\"wrong_type\"}}\n");
    fake_end(&f);
}
END_TEST

/* --- embeddings ---------------------------------------------------------------------------------
 */

START_TEST(test_embeddings_decodes_texts_and_token_ids)
{
    static const struct {
        const char *input;
        size_t n;
        bool single;
        enum enso_input_kind kind;
    } cases[] = {
        {"\"a\"", 1, true, ENSO_INPUT_TEXT},          {"[\"a\",\"b\"]", 2, false, ENSO_INPUT_TEXT},
        {"[1,2,3]", 1, true, ENSO_INPUT_TOKENS},      {"[[1],[2,3]]", 2, false, ENSO_INPUT_TOKENS},
        {"[[1],\"b\"]", 2, false, ENSO_INPUT_TOKENS},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *body = enso_test_format("{\"model\":\"bert\",\"input\":%s}", cases[i].input);
        struct fake f;

        fake_begin(&f, "embeddings", NULL);
        ck_assert_int_eq(fake_decode(&f, body), 200);
        ck_assert_uint_eq(f.req.n_inputs, cases[i].n);
        ck_assert(f.req.single == cases[i].single);
        ck_assert_int_eq(f.req.inputs[0].kind, cases[i].kind);
        fake_end(&f);
        free(body);
    }
}
END_TEST

START_TEST(test_embeddings_answer_floats)
{
    struct fake f;

    fake_begin(&f, "embeddings", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"bert\",\"input\":[\"a\",\"b\"]}"), 200);
    fake_output_rows(&f, (const float[]){1, 2, 3, 4, 5, 6, 7, 8}, 1, 4);
    f.req.n_tokens = 5;
    f.samples[1]->truncated = true;
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_str_eq(f.answer,
                     "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                     "\"embedding\":[1.0,2.0,3.0,4.0]},{\"object\":\"embedding\",\"index\":1,"
                     "\"embedding\":[5.0,6.0,7.0,8.0],\"truncated\":true}],\"model\":\"bert\","
                     "\"usage\":{\"prompt_tokens\":5,\"total_tokens\":5}}\n");
    fake_end(&f);
}
END_TEST

START_TEST(test_embeddings_answer_base64_and_dimensions)
{
    const float unit[] = {0.6f, 0.8f};
    struct fake f;
    json_t *root;
    const char *text;
    uint8_t bytes[32];
    size_t n;

    fake_begin(&f, "embeddings", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"bert\",\"input\":\"a\",\"dimensions\":2,"
                                     "\"encoding_format\":\"base64\"}"),
                     200);
    fake_output_rows(&f, (const float[]){3, 4, 100, 100}, 1, 4);
    ck_assert_int_eq(fake_encode(&f), 200);
    root = parse_answer(&f);
    text = json_string_value(
        json_object_get(json_array_get(json_object_get(root, "data"), 0), "embedding"));
    ck_assert_ptr_nonnull(text);
    ENSO_TEST_OK(enso_base64_decode(text, strlen(text), bytes, &n, NULL), NULL);
    ck_assert_uint_eq(n, sizeof unit);
    ck_assert_mem_eq(bytes, unit, sizeof unit);
    json_decref(root);
    fake_end(&f);
}
END_TEST

START_TEST(test_embeddings_refuse_more_dimensions_than_there_are)
{
    struct fake f;

    fake_begin(&f, "embeddings", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"bert\",\"input\":\"a\",\"dimensions\":5}"), 200);
    fake_output_rows(&f, (const float[]){1, 2, 3, 4}, 1, 4);
    ck_assert_int_eq(fake_encode(&f), 400);
    ENSO_TEST_CONTAINS(f.err.message, "gives 4 dimensions");
    ck_assert_str_eq(f.err.param, "dimensions");
    fake_end(&f);
}
END_TEST

/* --- tokenize and models ------------------------------------------------------------------------
 */

START_TEST(test_tokenize_answer)
{
    struct fake f;

    fake_load_tokenizer();
    fake_begin(&f, "tokenize", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"bert\",\"input\":\"h\xc3\xa9llo you\"}"), 200);
    ck_assert_str_eq(
        f.answer,
        "{\"object\":\"list\",\"model\":\"bert\",\"data\":[{\"index\":0,\"count\":5,\"tokens\":["
        "{\"id\":1,\"piece\":\"[CLS]\",\"special\":true},"
        "{\"id\":3,\"piece\":\"h\xc3\xa9\",\"start\":0,\"end\":2},"
        "{\"id\":4,\"piece\":\"##llo\",\"start\":2,\"end\":5},"
        "{\"id\":5,\"piece\":\"you\",\"start\":6,\"end\":9},"
        "{\"id\":2,\"piece\":\"[SEP]\",\"special\":true}]}]}\n");
    fake_end(&f);
    fake_begin(&f, "tokenize", NULL);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"bert\",\"input\":[\"you\",{\"text\":\"you\","
                                     "\"text_pair\":\"you\"}],\"add_special_tokens\":false}"),
                     200);
    ENSO_TEST_CONTAINS(f.answer, "{\"index\":0,\"count\":1,");
    ENSO_TEST_CONTAINS(f.answer, "{\"index\":1,\"count\":2,");
    fake_end(&f);
    FAKE_REFUSES("tokenize", NULL,
                 "{\"model\":\"bert\",\"input\":[\"you\",{\"image\":\"data:;base64,AQID\"}]}", 400,
                 "only texts can be tokenized", "input[1]");
}
END_TEST

START_TEST(test_models_answer)
{
    struct fake f;
    json_t *root, *data;

    fake_begin(&f, "models", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    root = parse_answer(&f);
    data = json_object_get(root, "data");
    ck_assert_uint_eq(json_array_size(data), 9);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(data, 0), "id")), "intents");
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(data, 0), "task")),
                     "text-classification");
    ck_assert_ptr_null(json_object_get(json_array_get(data, 0), "labels"));
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(data, 7), "state")),
                     "loading");
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(data, 8), "error")),
                     "config.json: no such file");
    json_decref(root);
    fake_end(&f);
}
END_TEST

START_TEST(test_model_answer)
{
    struct fake f;
    json_t *root;

    fake_begin(&f, "model", "fashion");
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    root = parse_answer(&f);
    ck_assert_uint_eq(json_array_size(json_object_get(root, "labels")), 7);
    json_decref(root);
    ENSO_TEST_CONTAINS(f.answer, "\"inputs\":[{\"name\":\"pixels\",\"datatype\":\"FP32\",\"shape\":"
                                 "[-1,2,2]}]");
    fake_end(&f);
    FAKE_REFUSES("model", "nothing", "", 404, "there is no model 'nothing'", "model");
}
END_TEST

START_TEST(test_pages)
{
    struct fake f;

    fake_begin(&f, "index", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    ENSO_TEST_CONTAINS(f.answer, "intents (text-classification)");
    ENSO_TEST_CONTAINS(f.answer, "loading (not ready)");
    ENSO_TEST_CONTAINS(f.answer, "POST /v1/classify");
    fake_end(&f);
    fake_begin(&f, "health", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    ck_assert_str_eq(f.answer, "{\"status\":\"ok\"}\n");
    fake_end(&f);
    fake_begin(&f, "ready", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 503); /* a model is loading */
    ENSO_TEST_CONTAINS(f.answer, "{\"ready\":false,\"draining\":false,\"models\":{\"ready\":7,"
                                 "\"loading\":1,\"failed\":1}}");
    fake_end(&f);
    fake_lost = "cuda:0 has failed (\"badly\")";
    fake_begin(&f, "ready", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 503);
    ENSO_TEST_CONTAINS(f.answer,
                       "\"failed\":1},\"reason\":\"cuda:0 has failed (\\\"badly\\\")\"}\n");
    fake_end(&f);
    fake_lost = NULL;
}
END_TEST

START_TEST(test_index_html)
{
    struct fake f;

    fake_accept = "text/html,application/xhtml+xml,*/*;q=0.8";
    fake_begin(&f, "index", NULL);
    ck_assert_int_eq(fake_decode(&f, ""), 200);
    ck_assert_str_eq(f.req.answer_type, "text/html; charset=utf-8");
    ENSO_TEST_CONTAINS(f.answer, "<!doctype html>");
    ENSO_TEST_CONTAINS(f.answer,
                       "<a href=\"v1/models/intents\">intents</a></td><td>text-classification");
    ENSO_TEST_CONTAINS(f.answer, "<td>not ready</td>");
    ENSO_TEST_CONTAINS(f.answer, "<code>POST /v1/classify</code>");
    ENSO_TEST_CONTAINS(f.answer, "<code>GET <a href=\"./openapi.json\">/openapi.json</a></code>");
    ENSO_TEST_CONTAINS(f.answer, "<code>GET /v1/models/{id}</code>"); /* no link: it has a hole */
    ENSO_TEST_CONTAINS(f.answer, "Is the daemon alive?");
    ENSO_TEST_CONTAINS(f.answer, "-F image=@picture.png");
    ENSO_TEST_CONTAINS(f.answer, "</html>\n");
    ck_assert_ptr_null(strstr(f.answer, "@models@"));
    fake_end(&f);
    fake_accept = NULL;
}
END_TEST

/* --- out of memory ------------------------------------------------------------------------------
 */

struct oom {
    const char *route, *model, *body;
    size_t width; /* of rows to encode, 0 = none */
};

static enum enso_status run_oom(void *context, struct enso_error *err)
{
    static const float rows[16];
    const struct oom *o = context;
    struct fake f;
    int status;

    fake_begin(&f, o->route, o->model);
    status = fake_decode(&f, o->body);
    if (status == 200 && o->width != 0) {
        (void)enso_memory_fail_at(0); /* the run's own memory is not the encoder's */
        fake_output_rows(&f, rows, 1, o->width);
        status = fake_encode(&f);
    }
    *err = f.err;
    if (status == 200 && f.req.answer.failed)
        status = enso_error_no_memory(err, "the answer");
    fake_end(&f);
    return status == 200 ? ENSO_OK : err->status;
}

START_TEST(test_native_oom)
{
    static struct oom cases[] = {
        {"classify", NULL,
         "{\"model\":\"intents\",\"input\":[\"a\",{\"text\":\"b\",\"text_pair\":\"c\"},{\"image\":"
         "\"data:image/png;base64,AQID\"}]}",
         0},
        {"embeddings", NULL, "{\"model\":\"bert\",\"input\":[[1,2],\"a\"],\"dimensions\":2}", 0},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++)
        ck_assert_uint_gt(enso_test_oom_sweep(run_oom, &cases[i]), 5);
}
END_TEST

/* The encoder alone, with its n-th allocation failing. */
static enum enso_status run_encode_oom(void *context, struct enso_error *err)
{
    static const float rows[16];
    const struct oom *o = context;
    struct fake f;
    int status;

    fake_begin(&f, o->route, o->model);
    ck_assert_int_eq(fake_decode(&f, o->body), 200);
    fake_output_rows(&f, rows, 1, o->width);
    (void)enso_memory_fail_at(1);
    status = fake_encode(&f);
    (void)enso_memory_fail_at(0);
    *err = f.err;
    fake_end(&f);
    ck_assert_int_eq(status, 503);
    return err->status;
}

START_TEST(test_native_encode_oom)
{
    struct oom classify = {"classify", NULL, "{\"model\":\"intents\",\"input\":\"a\"}", 3};
    struct oom embeddings = {"embeddings", NULL, "{\"model\":\"bert\",\"input\":\"a\"}", 4};
    struct enso_error err = {0};

    ck_assert_int_eq(run_encode_oom(&classify, &err), ENSO_NO_MEMORY);
    ck_assert_int_eq(run_encode_oom(&embeddings, &err), ENSO_NO_MEMORY);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/native");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");

    tcase_add_test(core, test_classify_decodes_each_kind_of_input);
    tcase_add_test(core, test_classify_decodes_parameters);
    tcase_add_test(core, test_classify_null_parameters_are_absent);
    tcase_add_test(core, test_classify_query_holds_for_json_and_the_body_wins);
    tcase_add_test(core, test_classify_a_zero_timeout_has_passed);
    tcase_add_test(core, test_classify_answer);
    tcase_add_test(core, test_classify_raw_scores_are_no_predictions);
    tcase_add_test(core, test_json_routes_take_these_content_types);
    tcase_add_test(core, test_embeddings_decodes_texts_and_token_ids);
    tcase_add_test(core, test_embeddings_answer_floats);
    tcase_add_test(core, test_embeddings_answer_base64_and_dimensions);
    tcase_add_test(core, test_tokenize_answer);
    tcase_add_test(core, test_models_answer);
    tcase_add_test(core, test_model_answer);
    tcase_add_test(core, test_pages);
    tcase_add_test(core, test_index_html);
    tcase_add_test(limits, test_json_routes_bound_nesting_and_values);
    tcase_add_test(limits, test_json_routes_bound_the_number_of_inputs);
    tcase_add_test(limits, test_json_routes_take_a_long_string);
    tcase_add_test(errors, test_json_routes_refuse_malformed_bodies);
    tcase_add_test(errors, test_json_routes_refuse_other_content_types);
    tcase_add_test(errors, test_native_refuses_wrong_values);
    tcase_add_test(errors, test_native_error_body);
    tcase_add_test(errors, test_embeddings_refuse_more_dimensions_than_there_are);
    tcase_add_test(oom, test_native_oom);
    tcase_add_test(oom, test_native_encode_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
