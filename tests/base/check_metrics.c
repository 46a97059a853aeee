/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/metrics.h: both formats to the letter, escaping, sharing and releasing of children,
 * counting from threads during scrapes, and promtool's opinion where it is installed.
 */
#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "tests/support/support.h"

static struct enso_metrics *metrics;
static struct enso_error err;

static void set_up(void)
{
    metrics = enso_metrics_create();
    ck_assert_ptr_nonnull(metrics);
    memset(&err, 0, sizeof err);
}

static void tear_down(void)
{
    enso_metrics_destroy(metrics);
}

static struct enso_metrics_family *add(const struct enso_metrics_spec *spec)
{
    struct enso_metrics_family *f = enso_metrics_add(metrics, spec, &err);

    ck_assert_msg(f != NULL, "%s", err.message);
    return f;
}

static const char *page(enum enso_metrics_format format)
{
    static char text[1 << 16];
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_metrics_write(metrics, format, &b);
    ck_assert(!b.failed);
    ck_assert_uint_lt(b.size, sizeof text);
    memcpy(text, b.size != 0 ? b.data : "", b.size + 1);
    enso_buffer_done(&b);
    return text;
}

static double read_value(void *context)
{
    return *(double *)context;
}

static void fill(void)
{
    static double seconds = 1.5;
    static const double bounds[] = {0.5, 1, 2.5};
    struct enso_metrics_family *f =
        add(&(struct enso_metrics_spec){.type = ENSO_METRICS_COUNTER,
                                        .name = "t_requests_total",
                                        .help = "Requests\nanswered \\ \"all\".",
                                        .labels = {"model", "code"}});
    struct enso_counter *c = enso_metrics_counter(f, (const char *[]){"a\"b\\c\nd", "200"});
    struct enso_gauge *g;
    struct enso_histogram *h;

    enso_counter_add(c, 3);
    c = enso_metrics_counter(f, (const char *[]){"\xC3\xA9\xFF", "404"});
    enso_counter_add(c, UINT64_C(1) << 60);
    f = add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_COUNTER, .name = "t_cpu_seconds_total", .help = "Time."});
    ck_assert(enso_metrics_callback(f, NULL, read_value, &seconds));
    f = add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_GAUGE, .name = "t_queue_items", .help = "Waiting."});
    g = enso_metrics_gauge(f, NULL);
    enso_gauge_set(g, 5);
    enso_gauge_add(g, -7);
    f = add(&(struct enso_metrics_spec){.type = ENSO_METRICS_HISTOGRAM,
                                        .name = "t_duration_seconds",
                                        .help = "How long.",
                                        .labels = {"model"},
                                        .buckets = bounds,
                                        .n_buckets = 3});
    h = enso_metrics_histogram(f, (const char *[]){"m"});
    enso_histogram_observe(h, 0.5); /* a bound belongs to its bucket */
    enso_histogram_observe(h, 0.75);
    enso_histogram_observe(h, 2);
    enso_histogram_observe(h, 100);
    enso_histogram_observe_ns(h, 250000000);
    (void)add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_GAUGE, .name = "t_empty", .help = "No child: not on the page."});
}

START_TEST(test_metrics_text)
{
    fill();
    ck_assert_str_eq(page(ENSO_METRICS_TEXT),
                     "# HELP t_requests_total Requests\\nanswered \\\\ \"all\".\n"
                     "# TYPE t_requests_total counter\n"
                     "t_requests_total{model=\"a\\\"b\\\\c\\nd\",code=\"200\"} 3\n"
                     "t_requests_total{model=\"\xC3\xA9\xEF\xBF\xBD\",code=\"404\"} "
                     "1152921504606846976\n"
                     "# HELP t_cpu_seconds_total Time.\n"
                     "# TYPE t_cpu_seconds_total counter\n"
                     "t_cpu_seconds_total 1.5\n"
                     "# HELP t_queue_items Waiting.\n"
                     "# TYPE t_queue_items gauge\n"
                     "t_queue_items -2\n"
                     "# HELP t_duration_seconds How long.\n"
                     "# TYPE t_duration_seconds histogram\n"
                     "t_duration_seconds_bucket{model=\"m\",le=\"0.5\"} 2\n"
                     "t_duration_seconds_bucket{model=\"m\",le=\"1.0\"} 3\n"
                     "t_duration_seconds_bucket{model=\"m\",le=\"2.5\"} 4\n"
                     "t_duration_seconds_bucket{model=\"m\",le=\"+Inf\"} 5\n"
                     "t_duration_seconds_sum{model=\"m\"} 103.5\n"
                     "t_duration_seconds_count{model=\"m\"} 5\n");
    ck_assert_str_eq(enso_metrics_content_type(ENSO_METRICS_TEXT),
                     "text/plain; version=0.0.4; charset=utf-8");
}
END_TEST

