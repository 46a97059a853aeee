/* SPDX-License-Identifier: Apache-2.0
 *
 * TopK against sorting a whole row: every type, along every axis, largest and smallest, with ties,
 * infinities, both zeros and NaN among the floats. All results are exact. Runs on the CPU and, over
 * ENSO_TEST_BACKEND, on a GPU.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I64 ENSO_DTYPE_I64

/* ---- elements of any type ---- */

/* Numbers that all types hold, in no order and with many ties. */
static double number(unsigned seed, size_t i)
{
    return (double)((uint32_t)(i * 2654435761U + seed * 40503U) >> 13 & 63);
}

static void put(enum enso_dtype dtype, void *x, size_t i, double v)
{
    float f = (float)v;

    switch (dtype) {
#define PUT(name, type)                                                                            \
    case ENSO_DTYPE_##name:                                                                        \
        ((type *)x)[i] = (type)v;                                                                  \
        break;
        PUT(F32, float)
        PUT(F64, double)
        PUT(I8, int8_t)
        PUT(U8, uint8_t)
        PUT(I16, int16_t)
        PUT(U16, uint16_t)
        PUT(I32, int32_t)
        PUT(U32, uint32_t)
        PUT(I64, int64_t)
        PUT(U64, uint64_t)
#undef PUT
    case ENSO_DTYPE_F16:
        enso_f32_to_f16(&f, (uint16_t *)x + i, 1);
        break;
    case ENSO_DTYPE_BF16:
        enso_f32_to_bf16(&f, (uint16_t *)x + i, 1);
        break;
    default:
        ck_abort_msg("no such type here");
    }
}

/* Whether element a of a row comes before element b: as the contract says, in whole numbers where
 * a double does not hold all of them. */
static int order(enum enso_dtype dtype, const void *x, size_t a, size_t b)
{
    float fa = 0, fb = 0;

    switch (dtype) {
#define ORDER(name, type)                                                                          \
    case ENSO_DTYPE_##name: {                                                                      \
        type p = ((const type *)x)[a], q = ((const type *)x)[b];                                   \
        return (p > q) - (p < q);                                                                  \
    }
        ORDER(I8, int8_t)
        ORDER(U8, uint8_t)
        ORDER(I16, int16_t)
        ORDER(U16, uint16_t)
        ORDER(I32, int32_t)
        ORDER(U32, uint32_t)
        ORDER(I64, int64_t)
        ORDER(U64, uint64_t)
#undef ORDER
    case ENSO_DTYPE_F64: {
        double p = ((const double *)x)[a], q = ((const double *)x)[b];

        return isnan(p) || isnan(q) ? !!isnan(p) - !!isnan(q) : (p > q) - (p < q);
    }
    case ENSO_DTYPE_F32:
        fa = ((const float *)x)[a];
        fb = ((const float *)x)[b];
        break;
    case ENSO_DTYPE_F16:
        enso_f16_to_f32((const uint16_t *)x + a, &fa, 1);
        enso_f16_to_f32((const uint16_t *)x + b, &fb, 1);
        break;
    default:
        enso_bf16_to_f32((const uint16_t *)x + a, &fa, 1);
        enso_bf16_to_f32((const uint16_t *)x + b, &fb, 1);
    }
    return isnan(fa) || isnan(fb) ? !!isnan(fa) - !!isnan(fb) : (fa > fb) - (fa < fb);
}

/* ---- reference: insertion into a list, one row at a time ---- */

