/* SPDX-License-Identifier: Apache-2.0
 *
 * Format by magic, limits from the header, then the format's reader, then one pass that turns the
 * picture by its orientation and converts grey to RGB or RGB to grey. The second pass (and its
 * second buffer) is left out when there is nothing to do, which is the common case.
 */
#include "engine/image/image.h"

#include <string.h>

#include "base/memory.h"
#include "engine/image/image_internal.h"

#define DEFAULT_MAX_PIXELS (UINT64_C(64) << 20)
#define DEFAULT_MAX_MEMORY_BYTES (UINT64_C(1) << 30)
#define DEFAULT_MAX_SIDE 65535
#define DEFAULT_MAX_SCANS 100
#define TAKEN "ensod takes JPEG, PNG and WebP"

struct reader {
    const char *name;
    enso__image_probe_fn probe;
    enso__image_decode_fn decode;
};

static const struct reader readers[] = {
    [ENSO_IMAGE_JPEG] = {"JPEG", enso__image_jpeg_probe, enso__image_jpeg_decode},
    [ENSO_IMAGE_PNG] = {"PNG", enso__image_png_probe, enso__image_png_decode},
    [ENSO_IMAGE_WEBP] = {"WebP", enso__image_webp_probe, enso__image_webp_decode},
};

/* Formats we know by sight but do not take. `offset` is where the magic stands. */
static const struct {
    const char *name;
    size_t offset;
    const char *magic;
    size_t size;
} others[] = {
    {"GIF", 0, "GIF8", 4},
    {"TIFF", 0, "II*\0", 4},
    {"TIFF", 0, "MM\0*", 4},
    {"BigTIFF", 0, "II+\0", 4},
    {"BigTIFF", 0, "MM\0+", 4},
    {"AVIF", 4, "ftypavi", 7},
    {"HEIF", 4, "ftyphei", 7},
    {"HEIF", 4, "ftyphev", 7},
    {"HEIF", 4, "ftypmif1", 8},
    {"HEIF", 4, "ftypmsf1", 8},
    {"JPEG 2000", 0, "\0\0\0\x0cjP  ", 8},
    {"JPEG 2000", 0, "\xff\x4f\xff\x51", 4},
    {"JPEG XL", 0, "\0\0\0\x0cJXL ", 8},
    {"JPEG XL", 0, "\xff\x0a", 2},
    {"Photoshop", 0, "8BPS", 4},
    {"QOI", 0, "qoif", 4},
    {"icon", 0, "\0\0\1\0", 4},
    {"PDF", 0, "%PDF", 4},
    {"SVG", 0, "<svg", 4},
    {"XML (SVG?)", 0, "<?xml", 5},
    {"HTML", 0, "<!DOCTYPE", 9},
    {"HTML", 0, "<!doctype", 9},
    {"HTML", 0, "<html", 5},
    {"NumPy", 0, "\x93NUMPY", 6},
    {"gzip", 0, "\x1f\x8b", 2},
    {"ZIP", 0, "PK\3\4", 4},
    {"video (MP4)", 4, "ftyp", 4},
    {"video (Matroska)", 0, "\x1a\x45\xdf\xa3", 4},
    {"base64 text of JPEG", 0, "/9j/", 4},
    {"base64 text of PNG", 0, "iVBORw0KGgo", 11},
    {"base64 text of WebP", 0, "UklGR", 5},
    {"data URL", 0, "data:image/", 11},
    {"JSON", 0, "{\"", 2},
};

const char *enso_image_format_name(enum enso_image_format format)
{
    return (size_t)format < ENSO_ARRAY_SIZE(readers) ? readers[format].name : "unknown";
}

static bool has_magic(const uint8_t *bytes, size_t size, size_t offset, const char *magic, size_t n)
{
    return size >= offset + n && memcmp(bytes + offset, magic, n) == 0;
}

/* BMP has only two letters, so its fixed header is looked at too. */
static bool is_bmp(const uint8_t *bytes, size_t size)
{
    return size >= 18 && bytes[0] == 'B' && bytes[1] == 'M' && bytes[6] == 0 && bytes[7] == 0 &&
           bytes[15] == 0 && bytes[16] == 0 && bytes[17] == 0;
}

/* The bytes themselves are not quoted in errors, which may be logged. */
static bool is_text(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size && i < 32; i++)
        if ((bytes[i] < 0x20 && bytes[i] != '\n' && bytes[i] != '\r' && bytes[i] != '\t') ||
            bytes[i] >= 0x7f)
            return false;
    return true;
}

