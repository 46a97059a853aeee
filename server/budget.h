/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon-wide budget of memory for requests: bodies, JSON trees, pixels, answers. One counter
 * that everybody takes from and gives back to, so that many clients together cannot use up the
 * machine although each stays within its own limits.
 *
 *     if (!enso_budget_take(budget, size))
 *         ... 503 with Retry-After ...
 *     enso_budget_give(budget, size);
 *
 * Safe from any thread: relaxed atomics, since the counter orders nothing but itself. A NULL budget
 * has no limit and counts nothing.
 */
#ifndef ENSO_SERVER_BUDGET_H
#define ENSO_SERVER_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct enso_budget;

/* limit_bytes 0 = no limit, only counting. NULL when out of memory. */
struct enso_budget *enso_budget_create(size_t limit_bytes) ENSO_MUST_CHECK;
void enso_budget_destroy(struct enso_budget *budget); /* everything should have been given back */

/* False, and nothing taken, when it would go over the limit; counted in enso_budget_refused. */
bool enso_budget_take(struct enso_budget *budget, size_t bytes) ENSO_MUST_CHECK;

/* Take whatever the limit says: for what exists already (an answer that is being sent). */
void enso_budget_charge(struct enso_budget *budget, size_t bytes);

void enso_budget_give(struct enso_budget *budget, size_t bytes);

/* Gauges for the metrics page. */
size_t enso_budget_used(const struct enso_budget *budget);
size_t enso_budget_limit(const struct enso_budget *budget);
uint64_t enso_budget_refused(const struct enso_budget *budget); /* takes that failed, ever */

#endif
