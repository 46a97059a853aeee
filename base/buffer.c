/* SPDX-License-Identifier: Apache-2.0
 *
 * A byte buffer that grows as bytes arrive: see buffer.h.
 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

#define SMALLEST_CAPACITY 256

void enso_buffer_done(struct enso_buffer *b)
{
    size_t limit = b->limit;

    enso_free(b->data);
    *b = (struct enso_buffer)ENSO_BUFFER_INIT;
    b->limit = limit;
}

void enso_buffer_clear(struct enso_buffer *b)
{
    b->size = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

bool enso_buffer_reserve(struct enso_buffer *b, size_t more_bytes)
{
    size_t wanted, capacity;
    char *data;

    if (b->failed)
        return false;
    if (!enso_size_add(b->size, more_bytes, &wanted) || wanted == SIZE_MAX ||
        (b->limit != 0 && wanted > b->limit)) {
        b->failed = true;
        return false;
    }
    if (wanted < b->capacity)
        return true;
    capacity = b->capacity < SIZE_MAX / 2 ? b->capacity * 2 : wanted + 1;
    capacity = ENSO_MAX(ENSO_MAX(capacity, wanted + 1), (size_t)SMALLEST_CAPACITY);
    data = enso_realloc_array(b->data, capacity, 1);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void enso_buffer_append(struct enso_buffer *b, const void *bytes, size_t size)
{
    if (!enso_buffer_reserve(b, size))
        return;
    if (size != 0)
        memcpy(b->data + b->size, bytes, size);
    b->size += size;
    b->data[b->size] = '\0';
}

void enso_buffer_puts(struct enso_buffer *b, const char *s)
{
    enso_buffer_append(b, s, strlen(s));
}

void enso_buffer_putc(struct enso_buffer *b, char c)
{
    enso_buffer_append(b, &c, 1);
}

void enso_buffer_printf(struct enso_buffer *b, const char *format, ...)
{
    size_t room = b->capacity - b->size;
    va_list args;
    int n;

    if (b->failed)
        return;
    va_start(args, format);
    n = vsnprintf(room != 0 ? b->data + b->size : NULL, room, format, args);
    va_end(args);
    if (n < 0 || !enso_buffer_reserve(b, (size_t)n)) {
        b->failed = true;
        if (b->data != NULL)
            b->data[b->size] = '\0';
        return;
    }
    if ((size_t)n >= room) {
        va_start(args, format);
        (void)vsnprintf(b->data + b->size, b->capacity - b->size, format, args); /* fits now */
        va_end(args);
    }
    b->size += (size_t)n;
}

void enso_buffer_put_json_string(struct enso_buffer *b, const char *s, size_t size)
{
    size_t i = 0, clean = 0;

    enso_buffer_putc(b, '"');
    while (i < size) {
        unsigned char c = (unsigned char)s[i];
        size_t length = 1;

        if (c >= 0x20 && c != '"' && c != '\\' && c < 0x80) {
            i++;
            continue;
        }
        if (c >= 0x80) {
            length = enso_utf8_length(s + i, size - i);
            if (length != 0) {
                i += length;
                continue;
            }
        }
        enso_buffer_append(b, s + clean, i - clean);
        if (c == '"' || c == '\\') {
            enso_buffer_putc(b, '\\');
            enso_buffer_putc(b, (char)c);
        } else if (c == '\n') {
            enso_buffer_puts(b, "\\n");
        } else if (c < 0x20) {
            enso_buffer_printf(b, "\\u%04x", c);
        } else {
            enso_buffer_puts(b, "\xEF\xBF\xBD");
        }
        clean = ++i;
    }
    enso_buffer_append(b, s + clean, size - clean);
    enso_buffer_putc(b, '"');
}

char *enso_buffer_detach(struct enso_buffer *b, size_t *ret_size)
{
    char *data;

    if (b->failed || (b->data == NULL && !enso_buffer_reserve(b, 0)))
        return NULL;
    data = b->data;
    data[b->size] = '\0';
    if (ret_size != NULL)
        *ret_size = b->size;
    b->data = NULL;
    enso_buffer_done(b);
    return data;
}
