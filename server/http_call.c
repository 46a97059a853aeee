/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a call, driven by libmicrohttpd's callbacks: request line (enso__http_uri), headers
 * (first call of enso__http_request), pieces of body, whole request, completion.
 *
 * Why refusals wait for the body: an answer queued in the first callback forces `Connection: close`
 * and closes the socket while the client still writes, which then sees a reset instead of its 413.
 * Only two kinds leave at once: to `Expect: 100-continue`, where the client waits for it, and about
 * framing, where nobody can say where the body ends.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/budget.h"
#include "server/http_internal.h"

#define FIRST_BODY_BYTES 1024u

static const struct enso_http_header retry_soon = {"Retry-After", "1"};

/* Reference counts and accessors ------------------------------------------------------------ */

struct enso_http_call *enso_http_call_ref(struct enso_http_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return call;
}

static void drop_body(struct enso_http_call *call)
{
    enso_free(call->body);
    call->body = NULL;
    call->body_size = call->body_capacity = 0;
    enso_budget_give(call->budget, call->charged);
    call->charged = 0;
}

struct enso_http_call *enso_http_call_unref(struct enso_http_call *call)
{
    /* acquire and release: whoever frees sees what the others did with the call before. */
    if (call != NULL && atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1) {
        drop_body(call);
        enso__http_stream_destroy(call->stream);
        enso_free(call->target_error);
        enso_free(call);
    }
    return NULL;
}

const char *enso_http_call_method(const struct enso_http_call *call)
{
    return call->method;
}

int enso_http_call_version(const struct enso_http_call *call)
{
    return call->version;
}

const struct enso_http_target *enso_http_call_target(const struct enso_http_call *call)
{
    return &call->target;
}

const char *enso_http_call_param(const struct enso_http_call *call, const char *name)
{
    for (size_t i = 0; i < call->target.n_params; i++)
        if (strcmp(call->target.params[i].name.data, name) == 0)
            return call->target.params[i].value.data;
    return NULL;
}

const char *enso_http_call_header(const struct enso_http_call *call, const char *name)
{
    if (call->state >= ENSO__CALL_ANSWERED || call->connection == NULL)
        return NULL;
    return MHD_lookup_connection_value(call->connection->mhd, MHD_HEADER_KIND, name);
}

const uint8_t *enso_http_call_body(const struct enso_http_call *call, size_t *ret_size)
{
    *ret_size = call->body_size;
    return call->body;
}

uint8_t *enso_http_call_detach_body(struct enso_http_call *call, size_t *ret_size)
{
    uint8_t *body = call->body;

    *ret_size = call->body_size;
    call->body = NULL;
    call->body_size = call->body_capacity = 0;
    return body;
}

const char *enso_http_call_peer(const struct enso_http_call *call)
{
    return call->connection != NULL ? call->connection->peer : "";
}

bool enso_http_call_is_unix(const struct enso_http_call *call)
{
    return call->connection != NULL && !call->connection->tcp;
}

bool enso_http_call_is_draining(const struct enso_http_call *call)
{
    return call->http == NULL || call->http->draining;
}

uint64_t enso_http_call_started_ns(const struct enso_http_call *call)
{
    return call->started_ns;
}

uint64_t enso_http_call_received_ns(const struct enso_http_call *call)
{
    return call->received_ns;
}

void enso_http_call_set_user(struct enso_http_call *call, void *user)
{
    call->user = user;
}

void *enso_http_call_user(const struct enso_http_call *call)
{
    return call->user;
}

void enso_http_call_set_max_body(struct enso_http_call *call, size_t max_bytes)
{
    call->max_body = max_bytes;
}

bool enso_http_call_is_gone(const struct enso_http_call *call)
{
    return call->state >= ENSO__CALL_GONE || (call->connection != NULL && call->connection->gone);
}

/* The request line -------------------------------------------------------------------------- */

/* libmicrohttpd shall leave escapes alone: enso__http_uri has read the target already. */
size_t enso__http_unescape(void *cls, struct MHD_Connection *mhd, char *s)
{
    (void)cls;
    (void)mhd;
    return strlen(s);
}

/* The request line is read; `uri` is the target as it came. What we give becomes the context of the
 * request. NULL (out of memory) makes enso__http_request close the connection. */
void *enso__http_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct enso_http *http = cls;
    struct enso__http_connection *connection =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    size_t size = uri != NULL ? strlen(uri) : 0, total;
    struct enso_error err = {0};
    struct enso_http_call *call;

    if (connection == NULL ||
        !enso_size_add(sizeof *call, enso_http_target_room(uri, size), &total))
        return NULL;
    call = enso_alloc(total);
    if (call == NULL)
        return NULL;
    memset(call, 0, sizeof *call);
    atomic_init(&call->refs, 1);
    call->state = ENSO__CALL_NEW;
    call->connection = connection;
    call->http = http;
    call->budget = http->options.budget;
    call->max_body = http->options.max_body_bytes;
    call->started_ns = enso_clock_now_ns();
    connection->call = call;
    enso__http_set_phase(connection, ENSO__HTTP_HEAD);
    if (enso_http_target_parse(uri, size, call + 1, &call->target, &err) != ENSO_OK)
        call->target_error = enso_strdup(err.message);
    return call;
}

