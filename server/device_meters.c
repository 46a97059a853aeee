/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics of devices: see device_meters.h. One row of the table below is one family, or one more
 * value of the second label of the family above it.
 */
#include "server/device_meters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/metrics.h"
#include "batching/lanes.h"
#include "server/app.h"
#include "server/device.h"
#include "server/lost.h"

/* What is read of a place: what its device tells, and what its lanes have done. */
struct reading {
    struct enso_device_metrics device;
    struct enso_lane_stats lanes;
};

typedef double (*read_fn)(const struct reading *r);

struct row {
    const char *name, *help; /* NULL: those of the row above */
    const char *label, *value;
    read_fn read;
    enum enso_metrics_type type;
};

struct meter {
    const struct enso_place *place;
    read_fn read;
};

#define READ(what, expression)                                                                     \
    static double read_##what(const struct reading *r)                                             \
    {                                                                                              \
        const struct enso_device_metrics *m = &r->device;                                          \
        const struct enso_lane_stats *l = &r->lanes;                                               \
                                                                                                   \
        (void)m; /* one of the two */                                                              \
        (void)l;                                                                                   \
        return (double)(expression);                                                               \
    }
READ(weights, m->weight_bytes)
READ(arenas, m->arena_bytes)
READ(lanes, m->lane_bytes)
READ(idle, m->idle_bytes)
READ(free, m->free_bytes)
READ(total, m->total_bytes)
READ(limit, m->limit_bytes)
READ(allocations, m->n_allocations)
READ(busy, m->busy)
READ(memory_busy, m->memory_busy)
READ(temperature, m->temperature_celsius)
READ(power, m->power_watts)
READ(compute_clock, m->compute_clock_hertz)
READ(memory_clock, m->memory_clock_hertz)
READ(ecc, m->ecc_uncorrected)
READ(power_cap, m->throttled[ENSO_THROTTLE_POWER_CAP])
READ(sync_boost, m->throttled[ENSO_THROTTLE_SYNC_BOOST])
READ(software_thermal, m->throttled[ENSO_THROTTLE_SOFTWARE_THERMAL])
READ(hardware_slowdown, m->throttled[ENSO_THROTTLE_HARDWARE_SLOWDOWN])
READ(hardware_thermal, m->throttled[ENSO_THROTTLE_HARDWARE_THERMAL])
READ(power_brake, m->throttled[ENSO_THROTTLE_POWER_BRAKE])
READ(graph_batches, l->n_graph_launches)
READ(eager_batches, l->n_eager)
READ(captures, l->n_captures)
READ(input_tokens, l->n_input_tokens)
READ(padding_tokens, l->n_padding_tokens)
READ(own_products, m->n_products[ENSO_PRODUCT_OWN])
READ(heuristic_products, m->n_products[ENSO_PRODUCT_HEURISTIC])
READ(timed_products, m->n_products[ENSO_PRODUCT_TIMED])
#undef READ

/* All that the card has given and that is not ours: other processes, the driver's contexts. The
 * numbers are not of one moment: never below zero. */
static double read_other(const struct reading *r)
{
    const struct enso_device_metrics *m = &r->device;
    double ours = (double)(m->weight_bytes + m->arena_bytes + m->lane_bytes) + m->idle_bytes;
    double other = m->total_bytes - m->free_bytes - ours;

    return other < 0 ? 0 : other; /* NAN stays */
}

