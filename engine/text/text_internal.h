/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of engine/text: the stages of a tokenizer and what passes between them.
 *
 *     text ─ added tokens cut out ─ normaliser ─ added tokens cut out ─ pre-tokeniser ─ model
 *                                                        ids of all parts ─ post-processor ─
 * encoding
 *
 * Each kind of stage has a table of types by name in its own file; the JSON of tokenizer.json names
 * the type. A stage is parsed once into the tokenizer's arena and then only read. What an encoding
 * needs while it runs is in a struct enso__work that lives for that one call.
 */
#ifndef ENSO_ENGINE_TEXT_TEXT_INTERNAL_H
#define ENSO_ENGINE_TEXT_TEXT_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/text/tokenizer.h"
#include "engine/text/vocabulary.h"

/* ---- What passes between stages ---- */

/* Bytes [start, end) of something. */
struct enso__span {
    uint32_t start, end;
};

/* A character in the normaliser and the bytes of the original text that it came from. */
struct enso__char {
    uint32_t c;
    struct enso__span from;
};

struct enso__chars {
    struct enso__char *items;
    size_t n, capacity;
};

/* Normalised text: UTF-8 and, for each byte, where its character came from. */
struct enso__text {
    char *bytes;
    struct enso__span *from; /* per byte; NULL when offsets are not wanted */
    size_t size, capacity;
    bool want_offsets;
};

/* Words of a normalised text: byte ranges of it, in order. */
struct enso__words {
    struct enso__span *items;
    size_t n, capacity;
};

struct enso__token {
    int32_t id;
    struct enso__span at; /* of the normalised text while the model runs, then of the original */
};

struct enso__tokens {
    struct enso__token *items;
    size_t n, capacity;
};

/* Memory of one encoding, grown as needed and kept from part to part. */
struct enso__work {
    struct enso__chars chars, other_chars; /* a stage reads the first, writes the second, swaps */
    struct enso__text text;
    struct enso__words words, other_words;
    struct enso__tokens tokens;
    uint64_t *hashes; /* the model's: vocabulary->max_bytes + 1 */
};
void enso__work_done(struct enso__work *work);

/* Make room for more items in one of the arrays above; false when out of memory or over 2^30 items.
 * enso__grow is behind the macro. */
bool enso__grow(void **items, size_t *capacity, size_t needed, size_t item_bytes) ENSO_MUST_CHECK;
#define ENSO__RESERVE(array, more)                                                                 \
    ((array)->capacity - (array)->n >= (more) ||                                                   \
     enso__grow((void **)&(array)->items, &(array)->capacity, (array)->n + (more),                 \
                sizeof *(array)->items))
bool enso__text_reserve(struct enso__text *text, size_t more_bytes) ENSO_MUST_CHECK;

/* ---- Loading ---- */

/* Where a stage's JSON stands, for errors. */
struct enso__loader {
    const char *file; /* as errors name it */
    struct enso_arena *arena;
    const struct enso_tokenizer *tok; /* its vocabulary and added tokens are there before stages
                                       * that name tokens are read */
    unsigned depth;                   /* of stages inside Sequence stages */
};

#define ENSO__PATH_SIZE 120
#define ENSO__MAX_STAGE_DEPTH 8
#define ENSO__MAX_STAGES 64 /* in one Sequence */

/* ENSO_CORRUPT: "'FILE': PATH: ..." */
enum enso_status enso__load_error(const struct enso__loader *l, const char *path,
                                  struct enso_error *err, const char *format, ...)
    ENSO_PRINTF(4, 5);
/* A getter's failure (base/json.h) becomes ENSO_CORRUPT with the file's name in front. */
enum enso_status enso__load_failed(const struct enso__loader *l, enum enso_status st,
                                   struct enso_error *err);
/* stage["type"] must be there; borrowed from the tree. */
enum enso_status enso__load_type(const struct enso__loader *l, const json_t *stage,
                                 const char *path, const char **ret, struct enso_error *err);
/* ENSO_UNSUPPORTED: "'FILE': PATH: KIND type 'X' is not supported; ensod knows A, B, C". `names`
 * walks the table: the name of row i, NULL at the end. */
enum enso_status enso__load_unsupported(const struct enso__loader *l, const char *path,
                                        const char *kind, const char *type,
                                        const char *(*names)(size_t i), struct enso_error *err);
/* A copy of a string member in the arena. */
enum enso_status enso__load_string(const struct enso__loader *l, const json_t *stage,
                                   const char *path, const char *key, const char **ret,
                                   size_t *ret_size, struct enso_error *err);
