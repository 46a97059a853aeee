/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a tokenizer from a model folder: tokenizer.json, or vocab.txt and what
 * tokenizer_config.json says about it. The order is vocabulary, added tokens, then the stages,
 * since stages name tokens. Everything goes into the tokenizer's arena; the JSON trees are gone at
 * the end. Files are read whole with a limit and are hostile until checked here.
 */
#include "ensod_build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "engine/text/text_internal.h"

#define MAX_FILE_BYTES ((size_t)64 << 20)
#define MAX_ADDED 16384
#define MAX_ADDED_BYTES 1024    /* of one added token */
#define MAX_LENGTH 1000000000.0 /* a model_max_length over this means "none" */

/* ---- Errors and members (text_internal.h) ---- */

enum enso_status enso__load_error(const struct enso__loader *l, const char *path,
                                  struct enso_error *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)enso_error_vset(err, ENSO_CORRUPT, format, args); /* returns the status */
    va_end(args);
    enso_error_prefix(err, *path != '\0' ? "'%s': %s: " : "'%s': %s", l->file, path);
    return ENSO_CORRUPT;
}

enum enso_status enso__load_failed(const struct enso__loader *l, enum enso_status st,
                                   struct enso_error *err)
{
    enso_error_prefix(err, "'%s': ", l->file);
    if (st != ENSO_INVALID)
        return st;
    if (err != NULL) {
        err->status = ENSO_CORRUPT;
        err->param[0] = '\0'; /* of the file, not of a request */
        err->code[0] = '\0';
    }
    return ENSO_CORRUPT;
}

enum enso_status enso__load_type(const struct enso__loader *l, const json_t *stage,
                                 const char *path, const char **ret, struct enso_error *err)
{
    enum enso_status st;

    if (!json_is_object(stage))
        return enso__load_error(l, path, err, "expected an object with a 'type', got %s",
                                enso_json_type_name(stage));
    st = enso_json_get_string(stage, path, "type", ENSO_JSON_REQUIRED, ret, NULL, err);
    return st == ENSO_OK ? ENSO_OK : enso__load_failed(l, st, err);
}

enum enso_status enso__load_unsupported(const struct enso__loader *l, const char *path,
                                        const char *kind, const char *type,
                                        const char *(*names)(size_t i), struct enso_error *err)
{
    char known[256] = "";
    size_t used = 0;

    for (size_t i = 0; names(i) != NULL && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 names(i));
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "'%s': %s: the %s type '%.60s' is not supported; ensod knows %s", l->file,
                          path, kind, type, known);
}

