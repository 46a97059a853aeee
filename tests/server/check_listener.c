/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets on free ports and on Unix paths in a folder of their own; together with the
 * transport for what only TCP shows.
 */
#include "ensod_build.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/http.h"
#include "server/listener.h"
#include "server/loop.h"

static struct enso_loop *loop;
static struct enso_error err;
static char folder[64];
static int accepted[16];
static size_t n_accepted, most_accepted;
static char peer_text[128], trouble[256];

static bool on_socket(int fd, const struct sockaddr *peer, socklen_t size, void *user)
{
    (void)user;
    ck_assert_uint_lt(n_accepted, ENSO_ARRAY_SIZE(accepted));
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    (void)enso_socket_address_print(peer, size, peer_text, sizeof peer_text);
    accepted[n_accepted++] = fd;
    return n_accepted < most_accepted;
}

static void on_trouble(const char *sentence, void *user)
{
    (void)user;
    (void)snprintf(trouble, sizeof trouble, "%s", sentence);
}

static const struct enso_listener_callbacks callbacks = {.on_socket = on_socket,
                                                         .on_trouble = on_trouble};

static void setup(void)
{
    loop = enso_loop_create(NULL);
    memset(&err, 0, sizeof err);
    n_accepted = 0;
    most_accepted = ENSO_ARRAY_SIZE(accepted);
    trouble[0] = '\0';
    strcpy(folder, "/tmp/ensod-listener-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    for (size_t i = 0; i < n_accepted; i++)
        (void)close(accepted[i]);
    enso_loop_destroy(loop);
    ck_assert_int_eq(rmdir(folder), 0); /* every socket file is gone */
}

static struct enso_listener *open_listener(const char *address)
{
    struct enso_listener *listener = NULL;

    ck_assert_msg(enso_listener_create(loop, address, &callbacks, &listener, &err) == ENSO_OK, "%s",
                  err.message);
    return listener;
}

static void run(unsigned ms)
{
    uint64_t end_ns = enso_clock_now_ns() + ms * ENSO_NS_PER_MS;

    do {
        (void)enso_loop_poll(loop);
        (void)poll(NULL, 0, 1);
    } while (enso_clock_now_ns() < end_ns);
}

static int connect_tcp(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

START_TEST(test_listener_takes_a_free_port)
{
    struct enso_listener *listener = open_listener("127.0.0.1:0");
    char expected[64];
    int fd;

    ck_assert_uint_ne(enso_listener_port(listener), 0);
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", enso_listener_port(listener));
    ck_assert_str_eq(enso_listener_address(listener), expected);
    ck_assert(enso_listener_is_local(listener));
    fd = connect_tcp(enso_listener_port(listener));
    ck_assert_int_ge(fd, 0);
    run(20);
    ck_assert_uint_eq(n_accepted, 1);
    ck_assert_uint_eq(enso_listener_accepted(listener), 1);
    ck_assert_int_eq(strncmp(peer_text, "127.0.0.1:", 10), 0);
    (void)close(fd);
    enso_listener_destroy(listener);
}
END_TEST

START_TEST(test_listener_stop_serves_who_came_before)
{
    struct enso_listener *listener = open_listener("127.0.0.1:0");
    uint16_t port = enso_listener_port(listener);
    int before = connect_tcp(port), after;

    enso_listener_stop(listener); /* no turn of the loop in between */
    ck_assert_uint_eq(n_accepted, 1);
    after = connect_tcp(port);
    ck_assert_int_lt(after, 0);
    enso_listener_stop(listener);
    run(5);
    (void)close(before);
    enso_listener_destroy(listener);
    enso_listener_destroy(NULL);
}
END_TEST

START_TEST(test_listener_ipv6)
{
    struct enso_listener *listener = NULL;

    if (enso_listener_create(loop, "[::1]:0", &callbacks, &listener, &err) != ENSO_OK) {
        printf("SKIP test_listener_ipv6: this machine has no ::1\n");
        return;
    }
    ck_assert_int_eq(strncmp(enso_listener_address(listener), "[::1]:", 6), 0);
    ck_assert(enso_listener_is_local(listener));
    enso_listener_destroy(listener);
    listener = open_listener("0.0.0.0:0");
    ck_assert(!enso_listener_is_local(listener));
    enso_listener_destroy(listener);
}
END_TEST

START_TEST(test_listener_unix)
{
    struct enso_listener *listener;
    char path[96], address[104];
    struct stat st;
    int fd;

    (void)snprintf(path, sizeof path, "%s/s", folder);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    listener = open_listener(address);
    ck_assert_str_eq(enso_listener_address(listener), address);
    ck_assert_uint_eq(enso_listener_port(listener), 0);
    ck_assert(enso_listener_is_local(listener));
    fd = connect_unix(path);
    ck_assert_int_ge(fd, 0);
    run(20);
    ck_assert_uint_eq(n_accepted, 1);
    ck_assert_str_eq(peer_text, "unix:");
    (void)close(fd);
    enso_listener_destroy(listener);
    ck_assert_int_ne(stat(path, &st), 0);
}
END_TEST

START_TEST(test_listener_unix_removes_only_stale_sockets)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct enso_listener *listener, *second = NULL;
    char path[96], address[104];
    int fd;

    (void)snprintf(path, sizeof path, "%s/s", folder);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    (void)close(fd); /* a file nobody answers at */
    listener = open_listener(address);
    ck_assert_int_eq(enso_listener_create(loop, address, &callbacks, &second, &err), ENSO_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "answers"));
    ck_assert_int_eq(unlink(path), 0);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* somebody else's now */
    (void)close(fd);
    enso_listener_destroy(listener);
    enso_error_clear(&err);
    ck_assert_int_eq(enso_listener_create(loop, address, &callbacks, &second, &err), ENSO_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "no socket"));
    ck_assert_int_eq(unlink(path), 0); /* it was left alone */
}
END_TEST

