/* SPDX-License-Identifier: Apache-2.0
 *
 * The fused operators against references in double, and what the batcher rests on: a row's bits do
 * not depend on what it is batched with nor on the number of threads. (CONV_FUSED against Conv's
 * reference: check_network.c.)
 *
 * Tolerances: see check_network.c for sums of products; activations add 1e-6 times the size of
 * their argument; attention's softmax has a relative error of a few 1e-7 and its results are means.
 */
#include "ensod_build.h"

#include "tests/kernels/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F32 ENSO_DTYPE_F32
#define I32 ENSO_DTYPE_I32

struct linear_case {
    size_t m, k, n;
    enum enso_activation activation;
    bool bias, residual, transposed, constant;
};

static void build_linear(struct rig *r, const char *set, unsigned n_threads,
                         const struct linear_case *z, const float *x, const float *w,
                         const float *bias, const float *residual)
{
    int64_t m = (int64_t)z->m, k = (int64_t)z->k, n = (int64_t)z->n;

    rig_init(r, set, n_threads);
    rig_input(r, F32, 2, DIMS(m, k), x);
    (z->constant ? rig_constant : rig_input)(r, F32, 2, z->transposed ? DIMS(n, k) : DIMS(k, n), w);
    if (z->bias)
        (z->constant ? rig_constant : rig_input)(r, F32, 1, DIMS(n), bias);
    else if (z->residual)
        rig_absent(r);
    if (z->residual)
        rig_input(r, F32, 2, DIMS(m, n), residual);
    rig_node(r, ENSO_OP_LINEAR, 1);
    enso_graph_set_int(r->graph, r->node, "transposed", z->transposed);
    reference_set_activation(r, z->activation);
}

static void one_linear(const char *set, const struct linear_case *z)
{
    float *x = rig_random_new(z->m * z->k, 1), *w = rig_random_new(z->k * z->n, 2);
    float *bias = rig_random_new(z->n, 3), *residual = rig_random_new(z->m * z->n, 4);
    double *want = rig_doubles_new(z->m * z->n);
    struct rig r;

    for (size_t i = 0; i < z->m; i++)
        for (size_t j = 0; j < z->n; j++) {
            double v = 0;

            for (size_t l = 0; l < z->k; l++)
                v += (double)x[i * z->k + l] *
                     (double)w[z->transposed ? j * z->k + l : l * z->n + j];
            v += z->bias ? (double)bias[j] : 0;
            v += z->residual ? (double)residual[i * z->n + j] : 0;
            want[i * z->n + j] = reference_activation(z->activation, v);
        }
    build_linear(&r, set, 2, z, x, w, bias, residual);
    rig_run(&r);
    ck_assert_int_eq(enso_tensor_count(&r.outputs[0]), (int64_t)(z->m * z->n));
    rig_near("LINEAR", r.outputs[0].data, want, z->m * z->n, 2e-6 * sqrt((double)z->k + 1), 2e-6);
    rig_done(&r);
    free(x);
    free(w);
    free(bias);
    free(residual);
    free(want);
}

START_TEST(test_linear_shapes)
{
    static const size_t ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 64, 193};
    static const size_t ks[] = {1, 7, 8, 33, 384, 385, 1000};
    static const size_t ns[] = {1, 15, 16, 17, 32, 70};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(ms); i++)
            for (size_t j = 0; j < ENSO_ARRAY_SIZE(ks); j++)
                for (size_t l = 0; l < ENSO_ARRAY_SIZE(ns); l++) {
                    unsigned mix = (unsigned)(i + j + l);

                    one_linear(*set, &(struct linear_case){
                                         .m = ms[i],
                                         .k = ks[j],
                                         .n = ns[l],
                                         .activation = mix % 3 == 0   ? ENSO_ACTIVATION_RELU
                                                       : mix % 3 == 1 ? ENSO_ACTIVATION_NONE
                                                                      : ENSO_ACTIVATION_GELU,
                                         .bias = mix % 2,
                                         .residual = mix % 5 == 0,
                                         .transposed = mix % 7 < 4,
                                         .constant = mix % 4 != 0});
                }
}
END_TEST

