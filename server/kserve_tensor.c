/* SPDX-License-Identifier: Apache-2.0
 *
 * KServe V2: tensor data → our own tensors and strings. JSON data may be flat or nested like the
 * shape; binary data is little-endian and row-major, strings with their length in 32 bits before
 * them. Float types are converted to the one the model takes, others must be it. See kserve.h.
 */
#include "server/kserve.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "binary tensors are copied as they are: this processor would need them turned round"
#endif

#define CHUNK 256 /* elements converted at once */

static bool is_float(int dtype)
{
    return dtype == ENSO_DTYPE_F32 || dtype == ENSO_DTYPE_F16 || dtype == ENSO_DTYPE_BF16 ||
           dtype == ENSO_DTYPE_F64;
}

/* --- walking JSON data -------------------------------------------------------------------------
 */

/* Stores element `index`, or says why it cannot. */
typedef int (*leaf_fn)(void *context, const json_t *value, size_t index, struct enso_error *err);

struct walk {
    const struct enso_v2_tensor *t;
    leaf_fn leaf;
    void *context;
    size_t index; /* of the next element */
};

static int wrong_count(const struct enso_v2_tensor *t, size_t found, size_t expected,
                       const char *what, struct enso_error *err)
{
    enso_error_param(err, "%s.data", t->path);
    enso_error_code(err, "wrong_shape");
    return enso_error_set(err, ENSO_INVALID,
                          "the data of input '%.60s' has %zu %s where its shape says %zu; make "
                          "them agree",
                          t->name, found, what, expected);
}

static int walk_flat(struct walk *w, const json_t *list, struct enso_error *err)
{
    size_t n = json_array_size(list);
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = w->leaf(w->context, json_array_get(list, i), w->index++, err);
    return st;
}

/* As deep as the shape has dimensions, of which there are at most ENSO_MAX_RANK. */
static int walk_nested(struct walk *w, const json_t *value, uint8_t level, struct enso_error *err)
{
    const struct enso_v2_tensor *t = w->t;
    size_t n = json_array_size(value);
    int st = ENSO_OK;

    if (!json_is_array(value)) {
        enso_error_param(err, "%s.data", t->path);
        return enso_error_set(err, ENSO_INVALID,
                              "the data of input '%.60s' must be one flat array, or nested like "
                              "its shape, but at depth %u is %s",
                              t->name, level, enso_json_type_name(value));
    }
    if (n != (size_t)t->dims[level])
        return wrong_count(t, n, (size_t)t->dims[level], "elements in an inner array", err);
    if (level + 1 == t->rank)
        return walk_flat(w, value, err);
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = walk_nested(w, json_array_get(value, i), (uint8_t)(level + 1), err);
    return st;
}

static int walk(const struct enso_v2_tensor *t, leaf_fn leaf, void *context, struct enso_error *err)
{
    struct walk w = {t, leaf, context, 0};
    size_t n = json_array_size(t->data);

    if (t->rank > 1 && json_is_array(json_array_get(t->data, 0)))
        return walk_nested(&w, t->data, 0, err);
    return n == t->count ? walk_flat(&w, t->data, err)
                         : wrong_count(t, n, t->count, "elements", err);
}

static int count_leaf(void *context, const json_t *value, size_t index, struct enso_error *err)
{
    (void)context;
    (void)value;
    (void)index;
    (void)err;
    return ENSO_OK;
}

/* --- numbers in JSON ---------------------------------------------------------------------------
 */

struct store {
    const struct enso_v2_tensor *t;
    enum enso_dtype dtype;
    void *data;
};

static int bad_element(const struct enso_v2_tensor *t, size_t index, const char *expected,
                       const char *found, struct enso_error *err)
{
    enso_error_param(err, "%s.data", t->path);
    enso_error_code(err, "wrong_type");
    return enso_error_set(err, ENSO_INVALID, "element %zu of input '%.60s': expected %s, got %s",
                          index, t->name, expected, found);
}

