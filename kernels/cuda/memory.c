/* SPDX-License-Identifier: Apache-2.0
 *
 * Device memory: see memory.h. One private pool of the driver for each device, on a stream of its
 * own that carries nothing else, so that giving memory out waits for no batch and taking it back
 * (cudaFreeAsync) never waits at all; cudaFree would hold up the whole device. The pool keeps what
 * comes back until it is trimmed (watch.c, after a program has gone): a model that is loaded again
 * finds its memory where it was. Cards without pools get plain cudaMalloc.
 *
 * A program's weights lie in chunks of their own: bind functions ask for hundreds of small pieces,
 * which are carved from as few allocations as the program's size allows. Nothing carved is given
 * back alone; a chunk goes when the last of its pieces has gone, and since no chunk serves two
 * programs, all of a program's memory goes with it. With ENSO_ARENA_DEBUG in the environment every
 * piece is an allocation of its own, so that an emulated card sees who writes past its end.
 *
 * The limit (gpu_memory) counts what was asked of the driver. It is checked first: a driver that is
 * short of memory may evict, or fail elsewhere. What is promised and not yet taken counts as if it
 * were: only who was promised it may take it. Where room is short, recorded batches give way
 * (capture.h), except to others of their kind.
 */
#include "ensod_build.h"

#include "kernels/cuda/memory.h"

#include <stdlib.h>

#include "kernels/cuda/capture.h"
#include "kernels/cuda/module.h"
#include "kernels/cuda/watch.h"

#define MIB ((double)(1 << 20))
#define ALIGNMENT ((size_t)256) /* of what is carved: as cudaMalloc aligns */
#define LEAST_CHUNK_BYTES ((size_t)256 << 10)
#define MOST_CHUNK_BYTES ((size_t)32 << 20)

struct loading;

/* One allocation of the driver. */
struct piece {
    struct piece *next;
    char *start;
    size_t bytes;
    size_t promised; /* of these, the bytes that were promised before */
    enum enso__cuda_memory_kind kind;
    /* Of a program's chunk, else n_carved is 0 */
    size_t used;
    size_t n_carved;       /* that are not yet given back */
    struct loading *owner; /* more may be carved; NULL once its program is loaded */
};

struct enso__cuda_memory {
    cudaMemPool_t pool; /* NULL: the card has none */
    cudaStream_t stream;
    pthread_mutex_t mutex; /* guards all below; never held over a call of the driver */
    size_t limit_bytes;
    size_t bytes[ENSO__CUDA_N_KINDS];
    size_t promised; /* and not taken now */
    struct piece *pieces;
    size_t n_pieces;
};

/* The program that this thread loads. */
struct loading {
    struct enso_device *device; /* NULL: none */
    struct piece *chunk;        /* to carve from */
    size_t left_bytes;          /* of what the program is known to need */
    bool apart;                 /* every piece an allocation of its own */
};

static _Thread_local struct loading loading;

/* Given out, or promised. */
static size_t all_bytes(const struct enso__cuda_memory *m)
{
    size_t n = m->promised;

    for (size_t i = 0; i < ENSO__CUDA_N_KINDS; i++)
        n += m->bytes[i];
    return n;
}

/* ---- what there is ---- */

static size_t pool_attribute(const struct enso__cuda_memory *m, enum cudaMemPoolAttr attribute)
{
    unsigned long long n = 0;

    if (m->pool == NULL || cudaMemPoolGetAttribute(m->pool, attribute, &n) != cudaSuccess)
        n = 0; /* only a message or a metric would have been better */
    return (size_t)n;
}

size_t enso__cuda_memory_idle(const struct enso_device *device)
{
    const struct enso__cuda_memory *m = device->memory;
    size_t reserved = pool_attribute(m, cudaMemPoolAttrReservedMemCurrent);
    size_t used = pool_attribute(m, cudaMemPoolAttrUsedMemCurrent);

    return reserved > used ? reserved - used : 0;
}

