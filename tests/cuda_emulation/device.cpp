/* SPDX-License-Identifier: Apache-2.0
 *
 * What the runtime says of versions and the device.
 *
 * ENSO_CUDA_EMULATED=none, no-driver or old-driver stand for a machine without a card, without a
 * driver, and with a driver older than the runtime.
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

} // namespace

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
    runtime_hold hold(runtime_lock);
    cudaError_t state = device_state();

    if (state != cudaSuccess)
        return answer(state);
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

/* ENSO_CUDA_EMULATED_POOLS=0: as under some hypervisors. */
static bool has_pools(void)
{
    const char *text = getenv("ENSO_CUDA_EMULATED_POOLS");

    return text == nullptr || strcmp(text, "0") != 0;
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
    cudaError_t error = cudaSetDevice(device);

    if (error == cudaSuccess)
        snprintf(id, (size_t)size, "0000:00:00.0");
    return error;
}
