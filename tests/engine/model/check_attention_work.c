/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/model/attention_work: against a list made in the plainest way: all tiles, stably sorted by
 * the length of their sequence.
 */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/model_internal.h"

#define MAX_SEQUENCES 200
#define MAX_ENTRIES 4096

static int32_t starts[MAX_SEQUENCES + 1], want[2 * MAX_ENTRIES];

/* Insertion of each tile behind all that are at least as long. */
static size_t reference(size_t n_sequences)
{
    size_t n = 0;

    for (size_t s = 0; s < n_sequences; s++)
        for (int32_t tile = 0; tile * 64 < starts[s + 1] - starts[s]; tile++) {
            size_t at = n++;

            for (; at > 0; at--) {
                int32_t other = want[2 * at - 2];

                if (starts[other + 1] - starts[other] >= starts[s + 1] - starts[s])
                    break;
                memcpy(&want[2 * at], &want[2 * at - 2], 2 * sizeof *want);
            }
            want[2 * at] = (int32_t)s;
            want[2 * at + 1] = tile;
        }
    return n;
}

/* The list in memory of exactly n_entries, which faults past its end. */
static void compare(size_t n_sequences, size_t n_entries)
{
    int32_t *work = enso_test_guard_alloc(n_entries * 2 * sizeof *work);
    size_t n = reference(n_sequences);

    ck_assert_uint_le(n, n_entries);
    memset(work, 0x5a, n_entries * 2 * sizeof *work);
    enso__attention_work(starts, n_sequences, n_entries, work);
    for (size_t i = 0; i < n_entries; i++) {
        ck_assert_int_eq(work[2 * i], i < n ? want[2 * i] : -1);
        ck_assert_int_eq(work[2 * i + 1], i < n ? want[2 * i + 1] : -1);
    }
    enso_test_guard_free(work, n_entries * 2 * sizeof *work);
}

START_TEST(test_attention_work_random)
{
    srand((unsigned)_i + 1);
    for (int round = 0; round < 50; round++) {
        size_t n = (size_t)(1 + rand() % MAX_SEQUENCES);
        int most = 1 + rand() % 500;

        for (size_t i = 0; i < n; i++) /* multiples of a tile, short ones, equals */
            starts[i + 1] =
                starts[i] + (rand() % 3 == 0 ? 64 * (1 + rand() % 4) : 1 + rand() % most);
        compare(n, (size_t)starts[n] / 64 + n);
        compare(n, (size_t)starts[n] / 64 + n + 3); /* a batch that was rounded up */
    }
}
END_TEST

/* Where the list is full to its last entry, and where it is nearly empty. */
START_TEST(test_attention_work_limits)
{
    for (size_t n = 1; n <= 8; n++) {
        for (size_t i = 0; i < n; i++)
            starts[i + 1] =
                starts[i] + 65; /* T / 64 + B is one short of two tiles each from 64 on */
        compare(n, (size_t)starts[n] / 64 + n);
        for (size_t i = 0; i < n; i++)
            starts[i + 1] = starts[i] + 1;
        compare(n, (size_t)starts[n] / 64 + n);
        for (size_t i = 0; i < n; i++)
            starts[i + 1] = starts[i] + 64;
        compare(n, (size_t)starts[n] / 64 + n);
        for (size_t i = 0; i < n; i++)
            starts[i + 1] = starts[i]; /* sequences of padding: none of them has a tile */
        compare(n, n);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/attention_work");
    TCase *core = tcase_create("core");

    tcase_add_loop_test(core, test_attention_work_random, 0, 10);
    tcase_add_test(core, test_attention_work_limits);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
