/* SPDX-License-Identifier: Apache-2.0
 *
 * LINEAR with starts has the bits of SEQUENCE_POOL (of one token) and a LINEAR behind it: sequences
 * without tokens among them, inner dimensions that a loader takes and such that it does not, sums
 * in parts, many sequences. What other tokens hold, NaN too, changes nothing. On a GPU in half
 * types as well; there wrong starts fail the batch.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I32 ENSO_DTYPE_I32

struct gather_case {
    size_t k, n, n_sequences;
    bool residual;
    enum enso_activation activation;
};

static const struct gather_case cases[] = {
    {64, 48, 5, false, ENSO_ACTIVATION_TANH},    {768, 70, 33, false, ENSO_ACTIVATION_TANH},
    {40, 7, 1, true, ENSO_ACTIVATION_NONE},      {37, 20, 6, false, ENSO_ACTIVATION_RELU},
    {4096, 16, 3, false, ENSO_ACTIVATION_NONE},  {32, 200, 200, true, ENSO_ACTIVATION_GELU},
    {32, 768, 512, false, ENSO_ACTIVATION_TANH}, /* 96 tiles: the medium shape */
};

/* Lengths 0, 1, 2, 3, 0, 1 ... */
static int32_t *starts_new(size_t n)
{
    int32_t *starts = calloc(n + 2, sizeof(*starts));

    for (size_t i = 0; i < n; i++)
        starts[i + 1] = starts[i] + (int32_t)(i % 4);
    return starts;
}

static void add_linear(struct rig *r, const struct gather_case *c, const float *w,
                       enum enso_dtype dtype, const void *residual)
{
    int64_t n = (int64_t)c->n;

    rig_constant(r, F32, 2, (int64_t[]){n, (int64_t)c->k}, w);
    rig_constant(r, F32, 1, &n, w);
    if (c->residual)
        rig_input(r, dtype, 2, (int64_t[]){(int64_t)c->n_sequences, n}, residual);
    else
        rig_absent(r);
}

/* Tokens that belong to no sequence: the processor has none. */
static size_t padding(void)
{
    return rig_backend()->host_memory ? 0 : 3;
}

/* A copy of x in which each token that nobody asks for is NaN, as is the padding behind it. */
static void *strangers_new(const void *x, const struct gather_case *c, enum enso_dtype dtype,
                           const int32_t *starts, bool last)
{
    size_t n_tokens = (size_t)starts[c->n_sequences], row = enso_dtype_row_bytes(dtype, c->k);
    char *y = malloc((n_tokens + padding()) * row);

    memset(y, 0xff, (n_tokens + padding()) * row);
    for (size_t i = 0; i < c->n_sequences; i++) {
        size_t token = (size_t)(last ? starts[i + 1] - 1 : starts[i]);

        if (starts[i] != starts[i + 1])
            memcpy(y + token * row, (const char *)x + token * row, row);
    }
    return y;
}

