/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of timed algorithms and its file: what is stored comes back; a file that is broken, cut
 * short or for another card is refused whole, with a sentence.
 */
#include "ensod_build.h"

#include "kernels/cuda/algorithms.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/support/support.h"

#define TITLE "NVIDIA Card, sm_90, 80000 MiB, driver 13000, cuBLASLt 13.1.0"

/* Entry i of a table of different ones. */
static struct enso__algorithm entry_of(unsigned i)
{
    struct enso__algorithm e = {.product = {.dtype = i % 3 == 0   ? ENSO_DTYPE_F32
                                                     : i % 3 == 1 ? ENSO_DTYPE_F16
                                                                  : ENSO_DTYPE_BF16,
                                            .out_dtype = i % 4 == 0   ? ENSO_DTYPE_F32
                                                         : i % 3 == 1 ? ENSO_DTYPE_F16
                                                                      : ENSO_DTYPE_BF16,
                                            .epilogue = i % 8,
                                            .x_transposed = i % 5 == 0,
                                            .w_transposed = i % 2 == 0,
                                            .residual = i % 7 == 0,
                                            .n = 1 + i,
                                            .k = 999999999 - i,
                                            .ld_x = 3 * i,
                                            .ld_w = 4 * i,
                                            .ld_y = 5 * i},
                                .rows = 16u << i % 10,
                                .us = 0.125f * (float)i,
                                .own = i % 6 == 0};

    if (e.product.residual)
        e.product.ld_residual = 6 * i + 1;
    for (size_t w = 0; !e.own && w < 8; w++)
        e.algorithm.data[w] = UINT64_C(0xfedcba9876543210) * (w + 1) ^ i;
    return e;
}

static void check_same(const struct enso__algorithm *a, const struct enso__algorithm *b)
{
    ck_assert(enso__cublaslt_is_same(&a->product, &b->product));
    ck_assert_uint_eq(a->rows, b->rows);
    ck_assert(a->own == b->own);
    ck_assert_float_eq_tol(a->us, b->us, 0.0006f);
    ck_assert_mem_eq(&a->algorithm, &b->algorithm, sizeof(a->algorithm));
}

static struct enso__algorithms table_of(unsigned n)
{
    struct enso__algorithms a = {.n = 0};
    struct enso_error err = {0};

    for (unsigned i = 0; i < n; i++) {
        struct enso__algorithm e = entry_of(i);

        ck_assert_int_eq(enso__algorithms_put(&a, &e, &err), ENSO_OK);
    }
    return a;
}

START_TEST(test_algorithms_find)
{
    struct enso__algorithms a = table_of(200);
    struct enso__algorithm e = entry_of(77);

    for (unsigned i = 0; i < 200; i++) {
        struct enso__algorithm want = entry_of(i);
        const struct enso__algorithm *got = enso__algorithms_find(&a, &want.product, want.rows);

        ck_assert_ptr_nonnull(got);
        check_same(got, &want);
    }
    ck_assert_ptr_null(enso__algorithms_find(&a, &e.product, e.rows + 1));
    e.product.k--;
    ck_assert_ptr_null(enso__algorithms_find(&a, &e.product, e.rows));
    e = entry_of(77);
    e.us = 42; /* takes the place of the old one */
    ck_assert_int_eq(enso__algorithms_put(&a, &e, NULL), ENSO_OK);
    ck_assert_uint_eq(a.n, 200);
    ck_assert_float_eq(enso__algorithms_find(&a, &e.product, e.rows)->us, 42);
    enso__algorithms_done(&a);
}
END_TEST

