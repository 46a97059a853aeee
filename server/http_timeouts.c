/* SPDX-License-Identifier: Apache-2.0
 *
 * Cuts off slow clients. libmicrohttpd's own time-out restarts with every byte, so that one byte a
 * second keeps a connection for ever; ours bound the whole of each phase:
 *
 *     idle     75 s between requests
 *     head     10 s from the first byte of a request to the end of its headers
 *     body     30 s, and 1 s more for each 64 KiB that have come; then 408
 *     swallow   5 s for the rest of a refused body; then the answer
 *     send     30 s without progress
 *     linger    1 s for the client to read an answer given in the middle of its body
 *
 * Cost: a phase change is two stores. Connections stand in one queue and each is looked at once a
 * period (a quarter of the shortest limit, at most 1 s), so the queue is ordered by itself: look
 * at the front, append behind. No connections, no timer, no wake-ups.
 *
 * libmicrohttpd does not tell when the first byte of a request comes, only when the request line is
 * whole. For TCP the kernel's count of received bytes tells; elsewhere a request line that never
 * ends falls under the idle limit.
 */
#include "base/clock.h"
#include "server/http_internal.h"
#include "server/loop.h"
#include "server/socket_progress.h"

#define LINGER_NS ENSO_NS_PER_S
#define BYTES_PER_SECOND 65536u /* a body slower than this runs out of time */

static uint64_t limit_ns(unsigned ms)
{
    return (uint64_t)ms * ENSO_NS_PER_MS;
}

void enso__http_set_phase(struct enso__http_connection *connection, enum enso__http_phase phase)
{
    const struct enso_http_options *options = &connection->http->options;
    uint64_t now_ns = enso__http_now_ns(connection->http), length_ns;

    switch (phase) {
    case ENSO__HTTP_IDLE:
        length_ns = limit_ns(options->idle_timeout_ms);
        break;
    case ENSO__HTTP_HEAD:
        length_ns = limit_ns(options->header_timeout_ms);
        break;
    case ENSO__HTTP_SWALLOW:
        length_ns = limit_ns(options->swallow_timeout_ms);
        break;
    case ENSO__HTTP_LINGER:
        length_ns = ENSO_MIN(LINGER_NS, limit_ns(options->swallow_timeout_ms));
        break;
    default:
        length_ns = 0; /* BODY, SEND and WAIT are judged otherwise */
    }
    if (phase == ENSO__HTTP_HEAD && connection->first_byte_seen)
        length_ns = connection->deadline_ns > now_ns ? connection->deadline_ns - now_ns : 0;
    connection->first_byte_seen = false;
    connection->mark = UINT64_MAX;
    connection->mark_ns = connection->phase_ns = now_ns;
    connection->phase = phase;
    connection->deadline_ns = now_ns + length_ns;
}

/* Something that changes whenever the peer has taken bytes of our answer. */
static uint64_t bytes_taken(const struct enso__http_connection *connection)
{
    uint64_t sent = connection->call != NULL ? connection->call->sent : 0, acknowledged;

    if (connection->tcp && enso_socket_tcp_acknowledged(connection->fd, &acknowledged))
        return sent + acknowledged;
    return sent * 2654435761u + enso_socket_unsent(connection->fd);
}

static void look_at_idle(struct enso__http_connection *connection, uint64_t now_ns)
{
    const struct enso_http_options *options = &connection->http->options;
    uint64_t received;

    if (now_ns >= connection->deadline_ns) {
        if (enso_socket_unread(connection->fd) == 0) /* a request has just come: it shall be read */
            enso__http_cut(connection);
        return;
    }
    /* Not at every look: half the limit is exact enough for what costs a system call. */
    if (connection->first_byte_seen ||
        now_ns - connection->mark_ns < limit_ns(options->header_timeout_ms) / 2)
        return;
    connection->mark_ns = now_ns;
    if (!connection->tcp || !enso_socket_tcp_received(connection->fd, &received))
        return;
    if (connection->mark != UINT64_MAX && received != connection->mark) {
        connection->first_byte_seen = true;
        connection->deadline_ns =
            ENSO_MIN(connection->deadline_ns, now_ns + limit_ns(options->header_timeout_ms) / 2);
    }
    connection->mark = received;
}

