/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/image/resize: every filter against Pillow, windows against the whole, and the extremes.
 */
#include "engine/image/resize.h"

#include <check.h>

#include "tests/engine/image/image_test.h"

static const char *const names[ENSO_RESAMPLE_N] = {"nearest", "lanczos", "bilinear",
                                                   "bicubic", "box",     "hamming"};

static void check_resize_row(const json_t *row)
{
    struct enso_image image =
        decode_golden(row_string(row, "file"), (uint8_t)row_number(row, "channels"));
    int filter = enso_resample_from_name(row_string(row, "filter"));
    ck_assert_int_ge(filter, 0);
    struct enso_image out;
    ck_assert_int_eq(enso_image_resize(&image, row_number(row, "width"), row_number(row, "height"),
                                       (enum enso_resample)filter, NULL, &out, NULL),
                     ENSO_OK);
    check_pixels(row, &out, 0);
    enso_image_done(&out);
    enso_image_done(&image);
}

START_TEST(test_resize_is_pillows)
{
    ck_assert_uint_eq(each_line("resize.jsonl", check_resize_row), 72);
}
END_TEST

START_TEST(test_resize_names)
{
    for (int i = 0; i < ENSO_RESAMPLE_N; i++) {
        ck_assert_str_eq(enso_resample_name(i), names[i]);
        ck_assert_int_eq(enso_resample_from_name(names[i]), i);
    }
    ck_assert_ptr_null(enso_resample_name(-1));
    ck_assert_ptr_null(enso_resample_name(ENSO_RESAMPLE_N));
    ck_assert_int_eq(enso_resample_from_name("Bilinear"), -1);
}
END_TEST

static struct enso_image noise(uint32_t width, uint32_t height, uint8_t channels)
{
    size_t n = (size_t)width * height * channels;
    struct enso_image image = {width, height, channels, enso_alloc(n)};
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        image.pixels[i] = (uint8_t)(state >> 24);
    }
    return image;
}

/* A window has the pixels of the whole at its place, also where rows are done in several bands. */
START_TEST(test_resize_window_is_a_part_of_the_whole)
{
    static const struct {
        uint32_t width, height, to_width, to_height;
        struct enso_image_window window;
    } cases[] = {
        {50, 40, 31, 29, {0, 0, 31, 29}},         {50, 40, 31, 29, {30, 28, 1, 1}},
        {50, 40, 90, 70, {20, 11, 33, 40}},       {50, 40, 50, 70, {20, 11, 13, 40}},
        {50, 40, 90, 40, {20, 11, 33, 20}},       {50, 40, 50, 40, {7, 3, 5, 6}},
        {900, 700, 800, 1500, {1, 2, 700, 1400}},
    };
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++)
        for (uint8_t channels = 1; channels <= 3; channels += 2) {
            struct enso_image image = noise(cases[i].width, cases[i].height, channels), whole, part;
            const struct enso_image_window *w = &cases[i].window;
            enum enso_resample filter = (enum enso_resample)(i % ENSO_RESAMPLE_N);
            ck_assert_int_eq(enso_image_resize(&image, cases[i].to_width, cases[i].to_height,
                                               filter, NULL, &whole, NULL),
                             ENSO_OK);
            ck_assert_int_eq(enso_image_resize(&image, cases[i].to_width, cases[i].to_height,
                                               filter, w, &part, NULL),
                             ENSO_OK);
            for (uint32_t y = 0; y < w->height; y++)
                ck_assert_mem_eq(part.pixels + (size_t)y * w->width * channels,
                                 whole.pixels +
                                     ((size_t)(w->y + y) * whole.width + w->x) * channels,
                                 w->width * channels);
            enso_image_done(&part);
            enso_image_done(&whole);
            enso_image_done(&image);
        }
}
END_TEST

