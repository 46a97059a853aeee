/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/text: loading. A good tokenizer.json is broken in one place at a time; folders with
 * vocab.txt and the files beside it are written by the tests; allocations fail one by one.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/text/tokenizer.h"
#include "tests/support/support.h"

#define GOLDEN ENSO_TOP_SRCDIR "/tests/engine/text/golden"

/* ---- tokenizer.json, broken ---- */

#define VOCAB "\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4}"
#define MODEL "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\"," VOCAB "}"

/* What a document must give. `says` is part of the sentence; NULL for documents that load. */
static const struct bad_case {
    const char *json, *says;
    enum enso_status status;
} cases[] = {
    {"{" MODEL "}", NULL, ENSO_OK},
    {"{\"model\":{\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\"," VOCAB "}}", NULL,
     ENSO_OK}, /* old files have no type */
    {"{" MODEL ",\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,"
     "\"added_tokens\":[],\"truncation\":null,\"padding\":{\"x\":1},\"decoder\":{\"type\":\"?\"}}",
     NULL, ENSO_OK},
    {"", "the JSON is empty", ENSO_CORRUPT},
    {"{", "not valid JSON", ENSO_CORRUPT},
    {"[]", "expected an object at the top", ENSO_CORRUPT},
    {"{}", "'model' is missing", ENSO_CORRUPT},
    {"{\"model\":3}", "'model': expected an object", ENSO_CORRUPT},
    {"{\"model\":{}}", "the model type 'WordLevel' is not supported; ensod knows WordPiece",
     ENSO_UNSUPPORTED},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}",
     "'t.json': model: the model type 'BPE' is not supported", ENSO_UNSUPPORTED},
    {"{\"model\":{\"type\":\"WordPiece\"}}", "'model.vocab' is missing", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "the vocabulary is empty", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":-1}}}", "the id of 'a'", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":\"0\"}}}", "the id of 'a'", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":99999999999}}}", "the id of 'a'",
     ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"b\":0}}}", "have the same id 0",
     ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"b\":2}}}",
     "'b' has the id 2, but a vocabulary of 2 tokens must have the ids 0 to 1", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":2147483647}}}", "has the id 2147483647",
     ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"a\":1}}}", "not valid JSON",
     ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "'model.unk_token' is missing",
     ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"a\":0}}}",
     "model: the unknown token '[UNK]' is not in the vocabulary", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"max_input_chars_per_word\":-"
     "1," VOCAB "}}",
     "'model.max_input_chars_per_word' must be between", ENSO_CORRUPT},
    {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
     "\"continuing_subword_prefix\":7," VOCAB "}}",
     "expected a string", ENSO_CORRUPT},
    /* normalisers */
    {"{" MODEL ",\"normalizer\":{}}", "'normalizer.type' is missing", ENSO_CORRUPT},
    {"{" MODEL ",\"normalizer\":[]}", "normalizer: expected an object with a 'type'", ENSO_CORRUPT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Precompiled\"}}",
     "'t.json': normalizer: the normaliser type 'Precompiled' is not supported; ensod knows "
     "BertNormalizer",
     ENSO_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
     "{\"type\":\"Nmt\"}]}}",
     "normalizer.normalizers[1]: the normaliser type 'Nmt'", ENSO_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\"}}", "'normalizer.normalizers' is missing",
     ENSO_CORRUPT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":1}}",
     "'normalizer.lowercase': expected", ENSO_CORRUPT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},"
     "\"content\":\"\"}}",
     "no regular expressions", ENSO_UNSUPPORTED},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},"
     "\"content\":\"x\"}}",
     "the pattern is empty", ENSO_CORRUPT},
    {"{" MODEL ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"}}}",
     "'normalizer.content' is missing", ENSO_CORRUPT},
    /* pre-tokenisers */
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
     "pre_tokenizer: the pre-tokeniser type 'ByteLevel' is not supported", ENSO_UNSUPPORTED},
    {"{" MODEL ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"X\"}]}}",
     "pre_tokenizer.pretokenizers[0]: the pre-tokeniser type 'X'", ENSO_UNSUPPORTED},
    /* post-processors */
    {"{" MODEL ",\"post_processor\":{\"type\":\"RobertaProcessing\"}}",
     "the post-processor type 'RobertaProcessing' is not supported", ENSO_UNSUPPORTED},
    {"{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",1]}}",
     "'post_processor.sep' is missing", ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",5],"
     "\"sep\":[\"[SEP]\",2]}}",
     "post_processor.cls: no token has the id 5", ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\"],"
     "\"sep\":[\"[SEP]\",2]}}",
     "expected a token and its id", ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
     "{\"id\":\"[CLS]\",\"type_id\":0}}],\"pair\":[]}}",
     "post_processor.single[0]: the special token '[CLS]' is not in 'special_tokens'",
     ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
     "{\"id\":\"[CLS]\",\"type_id\":0}}],\"pair\":[],"
     "\"special_tokens\":{\"[CLS]\":{\"ids\":[77]}}}}",
     "no token has the id 77", ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"pair\":[]}}",
     "the template must hold sequence A once", ENSO_UNSUPPORTED},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":"
     "{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}}",
     "post_processor.pair: the template must hold sequence A once and sequence B once",
     ENSO_UNSUPPORTED},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":"
     "{\"id\":\"C\",\"type_id\":0}}],\"pair\":[]}}",
     "a sequence is 'A' or 'B'", ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":"
     "{\"id\":\"A\",\"type_id\":-1}}],\"pair\":[]}}",
     "must be between", ENSO_CORRUPT},
    {"{" MODEL ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[7],\"pair\":[]}}",
     "expected 'SpecialToken' or 'Sequence'", ENSO_CORRUPT},
    /* added tokens */
    {"{" MODEL ",\"added_tokens\":[{\"id\":9,\"content\":\"<x>\"}]}", NULL, ENSO_OK},
    {"{" MODEL ",\"added_tokens\":[{\"id\":3,\"content\":\"a\"},{\"id\":5,\"content\":\"\"}]}",
     NULL, ENSO_OK},
    {"{" MODEL ",\"added_tokens\":[3]}", "added_tokens[0]: expected an object", ENSO_CORRUPT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":9}]}", "'added_tokens[0].content' is missing",
     ENSO_CORRUPT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":4,\"content\":\"a\"}]}",
     "'a' has the id 4, but the vocabulary gives it 3", ENSO_CORRUPT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":4,\"content\":\"<x>\"}]}",
     "'<x>' has the id 4, which is that of '##b'", ENSO_CORRUPT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":9,\"content\":\"<x>\"},{\"id\":9,\"content\":\"<y>\"}]}",
     "have the same id 9", ENSO_CORRUPT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":999999999,\"content\":\"<x>\"}]}", "must be between",
     ENSO_CORRUPT},
    {"{" MODEL ",\"added_tokens\":[{\"id\":9,\"content\":\"<x>\",\"lstrip\":\"yes\"}]}",
     "'added_tokens[0].lstrip': expected", ENSO_CORRUPT},
    {"{" MODEL ",\"truncation\":{\"max_length\":-5}}", "'truncation.max_length' must be between",
     ENSO_CORRUPT},
};