static void look_at_body(struct enso__http_connection *connection, uint64_t now_ns)
{
    struct enso_http_call *call = connection->call;
    uint64_t allowed_ns = limit_ns(connection->http->options.body_timeout_ms) +
                          call->received / BYTES_PER_SECOND * ENSO_NS_PER_S;

    if (now_ns - connection->phase_ns < allowed_ns || enso_socket_unread(connection->fd) > 0)
        return;
    enso_http_respond_error(call, 408, NULL, 0,
                            "the body came too slowly; send it faster or in "
                            "smaller requests");
    enso__http_answer_raw(call);
}

static void look_at_sending(struct enso__http_connection *connection, uint64_t now_ns)
{
    uint64_t taken = bytes_taken(connection);

    if (taken != connection->mark) {
        connection->mark = taken;
        connection->mark_ns = now_ns;
    } else if (now_ns - connection->mark_ns >=
               limit_ns(connection->http->options.write_timeout_ms)) {
        enso__http_cut(connection);
    }
}

static void look_at(struct enso__http_connection *connection, uint64_t now_ns)
{
    if (connection->cut)
        return; /* libmicrohttpd closes it */
    switch (connection->phase) {
    case ENSO__HTTP_IDLE:
        look_at_idle(connection, now_ns);
        break;
    case ENSO__HTTP_HEAD:
    case ENSO__HTTP_LINGER:
        if (now_ns >= connection->deadline_ns)
            enso__http_cut(connection);
        break;
    case ENSO__HTTP_BODY:
        look_at_body(connection, now_ns);
        break;
    case ENSO__HTTP_SWALLOW:
        if (now_ns >= connection->deadline_ns)
            enso__http_answer_raw(connection->call);
        break;
    case ENSO__HTTP_SEND:
        look_at_sending(connection, now_ns);
        break;
    case ENSO__HTTP_WAIT:
        break;
    }
}

/* The queue --------------------------------------------------------------------------------- */

static void append(struct enso_http *http, struct enso__http_connection *connection)
{
    connection->check_ns = enso__http_now_ns(http) + http->period_ns;
    connection->next = NULL;
    connection->previous = http->last;
    if (http->last != NULL)
        http->last->next = connection;
    else
        http->first = connection;
    http->last = connection;
}

void enso__http_sweep_remove(struct enso__http_connection *connection)
{
    struct enso_http *http = connection->http;

    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        http->first = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    else
        http->last = connection->previous;
    if (http->first == NULL && !http->destroyed)
        (void)uv_timer_stop(&http->sweep); /* always 0 */
}

static void on_sweep(uv_timer_t *timer)
{
    struct enso_http *http = timer->data;
    uint64_t now_ns = enso__http_now_ns(http);

    while (http->first != NULL && http->first->check_ns <= now_ns) {
        struct enso__http_connection *connection = http->first;

        look_at(connection, now_ns);
        http->first = connection->next;
        if (http->first != NULL)
            http->first->previous = NULL;
        else
            http->last = NULL;
        append(http, connection);
    }
}

static void start_sweep(struct enso_http *http)
{
    uint64_t tick_ms = ENSO_MAX(http->period_ns / 4 / ENSO_NS_PER_MS, UINT64_C(1));

    (void)uv_timer_start(&http->sweep, on_sweep, tick_ms, tick_ms); /* fails only if closing */
}

void enso__http_sweep_add(struct enso__http_connection *connection)
{
    struct enso_http *http = connection->http;

    append(http, connection);
    if (!uv_is_active((uv_handle_t *)&http->sweep))
        start_sweep(http);
}

void enso__http_sweep_init(struct enso_http *http)
{
    const struct enso_http_options *o = &http->options;
    unsigned least_ms = ENSO_MIN(o->header_timeout_ms, o->body_timeout_ms);

    least_ms = ENSO_MIN(least_ms, ENSO_MIN(o->idle_timeout_ms, o->write_timeout_ms));
    least_ms = ENSO_MIN(least_ms, o->swallow_timeout_ms);
    http->period_ns = limit_ns(ENSO_MIN(ENSO_MAX(least_ms / 4, 4u), 1000u));
    if (http->first != NULL) /* limits that change while connections are open */
        start_sweep(http);
}
