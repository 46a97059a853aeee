/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of a load run: see report.h.
 */
#include "cli/report.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"

#define BAR_WIDTH 40

static const struct {
    const char *name;
    unsigned per_mille;
} percentiles[] = {{"p50", 500}, {"p90", 900}, {"p95", 950}, {"p99", 990}, {"p99.9", 999}};

static double rate_of(uint64_t n, const struct enso_load_result *r)
{
    return r->seconds > 0 ? (double)n / r->seconds : 0;
}

/* --- for people --------------------------------------------------------------------------------
 */

void enso_report_put_time(struct enso_buffer *b, double ns, int width)
{
    double value = ns * 1e-3;
    const char *unit = "us";
    char text[32];

    if (value >= 999.5) {
        value *= 1e-3;
        unit = "ms";
    }
    if (value >= 999.5) {
        value *= 1e-3;
        unit = "s";
    }
    (void)snprintf(text, sizeof text, "%.*f %s",
                   value < 9.995   ? 2
                   : value < 99.95 ? 1
                                   : 0,
                   value, unit);
    enso_buffer_printf(b, "%*s", width, text);
}

static void put_pace(const struct enso_load_spec *spec, struct enso_buffer *b)
{
    if (spec->rate > 0)
        enso_buffer_printf(b, "open loop, %.6g requests/s due %s, at most %u in flight", spec->rate,
                           spec->poisson ? "at random (Poisson)" : "at a fixed pace",
                           spec->n_connections);
    else
        enso_buffer_printf(b, "closed loop, %u connection%s", spec->n_connections,
                           spec->n_connections == 1 ? "" : "s");
}

static void put_counts(const struct enso_load_result *r, struct enso_buffer *b)
{
    bool any = false;

    enso_buffer_printf(b, "  answers       %llu in %.2f s: %.1f per second, %.1f of them 2xx\n",
                       (unsigned long long)r->n_answers, r->seconds, rate_of(r->n_answers, r),
                       rate_of(r->n_ok, r));
    enso_buffer_puts(b, "  statuses     ");
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(r->statuses); i++) {
        if (r->statuses[i] == 0)
            continue;
        enso_buffer_printf(b, any ? ", %zu: %llu" : " %zu: %llu", i,
                           (unsigned long long)r->statuses[i]);
        any = true;
    }
    enso_buffer_puts(b, any ? "\n  errors       " : " none\n  errors       ");
    any = false;
    for (int i = 0; i < ENSO_LOAD_N_ERRORS; i++) {
        if (r->errors[i] == 0)
            continue;
        enso_buffer_printf(b, any ? ", %s: %llu" : " %s: %llu",
                           enso_load_error_name((enum enso_load_error)i),
                           (unsigned long long)r->errors[i]);
        any = true;
    }
    enso_buffer_puts(b, any ? "" : " none");
    if (r->error_example[0] != '\0')
        enso_buffer_printf(b, " (%s)", r->error_example);
    enso_buffer_printf(b, "\n  connections   %llu opened\n  bodies        %.1f kB/s\n",
                       (unsigned long long)r->n_opened, rate_of(r->bytes_in, r) * 1e-3);
}

static void put_latency(const struct enso_load_spec *spec, const struct enso_load_result *r,
                        struct enso_buffer *b)
{
    enso_buffer_printf(b, "\nLatency%s\n",
                       spec->rate > 0 ? " (from the time each request was due)" : "");
    enso_buffer_puts(b, "  mean  ");
    enso_report_put_time(b, enso_latency_mean_ns(&r->latency), 9);
    enso_buffer_putc(b, '\n');
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(percentiles); i++) {
        enso_buffer_printf(b, "  %-6s", percentiles[i].name);
        enso_report_put_time(
            b, (double)enso_latency_percentile(&r->latency, percentiles[i].per_mille), 9);
        enso_buffer_putc(b, '\n');
    }
    enso_buffer_puts(b, "  max   ");
    enso_report_put_time(b, (double)r->latency.max_ns, 9);
    enso_buffer_putc(b, '\n');
}

static void put_histogram(const struct enso_latency *latency, struct enso_buffer *b)
{
    static const char bar[] = "########################################";
    uint64_t bounds[ENSO_LATENCY_BOUNDS], most = 1;
    size_t n = enso_latency_bounds(latency, bounds);

    for (size_t i = 0; i + 1 < n; i++)
        most = ENSO_MAX(most, enso_latency_count(latency, bounds[i], bounds[i + 1]));
    enso_buffer_puts(b, "\nHistogram (up to)\n");
    for (size_t i = 0; i + 1 < n; i++) {
        uint64_t count = enso_latency_count(latency, bounds[i], bounds[i + 1]);
        int length = (int)((double)count / (double)most * BAR_WIDTH + 0.999);

        enso_report_put_time(b, (double)bounds[i + 1], 11);
        enso_buffer_printf(b, " |%-*.*s| %8llu %5.1f%%\n", BAR_WIDTH, length, bar,
                           (unsigned long long)count, 100.0 * (double)count / (double)latency->n);
    }
}

static void put_timings(const struct enso_load_result *r, struct enso_buffer *b)
{
    if (r->n_timings == 0)
        return;
    enso_buffer_puts(b, "\nServer-Timing       mean       p50       p99\n");
    for (size_t i = 0; i < r->n_timings; i++) {
        const struct enso_latency *t = &r->timings[i].ns;

        enso_buffer_printf(b, "  %-12s", r->timings[i].name);
        enso_report_put_time(b, enso_latency_mean_ns(t), 10);
        enso_report_put_time(b, (double)enso_latency_percentile(t, 500), 10);
        enso_report_put_time(b, (double)enso_latency_percentile(t, 990), 10);
        enso_buffer_putc(b, '\n');
    }
}

