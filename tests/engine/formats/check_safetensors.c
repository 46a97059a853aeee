/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/formats/safetensors: single files, shards, and a table of broken ones. Files are written
 * here, byte by byte, into a folder of each test's own that it removes.
 */
#include "engine/formats/safetensors.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/formats/weights_file.h"

static char folder[64];
static char path[400];

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void set_up(void)
{
    strcpy(folder, "/tmp/ensod-safetensors-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    DIR *d = opendir(folder);
    struct dirent *e;

    while ((e = readdir(d)) != NULL)
        unlink(in_folder(e->d_name));
    closedir(d);
    rmdir(folder);
}

static void write_bytes(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(in_folder(name), "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    fclose(f);
}

/* A whole file in memory: length, header, n data bytes 0, 1, 2... */
static char *compose(const char *header, size_t n_data, size_t *ret_size)
{
    size_t n = strlen(header);
    char *bytes = malloc(8 + n + n_data);

    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((uint64_t)n >> 8 * i);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n + i] = (char)i;
    *ret_size = 8 + n + n_data;
    return bytes;
}

static void write_file(const char *name, const char *header, size_t n_data)
{
    size_t size;
    char *bytes = compose(header, n_data, &size);

    write_bytes(name, bytes, size);
    free(bytes);
}

/* Two tensors in another order than their offsets, one empty, one scalar, metadata, padding. */
static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[4,12]},"
    "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
    "\"empty\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[12,12]},"
    "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[12,20]}}   ";

START_TEST(test_safetensors_finds_by_name)
{
    struct enso_safetensors *st;
    struct enso_constant c;
    const char *name;
    char bytes[8];

    write_file("model.safetensors", good, 20);
    ck_assert_int_eq(enso_safetensors_open(in_folder("model.safetensors"), &st, NULL), ENSO_OK);
    ck_assert_uint_eq(enso_safetensors_count(st), 4);
    ck_assert(enso_safetensors_find(st, "b.weight", &c));
    ck_assert_int_eq(c.dtype, ENSO_DTYPE_F32);
    ck_assert_int_eq(c.stored, ENSO_DTYPE_F32);
    ck_assert_uint_eq(c.rank, 2);
    ck_assert_int_eq(c.dims[0], 1);
    ck_assert_int_eq(c.dims[1], 2);
    ck_assert_ptr_null(c.data);
    ck_assert_int_eq(enso_weights_file_read(c.file, c.offset, bytes, 8, NULL), ENSO_OK);
    ck_assert_mem_eq(bytes, "\4\5\6\7\10\11\12\13", 8);
    ck_assert(enso_safetensors_find(st, "a", &c));
    ck_assert_int_eq(c.dtype, ENSO_DTYPE_F32);
    ck_assert_int_eq(c.stored, ENSO_DTYPE_BF16);
    ck_assert(enso_safetensors_find(st, "scalar", &c));
    ck_assert_int_eq(c.dtype, ENSO_DTYPE_I64);
    ck_assert_uint_eq(c.rank, 0);
    ck_assert(!enso_safetensors_find(st, "__metadata__", &c));
    ck_assert(!enso_safetensors_find(st, "c", &c));
    for (size_t i = 0; i < 4; i++) {
        static const char *const names[] = {"a", "b.weight", "empty", "scalar"};

        enso_safetensors_at(st, i, &name, &c);
        ck_assert_str_eq(name, names[i]);
    }
    ck_assert_uint_eq(enso_safetensors_n_files(st), 1);
    ck_assert_ptr_eq(enso_safetensors_file(st, 0), c.file);
    ck_assert_int_eq(enso_safetensors_check(st, NULL), ENSO_OK);
    ck_assert_int_eq(truncate(path, 30), 0);
    ck_assert_int_eq(enso_safetensors_check(st, NULL), ENSO_CORRUPT);
    enso_safetensors_close(st);
}
END_TEST

