/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of elementwise operators: unary ones, and those with ONNX's multidirectional
 * broadcasting. Small integer tensors are computed on the way, symbols included, since exporters
 * express shapes by such arithmetic.
 */
#include "engine/ops/ops_internal.h"

static int same_type(struct enso__infer *c, size_t i, size_t k)
{
    const struct enso_value *a = enso__op_in(c, i), *b = enso__op_in(c, k);

    if (a->dtype != b->dtype)
        return enso__op_fail(c, ENSO_CORRUPT,
                             "inputs %zu and %zu must have one type, but are %s and "
                             "%s",
                             i, k, enso_dtype_name(a->dtype), enso_dtype_name(b->dtype));
    return ENSO_OK;
}

/* ---- unary ---- */

int enso__infer_unary(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_dim content[ENSO__MAX_KNOWN];
    const struct enso_dim *known;
    size_t n;
    int st;

    if (x->dtype == ENSO_DTYPE_BOOL)
        return enso__op_fail(c, ENSO_CORRUPT, "it does not take BOOL");
    st = enso__op_out(c, 0, x->dtype, &x->shape);
    known = enso__op_known(c, 0, &n);
    if (st != ENSO_OK || known == NULL || c->node->op != ENSO_OP_NEG)
        return st;
    for (size_t i = 0; i < n; i++)
        if (!enso__dim_sub(enso_dim_fixed(0), known[i], &content[i]))
            return ENSO_OK;
    return enso__op_set_known(c, 0, content, n);
}

int enso__infer_not(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_dim content[ENSO__MAX_KNOWN];
    const struct enso_dim *known;
    size_t n;
    int st;

    if (x->dtype != ENSO_DTYPE_BOOL)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes BOOL");
    st = enso__op_out(c, 0, ENSO_DTYPE_BOOL, &x->shape);
    known = enso__op_known(c, 0, &n);
    if (st != ENSO_OK || known == NULL)
        return st;
    for (size_t i = 0; i < n; i++)
        content[i] = enso_dim_fixed(known[i].factor == 0);
    return enso__op_set_known(c, 0, content, n);
}

int enso__infer_clip(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);

    for (size_t i = 1; i < c->node->n_inputs; i++) {
        const struct enso_value *bound = enso__op_in(c, i);
        struct enso_dim n;

        if (bound == NULL)
            continue;
        if (bound->dtype != x->dtype)
            return same_type(c, 0, i);
        if (!enso__dims_product(bound->shape.dims, bound->shape.rank, &n) || !enso__dim_is(n, 1))
            return enso__op_fail(c, ENSO_CORRUPT, "its bounds must be scalars");
    }
    return enso__op_out(c, 0, x->dtype, &x->shape);
}

/* Sizes that exporters compute in floats: Cast(Floor(Mul(Cast(size), scale))). */
static int learn_cut(struct enso__infer *c)
{
    struct enso_dim content[ENSO__MAX_KNOWN];
    float v[ENSO__MAX_KNOWN];
    size_t n = 0;
    bool known = false;
    int st = enso__op_floats(c, 0, v, ENSO__MAX_KNOWN, &n, &known);

    for (size_t i = 0; st == ENSO_OK && known && i < n; i++) {
        known = v[i] > -2147483648.0F && v[i] < 2147483648.0F;
        content[i] = enso_dim_fixed(known ? (int64_t)v[i] : 0);
    }
    return st == ENSO_OK && known ? enso__op_set_known(c, 0, content, n) : st;
}

int enso__infer_cast(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    int64_t to = enso_node_int(c->node, "to", -1);
    const struct enso_dim *known;
    size_t n;
    int st;

    if (to < 0 || to >= ENSO_N_DTYPES)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it casts to a type that ensod does not know");
    st = enso__op_out(c, 0, (enum enso_dtype)to, &x->shape);
    known = enso__op_known(c, 0, &n);
    if (st != ENSO_OK || (to != ENSO_DTYPE_I64 && to != ENSO_DTYPE_I32))
        return st; /* narrow types could wrap; nobody computes shapes in them */
    if (known == NULL)
        return learn_cut(c);
    for (size_t i = 0; i < n; i++)
        if (to == ENSO_DTYPE_I32 && (known[i].factor > INT32_MAX || known[i].factor < INT32_MIN))
            return ENSO_OK;
    return enso__op_set_known(c, 0, known, n);
}

