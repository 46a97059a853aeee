/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/ops: types and shapes of every operator, good and bad. A case is a few lines of graph and
 * either the type of the output y or a piece of the error.
 */
#include "engine/ops/infer.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "tests/engine/graph/text_graph.h"

struct infer_case {
    const char *text, *expected;
};

static const struct infer_case good[] = {
    /* elementwise */
    {"input x f32[N, 3]\ny = Relu(x)", "FP32[N, 3]"},
    {"input x i64[4]\ny = Neg(x)", "INT64[4]"},
    {"input x bool[4]\ny = Not(x)", "BOOL[4]"},
    {"input x f32[N, 3]\nconst a f32[] = 0\nconst b f32[1] = 6\ny = Clip(x, a, b)", "FP32[N, 3]"},
    {"input x f32[N, 3]\nconst b f32[] = 6\ny = Clip(x, -, b)", "FP32[N, 3]"},
    {"input x f32[N, 3]\ny = Cast(x) to=10", "INT64[N, 3]"},
    {"input x f32[N, 3, 4]\nconst b f32[3, 1]\ny = Add(x, b)", "FP32[N, 3, 4]"},
    {"input x f32[3]\ninput b f32[N, 5, 1]\ny = Mul(x, b)", "FP32[N, 5, 3]"},
    {"input x f32[N, 1]\nconst b f32[1, 7]\nconst c f32[2, 1, 1]\ny = Sum(x, b, c)",
     "FP32[2, N, 7]"},
    {"input x f32[N]\ny = Max(x)", "FP32[N]"},
    {"input x f32[N, 2]\nconst e i64[] = 2\ny = Pow(x, e)", "FP32[N, 2]"},
    {"input x f32[N, 2]\nconst e f32[2]\ny = PRelu(x, e)", "FP32[N, 2]"},
    {"input x i64[N, 2]\nconst e i64[1]\ny = Less(x, e)", "BOOL[N, 2]"},
    {"input x bool[N, 2]\ninput e bool[1]\ny = And(x, e)", "BOOL[N, 2]"},
    {"input x bool[N, 1]\ninput a f32[N, 5]\nconst e f32[]\ny = Where(x, a, e)", "FP32[N, 5]"},
    {"input x f32[0, 3]\nconst b f32[3]\ny = Add(x, b)", "FP32[0, 3]"},
    /* reductions */
    {"input x f32[N, 3, 4]\nconst a i64[1] = -1\ny = ReduceMean(x, a)", "FP32[N, 3, 1]"},
    {"input x f32[N, 3, 4]\nconst a i64[2] = 2 1\ny = ReduceMax(x, a) keepdims=0", "FP32[N]"},
    {"input x f32[N, 3, 4]\ny = ReduceSum(x)", "FP32[1, 1, 1]"},
    {"input x f32[N, 3, 4]\ny = ReduceSum(x) keepdims=0", "FP32[]"},
    {"input x f32[N, 3, 4]\ny = ReduceSum(x) noop_with_empty_axes=1", "FP32[N, 3, 4]"},
    {"input x f32[N, 3, 4]\ny = ReduceL2(x) axes=[1]", "FP32[N, 1, 4]"},
    {"input x f32[N, 3, 4]\ny = ArgMax(x) axis=-1", "INT64[N, 3, 1]"},
    {"input x f32[N, 3, 4]\ny = ArgMin(x) axis=1 keepdims=0", "INT64[N, 4]"},
    {"input x f32[N, 9]\nconst k i64[1] = 4\ny, z = TopK(x, k)", "FP32[N, 4]"},
    {"input x f32[N, 9]\nconst k i64[] = 0\nz, y = TopK(x, k) axis=-1", "INT64[N, 0]"},
    {"input x i64[7, N]\ny, z = TopK(x) axis=0 k=7", "INT64[7, N]"},
    /* views */
    {"input x f32[N, 64, 5, 5]\nconst s i64[2] = -1 1600\ny = Reshape(x, s)", "FP32[N, 1600]"},
    {"input x f32[N, 64, 5, 5]\nconst s i64[2] = 0 -1\ny = Reshape(x, s)", "FP32[N, 1600]"},
    {"input x f32[N, 64, 5, 5]\nconst s i64[4] = 0 0 25 1\ny = Reshape(x, s)",
     "FP32[N, 64, 25, 1]"},
    {"input x f32[N, 6]\nconst s i64[3] = -1 2 3\ny = Reshape(x, s)", "FP32[N, 2, 3]"},
    {"input x f32[N, 6]\nconst s i64[2] = 3 -1\ny = Reshape(x, s)", "FP32[3, 2N]"},
    {"input x f32[N, 6]\nconst s i64[1] = -1\ny = Reshape(x, s)", "FP32[6N]"},
    {"input x f32[2, 3]\nconst s i64[] = 6\ny = Reshape(x, s)", "FP32[6]"},
    {"input x f32[0, 3]\nconst s i64[2] = 3 0\ny = Reshape(x, s) allowzero=1", "FP32[3, 0]"},
    {"input x f32[N, 6]\ny = Reshape(x) shape_factors=[1, 3, 2] shape_extents=[1, 0, 0]",
     "FP32[N, 3, 2]"},
    {"input x f32[1]\nconst s i64[0]\ny = Reshape(x, s)", "FP32[]"},
    {"input x f32[N, 3, 4]\ny = Flatten(x)", "FP32[N, 12]"},
    {"input x f32[N, 3, 4]\ny = Flatten(x) axis=0", "FP32[1, 12N]"},
    {"input x f32[N, 3, 4]\ny = Flatten(x) axis=-1", "FP32[3N, 4]"},
    {"input x f32[N, 1, 4, 1]\ny = Squeeze(x)", "FP32[N, 4]"},
    {"input x f32[N, 1, 4, 1]\nconst a i64[1] = -1\ny = Squeeze(x, a)", "FP32[N, 1, 4]"},
    {"input x f32[N, 4]\nconst a i64[2] = 0 -1\ny = Unsqueeze(x, a)", "FP32[1, N, 4, 1]"},
    {"input x f32[N, 4]\ny = Identity(x)", "FP32[N, 4]"},
    /* movers */
    {"input x f32[N, 3, 4]\ny = Transpose(x)", "FP32[4, 3, N]"},
    {"input x f32[N, 3, 4, 5]\nconst s f32[4] = 1 1 2 0.7\ny = Resize(x, -, s)",
     "FP32[N, 3, 8, 3]"},
    {"input x f32[N, 3, 4, 5]\nconst s f32[2] = 2 1.5\ny = Resize(x, -, s) axes=[-1, 1]",
     "FP32[N, 4, 4, 10]"},
    {"input x f32[N, 3, 10]\nconst s f32[3] = 1 1 0.7\ny = Resize(x, -, s)", "FP32[N, 3, 7]"},
    {"input x f32[N, 3, 4, 5]\nc = Shape(x)\nconst a i64[1] = 0\nconst b i64[1] = 2\n"
     "d = Slice(c, a, b)\nconst n i64[2] = 9 11\ns = Concat(d, n) axis=0\n"
     "y = Resize(x, -, -, s)",
     "FP32[N, 3, 9, 11]"},
    {"input x f32[N, 4, 8]\nconst s i64[2] = 6 6\n"
     "y = Resize(x, -, -, s) axes=[1, 2] keep_aspect_ratio_policy=\"not_larger\"",
     "FP32[N, 3, 6]"},
    {"input x f32[N, 4, 8]\nconst s i64[2] = 6 6\n"
     "y = Resize(x, -, -, s) axes=[1, 2] keep_aspect_ratio_policy=\"not_smaller\"",
     "FP32[N, 6, 12]"},
    {"input x f32[1, 4, 8]\nconst s i64[3] = 1 6 10\n"
     "y = Resize(x, -, -, s) keep_aspect_ratio_policy=\"not_larger\"",
     "FP32[1, 4, 8]"}, /* the first axis asks for a ratio of 1 */
    {"input x f32[N, 4]\ny = Resize(x) resized_sizes=[-1, 6] resized_scales=[0.0, 0.0]",
     "FP32[N, 6]"},
    {"input x f32[N, 3, 4, 5]\ny = Transpose(x) perm=[0, 2, 3, 1]", "FP32[N, 4, 5, 3]"},
    {"input x f32[N, 3]\ninput z f32[N, 4]\ny = Concat(x, z) axis=1", "FP32[N, 7]"},
    {"input x f32[N, 3]\ninput z f32[N, 3]\ny = Concat(x, z) axis=-2", "FP32[2N, 3]"},
    {"input x f32[N, 7]\ny, z = Split(x) axis=1", "FP32[N, 4]"},
    {"input x f32[N, 7]\nz, y = Split(x) axis=1", "FP32[N, 3]"},
    {"input x f32[N, 7]\nconst s i64[2] = 2 5\nz, y = Split(x, s) axis=-1", "FP32[N, 5]"},
    {"input x f32[N, 9]\nconst a i64[1] = 1\nconst b i64[1] = 9223372036854775807\n"
     "const c i64[1] = 1\nconst d i64[1] = 3\ny = Slice(x, a, b, c, d)",
     "FP32[N, 3]"},
    {"input x f32[N, 9]\nconst a i64[1] = -1\nconst b i64[1] = -9223372036854775807\n"
     "const c i64[1] = -1\nconst d i64[1] = -2\ny = Slice(x, a, b, c, d)",
     "FP32[N, 5]"},
    {"input x f32[9]\nconst a i64[1] = 2\nconst b i64[1] = -3\ny = Slice(x, a, b)", "FP32[4]"},
    {"input x f32[9]\nconst a i64[1] = 5\nconst b i64[1] = 5\ny = Slice(x, a, b)", "FP32[0]"},
    {"input x f32[N, 9]\nconst a i64[2] = 0 3\nconst b i64[2] = 9223372036854775807 5\n"
     "y = Slice(x, a, b)",
     "FP32[N, 2]"},
    {"input x f32[N, 3, 4, 5]\nconst p i64[8] = 0 0 1 2 0 0 3 -1\ny = Pad(x, p)",
     "FP32[N, 3, 8, 6]"},
    {"input x f32[N, 3]\nconst p i64[2] = 1 1\nconst a i64[1] = 1\ny = Pad(x, p, -, a)",
     "FP32[N, 5]"},
    {"input x f32[1, 3]\nconst s i64[3] = 2 4 1\ny = Expand(x, s)", "FP32[2, 4, 3]"},
    {"input x f32[N, 3]\nconst s i64[2] = 2 3\ny = Tile(x, s)", "FP32[2N, 9]"},
    {"input x f32[N, 3, 4]\nconst i i64[2, 2] = 0\ny = Gather(x, i) axis=1", "FP32[N, 2, 2, 4]"},
    {"const t f32[10, 4]\ninput x i32[T]\ny = Gather(t, x)", "FP32[T, 4]"},
    {"input x f32[N, 3, 4]\nconst i i64[] = 0\ny = Gather(x, i) axis=2", "FP32[N, 3]"},
    {"const s i64[2] = 2 3\nconst v i64[1] = 7\ny = ConstantOfShape(s, v)", "INT64[2, 3]"},
    {"const a i64[] = 2\nconst b i64[] = 9\nconst c i64[] = 3\ny = Range(a, b, c)", "INT64[3]"},
    {"const a i64[] = 9\nconst b i64[] = 2\nconst c i64[] = -3\ny = Range(a, b, c)", "INT64[3]"},
    {"input x f32[N, 8, 4, 5]\ny = DepthToSpace(x) blocksize=2", "FP32[N, 2, 8, 10]"},
    {"input x f32[N, 2, 8, 10]\ny = SpaceToDepth(x) blocksize=2", "FP32[N, 8, 4, 5]"},
    /* shape arithmetic */
    {"const p i64[8] = 2 -1 1 3 0 0 0 0\nconst t i64[2] = -1 2\nr = Reshape(p, t)\n"
     "const a i64[1] = -1\nconst b i64[1] = -9223372036854775807\nconst c i64[1] = 0\n"
     "s = Slice(r, a, b, c, a)\nm = Transpose(s) perm=[1, 0]\nq = Reshape(m, a)\n"
     "input x f32[N, 3, 4, 5]\ny = Pad(x, q)",
     "FP32[N, 3, 8, 6]"}, /* pads from the last axis on, as PyTorch exports them */
    {"const p i64[2, 3] = 1 2 3 4 5 6\nconst a i64[2] = 1 2\nconst b i64[2] = 2 -4\n"
     "const c i64[2] = 0 1\nconst d i64[2] = 9223372036854775807 -2\ns = Slice(p, a, b, c, d)\n"
     "const m i64[1] = -1\nr = Reshape(s, m)\ny = ConstantOfShape(r)",
     "FP32[6, 4]"},
    {"const p i64[3, 2, 1] = 2 3 4 5 6 7\nconst a i64[1] = 1\nconst b i64[1] = 3\n"
     "s = Slice(p, a, b)\nt = Transpose(s)\nconst m i64[1] = -1\nr = Reshape(t, m)\n"
     "y = ConstantOfShape(r)",
     "FP32[4, 6, 5, 7]"},
    {"input x f32[N, 64, 5, 5]\ns = Shape(x)\nconst i i64[] = 0\nn = Gather(s, i)\n"
     "const a i64[1] = 0\nu = Unsqueeze(n, a)\nconst m i64[1] = -1\nt = Concat(u, m) axis=0\n"
     "y = Reshape(x, t)",
     "FP32[N, 1600]"},
    {"input x f32[N, 64, 5, 5]\ns = Shape(x)\nconst a i64[1] = 0\nconst b i64[1] = 2\n"
     "h = Slice(s, a, b)\nconst m i64[1] = 25\nt = Concat(h, m) axis=0\ny = Reshape(x, t)",
     "FP32[N, 64, 25]"},
    {"input x f32[N, 6, 4]\ns = Shape(x) start=1\np = ReduceProd(s)\nconst m i64[1] = -1\n"
     "t = Concat(m, p) axis=0\ny = Reshape(x, t)",
     "FP32[N, 24]"},
    {"input x f32[N, 6]\ns = Shape(x)\nconst d i64[2] = 1 2\nq = Div(s, d)\n"
     "y = ConstantOfShape(q)",
     "FP32[N, 3]"},
    {"input x f32[N, 6]\ns = Shape(x)\nconst d i64[1] = 2\nq = Mul(s, d)\nr = Cast(q) to=10\n"
     "y = ConstantOfShape(r)",
     "FP32[2N, 12]"},
    {"input x f32[N, 6]\nz = Size(x)\nconst six i64[] = 6\nq = Div(z, six)\n"
     "const a i64[1] = 0\nu = Unsqueeze(q, a)\ny = ConstantOfShape(u)",
     "FP32[N]"},
    /* what PyTorch writes for expand(-1, 4): where(shape == -1, 1, shape) */
    {"input x f32[N, 1]\ns = Shape(x)\nconst i i64[1] = 0\nn = Gather(s, i)\nconst four i64[1] = "
     "4\n"
     "t = Concat(n, four) axis=0\nconst m i64[2] = -1\ne = Equal(t, m)\nconst o i64[2] = 1\n"
     "w = Where(e, o, t)\ny = Expand(x, w)",
     "FP32[N, 4]"},
    {"input x i32[B+1]\ns = Shape(x)\nconst o i64[1] = 1\nb = Sub(s, o)\ny = ConstantOfShape(b)",
     "FP32[B]"},
    {"input x f32[N, 4]\ns = Shape(x)\nconst i i64[] = 0\nn = Gather(s, i)\nconst z i64[] = 0\n"
     "const o i64[] = 1\ny = Range(z, n, o)",
     "INT64[N]"},
    /* networks */
    {"input x f32[N, 3, 224, 224]\nconst w f32[64, 3, 7, 7]\nconst b f32[64]\n"
     "y = Conv(x, w, b) strides=[2, 2] pads=[3, 3, 3, 3]",
     "FP32[N, 64, 112, 112]"},
    {"input x f32[N, 8, 10, 10]\nconst w f32[8, 1, 3, 3]\n"
     "y = Conv(x, w) group=8 dilations=[2, 2] auto_pad=\"SAME_UPPER\" strides=[2, 2]",
     "FP32[N, 8, 5, 5]"},
    {"input x f32[N, 8, 10, 11]\nconst w f32[8, 8, 3, 3]\ny = Conv(x, w) auto_pad=\"VALID\"",
     "FP32[N, 8, 8, 9]"},
    {"input x f32[N, 8, 10]\nconst w f32[4, 8, 3]\ny = Conv(x, w) pads=[1, 1]", "FP32[N, 4, 10]"},
    {"input x f32[N, 2, 4, 4, 4]\nconst w f32[4, 2, 3, 3, 3]\ny = Conv(x, w)",
     "FP32[N, 4, 2, 2, 2]"},
    {"input x f32[N, 8, 7, 7]\ny = MaxPool(x) kernel_shape=[3, 3] strides=[2, 2]",
     "FP32[N, 8, 3, 3]"},
    {"input x f32[N, 8, 8, 8]\ny = MaxPool(x) kernel_shape=[3, 3] strides=[2, 2] ceil_mode=1",
     "FP32[N, 8, 4, 4]"},
    /* the third window would begin in the padding: left out */
    {"input x f32[N, 8, 3, 3]\ny = AveragePool(x) kernel_shape=[2, 2] strides=[3, 3] "
     "pads=[1, 1, 1, 1] ceil_mode=1",
     "FP32[N, 8, 2, 2]"},
    {"input x f32[N, 8, 2, 2]\ny = AveragePool(x) kernel_shape=[1, 1] strides=[2, 2] ceil_mode=1",
     "FP32[N, 8, 1, 1]"},
    {"input x f32[N, 5, 7, 8]\ny = MaxPool(x) kernel_shape=[3, 3] strides=[2, 2] nhwc=1",
     "FP32[N, 2, 3, 8]"},
    {"input x f32[N, 8, 7, 5]\ny = GlobalAveragePool(x)", "FP32[N, 8, 1, 1]"},
    {"input x f32[N, 7, 5, 8]\ny = GlobalMaxPool(x) nhwc=1", "FP32[N, 1, 1, 8]"},
    {"input x f32[N, 8, 7]\nconst a f32[8]\ny = BatchNormalization(x, a, a, a, a)",
     "FP32[N, 8, 7]"},
    {"input x f32[N, 8, 7]\nconst a f32[8]\ny = InstanceNormalization(x, a, a)", "FP32[N, 8, 7]"},
    {"input x f32[N, 8, 7, 7]\ny = LRN(x) size=5", "FP32[N, 8, 7, 7]"},
    {"input x f32[N, 8]\ny = Softmax(x)", "FP32[N, 8]"},
    {"input x f32[N, 8]\nconst w f32[8, 3]\ny = MatMul(x, w)", "FP32[N, 3]"},
    {"input x f32[N, 12, 7, 64]\ninput z f32[N, 12, 64, 7]\ny = MatMul(x, z)", "FP32[N, 12, 7, 7]"},
    {"input x f32[N, 5, 8]\nconst w f32[8]\ny = MatMul(x, w)", "FP32[N, 5]"},
    {"const x f32[8]\ninput w f32[N, 8, 3]\ny = MatMul(x, w)", "FP32[N, 3]"},
    {"const x f32[8]\nconst w f32[8]\ny = MatMul(x, w)", "FP32[]"},
    {"input x f32[N, 8]\nconst w f32[3, 8]\nconst b f32[3]\ny = Gemm(x, w, b) transB=1",
     "FP32[N, 3]"},
    {"input x f32[8, N]\nconst w f32[8, 3]\ny = Gemm(x, w) transA=1", "FP32[N, 3]"},
    /* fused */
    {"input x f32[T, 8]\nconst w f32[3, 8]\nconst b f32[3]\ny = ensod.Linear(x, w, b)",
     "FP32[T, 3]"},
    {"input x f32[T, 8]\nconst w f32[8, 3]\ninput r f32[T, 3]\n"
     "y = ensod.Linear(x, w, -, r) transposed=0",
     "FP32[T, 3]"},
    {"input x f32[N, 9, 9, 3]\nconst w f32[8, 3, 3, 3]\ny = ensod.Conv(x, w) strides=[2, 2]",
     "FP32[N, 4, 4, 8]"},
    {"input x f32[T, 96]\ninput s i32[B+1]\ny = ensod.Attention(x, s) heads=4 size=8",
     "FP32[T, 32]"},
    {"input x f32[T, 8]\nconst g f32[8]\ny = ensod.LayerNorm(x, g, g, x)", "FP32[T, 8]"},
    {"input x f32[T, 8]\nconst g f32[8]\ny = ensod.RMSNorm(x, g)", "FP32[T, 8]"},
    {"input x i32[T]\nconst w f32[50, 8]\nconst p f32[16, 8]\nconst g f32[8]\n"
     "y = ensod.Embedding(x, w, x, p, -, p, g, g)",
     "FP32[T, 8]"},
    {"input x f32[T, 8]\ninput s i32[B+1]\ny = ensod.SequencePool(x, s)", "FP32[B, 8]"},
    {"input x f32[B, 8]\ny = ensod.L2Normalize(x)", "FP32[B, 8]"},
    /* half types go through; parameters keep a type of their own */
    {"input x bf16[N, 3]\ny = Relu(x)", "BF16[N, 3]"},
    {"input x f32[N, 3]\ny = Cast(x) to=2", "BF16[N, 3]"},
    {"input x f16[N, 3, 4]\nconst b f16[3, 1]\ny = Add(x, b)", "FP16[N, 3, 4]"},
    {"input x bf16[N, 3]\nconst e f32[] = 2\ny = Pow(x, e)", "BF16[N, 3]"},
    {"input c bool[N, 1]\ninput x bf16[N, 5]\nconst e bf16[]\ny = Where(c, x, e)", "BF16[N, 5]"},
    {"input x f16[N, 3, 4]\ny = ReduceMean(x) axes=[1]", "FP16[N, 1, 4]"},
    {"input x bf16[N, 3, 4]\ny = ArgMax(x) axis=-1", "INT64[N, 3, 1]"},
    {"input x bf16[N, 3, 4]\ny = Transpose(x)", "BF16[4, 3, N]"},
    {"input x bf16[N, 3]\ninput z bf16[N, 4]\ny = Concat(x, z) axis=1", "BF16[N, 7]"},
    {"input x bf16[N, 8]\ny = Softmax(x)", "BF16[N, 8]"},
    {"input x bf16[N, 4, 8]\ninput w bf16[N, 8, 3]\ny = MatMul(x, w)", "BF16[N, 4, 3]"},
    {"input x bf16[N, 4, 5]\nconst s f32[4]\ny = InstanceNormalization(x, s, s)", "BF16[N, 4, 5]"},
    {"input x bf16[N, 3, 9, 9]\nconst w f32[8, 3, 3, 3]\nconst b f32[8]\ny = Conv(x, w, b)",
     "BF16[N, 8, 7, 7]"},
    {"input x bf16[N, 9, 9, 3]\nconst w f32[8, 3, 3, 3]\ny = ensod.Conv(x, w) strides=[2, 2]",
     "BF16[N, 4, 4, 8]"},
    {"input x bf16[T, 8]\nconst w f32[3, 8]\nconst b f16[3]\ninput r bf16[T, 3]\n"
     "y = ensod.Linear(x, w, b, r)",
     "BF16[T, 3]"},
    {"input x bf16[T, 8]\nconst w f32[3, 8]\ny = ensod.Linear(x, w) dtype=0", "FP32[T, 3]"},
    {"input x bf16[T, 8]\nconst w f32[3, 8]\ninput r bf16[B, 3]\ninput s i32[B+1]\n"
     "y = ensod.Linear(x, w, -, r, s) rows=\"last\"",
     "BF16[B, 3]"},
    {"input x f16[T, 96]\ninput s i32[B+1]\ny = ensod.Attention(x, s) heads=4 size=8",
     "FP16[T, 32]"},
    {"input x bf16[T, 8]\nconst g f32[8]\ny = ensod.LayerNorm(x, g, g, x)", "BF16[T, 8]"},
    {"input x i32[T]\nconst w f32[50, 8]\ny = ensod.Embedding(x, w) dtype=1", "FP16[T, 8]"},
    {"input x i32[T]\nconst w f16[50, 8]\ny = ensod.Embedding(x, w)", "FP16[T, 8]"},
    {"input x bf16[T, 8]\ninput s i32[B+1]\ny = ensod.SequencePool(x, s)", "BF16[B, 8]"},
    {"input x bf16[T, 8]\ninput s i32[B+1]\ny = ensod.SequencePool(x, s) dtype=0", "FP32[B, 8]"},
    {"input x bf16[B, 8]\ny = ensod.L2Normalize(x)", "BF16[B, 8]"},
};

