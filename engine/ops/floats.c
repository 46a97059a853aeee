/* SPDX-License-Identifier: Apache-2.0
 *
 * Short lists of floats that are known when a model is loaded, for the scales of Resize: most are
 * constants, but exporters also write
 *
 *     Concat([1, 1], Div(Cast([40, 60]), Cast(Slice(Shape(x), 2, 4))))
 *
 * Nothing is kept: a list is followed back to its constants each time it is asked for, a bounded
 * number of nodes. Inference runs before any kernel does, so folding cannot help.
 */
#include <math.h>

#include "engine/ops/ops_internal.h"

#define MAX_STEPS 64 /* values that one question may look at */

struct walk {
    struct enso__infer *c;
    unsigned steps;
    int status; /* of the last constant that was read */
};

static bool follow(struct walk *w, int value, float *dst, size_t max, size_t *ret_n);

/* Elements of a value of fixed shape that are at most `max`; false otherwise. */
static bool small_count(const struct enso_value *v, size_t max, size_t *ret_n)
{
    int64_t n = 1;

    for (size_t i = 0; i < v->shape.rank; i++)
        if (!enso__dim_fixed(v->shape.dims[i]) ||
            __builtin_mul_overflow(n, v->shape.dims[i].factor, &n))
            return false;
    *ret_n = (size_t)n;
    return v->has_shape && n >= 0 && (uint64_t)n <= max;
}

static bool take_known(const struct enso_value *v, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!enso__dim_fixed(v->known[i]))
            return false;
        dst[i] = (float)v->known[i].factor;
    }
    return true;
}

/* Parts of rank 1, one behind the other. */
static bool join(struct walk *w, const struct enso_node *n, float *dst, size_t max, size_t *ret_n)
{
    size_t total = 0;

    for (size_t i = 0; i < n->n_inputs; i++) {
        size_t part = 0;

        if (n->inputs[i] == ENSO_NO_VALUE ||
            enso_graph_value(w->c->g, n->inputs[i])->shape.rank != 1 ||
            !follow(w, n->inputs[i], dst + total, max - total, &part))
            return false;
        total += part;
    }
    *ret_n = total;
    return true;
}

static float apply(enum enso_op op, float a, float b)
{
    switch (op) {
    case ENSO_OP_ADD:
        return a + b;
    case ENSO_OP_SUB:
        return a - b;
    case ENSO_OP_MUL:
        return a * b;
    default:
        return a / b;
    }
}

/* Lists of one length, or one number against a list. */
static bool combine(struct walk *w, const struct enso_node *n, float *dst, size_t max,
                    size_t *ret_n)
{
    float other[ENSO__MAX_KNOWN];
    size_t a = 0, b = 0;

    if (n->n_inputs != 2 || n->inputs[0] == ENSO_NO_VALUE || n->inputs[1] == ENSO_NO_VALUE ||
        !follow(w, n->inputs[0], dst, max, &a) ||
        !follow(w, n->inputs[1], other, ENSO_MIN(max, (size_t)ENSO__MAX_KNOWN), &b))
        return false;
    if (a != b && a != 1 && b != 1)
        return false;
    *ret_n = a == 1 ? b : a;
    for (size_t i = *ret_n; i-- > 0;) /* dst[0] may be wanted to the last */
        dst[i] = apply(n->op, dst[a == 1 ? 0 : i], other[b == 1 ? 0 : i]);
    return true;
}

static bool follow_node(struct walk *w, const struct enso_node *n, float *dst, size_t max,
                        size_t *ret_n)
{
    switch (n->op) {
    case ENSO_OP_CONCAT:
        return join(w, n, dst, max, ret_n);
    case ENSO_OP_ADD:
    case ENSO_OP_SUB:
    case ENSO_OP_MUL:
    case ENSO_OP_DIV:
        return combine(w, n, dst, max, ret_n);
    case ENSO_OP_CAST:
    case ENSO_OP_FLOOR:
    case ENSO_OP_CEIL:
        break;
    default:
        if (!enso_op_is_view(n->op))
            return false;
    }
    if (n->inputs[0] == ENSO_NO_VALUE || !follow(w, n->inputs[0], dst, max, ret_n))
        return false;
    for (size_t i = 0; n->op == ENSO_OP_FLOOR && i < *ret_n; i++)
        dst[i] = floorf(dst[i]);
    for (size_t i = 0; n->op == ENSO_OP_CEIL && i < *ret_n; i++)
        dst[i] = ceilf(dst[i]);
    return true;
}

static bool follow(struct walk *w, int value, float *dst, size_t max, size_t *ret_n)
{
    const struct enso_value *v = enso_graph_value(w->c->g, value);

    if (++w->steps > MAX_STEPS || !small_count(v, max, ret_n))
        return false;
    if (v->known != NULL)
        return take_known(v, dst, *ret_n);
    if (v->constant != NULL) {
        if (v->dtype != ENSO_DTYPE_F32)
            return false;
        if (*ret_n > 0)
            w->status = enso_constant_read(v->constant, 0, (int64_t)*ret_n, dst, w->c->err);
        return w->status == ENSO_OK;
    }
    if (v->producer < 0 || v->dtype != ENSO_DTYPE_F32) /* integers are known or not */
        return false;
    size_t n = *ret_n; /* of the tensor: [1, 2] and [2, 1] make four of lists of two */
    return follow_node(w, enso_graph_node(w->c->g, v->producer), dst, max, ret_n) && *ret_n == n;
}

int enso__op_floats(struct enso__infer *c, size_t i, float *dst, size_t max, size_t *ret_n,
                    bool *ret_known)
{
    struct walk w = {.c = c, .status = ENSO_OK};

    *ret_n = 0;
    *ret_known = follow(&w, c->node->inputs[i], dst, ENSO_MIN(max, (size_t)ENSO__MAX_KNOWN), ret_n);
    return w.status;
}
