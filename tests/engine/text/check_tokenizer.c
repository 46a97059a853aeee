/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/text: encoding. Golden cases made with the reference
 * (tests/parity/make_tokenizer_golden.py), the expected ids of the shared vocabularies where they
 * are there, truncation, errors, threads, and allocations that fail.
 */
#include "ensod_build.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/text/tokenizer.h"
#include "tests/support/support.h"

#define GOLDEN ENSO_TOP_SRCDIR "/tests/engine/text/golden"

static struct enso_tokenizer *load(const char *dir)
{
    struct enso_tokenizer *tok = NULL;
    struct enso_error err = {0};

    ck_assert_msg(enso_tokenizer_load(dir, &tok, &err) == ENSO_OK, "%s", err.message);
    return tok;
}

static struct enso_encoding *encode(const struct enso_tokenizer *tok, const char *text,
                                    const char *pair, struct enso_encode_options options)
{
    struct enso_encoding *e = NULL;
    struct enso_error err = {0};
    enum enso_status st = enso_tokenizer_encode(
        tok, text, strlen(text), pair, pair != NULL ? strlen(pair) : 0, &options, &e, &err);

    ck_assert_msg(st == ENSO_OK, "%s", err.message);
    return e;
}

/* The lines of a file of JSON, one after the other. */
struct lines {
    char *data;
    size_t size, at;
};

static void lines_open(struct lines *lines, const char *path)
{
    struct enso_error err = {0};

    *lines = (struct lines){0};
    ck_assert_msg(enso_file_read(path, 64 << 20, &lines->data, &lines->size, &err) == ENSO_OK, "%s",
                  err.message);
}

static json_t *lines_next(struct lines *lines)
{
    const char *start = lines->data + lines->at, *end;
    json_t *root;

    if (lines->at >= lines->size)
        return NULL;
    end = memchr(start, '\n', lines->size - lines->at);
    ck_assert_ptr_nonnull(end);
    lines->at = (size_t)(end - lines->data) + 1;
    ck_assert_int_eq(enso_json_parse(start, (size_t)(end - start), NULL, &root, NULL), ENSO_OK);
    return root;
}

/* ---- core ---- */

