/* SPDX-License-Identifier: Apache-2.0
 *
 * Passes: small functions graph to graph. Each keeps what the graph computes and says whether it
 * changed anything. They expect a graph that was inferred (enso_graph_infer) and leave one that is.
 * What they replace stays behind as removed nodes; constants that nobody reads any more are let go
 * by remove_dead.
 *
 * enso_passes_run is the list that every loaded graph goes through:
 *
 *   fold, clean, recognise (GELU, norms, activations), batch-norm into convolutions, linear ...
 *   to a fixed point; then the layout for images; then fold and fuse again; then clean.
 *
 * Threads: none of their own; one graph, one owner. Errors: what inference or a kernel that folds
 * says, ENSO_NO_MEMORY; the graph is then only good for enso_graph_destroy.
 */
#ifndef ENSO_ENGINE_PASSES_PASSES_H
#define ENSO_ENGINE_PASSES_PASSES_H

#include "engine/backend.h"
#include "engine/graph/graph.h"

/* The standard list, folding with the CPU backend's portable kernels. */
int enso_passes_run(struct enso_graph *g, struct enso_error *err) ENSO_MUST_CHECK;
/* The same, folding on a given backend (NULL: no folding by kernels). */
int enso_passes_run_on(struct enso_graph *g, const struct enso_backend *backend,
                       struct enso_error *err) ENSO_MUST_CHECK;

/* Evaluate nodes whose inputs are all constant, and known content without symbols. Results that
 * would be much larger than their inputs stay unfolded. backend NULL: known content and views only.
 */
int enso_pass_fold_constants(struct enso_graph *g, const struct enso_backend *backend,
                             bool *ret_changed, struct enso_error *err);
/* Views of constants become constants over the same bytes; so do casts of half to F32. */
int enso_pass_fold_views(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Reshape, Expand and ConstantOfShape get their shape as attributes: nothing at run time computes
 * shapes for them any more. Flatten, Squeeze and Unsqueeze become such a Reshape. */
int enso_pass_detach_shapes(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Nodes that no output needs, and constants without readers. */
int enso_pass_remove_dead(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Identity, casts to the same type, transposes and reshapes that do nothing or follow each other.
 */
int enso_pass_remove_identity(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Factors and summands per channel, and Relu, from behind a max pool to the convolution before it.
 */
int enso_pass_lift_over_pool(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* BatchNormalization into the product before it, else into Mul and Add; Mul and Add per channel
 * into convolutions and LINEAR. */
int enso_pass_fold_batch_norm(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* GELU (erf and tanh form), SiLU, hard-swish and Mish from their parts. */
int enso_pass_fuse_activations(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* LAYER_NORM and RMS_NORM from their parts, with the residual addition before them. */
int enso_pass_fuse_layer_norm(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* LINEAR from MatMul and Gemm with a constant weight, and bias, residual and activation into it. */
int enso_pass_fuse_linear(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* CONV_FUSED of one pixel into LINEAR. For the end. */
int enso_pass_plain_conv(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* SEQUENCE_POOL of one token into the LINEAR that alone reads it. For the end. */
int enso_pass_fuse_gather(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Images go NHWC: CONV becomes CONV_FUSED, pools and LRN get nhwc = 1; transposes are pushed down
 * and cancel. */
int enso_pass_layout(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Transposes that move nothing but dimensions of one become Reshape, a view. For the end: layout
 * looks for transposes. */
int enso_pass_view_transposes(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* The transpose behind PIXELS into it. After layout. */
int enso_pass_fuse_pixels(struct enso_graph *g, bool *ret_changed, struct enso_error *err);
/* Residual and activation into CONV_FUSED. */
int enso_pass_fuse_conv(struct enso_graph *g, bool *ret_changed, struct enso_error *err);

/* ---- pictures: before the standard list ---- */

/* Whoever reads an F32 input of pictures, [N, H, W, C] (nhwc) or [N, C, H, W], gets it through
 * PIXELS: so that a batch may bring it as bytes, which become table[c][byte]. table
 * [n_channels, 256], copied. ENSO_NO_MEMORY. */
int enso_graph_read_pixels(struct enso_graph *g, int input, const float *table, size_t n_channels,
                           bool nhwc, struct enso_error *err) ENSO_MUST_CHECK;

/* ---- lower precision: after the standard list, for one device ---- */

/* What values between operators become, and for whom. */
struct enso_precision {
    enum enso_dtype dtype; /* F16 or BF16 */
    bool fast_gelu;        /* the erf form of GELU becomes the tanh form, where lowered */
    const struct enso_backend *backend;
    const struct enso_device *device; /* whose computes() is asked */
};

/* Floats between operators become of that type, by the rules in lower_precision.c; inputs and
 * outputs of the graph keep theirs. */
int enso_pass_lower_precision(struct enso_graph *g, const struct enso_precision *to,
                              bool *ret_changed, struct enso_error *err);
/* The name of a weight, a table of pixels or another parameter with a finite number that fp16 has
 * no room for; NULL when there is none. Reads all weights that are not stored as fp16. */
int enso_graph_find_beyond_f16(const struct enso_graph *g, const char **ret_name,
                               struct enso_error *err);

#endif
