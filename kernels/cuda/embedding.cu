/* SPDX-License-Identifier: Apache-2.0
 *
 * The ends of a transformer: EMBEDDING (up to three tables and the layer norm in one) and
 * SEQUENCE_POOL straight from the ragged batch: the plain kernels.
 *
 * EMBEDDING: a block a token; the token's rows are read once per pass of the norm and added in the
 * order words, positions, segments (rows.cuh), nothing but the result is written. An id outside of
 * its table reads row 0 and is noted in the fault word. SEQUENCE_POOL: a thread a channel of a
 * sequence, over the sequence's tokens in order: neighbouring threads read neighbouring floats.
 * No timings yet: no card has been seen.
 */
#include "kernels/cuda/rows.cuh"

#include "kernels/cuda/launch_network.h"
#include "kernels/cuda/ragged.cuh"

#define BLOCK 128

static __global__ void __launch_bounds__(ENSO_ROW_BLOCK)
    embedding(const struct enso_cuda_embedding e)
{
    ENSO_SHARED(float, scratch, 32);

    for (size_t token = blockIdx.x; token < e.n_tokens; token += gridDim.x) {
        const float *rows[3];
        bool outside = false;

#pragma unroll
        for (int t = 0; t < 3; t++) {
            const int32_t id = e.ids[t] != NULL ? e.ids[t][token] : 0;
            const bool inside = id >= 0 && (size_t)id < e.rows[t];

            outside = outside || (e.tables[t] != NULL && !inside);
            rows[t] =
                e.tables[t] == NULL ? NULL : e.tables[t] + (inside ? (size_t)id : 0) * e.width;
        }
        if (outside && threadIdx.x == 0)
            atomicExch(e.fault, (int)ENSO_CUDA_FAULT_INDEX); /* other blocks may, too */

        const float *words = rows[0], *positions = rows[1], *segments = rows[2];
        float *y = e.y + token * e.width;
        auto load = [=](size_t i) {
            float v = words[i];

            if (positions != NULL)
                v += positions[i];
            if (segments != NULL)
                v += segments[i];
            return v;
        };

        if (e.gamma != NULL) {
            enso_row_layer_norm(load, y, e.width, e.gamma, e.beta, e.epsilon, scratch);
            continue;
        }
        for (size_t i = threadIdx.x; i < e.width; i += blockDim.x)
            y[i] = load(i);
    }
}

extern "C" int enso_cuda_embedding(const struct enso_cuda_embedding *e, cudaStream_t stream)
{
    if (e->n_tokens == 0 || e->width == 0)
        return cudaSuccess;
    return enso_launch(embedding, dim3(enso_blocks(e->n_tokens, 1)),
                       dim3(enso_row_threads(e->width)), 0, stream, *e);
}

static __global__ void __launch_bounds__(BLOCK)
    sequence_pool(enum enso_cuda_sequence_mode mode, const float *x, const int32_t *starts,
                  float *y, size_t n_tokens, size_t n_sequences, size_t width)
{
    ENSO_GRID_STRIDE(i, n_sequences * width)
    {
        const size_t s = i / width, channel = i - s * width;
        const struct enso_sequence own = enso_sequence_at(starts, s, n_tokens);
        const float *from = x + channel;
        float v = 0;

        if (own.start < own.end) {
            v = from[(mode == ENSO_CUDA_SEQUENCE_LAST ? own.end - 1 : own.start) * width];
            if (mode == ENSO_CUDA_SEQUENCE_MEAN) {
                for (size_t t = own.start + 1; t < own.end; t++)
                    v += from[t * width];
                v /= (float)(own.end - own.start);
            } else if (mode == ENSO_CUDA_SEQUENCE_MAX) {
                for (size_t t = own.start + 1; t < own.end; t++) {
                    const float next = from[t * width];

                    v = next > v || next != next ? next : v;
                }
            }
        }
        y[i] = v;
    }
}

extern "C" int enso_cuda_sequence_pool(enum enso_cuda_sequence_mode mode, const float *x,
                                       const int32_t *starts, float *y, size_t n_tokens,
                                       size_t n_sequences, size_t width, cudaStream_t stream)
{
    const size_t n = n_sequences * width;

    if (n == 0)
        return cudaSuccess;
    return enso_launch(sequence_pool, dim3(enso_blocks(n, BLOCK)), dim3(BLOCK), 0, stream, mode, x,
                       starts, y, n_tokens, n_sequences, width);
}
