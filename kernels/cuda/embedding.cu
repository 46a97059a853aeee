/* SPDX-License-Identifier: Apache-2.0
 *
 * The ends of a transformer: EMBEDDING (up to three tables and the layer norm in one) and
 * SEQUENCE_POOL straight from the ragged batch, for F32, F16 and BF16. Sums and norm are made in
 * F32 and rounded once, at the end; an id outside of its table reads row 0 and is noted in the
 * fault word.
 *
 * EMBEDDING, rows of halves up to 1,024 whose chunks of 16 bytes are whole: a warp a token, which
 * reads its rows once, 16 bytes a lane, keeps the sum in registers over both passes of the norm and
 * needs no barrier. All else: a block a token; the token's rows are read once per pass of the norm
 * (the first cache has them) and added in the same order, words, positions, segments (rows.cuh).
 *
 * SEQUENCE_POOL: a block takes 32 columns of a sequence, two for each lane where they are halves,
 * and its eight warps every eighth token; the eight partial results are put together in their
 * order. So bits depend on the sequence alone, and one long sequence does not wait for one thread's
 * loop over its tokens. A sequence without tokens costs a block that leaves at once: a captured
 * graph has blocks for as many as there may be.
 *
 * Not taken: a block a token for the halves too (two block sums are four barriers for 100 loads); a
 * thread a column of a sequence (512 tokens one after the other).
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/rows.cuh"

#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"
#include "kernels/cuda/ragged.cuh"

#define BLOCK 128
#define WARPS (BLOCK / 32)
/* 16-byte chunks of a row that a lane keeps in registers. */
#define MAX_CHUNKS 4

/* Rows of one token; NULL: none. */
template <typename T> struct token_rows {
    const T *words, *positions, *segments;
};

/* Row of table t, the first one and *outside when its id is out of range. */
template <typename T>
static __device__ __forceinline__ const T *find_row(const struct enso_cuda_embedding &e, int t,
                                                    size_t token, bool *outside)
{
    const T *table = static_cast<const T *>(e.tables[t]);

    if (table == NULL)
        return NULL;
    const int32_t id = e.ids[t] != NULL ? e.ids[t][token] : 0;
    const bool inside = id >= 0 && (size_t)id < e.rows[t];

    *outside = *outside || !inside;
    return table + (inside ? (size_t)id : 0) * e.width;
}

template <typename T>
static __device__ __forceinline__ struct token_rows<T>
find_rows(const struct enso_cuda_embedding &e, size_t token, bool tells) {
    bool outside = false;
    struct token_rows<T> rows;

    rows.words = find_row<T>(e, 0, token, &outside);
    rows.positions = find_row<T>(e, 1, token, &outside);
    rows.segments = find_row<T>(e, 2, token, &outside);
    if (outside && tells)
        atomicExch(e.fault, (int)ENSO_CUDA_FAULT_INDEX); /* others may, too */
    return rows;
}

/* ---- any row: a block a token ---- */

template <typename T>
static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    embedding(const struct enso_cuda_embedding e)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t token = blockIdx.x; token < e.n_tokens; token += gridDim.x) {
        const struct token_rows<T> rows = find_rows<T>(e, token, threadIdx.x == 0);
        T *y = static_cast<T *>(e.y) + token * e.width;
        float mean = 0, inverse = 1;
        auto load = [=](size_t i) {
            float v = enso_to_float(rows.words[i]);

            if (rows.positions != NULL)
                v += enso_to_float(rows.positions[i]);
            if (rows.segments != NULL)
                v += enso_to_float(rows.segments[i]);
            return v;
        };

        if (e.gamma != NULL) {
            mean = enso_row_sum(load, e.width, scratch) / (float)e.width;
            auto square = [=](size_t i) {
                const float v = load(i) - mean;

                return v * v;
            };
            const float variance = enso_row_sum(square, e.width, scratch) / (float)e.width;

            inverse = 1 / sqrtf(variance + e.epsilon);
        }
        for (size_t i = threadIdx.x; i < e.width; i += blockDim.x) {
            float v = load(i);

            if (e.gamma != NULL)
                v = (v - mean) * inverse * e.gamma[i] + e.beta[i];
            y[i] = enso_from_float<T>(v);
        }
    }
}

/* ---- halves: a warp a token ---- */

/* v[0 .. 8) += 16 bytes. */
template <typename T> static __device__ __forceinline__ void add_chunk(const T *x, float (&v)[8])
{
    float more[8];

    enso_load_vector(x, more);
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] += more[i];
}

