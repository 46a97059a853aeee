/* SPDX-License-Identifier: Apache-2.0
 *
 * What the runtime says of versions and devices, and which one a thread has chosen.
 *
 * ENSO_CUDA_EMULATED_DEVICES is how many there are, of one kind or of those that a list names
 * (ENSO_CUDA_EMULATED=H100,T4). ENSO_CUDA_EMULATED=none, no-driver or old-driver stand for a
 * machine without a card, without a driver, and with a driver older than the runtime.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>

using namespace enso_emulated;

namespace
{
bool machine_is(const char *kind)
{
    const char *name = getenv("ENSO_CUDA_EMULATED");

    return name != nullptr && strcmp(name, kind) == 0;
}

thread_local int current;

/* The device can be asked about; does not choose it. */
cudaError_t check_device(int device)
{
    if (device_missing() != cudaSuccess)
        return device_missing();
    return device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice;
}

} // namespace

int enso_emulated::device_count(void)
{
    static const char *const text = getenv("ENSO_CUDA_EMULATED_DEVICES");
    static const int wanted = text != nullptr ? atoi(text) : 1;

    return wanted < 1 ? 1 : wanted > MAX_DEVICES ? MAX_DEVICES : wanted;
}

int enso_emulated::device_current(void)
{
    return current;
}

void enso_emulated::device_choose(int device)
{
    current = device;
}

cudaError_t enso_emulated::device_missing(void)
{
    if (machine_is("no-driver") || machine_is("old-driver"))
        return cudaErrorInsufficientDriver;
    return machine_is("none") ? cudaErrorNoDevice : cudaSuccess;
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
    *count = device_missing() == cudaSuccess ? device_count() : 0;
    return answer(device_missing());
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current;
    return answer(device_missing());
}

cudaError_t cudaSetDevice(int device)
{
    runtime_hold hold(runtime_lock);
    cudaError_t error = check_device(device);

    if (error == cudaSuccess) {
        current = device;
        error = device_state();
    }
    return answer(error);
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned)
{
    return answer(check_device(device));
}

cudaError_t cudaSetDeviceFlags(unsigned)
{
    return answer(device_missing());
}

/* ENSO_CUDA_EMULATED_POOLS=0: as under some hypervisors. */
static bool has_pools(void)
{
    const char *text = getenv("ENSO_CUDA_EMULATED_POOLS");

    return text == nullptr || strcmp(text, "0") != 0;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    if (check_device(device) != cudaSuccess)
        return answer(check_device(device));
    const profile &card = device_profile_of(device);

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
    properties->memoryPoolsSupported = has_pools();
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
        *value = p.memoryPoolsSupported;
        break;
    default:
        return answer(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device)
{
    cudaError_t error = check_device(device);

    if (error == cudaSuccess)
        error = device_error(device);
    if (error == cudaSuccess)
        snprintf(id, (size_t)size, "0000:%02x:00.0", (unsigned)device);
    return answer(error);
}
