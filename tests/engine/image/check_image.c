/* SPDX-License-Identifier: Apache-2.0
 *
 * engine/image/image: every kind of picture against Pillow's pixels, limits told by the header,
 * damage of every byte, bombs, and the larger set of ../shared.
 */
#include "ensod_build.h"

#include "engine/image/image.h"

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "tests/engine/image/image_test.h"

static const char *const pictures[] = {
    "420.jpg",        "422.jpg",
    "444.jpg",        "progressive.jpg",
    "grey.jpg",       "cmyk.jpg",
    "exif5.jpg",      "grey1.png",
    "grey2.png",      "grey16.png",
    "palette4.png",   "rgb16.png",
    "exif6.png",      "rgba16-interlaced.png",
    "grey-alpha.png", "text-bomb.png",
    "lossy.webp",     "alpha.webp",
    "lossless.webp",  "animated.webp",
    "exif8.webp",
};

static void check_decode_row(const json_t *row)
{
    struct enso_image image =
        decode_golden(row_string(row, "file"), (uint8_t)row_number(row, "channels"));
    /* Codecs of other versions may round otherwise: 2 grey levels where the picture is lossy. */
    check_pixels(row, &image, 2);
    enso_image_done(&image);
}

START_TEST(test_image_decodes_as_pillow)
{
    ck_assert_uint_ge(each_line("decode.jsonl", check_decode_row), 40);
}
END_TEST

START_TEST(test_image_probe_reads_the_header)
{
    static const struct {
        const char *name;
        struct enso_image_info info;
    } cases[] = {
        {"420.jpg", {ENSO_IMAGE_JPEG, 24, 16, 3, 1, false, false}},
        {"progressive.jpg", {ENSO_IMAGE_JPEG, 24, 16, 3, 1, false, true}},
        {"grey.jpg", {ENSO_IMAGE_JPEG, 24, 16, 1, 1, false, false}},
        {"cmyk.jpg", {ENSO_IMAGE_JPEG, 24, 16, 4, 1, false, false}},
        {"exif7.jpg", {ENSO_IMAGE_JPEG, 11, 6, 3, 7, false, false}},
        {"grey1.png", {ENSO_IMAGE_PNG, 13, 9, 1, 1, false, false}},
        {"grey8.png", {ENSO_IMAGE_PNG, 13, 9, 1, 1, true, false}}, /* tRNS */
        {"palette4.png", {ENSO_IMAGE_PNG, 13, 9, 3, 1, true, false}},
        {"rgba16-interlaced.png", {ENSO_IMAGE_PNG, 13, 9, 3, 1, true, true}},
        {"exif6.png", {ENSO_IMAGE_PNG, 13, 9, 3, 6, false, false}},
        {"alpha.webp", {ENSO_IMAGE_WEBP, 24, 16, 3, 1, true, false}},
        {"exif8.webp", {ENSO_IMAGE_WEBP, 24, 16, 3, 8, false, false}},
    };
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct bytes b = read_golden(cases[i].name);
        struct enso_image_info info;
        ck_assert_int_eq(enso_image_probe(b.data, b.size, &info, NULL), ENSO_OK);
        const struct enso_image_info *e = &cases[i].info;
        ck_assert_msg(
            info.format == e->format && info.width == e->width && info.height == e->height &&
                info.channels == e->channels && info.orientation == e->orientation &&
                info.alpha == e->alpha && info.multi_pass == e->multi_pass,
            "%s: %u x %u, %u channels, orientation %u, alpha %d, multi-pass %d", cases[i].name,
            info.width, info.height, info.channels, info.orientation, info.alpha, info.multi_pass);
        enso_free(b.data);
    }
    ck_assert_str_eq(enso_image_format_name(ENSO_IMAGE_WEBP), "WebP");
}
END_TEST

/* ---- limits ---- */

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The golden picture with another width and height in its IHDR. */
static struct bytes png_that_lies(uint32_t width, uint32_t height)
{
    struct bytes b = read_golden("color.png");
    put32((uint8_t *)b.data + 16, width);
    put32((uint8_t *)b.data + 20, height);
    return b;
}

