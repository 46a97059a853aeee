/* SPDX-License-Identifier: Apache-2.0
 *
 * Resize against a reference in double that goes axis by axis as ONNX's reference implementation
 * does. Positions are fractions of whole numbers there, so that nearest has no rounding to argue
 * about. Runs on the CPU and, over ENSO_TEST_BACKEND, on a GPU, there in half types as well.
 *
 * Tolerance: weights are rounded to float, results lie within a few units of 1: 1e-5, in half types
 * the rounding of the result besides (2^-11, 2^-8).
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I64 ENSO_DTYPE_I64
#define RANK 5

/* How an axis is resized: its scale is to / from. */
struct axis {
    int64_t in, out, from, to;
};

struct how {
    const char *mode, *coordinates, *rounding;
    bool antialias, exclude_outside;
    double cubic;
};

struct resize_case {
    size_t rank;
    int64_t in[RANK];
    int64_t sizes[RANK];    /* 0: by quarters */
    int64_t quarters[RANK]; /* the scale times 4; 4: stays */
};

static const struct resize_case cases[] = {
    {4, {2, 3, 4, 5}, {2, 3, 8, 10}, {0}},
    {4, {2, 3, 7, 9}, {2, 3, 5, 4}, {0}},
    {4, {1, 2, 6, 4}, {1, 2, 3, 13}, {0}},
    {4, {2, 2, 5, 6}, {0}, {4, 4, 8, 6}},
    {4, {2, 2, 5, 7}, {0}, {4, 4, 3, 5}},
    {4, {1, 1, 4, 4}, {0}, {4, 4, 7, 2}},
    {4, {1, 2, 1, 5}, {1, 2, 3, 1}, {0}},
    {4, {2, 5, 6, 3}, {2, 9, 4, 3}, {0}}, /* channels last */
    {3, {2, 3, 9}, {2, 3, 20}, {0}},
    {3, {2, 3, 40}, {2, 3, 7}, {0}},
    {2, {3, 5}, {4, 3}, {0}},
    {5, {2, 2, 3, 4, 2}, {2, 2, 5, 3, 3}, {0}},
    {5, {2, 3, 2, 3, 4}, {2, 4, 2, 5, 4}, {0}}, /* one that stays between two */
    {1, {6}, {11}, {0}},
};

/* ---- reference ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Position x of the output is *ret_n / *ret_d in the input. */
static void position(const struct how *h, const struct axis *a, int64_t x, int64_t *ret_n,
                     int64_t *ret_d)
{
    int64_t p = a->to, q = a->from, middle = (2 * x + 1) * q - p;

    *ret_n = middle;
    *ret_d = 2 * p;
    if (strcmp(h->coordinates, "asymmetric") == 0) {
        *ret_n = x * q;
        *ret_d = p;
    } else if (strcmp(h->coordinates, "half_pixel_symmetric") == 0) {
        *ret_n = middle + a->in * p - a->out * q;
    } else if (strcmp(h->coordinates, "pytorch_half_pixel") == 0 && a->in * p <= q) {
        *ret_n = 0;
    } else if (strcmp(h->coordinates, "align_corners") == 0) {
        *ret_n = x * (a->in - 1) * q;
        *ret_d = x == 0 ? 1 : a->in * p - q;
    }
}

static int64_t nearest(const struct how *h, const struct axis *a, int64_t n, int64_t d)
{
    int64_t base = floor_div(n, d), twice = 2 * (n - base * d); /* 0 .. 2d: twice the rest */

    if (strcmp(h->rounding, "round_prefer_floor") == 0)
        return base + (twice > d);
    if (strcmp(h->rounding, "round_prefer_ceil") == 0)
        return base + (twice >= d);
    if (strcmp(h->rounding, "floor") == 0)
        return base;
    if (strcmp(h->rounding, "ceil") == 0)
        return base + (twice > 0);
    return base + (twice > 0 && a->to < a->from);
}

static double filter(const struct how *h, double d)
{
    double a = h->cubic;

    d = fabs(d);
    if (strcmp(h->mode, "linear") == 0)
        return d < 1 ? 1 - d : 0;
    return d < 1   ? (a + 2) * d * d * d - (a + 3) * d * d + 1
           : d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a
                   : 0;
}

