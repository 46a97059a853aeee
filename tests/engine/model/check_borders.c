/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/model: what stands at a graph's borders is believed only as far as it is checked. Small
 * ONNX graphs whose outputs grow faster than their inputs, turn the batch around, take pictures by
 * fours, or claim gigabytes. The graphs are written here, field by field: Reshape, Transpose, Relu,
 * ReduceMax and no weights.
 */
#include "ensod_build.h"

#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "engine/image/prepare.h"
#include "tests/engine/model/model_rig.h"

/* --- ONNX, as much as is needed (onnx/onnx.proto) ------------------------------------------- */

static void put_varint(struct enso_buffer *b, uint64_t n)
{
    while (n > 127) {
        enso_buffer_putc(b, (char)((n & 127) | 128));
        n >>= 7;
    }
    enso_buffer_putc(b, (char)n);
}

static void put_number(struct enso_buffer *b, unsigned field, int64_t n)
{
    put_varint(b, field << 3);
    put_varint(b, (uint64_t)n);
}

static void put_bytes(struct enso_buffer *b, unsigned field, const void *bytes, size_t size)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, size);
    enso_buffer_append(b, bytes, size);
}

static void put_text(struct enso_buffer *b, unsigned field, const char *s)
{
    put_bytes(b, field, s, strlen(s));
}

/* The message m as a field, and m is empty again. */
static void put_message(struct enso_buffer *b, unsigned field, struct enso_buffer *m)
{
    put_bytes(b, field, m->data, m->size);
    enso_buffer_done(m);
}

/* A float input (field 11) or output (12) of a graph; a dimension below 0 is the symbol "N". */
static void put_border(struct enso_buffer *graph, unsigned field, const char *name, size_t rank,
                       const int64_t *dims)
{
    struct enso_buffer shape = ENSO_BUFFER_INIT, tensor = ENSO_BUFFER_INIT, type = ENSO_BUFFER_INIT,
                       info = ENSO_BUFFER_INIT;

    for (size_t i = 0; i < rank; i++) {
        struct enso_buffer dim = ENSO_BUFFER_INIT;

        if (dims[i] < 0)
            put_text(&dim, 2, "N");
        else
            put_number(&dim, 1, dims[i]);
        put_message(&shape, 1, &dim);
    }
    put_number(&tensor, 1, 1);
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(graph, field, &info);
}

/* A node of one output; `input2` and `ints` (attribute `name`: n of them, or one number where n is
 * 0) may be NULL. */
static void put_node(struct enso_buffer *graph, const char *op, const char *input,
                     const char *input2, const char *output, const char *name, size_t n,
                     const int64_t *ints)
{
    struct enso_buffer node = ENSO_BUFFER_INIT, attribute = ENSO_BUFFER_INIT;

    put_text(&node, 1, input);
    if (input2 != NULL)
        put_text(&node, 1, input2);
    put_text(&node, 2, output);
    put_text(&node, 3, output);
    put_text(&node, 4, op);
    if (name != NULL) {
        put_text(&attribute, 1, name);
        if (n == 0)
            put_number(&attribute, 3, ints[0]);
        for (size_t i = 0; i < n; i++)
            put_number(&attribute, 8, ints[i]);
        put_number(&attribute, 20, n == 0 ? 2 : 7); /* INT, INTS */
        put_message(&node, 5, &attribute);
    }
    put_message(graph, 1, &node);
}

static void put_int64s(struct enso_buffer *graph, const char *name, size_t n, const int64_t *values)
{
    struct enso_buffer tensor = ENSO_BUFFER_INIT;

    put_number(&tensor, 1, (int64_t)n);
    put_number(&tensor, 2, 7); /* INT64 */
    put_text(&tensor, 8, name);
    put_bytes(&tensor, 9, values, n * sizeof *values);
    put_message(graph, 5, &tensor);
}

/* Writes <dir>/model.onnx around the graph, which is released. */
static void write_model(const char *dir, struct enso_buffer *graph)
{
    struct enso_buffer model = ENSO_BUFFER_INIT, opset = ENSO_BUFFER_INIT;
    char *path = enso_test_format("%s/model.onnx", dir);

    put_text(graph, 2, "borders");
    put_text(&opset, 1, "");
    put_number(&opset, 2, 13);
    put_number(&model, 1, 8);
    put_message(&model, 7, graph);
    put_message(&model, 8, &opset);
    ck_assert(!model.failed);
    enso_test_write_file(path, model.data, model.size);
    enso_buffer_done(&model);
    free(path);
}

static char *dir;

static void setup(void)
{
    dir = enso_test_make_dir();
}

