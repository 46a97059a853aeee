/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading inputs: the kinds of body, query parameters, pictures bare, in forms and as data URLs,
 * and what they take of the budget.
 */
#include <stdlib.h>
#include <string.h>

#include "server/budget.h"
#include "server/dialect.h"
#include "server/inputs.h"
#include "server/registry.h"
#include "tests/server/fake.h"

#define FORM_TYPE "multipart/form-data; boundary=XX"
#define PART(name, value)                                                                          \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILE_PART(name, value)                                                                     \
    "--XX\r\nContent-Disposition: form-data; name=\"" name                                         \
    "\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n" value "\r\n"
#define END "--XX--\r\n"

/* Decode a body of that type at /v1/classify. */
static int classify(struct fake *f, const char *type, const char *query, const char *body)
{
    fake_begin(f, "classify", NULL);
    f->req.content_type = type;
    fake_query(f, query);
    return fake_decode(f, body);
}

static void refuses(const char *type, const char *query, const char *body, int status,
                    const char *sentence, const char *param, int line)
{
    struct fake f;

    fake_begin(&f, "classify", NULL);
    f.req.content_type = type;
    fake_query(&f, query);
    fake_refuses_bytes(&f, body, strlen(body), status, sentence, param, __FILE__, line);
    fake_end(&f);
}

/* --- kinds
 * ---------------------------------------------------------------------------------------- */

START_TEST(test_body_kinds)
{
    static const struct {
        const char *type;
        int kind; /* -1: refused */
    } cases[] = {
        {NULL, ENSO_BODY_JSON},
        {"", ENSO_BODY_JSON},
        {"application/json;charset=utf-8", ENSO_BODY_JSON},
        {"APPLICATION/JSON", ENSO_BODY_JSON},
        {"application/problem+json", ENSO_BODY_JSON},
        {"application/x-www-form-urlencoded", ENSO_BODY_JSON},
        {"image/png", ENSO_BODY_IMAGE},
        {"IMAGE/jpeg", ENSO_BODY_IMAGE},
        {"application/octet-stream", ENSO_BODY_IMAGE},
        {FORM_TYPE, ENSO_BODY_FORM},
        {"text/plain", -1},
        {"application/jsonx", -1},
        {"multipart/mixed; boundary=x", -1},
        {"image", -1},
        {"+json", -1},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_request req = {.content_type = cases[i].type};
        struct enso_error err = {0};
        enum enso_body_kind kind = ENSO_BODY_JSON;
        int st = enso_body_kind(&req, &kind, &err);

        ck_assert_msg((st == ENSO_OK ? (int)kind : -1) == cases[i].kind, "%s", cases[i].type);
        if (st != ENSO_OK)
            ck_assert_int_eq(enso_dialect_status(&err), 415);
    }
}
END_TEST

/* --- pictures
 * ------------------------------------------------------------------------------------- */

START_TEST(test_pictures_without_a_type)
{
    static const char *const bodies[] = {"\xff\xd8\xff\xe0", "\x89PNG", "RIFFxxxxWEBP"};
    static const char *const types[] = {NULL, "application/x-www-form-urlencoded"};

    for (size_t i = 0; i < 6; i++) {
        struct fake f;

        ck_assert_int_eq(classify(&f, types[i % 2], "model=fashion", bodies[i / 2]), 200);
        ck_assert_int_eq(f.req.inputs[0].kind, ENSO_INPUT_IMAGE);
        fake_end(&f);
    }
    refuses(NULL, "", "\x89PN", 400, "UTF-8", NULL, __LINE__);
    FAKE_REFUSES("tokenize", NULL, "\x89PNG", 415, "send application/json", NULL);
}
END_TEST

START_TEST(test_bare_picture_with_query)
{
    struct fake f;

    ck_assert_int_eq(classify(&f, "image/jpeg",
                              "model=fashion&top_k=3&probs=true&raw_scores=false&timeout_ms=20&"
                              "priority=0",
                              "\xff\xd8"),
                     200);
    ck_assert_str_eq(f.req.served->id, "fashion");
    ck_assert_uint_eq(f.req.parameters.top_k, 3);
    ck_assert_int_eq(f.req.parameters.probs, ENSO_YES);
    ck_assert_uint_eq(f.req.parameters.timeout_ns, 20000000);
    ck_assert_uint_eq(f.req.parameters.priority, 0);
    ck_assert(f.req.single);
    ck_assert_uint_eq(f.req.inputs[0].image_size, 2);
    fake_end(&f);
}
END_TEST

