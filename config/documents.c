/* SPDX-License-Identifier: Apache-2.0
 *
 * The documents made from the table of options: docs/configuration.md, docs/ensod.conf.example and
 * docs/ensod.conf.5.
 * `make configuration-docs` writes them again; tests/config/check_options.c says when that is due.
 */
#include <string.h>

#include "base/buffer.h"
#include "config/config_internal.h"
#include "config/options.h"

void enso__write_wrapped(struct enso_buffer *b, const char *prefix, const char *text, size_t width)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (column != 0 && column + 1 + n > width) {
            enso_buffer_putc(b, '\n');
            column = 0;
        }
        if (column == 0) {
            enso_buffer_puts(b, prefix);
            column = strlen(prefix);
        } else {
            enso_buffer_putc(b, ' ');
            column++;
        }
        enso_buffer_append(b, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    enso_buffer_putc(b, '\n');
}

/* For options without a default of their own. */
static const char *default_of(const struct enso_option *o)
{
    if (o->default_text != NULL)
        return "empty";
    if (o->type == ENSO_OPTION_STRING) /* these are not inherited */
        return "none";
    if (enso_option_find("batching", o->name) != NULL)
        return "as in [batching]";
    return enso_option_find("device", o->name) != NULL ? "as in [device]" : "none";
}

static void write_option_markdown(struct enso_buffer *b, const struct enso_option *o)
{
    enso_buffer_printf(b, "### `%s`\n\n%s\n\n", o->name, o->help);
    enso_buffer_puts(b, "- Value: ");
    enso_option_describe(o, b);
    if (o->default_text != NULL && *o->default_text != '\0')
        enso_buffer_printf(b, "\n- Default: `%s`\n", o->default_text);
    else
        enso_buffer_printf(b, "\n- Default: %s\n", default_of(o));
    if (o->environment != NULL)
        enso_buffer_printf(b, "- Environment: `%s`\n", o->environment);
    if (o->flag != NULL)
        enso_buffer_printf(b, "- Command line: `%s %s`\n", o->flag, o->argument);
    if (o->reloadable)
        enso_buffer_puts(b, "- Taken over on SIGHUP, without a restart\n");
    enso_buffer_putc(b, '\n');
}

void enso_options_write_markdown(struct enso_buffer *b)
{
    enso_buffer_puts(
        b,
        "# Configuration\n"
        "\n"
        "<!-- Made from the table in config/options.c by `make configuration-docs`; edit that. -->"
        "\n\n"
        "`ensod MODEL_DIR` needs none of this. What is said in several places: command line beats "
        "environment\nbeats file beats default. `ensod --check-config` checks everything, prints "
        "the whole configuration\nwith where each value comes from, and exits.\n"
        "\n"
        "## The file\n"
        "\n"
        "Named by `--config FILE` or `ENSOD_CONFIG`; [ensod.conf.example](ensod.conf.example) "
        "shows every key.\n"
        "\n"
        "- `[section]` lines and `key = value` lines. Blanks around names and values do not "
        "count; values are\n  not quoted.\n"
        "- A line that begins with `#` or `;` is a comment. So is the rest of a line from a `;` "
        "that follows a\n  blank: a value cannot hold ` ;`.\n"
        "- Lists are separated by commas. A key that takes a list may be repeated, which adds to "
        "it; any other\n  key may stand once.\n"
        "- Sizes: `4096`, `64KiB`, `32MiB`, `1GiB` (powers of 1024), `10kB`, `10MB`, `1GB` (powers "
        "of 1000).\n"
        "- Durations: `100us`, `50ms`, `1.5s`, `30s`, `5min`, `2h`; `0` needs no unit.\n"
        "- Yes or no: `yes`, `true`, `on`, `no`, `false`, `off`.\n"
        "- UTF-8, at most 1 MiB, lines of at most 8000 bytes, no continuation lines.\n"
        "\n"
        "Anything unknown or out of range is an error that names file, line, section and key (and "
        "the nearest\nvalid name), and ensod does not start: exit status 1, or 2 for the command "
        "line.\n"
        "\n");
    for (size_t s = 0; s < enso_n_option_sections; s++) {
        const char *section = enso_option_sections[s].name;
        const char *name = strcmp(section, "model") == 0 ? " NAME" : "";

        enso_buffer_printf(b, "## [%s%s]\n\n%s\n\n", section, name, enso_option_sections[s].help);
        for (size_t i = 0; i < enso_n_options; i++) {
            if (strcmp(enso_options[i].section, section) == 0)
                write_option_markdown(b, &enso_options[i]);
        }
    }
    if (b->size > 1 && !b->failed) /* one newline at the end */
        b->data[--b->size] = '\0';
}

