/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX tensors to constants: element types, dims, and the six places where content may be (raw
 * bytes, four typed arrays, a file beside the model). All of it is hostile: the size that type and
 * dims need must be exactly what is there.
 */
#include "ensod_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "engine/formats/onnx_internal.h"
#include "engine/formats/weights_file.h"

/* ONNX's TensorProto.DataType by number; supported ones have a dtype. */
static const struct {
    const char *name;
    bool supported;
    enum enso_dtype stored, seen;
} types[] = {
    [0] = {"UNDEFINED", false, 0, 0},
    [1] = {"FLOAT", true, ENSO_DTYPE_F32, ENSO_DTYPE_F32},
    [2] = {"UINT8", true, ENSO_DTYPE_U8, ENSO_DTYPE_U8},
    [3] = {"INT8", true, ENSO_DTYPE_I8, ENSO_DTYPE_I8},
    [4] = {"UINT16", true, ENSO_DTYPE_U16, ENSO_DTYPE_U16},
    [5] = {"INT16", true, ENSO_DTYPE_I16, ENSO_DTYPE_I16},
    [6] = {"INT32", true, ENSO_DTYPE_I32, ENSO_DTYPE_I32},
    [7] = {"INT64", true, ENSO_DTYPE_I64, ENSO_DTYPE_I64},
    [8] = {"STRING", false, 0, 0},
    [9] = {"BOOL", true, ENSO_DTYPE_BOOL, ENSO_DTYPE_BOOL},
    [10] = {"FLOAT16", true, ENSO_DTYPE_F16, ENSO_DTYPE_F32},
    [11] = {"DOUBLE", true, ENSO_DTYPE_F64, ENSO_DTYPE_F32},
    [12] = {"UINT32", true, ENSO_DTYPE_U32, ENSO_DTYPE_U32},
    [13] = {"UINT64", true, ENSO_DTYPE_U64, ENSO_DTYPE_U64},
    [14] = {"COMPLEX64", false, 0, 0},
    [15] = {"COMPLEX128", false, 0, 0},
    [16] = {"BFLOAT16", true, ENSO_DTYPE_BF16, ENSO_DTYPE_F32},
    [17] = {"FLOAT8E4M3FN", false, 0, 0},
    [18] = {"FLOAT8E4M3FNUZ", false, 0, 0},
    [19] = {"FLOAT8E5M2", false, 0, 0},
    [20] = {"FLOAT8E5M2FNUZ", false, 0, 0},
    [21] = {"UINT4", false, 0, 0},
    [22] = {"INT4", false, 0, 0},
    [23] = {"FLOAT4E2M1", false, 0, 0},
};

bool enso__onnx_dtype(int32_t onnx, enum enso_dtype *ret_stored, enum enso_dtype *ret_seen)
{
    if (onnx < 0 || (size_t)onnx >= ENSO_ARRAY_SIZE(types) || !types[onnx].supported)
        return false;
    *ret_stored = types[onnx].stored;
    *ret_seen = types[onnx].seen;
    return true;
}

const char *enso__onnx_dtype_name(int32_t onnx)
{
    if (onnx < 0 || (size_t)onnx >= ENSO_ARRAY_SIZE(types))
        return "unknown";
    return types[onnx].name;
}

static enum enso_status fail(struct enso__onnx *o, enum enso_status st, const char *what,
                             const char *sentence)
{
    return enso_error_set(o->err, st, "%s: %s", what, sentence);
}

/* --- external data ------------------------------------------------------------------------- */

static const char *entry(const Enso__Onnx__Tensor *t, const char *key)
{
    for (size_t i = 0; i < t->n_external_data; i++)
        if (t->external_data[i]->key != NULL && strcmp(t->external_data[i]->key, key) == 0)
            return t->external_data[i]->value;
    return NULL;
}

/* Inside the model's folder: relative, and no step upwards. */
static bool location_is_safe(const char *location)
{
    if (location == NULL || location[0] == '\0' || location[0] == '/')
        return false;
    for (const char *p = location; p != NULL; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return false;
    }
    return true;
}

/* A number of bytes in decimal; absent gives `otherwise`. */
static bool parse_bytes(const char *text, uint64_t otherwise, uint64_t *ret)
{
    uint64_t n = 0;

    if (text == NULL) {
        *ret = otherwise;
        return true;
    }
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
            return false;
    *ret = n;
    return true;
}

/* The file of that location, opened once per load. */
static enum enso_status open_external(struct enso__onnx *o, const char *location,
                                      struct enso_weights_file **ret_file)
{
    const char *slash = strrchr(o->path, '/');
    struct enso__onnx_external *grown;
    enum enso_status st;

