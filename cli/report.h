/* SPDX-License-Identifier: Apache-2.0
 *
 * What a load run found, for people (with a histogram) and as JSON.
 */
#ifndef ENSO_CLI_REPORT_H
#define ENSO_CLI_REPORT_H

#include "base/buffer.h"
#include "cli/load.h"

/* Append to b, whose failed flag tells if memory ran out. `title` is the URL as the user knows it.
 */
void enso_report_write_text(const struct enso_load_spec *spec, const struct enso_load_result *r,
                            const char *title, struct enso_buffer *b);
void enso_report_write_json(const struct enso_load_spec *spec, const struct enso_load_result *r,
                            const char *title, struct enso_buffer *b);

/* A time as wide as `width`, three digits and a unit: "412 us", "2.05 ms", "31.2 ms", "1.50 s". */
void enso_report_put_time(struct enso_buffer *b, double ns, int width);

#endif
