/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of engine/image/: one pair of functions per format. A reader decodes into
 * `native` pixels (1 grey or 3 RGB channels, whatever the file holds, orientation not applied);
 * image.c checks limits before it calls one, and converts and turns afterwards.
 */
#ifndef ENSO_ENGINE_IMAGE_INTERNAL_H
#define ENSO_ENGINE_IMAGE_INTERNAL_H

#include "engine/image/image.h"

/* The smallest memory a codec may use besides the pixels, whatever the limits say. */
#define ENSO__IMAGE_CODEC_BASE_BYTES UINT64_C(2097152)

/* Header of a file whose magic is known to fit; fills all fields of *ret_info but format. */
typedef enum enso_status (*enso__image_probe_fn)(const uint8_t *bytes, size_t size,
                                                 struct enso_image_info *ret_info,
                                                 struct enso_error *err);

/* Decode to pixels [info->height, info->width, native channels], allocated by the caller. `limits`
 * is complete. A file whose size differs from info is refused. */
typedef enum enso_status (*enso__image_decode_fn)(const uint8_t *bytes, size_t size,
                                                  const struct enso_image_info *info,
                                                  const struct enso_image_limits *limits,
                                                  uint8_t *pixels, struct enso_error *err);

enum enso_status enso__image_jpeg_probe(const uint8_t *bytes, size_t size,
                                        struct enso_image_info *ret_info, struct enso_error *err);
enum enso_status enso__image_jpeg_decode(const uint8_t *bytes, size_t size,
                                         const struct enso_image_info *info,
                                         const struct enso_image_limits *limits, uint8_t *pixels,
                                         struct enso_error *err);
enum enso_status enso__image_png_probe(const uint8_t *bytes, size_t size,
                                       struct enso_image_info *ret_info, struct enso_error *err);
enum enso_status enso__image_png_decode(const uint8_t *bytes, size_t size,
                                        const struct enso_image_info *info,
                                        const struct enso_image_limits *limits, uint8_t *pixels,
                                        struct enso_error *err);
enum enso_status enso__image_webp_probe(const uint8_t *bytes, size_t size,
                                        struct enso_image_info *ret_info, struct enso_error *err);
enum enso_status enso__image_webp_decode(const uint8_t *bytes, size_t size,
                                         const struct enso_image_info *info,
                                         const struct enso_image_limits *limits, uint8_t *pixels,
                                         struct enso_error *err);

/* Orientation (tag 0x0112 of the first directory) of an EXIF block, with or without the leading
 * "Exif\0\0"; 1 when there is none or it makes no sense. Reads nothing outside the block. */
uint8_t enso__image_exif_orientation(const uint8_t *exif, size_t size);

#endif
