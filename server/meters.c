/* SPDX-License-Identifier: Apache-2.0
 *
 * The metrics of api.md: see meters.h. Names carry the prefix "ensod_" and base units; labels stay
 * few: loaded models, tasks, dialects, statuses.
 */
#include "server/meters.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "batching/job.h"
#include "batching/scheduler.h"
#include "server/app.h"
#include "server/budget.h"
#include "server/dialect.h"
#include "server/device.h"
#include "server/http.h"
#include "server/registry.h"
#include "server/request.h"
#include "server/routes.h"

/* Labels of classifiers are counted each up to this many; above, predicted labels are not told. */
#define MAX_LABEL_CHILDREN 200

struct enso_meters {
    struct enso_app *app;
    struct enso_metrics_family *requests, *request_seconds, *queue_seconds, *pre_seconds,
        *compute_seconds, *batch_items, *batch_tokens, *tokens, *rejected, *cancelled,
        *deadline_missed, *model_loaded, *model_bytes, *model_fallback, *model_device,
        *model_load_seconds, *predicted, *confidence;
    struct enso_answer_counters answers; /* of requests that came to no model */
};

struct family_row {
    size_t offset;
    struct enso_metrics_spec spec;
};

#define FAMILY(member) offsetof(struct enso_meters, member)

static const double confidence_buckets[] = {0.1, 0.2, 0.3, 0.4,  0.5,  0.6,
                                            0.7, 0.8, 0.9, 0.95, 0.99, 1.0};

static int add_families(struct enso_meters *m, struct enso_error *err)
{
    const struct family_row rows[] = {
        {FAMILY(requests),
         {.type = ENSO_METRICS_COUNTER,
          .name = "ensod_requests_total",
          .help = "Requests that were answered or broke off (code 499).",
          .labels = {"model", "task", "dialect", "code"}}},
        {FAMILY(request_seconds),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_request_duration_seconds",
          .help = "From the first byte of a request to the end of its answer.",
          .labels = {"model"},
          .buckets = enso_metrics_seconds,
          .n_buckets = ENSO_ARRAY_SIZE(enso_metrics_seconds)}},
        {FAMILY(queue_seconds),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_queue_duration_seconds",
          .help = "Time a request waited for its batches.",
          .labels = {"model"},
          .buckets = enso_metrics_seconds,
          .n_buckets = ENSO_ARRAY_SIZE(enso_metrics_seconds)}},
        {FAMILY(pre_seconds),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_preprocess_duration_seconds",
          .help = "Decoding, tokenizing and preparing pictures.",
          .labels = {"model"},
          .buckets = enso_metrics_seconds,
          .n_buckets = ENSO_ARRAY_SIZE(enso_metrics_seconds)}},
        {FAMILY(compute_seconds),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_compute_duration_seconds",
          .help = "Run time of a batch.",
          .labels = {"model"},
          .buckets = enso_metrics_seconds,
          .n_buckets = ENSO_ARRAY_SIZE(enso_metrics_seconds)}},
        {FAMILY(batch_items),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_batch_items",
          .help = "Items in a batch.",
          .labels = {"model"},
          .buckets = enso_metrics_sizes,
          .n_buckets = ENSO_ARRAY_SIZE(enso_metrics_sizes)}},
        {FAMILY(batch_tokens),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_batch_tokens",
          .help = "Tokens in a batch.",
          .labels = {"model"},
          .buckets = enso_metrics_sizes,
          .n_buckets = ENSO_ARRAY_SIZE(enso_metrics_sizes)}},
        {FAMILY(tokens),
         {.type = ENSO_METRICS_COUNTER,
          .name = "ensod_tokens_total",
          .help = "Tokens: input taken in, wasted by padding.",
          .labels = {"model", "kind"}}},
        {FAMILY(rejected),
         {.type = ENSO_METRICS_COUNTER,
          .name = "ensod_rejected_total",
          .help = "Requests refused before they were queued.",
          .labels = {"reason"}}},
        {FAMILY(cancelled),
         {.type = ENSO_METRICS_COUNTER,
          .name = "ensod_cancelled_total",
          .help = "Requests whose client went away, by where they were.",
          .labels = {"stage"}}},
        {FAMILY(deadline_missed),
         {.type = ENSO_METRICS_COUNTER,
          .name = "ensod_deadline_missed_total",
          .help = "Requests dropped because their deadline passed before they were computed.",
          .labels = {"model"}}},
        {FAMILY(model_loaded),
         {.type = ENSO_METRICS_GAUGE,
          .name = "ensod_model_loaded",
          .help = "1 while the model serves.",
          .labels = {"model"}}},
        {FAMILY(model_bytes),
         {.type = ENSO_METRICS_GAUGE,
          .name = "ensod_model_bytes",
          .help = "Memory that the model's weights take on their device.",
          .labels = {"model"}}},
        {FAMILY(model_fallback),
         {.type = ENSO_METRICS_GAUGE,
          .name = "ensod_model_device_fallback",
          .help = "1 when the model runs on the processor because a GPU could not be used.",
          .labels = {"model"}}},
        {FAMILY(model_device),
         {.type = ENSO_METRICS_GAUGE,
          .name = "ensod_model_device",
          .help = "1: where the model runs.",
          .labels = {"model", "device"}}},
        {FAMILY(model_load_seconds),
         {.type = ENSO_METRICS_GAUGE,
          .name = "ensod_model_load_seconds",
          .help = "How long loading took.",
          .labels = {"model"}}},
        {FAMILY(predicted),
         {.type = ENSO_METRICS_COUNTER,
          .name = "ensod_predicted_label_total",
          .help = "Labels that came first.",
          .labels = {"model", "label"}}},
        {FAMILY(confidence),
         {.type = ENSO_METRICS_HISTOGRAM,
          .name = "ensod_confidence",
          .help = "Probability of the label that came first.",
          .labels = {"model"},
          .buckets = confidence_buckets,
          .n_buckets = ENSO_ARRAY_SIZE(confidence_buckets)}},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_metrics_family *f = enso_metrics_add(m->app->metrics, &rows[i].spec, err);

        if (f == NULL)
            return ENSO_NO_MEMORY;
        memcpy((char *)m + rows[i].offset, &f, sizeof f);
    }
    return ENSO_OK;
}

