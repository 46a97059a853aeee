/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of what of an evaluation needs no server of its own: the sample (cli/eval_run.h), the first
 * pass, the reports (cli/eval_report.h), the progress line (cli/progress.h) and words of others
 * (cli/cli.h); and a whole run, cli/ask_many.h included, without memory. check_eval.py has the
 * rest.
 */
#include "cli/eval_run.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "tests/support/support.h"

START_TEST(test_sample_is_even_and_exact)
{
    static const uint64_t sizes[] = {1, 2, 3, 7, 100, 999, 5000};

    for (size_t s = 0; s < ENSO_ARRAY_SIZE(sizes); s++) {
        for (uint64_t sample = 1; sample <= sizes[s] + 1; sample = sample * 3 / 2 + 1) {
            uint64_t n = 0, last = 0, step = sizes[s] / ENSO_MIN(sample, sizes[s]);

            for (uint64_t i = 0; i < sizes[s]; i++) {
                if (!enso_eval_in_sample(i, sizes[s], sample))
                    continue;
                ck_assert(n == 0 || (i - last >= step && i - last <= step + 1));
                last = i;
                n++;
            }
            ck_assert_uint_eq(n, ENSO_MIN(sample, sizes[s]));
        }
    }
    ck_assert(enso_eval_in_sample(3, 10, 0));
    ck_assert(enso_eval_in_sample(UINT64_MAX - 1, UINT64_MAX, UINT64_MAX - 1)); /* no overflow */
}
END_TEST

/* A result of two classes, one mistake, one problem. */
static void fill(struct enso_eval_result *r, const char *names)
{
    struct enso_error err = {0};
    json_t *labels = json_loads(names, 0, NULL);

    *r = (struct enso_eval_result){.model = "m",
                                   .task = "text-classification",
                                   .set = "x.csv",
                                   .concurrency = 4,
                                   .items = 5,
                                   .answered = 4,
                                   .failed = 1,
                                   .skipped = 2,
                                   .seconds = 2,
                                   .n_problems = 1,
                                   .problems = {{"line \x1b[31m 7", "\"bad\" text"}}};
    ENSO_TEST_OK(enso_labels_init(&r->labels, labels, &err), &err);
    ENSO_TEST_OK(enso_confusion_init(&r->confusion, r->labels.n, &err), &err);
    ENSO_TEST_OK(enso_latency_init(&r->latency, &err), &err);
    enso_confusion_add(&r->confusion, 0, 0);
    enso_confusion_add(&r->confusion, 0, 0);
    enso_confusion_add(&r->confusion, 0, 1);
    enso_confusion_add(&r->confusion, 1, 1);
    for (int i = 0; i < 4; i++)
        enso_latency_record(&r->latency, 2 * ENSO_NS_PER_MS);
    json_decref(labels);
}

static void release(struct enso_eval_result *r)
{
    enso_labels_done(&r->labels);
    enso_confusion_done(&r->confusion);
    enso_latency_done(&r->latency);
}

START_TEST(test_report_json)
{
    static const char expected[] =
        "{\"model\":\"m\",\"task\":\"text-classification\",\"items\":5,\"answered\":4,"
        "\"failed\":1,\"skipped\":2,\"accuracy\":0.75,"
        "\"macro\":{\"precision\":0.75,\"recall\":0.8333333333333333,\"f1\":0.7333333333333334},"
        "\"classes\":[{\"label\":\"good\",\"support\":3,\"predicted\":2,\"correct\":2,"
        "\"precision\":1.0,\"recall\":0.6666666666666666,\"f1\":0.8},"
        "{\"label\":\"b\xc3\xa4\\\"d\",\"support\":1,\"predicted\":2,\"correct\":1,"
        "\"precision\":0.5,\"recall\":1.0,\"f1\":0.6666666666666666}],"
        "\"confusion\":[[2,1],[0,1]],"
        "\"worst\":[{\"truth\":\"good\",\"answer\":\"b\xc3\xa4\\\"d\",\"count\":1}],"
        "\"seconds\":2.0,\"throughput\":2.0,\"latency_ms\":{\"mean\":2.0,\"p50\":2.0,\"p90\":2.0,"
        "\"p95\":2.0,\"p99\":2.0,\"max\":2.0},"
        "\"problems\":[{\"item\":\"line \\u001b[31m 7\",\"error\":\"\\\"bad\\\" text\"}]}\n";
    struct enso_eval_result r;
    struct enso_buffer b = ENSO_BUFFER_INIT;

    fill(&r, "[\"good\",\"b\\u00e4\\\"d\"]");
    enso_eval_report_json(&r, &b);
    ck_assert(!b.failed);
    ck_assert_str_eq(b.data, expected);
    enso_buffer_done(&b);
    release(&r);
}
END_TEST

