/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole models on the CPU backend against references that others wrote.
 *
 * Each folder of tests/engine/model/golden holds a model with random weights and expected.json:
 * what transformers (make_text.py) or PyTorch (make_onnx.py) computed from it in float64. ensod
 * computes in float32, so a sum of n terms may be off by about sqrt(n) * 6e-8 of the terms; after
 * the few layers of these nets that is 1e-6 of the largest output. TOLERANCE is 2e-5 of it: room
 * for other orders of summation and for exp and erf by polynomials (1e-7), none for a wrong epsilon
 * (the configurations have unusual ones), another GELU, a wrong edge of a pooling window.
 */
#include "ensod_build.h"

#include "tests/support/support.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/memory.h"
#include "engine/text/tokenizer.h"
#include "tests/engine/model/model_rig.h"

#define TOLERANCE 2e-5
#define MAX_ITEMS 64
#define GOLDEN "tests/engine/model/golden"

static const char *const cases[] = {"bert_classifier",     "bert_multi_label_f16",
                                    "bert_one_label_bf16", "distilbert_classifier_sharded",
                                    "distilbert_f16",      "bert_bare_old_names",
                                    "bert_masked_lm",      "distilbert_bare",
                                    "st_mean_normalize",   "st_cls_dense",
                                    "st_max_two_dense",    "st_concatenated_prompt",
                                    "onnx_plain",          "onnx_plain_fixed",
                                    "onnx_mobile",         "onnx_residual",
                                    "onnx_activations",    "onnx_arithmetic",
                                    "onnx_tables",         "onnx_pictures"};

static const struct {
    const char *isa;
    unsigned n_threads;
} devices[] = {{"generic", 1}, {"generic", 2}, {"avx2", 1}, {"avx2", 2}};

static char *golden_folder(const char *name)
{
    char *relative = enso_test_format("%s/%s", GOLDEN, name);
    char *path = enso_test_source(relative);

    free(relative);
    return path;
}

static json_t *read_json(const char *folder, const char *name)
{
    char *path = enso_test_format("%s/%s", folder, name);
    json_t *json = json_load_file(path, 0, NULL);

    ck_assert_msg(json != NULL, "%s is not there or not JSON", path);
    free(path);
    return json;
}

/* A rig for a golden folder; false, with a line, when this processor lacks the instructions. */
static bool open_golden(struct model_rig *rig, const char *folder, const char *isa,
                        unsigned n_threads)
{
    struct enso_error err = {0};
    int st = model_rig_open(rig, folder, isa, n_threads, &err);

    if (st == ENSO_UNSUPPORTED && strcmp(isa, "avx2") == 0 && strstr(err.message, "avx2") != NULL) {
        printf("skipped: %s\n", err.message);
        return false;
    }
    ENSO_TEST_OK(st, &err);
    return true;
}

/* --- golden files -------------------------------------------------------------------------------
 */

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static long long int_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void compare_facts(const struct enso_model_info *info, const json_t *expected)
{
    const json_t *labels = json_object_get(expected, "labels");

    ck_assert_str_eq(enso_task_name(info->task), text_of(expected, "task"));
    ck_assert_str_eq(info->format, text_of(expected, "format"));
    ck_assert_str_eq(info->dtype, "float32");
    ck_assert_str_eq(info->device, "cpu");
    ck_assert(info->weight_bytes > 0 && info->file_bytes > 0);
    ck_assert_uint_eq(info->n_labels, json_array_size(labels));
    for (uint32_t i = 0; i < info->n_labels; i++)
        ck_assert_str_eq(info->labels[i], json_string_value(json_array_get(labels, i)));
    ck_assert_int_eq(info->multi_label, json_is_true(json_object_get(expected, "multi_label")));
    ck_assert_uint_eq(info->dimensions, int_of(expected, "dimensions"));
    ck_assert_uint_eq(info->max_tokens, int_of(expected, "max_tokens"));
    ck_assert_int_eq(info->batched, !json_is_false(json_object_get(expected, "batched")));
    ck_assert_int_eq(info->normalized, json_is_true(json_object_get(expected, "normalized")));
    ck_assert_int_eq(info->pooling_given, json_is_true(json_object_get(expected, "pooling_given")));
    ck_assert_pstr_eq(info->pooling, text_of(expected, "pooling"));
    if (text_of(expected, "architecture") != NULL)
        ck_assert_str_eq(info->architecture, text_of(expected, "architecture"));
}

