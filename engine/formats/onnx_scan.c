/* SPDX-License-Identifier: Apache-2.0
 *
 * The pre-scan of ONNX files: see onnx_scan.h. A table per message says which fields are copied and
 * how; the walk itself knows nothing of ONNX. The file is read through a window, so that skipping
 * gigabytes of raw_data costs one seek. A nested message is written with a length of five bytes
 * that is patched when its end is known, which protobuf allows.
 */
#include "ensod_build.h"

#include "engine/formats/onnx_scan.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "engine/formats/weights_file.h"

#define WINDOW_BYTES 65536

enum kind {
    NUMBER,      /* varint */
    NUMBERS,     /* repeated varint, packed or not */
    FLOAT,       /* fixed32 */
    FLOATS,      /* repeated fixed32, packed or not */
    FLOAT_DATA,  /* the same, packed ones left in the file */
    DOUBLE_DATA, /* repeated fixed64, packed ones left in the file */
    TEXT,        /* string */
    TEXTS,
    BYTES,
    BYTESES,
    RAW,     /* bytes, left in the file */
    MESSAGE, /* of type `message` */
    MESSAGES,
    PRESENT,  /* a message of which only the presence counts */
    PRESENTS, /* the same, repeated */
};

enum message {
    MODEL,
    OPERATOR_SET,
    FUNCTION,
    GRAPH,
    NODE,
    ATTRIBUTE,
    TENSOR,
    ENTRY,
    VALUE_INFO,
    TYPE,
    TENSOR_TYPE,
    SHAPE,
    DIMENSION,
};

struct field {
    uint8_t number, kind, message;
};

#define MAX_TABLE 16 /* fields a message's table may have: bits of `seen` and more */

/* The fields of each message, ending with number 0. */
static const struct field messages[][MAX_TABLE] = {
    [MODEL] = {{1, NUMBER, 0},
               {2, TEXT, 0},
               {7, MESSAGE, GRAPH},
               {8, MESSAGES, OPERATOR_SET},
               {25, MESSAGES, FUNCTION}},
    [OPERATOR_SET] = {{1, TEXT, 0}, {2, NUMBER, 0}},
    [FUNCTION] = {{1, TEXT, 0}, {10, TEXT, 0}},
    [GRAPH] = {{1, MESSAGES, NODE},
               {2, TEXT, 0},
               {5, MESSAGES, TENSOR},
               {11, MESSAGES, VALUE_INFO},
               {12, MESSAGES, VALUE_INFO},
               {15, PRESENTS, 0}},
    [NODE] = {{1, TEXTS, 0},
              {2, TEXTS, 0},
              {3, TEXT, 0},
              {4, TEXT, 0},
              {5, MESSAGES, ATTRIBUTE},
              {7, TEXT, 0}},
    [ATTRIBUTE] = {{1, TEXT, 0},
                   {2, FLOAT, 0},
                   {3, NUMBER, 0},
                   {4, BYTES, 0},
                   {5, MESSAGE, TENSOR},
                   {6, MESSAGE, GRAPH},
                   {7, FLOATS, 0},
                   {8, NUMBERS, 0},
                   {9, BYTESES, 0},
                   {20, NUMBER, 0},
                   {21, TEXT, 0}},
    [TENSOR] = {{1, NUMBERS, 0},
                {2, NUMBER, 0},
                {4, FLOAT_DATA, 0},
                {5, NUMBERS, 0},
                {6, BYTESES, 0},
                {7, NUMBERS, 0},
                {8, TEXT, 0},
                {9, RAW, 0},
                {10, DOUBLE_DATA, 0},
                {11, NUMBERS, 0},
                {13, MESSAGES, ENTRY},
                {14, NUMBER, 0}},
    [ENTRY] = {{1, TEXT, 0}, {2, TEXT, 0}},
    [VALUE_INFO] = {{1, TEXT, 0}, {2, MESSAGE, TYPE}},
    [TYPE] = {{1, MESSAGE, TENSOR_TYPE},
              {4, PRESENT, 0},
              {5, PRESENT, 0},
              {8, PRESENT, 0},
              {9, PRESENT, 0}},
    [TENSOR_TYPE] = {{1, NUMBER, 0}, {2, MESSAGE, SHAPE}},
    [SHAPE] = {{1, MESSAGES, DIMENSION}},
    [DIMENSION] = {{1, NUMBER, 0}, {2, TEXT, 0}},
};

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct scan {
    const struct enso_weights_file *file;
    uint64_t position; /* of the next byte */
    uint8_t *window;   /* bytes of the file from window_start on */
    uint64_t window_start;
    size_t window_bytes;
    struct enso_buffer *out;
    size_t n_fields, n_messages, n_numbers;
    struct enso_error *err;
};

