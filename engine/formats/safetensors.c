/* SPDX-License-Identifier: Apache-2.0
 *
 * Safetensors: see safetensors.h for the layout. Built for some hundred to some ten thousand
 * tensors, looked up once each: one array sorted by name, names in an arena. Headers are hostile
 * until checked: every offset against the file, every product for overflow.
 */
#include "ensod_build.h"

#include "engine/formats/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/formats/weights_file.h"

#define MAX_HEADER_BYTES 100000000 /* the format's own limit */
#define MAX_INDEX_BYTES 100000000  /* an index names the same tensors as the headers */
#define MAX_SHARDS 1024

struct entry {
    const char *name; /* in the arena */
    uint64_t begin, end;
    uint32_t file; /* index into files */
    enum enso_dtype dtype;
    uint8_t rank;
    int64_t dims[ENSO_MAX_RANK];
};

struct enso_safetensors {
    struct enso_weights_file **files;
    const char **shard_names; /* without folder, in the arena; NULL unless there is an index */
    size_t n_files;
    struct entry *entries; /* sorted by name once opened */
    size_t n_entries, capacity;
    struct enso_arena names;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int compare_offsets(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* A file's JSON that is wrong is a corrupt file, not a caller's mistake. */
static enum enso_status corrupt(enum enso_status st, const char *path, struct enso_error *err)
{
    if (st == ENSO_INVALID) {
        st = ENSO_CORRUPT;
        if (err != NULL)
            err->status = st;
    }
    enso_error_prefix(err, "'%s': ", path);
    return st;
}

static enum enso_status read_dims(const json_t *info, struct entry *e, struct enso_error *err)
{
    json_t *shape;
    enum enso_status st =
        enso_json_get_array(info, e->name, "shape", ENSO_JSON_REQUIRED, &shape, err);

    if (st != ENSO_OK)
        return st;
    if (json_array_size(shape) > ENSO_MAX_RANK)
        return enso_error_set(err, ENSO_UNSUPPORTED, "%zu dimensions, but at most %d are supported",
                              json_array_size(shape), ENSO_MAX_RANK);
    e->rank = (uint8_t)json_array_size(shape);
    for (size_t i = 0; i < e->rank; i++) {
        const json_t *dim = json_array_get(shape, i);

        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "dimension %zu of shape is not a number of 0 or more", i);
        e->dims[i] = json_integer_value(dim);
    }
    return ENSO_OK;
}

static enum enso_status read_offsets(const json_t *info, struct entry *e, uint64_t data_bytes,
                                     struct enso_error *err)
{
    const json_t *begin, *end;
    json_t *offsets;
    enum enso_status st =
        enso_json_get_array(info, e->name, "data_offsets", ENSO_JSON_REQUIRED, &offsets, err);

    if (st != ENSO_OK)
        return st;
    begin = json_array_get(offsets, 0);
    end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return enso_error_set(err, ENSO_CORRUPT,
                              "data_offsets is not [begin, end] with 0 <= begin <= end");
    e->begin = (uint64_t)json_integer_value(begin);
    e->end = (uint64_t)json_integer_value(end);
    if (e->end > data_bytes)
        return enso_error_set(err, ENSO_CORRUPT,
                              "data_offsets end at %" PRIu64 ", but the file holds only %" PRIu64
                              " bytes of data; it may be truncated",
                              e->end, data_bytes);
    return ENSO_OK;
}

/* One "NAME": {...} of a header; e->name is set. */
static enum enso_status read_entry(const json_t *info, struct entry *e, uint64_t data_bytes,
                                   struct enso_error *err)
{
    const char *dtype;
    int64_t count;
    enum enso_status st;
    size_t bytes;

    if (!json_is_object(info))
        return enso_error_set(err, ENSO_CORRUPT,
                              "%s in place of an object with dtype, shape and "
                              "data_offsets",
                              enso_json_type_name(info));
    st = enso_json_get_string(info, e->name, "dtype", ENSO_JSON_REQUIRED, &dtype, NULL, err);
    if (st != ENSO_OK)
        return st;
    if (!enso_dtype_from_safetensors(dtype, &e->dtype))
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "type '%.20s' is not supported; convert the weights to F32, F16 or "
                              "BF16",
                              dtype);
    st = read_dims(info, e, err);
    if (st == ENSO_OK)
        st = read_offsets(info, e, data_bytes, err);
    if (st != ENSO_OK)
        return st;
    if (!enso_dims_count(e->dims, e->rank, &count) || (uint64_t)count > SIZE_MAX ||
        (bytes = enso_dtype_row_bytes(e->dtype, (size_t)count)) == SIZE_MAX)
        return enso_error_set(err, ENSO_CORRUPT, "its shape has more elements than can be counted");
    if (bytes != e->end - e->begin)
        return enso_error_set(err, ENSO_CORRUPT,
                              "shape and type need %zu bytes, but data_offsets give it %" PRIu64,
                              bytes, e->end - e->begin);
    return ENSO_OK;
}

