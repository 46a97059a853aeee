/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/buffer.h.
 */
#include "base/buffer.h"

#include <string.h>

#include "base/memory.h"
#include "tests/support/support.h"

START_TEST(test_buffer_appends)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    ck_assert_ptr_null(b.data);
    enso_buffer_puts(&b, "hello ");
    enso_buffer_printf(&b, "%d %s", 7, "x");
    enso_buffer_putc(&b, '!');
    enso_buffer_append(&b, "a\0b", 3);
    enso_buffer_append(&b, NULL, 0);
    ck_assert_uint_eq(b.size, 13);
    ck_assert_mem_eq(b.data, "hello 7 x!a\0b", 14);
    enso_buffer_clear(&b);
    ck_assert_uint_eq(b.size, 0);
    ck_assert_str_eq(b.data, "");
    enso_buffer_done(&b);
    enso_buffer_done(&b);
    ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(test_buffer_grows)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    for (int i = 0; i < 100000; i++)
        enso_buffer_printf(&b, "%d,", i % 10);
    ck_assert(!b.failed);
    ck_assert_uint_eq(b.size, 200000);
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(b.data[2 * i], '0' + i % 10);
    ck_assert_uint_lt(b.capacity, 400001);
    enso_buffer_done(&b);
}
END_TEST

/* printf lengths around the free room. */
START_TEST(test_buffer_printf_at_the_brim)
{
    for (int first = 200; first < 300; first++) {
        struct enso_buffer b = ENSO_BUFFER_INIT;

        enso_buffer_printf(&b, "%*s", first, "a");
        enso_buffer_printf(&b, "%*s", 50, "b");
        ck_assert_uint_eq(b.size, (size_t)first + 50);
        ck_assert_uint_eq(strlen(b.data), b.size);
        ck_assert_int_eq(b.data[b.size - 1], 'b');
        enso_buffer_done(&b);
    }
}
END_TEST

START_TEST(test_buffer_limit)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    b.limit = 10;
    enso_buffer_puts(&b, "0123456789");
    ck_assert(!b.failed);
    enso_buffer_putc(&b, 'x');
    ck_assert(b.failed);
    enso_buffer_puts(&b, "");
    enso_buffer_printf(&b, "y");
    ck_assert_uint_eq(b.size, 10);
    ck_assert_str_eq(b.data, "0123456789");
    ck_assert_ptr_null(enso_buffer_detach(&b, NULL));
    enso_buffer_clear(&b);
    ck_assert(!b.failed);
    enso_buffer_printf(&b, "%s", "01234567890"); /* over by one, in one go */
    ck_assert(b.failed);
    ck_assert_uint_eq(strlen(b.data), b.size);
    ck_assert(!enso_buffer_reserve(&b, SIZE_MAX));
    enso_buffer_done(&b);
    ck_assert_uint_eq(b.limit, 10);
    ck_assert(!enso_buffer_reserve(&b, SIZE_MAX));
    enso_buffer_done(&b);
}
END_TEST

START_TEST(test_buffer_json_strings)
{
    static const struct {
        const char *text;
        size_t size;
        const char *json;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"q\"b\\s/", 6, "\"q\\\"b\\\\s/\""},
        {"n\nt\tz\0e\x1F", 8, "\"n\\nt\\u0009z\\u0000e\\u001f\""},
        {"\x7F", 1, "\"\x7F\""},
        {"\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\""},
        {"a\xFFz", 3, "\"a\xEF\xBF\xBDz\""},
        {"\xC3", 1, "\"\xEF\xBF\xBD\""},
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_buffer b = ENSO_BUFFER_INIT;
        char *text = enso_test_guard_copy(cases[i].text, cases[i].size);

        enso_buffer_put_json_string(&b, text, cases[i].size);
        ck_assert_str_eq(b.data, cases[i].json);
        enso_buffer_done(&b);
        enso_test_guard_free(text, cases[i].size);
    }
}
END_TEST

START_TEST(test_buffer_detach)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    size_t size = 7;
    char *text = enso_buffer_detach(&b, &size);

    ck_assert_str_eq(text, "");
    ck_assert_uint_eq(size, 0);
    enso_free(text);
    enso_buffer_puts(&b, "abc");
    text = enso_buffer_detach(&b, &size);
    ck_assert_str_eq(text, "abc");
    ck_assert_uint_eq(size, 3);
    ck_assert_ptr_null(b.data);
    enso_free(text);
}
END_TEST

static enum enso_status build(void *context, struct enso_error *err)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    enum enso_status st;

    (void)context;
    for (int i = 0; i < 300; i++)
        enso_buffer_printf(&b, "%d ", i);
    enso_buffer_put_json_string(&b, "\n\n", 2);

    char *text = enso_buffer_detach(&b, NULL);

    st = text != NULL ? ENSO_OK : enso_error_no_memory(err, "text");
    enso_free(text);
    enso_buffer_done(&b);
    return st;
}

START_TEST(test_buffer_oom)
{
    ck_assert_uint_gt(enso_test_oom_sweep(build, NULL), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/buffer");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");
    TCase *oom = tcase_create("oom");

    tcase_add_test(core, test_buffer_appends);
    tcase_add_test(core, test_buffer_grows);
    tcase_add_test(core, test_buffer_printf_at_the_brim);
    tcase_add_test(core, test_buffer_json_strings);
    tcase_add_test(core, test_buffer_detach);
    tcase_add_test(limits, test_buffer_limit);
    tcase_add_test(oom, test_buffer_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
