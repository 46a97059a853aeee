/* SPDX-License-Identifier: Apache-2.0
 *
 * Failures on demand: ENSO_CUDA_EMULATED_FAIL=N or N:CODE lets the N-th call of the runtime from
 * now on (1 = the first after the variable changed) fail with that cudaError_t, 2 (out of memory)
 * by default; launch:CODE the next launch, of whatever device, launch:stuck lets that take
 * ENSO_CUDA_EMULATED_HANG_MS. ENSO_CUDA_EMULATED_FAILED=1 appears in the environment when it has
 * happened. With @PATH the wish is what stands in that file, which may appear while the daemon
 * runs. A code that is sticky on a card, such as 700 (illegal address), stays: every later call to
 * its device fails with it. Calls are caught by the linker's --wrap (local.mk), launches by
 * launch.cpp.
 *
 * What releases something releases it all the same, so that a sweep can look for leaks; what waits
 * for a stream has waited, as an error there is news of something that ran.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

using namespace enso_emulated;

namespace
{
char wish[32];
unsigned long calls_left;
bool launches_only, blocks;
cudaError_t code, stuck[MAX_DEVICES];

bool is_sticky(cudaError_t error)
{
    return error == cudaErrorIllegalAddress || error == cudaErrorLaunchFailure ||
           error == cudaErrorLaunchTimeout || error == cudaErrorAssert ||
           error == cudaErrorECCUncorrectable || error == cudaErrorMisalignedAddress;
}

void read_wish(const char *text)
{
    char *end;

    snprintf(wish, sizeof(wish), "%s", text);
    launches_only = strncmp(wish, "launch:", 7) == 0;
    calls_left = launches_only ? 1 : strtoul(wish, &end, 10);
    if (launches_only)
        end = wish + 6;
    blocks = strcmp(end, ":stuck") == 0;
    code = *end == ':' ? (cudaError_t)strtol(end + 1, nullptr, 10) : cudaErrorMemoryAllocation;
    for (cudaError_t &of_device : stuck)
        of_device = cudaSuccess;
}
} // namespace

cudaError_t enso_emulated::failure_now(bool is_launch)
{
    runtime_hold hold(runtime_lock);
    char room[sizeof(wish)];
    const char *text = wish_now("ENSO_CUDA_EMULATED_FAIL", room, sizeof(room));

    if (strcmp(wish, text) != 0)
        read_wish(text);
    if (stuck[device_current()] != cudaSuccess)
        return stuck[device_current()];
    if (calls_left == 0 || (launches_only && !is_launch) || --calls_left != 0)
        return cudaSuccess;
    setenv("ENSO_CUDA_EMULATED_FAILED", "1", 1);
    if (blocks) {
        hold.unlock();
        nap_in_vain();
        return cudaSuccess;
    }
    if (is_sticky(code)) {
        stuck[device_current()] = code;
        stream_drop_all(device_current());
    }
    return code;
}

#define WRAP(name, parameters, arguments) WRAP_AS(false, name, parameters, arguments)
#define WRAP_LAUNCH(name, parameters, arguments) WRAP_AS(true, name, parameters, arguments)
#define WRAP_AS(is_launch, name, parameters, arguments)                                            \
    extern "C" cudaError_t __real_##name parameters;                                               \
    extern "C" cudaError_t __wrap_##name parameters;                                               \
    extern "C" cudaError_t __wrap_##name parameters                                                \
    {                                                                                              \
        cudaError_t failure = enso_emulated::failure_now(is_launch);                               \
                                                                                                   \
        return failure != cudaSuccess ? failure : __real_##name arguments;                         \
    }
#define WRAP_RELEASE(name, parameters, arguments)                                                  \
    extern "C" cudaError_t __real_##name parameters;                                               \
    extern "C" cudaError_t __wrap_##name parameters;                                               \
    extern "C" cudaError_t __wrap_##name parameters                                                \
    {                                                                                              \
        cudaError_t failure = enso_emulated::failure_now(false), error = __real_##name arguments;  \
                                                                                                   \
        return failure != cudaSuccess ? failure : error;                                           \
    }

WRAP(cudaDriverGetVersion, (int *version), (version))
WRAP(cudaGetDevice, (int *device), (device))
WRAP(cudaSetDeviceFlags, (unsigned flags), (flags))
WRAP(cudaDeviceGetAttribute, (int *value, enum cudaDeviceAttr attribute, int device),
     (value, attribute, device))
WRAP(cudaDeviceGetPCIBusId, (char *id, int size, int device), (id, size, device))
WRAP(cudaMemPoolGetAttribute, (cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value),
     (pool, attribute, value))
WRAP(cudaMemPoolTrimTo, (cudaMemPool_t pool, size_t keep_bytes), (pool, keep_bytes))
WRAP(cudaGetDeviceCount, (int *count), (count))
WRAP(cudaGetDeviceProperties, (struct cudaDeviceProp * p, int device), (p, device))
/* What is to be chosen decides, not what was. */
extern "C" cudaError_t __real_cudaSetDevice(int device);
extern "C" cudaError_t __wrap_cudaSetDevice(int device);
extern "C" cudaError_t __wrap_cudaSetDevice(int device)
{
    const int before = device_current();
    cudaError_t failure;

    if (device >= 0 && device < device_count())
        device_choose(device);
    failure = failure_now(false);
    if (stuck[device_current()] == cudaSuccess) /* else as the runtime does it (device.cpp) */
        device_choose(before);
    return failure != cudaSuccess ? failure : __real_cudaSetDevice(device);
}
WRAP(cudaMalloc, (void **memory, size_t size), (memory, size))
WRAP(cudaMemPoolSetAttribute, (cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value),
     (pool, attribute, value))
