/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reference tokenizers take characters for. Its character tables are of several Unicode
 * versions, older and newer than utf8proc's, so the questions that decide ids and offsets are
 * answered from a table made of the reference's own answers (unicode_tables.h). Values
 * (decompositions, combining classes, most of lower case) come from utf8proc; they are stable.
 *
 * Where tables of one Unicode version would differ: 419 nonspacing marks of Unicode 9 and later
 * are not stripped as accents, 127 punctuation characters of that time do not split words, 20
 * format characters are kept, unassigned code points and noncharacters are kept, U+1734 counts as
 * nonspacing; upper case of Unicode 16 and 17 has lower case.
 *
 * Pure functions, safe from any thread.
 */
#ifndef ENSO_ENGINE_TEXT_UNICODE_H
#define ENSO_ENGINE_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ENSO__UNICODE_DROPPED = 1 << 0,     /* control, format, U+FFFD: BERT's cleaning removes it */
    ENSO__UNICODE_NONSPACING = 1 << 1,  /* BERT's accents */
    ENSO__UNICODE_COMBINING = 1 << 2,   /* what StripAccents removes */
    ENSO__UNICODE_PUNCTUATION = 1 << 3, /* BERT's pre-tokeniser makes it a word */
    ENSO__UNICODE_WORD = 1 << 4,        /* \w of regular expressions */
    ENSO__UNICODE_CANONICAL = 1 << 5,   /* changed by NFD */
    ENSO__UNICODE_COMPATIBLE = 1 << 6,  /* changed by NFKD */
    ENSO__UNICODE_REORDERED = 1 << 7,   /* combining class other than 0 */
};

struct enso__unicode_range {
    uint32_t first, last; /* inclusive */
    int32_t value;
};

/* The flags above; 0 for most of Unicode. ASCII costs a table look-up, others about 20 ns. */
unsigned enso__unicode_flags(uint32_t c);

/* White_Space of Unicode (it has not changed since version 6.3). */
bool enso__unicode_is_space(uint32_t c);

/* The ideographs that BERT puts spaces around: most of CJK, not kana or hangul. */
bool enso__unicode_is_ideograph(uint32_t c);

/* Full lower case of one character, no context (the reference has none: a final sigma is an
 * ordinary one); 1 or 2 characters. */
size_t enso__unicode_lower(uint32_t c, uint32_t out[2]);

/* Canonical or compatibility decomposition, down to the last; 1 to ENSO__UNICODE_MAX_DECOMPOSED
 * characters. */
#define ENSO__UNICODE_MAX_DECOMPOSED 18
size_t enso__unicode_decompose(uint32_t c, bool compatible,
                               uint32_t out[ENSO__UNICODE_MAX_DECOMPOSED]);

/* Canonical combining class; 0 for starters. */
uint8_t enso__unicode_class(uint32_t c);

/* The primary composite of two characters; 0 when there is none. */
uint32_t enso__unicode_compose(uint32_t first, uint32_t second);

#endif
