/* SPDX-License-Identifier: Apache-2.0
 *
 * The best k of a row: both ways of sorting against a plain one, ties, NaN, and how they are
 * written.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/scores.h"
#include "tests/support/support.h"

static void expect(const float *scores, uint32_t n, uint32_t k, const uint32_t *best,
                   uint32_t n_best)
{
    struct enso_request req = {.n_inputs = 0};
    uint32_t got = 0, *top = enso_scores_top(&req, scores, n, k, &got);

    ck_assert_ptr_nonnull(top);
    ck_assert_uint_eq(got, n_best);
    for (uint32_t i = 0; i < got; i++)
        ck_assert_msg(top[i] == best[i], "place %u of %u: %u instead of %u", i, got, top[i],
                      best[i]);
    enso_arena_done(&req.arena);
}

START_TEST(test_scores_order)
{
    const float scores[] = {0.1f, 0.7f, 0.7f, NAN, -INFINITY, 0.2f, NAN, INFINITY};
    const uint32_t best[] = {7, 1, 2, 5, 0, 4, 3, 6};

    expect(scores, 8, 1, best, 1);
    expect(scores, 8, 3, best, 3);
    expect(scores, 8, 8, best, 8);
    expect(scores, 8, 0, best, 8);   /* all */
    expect(scores, 8, 100, best, 8); /* as many as there are */
    expect(scores + 3, 1, 1, (const uint32_t[]){0}, 1);
}
END_TEST

/* By repeated search for the best that is left. */
static void slow_top(const float *scores, uint32_t n, uint32_t *best)
{
    bool *taken = calloc(n, sizeof *taken);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = n;

        for (uint32_t c = 0; c < n; c++)
            if (!taken[c] && (at == n || scores[c] > scores[at]))
                at = c;
        taken[best[i] = at] = true;
    }
    free(taken);
}

START_TEST(test_scores_of_many_sizes)
{
    static const uint32_t sizes[] = {1, 2, 31, 32, 33, 34, 100, 1000};
    static const uint32_t ks[] = {1, 5, 31, 32, 33, 500};
    uint64_t state = 7;

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++) {
        uint32_t n = sizes[s];
        float *scores = enso_test_guard_alloc(n * sizeof *scores);
        uint32_t *best = malloc(n * sizeof *best);

        for (uint32_t i = 0; i < n; i++)
            scores[i] = (float)(enso_test_random(&state) % 50); /* with ties */
        slow_top(scores, n, best);
        for (size_t k = 0; k < ENSO_ARRAY_SIZE(ks); k++)
            expect(scores, n, ks[k], best, ENSO_MIN(ks[k], n));
        enso_test_guard_free(scores, n * sizeof *scores);
        free(best);
    }
}
END_TEST

START_TEST(test_scores_written)
{
    static const char *const labels[] = {"a\"b", "\xc3\xa9", ""};
    const struct enso_model_info info = {.n_labels = 3, .labels = labels};
    const float scores[] = {0.25f, 1e-7f, NAN};
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_scores_write(&b, &info, scores, (const uint32_t[]){1, 0, 2}, 3);
    ck_assert_str_eq(b.data, "[{\"label\":\"\xc3\xa9\",\"score\":1e-7},{\"label\":\"a\\\"b\","
                             "\"score\":0.25},{\"label\":\"\",\"score\":null}]");
    enso_buffer_clear(&b);
    enso_scores_write(&b, &info, scores, NULL, 0);
    ck_assert_str_eq(b.data, "[]");
    enso_buffer_done(&b);
}
END_TEST

START_TEST(test_scores_oom)
{
    const float scores[64] = {0};

    for (uint64_t n = 1; n <= 2; n++)
        for (uint32_t k = 1; k <= 64; k += 63) {
            struct enso_request req = {.n_inputs = 0};
            uint32_t got;

            (void)enso_memory_fail_at(1);
            ck_assert_ptr_null(enso_scores_top(&req, scores, 64, k, &got));
            (void)enso_memory_fail_at(0);
            enso_arena_done(&req.arena);
        }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/scores");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *oom = tcase_create("oom");

    tcase_add_test(core, test_scores_order);
    tcase_add_test(core, test_scores_written);
    tcase_add_test(limits, test_scores_of_many_sizes);
    tcase_add_test(oom, test_scores_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
