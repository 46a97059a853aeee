/* SPDX-License-Identifier: Apache-2.0
 *
 * Products by cuBLASLt: see cublaslt.h. The library thinks in columns, so a row-major matrix is to
 * it the transposed one, and what we ask for is Yᵀ = op(Wᵀ) · op(Xᵀ): its A is our W, its B our X,
 * its rows are our n and its columns our m. A bias has an entry for each of its rows, as ours for
 * each column.
 *
 * Descriptors are set anew before each use, about twenty calls of the library of some 20 ns each:
 * beside its own several microseconds for a launch that is little, and nothing has to be kept for
 * each product, lane and number of rows.
 */
#include "ensod_build.h"

#include "kernels/cuda/cublaslt.h"

#include <stdio.h>
#include <string.h>

#include "kernels/cuda/module.h"

#define MAX_CANDIDATES 64  /* files that are looked at */
#define ALGORITHMS 8       /* that the heuristic is asked for, when the first may not do */
#define ALIGNMENT 16       /* of operands, in bytes: the widest load of a thread */
#define INVARIANT_ROWS 512 /* for which an invariant product's algorithm is looked for */

/* The emulation has a library of its own, which only a test names. */
#ifdef ENSO_EMULATED
#define IS_LOOKED_FOR 0
#else
#define IS_LOOKED_FOR 1
#endif

struct descriptors {
    const struct enso__cublaslt_library *library;
    struct enso__lt_desc *desc;
    struct enso__lt_layout *x, *w, *residual, *y;
};

struct enso__cublaslt {
    struct enso_device *device;
    struct enso__cublaslt_library library;
    struct enso__lt_handle *handle;
    char name[32];
    pthread_mutex_t mutex; /* guards all below */
    struct descriptors descriptors;
    struct enso__lt_preference *preference;
    struct enso__cublaslt_choice *choices;
    struct enso__algorithms timed;
    char title[200], state_dir[512]; /* of the table; state_dir "": it is not kept */
};

struct enso__cublaslt_lane {
    struct enso__cublaslt *lt;
    struct descriptors descriptors;
    void *workspace;
};

enum origin { ORIGIN_OWN, ORIGIN_HEURISTIC, ORIGIN_TIMED };

struct plan {
    enum origin origin;
    struct enso__lt_algorithm algorithm; /* unless it is ORIGIN_OWN */
};

struct enso__cublaslt_choice {
    struct enso__cublaslt_product product;
    struct plan plans[ENSO__CUBLASLT_BUCKETS];
    struct enso__cublaslt_choice *next;
};

/* ---- buckets ---- */

size_t enso__cublaslt_bucket_rows(size_t bucket)
{
    return (size_t)(bucket % 2 == 0 ? 16 : 24) << bucket / 2;
}

size_t enso__cublaslt_bucket(size_t m)
{
    size_t bucket = 0;

    while (bucket + 1 < ENSO__CUBLASLT_BUCKETS && enso__cublaslt_bucket_rows(bucket) < m)
        bucket++;
    return bucket;
}

/* ---- descriptors ---- */

static void descriptors_done(struct descriptors *d)
{
    const struct enso__cublaslt_library *l = d->library;

    /* what cannot be destroyed is lost, and nothing else can be done about it */
    if (d->desc != NULL)
        (void)l->MatmulDescDestroy(d->desc);
    if (d->x != NULL)
        (void)l->MatrixLayoutDestroy(d->x);
    if (d->w != NULL)
        (void)l->MatrixLayoutDestroy(d->w);
    if (d->residual != NULL)
        (void)l->MatrixLayoutDestroy(d->residual);
    if (d->y != NULL)
        (void)l->MatrixLayoutDestroy(d->y);
    *d = (struct descriptors){.library = l};
}

static int descriptors_init(struct descriptors *d, const struct enso__cublaslt_library *l)
{
    struct enso__lt_layout **const layouts[] = {&d->x, &d->w, &d->residual, &d->y};
    int status;

    *d = (struct descriptors){.library = l};
    status = l->MatmulDescCreate(&d->desc, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F);
    for (size_t i = 0; status == ENSO__LT_SUCCESS && i < ENSO_ARRAY_SIZE(layouts); i++)
        status = l->MatrixLayoutCreate(layouts[i], ENSO__LT_R_32F, 16, 16, 16);
    return status;
}

static int data_type(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F16    ? ENSO__LT_R_16F
           : dtype == ENSO_DTYPE_BF16 ? ENSO__LT_R_16BF
                                      : ENSO__LT_R_32F;
}

