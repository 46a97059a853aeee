/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversions between float types, all bit patterns of the 16-bit ones, against arithmetic on
 * sign, exponent and fraction as IEEE 754 defines them. All are exact: no tolerance.
 */
#include <check.h>
#include <math.h>
#include <string.h>

#include "engine/tensor.h"
#include "tests/support/support.h"

static uint32_t bits_of(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* The value of a binary16 by its definition. */
static double f16_by_definition(uint16_t h)
{
    int exponent = h >> 10 & 0x1F, fraction = h & 0x3FF;
    double magnitude = exponent == 0    ? ldexp(fraction, -24)
                       : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                        : ldexp(1024 + fraction, exponent - 25);

    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

START_TEST(test_tensor_f16_to_f32_every_value)
{
    static uint16_t halves[65536];
    static float floats[65536];

    for (unsigned i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    enso_f16_to_f32(halves, floats, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = f16_by_definition((uint16_t)i);

        if (isnan(expected)) {
            ck_assert_msg(isnan(floats[i]), "%04x", i);
            ck_assert_uint_eq(bits_of(floats[i]) >> 13 & 0x3FF, i & 0x3FF); /* the payload stays */
        } else {
            ck_assert_msg(bits_of(floats[i]) == bits_of((float)expected), "%04x", i);
        }
    }
}
END_TEST

/* Every length around the width of the loop, with the neighbours untouched. */
START_TEST(test_tensor_f16_to_f32_lengths)
{
    uint16_t halves[40];
    float floats[41], alone;

    for (unsigned i = 0; i < 40; i++)
        halves[i] = (uint16_t)(0x3C00 + 37 * i);
    for (size_t n = 0; n <= 40; n++) {
        floats[n] = 7;
        enso_f16_to_f32(halves, floats, n);
        for (size_t i = 0; i < n; i++) {
            enso_f16_to_f32(&halves[i], &alone, 1);
            ck_assert_uint_eq(bits_of(floats[i]), bits_of(alone));
        }
        ck_assert_float_eq(floats[n], 7);
    }
}
END_TEST

START_TEST(test_tensor_f32_to_f16_and_back)
{
    for (unsigned i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i, again;
        float f;

        enso_f16_to_f32(&h, &f, 1);
        enso_f32_to_f16(&f, &again, 1);
        if (isnan(f))
            ck_assert_uint_eq(again & 0x7E00, 0x7E00);
        else
            ck_assert_uint_eq(again, h);
    }
}
END_TEST

/* Halfway values go to the even neighbour; beyond 65519 is infinity. */
START_TEST(test_tensor_f32_to_f16_rounds_to_even)
{
    static const struct {
        float f;
        uint16_t h;
    } rows[] = {
        {1 + 0x1p-11f, 0x3C00},   {1 + 3 * 0x1p-11f, 0x3C02},
        {1 + 0x1.8p-11f, 0x3C01}, {65504, 0x7BFF},
        {65519, 0x7BFF},          {65520, 0x7C00},
        {-1e9f, 0xFC00},          {0x1p-24f, 0x0001},
        {0x1p-25f, 0x0000},       {0x1.8p-25f, 0x0001},
        {0x1p-26f, 0x0000},       {-0.0f, 0x8000},
        {0x1.ff8p-15f, 0x03FF},   {0x1p-14f, 0x0400},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint16_t h;

        enso_f32_to_f16(&rows[i].f, &h, 1);
        ck_assert_msg(h == rows[i].h, "%a gives %04x, not %04x", (double)rows[i].f, h, rows[i].h);
    }
}
END_TEST

START_TEST(test_tensor_bf16)
{
    static const struct {
        float f;
        uint16_t b;
    } rows[] = {{1, 0x3F80},
                {1 + 0x1p-8f, 0x3F80},
                {1 + 3 * 0x1p-8f, 0x3F82},
                {-2.5f, 0xC020},
                {INFINITY, 0x7F80}};

    for (unsigned i = 0; i < 65536; i++) {
        uint16_t b = (uint16_t)i, again;
        float f;

        enso_bf16_to_f32(&b, &f, 1);
        ck_assert_uint_eq(bits_of(f), i << 16);
        enso_f32_to_bf16(&f, &again, 1);
        ck_assert_uint_eq(again, isnan(f) ? (b | 0x40) : b);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint16_t b;

        enso_f32_to_bf16(&rows[i].f, &b, 1);
        ck_assert_uint_eq(b, rows[i].b);
    }
}
END_TEST

START_TEST(test_tensor_sizes)
{
    enum enso_dtype dtype;
    int64_t n;

    ck_assert_uint_eq(enso_dtype_row_bytes(ENSO_DTYPE_F16, 7), 14);
    ck_assert_uint_eq(enso_dtype_row_bytes(ENSO_DTYPE_F64, SIZE_MAX / 4), SIZE_MAX);
    ck_assert(enso_dims_count((int64_t[]){2, 3, 4}, 3, &n) && n == 24);
    ck_assert(enso_dims_count(NULL, 0, &n) && n == 1);
    ck_assert(enso_dims_count((int64_t[]){INT64_MAX, 0}, 2, &n) && n == 0);
    ck_assert(!enso_dims_count((int64_t[]){INT64_MAX, 2}, 2, &n));
    ck_assert(!enso_dims_count((int64_t[]){-1}, 1, &n));
    ck_assert(enso_dtype_from_v2("INT64", &dtype) && dtype == ENSO_DTYPE_I64);
    ck_assert(!enso_dtype_from_v2("BYTES", &dtype));
    ck_assert(enso_dtype_from_safetensors("BF16", &dtype) && dtype == ENSO_DTYPE_BF16);
    ck_assert_str_eq(enso_dtype_name(ENSO_DTYPE_U8), "UINT8");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/tensor");
    TCase *core = tcase_create("core");

    tcase_add_test(core, test_tensor_f16_to_f32_every_value);
    tcase_add_test(core, test_tensor_f16_to_f32_lengths);
    tcase_add_test(core, test_tensor_f32_to_f16_and_back);
    tcase_add_test(core, test_tensor_f32_to_f16_rounds_to_even);
    tcase_add_test(core, test_tensor_bf16);
    tcase_add_test(core, test_tensor_sizes);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
