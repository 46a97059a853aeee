/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-tokenisers: cut normalised text into words that the model sees one by one. The table of
 * types; each splits every word there is so far.
 *
 *   BertPreTokenizer  white space separates, each punctuation character is a word
 *   Whitespace        runs of \w, and runs of what is neither \w nor white space
 *   WhitespaceSplit   white space separates
 *   Sequence          one after the other
 */
#include "ensod_build.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/text/text_internal.h"
#include "engine/text/unicode.h"

/* What a character does to the word it stands in. */
enum kind {
    KIND_SPACE,  /* separates, is left out */
    KIND_ALONE,  /* is a word */
    KIND_FIRST,  /* joins neighbours of the same kind ... */
    KIND_SECOND, /* ... of which there are two */
};

typedef enum kind (*kind_fn)(uint32_t c);

static enum kind bert_kind(uint32_t c)
{
    if (enso__unicode_is_space(c))
        return KIND_SPACE;
    return enso__unicode_flags(c) & ENSO__UNICODE_PUNCTUATION ? KIND_ALONE : KIND_FIRST;
}

static enum kind whitespace_kind(uint32_t c)
{
    if (enso__unicode_is_space(c))
        return KIND_SPACE;
    return enso__unicode_flags(c) & ENSO__UNICODE_WORD ? KIND_FIRST : KIND_SECOND;
}

static enum kind whitespace_split_kind(uint32_t c)
{
    return enso__unicode_is_space(c) ? KIND_SPACE : KIND_FIRST;
}

static bool add_word(struct enso__words *words, size_t start, size_t end)
{
    if (start == end)
        return true;
    if (!ENSO__RESERVE(words, 1))
        return false;
    words->items[words->n++] = (struct enso__span){(uint32_t)start, (uint32_t)end};
    return true;
}

/* Split one word by the kinds of its characters; ASCII's come from a table. */
static bool split_word(struct enso__work *work, struct enso__span word,
                       const uint8_t ascii_kinds[128], kind_fn kind_of)
{
    const char *bytes = work->text.bytes;
    struct enso__words *out = &work->other_words;
    enum kind last = KIND_SPACE;
    size_t start = word.start;

    for (size_t i = word.start; i < word.end;) {
        size_t n = 1;
        enum kind kind;

        if ((unsigned char)bytes[i] < 0x80)
            kind = (enum kind)ascii_kinds[(unsigned char)bytes[i]];
        else {
            uint32_t c = 0;

            n = ENSO_MAX(enso_utf8_decode(bytes + i, word.end - i, &c), (size_t)1);
            kind = kind_of(c);
        }
        if (kind != last || kind == KIND_ALONE) {
            if (last != KIND_SPACE && !add_word(out, start, i))
                return false;
            start = i;
            last = kind;
        }
        i += n;
    }
    return last == KIND_SPACE || add_word(out, start, word.end);
}

static enum enso_status split(struct enso__work *work, kind_fn kind_of, struct enso_error *err)
{
    struct enso__words words;
    uint8_t ascii_kinds[128];

    for (uint32_t c = 0; c < 128; c++)
        ascii_kinds[c] = (uint8_t)kind_of(c);
    work->other_words.n = 0;
    for (size_t i = 0; i < work->words.n; i++)
        if (!split_word(work, work->words.items[i], ascii_kinds, kind_of))
            return enso_error_no_memory(err, "a text");
    words = work->words;
    work->words = work->other_words;
    work->other_words = words;
    return ENSO_OK;
}

static enum enso_status apply_bert(const struct enso__pre_tokenizer *p ENSO_UNUSED,
                                   struct enso__work *work, struct enso_error *err)
{
    return split(work, bert_kind, err);
}

static enum enso_status apply_whitespace(const struct enso__pre_tokenizer *p ENSO_UNUSED,
                                         struct enso__work *work, struct enso_error *err)
{
    return split(work, whitespace_kind, err);
}

static enum enso_status apply_whitespace_split(const struct enso__pre_tokenizer *p ENSO_UNUSED,
                                               struct enso__work *work, struct enso_error *err)
{
    return split(work, whitespace_split_kind, err);
}

static enum enso_status apply_sequence(const struct enso__pre_tokenizer *p, struct enso__work *work,
                                       struct enso_error *err)
{
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < p->n_stages && st == ENSO_OK; i++)
        if (p->stages[i].type != NULL)
            st = p->stages[i].type->apply(&p->stages[i], work, err);
    return st;
}

static const struct enso__pre_tokenizer_type types[] = {
    {"BertPreTokenizer", apply_bert},
    {"Whitespace", apply_whitespace},
    {"WhitespaceSplit", apply_whitespace_split},
    {"Sequence", apply_sequence},
};

static const char *type_name(size_t i)
{
    return i < ENSO_ARRAY_SIZE(types) ? types[i].name : NULL;
}

void enso__pre_tokenizer_bert(struct enso__pre_tokenizer *p)
{
    memset(p, 0, sizeof *p);
    p->type = &types[0];
}

static enum enso_status load_sequence(struct enso__loader *l, const json_t *stage, const char *path,
                                      struct enso__pre_tokenizer *p, struct enso_error *err)
{
    json_t *list;
    enum enso_status st =
        enso_json_get_array(stage, path, "pretokenizers", ENSO_JSON_REQUIRED, &list, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (json_array_size(list) > ENSO__MAX_STAGES || l->depth >= ENSO__MAX_STAGE_DEPTH)
        return enso__load_error(l, path, err,
                                "more than %d stages in a Sequence, or Sequences "
                                "nested deeper than %d",
                                ENSO__MAX_STAGES, ENSO__MAX_STAGE_DEPTH);
    p->n_stages = json_array_size(list);
    p->stages = enso_arena_alloc_zero(l->arena, p->n_stages, sizeof *p->stages);
    if (p->stages == NULL)
        return enso_error_no_memory(err, "a pre-tokeniser");
    l->depth++;
    for (size_t i = 0; i < p->n_stages && st == ENSO_OK; i++) {
        char inner[ENSO__PATH_SIZE];

        (void)snprintf(inner, sizeof inner, "%s.pretokenizers[%zu]", path, i); /* cut is fine */
        st = enso__pre_tokenizer_load(l, json_array_get(list, i), inner, &p->stages[i], err);
    }
    l->depth--;
    return st;
}

enum enso_status enso__pre_tokenizer_load(struct enso__loader *l, const json_t *stage,
                                          const char *path, struct enso__pre_tokenizer *ret,
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
        if (strcmp(types[i].name, name) == 0) {
            ret->type = &types[i];
            return types[i].apply == apply_sequence ? load_sequence(l, stage, path, ret, err)
                                                    : ENSO_OK;
        }
    return enso__load_unsupported(l, path, "pre-tokeniser", name, type_name, err);
}

enum enso_status enso__pre_tokenize(const struct enso__pre_tokenizer *p, uint32_t start,
                                    uint32_t end, struct enso__work *work, struct enso_error *err)
{
    work->words.n = 0;
    if (!add_word(&work->words, start, end))
        return enso_error_no_memory(err, "a text");
    return p->type != NULL ? p->type->apply(p, work, err) : ENSO_OK;
}
