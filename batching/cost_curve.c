/* SPDX-License-Identifier: Apache-2.0
 *
 * The learned cost curve: see cost_curve.h.
 */
#include "batching/cost_curve.h"

#include <math.h>
#include <string.h>

#include "base/macros.h"

#define FULL_WEIGHT 16.0      /* a run weighs at least 1/16 in its bucket */
#define SLOWEST_STEP 0.405    /* ln 1.5: how much slower than believed a run may count */
#define SLOW_IS_TRUE_AFTER 4  /* slow runs in a row */
#define HALF_LIFE_RUNS 1024.0 /* of a bucket's weight against fresher ones */
#define GOOD_THROUGHPUT 0.95  /* of the best */

void enso_cost_curve_init(struct enso_cost_curve *curve)
{
    memset(curve, 0, sizeof *curve);
    curve->knee_units = UINT64_MAX;
}

/* Octave and quarter: 4 k + the two bits after the leading one. */
static unsigned bucket_of(uint64_t units)
{
    unsigned k = 63u - (unsigned)__builtin_clzll(units | 1);
    unsigned quarter = (unsigned)((k >= 2 ? units >> (k - 2) : units << (2 - k)) & 3);

    return ENSO_MIN(4 * k + quarter, ENSO_COST_BUCKETS - 1u);
}

static void update_bucket(struct enso_cost_bucket *b, double units, double log_ns)
{
    double step = log_ns - b->log_ns;
    double alpha;

    if (b->weight == 0) {
        *b = (struct enso_cost_bucket){.units = units, .log_ns = log_ns, .weight = 1};
        return;
    }
    b->weight = ENSO_MIN(b->weight + 1, FULL_WEIGHT);
    alpha = 1 / b->weight;
    if (step > SLOWEST_STEP) {
        b->n_slow_in_a_row++;
        if (b->n_slow_in_a_row < SLOW_IS_TRUE_AFTER)
            step = SLOWEST_STEP;
        else
            alpha = ENSO_MAX(alpha, 0.25);
    } else {
        b->n_slow_in_a_row = 0;
    }
    b->units += (units - b->units) / b->weight;
    b->log_ns += step * alpha;
}

/* Isotonic regression over the buckets seen: neighbours that fall are pooled to their mean. */
static void rebuild_points(struct enso_cost_curve *c)
{
    double weights[ENSO_COST_BUCKETS];
    unsigned spans[ENSO_COST_BUCKETS]; /* how many buckets a pool holds */
    double units[ENSO_COST_BUCKETS];
    unsigned i, j, n = 0, n_seen = 0;

    for (i = 0; i < ENSO_COST_BUCKETS; i++) {
        const struct enso_cost_bucket *b = &c->buckets[i];

        if (b->weight == 0)
            continue;
        units[n_seen++] = b->units;
        c->points[n].ns = exp(b->log_ns);
        weights[n] = b->weight * exp2(-(double)(c->n_observed - b->last) / HALF_LIFE_RUNS) + 1e-6;
        spans[n++] = 1;
        while (n > 1 && c->points[n - 2].ns > c->points[n - 1].ns) {
            double w = weights[n - 2] + weights[n - 1];

            c->points[n - 2].ns =
                (c->points[n - 2].ns * weights[n - 2] + c->points[n - 1].ns * weights[n - 1]) / w;
            weights[n - 2] = w;
            spans[n - 2] += spans[n - 1];
            n--;
        }
    }
    /* Unpool from the right, in place: pool i covers the last spans[i] of the units left. */
    c->n_points = n_seen;
    for (i = n, j = n_seen; i-- > 0;) {
        double ns = c->points[i].ns;
        unsigned k;

        for (k = 0; k < spans[i]; k++) {
            j--;
            c->points[j] = (struct enso_cost_point){units[j], ns};
        }
    }
}

