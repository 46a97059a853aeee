/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference's view of Unicode: see unicode.h. Flags by binary search over about 1,900 ranges.
 */
#include "ensod_build.h"

#include "engine/text/unicode.h"

#include <utf8proc.h>

#include "base/macros.h"
#include "engine/text/unicode_tables.h"

static const struct enso__unicode_range *find_range(const struct enso__unicode_range *ranges,
                                                    size_t n, uint32_t c)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (c > ranges[middle].last)
            low = middle + 1;
        else if (c < ranges[middle].first)
            high = middle;
        else
            return &ranges[middle];
    }
    return NULL;
}

static unsigned ascii_flags(uint32_t c)
{
    bool letter = (c | 0x20) - 'a' < 26, digit = c - '0' < 10;

    if (c < 0x20 || c == 0x7F)
        return c == '\t' || c == '\n' || c == '\r' ? 0 : ENSO__UNICODE_DROPPED;
    if (letter || digit)
        return ENSO__UNICODE_WORD;
    if (c == ' ')
        return 0;
    return ENSO__UNICODE_PUNCTUATION | (c == '_' ? ENSO__UNICODE_WORD : 0);
}

unsigned enso__unicode_flags(uint32_t c)
{
    const struct enso__unicode_range *range;

    if (c < 0x80)
        return ascii_flags(c);
    if ((c >= 0x4E00 && c < 0xA000) || (c >= 0xAC00 && c < 0xD7A4)) /* the bulk of CJK text */
        return c >= 0xAC00 ? ENSO__UNICODE_WORD | ENSO__UNICODE_CANONICAL | ENSO__UNICODE_COMPATIBLE
                           : ENSO__UNICODE_WORD;
    range = find_range(flag_ranges, ENSO_ARRAY_SIZE(flag_ranges), c);
    return range != NULL ? (unsigned)range->value : 0;
}

bool enso__unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool enso__unicode_is_ideograph(uint32_t c)
{
    /* 0x2B920, where the block begins at 0x2B820, is the reference's. */
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

size_t enso__unicode_lower(uint32_t c, uint32_t out[2])
{
    const struct enso__unicode_range *range;

    if (c < 0x80) {
        out[0] = c - 'A' < 26 ? c | 0x20 : c;
        return 1;
    }
    if (c == 0x130) { /* the only character whose lower case is two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    range = find_range(lower_ranges, ENSO_ARRAY_SIZE(lower_ranges), c);
    out[0] = range != NULL ? c + (uint32_t)range->value
                           : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

size_t enso__unicode_decompose(uint32_t c, bool compatible,
                               uint32_t out[ENSO__UNICODE_MAX_DECOMPOSED])
{
    unsigned flag = compatible ? ENSO__UNICODE_COMPATIBLE : ENSO__UNICODE_CANONICAL;
    utf8proc_int32_t parts[ENSO__UNICODE_MAX_DECOMPOSED];
    utf8proc_ssize_t n;
    int boundary = 0;

    out[0] = c;
    if (c < 0x80 || (enso__unicode_flags(c) & flag) == 0)
        return 1;
    n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, ENSO__UNICODE_MAX_DECOMPOSED,
                                UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0), &boundary);
    if (n < 1 || n > ENSO__UNICODE_MAX_DECOMPOSED) /* no Unicode version has longer ones */
        return 1;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)parts[i];
    return (size_t)n;
}

uint8_t enso__unicode_class(uint32_t c)
{
    if (c < 0x300 || (enso__unicode_flags(c) & ENSO__UNICODE_REORDERED) == 0)
        return 0;
    return (uint8_t)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

uint32_t enso__unicode_compose(uint32_t first, uint32_t second)
{
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second};

    if (second < 0x300) /* nothing below composes with what stands before it */
        return 0;
    if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1)
        return 0;
    /* a composite that the reference does not know */
    if ((enso__unicode_flags((uint32_t)pair[0]) & ENSO__UNICODE_CANONICAL) == 0)
        return 0;
    return (uint32_t)pair[0];
}