enum enso_status enso__load_string(const struct enso__loader *l, const json_t *stage,
                                   const char *path, const char *key, const char **ret,
                                   size_t *ret_size, struct enso_error *err)
{
    const char *s;
    size_t size;
    char *copy;
    enum enso_status st =
        enso_json_get_string(stage, path, key, ENSO_JSON_REQUIRED, &s, &size, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    copy = enso_arena_alloc(l->arena, size + 1);
    if (copy == NULL)
        return enso_error_no_memory(err, "a tokenizer");
    memcpy(copy, s, size);
    copy[size] = '\0';
    *ret = copy;
    *ret_size = size;
    return ENSO_OK;
}

enum enso_status enso__load_bool(const struct enso__loader *l, const json_t *stage,
                                 const char *path, const char *key, bool *ret,
                                 struct enso_error *err)
{
    enum enso_status st = enso_json_get_bool(stage, path, key, ENSO_JSON_OPTIONAL, ret, err);

    return st == ENSO_OK ? ENSO_OK : enso__load_failed(l, st, err);
}

/* ---- Files ---- */

static enum enso_status parse_file(const char *data, size_t size, const char *name, json_t **ret,
                                   struct enso_error *err)
{
    const struct enso_json_limits limits = {.max_depth = 64, .max_values = 8u << 20};
    const struct enso__loader l = {.file = name};
    enum enso_status st = enso_json_parse(data, size, &limits, ret, err);

    if (st != ENSO_OK)
        return enso__load_failed(&l, st, err);
    if (!json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return enso__load_error(&l, "", err, "expected an object at the top");
    }
    return ENSO_OK;
}

/* dir/name as JSON; *ret is NULL where there is no such file. */
static enum enso_status read_json(const char *dir, const char *name, json_t **ret, char **ret_path,
                                  struct enso_error *err)
{
    char *path = enso_file_join(dir, name), *data = NULL;
    enum enso_status st;
    size_t size;

    *ret = NULL;
    *ret_path = path;
    if (path == NULL)
        return enso_error_no_memory(err, "a path");
    if (!enso_file_exists(path))
        return ENSO_OK;
    st = enso_file_read(path, MAX_FILE_BYTES, &data, &size, err);
    if (st == ENSO_OK)
        st = parse_file(data, size, path, ret, err);
    enso_free(data);
    return st;
}

/* ---- Vocabulary ---- */

/* model.vocab of tokenizer.json, {token: id}. */
static enum enso_status load_vocabulary(struct enso__loader *l, struct enso_tokenizer *tok,
                                        const json_t *model, struct enso_error *err)
{
    struct enso__entry *entries;
    const char *token;
    json_t *vocab, *id;
    size_t n = 0;
    enum enso_status st =
        enso_json_get_object(model, "model", "vocab", ENSO_JSON_REQUIRED, &vocab, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    if (json_object_size(vocab) == 0)
        return enso__load_error(l, "model.vocab", err, "the vocabulary is empty");
    entries = enso_alloc_array(json_object_size(vocab), sizeof *entries);
    if (entries == NULL)
        return enso_error_no_memory(err, "a vocabulary");
    json_object_foreach(vocab, token, id)
    {
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;

        if (value < 0 || value > INT32_MAX) {
            st = enso__load_error(l, "model.vocab", err,
                                  "the id of '%.60s' is no whole number "
                                  "between 0 and %d",
                                  token, INT32_MAX);
            goto out;
        }
        entries[n++] = (struct enso__entry){token, strlen(token), (uint32_t)value};
    }
    st = enso__vocabulary_build(&tok->vocabulary, &tok->arena, entries, n, false, l->file, err);
out:
    enso_free(entries);
    return st;
}

/* vocab.txt, a token a line; its id is the line's number from 0. */
static enum enso_status parse_lines(struct enso_tokenizer *tok, const char *data, size_t size,
                                    const char *file, struct enso_error *err)
{
    const struct enso__loader l = {.file = file};
    struct enso__entry *entries;
    size_t n_lines = 0, n = 0;
    enum enso_status st;

    for (size_t i = 0; i < size; i++)
        n_lines += data[i] == '\n' || i + 1 == size;
    if (n_lines == 0)
        return enso__load_error(&l, "", err, "the vocabulary is empty");
    entries = enso_alloc_array(n_lines, sizeof *entries);
    if (entries == NULL)
        return enso_error_no_memory(err, "a vocabulary");
    for (size_t i = 0; i < size;) {
        const char *end = memchr(data + i, '\n', size - i);
        size_t length = end != NULL ? (size_t)(end - data) - i : size - i, next = i + length + 1;

        if (!enso_utf8_valid(data + i, length, NULL)) {
            st = enso__load_error(&l, "", err, "line %zu is not UTF-8", n + 1);
            goto out;
        }
        if (length > 0 && data[i + length - 1] == '\r')
            length--;
        entries[n] = (struct enso__entry){data + i, length, (uint32_t)n};
        n++;
        i = next;
    }
    st = enso__vocabulary_build(&tok->vocabulary, &tok->arena, entries, n, true, file, err);
out:
    enso_free(entries);
    return st;
}

/* ---- Added tokens ---- */

/* Where added tokens gather before they are sorted. */
struct gathered {
    struct enso__added_token *items;
    size_t n, capacity;
};

static struct enso__added_token *gathered_find(struct gathered *g, const char *content, size_t size)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->items[i].size == size && memcmp(g->items[i].content, content, size) == 0)
            return &g->items[i];
    return NULL;
}

/* Check the token against the vocabulary and take it; a second one of the same content replaces the
 * first. The content is copied into the arena. */
static enum enso_status gather(struct enso__loader *l, struct enso_tokenizer *tok,
                               struct gathered *g, struct enso__added_token token,
                               struct enso_error *err)
{
    struct enso__added_token *same = gathered_find(g, token.content, token.size);
    int32_t known = enso__vocabulary_find(&tok->vocabulary, token.content, token.size);
    char *copy;

