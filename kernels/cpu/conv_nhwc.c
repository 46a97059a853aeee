/* SPDX-License-Identifier: Apache-2.0
 *
 * CONV_FUSED (engine/ops/ops.h): convolution over [N, H, W, C] with bias, residual and activation,
 * as an indirect matrix product: the rows of A are output pixels, read through one pointer per
 * place of the window, so nothing is copied; padding points to zeros. Three ways:
 *
 *   merged     few channels (the first layer): a row of the window is contiguous in memory, so
 *              taps are window rows of kw·C floats; only rows that touch the border are copied
 *   general    a tap per place of the window, C/group floats each
 *   depthwise  one channel per group: products along the channels, no panels
 *
 * (1x1 without stride, padding and groups has become LINEAR before.) Measured on Zen 3: general
 * 93-98 % of the FMA peak for 3x3.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

#include "base/memory.h"
#include "kernels/nodes/conv.h"
#include "kernels/nodes/window.h"

/* Output pixels of a unit of work: their pointers and partial sums stay in the second cache. */
#define BLOCK 96
/* Below so many channels rows of the window are taken as one tap. */
#define FEW_CHANNELS 16

struct conv_fused {
    struct enso_bound bound;
    struct enso__window_attributes window;
    size_t group, n_in, n_out; /* channels */
    int64_t kernel[2];
    bool depthwise, merged;
    float *weights; /* panels group by group, or [taps][channels] for depthwise */
    float *bias;    /* padded per group to whole panels; NULL: none */
    float *zeros;   /* what padding reads */
    struct enso_activation_args activation;
};

static void conv_release(struct enso_bound *bound)
{
    struct conv_fused *c = (struct conv_fused *)bound;

    enso_free(c->weights);
    enso_free(c->bias);
    enso_free(c->zeros);
}

static size_t n_taps(const struct conv_fused *c)
{
    return (size_t)(c->kernel[0] * c->kernel[1]);
}

/* Length of the inner dimension. */
static size_t inner(const struct conv_fused *c)
{
    return n_taps(c) * (c->n_in / c->group);
}

/* Panel by panel: sixteen output channels are read, put in order and transposed. */
static int pack_weights(struct conv_fused *c, const struct enso_constant *w, float *slice,
                        struct enso_error *err)
{
    size_t k = inner(c), per_group = c->n_out / c->group, channels = c->n_in / c->group;
    float *ordered = slice + ENSO_PANEL * k, *panels = c->weights;

    for (size_t g = 0; g < c->group; g++)
        for (size_t m = 0; m < per_group; m += ENSO_PANEL, panels += ENSO_PANEL * k) {
            size_t n = ENSO_MIN(per_group - m, (size_t)ENSO_PANEL);
            int st = enso_constant_read(w, (int64_t)((g * per_group + m) * k), (int64_t)(n * k),
                                        slice, err);

            if (st != ENSO_OK)
                return st;
            enso__channels_last(slice, n, channels, n_taps(c), ordered);
            c->bound.kernels->pack_transposed(ordered, k, k, n, panels);
        }
    return ENSO_OK;
}

static int bind_weights(struct conv_fused *c, const struct enso_constant *w, struct enso_error *err)
{
    size_t k = inner(c), per_group = c->n_out / c->group, bytes;

    if (c->depthwise)
        bytes = n_taps(c) * c->n_out * sizeof(float);
    else if (!enso_size_mul(enso__panel_bytes(k, per_group), c->group, &bytes))
        return enso_error_no_memory(err, "packed weights");
    c->weights = enso_alloc_aligned(ENSO_CACHE_LINE, ENSO_MAX(bytes, (size_t)1));
    c->zeros = enso_alloc_zero(ENSO_MAX(c->n_in, (size_t)1), sizeof(float));
    float *slice =
        enso_alloc_array(c->depthwise ? n_taps(c) * c->n_out : 2 * ENSO_PANEL * k, sizeof(float));
    int st = ENSO_OK;

    if (c->weights == NULL || c->zeros == NULL || slice == NULL) {
        st = enso_error_no_memory(err, "packed weights");
    } else if (c->depthwise) {
        st = enso_constant_read(w, 0, (int64_t)(n_taps(c) * c->n_out), slice, err);
        if (st == ENSO_OK) /* [C][taps] is [C rows = "channels"][taps] of one row */
            enso__channels_last(slice, 1, c->n_out, n_taps(c), c->weights);
    } else {
        st = pack_weights(c, w, slice, err);
    }
    enso_free(slice);
    c->bound.bytes += bytes + c->n_in * sizeof(float);
    return st;
}

