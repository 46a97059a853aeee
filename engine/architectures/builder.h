/* SPDX-License-Identifier: Apache-2.0
 *
 * What the architectures share: a graph under construction, the folder's weights, and one sticky
 * error, so that a network reads like its paper and is checked once at the end.
 *
 *     int w = enso_builder_weight(b, 2, (int64_t[]){n, k}, "%s.weight", name);
 *     x = enso_builder_linear(b, name, x, n, k, ENSO_NO_VALUE, ENSO_ACTIVATION_GELU);
 *     ...
 *     return enso_builder_status(b);
 *
 * After the first failure every call returns ENSO_NO_VALUE and does nothing. One owner, no threads.
 */
#ifndef ENSO_ENGINE_ARCHITECTURES_BUILDER_H
#define ENSO_ENGINE_ARCHITECTURES_BUILDER_H

#include <jansson.h>

#include "base/error.h"
#include "engine/formats/safetensors.h"
#include "engine/graph/graph.h"

struct enso_builder {
    struct enso_graph *graph;               /* borrowed */
    const struct enso_safetensors *weights; /* borrowed */
    const json_t *config;                   /* borrowed: config.json */
    char prefix[64];                        /* in front of tensor names: "bert." or "" */
    char scope[64]; /* in front of the graph's names alone: keeps two files' tensors apart */
    int status;     /* sticky */
    struct enso_error *err;
};

/* True when the folder has the tensor (prefix added). */
bool enso_builder_has(const struct enso_builder *b, const char *format, ...) ENSO_PRINTF(2, 3);

/* A weight of exactly these dims, seen as F32; missing or of other shape is an error. */
int enso_builder_weight(struct enso_builder *b, size_t rank, const int64_t *dims,
                        const char *format, ...) ENSO_PRINTF(4, 5);

/* Self-attention of a block: q, k and v projections "<block>.<names[i]>" (weight and bias, each
 * hidden × hidden) as one stacked linear, then ragged attention over starts and work list. Gives
 * [T, hidden]. */
int enso_builder_attention(struct enso_builder *b, const char *block, const char *const names[3],
                           int x, int starts, int work, int64_t hidden, int64_t n_heads);

/* y = act(x W^T + b + residual), W = "<name>.weight" [n_out, n_in], b = "<name>.bias". */
int enso_builder_linear(struct enso_builder *b, const char *name, int x, int64_t n_out,
                        int64_t n_in, int residual, enum enso_activation activation);
/* The same from values. bias and residual may be ENSO_NO_VALUE. */
int enso_builder_linear_of(struct enso_builder *b, const char *name, int x, int weight, int bias,
                           int residual, enum enso_activation activation);

/* Layer norm of x + residual with "<name>.weight|bias" (or the old "gamma|beta") of size n. */
int enso_builder_layer_norm(struct enso_builder *b, const char *name, int x, int residual,
                            int64_t n, float epsilon);
/* The two vectors of a layer norm. */
void enso_builder_norm_weights(struct enso_builder *b, const char *name, int64_t n, int *ret_gamma,
                               int *ret_beta);

/* A one-output node; the node number goes to *ret_node when not NULL. */
int enso_builder_node(struct enso_builder *b, enum enso_op op, const char *name, const int *inputs,
                      size_t n_inputs, int *ret_node);
void enso_builder_set_int(struct enso_builder *b, int node, const char *name, int64_t i);
void enso_builder_set_float(struct enso_builder *b, int node, const char *name, float f);
void enso_builder_set_string(struct enso_builder *b, int node, const char *name, const char *s);

/* Graph inputs of ragged text: I32 [extent], or I32 [extent, n_columns] for n_columns > 1. */
int enso_builder_ragged_input(struct enso_builder *b, const char *name, enum enso_extent extent,
                              int64_t n_columns);

/* config.json's whole number, in [min, max]; `otherwise` < 0 makes it required. */
int64_t enso_builder_config_int(struct enso_builder *b, const char *key, int64_t min, int64_t max,
                                int64_t otherwise);
double enso_builder_config_float(struct enso_builder *b, const char *key, double otherwise);
/* "gelu", "relu", ...: config.json's activation; unknown ones are ENSO_UNSUPPORTED. */
enum enso_activation enso_builder_config_activation(struct enso_builder *b, const char *key);

int enso_builder_fail(struct enso_builder *b, enum enso_status status, const char *format, ...)
    ENSO_PRINTF(3, 4); /* always ENSO_NO_VALUE */

#endif
