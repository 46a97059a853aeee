/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/passes. Each case is a graph before, a pass (or the standard list), and how many nodes of
 * which operators stand after it. Whatever a pass did, the graph must still compute the same: both
 * forms run on the CPU backend with the same random input.
 */
#include "engine/passes/passes.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/program/context.h"
#include "engine/program/program.h"
#include "tests/engine/graph/text_graph.h"

typedef int (*pass_fn)(struct enso_graph *g, bool *changed, struct enso_error *err);

struct pass_case {
    pass_fn pass; /* NULL: the standard list */
    const char *before;
    const char *after; /* "Op=count ..."; "all=count": nodes altogether */
};

static int fold(struct enso_graph *g, bool *changed, struct enso_error *err)
{
    return enso_pass_fold_constants(g, enso_backend_cpu(), changed, err);
}

#define GELU_ERF                                                                                   \
    "const c f32[] = 1.41421356\nconst one f32[] = 1\nconst half f32[] = 0.5\n"                    \
    "d = Div(x, c)\ne = Erf(d)\np = Add(e, one)\n"
#define LAYER_NORM                                                                                 \
    "const two f32[] = 2\nconst eps f32[] = 0.00001\nconst gamma f32[8]\nconst beta f32[8]\n"      \
    "m = ReduceMean(h) axes=[-1]\nd = Sub(h, m)\nq = Pow(d, two)\nv = ReduceMean(q) axes=[-1]\n"   \
    "ve = Add(v, eps)\ns = Sqrt(ve)\nn = Div(d, s)\nng = Mul(n, gamma)\n"

