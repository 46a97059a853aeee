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

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine/model/golden_rig.h"

#define TOLERANCE 2e-5
#define MAX_ITEMS 64

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

/* ---- golden files ---- */

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

    if (!golden_open(&rig, folder, isa, n_threads))
        return;
    expected = golden_expected(folder);
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

/* ---- life, lanes, threads ---- */

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

    ck_assert(golden_open(&rig, folder, "auto", 1));
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

    ck_assert(golden_open(&rig, folder, "auto", 1));
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
    json_t *expected = golden_expected(folder);
    json_t *items = json_object_get(expected, "items");
    struct enso_sample *alone[MAX_ITEMS];
    struct lane_thread threads[3];
    pthread_t ids[ENSO_ARRAY_SIZE(threads)];
    struct model_rig rig;

    ck_assert(golden_open(&rig, folder, "auto", 1));
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

/* ---- wrong inputs ---- */

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

    ck_assert(golden_open(&rig, folder, "auto", 1));
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

    ck_assert(golden_open(&rig, folder, "auto", 1));
    ENSO_TEST_OK(model_rig_sample(rig.model, folder, item, &s, &err), &err);
    if (enso_model_run(rig.model, rig.lane, &s, 1, &err) != ENSO_OK)
        ck_assert_str_ne(err.message, "");
    enso_sample_destroy(s);
    json_decref(item);
    model_rig_close(&rig);
    free(folder);
}
END_TEST

/* ---- memory that runs out ---- */

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
    json_t *expected = golden_expected(folder);
    struct run_once r = {.folder = folder,
                         .item = json_array_get(json_object_get(expected, "items"), 0)};

    ck_assert(golden_open(&r.rig, folder, "auto", 1));
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
    TCase *core = tcase_create("core");

    tcase_add_loop_test(core, test_model_golden, 0,
                        (int)(ENSO_ARRAY_SIZE(cases) * ENSO_ARRAY_SIZE(devices)));
    tcase_add_loop_test(core, test_model_warmup, 0, (int)ENSO_ARRAY_SIZE(cases));
    tcase_add_test(core, test_model_references);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");

    tcase_add_loop_test(errors, test_model_wrong_input, 0, (int)ENSO_ARRAY_SIZE(wrong_inputs));
    tcase_add_test(errors, test_model_wild_index);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");

    tcase_add_loop_test(oom, test_model_oom_load, 0, 4);
    tcase_add_test(oom, test_model_oom_run);
    suite_add_tcase(s, oom);
    TCase *threads = tcase_create("threads");

    tcase_add_test(threads, test_model_lanes_text);
    tcase_add_test(threads, test_model_lanes_pictures);
    suite_add_tcase(s, threads);
    return s;
}

ENSO_TEST_MAIN(suite)
