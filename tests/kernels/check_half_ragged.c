/* SPDX-License-Identifier: Apache-2.0
 *
 * ATTENTION, EMBEDDING and SEQUENCE_POOL in F16 and BF16 (and, where kernels share code, F32) on a
 * ragged batch, against references in double over inputs that were rounded first; and what batches
 * rest on: a sequence has the same bits alone, beside others whatever they hold, beside padding,
 * and in whichever order the list of work names its tiles. A GPU's alone: the CPU computes in F32.
 *
 * Tolerances, u being the rounding of the type (2^-11, 2^-8): results are rounded once, u of their
 * size. Attention in halves also rounds the weights before it multiplies them with values of [-1,
 * 1), which moves the mean by at most u; scores of up to 12 have absolute errors below 1e-4 in F32,
 * and so have weights relatively. What is summed in F32 adds 1e-6.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F16 ENSO_DTYPE_F16
#define BF16 ENSO_DTYPE_BF16
#define F32 ENSO_DTYPE_F32
#define I32 ENSO_DTYPE_I32
#define TILE 64 /* queries of an entry in the list of work */

static const enum enso_dtype types[] = {F16, BF16, F32};
#define N_HALVES 2 /* the first of them */

/* The first n of the types, those that the card computes in. */
#define FOR_TYPES(t, n)                                                                            \
    for (size_t t = 0; t < (n); t++)                                                               \
        if (rig_computes(ENSO_OP_ATTENTION, types[t]))

static void *space(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);

    ck_assert_ptr_nonnull(p);
    return p;
}

static double unit(enum enso_dtype dtype)
{
    return dtype == F16 ? 0x1p-11 : dtype == BF16 ? 0x1p-8 : 0x1p-24;
}

/* x becomes what dtype has for it. */
static void round_to(enum enso_dtype dtype, float *x, size_t n)
{
    void *y = space(n, sizeof(float));

    rig_narrow(dtype, x, y, n);
    rig_widen(dtype, y, x, n);
    free(y);
}

static void half_input(struct rig *r, enum enso_dtype dtype, size_t rows, size_t columns,
                       const float *x)
{
    void *y = space(rows * columns, sizeof(float));

    rig_narrow(dtype, x, y, rows * columns);
    rig_input(r, dtype, 2, DIMS((int64_t)rows, (int64_t)columns), y);
    free(y);
}

static void half_constant(struct rig *r, enum enso_dtype dtype, size_t rows, size_t columns,
                          const float *x)
{
    void *y = space(rows * columns, sizeof(float));

    rig_narrow(dtype, x, y, rows * columns);
    rig_constant(r, dtype, 2, DIMS((int64_t)rows, (int64_t)columns), y);
    free(y);
}

static void expect(const struct rig *r, const char *what, const double *want, double absolute,
                   double relative)
{
    float *y = rig_result_new(r);

    rig_near(what, y, want, (size_t)enso_tensor_count(&r->outputs[0]), absolute, relative);
    free(y);
}

/* ---- attention ---- */

/* One sequence, by definition. */
static void attention_reference(const float *qkv, size_t start, size_t end, size_t heads,
                                size_t size, double scale, bool causal, double *y)
{
    size_t width = heads * size, ld = 3 * width;
    double *p = space(end - start, sizeof(*p));

    for (size_t h = 0; h < heads; h++)
        for (size_t i = start; i < end; i++) {
            const float *q = qkv + i * ld + h * size;
            size_t last = causal ? i + 1 : end;
            double max = -INFINITY, sum = 0;

            for (size_t j = start; j < last; j++) {
                const float *k = qkv + j * ld + width + h * size;
                double s = 0;

                for (size_t d = 0; d < size; d++)
                    s += (double)q[d] * (double)k[d];
                p[j - start] = s * scale;
                max = fmax(max, s * scale);
            }
            for (size_t j = start; j < last; j++)
                sum += p[j - start] = exp(p[j - start] - max);
            for (size_t d = 0; d < size; d++) {
                double v = 0;

                for (size_t j = start; j < last; j++)
                    v += p[j - start] / sum * (double)qkv[j * ld + 2 * width + h * size + d];
                y[i * width + h * size + d] = v;
            }
        }
    free(p);
}