static void check_row(enum enso_dtype dtype, bool largest, const void *x, size_t n, size_t first,
                      size_t stride, size_t k, const void *values, const int64_t *places,
                      size_t first_out, const char *what)
{
    size_t *sorted = malloc((n + 1) * sizeof(*sorted)), bytes = enso_dtype_row_bytes(dtype, 1);

    for (size_t i = 0; i < n; i++) {
        size_t at = i;

        for (; at > 0; at--) {
            int c = order(dtype, x, first + i * stride, first + sorted[at - 1] * stride);

            if (largest ? c <= 0 : c >= 0)
                break;
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = i;
    }
    for (size_t i = 0; i < k; i++) {
        size_t to = first_out + i * stride;

        ck_assert_msg(places[to] == (int64_t)sorted[i], "%s: number %zu is at %lld, not at %zu",
                      what, i, (long long)places[to], sorted[i]);
        ck_assert_msg(memcmp((const unsigned char *)values + to * bytes,
                             (const unsigned char *)x + (first + sorted[i] * stride) * bytes,
                             bytes) == 0,
                      "%s: number %zu is another", what, i);
    }
    free(sorted);
}

struct case_of {
    size_t rank;
    int64_t dims[3], axis, k;
};

static void run_case(const char *set, enum enso_dtype dtype, bool largest, const struct case_of *c,
                     const void *x)
{
    size_t axis = (size_t)(c->axis < 0 ? c->axis + (int64_t)c->rank : c->axis), outer = 1;
    size_t n = (size_t)c->dims[axis], inner = 1, k = (size_t)c->k;
    struct rig r;

    for (size_t d = 0; d < c->rank; d++)
        *(d < axis ? &outer : &inner) *= d == axis ? 1 : (size_t)c->dims[d];
    rig_init(&r, set, 2);
    rig_input(&r, dtype, c->rank, c->dims, x);
    rig_constant(&r, I64, 1, (int64_t[]){1}, &c->k);
    rig_node(&r, ENSO_OP_TOP_K, 2);
    enso_graph_set_int(r.graph, r.node, "axis", c->axis);
    enso_graph_set_int(r.graph, r.node, "largest", largest);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dims[axis], c->k);
    ck_assert_int_eq(r.outputs[1].dims[axis], c->k);
    ck_assert_int_eq(r.outputs[1].dtype, I64);
    char *what = enso_test_format("%s %s %s %lld of %zu", set, enso_dtype_name(dtype),
                                  largest ? "largest" : "smallest", (long long)c->k, n);

    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++)
            check_row(dtype, largest, x, n, o * n * inner + i, inner, k, r.outputs[0].data,
                      r.outputs[1].data, o * k * inner + i, what);
    free(what);
    rig_done(&r);
}

static const enum enso_dtype all[] = {F32,
                                      ENSO_DTYPE_F64,
                                      ENSO_DTYPE_I8,
                                      ENSO_DTYPE_U8,
                                      ENSO_DTYPE_I16,
                                      ENSO_DTYPE_U16,
                                      ENSO_DTYPE_I32,
                                      ENSO_DTYPE_U32,
                                      I64,
                                      ENSO_DTYPE_U64,
                                      ENSO_DTYPE_F16,
                                      ENSO_DTYPE_BF16};

/* The CPU has no halves, a T4 no BF16. */
static size_t n_types(void)
{
    size_t n = ENSO_ARRAY_SIZE(all);

    while (enso_dtype_is_half(all[n - 1]) && !rig_computes(ENSO_OP_TOP_K, all[n - 1]))
        n--;
    return n;
}

static const struct case_of shapes[] = {
    {1, {7}, 0, 3},         {1, {1}, 0, 1},         {2, {5, 40}, -1, 40}, {2, {40, 3}, 0, 5},
    {3, {2, 30, 3}, 1, 17}, {3, {2, 3, 600}, 2, 9}, {2, {3, 50}, 1, 0},   {2, {1, 33}, 1, 32},
    {2, {2, 515}, 1, 1},    {2, {2, 700}, -1, 300}, {2, {0, 5}, 1, 2},
};

START_TEST(test_top_k_types_and_shapes)
{
    unsigned char x[4096 * 8];
    size_t types = n_types();

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t t = 0; t < types; t++)
            for (size_t c = 0; c < ENSO_ARRAY_SIZE(shapes); c++) {
                for (size_t i = 0; i < 4096; i++)
                    put(all[t], x, i, number((unsigned)c, i));
                run_case(*set, all[t], (t + c) % 2 == 0, &shapes[c], x);
            }
}
END_TEST

