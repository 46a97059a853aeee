/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference over a graph, and the words the operators' functions are written in. Every call starts
 * from the inputs anew, so passes run it as often as they like.
 *
 * A dimension is factor x extent. Arithmetic that leaves this form (N + 3, N x T) is not an error
 * here: the content just is not known, and the operator that needs it to shape its output says so.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "engine/ops/ops_internal.h"

/* ---- reading ---- */

const struct enso_value *enso__op_in(const struct enso__infer *c, size_t i)
{
    if (i >= c->node->n_inputs || c->node->inputs[i] == ENSO_NO_VALUE)
        return NULL;
    return enso_graph_value(c->g, c->node->inputs[i]);
}

/* Elements of a value of fixed shape; -1 otherwise. */
static int64_t fixed_count(const struct enso_value *v)
{
    int64_t n = 1;

    for (size_t i = 0; i < v->shape.rank; i++) {
        if (!enso__dim_fixed(v->shape.dims[i]))
            return -1;
        if (__builtin_mul_overflow(n, v->shape.dims[i].factor, &n))
            return -1;
    }
    return n;
}

const struct enso_dim *enso__op_known(const struct enso__infer *c, size_t i, size_t *ret_n)
{
    const struct enso_value *v = enso__op_in(c, i);

    if (v == NULL || v->known == NULL)
        return NULL;
    *ret_n = (size_t)fixed_count(v);
    return v->known;
}

static bool is_integer(enum enso_dtype dtype)
{
    return dtype >= ENSO_DTYPE_I8;
}

/* Integer n of a row of any integer type. */
static int64_t integer_at(const void *data, enum enso_dtype dtype, size_t i)
{
    switch (dtype) {
    case ENSO_DTYPE_I8:
        return ((const int8_t *)data)[i];
    case ENSO_DTYPE_U8:
    case ENSO_DTYPE_BOOL:
        return ((const uint8_t *)data)[i];
    case ENSO_DTYPE_I16:
        return ((const int16_t *)data)[i];
    case ENSO_DTYPE_U16:
        return ((const uint16_t *)data)[i];
    case ENSO_DTYPE_I32:
        return ((const int32_t *)data)[i];
    case ENSO_DTYPE_U32:
        return ((const uint32_t *)data)[i];
    default: /* 64 bits; U64 beyond INT64_MAX is of no use as a size */
        return ((const int64_t *)data)[i];
    }
}

/* Small integer constants are known content. */
static int learn_constant(struct enso_value *v, struct enso_error *err)
{
    int64_t n = fixed_count(v), raw[ENSO__MAX_KNOWN];
    int st;

    if (v->known != NULL || !is_integer(v->dtype) || n < 0 || n > ENSO__MAX_KNOWN)
        return ENSO_OK;
    st = enso_constant_read(v->constant, 0, n, raw, err);
    if (st != ENSO_OK)
        return st;
    v->known = enso_alloc_array((size_t)n + 1, sizeof *v->known);
    if (v->known == NULL)
        return enso_error_no_memory(err, "a small constant");
    for (int64_t i = 0; i < n; i++)
        v->known[i] = enso_dim_fixed(integer_at(raw, v->dtype, (size_t)i));
    return ENSO_OK;
}

int enso_graph_read_ints(const struct enso_graph *g, int value, int64_t *dst, size_t max,
                         size_t *ret_n, struct enso_error *err)
{
    struct enso_value *v = enso_graph_value(g, value);
    int64_t n = v->has_shape ? fixed_count(v) : -1;

    if (v->constant != NULL) {
        int st = learn_constant(v, err);

        if (st != ENSO_OK)
            return st;
    }
    if (v->known == NULL || n < 0 || (size_t)n > max)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "'%s' must be at most %zu integers that are known when the model is "
                              "loaded",
                              v->name, max);
    for (int64_t i = 0; i < n; i++) {
        if (!enso__dim_fixed(v->known[i]))
            return enso_error_set(err, ENSO_UNSUPPORTED,
                                  "'%s' depends on the batch size; export the model with a fixed "
                                  "size there",
                                  v->name);
        dst[i] = v->known[i].factor;
    }
    *ret_n = (size_t)n;
    return ENSO_OK;
}

int enso__op_ints(struct enso__infer *c, size_t i, int64_t *dst, size_t max, size_t *ret_n)
{
    struct enso_error why = {0};
    int st = enso_graph_read_ints(c->g, c->node->inputs[i], dst, max, ret_n, &why);

    return st == ENSO_OK ? st : enso__op_fail(c, why.status, "%s", why.message);
}

