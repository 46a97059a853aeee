/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/formats/weights_file: slices, refusals, and files that change under the reader. Every
 * test works in a folder of its own that it removes.
 */
#include "engine/formats/weights_file.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static char folder[64];
static char path[128], other[128];

static void set_up(void)
{
    strcpy(folder, "/tmp/ensod-weights-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
}

static void tear_down(void)
{
    unlink(path);
    unlink(other);
    rmdir(folder);
}

static void write_file(const char *name, const char *data, size_t size)
{
    FILE *f = fopen(name, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    fclose(f);
}

static struct enso_weights_file *open_ten(void)
{
    struct enso_weights_file *file;

    write_file(path, "0123456789", 10);
    ck_assert_int_eq(enso_weights_file_open(path, &file, NULL), ENSO_OK);
    return file;
}

START_TEST(test_weights_file_reads_slices)
{
    struct enso_weights_file *file = open_ten();
    struct enso_weights_identity identity;
    char bytes[10];

    ck_assert_int_eq(enso_weights_file_read(file, 0, bytes, 10, NULL), ENSO_OK);
    ck_assert_mem_eq(bytes, "0123456789", 10);
    ck_assert_int_eq(enso_weights_file_read(file, 7, bytes, 3, NULL), ENSO_OK);
    ck_assert_mem_eq(bytes, "789", 3);
    ck_assert_int_eq(enso_weights_file_read(file, 10, bytes, 0, NULL), ENSO_OK);
    ck_assert_str_eq(enso_weights_file_path(file), path);
    ck_assert_uint_eq(enso_weights_file_size(file), 10);
    enso_weights_file_identity(file, &identity);
    ck_assert_uint_eq(identity.size_bytes, 10);
    ck_assert_int_gt(identity.modified_ns, 0);
    ck_assert_int_eq(enso_weights_file_check(file, NULL), ENSO_OK);
    ck_assert_ptr_null(enso_weights_file_unref(file));
}
END_TEST

START_TEST(test_weights_file_lives_to_the_last_owner)
{
    struct enso_weights_file *file = open_ten();
    char c;

    ck_assert_ptr_eq(enso_weights_file_ref(file), file);
    enso_weights_file_unref(file);
    ck_assert_int_eq(enso_weights_file_read(file, 5, &c, 1, NULL), ENSO_OK);
    ck_assert_int_eq(c, '5');
    enso_weights_file_unref(file);
    ck_assert_ptr_null(enso_weights_file_unref(NULL));
}
END_TEST

START_TEST(test_weights_file_is_close_on_exec)
{
    struct enso_weights_file *file = open_ten();
    int fd = open("/dev/null", O_RDONLY); /* the next free number: ours is the one before */

    ck_assert_int_gt(fd, 0);
    ck_assert_int_ne(fcntl(fd - 1, F_GETFD) & FD_CLOEXEC, 0);
    close(fd);
    enso_weights_file_unref(file);
}
END_TEST

START_TEST(test_weights_file_end)
{
    struct enso_weights_file *file = open_ten();
    struct enso_error err = {0};
    char bytes[20];

    ck_assert_int_eq(enso_weights_file_read(file, 8, bytes, 3, &err), ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    ck_assert_ptr_nonnull(strstr(err.message, "ends at or before byte 10, but 1 more"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_weights_file_read(file, 11, bytes, 1, &err), ENSO_CORRUPT);
    ck_assert_int_eq(enso_weights_file_read(file, UINT64_MAX, bytes, 2, NULL), ENSO_CORRUPT);
    ck_assert_int_eq(enso_weights_file_read(file, INT64_MAX, bytes, 2, NULL), ENSO_CORRUPT);
    enso_weights_file_unref(file);
}
END_TEST

START_TEST(test_weights_file_refuses_what_is_not_a_file)
{
    struct enso_error err = {0};
    struct enso_weights_file *file;

    ck_assert_int_eq(enso_weights_file_open(path, &file, &err), ENSO_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_weights_file_open(folder, &file, &err), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "a folder"));
    ck_assert_int_eq(enso_weights_file_open("/dev/zero", &file, NULL), ENSO_INVALID);
    ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not wait for a writer */
    ck_assert_int_eq(enso_weights_file_open(path, &file, NULL), ENSO_INVALID);
}
END_TEST

START_TEST(test_weights_file_sees_changes)
{
    struct enso_error err = {0};
    struct enso_weights_file *file = open_ten();
    struct timespec later[2] = {{.tv_sec = 2000000000, .tv_nsec = 1},
                                {.tv_sec = 2000000000, .tv_nsec = 1}};
    char bytes[10];

    ck_assert_int_eq(truncate(path, 5), 0);
    ck_assert_int_eq(enso_weights_file_read(file, 0, bytes, 10, &err), ENSO_CORRUPT);
    enso_error_clear(&err);
    ck_assert_int_eq(enso_weights_file_check(file, &err), ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "changed or truncated"));
    enso_error_clear(&err);
    enso_weights_file_unref(file);

    file = open_ten();
    ck_assert_int_eq(utimensat(AT_FDCWD, path, later, 0), 0); /* same size, another time */
    ck_assert_int_eq(enso_weights_file_check(file, NULL), ENSO_CORRUPT);
    enso_weights_file_unref(file);

    file = open_ten();
    write_file(other, "9876543210", 10);
    ck_assert_int_eq(rename(other, path), 0);
    ck_assert_int_eq(enso_weights_file_read(file, 0, bytes, 1, NULL), ENSO_OK); /* the old one */
    ck_assert_int_eq(bytes[0], '0');
    ck_assert_int_eq(enso_weights_file_check(file, &err), ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "replaced"));
    enso_error_clear(&err);
    enso_weights_file_unref(file);

    file = open_ten();
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(enso_weights_file_check(file, &err), ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "removed"));
    enso_weights_file_unref(file);
}
END_TEST