/* The reference refuses holes: every byte of data belongs to exactly one tensor. */
static enum enso_status check_cover(struct entry *entries, size_t n, uint64_t data_bytes,
                                    struct enso_error *err)
{
    uint64_t position = 0;

    qsort(entries, n, sizeof *entries, compare_offsets);
    for (size_t i = 0; i < n; i++) {
        if (entries[i].begin != position)
            return enso_error_set(err, ENSO_CORRUPT,
                                  "tensor '%.100s': starts at byte %" PRIu64
                                  " of the data, %s the end of the one before at %" PRIu64
                                  "; tensors must follow each other without %s",
                                  entries[i].name, entries[i].begin,
                                  entries[i].begin < position ? "inside" : "beyond", position,
                                  entries[i].begin < position ? "overlap" : "holes");
        position = entries[i].end;
    }
    if (position != data_bytes)
        return enso_error_set(err, ENSO_CORRUPT,
                              "%" PRIu64 " bytes after the last tensor belong to none",
                              data_bytes - position);
    return ENSO_OK;
}

static enum enso_status reserve(struct enso_safetensors *st, size_t more, struct enso_error *err)
{
    struct entry *entries;
    size_t capacity;

    /* One more than needed, so that the array is never NULL. */
    if (!enso_size_add(st->n_entries, more, &capacity) || !enso_size_add(capacity, 1, &capacity))
        return enso_error_no_memory(err, "the tensors of a safetensors header");
    if (capacity <= st->capacity)
        return ENSO_OK;
    entries = enso_realloc_array(st->entries, capacity, sizeof *entries);
    if (entries == NULL)
        return enso_error_no_memory(err, "the tensors of a safetensors header");
    st->entries = entries;
    st->capacity = capacity;
    return ENSO_OK;
}

/* Adds all tensors of a parsed header, checked. data_start is where offsets count from. */
static enum enso_status add_header(struct enso_safetensors *st, size_t file, json_t *root,
                                   uint64_t data_start, struct enso_error *err)
{
    uint64_t data_bytes = enso_weights_file_size(st->files[file]) - data_start;
    size_t first = st->n_entries;
    enum enso_status status;
    const char *name;
    json_t *info;

    if (!json_is_object(root))
        return enso_error_set(err, ENSO_CORRUPT, "the header is %s, not an object",
                              enso_json_type_name(root));
    status = reserve(st, json_object_size(root), err);
    if (status != ENSO_OK)
        return status;
    json_object_foreach(root, name, info)
    {
        struct entry *e = &st->entries[st->n_entries];

        if (strcmp(name, "__metadata__") == 0)
            continue;
        *e = (struct entry){.name = enso_arena_strndup(&st->names, name, strlen(name)),
                            .file = (uint32_t)file};
        if (e->name == NULL)
            return enso_error_no_memory(err, "the tensors of a safetensors header");
        status = read_entry(info, e, data_bytes, err);
        if (status != ENSO_OK) {
            enso_error_prefix(err, "tensor '%.100s': ", name);
            return status;
        }
        st->n_entries++;
    }
    status = check_cover(st->entries + first, st->n_entries - first, data_bytes, err);
    for (size_t i = first; i < st->n_entries; i++) {
        st->entries[i].begin += data_start; /* from here on offsets in the file */
        st->entries[i].end += data_start;
    }
    return status;
}

