/* SPDX-License-Identifier: Apache-2.0
 *
 * A small command for tests/parity/images_parity.py: what ensod makes of a picture, raw on standard
 * output. The first line is "width height channels", then the samples follow.
 *
 *     prepare_cli decode FILE CHANNELS            bytes
 *     prepare_cli resize FILE WIDTH HEIGHT FILTER bytes
 *     prepare_cli prepare FILE CONFIG             f32 [channels, height, width], CONFIG being a
 *                                                 preprocessor_config.json
 *     prepare_cli time FILE WIDTH HEIGHT FILTER   milliseconds of decode and resize, best of 5
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/image/prepare.h"

static int fail(const struct enso_error *err)
{
    fprintf(stderr, "%s: %s\n", enso_status_name(err->status), err->message);
    return 1;
}

static int write_image(const struct enso_image *image)
{
    printf("%u %u %u\n", image->width, image->height, image->channels);
    size_t n = (size_t)image->width * image->height * image->channels;
    return fwrite(image->pixels, 1, n, stdout) == n && fflush(stdout) == 0 ? 0 : 1;
}

static enum enso_status load(const char *path, uint8_t channels, struct enso_image *image,
                             struct enso_error *err)
{
    char *bytes;
    size_t size;
    enum enso_status st = enso_file_read(path, 64 << 20, &bytes, &size, err);
    if (st != ENSO_OK)
        return st;
    const struct enso_image_limits limits = {.channels = channels};
    st = enso_image_decode(bytes, size, &limits, image, err);
    enso_free(bytes);
    return st;
}

static enum enso_status load_spec(const char *path, struct enso_image_spec *spec,
                                  struct enso_error *err)
{
    char *text;
    size_t size;
    json_t *root = NULL;
    enum enso_status st = enso_file_read(path, 1 << 20, &text, &size, err);
    if (st != ENSO_OK)
        return st;
    st = enso_json_parse(text, size, NULL, &root, err);
    if (st == ENSO_OK)
        st = enso_image_spec_from_huggingface(root, path, spec, err);
    json_decref(root);
    enso_free(text);
    return st;
}

static int prepare(const char *path, const char *config)
{
    struct enso_error err = {0};
    struct enso_image_spec spec;
    struct enso_image image = {0};
    uint32_t height, width;
    uint8_t *pixels = NULL;
    float *out = NULL, table[ENSO_IMAGE_TABLE_SIZE];
    enum enso_status st = load_spec(config, &spec, &err);
    if (st == ENSO_OK)
        st = load(path, spec.channels, &image, &err);
    if (st == ENSO_OK)
        st = enso_image_prepare_size(&spec, image.width, image.height, &height, &width, &err);
    if (st == ENSO_OK) {
        size_t n = (size_t)height * width * spec.channels;
        pixels = enso_alloc_array(n, 1);
        out = enso_alloc_array(n, sizeof *out);
        st = pixels && out ? enso_image_prepare(&spec, &image, pixels, &err)
                           : enso_error_no_memory(&err, "the tensor");
        if (st == ENSO_OK) {
            enso_image_table(&spec, table);
            enso_image_normalise(&spec, table, pixels, (size_t)height * width, out);
            printf("%u %u %u\n", width, height, spec.channels);
            fwrite(out, sizeof *out, n, stdout);
        }
    }
    enso_free(out);
    enso_free(pixels);
    enso_image_done(&image);
    return st == ENSO_OK ? 0 : fail(&err);
}

static int measure(const char *path, uint32_t width, uint32_t height, enum enso_resample filter)
{
    struct enso_error err = {0};
    uint64_t best_decode = UINT64_MAX, best_resize = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        struct enso_image image, small;
        uint64_t start = enso_clock_now_ns();
        if (load(path, 3, &image, &err) != ENSO_OK)
            return fail(&err);
        uint64_t middle = enso_clock_now_ns();
        if (enso_image_resize(&image, width, height, filter, NULL, &small, &err) != ENSO_OK)
            return fail(&err);
        uint64_t end = enso_clock_now_ns();
        best_decode = ENSO_MIN(best_decode, middle - start);
        best_resize = ENSO_MIN(best_resize, end - middle);
        enso_image_done(&image);
        enso_image_done(&small);
    }
    printf("decode %.2f ms, resize %.2f ms\n", (double)best_decode / ENSO_NS_PER_MS,
           (double)best_resize / ENSO_NS_PER_MS);
    return 0;
}

static int usage(void)
{
    fputs("usage: prepare_cli decode FILE CHANNELS | prepare FILE CONFIG | resize|time FILE WIDTH "
          "HEIGHT FILTER\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct enso_error err = {0};
    struct enso_image image, small;
    if (argc == 4 && strcmp(argv[1], "decode") == 0) {
        if (load(argv[2], (uint8_t)strtoul(argv[3], NULL, 10), &image, &err) != ENSO_OK)
            return fail(&err);
        int rc = write_image(&image);
        enso_image_done(&image);
        return rc;
    }
    if (argc == 4 && strcmp(argv[1], "prepare") == 0)
        return prepare(argv[2], argv[3]);
    if (argc != 6)
        return usage();
    uint32_t width = (uint32_t)strtoul(argv[3], NULL, 10);
    uint32_t height = (uint32_t)strtoul(argv[4], NULL, 10);
    int filter = enso_resample_from_name(argv[5]);
    if (filter < 0)
        return usage();
    if (strcmp(argv[1], "time") == 0)
        return measure(argv[2], width, height, (enum enso_resample)filter);
    if (strcmp(argv[1], "resize") != 0)
        return usage();
    if (load(argv[2], 3, &image, &err) != ENSO_OK)
        return fail(&err);
    enum enso_status st =
        enso_image_resize(&image, width, height, (enum enso_resample)filter, NULL, &small, &err);
    enso_image_done(&image);
    if (st != ENSO_OK)
        return fail(&err);
    int rc = write_image(&small);
    enso_image_done(&small);
    return rc;
}