/* A boolean member; absent keeps *ret. */
enum enso_status enso__load_bool(const struct enso__loader *l, const json_t *stage,
                                 const char *path, const char *key, bool *ret,
                                 struct enso_error *err);

/* ---- Normalisers (normalizer.c) ---- */

struct enso__normalizer {
    const struct enso__normalizer_type *type;
    struct enso__normalizer *stages; /* Sequence */
    size_t n_stages;
    bool clean_text, ideographs, strip_accents, lowercase; /* BertNormalizer */
    bool left, right;                                      /* Strip */
    const uint32_t *pattern, *content;                     /* Replace, Prepend: characters */
    size_t n_pattern, n_content;
};

/* One type of normaliser. `apply` reads work->chars and leaves its result there. */
struct enso__normalizer_type {
    const char *name;
    enum enso_status (*parse)(struct enso__loader *l, const json_t *stage, const char *path,
                              struct enso__normalizer *n, struct enso_error *err); /* or NULL */
    enum enso_status (*apply)(const struct enso__normalizer *n, struct enso__work *work,
                              struct enso_error *err);
};

/* json null: no normaliser, *ret has no type and changes nothing. */
enum enso_status enso__normalizer_load(struct enso__loader *l, const json_t *stage,
                                       const char *path, struct enso__normalizer *ret,
                                       struct enso_error *err);
/* BERT's, for folders without tokenizer.json. */
void enso__normalizer_bert(struct enso__normalizer *n, bool ideographs, bool strip_accents,
                           bool lowercase);
/* Normalise bytes (valid UTF-8), whose first is byte `origin` of the original, into work->text. */
enum enso_status enso__normalize(const struct enso__normalizer *n, const char *bytes, size_t size,
                                 uint32_t origin, struct enso__work *work, struct enso_error *err);

/* normalize_bert.c, normalize_unicode.c, normalize_string.c: rows of the table. */
extern const struct enso__normalizer_type enso__normalizer_bert_type, enso__normalizer_nfc_type,
    enso__normalizer_nfd_type, enso__normalizer_nfkc_type, enso__normalizer_nfkd_type,
    enso__normalizer_lowercase_type, enso__normalizer_strip_accents_type,
    enso__normalizer_strip_type, enso__normalizer_replace_type, enso__normalizer_prepend_type;

/* Steps shared by normalisers; each reads work->chars and leaves its result there. False: out of
 * memory. */
bool enso__chars_lower(struct enso__work *work);
bool enso__chars_decompose(struct enso__work *work, bool compatible, bool then_compose);
void enso__chars_remove(struct enso__work *work, unsigned flags); /* characters with a flag */
void enso__chars_swap(struct enso__work *work);

/* BERT's normaliser from bytes to work->text, ASCII on a path of its own. */
enum enso_status enso__normalize_bert(const struct enso__normalizer *n, const char *bytes,
                                      size_t size, uint32_t origin, struct enso__work *work,
                                      struct enso_error *err);
/* Decode bytes, append to work->chars; encode work->chars, append to work->text. */
bool enso__chars_from_bytes(struct enso__work *work, const char *bytes, size_t size,
                            uint32_t origin);
bool enso__chars_to_text(struct enso__work *work);

/* ---- Pre-tokenisers (pre_tokenizer.c) ---- */

struct enso__pre_tokenizer {
    const struct enso__pre_tokenizer_type *type;
    struct enso__pre_tokenizer *stages; /* Sequence */
    size_t n_stages;
};

/* One type of pre-tokeniser: splits each of work->words (ranges of work->text) and leaves the
 * result there. */
struct enso__pre_tokenizer_type {
    const char *name;
    enum enso_status (*apply)(const struct enso__pre_tokenizer *p, struct enso__work *work,
                              struct enso_error *err);
};

enum enso_status enso__pre_tokenizer_load(struct enso__loader *l, const json_t *stage,
                                          const char *path, struct enso__pre_tokenizer *ret,
                                          struct enso_error *err);
void enso__pre_tokenizer_bert(struct enso__pre_tokenizer *p);
/* Split bytes [start, end) of work->text into work->words. */
enum enso_status enso__pre_tokenize(const struct enso__pre_tokenizer *p, uint32_t start,
                                    uint32_t end, struct enso__work *work, struct enso_error *err);

/* ---- Models (token_model.c) ---- */

struct enso__token_model {
    const struct enso__token_model_type *type;
    const struct enso__vocabulary *vocabulary;
    int32_t unk;
    const char *prefix; /* of tokens inside a word: "##" */
    size_t prefix_size;
    uint64_t prefix_hash;
    uint32_t max_word_characters;
};

