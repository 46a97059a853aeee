/* SPDX-License-Identifier: Apache-2.0
 *
 * BertNormalizer: control characters removed, white space made spaces, spaces around ideographs,
 * accents stripped, lower case; each can be switched off. Runs of ASCII, where none of this looks
 * at a neighbour, are written straight from bytes to bytes through a table; other runs go through
 * the steps on characters. A run of the latter may end anywhere before an ASCII character that
 * stays: that is a starter which no combining mark passes. Control characters that are dropped
 * belong to the run, since marks before and after them come together.
 */
#include "ensod_build.h"

#include <string.h>

#include "base/utf8.h"
#include "engine/text/text_internal.h"
#include "engine/text/unicode.h"

static enum enso_status parse_bert(struct enso__loader *l, const json_t *stage, const char *path,
                                   struct enso__normalizer *n, struct enso_error *err)
{
    enum enso_status st;

    n->clean_text = n->ideographs = n->lowercase = true;
    if ((st = enso__load_bool(l, stage, path, "clean_text", &n->clean_text, err)) != ENSO_OK ||
        (st = enso__load_bool(l, stage, path, "handle_chinese_chars", &n->ideographs, err)) !=
            ENSO_OK ||
        (st = enso__load_bool(l, stage, path, "lowercase", &n->lowercase, err)) != ENSO_OK)
        return st;
    n->strip_accents = n->lowercase; /* null or absent */
    return enso__load_bool(l, stage, path, "strip_accents", &n->strip_accents, err);
}

void enso__normalizer_bert(struct enso__normalizer *n, bool ideographs, bool strip_accents,
                           bool lowercase)
{
    memset(n, 0, sizeof *n);
    n->type = &enso__normalizer_bert_type;
    n->clean_text = true;
    n->ideographs = ideographs;
    n->strip_accents = strip_accents;
    n->lowercase = lowercase;
}

static bool clean(struct enso__work *work)
{
    struct enso__chars *chars = &work->chars;
    size_t n = 0;

    for (size_t i = 0; i < chars->n; i++) {
        struct enso__char next = chars->items[i];

        if ((enso__unicode_flags(next.c) & ENSO__UNICODE_DROPPED) != 0)
            continue;
        if (enso__unicode_is_space(next.c))
            next.c = ' ';
        chars->items[n++] = next;
    }
    chars->n = n;
    return true;
}

static bool space_ideographs(struct enso__work *work)
{
    struct enso__chars *out = &work->other_chars;

    out->n = 0;
    if (work->chars.n > SIZE_MAX / 3 || !ENSO__RESERVE(out, 3 * work->chars.n))
        return false;
    for (size_t i = 0; i < work->chars.n; i++) {
        struct enso__char next = work->chars.items[i], space = {' ', next.from};
        bool ideograph = enso__unicode_is_ideograph(next.c);

        if (ideograph)
            out->items[out->n++] = space;
        out->items[out->n++] = next;
        if (ideograph)
            out->items[out->n++] = space;
    }
    enso__chars_swap(work);
    return true;
}

static enum enso_status apply_bert(const struct enso__normalizer *n, struct enso__work *work,
                                   struct enso_error *err)
{
    if ((n->clean_text && !clean(work)) || (n->ideographs && !space_ideographs(work)) ||
        (n->strip_accents && !enso__chars_decompose(work, false, false)))
        return enso_error_no_memory(err, "a text");
    if (n->strip_accents)
        enso__chars_remove(work, ENSO__UNICODE_NONSPACING);
    if (n->lowercase && !enso__chars_lower(work))
        return enso_error_no_memory(err, "a text");
    return ENSO_OK;
}

/* What an ASCII byte becomes; -1: dropped. */
static int ascii_result(const struct enso__normalizer *n, unsigned char c)
{
    if (n->clean_text && (enso__unicode_flags(c) & ENSO__UNICODE_DROPPED) != 0)
        return -1;
    if (n->clean_text && enso__unicode_is_space(c))
        return ' ';
    return n->lowercase && c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static bool add_ascii_run(const int8_t results[128], struct enso__text *text, const char *bytes,
                          size_t size, uint32_t origin)
{
    size_t at;

    if (!enso__text_reserve(text, size))
        return false;
    at = text->size;
    for (size_t i = 0; i < size; i++) {
        text->bytes[at] = (char)results[(unsigned char)bytes[i]];
        if (text->want_offsets)
            text->from[at] = (struct enso__span){origin + (uint32_t)i, origin + (uint32_t)i + 1};
        at++;
    }
    text->size = at;
    return true;
}

static bool stays_ascii(const int8_t results[128], char c)
{
    return (unsigned char)c < 0x80 && results[(unsigned char)c] >= 0;
}

enum enso_status enso__normalize_bert(const struct enso__normalizer *n, const char *bytes,
                                      size_t size, uint32_t origin, struct enso__work *work,
                                      struct enso_error *err)
{
    int8_t results[128];

    for (unsigned c = 0; c < 128; c++)
        results[c] = (int8_t)ascii_result(n, (unsigned char)c);
    for (size_t i = 0; i < size;) {
        bool ascii = stays_ascii(results, bytes[i]);
        size_t end = i + 1;
        enum enso_status st;

        while (end < size && stays_ascii(results, bytes[end]) == ascii)
            end++;
        if (ascii) {
            if (!add_ascii_run(results, &work->text, bytes + i, end - i, origin + (uint32_t)i))
                return enso_error_no_memory(err, "a text");
        } else {
            work->chars.n = 0;
            if (!enso__chars_from_bytes(work, bytes + i, end - i, origin + (uint32_t)i))
                return enso_error_no_memory(err, "a text");
            st = apply_bert(n, work, err);
            if (st != ENSO_OK)
                return st;
            if (!enso__chars_to_text(work))
                return enso_error_no_memory(err, "a text");
        }
        i = end;
    }
    return ENSO_OK;
}

const struct enso__normalizer_type enso__normalizer_bert_type = {"BertNormalizer", parse_bert,
                                                                 apply_bert};
