/* SPDX-License-Identifier: Apache-2.0
 *
 * Defaults, file, environment and command line into one struct enso_config: see config.h.
 */
#include "config/config.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/number.h"
#include "config/config_internal.h"
#include "config/options.h"

#define MOST_MODELS 1000
#define MAX_OPTIONS sizeof(((struct enso_config *)0)->origin)

/* A configuration while it is read. */
struct loader {
    struct enso_config config;
    const char *file;                  /* as errors name it */
    unsigned seen[MAX_OPTIONS];        /* line of each global key */
    struct enso_config_model *models;  /* sections; moved into the arena at the end */
    unsigned char (*set)[MAX_OPTIONS]; /* which keys each section sets */
    size_t n_models;
    bool in_model; /* the current section is the last of models */
};

/* What the command line says, before it is applied. */
struct arguments {
    enum enso_config_action action;
    const char *config_file, *check_dir;
    char *const *dirs; /* MODEL_DIR... */
    size_t n_dirs;
    const struct enso_option **options; /* flags of the table, in order */
    const char **values;
    size_t n_options;
};

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

/* ------------------------------------------------------------------ addresses */

static enum enso_status bad_address(const char *text, const char *why, struct enso_error *err)
{
    return enso_error_set(err, ENSO_INVALID,
                          "'%.120s' is no address (%s); use for example "
                          "127.0.0.1:8080, [::1]:8080, *:8080 or unix:/run/ensod/ensod.sock",
                          text, why);
}

static enum enso_status parse_unix(const char *text, struct enso_config_address *a,
                                   struct enso_error *err)
{
    const char *path = text + 5;
    size_t n = strlen(path);

    if (n == 0)
        return bad_address(text, "the path is empty", err);
    if (n >= sizeof a->path)
        return bad_address(text, "a socket's path has at most 107 bytes", err);
    a->is_unix = true;
    memcpy(a->path, path, n + 1);
    return ENSO_OK;
}

enum enso_status enso_config_parse_gpu_memory(const char *text, uint64_t *ret_bytes,
                                              unsigned *ret_percent, struct enso_error *err)
{
    size_t n = strlen(text);
    char digits[8] = "";
    int64_t percent = 0;
    uint64_t bytes = 0;

    if (n > 1 && n < sizeof digits && text[n - 1] == '%') {
        memcpy(digits, text, n - 1);
        if (enso_number_parse_i64(digits, 1, 100, &percent, NULL) != ENSO_OK)
            percent = 0;
    } else if (enso_number_parse_size(text, (uint64_t)1 << 20, (uint64_t)1 << 50, &bytes, NULL) !=
               ENSO_OK) {
        bytes = 0;
    }
    if (percent == 0 && bytes == 0)
        return enso_error_set(
            err, ENSO_INVALID,
            "'%.60s' is no amount of GPU memory; write 1%% to 100%%, or a size of "
            "1MiB or more such as 8GiB",
            text);
    *ret_bytes = bytes;
    *ret_percent = (unsigned)percent;
    return ENSO_OK;
}

/* One item of a list of GPUs: -1 when it is none. */
static int parse_gpu(const char *item, size_t size)
{
    char text[16];
    int64_t n = 0;

    for (; size > 0 && (*item == ' ' || *item == '\t'); size--)
        item++;
    while (size > 0 && (item[size - 1] == ' ' || item[size - 1] == '\t'))
        size--;
    if (size < 4 || size >= sizeof text)
        return -1;
    memcpy(text, item, size);
    text[size] = '\0';
    if (strcmp(text, "cuda") == 0)
        return 0;
    return strncmp(text, "cuda:", 5) == 0 &&
                   enso_number_parse_i64(text + 5, 0, 1023, &n, NULL) == ENSO_OK
               ? (int)n
               : -1;
}

