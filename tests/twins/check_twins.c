/* SPDX-License-Identifier: Apache-2.0
 *
 * The twins of kernels/cuda/ptx.cuh's instructions: against plain references that know fragments
 * from other sources than the twins do, and against what cards have answered (golden/), as far as
 * there is any.
 *
 * Second sources: for mma the layouts in CUTLASS's CuTe (include/cute/atom/mma_traits_sm80.hpp,
 * SM80_16x8x16_F32F16F16F32_TN), given as shapes and strides over (lane % 4, lane / 4) and the
 * value's bits; for ldmatrix the rule in Apache TVM's TIRx documentation (tile operations,
 * ldmatrix_stmatrix): lane 8·matrix+row gives an address, and word w of row r of a matrix goes to
 * lane 4·r+w.
 */
#include "ensod_build.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tensor.h"
#include "tests/support/support.h"
#include "tests/twins/cases.h"

static float float_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static float widen(bool bf16, uint32_t bits)
{
    uint16_t half = (uint16_t)bits;
    float v;

    if (bf16)
        enso_bf16_to_f32(&half, &v, 1);
    else
        enso_f16_to_f32(&half, &v, 1);
    return v;
}

/* Value i of a lane's half registers. */
static float half_at(bool bf16, const uint32_t *words, unsigned i)
{
    return widen(bf16, words[i / 2] >> (i % 2 * 16) & 0xffff);
}

/* CuTe: A is (16, 16) and C (16, 8) with the row moving fastest, B (8 columns, 16 rows) with the
 * column moving fastest. */
static unsigned cute_a(unsigned lane, unsigned value)
{
    return lane % 4 * 32 + lane / 4 + (value & 1) * 16 + (value >> 1 & 1) * 8 + (value >> 2) * 128;
}

static unsigned cute_b(unsigned lane, unsigned value)
{
    return lane % 4 * 16 + lane / 4 + (value & 1) * 8 + (value >> 1) * 64;
}

static unsigned cute_c(unsigned lane, unsigned value)
{
    return lane % 4 * 32 + lane / 4 + (value & 1) * 16 + (value >> 1) * 8;
}

START_TEST(test_twins_mma_is_a_product_of_matrices)
{
    const enum twins_which which = _i == 0 ? TWINS_MMA_BF16 : TWINS_MMA_F16;
    const bool bf16 = _i == 0;
    twins_words in, out;

    for (unsigned number = 0; number < TWINS_CASES - 1; number++) {
        double a[16 * 16], b[8 * 16], c[16 * 8], worst = 0;

        twins_input(which, number, in);
        ck_assert_int_eq(twins_run(which, in, out), cudaSuccess);
        for (unsigned lane = 0; lane < TWINS_LANES; lane++) {
            for (unsigned i = 0; i < 8; i++)
                a[cute_a(lane, i)] = (double)half_at(bf16, in[lane], i);
            for (unsigned i = 0; i < 4; i++)
                b[cute_b(lane, i)] = (double)half_at(bf16, in[lane] + 4, i);
            for (unsigned i = 0; i < 4; i++)
                c[cute_c(lane, i)] = (double)float_of(in[lane][6 + i]);
        }
        for (unsigned lane = 0; lane < TWINS_LANES; lane++)
            for (unsigned i = 0; i < 4; i++) {
                unsigned row = cute_c(lane, i) % 16, column = cute_c(lane, i) / 16;
                double sum = c[cute_c(lane, i)], scale = fabs(sum);

                for (unsigned k = 0; k < 16; k++) {
                    sum += a[row + 16 * k] * b[column + 8 * k];
                    scale += fabs(a[row + 16 * k] * b[column + 8 * k]);
                }
                worst = fmax(worst, fabs(sum - (double)float_of(out[lane][i])) / scale);
            }
        /* sixteen additions in F32, half a unit in the last place each */
        ck_assert_msg(worst <= 16 * 0x1p-24, "case %u: %g of the sum of magnitudes", number, worst);
    }
}
END_TEST

