/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoding: a text through all stages to tokens, then truncation, then the post-processor's
 * template into one block. See tokenizer.h for the contract; loading is in tokenizer_load.c.
 */
#include "ensod_build.h"

#include "engine/text/tokenizer.h"

#include <string.h>

#include "base/utf8.h"
#include "engine/text/text_internal.h"

void enso_tokenizer_destroy(struct enso_tokenizer *tok)
{
    if (tok == NULL)
        return;
    enso_arena_done(&tok->arena);
    enso_free(tok);
}

/* ---- Questions ---- */

const char *enso_tokenizer_piece(const struct enso_tokenizer *tok, int32_t id, size_t *ret_size)
{
    const struct enso__added_token *added;

    if (id < 0)
        return NULL;
    if ((uint32_t)id < tok->vocabulary.n)
        return enso__vocabulary_token(&tok->vocabulary, (uint32_t)id, ret_size);
    added = enso__added_tokens_by_id(&tok->added, id);
    if (added == NULL)
        return NULL;
    if (ret_size != NULL)
        *ret_size = added->size;
    return added->content;
}

int32_t enso_tokenizer_find(const struct enso_tokenizer *tok, const char *piece, size_t size)
{
    const struct enso__added_token *added = enso__added_tokens_by_content(&tok->added, piece, size);

    return added != NULL ? added->id : enso__vocabulary_find(&tok->vocabulary, piece, size);
}

uint32_t enso_tokenizer_size(const struct enso_tokenizer *tok)
{
    uint32_t n = tok->vocabulary.n;

    if (tok->added.n > 0)
        n = ENSO_MAX(n, (uint32_t)tok->added.items[tok->added.n - 1].id + 1);
    return n;
}

struct enso_special_ids enso_tokenizer_special_ids(const struct enso_tokenizer *tok)
{
    return tok->special;
}

uint32_t enso_tokenizer_n_added(const struct enso_tokenizer *tok, bool pair)
{
    return pair ? tok->post_processor.pair.n_tokens : tok->post_processor.single.n_tokens;
}

uint32_t enso_tokenizer_model_max_length(const struct enso_tokenizer *tok)
{
    return tok->model_max_length;
}

uint32_t enso_tokenizer_truncation_length(const struct enso_tokenizer *tok)
{
    return tok->truncation_length;
}

size_t enso_tokenizer_bytes(const struct enso_tokenizer *tok)
{
    return sizeof *tok + tok->arena.total_bytes;
}

/* ---- Text to tokens ---- */

static enum enso_status add_token(struct enso__work *work, int32_t id, struct enso__span at,
                                  struct enso_error *err)
{
    if (!ENSO__RESERVE(&work->tokens, 1))
        return enso_error_no_memory(err, "a text");
    work->tokens.items[work->tokens.n++] = (struct enso__token){id, at};
    return ENSO_OK;
}

/* Where bytes of the normalised text came from; not for an empty span. */
static struct enso__span place_of(const struct enso__text *text, struct enso__span at)
{
    if (!text->want_offsets)
        return (struct enso__span){0, 0};
    return (struct enso__span){text->from[at.start].start, text->from[at.end - 1].end};
}

/* The part of work->text between added tokens: words, then tokens. */
static enum enso_status encode_words(const struct enso_tokenizer *tok, struct enso__span part,
                                     struct enso__work *work, struct enso_error *err)
{
    size_t first = work->tokens.n;
    enum enso_status st = enso__pre_tokenize(&tok->pre_tokenizer, part.start, part.end, work, err);

    for (size_t i = 0; i < work->words.n && st == ENSO_OK; i++)
        st = tok->model.type->tokenize(&tok->model, work->words.items[i], work, err);
    for (size_t i = first; i < work->tokens.n && st == ENSO_OK; i++)
        work->tokens.items[i].at = place_of(&work->text, work->tokens.items[i].at);
    return st;
}

/* The part of the text between added tokens that are matched before normalising. */
static enum enso_status encode_part(const struct enso_tokenizer *tok, const char *bytes,
                                    struct enso__span at, struct enso__work *work,
                                    struct enso_error *err)
{
    struct enso__scan scan = {0};
    struct enso__part part;
    enum enso_status st =
        enso__normalize(&tok->normalizer, bytes + at.start, at.end - at.start, at.start, work, err);

