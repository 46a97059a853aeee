/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instruction sets this processor and this operating system can run, and the tables of
 * kernels built for them (kernels.h), filled once before the first device is open. The processor
 * saying AVX2 (CPUID leaf 7) is not enough: the system must also save the wide registers, which
 * XCR0 tells (Intel SDM volume 1, 14.3).
 */
#include "ensod_build.h"

#include "kernels/cpu/kernels.h"

#include <pthread.h>
#include <string.h>

#ifdef HAVE_AVX2_KERNELS
#include <cpuid.h>
#endif

#ifdef HAVE_AVX2_KERNELS
static bool has_avx2(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0 || (c & bit_AVX) == 0 ||
        (c & bit_FMA) == 0)
        return false;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) /* SSE and AVX state */
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2) != 0;
}
#endif

static struct {
    pthread_once_t once;
    struct enso_kernels generic;
    struct enso_kernels avx2;
    bool can_avx2;
} sets = {.once = PTHREAD_ONCE_INIT};

static void fill(void)
{
    sets.generic.name = "generic";
    sets.generic.description = "portable C";
    enso_gemm_add_generic(&sets.generic);
    enso_rows_add_generic(&sets.generic);
#ifdef HAVE_AVX2_KERNELS
    sets.can_avx2 = has_avx2();
    sets.avx2 = sets.generic;
    sets.avx2.name = "avx2";
    sets.avx2.description = "AVX2+FMA";
    enso_gemm_add_avx2(&sets.avx2);
    enso_rows_add_avx2(&sets.avx2);
#endif
}

const struct enso_kernels *enso_kernels_generic(void)
{
    pthread_once(&sets.once, fill);
    return &sets.generic;
}

int enso_kernels_choose(const char *name, const struct enso_kernels **ret_kernels,
                        struct enso_error *err)
{
    pthread_once(&sets.once, fill);
    if (name == NULL || strcmp(name, "auto") == 0) {
        *ret_kernels = sets.can_avx2 ? &sets.avx2 : &sets.generic;
        return ENSO_OK;
    }
    if (strcmp(name, "generic") == 0) {
        *ret_kernels = &sets.generic;
        return ENSO_OK;
    }
    if (strcmp(name, "avx2") != 0)
        return enso_error_set(err, ENSO_INVALID,
                              "instruction set '%s' is unknown; give auto, generic or avx2", name);
    if (!sets.can_avx2)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "instruction set 'avx2' was asked for, but this processor or system "
                              "has no AVX2 with FMA; give auto or generic");
    *ret_kernels = &sets.avx2;
    return ENSO_OK;
}
