/* SPDX-License-Identifier: Apache-2.0
 *
 * NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, and the steps behind them, with the places of
 * characters kept the way the reference does: it counts, per character of the result, how many of
 * the source it stands for, and hands out places in order. So reordered marks take places in the
 * order of the text, and a composite has the place of its first part alone.
 */
#include "ensod_build.h"

#include <string.h>

#include "engine/text/text_internal.h"
#include "engine/text/unicode.h"

bool enso__chars_lower(struct enso__work *work)
{
    struct enso__chars *out = &work->other_chars;

    out->n = 0;
    if (!ENSO__RESERVE(out, 2 * work->chars.n))
        return false;
    for (size_t i = 0; i < work->chars.n; i++) {
        const struct enso__char *next = &work->chars.items[i];
        uint32_t small[2];
        size_t n = enso__unicode_lower(next->c, small);

        for (size_t k = 0; k < n; k++)
            out->items[out->n++] = (struct enso__char){small[k], next->from};
    }
    enso__chars_swap(work);
    return true;
}

void enso__chars_remove(struct enso__work *work, unsigned flags)
{
    struct enso__chars *chars = &work->chars;
    size_t n = 0;

    for (size_t i = 0; i < chars->n; i++)
        if ((enso__unicode_flags(chars->items[i].c) & flags) == 0)
            chars->items[n++] = chars->items[i];
    chars->n = n;
}

/* ---- Decomposition and composition ----
 *
 * Results are collected in work->other_chars while work->chars is still the source. Until places
 * are given, `from` of a result holds its change and its combining class: change 0 replaces one
 * source character, 1 was put in behind one, -n replaces one and swallows the n after it. */

static void set_change(struct enso__char *item, int32_t change, uint8_t class)
{
    item->from = (struct enso__span){(uint32_t)change, class};
}

static int32_t change_of(const struct enso__char *item)
{
    return (int32_t)item->from.start;
}

