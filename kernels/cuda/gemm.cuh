/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products of half types on tensor cores, one template for all: mma.sync m16n8k16 with sums
 * in F32, tiles in shared memory filled by cp.async a few steps ahead. What differs is where rows
 * of A come from (a loader), the tile (a shape) and the type.
 *
 * A block makes a tile of Y. The inner dimension goes by in steps of 32, each a stage of shared
 * memory: a tile of A [M][32] and one of the weights [N][32]. While step s is multiplied, steps s+1
 * .. s+STAGES-1 are on their way; one barrier a step, after which everybody is done with the
 * stage that the next copy overwrites.
 *
 * Rows of a stage are 64 bytes, four chunks of 16. Chunk c of row r stands at place c ^ (r / 2 %
 * 4): the eight rows that one phase of ldmatrix reads lie in eight different groups of four banks,
 * and so do the chunks that eight threads write.
 *
 * Results pass through shared memory once more, sixteen rows of a warp at a time, as F32: then a
 * lane has four neighbours of a row, stores of half a warp make whole lines, and the activations
 * stand once in the program. y = act(alpha · sum + bias + beta · residual), rounded once.
 *
 * Bits: an element's sum is a chain of mma over k = 0, 16, 32, ..., from zero, in any shape: rows
 * have the same bits alone and in a batch, and in all shapes. That a card's mma treats all its
 * rows and columns alike is taken for granted. Rows outside of the matrix and steps past k are
 * zeros in shared memory and reach nothing that is stored.
 *
 * Shapes. Large: 128 x 128, four warps of 64 x 64 (32 mma for 8 ldmatrix in a step of 16; registers
 * for two blocks on a multiprocessor), three stages, 48 KiB: what every card gives without asking.
 * Tall: 128 x 64, four warps of 64 x 32, four stages, 48 KiB: where half of the last large tile's
 * columns or more would stand outside, as with the 64 channels of many an image network.
 * Medium: 64 x 64, four warps of 32 x 32, four stages, 32 KiB. Small: 32 x 32, four warps of 16 x
 * 16, eight stages, 32 KiB: for a single sentence or picture, whose few tiles wait for memory more
 * than they multiply. The largest that still gives most multiprocessors a tile is taken. Considered
 * and left out: 128 x 128 by eight warps of 64 x 32 (shared memory would be read as often as tensor
 * cores can multiply), 128 x 256 (one block only), steps of 64 (96 KiB for three stages: one block
 * on cards with 100). No timings yet: no card has been seen.
 */
#ifndef ENSO_KERNELS_CUDA_GEMM_CUH
#define ENSO_KERNELS_CUDA_GEMM_CUH

#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/ragged.cuh"

#include "kernels/cuda/launch_gemm.h"

/* Inner dimension of a step, elements of a chunk of 16 bytes, chunks of a row. */
#define ENSO_GEMM_STEP 32
#define ENSO_GEMM_CHUNK 8
#define ENSO_GEMM_CHUNKS (ENSO_GEMM_STEP / ENSO_GEMM_CHUNK)

