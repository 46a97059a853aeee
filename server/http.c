/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP transport's engine room: libmicrohttpd in external-epoll mode on the libuv loop. Its
 * epoll descriptor is one uv_poll_t that only notes that there is work; the work is done in a
 * uv_prepare_t, once a turn, after all wake-ups of that turn, so that answers which came together
 * leave together. libmicrohttpd's own time-outs are off (http_timeouts.c has ours), so it asks for
 * no timer: "more to do" is answered by another round, or by an idle handle that keeps the loop
 * from sleeping.
 *
 * Hang-ups: libmicrohttpd does not look at suspended connections, so each connection has one watch
 * for its whole life (a watch per request costs a quarter of the throughput). It must leave our
 * epoll set before libmicrohttpd closes the socket: NOTIFY_CLOSED comes just before that.
 */
#include "server/http.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/http_internal.h"
#include "server/listener.h"
#include "server/loop.h"

#define ROUNDS_A_TURN 8 /* of libmicrohttpd, before others on the loop get theirs */

uint64_t enso__http_now_ns(const struct enso_http *http)
{
    return enso_loop_now_ns(http->loop);
}

/* The pump --------------------------------------------------------------------------------- */

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct enso_http *http = handle->data;

    (void)status; /* an epoll descriptor has no errors of its own */
    (void)events; /* only readable was asked for */
    http->must_run = true;
}

static void on_busy(uv_idle_t *handle)
{
    (void)handle; /* being active is all: the loop does not sleep */
}

static bool has_more(struct enso_http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    return http->must_run || (MHD_get_timeout(http->mhd, &wait_ms) == MHD_YES && wait_ms == 0);
}

/* Let libmicrohttpd work until it is quiet; true if it still has something to do. */
static bool pump(struct enso_http *http)
{
    for (int i = 0; i < ROUNDS_A_TURN; i++) {
        if (!has_more(http))
            return false;
        http->must_run = false;
        http->running = true;
        (void)MHD_run(http->mhd); /* fails only after shutdown */
        http->running = false;
    }
    return has_more(http);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct enso_http *http = handle->data;
    bool more = pump(http);

    if (http->options.callbacks.on_turn != NULL)
        http->options.callbacks.on_turn(http->options.callbacks.user);
    if (more)
        (void)uv_idle_start(&http->busy, on_busy); /* always 0 */
    else
        (void)uv_idle_stop(&http->busy); /* always 0 */
}

void enso__http_resume(struct enso_http_call *call)
{
    MHD_resume_connection(call->connection->mhd);
    call->http->must_run = true;
}

/* Connections ------------------------------------------------------------------------------ */

static void free_http_if_last(struct enso_http *http)
{
    if (--http->n_handles == 0) {
        assert(http->destroyed);
        enso_free(http);
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct enso__http_connection *connection = handle->data;
    struct enso_http *http = connection->http;

    enso_free(connection);
    free_http_if_last(http);
}

static void on_hangup(uv_poll_t *watch, int status, int events)
{
    struct enso__http_connection *connection = watch->data;
    struct enso_http_call *call = connection->call;

    if (status == 0 && !(events & UV_DISCONNECT))
        return;
    (void)uv_poll_stop(watch); /* it is level-triggered: once is enough */
    connection->gone = true;
    if (call != NULL && (call->state == ENSO__CALL_WAITING || call->state == ENSO__CALL_STREAMING))
        enso__http_lost(call);
}

void enso__http_connection_event(void *cls, struct MHD_Connection *mhd, void **socket_context,
                                 enum MHD_ConnectionNotificationCode code)
{
    struct enso_http *http = cls;
    struct enso__http_connection *connection;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection = http->adding;
        http->adding = NULL;
        connection->mhd = mhd;
        *socket_context = connection;
        http->n_connections++;
        (void)uv_poll_start(&connection->watch, UV_DISCONNECT, on_hangup); /* a valid socket */
        enso__http_set_phase(connection, ENSO__HTTP_IDLE);
        enso__http_sweep_add(connection);
        return;
    }
    connection = *socket_context;
    if (connection == NULL)
        return;
    *socket_context = NULL;
    http->n_connections--;
    enso__http_sweep_remove(connection);
    uv_close((uv_handle_t *)&connection->watch, on_watch_closed);
}

