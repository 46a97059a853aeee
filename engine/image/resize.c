/* SPDX-License-Identifier: Apache-2.0
 *
 * See resize.h for the method. Layout for speed: the horizontal pass reads a row once per output
 * pixel (few taps when enlarging, all pixels once when shrinking); the vertical pass adds whole
 * rows, in strips of STRIP bytes whose 32-bit sums stay in cache and whose loops have fixed counts,
 * so that the compiler makes vector code of them. The picture between the two passes exists only in
 * bands of about a megabyte.
 *
 * Sums are kept as uint32_t: the weights of one output pixel sum to 1 and their magnitudes to less
 * than 2, so 22 + 8 bits fit in an int32_t, and wrapping arithmetic of a broken assumption stays
 * defined.
 */
#include "engine/image/resize.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

#define PRECISION_BITS 22
#define STRIP 64
#define BAND_BYTES ((size_t)1 << 20)
#define MAX_SIDE (UINT32_C(1) << 26)
#define MAX_WINDOW_PIXELS (UINT64_C(1) << 28)

struct filter {
    const char *name;
    double (*weight)(double x);
    double support; /* the weight is 0 beyond this distance */
};

/* The taps of the output pixels of one axis of the window. */
struct taps {
    uint32_t n;       /* output pixels */
    uint32_t stride;  /* weights kept for each, zero beyond its count */
    uint32_t *first;  /* [n] first input pixel; never falls, nor does first + count */
    uint32_t *count;  /* [n] input pixels, at least 1 */
    int32_t *weights; /* [n, stride] fixed point */
};

static double weight_box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double weight_bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double weight_hamming(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= M_PI;
    return sin(x) / x * (0.54F + 0.46F * cos(x)); /* in single precision, as there */
}

/* Keys' cubic with a = -1/2. */
static double weight_bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double weight_lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct filter filters[ENSO_RESAMPLE_N] = {
    [ENSO_RESAMPLE_NEAREST] = {"nearest", NULL, 0.0},
    [ENSO_RESAMPLE_LANCZOS] = {"lanczos", weight_lanczos, 3.0},
    [ENSO_RESAMPLE_BILINEAR] = {"bilinear", weight_bilinear, 1.0},
    [ENSO_RESAMPLE_BICUBIC] = {"bicubic", weight_bicubic, 2.0},
    [ENSO_RESAMPLE_BOX] = {"box", weight_box, 0.5},
    [ENSO_RESAMPLE_HAMMING] = {"hamming", weight_hamming, 1.0},
};

const char *enso_resample_name(int resample)
{
    return resample >= 0 && resample < ENSO_RESAMPLE_N ? filters[resample].name : NULL;
}

int enso_resample_from_name(const char *name)
{
    for (int i = 0; i < ENSO_RESAMPLE_N; i++)
        if (strcmp(filters[i].name, name) == 0)
            return i;
    return -1;
}

static void taps_done(struct taps *t)
{
    enso_free(t->first);
    enso_free(t->count);
    enso_free(t->weights);
}

/* The weights of output pixel `out` into the first count slots; `scratch` holds stride doubles. */
static void taps_fill(struct taps *t, uint32_t i, uint32_t out, uint32_t n_input, double scale,
                      const struct filter *filter, double *scratch)
{
    double filter_scale = scale < 1.0 ? 1.0 : scale;
    double support = filter->support * filter_scale;
    double center = (out + 0.5) * scale;
    double low = center - support + 0.5, high = center + support + 0.5;
    uint32_t first = low > 0.0 ? (uint32_t)low : 0;
    uint32_t end = high < (double)n_input ? (uint32_t)high : n_input;
    if (first >=
        n_input) /* not for any true scale; keeps the indices valid whatever rounding does */
        first = n_input - 1;
    uint32_t count = end > first ? ENSO_MIN(end - first, t->stride) : 1;
    double sum = 0.0, inverse = 1.0 / filter_scale;
    for (uint32_t k = 0; k < count; k++) {
        scratch[k] = filter->weight(((double)k + (double)first - center + 0.5) * inverse);
        sum += scratch[k];
    }
    int32_t *weights = t->weights + (size_t)i * t->stride;
    for (uint32_t k = 0; k < count; k++) {
        double w = sum != 0.0 ? scratch[k] / sum : scratch[k];
        w *= 1 << PRECISION_BITS;
        weights[k] = w < 0.0 ? (int32_t)(w - 0.5) : (int32_t)(w + 0.5);
    }
    t->first[i] = first;
    t->count[i] = count;
}