/* Enough tiles for a GPU's larger kernel (product_wide.cu), with weights either way around; a row
 * alone, which takes the plain one, has the same bits. */
START_TEST(test_linear_of_many_rows)
{
    struct linear_case z = {.m = 1030,
                            .k = 52,
                            .n = 404,
                            .activation = ENSO_ACTIVATION_GELU,
                            .bias = true,
                            .residual = true,
                            .transposed = _i != 0,
                            .constant = true};
    float *x = rig_random_new(z.m * z.k, 1), *w = rig_random_new(z.k * z.n, 2);
    float *bias = rig_random_new(z.n, 3), *residual = rig_random_new(z.m * z.n, 4);
    const size_t rows[] = {0, 127, 128, 700, 1029};

    for (const char *const *set = rig_sets(); *set != NULL; set++) {
        struct rig all, one;

        one_linear(*set, &z);
        build_linear(&all, *set, 1, &z, x, w, bias, residual);
        rig_run(&all);
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
            struct linear_case alone = z;

            alone.m = 1;
            build_linear(&one, *set, 1, &alone, x + rows[i] * z.k, w, bias,
                         residual + rows[i] * z.n);
            rig_run(&one);
            ck_assert_msg(memcmp(one.outputs[0].data,
                                 (const float *)all.outputs[0].data + rows[i] * z.n,
                                 z.n * sizeof(float)) == 0,
                          "%s: row %zu", *set, rows[i]);
            rig_done(&one);
        }
        rig_done(&all);
    }
    free(x);
    free(w);
    free(bias);
    free(residual);
}
END_TEST

START_TEST(test_linear_activations)
{
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (int kind = ENSO_ACTIVATION_NONE; kind <= ENSO_ACTIVATION_HARD_SIGMOID; kind++)
            for (unsigned residual = 0; residual < 2; residual++)
                one_linear(*set, &(struct linear_case){.m = 7,
                                                       .k = 20,
                                                       .n = 37,
                                                       .activation = (enum enso_activation)kind,
                                                       .bias = true,
                                                       .residual = residual,
                                                       .transposed = true,
                                                       .constant = true});
}
END_TEST

/* Rows alone, in batches of every size up to 70, on 1, 2 and 3 threads: the same bits. */
START_TEST(test_linear_rows_keep_their_bits)
{
    enum { M = 70, K = 401, N = 83 };
    float *x = rig_random_new(M * K, 5), *w = rig_random_new(K * N, 6);
    float *bias = rig_random_new(N, 7), *residual = rig_random_new(M * N, 8);
    static float alone[M * N];

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned gelu = 0; gelu < 2; gelu++) {
            struct linear_case z = {.m = 1,
                                    .k = K,
                                    .n = N,
                                    .activation =
                                        gelu ? ENSO_ACTIVATION_GELU : ENSO_ACTIVATION_RELU,
                                    .bias = true,
                                    .residual = gelu,
                                    .transposed = true,
                                    .constant = true};

            for (size_t i = 0; i < M; i++) {
                struct rig r;

                build_linear(&r, *set, 1, &z, x + i * K, w, bias, residual + i * N);
                rig_run(&r);
                memcpy(alone + i * N, r.outputs[0].data, N * sizeof(float));
                rig_done(&r);
            }
            for (z.m = 1; z.m <= M; z.m++) {
                size_t first = M - z.m; /* other neighbours each time */
                struct rig r;

                build_linear(&r, *set, 1 + (unsigned)(z.m % 3), &z, x + first * K, w, bias,
                             residual + first * N);
                rig_run(&r);
                ck_assert_msg(
                    memcmp(r.outputs[0].data, alone + first * N, z.m * N * sizeof(float)) == 0,
                    "%s: a batch of %zu rows", *set, z.m);
                rig_done(&r);
            }
        }
    free(x);
    free(w);
    free(bias);
    free(residual);
}
END_TEST

