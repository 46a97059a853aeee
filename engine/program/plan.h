/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan: where in the arena each intermediate result of a program lies, for batches up to a
 * capacity, and how large the blocks are in which its inputs and outputs travel. Made from
 * liveness: a result holds its place from the step that makes it to the last that reads it; views
 * share their input's place, elementwise operators write over an input that nobody reads again.
 * Immutable, one owner; holds a reference to its program.
 */
#ifndef ENSO_ENGINE_PROGRAM_PLAN_H
#define ENSO_ENGINE_PROGRAM_PLAN_H

#include "engine/program/program.h"

struct enso_plan; /* opaque */

/* ENSO_TOO_LARGE when some tensor of that capacity cannot be addressed, ENSO_NO_MEMORY. */
int enso_plan_create(struct enso_program *program, const struct enso_extents *capacity,
                     struct enso_plan **ret_plan, struct enso_error *err) ENSO_MUST_CHECK;
void enso_plan_destroy(struct enso_plan *plan); /* NULL is fine */

/* Device memory a run needs, workspace included; multiple of 64. */
size_t enso_plan_arena_bytes(const struct enso_plan *plan);
const struct enso_extents *enso_plan_capacity(const struct enso_plan *plan);

/* Steps with places as text. */
void enso_plan_dump(const struct enso_plan *plan, struct enso_buffer *b);

#endif