static const struct pass_case cases[] = {
    /* folding */
    {fold,
     "input x f32[N, 3]\nconst a f32[3]\nconst b f32[3]\nc = Mul(a, b)\ny = Add(x, c)\noutput y",
     "Mul=0 Add=1 all=1"},
    {fold,
     "input x f32[N, 6]\nconst w f32[2, 3]\nt = Transpose(w)\ns = Reshape(t) "
     "shape_factors=[6] shape_extents=[0]\ny = Add(x, s)\noutput y",
     "all=1"},
    {fold,
     "input x f32[N, 3]\nconst s i64[2] = 2 3\nk = ConstantOfShape(s)\n"
     "a, b = Split(k) axis=0\ny = Add(x, b)\noutput y",
     "all=1"},
    {fold,
     "input x f32[N, 3, 4]\ns = Shape(x)\nconst i i64[1] = 1\nc = Gather(s, i)\n"
     "f = Cast(c) to=0\ny = Mul(x, f)\noutput y",
     "Mul=1 all=2"}, /* the shape's symbol keeps Shape, which is dead now */
    {fold,
     "input x f32[N, 1]\nconst s i64[2] = 4000 4000\nk = ConstantOfShape(s)\nr = ReduceSum(k)\n"
     "y = Add(x, r)\noutput y",
     "ConstantOfShape=1 ReduceSum=1"}, /* too large to be kept */
    {enso_pass_fold_views,
     "const w f16[2, 3]\nc = Cast(w) to=0\ninput x f32[N, 3]\n"
     "const s i64[2] = 3 2\nv = Reshape(c, s)\ny = MatMul(x, v)\noutput y",
     "all=1"},
    {enso_pass_detach_shapes,
     "input x f32[N, 6]\nconst a i64[1] = 2\nu = Unsqueeze(x, a)\nf = Flatten(u)\ny = "
     "Neg(f)\noutput y",
     "Reshape=2 Unsqueeze=0 Flatten=0"},
    {enso_pass_remove_dead, "input x f32[N, 6]\na = Relu(x)\nb = Neg(a)\ny = Tanh(x)\noutput y",
     "all=1"},
    /* identities */
    {enso_pass_remove_identity,
     "input x f32[N, 6]\na = Identity(x)\nb = Cast(a) to=0\nconst one f32[] = 1\nc = Mul(one, b)\n"
     "const z f32[1] = 0\nd = Sub(c, z)\ne = Sum(d)\nf = Concat(e) axis=1\ng = Clip(f)\n"
     "const p i64[4] = 0\nh = Pad(g, p)\ny = Relu(h)\noutput y",
     "all=1"},
    {enso_pass_remove_identity,
     "input x f32[N, 2, 3]\na = Transpose(x) perm=[0, 2, 1]\nb = Transpose(a) perm=[0, 2, 1]\n"
     "c = Transpose(b) perm=[2, 0, 1]\nd = Transpose(c) perm=[2, 1, 0]\ny = Relu(d)\noutput y",
     "Transpose=3"}, /* c and the first are dead now, which is remove_dead's affair */
    {enso_pass_remove_identity,
     "input x f32[N, 6]\nconst one f32[1, 1, 1] = 1\na = Mul(x, one)\n"
     "const s i64[1] = 0\nconst e i64[1] = 100\nconst ax i64[1] = 2\nb = Slice(a, s, e, ax)\n"
     "y = Relu(b)\noutput y",
     "Mul=1 Slice=0"}, /* that one changes the rank */
    {enso_pass_remove_identity, "input x f32[N, 6]\ny = Identity(x)\noutput y", "all=0"},
    {enso_pass_view_transposes,
     "input x f32[N, 1, 4, 5]\ny = Transpose(x) perm=[0, 2, 3, 1]\nz = Transpose(x) "
     "perm=[0, 3, 2, 1]\noutput y\noutput z",
     "Transpose=1 Reshape=1"},
    /* batch norm */
    {enso_pass_fold_batch_norm,
     "input x f32[N, 3, 6, 6]\nconst w f32[4, 3, 3, 3]\nc = Conv(x, w)\nconst s f32[4]\n"
     "const b f32[4]\nconst m f32[4]\nconst v f32[4] = 1 2 0.5 3\n"
     "y = BatchNormalization(c, s, b, m, v) epsilon=0.001\noutput y",
     "Mul=1 Add=1 BatchNormalization=0"},
    {NULL,
     "input x f32[N, 3, 6, 6]\nconst w f32[4, 3, 3, 3]\nconst wb f32[4]\nc = Conv(x, w, wb)\n"
     "const s f32[4]\nconst b f32[4]\nconst m f32[4]\nconst v f32[4] = 1 2 0.5 3\n"
     "n = BatchNormalization(c, s, b, m, v) epsilon=0.001\ny = Relu(n)\noutput y",
     "ensod.Conv=1 Transpose=2 all=3"},
    {NULL,
     "input x f32[N, 4, 5]\nconst s f32[4]\nconst m f32[4]\nconst v f32[4] = 1 2 0.5 3\n"
     "y = BatchNormalization(x, s, s, m, v)\noutput y",
     "Mul=1 Add=1 all=2"},
    {enso_pass_fold_batch_norm, /* read twice: stays */
     "input x f32[N, 3, 6, 6]\nconst w f32[4, 3, 3, 3]\nc = Conv(x, w)\nconst k f32[4, 1, 1]\n"
     "a = Mul(c, k)\ny = Add(a, c)\noutput y",
     "Mul=1"},
    {enso_pass_fold_batch_norm, /* [6] broadcasts along the width */
     "input x f32[N, 3, 6, 6]\nconst w f32[6, 3, 1, 1]\nc = Conv(x, w)\nconst k f32[6]\n"
     "y = Mul(c, k)\noutput y",
     "Mul=1"},
    /* activations */
    {enso_pass_fuse_activations,
     "input x f32[N, 8]\n" GELU_ERF "h = Mul(x, half)\ny = Mul(h, p)\noutput y", "Gelu=1"},
    {enso_pass_fuse_activations,
     "input x f32[N, 8]\n" GELU_ERF "a = Mul(x, p)\ny = Mul(a, half)\noutput y", "Gelu=1"},
    {enso_pass_fuse_activations,
     "input x f32[N, 8]\n" GELU_ERF "a = Mul(half, p)\ny = Mul(x, a)\noutput y", "Gelu=1"},
    {NULL,
     "input x f32[N, 8]\nconst c f32[] = 0.70710678\nconst one f32[] = 1\nconst two f32[] = 2\n"
     "d = Mul(c, x)\ne = Erf(d)\np = Add(one, e)\na = Mul(x, p)\ny = Div(a, two)\noutput y",
     "Gelu=1 all=1"},
    {enso_pass_fuse_activations, /* another factor: no GELU */
     "input x f32[N, 8]\nconst c f32[] = 0.8\nconst one f32[] = 1\nconst half f32[] = 0.5\n"
     "d = Mul(c, x)\ne = Erf(d)\np = Add(one, e)\na = Mul(x, p)\ny = Mul(a, half)\noutput y",
     "Gelu=0"},
    {enso_pass_fuse_activations, /* 1 + erf is an output too */
     "input x f32[N, 8]\n" GELU_ERF "a = Mul(x, p)\ny = Mul(a, half)\noutput y\noutput p",
     "Gelu=0"},
    {NULL,
     "input x f32[N, 8]\nconst k f32[] = 0.044715\nconst r f32[] = 0.7978845608\n"
     "const one f32[] = 1\nconst half f32[] = 0.5\nconst three f32[] = 3\nc = Pow(x, three)\n"
     "kc = Mul(c, k)\ns = Add(x, kc)\nu = Mul(s, r)\nt = Tanh(u)\np = Add(t, one)\n"
     "h = Mul(x, half)\ny = Mul(h, p)\noutput y",
     "Gelu=1 all=1"},
    {NULL,
     "input x f32[N, 8]\nconst k f32[] = 0.044715\nconst r f32[] = 0.7978845608\n"
     "const one f32[] = 1\nconst half f32[] = 0.5\nq = Mul(x, x)\nc = Mul(q, x)\n"
     "kc = Mul(k, c)\ns = Add(kc, x)\nu = Mul(r, s)\nt = Tanh(u)\np = Add(one, t)\n"
     "h = Mul(x, p)\ny = Mul(half, h)\noutput y",
     "Gelu=1 all=1"},
    {NULL, "input x f32[N, 8]\ns = Sigmoid(x)\ny = Mul(x, s)\noutput y", "Silu=1 all=1"},
    {NULL,
     "input x f32[N, 8]\ns = HardSigmoid(x) alpha=0.16666667 beta=0.5\ny = Mul(s, x)\noutput y",
     "HardSwish=1 all=1"},
    {NULL, "input x f32[N, 8]\ns = HardSigmoid(x) alpha=0.2 beta=0.5\ny = Mul(s, x)\noutput y",
     "HardSwish=0"},
    {NULL, "input x f32[N, 8]\ns = Softplus(x)\nt = Tanh(s)\ny = Mul(x, t)\noutput y",
     "Mish=1 all=1"},
    {NULL,
     "input x f32[N, 8]\nconst a f32[] = 3\nconst z f32[] = 0\nconst six f32[] = 6\np = Add(x, a)\n"
     "c = Clip(p, z, six)\nm = Mul(x, c)\ny = Div(m, six)\noutput y",
     "HardSwish=1 all=1"},
    {NULL,
     "input x f32[N, 8]\nconst a f32[] = 3\nconst z f32[] = 0\nconst six f32[] = 6\np = Add(x, a)\n"
     "c = Clip(p, z, six)\nd = Div(c, six)\ny = Mul(x, d)\noutput y",
     "HardSwish=1 all=1"},
    /* norms */
    {NULL, "input h f32[N, 5, 8]\n" LAYER_NORM "y = Add(ng, beta)\noutput y",
     "ensod.LayerNorm=1 all=1"},
    {NULL,
     "input x f32[N, 8]\ninput z f32[N, 8]\nh = Add(x, z)\n" LAYER_NORM
     "y = Add(beta, ng)\noutput y",
     "ensod.LayerNorm=1 all=1"},
    {NULL,
     "input x f32[N, 8]\ninput z f32[N, 8]\nh = Add(x, z)\n" LAYER_NORM
     "y = Add(beta, ng)\noutput y\noutput h",
     "ensod.LayerNorm=1 Add=1 all=2"},
    {NULL,
     "input x f32[N, 8]\nconst two f32[] = 2\nconst eps f32[] = 0.001\nconst gamma f32[8]\n"
     "q = Pow(x, two)\nv = ReduceMean(q) axes=[1]\nve = Add(eps, v)\ns = Sqrt(ve)\n"
     "r = Reciprocal(s)\nn = Mul(x, r)\ny = Mul(gamma, n)\noutput y",
     "ensod.RMSNorm=1 all=1"},
    {NULL, /* over another axis: no norm */
     "input x f32[8, 8]\nconst two f32[] = 2\nconst eps f32[] = 0.001\nconst gamma f32[8]\n"
     "q = Pow(x, two)\nv = ReduceMean(q) axes=[0]\nve = Add(eps, v)\ns = Sqrt(ve)\n"
     "n = Div(x, s)\ny = Mul(gamma, n)\noutput y",
     "ensod.RMSNorm=0"},
    /* linear */
    {NULL,
     "input x f32[N, 4, 6]\nconst w f32[6, 5]\nconst b f32[5]\nm = MatMul(x, w)\na = Add(b, m)\n"
     "y = Relu(a)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, "input x f32[N, 6]\nconst w f32[5, 6]\nt = Transpose(w)\ny = MatMul(x, t)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL,
     "input x f32[N, 6]\nconst w f32[5, 6]\nconst b f32[1, 5]\ny = Gemm(x, w, b) transB=1\noutput "
     "y",
     "ensod.Linear=1 all=1"},
    {NULL, "input x f32[N, 6]\nconst w f32[6, 5]\nconst b f32[]\ny = Gemm(x, w, b)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, "input x f32[N, 6]\nconst w f32[6, 5]\ny = Gemm(x, w) alpha=0.5\noutput y",
     "Gemm=1 ensod.Linear=0"},
    {NULL,
     "input x f32[N, 6]\nconst w f32[6, 6]\nconst b f32[6]\ng = Gemm(x, w, b)\ns = Add(x, g)\n"
     "y = Tanh(s)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, /* a norm behind a layer goes into it, in either layout of the weight */
     "input x f32[N, 3, 6]\nconst w f32[6, 5]\nconst b f32[5]\nm = MatMul(x, w)\na = Add(m, b)\n"
     "const s f32[5]\nc = Mul(a, s)\nconst t f32[5]\nd = Add(t, c)\ny = Relu(d)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL,
     "input x f32[N, 6]\nconst w f32[5, 6]\nconst b f32[5]\nm = Gemm(x, w, b) transB=1\n"
     "const s f32[1, 5]\nc = Mul(s, m)\ny = Sigmoid(c)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, /* nor one factor for all of it, nor into a weight that others read */
     "input x f32[N, 6]\nconst w f32[6, 6]\nconst v f32[6, 6]\nconst s f32[6]\n"
     "const k f32[] = 0.125\na = MatMul(x, w)\nb = Mul(a, k)\nc = MatMul(x, v)\nd = Mul(c, s)\n"
     "e = MatMul(b, v)\ny = Add(d, e)\noutput y",
     "ensod.Linear=3 Mul=2"},
    {NULL, /* but not for two readers, nor into one that has an activation or a sum */
     "input x f32[N, 6]\nconst w f32[6, 6]\nconst s f32[6]\na = MatMul(x, w)\nb = Mul(a, s)\n"
     "c = Add(b, a)\nd = MatMul(x, w)\ne = Relu(d)\nf = Mul(e, s)\ng = MatMul(x, w)\n"
     "h = Add(g, x)\ni = Mul(h, s)\nj = Add(c, f)\ny = Add(i, j)\noutput y",
     "ensod.Linear=3 Mul=3"},
    {NULL, /* an activation, then a sum: the sum stays */
     "input x f32[N, 6]\nconst w f32[6, 6]\ng = MatMul(x, w)\nr = Relu(g)\ny = Add(x, r)\noutput y",
     "ensod.Linear=1 Add=1 all=2"},
    {NULL,
     "input x f32[N, 6]\nconst w f32[6, 6]\ng = MatMul(x, w)\nconst lo f32[] = -0.1\n"
     "const hi f32[] = 0.2\ny = Clip(g, lo, hi)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL,
     "input x f32[N, 6]\nconst w f32[6, 6]\ng = MatMul(x, w)\ny = LeakyRelu(g) alpha=0.3\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, "input x f32[N, 6]\nconst w f32[6, 6]\ng = MatMul(x, w)\ny = Elu(g)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, "input x f32[N, 6]\nconst w f32[6, 6]\ng = MatMul(x, w)\ny = HardSigmoid(g)\noutput y",
     "ensod.Linear=1 all=1"},
    {NULL, /* two products, one sum: one of them takes the other in */
     "input x f32[N, 6]\nconst w f32[6, 6]\nconst v f32[6, 6]\na = MatMul(x, w)\nb = MatMul(x, v)\n"
     "y = Add(a, b)\noutput y",
     "ensod.Linear=2 all=2"},
    {NULL, "input x f32[N, 6]\nconst w f32[6, 6]\na = MatMul(x, w)\ny = Add(a, a)\noutput y",
     "ensod.Linear=1 Add=1 all=2"},
};

