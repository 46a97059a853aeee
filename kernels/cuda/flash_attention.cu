/* SPDX-License-Identifier: Apache-2.0
 *
 * ATTENTION (engine/ops/ops.h) over a ragged batch on the tensor cores: F16 and BF16, heads of 32,
 * 64, 80, 96 and 128, causal or not. Both products and the softmax between them are one kernel, so
 * that scores never leave the registers (FlashAttention-2: Dao, arXiv:2307.08691): device memory
 * sees q, k, v and the result.
 *
 * A block of four warps takes a tile of 64 queries of one head, a warp 16 of them, whose fragments
 * of q stay in registers. Keys and values pass by in tiles of 64 through two stages of shared
 * memory: while one is worked on, cp.async fills the other; one barrier a tile. Scores are C
 * fragments of mma.m16n8k16; their weights, 2^(scale · log2(e) · (score - largest so far)) in F32,
 * are packed to T where they stand and are the A fragments of the product with the values, which
 * ldmatrix turns around on its way. Sums of weights and of values stay in F32 (each lane has a
 * quarter of a row's sum until the end) and are rounded once. The result passes through shared
 * memory, from which it is written 16 bytes at a time.
 *
 * Shared memory: rows of SIZE halves without padding; the 16-byte chunk c of row r stands where
 * chunk_place() says, so that the eight rows an ldmatrix reads at a time, and the rows a warp
 * writes its result to, lie in different banks. Two stages of keys and values are 512 · SIZE bytes,
 * 64 KiB for heads of 128. q comes in through the second stage before that is needed.
 *
 * Which block takes which tile: query_tile.cuh.
 *
 * Bits: tiles of keys begin at the sequence's start, rows past its end are zeros instead of what
 * stands there, and rows of a fragment do not mix. So a sequence has the same bits whatever stands
 * beside it, in whichever order tiles are taken.
 *
 * Not taken: padded rows in place of the exchange of chunks (4 KiB more, for heads of 64 a block
 * less on cards with 100 KiB); a stage for keys and one for values, filled in turn (half the shared
 * memory, two barriers a tile); tiles of 128 queries (mixed sentences of 30 tokens would fill a
 * quarter); scaling and subtracting in one fused step (score · scale is exact there, the largest
 * one's is rounded: scores beyond 2^31 would become infinite weights); skipping the empty
 * sixteenths of a sequence's last tile of keys (a branch within the loop over fragments). No
 * timings yet: no card has been seen.
 */
#include "kernels/cuda/query_tile.cuh"

#include <math.h>

#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"
#include "kernels/cuda/ptx.cuh"

#define WARPS 4
#define BLOCK (32 * WARPS)
#define QUERIES ENSO_CUDA_QUERY_TILE
#define KEYS 64
#define LOG2_E 1.4426950408889634f

static_assert(QUERIES == 16 * WARPS, "a warp takes a fragment of 16 rows");
static_assert(KEYS == QUERIES, "q and the result pass through a tile of keys");

/* Shared memory of a block: two stages of a tile of keys and one of values. */
template <int SIZE> static constexpr size_t shared_bytes()
{
    return (size_t)4 * KEYS * SIZE * sizeof(uint16_t);
}

/* Blocks that registers leave room for on a multiprocessor. One more of any size but 128 would
 * spill a few of them with some architecture or other. */
template <int SIZE> static constexpr int blocks_each()
{
    return SIZE <= 32 ? 4 : SIZE <= 64 ? 3 : 2;
}

/* In halves: where chunk `chunk` (8 halves) of row `row` stands in a tile. Rows of CHUNKS chunks
 * begin at multiples of G chunks in a line of banks (8 chunks), and after 8 / G rows at the same
 * place again: these exchange their chunks by the number of the round. */
template <int CHUNKS>
static __device__ __forceinline__ unsigned chunk_place(unsigned row, unsigned chunk)
{
    constexpr unsigned G = CHUNKS % 8 == 0 ? 8 : CHUNKS % 4 == 0 ? 4 : CHUNKS % 2 == 0 ? 2 : 1;

    return (row * CHUNKS + (chunk ^ (row / (8 / G) % G))) * 8;
}

/* A tile of queries with what it reads and writes. */
template <typename T> struct query_tile {
    const T *q, *k, *v; /* of the sequence's first token */
    T *y;
    unsigned ld, ld_y; /* offsets within the batch fit 32 bits: enso_cuda_flash_takes */
    unsigned length, first;
};

