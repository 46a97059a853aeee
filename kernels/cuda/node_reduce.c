/* SPDX-License-Identifier: Apache-2.0
 *
 * Reductions, ArgMax and ArgMin: host side of reduce.cu. All types, halves too; axes must be known
 * when the model is loaded, because at run time they would lie in device memory.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/norm.h"
#include "kernels/nodes/reduction.h"

struct reduce {
    struct enso_bound bound;
    enum enso_dtype dtype;
    bool noop_when_empty, side_by_side;
    struct enso__ints axes;
};

/* The plan as the kernel takes it; false when an output reads more than 32 bits can count. */
static bool launch_plan(const struct reduce *r, const struct enso__reduction *plan,
                        struct enso_cuda_reduce *ret)
{
    size_t n = plan->rows * plan->reduced_dims[plan->n_reduced - 1];

    if (n > UINT32_MAX)
        return false;
    *ret = (struct enso_cuda_reduce){.op = r->bound.op,
                                     .dtype = r->dtype,
                                     .n_kept = (uint32_t)plan->n_kept,
                                     .n_reduced = (uint32_t)plan->n_reduced,
                                     .n_outputs = plan->n_outputs,
                                     .n = (uint32_t)n,
                                     .side_by_side = r->side_by_side};
    for (size_t d = 0; d < plan->n_kept; d++) {
        ret->kept_dims[d] = plan->kept_dims[d];
        ret->kept_strides[d] = plan->kept_strides[d];
    }
    for (size_t d = 0; d < plan->n_reduced; d++) {
        ret->reduced_dims[d] = (uint32_t)plan->reduced_dims[d];
        ret->reduced_strides[d] = plan->reduced_strides[d];
    }
    return true;
}

static int reduce_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct reduce *r = (const struct reduce *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    struct enso__reduction plan;
    struct enso_cuda_reduce launch;
    uint32_t reduced = 0;
    int64_t axis = 0;

    if (!enso__reduction_axes(&r->axes, r->noop_when_empty, x->rank, &reduced, &axis))
        return enso__cuda_error(call, err, ENSO_INVALID, "axis %lld of a tensor of rank %u",
                                (long long)axis, x->rank);
    enso__reduction_plan(x, reduced, &plan);
    if (plan.n_outputs != (size_t)enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "%s does not reduce to %s",
                                enso__dims_text(x).s, enso__dims_text(y).s);
    if (!launch_plan(r, &plan, &launch))
        return enso__cuda_error(call, err, ENSO_INVALID,
                                "%s has too many elements for one reduction on the GPU",
                                enso__dims_text(x).s);
    return enso__cuda_launched(call, enso_cuda_reduce(&launch, x->data, y->data, call->stream),
                               err);
}

/* The innermost reduced dimension stands side by side, by the graph: see nodes/norm.h. */
static bool reduces_side_by_side(const struct enso__bind *b, const struct reduce *r)
{
    const struct enso_value *x = enso__bind_input(b, 0);
    uint32_t reduced = 0;
    int64_t axis = 0;

    if (x == NULL || !x->has_shape ||
        !enso__reduction_axes(&r->axes, r->noop_when_empty, x->shape.rank, &reduced, &axis))
        return false;
    for (size_t d = x->shape.rank; d-- > 0;)
        if ((reduced >> d & 1) != 0)
            return enso__side_by_side(b, (int64_t)d);
    return true; /* nothing is reduced: an output reads one element */
}

int enso__cuda_bind_reduce(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    struct reduce *r = enso__cuda_bound_new(b, sizeof(*r), reduce_run, err);
    if (r == NULL)
        return ENSO_NO_MEMORY;
    int st = enso__cuda_ints(b, 1, "axes", &r->axes, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&r->bound);
        return st;
    }
    r->dtype = enso__bind_dtype(b, 0);
    r->noop_when_empty = enso_node_int(b->node, "noop_with_empty_axes", 0) != 0;
    r->side_by_side = reduces_side_by_side(b, r);
    *ret = &r->bound;
    return ENSO_OK;
}

/* ArgMax, ArgMin: [outer, axis, inner]. */
struct arg {
    struct enso_bound bound;
    enum enso_dtype dtype;
    int64_t axis;
    bool last; /* of equal ones take the last */
};

static int arg_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct arg *a = (const struct arg *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    int axis = x->rank == 0 ? -1 : enso__axis(a->axis, x->rank);

    if (axis < 0)
        return enso__cuda_error(call, err, ENSO_INVALID, "axis %lld of a tensor of rank %u",
                                (long long)a->axis, x->rank);
    size_t outer = enso__count(x->dims, 0, (size_t)axis), n = (size_t)x->dims[axis];
    size_t inner = enso__count(x->dims, (size_t)axis + 1, x->rank);

    if (n == 0)
        return enso__cuda_error(call, err, ENSO_INVALID, "axis %d has no elements", axis);
    if (outer * inner != (size_t)enso_tensor_count(y))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "%s does not reduce to %s",
                                enso__dims_text(x).s, enso__dims_text(y).s);
    return enso__cuda_launched(call,
                               enso_cuda_arg(a->dtype, a->bound.op == ENSO_OP_ARG_MIN, a->last,
                                             x->data, y->data, outer, n, inner, call->stream),
                               err);
}

int enso__cuda_bind_arg(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct arg *a = enso__cuda_bound_new(b, sizeof(*a), arg_run, err);
    if (a == NULL)
        return ENSO_NO_MEMORY;
    a->dtype = enso__bind_dtype(b, 0);
    a->axis = enso_node_int(b->node, "axis", 0);
    a->last = enso_node_int(b->node, "select_last_index", 0) != 0;
    *ret = &a->bound;
    return ENSO_OK;
}
