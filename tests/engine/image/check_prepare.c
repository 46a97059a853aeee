/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/image/spec and prepare: tensors identical to transformers' and torchvision's steps, and
 * what is wrong in preprocessor_config.json and ensod.json said with file and key.
 */
#include "engine/image/prepare.h"

#include <check.h>
#include <math.h>
#include <pthread.h>

#include "tests/engine/image/image_test.h"

static void check_tensor(const json_t *row, const struct enso_image_spec *spec)
{
    const char *file = row_string(row, "file");
    struct enso_image image = decode_golden(file, spec->channels);
    struct enso_error err = {0};
    uint32_t height = 0, width = 0;
    if (enso_image_prepare_size(spec, image.width, image.height, &height, &width, &err) != ENSO_OK)
        ck_abort_msg("%s: %s", file, err.message);
    const json_t *shape = json_object_get(row, "shape");
    bool nchw = spec->layout == ENSO_IMAGE_NCHW;
    ck_assert_int_eq(json_integer_value(json_array_get(shape, nchw ? 0 : 2)), spec->channels);
    ck_assert_int_eq(json_integer_value(json_array_get(shape, nchw ? 1 : 0)), height);
    ck_assert_int_eq(json_integer_value(json_array_get(shape, nchw ? 2 : 1)), width);

    size_t n = (size_t)height * width * spec->channels;
    uint8_t *pixels = enso_alloc_array(n, 1);
    float *out = enso_alloc_array(n, sizeof *out), table[ENSO_IMAGE_TABLE_SIZE];
    if (enso_image_prepare(spec, &image, pixels, &err) != ENSO_OK)
        ck_abort_msg("%s: %s", file, err.message);
    enso_image_table(spec, table);
    enso_image_normalise(spec, table, pixels, (size_t)height * width, out);
    const json_t *first = json_object_get(row, "first");
    ck_assert_msg(fnv1a(out, n * sizeof *out) == strtoull(row_string(row, "fnv1a"), NULL, 16),
                  "%s: begins with %.9g %.9g %.9g, expected %.9g %.9g %.9g", json_dumps(row, 0),
                  out[0], out[1], out[2], json_number_value(json_array_get(first, 0)),
                  json_number_value(json_array_get(first, 1)),
                  json_number_value(json_array_get(first, 2)));
    enso_free(out);
    enso_free(pixels);
    enso_image_done(&image);
}

static void check_prepare_row(const json_t *row)
{
    struct enso_image_spec spec, defaults;
    struct enso_error err = {0};
    enum enso_status st;
    const json_t *config = json_object_get(row, "huggingface");
    enso_image_spec_default(&defaults, 16, 16, 3);
    if (config)
        st = enso_image_spec_from_huggingface(config, "preprocessor_config.json", &spec, &err);
    else
        st = enso_image_spec_from_ensod(json_object_get(row, "ensod"), "ensod.json", &defaults,
                                        &spec, &err);
    ck_assert_msg(st == ENSO_OK, "%s: %s", json_dumps(row, 0), err.message);
    check_tensor(row, &spec);
}

START_TEST(test_prepare_is_the_references)
{
    ck_assert_uint_ge(each_line("prepare.jsonl", check_prepare_row), 100);
}
END_TEST

static json_t *parse(const char *text)
{
    json_t *root;
    struct enso_error err = {0};
    if (enso_json_parse(text, strlen(text), NULL, &root, &err) != ENSO_OK)
        ck_abort_msg("%s: %s", text, err.message);
    return root;
}

START_TEST(test_spec_defaults)
{
    struct enso_image_spec spec, defaults;
    uint32_t height, width;
    json_t *root = parse("{}");
    enso_image_spec_default(&defaults, 28, 24, 1);
    ck_assert_int_eq(enso_image_spec_from_ensod(root, "f", &defaults, &spec, NULL), ENSO_OK);
    ck_assert_uint_eq(spec.channels, 1);
    ck_assert_int_eq(spec.fit, ENSO_IMAGE_FIT_EXACT);
    ck_assert(!spec.normalise && spec.rescale && !spec.crop && !spec.invert);
    ck_assert(enso_image_spec_fixed_size(&spec, &height, &width));
    ck_assert_uint_eq(height, 28);
    ck_assert_uint_eq(width, 24);
    ck_assert_int_eq(enso_image_spec_from_huggingface(root, "f", &spec, NULL), ENSO_OK);
    ck_assert_uint_eq(spec.height, 224);
    ck_assert_uint_eq(spec.channels, 3);
    json_decref(root);
    root = parse("{\"size\":{\"shortest_edge\":99},\"image_mean\":[0.5],\"image_std\":[0.25]}");
    ck_assert_int_eq(enso_image_spec_from_huggingface(root, "f", &spec, NULL), ENSO_OK);
    ck_assert_uint_eq(spec.channels, 1);
    ck_assert(!enso_image_spec_fixed_size(&spec, &height, &width));
    json_decref(root);
}
END_TEST