static void build_attention(struct rig *r, const char *set, unsigned n_threads, const float *qkv,
                            const int32_t *starts, size_t n_sequences, size_t heads, size_t size,
                            bool causal)
{
    int64_t n_tokens = starts[n_sequences];

    rig_init(r, set, n_threads);
    rig_input(r, F32, 2, DIMS(n_tokens, (int64_t)(3 * heads * size)), qkv);
    rig_input(r, I32, 1, DIMS((int64_t)n_sequences + 1), starts);
    rig_node(r, ENSO_OP_ATTENTION, 1);
    enso_graph_set_int(r->graph, r->node, "heads", (int64_t)heads);
    enso_graph_set_int(r->graph, r->node, "size", (int64_t)size);
    enso_graph_set_int(r->graph, r->node, "causal", causal);
}

static void attention_reference(const float *qkv, size_t start, size_t end, size_t heads,
                                size_t size, bool causal, double *y)
{
    size_t width = heads * size, ld = 3 * width;
    static double p[512];

    for (size_t h = 0; h < heads; h++)
        for (size_t i = start; i < end; i++) {
            size_t last = causal ? i + 1 : end;
            const float *q = qkv + i * ld + h * size;
            double max = -1e30, sum = 0;

            for (size_t j = start; j < last; j++) {
                const float *k = qkv + j * ld + width + h * size;

                p[j - start] = 0;
                for (size_t l = 0; l < size; l++)
                    p[j - start] += (double)q[l] * (double)k[l];
                p[j - start] /= sqrt((double)size);
                max = fmax(max, p[j - start]);
            }
            for (size_t j = start; j < last; j++)
                sum += p[j - start] = exp(p[j - start] - max);
            for (size_t l = 0; l < size; l++) {
                double v = 0;

                for (size_t j = start; j < last; j++)
                    v += p[j - start] / sum * (double)qkv[j * ld + 2 * width + h * size + l];
                y[i * width + h * size + l] = v;
            }
        }
}

START_TEST(test_attention)
{
    static const int32_t starts[] = {0, 1, 3, 3, 18, 34, 51, 98, 146, 195, 395};
    static const struct {
        size_t heads, size;
    } shapes[] = {{1, 1}, {2, 16}, {3, 8}, {2, 33}, {1, 64}};
    const size_t n = ENSO_ARRAY_SIZE(starts) - 1, n_tokens = 395;

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t s = 0; s < ENSO_ARRAY_SIZE(shapes); s++)
            for (unsigned causal = 0; causal < 2; causal++) {
                size_t width = shapes[s].heads * shapes[s].size;
                float *qkv = rig_random_new(n_tokens * 3 * width, 9);
                double *want = rig_doubles_new(n_tokens * width);
                struct rig r;

                for (size_t b = 0; b < n; b++)
                    attention_reference(qkv, (size_t)starts[b], (size_t)starts[b + 1],
                                        shapes[s].heads, shapes[s].size, causal, want);
                build_attention(&r, *set, 2, qkv, starts, n, shapes[s].heads, shapes[s].size,
                                causal);
                rig_run(&r);
                rig_near("ATTENTION", r.outputs[0].data, want, n_tokens * width, 2e-6, 0);
                rig_done(&r);
                free(qkv);
                free(want);
            }
}
END_TEST

