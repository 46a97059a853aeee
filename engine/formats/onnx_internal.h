/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to the ONNX loader: the state of one load and what its files call of each other. onnx.c
 * reads the file and lays out values, onnx_tensor.c makes constants of tensors, onnx_node.c turns
 * nodes into nodes of the graph, onnx_function.c those that are no operators of ensod but consist
 * of some. One thread, one load.
 */
#ifndef ENSO_ENGINE_FORMATS_ONNX_INTERNAL_H
#define ENSO_ENGINE_FORMATS_ONNX_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/formats/onnx.h"
#include "engine/formats/onnx_skeleton.pb-c.h"
#include "engine/graph/graph.h"

struct enso_weights_file;

/* An output that ensod does not compute (MaxPool's indices): an error only if somebody reads it. */
struct enso__onnx_missing {
    const char *value, *op; /* borrowed from the model */
};

struct enso__onnx_external {
    const char *location; /* borrowed from the model */
    struct enso_weights_file *file;
};

/* A Softmax of before opset 13, which works on all axes from `axis` on as one. What that is in
 * today's form is known when the shapes are. */
struct enso__onnx_softmax {
    int node;
    int64_t axis;
};

struct enso__onnx {
    const char *path;
    struct enso_weights_file *file;
    const struct enso_onnx_options *options; /* never NULL */
    const Enso__Onnx__Model *model;
    int64_t opset;
    struct enso_graph *graph;
    struct enso__onnx_external *externals;
    size_t n_externals;
    struct enso__onnx_missing *missing;
    size_t n_missing;
    struct enso__onnx_softmax *softmaxes;
    size_t n_softmaxes;
    size_t n_made;  /* values that the file does not have: for their names */
    size_t n_early; /* inferences before the graph was whole */
    struct enso_error *err;
};

/* A node of the file while it is turned into nodes of the graph. */
struct enso__onnx_node {
    struct enso__onnx *o;
    const Enso__Onnx__Node *file;
    const char *name;   /* never NULL */
    int *in, *out;      /* value numbers or ENSO_NO_VALUE; `in` has room for 4 more */
    size_t n_in, n_out; /* without absent ones at the end */
};

/* --- onnx_tensor.c ------------------------------------------------------------------------- */

/* The types for an ONNX element type, as stored and as the graph sees it (floats become F32);
 * false when ensod has none. */
bool enso__onnx_dtype(int32_t onnx, enum enso_dtype *ret_stored, enum enso_dtype *ret_seen);
/* "FLOAT8E5M2" for 19; for sentences. */
const char *enso__onnx_dtype_name(int32_t onnx);

/* What a tensor says, checked: type, dims, and its content as a place in a file or in memory that
 * becomes the caller's (to enso_free, or to give to the graph). On failure `what` ("initializer
 * 'w'") is in the sentence. */
enum enso_status enso__onnx_constant(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                     const char *what, struct enso_constant *ret_constant);

/* --- onnx_node.c --------------------------------------------------------------------------- */

/* Whether ensod has the operator in some form. */
bool enso__onnx_op_known(const char *op_type);
/* How many of an operator's outputs are computed. */
size_t enso__onnx_n_outputs(const Enso__Onnx__Node *node);
/* Adds what a node of the file amounts to; Constant nodes are no affair of it. */
enum enso_status enso__onnx_add_node(struct enso__onnx *o, const Enso__Onnx__Node *node);
/* After inference: brings the Softmaxes of old opsets to today's form; true in *ret_changed when
 * the graph must be inferred again. */
enum enso_status enso__onnx_settle_softmaxes(struct enso__onnx *o, bool *ret_changed);

/* An attribute of the kind (AttributeProto.type), NULL when absent. */
const Enso__Onnx__Attribute *enso__onnx_attribute(const struct enso__onnx_node *n, const char *name,
                                                  int type);
int64_t enso__onnx_int(const struct enso__onnx_node *n, const char *name, int64_t otherwise);
float enso__onnx_float(const struct enso__onnx_node *n, const char *name, float otherwise);

/* New values of the graph; failures stay in the graph's status, the result is then ENSO_NO_VALUE
 * or harmless. Constants: a vector of I64, a scalar, `data` of a type and dims (copied). */
int enso__onnx_ints(struct enso__onnx *o, const int64_t *v, size_t n);
int enso__onnx_scalar(struct enso__onnx *o, float v);
int enso__onnx_data(struct enso__onnx *o, enum enso_dtype dtype, const int64_t *dims, size_t rank,
                    const void *data);
/* A value whose type and shape are known, inferring what is there of the graph if need be; NULL
 * when they cannot be known yet (a node that comes later in the file makes it). */
const struct enso_value *enso__onnx_known(struct enso__onnx *o, int value);
/* A node with one output, and that output's number. */
int enso__onnx_emit(struct enso__onnx_node *n, enum enso_op op, const int *in, size_t n_in);
/* A node that makes output i of the file's node; its number. Nothing when that is absent. */
int enso__onnx_emit_to(struct enso__onnx_node *n, size_t i, enum enso_op op, const int *in,
                       size_t n_in);
/* ENSO_UNSUPPORTED naming the operator and why; the node's name is put in front later. */
enum enso_status enso__onnx_unsupported(struct enso__onnx_node *n, const char *why);

/* --- onnx_function.c ----------------------------------------------------------------------- */

typedef enum enso_status (*enso__onnx_fn)(struct enso__onnx_node *n);
/* The function that builds an operator out of others; NULL when there is none of that name. */
enso__onnx_fn enso__onnx_function(const char *op_type);

#endif