static enum enso_status fail(struct scan *s, const char *what)
{
    return enso_error_set(s->err, ENSO_CORRUPT, "'%s': not a valid ONNX file: %s at byte %" PRIu64,
                          enso_weights_file_path(s->file), what, s->position);
}

static enum enso_status too_large(struct scan *s, const char *what, size_t limit)
{
    return enso_error_set(s->err, ENSO_TOO_LARGE,
                          "'%s': more than %zu %s outside of raw tensor data; save the weights as "
                          "raw_data",
                          enso_weights_file_path(s->file), limit, what);
}

/* --- reading ------------------------------------------------------------------------------- */

/* Makes the window hold the byte at position, which lies before the file's end. */
static enum enso_status fill_window(struct scan *s)
{
    uint64_t left = enso_weights_file_size(s->file) - s->position;
    size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    enum enso_status st = enso_weights_file_read(s->file, s->position, s->window, n, s->err);

    s->window_start = s->position;
    s->window_bytes = st == ENSO_OK ? n : 0;
    return st;
}

static inline enum enso_status next_byte(struct scan *s, uint64_t end, uint8_t *ret_byte)
{
    if (s->position >= end)
        return fail(s, "a message ends in the middle of a field");
    if (s->position < s->window_start || s->position - s->window_start >= s->window_bytes) {
        enum enso_status st = fill_window(s);

        if (st != ENSO_OK)
            return st;
    }
    *ret_byte = s->window[s->position++ - s->window_start];
    return ENSO_OK;
}

static enum enso_status read_varint(struct scan *s, uint64_t end, uint64_t *ret_value)
{
    uint64_t value = 0;
    uint8_t byte = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        enum enso_status st = next_byte(s, end, &byte);

        if (st != ENSO_OK)
            return st;
        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return ENSO_OK;
        }
    }
    return fail(s, "a number of more than 64 bits");
}

/* A length that fits before end. */
static enum enso_status read_length(struct scan *s, uint64_t end, uint64_t *ret_length)
{
    enum enso_status st = read_varint(s, end, ret_length);

    if (st == ENSO_OK && *ret_length > end - s->position)
        return fail(s, "a length that goes beyond its message (the file may be truncated)");
    return st;
}

static enum enso_status skip(struct scan *s, uint64_t end, uint64_t n)
{
    if (n > end - s->position)
        return fail(s, "a message ends in the middle of a field");
    s->position += n;
    return ENSO_OK;
}

/* --- writing ------------------------------------------------------------------------------- */

static enum enso_status write_bytes(struct scan *s, const void *bytes, size_t n)
{
    if (n > ENSO_ONNX_MAX_SKELETON - s->out->size)
        return too_large(s, "bytes", ENSO_ONNX_MAX_SKELETON);
    enso_buffer_append(s->out, bytes, n);
    return s->out->failed ? enso_error_no_memory(s->err, "an ONNX skeleton") : ENSO_OK;
}

static enum enso_status write_varint(struct scan *s, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    return write_bytes(s, bytes, n);
}

static enum enso_status write_tag(struct scan *s, unsigned number, enum wire wire)
{
    return write_varint(s, (uint64_t)number << 3 | wire);
}

/* Tag and a length to be patched; *ret_start is where the content begins. */
static enum enso_status open_nested(struct scan *s, unsigned number, size_t *ret_start)
{
    enum enso_status st = write_tag(s, number, WIRE_BYTES);

    if (st == ENSO_OK)
        st = write_bytes(s, (uint8_t[5]){0}, 5);
    *ret_start = s->out->size;
    return st;
}

