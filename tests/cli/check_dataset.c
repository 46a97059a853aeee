/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cli/dataset.h and its kinds: what is found in which order, and sets that are broken or
 * mean harm.
 */
#include "cli/dataset.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>
#include <png.h>

#include "cli/labels.h"
#include "tests/support/support.h"

#define GIF "GIF89a....."

static const char jpeg[] = "\xff\xd8\xff\xe0 not more than its beginning";

/* --- helpers -----------------------------------------------------------------------------------
 */

static char *dir;

static void set_up(void)
{
    dir = enso_test_make_dir();
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for libarchive's writer */
}

static void tear_down(void)
{
    enso_test_remove_dir(dir);
}

static char *put(const char *name, const void *bytes, size_t size)
{
    char *path = enso_test_format("%s/%s", dir, name);

    for (char *slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    enso_test_write_file(path, bytes, size);
    return path;
}

static void put_text(const char *name, const char *text)
{
    free(put(name, text, strlen(text)));
}

/* Items as "name=label:content;"; pictures' contents as "N bytes"; problems behind "?", the error
 * behind "!", what was skipped at the end. */
static char *render_spec(struct enso_dataset_spec spec)
{
    struct enso_buffer b = ENSO_BUFFER_INIT, content = ENSO_BUFFER_INIT;
    struct enso_error err = {0};
    struct enso_dataset *set = NULL;
    struct enso_dataset_item item;
    bool more = true;
    char *copy;
    enum enso_status st = enso_dataset_open(&spec, &set, &err);

    while (st == ENSO_OK && (st = enso_dataset_next(set, &item, &more, &err)) == ENSO_OK && more) {
        struct enso_error problem = {0};

        enso_buffer_printf(&b, "%s=%s:", item.name, item.label);
        st = enso_dataset_read(set, &content, &problem, &err);
        if (st != ENSO_OK)
            break;
        if (problem.status != ENSO_OK)
            enso_buffer_printf(&b, "?%s;", problem.message);
        else if (enso_dataset_has_pictures(set))
            enso_buffer_printf(&b, "%zu;", content.size);
        else
            enso_buffer_printf(&b, "%s;", content.data != NULL ? content.data : "");
    }
    if (st != ENSO_OK)
        enso_buffer_printf(&b, "!%s", err.message);
    else if (enso_dataset_skipped(set) != 0)
        enso_buffer_printf(&b, "skipped %u", (unsigned)enso_dataset_skipped(set));
    enso_dataset_close(set);
    copy = enso_test_format("%s", b.data != NULL ? b.data : "");
    enso_buffer_done(&b);
    enso_buffer_done(&content);
    return copy;
}

static char *render(const char *name)
{
    char *path = enso_test_format("%s/%s", dir, name);
    char *found;

    (void)setlocale(LC_CTYPE, "C"); /* as in enso */
    found = render_spec((struct enso_dataset_spec){.path = path});
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    free(path);
    return found;
}

static void expect(const char *name, const char *expected)
{
    char *found = render(name);

    ck_assert_str_eq(found, expected);
    free(found);
}

static void expect_part(const char *name, const char *part)
{
    char *found = render(name);

    ENSO_TEST_CONTAINS(found, part);
    free(found);
}

/* --- CSV ---------------------------------------------------------------------------------------
 */

static void expect_csv(const char *text, const char *text_column, const char *label_column,
                       const char *expected)
{
    struct enso_labels labels;
    struct enso_error err = {0};
    json_t *names = json_loads("[\"good\",\"bad\"]", 0, NULL);
    char *path = put("x.csv", text, strlen(text)), *found;

    ENSO_TEST_OK(enso_labels_init(&labels, names, &err), &err);
    found = render_spec((struct enso_dataset_spec){
        .path = path, .text_column = text_column, .label_column = label_column, .labels = &labels});
    if (expected[0] == '!')
        ENSO_TEST_CONTAINS(found, expected + 1);
    else
        ck_assert_str_eq(found, expected);
    free(found);
    free(path);
    enso_labels_done(&labels);
    json_decref(names);
}

START_TEST(test_csv_columns)
{
    expect_csv("text,category\nhello,good\n", NULL, NULL, "line 2=good:hello;");
    expect_csv("Label,id,Sentence\nbad,7,hello\n", NULL, NULL, "line 2=bad:hello;");
    expect_csv("hello,good\nworld,bad\n", NULL, NULL, "line 1=good:hello;line 2=bad:world;");
    expect_csv("good,hello\nbad,world\n", NULL, NULL, "line 1=good:hello;line 2=bad:world;");
    expect_csv("1,hello\n0,world\n", NULL, NULL, "line 1=1:hello;line 2=0:world;");
    expect_csv("4,hello\n", NULL, NULL, "line 1=hello:4;"); /* no label of the model: text first */
    expect_csv("good,bad\n", NULL, NULL, "line 1=bad:good;");
    expect_csv("title,body,kind\na,b,good\n", "body", "kind", "line 2=good:b;");
    expect_csv("title,body,kind\na,b,good\n", "BODY", "3", "line 2=good:b;");
    expect_csv("a,b,good\n", "2", "3", "line 1=good:b;");
    expect_csv("good,b,c\n", "3", NULL, "line 1=good:c;");
    expect_csv("b,good,c\n", "1", NULL, "line 1=good:b;");
    expect_csv("tweet,label\nhello,good\n", NULL, NULL, "line 2=good:hello;");
    expect_csv("kind,text\ngood,hello\n", NULL, NULL, "line 2=good:hello;");
    expect_csv("text,good\nhello,bad\n", NULL, NULL, "line 1=good:text;line 2=bad:hello;");
    expect_csv("x,label\nhello,good\n", "x", NULL, "line 2=good:hello;");
    expect_csv("text,y\nhello,good\n", NULL, "y", "line 2=good:hello;");
    expect_csv("text,y\nhello,good\n", NULL, "2", "line 2=good:hello;"); /* a header all the same */
}
END_TEST

static void refuse_option(struct enso_dataset_spec spec, const char *part)
{
    struct enso_dataset *set = NULL;
    struct enso_error err = {0};

    ck_assert_int_eq(enso_dataset_open(&spec, &set, &err), ENSO_INVALID);
    ck_assert_str_eq(err.code, "usage");
    ENSO_TEST_CONTAINS(err.message, part);
}

START_TEST(test_options_of_another_kind)
{
    char *csv = put("x.csv", "a,good\n", 7), *images = put("t-images-idx3-ubyte", "", 0);

    refuse_option((struct enso_dataset_spec){.path = csv, .labels_path = csv},
                  "--labels is for an idx set");
    refuse_option((struct enso_dataset_spec){.path = images, .text_column = "1"},
                  "--text-column and --label-column are for a .csv");
    refuse_option((struct enso_dataset_spec){.path = dir, .label_column = "1"}, "for a .csv");
    free(csv);
    free(images);
}
END_TEST

START_TEST(test_csv_errors)
{
    expect_csv("", NULL, NULL, "!is empty");
    expect_csv("a,b\n", "body", NULL, "!line 1: no column is called 'body'; --text-column takes");
    expect_csv("a,b\n", NULL, "kind", "!no column is called 'kind'; --label-column takes");
    expect_csv("a,b\n", "0", NULL, "!no column is called '0'");
    expect_csv("a,b\n", "2", "2", "!text and label are the same column");
    expect_csv("text,label\nalone\n", NULL, NULL,
               "!line 2: 1 field, but text and label are two; commas part the fields of a .csv");
    expect_csv("1,hello,good\n", NULL, NULL, /* the 1 is an id, not the label of that number */
               "!line 1: 3 fields, and no header that tells text and label; name them with");
    expect_csv("a,b\n", "1", "7", "!line 1: 2 fields, but text and label are columns 1 and 7");
    expect_csv("a\xff,good\nb,bad\n", NULL, NULL,
               "line 1=good:?the text is not UTF-8;line 2=bad:b;");
    expect_csv("a,good\n\"b,bad\n", NULL, NULL,
               "!line 1=good:a;!"); /* what stands before the error */
}
END_TEST

/* --- folders -----------------------------------------------------------------------------------
 */

START_TEST(test_folder)
{
    char *path;

    put_text("set/dog/b.jpg", jpeg);
    put_text("set/dog/a.jpg", jpeg);
    put_text("set/cat/x.jpg", jpeg);
    put_text("set/cat/empty.png", "");
    put_text("set/cat/y.gif", GIF);
    put_text("set/test/bird/deep.jpg", jpeg);
    put_text("set/README.md", "read me");
    put_text("set/dog/.DS_Store", "x");
    put_text("set/.git/dog/z.jpg", jpeg);
    path = enso_test_format("%s/set/cat/gone.jpg", dir);
    ck_assert_int_eq(symlink("nowhere", path), 0);
    free(path);
    path = enso_test_format("%s/set/linked", dir);
    ck_assert_int_eq(symlink("dog", path), 0);
    free(path);
    path = render("set");
    ENSO_TEST_CONTAINS(path, "cat/empty.png=cat:?the file is empty;cat/gone.jpg=cat:?");
    ENSO_TEST_CONTAINS(path, "cat/x.jpg=cat:32;cat/y.gif=cat:?no JPEG, PNG or WebP picture;"
                             "dog/a.jpg=dog:32;dog/b.jpg=dog:32;linked/a.jpg=linked:32;"
                             "linked/b.jpg=linked:32;test/bird/deep.jpg=bird:32;skipped 3");
    free(path);
    path = render("set/"); /* the slash changes nothing */
    ENSO_TEST_CONTAINS(path, ";dog/a.jpg=dog:32;");
    free(path);
}
END_TEST

START_TEST(test_folder_errors)
{
    char *path;

    put_text("flat/a.jpg", jpeg);
    expect("flat", "skipped 1");
    put_text("loop/cat/a.jpg", jpeg);
    path = enso_test_format("%s/loop/cat/again", dir);
    ck_assert_int_eq(symlink("..", path), 0);
    free(path);
    expect_part("loop", "is a link to a folder it lies in");
    expect_part("gone", "No such file or directory");
    put_text("what.json", "{}");
    expect_part("what.json", "its name does not tell what it is");
    path = enso_test_format("%s/pipe.csv", dir);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_part("pipe.csv", "is not a regular file"); /* and no waiting */
    free(path);
}
END_TEST

/* --- archives ----------------------------------------------------------------------------------
 */

static void add(struct archive *a, const char *path, const char *link, const char *bytes,
                size_t size)
{
    struct archive_entry *entry = archive_entry_new();

    archive_entry_set_pathname_utf8(entry, path);
    archive_entry_set_perm(entry, 0600);
    archive_entry_set_filetype(entry, AE_IFREG);
    if (link != NULL && link[0] == '=') {
        archive_entry_set_hardlink(entry, link + 1);
    } else if (link != NULL) {
        archive_entry_set_filetype(entry, AE_IFLNK);
        archive_entry_set_symlink(entry, link);
    }
    archive_entry_set_size(entry, link == NULL ? (la_int64_t)size : 0);
    ck_assert_int_ge(archive_write_header(a, entry), ARCHIVE_WARN);
    if (link == NULL)
        ck_assert_int_eq(archive_write_data(a, bytes, size), (la_ssize_t)size);
    archive_entry_free(entry);
}

/* Names in headers are UTF-8, as those who make archives have them. */
static struct archive *create(const char *name, int (*format)(struct archive *), bool gzip)
{
    struct archive *a = archive_write_new();
    char *path = enso_test_format("%s/%s", dir, name);

    ck_assert_int_eq(format(a), ARCHIVE_OK);
    if (gzip)
        ck_assert_int_eq(archive_write_add_filter_gzip(a), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_open_filename(a, path), ARCHIVE_OK);
    free(path);
    return a;
}

static const char archive_items[] = "test/cat/1.jpg=cat:32;/abs/dog/2.jpg=dog:32;"
                                    "../../dog/3.jpg=dog:32;cat/bad.jpg=cat:?no JPEG, PNG or WebP "
                                    "picture;k\xc3\xa4tzchen/4.jpg=k\xc3\xa4tzchen:32;";

static void fill_archive(struct archive *a, bool links)
{
    add(a, "test/cat/1.jpg", NULL, jpeg, strlen(jpeg));
    add(a, "README", NULL, "x", 1);
    add(a, "cat/._1.jpg", NULL, "x", 1);
    add(a, "/abs/dog/2.jpg", NULL, jpeg, strlen(jpeg));
    add(a, "../../dog/3.jpg", NULL, jpeg, strlen(jpeg));
    if (links) {
        add(a, "cat/link.jpg", "/etc/passwd", NULL, 0);
        add(a, "cat/hard.jpg", "=test/cat/1.jpg", NULL, 0);
    }
    add(a, "cat/bad.jpg", NULL, "text", 4);
    add(a, "k\xc3\xa4tzchen/4.jpg", NULL, jpeg, strlen(jpeg));
    ck_assert_int_eq(archive_write_free(a), ARCHIVE_OK);
}

START_TEST(test_archive_formats)
{
    static int (*const tars[])(struct archive *) = {
        archive_write_set_format_ustar, archive_write_set_format_gnutar,
        archive_write_set_format_pax_restricted, archive_write_set_format_pax};
    char *expected = enso_test_format("%sskipped 4", archive_items);

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(tars); i++) {
        fill_archive(create("x.tar.gz", tars[i], true), true);
        expect("x.tar.gz", expected);
        fill_archive(create("x.tar", tars[i], false), true);
        expect("x.tar", expected);
    }
    free(expected);
    expected = enso_test_format("%sskipped 2", archive_items);
    fill_archive(create("x.zip", archive_write_set_format_zip, false), false);
    expect("x.zip", expected);
    free(expected);
}
END_TEST

