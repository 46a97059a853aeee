/* SPDX-License-Identifier: Apache-2.0
 *
 * A sample has only 256 values, so rescaling and normalising are a table per channel, computed with
 * the reference's roundings; the rest is geometry. Padding is not inverted: it is the byte that
 * inverting makes 0.
 */
#include "engine/image/prepare.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

/* Where things lie: the picture is (virtually) resized to fit_width x fit_height, `window` of that
 * is computed, and put at (x, y) of the output of width x height, the rest of which is padding. */
struct geometry {
    uint32_t fit_width, fit_height;
    struct enso_image_window window;
    uint32_t x, y, width, height;
};

/* The longer side of a fit of the shorter: as Python's int(short * long / short_now). */
static uint64_t scaled_side(uint32_t new_short, uint32_t side, uint32_t old_short)
{
    return (uint64_t)((double)((uint64_t)new_short * side) / (double)old_short);
}

static enum enso_status fit(const struct enso_image_spec *spec, uint32_t width, uint32_t height,
                            struct geometry *g, struct enso_error *err)
{
    uint64_t new_width = width, new_height = height;
    if (spec->fit == ENSO_IMAGE_FIT_EXACT) {
        new_width = spec->width;
        new_height = spec->height;
    } else if (spec->fit == ENSO_IMAGE_FIT_SHORTEST) {
        uint32_t edge = spec->height;
        new_width = width <= height ? edge : scaled_side(edge, width, height);
        new_height = width <= height ? scaled_side(edge, height, width) : edge;
    } else if ((spec->width && spec->width != width) || (spec->height && spec->height != height)) {
        return enso_error_set(
            err, ENSO_INVALID,
            "the picture is %u x %u pixels, but the model takes %u x %u; resize it", width, height,
            spec->width, spec->height);
    }
    uint64_t limit = spec->crop ? UINT32_MAX : ENSO_IMAGE_SPEC_MAX_SIDE;
    if (new_width > limit || new_height > limit)
        return enso_error_set(
            err, ENSO_TOO_LARGE,
            "the picture of %u x %u pixels would become %llu x %llu for the model, "
            "but a side may have at most %llu; crop it",
            width, height, (unsigned long long)new_width, (unsigned long long)new_height,
            (unsigned long long)limit);
    g->fit_width = (uint32_t)new_width;
    g->fit_height = (uint32_t)new_height;
    return ENSO_OK;
}

/* One axis of a centre crop: `crop` of `side` pixels. */
static void crop_axis(uint32_t side, uint32_t crop, enum enso_image_centre centre,
                      uint32_t *ret_from, uint32_t *ret_size, uint32_t *ret_to)
{
    *ret_from = *ret_to = 0;
    *ret_size = ENSO_MIN(side, crop);
    if (side >= crop) {
        uint32_t spare = side - crop;
        *ret_from = spare / 2;
        /* Python's round(spare / 2): to even. */
        if (centre == ENSO_IMAGE_CENTRE_TORCHVISION && spare % 4 == 3)
            *ret_from += 1;
    } else {
        uint32_t missing = crop - side;
        *ret_to = centre == ENSO_IMAGE_CENTRE_TORCHVISION ? missing / 2 : (missing + 1) / 2;
    }
}

static enum enso_status find_geometry(const struct enso_image_spec *spec, uint32_t width,
                                      uint32_t height, struct geometry *g, struct enso_error *err)
{
    *g = (struct geometry){0};
    enum enso_status st = fit(spec, width, height, g, err);
    if (st != ENSO_OK)
        return st;
    g->width = spec->crop ? spec->crop_width : g->fit_width;
    g->height = spec->crop ? spec->crop_height : g->fit_height;
    crop_axis(g->fit_width, g->width, spec->centre, &g->window.x, &g->window.width, &g->x);
    crop_axis(g->fit_height, g->height, spec->centre, &g->window.y, &g->window.height, &g->y);
    return ENSO_OK;
}

enum enso_status enso_image_prepare_size(const struct enso_image_spec *spec, uint32_t width,
                                         uint32_t height, uint32_t *ret_height, uint32_t *ret_width,
                                         struct enso_error *err)
{
    struct geometry g;
    enum enso_status st = find_geometry(spec, width, height, &g, err);
    if (st != ENSO_OK)
        return st;
    *ret_height = g.height;
    *ret_width = g.width;
    return ENSO_OK;
}

/* What the sample v of output channel c becomes; every step rounds to float. */
static float value_of(const struct enso_image_spec *spec, unsigned v, unsigned c)
{
    float x = (float)v;
    if (spec->rescale) {
        x = (float)((double)v * spec->scale);
        x = x + spec->offset;
    }
    if (spec->normalise) {
        x = x - spec->mean[c];
        x = x / spec->std[c];
    }
    if (spec->divide_again)
        x = x / spec->std[c];
    return x;
}

void enso_image_table(const struct enso_image_spec *spec, float table[ENSO_IMAGE_TABLE_SIZE])
{
    for (unsigned c = 0; c < spec->channels; c++)
        for (unsigned v = 0; v < 256; v++)
            table[c * 256 + v] = value_of(spec, spec->invert ? 255 - v : v, c);
}

void enso_image_normalise(const struct enso_image_spec *spec, const float *table,
                          const uint8_t *pixels, size_t n_pixels, float *out)
{
    size_t channels = spec->channels;
    bool planes = spec->layout == ENSO_IMAGE_NCHW;

    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < n_pixels; i++)
            out[planes ? c * n_pixels + i : i * channels + c] =
                table[c * 256 + pixels[i * channels + c]];
}

/* The picture's part of the output, `pixels` [window.height, window.width, channels], into it. */
static void fill_pixels(const struct enso_image_spec *spec, const struct geometry *g,
                        const uint8_t *pixels, uint8_t *out)
{
    size_t channels = spec->channels, row = g->window.width * channels;

    for (uint32_t y = 0; y < g->window.height; y++, pixels += row) {
        uint8_t *to = out + ((size_t)(g->y + y) * g->width + g->x) * channels;

        memcpy(to, pixels, row);
        for (size_t x = 0; spec->bgr && channels == 3 && x < row; x += 3) {
            to[x] = pixels[x + 2];
            to[x + 2] = pixels[x];
        }
    }
}

enum enso_status enso_image_prepare(const struct enso_image_spec *spec,
                                    const struct enso_image *image, uint8_t *out,
                                    struct enso_error *err)
{
    if (image->channels != spec->channels)
        return enso_error_set(err, ENSO_INTERNAL,
                              "a picture of %u channels was given to a model of %u",
                              image->channels, spec->channels);
    struct geometry g;
    enum enso_status st = find_geometry(spec, image->width, image->height, &g, err);
    if (st != ENSO_OK)
        return st;
    struct enso_image part = {0};
    bool as_is = g.fit_width == image->width && g.fit_height == image->height &&
                 g.window.width == image->width && g.window.height == image->height;
    if (!as_is)
        st = enso_image_resize(image, g.fit_width, g.fit_height, spec->resample, &g.window, &part,
                               err);
    if (st != ENSO_OK)
        return st;
    if (g.window.width != g.width || g.window.height != g.height)
        memset(out, spec->invert ? 255 : 0, (size_t)g.width * g.height * spec->channels);
    fill_pixels(spec, &g, as_is ? image->pixels : part.pixels, out);
    enso_image_done(&part);
    return ENSO_OK;
}
