/* SPDX-License-Identifier: Apache-2.0
 *
 * Base64: see base64.h. Four characters at a time through one table; the tail is checked apart.
 */
#include "base/base64.h"

#include "base/buffer.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 0..63, or -1 for what is not in the alphabet. */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static enum enso_status bad_character(const char *text, size_t at, struct enso_error *err)
{
    enso_error_code(err, "bad_base64");
    return enso_error_set(err, ENSO_INVALID,
                          text[at] == '=' ? "base64: padding at character %zu is out of place"
                                          : "base64: character %zu is not of the alphabet",
                          at);
}

enum enso_status enso_base64_decode(const char *text, size_t n, uint8_t *out, size_t *ret_size,
                                    struct enso_error *err)
{
    size_t padding = 0, used = 0;

    if (n % 4 != 0) {
        enso_error_code(err, "bad_base64");
        return enso_error_set(err, ENSO_INVALID,
                              "base64: %zu characters are not a multiple of 4; is the end cut off?",
                              n);
    }
    while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t bits = 0;

        for (size_t k = 0; k < 4; k++) {
            int v = i + k >= n - padding ? 0 : value_of(text[i + k]);

            if (v < 0)
                return bad_character(text, i + k, err);
            bits = bits << 6 | (uint32_t)v;
        }
        out[used++] = (uint8_t)(bits >> 16);
        out[used++] = (uint8_t)(bits >> 8);
        out[used++] = (uint8_t)bits;
    }
    *ret_size = used - padding;
    return ENSO_OK;
}

void enso_buffer_put_base64(struct enso_buffer *b, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    char *out;

    if (!enso_buffer_reserve(b, (size + 2) / 3 * 4))
        return;
    out = b->data + b->size;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (left > 2 ? p[i + 2] : 0u);

        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    b->size = (size_t)(out - b->data);
    b->data[b->size] = '\0';
}
