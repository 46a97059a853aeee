/* SPDX-License-Identifier: Apache-2.0
 *
 * Two readers of one struct. Hugging Face's file names a processor class whose constructor supplies
 * what the file leaves out; the table below holds those defaults and the few peculiarities that are
 * code there. ensod.json says everything itself.
 */
#include "engine/image/spec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/macros.h"

static const float mean_half[3] = {0.5F, 0.5F, 0.5F};
static const float mean_imagenet[3] = {0.485F, 0.456F, 0.406F};
static const float std_imagenet[3] = {0.229F, 0.224F, 0.225F};
static const float mean_clip[3] = {0.48145466F, 0.4578275F, 0.40821073F};
static const float std_clip[3] = {0.26862954F, 0.26130258F, 0.27577711F};

void enso_image_spec_default(struct enso_image_spec *ret, uint32_t height, uint32_t width,
                             uint8_t channels)
{
    *ret = (struct enso_image_spec){
        .channels = channels,
        .layout = ENSO_IMAGE_NCHW,
        .fit = ENSO_IMAGE_FIT_EXACT,
        .height = height,
        .width = width,
        .resample = ENSO_RESAMPLE_BILINEAR,
        .centre = ENSO_IMAGE_CENTRE_TORCHVISION,
        .rescale = true,
        .scale = 1.0 / 255.0,
        .std = {1.0F, 1.0F, 1.0F},
    };
}

bool enso_image_spec_fixed_size(const struct enso_image_spec *spec, uint32_t *ret_height,
                                uint32_t *ret_width)
{
    if (spec->crop) {
        *ret_height = spec->crop_height;
        *ret_width = spec->crop_width;
        return true;
    }
    if (spec->fit == ENSO_IMAGE_FIT_SHORTEST || spec->height == 0 || spec->width == 0)
        return false;
    *ret_height = spec->height;
    *ret_width = spec->width;
    return true;
}

/* "file: 'path': ..." */
static enum enso_status refuse(const char *path, struct enso_error *err, const char *what)
{
    enso_error_param(err, "%s", path);
    return enso_error_set(err, ENSO_INVALID, "'%s': %s", path, what);
}

static enum enso_status read_side(const json_t *object, const char *path, const char *key,
                                  uint32_t *ret, struct enso_error *err)
{
    int64_t side = 0;
    enum enso_status st = enso_json_get_int(object, path, key, ENSO_JSON_REQUIRED, 1,
                                            ENSO_IMAGE_SPEC_MAX_SIDE, &side, err);
    if (st == ENSO_OK)
        *ret = (uint32_t)side;
    return st;
}

static bool side_of_value(const json_t *value, uint32_t *ret)
{
    double side = json_is_number(value) ? json_number_value(value) : 0.0;
    if (!(side >= 1.0 && side <= ENSO_IMAGE_SPEC_MAX_SIDE) || side != floor(side))
        return false;
    *ret = (uint32_t)side;
    return true;
}

/* n or [h, w]. */
static enum enso_status read_sides(const json_t *value, const char *path, uint32_t *ret_height,
                                   uint32_t *ret_width, struct enso_error *err)
{
    if (side_of_value(value, ret_height)) {
        *ret_width = *ret_height;
        return ENSO_OK;
    }
    if (json_array_size(value) == 2 && side_of_value(json_array_get(value, 0), ret_height) &&
        side_of_value(json_array_get(value, 1), ret_width))
        return ENSO_OK;
    return refuse(path, err, "expected [height, width] or one number, each from 1 to 4096");
}

/* A number for all channels, or a list of 1 or 3; *ret_n is 0 for a number. *ret and *ret_n are
 * untouched when the key is absent. */
