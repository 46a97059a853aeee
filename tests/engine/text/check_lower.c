/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/text/lower: equal to what str.lower() of Python 3.11 gives; the pairs below are from it.
 */
#include "engine/text/lower.h"

#include "tests/support/support.h"

#include <string.h>

#include "base/memory.h"

static const struct {
    const char *text, *lower;
} pairs[] = {
    {"", ""},
    {"HELLO Wörld ÄÖ 12", "hello wörld äö 12"},
    {"İI ı", "i̇i ı"},
    {"ǅ ǆ Ǆ ẞ ⅠⅡ Ⓐ", "ǆ ǆ ǆ ß ⅰⅱ ⓐ"},
    {"ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"},
    {"ΑΣ ΣΑΣ Σ ΌΔΟΣ'Σ ΑΣ. ΑΣ.Β", "ας σας σ όδοσ'ς ας. ασ.β"},
    {"Α\xC2\xADΣ A\xCC\x81Σ\xCC\x81 1Σ ʰΣ", "α\xC2\xADς a\xCC\x81ς\xCC\x81 1σ ʰσ"},
    {"𐐀𐐁 日本", "𐐨𐐩 日本"},
};

START_TEST(test_lower_as_python)
{
    struct enso_error err = {0};
    char *lower;
    size_t size;

    ENSO_TEST_OK((enum enso_status)enso_text_lower(pairs[_i].text, strlen(pairs[_i].text), &lower,
                                                   &size, &err),
                 &err);
    ck_assert_uint_eq(size, strlen(pairs[_i].lower));
    ck_assert_mem_eq(lower, pairs[_i].lower, size);
    enso_free(lower);
}
END_TEST

START_TEST(test_lower_keeps_nul_bytes)
{
    char *lower;
    size_t size;

    ck_assert_int_eq(enso_text_lower("A\0B", 3, &lower, &size, NULL), ENSO_OK);
    ck_assert_uint_eq(size, 3);
    ck_assert_mem_eq(lower, "a\0b", 3);
    enso_free(lower);
}
END_TEST

START_TEST(test_lower_broken_utf8)
{
    static const char *const broken[] = {"A\xFF", "\xC3", "\xED\xA0\x80", "ΑΣ\x80"};
    struct enso_error err = {0};
    char *lower;
    size_t size;

    ck_assert_int_eq(enso_text_lower(broken[_i], strlen(broken[_i]), &lower, &size, &err),
                     ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "UTF-8");
}
END_TEST

static enum enso_status lower_long(void *context, struct enso_error *err)
{
    char *lower;
    size_t size;
    int st = enso_text_lower("SOME WORDS İİİİİİİİİİİİİİİİİİİİİİİ", 57, &lower, &size, err);

    (void)context;
    if (st == ENSO_OK)
        enso_free(lower);
    return (enum enso_status)st;
}

START_TEST(test_lower_oom)
{
    ck_assert_uint_ge(enso_test_oom_sweep(lower_long, NULL), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/text lower");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");

    tcase_add_loop_test(core, test_lower_as_python, 0, ENSO_ARRAY_SIZE(pairs));
    tcase_add_test(core, test_lower_keeps_nul_bytes);
    tcase_add_loop_test(errors, test_lower_broken_utf8, 0, 4);
    tcase_add_test(oom, test_lower_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