/* Layouts: the count that matters is that of transposes. */
static const struct pass_case layouts[] = {
    {NULL,
     "input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\nconst v f32[4, 4, 3, 3]\nconst b f32[4]\n"
     "c = Conv(x, w, b) pads=[1, 1, 1, 1]\nr = Relu(c)\nd = Conv(r, v) pads=[1, 1, 1, 1]\n"
     "s = Add(d, r)\nt = Relu(s)\np = MaxPool(t) kernel_shape=[2, 2] strides=[2, 2]\n"
     "g = GlobalAveragePool(p)\nf = Flatten(g)\nconst q f32[4, 2]\ny = MatMul(f, q)\noutput y",
     "ensod.Conv=2 Transpose=1 MaxPool=1 GlobalAveragePool=1 Reshape=1 ensod.Linear=1 all=7"},
    {NULL, /* pictures: the transpose at the entry goes into what reads them */
     "input x f32[N, 3, 8, 8]\nconst t f32[3, 256]\np = ensod.Pixels(x, t)\n"
     "const w f32[4, 3, 3, 3]\nc = Conv(p, w)\ny = GlobalAveragePool(c)\noutput y",
     "ensod.Pixels=1 ensod.Conv=1 GlobalAveragePool=1 Reshape=1 all=4"},
    {NULL, /* also for two convolutions */
     "input x f32[N, 3, 8, 8]\nconst t f32[3, 256]\np = ensod.Pixels(x, t)\n"
     "const w f32[4, 3, 3, 3]\nconst v f32[4, 3, 3, 3]\nc = Conv(p, w)\nd = Conv(p, v)\n"
     "a = Add(c, d)\ny = GlobalAveragePool(a)\noutput y",
     "ensod.Pixels=1 ensod.Conv=2 Transpose=0"},
    {NULL, /* of a graph that is NHWC itself; and one whose pixels somebody else reads, too */
     "input x f32[N, 8, 8, 3]\nconst t f32[3, 256]\np = ensod.Pixels(x, t) nhwc=1\n"
     "q = Transpose(p) perm=[0, 3, 1, 2]\nconst w f32[4, 3, 3, 3]\nc = Conv(q, w)\n"
     "y = GlobalAveragePool(c)\noutput y",
     "ensod.Pixels=1 ensod.Conv=1 GlobalAveragePool=1 Reshape=1 all=4"},
    {NULL,
     "input x f32[N, 3, 5, 5]\nconst t f32[3, 256]\np = ensod.Pixels(x, t)\n"
     "const w f32[3, 3, 1, 1]\nc = Conv(p, w)\na = Add(c, p)\ny = Relu(a)\noutput y",
     "ensod.Pixels=1 ensod.Linear=1"},
    {NULL, /* a norm behind a max pool moves before it, its Relu with it */
     "input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\nconst b f32[4]\nc = Conv(x, w, b)\n"
     "p = MaxPool(c) kernel_shape=[2, 2] strides=[2, 2]\nconst s f32[4] = 2 0.5 0 1\n"
     "const t f32[4]\nconst v f32[4] = 1 1 1 1\nn = BatchNormalization(p, s, t, t, v)\n"
     "y = Relu(n)\noutput y",
     "ensod.Conv=1 MaxPool=1 Transpose=2 all=4"},
    {NULL, /* but no factor below zero, nor over padding or for another reader */
     "input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\nconst v f32[4, 4, 3, 3]\nc = Conv(x, w)\n"
     "p = MaxPool(c) kernel_shape=[2, 2]\nconst s f32[4, 1, 1] = 2 0.5 -1 1\nm = Mul(p, s)\n"
     "r = Relu(m)\nd = Conv(r, v)\n"
     "q = MaxPool(d) kernel_shape=[3, 3] pads=[1, 1, 1, 1]\ny = Relu(q)\noutput y",
     "ensod.Conv=2 MaxPool=2 Mul=1 Relu=2"},
    {NULL,
     "input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 3, 3]\nc = Conv(x, w)\n"
     "p = MaxPool(c) kernel_shape=[2, 2]\nr = Relu(p)\ny = Add(r, p)\noutput y",
     "ensod.Conv=1 MaxPool=1 Relu=1 Add=1"},
    {NULL, /* windows that end outside, three dimensions */
     "input x f32[N, 3, 9, 9]\nconst w f32[4, 3, 3, 3]\nc = Conv(x, w)\n"
     "p = MaxPool(c) kernel_shape=[2, 2] strides=[2, 2] ceil_mode=1\ny = Relu(p)\noutput y",
     "ensod.Conv=1 MaxPool=1 Relu=1"},
    {NULL,
     "input x f32[N, 3, 5, 5, 5]\nconst w f32[2, 3, 2, 2, 2]\nc = Conv(x, w)\n"
     "p = MaxPool(c) kernel_shape=[2, 2, 2]\ny = Relu(p)\noutput y",
     "Conv=1 MaxPool=1 Relu=1"},
    {NULL, /* one dimension */
     "input x f32[N, 3, 9]\nconst w f32[2, 3, 3]\nc = Conv(x, w)\nconst t f32[2, 1]\n"
     "p = MaxPool(c) kernel_shape=[2]\na = Add(t, p)\ny = Relu(a)\noutput y",
     "ensod.Conv=1 MaxPool=1 Relu=1 Add=0"},
    {NULL, /* one channel in: the entry is a view; a flatten in the model's order at the end */
     "input x f32[N, 1, 8, 8]\nconst w f32[4, 1, 3, 3]\nc = Conv(x, w)\nl = LRN(c) size=3\n"
     "f = Flatten(l)\nconst q f32[144, 2]\ny = MatMul(f, q)\noutput y",
     "Transpose=1 ensod.Conv=1 LRN=1 all=6"},
    {NULL, /* Concat, Pad, Split, Slice, per-channel and scalar constants in between */
     "input x f32[N, 3, 8, 8]\nconst w f32[4, 3, 1, 1]\nconst v f32[4, 8, 1, 1]\n"
     "a = Conv(x, w)\nconst k f32[4, 1, 1]\nb = Mul(a, k)\ne = Exp(a)\nconst six f32[] = 6\n"
     "e2 = Min(e, six)\nj = Concat(b, e2) axis=1\nconst p i64[8] = 0 0 1 2 0 0 3 1\nd = Pad(j, p)\n"
     "const s0 i64[2] = 1 0\nconst s1 i64[2] = 9 10\nconst sx i64[2] = 2 -1\n"
     "z = Slice(d, s0, s1, sx)\no = Conv(z, v)\nh, i = Split(o) axis=1\nn = Sub(h, i)\n"
     "y = ReduceMean(n) axes=[2, 3] keepdims=0\noutput y",
     "Transpose=1 ensod.Linear=2"},
    {NULL, /* squeeze and excitation */
     "input x f32[N, 3, 6, 6]\nconst w f32[4, 3, 1, 1]\nconst v f32[4, 4, 1, 1]\nc = Conv(x, w)\n"
     "g = GlobalAveragePool(c)\nh = Conv(g, v)\ns = Sigmoid(h)\nm = Mul(c, s)\n"
     "y = GlobalMaxPool(m)\noutput y",
     "Transpose=1 ensod.Linear=2"},
    {NULL, /* the same with linear layers: the gate comes back by a reshape */
     "input x f32[N, 3, 6, 6]\nconst w f32[4, 3, 1, 1]\nconst v f32[4, 4]\nc = Conv(x, w)\n"
     "g = GlobalAveragePool(c)\nf = Flatten(g)\nh = MatMul(f, v)\ns = Sigmoid(h)\n"
     "const t i64[4] = 0 0 1 1\nb = Reshape(s, t)\nm = Mul(c, b)\ny = GlobalMaxPool(m)\noutput y",
     "Transpose=1 ensod.Linear=2"},
    {NULL, /* channel shuffle: the data does move, twice at most */
     "input x f32[N, 4, 6, 6]\nconst w f32[4, 2, 1, 1]\nc = Conv(x, w) group=2\n"
     "const s i64[5] = 0 2 2 6 6\na = Reshape(c, s)\nb = Transpose(a) perm=[0, 2, 1, 3, 4]\n"
     "const t i64[4] = 0 4 6 6\nd = Reshape(b, t)\ny = Conv(d, w) group=2\noutput y",
     "ensod.Conv=2"},
    {NULL, /* one pixel: a product with all that follows; with a stride or pads, a convolution */
     "input x f32[N, 3, 5, 5]\nconst w f32[4, 3, 1, 1]\nconst b f32[4]\nc = Conv(x, w, b)\n"
     "const v f32[4, 4, 1, 1]\nd = Conv(c, v, b)\na = Add(d, c)\nr = Relu(a)\n"
     "s = Conv(r, v) strides=[2, 2]\nt = Conv(s, v) pads=[1, 1, 1, 1]\ny = GlobalMaxPool(t)\n"
     "output y",
     "Transpose=1 ensod.Linear=2 ensod.Conv=2 Add=0 Relu=0"},
    {NULL, /* what a convolution does not know, LINEAR does */
     "input x f32[N, 3, 5, 5]\nconst w f32[3, 3, 1, 1]\n"
     "c = Conv(x, w) dtype=3 transposed=0 rows=\"last\"\ny = GlobalMaxPool(c)\noutput y",
     "Transpose=1 ensod.Linear=1 ensod.Conv=0"},
    {NULL, /* softmax over channels, argmax */
     "input x f32[N, 3, 4, 5]\nconst w f32[4, 3, 1, 1]\nc = Conv(x, w)\ns = Softmax(c) axis=1\n"
     "y = ReduceMax(s) axes=[1] keepdims=0\noutput y",
     "Transpose=1"},
    {NULL, /* one dimension */
     "input x f32[N, 3, 9]\nconst w f32[4, 3, 3]\nconst b f32[4]\nc = Conv(x, w, b) pads=[1, 0] "
     "strides=[2]\nr = Relu(c)\np = MaxPool(r) kernel_shape=[2]\ny = AveragePool(p) "
     "kernel_shape=[3] pads=[1, 1]\noutput y",
     "ensod.Conv=1 Conv=0"},
    {NULL, /* a weight that is computed, and one of an other input's rank: left alone */
     "input x f32[N, 3, 5, 5]\ninput w f32[2, 3, 3, 3]\ny = Conv(x, w)\noutput y", "Conv=1 all=1"},
    {NULL, /* an image added after a convolution: its transpose cannot sink through */
     "input x f32[N, 3, 5, 5]\nconst w f32[3, 3, 1, 1]\nc = Conv(x, w)\na = Add(c, x)\n"
     "y = Relu(a)\noutput y",
     "ensod.Linear=1"},
    {NULL, /* broadcast of a row against a turned tensor */
     "input x f32[N, 3, 5, 5]\nconst w f32[5, 3, 1, 1]\nconst k f32[5]\nconst q f32[5, 5]\n"
     "c = Conv(x, w)\na = Mul(c, k)\nb = Add(a, q)\ny = GlobalAveragePool(b)\noutput y",
     "Transpose=1 ensod.Linear=1"},
    {NULL, /* ones of a higher rank: the result has five dimensions */
     "input x f32[N, 3, 5, 5]\nconst w f32[5, 3, 1, 1]\nconst k f32[1, 1, 1, 1, 1]\n"
     "c = Conv(x, w)\ny = Mul(c, k)\noutput y",
     "ensod.Linear=1 Mul=1"},
    {NULL, /* an upsampling path beside another: one layout through both kinds of Resize */
     "input x f32[N, 3, 6, 8]\nconst w f32[4, 3, 3, 3]\nconst v f32[4, 4, 3, 3]\n"
     "const u f32[2, 8, 1, 1]\nc = Conv(x, w) pads=[1, 1, 1, 1]\n"
     "d = Conv(c, v) pads=[1, 1, 1, 1] strides=[2, 2]\nconst s f32[4] = 1 1 2 2\n"
     "e = Resize(d, -, s) coordinate_transformation_mode=\"asymmetric\" nearest_mode=\"floor\"\n"
     "j = Concat(c, e) axis=1\nf = Conv(j, u)\nconst n i64[2] = 9 5\n"
     "r = Resize(f, -, -, n) mode=\"linear\" axes=[2, 3]\ny = GlobalMaxPool(r)\noutput y",
     "Transpose=1 ensod.Conv=2 ensod.Linear=1 Resize=2"},
    {NULL, /* the ratio of another axis, cubic; the best channels of each place */
     "input x f32[N, 3, 6, 8]\nconst w f32[4, 3, 1, 1]\nc = Conv(x, w)\nconst n i64[2] = 4 4\n"
     "r = Resize(c, -, -, n) mode=\"cubic\" axes=[2, 3] antialias=1 "
     "keep_aspect_ratio_policy=\"not_larger\"\nconst k i64[1] = 2\nt, i = TopK(r, k) axis=1\n"
     "y = GlobalAveragePool(t)\noutput y",
     "Transpose=1 ensod.Linear=1 Resize=1 TopK=1"},
    {NULL, /* channels resized with the height: turned they would lie too far apart */
     "input x f32[N, 3, 6, 8]\nconst w f32[4, 3, 1, 1]\nc = Conv(x, w)\n"
     "const s f32[4] = 1 2 2 1\nr = Resize(c, -, s) mode=\"linear\"\n"
     "y = GlobalAveragePool(r)\noutput y",
     "ensod.Linear=1 Resize=1"},
    {NULL, /* ceil_mode, dilation, depthwise, PRelu, activation and residual */
     "input x f32[N, 4, 9, 9]\nconst w f32[4, 1, 3, 3]\nconst s f32[4, 1, 1]\n"
     "p = AveragePool(x) kernel_shape=[3, 3] strides=[2, 2] ceil_mode=1 pads=[1, 1, 1, 1]\n"
     "c = Conv(p, w) group=4 dilations=[2, 2] pads=[2, 2, 2, 2]\nr = PRelu(c, s)\na = Add(r, p)\n"
     "y = HardSwish(a)\noutput y",
     "ensod.Conv=1 Transpose=2"},
};

