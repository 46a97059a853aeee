/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory pools, in stream order: an allocation may be used in its stream from the call on, in other
 * streams once its turn has come (a touch before that is reported), and is gone when the turn of
 * cudaFreeAsync comes.
 *
 * A pool takes memory of the device in pieces of 2 MiB and keeps what is freed: at least until
 * somebody waits for a stream or an event, and then as much as its threshold says (0 by default)
 * or until it is trimmed. What waits to be freed in a stream can be had again at once in that
 * stream. Memory that a pool keeps is not there for cudaMalloc or other pools. Unlike a card's, a
 * pool here has no fragments: it can always give back what is not in use.
 */
#include "tests/cuda_emulation/emulator.h"

#include <algorithm>
#include <map>

using namespace enso_emulated;

struct CUmemPoolHandle_st {
    int device;
    uint64_t threshold, used, used_high, reserved, reserved_high, max_bytes;
    bool destroyed;
    std::map<cudaStream_t, uint64_t> freeing; /* bytes of it, in use yet, that the stream frees */
};

namespace
{
constexpr uint64_t PIECE = (uint64_t)2 << 20, ALIGNMENT = 512;

struct block {
    CUmemPoolHandle_st *pool;
    uint64_t bytes;
};

std::map<const void *, block> blocks;
CUmemPoolHandle_st default_pools[MAX_DEVICES];

std::vector<CUmemPoolHandle_st *> *list_default_pools(void)
{
    auto *list = new std::vector<CUmemPoolHandle_st *>;

    for (int i = 0; i < MAX_DEVICES; i++) {
        default_pools[i].device = i;
        list->push_back(&default_pools[i]);
    }
    return list;
}

/* Never taken down, as the handles (stream.cpp). */
std::vector<CUmemPoolHandle_st *> &pools = *list_default_pools();

uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

bool is_default(const CUmemPoolHandle_st *pool)
{
    return pool >= default_pools && pool < default_pools + MAX_DEVICES;
}

bool is_pool(cudaMemPool_t pool)
{
    return is_default(pool) || (pool != nullptr && handle_lives(pool));
}

void shrink(CUmemPoolHandle_st *pool, uint64_t keep)
{
    /* thresholds are as high as UINT64_MAX */
    const uint64_t wanted = round_up(std::max(pool->used, std::min(keep, pool->reserved)), PIECE);

    if (wanted >= pool->reserved)
        return;
    memory_uncharge(pool->device, pool->reserved - wanted);
    pool->reserved = wanted;
}

void forget_if_done(CUmemPoolHandle_st *pool)
{
    if (!pool->destroyed || pool->used != 0)
        return;
    shrink(pool, 0);
    pools.erase(std::find(pools.begin(), pools.end(), pool));
    delete pool;
}

/* Room for `bytes` more in the stream; false: neither pool nor device has it. */
bool make_room(CUmemPoolHandle_st *pool, uint64_t bytes, cudaStream_t stream)
{
    uint64_t &freeing = pool->freeing[stream];
    const uint64_t missing =
        bytes > pool->reserved - pool->used ? bytes - (pool->reserved - pool->used) : 0;
    const uint64_t again = std::min(missing, freeing);
    const uint64_t wanted = round_up(pool->used - again + bytes, PIECE);

    if (wanted > pool->reserved) {
        if ((pool->max_bytes != 0 && wanted > pool->max_bytes) ||
            !memory_charge(pool->device, wanted - pool->reserved))
            return false;
        pool->reserved = wanted;
        pool->reserved_high = std::max(pool->reserved_high, wanted);
    }
    freeing -= again;
    pool->used += bytes - again;
    pool->used_high = std::max(pool->used_high, pool->used);
    return true;
}

cudaError_t check_stream(cudaStream_t stream)
{
    cudaError_t state = device_state();

    if (state == cudaSuccess && !stream_is_good(stream))
        state = cudaErrorInvalidResourceHandle;
    /* a graph may have memory nodes on a card; here it has none */
    return state != cudaSuccess ? state : capture_refuses(stream);
}

} // namespace

void enso_emulated::pool_settle(void)
{
    for (CUmemPoolHandle_st *pool : pools)
        shrink(pool, pool->threshold);
}

void enso_emulated::pool_release(operation *op)
{
    auto it = blocks.find(op->to);
    CUmemPoolHandle_st *pool = op->pool;

    if (it == blocks.end())
        report_launch("memory of a pool is freed twice");
    const uint64_t bytes = it->second.bytes;
    blocks.erase(it);
    memory_delete(memory_kind::pool, op->to);
    uint64_t &freeing = pool->freeing[op->at->stream];
    const uint64_t left = std::min(bytes, freeing);
    freeing -= left;
    pool->used -= left;
    forget_if_done(pool);
}

