/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a GPU, and what its failures mean: see device.h. Every refusal says what is missing and
 * what to do about it, since on most machines it is the driver or the build, not ensod, that has to
 * change. Last of all a probe kernel runs: only that shows whether the module holds code for this
 * card, and whether it was made for an older one, which then decides which kernels are chosen.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/ladder.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/module.h"
#include "kernels/cuda/watch.h"

/* A call of the driver takes microseconds; one that makes code from PTX first, a minute or two. */
#define CALL_FACTOR 30
#define SECOND_LOOK_NS UINT64_C(1000000000)

/* Compute capability of the oldest cards that kernels are built for. */
#define OLDEST_ARCHITECTURE 75

/* How long a batch or a copy may take at least. Emulated cards are slow. */
#ifdef ENSO_EMULATED
#define HANG_NS UINT64_C(600000000000)
#else
#define HANG_NS UINT64_C(10000000000)
#endif

static uint64_t hang_ns(const struct enso_device_options *options)
{
    unsigned long ms = options->hang_ms;

#ifdef ENSO_EMULATED /* tests that wait for the end of it */
    const char *text = getenv("ENSO_CUDA_EMULATED_PATIENCE_MS");

    if (text != NULL)
        ms = strtoul(text, NULL, 10);
#endif
    return ms != 0 ? ms * UINT64_C(1000000) : HANG_NS;
}

/* Errors that end with the call they concern: the next call works again. Anything else is taken as
 * sticky, since going on with a broken context would only give every later batch the same error. */
static bool ends_with_call(int code)
{
    switch (code) {
    case cudaErrorInvalidValue:
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidPitchValue:
    case cudaErrorInvalidSymbol:
    case cudaErrorInvalidMemcpyDirection:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidKernelImage:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorNotSupported:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorStreamCaptureUnsupported: /* these end with the recording at the latest */
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureWrongThread:
    case cudaErrorCapturedEvent:
        return true;
    default:
        return false;
    }
}

static bool is_code_for_other_card(int code)
{
    return code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction ||
           code == cudaErrorInvalidKernelImage || code == cudaErrorUnsupportedPtxVersion ||
           code == cudaErrorJitCompilerNotFound || code == cudaErrorJitCompilationDisabled ||
           code == cudaErrorInvalidPtx;
}

static const char *error_text(int code)
{
    return cudaGetErrorString((cudaError_t)code);
}

int enso__cuda_failed(struct enso_device *device, int code, const char *what,
                      struct enso_error *err)
{
    /* else the thread's next launch would report it again, which may be on another card */
    (void)cudaGetLastError();
    if (code == cudaErrorMemoryAllocation)
        return enso_error_set(err, ENSO_NO_MEMORY, "%s: %s is out of memory", what, device->name);
    if (ends_with_call(code))
        return enso_error_set(err, ENSO_DEVICE, "%s: %s refused: %s", what, device->name,
                              error_text(code));
    int works = 0;
    if (atomic_compare_exchange_strong(&device->down, &works, code))
        enso_log(ENSO_LOG_ERROR, "device down", "%s: %s (CUDA error %d) during %s", device->name,
                 error_text(code), code, what);
    return enso_error_set(err, ENSO_UNAVAILABLE,
                          "%s failed during %s (%s) and stays down until ensod is started again",
                          device->name, what, error_text(code));
}

int enso__cuda_hung(struct enso_device *device, struct enso_error *err)
{
    int works = 0;

    atomic_store(&device->hung, true);
    if (atomic_compare_exchange_strong(&device->down, &works, cudaErrorLaunchTimeout))
        enso_log(ENSO_LOG_ERROR, "device down", "%s does not answer", device->name);
    return enso_error_set(err, ENSO_UNAVAILABLE,
                          "%s does not answer and stays down until ensod is started again",
                          device->name);
}

uint64_t enso__cuda_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int enso__cuda_enter(struct enso_device *device, struct enso_error *err)
{
    int down = atomic_load(&device->down);

    if (down != 0)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "%s has failed (%s) and stays down until ensod is started again",
                              device->name, error_text(down));
    int code = cudaSetDevice(device->ordinal);
    return code == cudaSuccess ? ENSO_OK : enso__cuda_failed(device, code, "selecting it", err);
}

