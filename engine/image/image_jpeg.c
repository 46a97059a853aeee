/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG by libjpeg-turbo, with its defaults (accurate integer DCT, fancy upsampling), as Pillow uses
 * it. The library reports errors by a callback that must not return: it jumps back to run(), which
 * holds nothing that would leak; everything allocated hangs on struct jpeg_reader and is released
 * by reader_done on every way out.
 *
 * Stricter than Pillow in one thing: warnings that mean lost picture data (a bad Huffman code, a
 * scan that ends early, a lost restart marker) are errors here; the library would go on with grey.
 * The stream must reach its end marker; what follows that is ignored.
 *
 * Bounds: the coefficient memory of progressive files by max_memory_to_use, the number of scans by
 * the progress callback.
 */
#include "engine/image/image_internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/memory.h"

struct jpeg_reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    enum enso_status status;
    struct enso_error *err;
    const uint8_t *bytes;
    size_t size;
    uint32_t max_scans;
    struct enso_image_info info;
    uint8_t *pixels;   /* borrowed: where rows go */
    uint8_t *cmyk_row; /* owned: [width, 4] of a CMYK file */
    long max_memory;
};

static ENSO_NORETURN void fail(struct jpeg_reader *r, enum enso_status st)
{
    r->status = st;
    longjmp(r->jump, 1);
}

static enum enso_status status_of_code(int code)
{
    switch (code) {
    case JERR_OUT_OF_MEMORY:
        return ENSO_NO_MEMORY;
    case JERR_NO_BACKING_STORE:
    case JERR_IMAGE_TOO_BIG:
        return ENSO_TOO_LARGE;
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
        return ENSO_UNSUPPORTED;
    default:
        return ENSO_INVALID;
    }
}

static void on_error(j_common_ptr cinfo)
{
    struct jpeg_reader *r = cinfo->client_data;
    char text[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, text);
    enum enso_status st = status_of_code(cinfo->err->msg_code);
    if (st == ENSO_NO_MEMORY)
        enso_error_no_memory(r->err, "decoding a JPEG picture");
    else if (cinfo->err->msg_code == JERR_NO_BACKING_STORE)
        enso_error_set(r->err, st,
                       "the JPEG picture needs more memory to decode than the limit allows; "
                       "send a smaller one, or one that is not progressive");
    else if (st == ENSO_UNSUPPORTED)
        enso_error_set(r->err, st,
                       "the JPEG picture uses a coding that is not supported (%s); "
                       "save it as baseline or progressive 8-bit JPEG",
                       text);
    else if (st == ENSO_TOO_LARGE)
        enso_error_set(r->err, st, "the JPEG picture is too large (%s); send a smaller one", text);
    else
        enso_error_set(r->err, st, "the JPEG picture is damaged: %s", text);
    fail(r, st);
}

/* level -1 is a warning, 0 and up is chatter. */
static void on_message(j_common_ptr cinfo, int level)
{
    if (level >= 0)
        return;
    switch (cinfo->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_JPEG_EOF:
        on_error(cinfo);
        break;
    default: /* extraneous bytes, odd version numbers: the picture is whole */
        cinfo->err->num_warnings++;
        break;
    }
}

static void source_init(j_decompress_ptr cinfo ENSO_UNUSED)
{
}

/* All bytes were given at the start: asking for more means that the file breaks off. */
static boolean source_fill(j_decompress_ptr cinfo)
{
    struct jpeg_reader *r = cinfo->client_data;
    enso_error_set(r->err, ENSO_INVALID,
                   "the JPEG picture breaks off after %zu bytes (truncated); send the whole file",
                   r->size);
    fail(r, ENSO_INVALID);
}

static void source_skip(j_decompress_ptr cinfo, long n_bytes)
{
    if (n_bytes <= 0)
        return;
    struct jpeg_source_mgr *src = cinfo->src;
    if ((size_t)n_bytes > src->bytes_in_buffer)
        source_fill(cinfo);
    src->next_input_byte += n_bytes;
    src->bytes_in_buffer -= (size_t)n_bytes;
}

static void on_progress(j_common_ptr cinfo)
{
    struct jpeg_reader *r = cinfo->client_data;
    int scan = r->cinfo.input_scan_number;
    if (scan >= 0 && (unsigned)scan <= r->max_scans)
        return;
    enso_error_set(
        r->err, ENSO_TOO_LARGE,
        "the JPEG picture has more than %u scans; save it with fewer, or as baseline JPEG",
        r->max_scans);
    fail(r, ENSO_TOO_LARGE);
}

static void read_header(struct jpeg_reader *r)
{
    struct jpeg_decompress_struct *cinfo = &r->cinfo;
    jpeg_create_decompress(cinfo);
    cinfo->client_data = r;
    r->source.next_input_byte = r->bytes;
    r->source.bytes_in_buffer = r->size;
    cinfo->src = &r->source;
    cinfo->progress = &r->progress;
    if (!r->pixels)
        jpeg_save_markers(cinfo, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(cinfo, TRUE);
    int n = cinfo->num_components;
    if (n != 1 && n != 3 && n != 4) {
        enso_error_set(
            r->err, ENSO_UNSUPPORTED,
            "the JPEG picture has %d colour components; 1 (grey), 3 (colour) and 4 (CMYK) "
            "are supported",
            n);
        fail(r, ENSO_UNSUPPORTED);
    }
}

static void probe_step(struct jpeg_reader *r)
{
    read_header(r);
    r->info.width = r->cinfo.image_width;
    r->info.height = r->cinfo.image_height;
    r->info.channels = (uint8_t)r->cinfo.num_components;
    r->info.alpha = false;
    r->info.multi_pass = jpeg_has_multiple_scans(&r->cinfo);
    r->info.orientation = 1;
    for (jpeg_saved_marker_ptr m = r->cinfo.marker_list; m; m = m->next)
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0", 5) == 0) {
            r->info.orientation = enso__image_exif_orientation(m->data, m->data_length);
            break;
        }
}