START_TEST(test_twins_mma_keeps_what_is_not_a_number_in_its_row_or_column)
{
    const enum twins_which which = _i == 0 ? TWINS_MMA_BF16 : TWINS_MMA_F16;
    twins_words in, out;

    twins_input(which, 3, in);
    in[9][0] = (in[9][0] & 0xffff0000) | 0x7fff; /* A, row 9 / 4 */
    ck_assert_int_eq(twins_run(which, in, out), cudaSuccess);
    for (unsigned lane = 0; lane < TWINS_LANES; lane++)
        for (unsigned i = 0; i < 4; i++)
            ck_assert_int_eq(isnan(float_of(out[lane][i])) != 0, lane / 4 == 2 && i < 2);
}
END_TEST

START_TEST(test_twins_ldmatrix_hands_out_rows)
{
    static const enum twins_which kinds[] = {TWINS_LDMATRIX_X4, TWINS_LDMATRIX_X4_TRANS,
                                             TWINS_LDMATRIX_X2, TWINS_LDMATRIX_X2_TRANS};
    const bool trans = _i % 2 == 1;
    const unsigned n_matrices = _i < 2 ? 4 : 2;
    twins_words in, out;

    for (unsigned number = 0; number < TWINS_CASES; number++) {
        twins_input(kinds[_i], number, in);
        ck_assert_int_eq(twins_run(kinds[_i], in, out), cudaSuccess);
        for (unsigned m = 0; m < n_matrices; m++)
            for (unsigned row = 0; row < 8; row++)
                for (unsigned word = 0; word < 4; word++) {
                    uint32_t expected = in[8 * m + row][word];

                    if (trans) { /* row and column change places, half by half */
                        uint32_t low = in[8 * m + 2 * word][row / 2] >> row % 2 * 16 & 0xffff;
                        uint32_t high = in[8 * m + 2 * word + 1][row / 2] >> row % 2 * 16 & 0xffff;

                        expected = low | high << 16;
                    }
                    ck_assert_uint_eq(out[4 * row + word][m], expected);
                }
    }
}
END_TEST

START_TEST(test_twins_copies_bring_bytes_or_zeros)
{
    static const unsigned bytes[] = {16, 8, 4};
    const enum twins_which which = (enum twins_which)(TWINS_CP_ASYNC_16 + _i);
    twins_words in, out;

    for (unsigned number = 0; number < TWINS_CASES; number++) {
        twins_input(which, number, in);
        ck_assert_int_eq(twins_run(which, in, out), cudaSuccess);
        for (unsigned lane = 0; lane < TWINS_LANES; lane++)
            for (unsigned i = 0; i < 4; i++)
                ck_assert_uint_eq(out[lane][i], i * 4 >= bytes[_i] ? 1
                                                : in[lane][4] != 0 ? in[lane][i]
                                                                   : 0);
    }
}
END_TEST

START_TEST(test_twins_ex2)
{
    twins_words in, out;

    for (unsigned number = 0; number < TWINS_CASES; number++) {
        twins_input(TWINS_EX2, number, in);
        ck_assert_int_eq(twins_run(TWINS_EX2, in, out), cudaSuccess);
        for (unsigned lane = 0; lane < TWINS_LANES; lane++) {
            double x = (double)float_of(in[lane][0]), y = (double)float_of(out[lane][0]);
            double expected = exp2(fabs(x) < 0x1p-126 ? 0 : x);

            if (isnan(x))
                ck_assert(isnan(y));
            else if (expected < 0x1p-126)
                ck_assert(y == 0);
            else if (expected > 0x1.fffffep127)
                ck_assert(isinf(y));
            else
                ck_assert(fabs(y - expected) <= 0x1p-22 * expected);
        }
    }
}
END_TEST