static enum enso_status read_channel_values(const json_t *object, const char *path, const char *key,
                                            bool may_be_zero, float ret[3], size_t *ret_n,
                                            struct enso_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return ENSO_OK;
    char full[96];
    (void)snprintf(full, sizeof full, "%s%s%s", path, *path ? "." : "", key); /* cutting is fine */
    size_t n = json_array_size(value);
    if (!json_is_number(value) && n != 1 && n != 3)
        return refuse(full, err,
                      "expected a list of 3 numbers (1 for grey pictures), or one number");
    float values[3];
    for (size_t c = 0; c < 3; c++) {
        const json_t *item = n == 0 ? value : json_array_get(value, n == 1 ? 0 : c);
        double x = json_is_number(item) ? json_number_value(item) : NAN;
        values[c] = (float)x;
        if (!isfinite(values[c]))
            return refuse(full, err, "expected finite numbers");
        if (!may_be_zero && values[c] == 0.0F)
            return refuse(full, err,
                          "a deviation of 0 cannot be divided by; leave it out or give 1");
    }
    memcpy(ret, values, sizeof values);
    *ret_n = n;
    return ENSO_OK;
}

/* Mean and deviation; *ret_channels becomes the length of the lists, if there are any. */
static enum enso_status read_statistics(const json_t *object, const char *path,
                                        const char *mean_key, const char *std_key,
                                        struct enso_image_spec *spec, uint8_t *ret_channels,
                                        struct enso_error *err)
{
    size_t n_mean = 0, n_std = 0;
    enum enso_status st =
        read_channel_values(object, path, mean_key, true, spec->mean, &n_mean, err);
    if (st == ENSO_OK)
        st = read_channel_values(object, path, std_key, false, spec->std, &n_std, err);
    if (st != ENSO_OK)
        return st;
    if (n_mean && n_std && n_mean != n_std)
        return enso_error_set(err, ENSO_INVALID,
                              "'%s' has %zu values, but '%s' has %zu; give one for each channel",
                              mean_key, n_mean, std_key, n_std);
    if (n_mean || n_std)
        *ret_channels = (uint8_t)ENSO_MAX(n_mean, n_std);
    return ENSO_OK;
}

/* ---- Hugging Face ---- */

enum quirk {
    QUIRK_CROP_PCT = 1 << 0, /* ConvNeXt: size is the crop, the fit is size / crop_pct, below 384 */
    QUIRK_LEVIT = 1 << 1,    /* the shortest side is fitted to 256/224 of what is said */
    QUIRK_BGR = 1 << 2,      /* do_flip_channel_order is on unless said otherwise */
    QUIRK_TOP = 1 << 3,      /* include_top and rescale_offset */
    QUIRK_RAW = 1 << 4,      /* does not normalise unless told to */
};

enum crops { CROP_NEVER, CROP_DEFAULT, CROP_IF_TOLD };

struct processor {
    const char *name; /* without the ending */
    bool square;      /* "size": n means n x n, else the shortest side */
    uint32_t size, crop_size;
    enum enso_resample resample;
    enum crops crops;
    const float *mean, *std;
    unsigned quirks;
};

#define HALF mean_half, mean_half
#define IMAGENET mean_imagenet, std_imagenet
#define CLIP mean_clip, std_clip
static const struct processor processors[] = {
    {"", true, 224, 224, ENSO_RESAMPLE_BILINEAR, CROP_IF_TOLD, HALF, 0}, /* none named */
    {"ViT", true, 224, 0, ENSO_RESAMPLE_BILINEAR, CROP_NEVER, HALF, 0},
    {"DeiT", true, 256, 224, ENSO_RESAMPLE_BICUBIC, CROP_DEFAULT, HALF, 0},
    {"Beit", true, 256, 224, ENSO_RESAMPLE_BICUBIC, CROP_DEFAULT, HALF, 0},
    {"ConvNext", false, 384, 0, ENSO_RESAMPLE_BILINEAR, CROP_NEVER, HALF, QUIRK_CROP_PCT},
    {"Bit", false, 224, 224, ENSO_RESAMPLE_BICUBIC, CROP_DEFAULT, CLIP, 0},
    {"CLIP", false, 224, 224, ENSO_RESAMPLE_BICUBIC, CROP_DEFAULT, CLIP, 0},
    {"ChineseCLIP", false, 224, 224, ENSO_RESAMPLE_BICUBIC, CROP_DEFAULT, CLIP, 0},
    {"MobileNetV1", false, 256, 224, ENSO_RESAMPLE_BILINEAR, CROP_DEFAULT, HALF, 0},
    {"MobileNetV2", false, 256, 224, ENSO_RESAMPLE_BILINEAR, CROP_DEFAULT, HALF, 0},
    {"MobileViT", false, 224, 256, ENSO_RESAMPLE_BILINEAR, CROP_DEFAULT, HALF,
     QUIRK_BGR | QUIRK_RAW},
    {"Levit", false, 224, 224, ENSO_RESAMPLE_BICUBIC, CROP_DEFAULT, IMAGENET, QUIRK_LEVIT},
    {"EfficientNet", true, 346, 289, ENSO_RESAMPLE_NEAREST, CROP_IF_TOLD, HALF, QUIRK_TOP},
    {"Siglip", true, 224, 0, ENSO_RESAMPLE_BICUBIC, CROP_NEVER, HALF, 0},
    {"Pvt", true, 224, 0, ENSO_RESAMPLE_BILINEAR, CROP_NEVER, IMAGENET, 0},
    {"Segformer", true, 512, 0, ENSO_RESAMPLE_BILINEAR, CROP_NEVER, IMAGENET, 0},
};

