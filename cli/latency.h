/* SPDX-License-Identifier: Apache-2.0
 *
 * A record of latencies: fixed memory (about 150 KiB) for any number of samples, percentiles within
 * 0.2 percent. Built for a load generator: recording is two shifts and an increment.
 *
 * Buckets are exact below 1024 ns; above, each power of two is cut into 512 equal parts (the idea
 * of HdrHistogram, G. Tene). Values over ENSO_LATENCY_MAX_NS (about 73 minutes) count as that.
 * Minimum, maximum and sum are kept beside, exactly. One owner at a time.
 */
#ifndef ENSO_CLI_LATENCY_H
#define ENSO_CLI_LATENCY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

#define ENSO_LATENCY_MAX_NS ((UINT64_C(1) << 42) - 1)

struct enso_latency {
    uint64_t *counts; /* owned */
    uint64_t n, min_ns, max_ns;
    double sum_ns;
};

enum enso_status enso_latency_init(struct enso_latency *latency,
                                   struct enso_error *err) ENSO_MUST_CHECK;
void enso_latency_done(struct enso_latency *latency); /* also of a zeroed struct */
void enso_latency_clear(struct enso_latency *latency);
void enso_latency_record(struct enso_latency *latency, uint64_t ns);

/* The smallest value that at least per_mille / 1000 of the samples do not exceed (nearest rank),
 * rounded up to its bucket's end and never above the maximum; 500 is the median, 999 the 99.9th
 * percentile, 1000 the maximum. 0 when there are no samples. */
uint64_t enso_latency_percentile(const struct enso_latency *latency, unsigned per_mille);
double enso_latency_mean_ns(const struct enso_latency *latency); /* 0 when there are none */

/* Samples in (above_ns, to_ns], as far as buckets tell: a bucket counts where its end lies. */
uint64_t enso_latency_count(const struct enso_latency *latency, uint64_t above_ns, uint64_t to_ns);

/* Bounds for a histogram to look at: 1, 2, 5, 10, 20, 50 ... µs upwards, from the last one below
 * the minimum to the first at or above the maximum. Row i is (bounds[i], bounds[i + 1]]; the number
 * of bounds is given, 0 when there are no samples. */
#define ENSO_LATENCY_BOUNDS 40
size_t enso_latency_bounds(const struct enso_latency *latency,
                           uint64_t bounds_ns[ENSO_LATENCY_BOUNDS]);

#endif
