/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph: what every model becomes, whatever file it came from. Nodes (operator, attributes,
 * inputs, outputs) over values (type, shape with symbols, constant or computed). Formats and
 * architectures build it, passes rewrite it, a program binds it to a device.
 *
 *     struct enso_graph *g = enso_graph_create("mnist");
 *     int x = enso_graph_add_input(g, "image", ENSO_DTYPE_F32, &shape);
 *     int w = enso_graph_add_constant(g, "conv.weight", &constant);
 *     int node = enso_graph_add_node(g, ENSO_OP_CONV, "conv", (int[]){x, w}, 2, 1);
 *     enso_graph_set_ints(g, node, "pads", (int64_t[]){1, 1, 1, 1}, 4);
 *     enso_graph_add_output(g, "logits", enso_graph_node(g, node)->outputs[0]);
 *     enso_graph_infer(g, err)
 *
 * Invariants: value and node numbers are indices that stay valid for the graph's life (a removed
 * node keeps its number, with op ENSO_OP_NONE); every value has at most one producer; a node's
 * inputs may be ENSO_NO_VALUE where an optional input is absent. One owner, no threads.
 *
 * Errors while building: add and set functions return a negative enso_status (no memory, duplicate
 * name, number out of range) and the graph keeps the first of them: enso_graph_infer fails with
 * it. So a builder need not check each call, provided that it goes through infer (all calls on a
 * graph that failed are harmless, and their node and value numbers are not to be read).
 *
 * Symbols: a dimension is factor × extent. Extents are run-time numbers of a batch: N items of a
 * dense model, T tokens and B sequences of a ragged one. All other dimensions are plain numbers.
 * Ragged text: values "tokens", "positions", "segments" are I32 [T], "starts" is I32 [B+1]
 * (sequence b is tokens starts[b] .. starts[b+1]-1; starts[0] = 0). starts[B] = T, or less: tokens
 * from there on are padding and belong to no sequence. "attention_work" is I32 [T/64 + B, 2]: pairs
 * (sequence, number of its tile of 64 queries), the longest sequences first; (-1, -1) where the
 * tiles have come to an end.
 */
#ifndef ENSO_ENGINE_GRAPH_GRAPH_H
#define ENSO_ENGINE_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"

struct enso_weights_file; /* engine/formats/weights_file.h */

enum enso_extent {
    ENSO_EXTENT_FIXED = 0, /* the dimension is the factor itself */
    ENSO_EXTENT_ITEMS,     /* N */
    ENSO_EXTENT_TOKENS,    /* T */
    ENSO_EXTENT_SEQUENCES, /* B */
    ENSO_EXTENT_STARTS,    /* B + 1 */
    ENSO_EXTENT_WORK,      /* T / 64 + B, whole numbers: entries of the attention's work list */
    ENSO_N_EXTENTS
};

/* Tokens of a query tile in the attention's work list. */
#define ENSO_ATTENTION_TILE 64

/* The run-time numbers of one batch. */
struct enso_extents {
    int64_t n_items, n_tokens, n_sequences;
};

struct enso_dim {
    int64_t factor; /* >= 0 */
    enum enso_extent extent;
};

struct enso_shape {
    uint8_t rank;
    struct enso_dim dims[ENSO_MAX_RANK];
};

/* A piece of a stacked constant: its own file, place and stored type. */
struct enso_constant_part {
    struct enso_weights_file *file; /* borrowed for the graph's life (graph refs it) */
    uint64_t offset;
    enum enso_dtype stored;
};
#define ENSO_MAX_PARTS 3

/* Constant data: a slice of a file that is read when a device binds it, or bytes in memory, or
 * (n_parts > 0) equally large pieces of files stacked along dimension 0, so that query, key and
 * value are one weight without being copied together first. */
struct enso_constant {
    enum enso_dtype dtype;  /* as the graph sees it */
    enum enso_dtype stored; /* as the bytes are; a float type may be seen as F32, F16, BF16 */
    struct enso_weights_file *file; /* borrowed for the graph's life (graph refs it); NULL: data */
    uint64_t offset;                /* in the file */
    void *data;                     /* owned by the graph (enso_alloc) when file is NULL */
    uint8_t n_parts;                /* 0: file/offset/stored/data above count, else parts do */
    struct enso_constant_part parts[ENSO_MAX_PARTS];
    uint8_t rank;
    int64_t dims[ENSO_MAX_RANK];
};

