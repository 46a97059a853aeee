/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of operators that move data: Transpose, Concat, Split, Slice, Pad, Tile, Gather and the
 * two between depth and space. Lists of sizes that pass through them stay known.
 */
#include "engine/ops/ops_internal.h"

/* Known content that stands elsewhere in output 0: the element at [i, j, ...] is the input's at
 * first + i * strides[0] + j * strides[1] ... Exporters compute pads this way. */
static int learn_moved(struct enso__infer *c, int64_t first, const int64_t *strides)
{
    struct enso_dim content[ENSO__MAX_KNOWN];
    const struct enso_value *y = enso_graph_value(c->g, c->node->outputs[0]);
    int64_t at[ENSO_MAX_RANK] = {0}, n_out = 1;
    size_t n;
    const struct enso_dim *known = enso__op_known(c, 0, &n);

    if (known == NULL) /* else every size is fixed, and the output is not larger than the input */
        return ENSO_OK;
    for (size_t d = 0; d < y->shape.rank; d++)
        n_out *= y->shape.dims[d].factor;
    for (int64_t i = 0; i < n_out; i++) {
        int64_t from = first;

        for (size_t d = 0; d < y->shape.rank; d++)
            from += at[d] * strides[d];
        content[i] = known[from];
        for (size_t d = y->shape.rank; d-- > 0 && ++at[d] == y->shape.dims[d].factor;)
            at[d] = 0;
    }
    return enso__op_set_known(c, 0, content, (size_t)n_out);
}

/* Elements from one index to the next of every axis of input 0; all sizes fixed. */
static void known_strides(const struct enso__infer *c, int64_t strides[ENSO_MAX_RANK])
{
    const struct enso_shape *x = &enso__op_in(c, 0)->shape;
    int64_t n = 1;

    for (size_t d = x->rank; d-- > 0;) {
        strides[d] = n;
        n *= x->dims[d].factor;
    }
}

/* ---- transpose, concat, split ---- */

int enso__infer_transpose(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    int64_t perm[ENSO_MAX_RANK], strides[ENSO_MAX_RANK], moved[ENSO_MAX_RANK];
    bool used[ENSO_MAX_RANK] = {false};
    struct enso_shape y = {.rank = x->shape.rank};
    size_t n;
    const int64_t *given = enso_node_ints(c->node, "perm", &n);
    int st;

    if (given != NULL && n != x->shape.rank)
        return enso__op_fail(c, ENSO_CORRUPT, "perm has %zu entries for rank %u", n, x->shape.rank);
    for (size_t i = 0; i < x->shape.rank; i++) {
        perm[i] = given != NULL ? given[i] : x->shape.rank - 1 - (int64_t)i;
        if (perm[i] < 0 || perm[i] >= x->shape.rank || used[perm[i]])
            return enso__op_fail(c, ENSO_CORRUPT, "perm is not a permutation");
        used[perm[i]] = true;
        y.dims[i] = x->shape.dims[perm[i]];
    }
    st = enso__op_set_ints(c, "perm", perm, x->shape.rank);
    if (st == ENSO_OK)
        st = enso__op_out(c, 0, x->dtype, &y);
    if (st != ENSO_OK || enso__op_known(c, 0, &n) == NULL)
        return st;
    known_strides(c, strides);
    for (size_t i = 0; i < y.rank; i++)
        moved[i] = strides[perm[i]];
    return learn_moved(c, 0, moved);
}

static int learn_concat(struct enso__infer *c)
{
    struct enso_dim content[ENSO__MAX_KNOWN];
    size_t total = 0;

    for (size_t i = 0; i < c->node->n_inputs; i++) {
        size_t n = 0;
        const struct enso_dim *known = enso__op_known(c, i, &n);

        if (known == NULL || enso__op_in(c, i)->shape.rank != 1 || total + n > ENSO__MAX_KNOWN)
            return ENSO_OK;
        for (size_t k = 0; k < n; k++)
            content[total++] = known[k];
    }
    return enso__op_set_known(c, 0, content, total);
}

