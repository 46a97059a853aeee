/* SPDX-License-Identifier: Apache-2.0
 *
 * The golden models: see golden_rig.h.
 */
#include "ensod_build.h"

#include "tests/engine/model/golden_rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/support.h"

#define GOLDEN "tests/engine/model/golden"

char *golden_folder(const char *name)
{
    char *relative = enso_test_format("%s/%s", GOLDEN, name);
    char *path = enso_test_source(relative);

    free(relative);
    return path;
}

json_t *golden_expected(const char *folder)
{
    char *path = enso_test_format("%s/expected.json", folder);
    json_t *json = json_load_file(path, 0, NULL);

    ck_assert_msg(json != NULL, "%s is not there or not JSON", path);
    free(path);
    return json;
}

bool golden_open(struct model_rig *rig, const char *folder, const char *isa, unsigned n_threads)
{
    struct enso_error err = {0};
    int st = model_rig_open(rig, folder, isa, n_threads, &err);

    if (st == ENSO_UNSUPPORTED && strcmp(isa, "avx2") == 0 && strstr(err.message, "avx2") != NULL) {
        printf("skipped: %s\n", err.message);
        return false;
    }
    ENSO_TEST_OK(st, &err);
    return true;
}

static void copy_folder(const char *from, const char *to)
{
    DIR *dir = opendir(from);

    ck_assert_msg(dir != NULL, "no folder %s", from);
    ck_assert(mkdir(to, 0700) == 0 || access(to, W_OK) == 0);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char *a = enso_test_format("%s/%s", from, e->d_name);
        char *b = enso_test_format("%s/%s", to, e->d_name);
        struct stat st;

        ck_assert_int_eq(stat(a, &st), 0);
        if (S_ISREG(st.st_mode)) {
            size_t size;
            char *bytes = enso_test_read_file(a, &size);

            enso_test_write_file(b, bytes, size);
            free(bytes);
        } else if (e->d_name[0] != '.') {
            copy_folder(a, b);
        }
        free(a);
        free(b);
    }
    (void)closedir(dir); /* only read */
}

void golden_change_file(const char *path, const char *from, const char *to)
{
    char *bytes, *at, *changed;
    size_t size, head, n_from, n_to;

    if (to == NULL) {
        ck_assert_msg(unlink(path) == 0, "no %s", path);
        return;
    }
    n_to = strlen(to);
    if (from == NULL) {
        enso_test_write_file(path, to, n_to);
        return;
    }
    bytes = enso_test_read_file(path, &size);
    n_from = strlen(from);
    at = memmem(bytes, size, from, n_from);
    ck_assert_msg(at != NULL, "no '%s' in %s", from, path);
    head = (size_t)(at - bytes);
    changed = malloc(size - n_from + n_to + 1);
    ck_assert_ptr_nonnull(changed);
    memcpy(changed, bytes, head);
    memcpy(changed + head, to, n_to);
    memcpy(changed + head + n_to, at + n_from, size - head - n_from);
    enso_test_write_file(path, changed, size - n_from + n_to);
    free(bytes);
    free(changed);
}

char *golden_copy(const char *base, const char *file, const char *from, const char *to)
{
    char *folder = enso_test_make_dir();

    if (base != NULL) {
        char *golden = golden_folder(base);

        copy_folder(golden, folder);
        free(golden);
    }
    if (file != NULL) {
        char *path = enso_test_format("%s/%s", folder, file);

        golden_change_file(path, from, to);
        free(path);
    }
    return folder;
}
