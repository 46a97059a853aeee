/* SPDX-License-Identifier: Apache-2.0
 *
 * Which family of kernels binds which operator, and which operators compute in half types. An
 * operator without a family makes its model run on the CPU as a whole; one that is not in the
 * second table keeps F32 in a model that computes in half, with casts around it.
 * tests/kernels/check_types.c holds both tables against what bind accepts.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"
#include "kernels/cuda/device.h"

/* clang-format off */
static const enso__cuda_bind_fn families[ENSO_N_OPS] = {
    /* element by element, and moves: launch_elements.h */
#define UNARY(name) [ENSO_OP_##name] = enso__cuda_bind_unary,
    UNARY(ABS) UNARY(CEIL) UNARY(CLIP) UNARY(COS) UNARY(ELU) UNARY(ERF) UNARY(EXP) UNARY(FLOOR)
    UNARY(GELU) UNARY(HARD_SIGMOID) UNARY(HARD_SWISH) UNARY(LEAKY_RELU) UNARY(LOG) UNARY(MISH)
    UNARY(NEG) UNARY(NOT) UNARY(RECIPROCAL) UNARY(RELU) UNARY(ROUND) UNARY(SELU) UNARY(SIGMOID)
    UNARY(SIGN) UNARY(SILU) UNARY(SIN) UNARY(SOFTPLUS) UNARY(SOFTSIGN) UNARY(SQRT) UNARY(TANH)
#undef UNARY
    [ENSO_OP_CAST] = enso__cuda_bind_cast,
#define BINARY(name) [ENSO_OP_##name] = enso__cuda_bind_binary,
    BINARY(ADD) BINARY(AND) BINARY(DIV) BINARY(EQUAL) BINARY(GREATER) BINARY(GREATER_OR_EQUAL)
    BINARY(LESS) BINARY(LESS_OR_EQUAL) BINARY(MAX) BINARY(MEAN) BINARY(MIN) BINARY(MOD) BINARY(MUL)
    BINARY(OR) BINARY(POW) BINARY(PRELU) BINARY(SUB) BINARY(SUM) BINARY(XOR)
#undef BINARY
    [ENSO_OP_WHERE] = enso__cuda_bind_where,
    [ENSO_OP_TRANSPOSE] = enso__cuda_bind_view,
    [ENSO_OP_SLICE] = enso__cuda_bind_view,
    [ENSO_OP_EXPAND] = enso__cuda_bind_view,
    [ENSO_OP_TILE] = enso__cuda_bind_view,
    [ENSO_OP_DEPTH_TO_SPACE] = enso__cuda_bind_view,
    [ENSO_OP_SPACE_TO_DEPTH] = enso__cuda_bind_view,
    [ENSO_OP_IDENTITY] = enso__cuda_bind_copy,
    [ENSO_OP_RESHAPE] = enso__cuda_bind_copy,
    [ENSO_OP_FLATTEN] = enso__cuda_bind_copy,
    [ENSO_OP_SQUEEZE] = enso__cuda_bind_copy,
    [ENSO_OP_UNSQUEEZE] = enso__cuda_bind_copy,
    [ENSO_OP_SHAPE] = enso__cuda_bind_shape,
    [ENSO_OP_SIZE] = enso__cuda_bind_shape,
    [ENSO_OP_CONSTANT_OF_SHAPE] = enso__cuda_bind_fill,
    [ENSO_OP_RANGE] = enso__cuda_bind_range,
    [ENSO_OP_CONCAT] = enso__cuda_bind_join,
    [ENSO_OP_SPLIT] = enso__cuda_bind_join,
    [ENSO_OP_GATHER] = enso__cuda_bind_gather,
    [ENSO_OP_PAD] = enso__cuda_bind_pad,
    /* networks: launch_network.h */
#define REDUCE(name) [ENSO_OP_REDUCE_##name] = enso__cuda_bind_reduce,
    REDUCE(SUM) REDUCE(MEAN) REDUCE(MAX) REDUCE(MIN) REDUCE(PROD) REDUCE(L1) REDUCE(L2)
    REDUCE(SUM_SQUARE) REDUCE(LOG_SUM) REDUCE(LOG_SUM_EXP)
#undef REDUCE
    [ENSO_OP_ARG_MAX] = enso__cuda_bind_arg,
    [ENSO_OP_ARG_MIN] = enso__cuda_bind_arg,
    [ENSO_OP_TOP_K] = enso__cuda_bind_top_k,
    [ENSO_OP_SOFTMAX] = enso__cuda_bind_softmax,
    [ENSO_OP_LOG_SOFTMAX] = enso__cuda_bind_softmax,
    [ENSO_OP_BATCH_NORM] = enso__cuda_bind_channel_norm,
    [ENSO_OP_INSTANCE_NORM] = enso__cuda_bind_channel_norm,
    [ENSO_OP_LRN] = enso__cuda_bind_lrn,
    [ENSO_OP_LAYER_NORM] = enso__cuda_bind_row_norm,
    [ENSO_OP_RMS_NORM] = enso__cuda_bind_row_norm,
    [ENSO_OP_L2_NORMALIZE] = enso__cuda_bind_row_norm,
    [ENSO_OP_MAX_POOL] = enso__cuda_bind_pool,
    [ENSO_OP_AVERAGE_POOL] = enso__cuda_bind_pool,
    [ENSO_OP_GLOBAL_AVERAGE_POOL] = enso__cuda_bind_pool,
    [ENSO_OP_GLOBAL_MAX_POOL] = enso__cuda_bind_pool,
    [ENSO_OP_RESIZE] = enso__cuda_bind_resize,
    [ENSO_OP_CONV] = enso__cuda_bind_conv,
    [ENSO_OP_CONV_FUSED] = enso__cuda_bind_conv_fused,
    [ENSO_OP_MATMUL] = enso__cuda_bind_matmul,
    [ENSO_OP_GEMM] = enso__cuda_bind_gemm,
    [ENSO_OP_LINEAR] = enso__cuda_bind_linear,
    [ENSO_OP_ATTENTION] = enso__cuda_bind_attention,
    [ENSO_OP_EMBEDDING] = enso__cuda_bind_embedding,
    [ENSO_OP_SEQUENCE_POOL] = enso__cuda_bind_sequence_pool,
    [ENSO_OP_PIXELS] = enso__cuda_bind_pixels,
};