/* The headers ------------------------------------------------------------------------------- */

struct head {
    unsigned n_lengths, n_encodings, n_hosts;
    bool chunked, other_encoding, bad_name;
    const char *expect;
    const char *length;
};

static bool is_token(const char *s, size_t size)
{
    static const char others[] = "!#$%&'*+-.^_`|~"; /* RFC 9110 section 5.6.2 */

    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)s[i]) && (s[i] == '\0' || strchr(others, s[i]) == NULL))
            return false;
    return size > 0;
}

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t value_size)
{
    struct head *head = cls;

    (void)kind; /* only headers are asked for */
    (void)value_size;
    if (!is_token(name, name_size)) {
        head->bad_name = true;
    } else if (name_size == 4 && strcasecmp(name, "host") == 0) {
        head->n_hosts++;
    } else if (name_size == 6 && strcasecmp(name, "expect") == 0) {
        head->expect = value;
    } else if (name_size == 14 && strcasecmp(name, "content-length") == 0) {
        head->n_lengths++;
        head->length = value;
    } else if (name_size == 17 && strcasecmp(name, "transfer-encoding") == 0) {
        head->n_encodings++;
        if (value != NULL && strcasecmp(value, "chunked") == 0)
            head->chunked = true;
        else
            head->other_encoding = true;
    }
    return MHD_YES;
}

/* The sentence and status why this framing cannot be trusted, or NULL. Both ends of a proxy must
 * agree on where a request ends; whatever could be read in two ways is refused and closed. */
static const char *framing_error(const struct enso_http_call *call, const struct head *head,
                                 int *ret_status)
{
    *ret_status = 400;
    if (head->bad_name)
        return "a header's name has a character that is not allowed there, such as a blank before "
               "the colon";
    if (head->n_encodings > 0 && head->n_lengths > 0)
        return "the request has both Content-Length and Transfer-Encoding; send one of them";
    if (head->n_lengths > 1)
        return "the request has more than one Content-Length; send it once";
    if (head->n_encodings > 0 && call->version < 11)
        return "HTTP/1.0 has no Transfer-Encoding; send Content-Length";
    if (head->n_encodings > 1)
        return "the request has more than one Transfer-Encoding; send 'chunked' once";
    if (head->other_encoding) {
        *ret_status = 501;
        return "this Transfer-Encoding is not supported; send 'chunked' or Content-Length";
    }
    if (head->n_hosts > 1)
        return "the request has more than one Host header; send it once";
    if (head->n_hosts == 0 && call->version >= 11)
        return "the request has no Host header, which HTTP/1.1 demands; add one";
    return NULL;
}

static void read_declared_length(struct enso_http_call *call, const struct head *head)
{
    call->declared = 0;
    if (head->chunked) {
        call->declared = UINT64_MAX;
    } else if (head->length != NULL) { /* digits that fit, libmicrohttpd has checked */
        for (const char *p = head->length; *p >= '0' && *p <= '9'; p++)
            call->declared = call->declared * 10 + (uint64_t)(*p - '0');
    }
}

static void refuse_size(struct enso_http_call *call)
{
    struct enso_buffer message = ENSO_BUFFER_INIT;

    if (call->declared != UINT64_MAX)
        enso_buffer_printf(&message,
                           "the body has %llu bytes, more than the limit of %zu; send "
                           "less at a time",
                           (unsigned long long)call->declared, call->max_body);
    else
        enso_buffer_printf(&message,
                           "the body has more bytes than the limit of %zu; send less at "
                           "a time",
                           call->max_body);
    enso_http_respond_error(call, 413, NULL, 0, message.failed ? "too large" : message.data);
    enso_buffer_done(&message);
}

