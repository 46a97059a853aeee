/* SPDX-License-Identifier: Apache-2.0
 *
 * The labels of a model, and what the labels of a labelled set mean among them. A set's label is
 * looked up in this order: in the map the user gave, exactly, without regard to ASCII case (unless
 * that is ambiguous), as the number of a label, from 0.
 *
 * Where a model has one name twice, both mean the first: the server's answers are names, too.
 * Built for up to some thousand labels and a look-up per item.
 */
#ifndef ENSO_CLI_LABELS_H
#define ENSO_CLI_LABELS_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "base/macros.h"

#define ENSO_LABEL_UNKNOWN SIZE_MAX
#define ENSO_LABEL_SKIP (SIZE_MAX - 1) /* the map says: leave such items out */
#define ENSO_LABELS_MAX 4096           /* a confusion matrix of 64 MiB */

struct enso_label_name {
    const char *name;
    size_t index; /* the class; in a map also _SKIP */
};

/* Zero-initialise; release with enso_labels_done. */
struct enso_labels {
    size_t n;
    char **names;                   /* [n] of the classes, owned */
    struct enso_label_name *exact;  /* [n] sorted by bytes, then by index */
    struct enso_label_name *folded; /* [n] sorted without regard to case */
    struct enso_label_name *map;    /* [n_map] sorted by bytes; names owned */
    size_t n_map;
};

struct enso_table;

/* Out of the array of names that /v1/models/{id} tells. ENSO_INVALID for what is no such array. */
enum enso_status enso_labels_init(struct enso_labels *labels, const json_t *names,
                                  struct enso_error *err) ENSO_MUST_CHECK;
void enso_labels_done(struct enso_labels *labels);

/* Records of two fields: a label of the set, and what it means: a label of the model or its number;
 * nothing: items that carry it are left out. Errors name file and line. */
enum enso_status enso_labels_read_map(struct enso_labels *labels, const char *path,
                                      struct enso_error *err) ENSO_MUST_CHECK;
enum enso_status enso_labels_read_map_table(struct enso_labels *labels, struct enso_table *table,
                                            struct enso_error *err) ENSO_MUST_CHECK;

/* The class that a set's label means; _UNKNOWN or _SKIP. */
size_t enso_labels_find(const struct enso_labels *labels, const char *name);

/* The class of that very name, as an answer tells it; _UNKNOWN. */
size_t enso_labels_find_exact(const struct enso_labels *labels, const char *name);

#endif
