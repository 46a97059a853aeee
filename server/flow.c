/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of a request: see flow.h. A request is always in exactly one place (enum place), and has
 * a holder for the call (until on_done) and one for the pool or the lanes while they have it; the
 * last holder frees it. Only the loop changes places; the pool and the lanes hand the request back
 * by libuv's after-work callback and by the done list.
 */
#include "server/flow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "batching/scheduler.h"
#include "server/access_log.h"
#include "server/budget.h"
#include "server/device.h"
#include "server/dialect.h"
#include "server/loop.h"
#include "server/lost.h"
#include "server/meters.h"
#include "server/prepare.h"
#include "server/registry.h"
#include "server/reply.h"
#include "server/routes.h"
#include "server/tidy.h"

/* Above these a request is decoded, or its answer encoded, on the pool: the loop must stay free.
 * 1 KiB of text is about 256 tokens. */
#define INLINE_BODY_BYTES 1536
#define INLINE_ANSWER_BYTES (64u << 10)
#define MAX_WAKE_DELAY_NS (ENSO_NS_PER_MS / 5)

enum place {
    AT_HEAD,  /* headers seen, body coming */
    AT_POOL,  /* being decoded or encoded by a worker */
    AT_QUEUE, /* its job is the scheduler's */
    AT_END,   /* answered, or given up */
};

/* A request with what only this file needs. */
struct flight {
    struct enso_request req; /* first: a request is its flight */
    uv_work_t work;
    enum place place;
    unsigned n_holders;
    struct flight *next_done;
    int answered; /* plain routes: the status that answer gave, or negative */
};

static struct flight *flight_of(struct enso_request *req)
{
    return ENSO_CONTAINER_OF(req, struct flight, req);
}

/* --- life ---------------------------------------------------------------------------------- */

static void release(struct flight *f)
{
    struct enso_request *req = &f->req;

    if (--f->n_holders != 0)
        return;
    req->app->n_requests--;
    enso_budget_give(req->app->budget, req->charged_bytes);
    enso_tidy_request(req->app->tidy, req->charged_bytes);
    enso_http_call_unref(req->call);
    enso_job_destroy(req->job);
    enso_served_unref(req->served);
    json_decref(req->json);
    enso_buffer_done(&req->answer);
    enso_arena_done(&req->arena);
    enso_free(f);
}

static struct flight *new_flight(struct enso_app *app, struct enso_http_call *call)
{
    struct flight *f = enso_alloc_zero(1, sizeof *f);
    struct enso_request *req;

    if (f == NULL)
        return NULL;
    req = &f->req;
    req->app = app;
    req->call = enso_http_call_ref(call); /* keeps the body while the pool reads it */
    req->start_ns = enso_http_call_started_ns(call);
    req->input_key = "input";
    req->parameters = (struct enso_parameters){
        .truncate = app->config->batching.truncate, .top_k = 5, .priority = ENSO_PRIORITY_DEFAULT};
    req->answer = (struct enso_buffer)ENSO_BUFFER_INIT;
    f->n_holders = 1;
    app->n_requests++;
    enso_reply_choose_id(req);
    enso_http_call_set_user(call, f);
    return f;
}

/* --- answering ------------------------------------------------------------------------------- */

static void finish(struct flight *f, int code)
{
    f->place = AT_END;
    enso_reply(&f->req, code, NULL);
}

static void fail(struct flight *f)
{
    f->place = AT_END;
    if (f->req.error.status == ENSO_UNAVAILABLE)
        enso_lost_check(f->req.app); /* is that why? */
    if (f->req.error.status == ENSO_BUDGET)
        enso_meters_rejected(f->req.app->meters, "memory");
    enso_reply_error(&f->req, 0);
}

/* --- after the run: encode -------------------------------------------------------------------- */

/* Answers of one number a dozen bytes; exact enough to choose a thread. */
static size_t estimate_answer(const struct enso_request *req)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < req->job->n_samples; i++) {
        const struct enso_sample *s = req->job->samples[i];

        bytes += 256;
        for (uint32_t o = 0; o < s->n_outputs; o++)
            bytes += (size_t)enso_tensor_count(&s->outputs[o]) * 12;
    }
    return bytes;
}

