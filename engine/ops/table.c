/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of operators: how many inputs and outputs each takes, what sort it is, whether its
 * kernel may work in place, and the function that infers its outputs. Folding needs no column: an
 * operator whose inputs are all constants is run once by the portable kernels (engine/passes).
 */
#include <string.h>

#include "engine/ops/ops_internal.h"

#define ANY ENSO__ANY_NUMBER
#define OTHER ENSO_OP_KIND_OTHER
#define UNARY ENSO_OP_KIND_UNARY
#define BROADCAST ENSO_OP_KIND_BROADCAST
#define REDUCE ENSO_OP_KIND_REDUCE
#define VIEW ENSO_OP_KIND_VIEW

/* clang-format off */
const struct enso__op_row enso__op_table[ENSO_N_OPS] = {
    /* inputs min, max; outputs min, max; kind; in place; inference */
    [ENSO_OP_ABS] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_CEIL] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_ELU] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_ERF] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_EXP] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_FLOOR] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_GELU] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_HARD_SIGMOID] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_HARD_SWISH] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_LEAKY_RELU] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_LOG] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_MISH] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_NEG] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_RECIPROCAL] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_RELU] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_ROUND] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SELU] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SIGMOID] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SIGN] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SILU] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SOFTPLUS] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SOFTSIGN] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SQRT] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_TANH] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_SIN] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_COS] = {1, 1, 1, 1, UNARY, true, enso__infer_unary},
    [ENSO_OP_NOT] = {1, 1, 1, 1, UNARY, true, enso__infer_not},
    [ENSO_OP_CLIP] = {1, 3, 1, 1, UNARY, true, enso__infer_clip},
    [ENSO_OP_CAST] = {1, 1, 1, 1, UNARY, true, enso__infer_cast},
    [ENSO_OP_ADD] = {2, 2, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_SUB] = {2, 2, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_MUL] = {2, 2, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_DIV] = {2, 2, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_MOD] = {2, 2, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_POW] = {2, 2, 1, 1, BROADCAST, true, enso__infer_pow},
    [ENSO_OP_MAX] = {1, ANY, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_MIN] = {1, ANY, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_SUM] = {1, ANY, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_MEAN] = {1, ANY, 1, 1, BROADCAST, true, enso__infer_broadcast},
    [ENSO_OP_PRELU] = {2, 2, 1, 1, BROADCAST, true, enso__infer_prelu},
    [ENSO_OP_EQUAL] = {2, 2, 1, 1, BROADCAST, true, enso__infer_compare},
    [ENSO_OP_LESS] = {2, 2, 1, 1, BROADCAST, true, enso__infer_compare},
    [ENSO_OP_LESS_OR_EQUAL] = {2, 2, 1, 1, BROADCAST, true, enso__infer_compare},
    [ENSO_OP_GREATER] = {2, 2, 1, 1, BROADCAST, true, enso__infer_compare},
    [ENSO_OP_GREATER_OR_EQUAL] = {2, 2, 1, 1, BROADCAST, true, enso__infer_compare},
    [ENSO_OP_AND] = {2, 2, 1, 1, BROADCAST, true, enso__infer_logic},
    [ENSO_OP_OR] = {2, 2, 1, 1, BROADCAST, true, enso__infer_logic},
    [ENSO_OP_XOR] = {2, 2, 1, 1, BROADCAST, true, enso__infer_logic},
    [ENSO_OP_WHERE] = {3, 3, 1, 1, BROADCAST, true, enso__infer_where},
    [ENSO_OP_REDUCE_SUM] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_MEAN] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_MAX] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_MIN] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_PROD] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_L1] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_L2] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_SUM_SQUARE] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_LOG_SUM] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_REDUCE_LOG_SUM_EXP] = {1, 2, 1, 1, REDUCE, false, enso__infer_reduce},
    [ENSO_OP_ARG_MAX] = {1, 1, 1, 1, OTHER, false, enso__infer_arg},
    [ENSO_OP_ARG_MIN] = {1, 1, 1, 1, OTHER, false, enso__infer_arg},
    [ENSO_OP_TOP_K] = {1, 2, 2, 2, OTHER, false, enso__infer_top_k},
    [ENSO_OP_IDENTITY] = {1, 1, 1, 1, VIEW, false, enso__infer_identity},
    [ENSO_OP_SHAPE] = {1, 1, 1, 1, OTHER, false, enso__infer_shape},
    [ENSO_OP_SIZE] = {1, 1, 1, 1, OTHER, false, enso__infer_size},
    [ENSO_OP_RESHAPE] = {1, 2, 1, 1, VIEW, false, enso__infer_reshape},
    [ENSO_OP_FLATTEN] = {1, 1, 1, 1, VIEW, false, enso__infer_flatten},
    [ENSO_OP_SQUEEZE] = {1, 2, 1, 1, VIEW, false, enso__infer_squeeze},
    [ENSO_OP_UNSQUEEZE] = {1, 2, 1, 1, VIEW, false, enso__infer_unsqueeze},
    [ENSO_OP_TRANSPOSE] = {1, 1, 1, 1, OTHER, false, enso__infer_transpose},
    [ENSO_OP_CONCAT] = {1, ANY, 1, 1, OTHER, false, enso__infer_concat},
    [ENSO_OP_SPLIT] = {1, 2, 1, ANY, OTHER, false, enso__infer_split},
    [ENSO_OP_SLICE] = {3, 5, 1, 1, OTHER, false, enso__infer_slice},
    [ENSO_OP_PAD] = {2, 4, 1, 1, OTHER, false, enso__infer_pad},
    [ENSO_OP_EXPAND] = {1, 2, 1, 1, OTHER, false, enso__infer_expand},
    [ENSO_OP_TILE] = {2, 2, 1, 1, OTHER, false, enso__infer_tile},
    [ENSO_OP_GATHER] = {2, 2, 1, 1, OTHER, false, enso__infer_gather},
    [ENSO_OP_CONSTANT_OF_SHAPE] = {1, 2, 1, 1, OTHER, false, enso__infer_constant_of_shape},
    [ENSO_OP_RANGE] = {3, 3, 1, 1, OTHER, false, enso__infer_range},
    [ENSO_OP_DEPTH_TO_SPACE] = {1, 1, 1, 1, OTHER, false, enso__infer_depth_to_space},
    [ENSO_OP_SPACE_TO_DEPTH] = {1, 1, 1, 1, OTHER, false, enso__infer_space_to_depth},
    [ENSO_OP_RESIZE] = {1, 4, 1, 1, OTHER, false, enso__infer_resize},
    [ENSO_OP_CONV] = {2, 3, 1, 1, OTHER, false, enso__infer_conv},
    [ENSO_OP_MAX_POOL] = {1, 1, 1, 1, OTHER, false, enso__infer_pool},
    [ENSO_OP_AVERAGE_POOL] = {1, 1, 1, 1, OTHER, false, enso__infer_pool},
    [ENSO_OP_GLOBAL_AVERAGE_POOL] = {1, 1, 1, 1, OTHER, false, enso__infer_global_pool},
    [ENSO_OP_GLOBAL_MAX_POOL] = {1, 1, 1, 1, OTHER, false, enso__infer_global_pool},
    [ENSO_OP_BATCH_NORM] = {5, 5, 1, 1, OTHER, false, enso__infer_batch_norm},
    [ENSO_OP_INSTANCE_NORM] = {3, 3, 1, 1, OTHER, false, enso__infer_instance_norm},
    [ENSO_OP_LRN] = {1, 1, 1, 1, OTHER, false, enso__infer_lrn},
    [ENSO_OP_SOFTMAX] = {1, 1, 1, 1, OTHER, false, enso__infer_softmax},
    [ENSO_OP_LOG_SOFTMAX] = {1, 1, 1, 1, OTHER, false, enso__infer_softmax},
    [ENSO_OP_MATMUL] = {2, 2, 1, 1, OTHER, false, enso__infer_matmul},
    [ENSO_OP_GEMM] = {2, 3, 1, 1, OTHER, false, enso__infer_gemm},
    [ENSO_OP_LINEAR] = {2, 5, 1, 1, OTHER, false, enso__infer_linear},
    [ENSO_OP_CONV_FUSED] = {2, 4, 1, 1, OTHER, false, enso__infer_conv},
    [ENSO_OP_ATTENTION] = {2, 3, 1, 1, OTHER, false, enso__infer_attention},
    [ENSO_OP_LAYER_NORM] = {3, 4, 1, 1, OTHER, true, enso__infer_layer_norm},
    [ENSO_OP_RMS_NORM] = {2, 3, 1, 1, OTHER, true, enso__infer_rms_norm},
    [ENSO_OP_EMBEDDING] = {2, 8, 1, 1, OTHER, false, enso__infer_embedding},
    [ENSO_OP_SEQUENCE_POOL] = {2, 2, 1, 1, OTHER, false, enso__infer_sequence_pool},
    [ENSO_OP_L2_NORMALIZE] = {1, 1, 1, 1, OTHER, true, enso__infer_l2_normalize},
    [ENSO_OP_PIXELS] = {2, 2, 1, 1, OTHER, false, enso__infer_pixels},
};
/* clang-format on */

static const char *const names[ENSO_N_OPS] = {
#define ENSO_OP_NAME(name, onnx) onnx,
    ENSO_OP_LIST(ENSO_OP_NAME)
#undef ENSO_OP_NAME
};

const char *enso_op_name(enum enso_op op)
{
    return names[op];
}

enum enso_op enso_op_from_onnx(const char *onnx_name)
{
    for (int i = 1; i < ENSO_N_OPS; i++)
        if (strcmp(names[i], onnx_name) == 0)
            return (enum enso_op)i;
    return ENSO_OP_NONE;
}

enum enso_op_kind enso_op_kind(enum enso_op op)
{
    return enso__op_table[op].kind;
}

bool enso_op_is_view(enum enso_op op)
{
    return enso__op_table[op].kind == ENSO_OP_KIND_VIEW;
}

bool enso_op_works_in_place(enum enso_op op)
{
    return enso__op_table[op].in_place;
}
