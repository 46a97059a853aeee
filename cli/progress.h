/* SPDX-License-Identifier: Apache-2.0
 *
 * A line on standard error that says how far a long run is: a bar, the rate, the time left. Nothing
 * at all unless standard error is a terminal. The caller's clock; drawn at most ten times a second.
 */
#ifndef ENSO_CLI_PROGRESS_H
#define ENSO_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct enso_progress {
    bool shown;       /* standard error is a terminal */
    bool drawn;       /* something stands on the line */
    unsigned columns; /* of the terminal when it was last drawn; 0: any number */
    uint64_t total, begin_ns, drawn_ns;
};

/* total 0: nobody knows, then it is a count. */
void enso_progress_init(struct enso_progress *progress, uint64_t total, uint64_t now_ns);

/* `note` stands behind the figures; may be "". */
void enso_progress_show(struct enso_progress *progress, uint64_t done, const char *note,
                        uint64_t now_ns);
void enso_progress_done(struct enso_progress *progress); /* wipes the line */

/* The line itself: "[####      ] 1234/5000  612.1/s  6 s left  note". Where columns are few the bar
 * is left out, and what is too long is cut: a wrapped line could not be wiped. */
void enso_progress_write(const struct enso_progress *progress, uint64_t done, const char *note,
                         uint64_t now_ns, struct enso_buffer *b);

#endif
