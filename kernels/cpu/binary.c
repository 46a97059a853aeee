/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of two or more inputs that work element by element with broadcasting (ONNX, opset 17):
 * arithmetic, comparison, logic, the variadic Max, Min, Sum, Mean, and PRelu. Integers wrap like
 * numpy's; division by integer zero gives 0 (ONNX leaves it open; a fault of the processor must
 * not take the daemon down). Max and Min pass a NaN of either side on.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/nodes/broadcast.h"

/* y[i] = f(a[i·sa], b[i·sb]); sa and sb are 0 or 1; y may be a or b where that moves by 1. */
typedef void (*pair_fn)(const void *a, size_t sa, const void *b, size_t sb, void *y, size_t n);

struct binary {
    struct enso_bound bound;
    pair_fn pair;
    size_t a_bytes, b_bytes, y_bytes;
};

#define PAIR(name, type, b_type, y_type, value)                                                    \
    static void name(const void *av, size_t sa, const void *bv, size_t sb, void *yv, size_t n)     \
    {                                                                                              \
        typedef type T;                                                                            \
        const T *a = av;                                                                           \
        const b_type *b = bv;                                                                      \
        y_type *y = yv;                                                                            \
        if (sa != 0 && sb != 0) {                                                                  \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T p = a[i];                                                                  \
                const b_type q = b[i];                                                             \
                y[i] = (y_type)(value);                                                            \
            }                                                                                      \
        } else if (sa != 0) {                                                                      \
            const b_type q = b[0];                                                                 \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T p = a[i];                                                                  \
                y[i] = (y_type)(value);                                                            \
            }                                                                                      \
        } else {                                                                                   \
            const T p = a[0];                                                                      \
            for (size_t i = 0; i < n; i++) {                                                       \
                const b_type q = b[i * sb];                                                        \
                y[i] = (y_type)(value);                                                            \
            }                                                                                      \
        }                                                                                          \
    }