bool enso__cuda_enter_to_release(struct enso_device *device)
{
    if (atomic_load(&device->hung))
        return false;
    int code = cudaSetDevice(device->ordinal);

    if (code != cudaSuccess)
        (void)enso__cuda_failed(device, code, "selecting it", NULL); /* marks it, if it is down */
    return atomic_load(&device->down) == 0;
}

/* Is there a driver that is new enough, and how many cards does it show? */
static int count_cards(int *ret_n, struct enso_error *err)
{
    int driver = 0, code = cudaDriverGetVersion(&driver), n = 0;

    if (code != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        return enso_error_set(err, ENSO_NOT_FOUND,
                              "there is no NVIDIA driver; install it (nvidia-smi must work), in a "
                              "container give it the GPU, or use --device cpu");
    }
    code = cudaGetDeviceCount(&n);
    if (code == cudaErrorInsufficientDriver)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "the NVIDIA driver is too old: it knows CUDA %d.%d, this module was "
                              "built with %d.%d; update the driver or use --device cpu",
                              driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                              CUDART_VERSION % 1000 / 10);
    if (code == cudaErrorNoDevice || (code == cudaSuccess && n == 0)) {
        (void)cudaGetLastError();
        return enso_error_set(err, ENSO_NOT_FOUND,
                              "there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it; use "
                              "--device cpu");
    }
    if (code != cudaSuccess)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "the NVIDIA driver does not answer: %s (CUDA error %d); see whether "
                              "nvidia-smi works, or use --device cpu",
                              error_text(code), code);
    *ret_n = n;
    return ENSO_OK;
}

/* "cuda" is card 0. */
static int parse_ordinal(const char *name, int *ret_ordinal, struct enso_error *err)
{
    char *end;
    long n = 0;

    if (strcmp(name, "cuda") != 0) {
        if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9')
            return enso_error_set(err, ENSO_INVALID, "'%.60s' is no GPU; write cuda:0", name);
        n = strtol(name + 5, &end, 10);
        if (*end != '\0' || n > 1023)
            return enso_error_set(err, ENSO_INVALID, "'%.60s' is no GPU; write cuda:0", name);
    }
    *ret_ordinal = (int)n;
    return ENSO_OK;
}

/* The card is taken for one that is older than it is; one that it is not newer than changes
 * nothing.
 */
static void take_as(struct enso_device *device, int architecture)
{
    size_t used = strlen(device->description);

    if (architecture >= device->architecture)
        return;
    device->architecture = architecture;
    snprintf(device->description + used, sizeof(device->description) - used, ", as sm_%d",
             architecture);
}

/* ENSO_CUDA_ARCHITECTURE, for tests: with 75 a newer card runs what cards before 8.0 would. */
static int take_as_asked(struct enso_device *device, struct enso_error *err)
{
    const char *text = getenv("ENSO_CUDA_ARCHITECTURE");
    char *end;

    if (text == NULL || text[0] == '\0')
        return ENSO_OK;
    long asked = strtol(text, &end, 10);
    if (*end != '\0' || asked < 1 || asked > 999)
        return enso_error_set(err, ENSO_INVALID,
                              "ENSO_CUDA_ARCHITECTURE is '%.20s'; write a number such as 75, or "
                              "unset it",
                              text);
    take_as(device, (int)asked);
    return ENSO_OK;
}

static int describe(struct enso_device *device, struct enso_error *err)
{
    struct cudaDeviceProp properties;
    int code = cudaGetDeviceProperties(&properties, device->ordinal);

    if (code != cudaSuccess)
        return enso__cuda_failed(device, code, "reading its properties", err);
    device->architecture = properties.major * 10 + properties.minor;
    device->memory_bytes = properties.totalGlobalMem;
    snprintf(device->description, sizeof(device->description), "%.80s, sm_%d, %zu MiB",
             properties.name, device->architecture, device->memory_bytes >> 20);
    int st = take_as_asked(device, err);
    if (st != ENSO_OK)
        return st;
    if (device->architecture < OLDEST_ARCHITECTURE)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "%s (%s) is too old: kernels need sm_%d or later; use --device cpu",
                              device->name, device->description, OLDEST_ARCHITECTURE);
    return ENSO_OK;
}

