/* SPDX-License-Identifier: Apache-2.0
 *
 * server/service: what systemd hears on a notify socket of the test's own, and when the watchdog is
 * not fed. The scheduler is a stand-in that says what the test wants.
 */
#include "ensod_build.h"

#include "server/service.h"

#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "batching/scheduler.h"
#include "server/app.h"
#include "server/device.h"
#include "server/loop.h"
#include "server/lost.h"

static bool healthy;

bool enso_scheduler_healthy(struct enso_scheduler *scheduler, uint64_t now_ns)
{
    (void)scheduler;
    (void)now_ns;
    return healthy;
}

static bool lost;

bool enso_place_is_lost(const struct enso_place *place, struct enso_error *error)
{
    (void)place;
    (void)error;
    return lost;
}

void enso_lost_check(struct enso_app *app)
{
    (void)app;
}

#ifdef HAVE_SYSTEMD

static char *dir;
static int fd;
static struct enso_app app;
static struct enso_devices devices = {.n = 1};

static void setup(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    dir = enso_test_make_dir();
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", dir);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    ck_assert_int_eq(setenv("WATCHDOG_USEC", "40000", 1), 0);
    ck_assert_int_eq(unsetenv("WATCHDOG_PID"), 0);
    app = (struct enso_app){.loop = enso_loop_create(NULL), .devices = &devices};
    ck_assert_ptr_nonnull(app.loop);
    healthy = true;
}

static void teardown(void)
{
    enso_loop_destroy(app.loop);
    (void)close(fd);
    enso_test_remove_dir(dir);
}

/* How often the watchdog is fed in 300 ms. */
static int count_feeds(void)
{
    uint64_t end_ns = enso_clock_now_ns() + 300 * ENSO_NS_PER_MS;
    char text[256];
    int n = 0;

    while (recv(fd, text, sizeof text, 0) > 0)
        ;
    while (enso_clock_now_ns() < end_ns) {
        ssize_t size;

        (void)enso_loop_run_once(app.loop);
        while ((size = recv(fd, text, sizeof text - 1, 0)) > 0) {
            text[size] = '\0';
            n += strstr(text, "WATCHDOG=1") != NULL;
        }
    }
    return n;
}

START_TEST(test_service_feeds_the_watchdog_while_lanes_are_well)
{
    struct enso_service *service;

    ck_assert_int_eq(enso_service_create(&app, &service, NULL), ENSO_OK);
    ck_assert_int_ge(count_feeds(), 3); /* every 20 ms, but the machine may be busy */
    healthy = false;
    ck_assert_int_eq(count_feeds(), 0);
    lost = true; /* what is lost has no health */
    ck_assert_int_ge(count_feeds(), 3);
    lost = false;
    healthy = true;
    ck_assert_int_ge(count_feeds(), 3);
    enso_service_destroy(service);
}
END_TEST

START_TEST(test_service_without_a_watchdog_has_no_timer)
{
    struct enso_service *service;

    ck_assert_int_eq(unsetenv("WATCHDOG_USEC"), 0);
    ck_assert_int_eq(enso_service_create(&app, &service, NULL), ENSO_OK);
    ck_assert(!enso_loop_poll(app.loop));
    enso_service_destroy(service);
}
END_TEST

START_TEST(test_service_tells_states)
{
    struct enso_service *service;
    char text[256];
    ssize_t size;

    ck_assert_int_eq(unsetenv("WATCHDOG_USEC"), 0);
    ck_assert_int_eq(enso_service_create(&app, &service, NULL), ENSO_OK);
    enso_service_ready(service, 2, 1);
    size = recv(fd, text, sizeof text - 1, 0);
    ck_assert_int_gt(size, 0);
    text[size] = '\0';
    ck_assert_str_eq(text, "READY=1\nSTATUS=serving 2 models, 1 failed");
    enso_service_stopping(service);
    size = recv(fd, text, sizeof text - 1, 0);
    ck_assert_int_gt(size, 0);
    text[size] = '\0';
    ck_assert_str_eq(text, "STOPPING=1\nSTATUS=draining");
    enso_service_destroy(service);
}
END_TEST

#endif

static Suite *suite(void)
{
    Suite *s = suite_create("server/service");
    TCase *core = tcase_create("core");

#ifdef HAVE_SYSTEMD
    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_test(core, test_service_feeds_the_watchdog_while_lanes_are_well);
    tcase_add_test(core, test_service_without_a_watchdog_has_no_timer);
    tcase_add_test(core, test_service_tells_states);
#else
    printf("skipped: built without libsystemd\n");
#endif
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
