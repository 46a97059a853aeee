/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of base/log.h: the form of lines, that no value can forge one, and that a descriptor nobody
 * reads neither stops nor slows the caller.
 */
#include "ensod_build.h"

#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "tests/support/support.h"

static int pipe_fds[2];
static uint64_t dropped_before; /* the count is the process's, and CK_FORK=no runs all in one */

static uint64_t dropped(void)
{
    return enso_log_dropped() - dropped_before;
}

static void set_up(void)
{
    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    enso_log_set_fd(pipe_fds[1]);
    enso_log_set_journal(true); /* no timestamps */
    dropped_before = enso_log_dropped();
}

static void tear_down(void)
{
    enso_log_stop();
    enso_log_set_fd(-1);
    enso_log_set_level(ENSO_LOG_INFO);
    close(pipe_fds[0]);
    if (pipe_fds[1] >= 0)
        close(pipe_fds[1]);
}

/* What is in the pipe now. */
static const char *taken(void)
{
    static char text[1 << 16];
    ssize_t n;

    ck_assert_int_eq(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    n = read(pipe_fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(test_log_printf_form)
{
    enso_log(ENSO_LOG_INFO, "model loaded", "model=%s bytes=%zu share=%.2f%% x=%#x n=%-3d| p=%5u",
             "intents", (size_t)17, 12.5, 255u, 7, 42u);
    ck_assert_str_eq(taken(), "<6>msg=\"model loaded\" model=intents bytes=17 share=12.50% x=0xff "
                              "n=7  | p=   42\n");
    enso_log(ENSO_LOG_WARNING, "x", "%s", "");
    ck_assert_str_eq(taken(), "<4>msg=x \"\"\n");
    enso_log(ENSO_LOG_ERROR, "plain", "%s", "y");
    ck_assert_str_eq(taken(), "<3>msg=plain y\n");
    enso_log(ENSO_LOG_NOTICE, "a", "s=%.3s t=%.*s l=%ld ll=%lld c=%c z=%zd h=%hu", "abcdef", 2,
             "xyz", -5L, 1LL << 40, 'q', (ssize_t)-1, (unsigned short)9);
    ck_assert_str_eq(taken(), "<5>msg=a s=abc t=xy l=-5 ll=1099511627776 c=q z=-1 h=9\n");
}
END_TEST

START_TEST(test_log_typed_form)
{
    struct enso_log_line line;

    ck_assert(enso_log_line_begin(&line, ENSO_LOG_INFO, "batch"));
    enso_log_line_string(&line, "model", "a b");
    enso_log_line_string(&line, "none", NULL);
    enso_log_line_bytes(&line, "part", "abcdef", 3);
    enso_log_line_int(&line, "i", INT64_MIN);
    enso_log_line_uint(&line, "u", UINT64_MAX);
    enso_log_line_bool(&line, "yes", true);
    enso_log_line_float(&line, "f", 0.25);
    enso_log_line_ms(&line, "ms", 1234567);
    enso_log_line_ms(&line, "zero", 0);
    enso_log_line_end(&line);
    ck_assert_str_eq(taken(), "<6>msg=batch model=\"a b\" none=- part=abc i=-9223372036854775808 "
                              "u=18446744073709551615 yes=true f=0.25 ms=1.235 zero=0.000\n");
}
END_TEST

START_TEST(test_log_failure_form)
{
    struct enso_error err = {0};

    (void)enso_error_set(&err, ENSO_CORRUPT, "tensor 'w' is short");
    enso_error_param(&err, "file.bin");
    enso_log_failure(ENSO_LOG_ERROR, "model failed", &err);
    ck_assert_str_eq(taken(), "<3>msg=\"model failed\" error=\"tensor 'w' is short\" "
                              "param=file.bin\n");
    enso_log_failure(ENSO_LOG_ERROR, "x", NULL);
    ck_assert_str_eq(taken(), "<3>msg=x\n");
}
END_TEST

START_TEST(test_log_values_cannot_forge_lines)
{
    static const struct {
        const char *value, *text;
    } cases[] = {
        {"plain-./:@", "plain-./:@"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"x\nlevel=error msg=forged", "\"x\\nlevel=error msg=forged\""},
        {"q\"uote", "\"q\\\"uote\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"a=b", "\"a=b\""},
        {"\r\t\x01\x1B[31m", "\"\\r\\t\\u0001\\u001b[31m\""},
        {"\xC3\xA9t\xC3\xA9", "\"\xC3\xA9t\xC3\xA9\""},
        {"bad\xFF\xC3", "\"bad\\ufffd\\ufffd\""},
        {"\xC2\x85", "\"\\u0085\""},           /* C1 next line */
        {"\xE2\x80\xA8", "\"\\u2028\""},       /* line separator */
        {"\xE2\x80\xAEgnp", "\"\\u202egnp\""}, /* right-to-left override */
        {"\x7F", "\"\\u007f\""},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char *expected = enso_test_format("<6>msg=e v=%s\n", cases[i].text);

        enso_log(ENSO_LOG_INFO, "e", "v=%s", cases[i].value);
        ck_assert_str_eq(taken(), expected);
        free(expected);
    }
}
END_TEST

START_TEST(test_log_long_lines_lose_whole_fields)
{
    char value[5000];
    struct enso_log_line line;

    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    enso_log(ENSO_LOG_INFO, "e", "a=1 b=%s c=2", value);
    ck_assert_str_eq(taken(), "<6>msg=e a=1 cut=true\n");
    for (size_t n = 1900; n < 2100; n++) { /* around the brim */
        const char *text;
        size_t size;

        ck_assert(enso_log_line_begin(&line, ENSO_LOG_INFO, "e"));
        enso_log_line_bytes(&line, "b", value, n);
        enso_log_line_string(&line, "c", "\xC3\xA9 \n");
        enso_log_line_end(&line);
        text = taken();
        size = strlen(text);
        ck_assert_uint_le(size, ENSO_LOG_LINE_MAX + 16);
        ck_assert_int_eq(text[size - 1], '\n');
        ck_assert_ptr_eq(strchr(text, '\n'), text + size - 1);
        ck_assert(enso_utf8_valid(text, size, NULL));
    }
}
END_TEST

START_TEST(test_log_levels)
{
    enum enso_log_level level = ENSO_LOG_INFO;

    enso_log(ENSO_LOG_DEBUG, "hidden", "%s", "");
    ck_assert_str_eq(taken(), "");
    enso_log_set_level(ENSO_LOG_DEBUG);
    ck_assert(enso_log_enabled(ENSO_LOG_DEBUG));
    enso_log(ENSO_LOG_DEBUG, "seen", "a=%d", 1);
    ck_assert_str_eq(taken(), "<7>msg=seen a=1\n");
    enso_log_set_level(ENSO_LOG_ERROR);
    enso_log(ENSO_LOG_WARNING, "hidden", "a=%d", 1);
    ck_assert_str_eq(taken(), "");
    ck_assert(enso_log_level_parse("notice", &level));
    ck_assert_int_eq(level, ENSO_LOG_NOTICE);
    ck_assert(!enso_log_level_parse("loud", &level));
    ck_assert_str_eq(enso_log_level_name(ENSO_LOG_WARNING), "warning");
}
END_TEST

START_TEST(test_log_timestamps)
{
    char format[] = "ts=dddd-dd-ddTdd:dd:dd.dddZ level=info msg=e a=1\n";
    const char *text;

    enso_log_set_journal(false);
    enso_log(ENSO_LOG_INFO, "e", "a=%d", 1);
    text = taken();
    ck_assert_uint_eq(strlen(text), strlen(format));
    for (size_t i = 0; format[i] != '\0'; i++) {
        if (format[i] == 'd' && i < 28)
            ck_assert_msg(text[i] >= '0' && text[i] <= '9', "%s", text);
        else
            ck_assert_msg(text[i] == format[i], "%s", text);
    }
}
END_TEST

START_TEST(test_log_recognises_the_journal)
{
    struct stat st;
    char *stream;

    ck_assert_int_eq(fstat(pipe_fds[1], &st), 0);
    stream =
        enso_test_format("%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    enso_log_set_fd(pipe_fds[1]); /* look again */
    enso_log(ENSO_LOG_INFO, "e", "a=%d", 1);
    ck_assert_str_eq(taken(), "<6>msg=e a=1\n");
    setenv("JOURNAL_STREAM", "1:2", 1); /* somebody else's */
    enso_log_set_fd(pipe_fds[1]);
    enso_log(ENSO_LOG_INFO, "e", "a=%d", 1);
    ck_assert_int_eq(taken()[0], 't');
    unsetenv("JOURNAL_STREAM");
    free(stream);
}
END_TEST

START_TEST(test_log_writer_keeps_order)
{
    char expected[64];
    struct enso_error err = {0};

    ENSO_TEST_OK(enso_log_start(&err), &err);
    for (int i = 0; i < 200; i++) {
        enso_log(ENSO_LOG_INFO, "e", "i=%d", i);
        if (i % 50 == 0)
            usleep(8000); /* let it nap and sleep */
    }
    ck_assert(enso_log_flush(5000));

    const char *text = taken();

    for (int i = 0; i < 200; i++) {
        snprintf(expected, sizeof expected, "<6>msg=e i=%d\n", i);
        ck_assert_msg(strncmp(text, expected, strlen(expected)) == 0, "%d: %.40s", i, text);
        text += strlen(expected);
    }
    ck_assert_uint_eq(dropped(), 0);
}
END_TEST

/* The pipe is full from the start: callers go on, losses are counted, and the count is told. */
START_TEST(test_log_full_pipe_drops_and_counts)
{
    enum { LINES = 20000 };
    static char filler[4096], drain[4 << 20];
    struct enso_error err = {0};
    uint64_t start, worst = 0, n_seen = 0, n_told = 0;
    size_t size = 0;
    ssize_t n;

    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK), 0);
    while (write(pipe_fds[1], filler, sizeof filler) > 0)
        continue;
    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, 0), 0);
    ENSO_TEST_OK(enso_log_start(&err), &err);
    for (int i = 0; i < LINES; i++) {
        start = enso_clock_now_ns();
        enso_log(ENSO_LOG_INFO, "event", "i=%d filler=%s", i,
                 "0123456789012345678901234567890123456789012345678901234567890123456789");
        worst = ENSO_MAX(worst, enso_clock_now_ns() - start);
    }
    ck_assert_uint_gt(dropped(), 1000);
    ck_assert_uint_lt(worst, ENSO_NS_PER_S); /* never waits for the pipe */
    ck_assert(!enso_log_flush(50));

    /* now somebody reads */
    ck_assert_int_eq(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    start = enso_clock_now_ns();
    while (enso_clock_now_ns() - start < 20 * ENSO_NS_PER_S) {
        n = read(pipe_fds[0], drain + size, sizeof drain - 1 - size);
        if (n > 0) {
            size += (size_t)n;
            continue;
        }
        usleep(2000);
        char *told = memmem(drain, size, "msg=\"log lines dropped\" lines=", 30);
        if (told != NULL && memchr(told, '\n', size - (size_t)(told - drain)) != NULL &&
            enso_log_flush(10))
            break;
    }
    while ((n = read(pipe_fds[0], drain + size, sizeof drain - 1 - size)) > 0)
        size += (size_t)n;
    drain[size] = '\0';
    /* Losses are told whenever there is room again: once as a rule, more often on a busy machine.
     */
    for (char *p = drain; (p = memmem(p, size - (size_t)(p - drain),
                                      "msg=\"log lines dropped\" lines=", 30)) != NULL;)
        n_told += strtoull(p += 30, NULL, 10);
    for (char *p = drain + 4; p < drain + size; p++)
        n_seen += *p == '\n' && memcmp(p - 4, "6789", 4) == 0;
    ck_assert_uint_eq(n_told, dropped());
    ck_assert_uint_eq(n_seen + n_told, LINES);
}
END_TEST

START_TEST(test_log_stop_does_not_wait_for_ever)
{
    static char filler[4096];
    struct enso_error err = {0};
    uint64_t start;

    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK), 0);
    while (write(pipe_fds[1], filler, sizeof filler) > 0)
        continue;
    ENSO_TEST_OK(enso_log_start(&err), &err);
    for (int i = 0; i < 1000; i++)
        enso_log(ENSO_LOG_INFO, "e", "i=%d", i);
    start = enso_clock_now_ns();
    enso_log_stop();
    ck_assert_uint_lt(enso_clock_now_ns() - start, 6 * ENSO_NS_PER_S);
    ck_assert_uint_eq(dropped(), 1000);
    enso_log(ENSO_LOG_INFO, "direct", "i=%d", 1); /* gives up after 100 ms */
    ck_assert_uint_eq(dropped(), 1001);
}
END_TEST