static void close_nested(struct scan *s, size_t start)
{
    size_t n = s->out->size - start;
    uint8_t *length = (uint8_t *)s->out->data + start - 5;

    for (int i = 0; i < 5; i++, n >>= 7)
        length[i] = (uint8_t)((n & 0x7F) | (i < 4 ? 0x80 : 0));
}

/* --- fields -------------------------------------------------------------------------------- */

/* n bytes of the file as they are; *ret_start is where they stand in the skeleton. */
static enum enso_status copy_bytes(struct scan *s, uint64_t n, size_t *ret_start)
{
    enum enso_status st = ENSO_OK;

    *ret_start = s->out->size;
    if (n > ENSO_ONNX_MAX_SKELETON - s->out->size)
        return too_large(s, "bytes", ENSO_ONNX_MAX_SKELETON);
    while (n > 0 && st == ENSO_OK) {
        size_t offset, part;

        if (s->position < s->window_start || s->position - s->window_start >= s->window_bytes) {
            st = fill_window(s);
            if (st != ENSO_OK)
                return st;
        }
        offset = (size_t)(s->position - s->window_start);
        part = ENSO_MIN(s->window_bytes - offset, (size_t)n);
        st = write_bytes(s, s->window + offset, part);
        s->position += part;
        n -= part;
    }
    return st;
}

/* bytes or a string: tag, length, content */
static enum enso_status copy_string(struct scan *s, unsigned number, uint64_t end, bool is_text)
{
    uint64_t n;
    size_t start;
    enum enso_status st = read_length(s, end, &n);

    if (st == ENSO_OK)
        st = write_tag(s, number, WIRE_BYTES);
    if (st == ENSO_OK)
        st = write_varint(s, n);
    if (st == ENSO_OK)
        st = copy_bytes(s, n, &start);
    if (st != ENSO_OK || !is_text || n == 0)
        return st;
    if (memchr(s->out->data + start, '\0', (size_t)n) != NULL ||
        !enso_utf8_valid(s->out->data + start, (size_t)n, NULL))
        return fail(s, "text that is not UTF-8 without NUL ends");
    return ENSO_OK;
}

static enum enso_status copy_number(struct scan *s, unsigned number, uint64_t end)
{
    uint64_t value;
    enum enso_status st = read_varint(s, end, &value);

    if (st == ENSO_OK && ++s->n_numbers > ENSO_ONNX_MAX_NUMBERS)
        return too_large(s, "numbers", ENSO_ONNX_MAX_NUMBERS);
    if (st == ENSO_OK && number != 0)
        st = write_tag(s, number, WIRE_VARINT);
    return st == ENSO_OK ? write_varint(s, value) : st;
}

static enum enso_status copy_packed_numbers(struct scan *s, unsigned number, uint64_t end)
{
    size_t start;
    uint64_t n;
    enum enso_status st = read_length(s, end, &n);

    if (st != ENSO_OK)
        return st;
    end = s->position + n;
    st = open_nested(s, number, &start);
    while (st == ENSO_OK && s->position < end)
        st = copy_number(s, 0, end);
    if (st == ENSO_OK)
        close_nested(s, start);
    return st;
}

static enum enso_status copy_fixed(struct scan *s, unsigned number, uint64_t end, enum wire wire)
{
    size_t n = wire == WIRE_FIXED32 ? 4 : 8, start;
    enum enso_status st;

    if (n > end - s->position)
        return fail(s, "a message ends in the middle of a field");
    if (++s->n_numbers > ENSO_ONNX_MAX_NUMBERS)
        return too_large(s, "numbers", ENSO_ONNX_MAX_NUMBERS);
    st = write_tag(s, number, wire);
    return st == ENSO_OK ? copy_bytes(s, n, &start) : st;
}

static enum enso_status copy_packed_floats(struct scan *s, unsigned number, uint64_t end)
{
    uint64_t n;
    enum enso_status st = read_length(s, end, &n);
    size_t start;

    if (st != ENSO_OK)
        return st;
    if (n % 4 != 0)
        return fail(s, "packed floats that are no whole number of floats");
    if (n / 4 > ENSO_ONNX_MAX_NUMBERS - s->n_numbers)
        return too_large(s, "numbers", ENSO_ONNX_MAX_NUMBERS);
    s->n_numbers += (size_t)(n / 4);
    st = write_tag(s, number, WIRE_BYTES);
    if (st == ENSO_OK)
        st = write_varint(s, n);
    return st == ENSO_OK ? copy_bytes(s, n, &start) : st;
}

