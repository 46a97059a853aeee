/* SPDX-License-Identifier: Apache-2.0
 *
 * Toy kernels: see fake_backend.h.
 */
#include "tests/engine/graph/fake_backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define MAX_INPUTS 64

struct fake_counts fake_counts;
enum enso_status fake_fail_begin, fake_fail_finish;

struct enso_device {
    bool remote;
};

struct fake_batch {
    bool busy;
    struct enso_run run;
    uint64_t number; /* of its begin, from 1 */
};

struct enso_lane {
    struct enso_device *device;
    struct fake_batch slots[ENSO_MAX_SLOTS];
    uint64_t n_begun, n_through;
};

struct enso_bound {
    enum enso_op op;
    size_t n_inputs;
    void *packed[MAX_INPUTS]; /* NULL: not packed */
    size_t bytes;
};

/* ---- kernels ---- */

static float element(const struct enso_tensor *t, const void *data, int64_t i)
{
    switch (t->dtype) {
    case ENSO_DTYPE_F32:
        return ((const float *)data)[i];
    case ENSO_DTYPE_I32:
        return (float)((const int32_t *)data)[i];
    case ENSO_DTYPE_I64:
        return (float)((const int64_t *)data)[i];
    default:
        return (float)((const uint8_t *)data)[i];
    }
}

/* The element of x that broadcasting pairs with element i of y. */
static int64_t broadcast_index(const struct enso_tensor *x, const struct enso_tensor *y, int64_t i)
{
    int64_t at = 0, stride = 1;

    for (size_t k = 0; k < y->rank; k++) {
        int64_t within = i % y->dims[y->rank - 1 - k];

        i /= y->dims[y->rank - 1 - k];
        if (k < x->rank) {
            if (x->dims[x->rank - 1 - k] > 1)
                at += within * stride;
            stride *= x->dims[x->rank - 1 - k];
        }
    }
    return at;
}

static void compute(enum enso_op op, const struct enso_tensor *const *in, const void *const *data,
                    size_t n_inputs, const struct enso_tensor *y, void *dst, size_t output)
{
    int64_t n = enso_tensor_count(y);

    for (int64_t i = 0; i < n; i++) {
        float v = 0.25F * (float)op + (float)output;

        for (size_t k = 0; k < n_inputs; k++) {
            int64_t count = in[k] == NULL ? 0 : enso_tensor_count(in[k]);

            if (count == 0)
                continue;
            if (enso_op_works_in_place(op))
                v += 0.5F * (float)(k + 1) *
                     element(in[k], data[k], broadcast_index(in[k], y, i) % count);
            else
                v += 0.5F * (float)(k + 1) * element(in[k], data[k], (i * 7 + 3) % count);
        }
        if (v > 1000 || v < -1000)
            v *= 0.001F;
        if (y->dtype == ENSO_DTYPE_F32)
            ((float *)dst)[i] = v;
        else if (y->dtype == ENSO_DTYPE_I64)
            ((int64_t *)dst)[i] = (int64_t)v;
        else if (y->dtype == ENSO_DTYPE_I32)
            ((int32_t *)dst)[i] = (int32_t)v;
        else
            ((uint8_t *)dst)[i] = v > 0;
    }
}

/* ---- the contract ---- */

static int open_device(bool remote, struct enso_device **ret_device)
{
    struct enso_device *d = malloc(sizeof *d);

    d->remote = remote;
    fake_counts.devices++;
    *ret_device = d;
    return ENSO_OK;
}

static int device_open(const struct enso_device_options *options, struct enso_device **ret_device,
                       struct enso_error *err)
{
    (void)options;
    (void)err;
    return open_device(false, ret_device);
}

static int remote_open(const struct enso_device_options *options, struct enso_device **ret_device,
                       struct enso_error *err)
{
    (void)options;
    (void)err;
    return open_device(true, ret_device);
}

static void device_close(struct enso_device *device)
{
    fake_counts.devices -= device != NULL;
    free(device);
}

static void device_info(const struct enso_device *device, struct enso_device_info *ret_info)
{
    (void)device;
    *ret_info = (struct enso_device_info){.name = "fake", .n_threads = 1, .batch_invariant = true};
}

