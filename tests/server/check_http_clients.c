/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP transport against clients that hang up, send too much, are too slow or frame their
 * requests badly. Time limits are options, cut to 50-200 ms.
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

/* hang-ups ---------------------------------------------------------------------------------- */

START_TEST(test_http_hangup_while_waiting)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/wait", "5", "hello"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    client_close(&c);
    ck_assert(harness_until(&h, &h.n_done, 1, 2000));
    ck_assert_uint_eq(h.n_gone, 1);
    ck_assert_int_eq(h.done.status, 0);
    ck_assert(enso_http_call_is_gone(h.waiting[0]));
    ck_assert_uint_eq(enso_http_n_pending(h.http), 0);
    harness_run(&h, 5);
    ck_assert_uint_eq(enso_http_n_connections(h.http), 0);
    harness_answer(&h, 0, 200, "too late"); /* harmless */
    ck_assert_uint_eq(h.n_gone, 1);
    ck_assert_uint_eq(h.n_done, 1);
}
END_TEST

START_TEST(test_http_half_close_while_waiting)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/wait"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    ck_assert_int_eq(shutdown(c.fd, SHUT_WR), 0);
    ck_assert(harness_until(&h, &h.n_gone, 1, 2000));
    ck_assert(client_is_closed(&h, &c, 2000));
    client_close(&c);
}
END_TEST

START_TEST(test_http_half_close_after_a_quick_request_is_answered)
{
    static const char text[] = GET("/echo");
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    ck_assert_int_eq(send(c.fd, text, sizeof text - 1, 0), sizeof text - 1);
    ck_assert_int_eq(shutdown(c.fd, SHUT_WR), 0);
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 200);
    reply_done(&r);
    client_close(&c);
}
END_TEST

START_TEST(test_http_hangup_right_after_a_large_body)
{
    size_t size = 1000000, last = 100000;
    char *text = calloc(1, size), head[128];
    struct client c;

    harness_start(&h);
    for (unsigned i = 0; i < 3; i++) {
        c = harness_connect(&h);
        (void)snprintf(head, sizeof head,
                       "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
        client_puts(&h, &c, head);
        client_send(&h, &c, text, size - last);
        harness_run(&h, 5);
        /* The rest and the end are seen in one turn: the hang-up before the body is whole. */
        ck_assert_int_eq(send(c.fd, text, last, 0), (ssize_t)last);
        ck_assert_int_eq(shutdown(c.fd, SHUT_WR), 0); /* what a close looks like over TCP */
        ck_assert(harness_until(&h, &h.n_done, i + 1, 1000));
        client_close(&c);
        ck_assert_uint_eq(h.n_call, i + 1);
        ck_assert_uint_eq(h.n_gone, i + 1);
        ck_assert_uint_eq(enso_http_n_pending(h.http), 0);
    }
    free(text);
}
END_TEST

START_TEST(test_http_hangup_in_the_middle_of_head_and_body)
{
    static const char *const texts[] = {"GET /ec", "GET /echo HTTP/1.1\r\nHo",
                                        POST("/echo", "100", "hello"),
                                        POST("/refuse", "100", "hello")};
    struct client c;

    harness_start(&h);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(texts); i++) {
        c = harness_connect(&h);
        client_puts(&h, &c, texts[i]);
        harness_run(&h, 5);
        client_close(&c);
        harness_run(&h, 10);
        ck_assert_uint_eq(enso_http_n_connections(h.http), 0);
    }
    ck_assert_uint_eq(h.n_call, 0);
    ck_assert_uint_eq(h.n_gone, 0);
    ck_assert_uint_eq(h.n_done, 3); /* the first was no request yet */
    ck_assert_int_eq(h.done.status, 0);
}
END_TEST

START_TEST(test_http_hangup_while_a_large_answer_leaves)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/big?n=30000000"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    ck_assert_uint_ge(enso_budget_used(h.budget), 30000000);
    client_close(&c);
    ck_assert(harness_until(&h, &h.n_done, 1, 2000));
    ck_assert(!h.done.complete);
    ck_assert_uint_lt(h.done.body_bytes, 30000000);
    harness_run(&h, 5);
    ck_assert_uint_eq(enso_budget_used(h.budget), 0);
}
END_TEST