struct batch {
    enum enso_dtype dtype;
    const int32_t *starts;
    size_t n_sequences, n_tokens, heads, size;
    bool causal;
    const int32_t *work; /* [n_work][2]; NULL: none */
    size_t n_work;
};

static void build(struct rig *r, const struct batch *b, const float *qkv)
{
    rig_init(r, "cuda", 1);
    half_input(r, b->dtype, b->n_tokens, 3 * b->heads * b->size, qkv);
    rig_input(r, I32, 1, DIMS((int64_t)b->n_sequences + 1), b->starts);
    if (b->work != NULL)
        rig_input(r, I32, 2, DIMS((int64_t)b->n_work, 2), b->work);
    rig_node(r, ENSO_OP_ATTENTION, 1);
    enso_graph_set_int(r->graph, r->node, "heads", (int64_t)b->heads);
    enso_graph_set_int(r->graph, r->node, "size", (int64_t)b->size);
    enso_graph_set_int(r->graph, r->node, "causal", b->causal);
}

/* Random q, k and v of b, rounded; free(). */
static float *make_qkv(const struct batch *b, unsigned seed)
{
    size_t n = b->n_tokens * 3 * b->heads * b->size;
    float *qkv = rig_random_new(n, seed);

    round_to(b->dtype, qkv, n);
    return qkv;
}

static double *make_reference(const struct batch *b, const float *qkv, double scale)
{
    double *want = space(b->n_tokens * b->heads * b->size, sizeof(*want));

    for (size_t s = 0; s < b->n_sequences; s++)
        attention_reference(qkv, (size_t)b->starts[s], (size_t)b->starts[s + 1], b->heads, b->size,
                            scale, b->causal, want);
    return want;
}

/* The list that the engine makes: longest sequence first, room for all there may be. */
static int32_t *make_work(const struct batch *b, size_t *ret_n)
{
    size_t most = b->n_tokens / TILE + b->n_sequences, n = 0;
    int32_t *work = space(2 * most, sizeof(*work));

    for (int32_t length = (int32_t)b->n_tokens; length > 0; length--)
        for (size_t s = 0; s < b->n_sequences; s++)
            for (int32_t t = 0; b->starts[s + 1] - b->starts[s] == length && t * TILE < length;
                 t++) {
                work[2 * n] = (int32_t)s;
                work[2 * n++ + 1] = t;
            }
    ck_assert_uint_le(n, most);
    memset(work + 2 * n, 0xff, 2 * (most - n) * sizeof(*work)); /* -1 */
    *ret_n = most;
    return work;
}

/* 1, 15, 16, 17, 63, 0, 64, 65, 127, 128, 129 and 200 tokens. */
static const int32_t mixed[] = {0, 1, 16, 32, 49, 112, 112, 176, 241, 368, 496, 625, 825};
#define N_MIXED (ENSO_ARRAY_SIZE(mixed) - 1)
/* Those of the tensor cores' kernel. */
static const size_t sizes[] = {32, 64, 80, 96, 128};
#define N_SIZES ENSO_ARRAY_SIZE(sizes)

static struct batch mixed_batch(enum enso_dtype dtype, size_t heads, size_t size, bool causal)
{
    return (struct batch){.dtype = dtype,
                          .starts = mixed,
                          .n_sequences = N_MIXED,
                          .n_tokens = (size_t)mixed[N_MIXED],
                          .heads = heads,
                          .size = size,
                          .causal = causal};
}

