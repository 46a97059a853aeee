/* SPDX-License-Identifier: Apache-2.0
 *
 * A labelled set in a folder with a folder of pictures for each class, at any depth: the folder a
 * file lies in names its class. Sorted by bytes at each level, so that the order is the same
 * everywhere. Links are followed, as sets are often made of them; a loop of them is an error.
 */
#include "cli/dataset.h"

#include <errno.h>
#include <string.h>

#include <fts.h>

#include "base/file.h"
#include "base/memory.h"

struct folder_set {
    FTS *tree;
    char *root; /* without slashes at the end, owned */
    size_t root_size;
    struct enso_buffer path, label;
    uint64_t n_skipped;
};

static int compare_names(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static enum enso_status folder_open(void *state, const struct enso_dataset_spec *spec,
                                    struct enso_error *err)
{
    struct folder_set *set = state;
    char *roots[2] = {NULL, NULL};

    set->root = enso_strdup(spec->path);
    if (set->root == NULL)
        return enso_error_no_memory(err, "the folder");
    set->root_size = strlen(set->root);
    while (set->root_size > 1 && set->root[set->root_size - 1] == '/')
        set->root[--set->root_size] = '\0';
    roots[0] = set->root;
    errno = 0;
    set->tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, compare_names);
    /* The first step, into the root: glibc's fts_close leaks a tree that was never read. */
    if (set->tree != NULL && fts_read(set->tree) != NULL)
        return ENSO_OK;
    if (errno == ENOMEM)
        return enso_error_no_memory(err, "the folder");
    return enso_error_set(err, ENSO_IO, "'%.200s': %s", spec->path, strerror(errno));
}

/* An item, if this is one: a file, or something that should be one, in a class's folder. */
static bool take_entry(struct folder_set *set, const FTSENT *entry)
{
    if (entry->fts_level < 2 || entry->fts_name[0] == '.' ||
        (entry->fts_info == FTS_DEFAULT)) /* a pipe, a device */
        return false;
    enso_buffer_clear(&set->path);
    enso_buffer_puts(&set->path, entry->fts_path);
    enso_buffer_clear(&set->label);
    enso_buffer_puts(&set->label, entry->fts_parent->fts_name);
    return true;
}

static enum enso_status folder_next(void *state, struct enso_dataset_item *ret, bool *ret_more,
                                    struct enso_error *err)
{
    struct folder_set *set = state;
    FTSENT *entry;

    for (errno = 0; (entry = fts_read(set->tree)) != NULL; errno = 0) {
        const char *path = entry->fts_path;

        switch (entry->fts_info) {
        case FTS_D:
            if (entry->fts_level > 0 && entry->fts_name[0] == '.')
                (void)fts_set(set->tree, entry, FTS_SKIP); /* fails for unknown orders alone */
            continue;
        case FTS_DP:
            continue;
        case FTS_DC:
            return enso_error_set(err, ENSO_INVALID, "'%.300s' is a link to a folder it lies in",
                                  path);
        case FTS_DNR:
        case FTS_ERR:
            return enso_error_set(err, ENSO_IO, "'%.300s': %s", path, strerror(entry->fts_errno));
        default:
            break;
        }
        if (!take_entry(set, entry)) {
            set->n_skipped++;
            continue;
        }
        if (set->path.failed || set->label.failed)
            return enso_error_no_memory(err, "a file's path");
        path = set->path.data + set->root_size;
        *ret =
            (struct enso_dataset_item){.name = path + strspn(path, "/"), .label = set->label.data};
        *ret_more = true;
        return ENSO_OK;
    }
    *ret_more = false;
    if (errno == ENOMEM)
        return enso_error_no_memory(err, "the folder");
    return errno == 0 ? ENSO_OK
                      : enso_error_set(err, ENSO_IO, "'%.200s': %s", set->root, strerror(errno));
}

static enum enso_status folder_read(void *state, struct enso_buffer *content,
                                    struct enso_error *ret_problem, struct enso_error *err)
{
    struct folder_set *set = state;
    struct enso_error why = {0};
    char *bytes = NULL;
    size_t size = 0;
    enum enso_status st =
        enso_file_read(set->path.data, ENSO_DATASET_MAX_PICTURE, &bytes, &size, &why);

    if (st == ENSO_NO_MEMORY)
        return enso_error_no_memory(err, "a picture");
    if (st != ENSO_OK) {
        *ret_problem = why;
        return ENSO_OK;
    }
    enso_buffer_append(content, bytes, size);
    enso_free(bytes);
    if (!content->failed)
        enso_dataset_check_picture(content, ret_problem);
    return ENSO_OK;
}

static uint64_t folder_skipped(const void *state)
{
    const struct folder_set *set = state;

    return set->n_skipped;
}

static void folder_close(void *state)
{
    struct folder_set *set = state;

    if (set->tree != NULL)
        (void)fts_close(set->tree); /* it was only read */
    enso_buffer_done(&set->path);
    enso_buffer_done(&set->label);
    enso_free(set->root);
}

const struct enso_dataset_kind enso_dataset_folder = {
    .state_size = sizeof(struct folder_set),
    .pictures = true,
    .open = folder_open,
    .next = folder_next,
    .read = folder_read,
    .skipped = folder_skipped,
    .close = folder_close,
};
