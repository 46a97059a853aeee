/* SPDX-License-Identifier: Apache-2.0
 *
 * What a subcommand works on, out of its arguments: texts, the lines of standard input ("-"), and
 * pictures (a file whose first bytes are those of a JPEG, PNG or WebP). An argument that names no
 * such file is a text.
 */
#ifndef ENSO_CLI_INPUTS_H
#define ENSO_CLI_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_cli_input {
    const char *name; /* the text, or the picture's path; borrowed from the arguments or the line */
    char *picture;    /* content, owned, or NULL: a text */
    size_t size;      /* of the picture */
    const char *type; /* "image/png" */
};

struct enso_cli_inputs {
    char **arguments;
    int n, at;
    bool pictures; /* look for pictures */
    FILE *lines;   /* what "-" reads */
    bool in_lines;
    char *line; /* of getline */
    size_t capacity;
};

/* `arguments` are borrowed. Empty lines of standard input are left out. */
void enso_cli_inputs_init(struct enso_cli_inputs *inputs, int n, char *arguments[], bool pictures);
void enso_cli_inputs_done(struct enso_cli_inputs *inputs);

/* The next input; *ret_more is false, and nothing is given, after the last. A text out of a line
 * lives until the next call. Errors: a file that looks like a picture by its name but cannot be
 * read; broken UTF-8. */
enum enso_status enso_cli_inputs_next(struct enso_cli_inputs *inputs, struct enso_cli_input *ret,
                                      bool *ret_more, struct enso_error *err) ENSO_MUST_CHECK;
void enso_cli_input_done(struct enso_cli_input *input);

/* "image/png", "image/jpeg" or "image/webp" by the first bytes; else NULL. */
const char *enso_cli_picture_type(const char *bytes, size_t size);

#endif
