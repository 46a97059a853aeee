/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA module over the emulated runtime, for tests that look at the module and not at kernels:
 * it is rig_backend().
 */
#ifndef ENSO_TESTS_MODULE_RIG_H
#define ENSO_TESTS_MODULE_RIG_H

#include "tests/kernels/rig.h"

/* A device by its name; and the first, which must open. */
int module_open(const char *name, struct enso_device **ret, struct enso_error *err);
struct enso_device *module_device_new(void);
/* NULL when there is none. */
void *module_memory_new(struct enso_device *device, size_t size_bytes);
/* Of the first card, as a device that is opened for it sees it. */
size_t module_free_bytes(void);

/* What `live` says when the n-th call of the runtime fails with a code: its status, and unless it
 * is ENSO_OK a sentence. Through: there was no n-th call. */
int module_fail_call(unsigned n, int code, int (*live)(struct enso_error *err), bool *ret_through);

/* The main. Each emulated thread is a thread to ThreadSanitizer, and most tests would take it
 * minutes: under_tsan is the one case that runs there; "": none; NULL: all. */
int module_main(Suite *(*make_suite)(void), const char *under_tsan);

#endif
