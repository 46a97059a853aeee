/* SPDX-License-Identifier: Apache-2.0
 *
 * enso: ask an ensod (or any server, for `enso bench`) from the command line. This file is main():
 * the table of subcommands and what is common to their ends. docs/enso.1 is the manual.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "ensod_build.h"

/* A new subcommand is a row here, a function in a file of its own, and a section in docs/enso.1. */
static const struct {
    const char *name, *summary;
    enso_command_fn run;
} commands[] = {
    {"classify", "Labels and probabilities for texts and pictures.", enso_cli_classify},
    {"embed", "Vectors for texts.", enso_cli_embed},
    {"models", "What the server serves.", enso_cli_models},
    {"health", "Is the server alive and ready?", enso_cli_health},
    {"eval", "Accuracy of a model on a labelled set.", enso_cli_eval},
    {"bench", "Measure a server: throughput and latency percentiles.", enso_cli_bench},
};

static void print_help(FILE *out)
{
    (void)fputs("Usage: enso COMMAND [OPTION]... [ARGUMENT]...\n\n"
                "Ask a running ensod.\n\nCommands:\n",
                out);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(commands); i++)
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    (void)fputs("\n'enso COMMAND --help' tells a command's options. The server is\n"
                "http://127.0.0.1:8080 unless --server URL or the environment variable\n"
                "ENSO_SERVER says otherwise; unix:PATH is a Unix socket.\n\n"
                "Exit status: 0 success, 1 failure (server, network, file), 2 wrong usage, 130 "
                "interrupted.\n",
                out);
}

static int run(int argc, char *argv[])
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (name == NULL) {
        print_help(stderr);
        return ENSO_EXIT_USAGE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return ENSO_EXIT_OK;
    }
    if (strcmp(name, "--version") == 0) {
        (void)puts("enso " PACKAGE_VERSION);
        return ENSO_EXIT_OK;
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(commands); i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    (void)fprintf(stderr, "enso: there is no command '%s'; 'enso --help' lists them\n", name);
    return ENSO_EXIT_USAGE;
}

int main(int argc, char *argv[])
{
    int status;

    enso_file_fill_standard();
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is seen by enso_cli_finish */
    enso_json_init();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)fputs("enso: libcurl could not be started\n", stderr);
        return ENSO_EXIT_FAILURE;
    }
    status = enso_cli_finish("enso", run(argc, argv));
    curl_global_cleanup();
    return status;
}
