/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line into a loader, and --help, which says what may stand there.
 */
#include "config/loader.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "config/config_internal.h"

/* Flags that are no options of the table. */
static const struct {
    const char *flag, *argument, *help;
    enum enso_config_action action;
} actions[] = {
    {"--config", "FILE", "Read this configuration file (environment: ENSOD_CONFIG).",
     ENSO_CONFIG_SERVE},
    {"--check", "MODEL_DIR", "Load the model, print what it is, and exit.",
     ENSO_CONFIG_CHECK_MODEL},
    {"--check-config", NULL, "Check the configuration, print all of it, and exit.",
     ENSO_CONFIG_CHECK_CONFIG},
    {"--tune", NULL,
     "Time the models' matrix products on the GPU, keep the fastest in state_dir, and exit.",
     ENSO_CONFIG_TUNE},
    {"--help", NULL, "Print this and exit.", ENSO_CONFIG_HELP},
    {"--version", NULL, "Print the version and exit.", ENSO_CONFIG_VERSION},
};

static enum enso_status usage(struct enso_error *err, const char *format, ...) ENSO_PRINTF(2, 3);
static enum enso_status usage(struct enso_error *err, const char *format, ...)
{
    va_list args;

    enso_error_code(err, "usage");
    va_start(args, format);
    (void)enso_error_vset(err, ENSO_INVALID, format, args); /* returned below */
    va_end(args);
    return ENSO_INVALID;
}

static enum enso_status unknown_flag(const char *flag, size_t size, struct enso_error *err)
{
    const char *names[ENSO_ARRAY_SIZE(actions) + ENSO__MAX_OPTIONS];
    size_t n = 0;
    char name[64];

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(actions); i++)
        names[n++] = actions[i].flag;
    for (size_t i = 0; i < enso_n_options; i++) {
        if (enso_options[i].flag != NULL)
            names[n++] = enso_options[i].flag;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)ENSO_MIN(size, sizeof name), flag); /* cut */

    const char *nearest = enso_option_nearest(name, names, n);

    if (nearest != NULL)
        return usage(err, "unknown option '%s'; did you mean '%s'?", name, nearest);
    return usage(err, "unknown option '%s'; 'ensod --help' lists all", name);
}

/* The value of a flag: behind '=', or the next argument, which is then consumed. */
static enum enso_status flag_value(const char *flag, const char *equals, int argc,
                                   char *const argv[], int *at, const char **ret,
                                   struct enso_error *err)
{
    if (equals != NULL) {
        *ret = equals + 1;
        return ENSO_OK;
    }
    if (*at + 1 >= argc)
        return usage(err, "option '%s' needs a value", flag);
    *ret = argv[++*at];
    return ENSO_OK;
}

static enum enso_status take_action(struct enso__arguments *a, size_t which, const char *equals,
                                    int argc, char *const argv[], int *at, struct enso_error *err)
{
    const char *value = NULL;

    if (actions[which].argument == NULL && equals != NULL)
        return usage(err, "option '%s' takes no value", actions[which].flag);
    if (actions[which].argument != NULL) {
        enum enso_status st = flag_value(actions[which].flag, equals, argc, argv, at, &value, err);

        if (st != ENSO_OK)
            return st;
    }
    if (actions[which].action == ENSO_CONFIG_SERVE)
        a->config_file = value;
    else if (a->action == ENSO_CONFIG_SERVE)
        a->action = actions[which].action;
    if (actions[which].action == ENSO_CONFIG_CHECK_MODEL)
        a->check_dir = value;
    return ENSO_OK;
}

static enum enso_status take_flag(struct enso__arguments *a, int argc, char *const argv[], int *at,
                                  struct enso_error *err)
{
    const char *flag = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    const char *equals = strchr(flag, '=');
    size_t n = equals != NULL ? (size_t)(equals - flag) : strlen(flag);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(actions); i++) {
        if (strlen(actions[i].flag) == n && memcmp(actions[i].flag, flag, n) == 0)
            return take_action(a, i, equals, argc, argv, at, err);
    }
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];

        if (o->flag == NULL || strlen(o->flag) != n || memcmp(o->flag, flag, n) != 0)
            continue;
        a->options[a->n_options] = o;
        return flag_value(o->flag, equals, argc, argv, at, &a->values[a->n_options++], err);
    }
    return unknown_flag(flag, n, err);
}