START_TEST(test_query_refused)
{
    static const struct {
        const char *query, *sentence, *param;
    } cases[] = {
        {"top_k=-1", "", "top_k"},
        {"top_k=", "", "top_k"},
        {"top_k=3x", "", "top_k"},
        {"top_k=99999999999999999999", "", "top_k"},
        {"timeout_ms=0", "", "timeout_ms"},
        {"priority=10", "", "priority"},
        {"probs=yes", "probs must be true or false", "probs"},
        {"raw_scores=2", "raw_scores must be true or false", "raw_scores"},
        {"topk=3", "parameter 'topk' is not known", "topk"},
        {"=3", "parameter '' is not known", NULL},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        refuses("image/png", cases[i].query, "x", 400, cases[i].sentence, cases[i].param, __LINE__);
        refuses("application/json", cases[i].query, "{}", 400, cases[i].sentence, cases[i].param,
                __LINE__);
    }
    refuses("image/png", "model=nothing", "x", 404, "there is no model 'nothing'", "model",
            __LINE__);
    refuses("image/png", "model=fashion", "", 400, "the body is empty; send a JPEG", NULL,
            __LINE__);
}
END_TEST

START_TEST(test_form_of_one_picture)
{
    struct fake f;

    ck_assert_int_eq(classify(&f, FORM_TYPE, "priority=1",
                              PART("model", "fashion") FILE_PART("image", "\x89PNG")
                                  PART("top_k", "2") PART("probs", "") END),
                     200);
    ck_assert_str_eq(f.req.served->id, "fashion");
    ck_assert_uint_eq(f.req.n_inputs, 1);
    ck_assert(f.req.single);
    ck_assert_uint_eq(f.req.inputs[0].image_size, 4);
    ck_assert_mem_eq(f.req.inputs[0].image, "\x89PNG", 4);
    ck_assert_uint_eq(f.req.parameters.top_k, 2);
    ck_assert_uint_eq(f.req.parameters.priority, 1);
    ck_assert_int_eq(f.req.parameters.probs, ENSO_YES);
    fake_end(&f);
}
END_TEST

START_TEST(test_form_of_several_pictures)
{
    struct fake f;

    ck_assert_int_eq(classify(&f, FORM_TYPE, "model=fashion",
                              FILE_PART("image", "a") FILE_PART("file", "") FILE_PART("data", "ccc")
                                  END),
                     200);
    ck_assert_uint_eq(f.req.n_inputs, 3);
    ck_assert(!f.req.single);
    ck_assert_uint_eq(f.req.inputs[1].image_size, 0); /* decoding says that it is empty */
    ck_assert_mem_eq(f.req.inputs[2].image, "ccc", 3);
    ck_assert_str_eq(f.req.input_key, "image");
    fake_end(&f);
}
END_TEST

START_TEST(test_form_refused)
{
    refuses(FORM_TYPE, "", PART("model", "fashion") END, 400, "the form has no picture", NULL,
            __LINE__);
    refuses(FORM_TYPE, "", FILE_PART("image", "a") PART("colour", "red") END, 400,
            "parameter 'colour' is not known", "colour", __LINE__);
    refuses(FORM_TYPE, "", FILE_PART("image", "a") PART("top_k", "many") END, 400, "many", "top_k",
            __LINE__);
    refuses(FORM_TYPE, "", FILE_PART("image", "a") PART("model", "\xff") END, 400, "not UTF-8",
            NULL, __LINE__);
    refuses(FORM_TYPE, "", "", 400, "does not begin with the boundary", NULL, __LINE__);
    refuses(FORM_TYPE, "", FILE_PART("image", "a"), 400, "not closed by the boundary", NULL,
            __LINE__);
    refuses("multipart/form-data", "", END, 400, "no boundary", NULL, __LINE__);
}
END_TEST

START_TEST(test_form_of_too_many_pictures)
{
    static const char part[] = FILE_PART("image", "a");
    const size_t n = 2049, size = sizeof part - 1;
    char *body = malloc(n * size + sizeof END);

    for (size_t i = 0; i < n; i++)
        memcpy(body + i * size, part, size);
    memcpy(body + n * size, END, sizeof END);
    refuses(FORM_TYPE, "model=fashion", body, 413, "has 2049 inputs, but at most 2048", NULL,
            __LINE__);
    free(body);
}
END_TEST

/* --- data URLs
 * ------------------------------------------------------------------------------------ */

