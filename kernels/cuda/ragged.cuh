/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences of a ragged batch on the device: tokens [starts[s], starts[s + 1]) are sequence s. What
 * starts holds came from a request and is checked only beside the kernels that use it
 * (enso_cuda_check_starts), so all that is read here is cut to the tokens there are.
 */
#ifndef ENSO_KERNELS_CUDA_RAGGED_CUH
#define ENSO_KERNELS_CUDA_RAGGED_CUH

#include "kernels/cuda/device.cuh"

struct enso_sequence {
    size_t start, end; /* start <= end <= n_tokens */
};

static __device__ __forceinline__ size_t enso_cut(int32_t at, size_t n_tokens)
{
    return at < 0 ? 0 : (size_t)at < n_tokens ? (size_t)at : n_tokens;
}

static __device__ __forceinline__ struct enso_sequence enso_sequence_at(const int32_t *starts,
                                                                        size_t s, size_t n_tokens)
{
    struct enso_sequence own = {enso_cut(starts[s], n_tokens), enso_cut(starts[s + 1], n_tokens)};

    own.end = own.end < own.start ? own.start : own.end;
    return own;
}

/* The sequence that `token` belongs to; empty when there is none. By bisection: a few reads that
 * all threads of a warp share, against a table that would have to be made per batch. */
static __device__ __forceinline__ struct enso_sequence
enso_sequence_of(const int32_t *starts, size_t n_sequences, size_t token, size_t n_tokens)
{
    size_t low = 0, high = n_sequences; /* the last s < n_sequences with starts[s] <= token */

    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;

        if (starts[middle] <= (int64_t)token)
            low = middle;
        else
            high = middle;
    }
    struct enso_sequence own = {0, 0};

    if (n_sequences > 0)
        own = enso_sequence_at(starts, low, n_tokens);
    if (token < own.start || token >= own.end)
        own.end = own.start;
    return own;
}

#endif