    if (token.size == 0)
        return ENSO_OK; /* ignored by the reference too */
    if (same != NULL)
        known = same->id;
    if (known >= 0 && known != token.id)
        return enso__load_error(l, "added_tokens", err,
                                "'%.60s' has the id %d, but the vocabulary gives it %d",
                                token.content, (int)token.id, (int)known);
    if (known < 0 && (uint32_t)token.id < tok->vocabulary.n)
        return enso__load_error(l, "added_tokens", err,
                                "'%.60s' has the id %d, which is that of '%.60s'", token.content,
                                (int)token.id,
                                enso__vocabulary_token(&tok->vocabulary, (uint32_t)token.id, NULL));
    if (same != NULL) {
        token.content = same->content;
        *same = token;
        return ENSO_OK;
    }
    if (g->n >= MAX_ADDED || token.size > MAX_ADDED_BYTES)
        return enso__load_error(l, "added_tokens", err,
                                "more than %d added tokens or one of more than %d bytes", MAX_ADDED,
                                MAX_ADDED_BYTES);
    copy = enso_arena_alloc(&tok->arena, token.size + 1);
    if (copy == NULL || !ENSO__RESERVE(g, 1))
        return enso_error_no_memory(err, "added tokens");
    memcpy(copy, token.content, token.size);
    copy[token.size] = '\0';
    token.content = copy;
    g->items[g->n++] = token;
    return ENSO_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const struct enso__added_token *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Sort what was gathered into the tokenizer. */
static enum enso_status take_gathered(struct enso__loader *l, struct enso_tokenizer *tok,
                                      struct gathered *g, struct enso_error *err)
{
    struct enso__added_token *items = enso_arena_alloc(&tok->arena, g->n * sizeof *items);

