/* SPDX-License-Identifier: Apache-2.0
 *
 * A decoded picture to a model's input, as a struct enso_image_spec says: resize, centre crop,
 * rescale, normalise, in that order and with the roundings of transformers' numpy pipeline. A crop
 * is computed alone: what lies outside it is never resized, so that a picture of 65535 x 1 costs no
 * more than another.
 *
 * Geometry gives bytes; what rescaling and normalising make of a byte is a table of 256 values for
 * each channel. The model's first operator looks them up (ENSO_OP_PIXELS), so that a picture waits
 * and travels in a quarter of the memory.
 *
 *     const struct enso_image_limits limits = {.channels = spec->channels};
 *     st = enso_image_decode(bytes, size, &limits, &image, err);
 *     st = enso_image_prepare_size(spec, image.width, image.height, &height, &width, err);
 *     uint8_t *pixels = enso_alloc_array((size_t)height * width, spec->channels);
 *     st = enso_image_prepare(spec, &image, pixels, err);
 *     enso_image_table(spec, table);
 *     enso_image_normalise(spec, table, pixels, (size_t)height * width, floats);
 */
#ifndef ENSO_ENGINE_IMAGE_PREPARE_H
#define ENSO_ENGINE_IMAGE_PREPARE_H

#include "engine/image/image.h"
#include "engine/image/spec.h"

/* The shape that a picture of width x height pixels gives. ENSO_INVALID: with
 * ENSO_IMAGE_FIT_NONE, when the picture's size is not the one demanded; ENSO_TOO_LARGE: a side
 * beyond ENSO_IMAGE_SPEC_MAX_SIDE. */
enum enso_status enso_image_prepare_size(const struct enso_image_spec *spec, uint32_t width,
                                         uint32_t height, uint32_t *ret_height, uint32_t *ret_width,
                                         struct enso_error *err);

/*   image  borrowed; decoded to spec->channels channels (else ENSO_INTERNAL)
 *   out    [height, width, channels], channels in the model's order, of the shape that
 *          enso_image_prepare_size gives; undefined on failure
 * Errors as enso_image_prepare_size, and ENSO_NO_MEMORY. Safe from any thread. */
enum enso_status enso_image_prepare(const struct enso_image_spec *spec,
                                    const struct enso_image *image, uint8_t *out,
                                    struct enso_error *err);

/* What each byte of each channel becomes: table [channels, 256]; every step rounds to float. */
#define ENSO_IMAGE_TABLE_SIZE (3 * 256)
void enso_image_table(const struct enso_image_spec *spec, float table[ENSO_IMAGE_TABLE_SIZE]);

/* What the model reads, by that table, from the n_pixels pixels that enso_image_prepare gives: out
 * [channels, n_pixels] (NCHW) or [n_pixels, channels] (NHWC). */
void enso_image_normalise(const struct enso_image_spec *spec, const float *table,
                          const uint8_t *pixels, size_t n_pixels, float *out);

#endif