    for (size_t i = 0; i < o->n_externals; i++)
        if (strcmp(o->externals[i].location, location) == 0) {
            *ret_file = o->externals[i].file;
            return ENSO_OK;
        }
    grown = enso_realloc_array(o->externals, o->n_externals + 1, sizeof *grown);
    if (grown == NULL)
        return enso_error_no_memory(o->err, "external data");
    o->externals = grown;

    ENSO_AUTO_FREE char *folder =
        enso_strndup(o->path, slash == NULL ? 0 : (size_t)(slash - o->path) + 1);
    ENSO_AUTO_FREE char *path = folder == NULL ? NULL : enso_file_join(folder, location);

    if (path == NULL)
        return enso_error_no_memory(o->err, "external data");
    st = enso_weights_file_open(path, ret_file, o->err);
    if (st == ENSO_OK)
        o->externals[o->n_externals++] = (struct enso__onnx_external){location, *ret_file};
    return st;
}

static enum enso_status place_external(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                       const char *what, size_t bytes, struct enso_constant *c)
{
    const char *location = entry(t, "location");
    uint64_t offset, length, size_bytes;
    enum enso_status st;

    if (!location_is_safe(location))
        return fail(o, ENSO_CORRUPT, what,
                    "the location of its external data is not a relative path inside the model's "
                    "folder");
    if (!parse_bytes(entry(t, "offset"), 0, &offset) ||
        !parse_bytes(entry(t, "length"), bytes, &length))
        return fail(o, ENSO_CORRUPT, what,
                    "offset and length of its external data must be decimal numbers");
    if (length != bytes)
        return enso_error_set(o->err, ENSO_CORRUPT,
                              "%s: type and dims need %zu bytes, but its external data claims "
                              "%" PRIu64,
                              what, bytes, length);
    st = open_external(o, location, &c->file);
    if (st != ENSO_OK) {
        enso_error_prefix(o->err, "%s: external data: ", what);
        return st;
    }
    size_bytes = enso_weights_file_size(c->file);
    if (offset > size_bytes || bytes > size_bytes - offset)
        return enso_error_set(o->err, ENSO_CORRUPT,
                              "%s: its external data is bytes %" PRIu64 " to %" PRIu64
                              " + %zu of '%.100s', which has only %" PRIu64,
                              what, offset, offset, bytes, location, size_bytes);
    c->offset = offset;
    return ENSO_OK;
}

/* --- typed arrays -------------------------------------------------------------------------- */

/* The value as an element of the stored type, little-endian as all machines ensod runs on; false
 * when it does not fit. */
static bool put_integer(enum enso_dtype stored, int64_t v, char *dst)
{
    static const struct {
        int64_t min, max;
    } ranges[ENSO_N_DTYPES] = {
        [ENSO_DTYPE_F16] = {0, UINT16_MAX},
        [ENSO_DTYPE_BF16] = {0, UINT16_MAX},
        [ENSO_DTYPE_I8] = {INT8_MIN, INT8_MAX},
        [ENSO_DTYPE_U8] = {0, UINT8_MAX},
        [ENSO_DTYPE_I16] = {INT16_MIN, INT16_MAX},
        [ENSO_DTYPE_U16] = {0, UINT16_MAX},
        [ENSO_DTYPE_I32] = {INT32_MIN, INT32_MAX},
        [ENSO_DTYPE_U32] = {0, UINT32_MAX},
        [ENSO_DTYPE_BOOL] = {0, 1},
    };
    size_t n = enso_dtype_row_bytes(stored, 1);

    if (n < 8 && (v < ranges[stored].min || v > ranges[stored].max))
        return false;
    memcpy(dst, &v, n);
    return true;
}

/* The i-th number of the array that the type is kept in. */
static int64_t integer_at(const Enso__Onnx__Tensor *t, enum enso_dtype stored, size_t i)
{
    switch (stored) {
    case ENSO_DTYPE_I64:
        return t->int64_data[i];
    case ENSO_DTYPE_U32:
    case ENSO_DTYPE_U64:
        return (int64_t)t->uint64_data[i];
    default:
        return t->int32_data[i];
    }
}

static size_t array_length(const Enso__Onnx__Tensor *t, enum enso_dtype stored)
{
    switch (stored) {
    case ENSO_DTYPE_F32:
        return t->n_float_data;
    case ENSO_DTYPE_F64:
        return t->n_double_data;
    case ENSO_DTYPE_I64:
        return t->n_int64_data;
    case ENSO_DTYPE_U32:
    case ENSO_DTYPE_U64:
        return t->n_uint64_data;
    default:
        return t->n_int32_data;
    }
}

static enum enso_status copy_array(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                   const char *what, size_t count, size_t bytes,
                                   struct enso_constant *c)
{
    size_t n = array_length(t, c->stored), size = enso_dtype_row_bytes(c->stored, 1);
    char *data;

