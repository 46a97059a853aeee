/* SPDX-License-Identifier: Apache-2.0
 *
 * A labelled set that is a CSV or TSV: a text and a label in each record. Which columns they are
 * is said by the user, or told by a header of well-known names, or, where there are just two, by
 * the first record: the label is its first field where that is a label of the model while the
 * second is not, else the second. More columns are not guessed: an id would soon be taken for a
 * label's number.
 */
#include "cli/dataset.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/number.h"
#include "base/utf8.h"
#include "cli/labels.h"
#include "cli/table.h"

struct csv_set {
    struct enso_table *table;
    const struct enso_table_record *record;
    size_t text, label; /* columns */
    bool waiting;       /* the record was read for the columns and is still to be given */
    char name[32];
};

static const char *const text_names[] = {"text",  "sentence", "utterance", "query",   "question",
                                         "input", "content",  "review",    "comment", "message"};
static const char *const label_names[] = {"label",  "labels", "category", "class",
                                          "intent", "topic",  "target",   "sentiment"};

#define NONE SIZE_MAX

static size_t find_column(const struct enso_table_record *record, const char *name)
{
    for (size_t i = 0; i < record->n; i++) {
        if (strcasecmp(record->fields[i], name) == 0)
            return i;
    }
    return NONE;
}

static size_t find_known(const struct enso_table_record *record, const char *const *names, size_t n)
{
    size_t column = NONE;

    for (size_t i = 0; i < n && column == NONE; i++)
        column = find_column(record, names[i]);
    return column;
}

/* What the user said about a column: a number, or a name (then there is a header). */
static enum enso_status said_column(const struct csv_set *set, const char *option,
                                    const char *value, size_t *column, bool *header,
                                    struct enso_error *err)
{
    int64_t number;

    if (value == NULL)
        return ENSO_OK;
    if (enso_number_parse_i64(value, 1, ENSO_TABLE_MAX_FIELDS, &number, NULL) == ENSO_OK) {
        *column = (size_t)number - 1;
        return ENSO_OK;
    }
    *column = find_column(set->record, value);
    *header = true;
    if (*column != NONE)
        return ENSO_OK;
    return enso_error_set(err, ENSO_INVALID,
                          "'%.200s', line %llu: no column is called '%.60s'; --%s takes a name of "
                          "the first line or a number from 1",
                          enso_table_name(set->table), (unsigned long long)set->record->line, value,
                          option);
}

static bool is_label(const struct enso_labels *labels, const struct enso_table_record *record,
                     size_t column)
{
    return labels != NULL && column < record->n &&
           enso_labels_find(labels, record->fields[column]) != ENSO_LABEL_UNKNOWN;
}

/* The columns that nobody named: by a header of known names, else by the first record. */
static void guess_columns(struct csv_set *set, const struct enso_dataset_spec *spec, bool *header)
{
    const struct enso_table_record *record = set->record;
    size_t text = find_known(record, text_names, ENSO_ARRAY_SIZE(text_names));
    size_t label = find_known(record, label_names, ENSO_ARRAY_SIZE(label_names));
    bool first;

    /* Of two columns one well-known name is enough, if neither could be an item's label. */
    if (set->text == NONE && set->label == NONE && record->n == 2 &&
        (text == NONE) != (label == NONE) && !is_label(spec->labels, record, 0) &&
        !is_label(spec->labels, record, 1)) {
        text = text != NONE ? text : 1 - label;
        label = 1 - text;
    }
    if (set->text == NONE && set->label == NONE && text != NONE && label != NONE)
        *header = true;
    else if (set->text != NONE && label != NONE && label != set->text)
        *header = true;
    else if (set->label != NONE && text != NONE && text != set->label)
        *header = true;
    if (*header && set->text == NONE)
        set->text = text;
    if (*header && set->label == NONE)
        set->label = label;
    first = is_label(spec->labels, record, 0) && !is_label(spec->labels, record, 1);
    if (set->label == NONE)
        set->label = set->text != NONE ? set->text == 0 : !first;
    if (set->text == NONE)
        set->text = set->label == 0;
}

