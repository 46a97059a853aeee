/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/program: programs, plans and contexts over toy kernels (fake_backend.h). The main claim is
 * tested on random graphs: whatever shares memory with whatever, a run gives what computing every
 * node into memory of its own gives.
 */
#include "engine/program/program.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "engine/ops/infer.h"
#include "engine/program/context.h"
#include "engine/program/plan.h"
#include "engine/program/program_internal.h"
#include "tests/engine/graph/fake_backend.h"
#include "tests/engine/graph/text_graph.h"

static struct enso_device *device;
static const struct enso_backend *backend;

static void set_up(void)
{
    backend = fake_backend();
    ck_assert_int_eq(backend->device_open(NULL, &device, NULL), ENSO_OK);
}

static void tear_down(void)
{
    backend->device_close(device);
    ck_assert_int_eq(fake_counts.bound, 0);
    ck_assert_int_eq(fake_counts.lanes, 0);
    ck_assert_int_eq(fake_counts.devices, 0);
    ck_assert_int_eq(fake_counts.blocks, 0);
}

static struct enso_program *make(const char *text)
{
    struct enso_program *p = NULL;
    struct enso_error err = {0};

    ck_assert_msg(enso_program_create(backend, device, text_graph(text), &p, &err) == ENSO_OK, "%s",
                  err.message);
    return p;
}

static struct enso_plan *plan_of(struct enso_program *p, int64_t n_items)
{
    struct enso_plan *plan = NULL;
    struct enso_extents e = {.n_items = n_items, .n_tokens = n_items, .n_sequences = n_items};

    ck_assert_int_eq(enso_plan_create(p, &e, &plan, NULL), ENSO_OK);
    return plan;
}

/* ---- places ---- */

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void check_places(const struct enso__storage *s, size_t n, size_t total)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(s[i].offset % ENSO__ALIGNMENT, 0);
        ck_assert_uint_le(s[i].offset + s[i].size_bytes, total);
        for (size_t k = 0; k < i; k++)
            if (s[i].first <= s[k].last && s[k].first <= s[i].last)
                ck_assert_msg(s[i].offset + s[i].size_bytes <= s[k].offset ||
                                  s[k].offset + s[k].size_bytes <= s[i].offset,
                              "storages %zu and %zu overlap", i, k);
    }
}

START_TEST(test_arena_places_random_storages)
{
    struct enso__storage s[80];
    uint32_t seed = (uint32_t)_i;
    size_t n = 1 + next(&seed) % 80, total = 0, demand = 0, sum = 0;

    for (size_t i = 0; i < n; i++) {
        size_t first = next(&seed) % 40;

        s[i] = (struct enso__storage){
            .size_bytes = next(&seed) % 5000, .first = first, .last = first + next(&seed) % 6};
    }
    ck_assert_int_eq(enso__arena_place(s, n, &total, NULL), ENSO_OK);
    check_places(s, n, total);
    for (size_t step = 0; step < 50; step++) {
        size_t alive = 0;

        for (size_t i = 0; i < n; i++)
            alive += s[i].first <= step && step <= s[i].last ? s[i].size_bytes : 0;
        demand = ENSO_MAX(demand, alive);
    }
    for (size_t i = 0; i < n; i++)
        sum += s[i].size_bytes;
    ck_assert_uint_ge(total, demand);
    ck_assert_uint_le(total, sum);
    ck_assert_msg(total <= demand + demand / 2, "%zu bytes for a demand of %zu", total, demand);
}
END_TEST

START_TEST(test_arena_refuses_overflow)
{
    struct enso__storage s[2] = {{.size_bytes = PTRDIFF_MAX - 63},
                                 {.size_bytes = PTRDIFF_MAX - 63}};
    size_t total;

    ck_assert_int_eq(enso__arena_place(s, 2, &total, NULL), ENSO_TOO_LARGE);
    s[0].size_bytes = SIZE_MAX;
    ck_assert_int_eq(enso__arena_place(s, 1, &total, NULL), ENSO_TOO_LARGE);
}
END_TEST

/* ---- plans ---- */

/* Of results, wherever they stand; the backend's report is not counted. */
static size_t result_bytes(const struct enso_plan *plan)
{
    return plan->arena_bytes + plan->output_bytes - plan->report_bytes;
}

START_TEST(test_plan_chain_needs_two_places)
{
    /* and one for the output, which the arena is not asked for */
    struct enso_program *p = make("input x f32[N, 64]\na = Transpose(x) perm=[0, 1]\n"
                                  "b = Transpose(a) perm=[0, 1]\nc = Transpose(b) perm=[0, 1]\n"
                                  "d = Transpose(c) perm=[0, 1]\ne = Transpose(d) perm=[0, 1]\n"
                                  "output e");
    struct enso_plan *plan = plan_of(p, 2);

    ck_assert_uint_eq(plan->arena_bytes, (size_t)2 * 2 * 64 * 4);
    ck_assert_uint_eq(plan->output_bytes, (size_t)2 * 64 * 4);
    ck_assert_uint_eq(plan->input_bytes, (size_t)2 * 64 * 4);
    enso_plan_destroy(plan);
    enso_program_unref(p);
}
END_TEST

