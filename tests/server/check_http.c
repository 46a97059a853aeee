/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP transport over socketpairs: requests, answers, streams, drain, failing allocations and
 * threads. What clients do wrong is in check_http_clients.c.
 */
#include "ensod_build.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/server/http_harness.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path, length, body)                                                                   \
    "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Length: " length "\r\n\r\n" body

static struct harness h;

static void setup(void)
{
    harness_init(&h, 0);
}

static void teardown(void)
{
    harness_done(&h);
}

/* core -------------------------------------------------------------------------------------- */

START_TEST(test_http_keeps_connections_open)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    for (int i = 0; i < 3; i++) {
        client_expect(&h, &c, POST("/echo", "5", "hello"), 200, "hello");
        client_expect(&h, &c, GET("/echo"), 200, "");
    }
    ck_assert(!c.closed);
    ck_assert_uint_eq(enso_http_n_connections(h.http), 1);
    ck_assert_uint_eq(enso_http_n_pending(h.http), 0);
    ck_assert_uint_eq(h.n_done, 6);
    ck_assert_uint_eq(h.n_gone, 0);
    ck_assert_int_eq(h.done.status, 200);
    ck_assert(h.done.complete);
    client_close(&c);
    harness_run(&h, 10);
    ck_assert_uint_eq(enso_http_n_connections(h.http), 0);
}
END_TEST

START_TEST(test_http_answers_pipelined_requests_in_order)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c,
                POST("/echo", "1", "1") POST("/wait", "1", "2") POST("/echo", "1", "3")
                    GET("/echo"));
    r = client_reply(&h, &c, false, 2000);
    ck_assert_str_eq(r.body, "1");
    reply_done(&r);
    ck_assert(harness_until(&h, &h.n_call, 2, 2000));
    harness_run(&h, 20);
    ck_assert_uint_eq(h.n_call, 2); /* the third waits for the second's answer */
    harness_answer(&h, 0, 200, "two");
    for (int i = 0; i < 3; i++) {
        r = client_reply(&h, &c, false, 2000);
        ck_assert_int_eq(r.status, 200);
        ck_assert_str_eq(r.body, i == 0 ? "two" : i == 1 ? "3" : "");
        reply_done(&r);
    }
    client_close(&c);
}
END_TEST

START_TEST(test_http_speaks_version_1_0)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, "POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(r.body, "hi");
    reply_done(&r);
    ck_assert(client_is_closed(&h, &c, 2000));
    client_close(&c);
}
END_TEST

START_TEST(test_http_head_has_no_body)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, "HEAD /big?n=200000 HTTP/1.1\r\nHost: x\r\n\r\n");
    r = client_reply(&h, &c, true, 2000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strstr(r.head, "Content-Length: 200000"));
    reply_done(&r);
    ck_assert_uint_eq(h.done.body_bytes, 0);
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
}
END_TEST

START_TEST(test_http_reads_chunked_bodies)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_expect(&h, &c,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\nabc\r\n10;ext=1\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n",
                  200, "abc0123456789abcdef");
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
}
END_TEST

START_TEST(test_http_reads_bytes_one_by_one)
{
    static const char text[] = POST("/echo", "11", "hello world");
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        client_send(&h, &c, text + i, 1);
        (void)enso_loop_poll(h.loop);
    }
    r = client_reply(&h, &c, false, 2000);
    ck_assert_str_eq(r.body, "hello world");
    reply_done(&r);
    client_close(&c);
}
END_TEST