static void teardown(void)
{
    enso_test_remove_dir(dir);
}

static void write_text(const char *name, const char *text)
{
    char *path = enso_test_format("%s/%s", dir, name);

    enso_test_write_file(path, text, strlen(text));
    free(path);
}

#define DIMS(...)                                                                                  \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[])                          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* --- running --------------------------------------------------------------------------------- */

static void open_rig(struct model_rig *rig)
{
    struct enso_error err = {0};

    ENSO_TEST_OK(model_rig_open(rig, dir, "generic", 1, &err), &err);
}

/* A sample of one input whose element k is k - 3. */
static struct enso_sample *count_up(const struct model_rig *rig, size_t rank, const int64_t *dims)
{
    struct enso_tensor t = {.dtype = ENSO_DTYPE_F32, .rank = (uint8_t)rank};
    struct enso_error err = {0};
    struct enso_sample *s;
    float *x;

    memcpy(t.dims, dims, rank * sizeof *dims);
    t.data = x = malloc(enso_tensor_bytes(&t));
    for (int64_t k = 0; k < enso_tensor_count(&t); k++)
        x[k] = (float)(k - 3);
    ENSO_TEST_OK(enso_model_encode_tensors(rig->model, &t, 1, &s, &err), &err);
    s->want_own = true;
    free(x);
    return s;
}

static void run(struct model_rig *rig, struct enso_sample **samples, size_t n)
{
    struct enso_error err = {0};

    ENSO_TEST_OK(enso_model_run(rig->model, rig->lane, samples, n, &err), &err);
}

static void check_dims(const struct enso_tensor *t, size_t rank, const int64_t *dims)
{
    ck_assert_uint_eq(t->rank, rank);
    for (size_t d = 0; d < rank; d++)
        ck_assert_int_eq(t->dims[d], dims[d]);
}

static float relu(int64_t k)
{
    return k > 3 ? (float)(k - 3) : 0;
}

/* Two rows come out for each that goes in: staging once held half of them. */
START_TEST(test_borders_rows_that_multiply)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct model_rig rig;

    put_int64s(&graph, "s", DIMS(-1, 3));
    put_node(&graph, "Reshape", "x", "s", "r", NULL, 0, NULL);
    put_node(&graph, "Relu", "r", NULL, "y", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 2, 3));
    put_border(&graph, 12, "y", DIMS(-1, 3));
    write_model(dir, &graph);
    open_rig(&rig);
    ck_assert(!enso_model_info(rig.model)->batched); /* rows of two requests must not be mixed up */
    for (int64_t n = 1; n < 40; n += 19) {
        struct enso_sample *s = count_up(&rig, DIMS(n, 2, 3));

        run(&rig, &s, 1);
        check_dims(&s->outputs[0], DIMS(2 * n, 3));
        for (int64_t k = 0; k < 6 * n; k++)
            ck_assert_float_eq(((float *)s->outputs[0].data)[k], relu(k));
        enso_sample_destroy(s);
    }
    model_rig_close(&rig);
}
END_TEST

START_TEST(test_borders_batch_in_the_last_dimension)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct model_rig rig;
    struct enso_sample *s;

    put_node(&graph, "Transpose", "x", NULL, "t", "perm", DIMS(1, 0));
    put_node(&graph, "Relu", "t", NULL, "y", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 8));
    put_border(&graph, 12, "y", DIMS(8, -1));
    write_model(dir, &graph);
    open_rig(&rig);
    ck_assert(!enso_model_info(rig.model)->batched);
    s = count_up(&rig, DIMS(5, 8));
    run(&rig, &s, 1);
    check_dims(&s->outputs[0], DIMS(8, 5));
    for (int64_t k = 0; k < 40; k++)
        ck_assert_float_eq(((float *)s->outputs[0].data)[k % 8 * 5 + k / 8], relu(k));
    enso_sample_destroy(s);
    model_rig_close(&rig);
}
END_TEST

/* Rows of several samples are stacked and cut apart again. */
START_TEST(test_borders_batches)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct enso_sample *s[3];
    struct model_rig rig;

    put_node(&graph, "Relu", "x", NULL, "y", NULL, 0, NULL);
    put_node(&graph, "Neg", "x", NULL, "z", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 4));
    put_border(&graph, 12, "y", DIMS(-1, 4));
    put_border(&graph, 12, "z", DIMS(-1, 4));
    write_model(dir, &graph);
    open_rig(&rig);
    ck_assert(enso_model_info(rig.model)->batched);
    for (int64_t i = 0; i < 3; i++)
        s[i] = count_up(&rig, DIMS(i + 1, 4));
    run(&rig, s, 3);
    for (int64_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(s[i]->n_outputs, 2);
        check_dims(&s[i]->outputs[0], DIMS(i + 1, 4));
        check_dims(&s[i]->outputs[1], DIMS(i + 1, 4));
        for (int64_t k = 0; k < 4 * (i + 1); k++) {
            ck_assert_float_eq(((float *)s[i]->outputs[0].data)[k], relu(k));
            ck_assert_float_eq(((float *)s[i]->outputs[1].data)[k], (float)(3 - k));
        }
        enso_sample_destroy(s[i]);
    }
    model_rig_close(&rig);
}
END_TEST

