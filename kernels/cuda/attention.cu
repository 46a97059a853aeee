/* SPDX-License-Identifier: Apache-2.0
 *
 * ATTENTION (engine/ops/ops.h) over a ragged batch: the plain kernel, for heads that
 * flash_attention.cu and tiled_attention.cu have nothing for (over 128, or no whole chunks of 16
 * bytes), and the oracle of both. Elements of any type are computed with as floats and rounded
 * once, at the end.
 *
 * A warp takes one query of one head. It goes over the keys of its own sequence 32 at a time, a key
 * a lane: the lane computes its score, the warp the tile's largest and sum; then the tile's values
 * are added up, now a lane a place of the head (neighbouring lanes, neighbouring floats), after
 * what came before has been scaled to the new maximum (online softmax: Milakov and Gimelshein,
 * arXiv:1805.02867). So scores are never stored and every size of sequence needs the same memory:
 * 32 weights a warp. Up to 256 places of a head stay in registers; larger heads go over the keys
 * once for each 256.
 *
 * Bits: tiles begin at the sequence's start and nothing outside of the sequence is read, so a
 * sequence has the same bits whatever stands beside it. No timings yet: no card has been seen.
 */
#include "kernels/cuda/ragged.cuh"

#include <math.h>

#include "kernels/cuda/half.cuh"
#include "kernels/cuda/launch_network.h"

#define WARPS 4
#define BLOCK (32 * WARPS)
/* Blocks along y that every card takes. */
#define MAX_HEADS 65535u

/* What the warp has added up so far: weights relative to the largest score. */
template <int EACH> struct running {
    float max, sum;
    float value[EACH]; /* places lane, lane + 32, ... of the head, from `first` on */
};

/* Keys [key, key + 32) that are below `end`. weights: 32 floats of this warp. */
template <typename T, int EACH>
static __device__ void add_keys(struct running<EACH> &r, const T *q, const T *keys, const T *values,
                                size_t ld, size_t key, size_t end, size_t size, size_t first,
                                float scale, float *weights)
{
    const unsigned lane = threadIdx.x % 32;
    const unsigned n = end - key < 32 ? (unsigned)(end - key) : 32;
    float score = -INFINITY;

    if (lane < n) {
        const T *k = keys + (key + lane) * ld;

        score = 0;
        for (size_t d = 0; d < size; d++)
            score = enso_fma(enso_to_float(q[d]), enso_to_float(k[d]), score);
        score *= scale;
    }
    /* weights of scores of minus infinity are 0 even when there is no other yet, where the
     * difference would be a NaN */
    const float max = fmaxf(r.max, enso_warp_max(score));
    const float shrink = r.max == -INFINITY ? 0.0f : expf(r.max - max);
    const float weight = score == -INFINITY ? 0.0f : expf(score - max);

    r.sum = r.sum * shrink + enso_warp_sum(weight);
    r.max = max;
    __syncwarp(); /* the tile before has been read */
    weights[lane] = weight;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const size_t place = first + lane + (size_t)i * 32;

        if (place >= size)
            continue;
        float part = 0;

        for (unsigned j = 0; j < n; j++)
            part = enso_fma(weights[j], enso_to_float(values[(key + j) * ld + place]), part);
        r.value[i] = r.value[i] * shrink + part;
    }
}

/* One query of one head, by one warp. */
template <typename T, int EACH>
static __device__ void attend(const struct enso_cuda_attention &a, struct enso_sequence own,
                              size_t token, size_t head, float *weights)
{
    const unsigned lane = threadIdx.x % 32;
    const size_t size = a.size, width = a.heads * size, ld = 3 * width;
    const size_t end = own.start == own.end ? own.end : a.causal ? token + 1 : own.end;
    const T *q = static_cast<const T *>(a.qkv) + token * ld + head * size;
    const T *keys = static_cast<const T *>(a.qkv) + width + head * size, *values = keys + width;
    T *to = static_cast<T *>(a.y) + token * width + head * size;

    for (size_t first = 0; first < size; first += EACH * 32) {
        struct running<EACH> r = {
            - INFINITY, 0,
            {
            }
        };

        for (size_t key = own.start; key < end; key += 32)
            add_keys(r, q, keys, values, ld, key, end, size, first, a.scale, weights);
        const float inverse = own.start == own.end ? 0.0f : 1 / r.sum;

#pragma unroll
        for (int e = 0; e < EACH; e++) {
            const size_t place = first + lane + (size_t)e * 32;

            if (place < size)
                to[place] = enso_from_float<T>(r.value[e] * inverse);
        }
    }
}

/* Queries along x, so that the warps of a block take neighbours, which read the same keys; heads
 * along y. Told how many blocks are to share a multiprocessor, ptxas takes the registers it needs;
 * left to itself it saves them for sm_100 and sm_120 and spills. */
template <typename T, int EACH>
static __global__ void __launch_bounds__(BLOCK, 4) attention(const struct enso_cuda_attention a)
{
    ENSO_SHARED(float, weights, WARPS * 32);
    const unsigned warp = threadIdx.x / 32;

    if (blockIdx.y == 0)
        enso_check_starts(a.starts, a.n_sequences, a.n_tokens, a.fault);
    for (size_t token = blockIdx.x * (size_t)WARPS + warp; token < a.n_tokens;
         token += gridDim.x * (size_t)WARPS) {
        const struct enso_sequence own =
            enso_sequence_of(a.starts, a.n_sequences, token, a.n_tokens);

        for (size_t head = blockIdx.y; head < a.heads; head += gridDim.y)
            attend<T, EACH>(a, own, token, head, weights + warp * 32);
    }
}

template <typename T>
static int launch_attention(const struct enso_cuda_attention *a, cudaStream_t stream)
{
    const unsigned across = enso_blocks(a->heads, 1);
    const dim3 grid(enso_blocks(a->n_tokens, WARPS), across < MAX_HEADS ? across : MAX_HEADS);
    const dim3 block(BLOCK);

    if (a->size <= 32)
        return enso_launch((attention<T, 1>), grid, block, 0, stream, *a);
    if (a->size <= 64)
        return enso_launch((attention<T, 2>), grid, block, 0, stream, *a);
    if (a->size <= 128)
        return enso_launch((attention<T, 4>), grid, block, 0, stream, *a);
    return enso_launch((attention<T, 8>), grid, block, 0, stream, *a);
}

extern "C" int enso_cuda_attention(const struct enso_cuda_attention *a, cudaStream_t stream)
{
    if (a->n_tokens == 0 || a->heads == 0 || a->size == 0)
        return cudaSuccess;
#define LAUNCH(name, type)                                                                         \
    if (a->dtype == ENSO_DTYPE_##name)                                                             \
        return launch_attention<type>(a, stream);
    ENSO_FLOAT_TYPES(LAUNCH)
#undef LAUNCH
    return (int)cudaErrorInvalidValue;
}
