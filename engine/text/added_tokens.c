/* SPDX-License-Identifier: Apache-2.0
 *
 * Added tokens ("[MASK]", "<|user|>"): they are cut out of the text before the model sees it, the
 * leftmost first and of those the longest. A trie over the bytes of their contents is walked from
 * every byte that begins one. Flags as in the reference: single_word refuses a match with a word
 * character at its side, lstrip and rstrip take the white space there into the token.
 */
#include "ensod_build.h"

#include <string.h>

#include "base/utf8.h"
#include "engine/text/text_internal.h"
#include "engine/text/unicode.h"

/* ---- Building ---- */

static void trie_insert(struct enso__trie *trie, const char *s, size_t size, int32_t token)
{
    uint32_t node = 0;

    for (size_t i = 0; i < size; i++) {
        uint32_t child = trie->nodes[node].child;

        while (child != 0 && trie->nodes[child].byte != (uint8_t)s[i])
            child = trie->nodes[child].sibling;
        if (child == 0) {
            child = trie->n_nodes++;
            trie->nodes[child] = (struct enso__trie_node){
                .sibling = trie->nodes[node].child, .token = -1, .byte = (uint8_t)s[i]};
            trie->nodes[node].child = child;
        }
        node = child;
    }
    if (trie->nodes[node].token < 0) /* of equal ones the first */
        trie->nodes[node].token = token;
    trie->first_bytes[(uint8_t)s[0]] = true;
}

/* Room for n_bytes of contents. */
static bool trie_init(struct enso__trie *trie, struct enso_arena *arena, size_t n_bytes)
{
    size_t n;

    memset(trie, 0, sizeof *trie);
    trie->only_first = -1;
    if (n_bytes >= UINT32_MAX || !enso_size_mul(n_bytes + 1, sizeof *trie->nodes, &n))
        return false;
    trie->nodes = enso_arena_alloc(arena, n);
    if (trie->nodes == NULL)
        return false;
    trie->nodes[0] = (struct enso__trie_node){.token = -1};
    trie->n_nodes = 1;
    return true;
}

static void trie_finish(struct enso__trie *trie)
{
    int n = 0, only = -1;

    for (int c = 0; c < 256; c++)
        if (trie->first_bytes[c]) {
            n++;
            only = c;
        }
    trie->only_first = n == 1 ? only : -1;
}

/* The contents of the normalised tokens, one after the other, as the normaliser leaves them. */
static enum enso_status build_normalized(struct enso__added_tokens *added,
                                         const struct enso__normalizer *normalizer,
                                         struct enso__work *work, struct enso_arena *arena,
                                         struct enso_error *err)
{
    size_t n_bytes = 0;
    enum enso_status st;

    for (int pass = 0; pass < 2; pass++) { /* measure, insert */
        if (pass == 1 && !trie_init(&added->normalized, arena, n_bytes))
            return enso_error_no_memory(err, "added tokens");
        for (uint32_t k = 0; k < 2 * added->n; k++) { /* special tokens come first */
            uint32_t i = k % added->n;
            const struct enso__added_token *token = &added->items[i];

            if (!token->normalized || token->special != (k < added->n))
                continue;
            st = enso__normalize(normalizer, token->content, token->size, 0, work, err);
            if (st != ENSO_OK)
                return st;
            if (pass == 0)
                n_bytes += work->text.size;
            else if (work->text.size > 0)
                trie_insert(&added->normalized, work->text.bytes, work->text.size, (int32_t)i);
        }
    }
    trie_finish(&added->normalized);
    return ENSO_OK;
}

enum enso_status enso__added_tokens_build(struct enso__added_tokens *added,
                                          const struct enso__normalizer *normalizer,
                                          struct enso_arena *arena, struct enso_error *err)
{
    struct enso__work work = {0};
    enum enso_status st;
    size_t n_bytes = 0;

    for (uint32_t i = 0; i < added->n; i++)
        if (!added->items[i].normalized)
            n_bytes += added->items[i].size;
    if (!trie_init(&added->plain, arena, n_bytes))
        return enso_error_no_memory(err, "added tokens");
    for (uint32_t i = 0; i < added->n; i++)
        if (!added->items[i].normalized)
            trie_insert(&added->plain, added->items[i].content, added->items[i].size, (int32_t)i);
    trie_finish(&added->plain);
    st = build_normalized(added, normalizer, &work, arena, err);
    enso__work_done(&work);
    return st;
}

/* ---- Looking up ---- */