/* Stable by combining class. Runs are short but for hostile text, which gets a counting sort. */
static bool sort_marks(struct enso__char *marks, size_t n)
{
    size_t starts[257] = {0};
    struct enso__char *sorted;

    if (n <= 32) {
        for (size_t i = 1; i < n; i++) {
            struct enso__char mark = marks[i];
            size_t k = i;

            for (; k > 0 && marks[k - 1].from.end > mark.from.end; k--)
                marks[k] = marks[k - 1];
            marks[k] = mark;
        }
        return true;
    }
    sorted = enso_alloc_array(n, sizeof *sorted);
    if (sorted == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        starts[marks[i].from.end + 1]++;
    for (size_t i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < n; i++)
        sorted[starts[marks[i].from.end]++] = marks[i];
    memcpy(marks, sorted, n * sizeof *marks);
    enso_free(sorted);
    return true;
}

/* work->chars decomposed into work->other_chars, marks in canonical order, with changes. */
static bool decompose(struct enso__work *work, bool compatible)
{
    struct enso__chars *out = &work->other_chars;
    size_t marks = 0; /* first of the marks since the last starter */

    out->n = 0;
    for (size_t i = 0; i < work->chars.n; i++) {
        uint32_t parts[ENSO__UNICODE_MAX_DECOMPOSED];
        size_t n = enso__unicode_decompose(work->chars.items[i].c, compatible, parts);

        if (!ENSO__RESERVE(out, n))
            return false;
        for (size_t k = 0; k < n; k++) {
            struct enso__char item = {.c = parts[k]};
            uint8_t class = enso__unicode_class(parts[k]);

            if (class == 0 && out->n - marks > 1 && !sort_marks(out->items + marks, out->n - marks))
                return false;
            set_change(&item, k == 0 ? 0 : 1, class);
            out->items[out->n++] = item;
            if (class == 0)
                marks = out->n;
        }
    }
    return out->n - marks <= 1 || sort_marks(out->items + marks, out->n - marks);
}

/* In place: each starter takes what composes with it and is not blocked by a mark of the same or a
 * higher class in between. */
static void compose(struct enso__chars *chars)
{
    size_t n = 0, starter = SIZE_MAX;
    int last_class = -1; /* of what was kept after the starter; -1: nothing was */

    for (size_t i = 0; i < chars->n; i++) {
        struct enso__char next = chars->items[i];
        int class = (int)next.from.end;

        if (starter != SIZE_MAX && last_class < class) {
            struct enso__char *first = &chars->items[starter];
            uint32_t composite = enso__unicode_compose(first->c, next.c);

            if (composite != 0) {
                first->c = composite;
                set_change(first, change_of(first) + change_of(&next) - 1, 0);
                continue;
            }
        }
        if (class == 0)
            starter = n;
        last_class = class == 0 ? -1 : class;
        chars->items[n++] = next;
    }
    chars->n = n;
}

/* Turn changes into places. */
static void give_places(struct enso__work *work)
{
    const struct enso__chars *source = &work->chars;
    size_t at = 0; /* of the next source character */

    for (size_t i = 0; i < work->other_chars.n; i++) {
        struct enso__char *item = &work->other_chars.items[i];
        int32_t change = change_of(item);
        size_t from = change > 0 && at > 0 ? at - 1 : at;

        /* changes add up to the source; the minimum is for form's sake */
        item->from = source->items[ENSO_MIN(from, source->n - 1)].from;
        if (change <= 0)
            at += 1 + (size_t) - (int64_t)change;
    }
}

bool enso__chars_decompose(struct enso__work *work, bool compatible, bool then_compose)
{
    if (!decompose(work, compatible))
        return false;
    if (then_compose)
        compose(&work->other_chars);
    give_places(work);
    enso__chars_swap(work);
    return true;
}

/* ---- The types ---- */

static enum enso_status apply_form(bool compatible, bool then_compose, struct enso__work *work,
                                   struct enso_error *err)
{
    if (!enso__chars_decompose(work, compatible, then_compose))
        return enso_error_no_memory(err, "a text");
    return ENSO_OK;
}

static enum enso_status apply_nfc(const struct enso__normalizer *n ENSO_UNUSED,
                                  struct enso__work *work, struct enso_error *err)
{
    return apply_form(false, true, work, err);
}

static enum enso_status apply_nfd(const struct enso__normalizer *n ENSO_UNUSED,
                                  struct enso__work *work, struct enso_error *err)
{
    return apply_form(false, false, work, err);
}

static enum enso_status apply_nfkc(const struct enso__normalizer *n ENSO_UNUSED,
                                   struct enso__work *work, struct enso_error *err)
{
    return apply_form(true, true, work, err);
}

static enum enso_status apply_nfkd(const struct enso__normalizer *n ENSO_UNUSED,
                                   struct enso__work *work, struct enso_error *err)
{
    return apply_form(true, false, work, err);
}

static enum enso_status apply_lowercase(const struct enso__normalizer *n ENSO_UNUSED,
                                        struct enso__work *work, struct enso_error *err)
{
    return enso__chars_lower(work) ? ENSO_OK : enso_error_no_memory(err, "a text");
}

static enum enso_status apply_strip_accents(const struct enso__normalizer *n ENSO_UNUSED,
                                            struct enso__work *work,
                                            struct enso_error *err ENSO_UNUSED)
{
    enso__chars_remove(work, ENSO__UNICODE_COMBINING);
    return ENSO_OK;
}

const struct enso__normalizer_type enso__normalizer_nfc_type = {"NFC", NULL, apply_nfc};
const struct enso__normalizer_type enso__normalizer_nfd_type = {"NFD", NULL, apply_nfd};
const struct enso__normalizer_type enso__normalizer_nfkc_type = {"NFKC", NULL, apply_nfkc};
const struct enso__normalizer_type enso__normalizer_nfkd_type = {"NFKD", NULL, apply_nfkd};
const struct enso__normalizer_type enso__normalizer_lowercase_type = {"Lowercase", NULL,
                                                                      apply_lowercase};
const struct enso__normalizer_type enso__normalizer_strip_accents_type = {"StripAccents", NULL,
                                                                          apply_strip_accents};
