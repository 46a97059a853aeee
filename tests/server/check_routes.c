/* SPDX-License-Identifier: Apache-2.0
 *
 * The route table: what matches, with which id; statuses and error bodies of the dialects; and that
 * /openapi.json says what the table does, no more and no less.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "server/dialect.h"
#include "tests/server/fake.h"

/* "name", "name id" or "name id version"; "-" unknown path, "405 methods". */
static char *match(const char *method, const char *path)
{
    void *room = malloc(enso_http_target_room(path, strlen(path)));
    struct enso_arena arena = ENSO_ARENA_INIT;
    struct enso_route_match m;
    struct enso_http_target target;
    char *text;

    ENSO_TEST_OK(enso_http_target_parse(path, strlen(path), room, &target, NULL), NULL);
    ck_assert_int_eq(enso_routes_match(method, &target, &arena, &m), ENSO_OK);
    if (m.methods == 0)
        text = enso_test_format("-");
    else if (m.route == NULL)
        text = enso_test_format("405 %u", m.methods);
    else
        text = enso_test_format("%s%s%s%s%s", m.route->name, m.id != NULL ? " " : "",
                                m.id != NULL ? m.id : "", m.version != NULL ? " " : "",
                                m.version != NULL ? m.version : "");
    enso_arena_done(&arena);
    free(room);
    return text;
}

static const struct {
    const char *method, *path, *expected;
} matches[] = {
    {"GET", "/", "index"},
    {"HEAD", "/", "index"},
    {"POST", "/", "405 1"},
    {"DELETE", "/", "405 1"},
    {"OPTIONS", "/v1/classify", "405 2"},
    {"GET", "/v1/classify", "405 2"},
    {"POST", "/v1/classify", "classify"},
    {"POST", "/v1/classify/", "classify"},
    {"POST", "/v1/classify?model=x", "classify"},
    {"POST", "/V1/classify", "-"},
    {"GET", "/health", "health"},
    {"GET", "/health/x", "-"},
    {"GET", "/nothing", "-"},
    {"GET", "//", "-"},
    {"GET", "/v1/models", "models"},
    {"GET", "/v1/models/", "models"},
    {"GET", "/v1/models/a", "model a"},
    {"GET", "/v1/models/a/b/c", "model a/b/c"},
    {"GET", "/v1/models/a%2Fb", "model a/b"},
    {"GET", "/v1/models/a//b", "-"},
    {"POST", "/models/org/name", "huggingface org/name"},
    {"POST", "/models/", "-"},
    {"GET", "/v2", "v2_server"},
    {"GET", "/v2/", "v2_server"},
    {"GET", "/v2/health/live", "v2_live"},
    {"GET", "/v2/models/a", "v2_model a"},
    {"GET", "/v2/models/a/b", "v2_model a/b"},
    {"GET", "/v2/models/a/ready", "v2_model_ready a"},
    {"GET", "/v2/models/ready", "v2_model ready"},
    {"GET", "/v2/models/a/b/ready", "v2_model_ready a/b"},
    {"GET", "/v2/models/a/versions/1", "v2_model_version a 1"},
    {"GET", "/v2/models/a/b/versions/1/ready", "v2_model_version_ready a/b 1"},
    {"POST", "/v2/models/a/infer", "v2_infer a"},
    {"POST", "/v2/models/a/b/infer", "v2_infer a/b"},
    {"POST", "/v2/models/a/versions/7/infer", "v2_infer_version a 7"},
    {"POST", "/v2/models/infer", "405 1"}, /* a model of that name */
    {"POST", "/v2/models/infer/infer", "v2_infer infer"},
    {"GET", "/v2/models/a/infer", "v2_model a/infer"},
};

START_TEST(test_routes_match)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(matches); i++) {
        char *got = match(matches[i].method, matches[i].path);

        ck_assert_msg(strcmp(got, matches[i].expected) == 0, "%s %s: '%s' instead of '%s'",
                      matches[i].method, matches[i].path, got, matches[i].expected);
        free(got);
    }
}
END_TEST

START_TEST(test_routes_oom)
{
    static const char path[] = "/v1/models/a/b";
    void *room = malloc(enso_http_target_room(path, strlen(path)));
    struct enso_arena arena = ENSO_ARENA_INIT;
    struct enso_route_match m;
    struct enso_http_target target;

    ENSO_TEST_OK(enso_http_target_parse(path, strlen(path), room, &target, NULL), NULL);
    (void)enso_memory_fail_at(1);
    ck_assert_int_eq(enso_routes_match("GET", &target, &arena, &m), ENSO_NO_MEMORY);
    (void)enso_memory_fail_at(0);
    enso_arena_done(&arena);
    free(room);
}
END_TEST

