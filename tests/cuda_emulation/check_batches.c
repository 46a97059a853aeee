/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches of one program in the two slots of a lane of the CUDA module, over the emulated runtime:
 * copies on streams of their own, batches that are recorded and run as graphs, memory that moves
 * under them or runs short, cards that hang, and any call of the runtime failing once.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/module_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/passes/passes.h"
#include "engine/program/context.h"
#include "engine/program/program.h"

#define COLUMNS 1024
#define ALWAYS 1000000000 /* percent: graphs pay, however short launching is here */
#define LARGE 17          /* rows: its copies stand on streams of their own */

struct two {
    struct enso_device *device;
    struct enso_program *program;
    struct enso_context *context;
    struct enso_lane *lane;
};

static float weight(int64_t k, int64_t i)
{
    return (float)(1 + (k * 3 + i) % 5);
}

/* y = x W, z = -x */
static struct enso_graph *two_graph(void)
{
    const struct enso_shape shape = {.rank = 2,
                                     .dims = {{1, ENSO_EXTENT_ITEMS}, enso_dim_fixed(COLUMNS)}};
    struct enso_constant c = {
        .dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32, .rank = 2, .dims = {2, COLUMNS}};
    struct enso_graph *g = enso_graph_create("two");
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &shape), node, w;

    c.data = enso_alloc(2 * COLUMNS * sizeof(float));
    ck_assert_ptr_nonnull(c.data);
    for (int i = 0; i < 2 * COLUMNS; i++)
        ((float *)c.data)[i] = weight(i / COLUMNS, i % COLUMNS);
    w = enso_graph_add_constant(g, "w", &c);
    node = enso_graph_add_node(g, ENSO_OP_LINEAR, "product", (int[]){x, w}, 2, 1);
    enso_graph_add_output(g, "y", enso_graph_node(g, node)->outputs[0]);
    node = enso_graph_add_node(g, ENSO_OP_NEG, "minus", &x, 1, 1);
    enso_graph_add_output(g, "z", enso_graph_node(g, node)->outputs[0]);
    return g;
}

static int two_open_with(struct two *t, const struct enso_device_options *options,
                         struct enso_error *err)
{
    const struct enso_backend *b = rig_backend();
    int st;

    *t = (struct two){0};
    st = b->device_open(options, &t->device, err);
    if (st == ENSO_OK)
        st = enso_program_create(b, t->device, two_graph(), &t->program, err);
    if (st == ENSO_OK)
        st = enso_context_create(t->program, &t->context, err);
    return st == ENSO_OK ? b->lane_open(t->device, &t->lane, err) : st;
}

static int two_open(struct two *t, unsigned hang_ms, unsigned long_percent, struct enso_error *err)
{
    const struct enso_device_options options = {
        .name = "cuda", .hang_ms = hang_ms, .long_percent = long_percent};

    return two_open_with(t, &options, err);
}

static void two_close(struct two *t)
{
    enso_context_destroy(t->context);
    rig_backend()->lane_close(t->lane);
    enso_program_unref(t->program);
    rig_backend()->device_close(t->device);
}

static int two_begin(struct two *t, unsigned slot, int64_t n, float seed, struct enso_error *err)
{
    static const bool wanted[] = {true, true};
    struct enso_extents e = {.n_items = n};
    struct enso_tensor x;
    int st = enso_context_stage(t->context, t->lane, slot, &e, &x, err);

    if (st != ENSO_OK)
        return st;
    ck_assert_int_eq(x.dims[0], n);
    for (int64_t i = 0; i < n * COLUMNS; i++)
        ((float *)x.data)[i] = seed + (float)(i % 97);
    return enso_context_begin(t->context, t->lane, slot, &x, wanted, NULL, err);
}