static void write_option_example(struct enso_buffer *b, const struct enso_option *o)
{
    struct enso_buffer value = ENSO_BUFFER_INIT;

    enso_buffer_putc(b, '\n');
    enso__write_wrapped(b, "# ", o->help, 90);
    enso_option_describe(o, &value);
    enso_buffer_printf(b, "# (%s%s)\n", value.failed ? "" : value.data,
                       o->reloadable ? "; taken over on SIGHUP" : "");
    if (value.failed)
        b->failed = true;
    enso_buffer_printf(b, "#%s =", o->name);
    if (o->default_text != NULL && *o->default_text != '\0')
        enso_buffer_printf(b, " %s", o->default_text);
    enso_buffer_putc(b, '\n');
    enso_buffer_done(&value);
}

void enso_options_write_example(struct enso_buffer *b)
{
    enso_buffer_puts(b, "# Example configuration of ensod: every key with its default.\n"
                        "# Rules of the file: docs/configuration.md. Check it with\n"
                        "#     ensod --config FILE --check-config\n");
    for (size_t s = 0; s < enso_n_option_sections; s++) {
        const char *section = enso_option_sections[s].name;
        bool is_model = strcmp(section, "model") == 0;

        enso_buffer_putc(b, '\n');
        enso__write_wrapped(b, "# ", enso_option_sections[s].help, 90);
        if (is_model)
            enso_buffer_puts(b, "# Keys left out here are as in [batching] and [device].\n");
        enso_buffer_printf(b, is_model ? "#[%s my-model]\n" : "[%s]\n", section);
        for (size_t i = 0; i < enso_n_options; i++) {
            if (strcmp(enso_options[i].section, section) == 0)
                write_option_example(b, &enso_options[i]);
        }
    }
}

/* --- the manual page: man(7) --- */

/* Text of a paragraph: backslashes and dashes as themselves, no line begins a request. */
static void put_man(struct enso_buffer *b, const char *text)
{
    if (*text == '.' || *text == '\'')
        enso_buffer_puts(b, "\\&");
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            enso_buffer_puts(b, "\\e");
        else if (*text == '-')
            enso_buffer_puts(b, "\\-");
        else
            enso_buffer_putc(b, *text);
    }
    enso_buffer_putc(b, '\n');
}

static void write_option_man(struct enso_buffer *b, const struct enso_option *o)
{
    struct enso_buffer value = ENSO_BUFFER_INIT;

    enso_option_describe(o, &value);
    enso_buffer_printf(b, ".TP\n.B %s\n", o->name);
    put_man(b, o->help);
    enso_buffer_puts(b, ".br\nValue: ");
    put_man(b, value.failed ? "" : value.data);
    enso_buffer_puts(b, ".br\nDefault: ");
    put_man(b,
            o->default_text != NULL && *o->default_text != '\0' ? o->default_text : default_of(o));
    if (o->environment != NULL)
        enso_buffer_printf(b, ".br\nEnvironment: %s\n", o->environment);
    if (o->flag != NULL) {
        enso_buffer_puts(b, ".br\nCommand line: ");
        put_man(b, o->flag);
    }
    if (value.failed)
        b->failed = true;
    enso_buffer_done(&value);
}

void enso_options_write_man(struct enso_buffer *b)
{
    enso_buffer_puts(
        b,
        ".\\\" SPDX-License-Identifier: Apache-2.0\n"
        ".\\\" Made from the table in config/options.c by `make configuration-docs`; edit that.\n"
        ".TH ENSOD.CONF 5 \"\" \"ensod\" \"File Formats\"\n"
        ".SH NAME\nensod.conf \\- configuration of ensod\n"
        ".SH DESCRIPTION\n"
        "The file is named by\n.B \"ensod \\-\\-config FILE\"\nor the environment variable\n"
        ".BR ENSOD_CONFIG ;\nnone is needed.\n"
        "Command line options beat environment variables, which beat the file.\n"
        ".B \"ensod \\-\\-check\\-config\"\n"
        "checks it and prints the whole configuration with where each value comes from.\n"
        ".PP\n"
        "It holds\n.B [section]\nlines and\n.B \"key = value\"\nlines, UTF-8, at most 1 MiB.\n"
        "A line that begins with # or ; is a comment, and so is the rest of a line from a ; after "
        "a blank.\n"
        "Values are not quoted.\n"
        "Lists are separated by commas; a key that takes a list may be repeated, which adds to "
        "it.\n"
        "Sizes look like 4096, 64KiB, 32MiB, 10MB; durations like 100us, 50ms, 1.5s, 5min, 2h.\n"
        "Anything unknown or out of range is an error that names file, line, section and key.\n");
    for (size_t s = 0; s < enso_n_option_sections; s++) {
        const char *section = enso_option_sections[s].name;
        const char *name = strcmp(section, "model") == 0 ? " NAME" : "";

        enso_buffer_printf(b, ".SH \"[%s%s]\"\n", section, name);
        put_man(b, enso_option_sections[s].help);
        for (size_t i = 0; i < enso_n_options; i++) {
            if (strcmp(enso_options[i].section, section) == 0)
                write_option_man(b, &enso_options[i]);
        }
    }
    enso_buffer_puts(b, ".SH SEE ALSO\n.BR ensod (8)\n");
}