START_TEST(test_listener_names_a_port_in_use)
{
    struct enso_listener *listener = open_listener("127.0.0.1:0"), *second = NULL;
    char port[16];

    (void)snprintf(port, sizeof port, ":%u", enso_listener_port(listener));
    ck_assert_int_eq(
        enso_listener_create(loop, enso_listener_address(listener), &callbacks, &second, &err),
        ENSO_IO);
    ck_assert_ptr_nonnull(strstr(err.message, port));
    ck_assert_ptr_nonnull(strstr(err.message, "--listen"));
    enso_listener_destroy(listener);
}
END_TEST

static const char *const bad_addresses[] = {
    "",        "8080",     "127.0.0.1",      "127.0.0.1:",  "127.0.0.1:65536", "127.0.0.1:x",
    ":8080",   "::1:8080", "[::1]",          "[::1:80",     "unix:",           "127.0.0.1:-1",
    "1.2.3:4", "[]:80",    "host name.x:80", "300.0.0.1:80"};

START_TEST(test_listener_refuses_bad_addresses)
{
    struct enso_listener *listener = NULL;
    char path[300] = "unix:/";

    if (strcmp(bad_addresses[_i], "1.2.3:4") == 0) /* an old spelling of 1.2.0.3 */
        return;
    ck_assert_int_ne(enso_listener_create(loop, bad_addresses[_i], &callbacks, &listener, &err),
                     ENSO_OK);
    ck_assert_uint_gt(strlen(err.message), 20);
    memset(path + 6, 'a', 200);
    ck_assert_int_ne(enso_listener_create(loop, path, &callbacks, &listener, NULL), ENSO_OK);
}
END_TEST

START_TEST(test_listener_pauses_when_full)
{
    struct enso_listener *listener = open_listener("127.0.0.1:0");
    int fds[4];

    most_accepted = 2;
    for (int i = 0; i < 4; i++)
        fds[i] = connect_tcp(enso_listener_port(listener));
    run(30);
    ck_assert_uint_eq(n_accepted, 2);
    most_accepted = 16;
    run(150);
    ck_assert_uint_eq(n_accepted, 4);
    for (int i = 0; i < 4; i++)
        (void)close(fds[i]);
    enso_listener_destroy(listener);
}
END_TEST

START_TEST(test_listener_pauses_without_descriptors)
{
    struct enso_listener *listener = open_listener("127.0.0.1:0");
    struct rlimit old, none;
    int fd = connect_tcp(enso_listener_port(listener)), highest = dup(0);
    struct timespec before, after;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)highest; /* no number below it is free */
    (void)close(highest);
    while ((highest = dup(0)) < (int)none.rlim_cur && highest >= 0)
        ck_assert_uint_lt(n_accepted, ENSO_ARRAY_SIZE(accepted));
    (void)close(highest);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before), 0);
    run(60);
    ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
    ck_assert_uint_eq(n_accepted, 0);
    ck_assert_ptr_nonnull(strstr(trouble, "open files"));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    run(150);
    ck_assert_uint_eq(n_accepted, 1);
    (void)close(fd);
    enso_listener_destroy(listener);
}
END_TEST

START_TEST(test_listener_takes_sockets_that_listen)
{
    struct enso_listener *listener = NULL;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), client;

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(enso_listener_create_take(loop, dup(fd), &callbacks, &listener, &err),
                     ENSO_INVALID); /* it does not listen yet */
    ck_assert_int_eq(listen(fd, 5), 0);
    ck_assert_int_eq(enso_listener_create_take(loop, fd, &callbacks, &listener, NULL), ENSO_OK);
    client = connect_tcp(enso_listener_port(listener));
    run(20);
    ck_assert_uint_eq(n_accepted, 1);
    (void)close(client);
    enso_listener_destroy(listener);
    enso_error_clear(&err);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(enso_listener_create_take(loop, fd, &callbacks, &listener, &err), ENSO_IO);
}
END_TEST

