/* SPDX-License-Identifier: Apache-2.0
 *
 * What passes share: looking at neighbours and constants, and swapping nodes.
 */
#ifndef ENSO_ENGINE_PASSES_PASS_INTERNAL_H
#define ENSO_ENGINE_PASSES_PASS_INTERNAL_H

#include "engine/graph/graph.h"
#include "engine/ops/infer.h"

/* Call visit for every node in order of execution; nodes that it removes or adds are fine (added
 * ones are not visited). visit sets *changed. Afterwards, if anything changed, shapes are inferred
 * anew. */
typedef int (*enso__visit_fn)(struct enso_graph *g, int node, bool *changed,
                              struct enso_error *err);
int enso__pass_walk(struct enso_graph *g, enso__visit_fn visit, bool *ret_changed,
                    struct enso_error *err);

/* The node of that operator that makes a value, or -1. */
int enso__pass_producer(const struct enso_graph *g, int value, enum enso_op op);
/* Input i of a node, or ENSO_NO_VALUE. */
int enso__pass_input(const struct enso_graph *g, int node, size_t i);
/* Output 0 of a node. */
int enso__pass_output(const struct enso_graph *g, int node);
bool enso__pass_is_constant(const struct enso_graph *g, int value);
/* A constant of one element, as a float; false when it is none. */
bool enso__pass_scalar(const struct enso_graph *g, int value, float *ret);
/* The same, and near enough to x (1e-4 relative: exporters write constants in few digits). */
bool enso__pass_is_near(const struct enso_graph *g, int value, float x);
/* For a commutative node: the other input when one is a scalar near x, else ENSO_NO_VALUE. */
int enso__pass_other_than(const struct enso_graph *g, int node, float x);
/* The input of a two-input node that is not `value`; ENSO_NO_VALUE when neither is. */
int enso__pass_other_input(const struct enso_graph *g, int node, int value);
/* The fixed size of a value's dimension (negative counts from the end), or -1. */
int64_t enso__pass_dim(const struct enso_graph *g, int value, int axis);
bool enso__pass_same_shape(const struct enso_graph *g, int a, int b);

/* Read a whole F32 constant; the caller frees. NULL: err says why. */
float *enso__pass_read(const struct enso_graph *g, int value, struct enso_error *err);
/* A new constant with a free name made from `stem`; takes c->data (also on failure). */
int enso__pass_add_constant(struct enso_graph *g, const char *stem, const struct enso_constant *c);
/* A new F32 constant named after `stem`; takes data (also on failure). */
int enso__pass_add_f32(struct enso_graph *g, const char *stem, float *data, const int64_t *dims,
                       size_t rank);
/* A new I64 list constant. */
int enso__pass_add_ints(struct enso_graph *g, const char *stem, const int64_t *v, size_t n);
/* A constant over the same bytes with other dims (files are shared, memory is copied). */
int enso__pass_view_constant(struct enso_graph *g, int value, const struct enso_shape *shape,
                             enum enso_dtype dtype);

/* Whether a constant, broadcast against `rank` dimensions, holds one number for each of n entries
 * of `axis` (or one for all). */
bool enso__pass_is_per_channel(const struct enso_graph *g, int value, size_t rank, size_t axis,
                               int64_t n);
/* Those n numbers; the caller frees. NULL: err says why. */
float *enso__pass_read_channels(const struct enso_graph *g, int value, int64_t n,
                                struct enso_error *err);
/* A constant [n] of them: the value itself when it is one already. Negative on failure. */
int enso__pass_channel_vector(struct enso_graph *g, int value, int64_t n, struct enso_error *err);

/* Put an activation node's function into the attributes of a LINEAR or CONV_FUSED that has none;
 * false when it is no such activation. */
bool enso__pass_set_activation(struct enso_graph *g, int target, int activation);

/* A node of one fresh output, inferred; gives that value, or a negative status. */
int enso__pass_add(struct enso_graph *g, enum enso_op op, const char *name, const int *inputs,
                   size_t n_inputs, struct enso_error *err);
/* Replace a node by a new one that makes its (only) output and has its name; the old one's other
 * attributes are not copied. Gives the new node, or a negative status. */
int enso__pass_replace(struct enso_graph *g, int node, enum enso_op op, const int *inputs,
                       size_t n_inputs);
/* Let readers of a node's output read `value` instead, and remove the node. */
void enso__pass_bypass(struct enso_graph *g, int node, int value);
/* ENSO_OK, or the graph's first building failure as an error. */
int enso__pass_status(const struct enso_graph *g, struct enso_error *err);

#endif