static int bind_bias(const struct enso__bind *b, struct conv_fused *c, struct enso_error *err)
{
    const struct enso_value *v = enso__bind_input(b, 2);
    size_t per_group = c->n_out / c->group, n, padded = enso_panels(per_group) * ENSO_PANEL;
    float *bias;

    if (v == NULL)
        return ENSO_OK;
    int st = enso__constant_floats(b, 2, 1, &bias, &n, err);
    if (st != ENSO_OK)
        return st;
    if (bias == NULL || n != c->n_out) {
        enso_free(bias);
        return enso__unsupported(b, err, "needs a constant bias of %zu entries", c->n_out);
    }
    if (c->depthwise) {
        c->bias = bias;
        return ENSO_OK;
    }
    c->bias = enso_alloc_zero(c->group * padded, sizeof(float));
    if (c->bias == NULL)
        st = enso_error_no_memory(err, "a bias");
    for (size_t g = 0; st == ENSO_OK && g < c->group; g++)
        memcpy(c->bias + g * padded, bias + g * per_group, per_group * sizeof(float));
    enso_free(bias);
    c->bound.bytes += c->group * padded * sizeof(float);
    return st;
}

/* Scratch of one thread: pointers, and copies of border rows when merged. */
struct conv_scratch {
    size_t pointers, copies; /* bytes */
};

static struct conv_scratch scratch_of(const struct conv_fused *c)
{
    size_t pixels = c->depthwise ? BLOCK : ENSO_GEMM_TILES(BLOCK) * ENSO_TILE_ROWS;
    size_t taps = c->merged ? (size_t)c->kernel[0] : n_taps(c);

    return (struct conv_scratch){.pointers = enso__align(pixels * taps * sizeof(float *)),
                                 .copies =
                                     c->merged ? enso__align(BLOCK * inner(c) * sizeof(float)) : 0};
}

static size_t conv_workspace(const struct enso_bound *bound, const struct enso_step *step,
                             const struct enso_tensor *tensors)
{
    struct conv_scratch s = scratch_of((const struct conv_fused *)bound);

    (void)step;
    (void)tensors;
    return bound->n_threads * (s.pointers + s.copies);
}

struct conv_work {
    const struct conv_fused *op;
    const struct enso__call *call;
    struct enso__window w;
    const float *x, *residual;
    float *y;
    size_t n_pixels, n_panels, panels_per_unit, panel_units; /* per group */
};

/* Top left corner of an output pixel's window. */
struct corner {
    const float *image;
    int64_t y, x;
};

static struct corner corner_of(const struct conv_work *w, size_t pixel)
{
    size_t at = pixel % w->w.n_out;

    return (struct corner){
        .image = w->x + pixel / w->w.n_out * w->w.n_in * w->op->n_in,
        .y = (int64_t)(at / (size_t)w->w.out[2]) * w->w.strides[1] - w->w.begin[1],
        .x = (int64_t)(at % (size_t)w->w.out[2]) * w->w.strides[2] - w->w.begin[2]};
}

/* A pointer per place of the window, `step` apart. */
static void point_taps(const struct conv_work *w, size_t pixel, size_t channel, const float **p,
                       size_t step)
{
    const struct corner c = corner_of(w, pixel);
    const struct enso__window *win = &w->w;

    for (int64_t ky = 0; ky < win->kernel[1]; ky++) {
        int64_t y = c.y + ky * win->dilations[1];
        bool row_inside = y >= 0 && y < win->in[1];

        for (int64_t kx = 0; kx < win->kernel[2]; kx++, p += step) {
            int64_t x = c.x + kx * win->dilations[2];

            *p = row_inside && x >= 0 && x < win->in[2]
                     ? c.image + (size_t)(y * win->in[2] + x) * w->op->n_in + channel
                     : w->op->zeros;
        }
    }
}