START_TEST(test_spec_errors_name_file_and_key)
{
    static const struct {
        const char *text;
        bool ensod;
        enum enso_status status;
        const char *word;
    } cases[] = {
        {"[]", false, ENSO_INVALID, "expected an object"},
        {"{\"image_processor_type\":\"OwlViTImageProcessor\"}", false, ENSO_UNSUPPORTED,
         "OwlViTImageProcessor"},
        {"{\"image_processor_type\":7}", false, ENSO_INVALID, "image_processor_type"},
        {"{\"size\":\"large\"}", false, ENSO_INVALID, "'size'"},
        {"{\"size\":0}", false, ENSO_INVALID, "'size'"},
        {"{\"size\":1.5}", false, ENSO_INVALID, "'size'"},
        {"{\"size\":[1,2,3]}", false, ENSO_INVALID, "'size'"},
        {"{\"size\":{\"height\":3}}", false, ENSO_INVALID, "'size.width' is missing"},
        {"{\"size\":{\"shortest_edge\":5000}}", false, ENSO_INVALID, "between 1 and 4096"},
        {"{\"size\":{\"longest_edge\":5}}", false, ENSO_UNSUPPORTED, "longest_edge"},
        {"{\"resample\":6}", false, ENSO_INVALID, "'resample'"},
        {"{\"do_resize\":1}", false, ENSO_INVALID, "'do_resize'"},
        {"{\"do_center_crop\":true,\"crop_size\":{\"height\":-1}}", false, ENSO_INVALID,
         "'crop_size.height'"},
        {"{\"image_mean\":[1,2]}", false, ENSO_INVALID, "'image_mean'"},
        {"{\"image_mean\":[1,2,\"3\"]}", false, ENSO_INVALID, "'image_mean'"},
        {"{\"image_mean\":[0],\"image_std\":[1,1,1]}", false, ENSO_INVALID, "'image_std' has 3"},
        {"{\"image_std\":[0.5,0,0.5]}", false, ENSO_INVALID, "'image_std'"},
        {"{\"image_std\":1e-60}", false, ENSO_INVALID, "'image_std'"},
        {"{\"image_mean\":1e60}", false, ENSO_INVALID, "'image_mean'"},
        {"{\"rescale_factor\":\"1/255\"}", false, ENSO_INVALID, "'rescale_factor'"},
        {"{\"image_processor_type\":\"ConvNextImageProcessor\",\"size\":[3,4]}", false,
         ENSO_INVALID, "shortest_edge"},
        {"{\"image_processor_type\":\"ConvNextImageProcessor\",\"crop_pct\":0}", false,
         ENSO_INVALID, "'crop_pct'"},
        {"7", true, ENSO_INVALID, "expected an object"},
        {"{\"input\":7}", true, ENSO_INVALID, "'input'"},
        {"{\"input\":{\"sise\":7}}", true, ENSO_INVALID, "'input.sise' is not known"},
        {"{\"input\":{\"size\":7000}}", true, ENSO_INVALID, "'input.size'"},
        {"{\"input\":{\"resize\":\"crop\"}}", true, ENSO_INVALID, "'shortest', 'exact' or 'none'"},
        {"{\"input\":{\"resize\":\"shortest\",\"size\":[3,4]}}", true, ENSO_INVALID,
         "'input.size'"},
        {"{\"input\":{\"crop\":[]}}", true, ENSO_INVALID, "'input.crop'"},
        {"{\"input\":{\"channels\":2}}", true, ENSO_INVALID, "'input.channels'"},
        {"{\"input\":{\"channels\":4}}", true, ENSO_INVALID, "'input.channels'"},
        {"{\"input\":{\"channels\":1,\"mean\":[1,2,3]}}", true, ENSO_INVALID, "'input.mean'"},
        {"{\"input\":{\"std\":[0]}}", true, ENSO_INVALID, "'input.std'"},
        {"{\"input\":{\"scale\":null,\"layout\":\"nchw\"}}", true, ENSO_INVALID,
         "'NCHW' or 'NHWC'"},
        {"{\"input\":{\"resample\":\"cubic\"}}", true, ENSO_INVALID, "'bicubic'"},
        {"{\"input\":{\"invert\":\"yes\"}}", true, ENSO_INVALID, "'input.invert'"},
    };
    struct enso_image_spec spec, defaults;
    enso_image_spec_default(&defaults, 8, 8, 3);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        json_t *root = parse(cases[i].text);
        struct enso_error err = {0};
        enum enso_status st =
            cases[i].ensod ? enso_image_spec_from_ensod(root, "beside.json", &defaults, &spec, &err)
                           : enso_image_spec_from_huggingface(root, "beside.json", &spec, &err);
        ck_assert_msg(st == cases[i].status && strstr(err.message, cases[i].word) != NULL &&
                          strncmp(err.message, "beside.json: ", 13) == 0,
                      "%s: %s: %s", cases[i].text, enso_status_name(st), err.message);
        json_decref(root);
    }
    json_t *root = parse("{\"input\":{}}"); /* no size known at all */
    enso_image_spec_default(&defaults, 0, 0, 3);
    ck_assert_int_eq(enso_image_spec_from_ensod(root, "f", &defaults, &spec, NULL), ENSO_INVALID);
    json_decref(root);
}
END_TEST

