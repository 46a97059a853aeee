/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG by libpng's low-level interface with our own error, warning, memory and read functions.
 * libpng reports errors by a callback that must not return: it jumps back to run(), which holds
 * nothing that would leak.
 *
 * Ancillary chunks (zTXt, iTXt, iCCP and the like) are not looked at, so that a compressed text of
 * 60 MB costs nothing; the orientation of eXIf is found by a walk over the chunk headers of our
 * own. A damaged critical chunk is an error; what comes after the last row is not read.
 *
 * Values as Pillow gives them: 1, 2 and 4 bits are spread over 0..255, 16 bits give the high byte,
 * a palette gives its colours, alpha and tRNS are dropped, gAMA is ignored.
 */
#include "engine/image/image_internal.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "base/memory.h"

struct png_reader {
    png_structp png;
    png_infop png_info;
    jmp_buf jump;
    enum enso_status status;
    struct enso_error *err;
    const uint8_t *bytes;
    size_t size, offset;
    struct enso_image_info info;
    uint8_t *pixels; /* borrowed: where rows go */
    bool no_memory;  /* libpng words it in many ways */
};

static void PNGCBAPI on_error(png_structp png, png_const_charp text)
{
    struct png_reader *r = png_get_error_ptr(png);
    if (r->status == ENSO_OK) {
        r->status = r->no_memory ? ENSO_NO_MEMORY : ENSO_INVALID;
        if (r->no_memory)
            enso_error_no_memory(r->err, "decoding a PNG picture");
        else
            enso_error_set(r->err, ENSO_INVALID, "the PNG picture is damaged: %s", text);
    }
    longjmp(r->jump, 1);
}

static void PNGCBAPI on_warning(png_structp png ENSO_UNUSED, png_const_charp text ENSO_UNUSED)
{
}

static png_voidp PNGCBAPI on_alloc(png_structp png, png_alloc_size_t size)
{
    struct png_reader *r = png_get_mem_ptr(png);
    void *p = enso_alloc(size);
    if (!p)
        r->no_memory = true;
    return p;
}

static void PNGCBAPI on_free(png_structp png ENSO_UNUSED, png_voidp p)
{
    enso_free(p);
}

static void PNGCBAPI on_read(png_structp png, png_bytep out, size_t n)
{
    struct png_reader *r = png_get_io_ptr(png);
    if (n > r->size - r->offset) {
        r->status = ENSO_INVALID;
        enso_error_set(
            r->err, ENSO_INVALID,
            "the PNG picture breaks off after %zu bytes (truncated); send the whole file", r->size);
        png_error(png, "truncated");
    }
    memcpy(out, r->bytes + r->offset, n);
    r->offset += n;
}

static void open_step(struct png_reader *r)
{
    png_set_read_fn(r->png, r, on_read);
    /* -1: every ancillary chunk but tRNS is skipped, known to libpng or not. */
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    /* Skipped chunks may be of any length, since nothing is allocated for them. */
    png_set_chunk_malloc_max(r->png, PNG_UINT_31_MAX);
    png_read_info(r->png, r->png_info);
}

/* The header alone: IHDR stands first and has a fixed place, no library is needed to read it. */
static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Look at the chunk headers for eXIf (which may stand before or after the pixels) and tRNS. */
static void walk_chunks(const uint8_t *bytes, size_t size, struct enso_image_info *info)
{
    size_t offset = 8;
    while (size - offset >= 12) {
        size_t length = read32(bytes + offset);
        const uint8_t *type = bytes + offset + 4;
        if (length > size - offset - 12 || memcmp(type, "IEND", 4) == 0)
            return;
        if (memcmp(type, "tRNS", 4) == 0)
            info->alpha = true;
        if (memcmp(type, "eXIf", 4) == 0) {
            info->orientation = enso__image_exif_orientation(type + 4, length);
            return;
        }
        offset += length + 12;
    }
}

enum enso_status enso__image_png_probe(const uint8_t *bytes, size_t size,
                                       struct enso_image_info *ret_info, struct enso_error *err)
{
    static const uint8_t depths_of_type[7] = {
        [0] = 1 | 2 | 4 | 8 | 16, [2] = 8 | 16, [3] = 1 | 2 | 4 | 8, [4] = 8 | 16, [6] = 8 | 16};
    if (size < 33)
        return enso_error_set(
            err, ENSO_INVALID,
            "the PNG picture breaks off in its header after %zu bytes (truncated); "
            "send the whole file",
            size);
    if (read32(bytes + 8) != 13 || memcmp(bytes + 12, "IHDR", 4) != 0)
        return enso_error_set(err, ENSO_INVALID,
                              "the PNG picture is damaged: it does not begin with IHDR");
    uint8_t depth = bytes[24], type = bytes[25];
    if (type > 6 || (depth & (depth - 1)) != 0 || (depths_of_type[type] & depth) == 0)
        return enso_error_set(err, ENSO_INVALID,
                              "the PNG picture is damaged: bit depth %u with colour type %u is not "
                              "PNG",
                              depth, type);
    struct enso_image_info info = {
        .format = ENSO_IMAGE_PNG,
        .width = read32(bytes + 16),
        .height = read32(bytes + 20),
        .channels = type == 0 || type == 4 ? 1 : 3,
        .orientation = 1,
        .alpha = type >= 4,
        .multi_pass = bytes[28] == 1,
    };
    walk_chunks(bytes, size, &info);
    *ret_info = info;
    return ENSO_OK;
}

static void decode_step(struct png_reader *r)
{
    open_step(r);
    png_structp png = r->png;
    if (png_get_image_width(png, r->png_info) != r->info.width ||
        png_get_image_height(png, r->png_info) != r->info.height)
        png_error(png, "the header is not the first one");
    png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_color_type(png, r->png_info) == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    int n_passes = png_set_interlace_handling(png);
    png_read_update_info(png, r->png_info);
    size_t row_bytes = (size_t)r->info.width * (r->info.channels == 1 ? 1 : 3);
    if (png_get_rowbytes(png, r->png_info) != row_bytes)
        png_error(png, "rows have an unexpected size");
    for (int pass = 0; pass < n_passes; pass++)
        for (uint32_t y = 0; y < r->info.height; y++)
            png_read_row(png, r->pixels + y * row_bytes, NULL);
}

/* Nothing but r lives across the jump, and r is not changed here. */
static enum enso_status run(struct png_reader *r)
{
    if (setjmp(r->jump))
        return r->status;
    r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r, on_alloc,
                                      on_free);
    r->png_info = r->png ? png_create_info_struct(r->png) : NULL;
    if (!r->png_info)
        return enso_error_no_memory(r->err, "decoding a PNG picture");
    decode_step(r);
    return ENSO_OK;
}

enum enso_status enso__image_png_decode(const uint8_t *bytes, size_t size,
                                        const struct enso_image_info *info,
                                        const struct enso_image_limits *limits ENSO_UNUSED,
                                        uint8_t *pixels, struct enso_error *err)
{
    struct png_reader r = {
        .bytes = bytes, .size = size, .info = *info, .pixels = pixels, .err = err};
    enum enso_status st = run(&r);
    png_destroy_read_struct(&r.png, &r.png_info, NULL);
    return st;
}