START_TEST(test_attention_sequences_keep_their_bits)
{
    static const int32_t starts[] = {0, 5, 70, 71, 120, 281};
    const size_t n = ENSO_ARRAY_SIZE(starts) - 1, heads = 2, size = 24, width = 48;
    float *qkv = rig_random_new(281 * 3 * width, 10);

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned causal = 0; causal < 2; causal++)
            for (unsigned threads = 1; threads <= 3; threads++) {
                struct rig all;

                build_attention(&all, *set, threads, qkv, starts, n, heads, size, causal);
                rig_run(&all);
                for (size_t b = 0; b < n; b++) {
                    const int32_t own[2] = {0, starts[b + 1] - starts[b]};
                    struct rig r;

                    build_attention(&r, *set, 1, qkv + (size_t)starts[b] * 3 * width, own, 1, heads,
                                    size, causal);
                    rig_run(&r);
                    ck_assert_mem_eq(r.outputs[0].data,
                                     (float *)all.outputs[0].data + (size_t)starts[b] * width,
                                     (size_t)own[1] * width * sizeof(float));
                    rig_done(&r);
                }
                rig_done(&all);
            }
    free(qkv);
}
END_TEST

START_TEST(test_attention_refuses_broken_starts)
{
    static const int32_t broken[][3] = {{0, 5, 3}, {1, 2, 4}, {0, 2, 5}, {0, -1, 4}};
    float *qkv = rig_random_new(4 * 12, 11);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(broken); i++) {
        struct rig r;

        rig_init(&r, "generic", 1);
        rig_input(&r, F32, 2, DIMS(4, 12), qkv);
        rig_input(&r, I32, 1, DIMS(3), broken[i]);
        rig_node(&r, ENSO_OP_ATTENTION, 1);
        enso_graph_set_int(r.graph, r.node, "heads", 1);
        enso_graph_set_int(r.graph, r.node, "size", 4);
        ck_assert_int_eq(rig_try_run(&r), ENSO_INTERNAL);
        rig_done(&r);
    }
    free(qkv);
}
END_TEST

/* Row norms over rows of every length around the vectors' sizes, with and without residual. */
START_TEST(test_row_norms)
{
    static const size_t lengths[] = {1, 7, 8, 9, 16, 31, 384, 769};

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t l = 0; l < ENSO_ARRAY_SIZE(lengths); l++)
            for (unsigned which = 0; which < 10; which++) {
                enum enso_op op = which < 4   ? ENSO_OP_LAYER_NORM
                                  : which < 8 ? ENSO_OP_RMS_NORM
                                              : ENSO_OP_L2_NORMALIZE;
                bool residual = (which & 1) != 0 && which < 8, constant = which & 2;
                size_t n = lengths[l], m = 3;
                float *x = rig_random_new(m * n, 12), *r_in = rig_random_new(m * n, 13);
                float *gamma = rig_random_new(n, 14), *beta = rig_random_new(n, 15);
                double *want = rig_doubles_new(m * n);
                struct rig r;

                for (size_t i = 0; i < m; i++) {
                    double mean = 0, squares = 0;

                    for (size_t j = 0; j < n; j++) {
                        want[i * n + j] = (double)x[i * n + j];
                        if (residual) /* the sum is stored in single */
                            want[i * n + j] = (double)(x[i * n + j] + r_in[i * n + j]);
                        mean += want[i * n + j] / (double)n;
                    }
                    if (op != ENSO_OP_LAYER_NORM)
                        mean = 0;
                    for (size_t j = 0; j < n; j++)
                        squares += pow(want[i * n + j] - mean, 2);
                    for (size_t j = 0; j < n; j++) {
                        double v = want[i * n + j] - mean;

                        v /= op == ENSO_OP_L2_NORMALIZE ? fmax(sqrt(squares), 1e-12)
                                                        : sqrt(squares / (double)n + 0.001);
                        if (op != ENSO_OP_L2_NORMALIZE)
                            v *= (double)gamma[j];
                        want[i * n + j] = op == ENSO_OP_LAYER_NORM ? v + (double)beta[j] : v;
                    }
                }
                int64_t dims[2] = {(int64_t)m, (int64_t)n};
                rig_init(&r, *set, 2);
                rig_input(&r, F32, 2, dims, x);
                if (op != ENSO_OP_L2_NORMALIZE)
                    (constant ? rig_constant : rig_input)(&r, F32, 1, dims + 1, gamma);
                if (op == ENSO_OP_LAYER_NORM)
                    (constant ? rig_constant : rig_input)(&r, F32, 1, dims + 1, beta);
                if (residual)
                    rig_input(&r, F32, 2, dims, r_in);
                rig_node(&r, op, 1);
                if (op != ENSO_OP_L2_NORMALIZE)
                    enso_graph_set_float(r.graph, r.node, "epsilon", 0.001f);
                rig_run(&r);
                rig_near(enso_op_name(op), r.outputs[0].data, want, m * n, 4e-6, 1e-6);
                rig_done(&r);
                free(x);
                free(r_in);
                free(gamma);
                free(beta);
                free(want);
            }
}
END_TEST