#define MEMORY "ensod_device_memory_bytes"
#define THROTTLED "ensod_device_throttled"
static const struct row rows[] = {
    {MEMORY, "Memory of the device by what it is for; the kinds together are all of it.", "kind",
     "weights", read_weights, ENSO_METRICS_GAUGE},
    {NULL, NULL, "kind", "arenas", read_arenas, ENSO_METRICS_GAUGE},
    {NULL, NULL, "kind", "lanes", read_lanes, ENSO_METRICS_GAUGE},
    {NULL, NULL, "kind", "idle", read_idle, ENSO_METRICS_GAUGE},
    {NULL, NULL, "kind", "other", read_other, ENSO_METRICS_GAUGE},
    {NULL, NULL, "kind", "free", read_free, ENSO_METRICS_GAUGE},
    {"ensod_device_memory_total_bytes", "Memory that the device has.", NULL, NULL, read_total,
     ENSO_METRICS_GAUGE},
    {"ensod_device_memory_limit_bytes", "Most memory that ensod takes of the device (gpu_memory).",
     NULL, NULL, read_limit, ENSO_METRICS_GAUGE},
    {"ensod_device_allocations", "Pieces in which ensod has its memory from the driver.", NULL,
     NULL, read_allocations, ENSO_METRICS_GAUGE},
    {"ensod_device_busy_ratio", "Share of the last moments in which the device computed.", NULL,
     NULL, read_busy, ENSO_METRICS_GAUGE},
    {"ensod_device_memory_busy_ratio",
     "Share of the last moments in which the device's memory was read or written.", NULL, NULL,
     read_memory_busy, ENSO_METRICS_GAUGE},
    {"ensod_device_temperature_celsius", "Temperature of the device.", NULL, NULL, read_temperature,
     ENSO_METRICS_GAUGE},
    {"ensod_device_power_watts", "Power that the device draws.", NULL, NULL, read_power,
     ENSO_METRICS_GAUGE},
    {"ensod_device_clock_hertz", "Clocks of the device.", "clock", "compute", read_compute_clock,
     ENSO_METRICS_GAUGE},
    {NULL, NULL, "clock", "memory", read_memory_clock, ENSO_METRICS_GAUGE},
    {THROTTLED, "1 while the device's clocks are held down for that reason.", "reason", "power_cap",
     read_power_cap, ENSO_METRICS_GAUGE},
    {NULL, NULL, "reason", "sync_boost", read_sync_boost, ENSO_METRICS_GAUGE},
    {NULL, NULL, "reason", "software_thermal", read_software_thermal, ENSO_METRICS_GAUGE},
    {NULL, NULL, "reason", "hardware_slowdown", read_hardware_slowdown, ENSO_METRICS_GAUGE},
    {NULL, NULL, "reason", "hardware_thermal", read_hardware_thermal, ENSO_METRICS_GAUGE},
    {NULL, NULL, "reason", "power_brake", read_power_brake, ENSO_METRICS_GAUGE},
    {"ensod_device_ecc_errors_total",
     "Memory errors that could not be corrected, since the driver was loaded.", NULL, NULL,
     read_ecc, ENSO_METRICS_COUNTER},
    {"ensod_device_batches_total",
     "Batches that ran as a recorded graph, and with one launch after the other.", "how", "graph",
     read_graph_batches, ENSO_METRICS_COUNTER},
    {NULL, NULL, "how", "eager", read_eager_batches, ENSO_METRICS_COUNTER},
    {"ensod_device_graph_captures_total", "Graphs that were recorded.", NULL, NULL, read_captures,
     ENSO_METRICS_COUNTER},
    {"ensod_device_tokens_total", "Tokens computed: input, and padding of recorded sizes.", "kind",
     "input", read_input_tokens, ENSO_METRICS_COUNTER},
    {NULL, NULL, "kind", "padding", read_padding_tokens, ENSO_METRICS_COUNTER},
    {"ensod_device_product_algorithms",
     "Sizes of matrix products by who computes them: our own kernels, the library's first choice, "
     "or its fastest (ensod --tune).",
     "origin", "own", read_own_products, ENSO_METRICS_GAUGE},
    {NULL, NULL, "origin", "heuristic", read_heuristic_products, ENSO_METRICS_GAUGE},
    {NULL, NULL, "origin", "timed", read_timed_products, ENSO_METRICS_GAUGE},
};

struct lane_meter {
    const struct enso_place *place;
    unsigned lane;
};

#define MOST_LANES 8 /* as [device] lanes */

struct enso_device_meters {
    struct meter meters[ENSO_MAX_PLACES][ENSO_ARRAY_SIZE(rows)];
    struct lane_meter lanes[ENSO_MAX_PLACES][MOST_LANES];
};

static void read_place(const struct enso_place *place, struct reading *ret)
{
    *ret = (struct reading){0};
    place->backend->device_metrics(place->device, &ret->device);
    if (place->lanes != NULL)
        enso_lanes_stats(place->lanes, &ret->lanes);
}

static double read_meter(void *context)
{
    const struct meter *meter = context;
    struct reading now;

    read_place(meter->place, &now);
    return meter->read(&now);
}

