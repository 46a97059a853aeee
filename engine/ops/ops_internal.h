/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of engine/ops share: the table's row, and the small language in which inference
 * functions are written. An inference function looks at a node whose inputs have types and shapes,
 * checks them and its attributes, and gives every output its own with enso__op_out. It also brings
 * attributes to their explicit form (pads for auto_pad) so that kernels find numbers only.
 */
#ifndef ENSO_ENGINE_OPS_OPS_INTERNAL_H
#define ENSO_ENGINE_OPS_OPS_INTERNAL_H

#include "engine/graph/graph.h"
#include "engine/ops/infer.h"

/* One node under inference. */
struct enso__infer {
    struct enso_graph *g;
    int number;
    const struct enso_node *node;
    struct enso_error *err;
};

typedef int (*enso__infer_fn)(struct enso__infer *c);

#define ENSO__ANY_NUMBER 0xFFFF

struct enso__op_row {
    uint16_t min_inputs, max_inputs, min_outputs, max_outputs;
    enum enso_op_kind kind;
    bool in_place;
    enso__infer_fn infer;
};
extern const struct enso__op_row enso__op_table[ENSO_N_OPS];

/* Known content is kept for tensors of at most this many elements. */
#define ENSO__MAX_KNOWN 64

/* ---- reading ---- */

/* The i-th input, NULL when absent. */
const struct enso_value *enso__op_in(const struct enso__infer *c, size_t i);
/* Known content of input i (n = its elements), or NULL. */
const struct enso_dim *enso__op_known(const struct enso__infer *c, size_t i, size_t *ret_n);
/* Fixed integers of input i; error naming it when they are not known at plan time. */
int enso__op_ints(struct enso__infer *c, size_t i, int64_t *dst, size_t max, size_t *ret_n);
/* Floats of input i that are known when the model is loaded: a constant of at most `max`, or made
 * of constants and of known sizes by casts, views, joining and arithmetic (floats.c). *ret_known is
 * false when they are not. Fails only where a constant cannot be read. */
int enso__op_floats(struct enso__infer *c, size_t i, float *dst, size_t max, size_t *ret_n,
                    bool *ret_known);
/* Attribute or input axis brought to 0 <= axis < rank. */
int enso__op_axis(struct enso__infer *c, int64_t axis, size_t rank, size_t *ret_axis);
/* Input i, when present, is a parameter (weight, bias, gamma, table) of activations x: a float type
 * of its own where x is a float, else x's type. */
int enso__op_parameter(struct enso__infer *c, size_t i, const struct enso_value *x);
/* The type that attribute "dtype" asks of output 0: a float type; `otherwise` without it. */
int enso__op_output_type(struct enso__infer *c, enum enso_dtype otherwise,
                         enum enso_dtype *ret_dtype);

/* ---- failing: "node 'n' (Op): sentence; inputs FP32[1, 2], -" ---- */
int enso__op_fail(struct enso__infer *c, enum enso_status status, const char *format, ...)
    ENSO_PRINTF(3, 4);

/* ---- writing ---- */

int enso__op_out(struct enso__infer *c, size_t i, enum enso_dtype dtype,
                 const struct enso_shape *shape);
/* Remember the content of output i, which must have its shape; silently not kept when it is too
 * long or n differs. ENSO_NO_MEMORY only. */
int enso__op_set_known(struct enso__infer *c, size_t i, const struct enso_dim *content, size_t n);
/* Set an attribute unless it has that value already (inference runs often). */
int enso__op_set_ints(struct enso__infer *c, const char *name, const int64_t *v, size_t n);