    while (st == ENSO_OK &&
           enso__added_tokens_next(&tok->added, &tok->added.normalized, work->text.bytes,
                                   work->text.size, &scan, &part))
        st = part.id >= 0 ? add_token(work, part.id, place_of(&work->text, part.at), err)
                          : encode_words(tok, part.at, work, err);
    return st;
}

static enum enso_status encode_text(const struct enso_tokenizer *tok, const char *bytes,
                                    size_t size, struct enso__work *work, struct enso_error *err)
{
    struct enso__scan scan = {0};
    struct enso__part part;
    enum enso_status st = ENSO_OK;
    size_t bad;

    if (size > ENSO_TOKENIZER_MAX_TEXT)
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "a text has %zu bytes, but at most %zu are "
                              "tokenised; send it in parts",
                              size, ENSO_TOKENIZER_MAX_TEXT);
    if (!enso_utf8_valid(bytes, size, &bad))
        return enso_error_set(err, ENSO_INVALID,
                              "a text must be UTF-8, but byte %zu is not part of a valid "
                              "character; re-encode it as UTF-8",
                              bad);
    while (st == ENSO_OK &&
           enso__added_tokens_next(&tok->added, &tok->added.plain, bytes, size, &scan, &part))
        st = part.id >= 0 ? add_token(work, part.id, part.at, err)
                          : encode_part(tok, bytes, part.at, work, err);
    return st;
}

/* ---- Tokens to an encoding ---- */

/* The tokens of a text or a pair that stay: [first, first + n) of work->tokens. */
struct kept {
    size_t first, n;
};

static void cut(struct kept *kept, size_t n, enum enso_truncate truncate)
{
    if (n >= kept->n)
        return;
    if (truncate == ENSO_TRUNCATE_LEFT)
        kept->first += kept->n - n;
    kept->n = n;
}

/* Longest first, as the reference does: the longer of two loses tokens until they are even. */
static void cut_pair(struct kept *a, struct kept *b, size_t room, enum enso_truncate truncate)
{
    struct kept *shorter = a->n <= b->n ? a : b, *longer = shorter == a ? b : a;
    size_t n_short = shorter->n, n_long;

    n_long = n_short > room ? n_short : ENSO_MAX(n_short, room - n_short);
    if (n_short + n_long > room) {
        n_short = room / 2;
        n_long = n_short + room % 2;
    }
    cut(shorter, n_short, truncate);
    cut(longer, n_long, truncate);
}

static enum enso_status check_length(struct kept *text, struct kept *pair, size_t n_added,
                                     uint32_t most, enum enso_truncate truncate,
                                     struct enso_error *err)
{
    size_t n = text->n + pair->n + n_added;

    if (n > INT32_MAX) {
        enso_error_code(err, "too_long");
        return enso_error_set(err, ENSO_TOO_LARGE, "input has %zu tokens; send it in parts", n);
    }
    if (most == 0 || n <= most)
        return ENSO_OK;
    if (truncate == ENSO_TRUNCATE_NONE) {
        enso_error_code(err, "too_long");
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "input has %zu tokens, but the model takes at most %u; shorten it or "
                              "set \"truncate\" to true",
                              n, most);
    }
    if (n_added > most)
        return enso_error_set(err, ENSO_INVALID,
                              "a maximum length of %u has no room for the %zu tokens that are "
                              "added to each input; raise it",
                              most, n_added);
    if (pair->n > 0)
        cut_pair(text, pair, most - n_added, truncate);
    else
        cut(text, most - n_added, truncate);
    return ENSO_OK;
}

/* One block for the struct and its arrays, widest elements first. */
static struct enso_encoding *new_encoding(size_t n, bool want_offsets)
{
    size_t token_bytes =
               2 * sizeof(int32_t) + 2 + (want_offsets ? sizeof(struct enso_token_offset) : 0),
           bytes;
    struct enso_encoding *e;
    char *at;

    if (!enso_size_mul(n, token_bytes, &bytes) || !enso_size_add(bytes, sizeof *e, &bytes))
        return NULL;
    e = enso_alloc(bytes);
    if (e == NULL)
        return NULL;
    at = (char *)(e + 1);
    *e = (struct enso_encoding){.n = (uint32_t)n};
    if (want_offsets) {
        e->offsets = (struct enso_token_offset *)(void *)at;
        at += n * sizeof *e->offsets;
    }
    e->ids = (int32_t *)(void *)at;
    e->segments = e->ids + n;
    e->special = (uint8_t *)(e->segments + n);
    e->sequence = e->special + n;
    return e;
}

