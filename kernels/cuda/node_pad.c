/* SPDX-License-Identifier: Apache-2.0
 *
 * Pad (ONNX, opset 19), all modes and element types: host side of pad.cu. Pads that are known only
 * at run time are refused.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include <string.h>

#include "kernels/cuda/launch_elements.h"

struct pad {
    struct enso_bound bound;
    enum enso_cuda_pad_mode mode;
    struct enso__ints pads, axes;
};

/* pads[i] elements before the i-th of the axes. */
static int read_pads(const struct enso__cuda_call *call, const struct enso_tensor *x,
                     struct enso_cuda_pad *shape, struct enso_error *err)
{
    const struct pad *op = (const struct pad *)call->bound;
    size_t n = op->axes.present ? op->axes.n : x->rank;

    if (op->pads.n != 2 * n)
        return enso__cuda_error(call, err, ENSO_INVALID, "%u pads for %zu dimensions", op->pads.n,
                                n);
    for (size_t i = 0; i < n; i++) {
        int axis = enso__axis(op->axes.present ? op->axes.v[i] : (int64_t)i, x->rank);

        if (axis < 0)
            return enso__cuda_error(call, err, ENSO_INVALID, "an axis is out of range");
        shape->before[axis] = op->pads.v[i];
    }
    return ENSO_OK;
}

static int pad_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__cuda_in(call, 0), *value = enso__cuda_in(call, 2);
    const struct enso_tensor *y = enso__cuda_out(call, 0);
    struct enso_cuda_pad shape = {.mode = ((const struct pad *)call->bound)->mode,
                                  .rank = ENSO_MAX(x->rank, (uint8_t)1),
                                  .in = {1},
                                  .out = {1}};

    if (x->rank != y->rank)
        return enso__cuda_error(call, err, ENSO_INTERNAL, "input and output differ in rank");
    int st = read_pads(call, x, &shape, err);
    if (st != ENSO_OK)
        return st;
    for (size_t d = 0; d < x->rank; d++) {
        shape.in[d] = x->dims[d];
        shape.out[d] = y->dims[d];
        if (shape.in[d] == 0 && shape.mode != ENSO_CUDA_PAD_CONSTANT)
            return enso__cuda_error(call, err, ENSO_INVALID, "nothing to repeat along axis %zu", d);
    }
    if (value != NULL && (value->dtype != x->dtype || enso_tensor_count(value) != 1))
        return enso__cuda_error(call, err, ENSO_INVALID, "the value must be one element of %s",
                                enso_dtype_name(x->dtype));
    return enso__cuda_launched(call,
                               enso_cuda_pad(enso_dtype_row_bytes(x->dtype, 1), x->data,
                                             value != NULL ? value->data : NULL, y->data,
                                             (size_t)enso_tensor_count(y), &shape, call->stream),
                               err);
}

int enso__cuda_bind_pad(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    static const char *const names[] = {[ENSO_CUDA_PAD_CONSTANT] = "constant",
                                        [ENSO_CUDA_PAD_REFLECT] = "reflect",
                                        [ENSO_CUDA_PAD_EDGE] = "edge",
                                        [ENSO_CUDA_PAD_WRAP] = "wrap"};
    const char *mode = enso_node_string(b->node, "mode", "constant");
    size_t i = 0;

    while (i < ENSO_ARRAY_SIZE(names) && strcmp(names[i], mode) != 0)
        i++;
    if (i == ENSO_ARRAY_SIZE(names))
        return enso__unsupported(b, err, "mode '%s'", mode);
    struct pad *p = enso__cuda_bound_new(b, sizeof(*p), pad_run, err);
    if (p == NULL)
        return ENSO_NO_MEMORY;
    p->mode = (enum enso_cuda_pad_mode)i;
    int st = enso__cuda_ints(b, 1, "pads", &p->pads, err);

    if (st == ENSO_OK)
        st = enso__cuda_ints(b, 3, "axes", &p->axes, err);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&p->bound);
        return st;
    }
    *ret = &p->bound;
    return ENSO_OK;
}
