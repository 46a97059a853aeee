/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/passes/lower_precision.c. Each case is a graph before, an operator that the device lacks
 * in the half type, and the whole graph after it. What it computes must not have changed: with its
 * half types made F32 again (casts and all) it must give the bits of the graph before, on the CPU.
 */
#include "engine/passes/passes.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/program/context.h"
#include "engine/program/program.h"
#include "tests/engine/graph/text_graph.h"
#include "tests/support/support.h"

#define N_ITEMS 3
#define N_TOKENS 7
#define N_SEQUENCES 2

static enum enso_op lacking;

static bool computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    (void)device;
    return dtype == ENSO_DTYPE_F32 || op != lacking;
}

struct lower_case {
    enum enso_dtype dtype;
    enum enso_op lacking; /* ENSO_OP_NONE: nothing */
    bool fast_gelu;
    const char *before, *after; /* after: the dump's nodes */
};

static const struct lower_case cases[] = {
    /* BERT with a classifier: no cast at all, the head writes F32 */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input tokens i32[T]\n"
     "input positions i32[T]\n"
     "input segments i32[T]\n"
     "input starts i32[B+1]\n"
     "const words f32[9, 8]\n"
     "const places f32[9, 8]\n"
     "const kinds f32[5, 8]\n"
     "const g f32[8]\n"
     "const b f32[8]\n"
     "x = ensod.Embedding(tokens, words, positions, places, segments, kinds, g, b)\n"
     "const wq f32[24, 8]\n"
     "const bq f32[24]\n"
     "qkv = ensod.Linear(x, wq, bq, -)\n"
     "a = ensod.Attention(qkv, starts) heads=2 size=4\n"
     "const wo f32[8, 8]\n"
     "o = ensod.Linear(a, wo, b, -)\n"
     "n = ensod.LayerNorm(o, g, b, x)\n"
     "const wi f32[16, 8]\n"
     "const bi f32[16]\n"
     "i = ensod.Linear(n, wi, bi, -) activation=2\n"
     "const wd f32[8, 16]\n"
     "d = ensod.Linear(i, wd, b, -)\n"
     "h = ensod.LayerNorm(d, g, b, n)\n"
     "p = ensod.SequencePool(h, starts) mode=\"cls\"\n"
     "pd = ensod.Linear(p, wo, b, -) activation=5\n"
     "const wc f32[3, 8]\n"
     "const bc f32[3]\n"
     "logits = ensod.Linear(pd, wc, bc, -)\n"
     "output logits",
     "input tokens INT32[T]\n"
     "input positions INT32[T]\n"
     "input segments INT32[T]\n"
     "input starts INT32[(B+1)]\n"
     "x = ensod.Embedding(tokens, words, positions, places, segments, kinds, g, b) dtype=2 BF16[T, "
     "8]\n"
     "qkv = ensod.Linear(x, wq, bq, -) BF16[T, 24]\n"
     "a = ensod.Attention(qkv, starts) heads=2 size=4 BF16[T, 8]\n"
     "o = ensod.Linear(a, wo, b, -) BF16[T, 8]\n"
     "n = ensod.LayerNorm(o, g, b, x) BF16[T, 8]\n"
     "i = ensod.Linear(n, wi, bi, -) activation=2 BF16[T, 16]\n"
     "d = ensod.Linear(i, wd, b, -) BF16[T, 8]\n"
     "h = ensod.LayerNorm(d, g, b, n) BF16[T, 8]\n"
     "p = ensod.SequencePool(h, starts) mode=\"cls\" BF16[B, 8]\n"
     "pd = ensod.Linear(p, wo, b, -) activation=5 BF16[B, 8]\n"
     "logits = ensod.Linear(pd, wc, bc, -) dtype=0 FP32[B, 3]\n"
     "output logits = logits\n"},
    /* BERT pooled to unit vectors: the tokens are an output too, and are read inside */
    {ENSO_DTYPE_F16, ENSO_OP_NONE, true,
     "input tokens i32[T]\n"
     "input positions i32[T]\n"
     "input segments i32[T]\n"
     "input starts i32[B+1]\n"
     "const words f32[9, 8]\n"
     "const places f32[9, 8]\n"
     "const kinds f32[5, 8]\n"
     "const g f32[8]\n"
     "const b f32[8]\n"
     "x = ensod.Embedding(tokens, words, positions, places, segments, kinds, g, b)\n"
     "const wq f32[24, 8]\n"
     "const bq f32[24]\n"
     "qkv = ensod.Linear(x, wq, bq, -)\n"
     "a = ensod.Attention(qkv, starts) heads=2 size=4\n"
     "const wo f32[8, 8]\n"
     "o = ensod.Linear(a, wo, b, -)\n"
     "n = ensod.LayerNorm(o, g, b, x)\n"
     "const wi f32[16, 8]\n"
     "const bi f32[16]\n"
     "i = ensod.Linear(n, wi, bi, -) activation=2\n"
     "const wd f32[8, 16]\n"
     "d = ensod.Linear(i, wd, b, -)\n"
     "h = ensod.LayerNorm(d, g, b, n)\n"
     "m = ensod.SequencePool(h, starts) mode=\"mean\"\n"
     "c = ensod.SequencePool(h, starts) mode=\"cls\"\n"
     "both = Concat(m, c) axis=1\n"
     "y = ensod.L2Normalize(both)\n"
     "output y\n"
     "output h",
     "input tokens INT32[T]\n"
     "input positions INT32[T]\n"
     "input segments INT32[T]\n"
     "input starts INT32[(B+1)]\n"
     "x = ensod.Embedding(tokens, words, positions, places, segments, kinds, g, b) dtype=1 FP16[T, "
     "8]\n"
     "qkv = ensod.Linear(x, wq, bq, -) FP16[T, 24]\n"
     "a = ensod.Attention(qkv, starts) heads=2 size=4 FP16[T, 8]\n"
     "o = ensod.Linear(a, wo, b, -) FP16[T, 8]\n"
     "n = ensod.LayerNorm(o, g, b, x) FP16[T, 8]\n"
     "i = ensod.Linear(n, wi, bi, -) activation=3 FP16[T, 16]\n"
     "d = ensod.Linear(i, wd, b, -) FP16[T, 8]\n"
     "h:0 = ensod.LayerNorm(d, g, b, n) FP16[T, 8]\n"
     "m = ensod.SequencePool(h:0, starts) mode=\"mean\" dtype=0 FP32[B, 8]\n"
     "c = ensod.SequencePool(h:0, starts) mode=\"cls\" dtype=0 FP32[B, 8]\n"
     "both = Concat(m, c) axis=1 FP32[B, 16]\n"
     "y = ensod.L2Normalize(both) FP32[B, 16]\n"
     "h = Cast(h:0) to=0 FP32[T, 8]\n"
     "output y = y\n"
     "output h = h\n"},
    /* a CNN: the picture is cast once, the mean subtracted before that */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 3, 6, 6]\n"
     "const mean f32[3, 1, 1]\n"
     "s = Sub(x, mean)\n"
     "t = Transpose(s) perm=[0, 2, 3, 1]\n"
     "const w f32[4, 3, 3, 3]\n"
     "const b f32[4]\n"
     "c = ensod.Conv(t, w, b) activation=1\n"
     "p = MaxPool(c) kernel_shape=[2, 2] nhwc=1\n"
     "const v f32[4, 4, 1, 1]\n"
     "d = ensod.Conv(p, v, b, p)\n"
     "a = GlobalAveragePool(d) nhwc=1\n"
     "f = Reshape(a) shape_factors=[1, 4] shape_extents=[1, 0]\n"
     "const l f32[5, 4]\n"
     "y = ensod.Linear(f, l)\n"
     "z = Softmax(y)\n"
     "output z",
     "input x FP32[N, 3, 6, 6]\n"
     "s = Sub(x, mean) FP32[N, 3, 6, 6]\n"
     "s:0 = Cast(s) to=2 BF16[N, 3, 6, 6]\n"
     "t = Transpose(s:0) perm=[0, 2, 3, 1] BF16[N, 6, 6, 3]\n"
     "c = ensod.Conv(t, w, b) activation=1 kernel_shape=[3, 3] strides=[1, 1] pads=[0, 0, 0, 0] "
     "dilations=[1, 1] BF16[N, 4, 4, 4]\n"
     "p = MaxPool(c) kernel_shape=[2, 2] nhwc=1 strides=[1, 1] pads=[0, 0, 0, 0] dilations=[1, 1] "
     "BF16[N, 3, 3, 4]\n"
     "d = ensod.Conv(p, v, b, p) kernel_shape=[1, 1] strides=[1, 1] pads=[0, 0, 0, 0] "
     "dilations=[1, 1] BF16[N, 3, 3, 4]\n"
     "a = GlobalAveragePool(d) nhwc=1 BF16[N, 1, 1, 4]\n"
     "f = Reshape(a) shape_factors=[1, 4] shape_extents=[1, 0] BF16[N, 4]\n"
     "y = ensod.Linear(f, l) dtype=0 FP32[N, 5]\n"
     "z = Softmax(y) FP32[N, 5]\n"
     "output z = z\n"},
    /* scores that are ranked are not rounded before it */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 4]\n"
     "const w f32[4, 4]\n"
     "h = ensod.Linear(x, w)\n"
     "a = ensod.Linear(h, w)\n"
     "v, i = TopK(a) k=2\n"
     "b = ensod.Linear(h, w)\n"
     "p = Softmax(b)\n"
     "u, j = TopK(p) k=2\n"
     "c = ensod.Linear(h, w)\n"
     "m = ArgMax(c) axis=1\n"
     "o = Cast(m) to=0\n"
     "d = ensod.Linear(h, w)\n"
     "n = ArgMin(d) axis=1\n"
     "q = Cast(n) to=0\n"
     "output v\n"
     "output u\n"
     "output o\n"
     "output q",
     "input x FP32[N, 4]\n"
     "x:0 = Cast(x) to=2 BF16[N, 4]\n"
     "h = ensod.Linear(x:0, w) BF16[N, 4]\n"
     "a = ensod.Linear(h, w) dtype=0 FP32[N, 4]\n"
     "v, i = TopK(a) k=2 FP32[N, 2], INT64[N, 2]\n"
     "b = ensod.Linear(h, w) dtype=0 FP32[N, 4]\n"
     "p = Softmax(b) FP32[N, 4]\n"
     "u, j = TopK(p) k=2 FP32[N, 2], INT64[N, 2]\n"
     "c = ensod.Linear(h, w) dtype=0 FP32[N, 4]\n"
     "m = ArgMax(c) axis=1 INT64[N, 1]\n"
     "o = Cast(m) to=0 FP32[N, 1]\n"
     "d = ensod.Linear(h, w) dtype=0 FP32[N, 4]\n"
     "n = ArgMin(d) axis=1 INT64[N, 1]\n"
     "q = Cast(n) to=0 FP32[N, 1]\n"
     "output v = v\n"
     "output u = u\n"
     "output o = o\n"
     "output q = q\n"},
    /* chosen in the middle, and read low: no end */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 4]\n"
     "const w f32[4, 4]\n"
     "const z f32[4, 2]\n"
     "a = ensod.Linear(x, w)\n"
     "v, i = TopK(a) k=2\n"
     "y = ensod.Linear(v, z)\n"
     "output y",
     "input x FP32[N, 4]\n"
     "x:0 = Cast(x) to=2 BF16[N, 4]\n"
     "a = ensod.Linear(x:0, w) BF16[N, 4]\n"
     "v, i = TopK(a) k=2 BF16[N, 2], INT64[N, 2]\n"
     "y = ensod.Linear(v, z) dtype=0 FP32[N, 4]\n"
     "output y = y\n"},
    /* an operator without a half kernel in the middle; its output is read twice, its neighbour in
       F32 is not rounded */
    {ENSO_DTYPE_BF16, ENSO_OP_TANH, false,
     "input x f32[N, 4]\n"
     "const w f32[4, 4]\n"
     "a = MatMul(x, w)\n"
     "r = Relu(a)\n"
     "t = Tanh(r)\n"
     "s = Reshape(t) shape_factors=[4, 1] shape_extents=[0, 1]\n"
     "u = Tanh(s)\n"
     "k = MatMul(t, w)\n"
     "m = MatMul(t, w)\n"
     "y = Add(k, m)\n"
     "output y\n"
     "output u",
     "input x FP32[N, 4]\n"
     "x:0 = Cast(x) to=2 BF16[N, 4]\n"
     "a = MatMul(x:0, w') BF16[N, 4]\n"
     "r:0 = Relu(a) BF16[N, 4]\n"
     "r = Cast(r:0) to=0 FP32[N, 4]\n"
     "t = Tanh(r) FP32[N, 4]\n"
     "s = Reshape(t) shape_factors=[4, 1] shape_extents=[0, 1] FP32[4, N]\n"
     "u = Tanh(s) FP32[4, N]\n"
     "t:0 = Cast(t) to=2 BF16[N, 4]\n"
     "k = MatMul(t:0, w') BF16[N, 4]\n"
     "m = MatMul(t:0, w') BF16[N, 4]\n"
     "y:0 = Add(k, m) BF16[N, 4]\n"
     "y = Cast(y:0) to=0 FP32[N, 4]\n"
     "output y = y\n"
     "output u = u\n"},
    /* LINEAR before such an operator writes F32 itself */
    {ENSO_DTYPE_BF16, ENSO_OP_TANH, false,
     "input x f32[N, 4]\n"
     "const w f32[4, 4]\n"
     "a = ensod.Linear(x, w)\n"
     "t = Tanh(a)\n"
     "y = ensod.Linear(t, w)\n"
     "output y",
     "input x FP32[N, 4]\n"
     "x:0 = Cast(x) to=2 BF16[N, 4]\n"
     "a = ensod.Linear(x:0, w) dtype=0 FP32[N, 4]\n"
     "t = Tanh(a) FP32[N, 4]\n"
     "t:0 = Cast(t) to=2 BF16[N, 4]\n"
     "y = ensod.Linear(t:0, w) dtype=0 FP32[N, 4]\n"
     "output y = y\n"},
    /* one cast for an input that all read; constants operands are rounded, parameters not */
    {ENSO_DTYPE_F16, ENSO_OP_NONE, false,
     "input x f32[N, 4]\n"
     "const w f32[4, 4]\n"
     "a = ensod.Linear(x, w)\n"
     "b = ensod.Linear(x, w)\n"
     "c = Add(a, b)\n"
     "d = Add(c, x)\n"
     "const k f32[4]\n"
     "e = Mul(d, k)\n"
     "const lo f32[] = -1\n"
     "f = Clip(e, lo)\n"
     "const g f32[4]\n"
     "y = ensod.LayerNorm(f, g, g)\n"
     "output y",
     "input x FP32[N, 4]\n"
     "x:0 = Cast(x) to=1 FP16[N, 4]\n"
     "a = ensod.Linear(x:0, w) FP16[N, 4]\n"
     "b = ensod.Linear(x:0, w) FP16[N, 4]\n"
     "c = Add(a, b) FP16[N, 4]\n"
     "d = Add(c, x:0) FP16[N, 4]\n"
     "e = Mul(d, k') FP16[N, 4]\n"
     "f = Clip(e, lo') FP16[N, 4]\n"
     "y:0 = ensod.LayerNorm(f, g, g) FP16[N, 4]\n"
     "y = Cast(y:0) to=0 FP32[N, 4]\n"
     "output y = y\n"},
    /* a mask made of integers is counted in F32, then cast once; movers of floats follow */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input ids i64[N, 4]\n"
     "input x f32[N, 4, 4]\n"
     "const w f32[4, 4]\n"
     "m = Cast(ids) to=0\n"
     "const one f32[] = 1\n"
     "n = Sub(one, m)\n"
     "const far f32[] = -10000\n"
     "k = Mul(n, far)\n"
     "u = Reshape(k) shape_factors=[1, 1, 4] shape_extents=[1, 0, 0]\n"
     "s = MatMul(x, w)\n"
     "a = Add(s, u)\n"
     "p = Softmax(a)\n"
     "r = MatMul(p, x)\n"
     "q = Cast(ids) to=0\n"
     "v = Reshape(q) shape_factors=[1, 4, 1] shape_extents=[1, 0, 0]\n"
     "z = Mul(r, v)\n"
     "y = ReduceMean(z) axes=[1] keepdims=0\n"
     "output y",
     "input ids INT64[N, 4]\n"
     "input x FP32[N, 4, 4]\n"
     "m = Cast(ids) to=0 FP32[N, 4]\n"
     "n = Sub(one, m) FP32[N, 4]\n"
     "k = Mul(n, far) FP32[N, 4]\n"
     "u = Reshape(k) shape_factors=[1, 1, 4] shape_extents=[1, 0, 0] FP32[N, 1, 4]\n"
     "x:0 = Cast(x) to=2 BF16[N, 4, 4]\n"
     "s = MatMul(x:0, w') BF16[N, 4, 4]\n"
     "u:0 = Cast(u) to=2 BF16[N, 1, 4]\n"
     "a = Add(s, u:0) BF16[N, 4, 4]\n"
     "p = Softmax(a) BF16[N, 4, 4]\n"
     "r = MatMul(p, x:0) BF16[N, 4, 4]\n"
     "q = Cast(ids) to=0 FP32[N, 4]\n"
     "v = Reshape(q) shape_factors=[1, 4, 1] shape_extents=[1, 0, 0] FP32[N, 4, 1]\n"
     "v:0 = Cast(v) to=2 BF16[N, 4, 1]\n"
     "z = Mul(r, v:0) BF16[N, 4, 4]\n"
     "y:0 = ReduceMean(z) axes=[1] keepdims=0 BF16[N, 4]\n"
     "y = Cast(y:0) to=0 FP32[N, 4]\n"
     "output y = y\n"},
    /* pictures are rounded where they come in, whatever type they come in as */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 3, 4, 4]\n"
     "const t f32[3, 256]\n"
     "p = ensod.Pixels(x, t) to_nhwc=1\n"
     "const w f32[2, 3, 1, 1]\n"
     "y = ensod.Conv(p, w)\n"
     "output y",
     "input x FP32[N, 3, 4, 4]\n"
     "p = ensod.Pixels(x, t) to_nhwc=1 dtype=2 BF16[N, 4, 4, 3]\n"
     "y:0 = ensod.Conv(p, w) kernel_shape=[1, 1] strides=[1, 1] pads=[0, 0, 0, 0] "
     "dilations=[1, 1] BF16[N, 4, 4, 2]\n"
     "y = Cast(y:0) to=0 FP32[N, 4, 4, 2]\n"
     "output y = y\n"},
    /* but not before their mean is subtracted, nor where they are an answer */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 4, 4, 3]\n"
     "const t f32[3, 256]\n"
     "p = ensod.Pixels(x, t) nhwc=1\n"
     "const m f32[3]\n"
     "d = Sub(p, m)\n"
     "const w f32[2, 3, 1, 1]\n"
     "y = ensod.Conv(d, w)\n"
     "output y",
     "input x FP32[N, 4, 4, 3]\n"
     "p = ensod.Pixels(x, t) nhwc=1 FP32[N, 4, 4, 3]\n"
     "d = Sub(p, m) FP32[N, 4, 4, 3]\n"
     "d:0 = Cast(d) to=2 BF16[N, 4, 4, 3]\n"
     "y:0 = ensod.Conv(d:0, w) kernel_shape=[1, 1] strides=[1, 1] pads=[0, 0, 0, 0] "
     "dilations=[1, 1] BF16[N, 4, 4, 2]\n"
     "y = Cast(y:0) to=0 FP32[N, 4, 4, 2]\n"
     "output y = y\n"},
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 4, 4, 3]\n"
     "const t f32[3, 256]\n"
     "p = ensod.Pixels(x, t) nhwc=1\n"
     "const w f32[2, 3, 1, 1]\n"
     "y = ensod.Conv(p, w)\n"
     "output y\n"
     "output p",
     "input x FP32[N, 4, 4, 3]\n"
     "p = ensod.Pixels(x, t) nhwc=1 FP32[N, 4, 4, 3]\n"
     "p:0 = Cast(p) to=2 BF16[N, 4, 4, 3]\n"
     "y:0 = ensod.Conv(p:0, w) kernel_shape=[1, 1] strides=[1, 1] pads=[0, 0, 0, 0] "
     "dilations=[1, 1] BF16[N, 4, 4, 2]\n"
     "y = Cast(y:0) to=0 FP32[N, 4, 4, 2]\n"
     "output y = y\n"
     "output p = p\n"},
    /* nothing but a table, a lookup and no product: stored halves either way */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input ids i32[N, 4]\n"
     "const t f32[7, 4]\n"
     "e = Gather(t, ids)\n"
     "const g f32[4]\n"
     "n = ensod.LayerNorm(e, g, g)\n"
     "const w f32[4, 3]\n"
     "y = MatMul(n, w)\n"
     "output y",
     "input ids INT32[N, 4]\n"
     "e = Gather(t', ids) BF16[N, 4, 4]\n"
     "n = ensod.LayerNorm(e, g, g) BF16[N, 4, 4]\n"
     "y:0 = MatMul(n, w') BF16[N, 4, 3]\n"
     "y = Cast(y:0) to=0 FP32[N, 4, 3]\n"
     "output y = y\n"},
    /* no product: nothing is lowered */
    {ENSO_DTYPE_BF16, ENSO_OP_NONE, false,
     "input x f32[N, 4]\n"
     "t = Transpose(x)\n"
     "a = Exp(t)\n"
     "c = Cast(a) to=10\n"
     "d = Cast(c) to=0\n"
     "y = Mul(a, d)\n"
     "output y\n"
     "output x",
     "input x FP32[N, 4]\n"
     "t = Transpose(x) perm=[1, 0] FP32[4, N]\n"
     "a = Exp(t) FP32[4, N]\n"
     "c = Cast(a) to=10 INT64[4, N]\n"
     "d = Cast(c) to=0 FP32[4, N]\n"
     "y = Mul(a, d) FP32[4, N]\n"
     "output y = y\n"
     "output x = x\n"},
    /* comparisons stay in F32, what they choose does not */
    {ENSO_DTYPE_BF16, ENSO_OP_GREATER, false,
     "input x f32[N, 4]\n"
     "const w f32[4, 4]\n"
     "a = ensod.Linear(x, w)\n"
     "b = Relu(a)\n"
     "const z f32[] = 0\n"
     "c = Greater(b, z)\n"
     "d = Where(c, b, z)\n"
     "y, v = Split(d) axis=1\n"
     "o = ensod.Linear(d, w)\n"
     "output o\n"
     "output y",
     "input x FP32[N, 4]\n"
     "x:0 = Cast(x) to=2 BF16[N, 4]\n"
     "a = ensod.Linear(x:0, w) BF16[N, 4]\n"
     "b:0 = Relu(a) BF16[N, 4]\n"
     "b = Cast(b:0) to=0 FP32[N, 4]\n"
     "c = Greater(b, z) BOOL[N, 4]\n"
     "d = Where(c, b:0, z') BF16[N, 4]\n"
     "y:0, v = Split(d) axis=1 BF16[N, 2], BF16[N, 2]\n"
     "o = ensod.Linear(d, w) dtype=0 FP32[N, 4]\n"
     "y = Cast(y:0) to=0 FP32[N, 2]\n"
     "output o = o\n"
     "output y = y\n"},
};

