/* SPDX-License-Identifier: Apache-2.0
 *
 * What operators say about shapes, for those outside engine/ops: the inference of one node, and
 * readers for parameters that are either attributes or small known inputs. Kernels use the readers
 * when they bind. No state; one graph, one owner.
 */
#ifndef ENSO_ENGINE_OPS_INFER_H
#define ENSO_ENGINE_OPS_INFER_H

#include "engine/graph/graph.h"

/* Infer types and shapes (and known content) of a node's outputs from its inputs, which must have
 * theirs. Errors name node, operator and shapes. */
int enso_graph_infer_node(struct enso_graph *g, int node, struct enso_error *err);

/* Integers of a value whose content is known at plan time (a constant, or Shape arithmetic without
 * symbols): at most `max` of them. ENSO_UNSUPPORTED naming the value when they are not known or
 * more. */
int enso_graph_read_ints(const struct enso_graph *g, int value, int64_t *dst, size_t max,
                         size_t *ret_n, struct enso_error *err);

/* Axes of a reduction, Squeeze or Unsqueeze: from input 1, else from attribute "axes", brought to
 * 0 <= axis < rank and ascending, each once. *ret_n is 0 when none are given (what that means is
 * the operator's affair). rank is that of the tensor the axes count in. */
int enso_graph_node_axes(const struct enso_graph *g, int node, size_t rank,
                         int64_t axes[ENSO_MAX_RANK], size_t *ret_n, struct enso_error *err);

#endif
