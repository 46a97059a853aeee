/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/json.h: what is accepted and refused, the limits before any tree exists, sentences
 * and places of errors, getters, and every allocation failing once.
 */
#include "base/json.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/support/support.h"

/* Parse a copy that ends at a guard page. */
static enum enso_status parse(const char *text, size_t size, json_t **ret, struct enso_error *err)
{
    char *copy = enso_test_guard_copy(text, size);
    enum enso_status st = enso_json_parse(copy, size, NULL, ret, err);

    enso_test_guard_free(copy, size);
    return st;
}

static json_t *parse_good(const char *text)
{
    struct enso_error err = {0};
    json_t *root = NULL;

    ENSO_TEST_OK(parse(text, strlen(text), &root, &err), &err);
    ck_assert_ptr_nonnull(root);
    return root;
}

START_TEST(test_json_good)
{
    static const char *const cases[] = {
        "{}",
        "[]",
        " [ ] ",
        "{\"a\":1}",
        "\"top\"",
        "12",
        "-0",
        "1e5",
        "1E-5",
        "true",
        "null",
        "[1,2.5,-3e+7,\"x\",{\"y\":[]},null,false]",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\xF0\x9F\x98\x80\"",
        "{\"\":0}",
        "[\"\\\"[{,:\\\\\"]",
        "\n\t\r [1]\n",
        "\"\\/\"",
        "[9223372036854775807,-9223372036854775808]",
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++)
        json_decref(parse_good(cases[i]));
}
END_TEST

START_TEST(test_json_bad)
{
    static const struct {
        const char *text;
        const char *sentence;
    } cases[] = {
        {"", "empty"},
        {" \n ", "empty"},
        {"{", "ends too early"},
        {"[1,", "ends too early"},
        {"\"abc", "ends too early"},
        {"\"abc\\", "invalid escape"},
        {"{\"a\":1,\"a\":2}", "occurs twice"},
        {"{\"a\":{\"b\":1,\"b\":2}}", "occurs twice"},
        {"[1,]", "at byte 4"},
        {"{a:1}", "key in double quotes"},
        {"{'a':1}", "key in double quotes"},
        {"[1 2]", "',' or ']' is expected"},
        {"{\"a\" 1}", "':' is expected"},
        {"{\"a\":1 \"b\":2}", "',' or '}' is expected"},
        {"[NaN]", "byte 1 of the JSON is NaN or an infinity"},
        {"[1, -Infinity]", "byte 4 of the JSON is NaN or an infinity"},
        {"{\"a\":nan}", "NaN or an infinity"},
        {"[1e999]", "too large"},
        {"[9223372036854775808]", "too large"},
        {"[-9223372036854775809]", "too large"},
        {"[01]", "not valid JSON"},
        {"[1.]", "not valid JSON"},
        {"[True]", "is not JSON"},
        {"\"\\ud800\"", "surrogate"},
        {"\"\\udc00\"", "surrogate"},
        {"\"\\ud800\\u0041\"", "surrogate"},
        {"\"\\ud800x\"", "surrogate"},
        {"\"\\x\"", "invalid escape"},
        {"\"a\nb\"", "line break"},
        {"\"a\x01\"", "control character"},
        {"[] []", "something after its end"},
        {"\"a\xFF\"", "byte 2 is not part of a valid character"},
        {"\"a\xED\xA0\x80\"", "byte 2 is not part"},
        {"[\xC0\xAF]", "byte 1 is not part"},
        {"{\"\\u0000\":1}", "NUL"},
        {"\xEF\xBB\xBF{}", "not valid JSON"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_error err = {0};
        json_t *root = NULL;

        ck_assert_msg(parse(cases[i].text, strlen(cases[i].text), &root, &err) == ENSO_INVALID,
                      "accepted: %s", cases[i].text);
        ENSO_TEST_CONTAINS(err.message, cases[i].sentence);
        ck_assert_ptr_null(root);
        ck_assert_str_ne(err.code, "");
    }
    struct enso_error err = {0};
    json_t *root;
    ck_assert_int_eq(parse("[\0]", 3, &root, &err), ENSO_INVALID);
    ck_assert_int_eq(parse("[]\0[", 4, &root, NULL), ENSO_INVALID);
    ck_assert_int_eq(parse("123\0", 4, &root, NULL), ENSO_INVALID);
}
END_TEST

START_TEST(test_json_errors_name_the_place_and_quote_nothing)
{
    struct enso_error err = {0};
    json_t *root;
    const char *text = "{\"a\":1,\n  \"secret\": secret}";

    ck_assert_int_eq(parse(text, strlen(text), &root, &err), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "line 2");
    ck_assert_ptr_null(strstr(err.message, "secret"));
    ck_assert_str_eq(err.code, "invalid_json");
    enso_error_clear(&err);
    text = "{\"secret\":1,\"secret\":2}";
    ck_assert_int_eq(parse(text, strlen(text), &root, &err), ENSO_INVALID);
    ck_assert_ptr_null(strstr(err.message, "secret"));
    ck_assert_str_eq(err.code, "duplicate_key");
}
END_TEST

/* max containers inside each other are fine, one more is not. */
START_TEST(test_json_depth)
{
    for (size_t depth = 60; depth < 70; depth++) {
        char text[200];
        struct enso_error err = {0};
        json_t *root = NULL;
        enum enso_status st;

        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        st = parse(text, 2 * depth, &root, &err);
        ck_assert_int_eq(st, depth <= 64 ? ENSO_OK : ENSO_TOO_LARGE);
        if (st != ENSO_OK) {
            ck_assert_str_eq(err.code, "json_depth");
            ENSO_TEST_CONTAINS(err.message, "64 levels");
        }
        json_decref(root);
    }
}
END_TEST

START_TEST(test_json_values)
{
    static const struct {
        const char *text;
        size_t n_values, n_containers, depth;
    } cases[] = {
        {"{}", 1, 1, 1},
        {"{\"a\":1,\"b\":\"c\"}", 3, 1, 1},
        {"[1,2,[3,{\"x\":[]}]]", 7, 4, 4},
        {"\"a:b,c[d\"", 1, 0, 0},
        {"{\"k\" : {\"l\" : [\"m\"]}}", 4, 3, 3},
        {"-1.5e+10", 1, 0, 0},
        {"[true,false,null]", 4, 1, 1},
    };
    struct enso_error err = {0};
    struct enso_json_shape shape;
    struct enso_json_limits limits = ENSO_JSON_LIMITS_DEFAULT;
    json_t *root;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        ENSO_TEST_OK(enso_json_scan(cases[i].text, strlen(cases[i].text), NULL, &shape, &err),
                     &err);
        ck_assert_uint_eq(shape.n_values, cases[i].n_values);
        ck_assert_uint_eq(shape.n_containers, cases[i].n_containers);
        ck_assert_uint_eq(shape.depth, cases[i].depth);
        limits.max_values = cases[i].n_values;
        ENSO_TEST_OK(enso_json_parse(cases[i].text, strlen(cases[i].text), &limits, &root, &err),
                     &err);
        json_decref(root);
        limits.max_values--;
        ck_assert_int_eq(
            enso_json_parse(cases[i].text, strlen(cases[i].text), &limits, &root, &err),
            ENSO_TOO_LARGE);
        ck_assert_str_eq(err.code, "json_values");
        enso_error_clear(&err);
    }
}
END_TEST