/* y = (v - mean) · inverse · gamma + beta of one chunk. */
template <typename T>
static __device__ __forceinline__ void store_chunk(const struct enso_cuda_embedding &e, T *y,
                                                   size_t at, float (&v)[8], float mean,
                                                   float inverse)
{
    if (e.gamma != NULL) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float gamma[4], beta[4];

            enso_load_vector(e.gamma + at + half * 4, gamma);
            enso_load_vector(e.beta + at + half * 4, beta);
#pragma unroll
            for (int i = 0; i < 4; i++)
                v[half * 4 + i] = (v[half * 4 + i] - mean) * inverse * gamma[i] + beta[i];
        }
    }
    enso_store_vector(y + at, v);
}

/* N: chunks a lane, as few as hold the row. */
template <typename T, int N>
static __global__ void __launch_bounds__(BLOCK) embedding_rows(const struct enso_cuda_embedding e)
{
    const unsigned lane = threadIdx.x % 32;

    for (size_t token = blockIdx.x * (size_t)WARPS + threadIdx.x / 32; token < e.n_tokens;
         token += gridDim.x * (size_t)WARPS) {
        const struct token_rows<T> rows = find_rows<T>(e, token, lane == 0);
        T *y = static_cast<T *>(e.y) + token * e.width;
        float v[N][8], sum = 0, mean = 0, inverse = 1;

#pragma unroll
        for (int n = 0; n < N; n++) {
            const size_t at = ((size_t)n * 32 + lane) * 8;

#pragma unroll
            for (int i = 0; i < 8; i++)
                v[n][i] = 0;
            if (at >= e.width)
                continue;
            enso_load_vector(rows.words + at, v[n]);
            if (rows.positions != NULL)
                add_chunk(rows.positions + at, v[n]);
            if (rows.segments != NULL)
                add_chunk(rows.segments + at, v[n]);
        }
        if (e.gamma != NULL) {
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 8; i++)
                    sum += v[n][i];
            mean = enso_warp_sum(sum) / (float)e.width;
            sum = 0;
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    const float off = ((size_t)n * 32 + lane) * 8 < e.width ? v[n][i] - mean : 0.0f;

                    sum += off * off;
                }
            inverse = 1 / sqrtf(enso_warp_sum(sum) / (float)e.width + e.epsilon);
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            const size_t at = ((size_t)n * 32 + lane) * 8;

            if (at < e.width)
                store_chunk(e, y, at, v[n], mean, inverse);
        }
    }
}

/* Chunks a lane for the kernel above; 0: it does not take this. */
static size_t chunks_each(const struct enso_cuda_embedding *e)
{
    const void *all[] = {e->tables[0], e->tables[1], e->tables[2], e->gamma, e->beta, e->y};
    bool aligned = true;

    for (const void *p : all)
        aligned = aligned && enso_aligned_vector(p);
    if (!aligned || e->dtype == ENSO_DTYPE_F32 || e->width % 8 != 0 ||
        e->width > MAX_CHUNKS * 32 * 8)
        return 0;
    return (e->width / 8 + 31) / 32;
}

template <typename T>
static int launch_rows(const struct enso_cuda_embedding *e, size_t chunks, cudaStream_t stream)
{
    const dim3 grid(enso_blocks(e->n_tokens, WARPS)), block(BLOCK);

    switch (chunks) {
    case 1:
        return enso_launch((embedding_rows<T, 1>), grid, block, 0, stream, *e);
    case 2:
        return enso_launch((embedding_rows<T, 2>), grid, block, 0, stream, *e);
    case 3:
        return enso_launch((embedding_rows<T, 3>), grid, block, 0, stream, *e);
    default:
        return enso_launch((embedding_rows<T, 4>), grid, block, 0, stream, *e);
    }
}

