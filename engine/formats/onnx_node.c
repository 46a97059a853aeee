/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX nodes to nodes of the graph. Most are taken over as they are: same operator, same inputs,
 * same attributes. A table says which attributes of older opsets are inputs today; a few operators
 * have a function of their own. What the inputs' shapes and types must be is checked by inference.
 */
#include "ensod_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "engine/formats/onnx_internal.h"

/* AttributeProto.type */
enum { TYPE_FLOAT = 1, TYPE_INT, TYPE_STRING, TYPE_TENSOR, TYPE_GRAPH, TYPE_FLOATS, TYPE_INTS };

/* Attributes that became inputs. `op` ends in * where it stands for all that begin so. */
static const struct moved {
    const char *op, *attribute;
    uint8_t input, type;
} moved[] = {
    {"Squeeze", "axes", 1, TYPE_INTS}, {"Unsqueeze", "axes", 1, TYPE_INTS},
    {"Reduce*", "axes", 1, TYPE_INTS}, {"Split", "split", 1, TYPE_INTS},
    {"Pad", "pads", 1, TYPE_INTS},     {"Pad", "value", 2, TYPE_FLOAT},
    {"Slice", "starts", 1, TYPE_INTS}, {"Slice", "ends", 2, TYPE_INTS},
    {"Slice", "axes", 3, TYPE_INTS},   {"Clip", "min", 1, TYPE_FLOAT},
    {"Clip", "max", 2, TYPE_FLOAT},    {"Reshape", "shape", 1, TYPE_INTS},
};

/* The kinds of attributes that our operators have; a name means the same kind everywhere. */
static const struct {
    const char *name;
    uint8_t type;
} kinds[] = {
    {"allowzero", TYPE_INT},
    {"alpha", TYPE_FLOAT},
    {"antialias", TYPE_INT},
    {"approximate", TYPE_STRING},
    {"auto_pad", TYPE_STRING},
    {"axes", TYPE_INTS},
    {"axis", TYPE_INT},
    {"beta", TYPE_FLOAT},
    {"bias", TYPE_FLOAT},
    {"blocksize", TYPE_INT},
    {"ceil_mode", TYPE_INT},
    {"coordinate_transformation_mode", TYPE_STRING},
    {"count_include_pad", TYPE_INT},
    {"cubic_coeff_a", TYPE_FLOAT},
    {"dilations", TYPE_INTS},
    {"end", TYPE_INT},
    {"ends", TYPE_INTS},
    {"epsilon", TYPE_FLOAT},
    {"exclude_outside", TYPE_INT},
    {"extrapolation_value", TYPE_FLOAT},
    {"fmod", TYPE_INT},
    {"gamma", TYPE_FLOAT},
    {"group", TYPE_INT},
    {"k", TYPE_INT},
    {"keep_aspect_ratio_policy", TYPE_STRING},
    {"keepdims", TYPE_INT},
    {"kernel_shape", TYPE_INTS},
    {"largest", TYPE_INT},
    {"max", TYPE_FLOAT},
    {"min", TYPE_FLOAT},
    {"mode", TYPE_STRING},
    {"nearest_mode", TYPE_STRING},
    {"noop_with_empty_axes", TYPE_INT},
    {"num_outputs", TYPE_INT},
    {"pads", TYPE_INTS},
    {"perm", TYPE_INTS},
    {"scales", TYPE_FLOATS},
    {"select_last_index", TYPE_INT},
    {"size", TYPE_INT},
    {"sorted", TYPE_INT},
    {"split", TYPE_INTS},
    {"start", TYPE_INT},
    {"starts", TYPE_INTS},
    {"storage_order", TYPE_INT},
    {"strides", TYPE_INTS},
    {"to", TYPE_INT},
    {"training_mode", TYPE_INT},
    {"transA", TYPE_INT},
    {"transB", TYPE_INT},
};

