/* SPDX-License-Identifier: Apache-2.0
 *
 * Corners of the moving operators that hold on every device: every element size and rank, empty
 * tensors, indices out of range, more elements than threads, and rows that must not see their
 * neighbours. All results are exact.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I64 ENSO_DTYPE_I64

/* ---- moves of every element size ---- */

static const enum enso_dtype sizes[] = {ENSO_DTYPE_U8, ENSO_DTYPE_F16, F32, I64};

/* Element i is i in the low bytes, so that every size can tell its elements apart. */
static void fill_numbers(void *data, size_t bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = i;

        memcpy((unsigned char *)data + i * bytes, &v, bytes);
    }
}

static void expect_number(const struct rig *r, size_t i, uint64_t want)
{
    size_t bytes = enso_dtype_row_bytes(r->outputs[0].dtype, 1);
    uint64_t got = 0;

    memcpy(&got, (const unsigned char *)r->outputs[0].data + i * bytes, bytes);
    if (bytes < 8)
        want &= ((uint64_t)1 << (8 * bytes)) - 1;
    if (got != want) /* each assertion that holds costs a write to Check's pipe */
        ck_abort_msg("element %zu is %llu, should be %llu", i, (unsigned long long)got,
                     (unsigned long long)want);
}

#define N_RANK8 (2 * 3 * 2 * 1 * 2 * 3 * 2 * 2)

/* Eight dimensions that do not merge: reversed, tiled, cut backwards. */
START_TEST(test_strided_of_rank_eight)
{
    const int64_t dims[8] = {2, 3, 2, 1, 2, 3, 2, 2};
    const int64_t perm[8] = {7, 6, 5, 4, 3, 2, 1, 0};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++) {
        uint64_t x[N_RANK8];
        struct rig r;

        fill_numbers(x, enso_dtype_row_bytes(sizes[s], 1), N_RANK8);
        rig_init(&r, "auto", 1);
        rig_input(&r, sizes[s], 8, dims, x);
        rig_node(&r, ENSO_OP_TRANSPOSE, 1);
        enso_graph_set_ints(r.graph, r.node, "perm", perm, 8);
        rig_run(&r);
        for (size_t i = 0; i < N_RANK8; i++) {
            size_t at = i, from = 0, stride = 1, index[8];

            for (size_t d = 8; d-- > 0; at /= (size_t)dims[7 - d])
                index[7 - d] = at % (size_t)dims[7 - d];
            for (size_t d = 8; d-- > 0; stride *= (size_t)dims[d])
                from += index[d] * stride;
            expect_number(&r, i, from);
        }
        rig_done(&r);

        rig_init(&r, "auto", 1);
        rig_input(&r, sizes[s], 8, dims, x);
        rig_constant(&r, I64, 1, DIMS(8), DIMS(2, 1, 2, 3, 1, 2, 1, 2));
        rig_node(&r, ENSO_OP_TILE, 1);
        rig_run(&r);
        for (size_t i = 0; i < N_RANK8 * 48; i++) {
            size_t at = i, from = 0, stride = 1;

            for (size_t d = 8; d-- > 0;) {
                size_t n = (size_t)r.outputs[0].dims[d];

                from += at % n % (size_t)dims[d] * stride;
                stride *= (size_t)dims[d];
                at /= n;
            }
            expect_number(&r, i, from);
        }
        rig_done(&r);

        rig_init(&r, "auto", 1);
        rig_input(&r, sizes[s], 2, DIMS(4, 72), x);
        rig_constant(&r, I64, 1, DIMS(2), DIMS(-1, 70));
        rig_constant(&r, I64, 1, DIMS(2), DIMS(INT64_MIN, 1));
        rig_constant(&r, I64, 1, DIMS(2), DIMS(0, 1));
        rig_constant(&r, I64, 1, DIMS(2), DIMS(-2, -7));
        rig_node(&r, ENSO_OP_SLICE, 1);
        rig_run(&r);
        ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), 20);
        for (size_t i = 0; i < 20; i++)
            expect_number(&r, i, (3 - i / 10 * 2) * 72 + 70 - i % 10 * 7);
        rig_done(&r);
    }
}
END_TEST

