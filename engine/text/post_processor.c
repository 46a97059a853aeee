/* SPDX-License-Identifier: Apache-2.0
 *
 * Post-processors: the tokens that a model wants around a text or a pair. BertProcessing and
 * TemplateProcessing both become a template, a list of tokens and places of the texts; without a
 * post-processor the texts stand alone. A Sequence of one is that one.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <string.h>

#include "engine/text/text_internal.h"

#define MAX_PIECES 256
#define MAX_SEGMENT 65535

static bool set_template(struct enso_arena *arena, const struct enso__piece *pieces, uint32_t n,
                         struct enso__template *ret)
{
    struct enso__piece *copy = enso_arena_alloc(arena, n * sizeof *copy);

    if (copy == NULL)
        return false;
    memcpy(copy, pieces, n * sizeof *copy);
    *ret = (struct enso__template){.pieces = copy, .n = n};
    for (uint32_t i = 0; i < n; i++)
        ret->n_tokens += copy[i].kind == ENSO__PIECE_TOKEN;
    return true;
}

static bool set_plain(struct enso_arena *arena, struct enso__post_processor *ret)
{
    static const struct enso__piece pieces[] = {{ENSO__PIECE_TEXT, 0, 0}, {ENSO__PIECE_PAIR, 0, 1}};

    return set_template(arena, pieces, 1, &ret->single) &&
           set_template(arena, pieces, 2, &ret->pair);
}

bool enso__post_processor_bert(struct enso_arena *arena, int32_t cls, int32_t sep,
                               struct enso__post_processor *ret)
{
    const struct enso__piece pieces[] = {
        {ENSO__PIECE_TOKEN, cls, 0}, {ENSO__PIECE_TEXT, 0, 0},    {ENSO__PIECE_TOKEN, sep, 0},
        {ENSO__PIECE_PAIR, 0, 1},    {ENSO__PIECE_TOKEN, sep, 1},
    };

    return set_template(arena, pieces, 3, &ret->single) &&
           set_template(arena, pieces, 5, &ret->pair);
}

static enum enso_status check_id(const struct enso__loader *l, const char *path, json_int_t id,
                                 int32_t *ret, struct enso_error *err)
{
    if (id < 0 || id >= (json_int_t)enso_tokenizer_size(l->tok) ||
        enso_tokenizer_piece(l->tok, (int32_t)id, NULL) == NULL)
        return enso__load_error(l, path, err, "no token has the id %" JSON_INTEGER_FORMAT, id);
    *ret = (int32_t)id;
    return ENSO_OK;
}

/* BertProcessing: "cls": ["[CLS]", 101] */
static enum enso_status load_named(struct enso__loader *l, const json_t *stage, const char *path,
                                   const char *key, int32_t *ret, struct enso_error *err)
{
    char inner[ENSO__PATH_SIZE];
    json_t *pair;
    enum enso_status st = enso_json_get_array(stage, path, key, ENSO_JSON_REQUIRED, &pair, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    (void)snprintf(inner, sizeof inner, "%s.%s", path, key); /* cut is fine */
    if (json_array_size(pair) != 2 || !json_is_integer(json_array_get(pair, 1)))
        return enso__load_error(l, inner, err, "expected a token and its id");
    return check_id(l, inner, json_integer_value(json_array_get(pair, 1)), ret, err);
}

static enum enso_status load_bert(struct enso__loader *l, const json_t *stage, const char *path,
                                  struct enso__post_processor *ret, struct enso_error *err)
{
    int32_t cls, sep;
    enum enso_status st = load_named(l, stage, path, "cls", &cls, err);

    if (st == ENSO_OK)
        st = load_named(l, stage, path, "sep", &sep, err);
    if (st == ENSO_OK && !enso__post_processor_bert(l->arena, cls, sep, ret))
        st = enso_error_no_memory(err, "a post-processor");
    return st;
}

/* ---- TemplateProcessing ---- */

struct pieces {
    struct enso__piece items[MAX_PIECES];
    uint32_t n, n_texts, n_pairs;
};

static enum enso_status add_piece(struct enso__loader *l, const char *path, struct pieces *pieces,
                                  struct enso__piece piece, struct enso_error *err)
{
    if (pieces->n == MAX_PIECES)
        return enso__load_error(l, path, err, "more than %d pieces in a template", MAX_PIECES);
    pieces->items[pieces->n++] = piece;
    pieces->n_texts += piece.kind == ENSO__PIECE_TEXT;
    pieces->n_pairs += piece.kind == ENSO__PIECE_PAIR;
    return ENSO_OK;
}

/* The ids behind a special token's name: special_tokens[name].ids */
static enum enso_status add_token_pieces(struct enso__loader *l, const json_t *stage,
                                         const char *path, const char *name, int32_t segment,
                                         struct pieces *pieces, struct enso_error *err)
{
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(stage, "special_tokens"), name), "ids");
    enum enso_status st = ENSO_OK;

    if (!json_is_array(ids))
        return enso__load_error(l, path, err,
                                "the special token '%.60s' is not in 'special_tokens' with a list "
                                "'ids'",
                                name);
    for (size_t i = 0; i < json_array_size(ids) && st == ENSO_OK; i++) {
        const json_t *id = json_array_get(ids, i);
        struct enso__piece piece = {ENSO__PIECE_TOKEN, 0, segment};

        if (!json_is_integer(id))
            return enso__load_error(l, path, err, "the ids of '%.60s' are not integers", name);
        st = check_id(l, path, json_integer_value(id), &piece.id, err);
        if (st == ENSO_OK)
            st = add_piece(l, path, pieces, piece, err);
    }
    return st;
}