static int two_finish(struct two *t, unsigned slot, int64_t n, float seed, struct enso_error *err)
{
    struct enso_tensor out[2];
    int st = enso_context_finish(t->context, t->lane, slot, out, NULL, err);

    for (int64_t row = 0; st == ENSO_OK && row < n; row++) {
        float want[2] = {0, 0};

        for (int64_t i = 0; i < COLUMNS; i++) {
            float x = seed + (float)((row * COLUMNS + i) % 97);

            want[0] += x * weight(0, i);
            want[1] += x * weight(1, i);
            if (((float *)out[1].data)[row * COLUMNS + i] != -x)
                ck_abort_msg("row %lld, column %lld", (long long)row, (long long)i);
        }
        ck_assert_float_eq(((float *)out[0].data)[2 * row], want[0]);
        ck_assert_float_eq(((float *)out[0].data)[2 * row + 1], want[1]);
    }
    return st;
}

/* Load; batches of several sizes in two slots, each several times, so that they are recorded and
 * run as graphs and memory grows under them; unload. */
static int two_live(struct enso_error *err)
{
    static const int64_t sizes[] = {2, 2, 2, LARGE, 2, LARGE, 3, LARGE, 2, LARGE};
    bool busy[2] = {false, false};
    struct two t;
    int st = two_open(&t, 0, ALWAYS, err);

    for (unsigned i = 0; st == ENSO_OK && i < ENSO_ARRAY_SIZE(sizes); i++) {
        unsigned slot = i % 2;

        if (busy[slot])
            st = two_finish(&t, slot, sizes[i - 2], (float)(i - 2), err);
        busy[slot] = false;
        if (st == ENSO_OK)
            st = two_begin(&t, slot, sizes[i], (float)i, err);
        busy[slot] = st == ENSO_OK;
    }
    for (unsigned i = 0; i < 2; i++)
        if (busy[i]) {
            unsigned last = (unsigned)ENSO_ARRAY_SIZE(sizes) - 2 + i;
            struct enso_tensor out[2];
            int end = st == ENSO_OK ? two_finish(&t, i, sizes[last], (float)last, err)
                                    : enso_context_finish(t.context, t.lane, i, out, NULL, NULL);

            st = st == ENSO_OK ? end : st;
        }
    two_close(&t);
    return st;
}

START_TEST(test_batches_two_slots)
{
    struct enso_error err = {0};
    char seed[16];

    snprintf(seed, sizeof(seed), "%d", _i);
    setenv("ENSO_CUDA_EMULATED_SEED", seed, 1); /* the order of what may run in any */
    ENSO_TEST_OK((enum enso_status)two_live(&err), &err);
}
END_TEST

/* Every call fails once, whatever is under way: a sentence, all memory back, the next life whole.
 * Of a card that is lost for good nothing is asked back. */
START_TEST(test_batches_two_slots_survive_any_failure)
{
    static const int codes[] = {2 /* memory */, 701 /* out of resources */, 700 /* lost */};
    struct enso_error err = {0};
    bool through = false;
    size_t before;
    unsigned n_failed = 0;

    ENSO_TEST_OK((enum enso_status)two_live(&err), &err); /* what is made once is made */
    before = module_free_bytes();
    for (unsigned n = 1; !through; n++) {
        ck_assert_uint_lt(n, 2000);
        n_failed += module_fail_call(n, codes[_i], two_live, &through) != ENSO_OK;
        if (codes[_i] != 700)
            ck_assert_uint_eq(module_free_bytes(), before);
    }
    ck_assert_uint_gt(n_failed, 50);
    ENSO_TEST_OK((enum enso_status)two_live(&err), &err);
}
END_TEST

static struct enso_lane_stats two_stats(const struct two *t)
{
    struct enso_lane_stats stats;

    rig_backend()->lane_stats(t->lane, &stats);
    return stats;
}