/* ---- running a graph ---- */

struct result {
    float *data[4];
    int64_t n[4];
    size_t n_outputs;
};

static float input_element(size_t i, int64_t k)
{
    return (float)((uint32_t)((size_t)k * 2654435761U + i * 40503U) >> 12 & 1023) / 512 - 1;
}

/* Runs a graph, which is taken, for three items. */
static struct result run(struct enso_graph *g)
{
    static const struct enso_extents e = {.n_items = 3};
    const struct enso_backend *backend = enso_backend_cpu();
    const struct enso_device_options options = {.name = "cpu", .n_threads = 1, .isa = "generic"};
    struct enso_tensor in[4];
    struct enso_device *device;
    struct enso_lane *lane;
    struct enso_program *p;
    struct enso_context *c;
    struct enso_error err = {0};
    struct result r = {{NULL}, {0}, 0};
    void *out[4];
    size_t n_in;
    const struct enso_program_io *io;

    ck_assert_int_eq(backend->device_open(&options, &device, &err), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, &err), ENSO_OK);
    ck_assert_msg(enso_program_create(backend, device, g, &p, &err) == ENSO_OK, "%s", err.message);
    ck_assert_int_eq(enso_context_create(p, &c, &err), ENSO_OK);
    io = enso_program_inputs(p, &n_in);
    for (size_t i = 0; i < n_in; i++) {
        in[i] = (struct enso_tensor){.dtype = io[i].dtype, .rank = io[i].shape.rank};
        for (size_t k = 0; k < in[i].rank; k++)
            in[i].dims[k] = enso_dim_at(io[i].shape.dims[k], &e);
        in[i].data = malloc(enso_tensor_bytes(&in[i]) + 1);
        for (int64_t k = 0; k < enso_tensor_count(&in[i]); k++)
            ((float *)in[i].data)[k] = input_element(i, k);
    }
    (void)enso_program_outputs(p, &r.n_outputs);
    for (size_t i = 0; i < r.n_outputs; i++) {
        struct enso_tensor t;

        ck_assert_int_eq(enso_program_output_tensor(p, i, &e, &t, NULL), ENSO_OK);
        r.n[i] = enso_tensor_count(&t);
        out[i] = r.data[i] = malloc(enso_tensor_bytes(&t) + 1);
    }
    ck_assert_msg(enso_context_run(c, lane, &e, in, out, &err) == ENSO_OK, "%s", err.message);
    for (size_t i = 0; i < n_in; i++)
        free(in[i].data);
    enso_context_destroy(c);
    enso_program_unref(p);
    backend->lane_close(lane);
    backend->device_close(device);
    return r;
}