/* Whatever the transport itself has against the request, then what the floor above has. */
static void judge_head(struct enso_http_call *call, const char *method, const struct head *head)
{
    const struct enso_http_callbacks *callbacks = &call->http->options.callbacks;

    if (!is_token(method, strlen(method)))
        enso_http_respond_error(call, 400, NULL, 0, "the request's method is not a word");
    else if (strlen(method) >= sizeof call->method)
        enso_http_respond_error(call, 501, NULL, 0, "the request's method is not known");
    else if (call->target_error != NULL)
        enso_http_respond_error(call, 400, NULL, 0, call->target_error);
    else if (call->target.path.size == 0) /* refused, and no memory for the sentence */
        enso_http_respond_error(call, 400, NULL, 0, "the request's target is malformed");
    else if (head->expect != NULL && strcasecmp(head->expect, "100-continue") != 0)
        enso_http_respond_error(call, 417, NULL, 0,
                                "the only expectation known is 100-continue; "
                                "leave the Expect header out");
    else if (call->http->finishing)
        enso_http_respond_error(call, 503, &retry_soon, 1,
                                "the server is shutting down; send the "
                                "request again, to another instance if there is one");
    else if (callbacks->on_head != NULL)
        callbacks->on_head(call, callbacks->user);
    if (call->state == ENSO__CALL_HEAD && call->declared != UINT64_MAX &&
        call->declared > call->max_body)
        refuse_size(call);
}

static enum MHD_Result begin(struct enso_http_call *call, const char *method, const char *version)
{
    struct enso__http_connection *connection = call->connection;
    struct head head = {0};
    const char *message;
    int status;

    call->state = ENSO__CALL_HEAD;
    call->counted = true;
    call->http->n_pending++;
    (void)snprintf(call->method, sizeof call->method, "%s", method); /* judged in judge_head */
    call->version = strcmp(version, "HTTP/1.0") == 0 ? 10 : 11;
    (void)MHD_get_connection_values_n(connection->mhd, MHD_HEADER_KIND, scan_header, &head);
    message = framing_error(call, &head, &status);
    if (message != NULL) {
        enso_http_respond_error(call, status, NULL, 0, message);
        return enso__http_queue(call) ? MHD_YES : MHD_NO;
    }
    read_declared_length(call, &head);
    call->expects_continue = head.expect != NULL && call->version >= 11 && call->declared > 0;
    judge_head(call, method, &head);
    if (call->broken)
        return MHD_NO;
    if (call->state == ENSO__CALL_REFUSED) {
        if (call->expects_continue)
            return enso__http_queue(call) ? MHD_YES : MHD_NO;
        enso__http_set_phase(connection, ENSO__HTTP_SWALLOW);
        return MHD_YES;
    }
    call->state = ENSO__CALL_BODY;
    enso__http_set_phase(connection, ENSO__HTTP_BODY);
    return MHD_YES;
}

/* The body ---------------------------------------------------------------------------------- */

static bool reserve_body(struct enso_http_call *call, size_t more)
{
    size_t need = call->body_size + more, capacity; /* both within max_body */
    uint8_t *body;

    if (need <= call->body_capacity)
        return true;
    /* Twice what has come, but not more than what is declared: growth follows the bytes. */
    capacity = ENSO_MAX(ENSO_MAX(2 * call->body_capacity, need), (size_t)FIRST_BODY_BYTES);
    if (call->declared != UINT64_MAX && capacity > call->declared)
        capacity = ENSO_MAX((size_t)call->declared, need);
    if (!enso_budget_take(call->budget, capacity - call->body_capacity))
        return false;
    body = enso_realloc_array(call->body, capacity, 1);
    if (body == NULL) {
        enso_budget_give(call->budget, capacity - call->body_capacity);
        return false;
    }
    call->charged += capacity - call->body_capacity;
    call->body = body;
    call->body_capacity = capacity;
    return true;
}

/* The body turned out to be unwelcome on its way: answer when the rest is swallowed. */
static void refuse_midway(struct enso_http_call *call)
{
    drop_body(call);
    if (call->received > call->max_body)
        refuse_size(call);
    else
        enso_http_respond_error(call, 503, &retry_soon, 1,
                                "the memory for requests is used up at "
                                "the moment; send the request again later");
    enso__http_set_phase(call->connection, ENSO__HTTP_SWALLOW);
}

static void take_body(struct enso_http_call *call, const char *data, size_t size)
{
    uint64_t most_swallowed;

    call->received += size;
    if (call->state == ENSO__CALL_BODY) {
        if (call->received <= call->max_body && reserve_body(call, size)) {
            memcpy(call->body + call->body_size, data, size);
            call->body_size += size;
            return;
        }
        refuse_midway(call);
    }
    most_swallowed = ENSO_MAX(2 * (uint64_t)ENSO_MIN(call->max_body, SIZE_MAX / 4),
                              (uint64_t)ENSO__HTTP_LEAST_SWALLOW);
    if (call->state == ENSO__CALL_REFUSED && call->received > most_swallowed)
        enso__http_answer_raw(call);
    else if (call->state == ENSO__CALL_RAW && call->received / 2 > most_swallowed)
        enso__http_cut(call->connection); /* it does not stop sending */
}

uint64_t enso__http_request_bytes(const struct enso_http_call *call)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    return (info != NULL ? info->header_size : 0) + call->received;
}