static enum enso_status refuse_format(const uint8_t *bytes, size_t size, struct enso_error *err)
{
    if (size == 0)
        return enso_error_set(err, ENSO_INVALID,
                              "the picture is empty (0 bytes); send a file, " TAKEN);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(others); i++)
        if (has_magic(bytes, size, others[i].offset, others[i].magic, others[i].size))
            return enso_error_set(err, ENSO_UNSUPPORTED,
                                  "the picture is %s, but " TAKEN "; convert it", others[i].name);
    if (is_bmp(bytes, size))
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "the picture is BMP, but " TAKEN "; convert it");
    return enso_error_set(err, ENSO_UNSUPPORTED, "the %zu bytes are %s; " TAKEN, size,
                          is_text(bytes, size) ? "text, not a picture"
                                               : "no picture format that is known here");
}

static bool find_format(const uint8_t *bytes, size_t size, enum enso_image_format *ret_format)
{
    if (has_magic(bytes, size, 0, "\xff\xd8", 2))
        *ret_format = ENSO_IMAGE_JPEG;
    else if (has_magic(bytes, size, 0, "\x89PNG\r\n\x1a\n", 8))
        *ret_format = ENSO_IMAGE_PNG;
    else if (has_magic(bytes, size, 0, "RIFF", 4) && has_magic(bytes, size, 8, "WEBP", 4))
        *ret_format = ENSO_IMAGE_WEBP;
    else
        return false;
    return true;
}

enum enso_status enso_image_probe(const void *bytes, size_t size_bytes,
                                  struct enso_image_info *ret_info, struct enso_error *err)
{
    enum enso_image_format format;
    if (!find_format(bytes, size_bytes, &format))
        return refuse_format(bytes, size_bytes, err);
    struct enso_image_info info = {.format = format, .orientation = 1};
    enum enso_status st = readers[format].probe(bytes, size_bytes, &info, err);
    if (st != ENSO_OK)
        return st;
    if (info.width == 0 || info.height == 0)
        return enso_error_set(err, ENSO_INVALID,
                              "the %s picture is %u x %u pixels; it has no content",
                              readers[format].name, info.width, info.height);
    *ret_info = info;
    return ENSO_OK;
}

static uint8_t native_channels(const struct enso_image_info *info)
{
    return info->channels == 1 ? 1 : 3;
}

/* Bytes per pixel that the codec holds besides our pixels. */
static uint64_t codec_bytes_per_pixel(const struct enso_image_info *info)
{
    switch (info->format) {
    case ENSO_IMAGE_JPEG: /* 16-bit coefficients of the whole picture */
        return info->multi_pass ? 2 * (uint64_t)info->channels : 0;
    case ENSO_IMAGE_WEBP: /* lossless: the ARGB picture; lossy: at most the alpha plane */
        return 5;
    case ENSO_IMAGE_PNG:
        break;
    }
    return 0;
}

uint64_t enso_image_cost_bytes(const struct enso_image_info *info, uint8_t channels)
{
    uint8_t native = native_channels(info);
    uint64_t per_pixel = native + codec_bytes_per_pixel(info);
    if (native != channels || info->orientation != 1)
        per_pixel += channels;
    uint64_t n_pixels = (uint64_t)info->width * info->height;
    uint64_t bytes;
    /* Codecs round sides up to blocks and keep some rows: 64 bytes for each pixel of one side. */
    if (__builtin_mul_overflow(n_pixels, per_pixel, &bytes) ||
        __builtin_add_overflow(bytes, 256 * ((uint64_t)info->width + info->height), &bytes) ||
        __builtin_add_overflow(bytes, ENSO__IMAGE_CODEC_BASE_BYTES, &bytes))
        return UINT64_MAX;
    return bytes;
}

static enum enso_status check_limits(const struct enso_image_info *info,
                                     const struct enso_image_limits *limits, struct enso_error *err)
{
    const char *name = readers[info->format].name;
    if (info->width > limits->max_side || info->height > limits->max_side)
        return enso_error_set(
            err, ENSO_TOO_LARGE,
            "the %s picture says it is %u x %u pixels, but a side may have at most "
            "%u; send a smaller one",
            name, info->width, info->height, limits->max_side);
    uint64_t n_pixels = (uint64_t)info->width * info->height;
    if (n_pixels > limits->max_pixels)
        return enso_error_set(
            err, ENSO_TOO_LARGE,
            "the %s picture says it is %u x %u = %llu pixels, but at most %llu are "
            "taken; send a smaller one",
            name, info->width, info->height, (unsigned long long)n_pixels,
            (unsigned long long)limits->max_pixels);
    uint64_t cost = enso_image_cost_bytes(info, limits->channels);
    if (cost > limits->max_memory_bytes)
        return enso_error_set(
            err, ENSO_TOO_LARGE,
            "decoding the %s picture of %u x %u pixels would need %llu bytes, but "
            "at most %llu are allowed; send a smaller one",
            name, info->width, info->height, (unsigned long long)cost,
            (unsigned long long)limits->max_memory_bytes);
    return ENSO_OK;
}