START_TEST(test_metrics_openmetrics)
{
    const char *text;

    fill();
    text = page(ENSO_METRICS_OPENMETRICS);
    ENSO_TEST_CONTAINS(text, "# HELP t_requests Requests\\nanswered \\\\ \\\"all\\\".\n"
                             "# TYPE t_requests counter\n"
                             "t_requests_total{model=");
    ENSO_TEST_CONTAINS(text, "# TYPE t_queue_items gauge\n");
    ENSO_TEST_CONTAINS(text, "# TYPE t_duration_seconds histogram\n");
    ck_assert_str_eq(text + strlen(text) - 6, "# EOF\n");
    ENSO_TEST_CONTAINS(enso_metrics_content_type(ENSO_METRICS_OPENMETRICS),
                       "application/openmetrics-text; version=1.0.0");
}
END_TEST

START_TEST(test_metrics_special_values)
{
    double value = NAN;
    struct enso_metrics_family *f = add(
        &(struct enso_metrics_spec){.type = ENSO_METRICS_GAUGE, .name = "t_value", .help = "x"});

    ck_assert(enso_metrics_callback(f, NULL, read_value, &value));
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "\nt_value NaN\n");
    value = INFINITY;
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "\nt_value +Inf\n");
    value = -INFINITY;
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "\nt_value -Inf\n");
    value = 1e300;
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "\nt_value 1e+300\n");
    value = 1790000000;
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "\nt_value 1790000000\n");
}
END_TEST

START_TEST(test_metrics_children_are_shared_and_released)
{
    static const struct enso_metrics_spec spec = {
        .type = ENSO_METRICS_GAUGE, .name = "t_loaded", .help = "x", .labels = {"model"}};
    struct enso_metrics_family *f = add(&spec);
    struct enso_gauge *a = enso_metrics_gauge(f, (const char *[]){"a"});
    struct enso_gauge *b = enso_metrics_gauge(f, (const char *[]){"b"});
    struct enso_gauge *again = enso_metrics_gauge(add(&spec), (const char *[]){"a"});

    ck_assert_ptr_eq(a, again);
    ck_assert_ptr_ne(a, b);
    enso_gauge_set(a, 1);
    enso_gauge_release(f, a);
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "t_loaded{model=\"a\"} 1\n");
    enso_gauge_release(f, a);
    ck_assert_ptr_null(strstr(page(ENSO_METRICS_TEXT), "model=\"a\""));
    enso_gauge_release(f, b);
    ck_assert_str_eq(page(ENSO_METRICS_TEXT), "");
    a = enso_metrics_gauge(f, (const char *[]){"c"}); /* the list's end is still right */
    b = enso_metrics_gauge(f, (const char *[]){"d"});
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "{model=\"c\"} 0\nt_loaded{model=\"d\"} 0\n");
    enso_gauge_release(f, b);
    b = enso_metrics_gauge(f, (const char *[]){"e"});
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "{model=\"c\"} 0\nt_loaded{model=\"e\"} 0\n");
    enso_gauge_release(f, NULL);
}
END_TEST

START_TEST(test_metrics_callbacks_are_released)
{
    double one = 1, two = 2;
    struct enso_metrics_family *f = add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_GAUGE, .name = "t_x", .help = "x", .labels = {"a", "b"}});

    ck_assert(enso_metrics_callback(f, (const char *[]){"1", "\""}, read_value, &one));
    ck_assert(enso_metrics_callback(f, (const char *[]){"1", "2"}, read_value, &two));
    enso_metrics_callback_release(f, (const char *[]){"1", "\""});
    ck_assert_ptr_null(strstr(page(ENSO_METRICS_TEXT), "} 1\n"));
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "t_x{a=\"1\",b=\"2\"} 2\n");
    enso_metrics_callback_release(f, (const char *[]){"no", "such"});
}
END_TEST

/* As many as a classifier may have labels. */
START_TEST(test_metrics_many_children)
{
    struct enso_metrics_family *f = add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_COUNTER, .name = "t_l_total", .help = "x", .labels = {"label"}});
    struct enso_counter *counters[3000];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i++) {
            char label[16];
            const char *values[] = {label};
            struct enso_counter *c;

            snprintf(label, sizeof label, "%d", i);
            c = enso_metrics_counter(f, values);
            if (c == NULL || (round == 1 && c != counters[i]))
                ck_abort_msg("%d", i);
            counters[i] = c;
        }
    }
}
END_TEST