/* Parts whose width and place allow units of 1 to 16 bytes. */
START_TEST(test_join_of_every_width)
{
    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++)
        for (int64_t width = 1; width <= 17; width++) {
            size_t bytes = enso_dtype_row_bytes(sizes[s], 1), whole = (size_t)(width + 16 + 3);
            unsigned char x[3 * 36 * 8], part[3][3 * 17 * 8];
            const int64_t widths[3] = {width, 16, 3};
            struct rig r;

            fill_numbers(x, bytes, 3 * whole);
            for (size_t p = 0, at = 0; p < 3; at += (size_t)widths[p++])
                for (size_t row = 0; row < 3; row++)
                    memcpy(part[p] + row * (size_t)widths[p] * bytes,
                           x + (row * whole + at) * bytes, (size_t)widths[p] * bytes);
            rig_init(&r, "auto", 1);
            for (size_t p = 0; p < 3; p++)
                rig_input(&r, sizes[s], 2, DIMS(3, widths[p]), part[p]);
            rig_node(&r, ENSO_OP_CONCAT, 1);
            enso_graph_set_int(r.graph, r.node, "axis", 1);
            rig_run(&r);
            ck_assert_mem_eq(r.outputs[0].data, x, 3 * whole * bytes);
            rig_done(&r);

            rig_init(&r, "auto", 1);
            rig_input(&r, sizes[s], 2, DIMS(3, (int64_t)whole), x);
            rig_constant(&r, I64, 1, DIMS(3), widths);
            rig_node(&r, ENSO_OP_SPLIT, 3);
            enso_graph_set_int(r.graph, r.node, "axis", 1);
            rig_run(&r);
            for (size_t p = 0; p < 3; p++)
                ck_assert_mem_eq(r.outputs[p].data, part[p], 3 * (size_t)widths[p] * bytes);
            rig_done(&r);
        }
}
END_TEST

static size_t pad_source(const char *mode, int64_t i, int64_t n)
{
    while (strcmp(mode, "edge") != 0 && (i < 0 || i >= n)) /* step by step */
        i = mode[0] == 'w' ? (i < 0 ? i + n : i - n) : n == 1 ? 0 : i < 0 ? -i : 2 * (n - 1) - i;
    return (size_t)ENSO_MAX(ENSO_MIN(i, n - 1), (int64_t)0);
}

/* Further than the input is long, from rows of one and of four; some cut away. */
START_TEST(test_pad_far)
{
    static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++)
        for (size_t m = 0; m < ENSO_ARRAY_SIZE(modes); m++)
            for (int64_t n = 1; n <= 4; n += 3) {
                const uint64_t seven = 7;
                uint64_t x[12];
                struct rig r;

                fill_numbers(x, enso_dtype_row_bytes(sizes[s], 1), (size_t)(3 * n));
                rig_init(&r, "auto", 1);
                rig_input(&r, sizes[s], 3, DIMS(1, 3, n), x);
                rig_constant(&r, I64, 1, DIMS(6), DIMS(0, -1, 9, 1, 2, 11));
                rig_input(&r, sizes[s], 0, NULL, &seven);
                rig_node(&r, ENSO_OP_PAD, 1);
                enso_graph_set_string(r.graph, r.node, "mode", modes[m]);
                rig_run(&r);
                int64_t width = n + 20;
                ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), 2 * 4 * width);
                for (int64_t i = 0; i < 2 * 4 * width; i++) {
                    int64_t c = i % width - 9, b = i / width % 4 + 1, a = i / width / 4;
                    bool inside = a < 1 && b < 3 && c >= 0 && c < n;

                    expect_number(&r, (size_t)i,
                                  m == 0 && !inside ? seven
                                                    : pad_source(modes[m], b, 3) * (size_t)n +
                                                          pad_source(modes[m], c, n));
                }
                rig_done(&r);
            }
}
END_TEST

