/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/text/unicode: the shortcuts agree with the table they shortcut, values are within their
 * bounds for every code point, and places where the reference differs from one Unicode version.
 */
#include "ensod_build.h"

#include <stdlib.h>

#include "base/macros.h"
#include "engine/text/unicode.h"
#include "engine/text/unicode_tables.h"
#include "tests/support/support.h"

/* The table alone, without shortcuts. */
static unsigned table_flags(uint32_t c)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(flag_ranges); i++)
        if (c >= flag_ranges[i].first && c <= flag_ranges[i].last)
            return (unsigned)flag_ranges[i].value;
    return 0;
}

START_TEST(test_unicode_shortcuts_agree_with_the_table)
{
    static const uint32_t blocks[][2] = {{0, 0x500},       {0x4DB0, 0x4E40}, {0x9FF0, 0xA010},
                                         {0xABF0, 0xAC10}, {0xD790, 0xD800}, {0x10FFF0, 0x110000}};

    for (size_t b = 0; b < ENSO_ARRAY_SIZE(blocks); b++)
        for (uint32_t c = blocks[b][0]; c < blocks[b][1]; c++)
            ck_assert_msg(enso__unicode_flags(c) == table_flags(c), "U+%04X: %u, not %u", c,
                          enso__unicode_flags(c), table_flags(c));
}
END_TEST

START_TEST(test_unicode_table_is_sorted)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(flag_ranges); i++) {
        ck_assert_uint_le(flag_ranges[i].first, flag_ranges[i].last);
        if (i > 0)
            ck_assert_uint_gt(flag_ranges[i].first, flag_ranges[i - 1].last);
    }
    for (size_t i = 1; i < ENSO_ARRAY_SIZE(lower_ranges); i++)
        ck_assert_uint_gt(lower_ranges[i].first, lower_ranges[i - 1].last);
}
END_TEST

START_TEST(test_unicode_values_are_characters)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint32_t small[2], parts[ENSO__UNICODE_MAX_DECOMPOSED];
        size_t n;

        if (c >= 0xD800 && c < 0xE000)
            continue;
        n = enso__unicode_lower(c, small);
        ck_assert(n == 1 || (n == 2 && c == 0x130));
        ck_assert_uint_lt(small[0], 0x110000);
        for (int compatible = 0; compatible < 2; compatible++) {
            n = enso__unicode_decompose(c, compatible, parts);
            ck_assert(n >= 1 && n <= ENSO__UNICODE_MAX_DECOMPOSED);
            for (size_t i = 0; i < n; i++)
                ck_assert(parts[i] < 0xD800 || (parts[i] >= 0xE000 && parts[i] < 0x110000));
        }
    }
}
END_TEST

START_TEST(test_unicode_follows_the_reference)
{
    uint32_t out[ENSO__UNICODE_MAX_DECOMPOSED];

    ck_assert(enso__unicode_flags(0x301) & ENSO__UNICODE_NONSPACING);
    ck_assert(!(enso__unicode_flags(0x8E0) & ENSO__UNICODE_NONSPACING)); /* Unicode 9 */
    ck_assert(enso__unicode_flags(0x1734) & ENSO__UNICODE_NONSPACING);   /* Mc since 14 */
    ck_assert(enso__unicode_flags(0x200D) & ENSO__UNICODE_DROPPED);
    ck_assert(!(enso__unicode_flags(0xFFFE) & ENSO__UNICODE_DROPPED)); /* unassigned is kept */
    ck_assert(enso__unicode_flags('$') & ENSO__UNICODE_PUNCTUATION);   /* all of ASCII's signs */
    ck_assert(!(enso__unicode_flags(0x20AC) & ENSO__UNICODE_PUNCTUATION)); /* not the euro sign */
    ck_assert(enso__unicode_is_ideograph(0x4E2D) && !enso__unicode_is_ideograph(0x3042));
    ck_assert(!enso__unicode_is_ideograph(0x2B820) && enso__unicode_is_ideograph(0x2B920));
    ck_assert_uint_eq(enso__unicode_lower(0x130, out), 2);
    ck_assert(enso__unicode_lower(0x3A3, out) == 1 && out[0] == 0x3C3);
    ck_assert(enso__unicode_lower(0x1C89, out) == 1 && out[0] == 0x1C8A); /* Unicode 16 */
    ck_assert(enso__unicode_decompose(0xFB01, false, out) == 1 && out[0] == 0xFB01);
    ck_assert(enso__unicode_decompose(0xFB01, true, out) == 2 && out[1] == 'i');
    ck_assert_uint_eq(enso__unicode_decompose(0xFDFA, true, out), 18);
    ck_assert_uint_eq(enso__unicode_decompose(0x11938, false, out), 1); /* Unicode 13 */
    ck_assert_uint_eq(enso__unicode_compose('e', 0x301), 0xE9);
    ck_assert_uint_eq(enso__unicode_compose(0x1112, 0x1161), 0xD558);
    ck_assert_uint_eq(enso__unicode_compose('e', 'e'), 0);
    ck_assert_uint_eq(enso__unicode_compose(0x11935, 0x11930), 0);
    ck_assert_uint_eq(enso__unicode_class(0x301), 230);
    ck_assert_uint_eq(enso__unicode_class('a'), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/text_unicode");
    TCase *core = tcase_create("core");

    tcase_add_test(core, test_unicode_shortcuts_agree_with_the_table);
    tcase_add_test(core, test_unicode_table_is_sorted);
    tcase_add_test(core, test_unicode_values_are_characters);
    tcase_add_test(core, test_unicode_follows_the_reference);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