static double largest(const json_t *values)
{
    double most = 0;

    for (size_t i = 0; i < json_array_size(values); i++)
        most = fmax(most, fabs(json_number_value(json_array_get(values, i))));
    return most;
}

/* One output against {"shape": ..., "values": ...}, where = case and item. */
static void compare_tensor(const struct enso_tensor *t, const json_t *expected, const char *where)
{
    const json_t *shape = json_object_get(expected, "shape");
    const json_t *values = json_object_get(expected, "values");
    double limit = TOLERANCE * fmax(largest(values), 0.1);

    ck_assert_msg(t->rank == json_array_size(shape), "%s: rank %u", where, t->rank);
    for (uint8_t d = 0; d < t->rank; d++)
        ck_assert_msg(t->dims[d] == json_integer_value(json_array_get(shape, d)),
                      "%s: dimension %u is %lld", where, d, (long long)t->dims[d]);
    for (size_t i = 0; i < json_array_size(values); i++) {
        double should = json_number_value(json_array_get(values, i)), is = model_rig_number(t, i);

        ck_assert_msg(fabs(is - should) <= limit, "%s: value %zu is %.9g, should be %.9g +- %.2g",
                      where, i, is, should, limit);
    }
}

static void compare_item(const struct enso_sample *s, const json_t *item, const char *where)
{
    const json_t *outputs = json_object_get(item, "outputs");

    if (json_object_get(item, "n_tokens") != NULL) {
        ck_assert_msg(s->n_tokens == int_of(item, "n_tokens"), "%s: %u tokens", where, s->n_tokens);
        ck_assert_msg(s->truncated == json_is_true(json_object_get(item, "truncated")),
                      "%s: truncated %d", where, s->truncated);
    }
    ck_assert_uint_eq(s->n_outputs, outputs != NULL ? json_array_size(outputs) : 1);
    for (uint32_t i = 0; i < s->n_outputs; i++)
        compare_tensor(&s->outputs[i], outputs != NULL ? json_array_get(outputs, i) : item, where);
}

static void same_bits(const struct enso_sample *a, const struct enso_sample *b, const char *where)
{
    ck_assert_uint_eq(a->n_outputs, b->n_outputs);
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        size_t size = enso_tensor_bytes(&a->outputs[i]);

        ck_assert_uint_eq(size, enso_tensor_bytes(&b->outputs[i]));
        ck_assert_msg(memcmp(a->outputs[i].data, b->outputs[i].data, size) == 0,
                      "%s: other bits in a batch than alone", where);
    }
}

static struct enso_sample *make_sample(const struct model_rig *rig, const char *folder,
                                       const json_t *item)
{
    struct enso_error err = {0};
    struct enso_sample *s = NULL;

    ENSO_TEST_OK(model_rig_sample(rig->model, folder, item, &s, &err), &err);
    return s;
}

static void run(const struct model_rig *rig, struct enso_sample **samples, size_t n)
{
    struct enso_error err = {0};

    ENSO_TEST_OK(enso_model_run(rig->model, rig->lane, samples, n, &err), &err);
}

/* All items in batches of `size`, from the last to the first: the same bits as alone. */
static void run_batches(const struct model_rig *rig, const char *folder, const json_t *items,
                        struct enso_sample *const *alone, size_t size)
{
    struct enso_sample *samples[MAX_ITEMS];
    size_t n = 0;

    for (size_t i = json_array_size(items); i-- > 0;) {
        samples[n++] = make_sample(rig, folder, json_array_get(items, i));
        if (n < size && i > 0)
            continue;
        run(rig, samples, n);
        for (size_t k = 0; k < n; k++) {
            char *where = enso_test_format("%s: item %zu of a batch of %zu", folder, i + k, n);

            same_bits(alone[i + k], samples[n - 1 - k], where);
            enso_sample_destroy(samples[n - 1 - k]);
            free(where);
        }
        n = 0;
    }
}

