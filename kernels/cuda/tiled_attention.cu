/* SPDX-License-Identifier: Apache-2.0
 *
 * ATTENTION (engine/ops/ops.h) over a ragged batch without tensor cores: for F32, which they would
 * round, for sm_75, and for sizes of a head that flash_attention.cu has nothing for. All is
 * computed in F32; halves become floats on their way into shared memory.
 *
 * A block of 16 x 16 threads takes a tile of 64 queries of one head and goes over the keys of the
 * sequence 64 at a time. A thread has 4 x 4 scores (rows 4 y .. 4 y + 3, keys x, x + 16, ...), so
 * that each number it reads from shared memory is used four times; the sixteen threads of a row,
 * half a warp, agree on its largest score and its sum by shuffles. Weights pass through shared
 * memory to the product with the values, where a thread has 4 rows by 4 neighbouring places of the
 * head (8 for heads over 64). Online softmax as in attention.cu. Keys and values take turns in one
 * buffer: both at a time would not fit beside q for heads of 128 where a block gets 99 KiB.
 *
 * Shared memory: rows of `size` floats, made an odd number of chunks of 16 bytes, so that eight
 * threads that read a chunk each of eight rows meet different banks; 83 KiB for heads of 128, 52
 * KiB for 64. Where the card has less (sm_75 above heads of 88) the plain kernel remains.
 *
 * Bits: as in flash_attention.cu. No timings yet: no card has been seen.
 */
#include "kernels/cuda/query_tile.cuh"

#include <math.h>

#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"

#define SIDE 16 /* threads along queries and along keys */
#define BLOCK (SIDE * SIDE)
#define EACH 4 /* rows and keys of a thread */
#define QUERIES ENSO_CUDA_QUERY_TILE
#define KEYS 64
#define WEIGHTS_PITCH (KEYS + 4)
#define MAX_SIZE 128
#define BLOCKS_EACH 2

static_assert(QUERIES == SIDE * EACH && KEYS == SIDE * EACH, "tiles are what the threads hold");

/* Floats from one row to the next. */
static __host__ __device__ __forceinline__ unsigned row_pitch(size_t size)
{
    return (unsigned)(size / 4 % 2 == 0 ? size + 4 : size);
}

/* q, keys or values, weights. */
static size_t shared_bytes(size_t size)
{
    return (2 * (size_t)KEYS * row_pitch(size) + (size_t)QUERIES * WEIGHTS_PITCH) * sizeof(float);
}

/* Four floats that lie together. */
static __device__ __forceinline__ void load4(const float *x, float (&v)[4])
{
    enso_load_vector(x, v);
}

/* The block's shared memory, and what it works on. */
template <typename T> struct work {
    float *q, *kv, *weights;
    unsigned pitch, size;
    const T
        *from; /* q of the sequence's first token; k and v stand `width` and 2 · `width` behind */
    T *y;
    size_t width;
    unsigned length, first;
};

/* 64 rows from row `first` on as floats; rows past `length` become zeros. */
template <typename T>
static __device__ __forceinline__ void load_rows(const struct work<T> &w, float *tile,
                                                 const T *from, unsigned first, unsigned length)
{
    constexpr unsigned VECTOR = ENSO_VECTOR(T);
    const unsigned chunks = w.size / VECTOR;

    for (unsigned at = threadIdx.x; at < KEYS * chunks; at += BLOCK) {
        const unsigned row = at / chunks, place = (at - row * chunks) * VECTOR;
        float *to = tile + row * w.pitch + place;
        float v[VECTOR];

#pragma unroll
        for (unsigned i = 0; i < VECTOR; i++)
            v[i] = 0;
        if (first + row < length)
            enso_load_vector(from + (first + row) * 3 * w.width + place, v);
#pragma unroll
        for (unsigned i = 0; i < VECTOR; i += 4) {
            const float four[4] = {v[i], v[i + 1], v[i + 2], v[i + 3]};

            enso_store_vector(to + i, four);
        }
    }
}

/* What a thread has of its rows. CHUNKS: of four places of the head, 64 apart. */
template <int CHUNKS> struct rows {
    float value[EACH][CHUNKS][4];
    float max[EACH], sum[EACH]; /* the same in all threads of a row */
};

template <typename T>
static __device__ __forceinline__ void make_scores(const struct work<T> &w,
                                                   float (&scores)[EACH][EACH])
{
    const unsigned x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;

#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
            scores[i][j] = 0;
#pragma unroll 1
    for (unsigned d = 0; d < w.size; d += 4) {
        float q[EACH][4], k[EACH][4];

#pragma unroll
        for (unsigned i = 0; i < EACH; i++) {
            load4(w.q + (y * EACH + i) * w.pitch + d, q[i]);
            load4(w.kv + (x + i * SIDE) * w.pitch + d, k[i]);
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++)
#pragma unroll
                for (int n = 0; n < 4; n++)
                    scores[i][j] = fmaf(q[i][n], k[j][n], scores[i][j]);
    }
}

