/* SPDX-License-Identifier: Apache-2.0
 *
 * batching/lanes: two batches on one lane, step by step. The device is the test itself: a batch is
 * through when the test says so, and every call of the runner leaves a word in a story that is
 * compared with how it has to go. The cost curve is seeded with a time long enough for the test to
 * do what has to happen while a batch computes.
 */
#include "batching/lanes.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "batching/job.h"
#include "batching/queue.h"
#include "batching/scheduler.h"
#include "engine/backend.h"

#define PREDICTED_NS (150 * ENSO_NS_PER_MS)

/* ---- the device ---- */

struct enso_lane {
    char unused;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned n_begun, n_through; /* through: the test lets that many end */
    char story[512];
    uint64_t expected_ns[8]; /* of each begin */
    enum enso_status lost;   /* what every finish gives; ENSO_OK: none */
} device = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct enso_lane the_lane;
static unsigned in_slot[ENSO_MAX_SLOTS]; /* the lane's own: number of the begin */

static int lane_open(struct enso_device *d, struct enso_lane **ret_lane, struct enso_error *err)
{
    (void)d, (void)err;
    *ret_lane = &the_lane;
    return ENSO_OK;
}

static void lane_close(struct enso_lane *lane)
{
    (void)lane;
}

static void lane_stats(const struct enso_lane *lane, struct enso_lane_stats *ret)
{
    (void)lane;
    pthread_mutex_lock(&device.mutex);
    *ret = (struct enso_lane_stats){.n_eager = device.n_begun, .n_input_tokens = 10};
    pthread_mutex_unlock(&device.mutex);
}

static bool done(struct enso_lane *lane, unsigned slot)
{
    bool through;

    (void)lane;
    pthread_mutex_lock(&device.mutex);
    through = in_slot[slot] <= device.n_through;
    pthread_mutex_unlock(&device.mutex);
    return through;
}

static const struct enso_backend backend = {.abi = ENSO_BACKEND_ABI,
                                            .name = "by hand",
                                            .n_slots = 2,
                                            .lane_open = lane_open,
                                            .lane_close = lane_close,
                                            .lane_stats = lane_stats,
                                            .done = done};

/* " what-samples": with the mutex. A sample is told by its letter (n_characters). */
static void tell(char what, struct enso_sample *const *samples, size_t n, bool fails)
{
    size_t at = strlen(device.story);

    if (at > 0)
        device.story[at++] = ' ';
    device.story[at++] = what;
    for (size_t i = 0; i < n; i++)
        device.story[at++] = (char)samples[i]->n_characters;
    if (fails)
        device.story[at++] = '!';
}

/* 'x' cannot be begun with others, 'p' fails when it is through, unless alone ('P': alone too). */
static bool has(char letter, struct enso_sample *const *samples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (samples[i]->n_characters == (unsigned char)letter)
            return true;
    return false;
}

static int begin(void *model, struct enso_lane *lane, unsigned slot,
                 struct enso_sample *const *samples, size_t n, const struct enso_pace *pace,
                 struct enso_error *err)
{
    bool fails = n > 1 && has('x', samples, n);

    (void)model, (void)lane;
    pthread_mutex_lock(&device.mutex);
    tell('+', samples, n, fails);
    if (!fails) {
        if (device.n_begun < ENSO_ARRAY_SIZE(device.expected_ns))
            device.expected_ns[device.n_begun] = pace != NULL ? pace->expected_ns : 0;
        in_slot[slot] = ++device.n_begun;
    }
    pthread_cond_broadcast(&device.changed);
    pthread_mutex_unlock(&device.mutex);
    return fails ? enso_error_set(err, ENSO_NO_MEMORY, "too much at once") : ENSO_OK;
}

static int finish(void *model, struct enso_lane *lane, unsigned slot,
                  struct enso_sample *const *samples, size_t n, struct enso_spent *ret_spent,
                  struct enso_error *err)
{
    bool fails = (n > 1 && has('p', samples, n)) || has('P', samples, n);
    enum enso_status lost;