START_TEST(test_log_reader_gone)
{
    struct enso_error err = {0};

    signal(SIGPIPE, SIG_IGN);
    close(pipe_fds[0]);
    ENSO_TEST_OK(enso_log_start(&err), &err);
    enso_log(ENSO_LOG_INFO, "e", "i=%d", 1);
    ck_assert(enso_log_flush(5000));
    enso_log_stop();
    ck_assert_uint_eq(dropped(), 1);
    pipe_fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}
END_TEST

START_TEST(test_log_access_file_and_reopen)
{
    char *dir = enso_test_make_dir();
    char *path = enso_test_format("%s/access.log", dir), *old = enso_test_format("%s.1", path);
    struct enso_log_line line;
    struct enso_error err = {0};
    char *text;

    ck_assert(!enso_log_access_begin(&line)); /* off by default */
    ENSO_TEST_OK(enso_log_access_open(path, &err), &err);
    ENSO_TEST_OK(enso_log_start(&err), &err);
    for (int i = 0; i < 2; i++) {
        ck_assert(enso_log_access_begin(&line));
        enso_log_line_string(&line, "id", i == 0 ? "first" : "second");
        enso_log_line_int(&line, "status", 200);
        enso_log_line_end(&line);
        ck_assert(enso_log_flush(5000));
        if (i == 0) {
            ck_assert_int_eq(rename(path, old), 0);
            ENSO_TEST_OK(enso_log_access_reopen(&err), &err);
            ENSO_TEST_OK(enso_log_access_reopen(&err), &err);
        }
    }
    enso_log_stop();
    text = enso_test_read_file(old, NULL);
    ENSO_TEST_CONTAINS(text, "Z id=first status=200\n");
    ck_assert_ptr_null(strstr(text, "second"));
    free(text);
    text = enso_test_read_file(path, NULL);
    ck_assert_int_eq(strncmp(text, "ts=", 3), 0);
    ENSO_TEST_CONTAINS(text, "Z id=second status=200\n");
    ck_assert_ptr_null(strstr(text, "first"));
    free(text);
    ck_assert_str_eq(taken(), ""); /* nothing went to the messages */
    free(path);
    free(old);
    enso_test_remove_dir(dir);
}
END_TEST

