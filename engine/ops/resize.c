/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of Resize. Scales or sizes, axes and keep_aspect_ratio_policy become three attributes
 * (ops.h), which are all that kernels and later passes look at; with the inputs gone inference
 * starts from the attributes.
 */
#include <math.h>
#include <string.h>

#include "engine/ops/ops_internal.h"

#define STAYS (-1)
/* Most elements of a resized axis, before and after: many seconds of sound. What kernels keep of an
 * axis grows with it. */
#define LONGEST (1 << 18)
/* The same of all resized axes of a graph: about 64 MiB of taps. */
#define LONGEST_ALL (1 << 21)

/* What the attributes say, by axis of x. */
struct resizing {
    int64_t sizes[ENSO_MAX_RANK];
    float scales[ENSO_MAX_RANK];
    int64_t ratio_axis;
};

/* The axes that scales or sizes are given for: *ret_n of them, each once. */
static int read_axes(struct enso__infer *c, size_t rank, size_t axes[ENSO_MAX_RANK], size_t *ret_n)
{
    bool seen[ENSO_MAX_RANK] = {false};
    size_t n = 0;
    const int64_t *given = enso_node_ints(c->node, "axes", &n);

    if (given == NULL)
        n = rank;
    if (n > rank)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu axes for rank %zu", n, rank);
    for (size_t i = 0; i < n; i++) {
        int st = enso__op_axis(c, given != NULL ? given[i] : (int64_t)i, rank, &axes[i]);

        if (st != ENSO_OK)
            return st;
        if (seen[axes[i]])
            return enso__op_fail(c, ENSO_CORRUPT, "axis %zu is given twice", axes[i]);
        seen[axes[i]] = true;
    }
    *ret_n = n;
    return ENSO_OK;
}

/* An input that holds something; older opsets leave the other list empty. */
static bool is_given(const struct enso__infer *c, size_t i)
{
    const struct enso_value *v = enso__op_in(c, i);

    return v != NULL && !(v->shape.rank == 1 && enso__dim_is(v->shape.dims[0], 0));
}

static int check_size(struct enso__infer *c, size_t axis, int64_t size)
{
    struct enso_dim in = enso__op_in(c, 0)->shape.dims[axis];

    if (!enso__dim_fixed(in))
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "it resizes the batch (axis %zu); export the model with a fixed size "
                             "there",
                             axis);
    if (size < 0 || (in.factor == 0 && size > 0))
        return enso__op_fail(c, ENSO_CORRUPT, "axis %zu cannot become %lld", axis, (long long)size);
    if (size > LONGEST || in.factor > LONGEST)
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "axis %zu is resized to %lld, but at most %d are "
                             "supported, and as many before",
                             axis, (long long)size, LONGEST);
    return ENSO_OK;
}

/* ---- scales ---- */

