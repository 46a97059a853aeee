/* SPDX-License-Identifier: Apache-2.0
 *
 * What the registry makes of a model on several GPUs, or on any of them: which ones serve it, which
 * are left out, where it goes when one has no room, and where its jobs go. The GPUs are stand-ins,
 * each the processor's backend with faults of its own; real (emulated) ones: check_cuda_lanes.py.
 */
#include "server/registry.h"

#include "tests/support/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "batching/job.h"
#include "batching/scheduler.h"
#include "engine/graph/graph.h"
#include "server/app.h"
#include "server/device.h"
#include "server/loop.h"
#include "server/meters.h"

#define N_GPUS 3
#define MAX_LANES 64
#define FREE ((size_t)1 << 30)

/* A stand-in's faults. */
static struct card {
    enum enso_status refusal; /* of every convolution */
    bool has_f16;
    atomic_bool lost, dies; /* dies: is lost in its next batch */
    size_t free_bytes, promised_bytes;
    uint64_t weight_bytes; /* it says that it holds */
    atomic_uint late_us;   /* what a run takes longer */
} cards[N_GPUS];

static struct enso_backend gpu;
static struct enso_devices devices;
static struct enso_error err;
static struct enso_config config;
static struct enso_app app;
static char *path, *text;

static struct card *card_of(const struct enso_device *device)
{
    for (size_t i = 0; i < N_GPUS; i++)
        if (devices.places[i].device == device)
            return &cards[i];
    return &cards[0];
}

static int bind(struct enso_device *device, const struct enso_graph *graph, int node,
                struct enso_bound **ret_bound, struct enso_error *error)
{
    const struct enso_node *n = enso_graph_node(graph, node);
    const struct card *card = card_of(device);

    if (card->refusal != ENSO_OK && n->op == ENSO_OP_PIXELS)
        return enso_error_set(error, card->refusal, "not on card %d", (int)(card - cards));
    if (atomic_load(&card->lost))
        return enso_error_set(error, ENSO_UNAVAILABLE, "card %d is gone", (int)(card - cards));
    return enso_backend_cpu()->bind(device, graph, node, ret_bound, error);
}

/* Lanes, by card. */
static struct enso_lane *lanes[MAX_LANES];
static struct card *lane_cards[MAX_LANES];
static size_t n_lanes;
static pthread_mutex_t lanes_lock = PTHREAD_MUTEX_INITIALIZER;

static int lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                     struct enso_error *error)
{
    int st = enso_backend_cpu()->lane_open(device, ret_lane, error);

    (void)pthread_mutex_lock(&lanes_lock);
    ck_assert_uint_lt(n_lanes, MAX_LANES);
    lane_cards[n_lanes] = card_of(device);
    lanes[n_lanes++] = *ret_lane;
    (void)pthread_mutex_unlock(&lanes_lock);
    return st;
}

static struct card *card_of_lane(const struct enso_lane *lane)
{
    struct card *card;
    size_t at;

    (void)pthread_mutex_lock(&lanes_lock);
    at = n_lanes - 1;
    while (lanes[at] != lane) /* the newest: addresses come again */
        at--;
    card = lane_cards[at];
    (void)pthread_mutex_unlock(&lanes_lock);
    return card;
}

/* Batches that came so far; they stay at the gate while it is shut. */
static atomic_uint n_came;
static atomic_bool shut;

static int begin(struct enso_lane *lane, unsigned slot, const struct enso_run *batch,
                 struct enso_error *error)
{
    atomic_fetch_add(&n_came, 1);
    while (atomic_load(&shut))
        (void)usleep(1000);
    (void)usleep(atomic_load(&card_of_lane(lane)->late_us));
    if (atomic_exchange(&card_of_lane(lane)->dies, false)) {
        atomic_store(&card_of_lane(lane)->lost, true);
        return enso_error_set(error, ENSO_UNAVAILABLE, "card %d died",
                              (int)(card_of_lane(lane) - cards));
    }
    if (batch->up.size_bytes > 0)
        memcpy(batch->up.device, batch->up.host, batch->up.size_bytes);
    if (enso_backend_cpu()->begin(lane, slot, batch, error) != ENSO_OK)
        return ENSO_DEVICE;
    if (batch->down.size_bytes > 0)
        memcpy(batch->down.host, batch->down.device, batch->down.size_bytes);
    return ENSO_OK;
}