START_TEST(test_plan_elementwise_chain_needs_one_place)
{
    struct enso_program *p = make("input x f32[N, 64]\na = Transpose(x) perm=[0, 1]\n"
                                  "b = Relu(a)\nconst k f32[64]\nc = Add(k, b)\nd = Tanh(c)\n"
                                  "e = Mul(d, d)\noutput e");
    struct enso_plan *plan = plan_of(p, 2);

    ck_assert_uint_eq(result_bytes(plan), (size_t)2 * 64 * 4);
    enso_plan_destroy(plan);
    enso_program_unref(p);
}
END_TEST

START_TEST(test_plan_does_not_overwrite_what_is_read_again)
{
    /* an input of the caller, a value read later, an output, another shape of the same bytes */
    struct enso_program *p = make("input x f32[N, 8, 8]\na = Relu(x)\nb = Tanh(a)\nc = Add(a, b)\n"
                                  "s = Reshape(c) shape_factors=[1, 64] shape_extents=[1, 0]\n"
                                  "d = Neg(c)\noutput s\noutput d");
    struct enso_plan *plan = plan_of(p, 1);

    /* a, b in places of their own, c over one of them; d is an output, not over the other */
    ck_assert_uint_eq(result_bytes(plan), (size_t)3 * 64 * 4);
    enso_plan_destroy(plan);
    enso_program_unref(p);
    p = make("input x f32[1, 64]\na = Transpose(x) perm=[0, 1]\n"
             "s = Reshape(a) shape_factors=[64, 1] shape_extents=[0, 0]\nb = Add(a, s)\noutput b");
    plan = plan_of(p, 1);
    ck_assert_uint_eq(result_bytes(plan), (size_t)(64 + 64 * 64) * 4);
    enso_plan_destroy(plan);
    enso_program_unref(p);
}
END_TEST

/* Sum adds into its result one input after the other: what comes third or later must outlive the
 * first addition, also when it is the first input again or a view of it. */
START_TEST(test_plan_keeps_what_a_sum_adds_later)
{
    static const struct {
        const char *text;
        size_t places;
    } cases[] = {{"c = Sum(a, b, b)", 2}, /* over a */
                 {"c = Sum(a, a, b)", 2},
                 {"c = Sum(a, b, a)", 3},
                 {"v = Identity(a)\nc = Sum(a, b, v)", 3},
                 {"v = Identity(a)\nc = Max(v, b, b, a)", 3}};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        char text[256];

        snprintf(text, sizeof(text), "input x f32[N, 64]\na = Relu(x)\nb = Neg(x)\n%s\noutput c",
                 cases[i].text);
        struct enso_program *p = make(text);
        struct enso_plan *plan = plan_of(p, 1);

        ck_assert_msg(result_bytes(plan) == cases[i].places * 64 * 4, "%s: %zu bytes",
                      cases[i].text, result_bytes(plan));
        enso_plan_destroy(plan);
        enso_program_unref(p);
    }
}
END_TEST

START_TEST(test_plan_refuses_what_cannot_be_addressed)
{
    struct enso_program *p = make("input x f32[N, 64]\na = Transpose(x)\noutput a");
    struct enso_extents e = {.n_items = INT64_MAX / 4};
    struct enso_error err = {0};
    struct enso_plan *plan;

    ck_assert_int_eq(enso_plan_create(p, &e, &plan, &err), ENSO_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.message, "cannot be addressed"));
    enso_program_unref(p);
}
END_TEST

START_TEST(test_plan_dumps)
{
    struct enso_program *p = make("input x f32[N, 16]\na = Transpose(x)\nb = Relu(a)\noutput b");
    struct enso_plan *plan = plan_of(p, 4);
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_program_dump(p, &b);
    enso_plan_dump(plan, &b);
    ck_assert_str_eq(b.data, "program test: 2 steps, 0 bytes of weights\n"
                             "  0 Transpose(x FP32[N, 16]) -> a FP32[16, N]\n"
                             "  1 Relu(a FP32[16, N]) -> b FP32[16, N]\n"
                             "plan N=4 T=4 B=4: 0 bytes, workspace 256, in 256, out 256\n"
                             "  0 Transpose a: 256 bytes of the outputs\n"
                             "  1 Relu b: 256 bytes of the outputs\n");
    enso_buffer_done(&b);
    enso_plan_destroy(plan);
    enso_program_unref(p);
}
END_TEST

/* ---- programs ---- */