/* The kind of an attribute; files before IR version 2 do not say it. */
static int type_of(const Enso__Onnx__Attribute *a)
{
    if (a->has_type && a->type != 0)
        return a->type;
    return a->has_f          ? TYPE_FLOAT
           : a->has_i        ? TYPE_INT
           : a->has_s        ? TYPE_STRING
           : a->t != NULL    ? TYPE_TENSOR
           : a->g != NULL    ? TYPE_GRAPH
           : a->n_floats > 0 ? TYPE_FLOATS
           : a->n_ints > 0   ? TYPE_INTS
                             : 0;
}

const Enso__Onnx__Attribute *enso__onnx_attribute(const struct enso__onnx_node *n, const char *name,
                                                  int type)
{
    for (size_t i = 0; i < n->file->n_attribute; i++) {
        const Enso__Onnx__Attribute *a = n->file->attribute[i];

        if (a->name != NULL && strcmp(a->name, name) == 0)
            return type_of(a) == type ? a : NULL;
    }
    return NULL;
}

int64_t enso__onnx_int(const struct enso__onnx_node *n, const char *name, int64_t otherwise)
{
    const Enso__Onnx__Attribute *a = enso__onnx_attribute(n, name, TYPE_INT);

    return a != NULL ? a->i : otherwise;
}

float enso__onnx_float(const struct enso__onnx_node *n, const char *name, float otherwise)
{
    const Enso__Onnx__Attribute *a = enso__onnx_attribute(n, name, TYPE_FLOAT);

    return a != NULL ? a->f : otherwise;
}

enum enso_status enso__onnx_unsupported(struct enso__onnx_node *n, const char *why)
{
    return enso_error_set(n->o->err, ENSO_UNSUPPORTED, "%s is not supported", why);
}

/* --- building ------------------------------------------------------------------------------ */

int enso__onnx_data(struct enso__onnx *o, enum enso_dtype dtype, const int64_t *dims, size_t rank,
                    const void *data)
{
    struct enso_constant c = {.dtype = dtype, .stored = dtype, .rank = (uint8_t)rank};
    char name[64];
    int64_t count;

    for (size_t i = 0; i < rank; i++)
        c.dims[i] = dims[i];
    count = enso_constant_count(&c);
    do
        snprintf(name, sizeof name, "ensod.%zu", o->n_made++);
    while (enso_graph_find_value(o->graph, name) != ENSO_NO_VALUE);
    c.data = enso_memdup(data, enso_dtype_row_bytes(dtype, (size_t)count));
    if (c.data == NULL) /* the same failure as in the graph: a constant without data is refused */
        (void)enso_error_no_memory(o->err, "an ONNX graph");
    return enso_graph_add_constant(o->graph, name, &c);
}

int enso__onnx_ints(struct enso__onnx *o, const int64_t *v, size_t n)
{
    return enso__onnx_data(o, ENSO_DTYPE_I64, (int64_t[]){(int64_t)n}, 1,
                           n > 0 ? v : (int64_t[]){0});
}

int enso__onnx_scalar(struct enso__onnx *o, float v)
{
    return enso__onnx_data(o, ENSO_DTYPE_F32, NULL, 0, &v);
}

#define MAX_EARLY 1000 /* each costs a walk over the graph so far */

const struct enso_value *enso__onnx_known(struct enso__onnx *o, int value)
{
    const struct enso_value *v;

    if (value == ENSO_NO_VALUE)
        return NULL;
    v = enso_graph_value(o->graph, value);
    if (!v->has_shape && o->n_early++ < MAX_EARLY)
        (void)enso_graph_infer(o->graph, NULL); /* as far as it goes; the last one counts */
    v = enso_graph_value(o->graph, value);
    return v->has_shape ? v : NULL;
}

int enso__onnx_emit(struct enso__onnx_node *n, enum enso_op op, const int *in, size_t n_in)
{
    int node = enso_graph_add_node(n->o->graph, op, n->name, in, n_in, 1);

    return node < 0 ? ENSO_NO_VALUE : enso_graph_node(n->o->graph, node)->outputs[0];
}

int enso__onnx_emit_to(struct enso__onnx_node *n, size_t i, enum enso_op op, const int *in,
                       size_t n_in)
{
    if (i >= n->n_out || n->out[i] == ENSO_NO_VALUE)
        return -1;
    return enso_graph_add_node_to(n->o->graph, op, n->name, in, n_in, &n->out[i], 1);
}