static void encode(struct enso_request *req)
{
    uint64_t start_ns = enso_clock_now_ns();
    int st = req->route->encode(req, &req->error);

    if (st == ENSO_OK && req->answer.failed)
        st = enso_error_no_memory(&req->error, "the answer");
    if (st != ENSO_OK && req->error.status == ENSO_OK) /* an encoder that set no sentence */
        (void)enso_error_set(&req->error, (enum enso_status)st, "%s",
                             enso_status_text((enum enso_status)st));
    req->post_ns += enso_clock_now_ns() - start_ns;
}

static void encode_finish(struct flight *f)
{
    if (f->req.error.status != ENSO_OK)
        fail(f);
    else
        finish(f, 200);
}

static void encode_work(uv_work_t *work)
{
    encode(&((struct flight *)work->data)->req);
}

static void encode_after(uv_work_t *work, int status)
{
    struct flight *f = work->data;

    (void)status; /* never cancelled */
    f->place = AT_END;
    if (f->req.gone)
        enso_meters_cancelled(f->req.app->meters, "postprocess");
    else
        encode_finish(f);
    release(f);
}

/* The job is back: account for it, encode, answer. Holds what the job held. */
static void job_back(struct flight *f)
{
    struct enso_request *req = &f->req;
    struct enso_job *job = req->job;

    if (req->gone) {
        f->place = AT_END;
        enso_meters_cancelled(req->app->meters, job->compute_ns != 0 ? "compute" : "queue");
        release(f);
        return;
    }
    if (job->status != ENSO_OK) {
        req->error = job->error;
        if (req->error.status == ENSO_OK)
            (void)enso_error_set(&req->error, job->status, "%s", enso_status_text(job->status));
        if (job->failed_sample < job->n_samples && req->n_inputs > 1)
            enso_error_param(&req->error, "%s[%u]", req->input_key, job->failed_sample);
        fail(f);
        release(f);
        return;
    }
    if (estimate_answer(req) <= INLINE_ANSWER_BYTES) {
        encode(req);
        encode_finish(f);
        release(f);
        return;
    }
    f->place = AT_POOL;
    f->work.data = f;
    if (uv_queue_work(enso_loop_uv(req->app->loop), &f->work, encode_work, encode_after) != 0) {
        encode(req);
        encode_finish(f);
        release(f);
    }
}

/* A lane's (or the loop's) thread: hand the request to the loop. */
static void on_job_done(struct enso_job *job, void *user)
{
    struct flight *f = user;
    struct enso_app *app = f->req.app;
    bool ring;

    (void)job;
    f->next_done = NULL;
    (void)pthread_mutex_lock(&app->done_lock); /* a plain mutex: locking cannot fail */
    ring = app->done_first == NULL;
    if (ring)
        app->done_first = &f->req;
    else
        flight_of(app->done_last)->next_done = f;
    app->done_last = &f->req;
    (void)pthread_mutex_unlock(&app->done_lock);
    if (ring)
        enso_wakeup_send(app->done_bell);
}

static void on_done_bell(void *user)
{
    struct enso_app *app = user;
    struct flight *f, *next;

    (void)pthread_mutex_lock(&app->done_lock);
    f = app->done_first != NULL ? flight_of(app->done_first) : NULL;
    app->done_first = app->done_last = NULL;
    (void)pthread_mutex_unlock(&app->done_lock);
    for (; f != NULL; f = next) {
        next = f->next_done;
        job_back(f);
    }
}

/* --- into the queue ----------------------------------------------------------------------------
 */

/* The deadline: the body's timeout_ms, else the header (decoded before), else the configuration's;
 * counted from the request's first byte. */
static void set_deadline(struct enso_request *req)
{
    uint64_t timeout_ns = req->parameters.timeout_ns != 0 ? req->parameters.timeout_ns
                                                          : req->app->config->default_timeout_ns;

    req->deadline_ns = timeout_ns != 0 ? req->start_ns + timeout_ns : 0;
}

