/* SPDX-License-Identifier: Apache-2.0
 *
 * CSV and TSV records: see table.h. libcsv is fed one line at a time (up to and with its LF or CR),
 * so that at most one record ends in a feed and the line of each is known.
 */
#include "cli/table.h"

#include <string.h>
#include <strings.h>

#include <csv.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "cli/stream.h"

#define BLOCK_BYTES 65536
#define RECORD_MAX ((size_t)8 << 20)

struct enso_table {
    struct enso_stream *stream;
    struct csv_parser csv;
    bool has_csv, tabbed;
    char block[BLOCK_BYTES];
    size_t at, size; /* in the block */
    bool began, ended;
    uint64_t line;    /* of the byte at `at` */
    char last;        /* the byte before it */
    bool inside;      /* a record has begun and not ended */
    bool complete;    /* the last feed ended a record */
    bool many_fields; /* more than there may be */
    struct enso_buffer text;
    size_t offsets[ENSO_TABLE_MAX_FIELDS];
    struct enso_table_record record;
};

/* --- libcsv's callbacks ------------------------------------------------------------------------
 */

static void on_field(void *field, size_t size, void *user)
{
    struct enso_table *table = user;
    struct enso_table_record *record = &table->record;

    if (table->complete) { /* the first field of a new record */
        table->complete = false;
        record->n = 0;
        enso_buffer_clear(&table->text);
    }
    if (record->n == ENSO_TABLE_MAX_FIELDS) {
        table->many_fields = true;
        return;
    }
    table->offsets[record->n] = table->text.size;
    record->sizes[record->n++] = size;
    if (size != 0)
        enso_buffer_append(&table->text, field, size);
    enso_buffer_putc(&table->text, '\0');
}

static void on_record(int end, void *user)
{
    struct enso_table *table = user;

    (void)end;
    table->complete = true;
    table->inside = false;
}

static int is_never_space(unsigned char c)
{
    (void)c;
    return 0;
}

/* libcsv asks for half as much more until it gets some: the buffer ends at the limit exactly. */
static void *resize(void *p, size_t size)
{
    return size <= ENSO_TABLE_MAX_FIELD_BYTES ? enso_realloc_array(p, size, 1) : NULL;
}

/* --- open and close ----------------------------------------------------------------------------
 */

bool enso_table_is_tabbed(const char *path)
{
    static const char *const packed[] = {".gz", ".bz2", ".xz", ".zst"};
    size_t n = strlen(path);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(packed); i++) {
        size_t m = strlen(packed[i]);

        if (n > m && strcasecmp(path + n - m, packed[i]) == 0) {
            n -= m;
            break;
        }
    }
    return n > 4 &&
           (strncasecmp(path + n - 4, ".tsv", 4) == 0 || strncasecmp(path + n - 4, ".tab", 4) == 0);
}

enum enso_status enso_table_open_stream(struct enso_stream *stream, bool tabbed,
                                        struct enso_table **ret, struct enso_error *err)
{
    struct enso_table *table = enso_alloc_zero(1, sizeof *table);

    if (table == NULL || csv_init(&table->csv, 0) != 0) {
        enso_free(table);
        enso_stream_close(stream);
        return enso_error_no_memory(err, "the table");
    }
    table->has_csv = true;
    table->stream = stream;
    table->tabbed = tabbed;
    table->line = 1;
    table->complete = true;
    table->text.limit = RECORD_MAX;
    csv_set_space_func(&table->csv, is_never_space);
    csv_set_realloc_func(&table->csv, resize);
    csv_set_free_func(&table->csv, enso_free);
    csv_set_blk_size(&table->csv, 4096);
    if (tabbed) {
        csv_set_delim(&table->csv, CSV_TAB);
        csv_set_quote(&table->csv, 0); /* a NUL never gets there: no quotes */
    }
    *ret = table;
    return ENSO_OK;
}

enum enso_status enso_table_open(const char *path, struct enso_table **ret, struct enso_error *err)
{
    struct enso_stream *stream = NULL;
    enum enso_status st = enso_stream_open(path, &stream, err);

    return st == ENSO_OK ? enso_table_open_stream(stream, enso_table_is_tabbed(path), ret, err)
                         : st;
}