/* limits ------------------------------------------------------------------------------------ */

START_TEST(test_http_swallows_what_it_refuses)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_expect(&h, &c, POST("/small", "16", "0123456789abcdef"), 200, "0123456789abcdef");
    client_puts(&h, &c, POST("/small", "17", "0123456789abcde"));
    r = client_reply(&h, &c, false, 30);
    ck_assert_int_eq(r.status, 0); /* not before the body has come */
    client_puts(&h, &c, "fg");
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 413);
    ck_assert_ptr_nonnull(strstr(r.body, "17"));
    ck_assert_ptr_nonnull(strstr(r.body, "16"));
    ck_assert_ptr_nonnull(strstr(r.body, "invalid_request_error"));
    reply_done(&r);
    client_expect(&h, &c, POST("/refuse", "3", "abc"), 404, NULL);
    client_expect(&h, &c, GET("/refuse"), 404, NULL);
    client_expect(&h, &c, GET("/echo"), 200, ""); /* and the connection lives on */
    ck_assert_uint_eq(h.n_call, 2);
    client_close(&c);
}
END_TEST

START_TEST(test_http_refuses_long_chunked_bodies)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_expect(&h, &c,
                  "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n",
                  413, NULL);
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
}
END_TEST

START_TEST(test_http_answers_and_closes_when_a_refused_body_is_endless)
{
    char head[128], block[65536] = {0};
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    (void)snprintf(head, sizeof head,
                   "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
    client_puts(&h, &c, head);
    client_send(&h, &c, block, sizeof block);
    r = client_reply(&h, &c, false, 20);
    ck_assert_int_eq(r.status, 0); /* 64 KiB are always swallowed */
    client_send(&h, &c, block, sizeof block);
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 413);
    ck_assert_ptr_nonnull(strstr(r.head, "Connection: close"));
    ck_assert_ptr_nonnull(strstr(r.head, "Content-Type: application/json"));
    reply_done(&r);
    ck_assert(client_is_closed(&h, &c, 2000));
    for (int i = 0; i < 100; i++) /* it goes on sending all the same, and is cut */
        client_send(&h, &c, block, 4096);
    ck_assert(harness_until(&h, &h.n_done, 1, 3000));
    ck_assert_int_eq(h.done.status, 413);
    ck_assert(h.done.complete);
    client_close(&c);
}
END_TEST

START_TEST(test_http_swallows_for_a_limited_time)
{
    struct client c;
    struct reply r;

    h.options.swallow_timeout_ms = 60;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/refuse", "1000", "abc"));
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 404);
    reply_done(&r);
    ck_assert(client_is_closed(&h, &c, 2000));
    ck_assert(harness_until(&h, &h.n_done, 1, 2000));
    client_close(&c);
}
END_TEST

START_TEST(test_http_expect_continue)
{
    struct client c, d;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c,
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                "Expect: 100-continue\r\n\r\n");
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 100);
    reply_done(&r);
    client_expect(&h, &c, "hi", 200, "hi");
    client_close(&c);
    d = harness_connect(&h);
    client_puts(&h, &d,
                "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n"
                "Expect: 100-continue\r\n\r\n");
    r = client_reply(&h, &d, false, 2000); /* at once: no body will come */
    ck_assert_int_eq(r.status, 413);
    reply_done(&r);
    client_close(&d);
}
END_TEST

START_TEST(test_http_refuses_other_expectations)
{
    struct client c;

    harness_start(&h);
    c = harness_connect(&h);
    client_expect(&h, &c, "GET /echo HTTP/1.1\r\nHost: x\r\nExpect: cake\r\n\r\n", 417, NULL);
    client_close(&c);
}
END_TEST

