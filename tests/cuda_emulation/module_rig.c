/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA module over the emulated runtime: see module_rig.h.
 */
#include "ensod_build.h"

#include "tests/cuda_emulation/module_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "tests/cuda_emulation/ensod-cuda-emulated.so"

int module_open(const char *name, struct enso_device **ret, struct enso_error *err)
{
    *ret = NULL;
    return rig_backend()->device_open(&(struct enso_device_options){.name = name}, ret, err);
}

struct enso_device *module_device_new(void)
{
    struct enso_device *device;
    struct enso_error err = {0};
    int st = module_open("cuda", &device, &err);

    ck_assert_msg(st == ENSO_OK, "%s", err.message);
    return device;
}

void *module_memory_new(struct enso_device *device, size_t size_bytes)
{
    void *memory = NULL;

    return rig_backend()->memory_alloc(device, size_bytes, "memory", &memory, NULL) == ENSO_OK
               ? memory
               : NULL;
}

size_t module_free_bytes(void)
{
    struct enso_device *device = module_device_new();
    size_t free_bytes, total_bytes;

    rig_backend()->memory_info(device, &free_bytes, &total_bytes);
    rig_backend()->device_close(device);
    return free_bytes;
}

int module_fail_call(unsigned n, int code, int (*live)(struct enso_error *err), bool *ret_through)
{
    struct enso_error err = {0};
    char wish[32];
    int st;

    snprintf(wish, sizeof(wish), "%u:%d", n, code);
    setenv("ENSO_CUDA_EMULATED_FAIL", wish, 1);
    st = live(&err);
    *ret_through = getenv("ENSO_CUDA_EMULATED_FAILED") == NULL;
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    unsetenv("ENSO_CUDA_EMULATED_FAILED");
    if (st != ENSO_OK) {
        ck_assert_int_ne(err.message[0], 0);
        ck_assert(st == ENSO_NO_MEMORY || st == ENSO_DEVICE || st == ENSO_UNAVAILABLE ||
                  (st == ENSO_NOT_FOUND && n == 1)); /* asking for the driver */
    }
    return st;
}

int module_main(Suite *(*make_suite)(void), const char *under_tsan)
{
    const char *build = getenv("top_builddir"), *sanitized = getenv("ENSOD_TEST_SANITIZED");
    char path[4096];

    snprintf(path, sizeof(path), "%s/" MODULE, build != NULL ? build : ".");
    if (access(path, R_OK) != 0) {
        printf("SKIP: %s was not built (it needs a C++ compiler)\n", path);
        return 77;
    }
    if (sanitized != NULL && strcmp(sanitized, "thread") == 0 && under_tsan != NULL) {
        if (*under_tsan == '\0') {
            puts("SKIP: an emulated card takes too long under ThreadSanitizer");
            return 77;
        }
        setenv("CK_RUN_CASE", under_tsan, 0);
    }
    setenv("ENSO_TEST_BACKEND", path, 1);
    unsetenv("ENSO_CUDA_EMULATED");
    unsetenv("ENSO_CUDA_EMULATED_FAIL");
    unsetenv("ENSO_ARENA_DEBUG");
    return enso_test_main(make_suite);
}