START_TEST(test_report_text)
{
    struct enso_eval_result r;
    struct enso_buffer b = ENSO_BUFFER_INIT;

    fill(&r, "[\"good\",\"a label that is much longer than any table should show it\"]");
    enso_eval_report_text(&r, 80, &b);
    ck_assert(!b.failed);
    ENSO_TEST_CONTAINS(b.data, "m on x.csv: 5 items, 2 labels\n");
    ENSO_TEST_CONTAINS(b.data, "  accuracy     75.00 %  (3 of 4)\n");
    ENSO_TEST_CONTAINS(b.data, "precision 75.00 %, recall 83.33 %, F1 73.33 %\n");
    ENSO_TEST_CONTAINS(b.data, "a label that is much longer th..        1        2    50.00 %");
    ENSO_TEST_CONTAINS(b.data, "\n 0 good                  2  1\n 1 a label that is mu..  .  1\n");
    ENSO_TEST_CONTAINS(b.data, "       1  good answered as a label that is");
    ENSO_TEST_CONTAINS(b.data, "\nProblems\n  line ?[31m 7: \"bad\" text\n"); /* no escapes */
    ENSO_TEST_CONTAINS(b.data, "left out    2\n");
    enso_buffer_clear(&b);
    enso_eval_report_text(&r, 120, &b); /* the whole label where there is room */
    ENSO_TEST_CONTAINS(b.data, "\na label that is much longer than any table should show it  ");
    enso_buffer_clear(&b);
    enso_eval_report_text(&r, 50, &b);
    ENSO_TEST_CONTAINS(b.data, "\na label that i..  ");
    enso_buffer_clear(&b);
    r.interrupted = true;
    r.failed = 30;
    enso_eval_report_text(&r, 20, &b);
    ENSO_TEST_CONTAINS(b.data, "INTERRUPTED");
    ENSO_TEST_CONTAINS(b.data, "Problems (the first 1 of 30)");
    ck_assert_ptr_null(strstr(b.data, "Confusion")); /* too narrow */
    enso_buffer_clear(&b);
    r.answered = 0; /* then there are no figures */
    enso_eval_report_text(&r, 80, &b);
    ENSO_TEST_CONTAINS(b.data, "  answered    0 in 2.00 s");
    ENSO_TEST_CONTAINS(b.data, "Problems");
    ck_assert_ptr_null(strstr(b.data, "accuracy"));
    ck_assert_ptr_null(strstr(b.data, "latency"));
    ck_assert_ptr_null(strstr(b.data, "Class"));
    enso_buffer_done(&b);
    release(&r);
}
END_TEST