/* --- taking over --------------------------------------------------------------------------- */

static bool op_matches(const char *pattern, const char *op)
{
    size_t n = strlen(pattern);

    return pattern[n - 1] == '*' ? strncmp(op, pattern, n - 1) == 0 : strcmp(op, pattern) == 0;
}

static const struct moved *find_moved(const char *op, const char *attribute)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(moved); i++)
        if (op_matches(moved[i].op, op) && strcmp(moved[i].attribute, attribute) == 0)
            return &moved[i];
    return NULL;
}

/* Wrong kinds, graphs and references to a function's attributes are refused by name. */
static enum enso_status check_attributes(struct enso__onnx_node *n)
{
    for (size_t i = 0; i < n->file->n_attribute; i++) {
        const Enso__Onnx__Attribute *a = n->file->attribute[i];
        const char *name = a->name != NULL ? a->name : "";

        if (type_of(a) == TYPE_GRAPH || a->g != NULL)
            return enso__onnx_unsupported(n, "a graph as attribute (control flow)");
        if (a->ref_attr_name != NULL && a->ref_attr_name[0] != '\0')
            return enso_error_set(n->o->err, ENSO_CORRUPT,
                                  "attribute '%.60s' refers to a function's outside of one", name);
        for (size_t k = 0; k < ENSO_ARRAY_SIZE(kinds); k++)
            if (strcmp(kinds[k].name, name) == 0 && type_of(a) != kinds[k].type && type_of(a) != 0)
                return enso_error_set(n->o->err, ENSO_CORRUPT, "attribute '%s' is of a wrong kind",
                                      name);
    }
    return ENSO_OK;
}

/* Old attributes become constant inputs; those that are inputs already win. */
static void move_attributes(struct enso__onnx_node *n)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(moved); i++) {
        const Enso__Onnx__Attribute *a;
        size_t input = moved[i].input;

        if (!op_matches(moved[i].op, n->file->op_type))
            continue;
        a = enso__onnx_attribute(n, moved[i].attribute, moved[i].type);
        if (a == NULL || (input < n->n_in && n->in[input] != ENSO_NO_VALUE))
            continue;
        while (n->n_in <= input)
            n->in[n->n_in++] = ENSO_NO_VALUE;
        n->in[input] = moved[i].type == TYPE_FLOAT ? enso__onnx_scalar(n->o, a->f)
                                                   : enso__onnx_ints(n->o, a->ints, a->n_ints);
    }
}

static enum enso_status copy_string(struct enso__onnx_node *n, int node,
                                    const Enso__Onnx__Attribute *a)
{
    ENSO_AUTO_FREE char *text =
        enso_strndup(a->s.data != NULL ? (const char *)a->s.data : "", a->s.len);

    if (text == NULL)
        return enso_error_no_memory(n->o->err, "an attribute");
    if (strlen(text) != a->s.len || !enso_utf8_valid(text, a->s.len, NULL))
        return enso_error_set(n->o->err, ENSO_CORRUPT, "attribute '%.60s' is not text", a->name);
    enso_graph_set_string(n->o->graph, node, a->name, text);
    return ENSO_OK;
}

/* Others mean nothing in a file, but may to passes and kernels, which tell each other something by
 * attributes of their own. */
static bool is_known(const char *name)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return true;
    return false;
}

static enum enso_status copy_attributes(struct enso__onnx_node *n, int node)
{
    struct enso_graph *g = n->o->graph;
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < n->file->n_attribute && st == ENSO_OK; i++) {
        const Enso__Onnx__Attribute *a = n->file->attribute[i];

        if (a->name == NULL || !is_known(a->name) || find_moved(n->file->op_type, a->name) != NULL)
            continue;
        switch (type_of(a)) {
        case TYPE_FLOAT:
            enso_graph_set_float(g, node, a->name, a->f);
            break;
        case TYPE_INT:
            enso_graph_set_int(g, node, a->name, a->i);
            break;
        case TYPE_STRING:
            st = copy_string(n, node, a);
            break;
        case TYPE_FLOATS:
            enso_graph_set_floats(g, node, a->name, a->floats, a->n_floats);
            break;
        case TYPE_INTS:
            enso_graph_set_ints(g, node, a->name, a->ints, a->n_ints);
            break;
        default: /* no operator of ours has others that matter */
            break;
        }
    }
    return st;
}