static void on_expire_timer(void *user)
{
    struct enso_app *app = user;
    uint64_t now_ns = enso_clock_now_ns();
    uint64_t next_ns = UINT64_MAX;

    for (size_t i = 0; i < app->devices->n; i++) {
        uint64_t at_ns = enso_scheduler_expire(app->devices->places[i].scheduler, now_ns);

        next_ns = ENSO_MIN(next_ns, at_ns);
    }

    app->expire_at_ns = next_ns;
    if (next_ns != UINT64_MAX)
        enso_timer_start(app->expire_timer,
                         next_ns > now_ns ? (next_ns - now_ns) / ENSO_NS_PER_MS + 1 : 1, 0);
}

static void watch_deadline(struct enso_app *app, uint64_t deadline_ns, uint64_t now_ns)
{
    if (deadline_ns == 0 || deadline_ns >= app->expire_at_ns)
        return;
    app->expire_at_ns = deadline_ns;
    enso_timer_start(app->expire_timer,
                     deadline_ns > now_ns ? (deadline_ns - now_ns) / ENSO_NS_PER_MS + 1 : 1, 0);
}

static void wake_lanes(struct enso_app *app)
{
    for (size_t i = 0; i < app->devices->n; i++)
        enso_scheduler_wake(app->devices->places[i].scheduler);
}

/* Requests that come in one turn of the loop wake the lane once, at the turn's end, or when the
 * first of them has waited long enough. */
static void owe_wake(struct enso_app *app, uint64_t now_ns)
{
    if (!app->wake_owed) {
        app->wake_owed = true;
        app->wake_owed_ns = now_ns;
    } else if (now_ns - app->wake_owed_ns > MAX_WAKE_DELAY_NS) {
        app->wake_owed = false;
        wake_lanes(app);
    }
}

static void on_turn(void *user)
{
    struct enso_app *app = user;

    if (app->http != NULL) /* at the end the loop outlives it */
        enso_tidy_connections(app->tidy, enso_http_n_connections(app->http));
    if (!app->wake_owed)
        return;
    app->wake_owed = false;
    wake_lanes(app);
}

/* A plain route has written its answer. */
static void answer_finish(struct flight *f)
{
    struct enso_request *req = &f->req;

    if (f->answered >= 100 && !req->answer.failed) {
        finish(f, f->answered);
        return;
    }
    if (req->error.status == ENSO_OK)
        (void)enso_error_no_memory(&req->error, "the answer");
    fail(f);
}

/* On the loop, after prepare: into the queue, or out with an answer or an error. */
static void submit(struct flight *f)
{
    struct enso_request *req = &f->req;
    uint64_t now_ns;
    int st;

    if (req->route->decode == NULL) {
        answer_finish(f);
        return;
    }
    if (req->error.status != ENSO_OK) {
        fail(f);
        return;
    }
    set_deadline(req);
    req->job->deadline_ns = req->deadline_ns;
    req->job->priority = req->parameters.priority;
    req->job->client = req->client;
    req->job->done = on_job_done;
    req->job->user = f;
    now_ns = enso_clock_now_ns();
    f->place = AT_QUEUE;
    f->n_holders++;
    st = enso_served_submit(req->served, req->job, now_ns, &req->error);
    if (st == ENSO_OK) {
        owe_wake(req->app, now_ns);
        watch_deadline(req->app, req->deadline_ns, now_ns);
        return;
    }
    f->n_holders--;
    req->retry_after_ns = req->job->retry_after_ns;
    fail(f);
}

static void prepare(struct flight *f)
{
    f->answered = enso_prepare(&f->req);
}

static void prepare_work(uv_work_t *work)
{
    prepare(work->data);
}

static void prepare_after(uv_work_t *work, int status)
{
    struct flight *f = work->data;

    (void)status; /* never cancelled */
    if (f->req.gone) {
        f->place = AT_END;
        enso_meters_cancelled(f->req.app->meters, "preprocess");
    } else {
        submit(f);
    }
    release(f);
}

/* --- the transport's callbacks ---------------------------------------------------------------- */