/* "Elsewhere": an address that faults if somebody forgets that it is elsewhere. */
#define REMOTE ((size_t)1 << 62)

static void *there(const struct enso_device *d, void *p)
{
    return d->remote ? (void *)((size_t)p ^ REMOTE) : p;
}

static int memory_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                        void **ret_memory, struct enso_error *err)
{
    void *p = enso_alloc_aligned(64, size_bytes + (size_bytes == 0));

    if (p == NULL)
        return enso_error_no_memory(err, what);
    memset(p, 0xFF, size_bytes);
    fake_counts.blocks++;
    *ret_memory = there(device, p);
    return ENSO_OK;
}

static void memory_free(struct enso_device *device, void *memory)
{
    fake_counts.blocks -= memory != NULL;
    enso_free(memory == NULL ? NULL : there(device, memory));
}

static void work_off(struct enso_lane *lane, uint64_t up_to);

static int upload(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                  struct enso_error *err)
{
    (void)err;
    work_off(lane, lane->n_begun);
    if (size_bytes > 0)
        memcpy(there(lane->device, dst), src, size_bytes);
    return ENSO_OK;
}

static int download(struct enso_lane *lane, void *dst, const void *src, size_t size_bytes,
                    struct enso_error *err)
{
    (void)err;
    work_off(lane, lane->n_begun);
    memcpy(dst, there(lane->device, (void *)src), size_bytes);
    return ENSO_OK;
}

static void unbind(struct enso_device *device, struct enso_bound *bound)
{
    (void)device;
    if (bound == NULL)
        return;
    for (size_t i = 0; i < bound->n_inputs; i++)
        enso_free(bound->packed[i]);
    enso_free(bound);
    fake_counts.bound--;
}

static int pack(struct enso_bound *b, size_t i, const struct enso_constant *c,
                struct enso_error *err)
{
    size_t size = enso_dtype_row_bytes(c->dtype, (size_t)enso_constant_count(c));

    b->packed[i] = enso_alloc(size);
    b->bytes += size;
    if (b->packed[i] == NULL)
        return enso_error_no_memory(err, "a fake weight");
    return enso_constant_read(c, 0, enso_constant_count(c), b->packed[i], err);
}

static int bind(struct enso_device *device, const struct enso_graph *graph, int node,
                struct enso_bound **ret_bound, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(graph, node);
    struct enso_bound *b;
    int st = ENSO_OK;

    if (n->n_inputs > MAX_INPUTS || n->op == ENSO_OP_MISH)
        return enso_error_set(err, ENSO_UNSUPPORTED, "the fake backend has no %s for node '%s'",
                              enso_op_name(n->op), n->name);
    b = enso_alloc_zero(1, sizeof *b);
    if (b == NULL)
        return enso_error_no_memory(err, "a fake node");
    fake_counts.bound++;
    b->op = n->op;
    b->n_inputs = n->n_inputs;
    for (size_t i = 0; st == ENSO_OK && i < n->n_inputs; i++) {
        const struct enso_constant *c =
            n->inputs[i] < 0 ? NULL : enso_graph_value(graph, n->inputs[i])->constant;

        if (c != NULL && c->rank >= 2)
            st = pack(b, i, c, err);
    }
    if (st != ENSO_OK) {
        unbind(device, b);
        return st;
    }
    *ret_bound = b;
    return ENSO_OK;
}

static size_t bound_bytes(const struct enso_bound *bound)
{
    return bound->bytes;
}

static bool packs(const struct enso_bound *bound, size_t input)
{
    return bound->packed[input] != NULL;
}

/* As much as the first output, to have something to check. */
static size_t workspace_bytes(const struct enso_bound *bound, const struct enso_step *step,
                              const struct enso_tensor *tensors)
{
    (void)bound;
    return enso_tensor_bytes(&tensors[step->outputs[0]]);
}

static int lane_open(struct enso_device *device, struct enso_lane **ret_lane,
                     struct enso_error *err)
{
    struct enso_lane *lane = calloc(1, sizeof *lane);

    (void)err;
    lane->device = device;
    fake_counts.lanes++;
    *ret_lane = lane;
    return ENSO_OK;
}

static void lane_close(struct enso_lane *lane)
{
    fake_counts.lanes -= lane != NULL;
    free(lane);
}