static size_t without_ending(const char *name, size_t size, const char *ending)
{
    size_t n = strlen(ending);
    return size >= n && memcmp(name + size - n, ending, n) == 0 ? size - n : size;
}

static enum enso_status find_processor(const json_t *root, const struct processor **ret,
                                       struct enso_error *err)
{
    const char *key = "image_processor_type", *name = NULL;
    enum enso_status st = enso_json_get_string(root, "", key, ENSO_JSON_OPTIONAL, &name, NULL, err);
    if (st == ENSO_OK && !name) {
        key = "feature_extractor_type";
        st = enso_json_get_string(root, "", key, ENSO_JSON_OPTIONAL, &name, NULL, err);
    }
    if (st != ENSO_OK)
        return st;
    if (!name)
        name = "";
    size_t size = strlen(name);
    size = without_ending(name, size, "Fast");
    size = without_ending(name, size, "Pil");
    size = without_ending(name, size, "ImageProcessor");
    size = without_ending(name, size, "FeatureExtractor");
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(processors); i++)
        if (strlen(processors[i].name) == size && memcmp(processors[i].name, name, size) == 0) {
            *ret = &processors[i];
            return ENSO_OK;
        }
    enso_error_param(err, "%s", key);
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "'%s': the image processor '%.64s' is not known here; describe the steps "
                          "in an ensod.json instead",
                          key, name);
}

/* n, [h, w], {"height", "width"} or {"shortest_edge"}. */
static enum enso_status read_size(const json_t *root, const struct processor *p,
                                  struct enso_image_spec *spec, struct enso_error *err)
{
    const json_t *size = json_object_get(root, "size");
    if (!size || json_is_null(size))
        return ENSO_OK;
    if (json_is_array(size)) {
        spec->fit = ENSO_IMAGE_FIT_EXACT;
        return read_sides(size, "size", &spec->height, &spec->width, err);
    }
    if (!json_is_object(size)) {
        bool square = p->square && !(*p->name == '\0' && spec->crop);
        spec->fit = square ? ENSO_IMAGE_FIT_EXACT : ENSO_IMAGE_FIT_SHORTEST;
        return read_sides(size, "size", &spec->height, &spec->width, err);
    }
    if (json_object_get(size, "longest_edge") || json_object_get(size, "max_height") ||
        json_object_get(size, "max_width")) {
        enso_error_param(err, "size");
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "'size': only {\"height\", \"width\"} and {\"shortest_edge\"} are "
                              "supported, not longest_edge, max_height or max_width");
    }
    enum enso_status st;
    if (json_object_get(size, "shortest_edge")) {
        spec->fit = ENSO_IMAGE_FIT_SHORTEST;
        st = read_side(size, "size", "shortest_edge", &spec->height, err);
        spec->width = spec->height;
        return st;
    }
    spec->fit = ENSO_IMAGE_FIT_EXACT;
    st = read_side(size, "size", "height", &spec->height, err);
    return st == ENSO_OK ? read_side(size, "size", "width", &spec->width, err) : st;
}