START_TEST(test_safetensors_need_checks_shape_and_type)
{
    struct enso_error err = {0};
    struct enso_safetensors *st;
    struct enso_constant c;

    write_file("model.safetensors", good, 20);
    ck_assert_int_eq(enso_safetensors_open(folder, &st, NULL), ENSO_OK);
    ck_assert_int_eq(enso_safetensors_need(st, "b.weight", (int64_t[]){1, 2}, 2, &c, NULL),
                     ENSO_OK);
    ck_assert_int_eq(enso_safetensors_need(st, "b.weight", (int64_t[]){-1, 2}, 2, &c, NULL),
                     ENSO_OK);
    ck_assert_int_eq(enso_safetensors_need(st, "b.weight", (int64_t[]){3, -1}, 2, &c, &err),
                     ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "has shape [1, 2], but [3, any] is expected"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_safetensors_need(st, "a", (int64_t[]){2, 1}, 2, &c, &err), ENSO_CORRUPT);
    enso_error_clear(&err);
    ck_assert_int_eq(enso_safetensors_need(st, "empty", (int64_t[]){-1, 3}, 2, &c, &err),
                     ENSO_CORRUPT);
    enso_error_clear(&err);
    ck_assert_int_eq(enso_safetensors_need(st, "scalar", NULL, 0, &c, &err), ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "is INT64, but a float type"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_safetensors_need(st, "nobody", NULL, 0, &c, &err), ENSO_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "tensor 'nobody' is missing"));
    ck_assert_ptr_nonnull(strstr(err.message, "model.safetensors"));
    enso_safetensors_close(st);
}
END_TEST

static void write_shards(const char *index)
{
    write_file("model-1.safetensors",
               "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
               "\"y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
               3);
    write_file("model-2.safetensors",
               "{\"y\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":[0,1]}}", 1);
    write_bytes("model.safetensors.index.json", index, strlen(index));
}

START_TEST(test_safetensors_shards)
{
    struct enso_safetensors *st;
    struct enso_constant x, y;

    write_shards("{\"metadata\":{},\"weight_map\":{\"x\":\"model-1.safetensors\","
                 "\"y\":\"model-2.safetensors\"}}");
    ck_assert_int_eq(enso_safetensors_open(folder, &st, NULL), ENSO_OK);
    ck_assert_uint_eq(enso_safetensors_count(st), 2);
    ck_assert_uint_eq(enso_safetensors_n_files(st), 2);
    ck_assert(enso_safetensors_find(st, "x", &x));
    ck_assert(enso_safetensors_find(st, "y", &y));
    ck_assert_uint_eq(y.rank, 2); /* the one of the second file, as the map says */
    ck_assert_ptr_ne(x.file, y.file);
    enso_safetensors_close(st);
    ck_assert_int_eq(enso_safetensors_open(in_folder("model.safetensors.index.json"), &st, NULL),
                     ENSO_OK);
    enso_safetensors_close(st);
}
END_TEST

static const struct {
    const char *index, *message;
    int status;
} bad_indices[] = {
    {"{}", "weight_map", ENSO_CORRUPT},
    {"[]", "an array at the top", ENSO_CORRUPT},
    {"{\"weight_map\":{}}", "empty", ENSO_CORRUPT},
    {"{\"weight_map\":{\"x\":1}}", "weight_map of 'x' is not a file name", ENSO_CORRUPT},
    {"{\"weight_map\":{\"x\":\"../model-1.safetensors\"}}", "no shard", ENSO_CORRUPT},
    {"{\"weight_map\":{\"x\":\"model-1.bin\"}}", "no shard", ENSO_CORRUPT},
    {"{\"weight_map\":{\"x\":\"model-1\\u0000.safetensors\"}}", "not a file name", ENSO_CORRUPT},
    {"{\"weight_map\":{\"x\":\"model-3.safetensors\"}}", "a shard is missing", ENSO_NOT_FOUND},
    {"{\"weight_map\":{\"z\":\"model-1.safetensors\"}}",
     "'z' should be in 'model-1.safetensors' and is not", ENSO_CORRUPT},
    {"{\"weight_map\":{\"x\":\"model-2.safetensors\"}}", "should be in", ENSO_CORRUPT},
    {"{\"weight_map\":", "index.json", ENSO_CORRUPT},
};