enum enso_status enso_config_parse_device(const char *text, int ret_gpus[ENSO_CONFIG_MAX_GPUS],
                                          size_t *ret_n, struct enso_error *err)
{
    const char *item = text;
    size_t n = 0;

    *ret_n = 0;
    if (strcmp(text, "auto") == 0 || strcmp(text, "cpu") == 0)
        return ENSO_OK;
    for (;;) {
        size_t size = strcspn(item, ",");
        int gpu = parse_gpu(item, size);

        if (gpu < 0)
            return enso_error_set(err, ENSO_INVALID,
                                  "'%.60s' is no device; use auto, cpu or cuda:N, for several GPUs "
                                  "cuda:0,cuda:1",
                                  text);
        for (size_t i = 0; i < n; i++)
            if (ret_gpus[i] == gpu)
                return enso_error_set(err, ENSO_INVALID,
                                      "'%.60s' names cuda:%d twice; name each GPU once", text, gpu);
        if (n == ENSO_CONFIG_MAX_GPUS)
            return enso_error_set(err, ENSO_INVALID, "'%.60s...' names more than %d GPUs", text,
                                  ENSO_CONFIG_MAX_GPUS);
        ret_gpus[n++] = gpu;
        if (item[size] == '\0')
            break;
        item += size + 1;
    }
    *ret_n = n;
    return ENSO_OK;
}

enum enso_status enso_config_parse_address(const char *text, struct enso_config_address *ret,
                                           struct enso_error *err)
{
    struct enso_config_address a = {0};
    const char *colon = strrchr(text, ':'), *host = text, *end = colon;
    int64_t port;

    if (strncmp(text, "unix:", 5) == 0) {
        enum enso_status st = parse_unix(text, &a, err);

        if (st == ENSO_OK)
            *ret = a;
        return st;
    }
    if (colon == NULL)
        return bad_address(text, "the port is missing", err);
    if (enso_number_parse_i64(colon + 1, 0, 65535, &port, NULL) != ENSO_OK)
        return bad_address(text, "a port is a number from 0 to 65535", err);
    if (*host == '[') {
        if (end == text || end[-1] != ']')
            return bad_address(text, "']' is missing", err);
        host++;
        end--;
        if (host == end || strspn(host, "0123456789abcdefABCDEF:.") != (size_t)(end - host))
            return bad_address(text, "between brackets stands an IPv6 address", err);
    } else if (memchr(host, ':', (size_t)(end - host)) != NULL) {
        return bad_address(text, "IPv6 addresses stand in brackets", err);
    }

    size_t n = (size_t)(end - host);

    if (n == 0)
        return bad_address(text, "the host is missing", err);
    if (n >= sizeof a.host)
        return bad_address(text, "the host is too long", err);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)host[i] <= ' ' || host[i] == '/' || host[i] == 0x7F)
            return bad_address(text, "the host holds blanks or slashes", err);
    }
    memcpy(a.host, host, n);
    a.port = (uint16_t)port;
    *ret = a;
    return ENSO_OK;
}

bool enso_config_address_is_local(const struct enso_config_address *a)
{
    return a->is_unix || strncmp(a->host, "127.", 4) == 0 || strcmp(a->host, "::1") == 0 ||
           strcmp(a->host, "localhost") == 0;
}

/* ------------------------------------------------------------------ single values */

static bool is_model_option(const struct enso_option *o)
{
    return strcmp(o->section, "model") == 0;
}

static size_t index_of(const struct enso_option *o)
{
    return (size_t)(o - enso_options);
}

/* A global option from anywhere; the caller puts the place in front of the sentence. */
static enum enso_status set_global(struct loader *l, const struct enso_option *o, const char *text,
                                   bool add, enum enso_config_origin origin, struct enso_error *err)
{
    enum enso_status st = enso_option_set(o, &l->config, &l->config.arena, text, add, err);

    if (st != ENSO_OK) {
        enso_error_param(err, "%s.%s", o->section, o->name);
        return st;
    }
    l->config.origin[index_of(o)] = (unsigned char)origin;
    return ENSO_OK;
}

static enum enso_status set_defaults(struct loader *l, struct enso_error *err)
{
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < enso_n_options && st == ENSO_OK; i++) {
        if (!is_model_option(&enso_options[i]))
            st = set_global(l, &enso_options[i], enso_options[i].default_text, false,
                            ENSO_CONFIG_FROM_DEFAULT, err);
    }
    return st;
}