START_TEST(test_routes_table_is_sound)
{
    for (size_t i = 0; i < enso_n_routes; i++) {
        const struct enso_route *r = &enso_routes[i];

        ck_assert_msg((r->answer != NULL) != (r->decode != NULL), "%s", r->name);
        ck_assert_msg((r->decode == NULL) == (r->encode == NULL), "%s", r->name);
        ck_assert_msg((r->decode == NULL) == (r->tasks == 0), "%s", r->name);
        ck_assert_msg(r->summary[0] != '\0' && r->dialect != NULL, "%s", r->name);
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(r->name, enso_routes[k].name);
    }
}
END_TEST

/* --- dialects
 * -------------------------------------------------------------------------------------- */

START_TEST(test_dialect_statuses)
{
    static const struct {
        enum enso_status status;
        const char *code;
        int http;
    } cases[] = {{ENSO_INVALID, "", 400},
                 {ENSO_UNSUPPORTED, "", 400},
                 {ENSO_UNSUPPORTED, "unsupported_media_type", 415},
                 {ENSO_NOT_FOUND, "", 404},
                 {ENSO_TOO_LARGE, "", 413},
                 {ENSO_OVERLOADED, "", 429},
                 {ENSO_DEADLINE, "", 504},
                 {ENSO_CANCELLED, "", 499},
                 {ENSO_UNAVAILABLE, "", 503},
                 {ENSO_BUDGET, "", 503},
                 {ENSO_NO_MEMORY, "", 503},
                 {ENSO_DEVICE, "", 500},
                 {ENSO_INTERNAL, "", 500},
                 {ENSO_IO, "", 500},
                 {ENSO_CORRUPT, "", 500}};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_error err = {0};

        enso_error_code(&err, cases[i].code);
        (void)enso_error_set(&err, cases[i].status, "x");
        ck_assert_int_eq(enso_dialect_native.status(&err), cases[i].http);
        ck_assert_int_eq(enso_dialect_kserve.status(&err), cases[i].http);
        ck_assert_int_eq(enso_dialect_huggingface.status(&err), cases[i].http);
    }
}
END_TEST

static void expect_error(const struct enso_dialect *dialect, const struct enso_error *err,
                         int status, const char *body)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    dialect->error(err, status, &b);
    ck_assert_str_eq(b.data, body);
    enso_buffer_done(&b);
}

START_TEST(test_dialect_error_bodies)
{
    struct enso_error err = {0};

    (void)enso_error_set(&err, ENSO_OVERLOADED, "the \"queue\" is full");
    expect_error(&enso_dialect_native, &err, 429,
                 "{\"error\":{\"message\":\"the \\\"queue\\\" is full\",\"type\":"
                 "\"rate_limit_error\",\"param\":null,\"code\":\"overloaded\"}}\n");
    expect_error(&enso_dialect_kserve, &err, 429, "{\"error\":\"the \\\"queue\\\" is full\"}\n");
    enso_error_param(&err, "input[3]");
    enso_error_code(&err, "too_long");
    expect_error(&enso_dialect_native, &err, 400,
                 "{\"error\":{\"message\":\"the \\\"queue\\\" is full\",\"type\":"
                 "\"invalid_request_error\",\"param\":\"input[3]\",\"code\":\"too_long\"}}\n");
    expect_error(&enso_dialect_huggingface, &err, 400,
                 "{\"error\":\"input[3]: the \\\"queue\\\" is full\"}\n");
    enso_error_clear(&err);
    enso_error_param(&err, "top_k");
    (void)enso_error_set(&err, ENSO_INVALID, "'top_k' must be between 0 and 5");
    expect_error(&enso_dialect_kserve, &err, 400,
                 "{\"error\":\"'top_k' must be between 0 and 5\"}\n");
}
END_TEST

/* The longest sentence and the longest place fit together. */
START_TEST(test_dialect_long_errors)
{
    struct enso_error err = {.status = ENSO_INVALID};
    struct enso_buffer b = ENSO_BUFFER_INIT;

    memset(err.message, 'm', sizeof err.message - 1);
    memset(err.param, 'p', sizeof err.param - 1);
    enso_dialect_kserve.error(&err, 400, &b);
    ck_assert_uint_eq(b.size, strlen("{\"error\":\"\"}\n") + sizeof err.message - 1 +
                                  sizeof err.param - 1 + 2);
    enso_buffer_done(&b);
}
END_TEST

/* --- /openapi.json
 * --------------------------------------------------------------------------------- */

static json_t *document(void)
{
    struct enso_error err = {0};
    json_t *root = NULL;
    struct fake f;

    fake_begin(&f, "openapi", NULL);
    ck_assert_msg(fake_decode(&f, "") == 200, "%s", f.err.message);
    ENSO_TEST_OK(enso_json_parse(f.answer, f.answer_size, NULL, &root, &err), &err);
    fake_end(&f);
    return root;
}

