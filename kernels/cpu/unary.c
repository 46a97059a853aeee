/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of one input that work element by element, with the meaning of their ONNX namesakes at
 * opset 17 (Gelu: opset 20). F32 and F64 for all, integers where ONNX allows them. In F32 the
 * activations, exp and erf go through the instruction set's table (kernels.h). NaN stays NaN.
 * The output may be the input's memory.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>
#include <tgmath.h>

struct unary_params {
    float alpha, beta;
    double min, max;                    /* Clip of floats */
    int64_t min_i, max_i;               /* Clip of integers */
    struct enso_activation_args kernel; /* when run through the table's activate */
};

typedef void (*map_fn)(const void *x, void *y, size_t n, const struct unary_params *p);

struct unary {
    struct enso_bound bound;
    map_fn map;                                         /* NULL: one of the two below */
    void (*kernel)(const float *x, float *y, size_t n); /* exp, erf */
    size_t element, cost;
    struct unary_params params;
};

#define MAP(name, type, value)                                                                     \
    static void name(const void *xv, void *yv, size_t n, const struct unary_params *p)             \
    {                                                                                              \
        typedef type T;                                                                            \
        const T *x = xv;                                                                           \
        T *y = yv;                                                                                 \
        (void)p;                                                                                   \
        for (size_t i = 0; i < n; i++) {                                                           \
            const T v = x[i];                                                                      \
            y[i] = (T)(value);                                                                     \
        }                                                                                          \
    }