int enso__infer_concat(struct enso__infer *c)
{
    const struct enso_value *first = enso__op_in(c, 0);
    struct enso_shape y = first->shape;
    size_t axis;
    int st = enso__op_axis(c, enso_node_int(c->node, "axis", 0), y.rank, &axis);

    for (size_t i = 1; st == ENSO_OK && i < c->node->n_inputs; i++) {
        const struct enso_value *x = enso__op_in(c, i);

        if (x->shape.rank != y.rank || x->dtype != first->dtype)
            return enso__op_fail(c, ENSO_CORRUPT, "input %zu differs in rank or type", i);
        for (size_t k = 0; k < y.rank; k++)
            if (k != axis && !enso_dim_equal(x->shape.dims[k], y.dims[k]))
                return enso__op_fail(c,
                                     enso__dim_fixed(x->shape.dims[k]) && enso__dim_fixed(y.dims[k])
                                         ? ENSO_CORRUPT
                                         : ENSO_UNSUPPORTED,
                                     "input %zu differs in dimension %zu", i, k);
        if (!enso__dim_add(y.dims[axis], x->shape.dims[axis], &y.dims[axis]))
            return enso__op_fail(c, ENSO_UNSUPPORTED,
                                 "it joins a run-time size with another; export the model with a "
                                 "fixed size there");
    }
    if (st == ENSO_OK)
        st = enso__op_out(c, 0, first->dtype, &y);
    return st == ENSO_OK ? learn_concat(c) : st;
}

/* Sizes of the parts along an axis of `size`. */
static int split_sizes(struct enso__infer *c, int64_t size, int64_t *sizes)
{
    size_t n_parts = c->node->n_outputs, n = 0;
    int64_t sum = 0, each = (size + (int64_t)n_parts - 1) / (int64_t)n_parts;
    int st;

    if (enso__op_in(c, 1) == NULL) {
        for (size_t i = 0; i < n_parts; i++, sum += each)
            sizes[i] = ENSO_MAX(ENSO_MIN(each, size - sum), 0);
        return ENSO_OK;
    }
    st = enso__op_ints(c, 1, sizes, n_parts, &n);
    if (st != ENSO_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        if (sizes[i] < 0 || sizes[i] > size)
            return enso__op_fail(c, ENSO_CORRUPT, "part %zu has the size %lld", i,
                                 (long long)sizes[i]);
        sum += sizes[i];
    }
    if (n != n_parts || sum != size)
        return enso__op_fail(c, ENSO_CORRUPT, "the %zu parts hold %lld, not %lld", n,
                             (long long)sum, (long long)size);
    return ENSO_OK;
}

int enso__infer_split(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    int64_t sizes[ENSO__MAX_KNOWN], at = 0;
    size_t axis, n = 0;
    const struct enso_dim *known = enso__op_known(c, 0, &n);
    int st = enso__op_axis(c, enso_node_int(c->node, "axis", 0), y.rank, &axis);

    if (st != ENSO_OK)
        return st;
    if (c->node->n_outputs > ENSO__MAX_KNOWN)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "it has more than %d outputs", ENSO__MAX_KNOWN);
    if (!enso__dim_fixed(y.dims[axis]))
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "it cuts the batch apart; export the model with a fixed size there");
    st = split_sizes(c, y.dims[axis].factor, sizes);
    for (size_t i = 0; st == ENSO_OK && i < c->node->n_outputs; i++) {
        y.dims[axis] = enso_dim_fixed(sizes[i]);
        st = enso__op_out(c, i, x->dtype, &y);
        if (st == ENSO_OK && known != NULL && y.rank == 1)
            st = enso__op_set_known(c, i, known + at, (size_t)sizes[i]);
        at += sizes[i];
    }
    return st;
}

/* ---- slice ---- */

/* An end that says "all of it": exporters write INT32_MAX, INT64_MAX or a billion. */
#define BEYOND_ANY_BATCH 1000000000

/* One axis of a slice. */
struct cut {
    int64_t start, end, step;
};

