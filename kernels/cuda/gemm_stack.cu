/* SPDX-License-Identifier: Apache-2.0
 *
 * Stacks of products whose factors both come at run time, in half types on tensor cores: MatMul
 * between activations, as in the attention of an exported ONNX model. Tiles, sums and results are
 * those of gemm.cuh's medium shape, 64 x 64 by four warps; what differs is B, whose rows are the
 * inner dimension here: a stage holds [32][64] of it, and ldmatrix turns it around on its way.
 *
 * Rows of B in a stage are 128 bytes, eight chunks of 16. Chunk c of row r stands at place c ^ r %
 * 8: the eight rows of one phase of ldmatrix lie in different groups of four banks, and so do the
 * chunks that eight threads write.
 *
 * One shape: heads of 32 to 128 and sequences of hundreds make tiles enough by their number, and
 * what a single short text leaves empty costs less than the launch. Rows that are no multiple of
 * eight halves (a sequence's length is any number) are read half by half.
 *
 * Bits: a chain of mma over k = 0, 16, 32, ... from zero, as in gemm.cuh, whichever way its factors
 * were read. No timings yet: no card has been seen.
 */
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/stack.cuh"

typedef enso_gemm_medium shape;

#define B_CHUNKS (shape::N / ENSO_GEMM_CHUNK)
/* Rows of a tile of B that the threads fill at once, one chunk each, and how often they do. */
#define B_AT_ONCE (shape::THREADS / B_CHUNKS)
#define B_TIMES (ENSO_GEMM_STEP / B_AT_ONCE)

static_assert(B_AT_ONCE % 8 == 0, "a thread's rows have their chunk in one place");

/* Where chunk `chunk` of row `row` of a tile of B stands, in halves. */
static __device__ __forceinline__ unsigned b_place(unsigned row, unsigned chunk)
{
    return row * shape::N + (chunk ^ row % 8) * ENSO_GEMM_CHUNK;
}

/* A thread's chunks of a tile of A: rows of p.k halves, side by side, from its first one on. */
template <bool EVEN>
static __device__ __forceinline__ void load_a(const struct enso_cuda_product &p,
                                              const uint16_t *first, uint32_t n_rows, uint32_t k,
                                              uint16_t *place)
{
#pragma unroll
    for (uint32_t i = 0; i < shape::A_ROWS; i++) {
        const uint32_t row = i * shape::ROWS_AT_ONCE;
        const bool inside = row < n_rows;
        const uint16_t *from = first + (inside ? row * p.a_row + k : 0);
        uint16_t *to = place + row * ENSO_GEMM_STEP;

        if (EVEN) {
            const bool all = inside && k < p.k;

            enso_cp_async_16(to, all ? from : first, all);
        } else {
            uint32_t v[ENSO_GEMM_CHUNK];

#pragma unroll
            for (uint32_t e = 0; e < ENSO_GEMM_CHUNK; e++)
                v[e] = inside && k + e < p.k ? from[e] : 0;
            enso_gemm_put(to, v);
        }
    }
}

/* The same of B: rows k, k + B_AT_ONCE, ... and the columns from `column` on. */
template <bool EVEN>
static __device__ __forceinline__ void load_b(const struct enso_cuda_product &p, const uint16_t *b,
                                              size_t column, uint32_t k, uint16_t *place)
{
#pragma unroll
    for (uint32_t i = 0; i < B_TIMES; i++) {
        const uint32_t row = k + i * B_AT_ONCE;
        const bool inside = row < p.k && column < p.n;
        const uint16_t *from = b + (inside ? row * p.b_row + column : 0);
        uint16_t *to = place + i * B_AT_ONCE * shape::N;

        if (EVEN) {
            enso_cp_async_16(to, from, inside);
        } else {
            uint32_t v[ENSO_GEMM_CHUNK];

#pragma unroll
            for (uint32_t e = 0; e < ENSO_GEMM_CHUNK; e++)
                v[e] = inside && column + e < p.n ? from[e] : 0;
            enso_gemm_put(to, v);
        }
    }
}

