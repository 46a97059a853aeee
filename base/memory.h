/* SPDX-License-Identifier: Apache-2.0
 *
 * The one allocator seam of ensod: every heap byte that we ask for ourselves passes here, so that
 * tests can make the n-th allocation fail. Sizes that come from outside go through
 * enso_size_mul/enso_size_add, which refuse overflow. All functions are safe from any thread.
 *
 * Memory from enso_alloc* is released by enso_free, aligned or not.
 */
#ifndef ENSO_BASE_MEMORY_H
#define ENSO_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define ENSO_CACHE_LINE 64

void enso_free(void *p); /* NULL is fine */

/* NULL when out of memory; size 0 gives a unique pointer. Content undefined. */
void *enso_alloc(size_t size_bytes) ENSO_MUST_CHECK __attribute__((malloc));

/* n × size_bytes, zeroed; NULL when out of memory or when the product overflows. */
void *enso_alloc_zero(size_t n, size_t size_bytes) ENSO_MUST_CHECK __attribute__((malloc));

/* n × size_bytes, content undefined; NULL when out of memory or when the product overflows. */
void *enso_alloc_array(size_t n, size_t size_bytes) ENSO_MUST_CHECK __attribute__((malloc));

/* Like realloc with an overflow check; the old block stays valid on failure. */
void *enso_realloc_array(void *p, size_t n, size_t size_bytes) ENSO_MUST_CHECK;

/* Aligned to alignment (a power of two, at least sizeof(void *)); NULL when out of memory. */
void *enso_alloc_aligned(size_t alignment, size_t size_bytes) ENSO_MUST_CHECK;

/* Copies; NULL when out of memory. enso_strndup copies at most n bytes and terminates. */
char *enso_strdup(const char *s) ENSO_MUST_CHECK;
char *enso_strndup(const char *s, size_t n) ENSO_MUST_CHECK;
void *enso_memdup(const void *p, size_t size_bytes) ENSO_MUST_CHECK;

/* False (and *ret untouched) when a × b or a + b does not fit in size_t. */
bool enso_size_mul(size_t a, size_t b, size_t *ret) ENSO_MUST_CHECK;
bool enso_size_add(size_t a, size_t b, size_t *ret) ENSO_MUST_CHECK;

/* Tests only: the n-th allocation from now (1 = the next) and all after it fail; 0 switches off.
 * Returns how many allocations were asked for since the last call. Process-wide. */
uint64_t enso_memory_fail_at(uint64_t n);

/* Cleanup helper: ENSO_AUTO_FREE char *text = enso_strdup("x"); frees at the end of scope. */
void enso_free_at(void *pointer_to_pointer);
#define ENSO_AUTO_FREE ENSO_CLEANUP(enso_free_at)

/* An arena: many small blocks with one lifetime (a request, a loaded model), freed in one go.
 * Not thread-safe: one owner at a time. Blocks are aligned to 16 bytes. */
struct enso_arena {
    struct enso_arena_chunk *chunks;
    size_t used, capacity; /* of the newest chunk */
    size_t total_bytes;    /* of all chunks */
};
#define ENSO_ARENA_INIT                                                                            \
    {                                                                                              \
        NULL, 0, 0, 0                                                                              \
    }
void *enso_arena_alloc(struct enso_arena *arena, size_t size_bytes) ENSO_MUST_CHECK; /* undefined */
void *enso_arena_alloc_zero(struct enso_arena *arena, size_t n, size_t size_bytes) ENSO_MUST_CHECK;
char *enso_arena_strndup(struct enso_arena *arena, const char *s, size_t n) ENSO_MUST_CHECK;
void enso_arena_done(struct enso_arena *arena); /* frees all; the arena may be used again */

#endif