/* Free bytes of the card, with what the pool has idle; 0 of 0 when it does not say. */
static void card_info(struct enso_device *device, size_t *ret_free, size_t *ret_total)
{
    *ret_free = 0;
    *ret_total = 0;
    if (enso__cuda_enter(device, NULL) != ENSO_OK)
        return;
    size_t call = enso__cuda_call_begin(device);
    int code = cudaMemGetInfo(ret_free, ret_total);

    if (code == cudaSuccess && device->memory != NULL)
        *ret_free += enso__cuda_memory_idle(device);
    enso__cuda_call_end(device, call);
    if (code != cudaSuccess) {
        (void)cudaGetLastError(); /* only a message would have been better */
        *ret_free = 0;
        *ret_total = 0;
    }
}

static size_t below_limit(struct enso__cuda_memory *m, size_t *ret_promised)
{
    size_t used;

    pthread_mutex_lock(&m->mutex);
    used = all_bytes(m);
    *ret_promised = m->promised;
    pthread_mutex_unlock(&m->mutex);
    return m->limit_bytes > used ? m->limit_bytes - used : 0;
}

void enso__cuda_memory_info(struct enso_device *device, size_t *ret_free, size_t *ret_total)
{
    size_t promised, left = below_limit(device->memory, &promised);

    card_info(device, ret_free, ret_total);
    *ret_free = ENSO_MIN(*ret_free - ENSO_MIN(*ret_free, promised), left);
    if (*ret_total == 0)
        *ret_total = device->memory_bytes;
}

void enso__cuda_memory_stats(struct enso_device *device, struct enso__cuda_memory_stats *ret)
{
    struct enso__cuda_memory *m = device->memory;

    *ret = (struct enso__cuda_memory_stats){.limit_bytes = m->limit_bytes};
    pthread_mutex_lock(&m->mutex);
    for (size_t i = 0; i < ENSO__CUDA_N_KINDS; i++)
        ret->bytes[i] = m->bytes[i];
    ret->n_pieces = m->n_pieces;
    pthread_mutex_unlock(&m->mutex);
}

/* ---- from the driver and back ---- */

static int no_room(struct enso_device *device, size_t size_bytes, const char *what,
                   struct enso_error *err)
{
    struct enso__cuda_memory *m = device->memory;
    size_t free_bytes, total_bytes, promised, left = below_limit(m, &promised);

    card_info(device, &free_bytes, &total_bytes);
    return enso_error_set(
        err, ENSO_NO_MEMORY,
        "no room for %s (%.1f MiB): %s has %.1f of its %.1f MiB free, and %.1f of the "
        "%.1f MiB of gpu_memory are left beside %.1f MiB kept for batches; serve fewer or smaller "
        "models there, or use another device",
        what, (double)size_bytes / MIB, device->name, (double)free_bytes / MIB,
        (double)total_bytes / MIB, (double)left / MIB, (double)m->limit_bytes / MIB,
        (double)promised / MIB);
}

/* What is missing of `bytes`, of which `promised` were promised, and have to be left free of
 * `kept`. */
static size_t missing_of(size_t free_bytes, size_t bytes, size_t kept, size_t promised)
{
    size_t others = bytes > promised ? kept - ENSO_MIN(promised, kept) : 0;
    size_t there = free_bytes - ENSO_MIN(free_bytes, others);

    return bytes > there ? bytes - there : 0;
}

/* Under the mutex. */
static size_t missing_below_limit(const struct enso__cuda_memory *m, size_t bytes, size_t promised)
{
    size_t given = all_bytes(m) - m->promised;

    return missing_of(m->limit_bytes - ENSO_MIN(m->limit_bytes, given), bytes, m->promised,
                      promised);
}

static size_t missing(struct enso_device *device, size_t bytes, size_t promised)
{
    struct enso__cuda_memory *m = device->memory;
    size_t free_bytes, total_bytes, below, on_card;

    card_info(device, &free_bytes, &total_bytes);
    pthread_mutex_lock(&m->mutex);
    below = missing_below_limit(m, bytes, promised);
    on_card = total_bytes != 0 ? missing_of(free_bytes, bytes, m->promised, promised) : 0;
    pthread_mutex_unlock(&m->mutex);
    return ENSO_MAX(below, on_card);
}

/* The pool counts what was freed as used until the stream, on which nothing else is, has come to
 * it. */
