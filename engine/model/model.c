/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a model and its life: see model.h. What a folder holds decides which loader builds the
 * graph; from there on all models go the same way: passes, program, a check of batching.
 */
#include "engine/model/model_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/passes/passes.h"

#define MAX_JSON_FILE (64u << 20)

const char *enso_task_name(enum enso_task task)
{
    static const char *const names[ENSO_N_TASKS] = {"text-classification", "image-classification",
                                                    "feature-extraction", "tensors"};

    return names[task];
}

const char *enso__model_keep(struct enso_model *m, const char *s)
{
    return enso_arena_strndup(&m->arena, s, strlen(s));
}

bool enso__model_has_file(const char *dir, const char *name)
{
    char path[ENSO_PATH_SIZE];
    struct stat st;

    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int enso__model_read_json(const char *dir, const char *name, json_t **ret_json,
                          struct enso_error *err)
{
    char path[ENSO_PATH_SIZE];
    char *text;
    size_t size;
    int st;

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return enso_error_set(err, ENSO_INVALID, "the path '%.200s...' is too long", dir);
    st = enso_file_read(path, MAX_JSON_FILE, &text, &size, err);
    if (st != ENSO_OK)
        return st;
    st = enso_json_parse(text, size, NULL, ret_json, err);
    enso_free(text);
    if (st == ENSO_INVALID) {
        if (err != NULL)
            err->status = ENSO_CORRUPT;
        st = ENSO_CORRUPT;
    }
    if (st == ENSO_OK && !json_is_object(*ret_json) && !json_is_array(*ret_json)) {
        json_decref(*ret_json);
        *ret_json = NULL;
        st = enso_error_set(err, ENSO_CORRUPT, "the top must be an object");
    }
    if (st != ENSO_OK)
        enso_error_prefix(err, "%s: ", path);
    return st;
}

static const char *ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && strcmp(s + n - k, end) == 0 ? s + n - k : NULL;
}

/* Which loader a path is for; the sentences tell what a model folder looks like. */
static int load_graph(struct enso_model *m, const char *path, struct enso_graph **ret_graph,
                      struct enso_error *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return enso_error_set(err, ENSO_NOT_FOUND, "'%s' does not exist", path);
    if (S_ISREG(st.st_mode) && ends_with(path, ".onnx") != NULL)
        return enso__model_load_onnx(m, path, ret_graph, err);
    if (!S_ISDIR(st.st_mode))
        return enso_error_set(err, ENSO_INVALID, "'%s' is neither a folder nor an .onnx file",
                              path);
    if (enso__model_has_file(path, "modules.json"))
        return enso__model_load_text(m, path, ret_graph, err);
    if (enso__model_has_file(path, "config.json") &&
        (enso__model_has_file(path, "model.safetensors") ||
         enso__model_has_file(path, "model.safetensors.index.json") ||
         (enso__model_has_file(path, "pytorch_model.bin") &&
          !enso__model_has_file(path, "model.onnx"))))
        return enso__model_load_text(m, path, ret_graph, err);
    return enso__model_load_onnx(m, path, ret_graph, err);
}

/* Names, types and shapes at the graph's borders, as KServe V2 tells them. */
static int describe_tensors(struct enso_model *m, const struct enso_graph *g, bool outputs,
                            struct enso_error *err)
{
    size_t n = outputs ? enso_graph_n_outputs(g) : enso_graph_n_inputs(g);
    struct enso_tensor_info *info = enso_arena_alloc_zero(&m->arena, n + 1, sizeof *info);