void enso_table_close(struct enso_table *table)
{
    if (table == NULL)
        return;
    if (table->has_csv)
        csv_free(&table->csv);
    enso_buffer_done(&table->text);
    enso_stream_close(table->stream);
    enso_free(table);
}

const char *enso_table_name(const struct enso_table *table)
{
    return enso_stream_name(table->stream);
}

/* --- reading -----------------------------------------------------------------------------------
 */

static enum enso_status wrong(const struct enso_table *table, const char *what,
                              struct enso_error *err)
{
    return enso_error_set(err, ENSO_INVALID, "'%.200s', line %llu: %s", enso_table_name(table),
                          (unsigned long long)(table->inside ? table->record.line : table->line),
                          what);
}

static enum enso_status fill_block(struct enso_table *table, struct enso_error *err)
{
    enum enso_status st =
        enso_stream_read(table->stream, table->block, BLOCK_BYTES, &table->size, err);

    if (st != ENSO_OK)
        return st;
    table->at = 0;
    table->ended = table->size == 0;
    if (table->began)
        return ENSO_OK;
    table->began = true;
    if (table->size >= 3 && memcmp(table->block, "\xef\xbb\xbf", 3) == 0)
        table->at = 3;
    if (table->size >= 2 &&
        (memcmp(table->block, "\xff\xfe", 2) == 0 || memcmp(table->block, "\xfe\xff", 2) == 0))
        return wrong(table, "this is UTF-16; save it as UTF-8", err);
    return ENSO_OK;
}

/* Why libcsv took less than it was given, or what a callback could not keep. */
static enum enso_status check_feed(struct enso_table *table, bool whole, struct enso_error *err)
{
    if (!whole && csv_get_buffer_size(&table->csv) >= ENSO_TABLE_MAX_FIELD_BYTES)
        return wrong(table,
                     table->tabbed ? "a field is over 1 MiB"
                                   : "a field is over 1 MiB; does a quote lack its end?",
                     err);
    if (table->many_fields)
        return wrong(table, "more than 1,000 fields", err);
    if (table->text.failed && table->text.size + ENSO_TABLE_MAX_FIELD_BYTES > RECORD_MAX)
        return wrong(table, "more than 8 MiB in one record", err);
    if (!whole || table->text.failed)
        return enso_error_no_memory(err, "a line of the table");
    return ENSO_OK;
}

/* The rest of this line, or of the block. */
static enum enso_status feed_line(struct enso_table *table, struct enso_error *err)
{
    const char *start = table->block + table->at;
    size_t left = table->size - table->at, n = 0;
    char last = '\0';

    while (n < left && last != '\n' && last != '\r')
        last = start[n++];
    if (memchr(start, '\0', n) != NULL)
        return wrong(table, "a NUL byte; this is no UTF-8 text", err);
    if (!table->inside) {
        table->record.line = table->line;
        table->inside = n > 1 || (last != '\n' && last != '\r');
    }
    if (csv_parse(&table->csv, start, n, on_field, on_record, table) != n)
        return check_feed(table, false, err);
    table->at += n;
    table->line += last == '\r' || (last == '\n' && (n > 1 || table->last != '\r'));
    table->last = last;
    return check_feed(table, true, err);
}

static enum enso_status finish(struct enso_table *table, struct enso_error *err)
{
    (void)csv_set_opts(&table->csv, table->tabbed ? 0 : CSV_STRICT | CSV_STRICT_FINI);
    if (csv_fini(&table->csv, on_field, on_record, table) == 0)
        return check_feed(table, true, err);
    if (csv_error(&table->csv) == CSV_EPARSE)
        return wrong(table, "a quoted field has no end", err);
    return check_feed(table, false, err);
}

enum enso_status enso_table_next(struct enso_table *table, const struct enso_table_record **ret,
                                 bool *ret_more, struct enso_error *err)
{
    struct enso_table_record *record = &table->record;
    enum enso_status st = ENSO_OK;

    record->n = 0;
    while (st == ENSO_OK && (record->n == 0 || !table->complete)) {
        if (table->at < table->size) {
            st = feed_line(table, err);
        } else if (!table->ended) {
            st = fill_block(table, err);
        } else {
            st = finish(table, err);
            break;
        }
    }
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < record->n; i++)
        record->fields[i] = table->text.data + table->offsets[i];
    *ret = record;
    *ret_more = record->n != 0;
    return ENSO_OK;
}