/* a + b x by least squares of the relative error over the points, kept within reason. */
static void fit_line(struct enso_cost_curve *c)
{
    const struct enso_cost_point *first = &c->points[0], *last = &c->points[c->n_points - 1];
    double s = 0, sx = 0, sxx = 0, sy = 0, sxy = 0, det;
    unsigned i;

    c->base_ns = 0;
    c->slope_ns = last->ns / last->units;
    if (c->n_points < 2)
        return;
    for (i = 0; i < c->n_points; i++) {
        double w = 1 / (c->points[i].ns * c->points[i].ns);

        s += w;
        sx += w * c->points[i].units;
        sxx += w * c->points[i].units * c->points[i].units;
        sy += w * c->points[i].ns;
        sxy += w * c->points[i].units * c->points[i].ns;
    }
    det = s * sxx - sx * sx;
    if (det > 1e-9 * s * sxx) {
        c->slope_ns = (s * sxy - sx * sy) / det;
        c->base_ns = (sy - c->slope_ns * sx) / s;
    }
    c->base_ns = ENSO_MIN(ENSO_MAX(c->base_ns, 0), first->ns);
    /* No machine gets ever faster per unit without end: at least a quarter of the mean slope. */
    c->slope_ns = ENSO_MAX(c->slope_ns, 0.25 * last->ns / last->units);
}

static void find_knee(struct enso_cost_curve *c)
{
    double best = 0;
    unsigned i, knee;

    for (i = 0; i < c->n_points; i++)
        best = ENSO_MAX(best, c->points[i].units / c->points[i].ns);
    for (knee = 0; c->points[knee].units / c->points[knee].ns < GOOD_THROUGHPUT * best; knee++)
        ;
    if (c->points[c->n_points - 1].units < 2 * c->points[knee].units)
        c->knee_units = (uint64_t)(2 * c->points[c->n_points - 1].units);
    else
        c->knee_units = (uint64_t)ceil(c->points[knee].units);
}

void enso_cost_curve_observe(struct enso_cost_curve *c, uint64_t units, uint64_t ns)
{
    struct enso_cost_bucket *b;
    struct enso_cost_bucket before;

    if (units == 0)
        return;
    b = &c->buckets[bucket_of(units)];
    before = *b;
    update_bucket(b, (double)units, log((double)ENSO_MAX(ns, 1u)));
    c->n_observed++;
    b->last = c->n_observed;
    /* Most runs move the curve by less than 1 %: those wait for the next 16th. */
    if (before.weight >= 4 && fabs(before.log_ns - b->log_ns) < 0.01 && c->n_observed % 16 != 0)
        return;
    rebuild_points(c);
    fit_line(c);
    find_knee(c);
}

bool enso_cost_curve_known(const struct enso_cost_curve *c)
{
    return c->n_points != 0;
}

/* The first point that has more than `units`. */
static unsigned point_after(const struct enso_cost_curve *c, double units)
{
    unsigned low = 0, high = c->n_points;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (c->points[middle].units > units)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static double predict(const struct enso_cost_curve *c, double units)
{
    unsigned i = point_after(c, units);
    const struct enso_cost_point *a, *b;

    if (i == 0)
        return c->base_ns + (c->points[0].ns - c->base_ns) * units / c->points[0].units;
    a = &c->points[i - 1];
    if (i == c->n_points)
        return a->ns + c->slope_ns * (units - a->units);
    b = &c->points[i];
    return a->ns + (b->ns - a->ns) * (units - a->units) / (b->units - a->units);
}

uint64_t enso_cost_curve_predict(const struct enso_cost_curve *c, uint64_t units)
{
    double ns;

    if (c->n_points == 0 || units == 0)
        return 0;
    ns = predict(c, (double)units);
    return ns < 1 ? 1 : ns > 1e18 ? UINT64_C(1000000000000000000) : (uint64_t)(ns + 0.5);
}

uint64_t enso_cost_curve_units_within(const struct enso_cost_curve *c, uint64_t limit_ns)
{
    double ns = (double)limit_ns, units;
    unsigned i;

    if (c->n_points == 0)
        return UINT64_MAX;
    for (i = 0; i < c->n_points && c->points[i].ns <= ns; i++)
        ;
    if (i == 0) {
        if (ns < c->base_ns || c->points[0].ns <= c->base_ns)
            return 0;
        units = c->points[0].units * (ns - c->base_ns) / (c->points[0].ns - c->base_ns);
    } else {
        const struct enso_cost_point *a = &c->points[i - 1];

        if (i == c->n_points) {
            units = a->units + (ns - a->ns) / c->slope_ns;
        } else {
            const struct enso_cost_point *b = &c->points[i];

            units = a->units + (b->units - a->units) * (ns - a->ns) / (b->ns - a->ns);
        }
    }
    return units >= 1e18 ? UINT64_MAX : (uint64_t)(units + 1e-6);
}

uint64_t enso_cost_curve_budget(const struct enso_cost_curve *c)
{
    return c->knee_units;
}