static enum enso_status read_crop_size(const json_t *root, struct enso_image_spec *spec,
                                       struct enso_error *err)
{
    const json_t *size = json_object_get(root, "crop_size");
    if (!size || json_is_null(size))
        return ENSO_OK;
    if (!json_is_object(size))
        return read_sides(size, "crop_size", &spec->crop_height, &spec->crop_width, err);
    enum enso_status st = read_side(size, "crop_size", "height", &spec->crop_height, err);
    return st == ENSO_OK ? read_side(size, "crop_size", "width", &spec->crop_width, err) : st;
}

/* ConvNeXt: n >= 384 is warped to n x n, below that the middle n x n of n / crop_pct is taken. */
static enum enso_status apply_crop_pct(const json_t *root, struct enso_image_spec *spec,
                                       struct enso_error *err)
{
    double crop_pct = 224.0 / 256.0;
    enum enso_status st =
        enso_json_get_number(root, "", "crop_pct", ENSO_JSON_OPTIONAL, 0.1, 1.0, &crop_pct, err);
    if (st != ENSO_OK)
        return st;
    if (spec->fit != ENSO_IMAGE_FIT_SHORTEST)
        return refuse("size", err, "this image processor needs {\"shortest_edge\": n}");
    if (spec->height >= 384) {
        spec->fit = ENSO_IMAGE_FIT_EXACT;
        return ENSO_OK;
    }
    spec->crop = true;
    spec->crop_height = spec->crop_width = spec->height;
    spec->height = spec->width = (uint32_t)(spec->height / crop_pct);
    return ENSO_OK;
}

/* do_resize, size, resample, do_center_crop, crop_size and what the quirks make of them. */
static enum enso_status read_geometry(const json_t *root, const struct processor *p,
                                      struct enso_image_spec *spec, struct enso_error *err)
{
    bool resize = true;
    int64_t resample = p->resample;
    spec->crop = p->crops == CROP_DEFAULT;
    enum enso_status st =
        enso_json_get_bool(root, "", "do_resize", ENSO_JSON_OPTIONAL, &resize, err);
    if (st == ENSO_OK && p->crops != CROP_NEVER)
        st = enso_json_get_bool(root, "", "do_center_crop", ENSO_JSON_OPTIONAL, &spec->crop, err);
    if (st == ENSO_OK)
        st = enso_json_get_int(root, "", "resample", ENSO_JSON_OPTIONAL, 0, ENSO_RESAMPLE_N - 1,
                               &resample, err);
    if (st == ENSO_OK)
        st = read_size(root, p, spec, err);
    if (st == ENSO_OK && spec->crop)
        st = read_crop_size(root, spec, err);
    if (st != ENSO_OK)
        return st;
    spec->resample = (enum enso_resample)resample;
    if (!resize) {
        spec->fit = ENSO_IMAGE_FIT_NONE;
        spec->height = spec->width = 0;
    } else if (p->quirks & QUIRK_CROP_PCT) {
        return apply_crop_pct(root, spec, err);
    } else if ((p->quirks & QUIRK_LEVIT) && spec->fit == ENSO_IMAGE_FIT_SHORTEST) {
        spec->height = spec->width = (uint32_t)((256.0 / 224.0) * spec->height);
    }
    return ENSO_OK;
}