static size_t n_files(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

START_TEST(test_algorithms_file)
{
    char *dir = enso_test_make_dir();
    struct enso_error err = {0};

    for (unsigned n = 0; n < 300; n += 100) {
        struct enso__algorithms a = table_of(n), b;

        ENSO_TEST_OK((enum enso_status)enso__algorithms_store(dir, TITLE, &a, &err), &err);
        ck_assert_uint_eq(n_files(dir), 1); /* in the place of the old one */
        ENSO_TEST_OK((enum enso_status)enso__algorithms_load(dir, TITLE, &b, &err), &err);
        ck_assert_uint_eq(b.n, n);
        for (unsigned i = 0; i < n; i++)
            check_same(&a.entries[i], &b.entries[i]);
        enso__algorithms_done(&a);
        enso__algorithms_done(&b);
    }
    /* another driver has a file of its own */
    struct enso__algorithms b;
    ck_assert_int_eq(enso__algorithms_load(dir, "another", &b, &err), ENSO_NOT_FOUND);
    ck_assert_uint_eq(b.n, 0);
    enso_test_remove_dir(dir);
}
END_TEST

/* The file of a table of n entries as text. */
static char *text_of(unsigned n, size_t *ret_size, char **ret_path, char **ret_dir)
{
    struct enso__algorithms a = table_of(n);
    char *dir = enso_test_make_dir();
    struct dirent *e;
    DIR *d;

    ck_assert_int_eq(enso__algorithms_store(dir, TITLE, &a, NULL), ENSO_OK);
    enso__algorithms_done(&a);
    d = opendir(dir);
    while ((e = readdir(d)) != NULL && e->d_name[0] == '.')
        ;
    *ret_path = enso_test_format("%s/%s", dir, e->d_name);
    closedir(d);
    *ret_dir = dir;
    return enso_test_read_file(*ret_path, ret_size);
}

/* Cut anywhere it is refused, and so with any bit of its head changed. */
START_TEST(test_algorithms_cut)
{
    size_t size;
    char *path, *dir, *text = text_of(12, &size, &path, &dir);
    struct enso__algorithms a;

    for (size_t n = 0; n < size; n++) {
        char *cut = enso_test_guard_copy(text, n);
        struct enso_error err = {0};

        ck_assert_int_eq(enso__algorithms_parse(cut, n, TITLE, &a, &err), ENSO_INVALID);
        ck_assert_int_ne(err.message[0], '\0');
        ck_assert_ptr_null(a.entries);
        enso_test_guard_free(cut, n);
    }
    ck_assert_int_eq(enso__algorithms_parse(text, size, TITLE, &a, NULL), ENSO_OK);
    enso__algorithms_done(&a);
    for (size_t n = 0; n < 19 + 4 + strlen(TITLE); n++) {
        text[n] ^= 1;
        ck_assert_int_eq(enso__algorithms_parse(text, size, TITLE, &a, NULL), ENSO_INVALID);
        text[n] ^= 1;
    }
    free(text);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

START_TEST(test_algorithms_broken)
{
#define HEAD "ensod algorithms 1\nfor " TITLE "\n"
#define GOOD "FP16 FP16 8 8 0 8 1 8 8 0 1 16 1.5 own\n"
    static const struct {
        const char *text, *word;
    } rows[] = {
        {"", "line 1"},
        {"ensod algorithms 2\n", "line 1"},
        {"ensod algorithms 1\nfor another card\nend 0\n", "not for NVIDIA Card"},
        {HEAD GOOD "end 2\n", "no timed product"},
        {HEAD GOOD "end 1\nend 1\n", "no timed product"},
        {HEAD GOOD "end 1\nmore", "no timed product"},
        {HEAD "FP16 FP16 8 8 0 8 1 8 8 0 1 16 1.5\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 8 8 0 8 1 8 8 0 1 16 1.5 own own\nend 1\n", "line 3"},
        {HEAD "I32 FP16 8 8 0 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 0 8 0 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 -8 8 0 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 08 8 0 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 9999999999 8 0 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 8 8 2 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 8 8 0 8 1 8 8 0 8 16 1.5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 8 8 0 8 1 8 8 0 1 16 1.5e5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 8 8 0 8 1 8 8 0 1 16 1..5 own\nend 1\n", "line 3"},
        {HEAD "FP16 FP16 8 8 0 8 1 8 8 0 1 16 1.5 0123\nend 1\n", "line 3"},
        {HEAD "FP16  FP16 8 8 0 8 1 8 8 0 1 16 1.5 own\nend 1\n", "line 3"},
        {HEAD GOOD GOOD "end 2\n", "no timed product"}, /* the same twice */
        {HEAD GOOD, "its end is missing"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso__algorithms a;
        struct enso_error err = {0};

        ck_assert_msg(enso__algorithms_parse(rows[i].text, strlen(rows[i].text), TITLE, &a, &err) ==
                          ENSO_INVALID,
                      "row %zu", i);
        ENSO_TEST_CONTAINS(err.message, rows[i].word);
    }
}
END_TEST

START_TEST(test_algorithms_bad_files)
{
    size_t size;
    char *path, *dir, *text = text_of(3, &size, &path, &dir);
    struct enso__algorithms a;
    struct enso_error err = {0};

    enso_test_write_file(path, text, size - 1);
    ck_assert_int_eq(enso__algorithms_load(dir, TITLE, &a, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, path);
    /* a folder in its place is neither read nor written over */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    enso_error_clear(&err);
    ck_assert_int_eq(enso__algorithms_load(dir, TITLE, &a, &err), ENSO_INVALID);
    enso_error_clear(&err);
    a = table_of(3);
    ck_assert_int_eq(enso__algorithms_store(dir, TITLE, &a, &err), ENSO_IO);
    ENSO_TEST_CONTAINS(err.message, "cannot be written");
    ck_assert_uint_eq(n_files(dir), 1); /* nothing half is left */
    enso_error_clear(&err);
    ck_assert_int_eq(enso__algorithms_store("/nowhere", TITLE, &a, &err), ENSO_IO);
    enso__algorithms_done(&a);
    free(text);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static enum enso_status load_once(void *context, struct enso_error *err)
{
    struct enso__algorithms a;
    enum enso_status st = (enum enso_status)enso__algorithms_load(context, TITLE, &a, err);

    enso__algorithms_done(&a);
    return st;
}

START_TEST(test_algorithms_without_memory)
{
    size_t size;
    char *path, *dir, *text = text_of(200, &size, &path, &dir);

    ck_assert_uint_ge(enso_test_oom_sweep(load_once, dir), 3);
    free(text);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/algorithms");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_algorithms_find);
    tcase_add_test(core, test_algorithms_file);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_algorithms_cut);
    tcase_add_test(errors, test_algorithms_broken);
    tcase_add_test(errors, test_algorithms_bad_files);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");
    tcase_add_test(oom, test_algorithms_without_memory);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