static enum enso_status take_over(struct enso__onnx_node *n)
{
    enum enso_op op = enso_op_from_onnx(n->file->op_type);
    int node = enso_graph_add_node_to(n->o->graph, op, n->name, n->in, n->n_in, n->out, n->n_out);

    return node < 0 ? ENSO_OK : copy_attributes(n, node); /* a failure is in the graph's status */
}

/* --- operators with something of their own ------------------------------------------------- */

/* A constant boolean that is false, or no input at all. */
static bool is_off(const struct enso__onnx_node *n, size_t input)
{
    const struct enso_constant *c;
    uint8_t on = 1;

    if (input >= n->n_in || n->in[input] == ENSO_NO_VALUE)
        return true;
    c = enso_graph_value(n->o->graph, n->in[input])->constant;
    return c != NULL && c->dtype == ENSO_DTYPE_BOOL && enso_constant_count(c) == 1 &&
           enso_constant_read(c, 0, 1, &on, NULL) == ENSO_OK && on == 0;
}

/* Passes its input on; the mask is all true. */
static enum enso_status add_dropout(struct enso__onnx_node *n)
{
    uint8_t yes = 1;
    float one = 1;

    if (n->n_in < 1)
        return enso_error_set(n->o->err, ENSO_CORRUPT, "no input");
    if (!is_off(n, 2))
        return enso__onnx_unsupported(n, "training_mode");
    enso__onnx_emit_to(n, 0, ENSO_OP_IDENTITY, n->in, 1);
    if (n->n_out > 1) {
        int shape = enso__onnx_emit(n, ENSO_OP_SHAPE, n->in, 1);
        int value = n->o->opset >= 10
                        ? enso__onnx_data(n->o, ENSO_DTYPE_BOOL, (int64_t[]){1}, 1, &yes)
                        : enso__onnx_data(n->o, ENSO_DTYPE_F32, (int64_t[]){1}, 1, &one);

        enso__onnx_emit_to(n, 1, ENSO_OP_CONSTANT_OF_SHAPE, (int[]){shape, value}, 2);
    }
    return ENSO_OK;
}

static enum enso_status add_batch_norm(struct enso__onnx_node *n)
{
    if (enso__onnx_int(n, "training_mode", 0) != 0)
        return enso__onnx_unsupported(n, "training_mode");
    if (enso__onnx_int(n, "spatial", 1) != 1)
        return enso__onnx_unsupported(n, "spatial = 0");
    enso_graph_set_float(n->o->graph, enso__onnx_emit_to(n, 0, ENSO_OP_BATCH_NORM, n->in, n->n_in),
                         "epsilon", enso__onnx_float(n, "epsilon", 1e-5f));
    return ENSO_OK;
}

static enum enso_status add_cast(struct enso__onnx_node *n)
{
    int64_t to = enso__onnx_int(n, "to", 0);
    enum enso_dtype stored, seen;

    if (to < 0 || to > INT32_MAX || !enso__onnx_dtype((int32_t)to, &stored, &seen))
        return enso_error_set(n->o->err, ENSO_UNSUPPORTED, "type %s (%" PRId64 ") is not supported",
                              enso__onnx_dtype_name(to < 0 || to > 99 ? 99 : (int32_t)to), to);
    enso_graph_set_int(n->o->graph, enso__onnx_emit_to(n, 0, ENSO_OP_CAST, n->in, n->n_in), "to",
                       seen);
    return ENSO_OK;
}

static enum enso_status add_cast_like(struct enso__onnx_node *n)
{
    const struct enso_value *like;

