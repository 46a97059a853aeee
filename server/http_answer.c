/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers. Small bodies go to libmicrohttpd as one buffer, which leaves with the headers in one
 * system call. Bodies above 64 KiB are handed out in blocks: it shows how far a slow reader has
 * come, and their memory counts in the budget until they have left.
 *
 * libmicrohttpd cannot answer in the middle of a body. Where we must (a refused body that does not
 * end, a body that is too slow) the answer is written to the socket past it; nothing else can be on
 * its way out at that moment. Then the writing side is closed and the client has a second to read
 * before the connection is cut.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/memory.h"
#include "server/budget.h"
#include "server/http_internal.h"
#include "server/socket_progress.h"

#define BLOCK_BYTES (128u << 10)

/* A large body on its way. Owned by its response. */
struct large {
    struct enso_http_call *call; /* a reference */
    char *data;
    size_t size;
};

void enso__http_cut(struct enso__http_connection *connection)
{
    connection->cut = true;
    (void)shutdown(connection->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes */
}

static ssize_t read_large(void *cls, uint64_t position, char *out, size_t most)
{
    struct large *large = cls;
    size_t n = ENSO_MIN(most, large->size - (size_t)position);

    memcpy(out, large->data + position, n);
    large->call->sent = position + n;
    return (ssize_t)n;
}

static void free_large(void *cls)
{
    struct large *large = cls;

    enso_budget_give(large->call->budget, large->size);
    (void)enso_http_call_unref(large->call);
    enso_free(large->data);
    enso_free(large);
}

static struct MHD_Response *large_response(struct enso_http_call *call, char *data, size_t size)
{
    struct large *large = enso_alloc(sizeof *large);
    struct MHD_Response *response;

    if (large == NULL)
        return NULL;
    *large = (struct large){.call = enso_http_call_ref(call), .data = data, .size = size};
    enso_budget_charge(call->budget, size);
    response = MHD_create_response_from_callback(size, BLOCK_BYTES, read_large, large, free_large);
    if (response != NULL) {
        call->in_blocks = true;
        return response;
    }
    large->data = NULL; /* stays with the caller */
    free_large(large);
    return NULL;
}

/* Takes data (may be NULL when size is 0), also on failure. */
static struct MHD_Response *make_response(struct enso_http_call *call, char *data, size_t size)
{
    struct MHD_Response *response;

    if (size > ENSO__HTTP_LARGE_BYTES)
        response = large_response(call, data, size);
    else if (size > 0)
        response = MHD_create_response_from_buffer_with_free_callback(size, data, enso_free);
    else
        response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response == NULL || size == 0)
        enso_free(data);
    call->answer = response != NULL && size > 0 ? data : NULL;
    call->answer_size = response != NULL ? size : 0;
    return response;
}

/* Have more requests been received behind this one? libmicrohttpd does not tell what lies in its
 * buffer, but the kernel knows how much it handed out. Where that cannot be told (Unix sockets, a
 * body in chunks) a request is taken for the last one. */
static bool is_pipelined(const struct enso_http_call *call)
{
    const struct enso__http_connection *connection = call->connection;
    uint64_t received;

    return connection->tcp && !connection->gone && call->received == call->declared &&
           enso_socket_tcp_received(connection->fd, &received) &&
           received > connection->read + enso__http_request_bytes(call);
}

struct MHD_Response *enso__http_add_headers(struct enso_http_call *call,
                                            struct MHD_Response *response,
                                            const struct enso_http_header *headers,
                                            size_t n_headers)
{
    bool ok = true;

    for (size_t i = 0; i < n_headers; i++)
        ok = MHD_add_response_header(response, headers[i].name, headers[i].value) == MHD_YES && ok;
    if (call->http->draining && !is_pipelined(call))
        ok = MHD_add_response_header(response, "Connection", "close") == MHD_YES && ok;
    if (ok)
        return response;
    MHD_destroy_response(response); /* no memory, or a line break in a header */
    return NULL;
}

bool enso__http_queue(struct enso_http_call *call)
{
    struct MHD_Response *response = call->response;
    enum MHD_Result ok;

    call->response = NULL;
    call->state = call->stream != NULL ? ENSO__CALL_STREAMING : ENSO__CALL_ANSWERED;
    enso__http_set_phase(call->connection, ENSO__HTTP_SEND);
    ok = MHD_queue_response(call->connection->mhd, (unsigned)call->status, response);
    MHD_destroy_response(response); /* libmicrohttpd has its own reference */
    if (ok != MHD_YES) {
        call->broken = true;
        call->state = ENSO__CALL_GONE;
    }
    return ok == MHD_YES;
}

/* Takes response; NULL means that it could not be made, and the connection is closed. */
void enso__http_answer(struct enso_http_call *call, int status, struct MHD_Response *response)
{
    bool waiting = call->state == ENSO__CALL_WAITING;

    call->status = response != NULL ? status : 0;
    call->response = response;
    if (response == NULL) {
        call->broken = true; /* never goes on as if it had not been answered */
        call->state = ENSO__CALL_GONE;
    } else if (waiting || call->state == ENSO__CALL_READY) {
        (void)enso__http_queue(call); /* `broken` tells whole() */
    } else {
        call->state = ENSO__CALL_REFUSED;
    }
    if (waiting)
        enso__http_resume(call);
}