static void staging_free(struct enso_device *device, void *memory)
{
    enso_backend_cpu()->memory_free(device, memory);
}

static bool computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16 ? card_of(device)->has_f16
                                   : enso_backend_cpu()->computes(device, op, dtype);
}

static void device_metrics(struct enso_device *device, struct enso_device_metrics *ret)
{
    *ret = (struct enso_device_metrics){.weight_bytes = card_of(device)->weight_bytes};
}

static void memory_info(struct enso_device *device, size_t *ret_free, size_t *ret_total)
{
    *ret_free = card_of(device)->free_bytes;
    *ret_total = FREE;
}

static int promise(struct enso_device *device, size_t size_bytes, const char *what,
                   struct enso_error *error)
{
    struct card *card = card_of(device);

    if (size_bytes > card->free_bytes)
        return enso_error_set(error, ENSO_NO_MEMORY, "no room for %s", what);
    card->free_bytes -= size_bytes;
    card->promised_bytes += size_bytes;
    return ENSO_OK;
}

static void promise_end(struct enso_device *device, size_t size_bytes)
{
    card_of(device)->free_bytes += size_bytes;
    card_of(device)->promised_bytes -= size_bytes;
}

static int promised_alloc(struct enso_device *device, size_t size_bytes, size_t promised_bytes,
                          const char *what, void **ret_memory, struct enso_error *error)
{
    (void)promised_bytes;
    return enso_backend_cpu()->memory_alloc(device, size_bytes, what, ret_memory, error);
}

static void device_state(struct enso_device *device, struct enso_device_state *ret)
{
    *ret = (struct enso_device_state){.down = atomic_load(&card_of(device)->lost),
                                      .reason = "it is gone"};
}

static void open_place(const struct enso_backend *backend, const char *name)
{
    const struct enso_device_options options = {.name = name, .n_threads = 1, .isa = "auto"};
    struct enso_place *place = &devices.places[devices.n++];

    *place = (struct enso_place){.backend = backend};
    (void)snprintf(place->name, sizeof place->name, "%s", name);
    ENSO_TEST_OK((enum enso_status)backend->device_open(&options, &place->device, &err), &err);
}

static void setup(void)
{
    gpu = *enso_backend_cpu();
    gpu.bind = bind;
    gpu.lane_open = lane_open;
    gpu.begin = begin;
    gpu.staging_alloc = gpu.memory_alloc;
    gpu.staging_free = staging_free;
    gpu.computes = computes;
    gpu.device_metrics = device_metrics;
    gpu.device_state = device_state;
    gpu.memory_info = memory_info;
    gpu.promise = promise;
    gpu.promise_end = promise_end;
    gpu.promised_alloc = promised_alloc;
    gpu.host_memory = false;
    memset(&err, 0, sizeof err);
    memset(cards, 0, sizeof cards);
    n_lanes = 0;
    devices = (struct enso_devices){.gpu_wanted = true};
    for (int i = 0; i < N_GPUS; i++) {
        char name[24];

        (void)snprintf(name, sizeof name, "cuda:%d", i);
        open_place(&gpu, name);
        cards[i].free_bytes = FREE;
    }
    open_place(enso_backend_cpu(), "cpu");
    path = enso_test_source("models/fashion");
    text = NULL;
}

