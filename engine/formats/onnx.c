/* SPDX-License-Identifier: Apache-2.0
 *
 * The ONNX loader: see onnx.h. First the file is scanned and unpacked, then every name gets its
 * value (inputs, initializers, outputs of nodes), then nodes are turned over one by one, so that
 * their order in the file does not matter; sorting finds cycles and inference what does not fit.
 */
#include "ensod_build.h"

#include "engine/formats/onnx.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/formats/onnx_internal.h"
#include "engine/formats/onnx_scan.h"
#include "engine/formats/weights_file.h"

#define MAX_INPUTS 4096 /* or outputs of a model */
#define MAX_ATTRIBUTES 256

static void *allocate(void *data, size_t size_bytes)
{
    (void)data;
    return enso_alloc(size_bytes);
}

static void release(void *data, void *pointer)
{
    (void)data;
    enso_free(pointer);
}

static ProtobufCAllocator allocator = {allocate, release, NULL};

/* Scan and unpack; protobuf-c does not say why it fails, but after the scan only memory is left. */
static enum enso_status unpack(const struct enso_weights_file *file, enum enso_onnx_root root,
                               const ProtobufCMessageDescriptor *descriptor,
                               ProtobufCMessage **ret_message, struct enso_error *err)
{
    struct enso_buffer skeleton = ENSO_BUFFER_INIT;
    ProtobufCMessage *message = NULL;
    enum enso_status st = enso_onnx_scan(file, root, &skeleton, err);

    if (st == ENSO_OK) {
        message = protobuf_c_message_unpack(descriptor, &allocator, skeleton.size,
                                            (const uint8_t *)skeleton.data);
        if (message == NULL)
            st = enso_error_no_memory(err, "an ONNX model");
    }
    enso_buffer_done(&skeleton);
    if (st == ENSO_OK)
        *ret_message = message;
    return st;
}

/* --- versions ------------------------------------------------------------------------------ */

static bool is_main_domain(const char *domain)
{
    return domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0;
}

static enum enso_status read_opset(struct enso__onnx *o)
{
    const Enso__Onnx__Model *m = o->model;

    if (m->graph == NULL)
        return enso_error_set(o->err, ENSO_CORRUPT,
                              "it holds no graph; is it an ONNX model, and whole?");
    o->opset = -1;
    for (size_t i = 0; i < m->n_opset_import; i++)
        if (is_main_domain(m->opset_import[i]->domain))
            o->opset = m->opset_import[i]->version;
    if (o->opset < 0)
        return enso_error_set(o->err, ENSO_CORRUPT, "it does not say which opset it uses");
    if (o->opset < ENSO_ONNX_MIN_OPSET || o->opset > ENSO_ONNX_MAX_OPSET)
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "opset %" PRId64 " is not supported (%d to %d are); convert it with "
                              "onnx.version_converter or export it anew",
                              o->opset, ENSO_ONNX_MIN_OPSET, ENSO_ONNX_MAX_OPSET);
    return ENSO_OK;
}

/* --- operators ----------------------------------------------------------------------------- */

static bool node_known(const Enso__Onnx__Node *n)
{
    return is_main_domain(n->domain) && n->op_type != NULL && enso__onnx_op_known(n->op_type);
}

static bool is_function(const Enso__Onnx__Model *m, const Enso__Onnx__Node *n)
{
    for (size_t i = 0; i < m->n_functions; i++) {
        const char *a = m->functions[i]->domain, *b = n->domain;

        if (m->functions[i]->name != NULL && n->op_type != NULL &&
            strcmp(m->functions[i]->name, n->op_type) == 0 &&
            strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0)
            return true;
    }
    return false;
}

/* " and also not A, B": the other operators that are missing, each once, as far as there is room */
static void list_others(const Enso__Onnx__Graph *g, const char *first, char text[160])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < g->n_node && i < 10000 && used < 120; i++) { /* bounded work */
        const char *op = g->node[i]->op_type;
        bool seen =
            op == NULL || strlen(op) > 30 || strcmp(op, first) == 0 || node_known(g->node[i]);

        for (size_t k = 0; k < i && !seen; k++)
            seen = g->node[k]->op_type != NULL && strcmp(g->node[k]->op_type, op) == 0;
        if (!seen)
            used += (size_t)snprintf(text + used, 160 - used, "%s%s",
                                     used == 0 ? "; nor are " : ", ", op);
    }
}