static void play_golden(const char *folder, const char *isa, unsigned n_threads)
{
    struct enso_sample *alone[MAX_ITEMS];
    struct model_rig rig;
    json_t *expected, *items;

    if (!open_golden(&rig, folder, isa, n_threads))
        return;
    expected = read_json(folder, "expected.json");
    items = json_object_get(expected, "items");
    ck_assert(json_array_size(items) > 0 && json_array_size(items) <= MAX_ITEMS);
    compare_facts(enso_model_info(rig.model), expected);
    for (size_t i = 0; i < json_array_size(items); i++) {
        char *where = enso_test_format("%s (%s, %u threads): item %zu", folder, isa, n_threads, i);

        alone[i] = make_sample(&rig, folder, json_array_get(items, i));
        run(&rig, &alone[i], 1);
        compare_item(alone[i], json_array_get(items, i), where);
        free(where);
    }
    if (enso_model_info(rig.model)->batched)
        for (size_t size = 2; size <= MAX_ITEMS; size *= 4)
            run_batches(&rig, folder, items, alone, size);
    for (size_t i = 0; i < json_array_size(items); i++)
        enso_sample_destroy(alone[i]);
    json_decref(expected);
    model_rig_close(&rig);
}

START_TEST(test_model_golden)
{
    char *folder = golden_folder(cases[_i / (int)ENSO_ARRAY_SIZE(devices)]);

    play_golden(folder, devices[_i % (int)ENSO_ARRAY_SIZE(devices)].isa,
                devices[_i % (int)ENSO_ARRAY_SIZE(devices)].n_threads);
    free(folder);
}
END_TEST

/* --- life, lanes, threads -----------------------------------------------------------------------
 */

static json_t *item_of(const char *text)
{
    json_t *item = json_loads(text, 0, NULL);

    ck_assert_msg(item != NULL, "not JSON: %s", text);
    return item;
}

/* Run one item alone and give its sample. */
static struct enso_sample *answer(const struct model_rig *rig, const char *folder, const char *text)
{
    json_t *item = item_of(text);
    struct enso_sample *s = make_sample(rig, folder, item);

    run(rig, &s, 1);
    json_decref(item);
    return s;
}

/* A model outlives the reference that loaded it, and forgets lanes that close. */
START_TEST(test_model_references)
{
    const struct enso_backend *backend = enso_backend_cpu();
    char *folder = golden_folder("bert_classifier");
    struct enso_sample *first, *again;
    struct enso_error err = {0};
    struct model_rig rig;

    ck_assert(open_golden(&rig, folder, "auto", 1));
    first = answer(&rig, folder, "{\"text\": \"the cat\"}");
    ck_assert_ptr_eq(enso_model_ref(rig.model), rig.model);
    ck_assert_ptr_null(enso_model_unref(rig.model));
    enso_model_forget_lane(rig.model, rig.lane);
    enso_model_forget_lane(rig.model, rig.lane); /* one that it does not know */
    backend->lane_close(rig.lane);
    ENSO_TEST_OK(backend->lane_open(rig.device, &rig.lane, &err), &err);
    again = answer(&rig, folder, "{\"text\": \"the cat\"}");
    same_bits(first, again, "a new lane");
    enso_sample_destroy(first);
    enso_sample_destroy(again);
    model_rig_close(&rig);
    ck_assert_ptr_null(enso_model_unref(NULL));
    free(folder);
}
END_TEST

/* Warm-up samples of every size run. */
START_TEST(test_model_warmup)
{
    static const double scales[] = {0, 0.01, 0.5, 1};
    char *folder = golden_folder(cases[_i]);
    struct enso_error err = {0};
    struct model_rig rig;

    ck_assert(open_golden(&rig, folder, "auto", 1));
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(scales); i++) {
        struct enso_sample *s = NULL;

        ENSO_TEST_OK(enso_model_warmup_sample(rig.model, scales[i], &s, &err), &err);
        ck_assert_uint_ge(enso_sample_cost(s), 1);
        run(&rig, &s, 1);
        enso_sample_destroy(s);
    }
    model_rig_close(&rig);
    free(folder);
}
END_TEST