static void build_embedding(struct rig *r, const char *set, const int32_t *tokens, size_t n,
                            const float *tables[3], const float *gamma, const float *beta,
                            bool constant)
{
    static const int32_t positions[] = {0, 1, 2, 3, 4, 0, 1, 2},
                         segments[] = {0, 0, 1, 1, 1, 0, 1, 0};
    const int64_t *rows = DIMS(20, 6, 2);

    rig_init(r, set, 2);
    rig_input(r, I32, 1, DIMS((int64_t)n), tokens);
    for (size_t t = 0; t < 3; t++) {
        if (t > 0)
            rig_input(r, I32, 1, DIMS((int64_t)n), t == 1 ? positions : segments);
        (constant ? rig_constant : rig_input)(r, F32, 2, DIMS(rows[t], 19), tables[t]);
    }
    (constant ? rig_constant : rig_input)(r, F32, 1, DIMS(19), gamma);
    (constant ? rig_constant : rig_input)(r, F32, 1, DIMS(19), beta);
    rig_node(r, ENSO_OP_EMBEDDING, 1);
    enso_graph_set_float(r->graph, r->node, "epsilon", 0.001f);
}

START_TEST(test_embedding)
{
    const int32_t tokens[8] = {3, 19, 0, 7, 7, 1, 2, 18};
    const int32_t positions[] = {0, 1, 2, 3, 4, 0, 1, 2}, segments[] = {0, 0, 1, 1, 1, 0, 1, 0};
    float *tables[3] = {rig_random_new(20 * 19, 1), rig_random_new(6 * 19, 2),
                        rig_random_new(2 * 19, 3)};
    const float *borrowed[3] = {tables[0], tables[1], tables[2]};
    float *gamma = rig_random_new(19, 4), *beta = rig_random_new(19, 5);
    double want[8 * 19];

    for (size_t i = 0; i < 8; i++) {
        double mean = 0, variance = 0, *row = want + i * 19;

        for (size_t c = 0; c < 19; c++) {
            row[c] = (double)(tables[0][tokens[i] * 19 + (int)c] +
                              tables[1][positions[i] * 19 + (int)c] +
                              tables[2][segments[i] * 19 + (int)c]);
            mean += row[c] / 19;
        }
        for (size_t c = 0; c < 19; c++)
            variance += pow(row[c] - mean, 2) / 19;
        for (size_t c = 0; c < 19; c++)
            row[c] = (row[c] - mean) / sqrt(variance + 0.001) * (double)gamma[c] + (double)beta[c];
    }
    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (unsigned constant = 0; constant < 2; constant++) {
            struct rig r;

            build_embedding(&r, *set, tokens, 8, borrowed, gamma, beta, constant);
            rig_run(&r);
            rig_near("EMBEDDING", r.outputs[0].data, want, 8 * 19, 4e-6, 1e-6);
            ((int32_t *)r.inputs[0].data)[3] = 20; /* beyond the table: refused, not read */
            ck_assert_int_eq(rig_try_run(&r), ENSO_INVALID);
            rig_done(&r);
        }
    for (size_t t = 0; t < 3; t++)
        free(tables[t]);
    free(gamma);
    free(beta);
}
END_TEST

