/* SPDX-License-Identifier: Apache-2.0
 *
 * What the attention kernels that take a tile of queries at a time share: which tile is a block's
 * turn, and the rows of padding.
 *
 * Blocks that fit on the card at a time go through heads × tiles. With a list of work
 * (launch_network.h) tiles are begun in its order, all heads of one after the other. Without one a
 * block finds its tile by bisection: tile t of sequence s is number starts[s] / 64 + s + t. These
 * numbers leave gaps but never meet: a sequence from token b to e has at most e / 64 - b / 64 + 1
 * tiles. So the grid depends on the card, the number of tokens and that of sequences alone, and a
 * launch can be captured. What a list or starts hold is checked before anything is read by it.
 */
#ifndef ENSO_KERNELS_CUDA_QUERY_TILE_CUH
#define ENSO_KERNELS_CUDA_QUERY_TILE_CUH

#include "kernels/cuda/ragged.cuh"

#include "kernels/cuda/launch_network.h"

/* Up to ENSO_CUDA_QUERY_TILE queries of one head of a sequence; length 0: none. */
struct enso_query_tile {
    size_t start, head; /* the sequence's first token */
    unsigned length;    /* tokens of the sequence */
    unsigned first;     /* query of the tile, counted in the sequence */
};

/* Entry `number` of the list, or what it would be without one; x: sequence, y: tile, -1: none. */
static __device__ __forceinline__ int2 enso_find_work(const struct enso_cuda_attention &a,
                                                      size_t number)
{
    if (a.work != NULL)
        return *reinterpret_cast<const int2 *>(a.work + 2 * number);
    size_t low = 0, high = a.n_sequences; /* the last s whose first number is at most `number` */

    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;

        if (enso_cut(a.starts[middle], a.n_tokens) / ENSO_CUDA_QUERY_TILE + middle <= number)
            low = middle;
        else
            high = middle;
    }
    const size_t before = enso_cut(a.starts[low], a.n_tokens) / ENSO_CUDA_QUERY_TILE + low;

    return make_int2((int)low, number < before ? -1 : (int)(number - before));
}

/* Item `item` of tiles × heads; the same for all threads that ask for the same. */
static __device__ __forceinline__ struct enso_query_tile
enso_find_tile(const struct enso_cuda_attention &a, size_t item)
{
    struct enso_query_tile tile = {};
    const size_t number = item / a.heads;
    const int2 work = enso_find_work(a, number);

    if (work.x < 0 || work.y < 0 || (size_t)work.x >= a.n_sequences)
        return tile;
    const struct enso_sequence own = enso_sequence_at(a.starts, (size_t)work.x, a.n_tokens);
    const size_t first = (size_t)work.y * ENSO_CUDA_QUERY_TILE;

    if (first >= own.end - own.start)
        return tile;
    tile.start = own.start;
    tile.head = item - number * a.heads;
    tile.length = (unsigned)(own.end - own.start);
    tile.first = (unsigned)first;
    return tile;
}

/* Zeros for the tokens that belong to no sequence, by all threads of a grid along x. Rows of y are
 * whole chunks of 16 bytes. */
template <typename T>
static __device__ __forceinline__ void enso_clear_padding(const struct enso_cuda_attention &a)
{
    const size_t chunks = a.heads * a.size * sizeof(T) / sizeof(uint4);
    const size_t begin = enso_cut(a.starts[a.n_sequences], a.n_tokens);
    uint4 *padding = static_cast<uint4 *>(a.y) + begin * chunks;

    ENSO_GRID_STRIDE(i, (a.n_tokens - begin) * chunks)
    padding[i] = make_uint4(0, 0, 0, 0);
}

/* Tiles × heads of a launch. */
static inline size_t enso_count_items(const struct enso_cuda_attention *a)
{
    const size_t most =
        a->n_sequences == 0 ? 0 : a->n_tokens / ENSO_CUDA_QUERY_TILE + a->n_sequences;

    return (a->work != NULL ? a->n_work : most) * a->heads;
}

/* Blocks of `shared_bytes` that the selected card holds at a time, at most `most` on each
 * multiprocessor; a cudaError_t. */
static inline int enso_count_blocks(size_t shared_bytes, unsigned most, unsigned *ret_blocks)
{
    int device = 0, multiprocessors = 0, shared_each = 0;
    cudaError_t code = cudaGetDevice(&device);

    if (code == cudaSuccess)
        code = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
    if (code == cudaSuccess)
        code = cudaDeviceGetAttribute(&shared_each, cudaDevAttrMaxSharedMemoryPerMultiprocessor,
                                      device);
    if (code != cudaSuccess) {
        (void)cudaGetLastError();
        return (int)code;
    }
    /* CUDA keeps a KiB of each block's for itself */
    const unsigned hold = (unsigned)((size_t)shared_each / (shared_bytes + 1024));

    *ret_blocks = (unsigned)multiprocessors * (hold == 0 ? 1 : hold < most ? hold : most);
    return cudaSuccess;
}

#endif
