/* SPDX-License-Identifier: Apache-2.0
 *
 * A stand-in for the driver's management library, with the numbers of a card that is busy and hot:
 * the emulated module opens what ENSO_CUDA_EMULATED_NVML names (kernels/cuda/nvml.c). Prototypes as
 * in NVIDIA's "NVML API Reference Guide".
 *
 * ENSO_FAKE_NVML: "plain" a card that tells neither power nor ECC errors, as small ones do;
 * "stranger" does not know the card; "broken" does not start; "hangs" answers once, then never.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };

struct memory {
    unsigned long long total, free, used;
};

struct utilization {
    unsigned gpu, memory;
};

#define EXPORT __attribute__((visibility("default")))
EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device);
EXPORT int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory);
EXPORT int nvmlDeviceGetUtilizationRates(void *device, struct utilization *u);
EXPORT int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
EXPORT int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
EXPORT int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mhz);
EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons);
EXPORT int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *n);

static int card;

static bool is(const char *kind)
{
    const char *said = getenv("ENSO_FAKE_NVML");

    return said != NULL && strcmp(said, kind) == 0;
}

int nvmlInit_v2(void)
{
    return is("broken") ? DRIVER_NOT_LOADED : SUCCESS;
}

int nvmlShutdown(void)
{
    return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device)
{
    if (is("stranger") || strlen(id) != strlen("0000:00:00.0"))
        return NOT_FOUND;
    *device = &card;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
    static int n;

    if (is("hangs") && n++ != 0)
        for (;;)
            (void)pause();
    *memory = (struct memory){40ull << 30, 30ull << 30, 10ull << 30};
    return device == &card ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetUtilizationRates(void *device, struct utilization *u)
{
    (void)device;
    *u = (struct utilization){75, 25};
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    (void)device;
    *celsius = 83;
    return sensor == 0 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = 312500;
    return is("plain") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mhz)
{
    (void)device;
    *mhz = which == 1 ? 1410 : 1215;
    return which == 1 || which == 2 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons)
{
    (void)device;
    *reasons = 0x04 | 0x40 | 0x01; /* power, heat, and idle, which is no throttling */
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *n)
{
    (void)device;
    *n = 2;
    return is("plain") || type != 1 || counter != 0 ? NOT_SUPPORTED : SUCCESS;
}