/* One element: x has `stride` from one to the next along the axis. */
static double at(const struct how *h, const struct axis *a, const double *x, size_t stride,
                 int64_t o)
{
    int64_t n, d;

    position(h, a, o, &n, &d);
    if (strcmp(h->mode, "nearest") == 0) {
        int64_t i = nearest(h, a, n, d);

        return x[(size_t)(i < 0 ? 0 : i >= a->in ? a->in - 1 : i) * stride];
    }
    double where = (double)n / (double)d, sum = 0, weights = 0;
    double wide = h->antialias && a->to < a->from ? (double)a->from / (double)a->to : 1;
    int64_t reach = (int64_t)ceil(2 * wide) + 1;

    for (int64_t i = (int64_t)floor(where) - reach; i <= (int64_t)floor(where) + reach; i++) {
        double w = filter(h, ((double)i - where) / wide);

        if (h->exclude_outside && (i < 0 || i >= a->in))
            continue;
        weights += w;
        sum += w * x[(size_t)(i < 0 ? 0 : i >= a->in ? a->in - 1 : i) * stride];
    }
    return sum / weights;
}

static size_t count(const int64_t *dims, size_t first, size_t last)
{
    size_t n = 1;

    for (size_t i = first; i < last; i++)
        n *= (size_t)dims[i];
    return n;
}

/* Axis after axis; dims become those of the result. free() */
static double *reference(const struct how *h, const struct axis *axes, size_t rank, int64_t *dims,
                         const float *x)
{
    size_t n = count(dims, 0, rank);
    double *now = malloc(n * sizeof(double) + 1);

    for (size_t i = 0; i < n; i++)
        now[i] = (double)x[i];
    for (size_t d = 0; d < rank; d++) {
        size_t outer = count(dims, 0, d), inner = count(dims, d + 1, rank);
        size_t out = (size_t)axes[d].out, in = (size_t)axes[d].in;
        double *next = malloc(outer * out * inner * sizeof(double) + 1);

        for (size_t o = 0; o < outer; o++)
            for (size_t k = 0; k < out; k++)
                for (size_t i = 0; i < inner; i++)
                    next[(o * out + k) * inner + i] =
                        axes[d].from == axes[d].to
                            ? now[(o * in + k) * inner + i]
                            : at(h, &axes[d], now + o * in * inner + i, inner, (int64_t)k);
        free(now);
        now = next;
        dims[d] = axes[d].out;
    }
    return now;
}

/* ---- on the bench ---- */

static void set_how(struct rig *r, const struct how *h)
{
    enso_graph_set_string(r->graph, r->node, "mode", h->mode);
    enso_graph_set_string(r->graph, r->node, "coordinate_transformation_mode", h->coordinates);
    enso_graph_set_string(r->graph, r->node, "nearest_mode", h->rounding);
    enso_graph_set_int(r->graph, r->node, "antialias", h->antialias);
    enso_graph_set_int(r->graph, r->node, "exclude_outside", h->exclude_outside);
    enso_graph_set_float(r->graph, r->node, "cubic_coeff_a", (float)h->cubic);
}

/* Resize with a list of scales or sizes (NULL: the other). */
static void build(struct rig *r, const char *set, enum enso_dtype dtype, size_t rank,
                  const int64_t *dims, const void *x, const float *scales, const int64_t *sizes)
{
    rig_init(r, set, 2);
    rig_input(r, dtype, rank, dims, x);
    rig_absent(r);
    if (scales != NULL)
        rig_constant(r, F32, 1, (int64_t[]){(int64_t)rank}, scales);
    else
        rig_absent(r);
    if (sizes != NULL)
        rig_constant(r, I64, 1, (int64_t[]){(int64_t)rank}, sizes);
    rig_node(r, ENSO_OP_RESIZE, 1);
}

