/* SPDX-License-Identifier: Apache-2.0
 *
 * The standard list with the CPU backend's kernels for folding; a file of its own, so that tests of
 * passes need no kernels.
 */
#include "engine/passes/passes.h"

int enso_passes_run(struct enso_graph *g, struct enso_error *err)
{
    return enso_passes_run_on(g, enso_backend_cpu(), err);
}
