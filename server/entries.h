/* SPDX-License-Identifier: Apache-2.0
 *
 * Which models there are, by the configuration and the folders that it names: ids, aliases,
 * settings. No model is read.
 *
 * A folder with model files is one model (id = its name); one without, but with model folders below
 * it, gives each (id = path below it). A duplicate id is an error.
 */
#ifndef ENSO_SERVER_ENTRIES_H
#define ENSO_SERVER_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/memory.h"
#include "config/config.h"

struct enso_served;

#define ENSO_MAX_ENTRIES 1000

enum enso_entry_state { ENSO_ENTRY_LOADING, ENSO_ENTRY_READY, ENSO_ENTRY_FAILED };

struct enso_entry {
    const char *id, *path;
    struct enso_config_batching batching;
    struct enso_config_arithmetic arithmetic;
    const char
        *device; /* that it shall run on, or several; NULL: any. The configuration's string */
    bool required;
    /* under the registry's lock */
    enum enso_entry_state state;
    struct enso_error error;    /* FAILED: why */
    struct enso_served *served; /* READY */
};

struct enso_alias {
    const char *name; /* the configuration's */
    struct enso_entry *entry;
};

struct enso_entries {
    struct enso_arena arena; /* their strings */
    struct enso_entry *items[ENSO_MAX_ENTRIES];
    size_t n;
    struct enso_alias *aliases; /* sorted by nothing: a handful */
    size_t n_aliases;
};

/* *ret must be zeroed; enso_entries_done also after an error. */
int enso_entries_read(const struct enso_config *config, struct enso_entries *ret,
                      struct enso_error *err) ENSO_MUST_CHECK;
void enso_entries_done(struct enso_entries *entries);
/* By id or alias; NULL: there is none. */
struct enso_entry *enso_entries_find(const struct enso_entries *entries, const char *id);

/* The last part of a path without trailing slashes and ".onnx": a model's id by default. */
void enso_entries_default_id(const char *path, char *id, size_t size);

#endif
