/* SPDX-License-Identifier: Apache-2.0
 *
 * The one thing we take from EXIF: the orientation. An EXIF block is a TIFF file without pictures:
 * byte order, magic 42, offset of the first directory; a directory is a count and entries of 12
 * bytes (tag, type, count, value or offset). A broken block means "not turned", as for Pillow: a
 * picture is not refused for its metadata.
 */
#include "engine/image/image_internal.h"

#include <string.h>

enum {
    TIFF_TYPE_SHORT = 3,
    TIFF_TYPE_LONG = 4,
    TAG_ORIENTATION = 0x0112,
};

static uint32_t read16(const uint8_t *p, bool big_endian)
{
    return big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t read32(const uint8_t *p, bool big_endian)
{
    return big_endian ? read16(p, true) << 16 | read16(p + 2, true)
                      : read16(p + 2, false) << 16 | read16(p, false);
}

static uint8_t orientation_of_entry(const uint8_t *entry, bool big_endian)
{
    uint32_t type = read16(entry + 2, big_endian);
    if (read32(entry + 4, big_endian) != 1)
        return 1;
    uint32_t value;
    if (type == TIFF_TYPE_SHORT)
        value = read16(entry + 8, big_endian);
    else if (type == TIFF_TYPE_LONG)
        value = read32(entry + 8, big_endian);
    else
        return 1;
    return value >= 1 && value <= 8 ? (uint8_t)value : 1;
}

uint8_t enso__image_exif_orientation(const uint8_t *exif, size_t size)
{
    if (size >= 6 && memcmp(exif, "Exif\0\0", 6) == 0) {
        exif += 6;
        size -= 6;
    }
    if (size < 8)
        return 1;
    bool big_endian;
    if (memcmp(exif, "MM\0*", 4) == 0)
        big_endian = true;
    else if (memcmp(exif, "II*\0", 4) == 0)
        big_endian = false;
    else
        return 1;
    size_t directory = read32(exif + 4, big_endian);
    if (directory > size || size - directory < 2)
        return 1;
    size_t n_entries = read16(exif + directory, big_endian);
    size_t n_whole = (size - directory - 2) / 12;
    if (n_entries > n_whole)
        n_entries = n_whole;
    for (size_t i = 0; i < n_entries; i++) {
        const uint8_t *entry = exif + directory + 2 + 12 * i;
        if (read16(entry, big_endian) == TAG_ORIENTATION)
            return orientation_of_entry(entry, big_endian);
    }
    return 1;
}
