/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the reader of CSV and TSV and, on the same bytes, that of maps of labels. The first byte
 * chooses between commas and tabs.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/labels.h"
#include "cli/stream.h"
#include "cli/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_records(struct enso_table *table)
{
    const struct enso_table_record *record;
    uint64_t line = 0;
    size_t bytes = 0;
    bool more = true;

    while (enso_table_next(table, &record, &more, NULL) == ENSO_OK && more && bytes < 16 << 20) {
        if (record->n == 0 || record->n > ENSO_TABLE_MAX_FIELDS || record->line < line)
            abort();
        line = record->line;
        for (size_t i = 0; i < record->n; i++) {
            if (strlen(record->fields[i]) != record->sizes[i] ||
                record->sizes[i] > ENSO_TABLE_MAX_FIELD_BYTES)
                abort();
            bytes += record->sizes[i] + 1;
        }
    }
}

static void read_map(struct enso_table *table)
{
    struct enso_labels labels = {0};
    json_t *names = json_pack("[s,s,s]", "a", "B", "b");

    if (names != NULL && enso_labels_init(&labels, names, NULL) == ENSO_OK &&
        enso_labels_read_map_table(&labels, table, NULL) == ENSO_OK) {
        for (size_t i = 0; i < labels.n_map; i++) {
            size_t found = enso_labels_find(&labels, labels.map[i].name);

            if (found >= labels.n && found != ENSO_LABEL_SKIP)
                abort();
        }
    }
    enso_labels_done(&labels);
    json_decref(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct enso_table *) = {read_records, read_map};

    for (size_t i = 0; size > 0 && i < 2; i++) {
        struct enso_stream *stream = NULL;
        struct enso_table *table = NULL;

        if (enso_stream_open_memory(data + 1, size - 1, "fuzz", &stream, NULL) != ENSO_OK ||
            enso_table_open_stream(stream, data[0] % 2 != 0, &table, NULL) != ENSO_OK)
            continue;
        readers[i](table);
        enso_table_close(table);
    }
    return 0;
}
