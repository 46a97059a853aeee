/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiler attributes and small helpers shared by every floor. Nothing here has state.
 */
#ifndef ENSO_BASE_MACROS_H
#define ENSO_BASE_MACROS_H

#include <stddef.h>

#define ENSO_PRINTF(format_index, first_arg)                                                       \
    __attribute__((format(printf, format_index, first_arg)))
#define ENSO_MUST_CHECK __attribute__((warn_unused_result))
#define ENSO_UNUSED __attribute__((unused))
#define ENSO_NORETURN __attribute__((noreturn))
#define ENSO_CLEANUP(function) __attribute__((cleanup(function)))
#define ENSO_LIKELY(x) __builtin_expect(!!(x), 1)
#define ENSO_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Elements of a true array (not of a pointer). */
#define ENSO_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that holds `member` at `pointer`. */
#define ENSO_CONTAINER_OF(pointer, type, member)                                                   \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ENSO_MIN(a, b) ((a) < (b) ? (a) : (b))
#define ENSO_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