static uint32_t epilogue_value(unsigned epilogue)
{
    uint32_t bias = (epilogue & ENSO__CUBLASLT_BIAS) != 0 ? ENSO__LT_EPILOGUE_BIAS : 0;

    if ((epilogue & ENSO__CUBLASLT_RELU) != 0)
        return bias | ENSO__LT_EPILOGUE_RELU;
    if ((epilogue & ENSO__CUBLASLT_GELU_TANH) != 0)
        return bias | ENSO__LT_EPILOGUE_GELU;
    return bias != 0 ? bias : ENSO__LT_EPILOGUE_DEFAULT;
}

/* The stored matrix [rows, columns] of ours, which the library sees as its transposed one. */
static int set_layout(const struct enso__cublaslt_library *l, struct enso__lt_layout *layout,
                      int type, size_t rows, size_t columns, size_t ld)
{
    const uint32_t type_value = (uint32_t)type;
    const uint64_t rows_value = columns, columns_value = rows;
    const int64_t ld_value = (int64_t)ld;
    int status =
        l->MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_TYPE, &type_value, sizeof(type_value));

    if (status == ENSO__LT_SUCCESS)
        status = l->MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_ROWS, &rows_value,
                                             sizeof(rows_value));
    if (status == ENSO__LT_SUCCESS)
        status = l->MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_COLS, &columns_value,
                                             sizeof(columns_value));
    if (status == ENSO__LT_SUCCESS)
        status =
            l->MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_LD, &ld_value, sizeof(ld_value));
    return status;
}

static int set_desc(const struct descriptors *d, const struct enso__cublaslt_product *p,
                    const void *bias)
{
    const struct {
        int32_t w, x, bias;
        uint32_t epilogue;
    } v = {p->w_transposed ? ENSO__LT_OP_T : ENSO__LT_OP_N,
           p->x_transposed ? ENSO__LT_OP_T : ENSO__LT_OP_N, data_type(p->out_dtype),
           epilogue_value(p->epilogue)};
    const struct {
        int attribute;
        const void *value;
        size_t size_bytes;
    } rows[] = {
        {ENSO__LT_DESC_TRANSA, &v.w, sizeof(v.w)},
        {ENSO__LT_DESC_TRANSB, &v.x, sizeof(v.x)},
        {ENSO__LT_DESC_EPILOGUE, &v.epilogue, sizeof(v.epilogue)},
        {ENSO__LT_DESC_BIAS_DATA_TYPE, &v.bias, sizeof(v.bias)},
        {ENSO__LT_DESC_BIAS_POINTER, &bias, sizeof(bias)},
    };
    int status = ENSO__LT_SUCCESS;

    for (size_t i = 0; status == ENSO__LT_SUCCESS && i < ENSO_ARRAY_SIZE(rows); i++)
        status = d->library->MatmulDescSetAttribute(d->desc, rows[i].attribute, rows[i].value,
                                                    rows[i].size_bytes);
    return status;
}

static int set_descriptors(const struct descriptors *d, const struct enso__cublaslt_product *p,
                           size_t m, const void *bias)
{
    const struct enso__cublaslt_library *l = d->library;
    int type = data_type(p->dtype), out_type = data_type(p->out_dtype);
    int status = set_desc(d, p, bias);

    if (status == ENSO__LT_SUCCESS)
        status = set_layout(l, d->w, type, p->w_transposed ? p->n : p->k,
                            p->w_transposed ? p->k : p->n, p->ld_w);
    if (status == ENSO__LT_SUCCESS)
        status = set_layout(l, d->x, type, p->x_transposed ? p->k : m, p->x_transposed ? m : p->k,
                            p->ld_x);
    if (status == ENSO__LT_SUCCESS)
        status =
            set_layout(l, d->residual, out_type, m, p->n, p->residual ? p->ld_residual : p->ld_y);
    if (status == ENSO__LT_SUCCESS)
        status = set_layout(l, d->y, out_type, m, p->n, p->ld_y);
    return status;
}

/* ---- opening ---- */

/* NVIDIA's advice for cuBLAS; with less the library only chooses among fewer algorithms. */
static size_t workspace_bytes(const struct enso_device *device)
{
    int major = device->architecture / 10;

    return (size_t)(major == 9 || major == 10 ? 32 : major == 12 ? 12 : 4) << 20;
}

