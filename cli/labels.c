/* SPDX-License-Identifier: Apache-2.0
 *
 * Labels and what they mean: see labels.h.
 */
#include "cli/labels.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/number.h"
#include "cli/table.h"

/* --- order and search --------------------------------------------------------------------------
 */

static int by_index(const struct enso_label_name *a, const struct enso_label_name *b)
{
    return (a->index > b->index) - (a->index < b->index);
}

static int compare_exact(const void *a, const void *b)
{
    const struct enso_label_name *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : by_index(x, y);
}

static int compare_folded(const void *a, const void *b)
{
    const struct enso_label_name *x = a, *y = b;
    int order = strcasecmp(x->name, y->name);

    return order != 0 ? order : compare_exact(a, b);
}

typedef int (*compare_fn)(const char *, const char *);

/* The first entry that is not before `name`. */
static size_t lower_bound(const struct enso_label_name *entries, size_t n, const char *name,
                          compare_fn compare)
{
    size_t from = 0;

    while (from < n) {
        size_t middle = from + (n - from) / 2;

        if (compare(entries[middle].name, name) < 0)
            from = middle + 1;
        else
            n = middle;
    }
    return from;
}

static size_t find_exact_in(const struct enso_label_name *entries, size_t n, const char *name)
{
    size_t at = lower_bound(entries, n, name, strcmp);

    return at < n && strcmp(entries[at].name, name) == 0 ? entries[at].index : ENSO_LABEL_UNKNOWN;
}

size_t enso_labels_find_exact(const struct enso_labels *labels, const char *name)
{
    return find_exact_in(labels->exact, labels->n, name);
}

static size_t find_folded(const struct enso_labels *labels, const char *name)
{
    const struct enso_label_name *entries = labels->folded;
    size_t first = lower_bound(entries, labels->n, name, strcasecmp);

    if (first == labels->n || strcasecmp(entries[first].name, name) != 0)
        return ENSO_LABEL_UNKNOWN;
    for (size_t i = first + 1; i < labels->n && strcasecmp(entries[i].name, name) == 0; i++) {
        if (strcmp(entries[i].name, entries[first].name) != 0)
            return ENSO_LABEL_UNKNOWN; /* "Polish" and "polish": which one is meant? */
    }
    return entries[first].index;
}

static size_t find_in_model(const struct enso_labels *labels, const char *name)
{
    size_t index = enso_labels_find_exact(labels, name);
    int64_t number;

    if (index == ENSO_LABEL_UNKNOWN)
        index = find_folded(labels, name);
    if (index == ENSO_LABEL_UNKNOWN && labels->n != 0 &&
        enso_number_parse_i64(name, 0, (int64_t)labels->n - 1, &number, NULL) == ENSO_OK)
        index = enso_labels_find_exact(labels, labels->names[number]);
    return index;
}

size_t enso_labels_find(const struct enso_labels *labels, const char *name)
{
    size_t index = find_exact_in(labels->map, labels->n_map, name);

    return index != ENSO_LABEL_UNKNOWN ? index : find_in_model(labels, name);
}

/* --- set-up ------------------------------------------------------------------------------------
 */

void enso_labels_done(struct enso_labels *labels)
{
    for (size_t i = 0; labels->names != NULL && i < labels->n; i++)
        enso_free(labels->names[i]);
    for (size_t i = 0; i < labels->n_map; i++)
        enso_free((char *)labels->map[i].name);
    enso_free(labels->names);
    enso_free(labels->exact);
    enso_free(labels->folded);
    enso_free(labels->map);
    *labels = (struct enso_labels){0};
}

static enum enso_status fill(struct enso_labels *labels, const json_t *names,
                             struct enso_error *err)
{
    for (size_t i = 0; i < labels->n; i++) {
        const json_t *value = json_array_get(names, i);
        const char *name = json_string_value(value);

        if (name == NULL || strlen(name) != json_string_length(value))
            return enso_error_set(err, ENSO_INVALID,
                                  "label %zu of the model is no text without NUL bytes", i);
        labels->names[i] = enso_strdup(name);
        if (labels->names[i] == NULL)
            return enso_error_no_memory(err, "the labels");
        labels->exact[i] = labels->folded[i] =
            (struct enso_label_name){.name = labels->names[i], .index = i};
    }
    qsort(labels->exact, labels->n, sizeof *labels->exact, compare_exact);
    qsort(labels->folded, labels->n, sizeof *labels->folded, compare_folded);
    return ENSO_OK;
}

