/* SPDX-License-Identifier: Apache-2.0
 *
 * Our kernels that use shared memory or the fault word under ThreadSanitizer, where each CUDA
 * thread is a thread of its own that only barriers, warp functions and launches order: none may
 * race. Results are looked at elsewhere (tests/kernels with ENSO_TEST_BACKEND); here they only must
 * be numbers. A race ends the program, so it runs itself again for each of a few orders of threads.
 */
#include "kernels/cuda/launch_elements.h"
#include "kernels/cuda/launch_gemm.h"
#include "kernels/cuda/launch_network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

extern "C" const char *__tsan_default_options(void);
extern "C" const char *__tsan_default_options(void)
{
    return "exitcode=66:halt_on_error=1:report_bugs=1";
}

namespace
{

enum { FLOATS = 1 << 16, ROW = 1100, LONG_ROW = 8200, TOKENS = 75 };

struct bench {
    cudaStream_t stream;
    float *x, *y;
    uint16_t *halves; /* x as BF16; as F16 other numbers below 2 */
    int32_t *ids;     /* starts of four sequences, then wrong numbers of tokens */
    int *fault;
    float *parts;
};

template <class T> T *device_new(size_t n)
{
    void *memory = nullptr;

    if (cudaMalloc(&memory, n * sizeof(T)) != cudaSuccess)
        exit(3);
    return static_cast<T *>(memory);
}

void raise_bench(bench *b)
{
    static float x[FLOATS];
    static uint16_t halves[FLOATS];
    const int32_t ids[8] = {0, 5, 5, 70, TOKENS, -1, 900, 1};

    for (unsigned i = 0; i < FLOATS; i++)
        x[i] = (float)(i * 2654435761u % 1000) / 1000 - 0.5f;
    for (unsigned i = 0; i < FLOATS; i++)
        memcpy(&halves[i], reinterpret_cast<const char *>(&x[i]) + 2, 2);
    if (cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking) != cudaSuccess)
        exit(3);
    b->x = device_new<float>(FLOATS);
    b->y = device_new<float>(FLOATS);
    b->halves = device_new<uint16_t>(FLOATS);
    b->ids = device_new<int32_t>(8);
    b->fault = device_new<int>(1);
    b->parts = device_new<float>(FLOATS);
    if (cudaMemcpyAsync(b->x, x, sizeof(x), cudaMemcpyHostToDevice, b->stream) != cudaSuccess ||
        cudaMemcpyAsync(b->halves, halves, sizeof(halves), cudaMemcpyHostToDevice, b->stream) !=
            cudaSuccess ||
        cudaMemcpyAsync(b->ids, ids, sizeof(ids), cudaMemcpyHostToDevice, b->stream) !=
            cudaSuccess ||
        cudaMemsetAsync(b->fault, 0, sizeof(int), b->stream) != cudaSuccess)
        exit(3);
}

/* The first n results are finite. */
void expect(const bench *b, int launched, size_t n, const char *what)
{
    static float y[FLOATS];

    if (launched != cudaSuccess ||
        cudaMemcpyAsync(y, b->y, n * sizeof(float), cudaMemcpyDeviceToHost, b->stream) !=
            cudaSuccess ||
        cudaStreamSynchronize(b->stream) != cudaSuccess) {
        fprintf(stderr, "%s: launch failed\n", what);
        exit(4);
    }
    for (size_t i = 0; i < n; i++)
        if (!isfinite(y[i])) {
            fprintf(stderr, "%s: element %zu is %g\n", what, i, (double)y[i]);
            exit(4);
        }
}