static void two_batch(struct two *t, unsigned slot, int64_t n, float seed)
{
    struct enso_error err = {0};

    ENSO_TEST_OK((enum enso_status)two_begin(t, slot, n, seed, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_finish(t, slot, n, seed, &err), &err);
}

/* A size runs eagerly, is recorded when it comes again, in each slot; memory that moves ends that.
 */
START_TEST(test_batches_graphs)
{
    struct enso_error err = {0};
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, ALWAYS, &err), &err);
    for (unsigned i = 0; i < 5; i++)
        two_batch(&t, 0, 8, (float)i);
    ck_assert_uint_eq(two_stats(&t).n_eager, 1);
    ck_assert_uint_eq(two_stats(&t).n_captures, 1);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 4);
    two_batch(&t, 0, 7, 3); /* another size of the same plan */
    ck_assert_uint_eq(two_stats(&t).n_eager, 2);
    two_batch(&t, 0, 8, 4);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 5);
    two_batch(&t, 1, 8, 5); /* another slot: its blocks are new, what was recorded goes */
    two_batch(&t, 1, 8, 6);
    two_batch(&t, 0, 8, 7);
    two_batch(&t, 0, 8, 8);
    ck_assert_uint_eq(two_stats(&t).n_captures, 3);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 7);
    two_batch(&t, 0, LARGE, 9); /* the outputs grow */
    two_batch(&t, 0, 8, 10);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 7);
    two_batch(&t, 0, 8, 11);
    two_batch(&t, 1, 8, 12);
    two_batch(&t, 1, 8, 13);
    ck_assert_uint_eq(two_stats(&t).n_captures, 5);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 9);
    for (int64_t n = 1; n <= 100; n++) /* more sizes than are kept: the old ones go */
        for (int i = 0; i < 2; i++)
            two_batch(&t, 0, n, (float)n);
    two_close(&t);
}
END_TEST

#define SIDE 24 /* of a picture: its bytes and its floats differ by more than a rounded block */

static struct enso_graph *picture_graph(void)
{
    const struct enso_shape shape = {
        .rank = 4, .dims = {{1, ENSO_EXTENT_ITEMS}, {3, 0}, {SIDE, 0}, {SIDE, 0}}};
    float table[3 * 256];
    struct enso_graph *g = enso_graph_create("picture");
    int x = enso_graph_add_input(g, "x", ENSO_DTYPE_F32, &shape), node;

    node = enso_graph_add_node(g, ENSO_OP_NEG, "minus", &x, 1, 1);
    enso_graph_add_output(g, "y", enso_graph_node(g, node)->outputs[0]);
    for (int i = 0; i < 3 * 256; i++)
        table[i] = (float)i / 2;
    ck_assert_int_eq(enso_graph_read_pixels(g, x, table, 3, false, NULL), ENSO_OK);
    return g;
}

/* n pictures as floats [n, 3, SIDE, SIDE], or as bytes [n, SIDE, SIDE, 3]; minus what they are
 * comes out. */
static void picture_batch(struct two *t, unsigned slot, int64_t n, bool bytes, unsigned seed)
{
    static const bool wanted[] = {true};
    const int64_t plane = SIDE * SIDE;
    struct enso_extents e = {.n_items = n};
    struct enso_error err = {0};
    struct enso_tensor x, y;

    ENSO_TEST_OK(enso_context_stage(t->context, t->lane, slot, &e, &x, &err), &err);
    if (bytes) {
        x.dtype = ENSO_DTYPE_U8;
        memcpy(x.dims, (int64_t[]){n, SIDE, SIDE, 3}, 4 * sizeof *x.dims);
    }
    for (int64_t i = 0; i < n * 3 * plane; i++)
        if (bytes)
            ((uint8_t *)x.data)[i] = (uint8_t)(seed + i % 251);
        else
            ((float *)x.data)[i] = (float)(seed + i % 251);
    ENSO_TEST_OK(enso_context_begin(t->context, t->lane, slot, &x, wanted, NULL, &err), &err);
    ENSO_TEST_OK(enso_context_finish(t->context, t->lane, slot, &y, NULL, &err), &err);
    for (int64_t i = 0; i < n * 3 * plane; i++) {
        int64_t item = i / (3 * plane), c = i / plane % 3;
        int64_t from = bytes ? (item * plane + i % plane) * 3 + c : i;
        float value = (float)(seed + from % 251);

        if (bytes)
            value = (float)((uint8_t)(seed + from % 251) + c * 256) / 2;
        if (((float *)y.data)[i] != -value)
            ck_abort_msg("%s: element %lld is %g, not %g", bytes ? "bytes" : "floats", (long long)i,
                         (double)((float *)y.data)[i], (double)-value);
    }
}

