/* SPDX-License-Identifier: Apache-2.0
 *
 * The Hugging Face dialect: what each pipeline takes, the shape of what it gives, and what is
 * refused.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/server/fake.h"

static const float three[] = {0.25f, 0.5f, 0.25f, 0.125f, 0.125f, 0.75f};
static const float seven[] = {1, 7, 2, 6, 3, 5, 4, 7, 6, 5, 4, 3, 2, 1};

/* Decode, run with rows [n_rows, width] for every input, encode; the answer must be this. */
static void expect(const char *model, const char *body, const float *values, size_t n_rows,
                   size_t width, const char *answer)
{
    struct fake f;
    int status;

    fake_begin(&f, "huggingface", model);
    status = fake_decode(&f, body);
    ck_assert_msg(status == 200, "%s: %s", body, f.err.message);
    fake_output_rows(&f, values, n_rows, width);
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_str_eq(f.answer, answer);
    fake_end(&f);
}

/* --- text-classification ------------------------------------------------------------------------
 */

START_TEST(test_text_classification_is_always_a_list_of_lists)
{
    expect("intents", "{\"inputs\":\"a\"}", three, 1, 3,
           "[[{\"label\":\"no\",\"score\":0.5},{\"label\":\"yes\",\"score\":0.25},"
           "{\"label\":\"say \\\"maybe\\\"\",\"score\":0.25}]]\n");
    ck_assert_uint_eq(fake_predicted.n, 1);
    expect("intents",
           "{\"inputs\":[\"a\",{\"text\":\"b\",\"text_pair\":\"c\"}],\"parameters\":"
           "{\"top_k\":1},\"options\":{\"wait_for_model\":true}}",
           three, 1, 3,
           "[[{\"label\":\"no\",\"score\":0.5}],[{\"label\":\"say \\\"maybe\\\"\",\"score\":0.75}]]"
           "\n");
    ck_assert_uint_eq(fake_predicted.n, 2);
    expect("intents", "{\"inputs\":[\"a\"],\"parameters\":{\"top_k\":1}}", three, 1, 3,
           "[[{\"label\":\"no\",\"score\":0.5}]]\n");
}
END_TEST

/* Whether raw scores were asked for, and what became of 0, 0, 0. */
static void expect_function(const char *model, const char *function, bool raw, const char *score)
{
    char *body = enso_test_format(
        "{\"inputs\":\"a\",\"parameters\":{\"top_k\":1,\"function_to_apply\":%s}}", function);
    char *answer = enso_test_format("[[{\"label\":\"yes\",\"score\":%s}]]\n", score);
    struct fake f;

    fake_begin(&f, "huggingface", model);
    ck_assert_int_eq(fake_decode(&f, body), 200);
    ck_assert_msg(f.req.parameters.raw_scores == raw, "%s with %s", model, function);
    fake_output_rows(&f, (const float[]){0, 0, 0}, 1, strcmp(model, "tags") == 0 ? 2 : 3);
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_str_eq(f.answer, answer);
    fake_end(&f);
    free(answer);
    free(body);
}

START_TEST(test_text_classification_functions)
{
    expect_function("intents", "null", false, "0.0");
    expect_function("intents", "\"softmax\"", false, "0.0"); /* as the model does */
    expect_function("intents", "\"none\"", true, "0.0");
    expect_function("intents", "\"sigmoid\"", true, "0.5"); /* computed here */
    expect_function("tags", "\"sigmoid\"", false, "0.0");
    expect_function("tags", "\"softmax\"", true, "0.5");
}
END_TEST

START_TEST(test_truncation)
{
    static const struct {
        const char *parameters;
        bool truncate, left;
    } cases[] = {
        {"{}", true, false},
        {"{\"truncation\":false}", false, false},
        {"{\"truncation\":\"do_not_truncate\"}", false, false},
        {"{\"truncation\":\"longest_first\"}", true, false},
        {"{\"truncate\":false}", false, false},
        {"{\"truncate\":null,\"truncation_direction\":\"Left\",\"foo\":[1]}", true, true},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *body = enso_test_format("{\"inputs\":\"a\",\"parameters\":%s}", cases[i].parameters);
        struct fake f;

        fake_begin(&f, "huggingface", "intents");
        ck_assert_int_eq(fake_decode(&f, body), 200);
        ck_assert(f.req.parameters.truncate == cases[i].truncate);
        ck_assert(f.req.parameters.truncate_left == cases[i].left);
        fake_end(&f);
        free(body);
    }
}
END_TEST

/* --- image-classification ------------------------------------------------------------------------
 */

START_TEST(test_image_classification_shapes)
{
    expect("fashion", "{\"inputs\":\"AQID\",\"parameters\":{\"top_k\":2}}", seven, 1, 7,
           "[{\"label\":\"shoe\",\"score\":7.0},{\"label\":\"hat\",\"score\":6.0}]\n");
    expect("fashion",
           "{\"inputs\":[\"data:image/png;base64,AQID\",\"AQID\"],\"parameters\":{"
           "\"top_k\":1}}",
           seven, 1, 7,
           "[[{\"label\":\"shoe\",\"score\":7.0}],[{\"label\":\"shirt\",\"score\":7.0}]]\n");
}
END_TEST