START_TEST(test_program_facts)
{
    struct enso_program *p = make("input x f32[N, 4]\nconst w f32[4, 3]\nconst b f32[3]\n"
                                  "y = MatMul(x, w)\nz = Add(y, b)\nunused = Mish(x)\n"
                                  "output z");
    const struct enso_program_io *io;
    struct enso_tensor t;
    struct enso_extents e = {.n_items = 5};
    size_t n;

    ck_assert_uint_eq(enso_program_n_steps(p), 2); /* what no output needs is not bound */
    io = enso_program_inputs(p, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(io[0].name, "x");
    io = enso_program_outputs(p, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(io[0].name, "z");
    ck_assert_uint_eq(enso_program_weight_bytes(p), 4 * 3 * 4 + 64);
    ck_assert(enso_program_is_batched(p));
    ck_assert(enso_program_is_batch_invariant(p));
    ck_assert(enso_program_uses(p, ENSO_EXTENT_ITEMS));
    ck_assert(!enso_program_uses(p, ENSO_EXTENT_TOKENS));
    ck_assert_int_eq(enso_program_output_tensor(p, 0, &e, &t, NULL), ENSO_OK);
    ck_assert_int_eq(t.dims[0], 5);
    ck_assert_int_eq(t.dims[1], 3);
    ck_assert_str_eq(enso_program_name(p), "test");
    enso_program_unref(p);
    p = make("input x f32[N, 4]\ny = Reshape(x) shape_factors=[4] shape_extents=[1]\noutput y");
    ck_assert(!enso_program_is_batched(p));
    enso_program_unref(p);
}
END_TEST

START_TEST(test_program_drops_shape_arithmetic)
{
    struct enso_program *p =
        make("input x f32[N, 64, 5, 5]\ns = Shape(x)\nconst i i64[] = 0\nn = Gather(s, i)\n"
             "const a i64[1] = 0\nu = Unsqueeze(n, a)\nconst m i64[1] = -1\n"
             "t = Concat(u, m) axis=0\nr = Relu(x)\ny = Reshape(r, t)\noutput y");

    ck_assert_uint_eq(enso_program_n_steps(p), 1);
    enso_program_unref(p);
}
END_TEST

START_TEST(test_program_refuses)
{
    struct enso_program *p = NULL;
    struct enso_error err = {0};

    ck_assert_int_eq(enso_program_create(backend, device,
                                         text_graph("input x f32[N, 4]\nconst w f32[4, 4]\n"
                                                    "a = MatMul(x, w)\ny = Mish(a)\noutput y"),
                                         &p, &err),
                     ENSO_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "no Mish for node 'y'"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_program_create(backend, device,
                                         text_graph("input x f32[4, 3]\ny = MatMul(x, x)\n"
                                                    "output y"),
                                         &p, &err),
                     ENSO_CORRUPT);
    ck_assert_ptr_null(p);
}
END_TEST

static enum enso_status alloc_status;

static int no_memory_alloc(struct enso_device *d, size_t size_bytes, const char *what,
                           void **ret_memory, struct enso_error *err)
{
    (void)d;
    (void)ret_memory;
    return enso_error_set(err, alloc_status, "%zu bytes for %s: no", size_bytes, what);
}

/* A device that is full: what wants how much. One that is lost is another matter. */
START_TEST(test_program_no_room)
{
    struct enso_backend full = *backend;
    struct enso_program *p = NULL;
    struct enso_context *c;
    struct enso_error err = {0};
    struct enso_extents e = {.n_items = 1};
    float x[4] = {0}, y[1024];

    full.memory_alloc = no_memory_alloc;
    alloc_status = ENSO_NO_MEMORY;
    ck_assert_int_eq(enso_program_create(&full, device,
                                         text_graph("input x f32[N]\nconst k f32[1024, 1024]\n"
                                                    "y = Relu(x)\noutput k\noutput y"),
                                         &p, &err),
                     ENSO_NO_MEMORY);
    ck_assert_str_eq(err.message, "4194304 bytes for the constants of 'test': no");
    enso_error_clear(&err);
    ck_assert_int_eq(enso_program_create(&full, device,
                                         text_graph("input x f32[N, 4]\ny = Relu(x)\n"
                                                    "z = Mish(y)\noutput y"),
                                         &p, &err),
                     ENSO_OK);
    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(enso_context_run(c, NULL, &e,
                                      &(struct enso_tensor){ENSO_DTYPE_F32, 2, {1, 4}, x},
                                      (void *const[]){y}, &err),
                     ENSO_NO_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message, "for a batch of 'test': no"));
    enso_error_clear(&err);
    alloc_status = ENSO_UNAVAILABLE;
    ck_assert_int_eq(enso_context_run(c, NULL, &e,
                                      &(struct enso_tensor){ENSO_DTYPE_F32, 2, {1, 4}, x},
                                      (void *const[]){y}, &err),
                     ENSO_UNAVAILABLE);
    enso_context_destroy(c);
    enso_program_unref(p);
}
END_TEST

/* ---- runs ---- */

static void fill_input(struct enso_tensor *t, uint32_t *seed)
{
    float *data = malloc(enso_tensor_bytes(t) + 1);

    t->data = data;
    for (int64_t i = 0; i < enso_tensor_count(t); i++)
        data[i] = (float)(next(seed) % 2000) / 1000 - 1;
}

/* Run a program for some batch and compare with the reference, computed from an equal graph. */
static void compare(struct enso_program *p, struct enso_context *c, struct enso_lane *lane,
                    const struct enso_graph *twin, int64_t n_items, uint32_t seed)
{
    struct enso_extents e = {.n_items = n_items};
    struct enso_tensor in[4];
    float *want[16];
    void *got[16];
    struct enso_error err = {0};
    size_t n_in, n_out;
    const struct enso_program_io *io = enso_program_inputs(p, &n_in);

    for (size_t i = 0; i < n_in; i++) {
        in[i] = (struct enso_tensor){.dtype = io[i].dtype, .rank = io[i].shape.rank};
        for (size_t k = 0; k < in[i].rank; k++)
            in[i].dims[k] = enso_dim_at(io[i].shape.dims[k], &e);
        fill_input(&in[i], &seed);
    }
    fake_reference(twin, &e, in, want);
    (void)enso_program_outputs(p, &n_out);
    for (size_t i = 0; i < n_out; i++) {
        struct enso_tensor t;

        ck_assert_int_eq(enso_program_output_tensor(p, i, &e, &t, NULL), ENSO_OK);
        got[i] = malloc(enso_tensor_bytes(&t) + 1);
    }
    ck_assert_msg(enso_context_run(c, lane, &e, in, got, &err) == ENSO_OK, "%s", err.message);
    for (size_t i = 0; i < n_out; i++) {
        struct enso_tensor t;

        ck_assert_int_eq(enso_program_output_tensor(p, i, &e, &t, NULL), ENSO_OK);
        for (int64_t k = 0; k < enso_tensor_count(&t); k++)
            ck_assert_msg(((float *)got[i])[k] == want[i][k],
                          "output %zu element %lld: %g instead of %g", i, (long long)k,
                          (double)((float *)got[i])[k], (double)want[i][k]);
        free(got[i]);
        free(want[i]);
    }
    for (size_t i = 0; i < n_in; i++)
        free(in[i].data);
}

/* Add a node to a random graph over values of some shapes; all begin with N. */
static void random_node(struct enso_graph *g, int *pool, size_t *n, uint32_t *seed)
{
    int x = pool[next(seed) % *n], y = pool[next(seed) % *n], node = -1;
    const struct enso_shape *s = &enso_graph_value(g, x)->shape;
    int64_t factors[2] = {1, 1}, extents[2] = {ENSO_EXTENT_ITEMS, 0};

    switch (next(seed) % 8) {
    case 0:
        node = enso_graph_add_node(g, ENSO_OP_RELU, "", &x, 1, 1);
        break;
    case 1:
    case 2: /* the same value twice now and then */
        if (enso_graph_value(g, y)->shape.rank != s->rank ||
            memcmp(enso_graph_value(g, y)->shape.dims, s->dims, s->rank * sizeof *s->dims) != 0)
            y = x;
        node = enso_graph_add_node(g, next(seed) % 2 ? ENSO_OP_ADD : ENSO_OP_SUM, "",
                                   (int[]){x, y, x}, 2, 1);
        break;
    case 3:
        if (s->rank == 1)
            return;
        for (size_t i = 1; i < s->rank; i++)
            factors[1] *= s->dims[i].factor;
        node = enso_graph_add_node(g, ENSO_OP_RESHAPE, "", &x, 1, 1);
        enso_graph_set_ints(g, node, "shape_factors", factors, 2);
        enso_graph_set_ints(g, node, "shape_extents", extents, 2);
        break;
    case 4:
        if (s->rank < 2 || s->dims[1].factor > 200)
            return;
        node = enso_graph_add_node(g, ENSO_OP_CONCAT, "", (int[]){x, x}, 2, 1);
        enso_graph_set_int(g, node, "axis", 1);
        break;
    case 5:
        if (s->rank < 2 || s->dims[1].factor < 2)
            return;
        node = enso_graph_add_node(g, ENSO_OP_SPLIT, "", &x, 1, 2);
        enso_graph_set_int(g, node, "axis", 1);
        break;
    case 6:
        node = enso_graph_add_node(g, ENSO_OP_SOFTMAX, "", &x, 1, 1);
        break;
    default:
        node = enso_graph_add_node(g, ENSO_OP_IDENTITY, "", &x, 1, 1);
    }
    ck_assert_int_eq(enso_graph_infer_node(g, node, NULL), ENSO_OK);
    for (size_t i = 0; i < enso_graph_node(g, node)->n_outputs; i++)
        pool[(*n)++] = enso_graph_node(g, node)->outputs[i];
}

static struct enso_graph *random_graph(uint32_t seed)
{
    struct enso_graph *g = text_graph("input x f32[N, 6, 4]\ninput z f32[N, 5]\n"
                                      "const k f32[1, 5]\nb = Add(z, k)\nc = Mul(b, k)");
    int pool[200];
    size_t n = 0, n_nodes = 2 + next(&seed) % 30, n_outputs = 1 + next(&seed) % 4;

    ck_assert_int_eq(enso_graph_infer(g, NULL), ENSO_OK);
    pool[n++] = enso_graph_find_value(g, "x");
    pool[n++] = enso_graph_find_value(g, "z");
    pool[n++] = enso_graph_find_value(g, "c");
    for (size_t i = 0; i < n_nodes; i++)
        random_node(g, pool, &n, &seed);
    for (size_t i = 0; i < n_outputs; i++)
        enso_graph_add_output(g, "out", pool[n - 1 - next(&seed) % ENSO_MIN(n, 8)]);
    return g;
}

/* Three batches of one random graph: here and on memory elsewhere, normally and guarded. */
START_TEST(test_context_random_graphs)
{
    for (int way = 0; way < 4; way++) {
        struct enso_graph *twin = random_graph((uint32_t)_i);
        struct enso_program *p;
        struct enso_context *c;
        struct enso_lane *lane;

        backend->device_close(device);
        backend = way >= 2 ? fake_remote_backend() : fake_backend();
        ck_assert_int_eq(backend->device_open(NULL, &device, NULL), ENSO_OK);
        if (way % 2 == 1)
            setenv("ENSO_ARENA_DEBUG", "1", 1);
        else
            unsetenv("ENSO_ARENA_DEBUG");
        ck_assert_int_eq(enso_program_create(backend, device, random_graph((uint32_t)_i), &p, NULL),
                         ENSO_OK);
        ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
        ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
        compare(p, c, lane, twin, 3, 1);
        compare(p, c, lane, twin, 8, 2);
        compare(p, c, lane, twin, 1, 3);
        backend->lane_close(lane);
        enso_context_destroy(c);
        enso_program_unref(p);
        enso_graph_destroy(twin);
    }
}
END_TEST

START_TEST(test_context_constants_as_outputs)
{
    static const char text[] = "input x f32[N]\nconst k f32[2, 3]\n"
                               "v = Reshape(k) shape_factors=[6] shape_extents=[0]\n"
                               "y = Relu(x)\noutput k\noutput v\noutput x\noutput y";
    struct enso_graph *twin = text_graph(text);
    struct enso_program *p = make(text);
    struct enso_context *c;
    struct enso_lane *lane;

    ck_assert_int_eq(enso_graph_infer(twin, NULL), ENSO_OK);
    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    compare(p, c, lane, twin, 3, 1);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
    enso_graph_destroy(twin);
}
END_TEST

/* ---- slots ---- */

static const char two_outputs[] = "input x f32[N, 5]\ninput z f32[N, 3]\nconst w f32[5, 7]\n"
                                  "a = MatMul(x, w)\nb = Relu(a)\nc = Neg(z)\nd = Tanh(b)\n"
                                  "const k f32[2, 3]\noutput d\noutput c\noutput z\noutput k";

/* A batch in a slot, and what it has to give. */
struct slotted {
    struct enso_tensor in[2];
    float *want[4];
    int64_t n;
};

static void slotted_init(struct slotted *s, struct enso_graph *twin, int64_t n, uint32_t seed)
{
    struct enso_extents e = {.n_items = n};

    s->n = n;
    s->in[0] = (struct enso_tensor){.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {n, 5}};
    s->in[1] = (struct enso_tensor){.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {n, 3}};
    for (int i = 0; i < 2; i++)
        fill_input(&s->in[i], &seed);
    fake_reference(twin, &e, s->in, s->want);
}

static void slotted_begin(struct enso_context *c, struct enso_lane *lane, unsigned slot,
                          const struct slotted *s, const bool *wanted)
{
    struct enso_extents e = {.n_items = s->n};
    struct enso_tensor staged[2];

    ck_assert_int_eq(enso_context_stage(c, lane, slot, &e, staged, NULL), ENSO_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(staged[i].dims[0], s->n);
        memcpy(staged[i].data, s->in[i].data, enso_tensor_bytes(&staged[i]));
    }
    ck_assert_int_eq(enso_context_begin(c, lane, slot, staged, wanted, NULL, NULL), ENSO_OK);
}

static void slotted_finish(struct enso_context *c, struct enso_lane *lane, unsigned slot,
                           struct slotted *s, const bool *wanted)
{
    long at = 128, down = at; /* behind the backend's report */
    struct enso_tensor out[4];
    struct enso_spent spent = {0};

    ck_assert_int_eq(enso_context_finish(c, lane, slot, out, &spent, NULL), ENSO_OK);
    ck_assert_uint_eq(spent.compute_ns, 1000 + slot);
    ck_assert_uint_eq(spent.n_padding_tokens, 0);
    for (int i = 0; i < 2; i++) /* what is wanted and computed, one behind the other */
        if (wanted[i]) {
            down = at + (long)enso_tensor_bytes(&out[i]);
            at = (down + 63) / 64 * 64;
        }
    ck_assert_int_eq(fake_counts.down_bytes[slot], down);
    for (int i = 0; i < 4; i++) {
        if (wanted[i])
            ck_assert_mem_eq(out[i].data, s->want[i], enso_tensor_bytes(&out[i]));
        free(s->want[i]);
    }
    for (int i = 0; i < 2; i++)
        free(s->in[i].data);
}

/* Batches of every size in two slots in turn, on a device that does everything as late as it may:
 * the arena grows while one waits, each goes up in one copy and comes down in one. */
START_TEST(test_context_two_slots)
{
    static const bool wishes[4][4] = {{true, true, true, true},
                                      {true, false, false, false},
                                      {false, true, false, true},
                                      {false, false, true, false}};
    struct enso_graph *twin = text_graph(two_outputs);
    struct slotted batches[2];
    struct enso_program *p;
    struct enso_context *c;
    struct enso_lane *lane;

    backend->device_close(device);
    backend = fake_remote_backend();
    ck_assert_int_eq(backend->device_open(NULL, &device, NULL), ENSO_OK);
    ck_assert_int_eq(enso_graph_infer(twin, NULL), ENSO_OK);
    p = make(two_outputs);
    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    for (unsigned i = 0; i < 40; i++) {
        unsigned slot = i % 2;

        if (i >= 2)
            slotted_finish(c, lane, slot, &batches[slot], wishes[(i - 2) % 4]);
        slotted_init(&batches[slot], twin, 1 + (int64_t)(i * 7 % 23), i);
        slotted_begin(c, lane, slot, &batches[slot], wishes[i % 4]);
    }
    slotted_finish(c, lane, 0, &batches[0], wishes[38 % 4]);
    slotted_finish(c, lane, 1, &batches[1], wishes[39 % 4]);
    ck_assert_int_eq(fake_counts.copies, 2 * 40);
    /* the arena grew under a waiting batch, blocks were new; then there is enough of all */
    ck_assert_int_ge(fake_counts.drains, 3);
    ck_assert_int_le(fake_counts.drains, 20);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
    enso_graph_destroy(twin);
}
END_TEST

/* What fails in one slot harms neither the other nor the next batch. */
START_TEST(test_context_slot_fails)
{
    static const bool all[4] = {true, true, true, true};
    struct enso_graph *twin = text_graph(two_outputs);
    struct enso_extents e = {.n_items = 3};
    struct enso_tensor staged[2], out[4];
    struct slotted a, b;
    struct enso_program *p;
    struct enso_context *c;
    struct enso_lane *lane;

    backend->device_close(device);
    backend = fake_remote_backend();
    ck_assert_int_eq(backend->device_open(NULL, &device, NULL), ENSO_OK);
    ck_assert_int_eq(enso_graph_infer(twin, NULL), ENSO_OK);
    p = make(two_outputs);
    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    slotted_init(&a, twin, 2, 1);
    slotted_begin(c, lane, 0, &a, all);
    ck_assert_int_eq(enso_context_stage(c, lane, 1, &e, staged, NULL), ENSO_OK);
    staged[0].dims[0] = 2;
    ck_assert_int_eq(enso_context_begin(c, lane, 1, staged, all, NULL, NULL), ENSO_INVALID);
    fake_fail_begin = ENSO_DEVICE;
    staged[0].dims[0] = 3;
    ck_assert_int_eq(enso_context_begin(c, lane, 1, staged, all, NULL, NULL), ENSO_DEVICE);
    fake_fail_begin = ENSO_OK;
    slotted_init(&b, twin, 5, 2);
    slotted_begin(c, lane, 1, &b, all);
    slotted_finish(c, lane, 0, &a, all);
    slotted_init(&a, twin, 3, 3);
    slotted_begin(c, lane, 0, &a, all);
    slotted_finish(c, lane, 1, &b, all);
    fake_fail_finish = ENSO_INVALID;
    ck_assert_int_eq(enso_context_finish(c, lane, 0, out, NULL, NULL), ENSO_INVALID);
    fake_fail_finish = ENSO_OK;
    slotted_begin(c, lane, 0, &a, all);
    slotted_finish(c, lane, 0, &a, all);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
    enso_graph_destroy(twin);
}
END_TEST

/* ---- guarded memory elsewhere ---- */

static struct enso_backend spoiling;
static int spoiled_step, spoiled_offset; /* from the end of its output, or before its start */

/* A kernel that writes one byte beside its output. */
static int run_and_spoil(struct enso_lane *lane, const struct enso_run *run, struct enso_error *err)
{
    int st = fake_remote_backend()->run(lane, run, err);
    const struct enso_tensor *out = &run->tensors[run->steps[0].outputs[0]];
    char *at = (char *)out->data + (spoiled_offset < 0 ? 0 : enso_tensor_bytes(out));

    ck_assert_uint_eq(run->n_steps, 1);
    if (st == ENSO_OK && spoiled_step-- == 0)
        st = spoiling.upload(lane, at + spoiled_offset, "x", 1, err);
    return st;
}

static int run_spoiled(int step, int offset, struct enso_error *err)
{
    float x[3 * 5] = {0}, y[3 * 5];
    struct enso_tensor in = {.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {3, 5}, .data = x};
    struct enso_extents e = {.n_items = 3};
    struct enso_program *p = make("input x f32[N, 5]\na = Transpose(x)\nb = Transpose(a)\n"
                                  "c = Add(b, x)\noutput c");
    struct enso_context *c;
    struct enso_lane *lane;
    int st;

    spoiled_step = step;
    spoiled_offset = offset;
    setenv("ENSO_ARENA_DEBUG", "1", 1);
    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    unsetenv("ENSO_ARENA_DEBUG");
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    st = enso_context_run(c, lane, &e, &in, (void *[]){y}, err);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
    return st;
}

START_TEST(test_guarded_writes_beside)
{
    static const struct {
        int step, offset;
        const char *says;
    } cases[] = {{0, 0, "node 'a' of 'test' writes past the end of 'a'"},
                 {1, 3, "node 'b' of 'test' writes past the end of 'b'"},
                 {1, 66, "node 'b' of 'test' writes past the end of 'b'"},
                 {0, -1, "node 'a' of 'test' writes before the start of 'a'"},
                 {2, -64, "node 'c' of 'test' writes before the start of 'b'"}}; /* c is in place */

    spoiling = *fake_remote_backend();
    spoiling.run = run_and_spoil;
    backend->device_close(device);
    backend = &spoiling;
    ck_assert_int_eq(backend->device_open(NULL, &device, NULL), ENSO_OK);
    ck_assert_int_eq(run_spoiled(-1, 0, NULL), ENSO_OK);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_error err = {0};

        ck_assert_int_eq(run_spoiled(cases[i].step, cases[i].offset, &err), ENSO_INTERNAL);
        ck_assert_str_eq(err.message, cases[i].says);
    }
}
END_TEST