static void wait_for_frees(struct enso_device *device)
{
    struct enso__cuda_memory *m = device->memory;

    if (m->pool == NULL || !enso__cuda_enter_to_release(device))
        return;
    size_t call = enso__cuda_call_begin(device);
    (void)cudaStreamSynchronize(m->stream);
    enso__cuda_call_end(device, call);
}

/* True: there is, unless others come first. What the driver gives back for a recording is reckoned:
 * where it turns out to be nothing, no more of them have to go. */
static bool make_room(struct enso_device *device, size_t bytes, size_t promised)
{
    size_t n = missing(device, bytes, promised), before;

    if (n != 0) {
        wait_for_frees(device);
        n = missing(device, bytes, promised);
    }
    while (n != 0) {
        before = n;
        if (!enso__captures_give_way(device, n))
            return false;
        n = missing(device, bytes, promised);
        if (n >= before)
            return false;
    }
    return true;
}

static bool count(struct enso_device *device, size_t *counter, size_t bytes, size_t promised)
{
    struct enso__cuda_memory *m = device->memory;
    bool fits;

    pthread_mutex_lock(&m->mutex);
    fits = missing_below_limit(m, bytes, promised) == 0;
    if (fits) {
        *counter += bytes;
        m->promised -= promised;
    }
    pthread_mutex_unlock(&m->mutex);
    return fits;
}

static void discount(struct enso_device *device, size_t *counter, size_t bytes, size_t promised)
{
    struct enso__cuda_memory *m = device->memory;

    pthread_mutex_lock(&m->mutex);
    *counter -= bytes;
    m->promised += promised;
    pthread_mutex_unlock(&m->mutex);
}

bool enso__cuda_memory_reserve(struct enso_device *device, enum enso__cuda_memory_kind kind,
                               size_t bytes)
{
    struct enso__cuda_memory *m = device->memory;
    bool fits;

    /* the driver is asked where the limit leaves room alone: this may be once for each batch */
    pthread_mutex_lock(&m->mutex);
    fits = missing_below_limit(m, bytes, 0) == 0;
    pthread_mutex_unlock(&m->mutex);
    return fits && missing(device, bytes, 0) == 0 && count(device, &m->bytes[kind], bytes, 0);
}

void enso__cuda_memory_unreserve(struct enso_device *device, enum enso__cuda_memory_kind kind,
                                 size_t bytes)
{
    discount(device, &device->memory->bytes[kind], bytes, 0);
}

int enso__cuda_promise(struct enso_device *device, size_t size_bytes, const char *what,
                       struct enso_error *err)
{
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    do
        if (!make_room(device, size_bytes, 0))
            return no_room(device, size_bytes, what, err);
    while (!count(device, &device->memory->promised, size_bytes, 0));
    return ENSO_OK;
}

void enso__cuda_promise_end(struct enso_device *device, size_t size_bytes)
{
    discount(device, &device->memory->promised, size_bytes, 0);
}

static int ask_driver(struct enso__cuda_memory *m, size_t bytes, void **ret_memory)
{
    int code;

    if (m->pool == NULL)
        return cudaMalloc(ret_memory, bytes);
    code = cudaMallocFromPoolAsync(ret_memory, bytes, m->pool, m->stream);
    if (code != cudaSuccess)
        return code;
    /* Other streams may use it from here on: the stream holds nothing to wait for but this. */
    code = cudaStreamSynchronize(m->stream);
    if (code != cudaSuccess)
        (void)cudaFreeAsync(*ret_memory, m->stream); /* the first failure is told */
    return code;
}

/* A piece of so many bytes, `promised` of which were promised; more of it is filled in. */
static int piece_new(struct enso_device *device, const struct piece *wanted, const char *what,
                     struct piece **ret_piece, struct enso_error *err)
{
    struct enso__cuda_memory *m = device->memory;
    size_t bytes = wanted->bytes, *counter = &m->bytes[wanted->kind];
    void *memory = NULL;
    struct piece *piece;