/* Warps stand DOWN x ACROSS over the tile. */
template <int TILE_M, int TILE_N, int DOWN_, int ACROSS_, int STAGES_> struct enso_gemm_shape {
    static constexpr int M = TILE_M, N = TILE_N, ACROSS = ACROSS_, STAGES = STAGES_;
    static constexpr int THREADS = DOWN_ * ACROSS_ * 32;
    static constexpr int WARP_M = TILE_M / DOWN_, WARP_N = TILE_N / ACROSS_;
    static constexpr int MMA_M = WARP_M / 16, MMA_N = WARP_N / 8;
    /* Rows of a tile that the threads fill at once, one chunk each. */
    static constexpr int ROWS_AT_ONCE = THREADS / ENSO_GEMM_CHUNKS;
    static constexpr int A_ROWS = TILE_M / ROWS_AT_ONCE, B_ROWS = TILE_N / ROWS_AT_ONCE;
    static constexpr int STAGE = (TILE_M + TILE_N) * ENSO_GEMM_STEP; /* halves */
    /* Sixteen rows of a warp's results; eight floats more let two rows of a quarter warp's stores
     * miss each other's banks. */
    static constexpr int RESULT_PITCH = WARP_N + 8;
    static constexpr size_t BYTES = (size_t)STAGES_ * STAGE * 2;

    static_assert(MMA_N % 2 == 0 && WARP_M % 16 == 0, "ldmatrix brings columns in sixteens");
    static_assert((size_t)DOWN_ * ACROSS_ * 16 * RESULT_PITCH * 4 <= BYTES,
                  "results take the place of the stages");
    static_assert(BYTES <= 48 * 1024, "what a launch may have without asking");
};
typedef enso_gemm_shape<128, 128, 2, 2, 3> enso_gemm_large;
typedef enso_gemm_shape<128, 64, 2, 2, 4> enso_gemm_tall;
typedef enso_gemm_shape<64, 64, 2, 2, 4> enso_gemm_medium;
typedef enso_gemm_shape<32, 32, 2, 2, 8> enso_gemm_small;

/* Where chunk `chunk` of row `row` of a tile stands, in halves. */
static __device__ __forceinline__ unsigned enso_gemm_place(unsigned row, unsigned chunk)
{
    return row * ENSO_GEMM_STEP + (chunk ^ (row / 2 % 4)) * ENSO_GEMM_CHUNK;
}

/* ---- loaders: a thread's chunk of ROWS rows, ROWS_AT_ONCE apart, from its first row on ---- */

/* Rows in memory, k and stride multiples of a chunk, all aligned to 16 bytes. Of the weights too.
 */
template <int ROWS, int APART> struct enso_gemm_rows {
    const uint16_t *x[ROWS];
    uint32_t n_inside; /* the first so many are rows; the others read nothing */

    __device__ __forceinline__ void init(const void *all, size_t stride, size_t first, size_t n)
    {
        n_inside = first < n ? (uint32_t)((n - 1 - first) / APART) + 1 : 0;
#pragma unroll
        for (uint32_t i = 0; i < ROWS; i++)
            x[i] = static_cast<const uint16_t *>(all) +
                   (i < n_inside ? first + (size_t)i * APART : 0) * stride;
    }

    /* place: of the first row's chunk. k: of the chunk; `depth` ends the rows. */
    __device__ __forceinline__ void load(uint16_t *place, uint32_t k, uint32_t depth) const
    {
#pragma unroll
        for (uint32_t i = 0; i < ROWS; i++)
            enso_cp_async_16(place + i * APART * ENSO_GEMM_STEP, x[i] + k,
                             i < n_inside && k < depth);
    }
};

/* Of loaders that need nothing but the product. */
struct enso_gemm_no_source {
};

/* A by rows. */
template <typename Shape> struct enso_gemm_dense {
    typedef enso_gemm_no_source source;
    enso_gemm_rows<Shape::A_ROWS, Shape::ROWS_AT_ONCE> rows;

    __device__ __forceinline__ void init(const struct enso_cuda_gemm &g, const source &, size_t row,
                                         uint32_t)
    {
        rows.init(g.a, g.ld_a, row, g.m);
    }

    __device__ __forceinline__ void load(const struct enso_cuda_gemm &g, const source &,
                                         uint16_t *place, uint32_t k)
    {
        rows.load(place, k, (uint32_t)g.k);
    }
};