int enso__op_axis(struct enso__infer *c, int64_t axis, size_t rank, size_t *ret_axis)
{
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return enso__op_fail(c, ENSO_CORRUPT, "axis %lld lies outside a tensor of rank %zu",
                             (long long)axis, rank);
    *ret_axis = (size_t)(axis < 0 ? axis + (int64_t)rank : axis);
    return ENSO_OK;
}

int enso__op_parameter(struct enso__infer *c, size_t i, const struct enso_value *x)
{
    const struct enso_value *p = enso__op_in(c, i);

    if (p == NULL || p->dtype == x->dtype ||
        (enso_dtype_is_float(p->dtype) && enso_dtype_is_float(x->dtype)))
        return ENSO_OK;
    return enso__op_fail(c, ENSO_CORRUPT, "input %zu is %s, which does not go with %s", i,
                         enso_dtype_name(p->dtype), enso_dtype_name(x->dtype));
}

int enso__op_output_type(struct enso__infer *c, enum enso_dtype otherwise,
                         enum enso_dtype *ret_dtype)
{
    int64_t given = enso_node_int(c->node, "dtype", otherwise);

    if (given < 0 || given >= ENSO_N_DTYPES ||
        (given != (int64_t)otherwise && !enso_dtype_is_float((enum enso_dtype)given)))
        return enso__op_fail(c, ENSO_CORRUPT, "its attribute dtype names no float type");
    *ret_dtype = (enum enso_dtype)given;
    return ENSO_OK;
}

int enso_graph_node_axes(const struct enso_graph *g, int node, size_t rank,
                         int64_t axes[ENSO_MAX_RANK], size_t *ret_n, struct enso_error *err)
{
    const struct enso_node *n = enso_graph_node(g, node);
    int64_t given[ENSO_MAX_RANK];
    bool wanted[ENSO_MAX_RANK] = {false};
    size_t n_given = 0;

    if (n->n_inputs > 1 && n->inputs[1] != ENSO_NO_VALUE) {
        int st = enso_graph_read_ints(g, n->inputs[1], given, ENSO_MAX_RANK, &n_given, err);

        if (st != ENSO_OK)
            return st;
    } else {
        const int64_t *v = enso_node_ints(n, "axes", &n_given);

        if (n_given > ENSO_MAX_RANK)
            return enso_error_set(err, ENSO_CORRUPT, "%zu axes are given", n_given);
        for (size_t i = 0; i < n_given; i++)
            given[i] = v[i];
    }
    for (size_t i = 0; i < n_given; i++) {
        int64_t axis = given[i] < 0 ? given[i] + (int64_t)rank : given[i];

        if (axis < 0 || axis >= (int64_t)rank)
            return enso_error_set(err, ENSO_CORRUPT, "axis %lld lies outside a tensor of rank %zu",
                                  (long long)given[i], rank);
        if (wanted[axis])
            return enso_error_set(err, ENSO_CORRUPT, "axis %lld is given twice",
                                  (long long)given[i]);
        wanted[axis] = true;
    }
    *ret_n = 0;
    for (size_t i = 0; i < rank; i++)
        if (wanted[i])
            axes[(*ret_n)++] = (int64_t)i;
    return ENSO_OK;
}

/* ---- failing ---- */

static void print_inputs(const struct enso__infer *c, struct enso_buffer *b)
{
    for (size_t i = 0; i < c->node->n_inputs && i < 6; i++) {
        const struct enso_value *v = enso__op_in(c, i);

        enso_buffer_puts(b, i == 0 ? "" : ", ");
        if (v == NULL || !v->has_shape) {
            enso_buffer_putc(b, '-');
            continue;
        }
        enso_buffer_puts(b, enso_dtype_name(v->dtype));
        enso_shape_print(&v->shape, b);
    }
    if (c->node->n_inputs > 6)
        enso_buffer_puts(b, ", ...");
}

int enso__op_fail(struct enso__infer *c, enum enso_status status, const char *format, ...)
{
    struct enso_buffer inputs = ENSO_BUFFER_INIT;
    char sentence[240];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    print_inputs(c, &inputs);
    enso_error_set(c->err, status, "node '%.80s' (%s): %s; its inputs are %s", c->node->name,
                   enso_op_name(c->node->op), sentence, inputs.failed ? "?" : inputs.data);
    enso_buffer_done(&inputs);
    return status;
}

/* ---- writing ---- */