static void to_the_next_ten(const struct enso_captures *captures,
                            const struct enso_extents *capacity, struct enso_extents *extents)
{
    ck_assert_ptr_null(captures);
    extents->n_tokens = ENSO_MIN((extents->n_tokens + 9) / 10 * 10, capacity->n_tokens);
}

/* A device that wants round numbers: inputs get room for padding, outputs are the batch's own. */
START_TEST(test_context_rounds_up)
{
    static struct enso_backend rounding;
    struct enso_extents e = {.n_tokens = 7};
    struct enso_spent spent = {0};
    struct enso_tensor in, out;
    struct enso_program *p;
    struct enso_context *c;
    struct enso_lane *lane;

    rounding = *fake_remote_backend();
    rounding.round_up = to_the_next_ten;
    backend->device_close(device);
    backend = &rounding;
    ck_assert_int_eq(backend->device_open(NULL, &device, NULL), ENSO_OK);
    p = make("input x f32[T, 3]\ny = Identity(x)\nz = Relu(y)\noutput z");
    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    ck_assert_int_eq(enso_context_stage(c, lane, 0, &e, &in, NULL), ENSO_OK);
    ck_assert_int_eq(e.n_tokens, 10);
    ck_assert_int_eq(in.dims[0], 10);
    for (int i = 0; i < 30; i++)
        ((float *)in.data)[i] = (float)i;
    ck_assert_int_eq(enso_context_begin(c, lane, 0, &in, (bool[]){true}, NULL, NULL), ENSO_OK);
    ck_assert_int_eq(enso_context_finish(c, lane, 0, &out, &spent, NULL), ENSO_OK);
    ck_assert_uint_eq(spent.n_padding_tokens, 3);
    ck_assert_int_eq(out.dims[0], 7);
    ck_assert_int_eq(fake_counts.padding_tokens, 3);
    ck_assert_int_eq(fake_counts.down_bytes[0], 64 + 7 * 3 * 4); /* no padding comes down */
    /* elementwise kernels of the fake: 0.5 x + 0.25 op */
    for (int i = 0; i < 21; i++)
        ck_assert_float_eq(((float *)out.data)[i], 0.5F * (float)i + 0.25F * (float)ENSO_OP_RELU);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
}
END_TEST