START_TEST(test_weights_file_oom)
{
    enum enso_status st = ENSO_NO_MEMORY;
    struct enso_weights_file *file = NULL;
    uint64_t n;

    write_file(path, "1", 1);
    for (n = 1; st == ENSO_NO_MEMORY; n++) {
        ck_assert_uint_lt(n, 10);
        enso_memory_fail_at(n);
        st = enso_weights_file_open(path, &file, NULL);
        enso_memory_fail_at(0);
    }
    ck_assert_int_eq(st, ENSO_OK);
    ck_assert_uint_gt(n, 2);
    enso_weights_file_unref(file);
}
END_TEST

/* Each thread holds its own reference and reads its own pattern of slices. */
static void *read_many(void *arg)
{
    struct enso_weights_file *file = arg;
    bool *ok = malloc(sizeof *ok);

    *ok = true;
    for (unsigned i = 0; i < 2000; i++) {
        unsigned offset = i * 7 % 10, size = i * 3 % (11 - offset);
        char bytes[10];

        if (enso_weights_file_read(file, offset, bytes, size, NULL) != ENSO_OK ||
            memcmp(bytes, "0123456789" + offset, size) != 0)
            *ok = false;
        enso_weights_file_unref(enso_weights_file_ref(file));
    }
    enso_weights_file_unref(file);
    return ok;
}

START_TEST(test_weights_file_threads)
{
    struct enso_weights_file *file = open_ten();
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_many, enso_weights_file_ref(file)),
                         0);
    enso_weights_file_unref(file);
    for (int i = 0; i < 4; i++) {
        void *ok;

        pthread_join(threads[i], &ok);
        ck_assert(*(bool *)ok);
        free(ok);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/weights_file");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom"),
          *threads = tcase_create("threads");
    TCase *all[] = {core, limits, errors, oom, threads};
    SRunner *runner;
    int failed;

    tcase_add_test(core, test_weights_file_reads_slices);
    tcase_add_test(core, test_weights_file_lives_to_the_last_owner);
    tcase_add_test(core, test_weights_file_is_close_on_exec);
    tcase_add_test(limits, test_weights_file_end);
    tcase_add_test(errors, test_weights_file_refuses_what_is_not_a_file);
    tcase_add_test(errors, test_weights_file_sees_changes);
    tcase_add_test(oom, test_weights_file_oom);
    tcase_add_test(threads, test_weights_file_threads);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++) {
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        suite_add_tcase(s, all[i]);
    }
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