START_TEST(test_image_refuses_from_the_header)
{
    static const struct {
        uint32_t width, height;
        enum enso_status status;
        const char *word;
    } cases[] = {
        {20000, 20000, ENSO_TOO_LARGE, "20000 x 20000 = 400000000 pixels"},
        {8192, 8193, ENSO_TOO_LARGE, "at most 67108864"},
        {65536, 1, ENSO_TOO_LARGE, "a side may have at most 65535"},
        {1, 65536, ENSO_TOO_LARGE, "65535"},
        {0xffffffff, 0xffffffff, ENSO_TOO_LARGE, "65535"},
        {0, 5, ENSO_INVALID, "no content"},
        {5, 0, ENSO_INVALID, "no content"},
    };
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct bytes b = png_that_lies(cases[i].width, cases[i].height);
        struct enso_error err = {0};
        struct enso_image image;
        (void)enso_memory_fail_at(1); /* no allocation of ours may be asked for */
        enum enso_status st = enso_image_decode(b.data, b.size, NULL, &image, &err);
        (void)enso_memory_fail_at(0);
        ck_assert_int_eq(st, cases[i].status);
        ck_assert_msg(strstr(err.message, cases[i].word) != NULL, "%s", err.message);
        enso_free(b.data);
    }
}
END_TEST

START_TEST(test_image_keeps_to_given_limits)
{
    struct bytes b = read_golden("progressive.jpg"); /* 24 x 16 = 384 pixels */
    const struct enso_image_limits refuse[] = {
        {.max_pixels = 383}, {.max_side = 23}, {.max_memory_bytes = 1 << 20}, {.max_scans = 3}};
    struct enso_image image;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(refuse); i++) {
        struct enso_error err = {0};
        ck_assert_int_eq(enso_image_decode(b.data, b.size, &refuse[i], &image, &err),
                         ENSO_TOO_LARGE);
        ck_assert_msg(err.message[0] != '\0', "no sentence");
    }
    const struct enso_image_limits allow = {.max_pixels = 384, .max_side = 24, .max_scans = 10};
    ck_assert_int_eq(enso_image_decode(b.data, b.size, &allow, &image, NULL), ENSO_OK);
    enso_image_done(&image);
    enso_image_done(&image); /* an empty one is fine */
    enso_image_done(NULL);
    enso_free(b.data);
}
END_TEST

/* The next marker 0xff `code` at or after `at`; code 0: any but restart markers. */
static size_t find_marker(const struct bytes *b, size_t at, uint8_t code)
{
    for (; at + 1 < b->size; at++) {
        uint8_t found = (uint8_t)b->data[at + 1];
        if ((uint8_t)b->data[at] == 0xff && found != 0 && found != 0xff &&
            (code ? found == code : found < 0xd0 || found > 0xd7))
            return at;
    }
    return 0;
}

/* The first scan of a progressive picture, ten thousand times over. */
START_TEST(test_image_bounds_progressive_scans)
{
    struct bytes b = read_golden("progressive.jpg");
    size_t start = find_marker(&b, 0, 0xda), end = find_marker(&b, start + 2, 0), n = end;
    size_t n_scan = end - start;
    enum { N_SCANS = 10000 };
    char *bomb = enso_alloc(b.size + N_SCANS * n_scan);
    memcpy(bomb, b.data, end);
    for (int i = 0; i < N_SCANS; i++, n += n_scan)
        memcpy(bomb + n, b.data + start, n_scan);
    memcpy(bomb + n, b.data + end, b.size - end);
    struct enso_error err = {0};
    struct enso_image image;
    uint64_t begin = enso_clock_now_ns();
    (void)enso_image_decode(bomb, n + b.size - end, NULL, &image, &err);
    ck_assert_msg(strstr(err.message, "more than 100 scans") != NULL, "%s", err.message);
    ck_assert_int_eq(err.status, ENSO_TOO_LARGE);
    ck_assert_uint_lt(enso_clock_now_ns() - begin, ENSO_NS_PER_S);
    enso_free(bomb);
    enso_free(b.data);
}
END_TEST

START_TEST(test_image_cost_is_an_upper_estimate)
{
    struct enso_image_info info = {ENSO_IMAGE_PNG, 1000, 1000, 3, 1, false, false};
    ck_assert_uint_ge(enso_image_cost_bytes(&info, 3), 3000000);
    ck_assert_uint_lt(enso_image_cost_bytes(&info, 3), 6000000);
    info.orientation = 6; /* a second picture */
    ck_assert_uint_ge(enso_image_cost_bytes(&info, 3), 6000000);
    info = (struct enso_image_info){ENSO_IMAGE_JPEG, 1000, 1000, 3, 1, false, true};
    ck_assert_uint_ge(enso_image_cost_bytes(&info, 3), 9000000);
    info.width = info.height = UINT32_MAX;
    ck_assert_uint_eq(enso_image_cost_bytes(&info, 3), UINT64_MAX);
}
END_TEST