    if (n->n_in != 2 || n->in[1] == ENSO_NO_VALUE)
        return enso_error_set(n->o->err, ENSO_CORRUPT, "two inputs are needed");
    like = enso__onnx_known(n->o, n->in[1]);
    if (like == NULL)
        return enso__onnx_unsupported(n, "a second input whose type is not known in time");
    enso_graph_set_int(n->o->graph, enso__onnx_emit_to(n, 0, ENSO_OP_CAST, n->in, 1), "to",
                       like->dtype);
    return ENSO_OK;
}

static enum enso_status add_constant_of_shape(struct enso__onnx_node *n)
{
    const Enso__Onnx__Attribute *a = enso__onnx_attribute(n, "value", TYPE_TENSOR);
    struct enso_constant c = {.dtype = ENSO_DTYPE_F32, .stored = ENSO_DTYPE_F32};
    char data[8] = {0};
    int value;

    if (a != NULL) {
        enum enso_status st = enso__onnx_constant(n->o, a->t, "attribute 'value'", &c);

        if (st == ENSO_OK && enso_constant_count(&c) != 1)
            st = enso_error_set(n->o->err, ENSO_CORRUPT,
                                "attribute 'value' has not exactly one element");
        if (st == ENSO_OK)
            st = enso_constant_read(&c, 0, 1, data, n->o->err);
        enso_free(c.data);
        if (st != ENSO_OK)
            return st;
    }
    value = enso__onnx_data(n->o, c.dtype, (int64_t[]){1}, 1, data);
    if (n->n_in != 1)
        return enso_error_set(n->o->err, ENSO_CORRUPT, "one input is needed");
    enso__onnx_emit_to(n, 0, ENSO_OP_CONSTANT_OF_SHAPE, (int[]){n->in[0], value}, 2);
    return ENSO_OK;
}

/* Before opset 13: over all axes from `axis` on, as if they were one. */
static enum enso_status add_softmax(struct enso__onnx_node *n)
{
    struct enso__onnx *o = n->o;
    struct enso__onnx_softmax *grown;
    int node = enso__onnx_emit_to(n, 0, enso_op_from_onnx(n->file->op_type), n->in, n->n_in);
    int64_t axis = enso__onnx_int(n, "axis", o->opset >= 13 ? -1 : 1);

    enso_graph_set_int(o->graph, node, "axis", o->opset >= 13 ? axis : -1);
    if (o->opset >= 13 || node < 0)
        return ENSO_OK;
    grown = enso_realloc_array(o->softmaxes, o->n_softmaxes + 1, sizeof *grown);
    if (grown == NULL)
        return enso_error_no_memory(o->err, "an ONNX graph");
    o->softmaxes = grown;
    grown[o->n_softmaxes++] = (struct enso__onnx_softmax){node, axis};
    return ENSO_OK;
}

/* An output that nobody wants but that the operator makes gets a value. */
static void name_outputs(struct enso__onnx_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] == ENSO_NO_VALUE) {
            char name[64];

            snprintf(name, sizeof name, "ensod.%zu", n->o->n_made++);
            n->out[i] = enso_graph_add_value(n->o->graph, name);
        }
}

static enum enso_status add_split(struct enso__onnx_node *n)
{
    int64_t parts = enso__onnx_int(n, "num_outputs", (int64_t)n->n_out);

    if (parts < 0 || (uint64_t)parts != n->n_out)
        return enso_error_set(n->o->err, ENSO_CORRUPT,
                              "attribute num_outputs is %" PRId64 ", but there are %zu outputs",
                              parts, n->n_out);
    name_outputs(n);
    return take_over(n);
}

/* Before opset 10 k was an attribute, which TOP_K has as well. */
static enum enso_status add_top_k(struct enso__onnx_node *n)
{
    if (n->n_out < 2) {
        n->out[1] = ENSO_NO_VALUE;
        n->n_out = 2;
    }
    name_outputs(n);
    return take_over(n);
}

/* Resize of opset 10, and Upsample of 7 to 9, which it was before: two inputs, no choice of
 * coordinates. Where an axis shrinks (Upsample's never do) nearest is the next element. */