static struct enso_image_limits complete_limits(const struct enso_image_limits *limits)
{
    struct enso_image_limits full = limits ? *limits : (struct enso_image_limits){0};
    if (!full.max_pixels)
        full.max_pixels = DEFAULT_MAX_PIXELS;
    if (!full.max_memory_bytes)
        full.max_memory_bytes = DEFAULT_MAX_MEMORY_BYTES;
    if (!full.max_side)
        full.max_side = DEFAULT_MAX_SIDE;
    if (!full.max_scans)
        full.max_scans = DEFAULT_MAX_SCANS;
    if (full.channels != 1)
        full.channels = 3;
    return full;
}

static void copy_pixel(const uint8_t *from, uint8_t n_from, uint8_t *to, uint8_t n_to)
{
    if (n_from == 3 && n_to == 3) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
    } else if (n_to == 1 && n_from == 1) {
        to[0] = from[0];
    } else if (n_from == 1) {
        to[0] = to[1] = to[2] = from[0];
    } else {
        to[0] = (uint8_t)((19595U * from[0] + 38470U * from[1] + 7471U * from[2] + 32768U) >> 16);
    }
}

/* Where the picture's pixel (0, 0) goes, and the way it takes from there for each step right and
 * down: orientation n of EXIF, told in pixels of the turned picture of `width` columns. */
static void turn_steps(const struct enso_image *to, uint8_t orientation, ptrdiff_t *ret_start,
                       ptrdiff_t *ret_right, ptrdiff_t *ret_down)
{
    ptrdiff_t w = to->width, last_x = w - 1, last_y = (ptrdiff_t)(to->height - 1) * w;
    bool mirror_x = false, mirror_y = false, exchange = orientation >= 5;
    switch (orientation) {
    case 2:
        mirror_x = true;
        break;
    case 3:
        mirror_x = mirror_y = true;
        break;
    case 4:
        mirror_y = true;
        break;
    case 6: /* the first row becomes the right column */
        mirror_x = true;
        break;
    case 7:
        mirror_x = mirror_y = true;
        break;
    case 8: /* the first row becomes the left column, upwards */
        mirror_y = true;
        break;
    default:
        break;
    }
    ptrdiff_t step_x = mirror_x ? -1 : 1, step_y = mirror_y ? -w : w;
    *ret_start = (mirror_x ? last_x : 0) + (mirror_y ? last_y : 0);
    *ret_right = exchange ? step_y : step_x;
    *ret_down = exchange ? step_x : step_y;
}

/* Turn and convert `from` into `to`, whose pixels are allocated. */
static void convert(const struct enso_image *from, uint8_t orientation, struct enso_image *to)
{
    ptrdiff_t start, right, down;
    turn_steps(to, orientation, &start, &right, &down);
    const uint8_t *pixel = from->pixels;
    for (uint32_t y = 0; y < from->height; y++) {
        ptrdiff_t at = start + (ptrdiff_t)y * down;
        for (uint32_t x = 0; x < from->width; x++, at += right, pixel += from->channels)
            copy_pixel(pixel, from->channels, to->pixels + at * to->channels, to->channels);
    }
}

/* The sides passed max_side and max_pixels, but those are the caller's: checked all the same. */
static enum enso_status alloc_pixels(struct enso_image *image, struct enso_error *err)
{
    size_t n;
    if (!enso_size_mul(image->width, image->height, &n) || !enso_size_mul(n, image->channels, &n) ||
        n > PTRDIFF_MAX)
        return enso_error_no_memory(err, "a picture's pixels");
    image->pixels = enso_alloc(n);
    return image->pixels ? ENSO_OK : enso_error_no_memory(err, "a picture's pixels");
}

enum enso_status enso_image_decode(const void *bytes, size_t size_bytes,
                                   const struct enso_image_limits *limits,
                                   struct enso_image *ret_image, struct enso_error *err)
{
    struct enso_image_limits full = complete_limits(limits);
    struct enso_image_info info;
    enum enso_status st = enso_image_probe(bytes, size_bytes, &info, err);
    if (st != ENSO_OK)
        return st;
    st = check_limits(&info, &full, err);
    if (st != ENSO_OK)
        return st;

    struct enso_image native = {info.width, info.height, native_channels(&info), NULL};
    struct enso_image turned = {info.width, info.height, full.channels, NULL};
    if (info.orientation >= 5) {
        turned.width = info.height;
        turned.height = info.width;
    }
    st = alloc_pixels(&native, err);
    if (st != ENSO_OK)
        goto out;
    st = readers[info.format].decode(bytes, size_bytes, &info, &full, native.pixels, err);
    if (st != ENSO_OK)
        goto out;
    if (info.orientation == 1 && native.channels == turned.channels) {
        *ret_image = native;
        return ENSO_OK;
    }
    st = alloc_pixels(&turned, err);
    if (st != ENSO_OK)
        goto out;
    convert(&native, info.orientation, &turned);
    *ret_image = turned;
out:
    enso_image_done(&native);
    return st;
}

void enso_image_done(struct enso_image *image)
{
    if (!image)
        return;
    enso_free(image->pixels);
    *image = (struct enso_image){0};
}
