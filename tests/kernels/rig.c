/* SPDX-License-Identifier: Apache-2.0
 *
 * One operator on the bench: see rig.h.
 */
#include "ensod_build.h"

#include "tests/kernels/rig.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/host.h"

enso_backend_entry_fn rig_entry(void)
{
    const char *path = getenv("ENSO_TEST_BACKEND");
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    ck_assert_msg(module != NULL, "%s", module != NULL ? "" : dlerror());
    enso_backend_entry_fn entry;
    *(void **)&entry = dlsym(module, "enso_backend_entry");
    ck_assert_msg(entry != NULL, "%s has no enso_backend_entry", path);
    return entry;
}

const struct enso_backend *rig_backend(void)
{
    static const struct enso_backend *backend;
    const char *path = getenv("ENSO_TEST_BACKEND");

    if (backend != NULL)
        return backend;
    if (path == NULL || path[0] == '\0')
        return backend = enso_backend_cpu();
    backend = rig_entry()(enso_host());
    ck_assert_msg(backend != NULL, "%s was built for another version", path);
    return backend;
}

bool rig_on_gpu(void)
{
    return !rig_backend()->host_memory;
}

bool rig_computes(enum enso_op op, enum enso_dtype dtype)
{
    static enum { UNKNOWN, YES, NO } answers[ENSO_N_OPS][ENSO_N_DTYPES];
    struct rig r;

    if (answers[op][dtype] == UNKNOWN) {
        rig_init(&r, rig_sets()[0], 1);
        answers[op][dtype] = rig_backend()->computes(r.device, op, dtype) ? YES : NO;
        rig_done(&r);
    }
    return answers[op][dtype] == YES;
}

const char *const *rig_sets(void)
{
    static const char *const cuda[] = {"cuda", NULL};
    static const char *sets[3];
    struct enso_device *device;
    struct enso_device_options options = {.name = "cpu", .n_threads = 1, .isa = "avx2"};

    if (rig_on_gpu())
        return cuda;
    sets[0] = "generic";
    if (enso_backend_cpu()->device_open(&options, &device, NULL) == ENSO_OK) {
        sets[1] = "avx2";
        enso_backend_cpu()->device_close(device);
    }
    return sets;
}

/* With ENSO_TEST_KEEP_DEVICE a GPU stays open from rig to rig: there are thousands, and opening a
 * real card (its memory pool, pinned memory, NVML) takes longer than what they do with it. */
static struct enso_device *kept;

int rig_try_init(struct rig *r, const char *isa, unsigned n_threads)
{
    const char *library = getenv("ENSO_TEST_CUBLASLT");
    /* Our own kernels are what is asked, also where NVIDIA's library would be found. */
    struct enso_device_options options = {.name = rig_on_gpu() ? "cuda:0" : "cpu",
                                          .n_threads = n_threads,
                                          .isa = isa,
                                          .cublaslt = library != NULL ? library : "none"};
    int st = ENSO_OK;

    *r = (struct rig){.graph = enso_graph_create("test"), .device = kept};
    ck_assert_ptr_nonnull(r->graph);
    if (getenv("ENSO_TEST_BATCH_INVARIANT") != NULL)
        enso_graph_want_batch_invariant(r->graph);
    if (kept == NULL)
        st = rig_backend()->device_open(&options, &r->device, &r->err);
    if (st == ENSO_OK && rig_on_gpu() && getenv("ENSO_TEST_KEEP_DEVICE") != NULL)
        kept = r->device;
    return st;
}

void rig_init(struct rig *r, const char *isa, unsigned n_threads)
{
    int st = rig_try_init(r, isa, n_threads);

    ck_assert_msg(st == ENSO_OK, "%s", r->err.message);
}

