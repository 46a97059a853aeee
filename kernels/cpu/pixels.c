/* SPDX-License-Identifier: Apache-2.0
 *
 * PIXELS (engine/ops/ops.h): pictures of bytes become floats by a table, those of floats are put
 * into the layout that the model's first operator reads. A row of pixels is a piece of work.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"
#include "kernels/nodes/pixels.h"

struct pixels {
    struct enso_bound bound;
    struct enso__pixels part;
    float *table; /* [C, 256] */
};

static void pixels_release(struct enso_bound *bound)
{
    enso_free(((struct pixels *)bound)->table);
}

struct pixels_work {
    struct enso_pixels_shape shape;
    const float *table;
    const void *x;
    float *y;
};

/* Of the first pixel of a row of one channel; the next one is `step` further. */
static size_t place(const struct enso_pixels_shape *s, bool planes, size_t row, size_t channel,
                    size_t *ret_step)
{
    size_t item = row / s->height, y = row % s->height;

    *ret_step = planes ? 1 : s->n_channels;
    return planes ? ((item * s->n_channels + channel) * s->height + y) * s->width
                  : row * s->width * s->n_channels + channel;
}

static void pixels_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct pixels_work *w = arg;
    const struct enso_pixels_shape *s = &w->shape;

    (void)thread;
    for (size_t row = first; row < last; row++)
        for (size_t c = 0; c < s->n_channels; c++) {
            size_t x_step, y_step, x_at = place(s, s->x_planes, row, c, &x_step);
            float *y = w->y + place(s, s->y_planes, row, c, &y_step);
            const uint8_t *bytes = (const uint8_t *)w->x + x_at;
            const float *floats = (const float *)w->x + x_at, *table = w->table + c * 256;

            for (size_t i = 0; s->bytes && i < s->width; i++)
                y[i * y_step] = table[bytes[i * x_step]];
            for (size_t i = 0; !s->bytes && i < s->width; i++)
                y[i * y_step] = floats[i * x_step];
        }
}

static int pixels_run(const struct enso__call *call, struct enso_error *err)
{
    const struct pixels *p = (const struct pixels *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *y = enso__out(call, 0);
    struct pixels_work w = {.table = p->table, .x = x->data, .y = y->data};
    int st = enso__pixels_resolve(&p->part, p->bound.node, x, y, &w.shape, err);

    if (st != ENSO_OK)
        return st;
    enso__parallel(call, w.shape.n_items * w.shape.height, 2 * w.shape.width * w.shape.n_channels,
                   pixels_piece, &w);
    return ENSO_OK;
}

int enso__bind_pixels(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    struct pixels *p = enso__bound_new(b, sizeof(*p), pixels_run, err);

    if (p == NULL)
        return ENSO_NO_MEMORY;
    p->bound.release = pixels_release;
    int st = enso__pixels_bind(b, &p->part, &p->table, err);
    if (st == ENSO_OK && enso__bind_output(b, 0)->dtype != ENSO_DTYPE_F32)
        st = enso__unsupported(b, err, "pictures of type %s",
                               enso_dtype_name(enso__bind_output(b, 0)->dtype));
    if (st != ENSO_OK) {
        enso__bound_free(&p->bound);
        return st;
    }
    p->bound.packed = 1U << 1;
    p->bound.bytes += p->part.n_channels * 256 * sizeof(float);
    *ret = &p->bound;
    return ENSO_OK;
}
