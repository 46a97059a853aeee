/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a Server-Timing header: "queue;dur=0.12, compute;dur=3.4;desc=\"a, b\"". Only names and
 * durations are kept; entries without a duration, and whatever is malformed, are left out.
 * Format: W3C Server Timing, section 3.
 */
#ifndef ENSO_CLI_SERVER_TIMING_H
#define ENSO_CLI_SERVER_TIMING_H

#include <stddef.h>

struct enso_server_timing {
    char name[24]; /* longer names are cut */
    double ms;     /* finite, at least 0 */
};

/* The first `max` entries of the header's value (size bytes, any content); how many were filled. */
size_t enso_server_timing_parse(const char *value, size_t size, struct enso_server_timing *ret,
                                size_t max);

#endif