/* A loop test: one size of a head. */
START_TEST(test_attention)
{
    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    for (unsigned causal = t == N_HALVES; causal < 2; causal++) {
        struct batch b = mixed_batch(types[t], 1 + causal, sizes[_i], causal);
        float *qkv = make_qkv(&b, 1 + causal);
        double *want = make_reference(&b, qkv, 1 / sqrt((double)b.size));
        struct rig r;

        build(&r, &b, qkv);
        rig_run(&r);
        if (b.dtype == F32)
            expect(&r, "ATTENTION", want, 4e-6, 0);
        else
            expect(&r, "ATTENTION", want, unit(b.dtype) + 2e-4, unit(b.dtype));
        rig_done(&r);
        free(qkv);
        free(want);
    }
}
END_TEST

/* What the tensor cores' kernel does not take: other sizes, and scales that are not above 0. Sizes
 * that are no whole chunks of 16 bytes, or over 128, are the plain kernel's. */
START_TEST(test_attention_of_other_sizes)
{
    static const struct {
        size_t size;
        float scale;
    } shapes[] = {{24, 0.2f},    {33, 0.2f}, {12, 0.3f},   {104, 0.1f},
                  {64, -0.125f}, {64, 0},    {160, 0.08f}, {300, 0.05f}};
    static const int32_t starts[] = {0, 40, 41, 110};

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    for (size_t s = 0; s < ENSO_ARRAY_SIZE(shapes); s++) {
        struct batch b = {types[t], starts, 3, 110, 2, shapes[s].size, s & 1, NULL, 0};
        float *qkv = make_qkv(&b, 3);
        double *want = make_reference(&b, qkv, (double)shapes[s].scale);
        int32_t *work = make_work(&b, &b.n_work);
        struct rig r;

        b.work = work;
        build(&r, &b, qkv);
        enso_graph_set_float(r.graph, r.node, "scale", shapes[s].scale);
        rig_run(&r);
        expect(&r, "ATTENTION", want, 1e-5, unit(b.dtype));
        rig_done(&r);
        free(qkv);
        free(want);
        free(work);
    }
}
END_TEST

/* Scores far beyond what exp can take, exact in F32: all weight is on the keys of the largest. */
START_TEST(test_attention_with_large_scores)
{
    static const int32_t starts[] = {0, 100, 230};

    FOR_TYPES(t, N_HALVES)
    for (unsigned causal = 0; causal < 2; causal++) {
        struct batch b = {types[t], starts, 2, 230, 1, 64, causal, NULL, 0};
        float *qkv = make_qkv(&b, 4), large = b.dtype == F16 ? 0x1p14f : 0x1p62f;

        for (size_t i = 0; i < b.n_tokens; i++) {
            for (size_t d = 0; d < 128; d++)
                qkv[i * 192 + d] = 0;
            qkv[i * 192] = large;                                      /* q */
            qkv[i * 192 + 64] = ((float)(i * 7 % 11) - 5) * large / 8; /* k */
        }
        double *want = make_reference(&b, qkv, 1);
        struct rig r;

        build(&r, &b, qkv);
        enso_graph_set_float(r.graph, r.node, "scale", 1);
        rig_run(&r);
        expect(&r, "ATTENTION of large scores", want, unit(b.dtype), unit(b.dtype));
        rig_done(&r);
        free(qkv);
        free(want);
    }
}
END_TEST

/* Blocks go through several tiles each when there are few of them; that changes nothing either. */
START_TEST(test_attention_by_a_list)
{
    ck_assert_int_eq(setenv("ENSO_CUDA_EMULATED_BLOCKS", _i % 2 == 0 ? "1048560" : "3", 1), 0);
    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    {
        struct batch b = mixed_batch(types[t], 2, 32, _i / 2);
        float *qkv = make_qkv(&b, 5);
        size_t bytes = b.n_tokens * b.heads * b.size * enso_dtype_row_bytes(b.dtype, 1), n;
        int32_t *work = make_work(&b, &n);
        struct rig r, listed;

        build(&r, &b, qkv);
        rig_run(&r);
        b.work = work;
        b.n_work = n;
        build(&listed, &b, qkv);
        rig_run(&listed);
        ck_assert_mem_eq(r.outputs[0].data, listed.outputs[0].data, bytes);
        for (size_t i = 0; i < n; i++) { /* 7 shares no divisor with their number */
            memcpy((int32_t *)listed.inputs[2].data + 2 * i, work + 2 * (i * 7 % n),
                   2 * sizeof(*work));
        }
        ck_assert_uint_ne(n % 7, 0);
        memset(listed.outputs[0].data, 0x5a, bytes);
        rig_run(&listed);
        ck_assert_mem_eq(r.outputs[0].data, listed.outputs[0].data, bytes);
        rig_done(&r);
        rig_done(&listed);
        free(qkv);
        free(work);
    }
    ck_assert_int_eq(unsetenv("ENSO_CUDA_EMULATED_BLOCKS"), 0);
}
END_TEST

