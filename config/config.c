/* SPDX-License-Identifier: Apache-2.0
 *
 * Defaults, file, environment and command line into one struct enso_config: see config.h.
 */
#include "config/config.h"

#include <string.h>

#include "config/loader.h"

bool enso__option_is_model(const struct enso_option *o)
{
    return strcmp(o->section, "model") == 0;
}

size_t enso__option_index(const struct enso_option *o)
{
    return (size_t)(o - enso_options);
}

enum enso_status enso__loader_set(struct enso__loader *l, const struct enso_option *o,
                                  const char *text, bool add, enum enso_config_origin origin,
                                  struct enso_error *err)
{
    enum enso_status st = enso_option_set(o, &l->config, &l->config.arena, text, add, err);

    if (st != ENSO_OK) {
        enso_error_param(err, "%s.%s", o->section, o->name);
        return st;
    }
    l->config.origin[enso__option_index(o)] = (unsigned char)origin;
    return ENSO_OK;
}

static enum enso_status set_defaults(struct enso__loader *l, struct enso_error *err)
{
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < enso_n_options && st == ENSO_OK; i++) {
        if (!enso__option_is_model(&enso_options[i]))
            st = enso__loader_set(l, &enso_options[i], enso_options[i].default_text, false,
                                  ENSO_CONFIG_FROM_DEFAULT, err);
    }
    return st;
}

void enso_config_done(struct enso_config *config)
{
    if (config == NULL)
        return;

    struct enso_arena arena = config->arena; /* the struct's pointers lead into it */

    memset(config, 0, sizeof *config);
    enso_arena_done(&arena);
}

/* Give the configuration away or throw it away. */
static enum enso_status finish(struct enso__loader *l, enum enso_status st, struct enso_config *ret)
{
    if (st == ENSO_OK)
        *ret = l->config;
    else
        enso_config_done(&l->config);
    enso_free(l->models);
    enso_free(l->set);
    return st;
}

enum enso_status enso_config_load_text(const char *name, const char *text, size_t size,
                                       struct enso_config *ret, struct enso_error *err)
{
    struct enso__loader l = {.file = name};
    struct enso__arguments none = {0};
    enum enso_status st = set_defaults(&l, err);

    if (st == ENSO_OK && text != NULL)
        st = enso__loader_read_text(&l, name, text, size, err);
    if (st == ENSO_OK)
        st = enso__loader_make_entries(&l, &none, err);
    if (st == ENSO_OK)
        st = enso__loader_check(&l, err);
    return finish(&l, st, ret);
}

enum enso_status enso_config_load(int argc, char *const argv[], char *const envp[],
                                  struct enso_config *ret, struct enso_error *err)
{
    struct enso__loader l = {.file = ""};
    struct enso__arguments a = {0};
    enum enso_status st = enso__arguments_read(&a, &l.config.arena, argc, argv, err);
    const char *file =
        a.config_file != NULL ? a.config_file : enso__environment_find(envp, "ENSOD_CONFIG");

    if (st == ENSO_OK)
        st = set_defaults(&l, err);
    if (st != ENSO_OK || a.action == ENSO_CONFIG_HELP || a.action == ENSO_CONFIG_VERSION)
        goto out;
    if (file != NULL && *file != '\0')
        st = enso__loader_read_file(&l, file, err);
    if (st == ENSO_OK)
        st = enso__loader_read_environment(&l, envp, err);
    if (st == ENSO_OK)
        st = enso__arguments_apply(&l, &a, err);
    if (st == ENSO_OK)
        st = enso__loader_make_entries(&l, &a, err);
    if (st == ENSO_OK)
        st = enso__loader_check(&l, err);
    if (st == ENSO_OK && a.check_dir != NULL) {
        l.config.check_dir = enso_arena_strndup(&l.config.arena, a.check_dir, strlen(a.check_dir));
        if (l.config.check_dir == NULL)
            st = enso_error_no_memory(err, "the configuration");
    }
out:
    l.config.action = a.action;
    return finish(&l, st, ret);
}

int enso_config_exit_code(const struct enso_error *err)
{
    return strcmp(err->code, "usage") == 0 ? 2 : 1;
}