/* --- gauges read at the scrape --------------------------------------------------------------- */

static double read_connections(void *context)
{
    return (double)enso_http_n_connections(((struct enso_app *)context)->http);
}

static double read_budget(void *context)
{
    return (double)enso_budget_used(((struct enso_app *)context)->budget);
}

static double read_load_seconds(void *context)
{
    return ((const struct enso_model_meters *)context)->load_seconds;
}

static double read_log_dropped(void *context)
{
    (void)context;
    return (double)enso_log_dropped();
}

/* Of all devices; the backlog is that of the busiest. */
static void scheduler_stats(void *context, struct enso_scheduler_stats *ret)
{
    const struct enso_devices *devices = ((struct enso_app *)context)->devices;

    *ret = (struct enso_scheduler_stats){0};
    for (size_t i = 0; devices != NULL && i < devices->n; i++) {
        struct enso_scheduler_stats s;

        enso_scheduler_stats(devices->places[i].scheduler, enso_clock_now_ns(), &s);
        ret->n_items += s.n_items;
        ret->n_tokens += s.n_tokens;
        ret->n_busy += s.n_busy;
        ret->backlog_ns = ENSO_MAX(ret->backlog_ns, s.backlog_ns);
    }
}

static double read_queue_items(void *context)
{
    struct enso_scheduler_stats s;

    scheduler_stats(context, &s);
    return (double)s.n_items;
}

static double read_queue_tokens(void *context)
{
    struct enso_scheduler_stats s;

    scheduler_stats(context, &s);
    return (double)s.n_tokens;
}

static double read_backlog(void *context)
{
    struct enso_scheduler_stats s;

    scheduler_stats(context, &s);
    return (double)s.backlog_ns * 1e-9;
}

static double read_lanes_busy(void *context)
{
    struct enso_scheduler_stats s;

    scheduler_stats(context, &s);
    return (double)s.n_busy;
}

