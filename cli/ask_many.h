/* SPDX-License-Identifier: Apache-2.0
 *
 * Many POST requests to one URL of an ensod, some in flight at a time, each asked until it has an
 * answer; over libcurl's multi interface, one thread. Where cli/load.h measures what a server does
 * with a load, this wants the answers: a server that is busy or loading (429, 503) is asked again
 * after the time it says, in `retry-after-ms` or `Retry-After`.
 *
 * Requests are drawn from the caller one by one as connections become free, and answers are given
 * back as they come, in any order; both callbacks run inside enso_ask_many.
 *
 * Bounds: at most n_in_flight requests exist at a time. One that has no final answer after
 * timeout_ns (waits included) is given back with what it last met; if the server answered nothing
 * else with success in that time either, the run ends. So it does when connections fail.
 */
#ifndef ENSO_CLI_ASK_MANY_H
#define ENSO_CLI_ASK_MANY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"

struct enso_ask_request {
    struct enso_buffer body;  /* cleared before it is filled */
    const char *content_type; /* static storage */
    struct enso_buffer name;  /* the caller's, back with the answer; cleared before */
    size_t tag;               /* so too */
};

struct enso_ask_answer {
    const struct enso_ask_request *request;
    long code;        /* HTTP status; 0: there was none in time */
    const char *body; /* `size` bytes, borrowed, may be NULL when 0 */
    size_t size;
    uint64_t latency_ns; /* of the last attempt, from its sending to its end */
};

struct enso_ask_spec {
    const char *url, *unix_path; /* unix_path or NULL */
    const char *server;          /* as the user said it, for sentences */
    unsigned n_in_flight;        /* at least 1 */
    uint64_t timeout_ns;         /* of one request, waits of a busy server included */
    const volatile int *stop;    /* not 0: end early (set by a signal handler), or NULL */
    void *user;
    /* Fill the next request; *ret_more is false when there are no more. A failure ends the run. */
    enum enso_status (*next)(void *user, struct enso_ask_request *request, bool *ret_more,
                             struct enso_error *err);
    /* Take an answer of any status. A failure ends the run. */
    enum enso_status (*answered)(void *user, const struct enso_ask_answer *answer,
                                 struct enso_error *err);
    /* Called several times a second and after each answer; may be NULL. */
    void (*tick)(void *user, uint64_t now_ns);
};

/* Run until every request has its answer. ENSO_CANCELLED, without a sentence: `stop` was set; what
 * was in flight is given up. ENSO_UNAVAILABLE: the server is gone or never free. */
enum enso_status enso_ask_many(const struct enso_ask_spec *spec,
                               struct enso_error *err) ENSO_MUST_CHECK;

#endif
