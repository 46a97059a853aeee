/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products in F32 with tiles large enough to be worth a card's while: 128 x 64 for a block
 * of 128 threads, 8 x 8 for a thread (64 multiply-adds for four reads of 16 bytes), for products
 * whose rows are read 16 bytes at a time. All others, and small ones, stay with product.cu.
 *
 * The inner dimension goes by in steps of 16, in two buffers: while one is multiplied, the next
 * step's numbers are on their way into registers; one barrier a step. Both tiles stand as
 * [step][row] in shared memory, so that a thread reads four neighbours at once.
 *
 * Bits: those of product.cu, whose order of sums this keeps: in order over a step of 16, started at
 * zero, then step by step. So it does not matter for a row which of the two makes it. FP32
 * multiply-adds, no TF32.
 *
 * No timings yet: no card has been seen. Left out: 128 x 128 with 256 threads (with the sums of a
 * step beside the whole ones, registers leave one block to a multiprocessor).
 */
#include "kernels/cuda/activation.cuh"

#include "kernels/cuda/launch_gemm.h"

#define TILE_M 128
#define TILE_N 64
#define DEPTH 16
#define BLOCK 128
/* Threads over the tile, and how far apart a thread's two groups of four are. */
#define ACROSS 8
#define APART_M (TILE_M / 2)
#define APART_N (TILE_N / 2)
#define PITCH_A (TILE_M + 4)
#define PITCH_B (TILE_N + 4)
#define BUFFER (DEPTH * (PITCH_A + PITCH_B))
/* From so many tiles on. */
#define BUSY 48

static_assert(APART_M * TILE_N <= 2 * BUFFER, "half the results take the place of the buffers");

/* ROWS rows of DEPTH numbers on their way from memory to a tile: [first + i][k ..], rows `stride`
 * apart, or with TURNED [k + l][first ..], zeros past n and past k. */
template <int ROWS, bool TURNED> struct carried {
    static constexpr int EACH = ROWS * DEPTH / 4 / BLOCK; /* groups of four for a thread */
    float4 v[EACH];

    /* Which group `e` of a thread is: the row (or group of four rows) and the inner index. */
    static __device__ __forceinline__ unsigned row_of(int e)
    {
        const unsigned at = threadIdx.x + (unsigned)e * BLOCK;

        return TURNED ? at % (ROWS / 4) * 4 : at / (DEPTH / 4);
    }

    static __device__ __forceinline__ unsigned inner_of(int e)
    {
        const unsigned at = threadIdx.x + (unsigned)e * BLOCK;

        return TURNED ? at / (ROWS / 4) : at % (DEPTH / 4) * 4;
    }

    __device__ __forceinline__ void fetch(const float *x, size_t stride, size_t first, size_t n,
                                          size_t k, size_t depth)
    {
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            const size_t row = first + row_of(e), inner = k + inner_of(e);
            const bool inside = row < n && inner < depth;

            v[e] = inside ? *reinterpret_cast<const float4 *>(
                                x + (TURNED ? inner * stride + row : row * stride + inner))
                          : make_float4(0, 0, 0, 0);
        }
    }

    __device__ __forceinline__ void put(float *tile) const
    {
        constexpr unsigned PITCH = ROWS + 4;

#pragma unroll
        for (int e = 0; e < EACH; e++) {
            float *to = tile + inner_of(e) * PITCH + row_of(e);

            if (TURNED) {
                *reinterpret_cast<float4 *>(to) = v[e];
            } else {
                to[0] = v[e].x;
                to[PITCH] = v[e].y;
                to[2 * PITCH] = v[e].z;
                to[3 * PITCH] = v[e].w;
            }
        }
    }
};

