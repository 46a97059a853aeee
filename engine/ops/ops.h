/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators a graph is made of. Plain ones carry the meaning and the attribute names of their
 * ONNX namesake at opset 17 (axes, sizes and the like that ONNX moved from attributes to inputs
 * are inputs here; loaders bring older opsets to that form; see below). Fused ones are what passes
 * and architectures aim at; their contracts stand beside their rows below.
 *
 * Adding an operator: a row here, a row in engine/ops/table.c (arity, inference, folding), a kernel
 * in each backend, a test with a reference.
 */
#ifndef ENSO_ENGINE_OPS_OPS_H
#define ENSO_ENGINE_OPS_OPS_H

#include <stdbool.h>

/* clang-format off */
/* X(NAME, "OnnxName") */
#define ENSO_OP_LIST(X) \
    X(NONE, "") \
    /* unary elementwise */ \
    X(ABS, "Abs") X(CEIL, "Ceil") X(CLIP, "Clip") X(ELU, "Elu") X(ERF, "Erf") X(EXP, "Exp") \
    X(FLOOR, "Floor") X(GELU, "Gelu") X(HARD_SIGMOID, "HardSigmoid") X(HARD_SWISH, "HardSwish") \
    X(LEAKY_RELU, "LeakyRelu") X(LOG, "Log") X(MISH, "Mish") X(NEG, "Neg") X(NOT, "Not") \
    X(RECIPROCAL, "Reciprocal") X(RELU, "Relu") X(ROUND, "Round") X(SELU, "Selu") \
    X(SIGMOID, "Sigmoid") X(SIGN, "Sign") X(SILU, "Silu") X(SOFTPLUS, "Softplus") \
    X(SOFTSIGN, "Softsign") X(SQRT, "Sqrt") X(TANH, "Tanh") X(CAST, "Cast") X(SIN, "Sin") \
    X(COS, "Cos") \
    /* elementwise with broadcasting */ \
    X(ADD, "Add") X(SUB, "Sub") X(MUL, "Mul") X(DIV, "Div") X(POW, "Pow") X(MOD, "Mod") \
    X(MAX, "Max") X(MIN, "Min") X(SUM, "Sum") X(MEAN, "Mean") X(PRELU, "PRelu") X(EQUAL, "Equal") \
    X(LESS, "Less") X(LESS_OR_EQUAL, "LessOrEqual") X(GREATER, "Greater") \
    X(GREATER_OR_EQUAL, "GreaterOrEqual") X(AND, "And") X(OR, "Or") X(XOR, "Xor") \
    X(WHERE, "Where") \
    /* reductions and searches */ \
    X(REDUCE_SUM, "ReduceSum") X(REDUCE_MEAN, "ReduceMean") X(REDUCE_MAX, "ReduceMax") \
    X(REDUCE_MIN, "ReduceMin") X(REDUCE_PROD, "ReduceProd") X(REDUCE_L1, "ReduceL1") \
    X(REDUCE_L2, "ReduceL2") X(REDUCE_SUM_SQUARE, "ReduceSumSquare") \
    X(REDUCE_LOG_SUM, "ReduceLogSum") X(REDUCE_LOG_SUM_EXP, "ReduceLogSumExp") \
    X(ARG_MAX, "ArgMax") X(ARG_MIN, "ArgMin") X(TOP_K, "TopK") \
    /* shapes and moving of data */ \
    X(IDENTITY, "Identity") X(SHAPE, "Shape") X(SIZE, "Size") X(RESHAPE, "Reshape") \
    X(FLATTEN, "Flatten") X(SQUEEZE, "Squeeze") X(UNSQUEEZE, "Unsqueeze") \
    X(TRANSPOSE, "Transpose") X(CONCAT, "Concat") X(SPLIT, "Split") X(SLICE, "Slice") \
    X(PAD, "Pad") X(EXPAND, "Expand") X(TILE, "Tile") X(GATHER, "Gather") \
    X(CONSTANT_OF_SHAPE, "ConstantOfShape") X(RANGE, "Range") X(DEPTH_TO_SPACE, "DepthToSpace") \
    X(SPACE_TO_DEPTH, "SpaceToDepth") X(RESIZE, "Resize") \
    /* networks */ \
    X(CONV, "Conv") X(MAX_POOL, "MaxPool") X(AVERAGE_POOL, "AveragePool") \
    X(GLOBAL_AVERAGE_POOL, "GlobalAveragePool") X(GLOBAL_MAX_POOL, "GlobalMaxPool") \
    X(BATCH_NORM, "BatchNormalization") X(INSTANCE_NORM, "InstanceNormalization") X(LRN, "LRN") \
    X(SOFTMAX, "Softmax") X(LOG_SOFTMAX, "LogSoftmax") X(MATMUL, "MatMul") X(GEMM, "Gemm") \
    /* fused: contracts below */ \
    X(LINEAR, "ensod.Linear") X(CONV_FUSED, "ensod.Conv") X(ATTENTION, "ensod.Attention") \
    X(LAYER_NORM, "ensod.LayerNorm") X(RMS_NORM, "ensod.RMSNorm") X(EMBEDDING, "ensod.Embedding") \
    X(SEQUENCE_POOL, "ensod.SequencePool") X(L2_NORMALIZE, "ensod.L2Normalize") \
    X(PIXELS, "ensod.Pixels")