/* The number in a type; its size. */
static size_t put_number(enum enso_dtype dtype, int v, void *ret)
{
    const int64_t whole = v;
    const double d = v;
    const float f = (float)v;
    size_t bytes = enso_dtype_row_bytes(dtype, 1);

    memcpy(ret,
           dtype == F32              ? (const void *)&f
           : dtype == ENSO_DTYPE_F64 ? (const void *)&d
                                     : &whole, /* little-endian */
           bytes);
    return bytes;
}

START_TEST(test_makers_of_every_type)
{
    static const enum enso_dtype numbers[] = {F32, ENSO_DTYPE_F64, ENSO_DTYPE_I16, ENSO_DTYPE_I32,
                                              I64};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++) {
        const uint64_t value = UINT64_C(0x1122334455667788);
        struct rig r;

        rig_init(&r, "auto", 1);
        rig_constant(&r, I64, 1, DIMS(2), DIMS(3, 5));
        rig_constant(&r, sizes[s], 1, DIMS(1), &value);
        rig_node(&r, ENSO_OP_CONSTANT_OF_SHAPE, 1);
        rig_run(&r);
        for (size_t i = 0; i < 15; i++)
            expect_number(&r, i, value);
        rig_done(&r);
    }
    for (size_t t = 0; t < ENSO_ARRAY_SIZE(numbers); t++) {
        uint64_t from, to, step, want;
        struct rig r;

        put_number(numbers[t], 10, &from);
        put_number(numbers[t], -3, &to);
        put_number(numbers[t], -4, &step);
        rig_init(&r, "auto", 1);
        rig_constant(&r, numbers[t], 0, NULL, &from);
        rig_constant(&r, numbers[t], 0, NULL, &to);
        rig_constant(&r, numbers[t], 0, NULL, &step);
        rig_node(&r, ENSO_OP_RANGE, 1);
        if (rig_try_run(&r) == ENSO_OK) {
            ck_assert_int_eq(r.outputs[0].dims[0], 4);
            for (int i = 0; i < 4; i++) { /* 10, 6, 2, -2 */
                size_t bytes = put_number(numbers[t], 10 - 4 * i, &want);

                ck_assert_mem_eq((char *)r.outputs[0].data + (size_t)i * bytes, &want, bytes);
            }
        } else {
            /* inference must know the length: only integers tell it */
            ck_assert_int_ne(numbers[t], I64);
        }
        rig_done(&r);
    }
    struct rig r;

    rig_init(&r, "auto", 1);
    rig_input(&r, ENSO_DTYPE_U8, 3, DIMS(2, 3, 0), NULL);
    rig_node(&r, ENSO_OP_SIZE, 1);
    rig_run(&r);
    ck_assert_int_eq(*(int64_t *)r.outputs[0].data, 0);
    rig_done(&r);

    rig_init(&r, "auto", 1);
    rig_input(&r, ENSO_DTYPE_U8, 8, DIMS(2, 3, 0, 4, 5, 6, 7, 8), NULL);
    rig_node(&r, ENSO_OP_SHAPE, 1);
    enso_graph_set_int(r.graph, r.node, "start", -6);
    rig_run(&r);
    for (int64_t i = 0; i < 6; i++)
        ck_assert_int_eq(((int64_t *)r.outputs[0].data)[i], i == 0 ? 0 : 3 + i);
    rig_done(&r);
}
END_TEST

/* ---- gather ---- */

