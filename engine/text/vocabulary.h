/* SPDX-License-Identifier: Apache-2.0
 *
 * A vocabulary: token strings to ids and back. One blob of NUL-terminated strings, an array of
 * offsets by id, and a hash table with open addressing (at most half full, 8 bytes a slot). Built
 * once, then read from any thread. Load it is built for: tens of thousands of tokens of about 7
 * bytes; the hot operation is a look-up of a string whose hash the caller has, because WordPiece
 * tries every prefix of a word and hashes grow a byte at a time:
 *
 *     uint64_t h = enso__hash_begin();
 *     h = enso__hash_add(h, byte); ...
 *     id = enso__vocabulary_find_hashed(v, h, prefix, prefix_size, s, size);
 */
#ifndef ENSO_ENGINE_TEXT_VOCABULARY_H
#define ENSO_ENGINE_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

#define ENSO__MAX_TOKENS (4u << 20)
#define ENSO__MAX_TOKEN_BYTES 65536u

/* A token on its way into the vocabulary. */
struct enso__entry {
    const char *token; /* borrowed */
    size_t size;
    uint32_t id;
};

struct enso__vocabulary {
    char *blob;        /* strings, each followed by a NUL */
    uint32_t *offsets; /* [n + 1] of the string of each id */
    uint32_t n;        /* tokens; ids are 0 to n - 1 */
    struct enso__slot {
        uint32_t tag; /* upper bits of the hash */
        int32_t id;   /* -1: free */
    } * slots;
    uint32_t mask;      /* slots - 1 */
    uint32_t max_bytes; /* of the longest token */
};

/* FNV-1a, 64 bits. */
static inline uint64_t enso__hash_begin(void)
{
    return UINT64_C(0xCBF29CE484222325);
}

static inline uint64_t enso__hash_add(uint64_t h, char byte)
{
    return (h ^ (unsigned char)byte) * UINT64_C(0x100000001B3);
}

/* Build from entries, in any order. `last_wins`: of equal tokens the later one is found, both keep
 * their ids (vocab.txt); else they are an error. ENSO_CORRUPT: an id or a token twice, an id beyond
 * the number of tokens (there is a gap then); sentences begin with 'file'. ENSO_TOO_LARGE. */
enum enso_status enso__vocabulary_build(struct enso__vocabulary *v, struct enso_arena *arena,
                                        const struct enso__entry *entries, size_t n_entries,
                                        bool last_wins, const char *file, struct enso_error *err);

/* The id of prefix + s, or -1; `hash` is of both together. */
int32_t enso__vocabulary_find_hashed(const struct enso__vocabulary *v, uint64_t hash,
                                     const char *prefix, size_t prefix_size, const char *s,
                                     size_t size);
/* The id of s, or -1. */
int32_t enso__vocabulary_find(const struct enso__vocabulary *v, const char *s, size_t size);

/* The string of an id, NUL-terminated; NULL when id >= n. */
const char *enso__vocabulary_token(const struct enso__vocabulary *v, uint32_t id, size_t *ret_size);

#endif
