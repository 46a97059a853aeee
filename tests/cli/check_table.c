/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/table.h and, below it, cli/stream.h: records and their lines, and bytes that mean
 * harm.
 */
#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/buffer.h"
#include "cli/stream.h"
#include "tests/support/support.h"

/* All records as "line:field|field;", or the sentence of the error behind "!". */
static char *render(const char *bytes, size_t size, bool tabbed)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    struct enso_error err = {0};
    struct enso_stream *stream = NULL;
    struct enso_table *table = NULL;
    const struct enso_table_record *record;
    bool more = true;
    char *copy;
    enum enso_status st = enso_stream_open_memory(bytes, size, "test", &stream, &err);

    if (st == ENSO_OK)
        st = enso_table_open_stream(stream, tabbed, &table, &err);
    while (st == ENSO_OK && (st = enso_table_next(table, &record, &more, &err)) == ENSO_OK &&
           more) {
        enso_buffer_printf(&b, "%u:", (unsigned)record->line);
        for (size_t i = 0; i < record->n; i++) {
            ck_assert_uint_eq(strlen(record->fields[i]), record->sizes[i]);
            enso_buffer_printf(&b, "%s%s", i != 0 ? "|" : "", record->fields[i]);
        }
        enso_buffer_putc(&b, ';');
    }
    if (st == ENSO_OK) { /* and it stays at its end */
        ENSO_TEST_OK(enso_table_next(table, &record, &more, &err), &err);
        ck_assert(!more);
    } else {
        ck_assert_int_ne(st, ENSO_NO_MEMORY);
        enso_buffer_printf(&b, "!%s", err.message);
    }
    enso_table_close(table);
    copy = enso_test_format("%s", b.data != NULL ? b.data : "");
    enso_buffer_done(&b);
    return copy;
}

static void check(const char *text, bool tabbed, const char *expected)
{
    char *found = render(text, strlen(text), tabbed);

    ck_assert_str_eq(found, expected);
    free(found);
}

static void check_bytes(const char *bytes, size_t size, const char *part)
{
    char *found = render(bytes, size, false);

    ENSO_TEST_CONTAINS(found, part);
    free(found);
}

START_TEST(test_table_csv)
{
    check("a,b\nc,d\n", false, "1:a|b;2:c|d;");
    check("a,b\r\nc,d\r\n", false, "1:a|b;2:c|d;");
    check("a,b\rc,d", false, "1:a|b;2:c|d;");
    check("a,b\r\rc,\"d\re\"\r\n\nf,g\n\rh,i", false, "1:a|b;3:c|d\re;6:f|g;8:h|i;");
    check("\"a,\"\"x\"\"\",b\n", false, "1:a,\"x\"|b;");
    check("\"one\ntwo\r\nthree\",b\nc,d", false, "1:one\ntwo\r\nthree|b;4:c|d;");
    check("\n\n\r\na,b\n\nc,d\n\n", false, "4:a|b;6:c|d;");
    check("a,\n,b\n,\n\"\"\n", false, "1:a|;2:|b;3:|;4:;");
    check(" a , b \n", false, "1: a | b ;");
    check("5\" screen,b\n", false, "1:5\" screen|b;");
    check("\xef\xbb\xbf\"a\",b\n", false, "1:a|b;");
    check("", false, "");
    check("\n", false, "");
    check("alone", false, "1:alone;");
}
END_TEST

START_TEST(test_table_tsv)
{
    check("0\t\"no movement , no yuks\n1\tit 's \"good\"\n", true,
          "1:0|\"no movement , no yuks;2:1|it 's \"good\";");
    ck_assert(enso_table_is_tabbed("x.tsv"));
    ck_assert(enso_table_is_tabbed("x.TSV.gz"));
    ck_assert(enso_table_is_tabbed("x.tab"));
    ck_assert(!enso_table_is_tabbed("x.csv"));
    ck_assert(!enso_table_is_tabbed(".tsv"));
    ck_assert(!enso_table_is_tabbed("tsv"));
    ck_assert(!enso_table_is_tabbed(".gz"));
}
END_TEST

START_TEST(test_table_across_blocks)
{
    size_t n = 200000;
    char *text = malloc(n + 16), *found, *expected = malloc(n + 16);

    /* a field that no block holds, a record behind it */
    ck_assert(text != NULL && expected != NULL);
    memset(text, 'x', n);
    memcpy(text + n, ",b\n\"c\",d", 9);
    found = render(text, n + 8, false);
    memcpy(expected, "1:", 2);
    memset(expected + 2, 'x', n);
    memcpy(expected + 2 + n, "|b;2:c|d;", 10);
    ck_assert_str_eq(found, expected);
    free(found);
    free(expected);
    free(text);
}
END_TEST