enum enso_status enso_labels_init(struct enso_labels *labels, const json_t *names,
                                  struct enso_error *err)
{
    size_t n = json_array_size(names);
    enum enso_status st;

    *labels = (struct enso_labels){0};
    if (n == 0)
        return enso_error_set(err, ENSO_INVALID, "the model has no labels");
    if (n > ENSO_LABELS_MAX)
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "the model has %zu labels; a confusion matrix is kept of at most %d",
                              n, ENSO_LABELS_MAX);
    labels->names = enso_alloc_zero(n, sizeof *labels->names);
    labels->exact = enso_alloc_zero(n, sizeof *labels->exact);
    labels->folded = enso_alloc_zero(n, sizeof *labels->folded);
    labels->n = n;
    if (labels->names == NULL || labels->exact == NULL || labels->folded == NULL)
        st = enso_error_no_memory(err, "the labels");
    else
        st = fill(labels, names, err);
    if (st != ENSO_OK)
        enso_labels_done(labels);
    return st;
}

/* --- the map -----------------------------------------------------------------------------------
 */

static enum enso_status add_to_map(struct enso_labels *labels, size_t *capacity, const char *name,
                                   size_t index, struct enso_error *err)
{
    char *copy = enso_strdup(name);

    if (copy != NULL && labels->n_map == *capacity) {
        size_t more = *capacity != 0 ? *capacity * 2 : 64;
        struct enso_label_name *map = enso_realloc_array(labels->map, more, sizeof *map);

        if (map == NULL) {
            enso_free(copy);
            return enso_error_no_memory(err, "the map of labels");
        }
        labels->map = map;
        *capacity = more;
    }
    if (copy == NULL)
        return enso_error_no_memory(err, "the map of labels");
    labels->map[labels->n_map++] = (struct enso_label_name){.name = copy, .index = index};
    return ENSO_OK;
}

static enum enso_status take_record(struct enso_labels *labels, size_t *capacity, const char *file,
                                    const struct enso_table_record *record, struct enso_error *err)
{
    unsigned long long line = (unsigned long long)record->line;
    size_t index;

    if (record->n != 2)
        return enso_error_set(err, ENSO_INVALID,
                              "'%.200s', line %llu: %zu field%s; write two, a label of the set and "
                              "what it is called by the model",
                              file, line, record->n, record->n == 1 ? "" : "s");
    index = record->sizes[1] == 0 ? ENSO_LABEL_SKIP : find_in_model(labels, record->fields[1]);
    if (index == ENSO_LABEL_UNKNOWN)
        return enso_error_set(err, ENSO_INVALID,
                              "'%.200s', line %llu: the model has no label '%.60s'", file, line,
                              record->fields[1]);
    if (labels->n_map >= 1000000)
        return enso_error_set(err, ENSO_TOO_LARGE, "'%.200s' has more than 1,000,000 lines", file);
    return add_to_map(labels, capacity, record->fields[0], index, err);
}

static enum enso_status check_map(const struct enso_labels *labels, const char *file,
                                  struct enso_error *err)
{
    for (size_t i = 1; i < labels->n_map; i++) {
        const struct enso_label_name *a = &labels->map[i - 1], *b = &labels->map[i];

        if (strcmp(a->name, b->name) == 0 && a->index != b->index)
            return enso_error_set(err, ENSO_INVALID,
                                  "'%.200s' maps the label '%.60s' to two different ones", file,
                                  a->name);
    }
    return ENSO_OK;
}

enum enso_status enso_labels_read_map_table(struct enso_labels *labels, struct enso_table *table,
                                            struct enso_error *err)
{
    const struct enso_table_record *record;
    size_t capacity = labels->n_map;
    bool more = true;
    enum enso_status st = ENSO_OK;

    while (st == ENSO_OK && more) {
        st = enso_table_next(table, &record, &more, err);
        if (st == ENSO_OK && more)
            st = take_record(labels, &capacity, enso_table_name(table), record, err);
    }
    if (st == ENSO_OK && labels->n_map != 0)
        qsort(labels->map, labels->n_map, sizeof *labels->map, compare_exact);
    return st == ENSO_OK ? check_map(labels, enso_table_name(table), err) : st;
}

enum enso_status enso_labels_read_map(struct enso_labels *labels, const char *path,
                                      struct enso_error *err)
{
    struct enso_table *table = NULL;
    enum enso_status st = enso_table_open(path, &table, err);

    if (st == ENSO_OK)
        st = enso_labels_read_map_table(labels, table, err);
    enso_table_close(table);
    return st;
}