/* ------------------------------------------------------------------ the file */

/* The names of a section's keys, for finding the nearest. */
static size_t keys_of(const char *section, const char *names[MAX_OPTIONS])
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
    const char *names[MAX_OPTIONS] = {NULL};
    const char *nearest = enso_option_nearest(key, names, keys_of(section, names));
    const char *elsewhere = section_with(key);

    if (elsewhere != NULL && nearest == NULL)
        return enso_error_set(err, ENSO_INVALID, "this key belongs in section [%s%s]", elsewhere,
                              strcmp(elsewhere, "model") == 0 ? " NAME" : "");
    if (nearest != NULL)
        return enso_error_set(err, ENSO_INVALID, "unknown key; did you mean '%s'?", nearest);
    return enso_error_set(err, ENSO_INVALID, "unknown key; docs/configuration.md lists all");
}

static enum enso_status add_model(struct loader *l, const char *name, unsigned line,
                                  struct enso_error *err)
{
    const struct enso_option *served = enso_option_find("model", "served_name");
    enum enso_status st = served->check(name, err);
    void *grown;

    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < l->n_models; i++) {
        if (strcmp(l->models[i].name, name) == 0)
            return enso_error_set(err, ENSO_INVALID, "the model has a section at line %u already",
                                  l->models[i].line);
    }
    if (l->n_models == MOST_MODELS)
        return enso_error_set(err, ENSO_INVALID, "more than %d models", MOST_MODELS);
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
    struct loader *l = context;
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

static enum enso_status set_from_file(struct loader *l, const struct enso_option *o,
                                      const char *value, unsigned line, struct enso_error *err)
{
    if (is_model_option(o)) {
        size_t at = l->n_models - 1;
        unsigned char *set = &l->set[at][index_of(o)];

        if (*set && o->type != ENSO_OPTION_LIST)
            return enso_error_set(err, ENSO_INVALID, "the key stands in this section already");

        enum enso_status st =
            enso_option_set(o, &l->models[at], &l->config.arena, value, *set, err);

        *set = 1;
        return st;
    }

    unsigned *seen = &l->seen[index_of(o)];

    if (*seen != 0 && o->type != ENSO_OPTION_LIST)
        return enso_error_set(err, ENSO_INVALID, "the key is set at line %u already", *seen);

    enum enso_status st = set_global(l, o, value, *seen != 0, ENSO_CONFIG_FROM_FILE, err);

    *seen = line;
    return st;
}

static enum enso_status on_value(void *context, const char *section, const char *key,
                                 const char *value, unsigned line, struct enso_error *err)
{
    struct loader *l = context;
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

static enum enso_status read_text(struct loader *l, const char *name, const char *text, size_t size,
                                  struct enso_error *err)
{
    l->file = name;
    return enso__ini_parse(name, text, size, on_section, on_value, l, err);
}

static enum enso_status read_file(struct loader *l, const char *path, struct enso_error *err)
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
                                       : read_text(l, path, text, size, err);
    enso_free(text);
    return st;
}

/* ------------------------------------------------------------------ environment */

static const char *find_variable(char *const envp[], const char *name)
{
    size_t n = strlen(name);

    for (; envp != NULL && *envp != NULL; envp++) {
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    }
    return NULL;
}

static enum enso_status read_environment(struct loader *l, char *const envp[],
                                         struct enso_error *err)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];
        const char *value = o->environment != NULL ? find_variable(envp, o->environment) : NULL;

        if (value == NULL)
            continue;

        enum enso_status st = set_global(l, o, value, false, ENSO_CONFIG_FROM_ENVIRONMENT, err);

        if (st != ENSO_OK) {
            enso_error_prefix(err, "environment variable %s: ", o->environment);
            return st;
        }
    }
    return ENSO_OK;
}

/* ------------------------------------------------------------------ command line */

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
    const char *names[ENSO_ARRAY_SIZE(actions) + MAX_OPTIONS];
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