START_TEST(test_http_moves_large_bodies_both_ways)
{
    size_t size = 3000000;
    char *text = malloc(size), head[128];
    struct client c;
    struct reply r;

    for (size_t i = 0; i < size; i++)
        text[i] = (char)(i * 7 % 251);
    harness_start(&h);
    c = harness_connect(&h);
    (void)snprintf(head, sizeof head,
                   "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
    client_puts(&h, &c, head);
    client_send(&h, &c, text, size);
    r = client_reply(&h, &c, false, 5000);
    ck_assert_uint_eq(r.body_size, size);
    ck_assert_mem_eq(r.body, text, size);
    reply_done(&r);
    harness_run(&h, 5);
    ck_assert_uint_eq(h.done.body_bytes, size);
    ck_assert_uint_eq(enso_budget_used(h.budget), 0);
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
    free(text);
}
END_TEST

START_TEST(test_http_answers_waiting_calls_later)
{
    struct client c[8];
    struct reply r;
    char text[16];

    harness_start(&h);
    for (int i = 0; i < 8; i++) {
        c[i] = harness_connect(&h);
        client_puts(&h, &c[i], GET("/wait"));
        ck_assert(harness_until(&h, &h.n_call, (unsigned)i + 1, 2000));
    }
    ck_assert_uint_eq(enso_http_n_pending(h.http), 8);
    for (int i = 7; i >= 0; i--) {
        (void)snprintf(text, sizeof text, "%d", i);
        harness_answer(&h, (size_t)i, 201, text);
    }
    for (int i = 0; i < 8; i++) {
        r = client_reply(&h, &c[i], false, 2000);
        ck_assert_int_eq(r.status, 201);
        ck_assert_int_eq(atoi(r.body), i);
        reply_done(&r);
        client_close(&c[i]);
    }
    harness_run(&h, 5);
    ck_assert_uint_eq(enso_http_n_pending(h.http), 0);
}
END_TEST

static void inspect(struct enso_http_call *call, void *user)
{
    const struct enso_http_target *t = enso_http_call_target(call);
    struct enso_buffer body = ENSO_BUFFER_INIT;
    size_t size;

    (void)user;
    enso_buffer_printf(&body, "%s %d %zu|", enso_http_call_method(call),
                       enso_http_call_version(call), t->n_segments);
    for (size_t i = 0; i < t->n_segments; i++)
        enso_buffer_printf(&body, "%s|", t->segments[i].data);
    enso_buffer_printf(&body, "%s|%s|%s|%s", enso_http_call_param(call, "q"),
                       enso_http_call_param(call, "none") == NULL ? "-" : "?",
                       enso_http_call_header(call, "x-thing"), enso_http_call_peer(call));
    ck_assert_ptr_null(enso_http_call_header(call, "x-other"));
    ck_assert_ptr_null(enso_http_call_body(call, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert(enso_http_call_is_unix(call));
    ck_assert(!enso_http_call_is_draining(call));
    ck_assert_uint_gt(enso_http_call_started_ns(call), 0);
    ck_assert_uint_ge(enso_http_call_received_ns(call), enso_http_call_started_ns(call));
    enso_http_respond_json(call, 200, NULL, 0, &body);
    ck_assert_ptr_null(enso_http_call_header(call, "x-thing")); /* answered */
}

START_TEST(test_http_shows_the_request)
{
    struct client c;

    h.options.callbacks.on_call = inspect;
    harness_start(&h);
    c = harness_connect(&h);
    client_expect(&h, &c,
                  "DELETE /models/a%2Fb/x?q=1+%26+2&r HTTP/1.1\r\nHost: x\r\nX-Thing: y z\r\n\r\n",
                  200, "DELETE 11 3|models|a/b|x|1 & 2|-|y z|unix:");
    client_close(&c);
}
END_TEST

START_TEST(test_http_detached_body_outlives_its_call)
{
    struct client c;
    uint8_t *body;
    size_t size;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/wait", "5", "hello"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    ck_assert_uint_gt(enso_budget_used(h.budget), 0);
    body = enso_http_call_detach_body(h.waiting[0], &size);
    harness_answer(&h, 0, 200, "");
    harness_run(&h, 5);
    ck_assert_uint_eq(size, 5);
    ck_assert_mem_eq(body, "hello", 5);
    ck_assert_uint_eq(enso_budget_used(h.budget), 0);
    enso_free(body);
    client_close(&c);
}
END_TEST

START_TEST(test_http_second_answer_is_ignored)
{
    struct enso_buffer body = ENSO_BUFFER_INIT;
    struct enso_http_call *call;
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/wait"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    call = enso_http_call_ref(h.waiting[0]);
    harness_answer(&h, 0, 200, "first");
    enso_buffer_puts(&body, "second");
    enso_http_respond(call, 500, NULL, 0, &body);
    ck_assert_ptr_null(body.data);
    r = client_reply(&h, &c, false, 2000);
    ck_assert_str_eq(r.body, "first");
    reply_done(&r);
    harness_run(&h, 5);
    enso_http_respond_error(call, 500, NULL, 0, "third"); /* done by now */
    ck_assert(enso_http_call_is_gone(call));
    (void)enso_http_call_unref(call);
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
}
END_TEST

START_TEST(test_http_no_content_and_options)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(&h, &c, "OPTIONS /wait HTTP/1.1\r\nHost: x\r\n\r\n", 200, "");
    ck_assert(harness_until(&h, &h.n_call, 2, 2000));
    harness_answer(&h, 0, 204, "");
    client_expect(&h, &c, "", 204, NULL);
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
}
END_TEST

/* streams ----------------------------------------------------------------------------------- */

START_TEST(test_http_streams_chunks)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/stream"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    for (int i = 0; i < 5; i++) {
        ck_assert(enso_http_stream_push(h.waiting[0], "data: x\n\n", 9));
        if (i % 2)
            harness_run(&h, 3); /* the queue runs empty and the connection sleeps */
    }
    ck_assert(enso_http_stream_push(h.waiting[0], "", 0));
    enso_http_stream_end(h.waiting[0]);
    ck_assert(!enso_http_stream_push(h.waiting[0], "late", 4));
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_uint_eq(r.body_size, 45);
    reply_done(&r);
    client_expect(&h, &c, GET("/echo"), 200, "");
    ck_assert_uint_eq(h.n_gone, 0);
    client_close(&c);
}
END_TEST