void enso__http_lost(struct enso_http_call *call)
{
    const struct enso_http_callbacks *callbacks = &call->http->options.callbacks;
    bool suspended = call->state == ENSO__CALL_WAITING;
    bool told = call->state == ENSO__CALL_READY || call->state == ENSO__CALL_WAITING;

    if (call->state == ENSO__CALL_STREAMING) {
        told = !call->stream->ended;
        suspended = call->stream->suspended;
        call->stream->suspended = false;
    }
    call->state = ENSO__CALL_GONE;
    if (told && callbacks->on_gone != NULL)
        callbacks->on_gone(call, callbacks->user);
    if (suspended)
        enso__http_resume(call); /* libmicrohttpd asks again, hears no, and closes */
}

static enum MHD_Result whole(struct enso_http_call *call)
{
    const struct enso_http_callbacks *callbacks = &call->http->options.callbacks;
    struct enso__http_connection *connection = call->connection;

    if (call->state == ENSO__CALL_REFUSED)
        return enso__http_queue(call) ? MHD_YES : MHD_NO;
    if (call->state != ENSO__CALL_BODY)
        return MHD_NO; /* gone, or answered raw: close */
    call->received_ns = enso_clock_now_ns();
    call->state = ENSO__CALL_READY;
    if (call->http->finishing)
        enso_http_respond_error(call, 503, &retry_soon, 1,
                                "the server is shutting down; send the "
                                "request again, to another instance if there is one");
    else
        callbacks->on_call(call, callbacks->user);
    if (call->broken)
        return MHD_NO;
    if (call->state != ENSO__CALL_READY)
        return MHD_YES;     /* answered */
    if (connection->gone) { /* it hung up right after its body: nobody would tell us again */
        enso__http_lost(call);
        return MHD_NO;
    }
    call->state = ENSO__CALL_WAITING;
    enso__http_set_phase(connection, ENSO__HTTP_WAIT);
    MHD_suspend_connection(connection->mhd);
    return MHD_YES;
}

enum MHD_Result enso__http_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *size, void **context)
{
    struct enso_http_call *call = *context;

    (void)cls;
    (void)mhd;
    (void)url; /* the target was read from the request line */
    if (call == NULL)
        return MHD_NO; /* no memory for it */
    if (call->state == ENSO__CALL_NEW)
        return begin(call, method, version);
    if (*size > 0) {
        take_body(call, data, *size);
        *size = 0;
        return call->broken ? MHD_NO : MHD_YES;
    }
    return whole(call);
}

/* The end ----------------------------------------------------------------------------------- */

static struct enso_http_done describe_end(const struct enso_http_call *call, bool ok)
{
    struct enso_http_done done = {.status = call->status};

    switch (call->state) {
    case ENSO__CALL_ANSWERED:
    case ENSO__CALL_STREAMING:
        done.complete = ok;
        if (strcmp(call->method, "HEAD") != 0 && call->status != 204 && call->status != 304)
            done.body_bytes = call->in_blocks ? call->sent : ok ? call->answer_size : 0;
        break;
    case ENSO__CALL_RAW:
        done.complete = call->raw_complete;
        done.body_bytes = call->sent;
        break;
    case ENSO__CALL_GONE: /* a stream may have begun */
        done.body_bytes = call->sent;
        break;
    default:
        done.status = 0;
    }
    return done;
}

void enso__http_completed(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_RequestTerminationCode code)
{
    struct enso_http *http = cls;
    struct enso_http_call *call = *context;
    struct enso__http_connection *connection;
    struct enso_http_done done;

    *context = NULL;
    if (call == NULL)
        return;
    connection = call->connection;
    done = describe_end(call, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (call->state == ENSO__CALL_NEW) { /* libmicrohttpd refused the headers by itself */
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);

        done.status = info != NULL ? (int)info->http_status : 0;
    }
    if (call->state == ENSO__CALL_WAITING || call->state == ENSO__CALL_READY ||
        (call->state == ENSO__CALL_STREAMING && !call->stream->ended)) {
        if (call->state == ENSO__CALL_STREAMING)
            call->stream->suspended = false;
        else
            call->state = ENSO__CALL_READY; /* nothing to resume any more */
        enso__http_lost(call);
    }
    connection->read += enso__http_request_bytes(call);
    if (call->response != NULL)
        MHD_destroy_response(call->response);
    call->response = NULL;
    if (call->counted)
        http->n_pending--;
    call->state = ENSO__CALL_DONE;
    if (http->options.callbacks.on_done != NULL)
        http->options.callbacks.on_done(call, &done, http->options.callbacks.user);
    call->connection = NULL;
    call->http = NULL;
    connection->call = NULL;
    enso__http_set_phase(connection, ENSO__HTTP_IDLE);
    (void)enso_http_call_unref(call); /* ours */
}