    if (items == NULL)
        return enso_error_no_memory(err, "added tokens");
    if (g->n > 0) {
        memcpy(items, g->items, g->n * sizeof *items);
        qsort(items, g->n, sizeof *items, compare_ids);
    }
    for (size_t i = 1; i < g->n; i++)
        if (items[i].id == items[i - 1].id)
            return enso__load_error(l, "added_tokens", err,
                                    "'%.60s' and '%.60s' have the same id "
                                    "%d",
                                    items[i - 1].content, items[i].content, (int)items[i].id);
    tok->added.items = items;
    tok->added.n = (uint32_t)g->n;
    return ENSO_OK;
}

/* An element of tokenizer.json's added_tokens, or of tokenizer_config.json's added_tokens_decoder
 * (then the id is the key). */
static enum enso_status gather_object(struct enso__loader *l, struct enso_tokenizer *tok,
                                      struct gathered *g, const json_t *object, const char *path,
                                      int64_t id, struct enso_error *err)
{
    struct enso__added_token token = {.id = 0};
    enum enso_status st = ENSO_OK;

    if (!json_is_object(object))
        return enso__load_error(l, path, err, "expected an object, got %s",
                                enso_json_type_name(object));
    st = enso_json_get_string(object, path, "content", ENSO_JSON_REQUIRED, &token.content,
                              &token.size, err);
    if (st == ENSO_OK && id < 0)
        st = enso_json_get_int(object, path, "id", ENSO_JSON_REQUIRED, 0, 2 * ENSO__MAX_TOKENS, &id,
                               err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(object, path, "special", ENSO_JSON_OPTIONAL, &token.special, err);
    token.normalized = !token.special;
    if (st == ENSO_OK)
        st = enso_json_get_bool(object, path, "normalized", ENSO_JSON_OPTIONAL, &token.normalized,
                                err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(object, path, "single_word", ENSO_JSON_OPTIONAL, &token.single_word,
                                err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(object, path, "lstrip", ENSO_JSON_OPTIONAL, &token.lstrip, err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(object, path, "rstrip", ENSO_JSON_OPTIONAL, &token.rstrip, err);
    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    token.id = (int32_t)id;
    return gather(l, tok, g, token, err);
}

static enum enso_status load_added_list(struct enso__loader *l, struct enso_tokenizer *tok,
                                        const json_t *root, struct enso_error *err)
{
    struct gathered g = {0};
    json_t *list = NULL;
    enum enso_status st =
        enso_json_get_array(root, "", "added_tokens", ENSO_JSON_OPTIONAL, &list, err);

    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    for (size_t i = 0; i < json_array_size(list) && st == ENSO_OK; i++) {
        char path[ENSO__PATH_SIZE];

        (void)snprintf(path, sizeof path, "added_tokens[%zu]", i); /* fits */
        st = gather_object(l, tok, &g, json_array_get(list, i), path, -1, err);
    }
    if (st == ENSO_OK)
        st = take_gathered(l, tok, &g, err);
    enso_free(g.items);
    return st;
}

/* ---- Special tokens ---- */

enum role { ROLE_CLS, ROLE_SEP, ROLE_PAD, ROLE_UNK, ROLE_MASK, N_ROLES };

static const struct {
    const char *key, *bert, *other; /* usual spellings, tried in this order */
    bool needed;                    /* when a file names it, it must be there */
} roles[N_ROLES] = {
    [ROLE_CLS] = {"cls_token", "[CLS]", "<s>", true},
    [ROLE_SEP] = {"sep_token", "[SEP]", "</s>", true},
    [ROLE_PAD] = {"pad_token", "[PAD]", "<pad>", false},
    [ROLE_UNK] = {"unk_token", "[UNK]", "<unk>", true},
    [ROLE_MASK] = {"mask_token", "[MASK]", "<mask>", false},
};

/* The files beside the vocabulary. */
struct side_files {
    json_t *config, *special_map, *added; /* NULL where there is none */
    char *config_path, *special_map_path, *added_path;
};

static enum enso_status read_side_files(const char *dir, struct side_files *side,
                                        struct enso_error *err)
{
    enum enso_status st =
        read_json(dir, "tokenizer_config.json", &side->config, &side->config_path, err);

    if (st == ENSO_OK)
        st = read_json(dir, "special_tokens_map.json", &side->special_map, &side->special_map_path,
                       err);
    if (st == ENSO_OK)
        st = read_json(dir, "added_tokens.json", &side->added, &side->added_path, err);
    return st;
}

static void side_files_done(struct side_files *side)
{
    json_decref(side->config);
    json_decref(side->special_map);
    json_decref(side->added);
    enso_free(side->config_path);
    enso_free(side->special_map_path);
    enso_free(side->added_path);
}

/* A token that a file names: "[CLS]" or {"content": "[CLS]", ...}; NULL when it does not. */
static const char *named_token(const json_t *file, const char *key)
{
    const json_t *value = json_object_get(file, key);

    if (json_is_object(value))
        value = json_object_get(value, "content");
    return json_string_value(value);
}

/* The role's spelling: special_tokens_map.json goes before tokenizer_config.json. *ret_file is
 * where it stands, NULL for a usual spelling. */
static const char *role_spelling(const struct side_files *side, enum role role,
                                 const char **ret_file)
{
    const char *name = named_token(side->special_map, roles[role].key);

    *ret_file = side->special_map_path;
    if (name == NULL) {
        name = named_token(side->config, roles[role].key);
        *ret_file = side->config_path;
    }
    if (name == NULL)
        *ret_file = NULL;
    return name;
}

static enum enso_status find_role(const struct enso_tokenizer *tok, const struct side_files *side,
                                  enum role role, int32_t *ret, struct enso_error *err)
{
    const char *file, *name = role_spelling(side, role, &file);

    if (name != NULL)
        *ret = enso_tokenizer_find(tok, name, strlen(name));
    else {
        *ret = enso_tokenizer_find(tok, roles[role].bert, strlen(roles[role].bert));
        if (*ret < 0)
            *ret = enso_tokenizer_find(tok, roles[role].other, strlen(roles[role].other));
    }
    if (*ret < 0 && name != NULL && roles[role].needed)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s': %s is '%.60s', which is not in the vocabulary", file,
                              roles[role].key, name);
    return ENSO_OK;
}

static enum enso_status find_roles(struct enso_tokenizer *tok, const struct side_files *side,
                                   struct enso_error *err)
{
    int32_t *ids[N_ROLES] = {&tok->special.cls, &tok->special.sep, &tok->special.pad,
                             &tok->special.unk, &tok->special.mask};
    enum enso_status st = ENSO_OK;

    for (int role = 0; role < N_ROLES && st == ENSO_OK; role++)
        st = find_role(tok, side, (enum role)role, ids[role], err);
    if (tok->model.type == &enso__wordpiece_type)
        tok->special.unk = tok->model.unk;
    return st;
}

/* model_max_length: models without one write 1e30. */
static void read_max_length(struct enso_tokenizer *tok, const json_t *config)
{
    const json_t *value = json_object_get(config, "model_max_length");
    double length = json_number_value(value);

    if (json_is_number(value) && length >= 1 && length <= MAX_LENGTH)
        tok->model_max_length = (uint32_t)length;
}

/* ---- tokenizer.json ---- */

static enum enso_status load_truncation(struct enso__loader *l, struct enso_tokenizer *tok,
                                        const json_t *root, struct enso_error *err)
{
    json_t *truncation = NULL;
    int64_t length = 0;
    enum enso_status st =
        enso_json_get_object(root, "", "truncation", ENSO_JSON_OPTIONAL, &truncation, err);

    if (st == ENSO_OK && truncation != NULL)
        st = enso_json_get_int(truncation, "truncation", "max_length", ENSO_JSON_OPTIONAL, 0,
                               INT32_MAX, &length, err);
    if (st != ENSO_OK)
        return enso__load_failed(l, st, err);
    tok->truncation_length = (uint32_t)length;
    return ENSO_OK;
}

static enum enso_status load_tree(struct enso_tokenizer *tok, const json_t *root, const char *name,
                                  struct enso_error *err)
{
    struct enso__loader l = {.file = name, .arena = &tok->arena, .tok = tok};
    const struct enso__token_model_type *type;
    json_t *model;
    enum enso_status st = enso_json_get_object(root, "", "model", ENSO_JSON_REQUIRED, &model, err);

    if (st != ENSO_OK)
        return enso__load_failed(&l, st, err);
    if ((st = enso__token_model_find(&l, model, "model", &type, err)) != ENSO_OK ||
        (st = load_vocabulary(&l, tok, model, err)) != ENSO_OK ||
        (st = load_added_list(&l, tok, root, err)) != ENSO_OK ||
        (st = type->parse(&l, model, "model", &tok->model, err)) != ENSO_OK ||
        (st = enso__normalizer_load(&l, json_object_get(root, "normalizer"), "normalizer",
                                    &tok->normalizer, err)) != ENSO_OK ||
        (st = enso__pre_tokenizer_load(&l, json_object_get(root, "pre_tokenizer"), "pre_tokenizer",
                                       &tok->pre_tokenizer, err)) != ENSO_OK ||
        (st = enso__post_processor_load(&l, json_object_get(root, "post_processor"),
                                        "post_processor", &tok->post_processor, err)) != ENSO_OK ||
        (st = load_truncation(&l, tok, root, err)) != ENSO_OK)
        return st;
    return enso__added_tokens_build(&tok->added, &tok->normalizer, &tok->arena, err);
}

static struct enso_tokenizer *new_tokenizer(void)
{
    struct enso_tokenizer *tok = enso_alloc_zero(1, sizeof *tok);

    if (tok != NULL)
        tok->special = (struct enso_special_ids){-1, -1, -1, -1, -1};
    return tok;
}

enum enso_status enso_tokenizer_load_json(const char *data, size_t size, const char *name,
                                          struct enso_tokenizer **ret, struct enso_error *err)
{
    struct enso_tokenizer *tok = new_tokenizer();
    const struct side_files none = {0};
    json_t *root = NULL;
    enum enso_status st;

    if (tok == NULL)
        return enso_error_no_memory(err, "a tokenizer");
    st = parse_file(data, size, name, &root, err);
    if (st == ENSO_OK)
        st = load_tree(tok, root, name, err);
    if (st == ENSO_OK)
        st = find_roles(tok, &none, err);
    json_decref(root);
    if (st == ENSO_OK) {
        *ret = tok;
        tok = NULL;
    }
    enso_tokenizer_destroy(tok);
    return st;
}

/* ---- vocab.txt ---- */

/* Classes whose vocab.txt is a WordPiece vocabulary used as BERT does; "Fast" at the end is left
 * out. Others put other tokens around the text or cut it otherwise. */
static const char *const bert_classes[] = {
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
    "ConvBertTokenizer",
    "LxmertTokenizer",
    "LayoutLMTokenizer",
    "RetriBertTokenizer",
    "SplinterTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRReaderTokenizer",
    "RealmTokenizer",
    "PreTrainedTokenizer",
};

static enum enso_status check_class(const struct side_files *side, struct enso_error *err)
{
    const char *name = json_string_value(json_object_get(side->config, "tokenizer_class"));
    size_t size = name != NULL ? strlen(name) : 0;

    if (name == NULL)
        return ENSO_OK;
    if (size > 4 && strcmp(name + size - 4, "Fast") == 0)
        size -= 4;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bert_classes); i++)
        if (strlen(bert_classes[i]) == size && memcmp(bert_classes[i], name, size) == 0)
            return ENSO_OK;
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "'%s': without tokenizer.json the tokenizer_class '%.60s' is not "
                          "supported; add the model's tokenizer.json",
                          side->config_path, name);
}

/* Added tokens of the files beside: added_tokens_decoder, added_tokens.json, then the tokens with a
 * role, each as the reference's converter flags it. */
static enum enso_status gather_side_tokens(struct enso_tokenizer *tok,
                                           const struct side_files *side, struct gathered *g,
                                           struct enso_error *err)
{
    struct enso__loader config = {.file = side->config_path, .arena = &tok->arena, .tok = tok},
                        added = {.file = side->added_path, .arena = &tok->arena, .tok = tok};
    json_t *decoder = json_object_get(side->config, "added_tokens_decoder"), *value;
    enum enso_status st = ENSO_OK;
    const char *key;

