/* SPDX-License-Identifier: Apache-2.0
 *
 * A labelled set on disk, item by item: a CSV or TSV of texts, a folder or an archive (tar, zip;
 * compressed or not) of pictures with a folder for each class, or the idx files of MNIST fame. The
 * path tells which it is.
 *
 *     st = enso_dataset_open(&spec, &set, err);
 *     while ((st = enso_dataset_next(set, &item, &more, err)) == ENSO_OK && more)
 *         ... item.name, item.label; and if its content is wanted:
 *         st = enso_dataset_read(set, &content, &problem, err);
 *     enso_dataset_close(set);
 *
 * Sets are streamed: memory does not depend on their size. To read one again, open it again; the
 * order is always the same (folders: sorted by bytes). Nothing is ever written to disk. The bytes
 * are hostile; what makes the set as a whole useless is an error that names file and place, what
 * makes one item useless is that item's problem. One owner at a time.
 *
 * A new kind is a file of its own with a struct enso_dataset_kind, and a row in dataset.c.
 */
#ifndef ENSO_CLI_DATASET_H
#define ENSO_CLI_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"

#define ENSO_DATASET_MAX_PICTURE ((size_t)64 << 20) /* bytes, encoded */

struct enso_labels;

struct enso_dataset_spec {
    const char *path;
    const char *labels_path;                /* of an idx set; NULL: found beside it by name */
    const char *text_column, *label_column; /* of a CSV: a name or a number from 1; or NULL */
    const struct enso_labels *labels;       /* the model's: they tell a label column from a text */
};

/* Borrowed until the next call. */
struct enso_dataset_item {
    const char *name;  /* "line 17", "index 17" (idx, from 0), "cat/7.png" */
    const char *label; /* as the set has it */
};

struct enso_dataset; /* opaque */

enum enso_status enso_dataset_open(const struct enso_dataset_spec *spec, struct enso_dataset **ret,
                                   struct enso_error *err) ENSO_MUST_CHECK;
void enso_dataset_close(struct enso_dataset *set); /* NULL is fine */

bool enso_dataset_has_pictures(const struct enso_dataset *set); /* else texts */

/* The next item; *ret_more is false after the last. */
enum enso_status enso_dataset_next(struct enso_dataset *set, struct enso_dataset_item *ret,
                                   bool *ret_more, struct enso_error *err) ENSO_MUST_CHECK;

/* The content of the item that _next gave, once: a text in UTF-8, or a JPEG, PNG or WebP. What is
 * wrong with this item alone goes into ret_problem (empty before), and content is of no use then;
 * errors are of the set, or of memory. */
enum enso_status enso_dataset_read(struct enso_dataset *set, struct enso_buffer *content,
                                   struct enso_error *ret_problem,
                                   struct enso_error *err) ENSO_MUST_CHECK;

/* What lies in the set and is no item, so far: links, hidden files, files in no class's folder. */
uint64_t enso_dataset_skipped(const struct enso_dataset *set);

/* --- for the kinds -----------------------------------------------------------------------------
 */

/* The contracts are those above; `open` fills a state of `state_size` zeroed bytes, which `close`
 * releases whether or not open succeeded. */
struct enso_dataset_kind {
    size_t state_size;
    bool pictures;
    enum enso_status (*open)(void *state, const struct enso_dataset_spec *spec,
                             struct enso_error *err);
    enum enso_status (*next)(void *state, struct enso_dataset_item *ret, bool *ret_more,
                             struct enso_error *err);
    enum enso_status (*read)(void *state, struct enso_buffer *content,
                             struct enso_error *ret_problem, struct enso_error *err);
    uint64_t (*skipped)(const void *state); /* NULL: nothing ever */
    void (*close)(void *state);
};

extern const struct enso_dataset_kind enso_dataset_csv, enso_dataset_idx, enso_dataset_archive,
    enso_dataset_folder;

/* Is this file an item by its name? Hidden ones are not. `path` has '/' between folders; the class
 * is the last folder, copied to `label`. */
bool enso_dataset_split_path(const char *path, struct enso_buffer *label);

/* Says that `content` is no picture that could be sent, if so. */
void enso_dataset_check_picture(const struct enso_buffer *content, struct enso_error *ret_problem);

#endif
