/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as a picture, decoded with small limits to RGB and to grey, and prepared for
 * a model of 32 x 32. Whatever is accepted must have the size that its header says.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/image/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void prepare(const struct enso_image *image, bool shortest)
{
    static uint8_t pixels[3 * 32 * 32];
    static float out[3 * 32 * 32], table[ENSO_IMAGE_TABLE_SIZE];
    struct enso_image_spec spec;

    enso_image_spec_default(&spec, shortest ? 40 : 32, shortest ? 40 : 32, image->channels);
    if (shortest) {
        spec.fit = ENSO_IMAGE_FIT_SHORTEST;
        spec.resample = ENSO_RESAMPLE_LANCZOS;
        spec.crop = true;
        spec.crop_height = spec.crop_width = 32;
    }
    if (enso_image_prepare(&spec, image, pixels, NULL) != ENSO_OK)
        abort();
    enso_image_table(&spec, table);
    enso_image_normalise(&spec, table, pixels, 32 * 32, out);
    for (size_t i = 0; i < (size_t)image->channels * 32 * 32; i++)
        if (!(out[i] >= 0.0F && out[i] <= 1.0F))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso_image_info info;

    if (enso_image_probe(data, size, &info, NULL) != ENSO_OK)
        return 0;
    for (uint8_t channels = 1; channels <= 3; channels += 2) {
        const struct enso_image_limits limits = {.max_pixels = 1 << 18,
                                                 .max_memory_bytes = 16 << 20,
                                                 .max_scans = 20,
                                                 .channels = channels};
        struct enso_image image;

        if (enso_image_decode(data, size, &limits, &image, NULL) != ENSO_OK)
            continue;
        bool turned = info.orientation >= 5;
        if (image.channels != channels || image.width != (turned ? info.height : info.width) ||
            image.height != (turned ? info.width : info.height))
            abort();
        prepare(&image, false);
        prepare(&image, true);
        enso_image_done(&image);
    }
    return 0;
}
