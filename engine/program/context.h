/* SPDX-License-Identifier: Apache-2.0
 *
 * A context: what a lane needs to run one program again and again. It owns one arena, which grows
 * to the largest plan in use, a block of inputs and one of outputs for each slot of the lane, and
 * keeps the sixteen plans used last, by capacity rounded up to powers of two. A batch whose plan
 * exists allocates nothing.
 *
 *     enso_context_stage(c, lane, slot, &extents, inputs, err)     inputs[i].data: fill it
 *     enso_context_begin(c, lane, slot, inputs, wanted, &pace, err)
 *     ...                                                          other slots, other models
 *     enso_context_finish(c, lane, slot, outputs, &spent, err)
 *     outputs[i].data: read it before the slot's next stage
 *
 * One thread at a time, the lane's. For tests: with ENSO_ARENA_DEBUG in the environment when the
 * context is made, everything in a batch gets guarded memory of its own (guarded.h), on any device.
 */
#ifndef ENSO_ENGINE_PROGRAM_CONTEXT_H
#define ENSO_ENGINE_PROGRAM_CONTEXT_H

#include "engine/program/program.h"

struct enso_context; /* opaque */

/* Device memory of a context: what its arena, and each slot's inputs and outputs, come to. */
struct enso_context_need {
    size_t arena_bytes, input_bytes, output_bytes;
    size_t all_bytes; /* with every slot's */
};

int enso_context_create(struct enso_program *program, struct enso_context **ret_context,
                        struct enso_error *err) ENSO_MUST_CHECK;
/* The device has promised so much (backend.h) to the caller, who leaves it to the context: arena
 * and blocks each have their own part, so that one which grew beyond it takes nothing of another's.
 * Before the first batch. */
void enso_context_use_promise(struct enso_context *context,
                              const struct enso_context_need *promised);
/* No batch of it may be on the lane. Returns NULL. */
struct enso_context *enso_context_destroy(struct enso_context *context);

/* Get a free slot ready for a batch of these numbers, those that the program uses at least 1.
 * ENSO_NO_MEMORY, ENSO_TOO_LARGE; the slot stays free. */
int enso_context_prepare(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                         const struct enso_extents *extents,
                         struct enso_error *err) ENSO_MUST_CHECK;
/* The same, and give memory for the inputs from which they go to the device without another copy:
 * ret_inputs [n_inputs of the program], with type, dims and data. *extents comes back rounded up
 * where the device asks for that: the inputs have room for tokens and sequences of padding, behind
 * those of the batch, and the caller fills them too. Outputs will have the batch's own dims. */
int enso_context_stage(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                       struct enso_extents *extents, struct enso_tensor *ret_inputs,
                       struct enso_error *err) ENSO_MUST_CHECK;

/* Start the batch for which the slot was made ready.
 *   inputs   in the order of enso_program_inputs: type and dims exactly the program's for these
 *            extents (ENSO_INVALID, naming the input), data in host memory aligned to its elements:
 *            what stage gave, or the caller's own. On a device with ordinary memory that is read
 *            where it is and must stay until finish. An input of pictures may be bytes instead,
 *            U8 [N, H, W, C], also in the memory that stage gave for floats.
 *   wanted   in the order of enso_program_outputs
 *   pace     or NULL
 * The slot is free again when it fails. */
int enso_context_begin(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                       const struct enso_tensor *inputs, const bool *wanted,
                       const struct enso_pace *pace, struct enso_error *err) ENSO_MUST_CHECK;
/* Wait for it. ret_outputs [n_outputs of the program] get type, dims and, where wanted, data in
 * host memory, valid until the slot is made ready again. ret_spent may be NULL. The
 * slot is free afterwards, whatever happened. */
int enso_context_finish(struct enso_context *context, struct enso_lane *lane, unsigned slot,
                        struct enso_tensor *ret_outputs, struct enso_spent *ret_spent,
                        struct enso_error *err) ENSO_MUST_CHECK;

/* All of that at once in slot 0, for programs of at most so many outputs:
 *   outputs  host memory for the bytes that enso_program_output_tensor tells, or NULL where an
 *            output is not wanted
 * Nothing of inputs and outputs is kept. Content of outputs is undefined on failure. */
#define ENSO_CONTEXT_RUN_OUTPUTS 256
int enso_context_run(struct enso_context *context, struct enso_lane *lane,
                     const struct enso_extents *extents, const struct enso_tensor *inputs,
                     void *const *outputs, struct enso_error *err) ENSO_MUST_CHECK;

/* Device memory that a context holds once each of its slots has had a batch of these numbers, and
 * of smaller ones. */
int enso_context_need(struct enso_program *program, const struct enso_extents *extents,
                      struct enso_context_need *ret_need, struct enso_error *err) ENSO_MUST_CHECK;
/* Device memory the context holds now. */
size_t enso_context_bytes(const struct enso_context *context);
size_t enso_context_n_plans(const struct enso_context *context);

#endif
