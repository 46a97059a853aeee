/* SPDX-License-Identifier: Apache-2.0
 *
 * What `batch_invariant` promises: an item's bits are the same alone and among others, whatever
 * their number, wherever the batch's dimension stands. Norms, Softmax, reductions, searches and
 * pools, in every float type that the backend computes in. The batch is a dimension that the graph
 * knows as N, as it is in a served model, and the item that is looked at stands last in it.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define SIZES(...)                                                                                 \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

struct invariant {
    enum enso_op op;
    size_t rank, batch; /* dimension that is the batch */
    int64_t dims[4];    /* of one item: 1 at the batch */
    size_t n_axes;      /* reductions; others: axes[0] as attribute "axis" */
    int64_t axes[2];
    size_t n_vectors, residual; /* parameters [C]; 1: a residual after them */
};

static const struct invariant rows[] = {
    {ENSO_OP_SOFTMAX, 2, 0, SIZES(1, 1000), .axes = {1}},
    {ENSO_OP_SOFTMAX, 2, 1, SIZES(1000, 1), .axes = {0}},
    {ENSO_OP_LOG_SOFTMAX, 2, 1, SIZES(1000, 1), .axes = {0}},
    {ENSO_OP_SOFTMAX, 3, 2, SIZES(3, 70, 1), .axes = {1}},
    {ENSO_OP_SOFTMAX, 3, 1, SIZES(70, 1, 1), .axes = {0}},
    {ENSO_OP_SOFTMAX, 3, 0, SIZES(1, 40, 5), .axes = {1}},
    {ENSO_OP_SOFTMAX, 4, 0, SIZES(1, 1500, 1, 1), .axes = {1}},
    {ENSO_OP_LAYER_NORM, 2, 0, SIZES(1, 7), .n_vectors = 2, .residual = 1},
    {ENSO_OP_LAYER_NORM, 2, 0, SIZES(1, 384), .n_vectors = 2, .residual = 1},
    {ENSO_OP_LAYER_NORM, 2, 0, SIZES(1, 1024), .n_vectors = 2},
    {ENSO_OP_LAYER_NORM, 2, 0, SIZES(1, 1025), .n_vectors = 2},
    {ENSO_OP_LAYER_NORM, 2, 0, SIZES(1, 5000), .n_vectors = 2},
    {ENSO_OP_RMS_NORM, 2, 0, SIZES(1, 768), .n_vectors = 1, .residual = 1},
    {ENSO_OP_RMS_NORM, 2, 0, SIZES(1, 9000), .n_vectors = 1},
    {ENSO_OP_L2_NORMALIZE, 2, 0, SIZES(1, 384), .n_axes = 0},
    {ENSO_OP_L2_NORMALIZE, 2, 0, SIZES(1, 1025), .n_axes = 0},
    {ENSO_OP_BATCH_NORM, 4, 0, SIZES(1, 5, 9, 11), .n_vectors = 4},
    {ENSO_OP_INSTANCE_NORM, 4, 0, SIZES(1, 5, 9, 11), .n_vectors = 2},
    {ENSO_OP_LRN, 4, 0, SIZES(1, 5, 9, 11), .n_axes = 0},
    {ENSO_OP_MAX_POOL, 4, 0, SIZES(1, 5, 9, 11), .n_axes = 0},
    {ENSO_OP_AVERAGE_POOL, 4, 0, SIZES(1, 5, 9, 11), .n_axes = 0},
    {ENSO_OP_GLOBAL_AVERAGE_POOL, 4, 0, SIZES(1, 5, 9, 11), .n_axes = 0},
    {ENSO_OP_GLOBAL_MAX_POOL, 4, 0, SIZES(1, 5, 9, 11), .n_axes = 0},
    {ENSO_OP_ARG_MAX, 2, 1, SIZES(1100, 1), .axes = {0}},
    {ENSO_OP_ARG_MAX, 2, 0, SIZES(1, 1100), .axes = {1}},
};

