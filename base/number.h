/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers to text and text to numbers.
 *
 * Writing: the shortest decimal that reads back as the same bits, in the grammar of JSON. Built for
 * answers that are arrays of thousands of float32 (embeddings): about 30 ns a number, no locale, no
 * allocation. 1.0 is written "1.0" (never "1"), so that a reader keeps it a float; exponents look
 * like "1e-7" and "1.5e+20". JSON has no NaN and no infinities: they are written "null".
 *
 * Reading: strict parsers for configuration values and headers. The whole text must be the value;
 * no blanks, no sign where none makes sense, no silent wrap-around.
 *
 * All functions are pure and safe from any thread.
 */
#ifndef ENSO_BASE_NUMBER_H
#define ENSO_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct enso_buffer;

#define ENSO_NUMBER_F32_SIZE 24 /* room for any float32, NUL included */
#define ENSO_NUMBER_F64_SIZE 32 /* room for any double, NUL included */

/* Write x as JSON, NUL-terminated; bytes written without the NUL. float: Schubfach (R. Giulietti,
 * "The Schubfach way to render doubles", 2021) with the 77 powers of ten that float32 needs.
 * double: the first of 15, 16 and 17 digits that reads back equal (about 1 us). */
size_t enso_number_write_f32(float x, char out[ENSO_NUMBER_F32_SIZE]);
size_t enso_number_write_f64(double x, char out[ENSO_NUMBER_F64_SIZE]);

/* Decimal digits of an integer, NUL-terminated; bytes written without the NUL (at most 20). */
size_t enso_number_write_u64(uint64_t x, char out[24]);
size_t enso_number_write_i64(int64_t x, char out[24]);

/* Append to a buffer. The array form writes "[0.25,-1.0,null]". */
void enso_buffer_put_f32(struct enso_buffer *b, float x);
void enso_buffer_put_f64(struct enso_buffer *b, double x);
void enso_buffer_put_u64(struct enso_buffer *b, uint64_t x);
void enso_buffer_put_i64(struct enso_buffer *b, int64_t x);
void enso_buffer_put_f32_array(struct enso_buffer *b, const float *x, size_t n);

/* A decimal integer within [min, max]: "-12". s is NUL-terminated. ENSO_INVALID with a sentence
 * that quotes the value and says what is expected. */
enum enso_status enso_number_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret,
                                       struct enso_error *err);

/* Bytes within [min, max]: "4096", "64KiB", "32MiB", "1GiB", "2TiB", "10kB", "10MB", "10GB" (powers
 * of 1000), "512B". Upper and lower case as written here. */
enum enso_status enso_number_parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *ret,
                                        struct enso_error *err);

/* A duration in nanoseconds within [min_ns, max_ns]: "50ms", "0.5s", "30s", "5min", "2h", "100us".
 * A unit is needed, except for "0". */
enum enso_status enso_number_parse_duration(const char *s, uint64_t min_ns, uint64_t max_ns,
                                            uint64_t *ret_ns, struct enso_error *err);

/* The same values as text that the parsers read back: "32MiB", "1500ms". NUL-terminated. */
void enso_number_format_size(uint64_t bytes, char out[32]);
void enso_number_format_duration(uint64_t ns, char out[32]);

#endif