/* A pointer per row of the window; rows that reach into the padding are copied to `copy`. */
static void point_rows(const struct conv_work *w, size_t pixel, const float **p, size_t step,
                       float *copy)
{
    const struct corner c = corner_of(w, pixel);
    const struct enso__window *win = &w->w;
    size_t channels = w->op->n_in, width = (size_t)win->kernel[2] * channels;
    int64_t first = ENSO_MAX(-c.x, (int64_t)0);
    int64_t last = ENSO_MIN(win->in[2] - c.x, win->kernel[2]);

    for (int64_t ky = 0; ky < win->kernel[1]; ky++, p += step, copy += width) {
        int64_t y = c.y + ky * win->dilations[1];
        const float *row = c.image + (y * win->in[2] + c.x) * (int64_t)channels;

        if (y >= 0 && y < win->in[1] && first == 0 && last == win->kernel[2]) {
            *p = row;
            continue;
        }
        memset(copy, 0, width * sizeof(float));
        if (y >= 0 && y < win->in[1] && first < last)
            memcpy(copy + (size_t)first * channels, row + first * (int64_t)channels,
                   (size_t)(last - first) * channels * sizeof(float));
        *p = copy;
    }
}

static void point_block(const struct conv_work *w, size_t first, size_t n, size_t channel,
                        const float **pointers, float *copies)
{
    size_t taps = w->op->merged ? (size_t)w->w.kernel[1] : w->w.n_taps;

    for (size_t row = 0; row < n; pointers += taps * ENSO_TILE_ROWS) {
        size_t n_rows = enso_gemm_tile(n - row);

        for (size_t r = 0; r < n_rows; r++, row++) {
            if (w->op->merged)
                point_rows(w, first + row, pointers + r, ENSO_TILE_ROWS,
                           copies + row * inner(w->op));
            else
                point_taps(w, first + row, channel, pointers + r, ENSO_TILE_ROWS);
        }
    }
}

/* Units: (block of pixels, group, share of the group's panels). */
static void conv_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct conv_work *w = arg;
    const struct conv_fused *op = w->op;
    struct conv_scratch s = scratch_of(op);
    unsigned char *scratch = w->call->workspace + thread * (s.pointers + s.copies);
    const float **pointers = (const float **)scratch;
    size_t per_group = op->n_out / op->group, channels = op->n_in / op->group;

    for (size_t unit = first; unit < last; unit++) {
        size_t panel = unit % w->panel_units * w->panels_per_unit;
        size_t g = unit / w->panel_units % op->group;
        size_t pixel = unit / w->panel_units / op->group * BLOCK;
        size_t n = ENSO_MIN(w->n_pixels - pixel, (size_t)BLOCK);
        size_t column = panel * ENSO_PANEL, at = pixel * op->n_out + g * per_group + column;
        struct enso_epilogue e = {
            .bias = op->bias == NULL ? NULL : op->bias + g * w->n_panels * ENSO_PANEL + column,
            .residual = w->residual == NULL ? NULL : w->residual + at,
            .ld_residual = op->n_out,
            .activation = op->activation};

        point_block(w, pixel, n, g * channels, pointers, (float *)(scratch + s.pointers));
        op->bound.kernels->gemm(&(struct enso_gemm){
            .rows = pointers,
            .n_rows = n,
            .taps = op->merged ? (size_t)op->kernel[0] : n_taps(op),
            .depth = op->merged ? (size_t)op->kernel[1] * channels : channels,
            .panels = op->weights + (g * w->n_panels + panel) * ENSO_PANEL * inner(op),
            .n_columns = ENSO_MIN(per_group - column, w->panels_per_unit * ENSO_PANEL),
            .c = w->y + at,
            .ldc = op->n_out,
            .epilogue = &e});
    }
}

static void depthwise_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct conv_work *w = arg;
    const struct conv_fused *op = w->op;
    struct conv_scratch s = scratch_of(op);
    const float **pointers = (const float **)(w->call->workspace + thread * s.pointers);

    for (size_t pixel = first; pixel < last; pixel += BLOCK) {
        size_t n = ENSO_MIN(last - pixel, (size_t)BLOCK);
        struct enso_epilogue e = {.bias = op->bias,
                                  .residual =
                                      w->residual == NULL ? NULL : w->residual + pixel * op->n_out,
                                  .ld_residual = op->n_out,
                                  .activation = op->activation};

        for (size_t i = 0; i < n; i++)
            point_taps(w, pixel + i, 0, pointers + i * w->w.n_taps, 1);
        op->bound.kernels->depthwise(&(struct enso_depthwise){.taps = pointers,
                                                              .n_pixels = n,
                                                              .n_taps = w->w.n_taps,
                                                              .n_channels = op->n_out,
                                                              .weights = op->weights,
                                                              .y = w->y + pixel * op->n_out,
                                                              .epilogue = &e});
    }
}

