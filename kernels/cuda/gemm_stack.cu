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
 * eight halves (a sequence's length is any number) are read half by half, into registers, while
 * the step before them is multiplied.
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

/* N chunks of a tile on their way: in EVEN rows copied to shared memory by themselves, else half by
 * half through registers, where they are while the step before them is multiplied. */
template <bool EVEN, int N> struct chunks {
    uint16_t halves[EVEN ? 1 : N][ENSO_GEMM_CHUNK];

    /* Chunk i: its first `n` halves at `from`, zeros for the others. */
    __device__ __forceinline__ void read(int i, uint16_t *place, const uint16_t *from, uint32_t n)
    {
        if (EVEN) {
            enso_cp_async_16(place, from, n != 0);
        } else {
#pragma unroll
            for (uint32_t e = 0; e < ENSO_GEMM_CHUNK; e++)
                halves[i][e] = e < n ? from[e] : 0;
        }
    }

    __device__ __forceinline__ void put(int i, uint16_t *place) const
    {
        if (!EVEN) {
            uint32_t v[ENSO_GEMM_CHUNK];

#pragma unroll
            for (uint32_t e = 0; e < ENSO_GEMM_CHUNK; e++)
                v[e] = halves[i][e];
            enso_gemm_put(place, v);
        }
    }
};

/* What a thread brings of A: chunks of rows ROWS_AT_ONCE apart. */
template <bool EVEN> struct part_of_a {
    chunks<EVEN, shape::A_ROWS> c;
    const uint16_t *first; /* its chunk of its first row at k = 0 */
    uint32_t n_rows;       /* from the first one to the matrix' end */
    unsigned place;        /* in a stage */

    __device__ __forceinline__ void init(const struct enso_cuda_product &p, const uint16_t *a,
                                         size_t tile_row)
    {
        const unsigned chunk = threadIdx.x % ENSO_GEMM_CHUNKS, row = threadIdx.x / ENSO_GEMM_CHUNKS;
        const bool inside = tile_row + row < p.m;

        place = enso_gemm_place(row, chunk);
        n_rows = inside ? (uint32_t)(p.m - tile_row - row) : 0;
        first = a + (inside ? (tile_row + row) * p.a_row : 0);
    }

    /* k: of the step. */
    __device__ __forceinline__ void read(const struct enso_cuda_product &p, uint32_t k,
                                         uint16_t *stage)
    {
        const uint32_t at = k + threadIdx.x % ENSO_GEMM_CHUNKS * ENSO_GEMM_CHUNK;

#pragma unroll
        for (int i = 0; i < shape::A_ROWS; i++) {
            const uint32_t row = i * shape::ROWS_AT_ONCE;
            const bool inside = row < n_rows && at < p.k;

            c.read(i, stage + place + row * ENSO_GEMM_STEP,
                   first + (inside ? row * p.a_row + at : 0), inside ? (uint32_t)p.k - at : 0);
        }
    }

    __device__ __forceinline__ void put(uint16_t *stage) const
    {
#pragma unroll
        for (int i = 0; i < shape::A_ROWS; i++)
            c.put(i, stage + place + i * shape::ROWS_AT_ONCE * ENSO_GEMM_STEP);
    }
};

/* And of B, whose rows are the inner dimension: chunks of rows B_AT_ONCE apart. */
template <bool EVEN> struct part_of_b {
    chunks<EVEN, B_TIMES> c;
    const uint16_t *first; /* its columns of the first row */
    uint32_t n_columns;    /* from there to the row's end */
    unsigned place;

    __device__ __forceinline__ void init(const struct enso_cuda_product &p, const uint16_t *b,
                                         size_t tile_column)
    {
        const unsigned chunk = threadIdx.x % B_CHUNKS, row = threadIdx.x / B_CHUNKS;
        const size_t column = tile_column + chunk * ENSO_GEMM_CHUNK;
        const bool inside = column < p.n;

        place = shape::M * ENSO_GEMM_STEP + b_place(row, chunk);
        n_columns = inside ? (uint32_t)(p.n - column) : 0;
        first = b + (inside ? column : 0);
    }

    __device__ __forceinline__ void read(const struct enso_cuda_product &p, uint32_t k,
                                         uint16_t *stage)
    {
        const uint32_t at = k + threadIdx.x / B_CHUNKS;

#pragma unroll
        for (int i = 0; i < B_TIMES; i++) {
            const uint32_t row = at + i * B_AT_ONCE;
            const bool inside = row < p.k;

            c.read(i, stage + place + i * B_AT_ONCE * shape::N,
                   first + (inside ? row * p.b_row : 0), inside ? n_columns : 0);
        }
    }

    __device__ __forceinline__ void put(uint16_t *stage) const
    {
#pragma unroll
        for (int i = 0; i < B_TIMES; i++)
            c.put(i, stage + place + i * B_AT_ONCE * shape::N);
    }
};

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
    const uint32_t n_steps = ((uint32_t)p.k + ENSO_GEMM_STEP - 1) / ENSO_GEMM_STEP;
    part_of_a<A_EVEN> from_a;
    part_of_b<B_EVEN> from_b;
    float sums[shape::MMA_M][shape::MMA_N][4] = {};
    const auto stage_of = [&](uint32_t step) {
        return stages + step % shape::STAGES * shape::STAGE;
    };
    const auto read = [&](uint32_t step) {
        if (step < n_steps) {
            from_a.read(p, step * ENSO_GEMM_STEP, stage_of(step));
            from_b.read(p, step * ENSO_GEMM_STEP, stage_of(step));
        }
        enso_cp_async_commit();
    };
    const auto put = [&](uint32_t step) {
        if (step < n_steps) {
            from_a.put(stage_of(step));
            from_b.put(stage_of(step));
        }
    };

    from_a.init(p, a, row);
    from_b.init(p, b, column);
#pragma unroll
    for (uint32_t step = 0; step < shape::STAGES - 1; step++) {
        read(step);
        put(step);
    }
#pragma unroll 1
    for (uint32_t step = 0; step < n_steps; step++) {
        const uint16_t *stage = stage_of(step);

        enso_cp_async_wait<shape::STAGES - 2>();
        __syncthreads();
        read(step + shape::STAGES - 1);
        multiply<T>(stage, stage + shape::M * ENSO_GEMM_STEP, sums);
        put(step + shape::STAGES - 1);
    }
    enso_cp_async_wait<0>();
    __syncthreads(); /* stages become the warps' corners */
    enso_gemm_store<T, shape>(
        g, reinterpret_cast<float *>(stages) + warp * 16 * shape::RESULT_PITCH, sums,
        row + warp / shape::ACROSS * shape::WARP_M, column + warp % shape::ACROSS * shape::WARP_N);
}

/* Tiles along x, matrices along y; g: what is done to the sums. */
template <typename T, bool A_EVEN, bool B_EVEN>
static __global__ void __launch_bounds__(shape::THREADS, 3)
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
    const unsigned stack = enso_blocks(p->n_matrices, 1);
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
    return enso_launch(
        (gemm_stack<T, A_EVEN, B_EVEN>),
        dim3((unsigned)(down * across), stack < ENSO_MAX_STACK ? stack : ENSO_MAX_STACK),
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