static bool may_answer(const struct enso_http_call *call)
{
    return call->state == ENSO__CALL_HEAD || call->state == ENSO__CALL_BODY ||
           call->state == ENSO__CALL_READY || call->state == ENSO__CALL_WAITING;
}

void enso_http_respond(struct enso_http_call *call, int status,
                       const struct enso_http_header *headers, size_t n_headers,
                       struct enso_buffer *body)
{
    struct MHD_Response *response;
    size_t size = 0;
    char *data = NULL;

    if (!may_answer(call)) {
        if (body != NULL)
            enso_buffer_done(body);
        return;
    }
    if (body != NULL && body->failed) {
        enso_buffer_done(body);
        enso_http_respond_error(call, 500, NULL, 0,
                                "out of memory for the answer; send the "
                                "request again later, or with fewer inputs");
        return;
    }
    if (body != NULL && body->size > 0)
        data = enso_buffer_detach(body, &size);
    if (body != NULL)
        enso_buffer_done(body);
    response = make_response(call, data, size);
    if (response != NULL)
        response = enso__http_add_headers(call, response, headers, n_headers);
    enso__http_answer(call, status, response);
}

#define MOST_HEADERS 24

/* Copies headers behind the n that are there, as many as fit, none whose name is there already;
 * gives how many there are then. */
static size_t copy_headers(struct enso_http_header *all, size_t n,
                           const struct enso_http_header *headers, size_t n_headers)
{
    for (size_t i = 0; i < n_headers && n < MOST_HEADERS; i++) {
        bool known = false;

        for (size_t k = 0; k < n; k++)
            known = known || strcasecmp(all[k].name, headers[i].name) == 0;
        if (!known)
            all[n++] = headers[i];
    }
    return n;
}

void enso_http_respond_json(struct enso_http_call *call, int status,
                            const struct enso_http_header *headers, size_t n_headers,
                            struct enso_buffer *json)
{
    struct enso_http_header all[MOST_HEADERS] = {{"Content-Type", "application/json"}};

    enso_http_respond(call, status, all, copy_headers(all, 1, headers, n_headers), json);
}

static void format_openai(int status, const char *message, struct enso_buffer *body)
{
    enso_buffer_puts(body, "{\"error\":{\"message\":");
    enso_buffer_put_json_string(body, message, strlen(message));
    enso_buffer_printf(body, ",\"type\":\"%s\",\"param\":null,\"code\":null}}\n",
                       status < 500 ? "invalid_request_error" : "server_error");
}

void enso_http_respond_error(struct enso_http_call *call, int status,
                             const struct enso_http_header *headers, size_t n_headers,
                             const char *message)
{
    const struct enso_http_callbacks *callbacks;
    struct enso_buffer body = ENSO_BUFFER_INIT;
    struct enso_http_header all[MOST_HEADERS];
    struct enso_http_error error = {
        .status = status, .message = message, .body = &body, .content_type = "application/json"};
    size_t n;

    if (!may_answer(call))
        return;
    callbacks = &call->http->options.callbacks;
    if (callbacks->format_error != NULL)
        callbacks->format_error(call, &error, callbacks->user);
    else
        format_openai(status, message, &body);
    if (body.failed)
        enso_buffer_done(&body); /* an empty body still says the status */
    all[0] = (struct enso_http_header){"Content-Type", error.content_type};
    n = copy_headers(all, 1, headers, n_headers);
    n = copy_headers(all, n, error.headers, error.n_headers);
    enso_http_respond(call, status, all, n, &body);
}

/* Answers past libmicrohttpd ---------------------------------------------------------------- */

static enum MHD_Result put_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    (void)kind; /* a response has headers only */
    if (strcasecmp(name, "connection") != 0)
        enso_buffer_printf(cls, "%s: %s\r\n", name, value);
    return MHD_YES;
}

/* Write call->response, a small refusal, to the socket. The caller sees to it that the call is in
 * the middle of its body. */
void enso__http_answer_raw(struct enso_http_call *call)
{
    struct enso__http_connection *connection = call->connection;
    struct enso_buffer text = ENSO_BUFFER_INIT;
    const char *reason = MHD_get_reason_phrase_for((unsigned)call->status);
    size_t head_size;
    ssize_t n = -1;

    call->state = ENSO__CALL_RAW;
    if (call->response != NULL && !call->in_blocks) {
        enso_buffer_printf(&text, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
                           call->status, reason != NULL ? reason : "", call->answer_size);
        (void)MHD_get_response_headers(call->response, put_header, &text); /* gives their number */
        enso_buffer_puts(&text, "\r\n");
        head_size = text.size;
        if (call->answer_size > 0 && strcmp(call->method, "HEAD") != 0)
            enso_buffer_append(&text, call->answer, call->answer_size);
        if (!text.failed)
            n = send(connection->fd, text.data, text.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > (ssize_t)head_size)
            call->sent = (uint64_t)n - head_size;
        call->raw_complete = n == (ssize_t)text.size;
        enso_buffer_done(&text);
    }
    if (!call->raw_complete)
        call->status = n > 0 ? call->status : 0;
    (void)shutdown(connection->fd, SHUT_WR); /* the client reads the end of the answer */
    enso__http_set_phase(connection, ENSO__HTTP_LINGER);
}