START_TEST(test_table_limits)
{
    size_t n = (size_t)8 << 20;
    char *text = malloc(n);

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', n);
    memcpy(text, "a,b\n\n", 5);
    check_bytes(text, n, "'test', line 3: a field is over 1 MiB");
    text[5] = '"'; /* a quote without its end swallows the rest */
    for (size_t i = 1000; i < n; i += 1000)
        text[i] = '\n';
    check_bytes(text, n, "line 3: a field is over 1 MiB; does a quote lack its end?");
    memset(text, ',', n);
    check_bytes(text, n, "line 1: more than 1,000 fields");
    memset(text, ',', 999);
    check_bytes(text, 999, "1:|||");
    check_bytes(text, 1000, "more than 1,000 fields");
    memset(text, 'x', n); /* fields of half a MiB */
    for (size_t i = 0; i < n; i += 1 << 19)
        text[i] = ',';
    check_bytes(text, n, "line 1: more than 8 MiB in one record");
    free(text);
}
END_TEST

START_TEST(test_table_errors)
{
    check_bytes("a,b\nc,\0\n", 8, "'test', line 2: a NUL byte");
    check_bytes("a,b\n\"c\nd\ne\0\",", 14, "line 2: a NUL byte"); /* where the record began */
    check_bytes("\xff\xfe"
                "a\0,\0",
                6, "line 1: this is UTF-16");
    check_bytes("\xfe\xff\0a\0,", 6, "line 1: this is UTF-16");
    check_bytes("a,b\n\"c,d\ne", 10, "line 2: a quoted field has no end");
    check_bytes("\"", 1, "line 1: a quoted field has no end");
}
END_TEST

static size_t gzip(const char *bytes, size_t size, unsigned char *out, size_t capacity)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    size_t used = 0;

    ck_assert_int_eq(archive_write_set_format_raw(a), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_add_filter_gzip(a), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_open_memory(a, out, capacity, &used), ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    ck_assert_int_eq(archive_write_header(a, entry), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_data(a, bytes, size), (int)size);
    ck_assert_int_eq(archive_write_free(a), ARCHIVE_OK);
    archive_entry_free(entry);
    return used;
}

START_TEST(test_table_gzip)
{
    unsigned char packed[20000];
    char text[4000];
    uint64_t random = 3;
    size_t n = gzip("a,b\nc,d\n", 8, packed, sizeof packed);

    check_bytes((char *)packed, n, "1:a|b;2:c|d;");
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 50 == 49 ? '\n' : (char)('a' + enso_test_random(&random) % 26);
    n = gzip(text, sizeof text, packed, sizeof packed);
    for (size_t cut = n - 9; cut > 100; cut /= 2)
        check_bytes((char *)packed, cut, "!'test': "); /* cut off: an error, not an end */
}
END_TEST

START_TEST(test_table_files)
{
    struct enso_error err = {0};
    struct enso_table *table = NULL;
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/x.csv", dir);

    ck_assert_int_eq(enso_table_open(path, &table, &err), ENSO_NOT_FOUND);
    ENSO_TEST_CONTAINS(err.message, path);
    enso_error_clear(&err);
    ck_assert_int_eq(enso_table_open(dir, &table, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "not a regular file");
    enso_error_clear(&err);
    enso_test_write_file(path, "a,b\n", 4);
    ENSO_TEST_OK(enso_table_open(path, &table, &err), &err);
    ck_assert_str_eq(enso_table_name(table), path);
    enso_table_close(table);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static enum enso_status read_all(void *context, struct enso_error *err)
{
    const char *text = context;
    struct enso_stream *stream = NULL;
    struct enso_table *table = NULL;
    const struct enso_table_record *record;
    bool more = true;
    enum enso_status st = enso_stream_open_memory(text, strlen(text), "test", &stream, err);

    if (st == ENSO_OK)
        st = enso_table_open_stream(stream, false, &table, err);
    while (st == ENSO_OK && more)
        st = enso_table_next(table, &record, &more, err);
    enso_table_close(table);
    return st;
}

START_TEST(test_table_out_of_memory)
{
    char text[20000];

    memset(text, 'x', sizeof text);
    memcpy(text, "a,b\n\"c\"\"\nd\",e\n", 14);
    text[sizeof text - 1] = '\0';
    ck_assert_uint_gt(enso_test_oom_sweep(read_all, text), 5);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/table");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");

    tcase_add_test(core, test_table_csv);
    tcase_add_test(core, test_table_tsv);
    tcase_add_test(core, test_table_across_blocks);
    tcase_add_test(core, test_table_gzip);
    tcase_add_test(limits, test_table_limits);
    tcase_add_test(errors, test_table_errors);
    tcase_add_test(errors, test_table_files);
    tcase_add_test(oom, test_table_out_of_memory);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}
ENSO_TEST_MAIN(suite)
