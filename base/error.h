/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and error sentences, the one way every floor reports failure.
 *
 * A function that can fail returns an enum enso_status (ENSO_OK is 0, failures are negative) and
 * takes a struct enso_error * as its last argument, which may be NULL. On failure it fills the
 * struct once with one sentence that names the thing, what was expected and found, and the remedy;
 * callers may put context in front with enso_error_prefix. On success the struct is untouched.
 *
 *     if (n_labels != n_classes)
 *         return enso_error_set(err, ENSO_CORRUPT, "config.json: id2label has %zu labels, but "
 *                               "the classifier has %zu outputs; make them equal", ...);
 *
 * Which HTTP status a code becomes is a table per dialect in server/. Thread-safe: no state.
 */
#ifndef ENSO_BASE_ERROR_H
#define ENSO_BASE_ERROR_H

#include <stdarg.h>

#include "base/macros.h"

/* X(name, number, text). The text is what enso_status_text gives. */
#define ENSO_STATUS_LIST(X)                                                                        \
    X(OK, 0, "ok")                                                                                 \
    X(INVALID, -1, "invalid argument")       /* the caller's input is malformed */                 \
    X(NOT_FOUND, -2, "not found")            /* no such model, file, path */                       \
    X(TOO_LARGE, -3, "too large")            /* over a stated limit */                             \
    X(UNSUPPORTED, -4, "unsupported")        /* well formed, but ensod cannot do it */             \
    X(CORRUPT, -5, "corrupt file")           /* a file's content is broken or lies */              \
    X(NO_MEMORY, -6, "out of memory")        /* an allocation failed */                            \
    X(IO, -7, "input/output error")          /* the operating system refused */                    \
    X(OVERLOADED, -8, "overloaded")          /* queue or quota full: retry later */                \
    X(DEADLINE, -9, "deadline exceeded")     /* expired before it was computed */                  \
    X(CANCELLED, -10, "cancelled")           /* the client has gone */                             \
    X(UNAVAILABLE, -11, "unavailable")       /* loading, draining, device down */                  \
    X(BUDGET, -12, "over the memory budget") /* request_memory is used up: retry later */          \
    X(DEVICE, -13, "device error")           /* the device failed this batch */                    \
    X(INTERNAL, -14, "internal error")       /* our own fault */

enum enso_status {
#define ENSO_STATUS_ENUM(name, number, text) ENSO_##name = number,
    ENSO_STATUS_LIST(ENSO_STATUS_ENUM)
#undef ENSO_STATUS_ENUM
};

/* One failure. Zero-initialise ({0}) before use; no resources, copy freely. */
struct enso_error {
    enum enso_status status;
    char message[480]; /* one UTF-8 sentence, NUL-terminated, cut at a character if too long */
    char param[96];    /* JSON path or option key of the offending parameter, or "" */
    char code[32];     /* short machine-readable reason such as "too_long", or "" */
};

/* Fill err (unless NULL or already filled: the first error wins) and return status. */
enum enso_status enso_error_set(struct enso_error *err, enum enso_status status, const char *format,
                                ...) ENSO_PRINTF(3, 4);
enum enso_status enso_error_vset(struct enso_error *err, enum enso_status status,
                                 const char *format, va_list args) ENSO_PRINTF(3, 0);

/* Name the parameter the error is about ("input[3]"), unless one is named already. */
void enso_error_param(struct enso_error *err, const char *format, ...) ENSO_PRINTF(2, 3);

/* Give the error its short machine-readable code, unless it has one. */
void enso_error_code(struct enso_error *err, const char *code);

/* Put context in front of the sentence: prefix "model 'bert': ". NULL and empty err are fine. */
void enso_error_prefix(struct enso_error *err, const char *format, ...) ENSO_PRINTF(2, 3);

/* Make the struct empty again. */
void enso_error_clear(struct enso_error *err);

/* ENSO_NO_MEMORY with the standard sentence; `what` names what was being built. */
enum enso_status enso_error_no_memory(struct enso_error *err, const char *what);

/* "not found" for ENSO_NOT_FOUND; never NULL, static storage. */
const char *enso_status_text(enum enso_status status);

/* "NOT_FOUND" for ENSO_NOT_FOUND; never NULL, static storage. */
const char *enso_status_name(enum enso_status status);

#endif