static void expect_same(struct result a, struct result b, const char *text)
{
    ck_assert_uint_eq(a.n_outputs, b.n_outputs);
    for (size_t i = 0; i < a.n_outputs; i++) {
        ck_assert_int_eq(a.n[i], b.n[i]);
        for (int64_t k = 0; k < a.n[i]; k++)
            ck_assert_msg(fabsf(a.data[i][k] - b.data[i][k]) <= 1e-4F + 1e-4F * fabsf(a.data[i][k]),
                          "%s\noutput %zu element %lld: %g before, %g after", text, i, (long long)k,
                          (double)a.data[i][k], (double)b.data[i][k]);
        free(a.data[i]);
        free(b.data[i]);
    }
}

static void expect_counts(const struct enso_graph *g, const char *counts)
{
    char *dump = text_dump(g), name[64];
    int n, used;

    for (; sscanf(counts, " %63[^=]=%d%n", name, &n, &used) == 2; counts += used) {
        size_t found =
            strcmp(name, "all") == 0 ? text_count_all(g) : text_count(g, enso_op_from_onnx(name));

        ck_assert_msg(found == (size_t)n, "%zu of %s instead of %d:\n%s", found, name, n, dump);
    }
    free(dump);
}

static void check_case(const struct pass_case *t)
{
    struct enso_graph *g = text_graph(t->before), *before = text_graph(t->before);
    struct enso_error err = {0};
    bool changed = false;

    ck_assert_msg(enso_graph_infer(g, &err) == ENSO_OK, "%s\n%s", t->before, err.message);
    if (t->pass == NULL)
        ck_assert_msg(enso_passes_run(g, &err) == ENSO_OK, "%s\n%s", t->before, err.message);
    else
        ck_assert_msg(t->pass(g, &changed, &err) == ENSO_OK, "%s\n%s", t->before, err.message);
    expect_counts(g, t->after);
    if (t->pass != NULL) { /* a second time there is nothing left to do, soon */
        for (int i = 0; changed && i < 4; i++)
            ck_assert_int_eq(t->pass(g, &changed, &err), ENSO_OK);
        ck_assert_msg(!changed, "%s", t->before);
    }
    expect_same(run(before), run(g), t->before);
}

