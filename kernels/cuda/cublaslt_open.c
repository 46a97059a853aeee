/* SPDX-License-Identifier: Apache-2.0
 *
 * cuBLASLt on a device: finding a library that takes it, the table of what was timed there, what
 * each lane has of its own; see cublaslt.h.
 */
#include "ensod_build.h"

#include "kernels/cuda/cublaslt_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_CANDIDATES 64 /* files that are looked at */

/* The emulation has a library of its own, which only a test names. */
#ifdef ENSO_EMULATED
#define IS_LOOKED_FOR 0
#else
#define IS_LOOKED_FOR 1
#endif

/* NVIDIA's advice for cuBLAS; with less the library only chooses among fewer algorithms. */
size_t enso__cublaslt_workspace_bytes(const struct enso_device *device)
{
    int major = device->architecture / 10;

    return (size_t)(major == 9 || major == 10 ? 32 : major == 12 ? 12 : 4) << 20;
}

static int make_preference(struct enso__cublaslt *lt)
{
    const struct enso__cublaslt_library *l = &lt->library;
    const uint64_t most_bytes = enso__cublaslt_workspace_bytes(lt->device);
    const uint32_t alignment = ENSO__CUBLASLT_ALIGNMENT;
    int status = l->MatmulPreferenceCreate(&lt->preference);

    if (status == ENSO__LT_SUCCESS)
        status = l->MatmulPreferenceSetAttribute(lt->preference, ENSO__LT_PREF_MAX_WORKSPACE_BYTES,
                                                 &most_bytes, sizeof(most_bytes));
    for (int i = 0; status == ENSO__LT_SUCCESS && i < 4; i++)
        status = l->MatmulPreferenceSetAttribute(
            lt->preference, ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES + i, &alignment, sizeof(alignment));
    return status;
}

int enso__cublaslt_failed(const struct enso__cublaslt *lt, int status, const char *what,
                          struct enso_error *err)
{
    int code = cudaGetLastError();

    if (code != cudaSuccess)
        return enso__cuda_failed(lt->device, code, what, err);
    return enso_error_set(err, status == ENSO__LT_ALLOC_FAILED ? ENSO_NO_MEMORY : ENSO_DEVICE,
                          "%s: cuBLASLt says %s", what, lt->library.GetStatusString(status));
}

/* Load the library at `path` for the device. */
static int open_at(struct enso_device *device, const char *path, struct enso__cublaslt **ret,
                   struct enso_error *err)
{
    struct enso__cublaslt *lt = enso_alloc_zero(1, sizeof(*lt));

    if (lt == NULL)
        return enso_error_no_memory(err, "cuBLASLt");
    lt->device = device;
    pthread_mutex_init(&lt->mutex, NULL);
    int st = enso__cublaslt_load(path, &lt->library, err);
    if (st == ENSO_OK) {
        size_t v = lt->library.version;
        int status = lt->library.Create(&lt->handle);

        snprintf(lt->name, sizeof(lt->name), "cuBLASLt %zu.%zu.%zu", v / 10000, v / 100 % 100,
                 v % 100);
        if (status == ENSO__LT_SUCCESS)
            status = make_preference(lt);
        if (status == ENSO__LT_SUCCESS)
            status = enso__cublaslt_descriptors_init(&lt->descriptors, &lt->library);
        if (status != ENSO__LT_SUCCESS)
            st = enso_error_set(
                err, status == ENSO__LT_ALLOC_FAILED ? ENSO_NO_MEMORY : ENSO_UNAVAILABLE,
                "%s of '%.300s' refuses %s: %s%s", lt->name, lt->library.path, device->name,
                lt->library.GetStatusString(status),
                status == ENSO__LT_NOT_INITIALIZED ? " (is the driver too old for it?)" : "");
    }
    if (st != ENSO_OK) {
        (void)cudaGetLastError(); /* it is told here */
        enso__cublaslt_close(lt);
        return st;
    }
    *ret = lt;
    return ENSO_OK;
}

/* Every place in turn. ENSO_NOT_FOUND when there is none that does; ret_why then has what the first
 * one that is there says. */
static int look(struct enso_device *device, struct enso__cublaslt **ret, struct enso_error *ret_why)
{
    for (size_t i = 0; IS_LOOKED_FOR && i < MAX_CANDIDATES; i++) {
        struct enso_error why = {0};
        char *path = enso__cublaslt_candidate(enso__cublaslt_folders(), i);

        if (path == NULL)
            break;
        int st = open_at(device, path, ret, &why);
        enso_free(path);
        if (st != ENSO_NOT_FOUND && ret_why->status == ENSO_OK)
            *ret_why = why;
        if (st == ENSO_OK || st == ENSO_NO_MEMORY)
            return st;
    }
    return ENSO_NOT_FOUND;
}

/* Once in a process, whatever the number of cards. */
static void log_absent(const struct enso_device *device, const struct enso_error *why)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;

    if (!IS_LOOKED_FOR || atomic_flag_test_and_set(&said))
        return;
    if (why->status != ENSO_OK)
        enso_log(ENSO_LOG_WARNING, "matrix products",
                 "%s: our own kernels; a cuBLASLt is there, but %s", device->name, why->message);
    else
        enso_log(ENSO_LOG_NOTICE, "matrix products",
                 "%s: our own kernels; there is no libcublasLt.so.13 or .12 for the system's "
                 "loader, in " ENSO__CUBLASLT_PLACES
                 " or beside the GPU module; say where it is with cublaslt",
                 device->name);
}

