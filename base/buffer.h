/* SPDX-License-Identifier: Apache-2.0
 *
 * A byte buffer that grows as bytes arrive. Built for writing JSON and metrics pages: many small
 * appends, one owner. An append that runs out of memory (or over `limit`) sets `failed` and every
 * later append is a no-op, so that writers check once at the end.
 *
 *     struct enso_buffer b = ENSO_BUFFER_INIT;
 *     enso_buffer_puts(&b, "hello ");
 *     enso_buffer_printf(&b, "%d", 7);
 *     if (b.failed) ...
 *     enso_buffer_done(&b);
 *
 * The content is always followed by a NUL that is not counted in size (unless data is NULL).
 */
#ifndef ENSO_BASE_BUFFER_H
#define ENSO_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct enso_buffer {
    char *data;      /* owned; NULL while empty */
    size_t size;     /* bytes of content */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* 0 = none; size never exceeds it */
    bool failed;     /* out of memory or over the limit: content is incomplete */
};
#define ENSO_BUFFER_INIT                                                                           \
    {                                                                                              \
        NULL, 0, 0, 0, false                                                                       \
    }

void enso_buffer_done(struct enso_buffer *b);                       /* free, ready for use again */
void enso_buffer_clear(struct enso_buffer *b);                      /* size 0, memory kept */
bool enso_buffer_reserve(struct enso_buffer *b, size_t more_bytes); /* false sets failed */
void enso_buffer_append(struct enso_buffer *b, const void *bytes, size_t size);
void enso_buffer_puts(struct enso_buffer *b, const char *s);
void enso_buffer_putc(struct enso_buffer *b, char c);
void enso_buffer_printf(struct enso_buffer *b, const char *format, ...) ENSO_PRINTF(2, 3);

/* A JSON string with quotes; invalid UTF-8 becomes U+FFFD, controls are escaped. */
void enso_buffer_put_json_string(struct enso_buffer *b, const char *s, size_t size);

/* Gives the memory to the caller (release with enso_free) and empties the buffer. NULL when failed
 * or empty-and-out-of-memory; an empty buffer gives "". */
char *enso_buffer_detach(struct enso_buffer *b, size_t *ret_size);

#endif
