/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the tests of the emulator: a report ends the process and the environment is read once,
 * so each case runs in a child.
 */
#ifndef ENSO_EMULATION_CHILDREN_H
#define ENSO_EMULATION_CHILDREN_H

#include <cuda_runtime_api.h>

#include <stdio.h>
#include <unistd.h>

#include "tests/support/support.h"

/* In the child, where Check's own assertions have nobody to tell. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            _exit(3);                                                                              \
        }                                                                                          \
    } while (0)

struct child {
    int status;
    char said[8192]; /* on stderr */
};

/* Run fn(arg) in a child with card and seed, either may be NULL. */
struct child run_child(void (*fn)(const void *arg), const void *arg, const char *card,
                       const char *seed);
void must_pass(void (*fn)(const void *arg), const void *arg, const char *card, const char *seed);
/* The emulation ends fn(arg) with a report that contains `says`. */
void must_report(void (*fn)(const void *arg), const void *arg, const char *seed, const char *says);
/* Both with each of a dozen seeds. */
#define N_SEEDS 12
extern const char *const some_seeds[N_SEEDS];
void pass_with_all_seeds(void (*fn)(const void *arg), const void *arg);
void report_with_all_seeds(void (*fn)(const void *arg), const void *arg, const char *says);

/* In the child. */
cudaStream_t stream_new(void);
void *device_new(size_t bytes);
void *pinned_new(size_t bytes);
void up(void *device, const void *host, size_t bytes, cudaStream_t stream);
/* Waits for it. */
void down(void *host, const void *device, size_t bytes, cudaStream_t stream);

#endif