static size_t bytes_of(enum enso_dtype dtype, size_t rank, const int64_t *dims)
{
    size_t n = 1;

    for (size_t i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    return enso_dtype_row_bytes(dtype, n);
}

static void add_tensor(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
                       const void *data)
{
    struct enso_tensor *t = &r->inputs[r->n_inputs];
    size_t bytes = bytes_of(dtype, rank, dims);

    *t = (struct enso_tensor){.dtype = dtype, .rank = (uint8_t)rank};
    for (size_t i = 0; i < rank; i++)
        t->dims[i] = dims[i];
    if (bytes > 0)
        t->data = enso_test_guard_copy(data, bytes);
}

static void add_input(struct rig *r, enum enso_dtype dtype, const struct enso_shape *shape,
                      const int64_t *dims, const void *data)
{
    char name[32];

    snprintf(name, sizeof(name), "in%zu", r->n_inputs);
    add_tensor(r, dtype, shape->rank, dims, data);
    r->values[r->n_inputs++] = enso_graph_add_input(r->graph, name, dtype, shape);
}

void rig_input(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
               const void *data)
{
    struct enso_shape shape = {.rank = (uint8_t)rank};

    for (size_t i = 0; i < rank; i++)
        shape.dims[i] = enso_dim_fixed(dims[i]);
    add_input(r, dtype, &shape, dims, data);
}

void rig_batch_input(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
                     size_t axis, const void *data)
{
    struct enso_shape shape = {.rank = (uint8_t)rank};

    for (size_t i = 0; i < rank; i++)
        shape.dims[i] = enso_dim_fixed(dims[i]);
    shape.dims[axis] = (struct enso_dim){1, ENSO_EXTENT_ITEMS};
    r->extents.n_items = dims[axis];
    add_input(r, dtype, &shape, dims, data);
}

void rig_constant(struct rig *r, enum enso_dtype dtype, size_t rank, const int64_t *dims,
                  const void *data)
{
    size_t bytes = bytes_of(dtype, rank, dims);
    struct enso_constant c = {.dtype = dtype, .stored = dtype, .rank = (uint8_t)rank};
    char name[32];

    for (size_t i = 0; i < rank; i++)
        c.dims[i] = dims[i];
    c.data = enso_alloc(bytes);
    ck_assert_ptr_nonnull(c.data);
    if (bytes > 0)
        memcpy(c.data, data, bytes);
    snprintf(name, sizeof(name), "in%zu", r->n_inputs);
    add_tensor(r, dtype, rank, dims, data);
    r->values[r->n_inputs++] = enso_graph_add_constant(r->graph, name, &c);
}

void rig_absent(struct rig *r)
{
    r->inputs[r->n_inputs] = (struct enso_tensor){.rank = 0};
    r->values[r->n_inputs++] = ENSO_NO_VALUE;
}

void rig_node(struct rig *r, enum enso_op op, size_t n_outputs)
{
    r->n_outputs = n_outputs;
    r->node = enso_graph_add_node(r->graph, op, "node", r->values, r->n_inputs, n_outputs);
    ck_assert_int_ge(r->node, 0);
    for (size_t i = 0; i < n_outputs; i++) {
        char name[32];

        snprintf(name, sizeof(name), "out%zu", i);
        ck_assert_int_ge(
            enso_graph_add_output(r->graph, name, enso_graph_node(r->graph, r->node)->outputs[i]),
            0);
    }
}

int rig_try_bind(struct rig *r)
{
    int st = enso_graph_infer(r->graph, &r->err);

    if (st == ENSO_OK)
        st = rig_backend()->bind(r->device, r->graph, r->node, &r->bound, &r->err);
    return st;
}

static void make_outputs(struct rig *r)
{
    for (size_t i = 0; i < r->n_outputs; i++) {
        const struct enso_value *v =
            enso_graph_value(r->graph, enso_graph_node(r->graph, r->node)->outputs[i]);
        struct enso_tensor *t = &r->outputs[i];

        *t = (struct enso_tensor){.dtype = v->dtype, .rank = v->shape.rank};
        for (size_t d = 0; d < t->rank; d++)
            t->dims[d] = enso_dim_at(v->shape.dims[d], &r->extents);
        size_t bytes = enso_tensor_bytes(t);

        if (bytes > 0) {
            t->data = enso_test_guard_alloc(bytes);
            memset(t->data, 0x5a, bytes);
        }
    }
}

/* Device memory for a tensor, its content copied up when it has some. */
static int raise(struct rig *r, size_t slot, struct enso_tensor *t, bool fill)
{
    const struct enso_backend *backend = rig_backend();
    size_t bytes = enso_tensor_bytes(t);
    void *host = t->data;

    if (bytes == 0 || t->data == NULL)
        return ENSO_OK;
    int st = backend->memory_alloc(r->device, bytes, "a tensor", &t->data, &r->err);
    if (st != ENSO_OK)
        return st;
    r->on_device[slot] = t->data;
    return fill ? backend->upload(r->lane, t->data, host, bytes, &r->err) : ENSO_OK;
}

static int raise_all(struct rig *r, struct enso_tensor tensors[2 * RIG_MAX])
{
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < r->n_inputs; i++)
        st = raise(r, i, &tensors[i], true);
    for (size_t i = 0; st == ENSO_OK && i < r->n_outputs; i++)
        if (i == 0 && r->in_place)
            tensors[RIG_MAX].data = tensors[0].data;
        else
            st = raise(r, RIG_MAX + i, &tensors[RIG_MAX + i], true); /* the pattern goes up too */
    return st;
}