START_TEST(test_log_access_stderr_and_errors)
{
    struct enso_log_line line;
    struct enso_error err = {0};

    ENSO_TEST_OK(enso_log_access_open("stderr", &err), &err);
    ENSO_TEST_OK(enso_log_access_reopen(&err), &err);
    ck_assert_int_eq(enso_log_access_open("/nowhere/access.log", &err), ENSO_IO);
    ENSO_TEST_CONTAINS(err.message, "/nowhere/access.log");
    ck_assert(enso_log_access_begin(&line)); /* the old destination stayed */
    enso_log_line_int(&line, "status", 200);
    enso_log_line_end(&line);
    ck_assert_str_eq(taken(), "<6>msg=request status=200\n");
    enso_error_clear(&err);
    ENSO_TEST_OK(enso_log_access_open("off", &err), &err);
    ck_assert(!enso_log_access_begin(&line));
}
END_TEST

static atomic_bool stop_threads;

static void *log_much(void *number)
{
    struct enso_log_line line;

    for (int i = 0; i < 2000; i++) {
        enso_log(ENSO_LOG_INFO, "thread", "n=%d i=%d", *(int *)number, i);
        if (enso_log_access_begin(&line)) {
            enso_log_line_int(&line, "n", *(int *)number);
            enso_log_line_end(&line);
        }
    }
    return NULL;
}