static enum enso_status take_action(struct arguments *a, size_t which, const char *equals, int argc,
                                    char *const argv[], int *at, struct enso_error *err)
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

static enum enso_status take_flag(struct arguments *a, int argc, char *const argv[], int *at,
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

/* dirs and the arrays are the arena's. */
static enum enso_status read_arguments(struct arguments *a, struct enso_arena *arena, int argc,
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

static enum enso_status apply_arguments(struct loader *l, const struct arguments *a,
                                        struct enso_error *err)
{
    bool seen[MAX_OPTIONS] = {false};

    for (size_t i = 0; i < a->n_options; i++) {
        const struct enso_option *o = a->options[i];
        enum enso_status st =
            set_global(l, o, a->values[i], seen[index_of(o)], ENSO_CONFIG_FROM_COMMAND_LINE, err);

        if (st != ENSO_OK) {
            enso_error_code(err, "usage");
            enso_error_prefix(err, "option %s: ", o->flag);
            return st;
        }
        seen[index_of(o)] = true;
    }
    return ENSO_OK;
}

/* ------------------------------------------------------------------ models */

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
static void inherit(struct loader *l, size_t at)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i], *from;

        if (!is_model_option(o) || l->set[at][i] || o->type == ENSO_OPTION_STRING)
            continue;
        from = enso_option_find("batching", o->name);
        if (from == NULL)
            from = enso_option_find("device", o->name);
        if (from != NULL)
            copy_value(o, &l->models[at], from, &l->config);
    }
}

static enum enso_status make_entries(struct loader *l, const struct arguments *a,
                                     struct enso_error *err)
{
    struct enso_config *c = &l->config;
    size_t n_dirs = a->n_dirs != 0 ? a->n_dirs : c->models.n;
    struct enso_config_model *entries;

    if (n_dirs > MOST_MODELS)
        return enso_error_set(err, ENSO_INVALID, "more than %d model folders", MOST_MODELS);
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
    c->origin[index_of(enso_option_find("server", "models"))] = ENSO_CONFIG_FROM_COMMAND_LINE;
    return ENSO_OK;
}

/* ------------------------------------------------------------------ checks over several keys */

/* The i-th id by which a model may be called, or NULL. */
static const char *public_name(const struct enso_config_model *m, size_t i)
{
    if (i == 0)
        return m->served_name != NULL ? m->served_name : m->name;
    return i - 1 < m->aliases.n ? m->aliases.items[i - 1] : NULL;
}

static enum enso_status check_names(const struct loader *l, struct enso_error *err)
{
    for (size_t i = 0; i < l->n_models; i++) {
        const char *name;

        for (size_t k = 0; (name = public_name(&l->models[i], k)) != NULL; k++) {
            for (size_t j = 0; j <= i; j++) {
                const char *other;

                for (size_t n = 0; (other = public_name(&l->models[j], n)) != NULL; n++) {
                    if ((j == i && n >= k) || strcmp(name, other) != 0)
                        continue;
                    return enso_error_set(err, ENSO_INVALID,
                                          "%s:%u: [model %s]: '%s' is also a "
                                          "name of [model %s] (line %u)",
                                          l->file, l->models[i].line, l->models[i].name, name,
                                          l->models[j].name, l->models[j].line);
                }
            }
        }
    }
    return ENSO_OK;
}

/* A model's devices are such as will be open. Of "auto" that is known at the start only, but no
 * more than the first GPU. */
static enum enso_status check_devices(const struct loader *l, struct enso_error *err)
{
    const char *given = l->config.device;
    int gpus[ENSO_CONFIG_MAX_GPUS] = {0}, wanted[ENSO_CONFIG_MAX_GPUS];
    size_t n = 0, n_wanted;