/* Resolve a cut of a fixed dimension as ONNX says and give the number of elements. */
static int64_t cut_count(struct cut *cut, int64_t size)
{
    int64_t low = cut->step > 0 ? 0 : -1, high = cut->step > 0 ? size : size - 1;
    int64_t start_high = cut->step > 0 ? size : size - 1;
    int64_t n;

    cut->start = cut->start < 0 ? ENSO_MAX(cut->start, -size) + size : cut->start;
    cut->start = ENSO_MIN(cut->start, start_high);
    /* an end below -size means "before the first" when walking back */
    cut->end = cut->end < 0 ? (cut->end < -size ? low : cut->end + size) : cut->end;
    cut->end = ENSO_MIN(ENSO_MAX(cut->end, low), high);
    if (cut->step > 0)
        n = cut->end <= cut->start ? 0 : (cut->end - cut->start - 1) / cut->step + 1;
    else
        n = cut->start <= cut->end ? 0 : (cut->start - cut->end - 1) / -cut->step + 1;
    return n;
}

static int read_cuts(struct enso__infer *c, struct cut *cuts, int64_t *axes, size_t *ret_n)
{
    int64_t v[ENSO_MAX_RANK];
    size_t n = 0, m = 0;
    int st = enso__op_ints(c, 1, v, ENSO_MAX_RANK, &n);

    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        cuts[i] = (struct cut){v[i], 0, 1};
        axes[i] = (int64_t)i;
    }
    if (st == ENSO_OK)
        st = enso__op_ints(c, 2, v, ENSO_MAX_RANK, &m);
    if (st == ENSO_OK && m != n)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu starts and %zu ends", n, m);
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        cuts[i].end = v[i];
    if (st == ENSO_OK && enso__op_in(c, 3) != NULL)
        st = enso__op_ints(c, 3, axes, ENSO_MAX_RANK, &m);
    if (st == ENSO_OK && m != n)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu starts and %zu axes", n, m);
    if (st == ENSO_OK && enso__op_in(c, 4) != NULL) {
        st = enso__op_ints(c, 4, v, ENSO_MAX_RANK, &m);
        if (st == ENSO_OK && m != n)
            return enso__op_fail(c, ENSO_CORRUPT, "%zu starts and %zu steps", n, m);
        for (size_t i = 0; st == ENSO_OK && i < n; i++)
            cuts[i].step = ENSO_MAX(v[i], -INT64_MAX); /* -INT64_MIN does not exist */
    }
    *ret_n = n;
    return st;
}

int enso__infer_slice(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    struct cut cuts[ENSO_MAX_RANK], whole[ENSO_MAX_RANK];
    int64_t axes[ENSO_MAX_RANK], strides[ENSO_MAX_RANK], first = 0;
    bool seen[ENSO_MAX_RANK] = {false};
    size_t n = 0, axis;
    int st = read_cuts(c, cuts, axes, &n);

    for (size_t d = 0; d < y.rank; d++)
        whole[d] = (struct cut){0, 0, 1};
    if (st == ENSO_OK && n > x->shape.rank)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu axes for rank %u", n, x->shape.rank);
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        st = enso__op_axis(c, axes[i], y.rank, &axis);
        if (st != ENSO_OK)
            return st;
        if (seen[axis] || cuts[i].step == 0)
            return enso__op_fail(c, ENSO_CORRUPT,
                                 seen[axis] ? "an axis is cut twice" : "the step is 0");
        seen[axis] = true;
        if (enso__dim_fixed(y.dims[axis])) {
            y.dims[axis] = enso_dim_fixed(cut_count(&cuts[i], y.dims[axis].factor));
        } else if (cuts[i].start != 0 || cuts[i].end < BEYOND_ANY_BATCH || cuts[i].step != 1) {
            return enso__op_fail(c, ENSO_UNSUPPORTED,
                                 "it cuts a piece out of the batch; export the model with a fixed "
                                 "size there");
        }
        whole[axis] = cuts[i];
    }
    if (st == ENSO_OK)
        st = enso__op_out(c, 0, x->dtype, &y);
    if (st != ENSO_OK || enso__op_known(c, 0, &n) == NULL)
        return st;
    known_strides(c, strides);
    for (size_t d = 0; d < y.rank; d++) {
        first += whole[d].start * strides[d];
        strides[d] = y.dims[d].factor > 1 ? strides[d] * whole[d].step : 0; /* no overflow */
    }
    return learn_moved(c, first, strides);
}