/* A by rows of tokens, one of each sequence. */
template <typename Shape> struct enso_gemm_gather {
    typedef struct enso_cuda_gemm_tokens source;
    const uint16_t *x[Shape::A_ROWS]; /* NULL: no token */

    __device__ __forceinline__ void init(const struct enso_cuda_gemm &g, const source &s,
                                         size_t row, uint32_t)
    {
        enso_check_starts(s.starts, g.m, s.n_tokens, s.fault);
#pragma unroll
        for (uint32_t i = 0; i < Shape::A_ROWS; i++) {
            const size_t r = row + (size_t)i * Shape::ROWS_AT_ONCE;
            struct enso_sequence own = {0, 0};

            if (r < g.m)
                own = enso_sequence_at(s.starts, r, s.n_tokens);
            x[i] = own.start == own.end ? NULL
                                        : static_cast<const uint16_t *>(g.a) +
                                              (s.last ? own.end - 1 : own.start) * g.ld_a;
        }
    }

    __device__ __forceinline__ void load(const struct enso_cuda_gemm &g, const source &,
                                         uint16_t *place, uint32_t k)
    {
#pragma unroll
        for (uint32_t i = 0; i < Shape::A_ROWS; i++) {
            const bool inside = x[i] != NULL && k < g.k;

            enso_cp_async_16(place + i * Shape::ROWS_AT_ONCE * ENSO_GEMM_STEP,
                             inside ? x[i] + k : static_cast<const uint16_t *>(g.a), inside);
        }
    }
};

/* Eight halves that were read one by one. */
static __device__ __forceinline__ void enso_gemm_put(uint16_t *place, const uint32_t (&v)[8])
{
    *reinterpret_cast<uint4 *>(place) =
        make_uint4(v[0] | v[1] << 16, v[2] | v[3] << 16, v[4] | v[5] << 16, v[6] | v[7] << 16);
}

/* A by rows of any length, stride and alignment, half by half. */
template <typename Shape> struct enso_gemm_odd {
    typedef enso_gemm_no_source source;
    enso_gemm_rows<Shape::A_ROWS, Shape::ROWS_AT_ONCE> rows;

    __device__ __forceinline__ void init(const struct enso_cuda_gemm &g, const source &, size_t row,
                                         uint32_t)
    {
        rows.init(g.a, g.ld_a, row, g.m);
    }

    __device__ __forceinline__ void load(const struct enso_cuda_gemm &g, const source &,
                                         uint16_t *place, uint32_t k)
    {
#pragma unroll
        for (uint32_t i = 0; i < Shape::A_ROWS; i++) {
            uint32_t v[ENSO_GEMM_CHUNK];

#pragma unroll
            for (uint32_t e = 0; e < ENSO_GEMM_CHUNK; e++)
                v[e] = i < rows.n_inside && k + e < g.k ? rows.x[i][k + e] : 0;
            enso_gemm_put(place + i * Shape::ROWS_AT_ONCE * ENSO_GEMM_STEP, v);
        }
    }
};

/* Rows of A are windows over an image whose channels stand last: element k of output pixel m is
 * channel k % C of the pixel under tap k / C. */
struct enso_gemm_window {
    struct enso_cuda_window w;
    uint32_t n_channels;
};

/* Where in the window a thread's chunk is; it moves on by a step at a time. */
struct enso_gemm_tap {
    int32_t down, across; /* in input pixels, from the window's corner */
    uint32_t channel;

    __device__ __forceinline__ void init(const struct enso_gemm_window &s, uint32_t k)
    {
        const uint32_t tap = k / s.n_channels, row = tap / (uint32_t)s.w.kernel[2];

        channel = k - tap * s.n_channels;
        down = (int32_t)row * s.w.dilations[1];
        across = (int32_t)(tap - row * (uint32_t)s.w.kernel[2]) * s.w.dilations[2];
    }

    __device__ __forceinline__ void move(const struct enso_gemm_window &s, uint32_t n)
    {
        channel += n;
        while (channel >= s.n_channels) {
            channel -= s.n_channels;
            across += s.w.dilations[2];
            if (across == s.w.kernel[2] * s.w.dilations[2]) {
                across = 0;
                down += s.w.dilations[1];
            }
        }
    }
};

