/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrival times: see arrivals.h. Times are kept as doubles relative to nothing but the clock's own
 * zero: 2^53 ns are 104 days of uptime exactly, and beyond that a nanosecond or two do not matter.
 */
#include "cli/arrivals.h"

#include <math.h>

/* splitmix64 (S. Vigna): good for one stream, any seed. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static double gap(struct enso_arrivals *arrivals)
{
    double u;

    if (!arrivals->poisson)
        return arrivals->interval_ns;
    u = ((double)(next_random(&arrivals->random) >> 11) + 1) * 0x1p-53; /* (0, 1] */
    return -log(u) * arrivals->interval_ns;
}

void enso_arrivals_init(struct enso_arrivals *arrivals, double rate, bool poisson, uint64_t seed,
                        uint64_t start_ns)
{
    *arrivals = (struct enso_arrivals){
        .interval_ns = 1e9 / rate, .at_ns = (double)start_ns, .poisson = poisson, .random = seed};
    if (poisson)
        enso_arrivals_advance(arrivals);
}

uint64_t enso_arrivals_next_ns(const struct enso_arrivals *arrivals)
{
    return (uint64_t)arrivals->at_ns;
}

void enso_arrivals_advance(struct enso_arrivals *arrivals)
{
    arrivals->at_ns += gap(arrivals);
}