/* One type of model. `parse` comes after the vocabulary has been built; `tokenize` appends the
 * tokens of a word of work->text to work->tokens. */
struct enso__token_model_type {
    const char *name;
    enum enso_status (*parse)(struct enso__loader *l, const json_t *stage, const char *path,
                              struct enso__token_model *m, struct enso_error *err);
    enum enso_status (*tokenize)(const struct enso__token_model *m, struct enso__span word,
                                 struct enso__work *work, struct enso_error *err);
};

/* The type of tokenizer.json's model; old files leave it out, then it follows from the keys. */
enum enso_status enso__token_model_find(struct enso__loader *l, const json_t *stage,
                                        const char *path, const struct enso__token_model_type **ret,
                                        struct enso_error *err);
extern const struct enso__token_model_type enso__wordpiece_type; /* wordpiece.c */
/* WordPiece without JSON; unk must be in the vocabulary. */
void enso__wordpiece_init(struct enso__token_model *m, const struct enso__vocabulary *vocabulary,
                          int32_t unk, const char *prefix, size_t prefix_size,
                          uint32_t max_word_characters);

/* ---- Post-processors (post_processor.c) ---- */

enum enso__piece_kind { ENSO__PIECE_TOKEN, ENSO__PIECE_TEXT, ENSO__PIECE_PAIR };

struct enso__piece {
    enum enso__piece_kind kind;
    int32_t id; /* of a token */
    int32_t segment;
};

/* What an encoding is put together from. Holds the text once, and with a pair both once. */
struct enso__template {
    const struct enso__piece *pieces;
    uint32_t n;
    uint32_t n_tokens; /* pieces that are tokens */
};

struct enso__post_processor {
    struct enso__template single, pair;
};

enum enso_status enso__post_processor_load(struct enso__loader *l, const json_t *stage,
                                           const char *path, struct enso__post_processor *ret,
                                           struct enso_error *err);
/* [CLS] A [SEP], [CLS] A [SEP] B [SEP]; false when out of memory. */
bool enso__post_processor_bert(struct enso_arena *arena, int32_t cls, int32_t sep,
                               struct enso__post_processor *ret);

/* ---- Added tokens (added_tokens.c) ---- */

struct enso__added_token {
    const char *content;
    size_t size;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

/* A trie over the bytes of contents; nodes[0] is the root. */
struct enso__trie_node {
    uint32_t child, sibling; /* 0: none */
    int32_t token;           /* index of the added token that ends here, or -1 */
    uint8_t byte;
};

struct enso__trie {
    struct enso__trie_node *nodes;
    uint32_t n_nodes;
    bool first_bytes[256]; /* that a content begins with */
    int only_first;        /* the one of them when it is one, else -1 */
};

struct enso__added_tokens {
    struct enso__added_token *items; /* by rising id */
    uint32_t n;
    struct enso__trie plain;      /* matched in the text as it comes */
    struct enso__trie normalized; /* matched in normalised text, themselves normalised */
};

/* Part of a text between, or at, added tokens. */
struct enso__part {
    struct enso__span at;
    int32_t id; /* of the added token, or -1: text */
};

/* Where the search is; start from {0}. */
struct enso__scan {
    size_t at;   /* next byte to try */
    size_t from; /* end of the last part given */
    struct enso__part pending;
    bool has_pending;
};

/* Build both tries; the items are there. */
enum enso_status enso__added_tokens_build(struct enso__added_tokens *added,
                                          const struct enso__normalizer *normalizer,
                                          struct enso_arena *arena, struct enso_error *err);
/* The one with an id, or with a content; NULL when there is none. */
const struct enso__added_token *enso__added_tokens_by_id(const struct enso__added_tokens *added,
                                                         int32_t id);
const struct enso__added_token *
enso__added_tokens_by_content(const struct enso__added_tokens *added, const char *content,
                              size_t size);
/* The next part of bytes; false at the end. */
bool enso__added_tokens_next(const struct enso__added_tokens *added, const struct enso__trie *trie,
                             const char *bytes, size_t size, struct enso__scan *scan,
                             struct enso__part *ret);

/* ---- The tokenizer ---- */

struct enso_tokenizer {
    struct enso_arena arena; /* everything below; the struct itself is a block of its own */
    struct enso__vocabulary vocabulary;
    struct enso__added_tokens added;
    struct enso__normalizer normalizer;
    struct enso__pre_tokenizer pre_tokenizer;
    struct enso__token_model model;
    struct enso__post_processor post_processor;
    struct enso_special_ids special;
    uint32_t model_max_length, truncation_length;
};

#endif