START_TEST(test_http_streams_to_1_0_and_head)
{
    struct client c, d;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, "GET /stream HTTP/1.0\r\n\r\n");
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    ck_assert(enso_http_stream_push(h.waiting[0], "abc", 3));
    harness_run(&h, 5);
    ck_assert(enso_http_stream_push(h.waiting[0], "def", 3));
    enso_http_stream_end(h.waiting[0]);
    ck_assert(client_is_closed(&h, &c, 2000));
    r = client_reply(&h, &c, false, 2000);
    ck_assert_str_eq(r.body, "abcdef");
    reply_done(&r);
    client_close(&c);
    d = harness_connect(&h);
    client_puts(&h, &d, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    r = client_reply(&h, &d, true, 2000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    ck_assert(harness_until(&h, &h.n_gone, 1, 2000)); /* nobody wants what it would push */
    ck_assert(!enso_http_stream_push(h.waiting[1], "abc", 3));
    client_close(&d);
}
END_TEST

START_TEST(test_http_stream_tells_what_is_queued)
{
    char block[65536];
    struct client c;
    struct reply r;
    size_t pushed = 0;

    memset(block, 'x', sizeof block);
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/stream"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    while (enso_http_stream_queued(h.waiting[0]) < 4 * sizeof block) { /* nobody reads */
        ck_assert(enso_http_stream_push(h.waiting[0], block, sizeof block));
        pushed += sizeof block;
        harness_run(&h, 1);
        ck_assert_uint_lt(pushed, 64u << 20);
    }
    ck_assert_uint_gt(pushed, 4 * sizeof block);
    enso_http_stream_end(h.waiting[0]);
    r = client_reply(&h, &c, false, 5000);
    ck_assert_uint_eq(r.body_size, pushed);
    reply_done(&r);
    ck_assert_uint_eq(enso_http_stream_queued(h.waiting[0]), 0);
    client_close(&c);
}
END_TEST

START_TEST(test_http_stream_hangup)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/stream"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    ck_assert(enso_http_stream_push(h.waiting[0], "abc", 3));
    harness_run(&h, 5);
    client_close(&c);
    ck_assert(harness_until(&h, &h.n_gone, 1, 2000));
    ck_assert(!enso_http_stream_push(h.waiting[0], "abc", 3));
    enso_http_stream_end(h.waiting[0]);
    ck_assert(harness_until(&h, &h.n_done, 1, 2000));
    ck_assert_uint_eq(h.n_gone, 1);
    ck_assert(!h.done.complete);
    ck_assert_uint_eq(h.done.body_bytes, 3);
}
END_TEST

/* An answer that cannot be made closes the connection; above all a refusal does not let through. */

static const struct enso_http_header broken_header = {"X-Bad", "a\r\nb"};

static void refuse_brokenly(struct enso_http_call *call, void *user)
{
    (void)user;
    enso_http_respond(call, 403, &broken_header, 1, NULL);
}

START_TEST(test_http_broken_answers_close)
{
    struct client c;

    if (_i == 0)
        h.options.callbacks.on_head = refuse_brokenly;
    else if (_i == 1)
        h.options.callbacks.on_call = refuse_brokenly;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/wait", "3", "abc"));
    harness_run(&h, 5);
    if (_i == 2)
        enso_http_respond(h.waiting[0], 200, &broken_header, 1, NULL);
    ck_assert(client_is_closed(&h, &c, 1000));
    ck_assert_uint_eq(h.n_call, _i == 2 ? 1 : 0);
    ck_assert(harness_until(&h, &h.n_done, 1, 1000));
    ck_assert_int_eq(h.done.status, 0);
    ck_assert_uint_eq(h.n_gone, 0);
    client_close(&c);
}
END_TEST