/* Tensor content stays in the file: only where it stands is written, in fields 1000 to 1002. */
static enum enso_status note_slice(struct scan *s, unsigned number, uint64_t end, bool *has_slice)
{
    uint64_t n, values[3];
    enum enso_status st = read_length(s, end, &n);

    if (st != ENSO_OK)
        return st;
    if (*has_slice)
        return fail(s, "a tensor with its content in two places");
    *has_slice = true;
    values[0] = s->position;
    values[1] = n;
    values[2] = number;
    s->position += n;
    for (unsigned i = 0; i < 3 && st == ENSO_OK; i++) {
        st = write_tag(s, 1000 + i, WIRE_VARINT);
        if (st == ENSO_OK)
            st = write_varint(s, values[i]);
    }
    return st;
}

static enum enso_status note_presence(struct scan *s, unsigned number, uint64_t end)
{
    uint64_t n;
    enum enso_status st = read_length(s, end, &n);

    if (st != ENSO_OK)
        return st;
    s->position += n;
    st = write_tag(s, number, WIRE_BYTES);
    return st == ENSO_OK ? write_varint(s, 0) : st;
}

static enum enso_status skip_field(struct scan *s, unsigned wire, uint64_t end)
{
    uint64_t n;
    enum enso_status st;

    switch (wire) {
    case WIRE_VARINT:
        return read_varint(s, end, &n);
    case WIRE_FIXED64:
        return skip(s, end, 8);
    case WIRE_FIXED32:
        return skip(s, end, 4);
    case WIRE_BYTES:
        st = read_length(s, end, &n);
        return st == ENSO_OK ? skip(s, end, n) : st;
    default:
        return fail(s, "a field of an unknown kind");
    }
}

/* Whether a field of this kind may come more than once. */
static bool is_repeated(enum kind kind)
{
    switch (kind) {
    case NUMBERS:
    case FLOATS:
    case FLOAT_DATA:
    case DOUBLE_DATA:
    case TEXTS:
    case BYTESES:
    case MESSAGES:
    case PRESENTS:
        return true;
    default:
        return false;
    }
}

static bool wire_fits(enum kind kind, unsigned wire)
{
    switch (kind) {
    case NUMBER:
        return wire == WIRE_VARINT;
    case NUMBERS:
        return wire == WIRE_VARINT || wire == WIRE_BYTES;
    case FLOAT:
        return wire == WIRE_FIXED32;
    case FLOATS:
    case FLOAT_DATA:
        return wire == WIRE_FIXED32 || wire == WIRE_BYTES;
    case DOUBLE_DATA:
        return wire == WIRE_FIXED64 || wire == WIRE_BYTES;
    default:
        return wire == WIRE_BYTES;
    }
}

static enum enso_status scan_message(struct scan *s, enum message type, uint64_t end,
                                     unsigned depth);

static enum enso_status copy_message(struct scan *s, const struct field *f, uint64_t end,
                                     unsigned depth)
{
    size_t start;
    uint64_t n;
    enum enso_status st = read_length(s, end, &n);

    if (st != ENSO_OK)
        return st;
    if (depth == ENSO_ONNX_MAX_DEPTH)
        return fail(s, "messages nested more than 16 deep");
    if (++s->n_messages > ENSO_ONNX_MAX_MESSAGES)
        return too_large(s, "messages", ENSO_ONNX_MAX_MESSAGES);
    st = open_nested(s, f->number, &start);
    if (st == ENSO_OK)
        st = scan_message(s, f->message, s->position + n, depth + 1);
    if (st == ENSO_OK)
        close_nested(s, start);
    return st;
}

