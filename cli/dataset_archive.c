/* SPDX-License-Identifier: Apache-2.0
 *
 * A labelled set in a tar or zip of pictures: the last folder of an entry's path is its class.
 * Over libarchive, read from front to back; nothing is extracted, so that links, absolute paths and
 * ".." mean nothing: what is no regular file is passed over. Sizes that headers claim are not
 * believed; a picture ends at ENSO_DATASET_MAX_PICTURE. libarchive gives names in the locale's
 * encoding, which is UTF-8 while it reads headers.
 */
#include "cli/dataset.h"

#include <errno.h>
#include <locale.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "cli/stream.h"

#define BLOCK_BYTES 65536

struct archive_set {
    struct archive *archive;
    locale_t utf8; /* 0: there is none, ASCII names it is */
    char *file;    /* owned */
    struct enso_buffer name, label;
    uint64_t n_skipped;
    char block[BLOCK_BYTES];
};

static const char *why_of(const struct archive_set *set)
{
    const char *why = archive_error_string(set->archive);

    return why != NULL ? why : "it cannot be read";
}

static enum enso_status failed(const struct archive_set *set, struct enso_error *err)
{
    if (archive_errno(set->archive) == ENOMEM)
        return enso_error_no_memory(err, "the archive");
    return enso_error_set(err, ENSO_CORRUPT, "'%.200s': %s%s%.100s", set->file, why_of(set),
                          set->name.size != 0 ? ", after " : "",
                          set->name.size != 0 ? set->name.data : "");
}

static enum enso_status archive_open(void *state, const struct enso_dataset_spec *spec,
                                     struct enso_error *err)
{
    struct archive_set *set = state;
    enum enso_status st = enso_stream_check_file(spec->path, err);

    if (st != ENSO_OK)
        return st;
    set->file = enso_strdup(spec->path);
    set->archive = archive_read_new();
    set->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (set->file == NULL || set->archive == NULL ||
        archive_read_support_format_tar(set->archive) != ARCHIVE_OK ||
        archive_read_support_format_zip(set->archive) != ARCHIVE_OK)
        return enso_error_no_memory(err, "the archive");
    st = enso_stream_support_filters(set->archive, err);
    if (st == ENSO_OK &&
        archive_read_open_filename(set->archive, spec->path, BLOCK_BYTES) < ARCHIVE_WARN)
        st = failed(set, err);
    return st;
}

/* The path as bytes, or as the UTF-8 that a pax header or a zip says; NULL when there is none. */
static const char *path_of(struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);

    return path != NULL ? path : archive_entry_pathname_utf8(entry);
}

static bool take_entry(struct archive_set *set, struct archive_entry *entry)
{
    const char *path = path_of(entry);

    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != NULL ||
        archive_entry_hardlink_utf8(entry) != NULL)
        return false;
    if (path == NULL || !enso_utf8_valid(path, strlen(path), NULL))
        return false;
    if (!enso_dataset_split_path(path, &set->label))
        return false;
    enso_buffer_clear(&set->name);
    enso_buffer_puts(&set->name, path);
    return true;
}

/* The next entry that is an item; false at the end, with libarchive's code. */
static bool next_item(struct archive_set *set, int *ret_code)
{
    struct archive_entry *entry;

    while ((*ret_code = archive_read_next_header(set->archive, &entry)) >= ARCHIVE_WARN &&
           *ret_code != ARCHIVE_EOF) {
        if (take_entry(set, entry))
            return true;
        set->n_skipped += archive_entry_filetype(entry) != AE_IFDIR;
    }
    return false;
}

static enum enso_status archive_next(void *state, struct enso_dataset_item *ret, bool *ret_more,
                                     struct enso_error *err)
{
    struct archive_set *set = state;
    locale_t before = set->utf8 != (locale_t)0 ? uselocale(set->utf8) : (locale_t)0;
    int code;

    *ret_more = next_item(set, &code);
    if (before != (locale_t)0)
        (void)uselocale(before); /* it was valid */
    if (!*ret_more)
        return code == ARCHIVE_EOF ? ENSO_OK : failed(set, err);
    if (set->name.failed || set->label.failed)
        return enso_error_no_memory(err, "an entry's name");
    *ret = (struct enso_dataset_item){.name = set->name.data, .label = set->label.data};
    return ENSO_OK;
}

static enum enso_status archive_read_item(void *state, struct enso_buffer *content,
                                          struct enso_error *ret_problem, struct enso_error *err)
{
    struct archive_set *set = state;
    la_ssize_t n;

    while ((n = archive_read_data(set->archive, set->block, sizeof set->block)) > 0) {
        if (content->size + (size_t)n > ENSO_DATASET_MAX_PICTURE)
            break;
        enso_buffer_append(content, set->block, (size_t)n);
    }
    if (n == ARCHIVE_FATAL)
        return failed(set, err);
    if (n > 0)
        (void)enso_error_set(ret_problem, ENSO_TOO_LARGE, "more than 64 MiB"); /* of the item */
    else if (n < 0)
        (void)enso_error_set(ret_problem, ENSO_CORRUPT, "%s", why_of(set)); /* so too */
    else if (!content->failed)
        enso_dataset_check_picture(content, ret_problem);
    return ENSO_OK;
}

static uint64_t archive_skipped(const void *state)
{
    const struct archive_set *set = state;

    return set->n_skipped;
}

static void archive_close_set(void *state)
{
    struct archive_set *set = state;

    (void)archive_read_free(set->archive); /* it was only read; NULL is fine */
    enso_buffer_done(&set->name);
    enso_buffer_done(&set->label);
    enso_free(set->file);
    if (set->utf8 != (locale_t)0)
        freelocale(set->utf8);
}

const struct enso_dataset_kind enso_dataset_archive = {
    .state_size = sizeof(struct archive_set),
    .pictures = true,
    .open = archive_open,
    .next = archive_next,
    .read = archive_read_item,
    .skipped = archive_skipped,
    .close = archive_close_set,
};