static void teardown(void)
{
    enso_registry_destroy(app.registry);
    enso_meters_destroy(app.meters);
    enso_metrics_destroy(app.metrics);
    enso_loop_destroy(app.loop);
    while (!enso_devices_stop(&devices))
        (void)usleep(1000);
    enso_devices_close(&devices);
    enso_config_done(&config);
    free(path);
    free(text);
}

static void on_change(struct enso_app *a)
{
    (void)a;
}

static enum enso_entry_state state_now(struct enso_served **ret_served, struct enso_error *why)
{
    return enso_registry_state(app.registry, enso_registry_entry(app.registry, 0), ret_served, why);
}

/* Through the registry, as the daemon loads it. extra: more lines of the model's section. Gives
 * what serves, NULL when it failed: then err tells why. */
static struct enso_served *serve(const char *extra)
{
    const struct enso_registry_options options = {.app = &app, .on_change = on_change};
    struct enso_served *s;

    text = enso_test_format("[server]\nmodels = %s\n[device]\ndevice = cuda:0,cuda:1,cuda:2\n"
                            "[model fashion]\n%s\n",
                            path, extra);
    ENSO_TEST_OK(enso_config_load_text("t.conf", text, strlen(text), &config, &err), &err);
    app = (struct enso_app){.config = &config, .devices = &devices};
    app.loop = enso_loop_create(&err);
    app.metrics = enso_metrics_create();
    ck_assert(app.loop != NULL && app.metrics != NULL);
    ENSO_TEST_OK((enum enso_status)enso_meters_create(&app, &app.meters, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_devices_start(&devices, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_registry_create(&options, &app.registry, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_registry_start(app.registry, &err), &err);
    while (state_now(NULL, &err) == ENSO_ENTRY_LOADING)
        (void)usleep(1000);
    (void)state_now(&s, &err);
    return s;
}

/* It serves on just these, in that order: "cuda:0 cuda:2". */
static void expect_places(struct enso_served *s, const char *expected)
{
    char places[64] = "";

    ck_assert_msg(s != NULL, "not served: %s", err.message);
    for (size_t i = 0; i < s->n_replicas; i++)
        (void)snprintf(places + strlen(places), sizeof places - strlen(places), "%s%s",
                       i != 0 ? " " : "", s->replicas[i].place->name);
    ck_assert_str_eq(places, expected);
    ck_assert_ptr_eq(s->model, s->replicas[0].model);
}

static void expect_no_promises(void)
{
    for (size_t i = 0; i < N_GPUS; i++)
        ck_assert_uint_eq(cards[i].promised_bytes, 0);
}

/* --- jobs ------------------------------------------------------------------------------------- */

struct call {
    struct enso_job *job;
    atomic_bool done;
};

static void on_done(struct enso_job *job, void *user)
{
    struct call *c = user;

    (void)job;
    atomic_store(&c->done, true);
}

static int submit(struct enso_served *s, struct call *c)
{
    int st;

    atomic_init(&c->done, false);
    c->job = enso_job_create(1);
    ck_assert_ptr_nonnull(c->job);
    ENSO_TEST_OK((enum enso_status)enso_model_warmup_sample(s->model, 1, &c->job->samples[0], &err),
                 &err);
    c->job->done = on_done;
    c->job->user = c;
    st = enso_served_submit(s, c->job, enso_clock_now_ns(), &err);
    for (size_t i = 0; i < devices.n; i++)
        enso_scheduler_wake(devices.places[i].scheduler);
    return st;
}

/* Wait for it; the number of the GPU that it ran on. */
static size_t ran_on(struct call *c, enum enso_status expected)
{
    size_t at = 0;

    while (!atomic_load(&c->done))
        (void)usleep(200);
    ck_assert_int_eq(c->job->status, expected);
    while (devices.places[at].scheduler != c->job->scheduler)
        at++;
    enso_job_destroy(c->job);
    return at;
}

static size_t runs_on(struct enso_served *s)
{
    struct call c;

    ENSO_TEST_OK((enum enso_status)submit(s, &c), &err);
    return ran_on(&c, ENSO_OK);
}

/* --- several ---------------------------------------------------------------------------------- */

START_TEST(test_served_by_all)
{
    struct enso_served *s = serve("device = cuda:2,cuda:0,cuda:1");
    struct call calls[40];
    unsigned n[N_GPUS] = {0};

    expect_places(s, "cuda:2 cuda:0 cuda:1");
    ck_assert_int_eq(s->fallback.status, ENSO_OK);
    for (int i = 0; i < N_GPUS; i++)
        atomic_store(&cards[i].late_us, 2000);
    for (unsigned i = 0; i < 40; i++)
        ENSO_TEST_OK((enum enso_status)submit(s, &calls[i]), &err);
    for (unsigned i = 0; i < 40; i++)
        n[ran_on(&calls[i], ENSO_OK)]++;
    for (int i = 0; i < N_GPUS; i++)
        ck_assert_uint_gt(n[i], 0);
    enso_served_unref(s);
}
END_TEST

/* Whichever cannot run it: the others serve. */
START_TEST(test_served_one_is_left_out)
{
    static const char *const others[] = {"cuda:1 cuda:2", "cuda:0 cuda:2", "cuda:0 cuda:1"};
    struct enso_served *s;

    cards[_i].refusal = ENSO_UNSUPPORTED;
    s = serve("device = cuda:0,cuda:1,cuda:2");
    expect_places(s, others[_i]);
    ck_assert_int_eq(s->fallback.status, ENSO_OK);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_ne(runs_on(s), (size_t)_i);
    enso_served_unref(s);
}
END_TEST

/* An operator that none of them has: the processor, for the first one's reason. */
START_TEST(test_served_all_fall_back)
{
    struct enso_served *s;

    for (int i = 0; i < N_GPUS; i++)
        cards[i].refusal = ENSO_UNSUPPORTED;
    s = serve("device = cuda:1,cuda:0");
    expect_places(s, "cpu");
    ck_assert_int_eq(s->fallback.status, ENSO_UNSUPPORTED);
    ENSO_TEST_CONTAINS(s->fallback.message, "not on card 1");
    ck_assert_uint_eq(runs_on(s), N_GPUS);
    enso_served_unref(s);
}
END_TEST

/* fp16 was asked for, and one of them is too old for it. */
START_TEST(test_served_type_of_some)
{
    struct enso_served *s;

    cards[1].has_f16 = cards[2].has_f16 = true; /* say they: fp32 it is there in the end */
    s = serve("device = cuda:0,cuda:1,cuda:2\ndtype = fp16");
    expect_places(s, "cuda:1 cuda:2");
    ck_assert_int_eq(s->fallback.status, ENSO_OK);
    enso_served_unref(s);
}
END_TEST

START_TEST(test_served_type_of_none)
{
    ck_assert_ptr_null(serve("device = cuda:0,cuda:1,cuda:2\ndtype = fp16"));
    ck_assert_int_eq(err.status, ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "dtype fp16 is for GPUs");
    expect_no_promises();
}
END_TEST

/* One named GPU is full: the model fails, whichever it is. */
START_TEST(test_served_one_is_full)
{
    cards[_i].free_bytes = 4096;
    ck_assert_ptr_null(serve("device = cuda:0,cuda:1,cuda:2"));
    ck_assert_int_eq(err.status, ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "model 'fashion': no room for batches on cuda:");
    ck_assert_int_eq(strstr(err.message, "cuda:")[5], '0' + _i);
    expect_no_promises();
}
END_TEST

/* Lost ones are left out; when all are, the policy decides. */
START_TEST(test_served_lost)
{
    struct enso_served *s;

    for (int i = 0; i < N_GPUS; i++) {
        cards[i].lost = i != 1;
        cards[i].refusal = i != 1 ? ENSO_UNAVAILABLE : ENSO_OK;
    }
    s = serve("device = cuda:0,cuda:1,cuda:2");
    expect_places(s, "cuda:1");
    enso_served_unref(s);
}
END_TEST

START_TEST(test_served_all_are_lost)
{
    struct enso_served *s;

    for (int i = 0; i < N_GPUS; i++) {
        cards[i].lost = true;
        cards[i].refusal = ENSO_UNAVAILABLE;
    }
    devices.move_lost = _i == 1;
    s = serve("device = cuda:0,cuda:1,cuda:2");
    if (_i == 1) {
        expect_places(s, "cpu");
        ENSO_TEST_CONTAINS(s->fallback.message, "not on card 0");
    } else {
        ck_assert_ptr_null(s);
        ck_assert_int_eq(err.status, ENSO_UNAVAILABLE);
        ENSO_TEST_CONTAINS(err.message, "not on card 0");
    }
    enso_served_unref(s);
}
END_TEST

/* Cards that die in the first run of the model: it is loaded again, as those that serve are moved.
 */
START_TEST(test_served_is_lost_while_it_loads)
{
    struct enso_served *s;

    devices.move_lost = _i == 1;
    cards[0].dies = true;
    s = serve(_i == 2 ? "device = cuda:0,cuda:2" : "device = cuda:0");
    if (_i == 0) {
        ck_assert_ptr_null(s);
        ENSO_TEST_CONTAINS(err.message, "card 0 died");
    } else {
        expect_places(s, _i == 1 ? "cpu" : "cuda:2");
    }
    enso_served_unref(s);
}
END_TEST

/* Of unlike cards the faster one computes, until it is busy; the slow one is of use then. */
START_TEST(test_served_unlike)
{
    struct call calls[40];
    struct enso_served *s;
    unsigned n[2] = {0};

    cards[0].late_us = 20000; /* far apart: this machine may be busy */
    cards[1].late_us = 200000;
    s = serve("device = cuda:0,cuda:1\nmax_batch_items = 1");
    expect_places(s, "cuda:0 cuda:1");
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(runs_on(s), 0);
    for (unsigned i = 0; i < 40; i++)
        ENSO_TEST_OK((enum enso_status)submit(s, &calls[i]), &err);
    for (unsigned i = 0; i < 40; i++)
        n[ran_on(&calls[i], ENSO_OK)]++;
    ck_assert_uint_gt(n[1], 0);
    ck_assert_uint_gt(n[0], 2 * n[1]);
    enso_served_unref(s);
}
END_TEST

/* One copy's queue is full, or the job would be late there: the other one takes it. */
START_TEST(test_served_refused_by_one)
{
    struct call calls[8];
    struct enso_served *s;
    unsigned came;

    s = serve("device = cuda:0,cuda:1\nmax_batch_items = 1\nmax_queue_items = 1");
    came = atomic_load(&n_came);
    atomic_store(&shut, true);
    for (unsigned i = 0; i < 2; i++)
        ENSO_TEST_OK((enum enso_status)submit(s, &calls[i]), &err);
    while (atomic_load(&n_came) != came + 2)
        (void)usleep(1000);
    for (unsigned i = 2; i < 4; i++)
        ENSO_TEST_OK((enum enso_status)submit(s, &calls[i]), &err);
    ck_assert_int_eq(submit(s, &calls[4]), ENSO_OVERLOADED);
    ENSO_TEST_CONTAINS(err.message, "the queue of model 'fashion' is full: 1 items wait");
    ck_assert_uint_gt(calls[4].job->retry_after_ns, 0);
    enso_job_destroy(calls[4].job);
    atomic_store(&shut, false);
    for (unsigned i = 0; i < 4; i++)
        (void)ran_on(&calls[i], ENSO_OK);
    enso_served_unref(s);
}
END_TEST

/* What is lost while it serves gets nothing any more; when all are lost they tell. */
START_TEST(test_served_loses)
{
    struct enso_served *s = serve("device = cuda:0,cuda:1");
    struct call c;

    atomic_store(&cards[0].lost, true);
    ck_assert(!enso_served_is_lost(s, NULL));
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(runs_on(s), 1);
    atomic_store(&cards[1].lost, true);
    for (int i = 0; i < 2; i++)
        enso_scheduler_stop(devices.places[i].scheduler, "it is gone", enso_clock_now_ns());
    ck_assert(enso_served_is_lost(s, &err));
    ck_assert_str_eq(err.message, "it is gone");
    enso_error_clear(&err);
    ck_assert_int_eq(submit(s, &c), ENSO_UNAVAILABLE);
    enso_job_destroy(c.job);
    enso_served_unref(s);
}
END_TEST

/* --- any -------------------------------------------------------------------------------------- */

/* Batches do not fit on the emptiest, nor weights on the next one. */
START_TEST(test_served_where_there_is_room)
{
    struct enso_served *s;

    cards[0].weight_bytes = 3;
    cards[1].weight_bytes = 2;
    cards[2].weight_bytes = 1;
    cards[2].free_bytes = 4096;
    cards[1].refusal = ENSO_NO_MEMORY;
    s = serve("");
    expect_places(s, "cuda:0");
    ck_assert_int_eq(s->fallback.status, ENSO_OK);
    ck_assert_uint_eq(cards[2].promised_bytes, 0);
    ck_assert_uint_gt(cards[0].promised_bytes, 0);
    ck_assert_uint_eq(runs_on(s), 0);
    enso_served_unref(s);
}
END_TEST

/* None has room: the emptiest one's sizes. */
START_TEST(test_served_where_there_is_none)
{
    cards[0].weight_bytes = 3;
    for (size_t i = 0; i < N_GPUS; i++)
        cards[i].free_bytes = (i + 1) << 16;
    cards[2].refusal = ENSO_NO_MEMORY;
    ck_assert_ptr_null(serve(""));
    ck_assert_int_eq(err.status, ENSO_NO_MEMORY);
    ENSO_TEST_CONTAINS(err.message, "model 'fashion': no room for batches on cuda:1: its 1 lane "
                                    "needs ");
    ENSO_TEST_CONTAINS(err.message, " MiB for them, and 0.1 MiB of gpu_memory are left");
    ENSO_TEST_CONTAINS(err.message, "; the other GPUs have no room either");
    expect_no_promises();
}
END_TEST

/* Other failures are no matter of room. */
START_TEST(test_served_other_failures)
{
    cards[0].refusal = ENSO_CORRUPT;
    ck_assert_ptr_null(serve(""));
    ck_assert_int_eq(err.status, ENSO_CORRUPT);
    ENSO_TEST_CONTAINS(err.message, "not on card 0");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server/served");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors");

    tcase_set_timeout(core, 30);
    tcase_add_checked_fixture(core, setup, teardown);
    tcase_add_checked_fixture(errors, setup, teardown);
    tcase_add_test(core, test_served_by_all);
    tcase_add_loop_test(core, test_served_one_is_left_out, 0, N_GPUS);
    tcase_add_test(core, test_served_all_fall_back);
    tcase_add_test(core, test_served_type_of_some);
    tcase_add_test(core, test_served_lost);
    tcase_add_test(core, test_served_unlike);
    tcase_add_test(core, test_served_refused_by_one);
    tcase_add_test(core, test_served_loses);
    tcase_add_test(core, test_served_where_there_is_room);
    tcase_add_test(errors, test_served_type_of_none);
    tcase_add_loop_test(errors, test_served_one_is_full, 0, N_GPUS);
    tcase_add_loop_test(errors, test_served_all_are_lost, 0, 2);
    tcase_add_loop_test(errors, test_served_is_lost_while_it_loads, 0, 3);
    tcase_add_test(errors, test_served_where_there_is_none);
    tcase_add_test(errors, test_served_other_failures);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