/* Results back to ordinary memory; device memory released. */
static int lower_all(struct rig *r, int st, struct enso_tensor tensors[2 * RIG_MAX])
{
    const struct enso_backend *backend = rig_backend();

    for (size_t i = 0; st == ENSO_OK && i < r->n_outputs; i++) {
        bool in_place = i == 0 && r->in_place;
        size_t bytes = enso_tensor_bytes(&r->outputs[i]);

        if (bytes > 0)
            st = backend->download(r->lane, in_place ? r->inputs[0].data : r->outputs[i].data,
                                   tensors[RIG_MAX + i].data, bytes, &r->err);
    }
    if (st != ENSO_OK) /* copies up may be under way still: a copy down waits for them */
        (void)backend->download(r->lane, NULL, NULL, 0, NULL);
    for (size_t i = 0; i < 2 * RIG_MAX; i++) {
        backend->memory_free(r->device, r->on_device[i]);
        r->on_device[i] = NULL;
    }
    return st;
}

static void *workspace_new(struct rig *r, size_t bytes)
{
    if (bytes == 0)
        return NULL;
    if (rig_on_gpu()) {
        void *memory = NULL;

        ck_assert_int_eq(
            rig_backend()->memory_alloc(r->device, bytes, "a workspace", &memory, NULL), ENSO_OK);
        return memory;
    }
    void *workspace = enso_test_guard_alloc(bytes);

    memset(workspace, 0xff, bytes); /* NaN everywhere: nothing may count on zeros */
    return workspace;
}

static void workspace_free(struct rig *r, void *workspace, size_t bytes)
{
    if (rig_on_gpu())
        rig_backend()->memory_free(r->device, workspace);
    else if (bytes > 0)
        enso_test_guard_free(workspace, bytes);
}

int rig_try_run(struct rig *r)
{
    const struct enso_backend *backend = rig_backend();
    struct enso_tensor tensors[2 * RIG_MAX];
    int inputs[RIG_MAX], outputs[RIG_MAX], st = ENSO_OK;

    if (r->bound == NULL) {
        st = rig_try_bind(r);
        if (st == ENSO_OK)
            st = backend->lane_open(r->device, &r->lane, &r->err);
        if (st != ENSO_OK)
            return st;
        make_outputs(r);
    }
    for (size_t i = 0; i < r->n_inputs; i++) {
        tensors[i] = r->inputs[i];
        inputs[i] = r->values[i] == ENSO_NO_VALUE ? ENSO_NO_VALUE : (int)i;
        if (backend->packs(r->bound, i)) /* the engine would have let go of it */
            tensors[i].data = NULL;
    }
    for (size_t i = 0; i < r->n_outputs; i++) {
        tensors[RIG_MAX + i] = r->outputs[i];
        if (i == 0 && r->in_place)
            tensors[RIG_MAX].data = r->inputs[0].data;
        outputs[i] = (int)(RIG_MAX + i);
    }
    const struct enso_step step = {.bound = r->bound,
                                   .inputs = inputs,
                                   .outputs = outputs,
                                   .n_inputs = (uint16_t)r->n_inputs,
                                   .n_outputs = (uint16_t)r->n_outputs};
    size_t bytes = (backend->workspace_bytes(r->bound, &step, tensors) + 63) & ~(size_t)63;
    void *workspace = workspace_new(r, bytes);

    if (rig_on_gpu())
        st = raise_all(r, tensors);
    if (st == ENSO_OK)
        st = backend->run(r->lane,
                          &(struct enso_run){.steps = &step,
                                             .n_steps = 1,
                                             .tensors = tensors,
                                             .extents = &r->extents,
                                             .workspace = workspace},
                          &r->err);
    if (rig_on_gpu())
        st = lower_all(r, st, tensors);
    workspace_free(r, workspace, bytes);
    return st;
}

