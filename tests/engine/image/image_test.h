/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the tests of engine/image/: the golden files, made by golden/make_golden.py.
 */
#ifndef ENSO_TESTS_IMAGE_TEST_H
#define ENSO_TESTS_IMAGE_TEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/image/image.h"
#include "tests/support/support.h"

struct bytes {
    char *data;
    size_t size;
};

static inline struct bytes read_file(const char *path)
{
    struct bytes b;
    struct enso_error err = {0};
    if (enso_file_read(path, 16 << 20, &b.data, &b.size, &err) != ENSO_OK)
        ck_abort_msg("%s", err.message);
    return b;
}

static inline struct bytes read_golden(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/engine/image/golden/%s", ENSO_TOP_SRCDIR, name);
    return read_file(path);
}

static inline struct enso_image decode_golden(const char *name, uint8_t channels)
{
    struct bytes b = read_golden(name);
    struct enso_error err = {0};
    struct enso_image image;
    const struct enso_image_limits limits = {.channels = channels};
    if (enso_image_decode(b.data, b.size, &limits, &image, &err) != ENSO_OK)
        ck_abort_msg("%s: %s", name, err.message);
    enso_free(b.data);
    return image;
}

/* Call with each line of a file of JSON lines; returns how many there were. */
static inline size_t each_line(const char *name, void (*row)(const json_t *))
{
    struct bytes b = read_golden(name);
    size_t n = 0;
    for (char *line = b.data, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        json_t *root;
        ck_assert_int_eq(enso_json_parse(line, (size_t)(end - line), NULL, &root, NULL), ENSO_OK);
        row(root);
        json_decref(root);
    }
    enso_free(b.data);
    return n;
}

static inline const char *row_string(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    ck_assert_msg(s != NULL, "the golden file lacks '%s'", key);
    return s;
}

static inline uint32_t row_number(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);
    ck_assert_msg(json_is_integer(v), "the golden file lacks '%s'", key);
    return (uint32_t)json_integer_value(v);
}

static inline uint64_t fnv1a(const void *data, size_t size)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* The pixels are those of the row: by hash, or within `tolerance` of the hexadecimal ones. */
static inline void check_pixels(const json_t *row, const struct enso_image *image, int tolerance)
{
    size_t n = (size_t)image->width * image->height * image->channels;
    const char *file = row_string(row, "file");
    ck_assert_uint_eq(image->width, row_number(row, "width"));
    ck_assert_uint_eq(image->height, row_number(row, "height"));
    ck_assert_uint_eq(image->channels, row_number(row, "channels"));
    if (json_object_get(row, "fnv1a")) {
        uint64_t expected = strtoull(row_string(row, "fnv1a"), NULL, 16);
        ck_assert_msg(fnv1a(image->pixels, n) == expected, "%s %s: other pixels than Pillow's",
                      file, json_dumps(row, JSON_COMPACT));
        return;
    }
    const char *hex = row_string(row, "pixels");
    ck_assert_uint_eq(strlen(hex), 2 * n);
    for (size_t i = 0; i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        int expected = (int)strtol(two, NULL, 16);
        ck_assert_msg(abs(expected - image->pixels[i]) <= tolerance, "%s: sample %zu is %d, not %d",
                      file, i, image->pixels[i], expected);
    }
}

#endif