/* All at once, before anything else is said: whoever converts a model wants the whole list. */
static enum enso_status check_operators(struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;

    for (size_t i = 0; i < g->n_node; i++) {
        const Enso__Onnx__Node *n = g->node[i];
        const char *op = n->op_type != NULL ? n->op_type : "",
                   *name = n->name != NULL && n->name[0] != '\0' ? n->name
                           : n->n_output > 0                     ? n->output[0]
                                                                 : "";
        char others[160];

        if (node_known(n))
            continue;
        list_others(g, op, others);
        return enso_error_set(
            o->err, ENSO_UNSUPPORTED,
            "operator '%.50s'%s of domain '%.50s' in node '%.80s' is not supported at opset "
            "%" PRId64 "%s",
            op, is_function(o->model, n) ? " (a function of the model)" : "",
            is_main_domain(n->domain) ? "ai.onnx" : n->domain, name, o->opset, others);
    }
    return ENSO_OK;
}

/* --- inputs -------------------------------------------------------------------------------- */

/* The size that the options give for a symbol or for input[axis]; 0 when none. */
static int64_t given_size(const struct enso_onnx_options *options, const char *symbol,
                          const char *input, size_t axis)
{
    char place[300];

    snprintf(place, sizeof place, "%.256s[%zu]", input, axis);
    for (size_t i = 0; i < options->n_sizes; i++)
        if (strcmp(options->sizes[i].name, place) == 0)
            return options->sizes[i].size;
    for (size_t i = 0; i < options->n_sizes && symbol[0] != '\0'; i++)
        if (strcmp(options->sizes[i].name, symbol) == 0)
            return options->sizes[i].size;
    return 0;
}

/* A dimension without a number: symbol or "" in *ret_symbol. Some exporters write -1. */
static bool is_open(const Enso__Onnx__Dimension *d, const char **ret_symbol)
{
    *ret_symbol = d->dim_param != NULL ? d->dim_param : "";
    return !d->has_dim_value || d->dim_value == -1;
}

/* Initializers, and inputs that were frozen, are values already when inputs are looked at. */
static bool is_initializer(const struct enso__onnx *o, const char *name)
{
    int value = enso_graph_find_value(o->graph, name);

    return value != ENSO_NO_VALUE && enso_graph_value(o->graph, value)->constant != NULL;
}

/* The name of a value, "" when the file gives none. */
static const char *value_name(const Enso__Onnx__ValueInfo *v)
{
    return v->name != NULL ? v->name : "";
}

/* Whether the model can take several items at once: dimension 0 of every input is open, without a
 * given size, and of the same symbol. */
static bool is_batched(const struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;
    const char *common = NULL;

    for (size_t i = 0; i < g->n_input; i++) {
        const Enso__Onnx__ValueInfo *v = g->input[i];
        const Enso__Onnx__Shape *shape;
        const char *symbol;

        if (is_initializer(o, value_name(v)))
            continue;
        if (v->type == NULL || v->type->tensor_type == NULL ||
            (shape = v->type->tensor_type->shape) == NULL || shape->n_dim == 0 ||
            !is_open(shape->dim[0], &symbol) ||
            given_size(o->options, symbol, value_name(v), 0) != 0)
            return false;
        if (common != NULL && strcmp(common, symbol) != 0)
            return false;
        common = symbol;
    }
    return common != NULL;
}

static enum enso_status read_dimension(struct enso__onnx *o, const char *input, size_t axis,
                                       const Enso__Onnx__Dimension *d, bool batched,
                                       struct enso_dim *ret_dim)
{
    const char *symbol;
    int64_t size;