/* A device whose batches come out by the factor 1 + noise. */
static float noise;
static bool invariant;

static void uneven_info(const struct enso_device *device, struct enso_device_info *ret)
{
    enso_backend_cpu()->device_info(device, ret);
    ret->batch_invariant = invariant;
}

static int uneven_begin(struct enso_lane *lane, unsigned slot, const struct enso_run *batch,
                        struct enso_error *err)
{
    int st = enso_backend_cpu()->begin(lane, slot, batch, err);
    const struct enso_step *last = &batch->steps[batch->n_steps - 1];
    const struct enso_tensor *y = &batch->tensors[last->outputs[0]];

    for (int64_t i = 0; st == ENSO_OK && batch->extents->n_items > 1 && i < enso_tensor_count(y);
         i++)
        ((float *)y->data)[i] *= 1 + noise;
    return st;
}

/* Rounding is no reason to run items one by one where the device says that it rounds by the size
 * of the batch; rows that know of each other are. */
START_TEST(test_borders_batches_that_round_otherwise)
{
    static const struct {
        float noise;
        bool invariant, batched;
    } rows[] = {{0, true, true}, {1e-5f, true, false}, {1e-5f, false, true}, {0.1f, false, false}};
    const struct enso_device_options how = {.name = "cpu", .n_threads = 1, .isa = "generic"};
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct enso_backend uneven = *enso_backend_cpu();
    struct enso_model_options options = {.path = dir, .id = "m", .backend = &uneven};
    struct enso_error err = {0};
    struct enso_model *model;

    uneven.device_info = uneven_info;
    uneven.begin = uneven_begin;
    put_node(&graph, "Neg", "x", NULL, "y", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 4));
    put_border(&graph, 12, "y", DIMS(-1, 4));
    write_model(dir, &graph);
    ENSO_TEST_OK(uneven.device_open(&how, &options.device, &err), &err);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        noise = rows[i].noise;
        invariant = rows[i].invariant;
        ENSO_TEST_OK(enso_model_load(&options, &model, &err), &err);
        ck_assert_msg(enso_model_info(model)->batched == rows[i].batched, "row %zu", i);
        enso_model_unref(model);
    }
    uneven.device_close(options.device);
}
END_TEST

/* The scores are the second output, raw or not; the graph's own outputs are both. */
START_TEST(test_borders_scores_in_the_second_output)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct enso_error err = {0};
    struct model_rig rig;

    put_node(&graph, "Flatten", "x", NULL, "scores", NULL, 0, NULL);
    put_node(&graph, "ReduceMax", "scores", NULL, "best", "axes", DIMS(1));
    put_border(&graph, 11, "x", DIMS(-1, 1, 2, 2));
    put_border(&graph, 12, "best", DIMS(-1, 1));
    put_border(&graph, 12, "scores", DIMS(-1, 4));
    write_model(dir, &graph);
    write_text("ensod.json", "{\"task\":\"image-classification\",\"output\":\"scores\","
                             "\"labels\":[\"a\",\"b\",\"c\",\"d\"],"
                             "\"input\":{\"size\":[2,2],\"channels\":1,\"scale\":1}}");
    open_rig(&rig);
    for (int way = 0; way < 3; way++) {
        struct enso_sample *s;
        float sum = 0;

        ENSO_TEST_OK(enso_model_warmup_sample(rig.model, 1, &s, &err), &err);
        for (int k = 0; k < 4; k++)
            ((uint8_t *)s->inputs[0].data)[k] = (uint8_t)k;
        s->want_raw = way == 1;
        s->want_own = way == 2;
        run(&rig, &s, 1);
        ck_assert_uint_eq(s->n_outputs, way == 2 ? 2 : 1);
        if (way == 2)
            ck_assert_float_eq(*(float *)s->outputs[0].data, 3);
        check_dims(&s->outputs[way == 2 ? 1 : 0], DIMS(1, 4));
        for (int k = 0; k < 4; k++) {
            float x = ((float *)s->outputs[way == 2 ? 1 : 0].data)[k];

            sum += x;
            if (way != 0)
                ck_assert_float_eq(x, (float)k);
        }
        if (way == 0)
            ck_assert_float_eq_tol(sum, 1, 1e-5f);
        enso_sample_destroy(s);
    }
    model_rig_close(&rig);
}
END_TEST

