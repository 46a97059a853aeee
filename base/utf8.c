/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 by RFC 3629, table 3-7 of the Unicode standard: see utf8.h.
 */
#include "base/utf8.h"

size_t enso_utf8_decode(const char *s, size_t size, uint32_t *ret_code_point)
{
    const unsigned char *p = (const unsigned char *)s;
    uint32_t c;

    if (size == 0)
        return 0;
    c = p[0];
    if (c < 0x80) {
        *ret_code_point = c;
        return 1;
    }
    if (c < 0xC2 || c > 0xF4 || size < 2 || (p[1] & 0xC0) != 0x80)
        return 0;
    if (c < 0xE0) {
        *ret_code_point = (c & 0x1F) << 6 | (p[1] & 0x3Fu);
        return 2;
    }
    if (size < 3 || (p[2] & 0xC0) != 0x80)
        return 0;
    if (c < 0xF0) {
        c = (c & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        if (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF))
            return 0;
        *ret_code_point = c;
        return 3;
    }
    if (size < 4 || (p[3] & 0xC0) != 0x80)
        return 0;
    c = (c & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
    if (c < 0x10000 || c > 0x10FFFF)
        return 0;
    *ret_code_point = c;
    return 4;
}

size_t enso_utf8_length(const char *s, size_t size)
{
    uint32_t c;

    return enso_utf8_decode(s, size, &c);
}

size_t enso_utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool enso_utf8_valid(const char *s, size_t size, size_t *ret_offset)
{
    size_t i = 0;

    while (i < size) {
        size_t n = enso_utf8_length(s + i, size - i);

        if (n == 0) {
            if (ret_offset != NULL)
                *ret_offset = i;
            return false;
        }
        i += n;
    }
    return true;
}