/* Pictures come as bytes or as floats, batch by batch; each form has a recording of its own. */
START_TEST(test_batches_pixels)
{
    const struct enso_device_options options = {.name = "cuda", .long_percent = ALWAYS};
    const struct enso_backend *b = rig_backend();
    struct enso_error err = {0};
    struct two t = {0};

    ENSO_TEST_OK(b->device_open(&options, &t.device, &err), &err);
    ENSO_TEST_OK(enso_program_create(b, t.device, picture_graph(), &t.program, &err), &err);
    ENSO_TEST_OK(enso_context_create(t.program, &t.context, &err), &err);
    ENSO_TEST_OK(b->lane_open(t.device, &t.lane, &err), &err);
    for (unsigned i = 0; i < 4; i++) {
        picture_batch(&t, 0, 4, true, i);
        picture_batch(&t, 0, 4, false, i);
    }
    ck_assert_uint_eq(two_stats(&t).n_eager, 2);
    ck_assert_uint_eq(two_stats(&t).n_captures, 2);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, 6);
    picture_batch(&t, 1, 4, true, 9);
    picture_batch(&t, 1, 3, false, 9);
    two_close(&t);
}
END_TEST

/* What cannot be recorded runs launch by launch, and is not tried again: whether a launch was
 * refused or the recording. */
START_TEST(test_batches_graph_refused)
{
    static const char *const wishes[] = {"launch:701", "launch:900", "launch:901"};
    struct enso_error err = {0};
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, ALWAYS, &err), &err);
    two_batch(&t, 0, 8, 1);
    setenv("ENSO_CUDA_EMULATED_FAIL", wishes[_i], 1); /* the first launch of the recording */
    two_batch(&t, 0, 8, 2);
    ck_assert_ptr_nonnull(getenv("ENSO_CUDA_EMULATED_FAILED"));
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    two_batch(&t, 0, 8, 3);
    two_batch(&t, 0, 8, 4);
    ck_assert_uint_eq(two_stats(&t).n_captures, 0);
    ck_assert_uint_eq(two_stats(&t).n_eager, 4);
    two_batch(&t, 0, 9, 5); /* other sizes are */
    two_batch(&t, 0, 9, 6);
    ck_assert_uint_eq(two_stats(&t).n_captures, 1);
    two_close(&t);
}
END_TEST

/* Twice as many sizes as are kept, in no order: those that are recorded stay, the others run launch
 * by launch. Recording costs more than it saves once. */
START_TEST(test_batches_graphs_stay)
{
    struct enso_error err = {0};
    uint32_t random = 1;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, ALWAYS, &err), &err);
    two_batch(&t, 0, 128, 1);
    for (unsigned i = 0; i < 800; i++) {
        random = random * 1664525 + 1013904223;
        two_batch(&t, 0, 65 + (int64_t)(random >> 26), (float)i);
    }
    ck_assert_uint_lt(two_stats(&t).n_captures, 50);
    ck_assert_uint_gt(two_stats(&t).n_graph_launches, 300);
    two_close(&t);
}
END_TEST

static uint64_t memory_taken(const struct two *t)
{
    struct enso_device_metrics m;

    rig_backend()->device_metrics(t->device, &m);
    ck_assert_uint_le(m.weight_bytes + m.arena_bytes + m.lane_bytes, m.limit_bytes);
    return m.weight_bytes + m.arena_bytes + m.lane_bytes;
}