START_TEST(test_prepare_refuses_other_sizes)
{
    struct enso_image_spec spec;
    struct enso_error err = {0};
    uint32_t height, width;
    enso_image_spec_default(&spec, 28, 28, 1);
    spec.fit = ENSO_IMAGE_FIT_NONE;
    ck_assert_int_eq(enso_image_prepare_size(&spec, 28, 28, &height, &width, NULL), ENSO_OK);
    ck_assert_int_eq(enso_image_prepare_size(&spec, 28, 27, &height, &width, &err), ENSO_INVALID);
    ck_assert_msg(strstr(err.message, "28 x 27") != NULL, "%s", err.message);
    spec.fit = ENSO_IMAGE_FIT_SHORTEST;
    ck_assert_int_eq(enso_image_prepare_size(&spec, 1, 3000, &height, &width, NULL),
                     ENSO_TOO_LARGE);
    spec.crop = true;
    spec.crop_height = spec.crop_width = 28;
    ck_assert_int_eq(enso_image_prepare_size(&spec, 1, 3000, &height, &width, NULL), ENSO_OK);
    ck_assert_uint_eq(height, 28);
    uint8_t out[28 * 28];
    struct enso_image image = decode_golden("color.png", 3);
    ck_assert_int_eq(enso_image_prepare(&spec, &image, out, NULL), ENSO_INTERNAL);
    enso_image_done(&image);
}
END_TEST

START_TEST(test_prepare_oom)
{
    const char *text =
        "{\"input\":{\"size\":9,\"resize\":\"shortest\",\"crop\":12,\"mean\":[1,2,3]}}";
    struct enso_image image = decode_golden("color.png", 3);
    struct enso_image_spec spec, defaults;
    uint8_t out[3 * 12 * 12];
    enso_image_spec_default(&defaults, 9, 9, 3);
    enum enso_status st = ENSO_NO_MEMORY;
    for (uint64_t n = 1; st != ENSO_OK; n++) {
        json_t *root = NULL;
        struct enso_error err = {0};
        ck_assert_uint_lt(n, 200);
        (void)enso_memory_fail_at(n);
        st = enso_json_parse(text, strlen(text), NULL, &root, &err);
        if (st == ENSO_OK)
            st = enso_image_spec_from_ensod(root, "f", &defaults, &spec, &err);
        if (st == ENSO_OK)
            st = enso_image_prepare(&spec, &image, out, &err);
        (void)enso_memory_fail_at(0);
        json_decref(root);
        ck_assert_msg(st == ENSO_OK || st == ENSO_NO_MEMORY, "%s", err.message);
    }
    enso_image_done(&image);
}
END_TEST

struct job {
    const struct enso_image_spec *spec;
    const struct enso_image *image;
    uint64_t hash;
};

static void *prepare_many(void *arg)
{
    struct job *job = arg;
    uint8_t out[3 * 14 * 14];
    for (int i = 0; i < 200; i++)
        if (enso_image_prepare(job->spec, job->image, out, NULL) != ENSO_OK)
            return NULL;
    job->hash = fnv1a(out, sizeof out);
    return NULL;
}

START_TEST(test_prepare_threads_agree)
{
    struct enso_image image = decode_golden("color.png", 3);
    struct enso_image_spec spec;
    enso_image_spec_default(&spec, 14, 14, 3);
    struct job jobs[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = (struct job){&spec, &image, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, prepare_many, &jobs[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(jobs[i].hash != 0 && jobs[i].hash == jobs[0].hash);
    }
    enso_image_done(&image);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/prepare");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_prepare_is_the_references);
    tcase_add_test(core, test_spec_defaults);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_spec_errors_name_file_and_key);
    tcase_add_test(errors, test_prepare_refuses_other_sizes);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");
    tcase_add_test(oom, test_prepare_oom);
    suite_add_tcase(s, oom);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, test_prepare_threads_agree);
    suite_add_tcase(s, threads);
    return s;
}

ENSO_TEST_MAIN(suite)