struct lane_thread {
    const struct model_rig *rig;
    const char *folder;
    const json_t *items;
    struct enso_sample *const *alone;
    bool same;
};

/* A lane of its own: encode and run every item a few times. */
static void *lane_main(void *arg)
{
    const struct enso_backend *backend = enso_backend_cpu();
    struct lane_thread *t = arg;
    struct enso_lane *lane;

    t->same = backend->lane_open(t->rig->device, &lane, NULL) == ENSO_OK;
    for (size_t round = 0; t->same && round < 3; round++) {
        for (size_t i = 0; t->same && i < json_array_size(t->items); i++) {
            struct enso_sample *s = NULL;

            t->same = model_rig_sample(t->rig->model, t->folder, json_array_get(t->items, i), &s,
                                       NULL) == ENSO_OK &&
                      enso_model_run(t->rig->model, lane, &s, 1, NULL) == ENSO_OK &&
                      memcmp(s->outputs[0].data, t->alone[i]->outputs[0].data,
                             enso_tensor_bytes(&s->outputs[0])) == 0;
            enso_sample_destroy(s);
        }
    }
    enso_model_forget_lane(t->rig->model, lane);
    backend->lane_close(lane);
    return NULL;
}

/* Three lanes run one model at once, and answer as one does. */
static void play_lanes(const char *name)
{
    char *folder = golden_folder(name);
    json_t *expected = read_json(folder, "expected.json");
    json_t *items = json_object_get(expected, "items");
    struct enso_sample *alone[MAX_ITEMS];
    struct lane_thread threads[3];
    pthread_t ids[ENSO_ARRAY_SIZE(threads)];
    struct model_rig rig;

    ck_assert(open_golden(&rig, folder, "auto", 1));
    for (size_t i = 0; i < json_array_size(items); i++) {
        alone[i] = make_sample(&rig, folder, json_array_get(items, i));
        run(&rig, &alone[i], 1);
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(threads); i++) {
        threads[i] = (struct lane_thread){&rig, folder, items, alone, false};
        ck_assert_int_eq(pthread_create(&ids[i], NULL, lane_main, &threads[i]), 0);
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(threads); i++) {
        ck_assert_int_eq(pthread_join(ids[i], NULL), 0);
        ck_assert_msg(threads[i].same, "%s: lane %zu answers otherwise", name, i);
    }
    for (size_t i = 0; i < json_array_size(items); i++)
        enso_sample_destroy(alone[i]);
    json_decref(expected);
    model_rig_close(&rig);
    free(folder);
}

START_TEST(test_model_lanes_text)
{
    play_lanes("bert_classifier");
}
END_TEST

START_TEST(test_model_lanes_pictures)
{
    play_lanes("onnx_pictures");
}
END_TEST

/* --- wrong inputs -------------------------------------------------------------------------------
 */