void enso_report_write_text(const struct enso_load_spec *spec, const struct enso_load_result *r,
                            const char *title, struct enso_buffer *b)
{
    enso_buffer_printf(b, "%s\n  ", title);
    put_pace(spec, b);
    enso_buffer_printf(b, ", %.3g s of warm-up\n\n", (double)spec->warmup_ns * 1e-9);
    put_counts(r, b);
    if (r->latency.n != 0) {
        put_latency(spec, r, b);
        put_histogram(&r->latency, b);
    }
    put_timings(r, b);
    if (r->gave_up)
        enso_buffer_puts(b, "\nStopped early: nobody accepts connections there.\n");
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void put_ms(struct enso_buffer *b, const char *key, double ns)
{
    enso_buffer_printf(b, "\"%s\":", key);
    enso_buffer_put_f64(b, ns * 1e-6);
}

static void put_latency_json(const struct enso_latency *latency, struct enso_buffer *b)
{
    enso_buffer_printf(b, "{\"count\":%llu,", (unsigned long long)latency->n);
    put_ms(b, "mean", enso_latency_mean_ns(latency));
    enso_buffer_putc(b, ',');
    put_ms(b, "min", latency->n != 0 ? (double)latency->min_ns : 0);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(percentiles); i++) {
        enso_buffer_putc(b, ',');
        put_ms(b, percentiles[i].name,
               (double)enso_latency_percentile(latency, percentiles[i].per_mille));
    }
    enso_buffer_putc(b, ',');
    put_ms(b, "max", (double)latency->max_ns);
    enso_buffer_putc(b, '}');
}

static void put_histogram_json(const struct enso_latency *latency, struct enso_buffer *b)
{
    uint64_t bounds[ENSO_LATENCY_BOUNDS];
    size_t n = enso_latency_bounds(latency, bounds);

    enso_buffer_puts(b, ",\"histogram\":[");
    for (size_t i = 0; i + 1 < n; i++) {
        enso_buffer_puts(b, i != 0 ? ",{" : "{");
        put_ms(b, "to_ms", (double)bounds[i + 1]);
        enso_buffer_printf(
            b, ",\"count\":%llu}",
            (unsigned long long)enso_latency_count(latency, bounds[i], bounds[i + 1]));
    }
    enso_buffer_putc(b, ']');
}

static void put_counts_json(const struct enso_load_result *r, struct enso_buffer *b)
{
    bool any = false;

    enso_buffer_printf(b, "\"answers\":%llu,\"ok\":%llu,\"seconds\":",
                       (unsigned long long)r->n_answers, (unsigned long long)r->n_ok);
    enso_buffer_put_f64(b, r->seconds);
    enso_buffer_puts(b, ",\"answers_per_second\":");
    enso_buffer_put_f64(b, rate_of(r->n_answers, r));
    enso_buffer_puts(b, ",\"ok_per_second\":");
    enso_buffer_put_f64(b, rate_of(r->n_ok, r));
    enso_buffer_printf(b, ",\"bytes\":%llu,\"connections_opened\":%llu,\"statuses\":{",
                       (unsigned long long)r->bytes_in, (unsigned long long)r->n_opened);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(r->statuses); i++) {
        if (r->statuses[i] == 0)
            continue;
        enso_buffer_printf(b, any ? ",\"%zu\":%llu" : "\"%zu\":%llu", i,
                           (unsigned long long)r->statuses[i]);
        any = true;
    }
    enso_buffer_puts(b, "},\"errors\":{");
    for (int i = 0; i < ENSO_LOAD_N_ERRORS; i++)
        enso_buffer_printf(b, i != 0 ? ",\"%s\":%llu" : "\"%s\":%llu",
                           enso_load_error_name((enum enso_load_error)i),
                           (unsigned long long)r->errors[i]);
    enso_buffer_puts(b, "}");
}

void enso_report_write_json(const struct enso_load_spec *spec, const struct enso_load_result *r,
                            const char *title, struct enso_buffer *b)
{
    enso_buffer_puts(b, "{\"url\":");
    enso_buffer_put_json_string(b, title, strlen(title));
    enso_buffer_printf(b, ",\"loop\":\"%s\",\"connections\":%u,\"rate\":",
                       spec->rate > 0 ? "open" : "closed", spec->n_connections);
    enso_buffer_put_f64(b, spec->rate);
    enso_buffer_printf(b, ",\"arrivals\":%s,",
                       spec->rate <= 0 ? "null"
                       : spec->poisson ? "\"poisson\""
                                       : "\"fixed\"");
    put_counts_json(r, b);
    enso_buffer_puts(b, ",\"latency_ms\":");
    put_latency_json(&r->latency, b);
    put_histogram_json(&r->latency, b);
    enso_buffer_puts(b, ",\"server_timing_ms\":{");
    for (size_t i = 0; i < r->n_timings; i++) {
        if (i != 0)
            enso_buffer_putc(b, ',');
        enso_buffer_put_json_string(b, r->timings[i].name, strlen(r->timings[i].name));
        enso_buffer_putc(b, ':');
        put_latency_json(&r->timings[i].ns, b);
    }
    enso_buffer_puts(b, "}}\n");
}
