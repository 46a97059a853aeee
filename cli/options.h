/* SPDX-License-Identifier: Apache-2.0
 *
 * Command lines: one table of options per subcommand, from which both the parser and --help come.
 *
 *     static const struct enso_cli_option options[] = {
 *         {'m', "model", "ID", "Model to ask."},
 *         {0}};
 *     struct enso_cli_line line;
 *     enso_cli_line_init(&line, &command, argc, argv);
 *     while ((key = enso_cli_line_next(&line, &value, err)) > 0)
 *         switch (key) { case 'm': ...
 *
 * Options may stand among the arguments; "--" ends them; "--name=value" and "--name value" are the
 * same. Every subcommand has --help by itself.
 */
#ifndef ENSO_CLI_OPTIONS_H
#define ENSO_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/cli.h"

struct enso_cli_option {
    int key;              /* what enso_cli_line_next gives; > 0 and unique in its table */
    const char *name;     /* without "--" */
    const char *argument; /* "ID", or NULL for a flag */
    const char *help;     /* one or two sentences */
};

struct enso_cli_command {
    const char *name;                      /* "classify" */
    const char *arguments;                 /* "TEXT|FILE|-..." for the usage line, or "" */
    const char *description;               /* for `enso NAME --help`, paragraphs with newlines */
    const struct enso_cli_option *options; /* ended by a key of 0 */
};

#define ENSO_CLI_KEY_END 0
#define ENSO_CLI_KEY_ERROR (-1)
#define ENSO_CLI_KEY_HELP (-2)

struct enso_cli_line {
    const struct enso_cli_command *command;
    int argc;
    char **argv; /* the arguments are moved to its front as they are met */
    int at, n_arguments;
    bool only_arguments;
};

void enso_cli_line_init(struct enso_cli_line *line, const struct enso_cli_command *command,
                        int argc, char *argv[]);

/* The next option's key with its value (NULL for a flag); ENSO_CLI_KEY_END after the last: then
 * argv[0 .. n_arguments) of the line are the arguments. _ERROR fills err (code "usage"). _HELP:
 * help was printed. */
int enso_cli_line_next(struct enso_cli_line *line, const char **ret_value, struct enso_error *err);

/* What `enso NAME --help` prints. */
void enso_cli_print_help(const struct enso_cli_command *command, FILE *out);

/* An error of the command line: ENSO_INVALID with the code "usage". */
enum enso_status enso_cli_usage(struct enso_error *err, const char *format, ...) ENSO_PRINTF(2, 3);

/* Values. Each names the option and what is expected. */
enum enso_status enso_cli_parse_count(const char *name, const char *value, int64_t min, int64_t max,
                                      int64_t *ret, struct enso_error *err);
/* "10s", "500ms", "2min", or a bare number of seconds ("10", "0.5"). */
enum enso_status enso_cli_parse_seconds(const char *name, const char *value, uint64_t *ret_ns,
                                        struct enso_error *err);
/* A finite number above 0. */
enum enso_status enso_cli_parse_rate(const char *name, const char *value, double *ret,
                                     struct enso_error *err);

#endif