enum enso_status enso_http_add_socket(struct enso_http *http, int fd, const struct sockaddr *peer,
                                      socklen_t peer_size, struct enso_error *err)
{
    struct enso__http_connection *connection = enso_alloc_zero(1, sizeof *connection);
    int rc;

    if (connection == NULL) {
        (void)close(fd); /* nothing was written */
        return enso_error_no_memory(err, "a connection");
    }
    connection->http = http;
    connection->fd = fd;
    connection->tcp = peer->sa_family == AF_INET || peer->sa_family == AF_INET6;
    (void)enso_socket_address_print(peer, peer_size, connection->peer, sizeof connection->peer);
    rc = enso_http_is_full(http) ? UV_EMFILE
                                 : uv_poll_init(enso_loop_uv(http->loop), &connection->watch, fd);
    if (rc != 0) {
        (void)close(fd); /* nothing was written */
        enso_free(connection);
        return enso_error_set(err, rc == UV_EMFILE ? ENSO_OVERLOADED : ENSO_IO,
                              "a connection cannot be watched: %s", uv_strerror(rc));
    }
    connection->watch.data = connection;
    http->n_handles++;
    http->adding = connection;
    if (MHD_add_connection(http->mhd, fd, peer, peer_size) == MHD_YES)
        return ENSO_OK;
    rc = errno;                 /* libmicrohttpd has closed fd */
    if (http->adding != NULL) { /* and has not told us about it */
        http->adding = NULL;
        uv_close((uv_handle_t *)&connection->watch, on_watch_closed);
    }
    return enso_error_set(err, ENSO_IO, "a connection cannot be added: %s", strerror(rc));
}

bool enso_http_is_full(const struct enso_http *http)
{
    return http->n_connections >= http->options.max_connections;
}

size_t enso_http_n_connections(const struct enso_http *http)
{
    return http->n_connections;
}

size_t enso_http_n_pending(const struct enso_http *http)
{
    return http->n_pending;
}

/* Life ------------------------------------------------------------------------------------- */

static void fill_defaults(struct enso_http_options *o)
{
#define DEFAULT(field, value)                                                                      \
    if (o->field == 0)                                                                             \
    o->field = (value)
    DEFAULT(max_body_bytes, (size_t)32 << 20);
    DEFAULT(max_connections, 16384);
    DEFAULT(header_timeout_ms, 10000);
    DEFAULT(body_timeout_ms, 30000);
    DEFAULT(idle_timeout_ms, 75000);
    DEFAULT(write_timeout_ms, 30000);
    DEFAULT(swallow_timeout_ms, 5000);
#undef DEFAULT
}

/* External epoll, no listening socket: MHD_ALLOW_SUSPEND_RESUME's wake-up channel is dropped by
 * libmicrohttpd itself in this mode, so a resume costs no system call. */
static struct MHD_Daemon *start_daemon(struct enso_http *http)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        enso__http_request, http, MHD_OPTION_NOTIFY_COMPLETED, enso__http_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, enso__http_connection_event, http,
        MHD_OPTION_URI_LOG_CALLBACK, enso__http_uri, http, MHD_OPTION_UNESCAPE_CALLBACK,
        enso__http_unescape, NULL, MHD_OPTION_CONNECTION_LIMIT,
        http->options.max_connections + 64u, /* ours comes first; closing ones still count there */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)ENSO__HTTP_POOL_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

void enso_http_set_timeouts(struct enso_http *http, const struct enso_http_options *options)
{
    http->options.header_timeout_ms = options->header_timeout_ms;
    http->options.body_timeout_ms = options->body_timeout_ms;
    http->options.idle_timeout_ms = options->idle_timeout_ms;
    http->options.write_timeout_ms = options->write_timeout_ms;
    http->options.swallow_timeout_ms = options->swallow_timeout_ms;
    fill_defaults(&http->options);
    enso__http_sweep_init(http);
}

static void on_handle_closed(uv_handle_t *handle)
{
    free_http_if_last(handle->data);
}