static const struct {
    const char *name, *item;
    enum enso_status status;
    const char *words[2], *code;
} wrong_inputs[] = {
    {"bert_classifier",
     "{\"text\": \"a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a "
     "a a a\", \"truncate\": false}",
     ENSO_INVALID,
     {"40", "43"},
     "too_long"},
    {"bert_classifier", "{\"ids\": []}", ENSO_INVALID, {"must not be empty"}, ""},
    {"bert_classifier", "{\"ids\": [5, 82]}", ENSO_INVALID, {"82", "0 to 81"}, ""},
    {"bert_classifier", "{\"ids\": [-1]}", ENSO_INVALID, {"-1"}, ""},
    {"bert_classifier", "{\"ids\": [4294967301]}", ENSO_INVALID, {"4294967301"}, ""},
    {"bert_classifier",
     "{\"ids\": [5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,"
     "5], \"truncate\": false}",
     ENSO_INVALID,
     {"41 tokens", "at most 40"},
     "too_long"},
    {"bert_classifier", "{\"image\": \"config.json\"}", ENSO_UNSUPPORTED, {"images", "text"}, ""},
    {"bert_classifier", "{\"inputs\": []}", ENSO_UNSUPPORTED, {"tensors", "text"}, ""},
    {"onnx_plain", "{\"text\": \"cat\"}", ENSO_UNSUPPORTED, {"text", "tensors"}, ""},
    {"onnx_plain", "{\"ids\": [1]}", ENSO_UNSUPPORTED, {"token ids", "tensors"}, ""},
    {"onnx_pictures", "{\"image\": \"ensod.json\"}", ENSO_UNSUPPORTED, {"picture", "PNG"}, ""},
    {"onnx_plain", "{\"inputs\": []}", ENSO_INVALID, {"1 inputs", "0 were sent"}, ""},
    {"onnx_plain",
     "{\"inputs\": [{\"dtype\": \"INT64\", \"shape\": [1, 3, 21, 19]}]}",
     ENSO_INVALID,
     {"INT64", "FP32"},
     ""},
    {"onnx_plain",
     "{\"inputs\": [{\"dtype\": \"FP32\", \"shape\": [1, 3, 21, 20]}]}",
     ENSO_INVALID,
     {"shape", "'x'"},
     ""},
    {"onnx_plain",
     "{\"inputs\": [{\"dtype\": \"FP32\", \"shape\": [3, 21, 19]}]}",
     ENSO_INVALID,
     {"shape", "'x'"},
     ""},
    {"onnx_plain",
     "{\"inputs\": [{\"dtype\": \"FP32\", \"shape\": [0, 3, 21, 19]}]}",
     ENSO_INVALID,
     {"shape", "at least 1"},
     ""},
    {"onnx_plain_fixed",
     "{\"inputs\": [{\"dtype\": \"FP32\", \"shape\": [2, 3, 21, 19]}]}",
     ENSO_INVALID,
     {"shape", "'x'"},
     ""},
    {"onnx_tables",
     "{\"inputs\": [{\"dtype\": \"INT64\", \"shape\": [2, 5], \"below\": 9, \"ramp\": 1}, "
     "{\"dtype\": \"INT32\", \"shape\": [3, 3], \"below\": 9, \"ramp\": 1}]}",
     ENSO_INVALID,
     {"shape", "'extra'"},
     ""},
};

START_TEST(test_model_wrong_input)
{
    char *folder = golden_folder(wrong_inputs[_i].name);
    json_t *item = item_of(wrong_inputs[_i].item);
    struct enso_error err = {0};
    struct enso_sample *s = NULL;
    struct model_rig rig;
    int st;

    ck_assert(open_golden(&rig, folder, "auto", 1));
    st = model_rig_sample(rig.model, folder, item, &s, &err);
    ck_assert_msg(st == (int)wrong_inputs[_i].status && err.status == wrong_inputs[_i].status,
                  "%s: status %d: %s", wrong_inputs[_i].item, st, err.message);
    ck_assert_ptr_null(s);
    ck_assert_str_eq(err.code, wrong_inputs[_i].code);
    for (size_t i = 0; i < 2 && wrong_inputs[_i].words[i] != NULL; i++)
        ENSO_TEST_CONTAINS(err.message, wrong_inputs[_i].words[i]);
    json_decref(item);
    model_rig_close(&rig);
    free(folder);
}
END_TEST

/* An id that the tensors' graph cannot look up must fail the batch or be caught, not the daemon. */
START_TEST(test_model_wild_index)
{
    char *folder = golden_folder("onnx_tables");
    json_t *item = item_of("{\"inputs\": [{\"dtype\": \"INT64\", \"shape\": [1, 5], \"values\": "
                           "[0, 37, -38, 1000000000000, 1]}, {\"dtype\": \"INT32\", \"shape\": "
                           "[1, 3], \"values\": [1, 2, 3]}]}");
    struct enso_error err = {0};
    struct enso_sample *s = NULL;
    struct model_rig rig;

    ck_assert(open_golden(&rig, folder, "auto", 1));
    ENSO_TEST_OK(model_rig_sample(rig.model, folder, item, &s, &err), &err);
    if (enso_model_run(rig.model, rig.lane, &s, 1, &err) != ENSO_OK)
        ck_assert_str_ne(err.message, "");
    enso_sample_destroy(s);
    json_decref(item);
    model_rig_close(&rig);
    free(folder);
}
END_TEST

