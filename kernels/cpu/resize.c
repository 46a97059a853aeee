/* SPDX-License-Identifier: Apache-2.0
 *
 * Resize (ONNX, opset 19) by the tables of nodes/resize.h: nearest moves elements of any type,
 * linear and cubic take F32. Work is cut into lines, the last resized axis with all that stands
 * behind it. An element's taps are added in their order, wherever the channels are, so that an
 * image has the same bits in both layouts.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

#include "kernels/nodes/resize.h"

struct resize {
    struct enso_bound bound;
    struct enso__resize r;
    enum enso_dtype dtype;
};

struct resize_work {
    struct enso__resize_shape s;
    const unsigned char *x;
    unsigned char *y;
    size_t bytes; /* of an element */
};

/* Where tap k of position o reads. */
static size_t place(const struct enso__resize_table *t, size_t k, size_t o)
{
    return t == NULL ? o : (size_t)t->places[k * (size_t)t->out + o];
}

static float weight(const struct enso__resize_table *t, size_t k, size_t o)
{
    return t == NULL ? 1 : t->weights[k * (size_t)t->out + o];
}

static size_t taps(const struct enso__resize_table *t)
{
    return t == NULL ? 1 : t->n_taps;
}

/* The line of x that taps k0, k1 of line `line` of y read, in elements. */
static size_t line_of(const struct enso__resize_shape *s, size_t line, size_t k0, size_t k1)
{
    size_t o1 = line % s->out[1], plane = line / s->out[1];
    size_t o0 = plane % s->out[0], outer = plane / s->out[0];

    return ((outer * s->in[0] + place(s->tables[0], k0, o0)) * s->in[1] +
            place(s->tables[1], k1, o1)) *
           s->in[2] * s->inner;
}

static void nearest_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct resize_work *w = arg;
    const struct enso__resize_table *t = w->s.tables[2];
    size_t pixel = w->s.inner * w->bytes;

    (void)thread;
    for (size_t line = first; line < last; line++) {
        const unsigned char *x = w->x + line_of(&w->s, line, 0, 0) * w->bytes;
        unsigned char *y = w->y + line * w->s.out[2] * pixel;

        if (t == NULL)
            memcpy(y, x, w->s.out[2] * pixel);
        else if (pixel == sizeof(uint32_t))
            for (size_t o = 0; o < w->s.out[2]; o++)
                memcpy(y + o * sizeof(uint32_t), x + (size_t)t->places[o] * sizeof(uint32_t),
                       sizeof(uint32_t));
        else
            for (size_t o = 0; o < w->s.out[2]; o++)
                memcpy(y + o * pixel, x + (size_t)t->places[o] * pixel, pixel);
    }
}

/* y += a · the taps of one line of x. */
static void add_line(const struct enso__resize_shape *s, float a, const float *x, float *y)
{
    const struct enso__resize_table *t = s->tables[2];
    size_t n = s->inner;

    for (size_t k = 0; k < taps(t); k++)
        for (size_t o = 0; o < s->out[2]; o++) {
            const float *from = x + place(t, k, o) * n;
            float b = a * weight(t, k, o), *to = y + o * n;

            for (size_t i = 0; i < n; i++)
                to[i] += b * from[i];
        }
}

static void weighted_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct resize_work *w = arg;
    const struct enso__resize_shape *s = &w->s;
    size_t n = s->out[2] * s->inner;

    (void)thread;
    for (size_t line = first; line < last; line++) {
        size_t o1 = line % s->out[1], o0 = line / s->out[1] % s->out[0];
        float *y = (float *)w->y + line * n;

        memset(y, 0, n * sizeof(float));
        for (size_t k0 = 0; k0 < taps(s->tables[0]); k0++)
            for (size_t k1 = 0; k1 < taps(s->tables[1]); k1++)
                add_line(s, weight(s->tables[0], k0, o0) * weight(s->tables[1], k1, o1),
                         (const float *)w->x + line_of(s, line, k0, k1), y);
    }
}

static int resize_run(const struct enso__call *call, struct enso_error *err)
{
    const struct resize *op = (const struct resize *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct resize_work w = {.x = x->data, .y = y->data, .bytes = enso_dtype_row_bytes(x->dtype, 1)};

    if (x->dtype != op->dtype || !enso__resize_resolve(&op->r, x, y, &w.s))
        return enso__run_error(call, err, ENSO_INTERNAL, "%s does not become %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    size_t n_taps = taps(w.s.tables[0]) * taps(w.s.tables[1]) * taps(w.s.tables[2]);
    size_t width = w.s.out[2] * w.s.inner;

    enso__parallel(call, w.s.outer * w.s.out[0] * w.s.out[1], width * n_taps * 2,
                   op->r.nearest ? nearest_piece : weighted_piece, &w);
    return ENSO_OK;
}

static void resize_release(struct enso_bound *bound)
{
    enso__resize_done(&((struct resize *)bound)->r);
}

int enso__bind_resize(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct resize *op = enso__bound_new(b, sizeof(*op), resize_run, err);

    if (op == NULL)
        return ENSO_NO_MEMORY;
    op->bound.release = resize_release;
    op->dtype = enso__bind_dtype(b, 0);
    int st = enso__resize_bind(b, &op->r, err);
    if (st == ENSO_OK && !op->r.nearest && op->dtype != ENSO_DTYPE_F32)
        st = enso__unsupported(b, err, "mode linear or cubic of %s", enso_dtype_name(op->dtype));
    if (st != ENSO_OK) {
        enso__bound_free(&op->bound);
        return st;
    }
    for (size_t i = 1; i < b->node->n_inputs; i++) /* known since inference, never read */
        if (enso__bind_input(b, i) != NULL && enso__bind_input(b, i)->constant != NULL)
            op->bound.packed |= 1U << i;
    for (size_t i = 0; i < op->r.n_axes; i++)
        op->bound.bytes += 2 * enso__resize_bytes(&op->r.tables[i]);
    *ret = &op->bound;
    return ENSO_OK;
}