/* Entries that name nothing are passed over, the others of the list hold. */
START_TEST(test_attention_by_a_hostile_list)
{
    static const int32_t hostile[][2] = {
        {-1, -1},       {(int32_t)N_MIXED, 0}, {INT32_MAX, INT32_MAX}, {0, 1000}, {INT32_MIN, 0},
        {3, INT32_MIN}, {11, INT32_MAX},       {5, 0} /* empty */,     {7, 3}};

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    {
        struct batch b = mixed_batch(types[t], 1, 64, true);
        float *qkv = make_qkv(&b, 6);
        size_t bytes = b.n_tokens * b.size * enso_dtype_row_bytes(b.dtype, 1), n;
        int32_t *work = make_work(&b, &n), *all = space(2 * (n + ENSO_ARRAY_SIZE(hostile)), 4);
        struct rig r, listed;

        for (size_t i = 0; i < ENSO_ARRAY_SIZE(hostile); i++)
            memcpy(all + 4 * i, hostile[i], sizeof(hostile[i]));
        for (size_t i = 0; i < n; i++) /* between them and behind them */
            memcpy(all + (i < ENSO_ARRAY_SIZE(hostile) ? 4 * i + 2
                                                       : 2 * (i + ENSO_ARRAY_SIZE(hostile))),
                   work + 2 * i, 2 * sizeof(*work));
        build(&r, &b, qkv);
        rig_run(&r);
        b.work = all;
        b.n_work = n + ENSO_ARRAY_SIZE(hostile);
        build(&listed, &b, qkv);
        rig_run(&listed);
        ck_assert_mem_eq(r.outputs[0].data, listed.outputs[0].data, bytes);
        rig_done(&r);
        rig_done(&listed);
        free(qkv);
        free(work);
        free(all);
    }
}
END_TEST

/* A loop test: one size of a head; causal or not by turns. */
START_TEST(test_attention_alone_and_in_a_batch)
{
    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    {
        struct batch b = mixed_batch(types[t], 1, sizes[_i], ((size_t)_i + t) % 2);
        size_t row = b.size * enso_dtype_row_bytes(b.dtype, 1);
        float *qkv = make_qkv(&b, 7);
        struct rig all;

        build(&all, &b, qkv);
        rig_run(&all);
        for (size_t s = 0; s < N_MIXED; s++) {
            const int32_t own[2] = {0, mixed[s + 1] - mixed[s]};
            struct batch one = b;
            struct rig r;

            if (own[1] == 0)
                continue;
            one.starts = own;
            one.n_sequences = 1;
            one.n_tokens = (size_t)own[1];
            build(&r, &one, qkv + (size_t)mixed[s] * 3 * b.size);
            rig_run(&r);
            ck_assert_mem_eq(r.outputs[0].data,
                             (char *)all.outputs[0].data + (size_t)mixed[s] * row,
                             one.n_tokens * row);
            rig_done(&r);
        }
        rig_done(&all);
        free(qkv);
    }
}
END_TEST

/* ---- neighbours and padding ---- */

static const int32_t few[] = {0, 5, 70, 70, 199, 210};
#define N_FEW (ENSO_ARRAY_SIZE(few) - 1)
#define N_PADDED 224 /* 14 tokens of no sequence behind them */