START_TEST(test_passes_cases)
{
    check_case(&cases[_i]);
}
END_TEST

START_TEST(test_passes_layouts)
{
    check_case(&layouts[_i]);
}
END_TEST

/* ---- random networks ---- */

static uint32_t pick(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % n;
}

static int random_constant(struct enso_graph *g, uint32_t *seed, const int64_t *dims, size_t rank)
{
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = (uint8_t)rank};
    char name[32];

    for (size_t i = 0; i < rank; i++)
        c.dims[i] = dims[i];
    c.data = enso_alloc(enso_dtype_row_bytes(c.dtype, (size_t)enso_constant_count(&c)));
    for (int64_t i = 0; i < enso_constant_count(&c); i++)
        ((float *)c.data)[i] = (float)pick(seed, 1000) / 1000 - 0.45F;
    snprintf(name, sizeof name, "k%zu", enso_graph_n_values(g));
    return enso_graph_add_constant(g, name, &c);
}

static int list_constant(struct enso_graph *g, const int64_t *v, size_t n)
{
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_I64, .stored = ENSO_DTYPE_I64, .rank = 1, .dims = {(int64_t)n}};
    char name[32];

    c.data = enso_memdup(v, n * sizeof *v);
    snprintf(name, sizeof name, "k%zu", enso_graph_n_values(g));
    return enso_graph_add_constant(g, name, &c);
}

static int64_t fixed(const struct enso_graph *g, int value, size_t axis)
{
    return enso_graph_value(g, value)->shape.dims[axis].factor;
}

