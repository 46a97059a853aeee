/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration file into a loader: its sections and keys; ini.c has its grammar.
 */
#include "config/loader.h"

#include <string.h>

#include "base/file.h"
#include "config/config_internal.h"

/* The names of a section's keys, for finding the nearest. */
static size_t keys_of(const char *section, const char *names[ENSO__MAX_OPTIONS])
{
    size_t n = 0;

    for (size_t i = 0; i < enso_n_options; i++) {
        if (strcmp(enso_options[i].section, section) == 0)
            names[n++] = enso_options[i].name;
    }
    return n;
}

/* Another section that has this key, or NULL. */
static const char *section_with(const char *key)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        if (strcmp(enso_options[i].name, key) == 0)
            return enso_options[i].section;
    }
    return NULL;
}

static enum enso_status unknown_key(const char *section, const char *key, struct enso_error *err)
{
    const char *names[ENSO__MAX_OPTIONS] = {NULL};
    const char *nearest = enso_option_nearest(key, names, keys_of(section, names));
    const char *elsewhere = section_with(key);

    if (elsewhere != NULL && nearest == NULL)
        return enso_error_set(err, ENSO_INVALID, "this key belongs in section [%s%s]", elsewhere,
                              strcmp(elsewhere, "model") == 0 ? " NAME" : "");
    if (nearest != NULL)
        return enso_error_set(err, ENSO_INVALID, "unknown key; did you mean '%s'?", nearest);
    return enso_error_set(err, ENSO_INVALID, "unknown key; docs/configuration.md lists all");
}

static enum enso_status add_model(struct enso__loader *l, const char *name, unsigned line,
                                  struct enso_error *err)
{
    enum enso_status st = enso__check_model_name(name, err);
    void *grown;

    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < l->n_models; i++) {
        if (strcmp(l->models[i].name, name) == 0)
            return enso_error_set(err, ENSO_INVALID, "the model has a section at line %u already",
                                  l->models[i].line);
    }
    if (l->n_models == ENSO__MOST_MODELS)
        return enso_error_set(err, ENSO_INVALID, "more than %d models", ENSO__MOST_MODELS);
    grown = enso_realloc_array(l->models, l->n_models + 1, sizeof *l->models);
    if (grown == NULL)
        return enso_error_no_memory(err, "the configuration");
    l->models = grown;
    grown = enso_realloc_array(l->set, l->n_models + 1, sizeof *l->set);
    if (grown == NULL)
        return enso_error_no_memory(err, "the configuration");
    l->set = grown;
    memset(l->set[l->n_models], 0, sizeof *l->set);
    l->models[l->n_models] = (struct enso_config_model){
        .name = enso_arena_strndup(&l->config.arena, name, strlen(name)), .line = line};
    if (l->models[l->n_models].name == NULL)
        return enso_error_no_memory(err, "the configuration");
    l->n_models++;
    return ENSO_OK;
}

static enum enso_status on_section(void *context, const char *section, unsigned line,
                                   struct enso_error *err)
{
    struct enso__loader *l = context;
    const char *names[16];
    size_t n = 0;
    enum enso_status st;

    l->in_model = strncmp(section, "model ", 6) == 0;
    if (l->in_model) {
        st = add_model(l, section + 6 + strspn(section + 6, " \t"), line, err);
        if (st != ENSO_OK)
            enso_error_prefix(err, "%s:%u: [%s]: ", l->file, line, section);
        return st;
    }
    for (size_t i = 0; i < enso_n_option_sections; i++) {
        names[n] = enso_option_sections[i].name;
        if (strcmp(names[n], section) == 0 && strcmp(section, "model") != 0)
            return ENSO_OK;
        n++;
    }

    const char *nearest = enso_option_nearest(section, names, n);

    if (nearest != NULL && strcmp(nearest, "model") == 0)
        st = enso_error_set(err, ENSO_INVALID, "%s:%u: [%.60s]: write [model NAME]", l->file, line,
                            section);
    else if (nearest != NULL)
        st = enso_error_set(err, ENSO_INVALID,
                            "%s:%u: [%.60s]: unknown section; did you mean "
                            "[%s]?",
                            l->file, line, section, nearest);
    else
        st = enso_error_set(err, ENSO_INVALID,
                            "%s:%u: [%.60s]: unknown section; there are "
                            "server, limits, batching, device, log, shutdown and model NAME",
                            l->file, line, section);
    return st;
}

static enum enso_status set_from_file(struct enso__loader *l, const struct enso_option *o,
                                      const char *value, unsigned line, struct enso_error *err)
{
    if (enso__option_is_model(o)) {
        size_t at = l->n_models - 1;
        unsigned char *set = &l->set[at][enso__option_index(o)];

        if (*set && o->type != ENSO_OPTION_LIST)
            return enso_error_set(err, ENSO_INVALID, "the key stands in this section already");

        enum enso_status st =
            enso_option_set(o, &l->models[at], &l->config.arena, value, *set, err);

        *set = 1;
        return st;
    }

    unsigned *seen = &l->seen[enso__option_index(o)];

    if (*seen != 0 && o->type != ENSO_OPTION_LIST)
        return enso_error_set(err, ENSO_INVALID, "the key is set at line %u already", *seen);

    enum enso_status st = enso__loader_set(l, o, value, *seen != 0, ENSO_CONFIG_FROM_FILE, err);

    *seen = line;
    return st;
}

static enum enso_status on_value(void *context, const char *section, const char *key,
                                 const char *value, unsigned line, struct enso_error *err)
{
    struct enso__loader *l = context;
    const char *table_section = l->in_model ? "model" : section;
    const struct enso_option *o = enso_option_find(table_section, key);
    enum enso_status st;

    if (*section == '\0') {
        const char *home = section_with(key);

        st = enso_error_set(err, ENSO_INVALID, "a key needs a section; write [%s] above it",
                            home != NULL && strcmp(home, "model") != 0 ? home : "server");
    } else if (o == NULL) {
        st = unknown_key(table_section, key, err);
    } else {
        st = set_from_file(l, o, value, line, err);
    }
    if (st != ENSO_OK && *section == '\0')
        enso_error_prefix(err, "%s:%u: %s: ", l->file, line, key);
    else if (st != ENSO_OK)
        enso_error_prefix(err, "%s:%u: [%s] %s: ", l->file, line, section, key);
    return st;
}

enum enso_status enso__loader_read_text(struct enso__loader *l, const char *name, const char *text,
                                        size_t size, struct enso_error *err)
{
    l->file = name;
    return enso__ini_parse(name, text, size, on_section, on_value, l, err);
}

enum enso_status enso__loader_read_file(struct enso__loader *l, const char *path,
                                        struct enso_error *err)
{
    char *text;
    size_t size;
    enum enso_status st = enso_file_read(path, ENSO__INI_LARGEST_FILE, &text, &size, err);

    if (st != ENSO_OK) {
        enso_error_prefix(err, "configuration: ");
        return st;
    }
    l->config.config_file = enso_arena_strndup(&l->config.arena, path, strlen(path));
    st = l->config.config_file == NULL ? enso_error_no_memory(err, "the configuration")
                                       : enso__loader_read_text(l, path, text, size, err);
    enso_free(text);
    return st;
}
