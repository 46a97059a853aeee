/* SPDX-License-Identifier: Apache-2.0
 *
 * What PIXELS means, for every device: see pixels.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/pixels.h"

int enso__pixels_bind(const struct enso__bind *b, struct enso__pixels *ret, float **ret_table,
                      struct enso_error *err)
{
    size_t n = 0;
    int st = enso__constant_floats(b, 1, 1, ret_table, &n, err);

    if (st != ENSO_OK)
        return st;
    if (*ret_table == NULL || n == 0 || n % 256 != 0 || n / 256 > ENSO_PIXELS_MAX_CHANNELS) {
        enso_free(*ret_table);
        *ret_table = NULL;
        return enso__unsupported(b, err, "a table of %zu numbers", n);
    }
    ret->nhwc = enso_node_int(b->node, "nhwc", 0) != 0;
    ret->to_nhwc = enso_node_int(b->node, "to_nhwc", ret->nhwc) != 0;
    ret->n_channels = n / 256;
    return ENSO_OK;
}

/* Height, width and channels of [N, C, H, W] or [N, H, W, C]. */
static void read_dims(const struct enso_tensor *t, bool planes, size_t ret[3])
{
    ret[0] = (size_t)t->dims[planes ? 2 : 1];
    ret[1] = (size_t)t->dims[planes ? 3 : 2];
    ret[2] = (size_t)t->dims[planes ? 1 : 3];
}

int enso__pixels_resolve(const struct enso__pixels *p, const char *node,
                         const struct enso_tensor *x, const struct enso_tensor *y,
                         struct enso_pixels_shape *ret, struct enso_error *err)
{
    bool bytes = x->dtype == ENSO_DTYPE_U8, x_planes = !bytes && !p->nhwc;
    size_t in[3] = {0}, out[3] = {0};
    bool fits = x->rank == 4 && y->rank == 4 && (bytes || x->dtype == ENSO_DTYPE_F32);

    if (fits) {
        read_dims(x, x_planes, in);
        read_dims(y, !p->to_nhwc, out);
        fits = x->dims[0] == y->dims[0] && in[0] == out[0] && in[1] == out[1] && in[2] == out[2] &&
               in[2] == p->n_channels;
    }
    if (!fits)
        return enso__op_error(ENSO_OP_PIXELS, node, err, ENSO_INTERNAL,
                              "%s are not the pictures of %s", enso__dims_text(x).s,
                              enso__dims_text(y).s);
    *ret = (struct enso_pixels_shape){(size_t)x->dims[0], in[0],      in[1], in[2], bytes,
                                      x_planes,           !p->to_nhwc};
    return ENSO_OK;
}
