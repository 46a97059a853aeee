/* SPDX-License-Identifier: Apache-2.0
 *
 * Command lines: see options.h. Long options only, so that scripts stay readable.
 */
#include "cli/options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"

#define MOST_SECONDS 86400
#define HELP_COLUMN 26 /* where the options' sentences begin */
#define HELP_WIDTH 88

enum enso_status enso_cli_usage(struct enso_error *err, const char *format, ...)
{
    va_list args;

    enso_error_code(err, "usage");
    va_start(args, format);
    (void)enso_error_vset(err, ENSO_INVALID, format, args); /* returned below */
    va_end(args);
    return ENSO_INVALID;
}

void enso_cli_line_init(struct enso_cli_line *line, const struct enso_cli_command *command,
                        int argc, char *argv[])
{
    *line = (struct enso_cli_line){.command = command, .argc = argc, .argv = argv, .at = 1};
}

static const struct enso_cli_option *find_option(const struct enso_cli_command *command,
                                                 const char *name, size_t size)
{
    for (const struct enso_cli_option *o = command->options; o->key != 0; o++) {
        if (strlen(o->name) == size && memcmp(o->name, name, size) == 0)
            return o;
    }
    return NULL;
}

static int take_option(struct enso_cli_line *line, const char *word, const char **ret_value,
                       struct enso_error *err)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t size = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct enso_cli_option *o = find_option(line->command, name, size);

    if (o == NULL && size == 4 && memcmp(name, "help", 4) == 0 && equals == NULL) {
        enso_cli_print_help(line->command, stdout);
        return ENSO_CLI_KEY_HELP;
    }
    if (o == NULL) {
        (void)enso_cli_usage(err, "unknown option '--%.*s'; 'enso %s --help' lists all",
                             (int)ENSO_MIN(size, (size_t)60), name, line->command->name);
        return ENSO_CLI_KEY_ERROR;
    }
    if (o->argument == NULL && equals != NULL) {
        (void)enso_cli_usage(err, "option '--%s' takes no value", o->name);
        return ENSO_CLI_KEY_ERROR;
    }
    *ret_value = equals != NULL ? equals + 1 : NULL;
    if (o->argument != NULL && equals == NULL) {
        if (line->at == line->argc) {
            (void)enso_cli_usage(err, "option '--%s' needs a value: --%s %s", o->name, o->name,
                                 o->argument);
            return ENSO_CLI_KEY_ERROR;
        }
        *ret_value = line->argv[line->at++];
    }
    return o->key;
}

int enso_cli_line_next(struct enso_cli_line *line, const char **ret_value, struct enso_error *err)
{
    *ret_value = NULL;
    while (line->at < line->argc) {
        char *word = line->argv[line->at++];

        if (line->only_arguments || word[0] != '-' || word[1] == '\0') {
            line->argv[line->n_arguments++] = word;
        } else if (strcmp(word, "--") == 0) {
            line->only_arguments = true;
        } else if (word[1] != '-') {
            (void)enso_cli_usage(err,
                                 "unknown option '%.60s'; options are long ('--help'), and after "
                                 "'--' everything is an argument",
                                 word);
            return ENSO_CLI_KEY_ERROR;
        } else {
            return take_option(line, word, ret_value, err);
        }
    }
    return ENSO_CLI_KEY_END;
}

/* Words of `text` up to HELP_WIDTH, further lines indented to HELP_COLUMN. */
static void print_wrapped(FILE *out, const char *text, int column)
{
    const char *gap = "";

    while (*text != '\0') {
        int n = (int)strcspn(text, " ");

        if (column + 1 + n > HELP_WIDTH) {
            (void)fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
            gap = "";
        }
        column += fprintf(out, "%s%.*s", gap, n, text);
        gap = " ";
        text += n;
        text += strspn(text, " ");
    }
    (void)fputc('\n', out);
}

static void print_option(FILE *out, const char *name, const char *argument, const char *help)
{
    int column = fprintf(out, "  --%s%s%s", name, argument != NULL ? " " : "",
                         argument != NULL ? argument : "");

    if (column > HELP_COLUMN - 2) {
        (void)fputc('\n', out);
        column = 0;
    }
    (void)fprintf(out, "%*s", HELP_COLUMN - column, "");
    print_wrapped(out, help, HELP_COLUMN);
}

void enso_cli_print_help(const struct enso_cli_command *command, FILE *out)
{
    (void)fprintf(out, "Usage: enso %s [OPTION]...%s%s\n\n%s\n\nOptions:\n", command->name,
                  command->arguments[0] != '\0' ? " " : "", command->arguments,
                  command->description);
    for (const struct enso_cli_option *o = command->options; o->key != 0; o++)
        print_option(out, o->name, o->argument, o->help);
    print_option(out, "help", NULL, "Show this.");
}

enum enso_status enso_cli_parse_count(const char *name, const char *value, int64_t min, int64_t max,
                                      int64_t *ret, struct enso_error *err)
{
    if (enso_number_parse_i64(value, min, max, ret, NULL) == ENSO_OK)
        return ENSO_OK;
    return enso_cli_usage(err, "--%s: '%.60s' is not a whole number from %lld to %lld", name, value,
                          (long long)min, (long long)max);
}

/* A plain number with nothing behind it. */
static bool parse_number(const char *value, double *ret)
{
    char *end;

    if (strspn(value, "0123456789.eE+-") != strlen(value))
        return false; /* strtod would take blanks, "inf" and hexadecimal */
    *ret = strtod(value, &end);
    return end != value && *end == '\0' && isfinite(*ret);
}

enum enso_status enso_cli_parse_seconds(const char *name, const char *value, uint64_t *ret_ns,
                                        struct enso_error *err)
{
    double seconds;

    if (enso_number_parse_duration(value, 0, MOST_SECONDS * ENSO_NS_PER_S, ret_ns, NULL) == ENSO_OK)
        return ENSO_OK;
    if (parse_number(value, &seconds) && seconds >= 0 && seconds <= MOST_SECONDS) {
        *ret_ns = (uint64_t)(seconds * 1e9);
        return ENSO_OK;
    }
    return enso_cli_usage(err, "--%s: '%.60s' is not a time of at most a day such as 10s or 500ms",
                          name, value);
}

enum enso_status enso_cli_parse_rate(const char *name, const char *value, double *ret,
                                     struct enso_error *err)
{
    double rate;

    if (parse_number(value, &rate) && rate > 0 && rate <= 1e7) {
        *ret = rate;
        return ENSO_OK;
    }
    return enso_cli_usage(err, "--%s: '%.60s' is not a number above 0 and at most 10,000,000", name,
                          value);
}
