/* SPDX-License-Identifier: Apache-2.0
 *
 * Products by cuBLASLt: see cublaslt.h. The library thinks in columns, so a row-major matrix is to
 * it the transposed one, and what we ask for is Yᵀ = op(Wᵀ) · op(Xᵀ): its A is our W, its B our X,
 * its rows are our n and its columns our m. A bias has an entry for each of its rows, as ours for
 * each column.
 *
 * Descriptors are set anew before each use: 21 calls of the library, 0.2 us together (13.1.0, a
 * shared AMD EPYC). Beside its own several microseconds for a launch that is little, and nothing
 * has to be kept for each product, lane and number of rows.
 */
#include "ensod_build.h"

#include "kernels/cuda/cublaslt_internal.h"

#define ALGORITHMS 8       /* that the heuristic is asked for, when the first may not do */
#define INVARIANT_ROWS 512 /* for which an invariant product's algorithm is looked for */

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

void enso__cublaslt_descriptors_done(struct enso__cublaslt_descriptors *d)
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
    *d = (struct enso__cublaslt_descriptors){.library = l};
}

int enso__cublaslt_descriptors_init(struct enso__cublaslt_descriptors *d,
                                    const struct enso__cublaslt_library *l)
{
    struct enso__lt_layout **const layouts[] = {&d->x, &d->w, &d->residual, &d->y};
    int status;

    *d = (struct enso__cublaslt_descriptors){.library = l};
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

static int set_desc(const struct enso__cublaslt_descriptors *d,
                    const struct enso__cublaslt_product *p, const void *bias)
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

static int set_descriptors(const struct enso__cublaslt_descriptors *d,
                           const struct enso__cublaslt_product *p, size_t m, const void *bias)
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
    const struct enso__cublaslt_descriptors *d = &lt->descriptors;
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
            answers[i].workspace_bytes <= enso__cublaslt_workspace_bytes(lt->device))
            answers[good++] = answers[i];
    return good;
}

/* Will the algorithm run for m rows? */
static bool is_able(struct enso__cublaslt *lt, const struct enso__cublaslt_product *p, size_t m,
                    const struct enso__lt_algorithm *algorithm)
{
    const struct enso__cublaslt_descriptors *d = &lt->descriptors;
    struct enso__lt_answer answer = {.status = ENSO__LT_SUCCESS};

    if (describe(lt, p, m) != ENSO__LT_SUCCESS)
        return false;
    int status = lt->library.MatmulAlgoCheck(lt->handle, d->desc, d->w, d->x, d->residual, d->y,
                                             algorithm, &answer);
    return status == ENSO__LT_SUCCESS &&
           answer.workspace_bytes <= enso__cublaslt_workspace_bytes(lt->device);
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
            for (size_t b = 0; b < ENSO__CUBLASLT_BUCKETS; b++)
                atomic_fetch_add_explicit(&lt->n_plans[c->plans[b].origin], 1,
                                          memory_order_relaxed);
            c->next = lt->choices;
            lt->choices = c;
        } else {
            st = enso_error_no_memory(err, "a product's algorithms");
        }
    } else {
        c->product.rows_per_item = ENSO_MAX(c->product.rows_per_item, product->rows_per_item);
    }
    *ret = c;
    pthread_mutex_unlock(&lt->mutex);
    return st;
}

void enso__cublaslt_forget(struct enso__cublaslt *lt)
{
    while (lt->choices != NULL) {
        struct enso__cublaslt_choice *next = lt->choices->next;

        enso_free(lt->choices);
        lt->choices = next;
    }
}

/* Without the mutex, which is held while the library is asked: a scrape waits for nobody. */
void enso__cublaslt_count(struct enso__cublaslt *lt, struct enso__cublaslt_counts *ret)
{
    *ret = (struct enso__cublaslt_counts){0};
    if (lt == NULL)
        return;
    ret->own = atomic_load_explicit(&lt->n_plans[ORIGIN_OWN], memory_order_relaxed);
    ret->heuristic = atomic_load_explicit(&lt->n_plans[ORIGIN_HEURISTIC], memory_order_relaxed);
    ret->timed = atomic_load_explicit(&lt->n_plans[ORIGIN_TIMED], memory_order_relaxed);
}