static const struct infer_case bad[] = {
    {"input x bf16[N, 3]\nconst b f32[3]\ny = Add(x, b)", "have one type, but are BF16 and FP32"},
    {"input x bf16[N, 8]\nconst w f32[8, 3]\ny = MatMul(x, w)", "must have one type"},
    {"input x bf16[T, 8]\nconst w i32[3, 8]\ny = ensod.Linear(x, w)",
     "input 1 is INT32, which does not go with BF16"},
    {"input x bf16[T, 8]\nconst w f32[8, 8]\ninput r f32[T, 8]\ny = ensod.Linear(x, w, -, r)",
     "the residual must have the output's shape and BF16"},
    {"input x bf16[T, 8]\nconst g f32[8]\ninput r f32[T, 8]\ny = ensod.LayerNorm(x, g, g, r)",
     "the residual must have the output's shape and BF16"},
    {"input x bf16[T, 8]\nconst w f32[3, 8]\ny = ensod.Linear(x, w) dtype=8", "no float type"},
    {"input x bf16[N, 9, 9, 3]\nconst w i32[8, 3, 3, 3]\ny = ensod.Conv(x, w)", "does not go with"},
    {"input x bf16[N, 4, 5]\nconst s i32[4]\ny = InstanceNormalization(x, s, s)",
     "does not go with"},
    {"input x f32[N, 3]\ny = Relu(x, x)", "'y' (Relu): it has 2 inputs, but takes 1 to 1"},
    {"input x f32[N, 3]\ny = Add(x, -)", "input 1 is missing"},
    {"input x f32[N, 3]\ny, z = Relu(x)", "it has 2 outputs"},
    {"input x bool[3]\ny = Relu(x)", "does not take BOOL"},
    {"input x f32[3]\ny = Not(x)", "takes BOOL"},
    {"input x f32[3]\nconst a f32[2]\ny = Clip(x, a)", "bounds must be scalars"},
    {"input x f32[3]\ny = Cast(x) to=77", "does not know"},
    {"input x f32[3]\ny = Cast(x)", "does not know"},
    {"input x f32[2, 3]\nconst b f32[4]\ny = Add(x, b)",
     "shapes do not fit together (3 against 4); its inputs are FP32[2, 3], FP32[4]"},
    {"input x f32[N]\nconst b f32[4]\ny = Add(x, b)", "export the model with a fixed size"},
    {"input x f32[N]\ninput b f32[T]\ny = Add(x, b)", "fixed size"},
    {"input x f32[4]\nconst b i64[4]\ny = Add(x, b)", "one type, but are FP32 and INT64"},
    {"input x f32[2]\nconst b f32[3, 2]\ny = PRelu(x, b)", "slope is larger"},
    {"input x f32[2]\ny = Where(x, x, x)", "condition must be BOOL"},
    {"input x f32[2]\ny = And(x, x)", "takes BOOL"},
    {"input x f32[2, 3]\ny = ReduceMean(x) axes=[2]", "axis 2 lies outside a tensor of rank 2"},
    {"input x f32[2, 3]\ny = ReduceMean(x) axes=[1, -1]", "given twice"},
    {"input x f32[2, 3]\ninput a i64[1]\ny = ReduceMean(x, a)", "'a' must be"},
    {"input x f32[2, 0]\ny = ArgMax(x) axis=1", "nothing to search"},
    {"input x f32[N, 9]\nconst k i64[1] = -1\ny, z = TopK(x, k)", "the -1 largest of 9"},
    {"input x f32[N, 9]\nconst k i64[1] = 2\ny, z = TopK(x, k) axis=0", "chooses from the batch"},
    {"input x f32[N, 9]\nconst k i64[2] = 2\ny, z = TopK(x, k)", "at most 1 integers"},
    {"input x f32[N, 9]\ny, z = TopK(x)", "the -1 largest of 9"},
    {"input x bool[N, 9]\ny, z = TopK(x) k=1", "does not take BOOL"},
    {"input x f32[N, 9]\ny = TopK(x) k=1", "it has 1 outputs"},
    {"input x f32[4, 5]\nconst s f32[3] = 2\ny = Resize(x, -, s)", "3 scales for 2 axes"},
    {"input x f32[4, 5]\nconst s f32[2] = 2\ny = Resize(x, -, s) axes=[1, -1]", "given twice"},
    {"input x f32[4, 5]\nconst s f32[1] = 2\ny = Resize(x, -, s) axes=[2]", "axis 2 lies outside"},
    {"input x f32[4, 0]\nconst s i64[2] = 4 1\ny = Resize(x, -, -, s)", "axis 1 cannot become 1"},
    {"input x f32[4, 5]\nconst s i64[2] = 4 -1\ny = Resize(x, -, -, s)", "axis 1 cannot become -1"},
    {"input x f32[4, 262145]\nconst s f32[2] = 1 0.5\ny = Resize(x, -, s)", "at most 262144"},
    {"input x f32[4, 262144]\nconst s f32[2] = 1 1.00001\ny = Resize(x, -, s)", "at most 262144"},
    {"input x f32[1, 1, 1, 1]\nconst s i64[4] = 262144 262144 262144 262144\n"
     "y = Resize(x, -, -, s)",
     "more elements than can be addressed"},
    {"input x f32[N, 200000]\nconst s f32[2] = 1 1.25\nconst t i64[1] = 200000\n"
     "a = Resize(x, -, s)\nb = Resize(a, -, -, t) axes=[1]\nc = Resize(b, -, s)\n"
     "d = Resize(c, -, -, t) axes=[1]\ny = Resize(d, -, s)",
     "node 'y' (Resize): the axes that the model resizes have more than 2097152 elements"},
    {"input x f32[4, 5]\nconst s f32[1, 2] = 2 2\ny = Resize(x, -, s)", "the scales are no list"},
    {"input x f32[4, 5]\nconst s f32[1, 2] = 2\nconst t f32[2, 1] = 3\n"
     "u = Mul(s, t)\nv = Reshape(u) shape_factors=[4] shape_extents=[0]\ny = Resize(x, -, v)",
     "the scales 'v' are not known"},
    {"input x f32[4, 5]\nconst s i64[2] = 8 8\n"
     "y = Resize(x, -, -, s) keep_aspect_ratio_policy=\"odd\"",
     "keep_aspect_ratio_policy 'odd'"},
    {"input x f32[N, 4]\ny = Resize(x) resized_sizes=[-1, 6] resized_scales=[0.0, -1.0]",
     "scale -1 makes no sense"},
    {"input x f32[N, 4]\ny = Resize(x) resized_sizes=[-1, 6] resized_scales=[0.0, 0.0] "
     "ratio_axis=0",
     "axis 0 has no ratio"},
    {"input x f32[N, 6]\nconst s i64[2] = -1 4\ny = Reshape(x, s)", "cannot be cut into rows of 4"},
    {"input x f32[2, 6]\nconst s i64[2] = 3 5\ny = Reshape(x, s)", "12 elements cannot become 15"},
    {"input x f32[N, 6]\nconst s i64[2] = 1 6\ny = Reshape(x, s)", "a batch size is fixed"},
    {"input x f32[N, 6]\nconst s i64[2] = -1 -1\ny = Reshape(x, s)", "-1 twice"},
    {"input x f32[N, 6]\nconst s i64[2] = -2 6\ny = Reshape(x, s)", "negative size -2"},
    {"input x f32[N, 6]\nconst s i64[3] = 0 0 0\ny = Reshape(x, s)", "copies dimension 2"},
    {"input x f32[0, 6]\nconst s i64[2] = 0 -1\ny = Reshape(x, s)", "cannot be cut"},
    {"input x f32[N, 6]\ninput s i64[2]\ny = Reshape(x, s)", "the shape 's' depends on data"},
    {"input x f32[N, 6]\ns = Shape(x)\nconst t i64[1] = 3\nu = Add(s, t)\ny = ConstantOfShape(u)",
     "depends on data, or on the batch"},
    {"input x f32[N, 6]\ny = Reshape(x)", "the shape is missing"},
    {"input x f32[N, 6]\ny = Reshape(x) shape_factors=[1, 6] shape_extents=[1]", "do not match"},
    {"input x f32[N, 6]\ny = Reshape(x) shape_factors=[1, 6] shape_extents=[9, 0]", "holds 9"},
    {"input x f32[N, 6]\nconst s i64[9] = 1\ny = Reshape(x, s)", "at most 8 dimensions"},
    {"input x f32[N, T]\ny = Flatten(x) axis=0", "mixes two run-time sizes"},
    {"input x f32[N, 6]\ny = Flatten(x) axis=3", "axis 3 lies outside"},
    {"input x f32[N, 6]\nconst a i64[1] = 1\ny = Squeeze(x, a)", "dimension 1 is not 1"},
    {"input x f32[N, 6]\ny = Transpose(x) perm=[0, 0]", "not a permutation"},
    {"input x f32[N, 6]\ny = Transpose(x) perm=[0]", "1 entries for rank 2"},
    {"input x f32[N, 6]\ninput z f32[N]\ny = Concat(x, z) axis=0", "differs in rank"},
    {"input x f32[N, 6]\ninput z f32[N, 5]\ny = Concat(x, z) axis=0", "differs in dimension 1"},
    {"input x f32[N, 6]\nconst z f32[1, 6]\ny = Concat(x, z) axis=0", "joins a run-time size"},
    {"input x f32[N, 6]\ny, z = Split(x) axis=0", "cuts the batch apart"},
    {"input x f32[N, 6]\nconst s i64[2] = 2 5\ny, z = Split(x, s) axis=1", "hold 7, not 6"},
    {"input x f32[N, 6]\nconst s i64[2] = -1 7\ny, z = Split(x, s) axis=1",
     "part 0 has the size -1"},
    {"input x f32[N, 6]\nconst a i64[1] = 1\nconst b i64[1] = 2\ny = Slice(x, a, b)",
     "cuts a piece out of the batch"},
    {"input x f32[6]\nconst a i64[1] = 0\ny = Slice(x, a, a, a, a)", "the step is 0"},
    {"input x f32[6]\nconst a i64[1] = 0\nconst b i64[2] = 0\ny = Slice(x, a, b)",
     "1 starts and 2 ends"},
    {"input x f32[N]\nconst a i64[2] = 1\ny = Pad(x, a)", "pads the batch"},
    {"input x f32[4]\nconst a i64[2] = -3 -3\ny = Pad(x, a)", "leave no size"},
    {"input x f32[4]\nconst a i64[3] = 1\ny = Pad(x, a)", "3 pads for 1 axes"},
    {"input x f32[4]\nconst a i64[1] = -1\ny = Tile(x, a)", "cannot be repeated"},
    {"input x f32[4]\ninput a i64[1]\ny = Tile(x, a)", "repeats 'a' are not known"},
    {"input x f32[4]\nconst i f32[1]\ny = Gather(x, i)", "INT32 or INT64"},
    {"const s i64[2] = 1 2\nconst i i64[] = 2\ny = Gather(s, i)",
     "index 2 lies outside 2 elements"},
    {"const s i64[2] = 1 -2\ny = ConstantOfShape(s)", "negative size"},
    {"const s i64[2] = 4000000000 4000000000\ny = ConstantOfShape(s)",
     "more elements than can be addressed"},
    {"const a i64[] = 1\nconst z i64[] = 0\ny = Range(a, a, z)", "make no sense"},
    {"input x f32[N, 3, 4, 4]\ny = DepthToSpace(x) blocksize=2", "multiple of 4"},
    {"input x f32[N, 3, 4, 4]\ny = DepthToSpace(x)", "blocksize is 0"},
    {"input x f32[N, 3, 5, 4]\ny = SpaceToDepth(x) blocksize=2", "multiple of 2"},
    {"input x f32[N, 3, 8, 8]\nconst w f32[4, 4, 3, 3]\ny = Conv(x, w)",
     "3 channels in 1 groups do not fit a weight for 4; its inputs are FP32[N, 3, 8, 8], "
     "FP32[4, 4, 3, 3]"},
    {"input x f32[N, 3, 2, 2]\nconst w f32[4, 3, 3, 3]\ny = Conv(x, w)", "larger than the padded"},
    {"input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\ny = Conv(x, w) strides=[0, 1]",
     "strides holds 0"},
    {"input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\ny = Conv(x, w) pads=[1, 1]",
     "pads has 2 entries instead of 4"},
    {"input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\ny = Conv(x, w) kernel_shape=[3, 2]",
     "kernel_shape is not the weight's"},
    {"input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\ny = Conv(x, w) auto_pad=\"ODD\"",
     "auto_pad 'ODD'"},
    {"input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\nconst b f32[3]\ny = Conv(x, w, b)",
     "bias must be [4]"},
    {"input x f32[N, 3, 8, T]\nconst w f32[4, 3, 3, 3]\ny = Conv(x, w)", "height or width"},
    {"input x f32[N, 3]\nconst w f32[4, 3]\ny = Conv(x, w)", "one to three spatial"},
    {"input x f32[N, 3, 8, 8]\ny = MaxPool(x)", "kernel_shape is missing"},
    {"input x f32[N, 3, 8, 8]\ny = MaxPool(x) kernel_shape=[2, 2] pads=[2, 0, 0, 0]",
     "as large as the window"},
    {"input x f32[N, 3, 8, 8]\ny = MaxPool(x) kernel_shape=[2, 9223372036854775807]",
     "kernel_shape holds"},
    {"input x f32[N, 8]\nconst a f32[7]\ny = BatchNormalization(x, a, a, a, a)",
     "one number per channel"},
    {"input x f32[N, 8]\ny = Softmax(x) axis=2", "axis 2 lies outside"},
    {"input x f32[N, 8]\nconst w f32[7, 3]\ny = MatMul(x, w)", "8 columns meet 7 rows"},
    {"input x f32[N, N]\nconst w f32[7, 3]\ny = MatMul(x, w)", "sums over the batch"},
    {"input x f32[N, 8]\nconst w f32[8, 3]\nconst b f32[2, 2, 3]\ny = Gemm(x, w, b)", "meets"},
    {"input x f32[N, 8]\nconst w f32[8, 3]\nconst b f32[4]\ny = Gemm(x, w, b)", "do not fit"},
    {"input x f32[T, 8]\nconst w f32[3, 7]\ny = ensod.Linear(x, w)", "meet a weight for 7"},
    {"input x f32[T, 8]\nconst w f32[3, 8]\nconst b f32[4]\ny = ensod.Linear(x, w, b)",
     "must be [3]"},
    {"input x f32[T, 8]\nconst w f32[3, 8]\ny = ensod.Linear(x, w, -, x)", "residual must have"},
    {"input x f32[T, 8]\nconst w f32[3, 8]\ninput s i64[B+1]\ny = ensod.Linear(x, w, -, -, s)",
     "with starts it takes"},
    {"input x f32[T, 90]\ninput s i32[B+1]\ny = ensod.Attention(x, s) heads=4 size=8",
     "takes [T, 96]"},
    {"input x i32[T]\nconst w f32[50, 8]\nconst p f32[16, 8]\ny = ensod.Embedding(x, w, -, p)",
     "needs positions"},
    {"input x f32[T, 8]\ninput s f32[B+1]\ny = ensod.SequencePool(x, s)", "INT32 starts"},
};