template <typename T, int SIZE>
static __device__ __forceinline__ struct query_tile<T>
find_tile(const struct enso_cuda_attention &a, size_t item) {
    const struct enso_query_tile found = enso_find_tile(a, item);
    const size_t width = a.heads * SIZE;
    struct query_tile<T> tile;

    tile.ld = (unsigned)(3 * width);
    tile.ld_y = (unsigned)width;
    tile.q = static_cast<const T *>(a.qkv) + found.start * 3 * width + found.head * SIZE;
    tile.k = tile.q + width;
    tile.v = tile.k + width;
    tile.y = static_cast<T *>(a.y) + found.start * width + found.head * SIZE;
    tile.length = found.length;
    tile.first = found.first;
    return tile;
}

/* Begin to copy 64 rows of a head from row `first` on into a tile; rows past `length` are zeros.
 * The threads take as many whole rows at a time as they have chunks for, so that each goes down one
 * column, with one pointer: no address is kept for every round. */
template <int SIZE, typename T>
static __device__ __forceinline__ void load_rows(T *tile, const T *from, unsigned ld,
                                                 unsigned first, unsigned length)
{
    constexpr unsigned CHUNKS = SIZE / 8, ROWS = BLOCK / CHUNKS;
    const unsigned row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    const size_t step = (size_t)ROWS * ld;

    from += (size_t)(first + row) * ld + chunk * 8;
    if (BLOCK % CHUNKS != 0 && row >= ROWS)
        return;
#pragma unroll
    for (unsigned i = 0; i < KEYS; i += ROWS, from += step)
        if (KEYS % ROWS == 0 || i + row < KEYS)
            enso_cp_async_16(tile + chunk_place<CHUNKS>(i + row, chunk), from,
                             first + i + row < length);
}

/* What a warp has of its 16 queries: lane 4 g + t rows g (index 0) and g + 8 (index 1). */
template <int SIZE> struct rows {
    uint32_t q[SIZE / 16][4];
    float value[SIZE / 8][4]; /* C fragments of the result, relative to `max` */
    float max[2], sum[2];     /* of scores as they are; the lane's part of the sum of weights */
};

/* scores = Q Kᵀ, 16 queries by 64 keys. */
template <typename T, int SIZE>
static __device__ __forceinline__ void make_scores(const struct rows<SIZE> &r, const T *keys,
                                                   float (&scores)[KEYS / 8][4])
{
    constexpr unsigned CHUNKS = SIZE / 8;
    const unsigned lane = threadIdx.x % 32;
    const unsigned row = lane % 8 + lane / 16 * 8, half = lane / 8 % 2;

#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            scores[n][i] = 0;
#pragma unroll
    for (unsigned k = 0; k < SIZE / 16; k++)
#pragma unroll
        for (unsigned n = 0; n < KEYS / 16; n++) {
            uint32_t b[4]; /* two fragments: keys 0-7 and 8-15 */

            enso_ldmatrix_x4(b, keys + chunk_place<CHUNKS>(n * 16 + row, 2 * k + half));
            enso_mma<T>(scores[2 * n], r.q[k], b[0], b[1]);
            enso_mma<T>(scores[2 * n + 1], r.q[k], b[2], b[3]);
        }
}

/* Keys that a query must not see get minus infinity. `row`: of index 0 within the sequence. */
static __device__ __forceinline__ void mask_scores(float (&scores)[KEYS / 8][4], unsigned first_key,
                                                   unsigned row, unsigned length, bool causal)
{
    const unsigned column = first_key + threadIdx.x % 4 * 2;
    const unsigned end[2] = {causal ? min(length, row + 1) : length,
                             causal ? min(length, row + 9) : length};

#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (column + (unsigned)(n * 8 + i % 2) >= end[i / 2])
                scores[n][i] = -INFINITY;
}

/* Scores become weights; sums and values shrink to the new largest score. scale: to powers of 2. */
template <int SIZE>
static __device__ __forceinline__ void weigh(struct rows<SIZE> &r, float (&scores)[KEYS / 8][4],
                                             float scale)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float max = r.max[h], sum = 0;

#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
            max = fmaxf(max, fmaxf(scores[n][2 * h], scores[n][2 * h + 1]));
        max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 1));
        max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 2));
        /* nothing but minus infinity so far: weights of 0, not NaN */
        const float base = max == -INFINITY ? 0.0f : max;
        const float shrink = enso_exp2((r.max[h] - base) * scale);

#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) {
                scores[n][i] = enso_exp2((scores[n][i] - base) * scale);
                sum += scores[n][i];
            }
        r.max[h] = max;
        r.sum[h] = fmaf(r.sum[h], shrink, sum);