static enum enso_status read_header_text(struct enso_weights_file *file, char **ret_text,
                                         size_t *ret_size, struct enso_error *err)
{
    uint64_t size_bytes = enso_weights_file_size(file), header_bytes = 0;
    enum enso_status status;
    uint8_t prefix[8];
    char *text;

    if (size_bytes < sizeof prefix)
        return enso_error_set(err, ENSO_CORRUPT,
                              "%" PRIu64 " bytes are too few for a safetensors file", size_bytes);
    status = enso_weights_file_read(file, 0, prefix, sizeof prefix, err);
    if (status != ENSO_OK)
        return status;
    for (int i = 7; i >= 0; i--)
        header_bytes = header_bytes << 8 | prefix[i];
    if (header_bytes > MAX_HEADER_BYTES)
        return enso_error_set(err, ENSO_CORRUPT,
                              "the header claims %" PRIu64
                              " bytes, over the format's limit of %d; this is no safetensors file",
                              header_bytes, MAX_HEADER_BYTES);
    if (header_bytes > size_bytes - sizeof prefix)
        return enso_error_set(err, ENSO_CORRUPT,
                              "the header claims %" PRIu64 " bytes, but the file has only %" PRIu64
                              "; it is truncated",
                              header_bytes, size_bytes);
    text = enso_alloc((size_t)header_bytes);
    if (text == NULL)
        return enso_error_no_memory(err, "a safetensors header");
    status = enso_weights_file_read(file, sizeof prefix, text, (size_t)header_bytes, err);
    if (status == ENSO_OK && (header_bytes == 0 || text[0] != '{'))
        status = enso_error_set(err, ENSO_CORRUPT, "the header does not start with '{'");
    if (status != ENSO_OK) {
        enso_free(text);
        return status;
    }
    *ret_text = text;
    *ret_size = (size_t)header_bytes;
    return ENSO_OK;
}

/* Opens one file as number st->n_files and adds its tensors. */
static enum enso_status add_file(struct enso_safetensors *st, const char *path,
                                 struct enso_error *err)
{
    size_t file = st->n_files, size = 0;
    json_t *root = NULL;
    char *text = NULL;
    enum enso_status status = enso_weights_file_open(path, &st->files[file], err);

    if (status != ENSO_OK)
        return status; /* names the path */
    st->n_files++;
    status = read_header_text(st->files[file], &text, &size, err);
    if (status == ENSO_OK)
        status = enso_json_parse(text, size, NULL, &root, err);
    enso_free(text);
    if (status == ENSO_OK)
        status = add_header(st, file, root, 8 + (uint64_t)size, err);
    json_decref(root);
    return status == ENSO_OK ? ENSO_OK : corrupt(status, path, err);
}

static enum enso_status open_single(struct enso_safetensors *st, const char *path,
                                    struct enso_error *err)
{
    st->files = enso_alloc_zero(1, sizeof(*st->files));
    if (st->files == NULL)
        return enso_error_no_memory(err, path);
    return add_file(st, path, err);
}

/* The shard's number, the next free one when it is new, or a negative status. */
static int shard_number(struct enso_safetensors *st, size_t *n_shards, const char *name,
                        struct enso_error *err)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < *n_shards; i++)
        if (strcmp(st->shard_names[i], name) == 0)
            return (int)i;
    if (n < 13 || strcmp(name + n - 12, ".safetensors") != 0 || strchr(name, '/') != NULL)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%.100s' is no shard: names of .safetensors files in the same "
                              "folder are expected",
                              name);
    if (*n_shards == MAX_SHARDS)
        return enso_error_set(err, ENSO_TOO_LARGE, "more than %d shards", MAX_SHARDS);
    st->shard_names[*n_shards] = enso_arena_strndup(&st->names, name, n);
    if (st->shard_names[*n_shards] == NULL)
        return enso_error_no_memory(err, "a safetensors index");
    return (int)(*n_shards)++;
}

/* Collects the names of all shards of the map. */
static enum enso_status collect_shards(struct enso_safetensors *st, json_t *map, size_t *ret_n,
                                       struct enso_error *err)
{
    const char *tensor;
    json_t *shard;

    st->shard_names = enso_arena_alloc_zero(&st->names, MAX_SHARDS, sizeof *st->shard_names);
    if (st->shard_names == NULL)
        return enso_error_no_memory(err, "a safetensors index");
    *ret_n = 0;
    json_object_foreach(map, tensor, shard)
    {
        int number;

        if (!json_is_string(shard) || strlen(json_string_value(shard)) != json_string_length(shard))
            return enso_error_set(err, ENSO_CORRUPT, "weight_map of '%.100s' is not a file name",
                                  tensor);
        number = shard_number(st, ret_n, json_string_value(shard), err);
        if (number < 0)
            return (enum enso_status)number;
    }
    if (*ret_n == 0)
        return enso_error_set(err, ENSO_CORRUPT, "weight_map is empty");
    return ENSO_OK;
}

/* Keeps of what the shards hold only what the map says is there, and all of that must be. */
static enum enso_status match_map(struct enso_safetensors *st, json_t *map, struct enso_error *err)
{
    const char *tensor;
    json_t *shard;
    size_t kept = 0;