static int add_gauges(struct enso_meters *m, struct enso_error *err)
{
    const struct {
        const char *name, *help;
        enso_metrics_read_fn read;
        enum enso_metrics_type type;
    } rows[] = {
        {"ensod_connections", "Open connections.", read_connections, ENSO_METRICS_GAUGE},
        {"ensod_request_memory_bytes", "Memory that requests hold, of request_memory.", read_budget,
         ENSO_METRICS_GAUGE},
        {"ensod_queue_items", "Items that wait in queues.", read_queue_items, ENSO_METRICS_GAUGE},
        {"ensod_queue_tokens", "Tokens that wait in queues.", read_queue_tokens,
         ENSO_METRICS_GAUGE},
        {"ensod_backlog_seconds", "Predicted time until all that waits is computed.", read_backlog,
         ENSO_METRICS_GAUGE},
        {"ensod_lanes_busy", "Lanes that run a batch.", read_lanes_busy, ENSO_METRICS_GAUGE},
        {"ensod_log_dropped_total", "Log lines that were lost.", read_log_dropped,
         ENSO_METRICS_COUNTER},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_metrics_spec spec = {
            .type = rows[i].type, .name = rows[i].name, .help = rows[i].help};
        struct enso_metrics_family *f = enso_metrics_add(m->app->metrics, &spec, err);

        if (f == NULL)
            return ENSO_NO_MEMORY;
        if (!enso_metrics_callback(f, NULL, rows[i].read, m->app))
            return enso_error_no_memory(err, "the metrics");
    }
    return ENSO_OK;
}

/* --- life ---------------------------------------------------------------------------------- */

/* Series of 0 for all that may happen: a rate or an alert needs them before the first event. */
static int add_zeros(struct enso_meters *m, struct enso_error *err)
{
    static const char *const reasons[] = {"overloaded", "deadline", "unavailable", "memory"};
    static const char *const stages[] = {"preprocess", "queue", "compute", "postprocess"};
    bool done = true;

    for (size_t i = 0; done && i < ENSO_ARRAY_SIZE(reasons); i++)
        done = enso_metrics_counter(m->rejected, &reasons[i]) != NULL;
    for (size_t i = 0; done && i < ENSO_ARRAY_SIZE(stages); i++)
        done = enso_metrics_counter(m->cancelled, &stages[i]) != NULL;
    return done ? ENSO_OK : enso_error_no_memory(err, "the metrics");
}

int enso_meters_create(struct enso_app *app, struct enso_meters **ret_meters,
                       struct enso_error *err)
{
    struct enso_meters *m = enso_alloc_zero(1, sizeof *m);
    int st;

    if (m == NULL)
        return enso_error_no_memory(err, "the metrics");
    m->app = app;
    st = add_families(m, err);
    if (st == ENSO_OK)
        st = add_zeros(m, err);
    if (st == ENSO_OK)
        st = add_gauges(m, err);
    if (st == ENSO_OK)
        st = enso_metrics_add_process(app->metrics, err);
    if (st != ENSO_OK) {
        enso_free(m);
        return st;
    }
    *ret_meters = m;
    return ENSO_OK;
}

void enso_meters_destroy(struct enso_meters *m)
{
    enso_free(m);
}

static int add_labels(struct enso_meters *m, const struct enso_model_info *info,
                      struct enso_model_meters *mm, struct enso_error *err)
{
    if (info->n_labels == 0 || info->n_labels > MAX_LABEL_CHILDREN)
        return ENSO_OK;
    mm->labels = enso_alloc_zero(info->n_labels, sizeof *mm->labels);
    if (mm->labels == NULL)
        return enso_error_no_memory(err, "the metrics");
    for (uint32_t i = 0; i < info->n_labels; i++) {
        mm->labels[i] =
            enso_metrics_counter(m->predicted, (const char *[]){mm->model, info->labels[i]});
        if (mm->labels[i] == NULL)
            return enso_error_no_memory(err, "the metrics");
        mm->n_labels = i + 1;
    }
    return ENSO_OK;
}

int enso_meters_model(struct enso_meters *m, const struct enso_model_info *info,
                      struct enso_model_meters *mm, struct enso_error *err)
{
    const char *model[] = {info->id};
    int st;