/* ---- pad, tile ---- */

/* Pads of every axis: [2 * rank], begins then ends. */
static int read_pads(struct enso__infer *c, int64_t *pads)
{
    size_t rank = enso__op_in(c, 0)->shape.rank, n = 0, n_axes = 0;
    int64_t given[2 * ENSO_MAX_RANK], axes[ENSO_MAX_RANK];
    int st = enso__op_ints(c, 1, given, 2 * ENSO_MAX_RANK, &n);

    if (st == ENSO_OK && enso__op_in(c, 3) != NULL) {
        st = enso__op_ints(c, 3, axes, ENSO_MAX_RANK, &n_axes);
    } else {
        n_axes = rank;
        for (size_t i = 0; i < rank; i++)
            axes[i] = (int64_t)i;
    }
    if (st != ENSO_OK)
        return st;
    if (n != 2 * n_axes)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu pads for %zu axes", n, n_axes);
    for (size_t i = 0; i < 2 * rank; i++)
        pads[i] = 0;
    for (size_t i = 0; i < n_axes; i++) {
        size_t axis;

        st = enso__op_axis(c, axes[i], rank, &axis);
        if (st != ENSO_OK)
            return st;
        pads[axis] = given[i];
        pads[rank + axis] = given[n_axes + i];
    }
    return ENSO_OK;
}

int enso__infer_pad(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0), *value = enso__op_in(c, 2);
    struct enso_shape y = x->shape;
    int64_t pads[2 * ENSO_MAX_RANK];
    int st = read_pads(c, pads);

    if (st != ENSO_OK)
        return st;
    if (value != NULL && value->dtype != x->dtype)
        return enso__op_fail(c, ENSO_CORRUPT, "the value has another type");
    for (size_t i = 0; i < y.rank; i++) {
        int64_t before = pads[i], after = pads[y.rank + i], size = y.dims[i].factor;

        if (before == 0 && after == 0)
            continue;
        if (!enso__dim_fixed(y.dims[i]))
            return enso__op_fail(c, ENSO_UNSUPPORTED, "it pads the batch");
        if (__builtin_add_overflow(size, before, &size) ||
            __builtin_add_overflow(size, after, &size) || size < 0)
            return enso__op_fail(c, ENSO_CORRUPT, "pads %lld and %lld leave no size",
                                 (long long)before, (long long)after);
        y.dims[i] = enso_dim_fixed(size);
    }
    return enso__op_out(c, 0, x->dtype, &y);
}

int enso__infer_tile(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0);
    struct enso_shape y = x->shape;
    size_t n = 0;
    const struct enso_dim *repeats = enso__op_known(c, 1, &n);

    if (repeats == NULL)
        return enso__op_fail(c, ENSO_UNSUPPORTED,
                             "the repeats '%s' are not known when the model is "
                             "loaded",
                             enso__op_in(c, 1)->name);
    if (n != y.rank)
        return enso__op_fail(c, ENSO_CORRUPT, "%zu repeats for rank %u", n, y.rank);
    for (size_t i = 0; i < n; i++)
        if (repeats[i].factor < 0 || !enso__dim_mul(y.dims[i], repeats[i], &y.dims[i]))
            return enso__op_fail(c, ENSO_CORRUPT, "dimension %zu cannot be repeated so often", i);
    return enso__op_out(c, 0, x->dtype, &y);
}

/* ---- gather, depth and space ---- */