START_TEST(test_words_of_others)
{
    char text[] = "a\x1b[31m \x9b"
                  "31m \xc2\x9b"
                  "31m \xc3\xa4 \xe2\x82\xac\x7f \xe2\x82";
    char cut[8];

    enso_cli_clean(text);
    ck_assert_str_eq(text, "a?[31m ?31m ?\?31m \xc3\xa4 \xe2\x82\xac? ??");
    enso_cli_cut(cut, sizeof cut, "seven77");
    ck_assert_str_eq(cut, "seven77");
    enso_cli_cut(cut, sizeof cut, "eight888");
    ck_assert_str_eq(cut, "eight..");
    enso_cli_cut(cut, sizeof cut, "x\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"); /* at a character */
    ck_assert_str_eq(cut, "x\xe2\x82\xac..");
    enso_cli_cut(cut, sizeof cut, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80");
    ck_assert_str_eq(cut, "..");
}
END_TEST

static void scan(const char *text, enum enso_status status, const char *part)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/x.csv", dir);
    struct enso_eval_result r;
    struct enso_eval_spec spec = {.set = {.path = path}};
    struct enso_error err = {0};

    enso_test_write_file(path, text, strlen(text));
    fill(&r, "[\"good\",\"bad\"]");
    r.items = r.skipped = 0;
    spec.set.labels = &r.labels;
    ck_assert_int_eq(enso_eval_scan(&spec, &r, &err), status);
    if (status == ENSO_OK)
        ck_assert_uint_eq(r.items, 3);
    else
        ENSO_TEST_CONTAINS(err.message, part);
    release(&r);
    free(path);
    enso_test_remove_dir(dir);
}

START_TEST(test_scan)
{
    scan("text,label\na,good\nb,BAD\nc,1\n", ENSO_OK, "");
    scan("text,label\na,good\nb,fine\nc,BAD\nd,poor\ne,fine\n", ENSO_INVALID,
         "line 3: the model has no label 'fine' (3 items with unknown labels; others: 'poor'); its "
         "2: 'good', 'bad'; give --map FILE");
    scan("say,mood\na,good\nb,1\nc,card_payment_with_a_long_name_and_no_end\n", ENSO_INVALID,
         "line 1: the model has no label 'mood' (2 items with unknown labels; others: "
         "'card_payment_with_a_long_name_and..'); its 2: 'good', 'bad'; name its column "
         "(--label-column NAME) if there is a header, or give --map FILE with lines 'label of the "
         "set,label of the model'");
    scan("text,label\n", ENSO_INVALID, "holds no labelled items");
    scan("text,label\na,good\n\"b,bad\n", ENSO_INVALID, "line 3: a quoted field has no end");
}
END_TEST

START_TEST(test_scan_stopped)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/x.csv", dir);
    static const volatile int stop = 1;
    struct enso_eval_result r;
    struct enso_eval_spec spec = {.set = {.path = path}, .stop = &stop};
    struct enso_error err = {0};

    enso_test_write_file(path, "a,good\n", 7);
    fill(&r, "[\"good\",\"bad\"]");
    ck_assert_int_eq(enso_eval_scan(&spec, &r, &err), ENSO_CANCELLED);
    ck_assert_str_eq(err.message, "");
    release(&r);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

START_TEST(test_progress_line)
{
    struct enso_progress p;
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_progress_init(&p, 200, 10 * ENSO_NS_PER_S);
    enso_progress_write(&p, 50, "note", 12 * ENSO_NS_PER_S, &b);
    ck_assert_str_eq(b.data, "[######                  ] 50/200  25.0/s  6 s left  note");
    enso_buffer_clear(&b);
    enso_progress_write(&p, 0, "", 10 * ENSO_NS_PER_S, &b);
    ck_assert_str_eq(b.data, "[                        ] 0/200");
    enso_buffer_clear(&b);
    enso_progress_write(&p, 200, "", 1000 * ENSO_NS_PER_S, &b);
    ENSO_TEST_CONTAINS(b.data, "[########################] 200/200  0.2/s  0 s left");
    enso_buffer_clear(&b);
    p.total = 20000;
    enso_progress_write(&p, 10, "", 110 * ENSO_NS_PER_S, &b);
    ENSO_TEST_CONTAINS(b.data, "56 h left");
    enso_buffer_clear(&b);
    p.total = 0;
    enso_progress_write(&p, 10, "items found", 110 * ENSO_NS_PER_S, &b);
    ck_assert_str_eq(b.data, "10  items found");
    enso_buffer_clear(&b);
    p.columns = 5;
    enso_progress_write(&p, 10, "items found", 110 * ENSO_NS_PER_S, &b);
    ck_assert_str_eq(b.data, "10  "); /* a wrapped line could not be wiped */
    enso_buffer_clear(&b);
    p.total = 200;
    p.columns = 40;
    enso_progress_write(&p, 50, "", 12 * ENSO_NS_PER_S, &b);
    ck_assert_str_eq(b.data, "50/200  25.0/s  6 s left"); /* no room for a bar */
    enso_buffer_done(&b);
}
END_TEST

