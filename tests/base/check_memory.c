/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/memory.h: overflow, the failing allocator, arenas.
 */
#include "base/memory.h"

#include <string.h>

#include "tests/support/support.h"

START_TEST(test_memory_sizes_refuse_overflow)
{
    size_t x = 7;

    ck_assert(enso_size_mul(SIZE_MAX / 2, 2, &x));
    ck_assert_uint_eq(x, SIZE_MAX - 1);
    x = 7;
    ck_assert(!enso_size_mul(SIZE_MAX / 2 + 1, 2, &x));
    ck_assert(!enso_size_add(SIZE_MAX, 1, &x));
    ck_assert_uint_eq(x, 7);
    ck_assert(enso_size_add(SIZE_MAX - 1, 1, &x));
    ck_assert_uint_eq(x, SIZE_MAX);
    ck_assert_ptr_null(enso_alloc_array(SIZE_MAX / 4, 8));
    ck_assert_ptr_null(enso_alloc_zero(SIZE_MAX / 4, 8));
    ck_assert_ptr_null(enso_realloc_array(NULL, SIZE_MAX / 4, 8));
}
END_TEST

START_TEST(test_memory_blocks)
{
    char *a = enso_alloc(0), *z = enso_alloc_zero(3, 5), *s = enso_strdup("hello");
    char *n = enso_strndup("hello", 3), *d = enso_memdup("a\0b", 3);
    void *aligned = enso_alloc_aligned(64, 100);

    ck_assert_ptr_nonnull(a);
    for (int i = 0; i < 15; i++)
        ck_assert_int_eq(z[i], 0);
    ck_assert_str_eq(s, "hello");
    ck_assert_str_eq(n, "hel");
    ck_assert_mem_eq(d, "a\0b", 3);
    ck_assert_uint_eq((uintptr_t)aligned % 64, 0);
    s = enso_realloc_array(s, 100, 1);
    ck_assert_ptr_nonnull(s);
    ck_assert_str_eq(s, "hello");
    enso_free(a);
    enso_free(z);
    enso_free(s);
    enso_free(n);
    enso_free(d);
    enso_free(aligned);
    enso_free(NULL);
}
END_TEST

START_TEST(test_memory_strndup_needs_no_terminator)
{
    char *text = enso_test_guard_copy("abc", 3), *copy = enso_strndup(text, 3);

    ck_assert_str_eq(copy, "abc");
    enso_free(copy);
    enso_test_guard_free(text, 3);
}
END_TEST

START_TEST(test_memory_auto_free)
{
    ENSO_AUTO_FREE char *text = enso_strdup("freed by itself"); /* the leak checker looks */

    ck_assert_ptr_nonnull(text);
}
END_TEST

START_TEST(test_memory_fail_at)
{
    (void)enso_memory_fail_at(3);
    void *a = enso_alloc(1), *b = enso_alloc_zero(1, 1), *c = enso_strdup("x");
    void *d = enso_alloc_aligned(64, 1), *e = enso_realloc_array(NULL, 1, 1);
    uint64_t n = enso_memory_fail_at(0);

    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_null(c);
    ck_assert_ptr_null(d);
    ck_assert_ptr_null(e);
    ck_assert_uint_eq(n, 5);
    enso_free(a);
    enso_free(b);
    a = enso_alloc(1);
    ck_assert_ptr_nonnull(a);
    enso_free(a);
}
END_TEST

START_TEST(test_memory_arena_blocks_are_apart_and_aligned)
{
    struct enso_arena arena = ENSO_ARENA_INIT;
    unsigned char *blocks[300];
    size_t total = 0;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(blocks); i++) {
        size_t size = i * 7 % 5000;

        blocks[i] = enso_arena_alloc(&arena, size);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, size);
        total += size;
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(blocks); i++) {
        for (size_t k = 0; k < i * 7 % 5000; k++)
            ck_assert_uint_eq(blocks[i][k], (unsigned char)i);
    }
    ck_assert_uint_ge(arena.total_bytes, total);
    enso_arena_done(&arena);
    ck_assert_uint_eq(arena.total_bytes, 0);
}
END_TEST

START_TEST(test_memory_arena_odd_sizes)
{
    struct enso_arena arena = ENSO_ARENA_INIT;
    char *big, *s, *text = enso_test_guard_copy("abcdef", 6);

    ck_assert_ptr_nonnull(enso_arena_alloc(&arena, 0)); /* the very first, of no bytes */
    big = enso_arena_alloc(&arena, 5 << 20);
    ck_assert_ptr_nonnull(big);
    memset(big, 1, 5 << 20);
    s = enso_arena_strndup(&arena, text, 6);
    ck_assert_str_eq(s, "abcdef");
    big = enso_arena_alloc_zero(&arena, 1000, 3);
    for (int i = 0; i < 3000; i++)
        ck_assert_int_eq(big[i], 0);
    ck_assert_ptr_null(enso_arena_alloc(&arena, SIZE_MAX));
    ck_assert_ptr_null(enso_arena_alloc(&arena, SIZE_MAX - 20));
    ck_assert_ptr_null(enso_arena_alloc_zero(&arena, SIZE_MAX / 2, 4));
    enso_arena_done(&arena);
    enso_arena_done(&arena); /* twice is fine */
    enso_test_guard_free(text, 6);
}
END_TEST

static enum enso_status fill_arena(void *context, struct enso_error *err)
{
    struct enso_arena arena = ENSO_ARENA_INIT;
    enum enso_status st = ENSO_OK;

    (void)context;
    for (int i = 0; i < 50 && st == ENSO_OK; i++) {
        if (enso_arena_alloc(&arena, 3000) == NULL)
            st = enso_error_no_memory(err, "a block");
    }
    enso_arena_done(&arena);
    return st;
}

START_TEST(test_memory_arena_oom)
{
    ck_assert_uint_gt(enso_test_oom_sweep(fill_arena, NULL), 3);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/memory");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");
    TCase *oom = tcase_create("oom");

    tcase_add_test(core, test_memory_blocks);
    tcase_add_test(core, test_memory_strndup_needs_no_terminator);
    tcase_add_test(core, test_memory_auto_free);
    tcase_add_test(core, test_memory_arena_blocks_are_apart_and_aligned);
    tcase_add_test(core, test_memory_arena_odd_sizes);
    tcase_add_test(limits, test_memory_sizes_refuse_overflow);
    tcase_add_test(oom, test_memory_fail_at);
    tcase_add_test(oom, test_memory_arena_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