START_TEST(test_image_classification_gives_five_unless_said)
{
    struct fake f;

    fake_begin(&f, "huggingface", "fashion");
    ck_assert_int_eq(fake_decode(&f, "{\"inputs\":\"AQID\"}"), 200);
    ck_assert_uint_eq(f.req.parameters.top_k, 5);
    ck_assert_uint_eq(f.req.inputs[0].image_size, 3);
    fake_end(&f);
}
END_TEST

START_TEST(test_image_classification_bare_body)
{
    struct fake f;

    fake_begin(&f, "huggingface", "fashion");
    f.req.content_type = "image/png";
    fake_query(&f, "top_k=1");
    ck_assert_int_eq(fake_decode_bytes(&f, "\x89PNG\0", 5), 200);
    ck_assert_int_eq(f.req.inputs[0].kind, ENSO_INPUT_IMAGE);
    ck_assert_uint_eq(f.req.inputs[0].image_size, 5);
    fake_output_rows(&f, seven, 1, 7);
    ck_assert_int_eq(fake_encode(&f), 200);
    ck_assert_str_eq(f.answer, "[{\"label\":\"shoe\",\"score\":7.0}]\n");
    fake_end(&f);
}
END_TEST

/* --- feature-extraction
 * --------------------------------------------------------------------------- */

START_TEST(test_feature_extraction_pooled)
{
    static const float rows[] = {1, 2, 3, 4, 5, 6, 7, 8};

    expect("minilm", "{\"inputs\":\"a\"}", rows, 1, 4, "[1.0,2.0,3.0,4.0]\n");
    expect("minilm", "{\"inputs\":[\"a\",\"b\"]}", rows, 1, 4,
           "[[1.0,2.0,3.0,4.0],[5.0,6.0,7.0,8.0]]\n");
    expect("minilm", "{\"inputs\":[\"a\"],\"parameters\":{\"normalize\":true}}", rows, 1, 4,
           "[[1.0,2.0,3.0,4.0]]\n"); /* the model has done it */
}
END_TEST

START_TEST(test_feature_extraction_cuts_and_normalises)
{
    static const float rows[] = {3, 4, 5, 6};

    expect("minilm", "{\"inputs\":\"a\",\"parameters\":{\"dimensions\":2}}", rows, 1, 4,
           "[0.6,0.8]\n");
    expect("minilm", "{\"inputs\":\"a\",\"parameters\":{\"dimensions\":4}}", rows, 1, 4,
           "[3.0,4.0,5.0,6.0]\n");
    expect("bert", "{\"inputs\":\"a\",\"parameters\":{\"normalize\":true}}",
           (const float[]){0, 3, 0, 4}, 1, 4, "[[[0.0,0.6,0.0,0.8]]]\n");
}
END_TEST

START_TEST(test_feature_extraction_by_token)
{
    static const float rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    struct fake f;

    expect("bert", "{\"inputs\":\"a\"}", rows, 2, 4, "[[[1.0,2.0,3.0,4.0],[5.0,6.0,7.0,8.0]]]\n");
    expect("bert", "{\"inputs\":[\"a\",\"b\"]}", rows, 2, 4,
           "[[[1.0,2.0,3.0,4.0],[5.0,6.0,7.0,8.0]],"
           "[[9.0,10.0,11.0,12.0],[13.0,14.0,15.0,16.0]]]\n");
    fake_begin(&f, "huggingface", "bert");
    ck_assert_int_eq(fake_decode(&f, "{\"inputs\":\"a\"}"), 200);
    ck_assert(f.req.parameters.per_token_if_bare);
    fake_end(&f);
}
END_TEST

/* --- errors
 * --------------------------------------------------------------------------------------- */