static int make_preference(struct enso__cublaslt *lt)
{
    const struct enso__cublaslt_library *l = &lt->library;
    const uint64_t most_bytes = workspace_bytes(lt->device);
    const uint32_t alignment = ALIGNMENT;
    int status = l->MatmulPreferenceCreate(&lt->preference);

    if (status == ENSO__LT_SUCCESS)
        status = l->MatmulPreferenceSetAttribute(lt->preference, ENSO__LT_PREF_MAX_WORKSPACE_BYTES,
                                                 &most_bytes, sizeof(most_bytes));
    for (int i = 0; status == ENSO__LT_SUCCESS && i < 4; i++)
        status = l->MatmulPreferenceSetAttribute(
            lt->preference, ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES + i, &alignment, sizeof(alignment));
    return status;
}

/* What a call of the library that failed means for the device. */
static int failed(const struct enso__cublaslt *lt, int status, const char *what,
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
            status = descriptors_init(&lt->descriptors, &lt->library);
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
    while (lt->choices != NULL) {
        struct enso__cublaslt_choice *next = lt->choices->next;

        enso_free(lt->choices);
        lt->choices = next;
    }
    enso__algorithms_done(&lt->timed);
    descriptors_done(&lt->descriptors);
    if (lt->preference != NULL)
        (void)lt->library.MatmulPreferenceDestroy(lt->preference);
    if (lt->handle != NULL) {
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

size_t enso__cublaslt_version(const struct enso__cublaslt *lt)
{
    return lt != NULL ? lt->library.version : 0;
}

const char *enso__cublaslt_path(const struct enso__cublaslt *lt)
{
    return lt != NULL ? lt->library.path : "";
}

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
    int status = descriptors_init(&lane->descriptors, &lt->library);
    int st = status == ENSO__LT_SUCCESS ? ENSO_OK : failed(lt, status, "a lane of the GPU", err);
    if (st == ENSO_OK)
        st = enso__cuda_alloc(lt->device, workspace_bytes(lt->device),
                              "the workspace of a lane's products", &lane->workspace, err);
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
    descriptors_done(&lane->descriptors);
    enso_free(lane);
}

/* ---- choosing ---- */

/* The types and shapes that the library is asked for at all. */
static bool is_possible(const struct enso__cublaslt *lt, const struct enso__cublaslt_product *p)
{
    if (p->dtype != ENSO_DTYPE_F32 && p->dtype != ENSO_DTYPE_F16 &&
        (p->dtype != ENSO_DTYPE_BF16 || lt->device->architecture < 80))
        return false;
    if (p->out_dtype != p->dtype && p->out_dtype != ENSO_DTYPE_F32)
        return false;
    if (p->out_dtype == ENSO_DTYPE_F32 && (p->epilogue & ENSO__CUBLASLT_GELU_TANH) != 0)
        return false;
    return p->n != 0 && p->k != 0;
}

/* Descriptors for choosing. The library looks at a bias's address for its alignment alone. */
static int describe(struct enso__cublaslt *lt, const struct enso__cublaslt_product *p, size_t m)
{
    const void *bias = (p->epilogue & ENSO__CUBLASLT_BIAS) != 0 ? (const void *)256 : NULL;

    return set_descriptors(&lt->descriptors, p, m, bias);
}

/* The heuristic's answers for m rows, the first believed to be the fastest; how many. */
static size_t ask(struct enso__cublaslt *lt, const struct enso__cublaslt_product *p, size_t m,
                  struct enso__lt_answer *answers, size_t most)
{
    const struct descriptors *d = &lt->descriptors;
    const uint32_t schemes = p->invariant ? 0 : 7;
    int n = 0, status = describe(lt, p, m);

    if (status == ENSO__LT_SUCCESS)
        status = lt->library.MatmulPreferenceSetAttribute(
            lt->preference, ENSO__LT_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof(schemes));
    if (status == ENSO__LT_SUCCESS)
        status = lt->library.MatmulAlgoGetHeuristic(lt->handle, d->desc, d->w, d->x, d->residual,
                                                    d->y, lt->preference, (int)most, answers, &n);
    if (status != ENSO__LT_SUCCESS || n < 0) {
        (void)cudaGetLastError(); /* our own kernels do it; a sticky error shows again */
        return 0;
    }
    size_t good = 0;

    for (size_t i = 0; i < (size_t)n && i < most; i++)
        if (answers[i].status == ENSO__LT_SUCCESS &&
            answers[i].workspace_bytes <= workspace_bytes(lt->device))
            answers[good++] = answers[i];
    return good;
}

/* Will the algorithm run for m rows? */
static bool is_able(struct enso__cublaslt *lt, const struct enso__cublaslt_product *p, size_t m,
                    const struct enso__lt_algorithm *algorithm)
{
    const struct descriptors *d = &lt->descriptors;
    struct enso__lt_answer answer = {.status = ENSO__LT_SUCCESS};

    if (describe(lt, p, m) != ENSO__LT_SUCCESS)
        return false;
    int status = lt->library.MatmulAlgoCheck(lt->handle, d->desc, d->w, d->x, d->residual, d->y,
                                             algorithm, &answer);
    return status == ENSO__LT_SUCCESS && answer.workspace_bytes <= workspace_bytes(lt->device);
}

/* Sums are not cut along k, so a row's bits do not depend on how many there are. */
static bool is_whole(const struct enso__cublaslt *lt, const struct enso__lt_algorithm *algorithm)
{
    int32_t n_splits = -1;
    uint32_t scheme = 1;
    size_t written = 0;

    return lt->library.MatmulAlgoConfigGetAttribute(algorithm, ENSO__LT_CONFIG_SPLITK_NUM,
                                                    &n_splits, sizeof(n_splits),
                                                    &written) == ENSO__LT_SUCCESS &&
           lt->library.MatmulAlgoConfigGetAttribute(algorithm, ENSO__LT_CONFIG_REDUCTION_SCHEME,
                                                    &scheme, sizeof(scheme),
                                                    &written) == ENSO__LT_SUCCESS &&
           (n_splits == 0 || n_splits == 1) && scheme == 0;
}

static void choose_invariant(struct enso__cublaslt *lt, struct enso__cublaslt_choice *c)
{
    struct enso__lt_answer answers[ALGORITHMS];
    size_t n = ask(lt, &c->product, INVARIANT_ROWS, answers, ALGORITHMS);

    for (size_t i = 0; i < n; i++) {
        bool able = is_whole(lt, &answers[i].algorithm) &&
                    is_able(lt, &c->product, 1, &answers[i].algorithm);

        for (size_t b = 0; able && b < ENSO__CUBLASLT_BUCKETS; b++)
            able = is_able(lt, &c->product, enso__cublaslt_bucket_rows(b), &answers[i].algorithm);
        if (!able)
            continue;
        for (size_t b = 0; b < ENSO__CUBLASLT_BUCKETS; b++)
            c->plans[b] = (struct plan){ORIGIN_HEURISTIC, answers[i].algorithm};
        return;
    }
}

/* Timed, or as the heuristic thinks. */
static struct plan plan_for(struct enso__cublaslt *lt, const struct enso__cublaslt_product *p,
                            size_t rows)
{
    const struct enso__algorithm *timed = enso__algorithms_find(&lt->timed, p, rows);
    struct enso__lt_answer answer;

    if (timed != NULL && timed->own)
        return (struct plan){.origin = ORIGIN_OWN};
    if (timed != NULL && is_able(lt, p, rows, &timed->algorithm))
        return (struct plan){ORIGIN_TIMED, timed->algorithm};
    if (ask(lt, p, rows, &answer, 1) == 1)
        return (struct plan){ORIGIN_HEURISTIC, answer.algorithm};
    return (struct plan){.origin = ORIGIN_OWN};
}

static void choose_fastest(struct enso__cublaslt *lt, struct enso__cublaslt_choice *c)
{
    for (size_t b = 0; b < ENSO__CUBLASLT_BUCKETS; b++)
        c->plans[b] = plan_for(lt, &c->product, enso__cublaslt_bucket_rows(b));
}

static struct enso__cublaslt_choice *find_choice(const struct enso__cublaslt *lt,
                                                 const struct enso__cublaslt_product *product)
{
    struct enso__cublaslt_choice *c = lt->choices;

    while (c != NULL && !enso__cublaslt_is_same(&c->product, product))
        c = c->next;
    return c;
}

int enso__cublaslt_choose(struct enso__cublaslt *lt, const struct enso__cublaslt_product *product,
                          const struct enso__cublaslt_choice **ret, struct enso_error *err)
{
    int st = ENSO_OK;

    *ret = NULL;
    if (lt == NULL || !is_possible(lt, product))
        return ENSO_OK;
    st = enso__cuda_enter(lt->device, err);
    if (st != ENSO_OK)
        return st;
    pthread_mutex_lock(&lt->mutex);
    struct enso__cublaslt_choice *c = find_choice(lt, product);
    if (c == NULL) {
        c = enso_alloc_zero(1, sizeof(*c)); /* every plan is ORIGIN_OWN */
        if (c != NULL) {
            c->product = *product;
            if (product->invariant)
                choose_invariant(lt, c);
            else
                choose_fastest(lt, c);
            c->next = lt->choices;
            lt->choices = c;
        } else {
            st = enso_error_no_memory(err, "a product's algorithms");
        }
    }
    *ret = c;
    pthread_mutex_unlock(&lt->mutex);
    return st;
}

void enso__cublaslt_count(struct enso__cublaslt *lt, struct enso__cublaslt_counts *ret)
{
    *ret = (struct enso__cublaslt_counts){0};
    if (lt == NULL)
        return;
    pthread_mutex_lock(&lt->mutex);
    for (const struct enso__cublaslt_choice *c = lt->choices; c != NULL; c = c->next)
        for (size_t b = 0; b < ENSO__CUBLASLT_BUCKETS; b++)
            switch (c->plans[b].origin) {
            case ORIGIN_OWN:
                ret->own++;
                break;
            case ORIGIN_HEURISTIC:
                ret->heuristic++;
                break;
            case ORIGIN_TIMED:
                ret->timed++;
                break;
            }
    pthread_mutex_unlock(&lt->mutex);
}

/* ---- running ---- */

static bool is_aligned(const void *memory)
{
    return (uintptr_t)memory % ALIGNMENT == 0;
}

bool enso__cublaslt_takes(const struct enso__cublaslt_choice *choice,
                          const struct enso__cublaslt_operands *o)
{
    return choice != NULL && choice->plans[enso__cublaslt_bucket(o->m)].origin != ORIGIN_OWN &&
           is_aligned(o->x) && is_aligned(o->w) && is_aligned(o->bias) && is_aligned(o->residual) &&
           is_aligned(o->y);
}

int enso__cublaslt_try(struct enso__cublaslt_lane *lane,
                       const struct enso__cublaslt_product *product,
                       const struct enso__lt_algorithm *algorithm,
                       const struct enso__cublaslt_operands *o, cudaStream_t stream,
                       struct enso_error *err)
{
    const struct enso__cublaslt *lt = lane->lt;
    const struct descriptors *d = &lane->descriptors;
    const float beta = product->residual ? o->beta : 0;
    const void *c = product->residual ? o->residual : o->y; /* not read for beta 0 */
    int status = set_descriptors(d, product, o->m, o->bias);

    if (status == ENSO__LT_SUCCESS)
        status = lt->library.Matmul(lt->handle, d->desc, &o->alpha, o->w, d->w, o->x, d->x, &beta,
                                    c, d->residual, o->y, d->y, algorithm, lane->workspace,
                                    workspace_bytes(lt->device), stream);
    return status == ENSO__LT_SUCCESS ? ENSO_OK : failed(lt, status, "a product", err);
}

int enso__cublaslt_run(struct enso__cublaslt_lane *lane, const struct enso__cublaslt_choice *choice,
                       const struct enso__cublaslt_operands *o, cudaStream_t stream,
                       struct enso_error *err)
{
    return enso__cublaslt_try(lane, &choice->product,
                              &choice->plans[enso__cublaslt_bucket(o->m)].algorithm, o, stream,
                              err);
}

/* ---- tuning ---- */

const struct enso__cublaslt_choice *enso__cublaslt_next(const struct enso__cublaslt *lt,
                                                        const struct enso__cublaslt_choice *choice)
{
    return choice == NULL ? lt->choices : choice->next;
}

const struct enso__cublaslt_product *
enso__cublaslt_product(const struct enso__cublaslt_choice *choice)
{
    return &choice->product;
}

size_t enso__cublaslt_algorithms(struct enso__cublaslt *lt,
                                 const struct enso__cublaslt_product *product, size_t rows,
                                 struct enso__lt_algorithm *ret, size_t most)
{
    struct enso__lt_answer answers[ALGORITHMS];

    pthread_mutex_lock(&lt->mutex);
    size_t n = ask(lt, product, rows, answers, ENSO_MIN(most, (size_t)ALGORITHMS));
    pthread_mutex_unlock(&lt->mutex);
    for (size_t i = 0; i < n; i++)
        ret[i] = answers[i].algorithm;
    return n;
}

int enso__cublaslt_keep(struct enso__cublaslt *lt, const struct enso__algorithms *timed,
                        struct enso_error *err)
{
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < timed->n; i++)
        st = enso__algorithms_put(&lt->timed, &timed->entries[i], err);
    if (st == ENSO_OK && lt->state_dir[0] != '\0')
        st = enso__algorithms_store(lt->state_dir, lt->title, &lt->timed, err);
    return st;
}