START_TEST(test_tokenizer_load_cases)
{
    const struct bad_case *c = &cases[_i];
    struct enso_tokenizer *tok = NULL;
    struct enso_error err = {0};
    enum enso_status st = enso_tokenizer_load_json(c->json, strlen(c->json), "t.json", &tok, &err);

    ck_assert_msg(st == c->status, "%s: %s, %s", c->json, enso_status_name(st), err.message);
    ck_assert_int_eq(err.status, c->status);
    if (c->says != NULL) {
        ck_assert_ptr_null(tok);
        ck_assert_msg(strncmp(err.message, "'t.json': ", 10) == 0, "%s", err.message);
        ck_assert_msg(strstr(err.message, c->says) != NULL, "%s", err.message);
    }
    enso_tokenizer_destroy(tok);
}
END_TEST

START_TEST(test_tokenizer_load_nested_sequences)
{
    struct enso_error err = {0};
    struct enso_tokenizer *tok;
    char json[4096] = "{" MODEL ",\"normalizer\":";

    for (int i = 0; i < 20; i++)
        strcat(json, "{\"type\":\"Sequence\",\"normalizers\":[");
    strcat(json, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 20; i++)
        strcat(json, "]}");
    strcat(json, "}");
    ck_assert_int_eq(enso_tokenizer_load_json(json, strlen(json), "t.json", &tok, &err),
                     ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "nested deeper than 8"));
}
END_TEST