/* drain ------------------------------------------------------------------------------------- */

START_TEST(test_http_draining_answers_close)
{
    struct client c, d;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    d = harness_connect(&h);
    client_puts(&h, &d, GET("/wait"));
    client_expect(&h, &c, GET("/echo"), 200, "");
    ck_assert(harness_until(&h, &h.n_call, 2, 1000));
    enso_http_stop_accepting(h.http);
    client_puts(&h, &c, GET("/echo"));
    r = client_reply(&h, &c, false, 1000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strcasestr(r.head, "Connection: close"));
    reply_done(&r);
    ck_assert(client_is_closed(&h, &c, 1000));
    ck_assert_uint_eq(enso_http_n_pending(h.http), 1);
    harness_answer(&h, 0, 200, "done");
    r = client_reply(&h, &d, false, 1000);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strcasestr(r.head, "Connection: close"));
    reply_done(&r);
    ck_assert_uint_eq(enso_http_n_pending(h.http), 0);
    client_close(&c);
    client_close(&d);
}
END_TEST

START_TEST(test_http_drain_serves_what_lies_in_the_sockets)
{
    static const char text[] = GET("/wait");
    struct client old, young;

    harness_start(&h);
    old = harness_connect(&h);
    client_expect(&h, &old, GET("/echo"), 200, "");
    young = harness_connect(&h); /* no turn of the loop between its request and the drain */
    ck_assert_int_eq(send(old.fd, text, sizeof text - 1, 0), sizeof text - 1);
    ck_assert_int_eq(send(young.fd, text, sizeof text - 1, 0), sizeof text - 1);
    enso_http_stop_accepting(h.http);
    ck_assert_uint_eq(enso_http_n_pending(h.http), 2);
    harness_answer(&h, 0, 200, "a");
    harness_answer(&h, 1, 200, "a");
    client_expect(&h, &old, "", 200, "a");
    client_expect(&h, &young, "", 200, "a");
    client_close(&old);
    client_close(&young);
}
END_TEST

START_TEST(test_http_finish_answers_whatever_waits)
{
    static const char text[] = GET("/echo");
    struct client c[20], stream, late;
    struct reply r;

    harness_start(&h);
    for (int i = 0; i < 20; i++) {
        c[i] = harness_connect(&h);
        client_puts(&h, &c[i], POST("/wait", "3", "abc"));
    }
    stream = harness_connect(&h);
    client_puts(&h, &stream, GET("/stream"));
    ck_assert(harness_until(&h, &h.n_call, 21, 2000));
    late = harness_connect(&h); /* asks when it is too late */
    enso_http_stop_accepting(h.http);
    ck_assert_int_eq(send(late.fd, text, sizeof text - 1, 0), sizeof text - 1);
    enso_http_finish(h.http, 500);
    ck_assert_uint_eq(enso_http_n_pending(h.http), 0);
    ck_assert_uint_eq(h.n_gone, 21);
    enso_http_destroy(h.http);
    h.http = NULL;
    for (int i = 0; i < 20; i++) {
        r = client_reply(&h, &c[i], false, 1000);
        ck_assert_int_eq(r.status, 503);
        ck_assert_ptr_nonnull(strstr(r.head, "Retry-After"));
        reply_done(&r);
        client_close(&c[i]);
    }
    r = client_reply(&h, &late, false, 1000);
    ck_assert_int_eq(r.status, 503);
    reply_done(&r);
    ck_assert(client_is_closed(&h, &stream, 1000));
    ck_assert(!enso_http_stream_push(h.waiting[20], "x", 1));
    harness_answer(&h, 0, 200, "after the end"); /* harmless */
    client_close(&late);
    client_close(&stream);
}
END_TEST

