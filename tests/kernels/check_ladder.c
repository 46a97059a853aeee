/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels/cuda/ladder: the size of a batch of any number of tokens, and where sizes are exact.
 */
#include "ensod_build.h"

#include "kernels/cuda/ladder.h"

#include "base/macros.h"
#include "tests/support/support.h"

#define MOST 4096 /* tokens */

static int64_t size_of(const struct enso__ladder *ladder, int64_t n, int64_t capacity)
{
    struct enso_extents e = {.n_tokens = n, .n_sequences = 3};

    enso__ladder_round_up(ladder, &(struct enso_extents){.n_tokens = capacity, .n_sequences = 64},
                          &e);
    ck_assert_int_eq(e.n_sequences, e.n_tokens == n && ladder != NULL && ladder->is_long ? 3 : 64);
    return e.n_tokens;
}

/* The next multiple of 16 or 64, counted up to: never a token more, nor more than the plan holds.
 */
START_TEST(test_ladder_every_size)
{
    const struct enso__ladder unknown = {0};

    for (int64_t n = 1, next = 16; n <= MOST; n++) {
        if (n > next)
            next += n < 128 ? 16 : 64;
        ck_assert_int_eq(size_of(NULL, n, MOST), next);
        ck_assert_int_eq(size_of(&unknown, n, MOST), next);
        ck_assert_int_eq(size_of(NULL, n, n), n);
        ck_assert_int_eq(size_of(NULL, n, n + 5), ENSO_MIN(next, n + 5));
    }
}
END_TEST

/* What has no tokens stays as it is. */
START_TEST(test_ladder_dense)
{
    struct enso_extents dense = {.n_items = 5};

    enso__ladder_round_up(NULL, &(struct enso_extents){.n_items = 8}, &dense);
    ck_assert_int_eq(dense.n_items, 5);
    ck_assert_int_eq(dense.n_tokens, 0);
    ck_assert_int_eq(dense.n_sequences, 0);
}
END_TEST

/* Sizes are exact from the batch on that keeps the device more than four times as long as launching
 * keeps the thread: the least that this was seen to take, as a thread may be interrupted. */
START_TEST(test_ladder_ends)
{
    static const struct {
        uint64_t compute_ns, enqueue_ns; /* 0: it ran as a graph */
        bool is_long;
    } batches[] = {
        {900000, 0, false},                              /* nothing is known of launching */
        {900000, 500000, false}, {900000, 200000, true}, /* the least counts */
        {800000, 0, false}, /* four times is not long; graphs teach as well */
        {800001, 0, true},       {800001, 700000, true}, /* interrupted: forgotten */
        {800000, 700000, false},
    };
    struct enso__ladder ladder = {0};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(batches); i++) {
        enso__ladder_learn(&ladder, ENSO__LADDER_LONG_PERCENT, batches[i].compute_ns,
                           batches[i].enqueue_ns);
        ck_assert_msg(ladder.is_long == batches[i].is_long, "batch %zu", i);
        for (int64_t n = 1; n <= MOST; n++)
            ck_assert_int_eq(size_of(&ladder, n, MOST),
                             batches[i].is_long ? n : size_of(NULL, n, MOST));
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cuda_ladder");
    TCase *core = tcase_create("core");

    tcase_add_test(core, test_ladder_every_size);
    tcase_add_test(core, test_ladder_dense);
    tcase_add_test(core, test_ladder_ends);
    suite_add_tcase(s, core);
    return s;
}

int main(void)
{
    return enso_test_main(suite);
}