/* The first call that makes the driver's context. */
static int select_card(struct enso_device *device, struct enso_error *err)
{
    int code = cudaSetDevice(device->ordinal);

    /* what the runtime itself waits for (memory from a pool) is slept for, not spun for */
    if (code == cudaSuccess && cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync) != cudaSuccess)
        (void)cudaGetLastError(); /* another part of the process has chosen */
    if (code == cudaSuccess)
        code = cudaFree(NULL);
    if (code == cudaSuccess)
        return ENSO_OK;
    (void)cudaGetLastError();
    if (code == cudaErrorDevicesUnavailable)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "%s (%s) is busy: another process uses it alone, or its compute mode "
                              "forbids use; see nvidia-smi, or use another device",
                              device->name, device->description);
    if (code == cudaErrorMemoryAllocation)
        return enso_error_set(err, ENSO_NO_MEMORY,
                              "%s (%s) has no memory left even for a start; see nvidia-smi for who "
                              "has it, or use another device",
                              device->name, device->description);
    return enso__cuda_failed(device, code, "its start", err);
}

static int probe(struct enso_device *device, struct enso_error *err)
{
    void *answer = NULL;
    int got[2] = {0}, code;
    int st = enso__cuda_alloc(device, sizeof(got), "a probe", &answer, err);

    if (st != ENSO_OK)
        return st;
    code = enso_cuda_probe(answer, enso__cuda_lane_stream(device->loader));
    if (is_code_for_other_card(code)) {
        (void)cudaGetLastError();
        st = enso_error_set(err, ENSO_UNSUPPORTED,
                            "the module holds no code for %s (%s): %s; build ensod with "
                            "--with-cuda-arch=%d, update the driver, or use --device cpu",
                            device->name, device->description, error_text(code),
                            device->architecture);
    } else if (code != cudaSuccess) {
        st = enso__cuda_failed(device, code, "a probe", err);
    }
    if (st == ENSO_OK)
        st = enso__cuda_lane_download(device->loader, got, answer, sizeof(got), err);
    if (st == ENSO_OK && got[0] != ENSO_CUDA_PROBE_ANSWER)
        st = enso_error_set(err, ENSO_DEVICE,
                            "%s (%s) computes wrong: a probe answered %d; do not use it",
                            device->name, device->description, got[0]);
    if (st == ENSO_OK)
        take_as(device, got[1]);
    enso__cuda_free(device, answer);
    return st;
}

static int open_products(struct enso_device *device, const struct enso_device_options *options,
                         struct enso_error *err)
{
    int st =
        enso__cublaslt_open(device, options->cublaslt, options->state_dir, &device->cublaslt, err);
    size_t at = strlen(device->description);

    if (device->cublaslt != NULL)
        snprintf(device->description + at, sizeof(device->description) - at, ", %s",
                 enso__cublaslt_name(device->cublaslt));
    return st;
}

int enso__cuda_device_open(const struct enso_device_options *options,
                           struct enso_device **ret_device, struct enso_error *err)
{
    const char *name = options->name != NULL ? options->name : "cuda";
    int ordinal = 0, n = 0;
    int st = parse_ordinal(name, &ordinal, err);