/* ---- folders ---- */

static char *folder;

static const char *in_folder(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void set_up(void)
{
    folder = enso_test_make_dir();
}

static void tear_down(void)
{
    enso_test_remove_dir(folder);
}

static void write_file(const char *name, const char *data)
{
    enso_test_write_file(in_folder(name), data, strlen(data));
}

#define LINES "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\na\n##b\n\xC3\xA9\n\xE4\xB8\xAD\xE4\xB8\xAD\n"

static int32_t first_id(const struct enso_tokenizer *tok, const char *text)
{
    const struct enso_encode_options options = {.want_offsets = false};
    struct enso_encoding *e;
    int32_t id;

    ck_assert_int_eq(enso_tokenizer_encode(tok, text, strlen(text), NULL, 0, &options, &e, NULL),
                     ENSO_OK);
    ck_assert_uint_gt(e->n, 0);
    id = e->ids[0];
    enso_encoding_destroy(e);
    return id;
}

START_TEST(test_tokenizer_load_vocab_txt)
{
    struct enso_tokenizer *tok;
    struct enso_error err = {0};

    write_file("vocab.txt", LINES);
    ck_assert_msg(enso_tokenizer_load(folder, &tok, &err) == ENSO_OK, "%s", err.message);
    ck_assert_uint_eq(enso_tokenizer_size(tok), 10);
    ck_assert_int_eq(first_id(tok, "A"), 6); /* lower case unless said otherwise */
    ck_assert_int_eq(first_id(tok, "\xC3\xA9"), 1);
    ck_assert_int_eq(first_id(tok, "\xE4\xB8\xAD\xE4\xB8\xAD"), 1);
    ck_assert_int_eq(first_id(tok, "[MASK]"), 4);
    ck_assert_uint_eq(enso_tokenizer_model_max_length(tok), 0);
    enso_tokenizer_destroy(tok);

    write_file("tokenizer_config.json",
               "{\"do_lower_case\":false,\"tokenize_chinese_chars\":false,"
               "\"model_max_length\":1e30,\"tokenizer_class\":\"BertTokenizerFast\"}");
    ck_assert_int_eq(enso_tokenizer_load(folder, &tok, NULL), ENSO_OK);
    ck_assert_int_eq(first_id(tok, "A"), 5);
    ck_assert_int_eq(first_id(tok, "\xC3\xA9"), 8);
    ck_assert_int_eq(first_id(tok, "\xE4\xB8\xAD\xE4\xB8\xAD"), 9);
    ck_assert_uint_eq(enso_tokenizer_model_max_length(tok), 0);
    enso_tokenizer_destroy(tok);

    write_file("tokenizer_config.json", "{\"strip_accents\":false,\"model_max_length\":128}");
    ck_assert_int_eq(enso_tokenizer_load(folder, &tok, NULL), ENSO_OK);
    ck_assert_int_eq(first_id(tok, "\xC3\x89"), 8);
    ck_assert_uint_eq(enso_tokenizer_model_max_length(tok), 128);
    enso_tokenizer_destroy(tok);
}
END_TEST

START_TEST(test_tokenizer_load_vocab_txt_lines)
{
    struct enso_tokenizer *tok;

    /* no newline at the end, carriage returns, an empty line, a token twice: the later one counts
     */
    write_file("vocab.txt", "[UNK]\r\n[CLS]\r\n\r\n[SEP]\r\na\r\nb\r\na");
    ck_assert_int_eq(enso_tokenizer_load(folder, &tok, NULL), ENSO_OK);
    ck_assert_uint_eq(enso_tokenizer_size(tok), 7);
    ck_assert_int_eq(enso_tokenizer_find(tok, "[SEP]", 5), 3);
    ck_assert_int_eq(first_id(tok, "a"), 6);
    ck_assert_str_eq(enso_tokenizer_piece(tok, 4, NULL), "a");
    ck_assert_int_eq(enso_tokenizer_special_ids(tok).pad, -1);
    enso_tokenizer_destroy(tok);
}
END_TEST

START_TEST(test_tokenizer_load_special_tokens)
{
    struct enso_tokenizer *tok;
    struct enso_error err = {0};

    write_file("vocab.txt", "<u>\n<c>\n<s>\na\n<m>\n");
    write_file("special_tokens_map.json", "{\"unk_token\":\"<u>\",\"cls_token\":{\"content\":"
                                          "\"<c>\",\"lstrip\":false},\"sep_token\":\"<s>\"}");
    write_file("tokenizer_config.json",
               "{\"unk_token\":\"ignored\",\"mask_token\":\"<m>\",\"added_tokens_decoder\":{\"4\":"
               "{\"content\":\"<m>\",\"lstrip\":true,\"special\":true}}}");
    write_file("added_tokens.json", "{\"<new>\":5}");
    ck_assert_msg(enso_tokenizer_load(folder, &tok, &err) == ENSO_OK, "%s", err.message);
    ck_assert_int_eq(enso_tokenizer_special_ids(tok).unk, 0);
    ck_assert_int_eq(enso_tokenizer_special_ids(tok).cls, 1);
    ck_assert_int_eq(enso_tokenizer_special_ids(tok).sep, 2);
    ck_assert_int_eq(enso_tokenizer_special_ids(tok).mask, 4);
    ck_assert_uint_eq(enso_tokenizer_size(tok), 6);
    ck_assert_int_eq(first_id(tok, "<NEW>"), 5); /* normalised: lower case */
    ck_assert_int_eq(first_id(tok, "  <m>"), 4);
    enso_tokenizer_destroy(tok);
}
END_TEST

/* Files of a folder and what its loading must say. */
static const struct {
    const char *file1, *data1, *file2, *data2, *says;
    enum enso_status status;
} bad_folders[] = {
    {NULL, NULL, NULL, NULL, "has neither tokenizer.json nor vocab.txt", ENSO_NOT_FOUND},
    {"vocab.txt", "", NULL, NULL, "vocab.txt': the vocabulary is empty", ENSO_CORRUPT},
    {"vocab.txt", "a\nb\xFF\n", NULL, NULL, "line 2 is not UTF-8", ENSO_CORRUPT},
    {"vocab.txt", "a\nb\n", NULL, NULL, "has no token '[UNK]'", ENSO_CORRUPT},
    {"vocab.txt", "[UNK]\nb\n", NULL, NULL, "has no token '[CLS]'", ENSO_CORRUPT},
    {"vocab.txt", "[UNK]\n[CLS]\n", NULL, NULL, "has no token '[SEP]'", ENSO_CORRUPT},
    {"vocab.txt", LINES, "tokenizer_config.json", "{\"tokenizer_class\":\"PhobertTokenizer\"}",
     "the tokenizer_class 'PhobertTokenizer' is not supported", ENSO_UNSUPPORTED},
    {"vocab.txt", LINES, "tokenizer_config.json", "{\"do_lower_case\":\"yes\"}",
     "tokenizer_config.json': 'do_lower_case': expected", ENSO_CORRUPT},
    {"vocab.txt", LINES, "tokenizer_config.json", "[]", "expected an object at the top",
     ENSO_CORRUPT},
    {"vocab.txt", LINES, "special_tokens_map.json", "{\"cls_token\":\"<c>\"}",
     "special_tokens_map.json': cls_token is '<c>', which is not in the vocabulary", ENSO_CORRUPT},
    {"vocab.txt", LINES, "added_tokens.json", "{\"<n>\":-1}", "the id of '<n>'", ENSO_CORRUPT},
    {"vocab.txt", LINES, "added_tokens.json", "{\"<n>\":3}", "which is that of '[SEP]'",
     ENSO_CORRUPT},
    {"vocab.txt", LINES, "tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}",
     "added_tokens_decoder.x: the key is no id", ENSO_CORRUPT},
    {"tokenizer.json", "{" MODEL "}", "tokenizer_config.json", "{\"sep_token\":\"</s>\"}",
     "sep_token is '</s>', which is not in the vocabulary", ENSO_CORRUPT},
    {"tokenizer.json", "{" MODEL "}", "special_tokens_map.json", "{", "not valid JSON",
     ENSO_CORRUPT},
};

START_TEST(test_tokenizer_load_bad_folders)
{
    struct enso_tokenizer *tok = NULL;
    struct enso_error err = {0};

    if (bad_folders[_i].file1 != NULL)
        write_file(bad_folders[_i].file1, bad_folders[_i].data1);
    if (bad_folders[_i].file2 != NULL)
        write_file(bad_folders[_i].file2, bad_folders[_i].data2);
    ck_assert_int_eq(enso_tokenizer_load(folder, &tok, &err), bad_folders[_i].status);
    ck_assert_int_eq(err.status, bad_folders[_i].status);
    ck_assert_ptr_null(tok);
    ck_assert_msg(strstr(err.message, bad_folders[_i].says) != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, folder) != NULL, "%s", err.message);
}
END_TEST

