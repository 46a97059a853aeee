/* SPDX-License-Identifier: Apache-2.0
 *
 * Cast between all element types (ONNX Cast, opset 13). To BOOL: zero (also -0) is false, all else,
 * NaN included, true. A float beyond an integer's range: ONNX leaves it open; here it saturates and
 * NaN gives 0, so that no processor's accident shows. Half types go through F32.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <math.h>
#include <string.h>

typedef void (*convert_fn)(const void *x, void *y, size_t n);

#define CONVERT(from, from_type, to, to_type, value)                                               \
    static void from##_to_##to(const void *restrict xv, void *restrict yv, size_t n)               \
    {                                                                                              \
        const from_type *x = xv;                                                                   \
        to_type *y = yv;                                                                           \
        for (size_t i = 0; i < n; i++)                                                             \
            y[i] = (to_type)(value);                                                               \
    }

/* Plain numeric types: X(name, type, smallest, largest) */
#define INTEGERS(X, ...)                                                                           \
    X(I8, int8_t, INT8_MIN, INT8_MAX, __VA_ARGS__)                                                 \
    X(U8, uint8_t, 0, UINT8_MAX, __VA_ARGS__)                                                      \
    X(I16, int16_t, INT16_MIN, INT16_MAX, __VA_ARGS__)                                             \
    X(U16, uint16_t, 0, UINT16_MAX, __VA_ARGS__)                                                   \
    X(I32, int32_t, INT32_MIN, INT32_MAX, __VA_ARGS__)                                             \
    X(U32, uint32_t, 0, UINT32_MAX, __VA_ARGS__)                                                   \
    X(I64, int64_t, INT64_MIN, INT64_MAX, __VA_ARGS__)                                             \
    X(U64, uint64_t, 0, UINT64_MAX, __VA_ARGS__)

/* (double)INT64_MAX rounds up to 2^63, so "at or above" saturates there too. */
#define SATURATE(v, type, min, max)                                                                \
    ((v) != (v)                     ? (type)0                                                      \
     : (double)(v) <= (double)(min) ? (type)(min)                                                  \
     : (double)(v) >= (double)(max) ? (type)(max)                                                  \
                                    : (type)(v))
#define FROM_FLOAT(to, to_type, min, max, from, from_type)                                         \
    CONVERT(from, from_type, to, to_type, SATURATE(x[i], to_type, min, max))
#define FROM_INTEGER(to, to_type, min, max, from, from_type)                                       \
    CONVERT(from, from_type, to, to_type, x[i])
#define FROM_REAL(from, from_type)                                                                 \
    INTEGERS(FROM_FLOAT, from, from_type)                                                          \
    CONVERT(from, from_type, F32, float, x[i])                                                     \
    CONVERT(from, from_type, F64, double, x[i])                                                    \
    CONVERT(from, from_type, BOOL, uint8_t, x[i] != 0)
#define FROM_WHOLE(from, from_type, min, max, ...)                                                 \
    INTEGERS(FROM_INTEGER, from, from_type)                                                        \
    CONVERT(from, from_type, F32, float, x[i])                                                     \
    CONVERT(from, from_type, F64, double, x[i])                                                    \
    CONVERT(from, from_type, BOOL, uint8_t, x[i] != 0)

FROM_REAL(F32, float)
FROM_REAL(F64, double)
/* The list cannot expand inside itself: one line per integer type. */
FROM_WHOLE(I8, int8_t, 0, 0)
FROM_WHOLE(U8, uint8_t, 0, 0)
FROM_WHOLE(I16, int16_t, 0, 0)
FROM_WHOLE(U16, uint16_t, 0, 0)
FROM_WHOLE(I32, int32_t, 0, 0)
FROM_WHOLE(U32, uint32_t, 0, 0)
FROM_WHOLE(I64, int64_t, 0, 0)
FROM_WHOLE(U64, uint64_t, 0, 0)
FROM_WHOLE(BOOL, uint8_t, 0, 0)

/* clang-format off */
#define TO_ALL(from) [ENSO_DTYPE_##from] = { \
    [ENSO_DTYPE_F32] = from##_to_F32, [ENSO_DTYPE_F64] = from##_to_F64, \
    [ENSO_DTYPE_I8] = from##_to_I8, [ENSO_DTYPE_U8] = from##_to_U8, \
    [ENSO_DTYPE_I16] = from##_to_I16, [ENSO_DTYPE_U16] = from##_to_U16, \
    [ENSO_DTYPE_I32] = from##_to_I32, [ENSO_DTYPE_U32] = from##_to_U32, \
    [ENSO_DTYPE_I64] = from##_to_I64, [ENSO_DTYPE_U64] = from##_to_U64, \
    [ENSO_DTYPE_BOOL] = from##_to_BOOL }
