/* SPDX-License-Identifier: Apache-2.0
 *
 * NVML by dlopen: see nvml.h. Every call may be missing (an older library) or unsupported (a card
 * without ECC memory, a part of one under MIG): then its number is NAN.
 */
#include "ensod_build.h"

#include "kernels/cuda/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "engine/host.h"

/* From the guide: nvmlReturn_t is an int, 0 is success; nvmlDevice_t is a pointer. */
#define NVML_TEMPERATURE_GPU 0
#define NVML_CLOCK_SM 1
#define NVML_CLOCK_MEM 2
#define NVML_MEMORY_ERROR_TYPE_UNCORRECTED 1
#define NVML_VOLATILE_ECC 0

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_utilization {
    unsigned gpu, memory; /* percent */
};

/* X(member, symbol, parameters) */
#define NVML_LIST(X)                                                                               \
    X(init, "nvmlInit_v2", (void))                                                                 \
    X(shutdown, "nvmlShutdown", (void))                                                            \
    X(by_address, "nvmlDeviceGetHandleByPciBusId_v2", (const char *id, void **device))             \
    X(memory, "nvmlDeviceGetMemoryInfo", (void *device, struct nvml_memory *memory))               \
    X(utilization, "nvmlDeviceGetUtilizationRates", (void *device, struct nvml_utilization *u))    \
    X(temperature, "nvmlDeviceGetTemperature", (void *device, int sensor, unsigned *celsius))      \
    X(power, "nvmlDeviceGetPowerUsage", (void *device, unsigned *milliwatts))                      \
    X(clock, "nvmlDeviceGetClockInfo", (void *device, int which, unsigned *mhz))                   \
    X(throttled, "nvmlDeviceGetCurrentClocksThrottleReasons",                                      \
      (void *device, unsigned long long *reasons))                                                 \
    X(ecc, "nvmlDeviceGetTotalEccErrors",                                                          \
      (void *device, int type, int counter, unsigned long long *n))

struct enso__nvml {
    void *library;
    void *device;
#define NVML_MEMBER(member, symbol, parameters) int(*member) parameters;
    NVML_LIST(NVML_MEMBER)
#undef NVML_MEMBER
};

/* Tests bring their own; a real one would not know an emulated card. */
static const char *library_name(void)
{
#ifdef ENSO_EMULATED
    return getenv("ENSO_CUDA_EMULATED_NVML");
#else
    return "libnvidia-ml.so.1";
#endif
}

static void find_symbols(struct enso__nvml *nvml)
{
    /* POSIX's way to write it */
#define NVML_FIND(member, symbol, parameters)                                                      \
    *(void **)&nvml->member = dlsym(nvml->library, symbol);
    NVML_LIST(NVML_FIND)
#undef NVML_FIND
}

int enso__nvml_open(const char *pci_bus_id, struct enso__nvml **ret_nvml, struct enso_error *err)
{
    const char *name = library_name();
    struct enso__nvml *nvml;
    int code = 0;

    if (name == NULL)
        return enso_error_set(err, ENSO_NOT_FOUND, "an emulated card has no NVML");
    nvml = enso_alloc_zero(1, sizeof(*nvml));
    if (nvml == NULL)
        return enso_error_no_memory(err, "NVML");
    nvml->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (nvml->library == NULL) {
        enso_free(nvml);
        return enso_error_set(err, ENSO_NOT_FOUND, "NVML cannot be loaded: %.300s", dlerror());
    }
    find_symbols(nvml);
    if (nvml->init == NULL || nvml->shutdown == NULL || nvml->by_address == NULL)
        code = -1;
    else
        code = nvml->init();
    if (code != 0) {
        (void)dlclose(nvml->library); /* what is not used may stay */
        enso_free(nvml);
        return enso_error_set(err, ENSO_UNAVAILABLE, "NVML (%s) does not start (error %d)", name,
                              code);
    }
    code = nvml->by_address(pci_bus_id, &nvml->device);
    if (code != 0) {
        enso__nvml_close(nvml);
        return enso_error_set(err, ENSO_UNAVAILABLE, "NVML does not know the card at %s (error %d)",
                              pci_bus_id, code);
    }
    *ret_nvml = nvml;
    return ENSO_OK;
}

void enso__nvml_close(struct enso__nvml *nvml)
{
    if (nvml == NULL)
        return;
    (void)nvml->shutdown(); /* nothing is left to be done about it */
    (void)dlclose(nvml->library);
    enso_free(nvml);
}

static double clock_hertz(const struct enso__nvml *nvml, int which)
{
    unsigned mhz;

    return nvml->clock != NULL && nvml->clock(nvml->device, which, &mhz) == 0 ? mhz * 1e6 : NAN;
}

static void read_throttles(const struct enso__nvml *nvml, double ret[ENSO_N_THROTTLES])
{
    /* nvmlClocksThrottleReason...: idle clocks and those that somebody set are no throttling */
    static const unsigned long long bits[ENSO_N_THROTTLES] = {
        [ENSO_THROTTLE_POWER_CAP] = 0x04,        [ENSO_THROTTLE_SYNC_BOOST] = 0x10,
        [ENSO_THROTTLE_SOFTWARE_THERMAL] = 0x20, [ENSO_THROTTLE_HARDWARE_SLOWDOWN] = 0x08,
        [ENSO_THROTTLE_HARDWARE_THERMAL] = 0x40, [ENSO_THROTTLE_POWER_BRAKE] = 0x80,
    };
    unsigned long long reasons = 0;
    bool told = nvml->throttled != NULL && nvml->throttled(nvml->device, &reasons) == 0;

    for (size_t i = 0; i < ENSO_N_THROTTLES; i++)
        ret[i] = !told ? NAN : (reasons & bits[i]) != 0 ? 1 : 0;
}

void enso__nvml_read(const struct enso__nvml *nvml, struct enso_device_metrics *ret)
{
    struct nvml_memory memory;
    struct nvml_utilization u;
    unsigned long long n;
    unsigned value;
    bool told = nvml->memory != NULL && nvml->memory(nvml->device, &memory) == 0;

    ret->free_bytes = told ? (double)memory.free : NAN;
    ret->total_bytes = told ? (double)memory.total : NAN;
    told = nvml->utilization != NULL && nvml->utilization(nvml->device, &u) == 0;
    ret->busy = told ? u.gpu / 100.0 : NAN;
    ret->memory_busy = told ? u.memory / 100.0 : NAN;
    told = nvml->temperature != NULL &&
           nvml->temperature(nvml->device, NVML_TEMPERATURE_GPU, &value) == 0;
    ret->temperature_celsius = told ? (double)value : NAN;
    told = nvml->power != NULL && nvml->power(nvml->device, &value) == 0;
    ret->power_watts = told ? value / 1000.0 : NAN;
    ret->compute_clock_hertz = clock_hertz(nvml, NVML_CLOCK_SM);
    ret->memory_clock_hertz = clock_hertz(nvml, NVML_CLOCK_MEM);
    read_throttles(nvml, ret->throttled);
    told = nvml->ecc != NULL &&
           nvml->ecc(nvml->device, NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC, &n) == 0;
    ret->ecc_uncorrected = told ? (double)n : NAN;
}