    do
        if (!make_room(device, bytes, wanted->promised))
            return no_room(device, bytes, what, err);
    while (!count(device, counter, bytes, wanted->promised));
    piece = enso_alloc_zero(1, sizeof(*piece));
    if (piece == NULL) {
        discount(device, counter, bytes, wanted->promised);
        return enso_error_no_memory(err, "a note of device memory");
    }
    size_t call = enso__cuda_call_begin(device);
    int code = ask_driver(m, bytes, &memory);
    enso__cuda_call_end(device, call);
    if (code != cudaSuccess) {
        discount(device, counter, bytes, wanted->promised);
        enso_free(piece);
        if (code != cudaErrorMemoryAllocation)
            return enso__cuda_failed(device, code, what, err);
        (void)cudaGetLastError(); /* it is told here */
        return no_room(device, bytes, what, err);
    }
    *piece = *wanted;
    piece->start = memory;
    pthread_mutex_lock(&m->mutex);
    piece->next = m->pieces;
    m->pieces = piece;
    m->n_pieces++;
    pthread_mutex_unlock(&m->mutex);
    *ret_piece = piece;
    return ENSO_OK;
}

/* Under the mutex: out of the list. */
static void unlink_piece(struct enso__cuda_memory *m, struct piece **at)
{
    struct piece *piece = *at;

    *at = piece->next;
    m->n_pieces--;
    m->bytes[piece->kind] -= piece->bytes;
    m->promised += piece->promised;
}

/* A failure shows again at the next call that matters. A device that does not answer is asked
 * nothing: the process's end takes what it has. */
static void piece_free(struct enso_device *device, struct piece *piece)
{
    (void)enso__cuda_enter_to_release(device);
    if (!atomic_load(&device->hung)) {
        size_t call = enso__cuda_call_begin(device);

        if (device->memory->pool != NULL)
            (void)cudaFreeAsync(piece->start, device->memory->stream);
        else
            (void)cudaFree(piece->start);
        enso__cuda_call_end(device, call);
    }
    enso_free(piece);
}

/* ---- a program's chunks ---- */

static size_t room_in(const struct piece *chunk)
{
    return chunk->bytes - chunk->used;
}

/* What the program still needs, in chunks that are neither tiny nor so large that the last one
 * stands half empty. */
static size_t chunk_bytes(const struct loading *l, size_t bytes)
{
    size_t wanted = ENSO_MAX(ENSO_MIN(l->left_bytes, MOST_CHUNK_BYTES), LEAST_CHUNK_BYTES);

    return l->apart ? bytes : ENSO_MAX(wanted, bytes);
}

static void *carve_of(struct enso__cuda_memory *m, struct piece *chunk, size_t bytes)
{
    void *memory = chunk->start + chunk->used;

    chunk->used += bytes;
    pthread_mutex_lock(&m->mutex);
    chunk->n_carved++;
    pthread_mutex_unlock(&m->mutex);
    return memory;
}

static int carve(struct enso_device *device, size_t bytes, const char *what, void **ret_memory,
                 struct enso_error *err)
{
    struct loading *l = &loading;
    struct piece *chunk = l->chunk;
    int st = ENSO_OK;