/* Recordings count under gpu_memory: where it is short those that were not used for long make room;
 * where there is no room for one, batches run launch by launch. */
START_TEST(test_batches_graphs_in_little_memory)
{
    static const struct {
        uint64_t room_kib;
        bool recorded;
    } cases[] = {{150, true}, {10, false}};
    struct enso_device_options options = {.name = "cuda", .long_percent = ALWAYS};
    struct enso_error err = {0};
    uint64_t bare;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open_with(&t, &options, &err), &err);
    two_batch(&t, 0, 16, 1);
    bare = memory_taken(&t);
    two_batch(&t, 0, 16, 2);
    ck_assert_uint_gt(memory_taken(&t), bare);
    two_close(&t);
    options.memory_bytes = bare + (cases[_i].room_kib << 10);
    ENSO_TEST_OK((enum enso_status)two_open_with(&t, &options, &err), &err);
    for (int i = 0; i < 3; i++) /* sizes of one plan take turns: there is room for two */
        for (int64_t n = 16; n > 8; n--)
            two_batch(&t, 0, n, (float)n);
    (void)memory_taken(&t);
    ck_assert_uint_eq(two_stats(&t).n_captures, cases[_i].recorded ? 2 : 0);
    ck_assert_uint_eq(two_stats(&t).n_graph_launches, cases[_i].recorded ? 4 : 0);
    for (int i = 0; i < 1100; i++) /* until the others have not been used for long */
        two_batch(&t, 0, 9, 1);
    ck_assert_uint_eq(two_stats(&t).n_captures, cases[_i].recorded ? 3 : 0);
    (void)memory_taken(&t);
    two_close(&t);
}
END_TEST

/* Batches that take long beside their launches: no graphs. */
START_TEST(test_batches_no_graphs_for_long)
{
    struct enso_error err = {0};
    uint64_t before;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 0, 1, &err), &err);
    for (unsigned i = 0; i < 10; i++) /* until one launch was not interrupted */
        two_batch(&t, 0, LARGE, (float)i);
    before = two_stats(&t).n_eager;
    for (unsigned i = 0; i < 5; i++)
        two_batch(&t, 0, LARGE, (float)i);
    ck_assert_uint_eq(two_stats(&t).n_eager, before + 5);
    two_close(&t);
}
END_TEST

/* The ladder, and where it ends. */
START_TEST(test_batches_rounds_up)
{
    static const int64_t rows[][2] = {{1, 16},    {16, 16},     {17, 32},     {127, 128},
                                      {128, 128}, {129, 192},   {192, 192},   {193, 256},
                                      {257, 320}, {1000, 1024}, {1025, 1088}, {2048, 2048}};
    const struct enso_backend *b = rig_backend();

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(rows); i++) {
        struct enso_extents e = {.n_tokens = rows[i][0], .n_sequences = 3};
        int64_t capacity = 16;

        while (capacity < rows[i][0])
            capacity *= 2;
        b->round_up(NULL, &(struct enso_extents){.n_tokens = capacity, .n_sequences = 64}, &e);
        ck_assert_int_eq(e.n_tokens, ENSO_MIN(rows[i][1], capacity));
        ck_assert_int_eq(e.n_sequences, 64);
    }
    struct enso_extents dense = {.n_items = 5};

    b->round_up(NULL, &(struct enso_extents){.n_items = 8}, &dense);
    ck_assert_int_eq(dense.n_items, 5);
    ck_assert_int_eq(dense.n_tokens, 0);
    ck_assert_int_eq(dense.n_sequences, 0);
}
END_TEST

