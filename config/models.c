/* SPDX-License-Identifier: Apache-2.0
 *
 * The models to serve: folders and [model NAME] sections become one list.
 */
#include "config/loader.h"

#include <string.h>

#include "config/config_internal.h"

static void copy_value(const struct enso_option *to, void *to_base, const struct enso_option *from,
                       const void *from_base)
{
    size_t size = to->type == ENSO_OPTION_BOOL   ? sizeof(bool)
                  : to->type == ENSO_OPTION_ENUM ? sizeof(int)
                                                 : sizeof(uint64_t);

    memcpy((char *)to_base + to->offset, (const char *)from_base + from->offset, size);
}

/* What a [model] section leaves out comes from [batching] and [device], but for texts: its device
 * is one of those that stand there. */
static void inherit(struct enso__loader *l, size_t at)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i], *from;

        if (!enso__option_is_model(o) || l->set[at][i] || o->type == ENSO_OPTION_STRING)
            continue;
        from = enso_option_find("batching", o->name);
        if (from == NULL)
            from = enso_option_find("device", o->name);
        if (from != NULL)
            copy_value(o, &l->models[at], from, &l->config);
    }
}

enum enso_status enso__loader_make_entries(struct enso__loader *l, const struct enso__arguments *a,
                                           struct enso_error *err)
{
    struct enso_config *c = &l->config;
    size_t n_dirs = a->n_dirs != 0 ? a->n_dirs : c->models.n;
    struct enso_config_model *entries;

    if (n_dirs > ENSO__MOST_MODELS)
        return enso_error_set(err, ENSO_INVALID, "more than %d model folders", ENSO__MOST_MODELS);
    entries = enso_arena_alloc_zero(&c->arena, n_dirs + l->n_models, sizeof *entries);
    if (entries == NULL)
        return enso_error_no_memory(err, "the configuration");
    for (size_t i = 0; i < n_dirs; i++) {
        const char *dir = a->n_dirs != 0 ? a->dirs[i] : c->models.items[i];

        entries[i].path = enso_arena_strndup(&c->arena, dir, strlen(dir));
        if (entries[i].path == NULL)
            return enso_error_no_memory(err, "the configuration");
        entries[i].from_command_line = entries[i].required = a->n_dirs != 0;
        entries[i].batching = c->batching;
        entries[i].arithmetic = c->arithmetic;
    }
    for (size_t i = 0; i < l->n_models; i++) {
        inherit(l, i);
        entries[n_dirs + i] = l->models[i];
    }
    c->model_entries = entries;
    c->n_model_entries = n_dirs + l->n_models;
    if (a->n_dirs == 0)
        return ENSO_OK;
    /* the list says what is served, for the dump */
    c->models.items = enso_arena_alloc_zero(&c->arena, n_dirs, sizeof *c->models.items);
    if (c->models.items == NULL)
        return enso_error_no_memory(err, "the configuration");
    for (size_t i = 0; i < n_dirs; i++)
        c->models.items[i] = entries[i].path;
    c->models.n = n_dirs;
    c->origin[enso__option_index(enso_option_find("server", "models"))] =
        ENSO_CONFIG_FROM_COMMAND_LINE;
    return ENSO_OK;
}

/* Ids appear in URLs and in metrics. */
enum enso_status enso__check_model_name(const char *value, struct enso_error *err)
{
    size_t n = strlen(value);

    if (n == 0 || n > 200)
        return enso_error_set(err, ENSO_INVALID, "a model's name has 1 to 200 bytes");
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)value[i] <= ' ' || value[i] == 0x7F || strchr("?#%\"\\", value[i]))
            return enso_error_set(err, ENSO_INVALID,
                                  "'%.60s' is no model name: no blanks, "
                                  "controls, quotes, backslashes, '?', '#' or '%%'",
                                  value);
    }
    return ENSO_OK;
}