WRAP(cudaMemGetInfo, (size_t * free_bytes, size_t *total_bytes), (free_bytes, total_bytes))
WRAP(cudaHostAlloc, (void **memory, size_t size, unsigned flags), (memory, size, flags))
WRAP(cudaStreamCreateWithFlags, (cudaStream_t * stream, unsigned flags), (stream, flags))
WRAP(cudaEventCreateWithFlags, (cudaEvent_t * event, unsigned flags), (event, flags))
WRAP(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, stream))
WRAP_RELEASE(cudaEventSynchronize, (cudaEvent_t event), (event))
WRAP(cudaMemcpyAsync,
     (void *dst, const void *src, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream),
     (dst, src, size, kind, stream))
WRAP(cudaMemsetAsync, (void *memory, int value, size_t size, cudaStream_t stream),
     (memory, value, size, stream))
WRAP_RELEASE(cudaFree, (void *memory), (memory))
WRAP_RELEASE(cudaFreeHost, (void *memory), (memory))
WRAP_RELEASE(cudaStreamDestroy, (cudaStream_t stream), (stream))
WRAP_RELEASE(cudaEventDestroy, (cudaEvent_t event), (event))
WRAP(cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned flags),
     (stream, event, flags))
WRAP(cudaStreamQuery, (cudaStream_t stream), (stream))
WRAP(cudaEventQuery, (cudaEvent_t event), (event))
WRAP(cudaEventElapsedTime, (float *ms, cudaEvent_t start, cudaEvent_t end), (ms, start, end))
WRAP(cudaMallocFromPoolAsync, (void **memory, size_t size, cudaMemPool_t pool, cudaStream_t stream),
     (memory, size, pool, stream))
WRAP(cudaMemPoolCreate, (cudaMemPool_t * pool, const struct cudaMemPoolProps *properties),
     (pool, properties))
WRAP(cudaStreamBeginCapture, (cudaStream_t stream, enum cudaStreamCaptureMode mode), (stream, mode))
WRAP(cudaGraphInstantiate, (cudaGraphExec_t * exec, cudaGraph_t graph, unsigned long long flags),
     (exec, graph, flags))
WRAP(cudaGraphUpload, (cudaGraphExec_t exec, cudaStream_t stream), (exec, stream))
WRAP_LAUNCH(cudaGraphLaunch, (cudaGraphExec_t exec, cudaStream_t stream), (exec, stream))
WRAP_RELEASE(cudaStreamSynchronize, (cudaStream_t stream), (stream))
WRAP_RELEASE(cudaStreamEndCapture, (cudaStream_t stream, cudaGraph_t *graph), (stream, graph))
WRAP_RELEASE(cudaFreeAsync, (void *memory, cudaStream_t stream), (memory, stream))
WRAP_RELEASE(cudaMemPoolDestroy, (cudaMemPool_t pool), (pool))
WRAP_RELEASE(cudaGraphExecDestroy, (cudaGraphExec_t exec), (exec))
WRAP_RELEASE(cudaGraphDestroy, (cudaGraph_t graph), (graph))