static void check(const struct resize_case *c, const char *set, enum enso_dtype dtype,
                  const struct how *h, unsigned seed)
{
    bool by_scale = c->sizes[0] == 0;
    double rounding = dtype == ENSO_DTYPE_F16    ? 1.0 / 2048
                      : dtype == ENSO_DTYPE_BF16 ? 1.0 / 256
                                                 : 0;
    struct axis axes[RANK];
    int64_t dims[RANK];
    float scales[RANK];
    struct rig r;

    memcpy(dims, c->in, sizeof(dims));
    for (size_t d = 0; d < c->rank; d++) {
        axes[d] = (struct axis){c->in[d], c->sizes[d], c->in[d], c->sizes[d]};
        if (by_scale)
            axes[d] = (struct axis){c->in[d], c->in[d] * c->quarters[d] / 4, 4, c->quarters[d]};
        scales[d] = (float)c->quarters[d] / 4;
    }
    size_t n = count(dims, 0, c->rank);
    float *x = rig_random_new(n, seed);
    void *given = rig_narrow_new(dtype, x, n);

    rig_widen(dtype, given, x, n); /* what the kernel sees */
    build(&r, set, dtype, c->rank, dims, given, by_scale ? scales : NULL,
          by_scale ? NULL : c->sizes);
    set_how(&r, h);
    rig_run(&r);
    double *want = reference(h, axes, c->rank, dims, x);
    size_t n_out = count(dims, 0, c->rank);
    float *got = malloc(n_out * sizeof(float) + 1);
    char *what = enso_test_format("%s %s %s %s%s%s case %zu", set, h->mode, h->coordinates,
                                  strcmp(h->mode, "nearest") == 0 ? h->rounding : "",
                                  h->antialias ? " antialias" : "",
                                  h->exclude_outside ? " exclude" : "", (size_t)(c - cases));

    ck_assert_uint_eq(r.outputs[0].rank, c->rank);
    for (size_t d = 0; d < c->rank; d++)
        ck_assert_msg(r.outputs[0].dims[d] == dims[d], "%s", what);
    rig_widen(dtype, r.outputs[0].data, got, n_out);
    rig_near(what, got, want, n_out, strcmp(h->mode, "nearest") == 0 ? 0 : 1e-5, rounding);
    free(what);
    free(got);
    free(want);
    free(given);
    free(x);
    rig_done(&r);
}

static const char *const coordinates[] = {"half_pixel", "half_pixel_symmetric",
                                          "pytorch_half_pixel", "align_corners", "asymmetric"};
static const enum enso_dtype types[] = {F32, ENSO_DTYPE_F16, ENSO_DTYPE_BF16};

/* The CPU has no halves, a T4 no BF16. */
static size_t n_types(void)
{
    size_t n = ENSO_ARRAY_SIZE(types);

    while (!rig_computes(ENSO_OP_RESIZE, types[n - 1]))
        n--;
    return n;
}

START_TEST(test_resize_weighted)
{
    static const char *const modes[] = {"linear", "cubic"};
    size_t n = n_types();

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t m = 0; m < 2; m++)
            for (size_t k = 0; k < ENSO_ARRAY_SIZE(coordinates); k++)
                for (int options = 0; options < 4; options++)
                    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
                        const struct how h = {
                            modes[m],           coordinates[k],     "round_prefer_floor",
                            (options & 1) != 0, (options & 2) != 0, i % 2 == 0 ? -0.75 : -0.5};

                        check(&cases[i], *set, types[(k + i) % n], &h, (unsigned)i);
                    }
}
END_TEST

START_TEST(test_resize_nearest)
{
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                            "ceil", "simple"};
    size_t n = n_types();

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t m = 0; m < ENSO_ARRAY_SIZE(roundings); m++)
            for (size_t k = 0; k < ENSO_ARRAY_SIZE(coordinates); k++)
                for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
                    const struct how h = {"nearest", coordinates[k], roundings[m], false, false, 0};

                    check(&cases[i], *set, types[(k + i) % n], &h, (unsigned)i);
                }
}
END_TEST

/* Nearest moves elements of any type: twice as many, each twice. */
START_TEST(test_resize_moves_all_types)
{
    static const enum enso_dtype all[] = {ENSO_DTYPE_BOOL, ENSO_DTYPE_U8,  ENSO_DTYPE_I16,
                                          ENSO_DTYPE_I32,  ENSO_DTYPE_F64, I64};
    unsigned char x[6 * 8];
    const int64_t sizes[3] = {1, 4, 3};

    for (size_t i = 0; i < sizeof(x); i++)
        x[i] = (unsigned char)(i * 37 + 1);
    for (size_t t = 0; t < ENSO_ARRAY_SIZE(all); t++) {
        size_t row = enso_dtype_row_bytes(all[t], 3);
        struct rig r;

        build(&r, "auto", all[t], 3, (int64_t[]){1, 2, 3}, x, NULL, sizes);
        rig_run(&r);
        ck_assert_int_eq(r.outputs[0].dtype, all[t]);
        for (size_t o = 0; o < 4; o++)
            ck_assert_mem_eq((unsigned char *)r.outputs[0].data + o * row, x + o / 2 * row, row);
        rig_done(&r);
    }
}
END_TEST