#define FLOAT_MAP(name, value)                                                                     \
    MAP(name##_F32, float, value)                                                                  \
    MAP(name##_F64, double, value)
#define SIGNED_MAP(name, value)                                                                    \
    MAP(name##_I8, int8_t, value)                                                                  \
    MAP(name##_I16, int16_t, value)                                                                \
    MAP(name##_I32, int32_t, value)                                                                \
    MAP(name##_I64, int64_t, value)
#define UNSIGNED_MAP(name, value)                                                                  \
    MAP(name##_U8, uint8_t, value)                                                                 \
    MAP(name##_U16, uint16_t, value)                                                               \
    MAP(name##_U32, uint32_t, value)                                                               \
    MAP(name##_U64, uint64_t, value)

/* -fsanitize=undefined rightly minds -INT_MIN; ONNX says nothing, so it wraps like numpy. */
#define WRAP_NEG(v) (0 - (uint64_t)(v))

FLOAT_MAP(ABS, fabs(v))
SIGNED_MAP(ABS, v < 0 ? WRAP_NEG(v) : (uint64_t)v)
UNSIGNED_MAP(ABS, v)
FLOAT_MAP(CEIL, ceil(v))
FLOAT_MAP(CLIP, v<(T)p->min ? (T)p->min > (T)p->max ? (T)p->max : (T)p->min : v>(T) p->max
                    ? (T)p->max
                    : v)
/* The bounds are of the element's type, U64 too: as bits in an int64_t. The upper one wins. */
#define CLIP_INT(v) ENSO_MIN(ENSO_MAX(v, (T)p->min_i), (T)p->max_i)
SIGNED_MAP(CLIP, CLIP_INT(v))
UNSIGNED_MAP(CLIP, CLIP_INT(v))
FLOAT_MAP(COS, cos(v))
FLOAT_MAP(ELU, v < 0 ? p->alpha * expm1(v) : v)
FLOAT_MAP(ERF, erf(v))
FLOAT_MAP(EXP, exp(v))
FLOAT_MAP(FLOOR, floor(v))
FLOAT_MAP(GELU, (T)0.5 * v * ((T)1 + erf(v * (T)0.70710678118654752440)))
FLOAT_MAP(HARD_SIGMOID, v != v ? v : fmax((T)0, fmin((T)1, p->alpha *v + p->beta)))
FLOAT_MAP(HARD_SWISH, v != v ? v : v * fmax((T)0, fmin((T)1, v / (T)6 + (T)0.5)))
FLOAT_MAP(LEAKY_RELU, v < 0 ? p->alpha * v : v)
FLOAT_MAP(LOG, log(v))
FLOAT_MAP(MISH, v *tanh(v > 20 ? v : log1p(exp(v))))
FLOAT_MAP(NEG, -v)
SIGNED_MAP(NEG, WRAP_NEG(v))
FLOAT_MAP(RECIPROCAL, (T)1 / v)
FLOAT_MAP(RELU, v < 0 ? (T)0 : v)
SIGNED_MAP(RELU, v < 0 ? 0 : v)
FLOAT_MAP(ROUND, nearbyint(v))
FLOAT_MAP(SELU, p->beta *(v < 0 ? p->alpha * expm1(v) : v))
FLOAT_MAP(SIGMOID, (T)1 / ((T)1 + exp(-v)))
FLOAT_MAP(SIGN, v > 0 ? (T)1 : v < 0 ? (T)-1 : v) /* of zero and NaN: themselves */
SIGNED_MAP(SIGN, (v > 0) - (v < 0))
UNSIGNED_MAP(SIGN, v > 0)
FLOAT_MAP(SILU, v / ((T)1 + exp(-v)))
FLOAT_MAP(SIN, sin(v))
FLOAT_MAP(SOFTPLUS, v != v ? v : fmax(v, (T)0) + log1p(exp(-fabs(v))))
FLOAT_MAP(SOFTSIGN, v / ((T)1 + fabs(v)))
FLOAT_MAP(SQRT, sqrt(v))
FLOAT_MAP(TANH, tanh(v))
MAP(NOT_BOOL, uint8_t, v == 0)

/* clang-format off */
#define FLOATS(name) [ENSO_OP_##name][ENSO_DTYPE_F32] = name##_F32, [ENSO_OP_##name][ENSO_DTYPE_F64] = name##_F64,
#define SIGNED(name) [ENSO_OP_##name][ENSO_DTYPE_I8] = name##_I8, [ENSO_OP_##name][ENSO_DTYPE_I16] = name##_I16, \
                     [ENSO_OP_##name][ENSO_DTYPE_I32] = name##_I32, [ENSO_OP_##name][ENSO_DTYPE_I64] = name##_I64,
#define UNSIGNED(name) [ENSO_OP_##name][ENSO_DTYPE_U8] = name##_U8, [ENSO_OP_##name][ENSO_DTYPE_U16] = name##_U16, \
                       [ENSO_OP_##name][ENSO_DTYPE_U32] = name##_U32, [ENSO_OP_##name][ENSO_DTYPE_U64] = name##_U64,
static const map_fn maps[ENSO_N_OPS][ENSO_N_DTYPES] = {
    FLOATS(ABS) SIGNED(ABS) UNSIGNED(ABS) FLOATS(CEIL) FLOATS(CLIP) SIGNED(CLIP) UNSIGNED(CLIP)
    FLOATS(COS) FLOATS(ELU) FLOATS(ERF) FLOATS(EXP) FLOATS(FLOOR) FLOATS(GELU) FLOATS(HARD_SIGMOID)
    FLOATS(HARD_SWISH) FLOATS(LEAKY_RELU) FLOATS(LOG) FLOATS(MISH) FLOATS(NEG) SIGNED(NEG)
    FLOATS(RECIPROCAL) FLOATS(RELU) SIGNED(RELU) FLOATS(ROUND) FLOATS(SELU) FLOATS(SIGMOID)
    FLOATS(SIGN) SIGNED(SIGN) UNSIGNED(SIGN) FLOATS(SILU) FLOATS(SIN) FLOATS(SOFTPLUS)
    FLOATS(SOFTSIGN) FLOATS(SQRT) FLOATS(TANH)
    [ENSO_OP_NOT][ENSO_DTYPE_BOOL] = NOT_BOOL,
};
/* clang-format on */

/* Operators that the table's activate knows in F32. */
static enum enso_activation activation_of(enum enso_op op)
{
    switch (op) {
    case ENSO_OP_CLIP:
        return ENSO_ACTIVATION_CLIP;
    case ENSO_OP_ELU:
        return ENSO_ACTIVATION_ELU;
    case ENSO_OP_GELU:
        return ENSO_ACTIVATION_GELU;
    case ENSO_OP_HARD_SIGMOID:
        return ENSO_ACTIVATION_HARD_SIGMOID;
    case ENSO_OP_HARD_SWISH:
        return ENSO_ACTIVATION_HARD_SWISH;
    case ENSO_OP_LEAKY_RELU:
        return ENSO_ACTIVATION_LEAKY_RELU;
    case ENSO_OP_RELU:
        return ENSO_ACTIVATION_RELU;
    case ENSO_OP_SIGMOID:
        return ENSO_ACTIVATION_SIGMOID;
    case ENSO_OP_SILU:
        return ENSO_ACTIVATION_SILU;
    case ENSO_OP_TANH:
        return ENSO_ACTIVATION_TANH;
    default:
        return ENSO_ACTIVATION_NONE;
    }
}

/* Scalar input i of Clip, of the node's own type, into both forms. */
static int clip_bound(const struct enso__call *call, size_t i, double *f, int64_t *n,
                      struct enso_error *err)
{
    const struct enso_tensor *t = enso__in(call, i);

    if (t == NULL)
        return ENSO_OK;
    if (enso_tensor_count(t) != 1)
        return enso__run_error(call, err, ENSO_INVALID, "bound %zu must be one number", i);
    switch (t->dtype) {
#define READ(name, type)                                                                           \
    case ENSO_DTYPE_##name:                                                                        \
        *f = (double)*(const type *)t->data;                                                       \
        *n = (int64_t)ENSO_MAX(ENSO_MIN(*f, 9.2e18), -9.2e18);                                     \
        break;
        READ(F32, float)
        READ(F64, double)
#undef READ
#define READ(name, type)                                                                           \
    case ENSO_DTYPE_##name:                                                                        \
        *n = (int64_t) * (const type *)t->data;                                                    \
        break;
        READ(I8, int8_t)
        READ(U8, uint8_t)
        READ(I16, int16_t)
        READ(U16, uint16_t)
        READ(I32, int32_t)
        READ(U32, uint32_t)
        READ(I64, int64_t)
        READ(U64, uint64_t)
#undef READ
    default:
        return enso__run_error(call, err, ENSO_UNSUPPORTED, "bounds of type %s",
                               enso_dtype_name(t->dtype));
    }
    return ENSO_OK;
}

/* The range of the type itself, where no bound is given. */
static void clip_limits(enum enso_dtype dtype, struct unary_params *p)
{
    static const struct {
        int64_t min, max;
    } limits[ENSO_N_DTYPES] = {
        [ENSO_DTYPE_I8] = {INT8_MIN, INT8_MAX},    [ENSO_DTYPE_U8] = {0, UINT8_MAX},
        [ENSO_DTYPE_I16] = {INT16_MIN, INT16_MAX}, [ENSO_DTYPE_U16] = {0, UINT16_MAX},
        [ENSO_DTYPE_I32] = {INT32_MIN, INT32_MAX}, [ENSO_DTYPE_U32] = {0, UINT32_MAX},
        [ENSO_DTYPE_I64] = {INT64_MIN, INT64_MAX}, [ENSO_DTYPE_U64] = {0, -1 /* all bits */},
    };

    p->min = -(double)INFINITY;
    p->max = (double)INFINITY;
    p->min_i = limits[dtype].min;
    p->max_i = limits[dtype].max;
}

struct unary_work {
    const struct unary *op;
    const struct unary_params *params;
    const unsigned char *x;
    unsigned char *y;
};

static void unary_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct unary_work *w = arg;
    size_t at = first * w->op->element, n = last - first;

    (void)thread;
    if (w->op->kernel != NULL)
        w->op->kernel((const float *)(w->x + at), (float *)(w->y + at), n);
    else if (w->op->map != NULL)
        w->op->map(w->x + at, w->y + at, n, w->params);
    else
        w->op->bound.kernels->activate((const float *)(w->x + at), (float *)(w->y + at), n,
                                       &w->params->kernel);
}

static int unary_run(const struct enso__call *call, struct enso_error *err)
{
    const struct unary *u = (const struct unary *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct unary_params params = u->params;

    if (enso_tensor_count(x) != enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "input and output differ in size");
    if (u->bound.op == ENSO_OP_CLIP) {
        clip_limits(x->dtype, &params);
        int st = clip_bound(call, 1, &params.min, &params.min_i, err);

        if (st == ENSO_OK)
            st = clip_bound(call, 2, &params.max, &params.max_i, err);
        if (st != ENSO_OK)
            return st;
        params.kernel.min = (float)params.min;
        params.kernel.max = (float)params.max;
    }
    struct unary_work w = {u, &params, x->data, y->data};

    enso__parallel(call, (size_t)enso_tensor_count(y), u->cost, unary_piece, &w);
    return ENSO_OK;
}

static void unary_attributes(struct unary *u, const struct enso_node *node)
{
    float alpha = 1.0f, beta = 0.0f;

    if (u->bound.op == ENSO_OP_LEAKY_RELU)
        alpha = 0.01f;
    if (u->bound.op == ENSO_OP_HARD_SIGMOID) {
        alpha = 0.2f;
        beta = 0.5f;
    }
    if (u->bound.op == ENSO_OP_SELU)
        alpha = 1.67326319217681884765625f;
    u->params.alpha = enso_node_float(node, "alpha", alpha);
    u->params.beta = u->bound.op == ENSO_OP_SELU
                         ? enso_node_float(node, "gamma", 1.05070102214813232421875f)
                         : enso_node_float(node, "beta", beta);
    u->params.kernel = (struct enso_activation_args){
        .kind = activation_of(u->bound.op), .alpha = u->params.alpha, .beta = u->params.beta};
    if (u->bound.op == ENSO_OP_GELU &&
        strcmp(enso_node_string(node, "approximate", "none"), "tanh") == 0)
        u->params.kernel.kind = ENSO_ACTIVATION_GELU_TANH;
}

static double gelu_tanh(double v)
{
    return 0.5 * v * (1.0 + tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
}

MAP(GELU_TANH_F64, double, gelu_tanh(v))

int enso__bind_unary(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype dtype = enso__bind_dtype(b, 0);
    map_fn map = maps[b->node->op][dtype];

    if (map == NULL)
        return enso__unsupported(b, err, "input of type %s", enso_dtype_name(dtype));
    struct unary *u = enso__bound_new(b, sizeof(*u), unary_run, err);
    if (u == NULL)
        return ENSO_NO_MEMORY;
    u->element = enso_dtype_row_bytes(dtype, 1);
    u->cost = 16;
    u->map = map;
    unary_attributes(u, b->node);
    if (dtype == ENSO_DTYPE_F32) {
        if (b->node->op == ENSO_OP_EXP)
            u->kernel = u->bound.kernels->exp;
        if (b->node->op == ENSO_OP_ERF)
            u->kernel = u->bound.kernels->erf;
        if (u->params.kernel.kind != ENSO_ACTIVATION_NONE)
            u->map = NULL;
    } else if (u->params.kernel.kind == ENSO_ACTIVATION_GELU_TANH) {
        u->map = GELU_TANH_F64;
    }
    *ret = &u->bound;
    return ENSO_OK;
}