static double read_up(void *context)
{
    return enso_place_is_lost(context, NULL) ? 0 : 1;
}

static int add_up(struct enso_app *app, struct enso_place *place, const char *device,
                  struct enso_error *err)
{
    const struct enso_metrics_spec spec = {.type = ENSO_METRICS_GAUGE,
                                           .name = "ensod_device_up",
                                           .help = "0 when the device is lost, for good.",
                                           .labels = {"device"}};
    struct enso_metrics_family *f = enso_metrics_add(app->metrics, &spec, err);

    if (f == NULL)
        return ENSO_NO_MEMORY;
    return enso_metrics_callback(f, (const char *[]){device}, read_up, place)
               ? ENSO_OK
               : enso_error_no_memory(err, "the metrics");
}

static int add_rows(struct enso_app *app, const struct enso_place *place, const char *device,
                    struct meter *meters, struct enso_error *err)
{
    const struct row *family = rows;
    struct reading now;

    read_place(place, &now);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        const char *values[] = {device, row->value};
        struct enso_metrics_family *f;

        family = row->name != NULL ? row : family;
        if (isnan(row->read(&now)))
            continue; /* now and always */
        f = enso_metrics_add(app->metrics,
                             &(struct enso_metrics_spec){.type = row->type,
                                                         .name = family->name,
                                                         .help = family->help,
                                                         .labels = {"device", row->label}},
                             err);
        if (f == NULL)
            return ENSO_NO_MEMORY;
        meters[i] = (struct meter){place, row->read};
        if (!enso_metrics_callback(f, values, read_meter, &meters[i]))
            return enso_error_no_memory(err, "the metrics");
    }
    return ENSO_OK;
}

static double read_lane(void *context)
{
    const struct lane_meter *meter = context;
    struct enso_lane_stats stats;

    enso_lanes_lane_stats(meter->place->lanes, meter->lane, &stats);
    return (double)(stats.n_graph_launches + stats.n_eager);
}

/* Does every lane find work? */
static int add_lanes(struct enso_app *app, const struct enso_place *place, const char *device,
                     struct lane_meter *meters, struct enso_error *err)
{
    const struct enso_metrics_spec spec = {.type = ENSO_METRICS_COUNTER,
                                           .name = "ensod_device_lane_batches_total",
                                           .help = "Batches that a lane of the device has begun.",
                                           .labels = {"device", "lane"}};
    struct enso_metrics_family *f = enso_metrics_add(app->metrics, &spec, err);
    unsigned n = ENSO_MIN(ENSO_MAX(place->n_lanes, 1u), (unsigned)MOST_LANES);

    if (f == NULL)
        return ENSO_NO_MEMORY;
    for (unsigned i = 0; i < n; i++) {
        char lane[12];

        (void)snprintf(lane, sizeof lane, "%u", i);
        meters[i] = (struct lane_meter){place, i};
        if (!enso_metrics_callback(f, (const char *[]){device, lane}, read_lane, &meters[i]))
            return enso_error_no_memory(err, "the metrics");
    }
    return ENSO_OK;
}

int enso_device_meters_create(struct enso_app *app, struct enso_device_meters **ret_meters,
                              struct enso_error *err)
{
    struct enso_device_meters *dm = enso_alloc_zero(1, sizeof *dm);
    int st = ENSO_OK;

    if (dm == NULL)
        return enso_error_no_memory(err, "the metrics");
    for (size_t i = 0; st == ENSO_OK && i < app->devices->n; i++) {
        struct enso_place *place = &app->devices->places[i];
        struct enso_device_info info = {0};

        place->backend->device_info(place->device, &info);
        if (place->backend->device_state != NULL)
            st = add_up(app, place, info.name, err);
        if (st == ENSO_OK && place->backend->device_metrics != NULL)
            st = add_rows(app, place, info.name, dm->meters[i], err);
        if (st == ENSO_OK && place->lanes != NULL && place->backend->lane_stats != NULL)
            st = add_lanes(app, place, info.name, dm->lanes[i], err);
    }
    *ret_meters = dm; /* also on failure: series point into it */
    return st;
}

void enso_device_meters_destroy(struct enso_device_meters *dm)
{
    enso_free(dm);
}
