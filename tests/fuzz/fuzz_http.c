/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzzes the whole HTTP transport: the input is what a client sends, in up to four pieces, over a
 * socketpair to one long-lived server. Its first byte chooses what the floor above does (answer at
 * once, later, as a stream, refuse) and how the client leaves. Checks that every call ends, that
 * nothing is left pending and that the budget comes back to zero.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/budget.h"
#include "server/http.h"
#include "server/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct enso_loop *loop;
static struct enso_http *http;
static struct enso_budget *budget;
static struct enso_http_call *waiting[64];
static size_t n_waiting;
static unsigned mode;

static void on_head(struct enso_http_call *call, void *user)
{
    (void)user;
    (void)enso_http_call_header(call, "host");
    enso_http_call_set_max_body(call, 1000);
    if (mode & 1)
        enso_http_respond_error(call, 404, NULL, 0, enso_http_call_target(call)->path.data);
}

static void on_call(struct enso_http_call *call, void *user)
{
    struct enso_buffer body = ENSO_BUFFER_INIT;
    size_t size;
    const uint8_t *bytes = enso_http_call_body(call, &size);

    (void)user;
    if ((mode & 2) && n_waiting < 64) {
        waiting[n_waiting++] = enso_http_call_ref(call);
        if (mode & 4)
            enso_http_stream_begin(call, 200, NULL, 0);
        return;
    }
    enso_buffer_append(&body, bytes, size);
    enso_http_respond(call, 200, NULL, 0, &body);
}

static void on_done(struct enso_http_call *call, const struct enso_http_done *done, void *user)
{
    (void)call;
    (void)done;
    (void)user;
}

static void turn(int n)
{
    for (int i = 0; i < n; i++)
        (void)enso_loop_poll(loop);
}

static void answer_all(void)
{
    for (size_t i = 0; i < n_waiting; i++) {
        struct enso_http_call *call = waiting[i];

        if (mode & 4) {
            (void)enso_http_stream_push(call, "abc", 3); /* gone streams take nothing */
            enso_http_stream_end(call);
        } else {
            enso_http_respond(call, 200, NULL, 0, NULL);
        }
        (void)enso_http_call_unref(call);
    }
    n_waiting = 0;
}

static void start(void)
{
    struct enso_http_options options = {
        .callbacks = {.on_head = on_head, .on_call = on_call, .on_done = on_done}};

    loop = enso_loop_create(NULL);
    options.budget = budget = enso_budget_create(0);
    if (loop == NULL || enso_http_create(loop, &options, &http, NULL) != ENSO_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr peer = {.sa_family = AF_UNIX};
    char out[65536];
    size_t piece;
    int fds[2];

    if (size < 2)
        return 0;
    if (loop == NULL)
        start();
    mode = data[0];
    data++;
    size--;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0 ||
        enso_http_add_socket(http, fds[1], &peer, sizeof peer.sa_family, NULL) != ENSO_OK)
        abort();
    piece = size / ((mode >> 3 & 3) + 1) + 1;
    for (size_t at = 0; at < size; at += piece) {
        size_t n = piece < size - at ? piece : size - at;

        (void)send(fds[0], data + at, n, MSG_NOSIGNAL); /* it may have closed already */
        turn(4);
    }
    if (mode & 32)
        (void)shutdown(fds[0], SHUT_WR); /* the same */
    turn(2);
    for (int i = 0; i < 3; i++) { /* answers let pipelined requests through */
        answer_all();
        turn(3);
        while (recv(fds[0], out, sizeof out, 0) > 0)
            ;
    }
    (void)close(fds[0]);
    for (int i = 0; i < 100 && enso_http_n_connections(http) > 0; i++) {
        turn(1);
        answer_all();
    }
    answer_all(); /* whoever was lost in the last turn has a reference still */
    if (enso_http_n_connections(http) != 0 || enso_http_n_pending(http) != 0 ||
        enso_budget_used(budget) != 0) {
        (void)fprintf(stderr, "left: %zu connections, %zu pending, %zu bytes\n",
                      enso_http_n_connections(http), enso_http_n_pending(http),
                      enso_budget_used(budget));
        abort();
    }
    return 0;
}