START_TEST(test_metrics_refuses_bad_specs)
{
    static const double descending[] = {2, 1};
    static const struct enso_metrics_spec bad[] = {
        {.type = ENSO_METRICS_GAUGE, .name = "", .help = "x"},
        {.type = ENSO_METRICS_GAUGE, .name = "1x", .help = "x"},
        {.type = ENSO_METRICS_GAUGE, .name = "a b", .help = "x"},
        {.type = ENSO_METRICS_GAUGE, .name = "a_total", .help = "x"},
        {.type = ENSO_METRICS_COUNTER, .name = "a", .help = "x"},
        {.type = ENSO_METRICS_GAUGE, .name = "a", .help = "x", .labels = {"le"}},
        {.type = ENSO_METRICS_GAUGE, .name = "a", .help = "x", .labels = {"__x"}},
        {.type = ENSO_METRICS_GAUGE, .name = "a", .help = "x", .labels = {"a:b"}},
        {.type = ENSO_METRICS_HISTOGRAM, .name = "a", .help = "x"},
        {.type = ENSO_METRICS_HISTOGRAM,
         .name = "a",
         .help = "x",
         .buckets = descending,
         .n_buckets = 2},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++) {
        enso_error_clear(&err);
        ck_assert_ptr_null(enso_metrics_add(metrics, &bad[i], &err));
        ck_assert_int_eq(err.status, ENSO_INVALID);
    }
    (void)add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_GAUGE, .name = "x", .help = "x", .labels = {"a"}});
    enso_error_clear(&err);
    ck_assert_ptr_null(
        enso_metrics_add(metrics,
                         &(struct enso_metrics_spec){
                             .type = ENSO_METRICS_GAUGE, .name = "x", .help = "x", .labels = {"b"}},
                         &err));
    ENSO_TEST_CONTAINS(err.message, "exists with another");
}
END_TEST

/* Value of an unlabelled sample on the page. */
static double sample(const char *text, const char *name)
{
    char *line = enso_test_format("\n%s ", name);
    const char *at = strstr(text, line);
    double value;

    ck_assert_msg(at != NULL, "no %s", name);
    value = strtod(at + strlen(line), NULL);
    free(line);
    return value;
}

START_TEST(test_metrics_process)
{
    const char *text;

    enso_error_clear(&err);
    ENSO_TEST_OK(enso_metrics_add_process(metrics, &err), &err);
    ENSO_TEST_OK(enso_metrics_add_build_info(metrics, "t_build_info",
                                             (const char *[]){"version", "isa", NULL},
                                             (const char *[]){"0.1.0", "avx2"}, &err),
                 &err);
    text = page(ENSO_METRICS_TEXT);
    ENSO_TEST_CONTAINS(text, "t_build_info{version=\"0.1.0\",isa=\"avx2\"} 1\n");
    ck_assert_double_gt(sample(text, "process_resident_memory_bytes"), 100e3);
    ck_assert_double_ge(sample(text, "process_virtual_memory_bytes"),
                        sample(text, "process_resident_memory_bytes"));
    ck_assert_double_ge(sample(text, "process_open_fds"), 3);
    ck_assert_double_gt(sample(text, "process_max_fds"), 3);
    ck_assert_double_ge(sample(text, "process_threads"), 1);
    ck_assert_double_lt(sample(text, "process_threads"), 50);
    ck_assert_double_ge(sample(text, "process_cpu_seconds_total"), 0);
    ck_assert_double_gt(sample(text, "process_start_time_seconds"), 1.6e9);
    ck_assert_double_lt(fabs(sample(text, "process_start_time_seconds") - (double)time(NULL)), 600);
}
END_TEST

START_TEST(test_metrics_promtool_agrees)
{
    FILE *promtool;

    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        printf("skipped: promtool is not installed (Debian's prometheus)\n");
        return;
    }
    fill();
    ENSO_TEST_OK(enso_metrics_add_process(metrics, &err), &err);
    promtool = popen("promtool check metrics", "w");
    ck_assert_ptr_nonnull(promtool);
    fputs(page(ENSO_METRICS_TEXT), promtool);
    ck_assert_int_eq(pclose(promtool), 0);
}
END_TEST

