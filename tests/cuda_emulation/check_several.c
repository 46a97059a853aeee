/* SPDX-License-Identifier: Apache-2.0
 *
 * The module with several lanes on a card, and with several cards: batches on all of them at once
 * while programs come and go, each on threads of its own; a card that is lost beside one that
 * works. The emulation reports whoever uses what is another card's.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/module_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/program/context.h"
#include "engine/program/program.h"

#define COLUMNS 64
#define N_BATCHES 12
#define MAX_WORKERS 6
#define ALWAYS 1000000000 /* percent: graphs pay, however short launching is here */

static float weight(int64_t i)
{
    return (float)(1 + i % 5);
}

/* y = x W, one column. */
static struct enso_graph *graph_new(void)
{
    const struct enso_shape shape = {.rank = 2,
                                     .dims = {{1, ENSO_EXTENT_ITEMS}, enso_dim_fixed(COLUMNS)}};
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = 2, .dims = {1, COLUMNS}};
    struct enso_graph *g = enso_graph_create("product");
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &shape), node, w;

    c.data = enso_alloc(COLUMNS * sizeof(float));
    for (int64_t i = 0; i < COLUMNS; i++)
        ((float *)c.data)[i] = weight(i);
    w = enso_graph_add_constant(g, "w", &c);
    node = enso_graph_add_node(g, ENSO_OP_LINEAR, "product", (int[]){x, w}, 2, 1);
    enso_graph_add_output(g, "y", enso_graph_node(g, node)->outputs[0]);
    return g;
}

/* A card with a program. */
struct card {
    struct enso_device *device;
    struct enso_program *program;
};

