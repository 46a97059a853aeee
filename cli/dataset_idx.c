/* SPDX-License-Identifier: Apache-2.0
 *
 * A labelled set in two idx files (cli/idx.h): pictures of bytes, [n, height, width] grey or
 * [n, height, width, 3] RGB, and labels [n]. Each picture is sent as a PNG, which loses nothing.
 */
#include "cli/dataset.h"

#include <stdio.h>
#include <string.h>

#include <png.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/idx.h"
#include "cli/stream.h"

struct idx_set {
    struct enso_idx pictures, labels;
    unsigned char *pixels; /* [item_bytes], owned */
    char name[32], label[8];
};

/* --- the two files -----------------------------------------------------------------------------
 */

static enum enso_status open_idx(struct enso_idx *idx, const char *path, struct enso_error *err)
{
    struct enso_stream *stream = NULL;
    enum enso_status st = enso_stream_open(path, &stream, err);

    return st == ENSO_OK ? enso_idx_init(idx, stream, err) : st;
}

/* "x/t10k-images-idx3-ubyte.gz" to "x/t10k-labels-idx1-ubyte.gz", or false. */
static bool labels_name(const char *path, struct enso_buffer *b)
{
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    const char *images = strstr(name, "images"), *idx;

    idx = images != NULL ? strstr(images, "idx") : NULL;
    if (idx == NULL || (idx[3] != '3' && idx[3] != '4'))
        return false;
    enso_buffer_append(b, path, (size_t)(images - path));
    enso_buffer_puts(b, "labels");
    enso_buffer_append(b, images + 6, (size_t)(idx - images) - 6);
    enso_buffer_puts(b, "idx1");
    enso_buffer_puts(b, idx + 4);
    return true;
}

/* As the name was made, or the other way as to ".gz". */
static enum enso_status find_labels(const char *path, struct enso_buffer *b, struct enso_error *err)
{
    bool named = labels_name(path, b);

    if (named && !b->failed && !enso_file_exists(b->data)) {
        if (b->size > 3 && strcmp(b->data + b->size - 3, ".gz") == 0)
            b->data[b->size -= 3] = '\0';
        else
            enso_buffer_puts(b, ".gz");
    }
    if (b->failed)
        return enso_error_no_memory(err, "the labels' path");
    if (named && enso_file_exists(b->data))
        return ENSO_OK;
    return enso_error_set(err, ENSO_NOT_FOUND,
                          "'%.200s': the file of its labels was not found beside it; name it with "
                          "--labels FILE",
                          path);
}

static enum enso_status open_labels(struct idx_set *set, const struct enso_dataset_spec *spec,
                                    struct enso_error *err)
{
    struct enso_buffer path = ENSO_BUFFER_INIT;
    enum enso_status st = ENSO_OK;

    if (spec->labels_path == NULL)
        st = find_labels(spec->path, &path, err);
    if (st == ENSO_OK)
        st = open_idx(&set->labels, spec->labels_path != NULL ? spec->labels_path : path.data, err);
    enso_buffer_done(&path);
    return st;
}

static enum enso_status check_shapes(const struct idx_set *set, const char *path,
                                     struct enso_error *err)
{
    const struct enso_idx *p = &set->pictures, *l = &set->labels;

    if (l->n_dimensions != 1)
        return enso_error_set(
            err, ENSO_INVALID,
            "'%.200s' has %u dimensions; labels have one, a byte for each picture",
            enso_stream_name(l->stream), l->n_dimensions);
    if (p->dimensions[0] != l->dimensions[0])
        return enso_error_set(err, ENSO_INVALID,
                              "'%.200s' has %u pictures, but there are %u labels in '%.100s'", path,
                              p->dimensions[0], l->dimensions[0], enso_stream_name(l->stream));
    return ENSO_OK;
}

static enum enso_status idx_open(void *state, const struct enso_dataset_spec *spec,
                                 struct enso_error *err)
{
    struct idx_set *set = state;
    enum enso_status st = open_idx(&set->pictures, spec->path, err);
    const struct enso_idx *p = &set->pictures;

    if (st == ENSO_OK && p->n_dimensions < 3)
        st = enso_error_set(err, ENSO_INVALID,
                            "'%.200s' holds no pictures (%u dimension%s); name the file of "
                            "pictures, and if need be its labels with --labels",
                            spec->path, p->n_dimensions, p->n_dimensions == 1 ? "" : "s");
    if (st == ENSO_OK && p->n_dimensions == 4 && p->dimensions[3] != 3)
        st = enso_error_set(err, ENSO_UNSUPPORTED,
                            "'%.200s': pictures of %u channels; grey (3 dimensions) and RGB (a "
                            "fourth of 3) are read",
                            spec->path, p->dimensions[3]);
    if (st == ENSO_OK)
        st = open_labels(set, spec, err);
    if (st == ENSO_OK)
        st = check_shapes(set, spec->path, err);
    if (st != ENSO_OK)
        return st;
    set->pixels = enso_alloc(p->item_bytes);
    return set->pixels != NULL ? ENSO_OK : enso_error_no_memory(err, "a picture");
}

/* --- items -------------------------------------------------------------------------------------
 */

static enum enso_status idx_next(void *state, struct enso_dataset_item *ret, bool *ret_more,
                                 struct enso_error *err)
{
    struct idx_set *set = state;
    unsigned at = set->pictures.at;
    unsigned char label = 0;
    enum enso_status st = enso_idx_next(&set->pictures, set->pixels, ret_more, err);

    if (st == ENSO_OK)
        st = enso_idx_next(&set->labels, &label, ret_more, err); /* as many: checked */
    if (st != ENSO_OK || !*ret_more)
        return st;
    (void)snprintf(set->name, sizeof set->name, "index %u", at); /* both fit */
    (void)snprintf(set->label, sizeof set->label, "%u", label);
    *ret = (struct enso_dataset_item){.name = set->name, .label = set->label};
    return ENSO_OK;
}

static enum enso_status idx_read(void *state, struct enso_buffer *content,
                                 struct enso_error *ret_problem, struct enso_error *err)
{
    struct idx_set *set = state;
    const struct enso_idx *p = &set->pictures;
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = p->dimensions[2],
                       .height = p->dimensions[1],
                       .format = p->n_dimensions == 3 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);

    if (!enso_buffer_reserve(content, size))
        return enso_error_no_memory(err, "a picture");
    if (png_image_write_to_memory(&image, content->data, &size, 0, set->pixels, 0, NULL))
        content->size = size;
    else
        (void)enso_error_set(ret_problem, ENSO_INVALID, "as a PNG: %s", image.message);
    return ENSO_OK;
}

static void idx_close(void *state)
{
    struct idx_set *set = state;

    enso_idx_done(&set->pictures);
    enso_idx_done(&set->labels);
    enso_free(set->pixels);
}

const struct enso_dataset_kind enso_dataset_idx = {
    .state_size = sizeof(struct idx_set),
    .pictures = true,
    .open = idx_open,
    .next = idx_next,
    .read = idx_read,
    .close = idx_close,
};
