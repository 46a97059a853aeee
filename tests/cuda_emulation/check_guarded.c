/* SPDX-License-Identifier: Apache-2.0
 *
 * ENSO_ARENA_DEBUG on a GPU, over the emulated card: the same bits as a batch in its arena, and
 * what a wrong plan or a wrong kernel does there shows.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/module_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/program/context.h"
#include "engine/program/guarded.h"
#include "tests/engine/graph/text_graph.h"

#define ROWS 5
#define COLUMNS 12

/* Nothing is in place: 'a' is read by the step after it and by the last one. */
static const char text[] = "input x f32[N, 12]\nconst w f32[12, 12]\na = MatMul(x, w)\n"
                           "b = Softmax(a) axis=-1\nc = MatMul(b, w)\nd = Concat(a, c) axis=1\n"
                           "output d";
enum { STEP_B = 1 };

/* A program on the card. */
struct on_card {
    struct enso_device *device;
    struct enso_lane *lane;
    struct enso_program *program;
    float x[ROWS * COLUMNS], y[ROWS * 2 * COLUMNS];
};

static void open_on(struct on_card *o, const struct enso_backend *backend)
{
    const struct enso_device_options options = {.name = "cuda", .cublaslt = "none"};
    struct enso_graph *graph = text_graph(text);
    struct enso_error err = {0};

    ENSO_TEST_OK((enum enso_status)backend->device_open(&options, &o->device, &err), &err);
    ENSO_TEST_OK((enum enso_status)backend->lane_open(o->device, &o->lane, &err), &err);
    ENSO_TEST_OK(
        (enum enso_status)enso_program_create(backend, o->device, graph, &o->program, &err), &err);
    rig_random(o->x, ENSO_ARRAY_SIZE(o->x), 3);
}

static void close_of(struct on_card *o, const struct enso_backend *backend)
{
    enso_program_unref(o->program);
    backend->lane_close(o->lane);
    backend->device_close(o->device);
}

/* So many batches of all rows in one context. */
static int run_batches(struct on_card *o, bool guarded, unsigned n, struct enso_error *err)
{
    struct enso_tensor in = {
        .dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {ROWS, COLUMNS}, .data = o->x};
    const struct enso_extents e = {.n_items = ROWS};
    struct enso_context *c;
    int st = ENSO_OK;

    if (guarded)
        setenv("ENSO_ARENA_DEBUG", "1", 1);
    ck_assert_int_eq(enso_context_create(o->program, &c, NULL), ENSO_OK);
    unsetenv("ENSO_ARENA_DEBUG");
    for (unsigned i = 0; st == ENSO_OK && i < n; i++)
        st = enso_context_run(c, o->lane, &e, &in, (void *[]){o->y}, err);
    enso_context_destroy(c);
    return st;
}

START_TEST(test_guarded_same_bits)
{
    struct on_card o;
    struct enso_lane_stats stats;
    struct enso_device_metrics before, after;
    float plain[ENSO_ARRAY_SIZE(o.y)];

    open_on(&o, rig_backend());
    rig_backend()->device_metrics(o.device, &before);
    ck_assert_int_eq(run_batches(&o, true, 5, NULL), ENSO_OK);
    rig_backend()->lane_stats(o.lane, &stats);
    ck_assert_uint_eq(stats.n_captures, 0);
    ck_assert_uint_eq(stats.n_eager, 5 * 4); /* each step by itself */
    rig_backend()->device_metrics(o.device, &after);
    ck_assert_uint_eq(after.arena_bytes, before.arena_bytes);
    ck_assert_uint_eq(after.n_allocations, before.n_allocations);
    memcpy(plain, o.y, sizeof(plain));
    ck_assert_int_eq(run_batches(&o, false, 1, NULL), ENSO_OK);
    ck_assert_mem_eq(plain, o.y, sizeof(plain));
    close_of(&o, rig_backend());
}
END_TEST

/* ---- a wrong plan ---- */