/* Whole rows of 1 to 40 bytes, both index types, from either end. */
START_TEST(test_gather_rows_of_every_width)
{
    const int64_t wide_indices[4] = {-5, 4, 0, -1};
    const int32_t indices[4] = {-5, 4, 0, -1};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++)
        for (int64_t width = 1; width <= 5; width++)
            for (unsigned is_wide = 0; is_wide < 2; is_wide++) {
                uint64_t x[2 * 5 * 5];
                struct rig r;

                fill_numbers(x, enso_dtype_row_bytes(sizes[s], 1), (size_t)(10 * width));
                rig_init(&r, "auto", 1);
                rig_input(&r, sizes[s], 3, DIMS(2, 5, width), x);
                rig_input(&r, is_wide ? I64 : ENSO_DTYPE_I32, 2, DIMS(2, 2),
                          is_wide ? (const void *)wide_indices : indices);
                rig_node(&r, ENSO_OP_GATHER, 1);
                enso_graph_set_int(r.graph, r.node, "axis", 1);
                rig_run(&r);
                ck_assert_int_eq(r.outputs[0].rank, 4);
                for (size_t i = 0; i < (size_t)(8 * width); i++) {
                    size_t w = (size_t)width, row = i / w;
                    size_t index = (size_t)((wide_indices[row % 4] + 5) % 5);

                    expect_number(&r, i, (row / 4 * 5 + index) * w + i % w);
                }
                rig_done(&r);
            }
}
END_TEST

START_TEST(test_gather_refuses_and_goes_on)
{
    static const int64_t bad[] = {5, -6, INT64_MAX, INT64_MIN, (int64_t)1 << 32};
    const float x[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct rig r;

    rig_init(&r, "auto", 1);
    rig_input(&r, F32, 2, DIMS(5, 2), x);
    rig_input(&r, I64, 1, DIMS(3), DIMS(0, 1, 2));
    rig_node(&r, ENSO_OP_GATHER, 1);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++)
        for (size_t at = 0; at < 3; at++) {
            ((int64_t *)r.inputs[1].data)[at] = bad[i];
            r.err = (struct enso_error){0};
            ck_assert_int_eq(rig_try_run(&r), ENSO_INVALID);
            ck_assert_ptr_nonnull(strstr(r.err.message, "Gather 'node'"));
            ((int64_t *)r.inputs[1].data)[at] = (int64_t)at;
            rig_run(&r);
            ck_assert_mem_eq(r.outputs[0].data, x, 6 * sizeof(float));
        }
    rig_done(&r);

    rig_init(&r, "auto", 1); /* no row to choose from */
    rig_input(&r, F32, 2, DIMS(0, 2), NULL);
    rig_input(&r, I64, 1, DIMS(1), DIMS(0));
    rig_node(&r, ENSO_OP_GATHER, 1);
    ck_assert_int_eq(rig_try_run(&r), ENSO_INVALID);
    rig_done(&r);
}
END_TEST

/* ---- nothing to do, neighbours, many elements ---- */

START_TEST(test_empty_tensors)
{
    for (unsigned which = 0; which < 9; which++) {
        struct rig r;

        rig_init(&r, "auto", 1);
        switch (which) {
        case 0:
            rig_input(&r, F32, 2, DIMS(0, 3), NULL);
            rig_node(&r, ENSO_OP_GELU, 1);
            break;
        case 1:
            rig_input(&r, I64, 2, DIMS(3, 0), NULL);
            rig_node(&r, ENSO_OP_CAST, 1);
            enso_graph_set_int(r.graph, r.node, "to", F32);
            break;
        case 2:
            rig_input(&r, F32, 2, DIMS(0, 3), NULL);
            rig_input(&r, F32, 1, DIMS(3), (const float[]){1, 2, 3});
            rig_node(&r, ENSO_OP_ADD, 1);
            break;
        case 3:
            rig_input(&r, ENSO_DTYPE_BOOL, 1, DIMS(0), NULL);
            rig_input(&r, F32, 1, DIMS(1), (const float[]){1});
            rig_input(&r, F32, 1, DIMS(0), NULL);
            rig_node(&r, ENSO_OP_WHERE, 1);
            break;
        case 4:
            rig_input(&r, F32, 3, DIMS(2, 0, 3), NULL);
            rig_node(&r, ENSO_OP_TRANSPOSE, 1);
            break;
        case 5:
            rig_input(&r, F32, 2, DIMS(2, 0), NULL);
            rig_input(&r, F32, 2, DIMS(2, 0), NULL);
            rig_node(&r, ENSO_OP_CONCAT, 1);
            enso_graph_set_int(r.graph, r.node, "axis", 1);
            break;
        case 6:
            rig_input(&r, F32, 2, DIMS(2, 3), (const float[]){1, 2, 3, 4, 5, 6});
            rig_input(&r, I64, 1, DIMS(0), NULL);
            rig_node(&r, ENSO_OP_GATHER, 1);
            break;
        case 7:
            rig_input(&r, F32, 2, DIMS(2, 0), NULL);
            rig_constant(&r, I64, 1, DIMS(4), DIMS(1, 0, 1, 0));
            rig_node(&r, ENSO_OP_PAD, 1);
            break;
        default:
            rig_input(&r, F32, 2, DIMS(2, 0), NULL);
            rig_node(&r, ENSO_OP_IDENTITY, 1);
        }
        rig_run(&r);
        ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), 0);
        rig_done(&r);
    }
}
END_TEST