START_TEST(test_openapi_has_every_route_and_no_other)
{
    json_t *root = document(), *paths = json_object_get(root, "paths"), *path;
    const char *name;
    size_t n = 0;

    for (size_t i = 0; i < enso_n_routes; i++) {
        const struct enso_route *r = &enso_routes[i];
        const json_t *operation = json_object_get(json_object_get(paths, r->pattern),
                                                  r->method == ENSO_POST ? "post" : "get");

        ck_assert_msg(operation != NULL, "%s is not in the document", r->name);
        ck_assert_str_eq(json_string_value(json_object_get(operation, "operationId")), r->name);
        ck_assert_str_eq(json_string_value(json_object_get(operation, "summary")), r->summary);
        ck_assert_msg((json_object_get(operation, "requestBody") != NULL) ==
                          (r->method == ENSO_POST),
                      "%s", r->name);
        ck_assert_ptr_nonnull(json_object_get(json_object_get(operation, "responses"), "200"));
    }
    json_object_foreach(paths, name, path)
    {
        n += json_object_size(path);
    }
    ck_assert_uint_eq(n, enso_n_routes);
    ck_assert_ptr_null(json_object_get(root, "operations"));
    ck_assert_str_eq(json_string_value(json_object_get(root, "openapi")), "3.1.0");
    json_decref(root);
}
END_TEST

START_TEST(test_openapi_failures)
{
    static const struct {
        const char *path, *method, *status, *schema; /* NULL: not there */
    } cases[] = {
        {"/v1/classify", "post", "429", "#/components/schemas/Error"},
        {"/v1/classify", "post", "415", "#/components/schemas/Error"},
        {"/v1/classify", "post", "504", "#/components/schemas/Error"},
        {"/v1/tokenize", "post", "504", NULL},
        {"/v1/models", "get", "404", NULL},
        {"/v1/models/{id}", "get", "404", "#/components/schemas/Error"},
        {"/v2/models/{id}", "get", "404", "#/components/schemas/PlainError"},
        {"/v2/models/{id}/infer", "post", "400", "#/components/schemas/PlainError"},
        {"/models/{id}", "post", "503", "#/components/schemas/PlainError"},
        {"/health", "get", "415", NULL},
    };
    json_t *root = document(), *paths = json_object_get(root, "paths");

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        const json_t *operation =
            json_object_get(json_object_get(paths, cases[i].path), cases[i].method);
        const json_t *response =
            json_object_get(json_object_get(operation, "responses"), cases[i].status);
        const json_t *schema =
            json_object_get(json_object_get(json_object_get(json_object_get(response, "content"),
                                                            "application/json"),
                                            "schema"),
                            "$ref");

        ck_assert_msg((response != NULL) == (cases[i].schema != NULL), "%s %s", cases[i].path,
                      cases[i].status);
        if (response != NULL)
            ck_assert_str_eq(json_string_value(schema), cases[i].schema);
    }
    json_decref(root);
}
END_TEST

/* Every "$ref" names something that is there. */
static void check_references(const json_t *root, const json_t *value, size_t *n)
{
    const char *key;
    size_t i;
    json_t *inner;

    json_object_foreach((json_t *)(uintptr_t)value, key, inner)
    {
        if (strcmp(key, "$ref") == 0) {
            char *path = enso_test_format("%s", json_string_value(inner)), *save = NULL;
            const json_t *at = root;

            ck_assert_str_eq(strtok_r(path, "/", &save), "#");
            for (const char *p; (p = strtok_r(NULL, "/", &save)) != NULL;)
                at = json_object_get(at, p);
            ck_assert_msg(at != NULL, "%s leads nowhere", json_string_value(inner));
            free(path);
            ++*n;
        }
        check_references(root, inner, n);
    }
    json_array_foreach((json_t *)(uintptr_t)value, i, inner)
    {
        check_references(root, inner, n);
    }
}

START_TEST(test_openapi_references)
{
    json_t *root = document();
    size_t n = 0;

    check_references(root, root, &n);
    ck_assert_uint_gt(n, 100);
    json_decref(root);
}
END_TEST

static enum enso_status run_openapi_oom(void *context, struct enso_error *err)
{
    struct fake f;
    int status;

    (void)context;
    fake_begin(&f, "openapi", NULL);
    status = fake_decode(&f, "");
    *err = f.err;
    fake_end(&f);
    return status == 200 ? ENSO_OK : err->status;
}

START_TEST(test_openapi_oom)
{
    ck_assert_uint_gt(enso_test_oom_sweep(run_openapi_oom, NULL), 1000);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/routes");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *oom = tcase_create("oom");

    tcase_add_test(core, test_routes_match);
    tcase_add_test(core, test_routes_table_is_sound);
    tcase_add_test(core, test_dialect_statuses);
    tcase_add_test(core, test_dialect_error_bodies);
    tcase_add_test(core, test_openapi_has_every_route_and_no_other);
    tcase_add_test(core, test_openapi_failures);
    tcase_add_test(core, test_openapi_references);
    tcase_add_test(limits, test_dialect_long_errors);
    tcase_add_test(oom, test_routes_oom);
    tcase_add_test(oom, test_openapi_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
