/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece: a word is cut into the longest piece that the vocabulary has, then the longest that
 * goes on ("##...") and so on; where one place has no piece the whole word is the unknown token.
 * Hashes of all prefixes from a place are made in one pass and tried from the longest down, so that
 * no string is copied or hashed twice.
 * Source: Wu et al., "Google's Neural Machine Translation System", 2016; details as in BERT.
 */
#include "ensod_build.h"

#include <string.h>

#include "engine/text/text_internal.h"

void enso__wordpiece_init(struct enso__token_model *m, const struct enso__vocabulary *vocabulary,
                          int32_t unk, const char *prefix, size_t prefix_size,
                          uint32_t max_word_characters)
{
    *m = (struct enso__token_model){
        .type = &enso__wordpiece_type,
        .vocabulary = vocabulary,
        .unk = unk,
        .prefix = prefix,
        .prefix_size = prefix_size,
        .prefix_hash = enso__hash_begin(),
        .max_word_characters = max_word_characters,
    };
    for (size_t i = 0; i < prefix_size; i++)
        m->prefix_hash = enso__hash_add(m->prefix_hash, prefix[i]);
}

static enum enso_status parse_wordpiece(struct enso__loader *l, const json_t *stage,
                                        const char *path, struct enso__token_model *m,
                                        struct enso_error *err)
{
    const struct enso__vocabulary *vocabulary = &l->tok->vocabulary;
    const char *unk = NULL, *prefix = "##";
    size_t unk_size = 0, prefix_size = 2;
    int64_t most = 100;
    int32_t unk_id;
    enum enso_status st;

    if (json_object_get(stage, "continuing_subword_prefix") != NULL) {
        st = enso__load_string(l, stage, path, "continuing_subword_prefix", &prefix, &prefix_size,
                               err);
        if (st != ENSO_OK)
            return st;
    }
    if (prefix_size > ENSO__MAX_TOKEN_BYTES)
        return enso__load_error(l, path, err, "'continuing_subword_prefix' is too long");
    st = enso_json_get_string(stage, path, "unk_token", ENSO_JSON_REQUIRED, &unk, &unk_size, err);
    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    st = enso_json_get_int(stage, path, "max_input_chars_per_word", ENSO_JSON_OPTIONAL, 0,
                           UINT32_MAX, &most, err);
    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    unk_id = enso__vocabulary_find(vocabulary, unk, unk_size);
    if (unk_id < 0)
        return enso__load_error(l, path, err, "the unknown token '%.60s' is not in the vocabulary",
                                unk);
    enso__wordpiece_init(m, vocabulary, unk_id, prefix, prefix_size, (uint32_t)most);
    return ENSO_OK;
}

/* Whether a word has more characters than the model takes. */
static bool is_too_long(const struct enso__token_model *m, const char *s, size_t size)
{
    size_t n = 0;

    if (size <= m->max_word_characters)
        return false;
    for (size_t i = 0; i < size; i++)
        n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n > m->max_word_characters;
}

/* The longest piece at the beginning of s, in *ret_size bytes; -1 when there is none. */
static int32_t longest_piece(const struct enso__token_model *m, const char *s, size_t size,
                             bool inside, uint64_t *hashes, size_t *ret_size)
{
    const char *prefix = inside ? m->prefix : "";
    size_t prefix_size = inside ? m->prefix_size : 0, most, n;
    uint64_t h = inside ? m->prefix_hash : enso__hash_begin();

    if (prefix_size >= m->vocabulary->max_bytes)
        return -1;
    most = ENSO_MIN(size, m->vocabulary->max_bytes - prefix_size);
    for (n = 0; n < most; n++)
        hashes[n] = h = enso__hash_add(h, s[n]);
    for (; n > 0; n--) {
        int32_t id;

        if (n < size && ((unsigned char)s[n] & 0xC0) == 0x80)
            continue; /* not between characters */
        id = enso__vocabulary_find_hashed(m->vocabulary, hashes[n - 1], prefix, prefix_size, s, n);
        if (id >= 0) {
            *ret_size = n;
            return id;
        }
    }
    return -1;
}

static bool add_token(struct enso__tokens *tokens, int32_t id, size_t start, size_t end)
{
    if (!ENSO__RESERVE(tokens, 1))
        return false;
    tokens->items[tokens->n++] = (struct enso__token){id, {(uint32_t)start, (uint32_t)end}};
    return true;
}

static enum enso_status tokenize_wordpiece(const struct enso__token_model *m,
                                           struct enso__span word, struct enso__work *work,
                                           struct enso_error *err)
{
    size_t at = word.start, n_before = work->tokens.n;
    bool bad = is_too_long(m, work->text.bytes + at, word.end - at);

    if (work->hashes == NULL) {
        work->hashes = enso_alloc_array((size_t)m->vocabulary->max_bytes + 1, sizeof *work->hashes);
        if (work->hashes == NULL)
            return enso_error_no_memory(err, "a text");
    }
    while (at < word.end && !bad) {
        size_t size = 0;
        int32_t id = longest_piece(m, work->text.bytes + at, word.end - at, at > word.start,
                                   work->hashes, &size);

        bad = id < 0;
        if (!bad && !add_token(&work->tokens, id, at, at + size))
            return enso_error_no_memory(err, "a text");
        at += size;
    }
    if (!bad)
        return ENSO_OK;
    work->tokens.n = n_before;
    if (!add_token(&work->tokens, m->unk, word.start, word.end))
        return enso_error_no_memory(err, "a text");
    return ENSO_OK;
}

const struct enso__token_model_type enso__wordpiece_type = {"WordPiece", parse_wordpiece,
                                                            tokenize_wordpiece};
