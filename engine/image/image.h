/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures from bytes: JPEG, PNG and WebP to 8-bit RGB or grey.
 *
 * The bytes come from strangers. The format is told by the first bytes, never by a name or a
 * content type; sizes are checked in the header before anything of the picture's size is allocated;
 * ancillary chunks (text, colour profiles) are never inflated; a progressive JPEG is bounded in
 * scans and memory; a picture that breaks off or is damaged is refused with a sentence, not half
 * decoded. Threads: no state, any function from any thread.
 *
 * The pixels are those that PIL.ImageOps.exif_transpose(Image.open(f)).convert("RGB") gives, since
 * that is what models were trained and evaluated with:
 *   - the EXIF orientation (of JPEG, PNG eXIf and WebP EXIF) is applied,
 *   - transparency is dropped, not blended: what lies under a transparent pixel shows,
 *   - gamma and colour profiles are ignored,
 *   - CMYK JPEG is taken as Adobe writes it (inverted) and converted without a profile,
 *   - an animated WebP gives its first frame on a black canvas,
 *   - grey from colour is (19595 R + 38470 G + 7471 B + 32768) >> 16, as convert("L").
 * One deliberate difference: 16-bit grey PNG gives the high byte, where old Pillow clips at 255.
 *
 *     struct enso_image image;
 *     st = enso_image_decode(bytes, size, NULL, &image, err);
 *     ...
 *     enso_image_done(&image);
 *
 * Formats: ITU T.81 and JFIF 1.02 (libjpeg-turbo), PNG 1.2 (libpng), RFC 9649 (libwebp), EXIF 2.3.
 */
#ifndef ENSO_ENGINE_IMAGE_IMAGE_H
#define ENSO_ENGINE_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

/* A decoded picture: rows from the top, pixels from the left, channels interleaved, no padding. */
struct enso_image {
    uint32_t width, height; /* at least 1 */
    uint8_t channels;       /* 3 RGB or 1 grey */
    uint8_t *pixels;        /* [height, width, channels], owned */
};

enum enso_image_format {
    ENSO_IMAGE_JPEG,
    ENSO_IMAGE_PNG,
    ENSO_IMAGE_WEBP,
};

/* What the header says. */
struct enso_image_info {
    enum enso_image_format format;
    uint32_t width, height; /* as stored, before the orientation is applied */
    uint8_t channels;       /* colour channels as stored: 1 grey, 3 RGB or palette, 4 CMYK */
    uint8_t orientation;    /* EXIF, 1 to 8; 5 to 8 exchange width and height */
    bool alpha;             /* has transparency (which decoding drops) */
    bool multi_pass;        /* progressive or interlaced: needs memory for the whole picture */
};

/* What a decode may cost. A zero field means its default. */
struct enso_image_limits {
    uint64_t max_pixels;       /* width × height; default 64 Mi */
    uint64_t max_memory_bytes; /* pixels and what the codec needs, estimated; default 1 GiB */
    uint32_t max_side;         /* width and height; default 65535 */
    uint32_t max_scans;        /* of a progressive JPEG; default 100 (encoders write about 10) */
    uint8_t channels;          /* what to give: 3 RGB (default) or 1 grey */
};

/* Read the header alone (and the EXIF block): no pixel is decoded, nothing of the picture's size is
 * allocated, and no size limit is applied.
 * ENSO_UNSUPPORTED: another format (named), or a coding the libraries cannot decode;
 * ENSO_INVALID: empty, no picture at all, or a broken header. */
enum enso_status enso_image_probe(const void *bytes, size_t size_bytes,
                                  struct enso_image_info *ret_info, struct enso_error *err);

/* Decode. limits may be NULL: all defaults. *ret_image is the caller's, release with
 * enso_image_done; untouched on failure.
 * As probe, and ENSO_TOO_LARGE: over a limit, told by the header (or scans counted on the way);
 * ENSO_INVALID: truncated or damaged; ENSO_NO_MEMORY. */
enum enso_status enso_image_decode(const void *bytes, size_t size_bytes,
                                   const struct enso_image_limits *limits,
                                   struct enso_image *ret_image, struct enso_error *err);

/* Release the pixels; the struct is empty again. NULL and an empty struct are fine. */
void enso_image_done(struct enso_image *image);

/* An estimate, from above, of the bytes that decoding to `channels` (1 or 3) needs at its peak, for
 * whoever keeps a budget. Saturates at UINT64_MAX. */
uint64_t enso_image_cost_bytes(const struct enso_image_info *info, uint8_t channels);

/* "JPEG", "PNG", "WebP"; never NULL. */
const char *enso_image_format_name(enum enso_image_format format);

#endif
