/* SPDX-License-Identifier: Apache-2.0
 *
 * What each step of a batch takes on a GPU: a backend's table with another bind, which notes what
 * the steps are, and another begin, which measures when it was told to. There a step is run once
 * and several times, as a graph where the backend makes one; the difference of both by the
 * backend's own clock is the step's time and a graph's gap to the next kernel, without copies and
 * starts. Then the whole batch runs as ever: its answers are right. One table at a time.
 */
#ifndef ENSO_TESTS_STEP_TIMES_H
#define ENSO_TESTS_STEP_TIMES_H

#include "engine/backend.h"

#define STEP_TIMES_MOST_REPEATS 16 /* whose fault words take no more room than one step's */

struct step_time {
    const char *op; /* "MatMul" */
    char node[80];
    char dims[160]; /* "[128,768] [768,3072] -> [128,3072]" */
    double seconds;
};

/* The table to load a model with; as long as the process lives. */
const struct enso_backend *step_times_wrap(const struct enso_backend *backend);

/* Whether batches are measured that begin from now on: each step so many times, 2 or more; 0: no.
 */
void step_times_want(unsigned n_repeats);

/* Of the last batch that was measured. */
size_t step_times_get(const struct step_time **ret_times);

#endif