static size_t report_bytes(size_t n_steps)
{
    return n_steps > 1 ? 128 : 64;
}

static void run_step(const struct enso_device *d, const struct enso_run *run,
                     const struct enso_step *s)
{
    const struct enso_tensor *in[MAX_INPUTS];
    const void *data[MAX_INPUTS];

    for (size_t i = 0; i < s->n_inputs; i++) {
        in[i] = s->inputs[i] < 0 ? NULL : &run->tensors[s->inputs[i]];
        data[i] = s->bound->packed[i] != NULL ? s->bound->packed[i]
                  : in[i] == NULL             ? NULL
                                              : there(d, in[i]->data);
    }
    memset(there(d, run->workspace), 0xAB, enso_tensor_bytes(&run->tensors[s->outputs[0]]));
    for (size_t i = 0; i < s->n_outputs; i++)
        compute(s->bound->op, in, data, s->n_inputs, &run->tensors[s->outputs[i]],
                there(d, run->tensors[s->outputs[i]].data), i);
    fake_counts.steps++;
}

/* As late as a device may: a batch runs when somebody waits for it or for one behind it. */
static void work_off(struct enso_lane *lane, uint64_t up_to)
{
    for (; lane->n_through < up_to; lane->n_through++) {
        struct fake_batch *b = &lane->slots[0];

        for (unsigned i = 1; b->number != lane->n_through + 1; i++)
            b = &lane->slots[i];
        if (b->run.up.size_bytes > 0) {
            memcpy(there(lane->device, b->run.up.device), b->run.up.host, b->run.up.size_bytes);
            fake_counts.copies++;
        }
        for (size_t i = 0; i < b->run.n_steps; i++)
            run_step(lane->device, &b->run, &b->run.steps[i]);
        if (b->run.down.size_bytes > 0) {
            fake_counts.down_bytes[b - lane->slots] = (long)b->run.down.size_bytes;
            memset(there(lane->device, b->run.down.device), 0, report_bytes(b->run.n_steps));
            memcpy(b->run.down.host, there(lane->device, b->run.down.device),
                   b->run.down.size_bytes);
            fake_counts.copies++;
        }
    }
}

static int begin(struct enso_lane *lane, unsigned slot, const struct enso_run *r,
                 struct enso_error *err)
{
    struct fake_batch *b = &lane->slots[slot];

    if (b->busy)
        abort();
    if (fake_fail_begin != ENSO_OK)
        return enso_error_set(err, fake_fail_begin, "the fake device refuses a batch");
    fake_counts.padding_tokens += r->n_padding_tokens;
    *b = (struct fake_batch){.busy = true, .run = *r, .number = ++lane->n_begun};
    if (r->down.size_bytes > 0)
        memset(r->down.host, 0x77, r->down.size_bytes);
    return ENSO_OK;
}

static int finish(struct enso_lane *lane, unsigned slot, uint64_t *ret_compute_ns,
                  struct enso_error *err)
{
    struct fake_batch *b = &lane->slots[slot];

    if (!b->busy)
        abort();
    work_off(lane, b->number);
    b->busy = false;
    if (ret_compute_ns != NULL)
        *ret_compute_ns = 1000 + slot;
    if (fake_fail_finish != ENSO_OK)
        return enso_error_set(err, fake_fail_finish, "the fake device fails a batch");
    return ENSO_OK;
}

static bool done(struct enso_lane *lane, unsigned slot)
{
    return !lane->slots[slot].busy || lane->slots[slot].number <= lane->n_through;
}

static int drain(struct enso_lane *lane, struct enso_error *err)
{
    (void)err;
    work_off(lane, lane->n_begun);
    fake_counts.drains++;
    return ENSO_OK;
}

static int run(struct enso_lane *lane, const struct enso_run *r, struct enso_error *err)
{
    int st = begin(lane, 0, r, err);

    return st == ENSO_OK ? finish(lane, 0, NULL, err) : st;
}

static int staging_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                         void **ret_memory, struct enso_error *err)
{
    void *p = enso_alloc_aligned(64, size_bytes + (size_bytes == 0));

    (void)device;
    if (p == NULL)
        return enso_error_no_memory(err, what);
    fake_counts.blocks++;
    *ret_memory = p;
    return ENSO_OK;
}

