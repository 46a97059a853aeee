/* SPDX-License-Identifier: Apache-2.0
 *
 * Both ends of HTTP connections: see http_harness.h.
 */
#include "ensod_build.h"

#include "tests/server/http_harness.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

/* The floor above --------------------------------------------------------------------------- */

static bool path_is(struct enso_http_call *call, const char *path)
{
    return strcmp(enso_http_call_target(call)->path.data, path) == 0;
}

static void on_head(struct enso_http_call *call, void *user)
{
    struct harness *h = user;

    h->n_head++;
    if (path_is(call, "/refuse"))
        enso_http_respond_error(call, 404, NULL, 0, "there is no such path");
    else if (path_is(call, "/small"))
        enso_http_call_set_max_body(call, 16);
}

static void answer_echo(struct enso_http_call *call)
{
    struct enso_http_header headers[] = {{"X-Method", enso_http_call_method(call)}};
    struct enso_buffer body = ENSO_BUFFER_INIT;
    size_t size;
    const uint8_t *bytes = enso_http_call_body(call, &size);

    enso_buffer_append(&body, bytes, size);
    enso_http_respond(call, 200, headers, 1, &body);
}

static void answer_big(struct enso_http_call *call)
{
    const char *n = enso_http_call_param(call, "n");
    size_t size = n != NULL ? strtoul(n, NULL, 10) : 0;
    struct enso_buffer body = ENSO_BUFFER_INIT;

    if (enso_buffer_reserve(&body, size)) {
        for (size_t i = 0; i < size; i++)
            enso_buffer_putc(&body, (char)('a' + i % 26));
    }
    enso_http_respond(call, 200, NULL, 0, &body);
}

static void on_call(struct enso_http_call *call, void *user)
{
    struct harness *h = user;

    h->n_call++;
    if (path_is(call, "/wait") || path_is(call, "/stream")) {
        ck_assert_uint_lt(h->n_waiting, ENSO_ARRAY_SIZE(h->waiting));
        h->waiting[h->n_waiting++] = enso_http_call_ref(call);
        if (path_is(call, "/stream"))
            enso_http_stream_begin(call, 200, NULL, 0);
    } else if (path_is(call, "/big")) {
        answer_big(call);
    } else {
        answer_echo(call);
    }
}

static void on_gone(struct enso_http_call *call, void *user)
{
    struct harness *h = user;

    (void)call;
    h->n_gone++;
}

static void on_done(struct enso_http_call *call, const struct enso_http_done *done, void *user)
{
    struct harness *h = user;

    (void)call;
    h->n_done++;
    h->done = *done;
}

/* Life -------------------------------------------------------------------------------------- */

void harness_init(struct harness *h, size_t budget_bytes)
{
    memset(h, 0, sizeof *h);
    h->loop = enso_loop_create(NULL);
    ck_assert_ptr_nonnull(h->loop);
    h->budget = enso_budget_create(budget_bytes);
    ck_assert_ptr_nonnull(h->budget);
    h->options = (struct enso_http_options){
        .callbacks = {.on_head = on_head,
                      .on_call = on_call,
                      .on_gone = on_gone,
                      .on_done = on_done,
                      .user = h},
        .budget = h->budget,
    };
}

void harness_start(struct harness *h)
{
    struct enso_error err = {0};

    ck_assert_msg(enso_http_create(h->loop, &h->options, &h->http, &err) == ENSO_OK, "%s",
                  err.message);
}

void harness_done(struct harness *h)
{
    if (h->http != NULL)
        enso_http_destroy(h->http);
    for (size_t i = 0; i < h->n_waiting; i++)
        if (h->waiting[i] != NULL)
            h->waiting[i] = enso_http_call_unref(h->waiting[i]);
    enso_loop_destroy(h->loop);
    ck_assert_uint_eq(enso_budget_used(h->budget), 0);
    enso_budget_destroy(h->budget);
}

/* One turn of the loop, and a millisecond's rest when nothing happened. */
static void turn(struct harness *h)
{
    (void)enso_loop_poll(h->loop); /* whether handles are left is known */
    (void)poll(NULL, 0, 1);        /* sleeps */
    (void)enso_loop_poll(h->loop);
}

void harness_run(struct harness *h, unsigned ms)
{
    uint64_t end_ns = enso_clock_now_ns() + ms * ENSO_NS_PER_MS;

    do
        turn(h);
    while (enso_clock_now_ns() < end_ns);
}

bool harness_until(struct harness *h, const unsigned *counter, unsigned value, unsigned ms)
{
    uint64_t end_ns = enso_clock_now_ns() + ms * ENSO_NS_PER_MS;

    while (*counter < value && enso_clock_now_ns() < end_ns)
        turn(h);
    return *counter >= value;
}

void harness_answer(struct harness *h, size_t i, int status, const char *text)
{
    struct enso_buffer body = ENSO_BUFFER_INIT;

    ck_assert_ptr_nonnull(h->waiting[i]);
    enso_buffer_puts(&body, text);
    enso_http_respond(h->waiting[i], status, NULL, 0, &body);
    ck_assert_ptr_null(body.data); /* taken in any case */
    h->waiting[i] = enso_http_call_unref(h->waiting[i]);
}

/* Clients ----------------------------------------------------------------------------------- */