static void *drain_pipe(void *unused)
{
    static char text[65536];

    (void)unused;
    (void)fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    while (!atomic_load(&stop_threads)) {
        if (read(pipe_fds[0], text, sizeof text) <= 0)
            usleep(500);
    }
    return NULL;
}

START_TEST(test_log_many_threads)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/access.log", dir);
    struct enso_error err = {0};
    pthread_t threads[4], reader;
    int numbers[4];
    char *text;
    size_t n_lines = 0;

    ENSO_TEST_OK(enso_log_access_open(path, &err), &err);
    pthread_create(&reader, NULL, drain_pipe, NULL);
    ENSO_TEST_OK(enso_log_start(&err), &err);
    for (int i = 0; i < 4; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, log_much, &numbers[i]);
    }
    for (int i = 0; i < 20; i++) {
        ENSO_TEST_OK(enso_log_access_reopen(&err), &err);
        enso_log_set_level(i % 2 == 0 ? ENSO_LOG_DEBUG : ENSO_LOG_INFO);
        usleep(1000);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    enso_log_stop();
    atomic_store(&stop_threads, true);
    pthread_join(reader, NULL);
    text = enso_test_read_file(path, NULL);
    for (char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        n_lines++;
    ck_assert_uint_eq(n_lines + dropped() >= 8000, true);
    ck_assert_uint_le(n_lines, 8000);
    free(text);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

START_TEST(test_log_access_line_is_cheap)
{
    struct enso_error err = {0};
    struct enso_log_line line;
    uint64_t best = UINT64_MAX;

    ENSO_TEST_OK(enso_log_access_open("/dev/null", &err), &err);
    ENSO_TEST_OK(enso_log_start(&err), &err);
    for (int round = 0; round < 20; round++) {
        uint64_t start = enso_clock_now_ns();

        for (int i = 0; i < 300; i++) {        /* 5 ms of 60,000 a second */
            if (!enso_log_access_begin(&line)) /* no ck_assert here: it costs a microsecond */
                ck_abort();
            enso_log_line_string(&line, "id", "0123456789abcdef");
            enso_log_line_string(&line, "method", "POST");
            enso_log_line_string(&line, "path", "/v1/classify");
            enso_log_line_string(&line, "model", "intents");
            enso_log_line_int(&line, "status", 200);
            enso_log_line_uint(&line, "items", 1);
            enso_log_line_uint(&line, "tokens", 12);
            enso_log_line_ms(&line, "queue_ms", 120000);
            enso_log_line_ms(&line, "compute_ms", 2300000);
            enso_log_line_end(&line);
        }
        best = ENSO_MIN(best, (enso_clock_now_ns() - start) / 300);
        usleep(6000);
    }
    printf("access line: %llu ns\n", (unsigned long long)best);
    if (!enso_test_is_sanitized())
        ck_assert_uint_lt(best, 1000);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("base/log");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");
    TCase *threads = tcase_create("threads");

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(limits, set_up, tear_down);
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(core, test_log_printf_form);
    tcase_add_test(core, test_log_typed_form);
    tcase_add_test(core, test_log_failure_form);
    tcase_add_test(core, test_log_values_cannot_forge_lines);
    tcase_add_test(core, test_log_levels);
    tcase_add_test(core, test_log_timestamps);
    tcase_add_test(core, test_log_recognises_the_journal);
    tcase_add_test(core, test_log_access_file_and_reopen);
    tcase_add_test(core, test_log_access_stderr_and_errors);
    tcase_add_test(limits, test_log_long_lines_lose_whole_fields);
    tcase_add_test(limits, test_log_full_pipe_drops_and_counts);
    tcase_add_test(limits, test_log_stop_does_not_wait_for_ever);
    tcase_add_test(limits, test_log_reader_gone);
    tcase_add_test(threads, test_log_writer_keeps_order);
    tcase_add_test(threads, test_log_many_threads);
    tcase_add_test(threads, test_log_access_line_is_cheap);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, threads);
    return s;
}

ENSO_TEST_MAIN(suite)
