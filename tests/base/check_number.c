/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/number.h: what is written reads back as the same bits and is the shortest that
 * does; parsers are strict.
 */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "tests/support/support.h"

static float from_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Digits of the significand without zeros at either end. */
static int count_digits(const char *s)
{
    int n = 0, zeros = 0;

    for (; *s != '\0' && *s != 'e'; s++) {
        if (*s < '0' || *s > '9')
            continue;
        if (*s == '0') {
            zeros += n != 0;
        } else {
            n += zeros + 1;
            zeros = 0;
        }
    }
    return n;
}

static void check_f32(uint32_t bits)
{
    char text[ENSO_NUMBER_F32_SIZE];
    float x = from_bits(bits), back;
    size_t n = enso_number_write_f32(x, text);

    ck_assert_uint_eq(n, strlen(text));
    ck_assert_uint_lt(n, sizeof text);
    back = strtof(text, NULL);
    ck_assert_msg(memcmp(&back, &x, sizeof x) == 0, "%a was written %s", (double)x, text);
}

static void check_shortest(uint32_t bits)
{
    char text[ENSO_NUMBER_F32_SIZE], other[32];
    float x = from_bits(bits);

    (void)enso_number_write_f32(x, text);
    for (int precision = 0; precision < 9; precision++) {
        snprintf(other, sizeof other, "%.*e", precision, (double)x);
        if (strtof(other, NULL) == x) {
            ck_assert_msg(count_digits(text) <= precision + 1, "%s is shorter than %s", other,
                          text);
            return;
        }
    }
}

START_TEST(test_number_f32_reads_back)
{
    uint64_t seed = 88172645463325252u;
    int n = enso_test_is_sanitized() ? 300000 : 3000000;

    for (int i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(enso_test_random(&seed) >> 20);

        if ((bits >> 23 & 0xFF) == 0xFF)
            continue;
        check_f32(bits);
        if (i % 32 == 0 && (bits & 0x7FFFFFFF) != 0)
            check_shortest(bits);
    }
}
END_TEST

START_TEST(test_number_f32_edges_of_every_exponent)
{
    static const uint32_t significands[] = {0, 1, 2, 0x3FFFFF, 0x400000, 0x7FFFFE, 0x7FFFFF};

    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(significands); i++) {
            uint32_t bits = exponent << 23 | significands[i];

            check_f32(bits);
            check_f32(bits | 1u << 31);
            if (bits != 0)
                check_shortest(bits);
        }
    }
}
END_TEST