#define ENSO_NO_VALUE (-1)

struct enso_value {
    const char *name; /* unique, never NULL; owned by the graph */
    enum enso_dtype dtype;
    bool has_shape; /* false until inferred */
    struct enso_shape shape;
    struct enso_constant *constant; /* NULL: input or computed */
    /* Known content of a small integer tensor, perhaps with symbols in it (Shape arithmetic), else
     * NULL: inference keeps one enso_dim per element here (a fixed one may be negative). Set for
     * small integer constants too. Owned by the graph. */
    struct enso_dim *known;
    int producer; /* node, or -1 for inputs and constants */
};

enum enso_attribute_kind {
    ENSO_ATTR_INT,
    ENSO_ATTR_FLOAT,
    ENSO_ATTR_STRING,
    ENSO_ATTR_INTS,
    ENSO_ATTR_FLOATS
};

struct enso_attribute {
    const char *name;
    enum enso_attribute_kind kind;
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    const float *floats;
    size_t n; /* of ints or floats */
};

struct enso_node {
    enum enso_op op;
    const char *name;      /* as the file has it, for error messages; may be "" */
    int *inputs, *outputs; /* change through enso_graph_set_input and the like only */
    uint16_t n_inputs, n_outputs;
    struct enso_attribute *attributes;
    size_t n_attributes;
};

struct enso_graph; /* opaque */

/* life cycle */
struct enso_graph *enso_graph_create(const char *name) ENSO_MUST_CHECK; /* NULL: no memory */
void enso_graph_destroy(struct enso_graph *g);

/* Whoever binds the graph shall choose kernels whose bits for an item do not depend on its batch
 * (all of them can; where it costs nothing they do so anyway). */
void enso_graph_want_batch_invariant(struct enso_graph *g);
bool enso_graph_wants_batch_invariant(const struct enso_graph *g);

/* First failure of an add or set function, ENSO_OK when there was none. */
enum enso_status enso_graph_status(const struct enso_graph *g);

/* building; each returns the new number or a negative status (no memory, duplicate name) */
int enso_graph_add_input(struct enso_graph *g, const char *name, enum enso_dtype dtype,
                         const struct enso_shape *shape);
/* Copies *c; takes c->data (also on failure), refs c->file. */
int enso_graph_add_constant(struct enso_graph *g, const char *name, const struct enso_constant *c);
/* A value yet without producer, for formats in which nodes refer by name. */
int enso_graph_add_value(struct enso_graph *g, const char *name);
/* New node with n_outputs fresh values ("name:0"...). */
int enso_graph_add_node(struct enso_graph *g, enum enso_op op, const char *name, const int *inputs,
                        size_t n_inputs, size_t n_outputs);
/* The same with given output values, which must not have a producer. */
int enso_graph_add_node_to(struct enso_graph *g, enum enso_op op, const char *name,
                           const int *inputs, size_t n_inputs, const int *outputs,
                           size_t n_outputs);
int enso_graph_add_output(struct enso_graph *g, const char *name, int value);

int enso_graph_set_int(struct enso_graph *g, int node, const char *name, int64_t i);
int enso_graph_set_float(struct enso_graph *g, int node, const char *name, float f);
int enso_graph_set_string(struct enso_graph *g, int node, const char *name, const char *s);
int enso_graph_set_ints(struct enso_graph *g, int node, const char *name, const int64_t *v,
                        size_t n);
int enso_graph_set_floats(struct enso_graph *g, int node, const char *name, const float *v,
                          size_t n);

