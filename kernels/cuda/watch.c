/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread beside a GPU: see watch.h. What it shares with others stands in struct
 * enso__cuda_watch alone; the device is touched only while nobody has asked it to stop, so that one
 * stuck in the driver may be left behind when the device is closed.
 */
#include "ensod_build.h"

#include "kernels/cuda/watch.h"

#include <math.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/host.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/nvml.h"

#define PERIOD_S 5
#define TRIM_DELAY_S 1 /* a model that is loaded again at once finds its memory where it was */
#define END_WAIT_S 1
#define NICE 10

struct enso__cuda_watch {
    struct enso_device *device;
    struct enso__nvml *nvml; /* NULL: none. The thread's own once it runs */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t wake;   /* its clock is CLOCK_MONOTONIC */
    bool stop, trim;
    bool in_driver;                  /* the thread is where it may be stuck */
    bool ended;                      /* it does nothing any more */
    struct enso_device_metrics read; /* idle_bytes and what NVML tells */
};

static void read_now(struct enso__cuda_watch *w, bool device_works)
{
    struct enso_device_metrics read;

    pthread_mutex_lock(&w->mutex);
    read = w->read; /* what is idle on a card that is lost, nobody tells any more */
    pthread_mutex_unlock(&w->mutex);
    /* enter, or the runtime asks card 0 on behalf of a thread that never chose one */
    if (device_works && enso__cuda_enter(w->device, NULL) == ENSO_OK)
        read.idle_bytes = (double)enso__cuda_memory_idle(w->device);
    if (w->nvml != NULL)
        enso__nvml_read(w->nvml, &read);
    pthread_mutex_lock(&w->mutex);
    w->read = read;
    pthread_mutex_unlock(&w->mutex);
}

static struct timespec in_seconds(time_t seconds)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* it exists */
    t.tv_sec += seconds;
    return t;
}

/* Under the mutex: until somebody wants something or the next turn to read has come. */
static void sleep_on(struct enso__cuda_watch *w)
{
    struct timespec until = in_seconds(PERIOD_S);
    int rc = 0;

    while (!w->stop && !w->trim && rc == 0)
        rc = pthread_cond_timedwait(&w->wake, &w->mutex, &until);
    if (!w->trim)
        return;
    until = in_seconds(TRIM_DELAY_S);
    for (rc = 0; !w->stop && rc == 0;)
        rc = pthread_cond_timedwait(&w->wake, &w->mutex, &until);
}

/* Under the mutex, which is let go meanwhile. False: somebody has asked the thread to stop, and the
 * device may be gone. */
static bool work(struct enso__cuda_watch *w, bool trim)
{
    struct enso_device_state state;

    enso__cuda_device_state(w->device, &state);
    w->in_driver = true;
    pthread_mutex_unlock(&w->mutex);
    if (trim && !state.down)
        enso__cuda_memory_trim(w->device);
    else if (!trim)
        read_now(w, !state.down);
    pthread_mutex_lock(&w->mutex);
    w->in_driver = false;
    return !w->stop;
}

static void *watch_main(void *arg)
{
    struct enso__cuda_watch *w = arg;
    bool trim;

    (void)prctl(PR_SET_NAME, "gpu watch");                            /* for top and gdb only */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); /* a refusal does no harm */
    pthread_mutex_lock(&w->mutex);
    do {
        sleep_on(w);
        trim = w->trim;
        w->trim = false;
    } while (!w->stop && (!trim || work(w, true)) && work(w, false));
    w->in_driver = true;
    pthread_mutex_unlock(&w->mutex);
    enso__nvml_close(w->nvml);
    pthread_mutex_lock(&w->mutex);
    w->nvml = NULL;
    w->ended = true;
    (void)pthread_cond_signal(&w->wake); /* nobody waits for it but close */
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void open_nvml(struct enso__cuda_watch *w)
{
    struct enso_error why = {0};
    char address[32];
    int code = cudaDeviceGetPCIBusId(address, sizeof(address), w->device->ordinal);

    if (code != cudaSuccess) {
        (void)cudaGetLastError(); /* only metrics would have been better */
        (void)enso_error_set(&why, ENSO_UNAVAILABLE, "its address is not known: %s",
                             cudaGetErrorString((cudaError_t)code));
    } else if (enso__nvml_open(address, &w->nvml, &why) == ENSO_OK) {
        return;
    }
    enso_log(ENSO_LOG_INFO, "no metrics of the GPU", "%s: %s", w->device->name, why.message);
}