    if (info == NULL)
        return enso_error_no_memory(err, "the model's description");
    for (size_t i = 0; i < n; i++) {
        const struct enso_value *v =
            enso_graph_value(g, outputs ? enso_graph_output(g, i) : enso_graph_input(g, i));

        info[i].name = enso__model_keep(m, outputs ? enso_graph_output_name(g, i) : v->name);
        if (info[i].name == NULL)
            return enso_error_no_memory(err, "the model's description");
        info[i].dtype = v->dtype;
        info[i].rank = v->shape.rank;
        for (uint8_t d = 0; d < v->shape.rank; d++)
            info[i].dims[d] =
                v->shape.dims[d].extent == ENSO_EXTENT_FIXED ? v->shape.dims[d].factor : -1;
    }
    if (outputs) {
        m->info.outputs = info;
        m->info.n_outputs = n;
    } else {
        m->info.inputs = info;
        m->info.n_inputs = n;
    }
    return ENSO_OK;
}

/* --- the files of the weights -------------------------------------------------------------------
 */

static bool same_file(const struct enso_weights_file *a, const struct enso_weights_file *b)
{
    struct enso_weights_identity x, y;

    if (a == b)
        return true;
    enso_weights_file_identity(a, &x);
    enso_weights_file_identity(b, &y);
    return x.device == y.device && x.inode == y.inode && x.size_bytes == y.size_bytes &&
           x.modified_ns == y.modified_ns;
}

int enso__model_hold_file(struct enso_model *m, struct enso_weights_file *file,
                          struct enso_error *err)
{
    struct enso_weights_file **grown;

    for (size_t i = m->n_files; i-- > 0;) /* tensors that follow each other share a file */
        if (same_file(m->files[i], file))
            return ENSO_OK;
    if (m->n_files == m->files_capacity) {
        grown = enso_realloc_array(m->files, 2 * m->files_capacity + 4, sizeof *grown);
        if (grown == NULL)
            return enso_error_no_memory(err, "the list of weight files");
        m->files = grown;
        m->files_capacity = 2 * m->files_capacity + 4;
    }
    m->files[m->n_files++] = enso_weights_file_ref(file);
    return ENSO_OK;
}

/* Every file that the graph's constants are read from: shards, projections, external data. */
static int hold_files(struct enso_model *m, const struct enso_graph *g, struct enso_error *err)
{
    int st = ENSO_OK;

    for (size_t v = 0; st == ENSO_OK && v < enso_graph_n_values(g); v++) {
        const struct enso_constant *c = enso_graph_value(g, (int)v)->constant;

        if (c == NULL)
            continue;
        if (c->n_parts == 0 && c->file != NULL)
            st = enso__model_hold_file(m, c->file, err);
        for (uint8_t i = 0; st == ENSO_OK && i < c->n_parts; i++)
            st = enso__model_hold_file(m, c->parts[i].file, err);
    }
    return st;
}

/* A file that was written to while it was read may have been half old, half new. */
static int check_files(struct enso_model *m, struct enso_error *err)
{
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < m->n_files; i++) {
        st = enso_weights_file_check(m->files[i], err);
        m->info.file_bytes += enso_weights_file_size(m->files[i]);
    }
    return st;
}

static void let_files_go(struct enso_model *m)
{
    for (size_t i = 0; i < m->n_files; i++)
        enso_weights_file_unref(m->files[i]);
    enso_free(m->files);
    m->files = NULL;
    m->n_files = m->files_capacity = 0;
}

static int bind_graph(struct enso_model *m, const struct enso_model_options *options,
                      struct enso_graph *graph /* takes */, bool *ret_lowered,
                      struct enso_error *err)
{
    struct enso_device_info device;
    size_t n_inputs;
    int st = hold_files(m, graph, err);

    m->stored = enso__model_stored_type(graph);
    if (st == ENSO_OK)
        st = enso_passes_run(graph, err);
    if (st == ENSO_OK)
        st = describe_tensors(m, graph, false, err);
    if (st == ENSO_OK)
        st = describe_tensors(m, graph, true, err);
    if (st == ENSO_OK)
        st = enso__model_lower(m, options, graph, ret_lowered, err);
    if (st != ENSO_OK) {
        enso_graph_destroy(graph);
        return st;
    }
    if (options->batch_invariant)
        enso_graph_want_batch_invariant(graph);
    st = enso_program_create(m->backend, m->device, graph, &m->program, err);
    if (st != ENSO_OK)
        return st;
    if (m->info.takes_images && !enso_program_inputs(m->program, &n_inputs)[0].pixels)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "what the graph gives does not depend on the picture: no node that "
                              "is needed reads the numbers of input '%s'",
                              m->info.inputs[0].name);
    m->backend->device_info(m->device, &device);
    (void)snprintf(m->info.device, sizeof m->info.device, "%s", device.name);
    m->info.weight_bytes = enso_program_weight_bytes(m->program);
    m->info.batch_invariant = enso_program_is_batch_invariant(m->program);
    return ENSO_OK;
}

