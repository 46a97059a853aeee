/* SPDX-License-Identifier: Apache-2.0
 *
 * Plays both ends of HTTP connections in one thread: the transport on a loop, clients on the other
 * ends of socketpairs, a small floor above with a few paths:
 *
 *     /echo           answers its body               /wait    waits until harness_answer
 *     /big?n=N        N bytes, at once               /stream  begins a stream; harness_call pushes
 *     /refuse         on_head answers 404            /small   on_head sets a limit of 16 bytes
 */
#ifndef ENSO_TESTS_SERVER_HTTP_HARNESS_H
#define ENSO_TESTS_SERVER_HTTP_HARNESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "server/budget.h"
#include "server/http.h"
#include "server/loop.h"

struct harness {
    struct enso_loop *loop;
    struct enso_http *http;
    struct enso_budget *budget;
    struct enso_http_options options;
    unsigned n_head, n_call, n_gone, n_done;
    struct enso_http_done done;          /* of the last on_done */
    struct enso_http_call *waiting[512]; /* /wait and /stream, in order, one reference each */
    size_t n_waiting;
};

struct client {
    int fd;
    struct enso_buffer in; /* received and not yet given out */
    bool closed;           /* the other end has closed */
};

struct reply {
    int status; /* 0 = none came */
    char head[4096];
    char *body; /* release with reply_done; NUL-terminated */
    size_t body_size;
    bool closed; /* nothing more will come */
};

/* options may be changed between init and start; budget_bytes 0 = no limit, counted. */
void harness_init(struct harness *h, size_t budget_bytes);
void harness_start(struct harness *h);
void harness_done(struct harness *h); /* checks that nothing is left over */

void harness_run(struct harness *h, unsigned ms); /* run the loop for a time */
bool harness_until(struct harness *h, const unsigned *counter, unsigned value, unsigned ms);
void harness_answer(struct harness *h, size_t i, int status, const char *text); /* and unref */

struct client harness_connect(struct harness *h);
void client_send(struct harness *h, struct client *c, const void *bytes, size_t size);
void client_puts(struct harness *h, struct client *c, const char *text);
void client_close(struct client *c);

/* The next reply, waited for at most ms; a reply to HEAD has no body. */
struct reply client_reply(struct harness *h, struct client *c, bool is_head, unsigned ms);
bool client_is_closed(struct harness *h, struct client *c, unsigned ms); /* waits for it */
void reply_done(struct reply *r);

/* Send text, expect this status; the reply's body into body (may be NULL). */
void client_expect(struct harness *h, struct client *c, const char *request, int status,
                   const char *body);

#endif