static enum enso_status add_old_resize(struct enso__onnx_node *n)
{
    struct enso_graph *g = n->o->graph;
    bool upsample = strcmp(n->file->op_type, "Upsample") == 0;
    const Enso__Onnx__Attribute *scales = enso__onnx_attribute(n, "scales", TYPE_FLOATS);
    int in[3] = {ENSO_NO_VALUE, ENSO_NO_VALUE, ENSO_NO_VALUE}, node;

    if (n->n_in > 0)
        in[0] = n->in[0];
    if (n->n_in > 1)
        in[2] = n->in[1];
    if (upsample && n->o->opset < 7)
        return enso__onnx_unsupported(n, "the form of before opset 7");
    if (in[2] == ENSO_NO_VALUE && scales != NULL)
        in[2] = enso__onnx_data(n->o, ENSO_DTYPE_F32, (int64_t[]){(int64_t)scales->n_floats}, 1,
                                scales->n_floats > 0 ? scales->floats : (float[]){0});
    node = enso_graph_add_node_to(g, ENSO_OP_RESIZE, n->name, in, 3, n->out, n->n_out);
    if (node < 0)
        return ENSO_OK; /* the failure is in the graph's status */
    enso_graph_set_string(g, node, "coordinate_transformation_mode", "asymmetric");
    enso_graph_set_string(g, node, "nearest_mode", "simple");
    return copy_attributes(n, node);
}

static enum enso_status add_resize(struct enso__onnx_node *n)
{
    return n->o->opset < 11 ? add_old_resize(n) : take_over(n);
}

/* Give input 1 the rank that puts its first dimension at `axis` of input 0. */
static enum enso_status align_second(struct enso__onnx_node *n, int64_t axis)
{
    const struct enso_value *a, *b;
    int64_t axes[ENSO_MAX_RANK], more;

    if (n->n_in < 2 || n->in[0] == ENSO_NO_VALUE || n->in[1] == ENSO_NO_VALUE)
        return enso_error_set(n->o->err, ENSO_CORRUPT, "two inputs are needed");
    a = enso__onnx_known(n->o, n->in[0]);
    b = enso__onnx_known(n->o, n->in[1]);
    if (a == NULL || b == NULL)
        return enso__onnx_unsupported(n, "broadcasting of shapes that are not known in time");
    if (axis < 0)
        axis += a->shape.rank;
    more = a->shape.rank - b->shape.rank - axis;
    if (axis < 0 || more < 0)
        return enso_error_set(n->o->err, ENSO_CORRUPT, "input 1 does not fit into input 0");
    for (int64_t i = 0; i < more; i++)
        axes[i] = i - more;
    if (more > 0)
        n->in[1] = enso__onnx_emit(n, ENSO_OP_UNSQUEEZE,
                                   (int[]){n->in[1], enso__onnx_ints(n->o, axes, (size_t)more)}, 2);
    return ENSO_OK;
}

/* Before opset 7 broadcasting was asked for, from an axis on if one was given. */
static enum enso_status add_binary(struct enso__onnx_node *n)
{
    const Enso__Onnx__Attribute *axis = enso__onnx_attribute(n, "axis", TYPE_INT);
    enum enso_status st = ENSO_OK;

    if (n->o->opset < 7 && axis != NULL && enso__onnx_int(n, "broadcast", 0) != 0)
        st = align_second(n, axis->i);
    return st == ENSO_OK ? take_over(n) : st;
}

/* Before opset 7 a slope vector runs along the channels. */
static enum enso_status add_prelu(struct enso__onnx_node *n)
{
    const struct enso_value *slope =
        n->o->opset < 7 && n->n_in == 2 ? enso__onnx_known(n->o, n->in[1]) : NULL;
    enum enso_status st = ENSO_OK;

    if (slope != NULL && slope->shape.rank == 1 &&
        !enso_dim_equal(slope->shape.dims[0], enso_dim_fixed(1)))
        st = align_second(n, 1);
    return st == ENSO_OK ? take_over(n) : st;
}