/* ---- content of broadcast operators ---- */

/* Euclid's floor is not C's: ONNX Div and Mod (fmod 0) on integers differ for negative numbers, so
 * only signs on which all agree are computed. */
static bool divide(struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    if (enso__dim_fixed(a) && enso__dim_fixed(b)) {
        if (b.factor <= 0 || a.factor < 0)
            return false;
        *ret = enso_dim_fixed(a.factor / b.factor);
        return true;
    }
    return enso__dim_div(a, b, ret);
}

/* a == b, when that does not depend on the batch: extents are at least 1. */
static bool equal(struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    bool same = a.factor == b.factor && a.extent == b.extent;

    if (!same && a.extent != b.extent) {
        int64_t fixed = enso__dim_fixed(a) ? a.factor : b.factor;

        if ((!enso__dim_fixed(a) && !enso__dim_fixed(b)) || fixed > 0)
            return false; /* N against T, or N against a number that it may be */
    }
    *ret = enso_dim_fixed(same);
    return true;
}

static bool compute(enum enso_op op, struct enso_dim a, struct enso_dim b, struct enso_dim *ret)
{
    bool fixed = enso__dim_fixed(a) && enso__dim_fixed(b);

    switch (op) {
    case ENSO_OP_ADD:
    case ENSO_OP_SUM:
        return enso__dim_add(a, b, ret);
    case ENSO_OP_SUB:
        return enso__dim_sub(a, b, ret);
    case ENSO_OP_MUL:
        return enso__dim_mul(a, b, ret);
    case ENSO_OP_DIV:
        return divide(a, b, ret);
    case ENSO_OP_EQUAL:
        return equal(a, b, ret);
    case ENSO_OP_MOD:
        *ret = enso_dim_fixed(fixed && a.factor >= 0 && b.factor > 0 ? a.factor % b.factor : 0);
        return fixed && a.factor >= 0 && b.factor > 0;
    case ENSO_OP_MAX:
        *ret = enso_dim_fixed(ENSO_MAX(a.factor, b.factor));
        return fixed;
    case ENSO_OP_MIN:
        *ret = enso_dim_fixed(ENSO_MIN(a.factor, b.factor));
        return fixed;
    case ENSO_OP_LESS:
        *ret = enso_dim_fixed(a.factor < b.factor);
        return fixed;
    case ENSO_OP_GREATER:
        *ret = enso_dim_fixed(a.factor > b.factor);
        return fixed;
    case ENSO_OP_LESS_OR_EQUAL:
        *ret = enso_dim_fixed(a.factor <= b.factor);
        return fixed;
    case ENSO_OP_GREATER_OR_EQUAL:
        *ret = enso_dim_fixed(a.factor >= b.factor);
        return fixed;
    case ENSO_OP_AND:
        *ret = enso_dim_fixed(a.factor != 0 && b.factor != 0);
        return fixed;
    case ENSO_OP_OR:
        *ret = enso_dim_fixed(a.factor != 0 || b.factor != 0);
        return fixed;
    case ENSO_OP_XOR:
        *ret = enso_dim_fixed((a.factor != 0) != (b.factor != 0));
        return fixed;
    default:
        return false;
    }
}

/* The element of a known input that meets element i of an output of n. */
static bool element(const struct enso__infer *c, size_t input, size_t i, size_t n,
                    struct enso_dim *ret)
{
    size_t n_in = 0;
    const struct enso_dim *known = enso__op_known(c, input, &n_in);

    if (known == NULL || (n_in != n && n_in != 1))
        return false; /* broadcasting beyond scalars is not for shapes */
    *ret = known[n_in == 1 ? 0 : i];
    return true;
}

/* Elements of the output when it is small and fixed, else 0. */
static size_t small_count(const struct enso__infer *c)
{
    const struct enso_value *y = enso_graph_value(c->g, c->node->outputs[0]);
    struct enso_dim n;

    if (!enso__dims_product(y->shape.dims, y->shape.rank, &n) || !enso__dim_fixed(n) ||
        n.factor > ENSO__MAX_KNOWN)
        return 0;
    return (size_t)n.factor;
}