    if (!is_open(d, &symbol)) {
        if (d->dim_value < 0)
            return enso_error_set(o->err, ENSO_CORRUPT, "input '%.100s': dimension %zu is %" PRId64,
                                  input, axis, d->dim_value);
        *ret_dim = enso_dim_fixed(d->dim_value);
        return ENSO_OK;
    }
    size = given_size(o->options, symbol, input, axis);
    if (size < 0)
        return enso_error_set(o->err, ENSO_INVALID,
                              "input '%.100s': the size given for dimension %zu is %" PRId64
                              "; it must be at least 1",
                              input, axis, size);
    if (size > 0)
        *ret_dim = enso_dim_fixed(size);
    else if (axis == 0)
        *ret_dim = batched ? (struct enso_dim){1, ENSO_EXTENT_ITEMS} : enso_dim_fixed(1);
    else
        return symbol[0] != '\0'
                   ? enso_error_set(o->err, ENSO_INVALID,
                                    "input '%.100s': dimension %zu is the symbol '%.60s'; give a "
                                    "size for '%.60s'",
                                    input, axis, symbol, symbol)
                   : enso_error_set(o->err, ENSO_INVALID,
                                    "input '%.100s': dimension %zu is open; give a size for "
                                    "'%.100s[%zu]'",
                                    input, axis, input, axis);
    return ENSO_OK;
}

static enum enso_status add_input(struct enso__onnx *o, const Enso__Onnx__ValueInfo *v,
                                  bool batched)
{
    const Enso__Onnx__TensorType *type = v->type != NULL ? v->type->tensor_type : NULL;
    struct enso_shape shape = {0};
    enum enso_dtype stored, seen;
    const char *name = value_name(v);

    if (type == NULL)
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "input '%.100s' is no tensor (a sequence, map, optional or sparse "
                              "value), which is not supported",
                              name);
    if (!enso__onnx_dtype(type->elem_type, &stored, &seen))
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "input '%.100s': type %s (%d) is not supported", name,
                              enso__onnx_dtype_name(type->elem_type), (int)type->elem_type);
    if (type->shape == NULL)
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "input '%.100s' has no shape; export the model with one", name);
    if (type->shape->n_dim > ENSO_MAX_RANK)
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "input '%.100s': %zu dimensions, but at most %d are supported", name,
                              type->shape->n_dim, ENSO_MAX_RANK);
    shape.rank = (uint8_t)type->shape->n_dim;
    for (size_t i = 0; i < shape.rank; i++) {
        enum enso_status st =
            read_dimension(o, name, i, type->shape->dim[i], batched, &shape.dims[i]);

        if (st != ENSO_OK)
            return st;
    }
    (void)enso_graph_add_input(o->graph, name, seen, &shape); /* the graph keeps its failures */
    return ENSO_OK;
}

/* --- values -------------------------------------------------------------------------------- */

/* Every value is made once. */
static enum enso_status check_new(struct enso__onnx *o, const char *name)
{
    if (name[0] == '\0')
        return enso_error_set(o->err, ENSO_CORRUPT, "an input or initializer has no name");
    if (enso_graph_find_value(o->graph, name) != ENSO_NO_VALUE)
        return enso_error_set(o->err, ENSO_CORRUPT,
                              "'%.100s' is made twice (as input, initializer or output of a node)",
                              name);
    return ENSO_OK;
}

/* Inputs that the caller wants as constants. */
static enum enso_status add_frozen(struct enso__onnx *o)
{
    for (size_t i = 0; i < o->options->n_frozen; i++) {
        const struct enso_onnx_frozen *f = &o->options->frozen[i];
        struct enso_constant c = {
            .dtype = f->tensor.dtype, .stored = f->tensor.dtype, .rank = f->tensor.rank};
        enum enso_status st = check_new(o, f->name);

        if (st != ENSO_OK)
            return st;
        memcpy(c.dims, f->tensor.dims, sizeof c.dims);
        c.data = enso_memdup(f->tensor.data, enso_tensor_bytes(&f->tensor));
        if (c.data == NULL)
            return enso_error_no_memory(o->err, "an ONNX model");
        (void)enso_graph_add_constant(o->graph, f->name, &c); /* the graph keeps its failures */
    }
    return ENSO_OK;
}

