/* SPDX-License-Identifier: Apache-2.0
 *
 * Tuning: for every product that the loaded models have, and every bucket of rows, the library's
 * algorithms and our own kernel are timed on the card, and the fastest goes into the table
 * (algorithms.h). For a device that does nothing else meanwhile: the calling thread has it to
 * itself. Operands are made up: random numbers, since a card that multiplies zeros draws less
 * power and runs faster than it will.
 */
#include "ensod_build.h"

#include <string.h>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/launch_gemm.h"
#include "kernels/cuda/launch_network.h"
#include "kernels/cuda/module.h"

#define ALGORITHMS 8
#define ROUNDS 3 /* the fastest of them counts */
#define REPEATS 10
#define NOISE_BYTES ((size_t)1 << 20)
#define MAX_OPERAND_BYTES ((size_t)1 << 30) /* of what has a row for each */

struct tuner {
    struct enso_device *device;
    struct enso_lane *lane; /* of our own */
    struct enso__cublaslt_lane *library;
    cudaEvent_t begin, end;
    const struct enso__cublaslt_product *product;
    struct enso__cublaslt_operands operands;
    void *memory[6]; /* x, w, bias of out_dtype, residual, y, split sums of our own kernel */
    float *own_bias;
};

/* ---- operands ---- */

static size_t element_bytes(enum enso_dtype dtype)
{
    return dtype == ENSO_DTYPE_F32 ? 4 : 2;
}

/* Numbers of about [-1, 1) over all of a piece of device memory. */
static int fill(struct tuner *t, void *memory, size_t size_bytes, enum enso_dtype dtype,
                struct enso_error *err)
{
    unsigned char *noise = enso_alloc(NOISE_BYTES);
    uint32_t state = 1;
    int st = ENSO_OK;

    if (noise == NULL)
        return enso_error_no_memory(err, "tuning");
    for (size_t at = 0; at < NOISE_BYTES; at += 4) {
        uint32_t r = state = state * 1664525u + 1013904223u;
        float f32 = (float)(int32_t)r * 0x1p-31f;
        /* sign and mantissa of chance, an exponent of 2^-2 and less */
        uint32_t half = dtype == ENSO_DTYPE_F16 ? 0x3400u : 0x3e80u;
        uint32_t mask = dtype == ENSO_DTYPE_F16 ? 0x83ffu : 0x807fu;
        uint32_t halves = ((r & mask) | half) | ((r >> 16 & mask) | half) << 16;

        memcpy(noise + at, dtype == ENSO_DTYPE_F32 ? (void *)&f32 : (void *)&halves, 4);
    }
    for (size_t at = 0; st == ENSO_OK && at < size_bytes; at += NOISE_BYTES)
        st = enso__cuda_upload(t->device, (char *)memory + at, noise,
                               ENSO_MIN(NOISE_BYTES, size_bytes - at), err);
    enso_free(noise);
    return st;
}

static void free_operands(struct tuner *t)
{
    /* an algorithm that failed may have left others on the stream, which still write */
    if (t->lane != NULL)
        (void)enso__cuda_lane_wait(t->lane, NULL);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(t->memory); i++) {
        enso__cuda_free(t->device, t->memory[i]);
        t->memory[i] = NULL;
    }
    enso__cuda_free(t->device, t->own_bias);
    t->own_bias = NULL;
}

/* Operands of the product for at most so many rows. */
static int make_operands(struct tuner *t, size_t rows, struct enso_error *err)
{
    const struct enso__cublaslt_product *p = t->product;
    size_t in = element_bytes(p->dtype), out = element_bytes(p->out_dtype);
    const struct {
        size_t size_bytes;
        enum enso_dtype dtype;
    } wanted[ENSO_ARRAY_SIZE(t->memory)] = {
        {(p->x_transposed ? p->k : rows) * p->ld_x * in, p->dtype},
        {(p->w_transposed ? p->n : p->k) * p->ld_w * in, p->dtype},
        {(p->epilogue & ENSO__CUBLASLT_BIAS) != 0 ? p->n * out : 0, p->out_dtype},
        {p->residual ? rows * p->ld_residual * out : 0, p->out_dtype},
        {rows * p->ld_y * out, p->out_dtype},
        {p->dtype == ENSO_DTYPE_F32 ? 0 : enso_cuda_gemm_workspace(rows, p->k, p->n),
         ENSO_DTYPE_F32}};
    int st = ENSO_OK;

    for (size_t i = 0; st == ENSO_OK && i < ENSO_ARRAY_SIZE(wanted); i++)
        if (wanted[i].size_bytes != 0) {
            st = enso__cuda_alloc(t->device, wanted[i].size_bytes, "tuning", &t->memory[i], err);
            if (st == ENSO_OK)
                st = fill(t, t->memory[i], wanted[i].size_bytes, wanted[i].dtype, err);
        }
    void *bias = NULL;
    if (st == ENSO_OK && t->memory[2] != NULL)
        st = enso__cuda_alloc(t->device, p->n * sizeof(float), "tuning", &bias, err);
    t->own_bias = bias;
    if (st == ENSO_OK && bias != NULL)
        st = fill(t, bias, p->n * sizeof(float), ENSO_DTYPE_F32, err);
    t->operands = (struct enso__cublaslt_operands){.x = t->memory[0],
                                                   .w = t->memory[1],
                                                   .bias = t->memory[2],
                                                   .residual = t->memory[3],
                                                   .y = t->memory[4],
                                                   .alpha = 1,
                                                   .beta = 1};
    return st;
}