static void poison(enum enso_dtype dtype, void *x, size_t n, unsigned seed)
{
    static const float worst[] = {NAN, INFINITY, -INFINITY, 3e38f};
    float *p = space(n, sizeof(*p));

    for (size_t i = 0; i < n; i++)
        p[i] = worst[(i + seed) % ENSO_ARRAY_SIZE(worst)];
    rig_narrow(dtype, p, x, n);
    free(p);
}

/* Run as it is; then, for each of the few sequences, again with poison in the rows of input 0 that
 * are not its own, padding included: its output keeps its bits. pooled: row s of the output is
 * sequence s's; else rows are tokens, and those of padding are zeros. */
static void check_neighbours(struct rig *r, const char *what, bool pooled)
{
    rig_run(r);

    enum enso_dtype dtype = r->inputs[0].dtype;
    size_t row = enso_tensor_bytes(&r->inputs[0]) / N_PADDED;
    size_t out_bytes = enso_tensor_bytes(&r->outputs[0]);
    size_t out_row = out_bytes / (pooled ? N_FEW : N_PADDED);
    char *x = r->inputs[0].data, *clean = space(N_PADDED, row), *want = space(out_bytes, 1);

    memcpy(clean, x, N_PADDED * row);
    memcpy(want, r->outputs[0].data, out_bytes);
    for (size_t s = 0; s < N_FEW; s++) {
        size_t first = (size_t)few[s], n = (size_t)few[s + 1] - first;
        size_t at = (pooled ? s : first) * out_row, count = (pooled ? 1 : n) * out_row;

        poison(dtype, x, N_PADDED * row / enso_dtype_row_bytes(dtype, 1), (unsigned)s);
        memcpy(x + first * row, clean + first * row, n * row);
        rig_run(r);
        ck_assert_msg(memcmp((char *)r->outputs[0].data + at, want + at, count) == 0,
                      "%s: sequence %zu saw its neighbours", what, s);
        for (size_t i = (size_t)few[N_FEW] * out_row; !pooled && i < out_bytes; i++)
            ck_assert_int_eq(((char *)r->outputs[0].data)[i], 0);
    }
    free(clean);
    free(want);
    rig_done(r);
}

START_TEST(test_attention_does_not_see_neighbours)
{
    static const size_t some[] = {64, 80, 40};

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    for (unsigned which = 0; which < 4; which += _i == 0 ? 1 : 3) {
        struct batch b = {types[t], few, N_FEW, N_PADDED, 1, some[_i], (which & 1) != 0, NULL, 0};
        float *qkv = make_qkv(&b, 8);
        int32_t *work = make_work(&b, &b.n_work);
        struct rig r;

        b.work = (which & 2) != 0 ? work : NULL;
        build(&r, &b, qkv);
        check_neighbours(&r, "ATTENTION", false);
        free(qkv);
        free(work);
    }
}
END_TEST

START_TEST(test_padding_alone)
{
    static const int32_t starts[] = {0, 0, 0};

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    for (size_t n = 0; n < 3; n++) {
        struct batch b = {types[t], starts, n, 70, 1, 64, false, NULL, 0};
        float *qkv = make_qkv(&b, 9);
        struct rig r;

        build(&r, &b, qkv);
        rig_run(&r);
        for (size_t i = 0; i < enso_tensor_bytes(&r.outputs[0]); i++)
            ck_assert_int_eq(((char *)r.outputs[0].data)[i], 0);
        rig_done(&r);
        free(qkv);
    }
}
END_TEST

/* Starts that do not rise from 0 to at most the tokens there are fail the batch; nothing is read
 * where they point. */