static enum enso_status add_inputs(struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;
    bool batched = is_batched(o);

    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = value_name(g->input[i]);
        enum enso_status st;

        if (is_initializer(o, name)) /* before IR version 4 all of them are inputs too */
            continue;
        st = check_new(o, name);
        if (st == ENSO_OK)
            st = add_input(o, g->input[i], batched);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

static enum enso_status add_tensor(struct enso__onnx *o, const char *name, const char *kind,
                                   const Enso__Onnx__Tensor *t)
{
    enum enso_status st = check_new(o, name);
    struct enso_constant c;
    char what[160];

    snprintf(what, sizeof what, "%s '%.100s'", kind, name);
    if (st == ENSO_OK)
        st = enso__onnx_constant(o, t, what, &c);
    if (st == ENSO_OK)
        (void)enso_graph_add_constant(o->graph, name, &c); /* takes the data even when it fails */
    return st;
}

static enum enso_status add_initializers(struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;

    if (g->n_sparse_initializer > 0)
        return enso_error_set(o->err, ENSO_UNSUPPORTED, "sparse initializers are not supported");
    for (size_t i = 0; i < g->n_initializer; i++) {
        const Enso__Onnx__Tensor *t = g->initializer[i];
        enum enso_status st = add_tensor(o, t->name != NULL ? t->name : "", "initializer", t);

        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

static enum enso_status add_constant_node(struct enso__onnx *o, const Enso__Onnx__Node *n)
{
    const Enso__Onnx__Attribute *a = n->n_attribute == 1 ? n->attribute[0] : NULL;
    const char *name = n->n_output == 1 ? n->output[0] : "", *kind = a != NULL ? a->name : NULL;
    enum enso_status st = check_new(o, name);
    struct enso_constant c = {0};
    const void *data = NULL;

    if (st != ENSO_OK)
        return st;
    if (kind == NULL)
        return enso_error_set(o->err, ENSO_CORRUPT, "Constant '%.100s' has not exactly one value",
                              name);
    if (strcmp(kind, "value") == 0 && a->t != NULL)
        return enso__onnx_constant(o, a->t, "its value", &c) != ENSO_OK
                   ? (enso_error_prefix(o->err, "Constant '%.100s': ", name), o->err->status)
                   : (enum enso_status)ENSO_MIN(enso_graph_add_constant(o->graph, name, &c), 0);
    if (strcmp(kind, "value_float") == 0) {
        c.dtype = ENSO_DTYPE_F32;
        data = &a->f;
    } else if (strcmp(kind, "value_int") == 0) {
        c.dtype = ENSO_DTYPE_I64;
        data = &a->i;
    } else if (strcmp(kind, "value_floats") == 0) {
        c = (struct enso_constant){
            .dtype = ENSO_DTYPE_F32, .rank = 1, .dims[0] = (int64_t)a->n_floats};
        data = a->n_floats > 0 ? (const void *)a->floats : "";
    } else if (strcmp(kind, "value_ints") == 0) {
        c = (struct enso_constant){
            .dtype = ENSO_DTYPE_I64, .rank = 1, .dims[0] = (int64_t)a->n_ints};
        data = a->n_ints > 0 ? (const void *)a->ints : "";
    } else {
        return enso_error_set(o->err, ENSO_UNSUPPORTED,
                              "Constant '%.100s': a value given as '%.50s' is not supported", name,
                              kind);
    }
    c.stored = c.dtype;
    c.data = enso_memdup(data, enso_dtype_row_bytes(c.dtype, c.rank == 0 ? 1 : (size_t)c.dims[0]));
    if (c.data == NULL)
        return enso_error_no_memory(o->err, "an ONNX model");
    (void)enso_graph_add_constant(o->graph, name, &c); /* the graph keeps its failures */
    return ENSO_OK;
}

/* Outputs that are not computed are remembered, for whoever reads them. */
static enum enso_status note_missing(struct enso__onnx *o, const char *name, const char *op)
{
    struct enso__onnx_missing *grown =
        enso_realloc_array(o->missing, o->n_missing + 1, sizeof *grown);

    if (grown == NULL)
        return enso_error_no_memory(o->err, "an ONNX model");
    o->missing = grown;
    grown[o->n_missing++] = (struct enso__onnx_missing){name, op};
    return ENSO_OK;
}

/* A value for each output of each node, so that nodes may refer to later ones. */
static enum enso_status add_outputs_of(struct enso__onnx *o, const Enso__Onnx__Node *n)
{
    size_t n_computed;
    enum enso_status st;

    if (strcmp(n->op_type, "Constant") == 0)
        return add_constant_node(o, n);
    n_computed = enso__onnx_n_outputs(n);
    for (size_t i = 0; i < n->n_output; i++) {
        if (n->output[i][0] == '\0')
            continue;
        st = check_new(o, n->output[i]);
        if (st == ENSO_OK && i < n_computed)
            (void)enso_graph_add_value(o->graph, n->output[i]); /* the graph keeps its failures */
        else if (st == ENSO_OK)
            st = note_missing(o, n->output[i], n->op_type);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

static enum enso_status add_nodes(struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < g->n_node && st == ENSO_OK; i++)
        st = add_outputs_of(o, g->node[i]);
    for (size_t i = 0; i < g->n_node && st == ENSO_OK; i++)
        if (strcmp(g->node[i]->op_type, "Constant") != 0)
            st = enso__onnx_add_node(o, g->node[i]);
    return st;
}

static enum enso_status add_outputs(struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;

    if (g->n_output == 0)
        return enso_error_set(o->err, ENSO_CORRUPT, "its graph has no outputs");
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = value_name(g->output[i]);
        int value = enso_graph_find_value(o->graph, name);

        if (value == ENSO_NO_VALUE)
            return enso_error_set(o->err, ENSO_CORRUPT,
                                  "output '%.100s' is made by no node that ensod computes", name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(value_name(g->output[k]), name) == 0)
                return enso_error_set(o->err, ENSO_CORRUPT, "output '%.100s' is listed twice",
                                      name);
        (void)enso_graph_add_output(o->graph, name, value); /* the graph keeps its failures */
    }
    return ENSO_OK;
}

/* --- the whole ----------------------------------------------------------------------------- */

/* What is searched one by one must be few. */
static enum enso_status check_counts(struct enso__onnx *o)
{
    const Enso__Onnx__Graph *g = o->model->graph;

    if (g->n_input > g->n_initializer + MAX_INPUTS || g->n_output > MAX_INPUTS)
        return enso_error_set(o->err, ENSO_TOO_LARGE, "more than %d inputs or outputs", MAX_INPUTS);
    for (size_t i = 0; i < g->n_node; i++)
        if (g->node[i]->n_attribute > MAX_ATTRIBUTES)
            return enso_error_set(o->err, ENSO_TOO_LARGE,
                                  "node '%.100s' has more than %d attributes",
                                  g->node[i]->name != NULL ? g->node[i]->name : "", MAX_ATTRIBUTES);
    return ENSO_OK;
}

static enum enso_status build(struct enso__onnx *o)
{
    const char *name = o->model->graph->name;
    enum enso_status st;
    bool changed;

    o->graph = enso_graph_create(name != NULL && name[0] != '\0' ? name : "onnx");
    if (o->graph == NULL)
        return enso_error_no_memory(o->err, "an ONNX model");
    st = check_counts(o);
    if (st == ENSO_OK)
        st = add_initializers(o);
    if (st == ENSO_OK)
        st = add_frozen(o);
    if (st == ENSO_OK)
        st = add_inputs(o);
    if (st == ENSO_OK)
        st = add_nodes(o);
    if (st == ENSO_OK)
        st = add_outputs(o);
    if (st == ENSO_OK)
        st = enso_graph_infer(o->graph, o->err);
    if (st == ENSO_OK) {
        st = enso__onnx_settle_softmaxes(o, &changed);
        if (st == ENSO_OK && changed)
            st = enso_graph_infer(o->graph, o->err);
    }
    return st;
}

static enum enso_status check_files(struct enso__onnx *o)
{
    enum enso_status st = enso_weights_file_check(o->file, o->err);

    for (size_t i = 0; i < o->n_externals && st == ENSO_OK; i++)
        st = enso_weights_file_check(o->externals[i].file, o->err);
    return st;
}

static enum enso_status load(struct enso__onnx *o)
{
    ProtobufCMessage *message = NULL;
    enum enso_status st = enso_weights_file_open(o->path, &o->file, o->err);

    if (st == ENSO_OK)
        st = unpack(o->file, ENSO_ONNX_MODEL, &enso__onnx__model__descriptor, &message, o->err);
    if (st != ENSO_OK)
        return st; /* names the file */
    o->model = (const Enso__Onnx__Model *)message;
    st = read_opset(o);
    if (st == ENSO_OK)
        st = check_operators(o);
    if (st == ENSO_OK)
        st = build(o);
    if (st != ENSO_OK && o->err->status == ENSO_OK) /* only the status was kept */
        (void)enso_error_set(o->err, st, "its graph cannot be built: %s", enso_status_text(st));
    if (st != ENSO_OK)
        enso_error_prefix(o->err, "'%s': ", o->path);
    else
        st = check_files(o);
    protobuf_c_message_free_unpacked(message, &allocator);
    return st;
}

enum enso_status enso_onnx_load(const char *path, const struct enso_onnx_options *options,
                                struct enso_graph **ret_graph, struct enso_error *err)
{
    static const struct enso_onnx_options none = {0};
    struct enso_error own = {0};
    struct enso__onnx o = {.path = path, .options = options != NULL ? options : &none, .err = &own};
    enum enso_status st = load(&o);

    for (size_t i = 0; i < o.n_externals; i++)
        enso_weights_file_unref(o.externals[i].file);
    enso_weights_file_unref(o.file);
    enso_free(o.externals);
    enso_free(o.missing);
    enso_free(o.softmaxes);
    if (st == ENSO_OK && own.status == ENSO_OK) {
        *ret_graph = o.graph;
        return ENSO_OK;
    }
    enso_graph_destroy(o.graph);
    if (err != NULL && err->status == ENSO_OK)
        *err = own;
    return own.status;
}

static enum enso_status read_tensor(struct enso__onnx *o, const Enso__Onnx__Tensor *t,
                                    struct enso_tensor *ret_tensor)
{
    struct enso_constant c;
    struct enso_tensor tensor = {0};
    size_t bytes;
    enum enso_status st = enso__onnx_constant(o, t, "tensor", &c);

    if (st != ENSO_OK)
        return st;
    tensor.dtype = c.dtype;
    tensor.rank = c.rank;
    memcpy(tensor.dims, c.dims, sizeof c.dims);
    bytes = enso_dtype_row_bytes(c.dtype, (size_t)enso_constant_count(&c));
    tensor.data = bytes == SIZE_MAX ? NULL : enso_alloc(bytes);
    st = tensor.data == NULL ? enso_error_no_memory(o->err, "a tensor")
                             : (enum enso_status)enso_constant_read(&c, 0, enso_constant_count(&c),
                                                                    tensor.data, o->err);
    enso_free(c.data);
    if (st == ENSO_OK)
        *ret_tensor = tensor;
    else
        enso_free(tensor.data);
    return st;
}

enum enso_status enso_onnx_load_tensor(const char *path, struct enso_tensor *ret_tensor,
                                       char **ret_name, struct enso_error *err)
{
    const Enso__Onnx__Tensor *t;
    struct enso_error own = {0};
    struct enso__onnx o = {.path = path, .err = &own};
    ProtobufCMessage *message = NULL;
    enum enso_status st = enso_weights_file_open(path, &o.file, &own);

    if (st == ENSO_OK)
        st = unpack(o.file, ENSO_ONNX_TENSOR, &enso__onnx__tensor__descriptor, &message, &own);
    if (st == ENSO_OK) {
        t = (const Enso__Onnx__Tensor *)message;
        st = read_tensor(&o, t, ret_tensor);
        if (st == ENSO_OK && ret_name != NULL &&
            (*ret_name = enso_strdup(t->name != NULL ? t->name : "")) == NULL) {
            enso_free(ret_tensor->data);
            st = enso_error_no_memory(&own, "a tensor");
        }
        if (st != ENSO_OK)
            enso_error_prefix(&own, "'%s': ", path);
        protobuf_c_message_free_unpacked(message, &allocator);
    }
    for (size_t i = 0; i < o.n_externals; i++)
        enso_weights_file_unref(o.externals[i].file);
    enso_free(o.externals);
    enso_weights_file_unref(o.file);
    if (st != ENSO_OK && err != NULL && err->status == ENSO_OK)
        *err = own;
    return st;
}