    json_object_foreach(decoder, key, value)
    {
        char *end, path[ENSO__PATH_SIZE];
        long id = strtol(key, &end, 10);

        (void)snprintf(path, sizeof path, "added_tokens_decoder.%s", key); /* cut is fine */
        if (end == key || *end != '\0' || id < 0 || id > 2 * (long)ENSO__MAX_TOKENS)
            return enso__load_error(&config, path, err, "the key is no id");
        st = gather_object(&config, tok, g, value, path, id, err);
        if (st != ENSO_OK)
            return st;
    }
    json_object_foreach(side->added, key, value)
    {
        struct enso__added_token token = {.content = key, .size = strlen(key), .normalized = true};

        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > 2 * (json_int_t)ENSO__MAX_TOKENS)
            return enso__load_error(&added, "", err, "the id of '%.60s' is no whole number", key);
        token.id = (int32_t)json_integer_value(value);
        if (gathered_find(g, key, token.size) == NULL)
            st = gather(&added, tok, g, token, err);
        if (st != ENSO_OK)
            return st;
    }
    for (int role = 0; role < N_ROLES && st == ENSO_OK; role++) {
        const char *file, *name = role_spelling(side, (enum role)role, &file);
        struct enso__added_token token = {.special = true};

        token.content = name != NULL ? name : roles[role].bert;
        token.size = strlen(token.content);
        token.id = enso__vocabulary_find(&tok->vocabulary, token.content, token.size);
        if (token.id >= 0 && gathered_find(g, token.content, token.size) == NULL)
            st = gather(&config, tok, g, token, err);
    }
    return st;
}