static void watch_free(struct enso__cuda_watch *w)
{
    enso__nvml_close(w->nvml);
    (void)pthread_cond_destroy(&w->wake); /* nobody is left */
    (void)pthread_mutex_destroy(&w->mutex);
    enso_free(w);
}

int enso__cuda_watch_open(struct enso_device *device, struct enso__cuda_watch **ret_watch,
                          struct enso_error *err)
{
    struct enso__cuda_watch *w = enso_alloc_zero(1, sizeof(*w));
    pthread_condattr_t clock;
    int rc;

    if (w == NULL)
        return enso_error_no_memory(err, "the GPU's watch");
    w->device = device;
    pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_condattr_init(&clock); /* none of the three can fail on Linux */
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &clock);
    (void)pthread_condattr_destroy(&clock);
    w->read = (struct enso_device_metrics){.idle_bytes = NAN,
                                           .free_bytes = NAN,
                                           .total_bytes = NAN,
                                           .busy = NAN,
                                           .memory_busy = NAN,
                                           .temperature_celsius = NAN,
                                           .power_watts = NAN,
                                           .compute_clock_hertz = NAN,
                                           .memory_clock_hertz = NAN,
                                           .ecc_uncorrected = NAN};
    for (size_t i = 0; i < ENSO_N_THROTTLES; i++)
        w->read.throttled[i] = NAN;
    open_nvml(w);
    read_now(w, true);
    rc = pthread_create(&w->thread, NULL, watch_main, w);
    if (rc != 0) {
        watch_free(w);
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "cannot start the GPU's watch thread (error %d); raise the limit of "
                              "tasks or threads",
                              rc);
    }
    *ret_watch = w;
    return ENSO_OK;
}

bool enso__cuda_watch_close(struct enso__cuda_watch *w)
{
    bool ended;

    if (w == NULL)
        return true;
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    (void)pthread_cond_signal(&w->wake);
    while (!w->ended) { /* outside of the driver it needs no more than its turn on the processor */
        struct timespec until = in_seconds(END_WAIT_S);

        if (pthread_cond_timedwait(&w->wake, &w->mutex, &until) != 0 && w->in_driver)
            break;
    }
    ended = w->ended;
    pthread_mutex_unlock(&w->mutex);
    if (ended) { /* joined as such, which sanitizers follow: they lose sight of a timed join */
        (void)pthread_join(w->thread, NULL);
        watch_free(w);
    } else { /* stuck in the driver: w stays for the thread to read */
        (void)pthread_detach(w->thread);
    }
    return ended;
}

void enso__cuda_watch_trim(struct enso__cuda_watch *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->mutex);
    w->trim = true;
    (void)pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

void enso__cuda_device_metrics(struct enso_device *device, struct enso_device_metrics *ret_metrics)
{
    struct enso__cuda_memory_stats memory;
    struct enso__cublaslt_counts products;
    struct enso__cuda_watch *w = device->watch;

    pthread_mutex_lock(&w->mutex);
    *ret_metrics = w->read;
    pthread_mutex_unlock(&w->mutex);
    enso__cuda_memory_stats(device, &memory);
    ret_metrics->weight_bytes = memory.bytes[ENSO__CUDA_WEIGHTS];
    ret_metrics->arena_bytes = memory.bytes[ENSO__CUDA_ARENAS];
    ret_metrics->lane_bytes = memory.bytes[ENSO__CUDA_LANES];
    ret_metrics->limit_bytes = memory.limit_bytes;
    ret_metrics->n_allocations = memory.n_pieces;
    enso__cublaslt_count(device->cublaslt, &products);
    ret_metrics->n_products[ENSO_PRODUCT_OWN] = products.own;
    ret_metrics->n_products[ENSO_PRODUCT_HEURISTIC] = products.heuristic;
    ret_metrics->n_products[ENSO_PRODUCT_TIMED] = products.timed;
}