START_TEST(test_http_destroy_with_everything_open)
{
    struct client c[6];
    static const char *const texts[] = {"",
                                        "GET /ec",
                                        "GET /echo HTTP/1.1\r\n",
                                        POST("/echo", "9", "a"),
                                        POST("/wait", "1", "a"),
                                        GET("/big?n=9000000")};

    harness_start(&h);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(texts); i++) {
        c[i] = harness_connect(&h);
        client_puts(&h, &c[i], texts[i]);
    }
    harness_run(&h, 20);
    enso_http_destroy(h.http);
    h.http = NULL;
    ck_assert_uint_eq(h.n_done, 4);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(texts); i++)
        client_close(&c[i]);
}
END_TEST

/* idle -------------------------------------------------------------------------------------- */

START_TEST(test_http_sleeps_when_there_is_nothing_to_do)
{
    struct timespec before, after;
    struct enso_timer *timer;
    struct client c, d;

    harness_start(&h);
    c = harness_connect(&h);
    d = harness_connect(&h);
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_puts(&h, &c, GET("/wait"));
    client_puts(&h, &d, GET("/big?n=10000000"));
    ck_assert(harness_until(&h, &h.n_call, 3, 1000));
    ck_assert_int_eq(shutdown(d.fd, SHUT_WR), 0); /* the watch reports it, once */
    timer = enso_timer_create(h.loop, (enso_loop_fn)(void *)enso_loop_stop, h.loop, NULL);
    enso_timer_start(timer, 300, 0);
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before), 0);
    enso_loop_run(h.loop);
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
    ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec,
                     50000000); /* of 300 ms: a spinning loop takes them all */
    enso_timer_destroy(timer);
    client_close(&c);
    client_close(&d);
}
END_TEST

/* oom: every allocation fails once, and the transport goes on -------------------------------- */

static void play_once(bool *all_answered)
{
    struct client c, d;
    struct reply r;

    c = harness_connect(&h);
    d = harness_connect(&h);
    *all_answered = true;
    client_puts(&h, &c, POST("/echo", "5", "hello"));
    r = client_reply(&h, &c, false, 2000);
    *all_answered = *all_answered && r.status == 200;
    reply_done(&r);
    client_puts(&h, &d, GET("/refuse?a=b"));
    r = client_reply(&h, &d, false, 2000);
    *all_answered = *all_answered && r.status == 404 && r.body_size > 10;
    reply_done(&r);
    client_puts(&h, &d, GET("/big?n=100000"));
    r = client_reply(&h, &d, false, 2000);
    *all_answered = *all_answered && r.status == 200;
    reply_done(&r);
    client_close(&c);
    client_close(&d);
}

START_TEST(test_http_survives_failing_allocations)
{
    bool all_answered = false;
    struct sockaddr peer = {.sa_family = AF_UNIX};

    harness_start(&h);
    for (uint64_t n = 1; n < 200 && !all_answered; n++) {
        static const char first[] = POST("/echo", "5", "hello"), second[] = GET("/refuse?a=b"),
                          third[] = GET("/big?n=100000");
        static const char *const texts[] = {first, second, third};
        int fds[ENSO_ARRAY_SIZE(texts)][2];
        ssize_t size;
        char text[256];

        (void)enso_memory_fail_at(n); /* from the sockets' arrival on */
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(texts); i++) {
            ck_assert_int_eq(
                socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds[i]), 0);
            if (enso_http_add_socket(h.http, fds[i][1], &peer, sizeof peer.sa_family, NULL) !=
                ENSO_OK)
                continue;
            (void)send(fds[i][0], texts[i], strlen(texts[i]), MSG_NOSIGNAL); /* may be closed */
            for (int k = 0; k < 6; k++)
                (void)enso_loop_poll(h.loop);
        }
        (void)enso_memory_fail_at(0);
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(texts); i++) {
            size = recv(fds[i][0], text, sizeof text - 1, 0);
            ck_assert(size >= 0 || i == 99); /* answered or closed, never left hanging */
            (void)close(fds[i][0]);
        }
        play_once(&all_answered);
        ck_assert(all_answered); /* with memory again, all is well */
        all_answered = n >= 60;
    }
}
END_TEST

/* threads: answers come from another thread through a wake-up -------------------------------- */

struct handover {
    pthread_mutex_t lock;
    size_t first, last; /* of h.waiting: handed to the worker, given back */
    size_t n_ready;
    bool stop;
    struct enso_wakeup *wakeup;
    size_t n_answered;
};

static void *work(void *user)
{
    struct handover *w = user;

    for (;;) {
        bool stop;

        pthread_mutex_lock(&w->lock);
        w->n_ready = w->last;
        stop = w->stop;
        pthread_mutex_unlock(&w->lock);
        enso_wakeup_send(w->wakeup);
        if (stop)
            return NULL;
        (void)usleep(500); /* lets the loop run */
    }
}