START_TEST(test_sequence_pool)
{
    static const char *const modes[] = {"mean", "cls", "last", "max"};
    const int32_t starts[4] = {0, 1, 4, 11};
    float *x = rig_random_new(11 * 13, 16);

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t m = 0; m < 4; m++) {
            double want[39];
            struct rig r;

            for (size_t b = 0; b < 3; b++)
                for (size_t c = 0; c < 13; c++) {
                    double sum = 0, max = -9;

                    for (int32_t t = starts[b]; t < starts[b + 1]; t++) {
                        sum += (double)x[t * 13 + (int)c];
                        max = fmax(max, (double)x[t * 13 + (int)c]);
                    }
                    want[b * 13 + c] = m == 0   ? sum / (starts[b + 1] - starts[b])
                                       : m == 1 ? (double)x[starts[b] * 13 + (int)c]
                                       : m == 2 ? (double)x[(starts[b + 1] - 1) * 13 + (int)c]
                                                : max;
                }
            rig_init(&r, *set, 2);
            rig_input(&r, F32, 2, DIMS(11, 13), x);
            rig_input(&r, I32, 1, DIMS(4), starts);
            rig_node(&r, ENSO_OP_SEQUENCE_POOL, 1);
            enso_graph_set_string(r.graph, r.node, "mode", modes[m]);
            rig_run(&r);
            rig_near(modes[m], r.outputs[0].data, want, 39, 1e-6, 0);
            rig_done(&r);
        }
    free(x);
}
END_TEST

/* Images alone and in a batch, 1 to 3 threads: the same bits. */
START_TEST(test_conv_images_keep_their_bits)
{
    static const struct {
        int64_t c, m, k, group;
    } cases[] = {{3, 20, 3, 1}, {40, 24, 3, 1}, {32, 16, 1, 1}, {24, 24, 3, 24}, {24, 24, 3, 2}};
    enum { N = 5, H = 9, W = 7 };

    for (const char *const *set = rig_sets(); *set != NULL; set++)
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
            int64_t c = cases[i].c, m = cases[i].m, k = cases[i].k, cg = c / cases[i].group;
            float *x = rig_random_new((size_t)(N * H * W * c), 17);
            float *w = rig_random_new((size_t)(m * cg * k * k), 18);
            float *bias = rig_random_new((size_t)m, 19), *alone = NULL;

            for (unsigned batch = 0; batch < 4; batch++) { /* 0: one by one */
                int64_t n = batch == 0 ? 1 : N;

                for (int64_t first = 0; first < N; first += n) {
                    struct rig r;

                    rig_init(&r, *set, batch == 0 ? 1 : batch);
                    rig_input(&r, F32, 4, DIMS(n, H, W, c), x + first * H * W * c);
                    rig_constant(&r, F32, 4, DIMS(m, cg, k, k), w);
                    rig_constant(&r, F32, 1, DIMS(m), bias);
                    rig_node(&r, ENSO_OP_CONV_FUSED, 1);
                    enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(k, k), 2);
                    enso_graph_set_ints(r.graph, r.node, "pads", DIMS(k / 2, k / 2, k / 2, k / 2),
                                        4);
                    enso_graph_set_int(r.graph, r.node, "group", cases[i].group);
                    enso_graph_set_int(r.graph, r.node, "activation", ENSO_ACTIVATION_SILU);
                    rig_run(&r);
                    size_t one = (size_t)(H * W * m);
                    if (alone == NULL)
                        alone = malloc(N * one * sizeof(float));
                    ck_assert_ptr_nonnull(alone);
                    if (batch == 0)
                        memcpy(alone + (size_t)first * one, r.outputs[0].data, one * sizeof(float));
                    else
                        ck_assert_mem_eq(r.outputs[0].data, alone, N * one * sizeof(float));
                    rig_done(&r);
                }
            }
            free(x);
            free(w);
            free(bias);
            free(alone);
        }
}
END_TEST

