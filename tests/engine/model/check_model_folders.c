/* SPDX-License-Identifier: Apache-2.0
 *
 * Model folders that are not as they should be: one thing in a golden model is changed (a key, a
 * name, a length, a file that ends early or changes while it is read), and loading it must fail
 * with a sentence that names the thing, or do what the changed key says.
 */
#include "ensod_build.h"

#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/engine/model/golden_rig.h"

static const struct broken {
    const char *base; /* a case; NULL: an empty folder */
    const char *file; /* what is changed in it, see change_file; NULL: nothing */
    const char *from, *to;
    enum enso_status status;
    const char *words[3];
} broken[] = {
    /* the folder */
    {NULL, NULL, NULL, NULL, ENSO_NOT_FOUND, {"no model", "safetensors", ".onnx"}},
    {NULL, "config.json", NULL, "{}", ENSO_NOT_FOUND, {"no model"}},
    {NULL, "a.onnx", NULL, "", ENSO_CORRUPT, {"a.onnx"}},
    {"onnx_plain", "second.onnx", NULL, "", ENSO_OK, {NULL}}, /* model.onnx goes before others */
    {"bert_classifier",
     "tokenizer.json",
     NULL,
     NULL,
     ENSO_NOT_FOUND,
     {"tokenizer.json", "vocab.txt"}},
    {"bert_classifier", "tokenizer.json", NULL, "{", ENSO_CORRUPT, {"tokenizer.json"}},
    {"bert_classifier",
     "tokenizer.json",
     "\"type_id\":1",
     "\"type_id\":7",
     ENSO_CORRUPT,
     {"segment 7", "knows 2"}},
    /* config.json */
    {"bert_classifier", "config.json", NULL, "", ENSO_CORRUPT, {"config.json"}},
    {"bert_classifier", "config.json", NULL, "{\"a\": 1,}", ENSO_CORRUPT, {"config.json"}},
    {"bert_classifier", "config.json", NULL, "[]", ENSO_CORRUPT, {"config.json"}},
    {"bert_classifier", "config.json", NULL, "{}", ENSO_CORRUPT, {"model_type", "missing"}},
    {"bert_classifier",
     "config.json",
     "\"bert\"",
     "\"roberta\"",
     ENSO_UNSUPPORTED,
     {"roberta", "bert, distilbert"}},
    {"bert_classifier",
     "config.json",
     "BertForSequenceClassification",
     "BertForTokenClassification",
     ENSO_UNSUPPORTED,
     {"BertForTokenClassification", "SequenceClassification"}},
    {"bert_classifier",
     "config.json",
     "\"num_attention_heads\"",
     "\"heads\"",
     ENSO_CORRUPT,
     {"num_attention_heads", "missing"}},
    {"bert_classifier",
     "config.json",
     "\"num_attention_heads\": 4",
     "\"num_attention_heads\": 5",
     ENSO_CORRUPT,
     {"num_attention_heads 5", "hidden_size 32"}},
    {"bert_classifier",
     "config.json",
     "\"num_attention_heads\": 4",
     "\"num_attention_heads\": 0",
     ENSO_CORRUPT,
     {"num_attention_heads", "from 1"}},
    {"bert_classifier",
     "config.json",
     "\"hidden_size\": 32",
     "\"hidden_size\": \"32\"",
     ENSO_CORRUPT,
     {"hidden_size", "whole number"}},
    {"bert_classifier",
     "config.json",
     "\"num_hidden_layers\": 2",
     "\"num_hidden_layers\": 3",
     ENSO_CORRUPT,
     {"encoder.layer.2", "missing"}},
    {"bert_classifier",
     "config.json",
     "\"gelu\"",
     "\"quick_gelu\"",
     ENSO_UNSUPPORTED,
     {"quick_gelu", "gelu_new"}},
    {"bert_classifier",
     "config.json",
     "\"layer_norm_eps\": 0.001",
     "\"layer_norm_eps\": -1",
     ENSO_CORRUPT,
     {"layer_norm_eps"}},
    {"bert_classifier",
     "config.json",
     "\"absolute\"",
     "\"relative_key\"",
     ENSO_UNSUPPORTED,
     {"position_embedding_type", "relative_key", "absolute"}},
    {"bert_classifier",
     "config.json",
     "\"model_type\"",
     "\"is_decoder\": true, \"model_type\"",
     ENSO_UNSUPPORTED,
     {"is_decoder"}},
    {"distilbert_f16",
     "config.json",
     "\"n_heads\": 5",
     "\"n_heads\": 7",
     ENSO_CORRUPT,
     {"n_heads 7", "dim 40"}},
    /* labels */
    {"bert_classifier",
     "config.json",
     "\"0\": \"yes\",",
     "",
     ENSO_CORRUPT,
     {"id2label has 4 labels", "5 outputs"}},
    {"bert_classifier",
     "config.json",
     "\"0\": \"yes\"",
     "\"7\": \"yes\"",
     ENSO_CORRUPT,
     {"id2label[\"7\"]", "0 to 4"}},
    {"bert_classifier",
     "config.json",
     "\"0\": \"yes\"",
     "\"0\": 1",
     ENSO_CORRUPT,
     {"id2label[\"0\"]", "string"}},
    {"bert_classifier", "config.json", "\"id2label\"", "\"id\"", ENSO_OK, {NULL}}, /* LABEL_0 ... */
    /* weights; the safetensors header keeps its length */
    {"bert_classifier",
     "model.safetensors",
     "\"classifier.weight\"",
     "\"classifier.wei_ht\"",
     ENSO_CORRUPT,
     {"classifier.weight", "missing"}},
    {"bert_classifier",
     "model.safetensors",
     "layer.1.attention.self.key.bias",
     "layer.1.attention.self.kex.bias",
     ENSO_CORRUPT,
     {"bert.encoder.layer.1.attention.self.key.bias", "missing"}},
    {"bert_classifier",
     "config.json",
     "\"intermediate_size\": 48",
     "\"intermediate_size\": 47",
     ENSO_CORRUPT,
     {"intermediate.dense.weight", "47", "48"}},
    {"bert_classifier",
     "config.json",
     "\"vocab_size\": 82",
     "\"vocab_size\": 83",
     ENSO_CORRUPT,
     {"word_embeddings", "83", "82"}},
    {"bert_multi_label_f16",
     "vocab.txt",
     "##ing",
     "##ing\nmore\nand",
     ENSO_CORRUPT,
     {"84 tokens", "82 rows"}},
    {"bert_multi_label_f16", "vocab.txt", NULL, "", ENSO_CORRUPT, {"vocab.txt"}},
    {"bert_classifier", "model.safetensors", NULL, "", ENSO_CORRUPT, {"model.safetensors"}},
    {"bert_classifier",
     "model.safetensors",
     NULL,
     "0123456789",
     ENSO_CORRUPT,
     {"model.safetensors"}},
    {"bert_classifier", "model.safetensors", "\"F32\"", "\"I32\"", ENSO_CORRUPT, {"float"}},
    {"distilbert_classifier_sharded",
     "model-00002-of-00003.safetensors",
     NULL,
     NULL,
     ENSO_NOT_FOUND,
     {"model-00002-of-00003.safetensors"}},
    {"distilbert_classifier_sharded",
     "model.safetensors.index.json",
     NULL,
     "{\"weight_map\": 3}",
     ENSO_CORRUPT,
     {"weight_map"}},
    /* sentence-transformers */
    {"st_cls_dense", "modules.json", NULL, "[]", ENSO_CORRUPT, {"modules.json", "Transformer"}},
    {"st_cls_dense", "modules.json", NULL, "{}", ENSO_CORRUPT, {"modules.json", "Transformer"}},
    {"st_cls_dense",
     "modules.json",
     "models.Dense",
     "models.LSTM",
     ENSO_UNSUPPORTED,
     {"LSTM", "Pooling, Dense"}},
    {"st_cls_dense",
     "modules.json",
     "\"1_Pooling\"",
     "\"../elsewhere\"",
     ENSO_CORRUPT,
     {"modules.json", "path"}},
    {"st_cls_dense", "modules.json", "\"1_Pooling\"", "\"/etc\"", ENSO_CORRUPT, {"path"}},
    {"st_cls_dense",
     "1_Pooling/config.json",
     NULL,
     NULL,
     ENSO_NOT_FOUND,
     {"1_Pooling/config.json"}},
    {"st_cls_dense", "1_Pooling/config.json", "true", "false", ENSO_CORRUPT, {"pooling mode"}},
    {"st_cls_dense",
     "1_Pooling/config.json",
     "\"pooling_mode_mean_sqrt_len_tokens\": false",
     "\"pooling_mode_mean_sqrt_len_tokens\": true",
     ENSO_UNSUPPORTED,
     {"mean_sqrt_len"}},
    {"st_cls_dense", "2_Dense/config.json", "24", "25", ENSO_CORRUPT, {"in_features is 25", "24"}},
    {"st_cls_dense", "2_Dense/config.json", "20", "21", ENSO_CORRUPT, {"linear.weight", "21"}},
    {"st_cls_dense",
     "2_Dense/config.json",
     "activation.Tanh",
     "activation.Softshrink",
     ENSO_UNSUPPORTED,
     {"Softshrink", "Tanh"}},
    {"st_cls_dense", "2_Dense/model.safetensors", NULL, NULL, ENSO_NOT_FOUND, {"2_Dense"}},
    {"st_cls_dense", "sentence_bert_config.json", "16", "-1", ENSO_CORRUPT, {"max_seq_length"}},
    {"st_cls_dense", "sentence_bert_config.json", "16", "2", ENSO_CORRUPT, {"fewer than 3"}},
    /* ONNX */
    {"onnx_pictures", "model.onnx", NULL, "", ENSO_CORRUPT, {"model.onnx"}},
    {"onnx_activations",
     "model.onnx",
     "\"\tHardSwish",
     "\"\tHardSwosh",
     ENSO_UNSUPPORTED,
     {"HardSwosh", "opset 14"}},
    {"onnx_pictures", "ensod.json", NULL, "{", ENSO_CORRUPT, {"ensod.json"}},
    {"onnx_pictures", "ensod.json", "\"noise\",", "", ENSO_CORRUPT, {"4 labels", "5 classes"}},
    {"onnx_pictures", "ensod.json", "\"noise\"", "7", ENSO_CORRUPT, {"labels[3]", "string"}},
    {"onnx_pictures",
     "ensod.json",
     "image-classification",
     "image-segmentation",
     ENSO_UNSUPPORTED,
     {"image-segmentation", "image-classification"}},
    {"onnx_pictures",
     "ensod.json",
     "\"input\": {",
     "\"input\": {\"size\": [20, 15],",
     ENSO_CORRUPT,
     {"20 x 14", "20 x 15"}},
    {"onnx_pictures",
     "ensod.json",
     "\"input\": {",
     "\"input\": {\"channels\": 1,",
     ENSO_CORRUPT,
     {"ensod.json"}},
    {"onnx_pictures",
     "ensod.json",
     "\"input\": {",
     "\"input\": {\"layout\": \"NHWC\",",
     ENSO_CORRUPT,
     {"14 channels of 3 x 20"}},
    {"onnx_pictures", "ensod.json", "\"mean\"", "\"meen\"", ENSO_CORRUPT, {"ensod.json", "meen"}},
    {"onnx_pictures",
     "ensod.json",
     "{",
     "{\"file\": \"other.onnx\",",
     ENSO_CORRUPT,
     {"ensod.json", "file"}},
    {"onnx_pictures",
     "ensod.json",
     "{",
     "{\"output\": \"probs\",",
     ENSO_CORRUPT,
     {"no output 'probs'"}},
    {"onnx_pictures",
     "ensod.json",
     NULL,
     "{\"task\": \"image-classification\", \"labels\": \"labels.txt\"}",
     ENSO_NOT_FOUND,
     {"labels.txt"}},
    {"onnx_pictures",
     "ensod.json",
     NULL,
     "{\"task\": \"image-classification\", \"labels\": \"../labels.txt\"}",
     ENSO_CORRUPT,
     {"labels", "folder"}},
    {"onnx_tables",
     "ensod.json",
     NULL,
     "{\"task\": \"image-classification\"}",
     ENSO_UNSUPPORTED,
     {"one input", "2"}},
    {"onnx_activations",
     "ensod.json",
     NULL,
     "{\"task\": \"image-classification\"}",
     ENSO_UNSUPPORTED,
     {"rank 4"}},
    {"onnx_plain", "ensod.json", NULL, "{\"task\": \"image-classification\"}", ENSO_OK, {NULL}},
};

