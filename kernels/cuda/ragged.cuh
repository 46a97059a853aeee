/* SPDX-License-Identifier: Apache-2.0
 *
 * Sequences of a ragged batch on the device: tokens [starts[s], starts[s + 1]) are sequence s. What
 * starts holds came from a request and is checked only beside its use, in the same kernel
 * (enso_check_starts), so all that is read here is cut to the tokens there are.
 *
 * Tokens behind the last start are padding, which fills a batch up to the size a graph was captured
 * for: they belong to no sequence, nothing reads them, and they become zeros.
 */
#ifndef ENSO_KERNELS_CUDA_RAGGED_CUH
#define ENSO_KERNELS_CUDA_RAGGED_CUH

#include "kernels/cuda/device.cuh"

#include "kernels/cuda/launch.h"

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

/* Note in *fault when starts does not rise from 0 to at most n_tokens. Called by all threads of a
 * grid along x, each looks at its share: a launch of its own, one for each layer of a network,
 * would cost more than these few reads. */
static __device__ __forceinline__ void enso_check_starts(const int32_t *starts, size_t n_sequences,
                                                         size_t n_tokens, int *fault)
{
    bool bad = false;

    ENSO_GRID_STRIDE(s, n_sequences + 1)
    {
        const int32_t start = starts[s];

        bad = bad || (s == 0 && start != 0) ||
              (s == n_sequences ? start > (int64_t)n_tokens : starts[s + 1] < start);
    }
    if (bad)
        atomicExch(fault, (int)ENSO_CUDA_FAULT_STARTS); /* other threads may, too */
}

#endif
