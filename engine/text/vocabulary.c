/* SPDX-License-Identifier: Apache-2.0
 *
 * Vocabulary: see vocabulary.h. The blob and the offsets are laid out by id first, then the hash
 * table is filled from the entries; an entry that meets an equal string finds the duplicate there.
 */
#include "ensod_build.h"

#include "engine/text/vocabulary.h"

#include <string.h>

/* FNV's low bits of short strings are poor for a table: spread them. */
static inline uint64_t spread(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 32;
}

const char *enso__vocabulary_token(const struct enso__vocabulary *v, uint32_t id, size_t *ret_size)
{
    if (id >= v->n)
        return NULL;
    if (ret_size != NULL)
        *ret_size = v->offsets[id + 1] - v->offsets[id] - 1;
    return v->blob + v->offsets[id];
}

static bool token_is(const struct enso__vocabulary *v, uint32_t id, const char *prefix,
                     size_t prefix_size, const char *s, size_t size)
{
    const char *token = v->blob + v->offsets[id];
    size_t token_size = v->offsets[id + 1] - v->offsets[id] - 1;

    return token_size == prefix_size + size && memcmp(token, prefix, prefix_size) == 0 &&
           memcmp(token + prefix_size, s, size) == 0;
}

int32_t enso__vocabulary_find_hashed(const struct enso__vocabulary *v, uint64_t hash,
                                     const char *prefix, size_t prefix_size, const char *s,
                                     size_t size)
{
    uint64_t h = spread(hash);
    uint32_t tag = (uint32_t)(h >> 32);

    for (uint32_t i = (uint32_t)h & v->mask;; i = (i + 1) & v->mask) {
        const struct enso__slot *slot = &v->slots[i];

        if (slot->id < 0)
            return -1;
        if (slot->tag == tag && token_is(v, (uint32_t)slot->id, prefix, prefix_size, s, size))
            return slot->id;
    }
}

static uint64_t hash_of(const char *s, size_t size)
{
    uint64_t h = enso__hash_begin();

    for (size_t i = 0; i < size; i++)
        h = enso__hash_add(h, s[i]);
    return h;
}

int32_t enso__vocabulary_find(const struct enso__vocabulary *v, const char *s, size_t size)
{
    return enso__vocabulary_find_hashed(v, hash_of(s, size), "", 0, s, size);
}

/* Sizes, and that every id is below the number of tokens. */
static enum enso_status measure(struct enso__vocabulary *v, const struct enso__entry *entries,
                                size_t n_entries, const char *file, size_t *ret_blob_bytes,
                                struct enso_error *err)
{
    size_t bytes = 0;

    if (n_entries > ENSO__MAX_TOKENS)
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "'%s': the vocabulary has %zu tokens, but at most %u are read", file,
                              n_entries, ENSO__MAX_TOKENS);
    for (size_t i = 0; i < n_entries; i++) {
        const struct enso__entry *e = &entries[i];

        if (e->size > ENSO__MAX_TOKEN_BYTES)
            return enso_error_set(err, ENSO_TOO_LARGE,
                                  "'%s': token %u has %zu bytes, but at most %u are read", file,
                                  e->id, e->size, ENSO__MAX_TOKEN_BYTES);
        if (e->id >= n_entries)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "'%s': the token '%.*s' has the id %u, but a vocabulary of %zu "
                                  "tokens must have the ids 0 to %zu without a gap",
                                  file, (int)ENSO_MIN(e->size, (size_t)60), e->token, e->id,
                                  n_entries, n_entries - 1);
        bytes += e->size + 1; /* at most 4 Mi × 64 KiB: fits */
        v->max_bytes = ENSO_MAX(v->max_bytes, (uint32_t)e->size);
    }
    if (bytes > UINT32_MAX)
        return enso_error_set(err, ENSO_TOO_LARGE, "'%s': the vocabulary's strings are over 4 GiB",
                              file);
    v->n = (uint32_t)n_entries;
    *ret_blob_bytes = bytes;
    return ENSO_OK;
}

