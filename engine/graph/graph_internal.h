/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of engine/graph share: how a graph is kept.
 *
 * Nodes, values and names live in one arena and die with the graph; arrays of pointers to them make
 * numbers stable. Every node input that names a value is a link in that value's list of uses, so
 * that replacing a value costs its uses and allocates nothing. Names are found through a hash
 * table. Built for graphs of tens to ten thousands of nodes.
 */
#ifndef ENSO_ENGINE_GRAPH_GRAPH_INTERNAL_H
#define ENSO_ENGINE_GRAPH_GRAPH_INTERNAL_H

#include "base/memory.h"
#include "engine/graph/graph.h"

/* Numbers are int and stay far from its limits. */
#define ENSO__GRAPH_MAX (1 << 24)

struct enso__use {
    int node;
    struct enso__use *next, **link; /* link: what points here; NULL while unlinked */
};

struct enso__node {
    struct enso_node node;  /* first, so that a pointer to it is a pointer to this */
    struct enso__use *uses; /* [n_inputs] */
    size_t attribute_capacity;
};

struct enso__value {
    struct enso_value value; /* first */
    struct enso__use *uses;  /* list of node inputs, newest first */
    size_t n_uses;           /* of nodes; graph outputs are not counted here */
};

struct enso__output {
    const char *name;
    int value;
};

struct enso_graph {
    struct enso_arena arena;
    const char *name;
    enum enso_status status; /* first failure while building */
    struct enso__node **nodes;
    size_t n_nodes, node_capacity;
    struct enso__value **values;
    size_t n_values, value_capacity;
    int *inputs;
    size_t n_inputs, input_capacity;
    struct enso__output *outputs;
    size_t n_outputs, output_capacity;
    int *table;        /* open addressing, value number + 1; 0 = free */
    size_t table_size; /* a power of two, at least twice n_values */
    bool wants_batch_invariant;
};

/* Note a failure for enso_graph_status and give it back. */
int enso__graph_fail(struct enso_graph *g, enum enso_status status);

/* Let go of what a constant owns (data, file references). */
void enso__constant_done(struct enso_constant *c);

#endif