static struct enso_graph *lowered(const struct lower_case *c, struct enso_error *err)
{
    static struct enso_backend backend;
    struct enso_precision to = {.dtype = c->dtype, .fast_gelu = c->fast_gelu, .backend = &backend};
    struct enso_graph *g = text_graph(c->before);
    bool changed = false;
    int st;

    backend = *enso_backend_cpu();
    backend.computes = computes;
    lacking = c->lacking;
    st = g == NULL ? enso_error_no_memory(err, "the test's graph") : enso_graph_infer(g, err);
    if (st == ENSO_OK)
        st = enso_pass_lower_precision(g, &to, &changed, err);
    if (st == ENSO_OK)
        return g;
    enso_graph_destroy(g);
    return NULL;
}

/* ---- the same in F32 ---- */

static void fill(const struct enso_program_io *io, struct enso_tensor *t,
                 const struct enso_extents *e)
{
    *t = (struct enso_tensor){.dtype = io->dtype, .rank = io->shape.rank};
    for (size_t k = 0; k < t->rank; k++)
        t->dims[k] = enso_dim_at(io->shape.dims[k], e);
    t->data = calloc(1, enso_tensor_bytes(t) + 1);
    for (int64_t k = 0; k < enso_tensor_count(t); k++)
        if (io->dtype == ENSO_DTYPE_F32)
            ((float *)t->data)[k] = (float)(k * 7 % 23) / 8 - 1;
        else if (io->dtype == ENSO_DTYPE_I32)
            ((int32_t *)t->data)[k] = (int32_t)(strcmp(io->name, "starts") != 0 ? k % 5
                                                : k == N_SEQUENCES              ? N_TOKENS
                                                                                : 3 * k);
        else
            ((int64_t *)t->data)[k] = k % 2;
}

