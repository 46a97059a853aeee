/* SPDX-License-Identifier: Apache-2.0
 *
 * Running ONNX models for tests: see onnx_run.h.
 */
#include "tests/engine/formats/onnx_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/formats/onnx.h"
#include "engine/passes/passes.h"
#include "engine/program/context.h"
#include "engine/program/program.h"

static enum enso_status read_some(const char *folder, const char *kind, struct enso_tensor *tensors,
                                  char **names, size_t *ret_n, struct enso_error *err)
{
    char path[1024];

    for (*ret_n = 0; *ret_n < ONNX_RUN_MAX; (*ret_n)++) {
        enum enso_status st;

        snprintf(path, sizeof path, "%s/%s_%zu.pb", folder, kind, *ret_n);
        if (access(path, R_OK) != 0)
            return ENSO_OK;
        st = enso_onnx_load_tensor(path, &tensors[*ret_n], names != NULL ? &names[*ret_n] : NULL,
                                   err);
        if (st != ENSO_OK)
            return st;
    }
    return enso_error_set(err, ENSO_TOO_LARGE, "%s has too many files", folder);
}

enum enso_status onnx_case_read(struct onnx_case *c, const char *folder, struct enso_error *err)
{
    enum enso_status st = read_some(folder, "input", c->inputs, c->input_names, &c->n_inputs, err);

    return st == ENSO_OK ? read_some(folder, "output", c->outputs, NULL, &c->n_outputs, err) : st;
}

void onnx_case_done(struct onnx_case *c)
{
    for (size_t i = 0; i < c->n_inputs; i++) {
        enso_free(c->inputs[i].data);
        enso_free(c->input_names[i]);
    }
    for (size_t i = 0; i < c->n_outputs; i++)
        enso_free(c->outputs[i].data);
    c->n_inputs = c->n_outputs = 0;
}

/* Sizes and the like, which no real model computes from its input. */
static bool is_parameter(const struct enso_tensor *t, const char *name)
{
    return t->rank <= 1 && (t->dtype == ENSO_DTYPE_I64 || t->dtype == ENSO_DTYPE_I32 ||
                            strcmp(name, "scales") == 0);
}

/* As it is; if that cannot be, with its small integer inputs, and Resize's scales, as constants. */
static enum enso_status load(const struct onnx_case *c, struct enso_graph **ret_graph,
                             struct enso_error *err)
{
    struct enso_onnx_frozen frozen[ONNX_RUN_MAX];
    struct enso_onnx_options options = {.frozen = frozen};
    enum enso_status st = enso_onnx_load(c->model, NULL, ret_graph, err);

    if (st != ENSO_UNSUPPORTED || !c->freeze)
        return st;
    for (size_t i = 0; i < c->n_inputs; i++) {
        const struct enso_tensor *t = &c->inputs[i];

        if (c->input_names[i] != NULL && c->input_names[i][0] != '\0' &&
            is_parameter(t, c->input_names[i]))
            frozen[options.n_frozen++] = (struct enso_onnx_frozen){c->input_names[i], *t};
    }
    if (options.n_frozen == 0)
        return st;
    enso_error_clear(err);
    return enso_onnx_load(c->model, &options, ret_graph, err);
}

static const struct enso_tensor *find_input(const struct onnx_case *c, const char *name, size_t i)
{
    for (size_t k = 0; k < c->n_inputs; k++)
        if (c->input_names[k] != NULL && strcmp(c->input_names[k], name) == 0)
            return &c->inputs[k];
    return i < c->n_inputs ? &c->inputs[i] : NULL;
}

static double number_at(const struct enso_tensor *t, size_t i)
{
    switch (t->dtype) {
    case ENSO_DTYPE_F32:
        return ((const float *)t->data)[i];
    case ENSO_DTYPE_I64:
        return (double)((const int64_t *)t->data)[i];
    default:
        return 0;
    }
}