/* Eight numbers: four at `from`, four `apart` behind it. */
static __device__ __forceinline__ void read_eight(const float *from, int apart, float (&v)[8])
{
    const float4 low = *reinterpret_cast<const float4 *>(from);
    const float4 high = *reinterpret_cast<const float4 *>(from + apart);

    v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
    v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

/* sums += the products of one step. */
static __device__ __forceinline__ void add_step(const float *a, const float *b, float (&sums)[8][8])
{
    float part[8][8] = {};

#pragma unroll
    for (int l = 0; l < DEPTH; l++) {
        float from_a[8], from_b[8];

        read_eight(a + l * PITCH_A, APART_M, from_a);
        read_eight(b + l * PITCH_B, APART_N, from_b);
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < 8; j++)
                part[i][j] = enso_fma(from_a[i], from_b[j], part[i][j]);
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            sums[i][j] += part[i][j];
}

/* Half of the tile's rows, all that is done to results: neighbouring threads, neighbouring columns.
 */
static __device__ void store_half(const struct enso_cuda_product &p, const float *results,
                                  size_t row, size_t column)
{
#pragma unroll 1
    for (unsigned e = threadIdx.x; e < APART_M * TILE_N; e += BLOCK) {
        const size_t r = row + e / TILE_N, c = column + e % TILE_N;

        if (r >= p.m || c >= p.n)
            continue;
        float v = p.alpha * results[e];

        if (p.bias != NULL)
            v += p.bias[c];
        if (p.residual != NULL)
            v += p.beta *
                 static_cast<const float *>(p.residual)[r * p.residual_row + c * p.residual_column];
        static_cast<float *>(p.y)[r * p.n + c] = enso_activate(v, p.activation);
    }
}

static __device__ __forceinline__ void store_all(const struct enso_cuda_product &p, float *results,
                                                 const float (&sums)[8][8], size_t row,
                                                 size_t column)
{
    const unsigned x = threadIdx.x % ACROSS * 4, y = threadIdx.x / ACROSS * 4;

#pragma unroll 1
    for (int half = 0; half < 2; half++) {
        __syncthreads(); /* the buffers, or the half before, have been read */
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i / 4 != half) /* so that sums stay in registers */
                continue;
#pragma unroll
            for (int j = 0; j < 8; j += 4)
                *reinterpret_cast<float4 *>(results + (y + i % 4) * TILE_N + x + j / 4 * APART_N) =
                    make_float4(sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]);
        }
        __syncthreads();
        store_half(p, results, row + half * APART_M, column);
    }
}

/* B_TURNED: B is given as [k, n]. */
template <bool B_TURNED>
static __global__ void __launch_bounds__(BLOCK, 2)
    product_wide(const struct enso_cuda_product p, uint32_t tiles_across)
{
    ENSO_SHARED(float4, shared, 2 * BUFFER / 4);
    float *const buffers = reinterpret_cast<float *>(shared);
    const uint32_t down = blockIdx.x / tiles_across, across = blockIdx.x - down * tiles_across;
    const size_t row = (size_t)down * TILE_M, column = (size_t)across * TILE_N;
    const float *a = static_cast<const float *>(p.a), *b = static_cast<const float *>(p.b);
    const size_t b_stride = B_TURNED ? p.b_row : p.b_column;
    const unsigned x = threadIdx.x % ACROSS * 4, y = threadIdx.x / ACROSS * 4;
    carried<TILE_M, false> from_a;
    carried<TILE_N, B_TURNED> from_b;
    float sums[8][8] = {};
    unsigned turn = 0;

    from_a.fetch(a, p.a_row, row, p.m, 0, p.k);
    from_b.fetch(b, b_stride, column, p.n, 0, p.k);
#pragma unroll 1
    for (size_t k = 0; k < p.k; k += DEPTH, turn ^= 1) {
        float *buffer = buffers + turn * BUFFER;

        from_a.put(buffer);
        from_b.put(buffer + DEPTH * PITCH_A);
        __syncthreads();
        from_a.fetch(a, p.a_row, row, p.m, k + DEPTH, p.k);
        from_b.fetch(b, b_stride, column, p.n, k + DEPTH, p.k);
        add_step(buffer + y, buffer + DEPTH * PITCH_A + x, sums);
    }
    store_all(p, buffers, sums, row, column);
}

static size_t tiles_of(size_t n, size_t tile)
{
    return n / tile + (n % tile != 0);
}

static bool is_even(const void *x, size_t stride)
{
    return (uintptr_t)x % 16 == 0 && stride % 4 == 0;
}

extern "C" bool enso_cuda_is_wide(const struct enso_cuda_product *p)
{
    const size_t tiles = tiles_of(p->m, TILE_M) * tiles_of(p->n, TILE_N);

    return p->dtype == ENSO_DTYPE_F32 && p->out_dtype == ENSO_DTYPE_F32 && p->n_matrices == 1 &&
           tiles >= BUSY && tiles <= INT32_MAX && p->a_column == 1 && p->k % 4 == 0 &&
           is_even(p->a, p->a_row) &&
           (p->b_row == 1 ? is_even(p->b, p->b_column)
                          : p->b_column == 1 && p->n % 4 == 0 && is_even(p->b, p->b_row));
}

extern "C" int enso_cuda_product_wide(const struct enso_cuda_product *p, cudaStream_t stream)
{
    const size_t across = tiles_of(p->n, TILE_N);
    const dim3 grid((unsigned)(tiles_of(p->m, TILE_M) * across));

    if (p->b_row == 1)
        return enso_launch(product_wide<false>, grid, dim3(BLOCK), 0, stream, *p, (uint32_t)across);
    return enso_launch(product_wide<true>, grid, dim3(BLOCK), 0, stream, *p, (uint32_t)across);
}
