/* SPDX-License-Identifier: Apache-2.0
 *
 * Label names of classifiers, from the three places where they are kept: config.json's id2label,
 * an array in ensod.json, a text file with a label a line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/model/model_internal.h"

#define MAX_LABELS 1000000
#define MAX_LABELS_FILE (64u << 20)

static const char **labels_alloc(struct enso_model *m, size_t n, struct enso_error *err)
{
    const char **labels = enso_arena_alloc_zero(&m->arena, n != 0 ? n : 1, sizeof *labels);

    if (labels == NULL)
        (void)enso_error_no_memory(err, "label names");
    return labels;
}

/* A canonical label number ("0", "17"), or -1. */
static long label_number(const char *key)
{
    char *end;
    long i;

    if (key[0] < '0' || key[0] > '9' || (key[0] == '0' && key[1] != '\0'))
        return -1;
    errno = 0;
    i = strtol(key, &end, 10);
    return errno == 0 && *end == '\0' && i < MAX_LABELS ? i : -1;
}

int enso__labels_from_config(struct enso_model *m, const json_t *config, uint32_t n_labels,
                             struct enso_error *err)
{
    const json_t *table = json_object_get(config, "id2label");
    const char **labels = labels_alloc(m, n_labels, err);
    const char *key;
    json_t *value;

    if (labels == NULL)
        return ENSO_NO_MEMORY;
    if (table != NULL && !json_is_null(table)) {
        if (!json_is_object(table) || json_object_size(table) != n_labels)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "config.json: id2label has %zu labels, but the classifier has %u "
                                  "outputs; make them equal",
                                  json_is_object(table) ? json_object_size(table) : 0, n_labels);
        json_object_foreach((json_t *)table, key, value)
        {
            long i = label_number(key);

            if (i < 0 || i >= (long)n_labels || !json_is_string(value))
                return enso_error_set(err, ENSO_CORRUPT,
                                      "config.json: id2label[\"%s\"] must be a string under a "
                                      "number from 0 to %u",
                                      key, n_labels - 1);
            labels[i] = enso__model_keep(m, json_string_value(value));
            if (labels[i] == NULL)
                return enso_error_no_memory(err, "label names");
        }
    } else {
        for (uint32_t i = 0; i < n_labels; i++) {
            char name[32];

            (void)snprintf(name, sizeof name, "LABEL_%u", i);
            labels[i] = enso__model_keep(m, name);
            if (labels[i] == NULL)
                return enso_error_no_memory(err, "label names");
        }
    }
    m->info.labels = labels;
    m->info.n_labels = n_labels;
    return ENSO_OK;
}

int enso__labels_from_array(struct enso_model *m, const json_t *array, const char *where,
                            struct enso_error *err)
{
    size_t n = json_array_size(array);
    const char **labels;

    if (n == 0 || n > MAX_LABELS)
        return enso_error_set(err, ENSO_CORRUPT, "%s: 'labels' must hold 1 to %d names", where,
                              MAX_LABELS);
    labels = labels_alloc(m, n, err);
    if (labels == NULL)
        return ENSO_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(array, i));

        if (name == NULL)
            return enso_error_set(err, ENSO_CORRUPT, "%s: labels[%zu] is not a string", where, i);
        labels[i] = enso__model_keep(m, name);
        if (labels[i] == NULL)
            return enso_error_no_memory(err, "label names");
    }
    m->info.labels = labels;
    m->info.n_labels = (uint32_t)n;
    return ENSO_OK;
}

int enso__labels_from_file(struct enso_model *m, const char *path, struct enso_error *err)
{
    char *text, *line, *end;
    size_t size, n = 0;
    json_t *array;
    int st = enso_file_read(path, MAX_LABELS_FILE, &text, &size, err);

    if (st != ENSO_OK)
        return st;
    array = json_array();
    for (line = text; array != NULL && *line != '\0'; line = end) {
        size_t length = strcspn(line, "\r\n");

        end = line + length;
        end += strspn(end, "\r");
        if (*end == '\n')
            end++;
        if (json_array_append_new(array, json_stringn(line, length)) != 0) {
            st = enso_error_set(err, ENSO_CORRUPT, "%s: line %zu is not UTF-8", path, n + 1);
            break;
        }
        n++;
    }
    if (array == NULL)
        st = enso_error_no_memory(err, "label names");
    if (st == ENSO_OK)
        st = enso__labels_from_array(m, array, path, err);
    json_decref(array);
    enso_free(text);
    return st;
}
