/* SPDX-License-Identifier: Apache-2.0
 *
 * A backend of toy kernels, for tests of passes' plumbing, programs and plans: every operator gives
 * an F32 output in which each element depends on all inputs, elementwise ones on the right
 * elements, so that wrong memory shows. It computes nothing sensible. Weights (constants of rank
 * two and more) are packed, other constants are read from the device at run time.
 */
#ifndef ENSO_TESTS_ENGINE_GRAPH_FAKE_BACKEND_H
#define ENSO_TESTS_ENGINE_GRAPH_FAKE_BACKEND_H

#include "engine/backend.h"

const struct enso_backend *fake_backend(void); /* ordinary memory */
/* Memory that pretends to be elsewhere; two slots, batches run as late as they may. */
const struct enso_backend *fake_remote_backend(void);

/* What is bound, open and allocated now, all backends together; and runs of a step, copies of a
 * batch's record or outputs, drains, tokens of padding; the size of each slot's newest copy of
 * outputs. */
struct fake_counts {
    int bound, lanes, devices, blocks;
    long steps, copies, drains, padding_tokens, down_bytes[ENSO_MAX_SLOTS];
};
extern struct fake_counts fake_counts;

/* What every begin or finish gives; ENSO_OK: they work. */
extern enum enso_status fake_fail_begin, fake_fail_finish;

/* Compute a graph without program or plan: outputs[i] gets memory from malloc. The graph must be
 * inferred. */
void fake_reference(const struct enso_graph *g, const struct enso_extents *e,
                    const struct enso_tensor *inputs, float **outputs);

#endif
