/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products: the plain kernel of LINEAR, Gemm and MatMul, with bias, residual and activation
 * in its epilogue so that no result is written and read again.
 *
 * A block of 64 threads makes a tile of 32 x 32; a thread 4 x 4 of it, eight apart in both
 * directions, so that a warp's shared-memory reads hit each bank once or are the same word. Tiles
 * of A and B go through shared memory 16 of the inner dimension deep, A turned over on the way
 * (pitch 34: neither writes nor reads of a warp meet in a bank). Factors are read through strides:
 * a transposed one costs no copy, and the threads' order follows the stride that is 1.
 *
 * Bits: element (i, j) is the sum over tiles of 16 of sums in order, started at inner index 0: it
 * depends on row i, column j and k alone. Summing tile by tile also keeps the rounding of long sums
 * small. FP32 multiply-adds, no TF32; halves are widened on their way into the tiles. Past the
 * matrices' ends tiles hold zeros, which reach no element that is stored.
 *
 * Halves come here where the tensor cores' products (gemm.cuh, gemm_stack.cu) do not go: cards
 * before 8.0, weights that come at run time with a bias or turned over. Why not larger tiles: this
 * is its fallback and its oracle, and the work under the emulation counts. No timings yet: no card
 * has been seen.
 */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/half.cuh"
#include "kernels/cuda/stack.cuh"

#include "kernels/cuda/launch_gemm.h"
#include "kernels/cuda/launch_network.h"

#define TILE 32
#define DEPTH 16
#define PITCH (TILE + 2)
#define BLOCK 64
/* Threads along an edge of the tile, and elements of one thread along it. */
#define EDGE 8
#define EACH (TILE / EDGE)

static_assert(2 * DEPTH == TILE, "the results take the place of both tiles");

/* tile[l][i] = x[(first + i) · outer + (depth + l) · inner], zero past n or k. */
template <typename T>
static __device__ void load_tile(const T *x, size_t outer, size_t inner, size_t first, size_t n,
                                 size_t depth, size_t k, float *tile)
{
    for (unsigned e = threadIdx.x; e < TILE * DEPTH; e += BLOCK) {
        const unsigned i = inner == 1 ? e / DEPTH : e % TILE;
        const unsigned l = inner == 1 ? e % DEPTH : e / TILE;
        const bool inside = first + i < n && depth + l < k;

        tile[l * PITCH + i] =
            inside ? enso_to_float(x[(first + i) * outer + (depth + l) * inner]) : 0.0f;
    }
}

/* A thread's sums to their places of the block's results. */
static __device__ __forceinline__ void put_sums(const float (&sum)[EACH][EACH], float *results)
{
    const unsigned x = threadIdx.x % EDGE, y = threadIdx.x / EDGE;

#pragma unroll
    for (unsigned i = 0; i < EACH; i++)
#pragma unroll
        for (unsigned j = 0; j < EACH; j++)
            results[(y + i * EDGE) * PITCH + x + j * EDGE] = sum[i][j];
}

/* The block's results with all that is done to them: neighbouring threads store neighbouring
 * columns, and the activations stand once in the program instead of sixteen times. */
template <typename T, typename Out>
static __device__ void store_tile(const struct enso_cuda_product &p, Out *y, size_t row,
                                  size_t column, const float *results)
{
#pragma unroll 1
    for (unsigned e = threadIdx.x; e < TILE * TILE; e += BLOCK) {
        const size_t r = row + e / TILE, c = column + e % TILE;

        if (r >= p.m || c >= p.n)
            continue;
        float v = p.alpha * results[e / TILE * PITCH + e % TILE];

        if (p.bias != NULL)
            v += p.bias[c];
        if (p.residual != NULL)
            v += p.beta * enso_to_float(static_cast<const T *>(
                              p.residual)[r * p.residual_row + c * p.residual_column]);
        y[r * p.n + c] = enso_from_float<Out>(enso_activate(v, p.activation));
    }
}

/* tiles: of A and B while they are multiplied, of the results afterwards. */
template <typename T, typename Out>
static __device__ void one_tile(const struct enso_cuda_product &p, uint32_t matrix, size_t row,
                                size_t column, float *tiles)
{
    const unsigned x = threadIdx.x % EDGE, y = threadIdx.x / EDGE;
    const T *a = static_cast<const T *>(p.a) + enso_stack_offset(p, p.a_strides, matrix);
    const T *b = static_cast<const T *>(p.b) + enso_stack_offset(p, p.b_strides, matrix);
    float *a_tile = tiles, *b_tile = tiles + DEPTH * PITCH;
    const bool busy = row + y < p.m && column + x < p.n; /* else nothing will be stored */
    float sum[EACH][EACH] = {};

    for (size_t depth = 0; depth < p.k; depth += DEPTH) {
        float part[EACH][EACH] = {};

        load_tile(a, p.a_row, p.a_column, row, p.m, depth, p.k, a_tile);
        load_tile(b, p.b_column, p.b_row, column, p.n, depth, p.k, b_tile);
        __syncthreads();
        if (busy) {
#pragma unroll
            for (unsigned l = 0; l < DEPTH; l++) {
                float from_b[EACH];

#pragma unroll
                for (unsigned j = 0; j < EACH; j++)
                    from_b[j] = b_tile[l * PITCH + x + j * EDGE];
#pragma unroll
                for (unsigned i = 0; i < EACH; i++) {
                    const float from_a = a_tile[l * PITCH + y + i * EDGE];

#pragma unroll
                    for (unsigned j = 0; j < EACH; j++)
                        part[i][j] = enso_fma(from_a, from_b[j], part[i][j]);
                }
            }
#pragma unroll
            for (unsigned i = 0; i < EACH; i++)
#pragma unroll
                for (unsigned j = 0; j < EACH; j++)
                    sum[i][j] += part[i][j];
        }
        __syncthreads(); /* before the tiles are written again */
    }
    put_sums(sum, tiles);
    __syncthreads();
    store_tile<T>(p, static_cast<Out *>(p.y) + matrix * p.m * p.n, row, column, tiles);
    __syncthreads(); /* before the next tile's factors come */
}

