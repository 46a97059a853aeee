/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding model folders and their names: see entries.h.
 */
#include "ensod_build.h"

#include "server/entries.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FOLDER_DEPTH 4
#define PATH_SIZE 4096

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n > k && strcmp(s + n - k, suffix) == 0;
}

/* Does the folder hold a model of its own? */
static bool is_model_folder(const char *path)
{
    static const char *const names[] = {"config.json", "modules.json", "ensod.json"};
    char file[PATH_SIZE];
    struct stat st;
    bool found = false;
    DIR *dir;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++)
        if (snprintf(file, sizeof file, "%s/%s", path, names[i]) < (int)sizeof file &&
            stat(file, &st) == 0)
            return true;
    dir = opendir(path);
    if (dir == NULL)
        return false;
    for (struct dirent *d; !found && (d = readdir(dir)) != NULL;)
        found = has_suffix(d->d_name, ".onnx") || has_suffix(d->d_name, ".safetensors");
    (void)closedir(dir);
    return found;
}

struct enso_entry *enso_entries_find(const struct enso_entries *t, const char *id)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->items[i]->id, id) == 0)
            return t->items[i];
    for (size_t i = 0; i < t->n_aliases; i++)
        if (strcmp(t->aliases[i].name, id) == 0)
            return t->aliases[i].entry;
    return NULL;
}

