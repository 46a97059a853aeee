/* SPDX-License-Identifier: Apache-2.0
 *
 * The clocks. Durations and deadlines everywhere are uint64_t nanoseconds of the monotonic clock;
 * the wall clock is for humans (log lines, "created" fields). Code that decides by time takes
 * now_ns as an argument, so that tests need not sleep.
 */
#ifndef ENSO_BASE_CLOCK_H
#define ENSO_BASE_CLOCK_H

#include <stdint.h>

#define ENSO_NS_PER_MS UINT64_C(1000000)
#define ENSO_NS_PER_S UINT64_C(1000000000)

uint64_t enso_clock_now_ns(void);      /* CLOCK_MONOTONIC */
int64_t enso_clock_wall_seconds(void); /* seconds since 1970 */
int64_t enso_clock_wall_us(void);      /* microseconds since 1970 */

#endif