enum enso_status enso__arguments_read(struct enso__arguments *a, struct enso_arena *arena, int argc,
                                      char *const argv[], struct enso_error *err)
{
    size_t n = argc > 0 ? (size_t)argc : 1;
    char **dirs = enso_arena_alloc_zero(arena, n, sizeof *dirs);
    bool only_dirs = false;

    a->options = enso_arena_alloc_zero(arena, n, sizeof *a->options);
    a->values = enso_arena_alloc_zero(arena, n, sizeof *a->values);
    if (dirs == NULL || a->options == NULL || a->values == NULL)
        return enso_error_no_memory(err, "the command line");
    a->dirs = dirs;
    for (int i = 1; i < argc; i++) {
        if (!only_dirs && strcmp(argv[i], "--") == 0) {
            only_dirs = true;
        } else if (only_dirs || argv[i][0] != '-' || argv[i][1] == '\0') {
            if (argv[i][0] == '\0')
                return usage(err, "argument %d is empty; name a model folder", i);
            dirs[a->n_dirs++] = argv[i];
        } else {
            enum enso_status st = take_flag(a, argc, argv, &i, err);

            if (st != ENSO_OK)
                return st;
        }
    }
    if (a->action == ENSO_CONFIG_CHECK_MODEL && a->n_dirs != 0)
        return usage(err, "--check takes one model folder; '%.100s' is one too many", a->dirs[0]);
    return ENSO_OK;
}

enum enso_status enso__arguments_apply(struct enso__loader *l, const struct enso__arguments *a,
                                       struct enso_error *err)
{
    bool seen[ENSO__MAX_OPTIONS] = {false};

    for (size_t i = 0; i < a->n_options; i++) {
        const struct enso_option *o = a->options[i];
        enum enso_status st = enso__loader_set(l, o, a->values[i], seen[enso__option_index(o)],
                                               ENSO_CONFIG_FROM_COMMAND_LINE, err);

        if (st != ENSO_OK) {
            enso_error_code(err, "usage");
            enso_error_prefix(err, "option %s: ", o->flag);
            return st;
        }
        seen[enso__option_index(o)] = true;
    }
    return ENSO_OK;
}

void enso_config_write_help(struct enso_buffer *b)
{
    enso_buffer_puts(b, "Usage: ensod [OPTION]... [MODEL_DIR]...\n"
                        "Serve neural networks over HTTP: Hugging Face model folders and ONNX "
                        "files.\n\n");
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(actions); i++) {
        enso_buffer_printf(b, "  %s%s%s\n", actions[i].flag, actions[i].argument != NULL ? " " : "",
                           actions[i].argument != NULL ? actions[i].argument : "");
        enso__write_wrapped(b, "      ", actions[i].help, 79);
    }
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];

        if (o->flag == NULL)
            continue;
        enso_buffer_printf(b, "  %s %s\n", o->flag, o->argument);
        enso__write_wrapped(b, "      ", o->help, 79);
        enso_buffer_printf(b, "      Default: %s.%s\n", o->default_text,
                           o->type == ENSO_OPTION_LIST ? " May be repeated." : "");
    }
    enso_buffer_puts(b, "\nKeys of the configuration file and their environment variables:\n");
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];

        if (o->environment != NULL)
            enso_buffer_printf(b, "  [%s] %-*s %-26s %s\n", o->section,
                               (int)(28 - strlen(o->section)), o->name, o->environment,
                               *o->default_text != '\0' ? o->default_text : "-");
    }
    enso_buffer_puts(b, "\nOptions beat environment variables, which beat the file.\n"
                        "The manual of the file: docs/configuration.md.\n"
                        "Exit status: 0 done, 1 failed, 2 wrong command line.\n");
}