static void expect_load(const char *folder, enum enso_status status, const char *const *words,
                        size_t n_words)
{
    struct enso_error err = {0};
    struct model_rig rig;
    int st = model_rig_open(&rig, folder, "auto", 1, &err);

    ck_assert_msg(st == (int)status, "status %d: %s", st, err.message);
    if (st == ENSO_OK) {
        model_rig_close(&rig);
        return;
    }
    ck_assert_int_eq(err.status, status);
    ENSO_TEST_CONTAINS(err.message, "model 'm'"); /* the id it would be served under */
    for (size_t i = 0; i < n_words && words[i] != NULL; i++)
        ENSO_TEST_CONTAINS(err.message, words[i]);
}

START_TEST(test_model_broken)
{
    const struct broken *b = &broken[_i];
    char *folder = golden_copy(b->base, b->file, b->from, b->to);

    expect_load(folder, b->status, b->words, ENSO_ARRAY_SIZE(b->words));
    enso_test_remove_dir(folder);
}
END_TEST

START_TEST(test_model_no_folder)
{
    expect_load("/nowhere/at/all", ENSO_NOT_FOUND, (const char *const[]){"/nowhere", "exist"}, 2);
    expect_load("/dev/null", ENSO_INVALID, (const char *const[]){"neither", ".onnx"}, 2);
}
END_TEST