void run_rows(const bench *b)
{
    static const enum enso_op norms[] = {ENSO_OP_LAYER_NORM, ENSO_OP_RMS_NORM,
                                         ENSO_OP_L2_NORMALIZE};

    /* a warp's row, a block's, one that does not fit registers */
    for (size_t n : {(size_t)40, (size_t)ROW, (size_t)LONG_ROW}) {
        for (enum enso_op op : norms) {
            struct enso_cuda_row_norm norm = {};

            norm.op = op;
            norm.x = norm.gamma = norm.beta = b->x;
            norm.residual = b->x + 9000;
            norm.y = b->y;
            norm.epsilon = 1e-5f;
            norm.n_rows = 3;
            norm.n = n;
            expect(b, enso_cuda_row_norm(ENSO_DTYPE_F32, &norm, b->stream), 3 * n, "row_norm");
            /* any bits: results may be NaN */
            expect(b, enso_cuda_row_norm(ENSO_DTYPE_BF16, &norm, b->stream), 0, "row_norm");
        }
        expect(b, enso_cuda_softmax(ENSO_DTYPE_F32, false, true, b->x, b->y, 3, n, 1, b->stream),
               3 * n, "softmax");
        expect(b, enso_cuda_softmax(ENSO_DTYPE_F16, false, true, b->x, b->y, 3, n, 1, b->stream), 0,
               "softmax");
        expect(b,
               enso_cuda_instance_norm(ENSO_DTYPE_F32, b->x, b->x, b->x, 1e-5f, b->y, 2, 2, n,
                                       b->stream),
               4 * n, "instance_norm");
        struct enso_cuda_reduce r = {};

        r.op = ENSO_OP_REDUCE_LOG_SUM_EXP;
        r.dtype = ENSO_DTYPE_F32;
        r.n_kept = r.n_reduced = 1;
        r.kept_dims[0] = r.n_outputs = 3;
        r.kept_strides[0] = n;
        r.reduced_dims[0] = r.n = (uint32_t)n;
        r.reduced_strides[0] = 1;
        r.side_by_side = true;
        expect(b, enso_cuda_reduce(&r, b->x, b->y, b->stream), 3, "reduce");
    }
    for (size_t n : {(size_t)200, (size_t)ROW})
        expect(b,
               enso_cuda_arg(ENSO_DTYPE_F32, false, true, b->x, (int64_t *)(void *)b->y, 3, n, 1,
                             b->stream),
               0, "arg");
}

/* Rows of one piece and of many; halves have NaNs among them. */
void run_top_k(const bench *b)
{
    int64_t *places = device_new<int64_t>(3 * 300);

    for (size_t n : {(size_t)300, (size_t)ROW})
        for (size_t k : {(size_t)3, (size_t)300}) {
            expect(b,
                   enso_cuda_top_k(ENSO_DTYPE_F32, true, b->x, b->y, places, 3, n, 1, k, b->stream),
                   3 * k, "top_k");
            expect(
                b,
                enso_cuda_top_k(ENSO_DTYPE_I64, false, b->x, b->y, places, 1, n, 2, k, b->stream),
                0, "top_k");
        }
    cudaFree(places);
}

void run_products(const bench *b)
{
    struct enso_cuda_product p = {};

    p.a = b->x;
    p.b = p.residual = p.bias = b->x;
    p.y = b->y;
    p.m = 35;
    p.k = 37;
    p.n = 40;
    p.n_matrices = 2;
    p.a_row = p.k;
    p.b_column = p.k;
    p.a_column = p.b_row = p.residual_column = 1;
    p.residual_row = p.n;
    p.alpha = p.beta = 1;
    p.activation.kind = ENSO_ACTIVATION_GELU;
    p.rank = 1;
    p.dims[0] = 2;
    p.a_strides[0] = p.m * p.k;
    expect(b, enso_cuda_product(&p, b->stream), 2 * p.m * p.n, "product");
}

/* The first n results of a half type are finite. */
void expect_halves(const bench *b, enum enso_dtype dtype, int launched, size_t n, const char *what)
{
    static uint16_t y[FLOATS];
    const uint16_t exponent = dtype == ENSO_DTYPE_F16 ? 0x7c00 : 0x7f80;

    if (launched != cudaSuccess ||
        cudaMemcpyAsync(y, b->y, n * sizeof(*y), cudaMemcpyDeviceToHost, b->stream) !=
            cudaSuccess ||
        cudaStreamSynchronize(b->stream) != cudaSuccess) {
        fprintf(stderr, "%s: launch failed\n", what);
        exit(4);
    }
    for (size_t i = 0; i < n; i++)
        if ((y[i] & exponent) == exponent) {
            fprintf(stderr, "%s: element %zu is %04x\n", what, i, y[i]);
            exit(4);
        }
}

void run_attention(const bench *b)
{
    struct enso_cuda_attention a = {};
    unsigned blocks;

    a.starts = b->ids;
    a.y = b->y;
    a.n_tokens = TOKENS;
    a.n_sequences = 4;
    a.heads = 2;
    a.scale = 0.1f;
    a.fault = b->fault;
    for (bool causal : {false, true}) {
        a.causal = causal;
        a.dtype = ENSO_DTYPE_F32;
        a.qkv = b->x;
        for (size_t size : {(size_t)24, (size_t)70}) {
            a.size = size;
            expect(b, enso_cuda_attention(&a, b->stream), TOKENS * 2 * size, "attention");
        }
        a.size = 24;
        if (enso_cuda_tiled_prepare(a.dtype, a.size, &blocks) != cudaSuccess)
            exit(3);
        expect(b, enso_cuda_tiled_attention(&a, 3, b->stream), TOKENS * 2 * 24, "tiled_attention");
        a.qkv = b->halves;
        for (size_t size : {(size_t)32, (size_t)80, (size_t)128}) {
            a.dtype = size == 32 ? ENSO_DTYPE_F16 : ENSO_DTYPE_BF16;
            a.size = size;
            if (enso_cuda_flash_prepare(a.dtype, size, 80, &blocks) != cudaSuccess)
                exit(3);
            /* 3 blocks: each takes several tiles, one after the other */
            expect_halves(b, a.dtype, enso_cuda_flash_attention(&a, 3, b->stream),
                          TOKENS * 2 * size, "flash_attention");
        }
    }
}