START_TEST(test_broken_starts)
{
    static const int32_t broken[][4] = {
        {0, 5, 3, 70},  {1, 2, 4, 70},         {0, 2, 5, 71},
        {0, -1, 4, 70}, {0, 1 << 30, 4, 70},   {0, 4, 70, INT32_MAX},
        {0, 4, 70, 69}, {INT32_MIN, 4, 6, 70}, {0, 0, 0, -1}};
    static const int32_t work[][2] = {{0, 0}, {1, 0}, {2, 0}, {2, 1}};

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(broken); i++) {
        struct batch b = {types[t], broken[i], 3, 70, 1, 64, i & 1, i & 2 ? work[0] : NULL, 4};
        float *qkv = make_qkv(&b, 10);
        struct rig r;

        build(&r, &b, qkv);
        ck_assert_int_eq(rig_try_run(&r), ENSO_INTERNAL);
        rig_done(&r);
        rig_init(&r, "cuda", 1);
        half_input(&r, b.dtype, 70, 192, qkv);
        rig_input(&r, I32, 1, DIMS(4), broken[i]);
        rig_node(&r, ENSO_OP_SEQUENCE_POOL, 1);
        ck_assert_int_eq(rig_try_run(&r), ENSO_INTERNAL);
        rig_done(&r);
        free(qkv);
    }
}
END_TEST

START_TEST(test_attention_refusals)
{
    static const int32_t starts[] = {0, 4};
    float *qkv = rig_random_new(4 * 96, 11);
    struct rig r;

    for (unsigned i = 0; i < 2; i++) { /* a list that is no pairs; qkv of a type without kernel */
        rig_init(&r, "cuda", 1);
        rig_input(&r, i == 0 ? F32 : ENSO_DTYPE_I32, 2, DIMS(4, 96), qkv);
        rig_input(&r, I32, 1, DIMS(2), starts);
        if (i == 0)
            rig_input(&r, I32, 2, DIMS(1, 3), (int32_t[]){0, 0, 0});
        rig_node(&r, ENSO_OP_ATTENTION, 1);
        enso_graph_set_int(r.graph, r.node, "heads", 1);
        enso_graph_set_int(r.graph, r.node, "size", 32);
        ck_assert_int_lt(rig_try_bind(&r), 0);
        rig_done(&r);
    }
    free(qkv);
}
END_TEST

/* ---- pooling ---- */

static const char *const modes[] = {"mean", "cls", "last", "max"};

static double pool_reference(size_t mode, const float *x, size_t width, size_t start, size_t end)
{
    double v = 0;

    if (start == end)
        return 0;
    if (mode == 1 || mode == 2)
        return (double)x[(mode == 1 ? start : end - 1) * width];
    for (size_t i = start; i < end; i++)
        v = mode == 0    ? v + (double)x[i * width]
            : i == start ? (double)x[i * width]
                         : fmax(v, (double)x[i * width]);
    return mode == 0 ? v / (double)(end - start) : v;
}

/* wide: the result as F32 (attribute dtype). */
static void build_pool(struct rig *r, enum enso_dtype dtype, bool wide, size_t mode,
                       size_t n_tokens, size_t width, const int32_t *starts, size_t n_sequences,
                       const float *x)
{
    rig_init(r, "cuda", 1);
    half_input(r, dtype, n_tokens, width, x);
    rig_input(r, I32, 1, DIMS((int64_t)n_sequences + 1), starts);
    rig_node(r, ENSO_OP_SEQUENCE_POOL, 1);
    enso_graph_set_string(r->graph, r->node, "mode", modes[mode]);
    if (wide)
        enso_graph_set_int(r->graph, r->node, "dtype", F32);
}

START_TEST(test_sequence_pool)
{
    static const size_t widths[] = {1, 37, 70, 384};
    float *x = rig_random_new(825 * 384, 12);

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    {
        round_to(types[t], x, 825 * 384);
        for (size_t which = 0; which < 4 * ENSO_ARRAY_SIZE(widths); which++) {
            size_t mode = which % 4, width = widths[which / 4], wide = (which / 4 + mode) % 2;
            double *want = space(N_MIXED * width, sizeof(*want));
            struct rig r;

            for (size_t s = 0; s < N_MIXED; s++)
                for (size_t c = 0; c < width; c++)
                    want[s * width + c] =
                        pool_reference(mode, x + c, width, (size_t)mixed[s], (size_t)mixed[s + 1]);
            build_pool(&r, types[t], wide, mode, 825, width, mixed, N_MIXED, x);
            rig_run(&r);
            ck_assert_int_eq(r.outputs[0].dtype, wide ? F32 : types[t]);
            expect(&r, modes[mode], want, 1e-6, unit(r.outputs[0].dtype));
            rig_done(&r);
            free(want);
        }
    }
    free(x);
}
END_TEST