/* A weights file cut at many places: always a sentence, never a crash. */
static void cut_everywhere(const char *base, const char *file, size_t step)
{
    char *folder = golden_copy(base, NULL, NULL, NULL);
    char *path = enso_test_format("%s/%s", folder, file);
    struct stat st;

    ck_assert_int_eq(stat(path, &st), 0);
    for (off_t size = st.st_size - 1; size >= 0; size -= (off_t)step) {
        struct enso_error err = {0};
        struct model_rig rig;
        int status;

        ck_assert_int_eq(truncate(path, size), 0);
        status = model_rig_open(&rig, folder, "auto", 1, &err);
        ck_assert_msg(status == ENSO_CORRUPT || status == ENSO_UNSUPPORTED,
                      "%s cut to %lld bytes: status %d: %s", file, (long long)size, status,
                      err.message);
        ENSO_TEST_CONTAINS(err.message, "model 'm'");
    }
    free(path);
    enso_test_remove_dir(folder);
}

START_TEST(test_model_cut_safetensors)
{
    cut_everywhere("bert_one_label_bf16", "model.safetensors", 397);
}
END_TEST

START_TEST(test_model_cut_onnx)
{
    cut_everywhere("onnx_tables", "model.onnx", 37);
}
END_TEST

/* ---- a file that changes while it is read ---- */