#pragma unroll
        for (int n = 0; n < SIZE / 8; n++) {
            r.value[n][2 * h] *= shrink;
            r.value[n][2 * h + 1] *= shrink;
        }
    }
}

/* value += weights · V, whose rows are keys: k of the product. */
template <typename T, int SIZE>
static __device__ __forceinline__ void add_values(struct rows<SIZE> &r, const T *values,
                                                  const float (&weights)[KEYS / 8][4])
{
    constexpr unsigned CHUNKS = SIZE / 8;
    const unsigned lane = threadIdx.x % 32;

#pragma unroll
    for (unsigned k = 0; k < KEYS / 16; k++) {
        const uint32_t a[4] = {enso_pack2<T>(weights[2 * k][0], weights[2 * k][1]),
                               enso_pack2<T>(weights[2 * k][2], weights[2 * k][3]),
                               enso_pack2<T>(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                               enso_pack2<T>(weights[2 * k + 1][2], weights[2 * k + 1][3])};

#pragma unroll
        for (unsigned n = 0; n < SIZE / 16; n++) {
            uint32_t b[4]; /* two fragments: places 0-7 and 8-15 */

            enso_ldmatrix_x4_trans(
                b, values + chunk_place<CHUNKS>(k * 16 + lane % 16, 2 * n + lane / 16));
            enso_mma<T>(r.value[2 * n], a, b[0], b[1]);
            enso_mma<T>(r.value[2 * n + 1], a, b[2], b[3]);
        }
    }
}

/* The warp's 16 rows through its own part of a tile, so that whole chunks are written. */
template <typename T, int SIZE>
static __device__ __forceinline__ void store_rows(struct rows<SIZE> &r, T *tile,
                                                  const struct query_tile<T> &t)
{
    constexpr unsigned CHUNKS = SIZE / 8;
    const unsigned lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16;

#pragma unroll
    for (unsigned h = 0; h < 2; h++) {
        float sum = r.sum[h];

        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        const float inverse = 1 / sum;

#pragma unroll
        for (unsigned n = 0; n < CHUNKS; n++) {
            T *to = tile + chunk_place<CHUNKS>(first + h * 8 + lane / 4, n) + lane % 4 * 2;

            *reinterpret_cast<uint32_t *>(to) =
                enso_pack2<T>(r.value[n][2 * h] * inverse, r.value[n][2 * h + 1] * inverse);
        }
    }
    __syncwarp();
#pragma unroll
    for (unsigned i = 0; i < 16 * CHUNKS / 32; i++) {
        const unsigned at = i * 32 + lane, row = first + at / CHUNKS, chunk = at % CHUNKS;

        if (t.first + row < t.length)
            *reinterpret_cast<uint4 *>(t.y + (t.first + row) * t.ld_y + chunk * 8) =
                *reinterpret_cast<const uint4 *>(tile + chunk_place<CHUNKS>(row, chunk));
    }
}

/* One tile of keys and values for the warp's rows. */
template <typename T, int SIZE>
static __device__ __forceinline__ void attend(struct rows<SIZE> &r, const T *keys, const T *values,
                                              const struct query_tile<T> &t, unsigned first_key,
                                              float scale, bool causal)
{
    const unsigned lane = threadIdx.x % 32, first = t.first + threadIdx.x / 32 * 16;
    float scores[KEYS / 8][4];

    make_scores<T>(r, keys, scores);
    if (first_key + KEYS > (causal ? min(t.length, first + 1) : t.length))
        mask_scores(scores, first_key, first + lane / 4, t.length, causal);
    weigh(r, scores, scale);
    add_values<T>(r, values, scores);
}

/* All of a tile of queries, by all threads of the block. */
template <typename T, int SIZE>
static __device__ __forceinline__ void attend_tile(const struct query_tile<T> &t, T *shared,
                                                   float scale, bool causal)
{
    constexpr unsigned TILE = KEYS * SIZE, CHUNKS = SIZE / 8;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned end = causal ? min(t.length, t.first + QUERIES) : t.length;
    const bool idle = t.first + warp * 16 >= t.length; /* it helps with the copies alone */
    struct rows<SIZE> r;

    load_rows<SIZE>(shared + 2 * TILE, t.q, t.ld, t.first, t.length);
    load_rows<SIZE>(shared, t.k, t.ld, 0, end);
    load_rows<SIZE>(shared + TILE, t.v, t.ld, 0, end);
    enso_cp_async_commit();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        r.max[h] = -INFINITY;
        r.sum[h] = 0;
    }
#pragma unroll
    for (int n = 0; n < SIZE / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            r.value[n][i] = 0;
    enso_cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < SIZE / 16; k++)
        enso_ldmatrix_x4(r.q[k], shared + 2 * TILE +
                                     chunk_place<CHUNKS>(warp * 16 + lane % 16, 2 * k + lane / 16));
    __syncthreads(); /* q is in registers: its place is the second stage's */
#pragma unroll 1
    for (unsigned key = 0, stage = 0; key < end; key += KEYS, stage ^= 1) {
        T *next = shared + (stage ^ 1) * 2 * TILE;

        if (key + KEYS < end) {
            load_rows<SIZE>(next, t.k, t.ld, key + KEYS, end);
            load_rows<SIZE>(next + TILE, t.v, t.ld, key + KEYS, end);
            enso_cp_async_commit();
        }
        if (!idle)
            attend<T>(r, shared + stage * 2 * TILE, shared + stage * 2 * TILE + TILE, t, key, scale,
                      causal);
        enso_cp_async_wait<0>();
        __syncthreads(); /* the next stage is there, and this one has been read */
    }
    if (!idle)
        store_rows<T>(r, shared, t);
    __syncthreads(); /* shared memory is free for another tile of queries */
}