static void share_panels(struct conv_work *w)
{
    unsigned n_threads = enso_team_size(w->call->team);
    size_t n_blocks = (w->n_pixels + BLOCK - 1) / BLOCK * w->op->group;
    size_t wanted = n_threads == 1 ? 1 : (6 * n_threads + n_blocks - 1) / n_blocks;

    w->n_panels = enso_panels(w->op->n_out / w->op->group);
    wanted = ENSO_MIN(wanted, w->n_panels);
    w->panels_per_unit = (w->n_panels + wanted - 1) / wanted;
    w->panel_units = (w->n_panels + w->panels_per_unit - 1) / w->panels_per_unit;
}

static int conv_run(const struct enso__call *call, struct enso_error *err)
{
    const struct conv_fused *op = (const struct conv_fused *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *residual = enso__in(call, 3);
    const struct enso_tensor *y = enso__out(call, 0);
    struct conv_work w = {.op = op,
                          .call = call,
                          .x = x->data,
                          .residual = residual != NULL ? residual->data : NULL,
                          .y = y->data};

    if (x->rank != 4 || y->rank != 4 || x->dims[0] != y->dims[0] ||
        (size_t)x->dims[3] != op->n_in || (size_t)y->dims[3] != op->n_out ||
        (residual != NULL && enso_tensor_count(residual) != enso_tensor_count(y)) ||
        !enso__window_resolve(&op->window, 2, x->dims + 1, y->dims + 1, op->kernel, &w.w))
        return enso__run_error(call, err, ENSO_INTERNAL, "its window does not fit %s -> %s",
                               enso__dims_text(x).s, enso__dims_text(y).s);
    w.n_pixels = (size_t)y->dims[0] * w.w.n_out;
    if (op->depthwise) {
        enso__parallel(call, w.n_pixels, w.w.n_taps * op->n_out * 2, depthwise_piece, &w);
        return ENSO_OK;
    }
    share_panels(&w);
    enso_team_run(call->team, (w.n_pixels + BLOCK - 1) / BLOCK * op->group * w.panel_units, 1,
                  conv_piece, &w);
    return ENSO_OK;
}

int enso__bind_conv_fused(const struct enso__bind *b, struct enso_bound **ret,
                          struct enso_error *err)
{
    int st = enso__conv_fused_check(b, err);

    if (st != ENSO_OK)
        return st;
    const struct enso_constant *w = enso__bind_input(b, 1)->constant;
    struct conv_fused *c = enso__bound_new(b, sizeof(*c), conv_run, err);
    if (c == NULL)
        return ENSO_NO_MEMORY;
    c->bound.release = conv_release;
    c->bound.workspace = conv_workspace;
    c->group = (size_t)enso_node_int(b->node, "group", 1);
    c->n_out = (size_t)w->dims[0];
    c->n_in = (size_t)w->dims[1] * c->group;
    c->kernel[0] = w->dims[2];
    c->kernel[1] = w->dims[3];
    c->activation = enso__activation_args(b->node);
    st = enso__window_bind(b, &c->window, err);
    bool dense = c->window.n_dilations == 0 || c->window.dilations[c->window.n_dilations - 1] == 1;
    c->depthwise = c->group > 1 && c->n_in == c->group && c->n_out == c->group;
    c->merged = c->group == 1 && c->n_in < FEW_CHANNELS && dense && n_taps(c) > 1;
    if (st == ENSO_OK)
        st = bind_weights(c, w, err);
    if (st == ENSO_OK)
        st = bind_bias(b, c, err);
    if (st != ENSO_OK) {
        enso__bound_free(&c->bound);
        return st;
    }
    c->bound.packed = 2u | (c->bias != NULL ? 4u : 0);
    *ret = &c->bound;
    return ENSO_OK;
}
