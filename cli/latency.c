/* SPDX-License-Identifier: Apache-2.0
 *
 * Latencies in log-linear buckets: see latency.h.
 */
#include "cli/latency.h"

#include <string.h>

#include "base/memory.h"

#define EXACT 1024u /* values below have a bucket each */
#define PARTS 512u  /* of each power of two above */
#define MAX_SHIFT 32
#define N_BUCKETS (EXACT + MAX_SHIFT * PARTS)

enum enso_status enso_latency_init(struct enso_latency *latency, struct enso_error *err)
{
    *latency = (struct enso_latency){.counts = enso_alloc_zero(N_BUCKETS, sizeof(uint64_t))};
    enso_latency_clear(latency);
    return latency->counts != NULL ? ENSO_OK : enso_error_no_memory(err, "the latencies");
}

void enso_latency_done(struct enso_latency *latency)
{
    enso_free(latency->counts);
    *latency = (struct enso_latency){0};
}

void enso_latency_clear(struct enso_latency *latency)
{
    if (latency->counts != NULL)
        memset(latency->counts, 0, N_BUCKETS * sizeof *latency->counts);
    latency->n = latency->max_ns = 0;
    latency->min_ns = UINT64_MAX;
    latency->sum_ns = 0;
}

static size_t bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < EXACT)
        return (size_t)ns;
    shift = 63 - (unsigned)__builtin_clzll(ns) - 9; /* (ns >> shift) is in [512, 1024) */
    return EXACT + (shift - 1) * PARTS + (size_t)(ns >> shift) - PARTS;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(size_t bucket)
{
    size_t shift, part;

    if (bucket < EXACT)
        return bucket;
    shift = (bucket - EXACT) / PARTS + 1;
    part = (bucket - EXACT) % PARTS + PARTS;
    return ((uint64_t)(part + 1) << shift) - 1;
}

void enso_latency_record(struct enso_latency *latency, uint64_t ns)
{
    ns = ENSO_MIN(ns, ENSO_LATENCY_MAX_NS);
    latency->counts[bucket_of(ns)]++;
    latency->n++;
    latency->sum_ns += (double)ns;
    latency->min_ns = ENSO_MIN(latency->min_ns, ns);
    latency->max_ns = ENSO_MAX(latency->max_ns, ns);
}

uint64_t enso_latency_percentile(const struct enso_latency *latency, unsigned per_mille)
{
    uint64_t rank = (latency->n / 1000) * per_mille, seen = 0;

    if (latency->n == 0)
        return 0;
    rank += (latency->n % 1000 * per_mille + 999) / 1000; /* rounded up, without overflow */
    rank = ENSO_MAX(rank, (uint64_t)1);
    for (size_t i = 0; i < N_BUCKETS; i++) {
        seen += latency->counts[i];
        if (seen >= rank)
            return ENSO_MIN(bucket_end(i), latency->max_ns);
    }
    return latency->max_ns;
}

double enso_latency_mean_ns(const struct enso_latency *latency)
{
    return latency->n != 0 ? latency->sum_ns / (double)latency->n : 0;
}

uint64_t enso_latency_count(const struct enso_latency *latency, uint64_t above_ns, uint64_t to_ns)
{
    uint64_t n = 0;

    for (size_t i = 0; i < N_BUCKETS && bucket_end(i) <= to_ns; i++) {
        if (bucket_end(i) > above_ns)
            n += latency->counts[i];
    }
    return n;
}

size_t enso_latency_bounds(const struct enso_latency *latency,
                           uint64_t bounds_ns[ENSO_LATENCY_BOUNDS])
{
    static const uint64_t steps[] = {1, 2, 5};
    uint64_t decade = 1000, below = 0;
    size_t n = 0;

    if (latency->n == 0)
        return 0;
    /* The bucket's end may lie a little above the maximum itself. */
    for (uint64_t last = bucket_end(bucket_of(latency->max_ns));; decade *= 10) {
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(steps); i++) {
            uint64_t bound = steps[i] * decade;

            if (bound < latency->min_ns) {
                below = bound;
                continue;
            }
            if (n == 0)
                bounds_ns[n++] = below;
            bounds_ns[n++] = bound;
            if (bound >= last)
                return n; /* 1 µs to 73 minutes are 31 bounds */
        }
    }
}