static enum enso_status choose_columns(struct csv_set *set, const struct enso_dataset_spec *spec,
                                       struct enso_error *err)
{
    bool header = false, said;
    enum enso_status st;

    set->text = set->label = NONE;
    st = said_column(set, "text-column", spec->text_column, &set->text, &header, err);
    if (st == ENSO_OK)
        st = said_column(set, "label-column", spec->label_column, &set->label, &header, err);
    if (st != ENSO_OK)
        return st;
    said = set->text != NONE || set->label != NONE;
    if (set->text == NONE || set->label == NONE || !header)
        guess_columns(set, spec, &header);
    if (!said && !header && set->record->n > 2)
        return enso_error_set(err, ENSO_INVALID,
                              "'%.200s', line %llu: %zu fields, and no header that tells text and "
                              "label; name them with --text-column and --label-column",
                              enso_table_name(set->table), (unsigned long long)set->record->line,
                              set->record->n);
    if (set->text == set->label)
        return enso_error_set(err, ENSO_INVALID, "text and label are the same column of '%.200s'",
                              enso_table_name(set->table));
    set->waiting = !header;
    return ENSO_OK;
}

static enum enso_status csv_open(void *state, const struct enso_dataset_spec *spec,
                                 struct enso_error *err)
{
    struct csv_set *set = state;
    bool more = false;
    enum enso_status st = enso_table_open(spec->path, &set->table, err);

    if (st == ENSO_OK)
        st = enso_table_next(set->table, &set->record, &more, err);
    if (st == ENSO_OK && !more)
        st = enso_error_set(err, ENSO_INVALID, "'%.200s' is empty", spec->path);
    return st == ENSO_OK ? choose_columns(set, spec, err) : st;
}

static enum enso_status csv_next(void *state, struct enso_dataset_item *ret, bool *ret_more,
                                 struct enso_error *err)
{
    struct csv_set *set = state;
    enum enso_status st = ENSO_OK;
    size_t need = ENSO_MAX(set->text, set->label) + 1;

    *ret_more = true;
    if (!set->waiting)
        st = enso_table_next(set->table, &set->record, ret_more, err);
    set->waiting = false;
    if (st != ENSO_OK || !*ret_more)
        return st;
    if (set->record->n == 1)
        return enso_error_set(err, ENSO_INVALID,
                              "'%.200s', line %llu: 1 field, but text and label are two; commas "
                              "part the fields of a .csv, tabs those of a .tsv",
                              enso_table_name(set->table), (unsigned long long)set->record->line);
    if (set->record->n < need)
        return enso_error_set(err, ENSO_INVALID,
                              "'%.200s', line %llu: %zu fields, but text and label are columns "
                              "%zu and %zu; name them with --text-column and --label-column",
                              enso_table_name(set->table), (unsigned long long)set->record->line,
                              set->record->n, set->text + 1, set->label + 1);
    (void)snprintf(set->name, sizeof set->name, "line %llu", /* fits */
                   (unsigned long long)set->record->line);
    *ret = (struct enso_dataset_item){.name = set->name, .label = set->record->fields[set->label]};
    return ENSO_OK;
}

static enum enso_status csv_read(void *state, struct enso_buffer *content,
                                 struct enso_error *ret_problem, struct enso_error *err)
{
    struct csv_set *set = state;
    const char *text = set->record->fields[set->text];
    size_t size = set->record->sizes[set->text];

    (void)err; /* content tells of memory */
    if (!enso_utf8_valid(text, size, NULL))
        (void)enso_error_set(ret_problem, ENSO_INVALID, "the text is not UTF-8"); /* of the item */
    enso_buffer_append(content, text, size);
    return ENSO_OK;
}

static void csv_close(void *state)
{
    struct csv_set *set = state;

    enso_table_close(set->table);
}

const struct enso_dataset_kind enso_dataset_csv = {
    .state_size = sizeof(struct csv_set),
    .pictures = false,
    .open = csv_open,
    .next = csv_next,
    .read = csv_read,
    .close = csv_close,
};