static struct enso_backend meddling; /* the CPU backend, but for bind */
static const char *meddled_path;

/* Somebody writes to the weights while nodes are bound. */
static int bind_and_meddle(struct enso_device *device, const struct enso_graph *graph, int node,
                           struct enso_bound **ret_bound, struct enso_error *err)
{
    if (meddled_path != NULL) {
        size_t size;
        char *bytes = enso_test_read_file(meddled_path, &size);

        bytes[size - 1] ^= 1;
        enso_test_write_file(meddled_path, bytes, size);
        free(bytes);
        meddled_path = NULL;
    }
    return enso_backend_cpu()->bind(device, graph, node, ret_bound, err);
}

static void load_meddled(const char *base, const char *file)
{
    const struct enso_device_options how = {.name = "cpu", .n_threads = 1, .isa = "auto"};
    char *folder = golden_copy(base, NULL, NULL, NULL);
    char *path = enso_test_format("%s/%s", folder, file);
    struct enso_model_options options = {.path = folder, .id = "m", .backend = &meddling};
    struct enso_model *model = NULL;
    struct enso_error err = {0};

    meddling = *enso_backend_cpu();
    meddling.bind = bind_and_meddle;
    meddled_path = path;
    ENSO_TEST_OK(meddling.device_open(&how, &options.device, &err), &err);
    ck_assert_int_eq(enso_model_load(&options, &model, &err), ENSO_CORRUPT);
    ENSO_TEST_CONTAINS(err.message, file);
    ENSO_TEST_CONTAINS(err.message, "changed");
    meddling.device_close(options.device);
    free(path);
    enso_test_remove_dir(folder);
}