/* Offsets and blob. by_id[id] is the index of the entry + 1, 0 where there is none yet. All ids are
 * below n, so when none comes twice none is missing. */
static enum enso_status lay_out(struct enso__vocabulary *v, const struct enso__entry *entries,
                                uint32_t *by_id, const char *file, struct enso_error *err)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < v->n; i++) {
        const struct enso__entry *e = &entries[i];

        if (by_id[e->id] != 0) {
            const struct enso__entry *other = &entries[by_id[e->id] - 1];

            return enso_error_set(err, ENSO_CORRUPT,
                                  "'%s': the tokens '%.*s' and '%.*s' have the same id %u", file,
                                  (int)ENSO_MIN(other->size, (size_t)60), other->token,
                                  (int)ENSO_MIN(e->size, (size_t)60), e->token, e->id);
        }
        by_id[e->id] = i + 1;
    }
    for (uint32_t id = 0; id < v->n; id++) {
        const struct enso__entry *e = &entries[by_id[id] - 1];

        v->offsets[id] = at;
        memcpy(v->blob + at, e->token, e->size);
        v->blob[at + e->size] = '\0';
        at += (uint32_t)e->size + 1;
    }
    v->offsets[v->n] = at;
    return ENSO_OK;
}

static enum enso_status fill_table(struct enso__vocabulary *v, const struct enso__entry *entries,
                                   size_t n_entries, bool last_wins, const char *file,
                                   struct enso_error *err)
{
    for (size_t i = 0; i < n_entries; i++) {
        const struct enso__entry *e = &entries[i];
        uint64_t h = spread(hash_of(e->token, e->size));
        uint32_t at = (uint32_t)h & v->mask, tag = (uint32_t)(h >> 32);

        while (v->slots[at].id >= 0 &&
               !(v->slots[at].tag == tag &&
                 token_is(v, (uint32_t)v->slots[at].id, "", 0, e->token, e->size)))
            at = (at + 1) & v->mask;
        if (v->slots[at].id >= 0 && !last_wins)
            return enso_error_set(
                err, ENSO_CORRUPT, "'%s': the token '%.*s' stands twice, with the ids %d and %u",
                file, (int)ENSO_MIN(e->size, (size_t)60), e->token, (int)v->slots[at].id, e->id);
        v->slots[at] = (struct enso__slot){.tag = tag, .id = (int32_t)e->id};
    }
    return ENSO_OK;
}

enum enso_status enso__vocabulary_build(struct enso__vocabulary *v, struct enso_arena *arena,
                                        const struct enso__entry *entries, size_t n_entries,
                                        bool last_wins, const char *file, struct enso_error *err)
{
    size_t blob_bytes = 0, n_slots = 16;
    enum enso_status st;
    uint32_t *by_id;

    memset(v, 0, sizeof *v);
    st = measure(v, entries, n_entries, file, &blob_bytes, err);
    if (st != ENSO_OK)
        return st;
    while (n_slots < 2 * n_entries)
        n_slots *= 2;
    v->mask = (uint32_t)(n_slots - 1);
    v->blob = enso_arena_alloc(arena, blob_bytes);
    v->offsets = enso_arena_alloc(arena, ((size_t)v->n + 1) * sizeof *v->offsets);
    v->slots = enso_arena_alloc(arena, n_slots * sizeof *v->slots);
    by_id = enso_alloc_zero((size_t)v->n + 1, sizeof *by_id);
    if (v->blob == NULL || v->offsets == NULL || v->slots == NULL || by_id == NULL) {
        enso_free(by_id);
        return enso_error_no_memory(err, "a vocabulary");
    }
    memset(v->slots, 0xFF, n_slots * sizeof *v->slots); /* ids of -1 */
    st = lay_out(v, entries, by_id, file, err);
    enso_free(by_id);
    if (st != ENSO_OK)
        return st;
    return fill_table(v, entries, n_entries, last_wins, file, err);
}