/* reading; pointers are borrowed until the graph is next changed */
const char *enso_graph_name(const struct enso_graph *g);
size_t enso_graph_n_nodes(const struct enso_graph *g);
size_t enso_graph_n_values(const struct enso_graph *g);
struct enso_node *enso_graph_node(const struct enso_graph *g, int node);
struct enso_value *enso_graph_value(const struct enso_graph *g, int value);
int enso_graph_find_value(const struct enso_graph *g, const char *name); /* or ENSO_NO_VALUE */
size_t enso_graph_n_inputs(const struct enso_graph *g);
size_t enso_graph_n_outputs(const struct enso_graph *g);
int enso_graph_input(const struct enso_graph *g, size_t i);  /* value number */
int enso_graph_output(const struct enso_graph *g, size_t i); /* value number */
const char *enso_graph_output_name(const struct enso_graph *g, size_t i);

/* Attributes, with the default when absent. The pointer forms give NULL and n = 0 when absent. */
int64_t enso_node_int(const struct enso_node *n, const char *name, int64_t otherwise);
float enso_node_float(const struct enso_node *n, const char *name, float otherwise);
const char *enso_node_string(const struct enso_node *n, const char *name, const char *otherwise);
const int64_t *enso_node_ints(const struct enso_node *n, const char *name, size_t *ret_n);
const float *enso_node_floats(const struct enso_node *n, const char *name, size_t *ret_n);
bool enso_node_has(const struct enso_node *n, const char *name);

/* uses: how many node inputs and graph outputs refer to a value */
size_t enso_graph_n_uses(const struct enso_graph *g, int value);
bool enso_graph_is_output(const struct enso_graph *g, int value);
bool enso_graph_is_input(const struct enso_graph *g, int value);
/* The node that is the one and only use of a value; -1 when there are more, none, or an output. */
int enso_graph_sole_user(const struct enso_graph *g, int value);
/* The i-th node that reads a value (in no order, a node once per input); -1 past the end. */
int enso_graph_user(const struct enso_graph *g, int value, size_t i);

/* rewriting, for passes; replace_uses and remove_node cannot fail */
void enso_graph_replace_uses(struct enso_graph *g, int old_value, int new_value); /* outputs too */
void enso_graph_remove_node(struct enso_graph *g, int node); /* its outputs lose their producer */
void enso_graph_set_input(struct enso_graph *g, int node, size_t input, int value);
void enso_graph_set_op(struct enso_graph *g, int node, enum enso_op op);
void enso_graph_remove_attribute(struct enso_graph *g, int node, const char *name);
/* Put a fresh value in place of output i, so that another node can produce the old one: gives the
 * old value's number, which has no producer now. */
int enso_graph_detach_output(struct enso_graph *g, int node, size_t output);
/* Copy all attributes; on failure the graph's status tells. */
int enso_graph_copy_attributes(struct enso_graph *g, int from_node, int to_node);
/* Free the data of a constant (its file reference too) that nobody will read any more. */
void enso_graph_release_constant(struct enso_graph *g, int value);

/* Order of nodes in which producers come first, removed ones left out; *ret_order has
 * *ret_n entries, released with enso_free. ENSO_CORRUPT naming a node of the cycle if there is
 * one, or naming a value that is read and never made. */
int enso_graph_sort(const struct enso_graph *g, int **ret_order, size_t *ret_n,
                    struct enso_error *err);

/* Infer types and shapes of all values in order (engine/ops), refusing what does not fit together
 * with an error that names operator and node. */
int enso_graph_infer(struct enso_graph *g, struct enso_error *err);

/* Read n elements from `first` on, in the constant's graph type (conversion included). */
int enso_constant_read(const struct enso_constant *c, int64_t first, int64_t n, void *dst,
                       struct enso_error *err);
int64_t enso_constant_count(const struct enso_constant *c);

/* One line per node with types and shapes, in order; for tests and ensod --check. Appends; see
 * enso_buffer for failure. */
struct enso_buffer;
void enso_graph_dump(const struct enso_graph *g, struct enso_buffer *b);
/* "[N, 3, 224, 224]": 2N for factor 2; "?" without shape. */
void enso_shape_print(const struct enso_shape *shape, struct enso_buffer *b);

static inline struct enso_dim enso_dim_fixed(int64_t n)
{
    return (struct enso_dim){n, ENSO_EXTENT_FIXED};
}
int64_t enso_dim_at(struct enso_dim d, const struct enso_extents *e); /* INT64_MAX on overflow */
bool enso_dim_equal(struct enso_dim a, struct enso_dim b);

#endif