/* From double; false when it is finite but the type has no room for it. */
static bool store_float(enum enso_dtype dtype, void *data, size_t i, double x)
{
    float f = (float)x;

    switch (dtype) {
    case ENSO_DTYPE_F64:
        ((double *)data)[i] = x;
        return true;
    case ENSO_DTYPE_F16:
        enso_f32_to_f16(&f, &((uint16_t *)data)[i], 1);
        return !isfinite(x) || (((uint16_t *)data)[i] & 0x7FFF) != 0x7C00;
    case ENSO_DTYPE_BF16:
        enso_f32_to_bf16(&f, &((uint16_t *)data)[i], 1);
        return !isfinite(x) || (((uint16_t *)data)[i] & 0x7FFF) != 0x7F80;
    default:
        ((float *)data)[i] = f;
        return !isfinite(x) || isfinite(f);
    }
}

/* Whole numbers of each integer type. */
static bool store_integer(enum enso_dtype dtype, void *data, size_t i, int64_t x)
{
    switch (dtype) {
#define STORE(name, type, low, high)                                                               \
    case ENSO_DTYPE_##name:                                                                        \
        if (x < (low) || x > (high))                                                               \
            return false;                                                                          \
        ((type *)data)[i] = (type)x;                                                               \
        return true;
        STORE(I8, int8_t, INT8_MIN, INT8_MAX)
        STORE(U8, uint8_t, 0, UINT8_MAX)
        STORE(I16, int16_t, INT16_MIN, INT16_MAX)
        STORE(U16, uint16_t, 0, UINT16_MAX)
        STORE(I32, int32_t, INT32_MIN, INT32_MAX)
        STORE(U32, uint32_t, 0, UINT32_MAX)
        STORE(I64, int64_t, INT64_MIN, INT64_MAX)
        STORE(U64, uint64_t, 0, INT64_MAX)
        STORE(BOOL, uint8_t, 0, 1)
#undef STORE
    default:
        return false;
    }
}

static int store_leaf(void *context, const json_t *value, size_t index, struct enso_error *err)
{
    struct store *s = context;
    bool fits = true;

    if (is_float((int)s->dtype)) {
        if (!json_is_number(value))
            return bad_element(s->t, index, "a number", enso_json_type_name(value), err);
        fits = store_float(s->dtype, s->data, index, json_number_value(value));
    } else if (s->dtype == ENSO_DTYPE_BOOL && json_is_boolean(value)) {
        ((uint8_t *)s->data)[index] = json_is_true(value);
    } else if (json_is_integer(value)) {
        fits = store_integer(s->dtype, s->data, index, json_integer_value(value));
    } else {
        return bad_element(s->t, index,
                           s->dtype == ENSO_DTYPE_BOOL ? "true or false" : "an integer",
                           enso_json_type_name(value), err);
    }
    return fits ? ENSO_OK
                : bad_element(s->t, index, enso_dtype_name(s->dtype), "a number out of its range",
                              err);
}

/* Room for the elements, charged. */
static int allocate(struct enso_request *req, size_t count, struct enso_tensor *t,
                    struct enso_error *err)
{
    size_t bytes = enso_dtype_row_bytes(t->dtype, count);
    int st = enso_request_charge(req, bytes, err);

    if (st != ENSO_OK)
        return st;
    t->data = enso_arena_alloc(&req->arena, ENSO_MAX(bytes, (size_t)1));
    return t->data != NULL ? ENSO_OK : enso_error_no_memory(err, "an input tensor");
}

static int read_json_values(struct enso_request *req, const struct enso_v2_tensor *t,
                            struct enso_tensor *ret, struct enso_error *err)
{
    struct store s = {t, ret->dtype, NULL};
    int st = walk(t, count_leaf, NULL, err); /* before there is memory for so many */