/* ---- dimensions; false when the result is not factor x extent, or overflows ---- */
bool enso__dim_add(struct enso_dim a, struct enso_dim b, struct enso_dim *ret);
bool enso__dim_sub(struct enso_dim a, struct enso_dim b, struct enso_dim *ret);
bool enso__dim_mul(struct enso_dim a, struct enso_dim b, struct enso_dim *ret);
bool enso__dim_div(struct enso_dim a, struct enso_dim b, struct enso_dim *ret); /* exact */
/* Product of dims first .. last-1. */
bool enso__dims_product(const struct enso_dim *dims, size_t n, struct enso_dim *ret);
static inline bool enso__dim_is(struct enso_dim d, int64_t n)
{
    return d.extent == ENSO_EXTENT_FIXED && d.factor == n;
}
static inline bool enso__dim_fixed(struct enso_dim d)
{
    return d.extent == ENSO_EXTENT_FIXED;
}
/* Multidirectional broadcasting of *shape with other, into *shape. */
int enso__op_broadcast(struct enso__infer *c, struct enso_shape *shape,
                       const struct enso_shape *other);
/* Same rank and dims. */
bool enso__shape_equal(const struct enso_shape *a, const struct enso_shape *b);

/* ---- inference functions, by file ---- */
/* elementwise.c */
int enso__infer_unary(struct enso__infer *c);
int enso__infer_not(struct enso__infer *c);
int enso__infer_clip(struct enso__infer *c);
int enso__infer_cast(struct enso__infer *c);
int enso__infer_broadcast(struct enso__infer *c);
int enso__infer_pow(struct enso__infer *c);
int enso__infer_prelu(struct enso__infer *c);
int enso__infer_compare(struct enso__infer *c);
int enso__infer_logic(struct enso__infer *c);
int enso__infer_where(struct enso__infer *c);
/* reduce.c */
int enso__infer_reduce(struct enso__infer *c);
int enso__infer_arg(struct enso__infer *c);
int enso__infer_top_k(struct enso__infer *c);
/* shape.c */
int enso__infer_identity(struct enso__infer *c);
int enso__infer_shape(struct enso__infer *c);
int enso__infer_size(struct enso__infer *c);
int enso__infer_reshape(struct enso__infer *c);
int enso__infer_flatten(struct enso__infer *c);
int enso__infer_squeeze(struct enso__infer *c);
int enso__infer_unsqueeze(struct enso__infer *c);
int enso__infer_expand(struct enso__infer *c);
int enso__infer_constant_of_shape(struct enso__infer *c);
int enso__infer_range(struct enso__infer *c);
/* move.c */
int enso__infer_transpose(struct enso__infer *c);
int enso__infer_concat(struct enso__infer *c);
int enso__infer_split(struct enso__infer *c);
int enso__infer_slice(struct enso__infer *c);
int enso__infer_pad(struct enso__infer *c);
int enso__infer_tile(struct enso__infer *c);
int enso__infer_gather(struct enso__infer *c);
int enso__infer_depth_to_space(struct enso__infer *c);
int enso__infer_space_to_depth(struct enso__infer *c);
/* conv.c */
int enso__infer_conv(struct enso__infer *c);
int enso__infer_pool(struct enso__infer *c);
int enso__infer_global_pool(struct enso__infer *c);
/* resize.c */
int enso__infer_resize(struct enso__infer *c);
/* After all nodes: what is resized in the whole graph is not too much. */
int enso__check_resized(const struct enso_graph *g, struct enso_error *err) ENSO_MUST_CHECK;
/* network.c */
int enso__infer_batch_norm(struct enso__infer *c);
int enso__infer_instance_norm(struct enso__infer *c);
int enso__infer_lrn(struct enso__infer *c);
int enso__infer_softmax(struct enso__infer *c);
int enso__infer_matmul(struct enso__infer *c);
int enso__infer_gemm(struct enso__infer *c);
/* fused.c */
int enso__infer_linear(struct enso__infer *c);
int enso__infer_attention(struct enso__infer *c);
int enso__infer_layer_norm(struct enso__infer *c);
int enso__infer_rms_norm(struct enso__infer *c);
int enso__infer_embedding(struct enso__infer *c);
int enso__infer_sequence_pool(struct enso__infer *c);
int enso__infer_pixels(struct enso__infer *c);
int enso__infer_l2_normalize(struct enso__infer *c);

#endif