    for (size_t i = 0; i < st->n_entries; i++) {
        const json_t *where = json_object_get(map, st->entries[i].name);

        if (where != NULL &&
            strcmp(json_string_value(where), st->shard_names[st->entries[i].file]) == 0)
            st->entries[kept++] = st->entries[i];
    }
    st->n_entries = kept;
    if (kept == json_object_size(map))
        return ENSO_OK;
    qsort(st->entries, st->n_entries, sizeof *st->entries, compare_names);
    json_object_foreach(map, tensor, shard) if (
        !enso_safetensors_find(
            st, tensor,
            &(struct enso_constant){
                0})) return enso_error_set(err, ENSO_CORRUPT,
                                           "tensor '%.100s' should be in '%.100s' and is not",
                                           tensor, json_string_value(shard));
    return enso_error_set(err, ENSO_INTERNAL, "weight_map was counted wrongly");
}

static enum enso_status open_shards(struct enso_safetensors *st, const char *index_path,
                                    json_t *root, struct enso_error *err)
{
    const char *slash = strrchr(index_path, '/');
    ENSO_AUTO_FREE char *folder = slash == NULL
                                      ? enso_strdup("")
                                      : enso_strndup(index_path, (size_t)(slash - index_path) + 1);
    enum enso_status status;
    size_t n_shards = 0;
    json_t *map;

    if (folder == NULL)
        return enso_error_no_memory(err, index_path);
    if (!json_is_object(root))
        return enso_error_set(err, ENSO_CORRUPT, "%s at the top, not an object",
                              enso_json_type_name(root));
    status = enso_json_get_object(root, "", "weight_map", ENSO_JSON_REQUIRED, &map, err);
    if (status == ENSO_OK)
        status = collect_shards(st, map, &n_shards, err);
    if (status != ENSO_OK)
        return status;
    st->files = enso_alloc_zero(n_shards, sizeof(*st->files));
    if (st->files == NULL)
        return enso_error_no_memory(err, index_path);
    for (size_t i = 0; i < n_shards; i++) {
        ENSO_AUTO_FREE char *path = enso_file_join(folder, st->shard_names[i]);

        if (path == NULL)
            return enso_error_no_memory(err, index_path);
        status = add_file(st, path, err);
        if (status == ENSO_NOT_FOUND)
            enso_error_prefix(err, "a shard is missing: ");
        if (status != ENSO_OK)
            return status;
    }
    return match_map(st, map, err);
}

static enum enso_status open_index(struct enso_safetensors *st, const char *path,
                                   struct enso_error *err)
{
    json_t *root = NULL;
    size_t size;
    char *text;
    enum enso_status status = enso_file_read(path, MAX_INDEX_BYTES, &text, &size, err);

    if (status != ENSO_OK)
        return status; /* names the path */
    status = enso_json_parse(text, size, NULL, &root, err);
    enso_free(text);
    if (status == ENSO_OK)
        status = open_shards(st, path, root, err);
    json_decref(root);
    return status == ENSO_OK ? ENSO_OK : corrupt(status, path, err);
}

/* What a folder without safetensors holds instead, for the sentence. */
static enum enso_status refuse_folder(const char *path, struct enso_error *err)
{
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                         "tf_model.h5", "flax_model.msgpack"};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(others); i++) {
        ENSO_AUTO_FREE char *other = enso_file_join(path, others[i]);

        if (other == NULL)
            return enso_error_no_memory(err, path);
        if (enso_file_exists(other))
            return enso_error_set(
                err, ENSO_UNSUPPORTED,
                "'%.150s' holds its weights as %s, which ensod does not read (it can carry code); "
                "convert it once in Python: AutoModel.from_pretrained(DIR).save_pretrained(DIR, "
                "safe_serialization=True), with the class that fits the model",
                path, others[i]);
    }
    return enso_error_set(err, ENSO_NOT_FOUND,
                          "'%s' holds neither model.safetensors nor model.safetensors.index.json",
                          path);
}

static enum enso_status open_folder(struct enso_safetensors *st, const char *path,
                                    struct enso_error *err)
{
    ENSO_AUTO_FREE char *single = enso_file_join(path, "model.safetensors");
    ENSO_AUTO_FREE char *index = enso_file_join(path, "model.safetensors.index.json");

    if (single == NULL || index == NULL)
        return enso_error_no_memory(err, path);
    if (enso_file_exists(single))
        return open_single(st, single, err);
    if (enso_file_exists(index))
        return open_index(st, index, err);
    return refuse_folder(path, err);
}

enum enso_status enso_safetensors_open(const char *path, struct enso_safetensors **ret_safetensors,
                                       struct enso_error *err)
{
    struct enso_safetensors *st = enso_alloc_zero(1, sizeof *st);
    size_t n = strlen(path);
    enum enso_status status;
    struct stat info;