/* --- broken folders -----------------------------------------------------------------------------
 */

static void copy_folder(const char *from, const char *to)
{
    DIR *dir = opendir(from);

    ck_assert_msg(dir != NULL, "no folder %s", from);
    ck_assert(mkdir(to, 0700) == 0 || access(to, W_OK) == 0);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char *a = enso_test_format("%s/%s", from, e->d_name);
        char *b = enso_test_format("%s/%s", to, e->d_name);
        struct stat st;

        ck_assert_int_eq(stat(a, &st), 0);
        if (S_ISREG(st.st_mode)) {
            size_t size;
            char *bytes = enso_test_read_file(a, &size);

            enso_test_write_file(b, bytes, size);
            free(bytes);
        } else if (e->d_name[0] != '.') {
            copy_folder(a, b);
        }
        free(a);
        free(b);
    }
    (void)closedir(dir); /* only read */
}

/* Replace the first `from` in a file by `to`; from NULL: the whole content; to NULL: no file. */
static void change_file(const char *path, const char *from, const char *to)
{
    char *bytes, *at, *changed;
    size_t size, head, n_from, n_to;

    if (to == NULL) {
        ck_assert_msg(unlink(path) == 0, "no %s", path);
        return;
    }
    n_to = strlen(to);
    if (from == NULL) {
        enso_test_write_file(path, to, n_to);
        return;
    }
    bytes = enso_test_read_file(path, &size);
    n_from = strlen(from);
    at = memmem(bytes, size, from, n_from);
    ck_assert_msg(at != NULL, "no '%s' in %s", from, path);
    head = (size_t)(at - bytes);
    changed = malloc(size - n_from + n_to + 1);
    ck_assert_ptr_nonnull(changed);
    memcpy(changed, bytes, head);
    memcpy(changed + head, to, n_to);
    memcpy(changed + head + n_to, at + n_from, size - head - n_from);
    enso_test_write_file(path, changed, size - n_from + n_to);
    free(bytes);
    free(changed);
}

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

/* A fresh folder: a copy of a case (or empty), with one change. */
static char *broken_folder(const char *base, const char *file, const char *from, const char *to)
{
    char *folder = enso_test_make_dir();

    if (base != NULL) {
        char *golden = golden_folder(base);

        copy_folder(golden, folder);
        free(golden);
    }
    if (file != NULL) {
        char *path = enso_test_format("%s/%s", folder, file);

        change_file(path, from, to);
        free(path);
    }
    return folder;
}

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
    char *folder = broken_folder(b->base, b->file, b->from, b->to);

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
    char *folder = broken_folder(base, NULL, NULL, NULL);
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

/* --- a file that changes while it is read --------------------------------------------------------
 */

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
    char *folder = broken_folder(base, NULL, NULL, NULL);
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

/* --- labels and prompts --------------------------------------------------------------------------
 */

