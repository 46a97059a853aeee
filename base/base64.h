/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64 by RFC 4648 section 4: the standard alphabet, padding required, nothing else between.
 * Pure functions, safe from any thread.
 */
#ifndef ENSO_BASE_BASE64_H
#define ENSO_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct enso_buffer;

/* Most bytes that n characters decode to. */
#define ENSO_BASE64_DECODED_SIZE(n) ((n) / 4 * 3 + 3)

/* Decode n characters into out (room for ENSO_BASE64_DECODED_SIZE(n)). ENSO_INVALID names the
 * offending character's offset. */
enum enso_status enso_base64_decode(const char *text, size_t n, uint8_t *out, size_t *ret_size,
                                    struct enso_error *err);

/* Append the encoding of size bytes. */
void enso_buffer_put_base64(struct enso_buffer *b, const void *bytes, size_t size);

#endif
