/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration while it is read. Shared inside config/ only. In the order of precedence:
 *
 *     defaults (config.c) < file.c < environment.c < command_line.c
 *
 * then models.c makes the list of models and consistency.c checks what several keys say together.
 */
#ifndef ENSO_CONFIG_LOADER_H
#define ENSO_CONFIG_LOADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "config/config.h"
#include "config/options.h"

#define ENSO__MOST_MODELS 1000
#define ENSO__MAX_OPTIONS sizeof(((struct enso_config *)0)->origin)

struct enso__loader {
    struct enso_config config;
    const char *file;                        /* as errors name it */
    unsigned seen[ENSO__MAX_OPTIONS];        /* line of each global key */
    struct enso_config_model *models;        /* sections; moved into the arena at the end */
    unsigned char (*set)[ENSO__MAX_OPTIONS]; /* which keys each section sets */
    size_t n_models;
    bool in_model; /* the current section is the last of models */
};

/* What the command line says, before it is applied. */
struct enso__arguments {
    enum enso_config_action action;
    const char *config_file, *check_dir;
    char *const *dirs; /* MODEL_DIR... */
    size_t n_dirs;
    const struct enso_option **options; /* flags of the table, in order */
    const char **values;
    size_t n_options;
};

bool enso__option_is_model(const struct enso_option *o); /* of [model NAME] */
size_t enso__option_index(const struct enso_option *o);  /* its row */

/* A global option from anywhere; the caller puts the place in front of the sentence. */
enum enso_status enso__loader_set(struct enso__loader *l, const struct enso_option *o,
                                  const char *text, bool add, enum enso_config_origin origin,
                                  struct enso_error *err);

/* The file's text, which errors call `name`, or the file at `path`. */
enum enso_status enso__loader_read_text(struct enso__loader *l, const char *name, const char *text,
                                        size_t size, struct enso_error *err);
enum enso_status enso__loader_read_file(struct enso__loader *l, const char *path,
                                        struct enso_error *err);

/* envp is NULL or ends with NULL; a variable that is not there is NULL. */
const char *enso__environment_find(char *const envp[], const char *name);
enum enso_status enso__loader_read_environment(struct enso__loader *l, char *const envp[],
                                               struct enso_error *err);

/* The command line is read before all else, since it names the file, and applied after all else.
 * dirs and the arrays are the arena's. */
enum enso_status enso__arguments_read(struct enso__arguments *a, struct enso_arena *arena, int argc,
                                      char *const argv[], struct enso_error *err);
enum enso_status enso__arguments_apply(struct enso__loader *l, const struct enso__arguments *a,
                                       struct enso_error *err);

enum enso_status enso__loader_make_entries(struct enso__loader *l, const struct enso__arguments *a,
                                           struct enso_error *err);
enum enso_status enso__loader_check(const struct enso__loader *l, struct enso_error *err);

#endif
