/* SPDX-License-Identifier: Apache-2.0
 *
 * Constant folding. A node whose inputs are all constant is bound and run once by a backend's own
 * kernels, so that folding has no second implementation of any operator; content that inference
 * knows without symbols (shape arithmetic) is written down directly.
 *
 *     Add([1, 2], [3, 4])  ->  [4, 6]
 */
#include <string.h>

#include "base/memory.h"
#include "engine/passes/pass_internal.h"
#include "engine/passes/passes.h"

/* Results up to this size are always folded; larger ones only if not much larger than what they are
 * made of: ConstantOfShape and Expand must not turn into weights. */
#define SMALL_BYTES (1 << 20)
#define LARGEST_GROWTH 4
#define MAX_VALUES 64 /* inputs and outputs of a node that is folded */

struct folder {
    struct enso_graph *g;
    const struct enso_backend *backend;
    struct enso_device *device; /* opened when first needed */
    struct enso_lane *lane;
    struct enso_error *err;
    bool changed;
};

/* ---- known content ---- */

static void store(void *data, enum enso_dtype dtype, int64_t i, int64_t v)
{
    switch (dtype) {
    case ENSO_DTYPE_I64:
        ((int64_t *)data)[i] = v;
        break;
    case ENSO_DTYPE_I32:
        ((int32_t *)data)[i] = (int32_t)v;
        break;
    default:
        ((uint8_t *)data)[i] = v != 0;
    }
}

/* A constant of a value's type and dims with the given data, which is taken; the value's readers
 * turn to it. */
static int settle(struct folder *f, int value, void *data)
{
    const struct enso_value *v = enso_graph_value(f->g, value);
    struct enso_constant c = {
        .dtype = v->dtype, .stored = v->dtype, .data = data, .rank = v->shape.rank};
    int constant;

    for (size_t i = 0; i < c.rank; i++)
        c.dims[i] = v->shape.dims[i].factor;
    constant = enso__pass_add_constant(f->g, v->name, &c);
    if (constant < 0)
        return enso__pass_status(f->g, f->err);
    enso_graph_replace_uses(f->g, value, constant);
    return ENSO_OK;
}

static bool is_fixed(const struct enso_value *v)
{
    for (size_t i = 0; i < v->shape.rank; i++)
        if (v->shape.dims[i].extent != ENSO_EXTENT_FIXED)
            return false;
    return true;
}

static int64_t count_of(const struct enso_value *v)
{
    int64_t n = 1;

    for (size_t i = 0; i < v->shape.rank; i++)
        n *= v->shape.dims[i].factor;
    return n;
}

/* Whether a value's content is known to the last number. */
static bool is_known(const struct enso_value *v)
{
    if (v->known == NULL ||
        (v->dtype != ENSO_DTYPE_I64 && v->dtype != ENSO_DTYPE_I32 && v->dtype != ENSO_DTYPE_BOOL))
        return false;
    for (int64_t i = 0; i < count_of(v); i++)
        if (v->known[i].extent != ENSO_EXTENT_FIXED)
            return false;
    return true;
}

static int fold_known(struct folder *f, int node)
{
    int value = enso__pass_output(f->g, node);
    const struct enso_value *v = enso_graph_value(f->g, value);
    int64_t n = count_of(v);
    void *data = enso_alloc(enso_dtype_row_bytes(v->dtype, (size_t)n));
    int st;

    if (data == NULL)
        return enso_error_no_memory(f->err, "a folded constant");
    for (int64_t i = 0; i < n; i++)
        store(data, v->dtype, i, v->known[i].factor);
    st = settle(f, value, data);
    if (st == ENSO_OK)
        enso_graph_remove_node(f->g, node);
    return st;
}

/* ---- kernels ---- */

/* Everything constant, of fixed shape, and worth it. */
static bool can_fold(const struct folder *f, const struct enso_node *n)
{
    size_t in_bytes = 0, out_bytes = 0;

    if (f->backend == NULL || n->n_inputs + n->n_outputs > MAX_VALUES || enso_op_is_view(n->op))
        return false;
    for (size_t i = 0; i < n->n_inputs; i++) {
        const struct enso_value *v;

        if (n->inputs[i] == ENSO_NO_VALUE)
            continue;
        v = enso_graph_value(f->g, n->inputs[i]);
        if (v->constant == NULL)
            return false;
        in_bytes += enso_dtype_row_bytes(v->dtype, (size_t)count_of(v));
    }
    for (size_t i = 0; i < n->n_outputs; i++) {
        const struct enso_value *v = enso_graph_value(f->g, n->outputs[i]);

        if (!is_fixed(v))
            return false;
        out_bytes += enso_dtype_row_bytes(v->dtype, (size_t)count_of(v));
    }
    return out_bytes <= SMALL_BYTES || out_bytes / LARGEST_GROWTH <= in_bytes;
}

static int open_backend(struct folder *f)
{
    const struct enso_device_options options = {.name = "fold", .n_threads = 1, .isa = "generic"};
    int st = ENSO_OK;

    if (f->device == NULL)
        st = f->backend->device_open(&options, &f->device, f->err);
    if (st == ENSO_OK && f->lane == NULL)
        st = f->backend->lane_open(f->device, &f->lane, f->err);
    return st;
}

static void close_backend(struct folder *f)
{
    if (f->lane != NULL)
        f->backend->lane_close(f->lane);
    if (f->device != NULL)
        f->backend->device_close(f->device);
}