extern "C" int enso_cuda_embedding(const struct enso_cuda_embedding *e, cudaStream_t stream)
{
    const size_t chunks = chunks_each(e);

    if (e->n_tokens == 0 || e->width == 0)
        return cudaSuccess;
    if (chunks > 0)
        return e->dtype == ENSO_DTYPE_F16 ? launch_rows<__half>(e, chunks, stream)
                                          : launch_rows<__nv_bfloat16>(e, chunks, stream);
    const dim3 grid(enso_blocks(e->n_tokens, 1)), block(enso_row_threads(e->width));

#define LAUNCH(name, type)                                                                         \
    if (e->dtype == ENSO_DTYPE_##name)                                                             \
        return enso_launch(embedding<type>, grid, block, 0, stream, *e);
    ENSO_FLOAT_TYPES(LAUNCH)
#undef LAUNCH
    return (int)cudaErrorInvalidValue;
}

/* ---- pooling ---- */

#define POOL_WARPS 8

/* The next value of a column; mean and max. A NaN stays. */
static __device__ __forceinline__ float pool(enum enso_cuda_sequence_mode mode, float v, float next)
{
    if (mode == ENSO_CUDA_SEQUENCE_MAX)
        return next > v || next != next ? next : v;
    return v + next;
}

/* Columns at, at + 1, .. of one token: two halves are one word. */
template <typename T, int EACH>
static __device__ __forceinline__ void load_columns(const T *x, float (&v)[EACH])
{
    if constexpr (EACH == 2)
        enso_unpack2<T>(*reinterpret_cast<const uint32_t *>(x), &v[0], &v[1]);
    else
        v[0] = enso_to_float(x[0]);
}

/* A warp's part of a sequence: tokens first, first + 8, ...; at least one. */
template <typename T, int EACH>
static __device__ __forceinline__ void pool_tokens(enum enso_cuda_sequence_mode mode, const T *x,
                                                   size_t width, size_t first, size_t end,
                                                   float (&v)[EACH])
{
    load_columns<T>(x + first * width, v);
#pragma unroll 4
    for (size_t t = first + POOL_WARPS; t < end; t += POOL_WARPS) {
        float next[EACH];

        load_columns<T>(x + t * width, next);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            v[i] = pool(mode, v[i], next[i]);
    }
}

/* Blocks: pieces of 32 · EACH columns of one sequence after the other. */
template <typename T, typename Y, int EACH>
static __global__ void __launch_bounds__(32 * POOL_WARPS)
    sequence_pool(const struct enso_cuda_sequence_pool p, size_t n_pieces)
{
    ENSO_SHARED(float, part, POOL_WARPS * 32 * EACH);
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;

    enso_check_starts(p.starts, p.n_sequences, p.n_tokens, p.fault);
    for (size_t piece = blockIdx.x; piece < n_pieces * p.n_sequences; piece += gridDim.x) {
        const size_t s = piece / n_pieces, column = ((piece - s * n_pieces) * 32 + lane) * EACH;
        const struct enso_sequence own = enso_sequence_at(p.starts, s, p.n_tokens);
        const T *x = static_cast<const T *>(p.x) + column;
        const bool one = p.mode == ENSO_CUDA_SEQUENCE_FIRST || p.mode == ENSO_CUDA_SEQUENCE_LAST;
        const size_t n = own.start == own.end ? 0 : one ? 1 : own.end - own.start;
        const size_t first = p.mode == ENSO_CUDA_SEQUENCE_LAST ? own.end - 1 : own.start;
        float v[EACH] = {0};

        if (column < p.width && warp < n)
            pool_tokens<T, EACH>(p.mode, x, p.width, first + warp, first + n, v);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            part[(warp * EACH + i) * 32 + lane] = v[i];
        __syncthreads();
        if (warp == 0 && column < p.width) {
            for (unsigned w = 1; w < POOL_WARPS && w < n; w++)
#pragma unroll
                for (int i = 0; i < EACH; i++)
                    v[i] = pool(p.mode, v[i], part[(w * EACH + i) * 32 + lane]);
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                if (p.mode == ENSO_CUDA_SEQUENCE_MEAN && n > 0)
                    v[i] /= (float)n;
                static_cast<Y *>(p.y)[s * p.width + column + i] = enso_from_float<Y>(v[i]);
            }
        }
        __syncthreads(); /* the parts have been read */
    }
}

template <typename T, typename Y>
static int launch_pool(const struct enso_cuda_sequence_pool *p, cudaStream_t stream)
{
    /* pairs of halves: every row begins at a word */
    const bool pairs = sizeof(T) == 2 && p->width % 2 == 0 && (uintptr_t)p->x % 4 == 0;
    const size_t columns = pairs ? 64 : 32, n_pieces = (p->width + columns - 1) / columns;
    const dim3 grid(enso_blocks(n_pieces * p->n_sequences, 1)), block(32 * POOL_WARPS);

    if constexpr (sizeof(T) == 2)
        if (pairs)
            return enso_launch((sequence_pool<T, Y, 2>), grid, block, 0, stream, *p, n_pieces);
    return enso_launch((sequence_pool<T, Y, 1>), grid, block, 0, stream, *p, n_pieces);
}

extern "C" int enso_cuda_sequence_pool(const struct enso_cuda_sequence_pool *p, cudaStream_t stream)
{
    if (p->n_sequences == 0 || p->width == 0)
        return cudaSuccess;
#define LAUNCH(name, type)                                                                         \
    if (p->dtype == ENSO_DTYPE_##name && p->y_dtype == ENSO_DTYPE_##name)                          \
        return launch_pool<type, type>(p, stream);
#define LAUNCH_WIDE(name, type)                                                                    \
    if (p->dtype == ENSO_DTYPE_##name && p->y_dtype == ENSO_DTYPE_F32)                             \
        return launch_pool<type, float>(p, stream);
    ENSO_FLOAT_TYPES(LAUNCH)
    ENSO_HALF_TYPES(LAUNCH_WIDE)
#undef LAUNCH
#undef LAUNCH_WIDE
    return (int)cudaErrorInvalidValue;
}
