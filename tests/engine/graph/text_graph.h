/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs from a few lines of text, for tests. One statement a line:
 *
 *     input x f32[N, 3, 8, 8]
 *     const w f32[4, 3, 3, 3]            random numbers that depend on the name
 *     const s i64[2] = -1 48             one number alone fills the whole
 *     y = Conv(x, w, -) pads=[1, 1, 1, 1] group=1 auto_pad="VALID" alpha=0.5
 *     a, b = Split(y) axis=1
 *     output y
 *
 * Symbols N, T, B and B+1 may carry a factor (2N). "-" is an absent input. A number with a point is
 * a float attribute, without one an int. A node is named like its first output.
 */
#ifndef ENSO_TESTS_ENGINE_GRAPH_TEXT_GRAPH_H
#define ENSO_TESTS_ENGINE_GRAPH_TEXT_GRAPH_H

#include "engine/graph/graph.h"

/* Aborts on a text that it cannot read; gives a graph whose status may be a failure (no memory), or
 * NULL when there was none for a constant's data. */
struct enso_graph *text_graph(const char *text);

/* The dump of a graph; release with free. */
char *text_dump(const struct enso_graph *g);

/* Number of nodes of an operator, removed ones left out. */
size_t text_count(const struct enso_graph *g, enum enso_op op);
/* All nodes. */
size_t text_count_all(const struct enso_graph *g);

/* Turn the half type of a lowered graph into F32 everywhere: constants, casts, attributes "dtype".
 * What it computes then is what it computed before it was lowered. */
void text_raise(struct enso_graph *g, enum enso_dtype dtype);

#endif
