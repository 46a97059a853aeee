/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/error.h.
 */
#include "base/error.h"

#include <string.h>

#include "base/utf8.h"
#include "tests/support/support.h"

START_TEST(test_error_first_wins)
{
    struct enso_error err = {0};

    ck_assert_int_eq(enso_error_set(&err, ENSO_CORRUPT, "first %d", 1), ENSO_CORRUPT);
    ck_assert_int_eq(enso_error_set(&err, ENSO_IO, "second"), ENSO_IO); /* says its own status */
    ck_assert_int_eq(err.status, ENSO_CORRUPT);
    ck_assert_str_eq(err.message, "first 1");
}
END_TEST

START_TEST(test_error_prefix_param_code)
{
    struct enso_error err = {0};

    enso_error_prefix(&err, "nothing yet: ");
    ck_assert_str_eq(err.message, "");
    (void)enso_error_set(&err, ENSO_INVALID, "is %s", "bad");
    enso_error_prefix(&err, "tensor '%s': ", "w");
    enso_error_prefix(&err, "model '%s': ", "m");
    enso_error_param(&err, "input[%d]", 3);
    enso_error_param(&err, "other");
    enso_error_code(&err, "too_long");
    enso_error_code(&err, "other");
    ck_assert_str_eq(err.message, "model 'm': tensor 'w': is bad");
    ck_assert_str_eq(err.param, "input[3]");
    ck_assert_str_eq(err.code, "too_long");
    enso_error_clear(&err);
    ck_assert_int_eq(err.status, ENSO_OK);
    ck_assert_str_eq(err.message, "");
}
END_TEST

START_TEST(test_error_null_is_fine)
{
    ck_assert_int_eq(enso_error_set(NULL, ENSO_IO, "x"), ENSO_IO);
    ck_assert_int_eq(enso_error_no_memory(NULL, "x"), ENSO_NO_MEMORY);
    enso_error_param(NULL, "x");
    enso_error_code(NULL, "x");
    enso_error_prefix(NULL, "x");
    enso_error_clear(NULL);
}
END_TEST

START_TEST(test_error_names_and_texts)
{
    ck_assert_str_eq(enso_status_name(ENSO_OK), "OK");
    ck_assert_str_eq(enso_status_name(ENSO_NOT_FOUND), "NOT_FOUND");
    ck_assert_str_eq(enso_status_text(ENSO_NOT_FOUND), "not found");
    ck_assert_str_eq(enso_status_name((enum enso_status)99), "UNKNOWN");
    ck_assert_str_eq(enso_status_text((enum enso_status)99), "unknown status");
}
END_TEST

/* Cutting never leaves half a character, wherever the cut falls. */
START_TEST(test_error_cuts_at_characters)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};

    for (size_t c = 0; c < ENSO_ARRAY_SIZE(characters); c++) {
        for (size_t shift = 0; shift < 4; shift++) {
            struct enso_error err = {0};
            char text[1000] = "";

            memset(text, 'x', shift);
            while (strlen(text) + 5 < sizeof text)
                strcat(text, characters[c]);
            (void)enso_error_set(&err, ENSO_IO, "%s", text);
            enso_error_param(&err, "%s", text);
            ck_assert_uint_ge(strlen(err.message), sizeof err.message - 5);
            ck_assert(enso_utf8_valid(err.message, strlen(err.message), NULL));
            ck_assert(enso_utf8_valid(err.param, strlen(err.param), NULL));
            for (int i = 0; i < 5; i++) {
                enso_error_prefix(&err, "%d%s: ", i, characters[c]);
                ck_assert(enso_utf8_valid(err.message, strlen(err.message), NULL));
            }
        }
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/error");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");

    tcase_add_test(core, test_error_first_wins);
    tcase_add_test(core, test_error_prefix_param_code);
    tcase_add_test(core, test_error_null_is_fine);
    tcase_add_test(core, test_error_names_and_texts);
    tcase_add_test(limits, test_error_cuts_at_characters);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    return s;
}

ENSO_TEST_MAIN(suite)
