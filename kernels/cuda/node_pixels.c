/* SPDX-License-Identifier: Apache-2.0
 *
 * PIXELS (engine/ops/ops.h): host side of pixels.cu. Pictures come up as bytes, a quarter of what
 * floats take, and leave in the type and layout that the model's first operator reads.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_elements.h"
#include "kernels/nodes/pixels.h"

struct pixels {
    struct enso_bound bound;
    struct enso__pixels part;
    float *table; /* device memory [C, 256] */
};

static void pixels_release(struct enso_bound *bound)
{
    enso__cuda_free(bound->device, ((struct pixels *)bound)->table);
}

static int pixels_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct pixels *p = (const struct pixels *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    struct enso_pixels_shape shape;
    int st = enso__pixels_resolve(&p->part, p->bound.node, x, y, &shape, err);

    if (st != ENSO_OK)
        return st;
    return enso__cuda_launched(
        call, enso_cuda_pixels(y->dtype, x->data, p->table, y->data, &shape, call->stream), err);
}

int enso__cuda_bind_pixels(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    struct pixels *p = enso__cuda_bound_new(b, sizeof(*p), pixels_run, err);
    float *table = NULL;

    if (p == NULL)
        return ENSO_NO_MEMORY;
    p->bound.release = pixels_release;
    int st = enso__pixels_bind(b, &p->part, &table, err);
    if (st == ENSO_OK && !enso__cuda_is_float(enso__bind_output(b, 0)->dtype))
        st = enso__unsupported(b, err, "pictures of type %s",
                               enso_dtype_name(enso__bind_output(b, 0)->dtype));
    if (st == ENSO_OK)
        st = enso__cuda_floats(b, table, p->part.n_channels * 256, &p->table, err);
    enso_free(table);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&p->bound);
        return st;
    }
    p->bound.packed = 1U << 1;
    p->bound.bytes += p->part.n_channels * 256 * sizeof(float);
    *ret = &p->bound;
    return ENSO_OK;
}