/* Binding with each allocation failing in turn: an error, nothing lost. */
struct oom {
    struct rig *rig;
};

static enum enso_status bind_once(void *context, struct enso_error *err)
{
    struct oom *o = context;
    struct enso_bound *bound = NULL;
    int st = rig_backend()->bind(o->rig->device, o->rig->graph, o->rig->node, &bound, err);

    if (st == ENSO_OK)
        rig_backend()->unbind(o->rig->device, bound);
    return (enum enso_status)st;
}

static enum enso_status open_once(void *context, struct enso_error *err)
{
    const struct enso_backend *cpu = enso_backend_cpu();
    struct enso_device_options options = {.name = "cpu", .n_threads = 3, .isa = "auto"};
    struct enso_device *device = NULL;
    struct enso_lane *lane = NULL;
    int st = cpu->device_open(&options, &device, err);

    (void)context;
    if (st == ENSO_OK)
        st = cpu->lane_open(device, &lane, err);
    cpu->lane_close(lane);
    cpu->device_close(device);
    return (enum enso_status)st;
}

START_TEST(test_bind_without_memory)
{
    const struct linear_case z = {
        .m = 3, .k = 40, .n = 20, .bias = true, .transposed = true, .constant = true};
    float *x = rig_random_new(4096, 1);
    struct rig r;

    build_linear(&r, "auto", 1, &z, x, x, x, x);
    ck_assert_int_eq(enso_graph_infer(r.graph, NULL), ENSO_OK);
    ck_assert_uint_ge(enso_test_oom_sweep(bind_once, &(struct oom){&r}), rig_on_gpu() ? 1 : 3);
    rig_done(&r);

    rig_init(&r, "auto", 1);
    rig_input(&r, F32, 4, DIMS(1, 5, 5, 8), x);
    rig_constant(&r, F32, 4, DIMS(12, 8, 3, 3), x);
    rig_constant(&r, F32, 1, DIMS(12), x);
    rig_node(&r, ENSO_OP_CONV_FUSED, 1);
    enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(3, 3), 2);
    ck_assert_int_eq(enso_graph_infer(r.graph, NULL), ENSO_OK);
    ck_assert_uint_ge(enso_test_oom_sweep(bind_once, &(struct oom){&r}), rig_on_gpu() ? 1 : 4);
    rig_done(&r);

    const float *tables[3] = {x, x, x};
    build_embedding(&r, "auto", (int32_t[]){1}, 1, tables, x, x, true);
    ck_assert_int_eq(enso_graph_infer(r.graph, NULL), ENSO_OK);
    ck_assert_uint_ge(enso_test_oom_sweep(bind_once, &(struct oom){&r}), rig_on_gpu() ? 1 : 5);
    rig_done(&r);

    rig_init(&r, "auto", 1);
    rig_input(&r, F32, 4, DIMS(1, 8, 5, 5), x);
    for (size_t i = 0; i < 4; i++)
        rig_constant(&r, F32, 1, DIMS(8), x);
    rig_node(&r, ENSO_OP_BATCH_NORM, 1);
    ck_assert_int_eq(enso_graph_infer(r.graph, NULL), ENSO_OK);
    ck_assert_uint_ge(enso_test_oom_sweep(bind_once, &(struct oom){&r}), rig_on_gpu() ? 1 : 5);
    rig_done(&r);

    ck_assert_uint_ge(enso_test_oom_sweep(open_once, NULL), 2);
    free(x);
}
END_TEST

