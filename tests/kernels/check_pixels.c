/* SPDX-License-Identifier: Apache-2.0
 *
 * PIXELS in all layouts, from bytes and from floats, to each type that the device computes in: the
 * table's value, rounded once where it becomes a half. Widths for whole vectors and for their ends,
 * pictures of one pixel, more than a block does in one go; what it refuses.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define U8 ENSO_DTYPE_U8

struct picture {
    int64_t n, height, width, channels;
};
static const struct picture pictures[] = {{1, 1, 1, 1},  {2, 3, 5, 3},  {3, 7, 4, 1},
                                          {1, 2, 3, 4},  {2, 5, 7, 2},  {4, 16, 16, 3},
                                          {1, 1, 31, 3}, {7, 48, 64, 3}};

static size_t count(const struct picture *p)
{
    return (size_t)(p->n * p->height * p->width * p->channels);
}

/* Of element (item, y, x, c) in either layout. */
static size_t place(const struct picture *p, bool nhwc, int64_t item, int64_t y, int64_t x,
                    int64_t c)
{
    return (size_t)(nhwc ? ((item * p->height + y) * p->width + x) * p->channels + c
                         : ((item * p->channels + c) * p->height + y) * p->width + x);
}

static void add_pictures(struct rig *r, enum enso_dtype dtype, const struct picture *p, bool nhwc,
                         const void *data)
{
    if (nhwc)
        rig_batch_input(r, dtype, 4, DIMS(p->n, p->height, p->width, p->channels), 0, data);
    else
        rig_batch_input(r, dtype, 4, DIMS(p->n, p->channels, p->height, p->width), 0, data);
}

/* What must come out, in y's layout. */
static float *wanted_new(const struct picture *p, const uint8_t *bytes, const float *floats,
                         const float *table, bool nhwc, bool to_nhwc)
{
    float *want = malloc(count(p) * sizeof(*want));

    ck_assert_ptr_nonnull(want);
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t y = 0; y < p->height; y++)
            for (int64_t x = 0; x < p->width; x++)
                for (int64_t c = 0; c < p->channels; c++)
                    want[place(p, to_nhwc, i, y, x, c)] =
                        bytes != NULL ? table[c * 256 + bytes[place(p, true, i, y, x, c)]]
                                      : floats[place(p, nhwc, i, y, x, c)];
    return want;
}

static void check_one(const char *set, const struct picture *p, enum enso_dtype dtype, bool bytes,
                      bool nhwc, bool to_nhwc)
{
    size_t n = count(p);
    float *floats = rig_random_new(n, 3), *table = rig_random_new(4 * 256, 4), *want;
    uint8_t *pixels = malloc(n);
    struct rig r;

    for (size_t i = 0; i < n; i++)
        pixels[i] = (uint8_t)(i * 2654435761U >> 13);
    floats[0] = NAN;
    want = wanted_new(p, bytes ? pixels : NULL, floats, table, nhwc, to_nhwc);
    rig_init(&r, set, 2);
    if (bytes)
        add_pictures(&r, U8, p, true, pixels);
    else
        add_pictures(&r, F32, p, nhwc, floats);
    rig_constant(&r, F32, 2, DIMS(p->channels, 256), table);
    rig_node(&r, ENSO_OP_PIXELS, 1);
    enso_graph_set_int(r.graph, r.node, "nhwc", nhwc);
    enso_graph_set_int(r.graph, r.node, "to_nhwc", to_nhwc);
    enso_graph_set_int(r.graph, r.node, "dtype", dtype);
    rig_run(&r);

    void *rounded = rig_narrow_new(dtype, want, n);

    ck_assert_int_eq(r.outputs[0].dims[to_nhwc ? 3 : 1], p->channels);
    ck_assert_uint_eq(enso_tensor_bytes(&r.outputs[0]), enso_dtype_row_bytes(dtype, n));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(memcmp((char *)r.outputs[0].data + i * enso_dtype_row_bytes(dtype, 1),
                             (char *)rounded + i * enso_dtype_row_bytes(dtype, 1),
                             enso_dtype_row_bytes(dtype, 1)) == 0 ||
                          isnan(want[i]),
                      "%s %s of %s, %lldx%lldx%lldx%lld: element %zu is not %g", set,
                      enso_dtype_name(dtype), bytes ? "bytes" : "floats", (long long)p->n,
                      (long long)p->height, (long long)p->width, (long long)p->channels, i,
                      (double)want[i]);
    free(rounded);
    free(want);
    free(floats);
    free(table);
    free(pixels);
    rig_done(&r);
}

