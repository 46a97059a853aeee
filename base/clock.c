/* SPDX-License-Identifier: Apache-2.0
 *
 * The clocks: see clock.h.
 */
#include "base/clock.h"

#include <time.h>

uint64_t enso_clock_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail on Linux */
    return (uint64_t)t.tv_sec * ENSO_NS_PER_S + (uint64_t)t.tv_nsec;
}

int64_t enso_clock_wall_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t); /* cannot fail on Linux */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t enso_clock_wall_seconds(void)
{
    return enso_clock_wall_us() / 1000000;
}
