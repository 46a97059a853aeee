/* SPDX-License-Identifier: Apache-2.0
 *
 * Lower case: see lower.h.
 */
#include "engine/text/lower.h"

#include <utf8proc.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "engine/text/unicode.h"

#define CAPITAL_SIGMA 0x3A3u
#define FINAL_SIGMA 0x3C2u

/* Case_Ignorable: marks, format characters, modifiers, and what may stand inside a word. */
static bool is_ignorable(uint32_t c)
{
    static const uint16_t inside_words[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                            0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                            0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};

    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        break;
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(inside_words); i++)
        if (inside_words[i] == c)
            return true;
    return false;
}

static bool is_cased(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
        return true;
    default:
        /* ª º, Roman numerals, letters in circles */
        return c == 0xAA || c == 0xBA || (c >= 0x2160 && c <= 0x217F) ||
               (c >= 0x24B6 && c <= 0x24E9);
    }
}

/* Does a cased letter come next, things that do not count left out? */
static bool cased_after(const char *text, size_t size)
{
    uint32_t c;

    for (size_t at = 0, n; at < size; at += n) {
        n = enso_utf8_decode(text + at, size - at, &c);
        if (n == 0)
            return false;
        if (!is_ignorable(c))
            return is_cased(c);
    }
    return false;
}

int enso_text_lower(const char *text, size_t size, char **ret_text, size_t *ret_size,
                    struct enso_error *err)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    bool after_cased = false; /* of what was read, ignorable characters left out */

    (void)enso_buffer_reserve(&b, size);
    for (size_t at = 0, n; at < size; at += n) {
        uint32_t c, lower[2];
        size_t n_lower = 1;

        n = enso_utf8_decode(text + at, size - at, &c);
        if (n == 0) {
            enso_buffer_done(&b);
            return enso_error_set(err, ENSO_INVALID, "the text is not UTF-8 at byte %zu", at);
        }
        if (c == CAPITAL_SIGMA && after_cased && !cased_after(text + at + n, size - at - n))
            lower[0] = FINAL_SIGMA;
        else
            n_lower = enso__unicode_lower(c, lower);
        for (size_t i = 0; i < n_lower; i++) {
            char bytes[4];

            enso_buffer_append(&b, bytes, enso_utf8_encode(lower[i], bytes));
        }
        if (!is_ignorable(c))
            after_cased = is_cased(c);
    }
    if (b.failed) {
        enso_buffer_done(&b);
        return enso_error_no_memory(err, "a text in lower case");
    }
    *ret_text = enso_buffer_detach(&b, ret_size);
    return *ret_text != NULL ? ENSO_OK : enso_error_no_memory(err, "a text in lower case");
}
