/* SPDX-License-Identifier: Apache-2.0
 *
 * The activations that products and convolutions carry (enum enso_activation), as epilogues call
 * them: the same formulas as the CPU's portable kernels, the full functions of the math library (no
 * fast-math; GELU by erf unless it is asked for by tanh). A NaN stays one.
 */
#ifndef ENSO_KERNELS_CUDA_ACTIVATION_CUH
#define ENSO_KERNELS_CUDA_ACTIVATION_CUH

#include "kernels/cuda/device.cuh"

#include <math.h>

#include "kernels/nodes/activation.h"

/* max(0, min(1, v)) that lets NaN through. */
static __device__ __forceinline__ float enso_unit(float v)
{
    return v < 0 ? 0.0f : v > 1 ? 1.0f : v;
}

static __device__ __forceinline__ float enso_activate(float v, const struct enso_activation_args &a)
{
    switch (a.kind) {
    case ENSO_ACTIVATION_RELU:
        return v < 0 ? 0.0f : v;
    case ENSO_ACTIVATION_GELU:
        return 0.5f * v * (1 + erff(v * 0.707106781186547524f));
    case ENSO_ACTIVATION_GELU_TANH:
        return 0.5f * v * (1 + tanhf(0.797884560802865f * (v + 0.044715f * v * v * v)));
    case ENSO_ACTIVATION_SILU:
        return v / (1 + expf(-v));
    case ENSO_ACTIVATION_TANH:
        return tanhf(v);
    case ENSO_ACTIVATION_SIGMOID:
        return 1 / (1 + expf(-v));
    case ENSO_ACTIVATION_CLIP:
        v = v < a.min ? a.min : v;
        return v > a.max ? a.max : v;
    case ENSO_ACTIVATION_HARD_SWISH:
        return v * enso_unit(v * (1.0f / 6) + 0.5f);
    case ENSO_ACTIVATION_LEAKY_RELU:
        return v < 0 ? v * a.alpha : v;
    case ENSO_ACTIVATION_ELU:
        return v < 0 ? a.alpha * expm1f(v) : v;
    case ENSO_ACTIVATION_HARD_SIGMOID:
        return enso_unit(a.alpha * v + a.beta);
    default:
        return v;
    }
}

#endif
