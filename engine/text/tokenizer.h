/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizers: text to the token ids that a model was trained on, and back to places in the text.
 *
 *     struct enso_tokenizer *tok;
 *     struct enso_encode_options options = {.add_special_tokens = true, .max_length = 512,
 *                                           .truncate = ENSO_TRUNCATE_RIGHT, .want_offsets = true};
 *     struct enso_encoding *e;
 *
 *     st = enso_tokenizer_load("models/bert", &tok, err);
 *     st = enso_tokenizer_encode(tok, text, size, NULL, 0, &options, &e, err);
 *     for (uint32_t i = 0; i < e->n; i++)
 *         printf("%s %d..%d\n", enso_tokenizer_piece(tok, e->ids[i]), ...e->offsets[i]);
 *     enso_encoding_destroy(e);
 *     enso_tokenizer_destroy(tok);
 *
 * A tokenizer is driven by the folder's tokenizer.json: normaliser, pre-tokeniser, model,
 * post-processor, each one of the types in the table of its file; a type that is not there is
 * ENSO_UNSUPPORTED at load. Without tokenizer.json, vocab.txt is a WordPiece vocabulary and
 * tokenizer_config.json says the rest, as for BERT. Ids and offsets are those of the reference,
 * the Hugging Face library tokenizers 0.23 (tests/parity/tokenizers_parity.py).
 *
 * Threads: immutable after load, all functions that take it const are safe from any thread.
 * Memory: a BERT vocabulary (30,522 tokens) takes 1.6 MB.
 * Format: tokenizer.json version 1.0.
 */
#ifndef ENSO_ENGINE_TEXT_TOKENIZER_H
#define ENSO_ENGINE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_tokenizer;

#define ENSO_TOKENIZER_MAX_TEXT ((size_t)256 << 20) /* bytes of one input */

/* Ids of the tokens with a role; -1 where the tokenizer has none. */
struct enso_special_ids {
    int32_t cls, sep, pad, unk, mask;
};

enum enso_truncate {
    ENSO_TRUNCATE_NONE, /* too long is an error, code "too_long" */
    ENSO_TRUNCATE_RIGHT,
    ENSO_TRUNCATE_LEFT,
};

struct enso_encode_options {
    bool add_special_tokens;     /* what the post-processor adds ([CLS] ... [SEP]) */
    bool want_offsets;           /* fill encoding->offsets; costs a little */
    uint32_t max_length;         /* most tokens, added ones included; 0: see
                                  * enso_tokenizer_truncation_length */
    enum enso_truncate truncate; /* of a pair the longer text loses tokens first */
};

struct enso_token_offset {
    uint32_t start, end; /* bytes of the token's own text; both 0 for added tokens */
};

/* One encoded input, a single block of memory; the caller's. */
struct enso_encoding {
    uint32_t n;                        /* tokens */
    int32_t *ids;                      /* [n], each in [0, vocabulary size) */
    int32_t *segments;                 /* [n] type ids */
    struct enso_token_offset *offsets; /* [n] byte offsets, or NULL when not asked for */
    uint8_t *special;                  /* [n] 1: added by the post-processor, not from the text */
    uint8_t *sequence;                 /* [n] 0: from the text, 1: from the pair; 0 where special */
    bool truncated;                    /* tokens were left out */
    size_t n_untruncated;              /* tokens that there would be without truncation */
};

/* Load from a model folder: tokenizer.json, or vocab.txt with tokenizer_config.json; in both cases
 * also special_tokens_map.json and tokenizer_config.json where they are. Files are hostile until
 * parsed: sizes, ids, references between parts are checked here, so that encoding cannot meet a
 * broken tokenizer. ENSO_NOT_FOUND (the folder has no tokenizer), ENSO_UNSUPPORTED (a type of
 * stage, named with file and JSON path), ENSO_CORRUPT, ENSO_TOO_LARGE, ENSO_IO, ENSO_NO_MEMORY. */
enum enso_status enso_tokenizer_load(const char *dir, struct enso_tokenizer **ret,
                                     struct enso_error *err) ENSO_MUST_CHECK;
void enso_tokenizer_destroy(struct enso_tokenizer *tok); /* NULL is fine */

/* The same from the bytes of one tokenizer.json; `name` stands for the file in errors. */
enum enso_status enso_tokenizer_load_json(const char *data, size_t size, const char *name,
                                          struct enso_tokenizer **ret,
                                          struct enso_error *err) ENSO_MUST_CHECK;

/* Encode a text, or with pair != NULL two texts. Text is UTF-8 and may hold NUL; where it is not
 * valid: ENSO_INVALID (what comes over the wire has been checked before). ENSO_TOO_LARGE with code
 * "too_long" when over max_length without truncation; ENSO_INVALID when max_length has no room for
 * the added tokens. An empty text is fine. Cost: linear in the size, about 30 ns a token. */
enum enso_status enso_tokenizer_encode(const struct enso_tokenizer *tok, const char *text,
                                       size_t size, const char *pair, size_t pair_size,
                                       const struct enso_encode_options *options,
                                       struct enso_encoding **ret,
                                       struct enso_error *err) ENSO_MUST_CHECK;
void enso_encoding_destroy(struct enso_encoding *encoding); /* NULL is fine */

/* Turn the byte offsets, in place, into offsets in Unicode characters (code points) of the same
 * texts that were encoded. Call once at most; nothing without offsets. */
void enso_encoding_to_characters(struct enso_encoding *encoding, const char *text, size_t size,
                                 const char *pair, size_t pair_size);

/* The token with this id as the vocabulary spells it ("##ing"); NULL when there is none. Borrowed
 * from the tokenizer. *ret_size may be NULL; the string is NUL-terminated either way. */
const char *enso_tokenizer_piece(const struct enso_tokenizer *tok, int32_t id, size_t *ret_size);

/* The id of a token spelled exactly so, added tokens included; -1 when there is none. */
int32_t enso_tokenizer_find(const struct enso_tokenizer *tok, const char *piece, size_t size);

/* One more than the highest id: a model's embedding must have at least as many rows. */
uint32_t enso_tokenizer_size(const struct enso_tokenizer *tok);

struct enso_special_ids enso_tokenizer_special_ids(const struct enso_tokenizer *tok);

/* How many tokens the post-processor adds to a text or to a pair. */
uint32_t enso_tokenizer_n_added(const struct enso_tokenizer *tok, bool pair);

/* model_max_length of tokenizer_config.json; 0 when it is not said. Advice for the model: encoding
 * does not look at it. */
uint32_t enso_tokenizer_model_max_length(const struct enso_tokenizer *tok);

/* max_length of tokenizer.json's truncation section; 0 when there is none. It holds for encodings
 * whose options say max_length 0. (A sentence-transformers folder may say another length in
 * sentence_bert_config.json, which goes before this one.) */
uint32_t enso_tokenizer_truncation_length(const struct enso_tokenizer *tok);

/* Memory held, in bytes. */
size_t enso_tokenizer_bytes(const struct enso_tokenizer *tok);

#endif