    if (bytes > SIZE_MAX - ALIGNMENT)
        return no_room(device, bytes, what, err);
    bytes = (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (chunk == NULL || bytes > room_in(chunk)) {
        struct piece wanted = {
            .bytes = chunk_bytes(l, bytes), .kind = ENSO__CUDA_WEIGHTS, .owner = l};

        st = piece_new(device, &wanted, what, &chunk, NULL);
        wanted.bytes = bytes;
        if (st != ENSO_OK) /* what is left may do for this, if not for what comes after */
            st = piece_new(device, &wanted, what, &chunk, err);
    }
    if (st != ENSO_OK)
        return st;
    *ret_memory = carve_of(device->memory, chunk, bytes);
    l->left_bytes -= ENSO_MIN(bytes, l->left_bytes);
    if (l->chunk == NULL || room_in(chunk) > room_in(l->chunk))
        l->chunk = chunk; /* a chunk made for one large piece leaves the old one's room in use */
    return ENSO_OK;
}

int enso__cuda_program_begin(struct enso_device *device, size_t least_bytes, struct enso_error *err)
{
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    if (!make_room(device, least_bytes, 0))
        return no_room(device, least_bytes, "the model", err);
    loading = (struct loading){
        .device = device, .left_bytes = least_bytes, .apart = getenv("ENSO_ARENA_DEBUG") != NULL};
    return ENSO_OK;
}

void enso__cuda_program_end(struct enso_device *device)
{
    struct enso__cuda_memory *m = device->memory;
    struct piece *empty = NULL;

    pthread_mutex_lock(&m->mutex);
    for (struct piece **at = &m->pieces; *at != NULL;) {
        struct piece *piece = *at;

        if (piece->owner == &loading) {
            piece->owner = NULL;
            if (piece->n_carved == 0) {
                unlink_piece(m, at);
                piece->next = empty;
                empty = piece;
                continue;
            }
        }
        at = &piece->next;
    }
    pthread_mutex_unlock(&m->mutex);
    loading = (struct loading){0};
    if (empty != NULL) /* of a model that was refused, maybe large */
        enso__cuda_watch_trim(device->watch);
    while (empty != NULL) {
        struct piece *next = empty->next;

        piece_free(device, empty);
        empty = next;
    }
}

/* ---- what everybody calls ---- */

static int alloc(struct enso_device *device, enum enso__cuda_memory_kind kind, size_t size_bytes,
                 size_t promised, const char *what, void **ret_memory, struct enso_error *err)
{
    struct piece wanted = {.promised = promised, .kind = kind}, *piece = NULL;
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    size_bytes = ENSO_MAX(size_bytes, (size_t)1);
    if (loading.device == device && kind != ENSO__CUDA_LANES && promised == 0)
        return carve(device, size_bytes, what, ret_memory, err);
    wanted.bytes = size_bytes;
    st = piece_new(device, &wanted, what, &piece, err);
    if (st == ENSO_OK)
        *ret_memory = piece->start;
    return st;
}

int enso__cuda_memory_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                            void **ret_memory, struct enso_error *err)
{
    return alloc(device, ENSO__CUDA_ARENAS, size_bytes, 0, what, ret_memory, err);
}

int enso__cuda_promised_alloc(struct enso_device *device, size_t size_bytes, size_t promised_bytes,
                              const char *what, void **ret_memory, struct enso_error *err)
{
    return alloc(device, ENSO__CUDA_ARENAS, size_bytes, promised_bytes, what, ret_memory, err);
}

int enso__cuda_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                     void **ret_memory, struct enso_error *err)
{
    return alloc(device, ENSO__CUDA_WEIGHTS, size_bytes, 0, what, ret_memory, err);
}

int enso__cuda_alloc_for_lane(struct enso_device *device, size_t size_bytes, void **ret_memory,
                              struct enso_error *err)
{
    return alloc(device, ENSO__CUDA_LANES, size_bytes, 0, "a lane of the GPU", ret_memory, err);
}

int enso__cuda_staging_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                             void **ret_memory, struct enso_error *err)
{
    void *memory = NULL;
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    size_t call = enso__cuda_call_begin(device);
    int code = cudaHostAlloc(&memory, ENSO_MAX(size_bytes, (size_t)1), cudaHostAllocDefault);
    enso__cuda_call_end(device, call);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return enso_error_set(err, ENSO_NO_MEMORY,
                              "%s needs %.1f MiB of pinned memory of the machine, which it does "
                              "not have; raise the limit of locked memory, or serve less at once",
                              what, (double)size_bytes / MIB);
    }
    if (code != cudaSuccess)
        return enso__cuda_failed(device, code, what, err);
    *ret_memory = memory;
    return ENSO_OK;
}

void enso__cuda_staging_free(struct enso_device *device, void *memory)
{
    if (memory == NULL || atomic_load(&device->hung)) /* it would wait */
        return;
    (void)enso__cuda_enter_to_release(device);
    size_t call = enso__cuda_call_begin(device);
    (void)cudaFreeHost(memory);
    enso__cuda_call_end(device, call);
}

