/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by server/http*.c, the only files that know libmicrohttpd.
 *
 *   http.c           daemon, sockets, the loop's pump, hang-up watches, drain
 *   http_call.c      libmicrohttpd's callbacks: hygiene, bodies, the life of a call
 *   http_answer.c    answers: small, large, errors, and those written past libmicrohttpd
 *   http_stream.c    answers of unknown length
 *   http_timeouts.c  the sweep that cuts off slow clients
 *   http_target.c    request targets
 *
 * All of it runs on the loop's thread; only the reference count of a call is atomic.
 */
#ifndef ENSO_SERVER_HTTP_INTERNAL_H
#define ENSO_SERVER_HTTP_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <microhttpd.h>
#include <uv.h>

#include "server/http.h"

#define ENSO__HTTP_POOL_BYTES 32768u    /* per connection; 8 KiB of headers always fit */
#define ENSO__HTTP_LARGE_BYTES 65536u   /* answers above are sent in blocks and budgeted */
#define ENSO__HTTP_LEAST_SWALLOW 65536u /* bytes of a refused body always swallowed */
#define ENSO__HTTP_NEVER UINT64_MAX

/* What a connection is doing, as far as time limits are concerned. */
enum enso__http_phase {
    ENSO__HTTP_IDLE,    /* between requests, or in a request line that is not whole */
    ENSO__HTTP_HEAD,    /* the request line is read, headers are coming */
    ENSO__HTTP_BODY,    /* the body is coming */
    ENSO__HTTP_SWALLOW, /* a refused body is coming */
    ENSO__HTTP_WAIT,    /* we owe the answer: no limit here */
    ENSO__HTTP_SEND,    /* the answer is going out */
    ENSO__HTTP_LINGER,  /* answered past libmicrohttpd, waiting for the client to close */
};

/* One per connection, from its socket to libmicrohttpd's CLOSED. */
struct enso__http_connection {
    uv_poll_t watch; /* sees hang-ups and half-closes, all life long */
    struct enso_http *http;
    struct MHD_Connection *mhd;
    struct enso_http_call *call; /* the current one, or NULL */
    /* All connections stand in one queue, ordered by when the sweep looks at them next. */
    struct enso__http_connection *previous, *next;
    uint64_t check_ns;
    enum enso__http_phase phase;
    uint64_t phase_ns;    /* when the phase began */
    uint64_t deadline_ns; /* of IDLE, HEAD, SWALLOW and LINGER */
    uint64_t mark;        /* bytes the kernel counted at the last look, UINT64_MAX = no look yet */
    uint64_t mark_ns;     /* when it last changed */
    int fd;
    bool tcp;
    bool gone;            /* hung up or half-closed */
    bool cut;             /* shut down by us */
    bool first_byte_seen; /* IDLE, and part of a request line has come */
    uint64_t read;        /* bytes of requests that are done; chunks' own sizes are not counted */
    char peer[64];
};

enum enso__http_state {
    ENSO__CALL_NEW,       /* the request line is read */
    ENSO__CALL_HEAD,      /* in on_head */
    ENSO__CALL_BODY,      /* the body is coming */
    ENSO__CALL_REFUSED,   /* `response` is ready; the body is swallowed first */
    ENSO__CALL_READY,     /* in on_call */
    ENSO__CALL_WAITING,   /* suspended until somebody answers */
    ENSO__CALL_ANSWERED,  /* the answer is with libmicrohttpd */
    ENSO__CALL_STREAMING, /* the same, a stream */
    ENSO__CALL_RAW,       /* answered past libmicrohttpd: what still comes is thrown away */
    ENSO__CALL_GONE,      /* nobody wants the answer any more */
    ENSO__CALL_DONE,      /* on_done has been called, the connection has let go */
};

struct enso__http_stream {
    struct enso_buffer queue; /* bytes pushed; the first `start` of them are sent */
    size_t start;
    bool ended;     /* no more pushes */
    bool broken;    /* out of memory: the connection is cut */
    bool suspended; /* waiting for a push */
};

struct enso_http_call {
    atomic_uint refs;
    enum enso__http_state state;
    struct enso__http_connection *connection; /* NULL when done */
    struct enso_http *http;                   /* only while not done */
    struct enso_budget *budget;
    void *user;
    char method[24];
    int version;
    struct enso_http_target target;
    char *target_error; /* the sentence why the target was refused, or NULL */
    uint64_t started_ns, received_ns;

    uint8_t *body;
    size_t body_size, body_capacity;
    size_t charged;    /* bytes taken from the budget */
    uint64_t received; /* bytes of body that came, kept or not */
    uint64_t declared; /* Content-Length, or UINT64_MAX when unknown */
    size_t max_body;
    bool expects_continue;
    bool counted; /* in n_pending */

    int status;                    /* of the answer, 0 before */
    struct MHD_Response *response; /* of a refusal, until it is queued */
    const void *answer;            /* its body, owned by the response */
    size_t answer_size;
    bool in_blocks; /* `sent` counts */
    uint64_t sent;  /* body bytes given to libmicrohttpd, or written raw */
    bool raw_complete;
    bool broken; /* the answer could not be queued: close */
    struct enso__http_stream *stream;
};

struct enso_http {
    struct enso_loop *loop;
    struct MHD_Daemon *mhd;
    struct enso_http_options options; /* with defaults filled in */
    uv_poll_t ready;
    uv_prepare_t prepare;
    uv_idle_t busy;
    uv_timer_t sweep;
    uint64_t period_ns; /* between two looks at a connection */
    bool must_run;      /* libmicrohttpd has something to do */
    bool running;       /* in MHD_run: it must not be entered twice */
    bool draining, finishing, destroyed;
    size_t n_handles; /* libuv handles that are not closed */
    size_t n_connections, n_pending;
    struct enso__http_connection *first, *last; /* the sweep's queue */
    struct enso__http_connection *adding;       /* during MHD_add_connection */
};

/* http.c */
void enso__http_connection_event(void *cls, struct MHD_Connection *mhd, void **socket_context,
                                 enum MHD_ConnectionNotificationCode code);
void enso__http_resume(struct enso_http_call *call); /* resume and run libmicrohttpd soon */
uint64_t enso__http_now_ns(const struct enso_http *http);

/* http_call.c */
void *enso__http_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result enso__http_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *size, void **context);
void enso__http_completed(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_RequestTerminationCode code);
size_t enso__http_unescape(void *cls, struct MHD_Connection *mhd, char *s);
/* Headers and body, as far as they are read. */
uint64_t enso__http_request_bytes(const struct enso_http_call *call);
void enso__http_lost(struct enso_http_call *call); /* on_gone for a waiting call or open stream */

/* http_answer.c */
struct MHD_Response *enso__http_add_headers(struct enso_http_call *call,
                                            struct MHD_Response *response,
                                            const struct enso_http_header *headers,
                                            size_t n_headers);
void enso__http_answer(struct enso_http_call *call, int status, struct MHD_Response *response);
bool enso__http_queue(struct enso_http_call *call); /* call->response; false = close */
void enso__http_answer_raw(struct enso_http_call *call);
void enso__http_cut(struct enso__http_connection *connection);

/* http_stream.c */
void enso__http_stream_destroy(struct enso__http_stream *stream);

/* http_timeouts.c */
void enso__http_set_phase(struct enso__http_connection *connection, enum enso__http_phase phase);
void enso__http_sweep_add(struct enso__http_connection *connection);
void enso__http_sweep_remove(struct enso__http_connection *connection);
void enso__http_sweep_init(struct enso_http *http);

#endif