START_TEST(test_resize_keeps_a_flat_colour)
{
    for (int filter = 0; filter < ENSO_RESAMPLE_N; filter++)
        for (unsigned value = 0; value <= 255; value += 51) {
            struct enso_image image = noise(37, 23, 3), out;
            memset(image.pixels, (int)value, 37 * 23 * 3);
            ck_assert_int_eq(
                enso_image_resize(&image, 11, 50, (enum enso_resample)filter, NULL, &out, NULL),
                ENSO_OK);
            for (size_t i = 0; i < 11 * 50 * 3; i++)
                ck_assert_uint_eq(out.pixels[i], value);
            enso_image_done(&out);
            enso_image_done(&image);
        }
}
END_TEST

/* A picture one pixel high, resized to 256 rows of 16 million columns: only the crop is made. */
START_TEST(test_resize_extremes_cost_what_the_window_costs)
{
    const struct enso_image_window window = {8388480, 16, 224, 224};
    struct enso_image image = noise(65535, 1, 3), out;
    for (int filter = 0; filter < ENSO_RESAMPLE_N; filter++) {
        ck_assert_int_eq(enso_image_resize(&image, 65535 * 256, 256, (enum enso_resample)filter,
                                           &window, &out, NULL),
                         ENSO_OK);
        ck_assert_uint_eq(out.width, 224);
        enso_image_done(&out);
        ck_assert_int_eq(
            enso_image_resize(&image, 1, 1, (enum enso_resample)filter, NULL, &out, NULL), ENSO_OK);
        enso_image_done(&out);
    }
    enso_image_done(&image);
}
END_TEST

START_TEST(test_resize_refuses_nonsense)
{
    struct enso_image image = noise(4, 4, 1), out = {0};
    static const struct {
        uint32_t width, height;
        struct enso_image_window window;
        enum enso_status status;
    } cases[] = {
        {0, 4, {0, 0, 1, 1}, ENSO_INVALID},
        {4, 0, {0, 0, 1, 1}, ENSO_INVALID},
        {8, 8, {0, 0, 0, 1}, ENSO_INVALID},
        {8, 8, {8, 0, 1, 1}, ENSO_INVALID},
        {8, 8, {1, 0, UINT32_MAX, 1}, ENSO_INVALID},
        {8, 8, {0, 9, 1, 1}, ENSO_INVALID},
        {UINT32_MAX, 8, {0, 0, 1, 1}, ENSO_TOO_LARGE},
        {1 << 15, 1 << 15, {0, 0, 1 << 15, 1 << 15}, ENSO_TOO_LARGE},
    };
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_error err = {0};
        ck_assert_int_eq(enso_image_resize(&image, cases[i].width, cases[i].height,
                                           ENSO_RESAMPLE_BOX, &cases[i].window, &out, &err),
                         cases[i].status);
        ck_assert(err.message[0] != '\0' && out.pixels == NULL);
    }
    enso_image_done(&image);
}
END_TEST

START_TEST(test_resize_oom)
{
    struct enso_image image = noise(20, 20, 3), out;
    enum enso_status st = ENSO_NO_MEMORY;
    for (uint64_t n = 1; st != ENSO_OK; n++) {
        ck_assert_uint_lt(n, 20);
        (void)enso_memory_fail_at(n);
        st = enso_image_resize(&image, 7, 9, (enum enso_resample)_i, NULL, &out, NULL);
        (void)enso_memory_fail_at(0);
        ck_assert(st == ENSO_OK || st == ENSO_NO_MEMORY);
    }
    enso_image_done(&out);
    enso_image_done(&image);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/resize");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_resize_is_pillows);
    tcase_add_test(core, test_resize_names);
    tcase_add_test(core, test_resize_window_is_a_part_of_the_whole);
    tcase_add_test(core, test_resize_keeps_a_flat_colour);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_set_timeout(limits, 30);
    tcase_add_test(limits, test_resize_extremes_cost_what_the_window_costs);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_resize_refuses_nonsense);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");
    tcase_add_loop_test(oom, test_resize_oom, 0, ENSO_RESAMPLE_N);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
