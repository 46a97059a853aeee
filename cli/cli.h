/* SPDX-License-Identifier: Apache-2.0
 *
 * enso, the companion of the daemon: what its subcommands share. Each subcommand is a function that
 * gets its own arguments (argv[0] is its name), prints to standard output what was asked for and to
 * standard error what went wrong, and gives the exit status.
 *
 * enso knows the daemon by its HTTP interface alone: it includes base/ and nothing of the floors
 * between. One thread.
 */
#ifndef ENSO_CLI_CLI_H
#define ENSO_CLI_CLI_H

#include <stddef.h>

#include "base/error.h"
#include "base/macros.h"

enum enso_exit {
    ENSO_EXIT_OK = 0,
    ENSO_EXIT_FAILURE = 1,       /* the server, the network, a file */
    ENSO_EXIT_USAGE = 2,         /* the command line */
    ENSO_EXIT_INTERRUPTED = 130, /* Ctrl-C before the work was done */
};

typedef int (*enso_command_fn)(int argc, char *argv[]);

int enso_cli_classify(int argc, char *argv[]);
int enso_cli_embed(int argc, char *argv[]);
int enso_cli_models(int argc, char *argv[]);
int enso_cli_health(int argc, char *argv[]);
int enso_cli_bench(int argc, char *argv[]);
int enso_cli_eval(int argc, char *argv[]);

/* "enso COMMAND: sentence (at param)" to standard error; ENSO_EXIT_FAILURE, or ENSO_EXIT_USAGE when
 * the error has the code "usage". */
int enso_cli_fail(const char *command, const struct enso_error *err);

/* Control characters, and bytes that are not UTF-8, become '?': words of a server or a data set
 * must not steer the terminal. */
void enso_cli_clean(char *text);

/* Copy `text` to ret[capacity], at least 4; what does not fit is cut at a character and shown by
 * "..". */
void enso_cli_cut(char *ret, size_t capacity, const char *text);

/* Has all that was printed arrived? ENSO_EXIT_OK, or a sentence and ENSO_EXIT_FAILURE; `status` is
 * given back when it is a failure already. */
int enso_cli_finish(const char *command, int status);

#endif
