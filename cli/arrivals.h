/* SPDX-License-Identifier: Apache-2.0
 *
 * When requests of an open loop are due: at a fixed pace, or as a Poisson process (gaps that are
 * exponentially distributed, as those of many independent clients). Times depend on rate and seed
 * alone, never on the server: that is what makes the loop open.
 */
#ifndef ENSO_CLI_ARRIVALS_H
#define ENSO_CLI_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

struct enso_arrivals {
    double interval_ns, at_ns;
    bool poisson;
    uint64_t random;
};

/* rate: arrivals per second, above 0. The first is due at start_ns, or a random gap later. */
void enso_arrivals_init(struct enso_arrivals *arrivals, double rate, bool poisson, uint64_t seed,
                        uint64_t start_ns);

/* The time the next one is due; advance goes on to the one after it. */
uint64_t enso_arrivals_next_ns(const struct enso_arrivals *arrivals);
void enso_arrivals_advance(struct enso_arrivals *arrivals);

#endif