    (void)enso_config_parse_device(given, gpus, &n, NULL); /* it was checked */
    if (strcmp(given, "auto") == 0)
        n = 1;
    for (size_t i = 0; i < l->n_models; i++) {
        const struct enso_config_model *m = &l->models[i];

        if (m->device == NULL)
            continue;
        (void)enso_config_parse_device(m->device, wanted, &n_wanted, NULL); /* it was checked */
        for (size_t k = 0; k < n_wanted; k++) {
            bool found = false;

            for (size_t g = 0; g < n; g++)
                found = found || gpus[g] == wanted[k];
            if (found)
                continue;
            return enso_error_set(err, ENSO_INVALID,
                                  "%s:%u: [model %s] device: cuda:%d is not one of [device] device "
                                  "= %s; write %s%scuda:%d there",
                                  l->file, m->line, m->name, wanted[k], given,
                                  strncmp(given, "cuda", 4) == 0 ? given
                                  : strcmp(given, "auto") == 0   ? "cuda:0"
                                                                 : "",
                                  strcmp(given, "cpu") == 0 ? "" : ",", wanted[k]);
        }
    }
    return ENSO_OK;
}

static enum enso_status check_together(const struct loader *l, struct enso_error *err)
{
    const struct enso_config *c = &l->config;

    if (c->listen.n == 0) {
        enso_error_param(err, "server.listen");
        return enso_error_set(err, ENSO_INVALID,
                              "[server] listen is empty; give an address such "
                              "as 127.0.0.1:8080");
    }
    for (size_t i = 0; i < c->listen.n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(c->listen.items[i], c->listen.items[j]) == 0) {
                enso_error_param(err, "server.listen");
                return enso_error_set(err, ENSO_INVALID, "[server] listen has '%.120s' twice",
                                      c->listen.items[i]);
            }
        }
    }
    if (c->max_image_pixels > c->max_request_pixels) {
        enso_error_param(err, "limits.max_image_pixels");
        return enso_error_set(err, ENSO_INVALID,
                              "[limits] max_image_pixels (%lld) is more than "
                              "max_request_pixels (%lld); raise the latter",
                              (long long)c->max_image_pixels, (long long)c->max_request_pixels);
    }
    if (c->max_body_bytes > c->request_memory_bytes) {
        enso_error_param(err, "limits.max_body");
        return enso_error_set(err, ENSO_INVALID,
                              "[limits] max_body (%llu bytes) is more than "
                              "request_memory (%llu bytes); raise the latter",
                              (unsigned long long)c->max_body_bytes,
                              (unsigned long long)c->request_memory_bytes);
    }
    enum enso_status st = check_devices(l, err);

    return st == ENSO_OK ? check_names(l, err) : st;
}

/* ------------------------------------------------------------------ life */

void enso_config_done(struct enso_config *config)
{
    if (config == NULL)
        return;

    struct enso_arena arena = config->arena; /* the struct's pointers lead into it */

    memset(config, 0, sizeof *config);
    enso_arena_done(&arena);
}

/* Give the configuration away or throw it away. */
static enum enso_status finish(struct loader *l, enum enso_status st, struct enso_config *ret)
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
    struct loader l = {.file = name};
    struct arguments none = {0};
    enum enso_status st = set_defaults(&l, err);

    if (st == ENSO_OK && text != NULL)
        st = read_text(&l, name, text, size, err);
    if (st == ENSO_OK)
        st = make_entries(&l, &none, err);
    if (st == ENSO_OK)
        st = check_together(&l, err);
    return finish(&l, st, ret);
}

enum enso_status enso_config_load(int argc, char *const argv[], char *const envp[],
                                  struct enso_config *ret, struct enso_error *err)
{
    struct loader l = {.file = ""};
    struct arguments a = {0};
    enum enso_status st = read_arguments(&a, &l.config.arena, argc, argv, err);
    const char *file = a.config_file != NULL ? a.config_file : find_variable(envp, "ENSOD_CONFIG");

    if (st == ENSO_OK)
        st = set_defaults(&l, err);
    if (st != ENSO_OK || a.action == ENSO_CONFIG_HELP || a.action == ENSO_CONFIG_VERSION)
        goto out;
    if (file != NULL && *file != '\0')
        st = read_file(&l, file, err);
    if (st == ENSO_OK)
        st = read_environment(&l, envp, err);
    if (st == ENSO_OK)
        st = apply_arguments(&l, &a, err);
    if (st == ENSO_OK)
        st = make_entries(&l, &a, err);
    if (st == ENSO_OK)
        st = check_together(&l, err);
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

/* ------------------------------------------------------------------ text for people */

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

static void write_option(const struct enso_option *o, const void *base, const char *comment,
                         struct enso_buffer *b)
{
    const char *mark = *comment != '\0' ? " ; " : "";

