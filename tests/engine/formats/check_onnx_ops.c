/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX's own operator tests (data/onnx-ops of the shared test data; skipped where it is absent):
 * each model is loaded, run on the CPU backend without and with passes, and compared with the
 * expected outputs. A model that ensod refuses as unsupported is counted; one that it gets wrong,
 * or refuses for another reason, fails the test.
 *
 * Tolerance: relative 1e-3 as the tests' authors use, absolute 1e-5 (sums of some hundred terms
 * near 1); where the model computes in half precision, 2e-3 for its rounding, which ensod does not
 * do. ENSO_ONNX_OPS=PART runs only the tests with PART in their name and says how each went.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine/formats/onnx_run.h"
#include "tests/support/support.h"

static unsigned n_outcomes[3];
static char unsupported[4096]; /* "Attention Resize ..." */

/* The name after "operator '" is remembered once. */
static void note_unsupported(const char *message)
{
    const char *start = strstr(message, "operator '"), *end;
    char name[64];

    if (start == NULL || (end = strchr(start + 10, '\'')) == NULL || end - start > 60)
        return;
    snprintf(name, sizeof name, " %.*s", (int)(end - start - 10), start + 10);
    if (strstr(unsupported, name) == NULL && strlen(unsupported) < sizeof unsupported - 64)
        strcat(unsupported, name);
}

static bool is_half(const char *name)
{
    return strstr(name, "float16") != NULL || strstr(name, "FLOAT16") != NULL ||
           strstr(name, "fp16") != NULL;
}

static void run_test(const char *root, const char *name, bool verbose)
{
    static const char *const words[] = {"passed", "unsupported", "FAILED"};
    bool half = is_half(name);
    char *model = enso_test_format("%s/%s/model.onnx", root, name),
         *data = enso_test_format("%s/%s/test_data_set_0", root, name);
    struct onnx_case c = {
        .model = model, .rtol = half ? 2e-3f : 1e-3f, .atol = half ? 2e-3f : 1e-5f, .freeze = true};
    struct enso_error err = {0};
    enum onnx_outcome outcome = ONNX_PASSED;
    enum enso_status st = onnx_case_read(&c, data, &err);

    if (st != ENSO_OK) {
        outcome = st == ENSO_UNSUPPORTED ? ONNX_UNSUPPORTED : ONNX_FAILED;
    } else {
        for (int passes = 0; passes < 2 && outcome == ONNX_PASSED; passes++) {
            outcome = onnx_case_run(&c, passes, &err);
            if (outcome != ONNX_PASSED)
                enso_error_prefix(&err, "%s passes: ", passes ? "with" : "without");
        }
    }
    onnx_case_done(&c);
    n_outcomes[outcome]++;
    if (outcome == ONNX_UNSUPPORTED)
        note_unsupported(err.message);
    if (verbose || outcome == ONNX_FAILED)
        printf("%s: %s %s\n", name, words[outcome], err.message);
    free(model);
    free(data);
}

START_TEST(test_onnx_ops_conformance)
{
    char *shared = enso_test_shared("data/onnx-ops"), *dir, *command, *list, *save = NULL;
    const char *only = getenv("ENSO_ONNX_OPS");

    if (shared == NULL)
        return;
    dir = enso_test_make_dir();
    command = enso_test_format("tar -xzf '%s/onnx-backend-tests.tar.gz' -C '%s'", shared, dir);
    ck_assert_int_eq(system(command), 0);
    free(command);
    command = enso_test_format("%s/list.txt", shared);
    list = enso_test_read_file(command, NULL);
    for (char *name = strtok_r(list, "\n", &save); name != NULL; name = strtok_r(NULL, "\n", &save))
        if (only == NULL || strstr(name, only) != NULL) {
            if (only != NULL)
                fprintf(stderr, "%s\n", name); /* seen even if it crashes */
            run_test(dir, name, only != NULL);
        }
    printf("ONNX operator tests: %u passed, %u unsupported, %u failed\nunsupported:%s\n",
           n_outcomes[ONNX_PASSED], n_outcomes[ONNX_UNSUPPORTED], n_outcomes[ONNX_FAILED],
           unsupported);
    fflush(stdout); /* a failing test does not */
    free(command);
    free(list);
    free(shared);
    enso_test_remove_dir(dir);
    ck_assert_uint_eq(n_outcomes[ONNX_FAILED], 0);
    ck_assert_uint_gt(n_outcomes[ONNX_PASSED], 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("engine/onnx_ops");
    TCase *core = tcase_create("core");

    tcase_set_timeout(core, 300);
    tcase_add_test(core, test_onnx_ops_conformance);
    suite_add_tcase(s, core);
    return s;
}

ENSO_TEST_MAIN(suite)
