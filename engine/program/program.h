/* SPDX-License-Identifier: Apache-2.0
 *
 * A program: a graph bound to a device. Every node has its kernel and its packed weights; the graph
 * and its constants are gone. Immutable once made, shared by count, safe from any thread.
 *
 *     st = enso_passes_run(graph, err);                              optional, once
 *     st = enso_program_create(backend, device, graph, &program, err);    the loader
 *     st = enso_context_create(program, &context, err);              one per lane (context.h)
 *     st = enso_context_run(context, lane, &extents, inputs, outputs, err);
 *     context = enso_context_destroy(context); program = enso_program_unref(program);
 *
 * Loading reads each weight once: bind takes it from the file in slices, and data that passes
 * folded in memory is freed as soon as its last reader is bound, so that a model is hardly ever
 * held twice.
 */
#ifndef ENSO_ENGINE_PROGRAM_PROGRAM_H
#define ENSO_ENGINE_PROGRAM_PROGRAM_H

#include "engine/backend.h"

struct enso_buffer;
struct enso_program; /* opaque */

/* An input or output as the graph names it. */
struct enso_program_io {
    const char *name;
    enum enso_dtype dtype;
    struct enso_shape shape;
    bool pixels; /* an input of pictures, which a batch may bring as bytes: U8 [N, H, W, C] */
};

/* Bind a graph, which is taken (also on failure). The device must outlive the program. Errors:
 * ENSO_UNSUPPORTED naming operator and node, what reading the weights says, ENSO_NO_MEMORY. */
int enso_program_create(const struct enso_backend *backend, struct enso_device *device,
                        struct enso_graph *graph, struct enso_program **ret_program,
                        struct enso_error *err) ENSO_MUST_CHECK;
struct enso_program *enso_program_ref(struct enso_program *program);
struct enso_program *enso_program_unref(struct enso_program *program); /* NULL is fine */

/* Facts, borrowed for the program's life. */
const char *enso_program_name(const struct enso_program *program); /* the graph's */
const struct enso_program_io *enso_program_inputs(const struct enso_program *program,
                                                  size_t *ret_n);
const struct enso_program_io *enso_program_outputs(const struct enso_program *program,
                                                   size_t *ret_n);
/* Bytes held for weights, packed ones and others. */
uint64_t enso_program_weight_bytes(const struct enso_program *program);
size_t enso_program_n_steps(const struct enso_program *program);
/* Dimension 0 of every input and every output is the number of items N: rows may be stacked. */
bool enso_program_is_batched(const struct enso_program *program);
/* Whether a run-time number shapes anything: ITEMS, TOKENS or SEQUENCES. */
bool enso_program_uses(const struct enso_program *program, enum enso_extent extent);
/* A hint from device and operators: a row's bits do not depend on what it is batched with. */
bool enso_program_is_batch_invariant(const struct enso_program *program);

/* Type, rank and dims of output i for a batch (data NULL). ENSO_TOO_LARGE when the size overflows.
 */
int enso_program_output_tensor(const struct enso_program *program, size_t i,
                               const struct enso_extents *extents, struct enso_tensor *ret_tensor,
                               struct enso_error *err);

/* Steps as text, for tests and ensod --check. */
void enso_program_dump(const struct enso_program *program, struct enso_buffer *b);

#endif