/* Tiles along x, matrices along y. 32 bits count both: 64-bit divisions would cost more than a tile
 * of a small product. */
template <typename T, typename Out>
static __global__ void __launch_bounds__(BLOCK, 8)
    product(const struct enso_cuda_product p, uint32_t n_tiles, uint32_t tiles_across)
{
    ENSO_SHARED(float, tiles, TILE *PITCH); /* as many as two of DEPTH */

    for (size_t matrix = blockIdx.y; matrix < p.n_matrices; matrix += gridDim.y) {
        for (size_t t = blockIdx.x; t < n_tiles; t += gridDim.x) {
            const uint32_t down = (uint32_t)t / tiles_across;
            const uint32_t across = (uint32_t)t - down * tiles_across;

            one_tile<T, Out>(p, (uint32_t)matrix, (size_t)down * TILE, (size_t)across * TILE,
                             tiles);
        }
    }
}

static size_t tiles_of(size_t n)
{
    return n / TILE + (n % TILE != 0);
}

template <typename T, typename Out>
static int launch_product(const struct enso_cuda_product *p, dim3 grid, size_t n_tiles,
                          cudaStream_t stream)
{
    return enso_launch((product<T, Out>), grid, dim3(BLOCK), 0, stream, *p, (uint32_t)n_tiles,
                       (uint32_t)tiles_of(p->n));
}

extern "C" int enso_cuda_product(const struct enso_cuda_product *p, cudaStream_t stream)
{
    const size_t n_tiles = tiles_of(p->m) * tiles_of(p->n);

    if (p->m == 0 || p->n == 0 || p->n_matrices == 0)
        return cudaSuccess;
    if (n_tiles > UINT32_MAX || p->n_matrices > UINT32_MAX)
        return cudaErrorInvalidValue;
    if (enso_cuda_is_wide(p))
        return enso_cuda_product_wide(p, stream);
    const unsigned stack = enso_blocks(p->n_matrices, 1);
    const dim3 grid(enso_blocks(n_tiles, 1), stack < ENSO_MAX_STACK ? stack : ENSO_MAX_STACK);

    switch (p->dtype) {
#define PRODUCT(name, type)                                                                        \
    case ENSO_DTYPE_##name:                                                                        \
        return p->out_dtype == ENSO_DTYPE_F32                                                      \
                   ? launch_product<type, float>(p, grid, n_tiles, stream)                         \
                   : launch_product<type, type>(p, grid, n_tiles, stream);
        ENSO_FLOAT_TYPES(PRODUCT)
#undef PRODUCT
    default:
        return cudaErrorInvalidValue;
    }
}

/* ---- other types ---- */

template <typename T, typename Wide>
static __global__ void __launch_bounds__(128)
    product_plain(const struct enso_cuda_product p, const T *a_all, const T *b_all, T *y)
{
    ENSO_GRID_STRIDE(e, p.m * p.n * p.n_matrices)
    {
        const size_t matrix = e / (p.m * p.n), i = e % (p.m * p.n) / p.n, j = e % p.n;
        const T *a = a_all + enso_stack_offset(p, p.a_strides, (uint32_t)matrix) + i * p.a_row;
        const T *b = b_all + enso_stack_offset(p, p.b_strides, (uint32_t)matrix) + j * p.b_column;
        Wide sum = 0;

        for (size_t l = 0; l < p.k; l++)
            sum += (Wide)a[l * p.a_column] * (Wide)b[l * p.b_row];
        y[e] = (T)sum;
    }
}

extern "C" int enso_cuda_product_plain(enum enso_dtype dtype, const struct enso_cuda_product *p,
                                       const void *a, const void *b, void *y, cudaStream_t stream)
{
    const size_t n = p->m * p->n * p->n_matrices;

    if (n == 0)
        return cudaSuccess;
    if (p->n_matrices > UINT32_MAX)
        return cudaErrorInvalidValue;
    switch (dtype) {
#define PRODUCT(name, type, wide)                                                                  \
    case ENSO_DTYPE_##name:                                                                        \
        return enso_launch(product_plain<type, wide>, dim3(enso_blocks(n, 128)), dim3(128), 0,     \
                           stream, *p, (const type *)a, (const type *)b, (type *)y);
        PRODUCT(F64, double, double)
        PRODUCT(I32, int32_t, uint64_t)
        PRODUCT(U32, uint32_t, uint64_t)
        PRODUCT(I64, int64_t, uint64_t)
        PRODUCT(U64, uint64_t, uint64_t)
#undef PRODUCT
    default:
        return cudaErrorInvalidValue;
    }
}
