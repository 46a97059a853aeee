/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: counters, gauges and histograms, and the page that Prometheus reads.
 *
 *     struct enso_metrics *m = enso_metrics_create();
 *     struct enso_metrics_family *f = enso_metrics_add(m, &(struct enso_metrics_spec){
 *         .type = ENSO_METRICS_COUNTER, .name = "ensod_requests_total",
 *         .help = "Requests answered.", .labels = {"model", "code"}}, err);
 *     struct enso_counter *c = enso_metrics_counter(f, (const char *[]){"intents", "200"});
 *     enso_counter_add(c, 1);
 *     enso_metrics_write(m, ENSO_METRICS_TEXT, &buffer);
 *
 * A family is a name with help and label names; a child is one set of label values. Children are
 * looked up once, when a model loads or a route is set up, and the pointer kept, so that counting
 * is one relaxed atomic add. Families and children live as long as the registry, unless a child is
 * released (see below). Label values are few by design: never take them from requests.
 *
 * Threads: counting from any thread without a lock; adding, looking up, releasing and scraping take
 * the registry's mutex. A scrape never makes counting wait. No globals.
 *
 * Format: Prometheus text exposition 0.0.4 and OpenMetrics 1.0.
 */
#ifndef ENSO_BASE_METRICS_H
#define ENSO_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct enso_buffer;
struct enso_metrics;
struct enso_metrics_family;

#define ENSO_METRICS_LABELS 4 /* at most, per family */

enum enso_metrics_type { ENSO_METRICS_COUNTER, ENSO_METRICS_GAUGE, ENSO_METRICS_HISTOGRAM };

struct enso_metrics_spec {
    enum enso_metrics_type type;
    const char *name; /* [a-zA-Z_:][a-zA-Z0-9_:]*; counters end in "_total" (copied) */
    const char *help; /* one sentence (copied) */
    const char *labels[ENSO_METRICS_LABELS]; /* names, ended by NULL if fewer (copied) */
    const double *buckets; /* histogram: upper bounds, ascending, without +Inf (copied) */
    size_t n_buckets;      /* histogram: 1 to 63 */
};

struct enso_counter {
    atomic_uint_fast64_t value;
};

struct enso_gauge {
    atomic_int_fast64_t value;
};

struct enso_histogram {
    const double *bounds; /* n_bounds, ascending */
    size_t n_bounds;
    _Atomic double sum;
    atomic_uint_fast64_t *counts; /* n_bounds + 1, each bucket's own */
};

/* NULL when out of memory. destroy frees all families and children; NULL is fine. */
struct enso_metrics *enso_metrics_create(void) ENSO_MUST_CHECK;
void enso_metrics_destroy(struct enso_metrics *m);

/* A family, in the order of the page. A second call with the same name, type and labels gives the
 * same family. NULL with err when names are malformed, in conflict, or out of memory. */
struct enso_metrics_family *enso_metrics_add(struct enso_metrics *m,
                                             const struct enso_metrics_spec *spec,
                                             struct enso_error *err) ENSO_MUST_CHECK;

/* The child with these label values (as many as the family has labels; NULL if it has none). The
 * same values give the same child. NULL only when out of memory. The type must be the family's. */
struct enso_counter *enso_metrics_counter(struct enso_metrics_family *f,
                                          const char *const *values) ENSO_MUST_CHECK;
struct enso_gauge *enso_metrics_gauge(struct enso_metrics_family *f,
                                      const char *const *values) ENSO_MUST_CHECK;
struct enso_histogram *enso_metrics_histogram(struct enso_metrics_family *f,
                                              const char *const *values) ENSO_MUST_CHECK;

/* A child (of a counter or gauge family) whose value is asked for at every scrape. `read` runs on
 * the scraping thread under the registry's mutex: it must not call the registry, and should take
 * microseconds. A counter's must never fall. False when out of memory. */
typedef double (*enso_metrics_read_fn)(void *context);
bool enso_metrics_callback(struct enso_metrics_family *f, const char *const *values,
                           enso_metrics_read_fn read, void *context) ENSO_MUST_CHECK;

/* Give a child back, once for each lookup that gave it (a model is unloaded): when nobody has it
 * any more it leaves the page. For callbacks name the values. NULL is fine. */
void enso_counter_release(struct enso_metrics_family *f, struct enso_counter *c);
void enso_gauge_release(struct enso_metrics_family *f, struct enso_gauge *g);
void enso_histogram_release(struct enso_metrics_family *f, struct enso_histogram *h);
void enso_metrics_callback_release(struct enso_metrics_family *f, const char *const *values);

/* Counting. relaxed: each number stands for itself, nothing else is read through it. */
static inline void enso_counter_add(struct enso_counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}
static inline uint64_t enso_counter_get(const struct enso_counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}
static inline void enso_gauge_add(struct enso_gauge *g, int64_t n) /* n may be negative */
{
    atomic_fetch_add_explicit(&g->value, n, memory_order_relaxed);
}
static inline void enso_gauge_set(struct enso_gauge *g, int64_t value)
{
    atomic_store_explicit(&g->value, value, memory_order_relaxed);
}
static inline int64_t enso_gauge_get(const struct enso_gauge *g)
{
    return atomic_load_explicit(&g->value, memory_order_relaxed);
}
void enso_histogram_observe(struct enso_histogram *h, double value);
void enso_histogram_observe_ns(struct enso_histogram *h, uint64_t ns); /* as seconds */

/* Buckets that fit most uses: 100 us to 60 s, and powers of two from 1 to 32768. */
extern const double enso_metrics_seconds[18];
extern const double enso_metrics_sizes[16];

/* process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes,
 * process_open_fds, process_max_fds, process_start_time_seconds, process_threads; and
 * <prefix>_build_info{...} 1 with the label names and values given (names ended by NULL). */
enum enso_status enso_metrics_add_process(struct enso_metrics *m, struct enso_error *err);
enum enso_status enso_metrics_add_build_info(struct enso_metrics *m, const char *name,
                                             const char *const *labels, const char *const *values,
                                             struct enso_error *err);

/* The page. Out of memory shows as b->failed. The content type to send with it. */
enum enso_metrics_format { ENSO_METRICS_TEXT, ENSO_METRICS_OPENMETRICS };
void enso_metrics_write(struct enso_metrics *m, enum enso_metrics_format format,
                        struct enso_buffer *b);
const char *enso_metrics_content_type(enum enso_metrics_format format);

#endif