    if (st == ENSO_OK)
        st = count_cards(&n, err);
    if (st != ENSO_OK)
        return st;
    if (ordinal >= n)
        return enso_error_set(err, ENSO_NOT_FOUND,
                              "there is no cuda:%d: this machine has %d GPU%s, the last is cuda:%d",
                              ordinal, n, n == 1 ? "" : "s", n - 1);
    struct enso_device *device = enso_alloc_zero(1, sizeof(*device));
    if (device == NULL)
        return enso_error_no_memory(err, "the GPU's device");
    snprintf(device->name, sizeof(device->name), ENSO__CUDA_NAME ":%d", ordinal);
    device->ordinal = ordinal;
    device->hang_ns = hang_ns(options);
    device->long_percent =
        options->long_percent != 0 ? options->long_percent : ENSO__LADDER_LONG_PERCENT;
    pthread_mutex_init(&device->load_mutex, NULL);
    pthread_mutex_init(&device->captures_mutex, NULL);
    st = describe(device, err);
    if (st == ENSO_OK)
        st = select_card(device, err);
    if (st == ENSO_OK)
        st = enso__cuda_memory_open(device, options, err);
    if (st == ENSO_OK)
        st = enso__cuda_lane_open(device, &device->loader, err);
    if (st == ENSO_OK)
        st = probe(device, err);
    if (st == ENSO_OK)
        st = enso__cuda_watch_open(device, &device->watch, err);
    if (st == ENSO_OK)
        st = open_products(device, options, err);
    if (st != ENSO_OK) {
        enso__cuda_device_close(device);
        return st;
    }
    *ret_device = device;
    return ENSO_OK;
}

void enso__cuda_device_close(struct enso_device *device)
{
    if (device == NULL)
        return;
    if (!enso__cuda_watch_close(device->watch))
        return; /* a thread is left in the driver, which reads all this when it comes back */
    enso__cublaslt_close(device->cublaslt);
    enso__cuda_lane_close(device->loader);
    enso__cuda_memory_close(device);
    pthread_mutex_destroy(&device->captures_mutex);
    pthread_mutex_destroy(&device->load_mutex);
    enso_free(device);
}

size_t enso__cuda_call_begin(struct enso_device *device)
{
    uint64_t now_ns = enso__cuda_now_ns();
    size_t i;

    for (i = 0; i < ENSO__CUDA_WATCHED; i++) {
        uint64_t nobody = 0;

        if (atomic_load_explicit(&device->calling_since_ns[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&device->calling_since_ns[i], &nobody, now_ns))
            break;
    }
    return i;
}

void enso__cuda_call_end(struct enso_device *device, size_t place)
{
    if (place < ENSO__CUDA_WATCHED)
        atomic_store_explicit(&device->calling_since_ns[place], 0, memory_order_relaxed);
}

/* A thread has been in a call of the driver for too long. Time passes also while the process is
 * stopped: only who still is there a second later is stuck. */
static bool still_there(struct enso_device *device, uint64_t since_ns, uint64_t now_ns)
{
    if (atomic_load(&device->suspect_since_ns) == since_ns)
        return now_ns - atomic_load(&device->suspect_seen_ns) > SECOND_LOOK_NS;
    atomic_store(&device->suspect_seen_ns, now_ns);
    atomic_store(&device->suspect_since_ns, since_ns);
    return false;
}

/* Is somebody stuck in a call of the driver? */
static bool is_stuck(struct enso_device *device)
{
    uint64_t now_ns = enso__cuda_now_ns();

    for (size_t i = 0; i < ENSO__CUDA_WATCHED; i++) {
        uint64_t since_ns =
            atomic_load_explicit(&device->calling_since_ns[i], memory_order_relaxed);

        if (since_ns != 0 && since_ns < now_ns && now_ns - since_ns > device->hang_ns * CALL_FACTOR)
            return still_there(device, since_ns, now_ns);
    }
    return false;
}

void enso__cuda_device_state(struct enso_device *device, struct enso_device_state *ret_state)
{
    int down = atomic_load(&device->down);

    if (down == 0 && is_stuck(device)) {
        (void)enso__cuda_hung(device, NULL);
        down = atomic_load(&device->down);
    }

    *ret_state = (struct enso_device_state){.down = down != 0};
    if (down != 0)
        snprintf(ret_state->reason, sizeof(ret_state->reason),
                 "%s has failed (%s) and stays down until ensod is started again", device->name,
                 error_text(down));
}

void enso__cuda_device_info(const struct enso_device *device, struct enso_device_info *ret_info)
{
    *ret_info =
        (struct enso_device_info){.n_threads = 0, .batch_invariant = device->cublaslt == NULL};
    snprintf(ret_info->name, sizeof(ret_info->name), "%s", device->name);
    snprintf(ret_info->description, sizeof(ret_info->description), "%s", device->description);
}