static long peak_kib(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* `unit` over and over: refused in well under a second, with no memory. */
static void check_bomb(const char *unit, size_t size, enum enso_status wanted)
{
    char *text = malloc(size);
    struct enso_error err = {0};
    json_t *root = NULL;
    size_t n = strlen(unit);
    long before;
    uint64_t start;

    ck_assert_ptr_nonnull(text);
    text[0] = '[';
    for (size_t i = 1; i < size; i++)
        text[i] = unit[(i - 1) % n];
    before = peak_kib();
    start = enso_clock_now_ns();
    ck_assert_int_eq(enso_json_parse(text, size, NULL, &root, &err), wanted);
    ck_assert_uint_lt(enso_clock_now_ns() - start, 5 * ENSO_NS_PER_S);
    ck_assert_ptr_null(root);
    if (!enso_test_is_sanitized())
        ck_assert_int_lt(peak_kib() - before, 4096);
    free(text);
}

START_TEST(test_json_bombs)
{
    check_bomb("[", 10000, ENSO_TOO_LARGE);
    check_bomb("{},", 32 << 20, ENSO_TOO_LARGE);
    check_bomb("1,", 32 << 20, ENSO_TOO_LARGE);
    check_bomb("\"\",", 32 << 20, ENSO_TOO_LARGE);
    check_bomb("{\"a\":", 32 << 20, ENSO_TOO_LARGE);
    check_bomb(":", 32 << 20, ENSO_INVALID);
    check_bomb("\\", 32 << 20, ENSO_INVALID);
}
END_TEST

/* A 10 MB string is fine. */
START_TEST(test_json_long_string)
{
    size_t size = 10 << 20;
    char *text = malloc(size);
    struct enso_error err = {0};
    json_t *root = NULL;

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', size);
    text[0] = text[size - 1] = '"';
    ENSO_TEST_OK(enso_json_parse(text, size, NULL, &root, &err), &err);
    ck_assert_uint_eq(json_string_length(root), size - 2);
    json_decref(root);
    free(text);
}
END_TEST

START_TEST(test_json_tree_estimate_is_generous)
{
    static const char *const units[] = {"{},",        "[],",  "1,",   "\"\",", "\"abcdefghij\",",
                                        "{\"a\":1},", "1.5,", "true,"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(units); i++) {
        size_t n = strlen(units[i]), size = 100000 / n * n + 1;
        char *text = malloc(size + 1);
        struct enso_json_shape shape;
        struct enso_error err = {0};

        ck_assert_ptr_nonnull(text);
        text[0] = '[';
        for (size_t k = 1; k < size; k++)
            text[k] = units[i][(k - 1) % n];
        text[size - 1] = ']';
        ENSO_TEST_OK(enso_json_scan(text, size, NULL, &shape, &err), &err);
        ck_assert_uint_ge(shape.tree_bytes, shape.n_values * 48);
        ck_assert_uint_ge(shape.tree_bytes, shape.n_containers * 150);
        free(text);
    }
}
END_TEST

START_TEST(test_json_getters)
{
    json_t *root = parse_good("{\"s\":\"text\",\"z\":\"a\\u0000b\",\"i\":5,\"r\":3.0,\"f\":2.5,"
                              "\"t\":true,\"n\":null,\"a\":[1],\"o\":{\"k\":1}}");
    struct enso_error err = {0};
    const char *s = "default";
    size_t size = 0;
    int64_t i = -1;
    double f = -1;
    bool b = false;
    json_t *v = NULL;

    ENSO_TEST_OK(enso_json_get_string(root, "", "s", ENSO_JSON_REQUIRED, &s, NULL, &err), &err);
    ck_assert_str_eq(s, "text");
    ENSO_TEST_OK(enso_json_get_string(root, "", "z", ENSO_JSON_REQUIRED, &s, &size, &err), &err);
    ck_assert_uint_eq(size, 3);
    ENSO_TEST_OK(enso_json_get_int(root, "", "i", ENSO_JSON_REQUIRED, 0, 5, &i, &err), &err);
    ck_assert_int_eq(i, 5);
    ENSO_TEST_OK(enso_json_get_int(root, "", "r", ENSO_JSON_REQUIRED, 0, 5, &i, &err), &err);
    ck_assert_int_eq(i, 3);
    ENSO_TEST_OK(enso_json_get_number(root, "", "f", ENSO_JSON_REQUIRED, 0, 5, &f, &err), &err);
    ck_assert_double_eq(f, 2.5);
    ENSO_TEST_OK(enso_json_get_number(root, "", "i", ENSO_JSON_REQUIRED, 0, 5, &f, &err), &err);
    ck_assert_double_eq(f, 5);
    ENSO_TEST_OK(enso_json_get_bool(root, "", "t", ENSO_JSON_REQUIRED, &b, &err), &err);
    ck_assert(b);
    ENSO_TEST_OK(enso_json_get_array(root, "", "a", ENSO_JSON_REQUIRED, &v, &err), &err);
    ck_assert(json_is_array(v));
    ENSO_TEST_OK(enso_json_get_object(root, "", "o", ENSO_JSON_REQUIRED, &v, &err), &err);
    ck_assert(json_is_object(v));

    i = 77; /* absent and null leave the default alone */
    ENSO_TEST_OK(enso_json_get_int(root, "", "n", ENSO_JSON_OPTIONAL, 0, 5, &i, &err), &err);
    ENSO_TEST_OK(enso_json_get_int(root, "", "absent", ENSO_JSON_OPTIONAL, 0, 5, &i, &err), &err);
    ENSO_TEST_OK(enso_json_get_int(NULL, "", "absent", ENSO_JSON_OPTIONAL, 0, 5, &i, &err), &err);
    ck_assert_int_eq(i, 77);
    json_decref(root);
}
END_TEST

START_TEST(test_json_getters_explain)
{
    json_t *root =
        parse_good("{\"s\":\"text\",\"z\":\"a\\u0000b\",\"i\":50,\"f\":2.5,\"big\":1e300,"
                   "\"a\":[1],\"t\":true}");
    struct enso_error err;
    const char *s = NULL;
    int64_t i = -1;
    double f = -1;
    bool b = false;
    json_t *v = NULL;

#define EXPECT(call, parameter, sentence)                                                          \
    do {                                                                                           \
        memset(&err, 0, sizeof err);                                                               \
        ck_assert_int_eq(call, ENSO_INVALID);                                                      \
        ck_assert_str_eq(err.param, parameter);                                                    \
        ENSO_TEST_CONTAINS(err.message, sentence);                                                 \
    } while (0)
    EXPECT(enso_json_get_string(root, "", "x", ENSO_JSON_REQUIRED, &s, NULL, &err), "x",
           "'x' is missing; give a string");
    EXPECT(enso_json_get_string(root, "input[3]", "i", ENSO_JSON_OPTIONAL, &s, NULL, &err),
           "input[3].i", "'input[3].i': expected a string, got an integer");
    EXPECT(enso_json_get_string(root, "", "z", ENSO_JSON_OPTIONAL, &s, NULL, &err), "z", "NUL");
    EXPECT(enso_json_get_int(root, "", "s", ENSO_JSON_OPTIONAL, 0, 9, &i, &err), "s",
           "expected an integer, got a string");
    EXPECT(enso_json_get_int(root, "", "i", ENSO_JSON_OPTIONAL, 0, 9, &i, &err), "i",
           "'i' must be between 0 and 9");
    EXPECT(enso_json_get_int(root, "", "f", ENSO_JSON_OPTIONAL, 0, 9, &i, &err), "f",
           "expected an integer, got a number");
    EXPECT(enso_json_get_int(root, "", "big", ENSO_JSON_OPTIONAL, INT64_MIN, INT64_MAX, &i, &err),
           "big", "must be between");
    EXPECT(enso_json_get_number(root, "", "f", ENSO_JSON_OPTIONAL, 0, 1, &f, &err), "f",
           "'f' must be between 0 and 1");
    EXPECT(enso_json_get_number(root, "", "t", ENSO_JSON_OPTIONAL, 0, 1, &f, &err), "t",
           "got a boolean");
    EXPECT(enso_json_get_bool(root, "", "i", ENSO_JSON_OPTIONAL, &b, &err), "i",
           "expected true or false");
    EXPECT(enso_json_get_array(root, "", "t", ENSO_JSON_OPTIONAL, &v, &err), "t",
           "expected an array");
    EXPECT(enso_json_get_object(root, "", "a", ENSO_JSON_OPTIONAL, &v, &err), "a",
           "expected an object, got an array");
    EXPECT(enso_json_wrong_type(root, "", "a string", &err), "",
           "expected a string, got an object");
#undef EXPECT
    ck_assert_ptr_null(s);
    ck_assert_int_eq(i, -1);
    json_decref(root);
}
END_TEST

static enum enso_status parse_once(void *context, struct enso_error *err)
{
    const char *text = context;
    json_t *root = NULL;
    enum enso_status st = enso_json_parse(text, strlen(text), NULL, &root, err);

    if (st == ENSO_OK && json_is_object(root)) { /* whole and unchanged */
        ck_assert_int_eq(json_integer_value(json_object_get(root, "number")), 1234567890123);
        ck_assert_uint_eq(json_array_size(json_object_get(root, "list")), 12);
    }
    json_decref(root);
    return st;
}

START_TEST(test_json_oom)
{
    char text[] = "{\"number\":1234567890123,\"list\":[1,2,3,4,5,6,7,8,9,10,11,\"a long enough "
                  "string that needs to grow the buffer of the lexer a few times, surely\"],"
                  "\"k1\":{},\"k2\":[],\"k3\":1.5,\"k4\":4,\"k5\":5,\"k6\":6,\"k7\":\"7\"}";

    enso_json_init();
    ck_assert_uint_gt(enso_test_oom_sweep(parse_once, text), 20);
}
END_TEST

START_TEST(test_json_conformance)
{
    char *dir = enso_test_shared("data/json");
    unsigned n_good = 0, n_bad = 0;
    struct dirent *entry;
    DIR *d;

    if (dir == NULL)
        return;
    d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    while ((entry = readdir(d)) != NULL) {
        const char *name = entry->d_name;
        struct enso_error err = {0};
        json_t *root = NULL;
        size_t size;
        enum enso_status st;
        bool strict;

        if (strlen(name) < 3 || name[1] != '_')
            continue;
        char *path = enso_test_format("%s/%s", dir, name);
        char *data = enso_test_read_file(path, &size);

        st = parse(data, size, &root, &err);
        /* we refuse on purpose: duplicate keys, and a NUL in a key */
        strict =
            strstr(name, "duplicated_key") != NULL || strstr(name, "escaped_null_in_key") != NULL;
        if (name[0] == 'y')
            ck_assert_msg((st == ENSO_OK) == !strict, "%s: %s", name, err.message);
        if (name[0] == 'n')
            ck_assert_msg(st != ENSO_OK, "%s was accepted", name);
        ck_assert(st == ENSO_OK || err.message[0] != '\0');
        n_good += name[0] == 'y';
        n_bad += name[0] == 'n';
        json_decref(root);
        free(data);
        free(path);
    }
    closedir(d);
    ck_assert_uint_gt(n_good, 50);
    ck_assert_uint_gt(n_bad, 100);
    free(dir);
}
END_TEST

/* Jansson's lexer ends the process when its buffer cannot grow at the character behind a number or
 * word: every length that makes it grow, with every allocation failing. */
START_TEST(test_json_oom_at_the_end_of_a_word)
{
    enso_json_init();
    for (size_t n = 10; n <= 300; n = n < 70 ? n + 1 : n * 3 / 2) {
        char *digits = calloc(n + 1, 1), *text;

        memset(digits, '1', n);
        text = enso_test_format("[0.%s, {\"a\": \"%s\"}, true, 1.%s]", digits, digits, digits);
        ck_assert_uint_gt(enso_test_oom_sweep(parse_once, text), 8);
        free(text);
        free(digits);
    }
}
END_TEST

/* What is parsed between the failure and the end of the chunk fits the spare. */
START_TEST(test_json_oom_in_a_crowd)
{
    static const char *const pieces[] = {"{},",   "[],",         "1,",
                                         "\"\",", "{\"a\":{}},", "\"12345678\","};

    enso_json_init();
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(pieces); i++) {
        size_t size = strlen(pieces[i]), n = 3000 / size;
        char *text = calloc(n * size + 128, 1);

        text[0] = '[';
        for (size_t k = 0; k < n; k++)
            memcpy(text + 1 + k * size, pieces[i], size);
        strcat(text, "12345678901234567890.5, 0.1234567890123456789012345678901234567890]");
        text = realloc(text, strlen(text) + 1);
        for (uint64_t at = 1; at < 400; at += 3) {
            struct enso_error err = {0};
            enum enso_status st;

            (void)enso_memory_fail_at(at);
            st = parse_once(text, &err);
            (void)enso_memory_fail_at(0);
            ck_assert_int_eq(st, ENSO_NO_MEMORY);
        }
        free(text);
    }
}
END_TEST