START_TEST(test_sequence_pool_does_not_see_neighbours)
{
    float *x = rig_random_new(N_PADDED * 70, 13);

    FOR_TYPES(t, ENSO_ARRAY_SIZE(types))
    for (size_t mode = 0; mode < 4; mode++)
        for (size_t width = 69; width < 71; width++) {
            struct rig r;

            build_pool(&r, types[t], mode & 1, mode, N_PADDED, width, few, N_FEW, x);
            check_neighbours(&r, modes[mode], true);
        }
    free(x);
}
END_TEST

/* ---- embedding ---- */

enum { WORDS = 50, POSITIONS = 20, SEGMENTS = 3, TOKENS = 37 };

struct tables {
    float *words, *positions, *segments, *gamma, *beta;
    int32_t tokens[TOKENS], at[TOKENS], segment[TOKENS];
};

static void make_tables(struct tables *t, size_t width)
{
    t->words = rig_random_new(WORDS * width, 14);
    t->positions = rig_random_new(POSITIONS * width, 15);
    t->segments = rig_random_new(SEGMENTS * width, 16);
    t->gamma = rig_random_new(width, 17);
    t->beta = rig_random_new(width, 18);
    for (int32_t i = 0; i < TOKENS; i++) {
        t->tokens[i] = i * 17 % WORDS;
        t->at[i] = i % POSITIONS;
        t->segment[i] = i % SEGMENTS;
    }
}

static void free_tables(struct tables *t)
{
    free(t->words);
    free(t->positions);
    free(t->segments);
    free(t->gamma);
    free(t->beta);
}

/* which: bit 0 positions, bit 1 a segment table, bit 2 segments of tokens, bit 3 the norm. */
static void embedding_reference(const struct tables *t, enum enso_dtype dtype, unsigned which,
                                size_t width, double *y)
{
    struct tables rounded = *t;

    round_to(dtype, rounded.words, WORDS * width);
    round_to(dtype, rounded.positions, POSITIONS * width);
    round_to(dtype, rounded.segments, SEGMENTS * width);
    for (size_t i = 0; i < TOKENS; i++) {
        double mean = 0, variance = 0, *row = y + i * width;
        size_t segment = (which & 4) != 0 ? (size_t)t->segment[i] : 0;

        for (size_t c = 0; c < width; c++) {
            row[c] = (double)t->words[(size_t)t->tokens[i] * width + c];
            if ((which & 1) != 0)
                row[c] += (double)t->positions[(size_t)t->at[i] * width + c];
            if ((which & 2) != 0)
                row[c] += (double)t->segments[segment * width + c];
            mean += row[c] / (double)width;
        }
        for (size_t c = 0; c < width; c++)
            variance += (row[c] - mean) * (row[c] - mean) / (double)width;
        for (size_t c = 0; (which & 8) != 0 && c < width; c++)
            row[c] =
                (row[c] - mean) / sqrt(variance + 1e-5) * (double)t->gamma[c] + (double)t->beta[c];
    }
}

/* stored: the type of the tables, as the graph has them. */
static void build_embedding(struct rig *r, const struct tables *t, enum enso_dtype dtype,
                            enum enso_dtype stored, unsigned which, size_t width)
{
    rig_init(r, "cuda", 1);
    rig_input(r, I32, 1, DIMS(TOKENS), t->tokens);
    half_constant(r, stored, WORDS, width, t->words);
    if ((which & 1) != 0) {
        rig_input(r, I32, 1, DIMS(TOKENS), t->at);
        half_constant(r, stored, POSITIONS, width, t->positions);
    } else {
        rig_absent(r);
        rig_absent(r);
    }
    if ((which & 6) == 6)
        rig_input(r, I32, 1, DIMS(TOKENS), t->segment);
    else
        rig_absent(r);
    if ((which & 2) != 0)
        half_constant(r, stored, SEGMENTS, width, t->segments);
    else
        rig_absent(r);
    if ((which & 8) != 0) {
        rig_constant(r, F32, 1, DIMS((int64_t)width), t->gamma);
        rig_constant(r, F32, 1, DIMS((int64_t)width), t->beta);
    }
    rig_node(r, ENSO_OP_EMBEDDING, 1);
    if (stored != dtype)
        enso_graph_set_int(r->graph, r->node, "dtype", dtype);
}

