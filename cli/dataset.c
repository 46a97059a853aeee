/* SPDX-License-Identifier: Apache-2.0
 *
 * Labelled sets: see dataset.h. This file chooses the kind by the path.
 */
#include "cli/dataset.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "cli/inputs.h"
#include "cli/options.h"

struct enso_dataset {
    const struct enso_dataset_kind *kind;
    void *state;
};

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);

    return n > m && strcasecmp(name + n - m, ending) == 0;
}

static const struct enso_dataset_kind *kind_of_file(const char *path)
{
    static const struct {
        const char *ending;
        const struct enso_dataset_kind *kind;
    } endings[] = {
        {".csv", &enso_dataset_csv},         {".tsv", &enso_dataset_csv},
        {".tab", &enso_dataset_csv},         {".csv.gz", &enso_dataset_csv},
        {".tsv.gz", &enso_dataset_csv},      {".tar", &enso_dataset_archive},
        {".tar.gz", &enso_dataset_archive},  {".tgz", &enso_dataset_archive},
        {".tar.bz2", &enso_dataset_archive}, {".tar.xz", &enso_dataset_archive},
        {".tar.zst", &enso_dataset_archive}, {".zip", &enso_dataset_archive},
    };
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(endings); i++) {
        if (ends_with(name, endings[i].ending))
            return endings[i].kind;
    }
    return strstr(name, "idx") != NULL ? &enso_dataset_idx : NULL;
}

static enum enso_status choose_kind(const char *path, const struct enso_dataset_kind **ret,
                                    struct enso_error *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return enso_error_set(err, errno == ENOENT ? ENSO_NOT_FOUND : ENSO_IO, "'%.200s': %s", path,
                              strerror(errno));
    *ret = S_ISDIR(st.st_mode) ? &enso_dataset_folder : kind_of_file(path);
    if (*ret != NULL)
        return ENSO_OK;
    return enso_error_set(err, ENSO_UNSUPPORTED,
                          "'%.200s': its name does not tell what it is; a labelled set is a .csv "
                          "or .tsv, a folder of folders of pictures, a .tar, .tar.gz or .zip of "
                          "such, or an idx file (...-images-idx3-ubyte.gz)",
                          path);
}

/* What the user said is about this kind of set. */
static enum enso_status check_options(const struct enso_dataset_spec *spec,
                                      const struct enso_dataset_kind *kind, struct enso_error *err)
{
    if (spec->labels_path != NULL && kind != &enso_dataset_idx)
        return enso_cli_usage(err, "--labels is for an idx set; '%.200s' has its labels in it",
                              spec->path);
    if ((spec->text_column != NULL || spec->label_column != NULL) && kind != &enso_dataset_csv)
        return enso_cli_usage(err,
                              "--text-column and --label-column are for a .csv or .tsv, not "
                              "for '%.200s'",
                              spec->path);
    return ENSO_OK;
}

enum enso_status enso_dataset_open(const struct enso_dataset_spec *spec, struct enso_dataset **ret,
                                   struct enso_error *err)
{
    const struct enso_dataset_kind *kind = NULL;
    struct enso_dataset *set;
    enum enso_status st = choose_kind(spec->path, &kind, err);

    if (st == ENSO_OK)
        st = check_options(spec, kind, err);
    if (st != ENSO_OK)
        return st;
    set = enso_alloc_zero(1, sizeof *set);
    if (set == NULL)
        return enso_error_no_memory(err, "the set");
    set->kind = kind;
    set->state = enso_alloc_zero(1, kind->state_size);
    st = set->state != NULL ? kind->open(set->state, spec, err)
                            : enso_error_no_memory(err, "the set");
    if (st == ENSO_OK)
        *ret = set;
    else
        enso_dataset_close(set);
    return st;
}

void enso_dataset_close(struct enso_dataset *set)
{
    if (set == NULL)
        return;
    if (set->state != NULL)
        set->kind->close(set->state);
    enso_free(set->state);
    enso_free(set);
}

bool enso_dataset_has_pictures(const struct enso_dataset *set)
{
    return set->kind->pictures;
}

enum enso_status enso_dataset_next(struct enso_dataset *set, struct enso_dataset_item *ret,
                                   bool *ret_more, struct enso_error *err)
{
    return set->kind->next(set->state, ret, ret_more, err);
}

enum enso_status enso_dataset_read(struct enso_dataset *set, struct enso_buffer *content,
                                   struct enso_error *ret_problem, struct enso_error *err)
{
    enum enso_status st;

    enso_buffer_clear(content);
    st = set->kind->read(set->state, content, ret_problem, err);
    if (st == ENSO_OK && content->failed && ret_problem->status == ENSO_OK)
        st = enso_error_no_memory(err, "an item of the set");
    return st;
}

uint64_t enso_dataset_skipped(const struct enso_dataset *set)
{
    return set->kind->skipped != NULL ? set->kind->skipped(set->state) : 0;
}

bool enso_dataset_split_path(const char *path, struct enso_buffer *label)
{
    const char *slash = strrchr(path, '/'), *from = slash;

    if (slash == NULL || slash[1] == '\0' || slash[1] == '.')
        return false;
    while (from > path && from[-1] != '/')
        from--;
    if (from == slash || *from == '.')
        return false; /* "/x.png", "./x.png", "../x.png", ".git/x" are in no class */
    enso_buffer_clear(label);
    enso_buffer_append(label, from, (size_t)(slash - from));
    return true;
}

void enso_dataset_check_picture(const struct enso_buffer *content, struct enso_error *ret_problem)
{
    if (content->size == 0)
        (void)enso_error_set(ret_problem, ENSO_INVALID, "the file is empty"); /* told to the item */
    else if (enso_cli_picture_type(content->data, content->size) == NULL)
        (void)enso_error_set(ret_problem, ENSO_INVALID, "no JPEG, PNG or WebP picture");
}