/* The corner of an output pixel's window. */
struct enso_gemm_pixel {
    const uint16_t *image;
    int32_t down, across; /* past the last pixel: above of any image */

    __device__ __forceinline__ void init(const struct enso_cuda_gemm &g,
                                         const struct enso_gemm_window &s, size_t row)
    {
        const uint32_t image_number = (uint32_t)row / s.w.n_out;
        const uint32_t pixel = (uint32_t)row - image_number * s.w.n_out;
        const uint32_t line = pixel / (uint32_t)s.w.out[2];

        down = (int32_t)line * s.w.strides[1] - s.w.begin[1];
        across = (int32_t)(pixel - line * (uint32_t)s.w.out[2]) * s.w.strides[2] - s.w.begin[2];
        image = static_cast<const uint16_t *>(g.a);
        if (row < g.m)
            image += (size_t)image_number * s.w.n_in * s.n_channels;
        else
            down = INT32_MIN / 2;
    }

    /* The pixel's first channel; false: in the padding, or no pixel. */
    __device__ __forceinline__ bool at(const struct enso_gemm_window &s,
                                       const struct enso_gemm_tap &tap, const uint16_t **ret) const
    {
        const int32_t y = down + tap.down, x = across + tap.across;
        const bool inside = y >= 0 && y < s.w.in[1] && x >= 0 && x < s.w.in[2];

        *ret = image + (inside ? (size_t)(uint32_t)(y * s.w.in[2] + x) * s.n_channels : 0);
        return inside;
    }
};

/* Channels in whole chunks: each chunk is of one tap. */
template <typename Shape> struct enso_gemm_im2col {
    typedef enso_gemm_window source;
    enso_gemm_pixel pixels[Shape::A_ROWS];
    enso_gemm_tap tap;

    __device__ __forceinline__ void init(const struct enso_cuda_gemm &g, const source &s,
                                         size_t row, uint32_t k)
    {
#pragma unroll
        for (int i = 0; i < Shape::A_ROWS; i++)
            pixels[i].init(g, s, row + (size_t)i * Shape::ROWS_AT_ONCE);
        tap.init(s, k);
    }

    __device__ __forceinline__ void load(const struct enso_cuda_gemm &g, const source &s,
                                         uint16_t *place, uint32_t k)
    {
#pragma unroll
        for (int i = 0; i < Shape::A_ROWS; i++) {
            const uint16_t *from;
            const bool inside = pixels[i].at(s, tap, &from) && k < g.k;

            enso_cp_async_16(place + i * Shape::ROWS_AT_ONCE * ENSO_GEMM_STEP, from + tap.channel,
                             inside);
        }
        tap.move(s, ENSO_GEMM_STEP);
    }
};

/* Any number of channels, half by half: the first layer of an image network. */
template <typename Shape> struct enso_gemm_im2col_odd {
    typedef enso_gemm_window source;
    enso_gemm_pixel pixels[Shape::A_ROWS];
    enso_gemm_tap tap;

    __device__ __forceinline__ void init(const struct enso_cuda_gemm &g, const source &s,
                                         size_t row, uint32_t k)
    {
#pragma unroll
        for (int i = 0; i < Shape::A_ROWS; i++)
            pixels[i].init(g, s, row + (size_t)i * Shape::ROWS_AT_ONCE);
        tap.init(s, k);
    }

    __device__ __forceinline__ void load(const struct enso_cuda_gemm &g, const source &s,
                                         uint16_t *place, uint32_t k)
    {
        uint32_t v[Shape::A_ROWS][ENSO_GEMM_CHUNK];

#pragma unroll
        for (uint32_t e = 0; e < ENSO_GEMM_CHUNK; e++) {
#pragma unroll
            for (int i = 0; i < Shape::A_ROWS; i++) {
                const uint16_t *from;

                v[i][e] = pixels[i].at(s, tap, &from) && k + e < g.k ? from[tap.channel] : 0;
            }
            tap.move(s, 1);
        }
#pragma unroll
        for (int i = 0; i < Shape::A_ROWS; i++)
            enso_gemm_put(place + i * Shape::ROWS_AT_ONCE * ENSO_GEMM_STEP, v[i]);
        tap.move(s, ENSO_GEMM_STEP - ENSO_GEMM_CHUNK);
    }
};

