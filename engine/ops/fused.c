/* SPDX-License-Identifier: Apache-2.0
 *
 * Inference of the fused operators, whose contracts are in ops.h. Activations have one float type;
 * weights, tables and vectors may have another.
 */
#include "engine/ops/ops_internal.h"

/* Input i is absent or one dimension of n, a parameter of x. */
static int check_vector(struct enso__infer *c, size_t i, const struct enso_value *x,
                        struct enso_dim n)
{
    const struct enso_value *v = enso__op_in(c, i);

    if (v == NULL || (v->shape.rank == 1 && enso_dim_equal(v->shape.dims[0], n)))
        return enso__op_parameter(c, i, x);
    return enso__op_fail(c, ENSO_CORRUPT, "input %zu must be [%lld]", i, (long long)n.factor);
}

static int check_residual(struct enso__infer *c, size_t i, enum enso_dtype dtype,
                          const struct enso_shape *y)
{
    const struct enso_value *r = enso__op_in(c, i);

    if (r == NULL || (enso__shape_equal(&r->shape, y) && r->dtype == dtype))
        return ENSO_OK;
    return enso__op_fail(c, ENSO_CORRUPT, "the residual must have the output's shape and %s",
                         enso_dtype_name(dtype));
}

int enso__infer_linear(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0), *w = enso__op_in(c, 1);
    const struct enso_value *starts = enso__op_in(c, 4);
    size_t transposed = enso_node_int(c->node, "transposed", 1) != 0;
    struct enso_shape y = x->shape;
    enum enso_dtype dtype = x->dtype;
    int st;

    if (x->shape.rank < 1 || w->shape.rank != 2)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [..., K] and a matrix");
    if (!enso_dim_equal(y.dims[y.rank - 1], w->shape.dims[transposed]))
        return enso__op_fail(c, ENSO_CORRUPT, "%lld columns meet a weight for %lld",
                             (long long)y.dims[y.rank - 1].factor,
                             (long long)w->shape.dims[transposed].factor);
    y.dims[y.rank - 1] = w->shape.dims[1 - transposed];
    if (starts != NULL &&
        (y.rank != 2 || starts->shape.rank != 1 || starts->dtype != ENSO_DTYPE_I32 ||
         !enso__dim_sub(starts->shape.dims[0], enso_dim_fixed(1), &y.dims[0]) ||
         y.dims[0].factor < 0))
        return enso__op_fail(c, ENSO_CORRUPT, "with starts it takes [T, K] and INT32 [B+1]");
    st = enso__op_parameter(c, 1, x);
    if (st == ENSO_OK)
        st = check_vector(c, 2, x, y.dims[y.rank - 1]);
    if (st == ENSO_OK)
        st = check_residual(c, 3, x->dtype, &y);
    if (st == ENSO_OK)
        st = enso__op_output_type(c, x->dtype, &dtype);
    return st == ENSO_OK ? enso__op_out(c, 0, dtype, &y) : st;
}

int enso__infer_attention(struct enso__infer *c)
{
    const struct enso_value *qkv = enso__op_in(c, 0), *starts = enso__op_in(c, 1);
    const struct enso_value *work = enso__op_in(c, 2);
    int64_t heads = enso_node_int(c->node, "heads", 0), size = enso_node_int(c->node, "size", 0);
    struct enso_shape y = qkv->shape;

    if (heads < 1 || size < 1 || heads > 1 << 16 || size > 1 << 16)
        return enso__op_fail(c, ENSO_CORRUPT, "%lld heads of %lld make no sense", (long long)heads,
                             (long long)size);
    if (y.rank != 2 || !enso__dim_is(y.dims[1], 3 * heads * size) || starts->shape.rank != 1 ||
        starts->dtype != ENSO_DTYPE_I32)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [T, %lld] and INT32 starts [B+1]",
                             (long long)(3 * heads * size));
    if (work != NULL && (work->shape.rank != 2 || !enso__dim_is(work->shape.dims[1], 2) ||
                         work->dtype != ENSO_DTYPE_I32))
        return enso__op_fail(c, ENSO_CORRUPT, "its work list must be INT32 [W, 2]");
    y.dims[1] = enso_dim_fixed(heads * size);
    return enso__op_out(c, 0, qkv->dtype, &y);
}

/* Both norms: vectors are inputs 1 .. n_vectors, then the residual. */
static int infer_norm(struct enso__infer *c, size_t n_vectors)
{
    const struct enso_value *x = enso__op_in(c, 0);
    int st = ENSO_OK;

    if (x->shape.rank < 1)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [..., C]");
    for (size_t i = 1; st == ENSO_OK && i <= n_vectors; i++)
        st = check_vector(c, i, x, x->shape.dims[x->shape.rank - 1]);
    if (st == ENSO_OK)
        st = check_residual(c, 1 + n_vectors, x->dtype, &x->shape);
    return st == ENSO_OK ? enso__op_out(c, 0, x->dtype, &x->shape) : st;
}

int enso__infer_layer_norm(struct enso__infer *c)
{
    return infer_norm(c, 2);
}