/* A node that works on [N, C, H, W]; -1 when this one does not fit. */
static int random_node(struct enso_graph *g, int x, int y, uint32_t *seed)
{
    static const enum enso_op unary[] = {ENSO_OP_RELU, ENSO_OP_SIGMOID, ENSO_OP_TANH, ENSO_OP_NEG,
                                         ENSO_OP_HARD_SWISH};
    int64_t c = fixed(g, x, 1), h = fixed(g, x, 2), w = fixed(g, x, 3), m = 2 + pick(seed, 3);
    bool same = fixed(g, y, 1) == c && fixed(g, y, 2) == h && fixed(g, y, 3) == w;
    int64_t ones[3] = {c, 1, 1}, pads[4] = {1, 1, 1, 1}, three[2] = {3, 3}, two[2] = {2, 2};
    int node = -1, v[4];

    switch (pick(seed, 15)) {
    case 14: /* of one pixel, perhaps with a stride */
        v[0] = random_constant(g, seed, (int64_t[]){m, c, 1, 1}, 4);
        v[1] = random_constant(g, seed, &m, 1);
        node =
            enso_graph_add_node(g, ENSO_OP_CONV, "", (int[]){x, v[0], v[1]}, 2 + pick(seed, 2), 1);
        if (pick(seed, 4) == 0)
            enso_graph_set_ints(g, node, "strides", two, 2);
        return node;
    case 0:
    case 1: /* with a bias or without */
        v[0] = random_constant(g, seed, (int64_t[]){m, c, 3, 3}, 4);
        v[1] = random_constant(g, seed, &m, 1);
        node =
            enso_graph_add_node(g, ENSO_OP_CONV, "", (int[]){x, v[0], v[1]}, 2 + pick(seed, 2), 1);
        enso_graph_set_ints(g, node, "pads", pads, 4);
        return node;
    case 2: /* depthwise */
        v[0] = random_constant(g, seed, (int64_t[]){c, 1, 1, 1}, 4);
        node = enso_graph_add_node(g, ENSO_OP_CONV, "", (int[]){x, v[0]}, 2, 1);
        enso_graph_set_int(g, node, "group", c);
        return node;
    case 3:
        if (h < 3 || w < 3)
            return -1;
        node = enso_graph_add_node(g, pick(seed, 2) ? ENSO_OP_MAX_POOL : ENSO_OP_AVERAGE_POOL, "",
                                   &x, 1, 1);
        enso_graph_set_ints(g, node, "kernel_shape", three, 2);
        enso_graph_set_ints(g, node, "strides", two, 2);
        if (pick(seed, 2))
            enso_graph_set_ints(g, node, "pads", pads, 4);
        return node;
    case 4:
        for (size_t i = 0; i < 4; i++)
            v[i] = random_constant(g, seed, &c, 1);
        v[3] = enso_graph_add_node(g, ENSO_OP_EXP, "", &v[2], 1, 1); /* a positive variance */
        v[3] = enso_graph_node(g, v[3])->outputs[0];
        return enso_graph_add_node(g, ENSO_OP_BATCH_NORM, "", (int[]){x, v[0], v[1], v[2], v[3]}, 5,
                                   1);
    case 5:
        return enso_graph_add_node(g, unary[pick(seed, 5)], "", &x, 1, 1);
    case 6:
        return same ? enso_graph_add_node(g, pick(seed, 2) ? ENSO_OP_ADD : ENSO_OP_MUL, "",
                                          (int[]){x, y}, 2, 1)
                    : -1;
    case 7: /* per channel, per column, everything */
        v[0] = random_constant(g, seed, pick(seed, 2) ? ones : &w, pick(seed, 2) ? 0 : 1);
        v[1] = random_constant(g, seed, ones, 3);
        v[0] = pick(seed, 2) ? v[1] : v[0];
        if (enso_graph_value(g, v[0])->shape.rank == 1 && fixed(g, v[0], 0) != w)
            return -1;
        return enso_graph_add_node(g, pick(seed, 2) ? ENSO_OP_ADD : ENSO_OP_MUL, "",
                                   (int[]){v[0], x}, 2, 1);
    case 8:
        if (!same || c > 8)
            return -1;
        node = enso_graph_add_node(g, ENSO_OP_CONCAT, "", (int[]){x, y}, 2, 1);
        enso_graph_set_int(g, node, "axis", 1 + pick(seed, 3));
        return node;
    case 9:
        v[0] = list_constant(g, (int64_t[]){0, 0, 1, 0, 0, 1, 0, 2}, 8);
        return h > 12 ? -1 : enso_graph_add_node(g, ENSO_OP_PAD, "", (int[]){x, v[0]}, 2, 1);
    case 10:
        if (h < 2 || w < 2)
            return -1;
        v[0] = list_constant(g, (int64_t[]){1, -1}, 2);
        v[1] = list_constant(g, (int64_t[]){99, -99}, 2);
        v[2] = list_constant(g, (int64_t[]){2, -1}, 2);
        v[3] = list_constant(g, (int64_t[]){1, -2}, 2);
        return enso_graph_add_node(g, ENSO_OP_SLICE, "", (int[]){x, v[0], v[1], v[2], v[3]}, 5, 1);
    case 11:
        node = enso_graph_add_node(g, pick(seed, 2) ? ENSO_OP_REDUCE_MEAN : ENSO_OP_REDUCE_MAX, "",
                                   &x, 1, 1);
        enso_graph_set_ints(g, node, "axes", (int64_t[]){1 + pick(seed, 3)}, 1);
        return node;
    case 12:
        node = enso_graph_add_node(g, ENSO_OP_SOFTMAX, "", &x, 1, 1);
        enso_graph_set_int(g, node, "axis", 1 + pick(seed, 3));
        return node;
    default: /* shuffle channels, or height and width */
        if (c % 2 != 0 || pick(seed, 2)) {
            node = enso_graph_add_node(g, ENSO_OP_TRANSPOSE, "", &x, 1, 1);
            enso_graph_set_ints(g, node, "perm",
                                pick(seed, 2) ? (int64_t[]){0, 1, 3, 2} : (int64_t[]){0, 2, 3, 1},
                                4);
            return node;
        }
        v[0] = list_constant(g, (int64_t[]){0, 2, c / 2, h, w}, 5);
        v[0] = enso_graph_add_node(g, ENSO_OP_RESHAPE, "", (int[]){x, v[0]}, 2, 1);
        v[0] = enso_graph_node(g, v[0])->outputs[0];
        v[1] = enso_graph_add_node(g, ENSO_OP_TRANSPOSE, "", &v[0], 1, 1);
        enso_graph_set_ints(g, v[1], "perm", (int64_t[]){0, 2, 1, 3, 4}, 5);
        v[1] = enso_graph_node(g, v[1])->outputs[0];
        v[2] = list_constant(g, (int64_t[]){0, c, h, w}, 4);
        return enso_graph_add_node(g, ENSO_OP_RESHAPE, "", (int[]){v[1], v[2]}, 2, 1);
    }
}

static struct enso_graph *random_network(uint32_t seed)
{
    struct enso_graph *g = text_graph("input x f32[N, 4, 6, 5]\ninput z f32[N, 4, 6, 5]");
    size_t n = 2, n_nodes = 3 + pick(&seed, 14);
    struct enso_error err = {0};
    int pool[32] = {0, 1};

    ck_assert_int_eq(enso_graph_infer(g, NULL), ENSO_OK);
    while (n < n_nodes) {
        /* mostly the newest, so that chains form */
        int x = pool[pick(&seed, 3) ? n - 1 : pick(&seed, (uint32_t)n)], node;

        node = random_node(g, x, pool[pick(&seed, (uint32_t)n)], &seed);
        if (node < 0)
            continue;
        ck_assert_msg(enso_graph_infer(g, &err) == ENSO_OK, "%s", err.message);
        pool[n++] = enso_graph_node(g, node)->outputs[0];
    }
    enso_graph_add_output(g, "last", pool[n - 1]);
    enso_graph_add_output(g, "some", pool[2 + pick(&seed, (uint32_t)n - 2)]);
    return g;
}

START_TEST(test_passes_random_networks)
{
    struct enso_graph *g = random_network((uint32_t)_i), *before = random_network((uint32_t)_i);
    char *text = text_dump(g);
    struct enso_error err = {0};

    ck_assert_msg(enso_passes_run(g, &err) == ENSO_OK, "%s\n%s", text, err.message);
    ck_assert_uint_eq(text_count(g, ENSO_OP_CONV), 0);
    ck_assert_uint_eq(text_count(g, ENSO_OP_BATCH_NORM), 0);
    expect_same(run(before), run(g), text);
    free(text);
}
END_TEST

/* ---- lowered, on a device that lacks some operators ---- */

static uint32_t lacking; /* a seed */

static bool computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    (void)device;
    return dtype == ENSO_DTYPE_F32 || ((lacking + 1) * ((uint32_t)op * 2654435761U | 1) >> 16) % 4;
}

/* Half values only where the device computes in them, none rounded twice or widened for nothing. */
static void expect_lowered(const struct enso_graph *g)
{
    for (size_t i = 0; i < enso_graph_n_nodes(g); i++) {
        const struct enso_node *n = enso_graph_node(g, (int)i);
        size_t n_casts = 0;

        if (n->op == ENSO_OP_NONE)
            continue;
        for (size_t k = 0; k < n->n_inputs; k++) {
            int value = n->inputs[k];

            if (value < 0 || !enso_dtype_is_float(enso_graph_value(g, value)->dtype))
                continue;
            ck_assert(n->op == ENSO_OP_CAST || enso_op_is_view(n->op) ||
                      computes(NULL, n->op, enso_graph_value(g, value)->dtype));
            if (n->op == ENSO_OP_CAST && enso_graph_value(g, value)->producer >= 0)
                ck_assert_int_ne(enso_graph_node(g, enso_graph_value(g, value)->producer)->op,
                                 ENSO_OP_CAST);
        }
        for (size_t k = 0; n->op != ENSO_OP_CAST; k++) {
            int reader = enso_graph_user(g, n->outputs[0], k);

            if (reader < 0)
                break;
            n_casts += enso_graph_node(g, reader)->op == ENSO_OP_CAST;
        }
        ck_assert_uint_le(n_casts, 1);
    }
    for (size_t i = 0; i < enso_graph_n_outputs(g); i++)
        ck_assert_int_eq(enso_graph_value(g, enso_graph_output(g, i))->dtype, ENSO_DTYPE_F32);
}