/* A picture as bytes, and what it is as the model's own tensor. */
static struct enso_sample *picture_new(const struct model_rig *rig, unsigned seed)
{
    struct enso_error err = {0};
    struct enso_sample *s;

    ENSO_TEST_OK(enso_model_warmup_sample(rig->model, 1, &s, &err), &err);
    ck_assert_int_eq(s->inputs[0].dtype, ENSO_DTYPE_U8);
    for (unsigned k = 0; k < 18; k++)
        ((uint8_t *)s->inputs[0].data)[k] = (uint8_t)(seed + k * 37);
    s->want_raw = true;
    return s;
}

/* The graph hands on what it gets, so that scores are the values that the picture became. */
static void check_values(const struct enso_sample *s, size_t n, const float *want)
{
    ck_assert_uint_eq(s->n_outputs, 1);
    ck_assert_mem_eq(s->outputs[0].data, want, n * sizeof *want);
}

/* Pictures of bytes and tensors of floats, alone and in one batch, in both layouts. */
START_TEST(test_borders_pictures_beside_tensors)
{
    bool nhwc = _i != 0;
    struct enso_image_spec spec;
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct enso_error err = {0};
    struct model_rig rig;
    float first[18], second[18], own[2 * 18], table[ENSO_IMAGE_TABLE_SIZE];

    put_node(&graph, "Flatten", "x", NULL, "scores", NULL, 0, NULL);
    if (nhwc)
        put_border(&graph, 11, "x", DIMS(-1, 2, 3, 3));
    else
        put_border(&graph, 11, "x", DIMS(-1, 3, 2, 3));
    put_border(&graph, 12, "scores", DIMS(-1, 18));
    write_model(dir, &graph);
    write_text("ensod.json", nhwc ? "{\"input\":{\"mean\":[0.5,0.25,0.125],\"std\":[3,5,7],"
                                    "\"layout\":\"NHWC\"}}"
                                  : "{\"input\":{\"mean\":[0.5,0.25,0.125],\"std\":[3,5,7]}}");
    open_rig(&rig);
    enso_image_spec_default(&spec, 2, 3, 3);
    spec.layout = nhwc ? ENSO_IMAGE_NHWC : ENSO_IMAGE_NCHW;
    spec.normalise = true;
    memcpy(spec.mean, (float[]){0.5F, 0.25F, 0.125F}, sizeof spec.mean);
    memcpy(spec.std, (float[]){3, 5, 7}, sizeof spec.std);

    struct enso_sample *alone = picture_new(&rig, 1),
                       *batch[3] = {picture_new(&rig, 1), NULL, picture_new(&rig, 200)};
    struct enso_sample *both[2] = {picture_new(&rig, 1), picture_new(&rig, 200)};
    struct enso_tensor t = {.dtype = ENSO_DTYPE_F32, .rank = 4, .data = own};

    enso_image_table(&spec, table);
    enso_image_normalise(&spec, table, batch[0]->inputs[0].data, 6, first);
    enso_image_normalise(&spec, table, batch[2]->inputs[0].data, 6, second);
    for (int k = 0; k < 36; k++)
        own[k] = (float)k - 7;
    memcpy(t.dims, nhwc ? (int64_t[]){2, 2, 3, 3} : (int64_t[]){2, 3, 2, 3}, 4 * sizeof *t.dims);
    ENSO_TEST_OK(enso_model_encode_tensors(rig.model, &t, 1, &batch[1], &err), &err);
    run(&rig, &alone, 1);
    check_values(alone, 18, first);
    run(&rig, both, 2);
    check_values(both[0], 18, first);
    check_values(both[1], 18, second);
    run(&rig, batch, 3);
    check_values(batch[0], 18, first);
    check_values(batch[1], 36, own);
    check_values(batch[2], 18, second);
    for (int i = 0; i < 3; i++)
        enso_sample_destroy(batch[i]);
    for (int i = 0; i < 2; i++)
        enso_sample_destroy(both[i]);
    enso_sample_destroy(alone);
    model_rig_close(&rig);
}
END_TEST

static void fails(enum enso_status status, const char *word)
{
    struct enso_error err = {0};
    struct model_rig rig;

    ck_assert_int_eq(model_rig_open(&rig, dir, "generic", 1, &err), status);
    ENSO_TEST_CONTAINS(err.message, word);
}

