/* SPDX-License-Identifier: Apache-2.0
 *
 * What the operators of all devices share while binding and checking: see node.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/node.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

int enso__op_verror(enum enso_op op, const char *node, struct enso_error *err,
                    enum enso_status status, const char *format, va_list args)
{
    char text[256];

    vsnprintf(text, sizeof(text), format, args);
    return enso_error_set(err, status, "%s '%s': %s", enso_op_name(op), node != NULL ? node : "",
                          text);
}

int enso__op_error(enum enso_op op, const char *node, struct enso_error *err,
                   enum enso_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int st = enso__op_verror(op, node, err, status, format, args);
    va_end(args);
    return st;
}

int enso__unsupported(const struct enso__bind *b, struct enso_error *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int st = enso__op_verror(b->node->op, b->node->name, err, ENSO_UNSUPPORTED, format, args);
    va_end(args);
    return st;
}

const struct enso_value *enso__bind_input(const struct enso__bind *b, size_t i)
{
    if (i >= b->node->n_inputs || b->node->inputs[i] < 0)
        return NULL;
    return enso_graph_value(b->graph, b->node->inputs[i]);
}

const struct enso_value *enso__bind_output(const struct enso__bind *b, size_t i)
{
    if (i >= b->node->n_outputs || b->node->outputs[i] < 0)
        return NULL;
    return enso_graph_value(b->graph, b->node->outputs[i]);
}

enum enso_dtype enso__bind_dtype(const struct enso__bind *b, size_t i)
{
    const struct enso_value *v = enso__bind_input(b, i);

    return v != NULL ? v->dtype : ENSO_DTYPE_F32;
}

static void widen(enum enso_dtype dtype, const void *src, float *dst, size_t n)
{
    switch (dtype) {
#define WIDEN(name, type)                                                                          \
    case ENSO_DTYPE_##name:                                                                        \
        for (size_t i = 0; i < n; i++)                                                             \
            dst[i] = (float)((const type *)src)[i];                                                \
        break;
        WIDEN(F64, double)
        WIDEN(I8, int8_t)
        WIDEN(U8, uint8_t)
        WIDEN(I16, int16_t)
        WIDEN(U16, uint16_t)
        WIDEN(I32, int32_t)
        WIDEN(U32, uint32_t)
        WIDEN(I64, int64_t)
        WIDEN(U64, uint64_t)
        WIDEN(BOOL, uint8_t)
#undef WIDEN
    case ENSO_DTYPE_F16:
        enso_f16_to_f32(src, dst, n);
        break;
    case ENSO_DTYPE_BF16:
        enso_bf16_to_f32(src, dst, n);
        break;
    case ENSO_DTYPE_F32:
    case ENSO_N_DTYPES:
        break;
    }
}

int enso__refuse_halves(const struct enso__bind *b,
                        bool (*computes)(const struct enso_device *device, enum enso_op op,
                                         enum enso_dtype dtype),
                        const char *device, struct enso_error *err)
{
    size_t n_inputs = b->node->n_inputs, n = n_inputs + b->node->n_outputs;

    for (size_t i = 0; i < n; i++) {
        const struct enso_value *v =
            i < n_inputs ? enso__bind_input(b, i) : enso__bind_output(b, i - n_inputs);

        if (v != NULL && v->constant == NULL && enso_dtype_is_half(v->dtype) &&
            !computes(b->device, b->node->op, v->dtype))
            return enso__unsupported(b, err, "%s does not compute it in %s; ask for dtype fp32",
                                     device, enso_dtype_name(v->dtype));
    }
    return ENSO_OK;
}

/* Read in slices, so that a type that needs widening costs little beside the result. */
static int read_floats(const struct enso_constant *c, size_t n, float *data, struct enso_error *err)
{
    if (c->dtype == ENSO_DTYPE_F32)
        return n == 0 ? ENSO_OK : enso_constant_read(c, 0, (int64_t)n, data, err);

    uint64_t slice[256];
    int st = ENSO_OK;

    for (size_t i = 0; i < n && st == ENSO_OK; i += 256) {
        size_t m = ENSO_MIN(n - i, (size_t)256);

        st = enso_constant_read(c, (int64_t)i, (int64_t)m, slice, err);
        if (st == ENSO_OK)
            widen(c->dtype, slice, data + i, m);
    }
    return st;
}

int enso__constant_floats(const struct enso__bind *b, size_t i, size_t pad, float **ret_data,
                          size_t *ret_n, struct enso_error *err)
{
    const struct enso_value *v = enso__bind_input(b, i);

    *ret_data = NULL;
    *ret_n = 0;
    if (v == NULL || v->constant == NULL)
        return ENSO_OK;
    size_t n = (size_t)enso_constant_count(v->constant), padded, bytes;
    if (!enso_size_add(n, pad - 1, &padded))
        return enso_error_no_memory(err, v->name);
    padded = ENSO_MAX(padded / pad * pad, pad);
    if (!enso_size_mul(padded, sizeof(float), &bytes))
        return enso_error_no_memory(err, v->name);
    float *data = enso_alloc_aligned(ENSO_CACHE_LINE, bytes);

    if (data == NULL)
        return enso_error_no_memory(err, v->name);
    int st = read_floats(v->constant, n, data, err);
    if (st != ENSO_OK) {
        enso_free(data);
        return st;
    }
    memset(data + n, 0, (padded - n) * sizeof(float));
    *ret_data = data;
    *ret_n = n;
    return ENSO_OK;
}

