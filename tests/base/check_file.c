/* SPDX-License-Identifier: Apache-2.0
 *
 * base/file: whole files with a limit. Every test works in a folder of its own that it removes.
 */
#include "base/file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static char folder[64];
static char path[128];

static void set_up(void)
{
    strcpy(folder, "/tmp/ensod-file-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static void tear_down(void)
{
    unlink(path);
    rmdir(folder);
}

static void write_file(const char *data, size_t size)
{
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    fclose(f);
}

START_TEST(test_file_reads_all_bytes_and_terminates)
{
    char *data;
    size_t size;

    write_file("a\0b\n", 4);
    ck_assert_int_eq(enso_file_read(path, 4, &data, &size, NULL), ENSO_OK);
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(data, "a\0b\n", 5);
    enso_free(data);

    write_file("", 0);
    ck_assert_int_eq(enso_file_read(path, 0, &data, &size, NULL), ENSO_OK);
    ck_assert_uint_eq(size, 0);
    ck_assert_str_eq(data, "");
    enso_free(data);
}
END_TEST

START_TEST(test_file_join)
{
    char *s = enso_file_join("a", "b");

    ck_assert_str_eq(s, "a/b");
    enso_free(s);
    s = enso_file_join("a/", "b");
    ck_assert_str_eq(s, "a/b");
    enso_free(s);
    s = enso_file_join("", "b");
    ck_assert_str_eq(s, "b");
    enso_free(s);
}
END_TEST

START_TEST(test_file_limit)
{
    struct enso_error err = {0};
    char *data;
    size_t size;

    write_file("12345", 5);
    ck_assert_int_eq(enso_file_read(path, 4, &data, &size, &err), ENSO_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    ck_assert_ptr_nonnull(strstr(err.message, "holds 5 bytes, but at most 4 are read"));
}
END_TEST

START_TEST(test_file_refuses_what_is_not_a_file)
{
    struct enso_error err = {0};
    char *data;
    size_t size;

    ck_assert_int_eq(enso_file_read(path, 9, &data, &size, &err), ENSO_NOT_FOUND);
    ck_assert(!enso_file_exists(path));
    ck_assert(enso_file_exists(folder));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_file_read(folder, 9, &data, &size, &err), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "a folder"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_file_read("/dev/zero", 9, &data, &size, &err), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "a device"));
    enso_error_clear(&err);
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
    ck_assert_int_eq(enso_file_read(path, 9, &data, &size, &err), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "a pipe"));
}
END_TEST

START_TEST(test_file_fill_standard)
{
    struct stat null, found;

    ck_assert_int_eq(stat("/dev/null", &null), 0);
    (void)fflush(NULL);
    (void)close(STDIN_FILENO);
    (void)close(STDERR_FILENO);
    enso_file_fill_standard();
    ck_assert_int_eq(fstat(STDIN_FILENO, &found), 0);
    ck_assert(found.st_rdev == null.st_rdev);
    ck_assert_int_eq(fstat(STDERR_FILENO, &found), 0);
    ck_assert(found.st_rdev == null.st_rdev);

    int next = dup(STDIN_FILENO);

    enso_file_fill_standard(); /* nothing is missing: nothing stays open */
    ck_assert_int_eq(dup(STDIN_FILENO), next + 1);
}
END_TEST

START_TEST(test_file_oom)
{
    enum enso_status st = ENSO_NO_MEMORY;
    char *data = NULL;
    size_t size;
    uint64_t n;

    write_file("12345", 5);
    for (n = 1; st == ENSO_NO_MEMORY; n++) {
        ck_assert_uint_lt(n, 10);
        enso_memory_fail_at(n);
        st = enso_file_read(path, 9, &data, &size, NULL);
        enso_memory_fail_at(0);
    }
    ck_assert_int_eq(st, ENSO_OK);
    ck_assert_uint_eq(n, 3); /* one allocation */
    enso_free(data);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base/file");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(limits, set_up, tear_down);
    tcase_add_checked_fixture(errors, set_up, tear_down);
    tcase_add_checked_fixture(oom, set_up, tear_down);
    tcase_add_test(core, test_file_reads_all_bytes_and_terminates);
    tcase_add_test(core, test_file_join);
    tcase_add_test(core, test_file_fill_standard);
    tcase_add_test(limits, test_file_limit);
    tcase_add_test(errors, test_file_refuses_what_is_not_a_file);
    tcase_add_test(oom, test_file_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