START_TEST(test_listener_inherits_nothing_by_default)
{
    int fds[4];

    (void)unsetenv("LISTEN_FDS");
    ck_assert_uint_eq(enso_listener_inherited(fds, 4), 0);
}
END_TEST

START_TEST(test_listener_out_of_memory)
{
    char address[104];

    (void)snprintf(address, sizeof address, "unix:%s/s", folder);
    for (uint64_t n = 1; n < 20; n++) {
        struct enso_listener *listener = NULL;
        enum enso_status st;

        (void)enso_memory_fail_at(n);
        st = enso_listener_create(loop, address, &callbacks, &listener, NULL);
        (void)enso_memory_fail_at(0);
        if (st == ENSO_OK) {
            ck_assert_uint_gt(n, 2);
            enso_listener_destroy(listener);
            return;
        }
        ck_assert_int_eq(st, ENSO_NO_MEMORY);
    }
    ck_abort_msg("never succeeded");
}
END_TEST

/* With the transport: what only TCP shows. */

static struct enso_http *http;
static unsigned n_calls;

static bool hand_over(int fd, const struct sockaddr *peer, socklen_t size, void *user)
{
    (void)user;
    ck_assert_int_eq(enso_http_add_socket(http, fd, peer, size, NULL), ENSO_OK);
    return true;
}

static void answer(struct enso_http_call *call, void *user)
{
    struct enso_buffer body = ENSO_BUFFER_INIT;

    (void)user;
    n_calls++;
    ck_assert(!enso_http_call_is_unix(call));
    enso_buffer_puts(&body, enso_http_call_peer(call));
    enso_http_respond(call, 200, NULL, 0, &body);
}

static bool is_closed(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

START_TEST(test_listener_slow_request_line_is_cut)
{
    static const char request[] = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
    struct enso_http_options options = {
        .callbacks = {.on_call = answer}, .header_timeout_ms = 100, .idle_timeout_ms = 5000};
    struct enso_listener_callbacks to_http = {.on_socket = hand_over};
    struct enso_listener *listener = NULL;
    char text[512];
    int slow, idle;
    ssize_t n;

    ck_assert_int_eq(enso_http_create(loop, &options, &http, NULL), ENSO_OK);
    ck_assert_int_eq(enso_listener_create(loop, "127.0.0.1:0", &to_http, &listener, NULL), ENSO_OK);
    slow = connect_tcp(enso_listener_port(listener));
    idle = connect_tcp(enso_listener_port(listener));
    for (int i = 0; i < 2; i++) {
        int fd = i == 0 ? slow : idle;

        ck_assert_int_eq(send(fd, request, sizeof request - 1, 0), sizeof request - 1);
        n = -1;
        for (int k = 0; k < 200 && n < 0; k++) {
            run(5);
            n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
        }
        ck_assert_int_gt(n, 0);
        text[n] = '\0';
        ck_assert_ptr_nonnull(strstr(text, "\r\n\r\n127.0.0.1:"));
    }
    for (int i = 0; i < 300 && !is_closed(slow); i++) { /* a request line that never ends */
        (void)send(slow, "G", 1, MSG_NOSIGNAL);
        run(10);
    }
    ck_assert(is_closed(slow));
    ck_assert(!is_closed(idle)); /* the same age, but says nothing */
    ck_assert_uint_eq(n_calls, 2);
    (void)close(slow);
    (void)close(idle);
    enso_listener_destroy(listener);
    enso_http_destroy(http);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server/listener");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");
    TCase *all[] = {core, limits, errors, oom};
    SRunner *runner;
    int n_failed;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++) {
        tcase_add_checked_fixture(all[i], setup, teardown);
        tcase_set_timeout(all[i], 30);
        suite_add_tcase(suite, all[i]);
    }
    tcase_add_test(core, test_listener_takes_a_free_port);
    tcase_add_test(core, test_listener_stop_serves_who_came_before);
    tcase_add_test(core, test_listener_ipv6);
    tcase_add_test(core, test_listener_unix);
    tcase_add_test(core, test_listener_unix_removes_only_stale_sockets);
    tcase_add_test(core, test_listener_takes_sockets_that_listen);
    tcase_add_test(core, test_listener_inherits_nothing_by_default);
    tcase_add_test(limits, test_listener_pauses_when_full);
    tcase_add_test(limits, test_listener_pauses_without_descriptors);
    tcase_add_test(limits, test_listener_slow_request_line_is_cut);
    tcase_add_test(errors, test_listener_names_a_port_in_use);
    tcase_add_loop_test(errors, test_listener_refuses_bad_addresses, 0,
                        (int)ENSO_ARRAY_SIZE(bad_addresses));
    tcase_add_test(oom, test_listener_out_of_memory);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