/* ---- errors ---- */

START_TEST(test_image_names_what_it_does_not_take)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum enso_status status;
        const char *word;
    } cases[] = {
        {"", 0, ENSO_INVALID, "empty"},
        {"GIF89a\1\0\1\0", 10, ENSO_UNSUPPORTED, "GIF"},
        {"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\1\0", 20, ENSO_UNSUPPORTED, "BMP"},
        {"II*\0\x08\0\0\0", 8, ENSO_UNSUPPORTED, "TIFF"},
        {"\0\0\0\x1c"
         "ftypavif",
         12, ENSO_UNSUPPORTED, "AVIF"},
        {"<html><body>", 12, ENSO_UNSUPPORTED, "HTML"},
        {"iVBORw0KGgoAAAANSUhEUg", 22, ENSO_UNSUPPORTED, "base64 text of PNG"},
        {"hello, this is no picture at all", 32, ENSO_UNSUPPORTED, "text, not a picture"},
        {"\x01\x02\x03\x04", 4, ENSO_UNSUPPORTED, "no picture format"},
        {"\x89PNG\r\n\x1a", 7, ENSO_UNSUPPORTED, "no picture format"},
        {"\x89PNG\r\n\x1a\n", 8, ENSO_INVALID, "truncated"},
        {"\xff\xd8", 2, ENSO_INVALID, "truncated"},
        {"\xff\xd8\xff\xd9", 4, ENSO_INVALID, "no image"},
        {"RIFF\4\0\0\0WEBP", 12, ENSO_INVALID, "WebP"},
        {"RIFF\4\0\0\0WAVE", 12, ENSO_UNSUPPORTED, "no picture format"},
    };
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        struct enso_error err = {0};
        struct enso_image_info info;
        enum enso_status st = enso_image_probe(cases[i].bytes, cases[i].size, &info, &err);
        ck_assert_msg(st == cases[i].status && strstr(err.message, cases[i].word) != NULL,
                      "case %zu: %s: %s", i, enso_status_name(st), err.message);
    }
}
END_TEST

/* Decode with small limits; the result must be a picture or a sentence. */
static enum enso_status try_decode(const char *data, size_t size, const char *name)
{
    const struct enso_image_limits limits = {.max_pixels = 1 << 16, .max_memory_bytes = 8 << 20};
    struct enso_error err = {0};
    struct enso_image image = {0};
    enum enso_status st = enso_image_decode(data, size, &limits, &image, &err);
    if (st == ENSO_OK)
        ck_assert_msg(image.pixels != NULL && image.width > 0, "%s", name);
    else
        ck_assert_msg(image.pixels == NULL && err.message[0] != '\0', "%s", name);
    ck_assert_msg(st == ENSO_OK || st == ENSO_INVALID || st == ENSO_TOO_LARGE ||
                      st == ENSO_UNSUPPORTED,
                  "%s: %s: %s", name, enso_status_name(st), err.message);
    enso_image_done(&image);
    return st;
}

START_TEST(test_image_refuses_every_truncation)
{
    const char *name = pictures[_i];
    struct bytes b = read_golden(name);
    /* What follows the last row of a PNG is not read. */
    bool png = strstr(name, ".png") != NULL;
    size_t needed = png && b.size > 400 ? b.size / 3 : b.size - 16;
    if (strstr(name, ".jpg") || strstr(name, ".webp"))
        needed = b.size - 1;
    for (size_t size = 0; size < b.size; size++) {
        char *cut = enso_test_guard_copy(b.data, size);
        enum enso_status st = try_decode(cut, size, name);
        ck_assert_msg(st != ENSO_OK || size > needed, "%s cut to %zu of %zu bytes decodes", name,
                      size, b.size);
        enso_test_guard_free(cut, size);
    }
    enso_free(b.data);
}
END_TEST

START_TEST(test_image_survives_every_damage)
{
    static const uint8_t masks[] = {0xff, 0x01, 0x80};
    struct bytes b = read_golden(pictures[_i]);
    for (size_t i = 0; i < b.size; i++)
        for (size_t k = 0; k < ENSO_ARRAY_SIZE(masks); k++) {
            b.data[i] = (char)(b.data[i] ^ masks[k]);
            (void)try_decode(b.data, b.size, pictures[_i]); /* either is right */
            b.data[i] = (char)(b.data[i] ^ masks[k]);
        }
    enso_free(b.data);
}
END_TEST