#define N_CASES 6
#define COLUMNS 37

/* A case of [4, COLUMNS] in, [4, ...] out. */
static void build_rows(struct rig *r, unsigned which, const float *x)
{
    rig_init(r, "auto", 1);
    rig_input(r, F32, 2, DIMS(4, COLUMNS), x);
    switch (which) {
    case 0:
        rig_node(r, ENSO_OP_GELU, 1);
        break;
    case 1:
        rig_input(r, F32, 1, DIMS(COLUMNS), x);
        rig_node(r, ENSO_OP_MUL, 1);
        break;
    case 2:
        rig_constant(r, I64, 1, DIMS(1), DIMS(3));
        rig_constant(r, I64, 1, DIMS(1), DIMS(30));
        rig_constant(r, I64, 1, DIMS(1), DIMS(1));
        rig_constant(r, I64, 1, DIMS(1), DIMS(3));
        rig_node(r, ENSO_OP_SLICE, 1);
        break;
    case 3:
        rig_constant(r, I64, 1, DIMS(4), DIMS(0, 40, 0, 40));
        rig_node(r, ENSO_OP_PAD, 1);
        enso_graph_set_string(r->graph, r->node, "mode", "reflect");
        break;
    case 4:
        rig_input(r, I64, 1, DIMS(3), DIMS(36, 0, 5));
        rig_node(r, ENSO_OP_GATHER, 1);
        enso_graph_set_int(r->graph, r->node, "axis", 1);
        break;
    default:
        rig_input(r, F32, 2, DIMS(4, COLUMNS), x);
        rig_node(r, ENSO_OP_CONCAT, 1);
        enso_graph_set_int(r->graph, r->node, "axis", 1);
    }
}

/* NaN in all other rows leaves a row's bits as they were. */
START_TEST(test_rows_do_not_see_neighbours)
{
    float *x = rig_random_new(4 * COLUMNS, 5), *poisoned = malloc(4 * COLUMNS * sizeof(float));

    ck_assert_ptr_nonnull(poisoned);
    for (unsigned which = 0; which < N_CASES; which++) {
        struct rig plain, other;

        build_rows(&plain, which, x);
        rig_run(&plain);
        size_t bytes = enso_tensor_bytes(&plain.outputs[0]) / 4;
        for (size_t row = 0; row < 4; row++) {
            for (size_t i = 0; i < 4 * COLUMNS; i++)
                poisoned[i] = i / COLUMNS == row ? x[i] : i % 2 == 0 ? NAN : INFINITY;
            build_rows(&other, which, x);
            memcpy(other.inputs[0].data, poisoned, 4 * COLUMNS * sizeof(float));
            if (which == 5)
                memcpy(other.inputs[1].data, poisoned, 4 * COLUMNS * sizeof(float));
            rig_run(&other);
            ck_assert_mem_eq((const unsigned char *)other.outputs[0].data + row * bytes,
                             (const unsigned char *)plain.outputs[0].data + row * bytes, bytes);
            rig_done(&other);
        }
        rig_done(&plain);
    }
    free(poisoned);
    free(x);
}
END_TEST