#define FLOATS(X, name, value)                                                                     \
    X(name##_F32, float, value)                                                                    \
    X(name##_F64, double, value)
#define SIGNED(X, name, value)                                                                     \
    X(name##_I8, int8_t, value)                                                                    \
    X(name##_I16, int16_t, value)                                                                  \
    X(name##_I32, int32_t, value)                                                                  \
    X(name##_I64, int64_t, value)
#define UNSIGNED(X, name, value)                                                                   \
    X(name##_U8, uint8_t, value)                                                                   \
    X(name##_U16, uint16_t, value)                                                                 \
    X(name##_U32, uint32_t, value)                                                                 \
    X(name##_U64, uint64_t, value)
#define ALL(X, name, value)                                                                        \
    FLOATS(X, name, value)                                                                         \
    SIGNED(X, name, value)                                                                         \
    UNSIGNED(X, name, value)

#define SAME(name, type, value) PAIR(name, type, type, type, value)
#define TEST(name, type, value) PAIR(name, type, type, uint8_t, value)

#define WRAP(operator) ((uint64_t)p operator(uint64_t) q)
FLOATS(SAME, ADD, p + q)
SIGNED(SAME, ADD, WRAP(+))
UNSIGNED(SAME, ADD, WRAP(+))
FLOATS(SAME, SUB, p - q)
SIGNED(SAME, SUB, WRAP(-))
UNSIGNED(SAME, SUB, WRAP(-))
FLOATS(SAME, MUL, p *q)
SIGNED(SAME, MUL, WRAP(*))
UNSIGNED(SAME, MUL, WRAP(*))
FLOATS(SAME, DIV, p / q)
SIGNED(SAME, DIV, q == 0 ? 0 : q == -1 ? 0 - (uint64_t)p : (uint64_t)(p / q))
UNSIGNED(SAME, DIV, q == 0 ? 0 : p / q)
ALL(SAME, MAX, p > q || p != p ? p : q)
ALL(SAME, MIN, p < q || p != p ? p : q)
FLOATS(SAME, PRELU, p < 0 ? p * q : p)
SIGNED(SAME, PRELU, p < 0 ? WRAP(*) : (uint64_t)p)
UNSIGNED(SAME, PRELU, ((void)q, p))
ALL(TEST, EQUAL, p == q)
ALL(TEST, LESS, p < q)
ALL(TEST, LESS_OR_EQUAL, p <= q)
ALL(TEST, GREATER, p > q)
ALL(TEST, GREATER_OR_EQUAL, p >= q)
TEST(EQUAL_BOOL, uint8_t, (p != 0) == (q != 0))
TEST(AND_BOOL, uint8_t, p != 0 && q != 0)
TEST(OR_BOOL, uint8_t, p != 0 || q != 0)
TEST(XOR_BOOL, uint8_t, (p != 0) != (q != 0))

/* Mod: the remainder takes the divisor's sign; with fmod = 1 the dividend's, as C. */
static int64_t floor_mod(int64_t p, int64_t q)
{
    int64_t r = q == 0 || q == -1 ? 0 : p % q;

    return r != 0 && (r < 0) != (q < 0) ? r + q : r;
}
FLOATS(SAME, MOD, (T)(fmod(p, q) != 0 && (p < 0) != (q < 0) ? fmod(p, q) + q : fmod(p, q)))
SIGNED(SAME, MOD, floor_mod(p, q))
UNSIGNED(SAME, MOD, q == 0 ? 0 : p % q)
FLOATS(SAME, FMOD, (T)fmod(p, q))
SIGNED(SAME, FMOD, q == 0 || q == -1 ? 0 : p % q)
UNSIGNED(SAME, FMOD, q == 0 ? 0 : p % q)

/* clang-format off */
#define ROW_F(op, name) [op][ENSO_DTYPE_F32] = name##_F32, [op][ENSO_DTYPE_F64] = name##_F64,
#define ROW_I(op, name) \
    [op][ENSO_DTYPE_I8] = name##_I8, [op][ENSO_DTYPE_U8] = name##_U8, [op][ENSO_DTYPE_I16] = name##_I16, \
    [op][ENSO_DTYPE_U16] = name##_U16, [op][ENSO_DTYPE_I32] = name##_I32, [op][ENSO_DTYPE_U32] = name##_U32, \
    [op][ENSO_DTYPE_I64] = name##_I64, [op][ENSO_DTYPE_U64] = name##_U64,
#define ROW(op, name) ROW_F(ENSO_OP_##op, name) ROW_I(ENSO_OP_##op, name)
static const pair_fn pairs[ENSO_N_OPS][ENSO_N_DTYPES] = {
    ROW(ADD, ADD) ROW(SUB, SUB) ROW(MUL, MUL) ROW(DIV, DIV) ROW(MAX, MAX) ROW(MIN, MIN)
    ROW(MOD, MOD) ROW(PRELU, PRELU) ROW(LESS, LESS) ROW(LESS_OR_EQUAL, LESS_OR_EQUAL)
    ROW(GREATER, GREATER) ROW(GREATER_OR_EQUAL, GREATER_OR_EQUAL) ROW(EQUAL, EQUAL)
    ROW_F(ENSO_OP_SUM, ADD) ROW_F(ENSO_OP_MEAN, ADD)
    [ENSO_OP_EQUAL][ENSO_DTYPE_BOOL] = EQUAL_BOOL, [ENSO_OP_AND][ENSO_DTYPE_BOOL] = AND_BOOL,
    [ENSO_OP_OR][ENSO_DTYPE_BOOL] = OR_BOOL, [ENSO_OP_XOR][ENSO_DTYPE_BOOL] = XOR_BOOL,
};
static const pair_fn fmods[1][ENSO_N_DTYPES] = {ROW_F(0, FMOD) ROW_I(0, FMOD)};
/* clang-format on */

/* Pow: the exponent has a type of its own, the result the base's. */
static uint64_t whole_power(uint64_t base, uint64_t exponent)
{
    uint64_t y = 1;

    for (; exponent != 0; exponent >>= 1, base *= base)
        if ((exponent & 1) != 0)
            y *= base;
    return y;
}

/* A double into the integer type, saturated (NaN: 0). */
static int64_t saturate(double v, int64_t min, int64_t max)
{
    return v != v ? 0 : v <= (double)min ? min : v >= (double)max ? max : (int64_t)v;
}

static float power_f32(float p, float q)
{
    return q == 2.0f ? p * p : q == 0.5f && p >= 0 ? sqrtf(p) : q == 1.0f ? p : powf(p, q);
}

#define POW_FLOAT(e, e_type, ...)                                                                  \
    PAIR(POW_F32_##e, float, e_type, float, power_f32(p, (float)q))                                \
    PAIR(POW_F64_##e, double, e_type, double, pow(p, (double)q))
#define POW_REAL(e, e_type)                                                                        \
    PAIR(POW_I32_##e, int32_t, e_type, int32_t, saturate(pow(p, (double)q), INT32_MIN, INT32_MAX)) \
    PAIR(POW_I64_##e, int64_t, e_type, int64_t,                                                    \
         saturate(pow((double)p, (double)q), INT64_MIN, INT64_MAX))
/* x to a negative whole power is 1/x truncated: 0 unless x is 1 or -1. */
#define POW_WHOLE_VALUE(negative)                                                                  \
    (negative) ? (p == 1    ? 1                                                                    \
                  : p == -1 ? ((q & 1) != 0 ? -1 : 1)                                              \
                            : 0)                                                                   \
               : (int64_t)whole_power((uint64_t)p, (uint64_t)q)
#define POW_SIGNED(e, e_type)                                                                      \
    PAIR(POW_I32_##e, int32_t, e_type, int32_t, POW_WHOLE_VALUE(q < 0))                            \
    PAIR(POW_I64_##e, int64_t, e_type, int64_t, POW_WHOLE_VALUE(q < 0))
#define POW_UNSIGNED(e, e_type)                                                                    \
    PAIR(POW_I32_##e, int32_t, e_type, int32_t, whole_power((uint64_t)p, q))                       \
    PAIR(POW_I64_##e, int64_t, e_type, int64_t, whole_power((uint64_t)p, q))
/* clang-format off */
#define EXPONENTS(FLOAT_X, SIGNED_X, UNSIGNED_X)                                                   \
    FLOAT_X(F32, float) FLOAT_X(F64, double)                                                       \
    SIGNED_X(I8, int8_t) SIGNED_X(I16, int16_t) SIGNED_X(I32, int32_t) SIGNED_X(I64, int64_t)      \
    UNSIGNED_X(U8, uint8_t) UNSIGNED_X(U16, uint16_t) UNSIGNED_X(U32, uint32_t)                    \
    UNSIGNED_X(U64, uint64_t)
/* clang-format on */
EXPONENTS(POW_FLOAT, POW_FLOAT, POW_FLOAT)
EXPONENTS(POW_REAL, POW_SIGNED, POW_UNSIGNED)

#define POW_ROW(e, e_type)                                                                         \
    [ENSO_DTYPE_F32][ENSO_DTYPE_##e] = POW_F32_##e,                                                \
    [ENSO_DTYPE_F64][ENSO_DTYPE_##e] = POW_F64_##e,                                                \
    [ENSO_DTYPE_I32][ENSO_DTYPE_##e] = POW_I32_##e,                                                \
    [ENSO_DTYPE_I64][ENSO_DTYPE_##e] = POW_I64_##e,
static const pair_fn powers[ENSO_N_DTYPES][ENSO_N_DTYPES] = {EXPONENTS(POW_ROW, POW_ROW, POW_ROW)};

struct binary_work {
    const struct binary *op;
    struct enso__broadcast broadcast;
    const unsigned char *a, *b;
    unsigned char *y;
};

static void binary_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct binary_work *w = arg;
    const struct enso__broadcast *bc = &w->broadcast;
    struct enso__broadcast_piece p = {.at = first};

    (void)thread;
    while (enso__broadcast_next(bc, last, &p))
        w->op->pair(w->a + p.offsets[0] * w->op->a_bytes, bc->strides[0][bc->rank - 1],
                    w->b + p.offsets[1] * w->op->b_bytes, bc->strides[1][bc->rank - 1],
                    w->y + p.at * w->op->y_bytes, p.n);
}

static int combine(const struct enso__call *call, const struct enso_tensor *a,
                   const struct enso_tensor *b, const struct enso_tensor *y, struct enso_error *err)
{
    const struct binary *op = (const struct binary *)call->bound;
    struct binary_work w = {.op = op, .a = a->data, .b = b->data, .y = y->data};
    const struct enso_tensor *operands[2] = {a, b};

    if (!enso__broadcast_init(&w.broadcast, y, operands, 2))
        return enso__run_error(call, err, ENSO_INVALID, "shapes %s and %s do not broadcast to %s",
                               enso__dims_text(a).s, enso__dims_text(b).s, enso__dims_text(y).s);
    enso__parallel(call, (size_t)enso_tensor_count(y), 4, binary_piece, &w);
    return ENSO_OK;
}

static void divide(const struct enso_tensor *y, size_t n_inputs)
{
    size_t n = (size_t)enso_tensor_count(y);

    if (y->dtype == ENSO_DTYPE_F32)
        for (size_t i = 0; i < n; i++)
            ((float *)y->data)[i] /= (float)n_inputs;
    else
        for (size_t i = 0; i < n; i++)
            ((double *)y->data)[i] /= (double)n_inputs;
}

static int binary_run(const struct enso__call *call, struct enso_error *err)
{
    return combine(call, enso__in(call, 0), enso__in(call, 1), enso__out(call, 0), err);
}

/* Max, Min, Sum, Mean of one or more: the first two, then the result with each further one. */
static int variadic_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *y = enso__out(call, 0);
    size_t n = call->step->n_inputs;
    int st = ENSO_OK;

    if (n == 1) {
        const struct enso_tensor *x = enso__in(call, 0);

        if (!enso__same_dims(x, y))
            return enso__run_error(call, err, ENSO_INTERNAL, "input and output differ in shape");
        if (x->data != y->data)
            memcpy(y->data, x->data, enso_tensor_bytes(y));
        return ENSO_OK;
    }
    for (size_t i = 1; i < n && st == ENSO_OK; i++)
        st = combine(call, i == 1 ? enso__in(call, 0) : y, enso__in(call, i), y, err);
    if (st == ENSO_OK && call->bound->op == ENSO_OP_MEAN)
        divide(y, n);
    return st;
}

int enso__bind_binary(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_op op = b->node->op;
    bool variadic =
        op == ENSO_OP_MAX || op == ENSO_OP_MIN || op == ENSO_OP_SUM || op == ENSO_OP_MEAN;
    enum enso_dtype a = enso__bind_dtype(b, 0), c = variadic ? a : enso__bind_dtype(b, 1);
    pair_fn pair = op == ENSO_OP_POW ? powers[a][c] : a == c ? pairs[op][a] : NULL;

    for (size_t i = 0; i < b->node->n_inputs; i++)
        if (enso__bind_input(b, i) == NULL)
            return enso__unsupported(b, err, "input %zu is missing", i);
    if (op == ENSO_OP_MOD && a == c && enso_node_int(b->node, "fmod", 0) != 0)
        pair = fmods[0][a];
    if (pair == NULL)
        return enso__unsupported(b, err, "inputs of types %s and %s", enso_dtype_name(a),
                                 enso_dtype_name(c));
    for (size_t i = 1; variadic && i < b->node->n_inputs; i++)
        if (enso__bind_dtype(b, i) != a)
            return enso__unsupported(b, err, "inputs of types %s and %s", enso_dtype_name(a),
                                     enso_dtype_name(enso__bind_dtype(b, i)));
    if (b->node->n_inputs < (variadic ? 1 : 2))
        return enso__unsupported(b, err, "too few inputs");
    struct binary *n = enso__bound_new(b, sizeof(*n), variadic ? variadic_run : binary_run, err);
    if (n == NULL)
        return ENSO_NO_MEMORY;
    n->pair = pair;
    n->a_bytes = enso_dtype_row_bytes(a, 1);
    n->b_bytes = enso_dtype_row_bytes(c, 1);
    n->y_bytes = enso_dtype_row_bytes(enso__bind_output(b, 0)->dtype, 1);
    *ret = &n->bound;
    return ENSO_OK;
}

/* Where: a copy of x or y by condition, for all types by their size. */
struct where {
    struct enso_bound bound;
    size_t bytes;
};

struct where_work {
    struct enso__broadcast broadcast;
    const uint8_t *condition;
    const unsigned char *a, *b;
    unsigned char *y;
    size_t bytes;
};

#define SELECT(type)                                                                               \
    static void select_##type(const uint8_t *c, size_t sc, const void *av, size_t sa,              \
                              const void *bv, size_t sb, void *yv, size_t n)                       \
    {                                                                                              \
        const type *a = av, *b = bv;                                                               \
        type *y = yv;                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = c[i * sc] != 0 ? a[i * sa] : b[i * sb];                                         \
    }
SELECT(uint8_t)
SELECT(uint16_t)
SELECT(uint32_t)
SELECT(uint64_t)

static void where_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct where_work *w = arg;
    size_t inner = w->broadcast.rank - 1;
    struct enso__broadcast_piece p = {.at = first};
    void (*select)(const uint8_t *, size_t, const void *, size_t, const void *, size_t, void *,
                   size_t) = w->bytes == 1   ? select_uint8_t
                             : w->bytes == 2 ? select_uint16_t
                             : w->bytes == 4 ? select_uint32_t
                                             : select_uint64_t;

    (void)thread;
    while (enso__broadcast_next(&w->broadcast, last, &p))
        select(w->condition + p.offsets[0], w->broadcast.strides[0][inner],
               w->a + p.offsets[1] * w->bytes, w->broadcast.strides[1][inner],
               w->b + p.offsets[2] * w->bytes, w->broadcast.strides[2][inner],
               w->y + p.at * w->bytes, p.n);
}

static int where_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *operands[3] = {enso__in(call, 0), enso__in(call, 1),
                                             enso__in(call, 2)};
    const struct enso_tensor *y = enso__out(call, 0);
    struct where_work w = {.condition = operands[0]->data,
                           .a = operands[1]->data,
                           .b = operands[2]->data,
                           .y = y->data,
                           .bytes = ((const struct where *)call->bound)->bytes};

    if (!enso__broadcast_init(&w.broadcast, y, operands, 3))
        return enso__run_error(call, err, ENSO_INVALID,
                               "shapes %s, %s and %s do not broadcast to %s",
                               enso__dims_text(operands[0]).s, enso__dims_text(operands[1]).s,
                               enso__dims_text(operands[2]).s, enso__dims_text(y).s);
    enso__parallel(call, (size_t)enso_tensor_count(y), 4, where_piece, &w);
    return ENSO_OK;
}

int enso__bind_where(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    enum enso_dtype x = enso__bind_dtype(b, 1), y = enso__bind_dtype(b, 2);

    if (b->node->n_inputs != 3 || enso__bind_dtype(b, 0) != ENSO_DTYPE_BOOL || x != y)
        return enso__unsupported(b, err, "needs a BOOL condition and two inputs of one type");
    struct where *w = enso__bound_new(b, sizeof(*w), where_run, err);
    if (w == NULL)
        return ENSO_NO_MEMORY;
    w->bytes = enso_dtype_row_bytes(x, 1);
    *ret = &w->bound;
    return ENSO_OK;
}