/* Of nine indices some are out of range: all threads of their rows note it. */
void run_gather(const bench *b)
{
    const size_t n = 9, width = 20;

    expect(b,
           enso_cuda_gather(b->x, b->ids, false, b->y, 1, n, 2, width * sizeof(float), b->fault,
                            b->stream),
           n * width, "gather");
}

/* Enough tiles for the larger kernel, both ways to read B. */
void run_wide_product(const bench *b)
{
    struct enso_cuda_product p = {};

    p.a = p.b = b->x;
    p.y = b->y;
    p.m = 128 * 48 - 5;
    p.k = 36;
    p.n = 8;
    p.n_matrices = 1;
    p.a_row = 8; /* rows overlap: the bench is small */
    p.a_column = 1;
    p.alpha = 1;
    for (bool turned : {false, true}) {
        p.b_row = turned ? p.n : 1;
        p.b_column = turned ? 1 : p.k;
        if (!enso_cuda_is_wide(&p))
            exit(6);
        expect(b, enso_cuda_product(&p, b->stream), p.m * p.n, "product_wide");
    }
}

/* On tensor cores: rows in whole chunks and odd ones, several steps, an inner dimension in parts.
 */
void run_gemm(const bench *b)
{
    struct enso_cuda_gemm g = {};

    g.dtype = ENSO_DTYPE_BF16;
    g.out_dtype = ENSO_DTYPE_F32;
    g.a = g.residual = b->halves;
    g.weights = b->halves;
    g.bias = b->x;
    g.y = b->y;
    g.m = 70;
    g.n = 68;
    g.residual_row = g.n;
    g.residual_column = 1;
    g.alpha = g.beta = 1;
    g.activation.kind = ENSO_ACTIVATION_GELU;
    for (size_t k : {(size_t)136, (size_t)133}) {
        g.k = g.ld_a = k;
        expect(b, enso_cuda_gemm(&g, b->stream), g.m * g.n, "gemm");
    }
    for (size_t n_sequences : {(size_t)4, (size_t)7}) { /* the later starts are wrong */
        const struct enso_cuda_gemm_tokens rows = {b->ids, TOKENS, n_sequences == 4, b->fault};

        g.k = g.ld_a = 136;
        g.m = n_sequences;
        expect(b, enso_cuda_gemm_gather(&g, &rows, b->stream), g.m * g.n, "gemm_gather");
    }
    g.m = 3;
    g.k = g.ld_a = 4096;
    g.n = 12;
    g.residual = nullptr;
    g.partial = b->parts;
    expect(b, enso_cuda_gemm(&g, b->stream), g.m * g.n, "gemm in parts");
}

/* Stacked products of activations, read in chunks and half by half. */
void run_gemm_stack(const bench *b)
{
    struct enso_cuda_product p = {};

    p.dtype = p.out_dtype = ENSO_DTYPE_BF16;
    p.a = p.b = b->halves;
    p.y = b->y;
    p.m = 70;
    p.n_matrices = 5; /* by two blocks: one matrix after the other in the same stages */
    p.a_column = p.b_column = 1;
    p.alpha = 1;
    p.rank = 1;
    p.dims[0] = 5;
    setenv("ENSO_CUDA_EMULATED_BLOCKS", "2", 1);
    for (size_t k : {(size_t)136, (size_t)133})
        for (size_t n : {(size_t)64, (size_t)37}) {
            p.k = p.a_row = k;
            p.n = p.b_row = n;
            p.b_strides[0] = 8;
            expect_halves(b, p.dtype, enso_cuda_gemm_stack(&p, b->stream), p.n_matrices * p.m * p.n,
                          "gemm_stack");
        }
    unsetenv("ENSO_CUDA_EMULATED_BLOCKS");
}

struct enso_cuda_window window_3x3(int32_t side)
{
    struct enso_cuda_window w = {};

