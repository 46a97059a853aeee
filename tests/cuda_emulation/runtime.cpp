/* SPDX-License-Identifier: Apache-2.0
 *
 * The runtime's C interface, at once and in order: a copy or a launch is over when its call
 * returns, whatever the stream. Handles, sizes and directions are checked as CUDA checks them;
 * device addresses must be device memory.
 *
 * ENSO_CUDA_EMULATED=none, no-driver or old-driver stand for a machine without a card, without a
 * driver, and with a driver older than the runtime.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>
#include <time.h>

#include <mutex>
#include <set>

using namespace enso_emulated;

struct CUstream_st {
    unsigned flags;
};

struct CUevent_st {
    unsigned flags;
    bool recorded;
    double ms;
};

struct CUmemPoolHandle_st {
    uint64_t release_threshold;
};

namespace
{
std::mutex lock;
std::set<const void *> handles; /* streams, events and pools that live */
CUmemPoolHandle_st default_pool;
thread_local cudaError_t last_error;

struct error_text {
    cudaError_t error;
    const char *name, *text;
};

const error_text errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidSymbol, "cudaErrorInvalidSymbol", "invalid device symbol"},
    {cudaErrorInvalidDevicePointer, "cudaErrorInvalidDevicePointer", "invalid device pointer"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection",
     "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable",
     "CUDA-capable device(s) is/are busy or unavailable"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorDeviceUninitialized, "cudaErrorDeviceUninitialized", "invalid device context"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidKernelImage, "cudaErrorInvalidKernelImage", "device kernel image is invalid"},
    {cudaErrorInvalidPtx, "cudaErrorInvalidPtx", "a PTX JIT compilation failed"},
    {cudaErrorJitCompilerNotFound, "cudaErrorJitCompilerNotFound",
     "PTX JIT compiler library not found"},
    {cudaErrorUnsupportedPtxVersion, "cudaErrorUnsupportedPtxVersion",
     "the provided PTX was compiled with an unsupported toolchain."},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorAssert, "cudaErrorAssert", "device-side assert triggered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorSystemDriverMismatch, "cudaErrorSystemDriverMismatch",
     "system has unsupported display driver / cuda driver combination"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

bool machine_is(const char *kind)
{
    const char *name = getenv("ENSO_CUDA_EMULATED");

    return name != nullptr && strcmp(name, kind) == 0;
}

/* What every call that needs a device says on a machine without one. */
cudaError_t device_missing(void)
{
    if (machine_is("no-driver") || machine_is("old-driver"))
        return cudaErrorInsufficientDriver;
    return machine_is("none") ? cudaErrorNoDevice : cudaSuccess;
}

bool lives(const void *handle)
{
    std::lock_guard<std::mutex> hold(lock);

    return handles.count(handle) != 0;
}

template <class T> T *handle_new(void)
{
    std::lock_guard<std::mutex> hold(lock);
    T *handle = static_cast<T *>(calloc(1, sizeof(T)));

    if (handle != nullptr)
        handles.insert(handle);
    return handle;
}

bool handle_delete(void *handle)
{
    std::lock_guard<std::mutex> hold(lock);

    if (handles.erase(handle) == 0)
        return false;
    free(handle);
    return true;
}

bool stream_is_good(cudaStream_t stream)
{
    return stream == nullptr || lives(stream);
}

double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Results that come from shared or device memory which nobody wrote. */
void check_downloaded(const void *host, size_t size)
{
    const char *at = static_cast<const char *>(host);

    for (size_t i = 0; i + sizeof(uint32_t) <= size; i += sizeof(uint32_t)) {
        uint32_t v;

        memcpy(&v, at + i, sizeof(v));
        if (v == SHARED_POISON || v == DEVICE_POISON)
            report_launch("a result came from %s memory that nobody wrote: byte %zu of %zu "
                          "copied to the host",
                          v == SHARED_POISON ? "shared" : "device", i, size);
    }
}