static enum enso_status load_side_tokens(struct enso_tokenizer *tok, const struct side_files *side,
                                         struct enso_error *err)
{
    struct enso__loader l = {.file = side->config_path, .arena = &tok->arena, .tok = tok};
    struct gathered g = {0};
    enum enso_status st = gather_side_tokens(tok, side, &g, err);

    if (st == ENSO_OK)
        st = take_gathered(&l, tok, &g, err);
    enso_free(g.items);
    return st;
}

/* The tokens that BERT cannot do without. */
static enum enso_status need_roles(const struct enso_tokenizer *tok, const char *file,
                                   struct enso_error *err)
{
    const char *missing = tok->special.unk < 0   ? "[UNK]"
                          : tok->special.cls < 0 ? "[CLS]"
                          : tok->special.sep < 0 ? "[SEP]"
                                                 : NULL;

    if (missing == NULL)
        return ENSO_OK;
    return enso_error_set(err, ENSO_CORRUPT,
                          "'%s': the vocabulary has no token '%s'; name the model's own in "
                          "special_tokens_map.json",
                          file, missing);
}

static enum enso_status set_up_bert(struct enso_tokenizer *tok, const struct side_files *side,
                                    struct enso_error *err)
{
    const struct enso__loader l = {.file = side->config_path};
    bool lowercase = true, ideographs = true, strip_accents;
    enum enso_status st;