START_TEST(test_safetensors_bad_index)
{
    struct enso_error err = {0};
    struct enso_safetensors *st;

    write_shards(bad_indices[_i].index);
    ck_assert_int_eq(enso_safetensors_open(folder, &st, &err), bad_indices[_i].status);
    ck_assert_msg(strstr(err.message, bad_indices[_i].message) != NULL, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.message, folder));
    ck_assert_int_eq(err.status, bad_indices[_i].status);
}
END_TEST

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header;
    size_t n_data;
    const char *message;
} bad_headers[] = {
    {"", 0, "does not start with '{'"},
    {"[]", 0, "does not start with '{'"},
    {" {}", 0, "does not start with '{'"},
    {"{", 0, "model.safetensors"},
    {"{}", 1, "1 bytes after the last tensor"},
    {"{\"w\":3}", 0, "tensor 'w': an integer in place of an object"},
    {"{\"w\":{}}", 0, "dtype"},
    {ONE("F8_E4M3", "[1]", "[0,1]"), 1, "type 'F8_E4M3' is not supported"},
    {ONE("F32", "[1]", "[0,5]"), 4, "the file holds only 4 bytes"},
    {ONE("F32", "[1]", "[0,4]"), 3, "truncated"},
    {ONE("F32", "[2]", "[0,4]"), 4, "need 8 bytes, but data_offsets give it 4"},
    {ONE("F32", "[1]", "[4,0]"), 4, "data_offsets is not"},
    {ONE("F32", "[1]", "[-4,0]"), 4, "data_offsets is not"},
    {ONE("F32", "[1]", "[0]"), 4, "data_offsets is not"},
    {ONE("F32", "[1]", "[0,4,8]"), 4, "data_offsets is not"},
    {ONE("F32", "[1]", "[0.0,4.0]"), 4, "data_offsets is not"},
    {ONE("F32", "[1]", "4"), 4, "data_offsets"},
    {ONE("F32", "[-1]", "[0,4]"), 4, "dimension 0 of shape"},
    {ONE("F32", "[\"1\"]", "[0,4]"), 4, "dimension 0 of shape"},
    {ONE("F32", "1", "[0,4]"), 4, "shape"},
    {ONE("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "9 dimensions, but at most 8"},
    {ONE("F32", "[4294967296,4294967296,4294967296]", "[0,4]"), 4, "can be counted"},
    {ONE("F32", "[4611686018427387904]", "[0,4]"), 4, "can be counted"},
    {ONE("F32", "[99999999999999999999]", "[0,4]"), 4, "model.safetensors"},
    {ONE("F32", "[1]", "[1,5]"), 5, "must follow each other without holes"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]}}",
     5, "tensor 'b': starts at byte 2 of the data, inside the end of the one before at 3"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, "model.safetensors"},
};

START_TEST(test_safetensors_bad_header)
{
    struct enso_error err = {0};
    struct enso_safetensors *st;
    int status;

    write_file("model.safetensors", bad_headers[_i].header, bad_headers[_i].n_data);
    status = enso_safetensors_open(folder, &st, &err);
    ck_assert_msg(status == ENSO_CORRUPT || status == ENSO_UNSUPPORTED, "%d %s", status,
                  err.message);
    ck_assert_int_eq(err.status, status);
    ck_assert_msg(strstr(err.message, bad_headers[_i].message) != NULL, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.message, folder));
}
END_TEST