/* Other operators then than under the same name today. */
static enum enso_status add_tile(struct enso__onnx_node *n)
{
    return n->o->opset < 6 ? enso__onnx_unsupported(n, "the form of before opset 6") : take_over(n);
}

static enum enso_status add_pad(struct enso__onnx_node *n)
{
    return n->o->opset < 2 ? enso__onnx_unsupported(n, "the form of before opset 2") : take_over(n);
}

static const struct {
    const char *op;
    enso__onnx_fn add;
} special[] = {
    {"Add", add_binary},
    {"And", add_binary},
    {"BatchNormalization", add_batch_norm},
    {"Cast", add_cast},
    {"CastLike", add_cast_like},
    {"ConstantOfShape", add_constant_of_shape},
    {"Div", add_binary},
    {"Dropout", add_dropout},
    {"Equal", add_binary},
    {"Greater", add_binary},
    {"Less", add_binary},
    {"LogSoftmax", add_softmax},
    {"Mul", add_binary},
    {"Or", add_binary},
    {"PRelu", add_prelu},
    {"Pad", add_pad},
    {"Pow", add_binary},
    {"Resize", add_resize},
    {"Softmax", add_softmax},
    {"Split", add_split},
    {"Sub", add_binary},
    {"Tile", add_tile},
    {"TopK", add_top_k},
    {"Upsample", add_old_resize},
    {"Xor", add_binary},
};

static enso__onnx_fn find_special(const char *op)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(special); i++)
        if (strcmp(special[i].op, op) == 0)
            return special[i].add;
    return enso__onnx_function(op);
}

/* Operators of our own cannot be asked for by name. */
static bool is_plain(const char *op)
{
    return op[0] != '\0' && strchr(op, '.') == NULL && enso_op_from_onnx(op) != ENSO_OP_NONE;
}

bool enso__onnx_op_known(const char *op_type)
{
    return strcmp(op_type, "Constant") == 0 || find_special(op_type) != NULL || is_plain(op_type);
}

size_t enso__onnx_n_outputs(const Enso__Onnx__Node *node)
{
    if (strcmp(node->op_type, "Split") == 0)
        return node->n_output;
    if (strcmp(node->op_type, "Dropout") == 0 || strcmp(node->op_type, "TopK") == 0)
        return 2;
    if (strcmp(node->op_type, "LayerNormalization") == 0)
        return 3;
    return 1;
}

/* --- resolving names ----------------------------------------------------------------------- */

static enum enso_status resolve_input(struct enso__onnx *o, const char *name, int *ret_value)
{
    if (name[0] == '\0') {
        *ret_value = ENSO_NO_VALUE;
        return ENSO_OK;
    }
    *ret_value = enso_graph_find_value(o->graph, name);
    if (*ret_value != ENSO_NO_VALUE)
        return ENSO_OK;
    for (size_t i = 0; i < o->n_missing; i++)
        if (strcmp(o->missing[i].value, name) == 0)
            return enso_error_set(o->err, ENSO_UNSUPPORTED,
                                  "reads '%.100s', an output of %s that ensod does not compute",
                                  name, o->missing[i].op);
    return enso_error_set(o->err, ENSO_CORRUPT,
                          "reads '%.100s', which is no input, no initializer and no node's output",
                          name);
}

static enum enso_status resolve(struct enso__onnx_node *n)
{
    size_t n_out = ENSO_MIN(n->file->n_output, enso__onnx_n_outputs(n->file));

    for (size_t i = 0; i < n->file->n_input; i++) {
        enum enso_status st = resolve_input(n->o, n->file->input[i], &n->in[i]);

        if (st != ENSO_OK)
            return st;
        if (n->in[i] != ENSO_NO_VALUE)
            n->n_in = i + 1;
    }
    for (size_t i = 0; i < n_out; i++) {
        n->out[i] = n->file->output[i][0] == '\0'
                        ? ENSO_NO_VALUE
                        : enso_graph_find_value(n->o->graph, n->file->output[i]);
        if (n->out[i] != ENSO_NO_VALUE)
            n->n_out = i + 1;
    }
    return ENSO_OK;
}