void enso__cuda_free(struct enso_device *device, void *memory)
{
    struct enso__cuda_memory *m = device->memory;
    const char *address = memory;
    struct piece *gone = NULL;
    bool program_gone;

    if (memory == NULL)
        return;
    pthread_mutex_lock(&m->mutex);
    for (struct piece **at = &m->pieces; *at != NULL; at = &(*at)->next) {
        struct piece *piece = *at;

        if (address < piece->start || address >= piece->start + piece->bytes)
            continue;
        if (piece->n_carved != 0)
            piece->n_carved--;
        if (piece->n_carved == 0 && piece->owner == NULL) {
            gone = piece;
            unlink_piece(m, at);
        }
        break;
    }
    program_gone = gone != NULL && gone->used != 0;
    pthread_mutex_unlock(&m->mutex);
    if (gone != NULL)
        piece_free(device, gone);
    if (program_gone)
        enso__cuda_watch_trim(device->watch);
}

void enso__cuda_memory_trim(struct enso_device *device)
{
    if (device->memory->pool == NULL || enso__cuda_enter(device, NULL) != ENSO_OK)
        return;
    /* What was freed is free when its stream has come to it; what stays is ours for later. */
    if (cudaStreamSynchronize(device->memory->stream) == cudaSuccess)
        (void)cudaMemPoolTrimTo(device->memory->pool, 0);
}

int enso__cuda_upload(struct enso_device *device, void *dst, const void *src, size_t size_bytes,
                      struct enso_error *err)
{
    pthread_mutex_lock(&device->load_mutex);
    int st = enso__cuda_lane_upload(device->loader, dst, src, size_bytes, err);

    if (st == ENSO_OK)
        st = enso__cuda_lane_wait(device->loader, err);
    pthread_mutex_unlock(&device->load_mutex);
    return st;
}

/* ---- life ---- */

/* A pool that keeps what it has until it is trimmed; none where the card or the driver cannot. */
static int pool_open(struct enso_device *device, struct enso_error *err)
{
    const struct cudaMemPoolProps properties = {
        .allocType = cudaMemAllocationTypePinned,
        .location = {.type = cudaMemLocationTypeDevice, .id = device->ordinal}};
    struct enso__cuda_memory *m = device->memory;
    unsigned long long keep = ~0ull;
    int supported = 0;
    int code = cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device->ordinal);

    if (code == cudaSuccess && supported != 0) {
        code = cudaStreamCreateWithFlags(&m->stream, cudaStreamNonBlocking);
        if (code == cudaSuccess)
            code = cudaMemPoolCreate(&m->pool, &properties);
        if (code == cudaSuccess)
            code = cudaMemPoolSetAttribute(m->pool, cudaMemPoolAttrReleaseThreshold, &keep);
    }
    return code == cudaSuccess ? ENSO_OK : enso__cuda_failed(device, code, "its memory pool", err);
}

int enso__cuda_memory_open(struct enso_device *device, const struct enso_device_options *options,
                           struct enso_error *err)
{
    unsigned percent = options->memory_percent != 0 ? options->memory_percent : 100;
    size_t free_bytes, total_bytes;
    int st;

    device->memory = enso_alloc_zero(1, sizeof(*device->memory));
    if (device->memory == NULL)
        return enso_error_no_memory(err, "the GPU's memory");
    pthread_mutex_init(&device->memory->mutex, NULL);
    st = pool_open(device, err);
    if (st != ENSO_OK)
        return st;
    card_info(device, &free_bytes, &total_bytes);
    if (total_bytes == 0)
        free_bytes = device->memory_bytes;
    device->memory->limit_bytes = options->memory_bytes != 0
                                      ? (size_t)options->memory_bytes
                                      : free_bytes / 100 * ENSO_MIN(percent, 100u);
    return ENSO_OK;
}

void enso__cuda_memory_close(struct enso_device *device)
{
    struct enso__cuda_memory *m = device->memory;

    if (m == NULL)
        return;
    /* Of a device that is down nothing is asked for: the process's end takes it. */
    if (enso__cuda_enter_to_release(device)) {
        if (m->stream != NULL)
            (void)cudaStreamSynchronize(m->stream); /* it frees, no more */
        if (m->pool != NULL)
            (void)cudaMemPoolDestroy(m->pool);
        if (m->stream != NULL)
            (void)cudaStreamDestroy(m->stream);
    }
    while (m->pieces != NULL) { /* the owner never gave it back */
        struct piece *next = m->pieces->next;

        enso_free(m->pieces);
        m->pieces = next;
    }
    pthread_mutex_destroy(&m->mutex);
    enso_free(m);
    device->memory = NULL;
}