struct client harness_connect(struct harness *h)
{
    struct sockaddr peer = {.sa_family = AF_UNIX};
    struct client c = {.in = ENSO_BUFFER_INIT};
    struct enso_error err = {0};
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    c.fd = fds[0];
    ck_assert_msg(enso_http_add_socket(h->http, fds[1], &peer, sizeof peer.sa_family, &err) ==
                      ENSO_OK,
                  "%s", err.message);
    return c;
}

static void receive(struct client *c)
{
    char bytes[65536];
    ssize_t n;

    while ((n = recv(c->fd, bytes, sizeof bytes, 0)) > 0)
        enso_buffer_append(&c->in, bytes, (size_t)n);
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        c->closed = true;
}

void client_send(struct harness *h, struct client *c, const void *bytes, size_t size)
{
    uint64_t end_ns = enso_clock_now_ns() + 5 * ENSO_NS_PER_S;
    const char *p = bytes;

    while (size > 0 && enso_clock_now_ns() < end_ns) {
        ssize_t n = send(c->fd, p, size, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return; /* the test looks at what came back */
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
        (void)enso_loop_poll(h->loop);
    }
}

void client_puts(struct harness *h, struct client *c, const char *text)
{
    client_send(h, c, text, strlen(text));
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    enso_buffer_done(&c->in);
}

static void consume(struct client *c, size_t n)
{
    memmove(c->in.data, c->in.data + n, c->in.size - n);
    c->in.size -= n;
    c->in.data[c->in.size] = '\0';
}

/* Decode chunks at s; bytes used, or 0 when not whole yet. */
static size_t decode_chunks(const char *s, size_t size, struct enso_buffer *out)
{
    size_t used = 0;

    for (;;) {
        const char *line_end = memmem(s + used, size - used, "\r\n", 2);
        size_t n;

        if (line_end == NULL)
            return 0;
        n = strtoul(s + used, NULL, 16);
        used = (size_t)(line_end - s) + 2;
        if (size - used < n + 2)
            return 0;
        if (n == 0)
            return used + 2;
        enso_buffer_append(out, s + used, n);
        used += n + 2;
    }
}

/* True when a whole reply was taken from c->in. */
static bool take_reply(struct client *c, bool is_head, struct reply *r)
{
    char *end = c->in.size > 0 ? memmem(c->in.data, c->in.size, "\r\n\r\n", 4) : NULL;
    struct enso_buffer body = ENSO_BUFFER_INIT;
    size_t head_size, used = 0;
    const char *length;

    if (end == NULL)
        return false;
    head_size = (size_t)(end - c->in.data) + 4;
    ck_assert_uint_lt(head_size, sizeof r->head);
    memcpy(r->head, c->in.data, head_size);
    r->head[head_size] = '\0';
    ck_assert_int_eq(sscanf(r->head, "HTTP/1.%*d %d", &r->status), 1);
    length = strcasestr(r->head, "Content-Length:");
    if (is_head || r->status < 200 || r->status == 204) {
        used = head_size;
    } else if (strcasestr(r->head, "Transfer-Encoding: chunked") != NULL) {
        used = decode_chunks(c->in.data + head_size, c->in.size - head_size, &body);
        if (used > 0)
            used += head_size;
    } else if (length != NULL) {
        size_t n = strtoul(length + 15, NULL, 10);

        if (c->in.size - head_size >= n) {
            enso_buffer_append(&body, c->in.data + head_size, n);
            used = head_size + n;
        }
    } else if (c->closed) { /* HTTP/1.0: up to the end */
        used = c->in.size;
        enso_buffer_append(&body, c->in.data + head_size, used - head_size);
    }
    if (used == 0) {
        enso_buffer_done(&body);
        r->status = 0;
        return false;
    }
    consume(c, used);
    r->body = enso_buffer_detach(&body, &r->body_size);
    return true;
}

struct reply client_reply(struct harness *h, struct client *c, bool is_head, unsigned ms)
{
    uint64_t end_ns = enso_clock_now_ns() + ms * ENSO_NS_PER_MS;
    struct reply r = {0};

    for (;;) {
        (void)enso_loop_poll(h->loop);
        if (!c->closed)
            receive(c);
        if (take_reply(c, is_head, &r) || c->closed || enso_clock_now_ns() >= end_ns)
            break;
        turn(h);
    }
    r.closed = c->closed && c->in.size == 0;
    return r;
}

bool client_is_closed(struct harness *h, struct client *c, unsigned ms)
{
    uint64_t end_ns = enso_clock_now_ns() + ms * ENSO_NS_PER_MS;

    while (!c->closed && enso_clock_now_ns() < end_ns) {
        turn(h);
        receive(c);
    }
    return c->closed;
}

void reply_done(struct reply *r)
{
    enso_free(r->body);
    r->body = NULL;
}

void client_expect(struct harness *h, struct client *c, const char *request, int status,
                   const char *body)
{
    struct reply r;

    client_puts(h, c, request);
    r = client_reply(h, c, strncmp(request, "HEAD", 4) == 0, 3000);
    ck_assert_msg(r.status == status, "wanted %d, got %d for:\n%.200s\n%s", status, r.status,
                  request, r.head);
    if (body != NULL)
        ck_assert_str_eq(r.body, body);
    reply_done(&r);
}