START_TEST(test_archive_is_cut_or_garbage)
{
    char *path, *bytes;
    size_t size;

    fill_archive(create("x.tar.gz", archive_write_set_format_ustar, true), true);
    path = enso_test_format("%s/x.tar.gz", dir);
    bytes = enso_test_read_file(path, &size);
    for (size_t cut = size - 12; cut > 20; cut -= 11) {
        char *found;

        enso_test_write_file(path, bytes, cut);
        found = render("x.tar.gz");
        ENSO_TEST_CONTAINS(found, "!'");
        free(found);
    }
    for (size_t i = 0; i < 300; i++) { /* whatever comes of it, no crash and no hang */
        bytes[(i * 7919 + 12) % size] ^= (char)(1 << i % 8);
        enso_test_write_file(path, bytes, size);
        free(render("x.tar.gz"));
    }
    free(bytes);
    free(path);
    put_text("garbage.tar", "this is no archive at all, but it claims to be one by its name");
    expect_part("garbage.tar", "!'");
    put_text("empty.tar", "");
    expect_part("empty.tar", "");
}
END_TEST

/* A ustar header whose size says more than there is. */
START_TEST(test_archive_absurd_size)
{
    char *path, *bytes;
    size_t size;
    unsigned sum = 0;

    fill_archive(create("x.tar", archive_write_set_format_ustar, false), false);
    path = enso_test_format("%s/x.tar", dir);
    bytes = enso_test_read_file(path, &size);
    memcpy(bytes + 124, "77777777777", 11); /* 8 GiB */
    memset(bytes + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)bytes[i];
    bytes[148] = '0';
    for (int i = 0; i < 6; i++)
        bytes[153 - i] = (char)('0' + (sum >> (3 * i) & 7));
    bytes[154] = '\0';
    enso_test_write_file(path, bytes, size);
    expect_part("x.tar", "test/cat/1.jpg=cat:!'");
    free(bytes);
    free(path);
}
END_TEST

