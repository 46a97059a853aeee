/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1.1 for the floors above, in terms free of libmicrohttpd: connections in, calls out.
 *
 *     on_head   the headers are read: look up the route, set its body limit, or answer (= refuse)
 *     on_call   the body is whole: answer now, or return and answer later (the call waits)
 *     on_gone   the client has hung up while the call was waiting or streaming: cancel
 *     on_done   the last word about every call: for the access log and for letting go
 *
 *     static void on_call(struct enso_http_call *call, void *user)
 *     {
 *         enso_http_call_set_user(call, start_work(call));  // enso_http_respond comes later
 *     }
 *     static void on_result(struct work *work)              // on the loop, after a wake-up
 *     {
 *         enso_http_respond_json(work->call, 200, NULL, 0, &work->json);
 *     }
 *
 * Ownership of calls. The transport holds each call from its first byte until on_done has returned;
 * until then the pointer is good without a reference. Whoever keeps it longer takes one
 * (enso_http_call_ref) and may give it back on any thread. Exactly one answer per call: an answer
 * to a call that is answered, gone or done is a no-op that only takes its body, so a result that
 * comes late does no harm. Strings of the call (method, target, params, body) live as long as the
 * call; header values only until it is answered, gone or done: copy what is needed longer.
 *
 * on_done comes exactly once per call, after on_gone if there was one, also for requests that never
 * reached on_head (their user pointer is NULL).
 *
 * Hygiene that happens here (architecture.md section 2): framing that could smuggle requests is
 * refused; a refusal is answered after the body is swallowed (up to 2 x limit or 5 s, then answered
 * and closed), at once only to `Expect: 100-continue`; slow headers, bodies and readers are cut
 * off; bodies grow with the bytes received and count in the budget; HEAD sends no body.
 *
 * Threads: everything belongs to the loop's thread, except enso_http_call_ref and _unref.
 * Built for 10,000 connections, most of them idle, and 50,000 small calls a second.
 */
#ifndef ENSO_SERVER_HTTP_H
#define ENSO_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"
#include "server/http_target.h"

struct enso_budget;
struct enso_http;
struct enso_http_call;
struct enso_loop;

struct enso_http_header {
    const char *name, *value; /* visible ASCII and blanks; anything else breaks the answer */
};

/* How a call ended. */
struct enso_http_done {
    int status;          /* that was answered; 0 = none, the client went away before */
    uint64_t body_bytes; /* of the answer's body that were handed to the kernel */
    bool complete;       /* the whole answer was handed to the kernel */
};

/* An error that this floor answers by itself, on its way to the floor above for its shape. */
struct enso_http_error {
    int status;
    const char *message;                /* one sentence */
    struct enso_buffer *body;           /* to be written */
    const char *content_type;           /* "application/json" unless changed */
    struct enso_http_header headers[6]; /* to be added; values may lie in room */
    size_t n_headers;
    char room[384];
};

/* All on the loop thread. `user` is the field below. */
struct enso_http_callbacks {
    /* Optional. Headers are read and well formed; body not yet. enso_http_respond here refuses. */
    void (*on_head)(struct enso_http_call *call, void *user);
    /* The body is whole. Not called for calls that on_head answered. */
    void (*on_call)(struct enso_http_call *call, void *user);
    /* Optional. A call that on_call left waiting, or a stream that has not ended, is lost: the
     * client hung up (or half-closed), was too slow, or the drain's time is over. */
    void (*on_gone)(struct enso_http_call *call, void *user);
    /* Optional. */
    void (*on_done)(struct enso_http_call *call, const struct enso_http_done *done, void *user);
    /* Optional. Once a turn of the loop, before it sleeps: what came in this turn has been told. */
    void (*on_turn)(void *user);
    /* Optional. Writes the body of an error that this floor answers by itself; by default the
     * OpenAI shape. Also for calls that never came to on_head. */
    void (*format_error)(struct enso_http_call *call, struct enso_http_error *error, void *user);
    void *user;
};

/* Zero means the default in brackets. */
struct enso_http_options {
    struct enso_http_callbacks callbacks;
    struct enso_budget *budget;  /* borrowed, may be NULL: bodies and large answers */
    size_t max_body_bytes;       /* [32 MiB] where on_head sets no other */
    unsigned max_connections;    /* [16384] */
    unsigned header_timeout_ms;  /* [10000] from the first byte to the end of the headers */
    unsigned body_timeout_ms;    /* [30000] for the whole body, and 1 s more per 64 KiB */
    unsigned idle_timeout_ms;    /* [75000] between requests */
    unsigned write_timeout_ms;   /* [30000] without any progress of an answer */
    unsigned swallow_timeout_ms; /* [5000] for the rest of a refused body */
};

enum enso_status enso_http_create(struct enso_loop *loop, const struct enso_http_options *options,
                                  struct enso_http **ret, struct enso_error *err) ENSO_MUST_CHECK;

/* A connected stream socket; takes fd, also on failure. peer is copied. */
enum enso_status enso_http_add_socket(struct enso_http *http, int fd, const struct sockaddr *peer,
                                      socklen_t peer_size, struct enso_error *err) ENSO_MUST_CHECK;