cudaError_t copy(void *dst, const void *src, size_t size, enum cudaMemcpyKind kind)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;

    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
        return cudaErrorInvalidMemcpyDirection;
    if (size == 0)
        return cudaSuccess;
    if (kind == cudaMemcpyDefault) {
        to_device = memory_is_device(dst);
        from_device = memory_is_device(src);
    }
    if (dst == nullptr || src == nullptr || (to_device && !memory_on_device(dst, size)) ||
        (from_device && !memory_on_device(src, size)) || (!to_device && memory_is_device(dst)) ||
        (!from_device && memory_is_device(src)))
        return cudaErrorInvalidValue;
    memmove(dst, src, size);
    if (from_device && !to_device)
        check_downloaded(dst, size);
    return cudaSuccess;
}

} // namespace

cudaError_t enso_emulated::answer(cudaError_t error)
{
    if (error != cudaSuccess && error != cudaErrorNotReady)
        last_error = error;
    return error;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    if (version == nullptr)
        return answer(cudaErrorInvalidValue);
    *version = machine_is("no-driver") ? 0 : machine_is("old-driver") ? 11040 : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    if (version == nullptr)
        return answer(cudaErrorInvalidValue);
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    if (count == nullptr)
        return answer(cudaErrorInvalidValue);
    *count = device_missing() == cudaSuccess ? 1 : 0;
    return answer(device_missing());
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return answer(device_missing());
}

cudaError_t cudaSetDevice(int device)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    return answer(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned)
{
    return cudaSetDevice(device);
}

cudaError_t cudaSetDeviceFlags(unsigned)
{
    return answer(device_missing());
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    const profile &card = device_profile();

    if (device_missing() != cudaSuccess || device != 0)
        return cudaSetDevice(device);
    memset(properties, 0, sizeof(*properties));
    snprintf(properties->name, sizeof(properties->name), "%s", card.description);
    properties->totalGlobalMem = card.memory_bytes;
    properties->sharedMemPerBlock = card.shared_per_block;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
    properties->maxThreadsDim[2] = 64;
    properties->maxGridSize[0] = 2147483647;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    properties->major = card.major;
    properties->minor = card.minor;
    properties->multiProcessorCount = card.multiprocessors;
    properties->asyncEngineCount = 2;
    properties->l2CacheSize = (int)card.l2_bytes;
    properties->maxThreadsPerMultiProcessor = card.threads_per_multiprocessor;
    properties->sharedMemPerMultiprocessor = card.shared_per_multiprocessor;
    properties->sharedMemPerBlockOptin = card.shared_optin;
    properties->memoryPoolsSupported = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    struct cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, device);

    if (error != cudaSuccess)
        return error;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
    case cudaDevAttrMaxBlockDimZ:
        *value = p.maxThreadsDim[attribute - cudaDevAttrMaxBlockDimX];
        break;
    case cudaDevAttrMaxGridDimX:
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
        *value = p.maxGridSize[attribute - cudaDevAttrMaxGridDimX];
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrIntegrated:
    case cudaDevAttrComputeMode:
        *value = 0;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        break;
    case cudaDevAttrMemoryPoolsSupported:
        *value = 1;
        break;
    default:
        return answer(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device)
{
    cudaError_t error = cudaSetDevice(device);

    if (error == cudaSuccess)
        snprintf(id, (size_t)size, "0000:00:00.0");
    return error;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;

    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    for (const error_text &e : errors)
        if (e.error == error)
            return e.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    for (const error_text &e : errors)
        if (e.error == error)
            return e.text;
    return "unrecognized error code";
}