/* sums += A · B of one stage, for this warp's part. */
template <typename T>
static __device__ __forceinline__ void multiply(const uint16_t *a, const uint16_t *b,
                                                float (&sums)[shape::MMA_M][shape::MMA_N][4])
{
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned a_row = warp / shape::ACROSS * shape::WARP_M + lane % 16;
    const unsigned b_chunk =
        warp % shape::ACROSS * (shape::WARP_N / ENSO_GEMM_CHUNK) + lane / 16; /* of two times 8 */

#pragma unroll
    for (unsigned k = 0; k < ENSO_GEMM_STEP / 16; k++) {
        uint32_t from_a[shape::MMA_M][4], from_b[shape::MMA_N / 2][4];

#pragma unroll
        for (int i = 0; i < shape::MMA_M; i++)
            enso_ldmatrix_x4(from_a[i], a + enso_gemm_place(a_row + i * 16, 2 * k + lane / 16));
#pragma unroll
        for (int j = 0; j < shape::MMA_N / 2; j++)
            enso_ldmatrix_x4_trans(from_b[j], b + b_place(k * 16 + lane % 16, b_chunk + j * 2));
#pragma unroll
        for (int i = 0; i < shape::MMA_M; i++)
#pragma unroll
            for (int j = 0; j < shape::MMA_N; j++)
                enso_mma<T>(sums[i][j], from_a[i], from_b[j / 2][j % 2 * 2],
                            from_b[j / 2][j % 2 * 2 + 1]);
    }
}

/* The tile of Y at row and column; a, b: the factors' matrices. */
template <typename T, bool A_EVEN, bool B_EVEN>
static __device__ __forceinline__ void
one_tile(const struct enso_cuda_product &p, const struct enso_cuda_gemm &g, const uint16_t *a,
         const uint16_t *b, size_t row, size_t column, uint16_t *stages)
{
    const unsigned warp = threadIdx.x / 32;
    const unsigned a_row = threadIdx.x / ENSO_GEMM_CHUNKS, a_chunk = threadIdx.x % ENSO_GEMM_CHUNKS;
    const unsigned b_row = threadIdx.x / B_CHUNKS, b_chunk = threadIdx.x % B_CHUNKS;
    const bool busy = row + a_row < p.m;
    const uint16_t *from_a = a + (busy ? (row + a_row) * p.a_row : 0);
    const uint32_t n_rows = busy ? min((uint32_t)(p.m - row - a_row), (uint32_t)shape::M) : 0;
    const uint32_t n_steps = ((uint32_t)p.k + ENSO_GEMM_STEP - 1) / ENSO_GEMM_STEP;
    float sums[shape::MMA_M][shape::MMA_N][4] = {};
    const auto fetch = [&](uint32_t step) {
        uint16_t *stage = stages + step % shape::STAGES * shape::STAGE;
        const uint32_t k = step * ENSO_GEMM_STEP;

        if (step < n_steps) {
            load_a<A_EVEN>(p, from_a, n_rows, k + a_chunk * ENSO_GEMM_CHUNK,
                           stage + enso_gemm_place(a_row, a_chunk));
            load_b<B_EVEN>(p, b, column + b_chunk * ENSO_GEMM_CHUNK, k + b_row,
                           stage + shape::M * ENSO_GEMM_STEP + b_place(b_row, b_chunk));
        }
        enso_cp_async_commit();
    };

#pragma unroll
    for (uint32_t step = 0; step < shape::STAGES - 1; step++)
        fetch(step);
#pragma unroll 1
    for (uint32_t step = 0; step < n_steps; step++) {
        const uint16_t *stage = stages + step % shape::STAGES * shape::STAGE;

        enso_cp_async_wait<shape::STAGES - 2>();
        __syncthreads();
        fetch(step + shape::STAGES - 1);
        multiply<T>(stage, stage + shape::M * ENSO_GEMM_STEP, sums);
    }
    enso_cp_async_wait<0>();
    __syncthreads(); /* stages become the warps' corners */
    enso_gemm_store<T, shape>(
        g, reinterpret_cast<float *>(stages) + warp * 16 * shape::RESULT_PITCH, sums,
        row + warp / shape::ACROSS * shape::WARP_M, column + warp % shape::ACROSS * shape::WARP_N);
}

