/* SPDX-License-Identifier: Apache-2.0
 *
 * WebP (lossy, lossless, with alpha, animated) by libwebp; libwebpdemux takes the container apart:
 * it gives the canvas, the first frame and the EXIF block, and refuses files that break off.
 *
 * Alpha is dropped, as convert("RGB") does. The first frame of an animation may be smaller than the
 * canvas: what it leaves free is black. libwebp allocates for itself, at most 5 bytes per pixel.
 */
#include "engine/image/image_internal.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "base/memory.h"

static enum enso_status open_container(const uint8_t *bytes, size_t size, WebPDemuxer **ret_demuxer,
                                       struct enso_error *err)
{
    WebPData data = {bytes, size};
    WebPDemuxState state;
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    if (demuxer && state == WEBP_DEMUX_DONE) {
        *ret_demuxer = demuxer;
        return ENSO_OK;
    }
    WebPDemuxDelete(demuxer);
    if (state == WEBP_DEMUX_PARSING_HEADER || state == WEBP_DEMUX_PARSED_HEADER)
        return enso_error_set(err, ENSO_INVALID,
                              "the WebP picture breaks off after %zu bytes (truncated); send the "
                              "whole file",
                              size);
    return enso_error_set(err, ENSO_INVALID,
                          "the WebP picture is damaged: its container is not valid");
}

static uint8_t orientation_of(WebPDemuxer *demuxer)
{
    if (!(WebPDemuxGetI(demuxer, WEBP_FF_FORMAT_FLAGS) & EXIF_FLAG))
        return 1;
    WebPChunkIterator chunk;
    uint8_t orientation = 1;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk))
        orientation = enso__image_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
    WebPDemuxReleaseChunkIterator(&chunk);
    return orientation;
}

enum enso_status enso__image_webp_probe(const uint8_t *bytes, size_t size,
                                        struct enso_image_info *ret_info, struct enso_error *err)
{
    WebPDemuxer *demuxer;
    enum enso_status st = open_container(bytes, size, &demuxer, err);
    if (st != ENSO_OK)
        return st;
    *ret_info = (struct enso_image_info){
        .format = ENSO_IMAGE_WEBP,
        .width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH),
        .height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT),
        .channels = 3,
        .orientation = orientation_of(demuxer),
        .alpha = (WebPDemuxGetI(demuxer, WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG) != 0,
    };
    WebPDemuxDelete(demuxer);
    return ENSO_OK;
}

static enum enso_status error_of_code(VP8StatusCode code, size_t size, struct enso_error *err)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return enso_error_no_memory(err, "decoding a WebP picture");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return enso_error_set(
            err, ENSO_UNSUPPORTED,
            "the WebP picture uses a coding that is not supported; save it again");
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return enso_error_set(err, ENSO_INVALID,
                              "the WebP picture breaks off after %zu bytes (truncated); send the "
                              "whole file",
                              size);
    default:
        return enso_error_set(err, ENSO_INVALID,
                              "the WebP picture is damaged: its data does not decode");
    }
}

/* The frame lies inside the canvas (checked here, not only by the demuxer). */
static enum enso_status decode_frame(const WebPIterator *frame, const struct enso_image_info *info,
                                     uint8_t *pixels, struct enso_error *err)
{
    if (frame->x_offset < 0 || frame->y_offset < 0 || frame->width < 1 || frame->height < 1 ||
        (uint64_t)frame->x_offset + (uint64_t)frame->width > info->width ||
        (uint64_t)frame->y_offset + (uint64_t)frame->height > info->height)
        return enso_error_set(
            err, ENSO_INVALID,
            "the WebP picture is damaged: its first frame lies outside the canvas");
    size_t stride = (size_t)info->width * 3;
    size_t n_bytes = stride * info->height;
    if ((uint32_t)frame->width != info->width || (uint32_t)frame->height != info->height)
        memset(pixels, 0, n_bytes);
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return enso_error_set(err, ENSO_INTERNAL,
                              "libwebp is not the version ensod was built with");
    VP8StatusCode code =
        WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input);
    if (code != VP8_STATUS_OK)
        return error_of_code(code, frame->fragment.size, err);
    if (config.input.width != frame->width || config.input.height != frame->height)
        return enso_error_set(err, ENSO_INVALID,
                              "the WebP picture is damaged: its first frame is %d x %d pixels, but "
                              "the container says %d x %d",
                              config.input.width, config.input.height, frame->width, frame->height);
    size_t start = (size_t)frame->y_offset * stride + (size_t)frame->x_offset * 3;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels + start;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = n_bytes - start;
    code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    return code == VP8_STATUS_OK ? ENSO_OK : error_of_code(code, frame->fragment.size, err);
}

enum enso_status enso__image_webp_decode(const uint8_t *bytes, size_t size,
                                         const struct enso_image_info *info,
                                         const struct enso_image_limits *limits ENSO_UNUSED,
                                         uint8_t *pixels, struct enso_error *err)
{
    WebPDemuxer *demuxer;
    enum enso_status st = open_container(bytes, size, &demuxer, err);
    if (st != ENSO_OK)
        return st;
    WebPIterator frame;
    if (WebPDemuxGetFrame(demuxer, 1, &frame))
        st = decode_frame(&frame, info, pixels, err);
    else
        st = enso_error_set(err, ENSO_INVALID, "the WebP picture is damaged: it has no frame");
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demuxer);
    return st;
}