    (void)model, (void)lane;
    pthread_mutex_lock(&device.mutex);
    while (in_slot[slot] > device.n_through)
        pthread_cond_wait(&device.changed, &device.mutex);
    lost = device.lost;
    tell('-', samples, n, fails || lost != ENSO_OK);
    pthread_mutex_unlock(&device.mutex);
    if (ret_spent != NULL)
        ret_spent->compute_ns = PREDICTED_NS;
    if (lost != ENSO_OK)
        return enso_error_set(err, lost, "the device is lost");
    return fails ? enso_error_set(err, ENSO_INVALID, "poisoned") : ENSO_OK;
}

static void wait_begun(unsigned n)
{
    pthread_mutex_lock(&device.mutex);
    while (device.n_begun < n)
        pthread_cond_wait(&device.changed, &device.mutex);
    pthread_mutex_unlock(&device.mutex);
}

static void let_end(unsigned n)
{
    pthread_mutex_lock(&device.mutex);
    device.n_through = n;
    pthread_cond_broadcast(&device.changed);
    pthread_mutex_unlock(&device.mutex);
}

/* ---- jobs ---- */

struct one {
    struct enso_job *job;
    bool done;
    enum enso_status status;
};

static pthread_mutex_t jobs_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t jobs_changed = PTHREAD_COND_INITIALIZER;

static void on_done(struct enso_job *job, void *user)
{
    struct one *one = user;

    pthread_mutex_lock(&jobs_mutex);
    one->done = true;
    one->status = job->status;
    enso_job_destroy(job);
    pthread_cond_broadcast(&jobs_changed);
    pthread_mutex_unlock(&jobs_mutex);
}

static enum enso_status status_of(struct one *one)
{
    pthread_mutex_lock(&jobs_mutex);
    while (!one->done)
        pthread_cond_wait(&jobs_changed, &jobs_mutex);
    pthread_mutex_unlock(&jobs_mutex);
    return one->status;
}

static bool is_done(struct one *one)
{
    bool is;

    pthread_mutex_lock(&jobs_mutex);
    is = one->done;
    pthread_mutex_unlock(&jobs_mutex);
    return is;
}

/* ---- one lane, one model ---- */

static struct enso_lanes *lanes;
static struct enso_scheduler *scheduler;
static struct enso_queue *queue;

static void set_up(void)
{
    struct enso_queue_limits limits = {.max_batch_items = 8};
    struct enso_runner runner = {.begin = begin, .finish = finish};

    device.n_begun = device.n_through = 0;
    memset(device.story, 0, sizeof device.story);
    device.lost = ENSO_OK;
    in_slot[0] = in_slot[1] = 0;
    ck_assert_int_eq(enso_lanes_start(&backend, NULL, 1, &lanes, NULL), ENSO_OK);
    scheduler = enso_lanes_scheduler(lanes);
    ck_assert_int_eq(enso_queue_create("q", &limits, &runner, NULL, &queue, NULL), ENSO_OK);
    for (int i = 0; i < 4; i++) {
        enso_queue_seed(queue, 1, PREDICTED_NS);
        enso_queue_seed(queue, 8, PREDICTED_NS);
    }
    enso_scheduler_add_queue(scheduler, queue);
}

static void send(struct one *one, const char *letters)
{
    struct enso_job *job = enso_job_create((uint32_t)strlen(letters));

    for (size_t i = 0; i < strlen(letters); i++) {
        job->samples[i] = enso_sample_create();
        job->samples[i]->n_characters = (unsigned char)letters[i];
    }
    *one = (struct one){.job = job};
    job->done = on_done;
    job->user = one;
    ck_assert_int_eq(enso_scheduler_submit(scheduler, queue, job, enso_clock_now_ns(), NULL),
                     ENSO_OK);
}

static void tear_down(void)
{
    if (queue != NULL) {
        enso_scheduler_remove_queue(scheduler, queue, enso_clock_now_ns());
        enso_queue_destroy(queue);
    }
    enso_lanes_destroy(lanes);
}

