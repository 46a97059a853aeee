/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of a CSV or TSV file, one after the other, with the line each began on; over libcsv.
 * CSV is RFC 4180 (quotes, doubled quotes, fields over several lines), read as generously as
 * Python's csv module reads it: a quote inside an unquoted field is a quote, blanks are kept. TSV
 * knows no quotes. Line ends are LF, CRLF or CR, a byte order mark is left out, empty lines are
 * passed over.
 *
 *     st = enso_table_open("test.csv", &table, err);
 *     while ((st = enso_table_next(table, &record, &more, err)) == ENSO_OK && more)
 *         ... record.n fields, record.fields[i] of record.sizes[i] bytes, record.line ...
 *     enso_table_close(table);
 *
 * The bytes are hostile: a field over 1 MiB, more than 1,000 fields, a NUL, UTF-16, a quote
 * without its end are errors that name the line. Memory is bounded whatever the file's size.
 */
#ifndef ENSO_CLI_TABLE_H
#define ENSO_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

#define ENSO_TABLE_MAX_FIELDS 1000
#define ENSO_TABLE_MAX_FIELD_BYTES ((size_t)1 << 20)

struct enso_stream;
struct enso_table; /* opaque */

/* Borrowed from the table until its next call. Fields end with a NUL and hold none; they need not
 * be UTF-8. */
struct enso_table_record {
    size_t n; /* at least 1 */
    const char *fields[ENSO_TABLE_MAX_FIELDS];
    size_t sizes[ENSO_TABLE_MAX_FIELDS];
    uint64_t line; /* its first, from 1 */
};

/* ".tsv" or ".tab" (before ".gz" and the like): tabs. Else commas. */
bool enso_table_is_tabbed(const char *path);

enum enso_status enso_table_open(const char *path, struct enso_table **ret,
                                 struct enso_error *err) ENSO_MUST_CHECK;
/* Takes the stream, also on failure. */
enum enso_status enso_table_open_stream(struct enso_stream *stream, bool tabbed,
                                        struct enso_table **ret,
                                        struct enso_error *err) ENSO_MUST_CHECK;
void enso_table_close(struct enso_table *table); /* NULL is fine */

/* The next record, borrowed; *ret_more is false after the last. */
enum enso_status enso_table_next(struct enso_table *table, const struct enso_table_record **ret,
                                 bool *ret_more, struct enso_error *err) ENSO_MUST_CHECK;

const char *enso_table_name(const struct enso_table *table); /* the file's */

#endif
