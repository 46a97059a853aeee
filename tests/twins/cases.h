/* SPDX-License-Identifier: Apache-2.0
 *
 * Inputs for the instructions of twins.h, a card's answers to them as text, and the comparison of
 * the two. A line of such a file is a lane:
 *
 *     mma.m16n8k16.bf16 3 17 in 3f80 ... out 40490fdb ...      (instruction, case, lane, hex words)
 */
#ifndef ENSO_TESTS_TWINS_CASES_H
#define ENSO_TESTS_TWINS_CASES_H

#include <stdio.h>

#include "tests/twins/twins.h"

#define TWINS_CASES 8

struct twins_kind {
    const char *name;
    unsigned n_in, n_out;
    int ampere; /* needs compute capability 8.0 */
};
extern const struct twins_kind twins_kinds[TWINS_N];

/* What goes in, from a fixed generator. */
void twins_input(enum twins_which which, unsigned number, twins_words words);
/* What comes out here; 0 or a cudaError_t. */
int twins_run(enum twins_which which, twins_words in, twins_words out);
/* The difference is no more than the instruction leaves open: nothing but for mma (order of sums)
 * and ex2 (2 units in the last place). A NaN is like any other. */
int twins_alike(enum twins_which which, twins_words in, uint32_t a, uint32_t b);

/* All cases that the card has; 0 when all went well. */
int twins_record(FILE *to, int has_ampere);
/* Run every input of the file and compare; the number of lanes that differ, or -1: not such a file.
 */
int twins_compare(FILE *from, unsigned *ret_lanes);

#endif