/* F16 and BF16 activations, sums in F32. */
static const bool halves[ENSO_N_OPS] = {
#define HALF(name) [ENSO_OP_##name] = true,
    HALF(ABS) HALF(CEIL) HALF(CLIP) HALF(COS) HALF(ELU) HALF(ERF) HALF(EXP) HALF(FLOOR) HALF(GELU)
    HALF(HARD_SIGMOID) HALF(HARD_SWISH) HALF(LEAKY_RELU) HALF(LOG) HALF(MISH) HALF(NEG)
    HALF(RECIPROCAL) HALF(RELU) HALF(ROUND) HALF(SELU) HALF(SIGMOID) HALF(SIGN) HALF(SILU) HALF(SIN)
    HALF(SOFTPLUS) HALF(SOFTSIGN) HALF(SQRT) HALF(TANH) HALF(CAST)
    HALF(ADD) HALF(SUB) HALF(MUL) HALF(DIV) HALF(MAX) HALF(MIN) HALF(POW) HALF(SUM) HALF(MEAN)
    HALF(PRELU) HALF(WHERE) HALF(MOD) HALF(EQUAL) HALF(LESS) HALF(LESS_OR_EQUAL) HALF(GREATER)
    HALF(GREATER_OR_EQUAL) HALF(ARG_MAX) HALF(ARG_MIN) HALF(TOP_K)
    HALF(REDUCE_SUM) HALF(REDUCE_MEAN) HALF(REDUCE_MAX) HALF(REDUCE_MIN) HALF(REDUCE_PROD)
    HALF(REDUCE_L1) HALF(REDUCE_L2) HALF(REDUCE_SUM_SQUARE) HALF(REDUCE_LOG_SUM)
    HALF(REDUCE_LOG_SUM_EXP)
    HALF(TRANSPOSE) HALF(SLICE) HALF(EXPAND) HALF(TILE) HALF(DEPTH_TO_SPACE) HALF(SPACE_TO_DEPTH)
    HALF(IDENTITY) HALF(RESHAPE) HALF(FLATTEN) HALF(SQUEEZE) HALF(UNSQUEEZE) HALF(SHAPE) HALF(SIZE)
    HALF(CONSTANT_OF_SHAPE) HALF(CONCAT) HALF(SPLIT) HALF(GATHER) HALF(PAD)
    HALF(SOFTMAX) HALF(LOG_SOFTMAX) HALF(BATCH_NORM) HALF(INSTANCE_NORM) HALF(LRN)
    HALF(LAYER_NORM) HALF(RMS_NORM) HALF(L2_NORMALIZE)
    HALF(MAX_POOL) HALF(AVERAGE_POOL) HALF(GLOBAL_AVERAGE_POOL) HALF(GLOBAL_MAX_POOL) HALF(RESIZE)
    HALF(CONV) HALF(CONV_FUSED) HALF(MATMUL) HALF(GEMM) HALF(LINEAR) HALF(ATTENTION)
    HALF(EMBEDDING) HALF(SEQUENCE_POOL) HALF(PIXELS)
#undef HALF
};
/* clang-format on */

enso__cuda_bind_fn enso__cuda_family(enum enso_op op)
{
    return (unsigned)op < ENSO_N_OPS ? families[op] : NULL;
}

bool enso__cuda_computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    if (enso__cuda_family(op) == NULL)
        return false;
    if (dtype == ENSO_DTYPE_BF16 && device->architecture < 80)
        return false; /* no instruction multiplies bfloat16 there */
    return dtype == ENSO_DTYPE_F32 || (enso_dtype_is_half(dtype) && halves[op]);
}