static uint8_t mul_div_255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Adobe's inverted CMYK to RGB: ink c over black k leaves (255 - k) - c (255 - k) / 255. */
static void rgb_of_cmyk(const uint8_t *cmyk, uint8_t *rgb, uint32_t n_pixels)
{
    for (uint32_t i = 0; i < n_pixels; i++, cmyk += 4, rgb += 3) {
        unsigned light = cmyk[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(light - mul_div_255(255U - cmyk[c], light));
    }
}

static void decode_step(struct jpeg_reader *r)
{
    struct jpeg_decompress_struct *cinfo = &r->cinfo;
    read_header(r);
    if (cinfo->image_width != r->info.width || cinfo->image_height != r->info.height ||
        cinfo->num_components != r->info.channels) {
        enso_error_set(r->err, ENSO_INTERNAL, "the JPEG header changed while it was read");
        fail(r, ENSO_INTERNAL);
    }
    cinfo->mem->max_memory_to_use = r->max_memory;
    cinfo->out_color_space = r->info.channels == 1   ? JCS_GRAYSCALE
                             : r->info.channels == 3 ? JCS_RGB
                                                     : JCS_CMYK;
    cinfo->dct_method = JDCT_ISLOW;
    cinfo->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(cinfo);
    size_t row_bytes = (size_t)r->info.width * (r->info.channels == 1 ? 1 : 3);
    while (cinfo->output_scanline < cinfo->output_height) {
        uint8_t *out = r->pixels + cinfo->output_scanline * row_bytes;
        JSAMPROW row = r->cmyk_row ? r->cmyk_row : out;
        if (jpeg_read_scanlines(cinfo, &row, 1) != 1)
            source_fill(cinfo);
        if (r->cmyk_row)
            rgb_of_cmyk(r->cmyk_row, out, r->info.width);
    }
    jpeg_finish_decompress(cinfo);
}

static void reader_init(struct jpeg_reader *r, const uint8_t *bytes, size_t size,
                        struct enso_error *err)
{
    *r = (struct jpeg_reader){.bytes = bytes, .size = size, .err = err, .status = ENSO_INTERNAL};
    r->cinfo.err = jpeg_std_error(&r->errors);
    r->cinfo.client_data = r;
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->source.init_source = source_init;
    r->source.fill_input_buffer = source_fill;
    r->source.skip_input_data = source_skip;
    r->source.resync_to_restart = jpeg_resync_to_restart;
    r->source.term_source = source_init;
    r->progress.progress_monitor = on_progress;
    r->max_scans = UINT32_MAX;
}

/* Nothing but r lives across the jump, and r is not changed here. */
static enum enso_status run(struct jpeg_reader *r, void (*step)(struct jpeg_reader *))
{
    if (setjmp(r->jump))
        return r->status;
    step(r);
    return ENSO_OK;
}

static void reader_done(struct jpeg_reader *r)
{
    jpeg_destroy_decompress(&r->cinfo);
    enso_free(r->cmyk_row);
}

enum enso_status enso__image_jpeg_probe(const uint8_t *bytes, size_t size,
                                        struct enso_image_info *ret_info, struct enso_error *err)
{
    struct jpeg_reader r;
    reader_init(&r, bytes, size, err);
    r.info.format = ENSO_IMAGE_JPEG;
    enum enso_status st = run(&r, probe_step);
    if (st == ENSO_OK)
        *ret_info = r.info;
    reader_done(&r);
    return st;
}

enum enso_status enso__image_jpeg_decode(const uint8_t *bytes, size_t size,
                                         const struct enso_image_info *info,
                                         const struct enso_image_limits *limits, uint8_t *pixels,
                                         struct enso_error *err)
{
    struct jpeg_reader r;
    reader_init(&r, bytes, size, err);
    r.info = *info;
    r.pixels = pixels;
    r.max_scans = limits->max_scans;
    /* The estimate of image.c was within the limit; what is left after the pixels is the codec's.
     * Never 0, which means no limit to the library. */
    uint64_t pixels_bytes = (uint64_t)info->width * info->height * (info->channels == 1 ? 1 : 3);
    uint64_t left = limits->max_memory_bytes > pixels_bytes
                        ? limits->max_memory_bytes - pixels_bytes
                        : ENSO__IMAGE_CODEC_BASE_BYTES;
    r.max_memory = (long)ENSO_MIN(left, (uint64_t)INT32_MAX * 2);
    enum enso_status st = ENSO_OK;
    if (info->channels == 4) {
        r.cmyk_row = enso_alloc_array(info->width, 4);
        if (!r.cmyk_row)
            st = enso_error_no_memory(err, "a row of a CMYK picture");
    }
    if (st == ENSO_OK)
        st = run(&r, decode_step);
    reader_done(&r);
    return st;
}