/* ---- one product, once ---- */

static struct enso_activation_args activation(const struct enso__cublaslt_product *p)
{
    return (struct enso_activation_args){
        .kind = (p->epilogue & ENSO__CUBLASLT_RELU) != 0        ? ENSO_ACTIVATION_RELU
                : (p->epilogue & ENSO__CUBLASLT_GELU_TANH) != 0 ? ENSO_ACTIVATION_GELU_TANH
                                                                : ENSO_ACTIVATION_NONE};
}

static int launch_gemm(const struct tuner *t, cudaStream_t stream)
{
    const struct enso__cublaslt_product *p = t->product;
    const struct enso__cublaslt_operands *o = &t->operands;
    const struct enso_cuda_gemm g = {.dtype = p->dtype,
                                     .out_dtype = p->out_dtype,
                                     .a = o->x,
                                     .weights = o->w,
                                     .bias = t->own_bias,
                                     .residual = o->residual,
                                     .y = o->y,
                                     .m = o->m,
                                     .k = p->k,
                                     .n = p->n,
                                     .ld_a = p->ld_x,
                                     .residual_row = p->ld_residual,
                                     .residual_column = 1,
                                     .alpha = 1,
                                     .beta = 1,
                                     .activation = activation(p),
                                     .partial = t->memory[5]};

    return enso_cuda_gemm(&g, stream);
}

static int launch_plain(const struct tuner *t, cudaStream_t stream)
{
    const struct enso__cublaslt_product *p = t->product;
    const struct enso__cublaslt_operands *o = &t->operands;
    const struct enso_cuda_product g = {.dtype = p->dtype,
                                        .out_dtype = p->out_dtype,
                                        .a = o->x,
                                        .b = o->w,
                                        .bias = t->own_bias,
                                        .residual = o->residual,
                                        .y = o->y,
                                        .m = o->m,
                                        .k = p->k,
                                        .n = p->n,
                                        .n_matrices = 1,
                                        .a_row = p->x_transposed ? 1 : p->ld_x,
                                        .a_column = p->x_transposed ? p->ld_x : 1,
                                        .b_row = p->w_transposed ? 1 : p->ld_w,
                                        .b_column = p->w_transposed ? p->ld_w : 1,
                                        .residual_row = p->ld_residual,
                                        .residual_column = 1,
                                        .alpha = 1,
                                        .beta = 1,
                                        .activation = activation(p)};

    return enso_cuda_product(&g, stream);
}

/* By the algorithm, or by our own kernel when it is NULL. */
static int run_once(struct tuner *t, const struct enso__lt_algorithm *algorithm,
                    struct enso_error *err)
{
    const struct enso__cublaslt_product *p = t->product;
    cudaStream_t stream = enso__cuda_lane_stream(t->lane);

    if (algorithm != NULL)
        return enso__cublaslt_try(t->library, p, algorithm, &t->operands, stream, err);
    int code = p->dtype != ENSO_DTYPE_F32 && p->w_transposed && !p->x_transposed &&
                       p->ld_w == enso_gemm_depth(p->k) && t->device->architecture >= 80
                   ? launch_gemm(t, stream)
                   : launch_plain(t, stream);
    return code == cudaSuccess ? ENSO_OK
                               : enso__cuda_failed(t->device, code, "our own product", err);
}

/* Microseconds of one, the least of some rounds. */
static int time_one(struct tuner *t, const struct enso__lt_algorithm *algorithm, float *ret_us,
                    struct enso_error *err)
{
    cudaStream_t stream = enso__cuda_lane_stream(t->lane);
    int st = run_once(t, algorithm, err);

    for (int round = 0; st == ENSO_OK && round < ROUNDS; round++) {
        float ms = 0;
        int code = cudaEventRecord(t->begin, stream);

        for (int i = 0; st == ENSO_OK && i < REPEATS; i++)
            st = run_once(t, algorithm, err);
        if (code == cudaSuccess)
            code = cudaEventRecord(t->end, stream);
        if (code == cudaSuccess)
            code = cudaEventSynchronize(t->end);
        if (code == cudaSuccess)
            code = cudaEventElapsedTime(&ms, t->begin, t->end);
        if (code != cudaSuccess && st == ENSO_OK)
            st = enso__cuda_failed(t->device, code, "timing", err);
        float us = ms * 1e3f / REPEATS;
        *ret_us = round == 0 ? us : ENSO_MIN(*ret_us, us);
    }
    return st;
}

/* ---- all of them ---- */

/* The fastest for the product and so many rows. An algorithm that fails is none. */
static int tune_rows(struct tuner *t, size_t rows, struct enso__algorithm *ret,
                     struct enso_tuned *ret_tuned, struct enso_error *err)
{
    struct enso__lt_algorithm algorithms[ALGORITHMS];
    size_t n =
        enso__cublaslt_algorithms(t->device->cublaslt, t->product, rows, algorithms, ALGORITHMS);
    int st;