static void put(struct enso_encoding *e, uint32_t i, const struct enso__token *token,
                int32_t segment, bool special, bool pair)
{
    e->ids[i] = token->id;
    e->segments[i] = segment;
    e->special[i] = special;
    e->sequence[i] = pair;
    if (e->offsets != NULL)
        e->offsets[i] = (struct enso_token_offset){token->at.start, token->at.end};
}

static void fill(struct enso_encoding *e, const struct enso__template *template,
                 bool add_special_tokens, const struct enso__tokens *tokens,
                 const struct kept *text, const struct kept *pair)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < template->n; i++) {
        const struct enso__piece *piece = &template->pieces[i];
        bool is_pair = piece->kind == ENSO__PIECE_PAIR;
        const struct kept *kept = is_pair ? pair : text;

        if (piece->kind == ENSO__PIECE_TOKEN) {
            struct enso__token token = {.id = piece->id};

            if (add_special_tokens)
                put(e, n++, &token, piece->segment, true, false);
            continue;
        }
        for (size_t k = 0; k < kept->n; k++)
            put(e, n++, &tokens->items[kept->first + k], piece->segment, false, is_pair);
    }
}

enum enso_status enso_tokenizer_encode(const struct enso_tokenizer *tok, const char *text,
                                       size_t size, const char *pair, size_t pair_size,
                                       const struct enso_encode_options *options,
                                       struct enso_encoding **ret, struct enso_error *err)
{
    const struct enso__template *template =
        pair != NULL ? &tok->post_processor.pair : &tok->post_processor.single;
    uint32_t most = options->max_length != 0 ? options->max_length : tok->truncation_length;
    size_t n_added = options->add_special_tokens ? template->n_tokens : 0;
    struct enso__work work = {.text.want_offsets = options->want_offsets};
    struct kept a = {0, 0}, b = {0, 0};
    struct enso_encoding *e;
    size_t n_untruncated;
    enum enso_status st;

    st = encode_text(tok, text, size, &work, err);
    a.n = b.first = work.tokens.n;
    if (st == ENSO_OK && pair != NULL)
        st = encode_text(tok, pair, pair_size, &work, err);
    if (st != ENSO_OK)
        goto out;
    b.n = work.tokens.n - a.n;
    n_untruncated = a.n + b.n + n_added;
    st = check_length(&a, &b, n_added, most, options->truncate, err);
    if (st != ENSO_OK)
        goto out;
    e = new_encoding(a.n + b.n + n_added, options->want_offsets);
    if (e == NULL) {
        st = enso_error_no_memory(err, "an encoding");
        goto out;
    }
    fill(e, template, options->add_special_tokens, &work.tokens, &a, &b);
    e->n_untruncated = n_untruncated;
    e->truncated = e->n < n_untruncated;
    *ret = e;
out:
    enso__work_done(&work);
    return st;
}

void enso_encoding_destroy(struct enso_encoding *encoding)
{
    enso_free(encoding);
}

/* ---- Bytes to characters ---- */

/* A place in a text in both measures. Tokens come nearly in order, so it walks to the next offset
 * from the last, backwards where it must. */
struct cursor {
    const char *text;
    size_t size, byte, character;
};

static bool begins_character(const char *text, size_t at)
{
    return ((unsigned char)text[at] & 0xC0) != 0x80;
}

static uint32_t characters_before(struct cursor *c, size_t byte)
{
    byte = ENSO_MIN(byte, c->size);
    while (c->byte < byte)
        c->character += begins_character(c->text, c->byte++);
    while (c->byte > byte)
        c->character -= begins_character(c->text, --c->byte);
    return (uint32_t)c->character;
}

void enso_encoding_to_characters(struct enso_encoding *encoding, const char *text, size_t size,
                                 const char *pair, size_t pair_size)
{
    struct cursor cursors[2] = {{.text = text, .size = size},
                                {.text = pair, .size = pair != NULL ? pair_size : 0}};

    for (uint32_t i = 0; encoding->offsets != NULL && i < encoding->n; i++) {
        struct enso_token_offset *offset = &encoding->offsets[i];
        struct cursor *c = &cursors[encoding->sequence[i] != 0];

        if (encoding->special[i])
            continue;
        offset->start = characters_before(c, offset->start);
        offset->end = characters_before(c, offset->end);
    }
}