START_TEST(test_twins_pack_rounds_to_nearest_even)
{
    const enum twins_which which = _i == 0 ? TWINS_PACK_BF16 : TWINS_PACK_F16;
    twins_words in, out;

    for (unsigned number = 0; number < TWINS_CASES; number++) {
        twins_input(which, number, in);
        ck_assert_int_eq(twins_run(which, in, out), cudaSuccess);
        for (unsigned lane = 0; lane < TWINS_LANES; lane++) {
            float v[2] = {float_of(in[lane][0]), float_of(in[lane][1])};
            uint16_t halves[2];

            if (_i == 0)
                enso_f32_to_bf16(v, halves, 2);
            else
                enso_f32_to_f16(v, halves, 2);
            ck_assert_msg(
                twins_alike(which, in, out[lane][0], halves[0] | (uint32_t)halves[1] << 16),
                "%a %a: %x", (double)v[0], (double)v[1], out[lane][0]);
        }
    }
}
END_TEST

/* ---- what cards have answered ---- */

START_TEST(test_twins_files_are_read_as_they_are_written)
{
    FILE *f = tmpfile();
    unsigned lanes = 0;

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(twins_record(f, 1), 0);
    rewind(f);
    ck_assert_int_eq(twins_compare(f, &lanes), 0);
    ck_assert_uint_eq(lanes, TWINS_N * TWINS_CASES * TWINS_LANES);
    fclose(f);
}
END_TEST

START_TEST(test_twins_files_that_differ_are_found)
{
    FILE *f = tmpfile();
    unsigned lanes = 0;

    ck_assert_ptr_nonnull(f);
    for (unsigned lane = 0; lane < TWINS_LANES; lane++) /* lane 7 has its two words swapped */
        fprintf(f, "ldmatrix.x2 0 %u in %x %x %x %x %x out %x %x\n", lane, lane * 4, lane * 4 + 1,
                lane * 4 + 2, lane * 4 + 3, lane, lane == 7 ? lane + 32 : lane,
                lane == 7 ? lane : lane + 32);
    rewind(f);
    ck_assert_int_eq(twins_compare(f, &lanes), 1);
    fclose(f);
}
END_TEST

START_TEST(test_twins_answer_as_cards_do)
{
    static const char dir[] = ENSO_TOP_SRCDIR "/tests/twins/golden";
    DIR *d = opendir(dir);
    unsigned files = 0;

    for (const struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        char path[4096];
        unsigned lanes;

        if (strstr(e->d_name, ".txt") == NULL)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        FILE *f = fopen(path, "r");
        ck_assert_ptr_nonnull(f);
        ck_assert_msg(twins_compare(f, &lanes) == 0, "%s: the emulation differs", e->d_name);
        fclose(f);
        files++;
    }
    if (d != NULL)
        closedir(d);
    if (files == 0)
        printf("SKIP: no card has answered yet (tests/twins/golden): the twins are not anchored\n");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("twins");
    TCase *tc = tcase_create("core");

    tcase_add_loop_test(tc, test_twins_mma_is_a_product_of_matrices, 0, 2);
    tcase_add_loop_test(tc, test_twins_mma_keeps_what_is_not_a_number_in_its_row_or_column, 0, 2);
    tcase_add_loop_test(tc, test_twins_ldmatrix_hands_out_rows, 0, 4);
    tcase_add_loop_test(tc, test_twins_copies_bring_bytes_or_zeros, 0, 3);
    tcase_add_test(tc, test_twins_ex2);
    tcase_add_loop_test(tc, test_twins_pack_rounds_to_nearest_even, 0, 2);
    suite_add_tcase(s, tc);
    tc = tcase_create("golden");
    tcase_add_test(tc, test_twins_files_are_read_as_they_are_written);
    tcase_add_test(tc, test_twins_files_that_differ_are_found);
    tcase_add_test(tc, test_twins_answer_as_cards_do);
    suite_add_tcase(s, tc);
    return s;
}

ENSO_TEST_MAIN(suite)
