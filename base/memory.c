/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator seam and arenas: see memory.h. One relaxed atomic add per allocation pays for the
 * fault injection; allocations are not on the per-token path.
 */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t n_allocations; /* since the last enso_memory_fail_at */
static atomic_uint_fast64_t fail_at;       /* 0 = never */

/* True when the test hook wants this allocation to fail. */
static bool must_fail(void)
{
    /* relaxed: only tests that allocate from one thread care for the exact order */
    uint64_t n = atomic_fetch_add_explicit(&n_allocations, 1, memory_order_relaxed) + 1;
    uint64_t limit = atomic_load_explicit(&fail_at, memory_order_relaxed);

    return limit != 0 && n >= limit;
}

uint64_t enso_memory_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
    return atomic_exchange(&n_allocations, 0);
}

void enso_free(void *p)
{
    free(p);
}

void enso_free_at(void *pointer_to_pointer)
{
    void *p;

    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
}

void *enso_alloc(size_t size_bytes)
{
    return must_fail() ? NULL : malloc(size_bytes != 0 ? size_bytes : 1);
}

void *enso_alloc_zero(size_t n, size_t size_bytes)
{
    size_t total; /* calloc checks, too, but AddressSanitizer's ends the process */

    if (!enso_size_mul(n, size_bytes, &total) || must_fail())
        return NULL;
    return calloc(total != 0 ? total : 1, 1);
}

void *enso_alloc_array(size_t n, size_t size_bytes)
{
    size_t total;

    return enso_size_mul(n, size_bytes, &total) ? enso_alloc(total) : NULL;
}

void *enso_realloc_array(void *p, size_t n, size_t size_bytes)
{
    size_t total;

    if (!enso_size_mul(n, size_bytes, &total) || must_fail())
        return NULL;
    return realloc(p, total != 0 ? total : 1);
}

void *enso_alloc_aligned(size_t alignment, size_t size_bytes)
{
    void *p;

    if (must_fail())
        return NULL;
    return posix_memalign(&p, alignment, size_bytes != 0 ? size_bytes : 1) == 0 ? p : NULL;
}

char *enso_strdup(const char *s)
{
    return enso_strndup(s, strlen(s));
}

char *enso_strndup(const char *s, size_t n)
{
    size_t length = strnlen(s, n);
    char *copy = enso_alloc(length + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, s, length);
    copy[length] = '\0';
    return copy;
}

void *enso_memdup(const void *p, size_t size_bytes)
{
    void *copy = enso_alloc(size_bytes);

    if (copy != NULL && size_bytes != 0)
        memcpy(copy, p, size_bytes);
    return copy;
}

bool enso_size_mul(size_t a, size_t b, size_t *ret)
{
    size_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

bool enso_size_add(size_t a, size_t b, size_t *ret)
{
    size_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

#define ARENA_ALIGNMENT 16
#define ARENA_FIRST_CHUNK 4096
#define ARENA_LARGEST_GROWTH (1 << 20)

struct enso_arena_chunk {
    struct enso_arena_chunk *next;
    size_t size_bytes;
    _Alignas(ARENA_ALIGNMENT) char data[];
};

static bool arena_grow(struct enso_arena *arena, size_t size_bytes)
{
    size_t wanted = arena->capacity != 0 ? arena->capacity * 2 : ARENA_FIRST_CHUNK;
    struct enso_arena_chunk *chunk;
    size_t total;

    wanted = ENSO_MAX(ENSO_MIN(wanted, (size_t)ARENA_LARGEST_GROWTH), size_bytes);
    if (!enso_size_add(wanted, sizeof *chunk, &total))
        return false;
    chunk = enso_alloc(total);
    if (chunk == NULL)
        return false;
    chunk->next = arena->chunks;
    chunk->size_bytes = wanted;
    arena->chunks = chunk;
    arena->used = 0;
    arena->capacity = wanted;
    arena->total_bytes += total;
    return true;
}

void *enso_arena_alloc(struct enso_arena *arena, size_t size_bytes)
{
    size_t rounded;
    void *p;

    if (!enso_size_add(size_bytes, ARENA_ALIGNMENT - 1, &rounded))
        return NULL;
    rounded &= ~(size_t)(ARENA_ALIGNMENT - 1);
    if (rounded > arena->capacity - arena->used && !arena_grow(arena, rounded))
        return NULL;
    if (arena->chunks == NULL &&
        !arena_grow(arena, rounded)) /* a block of no bytes, first of all */
        return NULL;
    p = arena->chunks->data + arena->used;
    arena->used += rounded;
    return p;
}

void *enso_arena_alloc_zero(struct enso_arena *arena, size_t n, size_t size_bytes)
{
    size_t total;
    void *p;

    if (!enso_size_mul(n, size_bytes, &total))
        return NULL;
    p = enso_arena_alloc(arena, total);
    if (p != NULL)
        memset(p, 0, total);
    return p;
}

char *enso_arena_strndup(struct enso_arena *arena, const char *s, size_t n)
{
    size_t length = strnlen(s, n);
    char *copy = enso_arena_alloc(arena, length + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, s, length);
    copy[length] = '\0';
    return copy;
}

void enso_arena_done(struct enso_arena *arena)
{
    struct enso_arena_chunk *chunk = arena->chunks;

    while (chunk != NULL) {
        struct enso_arena_chunk *next = chunk->next;

        enso_free(chunk);
        chunk = next;
    }
    *arena = (struct enso_arena)ENSO_ARENA_INIT;
}