START_TEST(test_pixels_all_layouts)
{
    static const enum enso_dtype types[] = {F32, ENSO_DTYPE_F16, ENSO_DTYPE_BF16};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(pictures); i++)
            for (size_t t = 0; t < ENSO_ARRAY_SIZE(types); t++)
                for (unsigned how = 0; how < 8; how++)
                    if (rig_computes(ENSO_OP_PIXELS, types[t]))
                        check_one(*set, &pictures[i], types[t], (how & 4) != 0, (how & 2) != 0,
                                  (how & 1) != 0);
}
END_TEST

/* Floats and bytes of the same node, one after the other: the tensor's type decides. */
START_TEST(test_pixels_either_form)
{
    static const float floats[2 * 2 * 2] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t bytes[2 * 2 * 2] = {8, 7, 6, 5, 4, 3, 2, 1};
    float table[2 * 256];
    struct rig r;

    for (int i = 0; i < 512; i++)
        table[i] = (float)i;
    rig_init(&r, rig_sets()[0], 1);
    rig_batch_input(&r, F32, 4, DIMS(1, 2, 2, 2), 0, floats);
    rig_constant(&r, F32, 2, DIMS(2, 256), table);
    rig_node(&r, ENSO_OP_PIXELS, 1);
    rig_run(&r);
    ck_assert_mem_eq(r.outputs[0].data, floats, sizeof(floats));
    r.inputs[0].dtype = U8;
    memcpy(r.inputs[0].data, bytes, sizeof(bytes));
    rig_run(&r);
    for (int i = 0; i < 8; i++) /* [N, H, W, C] to [N, C, H, W] */
        ck_assert_float_eq(((float *)r.outputs[0].data)[i / 2 + i % 2 * 4],
                           (float)(bytes[i] + i % 2 * 256));
    r.inputs[0].dtype = F32;
    rig_done(&r);
}
END_TEST

START_TEST(test_pixels_refusals)
{
    static const struct {
        enum enso_dtype dtype, table_dtype;
        int64_t channels, rows, columns;
        bool constant;
    } cases[] = {
        {U8, F32, 3, 3, 255, true},
        {U8, F32, 3, 1, 256, true},
        {U8, F32, 5, 5, 256, true},
        {U8, ENSO_DTYPE_F64, 3, 3, 256, true},
        {U8, F32, 3, 3, 256, false},
        {ENSO_DTYPE_F64, F32, 3, 3, 256, true},
        {ENSO_DTYPE_I8, F32, 3, 3, 256, true},
    };
    static const double zeros[5 * 256];

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct rig r;

        rig_init(&r, rig_sets()[0], 1);
        rig_batch_input(&r, cases[i].dtype, 4, DIMS(1, 2, 2, cases[i].channels), 0, zeros);
        (cases[i].constant ? rig_constant : rig_input)(
            &r, cases[i].table_dtype, 2, DIMS(cases[i].rows, cases[i].columns), zeros);
        rig_node(&r, ENSO_OP_PIXELS, 1);
        enso_graph_set_int(r.graph, r.node, "nhwc", 1);
        ck_assert_msg(rig_try_bind(&r) == ENSO_CORRUPT, "case %zu", i);
        rig_done(&r);
    }
}
END_TEST

/* A batch whose pictures are others than those that were bound for. */
START_TEST(test_pixels_other_dims)
{
    static const uint8_t bytes[3 * 2 * 2 * 3];
    static const float table[3 * 256];

    for (int wrong = 0; wrong < 3; wrong++) {
        struct enso_tensor right;
        struct rig r;

        rig_init(&r, rig_sets()[0], 1);
        rig_batch_input(&r, U8, 4, DIMS(1, 2, 2, 3), 0, bytes);
        right = r.inputs[0];
        rig_constant(&r, F32, 2, DIMS(3, 256), table);
        rig_node(&r, ENSO_OP_PIXELS, 1);
        if (wrong == 0)
            r.inputs[0].dtype = ENSO_DTYPE_I8;
        else
            r.inputs[0].dims[wrong] = 1;
        ck_assert_int_eq(rig_try_run(&r), ENSO_INTERNAL);
        ENSO_TEST_CONTAINS(r.err.message, "ensod.Pixels");
        right.data = r.inputs[0].data;
        r.inputs[0] = right;
        rig_done(&r);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/pixels");
    TCase *core = tcase_create("core");
    TCase *errors = tcase_create("errors");

    tcase_add_test(core, test_pixels_all_layouts);
    tcase_add_test(core, test_pixels_either_form);
    tcase_add_test(errors, test_pixels_refusals);
    tcase_add_test(errors, test_pixels_other_dims);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
