/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms: parts are found byte by byte, whatever they hold; broken ones are refused.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "server/multipart.h"
#include "tests/support/support.h"

#define HEAD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

/* "name=size " of each part, or the error's sentence. */
static enum enso_status list(const char *type, const char *body, size_t size,
                             struct enso_buffer *out, struct enso_error *err)
{
    uint8_t *copy = enso_test_guard_copy(body, size);
    struct enso_multipart m;
    struct enso_part part;
    enum enso_status st = enso_multipart_begin(&m, type, copy, size, err);

    while (st == ENSO_OK && (st = enso_multipart_next(&m, &part, err)) == ENSO_OK &&
           part.data != NULL) {
        ck_assert(part.data >= copy);
        ck_assert_uint_le(part.size, (size_t)(copy + size - part.data));
        enso_buffer_printf(out, "%s=%zu ", part.name, part.size);
    }
    enso_test_guard_free(copy, size);
    return st;
}

static void expect(const char *type, const char *body, size_t size, const char *parts)
{
    struct enso_buffer out = ENSO_BUFFER_INIT;
    struct enso_error err = {0};

    ENSO_TEST_OK(list(type, body, size, &out, &err), &err);
    ck_assert_str_eq(out.data != NULL ? out.data : "", parts);
    enso_buffer_done(&out);
}

static void refuses(const char *type, const char *body, size_t size, const char *sentence)
{
    struct enso_buffer out = ENSO_BUFFER_INIT;
    struct enso_error err = {0};

    ck_assert_int_eq(list(type, body, size, &out, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, sentence);
    ck_assert_str_eq(err.code, "bad_form");
    enso_buffer_done(&out);
}

#define B "multipart/form-data; boundary=b"
#define EXPECT(body, parts) expect(B, body, sizeof body - 1, parts)
#define REFUSES(body, sentence) refuses(B, body, sizeof body - 1, sentence)

START_TEST(test_multipart_parts)
{
    EXPECT("--b--", "");
    EXPECT("--b--\r\nepilogue", "");
    EXPECT("--b\r\n" HEAD("image") "abc\r\n--b--\r\n", "image=3 ");
    EXPECT("--b\r\n" HEAD("a") "\r\n--b\r\n" HEAD("b") "x\r\n--b--", "a=0 b=1 ");
    EXPECT("--b\r\n" HEAD("a") "\r\n--\r\n\0--b\r\n--b--", "a=10 "); /* nearly a boundary */
    EXPECT("--b\r\nContent-Type: image/png\r\ncontent-disposition: form-data; filename=\"name=\\\""
           "; name=\"a\"\r\nX: y\r\n\r\nx\r\n--b--",
           "a=1 ");
}
END_TEST

START_TEST(test_multipart_boundaries)
{
    static const char body[] = "--a b?\r\n" HEAD("x") "1\r\n--a b?--";

    expect("multipart/form-data; boundary=\"a b?\"; charset=x", body, sizeof body - 1, "x=1 ");
    expect("multipart/form-data;BOUNDARY=\"a b?\"", body, sizeof body - 1, "x=1 ");
    refuses("multipart/form-data", "--b--", 5, "has no boundary");
    refuses("multipart/form-data; boundary=", "--b--", 5, "1 to 70 characters");
    refuses("multipart/form-data; boundary=\"\"", "--b--", 5, "1 to 70 characters");
    refuses("multipart/form-data; boundary="
            "12345678901234567890123456789012345678901234567890123456789012345678901",
            "--b--", 5, "1 to 70 characters");
    refuses(B, "--c--", 5, "does not begin with the boundary");
    refuses(B, "--", 2, "does not begin with the boundary");
    refuses(B, "", 0, "does not begin with the boundary");
}
END_TEST

START_TEST(test_multipart_long_names)
{
    char *name = malloc(1024), *body, *parts;

    memset(name, 'n', 1024);
    name[63] = '\0';
    body = enso_test_format("--b\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n\r\n--b--",
                            name);
    parts = enso_test_format("%.63s=0 ", name);
    expect(B, body, strlen(body), parts);
    free(parts);
    free(body);
    name[63] = 'n';
    name[64] = '\0';
    body = enso_test_format("--b\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n\r\n--b--",
                            name);
    refuses(B, body, strlen(body), "at most 63 characters");
    free(body);
    memset(name, 'f', 1023);
    name[1000] = '\0';
    body = enso_test_format("--b\r\nContent-Disposition: form-data; name=\"x\"; filename=\"%s\""
                            "\r\n\r\n\r\n--b--",
                            name);
    expect(B, body, strlen(body), "x=0 ");
    free(body);
    free(name);
}
END_TEST

START_TEST(test_multipart_broken)
{
    REFUSES("--b", "breaks off after a boundary");
    REFUSES("--b\r", "breaks off after a boundary");
    REFUSES("--bx", "breaks off after a boundary");
    REFUSES("--b\r\n", "headers do not end");
    REFUSES("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n", "headers do not end");
    REFUSES("--b\r\n\r\nabc\r\n--b--", "no Content-Disposition with a name");
    REFUSES("--b\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--b--", "no Content-Disposition");
    REFUSES("--b\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\nabc\r\n--b--",
            "no Content-Disposition");
    REFUSES("--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\nabc\r\n--b--",
            "no Content-Disposition");
    REFUSES("--b\r\n" HEAD("a") "abc", "not closed by the boundary");
    REFUSES("--b\r\n" HEAD("a") "abc\r\n--", "not closed by the boundary");
    REFUSES("--b\r\n" HEAD("a") "abc\r\n--b", "breaks off after a boundary");
    REFUSES("--b\r\n" HEAD("a") "abc\r\n--b-", "breaks off after a boundary");
}
END_TEST

/* Every prefix of a good form is refused or has fewer parts; none reads past its end. */
START_TEST(test_multipart_cut_anywhere)
{
    static const char body[] = "--b\r\n" HEAD("a") "12\r\n--b\r\n" HEAD("b") "3\r\n--b--";

    for (size_t n = 0; n < sizeof body - 1; n++) {
        struct enso_buffer out = ENSO_BUFFER_INIT;
        struct enso_error err = {0};

        ck_assert_int_eq(list(B, body, n, &out, &err), ENSO_INVALID);
        enso_buffer_done(&out);
    }
}
END_TEST

START_TEST(test_multipart_number_of_parts)
{
    static const char part[] = "--b\r\n" HEAD("a") "\r\n";
    const size_t n = ENSO_MULTIPART_MAX_PARTS + 1, size = sizeof part - 1;
    char *body = malloc(n * size + 8);

    for (size_t i = 0; i < n; i++)
        memcpy(body + i * size, part, size);
    memcpy(body + n * size, "--b--", 6);
    refuses(B, body, n * size + 5, "more than 4096 parts");
    free(body);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/multipart");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors");

    tcase_add_test(core, test_multipart_parts);
    tcase_add_test(core, test_multipart_boundaries);
    tcase_add_test(limits, test_multipart_long_names);
    tcase_add_test(limits, test_multipart_number_of_parts);
    tcase_add_test(errors, test_multipart_broken);
    tcase_add_test(errors, test_multipart_cut_anywhere);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
