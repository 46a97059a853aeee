/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 by the letter of RFC 3629 (no surrogates, no overlong forms, at most U+10FFFF).
 */
#ifndef ENSO_BASE_UTF8_H
#define ENSO_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at s (1 to 4), or 0 if there is none that is whole and valid. */
size_t enso_utf8_length(const char *s, size_t size);

/* Decode the character at s into *ret_code_point; bytes read, or 0 when invalid. */
size_t enso_utf8_decode(const char *s, size_t size, uint32_t *ret_code_point);

/* Encode a code point (valid, not a surrogate) into out[4]; bytes written. */
size_t enso_utf8_encode(uint32_t code_point, char out[4]);

/* True when all of s is valid; else *ret_offset (may be NULL) is the first offending byte. */
bool enso_utf8_valid(const char *s, size_t size, size_t *ret_offset);

#endif