/* All outputs of a graph (taken) one after the other; *ret_n floats. */
static float *run(struct enso_graph *g, size_t *ret_n)
{
    static const struct enso_extents e = {N_ITEMS, N_TOKENS, N_SEQUENCES};
    const struct enso_backend *backend = enso_backend_cpu();
    const struct enso_device_options options = {.name = "cpu", .n_threads = 1, .isa = "generic"};
    struct enso_tensor in[6], t;
    struct enso_device *device;
    struct enso_lane *lane;
    struct enso_program *p;
    struct enso_context *c;
    struct enso_error err = {0};
    const struct enso_program_io *io;
    float *all = malloc(1 << 16);
    void *out[4];
    size_t n_in, n_out, n = 0;

    ck_assert_int_eq(backend->device_open(&options, &device, &err), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, &err), ENSO_OK);
    ck_assert_msg(enso_program_create(backend, device, g, &p, &err) == ENSO_OK, "%s", err.message);
    ck_assert_int_eq(enso_context_create(p, &c, &err), ENSO_OK);
    io = enso_program_inputs(p, &n_in);
    for (size_t i = 0; i < n_in; i++)
        fill(&io[i], &in[i], &e);
    (void)enso_program_outputs(p, &n_out);
    for (size_t i = 0; i < n_out; i++) {
        ck_assert_int_eq(enso_program_output_tensor(p, i, &e, &t, NULL), ENSO_OK);
        ck_assert_int_eq(t.dtype, ENSO_DTYPE_F32);
        out[i] = all + n;
        n += (size_t)enso_tensor_count(&t);
        ck_assert_uint_lt(n, (1 << 16) / sizeof *all);
    }
    ck_assert_msg(enso_context_run(c, lane, &e, in, out, &err) == ENSO_OK, "%s", err.message);
    for (size_t i = 0; i < n_in; i++)
        free(in[i].data);
    enso_context_destroy(c);
    enso_program_unref(p);
    backend->lane_close(lane);
    backend->device_close(device);
    *ret_n = n;
    return all;
}

