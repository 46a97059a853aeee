/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/server_timing.h: a header as ensod writes it, others' headers, and nonsense.
 */
#include "cli/server_timing.h"

#include <string.h>

#include "tests/support/support.h"

#define MAX 4

static size_t parse(const char *value, struct enso_server_timing out[MAX])
{
    size_t size = strlen(value), n;
    char *guarded = enso_test_guard_copy(value, size); /* reading past the end crashes */

    n = enso_server_timing_parse(guarded, size, out, MAX);
    enso_test_guard_free(guarded, size);
    return n;
}

START_TEST(test_server_timing_of_ensod)
{
    struct enso_server_timing t[MAX];

    ck_assert_uint_eq(parse(" queue;dur=0.012, pre;dur=0.2, compute;dur=13.5, post;dur=0\r\n", t),
                      4);
    ck_assert_str_eq(t[0].name, "queue");
    ck_assert_double_eq(t[0].ms, 0.012);
    ck_assert_str_eq(t[2].name, "compute");
    ck_assert_double_eq(t[2].ms, 13.5);
    ck_assert_str_eq(t[3].name, "post");
    ck_assert_double_eq(t[3].ms, 0);
}
END_TEST

START_TEST(test_server_timing_of_others)
{
    struct enso_server_timing t[MAX];

    ck_assert_uint_eq(parse("miss, db ; desc=\"a, b;dur=9\" ; DUR = 53 ,app;dur=\"47.2\"", t), 2);
    ck_assert_str_eq(t[0].name, "db");
    ck_assert_double_eq(t[0].ms, 53);
    ck_assert_str_eq(t[1].name, "app");
    ck_assert_double_eq(t[1].ms, 47.2);
    ck_assert_uint_eq(parse("a;dur=1,b;dur=2,c;dur=3,d;dur=4,e;dur=5", t), MAX);
    ck_assert_uint_eq(parse("a-name-that-is-longer-than-its-room;dur=1", t), 1);
    ck_assert_str_eq(t[0].name, "a-name-that-is-longer-t");
}
END_TEST

START_TEST(test_server_timing_nonsense)
{
    static const char *const nonsense[] = {
        "",
        ",",
        ";",
        "=",
        ";;;",
        "a;dur",
        "a;dur=",
        "a;dur=x",
        "a;dur=-1",
        "a;dur=1e999",
        "a;dur=nan",
        "a;dur=0x10",
        "a;desc=\"",
        "a;desc=\"\\",
        ";dur=1",
        "\"a\";dur=1",
        "a dur=1",
        "\x01;dur=1",
        "\xff;dur=1",
        "a;dur=1.5.5",
        "a;dur=1 2;x",
        "a;dur=11111111111111111111111111111111111",
    };
    struct enso_server_timing t[MAX];

    for (size_t i = 0; i + 1 < ENSO_ARRAY_SIZE(nonsense); i++)
        ck_assert_msg(parse(nonsense[i], t) == (strcmp(nonsense[i], "a;dur=1 2;x") == 0), "%s",
                      nonsense[i]);
    ck_assert_uint_eq(parse(nonsense[ENSO_ARRAY_SIZE(nonsense) - 1], t), 0);
    /* what is malformed does not hide what follows */
    ck_assert_uint_eq(parse("a;dur=x, b;dur=2", t), 1);
    ck_assert_str_eq(t[0].name, "b");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/server_timing");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_add_test(core, test_server_timing_of_ensod);
    tcase_add_test(core, test_server_timing_of_others);
    tcase_add_test(errors, test_server_timing_nonsense);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}
ENSO_TEST_MAIN(suite)