/* Every reduction over each of these. */
static const struct invariant reductions[] = {
    {.rank = 2, .batch = 0, .dims = SIZES(1, 1100), .n_axes = 1, .axes = {1}},
    {.rank = 2, .batch = 1, .dims = SIZES(1100, 1), .n_axes = 1, .axes = {0}},
    {.rank = 2, .batch = 1, .dims = SIZES(40, 1), .n_axes = 1, .axes = {0}},
    {.rank = 3, .batch = 1, .dims = SIZES(40, 1, 3), .n_axes = 1, .axes = {0}},
    {.rank = 3, .batch = 0, .dims = SIZES(1, 35, 4), .n_axes = 1, .axes = {1}},
    {.rank = 3, .batch = 1, .dims = SIZES(35, 1, 2), .n_axes = 2, .axes = {0, 2}},
    {.rank = 3, .batch = 2, .dims = SIZES(35, 40, 1), .n_axes = 2, .axes = {0, 1}},
    {.rank = 3, .batch = 0, .dims = SIZES(1, 40, 1), .n_axes = 1, .axes = {1}},
};
static const enum enso_op reduces[] = {
    ENSO_OP_REDUCE_SUM, ENSO_OP_REDUCE_MEAN,        ENSO_OP_REDUCE_L1,   ENSO_OP_REDUCE_L2,
    ENSO_OP_REDUCE_MAX, ENSO_OP_REDUCE_LOG_SUM_EXP, ENSO_OP_REDUCE_PROD,
};

/* Numbers of a type from floats; free(). */
static void *typed(enum enso_dtype dtype, const float *x, size_t n)
{
    void *y = malloc(n * 8 + 1);

    ck_assert_ptr_nonnull(y);
    if (dtype == ENSO_DTYPE_F16)
        enso_f32_to_f16(x, y, n);
    else if (dtype == ENSO_DTYPE_BF16)
        enso_f32_to_bf16(x, y, n);
    else if (dtype == ENSO_DTYPE_F64)
        for (size_t i = 0; i < n; i++) /* more bits than a float has */
            ((double *)y)[i] = (double)x[i] / 3;
    else
        memcpy(y, x, n * sizeof(float));
    return y;
}

static size_t product(const int64_t *dims, size_t first, size_t last)
{
    size_t n = 1;

    for (size_t d = first; d < last; d++)
        n *= (size_t)dims[d];
    return n;
}

/* Random items; the last is the same in every batch. */
static void *batch_new(const struct invariant *c, enum enso_dtype dtype, size_t n, unsigned seed)
{
    size_t outer = product(c->dims, 0, c->batch), inner = product(c->dims, c->batch, c->rank);
    float *same = rig_random_new(outer * inner, seed);
    float *x = rig_random_new(outer * inner * n, seed + 100);

    for (size_t o = 0; o < outer; o++)
        memcpy(x + (o * n + n - 1) * inner, same + o * inner, inner * sizeof(float));
    void *y = typed(dtype, x, outer * inner * n);

    free(same);
    free(x);
    return y;
}

static void add_parameters(struct rig *r, const struct invariant *c)
{
    size_t channel = c->rank > 2 ? 1 : c->rank - 1;
    float *vector = rig_random_new((size_t)c->dims[channel], 7);

    for (size_t i = 0; i < (size_t)c->dims[channel]; i++)
        vector[i] = vector[i] / 4 + 1;
    for (size_t i = 0; i < c->n_vectors; i++)
        rig_constant(r, F32, 1, &c->dims[channel], vector);
    free(vector);
}

static void add_attributes(struct rig *r, const struct invariant *c)
{
    const int64_t window[2] = {3, 2};

    if (c->n_axes > 0)
        enso_graph_set_ints(r->graph, r->node, "axes", c->axes, c->n_axes);
    else
        enso_graph_set_int(r->graph, r->node, "axis", c->axes[0]);
    enso_graph_set_int(r->graph, r->node, "keepdims", 1);
    enso_graph_set_int(r->graph, r->node, "size", 3);
    if (c->op == ENSO_OP_MAX_POOL || c->op == ENSO_OP_AVERAGE_POOL)
        enso_graph_set_ints(r->graph, r->node, "kernel_shape", window, 2);
}