START_TEST(test_model_default_labels)
{
    char *folder = broken_folder("bert_classifier", "config.json", "\"id2label\"", "\"id\"");
    struct model_rig rig;

    ck_assert(open_golden(&rig, folder, "auto", 1));
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
    char *folder = broken_folder("st_mean_normalize", "0_Transformer/tokenizer.json",
                                 "\"lowercase\":true", "\"lowercase\":false");
    char *path = enso_test_format("%s/0_Transformer/sentence_bert_config.json", folder);

    for (int on = 0; on < 2; on++) {
        struct enso_sample *a, *b;
        struct model_rig rig;
        bool same;

        if (on == 1)
            change_file(path, "\"do_lower_case\": false", "\"do_lower_case\": true");
        ck_assert(open_golden(&rig, folder, "auto", 1));
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
    char *folder =
        broken_folder("onnx_pictures", "ensod.json", NULL,
                      "{\"task\": \"image-classification\", \"labels\": \"labels.txt\"}");
    char *path = enso_test_format("%s/labels.txt", folder);
    static const char text[] = "one\r\ntwo words\nthr\xc3\xa9\n\nfive";
    static const char broken_text[] = "one\ntwo\nthr\xe9\n4\n5";
    struct model_rig rig;

    enso_test_write_file(path, text, sizeof text - 1);
    ck_assert(open_golden(&rig, folder, "auto", 1));
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

/* --- memory that runs out
 * -------------------------------------------------------------------------
 */

static enum enso_status load_once(void *context, struct enso_error *err)
{
    struct model_rig rig;
    int st = model_rig_open(&rig, context, "auto", 1, err);

    if (st == ENSO_OK)
        model_rig_close(&rig);
    return (enum enso_status)st;
}

static void sweep_load(const char *name)
{
    char *folder = golden_folder(name);

    ck_assert_uint_gt(enso_test_oom_sweep(load_once, folder), 20);
    free(folder);
}

START_TEST(test_model_oom_load)
{
    static const char *const swept[] = {"bert_one_label_bf16", "st_max_two_dense", "onnx_tables",
                                        "onnx_pictures"};

    sweep_load(swept[_i]);
}
END_TEST

struct run_once {
    struct model_rig rig;
    const char *folder;
    json_t *item;
};

static enum enso_status run_one(void *context, struct enso_error *err)
{
    struct run_once *r = context;
    struct enso_sample *s = NULL;
    int st = model_rig_sample(r->rig.model, r->folder, r->item, &s, err);

    if (st == ENSO_OK)
        st = enso_model_run(r->rig.model, r->rig.lane, &s, 1, err);
    enso_sample_destroy(s);
    return (enum enso_status)st;
}

static void sweep_run(const char *name)
{
    char *folder = golden_folder(name);
    json_t *expected = read_json(folder, "expected.json");
    struct run_once r = {.folder = folder,
                         .item = json_array_get(json_object_get(expected, "items"), 0)};

    ck_assert(open_golden(&r.rig, folder, "auto", 1));
    ck_assert_uint_gt(enso_test_oom_sweep(run_one, &r), 3);
    model_rig_close(&r.rig);
    json_decref(expected);
    free(folder);
}

START_TEST(test_model_oom_run)
{
    sweep_run("st_concatenated_prompt");
    sweep_run("onnx_tables");
    sweep_run("onnx_pictures");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/model");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");
    TCase *oom = tcase_create("oom"), *threads = tcase_create("threads");

    tcase_add_loop_test(core, test_model_golden, 0,
                        (int)(ENSO_ARRAY_SIZE(cases) * ENSO_ARRAY_SIZE(devices)));
    tcase_add_loop_test(core, test_model_warmup, 0, (int)ENSO_ARRAY_SIZE(cases));
    tcase_add_test(core, test_model_references);
    tcase_add_test(core, test_model_default_labels);
    tcase_add_test(core, test_model_lower_case);
    tcase_add_test(core, test_model_labels_file);
    tcase_add_loop_test(errors, test_model_wrong_input, 0, (int)ENSO_ARRAY_SIZE(wrong_inputs));
    tcase_add_test(errors, test_model_wild_index);
    tcase_add_loop_test(errors, test_model_broken, 0, (int)ENSO_ARRAY_SIZE(broken));
    tcase_add_test(errors, test_model_no_folder);
    tcase_add_test(errors, test_model_cut_safetensors);
    tcase_add_test(errors, test_model_cut_onnx);
    tcase_add_test(errors, test_model_changed_while_read);
    tcase_add_loop_test(oom, test_model_oom_load, 0, 4);
    tcase_add_test(oom, test_model_oom_run);
    tcase_add_test(threads, test_model_lanes_text);
    tcase_add_test(threads, test_model_lanes_pictures);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    suite_add_tcase(s, threads);
    return s;
}

ENSO_TEST_MAIN(suite)