    if (st == NULL)
        return enso_error_no_memory(err, path);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        status = open_folder(st, path, err);
    else if (n >= 5 && strcmp(path + n - 5, ".json") == 0)
        status = open_index(st, path, err);
    else
        status = open_single(st, path, err);
    if (status != ENSO_OK) {
        enso_safetensors_close(st);
        return status;
    }
    qsort(st->entries, st->n_entries, sizeof *st->entries, compare_names);
    *ret_safetensors = st;
    return ENSO_OK;
}

void enso_safetensors_close(struct enso_safetensors *st)
{
    if (st == NULL)
        return;
    for (size_t i = 0; i < st->n_files; i++)
        enso_weights_file_unref(st->files[i]);
    enso_free(st->files);
    enso_free(st->entries);
    enso_arena_done(&st->names);
    enso_free(st);
}

static void fill_constant(const struct enso_safetensors *st, const struct entry *e,
                          struct enso_constant *ret_constant)
{
    bool is_float =
        e->dtype == ENSO_DTYPE_F16 || e->dtype == ENSO_DTYPE_BF16 || e->dtype == ENSO_DTYPE_F64;

    *ret_constant = (struct enso_constant){
        .dtype = is_float ? ENSO_DTYPE_F32 : e->dtype,
        .stored = e->dtype,
        .file = st->files[e->file],
        .offset = e->begin,
        .rank = e->rank,
    };
    memcpy(ret_constant->dims, e->dims, sizeof e->dims);
}

bool enso_safetensors_find(const struct enso_safetensors *st, const char *name,
                           struct enso_constant *ret_constant)
{
    struct entry key = {.name = name};
    const struct entry *e = st->n_entries == 0 ? NULL
                                               : bsearch(&key, st->entries, st->n_entries,
                                                         sizeof *st->entries, compare_names);

    if (e == NULL)
        return false;
    fill_constant(st, e, ret_constant);
    return true;
}

/* "[768, any]"; 8 dims of 19 digits and ", " fit. */
#define DIMS_TEXT 192
static void dims_text(const int64_t *dims, size_t rank, char text[DIMS_TEXT])
{
    size_t n = 1;

    text[0] = '[';
    for (size_t i = 0; i < rank && i < ENSO_MAX_RANK; i++) {
        const char *comma = i > 0 ? ", " : "";

        n +=
            (size_t)(dims[i] < 0 ? snprintf(text + n, DIMS_TEXT - n, "%sany", comma)
                                 : snprintf(text + n, DIMS_TEXT - n, "%s%" PRId64, comma, dims[i]));
    }
    snprintf(text + n, DIMS_TEXT - n, "]");
}

enum enso_status enso_safetensors_need(const struct enso_safetensors *st, const char *name,
                                       const int64_t *dims, size_t rank,
                                       struct enso_constant *ret_constant, struct enso_error *err)
{
    char expected[DIMS_TEXT], found[DIMS_TEXT];
    struct enso_constant c;
    bool same;

    if (!enso_safetensors_find(st, name, &c))
        return enso_error_set(err, ENSO_CORRUPT, "'%s': tensor '%.100s' is missing",
                              enso_weights_file_path(st->files[0]), name);
    same = c.rank == rank;
    for (size_t i = 0; same && i < rank; i++)
        same = dims[i] < 0 ? c.dims[i] >= 1 : c.dims[i] == dims[i];
    if (!same) {
        dims_text(dims, rank, expected);
        dims_text(c.dims, c.rank, found);
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s': tensor '%.100s' has shape %s, but %s is expected",
                              enso_weights_file_path(c.file), name, found, expected);
    }
    if (c.dtype != ENSO_DTYPE_F32)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%s': tensor '%.100s' is %s, but a float type is expected",
                              enso_weights_file_path(c.file), name, enso_dtype_name(c.stored));
    *ret_constant = c;
    return ENSO_OK;
}

size_t enso_safetensors_count(const struct enso_safetensors *st)
{
    return st->n_entries;
}

void enso_safetensors_at(const struct enso_safetensors *st, size_t i, const char **ret_name,
                         struct enso_constant *ret_constant)
{
    *ret_name = st->entries[i].name;
    fill_constant(st, &st->entries[i], ret_constant);
}

size_t enso_safetensors_n_files(const struct enso_safetensors *st)
{
    return st->n_files;
}

struct enso_weights_file *enso_safetensors_file(const struct enso_safetensors *st, size_t i)
{
    return st->files[i];
}

enum enso_status enso_safetensors_check(const struct enso_safetensors *st, struct enso_error *err)
{
    for (size_t i = 0; i < st->n_files; i++) {
        enum enso_status status = enso_weights_file_check(st->files[i], err);

        if (status != ENSO_OK)
            return status;
    }
    return ENSO_OK;
}