/* An image has the same bits with its channels before and behind, alone and among others. */
START_TEST(test_resize_layouts_and_batches)
{
    static const struct how h = {"cubic", "half_pixel", "floor", true, true, -0.75};
    const int64_t first_sizes[4] = {3, 5, 4, 9}, last_sizes[4] = {3, 4, 9, 5};
    const int64_t one_sizes[4] = {1, 5, 4, 9};
    float *x = rig_random_new(3 * 5 * 7 * 6, 3), turned[3 * 7 * 6 * 5];

    for (size_t n = 0; n < 3; n++)
        for (size_t c = 0; c < 5; c++)
            for (size_t p = 0; p < 42; p++)
                turned[(n * 42 + p) * 5 + c] = x[(n * 5 + c) * 42 + p];
    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        struct rig first, last, one;

        build(&first, *set, F32, 4, (int64_t[]){3, 5, 7, 6}, x, NULL, first_sizes);
        build(&last, *set, F32, 4, (int64_t[]){3, 7, 6, 5}, turned, NULL, last_sizes);
        build(&one, *set, F32, 4, (int64_t[]){1, 5, 7, 6}, x + 2 * 5 * 42, NULL, one_sizes);
        set_how(&first, &h);
        set_how(&last, &h);
        set_how(&one, &h);
        rig_run(&first);
        rig_run(&last);
        rig_run(&one);
        const float *a = first.outputs[0].data, *b = last.outputs[0].data;

        for (size_t n = 0; n < 3; n++)
            for (size_t c = 0; c < 5; c++)
                for (size_t p = 0; p < 36; p++)
                    ck_assert_mem_eq(&a[(n * 5 + c) * 36 + p], &b[(n * 36 + p) * 5 + c], 4);
        ck_assert_mem_eq(a + 2 * 5 * 36, one.outputs[0].data, sizeof(float[5 * 36]));
        rig_done(&first);
        rig_done(&last);
        rig_done(&one);
    }
    free(x);
}
END_TEST

/* keep_aspect_ratio_policy over two of four axes: one scale for both, sizes rounded. */
START_TEST(test_resize_keeps_ratio)
{
    static const struct {
        const char *policy;
        int64_t height, width; /* of [1, 2, 4, 6] asked to become 7 x 8: 7/4 and 8/6 */
        int64_t from, to;
    } ratios[] = {{"not_larger", 5, 8, 6, 8}, {"not_smaller", 7, 11, 4, 7}};
    static const struct how h = {"linear", "half_pixel", "floor", false, false, 0};
    const int64_t in[4] = {1, 2, 4, 6}, sizes[2] = {8, 7}, axes_given[2] = {3, -2};
    float *x = rig_random_new(48, 9);

    for (size_t i = 0; i < 2; i++) {
        int64_t dims[4] = {1, 2, 4, 6}, from = ratios[i].from, to = ratios[i].to;
        const struct axis axes[4] = {{1, 1, 1, 1},
                                     {2, 2, 1, 1},
                                     {4, ratios[i].height, from, to},
                                     {6, ratios[i].width, from, to}};
        double *want = reference(&h, axes, 4, dims, x);
        struct rig r;

        rig_init(&r, "auto", 1);
        rig_input(&r, F32, 4, in, x);
        rig_absent(&r);
        rig_absent(&r);
        rig_constant(&r, I64, 1, (int64_t[]){2}, sizes);
        rig_node(&r, ENSO_OP_RESIZE, 1);
        set_how(&r, &h);
        enso_graph_set_ints(r.graph, r.node, "axes", axes_given, 2);
        enso_graph_set_string(r.graph, r.node, "keep_aspect_ratio_policy", ratios[i].policy);
        rig_run(&r);
        ck_assert_int_eq(r.outputs[0].dims[2], ratios[i].height);
        ck_assert_int_eq(r.outputs[0].dims[3], ratios[i].width);
        rig_near(ratios[i].policy, r.outputs[0].data, want, count(dims, 0, 4), 1e-5, 0);
        free(want);
        rig_done(&r);
    }
    free(x);
}
END_TEST