static void check(const struct gather_case *c, const char *set, enum enso_dtype dtype, bool last)
{
    int32_t *starts = starts_new(c->n_sequences);
    size_t n_tokens = (size_t)starts[c->n_sequences];
    const int64_t x_dims[2] = {(int64_t)n_tokens, (int64_t)c->k};
    const int64_t starts_dims[1] = {(int64_t)c->n_sequences + 1};
    float *w = rig_random_new(c->k * c->n, 1), *random = rig_random_new(n_tokens * c->k, 2);
    float *sum = rig_random_new(c->n_sequences * c->n, 3);
    void *x = rig_narrow_new(dtype, random, n_tokens * c->k);
    void *residual = rig_narrow_new(dtype, sum, c->n_sequences * c->n);
    const char *mode = last ? "last" : "cls";
    struct rig pool, after, both;

    rig_init(&pool, set, 2);
    rig_input(&pool, dtype, 2, x_dims, x);
    rig_input(&pool, I32, 1, starts_dims, starts);
    rig_node(&pool, ENSO_OP_SEQUENCE_POOL, 1);
    enso_graph_set_string(pool.graph, pool.node, "mode", mode);
    rig_run(&pool);
    rig_init(&after, set, 2);
    rig_input(&after, dtype, 2, (int64_t[]){(int64_t)c->n_sequences, (int64_t)c->k},
              pool.outputs[0].data);
    add_linear(&after, c, w, dtype, residual);
    rig_node(&after, ENSO_OP_LINEAR, 1);
    rig_init(&both, set, 2);
    void *strangers = strangers_new(x, c, dtype, starts, last);

    rig_input(&both, dtype, 2, (int64_t[]){(int64_t)(n_tokens + padding()), (int64_t)c->k},
              strangers);
    add_linear(&both, c, w, dtype, residual);
    rig_input(&both, I32, 1, starts_dims, starts);
    rig_node(&both, ENSO_OP_LINEAR, 1);
    enso_graph_set_string(both.graph, both.node, "rows", mode);
    enso_graph_set_int(after.graph, after.node, "activation", c->activation);
    enso_graph_set_int(both.graph, both.node, "activation", c->activation);
    rig_run(&after);
    rig_run(&both);
    ck_assert_int_eq(both.outputs[0].dims[0], (int64_t)c->n_sequences);
    ck_assert_msg(memcmp(after.outputs[0].data, both.outputs[0].data,
                         enso_tensor_bytes(&after.outputs[0])) == 0,
                  "%s %s of %zu by %zu in %s differ", set, mode, c->k, c->n,
                  enso_dtype_name(dtype));
    rig_done(&pool);
    rig_done(&after);
    rig_done(&both);
    free(starts);
    free(w);
    free(random);
    free(sum);
    free(x);
    free(strangers);
    free(residual);
}

static const enum enso_dtype types[] = {F32, ENSO_DTYPE_F16, ENSO_DTYPE_BF16};

START_TEST(test_gather_bits)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t t = 0; t < ENSO_ARRAY_SIZE(types); t++)
            for (size_t i = 0; rig_computes(ENSO_OP_LINEAR, types[t]) && i < ENSO_ARRAY_SIZE(cases);
                 i++) {
                check(&cases[i], *set, types[t], false);
                check(&cases[i], *set, types[t], true);
            }
}
END_TEST

/* Nothing outside of x is read, and the batch fails. */
START_TEST(test_gather_wrong_starts)
{
    static const int32_t wrong[][4] = {
        {0, 2, 1, 3}, {1, 2, 3, 3}, {0, 2, 2, 1000000}, {0, -5, 2, 3}};
    float *w = rig_random_new(64 * 64, 1);

    for (size_t t = 0; t < ENSO_ARRAY_SIZE(types); t++)
        for (size_t i = 0; rig_computes(ENSO_OP_LINEAR, types[t]) && i < ENSO_ARRAY_SIZE(wrong);
             i++) {
            void *x = rig_narrow_new(types[t], w, 3 * 64);
            const struct gather_case c = {64, 64, 3, false, ENSO_ACTIVATION_NONE};
            struct rig r;

            rig_init(&r, "auto", 1);
            rig_input(&r, types[t], 2, (int64_t[]){3, 64}, x);
            add_linear(&r, &c, w, types[t], NULL);
            rig_input(&r, I32, 1, (int64_t[]){4}, wrong[i]);
            rig_node(&r, ENSO_OP_LINEAR, 1);
            enso_graph_set_string(r.graph, r.node, "rows", "last");
            ck_assert_int_ne(rig_try_run(&r), ENSO_OK);
            ck_assert_msg(strstr(r.err.message, "starts") != NULL, "%s", r.err.message);
            rig_done(&r);
            free(x);
        }
    free(w);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/gather");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 300);
    tcase_add_test(core, test_gather_bits);
    tcase_add_test(core, test_gather_wrong_starts);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