/* {"SpecialToken": {"id": "[CLS]", "type_id": 0}} or {"Sequence": {"id": "A", "type_id": 0}} */
static enum enso_status load_piece(struct enso__loader *l, const json_t *stage,
                                   const json_t *element, const char *path, struct pieces *pieces,
                                   struct enso_error *err)
{
    const json_t *token = json_object_get(element, "SpecialToken"),
                 *text = json_object_get(element, "Sequence"),
                 *piece = token != NULL ? token : text;
    struct enso__piece place = {ENSO__PIECE_TEXT, 0, 0};
    int64_t segment = 0;
    const char *id;
    enum enso_status st;

    if (!json_is_object(piece))
        return enso__load_error(l, path, err, "expected 'SpecialToken' or 'Sequence' in a piece");
    st = enso_json_get_string(piece, path, "id", ENSO_JSON_REQUIRED, &id, NULL, err);
    if (st == ENSO_OK)
        st = enso_json_get_int(piece, path, "type_id", ENSO_JSON_OPTIONAL, 0, MAX_SEGMENT, &segment,
                               err);
    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (token != NULL)
        return add_token_pieces(l, stage, path, id, (int32_t)segment, pieces, err);
    if (strcmp(id, "A") != 0 && strcmp(id, "B") != 0)
        return enso__load_error(l, path, err, "a sequence is 'A' or 'B', not '%.60s'", id);
    place.kind = *id == 'A' ? ENSO__PIECE_TEXT : ENSO__PIECE_PAIR;
    place.segment = (int32_t)segment;
    return add_piece(l, path, pieces, place, err);
}

static enum enso_status load_one_template(struct enso__loader *l, const json_t *stage,
                                          const char *path, const char *key, bool pair,
                                          struct enso__template *ret, struct enso_error *err)
{
    struct pieces pieces = {.n = 0};
    json_t *list;
    enum enso_status st = enso_json_get_array(stage, path, key, ENSO_JSON_REQUIRED, &list, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char inner[ENSO__PATH_SIZE];

        (void)snprintf(inner, sizeof inner, "%s.%s[%zu]", path, key, i); /* cut is fine */
        st = load_piece(l, stage, json_array_get(list, i), inner, &pieces, err);
        if (st != ENSO_OK)
            return st;
    }
    if (pieces.n_texts != 1 || pieces.n_pairs != (pair ? 1 : 0))
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "'%s': %s.%s: the template must hold sequence A once%s", l->file,
                              path, key, pair ? " and sequence B once" : " and no other");
    if (!set_template(l->arena, pieces.items, pieces.n, ret))
        return enso_error_no_memory(err, "a post-processor");
    return ENSO_OK;
}

static enum enso_status load_template(struct enso__loader *l, const json_t *stage, const char *path,
                                      struct enso__post_processor *ret, struct enso_error *err)
{
    enum enso_status st = load_one_template(l, stage, path, "single", false, &ret->single, err);

    if (st != ENSO_OK)
        return st;
    return load_one_template(l, stage, path, "pair", true, &ret->pair, err);
}

static enum enso_status load_sequence(struct enso__loader *l, const json_t *stage, const char *path,
                                      struct enso__post_processor *ret, struct enso_error *err)
{
    char inner[ENSO__PATH_SIZE];
    json_t *list;
    enum enso_status st =
        enso_json_get_array(stage, path, "processors", ENSO_JSON_REQUIRED, &list, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (json_array_size(list) != 1 || l->depth >= ENSO__MAX_STAGE_DEPTH)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "'%s': %s: a Sequence of %zu post-processors is not supported, only "
                              "of one",
                              l->file, path, json_array_size(list));
    l->depth++;
    (void)snprintf(inner, sizeof inner, "%s.processors[0]", path); /* cut is fine */
    st = enso__post_processor_load(l, json_array_get(list, 0), inner, ret, err);
    l->depth--;
    return st;
}

static const struct {
    const char *name;
    enum enso_status (*load)(struct enso__loader *l, const json_t *stage, const char *path,
                             struct enso__post_processor *ret, struct enso_error *err);
} types[] = {
    {"BertProcessing", load_bert},
    {"TemplateProcessing", load_template},
    {"Sequence", load_sequence},
};

static const char *type_name(size_t i)
{
    return i < ENSO_ARRAY_SIZE(types) ? types[i].name : NULL;
}

enum enso_status enso__post_processor_load(struct enso__loader *l, const json_t *stage,
                                           const char *path, struct enso__post_processor *ret,
                                           struct enso_error *err)
{
    enum enso_status st;
    const char *name;

    if (stage == NULL || json_is_null(stage))
        return set_plain(l->arena, ret) ? ENSO_OK : enso_error_no_memory(err, "a post-processor");
    st = enso__load_type(l, stage, path, &name, err);
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].load(l, stage, path, ret, err);
    return enso__load_unsupported(l, path, "post-processor", name, type_name, err);
}