START_TEST(test_safetensors_bad_length)
{
    static const struct {
        const char *bytes, *message;
        size_t size;
    } files[] = {
        {"", "0 bytes are too few", 0},
        {"\2\0\0\0\0\0\0", "7 bytes are too few", 7},
        {"\3\0\0\0\0\0\0\0{}", "claims 3 bytes, but the file has only 10", 10},
        {"\377\377\377\377\377\377\377\377{}", "over the format's limit", 10},
        {"\1\341\365\5\0\0\0\0{}", "over the format's limit", 10}, /* 100,000,001 */
        {"\0\341\365\5\0\0\0\0{}", "truncated", 10},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(files); i++) {
        struct enso_error err = {0};
        struct enso_safetensors *st;

        write_bytes("model.safetensors", files[i].bytes, files[i].size);
        ck_assert_int_eq(enso_safetensors_open(folder, &st, &err), ENSO_CORRUPT);
        ck_assert_msg(strstr(err.message, files[i].message) != NULL, "%s", err.message);
    }
    write_bytes("model.safetensors", "\2\0\0\0\0\0\0\0{}", 10); /* no tensors: fine by itself */
    struct enso_safetensors *st;
    struct enso_constant c;
    ck_assert_int_eq(enso_safetensors_open(folder, &st, NULL), ENSO_OK);
    ck_assert(!enso_safetensors_find(st, "x", &c));
    enso_safetensors_close(st);
}
END_TEST

START_TEST(test_safetensors_truncated_anywhere)
{
    size_t size;
    char *bytes = compose(good, 20, &size);

    for (size_t n = 0; n < size; n++) {
        struct enso_error err = {0};
        struct enso_safetensors *st;

        write_bytes("model.safetensors", bytes, n);
        ck_assert_int_eq(enso_safetensors_open(folder, &st, &err), ENSO_CORRUPT);
        ck_assert_ptr_nonnull(strstr(err.message, "model.safetensors"));
    }
    free(bytes);
}
END_TEST

START_TEST(test_safetensors_folders_without)
{
    struct enso_error err = {0};
    struct enso_safetensors *st;

    ck_assert_int_eq(enso_safetensors_open(folder, &st, &err), ENSO_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "model.safetensors"));
    enso_error_clear(&err);
    ck_assert_int_eq(enso_safetensors_open(in_folder("nothing"), &st, &err), ENSO_NOT_FOUND);
    enso_error_clear(&err);
    write_bytes("pytorch_model.bin", "PK", 2);
    ck_assert_int_eq(enso_safetensors_open(folder, &st, &err), ENSO_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "pytorch_model.bin"));
    ck_assert_ptr_nonnull(strstr(err.message, "safe_serialization=True"));
}
END_TEST

START_TEST(test_safetensors_oom)
{
    enum enso_status status = ENSO_NO_MEMORY;
    struct enso_safetensors *st = NULL;
    uint64_t n;

    write_shards("{\"weight_map\":{\"x\":\"model-1.safetensors\",\"y\":\"model-2.safetensors\"}}");
    for (n = 1; status == ENSO_NO_MEMORY; n++) {
        struct enso_error err = {0};

        ck_assert_uint_lt(n, 1000);
        enso_memory_fail_at(n);
        status = enso_safetensors_open(folder, &st, &err);
        enso_memory_fail_at(0);
        ck_assert_msg(status == ENSO_OK || status == ENSO_NO_MEMORY, "at %d: %s", (int)n,
                      err.message);
    }
    ck_assert_int_eq(status, ENSO_OK);
    ck_assert_uint_gt(n, 10);
    enso_safetensors_close(st);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("engine/safetensors");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits"),
          *errors = tcase_create("errors"), *oom = tcase_create("oom");
    TCase *all[] = {core, limits, errors, oom};
    SRunner *runner;
    int failed;

    tcase_add_test(core, test_safetensors_finds_by_name);
    tcase_add_test(core, test_safetensors_need_checks_shape_and_type);
    tcase_add_test(core, test_safetensors_shards);
    tcase_add_test(limits, test_safetensors_bad_length);
    tcase_add_test(limits, test_safetensors_truncated_anywhere);
    tcase_add_loop_test(errors, test_safetensors_bad_header, 0, ENSO_ARRAY_SIZE(bad_headers));
    tcase_add_loop_test(errors, test_safetensors_bad_index, 0, ENSO_ARRAY_SIZE(bad_indices));
    tcase_add_test(errors, test_safetensors_folders_without);
    tcase_add_test(oom, test_safetensors_oom);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(all); i++) {
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        suite_add_tcase(s, all[i]);
    }
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