/* X-Request-Timeout: seconds as a decimal number. */
static int read_timeout_header(struct enso_request *req)
{
    const char *text = enso_http_call_header(req->call, "X-Request-Timeout");
    double seconds;
    char *end;

    if (text == NULL)
        return ENSO_OK;
    seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(seconds) || seconds <= 0 || seconds > 86400) {
        enso_error_param(&req->error, "X-Request-Timeout");
        return enso_error_set(&req->error, ENSO_INVALID,
                              "the header X-Request-Timeout must be seconds, above 0 and at most "
                              "86400, such as 0.25");
    }
    req->parameters.timeout_ns = ENSO_MAX((uint64_t)(seconds * 1e9), (uint64_t)1);
    return ENSO_OK;
}

static void refuse(struct flight *f, enum enso_status status, const char *sentence)
{
    (void)enso_error_set(&f->req.error, status, "%s", sentence);
    fail(f);
}

static void methods_header(unsigned methods, char out[32])
{
    (void)snprintf(out, 32, "%s%s%s", (methods & ENSO_GET) != 0 ? "GET, HEAD" : "",
                   methods == (ENSO_GET | ENSO_POST) ? ", " : "",
                   (methods & ENSO_POST) != 0 ? "POST" : "");
}

/* The path is known, the method not: OPTIONS is answered, others are refused, both with Allow. */
static void other_method(struct flight *f, unsigned methods)
{
    struct enso_request *req = &f->req;
    const char *method = enso_http_call_method(req->call);
    char allow[32];
    int code = 204;

    methods_header(methods, allow);
    f->place = AT_END;
    if (strcmp(method, "OPTIONS") != 0) {
        code = 405;
        (void)enso_error_set(&req->error, ENSO_INVALID, "this path does not take %s; it takes %s",
                             method, allow);
        enso_dialect_native.error(&req->error, code, &req->answer);
    }
    enso_reply(req, code, allow);
}

static void on_head(struct enso_http_call *call, void *user)
{
    struct enso_app *app = user;
    struct flight *f = new_flight(app, call);
    struct enso_route_match match;

    if (f == NULL)
        return; /* on_call answers 503 */
    if (enso_routes_match(enso_http_call_method(call), enso_http_call_target(call), &f->req.arena,
                          &match) != ENSO_OK) {
        refuse(f, ENSO_NO_MEMORY, "out of memory; try again later");
        return;
    }
    if (match.methods == 0) {
        refuse(f, ENSO_NOT_FOUND, "there is nothing under this path; GET / lists what there is");
        return;
    }
    if (match.route == NULL) {
        other_method(f, match.methods);
        return;
    }
    f->req.route = match.route;
    f->req.path_model = match.id;
    f->req.path_version = match.version;
    if (match.id != NULL)
        f->req.model_name = match.id;
    enso_http_call_set_max_body(
        call, match.route->method == ENSO_POST ? (size_t)app->config->max_body_bytes : 1 << 16);
}

/* A header's value in the request's arena; NULL when it is absent. */
static int copy_header(struct enso_request *req, const char *name, const char **ret)
{
    const char *value = enso_http_call_header(req->call, name);

    if (value == NULL)
        return ENSO_OK;
    *ret = enso_arena_strndup(&req->arena, value, strlen(value));
    return *ret != NULL ? ENSO_OK : enso_error_no_memory(&req->error, "a header");
}

/* Is it for the pool? Only what decodes a body: other routes read the call's headers, which belong
 * to the loop. */
static bool is_big(const struct enso_request *req)
{
    const char *type = req->content_type;

    if (req->route->method != ENSO_POST)
        return false;
    return req->body_size > INLINE_BODY_BYTES ||
           (type != NULL &&
            (strncasecmp(type, "image/", 6) == 0 || strncasecmp(type, "multipart/", 10) == 0 ||
             strncasecmp(type, "application/octet-stream", 24) == 0));
}

static void on_call(struct enso_http_call *call, void *user)
{
    struct enso_app *app = user;
    struct flight *f = enso_http_call_user(call);
    struct enso_request *req;

    if (f == NULL && (f = new_flight(app, call)) == NULL) {
        enso_http_respond_error(call, 503, NULL, 0, "out of memory; try again later");
        return;
    }
    if (f->req.route == NULL) { /* there was no memory at on_head */
        refuse(f, ENSO_NO_MEMORY, "out of memory; try again later");
        return;
    }
    req = &f->req;
    req->body = enso_http_call_body(call, &req->body_size);
    if (read_timeout_header(req) != ENSO_OK ||
        copy_header(req, "Content-Type", &req->content_type) != ENSO_OK ||
        copy_header(req, "Inference-Header-Content-Length", &req->inference_header) != ENSO_OK) {
        fail(f);
        return;
    }
    if (is_big(req)) {
        f->place = AT_POOL;
        f->work.data = f;
        f->n_holders++;
        if (uv_queue_work(enso_loop_uv(app->loop), &f->work, prepare_work, prepare_after) == 0)
            return;
        f->n_holders--;
    }
    prepare(f);
    submit(f);
}