START_TEST(test_resize_nothing)
{
    const float x[12] = {0}, half[3] = {1, 1, 0.25F};
    const int64_t none[3] = {0, 2, 4}, same[3] = {1, 3, 4};
    struct rig r;

    build(&r, "auto", F32, 3, (int64_t[]){1, 3, 3}, x, half, NULL); /* three quarters: none */
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dims[2], 0);
    rig_done(&r);
    build(&r, "auto", F32, 3, (int64_t[]){0, 3, 4}, x, NULL, none);
    rig_run(&r);
    ck_assert_int_eq(r.outputs[0].dims[1], 2);
    rig_done(&r);
    build(&r, "auto", F32, 3, (int64_t[]){1, 3, 4}, x, NULL, same);
    enso_graph_set_string(r.graph, r.node, "mode", "cubic");
    rig_run(&r);
    ck_assert_mem_eq(r.outputs[0].data, x, sizeof(x));
    rig_done(&r);
}
END_TEST

/* Everything that is refused says so by name. */
START_TEST(test_resize_refuses)
{
    static const struct {
        struct how how;
        enum enso_dtype dtype;
        const char *sentence;
    } refused[] = {
        {{"nearest", "tf_crop_and_resize", "floor", false, false, 0},
         F32,
         "coordinate_transformation_mode 'tf_crop_and_resize'"},
        {{"spline", "half_pixel", "floor", false, false, 0}, F32, "mode 'spline'"},
        {{"nearest", "half_pixel", "odd", false, false, 0}, F32, "nearest_mode 'odd'"},
        {{"nearest", "half_pixel", "floor", true, false, 0}, F32, "antialias with mode 'nearest'"},
        {{"linear", "half_pixel", "floor", false, false, 0}, ENSO_DTYPE_U8, "cubic of UINT8"},
    };
    const unsigned char x[4 * 32] = {0};
    const int64_t sizes[5] = {2, 4, 2, 2, 4};
    struct rig r;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(refused); i++) {
        build(&r, "auto", refused[i].dtype, 2, (int64_t[]){1, 2}, x, NULL, sizes);
        set_how(&r, &refused[i].how);
        ck_assert_int_eq(rig_try_bind(&r), ENSO_UNSUPPORTED);
        ck_assert_msg(strstr(r.err.message, refused[i].sentence) != NULL, "%s", r.err.message);
        rig_done(&r);
    }
    build(&r, "auto", F32, 5, (int64_t[]){1, 2, 2, 2, 2}, x, NULL, sizes);
    ck_assert_int_eq(rig_try_bind(&r), ENSO_UNSUPPORTED);
    ck_assert_msg(strstr(r.err.message, "too far apart") != NULL, "%s", r.err.message);
    rig_done(&r);
}
END_TEST

/* Scales that no float holds: positions in float, as others reckon. By hand: a third reads every
 * third element, four thirds three of four. */
START_TEST(test_resize_inexact_scales)
{
    static const struct {
        float scale;
        const char *coordinates, *rounding;
        int64_t in;
        size_t n;
        int places[8];
    } inexact[] = {
        {1.0F / 3, "asymmetric", "floor", 12, 4, {0, 3, 6, 9}},
        {1.0F / 3, "half_pixel", "floor", 12, 4, {1, 4, 7, 10}},
        {1.0F / 3, "pytorch_half_pixel", "floor", 12, 4, {1, 4, 7, 10}},
        {4.0F / 3, "asymmetric", "floor", 6, 8, {0, 0, 1, 2, 3, 3, 4, 5}},
        {4.0F / 3, "half_pixel", "floor", 6, 8, {0, 0, 1, 2, 2, 3, 4, 5}},
        {0.1F, "asymmetric", "floor", 40, 4, {0, 10, 20, 30}},
        {0.1F, "half_pixel", "round_prefer_ceil", 40, 4, {5, 15, 25, 35}},
        {0.1F, "half_pixel", "round_prefer_floor", 40, 4, {4, 14, 24, 34}},
    };
    float x[40];
    struct rig r;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(x); i++)
        x[i] = (float)i;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(inexact); i++) {
        const struct how h = {"nearest", inexact[i].coordinates, inexact[i].rounding, false, false,
                              0};

        build(&r, "auto", F32, 1, &inexact[i].in, x, &inexact[i].scale, NULL);
        set_how(&r, &h);
        rig_run(&r);
        ck_assert_int_eq(r.outputs[0].dims[0], (int64_t)inexact[i].n);
        for (size_t k = 0; k < inexact[i].n; k++)
            ck_assert_msg(((const float *)r.outputs[0].data)[k] == (float)inexact[i].places[k],
                          "case %zu: position %zu reads %g, not %d", i, k,
                          (double)((const float *)r.outputs[0].data)[k], inexact[i].places[k]);
        rig_done(&r);
    }
}
END_TEST