    if (o->type == ENSO_OPTION_LIST) { /* an item a line: a line has a limit */
        const struct enso_config_list *list = (const void *)((const char *)base + o->offset);

        for (size_t i = 0; i < list->n; i++)
            enso_buffer_printf(b, "%s = %s%s%s\n", o->name, list->items[i], mark, comment);
        if (list->n != 0)
            return;
    }
    enso_buffer_printf(b, "%s = ", o->name);
    enso_option_format(o, base, b);
    enso_buffer_printf(b, "%s%s\n", mark, comment);
}

void enso_config_write(const struct enso_config *config, struct enso_buffer *b)
{
    static const char *const origins[] = {"default", "", "environment", "command line"};

    for (size_t s = 0; s < enso_n_option_sections; s++) {
        const char *section = enso_option_sections[s].name;

        if (strcmp(section, "model") == 0)
            continue;
        enso_buffer_printf(b, "%s[%s]\n", s != 0 ? "\n" : "", section);
        for (size_t i = 0; i < enso_n_options; i++) {
            if (strcmp(enso_options[i].section, section) == 0)
                write_option(&enso_options[i], config, origins[config->origin[i]], b);
        }
    }
    for (size_t m = 0; m < config->n_model_entries; m++) {
        const struct enso_config_model *model = &config->model_entries[m];

        if (model->name == NULL) /* it is in [server] models */
            continue;
        enso_buffer_printf(b, "\n[model %s]\n", model->name);
        for (size_t i = 0; i < enso_n_options; i++) {
            const struct enso_option *o = &enso_options[i];

            if (!is_model_option(o) ||
                (o->type == ENSO_OPTION_STRING &&
                 *(const char *const *)(const void *)((const char *)model + o->offset) == NULL))
                continue;
            write_option(o, model, "", b);
        }
    }
}

/* Both for enso_config_compare and, with take (which is a), for enso_config_take_over. */
static enum enso_status compare(const struct enso_config *a, const struct enso_config *b,
                                struct enso_config *take, enso_config_changed_fn changed,
                                void *context, struct enso_error *err)
{
    struct enso_buffer old = ENSO_BUFFER_INIT, new = ENSO_BUFFER_INIT;
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < enso_n_options && st == ENSO_OK; i++) {
        const struct enso_option *o = &enso_options[i];

        if (is_model_option(o))
            continue;
        enso_buffer_clear(&old);
        enso_buffer_clear(&new);
        enso_buffer_puts(&old, "");
        enso_buffer_puts(&new, "");
        enso_option_format(o, a, &old);
        enso_option_format(o, b, &new);
        if (old.failed || new.failed) {
            st = enso_error_no_memory(err, "comparing configurations");
            continue;
        }
        if (strcmp(old.data, new.data) == 0)
            continue;
        if (take != NULL && o->reloadable) {
            st = enso_option_set(o, take, &take->arena, new.data, false, err);
            take->origin[i] = b->origin[i];
        }
        if (st == ENSO_OK && changed != NULL)
            changed(o->section, o->name, o->reloadable, old.data, new.data, context);
    }
    enso_buffer_done(&old);
    enso_buffer_done(&new);
    return st;
}

enum enso_status enso_config_compare(const struct enso_config *a, const struct enso_config *b,
                                     enso_config_changed_fn changed, void *context,
                                     struct enso_error *err)
{
    return compare(a, b, NULL, changed, context, err);
}

enum enso_status enso_config_take_over(struct enso_config *config, const struct enso_config *fresh,
                                       enso_config_changed_fn changed, void *context,
                                       struct enso_error *err)
{
    return compare(config, fresh, config, changed, context, err);
}