static atomic_bool stop;
static struct enso_counter *shared_counter;
static struct enso_histogram *shared_histogram;

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        enso_counter_add(shared_counter, 1);
        enso_histogram_observe(shared_histogram, i % 4);
    }
    return NULL;
}

static void *scrape(void *family)
{
    while (!atomic_load(&stop)) {
        struct enso_buffer b = ENSO_BUFFER_INIT;
        struct enso_gauge *g = enso_metrics_gauge(family, (const char *[]){"x"});

        enso_metrics_write(metrics, ENSO_METRICS_OPENMETRICS, &b);
        enso_buffer_done(&b);
        enso_gauge_release(family, g);
    }
    return NULL;
}

START_TEST(test_metrics_threads)
{
    static const double bounds[] = {0, 1, 2};
    pthread_t counters[4], scraper;
    struct enso_metrics_family *gauges;

    shared_counter =
        enso_metrics_counter(add(&(struct enso_metrics_spec){
                                 .type = ENSO_METRICS_COUNTER, .name = "c_total", .help = "x"}),
                             NULL);
    shared_histogram =
        enso_metrics_histogram(add(&(struct enso_metrics_spec){.type = ENSO_METRICS_HISTOGRAM,
                                                               .name = "h",
                                                               .help = "x",
                                                               .buckets = bounds,
                                                               .n_buckets = 3}),
                               NULL);
    gauges = add(&(struct enso_metrics_spec){
        .type = ENSO_METRICS_GAUGE, .name = "g", .help = "x", .labels = {"a"}});
    atomic_store(&stop, false);
    pthread_create(&scraper, NULL, scrape, gauges);
    for (int i = 0; i < 4; i++)
        pthread_create(&counters[i], NULL, count, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(counters[i], NULL);
    atomic_store(&stop, true);
    pthread_join(scraper, NULL);
    ck_assert_uint_eq(enso_counter_get(shared_counter), 80000);
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "h_bucket{le=\"1.0\"} 40000\n");
    ENSO_TEST_CONTAINS(page(ENSO_METRICS_TEXT), "h_sum 120000\nh_count 80000\n");
}
END_TEST

static enum enso_status build(void *context, struct enso_error *error)
{
    struct enso_metrics *m = enso_metrics_create();
    struct enso_buffer b = ENSO_BUFFER_INIT;
    enum enso_status st;

    (void)context;
    if (m == NULL)
        return enso_error_no_memory(error, "metrics");
    st = enso_metrics_add_process(m, error);
    if (st == ENSO_OK)
        st = enso_metrics_add_build_info(m, "b", (const char *[]){"v", NULL}, (const char *[]){"1"},
                                         error);
    for (int i = 0; i < 20 && st == ENSO_OK; i++) {
        struct enso_metrics_family *f =
            enso_metrics_add(m,
                             &(struct enso_metrics_spec){.type = ENSO_METRICS_HISTOGRAM,
                                                         .name = "h",
                                                         .help = "x",
                                                         .labels = {"l"},
                                                         .buckets = enso_metrics_sizes,
                                                         .n_buckets = 16},
                             error);
        char label[16];
        const char *values[] = {label};

        snprintf(label, sizeof label, "%d", i);
        if (f == NULL)
            st = ENSO_NO_MEMORY;
        else if (enso_metrics_histogram(f, values) == NULL)
            st = enso_error_no_memory(error, "a child");
    }
    if (st == ENSO_OK) {
        enso_metrics_write(m, ENSO_METRICS_TEXT, &b);
        st = b.failed ? enso_error_no_memory(error, "the page") : ENSO_OK;
    }
    enso_buffer_done(&b);
    enso_metrics_destroy(m);
    return st;
}

START_TEST(test_metrics_oom)
{
    ck_assert_uint_gt(enso_test_oom_sweep(build, NULL), 50);
    enso_metrics_destroy(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/metrics");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");
    TCase *threads = tcase_create("threads"), *oom = tcase_create("oom");

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(errors, set_up, tear_down);
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(core, test_metrics_text);
    tcase_add_test(core, test_metrics_openmetrics);
    tcase_add_test(core, test_metrics_special_values);
    tcase_add_test(core, test_metrics_children_are_shared_and_released);
    tcase_add_test(core, test_metrics_callbacks_are_released);
    tcase_add_test(core, test_metrics_many_children);
    tcase_add_test(core, test_metrics_process);
    tcase_add_test(core, test_metrics_promtool_agrees);
    tcase_add_test(errors, test_metrics_refuses_bad_specs);
    tcase_add_test(threads, test_metrics_threads);
    tcase_add_test(oom, test_metrics_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, threads);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