static const convert_fn converts[ENSO_N_DTYPES][ENSO_N_DTYPES] = {
    TO_ALL(F32), TO_ALL(F64), TO_ALL(I8), TO_ALL(U8), TO_ALL(I16), TO_ALL(U16), TO_ALL(I32),
    TO_ALL(U32), TO_ALL(I64), TO_ALL(U64), TO_ALL(BOOL),
};
/* clang-format on */

struct cast {
    struct enso_bound bound;
    enum enso_dtype from, to;
};

static bool is_half(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 || dtype == ENSO_DTYPE_BF16;
}

/* A double that is rounded to F32 and then to half is rounded twice; rounding the first to odd
 * makes the second exact (F32 has more than two bits beyond both halves). */
static float to_odd(double v)
{
    float f = (float)v;

    if ((double)f == v || f != f || isinf(f))
        return f;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    if ((bits & 1) == 0)
        f = nextafterf(f, (double)f < v ? INFINITY : -INFINITY);
    return f;
}

#define SLICE 256

static void convert(enum enso_dtype from, enum enso_dtype to, const unsigned char *x,
                    unsigned char *y, size_t n)
{
    size_t from_bytes = enso_dtype_row_bytes(from, 1), to_bytes = enso_dtype_row_bytes(to, 1);

    if (from == to) {
        if (x != y)
            memcpy(y, x, n * to_bytes);
        return;
    }
    if (!is_half(from) && !is_half(to)) {
        converts[from][to](x, y, n);
        return;
    }
    for (size_t i = 0; i < n; i += SLICE) {
        float f[SLICE];
        size_t m = ENSO_MIN(n - i, (size_t)SLICE);
        const unsigned char *xi = x + i * from_bytes;
        unsigned char *yi = y + i * to_bytes;

        if (from == ENSO_DTYPE_F16)
            enso_f16_to_f32((const uint16_t *)xi, f, m);
        else if (from == ENSO_DTYPE_BF16)
            enso_bf16_to_f32((const uint16_t *)xi, f, m);
        else if (from == ENSO_DTYPE_F32)
            memcpy(f, xi, m * sizeof(float));
        else if (from == ENSO_DTYPE_F64)
            for (size_t j = 0; j < m; j++)
                f[j] = to_odd(((const double *)xi)[j]);
        else
            converts[from][ENSO_DTYPE_F32](xi, f, m);
        if (to == ENSO_DTYPE_F16)
            enso_f32_to_f16(f, (uint16_t *)yi, m);
        else if (to == ENSO_DTYPE_BF16)
            enso_f32_to_bf16(f, (uint16_t *)yi, m);
        else if (to == ENSO_DTYPE_F32)
            memcpy(yi, f, m * sizeof(float));
        else
            converts[ENSO_DTYPE_F32][to](f, yi, m);
    }
}

struct cast_work {
    enum enso_dtype from, to;
    const unsigned char *x;
    unsigned char *y;
};

static void cast_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct cast_work *w = arg;

    (void)thread;
    convert(w->from, w->to, w->x + enso_dtype_row_bytes(w->from, first),
            w->y + enso_dtype_row_bytes(w->to, first), last - first);
}

static int cast_run(const struct enso__call *call, struct enso_error *err)
{
    const struct cast *c = (const struct cast *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);

    if (enso_tensor_count(x) != enso_tensor_count(y))
        return enso__run_error(call, err, ENSO_INTERNAL, "input and output differ in size");
    struct cast_work w = {c->from, c->to, x->data, y->data};

    enso__parallel(call, (size_t)enso_tensor_count(y), 8, cast_piece, &w);
    return ENSO_OK;
}

int enso__bind_cast(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct cast *c = enso__bound_new(b, sizeof(*c), cast_run, err);

    if (c == NULL)
        return ENSO_NO_MEMORY;
    c->from = enso__bind_dtype(b, 0);
    c->to = enso__bind_output(b, 0)->dtype;
    *ret = &c->bound;
    return ENSO_OK;
}