int enso__op_out(struct enso__infer *c, size_t i, enum enso_dtype dtype,
                 const struct enso_shape *shape)
{
    struct enso_value *v;
    int64_t factors[ENSO_MAX_RANK], n;

    if (i >= c->node->n_outputs)
        return ENSO_OK;
    for (size_t k = 0; k < shape->rank; k++)
        factors[k] = shape->dims[k].factor;
    if (!enso_dims_count(factors, shape->rank, &n) || n > INT64_MAX / 8)
        return enso__op_fail(c, ENSO_TOO_LARGE,
                             "its output has more elements than can be addressed");
    v = enso_graph_value(c->g, c->node->outputs[i]);
    enso_free(v->known);
    v->known = NULL;
    v->dtype = dtype;
    v->shape = *shape;
    v->has_shape = true;
    return ENSO_OK;
}

int enso__op_set_known(struct enso__infer *c, size_t i, const struct enso_dim *content, size_t n)
{
    struct enso_value *v = enso_graph_value(c->g, c->node->outputs[i]);

    if (n > ENSO__MAX_KNOWN || fixed_count(v) != (int64_t)n || !is_integer(v->dtype))
        return ENSO_OK;
    v->known = enso_alloc_array(n + 1, sizeof *v->known);
    if (v->known == NULL)
        return enso_error_no_memory(c->err, "a shape");
    for (size_t k = 0; k < n; k++)
        v->known[k] = content[k];
    return ENSO_OK;
}

int enso__op_set_ints(struct enso__infer *c, const char *name, const int64_t *v, size_t n)
{
    size_t n_old;
    const int64_t *old = enso_node_ints(c->node, name, &n_old);
    int st;

    if (old != NULL && n_old == n && memcmp(old, v, n * sizeof *v) == 0)
        return ENSO_OK;
    st = enso_graph_set_ints(c->g, c->number, name, v, n);
    return st == ENSO_OK ? st : enso_error_no_memory(c->err, "an attribute");
}

/* ---- dimensions ---- */

bool enso__dim_add(struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    if (enso__dim_is(a, 0) || enso__dim_is(b, 0)) {
        *ret = enso__dim_is(a, 0) ? b : a;
        return true;
    }
    if (a.extent == b.extent) {
        ret->extent = a.extent;
        return !__builtin_add_overflow(a.factor, b.factor, &ret->factor);
    }
    if (enso__dim_is(a, 1) && b.extent == ENSO_EXTENT_SEQUENCES && b.factor == 1)
        return enso__dim_add(b, a, ret);
    if (enso__dim_is(b, 1) && a.extent == ENSO_EXTENT_SEQUENCES && a.factor == 1) {
        *ret = (struct enso_dim){1, ENSO_EXTENT_STARTS};
        return true;
    }
    return false;
}

bool enso__dim_sub(struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    struct enso_dim negative = b;

    if (a.extent == ENSO_EXTENT_STARTS && a.factor == 1 && enso__dim_is(b, 1)) {
        *ret = (struct enso_dim){1, ENSO_EXTENT_SEQUENCES};
        return true;
    }
    if (__builtin_sub_overflow((int64_t)0, b.factor, &negative.factor) ||
        !enso__dim_add(a, negative, ret))
        return false;
    if (ret->factor == 0)
        *ret = enso_dim_fixed(0);
    return true;
}

bool enso__dim_mul(struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    if (a.extent != ENSO_EXTENT_FIXED && b.extent != ENSO_EXTENT_FIXED)
        return false;
    ret->extent = a.extent != ENSO_EXTENT_FIXED ? a.extent : b.extent;
    return !__builtin_mul_overflow(a.factor, b.factor, &ret->factor);
}

bool enso__dim_div(struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    if (b.factor == 0 || (b.extent != ENSO_EXTENT_FIXED && b.extent != a.extent))
        return false;
    if (a.factor == INT64_MIN || a.factor % b.factor != 0)
        return false;
    *ret = (struct enso_dim){a.factor / b.factor,
                             b.extent == ENSO_EXTENT_FIXED ? a.extent : ENSO_EXTENT_FIXED};
    return true;
}

bool enso__dims_product(const struct enso_dim *dims, size_t n, struct enso_dim *ret)
{
    struct enso_dim p = enso_dim_fixed(1);

    for (size_t i = 0; i < n; i++)
        if (!enso__dim_mul(p, dims[i], &p))
            return false;
    *ret = p;
    return true;
}

bool enso__shape_equal(const struct enso_shape *a, const struct enso_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (size_t i = 0; i < a->rank; i++)
        if (!enso_dim_equal(a->dims[i], b->dims[i]))
            return false;
    return true;
}