/* On failure too, taps_done(t) is the caller's to call.
 * Taps for outputs [start, start + n) of an axis of n_input pixels resized to n_output. */
static enum enso_status taps_init(struct taps *t, uint32_t n_input, uint32_t n_output,
                                  uint32_t start, uint32_t n, const struct filter *filter,
                                  struct enso_error *err)
{
    double scale = (double)n_input / n_output;
    double support = filter->support * (scale < 1.0 ? 1.0 : scale);
    *t = (struct taps){.n = n, .stride = (uint32_t)ceil(support) * 2 + 1};
    size_t n_weights;
    t->first = enso_alloc_array(n, sizeof *t->first);
    t->count = enso_alloc_array(n, sizeof *t->count);
    if (enso_size_mul(n, t->stride, &n_weights))
        t->weights = enso_alloc_zero(n_weights, sizeof *t->weights);
    double *scratch = enso_alloc_array(t->stride, sizeof *scratch);
    if (!t->first || !t->count || !t->weights || !scratch) {
        enso_free(scratch);
        return enso_error_no_memory(err, "the weights of a resize"); /* the caller releases t */
    }
    for (uint32_t i = 0; i < n; i++)
        taps_fill(t, i, start + i, n_input, scale, filter, scratch);
    enso_free(scratch);
    return ENSO_OK;
}

static uint8_t round_and_clip(uint32_t sum)
{
    int32_t v = (int32_t)sum >> PRECISION_BITS;
    return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

#define HALF (UINT32_C(1) << (PRECISION_BITS - 1))

static void filter_row_rgb(const uint8_t *in, const struct taps *t, uint8_t *out)
{
    for (uint32_t i = 0; i < t->n; i++, out += 3) {
        const uint8_t *p = in + (size_t)t->first[i] * 3;
        const int32_t *w = t->weights + (size_t)i * t->stride;
        uint32_t r = HALF, g = HALF, b = HALF;
        for (uint32_t k = 0; k < t->count[i]; k++, p += 3) {
            uint32_t wk = (uint32_t)w[k];
            r += p[0] * wk;
            g += p[1] * wk;
            b += p[2] * wk;
        }
        out[0] = round_and_clip(r);
        out[1] = round_and_clip(g);
        out[2] = round_and_clip(b);
    }
}

static void filter_row_grey(const uint8_t *in, const struct taps *t, uint8_t *out)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const uint8_t *p = in + t->first[i];
        const int32_t *w = t->weights + (size_t)i * t->stride;
        uint32_t sum = HALF;
        for (uint32_t k = 0; k < t->count[i]; k++)
            sum += p[k] * (uint32_t)w[k];
        out[i] = round_and_clip(sum);
    }
}

/* One strip of an output row: `width` bytes (at most STRIP) of `count` rows, `pitch` apart. */
static void filter_strip(const uint8_t *in, size_t pitch, const int32_t *weights, uint32_t count,
                         uint8_t *out, size_t width)
{
    uint32_t sums[STRIP];
    for (size_t x = 0; x < STRIP; x++)
        sums[x] = HALF;
    for (uint32_t k = 0; k < count; k++, in += pitch) {
        uint32_t w = (uint32_t)weights[k];
        if (width == STRIP)
            for (size_t x = 0; x < STRIP; x++)
                sums[x] += in[x] * w;
        else
            for (size_t x = 0; x < width; x++)
                sums[x] += in[x] * w;
    }
    for (size_t x = 0; x < width; x++)
        out[x] = round_and_clip(sums[x]);
}