bool enso_http_is_full(const struct enso_http *http); /* max_connections are open */

/* Other time limits, from the next step of each connection on. Only the *_timeout_ms of options are
 * looked at. */
void enso_http_set_timeouts(struct enso_http *http, const struct enso_http_options *options);

/* Gauges. Pending: calls whose headers are read and whose answer has not left. */
size_t enso_http_n_connections(const struct enso_http *http);
size_t enso_http_n_pending(const struct enso_http *http);

/* Drain, in this order:
 *   stop listening;                       (server/listener.h)
 *   enso_http_stop_accepting(http);       reads what lies in the sockets, so that it is pending;
 *                                         answers carry `Connection: close` from now on
 *   run the loop until n_pending is 0 or the time is over;
 *   enso_http_finish(http, 500);          503 for what still waits (after on_gone for each), and
 *                                         what is in the sockets; sends for at most wait_ms
 *   enso_http_destroy(http);
 * destroy finishes by itself if nobody did. The memory goes with the loop's next turns. */
void enso_http_stop_accepting(struct enso_http *http);
void enso_http_finish(struct enso_http *http, unsigned wait_ms);
void enso_http_destroy(struct enso_http *http); /* NULL is fine */

/* The request ------------------------------------------------------------------------------ */

const char *enso_http_call_method(const struct enso_http_call *call); /* "GET", case kept */
int enso_http_call_version(const struct enso_http_call *call);        /* 10 or 11 */
const struct enso_http_target *enso_http_call_target(const struct enso_http_call *call);

/* First query parameter of that name, or NULL. */
const char *enso_http_call_param(const struct enso_http_call *call, const char *name);

/* First header of that name (any case), or NULL, also after the answer. Borrowed, see above. */
const char *enso_http_call_header(const struct enso_http_call *call, const char *name);

/* Bytes received so far; whole in on_call. NULL and 0 without a body. Borrowed from the call. */
const uint8_t *enso_http_call_body(const struct enso_http_call *call, size_t *ret_size);

/* Gives the body away (release with enso_free); the budget holds it until the call is freed. */
uint8_t *enso_http_call_detach_body(struct enso_http_call *call, size_t *ret_size);

/* "192.0.2.1:4711", "[2001:db8::1]:4711" or "unix:". Lives as long as the connection: copy. */
const char *enso_http_call_peer(const struct enso_http_call *call);
bool enso_http_call_is_unix(const struct enso_http_call *call);
bool enso_http_call_is_draining(const struct enso_http_call *call);

/* Monotonic ns: when the request line was read; when the body was whole (0 before). */
uint64_t enso_http_call_started_ns(const struct enso_http_call *call);
uint64_t enso_http_call_received_ns(const struct enso_http_call *call);

void enso_http_call_set_user(struct enso_http_call *call, void *user);
void *enso_http_call_user(const struct enso_http_call *call);

/* In on_head: another limit than max_body_bytes for this call. */
void enso_http_call_set_max_body(struct enso_http_call *call, size_t max_bytes);

/* True from the moment the client is known to have hung up. */
bool enso_http_call_is_gone(const struct enso_http_call *call);

struct enso_http_call *enso_http_call_ref(struct enso_http_call *call);
struct enso_http_call *enso_http_call_unref(struct enso_http_call *call); /* returns NULL */

/* The answer ------------------------------------------------------------------------------- */

/* status 200..599; at most 23 headers, copied; body may be NULL, its content is taken and the
 * buffer left empty. A body that failed (out of memory) is answered as 500. Content-Length, Date
 * and Connection are added here. */
void enso_http_respond(struct enso_http_call *call, int status,
                       const struct enso_http_header *headers, size_t n_headers,
                       struct enso_buffer *body);

/* The same with `Content-Type: application/json`. */
void enso_http_respond_json(struct enso_http_call *call, int status,
                            const struct enso_http_header *headers, size_t n_headers,
                            struct enso_buffer *json);

/* An error in the shape of format_error. 503 and 429 want a Retry-After among the headers. */
void enso_http_respond_error(struct enso_http_call *call, int status,
                             const struct enso_http_header *headers, size_t n_headers,
                             const char *message);

/* Streams: an answer whose length is not known yet. begin, from on_call on, counts as the answer;
 * then any number of pushes, from the loop thread, then end. Pushes to a stream that is gone are
 * no-ops; on_gone has told. HEAD and HTTP/1.0 work. The producer pauses while `queued` is high. */
void enso_http_stream_begin(struct enso_http_call *call, int status,
                            const struct enso_http_header *headers, size_t n_headers);
/* False when the bytes were not taken: gone, ended or out of memory (which breaks the stream). */
bool enso_http_stream_push(struct enso_http_call *call, const void *bytes, size_t size);
void enso_http_stream_end(struct enso_http_call *call);
size_t
enso_http_stream_queued(const struct enso_http_call *call); /* bytes not yet with the kernel */

#endif