static void staging_free(struct enso_device *device, void *memory)
{
    (void)device;
    fake_counts.blocks -= memory != NULL;
    enso_free(memory);
}

static bool computes(const struct enso_device *device, enum enso_op op, enum enso_dtype dtype)
{
    (void)device;
    (void)op;
    return dtype == ENSO_DTYPE_F32;
}

#define FAKE(open, is_host, slots_of_a_lane)                                                       \
    .abi = ENSO_BACKEND_ABI, .layout = ENSO_BACKEND_LAYOUT, .name = "fake", .device_open = open,   \
    .device_close = device_close, .device_info = device_info, .memory_alloc = memory_alloc,        \
    .memory_free = memory_free, .upload = upload, .download = download, .host_memory = is_host,    \
    .bind = bind, .unbind = unbind, .bound_bytes = bound_bytes, .packs = packs,                    \
    .workspace_bytes = workspace_bytes, .lane_open = lane_open, .lane_close = lane_close,          \
    .n_slots = slots_of_a_lane, .begin = begin, .finish = finish, .done = done, .drain = drain,    \
    .run = run, .computes = computes

const struct enso_backend *fake_backend(void)
{
    static const struct enso_backend backend = {FAKE(device_open, true, 1)};

    return &backend;
}

const struct enso_backend *fake_remote_backend(void)
{
    static const struct enso_backend backend = {
        FAKE(remote_open, false, 2), .staging_alloc = staging_alloc, .staging_free = staging_free,
        .report_bytes = report_bytes};

    return &backend;
}

/* ---- reference ---- */

static struct enso_tensor tensor_of(const struct enso_value *v, const struct enso_extents *e)
{
    struct enso_tensor t = {.dtype = v->dtype, .rank = v->shape.rank};

    for (size_t i = 0; i < v->shape.rank; i++)
        t.dims[i] = enso_dim_at(v->shape.dims[i], e);
    t.data = malloc(enso_tensor_bytes(&t) + 1);
    return t;
}

void fake_reference(const struct enso_graph *g, const struct enso_extents *e,
                    const struct enso_tensor *inputs, float **outputs)
{
    struct enso_tensor *all = calloc(enso_graph_n_values(g), sizeof *all);
    int *order = NULL;
    size_t n = 0;

    (void)enso_graph_sort(g, &order, &n, NULL);
    for (size_t i = 0; i < enso_graph_n_values(g); i++) {
        const struct enso_value *v = enso_graph_value(g, (int)i);

        all[i] = tensor_of(v, e);
        if (v->constant != NULL)
            (void)!enso_constant_read(v->constant, 0, enso_constant_count(v->constant), all[i].data,
                                      NULL);
    }
    for (size_t i = 0; i < enso_graph_n_inputs(g); i++)
        memcpy(all[enso_graph_input(g, i)].data, inputs[i].data, enso_tensor_bytes(&inputs[i]));
    for (size_t i = 0; i < n; i++) {
        const struct enso_node *node = enso_graph_node(g, order[i]);
        const struct enso_tensor *in[MAX_INPUTS];
        const void *data[MAX_INPUTS];

        for (size_t k = 0; k < node->n_inputs; k++) {
            in[k] = node->inputs[k] < 0 ? NULL : &all[node->inputs[k]];
            data[k] = in[k] == NULL ? NULL : in[k]->data;
        }
        if (enso_op_is_view(node->op)) {
            memcpy(all[node->outputs[0]].data, data[0], enso_tensor_bytes(in[0]));
            continue;
        }
        for (size_t k = 0; k < node->n_outputs; k++)
            compute(node->op, in, data, node->n_inputs, &all[node->outputs[k]],
                    all[node->outputs[k]].data, k);
    }
    for (size_t i = 0; i < enso_graph_n_outputs(g); i++) {
        const struct enso_tensor *t = &all[enso_graph_output(g, i)];

        outputs[i] = malloc(enso_tensor_bytes(t) + 1);
        memcpy(outputs[i], t->data, enso_tensor_bytes(t));
    }
    for (size_t i = 0; i < enso_graph_n_values(g); i++)
        free(all[i].data);
    free(all);
    enso_free(order);
}