START_TEST(test_context_runs_without_allocating)
{
    struct enso_program *p = make("input x f32[N, 4]\nconst w f32[4, 3]\ny = MatMul(x, w)\n"
                                  "z = Relu(y)\noutput z");
    float x[4 * 40] = {0}, z[3 * 40];
    struct enso_tensor in = {.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {1, 4}, .data = x};
    struct enso_extents e = {.n_items = 1};
    struct enso_context *c;
    struct enso_lane *lane;
    size_t bytes;

    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    for (int64_t n = 1; n <= 40; n++) {
        e.n_items = in.dims[0] = n;
        ck_assert_int_eq(enso_context_run(c, lane, &e, &in, (void *[]){z}, NULL), ENSO_OK);
    }
    ck_assert_uint_eq(enso_context_n_plans(c), 7); /* 1, 2, 4 ... 64 */
    bytes = enso_context_bytes(c);
    enso_memory_fail_at(1);
    for (int64_t n = 1; n <= 40; n++) {
        e.n_items = in.dims[0] = n;
        ck_assert_int_eq(enso_context_run(c, lane, &e, &in, (void *[]){NULL}, NULL), ENSO_OK);
    }
    ck_assert_uint_eq(enso_memory_fail_at(0), 0);
    ck_assert_uint_eq(enso_context_bytes(c), bytes);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
}
END_TEST

