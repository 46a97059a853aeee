/* SPDX-License-Identifier: Apache-2.0
 *
 * Portable row functions: activations, softmax, norms. Sums in double, functions from libm: slow
 * and exact, the oracle of the other instruction sets. See kernels.h for the contracts.
 */
#include "ensod_build.h"

#include "kernels/cpu/kernels.h"

#include <math.h>
#include <string.h>

#define EACH(value)                                                                                \
    for (size_t i = 0; i < n; i++) {                                                               \
        float v = x[i];                                                                            \
        y[i] = value;                                                                              \
    }                                                                                              \
    break

/* max(0, min(1, v)) that lets NaN through. */
static float unit(float v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static float clip(float v, float min, float max)
{
    v = v < min ? min : v;
    return v > max ? max : v;
}

static float gelu_tanh(float v)
{
    return 0.5f * v * (1 + tanhf(0.797884560802865f * (v + 0.044715f * v * v * v)));
}

static void activate(const float *x, float *y, size_t n, const struct enso_activation_args *a)
{
    switch (a->kind) {
    case ENSO_ACTIVATION_NONE:
        EACH(v);
    case ENSO_ACTIVATION_RELU:
        EACH(v < 0 ? 0 : v);
    case ENSO_ACTIVATION_GELU:
        EACH(0.5f * v * (1 + erff(v * 0.707106781186547524f)));
    case ENSO_ACTIVATION_GELU_TANH:
        EACH(gelu_tanh(v));
    case ENSO_ACTIVATION_SILU:
        EACH(v / (1 + expf(-v)));
    case ENSO_ACTIVATION_TANH:
        EACH(tanhf(v));
    case ENSO_ACTIVATION_SIGMOID:
        EACH(1 / (1 + expf(-v)));
    case ENSO_ACTIVATION_CLIP:
        EACH(clip(v, a->min, a->max));
    case ENSO_ACTIVATION_HARD_SWISH:
        EACH(v * unit(v * (1.0f / 6) + 0.5f));
    case ENSO_ACTIVATION_LEAKY_RELU:
        EACH(v < 0 ? v * a->alpha : v);
    case ENSO_ACTIVATION_ELU:
        EACH(v < 0 ? a->alpha * expm1f(v) : v);
    case ENSO_ACTIVATION_HARD_SIGMOID:
        EACH(unit(a->alpha * v + a->beta));
    }
}

static void exp_row(const float *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = expf(x[i]);
}

static void erf_row(const float *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = erff(x[i]);
}

static float largest(const float *x, size_t n)
{
    float max = x[0];

    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static void softmax(float *x, size_t n, size_t n_padded, float scale)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
    float max = largest(x, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += (double)x[i];
    }
    float inverse = (float)(1 / sum);
    for (size_t i = 0; i < n; i++)
        x[i] *= inverse;
    for (size_t i = n; i < n_padded; i++)
        x[i] = 0;
}

static void log_softmax(float *x, size_t n)
{
    float max = largest(x, n);
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)max);
    double shift = (double)max + log(sum);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] - shift);
}

static void layer_norm(const float *x, float *y, size_t n, const float *gamma, const float *beta,
                       float epsilon)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double inverse = 1 / sqrt(squares / (double)n + (double)epsilon);

    for (size_t i = 0; i < n; i++) {
        float v = (float)(((double)x[i] - mean) * inverse);

        if (gamma != NULL)
            v *= gamma[i];
        y[i] = beta != NULL ? v + beta[i] : v;
    }
}

static void rms_norm(const float *x, float *y, size_t n, const float *gamma, float epsilon)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    double inverse = 1 / sqrt(squares / (double)n + (double)epsilon);

    for (size_t i = 0; i < n; i++) {
        float v = (float)((double)x[i] * inverse);

        y[i] = gamma != NULL ? v * gamma[i] : v;
    }
}

static void l2_normalize(const float *x, float *y, size_t n, float epsilon)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    double root = sqrt(squares);
    double inverse = 1 / (root <= (double)epsilon ? (double)epsilon : root); /* NaN stays */

    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)x[i] * inverse);
}

static void add(const float *a, const float *b, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void max_into(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i];
}

void enso_rows_add_generic(struct enso_kernels *kernels)
{
    kernels->activate = activate;
    kernels->exp = exp_row;
    kernels->erf = erf_row;
    kernels->softmax = softmax;
    kernels->log_softmax = log_softmax;
    kernels->layer_norm = layer_norm;
    kernels->rms_norm = rms_norm;
    kernels->l2_normalize = l2_normalize;
    kernels->add = add;
    kernels->max_into = max_into;
}