const struct enso__added_token *enso__added_tokens_by_id(const struct enso__added_tokens *added,
                                                         int32_t id)
{
    uint32_t low = 0, high = added->n;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (added->items[middle].id == id)
            return &added->items[middle];
        if (added->items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct enso__added_token *
enso__added_tokens_by_content(const struct enso__added_tokens *added, const char *content,
                              size_t size)
{
    for (uint32_t i = 0; i < added->n; i++)
        if (added->items[i].size == size && memcmp(added->items[i].content, content, size) == 0)
            return &added->items[i];
    return NULL;
}

/* ---- Cutting ---- */

/* The longest content that stands at s; -1 when none does. */
static int32_t longest_match(const struct enso__trie *trie, const char *s, size_t size,
                             size_t *ret_size)
{
    int32_t found = -1;
    uint32_t node = 0;

    for (size_t i = 0; i < size; i++) {
        uint32_t child = trie->nodes[node].child;

        while (child != 0 && trie->nodes[child].byte != (uint8_t)s[i])
            child = trie->nodes[child].sibling;
        if (child == 0)
            break;
        node = child;
        if (trie->nodes[node].token >= 0) {
            found = trie->nodes[node].token;
            *ret_size = i + 1;
        }
    }
    return found;
}

/* The start of the character that ends before `end`. */
static size_t character_before(const char *bytes, size_t end, uint32_t *ret)
{
    size_t start = end - 1;

    while (start > 0 && ((unsigned char)bytes[start] & 0xC0) == 0x80)
        start--;
    *ret = 0xFFFD;
    (void)enso_utf8_decode(bytes + start, end - start, ret); /* valid by contract */
    return start;
}

static bool stands_alone(const char *bytes, size_t size, size_t start, size_t end)
{
    uint32_t c;

    if (start > 0) {
        (void)character_before(bytes, start, &c); /* only the character matters */
        if (enso__unicode_flags(c) & ENSO__UNICODE_WORD)
            return false;
    }
    if (end < size && enso_utf8_decode(bytes + end, size - end, &c) != 0 &&
        (enso__unicode_flags(c) & ENSO__UNICODE_WORD))
        return false;
    return true;
}

static size_t strip_left(const char *bytes, size_t start, size_t least)
{
    while (start > least) {
        uint32_t c;
        size_t before = character_before(bytes, start, &c);

        if (!enso__unicode_is_space(c))
            break;
        start = before;
    }
    return ENSO_MAX(start, least);
}

static size_t strip_right(const char *bytes, size_t end, size_t size)
{
    while (end < size) {
        uint32_t c;
        size_t n = enso_utf8_decode(bytes + end, size - end, &c);

        if (n == 0 || !enso__unicode_is_space(c))
            break;
        end += n;
    }
    return end;
}

/* The next byte at or after `at` that begins a content; size when there is none. */
static size_t find_first(const struct enso__trie *trie, const char *bytes, size_t at, size_t size)
{
    if (trie->only_first >= 0) {
        const char *found = memchr(bytes + at, trie->only_first, size - at);

        return found != NULL ? (size_t)(found - bytes) : size;
    }
    while (at < size && !trie->first_bytes[(uint8_t)bytes[at]])
        at++;
    return at;
}

bool enso__added_tokens_next(const struct enso__added_tokens *added, const struct enso__trie *trie,
                             const char *bytes, size_t size, struct enso__scan *scan,
                             struct enso__part *ret)
{
    if (scan->has_pending) {
        scan->has_pending = false;
        *ret = scan->pending;
        return true;
    }
    while (trie->n_nodes > 1 && scan->at < size) {
        size_t start = find_first(trie, bytes, scan->at, size), length = 0, end;
        const struct enso__added_token *token;
        int32_t found;

        if (start == size)
            break;
        found = longest_match(trie, bytes + start, size - start, &length);
        scan->at = start + (found >= 0 ? length : 1);
        if (found < 0)
            continue;
        token = &added->items[found];
        end = start + length;
        if (token->single_word && !stands_alone(bytes, size, start, end))
            continue;
        if (token->lstrip)
            start = strip_left(bytes, start, scan->from);
        if (token->rstrip)
            end = strip_right(bytes, end, size);
        *ret = (struct enso__part){{(uint32_t)start, (uint32_t)end}, token->id};
        if (scan->from < start) {
            scan->pending = *ret;
            scan->has_pending = true;
            *ret = (struct enso__part){{(uint32_t)scan->from, (uint32_t)start}, -1};
        }
        scan->from = end;
        return true;
    }
    scan->at = size;
    if (scan->from >= size)
        return false;
    *ret = (struct enso__part){{(uint32_t)scan->from, (uint32_t)size}, -1};
    scan->from = size;
    return true;
}