START_TEST(test_http_bodies_count_in_the_budget)
{
    char *text = calloc(1, 200000), head[128];
    struct client c, d;
    struct reply r;

    enso_budget_destroy(h.budget);
    h.budget = h.options.budget = enso_budget_create(100000);
    harness_start(&h);
    d = harness_connect(&h); /* declares much, sends little: takes little */
    client_puts(&h, &d, POST("/echo", "9999999", "abc"));
    harness_run(&h, 5);
    ck_assert_uint_le(enso_budget_used(h.budget), 4096);
    ck_assert_uint_eq(enso_budget_refused(h.budget), 0);
    c = harness_connect(&h);
    (void)snprintf(head, sizeof head,
                   "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    client_puts(&h, &c, head);
    client_send(&h, &c, text, 200000);
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 503);
    ck_assert_ptr_nonnull(strstr(r.head, "Retry-After: 1"));
    reply_done(&r);
    ck_assert_uint_gt(enso_budget_refused(h.budget), 0);
    client_expect(&h, &c, POST("/echo", "2", "hi"), 200, "hi");
    client_close(&c);
    client_close(&d);
    harness_run(&h, 5);
    ck_assert_uint_eq(enso_budget_used(h.budget), 0);
    free(text);
}
END_TEST

START_TEST(test_http_header_bomb)
{
    struct client c;
    struct reply r;
    char *text = malloc(100000);
    size_t n;

    harness_start(&h);
    c = harness_connect(&h);
    n = (size_t)sprintf(text, "GET /echo HTTP/1.1\r\nHost: x\r\n");
    while (n < 90000)
        n += (size_t)sprintf(text + n, "X-%zu: %0200d\r\n", n, 7);
    client_send(&h, &c, text, n);
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 431);
    reply_done(&r);
    client_close(&c);
    c = harness_connect(&h);
    memset(text, 'a', 100000);
    memcpy(text, "GET /", 5);
    client_send(&h, &c, text, 100000);
    r = client_reply(&h, &c, false, 2000);
    ck_assert_int_eq(r.status, 414);
    reply_done(&r);
    client_close(&c);
    ck_assert_uint_eq(h.n_call, 0);
    free(text);
}
END_TEST

START_TEST(test_http_8_kib_of_headers_fit)
{
    struct client c;
    char text[9000];
    size_t n = (size_t)sprintf(text, "GET /echo HTTP/1.1\r\nHost: x\r\n");

    while (n < 8100)
        n += (size_t)sprintf(text + n, "X-%zu: %040d\r\n", n, 7);
    (void)sprintf(text + n, "\r\n");
    harness_start(&h);
    c = harness_connect(&h);
    client_expect(&h, &c, text, 200, "");
    client_expect(&h, &c, text, 200, "");
    client_close(&c);
}
END_TEST

START_TEST(test_http_limits_connections)
{
    struct sockaddr peer = {.sa_family = AF_UNIX};
    struct enso_error err = {0};
    struct client c[3];
    int fds[2];

    h.options.max_connections = 3;
    harness_start(&h);
    for (int i = 0; i < 3; i++)
        c[i] = harness_connect(&h);
    ck_assert(enso_http_is_full(h.http));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert_int_eq(enso_http_add_socket(h.http, fds[1], &peer, sizeof peer.sa_family, &err),
                     ENSO_OVERLOADED);
    (void)close(fds[0]);
    for (int i = 0; i < 3; i++)
        client_close(&c[i]);
    harness_run(&h, 10);
    ck_assert(!enso_http_is_full(h.http));
}
END_TEST

/* slow clients ------------------------------------------------------------------------------ */

START_TEST(test_http_cuts_slow_headers)
{
    struct client c;
    uint64_t start_ns;

    h.options.header_timeout_ms = 100;
    harness_start(&h);
    c = harness_connect(&h);
    start_ns = enso_clock_now_ns();
    client_puts(&h, &c, "GET /echo HTTP/1.1\r\n");
    for (int i = 0; i < 300 && !c.closed; i++) { /* a byte at a time does not help */
        client_puts(&h, &c, "a");
        (void)client_is_closed(&h, &c, 10);
    }
    ck_assert(c.closed);
    ck_assert_uint_ge(enso_clock_now_ns() - start_ns, 90 * ENSO_NS_PER_MS);
    ck_assert_uint_le(enso_clock_now_ns() - start_ns, 3000 * ENSO_NS_PER_MS);
    client_close(&c);
}
END_TEST