static enum enso_status compare(const struct onnx_case *c, size_t which,
                                const struct enso_tensor *found, struct enso_error *err)
{
    const struct enso_tensor *want = &c->outputs[which];
    size_t n = (size_t)enso_tensor_count(want), worst = 0, n_wrong = 0;
    double worst_by = -1;

    if (found->dtype != want->dtype || found->rank != want->rank ||
        memcmp(found->dims, want->dims, want->rank * sizeof *want->dims) != 0)
        return enso_error_set(err, ENSO_INTERNAL,
                              "output %zu: %s of rank %d [%" PRId64 "...] in place of %s of rank "
                              "%d [%" PRId64 "...]",
                              which, enso_dtype_name(found->dtype), found->rank, found->dims[0],
                              enso_dtype_name(want->dtype), want->rank, want->dims[0]);
    if (want->dtype != ENSO_DTYPE_F32)
        return n == 0 || memcmp(found->data, want->data, enso_tensor_bytes(want)) == 0
                   ? ENSO_OK
                   : enso_error_set(err, ENSO_INTERNAL, "output %zu: %s differ (first %g, not %g)",
                                    which, enso_dtype_name(want->dtype), number_at(found, 0),
                                    number_at(want, 0));
    for (size_t i = 0; i < n; i++) {
        double a = number_at(found, i), b = number_at(want, i), by;

        if (a == b || (isnan(a) && isnan(b)))
            continue;
        by = fabs(a - b) - (double)c->atol - (double)c->rtol * fabs(b);
        if (by <= 0)
            continue;
        n_wrong++;
        if (!(by <= worst_by)) {
            worst_by = by;
            worst = i;
        }
    }
    if (n_wrong > 0)
        return enso_error_set(err, ENSO_INTERNAL,
                              "output %zu: %zu of %zu numbers are wrong; number %zu is %.9g, not "
                              "%.9g",
                              which, n_wrong, n, worst, number_at(found, worst),
                              number_at(want, worst));
    return ENSO_OK;
}

/* Run the program once and compare all outputs. */
static enum enso_status run(const struct onnx_case *c, struct enso_program *program,
                            struct enso_lane *lane, struct enso_error *err)
{
    struct enso_extents extents = {1, 1, 1};
    struct enso_tensor inputs[ONNX_RUN_MAX], outputs[ONNX_RUN_MAX];
    void *data[ONNX_RUN_MAX] = {NULL};
    struct enso_context *context = NULL;
    size_t n_in, n_out;
    const struct enso_program_io *in = enso_program_inputs(program, &n_in);
    enum enso_status st = ENSO_OK;

    (void)enso_program_outputs(program, &n_out);
    if (n_in > ONNX_RUN_MAX || n_out != c->n_outputs)
        return enso_error_set(err, ENSO_INTERNAL, "%zu inputs, %zu outputs", n_in, n_out);
    for (size_t i = 0; i < n_in; i++) {
        const struct enso_tensor *t = find_input(c, in[i].name, i);

        if (t == NULL)
            return enso_error_set(err, ENSO_INTERNAL, "no input '%s'", in[i].name);
        inputs[i] = *t;
        if (in[i].shape.rank > 0 && in[i].shape.dims[0].extent == ENSO_EXTENT_ITEMS)
            extents.n_items = t->dims[0];
    }
    for (size_t i = 0; i < n_out && st == ENSO_OK; i++) {
        st = (enum enso_status)enso_program_output_tensor(program, i, &extents, &outputs[i], err);
        if (st == ENSO_OK)
            outputs[i].data = data[i] = enso_alloc(enso_tensor_bytes(&outputs[i]));
    }
    if (st == ENSO_OK)
        st = (enum enso_status)enso_context_create(program, &context, err);
    if (st == ENSO_OK)
        st = (enum enso_status)enso_context_run(context, lane, &extents, inputs, data, err);
    for (size_t i = 0; i < n_out && st == ENSO_OK; i++)
        st = compare(c, i, &outputs[i], err);
    enso_context_destroy(context);
    for (size_t i = 0; i < n_out; i++)
        enso_free(data[i]);
    return st;
}

static enum enso_status run_on(const struct onnx_case *c, struct enso_graph *graph,
                               struct enso_error *err)
{
    const struct enso_backend *backend = enso_backend_cpu();
    const char *isa = getenv("ENSO_TEST_ISA");
    struct enso_device_options options = {
        .name = "cpu", .n_threads = 2, .isa = isa != NULL ? isa : "auto"};
    struct enso_device *device = NULL;
    struct enso_lane *lane = NULL;
    struct enso_program *program = NULL;
    enum enso_status st = (enum enso_status)backend->device_open(&options, &device, err);

    if (st != ENSO_OK) {
        enso_graph_destroy(graph);
        return st;
    }
    st = (enum enso_status)enso_program_create(backend, device, graph, &program, err);
    if (st == ENSO_OK)
        st = (enum enso_status)backend->lane_open(device, &lane, err);
    if (st == ENSO_OK)
        st = run(c, program, lane, err);
    backend->lane_close(lane);
    enso_program_unref(program);
    backend->device_close(device);
    return st;
}

enum onnx_outcome onnx_case_run(const struct onnx_case *c, bool passes, struct enso_error *err)
{
    struct enso_graph *graph = NULL;
    enum enso_status st = load(c, &graph, err);

    if (st == ENSO_OK && passes)
        st = (enum enso_status)enso_passes_run(graph, err);
    if (st == ENSO_OK) {
        st = run_on(c, graph, err); /* takes the graph */
        graph = NULL;
    }
    enso_graph_destroy(graph);
    return st == ENSO_OK ? ONNX_PASSED : st == ENSO_UNSUPPORTED ? ONNX_UNSUPPORTED : ONNX_FAILED;
}