START_TEST(test_context_keeps_sixteen_plans)
{
    struct enso_program *p = make("input x f32[T, 2]\ny = Relu(x)\noutput y");
    float *x = calloc((size_t)2 << 20, sizeof *x);
    struct enso_tensor in = {.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {1, 2}, .data = x};
    struct enso_extents e = {0};
    struct enso_context *c;
    struct enso_lane *lane;

    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    for (int64_t n = 1; n <= 1 << 20; n *= 2) {
        e.n_tokens = in.dims[0] = n;
        ck_assert_int_eq(enso_context_run(c, lane, &e, &in, (void *[]){NULL}, NULL), ENSO_OK);
        ck_assert_uint_le(enso_context_n_plans(c), 16);
    }
    e.n_tokens = in.dims[0] = 1;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &in, (void *[]){NULL}, NULL), ENSO_OK);
    ck_assert_uint_eq(enso_context_n_plans(c), 16);
    free(x);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
}
END_TEST

START_TEST(test_context_refuses_wrong_inputs)
{
    struct enso_program *p = make("input x f32[N, 4]\ny = Relu(x)\noutput y");
    float x[8] = {0};
    struct enso_tensor good = {.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {2, 4}, .data = x}, t;
    struct enso_extents e = {.n_items = 2}, none = {0};
    struct enso_context *c;
    struct enso_lane *lane;
    struct enso_error err = {0};

    ck_assert_int_eq(enso_context_create(p, &c, NULL), ENSO_OK);
    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    t = good;
    t.dims[0] = 3;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &t, (void *[]){NULL}, &err), ENSO_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "input 'x'"));
    t = good;
    t.dtype = ENSO_DTYPE_I32;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &t, (void *[]){NULL}, NULL), ENSO_INVALID);
    t = good;
    t.rank = 1;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &t, (void *[]){NULL}, NULL), ENSO_INVALID);
    t = good;
    t.data = NULL;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &t, (void *[]){NULL}, NULL), ENSO_INVALID);
    ck_assert_int_eq(enso_context_run(c, lane, &none, &good, (void *[]){NULL}, NULL), ENSO_INVALID);
    e.n_items = INT64_MAX / 2;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &good, (void *[]){NULL}, NULL), ENSO_TOO_LARGE);
    e.n_items = 2;
    ck_assert_int_eq(enso_context_run(c, lane, &e, &good, (void *[]){NULL}, NULL), ENSO_OK);
    backend->lane_close(lane);
    enso_context_destroy(c);
    enso_program_unref(p);
}
END_TEST