START_TEST(test_number_f32_form)
{
    static const struct {
        float x;
        const char *text;
    } cases[] = {
        {0.0f, "0.0"},
        {-0.0f, "-0.0"},
        {1.0f, "1.0"},
        {-2.5f, "-2.5"},
        {0.1f, "0.1"},
        {0.3f, "0.3"},
        {16777216.0f, "16777216.0"},
        {123456789.0f, "123456790.0"},
        {1e9f, "1e+9"},
        {1.5e20f, "1.5e+20"},
        {0.0001f, "0.0001"},
        {0.00001f, "0.00001"},
        {0.000001f, "1e-6"},
        {1e-45f, "1e-45"},
        {3.4028235e38f, "3.4028235e+38"},
        {1.17549435e-38f, "1.1754944e-38"},
        {NAN, "null"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char text[ENSO_NUMBER_F32_SIZE];

        (void)enso_number_write_f32(cases[i].x, text);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(test_number_f64_reads_back)
{
    uint64_t seed = 4711;

    for (int i = 0; i < 100000; i++) {
        uint64_t bits = enso_test_random(&seed);
        char text[ENSO_NUMBER_F64_SIZE];
        double x, back;

        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x))
            continue;
        ck_assert_uint_eq(enso_number_write_f64(x, text), strlen(text));
        back = strtod(text, NULL);
        ck_assert_msg(memcmp(&back, &x, sizeof x) == 0, "%a was written %s", x, text);
    }
}
END_TEST

START_TEST(test_number_f64_form)
{
    static const struct {
        double x;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {3, "3.0"},
        {0.1, "0.1"},
        {0.3, "0.3"},
        {1e15, "1e+15"},
        {1790000000, "1790000000.0"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {123456.75, "123456.75"},
        {2.0 / 3, "0.6666666666666666"},
        {NAN, "null"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char text[ENSO_NUMBER_F64_SIZE];

        (void)enso_number_write_f64(cases[i].x, text);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(test_number_integers)
{
    char text[24];

    ck_assert_uint_eq(enso_number_write_u64(0, text), 1);
    ck_assert_str_eq(text, "0");
    ck_assert_uint_eq(enso_number_write_u64(UINT64_MAX, text), 20);
    ck_assert_str_eq(text, "18446744073709551615");
    (void)enso_number_write_i64(INT64_MIN, text);
    ck_assert_str_eq(text, "-9223372036854775808");
    (void)enso_number_write_i64(1234567, text);
    ck_assert_str_eq(text, "1234567");
}
END_TEST

START_TEST(test_number_array_is_fast_enough)
{
    enum { N = 32 * 384 };
    float *x = malloc(N * sizeof *x);
    struct enso_buffer b = ENSO_BUFFER_INIT;
    uint64_t seed = 1, best = UINT64_MAX;

    ck_assert_ptr_nonnull(x);
    for (int i = 0; i < N; i++)
        x[i] = enso_test_random_f32(&seed) * 0.1f;
    for (int round = 0; round < 20; round++) {
        uint64_t start = enso_clock_now_ns();

        enso_buffer_clear(&b);
        enso_buffer_put_f32_array(&b, x, N);
        best = ENSO_MIN(best, enso_clock_now_ns() - start);
    }
    ck_assert(!b.failed);
    ck_assert_int_eq(b.data[0], '[');
    ck_assert_int_eq(b.data[b.size - 1], ']');
    printf("32 x 384 floats: %.3f ms\n", (double)best * 1e-6);
    if (!enso_test_is_sanitized()) /* 0.4 ms on an idle core; Jansson takes 4 to 6 */
        ck_assert_uint_lt(best, 2 * ENSO_NS_PER_MS);
    enso_buffer_done(&b);
    free(x);
}
END_TEST

START_TEST(test_number_array_form)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_buffer_put_f32_array(&b, (const float[]){0.25f, -1, NAN}, 3);
    ck_assert_str_eq(b.data, "[0.25,-1.0,null]");
    enso_buffer_clear(&b);
    enso_buffer_put_f32_array(&b, NULL, 0);
    ck_assert_str_eq(b.data, "[]");
    enso_buffer_done(&b);
    b.limit = 300; /* stops, and says so */
    float many[200] = {0};
    enso_buffer_put_f32_array(&b, many, 200);
    ck_assert(b.failed);
    enso_buffer_done(&b);
}
END_TEST

START_TEST(test_number_parse_i64)
{
    static const char *const bad[] = {"",    "-",    "+1",  " 1",  "1 ",
                                      "1.0", "0x10", "1e3", "one", "99999999999999999999",
                                      "101", "-11"};
    struct enso_error err = {0};
    int64_t x = 7;

    ENSO_TEST_OK(enso_number_parse_i64("-10", -10, 100, &x, &err), &err);
    ck_assert_int_eq(x, -10);
    ENSO_TEST_OK(enso_number_parse_i64("9223372036854775807", 0, INT64_MAX, &x, &err), &err);
    ck_assert_int_eq(x, INT64_MAX);
    x = 7;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++) {
        enso_error_clear(&err);
        ck_assert_msg(enso_number_parse_i64(bad[i], -10, 100, &x, &err) == ENSO_INVALID, "'%s'",
                      bad[i]);
        ck_assert_str_ne(err.message, "");
        ck_assert_int_eq(x, 7);
    }
}
END_TEST

START_TEST(test_number_parse_size)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"512B", 512},
        {"64KiB", 65536},
        {"32MiB", 32u << 20},
        {"1GiB", 1u << 30},
        {"2TiB", UINT64_C(2) << 40},
        {"10kB", 10000},
        {"1.5KiB", 1536},
        {"0.5GiB", 1u << 29},
    };
    static const char *const bad[] = {"",
                                      "MiB",
                                      "-1",
                                      "1 MiB",
                                      "1mib",
                                      "1K",
                                      "1M",
                                      "1.MiB",
                                      ".5MiB",
                                      "1.2345678MiB",
                                      "1.5B",
                                      "0x10",
                                      "1MiBx",
                                      "99999999999999999999",
                                      "17179869184GiB"};
    struct enso_error err = {0};
    uint64_t x = 0;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(good); i++) {
        ENSO_TEST_OK(enso_number_parse_size(good[i].text, 0, UINT64_MAX, &x, &err), &err);
        ck_assert_uint_eq(x, good[i].bytes);
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++) {
        enso_error_clear(&err);
        ck_assert_msg(enso_number_parse_size(bad[i], 0, UINT64_MAX, &x, &err) == ENSO_INVALID,
                      "'%s'", bad[i]);
    }
    enso_error_clear(&err);
    ck_assert_int_eq(enso_number_parse_size("1KiB", 2048, 1 << 20, &x, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "2KiB to 1MiB");
}
END_TEST

START_TEST(test_number_parse_duration)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"0", 0},
        {"50ms", 50 * ENSO_NS_PER_MS},
        {"1.5s", 1500 * ENSO_NS_PER_MS},
        {"30s", 30 * ENSO_NS_PER_S},
        {"5min", 300 * ENSO_NS_PER_S},
        {"2h", 7200 * ENSO_NS_PER_S},
        {"100us", 100000},
        {"7ns", 7},
    };
    static const char *const bad[] = {"",   "5",  "s",    "-1s",   "1 s",
                                      "1m", "1S", "1e3s", "0.5ns", "99999999999h"};
    struct enso_error err = {0};
    uint64_t x = 0;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(good); i++) {
        char text[32];
        uint64_t back = 1;

        ENSO_TEST_OK(enso_number_parse_duration(good[i].text, 0, UINT64_MAX, &x, &err), &err);
        ck_assert_uint_eq(x, good[i].ns);
        enso_number_format_duration(x, text);
        ENSO_TEST_OK(enso_number_parse_duration(text, 0, UINT64_MAX, &back, &err), &err);
        ck_assert_uint_eq(back, x);
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++) {
        enso_error_clear(&err);
        ck_assert_msg(enso_number_parse_duration(bad[i], 0, UINT64_MAX, &x, &err) == ENSO_INVALID,
                      "'%s'", bad[i]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/number");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_add_test(core, test_number_f32_reads_back);
    tcase_add_test(core, test_number_f32_edges_of_every_exponent);
    tcase_add_test(core, test_number_f32_form);
    tcase_add_test(core, test_number_f64_reads_back);
    tcase_add_test(core, test_number_f64_form);
    tcase_add_test(core, test_number_integers);
    tcase_add_test(core, test_number_array_is_fast_enough);
    tcase_add_test(core, test_number_array_form);
    tcase_add_test(errors, test_number_parse_i64);
    tcase_add_test(errors, test_number_parse_size);
    tcase_add_test(errors, test_number_parse_duration);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