static void check_array(const json_t *line, const char *key, const int32_t *got32,
                        const uint8_t *got8, uint32_t n)
{
    const json_t *array = json_object_get(line, key);

    ck_assert_uint_eq(json_array_size(array), n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_int_eq(json_integer_value(json_array_get(array, i)),
                         got32 != NULL ? got32[i] : got8[i]);
}

static void check_offsets(const json_t *line, const struct enso_encoding *e)
{
    const json_t *offsets = json_object_get(line, "offsets");

    ck_assert_uint_eq(json_array_size(offsets), e->n);
    for (uint32_t i = 0; i < e->n; i++) {
        const json_t *span = json_array_get(offsets, i);

        ck_assert_int_eq(json_integer_value(json_array_get(span, 0)), e->offsets[i].start);
        ck_assert_int_eq(json_integer_value(json_array_get(span, 1)), e->offsets[i].end);
    }
}

static void check_case(const struct enso_tokenizer *tok, const json_t *line)
{
    const json_t *text = json_object_get(line, "text"), *pair = json_object_get(line, "pair");
    const char *truncate = json_string_value(json_object_get(line, "truncate"));
    struct enso_encode_options options = {
        .add_special_tokens = json_is_true(json_object_get(line, "special")),
        .want_offsets = true,
        .max_length = (uint32_t)json_integer_value(json_object_get(line, "max_length")),
    };
    struct enso_encoding *e, *bare;
    size_t size = json_string_length(text), pair_size = json_string_length(pair);
    struct enso_error err = {0};

    if (options.max_length == 0)
        options.max_length = 1000000; /* more than the tokenizer's own */
    if (truncate != NULL)
        options.truncate = *truncate == 'l' ? ENSO_TRUNCATE_LEFT : ENSO_TRUNCATE_RIGHT;
    ck_assert_int_eq(enso_tokenizer_encode(tok, json_string_value(text), size,
                                           json_string_value(pair), pair_size, &options, &e, &err),
                     ENSO_OK);
    enso_encoding_to_characters(e, json_string_value(text), size, json_string_value(pair),
                                pair_size);
    check_array(line, "ids", e->ids, NULL, e->n);
    check_array(line, "segments", e->segments, NULL, e->n);
    check_array(line, "mask", NULL, e->special, e->n);
    check_offsets(line, e);
    ck_assert_uint_le(e->n, e->n_untruncated);
    ck_assert_int_eq(e->truncated, e->n < e->n_untruncated);

    options.want_offsets = false; /* the same ids on the way without offsets */
    ck_assert_int_eq(enso_tokenizer_encode(tok, json_string_value(text), size,
                                           json_string_value(pair), pair_size, &options, &bare,
                                           NULL),
                     ENSO_OK);
    ck_assert_ptr_null(bare->offsets);
    ck_assert_uint_eq(bare->n, e->n);
    ck_assert_mem_eq(bare->ids, e->ids, e->n * sizeof *e->ids);
    enso_encoding_destroy(bare);
    enso_encoding_destroy(e);
}

START_TEST(test_tokenizer_equals_the_reference)
{
    struct enso_tokenizer *bert = load(GOLDEN "/bert"), *other = load(GOLDEN "/json");
    struct lines lines;
    json_t *line;
    int n = 0;

    lines_open(&lines, GOLDEN "/cases.jsonl");
    while ((line = lines_next(&lines)) != NULL) {
        const char *folder = json_string_value(json_object_get(line, "folder"));

        check_case(strcmp(folder, "bert") == 0 ? bert : other, line);
        json_decref(line);
        n++;
    }
    ck_assert_int_gt(n, 200);
    enso_free(lines.data);
    enso_tokenizer_destroy(bert);
    enso_tokenizer_destroy(other);
}
END_TEST

START_TEST(test_tokenizer_answers_about_itself)
{
    struct enso_tokenizer *tok = load(GOLDEN "/bert");
    struct enso_special_ids ids = enso_tokenizer_special_ids(tok);
    size_t size;

    ck_assert_int_eq(ids.pad, 0);
    ck_assert_int_eq(ids.unk, 1);
    ck_assert_int_eq(ids.cls, 2);
    ck_assert_int_eq(ids.sep, 3);
    ck_assert_int_eq(ids.mask, 4);
    ck_assert_str_eq(enso_tokenizer_piece(tok, 2, &size), "[CLS]");
    ck_assert_uint_eq(size, 5);
    ck_assert_ptr_null(enso_tokenizer_piece(tok, -1, NULL));
    ck_assert_ptr_null(enso_tokenizer_piece(tok, (int32_t)enso_tokenizer_size(tok), NULL));
    ck_assert_int_eq(enso_tokenizer_find(tok, "[MASK]", 6), 4);
    ck_assert_int_eq(enso_tokenizer_find(tok, "no such", 7), -1);
    ck_assert_uint_eq(enso_tokenizer_n_added(tok, false), 2);
    ck_assert_uint_eq(enso_tokenizer_n_added(tok, true), 3);
    ck_assert_uint_eq(enso_tokenizer_model_max_length(tok), 512);
    ck_assert_uint_eq(enso_tokenizer_truncation_length(tok), 0);
    ck_assert_uint_gt(enso_tokenizer_bytes(tok), 1000);
    enso_tokenizer_destroy(tok);

    tok = load(GOLDEN "/json"); /* with added tokens behind the vocabulary */
    ck_assert_uint_eq(enso_tokenizer_truncation_length(tok), 64);
    for (uint32_t id = 0; id < enso_tokenizer_size(tok); id++) {
        const char *piece = enso_tokenizer_piece(tok, (int32_t)id, &size);

        ck_assert_int_eq(enso_tokenizer_find(tok, piece, size), (int32_t)id);
    }
    ck_assert_str_eq(enso_tokenizer_piece(tok, (int32_t)enso_tokenizer_size(tok) - 1, NULL), "<t>");
    enso_tokenizer_destroy(tok);
    enso_tokenizer_destroy(NULL);
}
END_TEST

START_TEST(test_tokenizer_byte_offsets)
{
    struct enso_tokenizer *tok = load(GOLDEN "/bert");
    struct enso_encoding *e =
        encode(tok, "café 日本", "é",
               (struct enso_encode_options){.add_special_tokens = true, .want_offsets = true});

    /* [CLS] cafe 日 本 [SEP] e [SEP] */
    ck_assert_uint_eq(e->n, 7);
    ck_assert_uint_eq(e->offsets[1].start, 0);
    ck_assert_uint_eq(e->offsets[1].end, 5);
    ck_assert_uint_eq(e->offsets[3].start, 9);
    ck_assert_uint_eq(e->offsets[3].end, 12);
    ck_assert_uint_eq(e->sequence[3], 0);
    ck_assert_uint_eq(e->sequence[5], 1);
    enso_encoding_to_characters(e, "café 日本", 12, "é", 2);
    ck_assert_uint_eq(e->offsets[1].end, 4);
    ck_assert_uint_eq(e->offsets[3].start, 6);
    ck_assert_uint_eq(e->offsets[5].end, 1);
    enso_encoding_destroy(e);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* ---- shared: the expected ids of well-known vocabularies ---- */

/* A file of the shared tokenizers; NULL where it is absent. free() it. */
static char *shared_file(const char *folder, const char *name)
{
    char *relative = enso_test_format("data/tokenizers/%s/%s", folder, name);
    char *path = enso_test_shared(relative);

    free(relative);
    return path;
}

/* Where the expected ids follow rules that the reference does not: there an unassigned character is
 * dropped, and a paragraph separator is part of a word. */
static bool is_known_difference(const char *text)
{
    return strcmp(text, "\xEF\xBF\xBE") == 0 || strcmp(text, "\xE2\x80\xA9test\xE2\x80\xA9") == 0;
}

static const char *const shared_folders[] = {"bert-base-uncased", "bert-base-cased",
                                             "bert-base-chinese"};

/* The shared folders have a vocab.txt alone: a folder of their own says the case. */
static struct enso_tokenizer *load_shared(const char *name, bool lowercase)
{
    char *vocab = shared_file(name, "vocab.txt"), *dir, *link, *config, *text;
    struct enso_tokenizer *tok;

    if (vocab == NULL)
        return NULL;
    dir = enso_test_make_dir();
    link = enso_test_format("%s/vocab.txt", dir);
    config = enso_test_format("%s/tokenizer_config.json", dir);
    text = enso_test_format("{\"do_lower_case\": %s}", lowercase ? "true" : "false");
    ck_assert_int_eq(symlink(vocab, link), 0);
    enso_test_write_file(config, text, strlen(text));
    tok = load(dir);
    enso_test_remove_dir(dir);
    free(text);
    free(config);
    free(link);
    free(vocab);
    return tok;
}

START_TEST(test_tokenizer_shared_vocabularies)
{
    const struct enso_encode_options options = {.want_offsets = true};
    struct enso_tokenizer *tok = load_shared(shared_folders[_i], _i != 1);
    int n = 0, n_known = 0;
    struct lines lines;
    json_t *line;
    char *path;

    if (tok == NULL)
        return;
    ck_assert_uint_lt(enso_tokenizer_bytes(tok), 4 << 20);
    path = shared_file(shared_folders[_i], "expected.jsonl");
    ck_assert_ptr_nonnull(path);
    lines_open(&lines, path);
    while ((line = lines_next(&lines)) != NULL) {
        const json_t *text = json_object_get(line, "text");
        struct enso_encoding *e;

        ck_assert_int_eq(enso_tokenizer_encode(tok, json_string_value(text),
                                               json_string_length(text), NULL, 0, &options, &e,
                                               NULL),
                         ENSO_OK);
        if (is_known_difference(json_string_value(text)))
            n_known++;
        else
            check_array(line, "ids", e->ids, NULL, e->n);
        enso_encoding_destroy(e);
        json_decref(line);
        n++;
    }
    ck_assert_int_eq(n, 475);
    ck_assert_int_eq(n_known, 2);
    free(path);
    enso_free(lines.data);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* The ids of the fixture's next line, compared. */
static const char *check_ids_line(const char *at, const struct enso_encoding *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        char *end;

        ck_assert_int_eq(strtol(at, &end, 10), e->ids[i]);
        at = end;
    }
    at += strspn(at, " ");
    ck_assert(*at == '\n' || *at == '\0');
    return at + 1;
}

START_TEST(test_tokenizer_shared_bge_fixture)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    const struct enso_encode_options options = {.want_offsets = false};
    struct enso_tokenizer *tok = load_shared("bert-base-uncased", true); /* the same vocabulary */
    char *in_path = shared_file("gguf", "ggml-vocab-bert-bge.gguf.inp"),
         *out_path = shared_file("gguf", "ggml-vocab-bert-bge.gguf.out"), *in, *out;
    const char *at, *ids;
    int n = 0;

    if (tok == NULL || in_path == NULL || out_path == NULL)
        return;
    in = enso_test_read_file(in_path, NULL);
    ids = out = enso_test_read_file(out_path, NULL);
    for (at = in; at != NULL; n++) {
        const char *end = strstr(at, separator);
        size_t size = end != NULL ? (size_t)(end - at) : strlen(at);
        struct enso_encoding *e;

        ck_assert_int_eq(enso_tokenizer_encode(tok, at, size, NULL, 0, &options, &e, NULL),
                         ENSO_OK);
        ids = check_ids_line(ids, e);
        enso_encoding_destroy(e);
        at = end != NULL ? end + strlen(separator) : NULL;
    }
    ck_assert_int_eq(n, 47);
    free(in);
    free(out);
    free(in_path);
    free(out_path);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* ---- limits ---- */

START_TEST(test_tokenizer_truncation_length_is_the_default)
{
    struct enso_tokenizer *tok = load(GOLDEN "/json"); /* 64 */
    char text[400];
    struct enso_encoding *e;

    for (int i = 0; i < 200; i++)
        memcpy(text + 2 * i, i < 199 ? "a " : "a", i < 199 ? 2 : 2);
    e = encode(
        tok, text, NULL,
        (struct enso_encode_options){.add_special_tokens = true, .truncate = ENSO_TRUNCATE_RIGHT});
    ck_assert_uint_eq(e->n, 64);
    ck_assert_uint_eq(e->n_untruncated, 202);
    ck_assert(e->truncated);
    enso_encoding_destroy(e);
    e = encode(tok, text, NULL,
               (struct enso_encode_options){.max_length = 128, .truncate = ENSO_TRUNCATE_RIGHT});
    ck_assert_uint_eq(e->n, 128);
    enso_encoding_destroy(e);
    enso_tokenizer_destroy(tok);
}
END_TEST

START_TEST(test_tokenizer_long_runs_stay_linear)
{
    struct enso_tokenizer *tok = load(GOLDEN "/json"); /* NFKC: sorts marks */
    size_t n = 200000;
    char *text = enso_alloc(2 * n + 1);
    struct enso_encoding *e;

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < n; i++) /* combining marks of two classes in the wrong order */
        memcpy(text + 2 * i, i % 2 ? "\xCC\xA3" : "\xCC\x81", 2);
    text[2 * n] = '\0';
    e = encode(tok, text, NULL,
               (struct enso_encode_options){
                   .max_length = 10, .truncate = ENSO_TRUNCATE_RIGHT, .want_offsets = true});
    ck_assert_uint_eq(e->n, 1);
    enso_encoding_to_characters(e, text, 2 * n, NULL, 0);
    ck_assert_uint_eq(e->offsets[0].end, n);
    enso_encoding_destroy(e);
    enso_free(text);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* Texts that end at a page without access, cut at every byte of a character. */
START_TEST(test_tokenizer_reads_no_byte_too_many)
{
    static const char text[] = "un [MASK <ent \xE6\x97\xA5\xF0\x9F\xA6\x8A";
    const struct enso_encode_options options = {.want_offsets = true};
    struct enso_tokenizer *tok = load(_i == 0 ? GOLDEN "/bert" : GOLDEN "/json");

    for (size_t size = 0; size < sizeof text; size++) {
        char *guarded = enso_test_guard_copy(text, size);
        struct enso_encoding *e;

        if (enso_tokenizer_encode(tok, guarded, size, guarded, size, &options, &e, NULL) ==
            ENSO_OK) {
            enso_encoding_to_characters(e, guarded, size, guarded, size);
            enso_encoding_destroy(e);
        }
        enso_test_guard_free(guarded, size);
    }
    enso_tokenizer_destroy(tok);
}
END_TEST

/* ---- errors ---- */

START_TEST(test_tokenizer_too_long)
{
    struct enso_tokenizer *tok = load(GOLDEN "/bert");
    struct enso_encode_options options = {.add_special_tokens = true, .max_length = 5};
    struct enso_error err = {0};
    struct enso_encoding *e = NULL;

    ck_assert_int_eq(enso_tokenizer_encode(tok, "a b c d", 7, NULL, 0, &options, &e, &err),
                     ENSO_TOO_LARGE);
    ck_assert_str_eq(err.code, "too_long");
    ck_assert_ptr_nonnull(strstr(err.message, "input has 6 tokens, but the model takes at most 5"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_tokenizer_encode(tok, "a b", 3, "c", 1, &options, &e, &err),
                     ENSO_TOO_LARGE);
    enso_error_clear(&err);
    options.max_length = 1;
    options.truncate = ENSO_TRUNCATE_RIGHT;
    ck_assert_int_eq(enso_tokenizer_encode(tok, "a b", 3, NULL, 0, &options, &e, &err),
                     ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "no room for the 2 tokens"));
    ck_assert_ptr_null(e);
    options.max_length = 2; /* room for the added ones alone */
    e = encode(tok, "a b", NULL, options);
    ck_assert_uint_eq(e->n, 2);
    enso_encoding_destroy(e);
    enso_tokenizer_destroy(tok);
}
END_TEST

START_TEST(test_tokenizer_refuses_invalid_utf8)
{
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {{"a\xFF", 2},
               {"\xC3", 1},
               {"\xC0\x80", 2},
               {"\xED\xA0\x80", 3},
               {"\xF4\x90\x80\x80", 4},
               {"ab\x80", 3},
               {"\xE2\x82", 2}};
    struct enso_tokenizer *tok = load(GOLDEN "/bert");
    const struct enso_encode_options options = {.want_offsets = true};
    struct enso_encoding *e = NULL;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++) {
        struct enso_error err = {0};

        ck_assert_int_eq(
            enso_tokenizer_encode(tok, bad[i].text, bad[i].size, NULL, 0, &options, &e, &err),
            ENSO_INVALID);
        ck_assert_ptr_nonnull(strstr(err.message, "UTF-8"));
        enso_error_clear(&err);
        ck_assert_int_eq(
            enso_tokenizer_encode(tok, "fine", 4, bad[i].text, bad[i].size, &options, &e, &err),
            ENSO_INVALID);
    }
    ck_assert_ptr_null(e);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* ---- oom ---- */

static const char oom_text[] =
    "caf\xC3\xA9 <ent> Foo \xE6\x97\xA5\xE6\x9C\xAC [MASK] e\xCC\x81 unaffable";

static enum enso_status encode_once(void *context, struct enso_error *err)
{
    const struct enso_encode_options options = {.add_special_tokens = true, .want_offsets = true};
    struct enso_encoding *e = NULL;
    enum enso_status st =
        enso_tokenizer_encode(context, oom_text, strlen(oom_text), "pair", 4, &options, &e, err);

    enso_encoding_destroy(e);
    return st;
}

START_TEST(test_tokenizer_encode_oom)
{
    struct enso_tokenizer *tok = load(_i == 0 ? GOLDEN "/bert" : GOLDEN "/json");

    ck_assert_uint_gt(enso_test_oom_sweep(encode_once, tok), 5);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* ---- threads ---- */

struct worker {
    pthread_t thread;
    const struct enso_tokenizer *tok;
    const struct enso_encoding *expected;
    bool same;
};

static void *work(void *argument)
{
    const struct enso_encode_options options = {.add_special_tokens = true, .want_offsets = true};
    struct worker *w = argument;

    w->same = true;
    for (int i = 0; i < 300; i++) {
        struct enso_encoding *e = NULL;

        if (enso_tokenizer_encode(w->tok, oom_text, strlen(oom_text), "pair", 4, &options, &e,
                                  NULL) != ENSO_OK ||
            e->n != w->expected->n || memcmp(e->ids, w->expected->ids, e->n * sizeof *e->ids) != 0)
            w->same = false;
        enso_encoding_destroy(e);
    }
    return NULL;
}

START_TEST(test_tokenizer_is_shared_by_threads)
{
    struct enso_tokenizer *tok = load(GOLDEN "/json");
    struct enso_encoding *expected =
        encode(tok, oom_text, "pair",
               (struct enso_encode_options){.add_special_tokens = true, .want_offsets = true});
    struct worker workers[4];

    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.tok = tok, .expected = expected};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        ck_assert(workers[i].same);
    }
    enso_encoding_destroy(expected);
    enso_tokenizer_destroy(tok);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/tokenizer");
    TCase *core = tcase_create("core"), *shared = tcase_create("shared"),
          *limits = tcase_create("limits"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom"), *threads = tcase_create("threads");

    tcase_add_test(core, test_tokenizer_equals_the_reference);
    tcase_add_test(core, test_tokenizer_answers_about_itself);
    tcase_add_test(core, test_tokenizer_byte_offsets);
    tcase_add_loop_test(shared, test_tokenizer_shared_vocabularies, 0, 3);
    tcase_add_test(shared, test_tokenizer_shared_bge_fixture);
    tcase_add_test(limits, test_tokenizer_truncation_length_is_the_default);
    tcase_add_test(limits, test_tokenizer_long_runs_stay_linear);
    tcase_add_loop_test(limits, test_tokenizer_reads_no_byte_too_many, 0, 2);
    tcase_add_test(errors, test_tokenizer_too_long);
    tcase_add_test(errors, test_tokenizer_refuses_invalid_utf8);
    tcase_add_loop_test(oom, test_tokenizer_encode_oom, 0, 2);
    tcase_add_test(threads, test_tokenizer_is_shared_by_threads);
    suite_add_tcase(s, core);
    suite_add_tcase(s, shared);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    suite_add_tcase(s, threads);
    return s;
}

ENSO_TEST_MAIN(suite)
