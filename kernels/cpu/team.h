/* SPDX-License-Identifier: Apache-2.0
 *
 * A lane's team of threads: the caller and n - 1 workers share loops by claiming chunks from one
 * atomic counter. No OpenMP: a team costs nothing while idle, and a core shared with another
 * process slows it in proportion instead of stalling every barrier (measured: spinning barriers
 * lose a factor of ten there, static cuts 1.2-1.3x).
 *
 *     struct enso_team *team;
 *     st = enso_team_create(2, &team, err);
 *     enso_team_run(team, n_rows, 16, scale_rows, &args);   (calls scale_rows on pieces of [0, n))
 *     enso_team_destroy(team);
 *
 * Threads: run is called by one thread at a time, the lane's. Workers block all signals. A worker
 * that found no work for about 30 µs sleeps on a futex until the next run.
 */
#ifndef ENSO_KERNELS_CPU_TEAM_H
#define ENSO_KERNELS_CPU_TEAM_H

#include <stddef.h>

#include "base/error.h"

#define ENSO_TEAM_MAX 256

struct enso_team;

/* Work on [first, last); thread is 0 (the caller) .. size - 1: an index into per-thread scratch. */
typedef void (*enso_team_fn)(void *arg, size_t first, size_t last, unsigned thread);

/* n_threads 1..ENSO_TEAM_MAX, the caller included; with 1 no thread is made. ENSO_NO_MEMORY,
 * ENSO_IO when the system refuses threads. */
int enso_team_create(unsigned n_threads, struct enso_team **ret_team,
                     struct enso_error *err) ENSO_MUST_CHECK;
/* Ends and joins the workers; NULL is fine. */
void enso_team_destroy(struct enso_team *team);

/* Threads including the caller; 1 for NULL. */
unsigned enso_team_size(const struct enso_team *team);

/* Call fn on pieces of [0, n), each of at most `grain` (>= 1) items, and return when all are
 * done. Which thread takes which piece is open, so fn's results must not depend on it. fn must not
 * call run. team NULL: everything on the caller. One piece or one thread: fn is called directly. */
void enso_team_run(struct enso_team *team, size_t n, size_t grain, enso_team_fn fn, void *arg);

/* min(processors this process may run on, ceil(the control groups' cpu quota)), at least 1. */
unsigned enso_team_default_size(void);

#endif