int enso__infer_rms_norm(struct enso__infer *c)
{
    return infer_norm(c, 1);
}

int enso__infer_l2_normalize(struct enso__infer *c)
{
    return infer_norm(c, 0);
}

int enso__infer_embedding(struct enso__infer *c)
{
    static const size_t tables[] = {1, 3, 5};
    const struct enso_value *tokens = enso__op_in(c, 0), *words = enso__op_in(c, 1);
    struct enso_shape y = tokens->shape;
    enum enso_dtype dtype = words->dtype;
    int st;

    if (tokens->dtype != ENSO_DTYPE_I32 || words->shape.rank != 2 || y.rank >= ENSO_MAX_RANK)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes INT32 tokens and a table");
    for (size_t i = 0; i < 3; i++) {
        const struct enso_value *table = enso__op_in(c, tables[i]);

        if (table != NULL &&
            (table->shape.rank != 2 || !enso_dim_equal(table->shape.dims[1], words->shape.dims[1])))
            return enso__op_fail(c, ENSO_CORRUPT, "table %zu must be [..., %lld]", tables[i],
                                 (long long)words->shape.dims[1].factor);
        st = enso__op_parameter(c, tables[i], words);
        if (st != ENSO_OK)
            return st;
    }
    for (size_t i = 2; i <= 4; i += 2) {
        const struct enso_value *ids = enso__op_in(c, i);

        if (ids != NULL && (ids->dtype != ENSO_DTYPE_I32 || enso__op_in(c, i + 1) == NULL ||
                            !enso__shape_equal(&ids->shape, &tokens->shape)))
            return enso__op_fail(c, ENSO_CORRUPT,
                                 "input %zu must be like the tokens and have a table", i);
    }
    if (enso__op_in(c, 3) != NULL && enso__op_in(c, 2) == NULL)
        return enso__op_fail(c, ENSO_CORRUPT, "a position table needs positions");
    if ((enso__op_in(c, 6) == NULL) != (enso__op_in(c, 7) == NULL))
        return enso__op_fail(c, ENSO_CORRUPT, "gamma and beta come together");
    y.dims[y.rank++] = words->shape.dims[1];
    st = check_vector(c, 6, words, words->shape.dims[1]);
    if (st == ENSO_OK)
        st = check_vector(c, 7, words, words->shape.dims[1]);
    if (st == ENSO_OK)
        st = enso__op_output_type(c, words->dtype, &dtype);
    return st == ENSO_OK ? enso__op_out(c, 0, dtype, &y) : st;
}

int enso__infer_sequence_pool(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0), *starts = enso__op_in(c, 1);
    struct enso_shape y = x->shape;
    enum enso_dtype dtype = x->dtype;
    int st;

    if (y.rank != 2 || starts->shape.rank != 1 || starts->dtype != ENSO_DTYPE_I32 ||
        !enso__dim_sub(starts->shape.dims[0], enso_dim_fixed(1), &y.dims[0]) ||
        y.dims[0].factor < 0)
        return enso__op_fail(c, ENSO_CORRUPT, "it takes [T, C] and INT32 starts [B+1]");
    st = enso__op_output_type(c, x->dtype, &dtype);
    return st == ENSO_OK ? enso__op_out(c, 0, dtype, &y) : st;
}

int enso__infer_pixels(struct enso__infer *c)
{
    const struct enso_value *x = enso__op_in(c, 0), *table = enso__op_in(c, 1);
    bool nhwc = enso_node_int(c->node, "nhwc", 0) != 0, bytes = x->dtype == ENSO_DTYPE_U8;
    bool to_nhwc = enso_node_int(c->node, "to_nhwc", nhwc) != 0;
    size_t channels = bytes || nhwc ? 3 : 1, rows = bytes || nhwc ? 1 : 2;
    enum enso_dtype dtype = ENSO_DTYPE_F32;
    struct enso_shape y = x->shape;
    int st;

    if (y.rank != 4 || (!bytes && x->dtype != ENSO_DTYPE_F32))
        return enso__op_fail(c, ENSO_CORRUPT, "it takes UINT8 [N, H, W, C] or FP32 pictures");
    if (table->constant == NULL || table->dtype != ENSO_DTYPE_F32 || table->shape.rank != 2 ||
        !enso_dim_equal(table->shape.dims[0], y.dims[channels]) ||
        !enso__dim_fixed(y.dims[channels]) || y.dims[channels].factor > ENSO_PIXELS_MAX_CHANNELS ||
        !enso__dim_is(table->shape.dims[1], 256))
        return enso__op_fail(c, ENSO_CORRUPT, "its table must be constant FP32 [C, 256]");
    y.dims[to_nhwc ? 1 : 2] = x->shape.dims[rows];
    y.dims[to_nhwc ? 2 : 3] = x->shape.dims[rows + 1];
    y.dims[to_nhwc ? 3 : 1] = x->shape.dims[channels];
    st = enso__op_output_type(c, ENSO_DTYPE_F32, &dtype);
    return st == ENSO_OK ? enso__op_out(c, 0, dtype, &y) : st;
}
