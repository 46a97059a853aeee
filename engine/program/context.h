/* SPDX-License-Identifier: Apache-2.0
 *
 * A context: what a lane needs to run one program again and again. It owns one arena, which grows
 * to the largest plan in use, and keeps the sixteen plans used last, by capacity rounded up to
 * powers of two. A run whose plan exists allocates nothing.
 *
 * One thread at a time. For tests: with ENSO_ARENA_DEBUG in the environment when the context is
 * made, and a device whose memory is ordinary memory, every result gets memory of its own that ends
 * at a guard page and faults after its last reader has run.
 */
#ifndef ENSO_ENGINE_PROGRAM_CONTEXT_H
#define ENSO_ENGINE_PROGRAM_CONTEXT_H

#include "engine/program/program.h"

struct enso_context; /* opaque */

int enso_context_create(struct enso_program *program, struct enso_context **ret_context,
                        struct enso_error *err) ENSO_MUST_CHECK;
struct enso_context *enso_context_destroy(struct enso_context *context); /* returns NULL */

/* Run one batch.
 *   extents  the batch's numbers; those the program uses are at least 1
 *   inputs   in the order of enso_program_inputs, host memory, aligned to their elements; type and
 *            dims must be exactly the program's for these extents (ENSO_INVALID, naming the input)
 *   outputs  in the order of enso_program_outputs: host memory for the bytes that
 *            enso_program_output_tensor tells, or NULL where an output is not wanted
 * Nothing of inputs and outputs is kept. Content of outputs is undefined on failure. */
int enso_context_run(struct enso_context *context, struct enso_lane *lane,
                     const struct enso_extents *extents, const struct enso_tensor *inputs,
                     void *const *outputs, struct enso_error *err) ENSO_MUST_CHECK;

/* Device memory the context holds now. */
size_t enso_context_bytes(const struct enso_context *context);
size_t enso_context_n_plans(const struct enso_context *context);

#endif