/* One thread of a GPU does not add so many; the CPU does. */
START_TEST(test_resize_many_taps)
{
    static const struct {
        int64_t side;
        bool taken;
    } sides[] = {{64, true}, {65, false}}; /* to one: 128 by 128 taps, or 130 by 130 */
    const int64_t sizes[2] = {1, 1};
    static const struct how h = {"linear", "half_pixel", "floor", true, false, 0};
    float *x = rig_random_new(65 * 65, 5);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sides); i++) {
        struct rig r;

        build(&r, "auto", F32, 2, (int64_t[]){sides[i].side, sides[i].side}, x, NULL, sizes);
        set_how(&r, &h);
        int st = rig_try_bind(&r);

        ck_assert_int_eq(st, rig_on_gpu() && !sides[i].taken ? ENSO_UNSUPPORTED : ENSO_OK);
        if (st != ENSO_OK)
            ck_assert_msg(strstr(r.err.message, "antialias over 16900 elements for each one; the "
                                                "GPU adds at most 16384") != NULL,
                          "%s", r.err.message);
        rig_done(&r);
    }
    free(x);
}
END_TEST

/* A table would be of another order than the image: only attributes of a file ask for that. */
START_TEST(test_resize_giant_table)
{
    const int64_t dims[2] = {1, 1 << 18}, sizes[2] = {-1, 2};
    const float scales[2] = {0, 0.5F / (1 << 18)};
    float *x = rig_random_new(1 << 18, 5);
    struct rig r;

    rig_init(&r, "auto", 1);
    rig_input(&r, F32, 2, dims, x);
    rig_node(&r, ENSO_OP_RESIZE, 1);
    enso_graph_set_ints(r.graph, r.node, "resized_sizes", sizes, 2);
    enso_graph_set_floats(r.graph, r.node, "resized_scales", scales, 2);
    enso_graph_set_string(r.graph, r.node, "mode", "cubic");
    enso_graph_set_int(r.graph, r.node, "antialias", 1);
    ck_assert_int_eq(rig_try_bind(&r), ENSO_UNSUPPORTED);
    ck_assert_msg(strstr(r.err.message, "an axis of 262144 that becomes 2 takes 2097152 elements "
                                        "for each one, but a table holds at most 2097152") != NULL,
                  "%s", r.err.message);
    rig_done(&r);
    free(x);
}
END_TEST

/* Attributes that a file brings in place of scales, and that no scale could have made. */
START_TEST(test_resize_hostile_attributes)
{
    static const struct {
        int64_t sizes[2], ratio;
        float scales[2];
    } hostile[] = {{{-1, 1}, -1, {0, 1e-30F}},
                   {{-1, 200000}, -1, {0, 1e-30F}},
                   {{0, 200000}, 0, {0, 0}},
                   {{-1, 4}, -1, {0, 3e38F}}};
    const float x[6] = {0};
    struct rig r;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(hostile); i++) {
        rig_init(&r, "auto", 1);
        rig_input(&r, F32, 2, (int64_t[]){2, 3}, x);
        rig_node(&r, ENSO_OP_RESIZE, 1);
        enso_graph_set_ints(r.graph, r.node, "resized_sizes", hostile[i].sizes, 2);
        enso_graph_set_floats(r.graph, r.node, "resized_scales", hostile[i].scales, 2);
        enso_graph_set_int(r.graph, r.node, "ratio_axis", hostile[i].ratio);
        enso_graph_set_string(r.graph, r.node, "mode", "linear");
        enso_graph_set_int(r.graph, r.node, "antialias", 1);
        ck_assert_int_eq(rig_try_bind(&r), ENSO_UNSUPPORTED);
        ck_assert_msg(strstr(r.err.message, "by a scale of") != NULL, "%s", r.err.message);
        rig_done(&r);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/resize");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 300);
    tcase_add_test(core, test_resize_weighted);
    tcase_add_test(core, test_resize_nearest);
    tcase_add_test(core, test_resize_moves_all_types);
    tcase_add_test(core, test_resize_layouts_and_batches);
    tcase_add_test(core, test_resize_keeps_ratio);
    tcase_add_test(core, test_resize_nothing);
    tcase_add_test(core, test_resize_refuses);
    tcase_add_test(core, test_resize_inexact_scales);
    tcase_add_test(core, test_resize_many_taps);
    tcase_add_test(core, test_resize_giant_table);
    tcase_add_test(core, test_resize_hostile_attributes);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
