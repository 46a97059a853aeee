/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/labels.h: what a label of a set means, and maps.
 */
#include "cli/labels.h"

#include <string.h>

#include <jansson.h>

#include "cli/stream.h"
#include "cli/table.h"
#include "tests/support/support.h"

static void init(struct enso_labels *labels, const char *json)
{
    struct enso_error err = {0};
    json_t *names = json_loads(json, 0, NULL);

    ENSO_TEST_OK(enso_labels_init(labels, names, &err), &err);
    json_decref(names);
}

static enum enso_status read_map(struct enso_labels *labels, const char *text,
                                 struct enso_error *err)
{
    struct enso_stream *stream = NULL;
    struct enso_table *table = NULL;
    enum enso_status st = enso_stream_open_memory(text, strlen(text), "map.csv", &stream, err);

    if (st == ENSO_OK)
        st = enso_table_open_stream(stream, false, &table, err);
    if (st == ENSO_OK)
        st = enso_labels_read_map_table(labels, table, err);
    enso_table_close(table);
    return st;
}

START_TEST(test_labels_by_name_and_number)
{
    struct enso_labels l;

    init(&l, "[\"T-shirt/top\",\"Trouser\",\"Ankle boot\",\"10\"]");
    ck_assert_uint_eq(enso_labels_find(&l, "Trouser"), 1);
    ck_assert_uint_eq(enso_labels_find(&l, "ANKLE BOOT"), 2);
    ck_assert_uint_eq(enso_labels_find(&l, "0"), 0);
    ck_assert_uint_eq(enso_labels_find(&l, "3"), 3);
    ck_assert_uint_eq(enso_labels_find(&l, "10"), 3); /* a name before a number */
    ck_assert_uint_eq(enso_labels_find(&l, "4"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find(&l, "-1"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find(&l, "1.0"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find(&l, " 1"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find(&l, ""), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find(&l, "99999999999999999999"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find_exact(&l, "trouser"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find_exact(&l, "1"), ENSO_LABEL_UNKNOWN);
    ck_assert_uint_eq(enso_labels_find_exact(&l, "Trouser"), 1);
    enso_labels_done(&l);
}
END_TEST

START_TEST(test_labels_alike)
{
    struct enso_labels l;

    init(&l, "[\"Polish\",\"polish\",\"crane\",\"Crane\",\"crane\",\"x\",\"x\"]");
    ck_assert_uint_eq(enso_labels_find(&l, "polish"), 1);
    ck_assert_uint_eq(enso_labels_find(&l, "Polish"), 0);
    ck_assert_uint_eq(enso_labels_find(&l, "POLISH"), ENSO_LABEL_UNKNOWN); /* which? */
    ck_assert_uint_eq(enso_labels_find(&l, "crane"), 2); /* the first of the two */
    ck_assert_uint_eq(enso_labels_find(&l, "4"), 2);     /* and its number means it, too */
    ck_assert_uint_eq(enso_labels_find(&l, "X"), 5);     /* one name, twice: not ambiguous */
    enso_labels_done(&l);
}
END_TEST

START_TEST(test_labels_map)
{
    struct enso_labels l;
    struct enso_error err = {0};

    init(&l, "[\"world\",\"sports\",\"business\",\"science\"]");
    ENSO_TEST_OK(read_map(&l, "1,world\n2,1\n\"3\",BUSINESS\n4,science\nnone,\n1,world\n", &err),
                 &err);
    ck_assert_uint_eq(enso_labels_find(&l, "1"), 0);
    ck_assert_uint_eq(enso_labels_find(&l, "2"), 1);
    ck_assert_uint_eq(enso_labels_find(&l, "3"), 2);
    ck_assert_uint_eq(enso_labels_find(&l, "4"), 3);
    ck_assert_uint_eq(enso_labels_find(&l, "none"), ENSO_LABEL_SKIP);
    ck_assert_uint_eq(enso_labels_find(&l, "0"), 0); /* not in the map: as ever */
    ck_assert_uint_eq(enso_labels_find(&l, "Sports"), 1);
    enso_labels_done(&l);
}
END_TEST

static void refuse_map(const char *text, const char *part)
{
    struct enso_labels l;
    struct enso_error err = {0};

    init(&l, "[\"a\",\"b\"]");
    ck_assert_int_eq(read_map(&l, text, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, part);
    enso_labels_done(&l);
}

START_TEST(test_labels_map_errors)
{
    refuse_map("x,a\ny\n", "'map.csv', line 2: 1 field; write two");
    refuse_map("x,a,b\n", "'map.csv', line 1: 3 fields; write two");
    refuse_map("x,a\n\ny,nobody\n", "line 3: the model has no label 'nobody'");
    refuse_map("x,2\n", "line 1: the model has no label '2'");
    refuse_map("x,a\nx,b\n", "maps the label 'x' to two different ones");
    refuse_map("x,a\nx,\n", "maps the label 'x' to two different ones");
    refuse_map("x,\"a\n", "line 1: a quoted field has no end");
}
END_TEST

static void refuse(json_t *names, enum enso_status status, const char *part)
{
    struct enso_labels l;
    struct enso_error err = {0};

    ck_assert_int_eq(enso_labels_init(&l, names, &err), status);
    ENSO_TEST_CONTAINS(err.message, part);
    enso_labels_done(&l); /* also after a failure */
    json_decref(names);
}

START_TEST(test_labels_errors)
{
    json_t *many = json_array();

    for (int i = 0; i <= ENSO_LABELS_MAX; i++)
        ck_assert_int_eq(json_array_append_new(many, json_sprintf("label %d", i)), 0);
    refuse(many, ENSO_TOO_LARGE, "the model has 4097 labels");
    refuse(json_array(), ENSO_INVALID, "no labels");
    refuse(NULL, ENSO_INVALID, "no labels");
    refuse(json_loads("[\"a\",3]", 0, NULL), ENSO_INVALID, "label 1 of the model");
    refuse(json_loads("[\"a\\u0000b\"]", JSON_ALLOW_NUL, NULL), ENSO_INVALID,
           "label 0 of the model");
}
END_TEST

static enum enso_status make(void *context, struct enso_error *err)
{
    struct enso_labels l = {0};
    enum enso_status st = enso_labels_init(&l, context, err);

    if (st == ENSO_OK)
        st = read_map(&l, "x,a\ny,b\n", err);
    enso_labels_done(&l);
    return st;
}

START_TEST(test_labels_out_of_memory)
{
    json_t *names = json_loads("[\"a\",\"b\"]", 0, NULL);

    ck_assert_uint_gt(enso_test_oom_sweep(make, names), 5);
    json_decref(names);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/labels");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");

    tcase_add_test(core, test_labels_by_name_and_number);
    tcase_add_test(core, test_labels_alike);
    tcase_add_test(core, test_labels_map);
    tcase_add_test(errors, test_labels_map_errors);
    tcase_add_test(errors, test_labels_errors);
    tcase_add_test(oom, test_labels_out_of_memory);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}
ENSO_TEST_MAIN(suite)
