/* SPDX-License-Identifier: Apache-2.0
 *
 * Strip, Replace and Prepend: normalisers that look at white space or fixed strings. Replace takes
 * string patterns only; a regular expression is refused at load.
 */
#include "ensod_build.h"

#include <string.h>

#include "base/utf8.h"
#include "engine/text/text_internal.h"
#include "engine/text/unicode.h"

#define MAX_STRING 4096 /* bytes of a pattern or its replacement */

static enum enso_status parse_strip(struct enso__loader *l, const json_t *stage, const char *path,
                                    struct enso__normalizer *n, struct enso_error *err)
{
    enum enso_status st;

    n->left = n->right = true;
    st = enso__load_bool(l, stage, path, "strip_left", &n->left, err);
    if (st != ENSO_OK)
        return st;
    return enso__load_bool(l, stage, path, "strip_right", &n->right, err);
}

static enum enso_status apply_strip(const struct enso__normalizer *n, struct enso__work *work,
                                    struct enso_error *err ENSO_UNUSED)
{
    struct enso__chars *chars = &work->chars;
    size_t first = 0, end = chars->n;

    while (n->left && first < end && enso__unicode_is_space(chars->items[first].c))
        first++;
    while (n->right && end > first && enso__unicode_is_space(chars->items[end - 1].c))
        end--;
    if (first > 0)
        memmove(chars->items, chars->items + first, (end - first) * sizeof *chars->items);
    chars->n = end - first;
    return ENSO_OK;
}

/* A string member as characters in the arena. */
static enum enso_status load_characters(struct enso__loader *l, const json_t *object,
                                        const char *path, const char *key, const uint32_t **ret,
                                        size_t *ret_n, struct enso_error *err)
{
    const char *s;
    uint32_t *characters;
    size_t size, n = 0;
    enum enso_status st =
        enso_json_get_string(object, path, key, ENSO_JSON_REQUIRED, &s, &size, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (size > MAX_STRING)
        return enso__load_error(l, path, err, "'%s' has %zu bytes, but at most %d are read", key,
                                size, MAX_STRING);
    characters = enso_arena_alloc_zero(l->arena, size + 1, sizeof *characters);
    if (characters == NULL)
        return enso_error_no_memory(err, "a normaliser");
    for (size_t i = 0, bytes; i < size; i += bytes) {
        bytes = enso_utf8_decode(s + i, size - i, &characters[n++]);
        if (bytes == 0)
            return enso__load_error(l, path, err, "'%s' is not UTF-8", key);
    }
    *ret = characters;
    *ret_n = n;
    return ENSO_OK;
}

static enum enso_status parse_replace(struct enso__loader *l, const json_t *stage, const char *path,
                                      struct enso__normalizer *n, struct enso_error *err)
{
    json_t *pattern;
    enum enso_status st =
        enso_json_get_object(stage, path, "pattern", ENSO_JSON_REQUIRED, &pattern, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (json_object_get(pattern, "String") == NULL)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "'%s': %s.pattern: Replace takes a pattern of the kind 'String' "
                              "only, no regular expressions",
                              l->file, path);
    st = load_characters(l, pattern, path, "String", &n->pattern, &n->n_pattern, err);
    if (st == ENSO_OK)
        st = load_characters(l, stage, path, "content", &n->content, &n->n_content, err);
    if (st == ENSO_OK && n->n_pattern == 0)
        return enso__load_error(l, path, err, "the pattern is empty");
    return st;
}

static bool matches(const struct enso__normalizer *n, const struct enso__chars *chars, size_t at)
{
    if (chars->n - at < n->n_pattern)
        return false;
    for (size_t i = 0; i < n->n_pattern; i++)
        if (chars->items[at + i].c != n->pattern[i])
            return false;
    return true;
}

/* What is put in has the place of the last character of what it replaces. */
static enum enso_status apply_replace(const struct enso__normalizer *n, struct enso__work *work,
                                      struct enso_error *err)
{
    const struct enso__chars *chars = &work->chars;
    struct enso__chars *out = &work->other_chars;

    out->n = 0;
    for (size_t i = 0; i < chars->n;) {
        struct enso__span place;

        if (!ENSO__RESERVE(out, n->n_content + 1))
            return enso_error_no_memory(err, "a text");
        if (!matches(n, chars, i)) {
            out->items[out->n++] = chars->items[i++];
            continue;
        }
        i += n->n_pattern;
        place = chars->items[i - 1].from;
        for (size_t k = 0; k < n->n_content; k++)
            out->items[out->n++] = (struct enso__char){n->content[k], place};
    }
    enso__chars_swap(work);
    return ENSO_OK;
}

static enum enso_status parse_prepend(struct enso__loader *l, const json_t *stage, const char *path,
                                      struct enso__normalizer *n, struct enso_error *err)
{
    return load_characters(l, stage, path, "prepend", &n->content, &n->n_content, err);
}

/* What is put in front has the place of the first character; nothing is put before nothing. */
static enum enso_status apply_prepend(const struct enso__normalizer *n, struct enso__work *work,
                                      struct enso_error *err)
{
    struct enso__chars *chars = &work->chars;

    if (chars->n == 0)
        return ENSO_OK;
    if (!ENSO__RESERVE(chars, n->n_content))
        return enso_error_no_memory(err, "a text");
    memmove(chars->items + n->n_content, chars->items, chars->n * sizeof *chars->items);
    for (size_t i = 0; i < n->n_content; i++)
        chars->items[i] = (struct enso__char){n->content[i], chars->items[n->n_content].from};
    chars->n += n->n_content;
    return ENSO_OK;
}

const struct enso__normalizer_type enso__normalizer_strip_type = {"Strip", parse_strip,
                                                                  apply_strip};
const struct enso__normalizer_type enso__normalizer_replace_type = {"Replace", parse_replace,
                                                                    apply_replace};
const struct enso__normalizer_type enso__normalizer_prepend_type = {"Prepend", parse_prepend,
                                                                    apply_prepend};