/* What the engine tells its kernels by attributes is not a file's to say. */
START_TEST(test_borders_attributes_of_ours)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct model_rig rig;

    put_node(&graph, "GlobalAveragePool", "x", NULL, "y", "nhwc", 0, (int64_t[]){1});
    put_border(&graph, 11, "x", DIMS(-1, 5, 2, 3));
    put_border(&graph, 12, "y", DIMS(-1, 5, 1, 1));
    write_model(dir, &graph);
    open_rig(&rig);
    ck_assert_int_eq(enso_model_info(rig.model)->outputs[0].dims[1], 5);
    model_rig_close(&rig);
}
END_TEST

/* Scores that do not look at the picture. */
START_TEST(test_borders_pictures_that_nobody_reads)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;

    put_node(&graph, "Shape", "x", NULL, "s", NULL, 0, NULL);
    put_node(&graph, "ConstantOfShape", "s", NULL, "zeros", NULL, 0, NULL);
    put_node(&graph, "Flatten", "zeros", NULL, "scores", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 3, 2, 2));
    put_border(&graph, 12, "scores", DIMS(-1, 12));
    write_model(dir, &graph);
    write_text("ensod.json", "{\"input\":{}}");
    fails(ENSO_UNSUPPORTED, "does not depend on the picture");
}
END_TEST

/* A graph of one picture at a time, in guarded memory and out of it. */
START_TEST(test_borders_one_picture)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;
    struct enso_sample *s;
    struct model_rig rig;

    put_node(&graph, "Flatten", "x", NULL, "scores", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(1, 3, 2, 3));
    put_border(&graph, 12, "scores", DIMS(1, 18));
    write_model(dir, &graph);
    write_text("ensod.json", "{\"input\":{\"scale\":1}}");
    if (_i == 1)
        setenv("ENSO_ARENA_DEBUG", "1", 1);
    open_rig(&rig);
    ck_assert(!enso_model_info(rig.model)->batched);
    s = picture_new(&rig, 3);
    run(&rig, &s, 1);
    for (int k = 0; k < 18; k++) /* planes of what comes pixel by pixel */
        ck_assert_float_eq(((float *)s->outputs[0].data)[k],
                           (float)((3 + (k % 6 * 3 + k / 6) * 37) % 256));
    enso_sample_destroy(s);
    model_rig_close(&rig);
}
END_TEST

START_TEST(test_borders_pictures_by_fours)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;

    put_node(&graph, "Flatten", "x", NULL, "y", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(4, 1, 8, 8));
    put_border(&graph, 12, "y", DIMS(4, 64));
    write_model(dir, &graph);
    write_text("ensod.json", "{\"task\":\"image-classification\",\"input\":{\"size\":[8,8],"
                             "\"channels\":1}}");
    fails(ENSO_UNSUPPORTED, "takes exactly 4 pictures");
}
END_TEST

START_TEST(test_borders_of_gigabytes)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;

    put_node(&graph, "Relu", "x", NULL, "y", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 65536, 65536));
    put_border(&graph, 12, "y", DIMS(-1, 65536, 65536));
    write_model(dir, &graph);
    fails(ENSO_UNSUPPORTED, "34359738368 bytes");
}
END_TEST

START_TEST(test_borders_of_no_size)
{
    struct enso_buffer graph = ENSO_BUFFER_INIT;

    put_node(&graph, "Flatten", "x", NULL, "y", NULL, 0, NULL);
    put_border(&graph, 11, "x", DIMS(-1, 1, 8, 0));
    put_border(&graph, 12, "y", DIMS(-1, 0));
    write_model(dir, &graph);
    write_text("ensod.json", "{\"task\":\"image-classification\",\"input\":{\"size\":[8,8],"
                             "\"channels\":1}}");
    fails(ENSO_UNSUPPORTED, "'x'");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/model borders");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(core, test_borders_rows_that_multiply);
    tcase_add_test(core, test_borders_batch_in_the_last_dimension);
    tcase_add_test(core, test_borders_batches);
    tcase_add_test(core, test_borders_batches_that_round_otherwise);
    tcase_add_test(core, test_borders_scores_in_the_second_output);
    tcase_add_loop_test(core, test_borders_pictures_beside_tensors, 0, 2);
    tcase_add_loop_test(core, test_borders_one_picture, 0, 2);
    tcase_add_test(core, test_borders_attributes_of_ours);
    tcase_add_test(core, test_borders_pictures_that_nobody_reads);
    tcase_add_test(errors, test_borders_pictures_by_fours);
    tcase_add_test(errors, test_borders_of_gigabytes);
    tcase_add_test(errors, test_borders_of_no_size);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