static int learn_gather(struct enso__infer *c)
{
    struct enso_dim content[ENSO__MAX_KNOWN];
    size_t n = 0, n_picked = 0;
    const struct enso_dim *known = enso__op_known(c, 0, &n),
                          *picked = enso__op_known(c, 1, &n_picked);

    if (known == NULL || picked == NULL || enso__op_in(c, 0)->shape.rank != 1)
        return ENSO_OK;
    for (size_t i = 0; i < n_picked; i++) {
        int64_t at = picked[i].factor < 0 ? picked[i].factor + (int64_t)n : picked[i].factor;

        if (!enso__dim_fixed(picked[i]))
            return ENSO_OK;
        if (at < 0 || at >= (int64_t)n)
            return enso__op_fail(c, ENSO_CORRUPT, "index %lld lies outside %zu elements",
                                 (long long)picked[i].factor, n);
        content[i] = known[at];
    }
    return enso__op_set_known(c, 0, content, n_picked);
}

int enso__infer_gather(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0), *index = enso__op_in(c, 1);
    struct enso_shape y = {0};
    size_t axis;
    int st = enso__op_axis(c, enso_node_int(c->node, "axis", 0), x->shape.rank, &axis);

    if (st != ENSO_OK)
        return st;
    if (index->dtype != ENSO_DTYPE_I64 && index->dtype != ENSO_DTYPE_I32)
        return enso__op_fail(c, ENSO_CORRUPT, "indices must be INT32 or INT64");
    if (x->shape.rank + index->shape.rank - 1 > ENSO_MAX_RANK)
        return enso__op_fail(c, ENSO_UNSUPPORTED, "tensors have at most %d dimensions",
                             ENSO_MAX_RANK);
    for (size_t i = 0; i < axis; i++)
        y.dims[y.rank++] = x->shape.dims[i];
    for (size_t i = 0; i < index->shape.rank; i++)
        y.dims[y.rank++] = index->shape.dims[i];
    for (size_t i = axis + 1; i < x->shape.rank; i++)
        y.dims[y.rank++] = x->shape.dims[i];
    st = enso__op_out(c, 0, x->dtype, &y);
    return st == ENSO_OK ? learn_gather(c) : st;
}

static int check_block(struct enso__infer *c, int64_t *ret_block)
{
    int64_t block = enso_node_int(c->node, "blocksize", 0);

    if (block < 1 || block > 1 << 12)
        return enso__op_fail(c, ENSO_CORRUPT, "blocksize is %lld", (long long)block);
    if (enso__op_in(c, 0)->shape.rank != 4)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [N, C, H, W]");
    *ret_block = block;
    return ENSO_OK;
}

int enso__infer_depth_to_space(struct enso__infer *c)
{
    struct enso_shape y = enso__op_in(c, 0)->shape;
    int64_t block;
    int st = check_block(c, &block);

    if (st != ENSO_OK)
        return st;
    if (!enso__dim_div(y.dims[1], enso_dim_fixed(block * block), &y.dims[1]) ||
        !enso__dim_mul(y.dims[2], enso_dim_fixed(block), &y.dims[2]) ||
        !enso__dim_mul(y.dims[3], enso_dim_fixed(block), &y.dims[3]))
        return enso__op_fail(c, ENSO_CORRUPT, "channels are not a multiple of %lld",
                             (long long)(block * block));
    return enso__op_out(c, 0, enso__op_in(c, 0)->dtype, &y);
}

int enso__infer_space_to_depth(struct enso__infer *c)
{
    struct enso_shape y = enso__op_in(c, 0)->shape;
    int64_t block;
    int st = check_block(c, &block);

    if (st != ENSO_OK)
        return st;
    if (!enso__dim_mul(y.dims[1], enso_dim_fixed(block * block), &y.dims[1]) ||
        !enso__dim_div(y.dims[2], enso_dim_fixed(block), &y.dims[2]) ||
        !enso__dim_div(y.dims[3], enso_dim_fixed(block), &y.dims[3]))
        return enso__op_fail(c, ENSO_CORRUPT, "height or width is not a multiple of %lld",
                             (long long)block);
    return enso__op_out(c, 0, enso__op_in(c, 0)->dtype, &y);
}