static void on_gone(struct enso_http_call *call, void *user)
{
    struct flight *f = enso_http_call_user(call);

    (void)user;
    if (f == NULL)
        return;
    f->req.gone = true;
    if (f->place == AT_QUEUE)
        enso_job_cancel(f->req.job, enso_clock_now_ns());
}

/* What may be read of a request wherever it is: a worker still writes to one on the pool, a lane to
 * the job of one in the queue. Gives the request itself, or *view filled with what is certain. */
static const struct enso_request *view_request(const struct flight *f, struct enso_request *view)
{
    if (f->place != AT_POOL && f->place != AT_QUEUE)
        return &f->req;
    *view = (struct enso_request){
        .app = f->req.app, .call = f->req.call, .route = f->req.route, .start_ns = f->req.start_ns};
    memcpy(view->id, f->req.id, sizeof view->id);
    memcpy(view->trace, f->req.trace, sizeof view->trace);
    if (f->place == AT_QUEUE) {
        view->served = f->req.served;
        view->n_items = f->req.n_items;
        view->n_tokens = f->req.n_tokens;
        view->pre_ns = f->req.pre_ns;
    }
    return view;
}

static void on_done(struct enso_http_call *call, const struct enso_http_done *done, void *user)
{
    struct flight *f = enso_http_call_user(call);
    struct enso_app *app = user;
    const struct enso_request *req;
    struct enso_request view;

    if (f == NULL && done->status != 0) /* refused before on_head */
        f = new_flight(app, call);
    if (f == NULL)
        return; /* it never was a request, or there is no memory for more than its answer */
    req = view_request(f, &view);
    if (req->route == NULL || !req->route->quiet)
        enso_access_log(req, done);
    enso_meters_request(app->meters, req, done->status != 0 ? done->status : 499);
    enso_http_call_set_user(call, NULL);
    release(f);
}

/* What the transport refuses by itself, in the shape of the route's dialect where it is known. */
static void format_error(struct enso_http_call *call, struct enso_http_error *error, void *user)
{
    struct flight *f = enso_http_call_user(call);
    struct enso_error err = {0};
    struct enso_request view;

    if (f == NULL)
        f = new_flight(user, call);
    if (f != NULL) {
        enso_reply_format(view_request(f, &view), error);
        return;
    }
    (void)enso_error_set(&err, ENSO_INVALID, "%s", error->message);
    enso_dialect_native.error(&err, error->status, error->body);
}

void enso_flow_callbacks(struct enso_app *app, struct enso_http_callbacks *ret)
{
    *ret = (struct enso_http_callbacks){.on_head = on_head,
                                        .on_call = on_call,
                                        .on_gone = on_gone,
                                        .on_done = on_done,
                                        .on_turn = on_turn,
                                        .format_error = format_error,
                                        .user = app};
}

int enso_flow_init(struct enso_app *app, struct enso_error *err)
{
    (void)pthread_mutex_init(&app->done_lock, NULL); /* cannot fail with default attributes */
    app->expire_at_ns = UINT64_MAX;
    app->done_bell = enso_wakeup_create(app->loop, on_done_bell, app, err);
    app->expire_timer =
        app->done_bell != NULL ? enso_timer_create(app->loop, on_expire_timer, app, err) : NULL;
    return app->expire_timer != NULL ? ENSO_OK : ENSO_NO_MEMORY;
}

void enso_flow_done(struct enso_app *app)
{
    enso_timer_destroy(app->expire_timer);
    enso_wakeup_destroy(app->done_bell);
    app->expire_timer = NULL;
    app->done_bell = NULL;
    (void)pthread_mutex_destroy(&app->done_lock); /* nobody rings any more */
}