START_TEST(test_archive_bomb)
{
    struct archive *a = create("bomb.tar.gz", archive_write_set_format_ustar, true);
    size_t n = ENSO_DATASET_MAX_PICTURE + 100000;
    char *bytes = calloc(n, 1);

    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, jpeg, sizeof jpeg);
    add(a, "cat/big.jpg", NULL, bytes, n);
    add(a, "cat/small.jpg", NULL, jpeg, strlen(jpeg));
    ck_assert_int_eq(archive_write_free(a), ARCHIVE_OK);
    free(bytes);
    expect("bomb.tar.gz", "cat/big.jpg=cat:?more than 64 MiB;cat/small.jpg=cat:32;");
}
END_TEST

/* --- idx ---------------------------------------------------------------------------------------
 */

#define PICTURES "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03"
#define LABELS "\0\0\x08\x01\0\0\0\x02"

static void put_idx(const char *pictures, size_t n_pictures, const char *labels, size_t n_labels)
{
    free(put("t-images-idx3-ubyte", pictures, n_pictures));
    free(put("t-labels-idx1-ubyte", labels, n_labels));
}

START_TEST(test_idx)
{
    static const unsigned char pixels[2][6] = {{0, 50, 100, 150, 200, 255}, {9, 8, 7, 6, 5, 4}};
    char bytes[28];
    struct enso_dataset *set = NULL;
    struct enso_dataset_item item;
    struct enso_buffer content = ENSO_BUFFER_INIT;
    struct enso_error err = {0}, problem = {0};
    char *path = enso_test_format("%s/t-images-idx3-ubyte", dir);
    bool more;

    memcpy(bytes, PICTURES, 16);
    memcpy(bytes + 16, pixels, 12);
    put_idx(bytes, 28, LABELS "\x07\xff", 10);
    ENSO_TEST_OK(enso_dataset_open(&(struct enso_dataset_spec){.path = path}, &set, &err), &err);
    for (int i = 0; i < 2; i++) {
        png_image image = {.version = PNG_IMAGE_VERSION};
        unsigned char decoded[6];

        ENSO_TEST_OK(enso_dataset_next(set, &item, &more, &err), &err);
        ck_assert(more);
        ck_assert_str_eq(item.name, i == 0 ? "index 0" : "index 1");
        ck_assert_str_eq(item.label, i == 0 ? "7" : "255");
        ENSO_TEST_OK(enso_dataset_read(set, &content, &problem, &err), &err);
        ck_assert(png_image_begin_read_from_memory(&image, content.data, content.size));
        ck_assert_uint_eq(image.width, 3);
        ck_assert_uint_eq(image.height, 2);
        ck_assert_uint_eq(image.format, PNG_FORMAT_GRAY);
        ck_assert(png_image_finish_read(&image, NULL, decoded, 0, NULL));
        ck_assert_mem_eq(decoded, pixels[i], 6);
    }
    ENSO_TEST_OK(enso_dataset_next(set, &item, &more, &err), &err);
    ck_assert(!more);
    enso_dataset_close(set);
    enso_buffer_done(&content);
    free(path);
}
END_TEST