START_TEST(test_embedding)
{
    static const size_t widths[] = {8, 37, 264, 384, 768, 1024, 1032};
    static const unsigned whiches[] = {0, 1, 3, 7, 8, 11, 15};

    FOR_TYPES(t, N_HALVES)
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(widths); i++)
        for (size_t w = (i + t) % 2; w < ENSO_ARRAY_SIZE(whiches); w += 2) {
            size_t width = widths[i];
            double *want = space(TOKENS * width, sizeof(*want));
            struct tables tables;
            struct rig r;

            make_tables(&tables, width);
            build_embedding(&r, &tables, types[t], w % 3 == 0 ? F32 : types[t], whiches[w], width);
            embedding_reference(&tables, types[t], whiches[w], width, want);
            rig_run(&r);
            ck_assert_int_eq(r.outputs[0].dtype, types[t]);
            expect(&r, "EMBEDDING", want, 4e-6, unit(types[t]));
            rig_done(&r);
            free_tables(&tables);
            free(want);
        }
}
END_TEST

/* Each of the three ids out of range fails the batch, whichever kernel has the row. */
START_TEST(test_embedding_ids_out_of_range)
{
    static const size_t widths[] = {37, 64};
    static const int32_t wrong[3][3] = {
        {-1, WORDS, INT32_MAX}, {-1, POSITIONS, INT32_MAX}, {INT32_MIN, SEGMENTS, 70}};

    FOR_TYPES(t, N_HALVES)
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(widths); i++) {
        struct tables tables;
        struct rig r;

        make_tables(&tables, widths[i]);
        build_embedding(&r, &tables, types[t], types[t], 15, widths[i]);
        rig_run(&r);
        for (size_t input = 0; input < 3; input++)
            for (size_t w = 0; w < 3; w++) {
                int32_t *id = (int32_t *)r.inputs[2 * input].data + TOKENS - 1, kept = *id;

                *id = wrong[input][w];
                ck_assert_int_eq(rig_try_run(&r), ENSO_INVALID);
                *id = kept;
            }
        rig_run(&r);
        rig_done(&r);
        free_tables(&tables);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/half_ragged");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 60);
    tcase_add_loop_test(core, test_attention, 0, (int)N_SIZES);
    tcase_add_test(core, test_attention_of_other_sizes);
    tcase_add_test(core, test_attention_with_large_scores);
    tcase_add_loop_test(core, test_attention_by_a_list, 0, 4);
    tcase_add_test(core, test_sequence_pool);
    tcase_add_test(core, test_embedding);
    suite_add_tcase(s, core);
    TCase *invariance = tcase_create("invariance");
    tcase_set_timeout(invariance, 60);
    tcase_add_loop_test(invariance, test_attention_alone_and_in_a_batch, 0, (int)N_SIZES);
    tcase_add_loop_test(invariance, test_attention_does_not_see_neighbours, 0, 3);
    tcase_add_test(invariance, test_sequence_pool_does_not_see_neighbours);
    tcase_add_test(invariance, test_padding_alone);
    suite_add_tcase(s, invariance);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_attention_by_a_hostile_list);
    tcase_add_test(errors, test_broken_starts);
    tcase_add_test(errors, test_attention_refusals);
    tcase_add_test(errors, test_embedding_ids_out_of_range);
    suite_add_tcase(s, errors);
    return s;
}

int main(void)
{
    return rig_main_of_halves(suite);
}