START_TEST(test_tokenizer_load_takes_no_pipe)
{
    struct enso_tokenizer *tok;
    struct enso_error err = {0};

    ck_assert_int_eq(mkfifo(in_folder("tokenizer.json"), 0600), 0);
    ck_assert_int_eq(enso_tokenizer_load(folder, &tok, &err), ENSO_INVALID);
}
END_TEST

/* ---- oom ---- */

static enum enso_status load_once(void *context, struct enso_error *err)
{
    struct enso_tokenizer *tok = NULL;
    enum enso_status st = enso_tokenizer_load(context, &tok, err);

    enso_tokenizer_destroy(tok);
    return st;
}

START_TEST(test_tokenizer_load_oom)
{
    char dir[] = GOLDEN "/json";

    if (_i == 0)
        strcpy(dir, GOLDEN "/bert");
    ck_assert_uint_gt(enso_test_oom_sweep(load_once, dir), 10);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/tokenizer_load");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *limits = tcase_create("limits"), *oom = tcase_create("oom");

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(errors, set_up, tear_down);
    tcase_add_test(core, test_tokenizer_load_vocab_txt);
    tcase_add_test(core, test_tokenizer_load_vocab_txt_lines);
    tcase_add_test(core, test_tokenizer_load_special_tokens);
    tcase_add_loop_test(errors, test_tokenizer_load_cases, 0, ENSO_ARRAY_SIZE(cases));
    tcase_add_loop_test(errors, test_tokenizer_load_bad_folders, 0, ENSO_ARRAY_SIZE(bad_folders));
    tcase_add_test(errors, test_tokenizer_load_takes_no_pipe);
    tcase_add_test(limits, test_tokenizer_load_nested_sequences);
    tcase_add_loop_test(oom, test_tokenizer_load_oom, 0, 2);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