/* ---- running ---- */

static bool is_aligned(const void *memory)
{
    return (uintptr_t)memory % ENSO__CUBLASLT_ALIGNMENT == 0;
}

bool enso__cublaslt_takes(const struct enso__cublaslt_choice *choice,
                          const struct enso__cublaslt_operands *o)
{
    size_t bucket = enso__cublaslt_bucket(o->m);

    return choice != NULL && o->m <= enso__cublaslt_bucket_rows(bucket) &&
           choice->plans[bucket].origin != ORIGIN_OWN && is_aligned(o->x) && is_aligned(o->w) &&
           is_aligned(o->bias) && is_aligned(o->residual) && is_aligned(o->y);
}

/* A status of the library. */
static int multiply(struct enso__cublaslt_lane *lane, const struct enso__cublaslt_product *product,
                    const struct enso__lt_algorithm *algorithm,
                    const struct enso__cublaslt_operands *o, cudaStream_t stream)
{
    const struct enso__cublaslt *lt = lane->lt;
    const struct enso__cublaslt_descriptors *d = &lane->descriptors;
    const float beta = product->residual ? o->beta : 0;
    const void *c = product->residual ? o->residual : o->y; /* not read for beta 0 */
    int status = set_descriptors(d, product, o->m, o->bias);

    if (status == ENSO__LT_SUCCESS)
        status = lt->library.Matmul(lt->handle, d->desc, &o->alpha, o->w, d->w, o->x, d->x, &beta,
                                    c, d->residual, o->y, d->y, algorithm, lane->workspace,
                                    enso__cublaslt_workspace_bytes(lt->device), stream);
    return status;
}

int enso__cublaslt_try(struct enso__cublaslt_lane *lane,
                       const struct enso__cublaslt_product *product,
                       const struct enso__lt_algorithm *algorithm,
                       const struct enso__cublaslt_operands *o, cudaStream_t stream,
                       struct enso_error *err)
{
    int status = multiply(lane, product, algorithm, o, stream);

    return status == ENSO__LT_SUCCESS ? ENSO_OK
                                      : enso__cublaslt_failed(lane->lt, status, "a product", err);
}

int enso__cublaslt_run(struct enso__cublaslt_lane *lane, const struct enso__cublaslt_choice *choice,
                       const struct enso__cublaslt_operands *o, cudaStream_t stream,
                       struct enso_error *err)
{
    const struct enso__cublaslt_product *p = &choice->product;
    const struct enso__lt_algorithm *algorithm =
        &choice->plans[enso__cublaslt_bucket(o->m)].algorithm;
    int status = multiply(lane, p, algorithm, o, stream);

    if (status == ENSO__LT_SUCCESS)
        return ENSO_OK;
    if (p->invariant || (status != ENSO__LT_NOT_SUPPORTED && status != ENSO__LT_INVALID_VALUE))
        return enso__cublaslt_failed(lane->lt, status, "a product", err);
    (void)cudaGetLastError(); /* else the next failure would be told as this one */
    if (!atomic_exchange_explicit(&lane->lt->declined, true, memory_order_relaxed))
        enso_log(ENSO_LOG_WARNING, "cuBLASLt declined a product",
                 "rows=%zu columns=%zu depth=%zu says=%s our own kernels compute it", o->m, p->n,
                 p->k, lane->lt->library.GetStatusString(status));
    return enso_error_set(err, ENSO_UNSUPPORTED, "cuBLASLt does not take %zu rows", o->m);
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
    struct enso__algorithms stored;
    int st = ENSO_OK;

    /* another card of the same kind may have added to the file since it was read */
    if (lt->state_dir[0] != '\0' &&
        enso__algorithms_load(lt->state_dir, lt->title, &stored, NULL) == ENSO_OK) {
        enso__algorithms_done(&lt->timed);
        lt->timed = stored;
    }
    for (size_t i = 0; st == ENSO_OK && i < timed->n; i++)
        st = enso__algorithms_put(&lt->timed, &timed->entries[i], err);
    if (st == ENSO_OK && lt->state_dir[0] != '\0')
        st = enso__algorithms_store(lt->state_dir, lt->title, &lt->timed, err);
    return st;
}
