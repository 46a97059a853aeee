/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers: see reply.h. Numbers are written by hand: printf took a tenth of a small request's time.
 */
#include "server/reply.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/number.h"
#include "server/app.h"
#include "server/dialect.h"
#include "server/routes.h"

#define MAX_HEADERS 8
/* Answers that name no time of their own (a model is loading, no memory): come again after this. */
#define RETRY_NS ENSO_NS_PER_S

struct headers {
    struct enso_http_header list[MAX_HEADERS];
    size_t n;
    char timing[160], retry[24], retry_ms[24], header_size[24];
};

static void add(struct headers *h, const char *name, const char *value)
{
    if (h->n < MAX_HEADERS)
        h->list[h->n++] = (struct enso_http_header){name, value};
}

static char *put(char *p, const char *s)
{
    size_t n = strlen(s);

    memcpy(p, s, n);
    return p + n;
}

/* Nanoseconds as milliseconds with three digits. */
static char *put_ms(char *p, uint64_t ns)
{
    uint64_t us = (ns + 500) / 1000;
    char digits[24];

    (void)enso_number_write_u64(us / 1000, digits);
    p = put(p, digits);
    *p++ = '.';
    *p++ = (char)('0' + us / 100 % 10);
    *p++ = (char)('0' + us / 10 % 10);
    *p++ = (char)('0' + us % 10);
    return p;
}

static void add_timing(struct headers *h, const struct enso_request *req)
{
    const struct enso_job *job = req->job;
    char *p = put(h->timing, "queue;dur=");

    p = put_ms(p, job != NULL ? job->queue_ns : 0);
    p = put_ms(put(p, ", pre;dur="), req->pre_ns);
    p = put_ms(put(p, ", compute;dur="), job != NULL ? job->compute_ns : 0);
    p = put_ms(put(p, ", post;dur="), req->post_ns);
    *p = '\0';
    add(h, "Server-Timing", h->timing);
}

/* Whole seconds, rounded up, for everybody; milliseconds for those who know the header. */
static void add_retry(struct headers *h, const struct enso_request *req)
{
    uint64_t ns = req->retry_after_ns != 0 ? req->retry_after_ns : RETRY_NS;

    (void)enso_number_write_u64((ns + ENSO_NS_PER_S - 1) / ENSO_NS_PER_S, h->retry);
    (void)enso_number_write_u64((ns + ENSO_NS_PER_MS - 1) / ENSO_NS_PER_MS, h->retry_ms);
    add(h, "Retry-After", h->retry);
    add(h, "retry-after-ms", h->retry_ms);
}

/* What every answer carries. */
static void add_common(struct headers *h, const struct enso_request *req, int code)
{
    add_timing(h, req);
    add(h, "X-Request-Id", req->id);
    if (code == 429 || code == 503)
        add_retry(h, req);
    if (code == 504)
        add(h, "x-should-retry", "false");
}

void enso_reply(struct enso_request *req, int code, const char *allow)
{
    struct headers h = {.n = 0};

    add_common(&h, req, code);
    if (allow != NULL)
        add(&h, "Allow", allow);
    if (req->answer.size != 0)
        add(&h, "Content-Type", req->answer_type != NULL ? req->answer_type : "application/json");
    if (code == 200 && req->json_header_size != 0) {
        (void)enso_number_write_u64(req->json_header_size, h.header_size);
        add(&h, "Inference-Header-Content-Length", h.header_size);
    }
    enso_http_respond(req->call, code, h.list, h.n, &req->answer);
}

/* The route's dialect; of a path without a route the one that its beginning belongs to. */
static const struct enso_dialect *dialect_of(const struct enso_request *req)
{
    const struct enso_http_string *path;

    if (req->route != NULL)
        return req->route->dialect;
    path = &enso_http_call_target(req->call)->path;
    if (path->size >= 3 && memcmp(path->data, "/v2", 3) == 0)
        return &enso_dialect_kserve;
    if (path->size >= 8 && memcmp(path->data, "/models/", 8) == 0)
        return &enso_dialect_huggingface;
    return &enso_dialect_native;
}

void enso_reply_error(struct enso_request *req, int code)
{
    const struct enso_dialect *dialect = dialect_of(req);

    if (code == 0)
        code = dialect->status(&req->error);
    if (code == 500) { /* ours: the id is what the log and a report of it have in common */
        enso_error_prefix(&req->error, "request %s: ", req->id);
        enso_log_failure(ENSO_LOG_ERROR, "request failed", &req->error);
    }
    enso_buffer_done(&req->answer); /* half an answer, perhaps */
    req->answer_type = NULL;
    dialect->error(&req->error, code, &req->answer);
    enso_reply(req, code, NULL);
}

void enso_reply_format(const struct enso_request *req, struct enso_http_error *error)
{
    struct enso_error err = {0};
    struct headers h = {.n = 0};
    size_t used = 0;

    (void)enso_error_set(&err, ENSO_INVALID, "%s", error->message);
    dialect_of(req)->error(&err, error->status, error->body);
    add_common(&h, req, error->status);
    for (size_t i = 0; i < h.n && error->n_headers < ENSO_ARRAY_SIZE(error->headers); i++) {
        size_t n = strlen(h.list[i].value) + 1;

        if (n > sizeof error->room - used)
            continue;
        memcpy(error->room + used, h.list[i].value, n);
        error->headers[error->n_headers++] =
            (struct enso_http_header){h.list[i].name, error->room + used};
        used += n;
    }
}

/* --- ids ----------------------------------------------------------------------------------- */

static char *put_hex(char *p, uint64_t x, int least_digits)
{
    int digits = least_digits;

    while (digits < 16 && x >> (4 * digits) != 0)
        digits++;
    while (digits-- > 0)
        *p++ = "0123456789abcdef"[x >> (4 * digits) & 15];
    return p;
}

/* "00-<32 hex>-<16 hex>-<2 hex>", later versions may go on behind a '-'; no trace is all zeros. */
static void read_trace(struct enso_request *req)
{
    static const uint8_t hex_fields[][2] = {{0, 2}, {3, 32}, {36, 16}, {53, 2}};
    const char *given = enso_http_call_header(req->call, "traceparent");
    size_t n = given != NULL ? strlen(given) : 0;

    if (n < 55 || (n > 55 && (given[55] != '-' || memcmp(given, "00", 2) == 0)) ||
        given[2] != '-' || given[35] != '-' || given[52] != '-' || memcmp(given, "ff", 2) == 0)
        return;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(hex_fields); i++)
        if (strspn(given + hex_fields[i][0], "0123456789abcdef") < hex_fields[i][1])
            return;
    if (strspn(given + 3, "0") < 32 && strspn(given + 36, "0") < 16)
        memcpy(req->trace, given + 3, 32);
}

void enso_reply_choose_id(struct enso_request *req)
{
    const char *given = enso_http_call_header(req->call, "X-Request-Id");
    size_t n = given != NULL ? strlen(given) : 0;
    char *p = put_hex(req->tag, req->app->id_salt & 0xFFFFFFFFFFFF, 12);

    *p++ = '-';
    p = put_hex(p, ++req->app->id_count, 1);
    *p = '\0';
    for (size_t i = 0; i < n; i++)
        if (given[i] <= ' ' || given[i] > '~')
            n = 0;
    if (n >= 1 && n <= 128)
        memcpy(req->id, given, n + 1);
    else
        memcpy(req->id, req->tag, sizeof req->tag);
    read_trace(req);
}
