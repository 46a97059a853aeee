/* SPDX-License-Identifier: Apache-2.0
 *
 * References in double: see reference.h.
 */
#include "ensod_build.h"

#include "tests/kernels/reference.h"

#include <math.h>

static double relu(double v)
{
    return v < 0 ? 0 : v;
}

static double gelu(double v)
{
    return 0.5 * v * (1 + erf(v / sqrt(2)));
}

static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}

static double silu(double v)
{
    return v / (1 + exp(-v));
}

static double elu(double v)
{
    return v < 0 ? expm1(v) : v;
}

static double selu(double v)
{
    return 1.05070102214813232421875 * (v < 0 ? 1.67326319217681884765625 * expm1(v) : v);
}

static double leaky(double v)
{
    return v < 0 ? (double)0.01f * v : v;
}

static double hard_sigmoid(double v)
{
    v = (double)0.2f * v + 0.5;
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static double hard_swish(double v)
{
    double h = v / 6 + 0.5;

    return v * (h < 0 ? 0 : h > 1 ? 1 : h);
}

static double softplus(double v)
{
    return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v));
}

static double mish(double v)
{
    return v * tanh(softplus(v));
}

static double softsign(double v)
{
    return v / (1 + fabs(v));
}

static double reciprocal(double v)
{
    return 1 / v;
}

static double negative(double v)
{
    return -v;
}

static double sign(double v)
{
    return v > 0 ? 1 : v < 0 ? -1 : v;
}

static double unbounded(double v)
{
    return v;
}

double reference_unary(enum enso_op op, double v)
{
    static double (*const functions[ENSO_N_OPS])(double) = {
        [ENSO_OP_ABS] = fabs,
        [ENSO_OP_CEIL] = ceil,
        [ENSO_OP_CLIP] = unbounded,
        [ENSO_OP_COS] = cos,
        [ENSO_OP_ELU] = elu,
        [ENSO_OP_ERF] = erf,
        [ENSO_OP_EXP] = exp,
        [ENSO_OP_FLOOR] = floor,
        [ENSO_OP_GELU] = gelu,
        [ENSO_OP_HARD_SIGMOID] = hard_sigmoid,
        [ENSO_OP_HARD_SWISH] = hard_swish,
        [ENSO_OP_LEAKY_RELU] = leaky,
        [ENSO_OP_LOG] = log,
        [ENSO_OP_MISH] = mish,
        [ENSO_OP_NEG] = negative,
        [ENSO_OP_RECIPROCAL] = reciprocal,
        [ENSO_OP_RELU] = relu,
        [ENSO_OP_ROUND] = nearbyint,
        [ENSO_OP_SELU] = selu,
        [ENSO_OP_SIGMOID] = sigmoid,
        [ENSO_OP_SIGN] = sign,
        [ENSO_OP_SILU] = silu,
        [ENSO_OP_SIN] = sin,
        [ENSO_OP_SOFTPLUS] = softplus,
        [ENSO_OP_SOFTSIGN] = softsign,
        [ENSO_OP_SQRT] = sqrt,
        [ENSO_OP_TANH] = tanh,
    };

    if (functions[op] == NULL)
        ck_abort_msg("no reference of %s", enso_op_name(op));
    return functions[op](v);
}

double reference_activation(enum enso_activation kind, double v)
{
    switch (kind) {
    case ENSO_ACTIVATION_RELU:
        return v < 0 ? 0 : v;
    case ENSO_ACTIVATION_GELU:
        return 0.5 * v * (1 + erf(v / sqrt(2)));
    case ENSO_ACTIVATION_GELU_TANH:
        return 0.5 * v * (1 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
    case ENSO_ACTIVATION_SILU:
        return v / (1 + exp(-v));
    case ENSO_ACTIVATION_TANH:
        return tanh(v);
    case ENSO_ACTIVATION_SIGMOID:
        return 1 / (1 + exp(-v));
    case ENSO_ACTIVATION_CLIP:
        return v < -0.5 ? -0.5 : v > 0.75 ? 0.75 : v;
    case ENSO_ACTIVATION_HARD_SWISH:
        return v * fmax(0, fmin(1, v / 6 + 0.5));
    case ENSO_ACTIVATION_LEAKY_RELU:
        return v < 0 ? 0.25 * v : v;
    case ENSO_ACTIVATION_ELU:
        return v < 0 ? 0.25 * expm1(v) : v;
    case ENSO_ACTIVATION_HARD_SIGMOID:
        return fmax(0, fmin(1, 0.25 * v + 0.5));
    default:
        return v;
    }
}

void reference_set_activation(struct rig *r, enum enso_activation kind)
{
    enso_graph_set_int(r->graph, r->node, "activation", kind);
    enso_graph_set_float(r->graph, r->node, "activation_min", -0.5f);
    enso_graph_set_float(r->graph, r->node, "activation_max", 0.75f);
    enso_graph_set_float(r->graph, r->node, "activation_alpha", 0.25f);
    enso_graph_set_float(r->graph, r->node, "activation_beta", 0.5f);
}