static enum enso_status read_values(const json_t *root, const struct processor *p,
                                    struct enso_image_spec *spec, struct enso_error *err)
{
    bool top = (p->quirks & QUIRK_TOP) != 0, offset = false;
    spec->bgr = (p->quirks & QUIRK_BGR) != 0;
    spec->normalise = !(p->quirks & QUIRK_RAW);
    enum enso_status st =
        enso_json_get_bool(root, "", "do_rescale", ENSO_JSON_OPTIONAL, &spec->rescale, err);
    if (st == ENSO_OK)
        st = enso_json_get_number(root, "", "rescale_factor", ENSO_JSON_OPTIONAL, -1e6, 1e6,
                                  &spec->scale, err);
    if (st == ENSO_OK)
        st =
            enso_json_get_bool(root, "", "do_normalize", ENSO_JSON_OPTIONAL, &spec->normalise, err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(root, "", "do_flip_channel_order", ENSO_JSON_OPTIONAL, &spec->bgr,
                                err);
    if (st == ENSO_OK && top)
        st = enso_json_get_bool(root, "", "rescale_offset", ENSO_JSON_OPTIONAL, &offset, err);
    if (st == ENSO_OK && top)
        st = enso_json_get_bool(root, "", "include_top", ENSO_JSON_OPTIONAL, &top, err);
    if (st == ENSO_OK)
        st = read_statistics(root, "", "image_mean", "image_std", spec, &spec->channels, err);
    if (st != ENSO_OK)
        return st;
    spec->offset = offset && spec->rescale ? -1.0F : 0.0F;
    spec->divide_again = top;
    return ENSO_OK;
}

enum enso_status enso_image_spec_from_huggingface(const json_t *root, const char *file,
                                                  struct enso_image_spec *ret,
                                                  struct enso_error *err)
{
    const struct processor *p = NULL;
    struct enso_image_spec spec;
    enum enso_status st = json_is_object(root) ? find_processor(root, &p, err)
                                               : enso_json_wrong_type(root, "", "an object", err);
    if (st == ENSO_OK) {
        enso_image_spec_default(&spec, p->size, p->size, 3);
        spec.fit = p->square ? ENSO_IMAGE_FIT_EXACT : ENSO_IMAGE_FIT_SHORTEST;
        spec.crop_height = spec.crop_width = p->crop_size;
        spec.centre = ENSO_IMAGE_CENTRE_TRANSFORMERS;
        memcpy(spec.mean, p->mean, sizeof spec.mean);
        memcpy(spec.std, p->std, sizeof spec.std);
        st = read_geometry(root, p, &spec, err);
    }
    if (st == ENSO_OK)
        st = read_values(root, p, &spec, err);
    if (st == ENSO_OK)
        *ret = spec;
    else
        enso_error_prefix(err, "%s: ", file);
    return st;
}

/* ---- ensod.json ---- */

static const char *const input_keys[] = {
    "size", "channels", "resize", "crop", "resample", "scale", "mean", "std", "layout", "invert",
};

static enum enso_status refuse_unknown_keys(const json_t *input, struct enso_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)input, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < ENSO_ARRAY_SIZE(input_keys); i++)
            known = known || strcmp(key, input_keys[i]) == 0;
        if (!known) {
            enso_error_param(err, "input.%.64s", key);
            return enso_error_set(
                err, ENSO_INVALID,
                "'input.%.64s' is not known; the keys are size, channels, resize, "
                "crop, resample, scale, mean, std, layout and invert",
                key);
        }
    }
    return ENSO_OK;
}

/* One word of a list; *ret is its place, untouched when the key is absent. */
static enum enso_status read_word(const json_t *input, const char *key, const char *const *words,
                                  size_t n_words, const char *expected, size_t *ret,
                                  struct enso_error *err)
{
    const char *word = NULL;
    enum enso_status st =
        enso_json_get_string(input, "input", key, ENSO_JSON_OPTIONAL, &word, NULL, err);
    if (st != ENSO_OK || !word)
        return st;
    for (size_t i = 0; i < n_words; i++)
        if (strcmp(words[i], word) == 0) {
            *ret = i;
            return ENSO_OK;
        }
    enso_error_param(err, "input.%s", key);
    return enso_error_set(err, ENSO_INVALID, "'input.%s' is '%.32s'; expected %s", key, word,
                          expected);
}