/* ---- no memory ---- */

static int build_and_run(struct enso_lane *lane)
{
    struct enso_graph *g = text_graph(
        "input x f32[N, 4]\nconst w f32[4, 4]\nconst b f32[4]\na = MatMul(x, w)\nc = Add(a, b)\n"
        "const s i64[2] = -1 2\nv = Reshape(c, s)\nconst q f32[4, 1]\n"
        "r = Reshape(q, s)\noutput v\noutput c\noutput r");
    float x[8] = {0};
    struct enso_tensor in = {.dtype = ENSO_DTYPE_F32, .rank = 2, .dims = {2, 4}, .data = x};
    struct enso_extents e = {.n_items = 2};
    struct enso_program *p = NULL;
    struct enso_context *c = NULL;
    int st = g == NULL ? ENSO_NO_MEMORY : enso_program_create(backend, device, g, &p, NULL);

    if (st == ENSO_OK)
        st = enso_context_create(p, &c, NULL);
    if (st == ENSO_OK)
        st = enso_context_run(c, lane, &e, &in, (void *[]){NULL, NULL, NULL}, NULL);
    enso_context_destroy(c);
    enso_program_unref(p);
    return st;
}

START_TEST(test_program_oom)
{
    struct enso_lane *lane;
    int st = ENSO_NO_MEMORY;

    ck_assert_int_eq(backend->lane_open(device, &lane, NULL), ENSO_OK);
    for (uint64_t n = 1; st == ENSO_NO_MEMORY; n++) {
        ck_assert_uint_lt(n, 1000);
        enso_memory_fail_at(n);
        st = build_and_run(lane);
        enso_memory_fail_at(0);
        ck_assert_int_eq(fake_counts.bound, 0);
        ck_assert_int_eq(fake_counts.blocks, 0);
    }
    ck_assert_int_eq(st, ENSO_OK);
    backend->lane_close(lane);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/program");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(limits, set_up, tear_down);
    tcase_add_checked_fixture(errors, set_up, tear_down);
    tcase_add_checked_fixture(oom, set_up, tear_down);
    tcase_add_loop_test(core, test_arena_places_random_storages, 0, 50);
    tcase_add_test(core, test_plan_chain_needs_two_places);
    tcase_add_test(core, test_plan_elementwise_chain_needs_one_place);
    tcase_add_test(core, test_plan_does_not_overwrite_what_is_read_again);
    tcase_add_test(core, test_plan_keeps_what_a_sum_adds_later);
    tcase_add_test(core, test_plan_dumps);
    tcase_add_test(core, test_program_facts);
    tcase_add_test(core, test_program_drops_shape_arithmetic);
    tcase_add_loop_test(core, test_context_random_graphs, 0, 60);
    tcase_add_test(core, test_context_constants_as_outputs);
    tcase_add_test(core, test_context_two_slots);
    tcase_add_test(core, test_context_rounds_up);
    tcase_add_test(core, test_context_runs_without_allocating);
    tcase_add_test(limits, test_arena_refuses_overflow);
    tcase_add_test(limits, test_plan_refuses_what_cannot_be_addressed);
    tcase_add_test(limits, test_context_keeps_sixteen_plans);
    tcase_add_test(errors, test_program_refuses);
    tcase_add_test(errors, test_program_no_room);
    tcase_add_test(errors, test_context_slot_fails);
    tcase_add_test(errors, test_guarded_writes_beside);
    tcase_add_test(errors, test_context_refuses_wrong_inputs);
    tcase_add_test(oom, test_program_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