START_TEST(test_image_ignores_broken_exif)
{
    struct bytes b = read_golden("exif6.jpg");
    char *exif = memmem(b.data, b.size, "Exif", 4);
    ck_assert_ptr_nonnull(exif);
    size_t start = (size_t)(exif - b.data), n_changed = 0;
    for (size_t i = start; i < start + 40; i++) {
        char old = b.data[i];
        b.data[i] = (char)0xee;
        struct enso_image_info info;
        ck_assert_int_eq(enso_image_probe(b.data, b.size, &info, NULL), ENSO_OK);
        ck_assert(info.orientation == 1 || info.orientation == 6);
        n_changed += info.orientation == 1;
        b.data[i] = old;
    }
    ck_assert_uint_gt(n_changed, 10);
    enso_free(b.data);
}
END_TEST

START_TEST(test_image_bombs_of_text_cost_nothing)
{
    struct bytes b = read_golden("text-bomb.png");
    const struct enso_image_limits limits = {.max_memory_bytes = 3 << 20};
    struct enso_image image;
    ck_assert_int_eq(enso_image_decode(b.data, b.size, &limits, &image, NULL), ENSO_OK);
    enso_image_done(&image);
    enso_free(b.data);
}
END_TEST

/* ---- oom, threads ---- */

START_TEST(test_image_oom)
{
    struct bytes b = read_golden(pictures[_i]);
    enum enso_status st = ENSO_NO_MEMORY;
    for (uint64_t n = 1; st != ENSO_OK; n++) {
        struct enso_image image;
        struct enso_error err = {0};
        ck_assert_uint_lt(n, 100);
        (void)enso_memory_fail_at(n);
        st = enso_image_decode(b.data, b.size, NULL, &image, &err);
        (void)enso_memory_fail_at(0);
        if (st == ENSO_OK)
            enso_image_done(&image);
        else
            ck_assert_msg(st == ENSO_NO_MEMORY, "%s", err.message);
    }
    enso_free(b.data);
}
END_TEST

static void *decode_many(void *arg)
{
    const struct bytes *b = arg;
    uint64_t hash = 0;
    for (int i = 0; i < 50; i++) {
        struct enso_image image;
        if (enso_image_decode(b->data, b->size, NULL, &image, NULL) != ENSO_OK)
            return NULL;
        hash = fnv1a(image.pixels, (size_t)image.width * image.height * image.channels);
        enso_image_done(&image);
    }
    return (void *)(uintptr_t)hash;
}

START_TEST(test_image_threads_decode_the_same)
{
    struct bytes b = read_golden(pictures[_i]);
    pthread_t threads[4];
    void *first = decode_many(&b);
    ck_assert_ptr_nonnull(first);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, decode_many, &b), 0);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(threads); i++) {
        void *hash;
        pthread_join(threads[i], &hash);
        ck_assert_ptr_eq(hash, first);
    }
    enso_free(b.data);
}
END_TEST

/* ---- ../shared ---- */

/* Address space is limited where no sanitizer needs it all. */
static void limit_memory(size_t bytes)
{
    struct rlimit limit = {bytes, bytes};
    if (!enso_test_is_sanitized())
        ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Decode all files of a folder, each within two seconds; returns how many are pictures. */
static size_t decode_folder(const char *images, const char *folder, size_t *ret_n_files)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", images, folder);
    DIR *dir = opendir(path);
    ck_assert_msg(dir != NULL, "%s", path);
    size_t n_ok = 0, n_files = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s/%s", images, folder, e->d_name);
        struct bytes b = read_file(path);
        struct enso_error err = {0};
        struct enso_image image = {0};
        uint64_t begin = enso_clock_now_ns();
        enum enso_status st = enso_image_decode(b.data, b.size, NULL, &image, &err);
        ck_assert_msg(enso_clock_now_ns() - begin < 2 * ENSO_NS_PER_S, "%s takes long", path);
        ck_assert_msg(st == ENSO_OK || err.message[0], "%s: no sentence", path);
        ck_assert_msg(st != ENSO_NO_MEMORY && st != ENSO_INTERNAL, "%s: %s", path, err.message);
        n_ok += st == ENSO_OK;
        n_files++;
        enso_image_done(&image);
        enso_free(b.data);
    }
    closedir(dir);
    *ret_n_files = n_files;
    return n_ok;
}