    t->operands.m = rows;
    *ret = (struct enso__algorithm){.product = *t->product, .rows = rows, .own = true};
    st = time_one(t, NULL, &ret->us, err);
    ret_tuned->own_us = ret->us;
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        float us = 0;

        if (time_one(t, &algorithms[i], &us, NULL) != ENSO_OK) {
            st = enso__cuda_enter(t->device, err); /* lost? */
            continue;
        }
        if (i == 0)
            ret_tuned->first_us = us;
        if (us < ret->us) {
            ret->us = us;
            ret->own = false;
            ret->algorithm = algorithms[i];
        }
    }
    ret_tuned->rows = rows;
    ret_tuned->best_us = ret->us;
    ret_tuned->own = ret->own;
    return st;
}

/* The bucket of the most rows that a batch has; beyond those of texts, of which there is room for
 * operands. */
static size_t last_bucket(const struct enso__cublaslt_product *p, const struct enso_tuning *how)
{
    size_t row = element_bytes(p->dtype) * p->ld_x +
                 element_bytes(p->out_dtype) * (p->ld_y + (p->residual ? p->ld_residual : 0));
    size_t rows, bucket;

    if (!enso_size_mul(how->max_items, p->rows_per_item, &rows))
        rows = SIZE_MAX;
    bucket = enso__cublaslt_bucket(ENSO_MAX(rows, how->max_tokens));
    while (bucket > enso__cublaslt_bucket(how->max_tokens) &&
           enso__cublaslt_bucket_rows(bucket) > MAX_OPERAND_BYTES / row)
        bucket--;
    return bucket;
}

/* Operands for the rows of a bucket, or of the largest for which the device has memory. */
static int make_most_operands(struct tuner *t, size_t *bucket, struct enso_error *err)
{
    for (;;) {
        int st = make_operands(t, enso__cublaslt_bucket_rows(*bucket), err);

        if (st != ENSO_NO_MEMORY || *bucket == 0)
            return st;
        free_operands(t);
        (*bucket)--;
    }
}

static int tune_product(struct tuner *t, const struct enso_tuning *how,
                        struct enso__algorithms *timed, struct enso_error *err)
{
    size_t last = last_bucket(t->product, how);
    int st = make_most_operands(t, &last, err);

    for (size_t b = 0; st == ENSO_OK && b <= last; b++) {
        struct enso__algorithm entry;
        struct enso_tuned tuned = {.n = t->product->n,
                                   .k = t->product->k,
                                   .dtype = t->product->dtype,
                                   .activation = activation(t->product).kind,
                                   .bias = (t->product->epilogue & ENSO__CUBLASLT_BIAS) != 0,
                                   .residual = t->product->residual};

        st = tune_rows(t, enso__cublaslt_bucket_rows(b), &entry, &tuned, err);
        if (st == ENSO_OK)
            st = enso__algorithms_put(timed, &entry, err);
        if (st == ENSO_OK)
            how->report(how->context, &tuned);
    }
    free_operands(t);
    return st;
}

static int tuner_init(struct tuner *t, struct enso_device *device, struct enso_error *err)
{
    *t = (struct tuner){.device = device};
    int st = enso__cuda_lane_open(device, &t->lane, err);
    if (st == ENSO_OK)
        st = enso__cublaslt_lane_open(device->cublaslt, &t->library, err);
    if (st != ENSO_OK)
        return st;
    int code = cudaEventCreateWithFlags(&t->begin, cudaEventDefault);
    if (code == cudaSuccess)
        code = cudaEventCreateWithFlags(&t->end, cudaEventBlockingSync);
    return code == cudaSuccess ? ENSO_OK : enso__cuda_failed(device, code, "tuning", err);
}

static void tuner_done(struct tuner *t)
{
    free_operands(t);
    if (t->begin != NULL)
        (void)cudaEventDestroy(t->begin);
    if (t->end != NULL)
        (void)cudaEventDestroy(t->end);
    enso__cublaslt_lane_close(t->library);
    enso__cuda_lane_close(t->lane);
}

int enso__cuda_tune(struct enso_device *device, const struct enso_tuning *how,
                    struct enso_error *err)
{
    const struct enso__cublaslt_choice *choice = NULL;
    struct enso__algorithms timed = {.n = 0};
    struct tuner t;

    if (device->cublaslt == NULL)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "there is nothing to tune: %s has no cuBLASLt, so all products run "
                              "on our own kernels; say where it is with cublaslt",
                              device->name);
    int st = tuner_init(&t, device, err);
    while (st == ENSO_OK && (choice = enso__cublaslt_next(device->cublaslt, choice)) != NULL) {
        t.product = enso__cublaslt_product(choice);
        if (!t.product->invariant)
            st = tune_product(&t, how, &timed, err);
    }
    if (st == ENSO_OK)
        st = enso__cublaslt_keep(device->cublaslt, &timed, err);
    tuner_done(&t);
    enso__algorithms_done(&timed);
    return st;
}