/* Outputs [from, to) of the vertical pass; row 0 of `in` is input row first_row. */
static void filter_columns(const uint8_t *in, uint32_t first_row, size_t in_pitch, size_t row_bytes,
                           const struct taps *t, uint32_t from, uint32_t to, uint8_t *out)
{
    for (uint32_t i = from; i < to; i++) {
        const uint8_t *rows = in + (size_t)(t->first[i] - first_row) * in_pitch;
        const int32_t *weights = t->weights + (size_t)i * t->stride;
        uint8_t *row = out + i * row_bytes;
        for (size_t x = 0; x < row_bytes; x += STRIP)
            filter_strip(rows + x, in_pitch, weights, t->count[i], row + x,
                         ENSO_MIN((size_t)STRIP, row_bytes - x));
    }
}

static enum enso_status alloc_image(struct enso_image *image, uint32_t width, uint32_t height,
                                    uint8_t channels, struct enso_error *err)
{
    size_t n;
    *image = (struct enso_image){width, height, channels, NULL};
    if (enso_size_mul(width, height, &n) && enso_size_mul(n, channels, &n))
        image->pixels = enso_alloc(n);
    return image->pixels ? ENSO_OK : enso_error_no_memory(err, "a resized picture");
}

/* The window of a picture as it is. */
static void copy_window(const struct enso_image *image, const struct enso_image_window *window,
                        struct enso_image *out)
{
    size_t c = image->channels, pitch = image->width * c, row_bytes = window->width * c;
    for (uint32_t y = 0; y < window->height; y++)
        memcpy(out->pixels + y * row_bytes,
               image->pixels + (window->y + (size_t)y) * pitch + window->x * c, row_bytes);
}

/* The input pixel under each output pixel. Positions are added up step by step from the first, as
 * Pillow does: the rounding errors of the sum decide ties. */
static void nearest_positions(uint32_t n_input, uint32_t n_output, uint32_t start, uint32_t n,
                              uint32_t *positions)
{
    double step = (double)n_input / n_output, position = step * 0.5;
    for (uint32_t i = 0; i < start + n; i++, position += step)
        if (i >= start)
            positions[i - start] = position < n_input ? (uint32_t)position : n_input - 1;
}

static enum enso_status resize_nearest(const struct enso_image *image, uint32_t width,
                                       uint32_t height, const struct enso_image_window *window,
                                       struct enso_image *out, struct enso_error *err)
{
    uint32_t *xs = enso_alloc_array(window->width, sizeof *xs);
    uint32_t *ys = enso_alloc_array(window->height, sizeof *ys);
    if (!xs || !ys) {
        enso_free(xs);
        enso_free(ys);
        return enso_error_no_memory(err, "the positions of a resize");
    }
    nearest_positions(image->width, width, window->x, window->width, xs);
    nearest_positions(image->height, height, window->y, window->height, ys);
    size_t c = image->channels, pitch = image->width * c;
    uint8_t *to = out->pixels;
    for (uint32_t y = 0; y < window->height; y++)
        for (uint32_t x = 0; x < window->width; x++)
            for (size_t k = 0; k < c; k++)
                *to++ = image->pixels[ys[y] * pitch + xs[x] * c + k];
    enso_free(xs);
    enso_free(ys);
    return ENSO_OK;
}

/* The horizontal pass over input rows [from, to). */
static void filter_rows(const struct enso_image *image, const struct taps *taps, uint32_t from,
                        uint32_t to, uint8_t *out)
{
    size_t in_pitch = (size_t)image->width * image->channels;
    size_t out_pitch = (size_t)taps->n * image->channels;
    for (uint32_t y = from; y < to; y++, out += out_pitch) {
        const uint8_t *in = image->pixels + y * in_pitch;
        if (image->channels == 3)
            filter_row_rgb(in, taps, out);
        else
            filter_row_grey(in, taps, out);
    }
}

/* Both passes, in bands: as many output rows at a time as have their input rows, filtered across,
 * in about BAND_BYTES. Rows that two bands need are moved, not filtered again. */