/* The last item's result in a batch of n, *ret_bytes of it; NULL where the backend refuses. */
static unsigned char *last_of(const struct invariant *c, const char *set, enum enso_dtype dtype,
                              size_t n, size_t *ret_bytes)
{
    void *x = batch_new(c, dtype, n, 1), *residual = batch_new(c, dtype, n, 2);
    unsigned char *last = NULL;
    int64_t dims[4];
    struct rig r;

    memcpy(dims, c->dims, sizeof(dims));
    dims[c->batch] = (int64_t)n;
    rig_init(&r, set, 2);
    rig_batch_input(&r, dtype, c->rank, dims, c->batch, x);
    add_parameters(&r, c);
    if (c->residual)
        rig_batch_input(&r, dtype, c->rank, dims, c->batch, residual);
    rig_node(&r, c->op, 1);
    add_attributes(&r, c);
    int st = rig_try_run(&r);

    ck_assert_msg(st == ENSO_OK || st == ENSO_UNSUPPORTED, "%s: %s", enso_op_name(c->op),
                  r.err.message);
    if (st == ENSO_OK) {
        const struct enso_tensor *y = &r.outputs[0];
        size_t outer = product(y->dims, 0, c->batch);
        size_t inner = enso_dtype_row_bytes(y->dtype, product(y->dims, c->batch + 1, y->rank));

        ck_assert_int_eq(y->dims[c->batch], (int64_t)n);
        *ret_bytes = outer * inner;
        last = malloc(outer * inner + 1);
        ck_assert_ptr_nonnull(last);
        for (size_t o = 0; o < outer; o++)
            memcpy(last + o * inner, (unsigned char *)y->data + (o * n + n - 1) * inner, inner);
    }
    rig_done(&r);
    free(x);
    free(residual);
    return last;
}

static void check(const struct invariant *c, const char *set, enum enso_dtype dtype)
{
    static const size_t sizes[] = {2, 3, 9, 33};
    size_t n_alone = 0, n = 0;
    unsigned char *alone = last_of(c, set, dtype, 1, &n_alone);

    for (size_t i = 0; alone != NULL && i < ENSO_ARRAY_SIZE(sizes); i++) {
        unsigned char *among = last_of(c, set, dtype, sizes[i], &n);

        ck_assert_ptr_nonnull(among);
        ck_assert_uint_eq(n, n_alone);
        ck_assert_msg(memcmp(alone, among, n) == 0,
                      "%s: %s of %s [%lld, %lld, ...], batch at %zu: alone and among %zu differ",
                      set, enso_op_name(c->op), enso_dtype_name(dtype), (long long)c->dims[0],
                      (long long)c->dims[1], c->batch, sizes[i]);
        free(among);
    }
    free(alone);
}

static const enum enso_dtype types[] = {F32, ENSO_DTYPE_F64, ENSO_DTYPE_F16, ENSO_DTYPE_BF16};

START_TEST(test_rows_alone_and_in_batches)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t t = 0; t < (rig_on_gpu() ? 4 : 2); t++)
            for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++)
                check(&rows[i], *set, types[t]);
}
END_TEST

START_TEST(test_reductions_alone_and_in_batches)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t t = 0; t < (rig_on_gpu() ? 4 : 2); t++)
            for (size_t i = 0; i < ENSO_ARRAY_SIZE(reductions); i++)
                for (size_t k = 0; k < ENSO_ARRAY_SIZE(reduces); k++) {
                    struct invariant c = reductions[i];

                    c.op = reduces[k];
                    check(&c, *set, types[t]);
                }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/invariance");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 120);
    tcase_add_test(core, test_rows_alone_and_in_batches);
    tcase_add_test(core, test_reductions_alone_and_in_batches);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