/* clang-format on */

enum enso_op {
#define ENSO_OP_ENUM(name, onnx) ENSO_OP_##name,
    ENSO_OP_LIST(ENSO_OP_ENUM)
#undef ENSO_OP_ENUM
        ENSO_N_OPS
};

/* "Conv" for ENSO_OP_CONV. */
const char *enso_op_name(enum enso_op op);
/* ENSO_OP_NONE when there is none of that ONNX name. */
enum enso_op enso_op_from_onnx(const char *onnx_name);

/* Activations that linear and conv carry in their attribute "activation". */
enum enso_activation {
    ENSO_ACTIVATION_NONE = 0,
    ENSO_ACTIVATION_RELU,
    ENSO_ACTIVATION_GELU,      /* exact, with erf */
    ENSO_ACTIVATION_GELU_TANH, /* the tanh approximation */
    ENSO_ACTIVATION_SILU,
    ENSO_ACTIVATION_TANH,
    ENSO_ACTIVATION_SIGMOID,
    ENSO_ACTIVATION_CLIP, /* to [activation_min, activation_max] (float attributes) */
    ENSO_ACTIVATION_HARD_SWISH,
    ENSO_ACTIVATION_LEAKY_RELU,  /* slope activation_alpha */
    ENSO_ACTIVATION_ELU,         /* activation_alpha */
    ENSO_ACTIVATION_HARD_SIGMOID /* activation_alpha, activation_beta */
};

/* The most channels of a picture that PIXELS takes. */
#define ENSO_PIXELS_MAX_CHANNELS 4

/* Types: values between operators are F32, or F16 or BF16 on a device that computes in them (the
 * pass lower_precision.c brings a graph there; sums are F32 in any kernel). An operator gives the
 * float type that it gets. Parameters (weights, biases, gamma, beta, tables, statistics) may have
 * another float type than the activations: binding rounds them once. Operands of elementwise
 * operators, of MATMUL and of GEMM have one type, and so has a residual.
 *
 * Contracts of the fused operators (weights constant):
 *
 * LINEAR        y = act(x · Wᵀ + b + r).  inputs x [..., K], W, b [N] or absent, residual r (shape
 *               of y) or absent, starts [B+1] or absent.  With starts x is [T, K], y [B, N], and
 *               row i of the product is the first token of sequence i, or the last with attribute
 *               rows = "last", or zeros where it has none.  W is [N, K] when attribute
 *               transposed = 1 (PyTorch's layout, the default) and [K, N] when 0.  Attributes:
 *               activation, activation_*, transposed, rows, dtype (an enum enso_dtype: the
 *               output's type, x's by default; a head writes F32).
 *               The residual is added before the activation.
 * CONV_FUSED    y = act(conv(x, W) + b + r), everything NHWC: x [N, H, W, C], weight W
 *               [M, C/group, kh, kw] as in ONNX, b [M] or absent, r (shape of y) or absent.
 *               Attributes: kernel_shape [2], strides [2], pads [4] (top, left, bottom, right; as
 *               ONNX orders them), dilations [2], group, activation, activation_*.
 *               The layout pass makes these; plain CONV is NCHW. After the layout pass MAX_POOL,
 *               AVERAGE_POOL, GLOBAL_*_POOL and LRN carry the attribute nhwc = 1 and work on
 *               [N, H, W, C]; no auto_pad is left then.
 * ATTENTION     softmax(scale · Q Kᵀ) V within each sequence.  inputs qkv [T, 3·heads·size] (q
 *               then k then v), starts [B+1], work list I32 [W, 2] (graph.h) or absent.  output
 *               [T, heads·size].  Attributes: heads, size (of a head), scale (default
 *               1/sqrt(size)), causal (0).  A backend may do without the work list; what it lists
 *               is what starts says.
 * LAYER_NORM    y = norm(x + r) · gamma + beta over the last axis.  inputs x [..., C], gamma, beta
 *               [C], residual r or absent.  Attribute epsilon (1e-5).
 * RMS_NORM      y = (x + r) / rms(x + r) · gamma: inputs x, gamma, residual r or absent.
 * EMBEDDING     y = norm(words[token] + positions[pos] + segments[seg]).  inputs tokens I32 [T],
 *               words [V, C], positions I32 [T] or absent, position table [P, C] or absent,
 *               segments I32 [T] or absent, segment table [S, C] or absent, gamma, beta [C] or
 *               both absent (no norm).  Segments absent but table present: all segment 0.
 *               Attributes epsilon, dtype (the output's type, by default that of the words as the
 *               graph sees them).  Ids are validated before they come here.
 * SEQUENCE_POOL inputs x [T, C], starts [B+1]; output [B, C].  Attributes mode: "mean",
 *               "cls" (first token), "last", "max"; dtype (the output's type, x's by default).
 * L2_NORMALIZE  y = x / max(‖x‖₂, epsilon) over the last axis; attribute epsilon (1e-12).
 * PIXELS        pictures as a model wants them.  inputs x, table F32 [C, 256] (constant, C at most
 *               4).  Where x is U8 [N, H, W, C], y is table[c][x], rescaled and normalised; where
 *               it is F32, y is x.
 *               An F32 input of a program, which PIXELS alone reads, may come in either form, batch
 *               by batch (program.h).
 *               Attributes: nhwc (1: x, as floats, is [N, H, W, C], else [N, C, H, W]), to_nhwc
 *               (y's layout; x's as floats by default), dtype (y's type, F32 by default).
 */

