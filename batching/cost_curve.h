/* SPDX-License-Identifier: Apache-2.0
 *
 * What a batch costs: learned from a model's own runs, cost units (tokens or items) -> time.
 *
 * Runs are gathered in buckets of a quarter octave of units. A bucket keeps a running mean of
 * log(time), so that errors are relative, with forgetting (a run weighs at least 1/16). A run much
 * slower than believed counts as at most 1.5 times as slow (preempted, paged: an outlier), unless
 * it is the fourth such in a row: then it is the truth now. A faster run always counts: nothing but
 * a faster machine makes a run faster.
 *
 * The curve goes through the buckets' means, made monotone by weighted isotonic regression (pool
 * adjacent violators) in which old buckets weigh less. Beyond the known sizes it goes on as a
 * straight line: a + b x fitted over all of them, with one known size in proportion to it, which
 * is too slow rather than too fast for larger ones.
 *
 *     enso_cost_curve_observe(&curve, 128, 1500000);
 *     ns = enso_cost_curve_predict(&curve, 512);
 *
 * About 4 KiB, no allocation. observe about 0.2 us, predict less. Not thread-safe: the scheduler's
 * mutex guards a queue's curve.
 */
#ifndef ENSO_BATCHING_COST_CURVE_H
#define ENSO_BATCHING_COST_CURVE_H

#include <stdbool.h>
#include <stdint.h>

#define ENSO_COST_BUCKETS 100 /* 4 per octave: up to 2^25 units, larger ones share the last */

struct enso_cost_bucket {
    double units;  /* mean of the runs */
    double log_ns; /* mean of ln(time), outliers clipped */
    double weight; /* runs, at most 16; 0 = never seen */
    uint64_t last; /* value of n_observed at the newest run */
    unsigned n_slow_in_a_row;
};

struct enso_cost_point {
    double units, ns;
};

struct enso_cost_curve {
    struct enso_cost_bucket buckets[ENSO_COST_BUCKETS];
    struct enso_cost_point points[ENSO_COST_BUCKETS]; /* the curve, both members increasing */
    unsigned n_points;
    double base_ns, slope_ns; /* the line before the first point and after the last one */
    uint64_t knee_units;      /* see enso_cost_curve_budget */
    uint64_t n_observed;
};

void enso_cost_curve_init(struct enso_cost_curve *curve);

/* A run of so many units (>= 1) took so long. Warm-up runs seed the curve in the same way. */
void enso_cost_curve_observe(struct enso_cost_curve *curve, uint64_t units, uint64_t ns);

/* False while nothing was observed: then predict gives 0 and the budgets are UINT64_MAX. */
bool enso_cost_curve_known(const struct enso_cost_curve *curve);

/* Expected time of a batch of so many units. Monotone in units; at least 1 for units >= 1. */
uint64_t enso_cost_curve_predict(const struct enso_cost_curve *curve, uint64_t units);

/* The most units whose predicted time is at most ns; 0 when even one unit takes longer. */
uint64_t enso_cost_curve_units_within(const struct enso_cost_curve *curve, uint64_t ns);

/* The units beyond which a larger batch only adds latency: the smallest known size with at least
 * 95 % of the best throughput known. While throughput still grows at the largest known size it is
 * twice that size, so that sizes are explored by doubling. */
uint64_t enso_cost_curve_budget(const struct enso_cost_curve *curve);

#endif