template <typename T, int SIZE>
static __global__ void __launch_bounds__(BLOCK, blocks_each<SIZE>())
    flash_attention(const struct enso_cuda_attention a, size_t n_items)
{
    ENSO_SHARED_DYNAMIC(T, shared);

    enso_check_starts(a.starts, a.n_sequences, a.n_tokens, a.fault);
#pragma unroll 1
    for (size_t item = blockIdx.x; item < n_items; item += gridDim.x) {
        const struct query_tile<T> t = find_tile<T, SIZE>(a, item);

        if (t.length != 0) /* the same for the whole block */
            attend_tile<T, SIZE>(t, shared, a.scale * LOG2_E, a.causal);
    }
    enso_clear_padding<T>(a);
}

/* ---- launchers ---- */

#define SIZES(X, name, type)                                                                       \
    X(name, type, 32) X(name, type, 64) X(name, type, 80) X(name, type, 96) X(name, type, 128)
#define KERNELS(X) SIZES(X, F16, __half) SIZES(X, BF16, __nv_bfloat16)

extern "C" bool enso_cuda_flash_takes(const struct enso_cuda_attention *a)
{
    const size_t most = UINT32_MAX / 3;

    return a->heads * a->size <= most && a->n_tokens <= most / (a->heads * a->size) &&
           enso_aligned_vector(a->qkv) && enso_aligned_vector(a->y) && a->scale > 0 &&
           (uintptr_t)a->work % sizeof(int2) == 0;
}

template <typename T, int SIZE> static int prepare(unsigned *ret_blocks)
{
    const size_t bytes = shared_bytes<SIZE>();
    const cudaError_t code = cudaFuncSetAttribute(
        flash_attention<T, SIZE>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);

    if (code != cudaSuccess) {
        (void)cudaGetLastError();
        return (int)code;
    }
    return enso_count_blocks(bytes, blocks_each<SIZE>(), ret_blocks);
}

extern "C" int enso_cuda_flash_prepare(enum enso_dtype dtype, size_t size, int architecture,
                                       unsigned *ret_blocks)
{
    *ret_blocks = 0;
    if (architecture < 80)
        return cudaSuccess;
#define PREPARE(name, type, n)                                                                     \
    if (dtype == ENSO_DTYPE_##name && size == (n))                                                 \
        return prepare<type, n>(ret_blocks);
    KERNELS(PREPARE)
#undef PREPARE
    return cudaSuccess;
}

extern "C" int enso_cuda_flash_attention(const struct enso_cuda_attention *a, unsigned blocks,
                                         cudaStream_t stream)
{
    if (a->n_tokens == 0 || a->heads == 0)
        return cudaSuccess;
    const size_t n_items = enso_count_items(a);
    const dim3 grid(min(blocks, enso_blocks(n_items, 1))), block(BLOCK);

#define LAUNCH(name, type, n)                                                                      \
    if (a->dtype == ENSO_DTYPE_##name && a->size == (n))                                           \
        return enso_launch((flash_attention<type, n>), grid, block, shared_bytes<n>(), stream, *a, \
                           n_items);
    KERNELS(LAUNCH)
#undef LAUNCH
    return (int)cudaErrorInvalidValue;
}