cudaError_t cudaMallocFromPoolAsync(void **memory, size_t size, cudaMemPool_t pool,
                                    cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);
    operation op;

    if (error == cudaSuccess && (memory == nullptr || !is_pool(pool)))
        error = cudaErrorInvalidValue;
    if (error != cudaSuccess)
        return answer(error);
    if (pool->device != stream->device)
        report_launch("memory of a pool of device %d is given out in a stream of device %d",
                      pool->device, stream->device);
    *memory = nullptr;
    if (size == 0)
        return cudaSuccess;
    const uint64_t bytes = round_up(size, ALIGNMENT);
    if (bytes < size || bytes > device_profile().memory_bytes || !make_room(pool, bytes, stream))
        return answer(cudaErrorMemoryAllocation);
    op.to = static_cast<char *>(memory_new(memory_kind::pool, size));
    if (op.to == nullptr) {
        pool->used -= bytes;
        return answer(cudaErrorMemoryAllocation);
    }
    blocks[op.to] = {pool, bytes};
    *memory = op.to;
    op.what = action::commit;
    return answer(stream_put(stream, std::move(op)));
}

cudaError_t cudaMallocAsync(void **memory, size_t size, cudaStream_t stream)
{
    return cudaMallocFromPoolAsync(memory, size, &default_pools[device_current()], stream);
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_stream(stream);
    operation op;

    if (memory == nullptr)
        return answer(error);
    auto it = blocks.find(memory);
    if (it == blocks.end() && error == cudaSuccess)
        error = cudaErrorInvalidValue;
    if (it == blocks.end() || error == cudaErrorInvalidResourceHandle)
        return answer(error);
    if (it->second.pool->device != stream->device)
        report_launch("memory of a pool of device %d is freed in a stream of device %d",
                      it->second.pool->device, stream->device);
    op.what = action::release;
    op.to = static_cast<char *>(memory);
    op.pool = it->second.pool;
    op.at = std::make_shared<point>();
    op.at->stream = stream;
    op.pool->freeing[stream] += it->second.bytes;
    if (error != cudaSuccess) { /* the device is lost: released all the same, for sweeps */
        pool_release(&op);
        return answer(error);
    }
    return answer(stream_put(stream, std::move(op)));
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device)
{
    if (device < 0 || device >= device_count())
        return answer(cudaErrorInvalidDevice);
    *pool = &default_pools[device];
    return answer(device_missing());
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const struct cudaMemPoolProps *properties)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state != cudaSuccess)
        return answer(state);
    if (pool == nullptr || properties == nullptr ||
        properties->allocType != cudaMemAllocationTypePinned ||
        properties->location.type != cudaMemLocationTypeDevice || properties->location.id < 0 ||
        properties->location.id >= device_count())
        return answer(cudaErrorInvalidValue);
    *pool = new CUmemPoolHandle_st();
    (*pool)->device = properties->location.id;
    (*pool)->max_bytes = properties->maxSize;
    handle_add(*pool);
    pools.push_back(*pool);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (is_default(pool) || !handle_remove(pool))
        return answer(cudaErrorInvalidValue);
    pool->destroyed = true; /* it lives until its last allocation is freed */
    pool->threshold = 0;
    forget_if_done(pool);
    return answer(state);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    runtime_hold hold(runtime_lock);
    uint64_t n = 0;

    if (!is_pool(pool) || value == nullptr)
        return answer(cudaErrorInvalidValue);
    switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold:
        memcpy(&pool->threshold, value, sizeof(pool->threshold));
        return answer(device_state());
    case cudaMemPoolAttrReservedMemHigh:
    case cudaMemPoolAttrUsedMemHigh:
        memcpy(&n, value, sizeof(n));
        if (n != 0) /* a high mark can only be reset */
            return answer(cudaErrorInvalidValue);
        (attribute == cudaMemPoolAttrUsedMemHigh ? pool->used_high : pool->reserved_high) =
            attribute == cudaMemPoolAttrUsedMemHigh ? pool->used : pool->reserved;
        return answer(device_state());
    case cudaMemPoolReuseFollowEventDependencies:
    case cudaMemPoolReuseAllowOpportunistic:
    case cudaMemPoolReuseAllowInternalDependencies:
        return answer(device_state()); /* memory is never had again across streams here */
    default:
        return answer(cudaErrorInvalidValue);
    }
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    runtime_hold hold(runtime_lock);
    const int reuse = 1;
    uint64_t n = 0;

    if (!is_pool(pool) || value == nullptr)
        return answer(cudaErrorInvalidValue);
    switch (attribute) {
    case cudaMemPoolReuseFollowEventDependencies:
    case cudaMemPoolReuseAllowOpportunistic:
    case cudaMemPoolReuseAllowInternalDependencies:
        memcpy(value, &reuse, sizeof(reuse));
        return answer(device_state());
    case cudaMemPoolAttrReleaseThreshold:
        n = pool->threshold;
        break;
    case cudaMemPoolAttrReservedMemCurrent:
        n = pool->reserved;
        break;
    case cudaMemPoolAttrReservedMemHigh:
        n = pool->reserved_high;
        break;
    case cudaMemPoolAttrUsedMemCurrent:
        n = pool->used;
        break;
    case cudaMemPoolAttrUsedMemHigh:
        n = pool->used_high;
        break;
    default:
        return answer(cudaErrorInvalidValue);
    }
    memcpy(value, &n, sizeof(n));
    return answer(device_state());
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep_bytes)
{
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (!is_pool(pool))
        return answer(cudaErrorInvalidValue);
    shrink(pool, keep_bytes);
    return answer(state);
}