static void expect(const char *story)
{
    char told[sizeof device.story];

    pthread_mutex_lock(&device.mutex);
    memcpy(told, device.story, sizeof told);
    pthread_mutex_unlock(&device.mutex);
    ck_assert_str_eq(told, story);
}

/* What comes while a batch computes is one batch, put behind it before it ends; the first is
 * answered while the second computes. */
START_TEST(test_slots_second_behind_first)
{
    struct one a, b, c, d;
    uint64_t start_ns = enso_clock_now_ns();

    send(&a, "a");
    wait_begun(1);
    send(&b, "b");
    send(&c, "c");
    send(&d, "d");
    wait_begun(2); /* although nothing has ended */
    ck_assert_uint_ge(enso_clock_now_ns() - start_ns,
                      PREDICTED_NS / 2); /* late, so all came along */
    expect("+a +bcd");
    let_end(1);
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    ck_assert(!is_done(&b));
    let_end(2);
    ck_assert_int_eq(status_of(&b), ENSO_OK);
    ck_assert_int_eq(status_of(&c), ENSO_OK);
    ck_assert_int_eq(status_of(&d), ENSO_OK);
    expect("+a +bcd -a -bcd");
    ck_assert_uint_ge(device.expected_ns[0], start_ns + PREDICTED_NS);
    ck_assert_uint_ge(device.expected_ns[1], device.expected_ns[0] + PREDICTED_NS / 2);
}
END_TEST

/* One that is through much earlier than predicted is noticed. */
START_TEST(test_slots_earlier_than_predicted)
{
    struct one a, b;
    uint64_t start_ns = enso_clock_now_ns();

    let_end(1);
    send(&a, "a");
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    ck_assert_uint_lt(enso_clock_now_ns() - start_ns, PREDICTED_NS * 3 / 4);
    let_end(2);
    send(&b, "b");
    ck_assert_int_eq(status_of(&b), ENSO_OK);
}
END_TEST

/* The first fails and has to be run sample by sample: the second is answered before that. */
START_TEST(test_slots_poisoned_first)
{
    struct one a, p, b;

    send(&a, "a"); /* so that the next two are one batch */
    wait_begun(1);
    send(&p, "c");
    send(&b, "P");
    wait_begun(2);
    let_end(1);
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    send(&a, "d");
    wait_begun(3);
    expect("+a +cP -a +d");
    let_end(99);
    ck_assert_int_eq(status_of(&p), ENSO_OK);
    ck_assert_int_eq(status_of(&b), ENSO_INVALID);
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    expect("+a +cP -a +d -cP! -d +c -c +P -P!");
}
END_TEST

/* Both fail: nobody is run singly before both are through, the first one's samples first. */
START_TEST(test_slots_both_poisoned)
{
    struct one a, p, q;

    send(&a, "a");
    wait_begun(1);
    send(&p, "cp");
    wait_begun(2);
    let_end(1);
    send(&q, "ep");
    wait_begun(3);
    let_end(99);
    ck_assert_int_eq(status_of(&p), ENSO_OK);
    ck_assert_int_eq(status_of(&q), ENSO_OK);
    expect("+a +cp -a +ep -cp! -ep! +c -c +p -p +e -e +p -p");
}
END_TEST