int enso__op_broadcast(struct enso__infer *c, struct enso_shape *shape,
                       const struct enso_shape *other)
{
    struct enso_shape wide = {.rank = ENSO_MAX(shape->rank, other->rank)};

    for (size_t i = 0; i < wide.rank; i++) { /* i counts from the last dimension */
        struct enso_dim one = enso_dim_fixed(1), *to = &wide.dims[wide.rank - 1 - i];
        struct enso_dim a = i < shape->rank ? shape->dims[shape->rank - 1 - i] : one,
                        b = i < other->rank ? other->dims[other->rank - 1 - i] : one;

        if (enso_dim_equal(a, b) || enso__dim_is(b, 1))
            *to = a;
        else if (enso__dim_is(a, 1))
            *to = b;
        else if (enso__dim_fixed(a) && enso__dim_fixed(b))
            return enso__op_fail(c, ENSO_CORRUPT, "shapes do not fit together (%lld against %lld)",
                                 (long long)a.factor, (long long)b.factor);
        else
            return enso__op_fail(c, ENSO_UNSUPPORTED,
                                 "the batch size meets another size; export the model with a fixed "
                                 "size there");
    }
    *shape = wide;
    return ENSO_OK;
}

/* ---- the walk ---- */

static int check_arity(struct enso__infer *c)
{
    const struct enso__op_row *row = &enso__op_table[c->node->op];

    if (c->node->n_inputs < row->min_inputs || c->node->n_inputs > row->max_inputs)
        return enso__op_fail(c, ENSO_CORRUPT, "it has %u inputs, but takes %u to %u",
                             c->node->n_inputs, row->min_inputs, row->max_inputs);
    if (c->node->n_outputs < row->min_outputs || c->node->n_outputs > row->max_outputs)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it has %u outputs, but gives %u to %u",
                             c->node->n_outputs, row->min_outputs, row->max_outputs);
    return ENSO_OK;
}

/* Required inputs must be there and have shapes. The shape of Reshape and its like may be absent:
 * their min_inputs says so. */
static int check_inputs(struct enso__infer *c)
{
    const struct enso__op_row *row = &enso__op_table[c->node->op];

    for (size_t i = 0; i < c->node->n_inputs; i++) {
        const struct enso_value *v = enso__op_in(c, i);

        if (v == NULL && (i < row->min_inputs || row->max_inputs == ENSO__ANY_NUMBER) &&
            c->node->op != ENSO_OP_CONSTANT_OF_SHAPE)
            return enso__op_fail(c, ENSO_CORRUPT, "input %zu is missing", i);
        if (v != NULL && !v->has_shape)
            return enso__op_fail(c, ENSO_INTERNAL, "input '%s' has no shape yet", v->name);
    }
    return ENSO_OK;
}

static int infer_checked(struct enso__infer *c)
{
    int st = check_arity(c);

    for (size_t i = 0; st == ENSO_OK && i < c->node->n_inputs; i++) {
        int value = c->node->inputs[i];

        if (value != ENSO_NO_VALUE && enso_graph_value(c->g, value)->constant != NULL)
            st = learn_constant(enso_graph_value(c->g, value), c->err);
    }
    if (st == ENSO_OK)
        st = check_inputs(c);
    if (st == ENSO_OK)
        st = enso__op_table[c->node->op].infer(c);
    return st;
}

int enso_graph_infer_node(struct enso_graph *g, int node, struct enso_error *err)
{
    struct enso__infer c = {g, node, enso_graph_node(g, node), err};

    for (size_t i = 0; i < c.node->n_outputs; i++) {
        struct enso_value *v = enso_graph_value(g, c.node->outputs[i]);

        enso_free(v->known);
        v->known = NULL;
        v->has_shape = false;
    }
    return infer_checked(&c);
}

int enso_graph_infer(struct enso_graph *g, struct enso_error *err)
{
    int *order;
    size_t n;
    int st = enso_graph_status(g);

    if (st == ENSO_NO_MEMORY)
        return enso_error_no_memory(err, "a graph");
    if (st != ENSO_OK)
        return enso_error_set(err, (enum enso_status)st,
                              "graph '%s' could not be built: %s (two values of one name, or a "
                              "number or size out of range)",
                              enso_graph_name(g), enso_status_text((enum enso_status)st));
    st = enso_graph_sort(g, &order, &n, err);
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < n && st == ENSO_OK; i++)
        st = enso_graph_infer_node(g, order[i], err);
    enso_free(order);
    return st == ENSO_OK ? enso__check_resized(g, err) : st;
}