    if ((st = enso__load_bool(&l, side->config, "", "do_lower_case", &lowercase, err)) != ENSO_OK ||
        (st = enso__load_bool(&l, side->config, "", "tokenize_chinese_chars", &ideographs, err)) !=
            ENSO_OK)
        return st;
    strip_accents = lowercase;
    st = enso__load_bool(&l, side->config, "", "strip_accents", &strip_accents, err);
    if (st != ENSO_OK)
        return st;
    enso__normalizer_bert(&tok->normalizer, ideographs, strip_accents, lowercase);
    enso__pre_tokenizer_bert(&tok->pre_tokenizer);
    enso__wordpiece_init(&tok->model, &tok->vocabulary, tok->special.unk, "##", 2, 100);
    if (!enso__post_processor_bert(&tok->arena, tok->special.cls, tok->special.sep,
                                   &tok->post_processor))
        return enso_error_no_memory(err, "a post-processor");
    return enso__added_tokens_build(&tok->added, &tok->normalizer, &tok->arena, err);
}

static enum enso_status load_vocab_txt(struct enso_tokenizer *tok, const char *path,
                                       const struct side_files *side, struct enso_error *err)
{
    char *data = NULL;
    size_t size;
    enum enso_status st = check_class(side, err);

    if (st == ENSO_OK)
        st = enso_file_read(path, MAX_FILE_BYTES, &data, &size, err);
    if (st == ENSO_OK)
        st = parse_lines(tok, data, size, path, err);
    enso_free(data);
    if (st != ENSO_OK || (st = load_side_tokens(tok, side, err)) != ENSO_OK ||
        (st = find_roles(tok, side, err)) != ENSO_OK ||
        (st = need_roles(tok, path, err)) != ENSO_OK)
        return st;
    return set_up_bert(tok, side, err);
}

/* ---- The folder ---- */

static enum enso_status load_folder(struct enso_tokenizer *tok, const char *dir,
                                    struct enso_error *err)
{
    struct side_files side = {0};
    char *path = NULL, *vocab_path = NULL;
    json_t *root = NULL;
    enum enso_status st = read_json(dir, "tokenizer.json", &root, &path, err);

    if (st != ENSO_OK)
        goto out;
    st = read_side_files(dir, &side, err);
    if (st != ENSO_OK)
        goto out;
    vocab_path = enso_file_join(dir, "vocab.txt");
    if (vocab_path == NULL)
        st = enso_error_no_memory(err, "a path");
    else if (root != NULL) {
        st = load_tree(tok, root, path, err);
        if (st == ENSO_OK)
            st = find_roles(tok, &side, err);
    } else if (enso_file_exists(vocab_path))
        st = load_vocab_txt(tok, vocab_path, &side, err);
    else
        st = enso_error_set(err, ENSO_NOT_FOUND,
                            "'%s' has neither tokenizer.json nor vocab.txt; add the model's "
                            "tokenizer.json",
                            dir);
    if (st == ENSO_OK)
        read_max_length(tok, side.config);
out:
    json_decref(root);
    side_files_done(&side);
    enso_free(path);
    enso_free(vocab_path);
    return st;
}

enum enso_status enso_tokenizer_load(const char *dir, struct enso_tokenizer **ret,
                                     struct enso_error *err)
{
    struct enso_tokenizer *tok = new_tokenizer();
    enum enso_status st;

    if (tok == NULL)
        return enso_error_no_memory(err, "a tokenizer");
    st = load_folder(tok, dir, err);
    if (st != ENSO_OK) {
        enso_tokenizer_destroy(tok);
        return st;
    }
    *ret = tok;
    return ENSO_OK;
}