static enum enso_status read_input_words(const json_t *input, struct enso_image_spec *spec,
                                         struct enso_error *err)
{
    static const char *const fits[] = {"none", "exact", "shortest"};
    static const char *const layouts[] = {"NCHW", "NHWC"};
    const char *filters[ENSO_RESAMPLE_N];
    for (int i = 0; i < ENSO_RESAMPLE_N; i++)
        filters[i] = enso_resample_name(i);
    size_t fit = spec->fit, layout = spec->layout, filter = spec->resample;
    enum enso_status st = read_word(input, "resize", fits, ENSO_ARRAY_SIZE(fits),
                                    "'shortest', 'exact' or 'none'", &fit, err);
    if (st == ENSO_OK)
        st = read_word(input, "layout", layouts, ENSO_ARRAY_SIZE(layouts), "'NCHW' or 'NHWC'",
                       &layout, err);
    if (st == ENSO_OK)
        st = read_word(input, "resample", filters, ENSO_RESAMPLE_N,
                       "'nearest', 'box', 'bilinear', 'hamming', 'bicubic' or 'lanczos'", &filter,
                       err);
    spec->fit = (enum enso_image_fit)fit;
    spec->layout = (enum enso_image_layout)layout;
    spec->resample = (enum enso_resample)filter;
    return st;
}

static enum enso_status read_input_sizes(const json_t *input, struct enso_image_spec *spec,
                                         struct enso_error *err)
{
    const json_t *size = json_object_get(input, "size"), *crop = json_object_get(input, "crop");
    enum enso_status st = ENSO_OK;
    if (size && !json_is_null(size))
        st = read_sides(size, "input.size", &spec->height, &spec->width, err);
    if (st == ENSO_OK && crop && !json_is_null(crop)) {
        spec->crop = true;
        st = read_sides(crop, "input.crop", &spec->crop_height, &spec->crop_width, err);
    }
    if (st != ENSO_OK)
        return st;
    if (spec->fit == ENSO_IMAGE_FIT_NONE && spec->crop && !size)
        spec->height = spec->width = 0; /* any picture can be cropped */
    if (spec->fit != ENSO_IMAGE_FIT_NONE && (spec->height == 0 || spec->width == 0))
        return refuse("input.size", err,
                      "is missing, and the model does not say it itself; give [height, width]");
    if (spec->fit == ENSO_IMAGE_FIT_SHORTEST && spec->height != spec->width)
        return refuse("input.size", err,
                      "with \"resize\": \"shortest\" it is one number, the shorter side");
    return ENSO_OK;
}

static enum enso_status read_input(const json_t *input, struct enso_image_spec *spec,
                                   struct enso_error *err)
{
    enum enso_status st = refuse_unknown_keys(input, err);
    if (st == ENSO_OK)
        st = read_input_words(input, spec, err);
    if (st == ENSO_OK)
        st = read_input_sizes(input, spec, err);
    int64_t channels = 0;
    if (st == ENSO_OK)
        st =
            enso_json_get_int(input, "input", "channels", ENSO_JSON_OPTIONAL, 1, 3, &channels, err);
    if (st == ENSO_OK)
        st = enso_json_get_number(input, "input", "scale", ENSO_JSON_OPTIONAL, -1e6, 1e6,
                                  &spec->scale, err);
    if (st == ENSO_OK)
        st = enso_json_get_bool(input, "input", "invert", ENSO_JSON_OPTIONAL, &spec->invert, err);
    uint8_t n_statistics = 0;
    if (st == ENSO_OK)
        st = read_statistics(input, "input", "mean", "std", spec, &n_statistics, err);
    if (st != ENSO_OK)
        return st;
    if (channels == 2)
        return refuse("input.channels", err, "expected 3 (colour) or 1 (grey)");
    if (channels)
        spec->channels = (uint8_t)channels;
    if (n_statistics > spec->channels)
        return refuse("input.mean", err, "has more values than the pictures have channels");
    if (json_object_get(input, "mean") || json_object_get(input, "std"))
        spec->normalise = true;
    return ENSO_OK;
}

enum enso_status enso_image_spec_from_ensod(const json_t *root, const char *file,
                                            const struct enso_image_spec *defaults,
                                            struct enso_image_spec *ret, struct enso_error *err)
{
    struct enso_image_spec spec = *defaults;
    json_t *input = NULL;
    enum enso_status st =
        json_is_object(root)
            ? enso_json_get_object(root, "", "input", ENSO_JSON_OPTIONAL, &input, err)
            : enso_json_wrong_type(root, "", "an object", err);
    if (st == ENSO_OK)
        st = read_input(input, &spec, err);
    if (st == ENSO_OK)
        *ret = spec;
    else
        enso_error_prefix(err, "%s: ", file);
    return st;
}