bool enso__ints_take(enum enso_dtype dtype, const void *data, size_t n, struct enso__ints *ret)
{
    if (n > ENSO__MAX_INTS || (dtype != ENSO_DTYPE_I64 && dtype != ENSO_DTYPE_I32))
        return false;
    for (size_t i = 0; i < n; i++)
        ret->v[i] =
            dtype == ENSO_DTYPE_I64 ? ((const int64_t *)data)[i] : ((const int32_t *)data)[i];
    ret->n = (uint8_t)n;
    return true;
}

int enso__ints_bind(const struct enso__bind *b, size_t input, const char *attribute,
                    struct enso__ints *ret, struct enso_error *err)
{
    const struct enso_value *v = enso__bind_input(b, input);

    *ret = (struct enso__ints){.input = (uint8_t)input};
    if (v == NULL) {
        size_t n = 0;
        const int64_t *ints = attribute != NULL ? enso_node_ints(b->node, attribute, &n) : NULL;

        ret->known = true;
        ret->present = ints != NULL;
        if (ints != NULL && !enso__ints_take(ENSO_DTYPE_I64, ints, n, ret))
            return enso__unsupported(b, err, "attribute %s has %zu entries", attribute, n);
        return ENSO_OK;
    }
    ret->present = true;
    if (v->constant == NULL)
        return ENSO_OK;
    int64_t n = enso_constant_count(v->constant), data[ENSO__MAX_INTS];
    if (n < 0 || n > ENSO__MAX_INTS || (v->dtype != ENSO_DTYPE_I64 && v->dtype != ENSO_DTYPE_I32))
        return enso__unsupported(b, err, "input %zu must be at most %d integers", input,
                                 ENSO__MAX_INTS);
    if (n > 0) {
        int st = enso_constant_read(v->constant, 0, n, data, err);

        if (st != ENSO_OK)
            return st;
    }
    ret->known = enso__ints_take(v->constant->dtype, data, (size_t)n, ret);
    return ENSO_OK;
}

bool enso__same_dims(const struct enso_tensor *a, const struct enso_tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (size_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

bool enso__broadcast_strides(const struct enso_tensor *t, size_t rank, const int64_t *dims,
                             size_t *ret_strides)
{
    size_t stride = 1;

    if (t->rank > rank)
        return false;
    for (size_t i = 0; i < rank; i++) {
        size_t d = rank - 1 - i;

        if (i >= t->rank) {
            ret_strides[d] = 0;
            continue;
        }
        int64_t n = t->dims[t->rank - 1 - i];

        if (n != dims[d] && n != 1)
            return false;
        ret_strides[d] = n == 1 ? 0 : stride;
        stride *= (size_t)n;
    }
    return true;
}

size_t enso__count(const int64_t *dims, size_t first, size_t last)
{
    size_t n = 1;

    for (size_t i = first; i < last; i++)
        n *= (size_t)dims[i];
    return n;
}

int enso__axis(int64_t axis, size_t rank)
{
    if (axis < 0)
        axis += (int64_t)rank;
    return axis < 0 || axis >= (int64_t)rank ? -1 : (int)axis;
}

struct enso__dims_text enso__dims_text(const struct enso_tensor *t)
{
    struct enso__dims_text text = {""};
    size_t used = 0;

    for (size_t i = 0; i < t->rank && used < sizeof(text.s) - 24; i++)
        used += (size_t)snprintf(text.s + used, sizeof(text.s) - used, i == 0 ? "%lld" : "x%lld",
                                 (long long)t->dims[i]);
    if (t->rank == 0)
        snprintf(text.s, sizeof(text.s), "a scalar");
    return text;
}

struct enso_activation_args enso__activation_args(const struct enso_node *node)
{
    struct enso_activation_args a = {
        .kind = (enum enso_activation)enso_node_int(node, "activation", 0),
        .min = enso_node_float(node, "activation_min", -__builtin_inff()),
        .max = enso_node_float(node, "activation_max", __builtin_inff()),
    };
    float alpha = a.kind == ENSO_ACTIVATION_LEAKY_RELU     ? 0.01f
                  : a.kind == ENSO_ACTIVATION_HARD_SIGMOID ? 0.2f
                                                           : 1.0f;

    a.alpha = enso_node_float(node, "activation_alpha", alpha);
    a.beta = enso_node_float(node, "activation_beta", 0.5f);
    return a;
}
