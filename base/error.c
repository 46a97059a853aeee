/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and error sentences: see error.h.
 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Cut a UTF-8 string that vsnprintf filled to the brim back to a whole character. */
static void trim_utf8(char *s, size_t capacity)
{
    size_t n = strlen(s), start;

    if (n + 1 < capacity)
        return;
    start = n;
    while (start > 0 && ((unsigned char)s[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && ((unsigned char)s[start - 1] & 0x80))
        s[start - 1] = '\0';
}

enum enso_status enso_error_vset(struct enso_error *err, enum enso_status status,
                                 const char *format, va_list args)
{
    if (err != NULL && err->status == ENSO_OK) {
        err->status = status;
        (void)vsnprintf(err->message, sizeof err->message, format, args); /* cutting is fine */
        trim_utf8(err->message, sizeof err->message);
    }
    return status;
}

enum enso_status enso_error_set(struct enso_error *err, enum enso_status status, const char *format,
                                ...)
{
    va_list args;

    va_start(args, format);
    (void)enso_error_vset(err, status, format, args); /* returns status */
    va_end(args);
    return status;
}

void enso_error_param(struct enso_error *err, const char *format, ...)
{
    va_list args;

    if (err == NULL || err->param[0] != '\0')
        return;
    va_start(args, format);
    (void)vsnprintf(err->param, sizeof err->param, format, args); /* cutting is fine */
    va_end(args);
    trim_utf8(err->param, sizeof err->param);
}

void enso_error_code(struct enso_error *err, const char *code)
{
    if (err != NULL && err->code[0] == '\0')
        (void)snprintf(err->code, sizeof err->code, "%s", code);
}

void enso_error_prefix(struct enso_error *err, const char *format, ...)
{
    char message[sizeof err->message];
    va_list args;
    size_t n;

    if (err == NULL || err->status == ENSO_OK)
        return;
    memcpy(message, err->message, sizeof message);
    va_start(args, format);
    (void)vsnprintf(err->message, sizeof err->message, format, args); /* cutting is fine */
    va_end(args);
    n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof err->message - n, "%s", message);
    trim_utf8(err->message, sizeof err->message);
}

void enso_error_clear(struct enso_error *err)
{
    if (err != NULL)
        memset(err, 0, sizeof *err);
}

enum enso_status enso_error_no_memory(struct enso_error *err, const char *what)
{
    return enso_error_set(err, ENSO_NO_MEMORY, "out of memory for %s", what);
}

const char *enso_status_text(enum enso_status status)
{
    switch (status) {
#define ENSO_STATUS_TEXT(name, number, text)                                                       \
    case ENSO_##name:                                                                              \
        return text;
        ENSO_STATUS_LIST(ENSO_STATUS_TEXT)
#undef ENSO_STATUS_TEXT
    }
    return "unknown status";
}

const char *enso_status_name(enum enso_status status)
{
    switch (status) {
#define ENSO_STATUS_NAME(name, number, text)                                                       \
    case ENSO_##name:                                                                              \
        return #name;
        ENSO_STATUS_LIST(ENSO_STATUS_NAME)
#undef ENSO_STATUS_NAME
    }
    return "UNKNOWN";
}
