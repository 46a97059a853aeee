/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of options: one row for each key of the configuration. Private to config/ and its
 * tests; other floors read struct enso_config.
 */
#ifndef ENSO_CONFIG_OPTIONS_H
#define ENSO_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

struct enso_buffer;

/* The C type at `offset`. */
enum enso_option_type {
    ENSO_OPTION_BOOL,     /* bool: yes, no, true, false, on, off */
    ENSO_OPTION_INT,      /* int64_t */
    ENSO_OPTION_SIZE,     /* uint64_t bytes: 64KiB, 32MiB */
    ENSO_OPTION_DURATION, /* uint64_t nanoseconds: 50ms, 30s */
    ENSO_OPTION_MS,       /* uint64_t nanoseconds, written as a number of milliseconds */
    ENSO_OPTION_STRING,   /* const char * */
    ENSO_OPTION_LIST,     /* struct enso_config_list */
    ENSO_OPTION_ENUM,     /* int: one of choices */
};

struct enso_option_choice {
    const char *name;
    int value;
};

/* Where a row applies. [model NAME] rows have section "model" and offsets in enso_config_model. */
struct enso_option {
    const char *section, *name;
    enum enso_option_type type;
    bool reloadable; /* taken over on SIGHUP */
    size_t offset;
    const char *default_text; /* NULL in [model]: from [batching] or [device], or nothing */
    uint64_t min, max;        /* INT, SIZE, DURATION (ns), MS (ns); LIST: most items */
    const struct enso_option_choice *choices; /* ENUM: ended by a NULL name */
    enum enso_status (*check)(const char *value, struct enso_error *err); /* STRING, LIST items */
    const char *environment;                                              /* variable, or NULL */
    const char *flag;                                                     /* "--listen", or NULL */
    const char *argument; /* of the flag: "ADDR:PORT" */
    const char *help;     /* one or two sentences */
};

extern const struct enso_option enso_options[];
extern const size_t enso_n_options;

/* Sections in the order of the example file, with a sentence each. */
struct enso_option_section {
    const char *name, *help;
};
extern const struct enso_option_section enso_option_sections[];
extern const size_t enso_n_option_sections;

const struct enso_option *enso_option_find(const char *section, const char *name); /* or NULL */

/* Write the value `text` says at base + o->offset. Lists are added to when `add`, else replaced.
 * Strings are copied into the arena. Errors name neither file nor key: the caller does. */
enum enso_status enso_option_set(const struct enso_option *o, void *base, struct enso_arena *arena,
                                 const char *text, bool add, struct enso_error *err);

/* The value as text that enso_option_set reads back. */
void enso_option_format(const struct enso_option *o, const void *base, struct enso_buffer *b);

/* What values look like, for people: "cpu or cuda:N", "0 to 1024". */
void enso_option_describe(const struct enso_option *o, struct enso_buffer *b);

/* The candidate nearest to `name` by edit distance, or NULL if none is near. */
const char *enso_option_nearest(const char *name, const char *const *candidates, size_t n);

/* The documents made from the table. */
void enso_options_write_markdown(struct enso_buffer *b); /* docs/configuration.md */
void enso_options_write_example(struct enso_buffer *b);  /* docs/ensod.conf.example */
void enso_options_write_man(struct enso_buffer *b);      /* docs/ensod.conf.5 */

#endif
