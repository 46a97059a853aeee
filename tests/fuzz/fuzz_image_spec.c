/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any JSON as preprocessor_config.json and as ensod.json. Whatever is accepted must be a
 * spec that prepares a small picture or refuses it, with a shape that keeps to the limits.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/memory.h"
#include "engine/image/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct enso_image_spec *spec)
{
    static uint8_t pixels[7 * 5 * 3];
    static float table[ENSO_IMAGE_TABLE_SIZE];
    const struct enso_image image = {7, 5, spec->channels, pixels};
    uint32_t height, width;

    if ((spec->channels != 1 && spec->channels != 3) || !enso_resample_name((int)spec->resample))
        abort();
    if (enso_image_prepare_size(spec, 7, 5, &height, &width, NULL) != ENSO_OK)
        return;
    if (height == 0 || width == 0 || height > ENSO_IMAGE_SPEC_MAX_SIDE ||
        width > ENSO_IMAGE_SPEC_MAX_SIDE)
        abort();
    if ((size_t)height * width > 256 * 256)
        return;
    uint8_t *out = enso_alloc_array((size_t)height * width, spec->channels);
    float *floats = enso_alloc_array((size_t)height * width * spec->channels, sizeof *floats);
    if (!out || !floats || enso_image_prepare(spec, &image, out, NULL) != ENSO_OK)
        abort();
    enso_image_table(spec, table);
    enso_image_normalise(spec, table, out, (size_t)height * width, floats);
    enso_free(out);
    enso_free(floats);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso_image_spec spec, defaults;
    json_t *root;

    if (enso_json_parse((const char *)data, size, NULL, &root, NULL) != ENSO_OK)
        return 0;
    enso_image_spec_default(&defaults, 32, 32, 3);
    if (enso_image_spec_from_huggingface(root, "f", &spec, NULL) == ENSO_OK)
        use(&spec);
    if (enso_image_spec_from_ensod(root, "f", &defaults, &spec, NULL) == ENSO_OK)
        use(&spec);
    json_decref(root);
    return 0;
}