static enum enso_status copy_field(struct scan *s, const struct field *f, unsigned wire,
                                   uint64_t end, unsigned depth, bool *has_slice)
{
    switch ((enum kind)f->kind) {
    case NUMBER:
        return copy_number(s, f->number, end);
    case NUMBERS:
        return wire == WIRE_VARINT ? copy_number(s, f->number, end)
                                   : copy_packed_numbers(s, f->number, end);
    case FLOAT:
        return copy_fixed(s, f->number, end, WIRE_FIXED32);
    case FLOATS:
        return wire == WIRE_FIXED32 ? copy_fixed(s, f->number, end, WIRE_FIXED32)
                                    : copy_packed_floats(s, f->number, end);
    case FLOAT_DATA:
    case DOUBLE_DATA:
        return wire == WIRE_BYTES ? note_slice(s, f->number, end, has_slice)
                                  : copy_fixed(s, f->number, end, (enum wire)wire);
    case TEXT:
    case TEXTS:
        return copy_string(s, f->number, end, true);
    case BYTES:
    case BYTESES:
        return copy_string(s, f->number, end, false);
    case RAW:
        return note_slice(s, f->number, end, has_slice);
    case MESSAGE:
    case MESSAGES:
        return copy_message(s, f, end, depth);
    case PRESENT:
    case PRESENTS:
        return note_presence(s, f->number, end);
    }
    return ENSO_OK;
}

static const struct field *find_field(enum message type, uint64_t number, size_t *ret_index)
{
    const struct field *fields = messages[type];

    for (size_t i = 0; i < MAX_TABLE && fields[i].number != 0; i++)
        if (fields[i].number == number) {
            *ret_index = i;
            return &fields[i];
        }
    return NULL;
}

/* Depth is that of this message: 1 for the root. Recursion is bounded by ENSO_ONNX_MAX_DEPTH. */
static enum enso_status scan_message(struct scan *s, enum message type, uint64_t end,
                                     unsigned depth)
{
    bool has_slice = false;
    uint32_t seen = 0;

    while (s->position < end) {
        const struct field *f;
        uint64_t tag;
        size_t index = 0;
        enum enso_status st = read_varint(s, end, &tag);

        if (st != ENSO_OK)
            return st;
        if (tag > UINT32_MAX || tag >> 3 == 0)
            return fail(s, "a field without a number");
        f = find_field(type, tag >> 3, &index);
        if (f == NULL) {
            st = skip_field(s, tag & 7, end);
        } else {
            if (!wire_fits(f->kind, tag & 7))
                return fail(s, "a field of the wrong kind");
            if (!is_repeated(f->kind) && (seen & UINT32_C(1) << index) != 0)
                return fail(s, "a field that comes twice");
            seen |= UINT32_C(1) << index;
            if (++s->n_fields > ENSO_ONNX_MAX_FIELDS)
                return too_large(s, "fields", ENSO_ONNX_MAX_FIELDS);
            st = copy_field(s, f, tag & 7, end, depth, &has_slice);
        }
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

/* What is often mistaken for a model. */
static enum enso_status check_beginning(struct scan *s)
{
    static const char pointer[] = "version https://git-lfs";
    uint64_t size_bytes = enso_weights_file_size(s->file);
    enum enso_status st;

    if (size_bytes == 0)
        return enso_error_set(s->err, ENSO_CORRUPT, "'%s' is empty; it should hold an ONNX model",
                              enso_weights_file_path(s->file));
    st = fill_window(s);
    if (st == ENSO_OK && s->window_bytes >= sizeof pointer - 1 &&
        memcmp(s->window, pointer, sizeof pointer - 1) == 0)
        return enso_error_set(
            s->err, ENSO_CORRUPT,
            "'%s' is a Git LFS pointer, not the model; fetch it with git lfs pull",
            enso_weights_file_path(s->file));
    return st;
}

enum enso_status enso_onnx_scan(const struct enso_weights_file *file, enum enso_onnx_root root,
                                struct enso_buffer *skeleton, struct enso_error *err)
{
    struct scan s = {.file = file, .out = skeleton, .err = err};
    enum enso_status st;

    s.window = enso_alloc(WINDOW_BYTES);
    if (s.window == NULL)
        return enso_error_no_memory(err, "an ONNX skeleton");
    st = check_beginning(&s);
    if (st == ENSO_OK)
        st = scan_message(&s, root == ENSO_ONNX_MODEL ? MODEL : TENSOR,
                          enso_weights_file_size(file), 1);
    enso_free(s.window);
    return st;
}
