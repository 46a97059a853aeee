/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/utf8.h against a decoder written the plain way: every code point, and every string
 * of up to three bytes.
 */
#include "base/utf8.h"

#include <string.h>

#include "tests/support/support.h"

/* By the definition: shortest form, no surrogates, at most U+10FFFF. */
static size_t plain_decode(const unsigned char *s, size_t size, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = size == 0               ? 0
               : s[0] < 0x80           ? 1
               : (s[0] & 0xE0) == 0xC0 ? 2
               : (s[0] & 0xF0) == 0xE0 ? 3
               : (s[0] & 0xF8) == 0xF0 ? 4
                                       : 0;
    uint32_t c;

    if (n == 0 || n > size)
        return 0;
    c = n == 1 ? s[0] : s[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3Fu);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *ret = c;
    return n;
}

START_TEST(test_utf8_every_code_point)
{
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char out[4];
        uint32_t back = 0;
        size_t n;

        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        n = enso_utf8_encode(c, out);
        if (enso_utf8_decode(out, n, &back) != n || back != c ||
            plain_decode((const unsigned char *)out, n, &back) != n || back != c)
            ck_abort_msg("U+%04X", (unsigned)c);
        if (n > 1 && enso_utf8_length(out, n - 1) != 0)
            ck_abort_msg("U+%04X cut short", (unsigned)c);
    }
}
END_TEST

START_TEST(test_utf8_every_three_bytes)
{
    for (uint32_t bits = 0; bits < 1u << 24; bits++) {
        unsigned char s[3] = {(unsigned char)(bits >> 16), (unsigned char)(bits >> 8),
                              (unsigned char)bits};
        uint32_t a = 0, b = 0;

        if (s[0] < 0xC0 && s[1] != 0x80) /* decided by the first byte */
            continue;
        if (enso_utf8_decode((const char *)s, 3, &a) != plain_decode(s, 3, &b) || a != b)
            ck_abort_msg("%02x %02x %02x", s[0], s[1], s[2]);
    }
}
END_TEST

START_TEST(test_utf8_four_bytes)
{
    uint64_t seed = 99;

    for (int i = 0; i < 2000000; i++) {
        uint64_t r = enso_test_random(&seed);
        unsigned char s[4] = {
            (unsigned char)(0xF0 | (r & 7)), (unsigned char)(0x80 | (r >> 8 & 0x7F)),
            (unsigned char)(0x80 | (r >> 16 & 0x7F)), (unsigned char)(0x80 | (r >> 24 & 0x7F))};
        uint32_t a = 0, b = 0;

        if (enso_utf8_decode((const char *)s, 4, &a) != plain_decode(s, 4, &b) || a != b)
            ck_abort_msg("%02x %02x %02x %02x", s[0], s[1], s[2], s[3]);
    }
}
END_TEST

START_TEST(test_utf8_valid_names_the_byte)
{
    static const struct {
        const char *text;
        size_t size, bad;
    } cases[] = {
        {"abc\xFF", 4, 3},
        {"\x80", 1, 0},
        {"a\xC3", 2, 1},
        {"\xE2\x82", 2, 0},
        {"\xC3\xA9\xC0\xAF", 4, 2},
        {"x\xED\xA0\x80", 4, 1},
        {"xy\xF4\x90\x80\x80", 6, 2},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *text = enso_test_guard_copy(cases[i].text, cases[i].size);
        size_t bad = 99;

        ck_assert(!enso_utf8_valid(text, cases[i].size, &bad));
        ck_assert_uint_eq(bad, cases[i].bad);
        ck_assert(enso_utf8_valid(text, cases[i].bad, NULL));
        enso_test_guard_free(text, cases[i].size);
    }
    ck_assert(enso_utf8_valid("", 0, NULL));
    ck_assert_uint_eq(enso_utf8_length("", 0), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/utf8");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_add_test(core, test_utf8_every_code_point);
    tcase_add_test(core, test_utf8_every_three_bytes);
    tcase_add_test(core, test_utf8_four_bytes);
    tcase_add_test(errors, test_utf8_valid_names_the_byte);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