    for (int d = 0; d < 3; d++) {
        w.in[d] = w.out[d] = d == 0 ? 1 : side;
        w.kernel[d] = d == 0 ? 1 : 3;
        w.begin[d] = w.end[d] = d == 0 ? 0 : 1;
        w.strides[d] = w.dilations[d] = 1;
    }
    w.n_in = w.n_out = (uint32_t)(side * side);
    w.n_taps = 9;
    return w;
}

void run_convolutions(const bench *b)
{
    const struct enso_cuda_window w = window_3x3(9);

    for (size_t channels : {(size_t)16, (size_t)5}) {
        struct enso_cuda_gemm g = {};

        g.dtype = ENSO_DTYPE_F16;
        g.out_dtype = ENSO_DTYPE_F32;
        g.a = g.weights = b->halves;
        g.y = b->y;
        g.n = 24;
        g.m = w.n_out;
        g.k = channels * w.n_taps;
        g.alpha = 1;
        expect(b, enso_cuda_gemm_conv(&g, &w, channels, b->stream), g.m * g.n, "gemm_conv");
    }
}

void run_embedding(const bench *b)
{
    struct enso_cuda_embedding e = {};

    e.ids[0] = b->ids; /* three of them outside of the table */
    e.rows[0] = e.rows[1] = 80;
    e.gamma = e.beta = b->x;
    e.epsilon = 1e-5f;
    e.y = b->y;
    e.n_tokens = 8;
    e.fault = b->fault;
    for (size_t width : {(size_t)100, (size_t)264}) {
        e.width = width;
        e.dtype = ENSO_DTYPE_F32;
        e.tables[0] = e.tables[1] = b->x;
        expect(b, enso_cuda_embedding(&e, b->stream), 8 * width, "embedding");
        e.dtype = ENSO_DTYPE_BF16;
        e.tables[0] = e.tables[1] = b->halves;
        expect_halves(b, e.dtype, enso_cuda_embedding(&e, b->stream), 8 * width, "embedding");
    }
}

void run_pool(const bench *b)
{
    struct enso_cuda_sequence_pool p = {};

    p.y_dtype = ENSO_DTYPE_F32;
    p.starts = b->ids;
    p.y = b->y;
    p.n_tokens = TOKENS;
    p.n_sequences = 4;
    p.width = 70;
    p.fault = b->fault;
    for (enum enso_dtype dtype : {ENSO_DTYPE_F32, ENSO_DTYPE_BF16})
        for (enum enso_cuda_sequence_mode mode :
             {ENSO_CUDA_SEQUENCE_MEAN, ENSO_CUDA_SEQUENCE_LAST, ENSO_CUDA_SEQUENCE_MAX}) {
            p.mode = mode;
            p.dtype = dtype;
            p.x = dtype == ENSO_DTYPE_F32 ? static_cast<const void *>(b->x) : b->halves;
            expect(b, enso_cuda_sequence_pool(&p, b->stream), 4 * 70, "sequence_pool");
        }
    p.n_tokens = TOKENS - 1; /* less than starts say: noted by several threads */
    expect(b, enso_cuda_sequence_pool(&p, b->stream), 4 * 70, "sequence_pool");
}

/* Bytes through a table in shared memory: whole vectors, the last few, both element sizes. */
void run_pixels(const bench *b)
{
    const struct enso_pixels_shape shape = {2, 31, 33, 3, true, false, false};
    const size_t n = 2 * 31 * 33 * 3;

    expect(b, enso_cuda_pixels(ENSO_DTYPE_F32, b->halves, b->x, b->y, &shape, b->stream), n,
           "pixels");
    expect(b, enso_cuda_pixels(ENSO_DTYPE_F16, b->halves, b->x, b->y, &shape, b->stream), 0,
           "pixels");
}

} // namespace

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc == 2) {
        bench b;

        setenv("ENSO_CUDA_EMULATED_SEED", argv[1], 1);
        raise_bench(&b);
        run_rows(&b);
        run_top_k(&b);
        run_products(&b);
        run_attention(&b);
        run_embedding(&b);
        run_pool(&b);
        run_wide_product(&b);
        run_gemm(&b);
        run_gemm_stack(&b);
        run_gather(&b);
        run_convolutions(&b);
        run_pixels(&b);
        return 0;
    }
    for (const char *seed : {"1", "2", "3"}) {
        int status = 0;
        pid_t pid = fork();

        if (pid == 0) {
            execl(argv[0], argv[0], seed, static_cast<char *>(nullptr));
            _exit(5);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
            failed++;
            printf("kernels with seed %s: a race or a failure\n", seed);
        }
    }
    printf("%d%%: Checks: 3, Failures: %d, Errors: 0\n", 100 * (3 - failed) / 3, failed);
    return failed == 0 ? 0 : 1;
}