/* The second cannot be begun: the first goes on, then the second's samples are tried alone. */
START_TEST(test_slots_second_cannot_begin)
{
    struct one a, x;

    send(&a, "a");
    wait_begun(1);
    send(&x, "xy");
    while (enso_scheduler_healthy(scheduler, enso_clock_now_ns())) {
        pthread_mutex_lock(&device.mutex);
        bool tried = strchr(device.story, '!') != NULL;
        pthread_mutex_unlock(&device.mutex);
        if (tried)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    expect("+a +xy!");
    let_end(99);
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    ck_assert_int_eq(status_of(&x), ENSO_OK);
    expect("+a +xy! -a +x -x +y -y");
}
END_TEST

/* A lost device: both fail, nothing is tried again. */
START_TEST(test_slots_device_lost)
{
    struct one a, b;

    send(&a, "a");
    wait_begun(1);
    send(&b, "bc");
    wait_begun(2);
    pthread_mutex_lock(&device.mutex);
    device.lost = ENSO_UNAVAILABLE;
    pthread_mutex_unlock(&device.mutex);
    let_end(99);
    ck_assert_int_eq(status_of(&a), ENSO_UNAVAILABLE);
    ck_assert_int_eq(status_of(&b), ENSO_UNAVAILABLE);
    expect("+a +bc -a! -bc!");
}
END_TEST

/* Who has gone is not waited for in his answer, but his batch is. */
START_TEST(test_slots_cancel)
{
    struct one a, b;

    send(&a, "a");
    wait_begun(1);
    send(&b, "bc");
    wait_begun(2);
    enso_job_cancel(a.job, enso_clock_now_ns());
    enso_job_cancel(b.job, enso_clock_now_ns());
    ck_assert(!is_done(&a));
    ck_assert(!is_done(&b));
    let_end(99);
    ck_assert_int_eq(status_of(&a), ENSO_CANCELLED);
    ck_assert_int_eq(status_of(&b), ENSO_CANCELLED);
    expect("+a +bc -a -bc");
}
END_TEST

static void *stop(void *arg)
{
    (void)arg;
    enso_lanes_stop(lanes);
    return NULL;
}

/* Told to stop with two on the lane: both are finished, what is queued fails at once. */
START_TEST(test_slots_stop)
{
    struct enso_lane_stats stats;
    struct one a, b, c;
    pthread_t thread;

    send(&a, "a");
    wait_begun(1);
    send(&b, "b");
    wait_begun(2);
    send(&c, "c");
    ck_assert_int_eq(pthread_create(&thread, NULL, stop, NULL), 0);
    ck_assert_int_eq(status_of(&c), ENSO_UNAVAILABLE);
    ck_assert(!is_done(&a));
    enso_lanes_stats(lanes, &stats);
    ck_assert_uint_eq(stats.n_eager, 2);
    let_end(99);
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    ck_assert_int_eq(status_of(&b), ENSO_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    expect("+a +b -a -b");
    enso_lanes_stats(lanes, &stats); /* of a lane that is closed */
    ck_assert_uint_eq(stats.n_eager, 2);
    ck_assert_uint_eq(stats.n_input_tokens, 10);
}
END_TEST

static void *remove_queue(void *arg)
{
    enso_scheduler_remove_queue(scheduler, queue, enso_clock_now_ns());
    *(bool *)arg = true;
    return NULL;
}

/* A model is unloaded while two of its batches are on the lane: that waits for both. */
START_TEST(test_slots_remove_queue)
{
    struct one a, b;
    pthread_t thread;
    bool removed = false;

    send(&a, "a");
    wait_begun(1);
    send(&b, "b");
    wait_begun(2);
    ck_assert_int_eq(pthread_create(&thread, NULL, remove_queue, &removed), 0);
    let_end(1);
    ck_assert_int_eq(status_of(&a), ENSO_OK);
    let_end(2);
    ck_assert_int_eq(status_of(&b), ENSO_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(removed);
    enso_queue_destroy(queue);
    queue = NULL;
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching/slots");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(errors, set_up, tear_down);
    tcase_set_timeout(core, 60);
    tcase_set_timeout(errors, 60);
    tcase_add_test(core, test_slots_second_behind_first);
    tcase_add_test(core, test_slots_earlier_than_predicted);
    tcase_add_test(core, test_slots_cancel);
    tcase_add_test(core, test_slots_stop);
    tcase_add_test(core, test_slots_remove_queue);
    tcase_add_test(errors, test_slots_poisoned_first);
    tcase_add_test(errors, test_slots_both_poisoned);
    tcase_add_test(errors, test_slots_second_cannot_begin);
    tcase_add_test(errors, test_slots_device_lost);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
