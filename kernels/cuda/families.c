/* SPDX-License-Identifier: Apache-2.0
 *
 * Which family of kernels binds which operator. An operator without a row here makes its model run
 * on the CPU as a whole.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

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
    [ENSO_OP_CONV] = enso__cuda_bind_conv,
    [ENSO_OP_CONV_FUSED] = enso__cuda_bind_conv_fused,
    [ENSO_OP_MATMUL] = enso__cuda_bind_matmul,
    [ENSO_OP_GEMM] = enso__cuda_bind_gemm,
    [ENSO_OP_LINEAR] = enso__cuda_bind_linear,
    [ENSO_OP_ATTENTION] = enso__cuda_bind_attention,
    [ENSO_OP_EMBEDDING] = enso__cuda_bind_embedding,
    [ENSO_OP_SEQUENCE_POOL] = enso__cuda_bind_sequence_pool,
};
/* clang-format on */

enso__cuda_bind_fn enso__cuda_family(enum enso_op op)
{
    return (unsigned)op < ENSO_N_OPS ? families[op] : NULL;
}