static int add_entry(struct enso_entries *t, const char *id, const char *path,
                     const struct enso_config_model *config, struct enso_error *err)
{
    struct enso_entry *other = enso_entries_find(t, id), *e;

    if (other != NULL)
        return enso_error_set(err, ENSO_INVALID,
                              "two models are called '%s': '%s' and '%s'; give one a served_name "
                              "in the configuration",
                              id, other->path, path);
    if (t->n == ENSO_MAX_ENTRIES)
        return enso_error_set(err, ENSO_TOO_LARGE, "more than %d models", ENSO_MAX_ENTRIES);
    e = enso_arena_alloc_zero(&t->arena, 1, sizeof *e);
    if (e == NULL)
        return enso_error_no_memory(err, "the list of models");
    e->id = enso_arena_strndup(&t->arena, id, strlen(id));
    e->path = enso_arena_strndup(&t->arena, path, strlen(path));
    if (e->id == NULL || e->path == NULL)
        return enso_error_no_memory(err, "the list of models");
    e->batching = config->batching;
    e->arithmetic = config->arithmetic;
    e->device = config->device;
    e->required = config->required;
    t->items[t->n++] = e;
    return ENSO_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the folders below path, sorted; *ret_names and each name are the caller's. */
static int list_folders(const char *path, char ***ret_names, size_t *ret_n, struct enso_error *err)
{
    DIR *dir = opendir(path);
    char **names = NULL, file[PATH_SIZE];
    size_t n = 0;
    int st = ENSO_OK;

    if (dir == NULL)
        return enso_error_set(err, errno == ENOENT ? ENSO_NOT_FOUND : ENSO_IO,
                              "cannot read folder '%s': %s", path, strerror(errno));
    for (struct dirent *d; st == ENSO_OK && (d = readdir(dir)) != NULL;) {
        struct stat info;
        char **more;

        if (d->d_name[0] == '.' ||
            snprintf(file, sizeof file, "%s/%s", path, d->d_name) >= (int)sizeof file ||
            stat(file, &info) != 0 || !S_ISDIR(info.st_mode))
            continue;
        more = enso_realloc_array(names, n + 1, sizeof *names);
        if (more == NULL || (names = more, names[n] = enso_strdup(d->d_name)) == NULL)
            st = enso_error_no_memory(err, "the list of models");
        else
            n++;
    }
    (void)closedir(dir);
    if (n != 0)
        qsort(names, n, sizeof *names, compare_names);
    *ret_names = names;
    *ret_n = n;
    return st;
}

/* Every model folder at or below path; ids are paths below the top. */
static int add_folder(struct enso_entries *t, const char *path, const char *id, unsigned depth,
                      const struct enso_config_model *config, struct enso_error *err)
{
    char **names = NULL;
    size_t n = 0;
    int st;

    if (is_model_folder(path))
        return depth == 0 ? ENSO_OK : add_entry(t, id, path, config, err);
    if (depth > MAX_FOLDER_DEPTH)
        return ENSO_OK;
    st = list_folders(path, &names, &n, err);
    for (size_t i = 0; i < n; i++) {
        char below[PATH_SIZE], name[PATH_SIZE];

        if (st == ENSO_OK && snprintf(below, sizeof below, "%s/%s", path, names[i]) < PATH_SIZE &&
            snprintf(name, sizeof name, "%s%s%s", id, id[0] != '\0' ? "/" : "", names[i]) <
                PATH_SIZE)
            st = add_folder(t, below, name, depth + 1, config, err);
        enso_free(names[i]);
    }
    enso_free(names);
    return st;
}

void enso_entries_default_id(const char *path, char *id, size_t size)
{
    char real[PATH_SIZE];
    const char *from = path, *slash;
    size_t n;

    if (realpath(path, real) != NULL) /* "." has a name, too */
        from = real;
    n = strlen(from);
    while (n > 1 && from[n - 1] == '/')
        n--;
    slash = memrchr(from, '/', n);
    if (slash != NULL && n > 1) {
        n -= (size_t)(slash + 1 - from);
        from = slash + 1;
    }
    n = ENSO_MIN(n, size - 1);
    memcpy(id, from, n);
    id[n] = '\0';
    if (has_suffix(id, ".onnx"))
        id[n - 5] = '\0';
}

static int add_configured(struct enso_entries *t, const struct enso_config_model *config,
                          struct enso_error *err)
{
    size_t before = t->n;
    char id[PATH_SIZE];
    struct stat info;
    int st;

    if (config->path == NULL)
        return ENSO_OK; /* settings for a model found elsewhere: applied below */
    if (stat(config->path, &info) != 0)
        return enso_error_set(err, ENSO_NOT_FOUND, "model folder '%s': %s", config->path,
                              strerror(errno));
    enso_entries_default_id(config->path, id, sizeof id);
    if (config->served_name != NULL)
        (void)snprintf(id, sizeof id, "%s", config->served_name);
    else if (config->name != NULL)
        (void)snprintf(id, sizeof id, "%s", config->name);
    if (!S_ISDIR(info.st_mode) || is_model_folder(config->path))
        return add_entry(t, id, config->path, config, err);
    st = add_folder(t, config->path, "", 0, config, err);
    if (st == ENSO_OK && t->n == before)
        st = enso_error_set(err, ENSO_NOT_FOUND,
                            "'%s' holds no model: neither config.json with safetensors, nor "
                            "modules.json, nor an .onnx file, nor folders with these",
                            config->path);
    return st;
}

/* No model was named: those in model_dir, or those installed with ensod. */
static int add_default(struct enso_entries *t, const struct enso_config *config,
                       struct enso_error *err)
{
    struct enso_config_model all = {.path = config->model_dir[0] != '\0' ? config->model_dir
                                                                         : ENSO_MODEL_DIR,
                                    .batching = config->batching,
                                    .arithmetic = config->arithmetic};

    if (access(all.path, F_OK) != 0)
        return enso_error_set(err, ENSO_NOT_FOUND,
                              "no model was named, and there are none in '%s'; name a model "
                              "folder: ensod MODEL_DIR",
                              all.path);
    return add_configured(t, &all, err);
}

static int rename_entry(struct enso_entries *t, struct enso_entry *e, const char *name,
                        struct enso_error *err)
{
    const struct enso_entry *other = enso_entries_find(t, name);

    if (other != NULL && other != e)
        return enso_error_set(err, ENSO_INVALID,
                              "two models are called '%s': '%s' and '%s'; choose another "
                              "served_name for one of them",
                              name, other->path, e->path);
    name = enso_arena_strndup(&t->arena, name, strlen(name));
    if (name == NULL)
        return enso_error_no_memory(err, "the list of models");
    e->id = name;
    return ENSO_OK;
}

/* [model NAME] sections without a path change what was found under that name. */
static int apply_settings(struct enso_entries *t, const struct enso_config_model *config,
                          struct enso_error *err)
{
    struct enso_entry *e = NULL;

    if (config->name != NULL && config->path == NULL) {
        e = enso_entries_find(t, config->name);
        if (e == NULL)
            return enso_error_set(err, ENSO_NOT_FOUND,
                                  "[model %s] in the configuration has no path, and no model of "
                                  "that name was found; give it one",
                                  config->name);
        e->batching = config->batching;
        e->arithmetic = config->arithmetic;
        if (config->device != NULL)
            e->device = config->device;
        e->required = e->required || config->required;
        if (config->served_name != NULL) {
            int st = rename_entry(t, e, config->served_name, err);

            if (st != ENSO_OK)
                return st;
        }
    } else if (config->path != NULL && config->aliases.n != 0) {
        for (size_t i = 0; i < t->n; i++)
            if (strcmp(t->items[i]->path, config->path) == 0)
                e = t->items[i];
    }
    for (size_t i = 0; e != NULL && i < config->aliases.n; i++) {
        struct enso_alias *more;
        const char *name = config->aliases.items[i];

        if (enso_entries_find(t, name) != NULL)
            return enso_error_set(err, ENSO_INVALID, "the alias '%s' is taken by another model",
                                  name);
        more = enso_realloc_array(t->aliases, t->n_aliases + 1, sizeof *more);
        if (more == NULL)
            return enso_error_no_memory(err, "the list of aliases");
        t->aliases = more;
        t->aliases[t->n_aliases++] = (struct enso_alias){name, e};
    }
    return ENSO_OK;
}

int enso_entries_read(const struct enso_config *config, struct enso_entries *t,
                      struct enso_error *err)
{
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < config->n_model_entries; i++)
        st = add_configured(t, &config->model_entries[i], err);
    if (st == ENSO_OK && t->n == 0)
        st = add_default(t, config, err);
    for (size_t i = 0; st == ENSO_OK && i < config->n_model_entries; i++)
        st = apply_settings(t, &config->model_entries[i], err);
    return st;
}

void enso_entries_done(struct enso_entries *t)
{
    enso_free(t->aliases);
    enso_arena_done(&t->arena);
}
