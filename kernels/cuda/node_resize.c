/* SPDX-License-Identifier: Apache-2.0
 *
 * Resize: host side of resize.cu. Tables are made by nodes/resize.c, as on the CPU, and go up once.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/resize.h"

/* One thread adds all taps of an element, one after the other: with more of them a batch would run
 * for so long that the device would be taken for lost. */
#define MOST_TAPS (1 << 14)

struct resize {
    struct enso_bound bound;
    struct enso__resize r; /* its lists are in device memory */
    enum enso_dtype dtype;
};

static int resize_run(const struct enso__cuda_call *call, struct enso_error *err)
{
    const struct resize *op = (const struct resize *)call->bound;
    const struct enso_tensor *x = enso__cuda_in(call, 0), *y = enso__cuda_out(call, 0);
    struct enso__resize_shape s;
    struct enso_cuda_resize r;
    int code;

    if (x->dtype != op->dtype || !enso__resize_resolve(&op->r, x, y, &s))
        return enso__cuda_error(call, err, ENSO_INTERNAL, "%s does not become %s",
                                enso__dims_text(x).s, enso__dims_text(y).s);
    r = (struct enso_cuda_resize){.outer = s.outer, .inner = s.inner};
    for (size_t i = 0; i < ENSO__RESIZE_AXES; i++) {
        const struct enso__resize_table *t = s.tables[i];

        if (s.in[i] > INT32_MAX || s.out[i] > INT32_MAX)
            return enso__cuda_error(call, err, ENSO_INVALID, "%s is too large for the GPU",
                                    enso__dims_text(x).s);
        r.in[i] = (uint32_t)s.in[i];
        r.out[i] = (uint32_t)s.out[i];
        r.n_taps[i] = t != NULL ? (uint32_t)t->n_taps : 1;
        r.places[i] = t != NULL ? t->places : NULL;
        r.weights[i] = t != NULL ? t->weights : NULL;
    }
    code = op->r.nearest ? enso_cuda_resize_nearest(enso_dtype_row_bytes(op->dtype, 1), x->data,
                                                    y->data, &r, call->stream)
                         : enso_cuda_resize(op->dtype, x->data, y->data, &r, call->stream);
    return enso__cuda_launched(call, code, err);
}

static void resize_release(struct enso_bound *bound)
{
    struct resize *op = (struct resize *)bound;

    for (size_t i = 0; i < ENSO__RESIZE_AXES; i++) {
        enso__cuda_free(bound->device, op->r.tables[i].places);
        enso__cuda_free(bound->device, op->r.tables[i].weights);
    }
}

/* One of a table's lists; NULL stays NULL. What was taken is in *ret_device even on failure. */
static int raise(struct resize *op, const struct enso__resize_table *t, const void *list,
                 void **ret_device, struct enso_error *err)
{
    size_t bytes = enso__resize_bytes(t);

    *ret_device = NULL;
    if (list == NULL || bytes == 0)
        return ENSO_OK;
    int st = enso__cuda_alloc(op->bound.device, bytes, "the taps of a Resize", ret_device, err);
    if (st != ENSO_OK)
        return st;
    op->bound.bytes += bytes;
    return enso__cuda_upload(op->bound.device, *ret_device, list, bytes, err);
}

static int raise_tables(struct resize *op, const struct enso__resize *made, struct enso_error *err)
{
    int st = ENSO_OK;

    op->r = *made;
    for (size_t i = 0; i < ENSO__RESIZE_AXES; i++) {
        op->r.tables[i].places = NULL;
        op->r.tables[i].weights = NULL;
    }
    for (size_t i = 0; st == ENSO_OK && i < ENSO__RESIZE_AXES; i++) {
        const struct enso__resize_table *t = &made->tables[i];
        void *list;

        st = raise(op, t, t->places, &list, err);
        op->r.tables[i].places = list;
        if (st != ENSO_OK)
            return st;
        st = raise(op, t, t->weights, &list, err);
        op->r.tables[i].weights = list;
    }
    return st;
}

/* Taps of an element over all axes; an axis has at most 2^21 (nodes/resize.c). */
static uint64_t count_taps(const struct enso__resize *r)
{
    uint64_t n = 1;

    for (size_t i = 0; i < r->n_axes; i++)
        n *= r->tables[i].resized ? r->tables[i].n_taps : 1;
    return n;
}

int enso__cuda_bind_resize(const struct enso__bind *b, struct enso_bound **ret,
                           struct enso_error *err)
{
    struct resize *op = enso__cuda_bound_new(b, sizeof(*op), resize_run, err);
    struct enso__resize made;

    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.release = resize_release;
    op->dtype = enso__bind_dtype(b, 0);
    int st = enso__resize_bind(b, &made, err);
    if (st == ENSO_OK && !made.nearest && !enso__cuda_is_float(op->dtype))
        st = enso__unsupported(b, err, "mode linear or cubic of %s", enso_dtype_name(op->dtype));
    if (st == ENSO_OK && count_taps(&made) > MOST_TAPS)
        st = enso__unsupported(b, err,
                               "antialias over %llu elements for each one; the GPU adds at most %d",
                               (unsigned long long)count_taps(&made), MOST_TAPS);
    if (st == ENSO_OK)
        st = raise_tables(op, &made, err);
    enso__resize_done(&made);
    if (st != ENSO_OK) {
        enso__cuda_bound_free(&op->bound);
        return st;
    }
    for (size_t i = 1; i < b->node->n_inputs; i++) /* known since inference, never read */
        if (enso__bind_input(b, i) != NULL && enso__bind_input(b, i)->constant != NULL)
            op->bound.packed |= 1U << i;
    *ret = &op->bound;
    return ENSO_OK;
}