    if (st == ENSO_OK)
        st = allocate(req, t->count, ret, err);
    if (st != ENSO_OK)
        return st;
    s.data = ret->data;
    return walk(t, store_leaf, &s, err);
}

/* --- numbers in binary --------------------------------------------------------------------------
 */

/* n elements of a float type at bytes, which may be unaligned. */
static bool load_floats(int dtype, const uint8_t *bytes, float *out, size_t n)
{
    uint16_t halves[CHUNK];
    double doubles[CHUNK];
    bool fits = true;

    switch (dtype) {
    case ENSO_DTYPE_F16:
        memcpy(halves, bytes, n * sizeof *halves);
        enso_f16_to_f32(halves, out, n);
        break;
    case ENSO_DTYPE_BF16:
        memcpy(halves, bytes, n * sizeof *halves);
        enso_bf16_to_f32(halves, out, n);
        break;
    case ENSO_DTYPE_F64:
        memcpy(doubles, bytes, n * sizeof *doubles);
        for (size_t i = 0; i < n; i++) {
            out[i] = (float)doubles[i];
            fits = fits && (isfinite(out[i]) || !isfinite(doubles[i]));
        }
        break;
    default:
        memcpy(out, bytes, n * sizeof *out);
        break;
    }
    return fits;
}

/* One float type to another, by way of float32. */
static int convert(struct enso_request *req, const struct enso_v2_tensor *t,
                   struct enso_tensor *ret, struct enso_error *err)
{
    size_t width = enso_dtype_row_bytes((enum enso_dtype)t->dtype, 1);
    float chunk[CHUNK];
    int st = allocate(req, t->count, ret, err);

    if (st != ENSO_OK)
        return st;
    for (size_t at = 0; at < t->count; at += CHUNK) {
        size_t n = ENSO_MIN(t->count - at, (size_t)CHUNK);
        bool fits = load_floats(t->dtype, t->bytes + at * width, chunk, n);

        for (size_t i = 0; i < n; i++)
            fits = store_float(ret->dtype, ret->data, at + i, (double)chunk[i]) && fits;
        if (!fits)
            return bad_element(t, at, enso_dtype_name(ret->dtype), "numbers out of its range", err);
    }
    return ENSO_OK;
}

static int read_binary_values(struct enso_request *req, const struct enso_v2_tensor *t,
                              struct enso_tensor *ret, struct enso_error *err)
{
    size_t bytes = enso_dtype_row_bytes((enum enso_dtype)t->dtype, t->count);

    if (bytes != t->size) {
        enso_error_param(err, "%s.parameters.binary_data_size", t->path);
        enso_error_code(err, "wrong_size");
        return enso_error_set(err, ENSO_INVALID,
                              "input '%.60s' has %zu bytes of binary data, but %zu elements of %s "
                              "take %zu",
                              t->name, t->size, t->count, enso_v2_dtype_name(t->dtype), bytes);
    }
    if ((int)ret->dtype != t->dtype)
        return convert(req, t, ret, err);
    for (size_t i = 0; t->dtype == ENSO_DTYPE_BOOL && i < t->count; i++)
        if (t->bytes[i] > 1)
            return bad_element(t, i, "the byte 0 or 1 of a BOOL", "another", err);
    ret->data = (void *)(uintptr_t)t->bytes; /* only read, see kserve.h */
    return ENSO_OK;
}

int enso_v2_read_values(struct enso_request *req, const struct enso_v2_tensor *t,
                        enum enso_dtype wanted, struct enso_tensor *ret, struct enso_error *err)
{
    if (t->dtype != (int)wanted && !(is_float(t->dtype) && is_float((int)wanted))) {
        enso_error_param(err, "%s.datatype", t->path);
        enso_error_code(err, "wrong_datatype");
        return enso_error_set(err, ENSO_INVALID, "input '%.60s' takes datatype %s, not %s", t->name,
                              enso_dtype_name(wanted), enso_v2_dtype_name(t->dtype));
    }
    *ret = (struct enso_tensor){.dtype = wanted, .rank = t->rank};
    memcpy(ret->dims, t->dims, sizeof ret->dims);
    return t->data != NULL ? read_json_values(req, t, ret, err)
                           : read_binary_values(req, t, ret, err);
}