/* A path that was asked for is used, or the start ends. */
static int open_configured(struct enso_device *device, const char *path,
                           struct enso__cublaslt **ret, struct enso_error *err)
{
    struct enso_error why = {0};
    int st = open_at(device, path, ret, &why);

    if (st != ENSO_OK)
        return enso_error_set(err, (enum enso_status)st,
                              "%.380s (option cublaslt; none: use our own kernels)", why.message);
    return ENSO_OK;
}

/* Or the one that is found. */
static int open_found(struct enso_device *device, struct enso__cublaslt **ret,
                      struct enso_error *err)
{
    struct enso_error why = {0};
    int st = look(device, ret, &why);

    if (st == ENSO_NO_MEMORY)
        return enso_error_set(err, ENSO_NO_MEMORY, "%s", why.message);
    if (st != ENSO_OK)
        log_absent(device, &why);
    return ENSO_OK;
}

/* What was timed on this card with this driver and library; without it the heuristic serves. */
static void read_timed(struct enso__cublaslt *lt, const char *state_dir)
{
    struct enso_error why = {0};
    int driver = 0;

    (void)cudaDriverGetVersion(&driver); /* 0 stands for itself */
    snprintf(lt->title, sizeof(lt->title), "%s, driver %d, %s", lt->device->description, driver,
             lt->name);
    if (state_dir == NULL || state_dir[0] == '\0' || strlen(state_dir) >= sizeof(lt->state_dir))
        return;
    snprintf(lt->state_dir, sizeof(lt->state_dir), "%s", state_dir);
    int st = enso__algorithms_load(state_dir, lt->title, &lt->timed, &why);
    if (st == ENSO_OK)
        enso_log(ENSO_LOG_INFO, "matrix products", "%s: %zu timed products of %s", lt->device->name,
                 lt->timed.n, state_dir);
    else if (st != ENSO_NOT_FOUND)
        enso_log(ENSO_LOG_WARNING, "matrix products", "%s: timed products are not used: %s",
                 lt->device->name, why.message);
}

int enso__cublaslt_open(struct enso_device *device, const char *configured, const char *state_dir,
                        struct enso__cublaslt **ret, struct enso_error *err)
{
    int st;

    *ret = NULL;
    if (configured != NULL && strcmp(configured, "none") == 0)
        return ENSO_OK;
    st = configured != NULL && configured[0] != '\0' ? open_configured(device, configured, ret, err)
                                                     : open_found(device, ret, err);
    if (st != ENSO_OK || *ret == NULL)
        return st;
    enso_log(ENSO_LOG_NOTICE, "matrix products", "%s: %s of %.300s", device->name, (*ret)->name,
             (*ret)->library.path);
    read_timed(*ret, state_dir);
    return ENSO_OK;
}

void enso__cublaslt_close(struct enso__cublaslt *lt)
{
    if (lt == NULL)
        return;
    enso__cublaslt_forget(lt);
    enso__algorithms_done(&lt->timed);
    enso__cublaslt_descriptors_done(&lt->descriptors);
    if (lt->preference != NULL)
        (void)lt->library.MatmulPreferenceDestroy(lt->preference);
    if (lt->handle != NULL && !atomic_load(&lt->device->hung)) { /* it would wait */
        (void)enso__cuda_enter_to_release(lt->device);
        (void)lt->library.Destroy(lt->handle); /* a device that is down makes no difference */
    }
    pthread_mutex_destroy(&lt->mutex);
    enso_free(lt);
}

const char *enso__cublaslt_name(const struct enso__cublaslt *lt)
{
    return lt != NULL ? lt->name : "";
}

/* ---- lanes ---- */

int enso__cublaslt_lane_open(struct enso__cublaslt *lt, struct enso__cublaslt_lane **ret,
                             struct enso_error *err)
{
    *ret = NULL;
    if (lt == NULL)
        return ENSO_OK;
    struct enso__cublaslt_lane *lane = enso_alloc_zero(1, sizeof(*lane));
    if (lane == NULL)
        return enso_error_no_memory(err, "a lane of the GPU");
    lane->lt = lt;
    int status = enso__cublaslt_descriptors_init(&lane->descriptors, &lt->library);
    int st = status == ENSO__LT_SUCCESS
                 ? ENSO_OK
                 : enso__cublaslt_failed(lt, status, "a lane of the GPU", err);
    if (st == ENSO_OK)
        st = enso__cuda_alloc_for_lane(lt->device, enso__cublaslt_workspace_bytes(lt->device),
                                       &lane->workspace, err);
    if (st != ENSO_OK) {
        enso__cublaslt_lane_close(lane);
        return st;
    }
    *ret = lane;
    return ENSO_OK;
}

void enso__cublaslt_lane_close(struct enso__cublaslt_lane *lane)
{
    if (lane == NULL)
        return;
    enso__cuda_free(lane->lt->device, lane->workspace);
    enso__cublaslt_descriptors_done(&lane->descriptors);
    enso_free(lane);
}