START_TEST(test_packed_inputs_and_bytes)
{
    const struct linear_case z = {
        .m = 3, .k = 40, .n = 20, .bias = true, .transposed = true, .constant = true};
    float *x = rig_random_new(4096, 1);
    const struct enso_backend *backend = rig_backend();
    struct rig r;

    build_linear(&r, "auto", 1, &z, x, x, x, x);
    rig_run(&r);
    ck_assert(!backend->packs(r.bound, 0));
    ck_assert(backend->packs(r.bound, 1));
    ck_assert(backend->packs(r.bound, 2));
    ck_assert(!backend->packs(r.bound, 99));
    ck_assert_uint_ge(backend->bound_bytes(r.bound), 40 * (rig_on_gpu() ? 20 : 32) * sizeof(float));
    rig_done(&r);
    free(x);
}
END_TEST

START_TEST(test_device_options)
{
    if (rig_on_gpu())
        return; /* the processor's device */
    const struct enso_backend *cpu = enso_backend_cpu();
    struct enso_device *device = NULL;
    struct enso_device_info info;
    struct enso_error err = {0};

    ck_assert_uint_eq(cpu->abi, ENSO_BACKEND_ABI);
    ck_assert_int_eq(cpu->device_open(&(struct enso_device_options){.isa = "sse9"}, &device, &err),
                     ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "sse9");
    ck_assert_int_eq(
        cpu->device_open(&(struct enso_device_options){.n_threads = 100000}, &device, NULL),
        ENSO_INVALID);
    ck_assert_int_eq(
        cpu->device_open(&(struct enso_device_options){.isa = "generic"}, &device, NULL), ENSO_OK);
    cpu->device_info(device, &info);
    ck_assert_str_eq(info.name, "cpu");
    ENSO_TEST_CONTAINS(info.description, "portable");
    ck_assert_uint_ge(info.n_threads, 1);
    ck_assert(info.batch_invariant);
    cpu->device_close(device);
}
END_TEST

START_TEST(test_bind_refusals)
{
    static const float x[64] = {0};
    struct rig r;

    rig_init(&r, "auto", 1); /* the weights of a fused convolution must be constant */
    rig_input(&r, F32, 4, DIMS(1, 5, 5, 1), x);
    rig_input(&r, F32, 4, DIMS(1, 1, 3, 3), x);
    rig_node(&r, ENSO_OP_CONV_FUSED, 1);
    enso_graph_set_ints(r.graph, r.node, "kernel_shape", DIMS(3, 3), 2);
    ck_assert_int_lt(rig_try_bind(&r), 0);
    ck_assert_int_ne(r.err.message[0], 0);
    rig_done(&r);

    rig_init(&r, "auto", 1);
    rig_input(&r, F32, 2, DIMS(4, 8), x);
    rig_input(&r, I32, 1, DIMS(2), DIMS(0, 0));
    rig_node(&r, ENSO_OP_SEQUENCE_POOL, 1);
    enso_graph_set_string(r.graph, r.node, "mode", "median");
    ck_assert_int_lt(rig_try_bind(&r), 0);
    rig_done(&r);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/fused");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_linear_shapes);
    tcase_add_loop_test(core, test_linear_of_many_rows, 0, 2);
    tcase_add_test(core, test_linear_activations);
    tcase_add_test(core, test_attention);
    tcase_add_test(core, test_row_norms);
    tcase_add_test(core, test_embedding);
    tcase_add_test(core, test_sequence_pool);
    tcase_add_test(core, test_packed_inputs_and_bytes);
    tcase_add_test(core, test_device_options);
    suite_add_tcase(s, core);
    TCase *invariance = tcase_create("invariance");
    tcase_add_test(invariance, test_linear_rows_keep_their_bits);
    tcase_add_test(invariance, test_attention_sequences_keep_their_bits);
    tcase_add_test(invariance, test_conv_images_keep_their_bits);
    suite_add_tcase(s, invariance);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_attention_refuses_broken_starts);
    tcase_add_test(errors, test_bind_refusals);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");
    tcase_add_test(oom, test_bind_without_memory);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