START_TEST(test_idx_colour_and_named_labels)
{
    char *path = put("c-idx4",
                     "\0\0\x08\x04\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x03"
                     "rgbRGB",
                     26);
    char *labels = put("mine", "\0\0\x08\x01\0\0\0\x01\x05", 9), *found;

    expect_part("c-idx4", "the file of its labels was not found beside it; name it with --labels");
    found = render_spec((struct enso_dataset_spec){.path = path, .labels_path = labels});
    ENSO_TEST_CONTAINS(found, "index 0=5:");
    ck_assert_ptr_null(strchr(found, '!'));
    free(found);
    free(path);
    free(labels);
}
END_TEST

START_TEST(test_idx_errors)
{
    static const struct {
        const char *pictures;
        size_t n_pictures;
        const char *labels;
        size_t n_labels;
        const char *part;
    } cases[] = {
        {PICTURES "abcdefABCDE", 27, LABELS "\1\2", 10, "ends within item 1 of the 2"},
        {PICTURES "abcdefABCDEFx", 29, LABELS "\1\2", 10, "goes on after the 2 items"},
        {PICTURES "abcdefABCDEF", 28, LABELS "\1", 9, "labels-idx1-ubyte' ends within item 1"},
        {PICTURES "abcdefABCDEF", 28, LABELS "\1\2\3", 11, "goes on after the 2 items"},
        {PICTURES, 15, LABELS, 8, "ends within its header"},
        {"", 0, LABELS, 8, "ends within its header"},
        {"\0\0\x08", 3, LABELS, 8, "ends within its header"},
        {"x" PICTURES, 17, LABELS, 8, "is no idx file"},
        {"\0\0\x0d\x03\0\0\0\x01", 8, LABELS, 8, "type 0x0d with 3 dimensions"},
        {"\0\0\x08\0", 4, LABELS, 8, "0 dimensions"},
        {"\0\0\x08\xff", 4, LABELS, 8, "255 dimensions"},
        {LABELS "\1\2", 10, LABELS "\1\2", 10, "holds no pictures (1 dimension)"},
        {"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16, LABELS, 8,
         "more than 64 MiB"},
        {"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x01\0\0\0\0", 16, LABELS, 8, "has no bytes"},
        {"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x01\0\0\0\x01", 16, LABELS, 8,
         "has 4294967295 pictures, but there are 2 labels"},
        {"\0\0\x08\x04\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x04", 20, LABELS, 8,
         "pictures of 4 channels"},
        {PICTURES "abcdefABCDEF", 28, PICTURES, 16, "has 3 dimensions; labels have one"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        put_idx(cases[i].pictures, cases[i].n_pictures, cases[i].labels, cases[i].n_labels);
        expect_part("t-images-idx3-ubyte", cases[i].part);
    }
}
END_TEST

/* --- out of memory -----------------------------------------------------------------------------
 */

static enum enso_status read_all(void *context, struct enso_error *err)
{
    struct enso_dataset_spec spec = {.path = context};
    struct enso_buffer content = ENSO_BUFFER_INIT;
    struct enso_dataset *set = NULL;
    struct enso_dataset_item item;
    bool more = true;
    enum enso_status st = enso_dataset_open(&spec, &set, err);

    while (st == ENSO_OK && (st = enso_dataset_next(set, &item, &more, err)) == ENSO_OK && more) {
        struct enso_error problem = {0};

        st = enso_dataset_read(set, &content, &problem, err);
    }
    enso_dataset_close(set);
    enso_buffer_done(&content);
    return st;
}

START_TEST(test_dataset_out_of_memory)
{
    static const char *const names[] = {"x.csv", "x.tar.gz", "set", "t-images-idx3-ubyte"};

    put_text("x.csv", "text,label\nhello,good\n\"a \"\"b\"\"\n\",bad\n");
    put_text("set/cat/1.jpg", jpeg);
    put_text("set/dog/2.jpg", jpeg);
    put_idx(PICTURES "abcdefABCDEF", 28, LABELS "\1\2", 10);
    fill_archive(create("x.tar.gz", archive_write_set_format_ustar, true), true);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(names); i++) {
        char *path = enso_test_format("%s/%s", dir, names[i]);

        ck_assert_uint_gt(enso_test_oom_sweep(read_all, path), 4);
        free(path);
    }
}
END_TEST

