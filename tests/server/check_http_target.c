/* SPDX-License-Identifier: Apache-2.0
 *
 * Request targets: segments, parameters, escapes, and what is refused.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "server/http_target.h"

/* Parse in a room of exactly the size asked for, print what came out. */
static enum enso_status parse(const char *target, size_t size, struct enso_buffer *out,
                              struct enso_error *err)
{
    void *room = malloc(enso_http_target_room(target, size));
    char *copy = malloc(size > 0 ? size : 1);
    struct enso_http_target t;
    enum enso_status st;

    memcpy(copy, target, size);
    ck_assert_uint_le(enso_http_target_room(copy, size), enso_http_target_room(target, size));
    st = enso_http_target_parse(copy, size, room, &t, err);
    free(copy);
    if (st == ENSO_OK) {
        enso_buffer_printf(out, "%s", t.path.data);
        ck_assert_uint_eq(strlen(t.path.data), t.path.size);
        for (size_t i = 0; i < t.n_segments; i++) {
            enso_buffer_printf(out, " /%s", t.segments[i].data);
            ck_assert_uint_eq(strlen(t.segments[i].data), t.segments[i].size);
        }
        for (size_t i = 0; i < t.n_params; i++)
            enso_buffer_printf(out, " ?%s=%s", t.params[i].name.data, t.params[i].value.data);
    } else {
        ck_assert_uint_eq(t.n_segments, 0);
        ck_assert_uint_eq(t.n_params, 0);
    }
    free(room);
    return st;
}

static const struct {
    const char *target, *expected;
} good[] = {
    {"/", "/"},
    {"*", "*"},
    {"/a", "/a /a"},
    {"/a/", "/a/ /a /"},
    {"//", "// / /"},
    {"/v1/models/a%2Fb", "/v1/models/a%2Fb /v1 /models /a/b"},
    {"/a+b", "/a+b /a+b"},
    {"/%c3%A9", "/%c3%A9 /\xc3\xa9"},
    {"/a?b=1&c=2", "/a /a ?b=1 ?c=2"},
    {"/a?", "/a /a"},
    {"/a?b", "/a /a ?b="},
    {"/a?b=", "/a /a ?b="},
    {"/a?=b", "/a /a ?=b"},
    {"/a?b=1&&b=2&", "/a /a ?b=1 ?b=2"},
    {"/a?b=1+2%2b3%26&c=x=y?z/w", "/a /a ?b=1 2+3& ?c=x=y?z/w"},
    {"http://host", "/"},
    {"http://host?a=1", "/ ?a=1"},
    {"http://host:80/a/b?c", "/a/b /a /b ?c="},
    {"/%2e%2e/..", "/%2e%2e/.. /.. /.."},
};

START_TEST(test_http_target_splits_and_unescapes)
{
    struct enso_buffer out = ENSO_BUFFER_INIT;
    struct enso_error err = {0};

    ck_assert_msg(parse(good[_i].target, strlen(good[_i].target), &out, &err) == ENSO_OK, "%s: %s",
                  good[_i].target, err.message);
    ck_assert_str_eq(out.data, good[_i].expected);
    enso_buffer_done(&out);
}
END_TEST

static const struct {
    const char *target, *word;
} bad[] = {
    {"", "no target"},
    {"a", "path"},
    {"/%", "%25"},
    {"/%1", "%25"},
    {"/%1g", "%25"},
    {"/%g1", "%25"},
    {"/%00", "NUL"},
    {"/a?b=%00", "NUL"},
    {"/a?%00=b", "NUL"},
    {"/a b", "blank"},
    {"/a\tb", "blank"},
    {"/a#b", "#"},
    {"/a\x7f", "control"},
    {"/%ff", "UTF-8"},
    {"/\xc3", "UTF-8"},
    {"/%c3/%a9", "UTF-8"},
    {"/?a=%ed%a0%80", "UTF-8"},
    {"://a/b", "path"},
    {"host:443", "path"},
    {"**", "path"},
};

START_TEST(test_http_target_refuses)
{
    struct enso_buffer out = ENSO_BUFFER_INIT;
    struct enso_error err = {0};

    ck_assert_int_eq(parse(bad[_i].target, strlen(bad[_i].target), &out, &err), ENSO_INVALID);
    ck_assert_msg(strstr(err.message, bad[_i].word) != NULL, "%s", err.message);
}
END_TEST

START_TEST(test_http_target_refuses_a_nul_byte)
{
    struct enso_buffer out = ENSO_BUFFER_INIT;

    ck_assert_int_eq(parse("/a\0b", 4, &out, NULL), ENSO_INVALID);
}
END_TEST

static enum enso_status parse_repeated(const char *unit, size_t n, struct enso_error *err)
{
    struct enso_buffer target = ENSO_BUFFER_INIT, out = ENSO_BUFFER_INIT;
    enum enso_status st;

    enso_buffer_puts(&target, "/?");
    if (unit[0] == '/')
        enso_buffer_clear(&target);
    for (size_t i = 0; i < n; i++)
        enso_buffer_puts(&target, unit);
    st = parse(target.data, target.size, &out, err);
    enso_buffer_done(&target);
    enso_buffer_done(&out);
    return st;
}

START_TEST(test_http_target_limits_segments_and_params)
{
    struct enso_error err = {0};

    ck_assert_int_eq(parse_repeated("/a", ENSO_HTTP_MAX_SEGMENTS, &err), ENSO_OK);
    ck_assert_int_eq(parse_repeated("/a", ENSO_HTTP_MAX_SEGMENTS + 1, &err), ENSO_TOO_LARGE);
    enso_error_clear(&err);
    ck_assert_int_eq(parse_repeated("a=b&", ENSO_HTTP_MAX_PARAMS, &err), ENSO_OK);
    ck_assert_int_eq(parse_repeated("a=b&", ENSO_HTTP_MAX_PARAMS + 1, &err), ENSO_TOO_LARGE);
    ck_assert_int_eq(parse_repeated("&", 10000, NULL), ENSO_OK);
    ck_assert_int_eq(parse_repeated("/", 10000, NULL), ENSO_TOO_LARGE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server/http_target");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors");
    SRunner *runner;
    int n_failed;

    tcase_add_loop_test(core, test_http_target_splits_and_unescapes, 0, (int)ENSO_ARRAY_SIZE(good));
    tcase_add_test(limits, test_http_target_limits_segments_and_params);
    tcase_add_loop_test(errors, test_http_target_refuses, 0, (int)ENSO_ARRAY_SIZE(bad));
    tcase_add_test(errors, test_http_target_refuses_a_nul_byte);
    suite_add_tcase(suite, core);
    suite_add_tcase(suite, limits);
    suite_add_tcase(suite, errors);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
