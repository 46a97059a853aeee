/* SPDX-License-Identifier: Apache-2.0
 *
 * A load generator: one URL, bodies in turn, many kept connections, one thread, over libcurl's
 * multi interface on an epoll of our own (thousands of sockets cost what the ready ones cost).
 *
 * Closed loop (rate 0): each of n_connections sends its next request when its last was answered;
 * the server sets the pace and latency counts from the sending.
 *
 * Open loop (rate > 0): requests are due at times that do not depend on the server
 * (cli/arrivals.h), and latency counts from the time a request was DUE, not from when a connection
 * became free for it. A server that stalls therefore shows the whole wait ("coordinated omission"
 * is impossible). n_connections bounds what is in flight; what is due waits for a free one.
 *
 * Measured are the requests due after the warm-up. Latencies are those of 2xx answers, and the wait
 * so far of requests that timed out or were still waiting for a connection at the end.
 */
#ifndef ENSO_CLI_LOAD_H
#define ENSO_CLI_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "cli/latency.h"

struct enso_load_body {
    const void *data;
    size_t size;
};

struct enso_load_spec {
    const char *url, *unix_path;         /* unix_path or NULL */
    const char *method;                  /* NULL: GET without bodies, POST with */
    const struct enso_load_body *bodies; /* in turn; n_bodies 0: no body */
    size_t n_bodies;
    const char *const *headers; /* "Name: value" */
    size_t n_headers;
    unsigned n_connections; /* at least 1 */
    double rate;            /* requests per second, 0 = closed loop */
    bool poisson;           /* else a fixed pace */
    uint64_t seed;
    uint64_t warmup_ns, duration_ns; /* duration 0: until n_requests */
    uint64_t n_requests;             /* measured ones; 0: until the duration is over */
    uint64_t timeout_ns;             /* of one request */
    const volatile int *stop;        /* not 0: end early (set by a signal handler), or NULL */
};

enum enso_load_error {
    ENSO_LOAD_CONNECT,  /* no connection */
    ENSO_LOAD_CLOSED,   /* closed or reset before the answer was whole */
    ENSO_LOAD_TIMEOUT,  /* no answer within timeout_ns */
    ENSO_LOAD_NOT_SENT, /* open loop: due, but no connection became free before the end */
    ENSO_LOAD_OTHER,
    ENSO_LOAD_N_ERRORS
};
const char *enso_load_error_name(enum enso_load_error error); /* "connect", "closed", ... */

#define ENSO_LOAD_TIMINGS 8

struct enso_load_timing {
    char name[24];
    struct enso_latency ns;
};

struct enso_load_result {
    struct enso_latency latency;
    uint64_t n_answers, n_ok; /* of any status; 2xx */
    uint64_t statuses[600];   /* by HTTP status; [0]: outside 100..599 */
    uint64_t errors[ENSO_LOAD_N_ERRORS];
    char error_example[256]; /* libcurl's words for the first error (warm-up too), or "" */
    bool gave_up;            /* nobody accepts connections */
    uint64_t bytes_in;       /* bodies of answers */
    uint64_t n_opened;       /* connections, warm-up included */
    double seconds;          /* from the end of the warm-up to the last answer */
    struct enso_load_timing timings[ENSO_LOAD_TIMINGS]; /* out of Server-Timing */
    size_t n_timings;
};

/* Run to the end. ret is the caller's to release with enso_load_result_done, also on failure.
 * Failures are of the generator itself (ENSO_NO_MEMORY, ENSO_IO); what a server does is a result.
 */
enum enso_status enso_load_run(const struct enso_load_spec *spec, struct enso_load_result *ret,
                               struct enso_error *err) ENSO_MUST_CHECK;
void enso_load_result_done(struct enso_load_result *result);

#endif