START_TEST(test_model_changed_while_read)
{
    load_meddled("bert_classifier", "model.safetensors");
    load_meddled("distilbert_classifier_sharded", "model-00003-of-00003.safetensors");
    load_meddled("st_cls_dense", "2_Dense/model.safetensors");
    load_meddled("onnx_plain", "model.onnx");
}
END_TEST

/* ---- labels and prompts ---- */

START_TEST(test_model_default_labels)
{
    char *folder = golden_copy("bert_classifier", "config.json", "\"id2label\"", "\"id\"");
    struct model_rig rig;

    ck_assert(golden_open(&rig, folder, "auto", 1));
    ck_assert_uint_eq(enso_model_info(rig.model)->n_labels, 5);
    ck_assert_str_eq(enso_model_info(rig.model)->labels[0], "LABEL_0");
    ck_assert_str_eq(enso_model_info(rig.model)->labels[4], "LABEL_4");
    model_rig_close(&rig);
    enso_test_remove_dir(folder);
}
END_TEST

/* do_lower_case of sentence_bert_config.json, with a tokenizer that keeps case. */
START_TEST(test_model_lower_case)
{
    static const struct enso_sample_options how = {.truncate = true};
    struct enso_error err = {0};
    char *folder = golden_copy("st_mean_normalize", "0_Transformer/tokenizer.json",
                               "\"lowercase\":true", "\"lowercase\":false");
    char *path = enso_test_format("%s/0_Transformer/sentence_bert_config.json", folder);

    for (int on = 0; on < 2; on++) {
        struct enso_sample *a, *b;
        struct model_rig rig;
        bool same;

        if (on == 1)
            golden_change_file(path, "\"do_lower_case\": false", "\"do_lower_case\": true");
        ck_assert(golden_open(&rig, folder, "auto", 1));
        ENSO_TEST_OK(enso_model_encode_text(rig.model, "The CAT", 7, "ON", 2, &how, &a, &err),
                     &err);
        ENSO_TEST_OK(enso_model_encode_text(rig.model, "the cat", 7, "on", 2, &how, &b, &err),
                     &err);
        same = a->n_tokens == b->n_tokens &&
               memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens) == 0;
        ck_assert_int_eq(same, on);
        enso_sample_destroy(a);
        enso_sample_destroy(b);
        model_rig_close(&rig);
    }
    free(path);
    enso_test_remove_dir(folder);
}
END_TEST

START_TEST(test_model_labels_file)
{
    char *folder = golden_copy("onnx_pictures", "ensod.json", NULL,
                               "{\"task\": \"image-classification\", \"labels\": \"labels.txt\"}");
    char *path = enso_test_format("%s/labels.txt", folder);
    static const char text[] = "one\r\ntwo words\nthr\xc3\xa9\n\nfive";
    static const char broken_text[] = "one\ntwo\nthr\xe9\n4\n5";
    struct model_rig rig;

    enso_test_write_file(path, text, sizeof text - 1);
    ck_assert(golden_open(&rig, folder, "auto", 1));
    ck_assert_uint_eq(enso_model_info(rig.model)->n_labels, 5);
    ck_assert_str_eq(enso_model_info(rig.model)->labels[0], "one");
    ck_assert_str_eq(enso_model_info(rig.model)->labels[1], "two words");
    ck_assert_str_eq(enso_model_info(rig.model)->labels[2], "thr\xc3\xa9");
    ck_assert_str_eq(enso_model_info(rig.model)->labels[3], "");
    ck_assert_str_eq(enso_model_info(rig.model)->labels[4], "five");
    model_rig_close(&rig);
    enso_test_write_file(path, broken_text, sizeof broken_text - 1);
    expect_load(folder, ENSO_CORRUPT, (const char *const[]){"labels.txt", "line 3", "UTF-8"}, 3);
    free(path);
    enso_test_remove_dir(folder);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/model_folders");
    TCase *core = tcase_create("core");

    tcase_add_test(core, test_model_default_labels);
    tcase_add_test(core, test_model_lower_case);
    tcase_add_test(core, test_model_labels_file);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");

    tcase_add_loop_test(errors, test_model_broken, 0, (int)ENSO_ARRAY_SIZE(broken));
    tcase_add_test(errors, test_model_no_folder);
    tcase_add_test(errors, test_model_cut_safetensors);
    tcase_add_test(errors, test_model_cut_onnx);
    tcase_add_test(errors, test_model_changed_while_read);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