START_TEST(test_http_answers_slow_bodies_with_408)
{
    struct client c;
    struct reply r = {0};

    h.options.body_timeout_ms = 100;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/echo", "1000", ""));
    for (int i = 0; i < 100 && r.status == 0; i++) {
        client_puts(&h, &c, "a");
        r = client_reply(&h, &c, false, 10);
    }
    ck_assert_int_eq(r.status, 408);
    ck_assert_ptr_nonnull(strstr(r.body, "slow"));
    reply_done(&r);
    ck_assert(client_is_closed(&h, &c, 2000));
    client_close(&c);
    ck_assert(harness_until(&h, &h.n_done, 1, 2000));
    ck_assert_int_eq(h.done.status, 408);
    ck_assert_uint_eq(h.n_call, 0);
}
END_TEST

START_TEST(test_http_closes_idle_connections)
{
    struct client c, d;

    h.options.idle_timeout_ms = 300;
    harness_start(&h);
    c = harness_connect(&h);
    d = harness_connect(&h); /* never says anything */
    client_expect(&h, &c, GET("/echo"), 200, "");
    ck_assert(!client_is_closed(&h, &c, 50));
    ck_assert(client_is_closed(&h, &c, 3000));
    ck_assert(client_is_closed(&h, &d, 3000));
    client_close(&c);
    client_close(&d);
}
END_TEST

START_TEST(test_http_waiting_has_no_limit)
{
    struct client c;

    h.options.idle_timeout_ms = h.options.header_timeout_ms = 50;
    h.options.body_timeout_ms = h.options.write_timeout_ms = 50;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, POST("/wait", "1", "a"));
    ck_assert(!client_is_closed(&h, &c, 300));
    harness_answer(&h, 0, 200, "at last");
    client_expect(&h, &c, "", 200, "at last");
    client_close(&c);
}
END_TEST

START_TEST(test_http_cuts_stalled_readers)
{
    struct client c;

    h.options.write_timeout_ms = 100;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/big?n=20000000"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    ck_assert(harness_until(&h, &h.n_done, 1, 3000)); /* nobody reads */
    ck_assert(!h.done.complete);
    client_close(&c);
}
END_TEST

START_TEST(test_http_does_not_cut_slow_but_steady_readers)
{
    char block[30000];
    struct client c;
    size_t total = 0;

    h.options.write_timeout_ms = 300;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/big?n=1000000"));
    ck_assert(harness_until(&h, &h.n_call, 1, 2000));
    for (int i = 0; i < 200 && total < 1000000; i++) {
        ssize_t n = recv(c.fd, block, sizeof block, 0);

        total += n > 0 ? (size_t)n : 0;
        harness_run(&h, 15);
    }
    ck_assert_uint_ge(total, 1000000);
    ck_assert_uint_eq(h.n_done, 1);
    ck_assert(h.done.complete);
    client_close(&c);
}
END_TEST

/* errors: framing --------------------------------------------------------------------------- */