START_TEST(test_passes_random_networks_lowered)
{
    struct enso_graph *g = random_network((uint32_t)_i), *before = random_network((uint32_t)_i);
    struct enso_backend backend = *enso_backend_cpu();
    const struct enso_precision to = {.dtype = _i % 2 ? ENSO_DTYPE_BF16 : ENSO_DTYPE_F16,
                                      .backend = &backend};
    char *text = text_dump(g);
    struct enso_error err = {0};
    bool changed;

    lacking = (uint32_t)_i;
    backend.computes = computes;
    ck_assert_msg(enso_passes_run(g, &err) == ENSO_OK, "%s\n%s", text, err.message);
    ck_assert_msg(enso_pass_lower_precision(g, &to, &changed, &err) == ENSO_OK, "%s\n%s", text,
                  err.message);
    expect_lowered(g);
    text_raise(g, to.dtype);
    expect_same(run(before), run(g), text);
    free(text);
}
END_TEST

/* One token of each sequence, for a layer that reads nothing else. */
START_TEST(test_passes_gather)
{
    static const struct {
        const char *text, *counts;
    } gathers[] = {
        {"p = ensod.SequencePool(x, s) mode=\"cls\"\nl = ensod.Linear(p, w) activation=5\n"
         "y = ensod.Linear(l, v)\noutput y",
         "ensod.SequencePool=0 ensod.Linear=2 all=2"},
        {"p = ensod.SequencePool(x, s) mode=\"last\"\ny = ensod.Linear(p, w, -, -)\noutput y",
         "ensod.SequencePool=0 ensod.Linear=1"},
        {"p = ensod.SequencePool(x, s) mode=\"mean\"\ny = ensod.Linear(p, w)\noutput y",
         "ensod.SequencePool=1 ensod.Linear=1"}, /* all tokens */
        {"p = ensod.SequencePool(x, s) mode=\"cls\"\ny = ensod.Linear(p, w)\noutput y\noutput p",
         "ensod.SequencePool=1 ensod.Linear=1"}, /* somebody else reads it */
        {"p = ensod.SequencePool(x, s) mode=\"cls\"\nr = ensod.Linear(p, w, -, p)\noutput r",
         "ensod.SequencePool=1 ensod.Linear=1"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(gathers); i++) {
        char text[512];

        snprintf(text, sizeof text,
                 "input x f32[T, 8]\ninput s i32[B+1]\nconst w f32[8, 8]\nconst v f32[3, 8]\n%s",
                 gathers[i].text);

        struct enso_graph *g = text_graph(text);
        struct enso_error err = {0};

        ck_assert_msg(enso_passes_run(g, &err) == ENSO_OK, "%s\n%s", text, err.message);
        expect_counts(g, gathers[i].counts);
        for (size_t node = 0; node < enso_graph_n_nodes(g); node++) {
            const struct enso_node *n = enso_graph_node(g, (int)node);

            if (n->op == ENSO_OP_LINEAR && n->n_inputs > 4) { /* what it was is kept */
                ck_assert_str_eq(enso_node_string(n, "rows", ""), i == 1 ? "last" : "cls");
                ck_assert_int_eq(enso_node_int(n, "activation", 0), i == 0 ? 5 : 0);
            }
        }
        ck_assert_int_eq(enso_passes_run(g, &err), ENSO_OK); /* a second time it stays */
        expect_counts(g, gathers[i].counts);
        enso_graph_destroy(g);
    }
}
END_TEST

START_TEST(test_passes_without_a_backend)
{
    struct enso_graph *g = text_graph(layouts[0].before);

    ck_assert_int_eq(enso_passes_run_on(g, NULL, NULL), ENSO_OK);
    expect_counts(g, "ensod.Conv=2 MaxPool=1 ensod.Linear=1");
    expect_same(run(text_graph(layouts[0].before)), run(g), "no folding");
}
END_TEST

START_TEST(test_passes_report_what_folding_reports)
{
    struct enso_graph *g = text_graph("input x f32[N, 2]\nconst t f32[3, 2]\nconst i i64[1] = 7\n"
                                      "r = Gather(t, i)\ny = Add(x, r)\noutput y");
    struct enso_error err = {0};

    ck_assert_int_lt(enso_passes_run(g, &err), 0);
    ck_assert_msg(strstr(err.message, "r") != NULL, "%s", err.message);
    enso_graph_destroy(g);
}
END_TEST

/* Of the cases whose allocations fail, one after the other, what tells each from the others. */
static const char *const swept[] = {"Pad(j, p)",
                                    "f32[N, 3, 9]",
                                    "BatchNormalization(c, s",
                                    "p = MaxPool(c) kernel_shape=[2, 2] strides",
                                    "c = Mul(a, s)",
                                    "q = Transpose(p)",
                                    "strides=[2, 2]\nt ="};

static const struct pass_case *find_case(const char *part)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++)
        if (strstr(cases[i].before, part) != NULL)
            return &cases[i];
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(layouts); i++)
        if (strstr(layouts[i].before, part) != NULL)
            return &layouts[i];
    ck_abort_msg("no case has %s", part);
}

START_TEST(test_passes_oom)
{
    const struct pass_case *t = find_case(swept[_i]);
    int st = ENSO_NO_MEMORY;

    for (uint64_t n = 1; st == ENSO_NO_MEMORY; n++) {
        struct enso_error err = {0};
        struct enso_graph *g = text_graph(t->before);

        ck_assert_uint_lt(n, 20000);
        enso_memory_fail_at(n);
        st = enso_passes_run(g, &err);
        enso_memory_fail_at(0);
        ck_assert_msg(st == ENSO_OK || st == ENSO_NO_MEMORY, "allocation %llu: %s",
                      (unsigned long long)n, err.message);
        if (st != ENSO_OK)
            ck_assert_int_eq(err.status, ENSO_NO_MEMORY);
        enso_graph_destroy(g);
    }
    ck_assert_int_eq(st, ENSO_OK);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/passes");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(core, test_passes_cases, 0, (int)ENSO_ARRAY_SIZE(cases));
    tcase_add_loop_test(core, test_passes_layouts, 0, (int)ENSO_ARRAY_SIZE(layouts));
    tcase_add_loop_test(core, test_passes_random_networks, 0, 200);
    tcase_add_loop_test(core, test_passes_random_networks_lowered, 0, 200);
    tcase_add_test(core, test_passes_gather);
    tcase_add_test(core, test_passes_without_a_backend);
    tcase_add_test(errors, test_passes_report_what_folding_reports);
    tcase_add_loop_test(oom, test_passes_oom, 0, (int)ENSO_ARRAY_SIZE(swept));
    tcase_set_timeout(oom, 60);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