START_TEST(test_image_shared_folders)
{
    static const struct {
        const char *name;
        size_t min_ok, max_ok;
    } folders[] = {
        {"photos", 12, 12}, /* all but a TIFF */
        {"odd", 38, 38},    /* all but two GIF, a BMP, a TIFF */
        {"broken", 2, 4},   /* what a lenient decoder may take */
        {"bombs", 1, 1},    /* the one of text is harmless */
        {"cifar-jpeg", 20, 20}, {"pngsuite", 90, 1000},
    };
    char *images = enso_test_shared("data/images");
    if (!images)
        return;
    limit_memory((size_t)512 << 20);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(folders); i++) {
        size_t n_files, n_ok = decode_folder(images, folders[i].name, &n_files);
        printf("%s: %zu of %zu files decode\n", folders[i].name, n_ok, n_files);
        ck_assert_msg(n_ok >= folders[i].min_ok && n_ok <= folders[i].max_ok,
                      "%s: %zu of %zu files decode", folders[i].name, n_ok, n_files);
    }
    free(images);
}
END_TEST

/* The mean colours of the manifest; turning a picture does not change them. */
static size_t check_mean(const char *images, const json_t *row)
{
    char path[1024];
    const json_t *mean = json_object_get(row, "mean_rgb");
    const char *file = row_string(row, "file"),
               *mode = json_string_value(json_object_get(row, "mode"));
    if (!mean || !mode || strncmp(mode, "I", 1) == 0 || strncmp(file, "broken/", 7) == 0)
        return 0;
    (void)snprintf(path, sizeof path, "%s/%s", images, file);
    struct bytes b = read_file(path);
    struct enso_image image;
    struct enso_error err = {0};
    enum enso_status st = enso_image_decode(b.data, b.size, NULL, &image, &err);
    enso_free(b.data);
    if (st == ENSO_UNSUPPORTED)
        return 0;
    ck_assert_msg(st == ENSO_OK, "%s: %s", file, err.message);
    size_t n = (size_t)image.width * image.height;
    for (size_t c = 0; c < 3; c++) {
        double sum = 0, expected = json_number_value(json_array_get(mean, c));
        for (size_t i = 0; i < n; i++)
            sum += image.pixels[3 * i + c];
        ck_assert_msg(sum / (double)n > expected - 1.5 && sum / (double)n < expected + 1.5,
                      "%s: the mean of channel %zu is %f, not %f", file, c, sum / (double)n,
                      expected);
    }
    enso_image_done(&image);
    return 1;
}

START_TEST(test_image_shared_means)
{
    char *images = enso_test_shared("data/images");
    if (!images)
        return;
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/manifest.jsonl", images);
    struct bytes b = read_file(path);
    size_t n = 0;
    for (char *line = b.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *row;
        ck_assert_int_eq(enso_json_parse(line, (size_t)(end - line), NULL, &row, NULL), ENSO_OK);
        n += check_mean(images, row);
        json_decref(row);
    }
    printf("%zu files have the mean colours of the manifest\n", n);
    ck_assert_uint_ge(n, 120);
    free(images);
    enso_free(b.data);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/image");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_image_decodes_as_pillow);
    tcase_add_test(core, test_image_probe_reads_the_header);
    suite_add_tcase(s, core);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, test_image_refuses_from_the_header);
    tcase_add_test(limits, test_image_keeps_to_given_limits);
    tcase_add_test(limits, test_image_bounds_progressive_scans);
    tcase_add_test(limits, test_image_cost_is_an_upper_estimate);
    suite_add_tcase(s, limits);
    TCase *errors = tcase_create("errors");
    tcase_set_timeout(errors, 60);
    tcase_add_test(errors, test_image_names_what_it_does_not_take);
    tcase_add_loop_test(errors, test_image_refuses_every_truncation, 0, ENSO_ARRAY_SIZE(pictures));
    tcase_add_loop_test(errors, test_image_survives_every_damage, 0, ENSO_ARRAY_SIZE(pictures));
    tcase_add_test(errors, test_image_ignores_broken_exif);
    tcase_add_test(errors, test_image_bombs_of_text_cost_nothing);
    suite_add_tcase(s, errors);
    TCase *oom = tcase_create("oom");
    tcase_add_loop_test(oom, test_image_oom, 0, ENSO_ARRAY_SIZE(pictures));
    suite_add_tcase(s, oom);
    TCase *threads = tcase_create("threads");
    tcase_add_loop_test(threads, test_image_threads_decode_the_same, 0, ENSO_ARRAY_SIZE(pictures));
    suite_add_tcase(s, threads);
    TCase *shared = tcase_create("shared");
    tcase_set_timeout(shared, 60);
    tcase_add_test(shared, test_image_shared_folders);
    tcase_add_test(shared, test_image_shared_means);
    suite_add_tcase(s, shared);
    return s;
}

ENSO_TEST_MAIN(suite)