static enum enso_status filter_bands(const struct enso_image *image, const struct taps *across,
                                     const struct taps *down, uint8_t *out, struct enso_error *err)
{
    size_t row_bytes = (size_t)across->n * image->channels, capacity = BAND_BYTES / row_bytes;
    for (uint32_t i = 0; i < down->n; i++)
        capacity = ENSO_MAX(capacity, (size_t)down->count[i]);
    uint8_t *band = enso_alloc_array(capacity, row_bytes);
    if (!band)
        return enso_error_no_memory(err, "the rows of a resize");
    uint32_t have_first = 0, have_end = 0; /* the input rows in band */
    for (uint32_t i = 0, next; i < down->n; i = next) {
        uint32_t first = down->first[i], end = first;
        for (next = i; next < down->n && down->first[next] + down->count[next] - first <= capacity;
             next++)
            end = down->first[next] + down->count[next];
        uint32_t start = ENSO_MAX(first, have_end);
        if (start > first)
            memmove(band, band + (first - have_first) * row_bytes, (start - first) * row_bytes);
        filter_rows(image, across, start, end, band + (start - first) * row_bytes);
        have_first = first;
        have_end = end;
        filter_columns(band, first, row_bytes, row_bytes, down, i, next, out);
    }
    enso_free(band);
    return ENSO_OK;
}

/* At least one side changes; an axis that keeps its size is not filtered at all. */
static enum enso_status resize_filtered(const struct enso_image *image, uint32_t width,
                                        uint32_t height, const struct filter *filter,
                                        const struct enso_image_window *window,
                                        struct enso_image *out, struct enso_error *err)
{
    struct taps across = {0}, down = {0};
    size_t c = image->channels, in_pitch = image->width * c;
    enum enso_status st = ENSO_OK;
    if (width != image->width)
        st = taps_init(&across, image->width, width, window->x, window->width, filter, err);
    if (st == ENSO_OK && height != image->height)
        st = taps_init(&down, image->height, height, window->y, window->height, filter, err);
    if (st != ENSO_OK)
        goto out;
    if (height == image->height)
        filter_rows(image, &across, window->y, window->y + window->height, out->pixels);
    else if (width == image->width)
        filter_columns(image->pixels + window->x * c, 0, in_pitch, window->width * c, &down, 0,
                       down.n, out->pixels);
    else
        st = filter_bands(image, &across, &down, out->pixels, err);
out:
    taps_done(&across);
    taps_done(&down);
    return st;
}

enum enso_status enso_image_resize(const struct enso_image *image, uint32_t width, uint32_t height,
                                   enum enso_resample resample,
                                   const struct enso_image_window *window,
                                   struct enso_image *ret_image, struct enso_error *err)
{
    const struct enso_image_window all = {0, 0, width, height};
    if (!window)
        window = &all;
    if (width == 0 || height == 0 || window->width == 0 || window->height == 0)
        return enso_error_set(err, ENSO_INVALID, "a picture cannot be resized to %u x %u pixels",
                              width, height);
    if (window->x > width || window->width > width - window->x || window->y > height ||
        window->height > height - window->y)
        return enso_error_set(err, ENSO_INVALID,
                              "the window of %u x %u pixels at %u, %u lies outside a picture of "
                              "%u x %u",
                              window->width, window->height, window->x, window->y, width, height);
    if (width > MAX_SIDE || height > MAX_SIDE ||
        (uint64_t)window->width * window->height > MAX_WINDOW_PIXELS)
        return enso_error_set(err, ENSO_TOO_LARGE,
                              "a picture would be resized to %u x %u pixels, which is too large",
                              width, height);
    struct enso_image out;
    enum enso_status st = alloc_image(&out, window->width, window->height, image->channels, err);
    if (st != ENSO_OK)
        return st;
    if (width == image->width && height == image->height)
        copy_window(image, window, &out);
    else if (resample == ENSO_RESAMPLE_NEAREST)
        st = resize_nearest(image, width, height, window, &out, err);
    else
        st = resize_filtered(image, width, height, &filters[resample], window, &out, err);
    if (st == ENSO_OK)
        *ret_image = out;
    else
        enso_image_done(&out);
    return st;
}