START_TEST(test_json_long_words_and_marred_strings)
{
    static const struct {
        char fill;
        const char *before, *after, *sentence;
        size_t n;
    } cases[] = {
        {'1', "[", "]", NULL, 300},
        {'1', "[0.", "]", NULL, 998},
        {'1', "[0.", "]", "a number or word of 1001 characters, at byte 1", 999},
        {'x', "[", "]", "a number or word of 1001 characters", 1001},
        {'x', "[\"", "\n\"]", "a control character in a string, at byte 5002", 5000},
        {'x', "[\"", "\n\"]", "a line break inside a string", 4000},
        {'x', "[\"", "\"]", NULL, 100000},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *fill = calloc(cases[i].n + 1, 1), *text;
        struct enso_error err = {0};
        json_t *root = NULL;
        enum enso_status st;

        memset(fill, cases[i].fill, cases[i].n);
        text = enso_test_format("%s%s%s", cases[i].before, fill, cases[i].after);
        st = enso_json_parse(text, strlen(text), NULL, &root, &err);
        if (cases[i].sentence != NULL)
            ENSO_TEST_CONTAINS(err.message, cases[i].sentence);
        else if (i != 0) /* 300 digits are more than an integer has */
            ENSO_TEST_OK(st, &err);
        json_decref(root);
        free(text);
        free(fill);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/json");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");
    TCase *errors = tcase_create("errors"), *oom = tcase_create("oom");

    tcase_add_test(core, test_json_good);
    tcase_add_test(core, test_json_long_string);
    tcase_add_test(core, test_json_getters);
    tcase_add_test(core, test_json_conformance);
    tcase_add_test(limits, test_json_depth);
    tcase_add_test(limits, test_json_values);
    tcase_add_test(limits, test_json_bombs);
    tcase_add_test(limits, test_json_tree_estimate_is_generous);
    tcase_add_test(errors, test_json_bad);
    tcase_add_test(errors, test_json_errors_name_the_place_and_quote_nothing);
    tcase_add_test(errors, test_json_getters_explain);
    tcase_add_test(oom, test_json_oom);
    tcase_add_test(oom, test_json_oom_at_the_end_of_a_word);
    tcase_add_test(oom, test_json_oom_in_a_crowd);
    tcase_add_test(errors, test_json_long_words_and_marred_strings);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