static enum enso_status add_resolved(struct enso__onnx_node *n)
{
    enso__onnx_fn add = find_special(n->file->op_type);
    enum enso_status st = resolve(n);

    if (st == ENSO_OK)
        st = check_attributes(n);
    if (st != ENSO_OK || n->n_out == 0) /* nobody can read it */
        return st;
    move_attributes(n);
    return add != NULL ? add(n) : take_over(n);
}

enum enso_status enso__onnx_add_node(struct enso__onnx *o, const Enso__Onnx__Node *node)
{
    struct enso__onnx_node n = {.o = o, .file = node, .name = node->name != NULL ? node->name : ""};
    enum enso_status st = ENSO_NO_MEMORY;

    n.in = enso_alloc_array(node->n_input + 4, sizeof *n.in);
    n.out = enso_alloc_array(node->n_output + 1, sizeof *n.out);
    if (n.in != NULL && n.out != NULL)
        st = add_resolved(&n);
    else
        (void)enso_error_no_memory(o->err, "an ONNX graph");
    enso_free(n.in);
    enso_free(n.out);
    if (st != ENSO_OK)
        enso_error_prefix(o->err, "node '%.100s' (%.50s, opset %" PRId64 "): ",
                          n.name[0] != '\0' || node->n_output == 0 ? n.name : node->output[0],
                          node->op_type, o->opset);
    return st;
}

/* --- Softmax of old ------------------------------------------------------------------------ */

/* The one axis from `axis` on that is not 1; -1 when there are more. */
static int single_axis(const struct enso_shape *shape, size_t axis)
{
    int found = (int)shape->rank - 1;
    size_t n = 0;

    for (size_t i = axis; i < shape->rank; i++)
        if (!enso_dim_equal(shape->dims[i], enso_dim_fixed(1))) {
            found = (int)i;
            n++;
        }
    return n <= 1 ? found : -1;
}

/* Flatten, Softmax, back to the shape it had. */
static void flatten_around(struct enso__onnx *o, int node, int64_t axis)
{
    const struct enso_node *n = enso_graph_node(o->graph, node);
    struct enso__onnx_node name = {.o = o, .name = n->name};
    int x = n->inputs[0], y = enso_graph_detach_output(o->graph, node, 0), shape, flat, node_flat;

    node_flat = enso_graph_add_node(o->graph, ENSO_OP_FLATTEN, name.name, &x, 1, 1);
    shape = enso__onnx_emit(&name, ENSO_OP_SHAPE, &x, 1);
    if (node_flat < 0 || y < 0)
        return;
    enso_graph_set_int(o->graph, node_flat, "axis", axis);
    flat = enso_graph_node(o->graph, node_flat)->outputs[0];
    enso_graph_set_input(o->graph, node, 0, flat);
    enso_graph_add_node_to(o->graph, ENSO_OP_RESHAPE, name.name,
                           (int[]){enso_graph_node(o->graph, node)->outputs[0], shape}, 2, &y, 1);
}

enum enso_status enso__onnx_settle_softmaxes(struct enso__onnx *o, bool *ret_changed)
{
    *ret_changed = false;
    for (size_t i = 0; i < o->n_softmaxes; i++) {
        int node = o->softmaxes[i].node, single;
        const struct enso_node *n = enso_graph_node(o->graph, node);
        const struct enso_shape *shape = &enso_graph_value(o->graph, n->inputs[0])->shape;
        int64_t axis = o->softmaxes[i].axis;

        if (axis < 0)
            axis += shape->rank;
        if (axis < 0 || axis > shape->rank)
            return enso_error_set(o->err, ENSO_CORRUPT,
                                  "node '%.100s' (%s): axis %" PRId64 " of %d dimensions", n->name,
                                  enso_op_name(n->op), o->softmaxes[i].axis, shape->rank);
        single = single_axis(shape, (size_t)axis);
        if (single >= 0) {
            enso_graph_set_int(o->graph, node, "axis", single);
        } else {
            flatten_around(o, node, axis);
            *ret_changed = true;
        }
    }
    return enso_graph_status(o->graph);
}
