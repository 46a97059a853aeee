/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers of the tests: see support.h.
 */
#include "ensod_build.h"

#include "tests/support/support.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

int enso_test_main(Suite *(*make_suite)(void))
{
    SRunner *runner;
    int n_failed;

    (void)setenv("CK_DEFAULT_TIMEOUT", "60", 0); /* what is set wins */
    runner = srunner_create(make_suite());
    srunner_run_all(runner, CK_ENV);
    n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

char *enso_test_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        ck_abort_msg("out of memory");
    va_end(args);
    return text;
}

char *enso_test_source(const char *relative)
{
    return enso_test_format("%s/%s", ENSO_TOP_SRCDIR, relative);
}

char *enso_test_shared(const char *relative)
{
    const char *root = getenv("ENSO_SHARED");
    char *path = root != NULL ? enso_test_format("%s/%s", root, relative)
                              : enso_test_format("%s/../shared/%s", ENSO_TOP_SRCDIR, relative);

    if (access(path, R_OK) == 0)
        return path;
    printf("skipped: test data '%s' is not there (ENSO_SHARED names its folder)\n", path);
    fflush(stdout);
    free(path);
    return NULL;
}

char *enso_test_read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rbe");
    size_t size = 0, capacity = 4096;
    char *data = malloc(capacity);

    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_ptr_nonnull(data);
    for (;;) {
        size += fread(data + size, 1, capacity - size - 1, file);
        if (size < capacity - 1)
            break;
        capacity *= 2;

        char *grown = realloc(data, capacity);

        ck_assert_ptr_nonnull(grown);
        data = grown;
    }
    ck_assert_msg(!ferror(file), "%s: %s", path, strerror(errno));
    (void)fclose(file); /* read only */
    data[size] = '\0';
    if (ret_size != NULL)
        *ret_size = size;
    return data;
}

void enso_test_write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wbe");

    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

char *enso_test_make_dir(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = enso_test_format("%s/ensod-test-XXXXXX", tmp != NULL ? tmp : "/tmp");

    ck_assert_msg(mkdtemp(path) != NULL, "%s: %s", path, strerror(errno));
    return path;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void enso_test_remove_dir(char *path)
{
    ck_assert_int_eq(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(path);
}

/* One page without access, the content's pages, one page without access. */
static size_t guard_pages(size_t size, size_t page)
{
    return (size + page - 1) / page * page;
}

void *enso_test_guard_alloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), content = guard_pages(size, page);
    char *base = mmap(NULL, content + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(base, MAP_FAILED);
    if (content != 0)
        ck_assert_int_eq(mprotect(base + page, content, PROT_READ | PROT_WRITE), 0);
    return base + page + content - size;
}

void *enso_test_guard_copy(const void *bytes, size_t size)
{
    void *p = enso_test_guard_alloc(size);

    if (size != 0)
        memcpy(p, bytes, size);
    return p;
}

void enso_test_guard_free(void *p, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), content = guard_pages(size, page);

    if (p != NULL)
        ck_assert_int_eq(munmap((char *)p + size - content - page, content + 2 * page), 0);
}

uint64_t enso_test_oom_sweep(enso_test_oom_fn run, void *context)
{
    for (uint64_t n = 1; n < 1000000; n++) {
        struct enso_error err = {0};

        (void)enso_memory_fail_at(n);
        enum enso_status st = run(context, &err);
        (void)enso_memory_fail_at(0);
        if (st == ENSO_OK)
            return n - 1;
        ck_assert_msg(st == ENSO_NO_MEMORY, "allocation %llu failed: got %s, '%s'",
                      (unsigned long long)n, enso_status_name(st), err.message);
        ck_assert_msg(err.status == ENSO_NO_MEMORY && err.message[0] != '\0',
                      "allocation %llu failed without a sentence", (unsigned long long)n);
    }
    ck_abort_msg("the sweep does not end");
    return 0;
}

uint64_t enso_test_random(uint64_t *state) /* xorshift64, G. Marsaglia 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

float enso_test_random_f32(uint64_t *state)
{
    return (float)(int32_t)(enso_test_random(state) >> 40) * 0x1p-23f - 1.0f;
}

bool enso_test_is_sanitized(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return true;
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

void enso_test_ok(enum enso_status st, const struct enso_error *err, const char *file, int line)
{
    ck_assert_msg(st == ENSO_OK, "%s:%d: %s: %s", file, line, enso_status_name(st),
                  err != NULL ? err->message : "");
}