/* The tensors of one node: inputs, then outputs. */
struct bench {
    struct enso_tensor tensors[MAX_VALUES];
    int indices[MAX_VALUES];
    struct enso_step step;
    void *workspace;
};

static int set_tensor(struct folder *f, struct bench *b, size_t i, int value, bool with_data)
{
    struct enso_tensor *t = &b->tensors[i];
    const struct enso_value *v;

    b->indices[i] = value < 0 ? ENSO_NO_VALUE : (int)i;
    if (value < 0)
        return ENSO_OK;
    v = enso_graph_value(f->g, value);
    t->dtype = v->dtype;
    t->rank = v->shape.rank;
    for (size_t k = 0; k < t->rank; k++)
        t->dims[k] = v->shape.dims[k].factor;
    if (!with_data)
        return ENSO_OK;
    t->data = enso_alloc_aligned(ENSO_CACHE_LINE, enso_tensor_bytes(t) + 1);
    if (t->data == NULL)
        return enso_error_no_memory(f->err, "a folded constant");
    if (v->constant == NULL)
        return ENSO_OK;
    return enso_constant_read(v->constant, 0, enso_constant_count(v->constant), t->data, f->err);
}

static int fill_bench(struct folder *f, struct bench *b, const struct enso_node *n)
{
    size_t bytes;
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < n->n_inputs; i++)
        st = set_tensor(f, b, i, n->inputs[i], !f->backend->packs(b->step.bound, i));
    for (size_t i = 0; st == ENSO_OK && i < n->n_outputs; i++)
        st = set_tensor(f, b, n->n_inputs + i, n->outputs[i], true);
    if (st != ENSO_OK)
        return st;
    b->step.inputs = b->indices;
    b->step.outputs = b->indices + n->n_inputs;
    b->step.n_inputs = n->n_inputs;
    b->step.n_outputs = n->n_outputs;
    bytes = f->backend->workspace_bytes(b->step.bound, &b->step, b->tensors);
    b->workspace = enso_alloc_aligned(ENSO_CACHE_LINE, ENSO_MAX(bytes, (size_t)1));
    return b->workspace != NULL ? ENSO_OK : enso_error_no_memory(f->err, "a folded constant");
}

static int run_bench(struct folder *f, struct bench *b, int node)
{
    static const struct enso_extents extents = {1, 1, 1}; /* nothing depends on them */
    const struct enso_node *n = enso_graph_node(f->g, node);
    struct enso_run run = {.steps = &b->step, .n_steps = 1, .extents = &extents};
    int st = fill_bench(f, b, n);

    run.tensors = b->tensors;
    run.workspace = b->workspace;
    if (st == ENSO_OK)
        st = f->backend->run(f->lane, &run, f->err);
    for (size_t i = 0; st == ENSO_OK && i < n->n_outputs; i++) {
        struct enso_tensor *t = &b->tensors[n->n_inputs + i];
        void *data = t->data;

        t->data = NULL; /* settle takes it */
        st = settle(f, n->outputs[i], data);
    }
    if (st == ENSO_OK)
        enso_graph_remove_node(f->g, node);
    return st;
}

static int fold_by_kernel(struct folder *f, int node)
{
    const struct enso_node *n = enso_graph_node(f->g, node);
    size_t n_values = (size_t)n->n_inputs + n->n_outputs;
    struct enso_error why = {0};
    struct enso_bound *bound = NULL;
    struct bench *b;
    int st = open_backend(f);

    if (st != ENSO_OK)
        return st;
    st = f->backend->bind(f->device, f->g, node, &bound, &why);
    if (st == ENSO_UNSUPPORTED)
        return ENSO_OK; /* stays; who binds the graph says so */
    if (st != ENSO_OK)
        return enso_error_set(f->err, (enum enso_status)st, "%s", why.message);
    b = enso_alloc_zero(1, sizeof *b);
    if (b == NULL) {
        st = enso_error_no_memory(f->err, "a folded constant");
    } else {
        b->step.bound = bound;
        st = run_bench(f, b, node);
        for (size_t i = 0; i < n_values; i++)
            enso_free(b->tensors[i].data);
        enso_free(b->workspace);
        enso_free(b);
    }
    f->backend->unbind(f->device, bound);
    f->changed |= st == ENSO_OK;
    return st;
}

static int fold_node(struct folder *f, int node)
{
    const struct enso_node *n = enso_graph_node(f->g, node);

    if (n->n_outputs == 1 && is_known(enso_graph_value(f->g, n->outputs[0]))) {
        f->changed = true;
        return fold_known(f, node);
    }
    return can_fold(f, n) ? fold_by_kernel(f, node) : ENSO_OK;
}

int enso_pass_fold_constants(struct enso_graph *g, const struct enso_backend *backend,
                             bool *ret_changed, struct enso_error *err)
{
    struct folder f = {.g = g, .err = err};
    bool views;
    size_t n;
    int *order, st = enso_graph_sort(g, &order, &n, err);

    *ret_changed = false;
    if (st != ENSO_OK)
        return st;
    if (backend != NULL && backend->host_memory)
        f.backend = backend;
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = fold_node(&f, order[i]);
    enso_free(order);
    close_backend(&f);
    if (st == ENSO_OK && f.changed)
        st = enso_graph_infer(g, err);
    if (st == ENSO_OK)
        st = enso_pass_fold_views(g, &views, err);
    if (st == ENSO_OK)
        *ret_changed = f.changed || views;
    return st;
}
