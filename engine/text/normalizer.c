/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisers: the table of types, Sequence, and the way from bytes to normalised text. A stage
 * works on characters with the place each came from (struct enso__char); what a stage puts in gets
 * the place of the character before it, as in the reference.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/text/text_internal.h"

static enum enso_status parse_sequence(struct enso__loader *l, const json_t *stage,
                                       const char *path, struct enso__normalizer *n,
                                       struct enso_error *err)
{
    json_t *list;
    enum enso_status st =
        enso_json_get_array(stage, path, "normalizers", ENSO_JSON_REQUIRED, &list, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (json_array_size(list) > ENSO__MAX_STAGES || l->depth >= ENSO__MAX_STAGE_DEPTH)
        return enso__load_error(l, path, err,
                                "more than %d stages in a Sequence, or Sequences "
                                "nested deeper than %d",
                                ENSO__MAX_STAGES, ENSO__MAX_STAGE_DEPTH);
    n->n_stages = json_array_size(list);
    n->stages = enso_arena_alloc_zero(l->arena, n->n_stages, sizeof *n->stages);
    if (n->stages == NULL)
        return enso_error_no_memory(err, "a normaliser");
    l->depth++;
    for (size_t i = 0; i < n->n_stages && st == ENSO_OK; i++) {
        char inner[ENSO__PATH_SIZE];

        (void)snprintf(inner, sizeof inner, "%s.normalizers[%zu]", path, i); /* cut is fine */
        st = enso__normalizer_load(l, json_array_get(list, i), inner, &n->stages[i], err);
    }
    l->depth--;
    return st;
}

static enum enso_status apply_sequence(const struct enso__normalizer *n, struct enso__work *work,
                                       struct enso_error *err)
{
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < n->n_stages && st == ENSO_OK; i++)
        if (n->stages[i].type != NULL)
            st = n->stages[i].type->apply(&n->stages[i], work, err);
    return st;
}

static const struct enso__normalizer_type sequence_type = {"Sequence", parse_sequence,
                                                           apply_sequence};

static const struct enso__normalizer_type *const types[] = {
    &enso__normalizer_bert_type,
    &enso__normalizer_lowercase_type,
    &enso__normalizer_nfc_type,
    &enso__normalizer_nfd_type,
    &enso__normalizer_nfkc_type,
    &enso__normalizer_nfkd_type,
    &enso__normalizer_prepend_type,
    &enso__normalizer_replace_type,
    &enso__normalizer_strip_type,
    &enso__normalizer_strip_accents_type,
    &sequence_type,
};

static const char *type_name(size_t i)
{
    return i < ENSO_ARRAY_SIZE(types) ? types[i]->name : NULL;
}

enum enso_status enso__normalizer_load(struct enso__loader *l, const json_t *stage,
                                       const char *path, struct enso__normalizer *ret,
                                       struct enso_error *err)
{
    enum enso_status st;
    const char *name;

    memset(ret, 0, sizeof *ret);
    if (stage == NULL || json_is_null(stage))
        return ENSO_OK;
    st = enso__load_type(l, stage, path, &name, err);
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(types); i++)
        if (strcmp(types[i]->name, name) == 0) {
            ret->type = types[i];
            return types[i]->parse != NULL ? types[i]->parse(l, stage, path, ret, err) : ENSO_OK;
        }
    return enso__load_unsupported(l, path, "normaliser", name, type_name, err);
}

/* ---- Running ---- */

bool enso__grow(void **items, size_t *capacity, size_t needed, size_t item_bytes)
{
    size_t wanted = ENSO_MAX(needed, ENSO_MAX(*capacity + *capacity / 2, (size_t)64));
    void *grown;

    if (needed > (size_t)1 << 30)
        return false;
    grown = enso_realloc_array(*items, wanted, item_bytes);
    if (grown == NULL)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

bool enso__text_reserve(struct enso__text *text, size_t more_bytes)
{
    size_t capacity = text->capacity;

    if (text->capacity - text->size >= more_bytes)
        return true;
    if (text->want_offsets &&
        !enso__grow((void **)&text->from, &capacity, text->size + more_bytes, sizeof *text->from))
        return false;
    return enso__grow((void **)&text->bytes, &text->capacity, text->size + more_bytes, 1);
}

void enso__work_done(struct enso__work *work)
{
    enso_free(work->chars.items);
    enso_free(work->other_chars.items);
    enso_free(work->text.bytes);
    enso_free(work->text.from);
    enso_free(work->words.items);
    enso_free(work->other_words.items);
    enso_free(work->tokens.items);
    enso_free(work->hashes);
    memset(work, 0, sizeof *work);
}

void enso__chars_swap(struct enso__work *work)
{
    struct enso__chars chars = work->chars;

    work->chars = work->other_chars;
    work->other_chars = chars;
}

bool enso__chars_from_bytes(struct enso__work *work, const char *bytes, size_t size,
                            uint32_t origin)
{
    struct enso__chars *chars = &work->chars;

    if (!ENSO__RESERVE(chars, size)) /* a character has at least one byte */
        return false;
    for (size_t i = 0; i < size;) {
        struct enso__char *next = &chars->items[chars->n++];
        size_t n = enso_utf8_decode(bytes + i, size - i, &next->c);

        next->from.start = origin + (uint32_t)i;
        i += n != 0 ? n : 1; /* valid by contract */
        next->from.end = origin + (uint32_t)i;
    }
    return true;
}

bool enso__chars_to_text(struct enso__work *work)
{
    struct enso__text *text = &work->text;

    for (size_t i = 0; i < work->chars.n; i++) {
        const struct enso__char *next = &work->chars.items[i];
        size_t n;

        if (!enso__text_reserve(text, 4))
            return false;
        n = enso_utf8_encode(next->c, text->bytes + text->size);
        for (size_t k = 0; text->want_offsets && k < n; k++)
            text->from[text->size + k] = next->from;
        text->size += n;
    }
    return true;
}

static bool copy_as_it_is(struct enso__text *text, const char *bytes, size_t size, uint32_t origin)
{
    if (!enso__text_reserve(text, size))
        return false;
    memcpy(text->bytes, bytes, size);
    text->size = size;
    for (size_t i = 0; text->want_offsets && i < size;) {
        size_t n = ENSO_MAX(enso_utf8_length(bytes + i, size - i), (size_t)1);
        struct enso__span span = {origin + (uint32_t)i, origin + (uint32_t)(i + n)};

        for (size_t k = 0; k < n; k++)
            text->from[i++] = span;
    }
    return true;
}

enum enso_status enso__normalize(const struct enso__normalizer *n, const char *bytes, size_t size,
                                 uint32_t origin, struct enso__work *work, struct enso_error *err)
{
    enum enso_status st;

    work->text.size = 0;
    work->chars.n = 0;
    if (n->type == &enso__normalizer_bert_type)
        return enso__normalize_bert(n, bytes, size, origin, work, err);
    if (n->type == NULL) {
        if (!copy_as_it_is(&work->text, bytes, size, origin))
            return enso_error_no_memory(err, "a text");
        return ENSO_OK;
    }
    if (!enso__chars_from_bytes(work, bytes, size, origin))
        return enso_error_no_memory(err, "a text");
    st = n->type->apply(n, work, err);
    if (st == ENSO_OK && !enso__chars_to_text(work))
        st = enso_error_no_memory(err, "a text");
    return st;
}
