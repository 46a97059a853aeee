/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64: the vectors of RFC 4648 section 10, every byte, and what is not base64.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "tests/support/support.h"

static const char *const vectors[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

START_TEST(test_base64_vectors)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(vectors); i++) {
        size_t size = strlen(vectors[i][1]), n = 99;
        char *text = enso_test_guard_copy(vectors[i][1], size);
        uint8_t *out = enso_test_guard_alloc(ENSO_BASE64_DECODED_SIZE(size));
        struct enso_buffer b = ENSO_BUFFER_INIT;

        enso_buffer_put_base64(&b, vectors[i][0], strlen(vectors[i][0]));
        ck_assert_str_eq(b.data, vectors[i][1]);
        ENSO_TEST_OK(enso_base64_decode(text, size, out, &n, NULL), NULL);
        ck_assert_uint_eq(n, strlen(vectors[i][0]));
        ck_assert_mem_eq(out, vectors[i][0], n);
        enso_buffer_done(&b);
        enso_test_guard_free(out, ENSO_BASE64_DECODED_SIZE(size));
        enso_test_guard_free(text, size);
    }
}
END_TEST

START_TEST(test_base64_there_and_back)
{
    uint64_t state = 3;

    for (size_t size = 0; size < 200; size++) {
        uint8_t *bytes = enso_test_guard_alloc(size), *out = malloc(size + 3);
        struct enso_buffer b = ENSO_BUFFER_INIT;
        size_t n;

        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(enso_test_random(&state) >> 24);
        enso_buffer_puts(&b, "x");
        enso_buffer_put_base64(&b, bytes, size);
        ck_assert_uint_eq(b.size, 1 + (size + 2) / 3 * 4);
        ENSO_TEST_OK(enso_base64_decode(b.data + 1, b.size - 1, out, &n, NULL), NULL);
        ck_assert_uint_eq(n, size);
        if (size != 0)
            ck_assert_mem_eq(out, bytes, size);
        enso_buffer_done(&b);
        enso_test_guard_free(bytes, size);
        free(out);
    }
}
END_TEST

START_TEST(test_base64_refused)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"A", "multiple of 4"},
        {"AA", "multiple of 4"},
        {"AAAAA", "multiple of 4"},
        {"AAA\n", "character 3 is not of the alphabet"},
        {"AA A", "character 2 is not"},
        {"AA-A", "character 2 is not"},
        {"AA_A", "character 2 is not"},
        {"A\xc3\xa9"
         "A",
         "character 1 is not"},
        {"====", "padding at character 0"},
        {"A===", "padding at character 1"},
        {"AA=A", "padding at character 2"},
        {"AA==AAAA", "padding at character 2"},
        {"=AAA", "padding at character 0"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        size_t size = strlen(cases[i].text), n = 99;
        char *text = enso_test_guard_copy(cases[i].text, size);
        uint8_t out[16];
        struct enso_error err = {0};

        ck_assert_msg(enso_base64_decode(text, size, out, &n, &err) == ENSO_INVALID, "%s",
                      cases[i].text);
        ENSO_TEST_CONTAINS(err.message, cases[i].sentence);
        ck_assert_str_eq(err.code, "bad_base64");
        ck_assert_uint_eq(n, 99);
        enso_test_guard_free(text, size);
    }
}
END_TEST

START_TEST(test_base64_oom)
{
    static const uint8_t bytes[1000];
    struct enso_buffer b = ENSO_BUFFER_INIT;

    (void)enso_memory_fail_at(1);
    enso_buffer_put_base64(&b, bytes, sizeof bytes);
    (void)enso_memory_fail_at(0);
    ck_assert(b.failed);
    enso_buffer_done(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/base64");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");

    tcase_add_test(core, test_base64_vectors);
    tcase_add_test(core, test_base64_there_and_back);
    tcase_add_test(errors, test_base64_refused);
    tcase_add_test(oom, test_base64_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