    if (n != count)
        return enso_error_set(o->err, ENSO_CORRUPT,
                              "%s: its dims make %zu elements, but it has data for %zu", what,
                              count, n);
    data = enso_alloc(bytes);
    if (data == NULL)
        return enso_error_no_memory(o->err, what);
    c->data = data;
    if (c->stored == ENSO_DTYPE_F32 && count > 0) {
        memcpy(data, t->float_data, bytes);
    } else if (c->stored == ENSO_DTYPE_F64 && count > 0) {
        memcpy(data, t->double_data, bytes);
    } else {
        for (size_t i = 0; i < count; i++)
            if (!put_integer(c->stored, integer_at(t, c->stored, i), data + i * size)) {
                enso_free(c->data);
                c->data = NULL;
                return fail(o, ENSO_CORRUPT, what, "a number is outside the range of its type");
            }
    }
    return ENSO_OK;
}

/* --- content in the file ------------------------------------------------------------------- */

static enum enso_status place_slice(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                    const char *what, size_t bytes, struct enso_constant *c)
{
    bool fits = t->slice_field == 9 || (t->slice_field == 4 && c->stored == ENSO_DTYPE_F32) ||
                (t->slice_field == 10 && c->stored == ENSO_DTYPE_F64);

    if (!fits || t->n_float_data + t->n_double_data > 0)
        return fail(o, ENSO_CORRUPT, what, "its data is in a field that does not suit its type");
    if (t->slice_bytes != bytes)
        return enso_error_set(o->err, ENSO_CORRUPT,
                              "%s: type and dims need %zu bytes, but it has %" PRIu64, what, bytes,
                              t->slice_bytes);
    c->file = o->file;
    c->offset = t->slice_offset;
    return ENSO_OK;
}

/* Booleans are read now: everything later relies on bytes 0 and 1. */
static enum enso_status read_booleans(struct enso__onnx *o, const char *what, size_t bytes,
                                      struct enso_constant *c)
{
    uint8_t *data = enso_alloc(bytes);
    enum enso_status st;

    if (data == NULL)
        return enso_error_no_memory(o->err, what);
    st = enso_weights_file_read(c->file, c->offset, data, bytes, o->err);
    for (size_t i = 0; i < bytes && st == ENSO_OK; i++)
        if (data[i] > 1)
            st = fail(o, ENSO_CORRUPT, what, "a boolean is neither 0 nor 1");
    if (st != ENSO_OK) {
        enso_free(data);
        return st;
    }
    c->file = NULL;
    c->offset = 0;
    c->data = data;
    return ENSO_OK;
}

static enum enso_status read_type(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                  const char *what, struct enso_constant *c, size_t *ret_count,
                                  size_t *ret_bytes)
{
    int64_t count;

    if (!enso__onnx_dtype(t->data_type, &c->stored, &c->dtype))
        return enso_error_set(o->err, ENSO_UNSUPPORTED, "%s: type %s (%d) is not supported", what,
                              enso__onnx_dtype_name(t->data_type), (int)t->data_type);
    if (t->n_dims > ENSO_MAX_RANK)
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "%s: %zu dimensions, but at most %d are supported", what, t->n_dims,
                              ENSO_MAX_RANK);
    c->rank = (uint8_t)t->n_dims;
    if (t->n_dims > 0)
        memcpy(c->dims, t->dims, t->n_dims * sizeof *t->dims);
    if (!enso_dims_count(c->dims, c->rank, &count) || (uint64_t)count > SIZE_MAX)
        return fail(o, ENSO_CORRUPT, what, "a dimension is negative or their product is too large");
    *ret_count = (size_t)count;
    *ret_bytes = enso_dtype_row_bytes(c->stored, *ret_count);
    if (*ret_bytes == SIZE_MAX)
        return fail(o, ENSO_CORRUPT, what, "the product of its dims is too large");
    return ENSO_OK;
}

enum enso_status enso__onnx_constant(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                     const char *what, struct enso_constant *ret_constant)
{
    struct enso_constant c = {0};
    size_t count = 0, bytes = 0;
    enum enso_status st = read_type(o, t, what, &c, &count, &bytes);

    if (st != ENSO_OK)
        return st;
    if (t->data_location == 1)
        st = place_external(o, t, what, bytes, &c);
    else if (t->has_slice_field && !(count == 0 && t->slice_bytes == 0))
        st = place_slice(o, t, what, bytes, &c);
    else
        st = copy_array(o, t, what, count, bytes, &c);
    if (st == ENSO_OK && c.stored == ENSO_DTYPE_BOOL && c.file != NULL)
        st = read_booleans(o, what, bytes, &c);
    if (st == ENSO_OK)
        *ret_constant = c;
    return st;
}