static int from_scales(struct enso__infer *c, const size_t *axes, size_t n_axes, struct resizing *r)
{
    const struct enso_value *x = enso__op_in(c, 0);
    float scales[ENSO_MAX_RANK];
    size_t n = 0;
    bool known = false;
    int st = enso__op_floats(c, 2, scales, ENSO_MAX_RANK, &n, &known);

    if (st != ENSO_OK)
        return st;
    if (!known)
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "the scales '%s' are not known when the model is loaded; export the "
                             "model with fixed sizes",
                             enso__op_in(c, 2)->name);
    if (enso__op_in(c, 2)->shape.rank != 1)
        return enso__op_fail(c, ENSO_CORRUPT, "the scales are no list");
    if (n != n_axes)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu scales for %zu axes", n, n_axes);
    for (size_t i = 0; i < n; i++) {
        struct enso_dim in = x->shape.dims[axes[i]];
        float size = floorf((float)in.factor * scales[i]);

        if (!(scales[i] > 0) || isinf(scales[i]))
            return enso__op_fail(c, ENSO_CORRUPT, "scale %g makes no sense", (double)scales[i]);
        if (scales[i] == 1)
            continue;
        r->scales[axes[i]] = scales[i];
        r->sizes[axes[i]] = size > (float)INT32_MAX ? INT32_MAX : (int64_t)size;
        st = check_size(c, axes[i], r->sizes[axes[i]]);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

/* ---- sizes ---- */

/* The axis whose quotient is the smallest, or the largest, becomes the scale of all. */
static int keep_ratio(struct enso__infer *c, bool larger, const size_t *axes, size_t n_axes,
                      const struct enso_dim *sizes, struct resizing *r)
{
    const struct enso_value *x = enso__op_in(c, 0);
    double ratio = 1, from = 1, to = 1; /* ratio = to / from */

    for (size_t i = 0; i < n_axes; i++) {
        struct enso_dim in = x->shape.dims[axes[i]];
        bool same = enso_dim_equal(in, sizes[i]);
        double here = same ? 1 : (double)sizes[i].factor / (double)in.factor;

        if (r->ratio_axis >= 0 && (larger ? here <= ratio : here >= ratio))
            continue;
        r->ratio_axis = (int64_t)axes[i];
        ratio = here;
        from = same ? 1 : (double)in.factor;
        to = same ? 1 : (double)sizes[i].factor;
    }
    if (ratio == 1)
        r->ratio_axis = -1;
    for (size_t i = 0; i < n_axes; i++) {
        double size = floor((double)x->shape.dims[axes[i]].factor * to / from + 0.5);
        int st;

        r->sizes[axes[i]] = STAYS;
        if (ratio == 1)
            continue;
        r->sizes[axes[i]] = size > INT32_MAX ? INT32_MAX : (int64_t)size;
        st = check_size(c, axes[i], r->sizes[axes[i]]);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

static int from_sizes(struct enso__infer *c, const size_t *axes, size_t n_axes, struct resizing *r)
{
    const struct enso_value *x = enso__op_in(c, 0);
    const char *policy = enso_node_string(c->node, "keep_aspect_ratio_policy", "stretch");
    size_t n = 0;
    const struct enso_dim *sizes = enso__op_known(c, 3, &n);

    if (sizes == NULL)
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "the sizes '%s' are not known when the model is loaded; export the "
                             "model with fixed sizes",
                             enso__op_in(c, 3)->name);
    if (n != n_axes)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu sizes for %zu axes", n, n_axes);
    for (size_t i = 0; i < n; i++) {
        int st;

        if (enso_dim_equal(sizes[i], x->shape.dims[axes[i]]))
            continue;
        st = check_size(c, axes[i], enso__dim_fixed(sizes[i]) ? sizes[i].factor : -1);
        if (st != ENSO_OK)
            return st;
        r->sizes[axes[i]] = sizes[i].factor;
    }
    if (strcmp(policy, "stretch") == 0)
        return ENSO_OK;
    if (strcmp(policy, "not_larger") != 0 && strcmp(policy, "not_smaller") != 0)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "keep_aspect_ratio_policy '%s' is not known",
                             policy);
    return keep_ratio(c, strcmp(policy, "not_smaller") == 0, axes, n_axes, sizes, r);
}

/* ---- attributes ---- */

static int from_attributes(struct enso__infer *c, size_t rank, struct resizing *r)
{
    size_t n_sizes = 0, n_scales = 0;
    const int64_t *sizes = enso_node_ints(c->node, "resized_sizes", &n_sizes);
    const float *scales = enso_node_floats(c->node, "resized_scales", &n_scales);

    r->ratio_axis = enso_node_int(c->node, "ratio_axis", -1);
    if (sizes == NULL || scales == NULL)
        return enso__op_fail(c, ENSO_CORRUPT, "it has neither scales nor sizes");
    if (n_sizes != rank || n_scales != rank || r->ratio_axis < -1 || r->ratio_axis >= (int64_t)rank)
        return enso__op_fail(c, ENSO_CORRUPT, "its sizes do not go with rank %zu", rank);
    if (r->ratio_axis >= 0 && sizes[r->ratio_axis] == STAYS)
        return enso__op_fail(c, ENSO_CORRUPT, "axis %lld has no ratio", (long long)r->ratio_axis);
    for (size_t i = 0; i < rank; i++) {
        int st = sizes[i] == STAYS ? ENSO_OK : check_size(c, i, sizes[i]);

        if (st != ENSO_OK)
            return st;
        if (!(scales[i] >= 0) || isinf(scales[i]))
            return enso__op_fail(c, ENSO_CORRUPT, "scale %g makes no sense", (double)scales[i]);
        r->sizes[i] = sizes[i];
        r->scales[i] = scales[i];
    }
    return ENSO_OK;
}

static int write_attributes(struct enso__infer *c, size_t rank, const struct resizing *r)
{
    size_t n = 0;
    const float *old;
    int st = enso__op_set_ints(c, "resized_sizes", r->sizes, rank);

    old = enso_node_floats(c->node, "resized_scales", &n);
    if (st == ENSO_OK && (old == NULL || n != rank || memcmp(old, r->scales, n * sizeof *old) != 0))
        st = enso_graph_set_floats(c->g, c->number, "resized_scales", r->scales, rank);
    if (st == ENSO_OK && enso_node_int(c->node, "ratio_axis", -2) != r->ratio_axis)
        st = enso_graph_set_int(c->g, c->number, "ratio_axis", r->ratio_axis);
    return st == ENSO_OK ? st : enso_error_no_memory(c->err, "an attribute");
}

int enso__infer_resize(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    struct resizing r = {.ratio_axis = -1};
    size_t axes[ENSO_MAX_RANK], n_axes = 0;
    bool scales = is_given(c, 2), sizes = is_given(c, 3);
    int st = ENSO_OK;

    for (size_t i = 0; i < y.rank; i++)
        r.sizes[i] = STAYS;
    if (scales || sizes)
        st = read_axes(c, y.rank, axes, &n_axes);
    if (st != ENSO_OK)
        return st;
    if (scales && sizes)
        return enso__op_fail(c, ENSO_CORRUPT, "it has scales and sizes");
    st = scales  ? from_scales(c, axes, n_axes, &r)
         : sizes ? from_sizes(c, axes, n_axes, &r)
                 : from_attributes(c, y.rank, &r);
    if (st == ENSO_OK)
        st = write_attributes(c, y.rank, &r);
    for (size_t i = 0; st == ENSO_OK && i < y.rank; i++)
        if (r.sizes[i] != STAYS)
            y.dims[i] = enso_dim_fixed(r.sizes[i]);
    return st == ENSO_OK ? enso__op_out(c, 0, x->dtype, &y) : st;
}

int enso__check_resized(const struct enso_graph *g, struct enso_error *err)
{
    int64_t sum = 0;

    for (size_t node = 0; node < enso_graph_n_nodes(g); node++) {
        const struct enso_node *n = enso_graph_node(g, (int)node);
        size_t rank = 0;
        const int64_t *sizes =
            n->op == ENSO_OP_RESIZE ? enso_node_ints(n, "resized_sizes", &rank) : NULL;

        for (size_t i = 0; sizes != NULL && i < rank; i++)
            if (sizes[i] != STAYS) /* neither is more than LONGEST */
                sum += enso_graph_value(g, n->inputs[0])->shape.dims[i].factor + sizes[i];
        if (sum > LONGEST_ALL)
            return enso_error_set(err, ENSO_UNSUPPORTED,
                                  "node '%.80s' (Resize): the axes that the model resizes have "
                                  "more than %d elements, before and after; use smaller images",
                                  n->name, LONGEST_ALL);
    }
    return ENSO_OK;
}