/* The ends of each type, and of floats what is no number. */
START_TEST(test_top_k_ends)
{
    static const uint64_t ends[] = {0,          1,          UINT64_MAX,         UINT64_MAX - 1,
                                    1ULL << 63, 1ULL << 31, (1ULL << 63) - 1,   1ULL << 32,
                                    255,        128,        0x8000000080000000, 0x7fff7fff7fff7fff};
    static const double floats[] = {0.0, -0.0, INFINITY, -INFINITY, NAN,  1.5,  -1.5,
                                    2.5, NAN,  -2.5,     0.0,       -0.0, 1e-7, INFINITY};
    const struct case_of whole = {1, {ENSO_ARRAY_SIZE(ends)}, 0, ENSO_ARRAY_SIZE(ends)};
    const struct case_of real = {1, {ENSO_ARRAY_SIZE(floats)}, 0, ENSO_ARRAY_SIZE(floats)};
    unsigned char x[sizeof(floats)];
    size_t types = n_types();

    for (size_t t = 0; t < types; t++)
        for (int largest = 0; largest < 2; largest++) {
            size_t bytes = enso_dtype_row_bytes(all[t], 1);

            if (enso_dtype_is_float(all[t])) {
                for (size_t i = 0; i < ENSO_ARRAY_SIZE(floats); i++)
                    put(all[t], x, i, floats[i]);
                x[9 * bytes - 1] ^= 0x80; /* one NaN has its sign turned over */
                run_case("auto", all[t], largest != 0, &real, x);
                continue;
            }
            for (size_t i = 0; i < ENSO_ARRAY_SIZE(ends); i++) /* the low bytes, or all */
                memcpy(x + i * bytes, &ends[i], bytes);
            run_case("auto", all[t], largest != 0, &whole, x);
        }
}
END_TEST

/* Rows that pass through many pieces: rising, falling, all the same, all NaN. */
START_TEST(test_top_k_long_rows)
{
    enum { N = 3000 };
    static const int64_t ks[] = {1, 5, 257, 1000};
    float *x = malloc(4 * N * sizeof(*x));

    for (size_t i = 0; i < N; i++) {
        x[i] = (float)i;
        x[N + i] = -(float)i;
        x[2 * N + i] = 1;
        x[3 * N + i] = NAN;
    }
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(ks); i++) {
            const struct case_of c = {2, {4, N}, 1, ks[i]};

            run_case(*set, F32, i % 2 == 0, &c, x);
        }
    free(x);
}
END_TEST

/* As many as the GPU finds, and one more. */
START_TEST(test_top_k_limits)
{
    static const struct {
        enum enso_dtype dtype;
        int64_t most;
    } limits[] = {{F32, 2048}, {I64, 1024}};
    void *x = calloc(2100, 8);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(limits); i++) {
        const struct case_of c = {1, {2100}, 0, limits[i].most};
        int64_t more = limits[i].most + 1;
        struct rig r;

        for (size_t k = 0; k < 2100; k++)
            put(limits[i].dtype, x, k, number(3, k));
        run_case("auto", limits[i].dtype, true, &c, x);
        rig_init(&r, "auto", 1);
        rig_input(&r, limits[i].dtype, 1, (int64_t[]){2100}, x);
        rig_constant(&r, I64, 1, (int64_t[]){1}, &more);
        rig_node(&r, ENSO_OP_TOP_K, 2);
        int st = rig_try_bind(&r);

        ck_assert_int_eq(st, rig_on_gpu() ? ENSO_UNSUPPORTED : ENSO_OK);
        if (rig_on_gpu())
            ck_assert_msg(strstr(r.err.message, "the GPU finds at most") != NULL, "%s",
                          r.err.message);
        rig_done(&r);
    }
    free(x);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/top_k");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 300);
    tcase_add_test(core, test_top_k_types_and_shapes);
    tcase_add_test(core, test_top_k_ends);
    tcase_add_test(core, test_top_k_long_rows);
    tcase_add_test(core, test_top_k_limits);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