/* Tiles along x, matrices along y; g: what is done to the sums. */
template <typename T, bool A_EVEN, bool B_EVEN>
static __global__ void __launch_bounds__(shape::THREADS, 4)
    gemm_stack(const struct enso_cuda_product p, struct enso_cuda_gemm g, uint32_t tiles_across)
{
    ENSO_SHARED_DYNAMIC(uint16_t, stages);
    const uint32_t down = blockIdx.x / tiles_across, across = blockIdx.x - down * tiles_across;
    const size_t row = (size_t)down * shape::M, column = (size_t)across * shape::N;

    for (size_t matrix = blockIdx.y; matrix < p.n_matrices; matrix += gridDim.y) {
        const size_t a = enso_stack_offset(p, p.a_strides, (uint32_t)matrix);
        const size_t b = enso_stack_offset(p, p.b_strides, (uint32_t)matrix);

        g.y = static_cast<T *>(p.y) + matrix * p.m * p.n;
        one_tile<T, A_EVEN, B_EVEN>(p, g, static_cast<const uint16_t *>(p.a) + a,
                                    static_cast<const uint16_t *>(p.b) + b, row, column, stages);
        __syncthreads(); /* before the next matrix' factors come */
    }
}

extern "C" bool enso_cuda_is_stack(const struct enso_cuda_product *p)
{
    return (p->dtype == ENSO_DTYPE_F16 || p->dtype == ENSO_DTYPE_BF16) &&
           p->out_dtype == p->dtype && p->a_column == 1 && p->b_column == 1 && p->bias == NULL &&
           p->residual == NULL && p->m < INT32_MAX && p->n < INT32_MAX && p->k < (size_t)1 << 30;
}

/* Every row of every matrix of a stack can be copied in chunks. */
static bool is_even(const struct enso_cuda_product *p, const void *x, size_t columns, size_t stride,
                    const uint64_t *strides)
{
    bool even =
        columns % ENSO_GEMM_CHUNK == 0 && stride % ENSO_GEMM_CHUNK == 0 && enso_aligned_vector(x);

    for (uint32_t d = 0; d < p->rank; d++)
        even = even && strides[d] % ENSO_GEMM_CHUNK == 0;
    return even;
}

template <typename T, bool A_EVEN, bool B_EVEN>
static int launch_even(const struct enso_cuda_product *p, cudaStream_t stream)
{
    const size_t down = enso_gemm_tiles(p->m, shape::M), across = enso_gemm_tiles(p->n, shape::N);
    const unsigned stack =
        p->n_matrices < ENSO_MAX_STACK ? (unsigned)p->n_matrices : ENSO_MAX_STACK;
    struct enso_cuda_gemm g = {};

    g.dtype = p->dtype;
    g.out_dtype = p->out_dtype;
    g.m = p->m;
    g.k = p->k;
    g.n = p->n;
    g.alpha = p->alpha;
    g.activation = p->activation;
    if (down * across > INT32_MAX || p->n_matrices > UINT32_MAX)
        return cudaErrorInvalidValue;
    return enso_launch((gemm_stack<T, A_EVEN, B_EVEN>), dim3((unsigned)(down * across), stack),
                       dim3(shape::THREADS), shape::BYTES, stream, *p, g, (uint32_t)across);
}

template <typename T> static int launch(const struct enso_cuda_product *p, cudaStream_t stream)
{
    const bool a_even = is_even(p, p->a, p->k, p->a_row, p->a_strides);
    const bool b_even = is_even(p, p->b, p->n, p->b_row, p->b_strides);

    if (a_even)
        return b_even ? launch_even<T, true, true>(p, stream)
                      : launch_even<T, true, false>(p, stream);
    return b_even ? launch_even<T, false, true>(p, stream)
                  : launch_even<T, false, false>(p, stream);
}

extern "C" int enso_cuda_gemm_stack(const struct enso_cuda_product *p, cudaStream_t stream)
{
    if (p->m == 0 || p->n == 0 || p->n_matrices == 0)
        return cudaSuccess;
    if (!enso_cuda_is_stack(p))
        return cudaErrorInvalidValue;
    return p->dtype == ENSO_DTYPE_F16 ? launch<__half>(p, stream)
                                      : launch<__nv_bfloat16>(p, stream);
}