static void on_ready(void *user)
{
    struct handover *w = user;
    size_t n_ready;

    pthread_mutex_lock(&w->lock);
    n_ready = w->n_ready;
    pthread_mutex_unlock(&w->lock);
    for (; w->n_answered < n_ready; w->n_answered++)
        harness_answer(&h, w->n_answered, 200, "from a thread");
}

START_TEST(test_http_answers_from_a_thread)
{
    struct handover w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct client c[16];
    pthread_t thread;

    harness_start(&h);
    w.wakeup = enso_wakeup_create(h.loop, on_ready, &w, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, work, &w), 0);
    for (int i = 0; i < 16; i++)
        c[i] = harness_connect(&h);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 16; i++)
            client_puts(&h, &c[i], POST("/wait", "3", "abc"));
        ck_assert(harness_until(&h, &h.n_call, 16 * ((unsigned)round + 1), 3000));
        pthread_mutex_lock(&w.lock);
        w.last = h.n_waiting;
        pthread_mutex_unlock(&w.lock);
        for (int i = 0; i < 16; i++)
            client_expect(&h, &c[i], "", 200, "from a thread");
    }
    pthread_mutex_lock(&w.lock);
    w.stop = true;
    pthread_mutex_unlock(&w.lock);
    pthread_join(thread, NULL);
    enso_wakeup_destroy(w.wakeup);
    for (int i = 0; i < 16; i++)
        client_close(&c[i]);
}
END_TEST

static void *unref_later(void *call)
{
    (void)usleep(2000); /* the loop has let go by then */
    (void)enso_http_call_unref(call);
    return NULL;
}

START_TEST(test_http_call_is_freed_on_another_thread)
{
    struct client c;
    pthread_t thread;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/wait", "3", "abc"));
    ck_assert(harness_until(&h, &h.n_call, 1, 1000));
    ck_assert_int_eq(pthread_create(&thread, NULL, unref_later, enso_http_call_ref(h.waiting[0])),
                     0);
    harness_answer(&h, 0, 200, "x");
    client_expect(&h, &c, "", 200, "x");
    pthread_join(thread, NULL);
    client_close(&c);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("server/http");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom"), *threads = tcase_create("threads");
    TCase *all[] = {core, errors, oom, threads};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++) {
        tcase_add_checked_fixture(all[i], setup, teardown);
        tcase_set_timeout(all[i], 60);
        suite_add_tcase(suite, all[i]);
    }
    tcase_add_test(core, test_http_keeps_connections_open);
    tcase_add_test(core, test_http_answers_pipelined_requests_in_order);
    tcase_add_test(core, test_http_speaks_version_1_0);
    tcase_add_test(core, test_http_head_has_no_body);
    tcase_add_test(core, test_http_reads_chunked_bodies);
    tcase_add_test(core, test_http_reads_bytes_one_by_one);
    tcase_add_test(core, test_http_moves_large_bodies_both_ways);
    tcase_add_test(core, test_http_answers_waiting_calls_later);
    tcase_add_test(core, test_http_shows_the_request);
    tcase_add_test(core, test_http_detached_body_outlives_its_call);
    tcase_add_test(core, test_http_second_answer_is_ignored);
    tcase_add_test(core, test_http_no_content_and_options);
    tcase_add_test(core, test_http_streams_chunks);
    tcase_add_test(core, test_http_streams_to_1_0_and_head);
    tcase_add_test(core, test_http_stream_tells_what_is_queued);
    tcase_add_test(core, test_http_draining_answers_close);
    tcase_add_test(core, test_http_drain_serves_what_lies_in_the_sockets);
    tcase_add_test(core, test_http_finish_answers_whatever_waits);
    tcase_add_loop_test(errors, test_http_broken_answers_close, 0, 3);
    tcase_add_test(core, test_http_destroy_with_everything_open);
    tcase_add_test(core, test_http_sleeps_when_there_is_nothing_to_do);
    tcase_add_test(errors, test_http_stream_hangup);
    tcase_add_test(oom, test_http_survives_failing_allocations);
    tcase_add_test(threads, test_http_answers_from_a_thread);
    tcase_add_test(threads, test_http_call_is_freed_on_another_thread);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(make_suite());
    int n_failed;

    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