/* Plain operators where the ONNX form leaves a choice (loaders of formats bring models to this):
 *
 * CAST            attribute "to" is an enum enso_dtype (not ONNX's number); graphs from files never
 *                 cast to F16 or BF16.
 * CONSTANT_OF_SHAPE  inputs shape (I64) and value, a constant of one element that gives the
 *                 output its type; value is always there.
 * REDUCE_*        axes are input 1 (I64, or absent: all axes, or none when the attribute
 *                 noop_with_empty_axes is 1) for every reduction; attribute keepdims. Passes may
 *                 put them into an attribute "axes": enso_graph_node_axes (infer.h) reads both.
 * RESHAPE, EXPAND, CONSTANT_OF_SHAPE: once the shape is known, passes drop that input (absent) for
 *                 the attributes shape_factors and shape_extents (a struct enso_dim per dimension);
 *                 kernels look at the output's dims alone.
 * SQUEEZE, UNSQUEEZE, SPLIT, PAD, CLIP, SLICE, TILE, EXPAND: axes, sizes, pads, value, bounds,
 *                 starts, ends, steps and repeats are inputs in ONNX's order. SPLIT without sizes
 *                 cuts into as many parts as it has outputs, each ceil(size / parts), the last one
 *                 smaller if need be. PAD has the optional fourth input axes.
 * SOFTMAX, LOG_SOFTMAX  as of opset 13: over one axis, default -1.
 * BATCH_NORM      one output, statistics given; attribute epsilon.
 * CONV, MAX_POOL, AVERAGE_POOL  one output; auto_pad, ceil_mode, count_include_pad, dilations as in
 *                 ONNX opset 19 (resolved by inference, which knows the shapes).
 * GELU            attribute approximate ("none", "tanh"). CLIP bounds are scalars or absent.
 * TOP_K           k (I64 [1], known at load) is input 1; inference puts it into an attribute "k"
 *                 and passes drop the input. Both outputs are always there. Equal elements: the
 *                 lower index first; a NaN is larger than any number; sorted whatever "sorted"
 *                 says.
 * RESIZE          scales (F32) or sizes (I64) are inputs 2 and 3 as in ONNX opset 19, known at
 *                 load; input 1 (roi) is not read. Inference turns axes, keep_aspect_ratio_policy
 *                 and the list into attributes that kernels read, and passes drop the inputs:
 *                 resized_sizes (per axis: its size in the output, or -1: it stays as it is),
 *                 resized_scales (per axis: output / input as the model gives it, or 0: the
 *                 quotient of the sizes), ratio_axis (-1, or the axis whose quotient is the scale
 *                 of them all). nearest_mode may be "simple" (Resize of opset 10: up where an axis
 *                 shrinks, else down).
 */

/* What sort of operator it is, where that is all one needs to know. */
enum enso_op_kind {
    ENSO_OP_KIND_OTHER = 0,
    ENSO_OP_KIND_UNARY,     /* elementwise on input 0; further inputs are scalars (CLIP) */
    ENSO_OP_KIND_BROADCAST, /* elementwise on all inputs, with broadcasting */
    ENSO_OP_KIND_REDUCE,    /* REDUCE_* */
    ENSO_OP_KIND_VIEW,      /* another shape for the same bytes */
};
enum enso_op_kind enso_op_kind(enum enso_op op);

/* Only another shape for the same bytes (Identity, Reshape, Flatten, Squeeze, Unsqueeze): never
 * bound, the output shares its input's memory. */
bool enso_op_is_view(enum enso_op op);

/* The kernel may be given the same memory for its output as for one input of the same type and
 * dims: elementwise operators, LAYER_NORM, RMS_NORM, L2_NORMALIZE. Kernels must allow it. */
bool enso_op_works_in_place(enum enso_op op);

#endif