/* Scores become weights in shared memory; sums and values shrink to the new largest score. */
template <typename T, int CHUNKS>
static __device__ __forceinline__ void weigh(const struct work<T> &w, struct rows<CHUNKS> &r,
                                             float (&scores)[EACH][EACH], unsigned first_key,
                                             float scale, bool causal)
{
    const unsigned x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;

#pragma unroll
    for (unsigned i = 0; i < EACH; i++) {
        const unsigned row = w.first + y * EACH + i;
        const unsigned end = causal ? min(w.length, row + 1) : w.length;
        float max = r.max[i], sum = 0;

#pragma unroll
        for (unsigned j = 0; j < EACH; j++) {
            const bool seen = first_key + x + j * SIDE < end;

            scores[i][j] = seen ? scores[i][j] * scale : -INFINITY;
            max = fmaxf(max, scores[i][j]);
        }
        for (int step = SIDE / 2; step > 0; step /= 2)
            max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
        /* nothing but minus infinity so far: weights of 0, not NaN */
        const float base = max == -INFINITY ? 0.0f : max;
        const float shrink = expf(r.max[i] - base);

#pragma unroll
        for (unsigned j = 0; j < EACH; j++) {
            const float weight = expf(scores[i][j] - base);

            w.weights[(y * EACH + i) * WEIGHTS_PITCH + x + j * SIDE] = weight;
            sum += weight;
        }
        for (int step = SIDE / 2; step > 0; step /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, step);
        r.max[i] = max;
        r.sum[i] = r.sum[i] * shrink + sum;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                r.value[i][c][n] *= shrink;
    }
}

/* value += weights · V. */
template <typename T, int CHUNKS>
static __device__ __forceinline__ void add_values(const struct work<T> &w, struct rows<CHUNKS> &r)
{
    const unsigned x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;

#pragma unroll 1
    for (unsigned key = 0; key < KEYS; key += 4) {
        float p[EACH][4];

#pragma unroll
        for (unsigned i = 0; i < EACH; i++)
            load4(w.weights + (y * EACH + i) * WEIGHTS_PITCH + key, p[i]);
#pragma unroll
        for (unsigned k = 0; k < 4; k++)
#pragma unroll
            for (unsigned c = 0; c < CHUNKS; c++) {
                const unsigned place = c * SIDE * 4 + x * 4;
                float v[4];

                if (place >= w.size)
                    continue;
                load4(w.kv + (key + k) * w.pitch + place, v);
#pragma unroll
                for (int i = 0; i < EACH; i++)
#pragma unroll
                    for (int n = 0; n < 4; n++)
                        r.value[i][c][n] = fmaf(p[i][k], v[n], r.value[i][c][n]);
            }
    }
}

template <typename T> static __device__ __forceinline__ void store4(T *y, const float (&v)[4])
{
    if constexpr (sizeof(T) == sizeof(float)) {
        enso_store_vector(y, v);
    } else {
        uint2 words;

        words.x = enso_pack2<T>(v[0], v[1]);
        words.y = enso_pack2<T>(v[2], v[3]);
        *reinterpret_cast<uint2 *>(y) = words;
    }
}

template <typename T, int CHUNKS>
static __device__ __forceinline__ void store_rows(const struct work<T> &w,
                                                  const struct rows<CHUNKS> &r)
{
    const unsigned x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;

#pragma unroll
    for (unsigned i = 0; i < EACH; i++) {
        const unsigned row = w.first + y * EACH + i;
        const float inverse = 1 / r.sum[i];

#pragma unroll
        for (unsigned c = 0; c < CHUNKS; c++) {
            const unsigned place = c * SIDE * 4 + x * 4;
            float v[4];

#pragma unroll
            for (int n = 0; n < 4; n++)
                v[n] = r.value[i][c][n] * inverse;
            if (row < w.length && place < w.size)
                store4(w.y + row * w.width + place, v);
        }
    }
}

/* All of a tile of queries, by all threads of the block. */
template <typename T, int CHUNKS>
static __device__ __forceinline__ void attend_tile(const struct work<T> &w, float scale,
                                                   bool causal)
{
    const unsigned end = causal ? min(w.length, w.first + QUERIES) : w.length;
    struct rows<CHUNKS> r;

#pragma unroll
    for (int i = 0; i < EACH; i++) {
        r.max[i] = -INFINITY;
        r.sum[i] = 0;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                r.value[i][c][n] = 0;
    }
    load_rows(w, w.q, w.from, w.first, w.length);
#pragma unroll 1
    for (unsigned key = 0; key < end; key += KEYS) {
        float scores[EACH][EACH];

        load_rows(w, w.kv, w.from + w.width, key, end);
        __syncthreads();
        make_scores(w, scores);
        weigh(w, r, scores, key, scale, causal);
        __syncthreads(); /* keys have been read, weights are there */
        load_rows(w, w.kv, w.from + 2 * w.width, key, end);
        __syncthreads();
        add_values(w, r);
        __syncthreads(); /* values and weights have been read */
    }
    store_rows(w, r);
}