    mm->meters = m;
    mm->model = info->id;
    mm->request_seconds = enso_metrics_histogram(m->request_seconds, model);
    mm->queue_seconds = enso_metrics_histogram(m->queue_seconds, model);
    mm->pre_seconds = enso_metrics_histogram(m->pre_seconds, model);
    mm->compute_seconds = enso_metrics_histogram(m->compute_seconds, model);
    mm->batch_items = enso_metrics_histogram(m->batch_items, model);
    mm->batch_tokens = enso_metrics_histogram(m->batch_tokens, model);
    mm->confidence = enso_metrics_histogram(m->confidence, model);
    mm->tokens_input = enso_metrics_counter(m->tokens, (const char *[]){info->id, "input"});
    mm->tokens_wasted = enso_metrics_counter(m->tokens, (const char *[]){info->id, "wasted"});
    mm->deadline_missed = enso_metrics_counter(m->deadline_missed, model);
    mm->loaded = enso_metrics_gauge(m->model_loaded, model);
    mm->bytes = enso_metrics_gauge(m->model_bytes, model);
    mm->fallback = enso_metrics_gauge(m->model_fallback, model);
    mm->load_seconds = info->load_seconds;
    mm->tells_load_seconds =
        enso_metrics_callback(m->model_load_seconds, model, read_load_seconds, mm);
    if (mm->request_seconds == NULL || mm->queue_seconds == NULL || mm->pre_seconds == NULL ||
        mm->compute_seconds == NULL || mm->batch_items == NULL || mm->batch_tokens == NULL ||
        mm->confidence == NULL || mm->tokens_input == NULL || mm->tokens_wasted == NULL ||
        mm->deadline_missed == NULL || mm->loaded == NULL || mm->bytes == NULL ||
        mm->fallback == NULL || !mm->tells_load_seconds)
        return enso_error_no_memory(err, "the metrics");
    enso_gauge_set(mm->loaded, 1);
    enso_gauge_set(mm->bytes, 0);
    st = enso_meters_model_replica(mm, info, err);
    return st == ENSO_OK ? add_labels(m, info, mm, err) : st;
}

int enso_meters_model_replica(struct enso_model_meters *mm, const struct enso_model_info *info,
                              struct enso_error *err)
{
    struct enso_gauge *device =
        enso_metrics_gauge(mm->meters->model_device, (const char *[]){mm->model, info->device});

    if (device == NULL)
        return enso_error_no_memory(err, "the metrics");
    mm->devices[mm->n_devices++] = device;
    enso_gauge_set(device, 1);
    enso_gauge_add(mm->bytes, (int64_t)info->weight_bytes);
    return ENSO_OK;
}

void enso_meters_model_fallback(struct enso_model_meters *mm)
{
    enso_gauge_set(mm->fallback, 1);
}

void enso_meters_model_replaced(struct enso_model_meters *mm)
{
    if (mm->tells_load_seconds)
        enso_metrics_callback_release(mm->meters->model_load_seconds, (const char *[]){mm->model});
    mm->tells_load_seconds = false;
    for (size_t i = 0; i < mm->n_devices; i++)
        enso_gauge_set(mm->devices[i], 0);
}

void enso_meters_model_done(struct enso_model_meters *mm)
{
    struct enso_meters *m = mm->meters;

    if (m == NULL)
        return;
    enso_histogram_release(m->request_seconds, mm->request_seconds);
    enso_histogram_release(m->queue_seconds, mm->queue_seconds);
    enso_histogram_release(m->pre_seconds, mm->pre_seconds);
    enso_histogram_release(m->compute_seconds, mm->compute_seconds);
    enso_histogram_release(m->batch_items, mm->batch_items);
    enso_histogram_release(m->batch_tokens, mm->batch_tokens);
    enso_histogram_release(m->confidence, mm->confidence);
    enso_counter_release(m->tokens, mm->tokens_input);
    enso_counter_release(m->tokens, mm->tokens_wasted);
    enso_counter_release(m->deadline_missed, mm->deadline_missed);
    enso_gauge_release(m->model_loaded, mm->loaded);
    enso_gauge_release(m->model_bytes, mm->bytes);
    enso_gauge_release(m->model_fallback, mm->fallback);
    for (size_t i = 0; i < mm->n_devices; i++)
        enso_gauge_release(m->model_device, mm->devices[i]);
    if (mm->tells_load_seconds)
        enso_metrics_callback_release(m->model_load_seconds, (const char *[]){mm->model});
    for (uint32_t i = 0; i < mm->n_labels; i++)
        enso_counter_release(m->predicted, mm->labels[i]);
    for (size_t i = 0; i < mm->answers.n; i++)
        enso_counter_release(m->requests, mm->answers.rows[i].counter);
    enso_free(mm->labels);
    *mm = (struct enso_model_meters){0};
}

