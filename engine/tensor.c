/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types and conversions: see tensor.h.
 */
#include "engine/tensor.h"

#include <string.h>

#include "base/memory.h"

static const struct {
    uint8_t bytes;
    const char *v2_name, *safetensors_name;
} dtypes[ENSO_N_DTYPES] = {
#define ENSO_DTYPE_ROW(name, bytes, v2, st) {bytes, v2, st},
    ENSO_DTYPE_LIST(ENSO_DTYPE_ROW)
#undef ENSO_DTYPE_ROW
};

size_t enso_dtype_row_bytes(enum enso_dtype dtype, size_t n)
{
    size_t bytes;

    return enso_size_mul(n, dtypes[dtype].bytes, &bytes) ? bytes : SIZE_MAX;
}

const char *enso_dtype_name(enum enso_dtype dtype)
{
    return dtypes[dtype].v2_name;
}

bool enso_dtype_from_v2(const char *name, enum enso_dtype *ret_dtype)
{
    for (int i = 0; i < ENSO_N_DTYPES; i++)
        if (strcmp(dtypes[i].v2_name, name) == 0) {
            *ret_dtype = (enum enso_dtype)i;
            return true;
        }
    return false;
}

bool enso_dtype_from_safetensors(const char *name, enum enso_dtype *ret_dtype)
{
    for (int i = 0; i < ENSO_N_DTYPES; i++)
        if (strcmp(dtypes[i].safetensors_name, name) == 0) {
            *ret_dtype = (enum enso_dtype)i;
            return true;
        }
    return false;
}

bool enso_dims_count(const int64_t *dims, size_t rank, int64_t *ret_count)
{
    bool empty = false;
    int64_t n = 1;

    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        if (dims[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(n, dims[i], &n))
            return false;
    }
    *ret_count = empty ? 0 : n;
    return true;
}

size_t enso_tensor_bytes(const struct enso_tensor *t)
{
    return enso_dtype_row_bytes(t->dtype, (size_t)enso_tensor_count(t));
}

static float f32_from_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t f32_bits(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Without a branch, so that the compiler makes it vectors: the fraction and exponent moved into
 * place are the value times 2^-112, and a multiplication by 2^112 is exact, also for subnormals.
 * Infinity and NaN come out as 65536 and more; they get their exponent back, the payload stays. */
static inline float f16_value(uint16_t h)
{
    float magnitude = f32_from_bits((uint32_t)(h & 0x7FFF) << 13) * 0x1p112f;
    uint32_t special = magnitude >= 65536.0f ? 0x7F800000 : 0;

    return f32_from_bits(f32_bits(magnitude) | special | (uint32_t)(h & 0x8000) << 16);
}

void enso_f16_to_f32(const uint16_t *restrict x, float *restrict y, size_t n)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16) /* a count the compiler knows: vectors at -O2, too */
        for (size_t k = 0; k < 16; k++)
            y[i + k] = f16_value(x[i + k]);
    for (; i < n; i++)
        y[i] = f16_value(x[i]);
}

void enso_bf16_to_f32(const uint16_t *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f32_from_bits((uint32_t)x[i] << 16);
}

void enso_f32_to_bf16(const float *x, uint16_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]);

        if ((bits & 0x7FFFFFFF) > 0x7F800000)
            y[i] = (uint16_t)(bits >> 16 | 0x40); /* NaN stays NaN, quiet */
        else
            y[i] = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}

void enso_f32_to_f16(const float *x, uint16_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;

        if (magnitude > 0x7F800000) {
            y[i] = (uint16_t)(sign | 0x7E00);
        } else if (magnitude >= 0x477FF000) { /* 65520 and above round to infinity */
            y[i] = (uint16_t)(sign | 0x7C00);
        } else if (magnitude >= 0x38800000) { /* normal: rebias, round to nearest even */
            magnitude += 0xC8000FFF + (magnitude >> 13 & 1);
            y[i] = (uint16_t)(sign | magnitude >> 13);
        } else { /* subnormal or zero: adding 0.5 lets the FPU round to a multiple of 2^-24 */
            y[i] = (uint16_t)(sign | (f32_bits(f32_from_bits(magnitude) + 0.5f) - 0x3F000000));
        }
    }
}