static void card_open(struct card *c, const char *name)
{
    const struct enso_device_options options = {
        .name = name, .long_percent = ALWAYS, .hang_ms = 60000};
    struct enso_error err = {0};

    *c = (struct card){0};
    ENSO_TEST_OK((enum enso_status)rig_backend()->device_open(&options, &c->device, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_program_create(rig_backend(), c->device, graph_new(),
                                                       &c->program, &err),
                 &err);
}

static void card_close(struct card *c)
{
    enso_program_unref(c->program);
    rig_backend()->device_close(c->device);
}

/* A lane's thread. */
struct worker {
    pthread_t thread;
    struct card *card;
    struct enso_lane *lane;
    struct enso_context *context;
    struct enso_lane_stats stats;
    struct enso_error err;
    int status;
    unsigned n_right;
};

static int begin(struct worker *w, unsigned slot, int64_t n, float seed)
{
    static const bool wanted[] = {true};
    struct enso_extents e = {.n_items = n};
    struct enso_tensor x;
    int st = enso_context_stage(w->context, w->lane, slot, &e, &x, &w->err);

    if (st != ENSO_OK)
        return st;
    for (int64_t i = 0; i < n * COLUMNS; i++)
        ((float *)x.data)[i] = seed + (float)(i % 7);
    return enso_context_begin(w->context, w->lane, slot, &x, wanted, NULL, &w->err);
}

static int finish(struct worker *w, unsigned slot, int64_t n, float seed)
{
    struct enso_tensor y;
    int st = enso_context_finish(w->context, w->lane, slot, &y, NULL, &w->err);
    bool right = st == ENSO_OK;

    for (int64_t row = 0; right && row < n; row++) {
        float want = 0;

        for (int64_t i = 0; i < COLUMNS; i++)
            want += (seed + (float)((row * COLUMNS + i) % 7)) * weight(i);
        right = ((const float *)y.data)[row] == want;
    }
    w->n_right += right;
    return st;
}

/* Batches of three sizes in both slots; each size is recorded when it comes again. */
static int work(struct worker *w)
{
    static const int64_t sizes[] = {2, 9, 4};
    int st = ENSO_OK;

    for (unsigned i = 0; st == ENSO_OK && i < N_BATCHES; i++) {
        int64_t n = sizes[i / 4 % 3];

        st = begin(w, 0, n, (float)i);
        if (st != ENSO_OK)
            return st;
        st = begin(w, 1, n, (float)i + 1);
        int first = finish(w, 0, n, (float)i), second = st;

        if (st == ENSO_OK)
            second = finish(w, 1, n, (float)i + 1);
        st = first != ENSO_OK ? first : second;
    }
    return st;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    w->status = rig_backend()->lane_open(w->card->device, &w->lane, &w->err);
    if (w->status == ENSO_OK)
        w->status = enso_context_create(w->card->program, &w->context, &w->err);
    if (w->status == ENSO_OK)
        w->status = work(w);
    if (w->lane != NULL)
        rig_backend()->lane_stats(w->lane, &w->stats);
    enso_context_destroy(w->context);
    rig_backend()->lane_close(w->lane);
    return NULL;
}

/* Programs come and go on one thread, on this card and on that. */
static void load_and_unload(struct card *cards, size_t n_cards)
{
    struct enso_error err = {0};

    for (unsigned i = 0; i < 6; i++) {
        struct enso_program *program = NULL;

        ENSO_TEST_OK((enum enso_status)enso_program_create(rig_backend(), cards[i % n_cards].device,
                                                           graph_new(), &program, &err),
                     &err);
        if (i % 3 == 2) /* freed by a thread that was at the other card last */
            rig_backend()->memory_info(cards[(i + 1) % n_cards].device, &(size_t){0}, &(size_t){0});
        enso_program_unref(program);
    }
}

static void run_all(struct card *cards, size_t n_cards, unsigned lanes_each)
{
    struct worker workers[MAX_WORKERS] = {{0}};
    size_t n = n_cards * lanes_each;

    ck_assert_uint_le(n, MAX_WORKERS);
    for (size_t i = 0; i < n; i++) {
        workers[i].card = &cards[i % n_cards];
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
    load_and_unload(cards, n_cards);
    for (size_t i = 0; i < n; i++) {
        struct worker *w = &workers[i];

        ck_assert_int_eq(pthread_join(w->thread, NULL), 0);
        ENSO_TEST_OK((enum enso_status)w->status, &w->err);
        ck_assert_uint_eq(w->n_right, 2 * N_BATCHES);
        ck_assert_uint_gt(w->stats.n_captures, 0);
        ck_assert_uint_gt(w->stats.n_graph_launches, 0);
        ck_assert_uint_eq(w->stats.n_graph_launches + w->stats.n_eager, 2 * N_BATCHES);
    }
}

static void set_seed(int seed)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", seed);
    setenv("ENSO_CUDA_EMULATED_SEED", text, 1);
}

START_TEST(test_several_lanes)
{
    struct card card;

    set_seed(_i);
    card_open(&card, "cuda:0");
    run_all(&card, 1, 3);
    card_close(&card);
}
END_TEST

/* Whether the first of two batches on a lane is still under way after another model of that lane is
 * unloaded. */
static bool unload_beside_batches(struct card *card)
{
    struct worker stays = {.card = card}, goes = {.card = card};
    struct enso_program *program = NULL;
    bool pending = false;

    ENSO_TEST_OK((enum enso_status)rig_backend()->lane_open(card->device, &stays.lane, &stays.err),
                 &stays.err);
    goes.lane = stays.lane;
    ENSO_TEST_OK((enum enso_status)enso_program_create(rig_backend(), card->device, graph_new(),
                                                       &program, &goes.err),
                 &goes.err);
    ENSO_TEST_OK((enum enso_status)enso_context_create(program, &goes.context, &goes.err),
                 &goes.err);
    ENSO_TEST_OK((enum enso_status)enso_context_create(card->program, &stays.context, &stays.err),
                 &stays.err);
    ENSO_TEST_OK((enum enso_status)begin(&goes, 0, 3, 1), &goes.err);
    ENSO_TEST_OK((enum enso_status)finish(&goes, 0, 3, 1), &goes.err);
    for (unsigned round = 0; round < 3; round++) { /* the first ones make room, which waits */
        for (unsigned slot = 0; slot < 2; slot++)
            ENSO_TEST_OK((enum enso_status)begin(&stays, slot, 4, (float)slot), &stays.err);
        if (round == 2) {
            enso_context_destroy(goes.context);
            enso_program_unref(program);
            pending = !rig_backend()->done(stays.lane, 0);
        }
        for (unsigned slot = 0; slot < 2; slot++)
            ENSO_TEST_OK((enum enso_status)finish(&stays, slot, 4, (float)slot), &stays.err);
    }
    ck_assert_uint_eq(stays.n_right, 6);
    enso_context_destroy(stays.context);
    rig_backend()->lane_close(stays.lane);
    return pending;
}

/* An unload waits for nobody's batches: by seed 0 an event that nobody has waited for is not there
 * at the first look. */
START_TEST(test_several_unload_waits_for_nobody)
{
    struct card card;

    set_seed(0);
    card_open(&card, "cuda:0");
    ck_assert(unload_beside_batches(&card));
    card_close(&card);
}
END_TEST

static struct enso_device_metrics metrics_of(const struct card *c)
{
    struct enso_device_metrics metrics;

    rig_backend()->device_metrics(c->device, &metrics);
    return metrics;
}

START_TEST(test_several_cards)
{
    struct enso_device_info info;
    struct card cards[2];
    struct enso_device_metrics before;

    set_seed(_i);
    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    card_open(&cards[0], "cuda:0");
    before = metrics_of(&cards[0]);
    card_open(&cards[1], "cuda:1");
    ck_assert_uint_eq(metrics_of(&cards[0]).weight_bytes, before.weight_bytes);
    ck_assert_uint_eq(metrics_of(&cards[1]).weight_bytes, before.weight_bytes);
    rig_backend()->device_info(cards[1].device, &info);
    ck_assert_str_eq(info.name, "cuda-emulated:1");
    run_all(cards, 2, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(metrics_of(&cards[i]).weight_bytes, before.weight_bytes);
        ck_assert_uint_eq(metrics_of(&cards[i]).arena_bytes, 0);
        ck_assert_uint_eq(metrics_of(&cards[i]).lane_bytes, before.lane_bytes);
    }
    card_close(&cards[0]); /* the other one lives on */
    run_all(&cards[1], 1, 1);
    card_close(&cards[1]);
}
END_TEST

static int once(struct worker *w)
{
    int st = begin(w, 0, 3, 1);

    return st == ENSO_OK ? finish(w, 0, 3, 1) : st;
}

static void worker_open(struct worker *w, struct card *card)
{
    *w = (struct worker){.card = card};
    ENSO_TEST_OK((enum enso_status)rig_backend()->lane_open(card->device, &w->lane, &w->err),
                 &w->err);
    ENSO_TEST_OK((enum enso_status)enso_context_create(card->program, &w->context, &w->err),
                 &w->err);
}

static void worker_close(struct worker *w)
{
    enso_context_destroy(w->context);
    rig_backend()->lane_close(w->lane);
}

static bool is_down(const struct card *c)
{
    struct enso_device_state state;

    rig_backend()->device_state(c->device, &state);
    return state.down;
}

/* One thread for all, as the loader: what one card died of is no news of the other. In two ways: a
 * kernel that meets an illegal address, and a call that fails. */
START_TEST(test_several_one_is_lost)
{
    static const char *const wishes[][2] = {{"ENSO_CUDA_EMULATED_FAULT", "1:700"},
                                            {"ENSO_CUDA_EMULATED_FAIL", "launch:700"},
                                            {"ENSO_CUDA_EMULATED_FAIL", "2:700"}};
    struct card cards[2];
    struct worker w[2];

    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    for (int i = 0; i < 2; i++) {
        char name[24];

        snprintf(name, sizeof(name), "cuda:%d", i);
        card_open(&cards[i], name);
        worker_open(&w[i], &cards[i]);
        ENSO_TEST_OK((enum enso_status)once(&w[i]), &w[i].err);
    }
    setenv(wishes[_i][0], wishes[_i][1], 1);
    ck_assert_int_eq(once(&w[1]), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(w[1].err.message, "cuda-emulated:1 failed");
    ck_assert(is_down(&cards[1]) && !is_down(&cards[0]));
    ENSO_TEST_OK((enum enso_status)once(&w[0]), &w[0].err);
    enso_error_clear(&w[1].err);
    ck_assert_int_eq(once(&w[1]), ENSO_UNAVAILABLE);
    worker_close(&w[1]);
    load_and_unload(cards, 1);
    ENSO_TEST_OK((enum enso_status)once(&w[0]), &w[0].err);
    card_close(&cards[1]);
    ENSO_TEST_OK((enum enso_status)once(&w[0]), &w[0].err);
    ck_assert(!is_down(&cards[0]));
    ck_assert_uint_eq(w[0].n_right, 4);
    worker_close(&w[0]);
    card_close(&cards[0]);
}
END_TEST

/* More than there are. */
START_TEST(test_several_not_there)
{
    const struct enso_device_options options = {.name = "cuda:2"};
    struct enso_device *device;
    struct enso_error err = {0};

    setenv("ENSO_CUDA_EMULATED_DEVICES", "2", 1);
    ck_assert_int_eq(rig_backend()->device_open(&options, &device, &err), ENSO_NOT_FOUND);
    ck_assert_str_eq(err.message,
                     "there is no cuda:2: this machine has 2 GPUs, the last is cuda:1");
}
END_TEST

/* What a lane is promised is what its context comes to, and no more. */
START_TEST(test_several_lane_need)
{
    static const int64_t sizes[] = {1, 16, 700};
    struct enso_error err = {0};
    struct card card;

    card_open(&card, "cuda:0");
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(sizes); i++) {
        const struct enso_extents e = {.n_items = sizes[i]};
        struct worker w;
        struct enso_context_need need = {0};

        worker_open(&w, &card);
        ENSO_TEST_OK((enum enso_status)enso_context_need(card.program, &e, &need, &err), &err);
        for (unsigned slot = 0; slot < 2; slot++) {
            ENSO_TEST_OK((enum enso_status)begin(&w, slot, sizes[i], 1), &w.err);
            ENSO_TEST_OK((enum enso_status)finish(&w, slot, sizes[i], 1), &w.err);
        }
        ck_assert_uint_eq(enso_context_bytes(w.context), need.all_bytes);
        worker_close(&w);
    }
    card_close(&card);
}
END_TEST

/* ---- little memory ---- */

static void *take(const struct card *c, size_t bytes)
{
    void *memory = NULL;

    (void)rig_backend()->memory_alloc(c->device, bytes, "what a test takes", &memory, NULL);
    return memory;
}

static size_t free_bytes_of(const struct card *c)
{
    size_t free_bytes, total_bytes;

    rig_backend()->memory_info(c->device, &free_bytes, &total_bytes);
    return free_bytes;
}

static void card_open_small(struct card *c)
{
    const struct enso_device_options options = {
        .name = "cuda:0", .long_percent = ALWAYS, .hang_ms = 60000, .memory_bytes = 4 << 20};
    struct enso_error err = {0};

    *c = (struct card){0};
    ENSO_TEST_OK((enum enso_status)rig_backend()->device_open(&options, &c->device, &err), &err);
    ENSO_TEST_OK((enum enso_status)enso_program_create(rig_backend(), c->device, graph_new(),
                                                       &c->program, &err),
                 &err);
}

static struct enso_lane_stats stats_of(const struct worker *w)
{
    struct enso_lane_stats stats;

    rig_backend()->lane_stats(w->lane, &stats);
    return stats;
}

static void batch(struct worker *w, int64_t n)
{
    ENSO_TEST_OK((enum enso_status)begin(w, 0, n, 1), &w->err);
    ENSO_TEST_OK((enum enso_status)finish(w, 0, n, 1), &w->err);
}

/* Memory for anything comes before recorded batches: those that were used longest ago give way, one
 * that is on the lane does not, and nothing goes where it would not help. */
START_TEST(test_several_recordings_give_way)
{
    enum { LEAST = 57, MOST = 64 };
    uint64_t bare, recorded;
    struct enso_lane_stats before;
    struct worker w;
    struct card card;
    void *memory;

    card_open_small(&card);
    worker_open(&w, &card);
    batch(&w, MOST);
    bare = metrics_of(&card).lane_bytes;
    for (int64_t n = MOST; n >= LEAST; n--)
        for (int i = 0; i < 2; i++)
            batch(&w, n);
    ck_assert_uint_eq(stats_of(&w).n_captures, MOST - LEAST + 1);
    recorded = metrics_of(&card).lane_bytes - bare;
    ck_assert_uint_gt(recorded, 0);

    ck_assert_ptr_null(take(&card, free_bytes_of(&card) + recorded + 1)); /* in vain */
    ck_assert_uint_eq(metrics_of(&card).lane_bytes - bare, recorded);
    memory = take(&card, free_bytes_of(&card) + recorded / 2);
    ck_assert_ptr_nonnull(memory);
    ck_assert_uint_eq(metrics_of(&card).lane_bytes - bare, recorded / 2);
    before = stats_of(&w);
    batch(&w, LEAST); /* the latest */
    batch(&w, LEAST + 3);
    ck_assert_uint_eq(stats_of(&w).n_graph_launches, before.n_graph_launches + 2);
    batch(&w, MOST); /* there is no room to record it again */
    ck_assert_uint_eq(stats_of(&w).n_eager, before.n_eager + 1);
    ck_assert_uint_eq(stats_of(&w).n_captures, before.n_captures);

    ENSO_TEST_OK((enum enso_status)begin(&w, 0, LEAST + 1, 1), &w.err);
    ck_assert_ptr_null(take(&card, free_bytes_of(&card) + recorded / 2));
    rig_backend()->memory_free(card.device, memory);
    memory = take(&card, free_bytes_of(&card) + recorded / 8 * 3);
    ck_assert_ptr_nonnull(memory);
    ck_assert_uint_eq(metrics_of(&card).lane_bytes - bare, recorded / 8);
    ENSO_TEST_OK((enum enso_status)finish(&w, 0, LEAST + 1, 1), &w.err);
    before = stats_of(&w);
    batch(&w, LEAST + 1);
    ck_assert_uint_eq(stats_of(&w).n_graph_launches, before.n_graph_launches + 1);
    rig_backend()->memory_free(card.device, memory);
    batch(&w, MOST); /* now there is */
    ck_assert_uint_eq(stats_of(&w).n_captures, before.n_captures + 1);
    worker_close(&w);
    ck_assert_uint_lt(metrics_of(&card).lane_bytes, bare);
    card_close(&card);
}
END_TEST

#define MOST_ITEMS 9 /* of work */

static atomic_uint n_ready;

/* A lane whose batches were promised. Its context grows again and again. */
static void *promised_main(void *arg)
{
    struct worker *w = arg;
    const struct enso_extents e = {.n_items = MOST_ITEMS};
    struct enso_context_need need;

    w->status = rig_backend()->lane_open(w->card->device, &w->lane, &w->err);
    if (w->status == ENSO_OK)
        w->status = enso_context_need(w->card->program, &e, &need, &w->err);
    if (w->status == ENSO_OK)
        w->status = rig_backend()->promise(w->card->device, need.all_bytes, "the batches", &w->err);
    atomic_fetch_add(&n_ready, 1);
    for (int i = 0; w->status == ENSO_OK && i < 3; i++) {
        w->status = enso_context_create(w->card->program, &w->context, &w->err);
        if (w->status != ENSO_OK)
            break;
        enso_context_use_promise(w->context, &need);
        w->status = work(w);
        w->context = enso_context_destroy(w->context);
    }
    if (w->status == ENSO_OK)
        rig_backend()->promise_end(w->card->device, need.all_bytes);
    rig_backend()->lane_close(w->lane);
    return NULL;
}

/* Whatever somebody else takes meanwhile, a promised batch finds its memory. */
START_TEST(test_several_promises_are_kept)
{
    struct worker workers[3] = {{0}};
    struct card card;
    size_t n = ENSO_ARRAY_SIZE(workers), n_taken = 0, before;

    set_seed(_i);
    card_open_small(&card);
    before = free_bytes_of(&card);
    atomic_store(&n_ready, 0);
    for (size_t i = 0; i < n; i++) {
        workers[i].card = &card;
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, promised_main, &workers[i]), 0);
    }
    while (atomic_load(&n_ready) < n) /* lanes are open, which nobody promised */
        (void)usleep(1000);
    for (int i = 0; i < 200; i++) {
        void *memory = take(&card, free_bytes_of(&card) + (i % 2 != 0 ? 70000 : 0));

        n_taken += memory != NULL;
        (void)usleep(100);
        rig_backend()->memory_free(card.device, memory);
    }
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ENSO_TEST_OK((enum enso_status)workers[i].status, &workers[i].err);
        ck_assert_uint_eq(workers[i].n_right, 3 * 2 * N_BATCHES);
    }
    ck_assert_uint_gt(n_taken, 0);
    ck_assert_uint_eq(free_bytes_of(&card), before);
    card_close(&card);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cuda_emulation/several");
    TCase *tc = tcase_create("core");

    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, test_several_lanes, 0, 3);
    tcase_add_test(tc, test_several_unload_waits_for_nobody);
    tcase_add_loop_test(tc, test_several_cards, 0, 3);
    tcase_add_test(tc, test_several_lane_need);
    tcase_add_test(tc, test_several_recordings_give_way);
    tcase_add_loop_test(tc, test_several_promises_are_kept, 0, 3);
    suite_add_tcase(s, tc);
    tc = tcase_create("errors");
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, test_several_one_is_lost, 0, 3);
    tcase_add_test(tc, test_several_not_there);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return module_main(suite, NULL);
}
