/* SPDX-License-Identifier: Apache-2.0
 *
 * What every Check program here needs: a main, files, data that may be absent, buffers that end at
 * a guard page, and the sweep that makes each allocation fail once.
 *
 *     static Suite *suite(void) { ... }
 *     ENSO_TEST_MAIN(suite)
 *
 * Link $(TEST_LIBS) and then the floor's own libraries. Helpers that fail abort the running test
 * through Check, with a sentence; memory they give is from malloc, outside the allocator seam, so
 * that sweeps do not count it.
 */
#ifndef ENSO_TESTS_SUPPORT_H
#define ENSO_TESTS_SUPPORT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

/* Run the suite; the exit status of main. A test may take 60 s (CK_DEFAULT_TIMEOUT overrides). */
int enso_test_main(Suite *(*make_suite)(void));
#define ENSO_TEST_MAIN(make_suite)                                                                 \
    int main(void)                                                                                 \
    {                                                                                              \
        return enso_test_main(make_suite);                                                         \
    }

/* The path of a file or folder of the test data outside the project: $ENSO_SHARED, or ../shared
 * beside the sources. NULL, after one line that says so, when it is not there: the test then
 * returns. free() the result.
 *     char *path = enso_test_shared("data/json");
 *     if (path == NULL)
 *         return; */
char *enso_test_shared(const char *relative) ENSO_MUST_CHECK;

/* The path of a file of the project, for golden files: "tests/base/golden/x.json". free() it. */
char *enso_test_source(const char *relative) ENSO_MUST_CHECK;

/* printf into malloc'ed memory. */
char *enso_test_format(const char *format, ...) ENSO_PRINTF(1, 2) ENSO_MUST_CHECK;

/* Whole file, NUL-terminated; free() it. ret_size may be NULL. The test fails if unreadable. */
char *enso_test_read_file(const char *path, size_t *ret_size) ENSO_MUST_CHECK;
void enso_test_write_file(const char *path, const void *bytes, size_t size);

/* A fresh folder under $TMPDIR or /tmp; remove it with all it holds and free its name. */
char *enso_test_make_dir(void) ENSO_MUST_CHECK;
void enso_test_remove_dir(char *path);

/* size bytes that end exactly at a page without access: reading or writing one too many crashes.
 * _copy fills them. The front is not guarded (but for the page before it). */
void *enso_test_guard_alloc(size_t size) ENSO_MUST_CHECK;
void *enso_test_guard_copy(const void *bytes, size_t size) ENSO_MUST_CHECK;
void enso_test_guard_free(void *p, size_t size);

/* Call `run` with the 1st, 2nd, 3rd ... allocation (and all after it) failing, until it succeeds.
 * Each failure must be ENSO_NO_MEMORY with a sentence in err; run releases what it made before it
 * returns ENSO_OK, and must leave nothing behind when it fails (the leak checker looks). Returns
 * how many allocations were made to fail; the test fails if that never ends. */
typedef enum enso_status (*enso_test_oom_fn)(void *context, struct enso_error *err);
uint64_t enso_test_oom_sweep(enso_test_oom_fn run, void *context);

/* Deterministic random numbers: *state is any number but 0. */
uint64_t enso_test_random(uint64_t *state);
float enso_test_random_f32(uint64_t *state); /* [-1, 1) */

/* True when the program was built with a sanitizer (for timings and address-space limits). */
bool enso_test_is_sanitized(void);

/* Fails the test unless st is ENSO_OK, showing the sentence. err may be NULL. */
void enso_test_ok(enum enso_status st, const struct enso_error *err, const char *file, int line);
#define ENSO_TEST_OK(st, err) enso_test_ok((st), (err), __FILE__, __LINE__)

/* Fails the test unless `text` holds `part`. */
#define ENSO_TEST_CONTAINS(text, part)                                                             \
    ck_assert_msg(strstr((text), (part)) != NULL, "no \"%s\" in: %s", (part), (text))

#endif
