/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading constants in slices: from memory, from a file, from stacked pieces of files; stored
 * floats of another type are converted on the way, through small buffers: to F32, and from there to
 * the half type as which a graph of lower precision sees them.
 */
#include <string.h>

#include "engine/formats/weights_file.h"
#include "engine/graph/graph_internal.h"

#define SLICE_BYTES 16384

int64_t enso_constant_count(const struct enso_constant *c)
{
    int64_t n = 1;

    for (size_t i = 0; i < c->rank; i++)
        n *= c->dims[i];
    return n;
}

/* Where elements come from: memory or file. */
struct source {
    const struct enso_weights_file *file; /* NULL: data */
    uint64_t offset;
    const char *data;
    enum enso_dtype stored;
};

static int read_bytes(const struct source *s, uint64_t at, void *dst, size_t size,
                      struct enso_error *err)
{
    uint64_t offset;

    if (s->file == NULL) {
        memcpy(dst, s->data + at, size);
        return ENSO_OK;
    }
    if (__builtin_add_overflow(s->offset, at, &offset))
        return enso_error_set(err, ENSO_CORRUPT, "%s: a weight's place lies outside the file",
                              enso_weights_file_path(s->file));
    return enso_weights_file_read(s->file, offset, dst, size, err);
}

static void f64_to_f32(const double *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
}

static int read_converted(const struct source *s, int64_t first, int64_t n, float *dst,
                          struct enso_error *err)
{
    size_t size = enso_dtype_row_bytes(s->stored, 1);
    int64_t slice = (int64_t)(SLICE_BYTES / size);
    union {
        uint16_t halves[SLICE_BYTES / 2];
        double doubles[SLICE_BYTES / 8];
    } buffer;

    while (n > 0) {
        int64_t m = ENSO_MIN(n, slice);
        int st = read_bytes(s, (uint64_t)first * size, &buffer, (size_t)m * size, err);

        if (st != ENSO_OK)
            return st;
        if (s->stored == ENSO_DTYPE_F16)
            enso_f16_to_f32(buffer.halves, dst, (size_t)m);
        else if (s->stored == ENSO_DTYPE_BF16)
            enso_bf16_to_f32(buffer.halves, dst, (size_t)m);
        else
            f64_to_f32(buffer.doubles, dst, (size_t)m);
        first += m;
        dst += m;
        n -= m;
    }
    return ENSO_OK;
}

/* A half as which the graph sees numbers of another float type: rounded from F32, which is what the
 * graph saw before. */
static int read_rounded(const struct source *s, enum enso_dtype dtype, int64_t first, int64_t n,
                        uint16_t *dst, struct enso_error *err)
{
    float buffer[SLICE_BYTES / sizeof(float)];

    while (n > 0) {
        int64_t m = ENSO_MIN(n, (int64_t)ENSO_ARRAY_SIZE(buffer));
        int st = s->stored == ENSO_DTYPE_F32 ? read_bytes(s, (uint64_t)first * sizeof *buffer,
                                                          buffer, (size_t)m * sizeof *buffer, err)
                                             : read_converted(s, first, m, buffer, err);

        if (st != ENSO_OK)
            return st;
        if (dtype == ENSO_DTYPE_F16)
            enso_f32_to_f16(buffer, dst, (size_t)m);
        else
            enso_f32_to_bf16(buffer, dst, (size_t)m);
        first += m;
        dst += m;
        n -= m;
    }
    return ENSO_OK;
}

static int read_source(const struct source *s, enum enso_dtype dtype, int64_t first, int64_t n,
                       void *dst, struct enso_error *err)
{
    if (n == 0)
        return ENSO_OK;
    if (s->stored == dtype)
        return read_bytes(s, (uint64_t)first * enso_dtype_row_bytes(dtype, 1), dst,
                          enso_dtype_row_bytes(dtype, (size_t)n), err);
    if (dtype == ENSO_DTYPE_F32 && enso_dtype_is_float(s->stored))
        return read_converted(s, first, n, dst, err);
    if (enso_dtype_is_half(dtype) && enso_dtype_is_float(s->stored))
        return read_rounded(s, dtype, first, n, dst, err);
    return enso_error_set(err, ENSO_UNSUPPORTED, "weights stored as %s cannot be read as %s",
                          enso_dtype_name(s->stored), enso_dtype_name(dtype));
}

/* Stacked pieces: the range is cut where one ends and the next begins. */
static int read_parts(const struct enso_constant *c, int64_t first, int64_t n, char *dst,
                      struct enso_error *err)
{
    int64_t each = enso_constant_count(c) / c->n_parts;

    while (n > 0) {
        int64_t i = first / each, within = first % each, m = ENSO_MIN(n, each - within);
        const struct enso_constant_part *p = &c->parts[i];
        struct source s = {p->file, p->offset, NULL, p->stored};
        int st = read_source(&s, c->dtype, within, m, dst, err);

        if (st != ENSO_OK)
            return st;
        first += m;
        n -= m;
        dst += enso_dtype_row_bytes(c->dtype, (size_t)m);
    }
    return ENSO_OK;
}

int enso_constant_read(const struct enso_constant *c, int64_t first, int64_t n, void *dst,
                       struct enso_error *err)
{
    int64_t count = enso_constant_count(c);
    struct source s = {c->file, c->offset, c->data, c->stored};

    if (first < 0 || n < 0 || first > count || n > count - first)
        return enso_error_set(err, ENSO_INTERNAL, "a constant of %lld elements was read at %lld",
                              (long long)count, (long long)first);
    if (n == 0)
        return ENSO_OK;
    if (c->n_parts > 0)
        return read_parts(c, first, n, dst, err);
    if (c->file == NULL && c->data == NULL)
        return enso_error_set(err, ENSO_INTERNAL, "a constant was read after its release");
    return read_source(&s, c->dtype, first, n, dst, err);
}