cudaError_t cudaMalloc(void **memory, size_t size)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    if (memory == nullptr)
        return answer(cudaErrorInvalidValue);
    *memory = nullptr;
    if (size == 0)
        return cudaSuccess;
    *memory = memory_new(memory_kind::device, size);
    return answer(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *memory)
{
    if (memory == nullptr)
        return cudaSuccess;
    return answer(memory_delete(memory_kind::device, memory) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocAsync(void **memory, size_t size, cudaStream_t stream)
{
    return stream_is_good(stream) ? cudaMalloc(memory, size)
                                  : answer(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMallocFromPoolAsync(void **memory, size_t size, cudaMemPool_t pool,
                                    cudaStream_t stream)
{
    if (pool != &default_pool && !lives(pool))
        return answer(cudaErrorInvalidValue);
    return cudaMallocAsync(memory, size, stream);
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream)
{
    return stream_is_good(stream) ? cudaFree(memory) : answer(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    *total_bytes = device_profile().memory_bytes;
    *free_bytes = *total_bytes - memory_used();
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t size, unsigned)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    if (memory == nullptr)
        return answer(cudaErrorInvalidValue);
    *memory = nullptr;
    if (size == 0)
        return cudaSuccess;
    *memory = memory_new(memory_kind::host, size);
    return answer(*memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaMallocHost(void **memory, size_t size)
{
    return cudaHostAlloc(memory, size, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *memory)
{
    if (memory == nullptr)
        return cudaSuccess;
    return answer(memory_delete(memory_kind::host, memory) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device)
{
    *pool = &default_pool;
    return cudaSetDevice(device);
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const struct cudaMemPoolProps *properties)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    if (pool == nullptr || properties == nullptr ||
        properties->allocType != cudaMemAllocationTypePinned ||
        properties->location.type != cudaMemLocationTypeDevice || properties->location.id != 0)
        return answer(cudaErrorInvalidValue);
    *pool = handle_new<CUmemPoolHandle_st>();
    return answer(*pool != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    return answer(handle_delete(pool) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    if ((pool != &default_pool && !lives(pool)) || value == nullptr)
        return answer(cudaErrorInvalidValue);
    if (attribute == cudaMemPoolAttrReleaseThreshold)
        memcpy(&pool->release_threshold, value, sizeof(pool->release_threshold));
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    uint64_t n = memory_used();

    if ((pool != &default_pool && !lives(pool)) || value == nullptr)
        return answer(cudaErrorInvalidValue);
    if (attribute == cudaMemPoolAttrReleaseThreshold)
        n = pool->release_threshold;
    memcpy(value, &n, sizeof(n));
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t)
{
    return answer(pool == &default_pool || lives(pool) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return answer(stream_is_good(stream) ? copy(dst, src, size, kind)
                                         : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    if (!stream_is_good(stream))
        return answer(cudaErrorInvalidResourceHandle);
    if (width > dst_pitch || width > src_pitch)
        return answer(cudaErrorInvalidValue);
    for (size_t y = 0; y < height; y++) {
        cudaError_t error = copy(static_cast<char *>(dst) + y * dst_pitch,
                                 static_cast<const char *>(src) + y * src_pitch, width, kind);

        if (error != cudaSuccess)
            return answer(error);
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t size, cudaStream_t stream)
{
    if (!stream_is_good(stream))
        return answer(cudaErrorInvalidResourceHandle);
    if (size == 0)
        return cudaSuccess;
    if (!memory_on_device(memory, size))
        return answer(cudaErrorInvalidValue);
    memset(memory, value, size);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    if (stream == nullptr || flags > cudaStreamNonBlocking)
        return answer(cudaErrorInvalidValue);
    *stream = handle_new<CUstream_st>();
    if (*stream == nullptr)
        return answer(cudaErrorMemoryAllocation);
    (*stream)->flags = flags;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    return answer(handle_delete(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return answer(stream_is_good(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    return answer(stream_is_good(stream) && lives(event) ? cudaSuccess
                                                         : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    if (device_missing() != cudaSuccess)
        return answer(device_missing());
    if (event == nullptr || flags > (cudaEventBlockingSync | cudaEventDisableTiming))
        return answer(cudaErrorInvalidValue);
    *event = handle_new<CUevent_st>();
    if (*event == nullptr)
        return answer(cudaErrorMemoryAllocation);
    (*event)->flags = flags;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    return answer(handle_delete(event) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    if (!stream_is_good(stream) || !lives(event))
        return answer(cudaErrorInvalidResourceHandle);
    event->recorded = true;
    event->ms = now_ms();
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return answer(lives(event) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return cudaEventSynchronize(event);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    if (!lives(start) || !lives(end) || !start->recorded || !end->recorded ||
        ((start->flags | end->flags) & cudaEventDisableTiming) != 0)
        return answer(cudaErrorInvalidResourceHandle);
    *ms = (float)(end->ms - start->ms);
    return cudaSuccess;
}