/* The batch with a plan in which nobody reads 'a' after step `last`. */
static int run_plan(struct on_card *o, size_t last, struct enso_error *err)
{
    const struct enso_extents e = {.n_items = ROWS};
    const struct enso_program *p = o->program;
    struct enso_tensor tensors[16] = {0};
    const struct enso_run run = {.tensors = tensors, .extents = &e};
    struct enso_plan *plan;
    int st, a = p->steps[0].outputs[0];

    ck_assert_int_eq(enso_plan_create(o->program, &e, &plan, NULL), ENSO_OK);
    ck_assert_uint_le(p->n_values, ENSO_ARRAY_SIZE(tensors));
    for (size_t i = 0; i < p->n_values; i++) {
        ck_assert(enso__value_tensor(&p->values[i], &e, &tensors[i]));
        if (p->values[i].origin == ENSO__CONSTANT)
            tensors[i].data = (char *)p->constants + p->values[i].offset;
    }
    ck_assert_int_ge(plan->storage_of[a], 0);
    ck_assert_uint_eq(plan->storages[plan->storage_of[a]].last, p->n_steps - 1);
    plan->storages[plan->storage_of[a]].last = last;
    st = enso__guarded_run(plan, o->lane, &run, (const void *[]){o->x}, (void *[]){o->y}, err);
    enso_plan_destroy(plan);
    return st;
}

START_TEST(test_guarded_read_too_late)
{
    struct on_card o;

    open_on(&o, rig_backend());
    ck_assert_int_eq(run_plan(&o, o.program->n_steps - 1, NULL), ENSO_OK);
    for (unsigned i = 0; i < ENSO_ARRAY_SIZE(o.y); i++)
        ck_assert_float_finite(o.y[i]);
    ck_assert_int_eq(run_plan(&o, STEP_B, NULL), ENSO_OK);
    for (unsigned i = 0; i < ENSO_ARRAY_SIZE(o.y); i++) /* the half that is 'a' */
        ck_assert_msg(isnan(o.y[i]) == (i / COLUMNS % 2 == 0), "%u: %g", i, (double)o.y[i]);
    close_of(&o, rig_backend());
}
END_TEST

/* ---- a wrong kernel ---- */

static struct enso_backend shifting;
static int shifted_step, shift_bytes;

/* The step's kernels are told another place for its output. */
static int run_shifted(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err)
{
    struct enso_tensor *out = &run->tensors[run->steps[0].outputs[0]];
    void *data = out->data;
    int st;

    if (shifted_step-- == 0)
        out->data = (char *)out->data + shift_bytes;
    st = rig_backend()->run(lane, run, err);
    out->data = data;
    return st;
}

START_TEST(test_guarded_writes_beside)
{
    static const struct {
        int step, bytes;
        const char *says;
    } cases[] = {{0, 4, "node 'a' of 'test' writes past the end of 'a'"},
                 {1, -4, "node 'b' of 'test' writes before the start of 'b'"},
                 {3, 64, "node 'd' of 'test' writes past the end of 'd'"}};

    shifting = *rig_backend();
    shifting.run = run_shifted;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_error err = {0};
        struct on_card o;

        shifted_step = cases[i].step;
        shift_bytes = cases[i].bytes;
        open_on(&o, &shifting);
        ck_assert_int_eq(run_batches(&o, true, 1, &err), ENSO_INTERNAL);
        ck_assert_str_eq(err.message, cases[i].says);
        ck_assert_int_eq(run_batches(&o, true, 1, NULL), ENSO_OK);
        close_of(&o, &shifting);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cuda_guarded");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 120);
    tcase_add_test(core, test_guarded_same_bits);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 120);
    tcase_add_test(errors, test_guarded_read_too_late);
    tcase_add_test(errors, test_guarded_writes_beside);
    suite_add_tcase(s, errors);
    return s;
}

int main(void)
{
    return module_main(suite, "");
}