/* More elements than the threads of a block, and no multiple of them. The second time on a GPU's
 * emulation that launches three blocks at most: each thread takes many elements. */
START_TEST(test_many_elements)
{
    const size_t n = 70001;

    ck_assert_int_eq(setenv("ENSO_CUDA_EMULATED_BLOCKS", _i == 0 ? "1048560" : "3", 1), 0);
    float *x = rig_random_new(n, 6);
    size_t bad = 0;
    struct rig r;

    rig_init(&r, "auto", 2);
    rig_input(&r, F32, 1, DIMS((int64_t)n), x);
    rig_node(&r, ENSO_OP_NEG, 1);
    rig_run(&r);
    for (size_t i = 0; i < n; i++)
        bad += ((const float *)r.outputs[0].data)[i] != -x[i];
    rig_done(&r);

    rig_init(&r, "auto", 2);
    rig_input(&r, F32, 2, DIMS((int64_t)n, 1), x);
    rig_input(&r, F32, 1, DIMS(3), (const float[]){1, 2, 4});
    rig_node(&r, ENSO_OP_MUL, 1);
    rig_run(&r);
    for (size_t i = 0; i < 3 * n; i++)
        bad += ((const float *)r.outputs[0].data)[i] != x[i / 3] * (float)(1 << i % 3);
    rig_done(&r);

    rig_init(&r, "auto", 2);
    rig_input(&r, F32, 2, DIMS(7, 10000), x);
    rig_node(&r, ENSO_OP_TRANSPOSE, 1);
    rig_run(&r);
    for (size_t i = 0; i < 70000; i++)
        bad += ((const float *)r.outputs[0].data)[i] != x[i % 7 * 10000 + i / 7];
    rig_done(&r);

    rig_init(&r, "auto", 2);
    rig_input(&r, F32, 2, DIMS(7, 10000), x);
    rig_input(&r, ENSO_DTYPE_I32, 1, DIMS(3), (const int32_t[]){6, -7, 3});
    rig_node(&r, ENSO_OP_GATHER, 1);
    rig_run(&r);
    for (size_t i = 0; i < 30000; i++)
        bad += ((const float *)r.outputs[0].data)[i] != x[(i < 10000   ? 6
                                                           : i < 20000 ? 0
                                                                       : 3) *
                                                              10000 +
                                                          i % 10000];
    rig_done(&r);

    rig_init(&r, "auto", 2);
    rig_input(&r, F32, 2, DIMS(7, 5001), x);
    rig_input(&r, F32, 2, DIMS(7, 5000), x);
    rig_node(&r, ENSO_OP_CONCAT, 1);
    enso_graph_set_int(r.graph, r.node, "axis", 1);
    rig_run(&r);
    for (size_t i = 0; i < 70007; i++) {
        size_t row = i / 10001, at = i % 10001;

        bad += ((const float *)r.outputs[0].data)[i] !=
               x[at < 5001 ? row * 5001 + at : row * 5000 + at - 5001];
    }
    rig_done(&r);

    rig_init(&r, "auto", 2);
    rig_input(&r, F32, 1, DIMS(70000), x);
    rig_constant(&r, I64, 1, DIMS(2), DIMS(1, -9));
    rig_node(&r, ENSO_OP_PAD, 1);
    rig_run(&r);
    for (size_t i = 0; i < 69992; i++)
        bad += ((const float *)r.outputs[0].data)[i] != (i == 0 ? 0 : x[i - 1]);
    rig_done(&r);
    ck_assert_uint_eq(bad, 0);
    free(x);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/move_corners");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_strided_of_rank_eight);
    tcase_add_test(core, test_join_of_every_width);
    tcase_add_test(core, test_gather_rows_of_every_width);
    tcase_add_test(core, test_makers_of_every_type);
    tcase_add_test(core, test_rows_do_not_see_neighbours);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, test_pad_far);
    tcase_add_test(limits, test_empty_tensors);
    tcase_add_loop_test(limits, test_many_elements, 0, 2);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_gather_refuses_and_goes_on);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