static const struct {
    const char *text;
    bool bare;
    int size; /* of the picture; -1: refused */
} urls[] = {
    {"data:image/png;base64,AQID", false, 3},
    {"data:;base64,AQI=", false, 2},
    {"data:image/svg+xml;charset=utf-8;base64,AQ==", false, 1},
    {"data:image/png;base64,", false, 0},
    {"AQID", true, 3},
    {"", true, 0},
    {"AQID", false, -1},
    {"", false, -1},
    {"data:", false, -1},
    {"data:,", false, -1},
    {"data:image/png,AQID", false, -1},
    {"data:image/png,AQID", true, -1},
    {"data:image/png;base64", false, -1},
    {"data:image/png;base64,AQID", true, 3},
    {"data:image/png;base64,A Q=", false, -1},
    {"data:image/png;base64,AQ=D", false, -1},
    {"data:image/png;base64,====", false, -1},
    {"http://example.org/a.png", false, -1},
};

START_TEST(test_data_urls)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(urls); i++) {
        size_t size = strlen(urls[i].text);
        char *text = enso_test_guard_copy(urls[i].text, size);
        struct enso_input in = {0};
        struct fake f;
        int st;

        fake_begin(&f, "classify", NULL);
        st = enso_input_from_data_url(&f.req, text, size, urls[i].bare, &in, &f.err);
        ck_assert_msg((st == ENSO_OK ? (int)in.image_size : -1) == urls[i].size, "%s: %s",
                      urls[i].text, f.err.message);
        if (st == ENSO_OK)
            ck_assert_int_eq(in.kind, ENSO_INPUT_IMAGE);
        fake_end(&f);
        enso_test_guard_free(text, size);
    }
}
END_TEST

/* --- the budget
 * ----------------------------------------------------------------------------------- */

START_TEST(test_trees_and_pictures_are_charged)
{
    struct fake f;
    size_t used;

    fake_begin(&f, "classify", NULL);
    f.app.budget = enso_budget_create(1 << 20);
    ck_assert_int_eq(fake_decode(&f, "{\"model\":\"intents\",\"input\":[\"a\",\"b\"]}"), 200);
    used = enso_budget_used(f.app.budget);
    ck_assert_uint_gt(used, 500);
    ck_assert_uint_eq(f.req.charged_bytes, used);
    enso_budget_give(f.app.budget, f.req.charged_bytes);
    enso_budget_destroy(f.app.budget);
    fake_end(&f);
}
END_TEST

START_TEST(test_over_the_budget_is_503)
{
    char *body = malloc(40004);
    struct fake f;

    body[0] = '[';
    for (size_t i = 0; i < 13333; i++)
        memcpy(body + 1 + 3 * i, "{},", 3);
    memcpy(body + 40000, "{}]", 4);
    fake_begin(&f, "classify", NULL);
    f.app.budget = enso_budget_create(1 << 20);
    ck_assert_int_eq(fake_decode(&f, body), 503);
    ENSO_TEST_CONTAINS(f.err.message, "request_memory (1048576 bytes)");
    ck_assert_uint_gt(f.req.retry_after_ns, 0);
    ck_assert_uint_eq(enso_budget_used(f.app.budget), 0);
    enso_budget_destroy(f.app.budget);
    fake_end(&f);
    free(body);
}
END_TEST

static enum enso_status run_form_oom(void *context, struct enso_error *err)
{
    struct fake f;
    int status;

    (void)context;
    fake_begin(&f, "classify", NULL);
    f.req.content_type = FORM_TYPE;
    status = fake_decode(&f, PART("model", "fashion") FILE_PART("image", "a") END);
    *err = f.err;
    fake_end(&f);
    return status == 200 ? ENSO_OK : err->status;
}

START_TEST(test_form_oom)
{
    ck_assert_uint_gt(enso_test_oom_sweep(run_form_oom, NULL), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/inputs");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");

    tcase_add_test(core, test_body_kinds);
    tcase_add_test(core, test_pictures_without_a_type);
    tcase_add_test(core, test_bare_picture_with_query);
    tcase_add_test(core, test_form_of_one_picture);
    tcase_add_test(core, test_form_of_several_pictures);
    tcase_add_test(core, test_data_urls);
    tcase_add_test(core, test_trees_and_pictures_are_charged);
    tcase_add_test(limits, test_over_the_budget_is_503);
    tcase_add_test(limits, test_form_of_too_many_pictures);
    tcase_add_test(errors, test_query_refused);
    tcase_add_test(errors, test_form_refused);
    tcase_add_test(oom, test_form_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