static double seconds_of(clockid_t clock)
{
    struct timespec t;

    ck_assert_int_eq(clock_gettime(clock, &t), 0);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A card that stops answering: the wait ends with a sentence, so does the batch behind, and closing
 * all of it waits for nothing. Who waits sleeps: looking all the time would take the thread's. */
START_TEST(test_batches_hangs)
{
    struct enso_error err = {0};
    double waited, worked;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 1500, ALWAYS, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 0, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 1, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_finish(&t, 0, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_finish(&t, 1, 2, 1, &err), &err);
    setenv("ENSO_CUDA_EMULATED_FAULT", "1:hang", 1);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 0, 2, 1, &err), &err);
    ENSO_TEST_OK((enum enso_status)two_begin(&t, 1, 2, 1, &err), &err);
    waited = seconds_of(CLOCK_MONOTONIC);
    worked = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    ck_assert_int_eq(two_finish(&t, 0, 2, 1, &err), ENSO_UNAVAILABLE);
    waited = seconds_of(CLOCK_MONOTONIC) - waited;
    worked = seconds_of(CLOCK_THREAD_CPUTIME_ID) - worked;
    ck_assert_double_ge(waited, 1);
    ck_assert_double_lt(worked, waited / 4);
    ENSO_TEST_CONTAINS(err.message, "does not answer");
    enso_error_clear(&err);
    ck_assert_int_eq(two_finish(&t, 1, 2, 1, &err), ENSO_UNAVAILABLE);
    enso_error_clear(&err);
    ck_assert_int_eq(two_begin(&t, 0, 2, 1, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "stays down");
    two_close(&t);
}
END_TEST

struct stuck {
    struct two *two;
    struct enso_error err; /* once it has returned */
    atomic_bool returned;
};

static void *begin_and_stick(void *arg)
{
    struct stuck *s = arg;

    if (two_begin(s->two, 0, 2, 1, &s->err) == ENSO_OK)
        (void)two_finish(s->two, 0, 2, 1, &s->err);
    atomic_store(&s->returned, true);
    return NULL;
}

/* A launch that does not come back: whoever asks sees that the device is lost. */
START_TEST(test_batches_stuck_in_a_launch)
{
    struct enso_device_state state = {0};
    struct enso_error err = {0};
    struct stuck stuck = {0};
    pthread_t thread;
    struct two t;

    ENSO_TEST_OK((enum enso_status)two_open(&t, 10, ALWAYS, &err), &err);
    two_batch(&t, 0, 2, 1);
    stuck.two = &t;
    setenv("ENSO_CUDA_EMULATED_HANG_MS", "15000", 1);
    setenv("ENSO_CUDA_EMULATED_FAIL", "launch:stuck", 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, begin_and_stick, &stuck), 0);
    while (!state.down && !atomic_load(&stuck.returned)) {
        (void)usleep(10000);
        rig_backend()->device_state(t.device, &state);
    }
    ck_assert(state.down);
    ck_assert(!atomic_load(&stuck.returned)); /* it is still in there */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ENSO_TEST_CONTAINS(stuck.err.message, "stays down");
    two_close(&t);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cuda_batches");
    TCase *core = tcase_create("core");
    tcase_add_loop_test(core, test_batches_two_slots, 0, 12);
    tcase_add_test(core, test_batches_graphs);
    tcase_add_test(core, test_batches_pixels);
    tcase_add_loop_test(core, test_batches_graph_refused, 0, 3);
    tcase_add_test(core, test_batches_graphs_stay);
    tcase_add_test(core, test_batches_stuck_in_a_launch);
    tcase_add_loop_test(core, test_batches_graphs_in_little_memory, 0, 2);
    tcase_add_test(core, test_batches_no_graphs_for_long);
    tcase_add_test(core, test_batches_rounds_up);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 240); /* the sweeps */
    tcase_add_loop_test(errors, test_batches_two_slots_survive_any_failure, 0, 3);
    tcase_add_test(errors, test_batches_hangs);
    suite_add_tcase(s, errors);
    return s;
}

int main(void)
{
    return module_main(suite, "");
}