static int learn_broadcast(struct enso__infer *c)
{
    struct enso_dim content[ENSO__MAX_KNOWN];
    size_t n = small_count(c);

    for (size_t i = 0; i < n; i++) {
        if (!element(c, 0, i, n, &content[i]))
            return ENSO_OK;
        for (size_t k = 1; k < c->node->n_inputs; k++) {
            struct enso_dim b;

            if (!element(c, k, i, n, &b) || !compute(c->node->op, content[i], b, &content[i]))
                return ENSO_OK;
        }
    }
    return n == 0 ? ENSO_OK : enso__op_set_known(c, 0, content, n);
}

/* ---- broadcast ---- */

/* Shape of all inputs from `first` on, broadcast together. */
static int broadcast_from(struct enso__infer *c, size_t first, struct enso_shape *shape)
{
    *shape = enso__op_in(c, first)->shape;
    for (size_t i = first + 1; i < c->node->n_inputs; i++) {
        int st = enso__op_broadcast(c, shape, &enso__op_in(c, i)->shape);

        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

static int infer_same_types(struct enso__infer *c, enum enso_dtype dtype)
{
    struct enso_shape shape;
    int st = broadcast_from(c, 0, &shape);

    for (size_t i = 1; st == ENSO_OK && i < c->node->n_inputs; i++)
        st = same_type(c, 0, i);
    if (st == ENSO_OK)
        st = enso__op_out(c, 0, dtype, &shape);
    return st == ENSO_OK ? learn_broadcast(c) : st;
}

int enso__infer_broadcast(struct enso__infer *c)
{
    if (enso__op_in(c, 0)->dtype == ENSO_DTYPE_BOOL)
        return enso__op_fail(c, ENSO_CORRUPT, "it does not take BOOL");
    return infer_same_types(c, enso__op_in(c, 0)->dtype);
}

int enso__infer_compare(struct enso__infer *c)
{
    return infer_same_types(c, ENSO_DTYPE_BOOL);
}

int enso__infer_logic(struct enso__infer *c)
{
    if (enso__op_in(c, 0)->dtype != ENSO_DTYPE_BOOL)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes BOOL");
    return infer_same_types(c, ENSO_DTYPE_BOOL);
}

int enso__infer_pow(struct enso__infer *c)
{
    struct enso_shape shape;
    int st = broadcast_from(c, 0, &shape); /* the exponent may have a type of its own */

    return st == ENSO_OK ? enso__op_out(c, 0, enso__op_in(c, 0)->dtype, &shape) : st;
}

int enso__infer_prelu(struct enso__infer *c)
{
    struct enso_shape shape;
    int st = same_type(c, 0, 1);

    if (st == ENSO_OK)
        st = broadcast_from(c, 0, &shape);
    if (st != ENSO_OK)
        return st;
    if (!enso__shape_equal(&shape, &enso__op_in(c, 0)->shape))
        return enso__op_fail(c, ENSO_CORRUPT, "the slope is larger than the input");
    return enso__op_out(c, 0, enso__op_in(c, 0)->dtype, &shape);
}

int enso__infer_where(struct enso__infer *c)
{
    struct enso_dim content[ENSO__MAX_KNOWN];
    struct enso_shape shape;
    size_t n;
    int st = broadcast_from(c, 0, &shape);

    if (st == ENSO_OK && enso__op_in(c, 0)->dtype != ENSO_DTYPE_BOOL)
        return enso__op_fail(c, ENSO_CORRUPT, "its condition must be BOOL");
    if (st == ENSO_OK)
        st = same_type(c, 1, 2);
    if (st == ENSO_OK)
        st = enso__op_out(c, 0, enso__op_in(c, 1)->dtype, &shape);
    if (st != ENSO_OK)
        return st;
    n = small_count(c);
    for (size_t i = 0; i < n; i++) {
        struct enso_dim condition;

        if (!element(c, 0, i, n, &condition) ||
            !element(c, condition.factor != 0 ? 1 : 2, i, n, &content[i]))
            return ENSO_OK;
    }
    return n == 0 ? ENSO_OK : enso__op_set_known(c, 0, content, n);
}