/* --- counting -------------------------------------------------------------------------------- */

static void on_batch(void *user, const struct enso_batch_report *report)
{
    struct enso_model_meters *mm = user;

    enso_histogram_observe_ns(mm->compute_seconds, report->compute_ns);
    enso_histogram_observe(mm->batch_items, (double)report->n_items);
    if (report->n_tokens != 0)
        enso_histogram_observe(mm->batch_tokens, (double)report->n_tokens);
    enso_counter_add(mm->tokens_input, report->n_tokens);
    enso_counter_add(mm->tokens_wasted, report->n_padding_tokens);
}

static void on_job(void *user, const struct enso_job *job)
{
    struct enso_model_meters *mm = user;

    enso_histogram_observe_ns(mm->queue_seconds, job->queue_ns);
    if (job->status == ENSO_DEADLINE)
        enso_counter_add(mm->deadline_missed, 1);
}

static void on_refused(void *user, const struct enso_job *job, enum enso_status status)
{
    struct enso_model_meters *mm = user;

    (void)job;
    enso_meters_rejected(mm->meters, status == ENSO_OVERLOADED    ? "overloaded"
                                     : status == ENSO_DEADLINE    ? "deadline"
                                     : status == ENSO_UNAVAILABLE ? "unavailable"
                                                                  : "other");
}

struct enso_observer enso_meters_observer(struct enso_model_meters *mm)
{
    return (struct enso_observer){
        .user = mm, .batch = on_batch, .job = on_job, .refused = on_refused};
}

/* A counter looked up by its labels: for what happens rarely. */
static void count(struct enso_metrics_family *f, const char *const *values)
{
    struct enso_counter *c = enso_metrics_counter(f, values);

    if (c != NULL) /* out of memory: one event is not counted */
        enso_counter_add(c, 1);
}

void enso_meters_rejected(struct enso_meters *m, const char *reason)
{
    count(m->rejected, (const char *[]){reason});
}

void enso_meters_cancelled(struct enso_meters *m, const char *stage)
{
    count(m->cancelled, (const char *[]){stage});
}

/* The counter of requests of a model and task with that dialect and code; NULL: out of memory. */
static struct enso_counter *answer_counter(struct enso_meters *m,
                                           struct enso_answer_counters *known, const char *model,
                                           const char *task, const char *dialect, int code)
{
    struct enso_counter *c;
    char text[16];

    for (size_t i = 0; i < known->n; i++)
        if (known->rows[i].code == code && known->rows[i].dialect == dialect)
            return known->rows[i].counter;
    (void)snprintf(text, sizeof text, "%d", code);
    c = enso_metrics_counter(m->requests, (const char *[]){model, task, dialect, text});
    if (c == NULL)
        return NULL;
    if (known->n < ENSO_METERS_ANSWERS) {
        known->rows[known->n].dialect = dialect;
        known->rows[known->n].code = code;
        known->rows[known->n++].counter = c;
    }
    return c;
}

void enso_meters_request(struct enso_meters *m, const struct enso_request *req, int code)
{
    const char *dialect = req->route != NULL ? req->route->dialect->name : "none";
    struct enso_served *s = req->served;
    struct enso_counter *c;

    if (s != NULL) {
        enso_histogram_observe_ns(s->meters.request_seconds, enso_clock_now_ns() - req->start_ns);
        enso_histogram_observe_ns(s->meters.pre_seconds, req->pre_ns);
        c = answer_counter(m, &s->meters.answers, s->id,
                           enso_task_name(enso_model_info(s->model)->task), dialect, code);
    } else {
        c = answer_counter(m, &m->answers, "", "", dialect, code);
    }
    if (c != NULL) /* out of memory: one event is not counted */
        enso_counter_add(c, 1);
}

void enso_meters_predicted(struct enso_model_meters *mm, uint32_t label, float confidence)
{
    enso_histogram_observe(mm->confidence, (double)confidence);
    if (label < mm->n_labels)
        enso_counter_add(mm->labels[label], 1);
}