static struct enso_graph *build(const char *text)
{
    char all[1024];

    ck_assert_int_lt(snprintf(all, sizeof all, "%s\noutput y", text), (int)sizeof all);
    return text_graph(all);
}

START_TEST(test_infer_good)
{
    const struct infer_case *t = &good[_i];
    struct enso_graph *g = build(t->text);
    struct enso_buffer b = ENSO_BUFFER_INIT;
    struct enso_error err = {0};

    for (int again = 0; again < 2; again++) { /* a second time gives the same */
        const struct enso_value *y;

        ck_assert_msg(enso_graph_infer(g, &err) == ENSO_OK, "%s\n%s", t->text, err.message);
        y = enso_graph_value(g, enso_graph_find_value(g, "y"));
        enso_buffer_clear(&b);
        enso_buffer_puts(&b, enso_dtype_name(y->dtype));
        enso_shape_print(&y->shape, &b);
        ck_assert_msg(strcmp(b.data, t->expected) == 0, "%s\ngives %s, not %s", t->text, b.data,
                      t->expected);
    }
    enso_buffer_done(&b);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_infer_bad)
{
    const struct infer_case *t = &bad[_i];
    struct enso_graph *g = build(t->text);
    struct enso_error err = {0};

    ck_assert_msg(enso_graph_infer(g, &err) != ENSO_OK, "%s\npasses", t->text);
    ck_assert_msg(strstr(err.message, t->expected) != NULL, "%s\ngives: %s\nnot: %s", t->text,
                  err.message, t->expected);
    ck_assert_msg(strstr(err.message, "node 'y'") != NULL, "%s", err.message);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_infer_writes_explicit_pads)
{
    struct enso_graph *g = build("input x f32[N, 3, 10, 10]\nconst w f32[4, 3, 4, 4]\n"
                                 "y = Conv(x, w) auto_pad=\"SAME_LOWER\"");
    const struct enso_node *n = enso_graph_node(g, 0);
    const int64_t *pads;
    size_t k;

    ck_assert_int_eq(enso_graph_infer(g, NULL), ENSO_OK);
    pads = enso_node_ints(n, "pads", &k);
    ck_assert_uint_eq(k, 4);
    ck_assert_int_eq(pads[0], 2);
    ck_assert_int_eq(pads[2], 1);
    ck_assert(!enso_node_has(n, "auto_pad"));
    ck_assert_int_eq(enso_graph_infer(g, NULL), ENSO_OK);
    ck_assert_int_eq(enso_node_ints(n, "pads", &k)[0], 2);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_infer_names)
{
    for (int i = 1; i < ENSO_N_OPS; i++)
        ck_assert_int_eq(enso_op_from_onnx(enso_op_name((enum enso_op)i)), i);
    ck_assert_int_eq(enso_op_from_onnx("NonMaxSuppression"), ENSO_OP_NONE);
    ck_assert_int_eq(enso_op_from_onnx(""), ENSO_OP_NONE);
    ck_assert(enso_op_is_view(ENSO_OP_RESHAPE));
    ck_assert(!enso_op_is_view(ENSO_OP_TRANSPOSE));
    ck_assert(enso_op_works_in_place(ENSO_OP_ADD));
    ck_assert(!enso_op_works_in_place(ENSO_OP_CONV));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/infer");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(core, test_infer_good, 0, (int)ENSO_ARRAY_SIZE(good));
    tcase_add_test(core, test_infer_writes_explicit_pads);
    tcase_add_test(core, test_infer_names);
    tcase_add_loop_test(errors, test_infer_bad, 0, (int)ENSO_ARRAY_SIZE(bad));
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