enum enso_status enso_http_create(struct enso_loop *loop, const struct enso_http_options *options,
                                  struct enso_http **ret, struct enso_error *err)
{
    struct enso_http *http = enso_alloc_zero(1, sizeof *http);
    const union MHD_DaemonInfo *info;
    uv_loop_t *uv = enso_loop_uv(loop);

    if (http == NULL)
        return enso_error_no_memory(err, "the HTTP server");
    http->loop = loop;
    http->options = *options;
    fill_defaults(&http->options);
    http->mhd = start_daemon(http);
    info = http->mhd != NULL ? MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL || uv_poll_init(uv, &http->ready, info->epoll_fd) != 0) {
        if (http->mhd != NULL)
            MHD_stop_daemon(http->mhd);
        enso_free(http);
        return enso_error_set(err, ENSO_IO,
                              "the HTTP server cannot start: libmicrohttpd gave no "
                              "epoll descriptor; raise the limit of open files");
    }
    (void)uv_prepare_init(uv, &http->prepare); /* always 0, like the next two */
    (void)uv_idle_init(uv, &http->busy);
    (void)uv_timer_init(uv, &http->sweep);
    http->ready.data = http->prepare.data = http->busy.data = http->sweep.data = http;
    http->n_handles = 4;
    (void)uv_poll_start(&http->ready, UV_READABLE, on_ready); /* a valid descriptor */
    (void)uv_prepare_start(&http->prepare, on_prepare);       /* always 0 */
    enso__http_sweep_init(http);
    *ret = http;
    return ENSO_OK;
}

void enso_http_stop_accepting(struct enso_http *http)
{
    http->draining = true;
    http->must_run = true;
    if (!http->running) /* else the caller is a callback of ours, and the turn goes on */
        while (pump(http))
            ;
}

/* Answer 503 to whatever waits, so that nothing is suspended any more. */
static void answer_waiting(struct enso_http *http)
{
    static const struct enso_http_header retry = {"Retry-After", "1"};

    for (struct enso__http_connection *c = http->first, *next; c != NULL; c = next) {
        struct enso_http_call *call = c->call;

        next = c->next;
        if (call == NULL)
            continue;
        if (call->state == ENSO__CALL_STREAMING) {
            enso__http_lost(call);
        } else if (call->state == ENSO__CALL_WAITING) {
            if (http->options.callbacks.on_gone != NULL)
                http->options.callbacks.on_gone(call, http->options.callbacks.user);
            if (call->state == ENSO__CALL_WAITING)
                enso_http_respond_error(call, 503, &retry, 1,
                                        "the server is shutting down; send "
                                        "the request again, to another instance if there is one");
        }
    }
}

void enso_http_finish(struct enso_http *http, unsigned wait_ms)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    uint64_t end_ns = enso_clock_now_ns() + (uint64_t)wait_ms * ENSO_NS_PER_MS;

    http->draining = http->finishing = true;
    for (;;) {
        uint64_t now_ns;
        struct pollfd ready = {.fd = info->epoll_fd, .events = POLLIN};

        http->must_run = true;
        (void)pump(http); /* another round follows */
        answer_waiting(http);
        while (pump(http))
            ;
        now_ns = enso_clock_now_ns();
        if (http->n_pending == 0 || now_ns >= end_ns)
            break;
        (void)poll(&ready, 1, (int)((end_ns - now_ns) / ENSO_NS_PER_MS) + 1); /* or too late */
    }
}

void enso_http_destroy(struct enso_http *http)
{
    if (http == NULL)
        return;
    if (!http->finishing)
        enso_http_finish(http, 0);
    http->destroyed = true;
    (void)uv_poll_stop(&http->ready); /* before its descriptor is closed */
    uv_close((uv_handle_t *)&http->ready, on_handle_closed);
    uv_close((uv_handle_t *)&http->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&http->busy, on_handle_closed);
    uv_close((uv_handle_t *)&http->sweep, on_handle_closed);
    MHD_stop_daemon(http->mhd); /* closes all connections: COMPLETED and CLOSED for each */
    http->mhd = NULL;
}