static const struct {
    const char *model, *body;
    int status;
    const char *sentence, *param;
} refused[] = {
    {"nothing", "{\"inputs\":\"a\"}", 404, "there is no model 'nothing'", "model"},
    {"nothing", "not JSON", 404, "there is no model 'nothing'", "model"},
    {"loading", "{\"inputs\":\"a\"}", 503, "not ready", NULL},
    {"graph", "{\"inputs\":\"a\"}", 400, "POST /v2/models/graph/infer", NULL},
    {"intents", "{}", 400, "\"inputs\" is missing", "inputs"},
    {"intents", "{\"inputs\":7}", 400, "expected a string", "inputs"},
    {"intents", "{\"inputs\":[\"a\",[\"b\"]]}", 400, "got an array", "inputs[1]"},
    {"intents", "{\"inputs\":\"a\",\"parameters\":[]}", 400, "expected an object", "parameters"},
    {"intents", "{\"inputs\":\"a\",\"parameters\":{\"top_k\":-1}}", 400, "between 0 and",
     "parameters.top_k"},
    {"intents", "{\"inputs\":\"a\",\"parameters\":{\"function_to_apply\":\"relu\"}}", 400,
     "\"softmax\", \"sigmoid\" or \"none\"", "parameters.function_to_apply"},
    {"intents", "{\"inputs\":\"a\",\"parameters\":{\"truncation\":1}}", 400, "true, false or",
     "parameters.truncation"},
    {"intents", "{\"inputs\":\"a\",\"parameters\":{\"truncation_direction\":\"up\"}}", 400,
     "\"left\" or \"right\"", "parameters.truncation_direction"},
    {"bert", "{\"inputs\":\"a\",\"parameters\":{\"dimensions\":5}}", 400, "between 1 and 4",
     "parameters.dimensions"},
    {"minilm", "{\"inputs\":\"a\",\"parameters\":{\"normalize\":false}}", 400,
     "normalises its vectors by itself", "parameters.normalize"},
    {"fashion", "{\"inputs\":\"https://example.org/shoe.png\"}", 400, "ensod fetches nothing",
     "inputs"},
    {"fashion", "{\"inputs\":[\"AQID\",\"AQ\"]}", 400, "multiple of 4", "inputs[1]"},
    {"fashion", "{\"inputs\":[\"AQID\",{\"text\":\"a\"}]}", 400, "a picture as base64",
     "inputs[1]"},
    {"fashion", "{\"parameters\":{}}", 400, "\"inputs\" is missing", "inputs"},
    {"fashion", "{\"inputs\":[]}", 400, "the list of inputs is empty", "inputs"},
};

START_TEST(test_huggingface_refuses)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(refused); i++)
        FAKE_REFUSES("huggingface", refused[i].model, refused[i].body, refused[i].status,
                     refused[i].sentence, refused[i].param);
}
END_TEST

START_TEST(test_huggingface_refuses_pictures_for_text_models)
{
    struct fake f;

    fake_begin(&f, "huggingface", "intents");
    f.req.content_type = "image/png";
    fake_refuses_bytes(&f, "\x89PNG", 4, 400, "takes text; send {\"inputs\"", NULL, __FILE__,
                       __LINE__);
    fake_end(&f);
    fake_begin(&f, "huggingface", "fashion");
    f.req.content_type = "image/png";
    fake_refuses_bytes(&f, "", 0, 400, "the body is empty", NULL, __FILE__, __LINE__);
    fake_end(&f);
}
END_TEST

START_TEST(test_huggingface_error_body)
{
    struct fake f;

    fake_begin(&f, "huggingface", "intents");
    ck_assert_int_eq(fake_decode(&f, "{\"inputs\":[\"a\",false]}"), 400);
    ck_assert_str_eq(f.answer, "{\"error\":\"'inputs[1]': expected a string, {\\\"text\\\""
                               ": ...} or {\\\"image\\\": \\\"data:...\\\"}, got a boolean\"}\n");
    fake_end(&f);
    fake_begin(&f, "huggingface", "fashion");
    ck_assert_int_eq(fake_decode(&f, "{\"inputs\":[]}"), 400);
    ck_assert_str_eq(f.answer, "{\"error\":\"inputs: the list of inputs is empty; send at least "
                               "one\"}\n");
    fake_end(&f);
}
END_TEST

struct oom {
    const char *model, *body;
};

static enum enso_status run_oom(void *context, struct enso_error *err)
{
    const struct oom *o = context;
    struct fake f;
    int status;

    fake_begin(&f, "huggingface", o->model);
    status = fake_decode(&f, o->body);
    *err = f.err;
    fake_end(&f);
    return status == 200 ? ENSO_OK : err->status;
}

START_TEST(test_huggingface_oom)
{
    static struct oom cases[] = {
        {"intents", "{\"inputs\":[\"a\",\"b\"],\"parameters\":{\"top_k\":1}}"},
        {"fashion", "{\"inputs\":[\"AQID\",\"AQID\"]}"},
        {"bert", "{\"inputs\":\"a\",\"parameters\":{\"normalize\":true}}"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++)
        ck_assert_uint_gt(enso_test_oom_sweep(run_oom, &cases[i]), 4);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/huggingface");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");

    tcase_add_test(core, test_text_classification_is_always_a_list_of_lists);
    tcase_add_test(core, test_text_classification_functions);
    tcase_add_test(core, test_truncation);
    tcase_add_test(core, test_image_classification_shapes);
    tcase_add_test(core, test_image_classification_gives_five_unless_said);
    tcase_add_test(core, test_image_classification_bare_body);
    tcase_add_test(core, test_feature_extraction_pooled);
    tcase_add_test(core, test_feature_extraction_cuts_and_normalises);
    tcase_add_test(core, test_feature_extraction_by_token);
    tcase_add_test(errors, test_huggingface_refuses);
    tcase_add_test(errors, test_huggingface_refuses_pictures_for_text_models);
    tcase_add_test(errors, test_huggingface_error_body);
    tcase_add_test(oom, test_huggingface_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
