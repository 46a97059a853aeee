/* SPDX-License-Identifier: Apache-2.0
 *
 * A decoded picture to a model's float input, as a struct enso_image_spec says: resize, centre
 * crop, rescale, normalise, in that order and with the roundings of transformers' numpy pipeline.
 * A crop is computed alone: what lies outside it is never resized, so that a picture of 65535 x 1
 * costs no more than another.
 *
 *     const struct enso_image_limits limits = {.channels = spec->channels};
 *     st = enso_image_decode(bytes, size, &limits, &image, err);
 *     st = enso_image_prepare_size(spec, image.width, image.height, &height, &width, err);
 *     float *out = enso_alloc_array((size_t)height * width * spec->channels, sizeof *out);
 *     st = enso_image_prepare(spec, &image, out, err);
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
 *   out    [channels, height, width] (NCHW) or [height, width, channels] (NHWC) f32, of the shape
 *          that enso_image_prepare_size gives; undefined on failure
 * Errors as enso_image_prepare_size, and ENSO_NO_MEMORY. Safe from any thread. */
enum enso_status enso_image_prepare(const struct enso_image_spec *spec,
                                    const struct enso_image *image, float *out,
                                    struct enso_error *err);

#endif