template <typename T, int CHUNKS>
static __global__ void __launch_bounds__(BLOCK, BLOCKS_EACH)
    tiled_attention(const struct enso_cuda_attention a, size_t n_items)
{
    ENSO_SHARED_DYNAMIC(float, shared);
    const unsigned pitch = row_pitch(a.size);

    enso_check_starts(a.starts, a.n_sequences, a.n_tokens, a.fault);
#pragma unroll 1
    for (size_t item = blockIdx.x; item < n_items; item += gridDim.x) {
        const struct enso_query_tile t = enso_find_tile(a, item);
        const size_t width = a.heads * a.size;

        if (t.length == 0) /* the same for the whole block */
            continue;
        const struct work<T> w = {
            shared, shared + QUERIES *pitch, shared + (QUERIES + KEYS) * pitch, pitch,
                (unsigned)a.size,
                static_cast<const T *>(a.qkv) + t.start * 3 * width + t.head *a.size,
                static_cast<T *>(a.y) + t.start *width + t.head *a.size, width, t.length, t.first
        };

        attend_tile<T, CHUNKS>(w, a.scale, a.causal);
    }
    enso_clear_padding<T>(a);
}

/* ---- launchers ---- */

extern "C" bool enso_cuda_tiled_takes(const struct enso_cuda_attention *a)
{
    return enso_aligned_vector(a->qkv) && enso_aligned_vector(a->y) &&
           (uintptr_t)a->work % sizeof(int2) == 0;
}

template <typename T> static int prepare(size_t size, unsigned *ret_blocks)
{
    const size_t bytes = shared_bytes(size);
    int device = 0, most = 0;
    cudaError_t code = cudaGetDevice(&device);

    if (code == cudaSuccess)
        code = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (code == cudaSuccess && bytes > (size_t)most)
        return cudaSuccess; /* the plain kernel remains */
    /* one kernel for several sizes: let it have what the largest of them needs */
    const size_t largest = shared_bytes(size <= MAX_SIZE / 2 ? MAX_SIZE / 2 : MAX_SIZE);
    const int ask = (int)(largest < (size_t)most ? largest : (size_t)most);

    if (code == cudaSuccess)
        code = size <= MAX_SIZE / 2
                   ? cudaFuncSetAttribute(tiled_attention<T, 1>,
                                          cudaFuncAttributeMaxDynamicSharedMemorySize, ask)
                   : cudaFuncSetAttribute(tiled_attention<T, 2>,
                                          cudaFuncAttributeMaxDynamicSharedMemorySize, ask);
    if (code != cudaSuccess) {
        (void)cudaGetLastError();
        return (int)code;
    }
    return enso_count_blocks(bytes, BLOCKS_EACH, ret_blocks);
}

extern "C" int enso_cuda_tiled_prepare(enum enso_dtype dtype, size_t size, unsigned *ret_blocks)
{
    *ret_blocks = 0;
#define PREPARE(name, type)                                                                        \
    if (dtype == ENSO_DTYPE_##name && size <= MAX_SIZE && size % ENSO_VECTOR(type) == 0)           \
        return prepare<type>(size, ret_blocks);
    ENSO_FLOAT_TYPES(PREPARE)
#undef PREPARE
    return cudaSuccess;
}

extern "C" int enso_cuda_tiled_attention(const struct enso_cuda_attention *a, unsigned blocks,
                                         cudaStream_t stream)
{
    if (a->n_tokens == 0 || a->heads == 0)
        return cudaSuccess;
    const size_t n_items = enso_count_items(a), bytes = shared_bytes(a->size);
    const dim3 grid(min(blocks, enso_blocks(n_items, 1))), block(BLOCK);

#define LAUNCH(name, type)                                                                         \
    if (a->dtype == ENSO_DTYPE_##name)                                                             \
        return a->size <= MAX_SIZE / 2 ? enso_launch((tiled_attention<type, 1>), grid, block,      \
                                                     bytes, stream, *a, n_items)                   \
                                       : enso_launch((tiled_attention<type, 2>), grid, block,      \
                                                     bytes, stream, *a, n_items);
    ENSO_FLOAT_TYPES(LAUNCH)
#undef LAUNCH
    return (int)cudaErrorInvalidValue;
}