/* *ret_lowered: it was to compute in a half type. */
static int load(const struct enso_model_options *options, struct enso_model **ret_model,
                bool *ret_lowered, struct enso_error *err)
{
    uint64_t start_ns = enso_clock_now_ns();
    struct enso_model *m = enso_alloc_zero(1, sizeof *m);
    struct enso_graph *graph = NULL;
    int st;

    *ret_lowered = false;
    if (m == NULL)
        return enso_error_no_memory(err, "a model");
    atomic_init(&m->refs, 1);
    (void)pthread_mutex_init(&m->lock, NULL); /* cannot fail with default attributes on Linux */
    m->backend = options->backend;
    m->device = options->device;
    m->max_pixels = options->max_pixels;
    m->info.id = enso__model_keep(m, options->id);
    m->info.path = enso__model_keep(m, options->path);
    st =
        m->info.id == NULL || m->info.path == NULL ? enso_error_no_memory(err, "a model") : ENSO_OK;
    if (st == ENSO_OK)
        st = load_graph(m, options->path, &graph, err);
    if (st == ENSO_OK)
        st = bind_graph(m, options, graph, ret_lowered, err);
    if (st == ENSO_OK)
        st = check_files(m, err);
    let_files_go(m);
    if (st == ENSO_OK)
        st = enso__model_check_batching(m, err);
    if (st != ENSO_OK) {
        enso_error_prefix(err, "model '%s': ", options->id);
        enso_model_unref(m);
        return st;
    }
    m->info.load_seconds = (double)(enso_clock_now_ns() - start_ns) * 1e-9;
    *ret_model = m;
    return ENSO_OK;
}

int enso_model_load(const struct enso_model_options *options, struct enso_model **ret_model,
                    struct enso_error *err)
{
    struct enso_model_options plain = *options;
    struct enso_error why = {0};
    bool lowered;
    int st = load(options, ret_model, &lowered, &why);

    if (st == ENSO_UNSUPPORTED && lowered) {
        /* A kernel that lacks the half type for just this node: fp32 on the device still beats
         * leaving it. The graph is spent, so it is read again. */
        plain.dtype = ENSO_MODEL_DTYPE_FP32;
        st = load(&plain, ret_model, &lowered, err);
        if (st == ENSO_OK)
            (*ret_model)->info.dtype_reason = enso__model_keep(*ret_model, why.message);
        return st;
    }
    if (st != ENSO_OK && err != NULL)
        *err = why;
    return st;
}

struct enso_model *enso_model_ref(struct enso_model *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed); /* the caller holds one already */
    return m;
}

struct enso_model *enso_model_unref(struct enso_model *m)
{
    /* acq_rel: whoever frees must see what every other owner wrote */
    if (m == NULL || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    enso__model_lanes_done(m);
    if (m->n_promised != 0)
        m->backend->promise_end(m->device, m->n_promised * m->promised.all_bytes);
    enso_program_unref(m->program);
    enso_tokenizer_destroy(m->tokenizer);
    enso_free(m->prompt);
    enso_arena_done(&m->arena);
    (void)pthread_mutex_destroy(&m->lock); /* nobody holds it: this was the last reference */
    enso_free(m);
    return NULL;
}

const struct enso_model_info *enso_model_info(const struct enso_model *m)
{
    return &m->info;
}

const struct enso_tokenizer *enso_model_tokenizer(const struct enso_model *m)
{
    return m->tokenizer;
}
