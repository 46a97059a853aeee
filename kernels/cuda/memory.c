/* SPDX-License-Identifier: Apache-2.0
 *
 * Device memory. All of it comes from here: weights at bind, arenas when a larger batch comes for
 * the first time; a batch whose plan exists allocates nothing. So plain cudaMalloc is enough, and
 * its failure is checked against what the card has beforehand: a driver that is short of memory may
 * start to evict or fail elsewhere.
 */
#include "ensod_build.h"

#include "kernels/cuda/module.h"

#define MIB ((double)(1 << 20))

void enso__cuda_memory_info(struct enso_device *device, size_t *ret_free, size_t *ret_total)
{
    *ret_free = 0;
    *ret_total = device->memory_bytes;
    if (enso__cuda_enter(device, NULL) != ENSO_OK)
        return;
    if (cudaMemGetInfo(ret_free, ret_total) != cudaSuccess) {
        (void)cudaGetLastError(); /* only a message would have been better */
        *ret_free = 0;
        *ret_total = device->memory_bytes;
    }
}

static int no_room(struct enso_device *device, size_t size_bytes, const char *what,
                   struct enso_error *err)
{
    size_t free_bytes, total_bytes;

    enso__cuda_memory_info(device, &free_bytes, &total_bytes);
    return enso_error_set(err, ENSO_NO_MEMORY,
                          "%s needs %.1f MiB, but %s has %.1f of its %.1f MiB free; serve fewer or "
                          "smaller models there, or use another device",
                          what, (double)size_bytes / MIB, device->name, (double)free_bytes / MIB,
                          (double)total_bytes / MIB);
}

int enso__cuda_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                     void **ret_memory, struct enso_error *err)
{
    size_t free_bytes, total_bytes;
    void *memory = NULL;
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    size_bytes = ENSO_MAX(size_bytes, (size_t)1);
    enso__cuda_memory_info(device, &free_bytes, &total_bytes);
    if (size_bytes > total_bytes || (free_bytes != 0 && size_bytes > free_bytes))
        return no_room(device, size_bytes, what, err);
    int code = cudaMalloc(&memory, size_bytes);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* it is told here */
        return no_room(device, size_bytes, what, err);
    }
    if (code != cudaSuccess)
        return enso__cuda_failed(device, code, what, err);
    *ret_memory = memory;
    return ENSO_OK;
}

int enso__cuda_staging_alloc(struct enso_device *device, size_t size_bytes, const char *what,
                             void **ret_memory, struct enso_error *err)
{
    void *memory = NULL;
    int st = enso__cuda_enter(device, err);

    if (st != ENSO_OK)
        return st;
    int code = cudaHostAlloc(&memory, ENSO_MAX(size_bytes, (size_t)1), cudaHostAllocDefault);
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
    (void)cudaFreeHost(memory);
}

void enso__cuda_free(struct enso_device *device, void *memory)
{
    if (memory == NULL || atomic_load(&device->hung)) /* it would wait */
        return;
    (void)enso__cuda_enter_to_release(device);
    (void)cudaFree(memory); /* a failure shows again at the next call that matters */
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
