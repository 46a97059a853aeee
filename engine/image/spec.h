/* SPDX-License-Identifier: Apache-2.0
 *
 * How a picture becomes a model's input: a plain struct, filled once at load from
 * preprocessor_config.json (Hugging Face) or ensod.json (ours, docs/ensod-json.md), immutable
 * afterwards and shared by all threads. prepare.h does what it says.
 *
 * Source: transformers 4.46, the numpy image processors ("slow" ones) and their defaults;
 * torchvision's transforms on PIL pictures for ensod.json.
 */
#ifndef ENSO_ENGINE_IMAGE_SPEC_H
#define ENSO_ENGINE_IMAGE_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "engine/image/resize.h"

/* No side of a model's input is longer. */
#define ENSO_IMAGE_SPEC_MAX_SIDE 4096

enum enso_image_layout {
    ENSO_IMAGE_NCHW, /* planes: all of the first channel, then the second... */
    ENSO_IMAGE_NHWC, /* pixels: the channels of one pixel side by side */
};

enum enso_image_fit {
    ENSO_IMAGE_FIT_NONE,     /* as it comes; `height` x `width` is demanded unless 0 */
    ENSO_IMAGE_FIT_EXACT,    /* to height x width, whatever the proportions */
    ENSO_IMAGE_FIT_SHORTEST, /* the shorter side to `height` (= width), proportions kept */
};

/* Where the crop lies when what is left over is odd. */
enum enso_image_centre {
    ENSO_IMAGE_CENTRE_TRANSFORMERS, /* the smaller half before; padding: the larger half before */
    ENSO_IMAGE_CENTRE_TORCHVISION,  /* the half rounded to even; padding: the smaller half before */
};

/* The steps in their order: fit, crop (pads with 0 where the picture is smaller), invert, and then
 * for each sample v of 0..255
 *   x = (float)(v * scale) + offset           if rescale, else (float)v
 *   x = (x - mean[c]) / std[c]                 if normalise, once more without mean if divide_again
 * all float but v * scale, which is double. Padding is the sample 0 and is not inverted. */
struct enso_image_spec {
    uint8_t channels; /* 3 or 1: decode to as many */
    enum enso_image_layout layout;
    enum enso_image_fit fit;
    uint32_t height, width;
    enum enso_resample resample;
    bool crop;
    uint32_t crop_height, crop_width;
    enum enso_image_centre centre;
    bool bgr;    /* channels in the order blue, green, red (mean and std are in that order too) */
    bool invert; /* 255 - v: for models of light strokes on black, fed with ink on paper */
    bool rescale;
    double scale;
    float offset;
    bool normalise;
    float mean[3], std[3]; /* std is never 0 */
    bool divide_again;     /* EfficientNet's include_top */
};

/* Exactly height x width (torchvision's centre), bilinear, 0..1, NCHW. */
void enso_image_spec_default(struct enso_image_spec *ret, uint32_t height, uint32_t width,
                             uint8_t channels);

/* From the parsed preprocessor_config.json (or the "image_processor" object of a
 * processor_config.json). `file` is its name for error sentences. All keys are optional; defaults
 * are those of the processor that "image_processor_type" (or "feature_extractor_type") names.
 * ENSO_INVALID: a value that makes no sense; ENSO_UNSUPPORTED: a processor that is not known here.
 * *ret is written on success only. */
enum enso_status enso_image_spec_from_huggingface(const json_t *root, const char *file,
                                                  struct enso_image_spec *ret,
                                                  struct enso_error *err);

/* From the parsed ensod.json: its "input" object, or the defaults if that is absent. `defaults` is
 * what holds for keys that are not given; the loader makes it of the graph's input shape with
 * enso_image_spec_default. ENSO_INVALID names file and key; unknown keys of "input" are refused. */
enum enso_status enso_image_spec_from_ensod(const json_t *root, const char *file,
                                            const struct enso_image_spec *defaults,
                                            struct enso_image_spec *ret, struct enso_error *err);

/* True when every picture gives the same shape: then *ret_height x *ret_width. */
bool enso_image_spec_fixed_size(const struct enso_image_spec *spec, uint32_t *ret_height,
                                uint32_t *ret_width);

#endif