void rig_run(struct rig *r)
{
    int st = rig_try_run(r);

    ck_assert_msg(st == ENSO_OK, "status %d: %s", st, r->err.message);
}

void rig_done(struct rig *r)
{
    const struct enso_backend *backend = rig_backend();

    for (size_t i = 0; i < r->n_inputs; i++)
        if (r->inputs[i].data != NULL)
            enso_test_guard_free(r->inputs[i].data, enso_tensor_bytes(&r->inputs[i]));
    for (size_t i = 0; i < r->n_outputs; i++)
        if (r->outputs[i].data != NULL)
            enso_test_guard_free(r->outputs[i].data, enso_tensor_bytes(&r->outputs[i]));
    backend->lane_close(r->lane);
    backend->unbind(r->device, r->bound);
    if (r->device != kept)
        backend->device_close(r->device);
    enso_graph_destroy(r->graph);
}

void rig_random(float *x, size_t n, unsigned seed)
{
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

float *rig_random_new(size_t n, unsigned seed)
{
    float *x = malloc((n + 1) * sizeof(float));

    ck_assert_ptr_nonnull(x);
    rig_random(x, n, seed);
    return x;
}

double *rig_doubles_new(size_t n)
{
    double *y = calloc(n + 1, sizeof(double));

    ck_assert_ptr_nonnull(y);
    return y;
}

void rig_narrow(enum enso_dtype dtype, const float *x, void *y, size_t n)
{
    if (dtype == ENSO_DTYPE_F16)
        enso_f32_to_f16(x, y, n);
    else if (dtype == ENSO_DTYPE_BF16)
        enso_f32_to_bf16(x, y, n);
    else
        memcpy(y, x, n * sizeof(*x));
}

void rig_widen(enum enso_dtype dtype, const void *x, float *y, size_t n)
{
    if (dtype == ENSO_DTYPE_F16)
        enso_f16_to_f32(x, y, n);
    else if (dtype == ENSO_DTYPE_BF16)
        enso_bf16_to_f32(x, y, n);
    else
        memcpy(y, x, n * sizeof(*y));
}

void *rig_narrow_new(enum enso_dtype dtype, const float *x, size_t n)
{
    void *y = malloc((n + 1) * sizeof(*x));

    ck_assert_ptr_nonnull(y);
    rig_narrow(dtype, x, y, n);
    return y;
}

float *rig_result_new(const struct rig *r)
{
    size_t n = (size_t)enso_tensor_count(&r->outputs[0]);
    float *y = malloc((n + 1) * sizeof(*y));

    ck_assert_ptr_nonnull(y);
    rig_widen(r->outputs[0].dtype, r->outputs[0].data, y, n);
    return y;
}

void rig_near(const char *what, const float *got, const double *want, size_t n, double absolute,
              double relative)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)got[i], w = want[i];

        if ((isnan(g) && isnan(w)) || g == w)
            continue;
        ck_assert_msg(isfinite(w) && fabs(g - w) <= absolute + relative * fabs(w),
                      "%s: element %zu of %zu is %.9g, should be %.9g", what, i, n, g, w);
    }
}

int rig_main_of_halves(Suite *(*make_suite)(void))
{
    const char *backend = getenv("ENSO_TEST_BACKEND");

    if (backend == NULL || backend[0] == '\0') {
        puts(
            "SKIP: the processor does not compute in F16 and BF16; ENSO_TEST_BACKEND names others");
        return 77;
    }
    return enso_test_main(make_suite);
}