/* --- a run against the smallest server -----------------------------------------------------------
 */

struct server {
    int listener;
    pthread_t thread;
    char url[64];
};

/* Answers each request with the label "good"; requests here are small and come in one piece. */
static void *serve(void *user)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n"
                                 "{\"data\":[{\"label\":\"good\"}]}";
    struct server *server = user;
    int fd;

    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        char request[4096];

        while (recv(fd, request, sizeof request, 0) > 0)
            (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL); /* clients may leave */
        (void)close(fd);
    }
    return NULL;
}

static void start(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(server->listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(server->listener, 16), 0);
    ck_assert_int_eq(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d/v1/classify",
                   ntohs(address.sin_port));
    ck_assert_int_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
    ck_assert_int_eq(shutdown(server->listener, SHUT_RDWR), 0);
    ck_assert_int_eq(pthread_join(server->thread, NULL), 0);
    (void)close(server->listener);
}

static enum enso_status evaluate(void *context, struct enso_error *err)
{
    struct enso_eval_spec *spec = context;
    struct enso_eval_result *r = calloc(1, sizeof *r);
    json_t *names = json_loads("[\"good\",\"bad\"]", 0, NULL);
    enum enso_status st;

    ck_assert(r != NULL && names != NULL);
    r->model = "m";
    r->concurrency = 1;
    st = enso_labels_init(&r->labels, names, err);
    spec->set.labels = &r->labels;
    if (st == ENSO_OK)
        st = enso_confusion_init(&r->confusion, 2, err);
    if (st == ENSO_OK)
        st = enso_latency_init(&r->latency, err);
    if (st == ENSO_OK)
        st = enso_eval_scan(spec, r, err);
    if (st == ENSO_OK)
        st = enso_eval_run(spec, r, err);
    if (st == ENSO_OK) {
        ck_assert_uint_eq(r->answered, 3);
        ck_assert_uint_eq(enso_confusion_count(&r->confusion, 0, 0), 2);
        ck_assert_uint_eq(enso_confusion_count(&r->confusion, 1, 0), 1);
    }
    release(r);
    free(r);
    json_decref(names);
    return st;
}

START_TEST(test_run_out_of_memory)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/x.csv", dir);
    static const char rows[] = "a,good\n\"b \"\"\n\",good\nc,bad\n";
    struct server server;
    struct enso_eval_spec spec = {.set = {.path = path}, .timeout_ns = 20 * ENSO_NS_PER_S};

    enso_test_write_file(path, rows, sizeof rows - 1);
    start(&server);
    spec.url = spec.server = server.url;
    ck_assert_uint_gt(enso_test_oom_sweep(evaluate, &spec), 20);
    stop(&server);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/eval_run");
    TCase *core = tcase_create("core"), *oom = tcase_create("oom");

    tcase_add_test(core, test_sample_is_even_and_exact);
    tcase_add_test(core, test_report_json);
    tcase_add_test(core, test_report_text);
    tcase_add_test(core, test_words_of_others);
    tcase_add_test(core, test_scan);
    tcase_add_test(core, test_scan_stopped);
    tcase_add_test(core, test_progress_line);
    tcase_add_test(oom, test_run_out_of_memory);
    suite_add_tcase(s, core);
    suite_add_tcase(s, oom);
    return s;
}
ENSO_TEST_MAIN(suite)