/* Closed at once, and in the middle: the leak checker looks. */
START_TEST(test_dataset_left_early)
{
    static const char *const names[] = {"x.csv", "x.tar.gz", "set", "t-images-idx3-ubyte"};

    put_text("x.csv", "hello,good\nhello,bad\n");
    put_text("set/cat/1.jpg", jpeg);
    put_text("set/cat/2.jpg", jpeg);
    put_text("set/dog/3.jpg", jpeg);
    put_idx(PICTURES "abcdefABCDEF", 28, LABELS "\1\2", 10);
    fill_archive(create("x.tar.gz", archive_write_set_format_ustar, true), true);
    for (size_t i = 0; i < 2 * ENSO_ARRAY_SIZE(names); i++) {
        char *path = enso_test_format("%s/%s", dir, names[i / 2]);
        struct enso_dataset_item item;
        struct enso_dataset *set = NULL;
        struct enso_error err = {0};
        bool more;

        ENSO_TEST_OK(enso_dataset_open(&(struct enso_dataset_spec){.path = path}, &set, &err),
                     &err);
        if (i % 2 == 1)
            ENSO_TEST_OK(enso_dataset_next(set, &item, &more, &err), &err);
        enso_dataset_close(set);
        free(path);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cli/dataset");
    TCase *core = tcase_create("core"), *errors = tcase_create("errors"),
          *oom = tcase_create("oom");

    tcase_add_checked_fixture(core, set_up, tear_down);
    tcase_add_checked_fixture(errors, set_up, tear_down);
    tcase_add_checked_fixture(oom, set_up, tear_down);
    tcase_add_test(core, test_csv_columns);
    tcase_add_test(core, test_folder);
    tcase_add_test(core, test_archive_formats);
    tcase_add_test(core, test_idx);
    tcase_add_test(core, test_idx_colour_and_named_labels);
    tcase_add_test(core, test_dataset_left_early);
    tcase_add_test(errors, test_csv_errors);
    tcase_add_test(errors, test_options_of_another_kind);
    tcase_add_test(errors, test_folder_errors);
    tcase_add_test(errors, test_archive_is_cut_or_garbage);
    tcase_add_test(errors, test_archive_absurd_size);
    tcase_add_test(errors, test_archive_bomb);
    tcase_add_test(errors, test_idx_errors);
    tcase_add_test(oom, test_dataset_out_of_memory);
    suite_add_tcase(s, core);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}
ENSO_TEST_MAIN(suite)