/* ---- one step ---- */

/* sums += A · Wᵀ of one stage, for this warp's part. */
template <typename T, typename Shape>
static __device__ __forceinline__ void
enso_gemm_multiply(const uint16_t *a, const uint16_t *b,
                   float (&sums)[Shape::MMA_M][Shape::MMA_N][4])
{
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const unsigned a_row = warp / Shape::ACROSS * Shape::WARP_M + lane % 16;
    const unsigned b_row =
        warp % Shape::ACROSS * Shape::WARP_N + lane / 16 * 8 + lane % 8; /* two times 8 columns */

#pragma unroll
    for (unsigned k = 0; k < ENSO_GEMM_STEP / 16; k++) {
        uint32_t from_a[Shape::MMA_M][4], from_b[Shape::MMA_N / 2][4];

#pragma unroll
        for (int i = 0; i < Shape::MMA_M; i++)
            enso_ldmatrix_x4(from_a[i], a + enso_gemm_place(a_row + i * 16, 2 * k + lane / 16));
#pragma unroll
        for (int j = 0; j < Shape::MMA_N / 2; j++)
            enso_ldmatrix_x4(from_b[j], b + enso_gemm_place(b_row + j * 16, 2 * k + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < Shape::MMA_M; i++)
#pragma unroll
            for (int j = 0; j < Shape::MMA_N; j++)
                enso_mma<T>(sums[i][j], from_a[i], from_b[j / 2][j % 2 * 2],
                            from_b[j / 2][j % 2 * 2 + 1]);
    }
}

/* ---- results ---- */

/* Four neighbours of a row: all that is done to sums, and the stores. `vectors`: y, bias, residual
 * and n let them be read and written at once. */
template <typename T>
static __device__ __forceinline__ void enso_gemm_finish(const struct enso_cuda_gemm &g, size_t row,
                                                        size_t column, float (&v)[4], bool vectors)
{
    const unsigned n = column + 4 <= g.n ? 4 : (unsigned)(g.n - column);
    float r[4] = {0, 0, 0, 0};

    if (g.residual != NULL) {
        const T *from = static_cast<const T *>(g.residual) + row * g.residual_row;

        if (vectors) {
            const uint2 words = *reinterpret_cast<const uint2 *>(from + column);

            enso_unpack2<T>(words.x, &r[0], &r[1]);
            enso_unpack2<T>(words.y, &r[2], &r[3]);
        } else {
#pragma unroll
            for (unsigned e = 0; e < 4; e++)
                if (e < n)
                    r[e] = enso_to_float(from[(column + e) * g.residual_column]);
        }
    }
#pragma unroll
    for (unsigned e = 0; e < 4; e++)
        v[e] *= g.alpha;
    if (g.bias != NULL && vectors) {
        const float4 four = *reinterpret_cast<const float4 *>(g.bias + column);

        v[0] += four.x, v[1] += four.y, v[2] += four.z, v[3] += four.w;
    } else if (g.bias != NULL) {
#pragma unroll
        for (unsigned e = 0; e < 4; e++)
            v[e] += e < n ? g.bias[column + e] : 0.0f;
    }
    if (g.residual != NULL) {
#pragma unroll
        for (unsigned e = 0; e < 4; e++)
            v[e] += g.beta * r[e];
    }
#pragma unroll
    for (unsigned e = 0; e < 4; e++)
        v[e] = enso_activate(v[e], g.activation);
    if (g.out_dtype == ENSO_DTYPE_F32) {
        float *y = static_cast<float *>(g.y) + row * g.n + column;

        if (vectors) {
            *reinterpret_cast<float4 *>(y) = make_float4(v[0], v[1], v[2], v[3]);
        } else {
#pragma unroll
            for (unsigned e = 0; e < 4; e++)
                if (e < n)
                    y[e] = v[e];
        }
    } else {
        T *y = static_cast<T *>(g.y) + row * g.n + column;

        if (vectors) {
            uint2 words;

            words.x = enso_pack2<T>(v[0], v[1]);
            words.y = enso_pack2<T>(v[2], v[3]);
            *reinterpret_cast<uint2 *>(y) = words;
        } else {
#pragma unroll
            for (unsigned e = 0; e < 4; e++)
                if (e < n)
                    y[e] = enso_from_float<T>(v[e]);
        }
    }
}

/* Everything that enso_gemm_finish reads and writes as vectors is aligned for them. */
static __device__ __forceinline__ bool enso_gemm_vectors(const struct enso_cuda_gemm &g)
{
    const uintptr_t y = (uintptr_t)g.y, r = (uintptr_t)g.residual;

    return g.n % 4 == 0 && y % (g.out_dtype == ENSO_DTYPE_F32 ? 16 : 8) == 0 &&
           (uintptr_t)g.bias % 16 == 0 &&
           (g.residual == NULL ||
            (r % 8 == 0 && g.residual_column == 1 && g.residual_row % 4 == 0));
}

/* Four sums as they are, one part of several of the inner dimension. Partial sums stand at the
 * start of a workspace: rows of whole vectors are aligned for them. */
static __device__ __forceinline__ void enso_gemm_part(const struct enso_cuda_gemm &g, size_t row,
                                                      size_t column, const float (&v)[4])
{
    float *to = g.partial + ((size_t)blockIdx.y * g.m + row) * g.n + column;

    if (g.n % 4 == 0) {
        *reinterpret_cast<float4 *>(to) = make_float4(v[0], v[1], v[2], v[3]);
        return;
    }
#pragma unroll
    for (unsigned e = 0; e < 4; e++)
        if (column + e < g.n)
            to[e] = v[e];
}

/* A warp's sums through its corner of shared memory, sixteen rows at a time. */
template <typename T, typename Shape>
static __device__ __forceinline__ void
enso_gemm_store(const struct enso_cuda_gemm &g, float *corner,
                const float (&sums)[Shape::MMA_M][Shape::MMA_N][4], size_t row, size_t column)
{
    constexpr unsigned ACROSS = Shape::WARP_N / 4, DOWN = 32 / ACROSS; /* lanes over rows */
    const unsigned lane = threadIdx.x % 32;
    const bool vectors = enso_gemm_vectors(g);

#pragma unroll 1
    for (int part = 0; part < Shape::MMA_M; part++, row += 16) {
        __syncwarp(); /* the part before has been read */
#pragma unroll
        for (int i = 0; i < Shape::MMA_M; i++) {
            if (i != part) /* so that sums stay in registers */
                continue;
#pragma unroll
            for (int j = 0; j < Shape::MMA_N; j++) {
                float *to = corner + lane / 4 * Shape::RESULT_PITCH + j * 8 + lane % 4 * 2;

                *reinterpret_cast<float2 *>(to) = make_float2(sums[i][j][0], sums[i][j][1]);
                *reinterpret_cast<float2 *>(to + 8 * Shape::RESULT_PITCH) =
                    make_float2(sums[i][j][2], sums[i][j][3]);
            }
        }
        __syncwarp();
#pragma unroll 1
        for (unsigned r = lane / ACROSS; r < 16; r += DOWN) {
            const size_t c = column + lane % ACROSS * 4;
            const float4 four = *reinterpret_cast<const float4 *>(corner + r * Shape::RESULT_PITCH +
                                                                  lane % ACROSS * 4);
            float v[4] = {four.x, four.y, four.z, four.w};

            if (row + r >= g.m || c >= g.n)
                continue;
            if (g.partial != NULL)
                enso_gemm_part(g, row + r, c, v);
            else
                enso_gemm_finish<T>(g, row + r, c, v, vectors);
        }
    }
}

/* ---- the kernel ---- */

/* Blocks that run together share rows of A and columns of the weights: tiles go down this many rows
 * before they go across. */
#define ENSO_GEMM_BAND 8u

/* Tile `t` of tiles_down x tiles_across. */
static __device__ __forceinline__ void enso_gemm_tile(uint32_t t, uint32_t tiles_down,
                                                      uint32_t tiles_across, uint32_t *ret_down,
                                                      uint32_t *ret_across)
{
    const uint32_t band = t / (ENSO_GEMM_BAND * tiles_across), first = band * ENSO_GEMM_BAND;
    const uint32_t rows = min(tiles_down - first, ENSO_GEMM_BAND);
    const uint32_t in_band = t - band * ENSO_GEMM_BAND * tiles_across;

    *ret_across = in_band / rows;
    *ret_down = first + in_band - *ret_across * rows;
}

/* Tiles along x, parts of the inner dimension (k_part each) along y; depth: of the weights' rows.
 */
template <typename T, typename Shape, typename Loader>
static __global__ void __launch_bounds__(Shape::THREADS, 2)
    enso_gemm(const struct enso_cuda_gemm g, const typename Loader::source source,
              uint32_t tiles_down, uint32_t tiles_across, uint32_t depth, uint32_t k_part)
{
    ENSO_SHARED_DYNAMIC(uint16_t, stages);
    const unsigned chunk = threadIdx.x % ENSO_GEMM_CHUNKS,
                   place_row = threadIdx.x / ENSO_GEMM_CHUNKS;
    const unsigned place = enso_gemm_place(place_row, chunk), warp = threadIdx.x / 32;
    const uint32_t first = blockIdx.y * k_part, end = min(depth, first + k_part);
    const uint32_t n_steps = (end - first + ENSO_GEMM_STEP - 1) / ENSO_GEMM_STEP;
    uint32_t down, across;
    Loader from_a;
    enso_gemm_rows<Shape::B_ROWS, Shape::ROWS_AT_ONCE> from_b;
    float sums[Shape::MMA_M][Shape::MMA_N][4] = {};

    static_assert(Shape::ROWS_AT_ONCE % 8 == 0, "a thread's rows have their chunk in one place");
    enso_gemm_tile(blockIdx.x, tiles_down, tiles_across, &down, &across);
    const size_t row = (size_t)down * Shape::M, column = (size_t)across * Shape::N;

    from_a.init(g, source, row + place_row, first + chunk * ENSO_GEMM_CHUNK);
    from_b.init(g.weights, depth, column + place_row, g.n);
    const auto fetch = [&](uint32_t step) {
        uint16_t *stage = stages + step % Shape::STAGES * Shape::STAGE + place;
        const uint32_t k = first + step * ENSO_GEMM_STEP + chunk * ENSO_GEMM_CHUNK;

        if (step < n_steps) {
            from_a.load(g, source, stage, k);
            from_b.load(stage + Shape::M * ENSO_GEMM_STEP, k, depth);
        }
        enso_cp_async_commit();
    };

#pragma unroll
    for (uint32_t step = 0; step < Shape::STAGES - 1; step++)
        fetch(step);
#pragma unroll 1
    for (uint32_t step = 0; step < n_steps; step++) {
        const uint16_t *stage = stages + step % Shape::STAGES * Shape::STAGE;

        enso_cp_async_wait<Shape::STAGES - 2>();
        __syncthreads();
        fetch(step + Shape::STAGES - 1);
        enso_gemm_multiply<T, Shape>(stage, stage + Shape::M * ENSO_GEMM_STEP, sums);
    }
    enso_cp_async_wait<0>();
    __syncthreads(); /* stages become the warps' corners */
    enso_gemm_store<T, Shape>(
        g, reinterpret_cast<float *>(stages) + warp * 16 * Shape::RESULT_PITCH, sums,
        row + warp / Shape::ACROSS * Shape::WARP_M, column + warp % Shape::ACROSS * Shape::WARP_N);
}

/* ---- launching ---- */

/* After a launch whose inner dimension was cut: y from the parts. */
extern "C" int enso_cuda_gemm_sum_parts(const struct enso_cuda_gemm *g, cudaStream_t stream);

/* So many blocks keep most multiprocessors of all but the largest cards busy. */
#define ENSO_GEMM_BUSY 96

static inline size_t enso_gemm_tiles(size_t n, size_t tile)
{
    return n / tile + (n % tile != 0);
}

template <typename Shape> static inline bool enso_gemm_is_busy(const struct enso_cuda_gemm *g)
{
    return enso_gemm_tiles(g->m, Shape::M) * enso_gemm_tiles(g->n, Shape::N) *
               enso_cuda_gemm_splits(g->k, g->n) >=
           ENSO_GEMM_BUSY;
}

template <typename T, typename Shape, typename Loader>
static inline int enso_gemm_launch(const struct enso_cuda_gemm *g,
                                   const typename Loader::source &source, cudaStream_t stream)
{
    const size_t down = enso_gemm_tiles(g->m, Shape::M), across = enso_gemm_tiles(g->n, Shape::N);
    const unsigned splits = enso_cuda_gemm_splits(g->k, g->n);
    const size_t steps = enso_gemm_tiles(enso_gemm_depth(g->k), ENSO_GEMM_STEP);

    if (down * across > INT32_MAX || g->m > INT32_MAX || g->n > INT32_MAX ||
        g->k >= (size_t)1 << 30 || (splits > 1 && g->partial == NULL))
        return cudaErrorInvalidValue;
    struct enso_cuda_gemm given = *g;

    if (splits == 1)
        given.partial = NULL;
    return enso_launch((enso_gemm<T, Shape, Loader>), dim3((unsigned)(down * across), splits),
                       dim3(Shape::THREADS), Shape::BYTES, stream, given, source, (uint32_t)down,
                       (uint32_t)across, (uint32_t)enso_gemm_depth(g->k),
                       (uint32_t)(enso_gemm_tiles(steps, splits) * ENSO_GEMM_STEP));
}

/* Half of a large tile would be outside of the result's last columns. */
static inline bool enso_gemm_is_narrow(const struct enso_cuda_gemm *g)
{
    const size_t rest = g->n % enso_gemm_large::N;

    return rest != 0 && rest <= enso_gemm_tall::N;
}

/* In the largest shape that keeps a card busy. */
template <typename T, template <typename> class Loader, typename Source>
static inline int enso_gemm_choose(const struct enso_cuda_gemm *g, const Source &source,
                                   cudaStream_t stream)
{
    if (enso_gemm_is_narrow(g) && enso_gemm_is_busy<enso_gemm_tall>(g))
        return enso_gemm_launch<T, enso_gemm_tall, Loader<enso_gemm_tall>>(g, source, stream);
    if (enso_gemm_is_busy<enso_gemm_large>(g))
        return enso_gemm_launch<T, enso_gemm_large, Loader<enso_gemm_large>>(g, source, stream);
    if (enso_gemm_is_busy<enso_gemm_medium>(g))
        return enso_gemm_launch<T, enso_gemm_medium, Loader<enso_gemm_medium>>(g, source, stream);
    return enso_gemm_launch<T, enso_gemm_small, Loader<enso_gemm_small>>(g, source, stream);
}

#endif