/* ---- tests ---- */

START_TEST(test_lower_cases)
{
    const struct lower_case *c = &cases[_i];
    struct enso_error err = {0};
    struct enso_graph *g = lowered(c, &err), *before = text_graph(c->before);
    char *dump, *nodes;
    float *want, *got;
    size_t n_want, n_got;

    ck_assert_msg(g != NULL, "%s\n%s", c->before, err.message);
    dump = text_dump(g);
    nodes = strchr(dump, '\n') + 1;
    ck_assert_str_eq(nodes, c->after);
    text_raise(g, c->dtype);
    ck_assert_int_eq(enso_graph_infer(before, &err), ENSO_OK);
    got = run(g, &n_got);
    want = run(before, &n_want);
    ck_assert_uint_eq(n_got, n_want);
    if (!c->fast_gelu)
        ck_assert_mem_eq(got, want, n_want * sizeof *want);
    free(got);
    free(want);
    free(dump);
}
END_TEST

/* Masks are written with numbers that fp16 does not have; they must not become infinite. */
START_TEST(test_lower_clamps_constants)
{
    static const struct lower_case c = {
        .dtype = ENSO_DTYPE_F16,
        .before = "input x f32[N, 4]\nconst w f32[4, 4]\nh = MatMul(x, w)\n"
                  "const m f32[1] = -340000000000000000000000000000000000000\ny = Mul(h, m)\n"
                  "z = MatMul(y, w)\noutput z"};
    struct enso_error err = {0};
    struct enso_graph *g = lowered(&c, &err);
    int mul = -1;
    uint16_t got = 0;

    ck_assert_msg(g != NULL, "%s", err.message);
    for (size_t i = 0; i < enso_graph_n_nodes(g); i++)
        if (enso_graph_node(g, (int)i)->op == ENSO_OP_MUL)
            mul = (int)i;
    const struct enso_value *m = enso_graph_value(g, enso_graph_node(g, mul)->inputs[1]);
    ck_assert_int_eq(m->dtype, ENSO_DTYPE_F16);
    ck_assert_int_eq(enso_constant_read(m->constant, 0, 1, &got, &err), ENSO_OK);
    ck_assert_uint_eq(got, 0xFBFF); /* -65504 */
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_lower_finds_what_fp16_cannot_hold)
{
    struct enso_graph *g =
        text_graph("input x f32[N, 4]\nconst w f32[3, 4]\nconst b f32[3] = 70000\n"
                   "const big f32[3] = 90000\nh = ensod.Linear(x, w, b)\n"
                   "y = Add(h, big)\noutput y");
    struct enso_error err = {0};
    const char *name = NULL;

    ck_assert_int_eq(enso_graph_infer(g, &err), ENSO_OK);
    ck_assert_int_eq(enso_graph_find_beyond_f16(g, &name, &err), ENSO_OK);
    ck_assert_str_eq(name, "b");
    enso_graph_destroy(g);
    g = text_graph("input x f32[N, 4]\nconst w f32[3, 4]\nconst b f32[3] = 65504\n"
                   "y = ensod.Linear(x, w, b)\noutput y");
    ck_assert_int_eq(enso_graph_infer(g, &err), ENSO_OK);
    ck_assert_int_eq(enso_graph_find_beyond_f16(g, &name, &err), ENSO_OK);
    ck_assert_ptr_null(name);
    enso_graph_destroy(g);
}
END_TEST

START_TEST(test_lower_oom)
{
    enum { TRIES = 4000 };
    int n = 1;

    for (; n < TRIES; n++) {
        struct enso_error err = {0};
        struct enso_graph *g;

        (void)enso_memory_fail_at((uint64_t)n);
        g = lowered(&cases[_i], &err);
        (void)enso_memory_fail_at(0);
        enso_graph_destroy(g);
        if (g != NULL)
            break;
        ck_assert_msg(err.status == ENSO_NO_MEMORY, "allocation %d: %s", n, err.message);
    }
    ck_assert_int_lt(n, TRIES);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/lower_precision");
    TCase *core = tcase_create("core"), *oom = tcase_create("oom");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(core, test_lower_cases, 0, (int)ENSO_ARRAY_SIZE(cases));
    tcase_add_test(core, test_lower_clamps_constants);
    tcase_add_test(core, test_lower_finds_what_fp16_cannot_hold);
    tcase_add_loop_test(oom, test_lower_oom, 0, 3);
    suite_add_tcase(s, core);
    suite_add_tcase(s, oom);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
