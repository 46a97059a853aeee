/* SPDX-License-Identifier: Apache-2.0
 *
 * Resizing as Pillow's Image.resize does it, bit for bit: models were trained on pictures that came
 * out of it.
 *
 * Each output pixel is a weighted mean of the input pixels under a filter that is widened by the
 * scale when shrinking (so that every input pixel counts: antialiasing). Rows are filtered first to
 * an 8-bit picture, then columns; weights are fixed-point numbers of 22 fractional bits, sums are
 * rounded and clipped to 0..255 after each pass. NEAREST takes the pixel under the centre.
 *
 * An output window can be asked for: its pixels are exactly those of the whole, but only they are
 * computed. So a centre crop of a very long picture costs what the crop costs.
 *
 * Source of the method: Pillow 9.4 documentation, "Filters", and its observed results
 * (tests/engine/image/golden). Measured: 1300 x 876 RGB to 256 x 256, bilinear, see check_resize.c.
 */
#ifndef ENSO_ENGINE_IMAGE_RESIZE_H
#define ENSO_ENGINE_IMAGE_RESIZE_H

#include "engine/image/image.h"

/* Numbered as Pillow's Image.Resampling, which preprocessor_config.json uses. */
enum enso_resample {
    ENSO_RESAMPLE_NEAREST = 0,
    ENSO_RESAMPLE_LANCZOS = 1,
    ENSO_RESAMPLE_BILINEAR = 2,
    ENSO_RESAMPLE_BICUBIC = 3,
    ENSO_RESAMPLE_BOX = 4,
    ENSO_RESAMPLE_HAMMING = 5,
};
#define ENSO_RESAMPLE_N 6

/* A part of a picture, in pixels. */
struct enso_image_window {
    uint32_t x, y, width, height;
};

/* "bilinear" and so on; NULL for a number that is no filter. */
const char *enso_resample_name(int resample);

/* The filter of that name in lower case, or -1. */
int enso_resample_from_name(const char *name);

/* Resize image to width x height and keep `window` of that (NULL: all of it; else it must lie
 * inside). *ret_image is the caller's, release with enso_image_done.
 * ENSO_INVALID: a side of 0, or a window outside; ENSO_TOO_LARGE: a window of more than 2^28
 * pixels, or sides over 2^26; ENSO_NO_MEMORY. Safe from any thread. */
enum enso_status enso_image_resize(const struct enso_image *image, uint32_t width, uint32_t height,
                                   enum enso_resample resample,
                                   const struct enso_image_window *window,
                                   struct enso_image *ret_image, struct enso_error *err);

#endif