static const struct {
    const char *request;
    int status;
    const char *word; /* in the sentence */
} bad_requests[] = {
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\n\r\n",
     400, "both"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
     400, "both"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400,
     "more than one Content-Length"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400,
     "more than one Content-Length"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", 400, NULL},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, NULL},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n", 400, NULL},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413,
     NULL},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", 400, "name"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not supported"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
     "not supported"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400, "more than one Transfer"},
    {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"},
    {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, NULL},
    {"GET /echo HTTP/1.1\r\n\r\n", 400, "Host"},
    {"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Host"},
    {"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "NUL"},
    {"GET /a?x=%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "NUL"},
    {"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "%25"},
    {"GET /a%f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "%25"},
    {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "blank"},
    {"GET /%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n", 400, "UTF-8"},
    {"GET nothing HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path"},
    {"G(T /echo HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method"},
    {"AVERYVERYVERYLONGMETHODNAME /echo HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method"},
    {"GET /echo HTTP/3.0\r\nHost: a\r\n\r\n", 505, NULL},
    {"nonsense\r\n\r\n", 0, NULL},
};

START_TEST(test_http_refuses_bad_framing)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, bad_requests[_i].request);
    r = client_reply(&h, &c, false, 1000);
    ck_assert_msg(r.status == bad_requests[_i].status, "%d instead of %d for\n%s", r.status,
                  bad_requests[_i].status, bad_requests[_i].request);
    if (bad_requests[_i].word != NULL)
        ck_assert_msg(strstr(r.body, bad_requests[_i].word) != NULL, "%s", r.body);
    reply_done(&r);
    ck_assert_uint_eq(h.n_call, 0);
    client_close(&c);
    c = harness_connect(&h); /* and goes on */
    client_expect(&h, &c, GET("/echo"), 200, "");
    client_close(&c);
}
END_TEST

START_TEST(test_http_bad_framing_closes)
{
    struct client c;
    struct reply r;

    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c,
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
                "chunked\r\n\r\n" GET("/echo"));
    r = client_reply(&h, &c, false, 1000);
    ck_assert_int_eq(r.status, 400);
    reply_done(&r);
    r = client_reply(&h, &c, false, 1000);
    ck_assert_int_eq(r.status, 0); /* what follows is not taken for a request */
    ck_assert(r.closed);
    ck_assert_uint_eq(h.n_head, 0);
    client_close(&c);
}
END_TEST

static void format_plain(struct enso_http_call *call, struct enso_http_error *error, void *user)
{
    (void)user;
    enso_buffer_printf(error->body, "%d %s %s", error->status, enso_http_call_method(call),
                       error->message);
    error->content_type = "text/plain";
    error->headers[error->n_headers++] = (struct enso_http_header){"X-Mine", "1"};
}

START_TEST(test_http_lets_others_format_errors)
{
    struct client c;
    struct reply r;

    h.options.callbacks.format_error = format_plain;
    harness_start(&h);
    c = harness_connect(&h);
    client_puts(&h, &c, GET("/refuse"));
    r = client_reply(&h, &c, false, 1000);
    ck_assert_str_eq(r.body, "404 GET there is no such path");
    ck_assert_ptr_nonnull(strstr(r.head, "Content-Type: text/plain"));
    ck_assert_ptr_nonnull(strstr(r.head, "X-Mine: 1"));
    reply_done(&r);
    client_close(&c);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("server/http_clients");
    TCase *limits = tcase_create("limits"), *errors = tcase_create("errors");
    TCase *all[] = {limits, errors};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++) {
        tcase_add_checked_fixture(all[i], setup, teardown);
        tcase_set_timeout(all[i], 60);
        suite_add_tcase(suite, all[i]);
    }
    tcase_add_test(limits, test_http_swallows_what_it_refuses);
    tcase_add_test(limits, test_http_refuses_long_chunked_bodies);
    tcase_add_test(limits, test_http_answers_and_closes_when_a_refused_body_is_endless);
    tcase_add_test(limits, test_http_swallows_for_a_limited_time);
    tcase_add_test(limits, test_http_expect_continue);
    tcase_add_test(limits, test_http_bodies_count_in_the_budget);
    tcase_add_test(limits, test_http_header_bomb);
    tcase_add_test(limits, test_http_8_kib_of_headers_fit);
    tcase_add_test(limits, test_http_limits_connections);
    tcase_add_test(limits, test_http_cuts_slow_headers);
    tcase_add_test(limits, test_http_answers_slow_bodies_with_408);
    tcase_add_test(limits, test_http_closes_idle_connections);
    tcase_add_test(limits, test_http_waiting_has_no_limit);
    tcase_add_test(limits, test_http_cuts_stalled_readers);
    tcase_add_test(limits, test_http_does_not_cut_slow_but_steady_readers);
    tcase_add_test(errors, test_http_hangup_while_waiting);
    tcase_add_test(errors, test_http_half_close_while_waiting);
    tcase_add_test(errors, test_http_half_close_after_a_quick_request_is_answered);
    tcase_add_test(errors, test_http_hangup_right_after_a_large_body);
    tcase_add_test(errors, test_http_hangup_in_the_middle_of_head_and_body);
    tcase_add_test(errors, test_http_hangup_while_a_large_answer_leaves);
    tcase_add_test(errors, test_http_refuses_other_expectations);
    tcase_add_loop_test(errors, test_http_refuses_bad_framing, 0,
                        (int)ENSO_ARRAY_SIZE(bad_requests));
    tcase_add_test(errors, test_http_bad_framing_closes);
    tcase_add_test(errors, test_http_lets_others_format_errors);
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