/* --- strings ------------------------------------------------------------------------------------
 */

struct strings {
    const struct enso_v2_tensor *t;
    struct enso_v2_string *list;
};

static int string_leaf(void *context, const json_t *value, size_t index, struct enso_error *err)
{
    struct strings *s = context;

    if (!json_is_string(value))
        return bad_element(s->t, index, "a string", enso_json_type_name(value), err);
    s->list[index] = (struct enso_v2_string){json_string_value(value), json_string_length(value)};
    return ENSO_OK;
}

static int wrong_bytes(const struct enso_v2_tensor *t, const char *what, size_t index,
                       struct enso_error *err)
{
    enso_error_param(err, "%s.parameters.binary_data_size", t->path);
    enso_error_code(err, "wrong_size");
    return enso_error_set(err, ENSO_INVALID,
                          "the binary data of input '%.60s' %s element %zu; each element is its "
                          "length as 4 bytes, little-endian, and so many bytes",
                          t->name, what, index);
}

static int read_binary_strings(const struct enso_v2_tensor *t, struct enso_v2_string *list,
                               struct enso_error *err)
{
    const uint8_t *p = t->bytes;
    size_t left = t->size;

    for (size_t i = 0; i < t->count; i++) {
        uint32_t size;

        if (left < sizeof size)
            return wrong_bytes(t, "ends before", i, err);
        memcpy(&size, p, sizeof size);
        p += sizeof size;
        left -= sizeof size;
        if (size > left)
            return wrong_bytes(t, "ends inside", i, err);
        list[i] = (struct enso_v2_string){(const char *)p, size};
        p += size;
        left -= size;
    }
    return left == 0 ? ENSO_OK
                     : wrong_bytes(t, "goes on behind the last,", t->count - (t->count != 0), err);
}

static int check_utf8(const struct enso_v2_tensor *t, const struct enso_v2_string *list,
                      struct enso_error *err)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t at;

        if (enso_utf8_valid(list[i].data, list[i].size, &at))
            continue;
        enso_error_param(err, "%s", t->path);
        enso_error_code(err, "invalid_utf8");
        return enso_error_set(err, ENSO_INVALID,
                              "element %zu of input '%.60s' is not valid UTF-8 at byte %zu", i,
                              t->name, at);
    }
    return ENSO_OK;
}

int enso_v2_read_strings(struct enso_request *req, const struct enso_v2_tensor *t, bool text,
                         struct enso_v2_string **ret, struct enso_error *err)
{
    struct strings s = {t, NULL};
    int st = ENSO_OK;

    if (t->dtype != ENSO_V2_BYTES) {
        enso_error_param(err, "%s.datatype", t->path);
        enso_error_code(err, "wrong_datatype");
        return enso_error_set(err, ENSO_INVALID, "input '%.60s' takes datatype BYTES, not %s",
                              t->name, enso_v2_dtype_name(t->dtype));
    }
    if (t->data != NULL)
        st = walk(t, count_leaf, NULL, err); /* before there is memory for so many */
    else if (t->count > t->size / sizeof(uint32_t))
        st = wrong_bytes(t, "ends before", t->size / sizeof(uint32_t), err);
    if (st != ENSO_OK)
        return st;
    s.list = enso_request_alloc(req, t->count + 1, sizeof *s.list);
    if (s.list == NULL)
        return enso_error_no_memory(err, "an input's strings");
    st = t->data != NULL ? walk(t, string_leaf, &s, err) : read_binary_strings(t, s.list, err);
    if (st == ENSO_OK && t->data == NULL && text)
        st = check_utf8(t, s.list, err);
    if (st == ENSO_OK)
        *ret = s.list;
    return st;
}
